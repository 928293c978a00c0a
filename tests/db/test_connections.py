"""The pool of connections: who waits is served in order, and what is not good is not handed on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import Wait, until
from warmdesk.db import connections as module
from warmdesk.db.connections import ConnectionPool, PooledConnection, UnansweredSince
from warmdesk.db.pool import Database

pytestmark = pytest.mark.foul

SIZE = 2
TICK = 0.002
"""The loop's timers count whole milliseconds."""


@pytest.fixture
async def lines(database_url: str) -> AsyncIterator[ConnectionPool]:
    async def connect() -> PooledConnection:
        return await asyncpg.connect(database_url, connection_class=PooledConnection)  # type: ignore[no-any-return]

    made = ConnectionPool(connect, most=SIZE, silence=UnansweredSince())
    yield made
    await made.close()


async def all_of(lines: ConnectionPool) -> list[PooledConnection]:
    """Every connection that there may be."""
    return [await lines.acquire(2) for _ in range(SIZE)]


def give_back(lines: ConnectionPool, taken: list[PooledConnection]) -> None:
    for line in taken:
        lines.release(line)


async def waiting(
    lines: ConnectionPool, count: int, seconds: float = 5
) -> list[asyncio.Task[PooledConnection]]:
    """So many who wait for a connection, in this order."""
    tasks = [asyncio.create_task(lines.acquire(seconds)) for _ in range(count)]
    await until(lambda: len([each for each in lines._waiting if not each.done()]) == count)
    return tasks


async def pid_of(line: PooledConnection) -> int:
    return int(await line.fetchval("select pg_backend_pid()"))


async def test_a_connection_is_made_when_it_is_needed_and_used_again(lines: ConnectionPool) -> None:
    assert lines.size == 0
    assert lines.take() is None
    first = await lines.acquire(2)
    assert (lines.size, lines.idle) == (1, 0)
    lines.release(first)
    assert (lines.size, lines.idle) == (1, 1)
    assert lines.take() is first
    second = await lines.acquire(2)
    give_back(lines, [first, second])
    assert lines.take() is second, "the last that was given back"
    lines.release(second)


async def test_so_many_are_made_at_once(lines: ConnectionPool) -> None:
    await lines.fill(SIZE)
    assert (lines.size, lines.idle) == (SIZE, SIZE)


async def test_who_waits_is_served_in_order(lines: ConnectionPool) -> None:
    first, second = await all_of(lines)
    tasks = await waiting(lines, 3)
    lines.release(second)
    assert await tasks[0] is second
    late = asyncio.create_task(lines.acquire(5))
    lines.release(first)
    assert await tasks[1] is first
    assert not tasks[2].done()
    lines.release(first)
    assert await tasks[2] is first
    lines.release(second)
    assert await late is second
    give_back(lines, [first, second])
    assert lines.size == SIZE


