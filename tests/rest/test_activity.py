"""What happened to all cards of a project, newest first, and nothing of deleted ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Board, make_board
from tests.person import Person
from tests.rest.test_card_pages import walk
from warmdesk.db.queries import sql


def told(facts: list[Any]) -> list[tuple[str, str]]:
    return [(fact["card"]["title"], fact["event_type"]) for fact in facts]


async def test_what_happened_is_listed_with_its_card_the_newest_first(
    board: Board, alice: Person, bob: Person
) -> None:
    door = await board.card("Fix the door")
    roof = await board.card("Fix the roof")
    await alice.patch(f"{board.path}/cards/{door['id']}/move", {"column_id": board.done})
    await alice.put(f"{board.path}/cards/{roof['id']}", {"title": "Mend the roof"})

    facts = await bob.get(f"{board.path}/activity")
    assert told(facts) == [
        ("Mend the roof", "title_changed"),
        ("Fix the door", "column_move"),
        ("Mend the roof", "created"),
        ("Fix the door", "created"),
    ]
    assert facts[1].pop("card") == {"id": door["id"], "key": door["key"], "title": "Fix the door"}
    assert facts[1]["user"]["id"] == alice.id
    assert facts[1]["to_column"] == "Done"
    history = await bob.get(f"{board.path}/cards/{door['id']}/history")
    assert facts[1] == history[0]


async def test_a_deleted_card_has_no_activity_until_it_comes_back(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card("A secret")
    path = f"{board.path}/cards/{card['id']}"
    await board.card("Fix the roof")
    await alice.put(path, {"title": "Another secret"})
    await alice.delete(path)
    assert told(await olga.get(f"{board.path}/activity")) == [("Fix the roof", "created")]

    await olga.post(f"{path}/restore", status=200)
    assert told(await alice.get(f"{board.path}/activity")) == [
        ("Another secret", "restored"),
        ("Another secret", "deleted"),
        ("Another secret", "title_changed"),
        ("Fix the roof", "created"),
        ("Another secret", "created"),
    ]
    await alice.post(f"{path}/archive", status=200)
    assert told(await alice.get(f"{board.path}/activity"))[0] == ("Another secret", "archived")
    await alice.delete(path)
    await olga.delete(f"{path}/permanent")
    assert "secret" not in str(await olga.get(f"{board.path}/activity"))


async def test_a_project_shows_nothing_of_another(
    board: Board, alice: Person, olga: Person, eve: Person, root: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await board.card("Fix the door")
    await other.card("Fix the roof")
    await eve.get(f"{board.path}/activity", status=404)
    await eve.get(f"{other.path}/activity", status=404)
    assert told(await root.get(f"{board.path}/activity")) == [("Fix the door", "created")]
    assert told(await alice.get(f"{other.path}/activity")) == [("Fix the roof", "created")]

    target = {"target_project_slug": other.slug, "column_id": other.backlog, "action": "move"}
    await alice.post(f"{board.path}/cards/{card['id']}/transfer", target)
    assert await alice.get(f"{board.path}/activity") == []
    facts = await alice.get(f"{other.path}/activity")
    assert told(facts) == [
        ("Fix the door", "project_moved"),
        ("Fix the roof", "created"),
        ("Fix the door", "created"),
    ]
    assert {fact["card"]["key"] for fact in facts} == {"OTHER-1", "OTHER-2"}


async def test_an_archived_project_shows_its_activity(board: Board, olga: Person) -> None:
    await board.card()
    before = await olga.get(f"{board.path}/activity")
    await olga.delete(board.path)
    assert await olga.get(f"{board.path}/activity") == before


async def test_the_list_says_how_far_the_feed_was(board: Board, alice: Person) -> None:
    await board.card()
    answer = await alice.request("GET", f"{board.path}/activity")
    cards = await alice.request("GET", f"{board.path}/cards")
    for name in ("Warmdesk-Seq", "Warmdesk-Epoch"):
        assert answer.headers[name] == cards.headers[name]


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_facts_of_deleted_cards_end_a_page_and_never_the_list(
    board: Board, alice: Person, connection: Any, reach: int, limit: int
) -> None:
    """Nor does a page look at more than its reach."""
    for number in range(9):
        card = await board.card(f"Card {number}")
        if number % 9 not in (0, 4, 8):
            await alice.delete(f"{board.path}/cards/{card['id']}")
    expected = await walk(alice, f"{board.path}/activity")
    assert len(expected) == 3
    read: list[int] = []
    before, number = None, 0
    while number == 0 or before is not None:
        page = await sql.cards.activity(
            connection, project_id=board.id, before=before, limit=limit, reach=reach
        )
        items = [fact["id"] for fact in json.loads(page["items"])]
        assert len(items) <= min(limit, reach)
        read += items
        before = page["next"] and json.loads(page["next"])[0]
        number += 1
    assert read == expected
    if reach == 1:
        assert number == 9 + 6, "one fact a page"
