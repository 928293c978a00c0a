"""The connections of one pool: those in use, the callers that wait for one, those to replace.

asyncpg's own pool wraps each connection anew for each caller, resets it in a shielded task and sets
and cancels a timer for it while it lies idle: an eighth of all Python that a chat message cost.
Here taking an idle connection and giving it back are two plain calls. The last one given back is
taken first, so those that are not needed grow old and are closed.

A connection that may hold state of its last caller is not handed on: one that comes back in a
transaction, with a statement under way or with a cancelled one is closed. There is no reset: no
code here leaves a SET, a LISTEN or a session lock behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import asyncpg

IDLE_SECONDS = 300.0
"""An idle connection is closed after so long: PostgreSQL keeps a process for each."""
MOST_USES = 50_000
"""A connection is replaced after so many uses: what its process remembers only grows."""
CLOSE_SECONDS = 2.0


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg declares no types
    """A connection that knows when it last answered and when it was last given back, by the
    monotonic clock, and whether it was `late`: cut when its time was over.
    """

    __slots__ = ("answered", "born", "late", "rested", "uses")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.answered = self.rested = time.monotonic()
        self.born = 0
        self.late = False
        self.uses = 0

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        # asyncpg guards all statements but those without values against being asked two at a time.
        with nullcontext() if args else self._stmt_exclusive_section:
            status: str = await super().execute(query, *args, timeout=timeout)
        return status

    def cut_in(self, seconds: float) -> asyncio.TimerHandle:
        """Close it after so many seconds, unless that is cancelled: a caller that waits for its
        answer gets an error at once, and nothing is left to arrive.
        """
        return asyncio.get_running_loop().call_later(max(0.0, seconds), self._cut)

    def _cut(self) -> None:
        self.late = True
        self.terminate()

    @property
    def is_free(self) -> bool:
        """Whether it is open, outside a transaction, listens to nothing, and no answer is on its
        way.
        """
        # asyncpg has no public word for a connection that is at work.
        return not (
            self.is_closed()
            or self._stmt_exclusive_section._acquired
            or self._protocol.is_in_transaction()
            or self._protocol._is_cancelling()
            or self._listeners
            or self._log_listeners
        )


@dataclass(slots=True)
class UnansweredSince:
    """When PostgreSQL was last asked in vain, by the monotonic clock."""

    since: float = float("-inf")


class ConnectionPool:
    """A pool of at most `most` connections, each made by `connect` when it is needed.

    A caller that takes one gives it back, in whatever state. One that has not answered since
    `silence` is not handed out.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PooledConnection]],
        *,
        most: int,
        silence: UnansweredSince,
    ) -> None:
        self.silence = silence
        self._connect = connect
        self._room = most
        self._idle: list[PooledConnection] = []
        self._out: set[PooledConnection] = set()
        self._waiting: deque[asyncio.Future[PooledConnection | None]] = deque()
        self._generation = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_back = asyncio.Event()

    @property
    def size(self) -> int:
        """Open connections."""
        return self.idle + sum(not line.is_closed() for line in self._out)

    @property
    def idle(self) -> int:
        """Open connections that lie idle."""
        return sum(not line.is_closed() for line in self._idle)

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return sum(not waiting.done() for waiting in self._waiting)

    async def fill(self, count: int) -> None:
        """Make so many connections now. Raises what the first that fails raises."""
        lines = []
        try:
            for _ in range(count):
                lines.append(await self.acquire(None))
        finally:
            for line in lines:
                self.release(line)

    def take(self) -> PooledConnection | None:
        """An idle connection that is good; None when there is none."""
        while self._idle:
            line = self._idle.pop()
            if self._is_current(line) and not line.is_closed():
                self._out.add(line)
                return line
            line.terminate()
            self._room += 1
        return None

    async def acquire(self, seconds: float | None) -> PooledConnection:
        """A connection: an idle one, a new one, or the next that is given back; callers are served
        in their order. TimeoutError after so many seconds; what `connect` raises; InterfaceError
        when the pool is closed.
        """
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")
        line = self.take()
        if line is not None:
            return line
        async with asyncio.timeout(seconds):
            if self._room:
                self._room -= 1
            else:
                line = await self._next()
                if line is not None:
                    if self._is_current(line) and not line.is_closed():
                        return line
                    self._out.discard(line)
                    line.terminate()
            return await self._new()

    def release(self, line: PooledConnection) -> None:
        """Give a connection back: to the caller that waits longest, or to lie idle. A closed one
        makes room for another.
        """
        if line not in self._out:
            raise asyncpg.InterfaceError("a connection is given back that nobody took")
        line.rested = time.monotonic()
        line.uses += 1
        if not line.is_free or line.uses >= MOST_USES or not self._is_current(line):
            self._drop(line)
        elif not self._waiting or not self._hand_over(line):
            self._out.discard(line)
            self._idle.append(line)
            if self._sweep is None:
                self._sweep_in(IDLE_SECONDS)

    def expire(self) -> None:
        """All connections of now are replaced: the idle ones at once, the others when they are
        given back.
        """
        self._generation += 1
        self._end_idle()

    async def close(self) -> None:
        """End: wait two seconds for connections in use, then close those too."""
        if self._closed:
            return
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(asyncpg.InterfaceError("the pool is closed"))
        self._waiting.clear()
        idle, self._idle = self._idle, []
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(line.close() for line in idle), return_exceptions=True)
                if self._out:
                    self._all_back.clear()
                    await self._all_back.wait()
        except TimeoutError:
            pass
        finally:
            for line in (*idle, *self._out):
                line.terminate()

    def _is_current(self, line: PooledConnection) -> bool:
        return (
            line.born == self._generation
            and line.answered > self.silence.since
            and not self._closed
        )

    async def _next(self) -> PooledConnection | None:
        """The next connection that is given back, or None: room for a new one."""
        waiting: asyncio.Future[PooledConnection | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.cancelled() or waiting.exception() is not None:
                raise
            # It was given in the same moment.
            line = waiting.result()
            if line is None:
                self._make_room()
            else:
                self.release(line)
            raise

    async def _new(self) -> PooledConnection:
        """A new connection, in the room that was set aside for it."""
        generation = self._generation
        try:
            line = await self._connect()
        except BaseException:  # refused or cancelled: the room is another's
            self._make_room()
            raise
        line.born = generation
        self._out.add(line)
        if self._closed:
            self._drop(line)
            raise asyncpg.InterfaceError("the pool is closed")
        return line

    def _drop(self, line: PooledConnection) -> None:
        self._out.discard(line)
        line.terminate()
        self._make_room()
        if not self._out:
            self._all_back.set()

    def _make_room(self) -> None:
        if not self._hand_over(None):
            self._room += 1

    def _hand_over(self, line: PooledConnection | None) -> bool:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(line)
                return True
        return False

    def _end_idle(self, until: float = float("inf")) -> None:
        """Close the connections that were given back before `until`: the oldest lie first."""
        while self._idle and self._idle[0].rested <= until:
            self._idle.pop(0).terminate()
            self._room += 1

    def _sweep_in(self, seconds: float) -> None:
        self._sweep = asyncio.get_running_loop().call_later(seconds, self._sweep_idle)

    def _sweep_idle(self) -> None:
        now = time.monotonic()
        self._sweep = None
        self._end_idle(now - IDLE_SECONDS)
        if self._idle:
            self._sweep_in(self._idle[0].rested + IDLE_SECONDS - now)
