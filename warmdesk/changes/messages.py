"""Messages that arrive together share statements: those of chats, and those of conversations.

A project's feed is locked until a message's commit is on disk, and so is a conversation's row; so
one of them could have as many messages a second as the disk commits. Messages therefore share
statements: the first goes at once; those that arrive while its statement is under way go in the
next one, to any places of its kind, each with its own row, events and answer. No message waits for
company, and a busy chat costs a tenth.

A place, a project or a conversation, has one statement under way at a time, which keeps its order.
One that another change holds must not stop the others: another carrier goes on while a statement is
slow, and a place that failed goes alone until it succeeds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from warmdesk.db.pool import granted
from warmdesk.db.queries import Query
from warmdesk.errors import Unavailable, WarmDeskError, stored_refusal
from warmdesk.realtime.change import SECONDS, TRIES, ChangeContext, Changes, Outcome

PATIENCE = 0.1
"""Seconds after which other places do not wait for a statement any longer."""
CARRIERS = 4
"""Statements under way at most, of chats and as many of conversations; each holds a connection that
other changes want, too.
"""


class Most(NamedTuple):
    """What one statement carries at most."""

    messages: int
    places: int
    text: int
    """Characters, unless its first message alone has more."""


@dataclass(slots=True, eq=False)
class PendingMessage:
    """A message on its way, and the future of its answer."""

    context: ChangeContext
    place: int
    body: str
    names: str
    nonce: str | None
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
    ``told``, where they count for the pace of the sender.
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
        # Places with a statement under way, and those that failed when they were last tried.
        self._busy: set[int] = set()
        self._apart: set[int] = set()
        self._at_once = asyncio.Semaphore(CARRIERS)

    async def send(
        self, context: ChangeContext, place: int, body: str, names: str, nonce: str | None
    ) -> Outcome:
        """Send a message, which has these `names`, to the place with this id: 201 and its shape;
        200 and the earlier one for a nonce of the last ten minutes.
        """
        loop = asyncio.get_running_loop()
        pending = PendingMessage(context, place, body, names, nonce, loop.create_future())
        self._waiting.append(pending)
        self._carry_on()
        seconds, _ = granted(SECONDS)
        late = loop.call_later(seconds, pending.give_up)
        try:
            return await pending.answer
        finally:
            late.cancel()

    def _carry_on(self) -> None:
        """Start a carrier for the messages that may go, unless one is at work."""
        if (
            self._carrier is None
            and len(self._carriers) < CARRIERS
            and any(pending.place not in self._busy for pending in self._waiting)
        ):
            # It carries for others too, so it sees nothing of this request's context and time.
            carrying = asyncio.get_running_loop().create_task(self._carry(), context=Context())
            self._carrier = carrying
            self._carriers.add(carrying)

    async def _carry(self) -> None:
        """Send the waiting messages, a group at a time, until none waits or another carrier took
        over.
        """
        loop, me = asyncio.get_running_loop(), self._carrier
        assert me is not None
        try:
            while self._carrier is me and (group := self._next_group()):
                slow = loop.call_later(PATIENCE, self._step_aside, me)
                try:
                    await self._send(group)
                finally:
                    slow.cancel()
        except BaseException:  # cancelled, most likely: no other would answer the senders
            _refuse(self._waiting, Unavailable("the server is stopping, try again"))
            self._waiting.clear()
            raise
        finally:
            self._carriers.discard(me)
            self._step_aside(me)

    def _step_aside(self, carrier: asyncio.Task[None]) -> None:
        """Leave new messages to another carrier: this one waits or ends."""
        if self._carrier is carrier:
            self._carrier = None
        self._carry_on()

    def _next_group(self) -> list[PendingMessage]:
        """The next group, in the order of arrival: no message of a place that has a statement under
        way; a place that failed goes alone.
        """
        group: list[PendingMessage] = []
        stays: list[PendingMessage] = []
        places: set[int] = set()
        size = 0
        while self._waiting and len(group) < self.most.messages:
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue
            crowded = len(places) == self.most.places and pending.place not in places
            if crowded or pending.place in self._busy or not self._goes_with(group, pending):
                stays.append(pending)
                continue
            size += len(pending.body)
            if group and size > self.most.text:
                stays.append(pending)
                break
            pending.under_way = True
            group.append(pending)
            places.add(pending.place)
        self._waiting.extendleft(reversed(stays))
        self._busy |= places
        return group

    def _goes_with(self, group: list[PendingMessage], pending: PendingMessage) -> bool:
        if not self._apart or not group or group[0].place == pending.place:
            return True
        return self._apart.isdisjoint((group[0].place, pending.place))

    async def _send(self, group: list[PendingMessage]) -> None:
        """Send a group. When it fails, its places are tried apart, then its messages: a fault of
        one must not cost the others.
        """
        ids = {pending.place for pending in group}
        try:
            error = await self._try(group, tries=TRIES if len(ids) == 1 else 1)
            if error is None:
                self._apart -= ids
            elif isinstance(error, WarmDeskError) and error.extra.get("code") == "unknown_outcome":
                _refuse(group, error)
            elif len(ids) > 1:
                ids = set()  # each is done at its own time
                await asyncio.gather(*map(self._send, _by_place(group)))
            elif isinstance(error, Unavailable) or len(group) == 1:
                if isinstance(error, Unavailable):
                    self._apart |= ids
                _refuse(group, error)
            else:
                for pending in group:
                    if (error := await self._try([pending], tries=TRIES)) is not None:
                        _refuse([pending], error)
        finally:
            self._busy -= ids
            self._carry_on()

    async def _try(self, group: list[PendingMessage], *, tries: int) -> Exception | None:
        """Send a group and answer each of it; gives back why that failed."""
        try:
            async with self._at_once:  # a group that failed comes again as many
                answers = await self._write(group, tries=tries)
        except asyncio.CancelledError:
            _refuse(group, Unavailable("the server is stopping", code="unknown_outcome"))
            raise
        except Exception as error:
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
        self, group: list[PendingMessage], *, tries: int
    ) -> list[Outcome | WarmDeskError]:
        """One transaction: what each of a group gets."""
        if len(group) == 1 and group[0].is_plain:
            row = await self.changes.many(self._alone, tries=tries, **_parameters(group[0]))
            self._charge(group, [row.get("told", 0)])
            return [Outcome(201, row["answer"])]
        row = await self.changes.many(self._together, tries=tries, **_columns(group))
        self._charge(group, row.get("told") or [0] * len(group))
        return [
            Outcome(status, answer, replay) if status < 400 else stored_refusal(status, answer)
            for status, answer, replay in zip(
                row["statuses"], row["answers"], row["replays"], strict=True
            )
        ]

    def _charge(self, group: list[PendingMessage], told: list[int]) -> None:
        """Count how many events the messages had, for the pace of who sent them."""
        for pending, events in zip(group, told, strict=True):
            if events and pending.context.actor_id is not None:
                self.changes.charge(pending.context.actor_id, events)


def _by_place(group: list[PendingMessage]) -> list[list[PendingMessage]]:
    """The group's messages by place, in each in the order they came."""

    def place(pending: PendingMessage) -> int:
        return pending.place

    return [list(part) for _, part in groupby(sorted(group, key=place), place)]


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
