"""An HTTP/1.1 connection by hand, as cheap as a client can be: whole requests out, whole answers
in.

An answer has a ``Content-Length``, or no body (204, 304). Requests may follow each other without
waiting; answers come in their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

Answered = Callable[["Wire", int, bytes], None]

BODILESS = (204, 304)


class Wire(asyncio.Protocol):
    """One connection. `answered` is called with the status and the body of each answer; `lost`,
    when somebody ended the connection.
    """

    __slots__ = ("_held", "_transport", "answered", "lost")

    def __init__(self, answered: Answered) -> None:
        self.answered = answered
        self.lost: Callable[[Wire], None] | None = None
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        self.lost = None
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self.lost is not None:
            self.lost(self)

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        while held:
            end = held.find(b"\r\n\r\n")
            if end < 0:
                break
            status = int(held[9:12])
            whole = end + 4 + (0 if status in BODILESS else _length(held[:end]))
            if len(held) < whole:
                break
            body, held = held[end + 4 : whole], held[whole:]
            self.answered(self, status, body)
        self._held = held


def _length(head: bytes) -> int:
    """The length of an answer's body."""
    place = head.find(b"Content-Length:")
    if place < 0:
        place = head.lower().find(b"content-length:")
        if place < 0:
            raise ValueError(f"an answer without Content-Length: {head[:300]!r}")
    return int(head[place + 15 : place + 30].partition(b"\r\n")[0])


def request(
    method: str, path: str, *, token: str = "", body: bytes | None = None, head: str = ""
) -> bytes:
    """A whole request. `head`: more lines of its head, each with its end."""
    lines = [f"{method} {path} HTTP/1.1\r\nHost: desk\r\nAccept: */*\r\n{head}"]
    if token:
        lines.append(f"Authorization: Bearer {token}\r\n")
    if body is not None:
        lines.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
    return "".join([*lines, "\r\n"]).encode() + (body or b"")


async def opened(port: int, answered: Answered) -> Wire:
    """A connection to a port of this machine."""
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(answered), "127.0.0.1", port)
    return wire
