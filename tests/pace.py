"""How fast this machine is now: limits of tests are for a machine that does nothing else.

A limit that keeps a test from waiting for ever is multiplied by `stretch`, and time in which the
machine stood still does not count. A bound that a document promises is asserted by `allows`, or by
`here`: longer for what the machine kept this process from doing while the test ran, no more.
"""

from __future__ import annotations

import os

TICK = 0.02
HOPS = 6
"""Processes that wait for a core one after another until a change is seen: who asks, a server, its
database, the bus, another server, who watches.
"""


class Lag:
    """How late the tests' loop was woken since the test began, in seconds: at worst, and in all."""

    worst = 0.0
    total = 0.0

    def late(self, seconds: float) -> None:
        self.worst = max(self.worst, seconds)
        if seconds > TICK:
            self.total += seconds

    def begin(self) -> None:
        self.worst = self.total = 0.0


LAG = Lag()


def stretch() -> float:
    """How many programs want each core, over the last minute; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def allows(seconds: float, *, hops: int = HOPS) -> float:
    """What may take so many seconds by a promise may take so many here."""
    return seconds + hops * LAG.worst


def here(seconds: float) -> float:
    """The same of a server in this process: who asks and who answers are woken by one loop."""
    return allows(seconds, hops=2)
