"""Backups by the clock: when one is due, that one process makes it, and what becomes of a try."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Door, until
from tests.person import Person
from warmdesk import disk
from warmdesk.backups.archive import Reading
from warmdesk.backups.making import turn
from warmdesk.config import Settings
from warmdesk.jobs.backups import HOURS, Scheduled, slot_of

PLACE = "/admin/system-settings"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 3 * 366 * 86_400).map(lambda second: BEGIN + timedelta(seconds=second))


@given(MOMENTS, st.sampled_from(sorted(HOURS.values())), st.times())
def test_a_slot_is_the_last_of_its_day_that_is_over(now: datetime, hours: int, begins: Any) -> None:
    start = f"{begins.hour:02}:{begins.minute:02}"
    first = datetime(2025, 12, 1, begins.hour, begins.minute, tzinfo=UTC)
    slots = [first + timedelta(hours=hours * number) for number in range(24 * 365 * 4 // hours)]
    assert slot_of(now, hours, start) == max(slot for slot in slots if slot <= now)


def test_without_a_start_the_first_is_at_midnight() -> None:
    now = datetime(2030, 1, 31, 13, 59, tzinfo=UTC)
    assert slot_of(now, 8, "") == datetime(2030, 1, 31, 8, tzinfo=UTC)


@pytest.fixture
async def jobs(door: Door, twin: Door, root: Person, eventually: Any) -> list[Scheduled]:
    """Those of two processes, which know that a backup is made every day."""
    await root.put(PLACE, {"backup_schedule": "24h", "backup_keep": 2})
    both = (door.desk, twin.desk)
    await eventually(lambda: all(d.system.values.backup_schedule == "24h" for d in both))
    return [Scheduled(desk) for desk in both]


@pytest.fixture
def directory(settings: Settings) -> Path:
    return Path(settings.backup_dir)


async def state(connection: Any) -> Any:
    return await connection.fetchrow("select * from backup_state")


async def later(connection: Any, minutes: float) -> None:
    """So many minutes go by."""
    await connection.execute(
        "update backup_state set last_run_at = last_run_at - $1::interval,"
        " full_at = full_at - $1::interval",
        timedelta(minutes=minutes),
    )


async def test_of_many_that_look_at_once_one_makes_it(
    jobs: list[Scheduled], directory: Path, connection: Any
) -> None:
    for day in range(1, 4):
        made = await asyncio.gather(*(job.turn() for job in jobs * 4))
        assert sum(made) == 1
        kept = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert len(kept) == min(day, 2), "the oldest goes"
        assert Reading(kept[-1]).check().includes_files
        row = await state(connection)
        assert (row["last_filename"], row["last_ok"]) == (kept[-1].name, True)
        assert not any(await asyncio.gather(*(job.turn() for job in jobs)))
        await later(connection, 24 * 60)


async def test_none_is_made_unless_somebody_says_so(door: Door, directory: Path) -> None:
    assert await Scheduled(door.desk).turn() == 0
    assert not directory.exists()


async def test_while_another_is_made_none_is_begun(
    jobs: list[Scheduled], settings: Settings, directory: Path, connection: Any
) -> None:
    async with turn(settings):
        assert [await job.turn() for job in jobs] == [0, 0]
        assert (await state(connection))["last_run_at"] is None
    assert await jobs[0].turn() == 1


async def test_that_its_maker_died_is_a_failure(
    jobs: list[Scheduled], settings: Settings, directory: Path, connection: Any
) -> None:
    """Which is known by the lock: PostgreSQL lets go of it with the maker's connection. What it
    died of, as want of memory, would else kill one worker a minute.
    """
    dead = await asyncpg.connect(settings.database_url)
    await dead.execute("begin")
    await dead.execute("select pg_advisory_xact_lock(x'77645442'::integer)")
    await connection.execute("update backup_state set last_run_at = now(), last_ok = null")
    assert await jobs[0].turn() == 0
    dead.terminate()

    async def noted() -> bool:
        assert await jobs[1].turn() == 0
        return (await state(connection))["last_ok"] is False

    await until(noted)
    assert [await job.turn() for job in jobs] == [0, 0], "not at once"
    assert not directory.exists()
    await later(connection, 11)
    assert await jobs[1].turn() == 1
    assert (await state(connection))["last_ok"] is True
    assert len(list(directory.iterdir())) == 1


async def test_one_that_fails_is_tried_again_before_its_next_time(
    jobs: list[Scheduled],
    directory: Path,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, "LOW", 1 << 62)
        assert await jobs[0].turn() == 0
    assert "backup.failed" in caplog.text
    assert (await state(connection))["last_ok"] is False
    assert await jobs[1].turn() == 0, "not at once"
    await later(connection, 11)
    assert await jobs[1].turn() == 1
    assert (await state(connection))["last_ok"] is True


async def test_one_without_files_is_not_the_one_that_is_due(
    jobs: list[Scheduled], root: Person, directory: Path, connection: Any, eventually: Any
) -> None:
    made = await root.post("/admin/backup", {"include_uploads": False})
    assert (await state(connection))["last_ok"] is True
    assert await jobs[0].turn() == 1
    (whole,) = [path for path in directory.iterdir() if path.name != made["filename"]]
    assert Reading(whole).check().includes_files
    assert await jobs[0].turn() == 0
    await root.post("/admin/backup", {"include_uploads": False})
    assert await jobs[0].turn() == 0, "there is one with files of this day"
    await later(connection, 24 * 60)
    await root.put(PLACE, {"backup_include_uploads": False})
    desk = jobs[0].desk
    await eventually(lambda: not desk.system.values.backup_include_uploads)
    await root.post("/admin/backup", {"include_uploads": False})
    assert await jobs[0].turn() == 0, "none is wanted"


def breaking(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """What a driver or a disk says, which no test can have them say when it wants."""

    async def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(f"warmdesk.backups.making.{name}", broken)


@pytest.mark.parametrize(
    "error",
    [asyncpg.InterfaceError("closed"), asyncpg.InternalClientError("gone"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_connection_that_breaks_meanwhile_is_a_failure(
    jobs: list[Scheduled],
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    with monkeypatch.context() as patch:
        breaking(patch, "write", error)
        assert await jobs[0].turn() == 0
    assert (await state(connection))["last_ok"] is False


async def test_to_get_no_connection_for_it_is_a_failure(
    jobs: list[Scheduled],
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        breaking(patch, "connect", asyncpg.TooManyConnectionsError("no more"))
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await jobs[0].turn()
    assert (await state(connection))["last_ok"] is False
    assert await jobs[0].turn() == 0, "not at once"
    await later(connection, 11)
    assert await jobs[0].turn() == 1


async def test_no_connection_beside_one_that_is_being_made_is_no_failure(
    jobs: list[Scheduled], connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute("update backup_state set last_run_at = now(), last_ok = null")
    breaking(monkeypatch, "connect", asyncpg.TooManyConnectionsError("no more"))
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await jobs[0].turn()
    assert (await state(connection))["last_ok"] is None


async def test_one_that_was_made_is_made_although_an_older_one_stays(
    jobs: list[Scheduled],
    directory: Path,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def held(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("warmdesk.backups.keeping.prune", held)
    assert await jobs[0].turn() == 1
    assert "backup.not_pruned" in caplog.text
    (made,) = directory.iterdir()
    row = await state(connection)
    assert (row["last_filename"], row["last_ok"]) == (made.name, True)
