"""The board in the browser: cards are seen, made and moved, by mouse, by keyboard and by touch."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import Visit


def column(page: Page, name: str) -> Locator:
    return page.locator("section.column", has=page.get_by_role("heading", name=name, exact=True))


async def titles(page: Page, name: str) -> list[str]:
    return await column(page, name).locator(".tile-title").all_inner_texts()


async def test_a_card_is_made_and_others_see_it(alice: Person, board: Board, visit: Visit) -> None:
    mine, theirs = await visit("alice", "/p/demo"), await visit("bob", "/p/demo")
    first = (await mine.page.locator("section.column h2").all_inner_texts())[0]

    await column(mine.page, first).get_by_role("button", name="New card", exact=True).click()
    await mine.page.keyboard.type("Oil the hinge")
    await mine.page.keyboard.press("Enter")

    await expect(column(theirs.page, first).get_by_text("Oil the hinge")).to_be_visible()
    await expect(column(mine.page, first).locator(".tile.wish")).to_have_count(0)
    assert (await titles(mine.page, first)).count("Oil the hinge") == 1
