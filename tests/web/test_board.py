"""The board in the browser: cards are seen, made and moved, by mouse, by keyboard and by touch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import PATIENCE, Visit, Visitor, module

KEPT_SECONDS = 5
"""So long the page keeps a project of which nothing shows."""
RETRY_SECONDS = 8
"""So long it sends a request again by itself."""
COLUMNS = ("Backlog", "In Progress", "Review", "Done")


def column(page: Page, name: str) -> Locator:
    return page.locator("section.column", has=page.get_by_role("heading", name=name, exact=True))


def tile(page: Page, title: str) -> Locator:
    return page.locator(".tile", has=page.get_by_role("link", name=title, exact=True))


def link(page: Page, title: str) -> Locator:
    return page.locator(".tile-title", has_text=re.compile(f"^{re.escape(title)}$"))


async def titles(page: Page, name: str) -> list[str]:
    return await column(page, name).locator(".tile-title").all_inner_texts()


async def shows(page: Page, name: str, *wanted: str) -> None:
    """A column comes to show these cards, in this order, and no wish is left."""
    await expect(column(page, name).locator(".tile-title")).to_have_text(list(wanted))
    await expect(page.locator(".tile.wish")).to_have_count(0)


async def cards(board: Board, *names: str, column: int = 0) -> list[Any]:
    return [await board.card(name, column) for name in names]


async def there(alice: Person, board: Board, column_id: int) -> list[str]:
    """The titles of a column as the server has them."""
    shown = await alice.get(board.path)
    (found,) = (each for each in shown["columns"] if each["id"] == column_id)
    return [card["title"] for card in found["cards"]]


async def drag(page: Page, source: Locator, target: Locator, *, below: bool = False) -> None:
    start, end = await source.bounding_box(), await target.bounding_box()
    assert start is not None
    assert end is not None
    await page.mouse.move(start["x"] + 60, start["y"] + start["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(start["x"] + 80, start["y"] + start["height"] / 2 + 8, steps=3)
    y = end["y"] + end["height"] * (0.8 if below else 0.2)
    await page.mouse.move(end["x"] + 90, y, steps=8)
    await expect(page.locator(".drop-line")).to_be_visible()
    await page.mouse.up()


async def at_rest(scrolls: Locator) -> float:
    """Where something stands that was scrolled, once it moves no more."""
    stands = """element => new Promise((done) => {
      let before = -1;
      const look = () => {
        if (element.scrollTop === before) return done(before);
        before = element.scrollTop;
        setTimeout(look, 150);
      };
      look();
    })"""
    place: float = await scrolls.evaluate(stands)
    return place


async def test_a_card_is_made_and_others_see_it(alice: Person, board: Board, visit: Visit) -> None:
    mine, theirs = await visit("alice", "/p/demo"), await visit("bob", "/p/demo")

    await column(mine.page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    await mine.page.get_by_label("Title of the new card in Backlog").fill("Oil the hinge")
    await mine.page.keyboard.press("Enter")

    await shows(mine.page, "Backlog", "Oil the hinge")
    await shows(theirs.page, "Backlog", "Oil the hinge")
    assert await there(alice, board, board.backlog) == ["Oil the hinge"]


async def test_titles_that_were_refused_stand_before_what_is_typed_meanwhile(
    board: Board, visit: Visit
) -> None:
    mine = await visit("alice", "/p/demo")
    page = mine.page
    mine.statuses.add(500)
    held, go = asyncio.Event(), asyncio.Event()

    async def refuse(route: Route) -> None:
        held.set()
        await go.wait()
        await route.fulfill(status=500, json={"error": "no", "code": "internal"})

    await page.route("**/columns/*/cards", refuse)
    await column(page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    await column(page, "Backlog").locator("textarea").fill("Oil the hinge")
    await page.keyboard.press("Enter")
    await asyncio.wait_for(held.wait(), 60)
    await page.keyboard.press("Escape")  # another field goes on with the same
    await column(page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    field = column(page, "Backlog").locator("textarea")
    await expect(field).to_be_focused()
    await page.keyboard.type("Paint")
    go.set()

    await expect(field).to_have_value("Oil the hinge\nPaint")
    await page.reload()
    await column(page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    await expect(field).to_have_value("Oil the hinge\nPaint")


async def test_a_card_goes_by_the_mouse_to_where_it_is_dropped(
    alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One", "Two", "Three")
    await cards(board, "Far", "Further", column=board.review)
    mine, theirs = await visit("alice", "/p/demo"), await visit("bob", "/p/demo")

    await drag(mine.page, tile(mine.page, "Two"), tile(mine.page, "Further"))
    for page in (mine.page, theirs.page):
        await shows(page, "Review", "Far", "Two", "Further")
        await shows(page, "Backlog", "One", "Three")
    await drag(mine.page, tile(mine.page, "Two"), tile(mine.page, "Further"), below=True)
    await shows(theirs.page, "Review", "Far", "Further", "Two")
    await drag(mine.page, tile(mine.page, "One"), column(mine.page, "Done"))
    await shows(theirs.page, "Done", "One")

    assert await there(alice, board, board.review) == ["Far", "Further", "Two"]
    await expect(mine.page.locator(".ghost, .drop-line")).to_have_count(0)
    assert mine.page.url.endswith("/p/demo")


async def test_escape_ends_a_drag_and_a_click_opens_the_card(
    alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One", "Two")
    page = (await visit("alice", "/p/demo")).page

    box = await tile(page, "One").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 30, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 400, box["y"] + 40, steps=5)
    await page.keyboard.press("Escape")
    await expect(page.locator(".ghost")).to_have_count(0)
    await page.mouse.up()
    await shows(page, "Backlog", "One", "Two")
    assert page.url.endswith("/p/demo")

    await tile(page, "One").locator(".tile-facts").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await expect(page).to_have_url(re.compile("/p/demo/c/DEMO-1$"))


async def test_a_card_goes_by_the_keyboard(alice: Person, board: Board, visit: Visit) -> None:
    await cards(board, "One", "Two", "Three")
    await cards(board, "Far", "Further", column=board.progress)
    mine, theirs = await visit("alice", "/p/demo"), await visit("bob", "/p/demo")
    page, keys = mine.page, mine.page.keyboard
    said = page.locator("body > .said[role=status]")

    await link(page, "One").focus()
    await keys.press("ArrowDown")
    await expect(link(page, "Two")).to_be_focused()
    await keys.press("Space")
    await expect(tile(page, "Two")).to_have_class(re.compile("held keys"))
    await expect(said).to_contain_text("DEMO-2 lifted, position 2 of 3 in Backlog")
    await keys.press("ArrowRight")
    await expect(said).to_contain_text("In Progress, position 2 of 3")
    await keys.press("ArrowDown")
    await expect(said).to_contain_text("In Progress, position 3 of 3")
    await expect(link(page, "Two")).to_be_focused()
    assert await there(alice, board, board.progress) == ["Far", "Further"]
    await keys.press("Space")

    await expect(said).to_contain_text("DEMO-2 moved to In Progress, position 3 of 3")
    await shows(theirs.page, "In Progress", "Far", "Further", "Two")
    await expect(link(page, "Two")).to_be_focused()

    await keys.press("Space")
    await keys.press("ArrowUp")
    await keys.press("ArrowLeft")
    await keys.press("Escape")
    await expect(said).to_contain_text("DEMO-2 stays where it was")
    await shows(page, "In Progress", "Far", "Further", "Two")
    await expect(link(page, "Two")).to_be_focused()

    await keys.press("Shift+ArrowUp")
    await shows(theirs.page, "In Progress", "Far", "Two", "Further")
    await keys.press("Shift+ArrowLeft")
    await shows(theirs.page, "Backlog", "One", "Two", "Three")
    await expect(link(page, "Two")).to_be_focused()
    await keys.press("Home")
    await expect(link(page, "One")).to_be_focused()
    await keys.press("End")
    await expect(link(page, "Three")).to_be_focused()


async def test_what_is_lifted_or_written_stays_where_there_is_a_place_for_it(
    alice: Person, olga: Person, board: Board, visit: Visit
) -> None:
    one, two, _ = await cards(board, "One", "Two", "Three")
    made = await olga.post(f"{board.path}/columns", {"name": "Passing"})
    page = (await visit("alice", "/p/demo")).page
    keys, said = page.keyboard, page.locator("body > .said[role=status]")

    await link(page, "One").focus()
    await keys.press("Space")
    await expect(said).to_contain_text("DEMO-1 lifted")
    await alice.post(f"{board.path}/cards/{one['id']}/archive", status=200)
    await expect(said).to_contain_text("DEMO-1 is not on the board any more")
    await shows(page, "Backlog", "Two", "Three")
    await link(page, "Two").focus()
    await keys.press("ArrowDown")
    await expect(link(page, "Three")).to_be_focused()  # nothing is carried any more

    await keys.press("Space")
    for _ in range(4):
        await keys.press("ArrowRight")
    await expect(said).to_contain_text("Passing, position 1 of 1")
    await olga.delete(f"{board.path}/columns/{made['id']}")
    await expect(column(page, "Passing")).to_have_count(0)
    await keys.press("ArrowRight")
    await expect(said).to_contain_text("In Progress, position 1 of 1")
    await keys.press("Space")
    await shows(page, "In Progress", "Three")

    await tile(page, "Two").hover()
    await tile(page, "Two").get_by_role("button", name="Menu of DEMO-2").click()
    await page.get_by_role("menuitem", name="Add a card above").click()
    field = column(page, "Backlog").locator("textarea")
    await expect(field).to_be_focused()
    await keys.type("Four")
    await alice.delete(f"{board.path}/cards/{two['id']}")
    await expect(link(page, "Two")).to_have_count(0)
    await expect(field).to_have_value("Four")
    await keys.press("Enter")
    await shows(page, "Backlog", "Four")


async def test_a_card_goes_by_a_dialog_without_dragging(
    alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One", "Two")
    await cards(board, "Far", "Further", column=board.review)
    page = (await visit("alice", "/p/demo")).page

    await tile(page, "One").hover()
    await tile(page, "One").get_by_role("button", name="Menu of DEMO-1").click()
    await page.get_by_role("menuitem", name="Move…").click()
    dialog = page.get_by_role("dialog", name="Move DEMO-1")
    await dialog.get_by_label("Column").select_option("Review")
    await dialog.get_by_label("Place, 1 to 3").fill("2")
    await dialog.get_by_role("button", name="Move", exact=True).click()

    await shows(page, "Review", "Far", "One", "Further")
    await expect(link(page, "One")).to_be_focused()
    assert await there(alice, board, board.review) == ["Far", "One", "Further"]


async def touching(visitor: Visitor) -> Callable[[str, float, float], Awaitable[None]]:
    """A finger on somebody's screen."""
    session = await visitor.context.new_cdp_session(visitor.page)

    async def touch(kind: str, x: float, y: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return touch


PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}


