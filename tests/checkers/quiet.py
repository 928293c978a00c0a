"""Nothing broke, so nothing had to be healed.

Healing hides mistakes: an event that the server lost on its way is read from the feed a moment
later, and every stream is whole. So a run without faults counts what was healed, by the metrics of
each host. What is merely late, by more than a room waits for it, is read too: of that there may be
a little, because a machine may be busy.
"""

from __future__ import annotations

import re

from tests.checkers.cry import Checker

NEVER = {
    "warmdesk_delivery_failed_total": "an event was failed over",
    "warmdesk_delivery_gap_total": "a feed no longer held what a room had to deliver",
    "warmdesk_epoch_changes_total": "history changed",
    "warmdesk_task_restarts_total": "a task failed",
}
REPAIRS = "warmdesk_feed_repairs_total"
SAMPLE = re.compile(r"^(warmdesk_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LATE = 5
"""Reads in 1,000 events that may make good what came late."""


class Quiet(Checker):
    """``begins`` and ``ends`` take a host's metrics as text, before and after.

    repairs   how often a room read what the bus had not brought in time, all hosts together
    """

    def __init__(self, *, late: float = LATE) -> None:
        super().__init__()
        self.late = late
        self.repairs = 0
        self._before: dict[str, dict[str, float]] = {}

    def begins(self, metrics: str, host: str = "") -> None:
        self._before[host] = figures(metrics)

    def ends(self, metrics: str, host: str = "", *, events: int) -> None:
        """`events`: how many there were meanwhile."""
        before, after = self._before[host], figures(metrics)
        for name, what in NEVER.items():
            times = int(after.get(name, 0) - before.get(name, 0))
            if times:
                self.cry(f"{host or 'the server'}: {what}, {times} times", times)
        repairs = int(after.get(REPAIRS, 0) - before.get(REPAIRS, 0))
        self.repairs += repairs
        if repairs > self.late * events / 1000:
            self.cry(f"{host or 'the server'}: {repairs} reads for {events} events", repairs)


def figures(metrics: str) -> dict[str, float]:
    """The sums of these metrics over their labels; of repairs only those of what went missing:
    resumes and slow readers have theirs in the best of weathers.
    """
    sums: dict[str, float] = {}
    for name, labels, value in SAMPLE.findall(metrics):
        if name in NEVER or (name == REPAIRS and re.search('cause="(gap|check|failed)"', labels)):
            sums[name] = sums.get(name, 0) + float(value)
    return sums
