"""A card shows what is asked for of it, and its history what is new."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.conftest import Board
from tests.person import Person
from tests.rest.test_card_pages import ids, walk

KEYS = {
    "attachments": {"attachments", "attachments_more"},
    "checklist": {"checklist"},
    "comments": {"comments", "comments_more"},
    "history": {"history", "history_more"},
    "links": {"links", "links_more"},
}


@pytest.fixture
async def path(board: Board, alice: Person) -> str:
    """A card on which everything hangs."""
    card = await board.card("Fix the door", assignee_ids=[alice.id])
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/comments", {"body": "hello"})
    await alice.post(f"{path}/checklist", {"body": "step"})
    await alice.post(f"{path}/links", {"url": "https://example.org"})
    await alice.post(f"{path}/watch", status=200)
    return path


async def test_a_card_shows_the_parts_that_are_asked_for(path: str, alice: Person) -> None:
    whole = await alice.get(path)
    history = await alice.get(f"{path}/history")
    full: dict[str, Any] = {**whole, "history": history, "history_more": False}
    assert whole["comments"]
    assert whole["checklist"]
    assert whole["links"]
    assert not whole.keys() & KEYS["history"]
    for count in range(len(KEYS) + 1):
        for parts in combinations(KEYS, count):
            left_out = set().union(*(KEYS[part] for part in KEYS.keys() - {*parts}))
            shown = await alice.get(f"{path}?include={','.join(parts)}")
            assert shown == {key: full[key] for key in full.keys() - left_out}, parts
    assert await alice.get(f"{path}?include=%20links%20,,history,") == {
        key: full[key]
        for key in full.keys() - KEYS["comments"] - KEYS["checklist"] - KEYS["attachments"]
    }


async def test_parts_that_a_card_has_nothing_of_are_empty(board: Board, bob: Person) -> None:
    card = await board.card()
    shown = await bob.get(f"{board.path}/cards/{card['id']}?include={','.join(KEYS)}")
    assert ids(shown.pop("history")) == ids(
        await bob.get(f"{board.path}/cards/{card['id']}/history")
    )
    assert [shown[name] for name in ("comments", "checklist", "attachments", "links")] == [[]] * 4
    assert [shown[f"{name}_more"] for name in ("comments", "links", "history")] == [False] * 3


@pytest.mark.parametrize("wrong", ["cards", "comments,watchers", "x", "Comments"])
async def test_a_part_that_is_none_is_refused(path: str, alice: Person, wrong: str) -> None:
    refused = await alice.get(f"{path}?include={wrong}", status=400)
    assert refused["fields"] == {"include": "not_one_of"}
    assert refused["allowed"] == {"include": sorted(KEYS)}


async def test_the_newest_of_a_long_history_is_shown(path: str, alice: Person) -> None:
    for number in range(30):
        await alice.put(path, {"title": f"Title {number}", "priority": ("low", "high")[number % 2]})
    shown = await alice.get(f"{path}?include=history")
    assert shown["history_more"] is True
    assert shown["history"] == await alice.get(f"{path}/history?limit=50")


async def test_a_history_shows_what_is_newer_than_a_fact(
    path: str, alice: Person, bob: Person, eve: Person
) -> None:
    for number in range(5):
        await alice.put(path, {"title": f"Title {number}"})
    whole = await walk(bob, f"{path}/history")
    for at in range(len(whole)):
        assert ids(await bob.get(f"{path}/history?after={whole[at]}")) == whole[:at]
        assert await walk(bob, f"{path}/history?after={whole[at]}&limit=2") == whole[:at]
    between = await bob.get(f"{path}/history?after={whole[4]}&before={whole[1]}")
    assert ids(between) == whole[2:4]
    assert await bob.get(f"{path}/history?after={10**15}") == []
    await eve.get(f"{path}/history?after=1", status=404)
    for wrong in ("x", "0", "-1", "null"):
        refused = await bob.get(f"{path}/history?after={wrong}", status=400)
        assert list(refused["fields"]) == ["after"]
