"""Everybody can see it: large, in the system's own colours, without motion, and in a language whose
words are long.
"""

from __future__ import annotations

import json
import re
from math import ceil

import pytest
from playwright.async_api import Page, Route

from tests.test_demo import given, settings  # noqa: F401
from tests.web.conftest import Visit, module
from tests.web.screens import House, ask, everywhere, home, two_frames  # noqa: F401
from tests.web.test_files import words
from tests.web.test_pictures import keep

pytestmark = pytest.mark.timeout(900)

SPEAK = f'async () => {module("words.js")}.speak("en")'
ZOOMED = (320, 256)
"""A window of 1280 × 1024 at 400 %, as WCAG 1.4.10 has it."""


@pytest.mark.long
async def test_at_four_times_the_size_nothing_is_cut_or_out_of_reach(
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    async def look(page: Page, name: str) -> list[str]:
        await two_frames(page)
        await keep(page, f"{name}-zoomed")
        return await ask(page, "lost") + await ask(page, "hidden")

    width, height = ZOOMED
    await everywhere(visit, home, look, width=width, height=height)


def longer(text: str) -> str:
    """The same with words that are longer by two fifths; what is filled in stays."""

    def one(found: re.Match[str]) -> str:
        word = found[0]
        return word if word[0] == "{" else word + word[: ceil(0.4 * len(word))].lower()

    return re.sub(r"\{\w+\}|[^\W\d_]+", one, text)


def all_longer(entry: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(entry, str):
        return longer(entry)
    return {form: longer(text) for form, text in entry.items()}


@pytest.mark.long
async def test_long_words_break_nothing(
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    long_ones = {key: all_longer(entry) for key, entry in words("en").items()}

    async def lengthen(route: Route) -> None:
        await route.fulfill(body=json.dumps(long_ones), content_type="application/json")

    async def look(page: Page, name: str) -> list[str]:
        # What opens is found by its usual words.
        await page.route("**/lang/en.json", lengthen)
        await page.evaluate(SPEAK)
        wrong = []
        for width, height in ((390, 844), (1440, 900)):
            await page.set_viewport_size({"width": width, "height": height})
            await two_frames(page)
            await keep(page, f"{name}-{width}-long")
            wrong += [f"at {width}: {each}" for each in await ask(page, "lost")]
        await page.unroute("**/lang/en.json")
        return wrong

    await everywhere(visit, home, look)


@pytest.mark.long
async def test_nothing_moves_for_whoever_does_not_want_it(
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    async def look(page: Page, name: str) -> list[str]:
        return await ask(page, "moves")

    await everywhere(visit, home, look, reduced_motion="reduce")


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_in_the_systems_own_colours_all_is_seen(
    theme: str,
    home: House,  # noqa: F811
    visit: Visit,
) -> None:
    async def look(page: Page, name: str) -> list[str]:
        await page.emulate_media(forced_colors="none")
        await ask(page, "mark")
        await page.emulate_media(forced_colors="active")
        await two_frames(page)
        await keep(page, f"{name}-forced-{theme}")
        return await ask(page, "unseen")

    await everywhere(visit, home, look, color_scheme=theme)
