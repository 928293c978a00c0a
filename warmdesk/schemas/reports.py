"""Reports of time, and time sheets."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from warmdesk.schemas import Body, Day, Id, Shape, Timestamp
from warmdesk.schemas.cards import FIRST_YEAR, LAST_YEAR, DayIn
from warmdesk.schemas.time_entries import EntryCard, EntryProject, Slug, TimeEntry
from warmdesk.schemas.users import UserRef

Period = Literal["all", "year", "month", "week", "day", "custom"]
GroupBy = Literal["project", "user", "card", "day", "week", "month"]
Format = Literal["json", "csv", "xlsx", "pdf"]
SheetFormat = Literal["json", "csv"]
Year = Annotated[int, Meta(ge=FIRST_YEAR, le=LAST_YEAR, examples=[2026])]
Month = Annotated[int, Meta(ge=1, le=12, examples=[4])]
Week = Annotated[int, Meta(ge=1, le=53, description="ISO 8601", examples=[17])]
Ids = Annotated[
    str,
    Meta(
        max_length=1600,
        pattern=r"^[1-9][0-9]{0,14}(,[1-9][0-9]{0,14}){0,99}$(?!\n)",
        description="Ids of users, with commas between",
        examples=["2,3"],
        extra={"otherwise": "must be ids of users, with commas between, a hundred at most"},
    ),
]
IsoWeek = Annotated[
    str,
    Meta(
        pattern=r"^(?:[0-9]{4}-?[Ww])?(?:0?[1-9]|[1-4][0-9]|5[0-3])$(?!\n)",
        description="A week, 2026-W17; or its number, beside `year`",
        examples=["2026-W17"],
        extra={"otherwise": "must be a week like 2026-W17"},
    ),
]


class ReportQuery(Body):
    """Which time, and how it is told.

    period      the days: `all`; a `year`, `month`, `week` (ISO 8601) or `day` (`date`), today's
                unless they are named; from `from` to `to`, both included (`custom`)
                A week of a report begins on a Monday for everybody, also where that of the reader
                and of time sheets begins on a Sunday: two people who ask for week 44 see one week.
    project     the slug of one, or `all`
    user_id     whose time; `assignees` is another name
    group_by    what `groups` are
    format      the report itself, each entry as CSV, a workbook, or a document to print
    """

    period: Period | None = None
    year: Year | None = None
    month: Month | None = None
    week: Week | None = None
    date: DayIn | None = None
    since: DayIn | None = msgspec.field(default=None, name="from")
    until: DayIn | None = msgspec.field(default=None, name="to")
    start_date: DayIn | None = None
    end_date: DayIn | None = None
    project: Slug | None = None
    user_id: Ids | None = None
    assignees: Ids | None = None
    group_by: GroupBy = "project"
    format: Format = "json"


class ReportCard(Shape):
    """A card, with the minutes that were logged on it in the report's days by its people. A title
    is there for who sees the project.
    """

    card_id: int
    card_number: int
    card_ref: str
    title: str
    closed: bool
    deleted: bool
    assignees: list[str]
    time_spent_minutes: int
    updated_at: Timestamp
    due_date: Day | None


class ReportProject(Shape):
    """The time of a project: of its cards, and what is on none. `null` is the time of none."""

    project_id: int | None
    project_name: str | None
    slug: str | None
    key_prefix: str | None
    cards: list[ReportCard]
    other_minutes: int
    total_minutes: int


class ReportUser(Shape):
    """The time of a person."""

    user: UserRef
    total_minutes: int
    entries_count: int


class ReportGroup(Shape):
    """A part of the time, by `group_by`: the id of what it is about, `""` for none, or the days,
    as `2026-04-04`, `2026-W14` or `2026-04`.
    """

    key: str
    label: str
    total_minutes: int
    entries_count: int


class TimeReport(Shape):
    """The time that was logged. `from` and `to` are its first and last day, if it has them."""

    generated_at: Timestamp
    period: Period
    period_label: str
    since: Day | None = msgspec.field(name="from")
    until: Day | None = msgspec.field(name="to")
    group_by: GroupBy
    company_name: str | None
    company_logo: str | None
    projects: list[ReportProject]
    users: list[ReportUser]
    groups: list[ReportGroup]
    total_minutes: int


class SheetQuery(Body):
    """Which week: `week`, or the one with the day `date`; the present one unless it is said.

    It begins on your `week_start`. One that begins on a Sunday has the number of the Monday after
    it, so it is a day earlier than the ISO week of that number, which `/reports/time` shows.
    """

    week: IsoWeek | None = None
    year: Year | None = None
    date: DayIn | None = None
    user_id: Id | None = None
    format: SheetFormat = "json"


class SheetRow(Shape):
    """A card's time in the week, or that of a project or of none with the same description."""

    project: EntryProject | None
    card: EntryCard | None
    description: str
    minutes: list[int]
    total_minutes: int
    entry_ids: list[list[int]]


class TimeSheet(Shape):
    """A person's week. It has the number of ISO 8601 when it begins on a Monday."""

    user: UserRef
    iso_year: int | None
    iso_week: int | None
    start: Day
    end: Day
    days: list[Day]
    rows: list[SheetRow]
    day_totals: list[int]
    total_minutes: int
    entries: list[TimeEntry]
