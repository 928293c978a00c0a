"""A server that is stopped answers who waits for events, and lets them come back to others."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import aiohttp

from tests.journeys.conftest import Start, Visit, furnished
from tests.journeys.running import until


async def test_a_planned_stop_answers_who_waits_when_it_takes_no_more(
    start: Start, visit: Visit
) -> None:
    """Earlier, who asks again at once, as the protocol says, would be answered again and again."""
    server = await start(workers=1)
    await furnished(server, visit)
    bob = visit(server, "bob")
    page = await bob.get(f"/projects/demo/events?since={2**40}")
    address = f"{server.url}/api/v1/projects/demo/events?since={page['seq']}&wait=60"
    answers: list[str | None] = []

    async def follow() -> None:
        async with aiohttp.ClientSession(headers=bob.client.credentials) as session:
            with suppress(aiohttp.ClientConnectorError):
                while True:
                    async with session.get(address) as answer:
                        assert answer.status == 200
                        found = await answer.json()
                        assert (found["events"], found["reset"]) == ([], False)
                        answers.append(answer.headers.get("Connection"))

    async def wait() -> bool:
        return "warmdesk_http_waiting 5" in await visit(server, "root").get("/metrics")

    following = [asyncio.create_task(follow()) for _ in range(5)]
    await until(wait, within=10, what="all wait")
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*following)
    assert answers == ["close"] * 5
