"""PostgreSQL: whether it takes us, what this role may do there, and how it keeps what it took."""

from __future__ import annotations

import statistics
import time
from typing import Any

import asyncpg

from warmdesk.config import ConfigError, Settings, variable
from warmdesk.db.dial import connect
from warmdesk.db.installation import known_to_differ
from warmdesk.db.migrations import MigrationError, missing
from warmdesk.db.pool import BROKEN, LimitsRefused, check_limits
from warmdesk.db.queries import sql
from warmdesk.doctor import SECONDS, Findings, Teller, leave
from warmdesk.server import SPARE_CONNECTIONS, check_authority, connections, reason

OLDEST = (15, 0)
SLOW_COMMIT, COMMITS = 0.02, 15
"""Seconds of a commit from which on people of a busy board wait for each other; how many are
measured."""
CLOCK_SECONDS = 2.0
SAFE = ("on", "local", "remote_write", "remote_apply")

TELL = Teller("PostgreSQL")
SETTINGS = Teller("settings")


async def postgresql(found: Settings) -> Findings:
    """All of it; nothing after what makes the rest pointless."""
    try:
        check_authority(found.database_url)
        connection = await connect(found.database_url, timeout=SECONDS, command_timeout=SECONDS)
    except ConfigError as error:
        yield TELL.wrong(str(error), "until then nothing is asked of it")
        return
    except (*BROKEN, asyncpg.PostgresError, ValueError) as error:
        yield TELL.wrong(
            f"it cannot be used: {reason(error)}",
            "correct WARMDESK_DATABASE_URL, or start it and see that this host may connect",
        )
        return
    try:
        version = connection.get_server_version()
        named = f"{version.major}.{version.minor}"
        if version < OLDEST:
            yield TELL.wrong(f"it is {named}", f"upgrade it to {OLDEST[0]} or newer")
            return
        yield TELL.ok(f"it is {named}")
        try:
            await check_limits(found.database_url)
        except LimitsRefused as error:
            yield TELL.wrong(f"{error}, as with PgBouncer", "name PostgreSQL itself")
            return
        async for finding in _standing(connection):
            yield finding
        async for finding in _extensions(connection):
            yield finding
        async for finding in _room(connection, found):
            yield finding
        async for finding in _schema(connection, found):
            yield finding
        async for finding in _commits(connection):
            yield finding
    except (*BROKEN, asyncpg.PostgresError) as error:
        yield TELL.wrong(f"a question failed: {reason(error)}", "look at its log")
    finally:
        await leave(connection)


async def _standing(connection: Any) -> Findings:
    before = time.time()
    row = await sql.doctor.standing(connection)
    offset = row["now"].timestamp() - (before + time.time()) / 2
    if abs(offset) > CLOCK_SECONDS:
        way = "behind" if offset > 0 else "ahead of"
        yield TELL.warning(
            f"this host's clock is {abs(offset):,.0f} seconds {way} PostgreSQL's",
            "run NTP on both: logs cannot be compared",
        )
    else:
        yield TELL.ok("its clock and this host's agree")
    if row["read_only"]:
        yield TELL.wrong(
            "it takes no writes: it is a standby, or default_transaction_read_only is on",
            "name the primary, or all hosts that may be it, in WARMDESK_DATABASE_URL",
        )
    if row["encoding"] != "UTF8":
        yield TELL.wrong(
            f"the database keeps text as {row['encoding']}",
            f"make another with: {row['creating']}",
        )
    if row["collation"] != row["collation_now"]:
        yield TELL.wrong(
            f"its order of texts was version {row['collation']} and is {row['collation_now']} now,"
            " so indexes may miss rows",
            "reindex database, then alter database … refresh collation version",
        )
    for finding in _durability(row):
        yield finding
    for finding in _rights(row):
        yield finding


