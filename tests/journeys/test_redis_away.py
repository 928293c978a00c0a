"""Redis makes delivery instant; without it nothing is lost, nobody waits for it, and nobody is said
to have left.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from tests import pace
from tests.conftest import until
from tests.journeys.company import DELIVERED_WITHIN, Company, for_seconds, healed
from tests.journeys.conftest import Start, Visit, furnished
from tests.journeys.proxy import Proxy
from warmdesk.embedded import Valkey

AWAY_SECONDS = 5.0
LEASE_SECONDS = 8.0
SILENCE_SECONDS = 3.0


@pytest.mark.long
async def test_redis_killed_and_come_back_empty_loses_no_event_and_nobody(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    fleet = [await start(redis_url=own_valkey.url) for _ in range(2)]
    async with Company(fleet, visit, await furnished(fleet[0], visit)) as company:
        await company.sees_each_other()
        await company.crowd.work(100)
        usual = company.crowd.p99()
        os.kill(own_valkey.pid, signal.SIGKILL)
        end = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < end:
            await company.crowd.work(6)
            await company.reads_all()
        print(company.nobody_waited(usual))
        own_valkey.stop()
        shutil.rmtree(own_valkey.directory)
        own_valkey.directory.mkdir(mode=0o700)
        own_valkey.start()

        company.works()
        await healed(fleet, visit)
        await for_seconds(LEASE_SECONDS)
        await company.sees_each_other()
        await company.rests()
        await company.is_whole()


async def test_a_redis_that_hangs_delays_no_change(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    fleet = [await start(redis_url=own_valkey.url) for _ in range(2)]
    async with Company(fleet, visit, await furnished(fleet[0], visit)) as company:
        await company.sees_each_other()
        await company.crowd.work(140)
        usual = company.crowd.p99()
        os.kill(own_valkey.pid, signal.SIGSTOP)
        slowest_delivery = 0.0
        for _ in range(14):
            await company.crowd.work(10)
            slowest_delivery = max(slowest_delivery, await company.reads_all())
        os.kill(own_valkey.pid, signal.SIGCONT)
        print(f"{company.nobody_waited(usual)}; delivery {slowest_delivery:.2f} s")
        company.works()
        await healed(fleet, visit)
        await company.sees_each_other()
        await company.rests()
        await company.is_whole()


async def test_a_redis_that_forgets_hangs_up_or_refuses_is_asked_again(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    """It is emptied, connections are closed, subscribers read too slowly, memory is short."""
    fleet = [await start(redis_url=own_valkey.url) for _ in range(2)]
    operator = redis.asyncio.from_url(own_valkey.url)
    async with operator, Company(fleet, visit, await furnished(fleet[0], visit)) as company:
        await company.sees_each_other()
        company.works()
        hang_up = hang_up_on("normal"), hang_up_on("pubsub")
        for fault in (forget_everything, *hang_up, overflow, run_out_of_memory):
            await fault(operator)
            await company.crowd.goes_on(20)
            await company.reads_all()
            await healed(fleet, visit)
        await company.rests()
        await company.comes("alice", fleet[1])
        await company.sees_each_other()
        await company.is_whole()


async def test_connections_that_are_half_open_are_given_up_in_three_seconds(
    start: Start, visit: Visit, own_valkey: Valkey, base: Path
) -> None:
    """Nothing comes on any connection that one server has; new ones work."""
    operator = redis.asyncio.from_url(own_valkey.url)

    async def listeners() -> set[str]:
        return {one["id"] for one in await operator.client_list(_type="pubsub")}

    async with operator, Proxy(own_valkey.url.removeprefix("unix://"), str(base / "b")) as network:
        fleet = [
            await start(redis_url=own_valkey.url),
            await start(redis_url=f"unix://{network.listen}"),
        ]
        async with Company(fleet, visit, await furnished(fleet[0], visit)) as company:
            await company.sees_each_other()
            company.works(pause=0.05)
            await company.crowd.goes_on(20)
            before = await listeners()
            assert len(before) == 4
            network.forget()
            begun = time.monotonic()

            async def has_replaced_both() -> bool:
                await company.reads_all()
                now = await listeners()
                return len(now - before) == 2

            await until(has_replaced_both, limit=SILENCE_SECONDS + DELIVERED_WITHIN)
            print(f"heard again after {time.monotonic() - begun:.1f} s")
            await healed(fleet, visit)
            await company.rests()
            await company.is_whole()


async def test_a_deposed_redis_that_still_answers_is_left_by_those_who_publish(
    start: Start, visit: Visit, own_valkey: Valkey, redis_url: str, base: Path
) -> None:
    """Listeners were cut off and went to its successor; whoever publishes heard of nothing."""
    old, new = (url.removeprefix("unix://") for url in (own_valkey.url, redis_url))
    deposed, promoted = (redis.asyncio.from_url(url) for url in (own_valkey.url, redis_url))

    async def left_alone() -> bool:
        """Whether nobody said anything here for longer than beats are apart."""
        before = (await deposed.info("commandstats")).get("cmdstat_publish", {}).get("calls")
        await for_seconds(1.5)
        now = (await deposed.info("commandstats")).get("cmdstat_publish", {}).get("calls")
        return bool(before == now)

    async def missed() -> float:
        told = (await visit(fleet[0], "root").request("GET", "/metrics")).body
        found = re.findall(r"^warmdesk_feed_repairs_total\{.*\} (\S+)$", told, re.MULTILINE)
        return sum(map(float, found))

    async with deposed, promoted, Proxy(old, str(base / "b")) as network:
        fleet = [await start(redis_url=f"unix://{network.listen}") for _ in range(2)]
        async with Company(fleet, visit, await furnished(fleet[0], visit)) as company:
            await company.sees_each_other()
            company.works(pause=0.05)
            await company.crowd.goes_on(20)
            network.fail_over(new)
            begun = time.monotonic()
            while not await left_alone():
                await company.reads_all()
                assert time.monotonic() - begun < 2 * SILENCE_SECONDS + DELIVERED_WITHIN
            await healed(fleet, visit)
            print(f"left alone after {time.monotonic() - begun:.1f} s")
            before = await missed()
            await company.crowd.goes_on(100)
            await company.reads_all()
            assert await missed() - before < 25, "the bus brings what is said"
            assert len(await promoted.client_list(_type="pubsub")) == 4
            assert len(await deposed.client_list(_type="normal")) == 1, "that is us"
            await company.rests()
            await company.is_whole()


async def test_guessing_a_password_is_limited_and_tickets_are_refused_without_redis(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    server = await start(redis_url=own_valkey.url, rate_limits="on", workers=1)
    alice, guesser = visit(server, "alice"), visit(server, "eve", patience=0)
    await alice.token()
    ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
    guess = {"login": "olga", "password": "is it this one?"}

    async def guesses(times: int) -> list[int]:
        return [
            (await guesser.client.request("POST", "/auth/login", guess)).status
            for _ in range(times)
        ]

    assert await guesses(4) == [401] * 4
    os.kill(own_valkey.pid, signal.SIGKILL)
    assert await guesses(8) == [401] * 6 + [429] * 2
    alice.client.patience = 0
    await alice.post("/auth/ws-ticket", status=503)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await alice.client.session.ws_connect(f"{alice.client.url}/ws/user?ticket={ticket}")

    own_valkey.stop()
    own_valkey.start()
    os.kill(own_valkey.pid, signal.SIGSTOP)
    begun = time.monotonic()
    assert await guesses(4) == [429] * 4
    assert time.monotonic() - begun < pace.allows(4.0)
    await alice.post("/auth/ws-ticket", status=503)


def hang_up_on(kind: str) -> Callable[[redis.asyncio.Redis], Awaitable[None]]:
    async def fault(operator: redis.asyncio.Redis) -> None:
        assert await operator.client_kill_filter(_type=kind, skipme=True)

    return fault


async def forget_everything(operator: redis.asyncio.Redis) -> None:
    """Each process learns of it at a turn of its own, so there is time to see others gone."""
    await operator.flushall()
    await for_seconds(3.0)


async def overflow(operator: redis.asyncio.Redis) -> None:
    """Subscribers are dropped as soon as a message waits for them."""
    (channel,) = await operator.pubsub_channels("warmdesk:*:project:1")

    async def dropped() -> bool:
        # All at once, or who reads fast has nothing waiting; and small enough that Valkey keeps a
        # copy for each subscriber: what it only refers to it does not weigh.
        async with operator.pipeline() as together:
            for _ in range(100):
                together.publish(channel, b"x" * 10_000)
            await together.execute()
        info = await operator.info("stats")
        return int(info["client_output_buffer_limit_disconnections"]) > 0

    await operator.config_set("client-output-buffer-limit", "pubsub 20000 20000 0")
    await until(dropped)
    await operator.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


async def run_out_of_memory(operator: redis.asyncio.Redis) -> None:
    """Nothing can be written for longer than presence takes to notice."""
    await operator.config_set("maxmemory", "1mb")
    await for_seconds(3.0)
    await operator.config_set("maxmemory", "0")
