"""A test that failed while the machine stood still is run once more, whole, and the run says so.

The server gives what it does seconds: a read has two, a change four and a half, a lock one. Where
the machine stands still for longer they end, whatever a test waits for, and its failure shows
nothing. One that fails once more has failed.

How long all stood still is measured by a thread, so that a server or a test that holds its loop is
not excused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import pytest
from _pytest.runner import runtestprotocol

from tests import deadline

TICK = 0.1
STOOD = 0.5
"""Seconds for which nothing ran here."""
PROPERTY = "again"


class Pulse(threading.Thread):
    """`worst`: how late this thread was woken since `begin`, at most, in seconds."""

    def __init__(self) -> None:
        super().__init__(name="tests.pulse", daemon=True)
        self.worst = 0.0

    def begin(self) -> None:
        self.worst = 0.0

    def run(self) -> None:
        while True:
            due = time.monotonic() + TICK
            time.sleep(TICK)
            self.worst = max(self.worst, time.monotonic() - due)


PULSE = Pulse()


def run(item: pytest.Item, following: pytest.Item | None) -> None:
    """Run a test, once more if it has to be, and report it."""
    if not PULSE.is_alive():
        PULSE.start()
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    PULSE.begin()
    reports = runtestprotocol(item, log=False, nextitem=following)
    if PULSE.worst >= STOOD and any(report.failed for report in reports):
        reason = f"{PULSE.worst:.1f} s without a core; {first_failure(reports)}"
        deadline.begin_again()
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, log=False, nextitem=following)
        for report in reports:
            report.user_properties.append((PROPERTY, reason))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)


def first_failure(reports: Iterable[pytest.TestReport]) -> str:
    """The last line of what the first attempt failed with."""
    failed = next(report for report in reports if report.failed)
    lines = failed.longreprtext.strip().splitlines() or [""]
    told = [line for line in lines if line.startswith("E ")] or lines[-1:]
    return told[0].removeprefix("E").strip()[:200]


def said(reports: Iterable[pytest.TestReport]) -> list[str]:
    """A line for each test that was run twice."""
    found = {
        report.nodeid: reason
        for report in reports
        for name, reason in report.user_properties
        if name == PROPERTY
    }
    return [f"{name}: {reason}" for name, reason in sorted(found.items())]
