"""Readers that are slow, silent or too many, beside viewers who shall not notice them.

The tests use a server in this process, with shorter times and smaller buffers. The sizes of the
promise (1,000 readers that stall, 100 that trickle, for 80 seconds, against a server of its own)
are ``python -m tests.journeys.test_readers [--tls]``, which prints the figures, and
``… --half-open``, which waits a whole minute for a client that has vanished.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import random
import shutil
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import trustme

from tests import pace
from tests.conftest import Board, Invite, Wait, fast_directory, until
from tests.journeys.conftest import Process, Start
from tests.journeys.crowds import Line, Refused, Tally, shake, stall, trickle
from tests.journeys.proxy import Proxy
from tests.person import PASSWORD, Person, Wire
from warmdesk.auth import passwords
from warmdesk.db.migrations import migrate
from warmdesk.desk import Desk
from warmdesk.embedded import Postgres, Valkey
from warmdesk.realtime import connection as connection_module
from warmdesk.realtime import socket_buffers, sweeper
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import ERASING
from warmdesk.realtime.frames import PING, TEXT, Close

MIB = 1 << 20


def memory_of(pid: int | str = "self") -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Who was closed with which code: (user_id, code), also where the peer never read it."""
    noted: list[tuple[int, int]] = []
    close = Connection.close

    def closed(self: Connection, code: int, reason: str = "") -> None:
        if not self.closing:
            noted.append((self.user_id, int(code)))
        close(self, code, reason)

    monkeypatch.setattr(Connection, "close", closed)
    return noted


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers and times at which a test sees in seconds what takes a minute."""
    monkeypatch.setattr(connection_module, "BUFFER_LIMIT", 128 << 10)
    monkeypatch.setattr(socket_buffers, "SEND_BUFFER", 32 << 10)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(sweeper, "WRITE_TIMEOUT", 1.5)
    monkeypatch.setattr(sweeper, "DRAIN_SECONDS", 4.0)


class Talk:
    """Somebody who goes on talking in a project until told to stop."""

    def __init__(self, person: Person, path: str, *, size: int, pause: float) -> None:
        self.person, self.path, self.size, self.pause = person, path, size, pause
        self.over = asyncio.Event()
        self.said = 0

    async def go_on(self) -> None:
        while not self.over.is_set():
            body = f"{time.monotonic():.6f} " + "x" * self.size
            await self.person.post(f"{self.path}/chat/messages", {"body": body})
            self.said += 1
            await asyncio.sleep(self.pause)


class Viewer:
    """Somebody who reads at once, and answers pings: the seqs, and how late each event came."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.seqs: list[int] = []
        self.delays: list[tuple[float, float]] = []
        self.ended = False
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._reading = asyncio.create_task(self.read())

    async def stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self.line.leave()

    async def read(self) -> None:
        try:
            while True:
                await self.take()
        except EOFError:
            self.ended = True

    async def take(self) -> None:
        opcode, payload = await self.line.frame(seconds=90)
        if opcode == PING:
            await self.line.say(b"\x8a\x80\x00\x00\x00\x00")
        elif opcode == TEXT:
            told = orjson.loads(payload)
            if told["type"] == "hello":
                self.seqs.append(told["payload"]["seq"])
            if "seq" in told:
                self.seqs.append(told["seq"])
            if told["type"] == "chat.message":
                now = time.monotonic()
                self.delays.append((now, now - float(told["payload"]["body"].split()[0])))

    def check(self, head: int) -> None:
        """Each event once, in order, up to the head."""
        assert not self.ended
        assert self.seqs == list(range(self.seqs[0], head + 1))


def p99(delays: Iterable[float]) -> float:
    return quantiles(delays, n=100)[98]


