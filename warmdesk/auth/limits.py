"""Rate limits: at most so many in any so many seconds, counted in Redis by Redis' clock for all
processes together.

The moments of what was let through are kept in a list: exact, and never longer than the limit. Each
process also keeps its own moments; when Redis is away or slow it goes on with those, so limits
hold, per process, with Redis dead. After a failure Redis is asked again once a second, by one
caller, so a hung Redis costs one request a second a quarter second.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from typing import Any

from redis.exceptions import RedisError, ResponseError

from warmdesk.auth.addresses import neighbourhood, network
from warmdesk.errors import Policy, TooMany
from warmdesk.outages import REDIS, Outage
from warmdesk.redis_calls import NAMES, RedisCalls

NETWORK_TIMES = 4
"""How many times as much as an address a network of IPv6 may ask for."""
REDIS_SECONDS = 0.25
PAUSE = 1.0
"""Seconds between two attempts while Redis is away."""
KEPT = 10_000
"""Counted keys in one process; the longest unused goes first."""

TAKE = """
local t = redis.call('time')
local now = t[1] * 1000000 + t[2]
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local first = redis.call('lindex', KEYS[1], 0)
while first and tonumber(first) <= now - window do
  redis.call('lpop', KEYS[1])
  first = redis.call('lindex', KEYS[1], 0)
end
if redis.call('llen', KEYS[1]) >= most then
  return tonumber(first) + window - now
end
redis.call('rpush', KEYS[1], string.format('%.0f', now))
redis.call('pexpire', KEYS[1], math.ceil(window / 1000))
return 0
"""

TAKE_SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()

FAILURES = (RedisError, OSError, TimeoutError)


class Limits:
    """Counts by name and key. With ``on=False`` nothing is ever refused."""

    def __init__(
        self, redis: Any, *, on: bool = True, names: str = NAMES, outage: Outage | None = None
    ) -> None:
        """`outage`: hears when Redis does not count."""
        self.on = on
        self._outage = outage or Outage(REDIS)
        self._names = names
        self._commands = RedisCalls(redis)
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()
        self._ask_again_at = 0.0

    async def take(
        self, name: str, key: object, *, limit: int, seconds: float, shown_limit: int | None = None
    ) -> None:
        """Count one more, or raise `TooMany` with the seconds until there is room.
        ``shown_limit``: the limit as its people know it, where it counts something else.
        """
        if not self.on:
            return
        counter = f"{name}:{key}"
        wait = await self._ask(counter, limit, seconds)
        moments = self._own_moments(counter, seconds)
        if wait is None:
            wait = moments[0] + seconds - time.monotonic() if len(moments) >= limit else 0.0
        if wait > 0:
            raise TooMany(Policy(name, shown_limit or limit, seconds), math.ceil(wait))
        moments.append(time.monotonic())
        if len(moments) > limit:
            moments.popleft()

    async def take_near(self, name: str, address: str, *, limit: int, seconds: float) -> None:
        """Count a public request by its address and, where that is a part of one, by its network,
        which may ask for `NETWORK_TIMES` as much.
        """
        near, wide = neighbourhood(address), network(address)
        await self.take(f"{name}.address", near, limit=limit, seconds=seconds)
        if wide != near:
            await self.take(f"{name}.network", wide, limit=NETWORK_TIMES * limit, seconds=seconds)

    async def clear(self, name: str, key: object) -> None:
        """Forget what was counted. With Redis away only here."""
        if not self.on:
            return
        counter = f"{name}:{key}"
        self._moments.pop(counter, None)
        if time.monotonic() < self._ask_again_at:
            return
        try:
            await self._commands.ask("DEL", self._key(counter), seconds=REDIS_SECONDS)
        except FAILURES as error:
            self._lost(error)

    async def _ask(self, counter: str, limit: int, seconds: float) -> float | None:
        """Seconds to wait by Redis, 0 when counted; None when Redis cannot say."""
        now = time.monotonic()
        if now < self._ask_again_at:
            return None
        was_lost = self._ask_again_at > 0
        if was_lost:
            self._ask_again_at = now + PAUSE
        try:
            wait = await self._counted(self._key(counter), limit, round(seconds * 1_000_000))
        except FAILURES as error:
            self._lost(error)
            return None
        if was_lost:
            self._ask_again_at = 0.0
        return int(wait) / 1_000_000

    async def _counted(self, *given: str | int) -> Any:
        commands = self._commands
        try:
            return await commands.ask("EVALSHA", TAKE_SHA, 1, *given, seconds=REDIS_SECONDS)
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                commands.drop()
                raise
        return await commands.ask("EVAL", TAKE, 1, *given, seconds=REDIS_SECONDS)

    def _lost(self, error: BaseException) -> None:
        self._outage.doubt("limits", error)
        self._ask_again_at = time.monotonic() + PAUSE

    def _own_moments(self, counter: str, seconds: float) -> deque[float]:
        """The moments this process let through within the window, oldest first."""
        moments = self._moments.setdefault(counter, deque())
        self._moments.move_to_end(counter)
        if len(self._moments) > KEPT:
            self._moments.popitem(last=False)
        oldest = time.monotonic() - seconds
        while moments and moments[0] <= oldest:
            moments.popleft()
        return moments

    def _key(self, counter: str) -> str:
        return f"{self._names}limit:{counter}"
