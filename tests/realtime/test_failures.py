"""What the server fails over on an event's way to its sockets: nothing is lost, nobody waits for
ever, and the failure is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Board, Wait, until
from tests.person import Person
from tests.realtime.story import Grown, Pipe, entry, pipe, seqs, tell
from tests.realtime.test_hub import Post, opened, post  # noqa: F401
from warmdesk.desk import Desk
from warmdesk.metrics import DELIVERY_FAILED, FEED_REPAIRS, REVOCATIONS
from warmdesk.realtime import feed, hub, resume
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.control import Control
from warmdesk.realtime.events import MEMBER_REMOVED
from warmdesk.realtime.feed import Entry, Page, blanked
from warmdesk.realtime.room import HELD, Room
from warmdesk.realtime.sweeper import Sweeper


@pytest.fixture
def fails_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """``fails_over(seq, times)``: taking this event raises so often."""
    left: dict[int, int] = {}
    take = Room._take

    def fails(room: Room, event: Entry) -> None:
        if left.get(event.seq, 0) > 0:
            left[event.seq] -= 1
            raise RuntimeError("a bug")
        take(room, event)

    monkeypatch.setattr(Room, "_take", fails)

    def fail(seq: int, times: int) -> None:
        left[seq] = times

    return fail


async def test_an_event_that_was_failed_over_once_is_read_and_nothing_is_missed(
    board: Board, desk: Desk, alice: Person, no_checks: None, fails_over: Callable[[int, int], None]
) -> None:
    failed, repairs = Grown(DELIVERY_FAILED), Grown(FEED_REPAIRS, cause="failed")
    async with opened(alice) as (wire, hello):
        fails_over(hello["seq"] + 2, 1)
        await tell(desk, project_channel(board.id), 5)
        await until(lambda: len(wire.events) == 5)
        assert seqs(wire.frames) == list(range(hello["seq"] + 1, hello["seq"] + 6))
        assert (failed(), repairs()) == (1, 1)
        await wire.send("sync", {"since": hello["seq"], "epoch": hello["epoch"]})
        await until(lambda: len(wire.events) == 10)
        assert seqs(wire.frames)[5:] == list(range(hello["seq"] + 1, hello["seq"] + 6))


async def test_an_event_that_is_always_failed_over_ends_the_sockets_and_they_miss_nothing(
    board: Board, desk: Desk, alice: Person, fails_over: Callable[[int, int], None]
) -> None:
    channel = project_channel(board.id)
    failed = Grown(DELIVERY_FAILED)
    room = await desk.hub.open(channel)
    got: list[int] = []
    await alice.token()
    async with alice.client.socket("demo", since=room.last, epoch=desk.hub.epoch) as socket:
        codes: list[int | None] = []

        async def listen() -> None:
            async for frame in socket:
                if frame["type"] == "hello":
                    codes.append(socket.code)
                if "seq" in frame:
                    got.append(frame["seq"])
                assert frame["type"] != "reset"

        listening = asyncio.create_task(listen())
        await until(lambda: codes)
        began = room.last
        fails_over(began + 3, 1_000_000)
        await tell(desk, channel, 5)
        await until(lambda: len(got) == 5, limit=10)
        await tell(desk, channel, 5)
        await until(lambda: len(got) == 10, limit=10)
        assert got == list(range(began + 1, began + 11))
        assert socket.connections == 2
        assert (socket.gaps, socket.doubles) == (0, 0)
        assert failed() == 2, "once from the bus, once from the feed, and then never again"
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_removal_that_cannot_be_carried_out_ends_all_sockets_of_the_room(
    board: Board, desk: Desk, alice: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(desk.hub.listeners, MEMBER_REMOVED.name, [fails])
    async with opened(olga) as (stays, _), opened(alice) as (goes, _):
        await olga.delete(f"{board.path}/members/{alice.id}")
        assert await goes.closed() == await stays.closed() == 1012
        assert stays.events[-1]["type"] == "project.member_removed"


async def test_a_removal_is_counted_once_for_each_socket(
    board: Board, desk: Desk, alice: Person, olga: Person
) -> None:
    revoked = Grown(REVOCATIONS, cause="project")
    async with opened(alice) as (one, _), opened(alice) as (two, _):
        await olga.delete(f"{board.path}/members/{alice.id}")
        assert await one.closed() == await two.closed() == 4403
    assert revoked() == 2


async def test_a_socket_whose_past_cannot_be_read_is_ended_and_does_not_wait_for_ever(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = project_channel(board.id)
    async with opened(alice) as (wire, hello):
        await tell(desk, channel, 5)
        await until(lambda: len(wire.events) == 5)
        after = feed.after

        async def fails(pool: Any, channel: str, since: int, **options: Any) -> Page:
            if "limit" in options:  # what only asks whether there is a way back
                return await after(pool, channel, since, **options)
            raise ValueError("a bug")

        monkeypatch.setattr(resume, "TAIL_EVENTS", 2)
        desk.hub.rooms[channel].tail.clear()
        monkeypatch.setattr(feed, "after", fails)
        await wire.send("sync", {"since": hello["seq"], "epoch": hello["epoch"]})
        assert await wire.closed() == 1011


async def test_a_question_about_rights_that_failed_is_asked_again_at_once(
    board: Board, desk: Desk, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all, since who was concerned is not known any more; and as often as it fails."""
    fails = 3
    refused = Control._refused

    async def failing(self: Control, rights: Any) -> Any:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise ValueError("a bug")
        return await refused(self, rights)

    async with opened(alice) as (wire, _):
        monkeypatch.setattr(Control, "_refused", failing)
        await connection.execute("delete from project_members where user_id = $1", alice.id)
        desk.control._asks.start(desk.control._ask_about_all())
        assert await wire.closed(limit=8) == 4403
        assert fails < 0


