"""A test that runs out of time fails; the next one runs.

pytest-timeout's own ways end more than the test: its exception from a signal ends uvloop's
`run_until_complete` and leaves the session's loop as it is, waiting, and its thread ends the
process, with all tests that were still to come. Here the test's task is cancelled in its loop, as
`asyncio.timeout` would, so ``finally`` and ``async with`` do their work and the traceback says what
was waited for.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

import pytest
import uvloop

AGAIN_SECONDS = 10.0
"""Between two attempts to end a test, for one that goes on waiting while it ends."""
T = TypeVar("T")

ATTEMPTS = 3
"""So often its task is cancelled; then whatever runs gets an exception."""


class Loop(uvloop.Loop):
    """Knows what it was asked to run."""

    running: asyncio.Future[Any] | None = None
    late = ""

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        outer, running = self.running, asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        self.running = running
        try:
            return super().run_until_complete(running)
        except asyncio.CancelledError:
            if not self.late:
                raise
            pytest.fail(self.late)
        finally:
            self.running = outer


LOOPS: list[Loop] = []


def new_loop() -> Loop:
    LOOPS.append(Loop())
    return LOOPS[-1]


def set_timer(item: pytest.Item, seconds: float) -> None:
    """From now on the test has so many seconds, its fixtures included."""
    attempts = 0

    def ring(number: int, frame: object) -> None:
        nonlocal attempts
        attempts += 1
        sentence = f"{item.nodeid}: it had {seconds:g} s"
        waiting = [loop for loop in LOOPS if loop.running is not None]
        if not waiting or attempts > ATTEMPTS:
            pytest.fail(sentence)
        for loop in waiting:
            assert loop.running is not None
            loop.late = sentence
            loop.call_soon_threadsafe(loop.running.cancel)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)


def cancel_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for loop in LOOPS:
        loop.late = ""
