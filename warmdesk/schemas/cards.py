"""Cards: what clients may write of them, and how they look."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.errors import field_error
from warmdesk.schemas import Body, Day, Id, Index, Position, Shape, Timestamp, Version
from warmdesk.schemas.attachments import Attachment
from warmdesk.schemas.checklist import ChecklistItem
from warmdesk.schemas.comments import Comment
from warmdesk.schemas.labels import Label
from warmdesk.schemas.links import CardLink
from warmdesk.schemas.pages import NotNegative, PageQuery
from warmdesk.schemas.users import UserRef

MAX_ASSIGNEES = 100
MAX_LABELS = 500
MAX_TAGS = 100
MAX_TAG = 100
MAX_MINUTES = 10_000_000
MAX_AT_ONCE = 500

Priority = Literal["none", "low", "medium", "high", "critical"]
Title = Annotated[
    str, Meta(min_length=1, max_length=500, pattern=r"\S", examples=["Fix the front door"])
]
Description = Annotated[str, Meta(max_length=100_000)]
DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
TIME = (
    r"[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
NO_DATE = "must be a date, YYYY-MM-DD"
FIRST_YEAR, LAST_YEAR = 1970, 9998
"""The years of a date: before and after them there is none to plan for, programs send the zero of
their language by mistake, and Python and PostgreSQL disagree about the ends of the calendar.
"""
DayIn = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=rf"^(?:{DATE}(?:{TIME})?)?$(?!\n)",
        extra={"otherwise": NO_DATE},
        description=(
            f"YYYY-MM-DD, or RFC 3339 of which the date is kept; from {FIRST_YEAR} to {LAST_YEAR}"
        ),
        examples=["2026-04-04"],
    ),
]
AssigneeIds = Annotated[list[Id], Meta(max_length=MAX_ASSIGNEES)]
LabelIds = Annotated[list[Id], Meta(max_length=MAX_LABELS)]
TagName = Annotated[str, Meta(max_length=MAX_TAG + 10)]
TagNames = Annotated[list[TagName], Meta(max_length=MAX_TAGS)]
AssigneeText = Annotated[
    str,
    Meta(
        pattern=r"^(me|[0-9]{1,15})$(?!\n)",
        description="A user's id, or `me`",
        examples=["me"],
        extra={"otherwise": "must be a user's id, or me"},
    ),
]
LabelText = Annotated[str, Meta(min_length=1, max_length=100, description="A label's id or name")]
Words = Annotated[str, Meta(max_length=500, description="Text of title or description, or a key")]
Minutes = Annotated[int, Meta(ge=0, le=MAX_MINUTES)]

DAY = re.compile(rf"({DATE})(?:{TIME})?")


def day(text: str, field: str) -> date:
    """The date of ``YYYY-MM-DD`` or of an RFC 3339 time, as written there; 400 otherwise, and for
    one of a year that no date here has.
    """
    found = DAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        one = date.fromisoformat(found[1])
    except ValueError as error:
        raise field_error(field, "bad_format", NO_DATE) from error
    if not FIRST_YEAR <= one.year <= LAST_YEAR:
        text = f"must be of a year from {FIRST_YEAR} to {LAST_YEAR}"
        raise field_error(field, "out_of_range", text)
    return one


def tag_names(names: list[str], field: str = "tags") -> list[str]:
    """Tags as they are kept: without ``#``, trimmed, lower case, each once; else 400."""
    tags: dict[str, None] = {}
    for name in names:
        word = name.strip().lstrip("#").strip().lower()
        if not 1 <= len(word) <= MAX_TAG:
            code = "too_long" if word else "blank"
            limits = {field: {"min": 1, "max": MAX_TAG}}
            raise field_error(field, code, f"a tag has 1 to {MAX_TAG} characters", limits=limits)
        tags[word] = None
    return list(tags)


class CardPlacement(Body, kw_only=True):
    """Where among the column's other cards; at most one of the four. None of them: the end."""

    position: Position | None = None
    index: Index | None = None
    before_card_id: Id | None = None
    after_card_id: Id | None = None


class CardFields(Body, kw_only=True):
    """What members write on a card. `null` or "" clears."""

    description: Description | UnsetType | None = UNSET
    priority: Priority | Literal[""] | UnsetType | None = UNSET
    start_date: DayIn | UnsetType | None = UNSET
    due_date: DayIn | UnsetType | None = UNSET
    assignee_id: Id | UnsetType | None = UNSET
    assignee_ids: AssigneeIds | UnsetType | None = UNSET
    label_ids: LabelIds | UnsetType | None = UNSET
    tags: TagNames | UnsetType | None = UNSET


