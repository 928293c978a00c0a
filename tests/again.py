"""A test that failed while the machine stood still is run once more, whole, and the run says so.

The server gives what it does seconds: a read has two, a change four and a half, a lock one. Where
the machine stands still for longer they end, whatever a test waits for, and its failure shows
nothing. One that fails once more has failed.

How long all stood still is measured by a thread, so that a server or a test that holds its loop is
not excused. The rest is pytest-rerunfailures'.
"""

from __future__ import annotations

import threading
import time

import pytest

from tests import deadline

TICK = 0.1
STOOD = 0.5
"""Seconds for which nothing ran here."""


class Pulse(threading.Thread):
    """`worst`: how late this thread was woken since `begin`, at most, in seconds."""

    def __init__(self) -> None:
        super().__init__(name="tests.pulse", daemon=True)
        self.worst = 0.0

    def begin(self) -> None:
        """A test begins."""
        if not self.is_alive():
            self.start()
        self.worst = 0.0

    def run(self) -> None:
        while True:
            due = time.monotonic() + TICK
            time.sleep(TICK)
            self.worst = max(self.worst, time.monotonic() - due)


PULSE = Pulse()


def excused() -> bool:
    """Whether the test that failed is run once more; then it has all its time again."""
    if PULSE.worst < STOOD:
        return False
    deadline.begin_again()
    return True


ONCE_MORE = pytest.mark.flaky(reruns=1, condition=excused)
