"""SIGHUP: the supervisor becomes the program, with the settings, that are on disk now.

The same process goes on with its sockets, its embedded servers and its counters; nobody is refused;
what could not take over is told and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import jwt
import pytest
from msgspec.structs import replace

import warmdesk
from tests import pace
from tests.journeys.running import (
    SECRETS,
    Running,
    children,
    is_gone,
    pipe_to_supervisor,
    until,
)
from tests.person import PASSWORD, Person
from warmdesk import reload, worker
from warmdesk.config import Settings
from warmdesk.embedded import Postgres
from warmdesk.slots import Worker
from warmdesk.supervisor import Supervisor

pytestmark = pytest.mark.timeout(180)

TOP = Path(__file__).resolve().parents[2]
WITHIN = 30.0


@pytest.fixture
def outside(database_url: str, redis_url: str) -> dict[str, Any]:
    """Settings for the session's PostgreSQL and Valkey: nothing is embedded."""
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    return {"database_url": database_url, "redis_url": redis_url, "database_pool": 2} | secrets


class Configured:
    """A server with a settings file that a test writes anew."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "desk.toml"
        self.running: Running

    def write(self, text: str) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(text)
        fresh.replace(self.file)

    @asynccontextmanager
    async def serve(self, text: str, **settings: Any) -> AsyncIterator[Running]:
        self.write(text)
        async with Running("--config", str(self.file), **settings) as self.running:
            yield self.running

    async def reload(self, text: str | None = None) -> None:
        """Until all workers are of the new program and the old ones are gone."""
        if text is not None:
            self.write(text)
        before, rolled = self.running.alive(), self.running.log.count("workers.rolled")
        self.running.signal(signal.SIGHUP)
        await until(
            lambda: self.running.log.count("workers.rolled") > rolled,
            within=WITHIN,
            what="rolled",
        )
        await until(lambda: all(map(is_gone, before)), within=WITHIN, what="the old are gone")

    async def refused(self, text: str, saying: str) -> None:
        """SIGHUP with these settings changes nothing, and this is said."""
        before, told = self.running.alive(), self.running.log.count("server.reload_refused")
        self.write(text)
        self.running.signal(signal.SIGHUP)
        await until(
            lambda: self.running.log.count("server.reload_refused") > told,
            within=WITHIN,
            what=f"refused: {saying}",
        )
        assert saying in self.running.log.splitlines()[-2]
        assert self.running.alive() == before


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)


@asynccontextmanager
async def knocking(url: str) -> AsyncIterator[Counter[Any]]:
    """What became of requests on kept connections and on new ones, all the while."""
    done = asyncio.Event()
    seen: Counter[Any] = Counter()

    async def knock(keep: bool) -> None:
        connector = aiohttp.TCPConnector(force_close=not keep)
        async with aiohttp.ClientSession(connector=connector) as http:
            while not done.is_set():
                try:
                    async with http.get(f"{url}/api/v1/health") as answer:
                        seen[answer.status] += 1
                except aiohttp.ClientError as error:
                    seen[repr(error)] += 1
                await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(knock(keep)) for keep in (True, True, False, False, False)]
    try:
        yield seen
    finally:
        done.set()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def opening(url: str) -> AsyncIterator[dict[str, Counter[int]]]:
    """What became of the files of the page, and of those that it had before, all the while: by the
    address of its start.
    """
    done = asyncio.Event()
    seen: dict[str, Counter[int]] = {}

    async def open_it() -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            while not done.is_set():
                async with http.get(f"{url}/", headers={"Accept": "text/html"}) as answer:
                    found = re.search(r'src="([^"]+)"', await answer.text())
                assert found is not None
                seen.setdefault(found[1], Counter())
                for start, answers in list(seen.items()):
                    async with http.get(f"{url}{start}") as answer:
                        answers[answer.status] += 1

    tasks = [asyncio.create_task(open_it()) for _ in range(3)]
    try:
        yield seen
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def administrator(running: Running) -> Person:
    """The first who registers."""
    ada = Person(running.url, "ada")
    account = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    assert (await ada.client.request("POST", "/auth/register", account)).status == 201
    return ada


async def lifetime(person: Person) -> int:
    """For how long the server gives access tokens now, in seconds."""
    person.client.token = None
    claims = jwt.decode(await person.token(), options={"verify_signature": False})
    return int(claims["exp"] - claims["iat"])


async def sample(ada: Person, name: str) -> float:
    """The sum of a metric's series."""
    return total(str(await ada.get("/metrics")), name)


