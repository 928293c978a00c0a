"""Answers that never arrive, and requests that overtake each other: what was wished for is done
once, and the last wish is what remains.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from playwright.async_api import FilePayload, Page, Request, Route, WebSocketRoute, expect

from tests.conftest import Board, Wait
from tests.person import Person
from tests.web.conftest import PATIENCE, Visit, by_label
from tests.web.test_pages import agree, button


async def lose(page: Page, path: str, method: str = "POST", *, status: int = 0) -> None:
    """The server has the first such request, and its answer is lost, or is an error of what stands
    before the server.
    """
    done: list[Request] = []

    async def once(route: Route) -> None:
        if route.request.method != method or done:
            await route.fallback()
            return
        done.append(route.request)
        await route.fetch()
        if status:
            await route.fulfill(status=status, json={"error": "lost"})
        else:
            await route.abort("connectionreset")

    await page.route(path, once)


def without(word: str) -> Callable[[WebSocketRoute], None]:
    """A line on which nothing comes any more from the first event of this kind on."""
    lost: list[str | bytes] = []

    def carry(line: WebSocketRoute) -> None:
        server = line.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            if word in str(frame) or lost:
                lost.append(frame)
            else:
                line.send(frame)

        server.on_message(pass_on)

    return carry


class Held:
    """The first request that is kept: `came()` waits for it, `go()` lets it go on."""

    def __init__(self) -> None:
        self.here, self.on = asyncio.Event(), asyncio.Event()

    async def came(self) -> None:
        await asyncio.wait_for(self.here.wait(), PATIENCE / 1000)

    def go(self) -> None:
        self.on.set()


async def hold(page: Page, path: str, which: Callable[[Request], bool] = lambda _: True) -> Held:
    """Keep the first such request."""
    held = Held()

    async def keep(route: Route) -> None:
        if which(route.request) and not held.here.is_set():
            held.here.set()
            await held.on.wait()
        await route.fallback()

    await page.route(path, keep)
    return held


# Once


async def test_my_key_is_made_once(visit: Visit, board: Board, alice: Person) -> None:
    page = (await visit("alice", "/me/keys")).page
    await lose(page, "**/auth/api-keys")
    await by_label(page, "Name").fill("CI")
    await page.get_by_role("button", name="Create the key").click()

    await expect(page.locator(".me-secret code")).to_contain_text("wd_")
    (kept,) = await alice.get("/auth/api-keys")
    assert kept["name"] == "CI"


async def test_a_key_of_a_project_is_made_once(visit: Visit, board: Board, olga: Person) -> None:
    visitor = await visit("olga", "/p/demo/settings/keys")
    visitor.statuses.add(500)
    page = visitor.page
    await lose(page, "**/api-keys", status=500)
    await button(page, "New API key").click()
    await by_label(page, "Name").fill("CI")
    make = button(page.get_by_role("dialog"), "Make the key")
    await make.click()
    await expect(page.get_by_role("dialog").locator(".forms-error")).to_be_visible()
    await make.click()

    await expect(by_label(page, "Key")).to_have_value(re.compile("^wd_"))
    assert len(await olga.get(f"{board.path}/api-keys")) == 1


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "untold"])
async def test_a_file_whose_answer_was_lost_is_there_once(
    visit: Visit, board: Board, alice: Person, is_told: bool
) -> None:
    card = await board.card("Fix the door")
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    path = f"{board.path}/cards/{card['id']}/attachments"
    if not is_told:
        await page.route_web_socket("**/ws/demo*", without("attachment_added"))
        await page.reload()
        await expect(page.locator(".card-attach")).to_be_visible()
    await lose(page, f"**{path}")
    file: FilePayload = {"name": "door.txt", "mimeType": "text/plain", "buffer": b"A door."}
    for count in (1, 2):
        await page.locator(".card-attach input").set_input_files(file)
        if count == 1 and not is_told:
            await button(page, "Try again").click()
        await expect(page.locator(".card-file.coming")).to_have_count(0)
        await expect(page.locator(".card-file-name")).to_have_text(["door.txt"] * count)
        assert len(await alice.get(path)) == count


async def test_a_link_is_made_once(visit: Visit, board: Board, alice: Person) -> None:
    card = await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(500)
    page = visitor.page
    await lose(page, "**/links", status=500)
    await button(page, "Add a link").click()
    await by_label(page, "Address").fill("https://example.org/door")
    await page.keyboard.press("Enter")
    await expect(page.locator(".card-links ~ form [role=alert]")).to_be_visible()
    await button(page, "Add").last.click()

    await expect(button(page, "Add a link")).to_be_visible()
    assert len(await alice.get(f"{board.path}/cards/{card['id']}/links")) == 1


async def test_a_card_is_copied_once(visit: Visit, board: Board, alice: Person) -> None:
    await alice.post("/projects", {"name": "Attic", "key_prefix": "ATT"})
    await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(500)
    page = visitor.page
    await lose(page, "**/transfer", status=500)
    await page.locator("dialog.card-dialog").get_by_role("button", name="Menu of DEMO-1").click()
    await page.get_by_role("menuitem", name="To another project").click()
    dialog = page.get_by_role("dialog", name="DEMO-1 to another project")
    await dialog.get_by_label("What is done").select_option("copy")
    await dialog.locator("button[type=submit]").click()
    await expect(dialog.get_by_role("alert").first).to_be_visible()
    await dialog.locator("button[type=submit]").click()

    await expect(dialog).to_have_count(0)
    assert len(await alice.get("/projects/attic/cards")) == 1


# The last wish


async def test_projects_that_are_chosen_fast_are_all_chosen(
    visit: Visit, board: Board, root: Person, olga: Person, eventually: Wait
) -> None:
    await olga.post("/projects", {"name": "Attic"})
    page = (await visit("root", "/admin")).page
    held = await hold(page, "**/users/5/projects", lambda request: request.method == "PUT")
    await button(page, "Eve").click()
    await page.get_by_title("Projects of this account").click()
    for name in ("Demo", "Attic"):
        option = page.get_by_role("option", name=name)
        await option.click()
        await held.came()
        await expect(option).to_have_attribute("aria-selected", "true")
    held.go()

    async def both() -> bool:
        there = await root.get("/users/5/projects")
        return {each["slug"] for each in there} == {"demo", "attic"}

    await eventually(both)
    for name in ("Demo", "Attic"):
        await expect(page.get_by_role("option", name=name)).to_contain_text("Member")


async def test_a_search_that_was_taken_back_did_not_fail(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/search")).page
    held = await hold(page, "**/api/v1/search?*")
    field = page.get_by_label("Search cards, comments, topics and messages")
    await field.fill("zebra")
    await held.came()
    await field.fill("")

    await expect(page).to_have_url(re.compile("/search$"))
    await expect(page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    await expect(page.locator(".failed")).to_have_count(0)
    held.go()


@pytest.mark.parametrize(
    ("who", "path", "label"),
    [
        ("root", "/admin/users", "Find an account"),
        ("root", "/admin/projects", "Find a project"),
        ("olga", "/p/demo/settings/people", "Find a member"),
    ],
)
async def test_what_is_typed_to_find_something_stays(
    visit: Visit, board: Board, who: str, path: str, label: str
) -> None:
    page = (await visit(who, path)).page
    field = by_label(page, label)
    await field.focus()
    text = ""
    for part in ("al", "ic", "e"):
        text += part
        async with page.expect_response(re.compile(f"[?&]q={text}(&|$)")):
            await page.keyboard.type(part)

    await expect(field).to_have_value("alice")


# What was typed


async def test_the_minutes_stay_what_they_are_when_the_end_changes(
    visit: Visit, board: Board, alice: Person
) -> None:
    entry = {"minutes": 60, "project": "demo", "start_time": "09:00", "end_time": "11:00"}
    made = await alice.post("/time-entries", entry)
    page = (await visit("alice", "/time")).page
    await page.get_by_role("button", name="Edit the time of").click()
    await page.get_by_role("dialog").get_by_label("To", exact=True).fill("12:00")
    await button(page.get_by_role("dialog"), "Save").click()
    await expect(page.locator(".time-span")).to_have_text("09:00–12:00")

    assert (await alice.get(f"/time-entries/{made['id']}"))["minutes"] == 60


async def test_a_column_with_archived_cards_asks_where_they_go(
    visit: Visit, board: Board, olga: Person
) -> None:
    card = await board.card("Old door", board.review)
    await board.maker.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    visitor = await visit("olga", "/p/demo/settings/columns")
    visitor.statuses.add(409)
    page = visitor.page
    await button(page, "Delete Review").click()
    await agree(page, "Delete")
    await by_label(page, "Its cards go to").select_option(label="Done")
    await expect(page.get_by_text("The cards that it has are in the archive.")).to_be_visible()
    await button(page.get_by_role("dialog"), "Delete").click()

    await expect(page.get_by_text("Review", exact=True)).to_have_count(0)
    assert (await olga.get(f"{board.path}/cards/{card['id']}"))["column_id"] == board.done


async def test_chosen_cards_are_assigned_to_one_person(
    visit: Visit, board: Board, alice: Person, olga: Person, eventually: Wait
) -> None:
    for title in ("One", "Two"):
        await board.card(title, assignee_ids=[alice.id])
    page = (await visit("alice", "/p/demo")).page
    for title in ("One", "Two"):
        await page.get_by_role("link", name=title).focus()
        await page.keyboard.press("x")
    bar = page.get_by_role("region", name="Selected cards")

    async def assigned(*ids: int) -> None:
        async def are() -> bool:
            cards = await alice.get(f"{board.path}/cards")
            return all([one["id"] for one in card["assignees"]] == [*ids] for card in cards)

        await eventually(are)

    for name, ids in (("Olga", [olga.id]), ("Nobody", [])):
        await bar.get_by_role("button", name="Assign only to").click()
        await page.get_by_role("option", name=name).click()
        await expect(page.get_by_role("listbox")).to_have_count(0)
        await assigned(*ids)


async def test_a_time_is_the_same_everywhere(visit: Visit, board: Board, alice: Person) -> None:
    await board.card("Fix the door")
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    field = page.get_by_label("Comment on DEMO-1").last
    for text, sum_ in (("2", 120), ("45", 165), ("1,5", 255)):
        await field.fill(f"It took {text}")
        await by_label(page, "Time spent").fill(text)
        await field.press("Control+Enter")
        row = page.locator(".talk-row:not(.wish)", has_text=f"It took {text}")
        await expect(row.locator(".card-spent")).to_be_visible()
        assert (await alice.get(f"{board.path}/cards/DEMO-1"))["time_spent_minutes"] == sum_
