"""Redis: whether it takes us, whether it throws away what it should keep, who watches over it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import redis.asyncio as redis_asyncio
from redis.exceptions import NoPermissionError, RedisError

from warmdesk.config import Settings
from warmdesk.doctor import SECONDS, Findings, Teller
from warmdesk.outages import reason_of
from warmdesk.realtime.bus import REDIS_AWAY, connect_redis, sentinels_of
from warmdesk.redis_calls import names_of
from warmdesk.redis_check import RedisRefused, checking

OLDEST = (6, 2)
FEWEST_SENTINELS = 3
NEARLY = 0.9
"""The share of its memory from which on it is nearly full."""

TELL = Teller("Redis")


async def redis(found: Settings, installation: str | None) -> Findings:
    """All of it; nothing after what makes the rest pointless."""
    if found.redis_url.startswith("sentinel://"):
        async for finding in _sentinels(found.redis_url):
            yield finding
    try:
        async with checking(found.redis_url) as check:
            await check()
    except RedisRefused as error:
        yield TELL.wrong(f"it cannot be used: {error}", "correct WARMDESK_REDIS_URL")
        return
    except REDIS_AWAY as error:
        yield TELL.wrong(
            f"it is away: {reason_of(error)}",
            "start it, or correct WARMDESK_REDIS_URL; until then changes are seen a second late",
        )
        return
    client = connect_redis(found.redis_url)
    try:
        async with asyncio.timeout(SECONDS):
            async for finding in _answers(client, installation):
                yield finding
    except REDIS_AWAY as error:
        yield TELL.wrong(f"a question failed: {reason_of(error)}", "look at its log")
    finally:
        await client.aclose()


async def _answers(client: Any, installation: str | None) -> Findings:
    try:
        told = await client.info("everything")
    except NoPermissionError:
        yield TELL.warning(
            "its user may not ask for INFO, so version and memory stay unknown",
            "give it +info",
        )
        told = {}
    if told:
        for finding in _judged(told):
            yield finding
    if installation is None:
        return
    names = names_of(installation)
    try:
        began = time.perf_counter()
        await client.set(f"{names}doctor", "1", px=1000)
        await client.publish(f"{names}doctor", b"")
        took = time.perf_counter() - began
    except NoPermissionError:
        yield TELL.wrong(
            "its user may not use the names of this installation",
            f"allow them: ACL SETUSER … ~{names}* &{names}* +@all -@dangerous +info",
        )
    except RedisError as error:
        yield TELL.wrong(
            f"it takes no writes: {reason_of(error)}", "look at its log and its memory"
        )
    else:
        yield TELL.ok(f"it takes what it is told, twice in {took * 1000:.1f} ms")


def _judged(told: dict[str, Any]) -> Any:
    own = told.get("valkey_version")
    named = f"Valkey {own}" if own else f"Redis {told['redis_version']}"
    version = tuple(int(part) for part in re.findall(r"\d+", str(told["redis_version"]))[:2])
    if version < OLDEST:
        yield TELL.wrong(f"it is {named}", f"upgrade it to {OLDEST[0]}.{OLDEST[1]} or newer")
    else:
        yield TELL.ok(f"it is {named}")
    most, policy = int(told["maxmemory"]), told["maxmemory_policy"]
    if most and policy != "noeviction":
        yield TELL.wrong(
            f"maxmemory-policy is {policy}: it forgets who is here and who tried too often",
            "CONFIG SET maxmemory-policy noeviction",
        )
    elif most and int(told["used_memory"]) > NEARLY * most:
        yield TELL.warning(
            f"it uses {int(told['used_memory']) / most:.0%} of its maxmemory",
            "raise maxmemory, or find out who fills it",
        )
    else:
        yield TELL.ok("it throws nothing away")


async def _sentinels(url: str) -> Findings:
    """Each sentinel by itself: the program asks them all at once, and one that knows is enough."""
    parts = urlsplit(url)
    name = parts.path.strip("/")
    options: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    if parts.password:
        options |= {"username": unquote(parts.username or "default")}
        options |= {"password": unquote(parts.password)}
    well, replicas = 0, 0
    addresses = sentinels_of(url)
    for host, port in addresses:
        sentinel = redis_asyncio.Redis(host=host, port=port, decode_responses=True, **options)
        try:
            async with sentinel:
                told: Any = await sentinel.sentinel_master(name)
                replicas = max(replicas, int(told["num-slaves"]))
                await sentinel.sentinel_ckquorum(name)
            well += 1
        except (RedisError, OSError, TimeoutError) as error:
            yield TELL.warning(
                f"the sentinel {host}:{port} is of no use: {reason_of(error)}",
                "start it, and see that it watches over that name and sees a majority",
            )
    if well < FEWEST_SENTINELS:
        yield TELL.warning(
            f"{well} sentinels of {len(addresses)} could take part in a failover",
            f"have {FEWEST_SENTINELS} at least, on different hosts",
        )
    else:
        yield TELL.ok(f"{well} sentinels watch over {name}")
    if well and not replicas:
        yield TELL.warning(f"{name} has no replica to take over", "start one")
