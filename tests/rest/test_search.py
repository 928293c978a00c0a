"""A search finds what a scan of all texts would find, and reads only texts that may hold it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board
from tests.locks import waiting
from tests.person import Person
from warmdesk.db.migrations import migrate
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.grams import Grams
from warmdesk.realtime.events import ERASING

FILTERS: dict[str, Any] = {
    "column_id": None,
    "assignee": None,
    "label": None,
    "closed": None,
    "due_before": None,
    "include_archived": False,
    "only_archived": False,
    "bytes": 8 << 20,
}
SCAN = """
    select k.id from cards as k
    where
        k.project_id = $1 and k.deleted_at is null
        and (strpos(lower(k.title), lower($2)) > 0 or strpos(lower(k.description), lower($2)) > 0)
    order by k.id
"""
LETTERS = "abcABC xyz%_\\'\"\n\t\x01éÄßİıΣσςДд日本🦊"
Texts = st.text(
    st.sampled_from(LETTERS) | st.characters(codec="utf-8", exclude_characters="\0"), max_size=60
)


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own job makes no grams meanwhile."""
    monkeypatch.setattr(Grams, "seconds", 3600.0)


async def fill(connection: Any, board: Board, texts: list[tuple[str, str]]) -> None:
    await connection.execute(
        "insert into cards (project_id, column_id, title, description, position, card_number)"
        " select $1, $2, t, d, n, 1000 + n"
        " from unnest($3::text[], $4::text[]) with ordinality as u (t, d, n)",
        board.id,
        board.backlog,
        [title for title, _ in texts],
        [description for _, description in texts],
    )


async def made(connection: Any, most: int = 1_000_000, of_bytes: int = 1 << 40) -> int:
    """Make the grams of cards that are due; gives of how many."""
    return int(await sql.cards.make_grams(connection, most=most, bytes=of_bytes))


async def search(connection: Any, board: Board, q: str, **other: Any) -> list[list[int]]:
    """The ids of all pages."""
    asked = {**FILTERS, "limit": 100, "search_bytes": 16 << 20, "search_cards": 2_000, **other}
    pages: list[list[int]] = []
    after: int | None = None
    while not pages or after is not None:
        page = await sql.cards.search(connection, project_id=board.id, q=q, after_id=after, **asked)
        pages.append([card["id"] for card in json.loads(page["items"])])
        *_, following = json.loads(page["next"] or "[null]")
        assert following is None or following > (after or 0) or len(pages) == 1
        after = following
    return pages


def together(pages: list[list[int]]) -> list[int]:
    return [card_id for page in pages for card_id in page]


