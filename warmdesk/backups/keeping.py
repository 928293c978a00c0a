"""A backup is kept by this host: made into its directory, noted in the database, the oldest gone.

So does whoever makes one there: the clock, the API, the command line. What was noted stands in the
metrics, and the clock goes by it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from warmdesk import clock
from warmdesk.backups.directory import directory_of, prune
from warmdesk.backups.making import Backup, Progress, Turn, silent
from warmdesk.config import Settings
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.errors import WarmDeskError
from warmdesk.mail.letters import is_on
from warmdesk.schemas.settings import SystemSettings

MINUTE = "%Y-%m-%d %H:%M"
FAILURES = (WarmDeskError, *DATABASE_AWAY)
"""Why none is made: also a disk that is away, or a database that is."""

log = logging.getLogger(__name__)


async def keep(
    mine: Turn,
    settings: Settings,
    values: SystemSettings,
    database: Any,
    *,
    include_files: bool,
    due: bool = False,
    progress: Progress = silent,
) -> Backup:
    """Make a backup and keep it. When it was `due`, whoever the system settings name is told of it
    by mail, or of its failure; when somebody asked for it, he is told, and others only that one was
    made again. 503 as `Turn.make`; a failure is noted, too.
    """
    directory = directory_of(settings)
    mailed = values.backup_email_enabled and is_on(settings, values)
    try:
        made = await mine.make(directory, include_files=include_files, progress=progress)
    except FAILURES as error:
        await note_failure(settings, values, database, cause=cause_of(error), mailed=due)
        raise
    about = {
        "filename": made.filename,
        "moment": made.created_at.astimezone(UTC).strftime(MINUTE),
        "bytes": made.size,
        "missing_files": made.manifest.missing_files,
    }
    await _note(
        database, values, made.filename, about if mailed else None, full=include_files, each=due
    )
    gone = []
    try:
        gone = await asyncio.to_thread(prune, directory, values.backup_keep, never={made.filename})
    except OSError as error:
        # It is made all the same, and the next one tries again.
        log.warning("backup.not_pruned cause=%s", type(error).__name__, exc_info=error)
    log.info("backup.made filename=%s bytes=%d pruned=%d", made.filename, made.size, len(gone))
    return made


async def note_failure(
    settings: Settings,
    values: SystemSettings,
    database: Any,
    *,
    cause: str,
    mailed: bool,
    moment: datetime | None = None,
) -> None:
    """No backup was made, at this moment or now; `mailed`: whoever is to be told is."""
    moment = moment or datetime.fromtimestamp(clock.now(), UTC)
    told = mailed and values.backup_email_enabled and is_on(settings, values)
    about = {"cause": cause, "moment": moment.astimezone(UTC).strftime(MINUTE)}
    await _note(database, values, "", about if told else None)


def cause_of(error: BaseException) -> str:
    """The word for it that letters go by."""
    return error.code if isinstance(error, WarmDeskError) else ""


def is_kept(settings: Settings, directory: Path) -> bool:
    """Whether a backup that is made into a directory is kept by this host."""
    return directory.resolve() == directory_of(settings).resolve()


async def _note(
    database: Any,
    values: SystemSettings,
    filename: str,
    about: dict[str, Any] | None,
    *,
    full: bool = False,
    each: bool = False,
) -> None:
    """`about` is what a mail tells. Without a `filename` none was made."""
    if about is not None:
        about |= {"ok": bool(filename), "host": socket.gethostname()}
    await sql.backups.note(
        database,
        filename=filename,
        ok=bool(filename),
        full=full,
        about=None if about is None else msgspec.json.encode(about).decode(),
        address=values.backup_email_address,
        each=each and values.backup_email_each,
    )
