"""Users: as everybody sees them, as they see themselves, as an administrator keeps them."""

from __future__ import annotations

import re
import zoneinfo
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.config import Locale
from warmdesk.schemas import Body, Id, Shape, Timestamp
from warmdesk.schemas.notify import Notify, UpdateNotify
from warmdesk.schemas.pages import PageQuery

PRINTABLE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
ONE_LINE = {"otherwise": "must be one line, without control characters"}

LONGEST_EMAIL = 255
Email = Annotated[
    str,
    Meta(
        max_length=LONGEST_EMAIL,
        pattern=r'^[^@\s\x00-\x1f\x7f<>,;:"()\[\]\\]+@[^@\s\x00-\x1f\x7f<>,;:"()\[\]\\]+$(?!\n)',
        examples=["alice@example.com"],
        extra={"otherwise": "is no e-mail address"},
    ),
]
LONGEST_USERNAME = 50
Username = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=LONGEST_USERNAME,
        pattern=r"^[A-Za-z0-9._-]+$(?!\n)",
        examples=["alice"],
        extra={"otherwise": "may only have the letters a to z, digits, dots, hyphens, underscores"},
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=128,
        description="8 to 128 characters, compared whole",
        examples=["correct horse battery"],
    ),
]
Name = Annotated[str, Meta(max_length=100, pattern=PRINTABLE, examples=["Alice"], extra=ONE_LINE)]
DisplayName = Annotated[
    str, Meta(max_length=150, pattern=PRINTABLE, examples=["Alice Liddell"], extra=ONE_LINE)
]
AvatarUrl = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^(https?://[^\s\x00-\x1f\x7f/\\][^\s\x00-\x1f\x7f\\]*|/([^\s\x00-\x1f\x7f/\\][^\s\x00-\x1f\x7f\\]*)?)?$(?!\n)",
        description="A path of this server, as `POST /users/me/avatar` gives it: it leads from the"
        " origin, beside `/api`. Foreign addresses only where the server allows them.",
        examples=["/alice.png"],
        extra={"otherwise": "must begin with https:// or http://, or be a path of this server"},
    ),
]
Theme = Literal["light", "dark", "system"]
SidebarPosition = Literal["left", "right"]
AccentColor = Literal["blue", "red", "green", "orange"]
WeekStart = Literal["monday", "sunday"]
TimeNotation = Literal["decimal", "hhmm"]
GlobalRoleName = Literal["admin", "user", "viewer", "metrics", "backup"]
DateTimeFormat = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=50,
        pattern=PRINTABLE,
        description="How clients write a moment; the server keeps it and does not read it",
        examples=["YYYY-MM-DD HH:mm"],
        extra=ONE_LINE,
    ),
]
Timezone = Annotated[
    str, Meta(min_length=1, max_length=64, description="IANA name", examples=["Europe/Amsterdam"])
]
Font = Annotated[
    str,
    Meta(min_length=1, max_length=50, pattern=PRINTABLE, examples=["system"], extra=ONE_LINE),
]
FontSize = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]?$(?!\n)",
        examples=["14"],
        extra={"otherwise": "must be a number from 1 to 99, as text"},
    ),
]

ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")


NO_ZONES = ("posix/", "right/", "localtime", "posixrules")
"""How what some hosts keep beside the zones begins: no other host knows it, nor does PostgreSQL."""


def is_timezone(name: str) -> bool:
    """Whether it is an IANA zone that this host knows."""
    if not ZONE.fullmatch(name) or name.startswith(NO_ZONES):
        return False
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


class UserRef(Shape):
    """A user wherever another one appears: nothing private."""

    id: int
    username: str
    display_name: str
    avatar_url: str | None


class FoundUser(UserRef):
    """A user in a picker. `online` is only told of those who share a project with the reader."""

    online: bool


class Me(UserRef):
    """An account as its owner sees it."""

    email: str
    first_name: str
    last_name: str
    gravatar_url: str | None
    global_role: GlobalRoleName
    locale: str
    theme: str
    date_time_format: str
    timezone: str
    font: str
    font_size: str
    sidebar_position: str
    accent_color: str
    week_start: str
    time_notation: str
    show_breadcrumbs: bool
    email_notifications: bool
    notify: Notify
    is_active: bool
    totp_enabled: bool
    must_change_password: bool
    can_view_reports: Annotated[
        bool,
        Meta(
            description="Whether reports show more than your own time, which they always do: you"
            " administer a project, or all"
        ),
    ]
    last_login_at: Timestamp | None
    settings_updated_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class Account(Me):
    """An account as an administrator sees it."""

    deleted_at: Timestamp | None


