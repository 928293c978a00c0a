"""A bus that loses, delays, swaps, doubles and invents: everybody sees 1, 2, 3 … all the same."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.checkers.mirror import mirror
from tests.journeys.conftest import Crowd, Start, Visit, furnished, socket_path
from tests.journeys.proxy import Proxy, Weather

STORM = Weather(drop=0.3, late=0.2, late_seconds=1.0, swap=0.1, double=0.1, garbage=0.05)
SILENCE = Weather(drop=1.0)


@pytest.mark.parametrize(
    "weather", [STORM, SILENCE], ids=["everything goes wrong", "nothing comes through"]
)
async def test_every_viewer_sees_every_event_in_order(
    start: Start, visit: Visit, servers: Any, base: Any, weather: Weather
) -> None:
    upstream = socket_path(servers)
    async with AsyncExitStack() as stack:
        networks = [
            await stack.enter_async_context(
                Proxy(upstream, str(base / f"bus-{seed}.sock"), weather=weather, seed=seed)
            )
            for seed in (1, 2)
        ]
        fleet = [await start(redis_url=f"unix://{network.listen}") for network in networks]
        board = await furnished(fleet[0], visit)
        crowd = Crowd(board, [visit(p, name) for p in fleet for name in ("olga", "alice")])
        mirrors = [
            await stack.enter_async_context(mirror(visit(process, name)))
            for process in fleet
            for name in ("olga", "alice", "bob")
        ]
        await crowd.work(200)

        head = (await crowd.people[0].get(board.path))["seq"]
        for one in mirrors:
            await one.reaches(head, limit=10)
            assert one.socket.connections == 1
            assert one.resets == 0
            events = [frame for frame in one.frames if "seq" in frame]
            assert [frame["seq"] for frame in events] == list(
                range(head - len(events) + 1, head + 1)
            )
        streams = [[f for f in one.frames if "seq" in f] for one in mirrors]
        assert all(stream == streams[0] for stream in streams)
        for network in networks:
            assert network.counts.dropped > 20, network.counts
            network.weather = Weather()
    await crowd.check_ledger(crowd.people[0])
