"""Pools of connections to PostgreSQL, with the time limits every statement lives under.

Three pools a process: one for requests; a small one for reads that may be long (`Heavy`), so that
sign-ins, changes and health never wait for them; and two connections that requests cannot take,
with which the hub heals.

A PostgreSQL that hangs, or a network that forgot the connection, sends no error. So one time limit
holds for the wait for a connection and all work with it. A connection that was left in the middle
of a question is closed at once: asyncpg would wait for the answer to its cancellation, as long
again. And when one connection does not answer in time, all others are in doubt: one that has not
answered since is replaced before it is used, so that requests do not wait for each of them in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg

import warmdesk
from warmdesk.db.connections import ConnectionPool, PooledConnection, UnansweredSince
from warmdesk.db.dial import Dialer, connect, named_hosts
from warmdesk.db.queries import sql
from warmdesk.errors import Unavailable
from warmdesk.metrics import HEAVY_WAIT, POOL_WAIT
from warmdesk.outages import DATABASE, DISK, Outage

ACQUIRE_SECONDS = 2.0
ASK_SECONDS = 4.5
LEAST_SECONDS = 0.1
REST_SECONDS = 1.0
"""Seconds that a request's other waits leave for PostgreSQL: plenty while it answers."""
SILENT_SECONDS = 1.5
HEALING_CONNECTIONS = 2
POSTGRESQL, DATA_DIRECTORY = "postgresql", "data_dir"
"""Who judges whether the disk is full: PostgreSQL, which may have another, and a look at that of
the data directory."""
STATEMENT_MS = 4000
HEAVY_MS = 2000
"""A heavy read's statement. The largest board there can be takes a quarter of it; together with the
two seconds that it may have waited it is still answered in time."""
HEAVY_QUEUE = 200
"""Heavy reads that wait in a process: as many ordinary boards are built in a second."""
LOCK_MS = 1000
IDLE_IN_TRANSACTION_MS = 5000
TRANSACTION_MS = 5000
"""A process that was stopped just when it had a statement prepared is not idle for PostgreSQL, nor
does its statement run: only this limit takes its locks away."""
CLIENT_GONE_MS = 1000
"""How soon a statement under way ends when we closed its connection, and lets go of its locks."""

ENDS_OR_STARTS = ("57P01", "57P02", "57P03")
"""SQLSTATE of a PostgreSQL that ends a connection because it stops, or takes none yet."""

BROKEN = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""A connection that is of no use any more. asyncpg says InternalClientError when the server said
goodbye while the connection lay in the pool and its end has not been read yet."""
PLAN_IS_OLD = (
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.InternalServerError,
)
"""The schema changed, and asyncpg's connections remember the one of before. PostgreSQL says XX000
("cache lookup failed") of a function or type that a restore took away under a statement.
"""
DATABASE_AWAY = (asyncpg.PostgresError, *BROKEN, Unavailable)
"""The errors of a question when PostgreSQL is away, busy or slow."""


def answered(error: BaseException) -> bool:
    """Whether PostgreSQL is there and only would not do what it was asked, as far as one of these
    errors tells. One that takes no connection of ours (`Unavailable`), whatever it says to that, is
    not there for us.
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(error, asyncpg.PostgresConnectionError)
        and error.sqlstate not in ENDS_OR_STARTS
    )


@dataclass(slots=True)
class Budget:
    """Seconds that one request may still spend on PostgreSQL, all its questions together: so its
    client is answered within five. A task that outlives it is not bound by it.
    """

    left: float = ASK_SECONDS
    over: bool = False
    waited: float = 0.0
    """Seconds that its handler waited for something to happen, which is no work."""


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


def granted(seconds: float) -> tuple[float, Budget | None]:
    """So many seconds or what the request has left, and its budget if it is bound by one."""
    budget = BUDGET.get()
    if budget is None or budget.over:
        return seconds, None
    return min(seconds, max(LEAST_SECONDS, budget.left)), budget


WAITED = POOL_WAIT.at()
HEAVY_WAITED = HEAVY_WAIT.at()


