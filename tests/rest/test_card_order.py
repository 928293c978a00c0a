"""The order of cards: the server keeps it, everybody sees the same, and it equals a Python list."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest

from tests.checkers.mirror import mirror
from tests.conftest import Board, undescribed
from tests.locks import waiting
from tests.person import Person


async def order(person: Person, board: Board, column: int) -> list[int]:
    """A column's cards, by id; their positions must be distinct and rise."""
    cards = await person.get(f"{board.path}/columns/{column}/cards?limit=500")
    positions = [card["position"] for card in cards]
    assert positions == sorted(set(positions))
    return [card["id"] for card in cards]


async def head(person: Person, board: Board) -> int:
    """The seq of the project's last event."""
    seq: int = (await person.get(f"{board.path}/events?since=0&limit=1"))["seq"]
    return seq


async def told_since(person: Person, board: Board, seq: int) -> list[Any]:
    """The events after a seq, as the feed holds them."""
    events: list[Any] = (await person.get(f"{board.path}/events?since={seq}&limit=500"))["events"]
    return events


async def filled(board: Board, *columns: int, each: int) -> dict[int, list[int]]:
    return {
        column: [(await board.card(f"{column} {n}", column))["id"] for n in range(each)]
        for column in columns
    }


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({}, "bcda"),
        ({"index": 0}, "abcd"),
        ({"index": 1}, "bacd"),
        ({"index": 2}, "bcad"),
        ({"index": 3}, "bcda"),
        ({"index": 2**31 - 1}, "bcda"),
        ({"position": -5}, "abcd"),
        ({"position": 2000}, "bacd"),
        ({"position": 2999.5}, "bacd"),
        ({"position": 1e15}, "bcda"),
        ({"before": "d"}, "bcad"),
        ({"before": "b"}, "abcd"),
        ({"after": "b"}, "bacd"),
        ({"after": "d"}, "bcda"),
    ],
)
async def test_a_card_goes_where_it_is_sent(
    alice: Person, board: Board, place: dict[str, Any], expected: str
) -> None:
    ids = {title: (await board.card(title))["id"] for title in "abcd"}
    sent = {
        f"{name}_card_id" if name in ("before", "after") else name: ids.get(value, value)
        for name, value in place.items()
    }
    path = f"{board.path}/cards/{ids['a']}"
    before = await head(alice, board)
    if place:
        card = await alice.patch(f"{path}/reorder", sent)
    else:
        card = await alice.patch(f"{path}/move", {"column_id": board.backlog})
    told = [event["payload"] for event in await told_since(alice, board, before)]
    assert await order(alice, board, board.backlog) == [ids[title] for title in expected]
    if expected == "abcd":
        assert (told, card["version"]) == ([], 1)
    else:
        (move,) = told
        assert move["card"] == undescribed(card)
        assert move["from_column_id"] == move["to_column_id"] == board.backlog
        assert (move["position"], move["version"]) == (card["position"], 2)
    assert len(await alice.get(f"{path}/history")) == 1


async def test_a_card_goes_to_another_column_and_its_history_says_so(
    alice: Person, board: Board
) -> None:
    ids = await filled(board, board.backlog, board.done, each=2)
    card, (first, second) = ids[board.backlog][0], ids[board.done]
    path = f"{board.path}/cards/{card}"
    async with alice.socket() as wire:
        moved = await alice.patch(f"{path}/move", {"column_id": board.done, "after_card_id": first})
        payload = (await wire.next("board.card_moved"))["payload"]
    assert await order(alice, board, board.done) == [first, card, second]
    assert (moved["column_name"], moved["position"], moved["version"]) == ("Done", 1500, 2)
    assert payload == {
        "card_id": card,
        "key": moved["key"],
        "from_column_id": board.backlog,
        "to_column_id": board.done,
        "position": 1500,
        "version": 2,
        "card": undescribed(moved),
    }
    fact = (await alice.get(f"{path}/history"))[0]
    assert fact["event_type"] == "column_move"
    assert (fact["from_column_id"], fact["to_column_id"]) == (board.backlog, board.done)


async def test_moving_to_the_end_where_it_stands_is_no_event(alice: Person, board: Board) -> None:
    ids = (await filled(board, board.backlog, each=2))[board.backlog]
    before = await head(alice, board)
    card = await alice.patch(f"{board.path}/cards/{ids[1]}/move", {"column_id": board.backlog})
    assert await head(alice, board) == before
    assert card["version"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"column_id": None}, 400),
        ({"column_id": "2"}, 400),
        ({"column_id": 0}, 400),
        ({"column_id": 1, "index": 0, "position": 1}, 400),
        ({"column_id": 1, "index": 0.5}, 400),
        ({"column_id": 1, "index": -1}, 400),
        ({"column_id": 999}, 422),
        ({"column_id": 1, "before_card_id": 999}, 422),
        ({"column_id": 1, "before_card_id": 1}, 422),
        ({"column_id": 1, "after_card_id": 2}, 422),
    ],
)
async def test_a_place_that_cannot_be_moves_nothing(
    alice: Person, board: Board, body: dict[str, Any], status: int
) -> None:
    """The card moved is 1, in column 1; card 2 stands in another."""
    card, other = await board.card("a"), await board.card("b", board.done)
    assert (card["id"], other["id"], board.backlog) == (1, 2, 1)
    await alice.patch(f"{board.path}/cards/1/move", body, status=status)
    assert card.items() <= (await alice.get(f"{board.path}/cards/1")).items()


