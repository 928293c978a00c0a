"""A backup becomes the installation: all of it, in one transaction, or nothing.

The archive is read whole before anything is touched: one that was cut or changed, or of a newer
program, is refused. Then, while no one can write, a safety copy is made of what there is; all
tables are made anew as they were in the program that wrote the backup, filled, indexed and
connected, and migrated to this program. The commit is the moment of the restore. A process or a
host that dies before it leaves what was there.

What comes after it is told apart: the installation has another UUID and epoch, and every feed goes
on above its old head, so a client that was connected fetches all again. Rights that were taken
since the backup was made stay taken (see sql/changes/restore.sql). Files are put beside those that
are there, before the rows that name them; those that no row names any more go a day later,
because the safety copy has none and would want them back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from warmdesk.backups.age import NotWhole, WrongPassphrase
from warmdesk.backups.archive import Broken, Held, Manifest, Member, Reading, holding
from warmdesk.backups.making import OWN, Backup, Progress, long_connection, silent, take_turn, write
from warmdesk.bounds import TABLES
from warmdesk.config import Settings
from warmdesk.db import migrations
from warmdesk.db.queries import sql
from warmdesk.errors import Impossible, Unavailable
from warmdesk.files import Files
from warmdesk.realtime.events import ERASING

LOCK_SECONDS = 30
LOCK_TRIES = 20
SETTLE_SECONDS = 5
"""Longer than this nobody waits for statistics: the worker that restores is about to be replaced,
and has to answer before. Autovacuum makes what is left."""
LOST = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)

log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """What a restore did. `carried_over`: rights of each kind that stayed revoked."""

    manifest: Manifest
    safety: Backup | None
    carried_over: dict[str, int]
    messages: list[str]


async def restore(
    settings: Settings,
    path: Path,
    *,
    passphrase: str = "",
    safety: Path | None = None,
    carry: bool = True,
    actor_id: int | None = None,
    ip: str = "",
    progress: Progress = silent,
) -> Restored:
    """Put a backup in the place of all that there is. `safety`: the directory for a copy of what
    there was. `carry`: what was revoked here since stays so, if the backup is of this installation.

    409 while another is made or restored, 422 for an archive that cannot be restored, 503 when the
    tables cannot be had; then nothing changed.
    """
    with holding(path) as held:
        manifest = await checked(held, passphrase, progress)
        files = Files(settings)
        if manifest.files:
            with fitting(held):
                await _put_files(files, held, passphrase, manifest, progress)
        async with long_connection(settings) as connection:
            async with connection.transaction():
                await take_turn(connection)
                await _hold_schema(connection)
                await _lock_all(connection, "exclusive")
                kept = None
                if safety is not None:
                    word = settings.backup_passphrase
                    kept = await write(connection, None, safety, passphrase=word, progress=progress)
                here = await sql.backups.facts(connection)
                sequences = await _last_values(connection)
                await sql.backups.remember(connection)
                await _lock_all(connection, "access exclusive")
                await _drop_all(connection)
                await fill(connection, held, passphrase, manifest, progress)
                for name, last in sequences.items():
                    await _lift(connection, name, max(last, manifest.sequences.get(name, 0)))
                progress("migrate", 0, 0)
                await migrations.lay(connection, erasing=ERASING)
                if manifest.files:
                    await _put_lost_files(connection, files, held, passphrase, manifest, progress)
                carried = {"sessions": 0, "keys": 0, "members": 0, "users": 0}
                if not carry and here["origin"] == manifest.origin:
                    await sql.backups.carry_letters(connection)
                elif here["origin"] == manifest.origin:
                    carried = json.loads(
                        await sql.backups.carry_over(
                            connection,
                            made_at=_moment(manifest),
                            actor=actor_id,
                        )
                    )
                await sql.backups.note_restore(
                    connection,
                    actor_id=actor_id,
                    ip=ip,
                    after=msgspec.json.encode(
                        {"filename": held.name, "created_at": manifest.created_at}
                    ).decode(),
                )
                messages = await sql.backups.begin_again(connection, origin=manifest.origin)
                progress("commit", 0, 0)
            log.info("restore.done filename=%s carried_over=%s", held.name, json.dumps(carried))
            # What comes now is no part of it: it is done, whatever becomes of this.
            await _settle(connection)
    return Restored(manifest, kept, carried, messages)


async def checked(held: Held, passphrase: str, progress: Progress = silent) -> Manifest:
    """The manifest of an archive that is whole and that this program can restore; 422 otherwise."""
    size = held.size
    over = threading.Event()

    def step(at: int) -> None:
        if over.is_set():
            raise Broken("nobody waits any more")
        progress("check", at, size)

    try:
        manifest = await asyncio.to_thread(Reading(held, passphrase).check, step)
    except WrongPassphrase as error:
        raise Impossible(str(error), code="passphrase") from None
    except (Broken, NotWhole) as error:
        raise Impossible(f"{held.name}: {error}", code="backup") from None
    finally:
        # Its thread would go on to the end of the file, and a process that stops waits for it.
        over.set()
    try:
        _moment(manifest)
        UUID(manifest.origin)
    except ValueError:
        raise Impossible(f"{held.name}: the manifest cannot be", code="backup") from None
    newest = migrations.newest()
    if manifest.schema > newest:
        raise Impossible(
            f"{held.name} is of WarmDesk {manifest.program} with migration {manifest.schema}; this"
            f" program knows {newest}: restore it with that one or a newer",
            code="backup",
        )
    return manifest


def _moment(manifest: Manifest) -> datetime:
    moment = datetime.fromisoformat(manifest.created_at)
    if moment.tzinfo is None:
        raise ValueError("it is nobody's time")
    return moment


async def fill(
    connection: Any, held: Held, passphrase: str, manifest: Manifest, progress: Progress
) -> None:
    """Within a transaction and an empty schema: the tables of the program that wrote the archive,
    with its rows, indexed and connected. 422 for rows that do not fit there.
    """
    with fitting(held):
        await _fill(connection, held, passphrase, manifest, progress)


@contextmanager
def fitting(held: Held) -> Iterator[None]:
    """422 for what only shows when an archive is put to use: it was made by somebody else, or is
    another one than when it was checked.
    """
    try:
        yield
    except (Broken, NotWhole, WrongPassphrase) as error:
        raise Impossible(f"{held.name} changed meanwhile: {error}", code="backup") from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        cause = type(error).__name__
        words = f"{held.name}: its rows do not fit together ({cause})"
        raise Impossible(words, code="backup") from error


async def _fill(
    connection: Any, held: Held, passphrase: str, manifest: Manifest, progress: Progress
) -> None:
    await migrations.lay(connection, upto=manifest.schema)
    found = {row["name"]: row["columns"] for row in await sql.backups.tables(connection)}
    for name, table in manifest.tables.items():
        if name in OWN or name not in found or not set(table.columns) <= set(found[name]):
            raise Impossible(f"{held.name}: there is no such table as {name}", code="backup")
    if lacking := found.keys() - OWN - manifest.tables.keys():
        raise Impossible(f"{held.name}: the table {min(lacking)} is missing", code="backup")
    keys = await sql.backups.keys(connection)
    for key in keys:
        await connection.execute(key["drop"])
    loading = await sql.backups.loading(connection, names=list(manifest.tables))
    for step in loading:
        await connection.execute(step["before"])
    await _copy_rows(connection, held, passphrase, manifest, progress)
    progress("index", 0, len(keys))
    await connection.execute("set local maintenance_work_mem = '128MB'")
    for done, key in enumerate(sorted(keys, key=lambda key: (key["rank"] == 1, key["rank"]))):
        await connection.execute(key["make"])
        progress("index", done + 1, len(keys))
    for step in loading:
        await connection.execute(step["after"])
    for row in await sql.backups.sequences(connection):
        await _lift(connection, row["name"], manifest.sequences.get(row["name"], 0))


async def _copy_rows(
    connection: Any, held: Held, passphrase: str, manifest: Manifest, progress: Progress
) -> None:
    """One COPY a table, of the pieces as they come."""
    rows = _Rows(Reading(held, passphrase).members(), manifest, progress)
    await rows.next()
    while rows.table:
        name, table = rows.table, manifest.tables[rows.table]
        status = await connection.copy_to_table(
            name, columns=table.columns, source=rows.of_table(), freeze=True
        )
        if status.split()[-1] != str(table.rows) or rows.digest.hexdigest() != table.sha256:
            raise Impossible(f"{held.name}: the rows of {name} are not its rows", code="backup")


class _Rows:
    """The rows of an archive, table by table."""

    def __init__(self, members: Iterator[Member], manifest: Manifest, progress: Progress) -> None:
        self.digest = hashlib.sha256()
        self._members, self._progress = members, progress
        self._member: Member | None = None
        self._done, self._total = 0, sum(table.bytes for table in manifest.tables.values())

    @property
    def table(self) -> str:
        """The table whose rows come next; empty behind the last."""
        return self._member.table if self._member else ""

    async def next(self) -> None:
        self._member = await _next(self._members)

    async def of_table(self) -> AsyncIterator[bytes]:
        """All rows of the table."""
        name, self.digest = self.table, hashlib.sha256()
        while self._member is not None and self.table == name:
            while piece := await asyncio.to_thread(next, self._member.pieces, b""):
                self.digest.update(piece)
                yield piece
                self._done += len(piece)
                self._progress("tables", self._done, self._total)
            await self.next()


async def _put_files(
    files: Files,
    held: Held,
    passphrase: str,
    manifest: Manifest,
    progress: Progress,
    *,
    only: set[str] | None = None,
) -> None:
    """Files that are not there, or not whole. They are named by chance and never change."""
    members = Reading(held, passphrase).members()
    done = 0
    while (member := await _next(members)) is not None:
        if not member.file or (only is not None and member.file not in only):
            continue
        if await files.size(member.file) != member.size:
            async with files.receiving() as uploads:
                upload = files.begin(uploads, name=member.file)
                while piece := await asyncio.to_thread(next, member.pieces, b""):
                    await upload.write(piece)
                async with files.keeping(uploads):
                    pass
        done += member.size
        progress("files", done, manifest.file_bytes)


async def _put_lost_files(
    connection: Any,
    files: Files,
    held: Held,
    passphrase: str,
    manifest: Manifest,
    progress: Progress,
) -> None:
    """Files that were still there when the others were put, and that the jobs deleted until the
    tables were locked, because no row named them: those of a project that was purged just now.
    """
    lost, after = set(), ""
    while rows := await sql.backups.returned_files(connection, after=after):
        for row in rows:
            if await files.size(row["stored_name"]) != row["size"]:
                lost.add(row["stored_name"])
        after = rows[-1]["stored_name"]
    if lost:
        with fitting(held):
            await _put_files(files, held, passphrase, manifest, progress, only=lost)


async def _next(members: Iterator[Member]) -> Member | None:
    return await asyncio.to_thread(next, members, None)


async def _hold_schema(connection: Any) -> None:
    """No process that starts brings the schema up to date meanwhile, and none of a newer program
    did: what that one serves with would be gone.
    """
    await connection.execute("set local lock_timeout = '30s'")
    try:
        await migrations.hold(connection, limit=LOCK_SECONDS)
    except TimeoutError:
        words = "the schema is being brought up to date; try again later"
        raise Unavailable(words, retry_after=LOCK_SECONDS) from None
    try:
        _, newer = await migrations.missing(connection)
    except migrations.MigrationError as error:
        raise Impossible(str(error)) from None
    if newer:
        raise Impossible("a newer WarmDesk serves this database: restore with that one")
    names = {row["name"] for row in await sql.backups.tables(connection)}
    if foreign := names - TABLES.keys():
        raise Impossible(
            f"the schema also holds tables that are not WarmDesk's ({', '.join(sorted(foreign))}):"
            " they are in no backup; move them to another schema first"
        )


async def _lock_all(connection: Any, mode: str) -> None:
    """`exclusive`: nobody writes from now on, who reads still can. `access exclusive`: nobody does
    either. Tables that are taken one by one, as they are dropped, would be waited for crosswise by
    those who read several, and PostgreSQL may end either.
    """
    statement = await sql.backups.locking(connection, mode=mode)
    await connection.execute("set local lock_timeout = '3s'")
    for left in reversed(range(LOCK_TRIES)):
        try:
            async with connection.transaction():
                await connection.execute(statement)
        except LOST:
            if not left:
                words = "the tables are in use by something that does not end; try again later"
                raise Unavailable(words, retry_after=LOCK_SECONDS) from None
        else:
            break
    await connection.execute("set local lock_timeout = '30s'")


async def _drop_all(connection: Any) -> None:
    """All of ours goes. Who reads now waits for the end, or for no longer than reads wait."""
    await connection.execute("set local client_min_messages = warning")
    for _ in range(2):
        for row in await sql.backups.things(connection):
            await connection.execute(row["drop"])


async def _last_values(connection: Any) -> dict[str, int]:
    rows = await sql.backups.sequences(connection)
    return {row["name"]: row["last_value"] or 0 for row in rows}


async def _lift(connection: Any, name: str, last: int) -> None:
    await sql.backups.lift_sequence(connection, name=name, last=last)


async def _settle(connection: Any) -> None:
    """The others' connections begin anew, and PostgreSQL counts what there is."""
    try:
        await sql.backups.end_others(connection)
        await connection.execute("analyze", timeout=SETTLE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        log.warning("restore.unsettled cause=%s", type(error).__name__)
