"""Presence: who is here, across processes; no ghosts, no flapping, never the own join."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
import redis.asyncio

from tests import pace
from tests.conftest import Board, Door, Invite, Wait, serving
from tests.person import Person, Wire
from tests.realtime.raw import all_frames
from warmdesk.auth.actor import Actor, GlobalRole
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable
from warmdesk.realtime import leases as leases_module
from warmdesk.realtime import people as people_module
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.frames import TEXT
from warmdesk.realtime.presence_frames import Delta, WindowFrames

DELAY = 2.5
SOON = 1.0

pytestmark = pytest.mark.settings(presence_leave_delay=0.4)


@asynccontextmanager
async def here(person: Person, **params: Any) -> AsyncIterator[Wire]:
    """A socket on demo whose hello has been read."""
    async with person.socket("demo", **params) as wire:
        await wire.next("hello")
        yield wire


def changes(wire: Wire) -> list[tuple[str, int]]:
    """Joins and leaves so far, in their order."""
    found: list[tuple[str, int]] = []
    for frame in wire.frames:
        kind, payload = frame["type"], frame["payload"]
        if kind in ("presence.join", "presence.leave"):
            found.append((kind.removeprefix("presence."), payload["user_id"]))
        elif kind == "presence.changed":
            found += [("join", user["id"]) for user in payload["joined"]]
            found += [("leave", user) for user in payload["left"]]
    return found


async def away(*args: Any, **options: Any) -> Any:
    """A call of Redis while it is away."""
    raise ConnectionError("Redis is away")


async def listed(wire: Wire) -> list[str]:
    payload = (await wire.next("presence.list"))["payload"]
    assert payload["count"] == len(payload["users"])
    assert not payload["more"]
    return [user["username"] for user in payload["users"]]


async def test_the_list_has_the_newcomer_and_the_most_recent_first(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    async with here(alice) as first, here(bob) as second, here(olga) as third:
        assert await listed(first) == ["alice"]
        assert await listed(second) == ["bob", "alice"]
        assert await listed(third) == ["olga", "bob", "alice"]
        join = await first.next("presence.join", limit=SOON)
        assert join["payload"]["user_id"] == join["payload"]["id"] == bob.id
        assert join["payload"]["username"] == "bob"
        await asyncio.sleep(0.5)
        assert changes(first) == [("join", bob.id), ("join", olga.id)]
        assert changes(second) == [("join", olga.id)]
        assert changes(third) == []


async def test_two_tabs_are_one_join_and_one_leave_when_both_are_closed(
    board: Board, alice: Person, bob: Person
) -> None:
    async with here(bob) as viewer:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(here(alice))
            two = await stack.enter_async_context(here(alice))
            await viewer.next("presence.join", limit=SOON)
            await one.close()
            await asyncio.sleep(1.0)
            assert changes(viewer) == [("join", alice.id)]
            assert changes(one) == changes(two) == [], "nobody hears the own join"
        leave = await viewer.next("presence.leave", limit=DELAY)
        assert leave["payload"] == {"user_id": alice.id}
        await asyncio.sleep(0.5)
        assert changes(viewer) == [("join", alice.id), ("leave", alice.id)]


@pytest.mark.settings(presence_leave_delay=2.5)
async def test_a_reload_is_no_event_at_all(board: Board, alice: Person, bob: Person) -> None:
    async with here(bob) as viewer:
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
        for _ in range(5):
            await asyncio.sleep(0.1)
            async with here(alice) as again:
                assert set(await listed(again)) == {"alice", "bob"}
        async with here(alice) as again:
            await asyncio.sleep(3.0)
            assert changes(viewer) == [("join", alice.id)]
            assert changes(again) == []


async def test_our_own_clients_get_joins_and_leaves_in_one_frame(
    board: Board, alice: Person, bob: Person, olga: Person
) -> None:
    async with here(bob, presence="changed") as viewer:
        async with here(alice), here(olga):
            frame = await viewer.next("presence.changed", limit=SOON)
            while len(changes(viewer)) < 2:
                frame = await viewer.next("presence.changed", limit=SOON)
            assert frame["payload"]["count"] == 3
        while len(changes(viewer)) < 4:
            frame = await viewer.next("presence.changed", limit=DELAY)
        assert frame["payload"]["count"] == 1
        told = changes(viewer)
        assert sorted(told[:2]) == [("join", 2), ("join", 3)]
        assert sorted(told[2:]) == [("leave", 2), ("leave", 3)]
        assert not [f for f in viewer.frames if f["type"] in ("presence.join", "presence.leave")]


async def test_another_process_sees_who_comes_and_goes(
    board: Board, twin: Door, person: Invite, alice: Person
) -> None:
    far = person("bob", url=twin.url)
    async with here(far) as viewer:
        async with here(alice) as hers:
            assert await listed(hers) == ["alice", "bob"]
            await viewer.next("presence.join", limit=SOON)
        await viewer.next("presence.leave", limit=DELAY)
        await asyncio.sleep(0.5)
        assert changes(viewer) == [("join", alice.id), ("leave", alice.id)]


async def test_a_user_with_tabs_in_two_processes_leaves_when_the_last_closed(
    board: Board, twin: Door, person: Invite, alice: Person, bob: Person
) -> None:
    far = person("alice", url=twin.url)
    async with here(bob) as viewer, AsyncExitStack() as stack:
        near_tab = await stack.enter_async_context(here(alice))
        far_tab = await stack.enter_async_context(here(far))
        await viewer.next("presence.join", limit=SOON)
        await near_tab.close()
        await asyncio.sleep(2.5)
        assert changes(viewer) == [("join", alice.id)]
        await far_tab.close()
        await viewer.next("presence.leave", limit=DELAY)
        assert changes(viewer) == [("join", alice.id), ("leave", alice.id)]


async def test_hints_only_make_it_faster(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in (desk, twin.desk):
        monkeypatch.setattr(each.bus, "hint", lambda channel, word: None)
    far = person("bob", url=twin.url)
    async with here(far) as viewer:
        async with here(alice):
            await viewer.next("presence.join", limit=leases_module.TURN_SECONDS + SOON)
        await viewer.next("presence.leave", limit=leases_module.TURN_SECONDS + DELAY)


async def test_who_was_in_a_process_that_died_is_gone_when_the_lease_ran_out(
    board: Board,
    settings: Settings,
    person: Invite,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(leases_module, "TURN_SECONDS", 0.5)
    async with here(bob) as viewer, AsyncExitStack() as stack:
        dying = await stack.enter_async_context(serving(settings))
        alice = person("alice", url=dying.url)
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
            presence = dying.desk.presence
            await presence._tasks.stop()
            presence._stopping = True
            # From here on the process neither renews nor lowers anything.
            await asyncio.sleep(1.5)
            assert changes(viewer) == [("join", alice.id)]
            await viewer.next("presence.leave", limit=4)


async def test_a_redis_that_lost_everything_makes_nobody_leave(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    alice: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 2.5)
    monkeypatch.setattr(leases_module, "TURN_SECONDS", 0.5)
    far = person("olga", url=twin.url)
    async with here(bob) as viewer, here(far) as other:
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
            await other.next("presence.join", limit=SOON)
            await asyncio.sleep(0.5)
            before = changes(viewer), changes(other)
            await desk.redis.flushall()
            await asyncio.sleep(4.0)
            assert (changes(viewer), changes(other)) == before
            assert set(await desk.presence.users(project_channel(board.id))) == {2, 3, 4}
        # What really happens afterwards is told again.
        await viewer.next("presence.leave", limit=DELAY)
        await other.next("presence.leave", limit=DELAY)


async def test_a_process_that_begins_waits_for_others_whom_redis_kept_from_their_turn(
    board: Board,
    desk: Desk,
    settings: Settings,
    person: Invite,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker dies and Redis is away: the successor sees leases that run out."""
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 6.0)
    monkeypatch.setattr(leases_module, "TURN_SECONDS", 0.5)
    monkeypatch.setattr(leases_module, "LEAP_SECONDS", 0.7)
    monkeypatch.setattr(leases_module, "NEWCOMER_SECONDS", 6.0)
    script, channel = desk.presence.leases._script, project_channel(board.id)
    async with here(alice), AsyncExitStack() as stack:
        await desk.presence._turn()
        monkeypatch.setattr(desk.presence.leases, "_script", away)
        await asyncio.sleep(1.5)
        begun = await stack.enter_async_context(serving(settings))
        bob = person("bob", url=begun.url)
        viewer = await stack.enter_async_context(here(bob))
        assert await listed(viewer) == ["bob", "alice"]
        async with asyncio.timeout(10 * pace.stretch()):
            while alice.id in await begun.desk.presence.users(channel):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)  # a leave would be told now
        monkeypatch.setattr(desk.presence.leases, "_script", script)
        await desk.presence._turn()
        await asyncio.sleep(1.0)
        assert changes(viewer) == []
        assert set(await desk.presence.users(channel)) == {alice.id, bob.id}


