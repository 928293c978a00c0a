"""Tickets: cards as programs write them, with names in place of ids."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Version
from warmdesk.schemas.cards import (
    MAX_ASSIGNEES,
    MAX_LABELS,
    CardFilter,
    CardSummary,
    DayIn,
    Description,
    Priority,
    TagNames,
    Title,
)
from warmdesk.schemas.comments import Comment
from warmdesk.schemas.pages import PageQuery

ColumnName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="A column's name, in any case; of two the left one",
        examples=["Done"],
    ),
]
Username = Annotated[str, Meta(min_length=1, max_length=50, pattern=r"\S", examples=["alice"])]
LabelName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["Bug"])]
Said = Annotated[str, Meta(min_length=1, max_length=20_000, pattern=r"\S")]


class NewTicket(Body):
    """A new card: in the column of this name or id, else in the first one. `null` or "" is what is
    left out.
    """

    title: Title
    description: Description | UnsetType | None = UNSET
    priority: Priority | Literal[""] | UnsetType | None = UNSET
    column_name: ColumnName | UnsetType | None = UNSET
    column_id: Id | UnsetType | None = UNSET
    start_date: DayIn | UnsetType | None = UNSET
    due_date: DayIn | UnsetType | None = UNSET
    assignees: Annotated[list[Username], Meta(max_length=MAX_ASSIGNEES)] | UnsetType | None = UNSET
    labels: Annotated[list[LabelName], Meta(max_length=MAX_LABELS)] | UnsetType | None = UNSET
    tags: TagNames | UnsetType | None = UNSET


class ChangeTicket(Body, forbid_unknown_fields=True):
    """What to change of a card; at least one thing. `column_name` moves it to that column's end.

    A field that is not known is refused, and nothing is done.
    """

    column_name: ColumnName | UnsetType = UNSET
    comment: Said | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    priority: Priority | Literal[""] | UnsetType | None = UNSET
    closed: bool | UnsetType = UNSET
    start_date: DayIn | UnsetType | None = UNSET
    due_date: DayIn | UnsetType | None = UNSET
    version: Version | UnsetType = UNSET


class ListTickets(PageQuery):
    """Which cards: those of a column, or of all, the oldest first."""

    cursor_type: ClassVar[Any] = CardFilter.cursor_type
    column_name: ColumnName | None = None
    include_closed: bool = True


class WaitForTicket(Body):
    """What to wait for; both, if both are said."""

    column_name: ColumnName | None = None
    closed: Annotated[bool, Meta(description="that the card is closed, or open")] | None = None
    timeout: Annotated[int, Meta(ge=1, le=60, description="seconds to wait, 1 to 60")] = 30


class Waited(Shape):
    """Whether it came true in time, and the card as it is now."""

    reached: bool
    ticket: CardSummary


class FiledTicket(CardSummary):
    """A card, and the address of its page."""

    url: Annotated[str, Meta(examples=["https://desk.example.org/p/demo/c/DEMO-1"])]


class ChangedTicket(FiledTicket):
    """A card as it is now, and the comment that was written, if one was."""

    comment: Comment | None
