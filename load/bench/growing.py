"""Cost grows with the work, not faster: what each further viewer, card or message costs, when there
are few and when there are many.

An event, a request and a board have a cost of their own, which more viewers or cards share. So two
steps are compared, from few to some and from some to many: what each further one costs in the
second step, over what it costs in the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import orjson

from load.bench import wire
from load.bench.asking import Office, office
from load.bench.measure import Meter
from load.bench.run import Run
from load.bench.viewing import EACH, Stage, WarmDesk, event, stage

VIEWERS = (100, 1_000, 10_000)
BOARDS = (10, 500, 5_000)
MESSAGES = 1_000_000
PROJECTS = (10, 1_000)
EVENTS = 400
WORKERS = (1, 2, 4)


async def growth(run: Run) -> None:
    """All of it."""
    for part in (viewers, boards, messages, projects, workers):
        run.say(f"  growth: {part.__name__}")
        for _ in range(run.rounds):
            await part(run)


def further(costs: Sequence[float], sizes: Sequence[int]) -> float:
    """What each further one costs in the last step, over what it costs in the first."""
    first = (costs[1] - costs[0]) / (sizes[1] - sizes[0])
    last = (costs[-1] - costs[-2]) / (sizes[-1] - sizes[-2])
    return last / first


async def viewers(run: Run) -> None:
    """An event to so many viewers of one board."""
    people = VIEWERS[-1] // EACH
    costs, opened = [], 0
    async with stage(run, WarmDesk(), people) as on:
        for size in VIEWERS:
            await on.open(number % people for number in range(opened, size))
            on.count = opened = size
            seen = await on.steadily(4.0, 3.0 if run.quick else 6.0)
            costs.append(seen["cpu"] / seen["deliveries"] * size)
    run.add("each further viewer, 10,000 / 1,000", further(costs, VIEWERS))


async def boards(run: Run) -> None:
    """A board that has changed, without what the change costs."""
    costs = []
    for cards in BOARDS:
        async with office(run, cards=cards) as on:
            alone = await on.ask(on.ours, [[on.chat()]], 201)
            both = await on.ask(on.ours, [[on.chat(), on.board()]], 200, 201)
            costs.append(both.micros * 2 - alone.micros)
    run.add("each further card, 5,000 / 500", further(costs, BOARDS))


async def messages(run: Run) -> None:
    """Writing and reading the end of a chat that is new, and of one that is years old."""
    async with office(run) as on:
        young = await _written_and_read(on)
        await on.ours.fetch(
            "insert into chat_messages (project_id, user_id, body)"
            " select $1::bigint, $2::bigint, 'Message ' || n from generate_series(1, $3::int) n",
            on.ids[0],
            on.writers[0].user_id,
            MESSAGES,
        )
        await on.ours.fetch("analyze chat_messages")
        await on.ours.fetch("checkpoint")
        old = await _written_and_read(on)
    for what, before, after in zip(("written", "page read"), young, old, strict=True):
        run.add(f"a message {what}, 1,000,000 / 10", after / before)


async def _written_and_read(on: Office) -> tuple[float, float]:
    write = await on.ask(on.ours, [[on.chat()]], 201)
    path = f"/api/v1/projects/{on.slugs[0]}/chat/messages?limit=50"
    page = wire.request("GET", path, token=on.writers[0].token)
    read = await on.ask(on.ours, [[page]], 200)
    return write.micros, read.micros


async def projects(run: Run) -> None:
    """Events in so many projects by turns, each with one viewer."""
    costs = []
    for count in PROJECTS:
        async with stage(run, Many(), count) as on:
            assert isinstance(on.peer, Many)
            await on.open(range(count))
            # The first of all in a project finds its writer's role: that is another work.
            for slug in on.peer.slugs:
                await on.peer.write(slug, event(on.peer))
            await on.viewers.quiet()
            await on.viewers.count()
            meter = Meter(on.pids)
            begun = time.monotonic()
            for number in range(EVENTS):
                await asyncio.sleep(max(0.0, begun + number / 100 - time.monotonic()))
                await on.peer.write(on.peer.slugs[number % count], event(on.peer))
            await on.viewers.take(EVENTS)
            costs.append(meter.seconds() / EVENTS)
    run.add("an event, viewers in 1,000 / 10 projects", costs[1] / costs[0])


class Many(WarmDesk):
    """As many projects as viewers, one each; one writer in all of them."""

    async def prepare(self, viewers: int) -> None:
        self.writer, *self.people = await self.server.people(viewers + 1)
        self.slugs = [
            await self.server.project(self.writer, [person], f"Desk {number}")
            for number, person in enumerate(self.people)
        ]
        self.answers: asyncio.Queue[int] = asyncio.Queue()
        self.wire = await wire.opened(
            self.port, lambda _wire, status, _body: self.answers.put_nowait(status)
        )

    async def stop(self) -> None:
        self.wire.close()
        await super().stop()

    def handshake(self, number: int) -> str:
        return self.server.handshake(self.people[number].token, self.slugs[number], self.query)

    async def write(self, slug: str, body: str) -> None:
        """One chat message in this project."""
        path = f"/api/v1/projects/{slug}/chat/messages"
        content = orjson.dumps({"body": body})
        self.wire.send(wire.request("POST", path, token=self.writer.token, body=content))
        status = await asyncio.wait_for(self.answers.get(), 30)
        if status != 201:
            raise RuntimeError(f"a message was answered with {status}")


async def workers(run: Run) -> None:
    """A delivery, with more workers on the same cores."""
    costs = []
    for many in WORKERS:
        async with stage(run, WarmDesk(workers=many), 2_000) as on:
            await on.open(range(on.count))
            costs.append(await _steady(on))
    run.add("a delivery, 4 / 1 workers", costs[-1] / costs[0])


async def _steady(on: Stage) -> float:
    await on.peer.say(event(on.peer))
    seen = await on.steadily(5.0, 4.0)
    return seen["cpu"] / seen["deliveries"]


SCENARIOS = {"growth": growth}