async def test_readers_that_stall_or_trickle_are_ended_in_time_and_nobody_else_notices(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    bob: Person,
    person: Invite,
    small: None,
    ends: list[tuple[int, int]],
) -> None:
    over, stalled, trickling = asyncio.Event(), Tally(), Tally()
    bob_token = await bob.token()
    tokens = [await person(name).token() for name in ("alice", "olga", "root")]
    viewers = [Viewer(await shake(url, bob_token, "demo")) for _ in range(8)]
    talk = Talk(alice, board.path, size=6000, pause=0.01)
    before = memory_of()
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(viewer.read()) for viewer in viewers]
        group.create_task(talk.go_on())
        slow = [
            group.create_task(stall(url, token, "demo", over, stalled))
            for token in tokens
            for _ in range(16)
        ]
        slow += [
            group.create_task(
                trickle(url, bob_token, "demo", over, trickling, bytes_a_second=20_000)
            )
            for _ in range(10)
        ]
        await until(lambda: len(ends) == len(slow), limit=30)
        most = memory_of() - before
        await until(lambda: all(task.done() for task in slow), limit=10)
        talk.over.set()
        head = (await alice.get(board.path))["seq"]
        await until(lambda: all(viewer.seqs[-1] >= head for viewer in viewers), limit=10)
        for task in reading:
            task.cancel()

    assert {code for _, code in ends} == {Close.SLOW_READER}
    assert len(stalled.lives) == 48
    assert len(trickling.lives) == 10
    # Some seconds of talk until the buffers are full, then the times above, then two visits.
    assert median(trickling.lives) > median(stalled.lives) + 1.0
    assert max(trickling.lives) < pace.allows(20)
    for viewer in viewers:
        viewer.check(head)
        viewer.line.leave()
    # In a process of its own they are not late at all; here the slow ones take the same turns.
    assert p99(delay for viewer in viewers for _, delay in viewer.delays) < pace.allows(1.0)
    assert most < 58 * 2 * (128 << 10) + 32 * MIB
    await until(lambda: len(desk.hub.roster.connections) == 0, limit=5)


async def test_the_kernel_too_forgets_what_a_peer_never_takes(
    board: Board, url: str, alice: Person, small: None, ends: list[tuple[int, int]]
) -> None:
    line = await shake(url, await alice.token(), "demo", receive_buffer=4096)
    for _ in range(40):
        await alice.post(f"{board.path}/chat/messages", {"body": f"0 {'x' * 9000}"})
    await until(lambda: ends, limit=8)
    # The peer has read nothing, and its window is shut: only a reset can tell it.
    await until(lambda: line.is_over, limit=3)
    line.leave()


async def test_a_thousand_small_buffers_count_like_a_few_large_ones(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    olga: Person,
    ends: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket_buffers, "SEND_BUFFER", 32 << 10)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(sweeper, "SLOW_BUDGET", 2 * MIB)
    token = await alice.token()
    lines = [await shake(url, token, "demo", receive_buffer=4096) for _ in range(12)]
    viewer = Viewer(await shake(url, await olga.token(), "demo"))
    reading = asyncio.create_task(viewer.read())
    for _ in range(60):
        await alice.post(f"{board.path}/chat/messages", {"body": f"0 {'x' * 9000}"})

    await until(lambda: ends, limit=8)
    assert not any(room.slow for room in desk.hub.rooms.values()), "nobody was past the limit"
    await until(lambda: sum(line.is_over for line in lines) == len(ends), limit=5)
    assert set(ends) == {(alice.id, Close.SLOW_READER)}
    assert sum(connection.buffered for connection in desk.hub.roster.connections) <= 2 * MIB
    assert 0 < len(ends) < len(lines)
    head = (await alice.get(board.path))["seq"]
    await until(lambda: viewer.seqs[-1] >= head)
    viewer.check(head)
    reading.cancel()
    for line in [*lines, viewer.line]:
        line.leave()


