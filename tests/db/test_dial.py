"""Connecting where a URL names several hosts: the first that fits, however the others fail."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import until
from tests.journeys.proxy import Proxy, socket_of
from warmdesk.db import dial
from warmdesk.db.dial import Dialer, connect
from warmdesk.db.pool import Database

SOON = 5.0
"""Seconds, on a machine that has much to do; who waited for a host that hangs would need more."""
LIMIT = 30.0


class BlackHole(str):
    """A host that takes connections and says nothing, as one whose processes hang."""

    listening: socket.socket

    def asked(self) -> int:
        """How often it was asked since it was looked at last."""
        count = 0
        with suppress(BlockingIOError):
            while True:
                self.listening.accept()[0].close()
                count += 1
        return count


@contextmanager
def black_hole() -> Iterator[BlackHole]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        hole = BlackHole(f"127.0.0.1:{listening.getsockname()[1]}")
        hole.listening = listening
        yield hole


@contextmanager
def nobody() -> Iterator[str]:
    """A host that refuses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def at(dsn: str, *hosts: str, **options: str) -> str:
    """The URL of a database at these hosts."""
    asked = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql://warmdesk@{','.join(hosts)}{urlsplit(dsn).path}?{asked}"


@asynccontextmanager
async def host(dsn: str) -> AsyncIterator[Proxy]:
    """A host with the database, on a port."""
    async with Proxy(socket_of(dsn), "127.0.0.1:0", bytes_only=True) as proxy:
        yield proxy


@pytest.fixture
async def good(database_url: str) -> AsyncIterator[Proxy]:
    async with host(database_url) as proxy:
        yield proxy


@pytest.mark.parametrize("bad", [1, 2])
async def test_a_first_host_that_hangs_is_waited_for_a_moment_and_once(
    database_url: str, good: Proxy, bad: int
) -> None:
    with black_hole() as one, black_hole() as other:
        holes = (one, other)[:bad]
        dialer = Dialer(at(database_url, *holes, good.listen), timeout=LIMIT)
        for times in (1, 0, 0):
            began = time.monotonic()
            connection = await dialer()
            assert times * bad * dial.PATIENCE - 0.01 <= time.monotonic() - began < SOON
            assert [hole.asked() for hole in holes] == [times] * bad
            assert await connection.fetchval("select current_database()")
            await connection.close()


async def test_a_host_that_refuses_is_not_waited_for(
    database_url: str, good: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "PATIENCE", LIMIT)
    with nobody() as one, nobody() as other:
        began = time.monotonic()
        await (await connect(at(database_url, one, other, good.listen), timeout=LIMIT)).close()
    assert time.monotonic() - began < SOON


async def test_a_host_that_is_slow_is_taken_when_the_others_do_not_answer(
    database_url: str, good: Proxy
) -> None:
    """To ask the next is not to give up the first."""
    with black_hole() as other:
        good.freeze()
        asyncio.get_running_loop().call_later(3 * dial.PATIENCE, good.thaw)
        await (await connect(at(database_url, good.listen, other), timeout=LIMIT)).close()


