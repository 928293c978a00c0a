"""Processes stand still, or end between two of their steps: others go on, and who wakes up says
nothing that is no longer true.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import pace
from tests.checkers.mirror import mirror
from tests.conftest import Board, Servers, fast_directory, until
from tests.journeys.company import Company
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished, socket_path
from tests.journeys.proxy import Proxy
from tests.person import Person

FROZEN_SECONDS = 10.0
LOCKS_GONE_WITHIN = 6.0
"""PostgreSQL ends a transaction in which nothing happens after five seconds; and a second."""
AWAY_WITHIN = 10.0
BACK_WITHIN = 3.0
CHECKED_WITHIN = 2.0
"""What the bus never brought is found by the comparison with the feeds."""
SLACK = 1.0
"""For a busy machine."""

HOLDS_A_FEED = """
    select pid from pg_locks join pg_stat_activity as held using (pid)
    where relation = 'feeds'::regclass and mode = 'RowExclusiveLock' and granted
        and held.datname = current_database() and held.state = 'idle in transaction'
"""

IS_LATE = """
    select pid from pg_stat_activity
    where datname = current_database() and clock_timestamp() - xact_start > interval '6 seconds'
"""


class Freezer:
    """Stops all workers of a server, and lets them go on."""

    def __init__(self, server: Process) -> None:
        self.server = server
        self.workers = server.workers()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


async def freeze_within_a_change(
    freezer: Freezer, board: Board, writer: Person, connection: Any
) -> float:
    """Stop the workers while one of them holds the board's feed; gives the moment."""
    sent = await writer.post(f"{board.path}/chat/messages", {"body": "first"})
    message = f"{board.path}/chat/messages/{sent['id']}"
    over = asyncio.Event()

    async def edits(number: int) -> None:
        while not over.is_set():
            body = {"body": f"{number} {time.monotonic()}"}
            with suppress(Exception):  # what becomes of them does not matter
                await writer.client.request("PUT", message, body)

    work = [asyncio.create_task(edits(number)) for number in range(4)]
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            freezer.freeze()
            stopped = time.monotonic()
            # A statement under way comes to its end; only then it is known who waits for whom.
            await asyncio.sleep(0.02)
            if await connection.fetch(HOLDS_A_FEED):
                return stopped
            freezer.thaw()
            await asyncio.sleep(0.01)
        raise AssertionError("no worker was ever stopped within a change")
    finally:
        over.set()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.long
async def test_a_frozen_server_stops_nobody_and_wakes_without_a_stale_word(
    start: Start, visit: Visit, connection: Any
) -> None:
    fleet = [await start(), await start()]
    board = await furnished(fleet[1], visit)
    async with Company(fleet, visit, board) as company:
        presence, frozen = company.presence, ("olga", "root")
        sleepers = [visit(fleet[0], name).id for name in frozen]
        company.crowd = crowd = Crowd(board, [visit(fleet[1], "alice") for _ in range(2)])  # type: ignore[assignment]
        for person in crowd.people:
            person.client.token = await board.maker.token()
        await company.comes("alice", fleet[1])
        company.works()
        await company.sees_each_other()
        freezer = Freezer(fleet[0])
        # Who stands still is away, and what it believes is nobody's business.
        views = {name: presence.views.pop(name) for name in frozen}
        for sleeper in sleepers:
            presence.gone(sleeper)
        try:
            writer = visit(fleet[0], "alice", patience=0)
            writer.client.token = await board.maker.token()
            stopped = await freeze_within_a_change(freezer, board, writer, connection)
            await until(lambda: unlocked(connection), limit=LOCKS_GONE_WITHIN)
            print(f"\nfrozen: the feed was free after {time.monotonic() - stopped:.1f} s")
            # Nor is anything else held, whatever its transactions had just begun.
            await asyncio.sleep(max(0.0, stopped + LOCKS_GONE_WITHIN + 0.2 - time.monotonic()))
            assert not await connection.fetch(IS_LATE)
            await crowd.goes_on(40)
            await presence.settles(AWAY_WITHIN - (time.monotonic() - stopped) + SLACK)
            presence.whole()
            print(f"frozen: its people were gone after {time.monotonic() - stopped:.1f} s")
            # A signal: only now is it worth anything.
            await company.mirrors["alice"].socket.send("chat.typing", wait=False)
            bobs = company.mirrors["bob"].frames
            await until(lambda: any(frame["type"] == "chat.typing" for frame in bobs))
            assert set(sleepers) <= ids_that_left(company)
            await asyncio.sleep(max(0.0, stopped + FROZEN_SECONDS - time.monotonic()))
        finally:
            presence.views.update(views)
            for sleeper in sleepers:
                presence.opened(sleeper)
            freezer.thaw()
        woken = time.monotonic()
        await presence.settles(BACK_WITHIN + SLACK)
        print(f"frozen: its people were back after {time.monotonic() - woken:.1f} s")
        await company.reads_all(limit=BACK_WITHIN + SLACK)
        await company.rests()
        for name in frozen:
            stale = [f for f in company.mirrors[name].frames if f["type"] == "chat.typing"]
            assert not stale, (
                f"{name} was told what was true {time.monotonic() - stopped:.0f} s ago"
            )
        await company.is_whole()


