"""What earlier programs wrote is kept and served. A database goes through every schema that there
ever was; under each of them every table gets a row, made of what the catalogue says of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest

from tests.conftest import USUAL, Servers, serving
from tests.person import PASSWORD, Person
from tests.trying_out import operations
from warmdesk.auth.passwords import hash_password
from warmdesk.bounds import TABLES
from warmdesk.client import digest
from warmdesk.config import Settings
from warmdesk.db import migrations
from warmdesk.db.queries import sql
from warmdesk.realtime.events import ERASING

NUMBERS = [int(name.partition("_")[0]) for name, _ in migrations.files("migrations")]
COLUMNS = """
    select
        c.relname::text as in_table, a.attname::text as name,
        format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
        a.atthasdef or a.attidentity <> '' as by_itself,
        (
            select f.confrelid::regclass::text from pg_constraint f
            where f.contype = 'f' and f.conrelid = c.oid and f.conkey = array[a.attnum]
        ) as parent,
        (
            select substring(pg_get_constraintdef(k.oid) from 'ARRAY\\[(''[^'']*'')')
            from pg_constraint k
            where k.contype = 'c' and k.conrelid = c.oid and k.conkey = array[a.attnum]
        ) as allowed,
        exists (
            select from pg_constraint p
            where p.contype = 'p' and p.conrelid = c.oid and a.attnum = any(p.conkey)
        ) as in_key
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace
    order by 1, a.attnum
"""
OURS = {"schema_migrations", "install", "shows_users", "backup_state"}
"""What migrations fill themselves."""
FIELDS = {
    "attachments.conversation_id": "null",
    "attachments.owner_type": "'card'",
    "attachments.owner_id": "(select max(id) from cards)",
    "conversations.is_group": "true",
    "events.channel": "'project:{project}'",
    "events.seq": "1",
    "events.type": "'board.label_deleted'",
    "events.payload": "'{{\"id\":1}}'",
    "feeds.channel": "'project:{project}'",
    "feeds.seq": "1",
    "invitations.role": "'member'",
    "invitations.used_by_id": "null",
    "labels.color": "'#6366f1'",
    "mails.kind": "'notifications'",
    "message_reactions.owner_id": "(select max(id) from chat_messages)",
    "notifications.kind": "'mention'",
    "outgoing_webhooks.is_enabled": "false",
    "project_members.role": "'owner'",
    "projects.card_counter": "{n}",
    "projects.key_prefix": "'K{n}'",
    "projects.slug": "'of-{n}'",
    "sessions.revoked_at": "now()",
    "users.global_role": "'admin'",
    "users.email": "'u{n}@example.org'",
    "users.username": "'u{n}'",
}
"""What the catalogue does not tell: values that belong together, and those the tests use."""
VALUES = {
    "bigint": "{n}",
    "boolean": "false",
    "bytea": "decode(lpad(to_hex({n}), 8, '0'), 'hex')",
    "date": "date '2026-11-29'",
    "double precision": "{n}",
    "integer": "{n}",
    "text": "'{name} {n}'",
    "text[]": "array['{name} {n}']",
    "timestamp with time zone": "now() + interval '1 day'",
    "uuid": "gen_random_uuid()",
}
WITH_CARDS = 4
"""The first schema that has them."""
READ = 50
"""Of what can be read, so much at least is there."""
PERMITTED = re.compile(r"(card|topic) \S+: (counts|tells) |comment \d+: says ")
"""Faults that are the rows' own: nobody counted them."""
CHANGED: Mapping[str, str] = MappingProxyType({})
"""Columns that a migration means to change in rows that are there, and why."""


def value(column: Any, n: int, project: int) -> str:
    """An expression for the row that is written under a schema, with a project of this id."""
    name = f"{column['in_table']}.{column['name']}"
    if name in FIELDS:
        return FIELDS[name].format(n=n, project=project)
    if column["parent"]:
        return f"(select id from {column['parent']} order by id desc limit 1)"
    if column["allowed"]:
        return str(column["allowed"])
    if not column["required"]:
        return "null"
    return VALUES[column["type"]].format(n=n, name=name)


def named_in(column: Any) -> str | None:
    """The table whose row must be there before this column's value, if no constraint says so."""
    found = re.search(r" from (\w+)", FIELDS.get(f"{column['in_table']}.{column['name']}", ""))
    return found[1] if found else None


Rows = dict[tuple[str, ...], dict[str, Any]]
"""By their tables and keys."""


