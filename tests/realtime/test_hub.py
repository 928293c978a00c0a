"""The hub: what the bus loses is read, history that went back is noticed, sockets end rightly."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import asyncpg
import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests import pace
from tests.conftest import Board, Invite, Wait, until
from tests.locks import waiting
from tests.person import Person, Wire
from tests.realtime.raw import Peer
from tests.realtime.story import of_history, pipe, seqs, tell
from warmdesk.config import Settings
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.desk import Desk
from warmdesk.metrics.sharing import TICK_SECONDS
from warmdesk.realtime import connection as connection_module
from warmdesk.realtime import feed, hub, resume, roster, sweeper
from warmdesk.realtime.bus import Bus
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.channels import CONTROL, project_channel
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import CONTROL_RESTORED, PROJECT_UNARCHIVED
from warmdesk.realtime.frames import CLOSE, TEXT, Close
from warmdesk.realtime.room import Room

Message = str


class Post:
    """What a bus carries, in the test's hands: kept back, dropped, given in another order."""

    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch) -> None:
        self.kept: list[Message] = []
        self.pass_on = desk.bus.publish_all
        patch.setattr(desk.bus, "publish_all", self.kept.extend)

    def deliver(self, *places: int) -> None:
        self.pass_on([self.kept[place] for place in places])


@pytest.fixture
def post(desk: Desk, board: Board, monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(desk, monkeypatch)


@pytest.fixture
def at_peace(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not seen a late message for long."""
    monkeypatch.setattr(desk.hub, "_hold_seconds", hub.HOLD_SECONDS)


@asynccontextmanager
async def opened(person: Person, **params: Any) -> AsyncIterator[tuple[Wire, dict[str, Any]]]:
    async with person.socket("demo", **params) as wire:
        hello = await wire.next("hello")
        await wire.next("presence.list")
        yield wire, hello["payload"]


async def come(wire: Wire, hello: dict[str, Any], *places: int) -> None:
    """The next events, each so far after the one of `hello`."""
    for place in places:
        assert (await wire.next("project.unarchived"))["seq"] == hello["seq"] + place


# What the bus does to messages


@pytest.mark.usefixtures("at_peace")
async def test_messages_in_a_wrong_order_cost_no_read(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    async with opened(alice) as (wire, hello):
        for _ in range(3):
            await tell(desk, project_channel(board.id))
        post.deliver(2, 0, 1, 0)
        for seq in range(hello["seq"] + 1, hello["seq"] + 4):
            assert (await wire.next("project.unarchived"))["seq"] == seq
        await asyncio.sleep(2 * hub.HOLD_SECONDS)
        assert reads == []


async def test_a_lost_message_is_read_once_when_the_next_one_comes(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id), 10)
        post.deliver(9)
        for _ in range(10):
            await wire.next("project.unarchived", limit=1)
        await wire.settle()
        assert seqs(wire.frames) == list(range(hello["seq"] + 1, hello["seq"] + 11))
        assert len(reads) == 1


@pytest.mark.usefixtures("at_peace")
async def test_a_late_message_is_read_for_nothing_once(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    """Who saw that messages come late waits longer; what is lost comes in time all the same."""
    async with opened(alice) as (wire, hello):
        for place, late in ((0, 5), (2, 2), (4, 2)):
            await tell(desk, project_channel(board.id), 2)
            post.deliver(place + 1)
            await asyncio.sleep(late * hub.HOLD_SECONDS)
            post.deliver(place)
            await come(wire, hello, place + 1, place + 2)
            await wire.settle()
            assert len(reads) == 1
        await tell(desk, project_channel(board.id), 2)
        post.deliver(7)
        for _ in range(2):
            await wire.next("project.unarchived", limit=2)
        assert len(reads) == 2


async def test_who_knows_nothing_of_its_bus_waits_longest(
    board: Board,
    desk: Desk,
    alice: Person,
    post: Post,
    reads: list[int],
    no_checks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = hub.Hub(desk.database, desk.bus)._hold_seconds
    monkeypatch.setattr(desk.hub, "_hold_seconds", 10 * fresh)
    monkeypatch.setattr(hub, "ON_ITS_WAY_SECONDS", 10 * fresh)
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id), 2)
        post.deliver(1)
        await asyncio.sleep(20 * hub.HOLD_SECONDS)
        post.deliver(0)
        await come(wire, hello, 1, 2)
        assert reads == []


@pytest.mark.usefixtures("at_peace")
async def test_what_never_happened_is_forgotten_though_events_go_on(
    board: Board,
    desk: Desk,
    alice: Person,
    reads: list[int],
    no_checks: None,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each event that comes is not what was missing; and how far they are apart teaches nothing."""
    monkeypatch.setattr(hub, "HOLD_SECONDS", hub.ON_ITS_WAY_SECONDS)
    async with opened(alice) as (wire, hello):
        channel = project_channel(board.id)
        desk.bus.publish_all([f'{channel} {hello["seq"] + 500} told -\n{{"seq":0}}'])
        room, told = desk.hub.rooms[channel], 0

        async def flows() -> bool:
            nonlocal told
            await tell(desk, channel)
            told += 1
            return bool(reads)

        await eventually(flows, limit=5, every=0.01)
        await eventually(lambda: not room.held)
        await come(wire, hello, *range(1, told + 1))
        assert desk.hub._hold_seconds < 0.1


@pytest.mark.usefixtures("at_peace")
async def test_one_that_was_read_for_nothing_teaches_though_another_came_in_time(
    board: Board,
    desk: Desk,
    alice: Person,
    post: Post,
    reads: list[int],
    no_checks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "ON_ITS_WAY_SECONDS", 6.0)  # later than that teaches nothing
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id), 4)
        post.deliver(1)
        await come(wire, hello, 1, 2)
        assert len(reads) == 1
        post.deliver(3, 2)
        await come(wire, hello, 3, 4)
        before = desk.hub._hold_seconds
        assert before < 2 * hub.HOLD_SECONDS
        await asyncio.sleep(3 * hub.HOLD_SECONDS)
        post.deliver(0)
        await until(lambda: desk.hub._hold_seconds > 2 * before)