class CreateCard(CardFields, kw_only=True):
    """A new card; at the end of its column unless a place is given, as in a move."""

    title: Title
    position: Position | None = None
    index: Index | None = None
    before_card_id: Id | None = None
    after_card_id: Id | None = None


class Was(Body):
    """What the client saw in a field that it changes."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class UpdateCard(CardFields, kw_only=True):
    """Only the keys that are sent are changed. `column_id` moves the card to that column's end.

    A list is sent whole, or what is added to it and removed from it, which leaves alone what others
    change meanwhile. With `was` the change is refused if one of those fields is something else.
    """

    title: Title | UnsetType = UNSET
    add_assignee_ids: AssigneeIds | UnsetType = UNSET
    remove_assignee_ids: AssigneeIds | UnsetType = UNSET
    add_label_ids: LabelIds | UnsetType = UNSET
    remove_label_ids: LabelIds | UnsetType = UNSET
    add_tags: TagNames | UnsetType = UNSET
    remove_tags: TagNames | UnsetType = UNSET
    was: Was | UnsetType = UNSET
    closed: bool | UnsetType = UNSET
    time_spent_minutes: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MAX_MINUTES,
                description="What the card's sum is to be: it is put right by the difference, which"
                " is nobody's time and in no report. What is logged later is added to it.",
            ),
        ]
        | UnsetType
    ) = UNSET
    column_id: Id | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class MoveCard(CardPlacement, kw_only=True):
    """Where a card should go: to a column's end, to a place in it, or beside another card."""

    column_id: Id
    version: Version | UnsetType = UNSET


class ReorderCard(CardPlacement, kw_only=True):
    """Another place in the same column: exactly one of the four."""

    version: Version | UnsetType = UNSET


class TransferCard(Body):
    """To which column of which project a card goes, or a copy of it."""

    target_project_slug: Annotated[
        str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["my-project"])
    ]
    column_id: Id
    action: Literal["copy", "move"]


class BulkChange(Body):
    """What to change of each card. `column_id` moves them to that column's end, and goes together
    with nothing else.
    """

    column_id: Id | UnsetType = UNSET
    closed: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    assignee_ids: AssigneeIds | UnsetType = UNSET
    add_label_ids: LabelIds | UnsetType = UNSET
    remove_label_ids: LabelIds | UnsetType = UNSET


class UpdateCards(Body):
    """The same change for many cards."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_AT_ONCE)]
    change: BulkChange


class Assignee(Body):
    """The only one that the card is assigned to; `null` is nobody."""

    user_id: Id | None


class NewTag(Body):
    """A tag for a card. Tags are kept without `#`, trimmed and in lower case."""

    name: Annotated[TagName, Meta(min_length=1, pattern=r"\S", examples=["urgent"])]


Form = Annotated[
    Literal["brief"], Meta(description="Cards with ids alone, and without what is nothing")
]


class CardsQuery(PageQuery):
    """Which cards of a column."""

    cursor_type: ClassVar[Any] = tuple[float, Id, Version]
    """The last card's position, id and version."""
    include_closed: bool = True
    include_archived: bool = False
    cards: Form | None = None
    after_card_id: (
        Annotated[Id, Meta(description="A card of the column, behind which it begins")] | None
    ) = None


class CardFilter(PageQuery):
    """Which cards of a project, and in which order: without `sort` the oldest first; `updated` the
    last changed first, `created` the newest first, `position` as the board shows them.
    """

    cursor_type: ClassVar[Any] = tuple[float, NotNegative, float, NotNegative]
    """What the order goes by, and behind it the id of a card, whether it is on the page or not: as
    far as the search looked."""
    column_id: Id | None = None
    assignee: AssigneeText | None = None
    label: LabelText | None = None
    q: Words | None = None
    closed: bool | None = None
    due_before: DayIn | None = None
    sort: Literal["updated", "created", "position"] | None = None
    include_archived: bool | None = None
    """Unless it is said, a search finds archived cards, and a list does not show them."""
    archived: bool | None = None
    """Only archived cards, or none of them, whatever else is said."""


class DeletedQuery(PageQuery):
    """Which deleted cards: all."""

    cursor_type: ClassVar[Any] = tuple[NotNegative, Id]
    """Microseconds since 1970, and the id."""


class HistoryQuery(PageQuery):
    """Which part of a card's history: what is older than `before` and newer than `after`."""

    before: Id | None = None
    after: Id | None = None


class ActivityQuery(PageQuery):
    """Which part of a project's history: all."""


class ShowCard(Body):
    """The query of a card: which parts to include, separated by commas."""

    include: Annotated[str, Meta(examples=["comments,checklist"], max_length=100)] | UnsetType = (
        UNSET
    )


class CardRef(Shape):
    """Which card, for who reads something about it."""

    id: int
    key: str
    title: str


class Tag(Shape):
    id: int
    card_id: int
    name: str


