"""Conversations: who is in one sees it and nobody else ever does, whatever comes at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.changes.test_pairs import circles
from tests.conftest import Board, Door, Invite, Wait, until
from tests.person import PASSWORD, Person
from warmdesk.desk import Desk
from warmdesk.jobs import retention
from warmdesk.jobs.retention import Retention
from warmdesk.realtime.channels import user_channel
from warmdesk.rest import conversations

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)
SECRET = "secret"


async def begin(person: Person, *others: int, **fields: Any) -> Any:
    return await person.post("/conversations", {"user_ids": list(others), **fields})


async def say(person: Person, conversation_id: int, body: str = "Hello") -> Any:
    return await person.post(f"/conversations/{conversation_id}/messages", {"body": body})


async def told(person: Person, since: int = 0, *, bell: bool = False) -> list[Any]:
    """All that a person's feed tells now, with `bell` also of notifications."""
    page = await person.get(f"/users/me/events?since={since}&limit=500")
    found: list[Any] = page["events"]
    return [each for each in found if bell or not each["type"].startswith("notification")]


async def head(person: Person) -> int:
    seq: int = (await person.get("/users/me/events?since=0&limit=1"))["seq"]
    return seq


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


async def as_role(root: Person, user_id: int, role: str) -> None:
    await root.put(f"/users/{user_id}", {"global_role": role})


@asynccontextmanager
async def held(connection: Any, rows: str) -> AsyncIterator[None]:
    """Somebody else has these rows meanwhile."""
    async with connection.transaction():
        await connection.execute(f"{rows} for update")
        yield


