"""Messages of chats and of conversations that wait for one moment go together, and each still gets
its own answer.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, make_board, until
from tests.locks import waiting
from tests.person import Person
from tests.rest.test_conversations import begin
from warmdesk.auth.actor import Role
from warmdesk.changes import messages as messages_module
from warmdesk.changes.chat import Chat
from warmdesk.changes.conversations import Conversations
from warmdesk.changes.messages import CARRIERS, Messages, Most, PendingMessage
from warmdesk.db.pool import BUDGET, Budget
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable, WarmDeskError
from warmdesk.realtime.change import ChangeContext, Outcome

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
REUSED = "this Idempotency-Key was used with another body"


@dataclass
class Talk:
    """A kind of place where root, olga and alice may write and bob may not, as one process writes
    there.
    """

    sender: Chat | Conversations
    name: str
    """Of the table of such places."""
    refusal: tuple[int, str]
    """What bob is told."""
    make: Callable[[], Awaitable[int]]
    """Makes another place: its id."""
    here: int = 0

    @property
    def is_chat(self) -> bool:
        return isinstance(self.sender, Chat)

    @property
    def messages(self) -> Messages:
        return self.sender.messages

    @property
    def another_process(self) -> Talk:
        return replace(self, sender=type(self.sender)(self.sender.changes))

    def path(self, place: int = 0) -> str:
        """Of the messages of a place, but for chats of the first one alone."""
        if self.is_chat:
            return "/projects/demo/chat/messages"
        return f"/conversations/{place or self.here}/messages"

    def channels(self, place: int) -> list[str]:
        """On which all that is said there is told."""
        if self.is_chat:
            return [f"project:{place}"]
        return [f"user:{each}" for each in (ROOT, OLGA, ALICE)]

    def context(self, actor: int = ALICE, place: int = 0, key: str | None = None) -> ChangeContext:
        context = ChangeContext(
            actor_id=actor,
            key=key,
            path=f"{place or self.here}" if key else "",
            keyed=key is not None,
        )
        if self.is_chat:
            return context._replace(project_id=place or self.here, need=Role.MEMBER)
        return context._replace(conversation_id=place or self.here)

    async def send(
        self,
        body: str,
        nonce: str | None = None,
        *,
        actor: int = ALICE,
        place: int = 0,
        key: str | None = None,
    ) -> Outcome:
        context = self.context(actor, place, key)
        return await self.sender.send(context._replace(body_hash=body if key else ""), body, nonce)

    def task(self, body: str, nonce: str | None = None, **options: Any) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.send(body, nonce, **options))

    async def hold(self, connection: Any, *places: int) -> None:
        """Lock places, or this one, until the connection's transaction ends: messages wait."""
        rows = f"select 1 from {self.name}s where id = any($1) for update"
        await connection.execute(rows, list(places or (self.here,)))

    async def transactions(self, connection: Any) -> int:
        """In how many transactions the messages were written."""
        count: int = await connection.fetchval(
            f"select count(distinct xmin::text) from {self.rows}"
        )
        return count

    async def bodies(self, connection: Any, place: int = 0) -> list[str]:
        rows = await connection.fetch(
            f"select body from {self.rows} where {self.name}_id = $1 order by id",
            place or self.here,
        )
        return [row["body"] for row in rows]

    @property
    def rows(self) -> str:
        return "chat_messages" if self.is_chat else "conversation_messages"


@pytest.fixture(params=["chat", "conversations"])
async def talk(
    request: pytest.FixtureRequest, desk: Desk, board: Board, olga: Person, alice: Person
) -> Talk:
    async def project() -> int:
        number = len(await olga.get("/projects"))
        return (await make_board(olga, alice, f"Other {number}")).id

    async def conversation() -> int:
        made: int = (await begin(alice, ROOT, OLGA))["id"]
        return made

    if request.param == "chat":
        refusal = 403, "your role does not allow this"
        return Talk(Chat(desk.changes), "project", refusal, project, board.id)
    refusal = 404, "conversation not found"
    conversations = Conversations(desk.changes)
    return Talk(conversations, "conversation", refusal, conversation, await conversation())