async def test_a_card_goes_by_a_finger(alice: Person, board: Board, visit: Visit) -> None:
    await cards(board, *(f"Card {number}" for number in range(20)))
    mine = await visit("alice", "/p/demo", **PHONE)
    page, touch = mine.page, await touching(mine)
    box = await tile(page, "Card 2").bounding_box()
    assert box is not None
    x, y = box["x"] + 60, box["y"] + 20
    await touch("touchStart", x, y)
    await expect(page.locator(".ghost")).to_be_visible()
    for step in range(1, 6):
        await touch("touchMove", x, y + 30 * step)
    await expect(page.locator(".drop-line")).to_be_visible()
    await touch("touchEnd", x, y + 150)

    # It shows a frame after the drop.
    third = column(page, "Backlog").locator(".tile-title").nth(2)
    await expect(third).to_have_text("Card 3")
    await expect(page.locator(".tile.wish, .ghost")).to_have_count(0)
    now = await there(alice, board, board.backlog)
    assert now.index("Card 2") > 2
    assert page.url.endswith("/p/demo")


async def test_a_column_is_laid_out_whole_but_a_long_one(board: Board, visit: Visit) -> None:
    """What is out of sight costs less while the page is busy, and more with each change after."""
    await cards(board, *(f"Card {number}" for number in range(55)))
    page = (await visit("alice", "/p/demo")).page
    settled = page.locator(".column-cards.settled")
    await expect(settled).to_have_count(4)
    far = column(page, "Backlog").locator(".tile").last
    shown = "(tile) => getComputedStyle(tile).contentVisibility"
    assert await far.evaluate(shown) == "visible"
    await column(page, "Backlog").locator(".tile").last.scroll_into_view_if_needed()
    await expect(column(page, "Backlog").locator(".tile")).to_have_count(55)
    await expect(settled).to_have_count(3)
    assert await far.evaluate(shown) == "auto"


