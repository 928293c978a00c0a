"""Signing in and out, sessions, tickets."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from warmdesk.config import Locale
from warmdesk.schemas import Body, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import DisplayName, Email, Me, Name, Password, Timezone, Username

LoginName = Annotated[
    str,
    Meta(max_length=255, description="a username or an e-mail address", examples=["alice"]),
]
GivenPassword = Annotated[str, Meta(max_length=128, examples=["correct horse battery"])]
RefreshToken = Annotated[str, Meta(max_length=2048)]
InCookie = Annotated[
    bool,
    Meta(
        description="for browsers: the refresh token comes as a cookie that no script can read,"
        " and not in the answer"
    ),
]


class Register(Body):
    """A new account."""

    email: Email
    username: Username
    password: Password
    display_name: DisplayName | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    locale: Locale | None = None
    timezone: Timezone | None = None
    invitation: (
        Annotated[str, Meta(max_length=100, description="the token of an invitation's link")] | None
    ) = None
    cookie: InCookie = False


class Login(Body):
    """Who signs in: a username or an e-mail address under any of three names, and the password."""

    username: LoginName | None = None
    login: LoginName | None = None
    email: LoginName | None = None
    password: GivenPassword | None = None
    cookie: InCookie = False


class Refresh(Body):
    """The refresh token; it is exchanged for the next one. A browser that has it in its cookie says
    `cookie`, and is answered 204 when it has none.
    """

    refresh_token: RefreshToken | None = None
    cookie: InCookie = False


class Logout(Body):
    """Which session ends: the refresh token's, else the access token's and the cookie's; `all`:
    every one.
    """

    refresh_token: str | None = None
    all: bool = False


class ForgotPassword(Body):
    """The address of the account."""

    email: Email


class ResetPassword(Body):
    """The token that was mailed, and the next password under either name."""

    token: Annotated[str, Meta(max_length=2048)]
    password: Password | None = None
    new_password: Password | None = None


class Tokens(Shape, kw_only=True):
    """A session's access token, the refresh token for the next one, and whose session it is."""

    access_token: str
    refresh_token: Annotated[str, Meta(description="absent where a cookie has it")] | UnsetType = (
        UNSET
    )
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(description="seconds")]
    refresh_expires_in: Annotated[int, Meta(description="seconds")]
    must_change_password: bool
    mfa_setup_required: Annotated[
        bool, Meta(description="a second factor is asked of everybody, and the account has none")
    ]
    user: Me


class SignedIn(Shape):
    """A session, as `Tokens` have it. Or, where the account has a second factor, `mfa_required` and
    the `mfa_token` for POST /auth/mfa/verify, and nothing else.
    """

    access_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    token_type: Literal["Bearer"] | UnsetType = UNSET
    expires_in: Annotated[int, Meta(description="seconds")] | UnsetType = UNSET
    refresh_expires_in: Annotated[int, Meta(description="seconds")] | UnsetType = UNSET
    must_change_password: bool | UnsetType = UNSET
    mfa_setup_required: bool | UnsetType = UNSET
    user: Me | UnsetType = UNSET
    mfa_required: bool | UnsetType = UNSET
    mfa_token: Annotated[str, Meta(description="good for five minutes")] | UnsetType = UNSET


class VerifyMfa(Body):
    """The token of a sign-in, and the code that the authenticator shows, or a recovery code."""

    mfa_token: Annotated[str, Meta(max_length=2048)]
    code: Annotated[str, Meta(min_length=1, max_length=64, examples=["123456"])]
    cookie: InCookie = False


class Registered(Tokens, kw_only=True):
    """A new account and its first session."""

    id: int


class Session(Shape):
    """A place where the user is signed in. `current`: the one that asks."""

    id: str
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    user_agent: str
    ip: str
    current: bool


class ListSessions(PageQuery):
    """Which sessions: those older than the session `before`."""

    cursor_type: ClassVar[Any] = tuple[UUID]
    before: UUID | None = None


class Ticket(Shape):
    """Opens one socket, once, within `expires_in` seconds: ``/api/v1/ws/…?ticket=``."""

    ticket: str
    expires_in: int
