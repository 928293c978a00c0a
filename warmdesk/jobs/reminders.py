"""Reminders: who is assigned to a card is told the day before it is due and on that day, from nine
in the morning in their own time zone, once each. What a stopped server missed is told later the
same day, and so is what is due only since then.

About once a minute one worker of all looks at the open cards that are due in these days, which an
index finds, a batch at a time; the row of the table `turns` says whose turn it is. If it is killed
another one begins a minute later: what was told is in `reminders`, written in the same transaction.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, date, datetime, timedelta

from warmdesk import clock
from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job
from warmdesk.realtime.change import Change, ChangeContext

PAUSE = timedelta(seconds=55)
"""Between two looks of whichever workers."""
LOOK = 200
"""Cards of one batch: as many as its statement is planned for."""
TELL = 50
"""Cards of which people are reminded in one transaction: they are locked meanwhile, and their
readers' feeds at its end.
"""
PAUSE_SECONDS = 0.02
BEFORE, AFTER = timedelta(days=1), timedelta(days=2)
"""Wherever it is today, it is one of these days in UTC, and what is due tomorrow there too."""

log = logging.getLogger(__name__)


class Reminders(Job):
    """See the module."""

    name = "reminders"
    seconds = 15.0
    pause = PAUSE
    look = LOOK

    async def turn(self) -> int:
        """Remind of what is due, unless another worker looked just now; gives how many people."""
        if not await sql.reminders.begin(self.desk.database, pause=self.pause):
            return 0
        return await self.remind(datetime.fromtimestamp(clock.now(), UTC))

    async def remind(self, moment: datetime) -> int:
        """Remind of what is due at this moment; gives how often."""
        today, told = moment.astimezone(UTC).date(), 0
        after: tuple[date, int] = today - BEFORE, 0
        while True:
            page = await sql.reminders.due(
                self.desk.database,
                moment=moment,
                after_date=after[0],
                after_id=after[1],
                until=today + AFTER,
                limit=self.look,
            )
            for project_id, cards in json.loads(page["due"]):
                for start in range(0, len(cards), TELL):
                    some = cards[start : start + TELL]
                    told += await self._tell(project_id, some, moment)
            if page["looked_at"] < self.look:
                break
            after = page["last_date"], page["last_id"]
            await sql.reminders.go_on(self.desk.database)
            await asyncio.sleep(PAUSE_SECONDS)
        if told:
            log.info("reminders.told notifications=%d", told)
        return told

    async def _tell(self, project_id: int, cards: list[int], moment: datetime) -> int:
        async def work(change: Change) -> int:
            messages: list[str] = await sql.reminders.remind(
                change.connection, project_id=project_id, cards=cards, moment=moment
            )
            change.messages += messages
            return len(messages)

        return await self.desk.changes.run(ChangeContext(None, project_id=project_id), work)
