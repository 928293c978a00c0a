"""The front: who reads a handshake, what comes early, refusals, leaving, and what it leaves to
aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
import trustme
from aiohttp import HttpVersion11, web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests import pace
from tests.conftest import Board, Door, Invite, Wait
from tests.person import Person
from tests.realtime.raw import Peer, closing, masked
from tests.rest.test_sockets import make_key
from warmdesk import handshake_reader, worker
from warmdesk.app import build_app
from warmdesk.config import Settings
from warmdesk.desk import open_desk
from warmdesk.handshake_reader import EARLY_LIMIT, HandshakeReaders, read
from warmdesk.http import protocol
from warmdesk.http.query import query_reader
from warmdesk.metrics import HTTP
from warmdesk.metrics.rows import ROWS
from warmdesk.realtime.frames import CLOSE, TEXT, Close
from warmdesk.realtime.handshake import check_handshake
from warmdesk.realtime.roster import OPENING_AT_ONCE
from warmdesk.realtime.socket_buffers import SEND_BUFFER, cap
from warmdesk.rest import sockets
from warmdesk.rest.sockets import OpenSocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = (
    "Host: x",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)
TWICE = ("X-Twice: a", "X-Twice: b")
"""Harmless headers that make a head unusual: aiohttp reads it."""
VERSION = b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n"


def knock(place: str, *lines: str, without: str = "") -> bytes:
    """A handshake for a project's slug or ``user``; the query is part of the place."""
    kept = [line for line in GOOD if not without or not line.startswith(without)]
    return "\r\n".join([f"GET /api/v1/ws/{place} HTTP/1.1", *kept, *lines, "", ""]).encode()


@dataclass(frozen=True)
class Served(Door):
    """The application behind fronts, and its insides."""

    runner: web.AppRunner
    readers: HandshakeReaders
    wires: list[protocol.HttpConnection]

    async def client(self, tls: ssl.SSLContext | None = None) -> Peer:
        host, port = self.url.removeprefix("http://").split(":")
        name = "localhost" if tls else None
        return Peer(*await asyncio.open_connection(host, int(port), ssl=tls, server_hostname=name))

    def asked(self) -> tuple[int, int]:
        """How many requests aiohttp read so far, and how many connections it was given."""
        assert self.runner.server is not None
        return self.runner.server.requests_count, len(self.wires)

    @property
    def opening(self) -> int:
        return len(self.readers.under_way)


@asynccontextmanager
async def fronted(
    settings: Settings, tls: ssl.SSLContext | None = None, *, capped: bool = False
) -> AsyncIterator[Served]:
    async with open_desk(settings) as desk:
        runner = web.AppRunner(build_app(desk), access_log=None, shutdown_timeout=1)
        await runner.setup()
        readers = HandshakeReaders(runner, capped=capped)
        wires: list[protocol.HttpConnection] = []
        make = readers.http

        def noted() -> protocol.HttpConnection:
            wires.append(make())
            return wires[-1]

        readers.http = noted
        plain = socket.create_server(("127.0.0.1", 0))
        if capped:
            cap(plain)
        listening = await readers.loop.create_server(readers, sock=plain, ssl=tls)
        port = plain.getsockname()[1]
        try:
            yield Served(desk, f"http://127.0.0.1:{port}", runner, readers, wires)
        finally:
            listening.close()
            await readers.close()
            await runner.cleanup()


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[Served]:
    async with fronted(settings) as door:
        yield door


@pytest.fixture
async def client(door: Served) -> AsyncIterator[Peer]:
    """A bare connection."""
    peer = await door.client()
    yield peer
    await peer.leave()


@pytest.fixture
def board(furnished: tuple[str, Board], alice: Person) -> Board:
    """The project demo. No mirror follows it, which would open a socket itself."""
    return replace(furnished[1], maker=alice)


@pytest.fixture
async def key(alice: Person, board: Board, connection: Any) -> str:
    """A header that is alice's."""
    await make_key(connection, alice.id, "wd_key")
    return "X-API-Key: wd_key"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Openings that a test holds up may wait long."""
    monkeypatch.setattr(sockets, "WAITING_SECONDS", 10)
    monkeypatch.setattr(sockets, "OPENING_SECONDS", 10)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


async def answer(client: Peer) -> Answer:
    """The next answer."""
    async with asyncio.timeout(5 * pace.stretch()):
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.split("\r\n")[:-2]
        headers = dict(each.split(": ", 1) for each in lines)
        body = await client.reader.readexactly(int(headers.get("Content-Length", 0)))
    return Answer(int(line.split()[1]), headers, json.loads(body) if body else None)


async def hello(client: Peer) -> dict[str, Any]:
    """The hello of a socket that is let in."""
    got = await answer(client)
    assert got.status == 101, got
    assert got.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    opcode, text = await client.frame()
    frame: dict[str, Any] = json.loads(text)
    assert (opcode, frame["type"]) == (TEXT, "hello")
    return cast("dict[str, Any]", frame["payload"])


async def pongs(client: Peer, count: int) -> list[Any]:
    """The ids of the next answers to pings."""
    ids: list[Any] = []
    while len(ids) < count:
        frame = json.loads((await client.frame())[1])
        if frame["type"] == "pong":
            ids.append(frame.get("id"))
    return ids


async def closed_with(client: Peer) -> int:
    """The code of the server's Close, which comes soon."""
    async with asyncio.timeout(2 * pace.stretch()):
        while (frame := await client.frame())[0] != CLOSE:
            pass
    return int.from_bytes(frame[1][:2], "big")


