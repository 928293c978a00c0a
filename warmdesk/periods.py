"""Periods of reports: the days that a query means, and what they are called."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

from warmdesk.errors import field_error
from warmdesk.schemas.cards import FIRST_YEAR, LAST_YEAR, day
from warmdesk.schemas.reports import Period as PeriodKind
from warmdesk.schemas.reports import ReportQuery, SheetQuery

MOST_DAYS = 3653
"""Ten years."""
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
A_DAY = timedelta(days=1)


class Period(NamedTuple):
    """Days from `since` to before `until`; None is without an end."""

    kind: str
    label: str
    since: date | None
    until: date | None

    @property
    def last(self) -> date | None:
        """The last day."""
        return None if self.until is None else self.until - A_DAY


def period_of(query: ReportQuery, today: date) -> Period:
    """The period that a query means, for somebody for whom it is `today`. 400 for one that there
    is not, or that is meant in two ways.
    """
    since = _one_of(query, "from", "start_date")
    until = _one_of(query, "to", "end_date")
    kind = query.period
    if kind in (None, "custom") and (since or until or kind == "custom"):
        return _custom(since, until)
    if since or until:
        raise field_error("period", "conflicting", "from and to are a period of their own")
    if kind is None:
        kind = _meant(query)
    if kind == "year":
        year = query.year or today.year
        return Period(kind, f"Year {year}", date(year, 1, 1), date(year + 1, 1, 1))
    if kind == "month":
        year, month = query.year or today.year, query.month or today.month
        first = date(year, month, 1)
        after = date(year + month // 12, month % 12 + 1, 1)
        return Period(kind, f"{MONTHS[month - 1]} {year}", first, after)
    if kind == "week":
        iso = today.isocalendar()
        week = query.week or iso.week
        year = query.year or iso.year
        monday = monday_of(year, week)
        return Period(kind, f"Week {week} / {year}", monday, monday + 7 * A_DAY)
    if kind == "day":
        one = day(query.date, "date") if query.date else today
        return Period(kind, str(one), one, one + A_DAY)
    return Period("all", "All Time", None, None)


def _meant(query: ReportQuery) -> PeriodKind:
    """The kind of period whose number is given."""
    if query.week:
        return "week"
    if query.month:
        return "month"
    if query.date:
        return "day"
    return "year" if query.year else "all"


def _one_of(query: ReportQuery, name: str, alias: str) -> date | None:
    """The day of a parameter that has two names."""
    value = query.since if name == "from" else query.until
    other = getattr(query, alias)
    if value and other and value != other:
        raise field_error(alias, "conflicting", f"is another name of {name}")
    text = value or other
    return day(text, name if value else alias) if text else None


def _custom(since: date | None, until: date | None) -> Period:
    if since is None and until is None:
        raise field_error("from", "required", "say the first day, the last one, or both")
    if since is not None and until is not None:
        if until < since:
            raise field_error("to", "out_of_range", "is before from")
        if (until - since).days > MOST_DAYS:
            raise field_error("to", "out_of_range", "is more than ten years after from")
    label = f"{since or ''} – {until or ''}".strip()
    return Period("custom", label, since, None if until is None else until + A_DAY)


def monday_of(year: int, week: int, field: str = "week") -> date:
    """The Monday of an ISO week; 400 when the year has no such one, or is none of a date."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise field_error(field, "out_of_range", f"is of no year from {FIRST_YEAR} to {LAST_YEAR}")
    try:
        return date.fromisocalendar(year, week, 1)
    except ValueError as error:
        raise field_error(field, "out_of_range", f"{year} has no week {week}") from error


def week_of(query: SheetQuery, today: date, week_start: str) -> date:
    """The first day of the week that a query means: the one with a day, or of the Monday that the
    number means. A week that begins on a Sunday has the number of the Monday after that.
    """
    if query.week is not None:
        if query.date is not None:
            raise field_error("date", "conflicting", "the week is said already")
        text = query.week.upper()
        said, _, number = text.rpartition("W")
        year = query.year
        if said:
            if year is not None and year != int(said.rstrip("-")):
                raise field_error("year", "conflicting", "the week is of another year")
            year = int(said.rstrip("-"))
        start = monday_of(today.isocalendar().year if year is None else year, int(number))
        back = 1 if week_start == "sunday" else 0
    elif query.year is not None:
        raise field_error("week", "required", "must be there beside year")
    else:
        start = day(query.date, "date") if query.date else today
        back = start.isoweekday() % 7 if week_start == "sunday" else start.weekday()
    return start - back * A_DAY
