"""Retention: events past their age and idempotency keys past their day go, in small batches.

Every worker of every host tries once a minute; an advisory lock lets one of them do it, so no host
has to be told that it is the one.
"""

from __future__ import annotations

import asyncio
import logging
import random

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.realtime import feed
from warmdesk.tasks import Tasks

EVERY_SECONDS = 60.0
BATCHES = 200
PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


class Retention:
    """The task of one process."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._tasks = Tasks()

    def start(self) -> None:
        self._tasks.start("retention", self._turns)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self.turn()
            except DATABASE_AWAY as error:
                log.warning("retention.failed error=%s", type(error).__name__)

    async def turn(self) -> int:
        """Trim what is due, unless another process does it now; gives how many events went."""
        gone = 0
        for _ in range(BATCHES):
            batch = await self._batch()
            gone += batch
            if not batch:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        if gone:
            log.info("retention.trimmed events=%d", gone)
        return gone

    async def _batch(self) -> int:
        async with self.desk.database.transaction() as connection:
            if not await sql.feeds.may_trim(connection):
                return 0
            await sql.feeds.forget_keys(connection)
            return await feed.trim(connection, days=self.desk.settings.event_retention_days)
