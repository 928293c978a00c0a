"""A backup is tried out: restored into a database of its own and compared with what it says.

The database is its maker's as long as his connection lasts, which holds a lock that says so. Where
he was killed the next one takes it away.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec.structs import replace

from warmdesk.backups.archive import Held, Manifest, holding
from warmdesk.backups.making import Progress, long_connection, silent
from warmdesk.backups.restoring import checked, fill
from warmdesk.config import Settings
from warmdesk.db import migrations
from warmdesk.db.queries import sql
from warmdesk.errors import Unavailable
from warmdesk.realtime.events import ERASING

log = logging.getLogger(__name__)


class Verified(NamedTuple):
    """What a backup was found to be; `faults` are sentences."""

    manifest: Manifest
    faults: list[str]


async def verify(
    settings: Settings, path: Path, *, passphrase: str = "", progress: Progress = silent
) -> Verified:
    """Restore a backup aside and compare every table, row by row by its checksum; then look for
    what must not be. 422 for an archive that is not whole, 503 where no database can be made.
    """
    word = passphrase or settings.backup_passphrase
    with holding(path) as held:
        manifest = await checked(held, word, progress)
        async with long_connection(settings) as connection:
            await _take_away_left_over(connection)
            number = secrets.randbits(31)
            await sql.backups.hold_number(connection, number=number)
            scratch = await sql.backups.scratch(connection, number=number)
            try:
                await connection.execute(scratch["make"])
            except asyncpg.InsufficientPrivilegeError:
                words = (
                    "the database's user may not make a database to try it in: alter role"
                    f' "{scratch["role"]}" createdb, or verify it on another PostgreSQL'
                )
                raise Unavailable(words) from None
            try:
                aside = replace(
                    settings, database_url=_beside(settings.database_url, scratch["name"])
                )
                faults = await _compare(aside, held, word, manifest, progress)
            finally:
                await connection.execute(scratch["drop"])
    return Verified(manifest, faults)


async def _take_away_left_over(connection: Any) -> None:
    """What stands in the way of that is no reason not to verify."""
    for each in await sql.backups.left_over(connection):
        try:
            await connection.execute(each["drop"])
        except asyncpg.PostgresError as error:
            log.warning("verify.left_over name=%s cause=%s", each["name"], type(error).__name__)


async def _compare(
    settings: Settings, held: Held, passphrase: str, manifest: Manifest, progress: Progress
) -> list[str]:
    faults = []
    async with long_connection(settings) as connection:
        async with connection.transaction():
            await fill(connection, held, passphrase, manifest, progress)
        for name, table in manifest.tables.items():
            digest, rows = hashlib.sha256(), 0

            async def take(piece: bytes, digest: Any = digest) -> None:
                nonlocal rows
                rows += piece.count(b"\n")
                digest.update(piece)

            await connection.copy_from_table(name, columns=table.columns, output=take)
            if (rows, digest.hexdigest()) != (table.rows, table.sha256):
                faults.append(f"{name}: {rows} rows came back, not the {table.rows} of the backup")
        async with connection.transaction():
            await migrations.lay(connection, erasing=ERASING)
        faults += [row["fault"] for row in await sql.server.faults(connection)]
    return faults


def _beside(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))
