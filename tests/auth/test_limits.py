"""Rate limits: exact over a window, for all processes together, and with Redis dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import pace
from warmdesk.auth import limits as module
from warmdesk.auth.limits import Limits
from warmdesk.errors import TooMany
from warmdesk.realtime.bus import connect_redis
from warmdesk.redis_calls import RedisCalls


@pytest.fixture
async def there(redis_url: str) -> AsyncIterator[Any]:
    connection = connect_redis(redis_url)
    yield connection
    await connection.aclose()


@pytest.fixture
async def dead(tmp_path: Any) -> AsyncIterator[Any]:
    """A Redis that is not there."""
    connection = connect_redis(f"unix://{tmp_path}/nobody.sock")
    yield connection
    await connection.aclose()


@pytest.fixture
async def hung(tmp_path: Any) -> AsyncIterator[Any]:
    """A Redis that takes everything and answers nothing."""
    place = f"{tmp_path}/hung.sock"
    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda r, w: asked.append(w), place)
    connection = connect_redis(f"unix://{place}")
    yield connection
    await connection.aclose()
    server.close()
    for writer in asked:
        writer.close()


async def taken(limits: Limits, times: int, *, limit: int, seconds: float = 60) -> int:
    """How many of so many tries were let through."""
    good = 0
    for _ in range(times):
        try:
            await limits.take("test", "alice", limit=limit, seconds=seconds)
        except TooMany:
            continue
        good += 1
    return good


async def test_so_many_are_let_through_and_no_more(there: Any) -> None:
    assert await taken(Limits(there), 15, limit=10) == 10


async def test_a_refusal_says_when_to_come_back(there: Any) -> None:
    limits = Limits(there)
    await limits.take("test", "alice", limit=1, seconds=60)

    with pytest.raises(TooMany) as caught:
        await limits.take("test", "alice", limit=1, seconds=60)

    wait = caught.value.headers["Retry-After"]
    assert 58 <= int(wait) <= 60
    assert caught.value.extra == {"code": "rate_limited"}
    assert caught.value.headers["RateLimit-Policy"] == '"test";q=1;w=60'
    assert caught.value.headers["RateLimit"] == f'"test";r=0;t={wait}'


async def test_the_window_slides(there: Any, eventually: Any) -> None:
    limits = Limits(there)
    assert await taken(limits, 3, limit=2, seconds=0.3) == 2

    async def one_more() -> bool:
        return await taken(limits, 1, limit=2, seconds=0.3) == 1

    await eventually(one_more)


async def test_names_and_keys_are_counted_apart(there: Any) -> None:
    limits = Limits(there)

    for name, key in (("a", "x"), ("a", "y"), ("b", "x")):
        await limits.take(name, key, limit=1, seconds=60)


async def test_all_processes_count_together(there: Any) -> None:
    one, two = Limits(there), Limits(there)

    assert await taken(one, 4, limit=5) + await taken(two, 4, limit=5) == 5


async def test_parallel_tries_are_counted_each(there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fifty new connections may take a busy machine a while; what is slow is not the point here.
    monkeypatch.setattr("warmdesk.auth.limits.REDIS_SECONDS", 10.0)
    limits = Limits(there)

    counts = await asyncio.gather(*(taken(limits, 1, limit=7) for _ in range(50)))

    assert sum(counts) == 7


async def test_what_is_cleared_begins_anew_everywhere(there: Any) -> None:
    one, two = Limits(there), Limits(there)
    await taken(one, 5, limit=5)

    await two.clear("test", "alice")

    assert await taken(one, 6, limit=5) == 5


async def test_switched_off_nothing_is_refused(there: Any) -> None:
    assert await taken(Limits(there, on=False), 100, limit=1) == 100


async def test_limits_hold_with_redis_dead(dead: Any) -> None:
    limits = Limits(dead)

    assert await taken(limits, 100, limit=10) == 10
    await limits.clear("test", "alice")
    assert await taken(limits, 100, limit=10) == 10


async def test_the_window_slides_with_redis_dead(dead: Any, eventually: Any) -> None:
    limits = Limits(dead)
    assert await taken(limits, 3, limit=2, seconds=0.3) == 2

    async def one_more() -> bool:
        return await taken(limits, 1, limit=2, seconds=0.3) == 1

    await eventually(one_more)


async def test_what_redis_counted_here_still_counts_when_redis_dies(there: Any, dead: Any) -> None:
    limits = Limits(there)
    assert await taken(limits, 6, limit=10) == 6

    limits._commands = RedisCalls(dead)

    assert await taken(limits, 10, limit=10) == 4


async def test_a_hung_redis_delays_one_caller_and_not_the_rest(
    hung: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 60.0)
    limits = Limits(hung)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await limits.take("test", "alice", limit=1000, seconds=60)
    assert loop.time() - began < pace.here(1.0)

    began = loop.time()
    assert await taken(limits, 100, limit=1000) == 100

    assert loop.time() - began < pace.here(0.2)


async def test_redis_is_used_again_when_it_is_back(
    there: Any, dead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, other = Limits(there), Limits(there)
    good = limits._commands
    limits._commands = RedisCalls(dead)
    assert await taken(limits, 1, limit=3) == 1
    limits._commands = good
    monkeypatch.setattr(limits, "_ask_again_at", 1.0)

    assert await taken(limits, 3, limit=3) == 3
    assert await taken(other, 1, limit=3) == 0


async def test_a_process_keeps_no_more_keys_than_its_bound(
    dead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    limits = Limits(dead)

    for number in range(50):
        await limits.take("test", number, limit=5, seconds=60)

    assert len(limits._moments) == 10


async def test_redis_forgets_by_itself(there: Any) -> None:
    await Limits(there).take("test", "alice", limit=5, seconds=60)

    keys = await there.keys("warmdesk:limit:*")
    assert [0 < await there.pttl(key) <= 60_000 for key in keys] == [True]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 20), tries=st.lists(st.booleans(), max_size=60))
async def test_it_counts_as_a_list_would(
    there: Any, fresh: Callable[[], str], limit: int, tries: list[bool]
) -> None:
    """True is a try, False clears."""
    limits, name, count = Limits(there), fresh(), 0
    for is_try in tries:
        if not is_try:
            await limits.clear(name, 1)
            count = 0
        elif count < limit:
            await limits.take(name, 1, limit=limit, seconds=3600)
            count += 1
        else:
            with pytest.raises(TooMany):
                await limits.take(name, 1, limit=limit, seconds=3600)


@pytest.fixture
def fresh() -> Callable[[], str]:
    """A name not used before."""
    names = iter(range(1_000_000))
    return lambda: f"property{next(names)}"
