"""Fixtures: real servers for the session, a database of its own for each test, people with names.

A test that asks for ``alice`` and ``board`` gets a server in this process on a real port, with the
project "demo": olga owns it, alice is a member, bob a viewer, eve a stranger; root administers the
installation. ``@pytest.mark.settings(rate_limits=True)`` changes settings for one test.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
import redis.asyncio
from aiohttp import web

from tests import again, deadline, pace
from tests.checkers.client_boards import Accompanied
from tests.checkers.mirror import mirror
from tests.closed import check_event
from tests.person import PASSWORD, Person
from warmdesk.app import build_app
from warmdesk.auth import passwords
from warmdesk.config import Settings
from warmdesk.db.migrations import migrate
from warmdesk.desk import Desk, open_desk
from warmdesk.embedded import Postgres, Valkey
from warmdesk.handshake_reader import HandshakeReaders
from warmdesk.realtime.events import ERASING

# How long an example takes is no property: on a busy machine it is any time.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

PEOPLE = {"root": "admin", "olga": "user", "alice": "user", "bob": "user", "eve": "user"}
NAMES = itertools.count(1)
USUAL: dict[str, Any] = {
    "rate_limits": False,
    "jwt_secret": "q7Xw2LdV0pKtZm9yIHRlc3RzIG9ubHk-",
    "secret_key": "V0pKtq7Xw2LdZm9yIHRlc3RzIG9ubHk-",
}

passwords.COST = 4
passwords.NICENESS = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the journeys that take long")
    parser.addoption(
        "--slow-browser",
        type=float,
        default=1,
        metavar="N",
        help="what a page computes takes N times as long: finds tests that are ahead of their page",
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "settings(**changes): settings of this test's server",
        "long: takes more than 15 seconds; left out but with --long, or when its file is named",
        "foul: writes rows or events that the server would not write; feeds and board go unchecked",
    ):
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(again.ONCE_MORE)
    if config.getoption("long"):
        return
    named = {Path(each.partition("::")[0]).resolve() for each in config.args}
    left_out = [
        item for item in items if item.get_closest_marker("long") and item.path not in named
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that the server runs on."""
    return {"uvloop": deadline.new_loop}


def pytest_runtest_logstart() -> None:
    """In each process that runs tests, before each attempt."""
    again.PULSE.begin()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """A test that runs out of time ends alone."""
    deadline.set_timer(item, settings.timeout)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a failed test shows may be what no text holds, and would end the whole run."""
    return printable((yield))


def printable(report: Any) -> Any:
    """The same with lone surrogates written out."""
    if isinstance(report, str):
        return report.encode("utf-8", "backslashreplace").decode()
    if isinstance(report, dict):
        return {printable(key): printable(value) for key, value in report.items()}
    if isinstance(report, list | tuple):
        return type(report)(map(printable, report))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    with deadline.inside():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    with deadline.inside():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    with deadline.inside():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    deadline.cancel_timer()
    return True


@dataclass(frozen=True)
class Servers:
    """The session's PostgreSQL (not durable) and Valkey, and how to reach them."""

    postgres: Postgres
    valkey: Valkey

    def dsn(self, database: str) -> str:
        return self.postgres.dsn.replace("@/warmdesk?", f"@/{database}?")