def ping(number: int, size: int = 0) -> bytes:
    return masked(json.dumps({"type": "ping", "id": number, "payload": {"x": "x" * size}}))


def counted(route: str, status: str) -> float:
    """So many answers of this class the route gave so far."""
    series = HTTP.requests.at(method="GET", route=f"/api/v1{route}", status=status)
    return float(ROWS.mine[series.offset])


@contextmanager
def held(door: Served) -> Iterator[None]:
    """Nobody gets a turn to open a socket meanwhile."""
    turnstile = door.desk.hub.roster.opening_slots
    whole, turnstile._value = turnstile._value, 0
    try:
        yield
    finally:
        turnstile._value = whole - 1
        turnstile.release()


# An ordinary handshake


@pytest.mark.parametrize(("place", "route"), [("demo", "/ws/{slug}"), ("user", "/ws/user")])
async def test_an_ordinary_handshake_makes_no_request(
    place: str, route: str, door: Served, board: Board, alice: Person, key: str
) -> None:
    token = await alice.token()
    ways = [
        (f"?token={token}", ()),
        ("", (f"Authorization: Bearer {token}",)),
        ("", (f"Sec-WebSocket-Protocol: warmdesk, bearer.{token}",)),
        ("?since=0&epoch=a_b-c&presence=changed", (key, "Origin: http://x", "User-Agent:")),
    ]
    for query, lines in ways:
        before, count = door.asked(), counted(route, "1xx")
        client = await door.client()
        client.say(knock(place + query, *lines))
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head
        assert ("\r\nSec-WebSocket-Protocol: warmdesk\r\n" in head) is ("warmdesk" in str(lines))
        told = json.loads((await client.frame())[1])["payload"]
        assert told["user"]["id"] == alice.id
        assert (told["project"] or {}).get("slug") == (None if place == "user" else "demo")
        assert counted(route, "1xx") == count + 1
        assert door.asked() == before
        await client.leave()


async def test_parameters_mean_what_they_mean_to_aiohttp(
    door: Served, board: Board, key: str
) -> None:
    first = await door.client()
    first.say(knock("demo", key))
    seen = await hello(first)
    await board.card()
    since = f"?since={seen['seq']}&epoch={seen['epoch']}&presence=changed"
    for lines in ((), TWICE):
        head = knock(f"demo{since}", key, *lines)
        assert (read(head) is None) is bool(lines)
        client = await door.client()
        client.say(head)
        told = await hello(client)
        assert (told["seq"], told["resumed"]) == (seen["seq"] + 1, True)
        events = [json.loads((await client.frame())[1]) for _ in range(2)]
        assert events[-1]["type"] == "board.card_created"
        (entered,) = (c for c in door.desk.hub.roster.connections if c.id == told["connection_id"])
        assert entered.wants_changed
        await client.leave()
    await first.leave()


async def test_the_head_may_come_in_any_two_pieces(door: Served, board: Board, key: str) -> None:
    head = knock("user", key)
    before = door.asked()
    for cut in range(1, len(head)):
        client = await door.client()
        client.say(head[:cut])
        await asyncio.sleep(0.001)
        client.say(head[cut:] + ping(cut))
        await hello(client)
        assert await pongs(client, 1) == [cut]
        await client.leave()
    assert door.asked() == before


@pytest.mark.parametrize("lines", [(), TWICE])
async def test_the_head_and_the_frames_may_come_byte_by_byte(
    lines: tuple[str, ...], client: Peer, key: str
) -> None:
    for byte in knock("user", key, *lines) + ping(1) + ping(2):
        client.say(bytes((byte,)))
        await asyncio.sleep(0.001)
    await hello(client)
    assert await pongs(client, 2) == [1, 2]


# What comes early


async def test_what_comes_while_the_opening_waits_is_heard_in_order(
    door: Served, client: Peer, key: str, eventually: Wait
) -> None:
    with held(door):
        client.say(knock("demo", key) + ping(1) + ping(2)[:5])
        await eventually(lambda: door.opening)
        for piece in (ping(2)[5:] + ping(3), ping(4)[:1], ping(4)[1:]):
            client.say(piece)
            await asyncio.sleep(0.02)
    client.say(ping(5))
    await hello(client)
    assert await pongs(client, 5) == [1, 2, 3, 4, 5]
    client.say(ping(6))
    assert await pongs(client, 1) == [6]


