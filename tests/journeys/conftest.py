"""Whole servers for journeys: real processes, started and ended as an operator would.

``fleet`` is two servers on one database and one Valkey; ``fleet[0].kill()`` is a power cut for one
of them. ``start`` starts servers on whatever a test puts in between.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests import pace
from tests.checkers.mirror import fetch
from tests.conftest import (
    PEOPLE,
    Board,
    Servers,
    check_feeds,
    fast_directory,
    make_board,
    people_in,
    until,
)
from tests.journeys.running import SECRETS, children
from tests.person import Person
from tests.ports import free_port
from warmdesk.db.migrations import migrate
from warmdesk.embedded import Postgres, Valkey
from warmdesk.embedded.child import before_exec
from warmdesk.realtime.events import ERASING

START_SECONDS = 30.0
STOP_SECONDS = 15.0
PATIENCE = 30.0
SHIFTED = str(Path(__file__).with_name("shifted.py"))
SELDOM = str(Path(__file__).with_name("seldom.py"))


class Process:
    """One ``python -m warmdesk serve`` with its workers. `clock`: seconds that its clock is ahead;
    `looks`: seconds from one look of its workers at the feeds to the next; `within`: a command that
    runs it elsewhere, as ``ip netns exec NAME``.
    """

    def __init__(
        self,
        base: Path,
        *,
        clock: float = 0.0,
        looks: float = 0.0,
        within: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        program = ["-m", "warmdesk"]
        if clock:
            program = [SHIFTED, "--seconds", str(clock)]
        elif looks:
            program = [SELDOM, str(looks)]
        self.command = [*within, sys.executable, *program, "serve"]
        self.port, self.count = free_port(), int(settings.get("workers", 2))
        self.url = f"http://{settings.get('host', '127.0.0.1')}:{self.port}"
        self.log = base / f"server-{self.port}.log"
        given = {
            "port": self.port,
            "workers": 2,
            "data_dir": base / f"server-{self.port}",
            "rate_limits": "off",
            "jwt_secret": SECRETS["WARMDESK_JWT_SECRET"],
            "secret_key": SECRETS["WARMDESK_SECRET_KEY"],
            **settings,
        }
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("WARMDESK_")},
            **{f"WARMDESK_{name.upper()}": str(value) for name, value in given.items()},
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it says that it is ready, and its supervisor that a worker serves:
        who asks may be faster. It ends with us, whatever ends us.
        """
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=before_exec(death=signal.SIGTERM),
            )
        await until(self.is_ready, limit=START_SECONDS, every=0.05)
        await until(lambda: "worker.serves" in self.log.read_text(errors="replace"))

    async def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, f"it ended: {self.log.read_text()}"
        try:
            async with aiohttp.request("GET", f"{self.url}/api/v1/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """The processes that serve, by their ids."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]

    async def kill(self) -> None:
        """End the supervisor as a power cut would; its workers end with it."""
        workers = self.workers()
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        await self.process.wait()
        await until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS * pace.stretch())
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
                raise AssertionError(f"it did not stop in {STOP_SECONDS} s") from None


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    yield path
    shutil.rmtree(path, ignore_errors=True)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(base: Path, database_url: str, redis_url: str) -> AsyncIterator[Start]:
    """``await start(redis_url=…)``: one more server. None may leave a traceback in its log."""
    running: list[Process] = []

    async def one_more(**settings: Any) -> Process:
        given = {"database_url": database_url, "redis_url": redis_url, **settings}
        process = Process(base, **given)
        running.append(process)
        await process.start()
        return process

    yield one_more
    try:
        await asyncio.gather(*(process.stop() for process in running))
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                if process.process is not None and process.process.returncode is None:
                    process.process.kill()
    for process in running:
        log = process.log.read_text(errors="replace")
        assert "Traceback" not in log, f"{process.url} said:\n{log[-4000:]}"


@pytest.fixture
async def fleet(start: Start) -> list[Process]:
    """Two servers with two workers each."""
    return list(await asyncio.gather(start(), start()))


@pytest.fixture
async def own_valkey() -> AsyncIterator[Valkey]:
    """A Valkey that a test may kill."""
    path = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    valkey = Valkey(path)
    valkey.start()
    yield valkey
    with suppress(ProcessLookupError):
        os.kill(valkey.pid, signal.SIGCONT)
    valkey.stop()
    shutil.rmtree(path, ignore_errors=True)


