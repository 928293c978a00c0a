"""The directory that backups are kept in. A name that is asked for is one of its files, or none."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from warmdesk.config import Settings
from warmdesk.errors import NotFound

NAME = re.compile(r"warmdesk_backup_(\d{8}_\d{6})_[0-9a-f]{8}(_nofiles)?\.tar\.gz(?:\.age)?")
PART = re.compile(NAME.pattern + r"\.part")


class Kept(NamedTuple):
    """A backup in the directory."""

    filename: str
    size: int
    created_at: datetime
    written: int
    """When its file was, in nanoseconds: of two of one second one is the newer."""
    full: bool
    """It has the files, too."""


def directory_of(settings: Settings) -> Path:
    """Where this host keeps backups."""
    return Path(settings.backup_dir) if settings.backup_dir else settings.data_dir / "backups"


def new_name(created_at: datetime, *, full: bool, encrypted: bool) -> str:
    """The name of a backup of this moment; `full`: with the files."""
    moment = created_at.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
    kind, end = "" if full else "_nofiles", ".age" if encrypted else ""
    return f"warmdesk_backup_{moment}_{secrets.token_hex(4)}{kind}.tar.gz{end}"


def listed(directory: Path) -> list[Kept]:
    """The backups of the directory, newest first."""
    found = []
    for path in _files(directory):
        match = NAME.fullmatch(path.name)
        moment = _moment(match[1]) if match else None
        if moment is not None and (stats := _stats(path)) is not None:
            full = match is not None and match[2] is None
            found.append(Kept(path.name, stats.st_size, moment, stats.st_mtime_ns, full))
    return sorted(found, key=lambda kept: (kept.created_at, kept.written), reverse=True)


def find(directory: Path, name: str) -> Path:
    """The path of a backup. 404 for a name that none has; no link and no path is one."""
    path = directory / name
    if not NAME.fullmatch(name) or _stats(path) is None:
        raise NotFound("there is no such backup")
    return path


def prune(directory: Path, keep: int, *, never: Iterable[str] = ()) -> list[str]:
    """Delete the oldest beyond so many with files, and beyond so many without: those bring less
    back, and make no room for what brings all. But `never` these; gives the names of those that
    went.
    """
    gone, found = [], listed(directory)
    for full in (True, False):
        for kept in [kept for kept in found if kept.full == full][keep:]:
            if kept.filename not in never:
                (directory / kept.filename).unlink(missing_ok=True)
                gone.append(kept.filename)
    return gone


def clear(directory: Path) -> None:
    """Delete what backups left that were broken off. For who makes one: there is no other then."""
    for path in _files(directory):
        if PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def _stats(path: Path) -> os.stat_result | None:
    """Of an ordinary file; None when it is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _moment(text: str) -> datetime | None:
    """None for a day that is in no calendar."""
    try:
        return datetime.strptime(text, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