def total(text: str, name: str) -> float:
    found = [line for line in text.splitlines() if re.match(rf"{name}[ {{]", line)]
    assert found, name
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def test_settings_change_and_nobody_is_refused(configured: Configured) -> None:
    async with configured.serve("access_token_ttl = 600\nworkers = 2\n") as running:
        ada = await administrator(running)
        project = await ada.post("/projects", {"name": "Demo"})
        assert await lifetime(ada) == 600
        own = {name: running.child(name) for name in ("postgres", "valkey")}
        assert all(own.values())
        for seq in range(20):
            await ada.post(f"/projects/{project['slug']}/chat/messages", {"body": f"before {seq}"})
        changes = await sample(ada, "warmdesk_events_published_total")

        async with knocking(running.url) as seen:
            for _ in range(2):  # also one that was reloaded is reloaded
                await configured.reload("access_token_ttl = 700\nworkers = 2\n")
            await configured.reload("access_token_ttl = 800\nworkers = 2\n")

        assert set(seen) == {200}
        assert seen[200] > 100
        assert await lifetime(ada) == 800
        assert {name: running.child(name) for name in own} == own
        assert await sample(ada, "warmdesk_events_published_total") >= changes
        assert "worker.ended" not in running.log
        page = await ada.get(f"/projects/{project['slug']}/chat/messages")
        assert len(page) == 20

        # It looks after what it took over.
        os.kill(own["valkey"], signal.SIGKILL)
        await until(
            lambda: running.child("valkey") not in (0, own["valkey"]), within=WITHIN, what="valkey"
        )
        await ada.close()
        running.signal(signal.SIGTERM)
        assert await running.ended(within=20) == 0
        assert running.out.endswith("Stopped.\n")
        assert is_gone(own["postgres"])


async def test_sockets_come_back_and_miss_nothing(
    configured: Configured, outside: dict[str, Any]
) -> None:
    async with configured.serve("workers = 2\n", **outside) as running:
        alice = Person(running.url, "alice")
        project = await alice.post("/projects", {"name": "Demo"})
        async with alice.socket(project["slug"]) as wire:
            await wire.next("hello")
            await configured.reload()
            await wire.next("reconnect")
            assert await wire.closed() == 1001
        async with alice.socket(project["slug"]) as again:
            hello = await again.next("hello")
            assert hello["payload"]["epoch"]
        await alice.close()


@pytest.mark.parametrize("counts", [(1, 3, 2, 1), (3, 1, 2), (2, 4, 3)], ids=str)
async def test_more_workers_and_fewer_and_nobody_is_refused(
    configured: Configured, outside: dict[str, Any], counts: tuple[int, ...]
) -> None:
    async with configured.serve(f"workers = {counts[0]}\n", **outside) as running:
        async with knocking(running.url) as seen:
            for count in counts[1:]:
                await configured.reload(f"workers = {count}\n")
                await until(lambda n=count: len(running.alive()) == n, within=WITHIN)  # type: ignore[misc]
        assert set(seen) == {200}
        await until(lambda: len(children(running.process.pid)) == counts[-1], within=5)

        # Each takes part, and one that dies is replaced.
        for pid in running.alive():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(running.alive()) == counts[-1], within=WITHIN)
        assert await running.ready()