class Connections:
    """One pool. A query takes it where it would take a connection."""

    for_requests = False
    """Whether a question takes from the time of the request that asks."""
    waited: Any = None
    """The histogram of waits for a connection, where they are counted."""
    silent_after = SILENT_SECONDS
    """A connection without an answer for so many seconds makes the others doubtful."""

    def __init__(self, pool: ConnectionPool, *, disk: Outage | None = None) -> None:
        """`disk`: hears when PostgreSQL finds no room on its own."""
        self.pool = pool
        self.silence = pool.silence
        self.disk = disk or Outage(DISK)

    def connection(self, seconds: float = ASK_SECONDS) -> Within:
        """A connection for a moment, by ``async with``. `Unavailable` after two seconds without
        one; TimeoutError when the work with it has not ended `seconds` after it was asked for.
        """
        return Within(self, seconds)

    async def ask(self, statement: str, values: Sequence[Any], seconds: float) -> Any:
        """One statement's first row, or None. It ends as the work with a `connection` does.

        Nothing but the connection is waited for, so it is enough to close that when the time is
        over. An answer that came in the same moment counts.
        """
        began = asked_at = time.monotonic()
        seconds, budget = granted(seconds) if self.for_requests else (seconds, None)
        try:
            line = self.pool.take()
            if line is None:
                line = await self._wait(seconds)
                asked_at = time.monotonic()
            elif self.waited is not None:
                self.waited.observe(0.0)
            limit = line.cut_in(began + seconds - asked_at)
            try:
                row = await line.fetchrow(statement, *values)
            except BaseException as error:
                self._failed(line, asked_at, error)
                if line.late and not isinstance(error, asyncio.CancelledError):
                    raise TimeoutError from error
                raise
            else:
                line.answered = time.monotonic()
            finally:
                limit.cancel()
                self.pool.release(line)
        finally:
            if budget is not None:
                budget.left -= time.monotonic() - began
        return row

    @asynccontextmanager
    async def transaction(self, seconds: float = ASK_SECONDS) -> AsyncIterator[Any]:
        """A connection in a transaction, which is committed in the end; an error rolls it back. So
        does PostgreSQL when it finds that the client ran out of time and left.
        """
        async with self.connection(seconds) as connection:
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

    async def _wait(self, seconds: float) -> PooledConnection:
        """A connection that is not there yet, within two seconds or fewer."""
        began = time.monotonic()
        try:
            return await self.pool.acquire(min(ACQUIRE_SECONDS, seconds))
        except (*BROKEN, asyncpg.PostgresError) as error:
            if seconds < ACQUIRE_SECONDS and isinstance(error, TimeoutError):
                raise
            raise Unavailable("the database is busy or away, try again") from error
        finally:
            if self.waited is not None:
                self.waited.observe(time.monotonic() - began)

    def _failed(self, line: PooledConnection, asked_at: float, error: BaseException) -> None:
        """Note what an error says about the connection and the others."""
        if line.late or isinstance(
            error, (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError)
        ):
            line.terminate()
            if time.monotonic() - asked_at > self.silent_after:
                self.silence.since = max(self.silence.since, asked_at)
        elif isinstance(error, PLAN_IS_OLD):
            self.pool.expire()
        elif isinstance(error, asyncpg.DiskFullError):
            self.disk.failed(error, of=POSTGRESQL)

    async def fetch(self, statement: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        return await self.ask(statement, values, ASK_SECONDS)

    async def execute(self, statement: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.execute(statement, *values)

    async def close(self) -> None:
        """End, within two seconds."""
        await self.pool.close()


class Within:
    """A connection with one limit for the wait for it and all that is done with it.

    It ends what it holds as asyncio.timeout does, which would be needed three times here: for the
    wait, for the work and for the budget of the request.
    """

    __slots__ = (
        "_asked_at",
        "_before",
        "_began",
        "_budget",
        "_connections",
        "_late",
        "_limit",
        "_line",
        "_seconds",
        "_task",
    )

    def __init__(self, connections: Connections, seconds: float) -> None:
        self._connections, self._seconds = connections, seconds
        self._late = False

    async def __aenter__(self) -> Any:
        connections, seconds = self._connections, self._seconds
        self._began = self._asked_at = time.monotonic()
        bound = connections.for_requests
        seconds, self._budget = granted(seconds) if bound else (seconds, None)
        line = connections.pool.take()
        if line is None:
            try:
                line = await connections._wait(seconds)
            except BaseException:  # whatever it was, the time is gone
                self._pay()
                raise
            self._asked_at = time.monotonic()
        elif connections.waited is not None:
            connections.waited.observe(0.0)
        self._line = line
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self._limit = asyncio.get_running_loop().call_later(
            max(0.0, self._began + seconds - self._asked_at), self._end
        )
        return line

    def _end(self) -> None:
        self._late = True
        self._task.cancel()

    def _pay(self) -> None:
        if self._budget is not None:
            self._budget.left -= time.monotonic() - self._began

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._limit.cancel()
        line = self._line
        if error is None:
            line.answered = time.monotonic()
        else:
            self._connections._failed(line, self._asked_at, error)
        self._connections.pool.release(line)
        self._pay()
        if self._late and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error


async def _limits(dsn: str) -> dict[str, str]:
    """The parameters of each connection, but for the statement's limit."""
    limits = {
        "application_name": f"warmdesk {warmdesk.__version__}",
        "timezone": "UTC",
        "jit": "off",
        "lock_timeout": str(LOCK_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
        "client_connection_check_interval": str(CLIENT_GONE_MS),
    }
    early = await connect(dsn, timeout=ASK_SECONDS)
    if early.get_server_version() >= (17, 0):
        limits["transaction_timeout"] = str(TRANSACTION_MS)
    await early.close(timeout=ASK_SECONDS)
    return limits


class LimitsRefused(Exception):
    """What stands between us and PostgreSQL does not let the parameters of a connection through;
    without them its locks would never end.
    """


async def check_limits(dsn: str) -> None:
    """See that a connection gets its limits. Raises `LimitsRefused`, and what asyncpg raises."""
    limits = await _limits(dsn) | {"statement_timeout": str(STATEMENT_MS)}
    try:
        connection = await connect(dsn, timeout=ASK_SECONDS, server_settings=limits)
    except (asyncpg.ProtocolViolationError, asyncpg.UndefinedObjectError) as error:
        raise LimitsRefused(
            f"{named_hosts(dsn)} refuses a parameter of a connection ({error})"
        ) from None
    try:
        found = {
            row["name"]: row["setting"]
            for row in await sql.server.parameters(connection, names=list(limits))
        }
    except asyncpg.InvalidSQLStatementNameError:
        raise LimitsRefused(f"{named_hosts(dsn)} forgets what a connection prepared") from None
    except asyncpg.DuplicatePreparedStatementError:
        raise LimitsRefused(f"{named_hosts(dsn)} shares what a connection prepared") from None
    finally:
        await connection.close(timeout=ASK_SECONDS)
    for name, wanted in limits.items():
        if found.get(name) != wanted:
            raise LimitsRefused(
                f"{named_hosts(dsn)} drops the parameters of a connection ({name} is"
                f" {found.get(name)!r} and not {wanted!r})"
            )


class Heavy(Connections):
    """The pool for reads whose cost grows with what there is: searches, boards, long pages.

    However many and long they are, they hold so many connections and no more. A read behind too
    many others gets `Unavailable` at once, and so does a statement that takes too long.
    """

    for_requests = True
    waited = HEAVY_WAITED
    silent_after = HEAVY_MS / 1000 + 0.5
    """Before that a read is only long: PostgreSQL would have ended it by then."""

    async def ask(self, statement: str, values: Sequence[Any], seconds: float) -> Any:
        try:
            return await super().ask(statement, values, seconds)
        except asyncpg.QueryCanceledError as error:
            raise too_long() from error

    async def fetch(self, statement: str, *values: Any) -> Any:
        try:
            return await super().fetch(statement, *values)
        except asyncpg.QueryCanceledError as error:
            raise too_long() from error

    async def _wait(self, seconds: float) -> PooledConnection:
        if self.pool.waiting >= HEAVY_QUEUE:
            raise Unavailable("too many long reads at once, try again", code="too_many_reads")
        return await super()._wait(seconds)


def too_long() -> Unavailable:
    """The refusal of a read that takes too long."""
    return Unavailable("this read takes too long; ask for less, or try again", code="read_too_long")


class Database(Connections):
    """PostgreSQL as one process sees it: the pool for requests; `heavy`, for what reads much; and
    `reserved`, the centre's own. `outage`: whether it is lost; `disk`: whether its disk is full.
    """

    for_requests = True
    waited = WAITED

    def __init__(
        self, pool: ConnectionPool, heavy: ConnectionPool, reserved: ConnectionPool, *, host: str
    ) -> None:
        super().__init__(pool, disk=Outage(DISK, host=host))
        self.outage = Outage(DATABASE, host=host)
        self.heavy = Heavy(heavy, disk=self.disk)
        self.reserved = Connections(reserved, disk=self.disk)

    @classmethod
    async def open(cls, dsn: str, *, size: int, heavy: int = 2) -> Database:
        """Open the pools. Raises what asyncpg raises when the server is not there."""
        settings = await _limits(dsn)

        def dial(statement_ms: int) -> Dialer:
            limits = settings | {"statement_timeout": str(statement_ms)}
            return Dialer(
                dsn, timeout=ASK_SECONDS, connection_class=PooledConnection, server_settings=limits
            )

        silence, usual = UnansweredSince(), dial(STATEMENT_MS)
        opened = cls(
            ConnectionPool(usual, most=size, silence=silence),
            ConnectionPool(dial(HEAVY_MS), most=heavy, silence=silence),
            ConnectionPool(usual, most=HEALING_CONNECTIONS, silence=silence),
            host=named_hosts(dsn),
        )
        try:
            # More are made when they are needed.
            await opened.pool.fill(min(2, size))
            await opened.reserved.pool.fill(1)
        except BaseException:  # no caller has it to close it
            await opened.close()
            raise
        return opened

    async def close(self) -> None:
        await super().close()
        await self.heavy.close()
        await self.reserved.close()
