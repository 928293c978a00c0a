"""Comments: what people write on a card."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from warmdesk.schemas import Body, Id, Shape, Timestamp, Version
from warmdesk.schemas.users import UserRef

CommentBody = Annotated[
    str, Meta(min_length=1, max_length=20_000, pattern=r"\S", examples=["The hinge is worn."])
]


class WriteComment(Body):
    """A comment, as Markdown."""

    body: CommentBody


class EditComment(WriteComment, kw_only=True):
    """Another text for one's own comment."""

    version: Version | None = None


class CommentsQuery(Body):
    """A page, oldest first: the oldest comments, those after one, or the newest before one."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Id | None = None
    after: Id | None = None


class Comment(Shape):
    """What somebody wrote on a card."""

    id: int
    card_id: int
    user_id: int
    user: UserRef
    body: str
    is_edited: bool
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class CommentDeleted(Shape):
    comment_id: int
    card_id: int
