"""Connections to PostgreSQL: what a request may spend on them, and how what is late ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import Wait, until
from warmdesk.db import pool
from warmdesk.db.pool import BUDGET, Budget, Database, granted
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable

TICK = 0.002
"""The loop's timers count whole milliseconds."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with a single connection."""
    opened = await Database.open(database_url, size=1)
    yield opened
    await opened.close()


async def test_all_questions_of_a_request_share_its_time(desk: Desk) -> None:
    budget = Budget(left=0.5)
    BUDGET.set(budget)
    await desk.database.fetch("select pg_sleep(0.15)")
    await desk.database.fetchrow("select pg_sleep(0.15)")
    with pytest.raises(TimeoutError):
        await desk.database.fetch("select pg_sleep(0.4)")
    assert budget.left < 0.1
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await desk.database.fetchrow("select pg_sleep(0.4)")
    assert time.monotonic() - began < pace.here(0.3)
    assert granted(2)[0] == 0.1
    budget.over = True
    assert granted(2)[0] == 2


async def test_what_outlives_its_request_has_time_of_its_own(desk: Desk) -> None:
    budget = Budget(left=0.2)
    BUDGET.set(budget)
    outlives = asyncio.create_task(asyncio.sleep(0.05))
    await outlives
    budget.over = True
    await desk.database.fetch("select pg_sleep(0.4)")
    await desk.database.fetchrow("select pg_sleep(0.4)")
    await desk.database.reserved.fetch("select pg_sleep(0.4)")


async def asks(database: Database, seconds: float) -> None:
    await database.ask("select pg_sleep(3)", (), seconds)


async def holds(database: Database, seconds: float) -> None:
    async with database.connection(seconds) as connection:
        await connection.fetch("select pg_sleep(3)")


async def changes(database: Database, seconds: float) -> None:
    async with database.transaction(seconds) as connection:
        await connection.fetch("select pg_sleep(3)")


ALL = pytest.mark.parametrize("question", [asks, holds, changes])


async def pid(database: Database) -> int:
    return int((await database.fetchrow("select pg_backend_pid()"))[0])


@ALL
async def test_what_is_late_takes_its_connection_along(database: Database, question: Any) -> None:
    before = await pid(database)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await question(database, 0.2)
    assert 0.2 - TICK <= time.monotonic() - began < pace.here(1)
    assert database.pool.size == 0
    assert await pid(database) != before
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@ALL
async def test_what_is_cancelled_takes_its_connection_along(
    database: Database, question: Any, connection: Any
) -> None:
    before = await pid(database)
    task = asyncio.create_task(question(database, 4))

    async def asked() -> bool:
        query = "select 1 from pg_stat_activity where query like '%sleep(3)' and pid = $1"
        return bool(await connection.fetchval(query, before))

    await until(asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert database.pool.size == 0
    assert await pid(database) != before


@ALL
async def test_the_wait_for_a_connection_and_the_question_have_one_limit(
    database: Database, question: Any, eventually: Wait
) -> None:
    line = await database.pool.acquire(1)
    asyncio.get_running_loop().call_later(0.4, database.pool.release, line)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await question(database, 0.8)
    assert 0.8 - TICK <= time.monotonic() - began < pace.here(1.1)


@ALL
async def test_who_has_less_time_than_the_wait_hears_that_it_is_over(
    database: Database, question: Any
) -> None:
    line = await database.pool.acquire(1)
    with pytest.raises(TimeoutError):
        await question(database, 0.1)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await question(database, 4)
    assert 2 - TICK <= time.monotonic() - began < pace.here(3)
    database.pool.release(line)
    assert database.pool.idle == 1


async def test_an_error_leaves_the_connection_good(database: Database) -> None:
    before = await pid(database)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.ask("select 1 / 0", (), 2)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.connection() as connection:
            await connection.fetch("select 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.transaction() as connection:
            await connection.fetch("select 1 / 0")
    with pytest.raises(asyncpg.DataError):
        await database.ask("select $1::int", ("one",), 2)
    assert await pid(database) == before


async def test_what_else_is_waited_for_ends_too(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with database.connection(0.2):
            await asyncio.Event().wait()
    assert time.monotonic() - began < pace.here(1)
    assert await pid(database)


async def test_a_limit_outside_is_told_from_the_one_inside(database: Database) -> None:
    outside = asyncio.timeout(1)
    async with outside:
        with pytest.raises(TimeoutError):
            await holds(database, 0.1)
    assert not outside.expired()

    outside = asyncio.timeout(0.1)

    async def held() -> None:
        async with outside:
            await holds(database, 1)

    with pytest.raises(TimeoutError):
        await held()
    assert outside.expired()
    assert await pid(database)


async def test_nobody_waits_in_vain_unpaid(database: Database) -> None:
    """What a request spent without getting a connection is spent."""
    budget = Budget(left=0.5)
    BUDGET.set(budget)
    line = await database.pool.acquire(1)
    for question in (asks, holds):
        with pytest.raises(TimeoutError):
            await question(database, 0.2)
    assert budget.left < 0.15
    database.pool.release(line)


# Heavy reads


async def test_a_heavy_read_that_takes_too_long_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ask in (database.heavy.fetch, database.heavy.fetchrow):
        began = time.monotonic()
        with pytest.raises(Unavailable) as refusal:
            await ask("select pg_sleep(10)")
        assert refusal.value.extra == {"code": "read_too_long"}
        assert time.monotonic() - began < pool.ASK_SECONDS
    assert await database.heavy.fetchrow("select 1")
    await database.fetchrow("select pg_sleep(2.5)")


async def test_heavy_reads_wait_in_a_queue_that_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(pool, "HEAVY_QUEUE", 3)
    reads = [asyncio.create_task(database.heavy.fetchrow("select pg_sleep(0.5)")) for _ in range(5)]
    await eventually(lambda: database.heavy.pool.waiting == 3)
    with pytest.raises(Unavailable) as refusal:
        await database.heavy.fetchrow("select 1")
    assert refusal.value.extra == {"code": "too_many_reads"}
    assert await database.fetchrow("select 1"), "the others have connections of their own"
    await asyncio.gather(*reads)
    assert database.heavy.pool.size == 2


async def test_a_long_read_that_is_given_up_says_nothing_of_the_others(database: Database) -> None:
    before = database.silence.since
    with pytest.raises(TimeoutError):
        await database.heavy.ask("select pg_sleep(10)", (), 1.7)
    assert database.silence.since == before