async def test_a_swipe_scrolls(board: Board, visit: Visit) -> None:
    await cards(board, *(f"Card {number}" for number in range(20)))
    mine = await visit("alice", "/p/demo", **PHONE)
    page, touch = mine.page, await touching(mine)
    box = await tile(page, "Card 3").bounding_box()
    assert box is not None
    x, y = box["x"] + 60, box["y"] + 20
    # All at once: a finger that waits for the answers of a busy page rests, and lifts the card.
    await asyncio.gather(
        touch("touchStart", x, y),
        *(touch("touchMove", x, y - 20 * step) for step in range(8)),
        touch("touchEnd", x, y),
    )

    list_ = column(page, "Backlog").locator("ul")
    await page.wait_for_function(
        "list => list.scrollTop > 50", arg=await list_.element_handle(), timeout=PATIENCE
    )
    assert await at_rest(list_) > 50
    await expect(page.locator(".ghost, .dragging")).to_have_count(0)


async def test_a_refused_move_is_said_and_undone(alice: Person, board: Board, visit: Visit) -> None:
    await cards(board, "One", "Two")
    mine = await visit("alice", "/p/demo")
    mine.statuses.add(500)
    page = mine.page
    await expect(link(page, "One")).to_be_visible()
    await page.route(
        "**/cards/*/move",
        lambda route: route.fulfill(status=500, json={"error": "no", "code": "internal"}),
    )

    await link(page, "One").focus()
    await page.keyboard.press("Shift+ArrowRight")

    await expect(page.get_by_role("alert")).to_contain_text("DEMO-1 was not changed")
    await shows(page, "Backlog", "One", "Two")