class OwnPostgres(Postgres):
    """A durable PostgreSQL with the people in it, to be hurt as the world hurts one."""

    def family(self) -> list[int]:
        """The postmaster and its children, by their ids."""
        return [self.pid, *children(self.pid)]

    def signal(self, number: signal.Signals) -> None:
        """The same to all its processes, the postmaster first, so that it replaces nobody."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def again(self) -> None:
        """Start it and wait until it takes connections. The loop goes on meanwhile."""
        self.start(wait=False)
        await until(self.answers, limit=START_SECONDS, every=0.02)

    async def answers(self) -> bool:
        try:
            await (await asyncpg.connect(self.dsn, timeout=2)).close()
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True

    async def ask(self, statement: str, *values: Any) -> Any:
        """The first field of a statement's answer, by a connection of its own."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()


@pytest.fixture
async def own_postgres() -> AsyncIterator[OwnPostgres]:
    """A PostgreSQL that a test may kill. Its feeds are looked at in the end like all others."""
    path = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    postgres = OwnPostgres(path)
    postgres.start()
    await migrate(postgres.dsn, erasing=ERASING)
    await people_in(postgres.dsn)
    yield postgres
    try:
        if postgres.alive():
            postgres.signal(signal.SIGCONT)
            await check_feeds(postgres.dsn)
    finally:
        postgres.stop()
        shutil.rmtree(path, ignore_errors=True)


def socket_path(servers: Servers) -> str:
    """Where the session's Valkey listens."""
    return servers.valkey.url.removeprefix("unix://")


Visit = Callable[..., Person]


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    """``visit(fleet[0], "alice")``: somebody at one of the servers, as patient as a browser."""
    async with AsyncExitStack() as stack:

        def somebody(process: Process, username: str, **options: Any) -> Person:
            number = list(PEOPLE).index(username) + 1
            options.setdefault("patience", PATIENCE)
            person = Person(process.url, username, id=number, **options)
            stack.push_async_callback(person.close)
            return person

        yield somebody


async def furnished(process: Process, visit: Visit) -> Board:
    """The project demo, made at this server."""
    return await make_board(visit(process, "olga"), visit(process, "alice"))


class Crowd:
    """People who change the board without end, and remember what they were told was done."""

    def __init__(self, board: Board, people: list[Person], seed: int = 1) -> None:
        self.board, self.people = board, people
        self.chance = random.Random(seed)
        self.titles: list[str] = []
        self.cards: list[int] = []
        self.done = 0
        self.slowest = 0.0

    async def work(self, changes: int) -> None:
        """So many changes, shared by all."""
        shares = [changes // len(self.people)] * len(self.people)
        shares[0] += changes - sum(shares)
        async with asyncio.TaskGroup() as group:
            for number, (person, share) in enumerate(zip(self.people, shares, strict=True)):
                group.create_task(self._worker(number, person, share))

    async def work_until(self, over: asyncio.Event, *, pause: float = 0.0) -> None:
        """Go on until told to stop."""

        async def one(number: int, person: Person) -> None:
            while not over.is_set():
                await self._change(number, person)
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(self.people):
                group.create_task(one(number, person))

    async def goes_on(self, changes: int, *, limit: float = 30.0) -> None:
        """Wait until so many more changes were answered."""
        wanted = self.done + changes
        await until(lambda: self.done >= wanted, limit=limit)

    async def _worker(self, number: int, person: Person, share: int) -> None:
        for _ in range(share):
            await self._change(number, person)

    async def _change(self, number: int, person: Person) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await self._one(number, person)
        self.slowest = max(self.slowest, loop.time() - begun)
        self.done += 1

    async def _one(self, number: int, person: Person) -> None:
        path, chance, board = self.board.path, self.chance, self.board
        column = chance.choice([board.backlog, board.progress, board.review, board.done])
        context = chance.random()
        if context < 0.4 or len(self.cards) < 4:
            title = f"card {number}-{self.done}-{chance.random()}"
            card = await person.post(f"{path}/columns/{column}/cards", {"title": title})
            self.titles.append(title)
            self.cards.append(card["id"])
        elif context < 0.7:
            card_id = chance.choice(self.cards)
            body = {"column_id": column, "index": chance.randrange(5)}
            await person.patch(f"{path}/cards/{card_id}/move", body)
        elif context < 0.85:
            closed = chance.random() < 0.5
            await person.put(f"{path}/cards/{chance.choice(self.cards)}", {"closed": closed})
        else:
            title = f"said {number}-{self.done}-{chance.random()}"
            await person.post(f"{path}/chat/messages", {"body": title})
            self.titles.append(title)

    async def check_ledger(self, reader: Person) -> None:
        """Whatever was answered with success is there, once."""
        await reader.token()
        board, messages = await fetch(reader.client, self.board.slug)
        kept = [card["title"] for column in board["columns"] for card in column["cards"]]
        kept += [message["body"] for message in messages]
        lost = set(self.titles) - set(kept)
        assert not lost, f"{len(lost)} acknowledged changes are gone: {sorted(lost)[:5]}"
        doubled = [title for title in set(kept) if kept.count(title) > 1]
        assert not doubled, f"done twice: {doubled[:5]}"
