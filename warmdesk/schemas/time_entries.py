"""Time entries: what people worked on, and for how long."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Day, Id, Shape, Timestamp
from warmdesk.schemas.cards import DayIn
from warmdesk.schemas.pages import PageQuery
from warmdesk.schemas.users import UserRef

MOST_MINUTES = 1440

Minutes = Annotated[int, Meta(ge=1, le=MOST_MINUTES, examples=[90])]
Hours = Annotated[
    float,
    Meta(
        ge=0.01,
        le=24,
        description="Instead of `minutes`; two decimals at most",
        examples=[1.5],
    ),
]
Slug = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["demo"])]
CardKey = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]{1,20}(-[0-9]{1,9})?$(?!\n)",
        description="A card's id or key",
        examples=["DEMO-1"],
        extra={"otherwise": "must be a card's id or key"},
    ),
]
A_TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)"
TimeOfDay = Annotated[
    str,
    Meta(
        pattern=A_TIME,
        description="HH:MM",
        examples=["09:30"],
        extra={"otherwise": "must be a time of day, HH:MM"},
    ),
]
Description = Annotated[str, Meta(max_length=1000, examples=["Oiled the hinges"])]


class LogTime(Body):
    """Time that was worked: `minutes`, or `hours`, or from `start_time` to `end_time`. With both,
    there are at most as many minutes as lie between: less, where there was a break.

    An entry is of one day, and ends by 23:59: what goes on past midnight is two entries. The day
    is today where you are, unless it is given; from 1970 on, and at most a year from now. A card
    says its project by itself. An administrator may log it for somebody else, `user_id`.
    """

    minutes: Minutes | UnsetType | None = UNSET
    hours: Hours | UnsetType | None = UNSET
    date: DayIn | UnsetType | None = UNSET
    project_id: Id | UnsetType | None = UNSET
    project: Slug | UnsetType | None = UNSET
    card_id: Id | CardKey | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    start_time: TimeOfDay | UnsetType | None = UNSET
    end_time: TimeOfDay | UnsetType | None = UNSET
    user_id: Id | UnsetType | None = UNSET


class EditTime(Body):
    """Only the keys that are sent are changed. `null` is no project, card, description or time of
    day. Without `minutes` they follow from `start_time` and `end_time`, if one of them is sent.
    Whose time it is, `user_id`, never changes.
    """

    minutes: Minutes | UnsetType = UNSET
    hours: Hours | UnsetType = UNSET
    date: DayIn | UnsetType = UNSET
    project_id: Id | UnsetType | None = UNSET
    project: Slug | UnsetType | None = UNSET
    card_id: Id | CardKey | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    start_time: TimeOfDay | UnsetType | None = UNSET
    end_time: TimeOfDay | UnsetType | None = UNSET
    user_id: Id | UnsetType = UNSET


class ListTime(PageQuery, kw_only=True):
    """Which entries: of these days, of a project (its slug), of a card; somebody else's for an
    administrator, and for the admins of that project.
    """

    cursor_type = tuple[date, Id]
    since: DayIn | None = msgspec.field(default=None, name="from")
    until: DayIn | None = msgspec.field(default=None, name="to")
    project: Slug | None = None
    card_id: CardKey | None = None
    user_id: Id | None = None


class EntryProject(Shape):
    """The project of a time entry. Its name is there for who sees the project; not in events."""

    id: int
    slug: str
    name: str | None
    key_prefix: str


class EntryCard(Shape):
    """The card of a time entry. Its title is there for who sees the project, and not in events."""

    id: int
    key: str
    title: str | None
    deleted: bool


class TimeEntry(Shape):
    """Time that somebody worked. `comment_id`: the comment that says so."""

    id: int
    user_id: int
    user: UserRef
    project_id: int | None
    project: EntryProject | None
    card_id: int | None
    card: EntryCard | None
    comment_id: int | None
    date: Day
    minutes: int
    description: str
    start_time: str | None
    end_time: str | None
    created_at: Timestamp
    updated_at: Timestamp


class TimeEntryDeleted(Shape):
    id: int