async def test_who_is_demoted_while_dragging_drops_nothing(
    olga: Person, alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One", "Two")
    mine = await visit("alice", "/p/demo")
    page = mine.page

    box = await tile(page, "One").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 30, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 400, box["y"] + 40, steps=5)
    await expect(page.locator(".ghost")).to_be_visible()
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})
    await expect(page.get_by_text("You can read this project.")).to_be_visible()
    await page.mouse.move(box["x"] + 410, box["y"] + 60, steps=2)
    await page.mouse.up()

    await expect(page.locator(".ghost")).to_have_count(0)
    await shows(page, "Backlog", "One", "Two")


async def test_the_card_that_i_drag_is_deleted(alice: Person, board: Board, visit: Visit) -> None:
    await cards(board, "One", "Two")
    page = (await visit("alice", "/p/demo")).page
    box = await tile(page, "One").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 30, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 400, box["y"] + 40, steps=5)
    await alice.delete(f"{board.path}/cards/DEMO-1")
    await shows(page, "Backlog", "Two")
    await page.mouse.move(box["x"] + 410, box["y"] + 60, steps=2)
    await expect(page.locator(".ghost")).to_have_count(0)
    await page.mouse.up()
    await shows(page, "In Progress")


async def test_a_viewer_reads_and_is_told_why_not_more(board: Board, visit: Visit) -> None:
    await cards(board, "One", "Two")
    page = (await visit("bob", "/p/demo")).page

    await expect(page.locator(".frame-bar")).to_contain_text("You can read this project.")
    await expect(page.get_by_role("button", name="New card")).to_have_count(0)
    await link(page, "One").focus()
    await page.keyboard.press("Space")
    await expect(page.locator(".tile.held")).to_have_count(0)
    await expect(page.locator(".toasts")).to_contain_text("You can read this project.")
    await page.keyboard.press("Shift+ArrowRight")
    await shows(page, "Backlog", "One", "Two")


async def test_the_focus_stays_with_its_card_whatever_others_do(
    alice: Person, board: Board, visit: Visit
) -> None:
    made = await cards(board, "One", "Two", "Three", "Four")
    page = (await visit("bob", "/p/demo")).page

    await link(page, "Two").focus()
    await alice.patch(f"{board.path}/cards/{made[1]['id']}/move", {"column_id": board.done})
    await expect(column(page, "Done").locator(".tile-title")).to_have_text(["Two"])
    await expect(link(page, "Two")).to_be_focused()
    await alice.patch(
        f"{board.path}/cards/{made[1]['id']}/move",
        {"column_id": board.backlog, "before_card_id": made[2]["id"]},
    )
    await shows(page, "Backlog", "One", "Two", "Three", "Four")
    await alice.delete(f"{board.path}/cards/{made[1]['id']}")
    await shows(page, "Backlog", "One", "Three", "Four")
    await expect(link(page, "Three")).to_be_focused()


