"""docker/Dockerfile makes an image that serves: its own steps are done, and what comes of them runs
as a container does, as a user who owns nothing, with no file to write but its data's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import pace
from tests.conftest import until
from tests.containers.dockerfile import FILE, TOP, Image, build, options, steps
from tests.containers.room import FIRST, Container, why_not
from tests.journeys.conftest import socket_path
from tests.journeys.proxy import Proxy, socket_of, through
from tests.journeys.running import SECRETS

STOPS_WITHIN = 14.0
"""Two seconds until all know, ten for what is under way, and the way out."""
ASK = """
import json, sys, urllib.request as r
request = r.Request("http://127.0.0.1:8080/api/v1" + sys.argv[1], *map(str.encode, sys.argv[2:]))
request.add_header("Content-Type", "application/json")
print(json.dumps(json.load(r.urlopen(request))))
"""


@pytest.fixture
def image() -> Iterator[Image]:
    """The image, made by the steps of the Dockerfile."""
    if why_not():
        pytest.skip(f"no container can be had here: {why_not()}")
    place = Path(tempfile.mkdtemp(prefix="wd-image-"))
    place.chmod(0o755)  # its users are none of ours
    try:
        yield build(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Started:
    """A container of the image, and what an operator does with it."""

    def __init__(self, image: Image, container: Container) -> None:
        self.image, self.container = image, container

    def healthy(self) -> bool:
        return self.container.execute(self.image.health).returncode == 0

    def ask(self, path: str, *body: str) -> Any:
        done = self.container.execute(["python", "-c", ASK, path, *body])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def serves(self) -> None:
        def so() -> bool:
            assert self.container.process.poll() is None, self.container.says()
            return "serves http" in self.container.says()

        await until(so, limit=60)

    async def stopped(self, *, within: float) -> int:
        """Tell it to end, as Docker does: its exit status."""
        os.kill(self.container.pid, getattr(signal, self.image.stop_signal))
        process = self.container.process
        await until(lambda: process.poll() is not None, limit=within * pace.stretch())
        return int(process.returncode)


@asynccontextmanager
async def started(image: Image, **settings: str) -> AsyncIterator[Started]:
    """The image's own command, with these settings, and volumes that are new."""
    place = Path(tempfile.mkdtemp(prefix="wd-run-"))
    place.chmod(0o755)
    volumes = {}
    for number, inside in enumerate(image.volumes):
        # As Docker makes one: with what the image has there, and its owner.
        volumes[inside] = str(place / str(number))
        shutil.copytree(image.room.root / inside.lstrip("/"), volumes[inside])
        os.chown(volumes[inside], FIRST + image.user, FIRST + image.user)
    if "outside" in settings:
        volumes["/run/outside"] = settings.pop("outside")
    environment = image.environment | {f"WARMDESK_{k.upper()}": v for k, v in settings.items()}
    try:
        with image.room.started(
            image.entrypoint + image.command,
            environment,
            place / "log",
            user=image.user,
            directory=image.directory,
            volumes=volumes,
            strict=True,
        ) as container:
            yield Started(image, container)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
async def outside(servers: Any, empty_database_url: str, redis_url: str) -> AsyncIterator[Any]:
    """Settings for the session's PostgreSQL and Valkey, which the container reaches by proxies: it
    is nobody who may enter where they listen.
    """
    place = Path(tempfile.mkdtemp(prefix="wd-out-"))
    place.chmod(0o755)
    (place / "run").mkdir()
    database = f"{place}/run/{Path(socket_of(empty_database_url)).name}"
    bus = f"{place}/run/valkey.sock"
    async with (
        Proxy(socket_of(empty_database_url), database, bytes_only=True) as postgres,
        Proxy(socket_path(servers), bus, bytes_only=True),
    ):
        for path in (database, bus):
            Path(path).chmod(0o666)
        secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
        dsn = through(postgres, empty_database_url)
        yield secrets | {
            "database_url": re.sub(r"host=[^&]*", "host=/run/outside", dsn),
            "redis_url": "unix:///run/outside/valkey.sock",
            "workers": "2",
            "log_format": "json",
            "outside": f"{place}/run",
        }
    shutil.rmtree(place)


async def off(action: Any, *arguments: Any) -> Any:
    """Done in a thread: the proxies are in this one."""
    return await asyncio.to_thread(action, *arguments)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_image_is_a_server(image: Image, outside: Any) -> None:
    """One test of many parts: the image takes a minute to make."""
    is_what_is_locked(image)
    await serves_and_ends_as_it_is_told(image, outside)
    await reads_its_settings_anew(image, outside)
    await ends_while_it_waits_for_its_database(image, outside)
    await has_everything_in_its_volume(image)


