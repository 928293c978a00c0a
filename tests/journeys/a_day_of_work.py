"""Three years of a team's work on one board: people who work, people who watch.

Plays ``tests/data/work.jsonl`` against a running server and asks at the end whether each viewer saw
exactly what happened::

    python -m tests.journeys.a_day_of_work --url http://127.0.0.1:8080

Each of the 202 authors becomes a member before their first step. A new piece of work is a card in
the first column (kind is its label, size its priority, its author the assignee). When it is worked
on again the card goes a column on; in the last one it goes to the top. A fix has a step for each
file (three at most), of which one is ticked each time that it is worked on; who works on a piece
again says in a comment how long that took. A backport is told in the chat and linked on its card. A
release closes what stands in the last column and begins a topic, to which each bump until the next
release is a reply. Steps of one burst run side by side, those on one piece in order. The busiest
authors hold the pens; viewers only follow frames, each with its own socket and mirror.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import collections
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from tests.checkers.mirror import Mirror, State, fetch, shown
from tests.checkers.parts import fetch_parts
from tests.checkers.quiet import Quiet
from warmdesk.client import Client, Refused

DATA = Path(__file__).parents[1] / "data" / "work.jsonl"
PASSWORD = "correct horse battery"
BURST_SECONDS = 600
LONGEST_WAIT = 5.0
SOCKETS_EACH = 10
LABELS = {"change": "Feature", "fix": "Bug", "backport": "Content", "bump": "Design"}
PRIORITIES = ((10, "low"), (100, "medium"), (1000, "high"))
REMEMBERED_FRAMES = 4096
STEPS_OF_A_FIX = 3
LINES_A_MINUTE, LONGEST_DAY = 4, 480
DAY = 24 * 60
"""How long people took: nobody wrote that down."""

Json = dict[str, Any]
Report = Callable[[str], None]


def quiet(line: str) -> None:
    """Reports to nobody."""


def steps(limit: int | None = None) -> list[Json]:
    """The work, oldest first."""
    with DATA.open() as lines:
        return [json.loads(line) for line in itertools.islice(lines, limit)]


def bursts(work: Iterable[Json]) -> Iterator[list[Json]]:
    """Steps that came close together; a release stands alone, for what is before it counts."""
    burst: list[Json] = []
    for step in work:
        apart = burst and step["at"] - burst[-1]["at"] > BURST_SECONDS
        if apart or (burst and "release" in (step["kind"], burst[-1]["kind"])):
            yield burst
            burst = []
        burst.append(step)
    if burst:
        yield burst


class Frames:
    """Frames decoded once for all viewers, and how late each came, in seconds after its commit."""

    def __init__(self) -> None:
        self.known: collections.OrderedDict[bytes | str, tuple[Json, float]]
        self.known = collections.OrderedDict()
        self.late = array.array("d")
        self.counting = True

    def decode(self, raw: bytes | str) -> Json:
        found = self.known.get(raw)
        if found is None:
            frame = orjson.loads(raw)
            at = datetime.fromisoformat(frame["ts"]).timestamp() if "ts" in frame else 0.0
            found = self.known[raw] = frame, at
            if len(self.known) > REMEMBERED_FRAMES:
                self.known.popitem(last=False)
        frame, at = found
        if at and self.counting:
            self.late.append(time.time() - at)
        return frame

    def percentile(self, share: float) -> float:
        """How late the frame is that this share of all frames beat."""
        ranked = sorted(self.late)
        return ranked[int(share * (len(ranked) - 1))] if ranked else 0.0


@dataclass
class Result:
    """What was played and seen."""

    steps: int = 0
    events: int = 0
    deliveries: int = 0
    resets: int = 0
    connections: int = 0
    repairs: int = 0
    seconds: float = 0.0
    setup_seconds: float = 0.0
    compare_seconds: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)
    """How many comments, items, links, topics and replies there are in the end."""
    late_p50: float = 0.0
    late_p99: float = 0.0
    late_max: float = 0.0

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {kind}" for kind, count in self.parts.items())
        return (
            f"{self.steps} steps made {self.events} events in {self.seconds:.1f} s"
            f" ({self.steps / max(self.seconds, 0.001):.0f} steps/s): {parts};"
            f" {self.deliveries} deliveries,"
            f" late p50 {self.late_p50 * 1000:.1f} ms, p99 {self.late_p99 * 1000:.1f} ms,"
            f" max {self.late_max * 1000:.0f} ms; {self.connections} connections,"
            f" {self.resets} resets, {self.repairs} repairs; set up in {self.setup_seconds:.1f} s,"
            f" compared in {self.compare_seconds:.1f} s"
        )


@dataclass
class Desk:
    """The board under way, as the writers know it from their own answers."""

    admin: Client
    slug: str
    columns: list[int]
    labels: dict[str, int]
    users: dict[int, asyncio.Future[int]]
    writers: dict[int, Client] = field(default_factory=dict)
    cards: dict[int, Json] = field(default_factory=dict)
    open_items: dict[int, list[int]] = field(default_factory=dict)
    """What is not ticked yet, by card."""
    linked: dict[int, int] = field(default_factory=dict)
    """How often, by piece: no two links of a card are the same."""
    logged: collections.Counter[Client] = field(default_factory=collections.Counter)
    """Minutes by writer: all is played in one day, which has 24 hours."""
    topic: int | None = None
    """That of the last release."""

    @property
    def path(self) -> str:
        return f"/projects/{self.slug}"

    def writer(self, who: int) -> Client:
        """The author's own pen, or that of a writer who takes it down."""
        if who in self.writers:
            return self.writers[who]
        return list(self.writers.values())[who % len(self.writers)]

    async def play(self, step: Json) -> None:
        client = self.writer(step["who"])
        if step["kind"] == "release":
            return await self.release(client, step)
        card = self.cards.get(step["piece"])
        if card is None:
            self.cards[step["piece"]] = await self.begin(client, step)
        else:
            self.cards[step["piece"]] = await self.go_on(client, card)
            await self.say_how_long(client, card, step)
        card = self.cards[step["piece"]]
        if step["kind"] == "backport":
            body = f"Backported {card['key']}: {step['files']} files."
            await client.post(f"{self.path}/chat/messages", {"body": body})
            number = self.linked[step["piece"]] = self.linked.get(step["piece"], 0) + 1
            address = f"https://example.org/backports/{step['piece']}/{number}"
            await client.post(f"{self.path}/cards/{card['id']}/links", {"url": address})
        elif step["kind"] == "bump" and self.topic is not None:
            body = f"{card['key']} comes with it."
            await client.post(f"{self.path}/topics/{self.topic}/replies", {"body": body})
        return None

    async def begin(self, client: Client, step: Json) -> Json:
        size = step["added"] + step["removed"]
        card: Json = await client.post(
            f"{self.path}/columns/{self.columns[0]}/cards",
            {
                "title": f"{step['kind']} {step['piece']}: {'work ' * min(step['words'], 40)}",
                "priority": next((word for most, word in PRIORITIES if size < most), "critical"),
                "label_ids": [self.labels[LABELS[step["kind"]]]],
                "assignee_ids": [await self.users[step["who"]]],
            },
        )
        for number in range(1, 1 + items(step)):
            item = await client.post(
                f"{self.path}/cards/{card['id']}/checklist", {"body": f"File {number}"}
            )
            self.open_items.setdefault(card["id"], []).append(item["id"])
        return card

    async def go_on(self, client: Client, card: Json) -> Json:
        at, path = self.columns.index(card["column_id"]), f"{self.path}/cards/{card['id']}"
        if at + 1 < len(self.columns):
            body: Json = {"column_id": self.columns[at + 1]}
            moved: Json = await client.patch(f"{path}/move", body)
        else:
            moved = await client.patch(f"{path}/reorder", {"index": 0})
        return moved

    async def say_how_long(self, client: Client, card: Json, step: Json) -> None:
        """In a comment; and a step of a fix is done."""
        path = f"{self.path}/cards/{card['id']}"
        minutes = min(LONGEST_DAY, (step["added"] + step["removed"]) // LINES_A_MINUTE)
        minutes = min(minutes, DAY - self.logged[client])
        self.logged[client] += minutes
        body = f"{step['files']} files, {step['words']} words."
        await client.post(f"{path}/comments", {"body": body, "time_spent_minutes": minutes})
        if left := self.open_items.get(card["id"]):
            await client.put(f"{path}/checklist/{left.pop(0)}", {"is_completed": True})

    async def release(self, client: Client, step: Json) -> None:
        done = [
            (piece, card)
            for piece, card in self.cards.items()
            if card["column_id"] == self.columns[-1] and not card["closed"]
        ]
        for piece, card in done:
            self.cards[piece] = await client.put(
                f"{self.path}/cards/{card['id']}", {"closed": True}
            )
        body = f"Released with {len(done)} pieces of work."
        await client.post(f"{self.path}/chat/messages", {"body": body})
        topic = await client.post(f"{self.path}/topics", {"title": body})
        self.topic = topic["id"]


def items(step: Json) -> int:
    """How many steps the card of a new piece of work has."""
    return min(STEPS_OF_A_FIX, step["files"]) if step["kind"] == "fix" else 0


async def administrator(client: Client, username: str, password: str) -> None:
    """Sign in; on a fresh installation the first who registers is the administrator."""
    with suppress(Refused):
        await client.login(username, password)
        return
    body = {"username": username, "password": password, "email": f"{username}@example.org"}
    await client.post("/auth/register", body)
    await client.login(username, password)


async def account(admin: Client, who: int) -> int:
    """The user of an author; made the first time, which costs the server a password's hash."""
    name = f"person-{who}"
    for user in await admin.get(f"/users/search?q={name}&limit=50"):
        if user["username"] == name:
            return int(user["id"])
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.org"}
    return int((await admin.post("/users", body))["id"])


async def prepare(admin: Client, work: list[Json]) -> Desk:
    """The project, which nobody has joined yet."""
    project = await admin.post("/projects", {"name": "A day of work"})
    board = await admin.get(f"/projects/{project['slug']}")
    loop = asyncio.get_running_loop()
    return Desk(
        admin,
        project["slug"],
        [column["id"] for column in board["columns"]],
        {label["name"]: label["id"] for label in board["labels"]},
        {who: loop.create_future() for who in {step["who"] for step in work}},
    )


async def people_join(desk: Desk, authors: list[int]) -> None:
    """Authors become members, in this order."""
    for who in authors:
        user_id = await account(desk.admin, who)
        body = {"user_id": user_id, "role": "member"}
        await desk.admin.post(f"{desk.path}/members", body)
        desk.users[who].set_result(user_id)


@asynccontextmanager
async def signed_in(url: str, who: int, **options: Any) -> AsyncIterator[Client]:
    async with Client(url, **options) as client:
        await client.login(f"person-{who}", PASSWORD)
        yield client


async def play(
    url: str,
    *,
    work: list[Json],
    admin: tuple[str, str],
    writers: int = 8,
    viewers: int = 50,
    speed: float | None = None,
    calm: bool = False,
    report: Report = quiet,
) -> Result:
    """Play it all, and fail unless every viewer saw what happened. `speed`: seconds of the team's
    time in one of ours; None waits for nothing. `calm`: nothing breaks, so nothing may be healed.
    """
    result, frames = Result(), Frames()
    begun = time.monotonic()
    async with AsyncExitStack() as open_things:
        boss = await open_things.enter_async_context(Client(url))
        await administrator(boss, *admin)
        desk = await prepare(boss, work)
        busiest = [who for who, _ in collections.Counter(s["who"] for s in work).most_common()]
        pens, eyes = busiest[:writers], busiest[: -(-viewers // SOCKETS_EACH)]
        early = list(dict.fromkeys(pens + eyes))
        await people_join(desk, early)
        for who in pens:
            desk.writers[who] = await open_things.enter_async_context(signed_in(url, who))

        report(f"{viewers} people come to watch")
        watchers = [
            await open_things.enter_async_context(signed_in(url, who, decode=frames.decode))
            for who in eyes
        ]
        watching: list[tuple[Mirror, asyncio.Task[None]]] = []
        for number in range(viewers):
            watcher = watchers[number // SOCKETS_EACH]
            mirror = Mirror(watcher, desk.slug, keep=False, quiet=calm, parts=True)
            watching.append((mirror, await open_things.enter_async_context(mirror.following())))
        mirrors = [mirror for mirror, _ in watching]
        first = await boss.get(f"{desk.path}?include=labels")
        bus = Quiet()
        bus.begins(await boss.get("/metrics"))
        result.setup_seconds = time.monotonic() - begun

        begun = time.monotonic()
        later = [who for who in dict.fromkeys(s["who"] for s in work) if who not in early]
        joining = asyncio.create_task(people_join(desk, later))
        open_things.callback(joining.cancel)
        async for done in run(desk, work, speed):
            result.steps += len(done)
            for task in [follow for _, follow in watching if follow.done()]:
                task.result()
                raise AssertionError("a viewer's socket ended")
            behind = [mirror.state.seq for mirror in mirrors] or [0]
            rate = result.steps / (time.monotonic() - begun)
            report(
                f"{result.steps} of {len(work)} steps, {rate:.0f} a second;"
                f" viewers are at {min(behind)} to {max(behind)}"
            )
        await joining
        result.seconds = time.monotonic() - begun

        begun = time.monotonic()
        frames.counting = False
        board, messages = await fetch(boss, desk.slug)
        final, state = shown(board, messages), State(board, messages)
        parts = await fetch_parts(boss, desk.slug, state.cards)
        result.parts = {kind: len(things) for kind, things in parts.shown().items()}
        for mirror in mirrors:
            await mirror.reaches(board["seq"], limit=30)
            mirror.equals(final, parts)
            mirror.strict()
        assert state.shown() == final, "the counters do not follow from the board"
        result.compare_seconds = time.monotonic() - begun
        result.events = board["seq"] - first["seq"]
        bus.ends(await boss.get("/metrics"), events=result.events)
        result.repairs = bus.repairs
        if calm:
            bus.whole()
        result.deliveries = sum(mirror.events for mirror in mirrors)
        result.resets = sum(mirror.resets for mirror in mirrors)
        result.connections = sum(mirror.socket.connections for mirror in mirrors)
        result.late_p50, result.late_p99 = frames.percentile(0.5), frames.percentile(0.99)
        result.late_max = frames.percentile(1.0)
    return result


async def run(desk: Desk, work: list[Json], speed: float | None) -> AsyncIterator[list[Json]]:
    """The steps, burst by burst; gives each burst when it is done."""
    hands = asyncio.Semaphore(len(desk.writers))

    async def chain(its: list[Json]) -> None:
        for step in its:
            async with hands:
                await desk.play(step)

    last = work[0]["at"] if work else 0
    for burst in bursts(work):
        if speed is not None:
            await asyncio.sleep(min(LONGEST_WAIT, (burst[0]["at"] - last) / speed))
        last = burst[-1]["at"]
        pieces: dict[int, list[Json]] = {}
        for step in burst:
            pieces.setdefault(step["piece"], []).append(step)
        async with asyncio.TaskGroup() as group:
            for its in pieces.values():
                group.create_task(chain(its))
        yield burst


class Terminal:
    """One line that changes; at most ten times a second."""

    def __init__(self) -> None:
        self.shown_at = 0.0

    def __call__(self, line: str) -> None:
        if time.monotonic() - self.shown_at >= 0.1:
            self.shown_at = time.monotonic()
            end = "\n" if not sys.stderr.isatty() else ""
            print(f"\r\x1b[K{line}" if not end else line, end=end, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--speed", type=float, help="seconds of theirs in one of ours; no waiting")
    parser.add_argument("--limit", type=int, help="so many steps only")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--username", default="admin")
    parser.add_argument("--password", default=PASSWORD)
    chosen = parser.parse_args()
    result = asyncio.run(
        play(
            chosen.url,
            work=steps(chosen.limit),
            admin=(chosen.username, chosen.password),
            writers=chosen.writers,
            viewers=chosen.viewers,
            speed=chosen.speed,
            report=Terminal(),
        )
    )
    print(f"\n{result}\nEvery viewer saw what happened.")


if __name__ == "__main__":
    main()