async def test_who_stops_reading_and_goes_on_gets_each_event_once(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    olga: Person,
    small: None,
    ends: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "WRITE_TIMEOUT", 30.0)
    monkeypatch.setattr(sweeper, "DRAIN_SECONDS", 60.0)
    chance, room, paused = random.Random(7), desk.hub.rooms, 0
    token = await olga.token()
    sleepers = [
        Viewer(await shake(url, token, "demo", receive_buffer=4096 << number % 4))
        for number in range(10)
    ]
    talk = Talk(alice, board.path, size=6000, pause=0.004)
    channel = project_channel(board.id)

    async def doze(viewer: Viewer, number: int) -> None:
        """Read nothing for a while, then some: until all is over, then all."""
        while not talk.over.is_set():
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            for _ in range(chance.choice([1, 5, 40, 300])):
                if talk.over.is_set():
                    break
                await viewer.take()
        await viewer.read()

    async with asyncio.TaskGroup() as group:
        group.create_task(talk.go_on())
        dozing = [group.create_task(doze(each, n)) for n, each in enumerate(sleepers)]
        end = time.monotonic() + 4
        while time.monotonic() < end:
            paused = max(paused, len(room[channel].slow))
            await asyncio.sleep(0.02)
        talk.over.set()
        await asyncio.sleep(0)
        head = (await alice.get(board.path))["seq"]
        await until(lambda: all(each.seqs[-1] >= head for each in sleepers), limit=20)
        for task in dozing:
            task.cancel()

    assert ends == []
    assert paused >= 3, "they were never slow"
    for viewer in sleepers:
        viewer.check(head)
        viewer.line.leave()


async def test_a_client_that_vanished_is_noticed_and_seen_to_leave(
    board: Board,
    desk: Desk,
    url: str,
    alice: Person,
    bob: Person,
    ends: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "PING_SECONDS", 4.0)
    monkeypatch.setattr(sweeper, "SILENT_SECONDS", 5.0)
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.5)
    async with vanishing(url, alice, bob) as vanished:
        await until(lambda: ends, limit=20)
        # Between two pings: waiting for the second would take eight seconds.
        assert 4.5 < time.monotonic() - vanished.at < pace.allows(7.5)
        assert 9.5 < await vanished.seen() < 20  # a leave waits five seconds for a return
    assert ends == [(alice.id, Close.HEARTBEAT)]


@dataclass
class Vanished:
    """A client that was there until `at`."""

    at: float
    wire: Wire
    user_id: int

    async def seen(self) -> float:
        """Seconds until the other is told that it left."""
        told = await self.wire.next("presence.leave", limit=90)
        assert told["payload"] == {"user_id": self.user_id}
        return time.monotonic() - self.at


@asynccontextmanager
async def vanishing(url: str, who: Person, other: Person) -> AsyncIterator[Vanished]:
    """A client that vanishes without a word, before the other's eyes.

    Its line stays up on both sides, as when a laptop's lid is shut; nothing goes through any more.
    """
    place = url.removeprefix("http://")
    token = await who.token()
    async with (
        Proxy(place, "127.0.0.1:0", bytes_only=True) as proxy,
        other.socket("demo") as wire,
    ):
        viewer = Viewer(await shake(f"http://{proxy.listen}", token, "demo"))
        reading = asyncio.create_task(viewer.read())
        await wire.next("presence.join")
        await until(lambda: len(viewer.seqs) > 0)
        proxy.freeze()
        yield Vanished(time.monotonic(), wire, who.id)
        reading.cancel()
        viewer.line.leave()


async def test_of_more_than_twenty_sockets_the_oldest_go_in_each_worker(
    board: Board, start: Start, person: Invite, eventually: Wait
) -> None:
    process = await start(workers=2)
    olga, bob = person("olga", url=process.url), person("bob", url=process.url)
    token = await olga.token()
    lines = [await shake(process.url, token, "demo") for _ in range(60)]
    ports = [line.port for line in lines]
    workers = worker_of_each(process, ports)
    assert set(workers.values()) == set(process.workers())
    stay: set[int] = set()
    for worker in process.workers():
        stay |= set([port for port in ports if workers[port] == worker][-20:])

    codes: Counter[int] = Counter()
    for line in lines:
        if line.port not in stay:
            codes[await line.close_code()] += 1
    assert codes == {Close.REPLACED: 60 - len(stay)}
    card = await bob_sees(bob, olga, board)
    for line in lines:
        if line.port in stay:
            await hears_of(line, card)
        line.leave()


