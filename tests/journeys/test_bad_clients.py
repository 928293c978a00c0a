"""Clients that break the rules: bad frames, bad requests, floods of sign-ins, the same again.

Whatever they do, each gets the answer that the protocol names, nobody else waits, nothing is
logged as a failure and nothing is left behind. ``python -m tests.journeys.test_bad_clients`` sends
a hundred thousand bad frames instead of ten thousand, and prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.conftest import Board, Invite, until
from tests.journeys.conftest import Process, Start
from tests.journeys.crowds import (
    BAD_BODIES,
    BAD_UPGRADES,
    OFFENCES,
    REQUESTS,
    Refused,
    handshake,
    hesitate,
    offend,
    shake,
    status_of,
    with_body,
)
from tests.journeys.test_readers import MIB, Talk, Viewer, memory_of, p99, town
from tests.person import Person
from tests.realtime.raw import masked
from warmdesk.auth import passwords
from warmdesk.config import Settings
from warmdesk.http.protocol import HEAD_SECONDS
from warmdesk.realtime.frames import CONTINUATION, PING, Close

pytestmark = pytest.mark.timeout(180)

TROUBLE = re.compile(r"^\S+ (?:error|critical) .*|Traceback|Task exception", re.MULTILINE)
"""What no client may bring a server to log."""

AT_ONCE = 15
"""Bad sockets of one person at a time: a twenty-first would be closed for another reason."""


# Frames and requests


@dataclass
class Nuisance:
    """What the bad clients met: answers other than the right ones, and how much was done."""

    sockets: int = 0
    frames: int = 0
    requests: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    patience: list[float] = field(default_factory=list)


async def bother(
    url: str, tokens: list[str], *, frames: int, rounds: int, lingering: int, seed: int
) -> Nuisance:
    """Send so many bad frames over many sockets, each bad request so often, and requests that never
    end, all at the same time.
    """
    seen, chance = Nuisance(), random.Random(seed)
    offences = itertools.cycle(OFFENCES)

    async def one_after_another(token: str) -> None:
        while seen.frames < frames:
            offence, annoyances = next(offences), chance.randrange(30)
            seen.sockets += 1
            seen.frames += annoyances + 1
            try:
                code = await offend(url, token, "demo", offence, chance, annoyances=annoyances)
            except (Refused, EOFError, OSError, TimeoutError) as error:
                seen.wrong[f"{offence.name}: {error!r}"] += 1
            else:
                if code != offence.code:
                    seen.wrong[f"{offence.name}: {code}"] += 1

    async def ask() -> None:
        for _ in range(rounds):
            for name, request, statuses in REQUESTS:
                await asked(name, request, statuses)
            for body in BAD_BODIES:
                large = len(body) > Settings().public_body_bytes
                statuses = frozenset({413} if large else {400, 401})
                await asked(f"body {body[:20]}", with_body(body.encode()), statuses)
            for change, statuses in BAD_UPGRADES:
                await asked(str(change), handshake(tokens[0], "demo", change), statuses)

    async def asked(name: str, request: bytes, statuses: frozenset[int]) -> None:
        seen.requests += 1
        try:
            status = await status_of(url, request)
        except (OSError, TimeoutError) as error:
            seen.wrong[f"{name}: {error!r}"] += 1
        else:
            if status not in statuses:
                seen.wrong[f"{name}: {status}"] += 1

    async def linger(beginning: bytes) -> None:
        seen.patience.append(await hesitate(url, beginning, seconds=3 * HEAD_SECONDS))

    async with asyncio.TaskGroup() as group:
        for beginning in itertools.islice(itertools.cycle(SLOW_REQUESTS), lingering):
            group.create_task(linger(beginning))
        for token in tokens:
            for _ in range(AT_ONCE):
                group.create_task(one_after_another(token))
        group.create_task(ask())
    return seen


SLOW_REQUESTS = [
    b"GET /",
    b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nA: ",
    b"GET /api/v1/ws/demo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ",
]


def bother_apart(url: str, tokens: list[str], sizes: dict[str, int]) -> Nuisance:
    """The same in a process of its own, so that it does not slow down who watches."""
    return asyncio.run(bother(url, tokens, **sizes))


@dataclass
class Watch:
    """How late the server's loop and our own were, in seconds."""

    server: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    shown: float = 0.0


@asynccontextmanager
async def watched(url: str, token: str) -> Any:
    """Ask over a socket of one's own, 50 times a second, and time the answers."""
    watch, line = Watch(), await shake(url, token, "user")

    async def ask() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.02)
            watch.own.append(time.perf_counter() - before - 0.02)
            before = time.perf_counter()
            await line.say(masked('{"type":"ping"}'))
            while b'"pong"' not in (await line.frame())[1]:
                pass
            watch.server.append(time.perf_counter() - before)

    task = asyncio.create_task(ask())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        line.leave()


