"""Files follow their rows. A row that is deleted leaves its file's name in `removed_files`; what a
crash left has a name that no row knows, or a temporary one.

Every worker of every host looks for the first kind about once a minute. To delete a file twice does
no harm, so nothing is locked meanwhile. For the second kind all files are listed: a worker does
that once a day, and begins some minutes after its start. None of them goes on the day of a
restore.
"""

from __future__ import annotations

import asyncio
import logging
import random

from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable
from warmdesk.jobs.periodic import Job

BATCH = 100
ORPHAN_SECONDS = 86_400.0
"""A file that is so old, and has no row, never gets one: no upload takes so long."""
RESTORE_SECONDS = 86_400.0
"""So long after a restore no file goes for want of a row: its safety copy has rows and no files."""
LIST_SECONDS = 86_400.0
FIRST_SECONDS = 900.0

log = logging.getLogger(__name__)


class FileKeeper(Job):
    """See the module."""

    name = "files"
    seconds = 60.0

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._list_at = _now() + FIRST_SECONDS * random.uniform(0.5, 1.5)

    async def turn(self) -> int:
        """Delete what is due; gives how many files went. When the store is away, the next turn
        tries again.
        """
        gone = 0
        try:
            gone += await self.delete_removed()
            if _now() >= self._list_at:
                self._list_at = _now() + LIST_SECONDS
                gone += await self.delete_orphans()
        except Unavailable:
            pass  # it is in the log
        return gone

    async def delete_removed(self) -> int:
        """Delete the files whose rows are gone."""
        desk, gone = self.desk, 0
        while rows := await sql.attachments.removed(desk.database, limit=BATCH):
            names = [row["stored_name"] for row in rows]
            await desk.files.delete(names)
            await sql.attachments.forget_removed(desk.database, names=names)
            gone += len(names)
        if gone:
            log.info("files.deleted files=%d", gone)
        return gone

    async def delete_orphans(self) -> int:
        """Delete the files that no row has, and what is left of uploads."""
        desk = self.desk
        gone = await desk.files.clear_incoming(ORPHAN_SECONDS)
        async for names in desk.files.old(ORPHAN_SECONDS):
            # Looked at anew for each: a restore may have come meanwhile.
            rows = await sql.attachments.unknown(desk.database, names=names, spared=RESTORE_SECONDS)
            orphans = [row["name"] for row in rows]
            await desk.files.delete(orphans)
            gone += len(orphans)
        if gone:
            log.warning("files.orphans_deleted files=%d", gone)
        return gone


def _now() -> float:
    return asyncio.get_running_loop().time()
