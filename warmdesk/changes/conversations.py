"""Messages of conversations, as they are sent: those that wait for one moment go together."""

from __future__ import annotations

from collections.abc import Sequence

from warmdesk.changes.mentions import named
from warmdesk.changes.messages import Messages, Most
from warmdesk.db.queries import sql
from warmdesk.realtime.change import ChangeContext, Changes, Outcome

MOST = Most(messages=50, places=50, bytes=4 << 20, people=100)
"""Each message is told to all in its conversation, who may be a hundred."""


class Conversations:
    """The talk in all conversations, as one process writes it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.messages = Messages(
            changes,
            alone=sql.conversations.send_alone,
            together=sql.conversations.send,
            most=MOST,
        )

    async def send(
        self, context: ChangeContext, body: str, nonce: str | None, uploads: Sequence[int] = ()
    ) -> Outcome:
        """Send a message: 201 and its shape; 200 and the earlier one for a nonce of the last ten
        minutes. One with files, the uploads with these ids, shares no statement.
        """
        here, names = context.conversation, named(body)
        if uploads:
            return await self.changes.call(
                sql.conversations.send_with_files,
                context,
                "conversation/message",
                id=here,
                actor=context.actor_id,
                client=context.client_id,
                body=body,
                nonce=nonce,
                names=names,
                uploads=list(uploads),
            )
        return await self.messages.send(context, here, body, names, nonce)
