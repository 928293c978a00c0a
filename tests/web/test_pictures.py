"""Each screen with a team's work on it, at the widths of phones and of walls: nothing is cut, and
nothing stands beside the page. ``WARMDESK_PICTURES=DIR`` keeps what was seen; the pictures of the
documents are made so.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.conftest import serving
from tests.journeys.running import command
from tests.person import Person
from tests.test_demo import given, settings  # noqa: F401
from tests.web.conftest import Visit
from warmdesk.config import Settings

WIDTHS = (320, 390, 1024, 1440, 2560)
HEIGHTS = {320: 640, 390: 844, 1024: 768, 1440: 900, 2560: 1440}
SCREENS = {
    "projects": "/",
    "board": "/p/{slug}",
    "card": "/p/{slug}/c/{key}",
    "chat": "/p/{slug}/chat",
    "topics": "/p/{slug}/topics",
    "activity": "/p/{slug}/activity",
    "settings": "/p/{slug}/settings",
    "messages": "/messages",
    "notifications": "/notifications",
    "search": "/search?q=shelf",
    "time": "/time",
    "me": "/me",
    "admin": "/admin",
}
CUT = """() => {
  const page = document.documentElement;
  const found = [];
  if (page.scrollWidth > page.clientWidth) found.push(`the page is ${page.scrollWidth} wide`);
  for (const each of document.querySelectorAll("button, h1, h2, [role=tab], nav a, label")) {
    const box = each.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    const style = getComputedStyle(each);
    if (style.textOverflow === "ellipsis" || style.clipPath !== "none") continue;
    if (each.closest(".sr, .sr-only, [hidden], [aria-hidden=true]")) continue;
    if (each.scrollWidth > each.clientWidth + 2 && style.overflowX !== "visible"
        && style.overflowX !== "auto" && style.overflowX !== "scroll")
      found.push(`cut: ${each.outerHTML.slice(0, 120)}`);
  }
  return found;
}"""

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
async def test_every_screen_at_every_width_in_both_themes(
    given: dict[str, Any],  # noqa: F811
    settings: Settings,  # noqa: F811
    visit: Visit,
) -> None:
    status, out, aside = await command("demo", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    wrong = []
    async with serving(settings) as door:
        nora = Person(door.url, made["username"], password=made["password"])
        cards = await nora.get(f"/projects/{made['slug']}/cards?limit=50")
        fullest = max(cards, key=lambda each: each["comment_count"] + each["checklist_total"])
        for theme in ("light", "dark"):
            visitor = await visit(
                made["username"], at=door.url, password=made["password"], color_scheme=theme
            )
            page = visitor.page
            for name, path in SCREENS.items():
                await page.goto(door.url + path.format(slug=made["slug"], key=fullest["key"]))
                await expect(page.locator("main")).to_be_visible()
                await expect(page.locator("[aria-busy=true], .skeleton")).to_have_count(0)
                for width in WIDTHS:
                    await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
                    await two_frames(page)
                    wrong += [
                        f"{name} at {width}, {theme}: {each}" for each in await page.evaluate(CUT)
                    ]
                    await keep(page, f"{name}-{width}-{theme}")
    assert wrong == []


async def two_frames(page: Page) -> None:
    """The page is laid out anew."""
    await page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


DOCUMENTED = {
    "board-1440-light": "board",
    "card-1440-dark": "card-dark",
    "board-390-light": "phone",
}
"""Those that the documents show, by their names there."""


async def keep(page: Page, name: str) -> None:
    name = DOCUMENTED.get(name, name)
    if folder := os.environ.get("WARMDESK_PICTURES"):
        await asyncio.to_thread(Path(folder).mkdir, parents=True, exist_ok=True)
        await page.screenshot(path=Path(folder) / f"{name}.png")
