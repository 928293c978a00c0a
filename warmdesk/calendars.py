"""Cards as a calendar (RFC 5545): each is an event of the whole day that it is due.

The library escapes, folds and types what stands in it. It takes a third of a millisecond for an
event, so others have their turn between.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

from warmdesk.paths import card_page

TURN = 10
"""Events that are written in one go."""
REFRESH = timedelta(hours=1)
"""How often programs are asked to look again."""
FORM = "3"
"""Another one where the same cards are written in another way."""


NOTHING = (
    b"BEGIN:VTIMEZONE\r\nTZID:UTC\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
    b"TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)
"""A calendar has a part (RFC 5545, 3.6), also where nothing is due: a time zone shows nothing."""


def digest_of(rows: Sequence[Any], name: str, url: str) -> str:
    """What a calendar of these cards is known by."""
    shown = repr((FORM, name, url, [tuple(row) for row in rows]))
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:32]


async def calendar(rows: Sequence[Any], *, name: str, url: str, host: str) -> bytes:
    """A calendar that is called so, of cards as `sql.calendars.cards` gives them; `url` is where
    the web application shows them, and `host` makes their ids unique in the world.
    """
    from icalendar import Calendar  # 8 MB and a tenth of a second, for who has a calendar at all

    made = Calendar()
    made.add("prodid", "-//WarmDesk//Due dates//EN")
    made.add("version", "2.0")
    made.add("calscale", "GREGORIAN")
    made.add("name", _text(name))
    made.add("x-wr-calname", _text(name))
    made.add("refresh-interval", REFRESH, {"value": "DURATION"})
    made.add("x-published-ttl", REFRESH)
    head, end, _ = made.to_ical().rpartition(b"END:VCALENDAR")
    parts = [head]
    for number, row in enumerate(rows, start=1):
        parts.append(_event(row, url, host))
        if not number % TURN:
            await asyncio.sleep(0)
    if not rows:
        parts.append(NOTHING)
    return b"".join((*parts, end, b"\r\n"))


def _event(row: Any, url: str, host: str) -> bytes:
    from icalendar import Event

    moment = row["updated_at"].astimezone(UTC).replace(microsecond=0)
    event = Event()
    event.add("uid", f"card-{row['id']}@{host}")
    event.add("sequence", row["version"])
    event.add("dtstamp", moment)
    event.add("last-modified", moment)
    # Without an end it is of one day.
    event.add("dtstart", row["due_date"])
    event.add("summary", _text(row["title"]))
    event.add("description", _text(f"{row['key']} · {row['project']}"))
    event.add("url", url + card_page(row["slug"], row["key"]))
    event.add("transp", "TRANSPARENT")  # one is not away because something is due
    return bytes(event.to_ical())


def _text(text: str) -> Any:
    """A text that nothing of is read as something else."""
    return _text_type()(plain(text))


@functools.cache
def _text_type() -> Any:
    from icalendar import vText

    class Text(vText):
        def to_ical(self) -> bytes:
            """The library's own makes a new line of ``\\N``, where "C:\\New" is a name."""
            return re.sub(r"[\\;,]", r"\\\g<0>", self).encode()

    return Text


def plain(text: str) -> str:
    """The text without what a line of a calendar may not hold: control characters, and what breaks
    lines elsewhere.
    """
    kinds = ("Cc", "Zl", "Zp")
    return "".join(" " if unicodedata.category(each) in kinds else each for each in text)
