"""Figures for Prometheus about the contents of the database and Redis.

The database is asked at most every ten seconds however often somebody scrapes; while it is away,
its last figures are given, because then the others are needed most. A project's name is a label
only for the 500 projects last active: a label with as many values as there are projects would cost
Prometheus more than it tells.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from warmdesk.backups.directory import listed
from warmdesk.bounds import KEYS, TABLES, kind_of
from warmdesk.db.pool import DATABASE_AWAY, Database
from warmdesk.db.queries import sql
from warmdesk.metrics.kinds import Family
from warmdesk.tasks import answer_within

SHOWN = 500
"""Projects whose columns and cards are told apart."""
KEPT_SECONDS = 10.0
COUNT_SECONDS = 3.0
"""How long the database may take to count: a scrape lasts ten seconds at most."""
SCANS, SCANNED = 20, 1000
"""Calls that look through Redis, and the keys of one: beyond them the rest is estimated."""
SCAN_SECONDS = 1.0


class Inventory:
    """The last figures. `fresh`: whether the database answered when it was last asked."""

    def __init__(self, database: Database, redis: Any, backups: Path) -> None:
        self.database, self.redis, self.backups = database, redis, backups
        self.fresh = False
        self._rows: list[Family] = []
        self._keys: list[Family] = []
        self._at = float("-inf")
        self._lock = asyncio.Lock()

    async def families(self) -> list[Family]:
        """The figures; they are at most ten seconds old, or from before a server went away."""
        async with self._lock:
            if time.monotonic() - self._at > KEPT_SECONDS:
                rows = await answer_within(
                    COUNT_SECONDS, _count(self.database, self.backups), failures=DATABASE_AWAY
                )
                self.fresh = rows is not None
                self._rows = rows or self._rows
                keys = await answer_within(SCAN_SECONDS, _keys(self.redis), failures=(RedisError,))
                self._keys = keys or self._keys
                self._at = time.monotonic()
        return [*self._rows, *self._keys]


async def _count(connection: Any, directory: Path) -> list[Family]:
    whole = await sql.metrics.projects(connection)
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
        Family(
            "gauge",
            "warmdesk_projects",
            "Projects that are not archived.",
            [({}, whole["projects"])],
        ),
        Family("gauge", "warmdesk_mail_queue", "Mails that wait.", [({}, whole["mails"])]),
        Family(
            "gauge",
            "warmdesk_mail_oldest_seconds",
            "For how long the oldest of them waits.",
            [({}, whole["mail_seconds"])],
        ),
        Family(
            "gauge",
            "warmdesk_backup_last_run_timestamp_seconds",
            "When the last backup was begun or made; 0 for never.",
            [({}, whole["backup_at"])],
        ),
        Family(
            "gauge",
            "warmdesk_backup_last_success",
            "Whether it was made: 1, 0, or -1 where there was none, or one is under way.",
            [({}, whole["backup_ok"])],
        ),
        Family(
            "gauge",
            "warmdesk_backup_files",
            "Backups in the directory of this host.",
            [({}, len(await asyncio.to_thread(listed, directory)))],
        ),
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