async def test_workers_for_which_no_socket_is_had_share_what_there_is(
    configured: Configured, outside: dict[str, Any], program: Path
) -> None:
    """As when the address is this machine's no longer: after the rehearsal nothing may fail."""
    async with configured.serve("workers = 2\n", **outside) as running:
        change(
            program / "listeners.py",
            lambda text: text.replace(
                "        made.bind(address)\n", "        raise OSError(99, 'no such address')\n"
            ),
        )
        async with knocking(running.url) as seen:
            await configured.reload("workers = 5\n")
            await until(lambda: len(running.alive()) == 5, within=WITHIN)
            await configured.reload("workers = 1\n")
        assert set(seen) == {200}
        assert 'listeners.shared sockets=2 cause="[Errno 99] no such address"' in running.log


async def test_what_could_not_take_over_changes_nothing(
    configured: Configured, outside: dict[str, Any], tmp_path: Path
) -> None:
    fine = "workers = 1\n"
    async with configured.serve(fine, **outside) as running:
        before = running.alive()
        async with knocking(running.url) as seen:
            await configured.refused("workers = 'many'\n", "workers in ")
            await configured.refused("wrokers = 2\n", "wrokers in ")
            await configured.refused("workers = \n", "is not TOML")
            await configured.refused("workers = 200\n", "WARMDESK_WORKERS 200")
            await configured.refused("host = '127.0.0.2'\n", "WARMDESK_HOST was 127.0.0.1 and is")
            missing = str(tmp_path / "none.pem")
            await configured.refused(
                f"tls_cert = '{missing}'\ntls_key = '{missing}'\n", "WARMDESK_TLS_CERT"
            )
            configured.file.unlink()
            running.signal(signal.SIGHUP)
            await until(lambda: "cannot be read" in running.log, within=WITHIN)
        assert set(seen) == {200}
        assert running.alive() == before
        assert reload.VARIABLE not in running.log

        await configured.reload(fine)  # and right ones do


async def test_in_json_a_refusal_is_json_too(
    configured: Configured, outside: dict[str, Any]
) -> None:
    """Also when the new settings do not say so, or cannot be read."""
    async with configured.serve("log_format = 'json'\n", **outside) as running:
        await configured.refused("log_format = 'json'\nworkers = \n", "is not TOML")
        await configured.refused("wrokers = 2\n", "wrokers in ")
        lines = [json.loads(line) for line in running.log.splitlines()]
    assert [line["level"] for line in lines if "message" in line] == ["error", "error"]


