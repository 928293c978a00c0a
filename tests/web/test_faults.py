"""Faults under an open board: a worker dies, the line is cut, Redis is gone, the page sleeps.

What a page shows afterwards is what the server has: the board in its store and in its columns, the
chat, and the card that is open. The server is two workers as an operator starts them; people work
on all the while.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.conftest import Board, Invite, until
from tests.journeys.a_day_of_work import people_join, prepare, run, signed_in, steps
from tests.journeys.conftest import Crowd, Process, Start, base, own_valkey, start  # noqa: F401
from tests.journeys.proxy import Proxy
from tests.journeys.test_worker_killed import replaced
from tests.person import PASSWORD, Person
from tests.web.conftest import Visit, Visitor, module
from warmdesk.client import Client
from warmdesk.embedded import Valkey

pytestmark = pytest.mark.timeout(400)

STEPS, WRITERS, PAUSE = 150, 4, 40
CUT_SECONDS = 10
AWAY_SECONDS = 5
NAP_SECONDS = 600
ITEMS = 100
"""A checklist may have twice as many, however long a test takes."""
SETTLED = 20.0
FOLLOWED = 3.0
"""Seconds; promised is one while the bus is known to be down and two when it is not yet."""
FEWEST = 18
"""So many cards of a column stand in the page at least."""
OWN = (
    *("my_role", "open_card_count", "starred", "unread_count", "mention_count"),
    *("last_read_message_id", "muted", "last_activity_at"),
)
"""What an answer says for its reader."""
KNOWS = f"""async (slug) => {{
  const {{ store, feed }} = {module("project.js")}.projectHere(slug);
  return {{ shown: store.shown(), kind: feed.state.value.kind, connections: feed.connections }};
}}"""
TITLES = """() => [...document.querySelectorAll("section.column")].map((column) =>
  [...column.querySelectorAll(".tile:not(.wish) .tile-title")].map((one) => one.textContent))"""
TEXTS = """() => [...document.querySelectorAll(".talk-row:not(.wish) .talk-body .md")]
  .map((one) => one.textContent.trim())"""


@pytest.fixture
async def server(start: Start, own_valkey: Valkey) -> Process:  # noqa: F811
    """Two workers, and a Redis that may be killed. Who sleeps ten minutes wakes with a token that
    is good no more.
    """
    return await start(redis_url=own_valkey.url, access_token_ttl=NAP_SECONDS // 2)


@pytest.fixture
def url(server: Process) -> str:
    return server.url


class Work(Crowd):
    """People who work on the board, and on one card of it."""

    card: Any = None
    items = 0

    async def _one(self, number: int, person: Person) -> None:
        await super()._one(number, person)
        path = f"{self.board.path}/cards/{self.card['id']}"
        if self.chance.random() < 0.2:
            body = f"thought {number}-{self.done}-{self.chance.random()}"
            await person.post(f"{path}/comments", {"body": body})
        elif self.items < ITEMS and self.chance.random() < 0.2:
            self.items += 1
            await person.post(f"{path}/checklist", {"body": f"step {number}-{self.done}"})


class Pages:
    """What somebody has open: the board, the chat and a card, each in a tab of its own."""

    def __init__(self, visitor: Visitor, slug: str, card: Any, reader: Person) -> None:
        self.visitor, self.slug, self.card, self.reader = visitor, slug, card, reader
        self.tabs: dict[str, Page] = {}
        # What a browser says of a line that breaks.
        visitor.allowed += ["WebSocket connection to", "net::ERR_"]
        visitor.statuses |= {502, 503}

    @property
    def path(self) -> str:
        return f"/projects/{self.slug}"

    @property
    def page(self) -> Page:
        return self.tabs["board"]

    async def open(self) -> None:
        self.tabs["board"] = self.visitor.page
        self.tabs["chat"] = await self.visitor.tab(f"/p/{self.slug}/chat")
        self.tabs["card"] = await self.visitor.tab(f"/p/{self.slug}/c/{self.card['key']}")
        for page in self.tabs.values():
            await live(page, self.slug)

    async def are_back(self) -> None:
        """Until each has a new connection, and has caught up."""
        for page in self.tabs.values():

            async def is_back(page: Page = page) -> bool:
                said = await page.evaluate(KNOWS, self.slug)
                return said["connections"] > 1 and said["kind"] in ("live", "caught")

            await until(is_back, limit=SETTLED, every=0.1)

    async def head(self) -> int:
        """The last event that the server has."""
        return int((await self.reader.get(f"{self.path}?include=labels"))["seq"])

    async def knows(self, head: int) -> bool:
        """Whether the board has applied this event."""
        return bool((await self.page.evaluate(KNOWS, self.slug))["shown"]["seq"] >= head)

    async def follow(self) -> None:
        """Until the board has what is there now; work goes on."""
        head = await self.head()
        await until(lambda: self.knows(head), limit=FOLLOWED, every=0.05)

    async def are_whole(self, *, again: bool | None = True) -> None:
        """Until all show what is there now. `again`: each had to connect anew, or none had; None:
        some had, perhaps.
        """
        path, slug = self.path, self.slug
        fetched = await self.reader.get(f"{path}?cards=brief")
        for page in self.tabs.values():
            await live(page, slug)
            await equals(page, slug, fetched)
            said = await page.evaluate(KNOWS, slug)
            assert again is None or (said["connections"] > 1) == again
        await shows_titles(self.page, fetched)
        messages = await self.reader.get(f"{path}/chat/messages?limit=50")
        await shows_last(self.tabs["chat"], messages)
        card = f"{path}/cards/{self.card['id']}"
        comments = await self.reader.get(f"{card}/comments?limit=50&before={1 << 40}")
        await shows_last(self.tabs["card"], comments)
        items = await self.reader.get(f"{card}/checklist")
        await expect(self.tabs["card"].locator(".card-item")).to_have_text(
            [each["body"] for each in items]
        )


async def live(page: Page, slug: str) -> None:
    async def is_live() -> bool:
        said = await page.evaluate(KNOWS, slug)
        return said["kind"] in ("live", "caught")

    await expect(page.locator("main")).to_be_visible()
    await until(is_live, limit=SETTLED, every=0.1)


async def equals(page: Page, slug: str, fetched: Any) -> None:
    """Until the store of a page is what was fetched."""
    wanted = {key: value for key, value in fetched.items() if key not in OWN}
    wanted["labels"] = sorted(wanted["labels"], key=lambda one: one["id"])
    wanted["members"] = sorted(wanted["members"], key=lambda one: one["user_id"])
    await becomes(lambda: page.evaluate(KNOWS, slug), wanted, lambda said: said["shown"])


async def shows_titles(page: Page, fetched: Any) -> None:
    """Until the columns in the page have the cards that were fetched, in order."""
    wanted = [[card["title"] for card in each["cards"]] for each in fetched["columns"]]

    async def wrong() -> list[Any]:
        columns = await page.evaluate(TITLES)
        if len(columns) != len(wanted):
            return list(columns)
        return [
            (shown, all_)
            for shown, all_ in zip(columns, wanted, strict=True)
            if shown != all_[: len(shown)] or len(shown) < min(FEWEST, len(all_))
        ]

    await becomes(wrong, [])


async def shows_last(page: Page, said: list[Any]) -> None:
    """Until the last rows of a talk are these."""
    wanted = [each["body"] for each in sorted(said, key=lambda one: one["id"])]
    await becomes(lambda: page.evaluate(TEXTS), wanted, lambda texts: texts[-len(wanted) :])


async def becomes(
    look: Callable[[], Awaitable[Any]], wanted: Any, part: Callable[[Any], Any] = lambda all_: all_
) -> None:
    """Until it looks so; at last it is said how it looks otherwise."""
    with suppress(AssertionError):

        async def looks_so() -> bool:
            return bool(part(await look()) == wanted)

        await until(looks_so, limit=SETTLED, every=0.1)
    assert part(await look()) == wanted


@asynccontextmanager
async def at_work(
    visit: Visit, board: Board, person: Invite, *, clock: bool = False, **options: Any
) -> AsyncIterator[tuple[Pages, Work]]:
    """Bob looks on while olga and alice work; then they rest. With a `clock` the time of his pages
    can be put forward.
    """
    people = [person(name, patience=30) for name in ("olga", "alice")]
    bob = person("bob", patience=30)
    crowd = Work(board, people)
    crowd.card = await people[0].post(
        f"{board.path}/columns/{board.backlog}/cards", {"title": "The open one"}
    )
    await crowd.work(20)
    visitor = await visit("bob", "/p/demo", **options)
    if clock:
        await visitor.context.clock.install()
        await visitor.page.reload()
    pages = Pages(visitor, board.slug, crowd.card, bob)
    await pages.open()
    over = asyncio.Event()
    work = asyncio.create_task(crowd.work_until(over, pause=0.05))
    try:
        await crowd.goes_on(10)
        yield pages, crowd
        await crowd.goes_on(10)
    finally:
        over.set()
        await work


async def kill_worker(server: Process) -> None:
    """Until another one is in its place."""
    killed = server.workers()[0]
    os.kill(killed, signal.SIGKILL)
    await replaced(server, killed)


async def begin_anew(server: Process, redis: Valkey) -> None:
    """A Redis that was killed, with nothing of what it knew."""
    redis.stop()
    shutil.rmtree(redis.directory)
    redis.directory.mkdir(mode=0o700)
    redis.start()
    await until(server.is_ready, limit=SETTLED, every=0.1)


@asynccontextmanager
async def asleep(pages: Pages, line: Proxy) -> AsyncIterator[None]:
    """The pages, for ten minutes of their clock: who speaks with them meanwhile hears nothing."""
    pids = renderers()
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        line.forget()
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    await pages.visitor.context.clock.fast_forward(NAP_SECONDS * 1000)
    await pages.are_back()


async def test_workers_that_are_killed_leave_no_gap(
    server: Process, visit: Visit, board: Board, person: Invite
) -> None:
    async with at_work(visit, board, person) as (pages, crowd):
        for _ in range(2):
            await kill_worker(server)
            await crowd.goes_on(20)
    await pages.are_whole()
    await crowd.check_ledger(pages.reader)


@pytest.mark.long
@pytest.mark.parametrize("told", [True, False], ids=["told", "silent"])
async def test_a_line_that_is_cut_leaves_no_gap(
    server: Process, visit: Visit, board: Board, person: Invite, told: bool
) -> None:
    """Ten seconds; the browser is told that its connections are gone, or they only fall silent."""
    upstream = server.url.removeprefix("http://")
    async with Proxy(upstream, "127.0.0.1:0", bytes_only=True) as line:
        async with at_work(visit, board, person, at=f"http://{line.listen}") as (pages, crowd):
            page, context = pages.page, pages.visitor.context
            if told:
                line.close()
            else:
                line.freeze()
            await context.set_offline(True)
            if told:
                await expect(page.get_by_text("You are offline")).to_be_visible()
            await asyncio.sleep(CUT_SECONDS)
            assert any(await page.evaluate(TITLES)), "it can be read meanwhile"
            assert not await pages.knows(await pages.head())
            if told:
                line.open()
            else:
                line.forget()
            await context.set_offline(False)
            await pages.are_back()
            await crowd.goes_on(10)
        await pages.are_whole()


async def test_a_redis_that_is_gone_leaves_no_gap(
    server: Process,
    visit: Visit,
    board: Board,
    person: Invite,
    own_valkey: Valkey,  # noqa: F811
) -> None:
    async with at_work(visit, board, person) as (pages, crowd):
        os.kill(own_valkey.pid, signal.SIGKILL)
        end = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < end:
            await crowd.goes_on(5)
            await pages.follow()
        await begin_anew(server, own_valkey)
    await pages.are_whole(again=False)


async def test_pages_that_slept_for_ten_minutes_have_no_gap(
    server: Process, visit: Visit, board: Board, person: Invite
) -> None:
    """When they wake nobody answers on the connections that they had, and their tokens are old."""
    upstream = server.url.removeprefix("http://")
    async with Proxy(upstream, "127.0.0.1:0", bytes_only=True) as line:
        at = f"http://{line.listen}"
        async with (
            at_work(visit, board, person, clock=True, at=at) as (pages, crowd),
            asleep(pages, line),
        ):
            await crowd.goes_on(40)
        await pages.are_whole()


def renderers() -> list[int]:
    """The processes that run the pages of this test's browser."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return [
        pid
        for pid in parents
        if is_ours(pid) and b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.long
