"""The figures of a soak, and what was promised of them."""

from __future__ import annotations

import collections
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from load.soak.faults import elder
from load.soak.people import Team
from load.soak.seats import Phase, percentile
from tests import pace

HEAL_SECONDS = 30.0
PRESENCE_SECONDS = 10.0
SILENT_SECONDS = 2.0
UNAVAILABLE_SECONDS = 5.5
"""A 503 comes within five seconds; the rest is this machine's, which runs everything."""
GROWTH = 0.10
RATIO = 3.0
"""Beside abusers 99 % of what people ask takes at most so many times as long as without."""
FLOORS = {"answers": 0.05, "sign_ins": 0.5, "late": 0.05}
"""Seconds that are as good as none: a ratio of less would be one of noise."""
JUDGED_SECONDS = 15.0
"""A shorter phase has too few answers to tell the slowest of a hundred."""
REMOVED_SECONDS = 2.0
SWOLLEN = 64 << 20
"""What a worker may keep of what abusers made it take."""
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
    storms: int = 0
    alone: Phase = field(default_factory=lambda: Phase("alone"))
    beside: Phase = field(default_factory=lambda: Phase("beside abusers"))
    memory: dict[int, int] = field(default_factory=dict)
    memory_most: int = 0
    memory_after: dict[int, int] = field(default_factory=dict)
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


def memory(team: Team) -> dict[int, int]:
    """Resident bytes of each worker, by its process id."""
    found = {}
    for host in team.world.hosts:
        for pid in host.workers():
            with suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                found[pid] = pages * os.sysconf("SC_PAGE_SIZE")
    return found


def swollen(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    """Workers that kept too much, and how much."""
    grown = {pid: bytes - before[pid] for pid, bytes in after.items() if pid in before}
    return {pid: more for pid, more in grown.items() if more > SWOLLEN}


def _slower(course: Course) -> list[str]:
    """What became too slow beside abusers."""
    found: list[str] = []
    if min(course.alone.seconds, course.beside.seconds) < JUDGED_SECONDS:
        return found
    for name, floor in FLOORS.items():
        before = max(floor, percentile(getattr(course.alone, name), 0.99))
        after = percentile(getattr(course.beside, name), 0.99)
        if after > RATIO * before:
            found.append(
                f"beside abusers p99 of {name} is {after * 1000:.0f} ms, allowed are"
                f" {RATIO:g} times {before * 1000:.0f} ms"
            )
    if course.beside.turned_away and not course.alone.turned_away:
        found.append(f"beside abusers {course.beside.turned_away} sign-ins were turned away")
    return found


def _undisturbed(phase: Phase) -> list[str]:
    """What may not happen while nothing breaks."""
    found = []
    slowest = max(phase.removals, default=0.0)
    if slowest > REMOVED_SECONDS:
        found.append(f"{phase.name}: a removal took {slowest:.1f} s")
    if sum(phase.healings.values()) and phase.seconds >= JUDGED_SECONDS:
        found.append(f"{phase.name}: events came late, from the feed: {phase.healings}")
    if phase.resets:
        found.append(f"{phase.name}: {phase.resets} viewers had to fetch again")
    if phase.closed:
        found.append(f"{phase.name}: sockets were closed with {dict(phase.closed)}")
    return found


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
        "private": team.private,
        "unread": team.unread,
        **{f"own feed of user {id}": one for id, one in team.own_streams.items()},
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
    if seconds > pace.allows(UNAVAILABLE_SECONDS):
        found.append(f"a 503 took {seconds:.1f} s: {where}")
    if figures.signed_out:
        found.append(f"{figures.signed_out} people were signed out for no reason")
    if figures.unexplained:
        found.append(f"refused without a fault: {dict(figures.unexplained)}")
    for phase in (course.alone, course.beside):
        found += _undisturbed(phase)
    found += _slower(course)
    for pid, more in swollen(course.memory, course.memory_after).items():
        found.append(f"worker {pid} keeps {more >> 20} MiB more than before the abusers")
    if team.abusers is not None and (failures := team.abusers.failures()):
        found.append(f"answers to abusers that should not be: {failures}")
    memory, files = course.growth()
    if memory > GROWTH or files > FILES_GROWTH:
        found.append(f"the oldest worker grew by {memory:.0%}, {files} open files")
    return found


def phase_figures(phase: Phase) -> str:
    """What people saw in it, in a line."""

    def milliseconds(name: str) -> str:
        seconds = getattr(phase, name)
        return f"{percentile(seconds, 0.99) * 1000:.0f} ms of {len(seconds)}"

    return (
        f"{phase.name} {phase.seconds:.0f} s: p99 of answers {milliseconds('answers')},"
        f" sign-ins {milliseconds('sign_ins')}, events {milliseconds('late')},"
        f" own delay {milliseconds('lag')}"
    )


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
        f"own feeds      {team.private.frames} deliveries: {_own(team, 'lost')} lost,"
        f" {_own(team, 'doubled')} doubled, {_own(team, 'swapped')} swapped;"
        f" {team.private.messages} messages and {team.private.notifications} notifications told to"
        f" those who may see them; {team.unread.people} recounts",
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
        f"revoked        {len(team.revoked.seconds)} times, silent after at most {silence:.2f} s;"
        f" {team.revoked.asked} questions and {team.revoked.mails} mails after it",
        f"stranger       {team.stranger.tried.total()} tries, {team.stranger.count} successes",
        f"oldest worker  memory {memory:+.1%}, open files {files:+d}"
        f" over {len(course.samples)} looks",
    ]
    removals = [*course.alone.removals, *course.beside.removals]
    healed = sum((*course.alone.healings.values(), *course.beside.healings.values()))
    unexplained = sum(told.unexplained.values())
    lines += [
        f"abusers        {team.abusers.figures() if team.abusers else 'none'}",
        f"undisturbed    {phase_figures(course.alone)}",
        f"               {phase_figures(course.beside)}",
        f"memory         {_total(course.memory)} before abusers, at most {course.memory_most >> 20}"
        f" MiB, {_total(course.memory_after)} after",
        f"without fault  {healed} healings, {unexplained} refusals,"
        f" {course.alone.resets + course.beside.resets} resets; slowest of {len(removals)} removals"
        f" {max(removals, default=0.0):.2f} s",
    ]
    return "\n".join(lines)


def _own(team: Team, what: str) -> int:
    return sum(getattr(one, what) for one in team.own_streams.values())


def _total(memory: dict[int, int]) -> str:
    return f"{sum(memory.values()) >> 20} MiB"