async def test_who_loses_is_hung_up_on(
    database_url: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hosts lead to one PostgreSQL: one connection is left of four."""
    monkeypatch.setattr(dial, "PATIENCE", 0.0)
    async with host(database_url) as one, host(database_url) as two, host(database_url) as three:
        hosts = [proxy.listen for proxy in (one, two, three, one)]
        line = await connect(
            at(database_url, *hosts), timeout=LIMIT, server_settings={"application_name": "dialled"}
        )

        async def left() -> bool:
            query = "select count(*) from pg_stat_activity where application_name = 'dialled'"
            return bool(await connection.fetchval(query) == 1)

        await until(left)
        assert await line.fetchval("select 1") == 1
        await line.close()


async def test_who_gives_up_leaves_nothing_behind(database_url: str) -> None:
    with black_hole() as one, black_hole() as other:
        before = asyncio.all_tasks()
        task = asyncio.create_task(connect(at(database_url, one, other), timeout=LIMIT))
        await asyncio.sleep(2 * dial.PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: asyncio.all_tasks() == before)


async def test_when_all_fail_it_ends_in_time_and_tells_what_has_to_be_mended(
    database_url: str, good: Proxy
) -> None:
    with black_hole() as hole, nobody() as away:
        for hosts, expected in (
            ((hole, away), TimeoutError),
            ((away, away), ConnectionRefusedError),
            ((hole, good.listen, away), asyncpg.InvalidCatalogNameError),
        ):
            began = time.monotonic()
            url = at("postgresql:///no_such_database", *hosts)
            with pytest.raises(expected):
                await connect(url, timeout=1)
            assert time.monotonic() - began < 1 + SOON


async def test_a_host_that_takes_no_writes_is_passed_over(
    database_url: str, good: Proxy, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is read-only by default is told from the other as a standby is."""
    name = urlsplit(database_url).path.strip("/")
    await connection.execute(f"alter database {name} set default_transaction_read_only = on")
    with pytest.raises(asyncpg.exceptions.TargetServerAttributeNotMatched):
        await connect(at(database_url, good.listen, good.listen), timeout=LIMIT)
    either = at(database_url, good.listen, good.listen, target_session_attrs="any")
    await (await connect(either, timeout=LIMIT)).close()
    await (await connect(at(database_url, good.listen), timeout=LIMIT)).close()
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "any")
    await (await connect(at(database_url, good.listen, good.listen), timeout=LIMIT)).close()


async def test_a_pool_goes_over_to_the_next_host_when_the_first_begins_to_hang(
    database_url: str, good: Proxy
) -> None:
    async with host(database_url) as first:
        database = await Database.open(at(database_url, first.listen, good.listen), size=3)
        try:
            assert (await database.fetchrow("select 1"))[0] == 1
            assert not good.links
            first.freeze()
            with pytest.raises(TimeoutError):
                await database.ask("select 1", (), 2.0)
            began = time.monotonic()
            assert (await database.fetchrow("select 1"))[0] == 1
            assert (await database.reserved.fetchrow("select 1"))[0] == 1
            assert time.monotonic() - began < SOON
            assert good.links
        finally:
            first.thaw()
            await database.close()


HOSTS = st.lists(
    st.tuples(
        st.sampled_from(["db", "127.0.0.1", "[::1]", "db-2.example.org", "/run/a b", "/run"]),
        st.one_of(st.none(), st.integers(1, 65535)),
    ),
    min_size=1,
    max_size=5,
)


@given(hosts=HOSTS, apart=st.booleans(), ports=st.lists(st.integers(1, 65535), max_size=1))
def test_hosts_are_read_as_asyncpg_reads_them(
    hosts: list[tuple[str, int | None]], apart: bool, ports: list[int]
) -> None:
    """In the place for hosts, or as the parameter `host`."""
    if apart:
        names = ",".join(
            name if port is None or name.startswith("/") else f"{name}:{port}"
            for name, port in hosts
        )
        port = f"&port={ports[0]}" if ports else ""
        dsn = f"postgresql://me@/desk?host={quote(names)}{port}"
    else:
        names = ",".join(
            quote(name, safe=":[]") + (f":{port}" if port else "") for name, port in hosts
        )
        dsn = f"postgresql://me@{names}/desk"
    nothing = dict.fromkeys(inspect.signature(_parse_connect_dsn_and_args).parameters)
    try:
        addresses, _ = _parse_connect_dsn_and_args(**{**nothing, "dsn": dsn})
    except ValueError:
        # A Python with CVE-2024-11168 mended takes no bracket beside another host.
        with pytest.raises(ValueError, match="IPv6"):
            dial.hosts(dsn)
        return
    assert [
        f"{host}/.s.PGSQL.{port or 5432}" if host.startswith("/") else (host, port or 5432)
        for host, port in dial.hosts(dsn)
    ] == addresses
