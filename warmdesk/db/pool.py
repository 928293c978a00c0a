"""Pools of connections to PostgreSQL, with the time limits every statement lives under.

Two pools a process: one for requests, and two connections that requests cannot take, with which the
hub heals. A connection goes back to its pool without a reset (official asyncpg option, 10–70 µs a
request): no code here leaves a SET, a LISTEN or a session lock behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from warmdesk.errors import Unavailable
from warmdesk.metrics import POOL_WAIT

ACQUIRE_SECONDS = 2.0
ASK_SECONDS = 4.5
CONNECT_SECONDS = 5.0
HEALING_CONNECTIONS = 2
STATEMENT_MS = 4000
LOCK_MS = 1000
IDLE_IN_TRANSACTION_MS = 5000


BROKEN = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""A connection that is of no use any more. asyncpg says InternalClientError when the server said
goodbye while the connection lay in the pool and its end has not been read yet."""


async def _no_reset(connection: Any) -> None:
    return None


class Database:
    """PostgreSQL as one process sees it. A query takes it where it would take a connection.

    `healing` is the centre's own pool.
    """

    def __init__(self, pool: Any, healing: Any) -> None:
        self.pool = pool
        self.healing = healing

    @classmethod
    async def open(cls, dsn: str, *, size: int) -> Database:
        """Open both pools. Raises what asyncpg raises when the server is not there."""
        settings = {
            "application_name": "warmdesk",
            "timezone": "UTC",
            "jit": "off",
            "statement_timeout": str(STATEMENT_MS),
            "lock_timeout": str(LOCK_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            "client_connection_check_interval": "5000",
        }

        async def pool(least: int, most: int) -> Any:
            return await asyncpg.create_pool(
                dsn,
                min_size=least,
                max_size=most,
                reset=_no_reset,
                server_settings=settings,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_MS / 1000 + 0.5,
            )

        return cls(await pool(min(2, size), size), await pool(1, HEALING_CONNECTIONS))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for a request; `Unavailable` after two seconds without one."""
        asked = time.monotonic()
        try:
            connection = await self.pool.acquire(timeout=ACQUIRE_SECONDS)
        except (*BROKEN, asyncpg.PostgresError) as error:
            raise Unavailable("the database is busy or away, try again") from error
        finally:
            POOL_WAIT.observe(time.monotonic() - asked)
        try:
            yield connection
        finally:
            await self.pool.release(connection)

    async def fetch(self, statement: str, *values: Any) -> Any:
        return await self._ask("fetch", statement, values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        return await self._ask("fetchrow", statement, values)

    async def execute(self, statement: str, *values: Any) -> Any:
        return await self._ask("execute", statement, values)

    async def _ask(self, verb: str, statement: str, values: tuple[Any, ...]) -> Any:
        """One statement. The wait for a connection and the answer take `ASK_SECONDS` together."""
        end = time.monotonic() + ASK_SECONDS
        async with self.connection() as connection:
            left = max(0.1, end - time.monotonic())
            return await getattr(connection, verb)(statement, *values, timeout=left)

    async def close(self) -> None:
        for pool in (self.pool, self.healing):
            try:
                async with asyncio.timeout(2):
                    await pool.close()
            except (*BROKEN, asyncpg.PostgresError):
                pool.terminate()
