"""Viewers by the thousand: each follows one channel, comes back when its socket ends, and goes on
from where it was.

They are as cheap as a viewer can be, so that what is measured is the server: no client library, one
protocol object each, handshakes and frames by hand. A viewer obeys what the server says: after
``reconnect`` it comes back at a random moment in between, after 503 it waits for ``Retry-After``,
and else a growing, jittered pause. Whatever was wrong on a socket is in `Tally.wrong`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import struct
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
OPEN_SECONDS = 15.0
KEY = base64.b64encode(b"0123456789abcdef").decode()
TEXT, CLOSE, PING = 1, 8, 9


@dataclass
class Tally:
    """What happened to all viewers together.

    opened     sockets that said hello, and when
    refusals   answers to handshakes that were no 101: (status, has Retry-After)
    codes      close codes; 1006 when there was no Close
    asked      sockets that were told to come back before they were closed
    reasons    what refusals said
    wrong      what no server may do, a sentence each
    """

    opened: list[float] = field(default_factory=list)
    refusals: Counter[tuple[int, bool]] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failed_connects: int = 0
    asked: int = 0
    resets: int = 0
    deliveries: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Viewer:
    """One viewer of `slug`; `since` and `epoch` as a board gave them."""

    url: str
    slug: str
    token: str
    since: int
    epoch: str
    tally: Tally
    extra: str = ""
    there: bool = False
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _leave: asyncio.Handle | None = None

    async def stay(self) -> None:
        """Follow until cancelled."""
        attempt, pause = 0, 0.0
        while True:
            await asyncio.sleep(pause)
            line = await self._connection()
            self.there = False
            if line is None:
                self.tally.failed_connects += 1
            if line is not None and line.hello:
                attempt = 0
            else:
                attempt += 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)
            if line is not None:
                self._count(line)
                if line.retry_after:
                    pause = line.retry_after * random.uniform(1.0, 1.5)
                if line.back_at:
                    pause = max(pause, line.back_at - time.monotonic())

    def _count(self, line: Line) -> None:
        if line.status and line.status != 101:
            self.tally.refusals[line.status, line.retry_after > 0] += 1
            self.tally.reasons[line.reason] += 1
        elif line.hello:
            self.tally.codes[line.code] += 1

    async def _connection(self) -> Line | None:
        """One socket, from its beginning to its end; None when nobody took the connection."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                transport, line = await loop.create_connection(lambda: Line(self), host, int(port))
        except (OSError, TimeoutError):
            return None
        try:
            transport.write(
                (
                    f"GET /api/v1/ws/{self.slug}?since={self.since}&epoch={self.epoch}"
                    f"&presence=changed HTTP/1.1\r\nHost: desk\r\nConnection: Upgrade\r\n"
                    f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}"
                    f"\r\nAuthorization: Bearer {self.token}\r\n\r\n"
                ).encode()
            )
            await line.ended
        finally:
            transport.abort()
        return line


class Line(asyncio.Protocol):
    """One connection of a viewer."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.retry_after = 0.0
        self.reason = ""
        self.back_at = 0.0
        self.code = 1006
        self.hello = False
        self._rest = b""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        if not self.status and not self._answered():
            return
        at = 0
        rest = self._rest
        while len(rest) - at >= 2:
            length, start = rest[at + 1], at + 2
            if length == 126:
                start += 2
                length = int.from_bytes(rest[at + 2 : start])
            elif length == 127:
                start += 8
                length = int.from_bytes(rest[at + 2 : start])
            if len(rest) < start + length:
                break
            self._frame(rest[at] & 15, rest[start : start + length])
            at = start + length
        self._rest = rest[at:]

    def _answered(self) -> bool:
        """Whether the handshake's answer is whole, and a socket."""
        head, found, rest = self._rest.partition(b"\r\n\r\n")
        if not found:
            return False
        self.status = int(head[9:12])
        self._rest = rest
        if self.status == 101:
            return True
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"retry-after:"):
                self.retry_after = float(line.partition(b":")[2])
        with suppress(ValueError, AttributeError):
            self.reason = orjson.loads(rest).get("error", "")
        self._transport.close()
        return False

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._text(orjson.loads(payload))
        elif opcode == PING:
            self._say(0x8A, payload)
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2]) if payload else 1005
            self._say(0x88, payload[:2])
            self._transport.close()

    def _say(self, head: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._transport.write(struct.pack("!BB", head, 0x80 | len(payload)) + mask + masked)

    def _text(self, frame: Any) -> None:
        viewer, tally = self.viewer, self.viewer.tally
        seq = frame.get("seq")
        if seq is not None:
            tally.deliveries += 1
            if seq != viewer.since + 1:
                tally.wrong.append(f"{viewer.slug}: {seq} came after {viewer.since}")
            viewer.since = seq
        elif frame["type"] == "hello":
            self.hello = viewer.there = True
            viewer.connections += 1
            tally.opened.append(time.monotonic())
        elif frame["type"] == "sync.reset":
            tally.resets += 1
            viewer.since, viewer.epoch = frame["payload"]["seq"], frame["payload"]["epoch"]
        elif frame["type"] == "reconnect":
            tally.asked += 1
            told = frame["payload"]
            delay = random.uniform(told["min_ms"], told["max_ms"]) / 1000
            self.back_at = time.monotonic() + delay
            asyncio.get_running_loop().call_later(delay, self._go)

    def _go(self) -> None:
        """The moment to come back has come, and the server has not closed yet."""
        if not self.ended.done() and not self._transport.is_closing():
            self.code = 1001
            self._say(0x88, b"\x03\xe9")
            self._transport.close()