def files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def besieged(
    process: Process, talker: Person, path: str, good: list[str], bad: list[str], **sizes: int
) -> tuple[Nuisance, Watch]:
    """Bad clients beside 20 viewers and somebody who talks: the viewers miss nothing, and files and
    memory are what they were.
    """
    (worker,) = process.workers()
    await talker.token()
    # The first of everything costs memory for good.
    await bother(process.url, bad, frames=600, rounds=1, lingering=0, seed=0)
    async with AsyncExitStack() as stack:
        viewers = [Viewer(await shake(process.url, good[n % len(good)], "demo")) for n in range(20)]
        watch = await stack.enter_async_context(watched(process.url, good[0]))
        apart = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        talk = Talk(talker, path, size=300, pause=0.05)
        files, memory = files_of(worker), memory_of(worker)
        for viewer in viewers:
            stack.push_async_callback(viewer.stop)
            viewer.start()
        talking = asyncio.create_task(talk.go_on())
        loop = asyncio.get_running_loop()
        seen = await loop.run_in_executor(apart, bother_apart, process.url, bad, sizes)
        talk.over.set()
        await talking
        head = (await talker.get(path))["seq"]
        await until(lambda: all(viewer.seqs[-1] >= head for viewer in viewers), limit=10)
        for viewer in viewers:
            viewer.check(head)
        await until(lambda: files_of(worker) <= files + 3, limit=15)
        assert memory_of(worker) - memory < 48 * MIB
    return seen, watch


async def test_bad_frames_and_requests_end_whoever_sends_them_and_disturb_nobody(
    board: Board, start: Start, person: Invite
) -> None:
    process = await start(workers=1)
    alice, bob = person("alice", url=process.url), person("bob", url=process.url)
    bad = [await person(name, url=process.url).token() for name in ("olga", "root")]

    seen, watch = await besieged(
        process,
        alice,
        board.path,
        [await bob.token()],
        bad,
        frames=10_000,
        rounds=3,
        lingering=40,
        seed=5,
    )

    assert seen.wrong == Counter()
    assert seen.sockets > 500
    assert all(HEAD_SECONDS - 1 < seconds < 2 * HEAD_SECONDS for seconds in seen.patience)
    assert TROUBLE.findall(process.log.read_text()) == []
    # Whatever keeps this process waiting, with nothing to do, keeps the server waiting, too.
    assert p99(watch.server) < pace.allows(0.05 + 4 * p99(watch.own))


@pytest.mark.parametrize(
    "flood",
    [
        masked('{"type":"ping"}') * 100,
        masked("x", PING) * 100,
        masked("", final=False) + masked("", CONTINUATION, final=False) * 100,
    ],
    ids=["texts", "pings", "empty fragments"],
)
@pytest.mark.settings(rate_limits=True)
async def test_floods_of_every_kind_end_with_4429(
    board: Board, url: str, alice: Person, bob: Person, flood: bytes
) -> None:
    async with bob.socket("demo") as other:
        line = await shake(url, await alice.token(), "demo")
        await line.say(flood)
        assert await line.close_code() == Close.FLOODING
        line.leave()
        await other.settle()


# Sign-ins


@dataclass
class Flood:
    """The answers to a flood of sign-ins, and how long each took, in seconds."""

    answers: list[tuple[int, float]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    async def pour(self, url: str, *, rate: int, seconds: float) -> None:
        """So many sign-ins a second, each of another account and from another address."""
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            asyncio.TaskGroup() as group,
        ):
            began = loop.time()
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                group.create_task(self._one(http, url, number))

    async def _one(self, http: aiohttp.ClientSession, url: str, number: int) -> None:
        began = time.perf_counter()
        async with http.post(
            f"{url}/api/v1/auth/login",
            json={"login": f"nobody{number}", "password": "not the password"},
            headers={"X-Forwarded-For": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"},
        ) as answer:
            await answer.read()
            self.answers.append((answer.status, time.perf_counter() - began))
            if answer.status == 429:
                self.waits.append(answer.headers["Retry-After"])


def board_times(url: str, tokens: list[str], seconds: float) -> list[float]:
    """How long a board takes, fetched ten times a second with each token, over connections that
    stay. For a process of its own: one that ran a thousand tests stands still for a quarter of a
    second when it collects its garbage.
    """
    times: list[float] = []

    async def one(token: str) -> None:
        head = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=head) as http:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = time.perf_counter()
                async with http.get(url) as answer:
                    await answer.read()
                    assert answer.status == 200, await answer.text()
                times.append(time.perf_counter() - began)
                await asyncio.sleep(0.1)

    async def all_of_them() -> None:
        await asyncio.gather(*map(one, tokens))

    asyncio.run(all_of_them())
    return times


