"""Brief cards: what a board shows of them, with ids alone and without what is nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.conftest import Board
from tests.person import Person
from tests.rest.test_card_pages import ids, make_cards, walk
from warmdesk.db.queries import sql

NOTHING: tuple[Any, ...] = (None, False, 0, "", "none")
SAME = (
    "id",
    "card_number",
    "column_id",
    "title",
    "position",
    "priority",
    "due_date",
    "closed",
    "has_description",
    "time_spent_minutes",
    "comment_count",
    "checklist_total",
    "checklist_done",
    "attachment_count",
    "version",
)


def brief(card: Any) -> Any:
    """What a whole card looks like in brief."""
    made = {key: card[key] for key in SAME if card[key] not in NOTHING}
    return made | {
        "assignee_ids": [each["id"] for each in card["assignees"]],
        "label_ids": [each["id"] for each in card["labels"]],
        "tags": [each["name"] for each in card["tags"]],
    }


@pytest.fixture
async def cards(board: Board, alice: Person, olga: Person) -> list[Any]:
    """One with nothing, one with everything, and others between."""
    await board.card("Nothing")
    full = await board.card(
        'All: "\\ \x01\n🦊 </script>',
        description="Words",
        priority="critical",
        start_date="2026-04-01",
        due_date="2026-04-04",
        assignee_ids=[olga.id, alice.id],
        label_ids=[board.labels["Feature"], board.labels["Bug"]],
        tags=["zebra", 'a "quoted" one', "\\"],
    )
    path = f"{board.path}/cards/{full['id']}"
    await alice.put(path, {"closed": True, "time_spent_minutes": 90})
    await alice.post(f"{path}/comments", {"body": "hello"})
    for body in ("one", "two"):
        item = await alice.post(f"{path}/checklist", {"body": body})
    await alice.put(f"{path}/checklist/{item['id']}", {"is_completed": True})
    await board.card("Low", column=board.done, priority="low", label_ids=[board.labels["Bug"]])
    gone = await olga.post(f"{board.path}/labels", {"name": "Gone", "color": "#123456"})
    await board.card("Without it", column=board.done, label_ids=[gone["id"]], tags=["one"])
    await olga.delete(f"{board.path}/labels/{gone['id']}")
    return [each async for each in alice.client.items(f"{board.path}/cards")]


async def test_a_board_shows_brief_cards(board: Board, cards: list[Any], bob: Person) -> None:
    shown = await bob.get(f"{board.path}?cards=brief")
    whole = await bob.get(board.path)
    for column, other in zip(shown["columns"], whole["columns"], strict=True):
        assert column.pop("cards") == [brief(card) for card in other.pop("cards")]
    assert shown == whole
    assert {len(brief(card)) for card in cards} >= {9, 17}


async def test_a_columns_list_shows_brief_cards(
    board: Board, cards: list[Any], bob: Person
) -> None:
    for column in (board.backlog, board.done):
        path = f"{board.path}/columns/{column}/cards"
        assert await bob.get(f"{path}?cards=brief") == [
            brief(card) for card in cards if card["column_id"] == column
        ]
        assert await bob.get(path) == [card for card in cards if card["column_id"] == column]


async def test_a_column_goes_on_behind_a_brief_board(board: Board, bob: Person) -> None:
    made = await make_cards(board, 5)
    path = f"{board.path}/columns/{board.backlog}/cards"
    column = (await bob.get(f"{board.path}?cards=brief&cards_limit=2"))["columns"][0]
    assert (ids(column["cards"]), column["cards_more"]) == (made[:2], True)
    goes_on = f"{path}?cards=brief&limit=1&cursor={column['cards_next']}"
    assert await walk(bob, goes_on) == made[2:]
    refused = await bob.get(f"{path}?cursor={column['cards_next']}", status=400)
    assert refused["fields"] == {"cursor": "unknown"}


async def test_brief_boards_are_kept_apart_from_whole_ones(
    board: Board, cards: list[Any], alice: Person, bob: Person
) -> None:
    tags = set()
    for _ in range(2):
        for sent in ("", "?cards=brief", "?cards=brief&cards_limit=1", "?cards_limit=1"):
            answer = await bob.request("GET", f"{board.path}{sent}")
            first = answer.body["columns"][0]["cards"][0]
            assert ("assignee_ids" in first) == ("brief" in sent)
            tags.add(answer.headers["ETag"])
    assert len(tags) == 4
    seen = {"If-None-Match": (await bob.request("GET", board.path)).headers["ETag"]}
    assert (await bob.request("GET", board.path, headers=seen)).status == 304
    path = f"{board.path}?cards=brief"
    shown = await bob.request("GET", path, headers=seen)
    assert shown.status == 200
    seen = {"If-None-Match": shown.headers["ETag"]}
    assert (await bob.request("GET", path, headers=seen)).status == 304
    await alice.put(f"{board.path}/cards/{cards[0]['id']}", {"title": "Other"})
    changed = await bob.request("GET", path, headers=seen)
    assert changed.body["columns"][0]["cards"][0]["title"] == "Other"


async def test_as_many_brief_cards_are_shown_as_fit(board: Board, connection: Any) -> None:
    made = await make_cards(board, 9)
    rows = await connection.fetch("select * from brief_cards($1::bigint[], 100000)", made)
    assert [row["id"] for row in rows] == made
    lengths = [len(row["card"]) + 1 for row in rows]
    for fit in range(9):
        for room in (sum(lengths[:fit]), sum(lengths[: fit + 1]) - 1):
            cut = await connection.fetch("select * from brief_cards($1::bigint[], $2)", made, room)
            assert [row["id"] for row in cut] == made[:fit]
    page = await sql.cards.in_column(
        connection,
        project_id=board.id,
        column_id=board.backlog,
        include_closed=True,
        include_archived=False,
        brief=True,
        after_card_id=None,
        after_position=None,
        after_id=None,
        after_version=None,
        limit=100,
        bytes=sum(lengths[:4]),
    )
    assert [card["id"] for card in orjson.loads(page["items"])] == made[:4]
    assert orjson.loads(page["next"])[1] == made[3]


@pytest.mark.parametrize("wrong", ["full", "", "BRIEF"])
async def test_another_form_is_refused(board: Board, bob: Person, wrong: str) -> None:
    for path in (board.path, f"{board.path}/columns/{board.backlog}/cards"):
        refused = await bob.get(f"{path}?cards={wrong}", status=400)
        assert refused["fields"] == {"cards": "not_one_of"}


async def test_whatever_shows_a_card_says_whether_it_has_a_description(
    board: Board, alice: Person, bob: Person
) -> None:
    async with bob.socket("demo") as socket:
        card = await board.card(description="Words")
        path = f"{board.path}/cards/{card['id']}"
        cleared = await alice.put(path, {"description": ""})
        written = await alice.put(path, {"description": "Other"})
        assert [each["has_description"] for each in (card, cleared, written)] == [True, False, True]
        told = [await socket.next(f"board.card_{did}") for did in ("created", "updated", "updated")]
    assert [frame["payload"]["has_description"] for frame in told] == [True, False, True]
