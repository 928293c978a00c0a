"""Clients that no server wishes for: readers that stall or trickle, and talkers of nonsense.

Each says and reads every byte itself, so that no library hides what the server does: a reader that
stalls leaves its bytes in the kernel, one that trickles takes exactly as many as it says. All are
small functions of a server's address, an access token and a project's slug; what they saw is
counted in a `Tally`.

The bad frames are those that RFC 6455 forbids (5.1 to 5.6, 7.4, 8.1), and texts that are no
message of ours.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.realtime.raw import closing, masked, take_frame
from warmdesk.realtime.frames import BINARY, CLOSE, CONTINUATION, MESSAGE_LIMIT, PING, PONG, TEXT

ESTABLISHED = 1
"""The first byte of Linux' TCP_INFO while neither side has ended the connection."""

LOST = 1006
"""The code when a socket ended without a Close (RFC 6455, 7.4.1)."""

SMALL_BUFFER = 4096
"""Bytes of a reader's buffer in the kernel: without a cap megabytes would hide there."""


class Refused(Exception):
    """The handshake was answered with a status other than 101."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the handshake was answered with {status}")


@dataclass
class Tally:
    """What a crowd has seen so far. `lives`: how long each socket that ended was open, seconds."""

    opened: int = 0
    open: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    lives: list[float] = field(default_factory=list)
    taken: int = 0

    def came(self) -> None:
        self.opened += 1
        self.open += 1

    def ended(self, code: int, life: float) -> None:
        self.open -= 1
        self.codes[code] += 1
        self.lives.append(life)


class Line:
    """One TCP connection, with TLS or without, that reads only when it is told to."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._tls: ssl.SSLObject | None = None
        self._coming, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.rest = b""

    @classmethod
    async def open(
        cls, url: str, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
    ) -> Line:
        """Connect to a server's address; over TLS when a context is given."""
        place = urlsplit(url)
        plain = socket.socket()
        plain.setblocking(False)
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        line = cls(plain)
        try:
            await asyncio.get_running_loop().sock_connect(plain, (place.hostname, place.port))
            if tls is not None:
                await line._begin_tls(tls, place.hostname or "")
        except BaseException:
            plain.close()
            raise
        return line

    async def _begin_tls(self, tls: ssl.SSLContext, name: str) -> None:
        self._tls = tls.wrap_bio(self._coming, self._leaving, server_hostname=name)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._coming.write(await self._receive(1 << 16))
            else:
                return await self._flush()

    async def say(self, data: bytes) -> None:
        """Send all of it. Raises OSError when the server has ended the connection."""
        if self._tls is None:
            await asyncio.get_running_loop().sock_sendall(self._plain, data)
        else:
            self._tls.write(data)
            await self._flush()

    async def take(self, most: int = 1 << 16, *, seconds: float = 10.0) -> bytes:
        """Read at most so many bytes; nothing at the end, however it came."""
        try:
            async with asyncio.timeout(seconds):
                if self._tls is None:
                    return await self._receive(most)
                while True:
                    try:
                        return self._tls.read(most)
                    except ssl.SSLWantReadError:
                        more = await self._receive(most)
                        if not more:
                            return b""
                        self._coming.write(more)
                    except ssl.SSLError:
                        return b""
        except ConnectionError:
            return b""

    async def frame(self, *, seconds: float = 10.0) -> tuple[int, bytes]:
        """The next frame: its opcode and payload. Raises EOFError at the end."""
        while (taken := take_frame(self.rest)) is None:
            more = await self.take(seconds=seconds)
            if not more:
                raise EOFError
            self.rest += more
        self.rest = taken[2]
        return taken[:2]

    async def close_code(self, *, seconds: float = 10.0) -> int:
        """Read all frames until the server ends the connection: the code of its Close, or 1006."""
        code = LOST
        async with asyncio.timeout(seconds):
            while True:
                try:
                    opcode, payload = await self.frame(seconds=seconds)
                except EOFError:
                    return code
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big") or 1005

    async def _receive(self, most: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._plain, most)

    async def _flush(self) -> None:
        if out := self._leaving.read():
            await asyncio.get_running_loop().sock_sendall(self._plain, out)

    @property
    def is_over(self) -> bool:
        """Whether the server ended the connection; found out without reading from it."""
        info = self._plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] != ESTABLISHED

    @property
    def port(self) -> int:
        """Our end's port."""
        return int(self._plain.getsockname()[1])

    def leave(self) -> None:
        """Reset the connection."""
        self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._plain.close()


