"""Notifications: what happened that concerns one person."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Timestamp
from warmdesk.schemas.cards import CardRef
from warmdesk.schemas.notify import Kind
from warmdesk.schemas.users import UserRef


class ListNotifications(Body):
    """Which notifications: all, or the unread ones; older than one."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    before: Id | None = None
    unread: Annotated[bool, Meta(description="Only what is unread")] = False


class NotifiedProject(Shape):
    """The project that it happened in."""

    slug: str
    name: str


class Notification(Shape):
    """What happened: the `kind` says it, and the rest about what.

    `title` is that of the card, topic, project or conversation; `body` the beginning of the text
    that it is about; `changes` the keys of the card that changed, where it is about a change; `url`
    where the web application shows it.
    """

    id: int
    kind: Kind
    title: str
    body: str
    changes: list[str] | None
    actor: UserRef | None
    project: NotifiedProject | None
    card: CardRef | None
    comment_id: int | None
    topic_id: int | None
    reply_id: int | None
    message_id: int | None
    conversation_id: int | None
    url: str
    created_at: Timestamp
    read_at: Timestamp | None


class Notifications(Shape):
    """A page of notifications, how many are unread of all, and the place of both in one's feed."""

    items: list[Notification]
    unread_count: int
    seq: int
    epoch: str


class NotificationRead(Shape):
    """One, by its `id`, or `all`; and how many are unread now."""

    unread_count: int
    id: int | UnsetType = UNSET
    all: bool | UnsetType = UNSET


class NotificationsDeleted(Shape):
    """Which, and how many are unread now."""

    ids: list[int]
    unread_count: int
