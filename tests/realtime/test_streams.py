"""Streams beside sockets: whoever follows by the one sees what is told by the other, wherever the
connection is cut; made once for all; never more of it in memory than of a socket.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import pace
from tests.conftest import Board, Door, Wait
from tests.person import Person, Refusal
from tests.realtime.raw import Peer
from tests.realtime.story import tell
from tests.realtime.test_attach import WRITES, current_head, make_unsteady, pause
from tests.realtime.test_hub import big_chat, ended, only, until_paused
from warmdesk.desk import Desk
from warmdesk.http import streams
from warmdesk.http.streams import as_stream, place_of
from warmdesk.realtime import connection as connection_module
from warmdesk.realtime import hub, room, sweeper
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.events import CARD_CREATED, CARD_DELETED
from warmdesk.realtime.frames import PING, frame, texts

VIEWERS = 12
NAMES = st.sampled_from(["board.card_created", "chat.message", "gone", "notification"])


@st.composite
def envelopes(draw: st.DrawFn) -> tuple[str, bytes, int | None]:
    """An event or signal: its type, its JSON, its seq."""
    name = draw(NAMES)
    text = draw(st.text() | st.sampled_from([',"seq":9,"ts":"', '"}', "data: x\n\nid: 1.1\n"]))
    space = draw(st.sampled_from(["", " ", "\n", "\r\n", "\n\n", "\r"]))
    payload = f'{{"text":{space}{orjson.dumps(text).decode()},"seq":3,"ts":"t","actor_id":4}}'
    if draw(st.booleans()):
        return name, f'{{"type":"{name}","payload":{payload}}}'.encode(), None
    seq = draw(st.integers(1, 10**15 - 1))
    client = draw(st.sampled_from(["", ',"client_id":"a.b-c"']))
    actor = draw(st.sampled_from(["null", "7"]))
    if draw(st.booleans()):
        ref = orjson.dumps({"id": 7, "display_name": draw(st.text()), "avatar_url": None}).decode()
        client = f',"actor":{ref}{client}'
    beside = f'"seq":{seq},"ts":"2030-01-31T12:00:00.000000Z","actor_id":{actor}{client}'
    return name, f'{{"type":"{name}","payload":{payload},{beside}}}'.encode(), seq


def blocks(told: bytes) -> list[dict[str, str]]:
    """What a client makes of a stream: fields by name, `data` joined (HTML standard, 9.2.6)."""
    found: list[dict[str, str]] = []
    made: dict[str, str] = {}
    for line in told.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if made:
                found.append(made)
            made = {}
        elif name == "data" and "data" in made:
            made["data"] += "\n" + value
        else:
            assert name not in made
            made[name] = value
    assert not made, "the last one is whole"
    return found


@given(st.lists(envelopes(), max_size=5), st.sampled_from(["1-9f0a", "abc", "a.b"]))
def test_every_text_comes_through_whatever_is_in_it(
    told: list[tuple[str, bytes, int | None]], epoch: str
) -> None:
    frames = b"".join(frame(b"x", PING) + frame(text) for _, text, _ in told)
    assert list(texts(frames)) == [text for _, text, _ in told]
    got = blocks(as_stream(frames, epoch))
    assert [each["event"] for each in got] == [name for name, _, _ in told]
    for each, (_, text, seq) in zip(got, told, strict=True):
        assert orjson.loads(each["data"]) == orjson.loads(text)
        assert each.get("id") == (None if seq is None else f"{epoch}.{seq}")
        if seq is not None:
            assert place_of(each["id"]) == (seq, epoch)


# Beside sockets


async def view(
    people: list[Person], dice: random.Random, start: tuple[int, str], head: Callable[[], int]
) -> list[bytes]:
    """Follow by streams, each cut at some moment and resumed at another server; gives all events.
    `head`: where it is over, 0 while nobody knows.
    """
    got: list[bytes] = []
    last_id, seen = f"{start[1]}.{start[0]}", start[0]
    async with asyncio.timeout(60 * pace.stretch()):
        while not head() or seen < head():
            try:
                async with dice.choice(people).stream("demo", last_id=last_id) as stream:
                    until = asyncio.get_running_loop().time() + dice.random() ** 2
                    while asyncio.get_running_loop().time() < until:
                        await asyncio.sleep(0.01)
                        if head() and stream.events and stream.events[-1]["seq"] >= head():
                            break
            except Refusal as refused:
                if refused.status != 503:
                    raise
                await asyncio.sleep(0.05)
                continue
            got += [orjson.dumps(each) for each in stream.events]
            if stream.events:
                seen = stream.events[-1]["seq"]
            last_id = stream.last_id or last_id
            assert "sync.reset" not in {each["type"] for each in stream.frames}
            await pause(dice)
    return got


@pytest.mark.parametrize("seed", range(4))
async def test_a_stream_that_is_cut_anywhere_is_told_what_a_socket_is_told(
    seed: int,
    board: Board,
    door: Door,
    twin: Door,
    person: Callable[..., Person],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(room, "TAIL_EVENTS", dice.choice([5, 40, 1000]))
    monkeypatch.setattr(hub, "KEEP_EMPTY_SECONDS", dice.choice([0.0, 0.5, 5.0]))
    channel = project_channel(board.id)
    people = [person(name, url=each.url) for name in ("alice", "bob") for each in (door, twin)]
    for someone in people:
        await someone.token()
    over = [0]

    async def write() -> None:
        for number in range(WRITES):
            each = dice.choice([door, twin])
            await tell(each.desk, channel, dice.choice([1, 1, 1, 2, 7]))
            if number % 10 == 0:
                await board.card(description="x" * dice.choice([1, 100, 9000]))
            await pause(dice)
        over[0] = await current_head(door, channel)

    async with person("olga").socket("demo") as socket:
        hello = (await socket.next("hello"))["payload"]
        make_unsteady([door, twin], dice, monkeypatch)
        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            start = hello["seq"], hello["epoch"]
            viewers = [
                group.create_task(
                    view(people, random.Random(dice.random()), start, lambda: over[0])
                )
                for _ in range(VIEWERS)
            ]
        async with asyncio.timeout(10 * pace.stretch()):
            while not socket.events or socket.events[-1]["seq"] < over[0]:
                await asyncio.sleep(0.01)
        told = [orjson.dumps(each) for each in socket.events]
    assert [each["seq"] for each in socket.events] == list(range(hello["seq"] + 1, over[0] + 1))
    for viewer in viewers:
        assert viewer.result() == told


async def test_what_is_erased_in_the_moment_it_is_told_is_told_to_no_stream(
    board: Board, desk: Desk, alice: Person, bob: Person
) -> None:
    async with alice.stream("demo") as stream, bob.socket("demo") as socket:
        for each in (stream, socket):
            await each.next("presence.list")
        card = await board.card("A secret of a moment")
        await alice.delete(f"{board.path}/cards/{card['id']}")
        for name in (CARD_CREATED.name, CARD_DELETED.name):
            assert await stream.next(name) == await socket.next(name)
        last = stream.last_id
    async with alice.stream("demo", since=0) as stream:
        await stream.next(CARD_DELETED.name)
        assert stream.last_id == last
        assert "A secret of a moment" not in str(stream.frames)


async def test_an_event_is_made_once_for_all_streams(
    board: Board, desk: Desk, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    event = streams._event

    def counted(text: bytes, epoch: str) -> bytes:
        made.append(text)
        return event(text, epoch)

    holders = [each.stream("demo") for each in (alice, bob) for _ in range(10)]
    opened = [await each.__aenter__() for each in holders]
    for stream in opened:
        await stream.next("presence.list")
    monkeypatch.setattr(streams, "_event", counted)
    await board.card("Once")
    for stream in opened:
        await stream.next("board.card_created")
    assert len([each for each in made if b"board.card_created" in each]) == 1
    for holder in holders:
        await holder.__aexit__(None, None, None)


# Who does not read


@asynccontextmanager
async def raw(person: Person, url: str) -> AsyncIterator[Peer]:
    """A stream that is read only when asked."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 12)
    peer = Peer(reader, writer)
    peer.say(
        f"GET /api/v1/projects/demo/events/stream HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {await person.token()}\r\n\r\n".encode()
    )
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        assert head.startswith(b"HTTP/1.1 200 "), head
        yield peer
    finally:
        await peer.leave()