class Grown:
    """The database, and every row of it as its writer left it."""

    def __init__(self, dsn: str, connection: Any) -> None:
        self.dsn, self.connection = dsn, connection
        self.written: Rows = {}
        self.project = 0

    async def tables(self) -> dict[str, list[Any]]:
        """The columns of each."""
        found: dict[str, list[Any]] = {}
        for column in await self.connection.fetch(COLUMNS):
            found.setdefault(column["in_table"], []).append(column)
        return {table: columns for table, columns in found.items() if table not in OURS}

    async def write(self, n: int) -> None:
        """A row into each table that there is."""
        tables = await self.tables()
        parents: dict[str, set[Any]] = {
            table: {each["parent"] or named_in(each) for each in columns} - {None, table}
            for table, columns in tables.items()
        }
        self.project += "projects" in tables
        for table in TopologicalSorter(parents).static_order():
            given = {
                each["name"]: value(each, n, self.project)
                for each in tables[table]
                if not each["by_itself"] or f"{table}.{each['name']}" in FIELDS
            }
            # A trigger may have been faster.
            row = await self.connection.fetchval(
                f"insert into {table} as t ({', '.join(given)})"
                f" values ({', '.join(given.values())})"
                " on conflict do nothing returning to_jsonb(t)::text"
            )
            if row is not None:
                self.written |= rows_of(table, tables[table], [row])

    async def read(self) -> Rows:
        """What is there now."""
        found: Rows = {}
        for table, columns in (await self.tables()).items():
            rows = await self.connection.fetch(f"select to_jsonb(t)::text as row from {table} t")
            found |= rows_of(table, columns, [row["row"] for row in rows])
        return found


def rows_of(table: str, columns: list[Any], texts: list[str]) -> Rows:
    key = [each["name"] for each in columns if each["in_key"]]
    rows = [json.loads(text) for text in texts]
    return {(table, *(str(row[name]) for name in key)): row for row in rows}


@pytest.fixture(scope="module")
async def grown(servers: Servers, keeper: Any) -> AsyncIterator[Grown]:
    """The database at the head."""
    await keeper.execute("create database grown strategy file_copy")
    dsn = servers.dsn("grown")
    connection = await asyncpg.connect(dsn)
    try:
        grown = Grown(dsn, connection)
        for number in NUMBERS:
            async with connection.transaction():
                await migrations.lay(connection, upto=number)
            await grown.write(number)
        assert await migrations.migrate(dsn, erasing=ERASING) == []
        yield grown
    finally:
        await connection.close()
        await keeper.execute("drop database grown with (force)")


async def test_rows_are_kept_under_every_schema(grown: Grown) -> None:
    now = await grown.read()
    assert {table for table, *_ in now} == TABLES.keys() - OURS, "each table has some"
    users = [key for key in grown.written if key[0] == "users"]
    assert len(users) == len(NUMBERS) - 1, "the first schema has nobody"
    assert not grown.written.keys() - now.keys()
    for key, before in grown.written.items():
        for name, content in before.items():
            if f"{key[0]}.{name}" not in CHANGED and name in now[key]:
                assert now[key][name] == content, f"{key}: {name}"


async def test_no_constraint_and_no_index_is_left_undone(grown: Grown) -> None:
    undone = """
        select conname::text from pg_constraint where not convalidated
        union all
        select indexrelid::regclass::text from pg_index where not (indisvalid and indisready)
    """
    assert await grown.connection.fetch(undone) == []


async def test_the_present_program_serves_them(
    grown: Grown, redis_url: str, tmp_path: Path
) -> None:
    """Board, search, feed, and whatever else can be read; and they can be changed."""
    await grown.connection.execute(
        "update users set password_hash = $1", await hash_password(PASSWORD)
    )
    faults = [row["fault"] for row in await sql.server.faults(grown.connection)]
    assert [fault for fault in faults if not PERMITTED.match(fault)] == []
    settings = Settings(
        **USUAL, database_url=grown.dsn, redis_url=redis_url, file_store=str(tmp_path / "files")
    )
    async with serving(settings) as door:
        for n in NUMBERS[NUMBERS.index(WITH_CARDS) :]:
            await serves(Person(door.url, f"u{n}"), f"of-{n}", n)
        await reads(Person(door.url, f"u{n}"), f"of-{n}", f"K{n}-{n}")


async def serves(person: Person, slug: str, n: int) -> None:
    """What somebody finds who opens a project that was written under the n-th schema."""
    board = await person.get(f"/projects/{slug}")
    (column,) = board["columns"]
    (card,) = column["cards"]
    assert card["title"] == f"cards.title {n}"
    found = await person.get(f"/search?q=cards.title%20{n}")
    assert slug in str(found)
    told = await person.get(f"/projects/{slug}/digest")
    assert told["digest"] == digest(board["columns"])
    events = await person.get(f"/projects/{slug}/events?since=0")
    assert [each["seq"] for each in events["events"]] == [1]
    async with person.socket(slug, since=1) as socket:
        await socket.next("hello")
        await person.post(f"/projects/{slug}/columns/{column['id']}/cards", {"title": "new"})
        assert (await socket.next("board.card_created"))["seq"] == 2
    await person.close()


async def reads(person: Person, slug: str, card: str) -> None:
    """Everything that can be read, of the newest rows."""
    known = {"slug": slug, "card_id": card}
    statuses: Counter[int] = Counter()
    for each in operations():
        if each.method == "get":
            path = re.sub(r"\{(\w+)\}", lambda found: str(known.get(found[1], 1)), each.path)
            answer = await person.request("GET", path)
            assert answer.status < 500, f"{path}: {answer}"
            statuses[answer.status] += 1
    await person.close()
    assert statuses[200] >= READ, statuses
