"""Copies of cards; and deleted cards that never come back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Board, make_board
from tests.person import Person
from tests.told import head, told_since

ALICE, BOB, OLGA, ROOT = 3, 4, 2, 1
SAME = (
    "column_id",
    "column_name",
    "description",
    "priority",
    "start_date",
    "due_date",
    "assignee_id",
    "assignees",
    "labels",
)


async def test_a_copy_is_another_card_like_it(board: Board, alice: Person, bob: Person) -> None:
    card = await board.card(
        "Fix the door",
        description="**bold**",
        priority="high",
        start_date="2026-02-01",
        due_date="2026-02-28",
        assignee_ids=[OLGA, ALICE, ROOT],
        label_ids=[board.labels["Design"], board.labels["Bug"]],
        tags=["two words", "a"],
    )
    await board.card("Behind it")
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"closed": True, "time_spent_minutes": 5})
    await alice.post(f"{path}/watch", status=200)
    await alice.post(f"{path}/comments", {"body": "Which one?"})
    steps = [await alice.post(f"{path}/checklist", {"body": body}) for body in ("Buy", "Paint")]
    await alice.put(f"{path}/checklist/{steps[0]['id']}", {"is_completed": True})
    before = await head(bob, board)
    async with bob.socket() as socket:
        answer = await alice.request("POST", f"{path}/copy")
        copy = answer.body
        assert (await socket.next("board.card_created"))["payload"] == copy
    assert len(await told_since(bob, board, before)) == 1
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1{board.path}/cards/{copy['id']}"
    assert {name: copy[name] for name in SAME} == {name: card[name] for name in SAME}
    assert [tag["name"] for tag in copy["tags"]] == [tag["name"] for tag in card["tags"]]
    assert copy["title"] == "Fix the door (copy)"
    assert (copy["key"], copy["position"], copy["version"]) == ("DEMO-3", 3000, 1)
    assert (copy["closed"], copy["time_spent_minutes"]) == (False, 0)
    shown = await alice.get(f"{board.path}/cards/{copy['id']}")
    assert (shown["watchers"], shown["created_by"]["id"]) == ([], ALICE)
    assert (copy["checklist_total"], copy["checklist_done"], copy["comment_count"]) == (2, 1, 0)
    checklist = [(step["body"], step["is_completed"]) for step in shown["checklist"]]
    assert checklist == [("Buy", True), ("Paint", False)]
    facts = await alice.get(f"{board.path}/cards/{copy['id']}/history")
    assert [fact["event_type"] for fact in facts] == ["created"]
    assert (await alice.get(path))["version"] == 2


async def test_a_long_title_has_room_for_the_word(board: Board, alice: Person) -> None:
    card = await board.card("x" * 500)
    copy = await alice.post(f"{board.path}/cards/{card['id']}/copy")
    assert copy["title"] == "x" * 493 + " (copy)"


@pytest.mark.foul
async def test_a_copy_is_assigned_to_whom_one_may_still_assign(
    board: Board, alice: Person, connection: Any
) -> None:
    card = await board.card(assignee_ids=[ROOT, BOB, ALICE])
    await connection.execute("update users set is_active = false where id = $1", BOB)
    await connection.execute("update users set global_role = 'user' where id = $1", ROOT)
    copy = await alice.post(f"{board.path}/cards/{card['id']}/copy")
    assert [user["id"] for user in copy["assignees"]] == [ALICE]


async def test_a_copy_of_an_archived_card_stands_on_the_board(board: Board, alice: Person) -> None:
    card = await board.card()
    await alice.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    copy = await alice.post(f"{board.path}/cards/{card['id']}/copy")
    assert copy["archived_at"] is None
    assert [each["id"] for each in await alice.get(f"{board.path}/cards")] == [copy["id"]]


async def test_members_copy_what_is_there(
    board: Board, alice: Person, olga: Person, bob: Person, eve: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/copy"
    await bob.post(path, status=403)
    await eve.post(path, status=404)
    await alice.post(f"{other.path}/cards/{card['id']}/copy", status=404)
    stale = await alice.request("POST", path, headers={"If-Match": '"7"'})
    assert (stale.status, stale.body["current"]["version"]) == (412, 1)
    await alice.delete(f"{board.path}/cards/{card['id']}")
    await alice.post(path, status=404)
    assert (await olga.post(f"{board.path}/cards/{card['id']}/restore", status=200))["id"]
    assert (await board.card())["card_number"] == 2
    await olga.delete(board.path)
    assert (await alice.post(path, status=422))["code"] == "project_archived"


# Never to come back


async def test_a_deleted_card_is_taken_out_of_the_database(
    board: Board, alice: Person, olga: Person, bob: Person, connection: Any
) -> None:
    card = await board.card(
        "Secret", assignee_ids=[ALICE], label_ids=[board.labels["Bug"]], tags=["secret"]
    )
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/watch", status=200)
    await olga.delete(f"{path}/permanent", status=404)
    await alice.delete(path)
    await alice.delete(f"{path}/permanent", status=403)
    before = await head(bob, board)
    await olga.delete(f"{path}/permanent")
    assert await told_since(bob, board, before) == []
    await olga.delete(f"{path}/permanent", status=404)
    await olga.post(f"{path}/restore", status=404)
    assert await olga.get(f"{board.path}/cards/deleted") == []
    for table in ("card_assignees", "card_labels", "card_tags", "card_watchers", "card_history"):
        count = await connection.fetchval(
            f"select count(*) from {table} where card_id = $1", card["id"]
        )
        assert count == 0, table
    assert (await board.card())["card_number"] == 2


async def test_nobody_purges_a_card_of_another_project(
    board: Board, alice: Person, olga: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    card = await other.card()
    await alice.delete(f"{other.path}/cards/{card['id']}")
    await olga.delete(f"{board.path}/cards/{card['id']}/permanent", status=404)
    assert len(await olga.get(f"{other.path}/cards/deleted")) == 1
    await olga.delete(other.path)
    await olga.delete(f"{other.path}/cards/{card['id']}/permanent", status=422)
