"""``warmdesk serve``: set everything up, then supervise, then take everything down.

In this order: the data directory (one server each) and the address, so that a mistake is told at
once; the embedded servers; the schema; and only then the workers. Readiness is told when all of
them serve.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec

import warmdesk
from warmdesk import redis_check, worker
from warmdesk.app import paths
from warmdesk.config import ConfigError, Settings, variable, with_secrets
from warmdesk.db.dial import connect
from warmdesk.db.installation import differing_secrets
from warmdesk.db.migrations import migrate, missing, numbers
from warmdesk.db.pool import HEALING_CONNECTIONS, LimitsRefused, check_limits
from warmdesk.db.queries import sql
from warmdesk.embedded import Postgres, Valkey
from warmdesk.embedded.tending import Server
from warmdesk.listeners import NotUsable, StartError, address, bind, bind_more
from warmdesk.log import quoted, say
from warmdesk.outages import reason_of
from warmdesk.realtime.bus import REDIS_AWAY, named_redis
from warmdesk.realtime.events import ERASING
from warmdesk.redis_check import RedisRefused
from warmdesk.reload import Inherited
from warmdesk.supervisor import CrashLoop, Supervisor
from warmdesk.system import first_values

SPARE_CONNECTIONS = 10
"""Connections of PostgreSQL that are left for people and backups."""
DATABASE_SECONDS = 30.0
"""How long an external database may take to answer the first time: it may be starting too."""
REDIS_SECONDS = 5.0
"""How long an external Redis may take: it may be starting too, but nothing needs it."""
RESTART = "SIGHUP cannot change that: stop the server and start it"
CHECKING_MODES = ("verify-ca", "verify-full")
STARTING = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)

NOTHING: Mapping[str, int] = {}

Say = Callable[[str], None]
"""Tells a person one line of progress."""

log = logging.getLogger(__name__)


def serve(settings: Settings, inherited: Inherited | None = None) -> None:
    """Run until SIGTERM or SIGINT. Raises `StartError`, `ConfigError`, `EmbeddedError` or
    `MigrationError`.

    What is `inherited` was prepared by `rehearse`, and serves already.
    """
    with ExitStack() as closing:
        lock = closing.enter_context(data_lock(settings, inherited.lock if inherited else None))
        listeners = bind_more(settings, inherited) if inherited else bind(settings)
        for listener in listeners:
            closing.callback(listener.close)
        if not inherited:
            check_tls(settings)
        running = inherited.servers if inherited else {}
        given = settings
        servers, settings = closing.enter_context(embedded(given, say=say, running=running))
        new = not inherited and prepare(given, settings)
        if not inherited:  # else its worker does, when it serves: others do already
            for listener in listeners:
                listener.listen(worker.BACKLOG)
        url = address(settings, listeners[0])

        def ready() -> None:
            say(f"WarmDesk {warmdesk.__version__} serves {url}")
            say(f"The API, to read and try: {url}/swagger/index.html")
            if new:
                say("The first account that registers becomes the administrator.")

        supervisor = Supervisor(settings, listeners, servers, lock=lock, inherited=inherited)
        try:
            supervisor.run(ready)
        except CrashLoop as error:
            raise StartError(str(error)) from None
    say("Stopped.")


def rehearse(settings: Settings, running: Inherited) -> None:
    """See that this program could take over from the one that runs, and prepare the database for
    it. Raises what `serve` raises.
    """
    kept = {
        "host": (running.host, settings.host),
        "port": (running.port, settings.port),
        "data_dir": (running.data_dir, str(settings.data_dir)),
    }
    for name, (before, now) in kept.items():
        if before != now:
            raise StartError(f"{variable(name)} was {before} and is {now}; {RESTART}")
    for server, name in (("postgres", "database_url"), ("valkey", "redis_url")):
        if (server in running.servers) == bool(getattr(settings, name)):
            raise StartError(f"{variable(name)} was set or unset; {RESTART}")
    check_tls(settings)
    paths()  # what `serve` makes of the program: all of it can be imported, and fits together
    prepare(settings, reached(settings), beside=running.version)
    running.leave_settings(settings)


def prepare(given: Settings, settings: Settings, *, beside: str = "") -> bool:
    """Bring the schema up to date, and see that database and Redis take us. True when there is no
    account yet. `given` are the settings without what is embedded; `beside`, the version of a
    program that goes on meanwhile.
    """
    new = prepare_database(settings, beside=beside)
    if given.database_url:
        check_secrets(settings)
    if given.redis_url:
        check_redis(settings)
    return new


def reached(settings: Settings) -> Settings:
    """Settings with the URLs of embedded servers that run, and all secrets."""
    settings = with_secrets(settings)
    return msgspec.structs.replace(
        settings,
        database_url=settings.database_url or Postgres(settings.data_dir).dsn,
        redis_url=settings.redis_url or Valkey(settings.data_dir).url,
    )


def check_tls(settings: Settings) -> None:
    """Read the certificate once before anything starts; each worker reads it again."""
    try:
        worker.tls(settings)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"WARMDESK_TLS_CERT and WARMDESK_TLS_KEY cannot be used: {reason or error}"
        ) from None


@contextmanager
def embedded(
    settings: Settings, *, say: Say = lambda line: None, running: Mapping[str, int] = NOTHING
) -> Iterator[tuple[dict[str, Server], Settings]]:
    """Start the embedded servers whose URLs are unset, and stop them at the end. Those of `running`
    have these process ids already.

    Gives the servers by name, and settings with all URLs and secrets. Hold the data's lock.
    """
    with ExitStack() as closing:
        servers: dict[str, Server] = {}
        settings = with_secrets(settings)
        first_values(settings)  # what cannot be is said here, once, and not by each worker
        if not settings.database_url:
            # A rolling restart has one worker more for a moment.
            most = connections(settings, workers=settings.workers + 1) + 2 * SPARE_CONNECTIONS
            postgres = Postgres(settings.data_dir, connections=max(100, most))
            closing.callback(postgres.stop)
            if "postgres" in running:
                postgres.adopt(running["postgres"])
            else:
                say(f"Starting PostgreSQL in {postgres.data}")
                postgres.start()
            servers["postgres"] = postgres
            settings = msgspec.structs.replace(settings, database_url=postgres.dsn)
        if not settings.redis_url:
            valkey = Valkey(settings.data_dir)
            closing.callback(valkey.stop)
            if "valkey" in running:
                valkey.adopt(running["valkey"])
            else:
                say(f"Starting Valkey in {valkey.directory}")
                valkey.start()
            servers["valkey"] = valkey
            settings = msgspec.structs.replace(settings, redis_url=valkey.url)
        yield servers, settings


@contextmanager
def data_lock(settings: Settings, held: int | None = None) -> Iterator[int | None]:
    """Make the data directory and hold it: a second server is refused at once.

    Gives the lock's file descriptor, or None when nothing is embedded and nothing kept there. It
    may be `held` already.
    """
    if held is not None:
        with os.fdopen(held, "rb", buffering=0):
            yield held
        return
    if settings.database_url and settings.redis_url:
        yield None
        return
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(
            f"the data directory {directory} cannot be written ({error.strerror});"
            " set WARMDESK_DATA_DIR to one of yours"
        ) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataInUse(
                f"another WarmDesk runs on the data directory {directory};"
                " stop it, or set WARMDESK_DATA_DIR and WARMDESK_PORT"
            ) from None
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield fd
    finally:
        os.close(fd)


class DataInUse(StartError):
    """Another server holds the data directory."""


def connections(settings: Settings, *, workers: int) -> int:
    """How many connections to PostgreSQL so many workers may have at once."""
    return workers * (settings.database_pool + settings.database_heavy_pool + HEALING_CONNECTIONS)


def prepare_database(settings: Settings, *, say: Say = say, beside: str = "") -> bool:
    """Bring the schema up to date and see that the connections suffice. True when there is no
    account yet. `beside` as in `prepare`; nor is anything done to what serves on another host.
    """

    async def prepare() -> bool:
        await _reachable(settings.database_url, say)
        await check_limits(settings.database_url)
        await check_predecessors(settings, beside)
        for name in await migrate(settings.database_url, erasing=ERASING):
            say(f"Migrated: {name}")
        connection = await connect(settings.database_url, timeout=10)
        try:
            limit = await sql.server.connection_limit(connection)
            needed = connections(settings, workers=settings.workers)
            if needed > limit - SPARE_CONNECTIONS:
                raise ConfigError(
                    f"WARMDESK_WORKERS {settings.workers}, each with WARMDESK_DATABASE_POOL"
                    f" {settings.database_pool}, WARMDESK_DATABASE_HEAVY_POOL"
                    f" {settings.database_heavy_pool} and {HEALING_CONNECTIONS} more, need"
                    f" {needed} connections, and PostgreSQL gives {limit}, of which"
                    f" {SPARE_CONNECTIONS} stay free; lower the pools or raise max_connections"
                    " (WarmDesk's own PostgreSQL gets more when the server is stopped and started)"
                )
            return bool(await sql.auth.nobody_yet(connection))
        finally:
            await connection.close()

    check_authority(settings.database_url)
    with _telling_of_the_database():
        return asyncio.run(prepare())


async def check_predecessors(settings: Settings, beside: str) -> None:
    """See that the programs which go on meanwhile can work with the schema that this one makes: the
    one of the version `beside`, if any, and all that serve the database, on whichever host.
    """
    connection = await connect(settings.database_url, timeout=10)
    try:
        waiting, _ = await missing(connection)
        if waiting and waiting[0].version == 1:
            await _check_texts(connection)
        serving = {row["version"] for row in await sql.server.serving(connection)}
    finally:
        await connection.close()
    versions = serving | {beside} if beside else serving
    oldest = min(versions, key=numbers, default=None)
    for one in waiting:
        if oldest is not None and numbers(one.oldest_program()) > numbers(oldest):
            raise StartError(
                f"WarmDesk {oldest}, which serves, cannot work with migration {one.name}: give it"
                f" WarmDesk {one.oldest_program()} first on all hosts, or stop all servers and"
                " start them"
            )


async def _check_texts(connection: Any) -> None:
    """See that a database that has nothing yet can keep every text, while that can be mended."""
    row = await sql.doctor.standing(connection)
    if row["encoding"] != "UTF8":
        raise NotUsable(
            "the database in WARMDESK_DATABASE_URL cannot be used: it keeps text as"
            f" {row['encoding']}; make another with: {row['creating']}"
        )


def check_authority(dsn: str) -> None:
    """See that the authority by which the database's certificate is to be judged is there."""
    options = {name: values[-1] for name, values in parse_qs(urlsplit(dsn).query).items()}
    mode = options.get("sslmode") or os.environ.get("PGSSLMODE", "")
    named = options.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
    if mode not in CHECKING_MODES and not (mode == "require" and named):
        return
    file = Path(named or Path.home() / ".postgresql" / "root.crt")
    if not os.access(file, os.R_OK):
        raise ConfigError(
            f"the database in WARMDESK_DATABASE_URL cannot be used: sslmode={mode} needs the"
            f" certificate of the authority that signed PostgreSQL's, and there is none in {file};"
            " put it there, or name its file with &sslrootcert=FILE"
        )


