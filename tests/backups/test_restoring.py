"""A backup put back: on an empty installation, over the one that it is of, of an older schema."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from msgspec.structs import replace

from tests.conftest import Board
from tests.person import Person
from warmdesk.backups.making import OWN, TEXT, make
from warmdesk.backups.restoring import restore
from warmdesk.config import Settings

TABLES = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1
"""


async def contents(dsn: str) -> dict[str, bytes]:
    """All rows of all tables, as text."""
    connection = await asyncpg.connect(dsn, server_settings=TEXT)
    try:
        found = {}
        for row in await connection.fetch(TABLES):
            rows = bytearray()

            async def take(piece: bytes, rows: bytearray = rows) -> None:
                rows += piece

            await connection.copy_from_table(row["relname"], output=take)
            found[row["relname"]] = bytes(rows)
        return found
    finally:
        await connection.close()


async def another_origin(dsn: str) -> None:
    """The tests' databases are copies of one."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("update install set origin = gen_random_uuid()")
    finally:
        await connection.close()


async def test_a_backup_makes_an_empty_installation_the_same(
    settings: Settings, board: Board, alice: Person, empty_database_url: str, tmp_path: Path
) -> None:
    for number in range(5):
        await board.card(f"Karte {number} \t \\ \n 🦊")
    await alice.post(f"{board.path}/chat/messages", {"body": "hello\\N"})
    before = await contents(settings.database_url)
    made = await make(settings, tmp_path, include_files=True)
    assert await contents(settings.database_url) == before
    await another_origin(empty_database_url)
    elsewhere = replace(settings, database_url=empty_database_url, data_dir=tmp_path / "other")
    done = await restore(elsewhere, tmp_path / made.filename)
    after = await contents(empty_database_url)

    told = {"feeds", "events", "audit"}
    assert {name: rows for name, rows in after.items() if name not in OWN | told} == {
        name: rows for name, rows in before.items() if name not in OWN | told
    }
    assert before.keys() == after.keys()
    assert done.carried_over == {"sessions": 0, "keys": 0, "members": 0, "users": 0}
