"""The figures of a soak, and what was promised of them."""

from __future__ import annotations

import collections
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.faults import elder
from tests.soak.people import Team

HEAL_SECONDS = 30.0
PRESENCE_SECONDS = 10.0
SILENT_SECONDS = 2.0
UNAVAILABLE_SECONDS = 5.5
"""A 503 comes within five seconds; the rest is this machine's, which runs everything."""
GROWTH = 0.10
FILES_GROWTH = 20
SHOWN = 20


@dataclass
class Sample:
    """The elder worker at one calm moment: memory in bytes, open files."""

    at: float
    pid: int
    memory: int
    files: int


@dataclass
class Course:
    """What the faults did, as it happened."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    heals: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    told: set[str] = field(default_factory=set)

    def sample(self, team: Team) -> None:
        """Look at the elder."""
        pid = elder(team.world)
        if pid is None:
            return
        with suppress(OSError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory = pages * os.sysconf("SC_PAGE_SIZE")
            files = len(_open_files(pid))
            self.samples.append(Sample(self.seconds, pid, memory, files))

    def growth(self) -> tuple[float, int]:
        """Of the elder, from a third of its life to its end: memory as a share, open files."""
        if not self.samples:
            return 0.0, 0
        mine = [one for one in self.samples if one.pid == self.samples[-1].pid]
        first, last = mine[len(mine) // 3], mine[-1]
        return last.memory / first.memory - 1, last.files - first.files


def _open_files(pid: int) -> list[str]:
    """What a process has open, but for its clients: those that lost their worker gather at it."""
    tcp = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    clients = {f"socket:[{line.split()[9]}]" for line in tcp if line.split()[3] == "01"}
    opened = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            opened.append(str(file.readlink()))
    return [name for name in opened if name not in clients]


def broken(team: Team, course: Course) -> list[str]:
    """A sentence for each promise that did not hold."""
    found = list(team.broken)
    checkers = {
        "ledger": team.ledger,
        "streams": team.streams,
        "presence": team.presence,
        "revoked": team.revoked,
        "stranger": team.stranger,
        "logs": team.logs,
    }
    for name, checker in checkers.items():
        found += [f"{name}: {line}" for line in checker.broken[:SHOWN]]
        if checker.count > SHOWN:
            found.append(f"{name}: … {checker.count} in all")
    figures = team.figures
    unexpected = {s: n for s, n in figures.answers.items() if s >= 500 and s != 503}
    if unexpected:
        found.append(f"answers that should not be: {unexpected}")
    seconds, where = figures.slowest_503
    if seconds > UNAVAILABLE_SECONDS:
        found.append(f"a 503 took {seconds:.1f} s: {where}")
    if figures.signed_out:
        found.append(f"{figures.signed_out} people were signed out for no reason")
    memory, files = course.growth()
    if memory > GROWTH or files > FILES_GROWTH:
        found.append(f"the oldest worker grew by {memory:.0%}, {files} open files")
    return found


def figures(team: Team, course: Course) -> str:
    """The report: a line for each group of figures."""
    streams, ledger, presence, told = team.streams, team.ledger, team.presence, team.figures
    heals, settled = sorted(course.heals), presence.settled
    memory, files = course.growth()
    middle = heals[len(heals) // 2] if heals else 0.0
    rate = streams.deliveries / max(course.seconds, 0.001)
    answers = ", ".join(f"{n} {status}" for status, n in sorted(told.answers.items()))
    closed = ", ".join(f"{n} {code}" for code, n in sorted(told.closed.items(), key=str))
    kinds = ", ".join(f"{n} {name}" for name, n in course.counts.most_common())
    reasons = f" ({', '.join(told.resets)})" if told.resets else ""
    silence = max(team.revoked.seconds, default=0.0)
    lines = [
        f"time           {course.seconds:.0f} s, {team.changes} changes",
        f"faults         {sum(course.counts.values())}: {kinds}",
        f"deliveries     {streams.deliveries} ({rate:.0f}/s): {streams.lost} lost,"
        f" {streams.doubled} doubled, {streams.swapped} swapped",
        f"late           p50 {told.percentile(0.5) * 1000:.0f} ms,"
        f" p99 {told.percentile(0.99) * 1000:.0f} ms, max {told.percentile(1) * 1000:.0f} ms",
        f"connections    {streams.reconnects} came back, {streams.resumed} resumed,"
        f" {streams.resets} resets{reasons}; closed with {closed}",
        f"writes         {ledger.acknowledged} acknowledged: {ledger.lost} lost,"
        f" {ledger.doubled} doubled",
        f"answers        {answers}; {told.unanswered} lost on the way;"
        f" slowest 503 {told.slowest_503[0]:.1f} s",
        f"heal           p50 {middle:.1f} s, max {max(heals, default=0.0):.1f} s"
        f" after {len(heals)} faults",
        f"presence       right after at most {max(settled, default=0.0):.1f} s"
        f" ({len(settled)} looks), {presence.false_leaves} false leaves,"
        f" {presence.excused_leaves} explained by faults, {presence.doubled} doubled",
        f"revoked        {len(team.revoked.seconds)} times, silent after at most {silence:.2f} s",
        f"stranger       {team.stranger.tried.total()} tries, {team.stranger.count} successes",
        f"oldest worker  memory {memory:+.1%}, open files {files:+d}"
        f" over {len(course.samples)} looks",
    ]
    return "\n".join(lines)
