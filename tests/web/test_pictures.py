"""Each screen with a team's work on it, at the widths of phones and of walls: nothing is cut, and
nothing stands beside the page. ``WARMDESK_PICTURES=DIR`` keeps what was seen; the pictures of the
documents are made so.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.test_demo import given, settings  # noqa: F401
from tests.web.conftest import Visit
from tests.web.screens import SCREENS, House, ask, home, show, two_frames  # noqa: F401

WIDTHS = (320, 390, 1024, 1440, 2560)
HEIGHTS = {320: 640, 390: 844, 1024: 768, 1440: 900, 2560: 1440}

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
async def test_every_screen_at_every_width_in_both_themes(
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    wrong = []
    for theme in ("light", "dark"):
        visitor = await visit(home.owner, at=home.url, password=home.password, color_scheme=theme)
        visitor.statuses.add(404)
        page = visitor.page
        for name, screen in SCREENS.items():
            await show(page, home, screen)
            for width in WIDTHS:
                await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
                await two_frames(page)
                wrong += [f"{name} at {width}, {theme}: {each}" for each in await ask(page, "lost")]
                await keep(page, f"{name}-{width}-{theme}")
    assert not wrong, "\n".join(wrong)


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
