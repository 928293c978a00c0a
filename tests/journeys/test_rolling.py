"""SIGHUP replaces worker after worker, and nobody behind a proxy notices.

::

    python -m tests.journeys.test_rolling --proxy nginx --times 50 --rate 200 --sockets 30

prints what 50 rolling restarts cost.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
import trustme

from tests import pace
from tests.conftest import Board
from tests.journeys.conftest import Process, Start
from tests.journeys.running import children, is_gone, until
from tests.journeys.viewers import Tally, Viewer
from tests.person import PASSWORD, Person, Wire
from tests.ports import free_port
from warmdesk.desk import Desk

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILES = {"nginx": "nginx.conf.example", "haproxy": "haproxy.cfg.example"}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
SETTLE_SECONDS = 20.0
AT_ONCE = 20
TIMES = 3


# Proxies


def filled(kind: str, port: int, hosts: list[str], most: int) -> str:
    """The example of a proxy's configuration, with this machine's ports, and so many connections
    of an address.
    """
    text = (CONFIG / FILES[kind]).read_text()
    for number, host in enumerate(hosts, start=1):
        assert text.count(f"10.0.0.{number}:8080") == 1
        text = text.replace(f"10.0.0.{number}:8080", host)
    text, changed = re.subn(r"\b(listen |bind :)80\b", rf"\g<1>{port}", text)
    assert changed == 1
    text, changed = re.subn(
        r"\b(limit_conn of_address |sc0_conn_cur gt )1000\b", rf"\g<1>{most}", text
    )
    assert changed == 1
    return text


@asynccontextmanager
async def proxied(
    kind: str,
    hosts: list[str],
    *,
    most: int = 1000,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[str]:
    """nginx or HAProxy, as the example sets it up but for these changes, in front of two hosts: its
    address.
    """
    place = Path(tempfile.mkdtemp(prefix="wd-"))
    port = free_port()
    file = place / "config"
    text = filled(kind, port, hosts, most)
    for before, after in changes.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    text = text.replace("/var/log/nginx/access.log", f"{place}/access_log")
    if kind == "nginx" and os.geteuid() != 0:
        # As packages build it, it writes where only root may.
        named = [f"{name}_temp_path" for name in TEMPORARY]
        own = [f"    {name} {place}/{name};\n" for name in named]
        text = text.replace("http {\n", "http {\n" + "".join(own), 1)
    file.write_text(text)
    if kind == "nginx":
        words = ["-p", str(place), "-c", str(file), "-e", str(place / "log")]
        inline = f"daemon off; pid {place}/pid;"
        command = ["nginx", *words, "-g", inline]
    else:
        command = ["haproxy", "-db", "-n", "2000", "-f", str(file)]
    with (place / "out").open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http:
            await until(lambda: _serves(http, url, process, place), within=10, what=kind)
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
        shutil.rmtree(place, ignore_errors=True)


async def _serves(
    http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process, place: Path
) -> bool:
    assert process.returncode is None, (place / "out").read_text()
    with suppress(aiohttp.ClientError):
        async with http.get(f"{url}/api/v1/ready") as answer:
            return answer.status == 200
    return False


# Traffic


@dataclass
class Traffic:
    """Requests through one address, each sent once: whatever is no success is a failure."""

    url: str
    token: str
    path: str
    column: int
    rate: float
    keep: bool = True
    done: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    cards: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    async def flow(self, over: asyncio.Event) -> None:
        """`rate` requests a second until `over`, on connections that are kept; or each on one of
        its own, for no proxy stands between.
        """
        connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=not self.keep)
        headers = {"Authorization": f"Bearer {self.token}"}
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(20)
        ) as http:
            http._retry_connection = False  # nobody shall hide a failure by asking again
            asking: set[asyncio.Task[None]] = set()
            begin = time.monotonic()
            for number in itertools.count():
                await asyncio.sleep(begin + number / self.rate - time.monotonic())
                if over.is_set():
                    break
                if len(asking) >= AT_ONCE:
                    continue  # a machine that is too slow for the rate gets fewer, and no queue
                task = asyncio.create_task(self._one(http, number))
                asking.add(task)
                task.add_done_callback(asking.discard)
            await asyncio.gather(*asking)

    async def _one(self, http: aiohttp.ClientSession, number: int) -> None:
        kind, method, path, options = self._wish(number)
        begun = time.monotonic()
        try:
            url = f"{self.url}/api/v1{self.path}{path}"
            async with http.request(method, url, **options) as answer:
                body = await answer.json()
                if answer.status >= 400:
                    self.failures.append(f"{kind}: {answer.status} {body}")
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failures.append(f"{kind}: {error!r}")
            return
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.done += 1
        self.kinds[kind] += 1
        if kind == "say":
            self.said.append(options["json"]["body"])
        elif kind == "card":
            self.cards.append(body["id"])

    def _wish(self, number: int) -> tuple[str, str, str, dict[str, Any]]:
        """GETs, a POST that may be repeated, POSTs that may not, PUTs, moves."""
        turn = number % 10
        title = f"{self.url} {number}"
        if (turn == 0 and len(self.cards) < 100) or not self.cards:
            key = {"Idempotency-Key": title.replace("/", "-").replace(":", "-").replace(" ", "-")}
            body: dict[str, Any] = {"title": title}
            return "card", "POST", f"/columns/{self.column}/cards", {"json": body, "headers": key}
        card = self.cards[number % len(self.cards)]
        if turn in (1, 4, 7):
            return "say", "POST", "/chat/messages", {"json": {"body": title}}
        if turn == 2:
            return "put", "PUT", f"/cards/{card}", {"json": {"closed": number % 3 > 0}}
        if turn == 5:
            body = {"column_id": self.column, "index": number % 3}
            return "move", "PATCH", f"/cards/{card}/move", {"json": body}
        return "get", "GET", "?include=labels", {}


@dataclass
class Rolled:
    """What some rolling restarts cost."""

    traffic: list[Traffic]
    tally: Tally
    spreads: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        kinds: Counter[str] = sum((one.kinds for one in self.traffic), Counter())
        failures = [line for one in self.traffic for line in one.failures]
        return "\n".join(
            [
                f"rolling restarts   {len(self.seconds)}, each {max(self.seconds):.1f} s at most",
                f"requests           {sum(one.done for one in self.traffic)} {dict(kinds)}",
                f"failed             {len(failures)}",
                *(f"{times:18} {line}" for line, times in Counter(failures).most_common(20)),
                f"slowest request    {max(one.slowest for one in self.traffic):.2f} s",
                f"sockets            {self.tally.codes} asked {self.tally.asked}"
                f" refused {dict(self.tally.refusals)} not taken {self.tally.failed_connects}",
                f"came back within   {min(self.spreads, default=0):.1f} to"
                f" {max(self.spreads, default=0):.1f} s",
                f"events             {self.tally.deliveries}, wrong {self.tally.wrong[:5]},"
                f" resets {self.tally.resets}",
            ]
        )


async def roll(host: Process, urls: list[str], *, times: int, rate: float, sockets: int) -> Rolled:
    """So many rolling restarts of `host` under `rate` requests a second and with `sockets`."""
    alice, olga = Person(host.url, "alice"), Person(host.url, "olga")
    project = await olga.post("/projects", {"name": "Demo"})
    path = f"/projects/{project['slug']}"
    await olga.post(f"{path}/members", {"username": "alice", "role": "member"})
    board = await olga.get(path)
    column = board["columns"][0]["id"]
    tally = Tally()
    token, hers = await alice.token(), await olga.token()
    traffic = [Traffic(url, token, path, column, rate / len(urls)) for url in urls]
    rolled = Rolled(traffic, tally)
    viewers = [
        Viewer(
            urls[number % len(urls)],
            project["slug"],
            (token, hers)[number // len(urls) % 2],
            board["seq"],
            board["epoch"],
            tally,
        )
        for number in range(sockets)
    ]
    watching = [asyncio.create_task(viewer.stay()) for viewer in viewers]
    over = asyncio.Event()
    try:
        await until(lambda: all(v.there for v in viewers), within=20, what="sockets")
        flowing = [asyncio.create_task(one.flow(over)) for one in traffic]
        for _ in range(times):
            await asyncio.sleep(0.3)
            await _roll_once(host, rolled)
        await asyncio.sleep(0.3)
        over.set()
        await asyncio.gather(*flowing)
        head = (await olga.get(f"{path}?include=labels"))["seq"]
        await until(
            lambda: all(v.there and v.since == head for v in viewers),
            within=SETTLE_SECONDS,
            what=f"{[v.since for v in viewers]} at {head}",
        )
        await check_ledger(olga, path, traffic)
    finally:
        over.set()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await alice.close()
        await olga.close()
    return rolled


def serving(host: Process) -> set[int]:
    """The workers that serve, and those that finish."""
    told = re.findall(r"worker\.serves pid=(\d+)", host.log.read_text())
    return {int(pid) for pid in told if not is_gone(int(pid))}


async def _roll_once(host: Process, rolled: Rolled) -> None:
    """One rolling restart: until the old workers are gone."""
    before, back = serving(host), len(rolled.tally.opened)
    began = time.monotonic()
    os.kill(host.pid, signal.SIGHUP)
    await until(
        lambda: not before & (now := serving(host)) and len(now) == len(before),
        within=60,
        what="other workers",
    )
    rolled.seconds.append(time.monotonic() - began)
    came = rolled.tally.opened[back:]
    if came:
        rolled.spreads.append(came[-1] - came[0])


async def check_ledger(
    olga: Person, path: str, traffic: list[Traffic], *, newer: bool = False
) -> None:
    """Every message that was acknowledged is there, once. `newer`: a newer program told some, and
    may have told more of them than this one declares.
    """
    kept: Counter[str] = Counter()
    since = 0
    while True:
        events = f"{path}/events?since={since}&limit=500"
        if newer:
            answer = await olga.request("GET", events)
            assert answer.status == 200, answer.body
            page = answer.body
        else:
            page = await olga.get(events)
        if not page["events"]:
            break
        for event in page["events"]:
            since = event["seq"]
            if event["type"] == "chat.message":
                kept[event["payload"]["body"]] += 1
    for one in traffic:
        lost = [body for body in one.said if kept[body] != 1]
        assert not lost, f"acknowledged, but not there once: {lost[:5]}"


# The promise


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_rolling_restarts_behind_proxies_fail_nothing(start: Start) -> None:
    kinds = [kind for kind in FILES if shutil.which(kind)]
    if not kinds:
        pytest.skip("neither nginx nor haproxy is installed")
    host = await start()
    place = host.url.removeprefix("http://")
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(proxied(kind, [place, place])) for kind in kinds]
        rolled = await roll(host, urls, times=TIMES, rate=60, sockets=20)
    print(rolled)
    assert not any(one.failures for one in rolled.traffic), str(rolled)
    assert not rolled.tally.wrong
    assert rolled.tally.resets == 0
    assert rolled.tally.refusals.keys() <= {(503, True)}
    assert set(rolled.tally.codes) <= {1001}, str(rolled)


@pytest.mark.parametrize("kind", FILES)
async def test_a_proxy_counts_the_connections_of_an_address(start: Start, kind: str) -> None:
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    host = await start()
    place = host.url.removeprefix("http://")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(proxied(kind, [place, place], most=5))
        alice = Person(host.url, "alice")
        stack.push_async_callback(alice.close)
        token = await alice.token()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        opened = refused = 0
        for _ in range(8):
            try:
                await stack.enter_async_context(
                    http.ws_connect(f"{url}/api/v1/ws/user?token={token}")
                )
                opened += 1
            except aiohttp.ClientError:
                refused += 1
        assert 4 <= opened <= 5, "the request that asked whether it serves may still be open"
        assert opened + refused == 8


TLS = {
    "nginx": (
        ("# listen 443 ssl;", "listen {port} ssl;"),
        ("# ssl_certificate /etc/nginx/desk.pem;", "ssl_certificate {here}/desk.pem;"),
        ("# ssl_certificate_key /etc/nginx/desk.key;", "ssl_certificate_key {here}/desk.pem;"),
    ),
    "haproxy": (
        (
            "# bind :443 ssl crt /etc/haproxy/desk.pem",
            "bind :{port} ssl crt {here}/desk.pem",
        ),
    ),
}
"""The lines of the examples that are to be taken in, and what they are here."""


@pytest.mark.parametrize("kind", FILES)
async def test_the_lines_for_tls_are_right(start: Start, kind: str, tmp_path: Path) -> None:
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    authority, port = trustme.CA(), free_port()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "desk.pem"
    )
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    changes = {before: after.format(port=port, here=tmp_path) for before, after in TLS[kind]}
    host = await start(workers=1)
    where = host.url.removeprefix("http://")
    async with (
        proxied(kind, [where, where], changes=changes),
        aiohttp.ClientSession(f"https://127.0.0.1:{port}") as http,
        http.get("/api/v1/ready", ssl=trusting) as answer,
    ):
        assert answer.status == 200


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
async def test_haproxy_soon_leaves_a_host_that_is_gone_without_a_word(start: Start) -> None:
    """What it asks of the system for each connection to a host is looked at in its own sockets."""
    host = await start(workers=1)
    place = host.url.removeprefix("http://")
    alice = Person(host.url, "alice")
    token = await alice.token()
    await alice.close()
    async with (
        proxied("haproxy", [place, place]) as url,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/api/v1/ws/user?token={token}"),
    ):
        (proxy,) = [each for each in children(os.getpid()) if name_of(each) == "haproxy"]
        found = [kept for kept in sockets_of(proxy) if is_to(kept, host.port)]
        assert found
        for kept in found:
            told = {name: kept.getsockopt(socket.IPPROTO_TCP, number) for name, number in TOLD}
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert told["idle"] + told["every"] * told["times"] <= 12
            assert told["untaken"] == 10_000
            kept.close()


TOLD = (
    ("idle", socket.TCP_KEEPIDLE),
    ("every", socket.TCP_KEEPINTVL),
    ("times", socket.TCP_KEEPCNT),
    ("untaken", socket.TCP_USER_TIMEOUT),
)
PIDFD_GETFD = 438


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def sockets_of(pid: int) -> Iterator[socket.socket]:
    """The sockets of a child of ours, as it has them."""
    libc, handle = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    try:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            if each.readlink().name.startswith("socket:"):
                fd = libc.syscall(PIDFD_GETFD, handle, int(each.name), 0)
                if fd < 0:
                    why = os.strerror(ctypes.get_errno())
                    pytest.skip(f"the sockets of another process cannot be seen here: {why}")
                yield socket.socket(fileno=fd)
    finally:
        os.close(handle)


def is_to(kept: socket.socket, port: int) -> bool:
    """Whether a socket is connected to this port; else it is closed."""
    with suppress(OSError):
        if kept.getpeername()[1] == port:
            return True
    kept.close()
    return False


async def test_a_worker_that_retires_accepts_nothing_more(start: Start) -> None:
    host = await start(workers=1)
    (old,) = serving(host)
    assert listens(old, host.port) == 1
    _, kept = await half_a_request(host)
    os.kill(host.pid, signal.SIGHUP)
    await until(lambda: len(serving(host)) == 2, within=20, what="a successor")
    await until(lambda: listens(old, host.port) == 0, within=1, what="it accepts no more")

    for _ in range(50):
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: desk\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2 * pace.stretch())
        writer.close()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" not in head.lower(), "the one that goes took it"
    assert not is_gone(old), "too late to tell"
    kept.close()


async def test_nobody_keeps_the_door_of_another_worker_open(start: Start) -> None:
    """A queue that nobody serves takes connections, and lets them wait for ever."""
    host = await start(workers=3)

    async def each_has_its_own() -> None:
        await until(lambda: len(serving(host)) == 3, within=30, what="three workers")
        assert [listens(pid, host.port) for pid in serving(host)] == [1, 1, 1]
        assert listens(host.pid, host.port) == 3

    await each_has_its_own()
    killed = min(serving(host))
    os.kill(killed, signal.SIGKILL)
    await until(lambda: is_gone(killed), within=5, what="it is gone")
    await each_has_its_own()

    # One request keeps its worker; the others end, and their doors with them.
    reader, writer = await half_a_request(host)
    os.kill(host.pid, signal.SIGTERM)
    await until(lambda: len(serving(host)) == 1, within=8, what="one is left")
    for _ in range(20):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", host.port)
    assert len(serving(host)) == 1, "too late to tell"
    writer.write(b" " * 60)
    assert (await reader.readline()).startswith(b"HTTP/1.1 4")
    writer.close()


async def half_a_request(host: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request that a worker has begun to read; it keeps that worker for some seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: desk\r\nExpect: 100-continue\r\n"
    writer.write(head + b"Content-Type: application/json\r\nContent-Length: 60\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())).startswith(
        b"HTTP/1.1 100"
    )
    return reader, writer


def listens(pid: int, port: int) -> int:
    """How many listening sockets on a port a process holds, by the kernel's tables. Copies of one
    are one.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    doors = {
        f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")
    }
    held = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(os.readlink(fd))
    return len(doors & held)


