"""What is measured, and where: CPU time and memory of processes, and the servers that all share.

The first figure of every comparison is CPU time: user and system time of every process of a
server, its Redis and its PostgreSQL, after minus before. It does not depend on how fast the loader
is, and hardly on what else a machine does.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from warmdesk.embedded import Postgres, Valkey

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pids: Iterable[int]) -> float:
    """Seconds of user and system time that these processes have used so far.

    A process that has ended counts nothing: a server that replaces its processes while it is
    measured would look cheap, so a scenario takes the same processes before and after.
    """
    used = 0.0
    for pid in pids:
        try:
            runs = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
            whole = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if runs:
            # In nanoseconds; stat counts in ticks of 10 ms, too coarse for a short scenario.
            used += sum(int(run.split()[0]) for run in runs) / 1e9
        else:
            user, system = whole.rpartition(")")[2].split()[11:13]
            used += (int(user) + int(system)) / TICKS
    return used


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory: what these processes share is divided among those who share it."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


class Meter:
    """The CPU time that a server uses from now on.

    `pids` is asked again at the end: a process that was born meanwhile counts whole. One that ended
    meanwhile does not count, so nothing that is measured may replace its processes.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._before = {pid: cpu([pid]) for pid in pids()}

    def seconds(self) -> float:
        """User and system time since the beginning."""
        return sum(cpu([pid]) - self._before.get(pid, 0.0) for pid in self._pids())


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of all values lies; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@dataclass
class Place:
    """The PostgreSQL (durable) and the Valkey that whoever is measured uses."""

    directory: Path
    postgres: Postgres
    valkey: Valkey

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def dsn(self, database: str) -> str:
        return self.postgres.dsn.replace("@/warmdesk?", f"@/{database}?")

    async def database(self, name: str) -> str:
        """A new, empty database in place of one of the same name: its dsn."""
        connection = await asyncpg.connect(self.postgres.dsn)
        try:
            await connection.execute(f'drop database if exists "{name}" with (force)')
            await connection.execute(f'create database "{name}"')
        finally:
            await connection.close()
        return self.dsn(name)

    def pids(self) -> list[int]:
        """Valkey and PostgreSQL with its children, as they are now."""
        return [*family(self.valkey.pid), *family(self.postgres.pid)]


@asynccontextmanager
async def opened_place() -> AsyncIterator[Place]:
    """The servers, in a directory of their own on a disk; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="wd-bench-"))
    postgres, valkey = Postgres(directory), Valkey(directory)
    try:
        postgres.start()
        valkey.start()
        yield Place(directory, postgres, valkey)
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)
