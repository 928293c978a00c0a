"""A backup is of one moment, whatever becomes of the tables meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from tests.conftest import until
from warmdesk.backups import making
from warmdesk.backups.archive import Reading
from warmdesk.backups.making import make, turn
from warmdesk.config import Settings
from warmdesk.errors import Conflict, Unavailable

REWRITE = "alter table users alter column display_name type text using display_name || ''"
WAITS = """
select exists (
    select 1 from pg_locks where not granted and mode = 'AccessShareLock'
    and database = (select oid from pg_database where datname = current_database())
)
"""


async def test_no_table_goes_or_is_written_anew_while_one_is_made(
    settings: Settings, connection: Any, root: Any, tmp_path: Path
) -> None:
    """The snapshot would find a table that was written anew empty, and others as they were."""
    await connection.execute("set lock_timeout = 100")
    async with turn(settings) as mine:
        for statement in (REWRITE, "drop table reminders", "truncate audit"):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await connection.execute(statement)
        await connection.execute("update users set display_name = display_name")
        made = await mine.make(tmp_path, include_files=False)
    assert made.manifest.tables["users"].rows
    await connection.execute(REWRITE)


async def test_one_that_waits_for_a_table_sees_what_was_made_of_it(
    settings: Settings, connection: Any, root: Any, tmp_path: Path
) -> None:
    held = connection.transaction()
    await held.start()
    await connection.execute(REWRITE)
    await connection.execute("drop table reminders")
    making_it = asyncio.create_task(make(settings, tmp_path, include_files=False))
    other = await asyncpg.connect(settings.database_url)
    await until(lambda: other.fetchval(WAITS))
    with pytest.raises(Conflict):
        await make(settings, tmp_path, include_files=False)
    await held.commit()
    made = await making_it
    users = await connection.fetchval("select count(*) from users")
    assert made.manifest.tables["users"].rows == users > 0
    assert "reminders" not in made.manifest.tables
    Reading(tmp_path / made.filename).check()
    await other.close()


async def test_a_table_of_somebody_else_that_may_not_be_read_is_no_obstacle(
    settings: Settings, connection: Any, keeper: Any, tmp_path: Path
) -> None:
    role = f"keeps_{os.getpid()}"
    await keeper.execute(f"create role {role} login")
    try:
        for what in ("tables", "sequences"):
            await connection.execute(f"grant select on all {what} in schema public to {role}")
        await connection.execute("create table figures (day date)")
        dsn = settings.database_url.replace("//warmdesk@", f"//{role}@")
        made = await make(replace(settings, database_url=dsn), tmp_path, include_files=False)
        assert "users" in made.manifest.tables
        assert "figures" not in made.manifest.tables
    finally:
        await connection.execute(f"drop owned by {role}")
        await keeper.execute(f"drop role {role}")


async def test_one_that_gets_no_table_says_so_and_lets_others_try(
    settings: Settings, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "LOCK_LIMIT", "set lock_timeout = '20ms'")
    monkeypatch.setattr(making, "PAUSE_SECONDS", 0.0)
    async with connection.transaction():
        await connection.execute("lock table users in access exclusive mode")
        for _ in range(2):
            with pytest.raises(Unavailable, match="the tables are being changed"):
                await make(settings, tmp_path, include_files=False)
    assert not list(tmp_path.iterdir())
    assert (await make(settings, tmp_path, include_files=False)).size