async def answers(*sending: Any) -> list[Any]:
    """What each got: an outcome or a refusal."""
    return list(await asyncio.gather(*sending, return_exceptions=True))


def told(outcome: Any) -> tuple[Any, ...]:
    """Status, text and replay of an answer."""
    if isinstance(outcome, Outcome):
        return outcome.status, json.loads(outcome.text)["body"], outcome.replay
    assert isinstance(outcome, WarmDeskError), outcome
    return outcome.status, outcome.message, False


async def in_order(talk: Talk, connection: Any, place: int) -> int:
    """In a place, ids follow the order of the events, so nobody pages past a message to come, and
    no channel has a hole. Gives how many messages there were.
    """
    counts = set()
    for channel in talk.channels(place):
        events = await connection.fetch(
            "select seq, type, payload from events where channel = $1 order by seq",
            channel,
        )
        seqs = [event["seq"] for event in events]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        sent = [
            json.loads(event["payload"])
            for event in events
            if event["type"] in ("chat.message", "dm.message")
        ]
        ids = [each["id"] for each in sent if each.get("conversation_id", place) == place]
        assert ids == sorted(ids)
        counts.add(len(ids))
    (count,) = counts
    return count


# Keys and nonces


async def test_a_key_means_the_same_within_a_group_and_after_it(
    talk: Talk, connection: Any
) -> None:
    def one(body: str, key: str | None, actor: int = ALICE) -> Any:
        return talk.send(body, actor=actor, key=key)

    found = await answers(
        one("a", "k"),
        one("a", "k"),
        one("b", "k"),
        one("a", "k", OLGA),
        one("v", "k", BOB),
        one("v", "k", BOB),
        one("c", None),
    )
    refused = (*talk.refusal, False)
    assert [told(each) for each in found] == [
        (201, "a", False),
        (201, "a", True),
        (422, REUSED, False),
        (201, "a", False),
        refused,
        refused,
        (201, "c", False),
    ]
    assert found[0].answer == found[1].answer != found[3].answer
    again = await answers(one("a", "k"), one("b", "k"), one("v", "k", BOB))
    assert [told(each) for each in again] == [(201, "a", True), (422, REUSED, False), refused]
    assert again[0].answer == found[0].answer
    keys = await connection.fetch("select user_id, status from idempotency_keys order by 1")
    assert [tuple(key) for key in keys] == [(OLGA, 201), (ALICE, 201)]
    assert await talk.bodies(connection) == ["a", "a", "c"]


async def test_a_key_is_forgotten_after_a_day(talk: Talk, connection: Any) -> None:
    first = await talk.send("a", key="k")
    await connection.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    second = await talk.send("b", key="k")
    assert (second.status, second.replay) == (201, False)
    assert first.answer != second.answer
    assert (await talk.send("b", key="k")).answer == second.answer


async def test_a_key_is_one_messages_whoever_carries_it(talk: Talk, connection: Any) -> None:
    """Two processes are asked at once, each for several with the same keys."""
    there = await talk.make()
    processes = talk, talk.another_process
    found = await asyncio.gather(
        *(
            each.send(f"{n}", place=place, key=f"{n}")
            for n in range(6)
            for each in processes
            for place in (talk.here, there)[:: 1 if n % 2 else -1]
        )
    )
    assert {each.status for each in found} == {201}
    assert sum(each.replay for each in found) == len(found) / 2
    for place in (talk.here, there):
        assert sorted(await talk.bodies(connection, place)) == [f"{n}" for n in range(6)]


