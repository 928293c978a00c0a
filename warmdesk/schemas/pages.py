"""Pages: the query that every list takes which may be longer than one answer."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from warmdesk.schemas import MAX_ID, Body, Id

Limit = Annotated[int, Meta(ge=1, le=500, description="How many at most")]
"""A query's `limit` is brought into its bounds; only what is no number is refused."""
Cursor = Annotated[
    str,
    Meta(
        max_length=2000,
        description="Where to go on: it stands in the `Link` of the page before, and is good for"
        " this list with these filters",
        examples=["pCVwhFsyMDAwLDddCg"],
    ),
]
NotNegative = Annotated[int, Meta(ge=0, le=MAX_ID)]


class OldestFirst(Body):
    """A page, oldest first: the first, those after one, or those before one."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Id | None = None
    after: Id | None = None


class PageQuery(Body):
    """The query of a list in pages. `cursor_type`: the type of the values that the cursor
    carries, which say where the list goes on. See http/pages.py.
    """

    cursor_type: ClassVar[Any] = tuple[Id]
    limit: Limit = 100
    cursor: Cursor | None = None
