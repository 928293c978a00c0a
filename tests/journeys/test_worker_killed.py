"""A worker dies, a whole server dies: those who were connected come back and miss nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack

from tests.checkers.mirror import mirror
from tests.conftest import until
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished

RESPAWN_SECONDS = 10.0
"""Promised are two seconds; this machine runs everything else at the same time."""


async def test_killed_workers_are_replaced_and_nothing_is_lost(start: Start, visit: Visit) -> None:
    server = await start()
    board = await furnished(server, visit)
    crowd = Crowd(board, [visit(server, name) for name in ("olga", "alice", "alice")])
    async with AsyncExitStack() as stack:
        mirrors = [
            await stack.enter_async_context(mirror(visit(server, name)))
            for name in ("olga", "alice", "bob", "root")
            for _ in range(2)
        ]
        over = asyncio.Event()
        work = asyncio.create_task(crowd.work_until(over, pause=0.005))
        for number in range(4):
            await crowd.goes_on(20)
            killed = server.workers()[number % 2]
            os.kill(killed, signal.SIGKILL)
            await replaced(server, killed)
        over.set()
        await work
        head = (await visit(server, "olga").get(board.path))["seq"]
        for one in mirrors:
            await one.reaches(head, limit=20)
            assert one.resets == 0
        assert sum(one.socket.connections for one in mirrors) > len(mirrors)
    await crowd.check_ledger(visit(server, "olga"))


async def test_a_server_that_lost_its_power_comes_back(start: Start, visit: Visit) -> None:
    """kill -9 of the supervisor: its workers end with it; started again, everybody resumes."""
    server = await start()
    board = await furnished(server, visit)
    crowd = Crowd(board, [visit(server, name) for name in ("olga", "alice")])
    async with mirror(visit(server, "bob")) as his, mirror(visit(server, "root")) as hers:
        over = asyncio.Event()
        work = asyncio.create_task(crowd.work_until(over, pause=0.005))
        await crowd.goes_on(20)
        await server.kill()
        await server.start()
        await crowd.goes_on(20)
        over.set()
        await work
        head = (await visit(server, "olga").get(board.path))["seq"]
        for one in (his, hers):
            await one.reaches(head, limit=20)
            assert one.socket.connections > 1
            assert one.resets == 0
    await crowd.check_ledger(visit(server, "olga"))


async def replaced(server: Process, killed: int) -> None:
    """Until somebody else does the work of a worker that is gone."""

    def two_others() -> bool:
        workers = server.workers()
        return len(workers) == 2 and killed not in workers

    await until(two_others, limit=RESPAWN_SECONDS)
