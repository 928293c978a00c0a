"""Reports of time: read from PostgreSQL by one statement a grouping, some rows at a time, and put
into a file that is nowhere else: what is in memory of it does not grow with it. When the file is
there the connection is free, however slowly a client takes it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import asyncpg
import msgspec

from warmdesk.db.pool import ASK_SECONDS, Connections, granted, too_long
from warmdesk.db.queries import Query, sql
from warmdesk.errors import Impossible, Unavailable
from warmdesk.periods import Period
from warmdesk.report_files import MOST_LINES

ROWS = 500
"""Rows that are in memory at once."""
IN_MEMORY = 1 << 20
"""Bytes of a report that is no file on disk."""
PIECE = 64 << 10
QUEUE = 20
"""Files that wait to be made, in a process."""
SECONDS = 600
SPARE_SECONDS = 0.3
"""So much before the time of a read is over a report ends by itself: a connection that ends by time
makes the others doubtful.
"""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = logging.getLogger(__name__)
encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """What a reader asks for: `reader` is their row, and says what they may see."""

    reader: Any
    period: Period
    project_id: int | None
    people: list[int] | None
    group_by: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of every statement of a report."""
        return {
            "reader": self.reader["id"],
            "everybody": self.reader["everybody"],
            "managed": self.reader["managed"],
            "project_id": self.project_id,
            "people": self.people,
            "since": self.period.since,
            "until": self.period.until,
        }

    @property
    def head(self) -> dict[str, Any]:
        """What stands above a report."""
        period = self.period
        return {
            "generated_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "period": period.kind,
            "period_label": period.label,
            "from": None if period.since is None else str(period.since),
            "to": None if period.last is None else str(period.last),
            "group_by": self.group_by,
            "company_name": self.reader["company_name"],
            "company_logo": self.reader["company_logo"],
        }


class Made:
    """A file that is nowhere else and is gone with this, from its beginning."""

    IN_MEMORY: ClassVar = IN_MEMORY

    def __init__(self, file: Any) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def close(self) -> None:
        """Nobody wants it."""
        self._file.close()

    def whole(self) -> bytes:
        """All of it, where it is in memory."""
        with self._file:
            return bytes(self._file.read())

    async def pieces(self) -> AsyncIterator[bytes]:
        """It, piece by piece."""
        with self._file:
            while piece := await asyncio.to_thread(self._file.read, PIECE):
                yield piece


class ReportFiles:
    """Makes files of reports, one at a time: see `warmdesk.report_files`."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def make(self, kind: str, lines: Any) -> Any:
        """The file of this kind with these lines."""
        if self._waiting >= QUEUE:
            raise Unavailable("too many reports at once, try again", code="too_many_reads")
        self._waiting += 1
        try:
            async with self._turn:
                return await _make(kind, lines)
        finally:
            self._waiting -= 1


async def _make(kind: str, lines: Any) -> Any:
    """The file, made by a process that ends at the latest when nobody waits for it any more."""
    lines.rollover()  # a process is given a real file
    lines.seek(0)
    with ExitStack() as undone:
        made = undone.enter_context(tempfile.TemporaryFile())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "warmdesk.report_files", kind),
            stdin=lines.fileno(),
            stdout=made.fileno(),
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "LANG": "C.UTF-8"},
        )
        try:
            _, said = await asyncio.wait_for(process.communicate(), SECONDS)
        except TimeoutError:
            said = b"out of time"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            log.error("reports.failed kind=%s said=%r", kind, said[-500:])
            raise Unavailable("the file could not be made, try again")
        undone.pop_all()
    return made


async def report(
    reads: Connections,
    files: ReportFiles,
    asked: Asked,
    kind: str,
    *,
    aside: Callable[[], AbstractContextManager[Any]],
) -> Made:
    """A report as JSON, or as a file of this kind. `aside`: what holds while such a file is made,
    when all is read and nothing of PostgreSQL is needed any more.
    """
    spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 # it may be the answer
    made = None
    try:
        seconds, _ = granted(ASK_SECONDS)
        ends_at = time.monotonic() + seconds - SPARE_SECONDS
        async with reads.transaction() as connection:
            await sql.reports.begin(connection)
            await sql.reports.room(connection)
            reading = Reading(connection, ends_at)
            if kind == "json":
                await _as_json(reading, asked, spool)
            else:
                await _as_lines(reading, asked, spool, kind)
        if kind == "json":
            made = spool
        else:
            with aside():
                made = await files.make(kind, spool)
        return Made(made)
    except asyncpg.QueryCanceledError as error:
        raise too_long() from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        log.error("reports.no_room cause=%s", errno.errorcode[error.errno])
        raise Unavailable("the server's disk has no room now", code="disk") from error
    finally:
        if made is not spool:
            spool.close()


class Reading(NamedTuple):
    """A transaction that reads until its time is over."""

    connection: Any
    ends_at: float

    async def rows(self, query: Query[..., Any], **params: Any) -> AsyncIterator[list[Any]]:
        """The rows of a statement, some at a time. `read_too_long` when there is no time left."""
        await self._limit()
        cursor = await self.connection.cursor(query.statement, *query.values(params))
        while rows := await cursor.fetch(ROWS):
            yield rows
            if len(rows) < ROWS:
                return
            await self._limit()

    async def _limit(self) -> None:
        """Let PostgreSQL end what takes longer than the time that is left."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise too_long()
        await sql.reports.within(self.connection, milliseconds=int(left * 1000) + 1)


