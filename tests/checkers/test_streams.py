"""The streams cry when the server skips, doubles or swaps an event, or tells two stories."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.checkers.ears import listening
from tests.checkers.streams import Stream, Streams
from tests.conftest import Board, Door, Invite, until
from tests.person import Person, Wire
from tests.realtime.story import entry
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.room import Room

take = Room._take


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def channel(board: Board) -> str:
    return f"project:{board.id}"


@asynccontextmanager
async def opened(
    person: Person, stream: Stream, since: int | None = None, epoch: str | None = None
) -> AsyncIterator[Wire]:
    """A viewer whose stream knows what was asked for."""

    class Ear:
        def frame(self, frame: dict[str, Any]) -> None:
            if frame["type"] == "hello":
                stream.opened(frame["payload"], since, epoch)
            stream.frame(frame)

        def closed(self, code: int | None) -> None:
            stream.closed(code)

    asked: dict[str, Any] = {
        name: it for name, it in (("since", since), ("epoch", epoch)) if it is not None
    }
    async with listening(person, Ear(), **asked) as wire:
        await until(lambda: stream.open)
        yield wire


async def write(board: Board, times: int = 20) -> int:
    """Cards one after another; gives the seq of the last."""
    for number in range(times):
        await board.card(f"card {number}")
    head: int = (await board.maker.get(board.path))["seq"]
    return head


async def watch(person: Person, board: Board, streams: Streams, times: int = 20) -> None:
    """Somebody looks on while cards are made."""
    async with opened(person, viewer := streams.stream("bob")):
        head = await write(board, times)
        await until(lambda: viewer.last >= head - 1)


def said(streams: Streams) -> str:
    return "\n".join(streams.broken)


# The product as it is.


async def test_a_whole_run_leaves_nothing_broken(
    bob: Person,
    alice: Person,
    person: Invite,
    twin: Door,
    board: Board,
    streams: Streams,
    channel: str,
    connection: Any,
) -> None:
    far = person("bob", url=twin.url)
    here, there, late = (streams.stream(name) for name in ("here", "there", "late"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened(bob, here))
        await stack.enter_async_context(opened(far, there))
        async with opened(bob, late):
            head = await write(board, 10)
            await until(lambda: late.last == head)
        secret = await board.card("soon gone")
        await alice.delete(f"{board.path}/cards/{secret['id']}")
        await stack.enter_async_context(opened(bob, late, late.last, late.epoch))
        async with opened(far, stranger := streams.stream("from another world"), 3, "0123456789ab"):
            head = await write(board, 10)
            await until(lambda: stranger.last == head)
        await streams.compare(connection, channel)
    streams.whole()
    assert (streams.lost, streams.doubled, streams.swapped) == (0, 0, 0)
    assert (streams.reconnects, streams.resumed, streams.resets) == (1, 1, 1)
    assert streams.deliveries == 3 * 22 + 10


async def test_what_a_sync_sends_again_is_not_doubled(
    bob: Person, board: Board, streams: Streams, channel: str, connection: Any
) -> None:
    async with opened(bob, viewer := streams.stream("bob")) as wire:
        head = await write(board, 5)
        await until(lambda: viewer.last == head)
        viewer.synced(head - 3)
        await wire.send("sync", {"since": head - 3, "epoch": viewer.epoch})
        await until(lambda: streams.deliveries == 8)
        await write(board, 2)
        await streams.compare(connection, channel)
    streams.whole()


async def test_a_client_that_only_shows_its_frames_will_do(
    bob: Person, board: Board, streams: Streams, channel: str, connection: Any
) -> None:
    viewer = streams.stream("bob")
    async with listening(bob, viewer):
        head = await write(board, 5)
        await until(lambda: viewer.last == head)
    await write(board, 5)
    async with listening(bob, viewer, since=head - 2, epoch=viewer.epoch):
        await until(lambda: viewer.last == head + 5)
        await streams.compare(connection, channel)
    streams.whole()
    assert streams.resumed == 1


async def test_another_history_begins_anew(
    bob: Person, door: Door, board: Board, streams: Streams, channel: str, connection: Any
) -> None:
    """As after a restore: all numbers may stand for something else."""
    viewer = streams.stream("bob")
    async with opened(bob, viewer):
        head = await write(board, 3)
        await until(lambda: viewer.last == head)
        async with connection.transaction():
            await connection.execute("update install set id = gen_random_uuid()")
            await connection.execute("delete from events where seq > $1", head - 2)
            await connection.execute(
                "update feeds set seq = $1 where channel = $2", head - 2, channel
            )
        await until(lambda: not viewer.open)
    assert viewer.codes == [1012]
    await write(board, 1)
    async with opened(bob, viewer, viewer.last, viewer.epoch):
        await write(board, 3)
        await streams.compare(connection, channel)
    streams.whole()
    assert (streams.resets, streams.resumed) == (1, 0)


# The product broken.


def break_frames(monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    """After each event a room's list of frames to be written goes through `broken`."""

    def taken(room: Room, entry: Entry) -> None:
        take(room, entry)
        broken(room.tick, entry.seq)

    monkeypatch.setattr(Room, "_take", taken)


