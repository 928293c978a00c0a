"""A job: something that every worker does again and again while it runs."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import ClassVar

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.desk import Desk
from warmdesk.tasks import Tasks

log = logging.getLogger(__name__)


class Job:
    """The task of one process. `turn` is called about every `seconds`, at other moments in each
    process. A database that is away is logged, and the next turn tries again.
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
                log.warning("%s.failed error=%s", self.name, type(error).__name__)
