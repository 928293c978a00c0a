"""Messages of conversations that go together are told, counted and notified of as if each had gone
alone.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.changes.test_messages import ALICE, BOB, EVE, OLGA, ROOT, answers
from tests.changes.test_messages import told as outcome_of
from tests.conftest import Door, Invite
from tests.person import Person
from tests.rest.test_conversations import begin, held, say, waiting
from tests.rest.test_members import lost_races
from tests.rest.test_notifications import bell, unread
from warmdesk.changes.conversations import Conversations
from warmdesk.desk import Desk
from warmdesk.realtime.change import ChangeContext, Outcome

EVERYBODY = (ROOT, OLGA, ALICE, BOB, EVE)
OTHERS = (
    "insert into users"
    " (email, username, password_hash, display_name, global_role, is_active, deleted_at)"
    " values ('m', 'meter', '', 'M', 'metrics', true, null),"
    " ('f', 'former', '', 'F', 'user', false, null),"
    " ('g', 'gone', '', 'G', 'user', true, now()),"
    " ('l', 'looker', '', 'L', 'viewer', true, null)"
)
"""A service account, one that is closed, one that is deleted, and a global viewer: 6 to 9."""


@pytest.fixture
def talk(desk: Desk) -> Conversations:
    return Conversations(desk.changes)


def context(actor: int, place: int, key: str | None = None) -> ChangeContext:
    path = f"{place}" if key else ""
    return ChangeContext(actor, key=key, path=path, conversation_id=place, keyed=key is not None)


async def one_group(talk: Conversations, *letters: tuple[int, int, str]) -> list[Any]:
    """Sends these in one statement: of whom, where, what."""
    return await answers(
        *(talk.send(context(actor, place), body, None) for actor, place, body in letters)
    )


async def transactions(connection: Any) -> int:
    statement = "select count(distinct xmin::text) from conversation_messages"
    count: int = await connection.fetchval(statement)
    return count


async def feed(connection: Any, user_id: int) -> list[Any]:
    """The messages that somebody was told, in the order of a feed without holes."""
    rows = await connection.fetch(
        "select seq, type, payload from events where channel = $1 order by seq", f"user:{user_id}"
    )
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["payload"] for row in rows if row["type"] == "dm.message"]


# Who may


async def test_each_of_a_group_gets_its_own_answer(
    talk: Conversations, alice: Person, connection: Any
) -> None:
    pair, group = (await begin(alice, BOB))["id"], (await begin(alice, BOB, EVE))["id"]
    await connection.execute(OTHERS)
    await connection.execute(
        "insert into conversation_members (conversation_id, user_id) values ($1, 6), ($1, 7)",
        group,
    )
    found = await one_group(
        talk,
        (ALICE, pair, "one"),
        (EVE, pair, "stranger"),
        (EVE, group, "two"),
        (ALICE, 999, "nowhere"),
        (6, group, "service"),
        (7, group, "inactive"),
        (99, group, "nobody"),
        (ROOT, pair, "administrator"),
        (BOB, pair, "three"),
    )
    assert [outcome_of(each) for each in found] == [
        (201, "one", False),
        (404, "conversation not found", False),
        (201, "two", False),
        (404, "conversation not found", False),
        (403, "a service account cannot do this", False),
        (401, "the account is not active", False),
        (404, "conversation not found", False),
        (404, "conversation not found", False),
        (201, "three", False),
    ]
    assert await transactions(connection) == 1


WRITERS = {
    "member": ALICE,
    "global viewer": 9,
    "stranger": EVE,
    "administrator": ROOT,
    "nobody": 99,
    "service": 6,
    "inactive": 7,
    "deleted": 8,
}
OWN = {"id", "created_at", "updated_at", "message_id"}


@pytest.mark.parametrize("place", ["here", "missing"])
@pytest.mark.parametrize("writer", WRITERS)
async def test_a_message_fares_alone_as_in_a_group(
    desk: Desk,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    place: str,
) -> None:
    """Three ways to write it, one outcome: by itself, in a plain group, in one with nonces."""
    group, beside = (await begin(alice, BOB, OLGA))["id"], (await begin(alice, OLGA))["id"]
    await connection.execute(OTHERS)
    await connection.execute(
        "insert into conversation_members (conversation_id, user_id, muted)"
        " select $1, n, n = 9 from generate_series(6, 9) n",
        group,
    )
    here = 999 if place == "missing" else group
    below = f"conversation:{here}/", f"notified_in:{here}/"
    published: list[str] = []
    publish_all = desk.bus.publish_all

    def spy(messages: list[str]) -> None:
        published.extend(messages)
        publish_all(messages)

    monkeypatch.setattr(desk.bus, "publish_all", spy)

    async def fate(*company: str | None) -> Any:
        """Of a message that goes together with others, which have these nonces."""
        await connection.execute("delete from notifications")
        published.clear()
        now = await connection.fetchval("select clock_timestamp()")
        talk = Conversations(desk.changes)
        asked = context(WRITERS[writer], here)._replace(client_id='tab "1"')
        outcome, *others = await answers(
            talk.send(asked, 'Grüße "\\" 🚀 @bob @eve', None),
            *(talk.send(context(ALICE, beside), "company", nonce) for nonce in company),
        )
        assert [outcome_of(other)[0] for other in others] == [201] * len(others)
        rows = await connection.fetch(
            "select e.*, bus_message(e) as on_bus from events e"
            " where created_at > $1 and split_part(entity, '/', 1) || '/' = any($2)"
            " order by channel, seq",
            now,
            below,
        )
        on_bus = [each for each in published if each.split(" ")[3].startswith(below)]
        assert sorted(on_bus) == sorted(row["on_bus"] for row in rows)
        touched = await connection.fetchval(
            "select updated_at > $1 from conversations where id = $2", now, here
        )
        if not isinstance(outcome, Outcome):
            assert not rows
            return outcome.status, outcome.message, outcome.extra, touched
        for row in rows:
            assert row["type"] != "dm.message" or row["payload"] == outcome.answer
        events = [
            (row["channel"], row["type"], row["actor_id"], row["client_id"], own(row["payload"]))
            for row in rows
        ]
        noted = await connection.fetch(
            "select user_id, kind, actor_id, body, wants_mail, conversation_message_id = $2"
            " from notifications where conversation_id = $1 order by user_id",
            here,
            json.loads(outcome.text)["id"],
        )
        return outcome.status, own(outcome.text), events, [tuple(row) for row in noted], touched

    alone = await fate()
    assert alone == await fate(None) == await fate("nonce")
    if place == "here" and writer in ("member", "global viewer"):
        status, _, events, noted, touched = alone
        assert (status, touched) == (201, True)
        assert Counter(event[1] for event in events) == {"dm.message": 7, "notification": 3}
        assert Counter(note[1] for note in noted) == {"mention": 1, "dm": 2}
    else:
        assert alone[0] in (401, 403, 404)
        assert not alone[-1]


def own(payload: str) -> Any:
    """What it shows but ids and times."""
    return {name: value for name, value in json.loads(payload).items() if name not in OWN}


# Who is told


async def test_everybody_is_told_all_of_their_conversations_in_the_order_it_came(
    talk: Conversations, alice: Person, connection: Any
) -> None:
    members = [(BOB,), (EVE,), (OLGA,), (BOB, EVE), (BOB, EVE, OLGA), (ROOT, OLGA)]
    places = [((await begin(alice, *each))["id"], (ALICE, *each)) for each in members]
    chance = random.Random(1)
    sent = [(chance.choice(who), place, who) for place, who in chance.choices(places, k=40)]
    letters = [(actor, place, f"{n}") for n, (actor, place, _) in enumerate(sent)]
    found = await one_group(talk, *letters)
    assert [json.loads(each.text)["body"] for each in found] == [f"{n}" for n in range(40)]
    assert await transactions(connection) == 1
    for person in EVERYBODY:
        mine = [each.text for each, (_, _, who) in zip(found, sent, strict=True) if person in who]
        assert await feed(connection, person) == mine
    last = list(dict.fromkeys(place for _, place, _ in reversed(sent)))
    assert [each["id"] for each in await alice.get("/conversations")] == last
    for place, who in places:
        shown = await alice.get(f"/conversations/{place}")
        others = [n for n, (actor, to, _) in enumerate(sent) if to == place and actor != ALICE]
        assert (shown["unread_count"], len(shown["members"])) == (len(others), len(who))


async def test_who_is_removed_before_a_group_is_told_nothing_and_sends_nothing(
    talk: Conversations, alice: Person, connection: Any
) -> None:
    """The removal came first to the conversation, and is not yet committed when they are sent."""
    group, pair = (await begin(alice, BOB, EVE))["id"], (await begin(alice, OLGA))["id"]
    async with held(connection, f"select 1 from feeds where channel = 'user:{BOB}'"):
        removal = asyncio.create_task(alice.delete(f"/conversations/{group}/members/{EVE}"))
        await waiting(connection, 1)
        late = asyncio.create_task(
            one_group(
                talk, (EVE, group, "late"), (ALICE, pair, "beside"), (BOB, group, "to who is left")
            )
        )
        await waiting(connection, 2)
    await removal
    assert [outcome_of(each) for each in await late] == [
        (404, "conversation not found", False),
        (201, "beside", False),
        (201, "to who is left", False),
    ]
    assert len(await feed(connection, BOB)) == 1
    assert await feed(connection, EVE) == []


async def test_who_asks_again_waits_for_no_conversation(
    talk: Conversations, alice: Person, connection: Any
) -> None:
    here = (await begin(alice, BOB))["id"]
    first = await talk.send(context(ALICE, here, "k"), "Hello", None)
    async with held(connection, "select 1 from conversations"):
        again = await talk.send(context(ALICE, here, "k"), "Hello", None)
    assert (again.replay, again.text) == (True, first.text)


async def test_each_pays_for_all_who_are_told(
    desk: Desk,
    talk: Conversations,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group, pair = (await begin(alice, BOB, EVE))["id"], (await begin(alice, OLGA))["id"]
    paid: Counter[int] = Counter()
    monkeypatch.setattr(desk.changes, "charge", lambda who, events: paid.update({who: events}))
    await talk.send(context(ALICE, group), "three, and two notifications", None)
    assert paid == {ALICE: 5}
    await answers(
        talk.send(context(ALICE, pair), "two, and one notification", "n"),
        talk.send(context(ALICE, pair), "none: it is the same", "n"),
        talk.send(context(BOB, group), "three, and one notification", None),
        talk.send(context(EVE, group), "three, and one notification @bob", None),
        talk.send(context(EVE, pair), "none: she is not in it", None),
    )
    assert paid == {ALICE: 8, BOB: 4, EVE: 4}
    told_of = "select count(*) from events where type in ('dm.message', 'notification')"
    assert paid.total() == await connection.fetchval(told_of)
    paid.clear()
    await talk.send(context(ALICE, group), "\x01" * 2000, None)
    assert paid == {ALICE: 3 * 12}, "12 kB of JSON, to three people"


# Notifications


@pytest.mark.parametrize("seed", range(6))
async def test_notifications_are_those_of_messages_that_go_alone(
    talk: Conversations,
    alice: Person,
    bob: Person,
    eve: Person,
    root: Person,
    connection: Any,
    seed: int,
) -> None:
    """Some have something unread before, some have read it, some want no mail, some are named."""
    await connection.execute(OTHERS)

    async def play(*, together: bool) -> Any:
        chance = random.Random(seed)
        members = [(BOB, EVE, OLGA), (EVE, ROOT), (BOB, OLGA)]
        groups = [((await begin(alice, *each))["id"], (ALICE, *each)) for each in members]
        places = [place for place, _ in groups]
        await connection.execute(
            "insert into conversation_members (conversation_id, user_id) values ($1, 7)", places[0]
        )
        before: dict[int, int] = {}
        for place in chance.sample(places, k=2):
            before[place] = (await say(alice, place, "before"))["id"]
        for place, message_id in before.items():
            for who in (bob, eve):
                if chance.random() < 0.5:
                    path = f"/conversations/{place}"
                    await who.request("POST", f"{path}/read", {"message_id": message_id})
                    await who.request("PUT", f"{path}/mute", {"muted": True})
        letters: list[tuple[int, int, str]] = []
        for n in range(30):
            place, people = chance.choice(groups)
            body = f"{n}"
            if chance.random() < 0.3:
                body += "".join(f" @{name}" for name in chance.sample(("bob", "eve", "olga"), k=2))
            letters.append((chance.choice(people), place, body))
        head = await connection.fetchval("select coalesce(max(id), 0) from notifications")
        if together:
            found = await one_group(talk, *letters)
        else:
            found = [(await one_group(talk, letter))[0] for letter in letters]
        assert {each.status for each in found} == {201}
        rows = await connection.fetch(
            "select n.user_id, n.kind, n.actor_id, n.wants_mail, n.body"
            " from notifications n where id > $1 order by n.user_id, n.id",
            head,
        )
        for row in await connection.fetch("select user_id, id from notifications order by id"):
            assert await connection.fetchval(
                "select count(*) = 1 from events"
                " where channel = 'user:' || $1::bigint and type = 'notification'"
                " and (payload::json ->> 'id')::bigint = $2",
                row["user_id"],
                row["id"],
            )
        counts = [
            (await who.get(f"/conversations/{place}"))["unread_count"]
            for place, people in groups
            for who in (alice, bob, eve)
            if who.id in people
        ]
        return sorted(tuple(row) for row in rows), counts

    alone = await play(together=False)
    await connection.execute("delete from notifications")
    assert await play(together=True) == alone
    assert len(alone[0]) > 5


@pytest.mark.parametrize("first", ["sent", "read"])
async def test_what_comes_while_a_conversation_is_read_is_told(
    talk: Conversations, alice: Person, bob: Person, connection: Any, first: str
) -> None:
    here, there = (await begin(alice, BOB))["id"], (await begin(alice, BOB, EVE))["id"]
    seen = await say(alice, here)

    async def read() -> None:
        await bob.post(f"/conversations/{here}/read", {"message_id": seen["id"]}, status=204)

    async def send() -> None:
        found = await one_group(talk, (ALICE, there, "1"), (ALICE, here, "2"), (ALICE, here, "3"))
        assert {each.status for each in found} == {201}

    async with held(connection, f"select 1 from feeds where channel = 'user:{BOB}'"):
        one = asyncio.create_task(send() if first == "sent" else read())
        await waiting(connection, 1)
        two = asyncio.create_task(read() if first == "sent" else send())
        await waiting(connection, 2)
    await asyncio.gather(one, two)
    are_unread = [
        each["read_at"] is None for each in await bell(bob) if each["conversation_id"] == here
    ]
    assert are_unread == ([True] if first == "sent" else [True, False])
    assert await unread(bob) == 2


# At once


@pytest.mark.parametrize("seed", range(3))
async def test_all_at_once_wait_in_no_circle_and_counts_are_true(
    desk: Desk,
    twin: Door,
    alice: Person,
    bob: Person,
    eve: Person,
    olga: Person,
    person: Invite,
    connection: Any,
    seed: int,
) -> None:
    """Two processes send in groups, while people read, leave, come back, delete, and get names."""
    before, chance = lost_races(), random.Random(seed)
    far = person("bob", url=twin.url)
    places = [(await begin(alice, *each))["id"] for each in ((BOB, EVE), (EVE, BOB, OLGA))]
    places += [(await begin(bob, *each))["id"] for each in ((ALICE,), (EVE, ALICE, OLGA))]
    processes = Conversations(desk.changes), Conversations(twin.desk.changes)

    async def send(process: Conversations) -> None:
        for n in range(6):
            letters = [(chance.choice((ALICE, BOB, EVE)), chance.choice(places)) for _ in range(12)]
            await answers(
                *(
                    process.send(context(actor, place), f"{n} @eve", chance.choice((None, f"{n}")))
                    for actor, place in letters
                )
            )

    async def read(who: Person) -> None:
        for place in chance.choices(places, k=8):
            page = await who.request("GET", f"/conversations/{place}/messages?limit=1")
            if page.status == 200 and page.body:
                mark = {"message_id": page.body[-1]["id"]}
                await who.request("POST", f"/conversations/{place}/read", mark)
            await who.request("POST", "/notifications/read-all")

    async def leave() -> None:
        for place in places[:2] * 2:
            await eve.request("DELETE", f"/conversations/{place}/members/{EVE}")
            await alice.request("POST", f"/conversations/{place}/members", {"user_id": EVE})

    async def delete(who: Person) -> None:
        for place in chance.choices(places, k=8):
            page = await who.request("GET", f"/conversations/{place}/messages?limit=3")
            for each in page.body if page.status == 200 else ():
                await who.request("DELETE", f"/conversations/{place}/messages/{each['id']}")

    async def rename() -> None:
        for n in range(8):
            await far.request("PUT", "/users/me", {"display_name": f"Bob {n}"})

    await asyncio.gather(
        *(send(each) for each in processes * 2),
        *(read(who) for who in (alice, bob, eve)),
        *(leave(), rename(), delete(bob), delete(alice)),
    )
    assert lost_races() == before
    for who in (alice, bob, eve):
        sent = [json.loads(payload) for payload in await feed(connection, who.id)]
        for place in places:
            ids = [each["id"] for each in sent if each["conversation_id"] == place]
            assert ids == sorted(ids)
        await counts_are_true(connection, who, places)


async def counts_are_true(connection: Any, who: Person, places: list[int]) -> None:
    """What somebody has not read, and is notified of, equals a recount."""
    for place in places:
        seen = await who.request("GET", f"/conversations/{place}")
        is_in = (
            "select count(*) from conversation_members where conversation_id = $1 and user_id = $2"
        )
        if not await connection.fetchval(is_in, place, who.id):
            assert seen.status == 404
            continue
        count = await connection.fetchval(
            "select count(*) from conversation_members r"
            " inner join conversation_messages m on m.conversation_id = r.conversation_id"
            " where r.conversation_id = $1 and r.user_id = $2 and m.sender_id <> $2"
            " and not m.is_deleted and m.id > coalesce(r.last_read_message_id, 0)",
            place,
            who.id,
        )
        assert seen.body["unread_count"] == count
        noted = await connection.fetchval(
            "select count(*) from notifications"
            " where user_id = $1 and conversation_id = $2 and kind = 'dm' and read_at is null",
            who.id,
            place,
        )
        assert noted <= 1
    real = await connection.fetchval(
        "select count(*) from notifications where user_id = $1 and read_at is null", who.id
    )
    assert await unread(who) == real