async def test_nonces_and_keys_of_one_group_go_together(talk: Talk, connection: Any) -> None:
    found = await answers(
        talk.send("a", "n"),
        talk.send("b", "n"),
        talk.send("c", "n", key="k"),
        talk.send("c", "n", key="k"),
        talk.send("d", "n", actor=OLGA),
        talk.send("e", "other"),
    )
    assert [told(each) for each in found] == [
        (201, "a", False),
        (200, "a", False),
        (200, "a", False),
        (200, "a", True),
        (201, "d", False),
        (201, "e", False),
    ]
    later = await answers(
        talk.send("f", "n"), talk.send("c", "n", key="k"), talk.send("g", "n", actor=OLGA)
    )
    assert [told(each) for each in later] == [
        (200, "a", False),
        (200, "a", True),
        (200, "d", False),
    ]
    assert await talk.bodies(connection) == ["a", "d", "e"]


async def test_a_nonce_is_another_one_in_another_place(talk: Talk, connection: Any) -> None:
    there = await talk.make()
    found = await answers(talk.send("here", "n"), talk.send("there", "n", place=there))
    again = await answers(talk.send("x", "n", place=there), talk.send("x", "n"))
    assert [told(each) for each in found] == [(201, "here", False), (201, "there", False)]
    assert [told(each) for each in again] == [(200, "there", False), (200, "here", False)]


async def test_a_deleted_message_keeps_its_nonce_and_not_its_text(
    talk: Talk, alice: Person
) -> None:
    message_id = json.loads((await talk.send("a", "n")).text)["id"]
    await alice.delete(f"{talk.path()}/{message_id}")
    again = await talk.send("a", "n")
    shown = json.loads(again.text)
    assert (again.status, shown["id"], shown["body"], shown["is_deleted"]) == (
        200,
        message_id,
        "",
        True,
    )


async def test_an_answer_goes_with_the_message_that_it_shows(
    talk: Talk, alice: Person, connection: Any
) -> None:
    """Also where a nonce found the message, or another one of the group did."""

    async def all_of_them() -> list[Any]:
        again = answers(
            talk.send("deleted", "n", key="a"),
            talk.send("deleted", "n", key="b"),
        )
        return [
            *await again,
            *await answers(talk.send("deleted", "n", key="c"), talk.send("stays", key="d")),
        ]

    found = await all_of_them()
    assert [each.status for each in found] == [201, 200, 200, 201]
    await alice.delete(f"{talk.path()}/{json.loads(found[0].text)['id']}")
    gone = (410, "what was made with this key is deleted", False)
    assert [told(each) for each in await all_of_them()] == [*[gone] * 3, (201, "stays", True)]
    beside = await answers(
        talk.send("deleted", "n", key="a"),
        talk.send("deleted", "n", key="a"),
        talk.send("new", key="e"),
    )
    assert [told(each) for each in beside] == [gone, gone, (201, "new", False)]
    assert beside[0].extra == {"code": "deleted"}
    kept = await connection.fetch("select answer from idempotency_keys where status = 410")
    assert len(kept) == 3
    assert not [row for row in kept if '"body"' in row["answer"]]


# Groups


async def test_what_waits_goes_in_few_transactions_in_the_order_it_came(
    talk: Talk, connection: Any
) -> None:
    most = talk.messages.most.messages
    async with connection.transaction():
        await talk.hold(connection)
        first = talk.task("first")
        await waiting(connection)
        rest = [talk.task(str(n), actor=(ALICE, OLGA)[n % 2]) for n in range(2 * most + 10)]
        await asyncio.sleep(0)
    outcomes = [await each for each in (first, *rest)]
    ids = [json.loads(each.text)["id"] for each in outcomes]
    assert ids == sorted(ids)
    assert await talk.transactions(connection) == 1 + 3
    assert await in_order(talk, connection, talk.here) == len(ids)


