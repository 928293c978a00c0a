"""Everybody loses their server at once and comes back at once, each with what it has.

::

    python -m tests.journeys.test_storm_of_sockets --sockets 10000 --workers 2

prints how long that takes and what it costs. The viewers, the server and a program that asks for
boards meanwhile are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import uvloop

from tests.conftest import Board
from tests.journeys.conftest import Process, Start
from tests.journeys.running import SECRETS, until
from tests.journeys.viewers import Tally, Viewer
from tests.person import Person
from warmdesk.auth.tokens import AccessTokens
from warmdesk.db.migrations import migrate
from warmdesk.desk import Desk
from warmdesk.embedded import Postgres, Valkey
from warmdesk.realtime import feed
from warmdesk.realtime.events import ERASING

SECRET = SECRETS["WARMDESK_JWT_SECRET"]
SOCKETS_EACH = 10
ROOM = 200
"""Sockets of one project."""
MISSED = 10
"""Events of each project while nobody listens."""
BACK_WITHIN = 30.0
SLOWEST = 1.0
MOST_STATEMENTS = 2
"""Statements a socket; with one for each thing that each socket wants there are five."""
ASKED_EACH_SECOND = 20

PEOPLE = """
    with people as (
        insert into users (email, username, password_hash, display_name)
        select 'storm' || n || '@example.org', 'storm' || n, 'x', 'Storm ' || n
        from generate_series(1, $1) as n
        returning id
    )
    insert into sessions (user_id, expires_at)
    select id, now() + interval '1 day' from people
    returning user_id, id::text
"""
MEMBERS = "insert into project_members (project_id, user_id, role) values ($1, $2, 'member')"


@dataclass
class Storm:
    """A storm's course; times in seconds since the server served again."""

    sockets: int
    tally: Tally
    most: float = 0.0
    last: float = 0.0
    since_killed: float = 0.0
    statements: int = 0
    users: int = 0
    rooms: int = 0
    shares: list[int] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        tally = self.tally
        return "\n".join(
            [
                f"sockets            {self.sockets} of {self.users} users in {self.rooms} rooms",
                f"99 % back          {self.most:.1f} s, all {self.last:.1f} s after it serves;"
                f" {self.since_killed:.1f} s after it was killed",
                f"refused            {dict(tally.refusals)} {dict(tally.reasons)},"
                f" not taken {tally.failed_connects}",
                f"events             {tally.deliveries}, wrong {tally.wrong[:5]},"
                f" resets {tally.resets}",
                f"statements         {self.statements},"
                f" {self.statements / self.sockets:.2f} a socket",
                f"sockets a worker   {self.shares}",
                f"boards meanwhile   {self.asked}",
            ]
        )


async def storm(host: Process, other: Process, dsn: str, sockets: int) -> Storm:
    """Open so many sockets at `host`, kill it, start it again, and see everybody come back.
    Meanwhile somebody writes at `other`.
    """
    tally = Tally()
    course = Storm(sockets, tally)
    connection = await asyncpg.connect(dsn)
    try:
        viewers, writers = await _gathered(other, connection, host.url, sockets, tally)
        course.users, course.rooms = len({v.token for v in viewers}), len(writers)
        watching = [asyncio.create_task(viewer.stay()) for viewer in viewers]
        try:
            await _at_the_head(viewers, writers, within=60 + sockets / 50)
            course.shares = _shares(host)
            await _break_loose(host, connection, viewers, writers, course)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            for writer in writers:
                await writer.http.close()
    finally:
        await connection.close()
    return course


async def _break_loose(
    host: Process,
    connection: Any,
    viewers: list[Viewer],
    writers: list[Writer],
    course: Storm,
) -> None:
    counted = await _statements(connection)
    killed = time.monotonic()
    await host.kill()
    for writer in writers:
        for number in range(MISSED):
            await writer.say(f"missed {number}")
    back = len(course.tally.opened)
    await host.start()
    served = time.monotonic()
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journeys.test_storm_of_sockets", "--ask", host.url),
        *("--path", writers[0].path, "--token", viewers[0].token),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        enough = len(viewers) * 99 // 100
        await until(
            lambda: _arrived(viewers, writers) >= enough,
            within=BACK_WITHIN * 4,
            what=f"99 % are back; {_arrived(viewers, writers)} are, {course.tally}",
        )
        course.most = time.monotonic() - served
        await _at_the_head(viewers, writers, within=BACK_WITHIN * 4)
        course.last = time.monotonic() - served
        course.since_killed = time.monotonic() - killed
        assert len(course.tally.opened) - back >= len(viewers)
        course.statements = await _statements(connection) - counted
        assert asking.stdout is not None
        assert await asking.stdout.readline(), "where all were back first, it asks at least once"
    finally:
        with suppress(ProcessLookupError):
            asking.terminate()
        said, _ = await asking.communicate()
    course.asked = json.loads(said)


