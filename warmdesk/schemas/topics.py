"""Topics: what a project talks about at length, and the replies to it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Timestamp, Version
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import UserRef

Title = Annotated[
    str, Meta(min_length=1, max_length=500, pattern=r"\S", examples=["Which door first?"])
]
Text = Annotated[str, Meta(max_length=100_000, examples=["Both of them squeak."])]
ReplyText = Annotated[
    str, Meta(min_length=1, max_length=20_000, pattern=r"\S", examples=["The front door."])
]


class ListTopics(PageQuery):
    """Which topics: all."""

    cursor_type: ClassVar[Any] = tuple[bool, Id]
    """Whether the last topic is pinned, and its id."""


class NewTopic(Body):
    """A topic to talk about."""

    title: Title
    body: Text | None = None


class TopicChanges(Body):
    """What to change of a topic; `null` or "" clears its body."""

    title: Title | UnsetType = UNSET
    body: Text | UnsetType | None = UNSET
    is_pinned: bool | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class NewReply(Body):
    """What to say to a topic."""

    body: ReplyText


class ReplyChanges(Body):
    """Another text for a reply."""

    body: ReplyText
    version: Version | UnsetType = UNSET


class Topic(Shape):
    """A topic.

    `last_activity_at` is when it was made, or got its last reply; it stays when that is deleted.
    Neither that nor `reply_count` raises the version, and no event tells of them: they follow from
    those of the replies. `is_edited` is about title and body, not about the pin.
    """

    id: int
    project_id: int
    user_id: int
    user: UserRef
    title: str
    body: str
    is_pinned: bool
    is_edited: bool
    reply_count: int
    last_activity_at: Timestamp
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class ListedTopic(Topic, kw_only=True):
    """A topic as lists show it: with `body_cut`, `body` is the first 1,000 characters of a longer
    one.
    """

    body_cut: bool | UnsetType = UNSET


class Reply(Shape):
    """What somebody said to a topic."""

    id: int
    topic_id: int
    user_id: int
    user: UserRef
    body: str
    is_edited: bool
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class TopicDetail(Topic, kw_only=True):
    """A topic, with the same once more as `topic`, and its first replies, oldest first: a hundred,
    or fewer long ones. With `replies_more` the list of its replies goes on after the last of them.
    """

    topic: Topic
    replies: list[Reply]
    replies_more: bool


class TopicDeleted(Shape):
    id: int


class ReplyDeleted(Shape):
    id: int
    topic_id: int
