"""Chat: a project's talk."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from warmdesk.errors import field_error
from warmdesk.schemas import Body, Id, Shape, Timestamp, Version
from warmdesk.schemas.attachments import Attachment, AttachmentIds
from warmdesk.schemas.users import UserRef

MessageBody = Annotated[
    str, Meta(min_length=1, max_length=20_000, pattern=r"\S", examples=["Good morning!"])
]
Nonce = Annotated[str, Meta(min_length=1, max_length=100)]


class SendMessage(Body):
    """A message, which may be blank where it has files. The same `nonce` from the same author
    within ten minutes is the same message.
    """

    body: Annotated[str, Meta(max_length=20_000, examples=["Good morning!"])]
    nonce: Nonce | None = None
    attachment_ids: AttachmentIds = msgspec.field(default_factory=list)

    @property
    def uploads(self) -> list[int]:
        """Each of its files once."""
        return list(dict.fromkeys(self.attachment_ids))

    @property
    def text(self) -> str:
        """Its body as it is kept: blank is empty, and 400 without files."""
        if self.body.strip():
            return self.body
        if not self.attachment_ids:
            raise field_error("body", "blank", "must not be blank")
        return ""


class EditMessage(Body):
    """Another text for one's own message."""

    body: MessageBody
    version: Version | None = None


class EditMessageById(EditMessage, kw_only=True):
    """The same on a socket, whose messages have no path."""

    message_id: Id


class DeleteMessageById(Body):
    """Which message to delete, on a socket."""

    message_id: Id
    version: Version | None = None


class AddReaction(Body):
    """One emoji."""

    emoji: Annotated[str, Meta(min_length=1, max_length=32, examples=["👍"])]


class ReactById(AddReaction, kw_only=True):
    """Which message to put it under, or to take it from, on a socket."""

    message_id: Id
    remove: bool = False


class MessagesQuery(Body):
    """A page, oldest first: the newest messages, or those before, after or around one."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Id | None = None
    after: Id | None = None
    around: Id | None = None


class Reaction(Shape):
    """An emoji and who used it, in the order of first use."""

    emoji: str
    count: int
    user_ids: list[int]


class ChatRead(Shape):
    """How far one has read a project's chat, and how much is unread behind it."""

    slug: str
    message_id: int
    unread_count: int


class ChatMessage(Shape):
    """A message. `user` is null for bots. A deleted one has no text."""

    id: int
    project_id: int
    user_id: int | None
    user: UserRef | None
    body: str
    is_edited: bool
    is_deleted: bool
    is_bot: bool
    bot_name: str | None
    attachments: list[Attachment]
    reactions: list[Reaction]
    created_at: Timestamp
    updated_at: Timestamp
    version: int
    nonce: str | None = None


class ChatMessageDeleted(Shape):
    id: int


class ReactionUpdated(Shape):
    """A message's reactions, all of them."""

    message_id: int
    reactions: list[Reaction]


class ReactionAdded(Shape):
    """The reaction, and its message's reactions."""

    id: int
    message_id: int
    reactions: list[Reaction]
