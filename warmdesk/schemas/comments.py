"""Comments: what people write on a card."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Shape, Timestamp, Version
from warmdesk.schemas.attachments import Attachment, AttachmentIds
from warmdesk.schemas.users import UserRef

MOST_MINUTES = 1440

CommentBody = Annotated[str, Meta(max_length=20_000, examples=["The hinge is worn."])]
Minutes = Annotated[int, Meta(ge=0, le=MOST_MINUTES, examples=[30])]


class TimeOfComment(Body, kw_only=True):
    """The time that went into it, which becomes an entry of the author's own day. `minutes` and
    `time_minutes` are other names of it.
    """

    time_spent_minutes: Minutes | UnsetType | None = UNSET
    minutes: Minutes | UnsetType | None = UNSET
    time_minutes: Minutes | UnsetType | None = UNSET


class WriteComment(TimeOfComment, kw_only=True):
    """A comment, as Markdown. It may be blank beside the time that was spent, or files."""

    body: CommentBody
    attachment_ids: AttachmentIds = msgspec.field(default_factory=list)


class EditComment(TimeOfComment, kw_only=True):
    """Another text or time for one's own comment; what is not sent stays."""

    body: CommentBody | UnsetType = UNSET
    version: Version | None = None


class Comment(Shape):
    """What somebody wrote on a card."""

    id: int
    card_id: int
    user_id: int
    user: UserRef
    body: str
    is_edited: bool
    time_spent_minutes: int
    time_entry_id: int | None
    attachments: list[Attachment]
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class CommentDeleted(Shape):
    comment_id: int
    card_id: int