@dataclass
class Writer:
    """Somebody who writes in a project; `head` is the seq of what was written last."""

    http: aiohttp.ClientSession
    url: str
    slug: str
    head: int

    @property
    def path(self) -> str:
        return f"/projects/{self.slug}"

    async def say(self, body: str) -> None:
        async with self.http.post(
            f"{self.url}/api/v1{self.path}/chat/messages", json={"body": body}
        ) as answer:
            assert answer.status == 201, await answer.text()
            self.head += 1


async def _gathered(
    other: Process, connection: Any, url: str, sockets: int, tally: Tally
) -> tuple[list[Viewer], list[Writer]]:
    """Users, projects of theirs, and viewers who hold a token and a board's seq."""
    tokens = AccessTokens(SECRET, ttl=3600)
    people = [
        (row["user_id"], tokens.issue(row["user_id"], row["id"]))
        for row in await connection.fetch(PEOPLE, -(-sockets // SOCKETS_EACH))
    ]
    viewers: list[Viewer] = []
    writers: list[Writer] = []
    for first in range(0, len(people), ROOM // SOCKETS_EACH):
        here = people[first : first + ROOM // SOCKETS_EACH]
        http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {here[0][1]}"})
        api = f"{other.url}/api/v1/projects"
        async with http.post(api, json={"name": f"Storm {first}"}) as answer:
            assert answer.status == 201, await answer.text()
            project = await answer.json()
        await connection.executemany(MEMBERS, [(project["id"], user) for user, _ in here[1:]])
        async with http.get(f"{api}/{project['slug']}") as answer:
            board = await answer.json()
        writers.append(Writer(http, other.url, project["slug"], board["seq"]))
        for _, token in here:
            for _ in range(min(SOCKETS_EACH, sockets - len(viewers))):
                viewers.append(
                    Viewer(url, project["slug"], token, board["seq"], board["epoch"], tally)
                )
    return viewers, writers


def _arrived(viewers: list[Viewer], writers: list[Writer]) -> int:
    """How many are connected and have everything."""
    heads = {writer.slug: writer.head for writer in writers}
    return sum(viewer.there and viewer.since == heads[viewer.slug] for viewer in viewers)


async def _at_the_head(viewers: list[Viewer], writers: list[Writer], *, within: float) -> None:
    await until(
        lambda: _arrived(viewers, writers) == len(viewers),
        within=within,
        what=f"{len(viewers)} sockets",
    )


async def _statements(connection: Any) -> int:
    """Transactions of this database so far; outside of a transaction each statement is one."""
    await asyncio.sleep(1.2)  # PostgreSQL tells its counters once a second
    await connection.execute("select pg_stat_clear_snapshot()")
    return int(
        await connection.fetchval(
            "select xact_commit from pg_stat_database where datname = current_database()"
        )
    )


def _shares(host: Process) -> list[int]:
    """How many sockets each worker holds."""
    shares = []
    for pid in host.workers():
        opened = 0
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                opened += fd.readlink().name.startswith("socket:")
        shares.append(opened)
    return shares


# Somebody who asks meanwhile


async def ask(url: str, path: str, token: str) -> None:
    """Fetch a board many times a second until SIGTERM; print a line with the first answer, and in
    the end how long that took.
    """
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, over.set)
    took: list[float] = []
    statuses: Counter[int] = Counter()

    async def once(http: aiohttp.ClientSession) -> None:
        begun = time.monotonic()
        async with http.get(f"{url}/api/v1{path}") as answer:
            await answer.read()
            statuses[answer.status] += 1
        if not took:
            print("it asks", flush=True)
        took.append(time.monotonic() - begun)

    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(60)
    ) as http:
        asking = []
        while not over.is_set():
            asking.append(asyncio.create_task(once(http)))
            await asyncio.sleep(1 / ASKED_EACH_SECOND)
        await asyncio.gather(*asking)
    took.sort()
    print(
        json.dumps(
            {
                "times": len(took),
                "p50": round(took[len(took) // 2], 3),
                "p99": round(took[len(took) * 99 // 100], 3),
                "worst": round(took[-1], 3),
                "statuses": statuses,
            }
        )
    )


# The promise


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_everybody_comes_back_after_a_power_cut(start: Start, database_url: str) -> None:
    host, other = [await start(workers=workers) for workers in (2, 1)]
    course = await storm(host, other, database_url, 500)
    print(course)
    assert course.last < BACK_WITHIN
    assert course.tally.refusals.keys() <= {(503, True)}
    assert not course.tally.wrong
    assert course.tally.resets == 0
    assert course.tally.deliveries == 500 * MISSED
    assert course.asked["statuses"].keys() <= {"200"}
    assert course.asked["p99"] < SLOWEST
    assert max(course.shares) / min(course.shares) <= 1.5
    # A sign-in and a membership for each user in each worker; the rest is writing and looking.
    most = 500 * MOST_STATEMENTS
    assert course.statements < most, f"{course.statements} for 500 sockets of {course.users} users"


async def test_all_who_come_back_to_a_room_cost_one_read_of_it(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room was just opened and knows nothing of what they missed."""
    reads: list[int] = []
    after = feed.after

    async def counted(pool: Any, channel: str, since: int, **options: Any) -> Any:
        reads.append(since)
        return await after(pool, channel, since, **options)

    start = await alice.get(board.path)
    for number in range(30):
        await alice.post(f"{board.path}/chat/messages", {"body": f"missed {number}"})
    monkeypatch.setattr(feed, "after", counted)
    async with AsyncExitStack() as stack:
        sinces = [start["seq"] + number for number in range(10)]
        wires = await asyncio.gather(
            *(
                stack.enter_async_context(alice.socket("demo", since=since, epoch=start["epoch"]))
                for since in sinces
            )
        )
        for since, wire in zip(sinces, wires, strict=True):
            for seq in range(since + 1, start["seq"] + 31):
                assert (await wire.next("chat.message"))["seq"] == seq
    assert len(reads) <= 3, reads


async def test_what_is_deleted_while_the_past_is_read_is_not_told(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = await alice.get(board.path)
    secret = await alice.post(f"{board.path}/chat/messages", {"body": "the secret"})
    after, deleted = feed.after, False

    async def slow(pool: Any, channel: str, since: int, **options: Any) -> Any:
        nonlocal deleted
        page = await after(pool, channel, since, **options)
        if not deleted:
            deleted = True
            seq = desk.hub.rooms[channel].last
            await alice.delete(f"{board.path}/chat/messages/{secret['id']}")
            await until(lambda: desk.hub.rooms[channel].last > seq, within=5)
        return page

    monkeypatch.setattr(feed, "after", slow)
    for _ in range(2):
        async with alice.socket("demo", since=start["seq"], epoch=start["epoch"]) as wire:
            assert (await wire.next("gone"))["seq"] == start["seq"] + 1
            assert (await wire.next("chat.message_deleted"))["seq"] == start["seq"] + 2
    assert deleted


async def test_who_is_sent_away_is_told_a_later_moment_than_the_one_before(desk: Desk) -> None:
    told = [desk.hub.roster.when_to_come_back() for _ in range(10_000)]
    assert told == sorted(told)
    assert (min(told), max(told)) == (3, 20)
    assert told.count(5) == pytest.approx(400, abs=40)


# With figures


async def measure(wanted: argparse.Namespace) -> None:
    base = Path(tempfile.mkdtemp(prefix="wd-"))
    postgres, valkey = Postgres(base), Valkey(base)
    shared: dict[str, Any] = {}
    running: list[Process] = []
    try:
        for server in (postgres, valkey):
            server.start()
        await migrate(postgres.dsn, erasing=ERASING)
        shared = {"database_url": postgres.dsn, "redis_url": valkey.url, "rate_limits": "on"}
        for workers in (wanted.workers, 1):
            running.append(Process(base, workers=workers, **shared))
            await running[-1].start()
        print(await storm(running[0], running[1], postgres.dsn, wanted.sockets))
    finally:
        for process in running:
            await process.stop()
        if wanted.log:
            shutil.copy(running[0].log, wanted.log)
        valkey.stop()
        postgres.stop()
        shutil.rmtree(base, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A storm of sockets, with figures.")
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--log", help="where to keep the server's log")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.ask:
        uvloop.run(ask(wanted.ask, wanted.path, wanted.token))
    else:
        uvloop.run(measure(wanted))


if __name__ == "__main__":
    main()
