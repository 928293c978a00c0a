"""Messages that arrive together share statements: those of chats, and those of conversations.

A project's feed is locked until a message's commit is on disk, and so is a conversation's row; so
one of them could have as many messages a second as the disk commits. Messages therefore share
statements: the first goes at once; those that arrive while its statement is under way go in the
next one, to any places of its kind, each with its own row, events and answer. No message waits for
company, and a busy chat costs a tenth.

A place, a project or a conversation, has one statement under way at a time, which keeps its order.
One that another change holds must not stop the others: another carrier goes on while a statement is
slow, and a place whose statement waited too long for a lock is *stuck*: its messages stay, and are
tried apart, one stuck place after another, until they go or their time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import orjson

from warmdesk.db.pool import PLAN_IS_OLD, granted
from warmdesk.db.queries import Query
from warmdesk.errors import Unavailable, WarmDeskError, stored_refusal
from warmdesk.metrics import DB_RETRIES
from warmdesk.realtime.change import (
    EVENT_BYTES,
    LOST_A_RACE,
    SECONDS,
    UNKNOWN,
    ChangeContext,
    Changes,
    Outcome,
)

PATIENCE = 0.1
"""Seconds after which other places do not wait for a statement any longer."""
CARRIERS = 3
"""Statements under way at most, of chats and as many of conversations, beside one for what is
stuck; each holds a connection that other changes want, too.
"""
HURRY_MS = 250
"""How long a statement waits for a lock while others are under way."""
STUCK_MS = 100, 1000
"""How long a stuck place is waited for, at least and at most."""
ROUND_MS = 2000
"""In this time, or little more, each stuck place has its turn."""
AGAIN_SECONDS = 0.01
KNOWN = 10_000
"""Places of which is remembered how many are told."""


class Most(NamedTuple):
    """What one statement carries at most. `bytes`: of events, unless its first message alone has
    more. `people`: how many are told of a message in a place that is not known yet.
    """

    messages: int
    places: int
    bytes: int
    people: int


@dataclass(slots=True, eq=False)
class PendingMessage:
    """A message on its way, and the future of its answer."""

    context: ChangeContext
    place: int
    body: str
    names: str
    nonce: str | None
    octets: int
    """Of its text, as JSON."""
    answer: asyncio.Future[Outcome]
    under_way: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it cannot be a repetition: nothing tells it from another."""
        return self.context.key is None and self.nonce is None

    def give_up(self) -> None:
        """Its time is over."""
        if self.answer.done():
            return
        if self.under_way:
            late = Unavailable("the message could not be sent in time", code="unknown_outcome")
        else:
            late = Unavailable("too many messages at once, try again")
        self.answer.set_exception(late)


