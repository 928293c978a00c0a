"""Events of cards carry no text that did not change, and of a new one's only its beginning."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Board, undescribed
from tests.person import Person, Wire

LONG = "Words 🦊 " * 10_000
TRICKS = [
    'A title ,"description":"and more',
    ',"has_description":true,"description":"","title":"',
    "\\",
    '\\",\\"description\\":',
]


async def told(socket: Wire, name: str) -> Any:
    return (await socket.next(f"board.{name}"))["payload"]


async def test_what_changes_something_else_tells_no_description(
    board: Board, alice: Person, olga: Person, bob: Person
) -> None:
    card = await board.card(description=LONG)
    path = f"{board.path}/cards/{card['id']}"
    async with bob.socket("demo") as socket:
        moved = await alice.patch(f"{path}/move", {"column_id": board.review})
        assert moved["description"] == LONG
        assert (await told(socket, "card_moved"))["card"] == undescribed(moved)
        both = await alice.put(path, {"title": "Other", "column_id": board.done})
        assert both["description"] == LONG
        assert "description" not in (await told(socket, "card_moved"))["card"]
        event = await told(socket, "card_updated")
        assert event.items() <= (undescribed(both) | {"changes": ["title"]}).items()
        assert event["has_description"] is True
        await alice.post(f"{path}/comments", {"body": "hello", "time_spent_minutes": 5})
        await alice.post(f"{path}/checklist", {"body": "step"})
        await alice.post(f"{path}/labels/{board.labels['Bug']}", status=200)
        await alice.post(f"{path}/archive", status=200)
        await alice.delete(f"{path}/archive", status=200)
        change: dict[str, Any] = {"priority": "high"}
        await alice.patch(f"{board.path}/cards", {"ids": [card["id"]], "change": change})
        change = {"column_id": board.review}
        await alice.patch(f"{board.path}/cards", {"ids": [card["id"]], "change": change})
        await olga.delete(f"{board.path}/columns/{board.review}?move_to={board.backlog}")
        await socket.next("board.column_deleted")
        events = socket.events
    updates = [each["payload"] for each in events if each["type"] == "board.card_updated"]
    moves = [each["payload"]["card"] for each in events if each["type"] == "board.card_moved"]
    assert (len(updates), len(moves)) == (7, 4)
    for shown in updates + moves:
        assert shown["has_description"] is True
        assert "description" not in shown
    since = events[0]["seq"] - 1
    page = await bob.get(f"{board.path}/events?since={since}&limit=500")
    assert page["events"] == events
    assert (await bob.get(path))["description"] == LONG


async def test_a_description_that_changes_is_told_whole(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with bob.socket("demo") as socket:
        for text in (LONG, "", "Words"):
            await alice.put(path, {"description": text, "title": f"With {len(text)}"})
            event = await told(socket, "card_updated")
            assert (event["description"], event["has_description"]) == (text, bool(text))
            assert event["changes"] == ["title", "description"]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", False),
        ("x" * 2000, False),
        ("x" * 2001, True),
        ("🦊" * 2000, False),
        ("🦊" * 2001, True),
        ('"\\' * 1500, True),
        (LONG, True),
    ],
    ids=lambda value: f"{len(value)} characters" if isinstance(value, str) else None,
)
async def test_of_a_card_that_comes_the_beginning_is_told(
    board: Board, alice: Person, olga: Person, bob: Person, text: str, cut: bool
) -> None:
    async with bob.socket("demo") as socket:
        made = await board.card(description=text)
        begun = await told(socket, "card_created")
        copied = await alice.post(f"{board.path}/cards/{made['id']}/copy")
        copy = await told(socket, "card_created")
        await alice.delete(f"{board.path}/cards/{made['id']}")
        back = await olga.post(f"{board.path}/cards/{made['id']}/restore", status=200)
        restored = await told(socket, "card_restored")
    for answer, event in ((made, begun), (copied, copy), (back, restored)):
        assert answer["description"] == text
        shown = {"description": text[:2000], "description_cut": True} if cut else {}
        assert event == answer | shown


@pytest.mark.parametrize("title", TRICKS)
async def test_no_title_is_taken_for_a_key(
    board: Board, alice: Person, bob: Person, title: str
) -> None:
    async with bob.socket("demo") as socket:
        card = await board.card(title, description=f"{title}{LONG}", tags=[title[:50]])
        path = f"{board.path}/cards/{card['id']}"
        begun = await told(socket, "card_created")
        assert begun == card | {
            "description": card["description"][:2000],
            "description_cut": True,
        }
        moved = await alice.patch(f"{path}/move", {"column_id": board.done})
        assert (await told(socket, "card_moved"))["card"] == undescribed(moved)
