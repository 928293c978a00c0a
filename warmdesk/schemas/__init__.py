"""Bodies that come in and answers that go out: one file per resource. A `msgspec.Struct` is type,
validation and schema.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_ID = 2**53 - 1

Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
Index = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Position = Annotated[float, Meta(ge=-1e15, le=1e15)]
Timestamp = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC",
        examples=["2026-04-04T10:00:00.000000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Day = Annotated[
    str,
    Meta(description="YYYY-MM-DD", examples=["2026-04-04"], extra_json_schema={"format": "date"}),
]
# `$(?!\n)` is the end of the text in Python and in the JavaScript that reads the document.
# Python's `$` alone also stands before a last line feed.
A_COLOR = {"otherwise": "must be a color like #6366f1"}
"""What people are told of a text that does not match: see warmdesk/validation.py."""
Color = Annotated[
    str, Meta(pattern=r"^#[0-9a-fA-F]{6}$(?!\n)", examples=["#6366f1"], extra=A_COLOR)
]


class Body(msgspec.Struct, kw_only=True):
    """What a client sends. Unknown keys are ignored; a key that is absent changes nothing."""


class Shape(msgspec.Struct, kw_only=True):
    """What the server sends. Made in SQL; declared here so that the document and the tests know
    it.
    """
