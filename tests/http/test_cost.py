"""Nothing that may be sent holds a worker's loop: at most 50 ms of its processor's time, whatever
a body, a head, a query or a socket's message is made of; and no answer repeats more than a little
of it.

The server turns in a thread of its own, whose time on the processor is read before and after each
request, so that it does not matter what else the machine has to do.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import inspect

from tests.conftest import Board, serving
from tests.person import PASSWORD
from tests.realtime.raw import masked, take_frame
from tests.test_boards import fat
from warmdesk import app
from warmdesk.config import Settings
from warmdesk.http.body import BODY_LIMIT, texts
from warmdesk.http.route import STREAM, Route
from warmdesk.http.routing import BASE
from warmdesk.realtime.frames import CONTINUATION

MOST = 0.05
"""Seconds of the loop's thread on a processor."""
ECHO = 200
"""Characters of what was sent that an answer may repeat."""
AGAIN = 4
"""How often is measured before something is called slow: caches are shared with others."""

slow_cases = hypothesis_settings(
    max_examples=60,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Apart:
    """A server in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self._up, self._down = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serving(self.settings) as door:
            self.url = door.url
            self._up.set()
            await self._down.wait()

    def __enter__(self) -> Apart:
        self._thread.start()
        assert self._up.wait(30)
        assert self._thread.ident is not None
        self._clock = time.pthread_getcpuclockid(self._thread.ident)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(30)

    def spent(self) -> float:
        return time.clock_gettime(self._clock)

    def line(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=30)

    def ask(self, request: bytes) -> tuple[float, int, bytes]:
        """What a request cost the loop, its status, and head and body of the answer."""
        before = self.spent()
        with closing(self.line()) as line:
            try:
                line.sendall(request)
            except ConnectionError:
                pass  # it was answered before its end
            answer = b""
            try:
                while more := line.recv(1 << 20):
                    answer += more
            except ConnectionResetError:
                pass
        return self.spent() - before, int(answer[9:12] or 0), answer

    def cost(self, request: bytes) -> tuple[float, bytes]:
        """The least of some measurements, unless the first is small enough; and an answer."""
        least, answer = 9.0, b""
        for _ in range(AGAIN):
            took, _, answer = self.ask(request)
            least = min(least, took)
            if least < MOST / 2:
                break
        return least, answer


def head_of(method: str, target: str, *lines: str, body: bytes = b"", token: str = "") -> bytes:
    told = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *lines]
    if body or method not in ("GET", "HEAD", "DELETE"):
        told += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if token:
        told.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*told, "", ""]).encode("latin-1") + body


@pytest.fixture
def board(furnished: tuple[str, Board]) -> Board:
    """The project demo. No mirror follows it: it would wait for this process."""
    return furnished[1]


@pytest.fixture
def apart(board: Board, settings: Settings) -> Iterator[Apart]:
    with Apart(settings) as running:
        yield running


@pytest.fixture
def token(apart: Apart) -> str:
    body = json.dumps({"login": "olga", "password": PASSWORD}).encode()
    _, _, answer = apart.ask(head_of("POST", f"{BASE}/auth/login", body=body))
    found: str = json.loads(answer.partition(b"\r\n\r\n")[2])["access_token"]
    return found


ROUTES = [each for each in app.resources() if each.body is not None and not each.stays]
PLACES = {
    "slug": "demo",
    "session_id": "0198c5f2-5d0a-7c1e-9f0a-2b1c3d4e5f60",
    "emoji": "%F0%9F%91%8D",
}


def target_of(route: Route) -> str:
    return BASE + re.sub(r"{(\w+)}", lambda found: PLACES.get(found[1], "1"), route.path)


def names_of(route: Route) -> list[str]:
    told = inspect.type_info(route.body)
    parts = told.types if isinstance(told, inspect.UnionType) else (told,)
    found = [
        field.encode_name
        for part in parts
        if isinstance(part, inspect.StructType)
        for field in part.fields
    ]
    return found or ["body"]


UNITS: dict[str, bytes] = {
    "empty texts": b'"",',
    "texts": b'"a",',
    "objects": b'{"a":{}},',
    "arrays": b"[],",
    "deep": b"[" * 60 + b"]" * 60 + b",",
    "quotes and brackets": b'"\\"",[],',
    "escaped brackets": b'"\\\\[\\"]",[[]],',
    "numbers": b"1e308,",
    "whole numbers": b"12345678901234567,",
    "huge numbers": b"9" * 4000 + b",",
    "nuls": b'"\\u0000",',
    "nearly nuls": b'"\\\\u0000",',
    "surrogates": b'"\\ud800",',
    "pairs": b'"\\ud83d\\ude00",',
    "truths": b"true,",
    "beyond ASCII": '"é👍",'.encode(),
}
TEXTS: dict[str, bytes] = {
    "letters": b"x",
    "backslashes": b"\\\\",
    "odd backslashes": b"\\",
    "quotes": b'\\"',
    "escapes": b"\\u0041",
    "nuls": b"\\u0000",
    "surrogates": b"\\ud800",
    "spaces": b" ",
    "brackets": b"[{",
    "emojis": "👍".encode(),
    "line ends": b"\\n",
}
KEYS = ("one long", "many", "the same", "the same escaped")


class Long(bytes):
    """Bytes that nobody wants to see whole: hypothesis shows what it has drawn."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:60])!r}>"


def filled(unit: bytes, room: int, before: bytes, after: bytes) -> bytes:
    """As often this as there is room for."""
    return Long(before + unit * max(0, (room - len(before) - len(after)) // len(unit)) + after)


@st.composite
def bodies(draw: st.DrawFn, name: str, most: int) -> bytes:
    """A body of the kinds that cost most, its weight in one field or beside all of them."""
    size = draw(st.sampled_from([most, most, most // 2, 16 << 10, 2000]))
    size = min(size, most)
    quoted = name.encode()
    last = draw(st.sampled_from([b"1", b'"\\u0000"', b'"\\ud800"', b"NaN", b"null", b""]))
    shape = draw(st.sampled_from(["array", "text", "key", "unclosed", "keys", "bare"]))
    if shape == "array":
        key = draw(st.sampled_from([quoted, b"k", b"k" * (size // 2)]))
        unit = UNITS[draw(st.sampled_from(sorted(UNITS)))]
        return filled(unit, size, b'{"%b":[' % key, last + b"]}")
    if shape == "text":
        text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
        return filled(text, size, b'{"%b":"' % quoted, b'","z":%b}' % (last or b"1"))
    if shape == "key":
        text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
        return filled(text, size, b'{"', b'":%b}' % (last or b"1"))
    if shape == "unclosed":
        texts = {**UNITS, **TEXTS}
        return filled(texts[draw(st.sampled_from(sorted(texts)))], size, b'{"%b":["' % quoted, b"")
    if shape == "bare":
        texts = {**UNITS, **TEXTS}
        return filled(texts[draw(st.sampled_from(sorted(texts)))], size, b"", b"u0000")
    kind = draw(st.sampled_from(KEYS))
    value = b'"%b":%b' % (quoted, last or b'""')
    if kind == "one long":
        return filled(b"k", size, b'{"', b'":%b}' % (last or b"1"))
    if kind == "many":
        rows = b",".join(b'"k%d":1' % number for number in range(size // 12))
        return b"{" + rows + b"," + value + b"}"
    escaped = b'"%b\\u00%02x":"",' % (quoted[:-1], quoted[-1])
    return filled(escaped if kind != "the same" else b'"%b":"",' % quoted, size, b"{", value + b"}")


def repeated(answer: bytes) -> int:
    """The longest stretch of a character that answers of ours have no two hundred of."""
    return max((len(found[0]) for found in re.finditer(rb"(.)\1{40,}", answer)), default=0)


KNOWN_WORST = b'{"' + b"k" * 500_000 + b'":[' + b'"",' * 180_000 + b'"\\u0000"]}'


async def test_no_body_holds_the_loop(apart: Apart, token: str) -> None:
    @given(st.data())
    @example(None)
    @slow_cases
    def send(data: st.DataObject | None) -> None:
        if data is None:
            route = next(each for each in ROUTES if each.path == "/users/me")
            body = KNOWN_WORST
        else:
            route = data.draw(st.sampled_from(ROUTES))
            body = data.draw(bodies(data.draw(st.sampled_from(names_of(route))), BODY_LIMIT))
        request = head_of(route.method, target_of(route), body=body, token=token)
        took, answer = apart.cost(request)
        assert took < MOST, (route.method, route.path, len(body), body[:60], answer[:200])
        head, _, told = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            assert len(told) < 2000, (route.path, body[:60], told[:300])
            # Characters: some are two bytes of JSON, some six.
            for _, text in texts(json.loads(told)):
                assert repeated(text.encode()) <= ECHO, (route.path, body[:60], told[:300])

    send()


EVERY_FIELD: dict[str, tuple[bytes, bytes, bytes]] = {
    "a long text": (b'"', b"x", b'"'),
    "spaces": (b'"', b" ", b'"'),
    "numbers": (b"[", b"1,", b"0]"),
    "texts": (b"[", b'"a",', b'""]'),
    "objects": (b"[", b'{"id":1,"position":2},', b'{"id":"x"}]'),
}


@pytest.mark.parametrize("kind", EVERY_FIELD)
async def test_to_find_what_is_wrong_with_every_field_holds_no_loop(
    apart: Apart, token: str, kind: str
) -> None:
    before, unit, after = EVERY_FIELD[kind]
    for route in ROUTES:
        names = names_of(route)
        limit = BODY_LIMIT if route.need is not None else apart.settings.public_body_bytes
        room = limit // len(names) - 200
        members = [b'"%b":' % name.encode() + filled(unit, room, before, after) for name in names]
        body = Long(b"{" + b",".join(members) + b"}")
        took, answer = apart.cost(head_of(route.method, target_of(route), body=body, token=token))
        assert took < MOST, (route.method, route.path, kind, took)
        told = json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")
        if answer.startswith(b"HTTP/1.1 400"):
            assert told.get("fields"), (route.path, told)


async def test_a_body_with_180_000_texts_costs_a_stranger_more_than_the_loop(apart: Apart) -> None:
    for route in ROUTES:
        if route.need is None:
            took, answer = apart.cost(head_of(route.method, target_of(route), body=KNOWN_WORST))
            assert took < MOST, (route.path, took)
            assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]


HEADERS = (
    "X-Forwarded-For",
    "Authorization",
    "X-API-Key",
    "Origin",
    "Cookie",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Idempotency-Key",
    "X-Request-Id",
    "X-Client-Id",
    "Range",
    "Accept",
    "Sec-WebSocket-Protocol",
    "Upgrade",
    "Forwarded",
    "Expect",
    "Zzz",
)
STUFF = ("x", "1,", " ", ";a=b", '"', "(", "\\", "[::1],", "a=", 'W/"1",', "%", "\xe9", "..", ",")


@st.composite
def heads(draw: st.DrawFn, token: str) -> bytes:
    """A head near the limits: long values, many of them, many parameters, escapes."""
    known = [target_of(each) for each in app.resources() if each.produces != (STREAM,)]
    target = draw(st.sampled_from([*known, "/", "/openapi.json", f"{BASE}/nowhere"]))
    unit = draw(
        st.sampled_from(
            [
                *("a", "a=b&", "&", "since=1&", "tag=x&", "%41", "%", "%ff", "%00&", "a=%2500&"),
                *("limit=9&", "q=%F0%9F%91%8D", "=", "&&&", ";", "/x", "/%2e%2e", "//", "+"),
                *("cursor=", "label=1&", "before=1"),
            ]
        )
    )
    room = draw(st.sampled_from([0, 100, 4000, 7900]))
    target += draw(st.sampled_from(["?", "?q=", "?limit=", "/", "?cursor="])) * (room > 0)
    target += unit * (room // len(unit))
    lines = []
    count = draw(st.sampled_from([0, 1, 4, 120]))
    name = draw(st.sampled_from(HEADERS))
    stuff = draw(st.sampled_from(STUFF))
    size = draw(st.sampled_from([10, 1000, 8000]))
    for _ in range(count):
        lines.append(f"{name}: {(stuff * size)[:size]}")
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]))
    return Long(head_of(method, target, *lines, token=draw(st.sampled_from(["", token]))))


async def test_no_head_holds_the_loop(apart: Apart, token: str) -> None:
    @given(heads(token))
    @slow_cases
    def send(request: bytes) -> None:
        took, answer = apart.cost(request)
        assert took < MOST, (took, request[:100], answer[:200])
        if not answer.startswith(b"HTTP/1.1 2"):
            assert repeated(answer) <= ECHO, (request[:100], answer[:600])

    send()


# Sockets

SHAKE = (
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Talker:
    """A raw socket on the project, with blocking reads."""

    def __init__(self, apart: Apart, token: str) -> None:
        self.apart, self.line, self.rest = apart, apart.line(), b""
        lines = ["GET /api/v1/ws/demo HTTP/1.1", "Host: x", "Connection: Upgrade", *SHAKE]
        lines.append(f"Authorization: Bearer {token}")
        self.line.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.line.recv(1 << 16)
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def frames(self) -> Iterator[bytes]:
        while True:
            while (taken := take_frame(self.rest)) is not None:
                self.rest = taken[2]
                yield taken[1]
            more = self.line.recv(1 << 16)
            if not more:
                return
            self.rest += more

    def say(self, data: bytes) -> tuple[float, int]:
        """What it cost, and the longest frame that came until the answer to a ping after it."""
        longest, before = 0, self.apart.spent()
        try:
            self.line.sendall(data + masked('{"type":"ping","id":"the last"}'))
            for frame in self.frames():
                longest = max(longest, len(frame))
                if b"the last" in frame:
                    break
        except ConnectionError:
            pass
        return self.apart.spent() - before, longest


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    most = 65_400
    kind = draw(st.sampled_from(["ping", "chat.send", "chat.edit", "sync", "zzz", "auth.refresh"]))
    units = {**UNITS, **TEXTS}
    unit = units[draw(st.sampled_from(sorted(units)))]
    before, after = draw(
        st.sampled_from(
            [
                (b'{"type":"%b","id":"' % kind.encode(), b'"}'),
                (b'{"type":"%b","id":[' % kind.encode(), b"1]}"),
                (b'{"type":"%b","client_id":"' % kind.encode(), b'"}'),
                (b'{"type":"%b","payload":{"body":"' % kind.encode(), b'"}}'),
                (b'{"type":"%b","payload":{"since":[' % kind.encode(), b"1]}}"),
                (b'{"type":"', b'"}'),
                (b'{"', b'":1,"type":"ping"}'),
                (b"", b""),
            ]
        )
    )
    return filled(unit, most, before, after)


async def test_no_message_of_a_socket_holds_the_loop(apart: Apart, token: str) -> None:
    @given(messages())
    @example(Long(b'{"type":"auth.refresh","id":[' + b"1e308," * 10_890 + b"1]}"))
    @slow_cases
    def send(text: bytes) -> None:
        least = 9.0
        for _ in range(AGAIN):
            talker = Talker(apart, token)
            with closing(talker.line):
                took, longest = talker.say(masked(text))
            least = min(least, took)
            if least < MOST / 2:
                break
        assert least < MOST, (least, text[:60])
        assert longest < 1500 or b"users" in text, (longest, text[:60])

    send()


@pytest.mark.parametrize("size", [0, 1, 2, 100])
async def test_no_row_of_small_frames_holds_the_loop(apart: Apart, token: str, size: int) -> None:
    """So many as one read of the socket brings: a quarter of a megabyte."""
    part = masked("x" * size, CONTINUATION, final=False)
    many = min((256 << 10) // len(part), 65_000 // max(1, size))
    frames = masked("x", final=False) + part * many
    took = []
    for _ in range(AGAIN):
        talker = Talker(apart, token)
        with closing(talker.line):
            took.append(talker.say(frames + masked("x", CONTINUATION))[0])
    assert min(took) < MOST


@pytest.mark.parametrize("path", ["", "/columns/{column}/cards?limit=500"])
async def test_no_answer_that_is_gzipped_holds_the_loop(
    apart: Apart, token: str, board: Board, connection: Any, path: str
) -> None:
    """The largest board there can be, and a page of it; of texts that are hard to pack."""
    text = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz     ", k=100_000))
    await fat(connection, board, 400, text)
    target = f"{BASE}/projects/demo{path.format(column=board.backlog)}"
    least, answer = apart.cost(head_of("GET", target, "Accept-Encoding: gzip", token=token))
    assert b"\r\nContent-Encoding: gzip\r\n" in answer
    assert least < MOST
