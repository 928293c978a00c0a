"""Members: the people of a project."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import UserRef

RoleWord = Literal["viewer", "member", "admin", "owner"]
Who = Annotated[str, Meta(min_length=1, max_length=255)]


class Member(Shape):
    """A user in a project."""

    id: Id
    project_id: Id
    user_id: Id
    role: RoleWord
    invited_by: Id | None
    created_at: Timestamp
    user: UserRef


class ListedMember(Member):
    """A member in the list of members; project admins and owners see the e-mail too. Who is not
    active, deactivated or deleted, stays a member, and nothing can be assigned to them.
    """

    is_active: bool
    email: str | UnsetType = UNSET


class MemberRemoved(Shape):
    user_id: Id


class Guest(Shape):
    """A user whom a project shows without their being a member: who left, an administrator."""

    user_id: Id
    user: UserRef


class ListMembers(PageQuery):
    """Which members: all, or those with `q` in their name."""

    q: Annotated[str, Meta(max_length=100)] = ""


class NewMember(Body):
    """Whom to add, by one of four names, and as what."""

    user_id: Id | None = None
    username: Who | None = None
    email: Who | None = None
    login: Who | None = None
    role: RoleWord = "member"


class NewRole(Body):
    """The role a member should have."""

    role: RoleWord