async def flooded(
    process: Process, people: list[Person], path: str, *, seconds: float
) -> tuple[list[float], list[float], Flood]:
    """The board's times when all is quiet, the same in a flood of sign-ins, and the flood."""
    tokens = [await person.token() for person in people]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:

        async def times(seconds: float) -> list[float]:
            url = f"{process.url}/api/v1{path}"
            return await asyncio.get_running_loop().run_in_executor(
                pool, board_times, url, tokens, seconds
            )

        await times(1)
        quiet = await times(seconds / 2)
        flood = Flood()
        pouring = asyncio.create_task(flood.pour(process.url, rate=100, seconds=seconds + 1))
        await asyncio.sleep(1)
        wet = await times(seconds)
        await pouring
    return quiet, wet, flood


@pytest.mark.long
async def test_a_flood_of_sign_ins_is_refused_and_the_board_stays_fast(
    board: Board, start: Start, person: Invite
) -> None:
    # Each from an address of its own, as the proxy says: no limit of an address or account counts.
    process = await start(workers=2, rate_limits="on", trusted_proxies="127.0.0.1")
    people = [person(name, url=process.url) for name in ("alice", "bob", "olga", "root")]
    async with bob_watching(people[1]) as told:
        quiet, wet, flood = await flooded(process, people, board.path, seconds=3)
        await people[0].post(f"{board.path}/chat/messages", {"body": "still here"})
        await told("chat.message")

    statuses = Counter(status for status, _ in flood.answers)
    assert set(statuses) == {401, 429}
    assert statuses[429] > statuses[401]
    assert all(1 <= int(wait) <= 60 for wait in flood.waits)
    # Who is not let into the queue hears so at once; who waits in it, within its patience.
    assert median(took for status, took in flood.answers if status == 429) < pace.allows(0.5)
    assert max(took for _, took in flood.answers) < passwords.PATIENCE + 4
    # Promised is twice as long on a machine that has nothing else to do.
    assert p99(wet) < pace.allows(4 * p99(quiet) + 0.1)
    assert TROUBLE.findall(process.log.read_text()) == []


@asynccontextmanager
async def bob_watching(bob: Person) -> Any:
    """A socket in the flood: a function that waits for the next frame of a type."""
    async with bob.socket("demo") as wire:
        yield wire.next


# The same thing thrice


@dataclass
class Thrice:
    """Things that are asked for three times each, by three clients, at two servers."""

    servers: list[Process]
    token: str
    answers: dict[str, list[tuple[int, bytes, bool]]] = field(default_factory=dict)
    tries: int = 0

    async def ask(self, contexts: dict[str, tuple[str, dict[str, Any]]], *, at_once: int) -> None:
        """Ask for each of these (key: path and body) three times in parallel."""
        gate = asyncio.Semaphore(at_once)
        connector = aiohttp.TCPConnector(limit=at_once)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            asyncio.TaskGroup() as group,
        ):
            for key, (path, body) in contexts.items():
                for number in range(3):
                    server = self.servers[number % len(self.servers)]
                    group.create_task(self._one(http, gate, server, key, path, body))

    async def _one(
        self,
        http: aiohttp.ClientSession,
        gate: asyncio.Semaphore,
        server: Process,
        key: str,
        path: str,
        body: dict[str, Any],
    ) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        async with gate:
            for _ in range(60):
                self.tries += 1
                with suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                    async with http.post(
                        f"{server.url}/api/v1{path}", json=body, headers=headers
                    ) as answer:
                        text = await answer.read()
                        if answer.status != 503:
                            again = answer.headers.get("Idempotent-Replay") == "true"
                            self.answers.setdefault(key, []).append((answer.status, text, again))
                            return
                await asyncio.sleep(0.1)
        raise AssertionError(f"{key} was never answered")

    def check(self, *, replays: bool = True) -> None:
        """All three answers of a key are equal, byte for byte, and are a success."""
        for key, answers in self.answers.items():
            assert len(answers) == 3, key
            assert {status for status, _, _ in answers} == {201}, answers
            assert len({text for _, text, _ in answers}) == 1, answers
            if replays:
                assert sorted(again for _, _, again in answers) == [False, True, True], key