async def test_a_statement_carries_no_more_bytes_than_its_limit(
    talk: Talk, connection: Any
) -> None:
    """Of the events: what all who are told get, as JSON. A place of which nothing is known yet is
    taken for the largest.
    """
    told = 1 if talk.is_chat else 3
    talk.messages.most = Most(messages=50, places=50, bytes=12 * told, people=told)
    bodies = ("x" * 30, "\x01", "\x02", "漢", "12345", "67890")  # 32, 8, 8, 5, 7 and 7 bytes
    await asyncio.gather(*map(talk.send, bodies))
    assert await talk.transactions(connection) == 5
    talk.messages.most = talk.messages.most._replace(people=1000)
    await asyncio.gather(*map(talk.send, "abc"))
    assert await talk.transactions(connection) == 6
    other = await talk.make()
    await asyncio.gather(*(talk.send(body, place=other) for body in "abc"))
    rows = f"select count(distinct xmin::text) from {talk.rows} where {talk.name}_id = $1"
    assert await connection.fetchval(rows, other) == 2  # by then it is known


async def test_a_group_goes_to_no_more_places_than_its_limit(talk: Talk, connection: Any) -> None:
    """What stays behind goes with the next one, in its order."""
    talk.messages.most = Most(messages=50, places=2, bytes=100_000, people=1)
    places = [talk.here, *[await talk.make() for _ in range(2)]]
    await asyncio.gather(*(talk.send(f"{n}", place=places[n % 3]) for n in range(9)))
    assert await talk.transactions(connection) == 2
    for n, each in enumerate(places):
        assert await talk.bodies(connection, each) == [f"{m}" for m in (n, n + 3, n + 6)]


async def test_what_is_wrong_with_one_message_costs_the_others_nothing(talk: Talk) -> None:
    """PostgreSQL keeps no NUL: the statement fails for the whole group."""
    other = await talk.make()
    found = await answers(
        talk.send("one"),
        talk.send("bad \0"),
        talk.send("two", place=other),
        talk.send("three"),
    )
    assert [told(each) for each in (found[0], found[2], found[3])] == [
        (201, "one", False),
        (201, "two", False),
        (201, "three", False),
    ]
    assert not isinstance(found[1], Outcome | WarmDeskError)


async def test_each_event_names_its_own_actor_and_client(talk: Talk, connection: Any) -> None:
    context = talk.context(ALICE)._replace(client_id="tab-1")
    await asyncio.gather(talk.sender.send(context, "a", None), talk.send("b", actor=OLGA))
    for channel in talk.channels(talk.here):
        rows = await connection.fetch(
            "select actor_id, client_id, entity from events"
            " where channel = $1 and type in ('chat.message', 'dm.message') order by seq",
            channel,
        )
        above = "" if talk.is_chat else f"conversation:{talk.here}/"
        assert [tuple(row) for row in rows] == [
            (ALICE, "tab-1", f"{above}message:1"),
            (OLGA, None, f"{above}message:2"),
        ]


# What waits


async def test_a_place_that_is_locked_delays_the_others_a_second_at_most(
    talk: Talk, connection: Any
) -> None:
    other = await talk.make()
    async with connection.transaction():
        await talk.hold(connection)
        loop = asyncio.get_running_loop()
        start = loop.time()
        stuck, free = talk.task("stuck"), talk.task("free", place=other)
        assert (await free).status == 201
        assert loop.time() - start < pace.here(2.5)
        assert not stuck.done()
    assert (await stuck).status == 201


async def test_nobody_waits_for_a_place_that_is_locked(talk: Talk, connection: Any) -> None:
    """While its message waits, another place has dozens; and what came for it meanwhile goes in its
    order, once it may.
    """
    other = await talk.make()
    async with connection.transaction():
        await talk.hold(connection)
        stuck = talk.task("stuck 0")
        await waiting(connection)
        behind = []
        for number in range(1, 31):
            behind.append(talk.task(f"stuck {number}"))
            assert (await talk.send(f"free {number}", place=other)).status == 201
        assert not any(each.done() for each in (stuck, *behind))
    assert {each.status for each in await asyncio.gather(stuck, *behind)} == {201}
    assert await talk.bodies(connection) == [f"stuck {n}" for n in range(31)]
    assert await talk.bodies(connection, other) == [f"free {n}" for n in range(1, 31)]


