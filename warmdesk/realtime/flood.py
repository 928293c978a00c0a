"""The flood limit of one socket: what it may say, and when its refusals end it."""

from __future__ import annotations

from collections import deque

BURST, EVERY = 30, 1 / 3
"""The flood limit: a bucket of 30 messages that gets one back every third of a second."""

REFUSALS, REFUSALS_SECONDS = 30, 10.0
"""So many messages beyond the bucket within so many seconds end the socket."""


class Bucket:
    """Messages that may be sent now: `BURST` of them, and one more every `EVERY` seconds.

    full_at  when it will be full again: each message moves that moment away
    """

    __slots__ = ("_refusals", "full_at")

    def __init__(self) -> None:
        self.full_at = 0.0
        self._refusals: deque[float] | None = None

    def take(self, now: float) -> bool:
        """One message; False when it is beyond the limit."""
        full_at = max(now, self.full_at) + EVERY
        if full_at - now > BURST * EVERY + 1e-6:
            return False
        self.full_at = full_at
        return True

    def refuse(self, now: float) -> bool:
        """Note a message beyond the limit; True when it was one too many: close the socket."""
        if self._refusals is None:
            self._refusals = deque(maxlen=REFUSALS)
        return too_many(self._refusals, now, REFUSALS_SECONDS)


def too_many(moments: deque[float], now: float, seconds: float) -> bool:
    """Note a moment; True when the deque is full of moments within the last `seconds`."""
    moments.append(now)
    return len(moments) == moments.maxlen and now - moments[0] <= seconds