async def test_too_much_that_comes_early_is_not_read_and_not_lost(
    door: Served, client: Peer, key: str, eventually: Wait
) -> None:
    with held(door):
        client.say(knock("demo", key))
        await eventually(lambda: door.opening)
        large, count = ping(0, 60_000), 300
        client.say(ping(1) + large * count + ping(2))
        waits = client.writer.transport.get_write_buffer_size
        await asyncio.sleep(0.3)
        stopped = waits()
        assert stopped > EARLY_LIMIT
        await asyncio.sleep(0.1)
        assert waits() == stopped
    await hello(client)
    assert await pongs(client, count + 2) == [1, *[0] * count, 2]


@pytest.mark.parametrize("refusal", [False, True])
async def test_reading_goes_on_after_too_much_came_early(
    refusal: bool, door: Served, client: Peer, key: str, eventually: Wait
) -> None:
    with held(door):
        client.say(knock("nowhere" if refusal else "demo", key))
        await eventually(lambda: door.opening)
        for _ in range(3):
            client.say(b"\r\n" * EARLY_LIMIT if refusal else ping(1, 60_000))
            await asyncio.sleep(0.02)
    if refusal:
        client.say(VERSION)
        assert (await answer(client)).status == 404
        assert (await answer(client)).status == 200
    else:
        client.say(ping(2))
        await hello(client)
        assert await pongs(client, 4) == [1, 1, 1, 2]


async def test_a_close_that_comes_early_ends_the_socket(
    door: Served, client: Peer, key: str
) -> None:
    client.say(knock("user", key) + closing(1000))
    await hello(client)
    assert await client.everything() == [(CLOSE, b"\x03\xe8")]


# Refusals


async def answers(
    door: Served, *requests: bytes, tls: ssl.SSLContext | None = None
) -> list[Answer]:
    """The answers to requests that come in one packet."""
    client = await door.client(tls)
    try:
        client.say(b"".join(requests))
        return [await answer(client) for _ in requests]
    finally:
        await client.leave()


def told(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """An answer without what two moments differ in."""
    headers = answer.headers.copy()
    headers.pop("Date")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9]+|named", headers.pop("X-Request-Id"))
    if "Retry-After" in headers:
        assert int(headers.pop("Retry-After")) >= 1
        headers["Retry-After"] = "soon"
    return answer.status, headers, answer.body


def waited(route: str) -> float:
    """Seconds that the route's answers took so far, all together."""
    series = HTTP.seconds.at(method="GET", route=f"/api/v1{route}")
    return float(ROWS.mine[series.offset + len(series.buckets) + 1])


async def test_a_refusal_keeps_its_id_and_the_time_that_was_waited(
    door: Served, client: Peer, key: str, eventually: Wait
) -> None:
    before = waited("/ws/{slug}")
    with held(door):
        client.say(knock("nowhere", key))
        await eventually(lambda: door.opening)
        drawn = f"{door.readers.responses.prefix}-1"
        began = time.perf_counter()
        await asyncio.sleep(0.2)
        held_for = time.perf_counter() - began
    refusal = await answer(client)

    assert refusal.status == 404
    assert refusal.headers["X-Request-Id"] == drawn, "the first that this server drew"
    assert waited("/ws/{slug}") - before >= held_for


ORIGIN = "Origin: https://evil.example"
REFUSED = [
    ("demo", (), 401),
    ("user", ("Authorization: Bearer nonsense",), 401),
    ("demo?token=nonsense", (), 401),
    ("demo?token", (), 401),
    ("demo?token=", ("X-API-Key: wd_key",), 401),
    ("demo", ("X-API-Key: wd_unknown",), 401),
    ("demo", ("Sec-WebSocket-Protocol: bearer.nonsense",), 401),
    ("demo", ("X-API-Key: wd_key", ORIGIN), 403),
    ("user", ("X-API-Key: wd_key", "Origin: null"), 403),
    ("nowhere", ("X-API-Key: wd_key",), 404),
    ("nowhere", ("X-API-Key: wd_key", "Origin: http://x"), 404),
    ("--", ("X-API-Key: wd_key", "X-Request-Id: named"), 404),
    ("a" * 100, ("X-API-Key: wd_key", "X-Request-Id: not a name"), 404),
]


@pytest.mark.parametrize(("place", "lines", "status"), REFUSED)
async def test_a_refusal_is_what_aiohttp_would_have_answered(
    place: str, lines: tuple[str, ...], status: int, door: Served, key: str
) -> None:
    head = knock(place, *lines)
    route = "/ws/user" if place == "user" else "/ws/{slug}"
    count = counted(route, "4xx")
    ours, next_one = await answers(door, head, VERSION)
    assert counted(route, "4xx") == count + 1
    (theirs,) = await answers(door, knock(place, *lines, *TWICE))
    assert read(head) is not None
    assert read(knock(place, *lines, *TWICE)) is None

    assert ours.status == status
    assert next_one.status == 200
    assert told(ours) == told(theirs)
    assert ours.headers["X-Content-Type-Options"] == "nosniff"
    assert (ours.headers["X-Request-Id"] == "named") is ("X-Request-Id: named" in lines)
    assert isinstance(ours.body["error"], str)