def check_redis(settings: Settings, *, say: Say = say) -> None:
    """See that Redis takes us. One that is away is waited for a moment and then gone without, as it
    may be lost at any other time: see `Bus`.
    """
    where = named_redis(settings.redis_url)

    async def check() -> None:
        end = time.monotonic() + REDIS_SECONDS
        announced = False
        async with redis_check.checking(settings.redis_url) as ask:
            while True:
                try:
                    await ask()
                    return
                except REDIS_AWAY as error:
                    if time.monotonic() > end:
                        said = quoted(reason_of(error))
                        log.warning("redis.absent host=%s reason=%s", where, said)
                        return
                if not announced:
                    say(f"Waiting for Redis, at most {REDIS_SECONDS:.0f} seconds")
                    announced = True
                await asyncio.sleep(0.25)

    try:
        asyncio.run(check())
    except RedisRefused as error:
        raise NotUsable(
            f"the Redis in WARMDESK_REDIS_URL, {where}, cannot be used: {error}"
        ) from None


def check_secrets(settings: Settings) -> None:
    """See that this host has the secrets of the others on its database: tokens that it gives must
    be good there, and what it encrypts readable. The first host's are kept as the ones that count.
    """

    async def check() -> list[str]:
        connection = await connect(settings.database_url, timeout=10)
        try:
            return await differing_secrets(connection, settings)
        finally:
            await connection.close()

    with _telling_of_the_database():
        differing = asyncio.run(check())
    if differing:
        names = " and ".join(variable(name) for name in differing)
        raise ConfigError(
            f"{names} of this host: not what the other hosts of this installation have; set the"
            ' same on all, or, to change it, run "warmdesk accept-secrets" here and restart them'
        )


