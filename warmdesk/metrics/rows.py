"""One row of doubles a worker, in memory that all workers of a host share.

A worker writes only its own row, so counting needs no lock and costs a fraction of a microsecond;
the worker that is asked for the metrics adds the rows up, so one scrape of any worker shows all.
The row of a worker that died stays, and its successor counts on in it: counters never fall while
the supervisor lives, also when it becomes a new program whose metrics have the same places. Only
the gauges of the dead are cleared.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from typing import Any

ROOM = 8192
"""Doubles in a row, 64 KiB: four times what the metrics of this release take."""
PID, CPU_BEFORE, CPU_NOW, TICKED, ACCESSED, FIRST = 0, 1, 2, 3, 4, 5
"""Doubles that stand before those of the metrics."""


class Rows:
    """The rows of all workers and, last, the supervisor's; alone, a process has one private row."""

    def __init__(self) -> None:
        self.taken = FIRST
        self.mine: Any = array("d", bytes(8 * ROOM))
        self.all: list[Any] = [self.mine]
        self.workers = 1
        self.shared = False
        self.file = -1

    def take(self, width: int) -> int:
        """The offset of the first of `width` doubles side by side, the same in each row."""
        if self.taken + width > ROOM:
            raise ValueError("no room for another metric: raise ROOM")
        first, self.taken = self.taken, self.taken + width
        return first

    def share(self, workers: int, file: int | None = None) -> None:
        """Make the shared memory, or take over that of `file`, which had no more rows."""
        self.file = _memory_file() if file is None else file
        size = (workers + 1) * ROOM * 8
        os.truncate(self.file, size)
        memory = memoryview(mmap.mmap(self.file, size)).cast("d")
        self.all = [memory[n * ROOM : (n + 1) * ROOM] for n in range(workers + 1)]
        self.workers = workers
        self.mine = self.all[-1]
        self.shared = True

    def living(self) -> list[Any]:
        """The rows of the workers that run now."""
        if not self.shared:
            return self.all
        return [row for row in self.all[: self.workers] if row[PID]]


def _memory_file() -> int:
    """An empty file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("warmdesk-metrics")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


ROWS = Rows()