async def serves_and_ends_as_it_is_told(image: Image, outside: Any) -> None:
    async with started(image, **outside) as server:
        await server.serves()
        assert await off(server.healthy)
        assert (await off(server.ask, "/ready"))["status"] == "ready"
        account = {"username": "root", "email": "r@example.org", "password": "correct horse 9"}
        assert (await off(server.ask, "/auth/register", json.dumps(account)))["access_token"]

        # It is the first process of its tree, an ordinary user's, and may write nothing else.
        container = server.container
        first = Path(f"/proc/{container.pid}")
        status = dict(re.findall(r"(\w+):\s+(.*)", (first / "status").read_text()))
        assert status["NSpid"].split()[-1] == "1"
        assert set(status["Uid"].split()) == {str(FIRST + image.user)}
        assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
        assert "warmdesk" in (first / "cmdline").read_text()
        for path in ("/x", "/opt/warmdesk/x", "/usr/x", "/tmp/x", "/etc/x", "/run/x"):
            tried = await off(container.execute, ["touch", path])
            assert "Read-only" in tried.stderr or "denied" in tried.stderr, (path, tried)
        assert (await off(container.execute, ["touch", f"{image.volumes[0]}/x"])).returncode == 0

        # What an orphan leaves is taken away, workers and their supervisor are all that is left.
        await off(container.execute, ["sh", "-c", "sh -c 'sleep 0.1' & sh -c 'exit 3' & exit 0"])
        await until(lambda: len(container.processes()) == 1 + int(outside["workers"]))
        assert "Z" not in container.processes().values()
        assert await off(server.healthy)

        began = time.monotonic()
        assert await server.stopped(within=STOPS_WITHIN) == 0
        assert time.monotonic() - began > 2, "it tells for two seconds that it goes"
        lines = [json.loads(line) for line in container.says().splitlines()]
    assert lines[-1]["message"] == "Stopped."
    bad = [line["event"] for line in lines if line["level"] in ("error", "warning")]
    assert set(bad) <= {"files.few"}, "the rest of this machine has its limits"


async def reads_its_settings_anew(image: Image, outside: Any) -> None:
    """The first process is the supervisor, so SIGHUP comes to the right one."""
    async with started(image, **outside) as server:
        await server.serves()
        os.kill(server.container.pid, signal.SIGHUP)
        await until(lambda: "workers.rolled" in server.container.says(), limit=60)
        assert await off(server.healthy)
        await until(lambda: len(server.container.processes()) == 1 + int(outside["workers"]))
        assert await server.stopped(within=STOPS_WITHIN) == 0


async def ends_while_it_waits_for_its_database(image: Image, outside: Any) -> None:
    """Of a signal that nobody listens to, the first process hears nothing."""
    nowhere = "postgresql://warmdesk@127.0.0.1:1/warmdesk"
    nobody = outside | {"database_url": nowhere, "log_format": "text"}
    async with started(image, **nobody) as server:
        await until(lambda: "Waiting for the database" in server.container.says(), limit=30)
        assert not await off(server.healthy)
        assert await server.stopped(within=3) == 128 + signal.SIGTERM
        assert "Traceback" not in server.container.says()


async def has_everything_in_its_volume(image: Image) -> None:
    async with started(image) as server:
        await server.serves()
        assert await off(server.healthy)
        ready = await off(server.ask, "/ready")
        assert ready == {"status": "ready", "database": "up", "redis": "up"}
        assert await server.stopped(within=STOPS_WITHIN) == 0
        assert server.container.says().endswith("Stopped.\n")
        assert "Traceback" not in server.container.says()


def is_what_is_locked(image: Image) -> None:
    """And nothing that installs more."""
    packages = image.room.root / "opt" / "warmdesk" / "lib"
    found = {
        re.sub(r"[-_.]+", "-", each.name.partition("-")[0]).lower()
        for each in packages.glob("python3.*/site-packages/*.dist-info")
    }
    text = (TOP / "requirements" / "runtime.txt").read_text()
    locked = {
        re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", text, re.M)
    }
    assert "warmdesk" in found
    assert found - {"warmdesk"} <= locked - {"setuptools"}
    assert not list(packages.glob("python3.*/site-packages/pip"))


def test_each_package_comes_with_a_hash_or_from_here() -> None:
    installs = [given for name, given in steps(FILE.read_text()) if name == "RUN"]
    commands = [each for given in installs for each in re.split(r"&&|;", given)]
    for command in commands:
        if re.search(r"\bpip install\b", command):
            assert "--require-hashes" in command or "--no-index" in command, command
        if re.search(r"\bpip (install|wheel)\b.*(runtime|wheel)", command):
            assert "--no-deps" in command or "--no-build-isolation" in command, command


def test_what_is_copied_is_let_through_and_nothing_else() -> None:
    """The context of a build is the checkout, where secrets and data may be too."""
    lines = FILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied: set[str] = set()
    for name, given in steps(FILE.read_text()):
        wanted, rest = options(given) if name == "COPY" else ({}, "")
        if name == "COPY" and "from" not in wanted:
            copied.update(rest.split()[:-1])
    assert copied == let_through
    assert all((TOP / each).exists() for each in copied)
