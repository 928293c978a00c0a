"""Two hosts share a PostgreSQL and a Redis; one is cut off from the one, then from the other.

Each host is a network namespace with a cable to PostgreSQL, one to Redis and one to its people, so
that a cut is what it is in a machine room: packets vanish, no connection is reset, nobody is told.
Where namespaces cannot be made (they need root and iproute2), proxies that freeze do the same.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio

from tests import pace
from tests.checkers.mirror import Mirror, fetch, mirror, shown
from tests.conftest import PEOPLE, Servers
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished
from tests.journeys.proxy import Proxy
from tests.journeys.running import SECRETS, until
from tests.person import Person
from warmdesk.config import load
from warmdesk.embedded import Valkey
from warmdesk.realtime.bus import connect_redis

pytestmark = pytest.mark.timeout(180)

CUT_SECONDS = 9.0
"""Longer than a presence lease, and than it takes to doubt a silent Redis."""
DELIVERED_WITHIN = 3.0
REFUSED_WITHIN = 5.0
PRESENCE_WITHIN = 10.0
BACK_WITHIN = 10.0
NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""For tests of networks, RFC 2544; each run takes 32 addresses of it."""
PASSWORD = "between-hosts"
IDS = {name: number for number, name in enumerate(PEOPLE, start=1)}


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@functools.cache
def why_no_namespaces() -> str:
    """Why network namespaces cannot be made here; empty when they can."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"wd-probe-{os.getpid()}"
    try:
        ip(f"netns add {name}")
        ip(f"link add wdp{os.getpid()} type veth peer name eth9 netns {name}")
    except (subprocess.CalledProcessError, OSError) as error:
        said = error.stderr.decode().strip() if hasattr(error, "stderr") else str(error)
        return f"network namespaces cannot be made: {said}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return ""


@dataclass
class Cable:
    """From a host to what listens at `here`. `end` is the interface at this end, `there` the host's
    address; without a namespace both are the loopback's, and a proxy stands for the cable.
    """

    here: str
    there: str
    end: str = ""
    proxy: Proxy | None = None

    def cut(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        if self.end:
            ip(f"link set {self.end} down")
        else:
            assert self.proxy is not None
            self.proxy.freeze()

    def join(self) -> None:
        if self.end:
            ip(f"link set {self.end} up")
        else:
            assert self.proxy is not None
            self.proxy.thaw()


@contextmanager
def cabled(number: int, *, apart: bool) -> Iterator[tuple[list[str], dict[str, Cable]]]:
    """A place for a host, with its cables: the command that runs something there."""
    kinds = ("redis", "postgres", "people")
    if not apart:
        yield [], {kind: Cable("127.0.0.1", "127.0.0.1") for kind in kinds}
        return
    name = f"wd-{os.getpid()}-{number}"
    first = int(NETWORK.network_address) + os.getpid() % 4000 * 32 + number * 12
    ip(f"netns add {name}")
    try:
        ip(f"-n {name} link set lo up")
        cables = {}
        for place, kind in enumerate(kinds):
            end = f"w{os.getpid()}{'rpv'[place]}{number}"
            here, there = (str(ipaddress.ip_address(first + place * 4 + last)) for last in (1, 2))
            ip(f"link add {end} type veth peer name {kind} netns {name}")
            ip(f"address add {here}/30 dev {end}")
            ip(f"link set {end} up")
            ip(f"-n {name} address add {there}/30 dev {kind}")
            ip(f"-n {name} link set {kind} up")
            cables[kind] = Cable(here, there, end)
        yield ["ip", "netns", "exec", name], cables
    finally:
        ip(f"netns del {name}")


@dataclass
class Host:
    """A server, and its cables to Redis and PostgreSQL."""

    process: Process
    redis: Cable
    postgres: Cable


@pytest.fixture(
    params=[
        pytest.param(True, id="namespaces"),
        pytest.param(False, id="proxies"),
    ]
)
async def hosts(
    request: pytest.FixtureRequest,
    servers: Servers,
    database_url: str,
    own_valkey: Valkey,
    start: Start,
) -> AsyncIterator[list[Host]]:
    """Two hosts, apart where that is possible; else the proxies show it."""
    apart: bool = request.param
    if apart and why_no_namespaces():
        pytest.skip(why_no_namespaces())
    if not apart and not why_no_namespaces():
        pytest.skip("namespaces show it better")
    async with redis.asyncio.from_url(own_valkey.url) as connection:
        await connection.acl_setuser(
            "host",
            enabled=True,
            passwords=[f"+{PASSWORD}"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )
    url = urlsplit(database_url)
    options = {key: values[0] for key, values in parse_qs(url.query).items()}
    socket = f"{options['host']}/.s.PGSQL.{options['port']}"
    async with AsyncExitStack() as proxies:
        with ExitStack() as places:
            made = []
            for number in range(2):
                within, cables = places.enter_context(cabled(number, apart=apart))
                for kind, upstream in (
                    ("redis", own_valkey.url.removeprefix("unix://")),
                    ("postgres", socket),
                ):
                    cables[kind].proxy = await proxies.enter_async_context(
                        Proxy(upstream, f"{cables[kind].here}:0", bytes_only=True)
                    )
                process = await start(
                    within=within,
                    host=cables["people"].there,
                    redis_url=f"redis://host:{PASSWORD}@{listens(cables['redis'])}",
                    database_url=f"postgresql://{url.username}@{listens(cables['postgres'])}{url.path}",
                )
                made.append(Host(process, cables["redis"], cables["postgres"]))
            yield made
            for host in made:
                for cable in (host.redis, host.postgres):
                    cable.join()
                await host.process.stop()


def listens(cable: Cable) -> str:
    assert cable.proxy is not None
    return cable.proxy.listen


@pytest.mark.long
async def test_a_host_that_is_cut_off_loses_nothing_and_nobody_waits_for_it(
    hosts: list[Host], visit: Visit
) -> None:
    one, other = hosts
    board = await furnished(one.process, visit)
    olga = visit(other.process, "olga")
    everywhere = Crowd(board, [visit(host.process, "alice") for host in hosts])
    async with AsyncExitStack() as stack:
        mirrors = [
            await stack.enter_async_context(mirror(visit(host.process, name)))
            for host in hosts
            for name in ("olga", "bob")
        ]
        await everywhere.work(20)
        await present(hosts, mirrors, {"olga", "bob"})

        # No Redis: the feed brings every event to everybody, and no change waits.
        one.redis.cut()
        end = time.monotonic() + CUT_SECONDS
        everywhere.slowest = 0.0
        root = await stack.enter_async_context(mirror(visit(one.process, "root")))
        while time.monotonic() < end:
            await everywhere.work(6)
            await at_the_head([*mirrors, root], olga, board.path, within=DELIVERED_WITHIN)
        assert everywhere.slowest < 2.0, "a change waited for Redis"
        one.redis.join()
        mirrors.append(root)
        await present(hosts, mirrors, {"olga", "bob", "root"})
        await everywhere.work(20)
        await at_the_head(mirrors, olga, board.path, within=DELIVERED_WITHIN)

        # No PostgreSQL: this host says so at once, the other works on.
        hasty = visit(one.process, "alice", patience=0)
        await hasty.token()
        one.postgres.cut()
        elsewhere = Crowd(board, [visit(other.process, "alice")], seed=2)
        over = asyncio.Event()
        work = asyncio.create_task(elsewhere.work_until(over, pause=0.02))
        await refuses(hasty, board.path, seconds=CUT_SECONDS)
        over.set()
        await work
        assert elsewhere.slowest < 2.0, "the other host waited too"
        assert elsewhere.done > 20
        there = [one for one in mirrors if one.client.url.startswith(other.process.url)]
        await at_the_head(there, olga, board.path, within=DELIVERED_WITHIN)
        one.postgres.join()
        await until(functools.partial(is_ready, one.process), within=BACK_WITHIN, what="ready")
        await at_the_head(mirrors, olga, board.path, within=BACK_WITHIN)
        await everywhere.work(20)
        await at_the_head(mirrors, olga, board.path, within=DELIVERED_WITHIN)
        await present(hosts, mirrors, {"olga", "bob", "root"})

        for follower in mirrors:
            assert follower.socket.connections == 1, "sockets stay open"
            seqs = [frame["seq"] for frame in follower.frames if "seq" in frame]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    for crowd in (everywhere, elsewhere):
        await crowd.check_ledger(olga)
    readers = [visit(host.process, "bob") for host in hosts]
    for reader in readers:
        await reader.token()
    boards = [await fetch(reader.client, board.slug) for reader in readers]
    assert shown(*boards[0]) == shown(*boards[1])


def test_the_settings_that_are_shown_are_settings(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.rst").read_text()
    part = text.partition("Run it on many hosts\n")[2].partition("*The load balancer.*")[0]
    shown = part.partition(".. code-block:: toml\n")[2].partition("\n\nA role")[0]
    for name in ("jwt_secret", "secret_key"):
        assert shown.count(f'{name} = "…"') == 1
        shown = shown.replace(f'{name} = "…"', f'{name} = "{SECRETS[f"WARMDESK_{name.upper()}"]}"')
    file = tmp_path / "warmdesk.toml"
    file.write_text(shown)
    settings = load(file, {})
    assert settings.workers == 4
    assert settings.host == "0.0.0.0"
    assert settings.file_store
    assert settings.redis_url.startswith("sentinel://")
    connect_redis(settings.redis_url)


async def at_the_head(mirrors: list[Mirror], reader: Person, path: str, *, within: float) -> None:
    head = (await reader.get(f"{path}?include=labels"))["seq"]
    await asyncio.gather(*(one.reaches(head, limit=within) for one in mirrors))


async def refuses(alice: Person, path: str, *, seconds: float) -> None:
    """For so long every change is refused, each in time and with a moment to come back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.gather(*(refused(alice, f"{path}/chat/messages") for _ in range(15)))
        ready = await alice.request("GET", "/ready")
        assert ready.status == 503
        assert (await alice.request("GET", "/health")).status == 200


