"""Texts that were deleted: the deletion arrives, and the text is told to nobody after it, whatever
the length of its event: no byte of a frame's head may be taken for its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import Board, until
from tests.person import Person, Wire
from tests.realtime.story import Pipe, pipe, seqs
from tests.realtime.test_hub import Post, opened, post  # noqa: F401
from warmdesk.desk import Desk
from warmdesk.realtime import feed, hub, resume
from warmdesk.realtime import room as room_module
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.events import CATALOGUE, ERASING
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.frames import frame
from warmdesk.realtime.room import Room

SECRET = "secret"
SHORTEST = 100
EDGES = [125, 126, 127, 65_535, 65_536, 65_537, 1 << 18, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]
BRACES = [0x7B, 0x17B, 0x27B, 0x7B00, 0x7B01, 0x7BFF, 0x1007B, 0x17B00]
"""Lengths that stand in a frame's head with an opening brace among their bytes."""


def told(seq: int, kind: str, entity: str, size: int) -> Entry:
    """An event whose envelope has exactly so many bytes, or the fewest that it can have."""
    body = {"type": kind, "payload": {"text": SECRET}, "seq": seq}
    room = size - len(orjson.dumps(body))
    body["payload"] = {"text": SECRET + "{" * max(0, room)}
    return Entry(seq, kind, entity, orjson.dumps(body), CATALOGUE[kind].erases)


def make_room() -> Room:
    room = Room("project:1", rejoin=lambda r, c: None, taken=lambda r, e: None, early={})
    room.begin(0)
    room.opened = True
    return room


def joined(room: Room, since: int) -> Pipe:
    made = pipe()
    made.high = 1 << 40
    made.connection.room, made.connection.seen = room, since
    assert room.join(made.connection)
    return made


def test_a_deletion_arrives_whatever_the_length_of_what_it_deletes() -> None:
    async def arrives(size: int) -> bool:
        room = make_room()
        live = joined(room, 0)
        for seq, kind in enumerate(("message", "message_updated", "message_deleted"), start=1):
            event = told(seq, f"chat.{kind}", "message:7", size if seq < 3 else 0)
            assert seq == 3 or len(event.body) == size
            try:
                room.hear(event)
            except ValueError:
                return False
            await asyncio.sleep(0)
        fits = 2 * size <= room_module.TAIL_BYTES
        late = joined(room, 0 if fits else 2)
        kinds = ["gone", "gone", "chat.message_deleted"]
        return live.seqs == [1, 2, 3] and [each["type"] for each in late.frames] == (
            kinds if fits else kinds[2:]
        )

    async def story() -> None:
        sizes = [*range(SHORTEST, 401), *EDGES, *BRACES]
        assert [size for size in sizes if not await arrives(size)] == []

    asyncio.run(story())


SIZES = st.one_of(st.integers(1, 400), st.sampled_from(EDGES[:6] + BRACES), st.integers(1, 70_000))


