"""Chat: messages sent, edited, deleted, by REST and by socket.

A project's feed is locked until a message's commit is on disk, so one project could send as many
messages a second as the disk commits. Messages therefore share statements: the first goes at once;
those that arrive while its statement is under way go in the next one, of any projects, each with
its own row, event and answer. No message waits for company, and a busy chat costs a tenth.

A project has one statement under way at a time, which keeps its order. A project whose feed another
change holds must not stop the others: another carrier goes on while a statement is slow, and a
project that failed goes alone until it succeeds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from warmdesk.auth.actor import Role
from warmdesk.changes import reactions
from warmdesk.changes.mentions import EVERYBODY, named
from warmdesk.changes.reactions import one_emoji
from warmdesk.db.pool import granted
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, Unavailable, WarmDeskError, stored_refusal
from warmdesk.realtime.change import (
    SECONDS,
    TRIES,
    Change,
    ChangeContext,
    Changes,
    Held,
    Outcome,
    PendingShape,
)
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    CHAT_MESSAGE_DELETED,
    CHAT_MESSAGE_UPDATED,
    CHAT_REACTION_UPDATED,
    Event,
)

GROUP = 200
"""Messages in one statement."""
GROUP_PROJECTS = 50
"""Projects in one statement: each takes a place in PostgreSQL's table of locks, of 6,400 or so."""
GROUP_TEXT = 1_000_000
"""Characters in one statement, unless its first message alone has more."""
PATIENCE = 0.1
"""Seconds after which other projects do not wait for a statement any longer."""
CARRIERS = 4
"""Statements under way at most; each holds a connection that other changes want, too."""


@dataclass(slots=True, eq=False)
class PendingMessage:
    """A message on its way, and the future of its answer."""

    context: ChangeContext
    project_id: int
    body: str
    nonce: str | None
    answer: asyncio.Future[Outcome]
    names: str = ""
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


