"""Put a backup in the place of all that there is, or change nothing.

A copy of what there is is made first. Without ``--yes`` the name of the backup is asked for. What
was revoked since the backup was made stays revoked; ``--all-rights`` brings everything back as it
was, as for a copy of another installation.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from warmdesk.backups.directory import directory_of
from warmdesk.backups.restoring import restore
from warmdesk.commands.progress import progressing
from warmdesk.commands.shared import Failed, Mistake, Status, answer, aside, reached
from warmdesk.config import Settings

EXAMPLE = "warmdesk restore --yes warmdesk_backup_20300131_120000_9f0a3c1d.tar.gz"
JSON = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a backup: a path, or a name among those kept")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--all-rights", action="store_true", help="also those that were revoked since"
    )


def run(wanted: argparse.Namespace) -> int:
    def ask(settings: Settings) -> None:
        _found(wanted, settings)
        if not wanted.yes:
            _ask(wanted.file.name)

    with reached(wanted, migrated=True, first=ask) as settings:
        directory, path = directory_of(settings), _found(wanted, settings)
        with progressing("restore") as progress:
            done = asyncio.run(
                restore(
                    settings,
                    path,
                    passphrase=settings.backup_passphrase,
                    safety=directory,
                    carry=not wanted.all_rights,
                    progress=progress,
                )
            )
    assert done.safety is not None
    carried = {name: count for name, count in done.carried_over.items() if count}
    lines = [f"All is as it was at {done.manifest.created_at}."]
    if carried:
        some = ", ".join(f"{count} {name}" for name, count in carried.items())
        lines.append(f"Revoked since, and still so: {some}.")
    lines.append(f"What there was before is in {directory / done.safety.filename}.")
    answer(
        wanted,
        "\n".join(lines),
        {
            "created_at": done.manifest.created_at,
            "carried_over": done.carried_over,
            "safety_backup": str(directory / done.safety.filename),
        },
    )
    return Status.DONE


def _found(wanted: argparse.Namespace, settings: Settings) -> Path:
    directory = directory_of(settings)
    path: Path = wanted.file if wanted.file.is_file() else directory / wanted.file.name
    if not path.is_file():
        raise Failed(f"there is no backup {wanted.file}, here or in {directory}")
    return path


def _ask(name: str) -> None:
    """Whoever is not sure is asked in vain."""
    if not sys.stdin.isatty():
        raise Mistake("say --yes, since nobody can be asked here")
    aside(f"{name} takes the place of all that there is. Type the word restore to go on.")
    if input("> ").strip() != "restore":
        raise Failed("nothing was changed")
