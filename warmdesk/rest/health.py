"""Whether the process lives, whether it should get requests, and which one it is.

Both answer within a second, also when a server behind them hangs. `/health` asks nobody: it says
whether to replace this process. `/ready` asks the servers: it says whether to send it requests.
That Redis is away is no reason not to, for everything works without it, only slower.

Nor is a disk that fills up (see disk.py): `/ready` tells it (``"disk": "low"``, degraded) below
1 GiB or 5 %, an alert tells it at 10 %, and only when it is full, requests should go elsewhere.
What was acknowledged is kept in every case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

from aiohttp import web
from msgspec import UNSET
from redis.exceptions import RedisError

import warmdesk
from warmdesk.db.migrations import files
from warmdesk.db.pool import DATA_DIRECTORY, DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.disk import Disk, measure_disk
from warmdesk.errors import Unavailable
from warmdesk.http.answers import answer
from warmdesk.http.request import DESK
from warmdesk.http.route import PUBLIC, ApiTag
from warmdesk.http.routing import route
from warmdesk.metrics import READY
from warmdesk.schemas.health import Health, Part, Ready, Version
from warmdesk.tasks import answer_within, seconds_to_tick

HEALTH = ApiTag("health", "Whether the server lives, is ready, and which one it is.")

SECONDS = 0.8
"""What each server has to answer; together with our own time less than a second."""
NEWEST = max(int(name.split("_")[0]) for name, _ in files("migrations"))
AWAY = (*DATABASE_AWAY, RedisError)
SAMPLE_SECONDS = 2.0


async def sampling(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: measure the disk of the data directory, and keep the figure
    that tells whether this worker is ready.
    """

    desk = app[DESK]

    async def look() -> None:
        directory = desk.settings.data_dir
        desk.disk = await asyncio.to_thread(measure_disk, directory)
        _judge(desk, desk.disk)

    async def ask() -> None:
        try:
            await readiness(desk)
            READY.set(1)
        except Unavailable:
            READY.set(0)

    async def again(what: Any) -> None:
        while True:
            await asyncio.sleep(seconds_to_tick(SAMPLE_SECONDS))
            await what()

    await look()
    await ask()
    tasks = [asyncio.create_task(again(what)) for what in (look, ask)]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _judge(desk: Desk, disk: Disk | None) -> None:
    """Let the log tell when the disk of the data directory becomes full, and when it is not any
    more; then PostgreSQL has room again too, for all that is known.
    """
    if disk is None:
        return
    outage = desk.database.disk
    if disk.full:
        outage.failed(
            f"{disk.free >> 20} MiB are free below {desk.settings.data_dir}", of=DATA_DIRECTORY
        )
    elif DATA_DIRECTORY in outage.judges:
        outage.over()


@route("GET", "/health", need=PUBLIC, answer=Health, tag=HEALTH, errors=(503,))
async def show_health(request: web.Request) -> web.Response:
    """Say whether this process lives: 503 when a task of its centre does not come back."""
    trouble = request.app[DESK].healthy()
    if trouble is not None:
        raise Unavailable(f"{trouble} does not run", code="task_dead")
    return answer(Health(status="ok"))


@route("GET", "/ready", need=PUBLIC, answer=Ready, tag=HEALTH)
async def show_readiness(request: web.Request) -> web.Response:
    """Say whether requests should come here.

    503 while PostgreSQL is away or not migrated, while the disk is full, or before a stop.
    `degraded`: everything works, but Redis is away or the disk is nearly full.
    """
    return answer(await readiness(request.app[DESK]))


async def readiness(desk: Desk) -> Ready:
    """What this process needs for its work; `Unavailable` when it should get no requests."""
    if desk.draining and not desk.retiring:
        raise Unavailable("stopping", code="draining")
    migrated, redis = await asyncio.gather(
        _answer_in_time(sql.health.newest_migration(desk.database.reserved)),
        _answer_in_time(desk.redis.ping()),
    )
    state: Part = "up" if redis else "down"
    if migrated is None:
        raise Unavailable("the database does not answer", database="down", redis=state)
    if migrated < NEWEST:
        raise Unavailable("the database is not migrated", database="up", redis=state)
    disk = desk.disk
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


async def _answer_in_time(question: Awaitable[Any]) -> Any:
    return await answer_within(SECONDS, question, failures=AWAY)


@route("GET", "/version", need=PUBLIC, answer=Version, tag=HEALTH)
async def show_version(request: web.Request) -> web.Response:
    """Say which version of WarmDesk this is."""
    return answer(Version(version=warmdesk.__version__))


routes = [show_health, show_readiness, show_version]
