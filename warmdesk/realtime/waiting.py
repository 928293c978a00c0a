"""Requests that wait for the next event of a feed. They follow a room as sockets do, so a thousand
in one channel cost a process one subscription, and an event wakes them without a question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from warmdesk.auth.actor import Actor
from warmdesk.errors import Policy, TooMany
from warmdesk.metrics import HTTP_WAITING
from warmdesk.realtime.feed import Page
from warmdesk.tasks import SingleFlight

AGAIN_SECONDS = 10.0


class Wake(IntEnum):
    """Why a wait ends; of two reasons the higher one counts."""

    OVER = 1
    """The time is over, or this process stops."""
    EVENT = 2
    """There is an event, or the room began anew."""
    DOUBT = 3
    """The right to it may have ended."""
    GONE = 4
    """The client left."""


class Waiter:
    """One request that has seen a feed up to `after`, in the history `epoch`. `upto`: what its room
    had when the wait ended; for what came later its right was not asked yet. `about`: the things
    whose events wake it; all do without.
    """

    __slots__ = ("_reason", "_woken", "about", "after", "epoch", "key_id", "upto", "user_id")

    def __init__(
        self, actor: Actor, after: int, epoch: str, about: frozenset[str] | None = None
    ) -> None:
        self.user_id, self.key_id = actor.user_id, actor.key_id
        self.after, self.epoch, self.upto, self.about = after, epoch, after, about
        self._reason: Wake | None = None
        self._woken: asyncio.Future[None] | None = None

    def hear(self, seq: int, entity: str) -> None:
        """An event came: end the wait, if it is for this."""
        if self.after < seq and (self.about is None or entity in self.about):
            self.wake(Wake.EVENT)

    def wake(self, reason: Wake) -> None:
        """End the wait; a reason that comes between two waits ends the next one."""
        if self._reason is None or reason > self._reason:
            self._reason = reason
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def sleep(self, until: float) -> Wake:
        """Wait until something wakes it, at the latest at this time of the loop's clock."""
        if self._reason is None:
            loop = asyncio.get_running_loop()
            self._woken = loop.create_future()
            limit = loop.call_at(until, self.wake, Wake.OVER)
            try:
                await self._woken
            finally:
                limit.cancel()
                self._woken = None
        reason, self._reason = self._reason, None
        assert reason is not None
        return reason


class Waits:
    """All waiters of a process, by user: at most `most` of one. `stopped`: nobody waits any more.
    `reads`: pages that several ask for, the feed once; `looks`: the same of other things.
    """

    def __init__(self, *, most: int) -> None:
        self.reads: SingleFlight[Page] = SingleFlight()
        self.looks: SingleFlight[Any] = SingleFlight()
        self.people: dict[int, dict[Waiter, None]] = {}
        self.stopped = False
        self._most = most

    @contextmanager
    def place(
        self, actor: Actor, *, after: int, epoch: str, about: frozenset[str] | None = None
    ) -> Iterator[Waiter]:
        """A place for one request that waits, or `TooMany`."""
        mine = self.people.get(actor.user_id, {})
        if len(mine) >= self._most:
            raise TooMany(
                Policy("waits", self._most),
                AGAIN_SECONDS,
                f"{self._most} requests of yours wait for events here, which is the limit",
                code="too_many_waits",
            )
        waiter = Waiter(actor, after, epoch, about)
        self.people.setdefault(actor.user_id, mine)[waiter] = None
        HTTP_WAITING.inc()
        try:
            yield waiter
        finally:
            HTTP_WAITING.inc(-1)
            del mine[waiter]
            if not mine:
                del self.people[actor.user_id]

    def doubt(self, *, user_id: int | None = None, key_id: int | None = None) -> None:
        """The rights of a user, of a key or of everybody may have changed: each asks again."""
        for person, theirs in self.people.items():
            if user_id is None or person == user_id:
                for waiter in theirs:
                    if key_id is None or waiter.key_id == key_id:
                        waiter.wake(Wake.DOUBT)

    def stop(self) -> None:
        """This process stops: all waits are over."""
        self.stopped = True
        for theirs in self.people.values():
            for waiter in theirs:
                waiter.wake(Wake.OVER)