async def _as_json(reading: Reading, asked: Asked, spool: Any) -> None:
    """Write a report as JSON."""
    params, seen = asked.parameters, asked.reader["seen"]
    spool.write(encode(asked.head)[:-1] + b',"projects":[')
    is_open, total, other, sum_of_all = False, 0, 0, 0
    separator = ""

    def ended() -> str:
        return f'],"other_minutes":{other},"total_minutes":{total}}}' if is_open else ""

    async for rows in reading.rows(sql.reports.cards, **params, seen=seen):
        parts: list[str] = []
        for _, project, card, minutes in rows:
            if project is not None:
                comma = "," if is_open else ""
                parts.append(f'{ended()}{comma}{project[:-1]},"cards":[')
                is_open, total, other, separator = True, 0, 0, ""
            if card is None:
                other += minutes
            else:
                parts += (separator, card)
                separator = ","
            total += minutes
            sum_of_all += minutes
        spool.write("".join(parts).encode())
    spool.write(ended().encode())
    for name, query, more in (
        ("users", sql.reports.users, {}),
        ("groups", sql.reports.groups, {"group_by": asked.group_by, "seen": seen}),
    ):
        spool.write(f'],"{name}":['.encode())
        comma = ""
        async for rows in reading.rows(query, **params, **more):
            spool.write((comma + ",".join(row["item"] for row in rows)).encode())
            comma = ","
    spool.write(b'],"total_minutes":%d}' % sum_of_all)


async def _as_lines(reading: Reading, asked: Asked, spool: Any, kind: str) -> None:
    """Write a report as lines: see `warmdesk.report_files`."""
    params, seen = asked.parameters, asked.reader["seen"]
    count = total = 0
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as groups:
        if kind != "csv":
            async for rows in reading.rows(
                sql.reports.groups, **params, group_by=asked.group_by, seen=seen
            ):
                groups.write("".join(f"g{row['item']}\n" for row in rows).encode())
                count += len(rows)
                total += sum(row["minutes"] for row in rows)
                _check_length(kind, count)
        spool.write(b"h" + encode(asked.head | {"total_minutes": total}) + b"\n")
        groups.seek(0)
        while piece := groups.read(PIECE):
            spool.write(piece)
    if kind != "pdf":
        async for rows in reading.rows(sql.reports.entries, **params, seen=seen):
            spool.write("".join(f"e{row['line']}\n" for row in rows).encode())
        return
    await _cards_as_lines(reading, asked, spool, count)


async def _cards_as_lines(reading: Reading, asked: Asked, spool: Any, count: int) -> None:
    """The projects and their cards. What a project is in all stands before its cards."""
    cards: list[bytes] = []
    project, total = "", 0

    def put() -> None:
        if project:
            spool.write(f'p{project[:-1]},"total_minutes":{total}}}\n'.encode())
            spool.writelines(cards)

    async for rows in reading.rows(
        sql.reports.cards, **asked.parameters, seen=asked.reader["seen"]
    ):
        for row in rows:
            if row["project"] is not None:
                put()
                project, total = row["project"], 0
                cards.clear()
            rest = {"card_ref": "", "title": "", "time_spent_minutes": row["minutes"]}
            cards.append(b"c" + (row["card"] or encode(rest).decode()).encode() + b"\n")
            total += row["minutes"]
        count += len(rows)
        _check_length("pdf", count)
    put()


def _check_length(kind: str, lines: int) -> None:
    if kind == "pdf" and lines > MOST_LINES:
        raise Impossible(
            f"a document has {MOST_LINES} lines at most; ask for fewer days, or for CSV or XLSX",
            code="report_too_long",
        )


def file_name(period: Period, kind: str) -> str:
    """What a report is called as a file."""
    words = re.sub(r"[^a-z0-9-]+", "-", period.label.lower()).strip("-")
    return f"time-report-{words}.{kind}"
