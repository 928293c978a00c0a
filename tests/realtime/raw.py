"""A WebSocket client that says every byte itself, and a tiny server around `Connection`.

The server's handler does what a door does: check, ask (a delay stands for it), adopt, join.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import uvloop
from aiohttp import web

from tests import pace
from warmdesk.errors import WarmDeskError
from warmdesk.realtime.connection import Connection, Kind
from warmdesk.realtime.frames import CLOSE, TEXT, frame
from warmdesk.realtime.handshake import adopt, check_handshake

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

T = TypeVar("T")


def both_loops(story: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    """The test runs twice: on asyncio's own loop and on uvloop. Fixtures must be synchronous."""

    @functools.wraps(story)
    def run(*args: Any, loop_factory: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(story(*args, **kwargs))

    del run.__wrapped__
    names = [inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)]
    own = inspect.signature(story).parameters.values()
    run.__signature__ = inspect.Signature([*own, *names])  # type: ignore[attr-defined]
    factories = [asyncio.SelectorEventLoop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", factories, ids=["asyncio", "uvloop"])(run)


async def until(true: Callable[[], T], seconds: float = 10) -> T:
    """Wait until something is true, and return it."""
    async with asyncio.timeout(seconds):
        while not (value := true()):
            await asyncio.sleep(0.005)
        return value


def masked(
    payload: bytes | str = b"",
    opcode: int = TEXT,
    *,
    final: bool = True,
    rsv: int = 0,
    mask: bytes = b"\x37\xfa\x21\x3d",
    form: int | None = None,
    size: int | None = None,
) -> bytes:
    """A client's frame; `form` (7, 16, 64) and `size` make lengths that are wrong."""
    body = payload.encode() if isinstance(payload, str) else payload
    size = len(body) if size is None else size
    form = form or (7 if size < 126 else 16 if size < 65_536 else 64)
    first = (0x80 if final else 0) | rsv | opcode
    head = {
        7: struct.pack("!BB", first, 0x80 | size & 0x7F),
        16: struct.pack("!BBH", first, 0x80 | 126, size & 0xFFFF),
        64: struct.pack("!BBQ", first, 0x80 | 127, size),
    }[form]
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))


