"""Whether the process lives, whether it should get requests, and which one it is.

Both answer within a second, also when a server behind them hangs. `/health` asks nobody: it says
whether to replace this process. `/ready` asks the servers: it says whether to send it requests.
That Redis is away is no reason not to, for everything works without it, only slower.

Nor is a disk that fills up, as long as there is room: whoever reads needs none, a change that finds
none is refused whole by PostgreSQL, and to send everybody away from the only server would cost
more than it saves. So `/ready` tells it (``"disk": "low"``, degraded) below 1 GiB or 5 %, an alert
tells it at 10 %, and only below `FULL`, where PostgreSQL could stop at any change, requests should
go elsewhere. What was acknowledged is kept in every case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import UNSET
from redis.exceptions import RedisError

import warmdesk
from warmdesk.db.migrations import files
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable
from warmdesk.metrics import READY
from warmdesk.rest.answers import answer
from warmdesk.rest.routing import DESK, PUBLIC, route
from warmdesk.schemas.health import Health, Part, Ready, Version
from warmdesk.tasks import until_beat

SECONDS = 0.8
"""What each server has to answer; together with our own time less than a second."""
NEWEST = max(int(name.split("_")[0]) for name, _ in files("migrations"))
AWAY = (*DATABASE_AWAY, RedisError)
LOW, LOW_SHARE = 1 << 30, 0.05
"""Free bytes, and their share of the disk, below which the disk is low."""
FULL = 64 << 20
"""Free bytes that PostgreSQL needs at least: four segments of its log."""
SAMPLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that a directory is on, in bytes: what is free for us, and all of it."""

    free: int
    size: int

    @property
    def low(self) -> bool:
        return self.free < max(LOW, LOW_SHARE * self.size)

    @property
    def full(self) -> bool:
        return self.free < FULL


def measure(directory: Path) -> Disk | None:
    """The disk of a directory; None when there is no such directory: then nothing is kept here."""
    try:
        told = os.statvfs(directory)
    except OSError:
        return None
    # As df does it: what is kept for root is neither free nor ours.
    used = told.f_blocks - told.f_bfree
    return Disk(told.f_bavail * told.f_frsize, (used + told.f_bavail) * told.f_frsize)


@dataclass(slots=True)
class Sampled:
    """What is looked at every two seconds, so that no request waits for a disk that hangs."""

    disk: Disk | None = None


SAMPLED: web.AppKey[Sampled] = web.AppKey("sampled", Sampled)


async def sampling(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: measure the disk of the data directory, and keep the figure
    that tells whether this worker is ready.
    """

    async def look() -> None:
        directory = app[DESK].settings.data_dir
        app[SAMPLED].disk = await asyncio.to_thread(measure, directory)

    async def ask() -> None:
        try:
            await readiness(app[DESK], app[SAMPLED].disk)
            READY.set(1)
        except Unavailable:
            READY.set(0)

    async def again(what: Any) -> None:
        while True:
            await asyncio.sleep(until_beat(SAMPLE_SECONDS))
            await what()

    await look()
    await ask()
    tasks = [asyncio.create_task(again(what)) for what in (look, ask)]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@route("GET", "/health", need=PUBLIC, answer=Health, tag="health", errors=(503,))
async def show_health(request: web.Request) -> web.Response:
    """Say whether this process lives: 503 when a task of its centre does not come back."""
    trouble = request.app[DESK].healthy()
    if trouble is not None:
        raise Unavailable(f"{trouble} does not run", code="task_dead")
    return answer(Health(status="ok"))


@route("GET", "/ready", need=PUBLIC, answer=Ready, tag="health")
async def show_readiness(request: web.Request) -> web.Response:
    """Say whether requests should come here.

    503 while PostgreSQL is away or not migrated, while the disk is full, or before a stop.
    `degraded`: everything works, but Redis is away or the disk is nearly full.
    """
    return answer(await readiness(request.app[DESK], request.app[SAMPLED].disk))


async def readiness(desk: Desk, disk: Disk | None) -> Ready:
    """What this process needs for its work; `Unavailable` when it should get no requests."""
    if desk.draining and not desk.retiring:
        raise Unavailable("stopping", code="draining")
    migrated, redis = await asyncio.gather(
        asked(sql.health.newest_migration(desk.database.healing)), asked(desk.redis.ping())
    )
    state: Part = "up" if redis else "down"
    if migrated is None:
        raise Unavailable("the database does not answer", database="down", redis=state)
    if migrated < NEWEST:
        raise Unavailable("the database is not migrated", database="up", redis=state)
    if disk is not None and disk.full:
        raise Unavailable("the disk is full", code="disk", database="up", redis=state)
    low = disk is not None and disk.low
    return Ready(
        status="ready",
        database="up",
        redis=state,
        disk="low" if low else UNSET,
        degraded=True if low or not redis else UNSET,
    )


async def asked(question: Awaitable[Any], *, seconds: float = SECONDS) -> Any:
    """The answer of a server; None when it gives none in time.

    Who asks does not wait until the question is taken back: asyncpg asks the server for that, and
    when the server hangs, that hangs too.
    """
    task = asyncio.ensure_future(question)
    try:
        await asyncio.wait((task,), timeout=seconds)
        return task.result() if task.done() else None
    except AWAY:
        return None
    finally:
        if not task.done():
            _left.add(task)
            task.add_done_callback(_forget)
            task.cancel()


_left: set[asyncio.Future[Any]] = set()


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody waits for this answer any more, nor for its failure."""
    _left.discard(task)
    if not task.cancelled():
        task.exception()


@route("GET", "/version", need=PUBLIC, answer=Version, tag="health")
async def show_version(request: web.Request) -> web.Response:
    """Say which version of WarmDesk this is."""
    return answer(Version(version=warmdesk.__version__))


routes = [show_health, show_readiness, show_version]
