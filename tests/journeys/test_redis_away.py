"""Redis makes delivery instant; without it nothing is lost, and nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack

from tests.checkers.mirror import Mirror, mirror
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished
from warmdesk.embedded import Valkey

AWAY_SECONDS = 5.0
DELIVERED_WITHIN = 3.0
"""Promised is a second while the bus is known to be down; the rest is for a busy machine."""


async def test_redis_killed_for_five_seconds_loses_no_event(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    fleet = [await start(redis_url=own_valkey.url) for _ in range(2)]
    board = await furnished(fleet[0], visit)
    crowd = Crowd(board, [visit(process, "alice") for process in fleet])
    async with AsyncExitStack() as stack:
        mirrors = [
            await stack.enter_async_context(mirror(visit(process, name)))
            for process in fleet
            for name in ("olga", "bob")
        ]
        await crowd.work(20)
        os.kill(own_valkey.pid, signal.SIGKILL)
        end = time.monotonic() + AWAY_SECONDS
        crowd.slowest = 0.0
        while time.monotonic() < end:
            await crowd.work(6)
            await everyone_reaches_the_head(mirrors, crowd, limit=DELIVERED_WITHIN)
        assert crowd.slowest < 2.0, "a change waited for Redis"
        own_valkey.stop()
        own_valkey.start()

        over = asyncio.Event()
        work = asyncio.create_task(crowd.work_until(over, pause=0.02))
        await healed(fleet, visit)
        over.set()
        await work
        await everyone_reaches_the_head(mirrors, crowd, limit=DELIVERED_WITHIN)
        for one in mirrors:
            assert one.socket.connections == 1, "sockets stay open"
            seqs = [frame["seq"] for frame in one.frames if "seq" in frame]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    await crowd.check_ledger(visit(fleet[0], "olga"))


async def test_a_redis_that_hangs_delays_no_change(
    start: Start, visit: Visit, own_valkey: Valkey
) -> None:
    fleet = [await start(redis_url=own_valkey.url) for _ in range(2)]
    board = await furnished(fleet[0], visit)
    crowd = Crowd(board, [visit(process, "alice") for process in fleet])
    async with mirror(visit(fleet[0], "bob")) as his, mirror(visit(fleet[1], "olga")) as hers:
        await crowd.work(10)
        crowd.slowest = 0.0
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            for _ in range(8):
                await crowd.work(6)
                await everyone_reaches_the_head([his, hers], crowd, limit=6.0)
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        assert crowd.slowest < 2.0, "a change waited for Redis"
        await healed(fleet, visit)


async def everyone_reaches_the_head(mirrors: list[Mirror], crowd: Crowd, *, limit: float) -> None:
    head = (await crowd.people[0].get(f"{crowd.board.path}?include=labels"))["seq"]
    await asyncio.gather(*(one.reaches(head, limit=limit) for one in mirrors))


async def healed(fleet: list[Process], visit: Visit) -> None:
    """Until each server says that Redis is there again."""
    async with asyncio.timeout(15):
        for process in fleet:
            person = visit(process, "eve")
            while (await person.client.get("/ready")).get("degraded"):
                await asyncio.sleep(0.05)