# Rooms


def make_room() -> Room:
    room = Room("project:1", rejoin=lambda r, c: None, taken=lambda r, e: None, early={})
    room.begin(0)
    room.opened = True
    return room


def joined(room: Room, since: int) -> Pipe:
    made = pipe()
    made.connection.room, made.connection.seen = room, since
    assert room.join(made.connection)
    return made


async def test_a_socket_that_cannot_be_written_to_takes_nothing_from_the_others() -> None:
    room = make_room()
    first, broken, last = (joined(room, 0) for _ in range(3))

    def write(data: Any) -> None:
        raise RuntimeError("a bug of the transport")

    broken.write = write  # type: ignore[method-assign]
    for seq in (1, 2):
        room.hear(entry(seq))
        await asyncio.sleep(0)
    assert first.seqs == last.seqs == [1, 2]
    assert broken.ended


async def test_the_sweeper_comes_to_all_although_it_fails_over_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = make_room()
    pipes = [joined(room, 0) for _ in range(3)]
    now = time.monotonic() + 1000

    tick = Connection.tick

    def fails(self: Connection, now: float) -> None:
        if self is pipes[1].connection:
            raise RuntimeError("a bug")
        tick(self, now)

    monkeypatch.setattr(Connection, "tick", fails)
    for each in pipes:
        room.paused(each.connection)
        each.connection.paused_since = each.connection.stalled_since = now - 900
    Sweeper({"project:1": room}).visit(now)
    assert [each.connection.closing for each in pipes] == [4431, 1006, 4431]


async def test_a_tail_with_a_hole_is_given_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    room = make_room()
    for seq in range(1, 11):
        room.hear(entry(seq))
    assert room.missed(4) is not None
    del room.tail[3]
    for since in (0, 4, 8):
        assert room.missed(since) is None
    assert "room.hole" in caplog.text
    room.hear(entry(11))
    assert joined(room, 10).seqs == [11]
    assert room.missed(9) is None


async def test_what_is_beyond_the_limit_of_early_ones_is_not_forgotten_to_be_missing() -> None:
    room = make_room()
    for seq in range(2, HELD + 5):
        assert room.hear(entry(seq))
    assert room.hear(entry(1)), "it has all but the last ones, and does not know it"
    assert room.last == HELD + 1


async def test_what_many_early_ones_left_out_is_read_without_a_check(
    board: Board,
    desk: Desk,
    alice: Person,
    no_checks: None,
    post: Post,  # noqa: F811
) -> None:
    channel = project_channel(board.id)
    async with opened(alice) as (wire, hello):
        await tell(desk, channel, HELD + 10)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub, "HOLD_SECONDS", 1.0)
            post.deliver(*range(1, HELD + 10), 0)
            await until(lambda: len(wire.events) == HELD + 10)
        assert seqs(wire.frames) == list(range(hello["seq"] + 1, hello["seq"] + HELD + 11))