async def refused(alice: Person, path: str) -> None:
    began = time.monotonic()
    answer = await alice.request("POST", path, {"body": "is anybody there?"})
    took = time.monotonic() - began
    assert answer.status == 503, answer
    assert answer.headers["Retry-After"].isdigit()
    assert took < pace.allows(REFUSED_WITHIN), f"the refusal took {took:.1f} s"


async def is_ready(process: Process) -> bool:
    person = Person(process.url, "nobody")
    try:
        return (await person.client.request("GET", "/ready")).status == 200
    finally:
        await person.close()


async def present(hosts: list[Host], mirrors: list[Mirror], names: set[str]) -> None:
    """Every host says that these are here, and every viewer was told so, soon."""
    expected = {IDS[name] for name in names}
    people = [Person(host.process.url, "olga") for host in hosts]

    async def all_agree() -> bool:
        for person in people:
            answer = await person.request("GET", "/projects/demo/presence")
            if answer.status != 200 or {user["id"] for user in answer.body["users"]} != expected:
                return False
        return all(told(one) == expected for one in mirrors)

    try:
        await until(
            all_agree, within=PRESENCE_WITHIN, what=f"{expected}, not {list(map(told, mirrors))}"
        )
    finally:
        for person in people:
            await person.close()


def told(viewer: Mirror) -> set[int]:
    """Who is here, by what a viewer was told."""
    here: set[int] = set()
    for frame in viewer.frames:
        if frame["type"] == "presence.list":
            here = {user["id"] for user in frame["payload"]["users"]}
        elif frame["type"] == "presence.changed":
            here |= {user["id"] for user in frame["payload"]["joined"]}
            here -= set(frame["payload"]["left"])
    return here