async def test_what_a_team_did_shows_at_each_pause(
    server: Process,
    visit: Visit,
    person: Invite,
    own_valkey: Valkey,  # noqa: F811
) -> None:
    """The first weeks of a real team, while the board, the chat and a card are open. After a pause
    a worker is killed, Redis is gone, or the pages sleep, and the work goes on.
    """
    work = steps(STEPS)
    authors = list(dict.fromkeys(step["who"] for step in work))
    upstream = server.url.removeprefix("http://")
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(Proxy(upstream, "127.0.0.1:0", bytes_only=True))
        root = await stack.enter_async_context(Client(server.url))
        await root.login("root", PASSWORD)
        desk = await prepare(root, work)
        await people_join(desk, authors)
        for who in authors[:WRITERS]:
            desk.writers[who] = await stack.enter_async_context(signed_in(server.url, who))
        first, *rest = work
        await desk.play(first)
        reader = f"person-{authors[-1]}"
        visitor = await visit(reader, f"/p/{desk.slug}", at=f"http://{line.listen}")
        await visitor.context.clock.install()
        await visitor.page.reload()
        pages = Pages(visitor, desk.slug, desk.cards[first["piece"]], person(reader))
        await pages.open()
        played: list[Any] = []

        async def goes_on() -> None:
            reached = len(played) + PAUSE // 2
            await until(lambda: len(played) >= reached or played[-1] is rest[-1], limit=60)

        async def break_redis() -> None:
            os.kill(own_valkey.pid, signal.SIGKILL)
            await asyncio.sleep(AWAY_SECONDS)
            await begin_anew(server, own_valkey)

        async def break_pages() -> None:
            async with asleep(pages, line):
                await goes_on()

        faults: list[Callable[[], Coroutine[Any, Any, None]]]
        faults = [break_pages, break_redis, partial(kill_worker, server)]
        broken: asyncio.Task[None] | None = None
        paused = 0
        async for done in run(desk, rest, None):
            played += done
            if broken is not None and not broken.done():
                await asyncio.sleep(0.2)
            if len(played) - paused < PAUSE and done[-1] is not rest[-1]:
                continue
            paused = len(played)
            if broken is not None:
                await broken
                broken = None
            await pages.are_whole(again=None)
            if faults:
                broken = asyncio.create_task(faults.pop()())
        assert broken is None, "each fault had its time"