class Messages:
    """The messages to all places of one kind, as one process sends them.

    `alone` sends one that is plain: it gives the ``answer``. `together` sends a group, given as
    columns: it gives ``statuses``, ``answers`` and ``replays``. How many events each had stands in
    ``told``: they count for the pace of the sender, and bound what the next statement carries.
    """

    def __init__(
        self,
        changes: Changes,
        *,
        alone: Query[..., Any],
        together: Query[..., Any],
        most: Most,
    ) -> None:
        self.changes = changes
        self.most = most
        self._alone, self._together = alone, together
        self._waiting: deque[PendingMessage] = deque()
        self._carriers: set[asyncio.Task[None]] = set()
        # The one that takes what comes; the others wait for a statement that is slow.
        self._carrier: asyncio.Task[None] | None = None
        # Places with a statement under way; and those that are stuck, with the moment when each was
        # tried apart last.
        self._busy: set[int] = set()
        self._stuck: dict[int, float] = {}
        self._unsticking: asyncio.Task[None] | None = None
        self._told: dict[int, int] = {}

    async def send(
        self, context: ChangeContext, place: int, body: str, names: str, nonce: str | None
    ) -> Outcome:
        """Send a message, which has these `names`, to the place with this id: 201 and its shape;
        200 and the earlier one for a nonce of the last ten minutes.
        """
        loop = asyncio.get_running_loop()
        octets, answer = len(orjson.dumps(body)), loop.create_future()
        pending = PendingMessage(context, place, body, names, nonce, octets, answer)
        self._waiting.append(pending)
        self._carry_on()
        seconds, _ = granted(SECONDS)
        late = loop.call_later(seconds, pending.give_up)
        try:
            return await pending.answer
        finally:
            late.cancel()

    def _carry_on(self) -> None:
        """Start a carrier for the messages that may go, unless one is at work; and what tries the
        stuck places, unless it is at it.
        """
        # They carry for others too, so they see nothing of this request's context and time.
        loop = asyncio.get_running_loop()
        if (
            self._carrier is None
            and len(self._carriers) < CARRIERS
            and any(map(self._may_go, self._waiting))
        ):
            self._carrier = loop.create_task(self._carry(), context=Context())
            self._carriers.add(self._carrier)
        if (
            self._stuck
            and self._unsticking is None
            and any(p.place in self._stuck for p in self._waiting)
        ):
            self._unsticking = loop.create_task(self._unstick(), context=Context())

    def _may_go(self, pending: PendingMessage) -> bool:
        return pending.place not in self._busy and pending.place not in self._stuck

    async def _carry(self) -> None:
        """Send the waiting messages, a group at a time, until none waits or another carrier took
        over.
        """
        loop, me = asyncio.get_running_loop(), self._carrier
        assert me is not None
        try:
            while self._carrier is me and (group := self._group(self._may_go)):
                slow = loop.call_later(PATIENCE, self._step_aside, me)
                is_alone = len(self._carriers) == 1 and not self._stuck
                waits_long = is_alone and len({pending.place for pending in group}) == 1
                try:
                    await self._send(group, None if waits_long else HURRY_MS)
                finally:
                    slow.cancel()
        except BaseException:  # cancelled, most likely: no other would answer the senders
            self._end()
            raise
        finally:
            self._carriers.discard(me)
            self._step_aside(me)

    def _step_aside(self, carrier: asyncio.Task[None]) -> None:
        """Leave new messages to another carrier: this one waits or ends."""
        if self._carrier is carrier:
            self._carrier = None
        self._carry_on()

    async def _unstick(self) -> None:
        """Try the stuck places, the one that was not tried for the longest first, until none is
        left for which something waits.
        """
        try:
            while True:
                waiting = {p.place for p in self._waiting if not p.answer.done()}
                self._stuck = {each: at for each, at in self._stuck.items() if each in waiting}
                if not self._stuck:
                    break
                place = min(self._stuck, key=self._stuck.__getitem__)
                least, most = STUCK_MS
                patience = max(least, min(most, ROUND_MS // len(self._stuck)))
                if not self._stuck[place]:
                    patience = least  # most likely it only was in one group with a stuck place
                self._stuck[place] = time.monotonic()
                if not await self._send(self._group(partial(_is_for, place)), patience):
                    await asyncio.sleep(AGAIN_SECONDS)
        except BaseException:  # cancelled, most likely: no other would answer the senders
            self._end()
            raise
        finally:
            self._unsticking = None
            self._carry_on()

    def _end(self) -> None:
        _refuse(self._waiting, Unavailable("the server is stopping, try again"))
        self._waiting.clear()

    def _group(self, wanted: Callable[[PendingMessage], bool]) -> list[PendingMessage]:
        """The next group of those that are wanted, in the order of arrival."""
        group: list[PendingMessage] = []
        stays: list[PendingMessage] = []
        places: set[int] = set()
        size = 0
        while self._waiting and len(group) < self.most.messages:
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue
            crowded = len(places) == self.most.places and pending.place not in places
            if crowded or not wanted(pending):
                stays.append(pending)
                continue
            size += pending.octets * self._told.get(pending.place, self.most.people)
            if group and size > self.most.bytes:
                stays.append(pending)
                break
            group.append(pending)
            places.add(pending.place)
        self._waiting.extendleft(reversed(stays))
        self._busy |= places
        return group

    async def _send(self, group: list[PendingMessage], patience: int | None) -> bool:
        """Send a group. When a lock is not to be had, its places are stuck, and it gives False;
        when anything else is wrong, its messages are tried one by one: a fault of one must not cost
        the others.
        """
        ids, held = {pending.place for pending in group}, False
        try:
            error = await self._try(group, patience)
            if error is None:
                for each in ids:
                    self._stuck.pop(each, None)
            elif held := _is_held(error):
                self._keep(group)
            elif isinstance(error, Unavailable) or len(group) == 1:
                _refuse(group, error)
            else:
                for nth, pending in enumerate(group):
                    error = await self._try([pending], patience)
                    if error is not None and (held := _is_held(error)):
                        self._keep(group[nth:])
                        break
                    if error is not None:
                        _refuse([pending], error)
        except asyncio.CancelledError:
            for pending in group:
                pending.give_up()
            raise
        finally:
            self._busy -= ids
            self._carry_on()
        return not held

    def _keep(self, group: list[PendingMessage]) -> None:
        """Their places are stuck. They wait again, before all that came later."""
        ids = {pending.place for pending in group}
        for each in ids:
            self._stuck.setdefault(each, time.monotonic() if len(ids) == 1 else 0.0)
        self._waiting.extendleft(reversed(group))

    async def _try(self, group: list[PendingMessage], patience: int | None) -> Exception | None:
        """Send those of a group whose time is not over and answer each; gives back why that
        failed.
        """
        group = [pending for pending in group if not pending.answer.done()]
        if not group:
            return None
        for pending in group:
            pending.under_way = True
        try:
            try:
                answers = await self._write(group, patience)
            except PLAN_IS_OLD:
                answers = await self._write(group, patience)
        except Exception as error:
            if not isinstance(error, WarmDeskError) or error.extra.get("code") != UNKNOWN:
                for pending in group:
                    pending.under_way = False
            return error
        for pending, answer in zip(group, answers, strict=True):
            if pending.answer.done():
                continue
            if isinstance(answer, Outcome):
                pending.answer.set_result(answer)
            else:
                pending.answer.set_exception(answer)
        return None

    async def _write(
        self, group: list[PendingMessage], patience: int | None
    ) -> list[Outcome | WarmDeskError]:
        """One transaction: what each of a group gets."""
        many, given = self.changes.many, {"patience": patience}
        if len(group) == 1 and group[0].is_plain:
            row = await many(self._alone, tries=1, **_parameters(group[0]), **given)
            self._charge(group, [row["told"]])
            return [Outcome(201, row["answer"])]
        row = await many(self._together, tries=1, **_columns(group), **given)
        self._charge(group, row["told"])
        return [
            Outcome(status, answer, replay) if status < 400 else stored_refusal(status, answer)
            for status, answer, replay in zip(
                row["statuses"], row["answers"], row["replays"], strict=True
            )
        ]

    def _charge(self, group: list[PendingMessage], told: list[int]) -> None:
        """Count how many events the messages had, and how long they were, for the pace of who sent
        them.
        """
        for pending, events in zip(group, told, strict=True):
            if not events:
                continue
            if not pending.names:
                if len(self._told) >= KNOWN:
                    self._told.clear()
                self._told[pending.place] = events
            if pending.context.actor_id is not None:
                things = events * (1 + pending.octets // EVENT_BYTES)
                self.changes.charge(pending.context.actor_id, things)


def _is_for(place: int, pending: PendingMessage) -> bool:
    return pending.place == place


def _is_held(error: Exception) -> bool:
    """Whether it failed because another change held something for too long: nothing was done."""
    cause = error.__cause__
    if not isinstance(cause, asyncpg.PostgresError) or cause.sqlstate not in LOST_A_RACE:
        return False
    DB_RETRIES.inc(state=cause.sqlstate)
    return True


def _parameters(pending: PendingMessage) -> dict[str, Any]:
    """A plain message as the parameters of its statement."""
    context = pending.context
    parameters = {
        "place": pending.place,
        "actor": context.actor_id,
        "client": context.client_id,
        "body": pending.body,
        "names": pending.names,
    }
    return parameters if context.need is None else {**parameters, "need": context.role}


def _columns(group: list[PendingMessage]) -> dict[str, list[Any]]:
    """A group as the parameters of its statement."""
    columns: dict[str, list[Any]] = {
        "places": [pending.place for pending in group],
        "actors": [pending.context.actor_id for pending in group],
        "clients": [pending.context.client_id for pending in group],
        "keys": [pending.context.key for pending in group],
        "paths": [pending.context.path for pending in group],
        "hashes": [pending.context.body_hash for pending in group],
        "nonces": [pending.nonce for pending in group],
        "bodies": [pending.body for pending in group],
        "names": [pending.names for pending in group],
    }
    if group[0].context.need is not None:  # a kind of place asks for a role in all of them, or none
        columns["needs"] = [pending.context.role for pending in group]
    return columns


def _refuse(messages: Iterable[PendingMessage], error: Exception) -> None:
    for pending in messages:
        if not pending.answer.done():
            pending.answer.set_exception(error)
