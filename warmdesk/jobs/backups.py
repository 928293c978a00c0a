"""Backups that nobody asks for: every so many hours by the system setting `backup_schedule`.

Every worker of every host looks once a minute whether one is due. Who gets the turn looks again, so
one makes it. Where that one dies another notes that it failed: what one died of may kill the next.
After a failure another tries, ten minutes later.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, time, timedelta
from functools import partial

from warmdesk import clock
from warmdesk.backups.keeping import FAILURES, cause_of, keep, note_failure
from warmdesk.backups.making import Turn, turn
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict
from warmdesk.jobs.periodic import Job
from warmdesk.mail.letters import DIED

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
        begun = False
        try:
            async with turn(desk.settings) as mine:
                begun = True
                return await self._in_turn(mine) if await due() else 0
        except Conflict:
            return 0
        except DATABASE_AWAY as error:
            # While another makes one, this one was not needed.
            if not begun and not await sql.backups.under_way(desk.database):
                await self._failed(error)
            raise

    async def _in_turn(self, mine: Turn) -> int:
        # Nobody else has the turn: whoever began it is dead.
        if moment := await sql.backups.under_way(self.desk.database):
            log.error("backup.failed cause=%s begun_at=%s", DIED, moment.isoformat())
            await self._note(DIED, moment)
            return 0
        await sql.backups.begin(self.desk.database)
        return await self._make(mine)

    async def _failed(self, error: BaseException) -> None:
        """No connection for it, say, while the others are served by theirs."""
        log.error("backup.failed cause=%s", type(error).__name__, exc_info=error)
        await self._note(cause_of(error))

    async def _note(self, cause: str, moment: datetime | None = None) -> None:
        desk = self.desk
        await note_failure(
            desk.settings,
            desk.system.values,
            desk.database,
            cause=cause,
            mailed=True,
            moment=moment,
        )

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
        except FAILURES as error:
            log.error("backup.failed cause=%s", type(error).__name__, exc_info=error)
            return 0
        return 1


def slot_of(now: datetime, hours: int, start: str) -> datetime:
    """The last moment at which a backup was due: every so many hours from the start of a day on."""
    begins = time.fromisoformat(start or "00:00")
    first = datetime.combine(now.date(), begins, UTC)
    behind = (now - first) // timedelta(hours=hours)
    return first + behind * timedelta(hours=hours)
