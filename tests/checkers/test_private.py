"""Whoever is told what they may not see is found, and who is not told what they may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.checkers.broken import breaks
from tests.checkers.ears import listening
from tests.checkers.private import Private
from tests.conftest import Board, until
from tests.person import Person

IN_IT = (
    """'user:' || m.user_id from conversation_members m where m.conversation_id = conversation_"""
)


class Ear:
    """What a person's own socket gets goes to the checker."""

    def __init__(self, private: Private, person: Person) -> None:
        self.private, self.person = private, person
        self.frames: list[Any] = []

    def frame(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        self.private.frame(self.person.id, frame)


@pytest.fixture
async def private(connection: Any) -> Private:
    made = Private()
    await made.begin(connection)
    return made


@pytest.fixture
async def ears(
    private: Private, alice: Person, bob: Person, eve: Person
) -> AsyncIterator[dict[str, Ear]]:
    """Three who listen."""
    made = {person.username: Ear(private, person) for person in (alice, bob, eve)}
    async with (
        listening(alice, made["alice"], place="user"),
        listening(bob, made["bob"], place="user"),
        listening(eve, made["eve"], place="user"),
    ):
        await until(lambda: all(ear.frames for ear in made.values()))
        yield made


async def talk(board: Board, alice: Person, bob: Person, olga: Person, eve: Person) -> Any:
    """People come and go, write, read, delete and name each other: the group's path."""
    group = await alice.post("/conversations", {"user_ids": [bob.id, olga.id], "name": "Lunch"})
    path = f"/conversations/{group['id']}"
    two = await bob.post("/conversations", {"user_ids": [alice.id]})
    await bob.post(f"/conversations/{two['id']}/messages", {"body": "just us"})
    first = await alice.post(f"{path}/messages", {"body": "Soup?"})
    await bob.post(f"{path}/messages", {"body": "Yes @alice and @eve"})
    await alice.post(f"{path}/members", {"user_id": eve.id}, status=201)
    again = await olga.post(f"{path}/messages", {"body": "With @eve"})
    await eve.post(f"{path}/read", {"message_id": again["id"]}, status=204)
    await eve.post(f"{path}/messages", {"body": "I do"})
    await alice.delete(f"{path}/messages/{first['id']}")
    await alice.delete(f"{path}/members/{eve.id}")
    await alice.post(f"{path}/messages", {"body": "Sorry"})
    await alice.post(f"{path}/members", {"user_id": eve.id}, status=201)
    await bob.post(f"{path}/messages", {"body": "So what"})
    await olga.delete(f"{path}/members/{olga.id}")
    card = await board.card()
    for place in ("comments", "comments"):
        comment = {"body": "see @bob @eve @root", "minutes": 5}
        await alice.post(f"{board.path}/cards/{card['id']}/{place}", comment)
    topic = await alice.post(f"{board.path}/topics", {"title": "Why?", "body": "for @olga"})
    await olga.post(f"{board.path}/topics/{topic['id']}/replies", {"body": "hm @bob"})
    await alice.post(f"{board.path}/chat/messages", {"body": "psst @bob `@olga`"})
    await olga.delete(f"{board.path}/members/{bob.id}")
    return path


def said(private: Private) -> str:
    return "\n".join(private.broken)


async def test_as_it_is_everybody_is_told_what_they_may_see(
    *,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    eve: Person,
    private: Private,
    connection: Any,
    ears: dict[str, Ear],
) -> None:
    await talk(board, alice, bob, olga, eve)
    await until(lambda: sum(f["type"] == "dm.message" for f in ears["eve"].frames) == 3)
    await private.compare(connection)
    private.whole()
    assert private.messages == 6
    assert private.notifications > 10
    assert private.frames > 20


@pytest.mark.foul
@pytest.mark.parametrize(
    ("function", "right", "wrong", "words"),
    [
        (
            "send_conversation_message",
            IN_IT,
            "'user:' || m.user_id from (select user_id from conversation_members k where"
            " k.conversation_id = conversation_ union select 5) m",
            "which is told to user 5, who may not see it|, in which they are not",
        ),
        (
            "send_conversation_message",
            IN_IT,
            f"{IN_IT} and m.user_id <> 4",
            "of conversation 1 is not told to user 4",
        ),
        (
            "note",
            "else talk.user_id is not null and",
            "else",
            "was for user 5, who could not see conversation 1",
        ),
        (
            "note",
            "effective_role(u.global_role, m.role) is not null",
            "true",
            "was for user 5, who could not see project 1",
        ),
        (
            "note_comment",
            "from unnest(people_named(m.user_id, c.project_id, names_)) n (id)",
            "from (select 2 where false) n (id)",
            "user 4 is named in card_comments 1, and not notified",
        ),
        (
            "note_names",
            "people_named(about_.actor_id, about_.project_id, names_)",
            "array[2]",
            "user 4 is named in chat_messages 1, and not notified",
        ),
        (
            "note_names",
            "people_named(about_.actor_id, about_.project_id, names_)",
            "array[2, 4]",
            "user 2 is notified of chat_messages 1, which does not name them",
        ),
        (
            "note_message",
            "and m.user_id <> all(waiting || named)",
            "and m.user_id <> 4",
            "user 4 is not notified of message 2 of conversation 1",
        ),
        (
            "note_message",
            "and m.user_id <> all(waiting || named)",
            "and m.user_id <> all(named)",
            "user 4 is notified twice of unread conversation 1",
        ),
        (
            "create_reply",
            "named || author",
            "named || actor_",
            "user 3 is replied to in topic_replies 1, and not notified",
        ),
        (
            "tell_notifications",
            "if cardinality(ids_) = 0 then",
            "if true then",
            "is for user 4, and told to []",
        ),
        (
            "forget_notifications",
            "if cardinality(ids_ || done_) = 0 then",
            "if true then",
            "is left to user 5, who left conversation 1",
        ),
    ],
)
async def test_what_is_told_wrongly_is_found(
    *,
    function: str,
    right: str,
    wrong: str,
    words: str,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    eve: Person,
    private: Private,
    connection: Any,
) -> None:
    assert (olga.id, alice.id, bob.id, eve.id) == (2, 3, 4, 5)
    await breaks(connection, function, right, wrong)
    await talk(board, alice, bob, olga, eve)
    await private.compare(connection)
    assert any(word in said(private) for word in words.split("|")), said(private)
    count = private.count
    await private.compare(connection)
    assert private.count == count


@pytest.mark.foul
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "delete from events where type = 'dm.conversation_created' and channel = 'user:4'",
            "user 4 is told dm.conversation_created of conversation 1 0 times, not 1",
        ),
        (
            "delete from events where type = 'dm.conversation_deleted' and channel = 'user:2'",
            "user 2 is told dm.conversation_deleted of conversation 1 0 times, not 1",
        ),
        (
            "delete from events where type = 'dm.member_added' and channel = 'user:4'",
            "user 4 is told dm.member_added of user 5 of conversation 1 0 times, not 2",
        ),
        (
            "delete from events where type = 'dm.member_removed' and channel = 'user:3'",
            "user 3 is told dm.member_removed of user 5 of conversation 1 0 times, not 1",
        ),
        (
            "insert into events select 'user:2', seq + 1000, type, payload, actor_id, client_id,"
            " entity, created_at from events where channel = 'user:4' and type = 'notification'",
            "is for user 4, and told to [2, 4]",
        ),
        (
            "insert into events select channel, seq + 1000, type, payload, actor_id, client_id,"
            " entity, created_at from events where channel = 'user:4' and type = 'dm.message'",
            "is told to user 4 2 times",
        ),
    ],
)
async def test_a_feed_that_is_not_right_is_found(
    *,
    statement: str,
    words: str,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    eve: Person,
    private: Private,
    connection: Any,
) -> None:
    await talk(board, alice, bob, olga, eve)
    await connection.execute(statement)
    await private.compare(connection)
    assert words in said(private)


async def test_a_socket_that_gets_what_is_others_is_found(
    *,
    board: Board,
    alice: Person,
    bob: Person,
    olga: Person,
    eve: Person,
    private: Private,
    connection: Any,
    ears: dict[str, Ear],
) -> None:
    await talk(board, alice, bob, olga, eve)
    await until(lambda: any(f["type"] == "project.left" for f in ears["bob"].frames))
    for frame in ears["bob"].frames:
        private.frame(olga.id, frame)
        if frame["type"] == "dm.message":
            private.frame(eve.id, frame | {"seq": frame["seq"] + 1000})
    await private.compare(connection)
    for words in (
        "user 2 got notification ",
        "user 2 got dm.conversation_created ",
        " of conversation 2",
        "user 5 got message ",
    ):
        assert words in said(private), said(private)
