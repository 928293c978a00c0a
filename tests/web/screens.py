"""Every screen there is, with a team's work on it, for tests that look at all of them.

``async with house(given, settings) as home`` is a server with the demo's team, and
``await everywhere(visit, home, look)`` goes to each screen, and to what opens over them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.conftest import serving
from tests.journeys.running import command
from tests.person import Person
from tests.web.conftest import Visit
from warmdesk.config import Settings

SCREENS = {
    "projects": "/",
    "board": "/p/{slug}",
    "card": "/p/{slug}/c/{key}",
    "chat": "/p/{slug}/chat",
    "topics": "/p/{slug}/topics",
    "topic": "/p/{slug}/topics/{topic}",
    "activity": "/p/{slug}/activity",
    "settings": "/p/{slug}/settings",
    "columns": "/p/{slug}/settings/columns",
    "labels": "/p/{slug}/settings/labels",
    "people": "/p/{slug}/settings/people",
    "deleted": "/p/{slug}/settings/deleted",
    "hooks": "/p/{slug}/settings/hooks",
    "keys": "/p/{slug}/settings/keys",
    "messages": "/messages",
    "conversation": "/messages/{conversation}",
    "notifications": "/notifications",
    "search": "/search?q=shelf",
    "search of nothing": "/search",
    "time": "/time",
    "week": "/time/week",
    "report": "/time/report",
    "profile": "/me",
    "look": "/me/appearance",
    "notify": "/me/notifications",
    "security": "/me/security",
    "devices": "/me/devices",
    "my keys": "/me/keys",
    "users": "/admin",
    "all projects": "/admin/projects",
    "system": "/admin/settings",
    "backups": "/admin/backups",
    "sign-ins": "/admin/logins",
    "audit": "/admin/audit",
    "mail": "/admin/mail",
    "no project": "/p/nowhere",
    "no page": "/nowhere/at/all",
}
"""Of the owner, who also administers the installation."""

OTHERS = {"forbidden": "/admin", "board of a viewer": "/p/{slug}", "no page": "/nowhere/at/all"}
"""Of a viewer."""

DOORS = {
    "sign-in": "/sign-in",
    "register": "/register",
    "forgotten": "/forgot-password",
    "reset": "/reset-password?token=nonsense",
    "invitation": "{invitation}",
    "no invitation": "/invitations/nonsense",
}
"""Of nobody."""

SIGHTS = Path(__file__).with_name("sights.js").read_text().partition("*/\n")[2].strip()

GONE = {"title": "A shelf too many"}
"""A card that is deleted."""

Step = Callable[[Page], Awaitable[Any]]


@dataclass(frozen=True)
class House:
    """The server of the team: who enters how, and what stands in the addresses."""

    url: str
    owner: str
    viewer: str
    password: str
    parts: dict[str, str]

    def at(self, path: str) -> str:
        return self.url + path.format(**self.parts)


@asynccontextmanager
async def house(given: dict[str, Any], settings: Settings) -> AsyncIterator[House]:
    """The demo's team on a server of its own. `given` and `settings` are the fixtures."""
    status, out, aside = await command("demo", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    slug, password = made["slug"], made["password"]
    async with serving(settings) as door:
        owner = Person(door.url, made["username"], password=password)
        cards = await owner.get(f"/projects/{slug}/cards?limit=50")
        fullest = max(cards, key=lambda each: each["comment_count"] + each["checklist_total"])
        topics = await owner.get(f"/projects/{slug}/topics")
        talks = await owner.get("/conversations")
        invitation = await owner.post(f"/projects/{slug}/invitations", {"role": "member"})
        await owner.post("/time-entries", {"minutes": 75, "project": slug, "note": "Shelves"})
        gone = await owner.post(f"/projects/{slug}/columns/{fullest['column_id']}/cards", GONE)
        await owner.delete(f"/projects/{slug}/cards/{gone['id']}")
        await owner.close()
        yield House(
            door.url,
            made["username"],
            "ben.carter",
            password,
            {
                "slug": slug,
                "key": fullest["key"],
                "topic": max(topics, key=lambda each: each["reply_count"])["id"],
                "conversation": talks[0]["id"],
                "invitation": "/invitations/" + invitation["url"].rpartition("/")[2],
            },
        )


async def settled(page: Page) -> None:
    """The screen is there, and nothing of it is on its way."""
    await expect(page.locator("main")).to_be_visible()
    await expect(page.locator("[aria-busy=true], .skeleton")).to_have_count(0)


async def two_frames(page: Page) -> None:
    """The page is laid out anew."""
    await page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


async def ask(page: Page, question: str) -> list[str]:
    """What a function of sights.js finds wrong."""
    found: list[str] | None = await page.evaluate(f"() => {SIGHTS}.{question}()")
    return found or []


def press(*keys: str) -> Step:
    async def step(page: Page) -> None:
        for key in keys:
            await page.keyboard.press(key)

    return step


def click(name: str, *more: str) -> Step:
    """Click on the first button of this name, then on items of the menu that opens."""

    async def step(page: Page) -> None:
        await page.get_by_role("button", name=name).first.click()
        for each in more:
            await page.get_by_role("menuitem", name=each).first.click()

    return step


def on_a_card(*keys: str) -> Step:
    async def step(page: Page) -> None:
        await page.locator(".tile-title").first.focus()
        await press(*keys)(page)

    return step


async def menu_of_a_card(page: Page) -> None:
    await page.locator(".tile").first.hover()
    await page.locator(".tile-more").first.click()


OPENED: dict[str, tuple[str, Step]] = {
    "help": ("board", press("?")),
    "go to": ("board", press("Control+k")),
    "a new card": ("board", on_a_card("n")),
    "moving a card": ("board", on_a_card("m")),
    "labels of a card": ("board", on_a_card("l")),
    "people of a card": ("board", on_a_card("a")),
    "date of a card": ("board", on_a_card("d")),
    "chosen cards": ("board", on_a_card("x")),
    "a lifted card": ("board", on_a_card(" ")),
    "menu of a card": ("board", menu_of_a_card),
    "menu of a column": ("board", click("Menu of Review")),
    "a column": ("board", click("Menu of Review", "Edit column")),
    "no column": ("board", click("Menu of Review", "Delete column")),
    "my menu": ("projects", click("Nora Lindqvist")),
    "projects' menu": ("projects", click("Projects")),
    "a new project": ("projects", click("New project")),
    "a new topic": ("topics", click("New topic")),
    "a new talk": ("messages", click("New conversation")),
    "a time": ("time", click("Log time")),
    "a new label": ("labels", click("New label")),
    "a new key": ("keys", click("New API key")),
    "a new account": ("users", click("New account")),
}
"""What opens over a screen: the screen's name, and how."""
OVER = "dialog[open], :popover-open:not(.toasts), .column-writer, .bulk, .tile.held"

NO_WORKER = "Service Worker registration blocked"

Look = Callable[[Page, str], Awaitable[None]]


async def everywhere(visit: Visit, home: House, look: Look, **options: Any) -> None:
    """`look(page, name)` at every screen, and at what opens over them. `options` are those of
    `visit`.
    """
    options = {"at": home.url, "password": home.password, "service_workers": "block"} | options
    for who, screens in ((home.owner, SCREENS), (home.viewer, OTHERS), (None, DOORS)):
        visitor = await visit(who, **options)
        visitor.statuses |= {401, 403, 404}
        visitor.allowed.append(NO_WORKER)
        page = visitor.page
        for name, path in screens.items():
            await page.goto(home.at(path))
            await settled(page)
            await look(page, name)
    visitor = await visit(home.owner, **options)
    visitor.allowed.append(NO_WORKER)
    page = visitor.page
    for name, (screen, open_it) in OPENED.items():
        await page.goto(home.at(SCREENS[screen]))
        await settled(page)
        await open_it(page)
        await expect(page.locator(OVER).first).to_be_visible()
        await settled(page)
        await look(page, name)
