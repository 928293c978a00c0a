"""A server that is stopped lets no request wait that waits for events."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp

from tests import pace
from tests.journeys.conftest import Start, Visit, furnished
from tests.journeys.running import until


async def test_a_planned_stop_answers_who_waits_at_once(start: Start, visit: Visit) -> None:
    server = await start(workers=1)
    await furnished(server, visit)
    bob = visit(server, "bob")
    page = await bob.get(f"/projects/demo/events?since={2**40}")
    address = f"{server.url}/api/v1/projects/demo/events?since={page['seq']}&wait=60"

    async def ask() -> tuple[dict[str, object], str | None, float]:
        async with (
            aiohttp.ClientSession(headers=bob.client.credentials) as session,
            session.get(address) as answer,
        ):
            assert answer.status == 200
            return await answer.json(), answer.headers.get("Connection"), time.monotonic()

    async def wait() -> bool:
        return f"warmdesk_http_waiting {len(asked)}" in await visit(server, "root").get("/metrics")

    asked = [asyncio.create_task(ask()) for _ in range(5)]
    await until(wait, within=10, what="all wait")
    began = time.monotonic()
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    for page, connection, moment in await asyncio.gather(*asked):
        assert (page["events"], page["reset"], connection) == ([], False, "close")
        assert moment - began < pace.allows(1.0)
