"""Chat: messages sent, edited, deleted, by REST and by socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from warmdesk.auth.actor import Role
from warmdesk.changes import reactions
from warmdesk.changes.mentions import EVERYBODY, named
from warmdesk.changes.messages import Messages, Most
from warmdesk.changes.reactions import one_emoji
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, NotFound
from warmdesk.realtime.change import (
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

MOST = Most(messages=200, places=50, bytes=1 << 20, people=1)
"""Each project takes a place in PostgreSQL's table of locks, of 6,400 or so."""


class Chat:
    """The chat of all projects, as one process writes it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.messages = Messages(
            changes, alone=sql.chat.send_alone, together=sql.chat.send, most=MOST
        )

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
        return await self.messages.send(context, context.project, body, names, nonce)

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


async def _find(change: Change, message_id: int) -> Any:
    """A message that a member may touch, locked; 404 when it is deleted, or another project's."""
    await change.enter()
    try:
        return await sql.chat.lock(
            change.connection, id=message_id, project_id=change.context.project
        )
    except NotFound as error:
        raise NotFound("message not found") from error  # on a socket no path says what it is


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