async def bob_sees(bob: Person, olga: Person, board: Board) -> int:
    """A new card, which somebody else's socket hears of, too."""
    async with bob.socket("demo") as wire:
        await wire.next("presence.list")
        card = await olga.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "new"})
        told = await wire.next("board.card_created")
        assert told["payload"]["id"] == card["id"]
    return int(card["id"])


async def hears_of(line: Line, card: int) -> None:
    while True:
        opcode, payload = await line.frame()
        told = orjson.loads(payload) if opcode == TEXT else {}
        if told.get("type") == "board.card_created" and told["payload"]["id"] == card:
            return


def worker_of_each(process: Process, ports: list[int]) -> dict[int, int]:
    """Which worker has the other end of each of these local ports, as the kernel tells it."""
    inodes = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        mine, peer = (int(place.rpartition(":")[2], 16) for place in fields[1:3])
        if mine == process.port and peer in ports:
            inodes[fields[9]] = peer
    found = {}
    for worker in process.workers():
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            try:
                name = os.readlink(entry)
            except OSError:
                continue
            if name.startswith("socket:[") and name[8:-1] in inodes:
                found[inodes[name[8:-1]]] = worker
    return found


# The sizes of the promise

STALLED, TRICKLING, VIEWERS = 1000, 100, 40
QUIET_SECONDS, SLOW_SECONDS = 20.0, 85.0
EACH = 18
"""Sockets of one person: a twenty-first would be too many."""


class OverTls(Process):
    """A server that speaks TLS."""

    def __init__(self, base: Path, **settings: Any) -> None:
        super().__init__(base, **settings)
        self.url = f"https://localhost:{self.port}"

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.request("GET", f"{self.url}/api/v1/ready", ssl=False) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def town(
    people: int, *, tls: bool = False, **settings: Any
) -> AsyncIterator[tuple[Process, Process, Path | None]]:
    """PostgreSQL, Valkey and two servers of one worker: one for requests, one for sockets; and the
    certificate's authority when the latter speaks TLS. People ``p0``, ``p1`` … are admins.
    """
    base = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    postgres, valkey = Postgres(base, durable=False), Valkey(base)
    passwords.COST = 4
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        postgres.start()
        stack.callback(postgres.stop)
        valkey.start()
        stack.callback(valkey.stop)
        await migrate(postgres.dsn, erasing=ERASING)
        secret = await passwords.hash_password(PASSWORD)
        connection = await asyncpg.connect(postgres.dsn)
        await connection.executemany(
            "insert into users (email, username, password_hash, display_name, global_role)"
            " values ($1 || '@example.org', $1, $2, $1, 'admin')",
            [(f"p{number}", secret) for number in range(people)],
        )
        await connection.close()
        given: dict[str, Any] = {
            "database_url": postgres.dsn,
            "redis_url": valkey.url,
            "workers": 1,
            **settings,
        }
        trust = None
        if tls:
            authority, trust = trustme.CA(), base / "ca.pem"
            authority.cert_pem.write_to_path(str(trust))
            made = authority.issue_cert("localhost")
            made.private_key_pem.write_to_path(str(base / "key.pem"))
            for pem in made.cert_chain_pems:
                pem.write_to_path(str(base / "cert.pem"), append=True)
        requests = Process(base, **given)
        over_tls = {"tls_cert": base / "cert.pem", "tls_key": base / "key.pem"}
        sockets = OverTls(base, **given, **over_tls) if tls else Process(base, **given)
        for process in (requests, sockets):
            await process.start()
            stack.push_async_callback(process.stop)
        yield requests, sockets, trust


def trusting(trust: Path | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=str(trust)) if trust else None


async def crowd(
    url: str, tokens: list[str], over: asyncio.Event, tls: ssl.SSLContext | None
) -> tuple[Tally, Tally]:
    """All slow readers at once, for `SLOW_SECONDS`."""
    stalled, trickling = Tally(), Tally()
    whose = itertools.chain.from_iterable(itertools.repeat(token, EACH) for token in tokens)
    gate = asyncio.Semaphore(50)

    async def one(token: str, number: int) -> None:
        while not over.is_set():
            async with gate:
                await asyncio.sleep(0.25)
            try:
                if number < STALLED:
                    await stall(url, token, "demo", over, stalled, tls=tls)
                else:
                    await trickle(url, token, "demo", over, trickling, bytes_a_second=1500, tls=tls)
                return
            except Refused as refused:
                if refused.status != 503:
                    raise

    async with asyncio.TaskGroup() as group:
        for number in range(STALLED + TRICKLING):
            group.create_task(one(next(whose), number))
        await asyncio.sleep(SLOW_SECONDS)
        over.set()
    return stalled, trickling


