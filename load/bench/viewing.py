"""The scenarios of people who watch a board: sockets, from a few hundred to ten thousand.

Each peer is started, filled with viewers, measured and stopped before the next one's turn; then
all have another round, so that a slow minute of the machine hurts them all. What a figure is called
here is what `goals` bounds.

WarmDesk's events are chat messages: each is a request with a token, a transaction that is on disk
before anybody sees it, and an event of a feed. All of that counts, in time and in CPU. A peer only
gets a text by Redis, or as nginx' module takes it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio

from load.bench.goals import OURS
from load.bench.loader import Viewers, mark
from load.bench.measure import Meter, Place, pss
from load.bench.ours import Member, Ours
from load.bench.peers import Joins, Peer
from load.bench.run import Run

EVENT_BYTES = 560
"""A text on a viewer's socket: what our chat message with a short body has."""
SAID = 60
"""Bytes of such a body."""
TABS = 10
EACH = 20
"""The most sockets that one person may have in one channel."""
CHANGES = "presence=changed"


class WarmDesk(Peer):
    """WarmDesk as a peer: a project with its viewers, each a person of their own."""

    name = OURS

    def __init__(
        self, *, workers: int = 1, query: str = CHANGES, without: str = "", **settings: Any
    ) -> None:
        self.server = Ours(workers, without=without, **settings)
        self.query = query
        self.slug = ""
        self.people: list[Member] = []

    async def start(self, place: Place) -> None:
        await self.server.start(place)
        self.port = self.server.port

    async def stop(self) -> None:
        await self.server.stop()

    async def prepare(self, viewers: int) -> None:
        """So many people in one project, one of whom writes."""
        writer, *self.people = await self.server.people(viewers + 1)
        self.slug = await self.server.project(writer, self.people)
        await self.server.ready_to_say(self.slug, writer)

    def pids(self) -> list[int]:
        return self.server.pids()

    def handshake(self, number: int) -> str:
        return self.server.handshake(self.people[number].token, self.slug, self.query)

    async def say(self, body: str) -> None:
        await self.server.say(body)

    async def say_all(self, bodies: list[str]) -> None:
        await self.server.say_all(bodies)

    async def head(self) -> str:
        """What a viewer who has everything now would ask for when it comes back."""
        board = await self.server.ask("GET", f"/projects/{self.slug}", self.people[0], expected=200)
        return f"since={board['seq']}&epoch={board['epoch']}"


class Streaming(WarmDesk):
    """The same people, who follow by server-sent events."""

    name = "streams"

    def handshake(self, number: int) -> str:
        return (
            f"GET /api/v1/projects/{self.slug}/events/stream?{self.query} HTTP/1.1\r\n"
            f"Host: desk\r\nAuthorization: Bearer {self.people[number].token}\r\n\r\n"
        )


def event(peer: Peer) -> str:
    """The body of one event that is sent now."""
    size = SAID if isinstance(peer, WarmDesk) else EVENT_BYTES
    return f"{mark()} ".ljust(size, "x")


@dataclass
class Stage:
    """A peer that serves, its viewers, and everything that uses CPU for it."""

    run: Run
    peer: Peer
    viewers: Viewers
    count: int

    def pids(self) -> list[int]:
        return [*self.peer.pids(), *self.run.place.pids()]

    async def open(self, numbers: Iterable[int]) -> float:
        """Open these viewers' sockets: the CPU seconds that it cost, until nothing moves."""
        heads = [self.peer.handshake(number) for number in numbers]
        meter = Meter(self.pids)
        await self.viewers.open(self.peer.port, heads, self.peer.hello)
        await self.viewers.quiet(silence=0.6)
        return meter.seconds()

    async def steadily(self, rate: float, seconds: float) -> dict[str, float]:
        """Events at a steady rate: CPU seconds, and what the loader saw."""
        events = max(3, round(rate * seconds))
        await self.peer.say(event(self.peer))  # the first one pays for what is made once
        await self.viewers.quiet(silence=0.3)
        await self.viewers.count()
        meter = Meter(self.pids)
        begun = time.monotonic()
        saying = set()
        for number in range(events):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            task = asyncio.create_task(self.peer.say(event(self.peer)))
            saying.add(task)
            task.add_done_callback(saying.discard)
        await asyncio.gather(*saying)
        answer = await self.viewers.take(events * self.count, seconds=60)
        return self.checked(answer, events) | {"cpu": meter.seconds()}

    async def at_once(self, events: int) -> dict[str, float]:
        """So many events at once."""
        await self.viewers.count()
        meter = Meter(self.pids)
        begun = time.monotonic()
        await self.peer.say_all([event(self.peer) for _ in range(events)])
        answer = await self.viewers.take(events * self.count, seconds=60)
        took = time.monotonic() - begun
        return self.checked(answer, events) | {"cpu": meter.seconds(), "seconds": took}

    def checked(self, answer: dict[str, Any], events: int) -> dict[str, float]:
        """Every viewer has every event once, or the figures are worth nothing."""
        if (answer["least"], answer["most"]) != (events, events):
            raise RuntimeError(f"{self.peer.name}: {events} events, but {answer}")
        return answer