class UpdateMe(Body):
    """What a user may change of the own account. A name that is null or empty is cleared.

    Another address needs `current_password`, which is ignored otherwise.
    """

    email: Email | UnsetType = UNSET
    current_password: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    first_name: Name | UnsetType | None = UNSET
    last_name: Name | UnsetType | None = UNSET
    display_name: DisplayName | UnsetType | None = UNSET
    avatar_url: AvatarUrl | UnsetType | None = UNSET
    locale: Locale | UnsetType = UNSET
    theme: Theme | UnsetType = UNSET
    date_time_format: DateTimeFormat | UnsetType = UNSET
    timezone: Timezone | UnsetType = UNSET
    font: Font | UnsetType = UNSET
    font_size: FontSize | UnsetType = UNSET
    sidebar_position: SidebarPosition | UnsetType = UNSET
    accent_color: AccentColor | UnsetType = UNSET
    week_start: WeekStart | UnsetType = UNSET
    time_notation: TimeNotation | UnsetType = UNSET
    show_breadcrumbs: bool | UnsetType = UNSET
    email_notifications: bool | UnsetType = UNSET
    notify: UpdateNotify | UnsetType = UNSET


class UpdateUser(UpdateMe):
    """What an administrator may change of an account.

    Another address, and a password, of one's own needs `current_password`.
    """

    username: Username | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    global_role: GlobalRoleName | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    must_change_password: bool | UnsetType = UNSET


class CreateUser(Body):
    """A new account, made by an administrator."""

    email: Email
    username: Username
    password: Password
    first_name: Name | None = None
    last_name: Name | None = None
    display_name: DisplayName | None = None
    global_role: GlobalRoleName = "user"
    is_active: bool = True
    must_change_password: bool = False


class ListUsers(PageQuery):
    """Which accounts: `q` is part of a name or address; those older than `before`."""

    q: Annotated[str, Meta(max_length=100)] = ""
    role: GlobalRoleName | None = None
    active: bool | None = None
    include_deleted: bool = False
    before: Id | None = None


class SearchUsers(Body):
    """Whom a picker looks for: `q` is part of a user's name; nobody of the project `not_in`."""

    q: Annotated[str, Meta(max_length=100)] = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    not_in: (
        Annotated[str, Meta(max_length=100, description="The slug of a project that you see")]
        | None
    ) = None


class ListLogins(PageQuery):
    """Which lines: all."""


class LoginEvent(Shape):
    """A line of a login history; `actor` is who did it, where that was an administrator."""

    id: int
    created_at: Timestamp
    event: Annotated[
        str,
        Meta(
            description="A sign-in, its second factor and its end: `login_ok`, `login_failed`,"
            " `mfa_challenge`, `mfa_ok`, `mfa_failed`, `logout`, `refresh_reused` (a refresh token"
            " came twice, the session was ended). What changed: `password_changed`,"
            " `password_reset`, `email_changed`, `mfa_enabled`, `mfa_disabled`, `api_key_created`,"
            " `api_key_deleted`. What an administrator did: `admin_user_created`,"
            " `admin_user_updated`, `admin_user_deleted`, `admin_user_restored`,"
            " `admin_mfa_disabled`. There may be more."
        ),
    ]
    ip: str
    user_agent: str
    actor: UserRef | None


class UserProject(Shape):
    """A project in which somebody is a member."""

    id: int
    slug: str
    name: str
    is_archived: bool
    role: Literal["viewer", "member", "admin", "owner"]


class SetProjects(Body):
    """In which projects somebody is to be a member: all of them."""

    project_ids: Annotated[list[Id], Meta(max_length=5000, examples=[[1, 2]])]


class ListFavorites(PageQuery):
    """Which favourites: all."""


class NameUsers(Body):
    """Whose names are wanted: up to 100 ids, separated by commas."""

    ids: Annotated[str, Meta(min_length=1, max_length=2000, examples=["1,2,3"])]


class ChangePassword(Body):
    """The present password and the next one."""

    current_password: Annotated[str, Meta(max_length=128)]
    new_password: Password


class Said(Shape):
    """A sentence for people."""

    message: str
