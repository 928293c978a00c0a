"""``warmdesk`` on a host whose clock is wrong: ``shifted.py --seconds 5 serve`` is 5 s ahead.

The time of day is moved before anything of the program is imported, so its workers, forked from it,
have it too. Only Python's time of day moves: what is measured (``time.monotonic``), and the clocks
of PostgreSQL and Redis stay as they are. Without ``--seconds``, ``SHIFTED_SECONDS`` in the
environment says how much; negative is behind.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from typing import Any

VARIABLE = "SHIFTED_SECONDS"

Real = datetime.datetime


def shift(seconds: float) -> None:
    """Move this process's time of day. Call it once, before the program is imported."""
    true_time, true_ns, true_clock = time.time, time.time_ns, time.clock_gettime

    def shifted() -> float:
        return true_time() + seconds

    def default(of: Any) -> Any:
        """A function of `time` whose last argument is now when it is left out."""
        return lambda moment=None: of(shifted() if moment is None else moment)

    time.time = shifted
    time.time_ns = lambda: true_ns() + round(seconds * 1e9)
    time.clock_gettime = lambda clock: (
        true_clock(clock) + (seconds if clock == time.CLOCK_REALTIME else 0.0)
    )
    true_format = time.strftime
    time.gmtime, time.localtime, time.ctime = map(
        default, (time.gmtime, time.localtime, time.ctime)
    )
    time.strftime = lambda form, moment=None: true_format(form, moment or time.localtime())

    class Kind(type):
        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, Real)

    class Shifted(Real, metaclass=Kind):
        """Makes plain datetimes, so that nobody downstream meets a class it does not know."""

        __slots__ = ()

        def __new__(cls, *parts: Any, **named: Any) -> Any:
            return Real(*parts, **named)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return Real.fromtimestamp(shifted(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return Real.fromtimestamp(shifted(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return Real.fromtimestamp(shifted())

    datetime.datetime = Shifted  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description="WarmDesk on a host whose clock is wrong.")
    parser.add_argument(
        "--seconds",
        type=float,
        default=float(os.environ.get(VARIABLE, "0")),
        help="how far the clock is ahead",
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="what `warmdesk` is to do")
    wanted = parser.parse_args()
    shift(wanted.seconds)
    from warmdesk import cli

    cli.main(wanted.rest)


if __name__ == "__main__":
    main()