async def test_a_reorder_needs_one_place_among_its_own_column(alice: Person, board: Board) -> None:
    card, other = await board.card("a"), await board.card("b", board.done)
    path = f"{board.path}/cards/{card['id']}/reorder"
    await alice.patch(path, {}, status=400)
    await alice.patch(path, {"index": None}, status=400)
    await alice.patch(path, {"index": 0, "before_card_id": other["id"]}, status=400)
    for neighbour in (other["id"], card["id"], 999):
        await alice.patch(path, {"before_card_id": neighbour}, status=422)
        await alice.patch(path, {"after_card_id": neighbour}, status=422)


async def test_a_deleted_column_takes_no_cards(alice: Person, olga: Person, board: Board) -> None:
    card = await board.card()
    await olga.delete(f"{board.path}/columns/{board.done}")
    path = f"{board.path}/cards/{card['id']}"
    await alice.patch(f"{path}/move", {"column_id": board.done}, status=422)
    await alice.put(path, {"column_id": board.done}, status=422)
    await alice.post(f"{board.path}/columns/{board.done}/cards", {"title": "T"}, status=404)
    await alice.get(f"{board.path}/columns/{board.done}/cards", status=404)


async def test_a_crowded_column_is_spaced_anew_and_told_so(alice: Person, board: Board) -> None:
    ids = (await filled(board, board.backlog, each=3))[board.backlog]
    expected = list(ids)
    versions: dict[int, int] = dict.fromkeys(ids, 1)
    async with alice.socket() as wire:
        for n in range(60):
            card = expected.pop()
            expected.insert(n % 2, card)
            moved = await alice.patch(f"{board.path}/cards/{card}/reorder", {"index": n % 2})
            versions[card] += 1
            assert moved["version"] == versions[card]
            move = await wire.next("board.card_moved")
            assert move["payload"]["card"] == undescribed(moved)
            assert move["payload"]["position"] == moved["position"]
        frames = wire.events
        spaced = [f["payload"] for f in frames if f["type"] == "board.cards_reordered"]
    assert spaced
    for payload in spaced:
        assert payload["column_id"] == board.backlog
        assert [card["position"] for card in payload["cards"]] == [1000, 2000, 3000]
    for move, spacing in pairwise(frames):
        if spacing["type"] == "board.cards_reordered":
            place = {"id": move["payload"]["card_id"], "position": move["payload"]["position"]}
            assert place in spacing["payload"]["cards"]
    assert await order(alice, board, board.backlog) == expected
    cards = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    assert {card["id"]: card["version"] for card in cards} == versions


async def test_a_crowd_waits_for_a_card_that_is_held_as_long_as_it_can(
    board: Board, alice: Person, connection: Any
) -> None:
    """Whoever holds it may wait for the card that comes. When there is no room left, it is waited
    for.
    """
    first, last = await board.card("first"), await board.card("last")
    seen = await head(alice, board)
    cards = []
    async with connection.transaction():
        await connection.execute("select 1 from cards where id = $1 for update", last["id"])
        for number in range(34):
            cards.append(await board.card(f"{number}", after_card_id=first["id"]))
        told = await told_since(alice, board, seen)
        assert {event["type"] for event in told} == {"board.card_created"}
        assert cards[-1]["position"] - first["position"] < 1e-6
    cards.append(await board.card("one more", after_card_id=first["id"]))
    told = await told_since(alice, board, seen + 34)
    assert [event["type"] for event in told] == ["board.card_created", "board.cards_reordered"]
    expected = [first["id"], *(card["id"] for card in reversed(cards)), last["id"]]
    assert await order(alice, board, board.backlog) == expected
    spaced = told[1]["payload"]["cards"]
    assert [card["position"] for card in spaced] == [1000 * n for n in range(1, len(expected) + 1)]


async def test_a_new_card_in_a_crowd_is_told_before_the_new_spacing(
    alice: Person, board: Board
) -> None:
    before = await head(alice, board)
    for n in range(33):
        await board.card(str(n), **({"index": 0} if n else {}))
    events = await told_since(alice, board, before)
    place = [event["type"] for event in events].index("board.cards_reordered")
    created = events[place - 1]["payload"]
    spaced = events[place]["payload"]["cards"]
    assert spaced[0] == {"id": created["id"], "position": 1000}
    assert created["position"] == 1000