async def test_the_filter_shows_what_fits_and_chosen_cards_change_together(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Paint the door", tags=["paint"])
    await board.card("Oil the hinge")
    await board.card("Paint the wall", assignee_ids=[alice.id])
    page = (await visit("alice", "/p/demo")).page
    keys = page.keyboard
    await expect(link(page, "Oil the hinge")).to_be_visible()

    await keys.press("/")
    await keys.type("paint")
    await shows(page, "Backlog", "Paint the door", "Paint the wall")
    await expect(page.locator(".board-found")).to_have_text("2 cards shown")
    await keys.press("Enter")
    await expect(link(page, "Paint the door")).to_be_focused()
    await keys.press("x")
    await keys.press("ArrowDown")
    await keys.press("x")
    bar = page.get_by_role("region", name="Selected cards")
    await expect(bar).to_contain_text("2 cards selected")
    await bar.get_by_role("button", name="Move to").click()
    await page.get_by_role("option", name="Done").click()
    await shows(page, "Done", "Paint the door", "Paint the wall")
    await page.get_by_role("button", name="Show all").click()
    await shows(page, "Backlog", "Oil the hinge")
    assert await there(alice, board, board.done) == ["Paint the door", "Paint the wall"]
    await bar.get_by_role("button", name="Select none").click()
    await expect(bar).to_have_count(0)


async def test_columns_come_change_move_and_go(olga: Person, board: Board, visit: Visit) -> None:
    await cards(board, "One")
    mine, theirs = await visit("olga", "/p/demo"), await visit("bob", "/p/demo")
    page = mine.page

    async def heads(*names: str) -> None:
        await expect(theirs.page.locator("section.column h2")).to_have_text(list(names))
        await expect(page.locator("section.column h2")).to_have_text(list(names))

    await heads(*COLUMNS)
    await page.get_by_role("button", name="New column").click()
    await page.get_by_role("dialog").get_by_label("Name").fill("Ideas")
    await page.get_by_role("dialog").get_by_label("Limit").fill("3")
    await page.get_by_role("button", name="Save").click()
    await heads(*COLUMNS, "Ideas")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await drag_column(page, "Ideas", "Backlog")
    await heads("Ideas", *COLUMNS)
    await page.get_by_role("button", name="Menu of Ideas").click()
    await page.get_by_role("menuitem", name="Move column on").click()
    await heads("Backlog", "Ideas", "In Progress", "Review", "Done")
    await page.get_by_role("button", name="Menu of Ideas").click()
    await page.get_by_role("menuitem", name="Edit column").click()
    await page.get_by_role("dialog").get_by_label("Name").fill("Dreams")
    await page.get_by_role("button", name="Save").click()
    await heads("Backlog", "Dreams", "In Progress", "Review", "Done")
    await page.get_by_role("button", name="Menu of Backlog").click()
    await page.get_by_role("menuitem", name="Delete column").click()
    await page.get_by_label("Where the cards of “Backlog” go").select_option("Dreams")
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await heads("Dreams", "In Progress", "Review", "Done")
    await shows(page, "Dreams", "One")


async def drag_column(page: Page, source: str, target: str) -> None:
    start = await column(page, source).locator("h2").bounding_box()
    end = await column(page, target).bounding_box()
    assert start is not None
    assert end is not None
    await page.mouse.move(start["x"] + 5, start["y"] + 5)
    await page.mouse.down()
    await page.mouse.move(end["x"] + 20, end["y"] + 10, steps=10)
    await expect(page.locator(".drop-line")).to_be_visible()
    await page.mouse.up()


async def test_what_is_typed_ahead_goes_into_the_field_and_does_nothing_else(
    alice: Person, board: Board, visit: Visit
) -> None:
    """On a page that is slow the field shows long after the key that asks for it."""
    (card,) = await cards(board, "One")
    visitor = await visit("alice", "/p/demo")
    page = visitor.page
    await link(page, "One").focus()
    before = await alice.get(f"{board.path}/cards/{card['id']}")
    session = await visitor.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": 6})

    await page.keyboard.press("n")
    await page.keyboard.type("calm axes xx")
    title = page.get_by_label("Title of the new card in Backlog")
    await expect(title).to_have_value("calm axes xx")
    await page.keyboard.press("Escape")
    await link(page, "One").focus()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("cix")
    goto = page.get_by_role("combobox", name="Go to")
    await expect(goto).to_have_value("cix")
    await page.keyboard.press("Escape")
    await expect(goto).to_have_count(0)
    await link(page, "One").focus()
    await page.keyboard.press("Control+k")
    await page.keyboard.type("onn")
    await page.keyboard.press("Backspace")
    await page.keyboard.type("e")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/c/DEMO-1$"))
    card_ = page.get_by_role("dialog")
    await card_.get_by_role("button", name="Add a description").click()
    await page.keyboard.type("please call him")
    await expect(card_.get_by_role("textbox", name="Description")).to_have_value("please call him")

    assert await alice.get(f"{board.path}/cards/{card['id']}") == before


async def test_who_leaves_before_all_is_sent_is_asked(board: Board, visit: Visit) -> None:
    await cards(board, "One")
    visitor = await visit("alice", "/p/demo")
    page = visitor.page
    visitor.allowed.append("ERR_INTERNET_DISCONNECTED")
    await link(page, "One").focus()
    await visitor.context.set_offline(True)
    await expect(page.get_by_text("You are offline")).to_be_visible()
    await page.keyboard.press("n")
    await page.keyboard.type("Made offline")
    await page.keyboard.press("Enter")
    await expect(page.locator(".tile.wish")).to_have_text(re.compile("Made offline"))
    async with page.expect_event("dialog") as asked:
        await page.close(run_before_unload=True)
    question = await asked.value
    assert question.type == "beforeunload"
    await question.dismiss()

    await visitor.context.set_offline(False)
    await expect(page.locator(".tile:not(.wish)")).to_have_count(2)


async def test_letters_after_each_other_are_keys_of_the_page(
    alice: Person, board: Board, visit: Visit
) -> None:
    """None asks for a field but the last."""
    (card,) = await cards(board, "One")
    page = (await visit("alice", "/p/demo")).page
    await link(page, "One").focus()
    await page.keyboard.type("xcxa")
    people = page.get_by_role("dialog")
    await expect(people).to_be_visible()
    await expect(tile(page, "One")).to_have_class(re.compile("closed"))
    await expect(page.locator(".bulk")).to_have_count(0)
    assert (await alice.get(f"{board.path}/cards/{card['id']}"))["closed"]


async def test_keys_are_helped_with_and_letters_can_be_turned_off(
    board: Board, visit: Visit
) -> None:
    await cards(board, "One")
    page = (await visit("alice", "/p/demo")).page
    await link(page, "One").focus()

    await page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keys")
    await expect(help_).to_contain_text("Lift a card, and drop it")
    await help_.get_by_label("Single letters do something").uncheck()
    await page.keyboard.press("Escape")
    await expect(help_).to_have_count(0)
    await link(page, "One").focus()
    await page.keyboard.press("x")
    await expect(page.locator(".bulk")).to_have_count(0)
    await page.get_by_role("button", name="Help and keys").click()
    await help_.get_by_label("Single letters do something").check()
    await page.keyboard.press("Escape")
    await expect(help_).to_have_count(0)
    await link(page, "One").focus()
    await page.keyboard.press("c")
    await expect(tile(page, "One")).to_have_class(re.compile("closed"))
    await page.keyboard.press("n")
    title = page.get_by_label("Title of the new card in Backlog")
    await expect(title).to_be_focused()
    await page.keyboard.type("x?/")
    await expect(title).to_have_value("x?/")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Go to").fill("one")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/c/DEMO-1$"))


