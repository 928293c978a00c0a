"""The figures for Prometheus: what the workers counted, and what the database holds."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

import warmdesk
from warmdesk.auth.actor import TO_READ, GlobalRole, Grant
from warmdesk.db.connections import ConnectionPool
from warmdesk.disk import Disk
from warmdesk.http.request import DESK
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.metrics import POOL_CONNECTIONS, POOL_LIMIT
from warmdesk.metrics.kinds import Family, Labels
from warmdesk.metrics.process import accessed
from warmdesk.metrics.render import render
from warmdesk.tasks import seconds_to_tick

METRICS = ApiTag("metrics", "Figures for Prometheus.")

SAMPLE_SECONDS = 2.0


@route(
    "GET",
    "/metrics",
    need=frozenset({GlobalRole.ADMIN, GlobalRole.METRICS}),
    grants=TO_READ | {Grant.METRICS},
    produces=("text/plain",),
    tag=METRICS,
)
async def show_metrics(request: web.Request) -> web.Response:
    """Show the figures in Prometheus' text format, of all workers of this host together."""
    desk = request.app[DESK]
    _sample(desk.database.pool)
    held = await desk.inventory.families()
    text = render([*_of_program(), *_of_disk(desk.disk), *held])
    accessed(succeeded=desk.inventory.fresh)
    return web.Response(
        body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def sampling(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: keep this worker's gauges true, whichever worker is asked."""
    desk = app[DESK]
    POOL_LIMIT.set(desk.settings.database_pool)

    async def run() -> None:
        while True:
            _sample(desk.database.pool)
            await asyncio.sleep(seconds_to_tick(SAMPLE_SECONDS))

    task = asyncio.create_task(run(), name="warmdesk.metrics.sample")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _sample(pool: ConnectionPool) -> None:
    idle = pool.idle
    POOL_CONNECTIONS.set(idle, state="idle")
    POOL_CONNECTIONS.set(pool.size - idle, state="busy")


def _of_program() -> list[Family]:
    build = {"version": warmdesk.__version__, "python": platform.python_version()}
    return [Family("gauge", "warmdesk_build_info", "The program: always 1.", [(build, 1)])]


def _of_disk(disk: Disk | None) -> list[Family]:
    """Without a directory nothing is kept on this host: then no disk is told of."""

    def sample(value: int) -> list[tuple[Labels, float]]:
        return [({"directory": "data"}, value)] if disk is not None else []

    return [
        Family(
            "gauge",
            "warmdesk_disk_free_bytes",
            "Bytes that are free on the disk of the data directory.",
            sample(disk.free if disk else 0),
        ),
        Family(
            "gauge",
            "warmdesk_disk_size_bytes",
            "Bytes of the disk of the data directory, used and free.",
            sample(disk.size if disk else 0),
        ),
    ]
