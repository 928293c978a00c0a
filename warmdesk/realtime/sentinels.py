"""Which Redis is the primary, where sentinels watch over several.

Every new connection asks all sentinels at once, and the newest configuration that any of them knows
counts. So a sentinel that hangs, or died together with the primary's host, delays no caller; one
that slept misleads none that can reach another. Callers of one moment share one asking, which goes
on when a caller gives up: a call's quarter second may be shorter than it takes.

A server is used only when it says itself that it is the primary, as the guidelines for clients of
Sentinel demand (https://redis.io/docs/latest/develop/reference/sentinel-clients/): between a
failover and the moment when the old primary hears of it, both would take writes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple, cast

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from warmdesk.outages import SENTINEL, Outage

ASK_SECONDS = 0.5
"""All that an asking may take."""
GRACE_SECONDS = 0.1
"""How long the others may take when one has answered."""

log = logging.getLogger(__name__)


class Known(NamedTuple):
    """A sentinel's answer: the configuration's number and its primary."""

    epoch: int
    host: str
    port: int


class Sentinels:
    """The sentinels at these addresses, and the name that they know the primary by."""

    def __init__(
        self, addresses: list[tuple[str, int]], name: str, *, username: str, password: str | None
    ) -> None:
        self.addresses = addresses
        self.name = name
        self._credentials = {"username": username, "password": password} if password else {}
        self._outages = {
            (host, port): Outage(SENTINEL, host=f"{host}:{port}") for host, port in addresses
        }
        self._refused: RedisError | None = None
        self._asking: asyncio.Task[Known] | None = None
        self._logged: Known | None = None

    async def primary(self) -> tuple[str, int]:
        """Host and port of the primary; redis-py's ConnectionError when no sentinel knows them, and
        what a sentinel refused when all that answered did.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
            # Callers may have given up; then nothing else looks at its error.
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        known = await asyncio.shield(self._asking)
        return known.host, known.port

    async def _ask_all(self) -> Known:
        loop = asyncio.get_running_loop()
        end = loop.time() + ASK_SECONDS
        waiting = {asyncio.create_task(self._ask(*address)) for address in self.addresses}
        newest: Known | None = None
        self._refused = None
        try:
            while waiting and (left := end - loop.time()) > 0:
                done, waiting = await asyncio.wait(
                    waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                answers = [known for ask in done if (known := ask.result()) is not None]
                if answers:
                    if newest is None:
                        end = min(end, loop.time() + GRACE_SECONDS)
                    newest = max([*answers, newest] if newest else answers)
        finally:
            for ask in waiting:
                ask.cancel()
        if newest is None:
            if self._refused is not None:
                raise self._refused
            raise RedisConnectionError(f"no sentinel knows the primary of {self.name}")
        if newest != self._logged:
            log.info(
                "sentinels.primary name=%s host=%s port=%d", self.name, newest.host, newest.port
            )
            self._logged = newest
        return newest

    async def _ask(self, host: str, port: int) -> Known | None:
        sentinel = redis_asyncio.Redis(
            host=host,
            port=port,
            socket_connect_timeout=ASK_SECONDS,
            socket_timeout=ASK_SECONDS,
            retry=Retry(NoBackoff(), 0),
            **self._credentials,  # type: ignore[arg-type]
        )
        try:
            async with sentinel:
                said = cast("dict[str, Any]", await sentinel.sentinel_master(self.name))
        except (RedisError, OSError, TimeoutError) as error:
            self._outages[host, port].failed(error)
            if isinstance(error, ResponseError | AuthenticationError):
                self._refused = error
            return None
        self._outages[host, port].works()
        return Known(int(said["config-epoch"]), said["ip"], int(said["port"]))


class PrimaryConnection(redis_asyncio.Connection):
    """A connection to the server that is the primary when it connects."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self.sentinels = sentinels

    async def _connect(self) -> None:
        self.host, self.port = await self.sentinels.primary()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py declares no types here

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command("ROLE", check_health=False)
        role = (await self.read_response())[0]
        if role not in (b"master", "master"):
            raise RedisConnectionError(f"{self.host}:{self.port} is not the primary")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except ReadOnlyError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError("it is not the primary any more") from error
