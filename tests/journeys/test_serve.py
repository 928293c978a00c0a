"""A server as its operator meets it: it starts, heals, restarts, stops, and says plainly what it
cannot do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme

from tests import pace
from tests.journeys.running import (
    SECRETS,
    Running,
    children,
    is_gone,
    pipe_to_supervisor,
    refused,
    until,
)
from tests.person import PASSWORD, Person
from warmdesk import kept_files, server, worker
from warmdesk.commands.shared import Status
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.embedded import tending
from warmdesk.listeners import StartError
from warmdesk.rest.web import site
from warmdesk.supervisor import CALM_SECONDS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def outside(database_url: str, redis_url: str) -> dict[str, Any]:
    """Settings for the session's PostgreSQL and Valkey: nothing is embedded."""
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    return {"database_url": database_url, "redis_url": redis_url, "database_pool": 4} | secrets


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        yield session


async def test_a_server_with_nothing_set_sets_everything_up_and_says_so() -> None:
    async with Running(workers=2) as running:
        assert await running.ready() == {"status": "ready", "database": "up", "redis": "up"}
        assert len(running.workers()) == 2  # readiness is told when all of them serve

        told = running.out.splitlines()
        assert f"The API, to read and try: {running.url}/swagger/index.html" in told
        assert told[-1] == "The first account that registers becomes the administrator."

        # The files of the page are there for the next program.
        assert kept_files.find(running.data, site().hash) == site().sources
        # Nobody else may read anything of it.
        for path in (running.data, *running.data.rglob("*")):
            assert path.lstat().st_mode & 0o077 == 0, path

        running.signal(signal.SIGTERM)
        assert await running.ended(within=12) == 0
        assert running.out.endswith("Stopped.\n")


async def test_in_json_each_line_is_json(outside: dict[str, Any]) -> None:
    """Also what it says while it starts and stops, and why it cannot start."""
    given = outside | {"log_format": "json", "log_level": "debug", "workers": 2}
    del given["redis_url"]
    running = Running(**given)
    try:
        await until(lambda: "serves http" in running.out, within=30)
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolled" in running.log, within=30)
        running.signal(signal.SIGTERM)
        assert await running.ended(within=20) == 0
        said, logged = (
            [json.loads(line) for line in text.splitlines()] for text in (running.out, running.log)
        )
    finally:
        running._end()
    sentences = [line["message"] for line in said]
    assert any(sentence.startswith("WarmDesk ") for sentence in sentences)
    assert any(sentence.startswith("Starting Valkey in ") for sentence in sentences)
    assert sentences[-1] == "Stopped."
    assert all({"time", "level", "logger"} <= line.keys() for line in said + logged)
    serves = next(line for line in logged if line.get("event") == "worker.serves")
    assert isinstance(serves["pid"], int)
    assert isinstance(serves["seconds"], float)

    for wrong, sentence in (
        (
            {"redis_url": "redis://127.0.0.1:1?db=x"},
            "the Redis in WARMDESK_REDIS_URL, 127.0.0.1:1,",
        ),
        ({"workers": 0}, "WARMDESK_WORKERS cannot be "),
    ):
        running = Running(**outside | {"log_format": "json"} | wrong)
        try:
            assert await running.ended(within=20) in (Status.SETTINGS, Status.SERVERS)
            (line,) = map(json.loads, running.log.splitlines())
        finally:
            running._end()
        assert line["level"] == "error"
        assert line["message"].startswith(f"warmdesk: {sentence}")


async def test_a_second_start_keeps_secrets_and_data_and_takes_seconds(
    http: aiohttp.ClientSession,
) -> None:
    account = {"email": "a@example.org", "username": "alice", "password": "correct horse battery"}
    async with Running() as first:
        async with http.post(f"{first.url}/api/v1/auth/register", json=account) as answer:
            token = (await answer.json())["access_token"]
        first.process.kill()
        began = time.monotonic()
        async with Running(directory=first.data) as second:
            assert time.monotonic() - began < 10 * pace.stretch()
            assert "becomes the administrator" not in second.out
            bearer = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{second.url}/api/v1/users/me", headers=bearer) as answer:
                assert (await answer.json())["username"] == "alice"