async def test_a_skipped_event_is_lost(
    monkeypatch: pytest.MonkeyPatch, bob: Person, board: Board, streams: Streams
) -> None:
    def skip(tick: list[bytes], seq: int) -> None:
        if seq % 7 == 0:
            tick.pop()

    break_frames(monkeypatch, skip)
    await watch(bob, board, streams)
    assert streams.lost in (2, 3)
    assert (streams.doubled, streams.swapped) == (0, 0)
    assert "never got " in said(streams)


async def test_an_event_sent_twice_is_doubled(
    monkeypatch: pytest.MonkeyPatch, bob: Person, board: Board, streams: Streams
) -> None:
    def double(tick: list[bytes], seq: int) -> None:
        if seq % 7 == 0:
            tick.append(tick[-1])

    break_frames(monkeypatch, double)
    await watch(bob, board, streams)
    assert streams.doubled in (2, 3)
    assert (streams.lost, streams.swapped) == (0, 0)
    assert " came again" in said(streams)


async def test_two_events_the_other_way_round_are_swapped(
    monkeypatch: pytest.MonkeyPatch, bob: Person, board: Board, streams: Streams
) -> None:
    kept: list[bytes] = []

    def swap(tick: list[bytes], seq: int) -> None:
        if seq % 7 == 0:
            kept.append(tick.pop())
        elif kept:
            tick.append(kept.pop())

    break_frames(monkeypatch, swap)
    await watch(bob, board, streams)
    assert streams.swapped in (2, 3)
    assert streams.doubled == 0
    assert " came after " in said(streams)


async def test_two_servers_that_tell_two_stories_are_found(
    monkeypatch: pytest.MonkeyPatch,
    bob: Person,
    person: Invite,
    twin: Door,
    board: Board,
    streams: Streams,
) -> None:
    def lie(room: Room, entry: Entry) -> None:
        if room.rejoin.__self__ is twin.desk.hub:  # type: ignore[attr-defined]
            entry = entry._replace(body=entry.body.replace(b"the truth", b"a lie"))
        take(room, entry)

    monkeypatch.setattr(Room, "_take", lie)
    here, there = streams.stream("here"), streams.stream("there")
    async with opened(bob, here), opened(person("bob", url=twin.url), there):
        await board.card("the truth")
        await until(lambda: streams.deliveries == 2)
    assert streams.swapped == 1
    assert "others saw another event" in said(streams)


async def test_a_story_that_all_viewers_share_is_compared_with_the_feed(
    monkeypatch: pytest.MonkeyPatch,
    bob: Person,
    board: Board,
    streams: Streams,
    channel: str,
    connection: Any,
) -> None:
    def lie(room: Room, entry: Entry) -> None:
        take(room, entry._replace(body=entry.body.replace(b"the truth", b"a lie")))

    monkeypatch.setattr(Room, "_take", lie)
    async with opened(bob, streams.stream("bob")):
        await board.card("the truth")
        await until(lambda: streams.deliveries == 1)
        await streams.compare(connection, channel)
    assert streams.swapped == 1
    assert "viewers saw" in said(streams)


async def test_a_text_blanked_though_nobody_deleted_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
    bob: Person,
    board: Board,
    streams: Streams,
    channel: str,
    connection: Any,
) -> None:
    def blank(room: Room, entry: Entry) -> None:
        told = orjson.loads(entry.body) | {"type": "gone", "payload": {}}
        take(room, entry._replace(body=orjson.dumps(told)))

    monkeypatch.setattr(Room, "_take", blank)
    async with opened(bob, streams.stream("bob")):
        await board.card()
        await streams.compare(connection, channel)
    assert streams.swapped == 1


