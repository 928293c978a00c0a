"""Grams: what the texts of cards hold, so that a search finds them without reading them.

To find that out costs more than to write a card, so who writes a text only marks it, and a search
looks at all that are marked. Every worker of every host looks for such every few seconds; rows that
another one has locked are passed over. Somebody who writes a text whose grams are being made waits
for one batch.
"""

from __future__ import annotations

import asyncio
import logging
import random

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.tasks import Tasks

EVERY_SECONDS = 5.0
CARDS = 100
BYTES = 100_000
"""What one batch makes: some fiftieths of a second of PostgreSQL's, or one card that is longer."""
PAUSE_SECONDS = 0.02

log = logging.getLogger(__name__)


class Grams:
    """The task of one process."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._tasks = Tasks()

    def start(self) -> None:
        self._tasks.start("grams", self._turns)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self.turn()
            except DATABASE_AWAY as error:
                log.warning("grams.failed error=%s", type(error).__name__)

    async def turn(self) -> int:
        """Make the grams of all cards that are due; gives of how many."""
        made = 0
        while batch := await sql.cards.make_grams(self.desk.database, most=CARDS, bytes=BYTES):
            made += batch
            await asyncio.sleep(PAUSE_SECONDS)
        return made