@contextmanager
def _telling_of_the_database() -> Iterator[None]:
    """Its errors become a `NotUsable`."""
    try:
        yield
    except LimitsRefused as error:
        raise NotUsable(
            f"the database in WARMDESK_DATABASE_URL cannot be used: {error}, as with PgBouncer;"
            " name PostgreSQL itself, for WarmDesk keeps pools of its own"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotUsable(
            f"the database in WARMDESK_DATABASE_URL cannot be used: {reason(error)};"
            ' "warmdesk doctor" says which rights its role needs'
        ) from None
    except (*STARTING, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise NotUsable(
            f"the database in WARMDESK_DATABASE_URL cannot be used: {reason(error)}"
        ) from None


def reason(error: Exception) -> str:
    """Why a database or Redis cannot be used, in a line. Errors about a URL that cannot be read
    would show its values.
    """
    if isinstance(error, ValueError):
        return "its URL has something that cannot be, perhaps a parameter"
    return reason_of(error)


async def _reachable(dsn: str, say: Say) -> None:
    """Wait until a database that is still starting answers."""
    end = time.monotonic() + DATABASE_SECONDS
    announced = False
    while True:
        try:
            await (await connect(dsn, timeout=5)).close()
            return
        except STARTING:
            if time.monotonic() > end:
                raise
        if not announced:
            say(f"Waiting for the database, at most {DATABASE_SECONDS:.0f} seconds")
            announced = True
        await asyncio.sleep(0.5)