async def test_what_is_embedded_stays_so(configured: Configured, database_url: str) -> None:
    async with configured.serve("workers = 1\n") as running:
        own = [running.child(name) for name in ("postgres", "valkey")]
        await configured.refused(
            "redis_url = 'redis://127.0.0.1:1'\n", "WARMDESK_REDIS_URL was set or unset"
        )
        secrets = "".join(
            f"{name.removeprefix('WARMDESK_').lower()} = '{value}'\n"
            for name, value in SECRETS.items()
        )
        await configured.refused(
            f"database_url = '{database_url}'\n{secrets}", "WARMDESK_DATABASE_URL was set or unset"
        )
        await configured.refused("database_pool = 100\nworkers = 4\n", "stopped and started")
        assert [running.child(name) for name in ("postgres", "valkey")] == own


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the program that a test changes, and that `Running` runs."""
    copy = tmp_path / "program" / "warmdesk"
    for name, here in (("warmdesk", ""), ("sql", "sql"), ("config", "config_files")):
        # With what Python made of it, which is as old, but for what it writes at the moment.
        shutil.copytree(TOP / name, copy / here, ignore=shutil.ignore_patterns("*.pyc.*"))
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return copy


def change(file: Path, what: Callable[[str], str]) -> None:
    before = file.read_text()
    after = what(before)
    assert after != before
    file.write_text(after)


async def test_a_new_program_with_a_new_schema_takes_over(
    configured: Configured, program: Path
) -> None:
    async with configured.serve("workers = 2\n") as running:
        change(program / "__init__.py", lambda text: text + '__version__ = "9.8.7"\n')
        change(program / "web" / "nowhere.js", lambda text: f"{text}\n")
        later = "-- oldest program: 0.1\ncreate table later ();\n"
        (program / "sql" / "migrations" / "0999_later.sql").write_text(later)

        async with knocking(running.url) as seen, opening(running.url) as pages:
            await configured.reload()

        assert set(seen) == {200}
        assert len(pages) == 2  # of both programs, and none lacked a file
        assert all(set(answers) == {200} for answers in pages.values())
        assert "server.reloaded version=9.8.7" in running.log
        assert "Migrated: 0999_later.sql" in running.out
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{running.url}/swagger/doc.json") as answer,
        ):
            document = await answer.json()
        assert document["info"]["version"] == "9.8.7"
        connection = await asyncpg.connect(Postgres(running.data).dsn)
        try:
            assert await connection.fetch("select * from later") == []
        finally:
            await connection.close()


async def test_a_program_with_other_metrics_counts_in_memory_of_its_own(
    configured: Configured, program: Path
) -> None:
    async with configured.serve("workers = 2\n") as running:
        ada = await administrator(running)
        change(
            program / "metrics" / "__init__.py",
            lambda text: text + '\nLATER = counter("warmdesk_later_total", "Later.")\n',
        )
        await configured.reload()
        assert await sample(ada, "warmdesk_later_total") == 0
        await configured.reload()
        for pid in running.alive():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(running.alive()) == 2, within=WITHIN)
        assert await sample(ada, "warmdesk_worker_deaths_total") == 2
        await ada.close()


@pytest.mark.parametrize("module", ["app.py", "rest/cards.py"])
async def test_a_program_that_is_broken_changes_nothing(
    configured: Configured, program: Path, module: str
) -> None:
    """Nor the schema; the handlers' modules are imported by their names, when they are needed."""
    later = "-- oldest program: 0.1\ncreate table later ();\n"
    async with configured.serve("workers = 1\n") as running:
        fine = (program / module).read_text()
        before = running.alive()
        (program / "sql" / "migrations" / "0999_later.sql").write_text(later)
        for wrong in ("def build_app(:\n", "from warmdesk import nothing_of_the_kind\n"):
            (program / module).write_text(fine + wrong)
            told = running.log.count("server.reload_refused cause=status_1")
            running.signal(signal.SIGHUP)
            await until(
                lambda n=told: running.log.count("server.reload_refused cause=status_1") > n,  # type: ignore[misc]
                within=WITHIN,
            )
            assert await running.ready()
            assert running.alive() == before
        assert "0999_later.sql" not in running.out
        (program / module).write_text(fine)
        await configured.reload()


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a Python that `Running` runs, with the packages of ours."""
    directory, ours = tmp_path / "venv", Path(sys.prefix)
    (directory / "bin").mkdir(parents=True)
    shutil.copy(ours / "pyvenv.cfg", directory)
    (directory / "lib").symlink_to(ours / "lib")
    ran = directory / "bin" / "python"
    ran.symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(ran))
    return directory


async def test_a_python_that_is_gone_changes_nothing(
    configured: Configured, outside: dict[str, Any], python: Path
) -> None:
    """As while ``.venv`` is being made anew."""
    async with configured.serve("workers = 1\n", **outside) as running:
        before, away = running.alive(), python.with_name("away")
        python.rename(away)
        running.signal(signal.SIGHUP)
        await until(lambda: "server.reload_refused cause=" in running.log, within=WITHIN)
        assert await running.ready()
        assert running.alive() == before
        assert 'cause="No such file or directory"' in running.log
        away.rename(python)
        await configured.reload()


async def test_settings_that_change_after_they_were_found_good_wait_for_the_next_reload(
    configured: Configured, program: Path
) -> None:
    """An editor empties the file before it writes: half a file would name no database."""
    async with configured.serve("access_token_ttl = 600\nworkers = 1\n") as running:
        ada = await administrator(running)
        change(
            program / "server.py",
            lambda text: text.replace(
                "    prepare(settings, reached(settings), beside=running.version)\n",
                "    prepare(settings, reached(settings), beside=running.version)\n"
                f"    Path({str(configured.file)!r}).write_text('workers = ')\n",
            ),
        )
        await configured.reload("access_token_ttl = 700\nworkers = 2\n")
        await until(lambda: len(running.alive()) == 2, within=WITHIN)
        assert await lifetime(ada) == 700
        await configured.refused("workers = ", "is not TOML")
        await ada.close()


async def test_a_rehearsal_without_end_is_ended(
    configured: Configured, outside: dict[str, Any], program: Path
) -> None:
    """By its limit, and by a stop."""
    change(
        program / "supervisor.py",
        lambda text: text.replace(
            "REHEARSAL_SECONDS = 1800.0", f"REHEARSAL_SECONDS = {6 * pace.stretch()}"
        ),
    )
    async with configured.serve("workers = 1\n", **outside) as running:
        before = running.alive()
        change(
            program / "server.py",
            lambda text: text.replace(
                "    prepare(settings, reached(settings), beside=running.version)\n",
                "    say('It begins')\n    time.sleep(3600)\n",
            ),
        )
        running.signal(signal.SIGHUP)
        await until(lambda: "reload_refused cause=no_end" in running.log, within=WITHIN)
        assert children(running.process.pid) == before
        running.signal(signal.SIGHUP)
        await until(lambda: running.out.count("It begins") == 2, within=WITHIN)
        (rehearsal,) = set(children(running.process.pid)) - set(before)
        running.signal(signal.SIGTERM)
        await until(lambda: is_gone(rehearsal), within=1, what="the rehearsal is gone")
        assert await running.ended(within=20) == 0


async def test_a_hangup_before_it_serves_is_acted_on_then(configured: Configured) -> None:
    configured.write("workers = 1\n")
    running = Running("--config", str(configured.file))
    try:
        await until(lambda: "Starting PostgreSQL" in running.out, within=WITHIN)
        running.signal(signal.SIGHUP)
        await until(
            lambda: "workers.rolled" in running.log or running.process.poll() is not None,
            within=WITHIN,
        )
        assert running.process.poll() is None
    finally:
        running._end()


async def test_what_is_left_tells_of_the_oldest_program_that_serves(settings: Settings) -> None:
    """A worker that could not be replaced is of the program before the one before."""
    with socket.socket() as listener:
        supervisor = Supervisor(replace(settings, workers=2), [listener], {})
        first, second = supervisor.slots
        first.worker, second.worker = Worker(1, None, -1, version="0.0.10"), Worker(2, None, -1)
        first.surplus.append(Worker(3, None, -1, version="0.0.9"))
        left = supervisor._left()
    assert left.version == "0.0.9"
    assert {one.pid: one.version for one in left.workers} == {
        1: "0.0.10",
        2: warmdesk.__version__,
        3: "0.0.9",
    }


async def test_new_workers_that_cannot_serve_leave_nobody_waiting(
    configured: Configured, outside: dict[str, Any], program: Path
) -> None:
    """Their sockets take no connections before."""
    async with configured.serve("workers = 1\n", **outside) as running:
        change(
            program / "worker.py",
            lambda text: text.replace("    attach(row)\n", "    raise OSError('broken')\n", 1),
        )
        configured.write("workers = 4\n")
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolling_stopped" in running.log, within=WITHIN)
        for _ in range(40):
            assert await running.ready()


@pytest.mark.parametrize("how", ["ends", "asks"])
async def test_a_surplus_worker_that_is_unwell_is_replaced(
    configured: Configured, outside: dict[str, Any], program: Path, how: str
) -> None:
    """Where replacing them stopped half way, the old ones serve sockets that no other does."""
    async with configured.serve("workers = 3\n", **outside) as running:
        broken = program / "broken"
        broken.touch()
        change(
            program / "worker.py",
            lambda text: text.replace(
                "    attach(row)\n",
                f"    assert not os.path.exists({str(broken)!r})\n    attach(row)\n",
            ),
        )
        before = running.alive()
        configured.write("workers = 1\n")
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolling_stopped" in running.log, within=WITHIN)
        broken.unlink()
        if how == "ends":
            os.kill(max(before), signal.SIGKILL)
        else:
            pipe_to_supervisor(running, max(before)).write_bytes(worker.REPLACE)
        await until(lambda: all(map(is_gone, before)), within=WITHIN, what="another serves all")
        assert len(running.alive()) == 1
        for _ in range(20):
            assert await running.ready()


async def test_counters_never_fall_while_workers_are_added(configured: Configured) -> None:
    """Old workers too tell what the new ones counted."""
    async with configured.serve("workers = 2\n") as running:
        ada = await administrator(running)
        headers = {"Authorization": f"Bearer {await ada.token()}"}
        done = asyncio.Event()
        seen: list[float] = []

        async def look() -> None:
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
                while not done.is_set():
                    async with http.get(f"{running.url}/api/v1/metrics") as answer:
                        assert answer.status == 200
                        seen.append(total(await answer.text(), "warmdesk_http_requests_total"))

        async with knocking(running.url):
            looking = asyncio.create_task(look())
            await configured.reload("workers = 5\n")
            done.set()
            await looking
        assert seen == sorted(seen)
        await ada.close()


async def test_signals_at_any_moment_are_acted_on(
    configured: Configured, outside: dict[str, Any]
) -> None:
    """SIGHUP again, a worker that dies, and at last SIGTERM, whatever the supervisor is at."""
    async with configured.serve("workers = 2\n", **outside) as running:
        chance = random.Random(7)
        async with knocking(running.url) as seen:
            for _ in range(12):
                running.signal(signal.SIGHUP)
                await asyncio.sleep(chance.uniform(0, 1.5))
            configured.write("workers = 3\n")
            running.signal(signal.SIGHUP)
            await until(lambda: len(running.alive()) == 3, within=60, what="the last settings hold")
        assert set(seen) == {200}


@pytest.mark.parametrize("at", ["server.reloading", "server.reloaded", "workers.rolled"])
async def test_a_stop_meanwhile_is_a_stop(
    configured: Configured, outside: dict[str, Any], at: str
) -> None:
    chance = random.Random(at)
    for _ in range(3):
        async with configured.serve("workers = 2\n", **outside) as running:
            running.signal(signal.SIGHUP)
            await until(lambda: at in running.log, within=WITHIN)
            await asyncio.sleep(chance.uniform(0, 1))
            family = children(running.process.pid)
            running.signal(signal.SIGTERM)
            assert await running.ended(within=20) == 0
            assert running.out.endswith("Stopped.\n")
            await until(lambda: all(map(is_gone, family)), within=5)  # noqa: B023


async def test_a_supervisor_that_is_killed_takes_all_with_it(configured: Configured) -> None:
    """Also what it took over."""
    async with configured.serve("workers = 2\n") as running:
        await configured.reload()
        await until(lambda: len(children(running.process.pid)) == 4, within=5, what="all buried")
        family = children(running.process.pid)
        running.process.kill()
        await until(lambda: all(map(is_gone, family)), within=15, what="all ended")


@pytest.mark.parametrize("at", ["server.reloading", "server.reloaded"])
async def test_a_supervisor_that_is_killed_meanwhile_takes_all_with_it(
    configured: Configured, at: str
) -> None:
    """The rehearsal too, and who is to take over from a worker."""
    async with configured.serve("workers = 2\n") as running:
        running.signal(signal.SIGHUP)
        await until(
            lambda: at in running.log and len(children(running.process.pid)) > 4, within=WITHIN
        )
        family = children(running.process.pid)
        running.process.kill()
        await until(lambda: all(map(is_gone, family)), within=15, what="all ended")


async def test_a_worker_of_the_program_before_dies_with_the_supervisor(
    configured: Configured, outside: dict[str, Any], program: Path
) -> None:
    """And is replaced, while new ones cannot start, by nobody: it is the one that serves."""
    async with configured.serve("workers = 2\n", **outside) as running:
        before = running.alive()
        change(
            program / "worker.py",
            lambda text: text.replace("    attach(row)\n", "    raise OSError('broken')\n", 1),
        )
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolling_stopped" in running.log, within=WITHIN)
        assert running.alive() == before
        assert await running.ready()
        running.process.kill()
        await until(lambda: all(map(is_gone, before)), within=5, what="all ended")