RENDERS = f"async () => {module('view.js')}.work.renders"


async def renders_so_far(page: Page) -> int:
    """How much has been rendered, once nothing was for two seconds: what nobody waits for is asked
    for when the board stands.
    """
    last, now = -1, 0
    while now != last:
        last = now
        await asyncio.sleep(2)
        now = await page.evaluate(RENDERS)
    return now


@pytest.mark.parametrize("count", [12, 45])
async def test_what_others_do_renders_what_it_changes_and_no_more(
    alice: Person, board: Board, visit: Visit, count: int
) -> None:
    """Also where more stand in a column than in the page: none comes for the one that goes."""
    made = await cards(board, *(f"Card {number}" for number in range(count)))
    page = (await visit("bob", "/p/demo")).page
    await expect(link(page, "Card 11")).to_be_visible()
    await expect(page.locator(".pile").first).to_be_visible()
    kept = await tile(page, "Card 5").element_handle()
    assert kept is not None
    before = await renders_so_far(page)

    await alice.patch(
        f"{board.path}/cards/{made[2]['id']}/move", {"column_id": board.done, "index": 0}
    )
    await expect(column(page, "Done").locator(".tile-title")).to_have_text(["Card 2"])

    assert await page.evaluate(RENDERS) - before <= 3
    assert await kept.evaluate("element => element.isConnected")
    before = await renders_so_far(page)
    await alice.put(f"{board.path}/cards/{made[3]['id']}", {"title": "Another"})
    await expect(link(page, "Another")).to_be_visible()
    assert await page.evaluate(RENDERS) - before == 1