def fast_directory() -> str | None:
    """Memory instead of a disk, where there is enough: a database is copied for every test."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    return str(memory) if roomy and os.access(memory, os.W_OK | os.X_OK) else None


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    base = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    postgres, valkey = Postgres(base, durable=False), Valkey(base)
    postgres.start()
    valkey.start()
    yield Servers(postgres, valkey)
    valkey.stop()
    postgres.stop()
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
async def keeper(servers: Servers) -> AsyncIterator[Any]:
    """The connection that makes and drops databases."""
    connection = await asyncpg.connect(servers.postgres.dsn)
    # Who waits in a circle is told so before anybody has waited too long on a busy machine.
    await connection.execute("alter system set deadlock_timeout = '300ms'")
    await connection.execute("select pg_reload_conf()")
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def empty_template(servers: Servers, keeper: Any) -> str:
    """A migrated database without rows."""
    await keeper.execute("create database empty")
    await migrate(servers.dsn("empty"), erasing=ERASING)
    return "empty"


@pytest.fixture(scope="session")
async def template(servers: Servers, keeper: Any, empty_template: str) -> str:
    """A migrated database with the people; their ids are 1 to 5."""
    await keeper.execute(f"create database people template {empty_template}")
    await people_in(servers.dsn("people"))
    return "people"


async def people_in(dsn: str) -> None:
    """The people, with the ids 1 to 5, in a migrated database without rows."""
    connection = await asyncpg.connect(dsn)
    secret = await passwords.hash_password(PASSWORD)
    for username, role in PEOPLE.items():
        await connection.execute(
            "insert into users (email, username, password_hash, display_name, global_role)"
            " values ($1, $2, $3, $4, $5)",
            f"{username}@example.org",
            username,
            secret,
            username.title(),
            role,
        )
    await connection.close()


@asynccontextmanager
async def cloned(servers: Servers, keeper: Any, template: str) -> AsyncIterator[str]:
    """A copy of a database for a moment: its dsn."""
    name = f"t{next(NAMES)}"
    await keeper.execute(f"create database {name} template {template} strategy file_copy")
    try:
        yield servers.dsn(name)
    finally:
        await keeper.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
async def furnished(servers: Servers, keeper: Any, template: str) -> tuple[str, Board]:
    """The people and the project demo, made through the API: the database, and its board."""
    await keeper.execute(f"create database furnished template {template}")
    given: dict[str, Any] = {
        "database_url": servers.dsn("furnished"),
        "redis_url": servers.valkey.url,
    }
    async with serving(Settings(**USUAL, **given)) as door:
        olga, alice = Person(door.url, "olga"), Person(door.url, "alice")
        board = await make_board(olga, alice)
        await olga.close()
    connection = await asyncpg.connect(servers.dsn("furnished"))
    await connection.execute("truncate refresh_tokens, sessions, login_events")
    await connection.close()
    return "furnished", board


@pytest.fixture
def source(request: pytest.FixtureRequest) -> str:
    """The database that the test gets a copy of."""
    if "board" in request.fixturenames:
        name, _ = request.getfixturevalue("furnished")
    else:
        name = request.getfixturevalue("template")
    return str(name)


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest, servers: Servers, keeper: Any, source: str
) -> AsyncIterator[str]:
    """The test's database. What it left in the feeds must be what the catalogue declares."""
    async with cloned(servers, keeper, source) as dsn:
        yield dsn
        if request.node.get_closest_marker("foul") is None:
            await check_feeds(dsn)


