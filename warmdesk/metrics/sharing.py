"""Which process counts in which row, and that its loop turns."""

from __future__ import annotations

import gc
import hashlib
import os
from typing import Any

from warmdesk.metrics import COLLECTED, COLLECTIONS, LOOP_LAG, UNCOLLECTABLE
from warmdesk.metrics.kinds import METRICS, Gauge
from warmdesk.metrics.rows import CPU_BEFORE, CPU_NOW, PID, ROOM, ROWS, TICKED

TICK_SECONDS = 0.5
"""How often a loop that is not held up says that it turns."""


def share(workers: int, file: int | None = None) -> int:
    """Before the workers are forked: rows that all of them see, and one for the caller itself.
    Gives the file of their memory; `file` is one of as many workers or fewer to go on with.
    """
    ROWS.share(workers, file)
    return ROWS.file


def layout() -> str:
    """The same for two programs whose metrics have the same places in a row."""
    places = [
        (name, metric.kind, metric.names, key, each.offset)
        for name, metric in METRICS.items()
        for key, each in metric.series.items()
    ]
    return hashlib.sha256(repr((ROOM, places)).encode()).hexdigest()


def attach(index: int) -> None:
    """In a worker, first of all: it counts in row `index`, where its predecessor stopped."""
    row = ROWS.all[index]
    clear_gauges(index)
    row[PID] = os.getpid()
    row[TICKED] = 0
    ROWS.mine = row
    gc.callbacks.append(_collected)


def tick(now: float, late: float) -> None:
    """A loop turns: `late` is how many seconds after its time, `now` is `time.monotonic()`."""
    ROWS.mine[TICKED] = now
    LOOP_LAG.set(late)


def clear_gauges(index: int) -> None:
    """When the worker of row `index` has ended: what it counted stays, what it held is gone."""
    row = ROWS.all[index]
    row[PID] = row[TICKED] = 0
    row[CPU_BEFORE] += row[CPU_NOW]
    row[CPU_NOW] = 0
    for metric in METRICS.values():
        if isinstance(metric, Gauge):
            for series in metric.series.values():
                row[series.offset] = 0


def _collected(phase: str, collection: dict[str, Any]) -> None:
    if phase == "stop":
        generation = str(collection["generation"])
        COLLECTIONS.inc(generation=generation)
        COLLECTED.inc(collection["collected"], generation=generation)
        UNCOLLECTABLE.inc(collection["uncollectable"], generation=generation)
