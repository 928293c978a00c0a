"""The start of a client."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from warmdesk.schemas import Shape
from warmdesk.schemas.projects import Project, ProjectDetail, ShowProject
from warmdesk.schemas.settings import PublicSettings
from warmdesk.schemas.users import Me

MOST_UNREAD = 100


class Starting(ShowProject):
    """Whose board is wanted too, and what of it, as GET /projects/{slug} takes it."""

    project: Annotated[str, Meta(max_length=100, examples=["demo"])] | None = None


class Bootstrap(Shape):
    """All that a client shows first."""

    user: Me
    settings: PublicSettings
    projects: list[Project]
    unread_notifications: int
    unread_conversations: Annotated[
        int, Meta(description="conversations in which others' messages are unread, up to 100")
    ]
    project: ProjectDetail | None
