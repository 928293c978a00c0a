"""Reports of time, and time sheets. Everybody sees their own time; in the projects that somebody
administers they see everybody's, and administrators of the installation see all.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from typing import Any

import msgspec
from aiohttp import web

from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.db.queries import sql
from warmdesk.errors import Forbidden, field_error
from warmdesk.http.answers import answer
from warmdesk.http.downloads import SANDBOX, Download, disposition
from warmdesk.http.request import ACTOR, ADMIT, DESK, QUERY, READS
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.json_parts import joined
from warmdesk.periods import A_DAY, period_of, week_of
from warmdesk.report_files import CSV, TYPES, cell, hours
from warmdesk.reports import Asked, Made, file_name, report
from warmdesk.schemas.reports import ReportQuery, SheetQuery, TimeReport, TimeSheet

REPORTS = ApiTag("reports", "What the time went into.")


@route(
    "GET",
    "/reports/time",
    query=ReportQuery,
    answer=TimeReport,
    produces=tuple(TYPES.values()),
    tag=REPORTS,
    heavy=True,
    waits=True,
    errors=(404,),
)
async def show_time_report(request: web.Request) -> web.StreamResponse:
    """Show the time that was logged, by projects and cards, people, and `group_by`.

    It is your own time; of the projects that you administer everybody's. With `format` it is a
    file: every entry as CSV, which begins no cell as a formula, a workbook (XLSX) with the groups
    and the entries, or a document (PDF) with the groups and the cards. Files say the same to every
    reader, so that two who compare them see no difference: words in English, moments in UTC, days
    as YYYY-MM-DD, times in minutes and in hours with two decimals. A file may take minutes, and one
    of yours is made at a time. Who lost a right meanwhile is refused it.
    """
    query: ReportQuery = request[QUERY]
    asked = await _asked(request, query)
    if query.format == "json":
        made = await _report(request, asked, query)
        if made.size <= made.IN_MEMORY:
            return answer(made.whole())
    else:
        async with _export(request):
            made = await _report(request, asked, query)
        try:
            await _ask_again(request, asked, query)
        except BaseException:
            made.close()
            raise
    kind = TYPES.get(query.format, "application/json")
    headers = {"Content-Type": f"{kind}; charset=utf-8" if kind == CSV else kind}
    if query.format != "json":
        name = file_name(asked.period, query.format)
        headers["Content-Disposition"] = disposition(name, inline=False)
        headers["Content-Security-Policy"] = SANDBOX
    if request.method == "HEAD":
        made.close()
        return Download(None, made.size, headers=headers)
    return Download(made.pieces(), made.size, headers=headers)


async def _report(request: web.Request, asked: Asked, query: ReportQuery) -> Made:
    files = request.app[DESK].report_files
    aside = functools.partial(_aside, request)
    return await report(request[READS], files, asked, query.format, aside=aside)


@contextmanager
def _aside(request: web.Request) -> Iterator[None]:
    """Nothing is read meanwhile: the person's share of all reads is for their other requests."""
    desk, person = request.app[DESK], request[ACTOR].user_id
    with desk.reads.aside(person), desk.heavy_reads.aside(person):
        yield


@asynccontextmanager
async def _export(request: web.Request) -> AsyncIterator[None]:
    """The one file of a report that is made for a person at a time."""
    exports, person = request.app[DESK].exports, request[ACTOR].user_id
    if not exports.take(person):
        with _aside(request):
            await exports.wait(person)
    try:
        yield
    finally:
        exports.give_back(person)


async def _ask_again(request: web.Request, asked: Asked, query: ReportQuery) -> None:
    """Whoever may not see any more what was read for them gets none of it: 401, 403 or 404."""
    await request[ADMIT]()
    now = await _asked(request, query)
    before, after = asked.reader, now.reader
    lost = before["everybody"] and not after["everybody"]
    if lost or any({*before[each]} - {*after[each]} for each in ("managed", "seen")):
        raise Forbidden("your rights changed while the report was made, ask again")


