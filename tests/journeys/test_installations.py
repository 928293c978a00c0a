"""Several installations share a Redis: nothing crosses, whatever numbers of theirs agree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from tests.checkers.mirror import Mirror, mirror
from tests.checkers.stranger import Stranger
from tests.conftest import PEOPLE, Board, Servers, cloned, until
from tests.journeys.conftest import Process, Start, Visit, furnished
from tests.journeys.test_many_hosts import told
from tests.person import Person

pytestmark = pytest.mark.timeout(180)

IDS = {name: number for number, name in enumerate(PEOPLE, start=1)}
EVENTS = 40
PRESENCE_SECONDS = 10.0


@dataclass
class Installation:
    """A server on a database of its own, with the project demo; its word is in all that is said
    there.
    """

    word: str
    process: Process
    board: Board
    dsn: str
    visit: Visit

    def person(self, name: str, **options: Any) -> Person:
        return self.visit(self.process, name, **options)

    async def work(self, times: int) -> None:
        """Everybody is busy."""
        alice, olga = self.person("alice"), self.person("olga")
        for number in range(times):
            body = {"body": f"{self.word} {number}"}
            title = {"title": f"{self.word} {number}"}
            await alice.post(f"{self.board.path}/chat/messages", body)
            await olga.post(f"{self.board.path}/columns/{self.board.done}/cards", title)

    async def id(self) -> str:
        connection = await asyncpg.connect(self.dsn)
        try:
            return str(await connection.fetchval("select id from install"))
        finally:
            await connection.close()


@pytest.fixture(params=["", "?db=1"], ids=["one database of Redis", "two databases of Redis"])
async def both(
    request: pytest.FixtureRequest,
    servers: Servers,
    keeper: Any,
    template: str,
    start: Start,
    redis_url: str,
    visit: Visit,
) -> AsyncIterator[tuple[Installation, Installation]]:
    """Two that have no more in common than a Redis, and all ids."""
    async with (
        cloned(servers, keeper, template) as one,
        cloned(servers, keeper, template) as other,
    ):
        alpha, beta = await asyncio.gather(
            start(database_url=one, rate_limits="on"),
            start(database_url=other, rate_limits="on", redis_url=redis_url + request.param),
        )
        made = (
            Installation("alpha", alpha, await furnished(alpha, visit), one, visit),
            Installation("beta", beta, await furnished(beta, visit), other, visit),
        )
        assert made[0].board.id == made[1].board.id
        yield made
        await asyncio.gather(alpha.stop(), beta.stop())


async def test_nothing_crosses_between_installations_that_share_a_redis(
    both: tuple[Installation, Installation], redis_url: str
) -> None:
    alpha, beta = both
    eve = beta.person("eve")
    await eve.token()
    stranger, stop = Stranger(eve.client, ["demo"]), asyncio.Event()
    stranger.secrets = {alpha.word, beta.word}
    knocking = asyncio.create_task(stranger.run(stop))
    try:
        async with AsyncExitStack() as stack:
            viewers: dict[str, list[Mirror]] = {}
            for there, names in ((alpha, ("olga", "alice")), (beta, ("root", "bob"))):
                viewers[there.word] = [
                    await stack.enter_async_context(mirror(there.person(name))) for name in names
                ]
            await asyncio.gather(alpha.work(EVENTS), beta.work(EVENTS))
            for there in both:
                for viewer in viewers[there.word]:
                    await viewer.compare()
                    foreign = {alpha.word, beta.word} - {there.word}
                    heard = [f for f in viewer.frames if any(w in str(f) for w in foreign)]
                    assert not heard, f"{there.word} heard {heard[:3]}"

            expected = {"alpha": {IDS["olga"], IDS["alice"]}, "beta": {IDS["root"], IDS["bob"]}}
            await until(
                lambda: all(
                    told(viewer) == expected[word] for word in viewers for viewer in viewers[word]
                ),
                limit=PRESENCE_SECONDS,
            )
            for there in both:
                shown = await there.person("olga").get("/projects/demo/presence")
                assert {user["id"] for user in shown["users"]} == expected[there.word]

            # What control carries, and what a user's own channel does.
            await alpha.person("root").put(f"/users/{IDS['bob']}", {"is_active": False})
            add = {"username": "eve", "role": "viewer"}
            await alpha.person("olga").post("/projects/demo/members", add)
            await limits_are_apart(alpha, beta)
            await tickets_are_apart(alpha, beta)
            await asyncio.gather(alpha.work(2), beta.work(2))
            for viewer in (*viewers["alpha"], *viewers["beta"]):
                await viewer.compare()
                viewer.strict()
                assert viewer.socket.connections == 1, "nobody was sent away"
            await until(lambda: stranger.rounds, limit=60)

            own = tuple([f"warmdesk:{await there.id()}:" for there in both])
            for start in own:
                assert any(name.startswith(start) for name in await names_in_use(redis_url))
            strange = [n for n in await names_in_use(redis_url) if not n.startswith(own)]
            assert not strange
    finally:
        stop.set()
        await knocking
    stranger.whole()


async def limits_are_apart(alpha: Installation, beta: Installation) -> None:
    """Who guesses at one, from an address that both see, locks nobody out of the other."""
    guesses = {"username": "nobody", "password": "a wrong password"}
    there, here = alpha.person("eve").client, beta.person("eve").client
    statuses = set()
    for _ in range(15):
        statuses.add((await there.request("POST", "/auth/login", guesses)).status)
    assert statuses == {401, 429}
    assert (await here.request("POST", "/auth/login", guesses)).status == 401


async def tickets_are_apart(alpha: Installation, beta: Installation) -> None:
    """A ticket is nothing at the other, and is not used up there."""
    ticket = (await alpha.person("alice").post("/auth/ws-ticket"))["ticket"]
    for there, status in ((beta, 401), (alpha, 101)):
        session = there.person("eve").client.session
        place = f"{there.process.url}/api/v1/ws/demo?ticket={ticket}"
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        async with session.get(place, headers=headers) as answer:
            assert answer.status == status, there.word


async def names_in_use(redis_url: str) -> set[str]:
    """Every key and channel that there is in a Redis."""
    names: set[Any] = set()
    for number in (0, 1):
        async with redis.asyncio.from_url(redis_url, db=number) as client:
            names.update(await client.keys("*"), await client.pubsub_channels("*"))
    return {name.decode() for name in names}