HEIGHTS = """() => {
  const list = document.querySelector(".column-cards");
  return [list.clientHeight, list.scrollHeight];
}"""


@pytest.mark.parametrize("height", [900, 2880])
async def test_a_column_fills_the_screen_twice_however_tall_it_is(
    board: Board, visit: Visit, height: int
) -> None:
    await cards(board, *(f"Card {number}" for number in range(100)))
    page = (await visit("bob", "/p/demo", height=height)).page
    await expect(link(page, "Card 29")).to_be_attached()

    seen, whole = await page.evaluate(HEIGHTS)
    assert 2 * seen <= whole <= 3.5 * height
    assert seen > height / 2
    await link(page, "Card 0").focus()
    await page.keyboard.press("End")
    await expect(link(page, "Card 99")).to_be_focused()


SHOWN_WITH = f"""async () => {{
  const {{ feed }} = {module("project.js")}.projectHere("demo");
  const {{ work }} = {module("view.js")};
  const [seq, frames] = [feed.seq, work.frames];
  window.watching = true;
  while (feed.seq === seq) await new Promise((done) => setTimeout(done));
  return work.frames - frames;
}}"""


async def test_what_others_do_is_rendered_in_the_frame_that_takes_it_in(
    alice: Person, board: Board, visit: Visit
) -> None:
    (card,) = await cards(board, "Before")
    page = (await visit("bob", "/p/demo")).page
    await expect(link(page, "Before")).to_be_visible()
    await renders_so_far(page)  # what a new socket is told of other projects has come
    rendered = asyncio.ensure_future(page.evaluate(SHOWN_WITH))
    while not await page.evaluate("() => window.watching"):
        await asyncio.sleep(0.01)

    await alice.put(f"{board.path}/cards/{card['id']}", {"title": "After"})

    assert await rendered == 1
    await expect(link(page, "After")).to_be_visible()


async def test_what_has_left_the_page_is_not_held(
    alice: Person, board: Board, visit: Visit
) -> None:
    made = await cards(board, *(f"Card {number}" for number in range(20)))
    visitor = await visit("bob", "/p/demo")
    page = visitor.page
    await expect(link(page, "Card 19")).to_be_visible()
    await page.evaluate(
        "() => { window.first = Array.from(document.querySelectorAll('.tile'), (one) => "
        "new WeakRef(one)); }"
    )
    for card in made[2:]:
        await alice.delete(f"{board.path}/cards/{card['id']}")
    await shows(page, "Backlog", "Card 0", "Card 1")

    session = await visitor.context.new_cdp_session(page)
    for _ in range(2):
        await session.send("HeapProfiler.collectGarbage")
    held = "() => window.first.filter((one) => one.deref()?.isConnected === false).length"
    assert await page.evaluate(held) <= 2


