"""Lists of cards go on where a board ends, begin behind any card, and come in several orders."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from tests.conftest import Board
from tests.person import Person
from warmdesk.db.queries import sql
from warmdesk.http.pages import bound_to
from warmdesk.http.routing import BASE
from warmdesk.schemas.cards import CardsQuery


async def make_cards(board: Board, count: int, column: int = 0) -> list[int]:
    return [(await board.card(f"Card {n}", column=column))["id"] for n in range(count)]


def ids(cards: list[Any]) -> list[int]:
    return [card["id"] for card in cards]


async def walk(person: Person, path: str) -> list[int]:
    await person.token()
    return ids([card async for card in person.client.items(path)])


# Behind a board's cards


async def test_a_column_goes_on_behind_the_cards_of_the_board(
    board: Board, alice: Person, bob: Person
) -> None:
    made = await make_cards(board, 7)
    await make_cards(board, 2, board.done)
    first, *_, last = (await bob.get(f"{board.path}?cards_limit=2"))["columns"]

    assert (ids(first["cards"]), first["cards_more"], first["card_count"]) == (made[:2], True, 7)
    assert (len(last["cards"]), last["cards_more"], last["cards_next"]) == (2, False, None)
    path = f"{board.path}/columns/{board.backlog}/cards"
    assert await walk(bob, f"{path}?limit=2&cursor={first['cards_next']}") == made[2:]
    await alice.patch(f"{board.path}/cards/{made[1]}/move", {"column_id": board.done})
    assert await walk(bob, f"{path}?cursor={first['cards_next']}") == made[2:]


async def test_a_cursor_of_a_board_is_good_for_its_own_column_alone(
    board: Board, bob: Person
) -> None:
    await make_cards(board, 3)
    await make_cards(board, 3, board.done)
    first, *_, last = (await bob.get(f"{board.path}?cards_limit=1"))["columns"]
    assert first["cards_next"] != last["cards_next"]
    for path in (
        f"{board.path}/columns/{board.done}/cards?cursor={first['cards_next']}",
        f"{board.path}/columns/{board.backlog}/cards?include_closed=false&cursor={first['cards_next']}",
        f"{board.path}/cards?cursor={first['cards_next']}",
    ):
        assert (await bob.get(path, status=400))["fields"] == {"cursor": "unknown"}


async def test_boards_of_several_lengths_are_kept_apart(board: Board, bob: Person) -> None:
    made = await make_cards(board, 4)
    for _ in range(2):
        tags = set()
        for sent, shown in (("", 4), ("?cards_limit=3", 3), ("?cards_limit=1", 1)):
            answer = await bob.request("GET", f"{board.path}{sent}")
            assert ids(answer.body["columns"][0]["cards"]) == made[:shown]
            tags.add(answer.headers["ETag"])
        assert len(tags) == 3
    seen = {"If-None-Match": answer.headers["ETag"]}
    assert (await bob.request("GET", board.path, headers=seen)).status == 200
    again = await bob.request("GET", f"{board.path}?cards_limit=1", headers=seen)
    assert again.status == 304


async def test_a_limit_of_cards_is_brought_into_its_bounds(board: Board, bob: Person) -> None:
    made = await make_cards(board, 2)
    for limit, shown in (("0", 1), ("-7", 1), ("501", 2), ("9" * 30, 2)):
        columns = (await bob.get(f"{board.path}?cards_limit={limit}"))["columns"]
        assert ids(columns[0]["cards"]) == made[:shown]
    refused = await bob.get(f"{board.path}?cards_limit=many", status=400)
    assert refused["fields"] == {"cards_limit": "bad_format"}
    columns = (await bob.get(f"{board.path}?include=columns&cards_limit=1"))["columns"]
    assert not {"cards", "cards_more", "cards_next"} & columns[0].keys()


async def test_a_column_of_which_no_card_fits_goes_on_from_its_first(
    board: Board, bob: Person, connection: Any
) -> None:
    made = await make_cards(board, 3)
    path = f"{board.path}/columns/{{column_id}}/cards"
    row = await sql.projects.board(
        connection,
        project_id=board.id,
        most=500,
        most_members=500,
        bytes=1,
        columns=True,
        cards=True,
        labels=True,
        members=True,
        messages=0,
        brief=False,
        cards_bound=bound_to(BASE + path, CardsQuery()).decode(),
    )
    column = orjson.loads(row["board"])["columns"][0]
    assert (column["cards"], column["cards_more"]) == ([], True)
    goes_on = f"{path.format(column_id=board.backlog)}?cursor={column['cards_next']}"
    assert await walk(bob, goes_on) == made


# Behind a card


async def test_a_list_begins_behind_any_card_of_its_column(
    board: Board, alice: Person, bob: Person
) -> None:
    made = await make_cards(board, 5)
    path = f"{board.path}/columns/{board.backlog}/cards"
    assert await walk(bob, f"{path}?after_card_id={made[1]}") == made[2:]
    assert await walk(bob, f"{path}?after_card_id={made[4]}") == []
    await alice.patch(f"{board.path}/cards/{made[3]}/reorder", {"index": 0})
    assert await walk(bob, f"{path}?after_card_id={made[3]}") == [*made[:3], made[4]]

    page = await bob.request("GET", f"{path}?after_card_id={made[3]}&limit=2")
    await alice.delete(f"{board.path}/cards/{made[3]}")
    found = re.search(rf"{BASE}([^>]+)>", page.headers["Link"])
    assert found
    assert await walk(bob, found[1]) == [made[2], made[4]], "it has gone on from there since"


async def test_a_list_begins_behind_no_card_that_is_not_there(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    (gone,), (elsewhere,) = await make_cards(board, 1), await make_cards(board, 1, board.done)
    await alice.delete(f"{board.path}/cards/{gone}")
    await make_cards(board, 2)
    path = f"{board.path}/columns/{board.backlog}/cards"
    for card in (gone, elsewhere, 999_999):
        refused = await bob.get(f"{path}?after_card_id={card}", status=422)
        assert refused["fields"] == {"after_card_id": "unknown"}
    for wrong in ("x", "0", "1.5", "null"):
        refused = await bob.get(f"{path}?after_card_id={wrong}", status=400)
        assert list(refused["fields"]) == ["after_card_id"]
    await bob.get(f"{board.path}/columns/999/cards?after_card_id={elsewhere}", status=404)


# In another order


async def test_cards_come_in_the_order_that_is_asked_for(
    board: Board, alice: Person, bob: Person
) -> None:
    made = await make_cards(board, 4)
    done = await make_cards(board, 2, board.done)
    await alice.put(f"{board.path}/cards/{made[1]}", {"title": "Changed"})
    await alice.patch(f"{board.path}/cards/{made[3]}/reorder", {"index": 0})
    orders = {
        "updated": [made[3], made[1], done[1], done[0], made[2], made[0]],
        "created": [*reversed(done), *reversed(made)],
        "position": [made[3], *made[:3], *done],
    }
    for sort, order in orders.items():
        for limit in (1, 2, 5, 6, 100):
            path = f"{board.path}/cards?sort={sort}&limit={limit}"
            assert await walk(bob, path) == order, (sort, limit)
    assert await walk(bob, f"{board.path}/cards?limit=4") == sorted([*made, *done])
    path = f"{board.path}/cards?sort=position&column_id={board.backlog}&limit=1"
    assert await walk(bob, path) == orders["position"][:4]


async def test_a_list_in_order_shows_what_fits_its_filters(
    board: Board, alice: Person, bob: Person
) -> None:
    made = await make_cards(board, 5)
    for card, change in zip(
        made,
        ({"closed": True}, {"assignee_ids": [alice.id]}, {"due_date": "2026-05-01"}, {}),
        strict=False,
    ):
        await alice.put(f"{board.path}/cards/{card}", change)
    await alice.post(f"{board.path}/cards/{made[4]}/archive", status=200)
    for sort in ("updated", "created", "position"):
        for asked, found in (
            ("closed=true", made[:1]),
            (f"assignee={alice.id}", made[1:2]),
            ("due_before=2026-06-01", made[2:3]),
            ("label=nothing", []),
            ("", made[:4]),
            ("include_archived=true", made),
        ):
            shown = await walk(bob, f"{board.path}/cards?sort={sort}&{asked}&limit=2")
            assert sorted(shown) == found, (sort, asked)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("sort=newest", {"sort": "not_one_of"}),
        ("sort=updated&q=card", {"sort": "conflicting"}),
        ("sort=", {"sort": "not_one_of"}),
    ],
)
async def test_another_order_is_refused(
    board: Board, bob: Person, query: str, fields: dict[str, str]
) -> None:
    assert (await bob.get(f"{board.path}/cards?{query}", status=400))["fields"] == fields


async def test_a_cursor_is_good_for_its_order_alone(board: Board, bob: Person) -> None:
    await make_cards(board, 3)
    page = await bob.request("GET", f"{board.path}/cards?sort=created&limit=1")
    found = re.search(r"cursor=([\w-]+)", page.headers["Link"])
    assert found
    for sort in ("sort=updated", "sort=position", ""):
        refused = await bob.get(f"{board.path}/cards?{sort}&cursor={found[1]}", status=400)
        assert refused["fields"] == {"cursor": "unknown"}