async def unlocked(connection: Any) -> bool:
    return not await connection.fetch(HOLDS_A_FEED)


def ids_that_left(company: Company) -> set[int]:
    """Whom bob saw leaving."""
    told = [frame for frame in company.mirrors["bob"].frames if frame["type"] == "presence.changed"]
    return {user_id for frame in told for user_id in frame["payload"]["left"]}


@pytest.fixture
async def bus(servers: Servers) -> AsyncIterator[Proxy]:
    """What lies between one server and Valkey."""
    with tempfile.TemporaryDirectory(prefix="wd-", dir=fast_directory()) as name:
        upstream = socket_path(servers)
        async with Proxy(upstream, f"{name}/bus.sock", bytes_only=True) as proxy:
            yield proxy


async def test_what_was_committed_and_never_published_is_delivered_all_the_same(
    bus: Proxy, start: Start, visit: Visit, redis_url: str
) -> None:
    """Workers are killed when they have answered, before Redis has heard anything of it."""
    dying = await start(redis_url=f"unix://{bus.listen}")
    other = await start()
    board = await furnished(other, visit)
    writer = visit(dying, "alice")
    writer.client.token = await board.maker.token()
    slowest = 0.0
    async with mirror(visit(other, "bob")) as his, mirror(visit(other, "olga")) as hers:
        for number in range(2):
            await writer.get(f"{board.path}?include=labels")
            workers = dying.workers()
            bus.freeze()
            made = [
                await writer.post(
                    f"{board.path}/columns/{board.backlog}/cards", {"title": f"{number}-{one}"}
                )
                for one in range(2)
            ]
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            answered = time.monotonic()
            bus.cut()
            head = (await visit(other, "alice").get(f"{board.path}?include=labels"))["seq"]
            await asyncio.gather(
                *(one.reaches(head, limit=CHECKED_WITHIN + SLACK) for one in (his, hers))
            )
            slowest = max(slowest, time.monotonic() - answered)
            assert {card["id"] for card in made} <= set(his.state.cards)
            bus.thaw()
            await until(partial(served_by_others, dying, workers), limit=10)
        for one in (his, hers):
            assert one.socket.connections == 1
    print(f"\nkilled before publishing: delivered after {slowest:.2f} s at most")


def served_by_others(server: Process, workers: list[int]) -> bool:
    """Whether others do the work of workers that are gone."""
    now = server.workers()
    return len(now) == len(workers) and not set(now) & set(workers)


async def test_a_killed_supervisor_leaves_no_orphan_and_its_port_free(
    start: Start, visit: Visit
) -> None:
    """Even when one of its workers stands still."""
    server = await start()
    board = await furnished(server, visit)
    async with mirror(visit(server, "bob")) as his:
        frozen, _ = server.workers()
        os.kill(frozen, signal.SIGSTOP)
        began = time.monotonic()
        await server.kill()
        assert not Path(f"/proc/{frozen}").exists()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", server.port))
        assert time.monotonic() - began < pace.allows(1.0 + SLACK)
        await server.start()
        await board.card("after the cut")
        head = (await visit(server, "alice").get(board.path))["seq"]
        await his.reaches(head, limit=10)
        assert his.resets == 0
