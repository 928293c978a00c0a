"""A backup is made: one snapshot of the database, read while people write, and the files that its
rows name.

Rows come as COPY's text, so no ``pg_dump`` of the right version is needed. Nobody who writes waits,
and what they write meanwhile is not in it. But the tables stay: a migration that drops one, or
writes it anew, waits, or the snapshot would find it missing or empty. What a restore makes anew is
left out: the ledger of migrations, which installation this is, and the prints of its hosts'
secrets. The secrets themselves are in no backup.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

import warmdesk
from warmdesk.backups.archive import FORMAT, PIECE, Broken, Manifest, Table, Writing
from warmdesk.backups.directory import clear, new_name
from warmdesk.bounds import TABLES
from warmdesk.config import Settings
from warmdesk.db.dial import connect
from warmdesk.db.migrations import newest
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.disk import measure_disk
from warmdesk.errors import Conflict, Unavailable
from warmdesk.files import Files, failing, place

OWN = frozenset({"schema_migrations", "install", "secret_prints", "backup_state"})
"""The tables that are no part of a backup."""
TEXT = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
"""So that the text of a value is the same everywhere."""
PATIENT = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
}
"""So that no limit of a role or a database ends what takes long; see `long_connection`."""
FULL_SECONDS = 60
LOCK_LIMIT = "set lock_timeout = '3s'"
"""How long a backup waits for its tables at once, before it lets go of those it has."""
LOCK_TRIES = 10
LOCK_SECONDS = 30
PAUSE_SECONDS = 0.2
CHANGED = (
    asyncpg.UndefinedTableError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
)

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Is told what is done now (a word), how far it is, and how far it goes (0: unknown)."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody wants to know of."""


class Backup(NamedTuple):
    """A backup that was made."""

    filename: str
    size: int
    sha256: str
    created_at: datetime
    manifest: Manifest


@asynccontextmanager
async def long_connection(settings: Settings) -> AsyncIterator[Any]:
    """A connection for work that takes as long as it takes, with values in one form of text."""
    connection = await connect(
        settings.database_url, timeout=10, server_settings=TEXT | PATIENT, statement_cache_size=0
    )
    try:
        # Only PostgreSQL 17 and newer know it, and an older one refuses whoever begins with it.
        await sql.backups.wait_for_transactions(connection)
        yield connection
    finally:
        connection.terminate()


class Turn:
    """The turn of one who makes a backup: nobody else makes or restores one meanwhile."""

    def __init__(self, settings: Settings, connection: Any) -> None:
        self._settings, self._connection = settings, connection

    async def make(
        self, directory: Path, *, include_files: bool, progress: Progress = silent
    ) -> Backup:
        """Make a backup of the moment at which the turn began, encrypted where the settings say so.
        503 while the disk has no room for it; nothing stays of one that fails.
        """
        with failing():
            await asyncio.to_thread(clear, directory)
        return await write(
            self._connection,
            Files(self._settings) if include_files else None,
            directory,
            passphrase=self._settings.backup_passphrase,
            progress=progress,
        )


@asynccontextmanager
async def turn(settings: Settings) -> AsyncIterator[Turn]:
    """A turn; 409 while it is another's, 503 while somebody has a table for himself."""
    async with long_connection(settings) as connection:
        # For longer than its snapshot, which waits for tables: another is told at once.
        if not await sql.backups.lock_longer(connection):
            raise _busy()
        try:
            async with _snapshot(connection):
                yield Turn(settings, connection)
        finally:
            with suppress(*DATABASE_AWAY):  # a backup that is made is made
                await sql.backups.unlock(connection)


@asynccontextmanager
async def _snapshot(connection: Any) -> AsyncIterator[None]:
    """All that there is at one moment, whose tables stay until the end."""
    await connection.execute(LOCK_LIMIT)
    for left in reversed(range(LOCK_TRIES)):
        locking = await sql.backups.locking(connection, mode="access share")
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        try:
            # The first statement: to lock takes no snapshot, and any other would take it too early.
            await connection.execute(locking)
            if await sql.backups.locking(connection, mode="access share") == locking:
                break
        except CHANGED:
            pass
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.rollback()
        if not left:
            raise Unavailable(
                "the tables are being changed, perhaps brought up to date by a newer program;"
                " make the backup when that is done",
                retry_after=LOCK_SECONDS,
            )
        await asyncio.sleep(PAUSE_SECONDS)
    await connection.execute("set lock_timeout = 0")
    try:
        yield
    finally:
        with suppress(*DATABASE_AWAY):
            await transaction.rollback()