async def test_nobody_goes_past_those_who_wait(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    (task,) = await waiting(lines, 1)
    lines.release(taken[0])
    assert lines.take() is None
    assert await task is taken[0]
    give_back(lines, taken)


async def test_who_waits_in_vain_gives_up(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await lines.acquire(0.2)
    assert 0.2 - TICK <= time.monotonic() - began < pace.here(1)
    (task,) = await waiting(lines, 1)
    give_back(lines, taken)
    assert await task in taken
    lines.release(task.result())
    assert lines.idle == SIZE


async def test_a_connection_that_cannot_be_made_in_time_is_given_up(lines: ConnectionPool) -> None:
    hung = asyncio.Event()

    async def hangs() -> PooledConnection:
        await hung.wait()
        raise AssertionError("nobody waited for this")

    slow = ConnectionPool(hangs, most=1, silence=UnansweredSince())
    for _ in range(2):  # the room is there again
        with pytest.raises(TimeoutError):
            await slow.acquire(0.05)


async def test_a_cancelled_waiter_loses_no_connection(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    gone, served = await waiting(lines, 2)
    gone.cancel()
    lines.release(taken[0])
    assert await served is taken[0]
    give_back(lines, taken)
    assert (lines.size, lines.idle) == (SIZE, SIZE)


async def test_who_is_cancelled_when_it_is_just_served_gives_it_on(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    gone, served = await waiting(lines, 2)
    lines.release(taken[0])
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await served is taken[0]
    give_back(lines, taken)
    assert (lines.size, lines.idle) == (SIZE, SIZE)


async def test_who_is_cancelled_when_it_just_got_room_gives_it_on(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    gone, served = await waiting(lines, 2)
    taken[0].terminate()
    lines.release(taken[0])
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    fresh = await served
    assert fresh is not taken[0]
    give_back(lines, [fresh, taken[1]])
    assert (lines.size, lines.idle) == (SIZE, SIZE)


async def test_a_broken_connection_makes_room_for_a_new_one(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    (task,) = await waiting(lines, 1)
    taken[0].terminate()
    assert lines.size == SIZE - 1
    lines.release(taken[0])
    fresh = await task
    assert fresh not in taken
    assert await pid_of(fresh)
    give_back(lines, [fresh, taken[1]])
    assert lines.size == SIZE


async def test_a_connection_that_ended_while_idle_is_replaced(
    lines: ConnectionPool, connection: Any, eventually: Wait
) -> None:
    await lines.fill(SIZE)
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await eventually(lambda: lines.size == 0)
    for line in await all_of(lines):
        assert await pid_of(line)
        lines.release(line)
    assert lines.idle == SIZE


async def test_who_cannot_connect_hears_why_and_leaves_the_room(lines: ConnectionPool) -> None:
    refused = 2

    async def connect() -> PooledConnection:
        nonlocal refused
        if refused:
            refused -= 1
            raise ConnectionRefusedError
        return await lines._connect()

    pool = ConnectionPool(connect, most=1, silence=UnansweredSince())
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await pool.acquire(2)
    pool.release(await pool.acquire(2))
    assert pool.idle == 1
    await pool.close()


async def test_what_comes_back_in_a_transaction_is_not_handed_on(
    lines: ConnectionPool, connection: Any
) -> None:
    line = await lines.acquire(2)
    await line.execute("begin")
    await line.execute("update users set display_name = 'Al' where id = 3")
    lines.release(line)
    assert line.is_closed()
    await connection.execute("set lock_timeout = '3s'")
    assert await connection.fetchval("select display_name from users where id = 3 for update")
    assert lines.size == 0


@pytest.mark.parametrize("statement", ["select pg_sleep(3)", "select pg_sleep($1)"])
async def test_what_comes_back_at_work_is_not_handed_on(
    lines: ConnectionPool, statement: str
) -> None:
    line = await lines.acquire(2)
    values = [3] if "$1" in statement else []
    asked = asyncio.create_task(line.execute(statement, *values))
    await asyncio.sleep(0)
    assert not line.is_free
    lines.release(line)
    assert line.is_closed()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await asked


async def test_what_comes_back_with_an_answer_on_its_way_is_not_handed_on(
    lines: ConnectionPool, connection: Any
) -> None:
    line = await lines.acquire(2)
    asked = asyncio.create_task(line.fetch("select pg_sleep(3)"))

    async def sleeps() -> bool:
        query = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and pid = $1"
        return bool(await connection.fetchval(query, line.get_server_pid()))

    await until(sleeps)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not line.is_free
    lines.release(line)
    assert line.is_closed()


async def test_what_still_listens_is_not_handed_on(lines: ConnectionPool) -> None:
    line = await lines.acquire(2)
    await line.add_listener("news", print)
    lines.release(line)
    assert line.is_closed()


async def test_two_statements_at_once_are_refused(lines: ConnectionPool) -> None:
    line = await lines.acquire(2)
    asked = asyncio.create_task(line.execute("select pg_sleep(0.1)"))
    await asyncio.sleep(0)
    with pytest.raises(asyncpg.InterfaceError):
        await line.execute("select 1")
    await asked
    lines.release(line)
    assert lines.idle == 1


async def test_nothing_is_given_back_twice(lines: ConnectionPool) -> None:
    line = await lines.acquire(2)
    lines.release(line)
    with pytest.raises(asyncpg.InterfaceError):
        lines.release(line)
    assert lines.idle == 1


async def test_all_connections_expire(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    lines.release(taken[0])
    lines.expire()
    assert lines.idle == 0
    assert taken[0].is_closed()
    fresh = await lines.acquire(2)
    lines.release(taken[1])
    assert taken[1].is_closed(), "it was out when all expired"
    lines.release(fresh)
    assert lines.take() is fresh
    lines.release(fresh)


async def test_a_connection_that_was_not_heard_since_the_silence_is_replaced(
    lines: ConnectionPool,
) -> None:
    first, second = await all_of(lines)
    (task,) = await waiting(lines, 1)
    lines.silence.since = time.monotonic()
    second.answered = time.monotonic() + 0.001
    lines.release(first)
    fresh = await task
    assert first.is_closed()
    give_back(lines, [second, fresh])
    assert lines.take() is fresh
    assert lines.take() is second
    give_back(lines, [second, fresh])


async def test_a_connection_is_replaced_after_many_uses(
    lines: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_USES", 3)
    used = []
    for _ in range(4):
        line = await lines.acquire(2)
        used.append(await pid_of(line))
        lines.release(line)
    assert len(set(used[:3])) == 1
    assert used[3] != used[0]


async def test_what_lies_idle_is_closed(
    lines: ConnectionPool, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.3)
    taken = await all_of(lines)
    lines.release(taken[0])
    lines.release(taken[1])
    began = time.monotonic()
    while time.monotonic() - began < 0.6:  # one is used again and again
        line = lines.take()
        assert line is taken[1]
        await line.fetch("select pg_sleep(0.02)")
        lines.release(line)
    assert taken[0].is_closed()
    assert lines.size == 1
    await eventually(lambda: lines.size == 0, limit=1)
    line = await lines.acquire(2)
    assert line not in taken
    lines.release(line)


async def test_closing_waits_for_those_who_have_a_connection(lines: ConnectionPool) -> None:
    taken = await all_of(lines)
    lines.release(taken[0])
    closing = asyncio.create_task(lines.close())
    await until(taken[0].is_closed)
    assert await pid_of(taken[1])
    lines.release(taken[1])
    await closing
    assert lines.size == 0
    with pytest.raises(asyncpg.InterfaceError):
        await lines.acquire(2)


async def test_closing_does_not_wait_for_ever(
    lines: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.2)
    taken = await all_of(lines)
    (task,) = await waiting(lines, 1)
    began = time.monotonic()
    await lines.close()
    assert time.monotonic() - began < pace.here(1)
    with pytest.raises(asyncpg.InterfaceError):
        await task
    assert all(line.is_closed() for line in taken)
    give_back(lines, taken)
    assert lines.size == 0


async def test_a_connection_made_for_a_closed_pool_is_closed(lines: ConnectionPool) -> None:
    made: list[PooledConnection] = []

    async def connect() -> PooledConnection:
        made.append(await lines._connect())
        closing = asyncio.create_task(pool.close())
        await closing
        return made[0]

    pool = ConnectionPool(connect, most=1, silence=UnansweredSince())
    with pytest.raises(asyncpg.InterfaceError):
        await pool.acquire(2)
    assert made[0].is_closed()


async def test_a_schema_that_changed_is_met_once(database_url: str, connection: Any) -> None:
    """Not once for each connection that remembers the one of before."""
    database = await Database.open(database_url, size=3)
    asked = "select * from told"

    async def ask() -> Any:
        async with database.transaction() as taken:
            return await taken.fetch(asked)

    await connection.execute("create table told (one int)")
    held = [await database.pool.acquire(2) for _ in range(3)]
    for line in held:
        await line.fetch(asked)
        database.pool.release(line)
    await connection.execute("alter table told alter column one type text")
    with pytest.raises(asyncpg.InvalidCachedStatementError):
        await ask()
    assert await asyncio.gather(*(ask() for _ in range(3))) == [[], [], []]
    assert all(line.is_closed() for line in held)
    await database.close()
