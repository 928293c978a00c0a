"""Pages in Debian's Chromium: people with browsers of their own, on one server.

``visitor = await visit("alice", "/p/demo")`` opens a browser of alice's, signed in, at an address.
Whatever a test does, at its end no page complained, none broke the policy, and none asked another
host.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    async_playwright,
    expect,
)

from tests.person import PASSWORD
from warmdesk.joined_files import alias
from warmdesk.rest.web import START, site

PATIENCE = 20_000
"""Milliseconds; a browser on a busy machine is slow."""
expect.set_options(timeout=PATIENCE)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/web/" in str(item.path) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


def program() -> str | None:
    """The Chromium of this machine; ``CHROMIUM`` names another one."""
    found = (shutil.which(name) for name in NAMES)
    return os.environ.get("CHROMIUM") or next(filter(None, found), None)


@dataclass
class Visitor:
    """Somebody's browser. `page` is the first tab.

    allowed    what a page may complain of: parts of the messages, named by the test
    statuses   refusals that the test expects, by status
    """

    context: BrowserContext
    page: Page
    url: str
    slower: float = 1
    allowed: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen to what a tab says and asks."""
        page.set_default_timeout(PATIENCE)
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"pageerror: {error}"))
        page.on("response", self._answered)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.url, self.url.replace("http", "ws", 1), "blob:")):
            self.foreign.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        # What is refused is counted by its status instead.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.statuses:
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    async def tab(self, path: str = "/") -> Page:
        """Another tab of the same browser."""
        page = await self.context.new_page()
        await self.slow(page)
        await page.goto(self.url + path)
        return page

    async def slow(self, page: Page) -> None:
        """What this tab computes takes so many times as long."""
        if self.slower > 1:
            session = await self.context.new_cdp_session(page)
            await session.send("Emulation.setCPUThrottlingRate", {"rate": self.slower})

    def settle(self) -> None:
        """Nothing went wrong so far."""
        complaints = [
            each for each in self.complaints if not any(part in each for part in self.allowed)
        ]
        assert complaints == []
        assert self.foreign == []


Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser, which costs a second to start."""
    found = program()
    if found is None:
        pytest.skip("no Chromium here: install it, or name it in CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def visit(
    request: pytest.FixtureRequest, chromium: Browser, url: str
) -> AsyncIterator[Visit]:
    """Opens browsers: ``await visit("alice", "/p/demo", width=390)``; without a name nobody is
    signed in.
    """
    slower = request.config.getoption("slow_browser")
    visitors: list[Visitor] = []
    async with AsyncExitStack() as stack:

        async def open_one(
            username: str | None = None,
            path: str = "/",
            *,
            width: int = 1440,
            height: int = 900,
            at: str = url,
            password: str = PASSWORD,
            **options: Any,
        ) -> Visitor:
            context = await chromium.new_context(
                viewport={"width": width, "height": height},
                **({"locale": "en-GB"} | options),
            )
            stack.push_async_callback(context.close)
            if username is not None:
                await enter(context, at, username, password)
            visitor = Visitor(context, await context.new_page(), at, slower)
            context.on("page", visitor.watch)
            visitor.watch(visitor.page)
            visitors.append(visitor)
            await visitor.slow(visitor.page)
            await visitor.page.goto(at + path)
            return visitor

        yield open_one
        for each in visitors:
            each.settle()


async def enter(context: BrowserContext, url: str, username: str, password: str = PASSWORD) -> None:
    """Give a browser the session of somebody, as the sign-in does."""
    answer = await context.request.post(
        f"{url}/api/v1/auth/login",
        data={"username": username, "password": password, "cookie": True},
    )
    assert answer.ok, await answer.text()


def module(name: str) -> str:
    """What a module of the page exports, as scripts of tests ask for it: an expression."""
    start = 'document.querySelector("script[type=module]").src'
    return f'(await import({start}.replace("{START}", "{site().homes[name]}"))).{alias(name)}'


def by_label(page: Page, name: str) -> Locator:
    """The field with exactly this label."""
    return page.get_by_label(name, exact=True)
