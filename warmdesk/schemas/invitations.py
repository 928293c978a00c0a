"""Invitations: links by which somebody comes into a project, or into the installation."""

from __future__ import annotations

from typing import Literal

from warmdesk.schemas import Body, Shape, Timestamp
from warmdesk.schemas.members import RoleWord
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.projects import Project
from warmdesk.schemas.users import Email, GlobalRoleName, UserRef


class ListInvitations(PageQuery):
    """Which invitations: all that are open."""


class NewInvitation(Body):
    """As what somebody is invited to a project, and to which address the link is sent."""

    email: Email | None = None
    role: RoleWord = "member"


class NewServerInvitation(Body):
    """As what somebody is invited to the installation, and to which address the link is sent."""

    email: Email | None = None
    global_role: GlobalRoleName = "user"


class Invitation(Shape):
    """An open invitation. `mail` says what became of the last mail with its link: it waits, was
    taken by the mail server, or was refused for good; null when none was to be sent. `mail_reason`
    says why it was refused, as that of a test mail; null where it was not, or nobody knows.
    """

    id: int
    email: str | None
    role: str
    expires_at: Timestamp
    created_at: Timestamp
    inviter: UserRef
    mail: Literal["waiting", "sent", "failed"] | None
    mail_reason: str | None
    mailed_at: Timestamp | None


class Invited(Shape):
    """A new invitation. Its link is told here, and never again. `mail` is null when no mail goes:
    give the link to whom you invite.
    """

    id: int
    email: str | None
    role: str
    mail: Literal["waiting"] | None
    url: str
    expires_at: Timestamp


class InvitingProject(Shape):
    """The project that somebody is invited to."""

    name: str


class Inviter(Shape):
    """Who invites."""

    display_name: str


class Offer(Shape):
    """What an invitation offers, to whoever has its link."""

    kind: Literal["project", "server"]
    project: InvitingProject | None
    role: str
    inviter: Inviter
    email: str | None
    expires_at: Timestamp


class Accepted(Shape):
    """The project that the invitation led to; null for one to the installation."""

    project: Project | None