async def test_a_place_that_is_stuck_goes_alone_until_it_succeeds(
    talk: Talk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await talk.make()
    groups: list[list[str]] = []
    write = talk.messages._write

    async def noted(
        group: list[PendingMessage], patience: int | None
    ) -> list[Outcome | WarmDeskError]:
        groups.append([pending.body for pending in group])
        return await write(group, patience)

    monkeypatch.setattr(talk.messages, "_write", noted)
    async with connection.transaction():
        await talk.hold(connection)
        stuck = talk.task("stuck")
        await until(lambda: talk.messages._stuck)
        free = talk.task("free", place=other)
        also = talk.task("also stuck")
        behind = talk.task("behind", place=other)
        assert [(await each).status for each in (free, behind)] == [201, 201]
        assert not stuck.done()
    assert {(await each).status for each in (stuck, also)} == {201}
    await until(lambda: not talk.messages._stuck)
    await asyncio.gather(talk.send("this"), talk.send("that", place=other))
    assert ["free", "behind"] in groups
    assert groups[-1] == ["this", "that"]
    alone = [group for group in groups if {"stuck", "also stuck"} & set(group)]
    assert all(set(group) <= {"stuck", "also stuck"} for group in alone)
    assert await talk.bodies(connection) == ["stuck", "also stuck", "this"]


async def test_places_that_are_stuck_leave_statements_to_the_others(
    talk: Talk, connection: Any
) -> None:
    """However many they are: few of their statements are under way, and others are not delayed for
    long.
    """
    others = [await talk.make() for _ in range(4 * CARRIERS)]
    blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    most, slowest = 0, 0.0
    loop = asyncio.get_running_loop()
    async with connection.transaction():
        await talk.hold(connection, *others)
        stuck = [talk.task("stuck", place=each) for each in others]
        for number in range(60):
            began = loop.time()
            assert (await talk.send(f"free {number}")).status == 201
            slowest = max(slowest, loop.time() - began) if number >= 10 else slowest
            most = max(most, await connection.fetchval(blocked))
        assert not any(each.done() for each in stuck)
        assert len(talk.messages._stuck) == len(others)
    assert {each.status for each in await asyncio.gather(*stuck)} == {201}
    assert 1 <= most <= CARRIERS + 1
    assert slowest < pace.here(1.0)
    assert not talk.messages._stuck


async def test_of_many_stuck_places_each_has_its_turn_soon(talk: Talk, connection: Any) -> None:
    """The one that is free again does not wait for all the others' patience."""
    others = [await talk.make() for _ in range(12)]
    loop = asyncio.get_running_loop()
    async with connection.transaction():
        await talk.hold(connection, *others)
        outer = [talk.task("held still", place=each) for each in others]
        await until(lambda: len(talk.messages._stuck) == len(others))
        here = talk.task("free again")
        began = loop.time()
        assert (await here).status == 201
        assert loop.time() - began < pace.here(2.5)
        assert not any(each.done() for each in outer)
    assert {each.status for each in await asyncio.gather(*outer)} == {201}


async def test_what_was_refused_is_not_sent_afterwards(
    talk: Talk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what a statement carried when its time was over, of which nobody knows."""
    monkeypatch.setattr(messages_module, "SECONDS", 0.5 * pace.stretch())
    others = [await talk.make() for _ in range(6)]
    async with connection.transaction():
        await talk.hold(connection, *others)
        sent = {each: talk.task("late", place=each) for each in others}
        outcomes = dict(zip(sent, await answers(*sent.values()), strict=True))
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes.values())
    assert (await talk.send("after", place=others[0])).status == 201
    await until(lambda: not talk.messages._stuck and not talk.messages._busy)
    unknown = {each for each, outcome in outcomes.items() if outcome.code == "unknown_outcome"}
    for each in others:
        was_stored = "late" in await talk.bodies(connection, each)
        assert not was_stored or each in unknown


async def test_who_waited_too_long_learns_whether_the_message_may_have_gone(
    talk: Talk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages_module, "SECONDS", 0.3)
    async with connection.transaction():
        await talk.hold(connection)
        first = talk.task("under way")
        await waiting(connection)
        with pytest.raises(Unavailable) as queued:
            await talk.send("waiting")
        with pytest.raises(Unavailable) as under_way:
            await first
    assert queued.value.code == "unavailable"
    assert under_way.value.extra["code"] == "unknown_outcome"
    await talk.send("later")
    assert await talk.bodies(connection) == ["under way", "later"]


async def test_a_sender_waits_as_long_as_the_request_may_and_the_others_longer(
    talk: Talk, connection: Any
) -> None:
    async def send(body: str, left: float) -> Outcome:
        BUDGET.set(Budget(left))
        return await talk.send(body)

    async with connection.transaction():
        await talk.hold(connection)
        first = asyncio.create_task(send("first", 0.3))
        await waiting(connection)
        second = asyncio.create_task(send("second", 0.1))
        third = asyncio.create_task(send("third", 4))
        with pytest.raises(Unavailable) as queued:
            await second
        with pytest.raises(Unavailable) as under_way:
            await first
    assert queued.value.code == "unavailable"
    assert under_way.value.extra["code"] == "unknown_outcome"
    assert (await third).status == 201
    assert await talk.bodies(connection) == ["first", "third"]


async def test_a_sender_who_left_does_not_stop_the_others(talk: Talk, connection: Any) -> None:
    async with connection.transaction():
        await talk.hold(connection)
        first = talk.task("first")
        await waiting(connection)
        left, stayed = talk.task("left"), talk.task("stayed")
        await asyncio.sleep(0)
        first.cancel()
        left.cancel()
    assert (await stayed).status == 201
    assert await talk.bodies(connection) == ["first", "stayed"]


# Several processes


async def test_two_processes_send_in_one_order(talk: Talk, connection: Any) -> None:
    places = [talk.here, await talk.make()]
    one, two = talk, talk.another_process

    async def say(process: Talk, actor: int) -> None:
        for n in range(25):
            await asyncio.gather(
                *(
                    process.send(
                        f"{n}", f"{actor} {n}", actor=actor, place=place, key=f"{actor} {n}"
                    )
                    for place in places[:: 1 if actor % 2 else -1]
                )
            )

    await asyncio.gather(
        say(one, ALICE), say(two, ALICE), say(one, OLGA), say(two, OLGA), say(two, ROOT)
    )
    for place in places:
        assert await in_order(talk, connection, place) == 75


@pytest.mark.parametrize("seed", range(3))
async def test_alone_or_together_messages_keep_their_order(
    talk: Talk, connection: Any, seed: int
) -> None:
    """Processes write one by one and in groups at the same time: in each place ids follow the seqs,
    which have no holes, and what one process was asked first comes first.
    """
    chance = random.Random(seed)
    places = [talk.here, await talk.make()]
    sent: dict[tuple[int, int], list[asyncio.Task[Outcome]]] = {}

    async def say(process: Talk, actor: int, *, alone: bool) -> None:
        for n in range(40):
            place = chance.choice(places)
            nonce = f"{actor} {n} {alone}" if chance.random() < 0.1 else None
            pending = process.task(f"{actor} {n}", nonce, actor=actor, place=place)
            sent.setdefault((id(process), place), []).append(pending)
            if alone:
                await pending
            elif chance.random() < 0.3:
                await asyncio.sleep(chance.random() / 100)

    one, two, three = talk, talk.another_process, talk.another_process
    await asyncio.gather(
        say(one, ALICE, alone=True),
        say(two, ROOT, alone=True),
        say(three, OLGA, alone=False),
        say(three, ALICE, alone=False),
    )
    for (_, place), letters in sent.items():
        ids = [json.loads((await pending).text)["id"] for pending in letters]
        assert ids == sorted(ids), place
    for place in places:
        count = sum(len(letters) for (_, to), letters in sent.items() if to == place)
        assert await in_order(talk, connection, place) == count