def closing(code: int | None, reason: bytes = b"") -> bytes:
    """A client's Close."""
    return masked(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


def take_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """A server's first frame: its opcode, its payload, the rest; None when it is not all here."""
    if len(data) < 2:
        return None
    size, at = data[1], 2
    assert data[0] & 0x70 == 0
    assert data[0] & 0x80, "a server's frames are whole"
    assert size < 128, "a server's frames are not masked"
    if size == 126:
        if len(data) < 4:
            return None
        size, at = struct.unpack_from("!H", data, 2)[0], 4
        assert size > 125
    elif size == 127:
        if len(data) < 10:
            return None
        size, at = struct.unpack_from("!Q", data, 2)[0], 10
        assert size > 65_535
    if len(data) < at + size:
        return None
    return data[0] & 0x0F, data[at : at + size], data[at + size :]


def all_frames(data: bytes) -> list[tuple[int, bytes]]:
    """All frames that a server wrote; nothing else may be there."""
    found = []
    while data:
        taken = take_frame(data)
        assert taken is not None, data[:40]
        found.append(taken[:2])
        data = taken[2]
    return found


class TinyRoom:
    """Everybody hears everything; slow readers are skipped until they drained."""

    def __init__(self) -> None:
        self.ready: dict[Connection, None] = {}
        self.slow: dict[Connection, None] = {}

    def paused(self, connection: Connection) -> None:
        del self.ready[connection]
        self.slow[connection] = None

    def resumed(self, connection: Connection) -> None:
        del self.slow[connection]
        self.ready[connection] = None

    def closes(self, connection: Connection) -> None:
        pass

    def deliver(self, text: bytes) -> None:
        made = frame(text)
        for connection in list(self.ready):
            connection.write(made)


class TinyDesk:
    """A server with one room. What its sockets said, and how they ended, is noted."""

    def __init__(self) -> None:
        self.room = TinyRoom()
        self.port = 0
        self.said: list[tuple[Connection, bytes]] = []
        self.refusals: list[Kind] = []
        self.ended: list[int] = []
        self.failed: list[BaseException] = []
        self.connections: list[Connection] = []
        self.ask: Callable[[web.Request], Awaitable[None]] | None = None
        self.hello = frame(b"hello")
        self.limits = True
        self.answered: list[int] = []
        self.late: Callable[[], Awaitable[None]] | None = None
        self.stop: Callable[[], Awaitable[None]]

    def received(self, connection: Connection, text: bytes) -> None:
        assert connection.room is self.room, "nothing is heard before it has its place"
        self.said.append((connection, text))

    def refused(self, connection: Connection, kind: Kind, text: bytes) -> None:
        self.refusals.append(kind)

    def closed(self, connection: Connection, code: int) -> None:
        self.room.ready.pop(connection, None)
        self.room.slow.pop(connection, None)
        self.ended.append(code)

    def connection(self) -> Connection:
        return Connection(
            received=self.received, refused=self.refused, closed=self.closed, limits=self.limits
        )

    async def enter(self, request: web.Request) -> web.StreamResponse:
        check_handshake(request)
        if self.ask is not None:
            await self.ask(request)
        connection = self.connection()
        offered = request.headers.get("Sec-WebSocket-Protocol")
        protocol = offered.split(",")[0] if offered else None
        adopted = adopt(request, connection, first=self.hello, protocol=protocol)
        connection.room = self.room
        (self.room.slow if connection.paused_since else self.room.ready)[connection] = None
        self.connections.append(connection)
        return adopted

    @web.middleware
    async def errors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answers as the real server does; notes what the real one would log as a failure."""
        try:
            answer: web.StreamResponse = await handler(request)
        except WarmDeskError as error:
            answer = web.json_response(
                {"error": error.message}, status=error.status, headers=error.headers
            )
        except web.HTTPException:
            raise
        except Exception as error:
            self.failed.append(error)
            raise
        answer.headers["X-Content-Type-Options"] = "nosniff"
        if self.late is not None:
            await self.late()
        self.answered.append(answer.status)
        return answer


@asynccontextmanager
async def serving(
    *, tls: ssl.SSLContext | None = None, handler_cancellation: bool = False
) -> AsyncIterator[TinyDesk]:
    """A tiny server on a free port."""
    desk = TinyDesk()
    app = web.Application(middlewares=[desk.errors])
    app.router.add_get("/ws", desk.enter)

    async def other(request: web.Request) -> web.Response:
        return web.Response(text=await request.text() or "here")

    app.router.add_route("*", "/other", other)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=1, handler_cancellation=handler_cancellation
    )
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listening.setblocking(False)
    desk.port = listening.getsockname()[1]
    await web.SockSite(runner, listening, ssl_context=tls).start()
    desk.stop = runner.cleanup
    try:
        yield desk
    finally:
        for connection in desk.connections:
            connection.abort()
        await until(lambda: len(desk.ended) == len(desk.connections))
        await runner.cleanup()
    assert desk.failed == []


class Peer:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.rest = b""

    async def frame(self, seconds: float = 5) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Raises EOFError at the end."""
        async with asyncio.timeout(seconds):
            while (taken := take_frame(self.rest)) is None:
                more = await self.reader.read(1 << 16)
                if not more:
                    raise EOFError
                self.rest += more
        self.rest = taken[2]
        return taken[:2]

    async def everything(self, seconds: float = 5) -> list[tuple[int, bytes]]:
        """All frames until the server ends the connection."""
        async with asyncio.timeout(seconds):
            return all_frames(self.rest + await self.reader.read())

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def leave(self) -> None:
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


@asynccontextmanager
async def peer(
    desk: TinyDesk,
    *,
    tls: ssl.SSLContext | None = None,
    request: bytes = HANDSHAKE,
    receive_buffer: int | None = None,
    segment: int | None = None,
    limit: int = 1 << 16,
) -> AsyncIterator[Peer]:
    """A raw client that shook hands and read the hello. `segment`: bytes of a packet, on loopback
    65,483 and elsewhere 1,460.
    """
    plain = socket.socket()
    plain.setblocking(False)
    if segment:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", desk.port))
    name = "localhost" if tls else None
    streams = await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=name, limit=limit)
    client = Peer(*streams)
    client.say(request)
    try:
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert ACCEPTED in head
        assert await client.frame() == (TEXT, b"hello")
        yield client
    finally:
        await client.leave()


async def fill(desk: TinyDesk, connection: Connection) -> None:
    """Deliver large texts until the connection is a slow reader."""
    while not connection.paused_since:
        desk.room.deliver(b"x" * 50_000)
        await asyncio.sleep(0)


async def settled(connection: Connection) -> float:
    """Wait until the kernel's buffers are full, too; since when nothing was taken."""
    quiet, since = 0, 0.0
    while quiet < 20:
        connection.tick(time.monotonic())
        quiet = quiet + 1 if connection.stalled_since == since else 0
        since = connection.stalled_since
        await asyncio.sleep(0.01)
    return since