def wishes_for(board: Board, count: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Cards and messages, by key."""
    columns = itertools.cycle([board.backlog, board.progress, board.review, board.done])
    cards: Iterator[tuple[str, tuple[str, dict[str, Any]]]] = (
        (f"c{n}", (f"{board.path}/columns/{column}/cards", {"title": f"c{n}"}))
        for n, column in zip(range(count // 2), columns, strict=False)
    )
    messages = (
        (f"m{n}", (f"{board.path}/chat/messages", {"body": f"m{n}"}))
        for n in range(count - count // 2)
    )
    return dict([*cards, *messages])


async def kept(connection: Any) -> list[str]:
    """The titles of all cards and the bodies of all messages, sorted."""
    rows = await connection.fetch(
        "select title from cards union all select body from chat_messages order by 1"
    )
    return [row["title"] for row in rows]


async def test_a_thousand_keys_thrice_at_two_servers_are_a_thousand_rows(
    board: Board, fleet: list[Process], person: Invite, connection: Any
) -> None:
    token = await person("alice", url=fleet[0].url).token()
    thrice, contexts = Thrice(fleet, token), wishes_for(board, 1000)

    await thrice.ask(contexts, at_once=48)

    thrice.check()
    assert await kept(connection) == sorted(contexts)
    events = "select count(*) from events where type in ('board.card_created', 'chat.message')"
    assert await connection.fetchval(events) == 1000

    other = person("alice", url=fleet[1].url)
    for key in ("c0", "m0"):
        path, _ = contexts[key]
        body = {"title": "another"} if key == "c0" else {"body": "another"}
        refused = await other.post(path, body, key=key, status=422)
        assert refused["code"] == "idempotency_key_reused"
    assert await kept(connection) == sorted(contexts)


async def test_a_key_is_one_row_although_workers_are_killed_meanwhile(
    board: Board, fleet: list[Process], person: Invite, connection: Any
) -> None:
    token = await person("alice", url=fleet[0].url).token()
    thrice, contexts, killed = Thrice(fleet, token), wishes_for(board, 300), 0
    asking = asyncio.create_task(thrice.ask(contexts, at_once=24))
    chance = random.Random(11)
    while not asking.done():
        await asyncio.wait([asking], timeout=0.02)
        answered = sum(map(len, thrice.answers.values()))
        if killed < 3 and answered > 150 * (killed + 1):
            workers = await until(fleet[killed % 2].workers)
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
    await asking

    assert killed == 3
    assert thrice.tries > 900
    thrice.check(replays=False)
    assert await kept(connection) == sorted(contexts)


# The size of the promise


async def siege(frames: int) -> None:
    """Bad clients at full size; prints what it was like."""
    async with town(4) as (process, _, _):
        people = [Person(process.url, f"p{number}") for number in range(4)]
        tokens = [await person.token() for person in people]
        await people[0].post("/projects", {"name": "Demo"})
        seen, watch = await besieged(
            process,
            people[0],
            "/projects/demo",
            tokens[:2],
            tokens[2:],
            frames=frames,
            rounds=30,
            lingering=200,
            seed=int(time.time()),
        )
        print(
            f"{seen.frames} bad frames on {seen.sockets} sockets, {seen.requests} bad requests,"
            f" wrong answers: {dict(seen.wrong)}"
        )
        print(f"endless requests ended after {min(seen.patience):.1f} … {max(seen.patience):.1f} s")
        print(
            f"p99 of a ping: {p99(watch.server) * 1e3:.1f} ms, of our own timers:"
            f" {p99(watch.own) * 1e3:.1f} ms"
        )
        print(f"in the log: {TROUBLE.findall(process.log.read_text())}")
        for person in people:
            await person.close()


async def sign_ins() -> None:
    """A flood of sign-ins for 20 seconds; prints what it was like."""
    given: dict[str, Any] = {"workers": 2, "rate_limits": "on", "trusted_proxies": "127.0.0.1"}
    async with town(4, **given) as (process, _, _):
        people = [Person(process.url, f"p{number}") for number in range(4)]
        await people[0].post("/projects", {"name": "Demo"})
        quiet, wet, flood = await flooded(process, people, "/projects/demo", seconds=20)
        print(f"answers: {dict(Counter(status for status, _ in flood.answers))}")
        for name, times in (("quiet", quiet), ("in the flood", wet)):
            print(f"board, {name}: p99 {p99(times) * 1000:.1f} ms of {len(times)}")
        for person in people:
            await person.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Bad frames and requests, or sign-ins, at length.")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--sign-ins", action="store_true", help="a flood of sign-ins instead")
    asked = parser.parse_args()
    asyncio.run(sign_ins() if asked.sign_ins else siege(asked.frames))


if __name__ == "__main__":
    main()
