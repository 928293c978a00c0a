"""Waiting until others wait for a lock, so that a test knows which of them came first."""

from __future__ import annotations

from typing import Any

from tests.conftest import until


async def waiting(connection: Any, count: int = 1) -> None:
    """Until so many connections to this database wait for a lock."""

    async def enough() -> bool:
        await connection.execute("select pg_stat_clear_snapshot()")
        found: int = await connection.fetchval(
            "select count(*) from pg_stat_activity"
            " where wait_event_type = 'Lock' and datname = current_database()"
        )
        return found >= count

    await until(enough)
