"""Files: whether those that the database names are where this host looks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import asyncpg

from warmdesk.config import Settings
from warmdesk.db.dial import connect
from warmdesk.db.pool import BROKEN
from warmdesk.db.queries import sql
from warmdesk.doctor import SECONDS, Findings, Teller, leave
from warmdesk.errors import Unavailable
from warmdesk.files import Files

NEWEST = 20
"""So many files are looked for, those that came last: whichever host took them."""
SHARE = "set WARMDESK_FILE_STORE on all hosts, to one directory that they share or an object store"

TELL = Teller("files")


async def files(found: Settings) -> Findings:
    """The newest of them; and whether hosts that cannot see each other's disks share a store."""
    kept = Files(found, patient=False)
    where = found.file_store or str(kept.directory)
    try:
        connection = await connect(found.database_url, timeout=SECONDS, command_timeout=SECONDS)
    except (*BROKEN, asyncpg.PostgresError, ValueError):
        yield TELL.warning("the database that names them cannot be asked", "see PostgreSQL above")
        return
    try:
        others = await sql.doctor.other_hosts(connection)
        names = [row["name"] for row in await sql.doctor.newest_files(connection, limit=NEWEST)]
    except (*BROKEN, asyncpg.PostgresError):
        # There is no schema yet, perhaps.
        others, names = 0, []
    finally:
        await leave(connection)
    try:
        async with asyncio.timeout(SECONDS):
            absent = await _absent(kept, names)
    except (Unavailable, TimeoutError):
        yield TELL.wrong(
            f"{where} does not answer, or refuses", "correct WARMDESK_FILE_STORE or its credentials"
        )
        return
    if absent:
        advice = SHARE if others else "name the store that has them (WARMDESK_FILE_STORE)"
        yield TELL.wrong(
            f"{absent} of the newest {len(names)} are not in {where}",
            f"{advice}, or bring there what is missing, from a backup with files",
        )
    elif others and not found.file_store:
        yield TELL.warning(f"other hosts serve, and {where} is of this host alone", SHARE)
    else:
        yield TELL.ok(
            f"the newest {len(names)} are in {where}" if names else f"none yet in {where}"
        )


async def _absent(kept: Files, names: Iterable[str]) -> int:
    return sum([not await kept.has(name) for name in names])
