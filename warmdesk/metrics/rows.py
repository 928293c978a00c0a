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

ROOM = 16384
"""Doubles in a row, 128 KiB: twice what the metrics of this release take."""
ROW_BYTES = 8 * ROOM
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
        self.file = memory_file("warmdesk-metrics") if file is None else file
        os.truncate(self.file, (workers + 1) * ROW_BYTES)
        self.shared = True
        self._see(workers + 1)
        self.mine = self.all[-1]

    def look(self) -> None:
        """See the rows too that a supervisor added meanwhile, which has more workers since."""
        if self.shared:
            count = os.fstat(self.file).st_size // ROW_BYTES
            if count > len(self.all):
                self._see(count)

    def _see(self, count: int) -> None:
        memory = memoryview(mmap.mmap(self.file, count * ROW_BYTES)).cast("d")
        self.all = [memory[n * ROOM : (n + 1) * ROOM] for n in range(count)]
        self.workers = count - 1

    def living(self) -> list[Any]:
        """The rows of the workers that run now."""
        if not self.shared:
            return self.all
        return [row for row in self.all[: self.workers] if row[PID]]


def memory_file(name: str) -> int:
    """An empty file that no directory has, in memory where the system has such; there `name` is
    for people.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


ROWS = Rows()
