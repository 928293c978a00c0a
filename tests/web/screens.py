"""Every screen there is, with a team's work on it, for tests that look at all of them.

`home` is a server with the demo's team, and ``await everywhere(visit, home, look)`` goes to each
screen, and to what opens over them. Who imports `home` imports `given` and `settings` with
it, and names it before `visit`: its server ends after the pages.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.async_api import Page, expect

from tests.conftest import serving
from tests.journeys.running import command
from tests.person import Person
from tests.web.conftest import Visit
from warmdesk.config import Settings


class Screen(NamedTuple):
    """An address, and what stands there once all of it has come."""

    path: str
    sign: str


SCREENS = {
    "projects": Screen("/", ".projects-tile"),
    "board": Screen("/p/{slug}", ".tile"),
    "card": Screen("/p/{slug}/c/{key}", ".card-dialog .talk-row"),
    "chat": Screen("/p/{slug}/chat", ".talk-row"),
    "topics": Screen("/p/{slug}/topics", ".topics-one"),
    "topic": Screen("/p/{slug}/topics/{topic}", ".talk-row"),
    "activity": Screen("/p/{slug}/activity", ".fact-card"),
    "settings": Screen("/p/{slug}/settings", ".settings form"),
    "columns": Screen("/p/{slug}/settings/columns", ".page-row"),
    "labels": Screen("/p/{slug}/settings/labels", ".page-row"),
    "people": Screen("/p/{slug}/settings/people", ".page-row"),
    "archive": Screen("/p/{slug}/settings/archive", ".page-row, .empty"),
    "deleted": Screen("/p/{slug}/settings/deleted", ".page-row"),
    "hooks": Screen("/p/{slug}/settings/hooks", ".empty"),
    "keys": Screen("/p/{slug}/settings/keys", ".empty"),
    "messages": Screen("/messages", ".messages-one"),
    "conversation": Screen("/messages/{conversation}", ".talk-row"),
    "notifications": Screen("/notifications", ".notifications-one"),
    "search": Screen("/search?q=calendar", ".search-found"),
    "search of nothing": Screen("/search", ".search h2"),
    "time": Screen("/time", ".time-day"),
    "week": Screen("/time/week?date=2026-04-08", ".time-sheet"),
    "report": Screen("/time/report?from=2026-04-01&to=2026-04-30", ".time-groups"),
    "profile": Screen("/me", ".me form"),
    "look": Screen("/me/appearance", ".me-option"),
    "notify": Screen("/me/notifications", ".me select"),
    "security": Screen("/me/security", ".me form"),
    "devices": Screen("/me/devices", ".me .button.danger"),
    "my keys": Screen("/me/keys", ".me h2"),
    "users": Screen("/admin", ".page-row"),
    "all projects": Screen("/admin/projects", ".page-row"),
    "system": Screen("/admin/settings", ".admin form"),
    "backups": Screen("/admin/backups", ".admin form"),
    "sign-ins": Screen("/admin/logins", ".admin .empty"),
    "audit": Screen("/admin/audit", ".page-row"),
    "mail": Screen("/admin/mail", ".admin form"),
    "no project": Screen("/p/nowhere", ".away"),
    "no page": Screen("/nowhere/at/all", ".away"),
}
"""Of the owner, who also administers the installation."""

OTHERS = {
    "forbidden": Screen("/admin", ".away"),
    "board of a viewer": Screen("/p/{slug}", ".tile"),
}
"""Of a viewer."""

DOORS = {
    "sign-in": Screen("/sign-in", "form"),
    "register": Screen("/register", "form"),
    "forgotten": Screen("/forgot-password", ".door-sheet p"),
    "reset": Screen("/reset-password?token=nonsense", "form"),
    "invitation": Screen("{invitation}", "form"),
    "no invitation": Screen("/invitations/nonsense", "main .button"),
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


@pytest.fixture
async def home(given: dict[str, Any], settings: Settings) -> AsyncIterator[House]:
    """The demo's team on a server of its own."""
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
        entry = {"minutes": 75, "project": slug, "note": "Shelves", "date": "2026-04-08"}
        await owner.post("/time-entries", entry)
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


async def show(page: Page, home: House, screen: Screen) -> None:
    """Go to a screen, and wait until it stands."""
    await page.goto(home.at(screen.path))
    await expect(page.locator(screen.sign).first).to_be_visible()
    await settled(page)


async def settled(page: Page) -> None:
    """Nothing is on its way."""
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

Look = Callable[[Page, str], Awaitable[list[str]]]


async def everywhere(visit: Visit, home: House, look: Look, **options: Any) -> None:
    """`look(page, name)` at every screen, and at what opens over them: it finds nothing wrong
    anywhere. `options` are those of `visit`.
    """
    wrong: list[str] = []
    options = {"at": home.url, "password": home.password, "service_workers": "block"} | options
    for who, screens in ((home.owner, SCREENS), (home.viewer, OTHERS), (None, DOORS)):
        visitor = await visit(who, **options)
        visitor.statuses |= {401, 403, 404}
        visitor.allowed.append(NO_WORKER)
        page = visitor.page
        for name, one in screens.items():
            await show(page, home, one)
            wrong += [f"{name}: {each}" for each in await look(page, name)]
    visitor = await visit(home.owner, **options)
    visitor.allowed.append(NO_WORKER)
    page = visitor.page
    for name, (screen, open_it) in OPENED.items():
        await show(page, home, SCREENS[screen])
        await open_it(page)
        await expect(page.locator(OVER).first).to_be_visible()
        await settled(page)
        wrong += [f"{name}: {each}" for each in await look(page, name)]
    assert not wrong, "\n".join(wrong)
