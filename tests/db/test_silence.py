"""The pools: everything that is asked has an end, and silence makes all connections doubtful."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import until
from tests.journeys.proxy import Proxy, in_front_of, through
from warmdesk.db.pool import Database
from warmdesk.errors import Unavailable

SIZE = 4
ANSWERED_WITHIN = 5.0


@pytest.fixture
async def network(database_url: str) -> AsyncIterator[Proxy]:
    """What lies between us and PostgreSQL."""
    async with in_front_of(database_url) as proxy:
        yield proxy


@pytest.fixture
async def database(database_url: str, network: Proxy) -> AsyncIterator[Database]:
    opened = await Database.open(through(network, database_url), size=SIZE)
    yield opened
    await opened.close()


async def seconds(question: Any) -> float:
    """How long a question took, whatever became of it."""
    began = time.monotonic()
    await asyncio.gather(question, return_exceptions=True)
    return time.monotonic() - began


async def use_all(database: Database) -> None:
    """As many at once as there are connections."""
    await asyncio.gather(*(database.fetch("select pg_sleep(0.05)") for _ in range(SIZE)))
    assert database.pool.size == SIZE


async def test_one_question_in_vain_is_enough_to_doubt_all_connections(
    database: Database, network: Proxy
) -> None:
    await use_all(database)
    network.freeze()
    assert await seconds(database.reserved.fetch("select 1")) < ANSWERED_WITHIN
    network.forget()  # the connections of before bring nothing, new ones are served
    for _ in range(3 * SIZE):
        assert await database.fetchrow("select 1") == (1,)


async def test_a_connection_that_answered_since_is_not_doubted(
    database: Database, network: Proxy
) -> None:
    """A question that somebody would not wait for says nothing about the others."""
    await use_all(database)
    made = network.links.copy()
    question = asyncio.wait_for(database.fetch("select pg_sleep(3)"), 2)
    given_up = asyncio.create_task(seconds(question))
    await asyncio.sleep(0.1)
    for _ in range(3):
        await asyncio.gather(*(database.fetch("select pg_sleep(0.05)") for _ in range(SIZE - 1)))
    assert await given_up < pace.here(2.5)
    assert database.silence.since > 0
    await asyncio.gather(*(database.fetch("select pg_sleep(0.05)") for _ in range(SIZE - 1)))
    assert len(made & network.links) >= SIZE - 1


async def test_waiting_and_asking_together_take_less_than_five_seconds(database: Database) -> None:
    async def holds(connection_for: float) -> None:
        async with database.connection() as connection:
            await connection.fetch("select pg_sleep($1)", connection_for)

    holders = [asyncio.create_task(holds(1.5)) for _ in range(SIZE)]
    await asyncio.sleep(0.1)
    assert await seconds(database.fetch("select pg_sleep(10)")) < ANSWERED_WITHIN
    await asyncio.gather(*holders)


async def test_who_stops_in_the_middle_of_a_statement_keeps_no_lock(
    database: Database, network: Proxy, connection: Any
) -> None:
    """Between the preparation and the execution a backend is neither idle nor does it run."""
    stopped = await database.pool.acquire(2)
    await stopped.execute("begin")
    await stopped.execute("select 1 from users where id = 3 for update")
    network.hold_answers(after=b"pg_sleep(0)")
    asked = asyncio.create_task(stopped.fetch("select pg_sleep(0)", timeout=20))

    async def free() -> bool:
        row = await connection.fetch("select 1 from users where id = 3 for update skip locked")
        return bool(row)

    assert not await free()
    await until(free, limit=6)
    network.cut()
    network.thaw()
    with pytest.raises(asyncpg.PostgresConnectionError):
        await asked
    database.pool.release(stopped)


async def test_who_gets_no_connection_hears_it_after_two_seconds(
    database: Database, network: Proxy
) -> None:
    network.freeze()
    crowd = [asyncio.create_task(seconds(database.fetch("select 1"))) for _ in range(3 * SIZE)]
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable):
        await database.fetch("select 1")
    network.thaw()
    assert max(await asyncio.gather(*crowd)) < ANSWERED_WITHIN
    await use_all(database)
