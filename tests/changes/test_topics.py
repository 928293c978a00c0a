"""Topics and replies that are changed at once: each change is whole, and told in an order in which
a client that follows shows what a fetch shows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conftest import Board, Door, Invite, until
from tests.locks import waiting
from tests.person import Person, Wire
from warmdesk.client import Answer

Json = dict[str, Any]


@pytest.fixture
async def topic(board: Board, alice: Person) -> str:
    made = await alice.post(f"{board.path}/topics", {"title": "Which door?", "body": "Both."})
    return f"{board.path}/topics/{made['id']}"


@asynccontextmanager
async def held(connection: Any, topic: str) -> AsyncIterator[None]:
    """Nobody else gets at a topic; those who wait go on in the order in which they came."""
    async with connection.transaction():
        id_ = int(topic.rpartition("/")[2])
        await connection.execute("select from topics where id = $1 for update", id_)
        yield


async def in_order(
    connection: Any, topic: str, *asking: Callable[[], Awaitable[Answer]]
) -> list[Answer]:
    """What all are answered who wait for a topic at once, in this order."""
    tasks = []
    async with held(connection, topic):
        for number, ask in enumerate(asking, start=1):
            tasks.append(asyncio.ensure_future(ask()))
            await waiting(connection, number)
    return await asyncio.gather(*tasks)


async def told(person: Person, board: Board) -> list[str]:
    return [each["type"] for each in (await person.get(f"{board.path}/events"))["events"]]


async def test_who_replies_while_a_topic_is_deleted_hears_that(
    board: Board, topic: str, alice: Person, olga: Person, connection: Any
) -> None:
    """And nothing is told of the topic after its deletion."""
    reply = await alice.post(f"{topic}/replies", {"body": "The front door."})
    one = f"{topic}/replies/{reply['id']}"
    answers = await in_order(
        connection,
        topic,
        lambda: alice.request("DELETE", topic),
        lambda: olga.request("POST", f"{topic}/replies", {"body": "The back door."}),
        lambda: alice.request("PUT", one, {"body": "Both."}),
        lambda: olga.request("PUT", topic, {"is_pinned": True}),
    )
    assert [each.status for each in answers] == [204, 404, 404, 404]
    assert (await told(alice, board))[-3:] == ["gone", "gone", "topic.deleted"]
    assert await connection.fetchval("select count(*) from topic_replies") == 1


async def test_a_reply_of_just_before_goes_with_its_topic(
    board: Board, topic: str, alice: Person, olga: Person, connection: Any
) -> None:
    answers = await in_order(
        connection,
        topic,
        lambda: olga.request("POST", f"{topic}/replies", {"body": "A secret."}, key="k"),
        lambda: alice.request("DELETE", topic),
    )
    assert [each.status for each in answers] == [201, 204]
    events = (await alice.get(f"{board.path}/events"))["events"]
    assert [each["type"] for each in events[-3:]] == ["gone", "gone", "topic.deleted"]
    assert "secret" not in str(events)
    again = await olga.request("POST", f"{topic}/replies", {"body": "A secret."}, key="k")
    assert (again.status, again.body["code"]) == (410, "deleted")


async def test_a_reply_is_deleted_once(
    board: Board, topic: str, alice: Person, olga: Person, connection: Any
) -> None:
    first, _ = [await alice.post(f"{topic}/replies", {"body": body}) for body in ("One", "Two")]
    one = f"{topic}/replies/{first['id']}"
    answers = await in_order(
        connection,
        topic,
        lambda: olga.request("DELETE", one),
        lambda: alice.request("DELETE", one),
        lambda: alice.request("PUT", one, {"body": "Three"}),
    )
    assert [each.status for each in answers] == [204, 404, 404]
    assert (await alice.get(topic))["reply_count"] == 1
    assert (await told(alice, board)).count("topic.reply_deleted") == 1


async def test_a_pin_and_an_edit_at_once_are_both_kept(
    topic: str, alice: Person, olga: Person, connection: Any
) -> None:
    edited, pinned = await in_order(
        connection,
        topic,
        lambda: alice.request("PUT", topic, {"title": "Which one?"}),
        lambda: olga.request("PUT", topic, {"is_pinned": True}),
    )
    assert (edited.body["title"], edited.body["is_pinned"]) == ("Which one?", False)
    assert (pinned.body["title"], pinned.body["is_pinned"]) == ("Which one?", True)
    assert (edited.body["version"], pinned.body["version"]) == (2, 3)


async def test_the_answer_of_an_edit_counts_the_reply_before_it(
    topic: str, alice: Person, olga: Person, connection: Any
) -> None:
    reply, edited = await in_order(
        connection,
        topic,
        lambda: olga.request("POST", f"{topic}/replies", {"body": "The front door."}),
        lambda: alice.request("PUT", topic, {"title": "Which one?"}),
    )
    assert (edited.body["reply_count"], edited.body["version"]) == (1, 2)
    assert edited.body["last_activity_at"] == reply.body["created_at"]


async def test_ids_of_replies_follow_the_order_in_which_they_are_told(
    board: Board, topic: str, alice: Person, olga: Person
) -> None:
    await asyncio.gather(
        *(who.post(f"{topic}/replies", {"body": "At once"}) for who in (alice, olga) * 15)
    )
    events = (await alice.get(f"{board.path}/events?limit=500"))["events"]
    ids = [each["payload"]["id"] for each in events if each["type"] == "topic.reply_created"]
    assert ids == sorted(ids)
    assert [each["id"] for each in await alice.get(f"{topic}/replies")] == ids
    assert (await alice.get(topic))["reply_count"] == 30


# Whatever is done at once


class Shown:
    """The topics of a project as a client has them who follows the events."""

    def __init__(self) -> None:
        self.topics: dict[int, Json] = {}
        self.replies: dict[int, Json] = {}
        self.blanks = 0

    def apply(self, event: Json) -> None:
        kind, payload = event["type"], event["payload"]
        if kind in ("topic.created", "topic.updated"):
            self.topics[payload["id"]] = payload
        elif kind == "topic.deleted":
            self.topics.pop(payload["id"], None)
            for id_ in [r["id"] for r in self.replies.values() if r["topic_id"] == payload["id"]]:
                del self.replies[id_]
        elif kind == "topic.reply_created":
            self.replies[payload["id"]] = payload
            self._count(payload, 1, last_activity_at=payload["created_at"])
        elif kind == "topic.reply_updated":
            self.replies[payload["id"]] = payload
        elif kind == "topic.reply_deleted":
            if self.replies.pop(payload["id"], None) is not None:
                self._count(payload, -1)
        elif kind == "project.member_updated":
            user = payload["user"]
            for things in (self.topics, self.replies):
                for id_, thing in things.items():
                    if thing["user_id"] == user["id"]:
                        things[id_] = thing | {"user": user}
        self.blanks += kind == "gone"

    def _count(self, reply: Json, more: int, **changes: str) -> None:
        topic = self.topics[reply["topic_id"]]
        changed = {"reply_count": topic["reply_count"] + more, **changes}
        self.topics[reply["topic_id"]] = topic | changed


async def fetched(person: Person, path: str) -> tuple[list[Json], list[Json]]:
    topics = await person.get(f"{path}?limit=500")
    replies = [await person.get(f"{path}/{topic['id']}/replies?limit=200") for topic in topics]
    return topics, [reply for part in replies for reply in part]


@pytest.mark.parametrize("seed", range(4))
async def test_who_follows_shows_what_is_there_whatever_is_done_at_once(
    board: Board,
    alice: Person,
    olga: Person,
    bob: Person,
    twin: Door,
    person: Invite,
    seed: int,
) -> None:
    dice = random.Random(seed)
    people = [alice, olga, person("alice", url=twin.url), person("olga", url=twin.url)]
    path = f"{board.path}/topics"
    topics: list[int] = []
    replies: list[tuple[int, int]] = []

    async def act(number: int) -> None:
        who, choice = dice.choice(people), dice.random()
        if choice < 0.15 or not topics:
            made = await who.post(path, {"title": f"Topic {number}", "body": "x" * number})
            topics.append(made["id"])
            return
        topic = dice.choice(topics)
        if choice < 0.5:
            sent = {"body": f"Reply {number}"}
            answer = await who.request("POST", f"{path}/{topic}/replies", sent)
            if answer.status == 201:
                replies.append((topic, answer.body["id"]))
        elif choice < 0.6:
            sent_too = {"title": f"Title {number}", "is_pinned": dice.random() < 0.5}
            answer = await who.request("PUT", f"{path}/{topic}", sent_too)
        elif choice < 0.65:
            answer = await who.request("DELETE", f"{path}/{topic}")
        elif choice < 0.75:
            answer = await who.request("PUT", "/users/me", {"display_name": f"Name {number}"})
        elif replies:
            topic, reply = dice.choice(replies)
            method = dice.choice(["PUT", "DELETE"])
            sent = {"body": f"Text {number}"}
            answer = await who.request(method, f"{path}/{topic}/replies/{reply}", sent)
        else:
            return
        assert answer.status in (200, 201, 204, 403, 404), answer.body

    state = Shown()
    async with bob.socket("demo") as socket:
        for number in range(0, 160, 8):
            await asyncio.gather(*(act(number + each) for each in range(8)))
            # What is deleted before it was told comes blank.
            head = (await bob.get(f"{board.path}?include=labels"))["seq"]
            await socket_at(socket, head)
        for event in socket.events:
            state.apply(event)
    assert state.blanks == 0
    listed, said = await fetched(bob, path)
    shown = sorted(state.topics.values(), key=lambda t: (t["is_pinned"], t["id"]), reverse=True)
    assert shown == listed
    assert len(listed) > 3
    assert len(said) > 10
    assert sorted(state.replies.values(), key=by_id) == sorted(said, key=by_id)


async def socket_at(socket: Wire, head: int) -> None:
    await until(lambda: socket.events and socket.events[-1]["seq"] == head)


def by_id(thing: Json) -> int:
    return int(thing["id"])