async def check_feeds(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for row in await connection.fetch("select channel, type, payload from events"):
            check_event(row["channel"], row["type"], row["payload"])
    finally:
        await connection.close()


@pytest.fixture
async def empty_database_url(
    servers: Servers, keeper: Any, empty_template: str
) -> AsyncIterator[str]:
    """A migrated database without anybody in it."""
    async with cloned(servers, keeper, empty_template) as dsn:
        yield dsn


@pytest.fixture
async def redis_url(servers: Servers) -> str:
    """The session's Valkey, emptied."""
    url = servers.valkey.url
    # redis-py reads its own version from a file for each connection, unless it is told not to.
    async with redis.asyncio.from_url(url, driver_info=None) as connection:
        await connection.flushall()
    return url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """A bare connection to the test's database."""
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


@pytest.fixture
def settings(request: pytest.FixtureRequest, database_url: str, redis_url: str) -> Settings:
    """The test's settings: no rate limits unless it asks for them."""
    return changed_settings(request, database_url=database_url, redis_url=redis_url)


def changed_settings(request: pytest.FixtureRequest, **given: Any) -> Settings:
    """Settings for a test, with what its marker changes."""
    marker = request.node.get_closest_marker("settings")
    here = request.getfixturevalue("tmp_path")
    usual = USUAL | {"file_store": str(here / "files"), "backup_dir": str(here / "backups")}
    return Settings(**(usual | given | (marker.kwargs if marker else {})))


@dataclass(frozen=True)
class Door:
    """The application on a port of this process."""

    desk: Desk
    url: str


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Door]:
    """Open a desk and serve it. Two at once are two processes in one."""
    async with open_desk(settings) as desk:
        runner = web.AppRunner(build_app(desk), access_log=None, shutdown_timeout=1)
        await runner.setup()
        readers = HandshakeReaders(runner)
        listening = await readers.loop.create_server(readers, "127.0.0.1", 0)
        try:
            yield Door(desk, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        finally:
            listening.close()
            await readers.close()
            await runner.cleanup()


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[Door]:
    async with serving(settings) as door:
        yield door


@pytest.fixture
def desk(door: Door) -> Desk:
    return door.desk


@pytest.fixture
def url(door: Door) -> str:
    return door.url


@pytest.fixture
async def twin(door: Door, settings: Settings) -> AsyncIterator[Door]:
    """A second server on the same database and Valkey, as another process would be."""
    async with serving(settings) as second:
        yield second


Invite = Callable[..., Person]


@pytest.fixture
async def person(url: str) -> AsyncIterator[Invite]:
    """Makes people: ``person("bob")``, ``person("bob", url=twin.url)``, ``person(api_key=…)``."""
    async with AsyncExitStack() as stack:

        def invite(username: str = "somebody", **options: Any) -> Person:
            known = {name: number for number, name in enumerate(PEOPLE, start=1)}
            options.setdefault("id", known.get(username, 0))
            made = Person(options.pop("url", url), username, **options)
            stack.push_async_callback(made.close)
            return made

        yield invite


@pytest.fixture
def root(person: Invite) -> Person:
    """The global admin, no member of anything."""
    return person("root")


@pytest.fixture
def olga(person: Invite) -> Person:
    """The owner of demo."""
    return person("olga")


@pytest.fixture
def alice(person: Invite) -> Person:
    """A member of demo."""
    return person("alice")


@pytest.fixture
def bob(person: Invite) -> Person:
    """A viewer of demo."""
    return person("bob")


@pytest.fixture
def eve(person: Invite) -> Person:
    """A stranger."""
    return person("eve")


@dataclass
class Board:
    """The project demo: its ids, and how its cards are made and named."""

    id: int
    slug: str
    backlog: int
    progress: int
    review: int
    done: int
    labels: dict[str, int]
    maker: Person

    @property
    def path(self) -> str:
        return f"/projects/{self.slug}"

    async def card(self, title: str = "Fix the door", column: int = 0, **fields: Any) -> Any:
        """A new card, made by alice, in the backlog unless a column is named."""
        return await self.maker.post(
            f"{self.path}/columns/{column or self.backlog}/cards", {"title": title, **fields}
        )


def undescribed(card: Any) -> Any:
    """A card as the events show it that do not change its description."""
    return {key: value for key, value in card.items() if key != "description"}


@pytest.fixture
async def board(
    request: pytest.FixtureRequest, furnished: tuple[str, Board], alice: Person, person: Invite
) -> AsyncIterator[Board]:
    """The project demo with its four columns.

    Under tests/rest and tests/changes a mirror follows it, and the client's boards do: what a test
    did must show by events.
    """
    made = replace(furnished[1], maker=alice)
    if request.path.parent.name not in ("rest", "changes") or request.node.get_closest_marker(
        "foul"
    ):
        yield made
        return
    async with mirror(person("root"), made.slug, kind=Accompanied):
        yield made


async def make_board(olga: Person, alice: Person, name: str = "Demo") -> Board:
    project = await olga.post("/projects", {"name": name})
    path = f"/projects/{project['slug']}"
    await olga.post(f"{path}/members", {"username": "alice", "role": "member"})
    await olga.post(f"{path}/members", {"username": "bob", "role": "viewer"})
    shown = await olga.get(path)
    backlog, progress, review, done = (column["id"] for column in shown["columns"])
    return Board(
        project["id"],
        project["slug"],
        backlog,
        progress,
        review,
        done,
        {label["name"]: label["id"] for label in shown["labels"]},
        alice,
    )


Wait = Callable[..., Awaitable[Any]]


@pytest.fixture
def eventually() -> Wait:
    """``await eventually(lambda: condition)``: until it holds, or fails after `limit` seconds."""
    return until


async def until(condition: Callable[[], Any], *, limit: float = 5.0, every: float = 0.01) -> Any:
    """Wait until a condition (a function, or an async one) gives something true; gives it. On a
    busy machine `limit` is so much longer, and by what this process was kept from running.
    """
    loop = asyncio.get_running_loop()
    began, stood = loop.time(), pace.LAG.total
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        waited, still = loop.time() - began, pace.LAG.total - stood
        assert waited < limit * pace.stretch() + still, (
            f"it did not become true within {waited:.1f} s"
        )
        await asyncio.sleep(every)
