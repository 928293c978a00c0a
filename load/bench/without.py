"""WarmDesk with one part of a library back in its place: the way back, and what it would cost.

::

    python load/bench/without.py pool serve

Each part below undoes one stand-in of docs/borrowed-insides.rst before the program starts; the rest
is WarmDesk as it is. ``bin/bench borrowed`` measures both side by side.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from aiohttp import web
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from warmdesk import app, cli, handshake_reader, redis_calls
from warmdesk.db import connections
from warmdesk.db import pool as pools
from warmdesk.http import answers
from warmdesk.realtime import bus

PARTS: dict[str, Callable[[], None]] = {}


def part(undo: Callable[[], None]) -> Callable[[], None]:
    PARTS[undo.__name__] = undo
    return undo


@part
def handshakes() -> None:
    """aiohttp reads every handshake."""

    def data_received(self: Any, data: bytes) -> None:
        if self._transport is not None:
            self._to_aiohttp(data)

    handshake_reader.HandshakeReader.data_received = data_received  # type: ignore[method-assign]


@part
def heads() -> None:
    """aiohttp writes the head of every answer, and the body after it."""
    answers.WholeResponse.prepare = web.Response.prepare  # type: ignore[method-assign]


@part
def router() -> None:
    """aiohttp's dispatcher tries the patterns one after another."""
    ours = app.paths

    def paths() -> list[Any]:
        return [resource for tree in ours() for resource in tree._resources.values()]

    app.paths = paths  # type: ignore[assignment]


@part
def pool() -> None:
    """asyncpg's pool, with a reset that does nothing, as ours."""
    database_pool: Any = pools  # mypy takes a class for a constant
    database_pool.ConnectionPool = LibraryPool


class LibraryPool:
    """What `ConnectionPool` promises, by ``asyncpg.Pool``."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[connections.PooledConnection]],
        *,
        most: int,
        silence: connections.UnansweredSince,
    ) -> None:
        async def dial(*_: Any, **__: Any) -> connections.PooledConnection:
            return await connect()

        async def reset(_: Any) -> None:
            pass

        self.silence = silence
        self._options = {"connect": dial, "reset": reset, "min_size": 0, "max_size": most}
        self._pool: Any = None
        self._proxies: dict[Any, Any] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        return int(self._pool.get_size()) if self._pool is not None else 0

    @property
    def idle(self) -> int:
        return int(self._pool.get_idle_size()) if self._pool is not None else 0

    waiting = 0

    async def fill(self, count: int) -> None:
        lines = [await self.acquire(None) for _ in range(count)]
        for line in lines:
            self.release(line)

    def take(self) -> None:
        return None

    async def acquire(self, seconds: float | None) -> Any:
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                connection_class=connections.PooledConnection, **self._options
            )
        proxy = await self._pool.acquire(timeout=seconds)
        self._proxies[proxy._con] = proxy
        return proxy._con

    def release(self, line: Any) -> None:
        self._soon(self._pool.release(self._proxies.pop(line)))

    def expire(self) -> None:
        self._soon(self._pool.expire_connections())

    def _soon(self, ending: Any) -> None:
        task = asyncio.ensure_future(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        if self._pool is not None:
            await asyncio.wait_for(self._pool.close(), connections.CLOSE_SECONDS)


@part
def redis() -> None:
    """redis-py's streams and parser carry the bus, and its pool a connection for each question."""
    for module in (redis_calls, bus):
        users: Any = module
        users.RedisConnection = Streams

    def __init__(self: Any, client: Any) -> None:
        self._pool = client.connection_pool

    async def ask(self: Any, *words: str | bytes | int, seconds: float) -> Any:
        async with asyncio.timeout(seconds):
            opened = await self._pool.get_connection()
            try:
                await opened.send_command(*words)
                return await opened.read_response()
            finally:
                await self._pool.release(opened)

    calls: Any = redis_calls.RedisCalls
    calls.__init__, calls.ask, calls.drop = __init__, ask, lambda _: None


class Streams(redis_calls.RedisConnection):
    """What `RedisConnection` promises, by redis-py's own reader and writer."""

    def __init__(self, opened: Any, **calls: Callable[..., None]) -> None:
        self._opened, self._answered, self._ended = opened, calls["answered"], calls["ended"]
        self.over = self.full = False
        self._reading = asyncio.ensure_future(self._read())

    def write(self, commands: bytes) -> None:
        if not self.over:
            self._opened._writer.write(commands)

    def _let_go(self) -> None:
        self._opened._close()

    async def _read(self) -> None:
        while not self.over:
            try:
                answer = await self._opened.read_response(disable_decoding=True)
            except ResponseError as error:
                answer = error
            except Exception as error:
                self.end(Lost(str(error)))
                return
            try:
                self._answered(answer)
            except Exception as error:
                self.end(error)


if __name__ == "__main__":
    PARTS[sys.argv[1]]()
    del sys.argv[1]
    sys.exit(cli.main())
