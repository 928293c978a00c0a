"""Checklists: steps added, ticked, written anew, moved, put in order, deleted."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.conftest import Board
from tests.person import Person, Wire
from tests.told import head


@pytest.fixture
async def path(board: Board) -> str:
    card = await board.card()
    return f"{board.path}/cards/{card['id']}/checklist"


async def items(path: str, alice: Person, *texts: str) -> list[int]:
    return [(await alice.post(path, {"body": text}))["id"] for text in texts]


async def told(socket: Wire, name: str) -> Any:
    return (await socket.next(f"board.{name}"))["payload"]


async def bodies(path: str, reader: Person) -> str:
    return "".join(each["body"] for each in await reader.get(path))


async def test_an_item_is_added_ticked_and_deleted_and_the_card_counts(
    board: Board, path: str, alice: Person, bob: Person
) -> None:
    async with bob.socket("demo") as socket:
        made = await alice.post(path, {"body": " Oil the hinge "})
        assert await told(socket, "checklist_item_created") == made
        card = await told(socket, "card_updated")
        assert (card["changes"], card["checklist_total"]) == (["checklist_total"], 1)
        assert (made["body"], made["is_completed"], made["position"]) == (
            "Oil the hinge",
            False,
            1000,
        )
        one = f"{path}/{made['id']}"
        ticked = await alice.put(one, {"is_completed": True})
        assert await told(socket, "checklist_item_updated") == ticked
        card = await told(socket, "card_updated")
        assert (card["changes"], card["checklist_done"]) == (["checklist_done"], 1)
        seq = await head(bob, board)
        assert await alice.put(one, {"is_completed": True}) == ticked
        assert await head(bob, board) == seq
        renamed = await alice.put(one, {"body": "Oil both"})
        assert await told(socket, "checklist_item_updated") == renamed
        shown = await bob.get(path.removesuffix("/checklist"))
        assert shown["checklist"] == [renamed] == await bob.get(path)
        await alice.delete(one)
        assert await told(socket, "checklist_item_deleted") == {
            "id": made["id"],
            "card_id": made["card_id"],
        }
        card = await told(socket, "card_updated")
        assert card["changes"] == ["checklist_total", "checklist_done"]
        assert (card["checklist_total"], card["checklist_done"], card["version"]) == (0, 0, 1)
    await alice.delete(one, status=404)
    history = await bob.get(path.replace("/checklist", "/history"))
    assert [each["event_type"] for each in history][:3] == [
        "checklist_removed",
        "checklist_completed",
        "checklist_added",
    ]
    assert "hinge" not in str(history)


async def test_an_item_goes_where_it_is_sent(
    board: Board, path: str, alice: Person, bob: Person
) -> None:
    a, b, c = await items(path, alice, "a", "b", "c")
    first = await alice.post(path, {"body": "0", "position": 0})
    assert (first["position"], await bodies(path, bob)) == (500, "0abc")
    await alice.put(f"{path}/{c}", {"position": 1500})
    assert await bodies(path, bob) == "0acb"
    await alice.put(f"{path}/{a}", {"position": 1e15})
    assert await bodies(path, bob) == "0cba"
    before = await alice.get(path)
    seq = await head(bob, board)
    for each in before:
        await alice.put(f"{path}/{each['id']}", {"position": each["position"]})
    assert await head(bob, board) == seq
    assert await alice.get(path) == before
    assert b in {each["id"] for each in before}


async def test_a_place_without_room_spaces_all(path: str, alice: Person, bob: Person) -> None:
    await items(path, alice, "a", "b")
    async with bob.socket("demo") as socket:
        for n in range(40):
            await alice.post(path, {"body": chr(0x4E00 + n), "position": 1000})
        spaced = await told(socket, "checklist_reordered")
    shown = await bob.get(path)
    assert "".join(each["body"] for each in shown) == (
        "a" + "".join(chr(0x4E00 + n) for n in reversed(range(40))) + "b"
    )
    assert spaced["item_ids"][0] == shown[0]["id"]
    assert len({each["position"] for each in shown}) == 42


async def test_a_new_order_names_all_items(
    board: Board, path: str, alice: Person, bob: Person
) -> None:
    a, b, c = await items(path, alice, "a", "b", "c")
    for wrong, code in (
        ([a, b], "conflicting"),
        ([a, b, c, c], "conflicting"),
        ([a, b, c, 999], "unknown"),
    ):
        refused = await alice.patch(f"{path}/reorder", {"item_ids": wrong}, status=422)
        assert refused["fields"] == {"item_ids": code}
    await bob.patch(f"{path}/reorder", {"item_ids": [a, b, c]}, status=403)
    async with bob.socket("demo") as socket:
        shown = await alice.patch(f"{path}/reorder", {"item_ids": [c, a, b]})
        assert (await told(socket, "checklist_reordered"))["item_ids"] == [c, a, b]
        assert [(each["id"], each["position"]) for each in shown] == [
            (c, 1000),
            (a, 2000),
            (b, 3000),
        ]
        seq = await head(bob, board)
        assert await alice.patch(f"{path}/reorder", {"item_ids": [c, a, b]}) == shown
        assert await head(bob, board) == seq


async def test_any_moves_give_the_order_that_they_say(
    path: str, alice: Person, bob: Person
) -> None:
    dice, order = random.Random(5), await items(path, alice, *"abcdef")
    for _ in range(60):
        shown = {each["id"]: each["position"] for each in await bob.get(path)}
        assert list(shown) == order
        item, beside = dice.choice(order), dice.choice(order)
        position = shown[beside] + dice.choice((-0.5, 0.0, 0.5))
        await alice.put(f"{path}/{item}", {"position": position})
        rest = [each for each in order if each != item]
        at = next((n for n, each in enumerate(rest) if shown[each] > position), len(rest))
        order = [*rest[:at], item, *rest[at:]]


async def test_a_card_has_at_most_two_hundred(path: str, alice: Person, connection: Any) -> None:
    card_id = int(path.split("/")[-2])
    await connection.execute(
        "insert into card_checklist_items (card_id, body, position)"
        " select $1, 'x', 1000 * n from generate_series(1, 199) n",
        card_id,
    )
    await connection.execute("update cards set checklist_total = 199 where id = $1", card_id)
    await alice.post(path, {"body": "The last"})
    refused = await alice.post(path, {"body": "Beyond"}, status=422)
    assert refused["code"] == "too_many_items"
    assert len(await alice.get(path)) == 200


@pytest.mark.parametrize("body", [{}, {"body": " "}, {"body": "x" * 1001}, {"position": 5}])
async def test_what_is_no_item_is_refused(path: str, alice: Person, body: Any) -> None:
    assert "body" in (await alice.post(path, body, status=400))["fields"]


async def test_an_item_is_found_on_its_own_card_alone(
    board: Board, path: str, alice: Person, bob: Person, eve: Person
) -> None:
    (one,) = await items(path, alice, "a")
    other = f"{board.path}/cards/{(await board.card('Another'))['id']}/checklist"
    await alice.put(f"{other}/{one}", {"body": "x"}, status=404)
    await alice.delete(f"{other}/{one}", status=404)
    await alice.patch(f"{other}/reorder", {"item_ids": [one]}, status=422)
    await bob.put(f"{path}/{one}", {"body": "x"}, status=403)
    await bob.delete(f"{path}/{one}", status=403)
    await bob.post(path, {"body": "x"}, status=403)
    await eve.get(path, status=404)
    assert await bodies(path, bob) == "a"


async def test_ticks_at_once_are_all_counted(path: str, alice: Person, olga: Person) -> None:
    ids = await items(path, alice, *"abcdefgh")
    await asyncio.gather(
        *(who.put(f"{path}/{one}", {"is_completed": True}) for one in ids for who in (alice, olga))
    )
    card = await alice.get(path.removesuffix("/checklist"))
    assert (card["checklist_done"], card["checklist_total"]) == (8, 8)
