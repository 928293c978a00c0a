"""The process tells the truth about itself, quickly, whatever the servers behind it do."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import warmdesk
from tests import pace
from tests.conftest import Servers, Wait, serving
from tests.disk import small_disk
from tests.journeys.running import children
from tests.person import Person
from warmdesk import disk, tasks
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.disk import Disk
from warmdesk.rest import health


@pytest.fixture
def anybody(person: Any) -> Person:
    """Somebody without a credential."""
    nobody: Person = person()
    nobody.client.token = "none"
    return nobody


async def test_a_healthy_process_says_so(anybody: Person) -> None:
    assert await anybody.get("/health") == {"status": "ok"}
    assert await anybody.get("/version") == {"version": warmdesk.__version__}
    assert "ETag" not in (await anybody.request("GET", "/version")).headers


async def test_a_ready_process_says_so(anybody: Person) -> None:
    assert await anybody.get("/ready") == {"status": "ready", "database": "up", "redis": "up"}


async def test_a_task_that_keeps_failing_makes_the_process_unhealthy(
    anybody: Person, desk: Desk, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise RuntimeError("this task cannot run")

    monkeypatch.setattr(tasks, "DEAD_SECONDS", 0.2)
    desk.hub._tasks.start("hub.check_twice", fail)
    await eventually(desk.healthy)

    answer = await anybody.get("/health", status=503)

    assert answer["code"] == "task_dead"
    assert "hub.check_twice" in answer["error"]


async def test_a_process_that_stops_is_not_ready_but_healthy(anybody: Person, desk: Desk) -> None:
    desk.draining = True

    assert (await anybody.get("/ready", status=503))["code"] == "draining"
    assert await anybody.get("/health") == {"status": "ok"}


async def test_a_database_that_is_not_migrated_is_not_ready(
    anybody: Person, connection: Any
) -> None:
    await connection.execute(
        "delete from schema_migrations where version = (select max(version) from schema_migrations)"
    )

    answer = await anybody.get("/ready", status=503)

    assert answer["error"] == "the database is not migrated"


async def test_without_redis_the_process_is_ready_but_degraded(
    anybody: Person, servers: Servers, eventually: Wait
) -> None:
    pid = servers.valkey.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = await anybody.get("/ready")
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)

    assert answer == {"status": "ready", "database": "up", "redis": "down", "degraded": True}
    assert took < pace.here(1.0)
    await eventually(lambda: _redis_is_up(anybody))


async def _redis_is_up(anybody: Person) -> bool:
    return bool((await anybody.get("/ready"))["redis"] == "up")


async def test_a_database_that_hangs_is_told_within_a_second(
    anybody: Person, desk: Desk, connection: Any
) -> None:
    await anybody.get("/ready")
    async with connection.transaction():
        await connection.execute("lock table schema_migrations in access exclusive mode")
        began = time.monotonic()
        answers = await asyncio.gather(
            *(anybody.get("/ready", status=503) for _ in range(5)),
            *(anybody.get("/health") for _ in range(5)),
        )
        took = time.monotonic() - began

    assert answers[0]["database"] == "down"
    assert took < pace.here(1.2)
    await anybody.get("/ready")


async def test_both_answer_within_a_second_while_postgresql_and_redis_hang(
    anybody: Person, servers: Servers, eventually: Wait
) -> None:
    await anybody.get("/ready")
    postgres = servers.postgres.pid
    hung = [postgres, *children(postgres), servers.valkey.pid]
    slowest = 0.0

    async def ask(path: str, status: int) -> Any:
        nonlocal slowest
        began = time.monotonic()
        said = await anybody.get(path, status=status)
        slowest = max(slowest, time.monotonic() - began)
        return said

    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            answers = await asyncio.gather(
                *(ask("/ready", 503) for _ in range(4)), *(ask("/health", 200) for _ in range(4))
            )
            assert (answers[0]["database"], answers[0]["redis"]) == ("down", "down")
    finally:
        for pid in reversed(hung):
            os.kill(pid, signal.SIGCONT)

    assert slowest < 1.2  # promised is 1; the rest is for a busy machine
    await eventually(lambda: _is_ready(anybody), limit=3)


async def _is_ready(anybody: Person) -> bool:
    return bool((await anybody.request("GET", "/ready")).status == 200)


async def test_a_disk_that_is_low_is_told_and_one_that_is_full_gets_no_requests(
    settings: Settings, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SAMPLE_SECONDS", 0.05)
    with small_disk(disk.FULL + (4 << 20)) as directory:
        async with serving(replace(settings, data_dir=directory)) as door:
            nobody = Person(door.url, "nobody")
            nobody.client.token = "none"
            low: dict[str, Any] = {"status": "ready", "database": "up", "redis": "up"}
            low |= {"disk": "low", "degraded": True}
            assert await nobody.get("/ready") == low

            (directory / "ballast").write_bytes(bytes(8 << 20))

            await eventually(lambda: _full(nobody))
            assert await nobody.get("/health") == {"status": "ok"}

            (directory / "ballast").unlink()
            await eventually(lambda: _is_ready(nobody))
            await nobody.close()


async def _full(anybody: Person) -> bool:
    answer = await anybody.request("GET", "/ready")
    return answer.status == 503 and answer.body["code"] == "disk"


def test_a_disk_is_low_below_a_gibibyte_or_a_twentieth() -> None:
    gib = 1 << 30
    assert not Disk(free=gib, size=2 * gib).low
    assert Disk(free=gib - 1, size=2 * gib).low
    assert not Disk(free=5 * gib, size=100 * gib).low
    assert Disk(free=5 * gib - 1, size=100 * gib).low
    assert disk.measure_disk(Path("/no/such/place")) is None


def test_the_newest_migration_is_known() -> None:
    assert health.NEWEST >= 5