def deleted(seq: int, entity: str) -> Entry:
    return entry(seq, "chat.message_deleted", entity, erases=True)


async def test_what_those_who_miss_the_same_share_has_no_text_after_its_deletion() -> None:
    room = make_room()
    room.hear(entry(1, "chat.message", "message:7", size=10))
    room.hear(entry(2))
    shared = room.missed(0)
    assert shared is not None
    assert b"xxx" in shared
    room.hear(deleted(3, "message:7"))
    again = room.missed(0)
    assert again is not None
    assert b"xxx" not in again


async def test_what_waits_for_the_end_of_the_tick_goes_without_the_text_that_was_deleted() -> None:
    room = make_room()
    viewer = joined(room, 0)
    room.hear(entry(1, "chat.message", "message:7", size=10))
    room.hear(entry(2, "chat.message", "message:8", size=10))
    room.hear(deleted(3, "message:7"))
    await asyncio.sleep(0)
    shown = [frame["type"] for frame in viewer.frames]
    assert shown == ["gone", "chat.message", "chat.message_deleted"]


@pytest.mark.parametrize("heard", [0, 2, 9])
def test_events_that_were_read_before_a_deletion_are_written_without_their_text(heard: int) -> None:
    """`heard`: what the room took after the deletion."""

    async def story() -> None:
        room = make_room()
        read = [entry(seq, "chat.message", f"message:{seq}", size=10) for seq in range(1, 6)]
        for each in read:
            room.hear(each)
        room.hear(deleted(6, "message:2"))
        for seq in range(7, 7 + heard):
            room.hear(entry(seq))
        assert room.as_now(read, 5) == [blanked(each) if each.seq == 2 else each for each in read]
        assert room.as_now(read, 6) == read, "the feed had it when it was read"
        room.tail.popleft()
        for _ in range(5):
            room.tail.popleft()
        assert room.as_now(read, 5) is None

    asyncio.run(story())


def test_what_the_feed_shows_of_a_deleted_thing_is_what_the_room_shows() -> None:
    body = (
        b'{"type":"chat.message","payload":{"body":"\\",\\"ts\\":\\"{"},"seq":7,'
        b'"ts":"2026-11-28T02:39:05.123456Z","actor_id":2,"client_id":"a\\",\\"ts\\":\\""}'
    )
    shown = blanked(Entry(7, "chat.message", "message:1", body))
    assert shown.body == (
        b'{"type":"gone","payload":{},"seq":7,'
        b'"ts":"2026-11-28T02:39:05.123456Z","actor_id":2,"client_id":"a\\",\\"ts\\":\\""}'
    )
    for body in (b"", b"{", b"\xff\x00", b'{"type":"told"}', b"[]"):
        assert blanked(Entry(7, "told", "-", body)).body == (
            b'{"type":"gone","payload":{},"seq":7}'
        )


async def test_a_database_that_only_lets_it_wait_for_a_lock_is_not_lost(
    desk: Desk, connection: Any, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    async with connection.transaction():
        await connection.execute("lock table feeds in access exclusive mode")
        await eventually(lambda: "database.troubled " in caplog.text, limit=10)
    assert 'of="hub.check"' in caplog.text
    assert "lock timeout" in caplog.text
    assert "database.lost" not in caplog.text


async def test_a_database_that_lets_us_in_no_more_is_lost(
    desk: Desk, connection: Any, keeper: Any, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """A changed password, a role that is gone, no place for one more: it answers that too."""
    name = await connection.fetchval("select quote_ident(current_database())")
    await keeper.execute(f"alter database {name} allow_connections false")
    try:
        desk.database.reserved.pool.expire()
        await eventually(lambda: "database.lost " in caplog.text, limit=10)
        assert "is not currently accepting connections" in caplog.text
    finally:
        await keeper.execute(f"alter database {name} allow_connections true")
    await eventually(lambda: "database.back " in caplog.text, limit=10)
    assert "database.troubled" not in caplog.text