class Chat:
    """The chat of all projects, as one process writes it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self._waiting: deque[PendingMessage] = deque()
        self._carriers: set[asyncio.Task[None]] = set()
        # The one that takes what comes; the others wait for a statement that is slow.
        self._carrier: asyncio.Task[None] | None = None
        # Projects with a statement under way, and those that failed when they were last tried.
        self._busy: set[int] = set()
        self._apart: set[int] = set()

    async def send(
        self, context: ChangeContext, body: str, nonce: str | None, uploads: Sequence[int] = ()
    ) -> Outcome:
        """Send a message: 201 and its shape; 200 and the earlier one for a nonce of the last ten
        minutes. One with files, the uploads with these ids, shares no statement; nor does one that
        names everybody, of whom there may be thousands.
        """
        names = named(body)
        if uploads or EVERYBODY in names.split():
            return await self.changes.hot(
                sql.chat.send_with_files,
                context,
                "message",
                body=body,
                nonce=nonce,
                uploads=list(uploads),
                names=names,
            )
        loop = asyncio.get_running_loop()
        pending = PendingMessage(context, context.project, body, nonce, loop.create_future(), names)
        self._waiting.append(pending)
        self._carry_on()
        seconds, _ = granted(SECONDS)
        late = loop.call_later(seconds, pending.give_up)
        try:
            return await pending.answer
        finally:
            late.cancel()

    async def edit(self, context: ChangeContext, message_id: int, body: str) -> Outcome:
        """Another text for one's own message: 200 and its shape. The same text is no event."""

        async def work(change: Change) -> Outcome:
            message = await _lock(change, message_id)
            if message["user_id"] != context.actor_id:
                raise Forbidden("only its author may edit a message")
            shape = change.shape(sql.chat.shape, id=message_id)
            if body != message["body"]:
                await sql.chat.edit(change.connection, id=message_id, body=body)
                _tell(change, message_id, CHAT_MESSAGE_UPDATED, shape)
                if names := named(body, message["body"]):
                    change.finish(
                        sql.notifications.named,
                        actor=context.actor_id,
                        project_id=context.project,
                        topic_id=None,
                        reply_id=None,
                        message_id=message_id,
                        body=body,
                        names=names,
                    )
            return Outcome(200, shape, entity=entity("message", message_id))

        return await self.changes.run(context, work)

    async def delete(self, context: ChangeContext, message_id: int) -> None:
        """Delete one's own message, or another's as a project admin. Its text leaves the feed."""

        async def work(change: Change) -> None:
            message = await _lock(change, message_id)
            if message["user_id"] != context.actor_id:
                await change.enter(Role.ADMIN)
            await sql.chat.delete(change.connection, id=message_id)
            _tell(change, message_id, CHAT_MESSAGE_DELETED, f'{{"id":{message_id}}}')
            change.finish(
                sql.notifications.forget_chat_message,
                actor=context.actor_id,
                project_id=context.project,
                id=message_id,
            )

        await self.changes.run(context, work)

    async def add_reaction(self, context: ChangeContext, message_id: int, emoji: str) -> Outcome:
        """Put an emoji under a message: 201 and what stands there now; 200 when it is there
        already. 400 for what is not one emoji.
        """
        emoji = one_emoji(emoji)

        async def work(change: Change) -> Outcome:
            await _find(change, message_id)
            is_new, now = await reactions.add(change, "chat_message", message_id, emoji)
            if is_new:
                _tell(change, message_id, CHAT_REACTION_UPDATED, Held(now.of_message))
            return Outcome(201 if is_new else 200, now.added)

        return await self.changes.run(context, work)

    async def remove_reaction(self, context: ChangeContext, message_id: int, emoji: str) -> None:
        """Take one's emoji away from a message. 404 when there is none."""

        async def work(change: Change) -> None:
            await _find(change, message_id)
            now = await reactions.remove(change, "chat_message", message_id, emoji)
            _tell(change, message_id, CHAT_REACTION_UPDATED, Held(now.of_message))

        await self.changes.run(context, work)

    def _carry_on(self) -> None:
        """Start a carrier for the messages that may go, unless one is at work."""
        if (
            self._carrier is None
            and len(self._carriers) < CARRIERS
            and any(pending.project_id not in self._busy for pending in self._waiting)
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
        """The next group, in the order of arrival: no message of a project that has a statement
        under way; a project that failed goes alone.
        """
        group: list[PendingMessage] = []
        stays: list[PendingMessage] = []
        projects: set[int] = set()
        size = 0
        while self._waiting and len(group) < GROUP:
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue
            crowded = len(projects) == GROUP_PROJECTS and pending.project_id not in projects
            if crowded or pending.project_id in self._busy or not self._goes_with(group, pending):
                stays.append(pending)
                continue
            size += len(pending.body)
            if group and size > GROUP_TEXT:
                stays.append(pending)
                break
            pending.under_way = True
            group.append(pending)
            projects.add(pending.project_id)
        self._waiting.extendleft(reversed(stays))
        self._busy |= projects
        return group

    def _goes_with(self, group: list[PendingMessage], pending: PendingMessage) -> bool:
        if not self._apart or not group or group[0].project_id == pending.project_id:
            return True
        return self._apart.isdisjoint((group[0].project_id, pending.project_id))

    async def _send(self, group: list[PendingMessage]) -> None:
        """Send a group. When it fails, its projects are tried apart, then its messages: a fault of
        one must not cost the others.
        """
        ids = {pending.project_id for pending in group}
        try:
            error = await self._try(group, tries=TRIES if len(ids) == 1 else 1)
            if error is None:
                self._apart -= ids
            elif isinstance(error, WarmDeskError) and error.extra.get("code") == "unknown_outcome":
                _refuse(group, error)
            elif len(ids) > 1:
                ids = set()  # each is done at its own time
                await asyncio.gather(*map(self._send, _by_project(group)))
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
            (pending,) = group
            row = await self.changes.many(
                sql.chat.send_alone,
                tries=tries,
                project=pending.project_id,
                actor=pending.context.actor_id,
                client=pending.context.client_id,
                need=pending.context.role,
                body=pending.body,
                names=pending.names,
            )
            return [Outcome(201, row["answer"])]
        row = await self.changes.many(sql.chat.send, tries=tries, **_columns(group))
        return [
            Outcome(status, answer, replay) if status < 400 else stored_refusal(status, answer)
            for status, answer, replay in zip(
                row["statuses"], row["answers"], row["replays"], strict=True
            )
        ]


def _by_project(group: list[PendingMessage]) -> list[list[PendingMessage]]:
    """The group's messages by project, in each in the order they came."""

    def project(pending: PendingMessage) -> int:
        return pending.project_id

    return [list(part) for _, part in groupby(sorted(group, key=project), project)]


def _columns(group: list[PendingMessage]) -> dict[str, list[Any]]:
    """A group as the parameters of its statement."""
    return {
        "projects": [pending.project_id for pending in group],
        "actors": [pending.context.actor_id for pending in group],
        "needs": [pending.context.role for pending in group],
        "clients": [pending.context.client_id for pending in group],
        "keys": [pending.context.key for pending in group],
        "paths": [pending.context.path for pending in group],
        "hashes": [pending.context.body_hash for pending in group],
        "nonces": [pending.nonce for pending in group],
        "bodies": [pending.body for pending in group],
        "names": [pending.names for pending in group],
    }


def _refuse(messages: Iterable[PendingMessage], error: Exception) -> None:
    for pending in messages:
        if not pending.answer.done():
            pending.answer.set_exception(error)


async def _find(change: Change, message_id: int) -> Any:
    """A message that a member may touch, locked; 404 when it is deleted, or another project's."""
    await change.enter()
    return await sql.chat.lock(change.connection, id=message_id, project_id=change.context.project)


async def _lock(change: Change, message_id: int) -> Any:
    """The same; 409 or 412 when it is not the version the client saw."""
    message = await _find(change, message_id)
    await sql.chat.require_version(
        change.connection,
        id=message_id,
        version=change.context.version,
        conflict_status=change.context.conflict_status,
    )
    return message


def _tell(change: Change, message_id: int, event: Event, payload: str | PendingShape) -> None:
    channel = project_channel(change.context.project)
    change.emit(channel, event, payload, entity=entity("message", message_id))
