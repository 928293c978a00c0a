"""A column of tens of thousands of cards can be written to as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkers.mirror import State, differences, fetch, shown
from tests.conftest import Board
from tests.person import Person
from warmdesk.db.queries import Query, sql

MANY = 40_000
SOME = 5_200
"""More than one event tells of."""
FILL = """
    insert into cards (project_id, column_id, title, position, card_number)
    select $1, $2, 'Card ' || n, 1000 * n, n from generate_series(1, $3::integer) as n
"""


async def filled(connection: Any, board: Board, count: int) -> list[int]:
    """The ids of so many cards in the backlog, with no room between the two in the middle."""
    await connection.execute(FILL, board.id, board.backlog, count)
    await connection.execute("update projects set card_counter = $2 where id = $1", board.id, count)
    await connection.execute(
        "update cards set position = $2 where card_number = $1",
        count // 2 + 1,
        1000 * (count // 2) + 1e-7,
    )
    await connection.execute("analyze cards")
    rows = await connection.fetch("select id from cards order by position")
    return [row["id"] for row in rows]


async def order(connection: Any, column: int) -> list[int]:
    """A column's cards in their order; no two have one position."""
    rows = await connection.fetch(
        "select id, position from cards where column_id = $1 and deleted_at is null"
        " order by position, id",
        column,
    )
    assert len({row["position"] for row in rows}) == len(rows)
    return [row["id"] for row in rows]


async def told(connection: Any) -> list[tuple[str, Any]]:
    """The events of cards and columns; each is well below what an event may be."""
    rows = await connection.fetch(
        "select type, payload from events where type like 'board.%' order by seq"
    )
    assert max(len(row["payload"]) for row in rows) < 1 << 19
    return [(row["type"], json.loads(row["payload"])) for row in rows]


@pytest.mark.foul
@pytest.mark.parametrize("how", ["create", "move"])
async def test_a_card_finds_a_place_in_a_crowd_of_many(
    alice: Person, board: Board, connection: Any, how: str
) -> None:
    ids = await filled(connection, board, MANY)
    middle = MANY // 2
    before = dict.fromkeys(ids, 0.0) | {
        row["id"]: row["position"] for row in await connection.fetch("select * from cards")
    }
    if how == "create":
        body = {"title": "In between", "after_card_id": ids[middle - 1]}
        card = await alice.post(f"{board.path}/columns/{board.backlog}/cards", body)
        expected = [*ids[:middle], card["id"], *ids[middle:]]
    else:
        body = {"after_card_id": ids[middle - 1]}
        card = await alice.patch(f"{board.path}/cards/{ids[0]}/reorder", body)
        expected = [*ids[1:middle], ids[0], *ids[middle:]]
    assert await order(connection, board.backlog) == expected
    (_, first), *others = await told(connection)
    assert first["position"] == card["position"]
    before[card["id"]] = card["position"]
    for kind, payload in others:
        assert (kind, payload["column_id"]) == ("board.cards_reordered", board.backlog)
        before |= {each["id"]: each["position"] for each in payload["cards"]}
    assert sorted(before, key=lambda each: before[each]) == expected
    rows = await connection.fetch("select id, position from cards")
    assert {row["id"]: row["position"] for row in rows} == before


@pytest.mark.foul
async def test_a_place_where_tens_of_thousands_crowd_spaces_all(
    alice: Person, board: Board, connection: Any
) -> None:
    """The neighbours have no room either, so the whole column is told, in several events."""
    ids = await filled(connection, board, MANY)
    await connection.execute("update cards set position = position / 1e9")
    middle = MANY // 2
    card = await board.card("In between", after_card_id=ids[middle - 1])
    expected = [*ids[:middle], card["id"], *ids[middle:]]
    assert await order(connection, board.backlog) == expected
    (_, *spaced) = await told(connection)
    assert [each["id"] for _, payload in spaced for each in payload["cards"]] == expected
    places = [each["position"] for _, payload in spaced for each in payload["cards"]]
    assert places == [1000 * n for n in range(1, MANY + 2)]


@pytest.mark.foul
@pytest.mark.timeout(120)
async def test_a_column_of_many_is_emptied(board: Board, connection: Any) -> None:
    """Asked of PostgreSQL itself, by the seconds of a processor: a request has four, and a machine
    is not as fast in one minute as in the next. To move cards costs at most so many times what it
    costs to write them.
    """
    statistics = Path(f"/proc/{connection.get_server_pid()}/schedstat")

    def used() -> float:
        return int(statistics.read_text().split()[0]) / 1e9

    there = await board.card("There", board.done)
    await connection.execute("update cards set card_number = $1", MANY + 1)
    began = used()
    await connection.execute(FILL, board.id, board.backlog, MANY)
    written = used() - began
    await connection.execute("analyze cards")
    ids = [row["id"] for row in await connection.fetch("select id from cards order by id")][1:]
    began = used()
    delete: Query[..., Any] = sql.columns.delete
    messages = await delete(
        connection,
        actor=2,
        client=None,
        need="admin",
        version=None,
        conflict_status=409,
        project_id=board.id,
        column_id=board.backlog,
        target=board.done,
        most=1000,
    )
    took = used() - began
    print(f"{took:.2f} s of a processor, {took / written:.2f} times what it took to write them")
    assert took / written < 4.5
    assert len(messages["messages"]) == 1
    assert await order(connection, board.done) == [there["id"], *ids]
    (_, *moves, last) = await told(connection)
    assert [payload["card_id"] for _, payload in moves] == ids
    assert {kind for kind, _ in moves} == {"board.card_moved"}
    assert last == ("board.column_deleted", {"column_id": board.backlog})


@pytest.mark.foul
async def test_a_mirror_follows_what_is_told_in_several_events(
    olga: Person, alice: Person, board: Board, connection: Any
) -> None:
    ids = await filled(connection, board, SOME)
    await olga.token()
    state = State(*await fetch(olga.client, board.slug))
    async with olga.socket(since=state.seq) as wire:
        await board.card("In between", after_card_id=ids[SOME // 2 - 1])
        await olga.delete(f"{board.path}/columns/{board.backlog}?move_to={board.done}")
        head = (await olga.get(f"{board.path}?include=labels"))["seq"]
        while not wire.events or wire.events[-1]["seq"] < head:
            await wire.next(limit=20)
        for frame in wire.events:
            state.apply(frame)
    board_now, messages = await fetch(olga.client, board.slug)
    assert state.seq == board_now["seq"]
    assert not differences(state.shown(), shown(board_now, messages))