@st.composite
def talks(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Acts on a few things, in their order: what, which thing, how long its event is."""
    what = st.sampled_from(["sent", "edited", "deleted", "tick", "joins"])
    return draw(st.lists(st.tuples(what, st.integers(1, 4), SIZES), min_size=1, max_size=40))


@given(talks())
@hypothesis_settings(max_examples=200)
def test_each_gets_every_event_and_nobody_a_text_after_its_deletion(
    talk: list[tuple[str, int, int]],
) -> None:
    async def story() -> None:
        room = make_room()
        seq = 0
        viewers = [(joined(room, 0), 0)]
        deleted: dict[str, int] = {}
        for what, thing, size in talk:
            entity = f"message:{thing}"
            if what == "tick":
                await asyncio.sleep(0)
            elif what == "joins":
                since = max(0, seq - size % 50)
                if room.missed(since) is not None:
                    viewers.append((joined(room, since), since))
                    for each in _texts(viewers[-1][0]):
                        assert each["seq"] > deleted.get(each["entity"], 0)
            else:
                seq += 1
                kind = {
                    "sent": "chat.message",
                    "edited": "chat.message_updated",
                    "deleted": "chat.message_deleted",
                }[what]
                body = {"type": kind, "payload": {"entity": entity, "seq": seq}, "seq": seq}
                if what != "deleted":
                    fill = max(0, size - len(orjson.dumps(body)) - 10)
                    body["payload"] = {"entity": entity, "seq": seq, "text": "{" * fill}
                else:
                    deleted[entity] = seq
                assert not room.hear(
                    Entry(seq, kind, entity, orjson.dumps(body), what == "deleted")
                )
                if what == "deleted":
                    # Not even who was here gets what waited for the end of this tick.
                    waiting = [orjson.loads(each.body) for each in room.tick_entries]
                    assert not [
                        e
                        for e in waiting
                        if e["payload"].get("text") and (e["payload"]["entity"] == entity)
                    ]
            assert room.tail_bytes == sum(len(kept.body) for kept in room.tail)
        await asyncio.sleep(0)
        for viewer, since in viewers:
            assert viewer.seqs == list(range(since + 1, seq + 1))

    asyncio.run(story())


def _texts(viewer: Pipe) -> list[dict[str, Any]]:
    return [each["payload"] for each in viewer.frames if each["payload"].get("text")]


# A real server


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, no_checks: None) -> None:
    """Nothing but the bus delivers, however long it takes on a busy machine."""
    monkeypatch.setattr(hub, "HOLD_SECONDS", 10.0)


async def told_of_messages(board: Board, length: int) -> None:
    path = f"{board.path}/chat/messages"
    message = await board.maker.post(path, {"body": SECRET.ljust(length, "{")})
    await board.maker.put(f"{path}/{message['id']}", {"body": SECRET.rjust(length, "{")})
    await board.maker.delete(f"{path}/{message['id']}")


async def told_of_cards(board: Board, length: int) -> None:
    card = await board.card(SECRET.ljust(length, "{"))
    changed = {"title": SECRET.rjust(length, "{")}
    await board.maker.put(f"{board.path}/cards/{card['id']}", changed)
    await board.maker.delete(f"{board.path}/cards/{card['id']}")


async def told_of_long_cards(board: Board, length: int) -> None:
    """The same for an envelope of about so many bytes."""
    card = await board.card("long", description=SECRET.ljust(length - ENVELOPE, "{"))
    changed = {"description": SECRET.rjust(length - ENVELOPE, "{")}
    await board.maker.put(f"{board.path}/cards/{card['id']}", changed)
    await board.maker.delete(f"{board.path}/cards/{card['id']}")


ENVELOPE = 617
"""Bytes of a card's envelope but its description, give or take a few."""
EVERY = range(len(SECRET) + 1, len(SECRET) + 257)
LONG = [near + by for near in (0x7B00, 0xFFFF, 0x17B00) for by in range(-20, 21, 5)]


@pytest.mark.parametrize("tail", [room_module.TAIL_EVENTS, 3], ids=["tail", "feed"])
@pytest.mark.parametrize(
    ("tell", "lengths"),
    [(told_of_messages, EVERY), (told_of_cards, EVERY), (told_of_long_cards, LONG)],
    ids=["messages", "cards", "long"],
)
@pytest.mark.timeout(180)
async def test_deletions_of_all_lengths_are_told_live_and_their_texts_never_again(
    board: Board,
    desk: Desk,
    alice: Person,
    reads: list[int],
    quiet: None,
    tell: Any,
    lengths: Sequence[int],
    tail: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every last byte of an envelope's length comes by, and what fills more than a tail or page."""
    monkeypatch.setattr(room_module, "TAIL_EVENTS", tail)
    hear, sizes = desk.hub.hear, set()

    def noted(*message: Any) -> None:
        sizes.add(len(message[4]))
        hear(*message)

    monkeypatch.setattr(desk.bus, "_tell", noted)
    async with opened(alice) as (live, hello):
        for length in lengths:
            await tell(board, length)
        head = hello["seq"] + 3 * len(lengths)
        await arrives(live, head)
        assert seqs(live.frames) == list(range(hello["seq"] + 1, head + 1))
        assert reads == [], "what the bus brought was read"
        assert any(b"{" in frame(bytes(size))[:-size] for size in sizes if size)
        await live.send("sync", {"since": hello["seq"], "epoch": hello["epoch"]})
        await arrives(live, head, times=2)
        again = live.events[3 * len(lengths) :]
    async with opened(alice, since=hello["seq"], epoch=hello["epoch"]) as (late, _):
        await arrives(late, head)
    for shown in (again, late.events):
        assert [each["seq"] for each in shown] == list(range(hello["seq"] + 1, head + 1))
        assert [each["type"] for each in shown if each["type"] not in ERASING] == (
            ["gone"] * 2 * len(lengths)
        )
        assert SECRET not in str(shown)


async def arrives(wire: Wire, seq: int, times: int = 1) -> None:
    await until(lambda: [each["seq"] for each in wire.events].count(seq) == times, limit=15)


# A text that was on its way when it was deleted


class Slow:
    """Reads of a feed whose answers come when the test lets them."""

    def __init__(self, patch: pytest.MonkeyPatch, *, page: int = feed.PAGE) -> None:
        self.read = asyncio.Event()
        self.go = asyncio.Event()
        self._after, self._page = feed.after, page
        patch.setattr(feed, "after", self._slow)

    async def _slow(self, pool: Any, channel: str, since: int, **options: Any) -> feed.Page:
        page = await self._after(pool, channel, since, limit=options.get("limit", self._page))
        if "limit" not in options:
            self.read.set()
            await self.go.wait()
        return page


async def said(board: Board, body: str = SECRET) -> int:
    message = await board.maker.post(f"{board.path}/chat/messages", {"body": body})
    return int(message["id"])


async def unsaid(board: Board, message: int) -> None:
    await board.maker.delete(f"{board.path}/chat/messages/{message}")


@pytest.mark.parametrize("further", [0, 3])
@pytest.mark.parametrize("fits", [True, False], ids=["tail", "feed"])
async def test_what_is_deleted_while_it_is_read_for_somebody_is_not_written(
    board: Board,
    desk: Desk,
    alice: Person,
    bob: Person,
    quiet: None,
    fits: bool,
    further: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = await desk.hub.open(project_channel(board.id))
    async with opened(alice) as (live, hello):
        message = await said(board)
        for _ in range(5):
            await said(board, "another")
        await arrives(live, hello["seq"] + 6)
        room.begin(room.last)  # as after a start: it knows nothing of what was before
        if not fits:
            monkeypatch.setattr(resume, "TAIL_EVENTS", 1)
            monkeypatch.setattr(room_module, "TAIL_EVENTS", 1 + further)
        async with opened(bob) as (late, _):
            slow = Slow(monkeypatch)
            await late.send("sync", {"since": hello["seq"], "epoch": hello["epoch"]})
            await slow.read.wait()
            await unsaid(board, message)
            for _ in range(further):
                await said(board, "another")
            head = hello["seq"] + 7 + further
            await arrives(live, head)
            slow.go.set()
            expected = list(range(hello["seq"] + 1, head + 1))
            await until(lambda: seqs(late.frames)[-7 - further :] == expected, limit=15)
            assert SECRET not in str(late.events)


@pytest.mark.parametrize("page", [1, 2, 3, 4])
async def test_what_came_early_and_was_deleted_meanwhile_is_told_as_the_feed_tells_it(
    board: Board,
    desk: Desk,
    alice: Person,
    no_checks: None,
    post: Post,  # noqa: F811
    page: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(alice) as (live, hello):
        await said(board, "another")
        message = await said(board)
        await unsaid(board, message)
        await said(board, "another")
        slow = Slow(monkeypatch, page=page)
        slow.go.set()
        post.deliver(1)
        await arrives(live, hello["seq"] + 4)
        assert seqs(live.frames) == [hello["seq"] + n for n in (1, 2, 3, 4)]
        assert SECRET not in str(live.events)
