"""The time of day as PostgreSQL tells it: hosts whose own clocks differ judge a token alike.

Every second the hub compares its rooms with their feeds, and the answer brings the database's time.
In between, and while the database is away, the monotonic clock goes on from the last answer. Before
the first one it is this host's own time.
"""

from __future__ import annotations

import time

SLOW_SECONDS = 0.25
"""An answer that took longer says too little about now."""

_ahead = time.time() - time.monotonic()
_known = False


def now() -> float:
    """Seconds since 1970."""
    return time.monotonic() + _ahead


def adjust(moment: float, asked_at: float) -> None:
    """The database, asked at `asked_at` (monotonic), answered `moment` (seconds since 1970)."""
    global _ahead, _known
    answered = time.monotonic()
    if answered - asked_at <= SLOW_SECONDS or not _known:
        _ahead = moment - (asked_at + answered) / 2
        _known = True
