"""Whom WarmDesk is compared with: servers that bring one text to every viewer.

``python -m load.bench.peers`` says which of them run here. Their programs are in `load.peers`;
what they need from PyPI comes with ``bin/setup bench``, what they need from npm is installed into
``.peers`` when it is first wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import redis.asyncio

from load.bench.measure import Place, family, free_port, opened_place
from load.bench.wire import Wire, opened, request

TOP = Path(__file__).parents[2]
PROGRAMS = TOP / "load" / "peers"
NPM = TOP / ".peers"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""Every viewer's key: the floor in C knows its answer by heart."""
START_SECONDS = 30.0


class Peer:
    """A server that is its own process. What is said goes through Redis, to the channel ``room``;
    where a peer has a way of its own into it, that one.
    """

    name: str
    hello: tuple[str, ...] = ()
    path = "/ws"
    most = 100_000
    """Viewers that it bears at two events a second."""
    burst = 200
    """Events at once that a thousand viewers of it have within a minute."""

    port: int
    _process: asyncio.subprocess.Process
    _redis: redis.asyncio.Redis

    @classmethod
    def missing(cls) -> str:
        """Why it cannot run here, or nothing."""
        return ""

    def command(self, place: Place) -> list[str]:
        raise NotImplementedError

    async def start(self, place: Place) -> None:
        """Returns when it serves. Raises RuntimeError with its last words if it does not."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.port = free_port()
        log = place.directory / f"{self.name.replace(' ', '-')}.log"
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(place),
                cwd=TOP,
                env=os.environ | {"NODE_PATH": str(NPM / "node_modules"), "NODE_ENV": "production"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._redis = redis.asyncio.from_url(place.redis_url)
        until = time.monotonic() + START_SECONDS
        while not await self._serves():
            if self._process.returncode is not None or time.monotonic() > until:
                await self.stop()
                raise RuntimeError(f"{self.name} does not serve: {log.read_text()[-1000:]}")
            await asyncio.sleep(0.05)

    async def _serves(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """At once: it has nothing to lose, and to end thousands of sockets in order takes long."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.wait()
        await self._redis.aclose()

    def pids(self) -> list[int]:
        """Its own processes, without Redis."""
        return family(self._process.pid) if self._process.returncode is None else []

    def handshake(self, number: int) -> str:
        """The whole head of a viewer's request."""
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )

    async def say(self, body: str) -> None:
        """One event: every viewer gets one text frame that contains `body`."""
        await self.say_all([body])

    async def say_all(self, bodies: list[str]) -> None:
        """A burst, in one go."""
        pipeline = self._redis.pipeline(transaction=False)
        for body in bodies:
            pipeline.publish("room", body)
        await pipeline.execute()


class Python(Peer):
    """A program in Python, one process. `packages`: what it needs beyond ``bin/setup dev``."""

    program: str
    packages: tuple[str, ...] = ()

    @classmethod
    def missing(cls) -> str:
        return absent(cls.packages)

    def command(self, place: Place) -> list[str]:
        module = f"load.peers.{self.program}"
        return [sys.executable, "-m", module, str(self.port), place.redis_url]


class Floor(Python):
    name = "floor"
    program = "floor"


class Joins(Floor):
    """A frame for each who comes, to each who is there: the obvious way to tell who is present."""

    name = "a frame for each join"

    def command(self, place: Place) -> list[str]:
        return [*super().command(place), "joins"]


class FloorInC(Peer):
    name = "floor in C"

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("cc") else "there is no C compiler"

    def command(self, place: Place) -> list[str]:
        program = place.directory / "floor"
        compile = ["cc", "-O2", "-o", str(program), str(PROGRAMS / "floor.c")]
        told = subprocess.run(compile, capture_output=True, text=True, check=False)
        if told.returncode:
            raise RuntimeError(f"the floor in C does not compile: {told.stderr[-500:]}")
        return [str(program), str(self.port), socket_of(place)]


class NaiveAiohttp(Python):
    name = "naive aiohttp"
    program = "naive_aiohttp"


class NaiveStarlette(Python):
    name = "Starlette"
    program = "naive_starlette"
    packages = ("starlette", "uvicorn", "httptools", "websockets")


class PythonSocketio(Python):
    name = "python-socketio"
    program = "python_socketio"
    packages = ("socketio",)
    path = "/socket.io/?EIO=4&transport=websocket"
    hello = ("40",)

    async def start(self, place: Place) -> None:
        from load.peers.emitting import to_python

        self._emitter = to_python(place.redis_url)
        await super().start(place)

    async def stop(self) -> None:
        await super().stop()
        if self._emitter.redis is not None:
            await self._emitter.redis.aclose()

    async def say_all(self, bodies: list[str]) -> None:
        """Through its manager for processes outside, which has no pipeline: one by one."""
        from load.peers.emitting import value

        for body in bodies:
            await self._emitter.emit("event", value(body))


class DjangoChannels(Python):
    name = "Channels"
    most = 1000
    burst = 20
    program = "django_channels"
    packages = ("channels", "channels_redis", "django", "uvicorn", "httptools", "websockets")


