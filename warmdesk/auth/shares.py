"""A share for each: so many reads and so many writes of one person are at work at once in a
process, and the others wait for a moment, in the order they came; so many changes in a minute.

The connections of a process are few, and go to the first requests that come. Without shares one
person with many requests, a script in a loop or an enemy, makes all others wait for as long as
those take. A share is counted here and never in Redis: it guards this process' own connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from warmdesk.auth.limits import Limits
from warmdesk.db.pool import spent
from warmdesk.errors import Policy, TooMany, WarmDeskError

WAIT_SECONDS = 2.0
"""How long a request waits for room where no setting says otherwise."""
WAITING = 64
"""Requests of one person that wait at once; each holds its body. More are refused at once."""


class Shares:
    """At most `most` of one person's requests at work at once; others wait for `seconds`. With
    ``on=False`` nothing is counted. `refusal` makes the error of a request that waited in vain,
    else it is `TooMany` of the limit with this `name`. Anything with an id may have shares: see
    `Changes` for projects.

    ``if not shares.take(person): await shares.wait(person)``, and `give_back` in the end: each is
    one look into a dict.
    """

    __slots__ = ("_at_work", "_most", "_policy", "_refusal", "_seconds", "_waiting", "on")

    def __init__(
        self,
        most: int,
        *,
        name: str = "requests",
        seconds: float = WAIT_SECONDS,
        on: bool = True,
        refusal: Callable[[], WarmDeskError] | None = None,
    ) -> None:
        self.on = on
        self._most = most
        self._seconds = seconds
        self._policy = Policy(name, most)
        self._refusal = refusal or self._too_many
        self._at_work: dict[int, int] = {}
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    def take(self, person: int) -> bool:
        """Whether there was room at once. Waiting requests go first: room is handed on to them."""
        if not self.on:
            return True
        at_work = self._at_work.get(person, 0)
        if at_work >= self._most:
            return False
        self._at_work[person] = at_work + 1
        return True

    async def wait(self, person: int) -> None:
        """Wait for room, so long at most: then, or behind too many others, the refusal. The
        wait takes from the time that the request has for PostgreSQL.
        """
        waiting = self._waiting.setdefault(person, deque())
        if len(waiting) >= WAITING:
            raise self._refusal()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                await mine
        except BaseException as error:  # he is out of time or has left: nothing is his any more
            if mine.done() and not mine.cancelled():
                self.give_back(person)
            else:
                self._forget(person, mine)
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise
        finally:
            spent(time.monotonic() - began)

    def give_back(self, person: int) -> None:
        """End what was taken: its room is the next one's."""
        if not self.on:
            return
        waiting = self._waiting.get(person)
        while waiting and self._at_work[person] <= self._most:
            mine = waiting.popleft()
            if not waiting:
                del self._waiting[person]
            if not mine.done():
                mine.set_result(None)
                return
        at_work = self._at_work[person] - 1
        if at_work:
            self._at_work[person] = at_work
        else:
            del self._at_work[person]

    def _too_many(self) -> WarmDeskError:
        sentence = "too many requests of yours at once, try again"
        return TooMany(self._policy, 1, sentence, code="too_many_at_once")

    @contextmanager
    def aside(self, person: int) -> Iterator[None]:
        """What was taken is another's, while a request waits for something that it does not guard.
        In the end it is taken again at once, be there room or not: what is left to do is little.
        """
        self.give_back(person)
        try:
            yield
        finally:
            if self.on:
                self._at_work[person] = self._at_work.get(person, 0) + 1

    def _forget(self, person: int, mine: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(person)
        if waiting is not None and mine in waiting:
            waiting.remove(mine)
            if not waiting:
                del self._waiting[person]


# In a minute

PACE_SECONDS = 60.0
BLOCKS = 60
"""So many questions to Redis allow all that a person may do in a minute."""
KEPT = 10_000
"""People whose pace a process remembers; the one without changes for longest goes first."""


@dataclass(slots=True)
class Minute:
    """How many changes a person may still make here without asking Redis, and since when."""

    since: float
    left: int


class Pace:
    """At most `limit` changes of one person in a minute, over all processes.

    A change should not cost a question to Redis. So a process lets the first changes of a minute
    through, a sixtieth of the limit, and asks for the others in blocks of as many. In one process
    the limit is kept to the change; each other one that the person comes to may add a block.
    """

    def __init__(self, limits: Limits, *, limit: int, things: int, name: str = "changes") -> None:
        """`things`: a change with many events counts as one for each so many of them."""
        self._limits = limits
        self._name = name
        self._things = things
        self._limit = limit
        self._block = limit // BLOCKS
        self._blocks = limit // self._block - 1
        self._minutes: OrderedDict[int, Minute] = OrderedDict()

    async def take(self, person: int) -> None:
        """Count a change, or raise `TooMany` with the seconds until there is room."""
        if not self._limits.on:
            return
        minute = self._minute(person)
        while minute.left <= 0:
            await self._limits.take(
                self._name,
                person,
                limit=self._blocks,
                seconds=PACE_SECONDS,
                shown_limit=self._limit,
            )
            minute.left += self._block
        minute.left -= 1

    def add(self, person: int, things: int) -> None:
        """Count a change with so many events (of cards, in projects, to people) for more than one;
        the next changes pay for it.
        """
        self.owe(person, things // self._things)

    def owe(self, person: int, changes: int) -> None:
        """Count so many more than was asked for; the next changes pay for them."""
        if changes:
            self._minute(person).left -= changes

    def left(self, person: int) -> int:
        """How many changes are let through here without asking."""
        return self._minute(person).left

    def _minute(self, person: int) -> Minute:
        now = time.monotonic()
        minute = self._minutes.get(person)
        if minute is None or now - minute.since >= PACE_SECONDS:
            minute = self._minutes[person] = Minute(now, self._block)
            self._minutes.move_to_end(person)
            if len(self._minutes) > KEPT:
                self._minutes.popitem(last=False)
        return minute