async def test_space_opens_the_menu_of_a_card_that_has_the_focus(
    board: Board, visit: Visit
) -> None:
    await cards(board, "One")
    page = (await visit("alice", "/p/demo")).page
    await tile(page, "One").locator(".tile-more").focus()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("menu")).to_be_visible()
    await expect(page.locator(".tile.lifted")).to_have_count(0)


async def test_a_key_that_is_held_acts_once(alice: Person, board: Board, visit: Visit) -> None:
    await cards(board, "One", "Two", "Three")
    page = (await visit("alice", "/p/demo")).page
    await link(page, "One").focus()
    await page.keyboard.down("#")
    for _ in range(5):
        await page.keyboard.down("#")  # the same key again: what a key that is held sends
    await page.keyboard.up("#")
    await shows(page, "Backlog", "Two", "Three")
    await page.keyboard.down("ArrowDown")
    await expect(link(page, "Three")).to_be_focused()
    assert await there(alice, board, board.backlog) == ["Two", "Three"]


async def test_a_card_that_is_dropped_below_a_column_is_its_last(
    alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One")
    await cards(board, "Done before", column=board.done)
    page = (await visit("alice", "/p/demo")).page
    start = await tile(page, "One").bounding_box()
    end = await column(page, "Done").bounding_box()
    assert start is not None
    assert end is not None
    await page.mouse.move(start["x"] + 60, start["y"] + 12)
    await page.mouse.down()
    await page.mouse.move(end["x"] + 90, end["y"] + end["height"] + 150, steps=8)
    await expect(page.locator(".drop-line")).to_be_visible()
    await page.mouse.up()
    await shows(page, "Done", "Done before", "One")
    assert await there(alice, board, board.done) == ["Done before", "One"]


async def test_a_card_is_dropped_beside_one_that_is_still_being_made(
    alice: Person, board: Board, visit: Visit
) -> None:
    await cards(board, "One", "Two")
    await cards(board, "Mine", column=board.done)
    page = (await visit("alice", "/p/demo")).page
    go = asyncio.Event()

    async def late(route: Route) -> None:
        await go.wait()
        await route.fallback()

    await page.route("**/columns/*/cards", late)
    await column(page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    await column(page, "Backlog").locator("textarea").fill("Coming")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await expect(column(page, "Backlog").locator(".tile-title")).to_have_text(
        ["One", "Two", "Coming"]
    )
    await drag(page, tile(page, "Mine"), column(page, "Backlog").locator(".tile").last, below=True)
    await expect(column(page, "Done").locator(".tile-title")).to_have_count(0)
    go.set()
    await expect(page.locator(".tile.wish")).to_have_count(0)
    assert await there(alice, board, board.backlog) == ["One", "Two", "Mine", "Coming"]


async def test_a_card_that_the_filter_hides_is_said(board: Board, visit: Visit) -> None:
    await cards(board, "Brick", "Window")
    page = (await visit("alice", "/p/demo")).page
    await page.locator(".board-filter").fill("brick")
    await expect(page.locator(".tile-title")).to_have_text(["Brick"])
    await column(page, "Backlog").get_by_role("button", name="New card", exact=True).click()
    await column(page, "Backlog").locator("textarea").fill("Hinge")
    await page.keyboard.press("Enter")
    toast = page.locator(".toast").filter(has_text="DEMO-3")
    await expect(toast).to_be_visible()
    await toast.get_by_role("button", name="Show all").click()
    await shows(page, "Backlog", "Brick", "Window", "Hinge")


async def test_what_waits_is_done_though_i_am_elsewhere(
    alice: Person, board: Board, visit: Visit
) -> None:
    """A page keeps a project some seconds after nothing of it shows, and longer while it must."""
    await cards(board, "One")
    visitor = await visit("alice", "/p/demo")
    page = visitor.page
    away = re.compile("/cards/[0-9]+/move$")
    await page.route(away, lambda route: route.abort())
    await link(page, "One").focus()
    async with page.expect_request(away):
        await page.keyboard.press("Shift+ArrowRight")
    await page.keyboard.press("g")
    await page.keyboard.press("p")
    await expect(page.get_by_role("heading", name="Projects", level=1)).to_be_visible()
    await asyncio.sleep(KEPT_SECONDS + RETRY_SECONDS)
    await page.unroute(away)
    async with asyncio.timeout(60):
        while await there(alice, board, board.progress) != ["One"]:
            await asyncio.sleep(0.2)
