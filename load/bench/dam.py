"""A line between browsers and a server that can be cut, and that can hold back what happens on one
board: real frames of a real server, let go later at a pace of one's own.

So a page gets a thousand events a second on a machine whose two cores could not make so many beside
it. Of the sockets of one project only events wait, which have numbers; answers and signals pass.
A pong that speaks of an event that still waits would be taken for a loss: it is told anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

import orjson

from tests.journeys.proxy import CHUNK, Link, Proxy
from warmdesk.realtime.frames import frame

TEXT = 0x81
TURN = 0.004


class Frames:
    """Cuts a server's WebSocket stream into whole frames; they have no mask and no extension."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[tuple[int, bytes, bytes]]:
        """Of each frame that is complete now: its first byte, its text, all of it."""
        self._rest += chunk
        found, start = [], 0
        while (head := self._head(start)) is not None:
            begin, size = head
            if begin + size > len(self._rest):
                break
            whole = bytes(self._rest[start : begin + size])
            found.append((whole[0], whole[begin - start :], whole))
            start = begin + size
        del self._rest[:start]
        return found

    def _head(self, start: int) -> tuple[int, int] | None:
        """Where the text begins and how long it is."""
        if start + 2 > len(self._rest):
            return None
        size = self._rest[start + 1] & 127
        more = {126: 2, 127: 8}.get(size, 0)
        begin = start + 2 + more
        if begin > len(self._rest):
            return None
        return begin, int.from_bytes(self._rest[start + 2 : begin]) if more else size


class Dam(Proxy):
    """The line. `slug`: whose events can be held."""

    def __init__(self, upstream: str, slug: str = "") -> None:
        super().__init__(upstream, "127.0.0.1:0", bytes_only=True)
        self.slug = slug
        self.held: deque[bytes] = deque()
        self._holding = False
        self._passed = 0
        self._dammed: Link | None = None

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    def hold(self) -> None:
        """From now on events wait."""
        self._holding = True

    async def let_go(self, rate: float, count: int | None = None) -> float:
        """Let so many of them go at this pace: how many a second that became."""
        link = self._dammed
        if link is None:
            raise RuntimeError("nobody listens behind the dam")
        total = len(self.held) if count is None else min(count, len(self.held))
        gone, begun = 0, time.monotonic()
        while gone < total:
            due = min(total, int((time.monotonic() - begun) * rate) + 1)
            self._passed += due - gone
            link.client.write(b"".join(self.held.popleft() for _ in range(due - gone)))
            gone = due
            if link.client.transport.is_closing():
                raise RuntimeError("the page went away while events came")
            await asyncio.sleep(TURN)
        return total / (time.monotonic() - begun)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: Link,
        *,
        answers: bool = False,
    ) -> None:
        with suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if not answers and head.startswith(f"GET /api/v1/ws/{self.slug}?".encode()):
                self._dammed = link
            writer.write(head)
            if answers and link is self._dammed:
                await self._sift(reader, writer)
            else:
                await super()._pass(reader, writer, link, answers=answers)

    async def _sift(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what is no event, and events unless they are held."""
        frames = Frames()
        while chunk := await reader.read(CHUNK):
            for first, text, whole in frames.feed(chunk):
                said = orjson.loads(text) if first == TEXT else {}
                if "seq" in said:
                    if self._holding:
                        self.held.append(whole)
                        continue
                    self._passed = said["seq"]
                elif said.get("type") == "pong" and self._holding:
                    said["payload"]["seq"] = self._passed
                    writer.write(frame(orjson.dumps(said)))
                    continue
                writer.write(whole)
            await writer.drain()