async def test_a_refused_handshake_leaves_an_ordinary_connection(
    door: Served, client: Peer, key: str
) -> None:
    for _ in range(2):
        client.say(knock("nowhere", key))
        assert (await answer(client)).status == 404
        client.say(VERSION + VERSION)
        assert [(await answer(client)).status for _ in range(2)] == [200, 200]
    client.say(knock("demo", key) + ping(1))
    await hello(client)
    assert await pongs(client, 1) == [1]


async def test_a_refused_handshake_and_one_that_is_not_in_one_packet(
    door: Served, client: Peer, key: str
) -> None:
    client.say(knock("nowhere", key) + knock("demo", key) + ping(1))
    assert (await answer(client)).status == 404
    await hello(client)
    assert await pongs(client, 1) == [1]


@pytest.mark.settings(rate_limits=True)
async def test_who_opens_too_often_is_told_when_to_come_back(
    door: Served, client: Peer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "OPENING_RATE", 1)
    client.say(knock("demo", key))
    await hello(client)
    ours, theirs = [(await answers(door, knock("demo", key, *more)))[0] for more in ((), TWICE)]
    assert ours.status == 429
    assert told(ours) == told(theirs)
    assert told(ours)[1]["Retry-After"] == "soon"


async def test_who_gets_no_turn_is_told_when_to_come_back(
    door: Served, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "WAITING_SECONDS", 0.05)
    named = "X-Request-Id: named"
    with held(door):
        ours, theirs = [
            (await answers(door, knock("demo", key, named, *more)))[0] for more in ((), TWICE)
        ]
    assert ours.status == 503
    assert told(ours) == told(theirs)
    assert told(ours)[1]["Retry-After"] == "soon"
    assert ours.body["request_id"] == "named"


async def test_a_server_that_stops_refuses_and_closes(door: Served, key: str) -> None:
    door.desk.draining = True
    try:
        named = "X-Request-Id: named"
        ours, theirs = [
            (await answers(door, knock("demo", key, named, *more)))[0] for more in ((), TWICE)
        ]
    finally:
        door.desk.draining = False
    assert ours.status == 503
    assert ours.headers["Connection"] == "close"
    assert told(ours) == told(theirs)