async def make(
    settings: Settings, directory: Path, *, include_files: bool, progress: Progress = silent
) -> Backup:
    """Make a backup in a turn of its own: see `turn` and `Turn.make`."""
    async with turn(settings) as mine:
        return await mine.make(directory, include_files=include_files, progress=progress)


async def take_turn(connection: Any) -> None:
    """Be the only one that makes or restores a backup until the transaction ends; 409 otherwise."""
    if not await sql.backups.lock(connection):
        raise _busy()


def _busy() -> Conflict:
    return Conflict("a backup is being made or restored; wait for its end", code="busy")


async def write(
    connection: Any,
    files: Files | None,
    directory: Path,
    *,
    passphrase: str,
    progress: Progress,
) -> Backup:
    """Write what a transaction sees as an archive into the directory."""
    facts = await sql.backups.facts(connection)
    created_at: datetime = facts["created_at"]
    with failing():
        await asyncio.to_thread(_check_room, directory)
    name = new_name(created_at, full=files is not None, encrypted=bool(passphrase))
    archive = Writing(directory / name, passphrase=passphrase)
    try:
        with failing():
            manifest = await _write_all(connection, archive, files, facts, progress)
    except Broken as error:
        raise Unavailable(f"a file changed meanwhile ({error}); try again") from error
    finally:
        await archive.close()
    return Backup(archive.path.name, archive.size, archive.sha256, created_at, manifest)


async def _write_all(
    connection: Any, archive: Writing, files: Files | None, facts: Any, progress: Progress
) -> Manifest:
    await archive.begin()
    manifest = Manifest(
        format=FORMAT,
        program=warmdesk.__version__,
        schema=facts["schema"],
        origin=facts["origin"],
        installation=facts["installation"],
        created_at=facts["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        postgresql=facts["postgresql"],
        tables={},
        sequences={},
        includes_files=files is not None,
    )
    done = 0
    for row in await sql.backups.tables(connection):
        if row["name"] in OWN:
            continue
        if row["name"] not in TABLES and facts["schema"] <= newest():
            log.warning("backup.foreign_table table=%s", row["name"])
            continue

        def told(more: int, before: int = done) -> None:
            progress("tables", before + more, max(facts["bytes"], before + more))

        table = await write_table(connection, archive, row["name"], row["columns"], told)
        manifest.tables[row["name"]] = table
        done += table.bytes
    for row in await sql.backups.sequences(connection):
        manifest.sequences[row["name"]] = row["last_value"] or 0
    if files is not None:
        await _write_files(connection, archive, files, manifest, progress)
    await archive.end(manifest)
    return manifest


async def write_table(
    connection: Any, archive: Writing, name: str, columns: list[str], told: Callable[[int], None]
) -> Table:
    """Write the rows of a table; `told` hears how many bytes there were."""
    table, digest = Table(columns), hashlib.sha256()
    waiting = bytearray()

    async def add(piece: bytes) -> None:
        table.pieces += 1
        table.rows += piece.count(b"\n")
        table.bytes += len(piece)
        await asyncio.to_thread(digest.update, piece)
        await archive.add(f"db/{name}/{table.pieces:06}.copy", piece)
        told(table.bytes)

    async def take(content: bytes) -> None:
        nonlocal waiting
        waiting += content
        while len(waiting) >= PIECE:
            piece = bytes(waiting[:PIECE])
            del waiting[:PIECE]
            await add(piece)

    await connection.copy_from_table(name, columns=columns, output=take)
    if waiting:
        await add(bytes(waiting))
    table.sha256 = digest.hexdigest()
    return table


async def _write_files(
    connection: Any, archive: Writing, files: Files, manifest: Manifest, progress: Progress
) -> None:
    """The files in the order of their names. One that is being deleted may be missing."""
    after = ""
    while rows := await sql.backups.files(connection, after=after):
        for row in rows:
            name, size = row["stored_name"], row["size"]
            try:
                # What a crash or a bad disk left cut is no reason to have no backup of all else.
                if await files.size(name) < size:
                    raise FileNotFoundError(name)
                pieces = await files.read(name, 0, size)
            except FileNotFoundError:
                log.warning("backup.file_missing file=%s", name)
                manifest.missing_files += 1
                continue
            await archive.add_stream(f"files/{place(name)}", size, pieces)
            manifest.files += 1
            manifest.file_bytes += size
            progress("files", manifest.file_bytes, 0)
        after = rows[-1]["stored_name"]


def _check_room(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk = measure_disk(directory)
    if disk is not None and disk.low:
        words = f"the disk of {directory.name} has no room for a backup now"
        raise Unavailable(words, retry_after=FULL_SECONDS, code="disk")
