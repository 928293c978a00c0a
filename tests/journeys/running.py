"""``warmdesk serve`` as a process of its own, as an operator runs it; and how to look at it from
outside.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests import pace
from tests.conftest import fast_directory
from warmdesk.commands.shared import Status

SECRETS = {
    "WARMDESK_JWT_SECRET": "q7Xw2LdV0pKtZm9yIHRlc3RzIG9ubHk-",
    "WARMDESK_SECRET_KEY": "V0pKtq7Xw2LdZm9yIHRlc3RzIG9ubHk-",
}

PROGRAM = ("-m", "warmdesk")
"""What Python runs."""


async def until(condition: Callable[[], Any], *, within: float, what: str = "") -> Any:
    """The condition's first true answer, awaited when it can be. On a busy machine `within` is so
    much longer.
    """
    began = time.monotonic()
    while True:
        answer = condition()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        waited = time.monotonic() - began
        if waited > within * pace.stretch():
            raise AssertionError(f"not within {waited:.1f} s: {what}")
        await asyncio.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be noticed has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def variables(**settings: Any) -> dict[str, str]:
    """The environment, with these settings and no others."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("WARMDESK_")}
    return rest | {f"WARMDESK_{key.upper()}": str(value) for key, value in settings.items()}


async def command(*arguments: str, given: str = "", **settings: Any) -> tuple[int, str, str]:
    """Run ``warmdesk`` with `given` as its input: exit status, output, what it said aside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmdesk", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(**settings),
        cwd="/",
    )
    out, aside = await asyncio.wait_for(process.communicate(given.encode()), 30 * pace.stretch())
    assert process.returncode is not None
    return process.returncode, out.decode(), aside.decode()


class Running:
    """A server on a port of its own. Without `settings` for others it has embedded servers, in a
    directory of its own.
    """

    def __init__(
        self,
        *arguments: str,
        directory: Path | None = None,
        program: Sequence[str] = PROGRAM,
        **settings: Any,
    ) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
        self.data = directory or self.place / "data"
        environment = variables(
            **({"port": 0, "rate_limits": "off", "data_dir": self.data} | settings)
        )
        self._out, self._log = self.place / "out", self.place / "log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=environment,
                cwd="/",
            )
        self.url = ""

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def __aenter__(self) -> Running:
        try:
            await until(self._serves, within=30, what="ready")
        except BaseException:
            self._end()
            raise
        return self

    def _serves(self) -> bool:
        assert self.process.poll() is None, f"it ended: {self.log}{self.out}"
        found = re.search(r"serves (https?://\S+)\n(?s:.*)swagger", self.out)
        self.url = found[1] if found else ""
        return bool(found)

    async def __aexit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        family: list[int] = []
        if self.process.poll() is None:
            family = children(self.process.pid)
            self.process.kill()
        self.process.wait()
        # Servers that shut down still write; they end by themselves, which a test of its own shows.
        end = time.monotonic() + 5
        while not all(map(is_gone, family)) and time.monotonic() < end:
            time.sleep(0.01)
        shutil.rmtree(self.place, ignore_errors=True)

    async def ended(self, *, within: float) -> int:
        """Its exit status."""
        await until(lambda: self.process.poll() is not None, within=within, what="ended")
        return self.process.returncode

    def workers(self) -> list[int]:
        """Process ids of all workers that ever served, oldest first."""
        return [int(pid) for pid in re.findall(r"worker\.serves pid=(\d+)", self.log)]

    def alive(self) -> list[int]:
        return [pid for pid in self.workers() if not is_gone(pid)]

    def child(self, word: str) -> int:
        """The process id of the child whose program is called so; 0 when there is none."""
        for pid in children(self.process.pid):
            try:
                program = Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0]
            except OSError:
                continue
            if word in program:
                return pid
        return 0

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ready(self) -> dict[str, Any] | None:
        """What /ready says when it says 200; None otherwise."""
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"{self.url}/api/v1/ready", timeout=aiohttp.ClientTimeout(3)) as answer,
            ):
                said: dict[str, Any] = await answer.json()
                return said if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None


async def refused(*arguments: str, within: float = 20, **settings: Any) -> str:
    """The one sentence with which a server that cannot start ends."""
    running = Running(*arguments, **settings)
    try:
        status = await running.ended(within=within)
        said = running.log
    finally:
        running._end()
    assert status in (Status.FAILED, Status.SETTINGS, Status.SERVERS), (status, said)
    (line,) = said.splitlines()
    assert line.startswith("warmdesk: "), line
    return line.removeprefix("warmdesk: ")


def pipe_to_supervisor(running: Running, pid: int) -> Path:
    """The pipe that a worker writes to and its supervisor reads from."""
    theirs = {os.readlink(fd) for fd in Path(f"/proc/{running.process.pid}/fd").iterdir()}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(fd).startswith("pipe:") and os.readlink(fd) in theirs:
            flags = Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_ACCMODE == os.O_WRONLY:
                return fd
    raise AssertionError("no pipe")