@asynccontextmanager
async def stage(run: Run, peer: Peer, count: int, *, people: int = 0) -> AsyncIterator[Stage]:
    """The peer, started; its viewers are still to be opened. `people`: if more will come."""
    run.say(f"  {peer.name}, {max(people, count):,} viewers")
    await peer.start(run.place)
    try:
        if isinstance(peer, WarmDesk):
            await peer.prepare(people or count)
        async with Viewers(run.place.directory) as viewers:
            yield Stage(run, peer, viewers, count)
    finally:
        await peer.stop()


Steps = frozenset[str]


def contenders(run: Run, least: int = 0) -> list[type[Peer]]:
    """WarmDesk and all peers that run here and bear so many viewers."""
    return [WarmDesk, *run.peers(least)]


async def everybody(run: Run, steps: Steps, count: int = 1000) -> None:
    """Goals 1, 2, 3 and 5 at 1,000 viewers: all peers, interleaved.

    What an event costs is measured with a tenth of the viewers, too: the difference is what each
    delivery costs, and the rest is what it costs to take an event, which for us is a transaction.
    """
    count = run.viewers or count
    for _ in range(run.rounds):
        for kind in contenders(run):
            with others_go_on(run, kind):
                await one(run, kind(), steps, count)


@contextmanager
def others_go_on(run: Run, kind: type[Peer]) -> Iterator[None]:
    """A peer that fails is told, and the others are worth measuring all the same."""
    try:
        yield
    except RuntimeError as error:
        run.failed[kind.name] = str(error)
        run.say(f"  {kind.name} failed: {error}")