async def test_a_killed_worker_is_replaced_and_no_connection_of_its_queue_is_lost(
    outside: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    async with Running(workers=2, **outside) as running:
        killed = running.workers()[0]
        os.kill(killed, signal.SIGKILL)
        asked = [http.get(f"{running.url}/api/v1/health") for _ in range(40)]
        answers = await asyncio.gather(*asked)

        await until(lambda: len(running.workers()) == 3, within=2, what="replaced")
        assert [answer.status for answer in answers] == [200] * 40
        assert f"pid={killed} cause=signal_9" in running.log


async def test_a_supervisor_that_gets_no_process_goes_on_and_tries_again(
    outside: dict[str, Any],
) -> None:
    """Memory, processes or, as here, files are used up for a while."""
    async with Running(workers=2, **outside) as running:
        supervisor, files = running.process.pid, resource.RLIMIT_NOFILE
        limits = resource.prlimit(supervisor, files)
        resource.prlimit(supervisor, files, (3, limits[1]))
        os.kill(running.workers()[0], signal.SIGKILL)
        await until(lambda: "worker.not_forked" in running.log, within=5, what="told")
        running.signal(signal.SIGHUP)
        await until(lambda: "server.reload_refused" in running.log, within=5, what="refused")
        assert len(running.alive()) == 1

        resource.prlimit(supervisor, files, limits)
        await until(lambda: len(running.alive()) == 2, within=20, what="both")
        assert await running.ready()
        assert re.search(r'worker\.not_forked worker=\d cause="Too many open files"', running.log)


async def test_a_supervisor_with_nothing_to_do_sleeps_yet_hears_at_once_of_an_end(
    outside: dict[str, Any],
) -> None:
    async with Running(workers=2, **outside) as running:
        await until(running.ready, within=10, what="ready")
        supervisor = running.process.pid
        before, began = switches(supervisor), time.monotonic()
        await asyncio.sleep(5)
        looked, took = switches(supervisor) - before, time.monotonic() - began
        assert looked <= took / CALM_SECONDS + 2
        for served in (2, 3, 4):
            await until(lambda served=served: len(running.workers()) == served, within=10)  # type: ignore[misc]
            family = children(supervisor)
            began = time.monotonic()
            os.kill(family[0], signal.SIGKILL)
            await until(lambda family=family: _replaced(family, children(supervisor)), within=5)  # type: ignore[misc]
            assert time.monotonic() - began < CALM_SECONDS / 2


def _replaced(before: list[int], now: list[int]) -> bool:
    """Whether the first is gone and another is there."""
    return before[0] not in now and len(now) == len(before)


def switches(pid: int) -> int:
    """How often a process went to sleep so far."""
    said = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", said, re.MULTILINE)[0])


async def test_nothing_is_left_when_the_supervisor_is_killed() -> None:
    async with Running(workers=2) as running:
        everything = children(running.process.pid)
        assert len(everything) == 4

        running.process.kill()

        await until(lambda: all(map(is_gone, everything)), within=5, what="all gone")


@pytest.mark.parametrize("name", ["postgres", "valkey"])
async def test_a_killed_embedded_server_is_back_within_two_seconds(
    name: str, http: aiohttp.ClientSession
) -> None:
    async with Running() as running:
        killed = running.child(name)
        os.kill(killed, signal.SIGKILL)

        await until(lambda: is_gone(killed), within=1, what="killed")
        await until(lambda: running.child(name) not in (0, killed), within=2, what="another")
        await until(running.ready, within=3, what="ready again")
        account = {"email": "a@example.org", "username": "alice", "password": "12345678"}
        async with http.post(f"{running.url}/api/v1/auth/register", json=account) as answer:
            assert answer.status == 201
        assert running.workers() == running.alive()


async def test_a_stop_says_so_then_finishes_what_is_under_way(outside: dict[str, Any]) -> None:
    async with Running(**outside) as running:
        host, port = running.url.removeprefix("http://").split(":")
        alice = Person(running.url, "alice")
        project = await alice.post("/projects", {"name": "Demo"})
        body = b'{"name":"Ideas"}'
        slow_in, slow_out = await asyncio.open_connection(host, int(port))
        slow_out.write(
            f"POST /api/v1/projects/{project['slug']}/columns HTTP/1.1\r\nHost: desk\r\n"
            f"Authorization: Bearer {await alice.token()}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:5]
        )
        await slow_out.drain()
        async with alice.socket(project["slug"]) as wire:
            await wire.next("hello")
            began = time.monotonic()
            running.signal(signal.SIGTERM)

            await until(lambda: "server.stopping" in running.log, within=1)
            async with aiohttp.ClientSession() as http:
                await until(lambda: _is_draining(http, running.url), within=1.5, what="503")
            assert await wire.closed(limit=6) == 1001
            assert time.monotonic() - began > 1.9
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))

            slow_out.write(body[5:])
            line = await slow_in.readline()
            assert line.split()[1:2] == [b"201"], (line, time.monotonic() - began, running.log)
            slow_out.close()
        assert await running.ended(within=10 - (time.monotonic() - began)) == 0
        await alice.close()