async def test_an_unforeseen_error_is_told_and_logged_as_everywhere(
    door: Served, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def fail(*args: Any) -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("secret")

    monkeypatch.setattr(door.desk.presence, "come", fail)
    named = "X-Request-Id: named"
    ours, theirs = [
        (await answers(door, knock("demo", key, named, *more)))[0] for more in ((), TWICE)
    ]
    assert tries == 2, "what was refused is not tried again by aiohttp"
    assert told(ours) == told(theirs)
    assert (ours.status, ours.body["request_id"]) == (500, "named")
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert said == ['http.failed route="GET /api/v1/ws/{slug}"'] * 2


# What is unusual


@dataclass(frozen=True)
class Judged:
    """What aiohttp makes of a head: the request, as far as a door looks at it."""

    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    options: OpenSocket


def judged(head: bytes) -> Judged:
    """Raises what aiohttp's parser, `query_reader` or `check_handshake` raises."""
    parser = HttpRequestParser(Mock(), Mock(), 1 << 16)
    messages, upgraded, tail = parser.feed_data(head + b"early")
    assert tail == b"early"
    ((message, payload),) = messages
    request: Any = SimpleNamespace(
        method=message.method,
        headers=message.headers,
        version=message.version,
        body_exists=payload is not EMPTY_PAYLOAD,
        protocol=SimpleNamespace(_upgraded=upgraded),
        query_string=message.url.query_string,
        query=message.url.query,
    )
    check_handshake(request)
    assert message.version == HttpVersion11
    return Judged(
        message.method,
        message.url.raw_path,
        dict(message.url.query),
        sorted((name.lower(), value) for name, value in message.headers.items()),
        query_reader(OpenSocket)(request),
    )


TARGETS = [
    *(
        "demo",
        "user",
        "a-1",
        "-",
        "a" * 100,
        "a" * 101,
        "Demo",
        "user/",
        "",
        "../ws/demo",
        "d%65mo",
    ),
    *(
        "demo?",
        "demo?since=1",
        "demo?since=007",
        "demo?since=-1",
        "demo?since=1_0",
        "demo?since=1.0",
    ),
    *("demo?since", "demo?since=1&", "demo?&since=1", "demo?since=1&since=1", "demo?since=1=1"),
    *("demo?token=a.b-c_d", "demo?token=", "demo?token=a%20b", "demo?token=a+b", "demo?ticket=a"),
    *("demo?other=1", "demo?api_key=a", "demo?epoch=e&presence=changed", "demo?presence=loud"),
    *("demo?token=" + "a" * 4000, "demo?token=" + "a" * 4097, "demo?since=" + "9" * 4400),
    *("demo?epoch=" + "e" * 65, "user?since=9007199254740993", "demo?a=1;since=2", "demo#a"),
]
LINES = [
    *(
        "X-A: b",
        "X-A:",
        "X-A:b",
        "X-A:  b  ",
        "X-A : b",
        " X-A: b",
        "X_A: b",
        "X-A\t: b",
        ": b",
        "X-A",
    ),
    *(
        "X-A: \tb",
        "X-A: b\t",
        "X-A: \x00",
        "X-A: ü",
        "Ü: b",
        "-: b",
        "X-A: b\n X-B: c",
        "X-A: b\r\n c",
    ),
    *("Host: y", "host: ", "Content-Length: 0", "Content-Length: 5", "content-length:"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Expect: 100-continue", "TE: x"),
    *("Connection: close", "connection: upgrade", "Proxy-Connection: close", "Upgrade: h2c"),
    *(
        "Connection: Upgrade,,",
        "Connection: x y, UPGRADE",
        'Connection: "a, upgrade"',
        "Connection:",
    ),
    *("Connection: close, upgrade", "Connection: keep-alive,upgrade ,x", "Connection: xupgrade"),
    *("Upgrade: WebSocket ", "Upgrade: websocket, h2c", "Upgrade: tcp", "Sec-WebSocket-Version: 8"),
    *(f"Sec-WebSocket-Key: {KEY[:-1]}", "Sec-WebSocket-Key1: a", "Sec-WebSocket-Version: 13, 8"),
    *(
        "Authorization: Bearer a",
        "Content-Encoding: gzip",
        "Keep-Alive: 5",
        "User-Agent: a",
        "Trailer: a",
    ),
    *("X-A: " + "b" * 7000, "X-A: " + "b" * 8200, "a" * 7900 + ": b", "Content-Type: text/plain"),
    *("Sec-WebSocket-Protocol: warmdesk, bearer.x", "Sec-WebSocket-Extensions: permessage-deflate"),
    *("\r\n".join(f"X-{n}: a" for n in range(count)) for count in (90, 96, 120, 124, 300)),
]
BYTES = [*b'\x00\t\n\r :;,=&?%+#/.-_aZ19"\\\x7f\x80\xff', *b"\r\n"]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A good handshake with up to two lines and two bytes that are other ones."""
    lines: list[str] = list(draw(st.permutations(GOOD)) if draw(st.booleans()) else GOOD)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        line = draw(st.sampled_from(LINES))
        place = draw(st.integers(0, len(lines)))
        # In the place of the header of its own name, or beside what is there.
        name = line.partition(":")[0].strip().lower()
        if draw(st.booleans()):
            lines = [kept for kept in lines if kept.partition(":")[0].strip().lower() != name]
        lines.insert(place, line)
    usual = draw(st.sampled_from([True, True, False]))
    target = "/api/v1/ws/" + ("demo" if usual else draw(st.sampled_from(TARGETS)))
    start = draw(
        st.sampled_from(
            [f"GET {target} HTTP/1.1"] * 30
            + [
                f"get {target} HTTP/1.1",
                f"HEAD {target} HTTP/1.1",
                f"GET {target} HTTP/1.0",
                f"GET {target} http/1.1",
                f"GET  {target} HTTP/1.1",
                f"GET http://x{target} HTTP/1.1",
                f"GET {target}  HTTP/1.1",
            ]
        )
    )
    head = "\r\n".join([start, *lines, "", ""]).encode()
    if draw(st.integers(0, 20)) == 20:
        head = head.replace(b"\r\n", b"\n")
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(head) - 5))
        new = bytes((draw(st.sampled_from(BYTES)),)) * draw(st.integers(0, 2))
        head = head[:place] + new + head[place + draw(st.integers(0, 1)) :]
    return head


def test_what_is_read_here_aiohttp_reads_alike() -> None:
    taken = 0

    @given(heads())
    @hypothesis_settings(max_examples=1000, database=None, phases=[Phase.generate])
    def compare(head: bytes) -> None:
        nonlocal taken
        handshake = read(head)
        if handshake is None:
            return
        taken += 1
        theirs = judged(head)
        assert theirs == Judged(
            "GET",
            f"/api/v1/ws/{handshake.slug or 'user'}",
            dict(handshake.query),
            sorted((name.lower(), value) for name, value in handshake.headers.items()),
            handshake.options,
        )

    compare()
    assert taken > 100


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_is_read_alike_or_not_here(target: str) -> None:
    head = knock(target)
    handshake = read(head)
    if handshake is not None:
        assert judged(head).options == handshake.options
        assert judged(head).path == f"/api/v1/ws/{handshake.slug or 'user'}"


@pytest.mark.parametrize("line", LINES)
def test_each_line_is_read_alike_or_not_here(line: str) -> None:
    for head in (knock("demo", line), knock("demo", line, without=line.partition(":")[0])):
        handshake = read(head)
        if handshake is not None:
            ours = sorted((name.lower(), value) for name, value in handshake.headers.items())
            assert judged(head).headers == ours


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (knock("demo", without="Host"), 400),
        (knock("demo", without="Upgrade"), 426),
        (knock("demo", without="Connection"), 400),
        (knock("demo", without="Sec-WebSocket-Version"), 426),
        (knock("demo", "Sec-WebSocket-Version: 13"), 426),
        (knock("demo", without="Sec-WebSocket-Key"), 400),
        (knock("demo", f"Sec-WebSocket-Key: {KEY}"), 400),
        (knock("demo", "Sec-WebSocket-Key1: a"), 400),
        (knock("demo", "Content-Length: 5") + b"12345", 400),
        (knock("demo", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (knock("demo", "Host: y"), 400),
        (knock("demo", "X-A: a\r\n b"), 400),
        (knock("demo", "X-A : a"), 400),
        (knock("demo", "X-A: \x00"), 400),
        (knock("demo", "no colon"), 400),
        (knock("demo", "X-A: " + "a" * 9000), 400),
        (knock("demo", *(f"X-{n}: a" for n in range(200))), 400),
        (knock("demo").replace(b"\r\n", b"\n"), 400),
        (knock("demo").replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (knock("demo?since=null"), 400),
        (knock("demo", "Origin: http://x", "Origin: http://x"), 403),
        (knock("demo?since=x"), 400),
        (knock("demo?since=1&since=1"), 400),
        (knock("demo?presence=loud"), 400),
        (knock("demo?token=" + "a" * 4097), 400),
        (knock("demo?since=" + "9" * 4500), 400),
        (knock("demo", "Expect: 100-continue"), 100),
        (knock("demo?ticket=a"), 401),
        (knock("demo?api_key=wd_a"), 401),
        (knock("d%65mo"), 401),
        (knock("demo", "X-A: ü"), 401),
        (knock("demo/"), 404),
        (knock("DEMO", "X-API-Key: wd_key"), 404),
        (knock("demo").replace(b"GET", b"POST"), 405),
        (b"\r\n" + knock("demo"), 401),
        # Halves whose end nobody waits for.
        (b"GET /api/v1/ws/demo HTTP/1.1\n", 400),
        (b"GET /api/v1/ws/demo HTTP/1.1\r\nHost: x\r\nX-A: a\nX", 400),
        (b"GET /api/v1/ws/demo HTTP/1.1\r\nHost: x\r\nX-A: \x00", 400),
        (b"GET /api/v1/ws/demo HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000, 400),
        (b"GET /api/v1/ws/" + b"a" * 9000, 400),
    ],
)
async def test_what_is_unusual_is_judged_by_aiohttp(
    head: bytes, status: int, door: Served, client: Peer, key: str
) -> None:
    assert read(head) is None
    requests, wires = door.asked()
    client.say(head)
    assert (await answer(client)).status == status
    assert door.asked() == (requests + 1, wires + 1)


# Patience


async def test_only_get_is_a_handshake(door: Served, client: Peer, key: str) -> None:
    head = knock("demo", key, "Connection: close", without="Connection")
    client.say(head.replace(b"Connection: close", b"Connection: Upgrade").replace(b"GET", b"HEAD"))
    told = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
    assert told.startswith(b"HTTP/1.1 400 ")
    assert not door.desk.hub.roster.connections


class Counted:
    """A pattern that counts the bytes it looked at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern, self.looked = pattern, 0

    def search(self, text: bytearray, place: int = 0) -> re.Match[bytes] | None:
        self.looked += len(text) - place
        return self.pattern.search(text, place)


async def test_half_a_head_is_looked_at_once(
    door: Served, client: Peer, key: str, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    odd = Counted(handshake_reader.ODD)
    monkeypatch.setattr(handshake_reader, "ODD", odd)
    head = knock("user", key, f"User-Agent: {'x' * 5000}")
    for place in range(0, len(head), 10):
        client.say(head[place : place + 10])
        await asyncio.sleep(0.0005)
    await hello(client)
    assert odd.looked < 3 * len(head)
    assert door.asked()[1] == 0


@pytest.mark.parametrize("bad", [b"\n", b"\rx", b"\x80"])
async def test_what_is_odd_is_seen_wherever_the_pieces_end(
    bad: bytes, door: Served, eventually: Wait
) -> None:
    head = knock("user").replace(b"Host: x\r\n", b"Host: x" + bad, 1)[:-4]
    end = head.index(bad) + len(bad)
    for cut in range(end - len(bad), end + 1):
        before = door.asked()[1]
        client = await door.client()
        client.say(head[:cut])
        await asyncio.sleep(0.005)
        client.say(head[cut:])
        await eventually(lambda before=before: door.asked()[1] == before + 1)
        await client.leave()


@pytest.mark.parametrize(
    "beginning",
    [b"", b"G", b"GET /api/v1/ws/de", knock("demo")[:-1], b"POST /api/v1/auth", VERSION[:-3]],
)
async def test_a_head_that_does_not_come_is_not_waited_for(
    beginning: bytes, door: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    client = await door.client()
    began = time.monotonic()
    client.say(beginning)
    assert await asyncio.wait_for(client.reader.read(), 3 * pace.stretch()) == b""
    assert 0.2 < time.monotonic() - began < pace.here(1.5)
    assert not door.readers.waiting
    await client.leave()


@pytest.mark.parametrize("beginning", [b"GET /api/v1/ws/de", b"POST /api/v1/auth"])
async def test_saying_a_little_late_gives_no_more_time(
    beginning: bytes, door: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 1.0)
    client = await door.client()
    began = time.monotonic()
    await asyncio.sleep(0.8)
    client.say(beginning)
    assert await asyncio.wait_for(client.reader.read(), 5 * pace.stretch()) == b""
    assert 0.9 < time.monotonic() - began < pace.here(1.6)
    await client.leave()


async def test_who_is_known_is_not_sent_away(
    door: Served, key: str, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    waiting, idle = [await door.client() for _ in range(2)]
    with held(door):
        waiting.say(knock("demo", key))
        idle.say(VERSION)
        assert (await answer(idle)).status == 200
        await asyncio.sleep(0.4)
        assert door.opening == 1
        assert not door.readers.waiting
    await hello(waiting)
    refused = await door.client()
    refused.say(knock("nowhere", key))
    assert (await answer(refused)).status == 404
    await asyncio.sleep(0.4)
    for client in (idle, refused):
        client.say(VERSION)
        assert (await answer(client)).status == 200
    waiting.say(ping(1))
    assert await pongs(waiting, 1) == [1]
    for client in (waiting, idle, refused):
        await client.leave()


# Ordinary requests


LOGIN = json.dumps({"login": "alice", "password": "wrong password"}).encode()
POST = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(LOGIN)
) + LOGIN


async def test_ordinary_requests_are_answered_as_always(door: Served, board: Board) -> None:
    for bundle, statuses in (
        (VERSION + VERSION + POST + VERSION, [200, 200, 401, 200]),
        (POST + POST, [401, 401]),
        (b"\r\n" + VERSION, [200]),
        (VERSION.replace(b"GET", b"PUT"), [405]),
        (b"GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n\r\n" + VERSION, [404, 200]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), [400]),
        (VERSION + knock("demo") + VERSION, [200, 401, 200]),
    ):
        client = await door.client()
        client.say(bundle)
        assert [(await answer(client)).status for _ in statuses] == statuses
        if statuses != [400]:
            client.say(VERSION)
            assert (await answer(client)).status == 200
        await client.leave()


@pytest.mark.parametrize(("request_", "status"), [(VERSION, 200), (POST, 401)])
async def test_the_first_bytes_may_come_one_by_one(
    request_: bytes, status: int, client: Peer, board: Board
) -> None:
    for byte in request_:
        client.say(bytes((byte,)))
        await asyncio.sleep(0.001)
    assert (await answer(client)).status == status
    client.say(VERSION)
    assert (await answer(client)).status == 200


# Leaving


async def test_who_leaves_while_the_opening_waits_leaves_nothing(
    door: Served, key: str, bob: Person, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    hub = door.desk.hub
    before, count = len(hub.roster.connections), counted("/ws/{slug}", "4xx")
    with held(door):
        clients = [await door.client() for _ in range(3)]
        for client in clients:
            client.say(knock("demo", key) + ping(1))
        await eventually(lambda: door.opening == 3)
        for client in clients:
            await client.leave()
        await asyncio.sleep(0.05)
    await eventually(lambda: not door.opening)
    assert len(hub.roster.connections) == before
    assert hub.roster.opening_slots._value == OPENING_AT_ONCE
    assert counted("/ws/{slug}", "4xx") == count + 3
    async with bob.socket("demo") as his:
        here = (await his.next("presence.list"))["payload"]
        assert "alice" not in json.dumps(here)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_who_leaves_in_the_midst_of_the_opening_leaves_nothing(
    door: Served, key: str, bob: Person, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, refs = door.desk.hub, door.desk.people.refs
    gate, inside = asyncio.Event(), asyncio.Event()

    async def slow(ids: Any) -> Any:
        inside.set()
        await gate.wait()
        return await refs(ids)

    async def alone() -> bool:
        async with bob.socket("demo") as again:
            return bool((await again.next("presence.list"))["payload"]["count"] == 1)

    async with bob.socket("demo") as his:
        await his.next("presence.list")
        with monkeypatch.context() as patch:
            patch.setattr(door.desk.people, "refs", slow)
            client = await door.client()
            client.say(knock("demo", key))
            await asyncio.wait_for(inside.wait(), 5 * pace.stretch())
            await client.leave()
            await asyncio.sleep(0.05)
            gate.set()
            await eventually(lambda: not door.opening)
        assert len(hub.roster.connections) == 1
        assert hub.roster.opening_slots._value == OPENING_AT_ONCE
        await eventually(alone)


async def test_a_session_that_ends_during_the_opening_ends_the_socket(
    door: Served,
    client: Peer,
    alice: Person,
    board: Board,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, take = door.desk, door.desk.limits.take
    session = await connection.fetchval(
        "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day')"
        " returning id::text",
        alice.id,
    )

    async def meanwhile(*what: Any, **limits: Any) -> None:
        """When it is known who comes, and nothing else."""
        await connection.execute(
            "update sessions set revoked_at = now() where id::text = $1", session
        )
        desk.identity.forget()
        desk.access.forget()
        await take(*what, **limits)

    monkeypatch.setattr(desk.limits, "take", meanwhile)
    client.say(
        knock("demo", f"Authorization: Bearer {desk.identity.tokens.issue(alice.id, session)}")
    )
    await hello(client)
    assert await closed_with(client) == Close.SIGNED_OUT


async def test_a_failure_after_the_answer_is_not_written_into_the_frames(
    door: Served,
    client: Peer,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("secret")

    before = len(door.desk.hub.roster.connections)
    monkeypatch.setattr(door.desk.hub, "enter", fail)
    client.say(knock("user", key))
    await hello(client)
    assert await client.everything() == []
    assert len(door.desk.hub.roster.connections) == before
    (failed,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert failed.getMessage() == 'http.failed route="GET /api/v1/ws/user"'


@pytest.mark.parametrize("capped", [True, False])
async def test_the_kernel_hides_no_megabytes_of_a_socket(
    settings: Settings, board: Board, key: str, capped: bool
) -> None:
    async with fronted(settings, capped=capped) as door:
        client = await door.client()
        client.say(knock("demo", key))
        await hello(client)

        (connection,) = door.desk.hub.roster.connections
        assert connection.transport is not None
        inside = connection.transport.get_extra_info("socket")
        # Linux takes twice of what it is told, for its own book-keeping.
        size = inside.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert SEND_BUFFER <= size <= 2 * SEND_BUFFER
        await client.leave()


# Stopping


async def test_who_said_nothing_is_sent_away_when_nobody_listens_any_more(
    door: Served, key: str, eventually: Wait
) -> None:
    silent, half, idle = [await door.client() for _ in range(3)]
    half.say(knock("demo", key)[:-1])
    idle.say(VERSION)
    assert (await answer(idle)).status == 200
    await eventually(lambda: len(door.readers.waiting) == 2)
    await door.readers.close()
    for client in (silent, half):
        assert await asyncio.wait_for(client.reader.read(), 1 * pace.stretch()) == b""
    assert not door.readers.waiting
    idle.say(VERSION)
    assert (await answer(idle)).status == 200
    for client in (silent, half, idle):
        await client.leave()


async def test_who_was_accepted_at_last_is_heard(
    door: Served, client: Peer, eventually: Wait
) -> None:
    await eventually(lambda: len(door.readers.waiting) == 1)
    closing = asyncio.create_task(door.readers.close())
    await asyncio.sleep(0)
    client.say(VERSION)

    assert (await answer(client)).status == 200
    await closing


async def test_an_opening_under_way_is_waited_for(
    door: Served, client: Peer, key: str, eventually: Wait
) -> None:
    with held(door):
        client.say(knock("demo", key))
        await eventually(lambda: door.opening)
        await door.readers.close()
        end = asyncio.create_task(worker._requests_end(door.readers, door.runner))
        await asyncio.sleep(0.1)
        assert not end.done()
    await asyncio.wait_for(end, 2 * pace.stretch())
    assert not door.opening
    await hello(client)


async def test_who_came_in_at_last_is_told_goodbye_too(
    door: Served, client: Peer, key: str, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0)
    with held(door):
        client.say(knock("demo", key))
        await eventually(lambda: door.opening)
        end = asyncio.create_task(
            worker._drain(door.desk, [], door.readers, door.runner, retire=True)
        )
        await asyncio.sleep(0.3)
    await hello(client)
    assert await closed_with(client) == Close.GOING_AWAY
    await client.leave()
    await asyncio.wait_for(end, 5 * pace.stretch())


# TLS


async def test_over_tls(settings: Settings, board: Board, key: str, person: Invite) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with fronted(settings, server) as door:
        before = door.asked()
        client = await door.client(context)
        with held(door):
            client.say(knock("demo", key) + ping(1))
            for number in range(2, 8):
                client.say(ping(number, 60_000))
                await asyncio.sleep(0.01)
        await hello(client)
        assert await pongs(client, 7) == list(range(1, 8))
        assert door.asked() == before
        client.say(closing(1000))
        rest = await client.everything()
        assert rest[-1] == (CLOSE, b"\x03\xe8")
        await client.leave()

        ours, after = await answers(door, knock("nowhere", key), VERSION, tls=context)
        assert (ours.status, after.status) == (404, 200)
