"""The page in Debian's Chromium, with everything on: how soon a board can be used, what an event and
a storm of events cost, how soon it is back after faults, how a drag feels, and a chat of years.

The server has two workers. Times and tasks are those that the page's own clocks tell; CPU is that
of the page's main thread, as the browser counts it. *Slow* is a processor of a quarter of the speed,
a *thin line* has 150 ms and 1.6 Mbit/s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from load.bench.asking import Office, office
from load.bench.chromium import PASSWORD, USABLE, Chromium, Tab, chromium, missing
from load.bench.ours import Member, Ours
from load.bench.run import Run
from warmdesk.auth.passwords import hash_password

COLUMNS = 10
SMALL, LARGE = 50, 500
"""Cards of a column."""
WINDOW = 60
"""So many of them stand in the page."""
LOADS = 3
MB = 1_000_000


@dataclass
class Desk:
    """A server, a browser of somebody who looks on, and the boards they look at."""

    run: Run
    office: Office
    browser: Chromium
    reader: Member
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


@asynccontextmanager
async def desk(run: Run) -> AsyncIterator[Desk]:
    async with office(run, ours=Ours(workers=2), writers=4) as on:
        (reader,) = await on.ours.people(1)
        (row,) = await on.ours.fetch(
            "update users set password_hash = $2 where id = $1 returning username",
            reader.user_id,
            await hash_password(PASSWORD),
        )
        async with chromium(on.ours.url, row["username"]) as browser:
            yield Desk(run, on, browser, reader)


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


async def browser(run: Run) -> None:
    """Goal 27: somebody looks on, and uses the board and the chat."""
    if why := missing():
        run.skipped["browser"] = why
        run.say(f"  the page is not measured: {why}")
        return
    for _ in range(run.rounds):
        async with desk(run) as on:
            for part in PARTS:
                run.say(f"  {part.__name__}")
                await part(on)


PARTS = (loads,)
SCENARIOS = {"browser": browser}