async def one(run: Run, peer: Peer, steps: Steps, count: int) -> None:
    """These steps for one peer."""
    few, name = max(1, count // 10), peer.name
    rate, seconds = run.rate or 10.0, 3.0 if run.quick else 5.0
    async with stage(run, peer, few, people=count) as on:
        await on.open(range(few))
        small = await on.steadily(rate, seconds) if "quiet" in steps else {}
        on.count = count
        cost = await on.open(range(few, count))
        if "connect" in steps:
            run.add("first connect µs", cost / (count - few) * 1e6, name)
        if "quiet" in steps:
            seen = await on.steadily(rate, seconds)
            events = seen["deliveries"] / count
            slope = (seen["cpu"] - small["cpu"]) / events / (count - few) * 1e6
            run.add("quiet µs", seen["cpu"] / seen["deliveries"] * 1e6, name)
            run.add("each delivery µs", slope, name)
            run.add("each event µs", small["cpu"] / events * 1e6 - few * slope, name)
            run.add("quiet p50 ms", seen["p50_ms"], name)
            run.add("quiet p99 ms", seen["p99_ms"], name)
            run.add("bytes a delivery", seen["bytes"] / seen["deliveries"], name)
        if "burst" in steps:
            seen = await on.at_once(on.peer.burst)
            run.add("burst µs", seen["cpu"] / seen["deliveries"] * 1e6, name)
            run.add("burst /s", seen["deliveries"] / seen["seconds"], name)
        if "connect" in steps:
            await on.viewers.close()
            await on.viewers.quiet(silence=1.0)
            cost = await on.open(range(count))
            run.add("connect µs", cost / count * 1e6, name)


async def five_thousand(run: Run, steps: Steps, count: int = 5000) -> None:
    """Goals 1, 3 and 4 at 5,000 viewers: a tenth of them first, so that memory is a slope. Ours are
    people with ten sockets each: a slope of what a socket needs, not of what is known of a person.
    """
    count = run.viewers or count
    for _ in range(run.rounds):
        for kind in contenders(run, count):
            if steps == {"memory"} and kind.name not in (OURS, "nchan"):
                continue
            with others_go_on(run, kind):
                await one_of_thousands(run, kind(), steps, count)


async def one_of_thousands(run: Run, peer: Peer, steps: Steps, count: int) -> None:
    """The same for one peer."""
    few = max(1, count // 10)
    people = few + few // TABS if isinstance(peer, WarmDesk) else count + few
    async with stage(run, peer, count + few, people=people) as on:
        await on.open(number % people for number in range(few))
        before = pss(peer.pids())
        await on.open(number % people for number in range(few, count + few))
        if "memory" in steps:
            run.add("idle KiB", (pss(peer.pids()) - before) / count / 1024, peer.name)
        if "quiet" in steps:
            seen = await on.steadily(run.rate or 2.0, 3.0 if run.quick else 5.0)
            run.add("5k µs", seen["cpu"] / seen["deliveries"] * 1e6, peer.name)
            run.add("5k p99 ms", seen["p99_ms"], peer.name)


async def persons(run: Run, count: int = 5000) -> None:
    """What goal 4 leaves out: the memory of a person with one socket, who is known by token, name
    and role.
    """
    few = count // 10
    for _ in range(run.rounds):
        async with stage(run, WarmDesk(), count + few) as on:
            run.add("MiB of a server without viewers", pss(on.peer.pids()) / 2**20)
            await on.open(range(few))
            before = pss(on.peer.pids())
            await on.open(range(few, count + few))
            run.add("KiB a person", (pss(on.peer.pids()) - before) / count / 1024)


async def while_written(run: Run, count: int = 1000) -> None:
    """Goal 3's stretch: the same latency while scripts make 200 cards a second elsewhere."""
    for _ in range(run.rounds):
        async with stage(run, WarmDesk(), count) as on:
            await on.open(range(count))
            alone = await on.steadily(10.0, 3.0 if run.quick else 5.0)
            assert isinstance(on.peer, WarmDesk)
            writing = asyncio.create_task(write_cards(on.peer, 200.0))
            try:
                busy = await on.steadily(10.0, 3.0 if run.quick else 5.0)
            finally:
                writing.cancel()
                written = await asyncio.gather(writing, return_exceptions=True)
            if not isinstance(written[0], asyncio.CancelledError):
                raise RuntimeError(f"the cards: {written[0]!r}")
            run.add("p99 while 200 cards/s are written / quiet", busy["p99_ms"] / alone["p99_ms"])


async def write_cards(peer: WarmDesk, rate: float) -> None:
    """Make cards in another project, at a steady rate, for ever."""
    server = peer.server
    (writer,) = await server.people(1)
    slug = await server.project(writer, [], name="Elsewhere")
    board = await server.ask("GET", f"/projects/{slug}", writer, expected=200)
    cards = f"{server.url}/api/v1/projects/{slug}/columns/{board['columns'][0]['id']}/cards"
    begun = time.monotonic()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {writer.token}"}) as http,
        asyncio.TaskGroup() as making,
    ):

        async def make(number: int) -> None:
            async with http.post(cards, json={"title": f"Card {number}"}) as answer:
                answer.raise_for_status()

        for number in itertools.count(1):
            making.create_task(make(number))
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))


async def storm(run: Run, count: int = 2000) -> None:
    """Goal 6: everybody is cut off, five things happen, everybody is back."""
    count = run.viewers or count
    for _ in range(run.rounds):
        for kind in contenders(run):
            if kind.name not in (OURS, "naive aiohttp"):
                continue
            async with stage(run, kind(), count) as on:
                ours = on.peer if isinstance(on.peer, WarmDesk) else None
                await on.open(range(count))
                if ours is not None:
                    ours.query = f"{CHANGES}&{await ours.head()}"
                await on.viewers.close()
                await on.viewers.quiet(silence=1.0)
                if ours is not None:
                    for _ in range(5):
                        await ours.say(event(ours))
                await on.viewers.count()
                statements = await asked(on) if ours is not None else 0
                cost = await on.open(range(count))
                run.add("storm µs", cost / count * 1e6, on.peer.name)
                if ours is not None:
                    on.checked(await on.viewers.take(count * 5), 5)
                    run.add("storm statements", await asked(on) - statements)


async def asked(on: Stage) -> int:
    """Statements that the server's database has carried out so far, without these questions."""
    assert isinstance(on.peer, WarmDesk)
    await asyncio.sleep(1.2)  # PostgreSQL tells its counters once a second
    (row,) = await on.peer.server.fetch(
        "select xact_commit + xact_rollback as done, pg_stat_clear_snapshot()"
        " from pg_stat_database where datname = current_database()"
    )
    return int(row["done"])