async def test_who_hears_nothing_any_more_has_lost_the_rest(
    monkeypatch: pytest.MonkeyPatch,
    bob: Person,
    board: Board,
    streams: Streams,
    channel: str,
    connection: Any,
) -> None:
    async with opened(bob, viewer := streams.stream("bob")):
        head = await write(board, 3)
        await until(lambda: viewer.last == head)
        break_frames(monkeypatch, lambda tick, seq: tick.clear())
        await write(board, 4)
        await streams.compare(connection, channel, limit=0.3)
    assert streams.lost == 4
    assert f"bob stands at {head}, the feed at {head + 4}" in said(streams)


async def test_a_resume_that_leaves_out_the_first_is_found(
    monkeypatch: pytest.MonkeyPatch, bob: Person, board: Board, streams: Streams
) -> None:
    async with opened(bob, viewer := streams.stream("bob")):
        head = await write(board, 3)
        await until(lambda: viewer.last == head)
    head = await write(board, 3)
    missed = Room.missed
    monkeypatch.setattr(Room, "missed", lambda room, since: missed(room, min(room.last, since + 1)))
    async with opened(bob, viewer, viewer.last, viewer.epoch):
        await until(lambda: viewer.last == head)
    assert streams.lost == 1


async def test_a_resume_that_only_claims_to_be_one_is_found(
    monkeypatch: pytest.MonkeyPatch,
    bob: Person,
    board: Board,
    streams: Streams,
    channel: str,
    connection: Any,
) -> None:
    async with opened(bob, viewer := streams.stream("bob")):
        head = await write(board, 3)
        await until(lambda: viewer.last == head)
    enter = Hub.enter

    def from_now_on(hub: Hub, room: Room, connection: Connection, since: int) -> None:
        enter(hub, room, connection, room.last)

    monkeypatch.setattr(Hub, "enter", from_now_on)
    await write(board, 3)
    async with opened(bob, viewer, viewer.last, viewer.epoch):
        await streams.compare(connection, channel, limit=0.3)
    assert streams.lost == 3


async def test_a_resume_that_begins_too_late_is_a_hole_of_its_viewer(
    bob: Person, board: Board, streams: Streams
) -> None:
    async with opened(bob, viewer := streams.stream("bob")):
        head = await write(board, 3)
        await until(lambda: viewer.last == head)
    head = await write(board, 3)
    async with opened(bob, viewer, head - 1, viewer.epoch):
        await until(lambda: viewer.last == head)
    viewer.settle_accounts()
    assert streams.lost == 2
    assert "on no connection it got" in said(streams)


async def test_a_reset_that_nobody_was_told_of_is_found(
    monkeypatch: pytest.MonkeyPatch, bob: Person, board: Board, streams: Streams
) -> None:
    monkeypatch.setattr(Hub, "reset_frame", lambda hub, seq, reason: b"")
    async with opened(bob, viewer := streams.stream("bob"), 1, "0123456789ab"):
        head = await write(board, 1)
        await until(lambda: viewer.last == head)
    assert "it could not go on" in said(streams)


@pytest.mark.foul
async def test_a_hole_in_the_feed_is_found(
    bob: Person, board: Board, streams: Streams, channel: str, connection: Any
) -> None:
    head = await write(board, 3)
    await connection.execute(
        "delete from events where channel = $1 and seq = $2", channel, head - 1
    )
    await streams.compare(connection, channel)
    assert f"has {head} where {head - 1} should be" in said(streams)


async def test_an_event_that_was_never_recorded_is_found(
    door: Door, bob: Person, board: Board, streams: Streams, channel: str, connection: Any
) -> None:
    async with opened(bob, viewer := streams.stream("bob")):
        head = await write(board, 1)
        await until(lambda: viewer.last == head)
        told = entry(head + 1)
        room = door.desk.hub.rooms[channel]
        ghost = {"type": "project.unarchived", "payload": {"slug": "demo"}, "seq": head + 1}
        room.hear(told._replace(body=orjson.dumps(ghost | {"ts": "", "actor_id": None})))
        await until(lambda: viewer.last == head + 1)
        await streams.compare(connection, channel, limit=0.1)
    assert f"viewers saw {channel} {head + 1}" in said(streams)


def test_who_had_to_ask_though_nothing_broke_is_found() -> None:
    for quiet, count in ((False, 0), (True, 2)):
        streams = Streams(quiet=quiet)
        viewer = streams.stream("bob")
        viewer.opened({"connection_id": "a", "seq": 3, "epoch": "e", "resumed": False})
        viewer.synced(3)
        reset = {"seq": 9, "epoch": "e", "reason": "retention"}
        viewer.frame({"type": "sync.reset", "payload": reset})
        assert streams.count == count, streams.broken