async def _is_draining(http: aiohttp.ClientSession, url: str) -> bool:
    async with http.get(f"{url}/api/v1/ready") as answer:
        return answer.status == 503 and answer.headers.get("Connection") == "close"


async def test_a_second_signal_does_not_wait(outside: dict[str, Any]) -> None:
    async with Running(**outside) as running:
        running.signal(signal.SIGINT)
        await until(lambda: "server.stopping" in running.log, within=1)
        running.signal(signal.SIGINT)

        assert await running.ended(within=1) == 0


async def test_a_rolling_restart_fails_no_request(outside: dict[str, Any]) -> None:
    async with Running(workers=2, **outside) as running:
        before = running.workers()
        done = asyncio.Event()
        statuses: list[int] = []

        async def knock(keep: bool) -> None:
            connector = aiohttp.TCPConnector(force_close=not keep)
            async with aiohttp.ClientSession(connector=connector) as http:
                while not done.is_set():
                    async with http.get(f"{running.url}/api/v1/ready") as answer:
                        statuses.append(answer.status)
                    await asyncio.sleep(0.005)

        knocking = [asyncio.create_task(knock(keep)) for keep in (True, True, False, False)]
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolled" in running.log, within=20, what="rolled")
        await until(lambda: all(map(is_gone, before)), within=10, what="the old are gone")
        done.set()
        await asyncio.gather(*knocking)

        assert set(statuses) == {200}
        assert len(statuses) > 100
        assert len(running.alive()) == 2
        assert "worker.ended" not in running.log


async def test_a_rolling_restart_tells_sockets_to_come_back(outside: dict[str, Any]) -> None:
    async with Running(**outside) as running:
        alice = Person(running.url, "alice")
        project = await alice.post("/projects", {"name": "Demo"})
        async with alice.socket(project["slug"]) as wire:
            await wire.next("hello")
            running.signal(signal.SIGHUP)

            await wire.next("reconnect", limit=10)
            assert await wire.closed() == 1001
            async with alice.socket(project["slug"]) as again:
                await again.next("hello")
        await alice.close()


async def test_a_worker_that_dies_again_and_again_is_reported_and_waits(
    outside: dict[str, Any],
) -> None:
    async with Running(**outside) as running:
        for killed in range(1, tending.LOOP_DEATHS + 1):
            await until(lambda n=killed: len(running.workers()) == n, within=5)  # type: ignore[misc]
            os.kill(running.workers()[-1], signal.SIGKILL)
        last = time.monotonic()

        await until(lambda: "worker.crash_loop" in running.log, within=2, what="reported")
        await until(lambda: len(running.workers()) > tending.LOOP_DEATHS, within=5)
        assert time.monotonic() - last > 1
        assert await running.ready()


def test_pauses_grow_in_a_crash_loop_and_end_with_a_steady_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deaths = tending.Deaths()
    pauses = []
    for _ in range(tending.LOOP_DEATHS + 6):
        deaths.start()
        now += 0.1
        deaths.record()
        pauses.append(deaths.pause)
        now = deaths.due
    assert pauses == [0, 0, 0, 0, 1, 2, 4, 8, 15, 15, 15]

    deaths.start()
    now += tending.LOOP_SECONDS + 1
    deaths.record()
    assert deaths.due == now


async def test_a_second_server_on_the_same_data_is_refused() -> None:
    async with Running() as running:
        began = time.monotonic()
        sentence = await refused(directory=running.data)

        port = int(running.url.rpartition(":")[2])
        assert sentence == await refused(directory=running.data, port=port)
        assert sentence.startswith(f"another WarmDesk runs on the data directory {running.data}")
        assert time.monotonic() - began < 8 * pace.stretch()
        assert await running.ready()


async def test_a_port_in_use_is_refused_even_by_another_of_us(outside: dict[str, Any]) -> None:
    async with Running(**outside) as running:
        port = int(running.url.rpartition(":")[2])
        assert (await refused(port=port, **outside)).startswith(
            f"port {port} of 127.0.0.1 is in use"
        )
        assert await running.ready()

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        assert (await refused(port=port, **outside)).startswith(
            f"port {port} of 127.0.0.1 is in use"
        )


