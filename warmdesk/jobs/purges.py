"""Purges: what was purged goes out of the database, in small batches, each in a transaction of its
own. Nobody sees it any more when this begins.

Of a project all rows go, and its files follow their rows. Of a user goes what is kept for that
person alone; the memberships end; and the name goes out of what was told, and out of answers that
are kept for a key, on whatever channel: all events are read once for that.

Every worker of every host tries; a lock lets one of them do it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from warmdesk.changes import members
from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.channels import CONTROL
from warmdesk.realtime.events import CONTROL_USER_PURGED

BATCH = 200
"""Rows of one batch: with each card go its comments, its history and whatever else hangs on it."""
READ = 750
"""Events that one batch looks at."""
PAUSE_SECONDS = 0.01
AFTER = timedelta(minutes=1)
"""When no change is under way any more that saw the old name, and no process follows the feed that
is taken away, or catches up with it, after it was frozen too.
"""

log = logging.getLogger(__name__)

Step = Callable[..., Awaitable[Any]]


class Purges(Job):
    """See the module."""

    name = "purges"
    seconds = 10.0
    after = AFTER

    async def turn(self) -> int:
        """Take away what is due; gives how many projects and users were looked at."""
        projects = await sql.purges.projects(self.desk.database)
        for row in projects:
            await self._empty_project(row["id"])
        users = await sql.purges.users(self.desk.database, after=self.after)
        for row in users:
            await self._scrub(row["id"])
        return len(projects) + len(users)

    async def _empty_project(self, project_id: int) -> None:
        step = partial(sql.purges.empty_project, project_id=project_id, most=BATCH)
        if gone := await self._until_none(step):
            log.info("purges.emptied project=%d rows=%d", project_id, gone)

    async def _scrub(self, user_id: int) -> None:
        for row in await sql.purges.memberships(self.desk.database, user_id=user_id):
            await self._leave(user_id, row["project_id"])
        queries = sql.purges
        for step in (
            partial(queries.own_events, user_id=user_id, most=READ),
            partial(queries.own_answers, user_id=user_id, most=READ),
        ):
            if await self._until_none(step) is None:
                return
        in_events = partial(queries.rename_in_events, user_id=user_id, most=READ)
        if not await self._all_through(in_events, channel="", seq=0):
            return
        in_answers = partial(queries.rename_in_answers, user_id=user_id, most=READ)
        if not await self._all_through(in_answers, owner=0, path="", key=""):
            return

        async def work(change: Change) -> None:
            await queries.scrubbed(change.connection, user_id=user_id)
            change.emit(CONTROL, CONTROL_USER_PURGED, f'{{"user_id":{user_id}}}')

        await self.desk.changes.run(ChangeContext(None), work)
        log.info("purges.scrubbed user=%d", user_id)

    async def _leave(self, user_id: int, project_id: int) -> None:
        async def work(change: Change) -> None:
            for row in await sql.members.hold(
                change.connection, user_id=user_id, projects=[project_id]
            ):
                if row["role"] is not None:
                    await members.take_out(change, project_id, row["slug"], user_id, row["role"])

        await self.desk.changes.run(ChangeContext(None, project_id=project_id), work)
        await asyncio.sleep(PAUSE_SECONDS)

    async def _all_through(self, step: Step, **place: Any) -> bool:
        """Read a table to its end, a batch after the other, each of which gives where it ended;
        False when another process does.
        """
        while True:
            rows = await self._locked(partial(step, **place))
            if rows is None:
                return False
            if not rows:
                return True
            place = dict(rows[0])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _until_none(self, step: Step) -> int | None:
        """Do a step until it finds nothing; gives how many rows went, None when another process is
        at it.
        """
        gone = 0
        while batch := await self._locked(step):
            gone += batch
            await asyncio.sleep(PAUSE_SECONDS)
        return None if batch is None else gone

    async def _locked(self, step: Step) -> Any:
        """What a step gives; None when another process does one."""
        async with self.desk.database.transaction() as connection:
            if not await sql.purges.may_purge(connection):
                return None
            return await step(connection)