class CardSummary(Shape):
    """A card as boards, lists and events show it."""

    id: int
    key: str
    card_number: int
    project_id: int
    column_id: int
    column_name: str
    title: str
    description: str
    has_description: bool
    position: float
    priority: Priority
    start_date: Day | None
    due_date: Day | None
    closed: bool
    closed_at: Timestamp | None
    archived_at: Timestamp | None
    assignee_id: int | None
    assignees: list[UserRef]
    labels: list[Label]
    tags: list[Tag]
    time_spent_minutes: int
    comment_count: int
    checklist_total: int
    checklist_done: int
    attachment_count: int
    created_by_id: int | None
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class BoardCard(CardSummary, kw_only=True):
    """A card as a board shows it.

    With `description_cut`, which only a board near 8 MiB and a search have, `description` is the
    first 1,000 characters of a longer one; the card itself and the lists show it all.
    """

    description_cut: bool | UnsetType = UNSET


class CardBrief(Shape, kw_only=True):
    """A card in a brief list: people, labels and tags by their ids or names, and no key whose value
    would be null, 0, false, "" or "none".
    """

    id: int
    card_number: int
    column_id: int
    title: str
    position: float
    priority: Literal["low", "medium", "high", "critical"] | UnsetType = UNSET
    due_date: Day | UnsetType = UNSET
    closed: bool | UnsetType = UNSET
    assignee_ids: list[int]
    label_ids: list[int]
    tags: list[str]
    has_description: bool | UnsetType = UNSET
    time_spent_minutes: int | UnsetType = UNSET
    comment_count: int | UnsetType = UNSET
    checklist_total: int | UnsetType = UNSET
    checklist_done: int | UnsetType = UNSET
    attachment_count: int | UnsetType = UNSET
    version: int


class CardDetail(CardSummary, kw_only=True):
    """A card with what hangs on it: its newest fifty comments, oldest first, and its newest hundred
    files and links; `watching` is the reader's own.
    """

    created_by: UserRef | None
    watchers: list[UserRef]
    comments: list[Comment]
    comments_more: bool
    checklist: list[ChecklistItem]
    attachments: list[Attachment]
    attachments_more: bool
    links: list[CardLink]
    links_more: bool
    watching: bool


class Cards(Shape):
    """Cards in board order."""

    cards: list[CardSummary]


class CardBegun(CardSummary, kw_only=True):
    """A card that comes. With `description_cut`, `description` is the first 2,000 characters of a
    longer one.
    """

    description_cut: bool | UnsetType = UNSET


class CardTold(CardSummary, kw_only=True):
    """A card as events show it that change it: `description` is there only if that changed."""

    description: str | UnsetType = UNSET  # type: ignore[assignment]


class CardUpdated(CardTold, kw_only=True):
    """A card and the names of its keys that were changed."""

    changes: list[str]


class CardMoved(Shape):
    """Where a card was and where it is; its position after the columns were spaced anew."""

    card_id: int
    key: str
    from_column_id: int
    to_column_id: int
    position: float
    version: int
    card: CardTold


class CardDeleted(Shape):
    """Which card is no longer here; `moved_to_key`, if it went to another project."""

    card_id: int
    column_id: int
    key: str
    moved_to_key: str | UnsetType = UNSET


class CardPosition(Shape):
    id: int
    position: float


class CardsReordered(Shape):
    """All cards of a column, in order, with their new positions."""

    column_id: int
    cards: list[CardPosition]


class History(Shape):
    """A fact about a card. `user` is null for what a webhook did."""

    id: int
    card_id: int
    user: UserRef | None
    event_type: str
    field: str | None
    from_value: str | None
    to_value: str | None
    detail: str
    from_column_id: int | None
    to_column_id: int | None
    from_column: str | None
    to_column: str | None
    created_at: Timestamp


class Activity(History, kw_only=True):
    """A fact about a card, and which card: its key and title are today's."""

    card: CardRef


class ShownCard(CardDetail, kw_only=True):
    """A card with those parts that were asked for; of its history the newest fifty facts."""

    comments: list[Comment] | UnsetType = UNSET  # type: ignore[assignment]
    comments_more: bool | UnsetType = UNSET  # type: ignore[assignment]
    checklist: list[ChecklistItem] | UnsetType = UNSET  # type: ignore[assignment]
    attachments: list[Attachment] | UnsetType = UNSET  # type: ignore[assignment]
    attachments_more: bool | UnsetType = UNSET  # type: ignore[assignment]
    links: list[CardLink] | UnsetType = UNSET  # type: ignore[assignment]
    links_more: bool | UnsetType = UNSET  # type: ignore[assignment]
    history: list[History] | UnsetType = UNSET
    history_more: bool | UnsetType = UNSET