async def test_a_slow_reader_is_skipped_and_then_told_everything_in_order(
    board: Board, desk: Desk, url: str, alice: Person, bob: Person
) -> None:
    channel = project_channel(board.id)
    async with raw(alice, url) as slow, bob.socket("demo") as socket:
        connection = only(desk, alice.id)
        await until_paused(desk, channel, connection)
        assert connection in desk.hub.rooms[channel].slow
        await big_chat(desk, channel, 1200)
        assert connection.buffered < (1 << 20) + 400_000
        head = await current_head(Door(desk, url), channel)
        last = b""
        seen: list[int] = []
        async with asyncio.timeout(20 * pace.stretch()):
            while not seen or seen[-1] < head:
                *lines, last = (last + await slow.reader.read(1 << 16)).split(b"\n")
                seen += [int(line.rpartition(b".")[2]) for line in lines if line[:4] == b"id: "]
        assert seen == sorted(seen)
        assert set(seen) >= set(range(seen[0], head + 1))
        await socket.settle()
        assert [each["seq"] for each in socket.events][-1] == head


async def test_a_reader_that_takes_nothing_is_ended(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "WRITE_TIMEOUT", 0.5)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    async with raw(alice, url):
        await until_paused(desk, project_channel(board.id), only(desk, alice.id))
        await ended(desk, eventually, alice.id)


async def test_who_acknowledges_nothing_is_ended(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is gone without a word. One that only listens stays."""
    monkeypatch.setattr(streams.EventStream, "quiet_seconds", 1.0)
    monkeypatch.setattr(sweeper, "SILENT_SECONDS", 3.0)
    async with alice.stream("demo") as stream:
        await stream.next("hello")
        await asyncio.sleep(5)
        assert stream.end is None
        monkeypatch.setattr(streams, "acknowledged", lambda transport: 1)
        assert await stream.closed(limit=10) == 4408