@given(
    texts=st.lists(st.tuples(Texts, Texts), min_size=1, max_size=8),
    asked=st.data(),
    limit=st.integers(1, 10),
    search_bytes=st.sampled_from([1, 100, 1 << 20]),
    search_cards=st.sampled_from([1, 2, 3, 2_000]),
    batch=st.integers(0, 8),
    deleted=st.sets(st.integers(0, 7)),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_finds_what_a_scan_finds(
    board: Board,
    connection: Any,
    texts: list[tuple[str, str]],
    asked: st.DataObject,
    limit: int,
    search_bytes: int,
    search_cards: int,
    batch: int,
    deleted: set[int],
) -> None:
    """Also while the grams of only some cards are made, and some of them are gone since."""
    text = asked.draw(st.sampled_from([each for pair in texts for each in pair]))
    start = asked.draw(st.integers(0, len(text)))
    part = text[start : asked.draw(st.integers(start, len(text)))]
    turned = asked.draw(st.sampled_from([part, part.upper(), part.lower(), part.swapcase()]))
    q = asked.draw(
        st.just(turned or "a") | st.text(st.sampled_from(LETTERS), min_size=1, max_size=200)
    )
    transaction = connection.transaction()
    await transaction.start()
    try:
        await fill(connection, board, texts)
        assert await made(connection, batch) == min(batch, len(texts))
        await connection.execute(
            "update cards set deleted_at = now()"
            " where project_id = $1 and card_number - 1001 = any($2)",
            board.id,
            list(deleted),
        )
        wanted = [row["id"] for row in await connection.fetch(SCAN, board.id, q)]
        for indexed in (True, False):
            if not indexed:
                await connection.execute("drop index card_grams_find")
            bounds = {"search_bytes": search_bytes, "search_cards": search_cards}
            pages = await search(connection, board, q, limit=limit, **bounds)
            assert together(pages) == wanted
    finally:
        await transaction.rollback()


@pytest.mark.foul
async def test_pages_are_full_and_what_cannot_hold_it_is_not_read(
    board: Board, alice: Person, connection: Any
) -> None:
    """20 MB of text, of which three cards hold what is looked for, at the end."""
    await fill(connection, board, [("Long", "Long words " * 9_000)] * 200)
    wanted = [int((await board.card("A needle 100%_"))["id"])]
    wanted.append((await board.card(description="in the Hay NEEDLE 100%_"))["id"])
    await board.card("A needle 1000")
    assert await made(connection) == 203

    found = await alice.request("GET", f"{board.path}/cards?q=needle%20100%25_")
    assert [card["id"] for card in found.body] == wanted
    assert "Link" not in found.headers

    assert await buffers(connection, board, "needle 100%_") < 1_000
    assert await buffers(connection, board, "words lo") > 1_000  # such are all texts

    full = await alice.request("GET", f"{board.path}/cards?q=long%20words&limit=7")
    assert len(full.body) == 7
    assert "Link" in full.headers


async def buffers(connection: Any, board: Board, q: str) -> int:
    """How many of PostgreSQL's pages a search reads."""
    query = next(each for each in sql if each.name == "cards.search")
    values = query.values(
        FILTERS
        | {"project_id": board.id, "q": q, "after_id": None}
        | {"limit": 100, "search_bytes": 16 << 20, "search_cards": 2_000}
    )
    statement = f"explain (analyze, buffers, format json) {query.statement}"
    for _ in range(2):  # the second time without what PostgreSQL reads once a session
        plan = json.loads(await connection.fetchval(statement, *values))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.foul
async def test_what_is_too_short_to_be_looked_up_is_found_page_by_page(
    board: Board, connection: Any
) -> None:
    await fill(connection, board, [("Long", "Long words " * 9_000)] * 400)
    wanted = [(await board.card("A @ at the end"))["id"]]
    pages = await search(connection, board, "@")
    assert together(pages) == wanted
    assert [len(page) for page in pages] == [0, 0, 1]


@pytest.mark.foul
async def test_a_key_is_found_at_once_and_once(
    board: Board, alice: Person, connection: Any
) -> None:
    """Behind 18 MB of text that holds it, too."""
    await fill(connection, board, [("Like DEMO-1", "DEMO-1 again " * 7_000)] * 200)
    card = await board.card("The last")
    assert card["key"] == "DEMO-1"
    for q in ("DEMO-1", "demo-1", "%20demo-1%20"):
        for query in (f"q={q}", f"q={q}&limit=1"):
            found = await alice.request("GET", f"{board.path}/cards?{query}")
            assert found.body[0]["id"] == card["id"]
    for limit in (30, 100):
        ids = together(await search(connection, board, "demo-1", limit=limit))
        assert ids[0] == card["id"]
        assert len(ids) == len(set(ids)) == 201
        assert ids[1:] == sorted(ids[1:])
    await connection.execute("update projects set key_prefix = 'D' where id = $1", board.id)
    assert (await search(connection, board, "d-1", limit=1))[0] == [card["id"]]
    for other in ("D-01", "D-2", "D--1", "D-1-1", "D-9999999999", "-1"):
        assert card["id"] not in together(await search(connection, board, other))


@pytest.mark.foul
async def test_no_card_of_another_project_is_found(
    board: Board, olga: Person, bob: Person, connection: Any
) -> None:
    """Also not of the one whose cards have the same grams."""
    far = board.id + (1 << 15)
    await connection.execute(f"alter table projects alter column id restart with {far}")
    theirs = await olga.post("/projects", {"name": "Theirs"})
    assert theirs["id"] == far
    path = f"/projects/{theirs['slug']}"
    (column, *_) = await olga.get(f"{path}/columns")
    await olga.post(f"{path}/columns/{column['id']}/cards", {"title": "A secret door"})
    own = await board.card("A secret gate")
    for _ in range(2):
        found = await bob.get(f"{board.path}/cards?q=secret")
        assert [card["id"] for card in found] == [own["id"]]
        assert await bob.get(f"{board.path}/cards?q=secret%20door") == []
        await made(connection)


@pytest.mark.foul
async def test_every_change_of_a_text_is_found_and_no_other_change_costs(
    board: Board, alice: Person, olga: Person, connection: Any
) -> None:
    card = await board.card("The old door", description="squeaks")
    path = f"{board.path}/cards/{card['id']}"

    async def found(q: str) -> bool:
        return bool(await alice.get(f"{board.path}/cards?q={q}"))

    async def written() -> Any:
        return await connection.fetchrow("select xmin::text, ctid::text from card_grams")

    assert await found("old door")
    assert await made(connection) == 1
    before = await written()
    await alice.patch(f"{path}/move", {"column_id": board.done, "index": 0})
    await alice.put(path, {"priority": "high", "title": "The old door", "column_id": board.backlog})
    assert await written() == before
    assert await found("old door")
    await alice.put(path, {"title": "The new gate"})
    assert await found("new gate")
    assert not await found("old door")
    assert await found("squeak")
    await alice.put(path, {"description": "is oiled"})
    assert await found("oiled")
    assert not await found("squeak")
    assert await made(connection) == 1
    assert await made(connection) == 0
    assert await found("oiled")
    assert not await found("squeak")
    before = await written()
    await alice.delete(path)
    assert not await found("oiled")
    await olga.post(f"{path}/restore", status=200)
    assert await found("oiled")
    assert await written() == before
    await connection.execute("delete from card_history")
    await connection.execute("delete from cards")
    assert await written() is None


@pytest.mark.foul
async def test_a_text_that_holds_everything_costs_what_others_cost(
    board: Board, connection: Any
) -> None:
    """What no language looks like is not taken apart, but looked at in every search."""
    mixed = "".join(chr(0x10000 + 37 * n) for n in range(20_000))
    await fill(connection, board, [("Mixed", mixed), ("Long", "🦊" * 100_000), ("Short", "fox")])
    await made(connection)
    sizes = await connection.fetch("select cardinality(grams) from card_grams order by card_id")
    assert [row[0] for row in sizes[:2]] == [1, 1]
    ids = [row["id"] for row in await connection.fetch("select id from cards order by id")]
    assert together(await search(connection, board, mixed[7_000:7_005])) == ids[:1]
    assert together(await search(connection, board, "🦊" * 100)) == ids[1:2]
    assert together(await search(connection, board, "fox")) == ids[2:]


@pytest.mark.foul
async def test_an_upgrade_keeps_no_writer_waiting_and_misses_no_text(
    database_url: str, board: Board, connection: Any
) -> None:
    """The program before goes on writing while the migration runs."""
    kept = await connection.fetch(
        "select proname, oid::regprocedure::text as name from pg_proc"
        " where proname in ('text_grams', 'grams_any', 'mark_card_grams')"
    )
    await connection.execute("drop table card_grams")
    for row in kept:
        await connection.execute(f"drop function {row['name']} cascade")
    await connection.execute("delete from schema_migrations where name like '0008%'")
    words = " ".join(f"word{n}" for n in range(2_000))
    await fill(connection, board, [(f"Old {n}", words) for n in range(200)])

    other = await asyncpg.connect(database_url)
    stop = asyncio.Event()

    async def write() -> int:
        n = 0
        while not stop.is_set():
            n += 1
            await other.execute(
                "insert into cards (project_id, column_id, title, position, card_number)"
                " values ($1, $2, $3, 1, $4)",
                board.id,
                board.backlog,
                f"New {n}",
                100_000 + n,
            )
            await other.execute(
                "update cards set description = 'changed', updated_at = clock_timestamp()"
                " where card_number = $1",
                1000 + n,
            )
        return n

    writing = asyncio.ensure_future(write())
    assert [name[:4] for name in await migrate(database_url, erasing=ERASING)] == ["0008"]
    stop.set()
    assert await writing > 0
    await other.close()
    await connection.execute(
        "alter table card_grams add column folded boolean not null default false"
    )
    while await made(connection, 50, 100_000):
        pass
    wrong = await connection.fetchval(
        "select count(*) from cards as c full join card_grams as g on g.card_id = c.id"
        " where g.grams is distinct from grams_of_card(c)"
    )
    assert wrong == 0


@pytest.mark.foul
async def test_a_text_that_is_written_while_its_grams_are_made_is_due_again(
    board: Board, connection: Any, database_url: str
) -> None:
    """Either of the two may be first."""
    await fill(connection, board, [("The old door", "")])
    rename = "update cards set title = $1"
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute(rename, "The new gate")
            assert await made(connection) == 0
        assert await made(connection) == 1
        assert len(together(await search(connection, board, "new gate"))) == 1

        await connection.execute(rename, "The wall")
        async with other.transaction():
            assert await made(other) == 1
            writing = asyncio.ensure_future(connection.execute(rename, "The window"))
            await waiting(other)
        await writing
        assert len(together(await search(connection, board, "window"))) == 1
        assert await made(connection) == 1
        assert len(together(await search(connection, board, "window"))) == 1
        assert not together(await search(connection, board, "the wall"))
    finally:
        await other.close()


@pytest.mark.foul
async def test_a_batch_has_a_size_and_a_turn_makes_them_all(
    board: Board, desk: Desk, connection: Any
) -> None:
    await fill(connection, board, [(f"Card {n}", "some words " * 100) for n in range(250)])
    assert await made(connection, 5) == 5
    assert await made(connection, 100, 1) == 1
    assert await made(connection, 100, 3_000) == 3
    assert await Grams(desk).turn() == 241
    assert await made(connection) == 0


@pytest.mark.foul
async def test_between_long_texts_it_rests_longer_than_it_works(
    board: Board, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[float] = []
    make = sql.cards.make_grams

    async def timed(*args: Any, **values: Any) -> Any:
        began = time.monotonic()
        batch = await make(*args, **values)
        worked.append(time.monotonic() - began)
        return batch

    await fill(connection, board, [(f"Card {n}", "some words " * 5000) for n in range(5)])
    monkeypatch.setattr(sql.cards, "make_grams", timed)
    began = time.monotonic()
    assert await Grams(desk).turn() == 5
    assert len(worked) == 6
    assert time.monotonic() - began >= 3 * sum(worked[:-1])