@pytest.mark.parametrize("seed", range(3))
async def test_one_person_moving_cards_equals_a_python_list(
    alice: Person, board: Board, seed: int
) -> None:
    dice = random.Random(seed)
    columns = [board.backlog, board.progress, board.done]
    model = await filled(board, *columns, each=4)
    for _ in range(80):
        source = dice.choice([column for column in columns if model[column]])
        target = dice.choice(columns)
        card = model[source].pop(dice.randrange(len(model[source])))
        others = model[target]
        index = dice.randint(0, len(others) + 1)
        place: dict[str, int] = {"index": index}
        if others and dice.random() < 0.5:
            beside = dice.randrange(len(others))
            name = dice.choice(["before_card_id", "after_card_id"])
            place, index = {name: others[beside]}, beside + (name == "after_card_id")
        others.insert(index, card)
        if source == target and dice.random() < 0.5:
            await alice.patch(f"{board.path}/cards/{card}/reorder", place)
        else:
            await alice.patch(f"{board.path}/cards/{card}/move", {"column_id": target} | place)
    for column in columns:
        assert await order(alice, board, column) == model[column]


def followed(frames: list[Any], columns: dict[int, list[int]]) -> dict[int, list[int]]:
    """The order that frames tell, from the positions in them."""
    places = {
        card: (column, 1000 * float(n))
        for column, cards in columns.items()
        for n, card in enumerate(cards, start=1)
    }
    for frame in frames:
        payload = frame["payload"]
        if frame["type"] == "board.card_moved":
            places[payload["card_id"]] = (payload["to_column_id"], payload["position"])
        elif frame["type"] == "board.cards_reordered":
            for card in payload["cards"]:
                places[card["id"]] = (payload["column_id"], card["position"])
    return {
        column: sorted(
            (card for card in places if places[card][0] == column), key=lambda c: places[c][1]
        )
        for column in columns
    }


@pytest.mark.parametrize("crowd", ["one place", "everywhere"])
async def test_eight_people_moving_at_once_leave_one_order_that_all_see(
    alice: Person, olga: Person, bob: Person, board: Board, crowd: str
) -> None:
    columns = [board.backlog] if crowd == "one place" else [board.backlog, board.review, board.done]
    start = await filled(board, board.backlog, board.review, board.done, each=5)
    cards = [card for column in start.values() for card in column]
    dice = random.Random(8)
    moves = [
        [(dice.choice(cards), dice.choice(columns), dice.randint(0, 3)) for _ in range(15)]
        for _ in range(8)
    ]

    async def moving(person: Person, contexts: list[tuple[int, int, int]]) -> list[int]:
        statuses = []
        for card, column, index in contexts:
            body = {"column_id": column, "index": 0 if crowd == "one place" else index}
            answer = await person.request("PATCH", f"{board.path}/cards/{card}/move", body)
            statuses.append(answer.status)
        return statuses

    async with mirror(olga, "demo"), bob.socket() as wire:
        found = await asyncio.gather(
            *(moving((alice, olga)[n % 2], contexts) for n, contexts in enumerate(moves))
        )
        last = await head(alice, board)
        while not wire.events or wire.events[-1]["seq"] < last:
            await wire.next()
        frames = wire.events
    statuses = [status for each in found for status in each]
    assert set(statuses) == {200}
    seqs = [frame["seq"] for frame in frames]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    told = followed(frames, start)
    for column in start:
        assert await order(alice, board, column) == told[column]


async def test_fifty_cards_dropped_on_one_place_at_once_all_find_one(
    alice: Person, olga: Person, board: Board
) -> None:
    cards = (await filled(board, board.backlog, each=50))[board.backlog]
    await asyncio.gather(
        *(
            (alice, olga)[n % 2].patch(
                f"{board.path}/cards/{card}/move", {"column_id": board.done, "index": 0}
            )
            for n, card in enumerate(cards)
        )
    )
    assert sorted(await order(alice, board, board.done)) == cards
    assert await order(alice, board, board.backlog) == []


async def test_one_card_that_all_move_at_once_is_refused_to_nobody(
    alice: Person, olga: Person, board: Board
) -> None:
    card = (await board.card())["id"]
    columns = [board.backlog, board.progress, board.review, board.done]
    await asyncio.gather(
        *(
            (alice, olga)[n % 2].patch(
                f"{board.path}/cards/{card}/move", {"column_id": columns[n % 4]}
            )
            for n in range(24)
        )
    )
    found = [await order(alice, board, column) for column in columns]
    assert sorted(found) == [[], [], [], [card]]


@pytest.mark.foul
async def test_a_card_moved_away_meanwhile_is_locked_where_it_went(
    alice: Person, board: Board, connection: Any
) -> None:
    """A move waits for the card's column; when it has it, the card stands in a third one."""
    card = await board.card()
    async with connection.transaction():
        await connection.execute("select 1 from columns where id = $1 for update", board.backlog)
        moving = asyncio.create_task(
            alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})
        )
        await waiting(connection)
        await connection.execute(
            "update cards set column_id = $1 where id = $2", board.review, card["id"]
        )
    moved = await moving
    assert moved["column_id"] == board.done
    facts = await alice.get(f"{board.path}/cards/{card['id']}/history")
    assert facts[0]["from_column_id"] == board.review