async def test_an_address_of_another_machine_is_refused(outside: dict[str, Any]) -> None:
    assert (await refused(host="192.0.2.1", **outside)).startswith("WARMDESK_HOST '192.0.2.1'")
    assert (await refused(host="no such host", **outside)).startswith(
        "WARMDESK_HOST 'no such host'"
    )


async def test_a_data_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data"

    assert (await refused(directory=place)).startswith(
        f"the data directory {place} cannot be written"
    )


async def test_a_wrong_setting_is_one_sentence(tmp_path: Path, outside: dict[str, Any]) -> None:
    file = tmp_path / "desk.toml"
    file.write_text("prot = 8080\n")

    assert (await refused("--config", str(file))).startswith(f"prot in {file} is not a setting")
    assert (await refused(config=file)).startswith(f"prot in {file} is not a setting")
    assert (await refused(workers="many")).startswith("WARMDESK_WORKERS cannot be 'many'")
    outside["jwt_secret"] = ""
    assert (await refused(**outside)).startswith("WARMDESK_JWT_SECRET must be set")
    outside["jwt_secret"] = "a" * 32
    assert (await refused(**outside)).startswith("WARMDESK_JWT_SECRET can be guessed")


async def test_more_connections_than_postgres_gives_are_refused(outside: dict[str, Any]) -> None:
    outside["database_pool"] = 50

    told = await refused(workers=2, **outside)

    assert "WARMDESK_WORKERS 2, each with WARMDESK_DATABASE_POOL 50" in told
    assert "WARMDESK_DATABASE_HEAVY_POOL 2 and 2 more, need 108 connections" in told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://warmdesk@127.0.0.1:1/desk",
        "postgresql://warmdesk:hidden@/no_such_database?{query}",
        "postgresql://warmdesk:hidden#@/desk",
    ],
)
async def test_a_database_that_is_not_there_is_one_sentence_without_its_password(
    url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DATABASE_SECONDS", 0.1)
    settings = Settings(database_url=url.format(query=database_url.partition("?")[2]))

    with pytest.raises(StartError) as failed:
        await asyncio.to_thread(server.prepare_database, settings)
    assert "WARMDESK_DATABASE_URL cannot be used: " in str(failed.value)
    assert "hidden" not in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.fixture
def trusting(outside: dict[str, Any], tmp_path: Path) -> ssl.SSLContext:
    """Gives the settings a certificate, and a client what trusts it."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in made.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    outside |= {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_https_without_a_proxy(
    outside: dict[str, Any], trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    async with Running(**outside) as running:
        assert running.url.startswith("https://127.0.0.1:")
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{running.url}/api/v1/ready", ssl=trusting) as answer,
        ):
            assert answer.status == 200

    (tmp_path / "key.pem").write_text("not a key")
    assert (await refused(**outside)).startswith(
        "WARMDESK_TLS_CERT and WARMDESK_TLS_KEY cannot be used"
    )


async def test_sockets_over_tls_on_two_workers(
    outside: dict[str, Any], trusting: ssl.SSLContext
) -> None:
    connector = aiohttp.TCPConnector(ssl=trusting, force_close=True)
    async with (
        Running(**outside, workers=2) as running,
        aiohttp.ClientSession(connector=connector) as http,
        AsyncExitStack() as stack,
    ):
        base = f"{running.url}/api/v1"
        login = {"username": "olga", "password": PASSWORD}
        async with http.post(f"{base}/auth/login", json=login) as answer:
            http.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        async with http.post(f"{base}/projects", json={"name": "Demo"}) as answer:
            assert answer.status == 201
        sockets = [
            await stack.enter_async_context(http.ws_connect(f"{base}/ws/demo")) for _ in range(16)
        ]
        for socket in sockets:
            assert (await socket.receive_json(timeout=5))["type"] == "hello"
            assert (await socket.receive_json(timeout=5))["type"] == "presence.list"

        for number in range(20):
            message = {"type": "chat.send", "payload": {"body": f"{number} " + "x" * 10_000}}
            await sockets[number % len(sockets)].send_json(message)
        for socket in sockets:
            bodies: list[str] = []
            while len(bodies) < 20:
                frame = await socket.receive_json(timeout=5)
                if frame["type"] == "chat.message":
                    assert frame["seq"] == len(bodies) + 1
                    bodies.append(frame["payload"]["body"].split()[0])
            assert sorted(bodies, key=int) == [str(number) for number in range(20)]

        await sockets[0].send_bytes(b"binary")
        await sockets[1].ping(b"hello")
        await sockets[1].send_json({"type": "ping", "id": 1})
        assert (await next_of(sockets[1], "pong"))["payload"]["seq"] == 20
        assert (await closed(sockets[0])) == 1003

        async with http.post(f"{base}/auth/logout", json={}) as answer:
            assert answer.status == 204
        assert [await closed(socket) for socket in sockets[1:]] == [4401] * 15


async def next_of(socket: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    """The next frame of a type."""
    while (frame := await socket.receive_json(timeout=5))["type"] != kind:
        pass
    return frame


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """The code that the server closes with."""
    while (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
        pass
    return socket.close_code


async def test_many_connections_are_shared_fairly(outside: dict[str, Any]) -> None:
    async with Running(workers=2, **outside) as running:
        host, port = running.url.removeprefix("http://").split(":")
        open_now = [await asyncio.open_connection(host, int(port)) for _ in range(400)]
        try:
            shares = await asyncio.to_thread(_sockets_each, running.workers(), int(port))
        finally:
            for _, writer in open_now:
                writer.close()
        assert sum(shares) == 400
        assert max(shares) / min(shares) <= 1.5


def _sockets_each(pids: list[int], port: int) -> list[int]:
    """How many accepted connections on a port each process holds, by the kernel's own tables."""
    end = time.monotonic() + 5
    while True:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {
            f"socket:[{row[9]}]"
            for row in rows
            if row[3] == "01" and row[1].endswith(f":{port:04X}")
        }
        shares = [
            sum(os.readlink(fd) in inodes for fd in Path(f"/proc/{pid}/fd").iterdir())
            for pid in pids
        ]
        if sum(shares) >= 400 or time.monotonic() > end:
            return shares
        time.sleep(0.05)


async def test_a_worker_that_asks_for_a_successor_serves_until_it_is_there(
    outside: dict[str, Any],
) -> None:
    async with Running(**outside) as running:
        (unwell,) = running.workers()
        with pipe_to_supervisor(running, unwell).open("wb") as pipe:
            pipe.write(worker.REPLACE)

        await until(lambda: len(running.workers()) == 2, within=10, what="a successor")
        await until(lambda: is_gone(unwell), within=10, what="retired")
        assert await running.ready()
        assert "worker.ended" not in running.log


async def test_a_worker_that_goes_on_asking_gets_one_successor_when_one_can_live(
    outside: dict[str, Any], keeper: Any
) -> None:
    database = urlsplit(outside["database_url"]).path.strip("/")
    async with Running(**outside) as running:
        (unwell,) = running.workers()

        def died() -> int:
            return running.log.count("workers.rolling_stopped")

        with pipe_to_supervisor(running, unwell).open("wb", buffering=0) as pipe:

            def asks(done: Callable[[], bool]) -> bool:
                pipe.write(worker.REPLACE)
                return done()

            await keeper.execute(f"alter database {database} allow_connections false")
            await until(lambda: asks(lambda: died() >= 5), within=20, what="a loop of deaths")
            began = time.monotonic()
            await until(lambda: asks(lambda: died() >= 7), within=20, what="two deaths more")
            assert time.monotonic() - began > 1.5
            await keeper.execute(f"alter database {database} allow_connections true")
            await until(lambda: asks(lambda: "workers.rolled" in running.log), within=20)

        await until(lambda: is_gone(unwell), within=10, what="retired")
        assert len(running.workers()) == 2
        assert await running.ready()
        assert "worker.ended" not in running.log


async def test_a_worker_asks_for_a_successor_when_a_task_of_the_centre_is_dead(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(worker, "AGAIN_SECONDS", 0.1)
    told, tell = os.pipe()
    os.set_blocking(told, False)
    watch = asyncio.create_task(worker._watch(desk, tell))
    await asyncio.sleep(0.05)
    assert not watch.done()

    desk.hub._tasks._failed_at["hub.check"] = time.monotonic() - 60

    for _ in range(3):
        assert await until(lambda: _said(told), within=2, what="asked") == worker.REPLACE
    watch.cancel()
    os.close(told)
    os.close(tell)


def _said(pipe: int) -> bytes:
    try:
        return os.read(pipe, 10)
    except BlockingIOError:
        return b""
