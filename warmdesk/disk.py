"""The disk that a directory is on, and when it is low or full.

A disk that fills up is no reason to send requests elsewhere as long as there is room: reads need
none, PostgreSQL refuses a change that finds none whole, and to turn all clients away from the only
server would cost more than it saves. Only below `FULL` could PostgreSQL stop at any change.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

LOW, LOW_SHARE = 1 << 30, 0.05
"""Free bytes, and their share of the disk, below which the disk is low."""
LOOK = 16 << 20
"""How many bytes are written of one long file until the disk is looked at again."""
FULL = 64 << 20
"""Free bytes that PostgreSQL needs at least: four segments of its log."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that a directory is on, in bytes: what is free for us, and all of it."""

    free: int
    size: int

    @property
    def low(self) -> bool:
        return self.free < max(LOW, LOW_SHARE * self.size)

    @property
    def full(self) -> bool:
        return self.free < FULL


def measure_disk(directory: Path) -> Disk | None:
    """The disk of a directory; None when there is no such directory: then nothing is kept here."""
    try:
        stats = os.statvfs(directory)
    except OSError:
        return None
    # As df does it: what is kept for root is neither free nor ours.
    used = stats.f_blocks - stats.f_bfree
    return Disk(stats.f_bavail * stats.f_frsize, (used + stats.f_bavail) * stats.f_frsize)


def need_room(directory: Path) -> None:
    """Raise ENOSPC when the disk of a directory is low. Who writes a long file asks again and
    again: the last byte may be PostgreSQL's.
    """
    disk = measure_disk(directory)
    if disk is not None and disk.low:
        raise OSError(errno.ENOSPC, "the disk is low")
