"""Kept boards: always the same as a fresh build, built once, bounded, and true for their seq."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from tests.conftest import Board, Door
from tests.person import Person
from warmdesk.auth.actor import Project, Role
from warmdesk.boards import BOARDS, PARTS, Boards
from warmdesk.db.queries import sql
from warmdesk.desk import Desk


def demo(board: Board) -> Project:
    return Project(board.id, board.slug, False, "DEMO", Role.MEMBER)


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
    async with asyncio.timeout(5):
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
        projects.append(Project(made["id"], made["slug"], False, "P", Role.OWNER))
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
    values = {"project_id": "1", "most": "500"}
    for number, name in reversed(list(enumerate(sql.projects.board.names, start=1))):
        statement = statement.replace(f"${number}", values.get(name, "true"))
    plan = await connection.fetch(f"explain (verbose) {statement}")
    text = "\n".join(line[0] for line in plan)
    assert "json_build_object" in text
    assert not re.search(r"\b(shape|iso|cards_json)\(", text), text


async def test_the_application_keeps_its_boards(door: Door, board: Board, alice: Person) -> None:
    assert frozenset({"cards", "columns", "labels", "members"}) == PARTS
    assert BOARDS is not None
    first = await alice.get(board.path)
    assert await alice.get(board.path) == first
