"""What runs in a soak: PostgreSQL, Valkey, a mail server, and hosts that reach the first two only
through bad networks.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import redis.asyncio

from load.soak.networks import Network, Networks, Way
from tests.conftest import until
from tests.journeys.conftest import Process
from tests.journeys.proxy import FAIR, Weather
from tests.journeys.running import is_gone
from tests.person import PASSWORD
from tests.postbox import Postbox, postbox
from warmdesk.auth import passwords
from warmdesk.db.migrations import migrate
from warmdesk.embedded import Postgres, Valkey
from warmdesk.realtime.events import ERASING

HOSTS = 2
COST = 12
"""The servers' own cost of a password's hash: a cheaper one would be made anew at each sign-in."""
START_SECONDS, STOP_SECONDS = 60.0, 15.0


class Host:
    """One server with its own way to Valkey and to PostgreSQL."""

    def __init__(self, number: int, process: Process, bus: Network, database: Network) -> None:
        self.number, self.process, self.bus, self.database = number, process, bus, database

    @property
    def url(self) -> str:
        return self.process.url

    def workers(self) -> list[int]:
        """The processes that serve now, oldest first."""
        with suppress(OSError):
            return self.process.workers()
        return []

    def __str__(self) -> str:
        return f"host {self.number}"


class World:
    """``async with World(...)``: everything started; all of it ended, and removed, at the end.

    `keep`: a directory for the servers' logs.
    """

    def __init__(
        self, *, seed: int, workers: int = 2, keep: Path | None = None, **settings: Any
    ) -> None:
        self.keep = keep
        self.chance = random.Random(seed)
        self.seed, self.count, self.settings = seed, workers, settings
        # Short, because the names of unix sockets must be.
        self.base = Path(tempfile.mkdtemp(prefix="wd-"))
        self.postgres = Postgres(self.base / "p", connections=200)
        self.valkey = Valkey(self.base / "v")
        self.hosts: list[Host] = []
        self.box = Postbox()
        self.ids: dict[str, int] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._end()

    async def _start(self) -> None:
        self.box = self._open.enter_context(postbox())
        self.postgres.start()
        self.valkey.start()
        await migrate(self.postgres.dsn, erasing=ERASING)
        parts = urlsplit(self.postgres.dsn)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        upstream = f"{asked['host']}/.s.PGSQL.{asked['port']}"
        places = [self.base / str(number) for number in range(1, HOSTS + 1)]
        ways = []
        for number, place in enumerate(places, 1):
            place.mkdir()
            to_valkey = self.valkey.url.removeprefix("unix://")
            ways += [
                Way(to_valkey, str(place / "valkey.sock"), seed=self.seed + number),
                Way(upstream, str(place / f".s.PGSQL.{asked['port']}"), bytes_only=True),
            ]
        there = await self._open.enter_async_context(Networks(ways))
        for number, place in enumerate(places, 1):
            bus, database = there.networks[2 * number - 2 : 2 * number]
            host = quote(str(place), safe="")
            process = Process(
                place,
                workers=self.count,
                database_url=f"postgresql://warmdesk@/warmdesk?host={host}&port={asked['port']}",
                redis_url=f"unix://{quote(bus.listen)}",
                base_url="https://desk.example.org",
                smtp_host="127.0.0.1",
                smtp_port=self.box.port,
                **self.settings,
            )
            self.hosts.append(Host(number, process, bus, database))
        await asyncio.gather(*(host.process.start() for host in self.hosts))

    async def _end(self) -> None:
        with suppress(EOFError, OSError):  # the networks may have ended first
            self.thaw()
        for host in self.hosts:
            self.signal(host.workers(), signal.SIGCONT)
        with suppress(BaseException):
            await asyncio.gather(*(host.process.stop() for host in self.hosts))
        for host in self.hosts:
            process = host.process.process
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        await self._open.aclose()
        with suppress(Exception):
            self.valkey.stop()
        with suppress(Exception):
            self.postgres.stop()
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            for number, log in enumerate(self.logs, start=1):
                shutil.copy(log, self.keep / f"server-{number}.log")
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def logs(self) -> list[Path]:
        return [host.process.log for host in self.hosts]

    async def connect(self) -> Any:
        """A connection of the checkers' own, past all bad networks."""
        return await asyncpg.connect(self.postgres.dsn, server_settings={"timezone": "UTC"})

    async def populate(self, people: dict[str, str]) -> None:
        """Accounts with these global roles; `ids` has their ids by username."""
        cost, passwords.COST = passwords.COST, COST
        try:
            secret = await passwords.hash_password(PASSWORD)
        finally:
            passwords.COST = cost
        connection = await self.connect()
        try:
            for username, role in people.items():
                self.ids[username] = await connection.fetchval(
                    "insert into users (email, username, password_hash, display_name, global_role)"
                    " values ($1, $2, $3, $4, $5) returning id",
                    f"{username}@example.org",
                    username,
                    secret,
                    username.title(),
                    role,
                )
        finally:
            await connection.close()

    # What may be done to it.

    def weather(self, weather: Weather = FAIR) -> None:
        """From now on every bus is like this."""
        for host in self.hosts:
            host.bus.become(weather)

    async def restart_valkey(self, *, away: float) -> None:
        """kill -9, and after `away` seconds another one with what the first had written down."""
        os.kill(self.valkey.pid, signal.SIGKILL)
        await until(lambda: not self.valkey.alive())
        self.valkey.stop()
        await asyncio.sleep(away)
        self.valkey.start(wait=False)
        await until(self._valkey_answers, limit=START_SECONDS)

    async def _valkey_answers(self) -> bool:
        async with redis.asyncio.from_url(self.valkey.url) as client:
            with suppress(redis.RedisError, OSError):
                return bool(await client.ping())
        return False

    async def flush_valkey(self) -> None:
        """Everything that it knows is gone; nobody is told."""
        async with redis.asyncio.from_url(self.valkey.url) as client:
            await client.flushall()

    async def restart_postgres(self, *, away: float, kill: bool) -> None:
        """End it, cleanly or by kill -9 of all its processes; after `away` seconds start it."""
        family = self.postgres_family()
        if kill:
            # Stopped first: else the first to die tells the others, which say goodbye.
            self.signal(family, signal.SIGSTOP)
            self.signal(family, signal.SIGKILL)
        else:
            os.kill(self.postgres.pid, signal.SIGINT)
        await until(lambda: not self.postgres.alive(), limit=STOP_SECONDS)
        await until(lambda: all(map(is_gone, family)), limit=STOP_SECONDS)
        self.postgres.stop()
        await asyncio.sleep(away)
        self.postgres.start(wait=False)
        await until(self._postgres_answers, limit=START_SECONDS)

    async def _postgres_answers(self) -> bool:
        with suppress(asyncpg.PostgresError, OSError, TimeoutError):
            await (await asyncpg.connect(self.postgres.dsn, timeout=1)).close()
            return True
        return False

    def postgres_family(self) -> list[int]:
        """The server process and all its children."""
        family = [self.postgres.pid]
        for pid in family:
            with suppress(OSError):
                text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                family += [int(child) for child in text.split()]
        return family

    @staticmethod
    def signal(pids: Iterable[int], number: int) -> None:
        """Send a signal to those that are still there."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def thaw(self) -> None:
        """All networks as they should be, all processes awake."""
        self.weather()
        for host in self.hosts:
            for proxy in (host.bus, host.database):
                proxy.thaw()
                proxy.open()
        self.signal([self.valkey.pid, *self.postgres_family()], signal.SIGCONT)
