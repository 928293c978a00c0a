"""One's due dates as a calendar, at an address that any calendar program can read.

The address holds a secret of its own instead of a credential. It shows nothing but titles and dates
of what its owner sees now, can be taken back, and is made anew when it was told to the wrong one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from warmdesk.auth.tokens import digest, is_secret, new_secret
from warmdesk.calendars import calendar, digest_of
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import NotFound
from warmdesk.http.answers import answer, no_content
from warmdesk.http.downloads import disposition
from warmdesk.http.encodings import not_modified, tags_seen
from warmdesk.http.request import ACTOR, CONTEXT, DESK, QUERY, address
from warmdesk.http.route import PUBLIC, ApiTag, Etag
from warmdesk.http.routing import BASE, route
from warmdesk.mail.letters import PRODUCT, one_line
from warmdesk.realtime.change import Change
from warmdesk.schemas.calendars import Calendar, CalendarToken

CALENDARS = ApiTag("calendars", "One's due dates, for calendar programs.")

PATH = "/users/me/calendar.ics"
MOST = 1000
"""Cards in a calendar."""
NEAR_SECONDS = 60
SECONDS = 15 * 60


@route(
    "POST",
    "/users/me/calendar",
    session=True,
    answer=Calendar,
    secret=True,
    tag=CALENDARS,
)
async def renew_calendar(request: web.Request) -> web.Response:
    """Get an address at which calendar programs find your due dates; the one of before is dead.

    It is told here alone: there is no way to read it again, nor whether there is one. Whoever has
    it needs no credential, so it is a secret like a password.
    """
    desk, user_id, token = request.app[DESK], request[ACTOR].user_id, new_secret()

    async def work(change: Change) -> None:
        await sql.calendars.renew(change.connection, user_id=user_id, token_hash=digest(token))

    await desk.changes.run(request[CONTEXT], work)
    return answer(Calendar(url=f"{_site(desk, request)}{BASE}{PATH}?token={token}"))


@route("DELETE", "/users/me/calendar", session=True, status=204, tag=CALENDARS)
async def end_calendar(request: web.Request) -> web.Response:
    """Have no calendar any more: its address is dead."""
    user_id = request[ACTOR].user_id

    async def work(change: Change) -> None:
        await sql.calendars.end(change.connection, user_id=user_id)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route(
    "GET",
    PATH,
    need=PUBLIC,
    query=CalendarToken,
    produces=("text/calendar",),
    etag=Etag.CONTENT,
    tag=CALENDARS,
    errors=(404, 429),
)
async def show_calendar(request: web.Request) -> web.Response:
    """Read the calendar of an address (iCalendar, RFC 5545).

    Each open card that is assigned to its owner and has a due date is an event of that day, whose
    `SEQUENCE` is the card's version. Cards of projects that its owner does not see any more are not
    in it, nor those of archived ones; at most 1,000, those that come next before those that are
    over.
    """
    desk, token = request.app[DESK], request[QUERY].token
    near = desk.settings.calendars_per_address
    await desk.limits.take_near("calendar", address(request), limit=near, seconds=NEAR_SECONDS)
    if not is_secret(token):
        raise NotFound()
    user_id = await sql.calendars.owner(desk.database, token_hash=digest(token))
    most = desk.settings.calendar_reads
    await desk.limits.take("calendar", user_id, limit=most, seconds=SECONDS)
    rows: Any = await sql.calendars.cards(desk.database, user_id=user_id, limit=MOST)
    site = _site(desk, request)
    name = one_line(desk.system.values.company_name) or PRODUCT
    tag, seen = f'"{digest_of(rows, name, site)}"', tags_seen(request)
    if tag in seen or "*" in seen:
        return not_modified(seen.get(tag, tag), {})
    host = urlsplit(site).hostname or "localhost"
    headers = {
        "Content-Type": "text/calendar; charset=utf-8",
        "Content-Disposition": disposition("calendar.ics", inline=True),
        "ETag": tag,
    }
    return answer(await calendar(rows, name=name, url=site, host=host), headers=headers)


def _site(desk: Desk, request: web.Request) -> str:
    """Where this installation is, as people type it."""
    return (desk.settings.base_url or str(request.url.origin())).rstrip("/")
