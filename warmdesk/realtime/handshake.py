"""The way into a socket: the handshake of RFC 6455 (4.2), and the transport that changes hands.

A handshake that aiohttp read is an ordinary request: routing, authentication and JSON errors are
the same for sockets as for REST. Then `adopt` gives the transport to a `Connection`, answers 101
and makes aiohttp forget the socket: its task, parsers, request and timers are freed, and an idle
viewer costs a transport and one object with slots, 2 KiB instead of 14. A handshake that
`warmdesk.handshake_reader` read was never aiohttp's: `take_over` is enough.

A handler does it in this order::

    check_handshake(request)            400 or 426 before anybody is asked
    await …                             who is it, may they; whatever needs the database
    connection = Connection(received=…, refused=…, closed=…)
    adopted = adopt(request, connection, first=hello)      nothing is awaited from here …
    room.join(connection)                                  … to here, so nothing falls in between
    return adopted
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, cast

from aiohttp import HttpVersion11, web

from warmdesk.errors import BadRequest, WarmDeskError
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.frames import accept_key
from warmdesk.realtime.socket_buffers import cap


class ClientGone(WarmDeskError, ConnectionResetError):
    """The client went away before its handshake was answered; nobody will read this answer."""

    status = 499
    message = "the client went away"


class Adopted(web.StreamResponse):
    """The answer that writes nothing: the socket is no longer aiohttp's."""

    def __init__(self, status: int = 101) -> None:
        super().__init__(status=status)

    @property
    def prepared(self) -> bool:
        """Its head is written, or was another's."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def check_handshake(request: web.Request) -> None:
    """Raise 400 or 426 unless this is a WebSocket handshake of RFC 6455 (4.2.1), version 13."""
    headers = request.headers
    if headers.get("Upgrade", "").strip().lower() != "websocket":
        raise WarmDeskError(
            "this is a WebSocket: ask for an upgrade",
            status=426,
            headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    if headers.getall("Sec-WebSocket-Version", []) != ["13"]:
        raise WarmDeskError(
            "Sec-WebSocket-Version must be 13",
            status=426,
            headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    options = ",".join(headers.getall("Connection", [])).lower().split(",")
    if "upgrade" not in (option.strip() for option in options):
        raise BadRequest("the Connection header must contain Upgrade")
    keys = headers.getall("Sec-WebSocket-Key", [])
    if len(keys) != 1 or not is_key(keys[0]):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64")
    # A body would be read as the first frames.
    upgraded = cast("Any", request.protocol)._upgraded
    if (
        request.method != "GET"
        or request.version != HttpVersion11
        or request.body_exists
        or not upgraded
    ):
        raise BadRequest("a handshake is a GET over HTTP/1.1 without a body")


def is_key(key: str) -> bool:
    """Whether it may be a Sec-WebSocket-Key: 16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def adopt(
    request: web.Request,
    connection: Connection,
    *,
    first: bytes = b"",
    protocol: str | None = None,
) -> Adopted:
    """Answer a checked handshake with 101: `connection` owns the socket. For the handler to return.

    first      frames written together with the answer
    protocol   the sub-protocol that was chosen from those the client offered

    Nothing is awaited, and what the client sent meanwhile is read in the loop's next turn: a
    handler that registers the connection right after this call misses nothing. A large `first` may
    make it a slow reader (`paused_since`) at once. Raises `ClientGone` when the client did not
    wait.
    """
    transport, early, held = take_from_aiohttp(request, connection)
    key = request.headers["Sec-WebSocket-Key"]
    take_over(transport, connection, key, first=first, protocol=protocol, early=early, held=held)
    return Adopted()


def take_from_aiohttp(
    request: web.Request, connection: Connection
) -> tuple[asyncio.Transport, bytes, bool]:
    """Give the transport of a request to `connection`, and make aiohttp forget it. Gives the
    transport, what the client sent after its request, and whether reading was paused. Raises
    `ClientGone`.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ClientGone
    # From here on it leans on aiohttp's inside; tests/realtime/test_adopt.py pins each name.
    http = cast("Any", request.protocol)
    early, held = http._message_tail, http._buffer_paused or http._reading_paused
    transport.set_protocol(connection)
    http._task_handler = None  # or it may be cancelled, and it is us
    http.transport = None  # or it would be closed
    http.connection_lost(None)
    cap(transport.get_extra_info("socket"))
    return transport, early, held


def answer_with_stream(request: web.Request, connection: Connection, first: bytes) -> Adopted:
    """Answer a request with an open stream: `connection` owns the socket, and `first` is the head
    of the answer with what stands at its beginning. For the handler to return; else as `adopt`.
    """
    transport, _, held = take_from_aiohttp(request, connection)
    if held:
        transport.resume_reading()
    connection.connection_made(transport)
    transport.write(first)
    return Adopted(200)


def take_over(
    transport: asyncio.Transport,
    connection: Connection,
    key: str,
    *,
    first: bytes,
    protocol: str | None,
    early: bytes,
    held: bool,
) -> None:
    """Answer a handshake with 101 on a transport that is the connection's already.

    key     the client's Sec-WebSocket-Key
    early   what the client sent after its handshake
    held    whether reading was paused meanwhile
    """
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n"
    )
    if protocol is not None:
        answer += b"Sec-WebSocket-Protocol: " + protocol.encode() + b"\r\n"
    if held:
        transport.resume_reading()
    connection.connection_made(transport)
    transport.write(answer + b"\r\n" + first)
    if early:
        connection.read_early(early)