async def presence(run: Run) -> None:
    """Goal 7: people whom the server knows arrive all at once, with a frame for each join and with
    changes only. That they are known keeps what signing in costs out of it: goal 5 has that.
    """
    for _ in range(run.rounds):
        frames: dict[int, float] = {}
        for count in (500, 2000):
            async with stage(run, WarmDesk(presence_leave_delay=0.5), count) as on:
                await known(on)
                await on.viewers.count()
                cost = await on.open(range(count))
                seen = await on.viewers.ask("look")
                frames[count] = seen["others"] / count
            if count == 2000:
                run.add("presence ms, changes only", cost * 1e3)
                run.add("frames a user, changes only", frames[count])
        run.add("frames a user, 2,000 / 500 users", frames[2000] / frames[500])
        async with stage(run, WarmDesk(query="", presence_leave_delay=0.5), 2000) as on:
            await known(on)
            writes = written(on.peer.pids())
            cost = await on.open(range(2000))
            run.add("presence ms", cost * 1e3)
            run.add("writes a user", (written(on.peer.pids()) - writes) / 2000)
        async with stage(run, Joins(), 2000) as on:
            cost = await on.open(range(2000))
            for figure in ("presence ms", "presence ms, changes only"):
                run.add(figure, cost * 1e3, on.peer.name)


async def known(on: Stage) -> None:
    """Everybody comes and goes, until nobody is left. What an earlier server left when it was
    killed stays: it was another installation.
    """
    here = "warmdesk:*:presence:since:project:*"
    client = redis.asyncio.from_url(on.run.place.redis_url)
    try:
        left = set(await client.keys(here))
        await on.open(range(on.count))
        await on.viewers.close()
        async with asyncio.timeout(30):
            while set(await client.keys(here)) - left:
                await asyncio.sleep(0.1)
    finally:
        await client.aclose()
    await asyncio.sleep(2.5)  # the server's own look at an empty room


def written(pids: Sequence[int]) -> int:
    """Write calls of these processes so far."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("syscw:"):
                total += int(line.split()[1])
    return total


async def slow(run: Run, count: int = 200, stalled: int = 5) -> None:
    """Goal 8: large events, and some viewers who stop reading for a while."""
    body = 12_000
    seconds = 3.0 if run.quick else 5.0

    async def talk(on: Stage, readers: int) -> dict[str, Any]:
        events = round(100 * seconds)
        await on.viewers.count()
        meter = Meter(on.pids)
        begun = time.monotonic()
        for number in range(events):
            await asyncio.sleep(max(0.0, begun + number / 100 - time.monotonic()))
            await on.peer.say(f"{mark()} ".ljust(body, "x"))
        seen = await on.viewers.take(events * readers, seconds=60)
        return seen | {"cpu": meter.seconds() / seen["deliveries"], "events": events}

    for _ in range(run.rounds):
        async with stage(run, WarmDesk(), count) as on:
            await on.open(range(count))
            await talk(on, count)
            alone = await talk(on, count)
            before = pss(on.peer.pids())
            await on.viewers.ask("stall", count=stalled)
            beside = await talk(on, count - stalled)
            grown = pss(on.peer.pids()) - before
            await on.viewers.ask("wake")
            try:
                whole = await on.viewers.take(beside["events"] * count)
                in_order = whole["least"] == whole["most"] and not whole["swapped"]
            except RuntimeError as error:
                run.say(f"    {error}")
                in_order = False
            run.add("others' µs / without slow ones", beside["cpu"] / alone["cpu"])
            run.add("others' p99 / without slow ones", beside["p99_ms"] / alone["p99_ms"])
            run.add("MiB a slow viewer", grown / stalled / 2**20)
            run.add("slow viewers whole and in order", float(in_order))


async def workers(run: Run, count: int = 2000) -> None:
    """Goal 16: the same with two workers."""
    count = run.viewers or count
    cores = len(os.sched_getaffinity(0))
    if cores < 4:
        run.skipped["burst rate, 2 / 1 workers"] = (
            f"two workers, Valkey and the loader want four cores; here are {cores}"
        )
    for _ in range(run.rounds):
        seen: dict[int, dict[str, float]] = {}
        for many in (1, 2):
            async with stage(run, WarmDesk(workers=many), count) as on:
                few = count // 10
                await on.open(range(few))
                before = pss(on.peer.pids())
                await on.open(range(few, count))
                slope = (pss(on.peer.pids()) - before) / (count - few)
                quiet = await on.steadily(5.0, 4.0)
                published = await published_by(on, 20)
                await on.viewers.quiet(silence=0.5)
                burst = await on.at_once(on.peer.burst)
                seen[many] = {
                    "cpu": quiet["cpu"] / quiet["deliveries"],
                    "slope": slope,
                    "rate": burst["deliveries"] / burst["seconds"],
                    "published": published,
                }
                run.add(f"KiB of a viewer, {many} workers", slope / 1024)
        for figure, name in (("CPU of a delivery", "cpu"), ("KiB of a viewer", "slope")):
            run.add(f"{figure}, 2 / 1 workers", seen[2][name] / seen[1][name])
        if cores >= 4:
            run.add("burst rate, 2 / 1 workers", seen[2]["rate"] / seen[1]["rate"])
        run.add("PUBLISH an event", seen[2]["published"])


async def published_by(on: Stage, events: int) -> float:
    """How often Valkey is told of one event. Each worker's own beat is not counted."""
    client = redis.asyncio.from_url(on.run.place.redis_url)
    try:
        async with client.monitor() as monitor:
            for _ in range(events):
                await on.peer.say(event(on.peer))
            await client.publish("bench", "over")
            told = 0
            async for command in monitor.listen():
                words = command["command"].split(" ", 2)
                if words[0].upper() == "PUBLISH":
                    if words[1] == "bench":
                        break
                    told += "chat.message" in words[2]
    finally:
        await client.aclose()
    return told / events


