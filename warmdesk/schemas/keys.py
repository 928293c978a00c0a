"""API keys: what programs sign in with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from warmdesk.schemas import Body, Shape, Timestamp
from warmdesk.schemas.pages import PageQuery

KEY_NAME = 100
MOST_DAYS = 3650

KeyName = Annotated[str, Meta(min_length=1, max_length=KEY_NAME, pattern=r"\S", examples=["CI"])]
Days = Annotated[int, Meta(ge=1, le=MOST_DAYS)]
Grants = Literal["read", "write", "tickets", "metrics", "backup"]
ProjectGrants = Literal["read", "write", "tickets"]


class ListKeys(PageQuery):
    """Which keys: all that were not revoked."""


class NewKey(Body, forbid_unknown_fields=True):
    """A key. Without `scopes` it may do all that its owner may; without a number of days it does
    not expire.
    """

    name: KeyName
    expires_in_days: Days | None = None
    scopes: (
        Annotated[list[Grants], Meta(min_length=1, max_length=50, examples=[["tickets"]])] | None
    ) = None


class NewProjectKey(Body, forbid_unknown_fields=True):
    """A key that is good in one project alone."""

    name: KeyName
    expires_in_days: Days | None = None
    scopes: (
        Annotated[list[ProjectGrants], Meta(min_length=1, max_length=50, examples=[["tickets"]])]
        | None
    ) = None


class ApiKey(Shape):
    """A key, without the key itself. `user_id` is its owner, whose rights it has; `scopes` are null
    where it may do all that the owner may.
    """

    id: int
    name: str
    key_prefix: Annotated[str, Meta(description="how the key begins", examples=["wd_3f9c0a1b2"])]
    user_id: int
    project_id: Annotated[int | None, Meta(description="the only project it is good in")]
    scopes: list[Grants] | None
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Annotated[
        Timestamp | None, Meta(description="to the minute; null until it is used")
    ]


class MadeKey(ApiKey):
    """A new key. `key` is shown here and never again."""

    key: Annotated[str, Meta(examples=["wd_3f9c0a1b2c4d5e6f708192a3b4c5d6e7f80912a3b4c5d6e7"])]
