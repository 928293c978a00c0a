"""Time entries: what people worked on, and for how long. By themselves, or by a comment on a card,
whose time is an entry too. Everybody sees their own; see `warmdesk.rest.reports` for the sums.
"""

from __future__ import annotations

from datetime import date, time
from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.db.queries import sql
from warmdesk.errors import Fault, Forbidden, field_error, fields_error
from warmdesk.http.answers import answer, answer_outcome, encode
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, QUERY, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.cards import day
from warmdesk.schemas.time_entries import EditTime, ListTime, LogTime, TimeEntry

TIME = ApiTag("time", "What people worked on, and for how long.")

WHO_LOGS = frozenset({GlobalRole.ADMIN, GlobalRole.USER})
"""Who may log time at all."""


@route(
    "GET",
    "/time-entries",
    query=ListTime,
    answer=list[TimeEntry],
    tag=TIME,
    paged=True,
)
async def list_time_entries(request: web.Request) -> web.Response:
    """List your time entries, the newest day first."""
    query: ListTime = request[QUERY]
    actor, desk = request[ACTOR], request.app[DESK]
    since, until = days_between(query.since, query.until)
    before_date, before_id = begins_after(request)
    project = None
    if query.project is not None:
        project = await desk.access.enter_project(desk.database, actor, query.project, Role.VIEWER)
    user_id = actor.user_id if query.user_id is None else query.user_id
    sees_all = actor.global_role is GlobalRole.ADMIN or (
        project is not None and project.role >= Role.ADMIN
    )
    if user_id != actor.user_id and not sees_all:
        raise Forbidden("only a project's admins see what others logged there")
    page = await sql.time_entries.page(
        request[READS],
        reader=actor.user_id,
        user_id=user_id,
        before_date=before_date,
        before_id=before_id,
        since=since,
        until=until,
        project_id=None if project is None else project.id,
        card=query.card_id,
        limit=query.limit,
    )
    return answer_page(request, page)


def days_between(since: str | None, until: str | None) -> tuple[date | None, date | None]:
    """The days of ``from`` and ``to``, if they are given; 400 when they are in the wrong order."""
    first = day(since, "from") if since else None
    last = day(until, "to") if until else None
    if first is not None and last is not None and last < first:
        raise field_error("to", "out_of_range", "is before from")
    return first, last


@route("GET", "/time-entries/{entry_id}", answer=TimeEntry, tag=TIME)
async def show_time_entry(request: web.Request) -> web.Response:
    """Show a time entry: your own, or one of a project that you administer."""
    found = await sql.time_entries.one(
        request[READS], reader=request[ACTOR].user_id, id=path_id(request, "entry_id")
    )
    return answer(found["entry"])


@route(
    "POST",
    "/time-entries",
    need=WHO_LOGS,
    body=LogTime,
    answer=TimeEntry,
    status=201,
    made_at="/time-entries/{id}",
    tag=TIME,
    example={"minutes": 90, "description": "Oiled the hinges"},
    keyed=True,
    errors=(404, 422),
)
async def log_time(request: web.Request) -> web.Response:
    """Log time that you worked. A card's sum grows by it."""
    body: LogTime = request[BODY]
    context = request[CONTEXT]
    sent = _sent(body)
    return answer_outcome(
        await request.app[DESK].changes.call(
            sql.time_entries.create,
            context,
            "time_entry",
            actor=context.actor_id,
            client=context.client_id,
            user_id=sent.get("user_id"),
            project_id=sent.get("project_id"),
            slug=sent.get("project"),
            card=sent.get("card_id"),
            date=sent.get("date"),
            minutes=sent.get("minutes"),
            description=sent.get("description") or "",
            start_time=_time(sent.get("start_time")),
            end_time=_time(sent.get("end_time")),
        )
    )


@route(
    "PUT",
    "/time-entries/{entry_id}",
    need=WHO_LOGS,
    body=EditTime,
    answer=TimeEntry,
    tag=TIME,
    example={"minutes": 60},
    keyed=True,
    errors=(422,),
)
async def edit_time_entry(request: web.Request) -> web.Response:
    """Change a time entry of your own, an administrator anybody's.

    A comment that says the time says the new one. An entry of a comment stays on its card. One of a
    project that you left is not yours to change any more, 403: an administrator does.
    """
    body: EditTime = request[BODY]
    context = request[CONTEXT]
    fields = _sent(body)
    if "date" in fields and fields["date"] is None:
        raise field_error("date", "blank", "must not be blank")
    return answer_outcome(
        await request.app[DESK].changes.call(
            sql.time_entries.update,
            context,
            "time_entry",
            actor=context.actor_id,
            client=context.client_id,
            id=path_id(request, "entry_id"),
            fields=encode(fields).decode(),
        )
    )


@route(
    "DELETE",
    "/time-entries/{entry_id}",
    need=WHO_LOGS,
    status=204,
    tag=TIME,
    errors=(422,),
)
async def delete_time_entry(request: web.Request) -> web.Response:
    """Delete a time entry of your own, an administrator anybody's.

    A comment that said the time says none from then on. One of a project that you left is not
    yours to delete any more, 403: an administrator does.
    """
    context = request[CONTEXT]
    return answer_outcome(
        await request.app[DESK].changes.call(
            sql.time_entries.delete,
            context,
            "time_entry",
            actor=context.actor_id,
            client=context.client_id,
            id=path_id(request, "entry_id"),
        )
    )


def _sent(body: LogTime | EditTime) -> dict[str, Any]:
    """What was sent, as it is kept: hours as minutes, the day as a date. 400 for two times."""
    sent = {
        name: value
        for name in body.__struct_fields__
        if (value := getattr(body, name)) is not UNSET
    }
    hours = sent.pop("hours", None)
    if hours is not None:
        if round(hours, 2) != hours:
            raise field_error("hours", "bad_format", "has two decimals at most")
        minutes = int(hours * 60 + 0.5)
        if sent.get("minutes", minutes) not in (None, minutes):
            two = Fault("conflicting", "two times are sent")
            raise fields_error({"minutes": two, "hours": two})
        sent["minutes"] = minutes
    if "date" in sent:
        sent["date"] = day(sent["date"], "date") if sent["date"] else None
    if sent.get("card_id") is not None:
        sent["card_id"] = str(sent["card_id"])
    if sent.get("description"):
        sent["description"] = sent["description"].strip()
    return sent


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)
