"""Figures read at each scrape: the operating system's, and the time of the scrape before."""

from __future__ import annotations

import os
import time
from pathlib import Path

from warmdesk.metrics.kinds import Family
from warmdesk.metrics.rows import ACCESSED, CPU_BEFORE, CPU_NOW, PID, ROWS

STARTED = time.time()
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def figures() -> list[Family]:
    """The operating system's figures of the workers; only where it has ``/proc``."""
    memory = virtual = files = most_files = threads = 0
    for row in ROWS.living():
        directory = Path("/proc") / str(int(row[PID]) or os.getpid())
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            files += len(os.listdir(directory / "fd"))
            limits = (directory / "limits").read_text()
        except OSError:
            continue
        most = limits.partition("Max open files")[2].split()[0]
        most_files += int(most) if most.isdigit() else 0
        row[CPU_NOW] = max(row[CPU_NOW], (int(fields[11]) + int(fields[12])) / TICKS)
        threads += int(fields[17])
        virtual += int(fields[20])
        memory += int(fields[21]) * PAGE
    if not memory:
        return []
    cpu = sum(row[CPU_BEFORE] + row[CPU_NOW] for row in ROWS.all)
    return [
        Family("counter", "process_cpu_seconds_total", "CPU time of the workers.", [({}, cpu)]),
        Family("gauge", "process_resident_memory_bytes", "Memory of the workers.", [({}, memory)]),
        Family(
            "gauge",
            "process_virtual_memory_bytes",
            "Address space of the workers.",
            [({}, virtual)],
        ),
        Family("gauge", "process_open_fds", "Open files of the workers.", [({}, files)]),
        Family("gauge", "process_max_fds", "Files that the workers may open.", [({}, most_files)]),
        Family("gauge", "process_threads", "Threads of the workers.", [({}, threads)]),
        Family(
            "gauge",
            "process_start_time_seconds",
            "When the server started, in seconds since 1970.",
            [({}, round(STARTED, 3))],
        ),
    ]


def accessed(*, succeeded: bool) -> None:
    """Note that the metrics were given: all of them, or all but those of the database."""
    ROWS.mine[ACCESSED] = time.time() if succeeded else -time.time()


def accesses() -> list[Family]:
    """When the metrics were asked for before, and how that went."""
    last = max((row[ACCESSED] for row in ROWS.all), key=abs)
    return [
        Family(
            "gauge",
            "warmdesk_metrics_last_access_timestamp_seconds",
            "When the metrics were asked for before, in seconds since 1970; 0 for never.",
            [({}, round(abs(last), 3))],
        ),
        Family(
            "gauge",
            "warmdesk_metrics_last_access_success",
            "1 when the database could be asked for them then, 0 when not, -1 for never.",
            [({}, 1 if last > 0 else 0 if last else -1)],
        ),
    ]
