"""Everybody can see it: large, in the system's own colours, without motion, and in a language whose
words are long.
"""

from __future__ import annotations

import json
import re
from math import ceil
from typing import Any

import pytest
from playwright.async_api import Page, Route

from tests.test_demo import given, settings  # noqa: F401
from tests.web.conftest import Visit, module
from tests.web.screens import ask, everywhere, house, two_frames
from tests.web.test_files import words
from tests.web.test_pictures import keep
from warmdesk.config import Settings

pytestmark = pytest.mark.timeout(900)

SPEAK = f'async () => {module("words.js")}.speak("en")'
ZOOMED = (320, 256)
"""A window of 1280 × 1024 at 400 %, as WCAG 1.4.10 has it."""


@pytest.mark.long
async def test_at_four_times_the_size_nothing_is_cut_or_out_of_reach(
    given: dict[str, Any],  # noqa: F811
    settings: Settings,  # noqa: F811
    visit: Visit,
) -> None:
    wrong: list[str] = []

    async def look(page: Page, name: str) -> None:
        await two_frames(page)
        await keep(page, f"{name}-zoomed")
        for question in ("lost", "hidden"):
            wrong.extend(f"{name}: {each}" for each in await ask(page, question))

    async with house(given, settings) as home:
        width, height = ZOOMED
        await everywhere(visit, home, look, width=width, height=height)
    assert not wrong, "\n".join(wrong)


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
    given: dict[str, Any],  # noqa: F811
    settings: Settings,  # noqa: F811
    visit: Visit,
) -> None:
    wrong: list[str] = []
    long_ones = {key: all_longer(entry) for key, entry in words("en").items()}

    async def lengthen(route: Route) -> None:
        await route.fulfill(body=json.dumps(long_ones), content_type="application/json")

    async def look(page: Page, name: str) -> None:
        # What opens is found by its usual words.
        await page.route("**/lang/en.json", lengthen)
        await page.evaluate(SPEAK)
        for width, height in ((390, 844), (1440, 900)):
            await page.set_viewport_size({"width": width, "height": height})
            await two_frames(page)
            await keep(page, f"{name}-{width}-long")
            wrong.extend(f"{name} at {width}: {each}" for each in await ask(page, "lost"))
        await page.unroute("**/lang/en.json")

    async with house(given, settings) as home:
        await everywhere(visit, home, look)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
async def test_nothing_moves_for_whoever_does_not_want_it(
    given: dict[str, Any],  # noqa: F811
    settings: Settings,  # noqa: F811
    visit: Visit,
) -> None:
    wrong: list[str] = []

    async def look(page: Page, name: str) -> None:
        wrong.extend(f"{name}: {each}" for each in await ask(page, "moves"))

    async with house(given, settings) as home:
        await everywhere(visit, home, look, reduced_motion="reduce")
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
async def test_in_the_systems_own_colours_all_is_seen(
    given: dict[str, Any],  # noqa: F811
    settings: Settings,  # noqa: F811
    visit: Visit,
) -> None:
    wrong: list[str] = []

    async def look(page: Page, name: str) -> None:
        await page.emulate_media(forced_colors="none")
        await ask(page, "mark")
        await page.emulate_media(forced_colors="active")
        await two_frames(page)
        await keep(page, f"{name}-forced")
        wrong.extend(f"{name}: {each}" for each in await ask(page, "unseen"))

    async with house(given, settings) as home:
        await everywhere(visit, home, look)
    assert not wrong, "\n".join(wrong)
