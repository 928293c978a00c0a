"""Calendars: due dates where people have their other dates."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from warmdesk.schemas import Body, Shape


class CalendarToken(Body):
    """Whose calendar it is."""

    token: Annotated[
        str,
        Meta(
            min_length=1, max_length=500, examples=["q3Vn0yJ8cQxk1bq9mYw2Zt5uLr7sD4eF6gH0iJ2kLmN"]
        ),
    ]


class Calendar(Shape):
    """The address of a calendar, which is as secret as a password: told once."""

    url: str
