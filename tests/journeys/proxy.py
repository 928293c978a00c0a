"""A bad network between a server and what it needs: a proxy in front of Valkey or PostgreSQL.

It stands where the server expects the other: give a worker its address as ``WARMDESK_REDIS_URL``.
Of Valkey's answers it cuts the stream between messages only (RESP 2 and 3), so that it can lose,
delay, swap, double and invent single pub/sub messages and leave every other answer alone. A seed
decides which ones. In bytes mode (for PostgreSQL) it only passes on, freezes and cuts.

::

    python -m tests.journeys.proxy --upstream valkey.sock --listen bad.sock \
        --drop 0.3 --late 0.2 --swap 0.1 --double 0.1 --garbage 0.02 --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

from warmdesk.embedded.postgres import PORT

CHUNK = 1 << 16
AGGREGATES = b"*~>%|"
TEXTS = b"$=!"
PUBLISHED = re.compile(rb"[*>][34]\r\n\$\d+\r\n[ps]?message\r\n", re.IGNORECASE)
LAST_TEXT = re.compile(rb"\$(\d+)\r\n")


@dataclass(frozen=True)
class Weather:
    """How likely each trouble is for a pub/sub message, and how late a late one may be."""

    drop: float = 0.0
    late: float = 0.0
    late_seconds: float = 1.0
    swap: float = 0.0
    double: float = 0.0
    garbage: float = 0.0


FAIR = Weather()


@dataclass
class Counts:
    """What happened so far."""

    published: int = 0
    dropped: int = 0
    late: int = 0
    swapped: int = 0
    doubled: int = 0
    invented: int = 0
    cut: int = 0


class Messages:
    """Cuts a RESP stream into whole messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that are complete now, as the bytes they came in."""
        self._rest += chunk
        found, start = [], 0
        while (end := _end(self._rest, start)) is not None:
            found.append(self._rest[start:end])
            start = end
        self._rest = self._rest[start:]
        return found


def _end(stream: bytes, start: int) -> int | None:
    """Where the message that begins at `start` ends; None when it is not all there."""
    wanted = 1
    while wanted:
        line = stream.find(b"\r\n", start)
        if line < 0:
            return None
        kind, count = stream[start : start + 1], stream[start + 1 : line]
        start = line + 2
        wanted -= 1
        if kind in TEXTS and int(count) >= 0:
            start += int(count) + 2
            if start > len(stream):
                return None
        elif kind in AGGREGATES and int(count) > 0:
            wanted += int(count) * (2 if kind in b"%|" else 1)
            if kind == b"|":  # attributes stand before the message they belong to
                wanted += 1
    return start


def garbage_like(message: bytes, chance: random.Random) -> bytes:
    """A message on the same channel whose text is none of ours."""
    last = list(LAST_TEXT.finditer(message))[-1]
    junk = chance.choice(
        [b"", b"\n", b"17", b"-1 x -\n{}", b"9e9 board.card_moved -\n{", chance.randbytes(40)]
    )
    return message[: last.start()] + b"$%d\r\n%b\r\n" % (len(junk), junk)


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    held: bytes | None = None
    forgotten: bool = False
    listens: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Listens on `listen` and passes on to `upstream`; each a unix socket's path or host:port."""

    def __init__(
        self,
        upstream: str,
        listen: str,
        *,
        weather: Weather = FAIR,
        seed: int = 1,
        bytes_only: bool = False,
    ) -> None:
        self.upstream, self.listen = upstream, listen
        self.weather, self.bytes_only = weather, bytes_only
        self.counts = Counts()
        self.links: set[Link] = set()
        self._chance = random.Random(seed)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._last_answered = b""
        self._open = True
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        if ":" in self.listen:
            host, _, port = self.listen.rpartition(":")
            self._server = await asyncio.start_server(self._serve, host, int(port))
            self.listen = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        else:
            Path(self.listen).unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.listen)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.thaw()
        tasks = [task for link in self.links for task in link.tasks]
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What a test does to the network.

    def freeze(self) -> None:
        """Nothing goes through any more, and nobody is told."""
        self._flowing.clear()

    def hold_answers(self, *, after: bytes = b"") -> None:
        """Questions go through, answers do not: from now on, or from the next question on that has
        these bytes in it.
        """
        if after:
            self._last_answered = after
        else:
            self._answering.clear()

    def thaw(self) -> None:
        self._flowing.set()
        self._answering.set()

    def forget(self) -> None:
        """New connections are served; those of before stay as silent as they are, for ever."""
        for link in self.links:
            link.forgotten = True
        self.thaw()

    def cut(self) -> None:
        """Every connection is reset; new ones are welcome."""
        self.counts.cut += len(self.links)
        for link in list(self.links):
            link.abort()

    def fail_over(self, upstream: str) -> None:
        """Another server from now on. Who listens is cut off from the old one; all others stay
        there, and it answers them as before.
        """
        self.upstream = upstream
        for link in list(self.links):
            if link.listens:
                link.abort()

    def close(self) -> None:
        """Cut, and refuse everybody until `open`."""
        self._open = False
        self.cut()

    def open(self) -> None:
        self._open = True

    def become(self, weather: Weather) -> None:
        """From now on it is like this."""
        self.weather = weather

    # Passing on.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            if ":" in self.upstream:
                host, _, port = self.upstream.rpartition(":")
                above, below = await asyncio.open_connection(host, int(port))
            else:
                above, below = await asyncio.open_unix_connection(self.upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, below)
        self.links.add(link)
        link.tasks = [
            asyncio.create_task(self._pass(reader, below, link)),
            asyncio.create_task(self._pass(above, writer, link, answers=True)),
        ]
        await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        link.abort()
        self.links.discard(link)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: Link,
        *,
        answers: bool = False,
    ) -> None:
        messages = Messages()
        with suppress(OSError, RuntimeError):  # uvloop's word for a transport that was aborted
            while chunk := await reader.read(CHUNK):
                await self._flowing.wait()
                if answers:
                    await self._answering.wait()
                elif self._last_answered and self._last_answered in chunk:
                    self._last_answered = b""
                    self._answering.clear()
                if writer.transport.is_closing():
                    return
                if link.forgotten:
                    continue
                link.listens = link.listens or (not answers and b"SUBSCRIBE" in chunk)
                if self.bytes_only or not answers:
                    writer.write(chunk)
                else:
                    for message in messages.feed(chunk):
                        self._answer(link, message)
                await writer.drain()

    def _answer(self, link: Link, message: bytes) -> None:
        if self.weather == FAIR or not PUBLISHED.match(message):
            self._send(link, message)
            return
        chance, weather = self._chance, self.weather
        self.counts.published += 1
        if chance.random() < weather.garbage:
            self.counts.invented += 1
            link.client.write(garbage_like(message, chance))
        if chance.random() < weather.drop:
            self.counts.dropped += 1
        elif chance.random() < weather.late:
            self.counts.late += 1
            delay = chance.uniform(0, weather.late_seconds)
            asyncio.get_running_loop().call_later(delay, self._send_late, link, message)
        elif link.held is None and chance.random() < weather.swap:
            self.counts.swapped += 1
            link.held = message
        else:
            self._send(link, message)
            if chance.random() < weather.double:
                self.counts.doubled += 1
                link.client.write(message)

    def _send(self, link: Link, message: bytes) -> None:
        """A message, and behind it the one it overtook."""
        if link.client.is_closing():
            return
        link.client.write(message)
        if link.held is not None:
            link.client.write(link.held)
            link.held = None

    def _send_late(self, link: Link, message: bytes) -> None:
        if link in self.links and not link.client.is_closing():
            link.client.write(message)


