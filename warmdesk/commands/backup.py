"""Make a backup of all that there is, or `verify` one: restore it aside and compare.

It is made while the server runs and people write, and is one file in the directory of the backups,
of which the oldest go, as when one is made by the clock. ``--into`` another directory none goes,
and nothing is noted. `verify` reads a backup whole, makes a database beside the others, puts it
there, and compares every table with what the backup says; then that database is gone. Its rows fit
this program, or the reason is told.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from warmdesk.backups.directory import directory_of
from warmdesk.backups.keeping import is_kept, keep
from warmdesk.backups.making import Backup, Progress, Turn, long_connection, turn
from warmdesk.backups.verifying import verify
from warmdesk.commands.progress import progressing
from warmdesk.commands.shared import Mistake, Status, answer, aside, reached
from warmdesk.config import Settings
from warmdesk.db import migrations
from warmdesk.db.queries import sql
from warmdesk.system import Stored

EXAMPLE = "warmdesk backup"
JSON = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", choices=["verify"], help="try a backup out")
    parser.add_argument("file", nargs="?", type=Path, help="the backup that is to be verified")
    parser.add_argument(
        "--without-files", action="store_true", help="the database alone, not what was uploaded"
    )
    parser.add_argument(
        "--into", type=Path, metavar="DIR", help="not into the directory of the backups"
    )


def run(wanted: argparse.Namespace) -> int:
    if (wanted.verb is None) != (wanted.file is None):
        raise Mistake("verify wants the file of a backup")
    if wanted.verb and wanted.into:
        raise Mistake("verify writes nothing; --into goes without it")
    with reached(wanted, made=True) as settings:
        return (_verify if wanted.verb else _make)(wanted, settings)


def _make(wanted: argparse.Namespace, settings: Settings) -> int:
    directory = wanted.into.absolute() if wanted.into else directory_of(settings)
    with progressing("backup") as progress:
        made = asyncio.run(
            _made(settings, directory, include_files=not wanted.without_files, progress=progress)
        )
    path = directory / made.filename
    missing = made.manifest.missing_files
    lost = f"; not there, and not in it: {_files(missing)}" if missing else ""
    text = f"{path}: {made.size} bytes{lost}"
    answer(
        wanted,
        text,
        {
            "path": str(path),
            "size_bytes": made.size,
            "sha256": made.sha256,
            "created_at": made.manifest.created_at,
            "missing_files": missing,
        },
    )
    return Status.DONE


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


async def _made(
    settings: Settings, directory: Path, *, include_files: bool, progress: Progress
) -> Backup:
    async with long_connection(settings) as connection, turn(settings) as mine:
        if is_kept(settings, directory) and not await _is_ours(connection):
            aside("The schema is another program's: no older backup goes, and nothing is noted.")
        elif is_kept(settings, directory):
            return await _kept(
                settings, mine, connection, include_files=include_files, progress=progress
            )
        return await mine.make(directory, include_files=include_files, progress=progress)


async def _is_ours(connection: Any) -> bool:
    """Whether the schema is that of this program."""
    try:
        waiting, newer = await migrations.missing(connection)
    except migrations.MigrationError:
        return False
    return not waiting and not newer


async def _kept(
    settings: Settings, mine: Turn, connection: Any, *, include_files: bool, progress: Progress
) -> Backup:
    values = Stored(settings).read(await sql.settings.all(connection))
    return await keep(
        mine, settings, values, connection, include_files=include_files, progress=progress
    )


def _verify(wanted: argparse.Namespace, settings: Settings) -> int:
    with progressing("verify") as progress:
        found = asyncio.run(verify(settings, wanted.file, progress=progress))
    text = "\n".join(found.faults) or (
        f"{wanted.file.name} is whole: {len(found.manifest.tables)} tables,"
        f" {sum(table.rows for table in found.manifest.tables.values())} rows,"
        f" {_files(found.manifest.files)}, of {found.manifest.created_at}."
    )
    answer(wanted, text, {"faults": found.faults, "created_at": found.manifest.created_at})
    return Status.FAILED if found.faults else Status.DONE