async def _asked(request: web.Request, query: ReportQuery) -> Asked:
    """What a query asks for, as far as its reader may see it."""
    actor, desk = request[ACTOR], request.app[DESK]
    reader = await sql.reports.reader(request[READS], user_id=actor.user_id)
    people = _people(query)
    project = None
    if query.project not in (None, "all"):
        project = await desk.access.enter_project(
            desk.database, actor, str(query.project), Role.VIEWER
        )
    sees_others = reader["everybody"] or (
        bool(reader["managed"]) if project is None else project.role >= Role.ADMIN
    )
    if people is not None and people != [actor.user_id] and not sees_others:
        raise Forbidden("you see your own time alone")
    return Asked(
        reader,
        period_of(query, reader["today"]),
        None if project is None else project.id,
        people,
        query.group_by,
    )


def _people(query: ReportQuery) -> list[int] | None:
    """Whose time is asked for; None for everybody's."""
    if query.user_id and query.assignees and query.user_id != query.assignees:
        raise field_error("assignees", "conflicting", "is another name of user_id")
    text = query.user_id or query.assignees
    return None if text is None else sorted({int(each) for each in text.split(",")})


@route(
    "GET",
    "/reports/timesheet",
    query=SheetQuery,
    answer=TimeSheet,
    produces=(CSV,),
    tag=REPORTS,
    errors=(404,),
)
async def show_timesheet(request: web.Request) -> web.StreamResponse:
    """Show your week: a row for each card, and for what is on none by project and description.

    The week begins as in your profile. Administrators see anybody's.
    """
    query: SheetQuery = request[QUERY]
    actor = request[ACTOR]
    user_id = actor.user_id if query.user_id is None else query.user_id
    if user_id != actor.user_id and actor.global_role is not GlobalRole.ADMIN:
        raise Forbidden("you see your own time sheet alone")
    person = await sql.reports.reader(request[READS], user_id=user_id)
    start = week_of(query, person["today"], person["week_start"])
    sheet = await sql.reports.sheet(
        request[READS],
        reader=actor.user_id,
        user_id=user_id,
        everybody=actor.global_role is GlobalRole.ADMIN,
        seen=person["seen"],
        start=start,
    )
    days = [start + number * A_DAY for number in range(7)]
    if query.format == "csv":
        return _as_csv(sheet, days)
    iso = start.isocalendar() if person["week_start"] == "monday" else None
    about = {
        "iso_year": iso and iso.year,
        "iso_week": iso and iso.week,
        "start": str(days[0]),
        "end": str(days[-1]),
        "days": [str(each) for each in days],
        "total_minutes": sheet["total_minutes"],
    }
    parts = (
        f'{{"user":{person["person"]},"rows":{sheet["rows"]},"day_totals":{sheet["day_totals"]},'
        f'"entries":{sheet["entries"]}}}'
    )
    return answer(joined(msgspec.json.encode(about).decode(), parts))


def _as_csv(sheet: Any, days: list[date]) -> web.StreamResponse:
    """A time sheet as a table: minutes of the days, and the hours of all."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    lines.writerow(["project", "card", "title", "description", *days, "total", "hours"])
    for row in msgspec.json.decode(sheet["rows"]):
        project, card = row["project"] or {}, row["card"] or {}
        words = (
            project.get("name") or project.get("slug"),
            card.get("key"),
            card.get("title"),
            row["description"],
        )
        total = row["total_minutes"]
        lines.writerow([*(cell(each) for each in words), *row["minutes"], total, hours(total)])
    total = sheet["total_minutes"]
    sums = msgspec.json.decode(sheet["day_totals"])
    lines.writerow(["total", "", "", "", *sums, total, hours(total)])
    name = f"timesheet-{days[0]}.csv"
    return web.Response(
        body=text.getvalue().encode(),
        headers={
            "Content-Type": f"{CSV}; charset=utf-8",
            "Content-Disposition": disposition(name, inline=False),
            "Content-Security-Policy": SANDBOX,
        },
    )
