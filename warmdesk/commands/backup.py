"""Make a backup of all that there is, or `verify` one: restore it aside and compare.

It is made while the server runs and people write, and is one file. `verify` reads a backup whole,
makes a database beside the others, puts it there, and compares every table with what the backup
says; then that database is gone. Its rows fit this program, or the reason is told.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from warmdesk.backups.directory import directory_of
from warmdesk.backups.making import make
from warmdesk.backups.verifying import verify
from warmdesk.commands.progress import progressing
from warmdesk.commands.shared import Mistake, Status, answer, reached
from warmdesk.config import Settings

EXAMPLE = "warmdesk backup"
JSON = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", choices=["verify"], help="try a backup out")
    parser.add_argument("file", nargs="?", type=Path, help="the backup that is to be verified")
    parser.add_argument(
        "--without-files", action="store_true", help="the database alone, not what was uploaded"
    )


def run(wanted: argparse.Namespace) -> int:
    if (wanted.verb is None) != (wanted.file is None):
        raise Mistake("verify wants the file of a backup")
    with reached(wanted, made=True) as settings:
        return (_verify if wanted.verb else _make)(wanted, settings)


def _make(wanted: argparse.Namespace, settings: Settings) -> int:
    directory = directory_of(settings)
    with progressing("backup") as progress:
        made = asyncio.run(
            make(
                settings,
                directory,
                include_files=not wanted.without_files,
                progress=progress,
            )
        )
    path = directory / made.filename
    missing = made.manifest.missing_files
    text = f"{path}: {made.size} bytes" + (f", {missing} files were missing" if missing else "")
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


def _verify(wanted: argparse.Namespace, settings: Settings) -> int:
    with progressing("verify") as progress:
        found = asyncio.run(verify(settings, wanted.file, progress=progress))
    text = "\n".join(found.faults) or (
        f"{wanted.file.name} is whole: {len(found.manifest.tables)} tables,"
        f" {sum(table.rows for table in found.manifest.tables.values())} rows,"
        f" {found.manifest.files} files, of {found.manifest.created_at}."
    )
    answer(wanted, text, {"faults": found.faults, "created_at": found.manifest.created_at})
    return Status.FAILED if found.faults else Status.DONE
