"""Look whether all that the server needs is there and as it should be; 1 if anything is wrong.

A line for each thing, which says what to do where that is not so: the settings, PostgreSQL, Redis,
files, the mail server, disks, the limit of open files, the certificate, and by the base_url what
stands in front. It works beside a server and without one. Nothing is changed; the login history
gets a line of a sign-in that failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from warmdesk import server
from warmdesk.commands.progress import progress
from warmdesk.commands.shared import Status, answer, settings_of
from warmdesk.config import FILE_VARIABLE, ConfigError, Settings
from warmdesk.db.dial import connect
from warmdesk.db.pool import BROKEN
from warmdesk.db.queries import sql
from warmdesk.doctor import SECONDS, Finding, Findings, Teller, Verdict, host, leave
from warmdesk.doctor.files import files
from warmdesk.doctor.front import front
from warmdesk.doctor.mail import mail
from warmdesk.doctor.postgresql import postgresql
from warmdesk.doctor.redis import redis
from warmdesk.embedded import EmbeddedError
from warmdesk.errors import WarmDeskError
from warmdesk.listeners import StartError
from warmdesk.schemas.settings import SystemSettings
from warmdesk.system import Stored, first_values

EXAMPLE = "warmdesk doctor"
JSON = True

SETTINGS = Teller("settings")
SERVERS = Teller("PostgreSQL")


class Known(NamedTuple):
    """What the database says that other checks need; nothing when it cannot be asked."""

    installation: str | None
    values: SystemSettings


def run(wanted: argparse.Namespace) -> int:
    with progress("Looking") as advance:
        findings = list(_examined(wanted, advance))
    is_wrong = any(each.verdict is Verdict.WRONG for each in findings)
    answer(
        wanted,
        "\n".join(map(str, findings)),
        {"ok": not is_wrong, "findings": [each._asdict() for each in findings]},
    )
    return Status.FAILED if is_wrong else Status.DONE


def _examined(wanted: argparse.Namespace, advance: Any) -> Iterable[Finding]:
    named = wanted.config or os.environ.get(FILE_VARIABLE)
    try:
        given = settings_of(wanted)
    except ConfigError as error:
        yield SETTINGS.wrong(str(error), "correct that first; all else waits for it")
        return
    file = Path(named) if named else None
    checks = (
        ("the settings", host.settings(given, file)),
        ("disks", host.disks(given)),
        ("open files", host.open_files()),
        ("the certificate", host.certificate(given)),
    )
    for name, check in checks:
        advance(1, name)
        yield from asyncio.run(_all(check))
    advance(1, "the servers")
    with ExitStack() as closing:
        try:
            settings = _reached(given, closing)
        except ConfigError as error:
            yield SETTINGS.wrong(str(error), "correct that first; all else waits for it")
            return
        except (StartError, EmbeddedError) as error:
            yield SERVERS.wrong(str(error), "see what its log says in the data directory")
            return
        if settings is None:
            yield SERVERS.warning(
                f"there is no database in {given.data_dir} yet", "start the server: it makes one"
            )
            return
        yield from asyncio.run(_all(postgresql(settings)))
        known = asyncio.run(_known(settings))
        later = (
            ("Redis", redis(settings, known.installation)),
            ("files", files(settings)),
            ("the mail server", mail(settings, known.values)),
            ("the base_url", front(settings, reaches=known.installation is not None)),
        )
        for name, check in later:
            advance(1, name)
            yield from asyncio.run(_all(check))


async def _all(findings: Findings) -> list[Finding]:
    return [each async for each in findings]


def _reached(given: Settings, closing: ExitStack) -> Settings | None:
    """Settings whose URLs are all there: those of a server that runs, or of embedded ones for a
    moment. None when an embedded database was never made.
    """
    if not given.database_url and not (given.data_dir / "postgres").exists():
        return None
    try:
        closing.enter_context(server.data_lock(given))
        _, whole = closing.enter_context(server.embedded(given))
    except server.DataInUse:
        return server.reached(given)
    return whole


async def _known(settings: Settings) -> Known:
    first = SystemSettings(**first_values(settings))
    try:
        connection = await connect(settings.database_url, timeout=SECONDS)
    except (*BROKEN, asyncpg.PostgresError, ValueError):
        return Known(None, first)
    try:
        installation: str = await sql.server.installation(connection)
        rows = await sql.settings.all(connection)
        return Known(installation, Stored(settings).read(rows))
    except (*BROKEN, asyncpg.PostgresError, WarmDeskError):
        return Known(None, first)
    finally:
        await leave(connection)
