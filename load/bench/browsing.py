"""The page in Debian's Chromium, with everything on: how soon a board can be used, what an event
and a storm of events cost, how soon it is back after faults, how a drag feels, a chat of years.

The server has two workers. Times and tasks are those that the page's own clocks tell; CPU is that
of the page's main thread, as the browser counts it. A slow processor has a quarter of the speed, a
thin line 150 ms and 1.6 Mbit/s. Who measures a first visit has a browser with nothing in its cache.

Storms are real events of the server, made by requests and held back by a `Dam` in front of the
page, which then lets them go at the pace that is wanted: two cores cannot make a thousand changes
of one board a second beside a browser.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from load.bench import wire
from load.bench.asker import HOLE
from load.bench.asking import Office, office
from load.bench.chromium import (
    PASSWORD,
    SIZE,
    USABLE,
    Chromium,
    Seen,
    Tab,
    chromium,
    missing,
    module,
)
from load.bench.dam import Dam
from load.bench.measure import quantile
from load.bench.ours import Member, Ours
from load.bench.run import Run
from warmdesk.auth.passwords import hash_password

COLUMNS = 10
SMALL, LARGE = 50, 500
"""Cards of a column."""
WINDOW, FEWEST = 30, 18
"""So many of them stand in the page at first, and at least."""
KNOWN = 400
"""The page asks for 500 of a column at first; where moves made it longer it has those that follow
only when they are wanted.
"""
LOADS = 3
MOVES = 200
SCROLLS = 1500
CUT_SECONDS = 10.0
SETTLED = 2.0
MESSAGES = 10_000
STORM, CALM = 1000, 50
"""Events a second."""
MANY = 100_000
WRITERS = 4
BELOW: dict[str, Any] = {"whose": slice(250, 450), "places": range(250, 400)}
"""Cards that are far below those that stand in the page, and where they go."""
WEIGHED = {"heap": "JSHeapUsedSize", "elements": "elements", "nodes": "Nodes"}
MB = 1_000_000

PROJECT = module("project.js")
PAINTS = f"async () => {module('view.js')}.work.frames"
RENDERS = f"async () => {module('view.js')}.work.renders"
BACK = f"""async (slug) => {{
  const {{ feed }} = {PROJECT}.projectHere(slug);
  const before = feed.connections;
  const isLive = () => ["live", "caught"].includes(feed.state.peek().kind);
  while (feed.connections === before || !isLive()) await new Promise((done) => setTimeout(done, 5));
  return Date.now();
}}"""
KNOWS = f"""async (slug) => {{
  const {{ store, feed }} = {PROJECT}.projectHere(slug);
  const columns = store.shown().columns.map(({{ cards }}) =>
    cards.slice(0, {KNOWN}).map(({{ id, version, title }}) => [id, version, title]));
  const shown = [...document.querySelectorAll("section.column")].map((column) =>
    [...column.querySelectorAll(".tile")].map((tile) => Number(tile.dataset.card)));
  return [feed.seq, columns, shown];
}}"""
ELEMENTS = "() => document.querySelectorAll('*').length"
READ_BACK = """async () => {
  const log = document.querySelector(".talk-log");
  const ids = new Set();
  let most = 0;
  let last = -1;
  for (let still = 0; still < 60; ) {
    log.scrollTop = still % 2; // where it does not move, nobody is told
    await new Promise((done) => setTimeout(done, 30));
    const rows = log.querySelectorAll(".talk-row");
    for (const row of rows) ids.add(row.dataset.id);
    most = Math.max(most, rows.length);
    still = ids.size === last ? still + 1 : 0;
    last = ids.size;
  }
  window.bench.read = ids.size;
  log.scrollTop = log.scrollHeight / 2;
  await new Promise((done) => setTimeout(done, 500));
  return most;
}"""
"""The most rows that were in the page until the oldest was there; then in the middle of those."""
READ = "() => window.bench.read"
PLACE = """() => {
  const log = document.querySelector(".talk-log");
  const { top } = log.getBoundingClientRect();
  const far = (row) => row.getBoundingClientRect().top - top;
  const row = [...log.querySelectorAll(".talk-row")].find((one) => far(one) >= 0);
  return { id: row.dataset.id, y: far(row) };
}"""
MOVED = """({ id, y }) => {
  const log = document.querySelector(".talk-log");
  const row = log.querySelector(`[data-id="${id}"]`);
  return row && Math.abs(row.getBoundingClientRect().top - log.getBoundingClientRect().top - y);
}"""


@dataclass
class Desk:
    """A server, a browser of somebody who looks on, and the boards they look at."""

    run: Run
    office: Office
    browser: Chromium
    reader: Member
    first: bool
    """Whether this is the first round."""
    boards: dict[int, str] = field(default_factory=dict)
    """Slugs, by the cards of a column."""

    async def board(self, cards: int) -> str:
        """A board of ten columns with so many cards each."""
        if cards not in self.boards:
            ours, owner, (writer, *_) = self.office.ours, self.office.owner, self.office.writers
            name = f"Board of {cards}"
            slug = await ours.project(owner, [self.reader, *self.office.writers], name)
            made = await ours.ask("GET", f"/projects/{slug}", owner, expected=200)
            for number in range(COLUMNS - len(made["columns"])):
                body = orjson.dumps({"name": f"Column {number}"})
                await ours.ask("POST", f"/projects/{slug}/columns", owner, body, expected=201)
            await ours.cards(slug, COLUMNS * cards, writer)
            await ours.fetch("analyze")
            self.boards[cards] = slug
        return self.boards[cards]

    async def moving(
        self,
        slug: str,
        count: int,
        *,
        whose: slice = slice(40),
        places: range = range(20),
        chance: random.Random | None = None,
    ) -> list[bytes]:
        """Requests that move cards of each column, those at `whose`, to one of `places` of another
        one. The usual ones are in sight, and stay so.
        """
        chance = chance or random.Random(count)
        token = self.office.writers[1].token
        columns = (await self.shown(slug))["columns"]
        found = []
        for _ in range(count):
            source, target = chance.sample(columns, 2)
            card = chance.choice(source["cards"][whose])
            body = orjson.dumps({"column_id": target["id"], "index": chance.choice(places)})
            path = f"/api/v1/projects/{slug}/cards/{card['id']}/move"
            found.append(wire.request("PATCH", path, token=token, body=body))
        return found

    async def shown(self, slug: str) -> Any:
        """The board as the server has it now."""
        path = f"/projects/{slug}?cards=brief"
        return await self.office.ours.ask("GET", path, self.reader, expected=200)


@asynccontextmanager
async def desk(run: Run, *, first: bool = True) -> AsyncIterator[Desk]:
    async with office(run, ours=Ours(workers=2), writers=4) as on:
        (reader,) = await on.ours.people(1)
        (row,) = await on.ours.fetch(
            "update users set password_hash = $2 where id = $1 returning username",
            reader.user_id,
            await hash_password(PASSWORD),
        )
        async with chromium(on.ours.url, row["username"]) as browser:
            yield Desk(run, on, browser, reader, first)


async def usable(tab: Tab) -> float:
    """Seconds until a page could be used."""
    return float(await tab.ask(USABLE)) / 1000


async def loads(on: Desk) -> None:
    """Browsers that were never here open a board."""
    run = on.run
    for cards in (SMALL, LARGE):
        path = f"/p/{await on.board(cards)}"
        tiles = COLUMNS * min(cards, WINDOW)
        name = f"{COLUMNS * cards:,} cards"
        async with on.browser.tab(path, tiles=tiles) as tab:
            await usable(tab)  # the first of all finds nothing in any cache
        for _ in range(1 if run.quick else LOADS):
            async with on.browser.tab(path, tiles=tiles) as tab:
                run.add(f"{name}: usable s", await usable(tab))
                held = await tab.held()
                run.add(f"{name}: nodes", held["Nodes"])
                run.add(f"{name}: heap MB", held["JSHeapUsedSize"] / MB)
            async with on.browser.tab(path, tiles=tiles, slow=True) as tab:
                run.add(f"{name}: usable s, slow processor", await usable(tab))
            async with on.browser.tab(path, tiles=tiles, thin=True) as tab:
                run.add(f"{name}: usable s, thin line", await usable(tab))


async def quiet(tab: Tab) -> None:
    """Until what a page does by itself when it is new is done."""
    await tab.page.wait_for_load_state("networkidle")
    await asyncio.sleep(1.0)


async def moves(on: Desk) -> None:
    """Somebody else moves cards that stand in the page, one after another."""
    run = on.run
    for cards in (SMALL, LARGE):
        slug, name = await on.board(cards), f"a move, {COLUMNS * cards:,} cards"
        async with on.browser.tab(f"/p/{slug}", tiles=COLUMNS * min(cards, WINDOW)) as tab:
            await usable(tab)
            await quiet(tab)
            # What the first of all pays for is made once.
            await paced(on, await on.moving(slug, 10))
            idle = await idling(tab)
            requests = await on.moving(slug, 40 if run.quick else MOVES)
            before = await tab.ask(RENDERS)
            await tab.begin(frames=False)
            await paced(on, requests)
            seen = await tab.end()
            run.add(f"{name}: ms until it is laid out", seen.laid / len(requests) * 1000)
            used = (seen.used - idle * seen.seconds) / len(requests)
            run.add(f"{name}: ms with painting", used * 1000)
            run.add(f"{name}: components", (await tab.ask(RENDERS) - before) / len(requests))


async def idling(tab: Tab) -> float:
    """Seconds of its main thread in a second in which nothing happens."""
    await tab.begin(frames=False)
    await asyncio.sleep(1.0)
    seen = await tab.end()
    return seen.used / seen.seconds


async def paced(on: Desk, requests: list[bytes]) -> None:
    """Each has an animation frame of its own."""
    answers: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    line = await wire.opened(on.office.ours.port, lambda _, *said: answers.put_nowait(said))
    try:
        for request in requests:
            line.send(request)
            status, said = await asyncio.wait_for(answers.get(), 30)
            if status not in (200, 201):
                raise RuntimeError(f"{status} {said[:300].decode()}")
            await asyncio.sleep(0.05)
    finally:
        line.close()


async def drag(on: Desk) -> None:
    """A card is dragged over the board, and a long column is scrolled."""
    run, slug = on.run, await on.board(LARGE)
    for slow in (False, True):
        async with on.browser.tab(f"/p/{slug}", tiles=COLUMNS * WINDOW, slow=slow) as tab:
            await usable(tab)
            await quiet(tab)
            seen = await dragged(tab, 60 if run.quick else MOVES)
            name = "drag: ghost painted p95 ms" + (", slow processor" if slow else "")
            run.add(name, quantile(seen.moves, 0.95))
            run.add(f"drag: longest task ms{', slow processor' if slow else ''}", seen.longest_ms)
            if slow:
                continue
            run.add("drag: CPU ms a move", seen.used / len(seen.moves) * 1000)
            seen = await scrolled(tab)
            run.add("scrolling 500 cards: longest task ms", seen.longest_ms)
            run.add("scrolling 500 cards: frames/s", seen.frames / seen.seconds)


async def dragged(tab: Tab, steps: int) -> Seen:
    """A card goes to and fro over three columns, a move each frame, and is not dropped."""
    page = tab.page
    box = await page.locator("section.column").nth(1).locator(".tile").nth(1).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + 10, y + 10)
    await page.locator(".ghost").wait_for()
    await tab.begin(frames=False)
    begun = time.monotonic()
    for step in range(steps):
        turn = step / steps * 4 * math.pi
        await page.mouse.move(x + 250 * math.sin(turn), y + 150 * (1 - math.cos(turn)))
        await asyncio.sleep(max(0.0, begun + step / 60 - time.monotonic()))
    await asyncio.sleep(0.2)
    seen = await tab.end()
    if not await page.locator(".ghost").count():
        raise RuntimeError("the card was not dragged")
    await page.keyboard.press("Escape")
    await page.mouse.move(SIZE[0] / 2, SIZE[1] - 1)  # on a card it would be a click
    await page.mouse.up()
    return seen


async def scrolled(tab: Tab) -> Seen:
    """A column, by the wheel, until its last card stands in the page."""
    page = tab.page
    column = page.locator("section.column").nth(1)
    box = await column.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 100, box["y"] + 300)
    await tab.begin()
    begun = time.monotonic()
    for step in range(SCROLLS):
        await page.mouse.wheel(0, 300)
        await asyncio.sleep(max(0.0, begun + step / 60 - time.monotonic()))
        if step % 30 == 29 and await column.locator(".tile").count() > LARGE - WINDOW:
            break
    else:
        raise RuntimeError("the column was not scrolled")
    await asyncio.sleep(0.5)
    return await tab.end()


async def faults(on: Desk) -> None:
    """Both workers are killed; later the line is cut for ten seconds, and the browser knows it."""
    run, slug, ours = on.run, await on.board(SMALL), on.office.ours
    tiles = COLUMNS * min(SMALL, WINDOW)
    async with (
        Dam(f"127.0.0.1:{ours.port}") as line,
        on.browser.tab(f"/p/{slug}", tiles=tiles, line=line) as tab,
    ):
        await usable(tab)
        await quiet(tab)
        back = asyncio.create_task(tab.ask(BACK, slug))
        await asyncio.sleep(0.1)
        begun = time.time()
        for pid in ours.workers():
            os.kill(pid, signal.SIGKILL)
        run.add("both workers killed: live again s", await back / 1000 - begun)
        await quiet(tab)
        line.close()
        await tab.page.context.set_offline(True)
        await asyncio.sleep(CUT_SECONDS)
        back = asyncio.create_task(tab.ask(BACK, slug))
        await asyncio.sleep(0.1)
        begun = time.time()
        line.open()
        await tab.page.context.set_offline(False)
        run.add("line cut for 10 s: live again s", await back / 1000 - begun)


@asynccontextmanager
async def dammed(on: Desk) -> AsyncIterator[tuple[str, Dam, Tab]]:
    """A page of the large board, whose events wait from now on."""
    slug = await on.board(LARGE)
    async with (
        Dam(f"127.0.0.1:{on.office.ours.port}", slug) as line,
        on.browser.tab(f"/p/{slug}", tiles=COLUMNS * WINDOW, line=line) as tab,
    ):
        await usable(tab)
        await quiet(tab)
        line.hold()
        yield slug, line, tab


async def storms(on: Desk) -> None:
    """A thousand events a second: out of sight, then in sight; and fifty in sight."""
    run, seconds = on.run, 3 if on.run.quick else 10
    async with dammed(on) as (slug, line, tab):
        name = "storm out of sight"
        await record(on, slug, line, STORM * seconds, in_sight=False)
        seen = await storm(run, tab, line, name)
        run.add(f"{name}: frames/s", seen.frames / seen.seconds)
        await is_current(on, slug, tab, name)

        name = "50 events/s in sight"
        await record(on, slug, line, CALM * seconds, in_sight=True)
        seen = await storm(run, tab, line, name, rate=CALM)
        run.add(f"{name}: frames/s", seen.frames / seen.seconds)

        name = "storm in sight"
        await record(on, slug, line, STORM * seconds, in_sight=True)
        before = await tab.ask(PAINTS)
        seen = await storm(run, tab, line, name, typing=True)
        run.add(f"{name}: paints/s", (await tab.ask(PAINTS) - before) / seen.seconds)
        run.add(f"{name}: key answered ms", max(seen.keys))
        await is_current(on, slug, tab, name)


async def very_many(on: Desk) -> None:
    """What a page weighs after events in and out of sight, once in a run."""
    if not on.first:
        return
    half = MANY // 20 if on.run.quick else MANY // 2
    async with dammed(on) as (slug, line, tab):
        weights = []
        for count in (half // 50, half):
            for in_sight in (False, True):
                await record(on, slug, line, count, in_sight=in_sight)
                await storm(on.run, tab, line, "very many")
            await quiet(tab)
            weights.append(await tab.held() | {"elements": await tab.ask(ELEMENTS)})
        await is_current(on, slug, tab, "very many")
        for figure, key in WEIGHED.items():
            on.run.add(f"very many: {figure}, after / before", weights[1][key] / weights[0][key])


async def record(on: Desk, slug: str, line: Dam, count: int, *, in_sight: bool) -> None:
    """Let so many events happen, half of them chat where nobody sees them, and hold them back."""
    where = {} if in_sight else BELOW
    requests = await on.moving(slug, WRITERS * 250, **where)
    lines = [requests[number::WRITERS] for number in range(WRITERS)]
    if not in_sight:
        body = orjson.dumps({"body": f"What is said in the storm, {HOLE}"})
        path, token = f"/api/v1/projects/{slug}/chat/messages", on.office.writers[2].token
        word = wire.request("POST", path, token=token, body=body)
        lines = [[each for move in moves_ for each in (move, word)] for moves_ in lines]
    before = len(line.held)
    await on.office.ask(on.office.ours, lines, 200, 201, count=count)
    reached = -1
    while reached < len(line.held):
        reached = len(line.held)
        await asyncio.sleep(0.5)
    if reached - before < 0.9 * count:
        raise RuntimeError(f"{count} requests, but {reached - before} events")


async def storm(
    run: Run, tab: Tab, line: Dam, name: str, *, rate: float = STORM, typing: bool = False
) -> Seen:
    """What was held back comes at this pace. `typing`: somebody presses keys meanwhile."""
    await quiet(tab)
    await tab.begin()
    coming = asyncio.create_task(line.let_go(rate))
    try:
        while typing and not coming.done():
            await tab.page.keyboard.press("ArrowDown")
            await asyncio.wait([coming], timeout=0.2)
        pace = await coming
    finally:
        coming.cancel()
    seen = await tab.end()
    run.add(f"{name}: events/s", pace)
    run.add(f"{name}: % of a core", seen.used / seen.seconds * 100)
    run.add(f"{name}: longest task ms", seen.longest_ms)
    return seen


async def is_current(on: Desk, slug: str, tab: Tab, name: str) -> None:
    """Whether the page has the server's board, and shows it, soon after the last event."""
    shown, end = await on.shown(slug), time.monotonic() + SETTLED
    wanted = [
        [[card["id"], card["version"], card["title"]] for card in column["cards"][:KNOWN]]
        for column in shown["columns"]
    ]
    whole = [[card["id"] for card in column["cards"]] for column in shown["columns"]]
    current = False
    while not current and time.monotonic() < end:
        seq, known, in_page = await tab.ask(KNOWS, slug)
        current = [seq, known] == [shown["seq"], wanted] and all(
            len(ids) >= FEWEST and ids == all_[: len(ids)]
            for ids, all_ in zip(in_page, whole, strict=True)
        )
    on.run.add(f"{name}: the board is the server's at the end", float(current))


