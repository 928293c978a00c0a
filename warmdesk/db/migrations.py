"""Migrations: plain SQL files, each once, in order, in its own transaction; shapes and changes are
replaced each time, and ``erasing()``, which names the events that erase.

A shape's fields are a composite type beside its function, because `row_to_json` makes compact JSON
at four fifths of what `json_build_object` costs. In the database its name ends with a digest of its
fields, so one with other fields is another type: statements under way keep theirs, and so do an
older program's functions that a newer one replaced by some with other arguments. Only functions
name it, never a program's own statement: a connection has planned that for one type.

An advisory lock lets one process migrate and makes the others wait. A file that was edited after it
ran is refused. A database that is newer than this program is served only if its newest migration
names this program or an older one (``-- oldest program: 0.1``): expand first, contract a release
later, so that hosts can be upgraded one by one.

Servers go on meanwhile. Who wants a table behind a migration that waits for it waits too, so a
migration waits for a moment only, and begins again later. An index on a table that has grown is
made ``concurrently``, in a file of such statements alone: each is then its own transaction, and a
file that was interrupted is begun again: what is left of an index that was not made goes, and one
that was made stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import asyncpg

import warmdesk
from warmdesk.db.dial import connect

LOCK = 0x5741524D
TURN_SECONDS = 0.1
"""How often a process looks whether another still migrates. It does not wait in PostgreSQL: an
index that is made concurrently waits for all who do."""
LOCK_MS = 300
"""How long a migration waits for a table, and others behind it: a server's statements do for a
second."""
AGAIN_SECONDS = 1.0
"""When it tries again; who waited behind it is served meanwhile."""
INDEX_SECONDS = 24 * 3600.0
"""How long an index may take that nobody waits for."""
OLDEST = re.compile(r"^-- oldest program: (\d+(?:\.\d+)*)$", re.MULTILINE)
TYPE = re.compile(r"^create type (\w+) as \((.*?)\);$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"\w+")
COMMENT = re.compile(r"^--.*$", re.MULTILINE)
CONCURRENTLY = re.compile(r"^((?:create(?: unique)?|drop) index) concurrently\b", re.MULTILINE)
MADE = re.compile(r"create(?: unique)? index concurrently (\w+)")
UNSURE = re.compile(r"create(?: unique)? index concurrently (?:if|on)\b")
IS_WHOLE = """
select i.indisvalid from pg_index as i where i.indexrelid = to_regclass(quote_ident($1))
"""
DIGITS = 12
"""Of a digest in the name of a type."""
LEDGER = """
create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    sha256 text not null,
    oldest_program text not null,
    applied_at timestamptz not null default now()
)
"""

ERASING_SQL = """
create or replace function erasing() returns text[] language sql immutable as $$
select '{%s}'::text[]
$$
"""


class MigrationError(Exception):
    """The schema and this program do not fit; the message says what to do."""


class Migration(NamedTuple):
    """A file of ``sql/migrations``."""

    name: str
    text: str

    @property
    def version(self) -> int:
        return int(self.name.split("_")[0])

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def oldest_program(self) -> str:
        """The oldest that works with what this makes."""
        found = OLDEST.search(self.text)
        if found is None:
            raise MigrationError(f"migration {self.name} does not name its oldest program")
        return found[1]

    def steps(self) -> list[str]:
        """Its statements, where each must be a transaction of its own; else none."""
        if not CONCURRENTLY.search(self.text):
            return []
        found = [each.strip() for each in COMMENT.sub("", self.text).split(";") if each.strip()]
        if any(map(UNSURE.match, found)):
            raise MigrationError(
                f"migration {self.name} makes an index `if not exists`, or without a name: one"
                " whose making was interrupted exists, is of no use, and could not be told"
            )
        if not all(map(CONCURRENTLY.match, found)):
            raise MigrationError(
                f"migration {self.name} makes an index concurrently and does something else too;"
                " that belongs in a file of its own"
            )
        return found


def files(folder: str) -> list[tuple[str, str]]:
    """Name and text of each SQL file in a folder of ``sql/``, in order."""
    found = importlib.resources.files("warmdesk.sql").joinpath(folder).iterdir()
    return sorted((f.name, f.read_text("utf-8")) for f in found if f.name.endswith(".sql"))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


async def migrate(dsn: str, *, erasing: Iterable[str], limit: float = 300.0) -> list[str]:
    """Bring the schema up to this program, whose events of the names `erasing` blank what was told
    before. Gives the names of the migrations that ran; `limit` in seconds for all, but for indexes
    that nobody waits for. Raises `MigrationError`.
    """
    end = asyncio.get_running_loop().time() + limit
    connection = await connect(dsn, timeout=10, command_timeout=limit)
    try:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
            if asyncio.get_running_loop().time() > end:
                raise MigrationError(
                    "another process brings the schema up to date or restores a backup, and has not"
                    f" come to an end in {limit:.0f} seconds"
                )
            await asyncio.sleep(TURN_SECONDS)
        await connection.execute(f"set lock_timeout = {LOCK_MS}")
        await connection.execute("set client_min_messages = warning")
        await connection.execute(LEDGER)
        return await _bring_up(connection, erasing, _When(end))
    finally:
        await connection.close()


async def lay(connection: Any, *, upto: int | None = None, erasing: Iterable[str] = ()) -> None:
    """Within a transaction of the caller's: bring the schema up to a migration, without shapes and
    changes; or to this program, with them.
    """
    await connection.execute(LEDGER)
    await _bring_up(connection, erasing, upto=upto)


async def hold(connection: Any, *, limit: float) -> None:
    """Within a transaction: until its end no other process brings the schema up to date; wait for
    one that does, so many seconds, and then raise `TimeoutError`.
    """
    end = asyncio.get_running_loop().time() + limit
    while not await connection.fetchval("select pg_try_advisory_xact_lock($1)", LOCK):
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError
        await asyncio.sleep(TURN_SECONDS)


def newest() -> int:
    """The number of the last migration that this program knows."""
    return max(int(name.split("_")[0]) for name, _ in files("migrations"))


async def missing(connection: Any) -> tuple[list[Migration], bool]:
    """The migrations that have not run on this database, and whether it has had newer ones than
    this program's. Raises `MigrationError` when the two do not fit.
    """
    done = {}
    if await connection.fetchval("select to_regclass('schema_migrations') is not null"):
        rows = await connection.fetch("select * from schema_migrations")
        done = {row["version"]: row for row in rows}
    known = {int(name.split("_")[0]): Migration(name, text) for name, text in files("migrations")}
    for version, row in sorted(done.items()):
        if version not in known and numbers(row["oldest_program"]) > numbers(warmdesk.__version__):
            raise MigrationError(
                f"the database is at migration {row['name']}, which needs"
                f" WarmDesk {row['oldest_program']} or newer;"
                f" this is {warmdesk.__version__}"
            )
    for version, one in sorted(known.items()):
        if version in done and done[version]["sha256"] != one.digest:
            raise MigrationError(
                f"migration {one.name} was edited after it ran on this database; restore the file"
            )
    newer = any(version not in known for version in done)
    return [one for version, one in sorted(known.items()) if version not in done], newer


class _When(NamedTuple):
    """Beside servers that go on: when the tables are free, until the loop's time `end`."""

    end: float

    async def free(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                return
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if asyncio.get_running_loop().time() > self.end:
                    raise MigrationError(
                        f"{what} needs a table that somebody holds all the time, perhaps a backup;"
                        " try again when that is done (pg_stat_activity shows who it is)"
                    ) from None
            await asyncio.sleep(AGAIN_SECONDS)


async def _bring_up(
    connection: Any, erasing: Iterable[str], when: _When | None = None, *, upto: int | None = None
) -> list[str]:
    """Without `when` all is one transaction, of the caller's."""
    waiting, newer = await missing(connection)
    if upto is not None:
        waiting = [one for one in waiting if one.version <= upto]
    for one in waiting:
        one.oldest_program()
        if when is None:
            await _run(connection, one, CONCURRENTLY.sub(r"\1", one.text))
        elif one.steps():
            await _run_steps(connection, one)
        else:
            await when.free(f"migration {one.name}", partial(_run, connection, one, one.text))
    if not newer and upto is None:
        await _replace_functions(connection, erasing)
    return [one.name for one in waiting]


async def _run(connection: Any, one: Migration, text: str) -> None:
    async with connection.transaction():
        await connection.execute(text)
        await _note(connection, one)


async def _run_steps(connection: Any, one: Migration) -> None:
    """What is left of an index whose making was interrupted is taken away first. One that is whole
    was made by the first try.
    """
    await connection.execute("set lock_timeout = 0")
    for step in one.steps():
        if made := MADE.match(step):
            whole = await connection.fetchval(IS_WHOLE, made[1])
            if whole:
                continue
            if whole is not None:
                await connection.execute(
                    f"drop index concurrently {made[1]}", timeout=INDEX_SECONDS
                )
        await connection.execute(step, timeout=INDEX_SECONDS)
    await _note(connection, one)
    await connection.execute(f"set lock_timeout = {LOCK_MS}")


async def _note(connection: Any, one: Migration) -> None:
    await connection.execute(
        "insert into schema_migrations (version, name, sha256, oldest_program)"
        " values ($1, $2, $3, $4)",
        one.version,
        one.name,
        one.digest,
        one.oldest_program(),
    )


async def _replace_functions(connection: Any, erasing: Iterable[str]) -> None:
    """Shapes and changes, in one transaction; bodies are not checked then, because they call each
    other. Events that another program declared as erasing stay so: it may be newer, and running.
    """
    async with connection.transaction():
        names = set(erasing)
        if await connection.fetchval("select to_regprocedure('erasing()')") is not None:
            names.update(await connection.fetchval("select erasing()"))
        await connection.execute(ERASING_SQL % ",".join(sorted(names)))
        await connection.execute("set local check_function_bodies = off")
        types, functions = shapes_and_changes()
        for name, fields in types.items():
            if await connection.fetchval("select to_regtype($1) is null", name):
                await connection.execute(f"create type {name} as ({fields})")
        for text in functions:
            await connection.execute(text)


def shapes_and_changes() -> tuple[dict[str, str], list[str]]:
    """The fields of each composite type, by its name in the database, and the texts of the
    functions, which use these names.
    """
    texts = [text for folder in ("shapes", "changes") for _, text in files(folder)]
    types, names = {}, {}
    for name, fields in (found for text in texts for found in TYPE.findall(text)):
        names[name] = f"{name}_{hashlib.sha256(fields.encode()).hexdigest()[:DIGITS]}"
        types[names[name]] = fields

    def named(found: re.Match[str]) -> str:
        return names.get(found[0], found[0])

    return types, [WORD.sub(named, TYPE.sub("", text)) for text in texts]
