"""Pools of connections to PostgreSQL, with the time limits every statement lives under.

Two pools a process: one for requests, and two connections that requests cannot take, with which the
hub heals.

A PostgreSQL that hangs, or a network that lost its memory, tells nobody. So all that is done with a
connection has an end together with the wait for it. A connection that was left in the middle of a
question is closed at once: asyncpg would wait for the answer to its cancellation, as long again.
And whoever was asked in vain makes the others doubtful: a connection that has not answered since
is replaced before it is used, so that nobody has to wait for each of them in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from warmdesk.db.lines import Line, Lines, Silence
from warmdesk.errors import Unavailable
from warmdesk.metrics import POOL_WAIT

ACQUIRE_SECONDS = 2.0
ASK_SECONDS = 4.5
LEAST_SECONDS = 0.1
REST_SECONDS = 1.0
"""What something else that a request waits for leaves to PostgreSQL: plenty while it answers."""
SILENT_SECONDS = 1.5
HEALING_CONNECTIONS = 2
STATEMENT_MS = 4000
LOCK_MS = 1000
IDLE_IN_TRANSACTION_MS = 5000
TRANSACTION_MS = 5000
"""A process that was stopped just when it had a statement prepared is not idle for PostgreSQL, nor
does its statement run: only this limit takes its locks away."""
CLIENT_GONE_MS = 1000
"""How soon a statement under way ends when we closed its connection, and lets go of its locks."""

BROKEN = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""A connection that is of no use any more. asyncpg says InternalClientError when the server said
goodbye while the connection lay in the pool and its end has not been read yet."""
PLAN_IS_OLD = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""The schema changed, and asyncpg's connections remember the one of before."""
DATABASE_AWAY = (asyncpg.PostgresError, *BROKEN, Unavailable)
"""What a question raises when PostgreSQL is away, busy or slow."""


@dataclass(slots=True)
class Budget:
    """Seconds that one request may still spend on PostgreSQL, all its questions together: so its
    client is answered within five, whatever hangs. A task that outlives it is not bound by it.
    """

    left: float = ASK_SECONDS
    over: bool = False


BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


@asynccontextmanager
async def spending() -> AsyncIterator[None]:
    """A wait for PostgreSQL takes from what the request has left, and ends with it: TimeoutError.
    Also where the request shares an answer, and the question itself is not bound by any request.
    """
    budget = BUDGET.get()
    if budget is None or budget.over:
        yield
        return
    began = time.monotonic()
    try:
        async with asyncio.timeout(max(LEAST_SECONDS, budget.left)):
            yield
    finally:
        budget.left -= time.monotonic() - began


def spent(seconds: float) -> None:
    """Something else kept the request for so long: less of its time is left for PostgreSQL."""
    budget = BUDGET.get()
    if budget is not None and not budget.over:
        budget.left = max(min(budget.left, REST_SECONDS), budget.left - seconds)


class Connections:
    """One pool. A query takes it where it would take a connection."""

    def __init__(self, pool: Lines) -> None:
        self.pool = pool
        self.silence = pool.silence

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for a moment. `Unavailable` after two seconds without one; TimeoutError when
        `ASK_SECONDS` after it was asked for the work with it has not ended.
        """
        async with asyncio.timeout(ASK_SECONDS):
            line = await self._acquire()
            began = time.monotonic()
            try:
                yield line
            except (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError):
                line.terminate()
                if time.monotonic() - began > SILENT_SECONDS:
                    self.silence.since = max(self.silence.since, began)
                raise
            except PLAN_IS_OLD:
                self.pool.expire()
                raise
            else:
                line.answered = time.monotonic()
            finally:
                self.pool.release(line)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction, which is committed in the end; an error rolls it back. So
        does PostgreSQL when it finds that whoever ran out of time has left.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except TimeoutError:
                raise
            except Exception:  # every error of the work undoes the work
                try:
                    await transaction.rollback()
                except Exception:  # it cannot be undone: then PostgreSQL does when we are gone
                    connection.terminate()
                raise
            await transaction.commit()

    async def _acquire(self) -> Line:
        try:
            return await self.pool.acquire(ACQUIRE_SECONDS)
        except (*BROKEN, asyncpg.PostgresError) as error:
            raise Unavailable("the database is busy or away, try again") from error

    async def fetch(self, statement: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchrow(statement, *values)

    async def execute(self, statement: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.execute(statement, *values)

    async def close(self) -> None:
        """End, within two seconds."""
        await self.pool.close()


class Database(Connections):
    """PostgreSQL as one process sees it: the pool for requests, and `healing`, the centre's own."""

    def __init__(self, pool: Lines, healing: Lines) -> None:
        super().__init__(pool)
        self.healing = Connections(healing)

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
            "client_connection_check_interval": str(CLIENT_GONE_MS),
        }
        early = await asyncpg.connect(dsn, timeout=ASK_SECONDS)
        if early.get_server_version() >= (17, 0):
            settings["transaction_timeout"] = str(TRANSACTION_MS)
        await early.close(timeout=ASK_SECONDS)

        connect = partial(
            asyncpg.connect,
            dsn,
            connection_class=Line,
            server_settings=settings,
            timeout=ASK_SECONDS,
            command_timeout=ASK_SECONDS,
        )
        silence = Silence()
        opened = cls(
            Lines(connect, most=size, silence=silence),
            Lines(connect, most=HEALING_CONNECTIONS, silence=silence),
        )
        try:
            # More are made when they are needed.
            await opened.pool.fill(min(2, size))
            await opened.healing.pool.fill(1)
        except BaseException:  # nobody has it to close it
            await opened.close()
            raise
        return opened

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection, for no longer than the request has left; without one, `ASK_SECONDS`."""
        async with spending(), super().connection() as connection:
            yield connection

    async def _acquire(self) -> Line:
        asked = time.monotonic()
        try:
            return await super()._acquire()
        finally:
            POOL_WAIT.observe(time.monotonic() - asked)

    async def close(self) -> None:
        await super().close()
        await self.healing.close()