class Nchan(Peer):
    """nginx, one worker. What is said is posted to it, over one connection; no Redis."""

    name = "nchan"
    _wire: Wire | None = None

    @classmethod
    def missing(cls) -> str:
        return "" if nginx() and nchan() else "nginx with nchan is not installed"

    def command(self, place: Place) -> list[str]:
        directory = place.directory / "nginx"
        directory.mkdir(exist_ok=True)
        written = (PROGRAMS / "nginx.conf").read_text()
        for word, value in {
            "MODULE": nchan(),
            "PORT": str(self.port),
            # Who is root would else not read this directory as nobody.
            "USER": "user root;" if os.getuid() == 0 else "",
        }.items():
            written = written.replace(word, value)
        (directory / "nginx.conf").write_text(written)
        return [nginx(), "-p", str(directory), "-e", "error.log", "-c", "nginx.conf"]

    async def start(self, place: Place) -> None:
        await super().start(place)
        self._answers: asyncio.Queue[int] = asyncio.Queue()
        self._wire = await opened(
            self.port, lambda _wire, status, _body: self._answers.put_nowait(status)
        )

    async def stop(self) -> None:
        if self._wire is not None:
            self._wire.close()
        # Its worker is not our child: only nginx itself can wait for its end.
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), 5)
        await super().stop()

    async def say_all(self, bodies: list[str]) -> None:
        assert self._wire is not None
        self._wire.send(b"".join(request("POST", "/say", body=body.encode()) for body in bodies))
        for _ in bodies:
            status = await asyncio.wait_for(self._answers.get(), 30)
            if status not in (201, 202):  # With viewers, without.
                raise RuntimeError(f"nchan answered {status}")


class Node(Peer):
    """A program for node, one process."""

    program: str

    @classmethod
    def missing(cls) -> str:
        if not (shutil.which("node") and shutil.which("npm")):
            return "node and npm are not installed"
        return npm()

    def command(self, place: Place) -> list[str]:
        return ["node", str(PROGRAMS / self.program), str(self.port), socket_of(place)]


class Ws(Node):
    name = "ws"
    program = "ws.js"


class Socketio(Node):
    name = "socket.io"
    program = "socketio.js"
    path = "/socket.io/?EIO=4&transport=websocket"
    hello = ("40",)

    @classmethod
    def missing(cls) -> str:
        return absent(("msgpack", "socketio")) or super().missing()

    async def say_all(self, bodies: list[str]) -> None:
        """As @socket.io/redis-emitter does."""
        from load.peers.emitting import to_node

        pipeline = self._redis.pipeline(transaction=False)
        for body in bodies:
            pipeline.publish(*to_node(body))
        await pipeline.execute()


PEERS: list[type[Peer]] = [
    Floor,
    FloorInC,
    NaiveAiohttp,
    NaiveStarlette,
    PythonSocketio,
    DjangoChannels,
    Nchan,
    Ws,
    Socketio,
]


def absent(packages: tuple[str, ...]) -> str:
    """Which of these cannot be imported here, or nothing."""
    found = [each for each in packages if importlib.util.find_spec(each) is None]
    return f"not installed: {', '.join(found)} (bin/setup bench)" if found else ""


def socket_of(place: Place) -> str:
    """The path of Redis' socket."""
    return unquote(urlsplit(place.redis_url).path)


def nginx() -> str:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or ""


def nchan() -> str:
    """Where the module is, for nginx as distributions build it."""
    places = (f"/usr/{lib}/nginx/modules/ngx_nchan_module.so" for lib in ("lib", "lib64"))
    return next((place for place in places if Path(place).exists()), "")


@functools.cache
def npm() -> str:
    """Install the packages as they are locked unless they are; why that failed, or nothing."""
    lock = NPM / "package-lock.json"
    wanted = (PROGRAMS / lock.name).read_bytes()
    if (NPM / "node_modules").exists() and lock.exists() and lock.read_bytes() == wanted:
        return ""
    NPM.mkdir(exist_ok=True)
    shutil.copy(PROGRAMS / "package.json", NPM)
    lock.write_bytes(wanted)
    told = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=NPM,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode == 0:
        return ""
    lock.unlink()
    return f"npm failed: {' '.join(told.stderr.split())[-300:]}"


async def look(kind: type[Peer], place: Place) -> str:
    """Whether three viewers get two events: ``ok``, or what is wrong."""
    if why := kind.missing():
        return why
    peer = kind()
    try:
        await peer.start(place)
        try:
            viewers = [await asyncio.open_connection("127.0.0.1", peer.port) for _ in range(3)]
            for number, (reader, writer) in enumerate(viewers):
                writer.write(peer.handshake(number).encode())
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                for text in peer.hello:
                    writer.write(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text.encode())
            await asyncio.sleep(0.3)
            events = [f'{{"event":{number},"text":"{"x" * 400}"}}' for number in (1, 2)]
            await peer.say_all(events)
            for reader, writer in viewers:
                for event in events:
                    await asyncio.wait_for(reader.readuntil(event.encode()), 5)
                writer.close()
        finally:
            await peer.stop()
    except (RuntimeError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return repr(error)
    return "ok"


async def main() -> None:
    async with opened_place() as place:
        for kind in PEERS:
            print(f"{kind.name}: {await look(kind, place)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
