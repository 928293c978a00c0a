"""Deliveries to webhooks over real processes: a host sends each once, waits ten seconds and never
again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.conftest import Board, until
from tests.hosts.payloads import GitHub
from tests.journeys.conftest import OwnPostgres, Start, Visit, furnished
from tests.person import Person
from tests.posting import Hook, hook

HOST_WAITS = 10.0
"""Seconds that a host waits for its answer."""
AWAY_SECONDS = 5.0
EACH, TIMES = 1000, 3
GITHUB = GitHub()
RATE, SECONDS, VIEWERS = 120, 5, 50


async def post(session: aiohttp.ClientSession, made: Hook, url: str, name: str, text: str) -> Any:
    """Deliver a push by one of the servers: the status, the answer, and how long it took."""
    path = made.url.partition("/api/v1")[2]
    headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": name}
    began = time.monotonic()
    body = GITHUB.push(text)[1]
    async with session.post(f"{url}/api/v1{path}", json=body, headers=headers) as response:
        return response.status, await response.json(), time.monotonic() - began


@pytest.mark.parametrize("ends", ["stops", "dies"])
async def test_a_restart_of_postgresql_loses_no_delivery(
    own_postgres: OwnPostgres, start: Start, visit: Visit, ends: str
) -> None:
    fleet = await asyncio.gather(*(start(database_url=own_postgres.dsn) for _ in range(2)))
    board = await furnished(fleet[0], visit)
    olga = visit(fleet[0], "olga")
    made = await hook(olga, board.slug, "github")
    card = await board.card()
    over, told = asyncio.Event(), []

    async def deliver(number: int) -> None:
        count = 0
        while not over.is_set():
            name, process = f"{number}-{count}", fleet[number % 2]
            told.append((name, await post(session, made, process.url, name, card["key"])))
            count += 1
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(deliver(number))
        await until(lambda: len(told) > 30)
        if ends == "dies":
            own_postgres.signal(signal.SIGKILL)
        own_postgres.stop()
        await asyncio.sleep(AWAY_SECONDS)
        before = len(told)
        await own_postgres.again()
        await until(lambda: len(told) > before + 30, limit=HOST_WAITS)
        over.set()
    assert {status for _, (status, _, _) in told} == {200}, told
    assert not [name for name, (_, body, _) in told if "duplicate" in body]
    assert max(took for _, (_, _, took) in told) < pace.allows(HOST_WAITS)
    assert max(took for _, (_, _, took) in told) > AWAY_SECONDS - 1
    rows = "select array_agg(delivery_id) from webhook_deliveries"
    assert set(await own_postgres.ask(rows)) == {name for name, _ in told}
    lines = "select count(*) from chat_messages where is_bot"
    assert await own_postgres.ask(lines) == len(told)


async def test_a_postgresql_that_does_not_come_back_is_a_503_in_time(
    own_postgres: OwnPostgres, start: Start, visit: Visit
) -> None:
    server = await start(database_url=own_postgres.dsn)
    board = await furnished(server, visit)
    made = await hook(visit(server, "olga"), board.slug, "github")
    own_postgres.stop()
    async with aiohttp.ClientSession() as session:
        asked = (post(session, made, server.url, f"{n}", "text") for n in range(5))
        for status, body, took in await asyncio.gather(*asked):
            assert (status, body["code"]) in ((503, "unavailable"), (503, "unknown_outcome"))
            assert 7.5 < took < pace.allows(HOST_WAITS)
    await own_postgres.again()
    async with aiohttp.ClientSession() as session:
        status, _, _ = await post(session, made, server.url, "again", "text")
    assert status == 200


async def test_a_thousand_deliveries_three_times_are_a_thousand_rows(
    start: Start, visit: Visit, database_url: str, board: Board, connection: Any, olga: Person
) -> None:
    fleet = await asyncio.gather(*(start() for _ in range(2)))
    made = await hook(olga, board.slug, "github")
    card = await board.card()
    sent = [(f"d{n}", fleet[k % 2]) for n in range(EACH) for k in range(TIMES)]
    random.Random(7).shuffle(sent)
    at_once = asyncio.Semaphore(16)

    async def deliver(name: str, process: Any) -> Any:
        async with at_once:
            return await post(session, made, process.url, name, f"{card['key']} {name}")

    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(deliver(*each) for each in sent))
    assert {status for status, _, _ in answers} == {200}
    assert sum("duplicate" not in body for _, body, _ in answers) == EACH
    for table, where in (("webhook_deliveries", "true"), ("chat_messages", "is_bot")):
        assert await connection.fetchval(f"select count(*) from {table} where {where}") == EACH


@pytest.mark.long
async def test_a_hundred_and_twenty_deliveries_a_second_are_live_within_a_second(
    start: Start, visit: Visit, board: Board, olga: Person
) -> None:
    """Two workers, fifty who watch: each has all of them, in the order of the feed."""
    server = await start(workers=2)
    made = await hook(olga, board.slug, "github")
    sent: dict[str, float] = {}
    delays: list[float] = []
    watchers = [visit(server, name) for name in ("bob", "alice", "olga", "root")]

    async def look(number: int, ready: asyncio.Barrier) -> list[int]:
        seqs: list[int] = []
        async with watchers[number % len(watchers)].socket(board.slug) as socket:
            await socket.next("hello")
            await ready.wait()
            for _ in range(RATE * SECONDS):
                event = await socket.next("chat.message", limit=30)
                seqs.append(event["seq"])
                if number < 5:
                    name = event["payload"]["body"].rpartition(" ")[2]
                    delays.append(time.monotonic() - sent[name])
        return seqs

    async def deliver(session: aiohttp.ClientSession, name: str) -> None:
        sent[name] = time.monotonic()
        status, _, _ = await post(session, made, server.url, name, f"Fix {name}")
        assert status == 200

    ready = asyncio.Barrier(VIEWERS + 1)
    watching = [asyncio.create_task(look(number, ready)) for number in range(VIEWERS)]
    await ready.wait()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        began = time.monotonic()
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            group.create_task(deliver(session, f"n{number}"))
    for seqs in await asyncio.gather(*watching):
        assert seqs == list(range(seqs[0], seqs[0] + RATE * SECONDS))
    late = statistics.quantiles(delays, n=100)[98]
    print(f"p99 {late * 1000:.0f} ms, median {statistics.median(delays) * 1000:.0f} ms")
    assert late < pace.allows(1.0)
