"""A test that runs out of time fails; the next one runs.

pytest-timeout's own ways end more than the test: its exception from a signal ends uvloop's
`run_until_complete` and leaves the session's loop as it is, waiting, and its thread ends the
process, with all tests that were still to come. Here the test's task is cancelled in its loop, as
`asyncio.timeout` would, so ``finally`` and ``async with`` do their work and the traceback says what
was waited for.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import uvloop

from tests.pace import LAG, TICK, stretch

AGAIN_SECONDS = 10.0
"""Between two attempts to end a test, for one that goes on waiting while it ends."""
T = TypeVar("T")

ATTEMPTS = 3
"""So often its task is cancelled; then whatever runs gets an exception."""


class Loop(uvloop.Loop):
    """Knows what it was asked to run, and how late it is woken."""

    running: asyncio.Future[Any] | None = None
    late = ""

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        outer, running = self.running, asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        self.running = running
        tick = Tick(self)
        tick.wait()
        try:
            return super().run_until_complete(running)
        except asyncio.CancelledError:
            if not self.late:
                raise
            pytest.fail(self.late)
        finally:
            tick.cancel()
            self.running = outer


class Tick:
    """A timer that starts itself again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.due = loop, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        self.due = time.monotonic() + TICK
        self._timer = self.loop.call_later(TICK, self._fire)

    def _fire(self) -> None:
        LAG.late(time.monotonic() - self.due)
        self.wait()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


LOOPS: list[Loop] = []


def new_loop() -> Loop:
    LOOPS.append(Loop())
    return LOOPS[-1]


class Test:
    """`inside`: a test or its fixtures run, and not what pytest does between them. `begin`: gives
    the test that runs its time anew.
    """

    inside = False
    begin: Callable[[], None] | None = None


@contextmanager
def inside() -> Iterator[None]:
    Test.inside = True
    try:
        yield
    finally:
        Test.inside = False


def begin_again() -> None:
    """From now on the test that runs has all its time once more."""
    for loop in LOOPS:
        loop.late = ""
    if Test.begin is not None:
        Test.begin()


def set_timer(item: pytest.Item, seconds: float) -> None:
    """From now on the test has so many seconds, its fixtures included; on a busy machine more."""
    Test.begin = functools.partial(set_timer, item, seconds)
    attempts, began = 0, time.monotonic()
    LAG.begin()

    def ring(number: int, frame: object) -> None:
        nonlocal attempts
        taken = time.monotonic() - began
        allowed = seconds * stretch() + LAG.total
        if not Test.inside or (not attempts and taken < allowed):
            return  # it rings again
        attempts += 1
        sentence = f"{item.nodeid}: it had {seconds:g} s, and {taken:.1f} s passed"
        waiting = [loop for loop in LOOPS if loop.running is not None]
        if not waiting or attempts > ATTEMPTS:
            pytest.fail(sentence)
        for loop in waiting:
            assert loop.running is not None
            loop.late = sentence
            loop.call_soon_threadsafe(loop.running.cancel)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, min(seconds, AGAIN_SECONDS))


def cancel_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    Test.begin = None
    for loop in LOOPS:
        loop.late = ""
