"""A Redis or PostgreSQL that will not have us is one sentence at the start, which names the
setting, the host and the reason; one that is away is told, and gone without or waited for.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio
import trustme

from tests.conftest import changed_settings
from tests.journeys.conftest import OwnPostgres
from tests.journeys.proxy import Proxy
from tests.journeys.running import SECRETS, Running, refused, until
from tests.ports import free_port
from warmdesk import server
from warmdesk.commands.shared import Status
from warmdesk.embedded import Valkey
from warmdesk.embedded.child import before_exec, nobody

pytestmark = pytest.mark.timeout(120)

Relay = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def outside(database_url: str, redis_url: str) -> dict[str, Any]:
    """Settings for the session's PostgreSQL and Valkey: nothing is embedded."""
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    return {"database_url": database_url, "redis_url": redis_url, "database_pool": 4} | secrets


@asynccontextmanager
async def listening(met: Relay, *, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """What `met` does with each connection, at this address of 127.0.0.1."""
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await met(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    opened = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{opened.sockets[0].getsockname()[1]}"
    finally:
        opened.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


async def relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Until both sides are at their end, or this is cancelled."""
    try:
        await asyncio.gather(pass_on(reader, upstream[1]), pass_on(upstream[0], writer))
    finally:
        upstream[1].transport.abort()


def to_socket(path: str) -> Relay:
    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, await asyncio.open_unix_connection(path))

    return met


# Redis


@pytest.fixture
async def guarded(own_valkey: Valkey) -> AsyncIterator[str]:
    """A Valkey that asks for the password "let me in": its address."""
    async with redis.asyncio.from_url(own_valkey.url, driver_info=None) as operator:
        await operator.config_set("requirepass", "let me in")
    path = own_valkey.url.removeprefix("unix://")
    async with Proxy(path, "127.0.0.1:0", bytes_only=True) as proxy:
        yield proxy.listen


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secure(own_valkey: Valkey, authority: trustme.CA) -> AsyncIterator[str]:
    """A Valkey behind TLS, with a certificate for 127.0.0.1 that nobody trusts yet: its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with listening(
        to_socket(own_valkey.url.removeprefix("unix://")), context=context
    ) as address:
        yield address


def begins(address: str) -> str:
    return f"the Redis in WARMDESK_REDIS_URL, {address}, cannot be used: "


async def test_a_wrong_password_of_redis(outside: dict[str, Any], guarded: str) -> None:
    for login in (":not-this-one@", "nobody:not-this-one@", ""):
        said = await refused(**outside | {"redis_url": f"redis://{login}{guarded}"})
        assert said.startswith(begins(guarded) + "Redis refuses: "), said
        assert "not-this-one" not in said
        assert re.search("WRONGPASS|password|[Aa]uthenticat", said)


async def test_a_certificate_of_redis_that_is_not_trusted(
    outside: dict[str, Any], secure: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    said = await refused(**outside | {"redis_url": f"rediss://:secret@{secure}"})
    assert said.startswith(begins(secure) + "its certificate is not trusted: "), said
    assert "ssl_ca_certs=FILE" in said

    missing = f"rediss://:secret@{secure}?ssl_ca_certs={tmp_path}/missing.pem"
    said = await refused(**outside | {"redis_url": missing})
    assert said == begins(secure) + "a file that its URL names is not there"

    port = secure.rpartition(":")[2]
    trusted = f"?ssl_ca_certs={tmp_path}/authority.pem"
    said = await refused(**outside | {"redis_url": f"rediss://localhost:{port}{trusted}"})
    assert said.startswith(begins(f"localhost:{port}") + "its certificate is not trusted: "), said
    async with Running(**outside | {"redis_url": f"rediss://{secure}{trusted}"}) as running:
        ready = await running.ready()
        assert ready is not None
        assert ready["redis"] == "up"


async def test_one_speaks_tls_to_redis_and_the_other_does_not(
    outside: dict[str, Any], guarded: str, secure: str
) -> None:
    said = await refused(**outside | {"redis_url": f"rediss://:secret@{guarded}"})
    assert (
        said == begins(guarded) + "no TLS is spoken there; write redis:// or name the port for TLS"
    )
    said = await refused(**outside | {"redis_url": f"redis://:secret@{secure}"})
    assert said == begins(secure) + "TLS is spoken there; write rediss://"


async def test_what_answers_is_no_redis(outside: dict[str, Any]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with listening(talk) as address:
        said = await refused(**outside | {"redis_url": f"redis://{address}"})
    assert said == begins(address) + "what answers there is no Redis"


async def test_a_parameter_of_the_url_that_cannot_be(outside: dict[str, Any]) -> None:
    for parameter in ("db=hidden", "no_such_thing=hidden", "socket_timeout=hidden"):
        said = await refused(**outside | {"redis_url": f"redis://127.0.0.1:1?{parameter}"})
        assert said == begins("127.0.0.1:1") + (
            "its URL has something that cannot be, perhaps a parameter"
        )


async def test_sentinels_that_refuse(outside: dict[str, Any], guarded: str) -> None:
    url = f"sentinel://:not-this-one@{guarded}/desk"
    running = Running(**outside | {"redis_url": url})
    try:
        assert await running.ended(within=20) == Status.SERVERS
        *before, said = running.log.splitlines()
    finally:
        running._end()
    assert said.startswith("warmdesk: " + begins(f"desk@{guarded}") + "Redis refuses: "), said
    assert len(before) == 1, before
    assert f"sentinel.lost host={guarded} reason=" in before[0]


async def test_sentinels_that_are_away_are_told_once_each(
    request: pytest.FixtureRequest, database_url: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(server, "REDIS_SECONDS", 1.0)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    settings = changed_settings(
        request, database_url=database_url, redis_url=f"sentinel://{','.join(addresses)}/desk"
    )
    await asyncio.to_thread(server.check_redis, settings, say=lambda line: None)
    said = sorted(line.partition(" reason=")[0] for line in caplog.messages)
    assert said == [
        f"redis.absent host=desk@{','.join(addresses)}",
        *sorted(f"sentinel.lost host={address}" for address in addresses),
    ]


async def test_a_redis_that_is_not_there_is_told_and_gone_without(outside: dict[str, Any]) -> None:
    address = f"127.0.0.1:{free_port()}"
    given = outside | {"redis_url": f"redis://{address}", "workers": 2}
    async with Running(**given) as running:
        ready = await running.ready()
        assert ready is not None
        assert ready["degraded"]
        assert "Waiting for Redis, at most 5 seconds" in running.out
        (absent,) = re.findall(r"^\S+ warning redis\.absent (.*)", running.log, re.MULTILINE)
        assert absent.startswith(f'host={address} reason="')
        await asyncio.sleep(2)
        assert running.log.count("redis.lost host=") == 2


async def test_a_redis_that_is_starting_is_waited_for(
    request: pytest.FixtureRequest, database_url: str, own_valkey: Valkey,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    own_valkey.stop()
    said: list[str] = []
    settings = changed_settings(request, database_url=database_url, redis_url=own_valkey.url)
    waiting = asyncio.create_task(asyncio.to_thread(server.check_redis, settings, say=said.append))
    await until(lambda: said, within=5)
    own_valkey.start()
    await waiting
    assert said == ["Waiting for Redis, at most 5 seconds"]
    assert not caplog.messages


async def test_a_redis_that_loads_its_file_is_waited_for(
    request: pytest.FixtureRequest, database_url: str, own_valkey: Valkey
) -> None:
    loads = True

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if loads:
            while await reader.read(1 << 16):
                writer.write(b"-LOADING Valkey is loading the dataset in memory\r\n")
        await to_socket(own_valkey.url.removeprefix("unix://"))(reader, writer)

    said: list[str] = []
    async with listening(met) as address:
        settings = changed_settings(
            request, database_url=database_url, redis_url=f"redis://{address}"
        )
        waiting = asyncio.create_task(
            asyncio.to_thread(server.check_redis, settings, say=said.append)
        )
        await until(lambda: said, within=5)
        loads = False
        await waiting
    assert said == ["Waiting for Redis, at most 5 seconds"]


@pytest.mark.parametrize("word", ["MISCONF Valkey is", "BUSY Valkey is busy running a script."])
async def test_a_redis_that_takes_nothing_now_is_gone_without(
    request: pytest.FixtureRequest, database_url: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, word: str,
) -> None:  # fmt: skip
    """It could not write its file: so it answers each ping until its disk has room."""
    monkeypatch.setattr(server, "REDIS_SECONDS", 0.5)

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            for command in re.findall(rb"(?:^|\n)\*\d+\r\n\$\d+\r\n(\w+)", chunk):
                writer.write(b"-%b\r\n" % word.encode() if command == b"PING" else b"+OK\r\n")

    async with listening(met) as address:
        settings = changed_settings(
            request, database_url=database_url, redis_url=f"redis://{address}?protocol=2"
        )
        await asyncio.to_thread(server.check_redis, settings, say=lambda line: None)
    assert [each.split()[0] for each in caplog.messages] == ["redis.absent"]
    assert word.split(maxsplit=1)[0] in caplog.messages[0]


# PostgreSQL

STARTUP, SECURE_REQUEST = 196608, 80877103
POOLED = {"user", "database", "client_encoding", "application_name", "replication"}
"""Parameters that PgBouncer knows; it knows more, of which we set none."""


def pooler(path: str, *, ignores: bool) -> Relay:
    """What PgBouncer does with the parameters of a connection: refuses those that it does not know,
    or drops them where ``ignore_startup_parameters`` says so. All else goes to PostgreSQL.
    """

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            length, kind = struct.unpack("!II", await reader.readexactly(8))
            body = await reader.readexactly(length - 8)
            if kind != SECURE_REQUEST:
                break
            writer.write(b"N")
        if kind == STARTUP:
            words = body.rstrip(b"\0").split(b"\0")
            given = dict(zip(words[::2], words[1::2], strict=False))
            for name in given:
                if name.decode() not in POOLED and not ignores:
                    said = b"SFATAL\0C08P01\0Munsupported startup parameter: %b\0\0" % name
                    writer.write(b"E" + struct.pack("!I", len(said) + 4) + said)
                    await writer.drain()
                    return
            kept = {name: value for name, value in given.items() if name.decode() in POOLED}
            body = b"".join(b"%b\0%b\0" % pair for pair in kept.items()) + b"\0"
        upstream = await asyncio.open_unix_connection(path)
        upstream[1].write(struct.pack("!II", len(body) + 8, kind) + body)
        await relay(reader, writer, upstream)

    return met


def unix_path(dsn: str) -> str:
    asked = {name: values[-1] for name, values in parse_qs(urlsplit(dsn).query).items()}
    return f"{asked['host']}/.s.PGSQL.{asked.get('port', '5432')}"


def test_what_says_nothing_is_told_in_words() -> None:
    assert server.reason(TimeoutError()) == "no answer in time"


@pytest.mark.parametrize("ignores", [False, True])
async def test_a_pooler_that_keeps_our_limits_away_is_refused(
    outside: dict[str, Any], database_url: str, ignores: bool
) -> None:
    parts = urlsplit(database_url)
    async with listening(pooler(unix_path(database_url), ignores=ignores)) as address:
        url = f"postgresql://{parts.username}@{address}{parts.path}"
        said = await refused(**outside | {"database_url": url})
    fault = "drops the parameters" if ignores else "refuses a parameter"
    assert said.startswith(
        f"the database in WARMDESK_DATABASE_URL cannot be used: {address} {fault} of a connection ("
    ), said
    assert said.endswith(
        ", as with PgBouncer; name PostgreSQL itself, for WarmDesk keeps pools of its own"
    )


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("ignores", [False, True])
async def test_a_real_pgbouncer_is_refused(
    outside: dict[str, Any], own_postgres: OwnPostgres, tmp_path: Path, mode: str, ignores: bool
) -> None:
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    parts, port = urlsplit(own_postgres.dsn), free_port()
    place = Path(unix_path(own_postgres.dsn))
    names = "jit,lock_timeout,idle_in_transaction_session_timeout,client_connection_check_interval"
    ignored = f"{names},transaction_timeout,statement_timeout" if ignores else ""
    (tmp_path / "users").write_text(f'"{parts.username}" ""\n')
    (tmp_path / "ini").write_text(
        f"[databases]\n{parts.path[1:]} = host={place.parent} port={place.suffix[1:]}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {tmp_path}/users\npool_mode = {mode}\n"
        f"logfile = {tmp_path}/log\nignore_startup_parameters = {ignored}\n"
    )
    command = [program, str(tmp_path / "ini")]
    # It refuses root as PostgreSQL does.
    inner_user = nobody()[0] if os.geteuid() == 0 else None
    process = await asyncio.create_subprocess_exec(
        *command,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=before_exec(death=signal.SIGTERM, inner_user=inner_user),
    )
    try:
        url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        # The second finds what the first one prepared.
        said = [await refused(**outside | {"database_url": url}) for _ in range(2)]
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
    assert all(f"127.0.0.1:{port} " in each for each in said)
    assert all("as with PgBouncer" in each for each in said), said


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_a_certificate_of_postgresql_that_cannot_be_judged(
    outside: dict[str, Any], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    url = f"postgresql://desk:hidden@127.0.0.1:1/desk?sslmode={mode}"
    for parameter, file in (
        ("", f"{tmp_path}/.postgresql/root.crt"),
        (f"&sslrootcert={tmp_path}/ours.pem", f"{tmp_path}/ours.pem"),
    ):
        said = await refused(**outside | {"database_url": url + parameter})
        assert said == (
            f"the database in WARMDESK_DATABASE_URL cannot be used: sslmode={mode} needs the"
            f" certificate of the authority that signed PostgreSQL's, and there is none in {file};"
            " put it there, or name its file with &sslrootcert=FILE"
        )