async def waiting(connection: Any, count: int) -> None:
    """Until so many wait for a lock."""

    async def enough() -> bool:
        found: int = await connection.fetchval(
            "select count(*) from pg_stat_activity, pg_stat_clear_snapshot()"
            " where wait_event_type = 'Lock' and datname = current_database()"
        )
        return found >= count

    await until(enough)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Any]:
    """A second connection of nobody."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


# Begun


async def test_a_conversation_is_told_to_both_and_seen_by_both(
    alice: Person, bob: Person, eve: Person
) -> None:
    async with alice.socket("user") as hers, bob.socket("user") as his:
        made = await begin(alice, BOB, ALICE, BOB, name="no group")
        assert (await hers.next("dm.conversation_created"))["payload"]["id"] == made["id"]
        event = await his.next("dm.conversation_created")
    own = {"last_message", "unread_count", "last_read_message_id", "muted"}
    assert event["payload"] == {name: made[name] for name in made if name not in own}
    assert event["actor_id"] == ALICE
    assert (made["name"], made["avatar"], made["is_group"]) == (None, None, False)
    assert [each["user_id"] for each in made["members"]] == [ALICE, BOB]
    assert made["members"][1]["user"]["username"] == "bob"
    assert [made[name] for name in sorted(own)] == [None, None, False, 0]
    path = f"/conversations/{made['id']}"
    assert await bob.get(path) == await alice.get(path) == made
    assert await bob.get("/conversations") == [made]
    assert await eve.get("/conversations") == []


async def test_two_people_have_one_conversation(alice: Person, bob: Person) -> None:
    made = await begin(alice, BOB)
    before = await head(alice), await head(bob)
    assert await bob.post("/conversations", {"user_ids": [ALICE]}, status=200) == made
    assert await alice.post("/conversations", {"user_ids": [BOB], "name": "x"}, status=200) == made
    assert (await head(alice), await head(bob)) == before
    group = await begin(alice, BOB, EVE)
    assert (await begin(alice, BOB, EVE))["id"] != group["id"]


async def test_who_begin_at_once_have_one_conversation(
    alice: Person, bob: Person, person: Invite, twin: Door
) -> None:
    far = person("alice", url=twin.url)
    asked = [(alice, BOB), (bob, ALICE), (far, BOB)] * 8
    found = await asyncio.gather(
        *(who.request("POST", "/conversations", {"user_ids": [other]}) for who, other in asked)
    )
    assert sorted(each.status for each in found) == [200] * 23 + [201]
    assert len({each.body["id"] for each in found}) == 1
    for who in (alice, bob):
        assert types(await told(who)) == ["dm.conversation_created"]


async def test_whom_nobody_can_write_to_is_refused(
    alice: Person, root: Person, connection: Any
) -> None:
    await root.put(f"/users/{EVE}", {"is_active": False})
    service = await root.post(
        "/users",
        {
            "email": "s@example.org",
            "username": "service",
            "password": PASSWORD,
            "global_role": "metrics",
        },
    )
    for ids in ([EVE], [BOB, EVE], [999], [service["id"]], [BOB, 2**53 - 1]):
        refused = await alice.post("/conversations", {"user_ids": ids}, status=422)
        assert refused["fields"] == {"user_ids": "unknown"}
    for ids in ([], [ALICE], [ALICE, ALICE]):
        refused = await alice.post("/conversations", {"user_ids": ids}, status=400)
        assert refused["error"] == "user_ids: must name somebody else than you"
    for wrong in ({}, {"user_ids": "x"}, {"user_ids": [0]}, {"user_ids": [BOB], "name": "x" * 201}):
        await alice.post("/conversations", wrong, status=400)
    assert await connection.fetchval("select count(*) from conversations") == 0


async def test_service_accounts_and_keys_of_a_project_have_none(
    alice: Person, root: Person, connection: Any
) -> None:
    made = await begin(alice, BOB)
    await as_role(root, ALICE, "metrics")
    for method, path, body in (
        ("GET", "/conversations", None),
        ("GET", f"/conversations/{made['id']}", None),
        ("POST", "/conversations", {"user_ids": [BOB]}),
        ("POST", f"/conversations/{made['id']}/messages", {"body": "x"}),
    ):
        assert (await alice.request(method, path, body)).status == 403


async def test_global_viewers_talk_as_everybody(bob: Person, alice: Person, root: Person) -> None:
    await as_role(root, BOB, "viewer")
    made = await begin(bob, ALICE)
    message = await say(bob, made["id"])
    path = f"/conversations/{made['id']}/messages/{message['id']}"
    await bob.put(path, {"body": "Other"})
    await bob.post(f"{path}/reactions", {"emoji": "👍"})


async def test_a_group_has_at_most_a_hundred_people(
    alice: Person, bob: Person, connection: Any
) -> None:
    rows = await connection.fetch(
        "insert into users (email, username, password_hash, display_name)"
        " select n || '@example.org', 'user' || n, 'x', 'User ' || n from generate_series(1, 100) n"
        " returning id"
    )
    ids = [row["id"] for row in rows]
    refused = await alice.post("/conversations", {"user_ids": ids}, status=422)
    assert refused["code"] == "too_many_members"
    group = await begin(alice, *ids[:99])
    assert len(group["members"]) == 100
    path = f"/conversations/{group['id']}/members"
    refused = await alice.post(path, {"user_id": BOB}, status=422)
    assert refused["code"] == "too_many_members"
    assert await head(bob) == 0
    await say(alice, group["id"])
    counted = await connection.fetchval("select count(*) from events where type = 'dm.message'")
    assert counted == 100


# Whose it is


async def test_nobody_else_sees_a_conversation_or_learns_that_it_is_there(
    alice: Person, bob: Person, eve: Person, root: Person, connection: Any
) -> None:
    """An administrator neither: what two people say is no matter of the installation."""
    made = await begin(alice, BOB)
    mine = await begin(eve, ROOT)
    message = await say(alice, made["id"], SECRET)
    own = await say(eve, mine["id"], "mine")
    before = await state(connection)
    here, there = f"/conversations/{made['id']}", f"/conversations/{mine['id']}"
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PUT", "", {"name": "x"}),
        ("GET", "/messages", None),
        ("POST", "/messages", {"body": "x"}),
        ("PUT", f"/messages/{message['id']}", {"body": "x"}),
        ("PATCH", f"/messages/{message['id']}", {"body": "x"}),
        ("DELETE", f"/messages/{message['id']}", None),
        ("POST", f"/messages/{message['id']}/reactions", {"emoji": "👍"}),
        ("DELETE", f"/messages/{message['id']}/reactions/👍", None),
        ("POST", "/members", {"user_id": EVE}),
        ("DELETE", f"/members/{ALICE}", None),
        ("DELETE", f"/members/{EVE}", None),
        ("POST", "/read", {"message_id": message["id"]}),
        ("PUT", "/mute", {"muted": True}),
    ]
    for method, rest, body in asked:
        for who in (eve, root):
            refused = await who.request(method, here + rest, body)
            unknown = await who.request(method, f"/conversations/{9**9}{rest}", body)
            assert refused.status == unknown.status == 404, (method, rest, refused.body)
            assert refused.body["error"] == unknown.body["error"] == "conversation not found"
        if str(message["id"]) in rest:  # below a conversation of one's own
            foreign = await eve.request(method, there + rest, body)
            assert (foreign.status, foreign.body["error"]) == (404, "message not found")
    refused = await eve.post(f"{there}/read", {"message_id": message["id"]}, status=422)
    assert refused["fields"] == {"message_id": "unknown"}
    for query in ("before", "after", "around"):
        page = await eve.get(f"{there}/messages?{query}={message['id']}")
        assert [each["id"] for each in page] in ([], [own["id"]])
    assert await state(connection) == before
    for who in (eve, root):
        assert SECRET not in str(await told(who))
        assert [each["id"] for each in await who.get("/conversations")] == [mine["id"]]


async def state(connection: Any) -> Any:
    """All rows that a conversation has, and all events."""
    tables = ("conversations", "conversation_members", "conversation_messages", "message_reactions")
    rows = [
        await connection.fetchval(f"select json_agg(t order by t::text)::text from {table} as t")
        for table in tables
    ]
    return rows, await connection.fetchval("select count(*) from events")


async def test_no_channel_but_of_those_in_it_has_an_event(
    alice: Person, bob: Person, eve: Person, connection: Any
) -> None:
    group = await begin(alice, BOB, EVE, name=SECRET)
    await say(alice, group["id"], SECRET)
    await eve.delete(f"/conversations/{group['id']}/members/{EVE}")
    message = await say(bob, group["id"], SECRET)
    path = f"/conversations/{group['id']}"
    await bob.put(f"{path}/messages/{message['id']}", {"body": f"{SECRET} again"})
    await alice.post(f"{path}/messages/{message['id']}/reactions", {"emoji": "👍"})
    await alice.put(path, {"name": f"{SECRET} too"})
    rows = await connection.fetch("select distinct channel from events where payload ~ $1", SECRET)
    assert {row["channel"] for row in rows} == {user_channel(ALICE), user_channel(BOB)}


async def test_what_is_ones_own_stands_in_no_event(
    alice: Person, bob: Person, connection: Any
) -> None:
    made = await begin(alice, BOB)
    message = await say(alice, made["id"])
    path = f"/conversations/{made['id']}"
    await bob.put(f"{path}/mute", {"muted": True}, status=204)
    await bob.post(f"{path}/read", {"message_id": message["id"]}, status=204)
    group = await begin(alice, BOB, EVE)
    of_group = f"/conversations/{group['id']}"
    await alice.put(of_group, {"name": "Lunch"})
    await alice.post(f"{of_group}/members", {"user_id": OLGA})
    await alice.delete(f"{of_group}/members/{EVE}")
    assert (await bob.get(path))["muted"] is True
    assert (await alice.get(path))["muted"] is False
    rows = await connection.fetch("select type, payload from events")
    for row in rows:
        for name in ("muted", "last_message", "last_read_message_id", "email", "@example.org"):
            assert name not in row["payload"], row["type"]
    counting = {row["type"] for row in rows if "unread_count" in row["payload"]}
    assert counting == {"notification.read"}
    assert "dm.read" not in types(await told(alice))


# Groups


async def test_a_group_has_a_name_that_everybody_may_change(
    alice: Person, bob: Person, eve: Person
) -> None:
    group = await begin(alice, BOB, EVE, name=" Lunch ")
    assert (group["name"], group["is_group"]) == ("Lunch", True)
    path = f"/conversations/{group['id']}"
    async with eve.socket("user") as socket:
        named = await bob.put(path, {"name": "Dinner"})
        event = await socket.next("dm.conversation_updated")
        assert event["payload"].items() <= named.items()
        before = await head(eve)
        await bob.put(path, {"name": " Dinner "})
        assert await head(eve) == before
        assert (await bob.put(path, {"name": ""}))["name"] is None
    for wrong in ({}, {"name": 5}, {"name": "x" * 201}, {"name": "two\nlines"}):
        await bob.put(path, wrong, status=400)
    pair = await begin(alice, BOB)
    refused = await alice.put(f"/conversations/{pair['id']}", {"name": "x"}, status=422)
    assert refused["code"] == "not_a_group"


async def test_who_is_added_gets_the_group_and_the_others_hear_of_it(
    alice: Person, bob: Person, olga: Person, eve: Person
) -> None:
    group = await begin(alice, BOB, OLGA)
    await say(alice, group["id"], "before")
    path = f"/conversations/{group['id']}"
    async with eve.socket("user") as hers, bob.socket("user") as his:
        added = await olga.post(f"{path}/members", {"user_id": EVE})
        created = (await hers.next("dm.conversation_created"))["payload"]
        event = (await his.next("dm.member_added"))["payload"]
    assert created.items() <= added.items()
    member = added["members"][-1]
    assert event == {"conversation_id": group["id"], **member}
    assert (member["user_id"], member["user"]["username"]) == (EVE, "eve")
    seen = await eve.get(path)
    assert (seen["unread_count"], seen["last_message"]["body"]) == (0, "before")
    await say(bob, group["id"], "after")
    assert (await eve.get(path))["unread_count"] == 1
    assert [each["body"] for each in await eve.get(f"{path}/messages")] == ["before", "after"]
    assert types(await told(eve)) == ["dm.conversation_created", "dm.message"]
    refused = await bob.post(f"{path}/members", {"user_id": EVE}, status=409)
    assert refused["code"] == "already_member"
    refused = await bob.post(f"{path}/members", {"user_id": 999}, status=422)
    assert refused["fields"] == {"user_id": "unknown"}


async def test_a_third_person_makes_a_new_group_and_what_two_said_stays_theirs(
    alice: Person, bob: Person, eve: Person
) -> None:
    pair = await begin(alice, BOB)
    await say(alice, pair["id"], SECRET)
    path = f"/conversations/{pair['id']}/members"
    group = await bob.post(path, {"user_id": EVE})
    assert group["id"] != pair["id"]
    assert (group["is_group"], group["last_message"]) == (True, None)
    assert [each["user_id"] for each in group["members"]] == [ALICE, BOB, EVE]
    assert types(await told(eve)) == ["dm.conversation_created"]
    assert [each["id"] for each in await eve.get("/conversations")] == [group["id"]]
    assert len((await alice.get(f"/conversations/{pair['id']}"))["members"]) == 2
    for known in (ALICE, BOB):
        refused = await bob.post(path, {"user_id": known}, status=409)
        assert refused["code"] == "already_member"
    refused = await bob.post(path, {"user_id": 999}, status=422)
    assert refused["fields"] == {"user_id": "unknown"}


async def test_who_leaves_is_told_to_forget_and_told_nothing_more(
    alice: Person, bob: Person, eve: Person
) -> None:
    group = await begin(alice, BOB, EVE, name=SECRET)
    path = f"/conversations/{group['id']}"
    message = await say(alice, group["id"], SECRET)
    await eve.post(f"{path}/messages", {"body": f"my {SECRET}"}, key="k")
    async with eve.socket("user") as live, bob.socket("user") as his:
        hello = (await live.next("hello"))["payload"]
        await eve.delete(f"{path}/members/{EVE}")
        gone = await live.next("dm.conversation_deleted")
        assert gone["payload"] == {"conversation_id": group["id"]}
        removed = await his.next("dm.member_removed")
        assert removed["payload"] == {"conversation_id": group["id"], "user_id": EVE}
        await say(alice, group["id"], f"later {SECRET}")
        await alice.post(f"{path}/messages/{message['id']}/reactions", {"emoji": "👍"})
        await alice.put(path, {"name": f"new {SECRET}"})
        await alice.delete(f"{path}/messages/{message['id']}")
        await begin(alice, EVE)
        await live.next("dm.conversation_created")
        later = [event for event in live.events if event["seq"] > gone["seq"]]
        assert types(later) == ["notification.deleted", "dm.conversation_created"]
    assert SECRET not in str(await told(eve))
    for since in (0, hello["seq"]):
        async with eve.socket("user", since=since, epoch=hello["epoch"]) as again:
            await again.next("dm.conversation_created")
            assert [event["seq"] for event in again.events] == list(
                range(since + 1, await head(eve) + 1)
            )
            assert SECRET not in str(again.frames)
    await eve.get(path, status=404)
    kept = await eve.request("POST", f"{path}/messages", {"body": f"my {SECRET}"}, key="k")
    assert kept.status in (404, 410)
    assert SECRET not in str(kept.body)


async def test_what_a_room_remembers_goes_with_who_leaves(
    alice: Person, eve: Person, desk: Desk
) -> None:
    group = await begin(alice, BOB, EVE, name=SECRET)
    async with eve.socket("user") as live:
        await live.next("hello")
        await say(alice, group["id"], SECRET)
        await live.next("dm.message")
        await alice.delete(f"/conversations/{group['id']}/members/{EVE}")
        await live.next("dm.conversation_deleted")
        room = desk.hub.rooms[user_channel(EVE)]
        assert not [kept for kept in room.tail if SECRET.encode() in kept.body]


async def test_who_comes_back_is_told_of_what_comes_then(
    alice: Person, bob: Person, eve: Person
) -> None:
    group = await begin(alice, BOB, EVE)
    path = f"/conversations/{group['id']}"
    await say(alice, group["id"], "first")
    await eve.delete(f"{path}/members/{EVE}")
    await alice.post(f"{path}/members", {"user_id": EVE})
    await say(alice, group["id"], "second")
    assert types(await told(eve)) == [
        *("gone", "gone", "gone", "dm.conversation_deleted"),
        *("dm.conversation_created", "dm.message"),
    ]


async def test_who_made_the_group_removes_others_and_an_administrator_in_it(
    alice: Person, bob: Person, eve: Person, root: Person
) -> None:
    group = await begin(alice, BOB, EVE, ROOT, OLGA)
    path = f"/conversations/{group['id']}/members"
    for person in (ALICE, EVE):
        refused = await bob.delete(f"{path}/{person}", status=403)
        assert refused["error"] == "only who made the group removes others"
    await alice.delete(f"{path}/{OLGA}")
    missing = await alice.delete(f"{path}/{OLGA}", status=404)
    assert missing["error"] == "member not found"
    await root.delete(f"{path}/{ALICE}")
    await alice.delete(f"{path}/{EVE}", status=404)
    await eve.delete(f"{path}/{EVE}")
    assert [each["user_id"] for each in (await bob.get(path[:-8]))["members"]] == [ROOT, BOB]


async def test_two_people_do_not_part(alice: Person) -> None:
    pair = await begin(alice, BOB)
    for person in (ALICE, BOB):
        path = f"/conversations/{pair['id']}/members/{person}"
        assert (await alice.delete(path, status=422))["code"] == "not_a_group"


async def test_a_group_that_everybody_left_is_deleted(
    alice: Person, bob: Person, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    group, kept = await begin(alice, BOB, EVE), await begin(alice, BOB)
    path = f"/conversations/{group['id']}"
    for number in range(5):
        message = await say(alice, group["id"], str(number))
        await alice.post(f"{path}/messages/{message['id']}/reactions", {"emoji": "👍"})
    stays = await say(alice, kept["id"])
    await alice.post(
        f"/conversations/{kept['id']}/messages/{stays['id']}/reactions", {"emoji": "👍"}
    )
    for person in (BOB, EVE, ALICE):
        await Retention(desk).turn()
        assert await connection.fetchval("select count(*) from conversations") == 2
        await alice.delete(f"{path}/members/{person}")
    await alice.get(path, status=404)
    assert types(await told(alice))[-1] != "dm.member_removed"
    await Retention(desk).turn()
    for table in ("conversations", "conversation_messages", "message_reactions"):
        assert await connection.fetchval(f"select count(*) from {table}") == 1, table
    assert (await alice.get(f"/conversations/{kept['id']}"))["last_message"]["id"] == stays["id"]


# At once


async def test_what_is_sent_after_a_removal_is_not_sent(
    alice: Person, bob: Person, eve: Person, person: Invite, twin: Door, other: Any, connection: Any
) -> None:
    """The removal came first to the conversation, and is not yet committed when he writes."""
    group = await begin(alice, BOB, EVE)
    path = f"/conversations/{group['id']}"
    mine = await say(eve, group["id"])
    far = person("eve", url=twin.url)
    await far.token()
    feed = f"select 1 from feeds where channel = '{user_channel(BOB)}'"
    changes: list[tuple[str, str, Any]] = [
        ("POST", "/messages", {"body": SECRET}),
        ("PUT", f"/messages/{mine['id']}", {"body": SECRET}),
        ("DELETE", f"/messages/{mine['id']}", None),
        ("POST", f"/messages/{mine['id']}/reactions", {"emoji": "👍"}),
        ("PUT", "", {"name": SECRET}),
        ("POST", "/members", {"user_id": OLGA}),
        ("POST", "/read", {"message_id": mine["id"]}),
        ("PUT", "/mute", {"muted": True}),
    ]
    async with held(other, feed):
        removal = asyncio.create_task(alice.delete(f"{path}/members/{EVE}"))
        await waiting(connection, 1)
        late = []
        for number, (method, rest, body) in enumerate(changes[:3], start=2):
            late.append(asyncio.create_task(far.request(method, path + rest, body)))
            await waiting(connection, number)
    await removal
    late += [
        asyncio.create_task(far.request(method, path + rest, body))
        for method, rest, body in changes[3:]
    ]
    assert {answer.status for answer in await asyncio.gather(*late)} == {404}
    events = await told(bob)
    assert types(events) == ["dm.conversation_created", "dm.message", "dm.member_removed"]
    assert types(await told(eve)) == ["gone", "gone", "dm.conversation_deleted"]


async def test_what_came_before_a_removal_is_told_before_it(
    alice: Person, bob: Person, eve: Person, other: Any, connection: Any
) -> None:
    group = await begin(alice, BOB, EVE)
    path = f"/conversations/{group['id']}"
    feed = f"select 1 from feeds where channel = '{user_channel(BOB)}'"
    async with held(other, feed):
        sent = asyncio.create_task(say(alice, group["id"], SECRET))
        await waiting(connection, 1)
        left = asyncio.create_task(eve.delete(f"{path}/members/{EVE}"))
        await waiting(connection, 2)
    await asyncio.gather(sent, left)
    assert types(await told(bob))[1:] == ["dm.message", "dm.member_removed"]
    assert types(await told(eve))[1:] == ["gone", "gone", "dm.conversation_deleted"]
    assert SECRET not in str(await told(eve))


async def test_removals_and_messages_at_once_leave_nothing_behind(
    alice: Person, bob: Person, eve: Person, person: Invite, twin: Door
) -> None:
    """Again and again: whoever was removed has seen nothing since, and is told so in one order."""
    far = person("alice", url=twin.url)
    group = await begin(alice, BOB, EVE)
    path = f"/conversations/{group['id']}"
    for turn in range(6):
        await asyncio.gather(
            *(
                who.request("POST", f"{path}/messages", {"body": f"{SECRET} {turn}"})
                for who in (alice, far, bob, eve)
                for _ in range(3)
            ),
            alice.delete(f"{path}/members/{EVE}"),
        )
        events = await told(eve)
        assert types(events)[-1] == "dm.conversation_deleted"
        assert SECRET not in str(events)
        assert (await eve.request("POST", f"{path}/messages", {"body": "x"})).status == 404
        await bob.post(f"{path}/members", {"user_id": EVE})
    for who in (alice, bob):
        seqs = [event["seq"] for event in await told(who, bell=True)]
        assert seqs == list(range(1, len(seqs) + 1))
        shown = [event["payload"]["id"] for event in await told(who) if "body" in event["payload"]]
        assert shown == sorted(shown)


async def test_people_who_add_each_other_at_once_wait_in_no_circle(
    alice: Person, bob: Person, eve: Person, olga: Person, person: Invite, twin: Door
) -> None:
    before = circles()
    far = person("bob", url=twin.url)
    groups = [await begin(alice, BOB, EVE), await begin(bob, EVE, ALICE)]
    asked = []
    for number in range(8):
        for group in groups:
            path = f"/conversations/{group['id']}"
            asked += [
                alice.request("POST", f"{path}/messages", {"body": "a"}),
                far.request("POST", f"{path}/messages", {"body": "b"}),
                bob.request("POST", f"{path}/members", {"user_id": OLGA}),
                olga.request("DELETE", f"{path}/members/{OLGA}"),
                eve.request("PUT", "/users/me", {"display_name": f"Eve {number}"}),
                alice.request("PUT", "/users/me", {"display_name": f"Alice {number}"}),
                eve.request("POST", "/conversations", {"user_ids": [BOB, ALICE, OLGA]}),
            ]
    found = await asyncio.gather(*asked)
    assert [each.body for each in found if each.status >= 500] == []
    assert circles() == before


# One's own view


async def test_the_list_is_of_the_last_active_first(
    alice: Person, bob: Person, eve: Person
) -> None:
    ids = [(await begin(alice, *who))["id"] for who in ((BOB,), (EVE,), (BOB, EVE))]
    assert [each["id"] for each in await alice.get("/conversations")] == ids[::-1]
    await say(bob, ids[0], "news")
    listed = await alice.get("/conversations")
    assert [each["id"] for each in listed] == [ids[0], ids[2], ids[1]]
    assert [each["unread_count"] for each in listed] == [1, 0, 0]
    assert listed[0]["last_message"]["body"] == "news"
    assert [each["id"] for each in await eve.get("/conversations")] == [ids[2], ids[1]]


@pytest.mark.foul
async def test_a_page_of_conversations_has_a_size(
    alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await begin(alice, BOB, EVE))["id"] for _ in range(6)]
    for each in ids:
        await say(alice, each, "x" * 1000)
    one = len(json.dumps((await alice.get("/conversations?limit=1"))[0], separators=(",", ":")))
    monkeypatch.setattr(conversations, "PAGE_BYTES", int(2.5 * one))
    found, path = [], "/conversations"
    for _ in range(3):
        answer = await alice.request("GET", path)
        found.append([each["id"] for each in answer.body])
        link = answer.headers.get("Link", "")
        path = link.partition("/api/v1")[2].partition(">")[0]
    assert (found, path) == ([ids[5:3:-1], ids[3:1:-1], ids[1::-1]], "")


async def test_what_is_unread_is_of_others_not_deleted_and_behind_the_mark(
    alice: Person, bob: Person
) -> None:
    made = await begin(alice, BOB)
    path = f"/conversations/{made['id']}"
    ids = [(await say(bob, made["id"], str(n)))["id"] for n in range(4)]
    await say(alice, made["id"], "mine")
    await bob.delete(f"{path}/messages/{ids[2]}")

    async def view() -> tuple[int, int | None]:
        seen = await alice.get(path)
        return seen["unread_count"], seen["last_read_message_id"]

    assert await view() == (3, None)
    async with alice.socket("user") as socket:
        await alice.post(f"{path}/read", {"message_id": ids[1]}, status=204)
        event = await socket.next("dm.read")
        assert event["payload"] == {"conversation_id": made["id"], "message_id": ids[1]}
        assert await view() == (1, ids[1])
        before = await head(alice)
        for earlier in (ids[0], ids[1]):
            await alice.post(f"{path}/read", {"message_id": earlier}, status=204)
        assert (await view(), await head(alice)) == ((1, ids[1]), before)
        await alice.post(f"{path}/read", {"message_id": ids[3]}, status=204)
        assert await view() == (0, ids[3])
    assert "dm.read" not in types(await told(bob))
    await alice.post(f"{path}/read", {"message_id": 9**9}, status=422)


@pytest.mark.foul
async def test_what_is_unread_is_counted_among_a_thousand(
    alice: Person, bob: Person, connection: Any
) -> None:
    made = await begin(alice, BOB)
    await connection.execute(
        "insert into conversation_messages (conversation_id, sender_id, body)"
        " select $1, $2, n::text from generate_series(1, 1500) n",
        made["id"],
        BOB,
    )
    assert (await alice.get(f"/conversations/{made['id']}"))["unread_count"] == 1000
    assert (await bob.get("/conversations"))[0]["unread_count"] == 0


# Names


async def test_another_name_is_told_to_who_shares_a_conversation_once(
    alice: Person, bob: Person, eve: Person, olga: Person
) -> None:
    await begin(alice, EVE)
    await begin(alice, EVE, BOB)
    async with eve.socket("user") as socket:
        await alice.put("/users/me", {"display_name": "Alice Liddell"})
        event = await socket.next("dm.member_updated")
        assert event["payload"]["user_id"] == ALICE
        assert event["payload"]["user"]["display_name"] == "Alice Liddell"
        await socket.settle()
        assert socket.waiting("dm.member_updated") == []
    assert types(await told(bob)).count("dm.member_updated") == 1
    assert types(await told(olga)) == []
    assert "dm.member_updated" not in types(await told(alice))
    await alice.put("/users/me", {"theme": "dark"})
    assert types(await told(bob)).count("dm.member_updated") == 1


async def test_nobody_is_shown_an_old_name_behind_the_new_one(
    alice: Person, bob: Person, eve: Person, other: Any, connection: Any
) -> None:
    """She gets another name while somebody is added, and is told of her."""
    group = await begin(alice, BOB, ROOT)
    path = f"/conversations/{group['id']}/members"
    feed = f"select 1 from feeds where channel = '{user_channel(ROOT)}'"
    for first in (0, 1):
        name = f"Alice {first}"

        async def rename(name: str = name) -> None:
            await alice.put("/users/me", {"display_name": name})

        async def add() -> None:
            await bob.post(path, {"user_id": EVE})

        turns = [rename, add] if first else [add, rename]
        async with held(other, feed):
            tasks = []
            for number, turn in enumerate(turns, start=1):
                tasks.append(asyncio.create_task(turn()))
                await waiting(connection, number)
        await asyncio.gather(*tasks)
        shown = {}
        for event in await told(eve):
            for user in people(event["payload"]):
                shown[user["id"]] = user["display_name"]
        assert shown[ALICE] == name, turns
        await eve.delete(f"{path}/{EVE}")


def people(thing: Any) -> list[Any]:
    """All UserRefs in a payload."""
    if isinstance(thing, list):
        return [found for each in thing for found in people(each)]
    if not isinstance(thing, dict):
        return []
    if "display_name" in thing:
        return [thing]
    return [found for each in thing.values() for found in people(each)]


# Accounts


async def test_whose_account_is_closed_writes_nothing_more(
    alice: Person, bob: Person, root: Person, other: Any, connection: Any
) -> None:
    """Also what waited for its turn when that happened."""
    made = await begin(alice, BOB)
    path = f"/conversations/{made['id']}/messages"
    await bob.token()
    async with held(other, "select 1 from conversations"):
        late = asyncio.create_task(bob.request("POST", path, {"body": "x"}))
        await waiting(connection, 1)
        await root.put(f"/users/{BOB}", {"is_active": False})
    assert (await late).status == 401
    assert await alice.get(path) == []
    await alice.post("/conversations", {"user_ids": [BOB]}, status=422)


async def test_a_project_is_told_nothing(
    board: Board, alice: Person, bob: Person, eventually: Wait
) -> None:
    async with bob.socket("demo") as socket:
        made = await begin(alice, BOB)
        await say(alice, made["id"], SECRET)
        await socket.settle()
        assert "dm." not in str(socket.frames)
        assert SECRET not in str(socket.frames)
