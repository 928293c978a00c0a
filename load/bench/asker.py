"""The HTTP loader: a process of its own that asks and times the answers.

``python -m load.bench.asker`` reads an order, one line of JSON, from its standard input::

    {"port": 8080, "lines": [["POST /…", …], …], "expected": [200, 201],
     "warm": 1.0, "seconds": 4.0, "count": 0}

Each line is a connection with whole requests, sent over and over: the next goes out as soon as the
answer before it is whole. `HOLE` in a request becomes a number that is never the same, as long as
the hole, so that messages differ. The connections are opened and asked for `warm` seconds; then it
prints ``ready`` and waits for a line, which gives the driver time to read CPU counters; then it
asks for `seconds`, or `count` requests, and prints what it saw as one line of JSON. An answer with
another status ends it with what the answer said.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from load.bench.measure import quantile
from load.bench.wire import Wire, opened

HOLE = "########"


class Line:
    """A connection and its requests. Each request: its parts around the holes."""

    def __init__(self, requests: list[str]) -> None:
        self.requests = [request.encode().split(HOLE.encode()) for request in requests]
        self.next = 0
        self.asked_at = 0.0
        self.wire: Wire | None = None


class Asker:
    """All connections, and what their answers took, in seconds."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.lines = [Line(requests) for requests in order["lines"]]
        self.of: dict[Wire, Line] = {}
        self.expected = frozenset(order["expected"])
        self.number = 0
        self.asked = 0
        self.took: list[float] = []
        self.more: Callable[[], bool] = lambda: False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        for line in self.lines:
            wire = await opened(self.order["port"], self._answered)
            wire.lost = self._lost
            line.wire, self.of[wire] = wire, line

    async def run(self, more: Callable[[], bool]) -> float:
        """Ask until `more` says no and all answers are there: the seconds that took."""
        self.more, self.asked, self.took = more, 0, []
        self.over = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        for line in self.lines:
            if more():
                self._ask(line)
        if self.asked:
            await self.over
        return time.perf_counter() - begun

    def _ask(self, line: Line) -> None:
        parts = line.requests[line.next]
        line.next = (line.next + 1) % len(line.requests)
        request = parts[0]
        if len(parts) > 1:
            self.number += 1
            request = (b"%0*d" % (len(HOLE), self.number)).join(parts)
        self.asked += 1
        assert line.wire is not None
        line.asked_at = time.perf_counter()
        line.wire.send(request)

    def _answered(self, wire: Wire, status: int, body: bytes) -> None:
        line = self.of[wire]
        self.took.append(time.perf_counter() - line.asked_at)
        if status not in self.expected:
            self._fail(f"{status} {body[:2000].decode(errors='replace')}")
        elif self.more():
            self._ask(line)
        elif len(self.took) == self.asked and not self.over.done():
            self.over.set_result(None)

    def _lost(self, wire: Wire) -> None:
        self._fail("the server ended a connection")

    def _fail(self, why: str) -> None:
        if not self.over.done():
            self.over.set_exception(RuntimeError(why))


def for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    asker = Asker(order)
    await asker.open()
    await asker.run(for_seconds(order["warm"]))
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    count = order["count"]
    more = (lambda: asker.asked < count) if count else for_seconds(order["seconds"])
    seconds = await asker.run(more)
    print(
        json.dumps(
            {
                "count": len(asker.took),
                "seconds": seconds,
                "p50_ms": quantile(asker.took, 0.5) * 1000,
                "p99_ms": quantile(asker.took, 0.99) * 1000,
            }
        )
    )


if __name__ == "__main__":
    try:
        uvloop.run(main())
    except (RuntimeError, OSError) as error:
        sys.exit(f"asker: {error}")
