"""The log of real servers that really lose Redis, PostgreSQL and the room on their disk: a line for
each state, and none for each try.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import pace
from tests.conftest import until
from tests.journeys.conftest import OwnPostgres, Process, Start, Visit
from tests.person import PASSWORD, Person
from warmdesk.embedded import Valkey

pytestmark = pytest.mark.timeout(120)

AWAY_SECONDS = 4.0
DISK = 300 << 20
LINE = re.compile(r"^\S+Z (\w+) ([a-z_.]+)(.*)$", re.MULTILINE)


def facts(process: Process, since: int) -> Counter[str]:
    """How often each fact was logged in the part of the log from there on."""
    said = process.log.read_text(errors="replace")[since:]
    return Counter(name for _, name, _ in LINE.findall(said))


def line(process: Process, name: str) -> str:
    """The first line of this fact."""
    text = process.log.read_text()
    return str(next(rest for _, found, rest in LINE.findall(text) if found == name))


async def told(process: Process, since: int, name: str, times: int) -> None:
    """Until a fact was logged so many times."""
    await until(lambda: facts(process, since)[name] == times, limit=10)


async def asking(person: Person, seconds: float) -> int:
    """Somebody guesses a password and somebody works; gives how many were answered 503."""
    await person.token()
    person.client.patience = 0
    guess = {"login": "olga", "password": "is it this one?"}
    end, refused = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        answers = [
            await person.client.request("POST", "/auth/login", guess),
            await person.client.request("POST", "/projects", {"name": "Desk"}),
        ]
        refused += sum(answer.status == 503 for answer in answers)
        await asyncio.sleep(0.02)
    return refused


async def test_a_redis_that_is_lost_is_told_once_by_each_worker(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    server = await start(redis_url=own_valkey.url, rate_limits="on", workers=2)
    alice = visit(server, "alice")
    await told(server, 0, "worker.serves", 2)
    begin = len(server.log.read_text())
    async with alice.socket("user"), visit(server, "bob").socket("user"):
        for times in (1, 2):
            os.kill(own_valkey.pid, signal.SIGKILL)
            await asking(alice, AWAY_SECONDS)
            assert facts(server, begin)["redis.lost"] == 2 * times
            own_valkey.stop()
            own_valkey.start()
            await told(server, begin, "redis.back", 2 * times)
    assert set(facts(server, begin)) <= {
        "redis.lost",
        "redis.back",
        "auth.refused",
        "hub.caught_up",
    }
    path = own_valkey.url.removeprefix("unix://")
    assert f'host={path} reason="' in line(server, "redis.lost")


async def test_a_postgresql_that_is_lost_is_told_once_by_each_worker(
    start: Start, visit: Visit, own_postgres: OwnPostgres
) -> None:
    server = await start(database_url=own_postgres.dsn, workers=2)
    alice = visit(server, "alice")
    await told(server, 0, "worker.serves", 2)
    begin = len(server.log.read_text())
    async with alice.socket("user"), visit(server, "bob").socket("user"):
        for times in (1, 2):
            own_postgres.stop()
            assert await asking(alice, AWAY_SECONDS) > 20 / pace.stretch()
            assert facts(server, begin)["database.lost"] == 2 * times
            await own_postgres.again()
            await told(server, begin, "database.back", 2 * times)
    said = facts(server, begin)
    explained = {"database.lost", "database.back", "auth.refused", "hub.caught_up", "hub.woken"}
    assert set(said) <= explained, said
    assert re.search(r' host=\S+ reason="\S', line(server, "database.lost"))


async def test_a_worker_that_cannot_start_is_told_once_however_often_it_is_tried(
    start: Start, own_postgres: OwnPostgres
) -> None:
    server = await start(database_url=own_postgres.dsn, workers=2)
    await told(server, 0, "worker.serves", 2)
    begin = len(server.log.read_text())
    own_postgres.stop()
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    await told(server, begin, "worker.not_started", 2)
    await asyncio.sleep(AWAY_SECONDS)
    said = facts(server, begin)
    assert said["worker.not_started"] == 2, said
    assert said["worker.ended"] == 2, "those that were killed"
    assert said["worker.crash_loop"] == 0
    await own_postgres.again()
    await told(server, begin, "worker.serves", 2)


async def test_a_disk_that_is_full_is_told_once(base: Path, visit: Visit) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a disk for a server that is started there")
    place = base / "disk"
    place.mkdir()
    mount = f'mount -t tmpfs -o size={DISK},mode=700 none {place} && exec "$@"'
    server = Process(
        base,
        within=["unshare", "--mount", "sh", "-c", mount, "sh"],
        workers=1,
        data_dir=place / "data",
        database_url="",
        redis_url="",
    )
    try:
        await server.start()
        olga = visit(server, "olga")
        account = {"username": "olga", "email": "o@example.org", "password": PASSWORD}
        assert (await olga.client.request("POST", "/auth/register", account)).status == 201
        await olga.token()
        inside = Path(f"/proc/{server.pid}/root{place}")
        begin = len(server.log.read_text())
        await fill(inside)
        await until(lambda: facts(server, begin)["disk.full"], limit=10)
        refused = await full(olga)
        assert refused > 100 / pace.stretch()
        assert facts(server, begin)["disk.full"] == 1
        for ballast in inside.glob("ballast*"):
            ballast.unlink()
        await until(lambda: facts(server, begin)["disk.free"], limit=10)
        await olga.post("/projects", {"name": "Room"})
        said = facts(server, begin)
        assert said["disk.full"] == said["disk.free"] == 1, said
        # Where its log finds no room PostgreSQL starts anew.
        ends = {"postgres.ended", "postgres.started", "database.lost", "database.back"}
        assert set(said) <= {"disk.full", "disk.free"} | ends, said
        assert f"below {place}/data" in line(server, "disk.full")
    finally:
        await server.stop()


async def fill(directory: Path) -> None:
    """Leave not a byte."""

    def write() -> None:
        with (directory / "ballast").open("wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 20))
                    ballast.flush()
            except OSError:
                pass

    await asyncio.to_thread(write)


async def full(olga: Person) -> int:
    """Make projects until PostgreSQL finds no room, and go on for two seconds; gives how many were
    refused.
    """
    olga.client.patience = 0
    refused, end = 0, time.monotonic() + 60
    body = {"name": "Desk", "description": "x" * 50_000}
    while not refused and time.monotonic() < end:
        refused = (await olga.client.request("POST", "/projects", body)).status == 503
    end = time.monotonic() + 2
    while time.monotonic() < end:
        refused += (await olga.client.request("POST", "/projects", body)).status == 503
    return refused