def crowd_apart(url: str, tokens: list[str], trust: Path | None) -> tuple[Tally, Tally]:
    """The crowd in a process of its own, so that it does not slow down who measures."""
    return asyncio.run(crowd(url, tokens, asyncio.Event(), trusting(trust)))


async def slow_readers(*, tls: bool) -> None:
    """A thousand readers that stall and a hundred that trickle: print what it was like."""
    people = (STALLED + TRICKLING) // EACH + 4
    async with town(people, tls=tls) as (requests, sockets, trust):
        everybody = [Person(requests.url, f"p{number}") for number in range(people)]
        tokens = [await person.token() for person in everybody]
        maker = everybody[0]
        await maker.post("/projects", {"name": "Demo"})
        viewers = [
            Viewer(await shake(sockets.url, tokens[n % 3], "demo", tls=trusting(trust)))
            for n in range(VIEWERS)
        ]
        (worker,) = sockets.workers()
        talk = Talk(maker, "/projects/demo", size=12_000, pause=0.1)
        reading = [asyncio.create_task(viewer.read()) for viewer in viewers]
        talking = asyncio.create_task(talk.go_on())
        gc.collect()
        gc.freeze()
        await asyncio.sleep(QUIET_SECONDS)
        before, most, began = memory_of(worker), 0, time.monotonic()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            future = asyncio.get_running_loop().run_in_executor(
                apart, crowd_apart, sockets.url, tokens[3:], trust
            )
            while not future.done():
                most = max(most, memory_of(worker) - before)
                await asyncio.sleep(0.1)
            stalled, trickling = await future
        talk.over.set()
        await talking
        head = (await maker.get("/projects/demo"))["seq"]
        await until(lambda: all(viewer.seqs[-1] >= head for viewer in viewers), limit=20)
        for viewer, task in zip(viewers, reading, strict=True):
            viewer.check(head)
            task.cancel()
            viewer.line.leave()
        delays = [pair for viewer in viewers for pair in viewer.delays]
        quiet = [delay for at, delay in delays if at < began]
        while_slow = [delay for at, delay in delays if at >= began]
        print(f"events {talk.said}, memory +{most / MIB:.0f} MiB at most")
        for name, each in (("stalled", stalled), ("trickling", trickling)):
            lives = sorted(each.lives) or [0.0]
            print(
                f"{name}: opened {each.opened}, ended {len(each.lives)}, codes {dict(each.codes)},"
                f" lives {lives[0]:.1f} … {lives[-1]:.1f} s"
            )
        for name, some in (("quiet", quiet), ("with slow readers", while_slow)):
            print(f"{name}: p50 {median(some) * 1000:.1f} ms, p99 {p99(some) * 1000:.1f} ms")
        for person in everybody:
            await person.close()


async def half_open() -> None:
    """A client vanishes; print how long it takes to be noticed."""
    async with town(2, tls=False) as (requests, _, _):
        people = [Person(requests.url, f"p{number}", id=number + 1) for number in range(2)]
        await people[0].post("/projects", {"name": "Demo"})
        async with vanishing(requests.url, *people) as vanished:
            seconds = await vanished.seen()
            print(f"it was seen to leave after {seconds:.1f} s, of which 5 s are a leave's own")
        for person in people:
            await person.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Slow readers and clients that vanish.")
    parser.add_argument("--tls", action="store_true", help="slow readers over TLS")
    parser.add_argument("--half-open", action="store_true", help="a client that vanishes instead")
    asked = parser.parse_args()
    asyncio.run(half_open() if asked.half_open else slow_readers(tls=asked.tls))


if __name__ == "__main__":
    main()