def socket_of(dsn: str) -> str:
    """Where the PostgreSQL of a dsn listens: a unix socket's path."""
    directory = parse_qs(urlsplit(dsn).query)["host"][0]
    return f"{directory}/.s.PGSQL.{PORT}"


def through(proxy: Proxy, dsn: str) -> str:
    """The same database, by way of a proxy."""
    directory = quote(str(Path(proxy.listen).parent), safe="")
    return re.sub(r"host=[^&]*", f"host={directory}", dsn)


@asynccontextmanager
async def in_front_of(dsn: str) -> AsyncIterator[Proxy]:
    """A network between us and PostgreSQL."""
    upstream = socket_of(dsn)
    with tempfile.TemporaryDirectory(prefix="wd-") as directory:
        async with Proxy(upstream, f"{directory}/{Path(upstream).name}", bytes_only=True) as proxy:
            yield proxy


async def serve(arguments: argparse.Namespace) -> None:
    weather = Weather(**{name: getattr(arguments, name) for name in Weather.__dataclass_fields__})
    async with Proxy(
        arguments.upstream,
        arguments.listen,
        weather=weather,
        seed=arguments.seed,
        bytes_only=arguments.bytes,
    ) as proxy:
        print(f"{proxy.listen} -> {proxy.upstream}", flush=True)
        while True:
            await asyncio.sleep(10)
            print(proxy.counts, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A bad network in front of Valkey or PostgreSQL.")
    parser.add_argument("--upstream", required=True, help="a unix socket's path, or host:port")
    parser.add_argument("--listen", required=True, help="the same; port 0 takes a free one")
    parser.add_argument("--bytes", action="store_true", help="pass bytes on, look at nothing")
    parser.add_argument("--seed", type=int, default=1)
    for name, default in Weather().__dict__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
