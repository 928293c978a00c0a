"""Redis behind sentinels: the primary dies, the servers follow to its successor by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from tests.conftest import until
from tests.journeys.company import Company, healed
from tests.journeys.conftest import Start, Visit, furnished
from tests.ports import free_port
from warmdesk.embedded.valkey import _binary
from warmdesk.realtime.sentinels import PrimaryConnection, Sentinels

NAME = "desk"
PASSWORD = "a word that they share"
DOWN_AFTER_MS = 1000
FOLLOWED_WITHIN = 10.0
"""Sentinels take three to four seconds to agree; the rest is for a busy machine."""


class Node:
    """A Valkey on a port, or with `watching` a sentinel."""

    def __init__(self, base: Path, *lines: str, watching: bool = False) -> None:
        self.port = free_port()
        self.watching = watching
        self.directory = base / f"node-{self.port}"
        self.directory.mkdir()
        self.file = self.directory / "node.conf"
        own = [f"port {self.port}", "bind 127.0.0.1", f'dir "{self.directory}"', 'save ""']
        self.file.write_text("\n".join([*own, *lines]) + "\n")
        self.process: asyncio.subprocess.Process | None = None
        self.client = redis.asyncio.Redis(
            port=self.port, password=None if watching else PASSWORD, decode_responses=True
        )

    async def start(self) -> None:
        kind = ["--sentinel"] if self.watching else []
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(_binary()), str(self.file), *kind, stdout=log, stderr=log
            )
        await until(self.answers, limit=15, every=0.05)

    async def answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except RedisError:
            return False

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)
                self.process.kill()
            await self.process.wait()

    async def is_primary(self) -> bool:
        return bool((await self.client.role())[0] == "master")

    async def knows(self) -> dict[str, Any]:
        """What a sentinel knows of the primary."""
        return cast("dict[str, Any]", await self.client.sentinel_master(NAME))


class Watched:
    """Two Valkeys with a password, one following the other, and three sentinels without one."""

    def __init__(self, base: Path) -> None:
        secret = (f'requirepass "{PASSWORD}"', f'masterauth "{PASSWORD}"')
        self.first = Node(base, *secret)
        self.second = Node(base, *secret, f"replicaof 127.0.0.1 {self.first.port}")
        watch = (
            f"sentinel monitor {NAME} 127.0.0.1 {self.first.port} 2",
            f'sentinel auth-pass {NAME} "{PASSWORD}"',
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 6000",
        )
        self.sentinels = [Node(base, *watch, watching=True) for _ in range(3)]
        self.nodes = [self.first, self.second, *self.sentinels]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://:{PASSWORD.replace(' ', '%20')}@{places}/{NAME}"

    async def start(self) -> None:
        for node in self.nodes:
            await node.start()
        await until(self.is_complete, limit=20, every=0.1)

    async def is_complete(self) -> bool:
        """Whether every sentinel knows of the others and of the replica, which has everything."""
        for sentinel in self.sentinels:
            known = await sentinel.knows()
            if known["num-other-sentinels"] != 2 or known["num-slaves"] != 1:
                return False
        for node in (self.first, self.second):
            role = await node.client.role()
            if role[0] == "slave" and role[3] != "connected":
                return False
        return True


@pytest.fixture
async def watched(base: Path) -> AsyncIterator[Watched]:
    all_of_them = Watched(base)
    try:
        await all_of_them.start()
        yield all_of_them
    finally:
        for node in all_of_them.nodes:
            await node.kill()
            await node.client.aclose()


@pytest.mark.long
async def test_servers_follow_to_the_promoted_replica_and_back_and_nobody_notices(
    start: Start, visit: Visit, watched: Watched
) -> None:
    """There by an accident, back by an operator's command. The second is over before anybody's call
    failed: only the lost listener tells of it.
    """
    fleet = [await start(redis_url=watched.url) for _ in range(2)]
    async with Company(fleet, visit, await furnished(fleet[0], visit)) as company:
        await company.sees_each_other()
        company.works()
        await company.crowd.goes_on(150)
        usual = company.crowd.p99()
        # The first sentinel that is asked died with the primary's host, or worse: it hangs.
        os.kill(pid_of(watched.sentinels[0]), signal.SIGSTOP)
        await watched.first.kill()
        killed = time.monotonic()
        slowest = 0.0
        while not await watched.second.is_primary():
            slowest = max(slowest, await company.reads_all())
        promoted = time.monotonic() - killed
        await healed(fleet, visit)
        followed = time.monotonic() - killed
        slowest = max(slowest, await company.reads_all())
        waited = company.nobody_waited(usual)
        present = await company.sees_each_other()
        print(
            f"promoted after {promoted:.1f} s, followed after {followed:.1f} s, delivery"
            f" {slowest:.2f} s meanwhile, presence right {present:.1f} s after; {waited}"
        )
        assert followed - promoted < FOLLOWED_WITHIN

        os.kill(pid_of(watched.sentinels[0]), signal.SIGCONT)
        await watched.first.start()
        await until(lambda: is_replica(watched.first), limit=30, every=0.1)
        assert await watched.second.is_primary()
        assert await clients(watched.first) == 0, "nobody uses a server that is no primary"

        await until(watched.is_complete, limit=20, every=0.1)
        await watched.sentinels[1].client.sentinel_failover(NAME)
        await until(watched.first.is_primary, limit=10)
        await until(lambda: is_replica(watched.second), limit=20, every=0.1)
        await healed(fleet, visit)
        await company.rests()
        await company.comes("alice", fleet[1])
        await company.sees_each_other()
        await company.is_whole()


async def test_a_sentinel_that_is_wrong_makes_nobody_use_a_replica(watched: Watched) -> None:
    sentinels = Sentinels([], NAME, username="default", password=None)

    async def wrong() -> tuple[str, int]:
        return "127.0.0.1", watched.second.port

    sentinels.primary = wrong  # type: ignore[method-assign]
    connection = PrimaryConnection(sentinels=sentinels, password=PASSWORD)
    with pytest.raises(RedisConnectionError, match="is not the primary"):
        await connection.connect()  # type: ignore[no-untyped-call]
    assert not connection.is_connected


def pid_of(node: Node) -> int:
    assert node.process is not None
    return node.process.pid


async def is_replica(node: Node) -> bool:
    return not await node.is_primary()


async def clients(node: Node) -> int:
    """How many connections there are but those of sentinels and of this test."""
    found = await node.client.client_list()
    others = [one for one in found if not one["name"].startswith("sentinel-")]
    return sum(one["cmd"] != "client|list" and one["flags"] not in ("S", "M") for one in others)