async def test_presence_is_frozen_while_redis_is_away_and_right_again_afterwards(
    board: Board,
    desk: Desk,
    alice: Person,
    bob: Person,
    olga: Person,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Wait,
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(leases_module, "TURN_SECONDS", 0.3)
    script = desk.presence.leases._script
    async with here(bob) as viewer:
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
            monkeypatch.setattr(desk.presence.leases, "_script", away)
            # Sockets open all the same, with what is known here.
            async with here(olga) as late:
                assert set(await listed(late)) == {"alice", "bob", "olga"}
                await asyncio.sleep(1.0)
                assert changes(viewer) == [("join", 3), ("join", 2)]
        await asyncio.sleep(1.0)
        assert changes(viewer) == [("join", 3), ("join", 2)], "nobody leaves while it is frozen"
        assert (await bob.get("/projects/demo/presence", status=503))["error"]
        monkeypatch.setattr(desk.presence.leases, "_script", script)
        await eventually(lambda: len(changes(viewer)) == 4, limit=5)
        assert sorted(changes(viewer)[2:]) == [("leave", 2), ("leave", 3)]


async def test_a_call_that_fails_alone_keeps_nobody_shown(
    board: Board, desk: Desk, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = desk.presence.leases._script
    failed = asyncio.Event()

    async def fails_once(**given: Any) -> Any:
        if not failed.is_set():
            failed.set()
            return await away()
        return await script(**given)

    async with here(bob) as viewer:
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
            monkeypatch.setattr(desk.presence.leases, "_script", fails_once)
            await asyncio.wait_for(failed.wait(), 3 * leases_module.TURN_SECONDS)
        leave = await viewer.next("presence.leave", limit=DELAY + leases_module.TURN_SECONDS)
        assert leave["payload"] == {"user_id": alice.id}


async def test_whoever_comes_and_goes_while_a_call_fails_leaves_no_ghost(
    board: Board, desk: Desk, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lease was taken, so none runs out, and nothing changes in Redis."""
    script = desk.presence.leases._script

    async def without_alice(*, args: list[bytes]) -> Any:
        if any(alice.id in room["renew"] for room in orjson.loads(args[0])["rooms"]):
            return await away()
        return await script(args=args)

    async with here(bob) as viewer:
        await asyncio.sleep(2 * leases_module.TURN_SECONDS)
        monkeypatch.setattr(desk.presence.leases, "_script", without_alice)
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
        monkeypatch.setattr(desk.presence.leases, "_script", script)
        leave = await viewer.next("presence.leave", limit=DELAY + 2 * leases_module.TURN_SECONDS)
        assert leave["payload"] == {"user_id": alice.id}


async def many(desk: Desk, connection: Any, project_id: int, count: int) -> list[int]:
    """Members without faces."""
    rows = await connection.fetch(
        "with made as ("
        " insert into users (email, username, password_hash, display_name, global_role)"
        " select 'u' || n || '@example.org', 'u' || n, '-', 'U ' || n, 'user'"
        " from generate_series(1, $1::int) n returning id)"
        " insert into project_members (project_id, user_id, role)"
        " select $2, id, 'viewer' from made returning user_id",
        count,
        project_id,
    )
    return [row["user_id"] for row in rows]


async def test_the_list_is_bounded_and_says_the_whole_number(
    board: Board, desk: Desk, alice: Person, bob: Person, connection: Any
) -> None:
    people = await many(desk, connection, board.id, 250)
    async with here(bob):
        room = desk.hub.rooms[project_channel(board.id)]
        await desk.presence._turn(only={room.channel: set(people)})
        async with here(alice) as wire:
            payload = (await wire.next("presence.list"))["payload"]
            assert (payload["count"], len(payload["users"]), payload["more"]) == (252, 200, True)
            assert payload["users"][0]["username"] == "alice"
            first = await alice.get("/projects/demo/presence?limit=100")
            assert (first["count"], len(first["users"]), first["more"]) == (252, 100, True)
            last = await alice.get("/projects/demo/presence?limit=500&cursor=200")
            assert (last["count"], len(last["users"]), last["more"]) == (252, 52, False)
            assert last["users"][-1]["username"] == "bob"


async def test_a_storm_of_newcomers_joins_each_once(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    olga: Person,
    connection: Any,
) -> None:
    users = await many(desk, connection, board.id, 100)
    desks = itertools.cycle((desk, twin.desk))
    doors = itertools.cycle((person("x").client, person("x", url=twin.url).client))
    contexts = itertools.cycle(({"presence": "changed"}, {"presence": "changed"}, {}, {}))
    async with here(olga) as viewer, AsyncExitStack() as stack:
        sessions = await connection.fetch(
            "insert into sessions (user_id, expires_at)"
            " select unnest($1::bigint[]), now() + interval '1 hour' returning user_id, id",
            users,
        )
        session_of = {row["user_id"]: str(row["id"]) for row in sessions}

        async def enter(user_id: int) -> Any:
            # Where a ticket is bought does not matter; it saves a hundred passwords.
            actor = Actor(user_id, "u", GlobalRole.USER, session_id=session_of[user_id])
            client = next(doors)
            while True:
                try:
                    ticket = await next(desks).identity.ws_ticket(actor)
                    params = {"ticket": ticket} | next(contexts)
                    socket = await client.session.ws_connect(f"{client.url}/ws/demo", params=params)
                except (Unavailable, aiohttp.WSServerHandshakeError) as refused:
                    assert refused.status == 503  # noqa: PT017
                    await asyncio.sleep(0.2)
                else:
                    stack.push_async_callback(socket.close)
                    return user_id, socket

        async with asyncio.TaskGroup() as group:
            entering = [group.create_task(enter(user)) for user in users * 2]
        entered = [task.result() for task in entering]
        await asyncio.sleep(2.0)
        joins = [user for what, user in changes(viewer) if what == "join"]
        assert sorted(joins) == sorted(users)
        assert len(changes(viewer)) == len(users)
        for user_id, socket in entered:
            told = []
            while True:
                try:
                    message = await asyncio.wait_for(socket.receive(), 0.005)
                except TimeoutError:
                    break
                told.append(orjson.loads(message.data))
            assert [frame["type"] for frame in told[:2]] == ["hello", "presence.list"]
            here_then = [user["id"] for user in told[1]["payload"]["users"]]
            assert user_id in here_then
            later = [
                user["id"]
                for frame in told[2:]
                for user in frame["payload"].get("joined", [frame["payload"]])
            ]
            assert user_id not in later, "nobody hears the own join"
            assert not set(later) & set(here_then), "who is in the list is not said to join"
            assert sorted(here_then + later) == sorted([*users, olga.id])


def window(seed: int, *, again: float) -> tuple[set[int], list[Delta]]:
    """Who is there before a window, and what happens in it: the fewer come `again` (from 0 to 1),
    the longer is its end in which nobody is named twice.
    """
    chance = random.Random(seed)
    people = list(range(1, 40))
    before = set(chance.sample(people, 15))
    present, deltas = set(before), list[Delta]()
    fresh = chance.sample(people, len(people))
    while fresh:
        user = chance.choice(people) if chance.random() < again else fresh.pop()
        if user in present:
            present.remove(user)
            deltas.append(("leave", user, b""))
        else:
            present.add(user)
            deltas.append(("join", user, b'{"id":%d,"name":"%s"}' % (user, b"," * (user % 7))))
    return before, deltas


@pytest.mark.parametrize("again", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("seed", range(20))
def test_everybody_is_told_just_what_is_new_to_him(seed: int, again: float) -> None:
    """Wherever in a window somebody came: from what he knows, it leads to what is there now."""
    before, deltas = window(seed, again=again)
    known = [set(before)]
    for what, user, _ in deltas:
        known.append(known[-1] | {user} if what == "join" else known[-1] - {user})
    told = WindowFrames(deltas, len(known[-1]))
    places = random.Random(seed).choices(range(len(deltas) + 1), k=3 * len(deltas))
    for place in [*range(len(deltas) + 1), *places]:
        singles = [frame_of(*each) for each in all_frames(told.since(place, changed=False))]
        assert [(each["type"], each["payload"]["user_id"]) for each in singles] == [
            (f"presence.{what}", user) for what, user, _ in deltas[place:]
        ]
        made = told.since(place, changed=True)
        if known[place] == known[-1]:
            assert made == b""
            continue
        (changed,) = (frame_of(*each)["payload"] for each in all_frames(made))
        joined = [user["id"] for user in changed["joined"]]
        assert sorted(joined) == sorted(known[-1] - known[place])
        assert sorted(changed["left"]) == sorted(known[place] - known[-1])
        assert changed["count"] == len(known[-1])
        # In the order in which they came; of who came again, the first time counts.
        for what, named in (("join", joined), ("leave", changed["left"])):
            came = dict.fromkeys(u for _, u, _ in deltas[place:] if u in named)
            assert list(came) == named, what


def frame_of(kind: int, body: bytes) -> Any:
    assert kind == TEXT
    return orjson.loads(body)


async def test_leases_are_renewed_by_few_calls_and_nobody_is_forgotten(
    board: Board, desk: Desk, connection: Any, redis_url: str
) -> None:
    """More people than go into one call; at each end of one somebody comes, or somebody's lease
    had run out.
    """
    users = await many(desk, connection, board.id, 2500)
    room = await desk.hub.open(project_channel(board.id))
    await desk.presence._tasks.stop()
    lease = f"{desk.bus.names}presence:{{}}:{room.channel}"
    late = {users[place] for place in (0, 999, 1000, 2499)}
    await desk.presence._turn(only={room.channel: set(users) - late})
    everybody = {str(user): "1" for user in users}
    assert await desk.redis.zcard(lease.format("leases")) == len(users) - len(late)

    async def turn() -> tuple[list[int], dict[str, float]]:
        """The people of each call that renewed leases of the room, and what is left of leases."""
        calls = list[int]()
        async with desk.redis.monitor() as monitor:
            await desk.presence._turn(only={room.channel: set(users)})
            await desk.redis.echo("that was all")
            async for command in monitor.listen():
                name, *told = command["command"].split(" ")
                if name.upper() == "ECHO":
                    break
                if name.upper() == "ZADD" and told[0] == lease.format("leases"):
                    calls.append(sum("@" in each for each in told))
        # Without the server's own limit: thousands are much to read on a busy machine.
        async with redis.asyncio.from_url(redis_url) as asked:
            found: Any = await asked.zrange(lease.format("leases"), 0, -1, withscores=True)
        return calls, {str(name, "ascii").partition("@")[0]: until for name, until in found}

    before = (await desk.redis.time())[0] * 1000
    calls, leases = await turn()
    assert sum(calls) == 2 * len(users), "some are new in each of the three calls"
    assert leases.keys() == everybody.keys()
    calls, leases = await turn()
    assert calls == [1000, 1000, 500]
    assert leases.keys() == everybody.keys()
    assert len(set(leases.values())) == 1
    assert min(leases.values()) >= before + leases_module.LEASE_SECONDS * 1000
    await desk.redis.zrem(lease.format("leases"), f"{users[1500]}@{desk.bus.process}")
    await desk.redis.hdel(lease.format("counts"), str(users[1500]))
    calls, leases = await turn()
    assert leases.keys() == everybody.keys()
    counts = await desk.redis.hgetall(lease.format("counts"))
    assert {str(user, "ascii"): str(count, "ascii") for user, count in counts.items()} == everybody
    assert sorted(await desk.presence.users(room.channel)) == sorted(users)


async def test_a_new_name_shows_in_lists_made_afterwards(
    board: Board, alice: Person, bob: Person, eventually: Wait
) -> None:
    async with here(bob):
        await bob.put("/users/me", {"display_name": "Robert"})
        await asyncio.sleep(0.3)
        async with here(alice) as wire:
            users = (await wire.next("presence.list"))["payload"]["users"]
            assert {user["display_name"] for user in users} == {"Alice", "Robert"}


async def test_who_is_online_anywhere_is_known_to_all_processes(
    board: Board, desk: Desk, twin: Door, alice: Person, person: Invite, eventually: Wait
) -> None:
    far = person("bob", url=twin.url)
    async with far.socket("user") as wire, here(alice):
        await wire.next("hello")
        assert await desk.presence.online([2, 3, 4]) == {3, 4}
        assert await twin.desk.presence.online([2, 3, 4]) == {3, 4}

    async def nobody() -> bool:
        return not await desk.presence.online([2, 3, 4])

    await eventually(nobody, limit=5)


async def test_a_planned_stop_leaves_the_leave_delay_and_no_ghosts(
    board: Board, desk: Desk, settings: Settings, person: Invite, bob: Person
) -> None:
    """And nobody who begins waits for its next turn."""
    turns = f"{desk.bus.names}presence:turns"
    async with here(bob) as viewer:
        async with serving(settings) as second:
            alice = person("alice", url=second.url)
            holder = alice.socket("demo")
            wire = await holder.__aenter__()
            await wire.next("hello")
            await viewer.next("presence.join", limit=SOON)
            await second.desk.presence._turn()
            assert await desk.redis.hexists(turns, second.desk.bus.process)
        assert not await desk.redis.hexists(turns, second.desk.bus.process)
        await holder.__aexit__(None, None, None)
        await viewer.next("presence.leave", limit=leases_module.TURN_SECONDS + 1.0)


async def test_an_opening_that_fails_shows_nobody_for_longer_than_it_took(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    alice: Person,
    bob: Person,
    olga: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def busy(*args: Any) -> None:
        raise Unavailable("too busy")

    far = person("bob", url=twin.url)
    async with here(far) as viewer, here(olga):
        await viewer.next("presence.join", limit=SOON)
        monkeypatch.setattr(desk.resume, "plan", busy)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with alice.socket("demo", since=0):
                pass
        await asyncio.sleep(DELAY)
        assert changes(viewer)[1:] in ([], [("join", alice.id), ("leave", alice.id)])
        assert not await desk.presence.online([alice.id])


@pytest.mark.parametrize("part", ["leases", "counts", "since", "version"])
async def test_a_redis_that_drops_a_part_when_memory_is_short_makes_no_ghosts(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 2.5)
    monkeypatch.setattr(leases_module, "TURN_SECONDS", 0.5)
    far = person("bob", url=twin.url)
    async with here(far) as viewer:
        async with here(alice):
            await viewer.next("presence.join", limit=SOON)
            key = f"{desk.bus.names}presence:{part}:{project_channel(board.id)}"
            assert await desk.redis.delete(key)
            await asyncio.sleep(2.5)
            assert changes(viewer) == [("join", alice.id)]
            assert set(await desk.presence.users(project_channel(board.id))) == {3, 4}
        await viewer.next("presence.leave", limit=2.5 + DELAY)
        assert await desk.presence.users(project_channel(board.id)) == [4]


async def test_a_clock_of_redis_that_leaps_ahead_makes_nobody_leave(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leases are moved instead of the clock: to a script that is the same."""
    far = person("bob", url=twin.url)
    async with here(far) as viewer, here(alice):
        await viewer.next("presence.join", limit=SOON)
        await twin.desk.presence._turn()
        shift_clock(twin.desk, 3600.0, monkeypatch)
        key = f"{desk.bus.names}presence:leases:{project_channel(board.id)}"
        await desk.redis.zincrby(key, -3_600_000, f"{alice.id}@{desk.bus.process}")
        await twin.desk.presence._turn()
        await desk.presence._turn()
        await asyncio.sleep(SOON)
        assert changes(viewer) == [("join", alice.id)]


async def test_a_clock_of_redis_that_is_set_back_leaves_no_ghosts(
    board: Board, desk: Desk, olga: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's process died, and the lease that it left would last for another hour."""
    monkeypatch.setattr(leases_module, "LEASE_SECONDS", 1.5)
    key = f"{desk.bus.names}presence:{{}}:{project_channel(board.id)}"
    async with here(bob) as viewer:
        async with here(olga):
            await viewer.next("presence.join", limit=SOON)
            await desk.redis.hincrby(key.format("counts"), olga.id, 1)
            seconds, _ = await desk.redis.time()
            dead = {f"{olga.id}@dead": (seconds + 3600) * 1000}
            await desk.redis.zadd(key.format("leases"), dead)
        await viewer.next("presence.leave", limit=1.5 + leases_module.TURN_SECONDS + SOON)


async def test_whoever_asks_for_people_is_told_them_though_they_are_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who resumes first asks for the next at once, before the others look at what was read."""
    monkeypatch.setattr(people_module, "PEOPLE_KEPT", 1)

    async def told(*ids: int) -> list[int]:
        return [orjson.loads(ref)["id"] for id in ids for ref in await desk.people.refs([id, 3])]

    one, other = await asyncio.gather(told(1, 2, 4, 5), told(5, 4, 2, 1))
    assert one == [1, 3, 2, 3, 4, 3, 5, 3]
    assert other == [5, 3, 4, 3, 2, 3, 1, 3]
    assert await desk.people.refs([2, 6, 1]) == await desk.people.refs([2, 1])
    assert len(desk.people._people) == 1


async def test_a_name_that_changes_while_it_is_read_is_the_new_one(
    desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, reserved = people_module.People(desk.database), desk.database.reserved
    under_way, go_on = asyncio.Event(), asyncio.Event()
    fetch = reserved.fetch

    async def slow(statement: str, *values: Any) -> Any:
        rows = await fetch(statement, *values)
        if statement == sql.sockets.people.statement and not under_way.is_set():
            under_way.set()
            await go_on.wait()
        return rows

    await alice.token()
    monkeypatch.setattr(reserved, "fetch", slow)
    reading = asyncio.create_task(people.refs([alice.id]))
    await under_way.wait()
    await alice.put("/users/me", {"display_name": "Alison"})
    renamed = asyncio.create_task(people.renamed(alice.id))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(reading, renamed)
    (ref,) = await people.refs([alice.id])
    assert orjson.loads(ref)["display_name"] == "Alison"


async def test_who_comes_while_people_are_forgotten_is_left_out_nowhere(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    olga: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(people_module, "PEOPLE_KEPT", 0)
    far = person("alice", url=twin.url)

    async def strangers() -> None:
        while True:
            await desk.people.refs([999])

    async with here(bob) as viewer:
        forgetting = [asyncio.create_task(strangers()) for _ in range(3)]
        for _ in range(3):
            async with here(olga), here(far):
                for _ in range(2):
                    await viewer.next("presence.join", limit=SOON)
            for _ in range(2):
                await viewer.next("presence.leave", limit=DELAY)
        for task in forgetting:
            task.cancel()
        joined = sorted(user for what, user in changes(viewer) if what == "join")
        assert joined == [olga.id] * 3 + [far.id] * 3


def shift_clock(desk: Desk, leap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    script = desk.presence.leases._script

    async def shifted(*args: Any, **options: Any) -> bytes:
        answer = orjson.loads(await script(*args, **options))
        return orjson.dumps(answer | {"clock": answer["clock"] + round(leap * 1000)})

    monkeypatch.setattr(desk.presence.leases, "_script", shifted)
