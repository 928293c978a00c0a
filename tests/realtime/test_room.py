"""One room: order, one write a tick, slow readers, the tail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.realtime.story import Pipe, entry, pipe
from warmdesk.realtime import room as room_module
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.room import HELD, JOINED, Room

Feed = list[Entry]


def make_room(feed: Feed | None = None) -> Room:
    """A room whose slow readers read the feed when the tail is too short for them."""

    def rejoin(room: Room, connection: Connection) -> None:
        if not room.join(connection):
            assert feed is not None, "the tail should have been enough"
            for missed in feed[connection.seen : room.last]:
                connection.send_text(missed.body)
                connection.seen = missed.seq
            assert room.join(connection)

    room = Room("project:1", rejoin=rejoin, taken=lambda room, entry: None, early={})
    room.begin(0)
    room.opened = True
    return room


def joined(room: Room, since: int) -> Pipe:
    made = pipe()
    made.connection.room = room
    made.connection.seen = since
    assert room.join(made.connection)
    return made


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[int], set[int], list[int]]:
    """How many events there are; the order in which messages come, some of them doubled; which are
    lost; after how many messages somebody joins.
    """
    count = draw(st.integers(1, 40))
    order = draw(st.permutations(range(1, count + 1)))
    doubles = draw(st.lists(st.integers(1, count), max_size=10))
    messages = list(order)
    for double in doubles:
        messages.insert(draw(st.integers(0, len(messages))), double)
    lost = draw(st.sets(st.integers(1, count)))
    return count, messages, lost, draw(st.lists(st.integers(0, len(messages)), max_size=4))


@given(histories(), st.booleans())
@hypothesis_settings(max_examples=100)
def test_whatever_comes_each_connection_gets_each_event_once_and_in_order(
    history: tuple[int, list[int], set[int], list[int]], pausing: bool
) -> None:
    count, messages, lost, joins = history

    async def story() -> None:
        room = make_room()
        viewers = [(joined(room, 0), 0)]
        for place, seq in enumerate(messages):
            for _ in range(joins.count(place)):
                viewers.append((joined(room, room.last), room.last))
            if seq not in lost and room.hear(entry(seq)):
                assert room.held
            if pausing and place % 3 == 0:
                await asyncio.sleep(0)
        for read in range(room.last + 1, count + 1):
            room.hear(entry(read))
        await asyncio.sleep(0)
        assert room.last == count
        assert not room.held
        for viewer, since in viewers:
            assert viewer.seqs == list(range(since + 1, count + 1))

    run(story)


def test_the_events_of_one_tick_are_one_write() -> None:
    async def story() -> None:
        room = make_room()
        viewer = joined(room, 0)
        for seq in (1, 2, 3):
            room.hear(entry(seq))
        assert viewer.writes == []
        await asyncio.sleep(0)
        assert len(viewer.writes) == 1
        assert viewer.seqs == [1, 2, 3]

    run(story)


def test_who_joins_in_the_middle_of_a_tick_gets_nothing_twice() -> None:
    async def story() -> None:
        room = make_room()
        room.hear(entry(1))
        viewer = joined(room, room.last)
        room.hear(entry(2))
        await asyncio.sleep(0)
        assert viewer.seqs == [2]

    run(story)


def test_a_full_reader_is_skipped_and_catches_up_from_the_tail_when_it_drained() -> None:
    async def story() -> None:
        room = make_room()
        slow, quick = joined(room, 0), joined(room, 0)
        slow.stuck = True
        for seq in range(1, 31):
            room.hear(entry(seq, size=50_000))
            await asyncio.sleep(0)
        assert slow.connection in room.slow
        assert len(slow.writes) < 25, "it was written to although its buffer is full"
        assert quick.seqs == list(range(1, 31))
        slow.drain()
        assert slow.connection in room.ready
        room.hear(entry(31))
        await asyncio.sleep(0)
        assert slow.seqs == quick.seqs == list(range(1, 32))

    run(story)


def test_a_reader_that_is_full_again_while_it_catches_up_is_slow_again() -> None:
    async def story() -> None:
        room = make_room()
        slow = joined(room, 0)
        slow.stuck = True
        for seq in range(1, 50):
            room.hear(entry(seq, size=40_000))
            await asyncio.sleep(0)
        assert slow.connection in room.slow
        slow.high = 1000
        slow.drain()
        slow.stuck = True
        room.hear(entry(50, size=40_000))
        await asyncio.sleep(0)
        assert slow.connection in room.slow
        slow.drain()
        assert slow.connection in room.ready
        assert slow.seqs == list(range(1, 51))

    run(story)


def test_the_feed_is_read_when_the_tail_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "TAIL_EVENTS", 5)

    async def story() -> None:
        feed = [entry(seq, size=50_000) for seq in range(1, 61)]
        room = make_room(feed)
        slow = joined(room, 0)
        slow.stuck = True
        for each in feed:
            room.hear(each)
            await asyncio.sleep(0)
        assert len(room.tail) == 5
        assert room.missed(slow.connection.seen) is None
        slow.drain()
        assert slow.connection in room.ready
        assert slow.seqs == list(range(1, 61))

    run(story)


def test_the_tail_is_bounded_by_events_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        room = make_room()
        for seq in range(1, 1101):
            room.hear(entry(seq))
        assert len(room.tail) == room_module.TAIL_EVENTS
        for seq in range(1101, 1200):
            room.hear(entry(seq, size=100_000))
        assert room.tail_bytes <= room_module.TAIL_BYTES
        assert room.tail_bytes == sum(len(kept.body) for kept in room.tail)
        assert room.missed(1) is None
        assert room.missed(room.last) == b""

    run(story)


def test_what_was_told_of_a_deleted_thing_is_not_told_again() -> None:
    async def story() -> None:
        room = make_room()
        room.hear(entry(1, "chat.message", "message:7", size=10))
        room.hear(entry(2, "chat.message", "message:8", size=10))
        assert room.missed(0) is not None
        room.hear(entry(3, "chat.message_deleted", "message:7", erases=True))
        late = joined(room, 0)
        shown = late.frames
        assert [frame["type"] for frame in shown] == [
            "gone",
            "chat.message",
            "chat.message_deleted",
        ]
        assert shown[0] == {"type": "gone", "payload": {}, "seq": 1}
        assert room.tail_bytes == sum(len(kept.body) for kept in room.tail)

    run(story)


@pytest.mark.parametrize("length", [0x7B, 126, 0x017B, 0x7B00, 0x7BFF, 0x1017B])
def test_a_deleted_thing_is_blanked_whatever_bytes_its_length_has(length: int) -> None:
    async def story() -> None:
        room = make_room()
        bare = len(entry(1, "chat.message", "message:7").body)
        room.hear(entry(1, "chat.message", "message:7", size=length - bare))
        room.hear(entry(2, "chat.message_deleted", "message:7", erases=True))
        shown = joined(room, 0).frames
        assert [frame["type"] for frame in shown] == ["gone", "chat.message_deleted"]
        assert shown[0] == {"type": "gone", "payload": {}, "seq": 1}

    run(story)


def test_those_who_miss_the_same_share_its_bytes_and_few_are_kept() -> None:
    async def story() -> None:
        room = make_room()
        for seq in range(1, 31):
            room.hear(entry(seq))
        assert room.missed(3) is room.missed(3)
        for since in range(30):
            room.missed(since)
        assert len(room.joined) <= JOINED
        room.hear(entry(31))
        assert not room.joined

    run(story)


def test_whoever_comes_and_goes_its_people_are_those_of_its_connections() -> None:
    chance = random.Random(5)

    def rejoin(room: Room, connection: Connection) -> None:
        """Some close meanwhile, some have to wait again."""
        if what != "ends":
            if what == "waits":
                room.stay(connection)
            else:
                room.join(connection)

    room = Room("project:1", rejoin=rejoin, taken=lambda room, entry: None, early={})
    for _ in range(3000):
        inside = room.connections()
        what = chance.choice(["comes", "goes", "is full", "has drained", "waits", "ends"])
        if what == "comes":
            made = pipe().connection
            made.room, made.user_id = room, chance.randrange(20)
            if chance.random() < 0.5:
                room.stay(made)
            else:
                assert room.join(made)
        elif inside:
            connection = chance.choice(inside)
            if what == "goes":
                room.drop(connection)
            elif what == "is full":
                room.paused(connection)
            elif connection in room.slow:
                room.resumed(connection)
        assert room.people() == sorted({c.user_id for c in room.connections()})


def test_what_comes_too_early_is_held_up_to_a_limit() -> None:
    async def story() -> None:
        room = make_room()
        for seq in range(2, HELD + 100):
            assert room.hear(entry(seq))
        assert len(room.held) == HELD
        room.hear(entry(1))
        assert room.last == HELD + 1

    run(story)
