"""The same change for many cards: all of them or none, and an event for each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Board, make_board, undescribed
from tests.person import Person
from tests.told import head, told_since

ALICE, OLGA, EVE = 3, 2, 5


def summary(card: Any) -> Any:
    return {key: value for key, value in card.items() if key != "changes"}


async def test_many_cards_are_changed_with_an_event_each_in_board_order(
    board: Board, alice: Person, bob: Person
) -> None:
    bug = board.labels["Bug"]
    last = await board.card("Last", board.done)
    second = await board.card("Second")
    first = await board.card("First", index=0)
    already = await board.card("Already", assignee_ids=[ALICE], label_ids=[bug], priority="high")
    await alice.put(f"{board.path}/cards/{already['id']}", {"closed": True})
    ids = [last["id"], already["id"], second["id"], first["id"], last["id"]]
    change = {"closed": True, "priority": "high", "assignee_ids": [ALICE], "add_label_ids": [bug]}
    before = await head(bob, board)
    answer = await alice.patch(f"{board.path}/cards", {"ids": ids, "change": change})
    told = await told_since(bob, board, before)
    titles = [card["title"] for card in answer["cards"]]
    assert titles == ["First", "Second", "Already", "Last"]
    assert [each["type"] for each in told] == ["board.card_updated"] * 3
    assert [each["payload"]["title"] for each in told] == ["First", "Second", "Last"]
    for event in told:
        assert event["payload"]["changes"] == ["priority", "closed", "assignees", "labels"]
        assert summary(event["payload"]) in map(undescribed, answer["cards"])
    for card in answer["cards"]:
        assert (card["closed"], card["priority"], card["assignee_id"]) == (True, "high", ALICE)
        assert card["closed_at"] is not None
        assert [label["id"] for label in card["labels"]] == [bug]
        assert card["version"] == 2
        shown = await alice.get(f"{board.path}/cards/{card['id']}")
        assert card.items() <= shown.items()
    facts = await alice.get(f"{board.path}/cards/{first['id']}/history")
    assert [fact["event_type"] for fact in facts] == [
        "label_added",
        "assigned",
        "closed",
        "priority_changed",
        "created",
    ]


async def test_many_cards_go_to_the_end_of_a_column_in_board_order(
    board: Board, alice: Person, bob: Person
) -> None:
    there = await board.card("There", board.done)
    one, two, three = [await board.card(title) for title in ("One", "Two", "Three")]
    ids = [there["id"], three["id"], one["id"]]
    body = {"ids": ids, "change": {"column_id": board.done}}
    before = await head(bob, board)
    answer = await alice.patch(f"{board.path}/cards", body)
    again = await alice.patch(f"{board.path}/cards", body)
    events = await told_since(bob, board, before)
    told = [(each["type"], each["payload"]) for each in events]
    assert [kind for kind, _ in told] == ["board.card_moved"] * 2
    assert [moved["card"]["title"] for _, moved in told] == ["One", "Three"]
    assert {moved["from_column_id"] for _, moved in told} == {board.backlog}
    cards = await alice.get(f"{board.path}/columns/{board.done}/cards")
    assert [card["title"] for card in cards] == ["There", "One", "Three"]
    assert again["cards"] == cards
    assert [card["id"] for card in answer["cards"]] == [one["id"], three["id"], there["id"]]
    left = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    assert [card["id"] for card in left] == [two["id"]]


async def test_many_cards_are_archived_and_come_back(board: Board, alice: Person) -> None:
    ids = [(await board.card(title))["id"] for title in ("One", "Two", "Three")]
    path = f"{board.path}/cards"
    gone = await alice.patch(path, {"ids": ids[:2], "change": {"archived": True}})
    assert None not in [card["archived_at"] for card in gone["cards"]]
    assert [card["id"] for card in await alice.get(path)] == ids[2:]
    await alice.patch(path, {"ids": ids, "change": {"archived": False}})
    back = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    assert [card["title"] for card in back] == ["Three", "One", "Two"]
    assert [card["version"] for card in back] == [1, 3, 3]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"closed": True, "assignee_ids": [EVE]}, "change.assignee_ids"),
        ({"closed": True, "add_label_ids": [999]}, "change.add_label_ids"),
        ({"column_id": 999}, "change.column_id"),
    ],
)
async def test_what_cannot_be_changes_none(
    board: Board, alice: Person, change: dict[str, Any], field: str
) -> None:
    ids = [(await board.card())["id"] for _ in range(3)]
    refused = await alice.patch(f"{board.path}/cards", {"ids": ids, "change": change}, status=422)
    assert list(refused["fields"]) == [field]
    assert refused["error"].startswith(f"{field}: ")
    assert [card["version"] for card in await alice.get(f"{board.path}/cards")] == [1, 1, 1]


async def test_all_cards_are_live_ones_of_this_project(
    board: Board, alice: Person, olga: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    elsewhere, mine, deleted = await other.card(), await board.card(), await board.card()
    await alice.delete(f"{board.path}/cards/{deleted['id']}")
    for wrong in (elsewhere["id"], deleted["id"], 999_999):
        for change in ({"closed": True}, {"column_id": board.done}):
            refused = await alice.patch(
                f"{board.path}/cards", {"ids": [mine["id"], wrong], "change": change}, status=422
            )
            assert refused["fields"] == {"ids": "unknown"}
    body = {"ids": [mine["id"]], "change": {"column_id": other.done}}
    refused = await alice.patch(f"{board.path}/cards", body, status=422)
    assert refused["fields"] == {"change.column_id": "unknown"}
    for one, where in ((mine, board), (elsewhere, other)):
        assert (await alice.get(f"{where.path}/cards/{one['id']}"))["version"] == 1


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        ({"ids": [], "change": {"closed": True}}, 400, {"ids": "too_short"}),
        ({"ids": list(range(1, 502)), "change": {"closed": True}}, 400, {"ids": "too_long"}),
        ({"ids": [1]}, 400, {"change": "required"}),
        ({"ids": [1], "change": {}}, 400, {"change": "required"}),
        ({"ids": [1], "change": {"title": "All"}}, 400, {"change": "required"}),
        ({"ids": [1], "change": {"priority": "urgent"}}, 400, {"change.priority": "not_one_of"}),
        (
            {"ids": [1], "change": {"column_id": 1, "closed": True}},
            422,
            {"change.column_id": "conflicting", "change.closed": "conflicting"},
        ),
        (
            {"ids": [1], "change": {"add_label_ids": [1], "remove_label_ids": [1]}},
            422,
            {"change.add_label_ids": "conflicting", "change.remove_label_ids": "conflicting"},
        ),
    ],
)
async def test_a_bulk_change_says_one_thing(
    board: Board, alice: Person, body: Any, status: int, fields: dict[str, str]
) -> None:
    await board.card()
    refused = await alice.patch(f"{board.path}/cards", body, status=status)
    assert refused["fields"] == fields


async def test_labels_are_taken_off_many(board: Board, alice: Person) -> None:
    bug, design = board.labels["Bug"], board.labels["Design"]
    ids = [(await board.card(label_ids=[bug]))["id"], (await board.card())["id"]]
    change = {"remove_label_ids": [bug], "add_label_ids": [design]}
    answer = await alice.patch(f"{board.path}/cards", {"ids": ids, "change": change})
    for card in answer["cards"]:
        assert [label["id"] for label in card["labels"]] == [design]


async def test_very_long_texts_are_too_much_for_one_change(board: Board, alice: Person) -> None:
    long = [(await board.card(description="ß" * 100_000))["id"] for _ in range(43)]
    change = {"closed": True}
    refused = await alice.patch(f"{board.path}/cards", {"ids": long, "change": change}, status=422)
    assert refused["fields"] == {"ids": "too_long"}
    await alice.patch(f"{board.path}/cards", {"ids": long[:3], "change": change})


@pytest.mark.settings(rate_limits=True)
async def test_fifty_cards_are_one_change_of_the_pace(
    board: Board, alice: Person, desk: Any
) -> None:
    ids = [(await board.card())["id"] for _ in range(110)]
    before = desk.pace.left(ALICE)
    assert before >= 3
    await alice.patch(f"{board.path}/cards", {"ids": ids, "change": {"closed": True}})
    assert desk.pace.left(ALICE) == before - 3


async def test_only_members_change_many(
    board: Board, alice: Person, bob: Person, eve: Person, olga: Person
) -> None:
    body = {"ids": [(await board.card())["id"]], "change": {"closed": True}}
    await bob.patch(f"{board.path}/cards", body, status=403)
    await eve.patch(f"{board.path}/cards", body, status=404)
    await olga.delete(board.path)
    refused = await alice.patch(f"{board.path}/cards", body, status=422)
    assert refused["code"] == "project_archived"