@pytest.mark.parametrize("end", ["closes", "is forgotten", "stops"])
async def test_nobody_waits_for_a_room_that_is_gone(
    board: Board,
    desk: Desk,
    alice: Person,
    post: Post,
    reads: list[int],
    no_checks: None,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    monkeypatch.setattr(hub, "HOLD_SECONDS", 10.0)
    channel = project_channel(board.id)
    async with opened(alice):
        room = desk.hub.rooms[channel]
        await tell(desk, channel, 2)
        post.deliver(1)
        timer = await until(lambda: room.held_timer)
    await until(lambda: room.empty)
    if end == "closes":
        desk.hub._visit(time.monotonic() + 60)
        assert channel not in desk.hub.rooms
    elif end == "is forgotten":
        assert desk.hub._history_changed("another")
    else:
        await desk.hub.stop()
    assert timer.cancelled()


@pytest.mark.usefixtures("at_peace")
async def test_each_missing_message_has_its_own_time(
    board: Board,
    desk: Desk,
    alice: Person,
    post: Post,
    reads: list[int],
    no_checks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is missing next is not read because something else was missing before it."""
    monkeypatch.setattr(hub, "HOLD_SECONDS", 1.0)
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id), 6)
        post.deliver(1)
        await asyncio.sleep(0.6)
        post.deliver(3, 0)
        await asyncio.sleep(0.6)
        post.deliver(5, 2, 4)
        await come(wire, hello, *range(1, 7))
        assert reads == []


async def test_a_message_that_comes_twice_ends_no_wait_for_another(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id), 3)
        post.deliver(0, 2, 0)
        await come(wire, hello, 1, 2, 3)
        assert len(reads) == 1


@pytest.mark.usefixtures("at_peace")
async def test_who_was_late_in_time_gives_the_next_one_longer(
    board: Board,
    desk: Desk,
    alice: Person,
    post: Post,
    reads: list[int],
    no_checks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "HOLD_SECONDS", 3.0)
    monkeypatch.setattr(hub, "ON_ITS_WAY_SECONDS", 12.0)
    async with opened(alice) as (wire, hello):
        for place, late in ((0, 2.5), (2, 3.3)):
            await tell(desk, project_channel(board.id), 2)
            post.deliver(place + 1)
            await asyncio.sleep(late)
            post.deliver(place)
            await come(wire, hello, place + 1, place + 2)
        assert reads == []


async def test_a_lost_last_message_comes_within_two_seconds(
    board: Board, desk: Desk, alice: Person, post: Post
) -> None:
    async with opened(alice) as (wire, hello):
        began = time.monotonic()
        await tell(desk, project_channel(board.id))
        event = await wire.next("project.unarchived", limit=2)
        assert event["seq"] == hello["seq"] + 1
        assert time.monotonic() - began <= pace.here(2)


@pytest.mark.usefixtures("at_peace")
async def test_on_a_slow_bus_a_message_has_longer_to_arrive(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id))
        await tell(desk, project_channel(board.id))
        await asyncio.sleep(5 * hub.HOLD_SECONDS)
        post.deliver(1)
        await asyncio.sleep(3 * hub.HOLD_SECONDS)
        post.deliver(0)
        await come(wire, hello, 1, 2)
        assert reads == []


async def test_a_message_that_is_only_slow_costs_no_read(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int]
) -> None:
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id))
        looking = asyncio.create_task(desk.hub.check())
        await asyncio.sleep(5 * hub.HOLD_SECONDS)
        post.deliver(0)
        await looking
        assert (await wire.next("project.unarchived"))["seq"] == hello["seq"] + 1
        assert reads == []


async def test_a_message_of_what_never_happened_costs_one_read_and_is_forgotten(
    board: Board,
    desk: Desk,
    alice: Person,
    reads: list[int],
    no_checks: None,
    eventually: Wait,
) -> None:
    channel = project_channel(board.id)
    async with opened(alice) as (wire, hello):
        desk.bus.publish_all([f'{channel} {hello["seq"] + 500} told -\n{{"seq":0}}'])
        room = desk.hub.rooms[channel]
        await eventually(lambda: reads and not room.held)
        for _ in range(5):
            await tell(desk, channel)
            await asyncio.sleep(1.5 * hub.HOLD_SECONDS)
        await wire.settle()
        assert seqs(wire.frames) == list(range(hello["seq"] + 1, hello["seq"] + 6))
        assert len(reads) == 1


async def test_a_listener_that_fails_takes_no_event_from_anybody(
    board: Board, desk: Desk, alice: Person
) -> None:
    channel = project_channel(board.id)
    heard: list[int] = []

    def fails(entry: feed.Entry) -> None:
        heard.append(entry.seq)
        raise RuntimeError("a bug")

    await desk.hub.follow(channel, fails)
    async with opened(alice) as (wire, hello):
        await tell(desk, channel, 3)
        for _ in range(3):
            await wire.next("project.unarchived")
        assert heard == [hello["seq"] + n for n in (1, 2, 3)]


# History


async def test_a_busy_room_is_never_taken_for_one_whose_history_went_back(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads are older than the room when the answer comes."""
    channel = project_channel(board.id)
    heads, after = feed.heads, feed.after

    async def slow_heads(*args: Any) -> Any:
        found = await heads(*args)
        await tell(desk, channel)
        await asyncio.sleep(0.05)
        return found

    async def slow_after(*args: Any, **options: Any) -> Any:
        found = await after(*args, **options)
        await tell(desk, channel)
        await asyncio.sleep(0.05)
        return found

    async with opened(alice) as (wire, hello):
        epoch = desk.hub.epoch
        monkeypatch.setattr(feed, "heads", slow_heads)
        monkeypatch.setattr(feed, "after", slow_after)
        for _ in range(3):
            await desk.hub.check()
        await desk.hub.catch_up(desk.hub.rooms[channel], cause="check")
        assert desk.hub.epoch == epoch
        await wire.settle()
        assert seqs(wire.frames) == list(range(hello["seq"] + 1, desk.hub.rooms[channel].last + 1))
        assert len(wire.events) >= 4


@pytest.mark.foul
async def test_a_head_below_the_room_closes_all_with_1012(
    board: Board, desk: Desk, alice: Person, connection: Any
) -> None:
    channel = project_channel(board.id)
    async with opened(alice) as (wire, before):
        await connection.execute("delete from events where channel = $1", channel)
        await connection.execute("update feeds set seq = 0, oldest = 1 where channel = $1", channel)
        assert await wire.closed(limit=3) == 1012
    async with opened(alice) as (wire, hello):
        assert hello["seq"] == 0
        assert hello["epoch"] != before["epoch"], "who is away now shall know it when it is back"
        await tell(desk, channel)
        assert (await wire.next("project.unarchived"))["seq"] == 1


@pytest.mark.foul
async def test_another_epoch_closes_all_with_1012_and_who_comes_back_with_the_old_one_fetches_again(
    board: Board, desk: Desk, alice: Person, connection: Any, eventually: Wait
) -> None:
    async with opened(alice) as (wire, hello):
        await connection.execute("update install set id = gen_random_uuid()")
        assert await wire.closed(limit=3) == 1012
    async with opened(alice, since=hello["seq"], epoch=hello["epoch"]) as (wire, new):
        assert new["epoch"] != hello["epoch"]
        assert new["resumed"] is False
        reset = await wire.next("sync.reset")
        assert reset["payload"] == {"seq": new["seq"], "epoch": new["epoch"], "reason": "epoch"}
        await tell(desk, project_channel(board.id))
        assert (await wire.next("project.unarchived"))["seq"] == new["seq"] + 1
    # The process follows `control` again, too.
    await eventually(lambda: desk.hub.rooms[CONTROL].opened)
    await tell(desk, CONTROL, event=CONTROL_RESTORED, payload="{}")
    await eventually(lambda: desk.hub.rooms[CONTROL].last > 0)


@pytest.mark.foul
async def test_the_first_event_of_another_history_ends_the_old_one_and_nobody_is_told_it(
    board: Board, desk: Desk, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes after a failover does it by a new connection, and all is told of it before
    the process has looked.
    """
    monkeypatch.setattr(hub, "CHECK_SECONDS", 60.0)
    channel = project_channel(board.id)
    await tell(desk, channel)
    async with opened(alice) as (wire, hello):
        await desk.hub.check()
        await asyncio.sleep(1.1)
        await connection.execute("update install set written = '0'")
        desk.database.pool.expire()
        await tell(desk, channel, 3)
        assert await wire.closed(limit=2) == 1012
        assert wire.events == []
    async with opened(alice) as (wire, new):
        assert (new["seq"], new["epoch"] == hello["epoch"]) == (hello["seq"] + 3, False)
        await tell(desk, channel)
        assert (await wire.next("project.unarchived"))["seq"] == new["seq"] + 1


OURS, THEIRS = "0123456789ab", ["ba9876543210", "0123456789aB", "0"]


@st.composite
def mixtures(draw: st.DrawFn) -> list[tuple[int, str]]:
    """The seqs of a room's history, each once or more, among those of other histories."""
    last = draw(st.integers(1, 12))
    more = st.tuples(st.integers(1, last + 3), st.sampled_from(THEIRS))
    again = st.tuples(st.integers(1, last), st.sampled_from([OURS, ""]))
    once = [(seq, draw(st.sampled_from([OURS, ""]))) for seq in range(1, last + 1)]
    return draw(st.permutations(once + draw(st.lists(more | again, max_size=12))))


@given(mixtures(), st.booleans())
@hypothesis_settings(max_examples=200)
def test_a_room_takes_what_is_of_its_history_and_nothing_else(
    mixture: list[tuple[int, str]], opened: bool
) -> None:
    async def story() -> None:
        centre = hub.Hub(cast("Any", None), Bus(None))
        centre.bus.heard.add(centre.hear)
        centre.epoch = OURS
        room = centre.rooms["project:1"] = Room(
            "project:1", rejoin=centre.rejoin, taken=centre._taken, early={}
        )
        room.begin(0)
        room.opened = opened
        viewer = pipe()
        viewer.connection.seen = 0
        assert room.join(viewer.connection)
        for seq, epoch in mixture:
            body = orjson.dumps({"type": "told", "payload": {}, "seq": seq, "of": epoch}).decode()
            centre.bus.publish_all([of_history(f"project:1 {seq} told -\n{body}", epoch)])
        for channel, message in centre.bus._queue:
            centre.bus._hear(channel, message)
        room.flush()
        if room.held_timer is not None:
            room.held_timer.cancel()
        own = {seq for seq, epoch in mixture if epoch in (OURS, "")}
        if opened:
            assert viewer.seqs == sorted(own)
            assert {event["of"] for event in viewer.frames} <= {OURS, ""}
        else:
            assert set(room.held) == own
            assert all(orjson.loads(held.body)["of"] in (OURS, "") for held in room.held.values())
        assert centre._doubt.is_set() == any(epoch in THEIRS for _, epoch in mixture)

    asyncio.run(story())


@pytest.mark.foul
async def test_connections_that_knew_the_old_history_tell_of_the_new_one(
    board: Board, desk: Desk, connection: Any, post: Post, eventually: Wait
) -> None:
    channel = project_channel(board.id)
    before = desk.hub.epoch
    await tell(desk, channel)
    await connection.execute("update install set written = '0'")
    await eventually(lambda: desk.hub.epoch != before)
    await tell(desk, channel)
    assert post.kept[0] == of_history(post.kept[0], before)
    assert post.kept[1] == of_history(post.kept[1], desk.hub.epoch)


async def test_what_a_deposed_primary_tells_late_is_dropped_and_costs_few_looks(
    board: Board, desk: Desk, alice: Person, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 60.0)
    looks = 0
    heads = feed.heads

    async def counted(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return await heads(*args)

    async with opened(alice) as (wire, hello):
        await asyncio.sleep(1.1)
        monkeypatch.setattr(feed, "heads", counted)
        await tell(desk, project_channel(board.id), 20)
        late = [of_history(message, "0123456789ab") for message in post.kept]
        began = time.monotonic()
        for message, true in zip(late, list(post.kept), strict=True):
            post.pass_on([message.replace("demo", "deposed"), true, message])
            await asyncio.sleep(0.02)
        for seq in range(1, 21):
            event = await wire.next("project.unarchived")
            assert (event["seq"], event["payload"]["slug"]) == (hello["seq"] + seq, "demo")
        await wire.settle()
        assert len(wire.events) == 20
        assert 1 <= looks <= 2 + (time.monotonic() - began) / hub.CHECK_SECONDS_BAD


async def test_an_event_whose_history_is_not_told_is_taken(
    board: Board, desk: Desk, alice: Person, post: Post, reads: list[int], no_checks: None
) -> None:
    """As the program before wrote it, beside which this one has to work."""
    async with opened(alice) as (wire, hello):
        await tell(desk, project_channel(board.id))
        post.pass_on([of_history(post.kept[0], "")])
        assert (await wire.next("project.unarchived"))["seq"] == hello["seq"] + 1
        assert reads == []


@pytest.mark.foul
async def test_control_is_followed_again_although_the_database_was_away_when_history_changed(
    board: Board,
    desk: Desk,
    connection: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads = feed.heads
    broken = 0

    async def away(pool: Any, channels: Any) -> Any:
        nonlocal broken
        channels = list(channels)
        if channels == [CONTROL] and broken < 3:
            broken += 1
            raise asyncpg.InterfaceError("away")
        return await heads(pool, channels)

    room = desk.hub.rooms[CONTROL]
    room.opened = False
    monkeypatch.setattr(feed, "heads", away)
    await eventually(lambda: broken == 3 and room.opened, limit=6)


@pytest.mark.foul
async def test_events_trimmed_under_a_room_are_a_reset_and_not_a_hole(
    board: Board, desk: Desk, alice: Person, post: Post, connection: Any
) -> None:
    channel = project_channel(board.id)
    async with opened(alice) as (wire, hello):
        await tell(desk, channel, 10)
        head = hello["seq"] + 10
        await connection.execute(
            "with gone as (delete from events where channel = $1 and seq <= $2)"
            " update feeds set oldest = $2 + 1 where channel = $1",
            channel,
            head - 3,
        )
        reset = await wire.next("sync.reset", limit=3)
        assert reset["payload"]["reason"] == "retention"
        assert reset["payload"]["seq"] == head
        assert wire.events == []
        await tell(desk, channel)
        assert (await wire.next("project.unarchived", limit=3))["seq"] == head + 1


# Freezes, rooms, ends


async def test_who_is_ahead_of_a_room_that_cannot_read_its_feed_is_not_reset(
    desk: Desk, board: Board
) -> None:
    room = await desk.hub.open(project_channel(board.id))
    await desk.database.reserved.close()
    with pytest.raises(DATABASE_AWAY):
        await desk.resume.plan(room, room.last + 1, desk.hub.epoch)


async def test_who_gives_up_does_not_end_what_others_wait_for(
    desk: Desk, board: Board, connection: Any
) -> None:
    """Several ask for what a room has not read yet, and one of them runs out of time."""
    room = await desk.hub.open(project_channel(board.id))
    async with connection.transaction():
        await connection.execute("lock table events in access exclusive mode")
        first, second = (
            asyncio.create_task(desk.resume.plan(room, room.last + 1, desk.hub.epoch))
            for _ in range(2)
        )
        await waiting(connection)
        first.cancel()
        await asyncio.wait([first])
        assert not second.done()
    with pytest.raises(resume.Reset, match="ahead"):
        await second


async def test_a_process_that_slept_delivers_nothing_before_it_has_compared(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = project_channel(board.id)
    checking = asyncio.Event()
    heads = feed.heads

    async def held(*args: Any) -> Any:
        await checking.wait()
        return await heads(*args)

    async with opened(alice) as (wire, hello):
        monkeypatch.setattr(feed, "heads", held)
        desk.hub._ticked_at = time.monotonic() - hub.FREEZE_SECONDS - 1
        await tell(desk, channel, 3)
        await asyncio.sleep(0.3)
        assert wire.events == []
        checking.set()
        for seq in range(hello["seq"] + 1, hello["seq"] + 4):
            assert (await wire.next("project.unarchived", limit=3))["seq"] == seq
        assert not desk.hub._frozen


async def test_empty_rooms_are_unsubscribed_after_a_while(
    board: Board, desk: Desk, alice: Person, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "KEEP_EMPTY_SECONDS", 0.5)
    channel = project_channel(board.id)
    async with opened(alice):
        await asyncio.sleep(1.6)
        assert desk.bus.hears(channel)
    assert channel in desk.hub.rooms
    await eventually(lambda: channel not in desk.hub.rooms)
    await eventually(lambda: not desk.bus.hears(channel))
    counted = await desk.redis.execute_command("PUBSUB", "NUMSUB", desk.bus.names + channel)
    assert counted[1] == 0
    assert CONTROL in desk.hub.rooms


async def test_a_room_that_closed_while_it_opened_is_opened_again(
    board: Board, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took so long that the sweeper comes before who waits for it."""
    channel, open_room = project_channel(board.id), desk.hub._open
    closed: list[Room] = []

    async def slow(room: Room) -> None:
        await open_room(room)
        if not closed:
            closed.append(room)
            room.empty_since = time.monotonic() - hub.KEEP_EMPTY_SECONDS - 1
            desk.hub._visit(time.monotonic())
            assert channel not in desk.hub.rooms

    monkeypatch.setattr(desk.hub, "_open", slow)
    room = await desk.hub.open(channel)
    assert closed
    assert closed != [room]
    assert desk.hub.rooms[channel] is room
    assert room.opened


async def test_a_planned_stop_says_reconnect_and_closes_with_1001(
    board: Board, desk: Desk, alice: Person, bob: Person
) -> None:
    async with opened(alice) as (hers, _), opened(bob) as (his, _):
        await desk.hub.roster.close_sockets(spread=0.1)
        for wire in (hers, his):
            goodbye = await wire.next("reconnect")
            assert 0 <= goodbye["payload"]["min_ms"] < goodbye["payload"]["max_ms"]
            assert await wire.closed() == 1001
    assert not desk.hub.roster.connections


async def test_the_21st_socket_of_a_user_on_a_channel_ends_the_first(
    board: Board, desk: Desk, alice: Person, bob: Person
) -> None:
    async with opened(bob) as (other, _):
        wires = []
        for _ in range(roster.CONNECTIONS_EACH):
            holder = alice.socket("demo")
            wires.append((holder, await holder.__aenter__()))
        user = alice.socket("user")
        wires.append((user, await user.__aenter__()))
        await wires[0][1].settle()
        holder = alice.socket("demo")
        wires.append((holder, await holder.__aenter__()))
        assert await wires[0][1].closed() == 4409
        for _, wire in wires[1:]:
            await wire.settle()
        await other.settle()
        for holder, _ in wires:
            await holder.__aexit__(None, None, None)


# Raw clients: who does not read, who does not answer


@asynccontextmanager
async def raw(
    person: Person, url: str, query: str = "", *, segment: int | None = None
) -> AsyncIterator[Peer]:
    """A client on demo that says every byte itself and reads only when asked. `segment`: bytes of
    its packets, which are large on loopback; then its buffers are small, too.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    plain = socket.socket()
    plain.setblocking(False)
    if segment:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1 << 12)
    peer = Peer(reader, writer)
    peer.say(
        f"GET /api/v1/ws/demo?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nAuthorization: Bearer {await person.token()}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield peer
    finally:
        await peer.leave()


def only(desk: Desk, user_id: int) -> Connection:
    (found,) = desk.hub.roster.of_user(user_id)
    return found


async def big_chat(desk: Desk, channel: str, kib: int) -> None:
    """Events until so many KiB went by; real ones have such sizes when cards have long texts."""
    await tell_text(desk, channel, "x" * 60_000, (kib + 59) // 60)


async def tell_text(desk: Desk, channel: str, text: str, times: int) -> None:
    async def work(change: Change) -> None:
        change.emit(channel, PROJECT_UNARCHIVED, f'{{"slug":"{text}"}}')

    for _ in range(times):
        await desk.changes.run(ChangeContext(actor_id=1), work)


async def until_paused(desk: Desk, channel: str, connection: Connection) -> None:
    for _ in range(200):
        await big_chat(desk, channel, 300)
        if connection.paused_since:
            return
    raise AssertionError("it never became slow")


async def arrived(desk: Desk, channel: str) -> int:
    """Wait until the room has what was told; gives its head."""
    row = await desk.database.fetchrow("select seq from feeds where channel = $1", channel)
    head = int(row["seq"])
    await until(lambda: desk.hub.rooms[channel].last == head)
    await asyncio.sleep(0)
    return head


async def read_events(peer: Peer, upto: int) -> list[int]:
    """The seqs of the events a raw client reads until one of them is `upto`."""
    found: list[int] = []
    while not found or found[-1] < upto:
        code, payload = await peer.frame(10)
        if code == TEXT and "seq" in (told := orjson.loads(payload)):
            found.append(told["seq"])
    return found


@pytest.mark.parametrize("tail", [1000, 3])
async def test_a_slow_reader_is_skipped_and_then_gets_everything_in_order(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    bob: Person,
    tail: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("warmdesk.realtime.room.TAIL_EVENTS", tail)
    channel = project_channel(board.id)
    async with opened(bob) as (quick, hello), raw(alice, url) as slow:
        connection = only(desk, alice.id)
        await until_paused(desk, channel, connection)
        assert connection in desk.hub.rooms[channel].slow
        await big_chat(desk, channel, 1200)
        assert connection.buffered < (1 << 20) + 200_000
        head = await arrived(desk, channel)
        await quick.settle()
        assert quick.events[-1]["seq"] == head
        got = await read_events(slow, head)
        assert got == list(range(hello["seq"] + 1, head + 1))
        await tell(desk, channel)
        assert await read_events(slow, head + 1) == [head + 1]
        assert connection in desk.hub.rooms[channel].ready


async def test_who_is_behind_waits_while_the_database_is_away_and_stays_connected(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = project_channel(board.id)
    after, tries = feed.after, 0

    async def away(pool: Any, channel: str, since: int, **options: Any) -> Any:
        nonlocal tries
        if "limit" not in options:  # what only asks whether there is a way back is answered
            tries += 1
            if tries < 3:
                raise asyncpg.ConnectionDoesNotExistError("away")
        return await after(pool, channel, since, **options)

    async with opened(alice) as (wire, hello):
        await tell(desk, channel, 5)
        head = await arrived(desk, channel)
        while (await wire.next("project.unarchived"))["seq"] < head:
            pass
        desk.hub.rooms[channel].tail.clear()
        monkeypatch.setattr(feed, "after", away)
        await wire.send("sync", {"since": hello["seq"], "epoch": hello["epoch"]})
        for seq in range(head - 4, head + 1):
            assert (await wire.next("project.unarchived", limit=8))["seq"] == seq
    assert tries == 3


@pytest.mark.parametrize("back", [1000, 2])
async def test_a_slow_reader_that_asks_for_sync_is_still_not_written_to(
    board: Board, desk: Desk, url: str, alice: Person, back: int
) -> None:
    channel = project_channel(board.id)
    async with raw(alice, url) as slow:
        connection = only(desk, alice.id)
        await until_paused(desk, channel, connection)
        since = max(0, await arrived(desk, channel) - back)
        buffered = connection.buffered
        done: list[int] = []
        await desk.resume.resync(
            connection, since, None, lambda: done.append(desk.hub.rooms[channel].last)
        )
        await big_chat(desk, channel, 1200)
        assert connection.buffered == buffered
        assert done == []
        assert connection in desk.hub.rooms[channel].slow
        head = await arrived(desk, channel)
        got = await read_events(slow, head)
        assert got[since - head :] == list(range(since + 1, head + 1))
        assert done == [head]


async def ended(desk: Desk, eventually: Wait, user_id: int) -> None:
    await eventually(lambda: not desk.hub.roster.of_user(user_id), limit=8)


@pytest.fixture
def close_codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that connections closed with, also where the peer never read them."""
    codes: list[int] = []
    close = Connection.close

    def noted(self: Connection, code: int, reason: str = "") -> None:
        if not self.closing:
            codes.append(int(code))
        close(self, code, reason)

    monkeypatch.setattr(Connection, "close", noted)
    return codes


async def test_a_reader_that_takes_nothing_for_the_write_timeout_ends_with_4431(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    eventually: Wait,
    close_codes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "WRITE_TIMEOUT", 0.5)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    async with raw(alice, url):
        await until_paused(desk, project_channel(board.id), only(desk, alice.id))
        await ended(desk, eventually, alice.id)
    assert close_codes == [4431]


async def test_a_reader_that_takes_a_little_at_a_time_is_not_taken_for_one_that_takes_nothing(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    close_codes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the whole time to drain, and then ends as one that is too slow."""
    monkeypatch.setattr(sweeper, "WRITE_TIMEOUT", 2.0)
    async with raw(alice, url, segment=1460) as slow:
        connection = only(desk, alice.id)
        await until_paused(desk, project_channel(board.id), connection)
        began, taken = time.monotonic(), 0
        while time.monotonic() - began < 6:
            taken += len(await slow.reader.read(2000))
            await asyncio.sleep(0.1)
        assert taken < 150_000, "so slow that the kernel does not ask for more"
        assert close_codes == []
        assert connection in desk.hub.rooms[project_channel(board.id)].slow


async def test_a_reader_that_trickles_has_a_limit_too(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    eventually: Wait,
    close_codes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "DRAIN_SECONDS", 1.5)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    async with raw(alice, url) as slow:
        await until_paused(desk, project_channel(board.id), only(desk, alice.id))

        async def trickle() -> None:
            while True:
                await slow.reader.read(2000)
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        await ended(desk, eventually, alice.id)
        trickling.cancel()
        await asyncio.wait([trickling])
    assert close_codes == [4431]


async def test_the_fullest_go_when_the_budget_for_slow_readers_is_spent(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    bob: Person,
    olga: Person,
    eventually: Wait,
    close_codes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    channel = project_channel(board.id)
    async with raw(alice, url), raw(bob, url), opened(olga) as (quick, _):
        both = [only(desk, person.id) for person in (alice, bob)]
        for each in both:
            await until_paused(desk, channel, each)
        monkeypatch.setattr(sweeper, "SLOW_BUDGET", 1_500_000)
        await eventually(lambda: close_codes, limit=4)
        await asyncio.sleep(1.2)
        assert close_codes == [4431]
        assert sum(1 for each in both if each.closing) == 1
        await quick.settle()


async def test_who_does_not_answer_pings_ends_with_4408(
    board: Board, desk: Desk, url: str, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "PING_SECONDS", 1.0)
    monkeypatch.setattr(sweeper, "SILENT_SECONDS", 3.0)
    async with opened(bob) as (answers, _), raw(alice, url) as silent:
        said = await silent.everything(8)
        codes = [struct.unpack("!H", payload[:2])[0] for code, payload in said if code == CLOSE]
        assert codes == [4408]
        assert [code for code, _ in said].count(0x9) >= 2
        await answers.settle()


JITTER = 0.05
"""By how much a visit may come before or after its second."""


async def test_the_sweeper_looks_at_those_who_are_due_and_at_nobody_else(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    bob: Person,
    olga: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some answer their pings and some do not, tokens run out, sockets close and others come:
    three minutes of it, one second after another.
    """
    chance = random.Random(11)
    await desk.hub._tasks.stop()
    turned: list[Connection] = []
    turn = desk.hub.roster.sweeper._turn

    def noted(connection: Connection, now: float) -> None:
        turned.append(connection)
        turn(connection, now)

    monkeypatch.setattr(desk.hub.roster.sweeper, "_turn", noted)
    async with AsyncExitStack() as stack:
        for person in (alice, bob, olga) * 6:
            await stack.enter_async_context(raw(person, url))
        mute = list(desk.hub.roster.connections)[2::9]
        began, looks, ends = time.monotonic(), 0, set[int]()
        for second in range(1, 181):
            now = began + second + chance.uniform(-JITTER, JITTER)
            if second % 20 == 0:
                await stack.enter_async_context(raw(chance.choice((alice, bob, olga)), url))
                newest = list(desk.hub.roster.connections)[-1]
                newest.last_ping = now - 0.5
                newest.due = newest.last_ping + sweeper.PING_SECONDS
            open_now = [c for c in desk.hub.roster.connections if not c.closing]
            for connection in open_now:
                if connection not in mute and connection.last_ping > connection.last_heard:
                    connection.last_heard = connection.last_ping + 0.1
            if second % 15 == 0:
                desk.hub.roster.sweeper.set_expiry(
                    chance.choice(open_now), time.time() + chance.choice((-40, 70))
                )
            if second % 40 == 0:
                chance.choice(open_now).close(1000)
            due = {c for c in desk.hub.roster.connections if c.due <= now}
            pinged = {c: c.last_ping for c in desk.hub.roster.connections}
            turned.clear()
            desk.hub._visit(now)
            looks += len(turned)
            assert due <= set(turned)
            soon = now + TICK_SECONDS - sweeper.PING_SECONDS
            assert all(c.closing or pinged[c] <= soon for c in set(turned) - due)
            assert len(turned) == len(set(turned))
            left = [c for c in desk.hub.roster.connections if not c.closing]
            latest = sweeper.PING_SECONDS + TICK_SECONDS + 2 * JITTER
            assert all(now - pinged[c] < latest for c in left if c.last_ping == now)
            assert all(now - c.last_ping < sweeper.PING_SECONDS for c in left)
            assert desk.hub.roster.sweeper.early.keys() == {
                c
                for c in desk.hub.roster.connections
                if c.closing or c.due < c.last_ping + sweeper.PING_SECONDS
            }
            order = [c.last_ping for c in left]
            assert order == sorted(order)
            ends |= {c.closing for c in desk.hub.roster.connections}
            await asyncio.sleep(0)
        assert {0, 1000, 4401, 4408} <= ends
        assert looks < 18 * 180 / 5
        desk.hub.roster.close_all(Close.NORMAL, "the end")
        for second in (200, 205, 210):
            desk.hub._visit(began + second)
            await asyncio.sleep(0.01)
        assert (desk.hub.roster.connections, desk.hub.roster.sweeper.early) == ({}, {})


# Tokens


def token_until(settings: Settings, token: str, seconds: float) -> str:
    """The same token with another end."""
    claims = jwt.decode(token, settings.jwt_secret, algorithms=["HS256"])
    claims["exp"] = time.time() + seconds
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")


async def test_a_socket_is_told_of_its_tokens_end_and_closed_after_it(
    board: Board,
    desk: Desk,
    settings: Settings,
    person: Invite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "EXPIRY_GRACE_SECONDS", 1.0)
    alice = person("alice")
    alice.client.token = token_until(settings, await alice.token(), 2)
    async with opened(alice) as (wire, _):
        began = time.monotonic()
        told = await wire.next("auth.expiring", limit=1.5)
        assert told["payload"]["expires_at"].endswith("Z")
        assert await wire.closed(limit=6) == 4401
        assert 2.0 <= time.monotonic() - began <= pace.here(5.0)


async def test_a_socket_lives_as_long_as_the_token_it_was_refreshed_with(
    board: Board,
    desk: Desk,
    settings: Settings,
    person: Invite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "EXPIRY_GRACE_SECONDS", 0.5)
    alice, eve = person("alice"), person("eve")
    long = await alice.token()
    alice.client.token = token_until(settings, long, 2)
    async with opened(alice) as (wire, _):
        await wire.next("auth.expiring", limit=1.5)
        await wire.send("auth.refresh", {"token": await eve.token()}, id=1)
        assert (await wire.next("error"))["payload"]["code"] == "forbidden"
        await wire.send("auth.refresh", {"token": long}, id=2)
        assert (await wire.next("ack"))["payload"]["id"] == 2
        await asyncio.sleep(3.5)
        await wire.settle()
        connection = only(desk, alice.id)
        assert connection.expires_at is not None
        assert connection.expires_at > time.time() + 60
