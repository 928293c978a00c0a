"""Outages: the log says once that a server is lost and once that it is back, not how often it was
tried meanwhile.

PostgreSQL, Redis and the disk each have an `Outage` in a process. One part of the process judges it
about once a second by `failed` and `works`: for PostgreSQL the hub's look at the feeds, for Redis
the bus's own beat. All other parts give a `doubt` when they are let down. While the server is known
to be lost a doubt says nothing new. Else the judge's next word decides: a lost server explains it,
and a server that works has let down only some, which is a line a minute at most.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from redis.exceptions import ResponseError

from warmdesk.errors import WarmDeskError
from warmdesk.log import quoted

AGAIN_SECONDS = 60.0
"""Seconds from one line to the next while an outage lasts."""
MOST_IN_A_MINUTE = 10
"""Outages of one server that are told in a minute; it may come and go many times a second."""
LONGEST_REASON = 300

log = logging.getLogger(__name__)


class Words(NamedTuple):
    """The facts of a kind of outage: it begins, it lasts, it ends; and somebody was let down by
    what works for others.
    """

    begins: str
    lasts: str
    ends: str
    doubt: str


DATABASE = Words("database.lost", "database.still_lost", "database.back", "database.troubled")
REDIS = Words("redis.lost", "redis.still_lost", "redis.back", "redis.troubled")
SENTINEL = Words("sentinel.lost", "sentinel.still_lost", "sentinel.back", "sentinel.troubled")
DISK = Words("disk.full", "disk.still_full", "disk.free", "disk.troubled")


def reason_of(error: BaseException | str) -> str:
    """An error as one line, without what a client had sent: Redis repeats the arguments of a
    command that it does not know, and a password is one.
    """
    if isinstance(error, str):
        return error
    known = error
    if isinstance(error, WarmDeskError) and error.__cause__ is not None:
        known = error.__cause__
    if isinstance(known, TimeoutError) and not str(known):
        return "no answer in time"
    said = str(known).partition("\n")[0]
    if isinstance(known, ResponseError):
        said = said.partition(", with args")[0]
    if len(said) > LONGEST_REASON:
        said = said[: LONGEST_REASON - 1] + "…"
    return said or type(known).__name__


@dataclass(slots=True)
class _Doubt:
    """Who was let down first since the last word about it, why, and how often since."""

    of: str
    reason: str
    times: int = 1


class Outage:
    """Whether one server, or a disk, is lost to this process. `host` says which.

    It may have several judges, each named by `of`: it is lost as long as one of them says so.
    """

    def __init__(self, words: Words, *, host: str = "") -> None:
        self.words = words
        self.host = host
        self.judges: set[str] = set()
        """Who finds it lost now."""
        self._since = 0.0
        self._said_at = 0.0
        self._told = False
        self._begins: deque[float] = deque(maxlen=MOST_IN_A_MINUTE)
        self._doubt: _Doubt | None = None
        self._doubt_said_at = float("-inf")

    @property
    def lasts(self) -> bool:
        """Whether it is lost now."""
        return bool(self.judges)

    def failed(self, error: BaseException | str, *, of: str = "") -> None:
        """A judge found it lost, or still lost."""
        now = time.monotonic()
        if not self.judges:
            self._since = now
            self._doubt = None
            self._told = (
                len(self._begins) < MOST_IN_A_MINUTE or now - self._begins[0] > AGAIN_SECONDS
            )
            if self._told:
                self._begins.append(now)
                self._said_at = now
                log.warning(
                    "%s host=%s reason=%s", self.words.begins, self.host, quoted(reason_of(error))
                )
        elif now - max(self._since, self._said_at) >= AGAIN_SECONDS:
            self._told, self._said_at = True, now
            log.warning(
                "%s host=%s seconds=%.0f reason=%s",
                self.words.lasts,
                self.host,
                now - self._since,
                quoted(reason_of(error)),
            )
        self.judges.add(of)

    def works(self, *, of: str = "") -> None:
        """A judge found it there."""
        if self.judges:
            self.judges.discard(of)
            if not self.judges:
                self._ended()
        elif self._doubt is not None:
            self._say_doubt(self._doubt)

    def over(self) -> None:
        """It is there, whatever its judges found."""
        if self.judges:
            self.judges.clear()
            self._ended()

    def doubt(self, of: str, error: BaseException | str) -> None:
        """It let down a part of the process that is no judge."""
        if self.judges:
            return
        if self._doubt is None:
            self._doubt = _Doubt(of, reason_of(error))
        else:
            self._doubt.times += 1

    def _ended(self) -> None:
        if self._told:
            seconds = time.monotonic() - self._since
            log.warning("%s host=%s seconds=%.1f", self.words.ends, self.host, seconds)

    def _say_doubt(self, doubt: _Doubt) -> None:
        now = time.monotonic()
        if now - self._doubt_said_at < AGAIN_SECONDS:
            return
        self._doubt, self._doubt_said_at = None, now
        log.warning(
            "%s host=%s of=%s times=%d reason=%s",
            self.words.doubt,
            self.host,
            quoted(doubt.of),
            doubt.times,
            quoted(doubt.reason),
        )