async def shake(
    url: str,
    token: str,
    slug: str,
    *,
    since: int | None = None,
    receive_buffer: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> Line:
    """Open a WebSocket; its frames are still to be read. Raises `Refused`."""
    line = await Line.open(url, receive_buffer=receive_buffer, tls=tls)
    query = "" if since is None else f"?since={since}"
    try:
        await line.say(handshake(token, f"{slug}{query}"))
        head = b""
        while b"\r\n\r\n" not in head:
            more = await line.take(4096, seconds=30)
            if not more:
                raise EOFError
            head += more
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Refused(int(head[9:12]))
    except BaseException:
        line.leave()
        raise
    line.rest = head.partition(b"\r\n\r\n")[2]
    return line


async def stall(
    url: str,
    token: str,
    slug: str,
    over: asyncio.Event,
    tally: Tally,
    *,
    since: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Open a socket and never read from it, until the server ends it or all is `over`."""
    await _suffer(url, token, slug, over, tally, 0, since, tls)


async def trickle(
    url: str,
    token: str,
    slug: str,
    over: asyncio.Event,
    tally: Tally,
    *,
    bytes_a_second: int = 500,
    since: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Open a socket and read so little from it that it always takes something, and never all."""
    await _suffer(url, token, slug, over, tally, bytes_a_second, since, tls)


async def _suffer(
    url: str,
    token: str,
    slug: str,
    over: asyncio.Event,
    tally: Tally,
    bytes_a_second: int,
    since: int | None,
    tls: ssl.SSLContext | None,
) -> None:
    line = await shake(url, token, slug, since=since, receive_buffer=SMALL_BUFFER, tls=tls)
    began = time.monotonic()
    tally.came()
    try:
        while not over.is_set() and not line.is_over:
            await asyncio.sleep(0.25)
            if bytes_a_second:
                more = await line.take(max(1, bytes_a_second // 4), seconds=90)
                tally.taken += len(more)
                line.rest += more
        if not over.is_set():
            tally.ended(await line.close_code(seconds=90), time.monotonic() - began)
    finally:
        line.leave()


# Offences


@dataclass(frozen=True)
class Offence:
    """Bytes that break the protocol, and the code of the Close that answers them."""

    name: str
    code: int
    make: Callable[[random.Random], bytes]


PING_TEXT = masked('{"type":"ping","payload":{}}')
HALF = masked(b"x" * (MESSAGE_LIMIT // 2 + 1), final=False)
NOT_UTF8 = [
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
]
UNKNOWN_KINDS = [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF]
UNSENDABLE = [0, 999, 1004, 1005, 1006, 1012, 1015, 1016, 2999, 5000, 65_535]

NO_MESSAGES = [
    *(
        "",
        "{",
        "[]",
        "null",
        "17",
        '"ping"',
        "{}",
        '{"type":7}',
        '{"type":null}',
        "{'type':'ping'}",
    ),
    *("[" * 20_000, "\x00", '{"type":"ping"', "NaN", "GET / HTTP/1.1\r\n\r\n"),
]
"""Texts without a type: three of them end a socket."""

OFFENCES = [
    Offence("a frame without a mask", 1002, lambda chance: b"\x81\x05hello"),
    Offence(
        "a reserved bit",
        1002,
        lambda chance: masked(
            "hello", chance.choice([TEXT, PING, CLOSE]), rsv=chance.choice([0x20, 0x10, 0x30])
        ),
    ),
    Offence(
        "compressed, though nothing was agreed on",
        1002,
        lambda chance: masked(b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=0x40),
    ),
    Offence(
        "an unknown kind of frame",
        1002,
        lambda chance: masked("hello", chance.choice(UNKNOWN_KINDS)),
    ),
    Offence(
        "a control frame in fragments",
        1002,
        lambda chance: masked("hello", chance.choice([PING, PONG, CLOSE]), final=False),
    ),
    Offence(
        "a control frame of more than 125 bytes",
        1002,
        lambda chance: masked(
            b"x" * chance.choice([126, 200, 70_000]), chance.choice([PING, PONG, CLOSE])
        ),
    ),
    Offence(
        "a length that is not the shortest",
        1002,
        lambda chance: masked("hello", form=chance.choice([16, 64])),
    ),
    Offence(
        "a length with its highest bit",
        1002,
        lambda chance: masked("hello", form=64, size=1 << 63 | chance.randrange(1 << 40)),
    ),
    Offence(
        "a continuation of nothing",
        1002,
        lambda chance: masked("hello", CONTINUATION, final=chance.random() < 0.5),
    ),
    Offence(
        "a message within a message",
        1002,
        lambda chance: masked("hel", final=False) + masked("lo", TEXT),
    ),
    Offence(
        "a binary frame",
        1003,
        lambda chance: masked(chance.randbytes(chance.randrange(300)), BINARY),
    ),
    Offence(
        "a text that is not UTF-8",
        1007,
        lambda chance: masked(b'{"type":"' + chance.choice(NOT_UTF8) + b'"}'),
    ),
    Offence(
        "a text in fragments that is not UTF-8",
        1007,
        lambda chance: masked(b'{"\xc3', final=False) + masked(b'x"}', CONTINUATION),
    ),
    Offence(
        "a text that is too long",
        1009,
        lambda chance: masked(b"x" * (MESSAGE_LIMIT + 1))[
            : chance.choice([14, 1000, MESSAGE_LIMIT + 15])
        ],
    ),
    Offence(
        "a text that says it is endless",
        1009,
        lambda chance: masked(
            b"xxxx", form=64, size=chance.choice([MESSAGE_LIMIT + 1, 1 << 40, (1 << 63) - 1])
        ),
    ),
    Offence(
        "fragments that are too long together",
        1009,
        lambda chance: HALF + masked(b"x" * (MESSAGE_LIMIT // 2 + 1), CONTINUATION),
    ),
    Offence("a Close of one byte", 1002, lambda chance: masked(b"\x03", CLOSE)),
    Offence(
        "a Close with a code that may not be sent",
        1002,
        lambda chance: closing(chance.choice(UNSENDABLE)),
    ),
    Offence("a Close whose reason is not UTF-8", 1007, lambda chance: closing(1000, b"\xff\xfe")),
    Offence(
        "frames after a Close",
        1000,
        lambda chance: (
            closing(1000) + PING_TEXT * chance.randrange(1, 5) + b"\xff" * chance.randrange(100)
        ),
    ),
    Offence(
        "three texts that are no messages",
        4400,
        lambda chance: b"".join(masked(chance.choice(NO_MESSAGES)) for _ in range(3)),
    ),
]
"""Each ends a socket by itself."""

DEEP = '{"type":"chat.send","payload":{"body":' + "[" * 5000 + "]" * 5000 + "}}"

BAD_MESSAGES = [
    *('{"type":"nothing"}', '{"type":"ping","id":{"a":[1]}}', '{"type":"sync","payload":{}}'),
    '{"type":"sync","payload":{"since":-1}}',
    '{"type":"sync","payload":{"since":1e400}}',
    '{"type":"sync","payload":{"since":99999999999999999999999999}}',
    '{"type":"chat.send","payload":{"body":7}}',
    '{"type":"chat.send","payload":{"body":""}}',
    '{"type":"chat.send","payload":null}',
    '{"type":"chat.edit","payload":{"message_id":999999,"body":"x"}}',
    '{"type":"chat.delete","payload":{"message_id":-1}}',
    '{"type":"auth.refresh","payload":{"token":"x"}}',
    '{"type":"' + "x" * 60_000 + '"}',
    '{"type":' * 3000,
    DEEP,
]
"""Messages that cannot be carried out: each is answered with an error, and none ends a socket."""


def annoyance(chance: random.Random) -> bytes:
    """One frame that is wrong, or odd, and that a socket survives."""
    kind = chance.random()
    if kind < 0.6:
        return masked(chance.choice(BAD_MESSAGES))
    if kind < 0.8:
        return masked(chance.randbytes(chance.randrange(126)), chance.choice([PING, PONG]))
    text = chance.choice(BAD_MESSAGES).encode()
    place = chance.randrange(len(text) + 1)
    return (
        masked(text[:place], final=False)
        + masked(b"odd", PING)
        + masked(text[place:], CONTINUATION)
    )


async def offend(
    url: str,
    token: str,
    slug: str,
    offence: Offence,
    chance: random.Random,
    *,
    annoyances: int = 0,
    seconds: float = 20.0,
) -> int:
    """Open a socket, be annoying so many times, commit one offence: the code that it ends with."""
    line = await shake(url, token, slug)
    try:
        talk = b"".join(annoyance(chance) for _ in range(annoyances)) + offence.make(chance)
        said = asyncio.create_task(_say_in_pieces(line, talk, chance))
        try:
            return await line.close_code(seconds=seconds)
        finally:
            said.cancel()
            await asyncio.gather(said, return_exceptions=True)
    finally:
        line.leave()


async def _say_in_pieces(line: Line, talk: bytes, chance: random.Random) -> None:
    """A network cuts anywhere."""
    while talk:
        size = chance.choice([1, 7, 100, 5000, len(talk)])
        await line.say(talk[:size])
        talk = talk[size:]


# Requests


REQUESTS: list[tuple[str, bytes, frozenset[int]]] = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50, frozenset({400})),
    ("no version", b"GET /\r\n\r\n", frozenset({400, 404})),
    ("a wrong version", b"GET / HTTP/9.x\r\nHost: x\r\n\r\n", frozenset({400})),
    ("a header without a colon", b"GET / HTTP/1.1\r\nHost x\r\n\r\n", frozenset({400})),
    ("a NUL in a header", b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", frozenset({400})),
    ("a head of a megabyte", b"GET / HTTP/1.1\r\nA: " + b"x" * (1 << 20), frozenset({400})),
    ("a path of 100 KB", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", frozenset({400, 414})),
    (
        "ten thousand headers",
        b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        frozenset({200, 400, 431}),
    ),
    (
        "two lengths",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\nxx",
        frozenset({400}),
    ),
    (
        "a length and chunks",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        frozenset({400}),
    ),
    (
        "a chunk of no size",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        frozenset({400}),
    ),
]
"""Heads that are no HTTP: a name, the bytes, the statuses that may answer them."""

BAD_BODIES = [
    *("", "{", "[]", "null", "NaN", "[" * 100_000, '{"a":' * 50_000, '"\\ud800"', "\x00"),
    '{"login":"alice","password":"' + "x" * 500_000 + '"}',
    '{"login":"\\u0000","password":"12345678"}',
    '{"login":1e999,"password":"x"}',
    "{" + ",".join(f'"k{n}":{n}' for n in range(5000)) + "}",
]
"""Bodies that are no request of ours."""

BAD_UPGRADES = [
    ({"Upgrade": "h2c"}, frozenset({426})),
    ({"Sec-WebSocket-Version": "8"}, frozenset({426})),
    ({"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 13"}, frozenset({426})),
    ({"Connection": "close"}, frozenset({400, 426})),
    ({"Sec-WebSocket-Key": "short"}, frozenset({400})),
    ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: x"}, frozenset({400})),
    ({"Content-Length": "5"}, frozenset({400})),
    ({"Origin": "https://evil.example"}, frozenset({403})),
    ({"Authorization": "Bearer x"}, frozenset({401})),
]
"""Headers that spoil a handshake, and the statuses that answer it."""


def handshake(token: str, place: str, change: Mapping[str, str] = {}) -> bytes:
    """A handshake for a project's slug, or ``user``, with some headers changed."""
    headers = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Authorization": f"Bearer {token}",
        **change,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET /api/v1/ws/{place} HTTP/1.1\r\n{lines}\r\n".encode()


def with_body(body: bytes) -> bytes:
    """A sign-in with this body."""
    return (
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def status_of(url: str, request: bytes, *, seconds: float = 20.0) -> int:
    """The status that answers these bytes; 0 when the connection just ends."""
    line = await Line.open(url)
    said = asyncio.create_task(line.say(request))
    try:
        answer = b""
        while len(answer) < 12 and (more := await line.take(4096, seconds=seconds)):
            answer += more
        return int(answer[9:12]) if answer else 0
    finally:
        said.cancel()
        await asyncio.gather(said, return_exceptions=True)
        line.leave()


async def hesitate(
    url: str, beginning: bytes, *, every: float = 0.5, seconds: float = 30.0
) -> float:
    """Send a request a byte at a time, for ever: how long the server bears it, in seconds."""
    line = await Line.open(url)
    began = time.monotonic()
    try:
        await line.say(beginning)
        while time.monotonic() - began < seconds:
            try:
                await line.say(b"x")
                if not await line.take(4096, seconds=every):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        return time.monotonic() - began
    finally:
        line.leave()
