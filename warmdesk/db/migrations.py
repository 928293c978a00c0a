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
"""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import warmdesk
from warmdesk.db.dial import connect

LOCK = 0x5741524D
OLDEST = re.compile(r"^-- oldest program: (\d+(?:\.\d+)*)$", re.MULTILINE)
TYPE = re.compile(r"^create type (\w+) as \((.*?)\);$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"\w+")
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


def files(folder: str) -> list[tuple[str, str]]:
    """Name and text of each SQL file in a folder of ``sql/``, in order."""
    found = importlib.resources.files("warmdesk.sql").joinpath(folder).iterdir()
    return sorted((f.name, f.read_text("utf-8")) for f in found if f.name.endswith(".sql"))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


async def migrate(dsn: str, *, erasing: Iterable[str], limit: float = 300.0) -> list[str]:
    """Bring the schema up to this program, whose events of the names `erasing` blank what was told
    before. Gives the names of the migrations that ran; `limit` in seconds for all.
    """
    connection = await connect(dsn, timeout=10, command_timeout=limit)
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK)
        await connection.execute("set lock_timeout = '10s'")
        await connection.execute("set client_min_messages = warning")
        await connection.execute(LEDGER)
        return await _bring_up(connection, erasing)
    finally:
        await connection.close()


async def lay(connection: Any, *, upto: int | None = None, erasing: Iterable[str] = ()) -> None:
    """Within a transaction of the caller's: bring the schema up to a migration, without shapes and
    changes; or to this program, with them.
    """
    await connection.execute(LEDGER)
    await _bring_up(connection, erasing, upto)


async def hold(connection: Any) -> None:
    """Within a transaction: until its end no other process brings the schema up to date; wait for
    one that does.
    """
    await connection.execute("select pg_advisory_xact_lock($1)", LOCK)


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


async def _bring_up(connection: Any, erasing: Iterable[str], upto: int | None = None) -> list[str]:
    waiting, newer = await missing(connection)
    if upto is not None:
        waiting = [one for one in waiting if one.version <= upto]
    for one in waiting:
        oldest = OLDEST.search(one.text)
        if oldest is None:
            raise MigrationError(f"migration {one.name} does not name its oldest program")
        async with connection.transaction():
            await connection.execute(one.text)
            await connection.execute(
                "insert into schema_migrations (version, name, sha256, oldest_program)"
                " values ($1, $2, $3, $4)",
                one.version,
                one.name,
                one.digest,
                oldest[1],
            )
    if not newer and upto is None:
        await _replace_functions(connection, erasing)
    return [one.name for one in waiting]


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