async def test_sockets_are_closed_one_after_another_and_newcomers_too(
    board: Board, desk: Desk, alice: Person
) -> None:
    ends: list[float] = []

    async def noted(wire: Wire) -> None:
        assert await wire.closed(limit=10) == 1001
        ends.append(time.monotonic())

    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(alice.socket("demo")) for _ in range(10)]
        for wire in wires:
            await wire.next("hello")
        began = time.monotonic()
        desk.draining = desk.retiring = True
        closing = asyncio.create_task(desk.hub.roster.close_sockets(spread=1.0))
        watching = [asyncio.create_task(noted(wire)) for wire in wires]
        await wires[0].next("reconnect")
        late = await stack.enter_async_context(alice.socket("demo"))
        await asyncio.gather(*watching, noted(late), closing)
    assert ends[-1] - began < pace.allows(5)
    assert sum(later - earlier > 0.02 for earlier, later in itertools.pairwise(ends)) >= 7


# With figures


async def measure(wanted: argparse.Namespace) -> None:
    """A host with everything of its own, and so many rolling restarts of it."""
    base = Path(tempfile.mkdtemp(prefix="wd-"))
    host = Process(base)
    try:
        await host.start()
        async with aiohttp.ClientSession() as http:
            for name in ("olga", "alice"):
                account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
                url = f"{host.url}/api/v1/auth/register"
                async with http.post(url, json=account) as answer:
                    assert answer.status == 201, await answer.text()
        place = host.url.removeprefix("http://")
        async with proxied(wanted.proxy, [place, place]) as url:
            rolled = await roll(
                host, [url], times=wanted.times, rate=wanted.rate, sockets=wanted.sockets
            )
        print(rolled)
    finally:
        await host.stop()
        if wanted.log:
            shutil.copy(host.log, wanted.log)
        shutil.rmtree(base, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rolling restarts behind a proxy, with figures.")
    parser.add_argument("--proxy", choices=FILES, default="nginx")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--sockets", type=int, default=30)
    parser.add_argument("--log", help="where to keep the server's log")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
