"""Backups that nobody asks for: every so many hours by the system setting `backup_schedule`.

Every worker of every host looks once a minute whether one is due. Who gets the turn looks again, so
one makes it; where that one dies, or fails, another tries.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, time, timedelta
from functools import partial

import asyncpg

from warmdesk import clock
from warmdesk.backups.keeping import keep
from warmdesk.backups.making import Turn, turn
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, WarmDeskError
from warmdesk.jobs.periodic import Job

HOURS = {"6h": 6, "8h": 8, "12h": 12, "24h": 24}

log = logging.getLogger(__name__)


class Scheduled(Job):
    """See the module."""

    name = "backups"
    seconds = 60.0

    async def turn(self) -> int:
        """Make a backup if one is due and no other process does; gives how many were made."""
        desk, values = self.desk, self.desk.system.values
        hours = HOURS.get(values.backup_schedule)
        if hours is None:
            return 0
        slot = slot_of(datetime.fromtimestamp(clock.now(), UTC), hours, values.backup_start_time)
        due = partial(
            sql.backups.is_due, desk.database, slot=slot, files=values.backup_include_uploads
        )
        if not await due():
            return 0
        try:
            async with turn(desk.settings) as mine:
                if not await due():
                    return 0
                await sql.backups.begin(desk.database)
                return await self._make(mine)
        except Conflict:
            return 0

    async def _make(self, mine: Turn) -> int:
        desk, values = self.desk, self.desk.system.values
        try:
            await keep(
                mine,
                desk.settings,
                values,
                desk.database,
                include_files=values.backup_include_uploads,
                due=True,
            )
        except (WarmDeskError, OSError, asyncpg.PostgresError) as error:
            log.error("backup.failed cause=%s", type(error).__name__, exc_info=error)
            return 0
        return 1


def slot_of(now: datetime, hours: int, start: str) -> datetime:
    """The last moment at which a backup was due: every so many hours from the start of a day on."""
    begins = time.fromisoformat(start or "00:00")
    first = datetime.combine(now.date(), begins, UTC)
    behind = (now - first) // timedelta(hours=hours)
    return first + behind * timedelta(hours=hours)
