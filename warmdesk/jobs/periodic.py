"""A job: something that every worker does again and again while it runs."""

from __future__ import annotations

import asyncio
import random
from typing import ClassVar

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.desk import Desk
from warmdesk.tasks import Tasks


class Job:
    """The task of one process. `turn` is called about every `seconds`, at other moments in each
    process. When the database is away the next turn tries again.
    """

    name: ClassVar[str]
    seconds: ClassVar[float]

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._tasks = Tasks()

    def start(self) -> None:
        self._tasks.start(self.name, self._turns)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def turn(self) -> int:
        """Do what is due; gives how much that was."""
        raise NotImplementedError

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(self.seconds * random.uniform(0.8, 1.2))
            try:
                await self.turn()
            except DATABASE_AWAY as error:
                self.desk.database.outage.doubt(self.name, error)