async def idle(run: Run, count: int = 10_000) -> None:
    """Goal 17: sockets that are only kept alive."""
    count = run.viewers or count
    seconds = 30.0 if run.quick else 60.0
    async with stage(run, WarmDesk(), count // EACH) as on:
        assert isinstance(on.peer, WarmDesk)
        await on.open(number % (count // EACH) for number in range(count))
        meter = Meter(on.peer.pids)
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        run.add("% of a core", meter.seconds() / (time.monotonic() - begun) * 100)
        if (await on.viewers.ask("look"))["open"] != count:
            raise RuntimeError("idle viewers were closed")


async def streams(run: Run, count: int = 1000) -> None:
    """Goal 23: viewers by server-sent events, beside the same by sockets."""
    count = run.viewers or count
    for _ in range(run.rounds):
        seen = []
        for kind in (WarmDesk, Streaming):
            async with stage(run, kind(), count) as on:
                await on.open(range(count))
                quiet = await on.steadily(run.rate or 10.0, 3.0 if run.quick else 5.0)
                burst = await on.at_once(on.peer.burst)
                seen.append((quiet, burst))
        for figure, (sockets, by_stream) in zip(
            ("a delivery", "a delivery in a burst"), zip(*seen, strict=True), strict=True
        ):
            costs = [each["cpu"] / each["deliveries"] * 1e6 for each in (sockets, by_stream)]
            run.add(f"{figure}, µs by socket", costs[0])
            run.add(f"{figure}, µs by stream", costs[1])
            run.add(f"{figure}, stream / socket", costs[1] / costs[0])


async def memory_of_sockets(run: Run) -> None:
    await five_thousand(run, frozenset({"memory"}))


async def in_turn(run: Run, *parts: Callable[[Run], Awaitable[None]]) -> None:
    for part in parts:
        await part(run)


SCENARIOS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "fanout": lambda run: watch(run, "quiet"),
    "burst": lambda run: everybody(run, frozenset({"burst"})),
    "latency": lambda run: watch(run, "quiet", written=True),
    "memory": lambda run: in_turn(run, memory_of_sockets, persons),
    "connect": lambda run: everybody(run, frozenset({"connect"})),
    "storm": storm,
    "presence": presence,
    "slow": slow,
    "workers": workers,
    "idle": idle,
    "streams": streams,
}


async def watch(run: Run, *steps: str, written: bool = False) -> None:
    """A thousand viewers, then five thousand unless a number was asked for."""
    await everybody(run, frozenset(steps))
    if run.viewers is None:
        await five_thousand(run, frozenset(steps))
    if written:
        await while_written(run)


ALONE = ("storm", "presence", "slow", "workers", "idle", "streams")
TOGETHER: dict[str, Callable[[Run], Awaitable[None]]] = {
    "fanout, burst, connect": lambda run: everybody(run, frozenset({"connect", "quiet", "burst"})),
    "fanout, memory": lambda run: five_thousand(run, frozenset({"quiet", "memory"})),
    "memory": persons,
    "latency": while_written,
    **{name: SCENARIOS[name] for name in ALONE},
}
"""The same, each once: those that need the same peers and viewers share them."""
