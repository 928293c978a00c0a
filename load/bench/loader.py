"""The viewers: a process of its own that opens sockets, or streams of events, by the thousand and
counts what arrives.

It decodes nothing. A text that carries a mark, ``t0=`` and twenty digits of nanoseconds of the
monotonic clock, is a delivery, and now minus the mark is how long it took; everything else that
arrives is counted as other. Commands come as lines of JSON, and each is answered by one.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

MARK = b"t0="
DIGITS = 20
CHUNK = 1 << 18
AT_ONCE = 64
"""Handshakes under way at the same time; a server may refuse more than 100."""
EVENTS = b"text/event-stream"
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
RESET = struct.pack("ii", 1, 0)


def mark() -> str:
    """The mark of a text that is sent now."""
    return f"t0={time.monotonic_ns():0{DIGITS}d}"


class Viewer:
    """One socket. `behind`: a frame of which only a part has come. `streams`: it is told by
    server-sent events.
    """

    __slots__ = ("behind", "last", "marks", "opened", "socket", "streams", "swapped")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.behind = b""
        self.opened = self.streams = False
        self.marks = 0
        self.last = 0
        self.swapped = 0


class Loader:
    """All sockets of this process, and what came."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.viewers: dict[int, Viewer] = {}
        self.stalled: set[int] = set()
        self.queue: list[tuple[int, bytes]] = []
        self.hello: list[bytes] = []
        self.under_way = 0
        self.opened = 0
        self.failed: list[str] = []
        self.deliveries = self.others = self.bytes = 0
        self.took: list[int] = []
        self.last_at = 0.0
        self.wait: dict[str, Any] | None = None
        self.until = 0.0

    def run(self) -> None:
        """Serve commands until the input ends."""
        commands = sys.stdin.fileno()
        os.set_blocking(commands, False)
        self.poll.register(commands, select.EPOLLIN)
        rest = b""
        while True:
            for fd, events in self.poll.poll(0.02, 4096):
                if fd != commands:
                    self.ready(fd, events)
                    continue
                said = os.read(commands, 1 << 20)
                if not said:
                    return
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    self.command(json.loads(line))
            if self.wait is not None:
                self.look()

    def command(self, given: dict[str, Any]) -> None:
        """Begin what is asked; `look` answers when it is done."""
        what = given["do"]
        if what == "open":
            heads = json.loads(Path(given["heads"]).read_text())
            self.hello = [masked(text) for text in given["hello"]]
            self.opened, self.failed = 0, []
            self.queue = [(given["port"], head.encode()) for head in reversed(heads)]
            self.more()
        elif what == "close":
            for fd in list(self.viewers):
                self.drop(fd)
        elif what == "stall":
            for fd in list(self.viewers)[: given["count"]]:
                self.poll.unregister(fd)
                self.stalled.add(fd)
        elif what == "wake":
            for fd in self.stalled:
                self.poll.register(fd, select.EPOLLIN)
            self.stalled.clear()
        elif what == "count":
            self.deliveries = self.others = self.bytes = 0
            self.took.clear()
            for viewer in self.viewers.values():
                viewer.marks = viewer.swapped = viewer.last = 0
        self.wait = given
        self.until = time.monotonic() + given.get("seconds", 60.0)
        self.last_at = time.monotonic()
        self.look()

    def look(self) -> None:
        """Answer the command if it is done, or out of time."""
        assert self.wait is not None
        now = time.monotonic()
        wait = self.wait
        what = wait["do"]
        done = {
            "open": not self.queue and self.under_way == 0,
            "take": self.deliveries >= wait.get("frames", 0),
            "quiet": now - self.last_at > wait.get("silence", 0.5),
        }.get(what, True)
        if not done and now < self.until:
            return
        self.wait = None
        counts = sorted(viewer.marks for viewer in self.viewers.values()) or [0]
        took = sorted(self.took)
        say(
            {
                "done": done,
                "open": len(self.viewers) - self.under_way,
                "failed": self.failed[:3],
                "deliveries": self.deliveries,
                "others": self.others,
                "bytes": self.bytes,
                "least": counts[0],
                "most": counts[-1],
                "swapped": sum(viewer.swapped for viewer in self.viewers.values()),
                "p50_ms": took[len(took) // 2] / 1e6 if took else 0.0,
                "p99_ms": took[len(took) * 99 // 100] / 1e6 if took else 0.0,
                "max_ms": took[-1] / 1e6 if took else 0.0,
            }
        )

    def more(self) -> None:
        """Begin handshakes, as many as may be under way."""
        while self.queue and self.under_way < AT_ONCE:
            port, head = self.queue.pop()
            connection = socket.socket()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if connection.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
                self.failed.append("nobody took the connection")
                connection.close()
                continue
            viewer = Viewer(connection)
            viewer.behind = head
            self.viewers[connection.fileno()] = viewer
            self.poll.register(connection.fileno(), select.EPOLLOUT)
            self.under_way += 1

    def ready(self, fd: int, events: int) -> None:
        viewer = self.viewers.get(fd)
        if viewer is None:
            return
        if events & select.EPOLLOUT:
            self.poll.modify(fd, select.EPOLLIN)
            head, viewer.behind = viewer.behind, b""
            try:
                viewer.socket.sendall(head)
            except OSError as error:
                self.drop(fd, str(error))
            return
        try:
            data = viewer.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(fd, str(error))
            return
        if not data:
            self.drop(fd, "the server ended it")
            return
        self.bytes += len(data)
        if viewer.behind:
            data = viewer.behind + data
        if not viewer.opened:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                viewer.behind = head
                return
            viewer.streams = head.startswith(b"HTTP/1.1 200") and EVENTS in head
            if not head.startswith(b"HTTP/1.1 101") and not viewer.streams:
                self.drop(fd, f"{head[:100]!r} {data[:200]!r}")
                return
            viewer.opened = True
            self.opened += 1
            self.under_way -= 1
            for text in self.hello:
                viewer.socket.sendall(text)
            self.more()
        viewer.behind = (self.events if viewer.streams else self.frames)(viewer, data)

    def frames(self, viewer: Viewer, data: bytes) -> bytes:
        """Count the whole frames; gives back what is left of the last one."""
        now = time.monotonic_ns()
        at, size = 0, len(data)
        while size - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size or start > size:
                break
            kind = data[at]
            found = data.find(MARK, start, end) if kind == TEXT else -1
            if found >= 0:
                self.delivered(viewer, now, int(data[found + 3 : found + 3 + DIGITS]))
            elif kind == PING:
                viewer.socket.sendall(
                    b"\x8a" + bytes([0x80 | length]) + b"\0\0\0\0" + data[start:end]
                )
            elif kind == TEXT and data[start:end] == b"2":
                viewer.socket.sendall(masked("3"))  # Engine.IO's own ping
            elif kind == CLOSE:
                self.failed.append(f"closed: {data[start:end]!r}")
            else:
                self.others += 1
            at = end
        self.last_at = now / 1e9
        return data[at:] if at else data

    def events(self, viewer: Viewer, data: bytes) -> bytes:
        """The same for a stream, whose events end with an empty line."""
        now = time.monotonic_ns()
        *whole, rest = data.split(b"\n\n")
        for event in whole:
            found = event.find(MARK)
            if found >= 0:
                self.delivered(viewer, now, int(event[found + 3 : found + 3 + DIGITS]))
            else:
                self.others += 1
        self.last_at = now / 1e9
        return rest

    def delivered(self, viewer: Viewer, now: int, begun: int) -> None:
        self.took.append(now - begun)
        self.deliveries += 1
        viewer.marks += 1
        viewer.swapped += begun < viewer.last
        viewer.last = begun

    def drop(self, fd: int, why: str = "") -> None:
        """Reset a connection, so that no port stays taken."""
        viewer = self.viewers.pop(fd)
        if why:
            self.failed.append(why)
        if not viewer.opened:
            self.under_way -= 1
        if fd in self.stalled:
            self.stalled.discard(fd)
        else:
            self.poll.unregister(fd)
        viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        viewer.socket.close()
        if why:
            self.more()


def masked(text: str) -> bytes:
    """A client's text frame of at most 125 bytes, under a mask of zeros."""
    payload = text.encode()
    return bytes([TEXT, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


class Viewers:
    """The other end of the pipe: ``async with Viewers(directory) as viewers``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "load.bench.loader"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Give a command and await its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("the loader ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def open(
        self, port: int, heads: Sequence[str], hello: Sequence[str] = (), seconds: float = 60.0
    ) -> dict[str, Any]:
        """Open a socket for each head. Raises RuntimeError unless all opened."""
        place = self.directory / f"heads-{os.getpid()}.json"
        place.write_text(json.dumps(list(heads)))
        before = (await self.ask("look"))["open"]
        answer = await self.ask(
            "open", port=port, heads=str(place), hello=list(hello), seconds=seconds
        )
        place.unlink()
        if answer["failed"] or answer["open"] != before + len(heads):
            raise RuntimeError(f"{answer['open']} sockets of {before + len(heads)}: {answer}")
        return answer

    async def count(self) -> None:
        """Count from now on, from nothing."""
        await self.ask("count")

    async def take(self, frames: int, *, seconds: float = 30.0) -> dict[str, Any]:
        """What arrived, once so many deliveries did. Raises RuntimeError if they do not."""
        answer = await self.ask("take", frames=frames, seconds=seconds)
        if not answer["done"]:
            raise RuntimeError(f"{answer['deliveries']} deliveries of {frames}: {answer}")
        return answer

    async def quiet(self, *, silence: float = 0.5, seconds: float = 30.0) -> dict[str, Any]:
        """What arrived, once nothing more comes."""
        return await self.ask("quiet", silence=silence, seconds=seconds)

    async def close(self) -> None:
        """End all connections."""
        await self.ask("close")


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Loader().run()