async def chat(on: Desk) -> None:
    """A chat of years is read back while people write."""
    run, slug, ours = on.run, await on.board(SMALL), on.office.ours
    writer = on.office.writers[0]
    await ours.fetch(
        "insert into chat_messages (project_id, user_id, body)"
        " select p.id, $2::bigint, 'Message ' || n || ' of those that are old'"
        " from projects p, generate_series(1, $3::int) n where p.slug = $1",
        slug,
        writer.user_id,
        MESSAGES // 10 if run.quick else MESSAGES,
    )
    await ours.fetch("analyze chat_messages")
    await ours.ready_to_say(slug, writer, 1)
    count = 40 if run.quick else MOVES
    async with on.browser.tab(f"/p/{slug}/chat") as tab:
        await tab.page.locator(".talk-row").first.wait_for()
        await quiet(tab)
        for where in ("", ", while reading back"):
            if where:
                rows = await tab.ask(READ_BACK)
                run.add("chat: rows in the page", rows)
                run.add("chat: messages that were read back", await tab.ask(READ))
                before = await tab.ask(PLACE)
            await said(ours, 5)
            idle = await idling(tab)
            await tab.begin(frames=False)
            await said(ours, count)
            seen = await tab.end()
            run.add(f"chat: ms until a message is laid out{where}", seen.laid / count * 1000)
            used = (seen.used - idle * seen.seconds) / count
            run.add(f"chat: ms a message with painting{where}", used * 1000)
            if where:
                moved = await tab.ask(MOVED, before)
                if moved is None:
                    raise RuntimeError("the row that was read is not in the page any more")
                run.add("chat: px moved while reading back", moved)


async def said(ours: Ours, count: int) -> None:
    """So many messages, each in an animation frame of its own."""
    for number in range(count):
        await ours.say(f"What somebody says now, number {number}")
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)


async def browser(run: Run) -> None:
    """Goal 27: somebody looks on, and uses the board and the chat."""
    if why := missing():
        run.skipped["browser"] = why
        run.say(f"  the page is not measured: {why}")
        return
    for number in range(run.rounds):
        async with desk(run, first=number == 0) as on:
            for part in PARTS:
                run.say(f"  {part.__name__}; the same work took {pieces():.0f} ms")
                await part(on)


def pieces() -> float:
    """Milliseconds of a piece of work that never changes: on a machine that others use too, one
    run is not as another.
    """
    began = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    return (time.perf_counter() - began) * 1000


PARTS = (loads, moves, drag, faults, storms, very_many, chat)
SCENARIOS = {"browser": browser}
