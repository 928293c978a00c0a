"""The figures for Prometheus: what the workers counted, and what the database holds.

The database is asked at most every ten seconds however often somebody scrapes; while it is away,
what it held last is told, because then the other figures are needed most. A project's name is a
label only for the 500 projects last active: a label with as many values as there are projects would
cost Prometheus more than it tells.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

import warmdesk
from warmdesk import metrics
from warmdesk.auth.actor import GlobalRole
from warmdesk.bounds import KEYS, TABLES, kind_of
from warmdesk.db.lines import Lines
from warmdesk.db.queries import sql
from warmdesk.metrics import POOL_CONNECTIONS, POOL_LIMIT, Family, Labels, render
from warmdesk.rest.health import SAMPLED, Disk, asked
from warmdesk.rest.routing import DESK, route
from warmdesk.tasks import until_beat

SHOWN = 500
"""Projects whose columns and cards are told apart."""
KEPT_SECONDS = 10.0
COUNT_SECONDS = 3.0
"""How long the database may take to count: a scrape lasts ten seconds at most."""
SAMPLE_SECONDS = 2.0
SCANS, SCANNED = 20, 1000
"""Calls that look through Redis, and the keys of one: beyond them the rest is estimated."""
SCAN_SECONDS = 1.0


@dataclass(slots=True)
class Counted:
    """What the database and Redis held, and when they were asked (`time.monotonic()`)."""

    families: list[Family] = field(default_factory=list)
    keys: list[Family] = field(default_factory=list)
    at: float = float("-inf")
    fresh: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


COUNTED: web.AppKey[Counted] = web.AppKey("counted", Counted)


@route(
    "GET",
    "/metrics",
    need=frozenset({GlobalRole.ADMIN, GlobalRole.METRICS}),
    answer=str,
    tag="metrics",
)
async def show_metrics(request: web.Request) -> web.Response:
    """Show the figures in Prometheus' text format, of all workers of this host together."""
    desk, counted = request.app[DESK], request.app[COUNTED]
    async with counted.lock:
        if time.monotonic() - counted.at > KEPT_SECONDS:
            found = await asked(_count(desk.database), seconds=COUNT_SECONDS)
            counted.fresh = found is not None
            counted.families = found or counted.families
            keys = await asked(_keys(desk.redis), seconds=SCAN_SECONDS)
            counted.keys = keys or counted.keys
            counted.at = time.monotonic()
    _sample(desk.database.pool)
    disk = request.app[SAMPLED].disk
    text = render([*_of_program(), *_of_disk(disk), *counted.families, *counted.keys])
    metrics.accessed(succeeded=counted.fresh)
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
            await asyncio.sleep(until_beat(SAMPLE_SECONDS))

    task = asyncio.create_task(run(), name="warmdesk.metrics.sample")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _sample(pool: Lines) -> None:
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


async def _count(connection: Any) -> list[Family]:
    projects = await sql.metrics.projects(connection)
    shown = [row["id"] for row in await sql.metrics.active(connection, most=SHOWN)]
    columns = await sql.metrics.columns(connection, shown=shown)
    cards = await sql.metrics.cards(connection, shown=shown)
    users = await sql.metrics.users(connection)
    tables = await sql.metrics.tables(connection, names=list(TABLES))
    return [
        Family(
            "gauge",
            "warmdesk_table_rows",
            "Rows of a table, as PostgreSQL's statistics estimate them.",
            [({"table": row["name"]}, row["rows"]) for row in tables],
        ),
        Family(
            "gauge",
            "warmdesk_table_bytes",
            "Bytes of a table and its indexes.",
            [({"table": row["name"]}, row["bytes"]) for row in tables],
        ),
        Family("gauge", "warmdesk_projects", "Projects that are not archived.", [({}, projects)]),
        Family(
            "gauge",
            "warmdesk_columns",
            "Columns of a project.",
            [({"project": row["project"]}, row["columns"]) for row in columns],
        ),
        Family(
            "gauge",
            "warmdesk_cards",
            "Cards of a column.",
            [
                (
                    {
                        "project": row["project"],
                        "column_id": row["column_id"],
                        "column": row["name"],
                        "status": "closed" if row["closed"] else "open",
                    },
                    row["cards"],
                )
                for row in cards
            ],
        ),
        Family(
            "gauge",
            "warmdesk_users",
            "Accounts by global role.",
            [
                (
                    {"role": row["global_role"], "active": str(row["is_active"]).lower()},
                    row["users"],
                )
                for row in users
            ],
        ),
    ]


async def _keys(redis: Any) -> list[Family]:
    kinds, cursor, seen = Counter(dict.fromkeys(KEYS, 0)), 0, 0
    for _ in range(SCANS):
        cursor, keys = await redis.scan(cursor, count=SCANNED)
        kinds.update(filter(None, (kind_of(key.decode(errors="replace")) for key in keys)))
        seen += len(keys)
        if not cursor:
            break
    share = max(1.0, await redis.dbsize() / seen) if cursor and seen else 1.0
    return [
        Family(
            "gauge",
            "warmdesk_redis_keys",
            "Keys in Redis, by what they are for; estimated where there are many.",
            [({"kind": kind}, round(number * share)) for kind, number in kinds.items()],
        )
    ]


routes = [show_metrics]
