"""A card in the browser: everything on it is written, seen by others at once, and never lost."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import Locator, Page, Route, expect

from tests.conftest import Board, Wait
from tests.person import Person
from tests.web.conftest import Visit, by_label


def dialog(page: Page) -> Locator:
    return page.locator("dialog.card-dialog")


async def test_what_is_written_on_a_card_others_see(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    mine, theirs = await visit("alice", "/p/demo/c/DEMO-1"), await visit("bob", "/p/demo/c/DEMO-1")
    page, other = mine.page, dialog(theirs.page)

    await page.get_by_label("Title", exact=True).fill("Fix the front door")
    await page.keyboard.press("Enter")
    await expect(other.get_by_role("heading", name="Fix the front door")).to_be_visible()
    await page.get_by_role("button", name="Add a description").click()
    await page.get_by_role("textbox", name="Description", exact=True).fill("It **squeaks**.")
    await page.keyboard.press("Control+Enter")
    await expect(other.locator(".md strong")).to_have_text("squeaks")
    await page.get_by_role("button", name="Add a checklist").click()
    await expect(by_label(page, "New step")).to_be_focused()
    for step in ("Oil", "Test"):
        await page.keyboard.type(step)
        await page.keyboard.press("Enter")
    await expect(other.locator(".card-item")).to_have_text(["Oil", "Test"])
    await page.get_by_role("checkbox", name="Oil").check()
    await expect(other.get_by_role("checkbox", name="Oil")).to_be_checked()
    await page.get_by_role("button", name="Menu of the step “Test”").click()
    await page.get_by_role("menuitem", name="Move up").click()
    await expect(other.locator(".card-item")).to_have_text(["Test", "Oil"])
    await page.get_by_label("Priority").last.select_option("High")
    await expect(other.locator(".card-side")).to_contain_text("High")
    await page.get_by_label("Due date").fill("2026-12-31")
    await page.keyboard.press("Tab")
    await expect(other.get_by_label("Due date")).to_have_value("2026-12-31")
    await page.get_by_label("Add a tag").fill("hinge, wood")
    await page.keyboard.press("Enter")
    await expect(other.locator(".card-tag")).to_have_text(["#hinge", "#wood"])
    await page.get_by_role("button", name=re.compile("^Assigned to")).click()
    await page.get_by_role("option", name=re.compile("^Alice")).click()
    await page.keyboard.press("Escape")
    await expect(other.locator(".card-people")).to_contain_text("Alice")
    await page.get_by_role("button", name=re.compile("^Labels")).last.click()
    await page.get_by_role("combobox", name="Labels").fill("Urgent")
    await page.get_by_role("option", name="Create “Urgent”").click()
    await page.keyboard.press("Escape")
    await expect(other.locator(".card-labels")).to_contain_text("Urgent")
    async with page.expect_response("**/watch"):
        await page.get_by_role("button", name="Watch", exact=True).click()
    await expect(page.get_by_role("button", name="Watching")).to_be_visible()

    card = await alice.get(f"{board.path}/cards/DEMO-1")
    assert card["title"] == "Fix the front door"
    assert card["description"] == "It **squeaks**."
    assert [item["body"] for item in card["checklist"]] == ["Test", "Oil"]
    assert (card["priority"], card["due_date"]) == ("high", "2026-12-31")
    assert [tag["name"] for tag in card["tags"]] == ["hinge", "wood"]
    assert card["assignee_id"] == alice.id
    assert card["watching"]


async def test_comments_have_time_and_files_have_progress(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    mine, theirs = await visit("alice", "/p/demo/c/DEMO-1"), await visit("bob", "/p/demo/c/DEMO-1")
    page, other = mine.page, dialog(theirs.page)

    comment = page.get_by_role("textbox", name="Comment on DEMO-1")
    await comment.fill("Done, and oiled.")
    await page.get_by_placeholder("0:30").fill("1:15")
    await expect(page.locator(".card-time")).to_contain_text("1.25")
    await page.keyboard.press("Tab")
    await comment.press("Control+Enter")
    await expect(other.locator(".talk-row")).to_contain_text("Done, and oiled.")
    await expect(other.locator(".card-spent")).to_be_visible()
    await page.locator(".card-attach input").set_input_files(
        {"name": "door.txt", "mimeType": "text/plain", "buffer": b"A door."}
    )
    await expect(other.locator(".card-file-name")).to_have_text("door.txt")
    await page.get_by_role("button", name="Add a link").click()
    await page.get_by_label("Address").fill("https://github.com/example/door/pull/42")
    await page.keyboard.press("Enter")
    await expect(other.locator(".card-links a")).to_have_text("example/door#42")
    await page.get_by_role("tab", name="History").click()
    await expect(page.locator(".facts")).to_contain_text("commented")
    await expect(page.locator(".facts")).to_contain_text("attached")

    card = await alice.get(f"{board.path}/cards/DEMO-1")
    assert card["time_spent_minutes"] == 75
    assert card["attachments"][0]["filename"] == "door.txt"


async def both_write(
    alice: Person, board: Board, visit: Visit, old: str, mine: str, theirs: str
) -> tuple[Page, Locator]:
    """A description that two changed: the page of one that was refused, and their text."""
    await board.card("Fix the door", description=old)
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(409)
    page = visitor.page
    await page.get_by_role("button", name="Edit the description").click()
    text = page.get_by_role("textbox", name="Description", exact=True)
    await text.fill(mine)
    await alice.put(f"{board.path}/cards/DEMO-1", {"description": theirs})
    await expect(page.get_by_text("Somebody changed this text while you write.")).to_be_visible()
    await page.get_by_role("button", name="Save").click()
    return page, text


async def test_who_both_write_see_both_texts(
    alice: Person, board: Board, visit: Visit, eventually: Wait
) -> None:
    page, text = await both_write(alice, board, visit, "Old", "Mine", "Theirs")
    both = page.get_by_role("alert").filter(has_text="Somebody else changed it")
    await expect(both).to_contain_text("Theirs")
    await expect(text).to_have_value("Mine")
    await page.reload()
    await expect(text).to_have_value("Mine")
    await page.get_by_role("button", name="Save").click()
    await both.get_by_role("button", name="Save mine").click()

    await expect(page.locator(".card-main .md").first).to_have_text("Mine")

    async def is_mine() -> bool:
        return bool((await alice.get(f"{board.path}/cards/DEMO-1"))["description"] == "Mine")

    await eventually(is_mine)


async def test_both_texts_are_put_together_line_by_line(
    alice: Person, board: Board, visit: Visit
) -> None:
    page, text = await both_write(
        alice, board, visit, "First\nLast", "First\nMine\nLast", "First\nLast\n\nLast\nTheirs"
    )
    await page.get_by_role("button", name="Put both together").click()

    await expect(text).to_have_value("First\nMine\nLast\n\nLast\nTheirs")


async def test_a_foreign_title_leaves_alone_what_i_type(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    mine = await visit("alice", "/p/demo/c/DEMO-1")
    title = mine.page.get_by_label("Title", exact=True)

    await title.fill("What I am typing")
    await alice.put(f"{board.path}/cards/DEMO-1", {"title": "Theirs", "priority": "low"})
    await expect(mine.page.get_by_label("Priority").last).to_have_value("low")
    await expect(title).to_have_value("What I am typing")
    mine.statuses.add(409)
    await title.press("Enter")
    await mine.page.get_by_role("button", name="Take theirs").click()
    await expect(title).to_have_value("Theirs")


async def test_what_is_typed_while_a_title_is_saved_follows_it(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    mine = await visit("alice", "/p/demo/c/DEMO-1")
    page = mine.page
    title = page.get_by_label("Title", exact=True)
    held, go = asyncio.Event(), asyncio.Event()
    refuse = False

    async def hold(route: Route) -> None:
        if route.request.method != "PUT":
            return await route.fallback()
        held.set()
        await go.wait()
        if refuse:
            return await route.fulfill(status=500, json={"error": "no", "code": "internal"})
        return await route.fallback()

    await page.route("**/cards/*", hold)
    await title.fill("One")
    await title.press("Enter")
    await held.wait()
    await title.fill("One two")
    await title.press("Enter")
    go.set()
    await shows_title(alice, board, "One two")  # and no conflict with myself was told

    held.clear()
    go.clear()
    refuse = True
    mine.statuses.add(500)
    await title.fill("Three")
    await title.press("Enter")
    await held.wait()
    await title.fill("Three four")
    go.set()
    await expect(page.get_by_role("region", name="Notices")).to_contain_text("The server failed")
    await expect(title).to_have_value("Three four")
    refuse = False
    await title.press("Enter")
    await shows_title(alice, board, "Three four")


async def shows_title(alice: Person, board: Board, title: str) -> None:
    """The card comes to have this title."""
    async with asyncio.timeout(20):
        while (await alice.get(f"{board.path}/cards/DEMO-1"))["title"] != title:
            await asyncio.sleep(0.05)


async def test_a_card_that_is_deleted_says_so_and_the_keyboard_goes_back(
    alice: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    await board.card("Oil the hinge")
    mine = await visit("alice", "/p/demo")
    mine.statuses.add(404)
    page = mine.page
    await page.locator(".tile-title").first.focus()
    await page.keyboard.press("Enter")
    await expect(dialog(page)).to_be_visible()
    await alice.delete(f"{board.path}/cards/DEMO-1")

    await expect(page.get_by_role("dialog")).to_contain_text("DEMO-1 was deleted")
    await page.get_by_role("button", name="To the board").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".tile-title")).to_have_text(["Oil the hinge"])
    await page.goto(f"{mine.url}/p/demo/c/DEMO-1")
    await expect(page.get_by_role("dialog")).to_contain_text("There is no card DEMO-1")


async def test_copy_archive_and_delete_and_back_again(
    olga: Person, board: Board, visit: Visit
) -> None:
    await board.card("Fix the door")
    page = (await visit("olga", "/p/demo/c/DEMO-1")).page

    async def deed(key: str, name: str) -> None:
        await dialog(page).get_by_role("button", name=f"Menu of {key}").click()
        await page.get_by_role("menuitem", name=name, exact=True).click()

    await deed("DEMO-1", "Copy")
    await expect(page).to_have_url(re.compile("/c/DEMO-2$"))
    await deed("DEMO-2", "Archive")
    await expect(page.locator(".tile-title")).to_have_text(["Fix the door"])
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator(".tile-title")).to_have_text(["Fix the door", "Fix the door (copy)"])
    await page.get_by_role("link", name="Fix the door (copy)").click()
    await deed("DEMO-2", "Delete")
    await expect(page.locator(".tile-title")).to_have_text(["Fix the door"])
    gone = page.locator(".toast", has_text="DEMO-2 is deleted")
    await gone.get_by_role("button", name="Undo").click()
    await expect(page.locator(".tile-title")).to_have_text(["Fix the door", "Fix the door (copy)"])


async def test_a_viewer_reads_a_card_and_changes_nothing(board: Board, visit: Visit) -> None:
    await board.card("Fix the door", description="Text")
    page = (await visit("bob", "/p/demo/c/DEMO-1")).page

    await expect(dialog(page).get_by_role("heading", name="Fix the door")).to_be_visible()
    await expect(dialog(page).get_by_label("Due date")).to_be_disabled()
    await expect(dialog(page).locator("textarea")).to_have_count(0)
    await page.get_by_role("button", name="Watch", exact=True).click()
    await expect(page.get_by_role("button", name="Watching")).to_be_visible()


async def test_the_activity_of_a_project_follows(alice: Person, board: Board, visit: Visit) -> None:
    page = (await visit("bob", "/p/demo/activity")).page
    await expect(page.get_by_text("Nothing happened yet")).to_be_visible()
    await board.card("Fix the door")
    await expect(page.locator(".fact")).to_contain_text("Alice created it")
    await page.get_by_role("link", name="DEMO-1 Fix the door").click()
    await expect(dialog(page)).to_be_visible()