def _durability(row: Any) -> Any:
    off = [name for name in ("fsync", "full_page_writes") if not row[name]]
    if row["synchronous_commit"] not in SAFE:
        off.append("synchronous_commit")
    if off:
        yield TELL.wrong(
            f"{' and '.join(off)} is off: a crash takes what was acknowledged",
            f"alter system set {off[0]} = on, then pg_ctl reload",
        )
    else:
        yield TELL.ok("what it acknowledges is on disk")


def _rights(row: Any) -> Any:
    missed = []
    if not row["creates"]:
        missed.append(f"may create nothing in the schema {row['schema'] or 'public'}")
    if not row["plpgsql"]:
        missed.append("may not use the language plpgsql")
    if row["foreign_tables"]:
        missed.append(f"does not own {row['foreign_tables']} of its tables")
    if missed:
        yield TELL.wrong(
            f"the role {row['role']} {', and '.join(missed)}",
            f'make it the owner of the database and of all in it: alter database … owner to "'
            f'{row["role"]}", reassign owned by … to "{row["role"]}"',
        )
    else:
        yield TELL.ok(f"the role {row['role']} may do what it needs")
    if not row["temporary"]:
        yield TELL.warning(
            "no backup can be restored: that needs temporary tables, which it may not make here",
            f'grant temporary on database "{row["database"]}" to "{row["role"]}"',
        )
    if not row["makes_databases"]:
        yield TELL.warning(
            "no backup can be verified: that needs a database aside, which it may not make",
            f'alter role "{row["role"]}" createdb, or verify backups on another PostgreSQL',
        )


async def _extensions(connection: Any) -> Findings:
    rows = await sql.doctor.extensions(connection)
    for row in rows:
        name = row["name"]
        if row["newest"] is None:
            yield TELL.wrong(
                f"the extension {name} has no files any more",
                "install its package on PostgreSQL's host, or drop extension",
            )
        elif row["newest"] != row["version"]:
            yield TELL.warning(
                f"the extension {name} is {row['version']}, and its files are {row['newest']}",
                f'alter extension "{name}" update',
            )
    names = ", ".join(row["name"] for row in rows)
    yield TELL.ok(f"no extension but plpgsql is needed; installed: {names or 'none'}")


async def _room(connection: Any, found: Settings) -> Findings:
    limit = await sql.server.connection_limit(connection)
    needed = connections(found, workers=found.workers)
    said = f"this host needs {needed} connections of {limit}"
    if needed > limit - SPARE_CONNECTIONS:
        yield TELL.wrong(
            f"{said}, of which {SPARE_CONNECTIONS} stay free",
            "lower WARMDESK_WORKERS or WARMDESK_DATABASE_POOL, or raise max_connections",
        )
    else:
        yield TELL.ok(said)


async def _schema(connection: Any, found: Settings) -> Findings:
    try:
        waiting, _ = await missing(connection)
    except MigrationError as error:
        yield TELL.wrong(str(error), "install the program that the other hosts have")
        return
    if waiting:
        yield TELL.warning(
            f"{len(waiting)} migrations wait, from {waiting[0].name} on",
            "run warmdesk migrate, or start the server, which does it",
        )
        return
    yield TELL.ok("the schema is that of this program")
    differing = await known_to_differ(connection, found)
    if differing:
        names = " and ".join(variable(name) for name in differing)
        yield SETTINGS.wrong(
            f"{names} of this host: not what the other hosts have",
            "set the same on all, or run warmdesk accept-secrets here and restart them",
        )


async def _commits(connection: Any) -> Findings:
    took = []
    for _ in range(COMMITS):
        async with connection.transaction():
            await sql.doctor.note(connection)
            began = time.perf_counter()
        took.append(time.perf_counter() - began)
    middle = statistics.median(took)
    most = 1 / max(middle, 1e-6)
    said = (
        f"a commit takes {middle * 1000:.1f} ms, the slowest of {COMMITS} {max(took) * 1000:.1f}:"
        f" one board takes at most {most:,.0f} changes a second"
    )
    if middle > SLOW_COMMIT:
        yield TELL.warning(said, "give PostgreSQL a faster disk, or come nearer to it")
    else:
        yield TELL.ok(said)
