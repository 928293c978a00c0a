"""Commands to Redis on one connection: each gets its own answer, and none waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from tests import pace
from tests.conftest import Wait
from warmdesk.auth.limits import Limits
from warmdesk.realtime.bus import connect_redis
from warmdesk.redis_calls import RedisCalls, RedisConnection


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    connection = connect_redis(redis_url)
    yield connection
    await connection.aclose()


@pytest.fixture
def commands(redis: Any) -> RedisCalls:
    return RedisCalls(redis)


async def test_each_gets_its_own_answer_on_one_connection(commands: RedisCalls, redis: Any) -> None:
    before = len(await redis.client_list())
    answers = await asyncio.gather(*(commands.ask("ECHO", n, seconds=2) for n in range(300)))
    assert answers == [b"%d" % n for n in range(300)]
    assert len(await redis.client_list()) == before + 1


async def test_who_does_not_wait_any_more_takes_nobody_elses_answer(commands: RedisCalls) -> None:
    await commands.ask("PING", seconds=2)
    first, left, last = (asyncio.create_task(commands.ask("ECHO", n, seconds=2)) for n in range(3))
    await asyncio.sleep(0)
    left.cancel()
    assert (await first, await last) == (b"0", b"2")
    assert await commands.ask("ECHO", 3, seconds=2) == b"3"


async def test_what_redis_refuses_is_refused_to_one(commands: RedisCalls) -> None:
    answers = await asyncio.gather(
        commands.ask("ECHO", "a", seconds=2),
        commands.ask("ECHO", seconds=2),
        commands.ask("ECHO", "b", seconds=2),
        return_exceptions=True,
    )
    assert (answers[0], answers[2]) == (b"a", b"b")
    assert isinstance(answers[1], ResponseError)


async def test_a_command_that_cannot_be_sent_leaves_no_place_in_the_row(
    commands: RedisCalls,
) -> None:
    with pytest.raises(UnicodeEncodeError):
        await commands.ask("ECHO", "\ud800", seconds=5)
    asked = (commands.ask("ECHO", number, seconds=5) for number in range(5))
    assert await asyncio.gather(*asked) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_redis_that_hangs_is_given_up_and_connected_to_anew(commands: RedisCalls) -> None:
    await commands.ask("PING", seconds=2)
    began = time.monotonic()
    hung = asyncio.create_task(commands.ask("BLPOP", "nothing", 0, seconds=0.2))
    behind = asyncio.create_task(commands.ask("PING", seconds=5))
    for question in (hung, behind):
        with pytest.raises(TimeoutError):
            await question
    assert time.monotonic() - began < pace.here(1)
    assert await commands.ask("ECHO", "again", seconds=2) == b"again"


async def test_a_connection_that_ended_is_replaced(
    commands: RedisCalls, redis: Any, eventually: Wait
) -> None:
    own = await commands.ask("CLIENT", "ID", seconds=2)
    waits = asyncio.create_task(commands.ask("BLPOP", "nothing", 0, seconds=4))
    await asyncio.sleep(0)
    await redis.client_kill_filter(_id=own)
    with pytest.raises(Lost):
        await waits
    assert await commands.ask("CLIENT", "ID", seconds=2) != own


async def test_a_connection_that_ended_before_it_was_taken_over_is_none(
    redis: Any, eventually: Wait
) -> None:
    opened = await redis.connection_pool.get_connection()
    await opened.send_command("CLIENT", "ID")
    await redis.client_kill_filter(_id=await opened.read_response())
    await eventually(opened._reader.at_eof)
    ends: list[Exception] = []
    with pytest.raises(Lost):
        RedisConnection(opened, answered=lambda answer: None, ended=ends.append)
    assert not ends


async def test_a_redis_that_is_not_there_is_said_at_once(tmp_path: Any) -> None:
    redis = connect_redis(f"unix://{tmp_path}/nobody.sock")
    commands = RedisCalls(redis)
    answers = await asyncio.gather(
        *(commands.ask("PING", seconds=2) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Lost] * 3
    await redis.aclose()


async def test_a_redis_that_forgot_the_script_learns_it_again(redis: Any) -> None:
    limits = Limits(redis)
    for _ in range(3):
        await limits.take("test", "alice", limit=5, seconds=60)
        await redis.script_flush()
    assert await redis.llen("warmdesk:limit:test:alice") == 3
