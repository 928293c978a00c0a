"""Whether the process lives, whether it should get requests, and which one it is.

Both answer within a second, also when a server behind them hangs. `/health` asks nobody: it says
whether to replace this process. `/ready` asks the servers: it says whether to send it requests.
That Redis is away is no reason not to, for everything works without it, only slower.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import asyncpg
from aiohttp import web
from redis.exceptions import RedisError

import warmdesk
from warmdesk.db.migrations import files
from warmdesk.db.queries import sql
from warmdesk.errors import Unavailable
from warmdesk.rest.answers import answer
from warmdesk.rest.routing import DESK, PUBLIC, route
from warmdesk.schemas.health import Health, Ready, Version

SECONDS = 0.8
"""What each server has to answer; together with our own time less than a second."""
NEWEST = max(int(name.split("_")[0]) for name, _ in files("migrations"))
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError, TimeoutError)


@route("GET", "/health", need=PUBLIC, answer=Health, tag="health", errors=(503,))
async def show_health(request: web.Request) -> web.Response:
    """Say whether this process lives: 503 when a task of its centre does not come back."""
    trouble = request.app[DESK].healthy()
    if trouble is not None:
        raise Unavailable(f"{trouble} does not run", code="task_dead")
    return answer(Health(status="ok"))


@route("GET", "/ready", need=PUBLIC, answer=Ready, tag="health")
async def show_readiness(request: web.Request) -> web.Response:
    """Say whether requests should come here: 503 while PostgreSQL is away, or before a stop."""
    desk = request.app[DESK]
    if desk.draining and not desk.retiring:
        raise Unavailable("stopping", code="draining")
    migrated, redis = await asyncio.gather(
        _asked(sql.health.newest_migration(desk.database.healing)), _asked(desk.redis.ping())
    )
    state = "up" if redis else "down"
    if migrated is None:
        raise Unavailable("the database does not answer", database="down", redis=state)
    if migrated < NEWEST:
        raise Unavailable("the database is not migrated", database="up", redis=state)
    if not redis:
        return answer(Ready(status="ready", database="up", redis="down", degraded=True))
    return answer(Ready(status="ready", database="up", redis="up"))


async def _asked(question: Awaitable[Any]) -> Any:
    """The answer of a server; None when it gives none in time."""
    try:
        async with asyncio.timeout(SECONDS):
            return await question
    except AWAY:
        return None


@route("GET", "/version", need=PUBLIC, answer=Version, tag="health")
async def show_version(request: web.Request) -> web.Response:
    """Say which version of WarmDesk this is."""
    return answer(Version(version=warmdesk.__version__))


routes = [show_health, show_readiness, show_version]
