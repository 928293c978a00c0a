"""Debian's Chromium as it is measured: pages of somebody who is signed in, and what the page and
the browser's own counters say of their work.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, async_playwright

from load.bench.dam import Dam
from tests.person import PASSWORD
from tests.web.conftest import enter, module, program

SLOW = 4.0
"""What the page computes takes so many times as long."""
LINE = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1_600_000 / 8,
    "uploadThroughput": 1_600_000 / 8,
}
"""150 ms to each answer and 1.6 Mbit a second."""
SIZE = (1440, 900)
PATIENCE = 30_000.0
LAID = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")

WATCH = """(() => {
  const bench = (window.bench = { tasks: [], keys: [], moves: [], frames: 0, usable: 0 });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) bench.tasks.push(duration);
  }).observe({ type: "longtask" });
  // From an input until the frame after it is painted, and the thread is free.
  const timed = (kind, into) =>
    addEventListener(kind, ({ isTrusted, timeStamp }) => isTrusted && requestAnimationFrame(() =>
      setTimeout(() => into.push(performance.now() - timeStamp))), true);
  timed("keydown", bench.keys);
  timed("pointermove", bench.moves);
  bench.begin = () => {
    bench.tasks.length = bench.keys.length = bench.moves.length = bench.frames = 0;
    const mine = (bench.counting = {});
    const count = () => {
      if (bench.counting !== mine) return;
      bench.frames += 1;
      requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
  };
  bench.end = () => {
    bench.counting = null;
    const { tasks, keys, moves, frames } = bench;
    return { tasks: [...tasks], keys: [...keys], moves: [...moves], frames };
  };
  const look = () => {
    if (document.querySelectorAll(".tile").length < TILES) return requestAnimationFrame(look);
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
    const field = document.activeElement;
    if (!field?.classList.contains("board-filter")) return requestAnimationFrame(look);
    return requestAnimationFrame(() => setTimeout(() => {
      bench.usable = performance.now();
      field.blur();
    }));
  };
  if (TILES) requestAnimationFrame(look);
})()"""
"""`usable`: since the page was asked for, until all tiles are there, the key that leads to the
filter leads there, and all of that is painted.
"""
USABLE = """() => new Promise((done, failed) => {
  const until = performance.now() + PATIENCE;
  const look = () => {
    if (bench.usable) done(bench.usable);
    else if (performance.now() < until) setTimeout(look, 20);
    else failed(new Error(`${document.querySelectorAll(".tile").length} tiles after PATIENCE ms`));
  };
  look();
})""".replace("PATIENCE", f"{PATIENCE:.0f}")


@dataclass
class Seen:
    """What a page did in some seconds."""

    seconds: float
    used: float
    """Seconds of its main thread."""
    laid: float
    """Those of them in scripts, style and layout: what stands in the page, without painting it."""
    tasks: Sequence[float] = ()
    keys: Sequence[float] = ()
    moves: Sequence[float] = ()
    """Milliseconds: of tasks over 50, from a key and from a move of the pointer to what is seen."""
    frames: int = 0

    @property
    def longest_ms(self) -> float:
        """Of its tasks; 0 when none took over 50."""
        return max(self.tasks, default=0.0)


@dataclass
class Tab:
    """One page, watched."""

    page: Page
    session: CDPSession
    _before: tuple[float, float, float] = (0.0, 0.0, 0.0)

    async def ask(self, script: str, given: Any = None) -> Any:
        return await self.page.evaluate(script, given)

    async def metrics(self) -> dict[str, float]:
        said = await self.session.send("Performance.getMetrics")
        return {each["name"]: each["value"] for each in said["metrics"]}

    async def held(self) -> dict[str, float]:
        """The same, without what only waits to be collected."""
        for _ in range(2):
            await self.session.send("HeapProfiler.collectGarbage")
        return await self.metrics()

    async def slow(self, rate: float = SLOW) -> None:
        await self.session.send("Emulation.setCPUThrottlingRate", {"rate": rate})

    async def begin(self, *, frames: bool = True) -> None:
        """From now on. `frames`: count them, which makes the browser paint each."""
        await self.ask("(count) => { bench.begin(); if (!count) bench.counting = null; }", frames)
        self._before = time.monotonic(), *await self._used()

    async def end(self) -> Seen:
        """Until now."""
        used, laid = await self._used()
        seconds = time.monotonic() - self._before[0]
        said = await self.ask("() => bench.end()")
        return Seen(seconds, used - self._before[1], laid - self._before[2], **said)

    async def _used(self) -> tuple[float, float]:
        said = await self.metrics()
        return said["TaskDuration"], sum(said[name] for name in LAID)


@dataclass
class Chromium:
    """A browser, and whom it signs in."""

    browser: Browser
    url: str
    username: str

    @asynccontextmanager
    async def tab(
        self,
        path: str,
        *,
        tiles: int = 0,
        slow: bool = False,
        thin: bool = False,
        line: Dam | None = None,
    ) -> AsyncIterator[Tab]:
        """A page of a browser that was never here. `tiles`: how many make it usable; `thin`: over a
        slow line; `line`: the way to the server.
        """
        url = line.url if line else self.url
        context = await self.browser.new_context(
            viewport={"width": SIZE[0], "height": SIZE[1]}, locale="en-GB"
        )
        try:
            context.set_default_timeout(PATIENCE)
            await enter(context, url, self.username)
            await context.add_init_script(WATCH.replace("TILES", str(tiles)))
            page = await context.new_page()
            session = await context.new_cdp_session(page)
            await session.send("Performance.enable", {"timeDomain": "threadTicks"})
            if thin:
                await session.send("Network.enable")
                await session.send("Network.emulateNetworkConditions", LINE)
            tab = Tab(page, session)
            if slow:
                await tab.slow()
            await page.goto(url + path, wait_until="commit")
            yield tab
        finally:
            await context.close()


@asynccontextmanager
async def chromium(url: str, username: str) -> AsyncIterator[Chromium]:
    """A browser of this machine, which `missing` did not miss."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        try:
            yield Chromium(browser, url, username)
        finally:
            await browser.close()


def missing() -> str:
    """Why no page can be measured here, or nothing."""
    return "" if program() else "no Chromium here: install it, or name it in CHROMIUM"


__all__ = ["PASSWORD", "Chromium", "Seen", "Tab", "chromium", "missing", "module"]
