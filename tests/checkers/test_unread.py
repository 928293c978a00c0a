"""A count that is not what is there is found, whoever says it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.checkers.broken import breaks
from tests.checkers.ears import listening
from tests.checkers.unread import Inbox, Unread
from tests.conftest import Board, until
from tests.person import Person, Wire


@pytest.fixture
def unread() -> Unread:
    return Unread()


@pytest.fixture
async def inbox(bob: Person, alice: Person, olga: Person) -> AsyncIterator[Inbox]:
    """Bob follows."""
    for person in (alice, olga):
        await person.token()
    made = Inbox(bob.id)
    async with listening(bob, made, place="user") as wire:
        await until(lambda: wire.frames)
        made.wire = wire  # type: ignore[attr-defined]
        yield made


async def work(board: Board, alice: Person, bob: Person, olga: Person) -> None:
    """Bob has three unread messages in one conversation, one in another, and notifications."""
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    for body in ("see @bob", "see @bob again", "see @bob too"):
        await alice.post(f"{path}/comments", {"body": body, "minutes": 5})
    item = await alice.post(f"{path}/checklist", {"body": "do"})
    await alice.put(f"{path}/checklist/{item['id']}", {"is_completed": True})
    topic = await alice.post(f"{board.path}/topics", {"title": "Why?"})
    await olga.post(f"{board.path}/topics/{topic['id']}/replies", {"body": "hm @bob"})
    group = await alice.post("/conversations", {"user_ids": [bob.id, olga.id]})
    talk = f"/conversations/{group['id']}"
    sent = [await olga.post(f"{talk}/messages", {"body": f"say {number}"}) for number in range(6)]
    await bob.post(f"{talk}/read", {"message_id": sent[1]["id"]}, status=204)
    await olga.delete(f"{talk}/messages/{sent[3]['id']}")
    await bob.post(f"{talk}/messages", {"body": "mine"})
    two = await olga.post("/conversations", {"user_ids": [bob.id]})
    await olga.post(f"/conversations/{two['id']}/messages", {"body": "psst"})
    listed = (await bob.get("/notifications"))["items"]
    named = [each["id"] for each in listed if each["kind"] == "mention"]
    await bob.delete(f"/notifications/{named[1]}")
    await bob.post(f"/notifications/{named[0]}/read", status=204)
    await olga.post(f"{board.path}/topics/{topic['id']}/replies", {"body": "well @bob"})


async def counts(unread: Unread, connection: Any, bob: Person, inbox: Inbox) -> None:
    wire: Wire = inbox.wire  # type: ignore[attr-defined]
    await wire.settle()
    await unread.counters(connection)
    await unread.compare(connection, bob.client, bob.id)
    await unread.follows(connection, inbox)


async def test_what_is_said_is_what_is_there(
    *,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    connection: Any,
    unread: Unread,
    inbox: Inbox,
) -> None:
    await work(board, alice, bob, olga)
    await counts(unread, connection, bob, inbox)
    unread.whole()
    assert inbox.notifications == 6
    assert sorted(inbox.shown().values()) == [1, 3]
    await bob.post("/notifications/read-all", status=204)
    await counts(unread, connection, bob, inbox)
    unread.whole()
    assert inbox.notifications == 0


@pytest.mark.foul
@pytest.mark.parametrize(
    ("function", "right", "wrong", "words"),
    [
        (
            "unread_notifications",
            "select count(*)",
            "select count(*) + 1",
            "unread_count of user 4's notifications is 7, a recount gives 6"
            "|user 4's unread_notifications in hello is 7",
        ),
        (
            "unread_count",
            "and not n.is_deleted",
            "",
            "unread_count of user 4's conversation 1 is 4, a recount gives 3",
        ),
        (
            "is_unread",
            "n.sender_id <> reader_",
            "false",
            "user 4's unread_conversations in hello is 0, a recount gives 2",
        ),
        (
            "read_notifications",
            "unread_notifications(user_) as unread",
            "unread_notifications(user_) + 1 as unread",
            "unread notifications that user 4 followed is 7, a recount gives 6",
        ),
        (
            "mark_conversation_read",
            "if not found then",
            "if true then",
            "user 4 has read conversation 1, and is notified that there is something",
        ),
        (
            "tell_notifications",
            "if cardinality(ids_) = 0 then",
            "if true then",
            "unread notifications that user 4 followed is 5, a recount gives 6",
        ),
        (
            "create_comment",
            "k.comment_count + 1",
            "k.comment_count + 2",
            "comment_count of card 1 is 6, a recount gives 3",
        ),
        (
            "create_comment",
            "k.time_spent_minutes + minutes_",
            "minutes_",
            "time_spent_minutes of card 1 is 5, a recount gives 15",
        ),
        (
            "create_reply",
            "t.reply_count + 1",
            "t.reply_count",
            "reply_count of topic 1 is 0, a recount gives 2",
        ),
        (
            "note_message",
            "and m.user_id <> all(waiting || named)",
            "and m.user_id <> all(named)",
            "user 4 has 6 unread notifications that there is something in conversation 1",
        ),
    ],
)
async def test_a_wrong_count_is_found(
    *,
    function: str,
    right: str,
    wrong: str,
    words: str,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    connection: Any,
    unread: Unread,
    inbox: Inbox,
) -> None:
    await breaks(connection, function, right, wrong)
    await work(board, alice, bob, olga)
    if function == "mark_conversation_read":
        newest = (await bob.get("/conversations/1/messages"))[-1]["id"]
        await bob.post("/conversations/1/read", {"message_id": newest}, status=204)
    await counts(unread, connection, bob, inbox)
    said = "\n".join(unread.broken)
    assert all(word in said for word in words.split("|")), said


@pytest.mark.foul
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "update cards set checklist_total = 2, checklist_done = 0",
            "checklist_total of card 1 is 2|checklist_done of card 1 is 0",
        ),
        (
            "delete from conversation_members where user_id = 4 and conversation_id = 2",
            "conversations that user 4 followed is {1: 3, 2: 1}, a recount gives {1: 3}",
        ),
    ],
)
async def test_a_row_that_is_not_right_is_found(
    *,
    statement: str,
    words: str,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    connection: Any,
    unread: Unread,
    inbox: Inbox,
) -> None:
    await work(board, alice, bob, olga)
    await connection.execute(statement)
    await counts(unread, connection, bob, inbox)
    said = "\n".join(unread.broken)
    assert all(word in said for word in words.split("|")), said
