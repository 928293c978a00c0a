"""Kept boards: always the same as a fresh build, built once, bounded, and true for their seq."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import pace
from tests.conftest import Board, Door, until
from tests.person import Person
from warmdesk.auth.actor import EnteredProject, Role
from warmdesk.boards import PARTS, Boards
from warmdesk.client import Answer
from warmdesk.db.queries import sql
from warmdesk.desk import Desk


def demo(board: Board) -> EnteredProject:
    return EnteredProject(board.id, board.slug, False, "DEMO", Role.MEMBER)


async def fresh(desk: Desk, board: Board) -> Any:
    """The board as a process shows it that has kept nothing."""
    built = await Boards(desk.database).read(demo(board), 0)
    assert built.content is not None
    return orjson.loads(built.content)


async def kept(boards: Boards, board: Board, **options: Any) -> Any:
    shown = await boards.read(demo(board), 0, **options)
    return shown.content and orjson.loads(shown.content)


Act = Callable[[Board, Person, Person], Awaitable[Any]]


def card_put(**fields: Any) -> Act:
    async def act(board: Board, olga: Person, alice: Person) -> None:
        await alice.put(f"{board.path}/cards/1", fields)

    return act


ACTS: dict[str, Act] = {
    "a card is created": lambda board, olga, alice: board.card("New"),
    "a card is changed": card_put(title="Other", closed=True, priority="high"),
    "a card is assigned": card_put(assignee_ids=[4]),
    "a card is tagged": card_put(tags=["door", "house"]),
    "a card is moved": lambda board, olga, alice: alice.patch(
        f"{board.path}/cards/1/move", {"column_id": board.done}
    ),
    "a card is deleted": lambda board, olga, alice: alice.delete(f"{board.path}/cards/1"),
    "a column is created": lambda board, olga, alice: olga.post(
        f"{board.path}/columns", {"name": "New"}
    ),
    "a column is renamed": lambda board, olga, alice: olga.put(
        f"{board.path}/columns/{board.backlog}", {"name": "Ideas"}
    ),
    "columns are reordered": lambda board, olga, alice: olga.patch(
        f"{board.path}/columns/reorder", [{"id": board.done, "position": 1}]
    ),
    "a column is deleted": lambda board, olga, alice: olga.delete(
        f"{board.path}/columns/{board.backlog}?move_to={board.done}"
    ),
    "the project is renamed": lambda board, olga, alice: olga.put(board.path, {"name": "Other"}),
    "the project is archived": lambda board, olga, alice: olga.delete(board.path),
    "a member comes": lambda board, olga, alice: olga.post(
        f"{board.path}/members", {"username": "eve"}
    ),
    "a member is promoted": lambda board, olga, alice: olga.put(
        f"{board.path}/members/{alice.id}", {"role": "admin"}
    ),
    "a member leaves": lambda board, olga, alice: alice.delete(f"{board.path}/members/{alice.id}"),
    "a member changes their name": lambda board, olga, alice: alice.put(
        "/users/me", {"display_name": "Alice the Other"}
    ),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
async def test_a_kept_board_equals_a_fresh_build_after(
    desk: Desk, board: Board, olga: Person, alice: Person, act: Act
) -> None:
    await board.card("Fix the door", assignee_ids=[alice.id, olga.id])
    boards = Boards(desk.database)
    before = await kept(boards, board)

    await act(board, olga, alice)

    after = await kept(boards, board)
    assert after == await fresh(desk, board)
    assert after["seq"] > before["seq"]
    assert after != before | {"seq": after["seq"]}


async def test_a_board_is_built_once_however_many_ask(desk: Desk, board: Board) -> None:
    boards = Boards(desk.database)
    shown = await asyncio.gather(*(boards.read(demo(board), 0) for _ in range(50)))
    assert boards.built == 1
    assert len({board.etag for board in shown}) == 1
    await board.card("Fix the door")
    await asyncio.gather(*(boards.read(demo(board), 0) for _ in range(50)))
    assert boards.built == 2


async def test_a_reader_who_has_the_board_costs_no_build(desk: Desk, board: Board) -> None:
    first = await Boards(desk.database).read(demo(board), 0)
    boards = Boards(desk.database)
    again = await boards.read(demo(board), 0, seen={first.etag})
    assert (again.content, again.etag, boards.built) == (None, first.etag, 0)


async def test_a_builder_who_goes_away_leaves_the_work_to_the_next(
    desk: Desk, board: Board
) -> None:
    boards = Boards(desk.database)
    first = asyncio.create_task(boards.read(demo(board), 0))
    async with asyncio.timeout(5 * pace.stretch()):
        while not boards._builders:
            await asyncio.sleep(0)
    second = asyncio.create_task(boards.read(demo(board), 0))
    first.cancel()
    assert (await second).content
    assert await asyncio.gather(first, return_exceptions=True)
    assert not boards._builders


async def test_kept_boards_weigh_no_more_than_their_limit(desk: Desk, olga: Person) -> None:
    projects = []
    for n in range(4):
        made = await olga.post("/projects", {"name": f"Project {n}"})
        projects.append(EnteredProject(made["id"], made["slug"], False, "P", Role.OWNER))
    one = await Boards(desk.database).read(projects[0], olga.id)
    assert one.content is not None
    boards = Boards(desk.database, limit=2 * len(one.content) + 100)

    for project in projects:
        await boards.read(project, olga.id)
        assert boards.weight <= boards.limit
    built = boards.built
    await boards.read(projects[3], olga.id)
    assert boards.built == built, "the newest is kept"
    await boards.read(projects[0], olga.id)
    assert boards.built == built + 1, "the oldest went"
    tiny = Boards(desk.database, limit=10)
    assert (await tiny.read(projects[0], olga.id)).content
    assert tiny.weight == 0


async def test_a_board_of_another_epoch_is_built_again(
    desk: Desk, board: Board, connection: Any
) -> None:
    boards = Boards(desk.database)
    before = await kept(boards, board)
    await connection.execute("update install set id = gen_random_uuid()")
    after = await kept(boards, board)
    assert (boards.built, after["seq"]) == (2, before["seq"])
    assert after["epoch"] != before["epoch"]


async def test_a_seq_is_true_for_its_board_while_cards_are_made(
    desk: Desk, alice: Person, board: Board
) -> None:
    """Each card is one event, so the number of cards tells the seq."""
    boards = Boards(desk.database)
    start = (await kept(boards, board))["seq"]
    making = asyncio.gather(*(board.card(f"Card {n}") for n in range(60)))
    looks = 0
    while not making.done() or looks < 3:
        for one in (await kept(boards, board), await fresh(desk, board)):
            assert one["open_card_count"] == one["seq"] - start
        looks += 1
    await making
    last = await kept(boards, board)
    assert last["seq"] == start + 60


async def test_a_column_shows_its_first_five_hundred_cards(
    desk: Desk, board: Board, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into cards (project_id, column_id, title, position, card_number)"
        " select $1, $2, 'Card ' || n, 1000 * (503 - n), 1000 + n from generate_series(1, 502) n",
        board.id,
        board.backlog,
    )
    await board.card("Elsewhere", column=board.done)
    columns = (await alice.get(board.path))["columns"]
    first, last = columns[0], columns[-1]

    assert (first["card_count"], first["cards_more"], len(first["cards"])) == (502, True, 500)
    assert [first["cards"][n]["title"] for n in (0, 1, -1)] == ["Card 502", "Card 501", "Card 3"]
    assert (last["card_count"], last["cards_more"], len(last["cards"])) == (1, False, 1)
    assert columns[1]["cards"] == []


async def test_shapes_are_inlined_into_the_board(connection: Any) -> None:
    """A shape that PostgreSQL calls as a function costs a board several times its milliseconds."""
    statement = sql.projects.board.statement
    values = {"project_id": "1", "most": "500", "bytes": "1000000", "cards_bound": "''"}
    values["brief"] = "false"
    for number, name in reversed(list(enumerate(sql.projects.board.names, start=1))):
        statement = statement.replace(f"${number}", values.get(name, "true"))
    cards = [f"select j.* from cards_json(array[1, 2], {brief}) as j" for brief in (True, False)]
    for each in (statement, *cards, "select j.* from cards_json(array[1, 2]) as j"):
        plan = await connection.fetch(f"explain (verbose) {each}")
        text = "\n".join(line[0] for line in plan)
        assert "row_to_json" in text
        assert not re.search(r"\b(shape|iso|cards_json)\(", text), text


async def opened(person: Person, board: Board) -> Answer | None:
    """A large board, not encoded; None where a busy machine took too long for it."""
    plain = {"Accept-Encoding": "identity"}
    shown = await person.request("GET", board.path, headers=plain)
    if shown.status == 503:
        assert shown.body["code"] == "read_too_long"
        return None
    assert shown.status == 200
    return shown


async def fat(connection: Any, board: Board, count: int, text: str, column: int = 0) -> None:
    """So many cards with a description, written past the API."""
    await connection.execute(
        "insert into cards (project_id, column_id, title, description, position, card_number)"
        " select $1, $2::bigint, 'Fat ' || n, $3, 1000 * n, 1000 * (10 + $2::bigint) + n"
        " from generate_series(1, $4) as n",
        board.id,
        column or board.backlog,
        text,
        count,
    )


MOST_BYTES = 8 << 20
FAT = {
    "quotes": (400, '"' * 100_000),
    "controls": (200, "\x01" * 100_000),
    "words": (400, "Words " * 16_666),
    "emojis": (300, "🦊" * 100_000),
}


@pytest.mark.foul
@pytest.mark.parametrize("kind", FAT)
async def test_no_board_is_too_large_to_be_shown(
    board: Board, alice: Person, connection: Any, kind: str
) -> None:
    """Nor does any process of PostgreSQL grow by more than it may have."""
    small = await board.card("Small", column=board.done, description="x" * 2_000)
    count, text = FAT[kind]
    await fat(connection, board, count, text)

    await alice.token()
    async with alice.client.session.get(
        f"{alice.client.url}{board.path}", headers=alice.client.credentials
    ) as response:
        assert response.status == 200
        body = await response.read()
    assert 5 << 20 < len(body) < MOST_BYTES
    columns = orjson.loads(body)["columns"]
    cards = columns[0]["cards"]
    assert (len(cards), columns[0]["cards_more"]) == (count, False)
    cut = [card for card in cards if "description_cut" in card]
    assert 0 < len(cut) < count
    assert {(card["description"], card["description_cut"]) for card in cut} == {(text[:1000], True)}
    assert {card["description"] for card in cards if "description_cut" not in card} == {text}
    assert columns[-1]["cards"] == [small]
    pids = await connection.fetch(
        "select pid from pg_stat_activity where datname = current_database()"
    )
    peaks = [
        int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
        for (pid,) in pids
    ]
    assert max(peaks) < 350_000, "kilobytes, of which 128 MiB are shared"


@pytest.mark.foul
async def test_a_board_with_too_many_cards_shows_the_first_of_each_column(
    board: Board, alice: Person, connection: Any
) -> None:
    for column in (board.backlog, board.progress, board.review, board.done):
        await fat(connection, board, 500, "\x01" * 900, column)
    columns = (await alice.get(board.path))["columns"]
    lengths = [len(column["cards"]) for column in columns]
    assert 200 < min(lengths) < 500
    assert max(lengths) - min(lengths) <= 1
    for column in columns:
        assert (column["card_count"], column["cards_more"]) == (500, True)
        assert [card["position"] for card in column["cards"]] == [
            1000 * n for n in range(1, len(column["cards"]) + 1)
        ]


@pytest.mark.foul
async def test_a_page_of_cards_or_projects_ends_by_its_bytes(
    board: Board, alice: Person, olga: Person, connection: Any
) -> None:
    await fat(connection, board, 60, "\x01" * 100_000)
    await connection.execute("update cards set deleted_at = now() where card_number % 2 = 0")
    await connection.execute(
        "insert into projects (name, slug, key_prefix, description, created_by_id)"
        " select 'Fat ' || n, 'fat-' || n, 'F' || n, $1, 2 from generate_series(1, 30) as n",
        "\x01" * 100_000,
    )
    await connection.execute(
        "insert into project_members (project_id, user_id, role) select id, 2, 'owner'"
        " from projects where slug like 'fat-%'"
    )
    await olga.token()
    for path, count in (
        (f"{board.path}/columns/{board.backlog}/cards", 30),
        (f"{board.path}/cards", 30),
        (f"{board.path}/cards/deleted", 30),
        ("/projects", 31),
    ):
        seen: list[int] = []
        place: str | None = f"{path}?limit=500"
        while place is not None:
            answer = await olga.request("GET", place)
            assert answer.status == 200
            assert 0 < sum(len(each["description"]) for each in answer.body) <= 1_500_000
            seen += [each["id"] for each in answer.body]
            link = answer.headers.get("Link")
            place = link and link[1 : link.index(">")].partition("/api/v1")[2]
        assert len(set(seen)) == len(seen) == count, path


@pytest.mark.foul
async def test_a_board_of_many_members_shows_the_first_of_them(
    board: Board, alice: Person, olga: Person, connection: Any
) -> None:
    """Ten thousand with the longest names, beside the longest of everything else."""
    await fat(connection, board, 20, "\x01" * 100_000)
    await connection.execute(
        "update projects set description = repeat(e'\\x01', 100000) where id = $1", board.id
    )
    await connection.execute(
        "insert into labels (project_id, name, color)"
        " select $1, n || repeat(e'\\x01', 96), '#ffffff' from generate_series(1, 490) as n",
        board.id,
    )
    await connection.execute(
        "insert into columns (project_id, name, position)"
        " select $1, repeat(e'\\x01', 200), 9000 + n from generate_series(1, 96) as n",
        board.id,
    )
    assert (await until(lambda: opened(alice, board))).body["members_more"] is False
    await connection.execute(
        "with come as ("
        " insert into users (email, username, password_hash, display_name, avatar_url)"
        " select n || '@x', 'crowd' || n, 'x', repeat('🦊', 150), repeat('🦊', 500)"
        " from generate_series(1, 10000) as n returning id"
        ") insert into project_members (project_id, user_id, role)"
        " select $1, id, 'viewer' from come",
        board.id,
    )
    await olga.put(board.path, {"name": "Crowded"})
    shown = await until(lambda: opened(alice, board))
    assert MOST_BYTES * 0.9 < int(shown.headers["Content-Length"]) <= MOST_BYTES
    assert (len(shown.body["members"]), shown.body["members_more"]) == (500, True)
    assert shown.body["member_count"] == 10_003
    listed = await alice.request("GET", f"{board.path}/members?limit=500")
    assert [each["id"] for each in listed.body] == [each["id"] for each in shown.body["members"]]
    assert "Link" in listed.headers
    assert int(listed.headers["Content-Length"]) < MOST_BYTES


Sizes = st.lists(
    st.tuples(st.integers(0, 6_000), st.sampled_from('a"\x01é🦊'), st.integers(0, 3)), max_size=12
)


@given(sizes=Sizes, limit=st.integers(0, 40_000))
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_what_fits_is_the_beginning_and_the_longest_are_cut(
    board: Board, connection: Any, sizes: list[tuple[int, str, int]], limit: int
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(
            "insert into cards (project_id, column_id, title, description, position, card_number)"
            " select $1, $2, 't', d, n, 100 + n"
            " from unnest($3::text[]) with ordinality as u (d, n)",
            board.id,
            board.backlog,
            [pending * length for length, pending, _ in sizes],
        )
        ids = [row["id"] for row in await connection.fetch("select id from cards order by id desc")]
        for card_id, (_, _, tags) in zip(reversed(ids), sizes, strict=True):
            await connection.executemany(
                "insert into card_tags (card_id, name) values ($1, $2)",
                [(card_id, f"tag {number}" * 10) for number in range(tags)],
            )
        octets = await connection.fetchval(
            "select sum(octet_length(title) + octet_length(description)) from cards"
        )
        whole = dict(await connection.fetch("select id, card from cards_json($1)", ids))
        asked = (ids, octets or 0, limit)

        first = await connection.fetch("select id, card from first_cards($1, $2, $3)", *asked)
        assert {row["id"] for row in first} == set(ids[: len(first)])
        assert all(row["card"] == whole[row["id"]] for row in first)
        total = sum(len(row["card"].encode()) + 1 for row in first)
        assert total <= limit or len(first) <= 1
        assert len(first) >= min(1, len(ids))
        if len(first) < len(ids):
            assert total + len(whole[ids[len(first)]].encode()) + 1 > limit

        shown = dict(await connection.fetch("select id, card from board_cards($1, $2, $3)", *asked))
        assert set(shown) == set(ids[: len(shown)])
        assert sum(len(card.encode()) + 1 for card in shown.values()) <= limit
        lengths: dict[bool, list[int]] = {True: [], False: []}
        for card_id, card in shown.items():
            found, right = orjson.loads(card), orjson.loads(whole[card_id])
            is_cut = found.pop("description_cut", False)
            if len(right["description"]) > 1000:
                lengths[is_cut].append(len(right["description"].encode()))
            if is_cut:
                assert len(right["description"]) > 1000
                right["description"] = right["description"][:1000]
            assert found == right
        if lengths[True]:
            assert max(lengths[False], default=0) <= min(lengths[True])
    finally:
        await transaction.rollback()


async def test_the_application_keeps_its_boards(door: Door, board: Board, alice: Person) -> None:
    assert frozenset({"cards", "columns", "labels", "members"}) == PARTS
    first = await alice.get(board.path)
    assert await alice.get(board.path) == first
