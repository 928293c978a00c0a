"""Whoever comes back gets what was missed: all of it, in order, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal

from tests import pace
from tests.checkers.mirror import mirror
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished
from tests.journeys.proxy import Proxy
from tests.person import Person


async def test_a_gap_is_filled_with_exactly_the_missed_events(
    fleet: list[Process], visit: Visit
) -> None:
    here, there = fleet
    board = await furnished(here, visit)
    alice = visit(here, "alice")
    async with alice.socket("demo") as socket:
        hello = (await socket.next("hello"))["payload"]
    titles = [f"card {number}" for number in range(100)]
    for title in titles:
        await board.card(title)

    async with visit(there, "alice").socket(
        "demo", since=hello["seq"], epoch=hello["epoch"]
    ) as socket:
        again = (await socket.next("hello"))["payload"]
        assert again["resumed"] is True
        missed = [await socket.next("board.card_created") for _ in titles]
        await board.card("live again")
        await socket.next("board.card_created")
    assert [frame["payload"]["title"] for frame in missed] == titles
    assert [frame["seq"] for frame in socket.events] == [
        hello["seq"] + number for number in range(1, 102)
    ]


async def test_another_history_is_a_reset(fleet: list[Process], visit: Visit) -> None:
    board = await furnished(fleet[0], visit)
    head = (await visit(fleet[0], "bob").get(board.path))["seq"]
    for since, epoch in ((head, "elsewhere"), (head + 50, None)):
        params = {"since": since} | ({"epoch": epoch} if epoch else {})
        async with visit(fleet[1], "bob").socket("demo", **params) as socket:
            assert (await socket.next("hello"))["payload"]["resumed"] is False
            reset = (await socket.next("sync.reset"))["payload"]
            assert reset["seq"] == head


async def test_connections_that_break_all_the_time_lose_nothing(start: Start, visit: Visit) -> None:
    """The reference client behind a network that resets every connection at random moments."""
    server = await start()
    board = await furnished(server, visit)
    crowd = Crowd(board, [visit(server, name) for name in ("olga", "alice")])
    chance = random.Random(11)
    async with Proxy(f"127.0.0.1:{server.port}", "127.0.0.1:0", bytes_only=True) as network:
        bob = Person(f"http://{network.listen}", "bob", id=4, patience=30)
        async with mirror(bob) as followed:
            over = asyncio.Event()
            work = asyncio.create_task(crowd.work_until(over, pause=0.005))
            for _ in range(25):
                await asyncio.sleep(chance.uniform(0.0, 0.2))
                network.cut()
            over.set()
            await work
            head = (await visit(server, "olga").get(board.path))["seq"]
            await followed.reaches(head, limit=20)
            assert followed.socket.connections > 10
            assert followed.resets == 0
        await bob.close()
    await crowd.check_ledger(visit(server, "olga"))


async def test_a_rolling_restart_costs_nobody_anything(start: Start, visit: Visit) -> None:
    server = await start()
    board = await furnished(server, visit)
    crowd = Crowd(board, [visit(server, name) for name in ("olga", "alice")])
    async with mirror(visit(server, "bob")) as his, mirror(visit(server, "root")) as hers:
        over = asyncio.Event()
        work = asyncio.create_task(crowd.work_until(over, pause=0.01))
        before = set(server.workers())
        os.kill(server.pid, signal.SIGHUP)
        async with asyncio.timeout(50 * pace.stretch()):
            while before & set(server.workers()):
                await asyncio.sleep(0.1)
        over.set()
        await work
        head = (await visit(server, "olga").get(board.path))["seq"]
        for followed in (his, hers):
            await followed.reaches(head, limit=20)
            assert followed.socket.connections > 1
    await crowd.check_ledger(visit(server, "olga"))
