"""Hosts whose clocks are wrong: nobody is signed out, no event is lost, nobody seems to leave."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest

from tests.checkers.mirror import Mirror, mirror
from tests.conftest import until
from tests.journeys.conftest import Crowd, Process, Start, Visit, furnished
from tests.person import Person

HOUR = 3600.0
TOKEN_SECONDS = 4


@pytest.mark.long
@pytest.mark.parametrize(
    "clocks",
    [pytest.param((0.0, 5.0), id="5 s apart"), pytest.param((-HOUR, HOUR), id="two hours apart")],
)
async def test_hosts_whose_clocks_differ_are_one_server(
    clocks: tuple[float, float], start: Start, visit: Visit
) -> None:
    fleet = list(await asyncio.gather(*(start(clock=clock, rate_limits="on") for clock in clocks)))
    for process, clock in zip(fleet, clocks, strict=True):
        assert shown(process) == pytest.approx(time.time() + clock, abs=20)
    board = await furnished(fleet[0], visit)
    async with AsyncExitStack() as stack:
        mirrors = [
            await stack.enter_async_context(mirror(visit(process, name)))
            for process in fleet
            for name in ("olga", "bob")
        ]

        # What one host gave, the other takes: access, refresh, a key, a ticket.
        for here, there in (fleet, fleet[::-1]):
            alice, abroad = visit(here, "alice", patience=0), visit(there, "alice", patience=0)
            await alice.token()
            await abroad_as(alice, abroad)
            await abroad.client.refresh(abroad.client.token)
            await abroad_as(abroad, alice)
            said = f"once-from-{here.port}"
            for person in (alice, abroad, alice):
                answer = await person.request(
                    "POST", f"{board.path}/chat/messages", {"body": said}, key=said
                )
                assert answer.status == 201
            ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
            async with abroad.client.session.ws_connect(
                f"{abroad.client.url}/ws/demo", params={"ticket": ticket}
            ) as socket:
                hello = await socket.receive_json(timeout=5)
            at = datetime.fromisoformat(hello["payload"]["server_time"]).timestamp()
            assert at == pytest.approx(time.time(), abs=3), "the time is the database's"

        crowd = Crowd(board, [visit(process, "olga") for process in fleet])
        await crowd.work(30)
        await asyncio.sleep(3)  # more than a turn of presence
        head = (await crowd.people[0].get(f"{board.path}?include=labels"))["seq"]
        for one in mirrors:
            await one.reaches(head)
            assert one.socket.connections == 1
            assert not left(one) & {"olga", "bob"}, "they never left"
    await crowd.check_ledger(visit(fleet[1], "olga"))


async def test_limits_count_together_whatever_the_clocks_say(start: Start, visit: Visit) -> None:
    fleet = [await start(clock=clock, rate_limits="on") for clock in (0.0, HOUR)]
    statuses: list[int] = []
    for number in range(14):
        intruder = visit(fleet[number % 2], "alice", patience=0)
        body = {"username": "alice", "password": "wrong wrong wrong"}
        answer = await intruder.client.request("POST", "/auth/login", body)
        statuses.append(answer.status)
        if answer.status == 429:
            assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert statuses.count(401) <= 10
    assert statuses[-1] == 429


@pytest.mark.long
async def test_a_token_ends_in_time_where_the_clock_is_an_hour_behind(
    start: Start, visit: Visit
) -> None:
    life = {"workers": 1, "access_token_ttl": TOKEN_SECONDS}
    right, behind = [await start(clock=clock, **life) for clock in (0.0, -HOUR)]
    alice, abroad = visit(right, "alice", patience=0), visit(behind, "alice", patience=0)
    await alice.token()
    signed_in = time.monotonic()
    await abroad_as(alice, abroad)

    async def refused() -> Any:
        answer = await abroad.request("GET", "/users/me")
        return answer.status == 401 and answer.body["code"]

    assert await until(refused, limit=TOKEN_SECONDS + 5, every=0.05) == "token_expired"
    assert time.monotonic() - signed_in > TOKEN_SECONDS - 1.5


async def abroad_as(person: Person, abroad: Person) -> None:
    """Let somebody be at another host whom he was at the first: same tokens."""
    abroad.client.token = person.client.token
    abroad.client.refresh_token = person.client.refresh_token
    answer = await abroad.request("GET", "/users/me")
    assert answer.status == 200, answer.body


def shown(process: Process) -> float:
    """The time of the last line that a server logged: what its own clock says."""
    for line in reversed(process.log.read_text().splitlines()):
        stamp = line.partition(" ")[0]
        if stamp.endswith("Z"):
            return datetime.fromisoformat(stamp).timestamp()
    raise AssertionError("it said nothing")


def left(viewer: Mirror) -> set[str]:
    """Who was said to have left."""
    names: dict[int, str] = {}
    gone: set[str] = set()
    for frame in viewer.frames:
        if frame["type"] == "presence.list":
            names |= {user["id"]: user["username"] for user in frame["payload"]["users"]}
        elif frame["type"] == "presence.changed":
            names |= {user["id"]: user["username"] for user in frame["payload"]["joined"]}
            gone |= {names.get(number, "?") for number in frame["payload"]["left"]}
    return gone
