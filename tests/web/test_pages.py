"""The pages beside board and talk: projects, search, time, the settings of a project."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect

from tests.conftest import Board, Invite, Wait
from tests.person import Person
from tests.web.conftest import Visit, by_label


def button(page: Page | Locator, name: str) -> Locator:
    """The button with exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


async def agree(page: Page, word: str) -> None:
    """Say yes to the question that the page asks."""
    await button(page.get_by_role("dialog"), word).click()


async def test_a_page_whose_file_went_with_its_release_is_loaded_anew_once(
    visit: Visit, board: Board
) -> None:
    """A host may serve another release than the one that the page is of."""
    visitor = await visit("alice", service_workers="block")
    page, loads = visitor.page, []
    visitor.statuses.add(404)
    visitor.allowed.append("Service Worker registration blocked")
    page.on("request", lambda asked: loads.append(asked.url) if is_page(asked) else None)
    await page.route("**/app/*/messages.js", lambda route: route.fulfill(status=404))
    await page.route("**/app/current", lambda route: route.fulfill(json={"files": "0" * 16}))
    await page.locator('a[href="/messages"]').click()

    await expect(page.get_by_role("heading", name="This page did not load")).to_be_visible()
    assert [each.removeprefix(visitor.url) for each in loads] == ["/messages"]
    await page.unroute("**/app/*/messages.js")
    await button(page, "Try again").click()
    await expect(page.get_by_role("heading", name="Messages", level=1)).to_be_visible()
    assert len(loads) == 2


async def test_a_page_shows_once_its_style_is_there(visit: Visit, board: Board) -> None:
    visitor = await visit("alice", service_workers="block")
    page = visitor.page
    visitor.statuses.add(404)
    visitor.allowed.append("Service Worker registration blocked")
    asked, go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await go.wait()
        await route.continue_()

    heading = page.get_by_role("heading", name="Messages", level=1)
    await page.route("**/talk.css", hold)
    await page.locator('a[href="/messages"]').click()
    await asked.wait()
    await expect(page).to_have_url(f"{visitor.url}/messages")
    await expect(page.get_by_role("heading", name="Projects", level=1)).to_be_visible()
    assert await heading.count() == 0
    go.set()
    await expect(heading).to_be_visible()

    sheets = page.locator('link[rel="stylesheet"]')
    shown = await sheets.evaluate_all("all => all.map((one) => one.href.split('/').pop())")
    assert shown == ["base.css", "pages.css", "talk.css"]
    # A sheet that does not come is asked for again by whatever needs it next.
    await page.route("**/board.css", lambda route: route.fulfill(status=404))
    await page.goto(f"{visitor.url}/messages")
    await page.goto(f"{visitor.url}/")
    await page.locator(".projects-tile a").first.click()
    await expect(page.get_by_role("heading", name="This page did not load")).to_be_visible()
    await page.unroute("**/board.css")
    await page.go_back()
    await expect(page.locator(".projects-tile")).to_be_visible()
    await page.go_forward()
    await expect(page.locator("section.column").first).to_be_visible()
    await expect(sheets).to_have_count(3)


def is_page(asked: Request) -> bool:
    """The browser asks for a page itself, and not for a file of one."""
    return asked.resource_type == "document"


# Projects


async def test_a_first_project_is_made_from_the_empty_page(visit: Visit) -> None:
    visitor = await visit("eve")
    page = visitor.page
    await expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()

    await button(page, "New project").click()
    await expect(by_label(page, "Name")).to_be_focused()
    await page.keyboard.type("Night watch")
    await by_label(page, "Key of its cards").fill("nw-1")
    await expect(by_label(page, "Key of its cards")).to_have_value("NW1")
    await page.keyboard.press("Enter")

    await page.wait_for_url("**/p/night-watch")
    await page.goto(visitor.url)
    await expect(page.get_by_role("link", name="Night watch")).to_be_visible()


async def test_a_prefix_that_is_taken_is_said_beside_its_field(visit: Visit, board: Board) -> None:
    visitor = await visit("olga")
    visitor.statuses.add(409)
    page = visitor.page
    await button(page, "New project").click()
    await by_label(page, "Name").fill("Another")
    await by_label(page, "Key of its cards").fill("DEMO")
    await button(page.get_by_role("dialog"), "Create project").click()

    await expect(by_label(page, "Key of its cards")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("alert").first).to_be_visible()
    await expect(by_label(page, "Name")).to_have_value("Another")


async def test_a_star_shows_at_once_and_in_the_other_tab(visit: Visit, board: Board) -> None:
    visitor = await visit("alice")
    page, other = visitor.page, await visitor.tab()
    star = button(page, "Star of Demo")
    await expect(star).to_have_attribute("aria-pressed", "false")
    await star.click()

    await expect(star).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("heading", name="Starred")).to_be_visible()
    await expect(other.get_by_role("heading", name="Starred")).to_be_visible()
    await button(page, "Star of Demo").click()
    await expect(other.get_by_role("heading", name="My projects")).to_be_visible()


async def test_a_star_that_is_refused_is_taken_back(visit: Visit, board: Board) -> None:
    visitor = await visit("alice")
    visitor.statuses.add(422)
    page = visitor.page
    await page.route(
        "**/star", lambda route: route.fulfill(status=422, json={"error": "no", "code": "conflict"})
    )
    await button(page, "Star of Demo").click()

    await expect(page.get_by_role("alert").get_by_text("no")).to_be_visible()
    await expect(button(page, "Star of Demo")).to_have_attribute("aria-pressed", "false")


async def test_an_archived_project_is_brought_back(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga")).page
    await button(page, "What to do with Demo").click()
    await page.get_by_role("menuitem", name="Archive").click()
    await agree(page, "Archive")
    await expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()

    await page.get_by_text("Archived projects").click()
    await button(page, "What to do with Demo").click()
    await page.get_by_role("menuitem", name="Take out of the archive").click()

    await expect(page.get_by_role("heading", name="My projects")).to_be_visible()
    assert (await olga.get(board.path))["is_archived"] is False


async def test_an_administrator_finds_those_of_others_in_the_administration(
    visit: Visit, board: Board
) -> None:
    page = (await visit("root")).page
    await expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()
    await page.get_by_role("link", name="All projects of this server").click()

    await expect(page.get_by_role("link", name="Demo")).to_be_visible()


# Search


async def test_what_is_typed_is_found_and_marked(visit: Visit, board: Board) -> None:
    card = await board.card("👍 The Zebra of the zoo", description="A zebra has stripes")
    path = f"{board.path}/cards/{card['id']}/comments"
    await board.maker.post(path, {"body": "Feed the zebra"})
    page = (await visit("alice", "/search")).page
    field = page.get_by_label("Search cards, comments, topics and messages")
    await expect(field).to_be_focused()
    await page.keyboard.type("zebra")

    await expect(page.get_by_role("heading", name="Cards 1")).to_be_visible()
    await expect(page.locator("mark").first).to_have_text("zebra")
    await expect(page).to_have_url(re.compile(r"/search\?q=zebra$"))
    await page.get_by_role("link", name="Comments").click()
    await expect(page.get_by_role("heading", name="Cards 1")).to_have_count(0)
    await field.focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("link", name="Feed the zebra")).to_be_focused()
    await expect(page.get_by_role("link", name="Feed the zebra")).to_have_attribute(
        "href", f"/p/demo/c/{card['key']}?m=1"
    )


async def test_a_card_that_is_found_opens(visit: Visit, board: Board) -> None:
    card = await board.card("Mend the fence")
    visitor = await visit("alice", "/search?q=fence")
    page = visitor.page
    await expect(page.locator(".search-key")).to_have_text(card["key"])
    await page.get_by_role("link", name="Mend the fence").click()

    await expect(page).to_have_url(re.compile(f"/p/demo/c/{card['key']}$"))
    await expect(page.get_by_role("dialog").get_by_label("Title")).to_have_value("Mend the fence")
    await page.goto(f"{visitor.url}/p/demo")
    await expect(page.locator(".tile")).to_have_count(1)
    await page.keyboard.press("Control+k")
    async with page.expect_response("**/search?*"):
        await page.keyboard.type("fence")
    await expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)


@pytest.mark.parametrize("path", ["/", "/messages", "/notifications", "/me", "/time"])
async def test_every_page_has_the_keys_that_are_everywhere(visit: Visit, path: str) -> None:
    page = (await visit("alice", path)).page
    help_ = page.get_by_role("dialog", name="Keys")
    await button(page, "Help and keys").click()
    await expect(help_).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(help_).to_have_count(0)
    await page.keyboard.press("Control+k")
    goto = page.get_by_role("combobox", name="Go to")
    await expect(goto).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(goto).to_have_count(0)
    await page.locator("main").focus()
    await page.keyboard.type("gn")
    await expect(page).to_have_url(re.compile("/notifications$"))


async def test_what_is_not_there_is_said(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/search?q=nowhere")).page

    await expect(page.get_by_role("heading", name="Nothing found for “nowhere”")).to_be_visible()


async def test_text_that_looks_like_code_stays_text(visit: Visit, board: Board) -> None:
    await board.card("<img src=x onerror=alert(1)> zebra" + "x" * 400)
    page = (await visit("alice", "/search?q=onerror", width=390)).page

    await expect(page.locator(".search-found")).to_contain_text("<img src=x onerror=alert(1)>")
    assert await page.evaluate("document.querySelector('main').scrollWidth") <= 390


# Time


@pytest.fixture
async def by_the_clock(alice: Person) -> None:
    """Alice counts in hours and minutes."""
    await alice.put("/users/me", {"time_notation": "hhmm"})


async def test_time_is_written_down_changed_and_deleted(
    visit: Visit, board: Board, alice: Person, by_the_clock: None
) -> None:
    card = await board.card("Oil the hinges")
    page = (await visit("alice", "/time")).page
    await expect(page.get_by_role("heading", name="No time written down yet")).to_be_visible()
    await button(page, "Log time").click()
    await by_label(page, "Time").fill("1h 30m")
    await expect(page.get_by_text("= 1:30 h")).to_be_visible()
    await page.get_by_title("Card", exact=True).click()
    await page.get_by_role("combobox", name="Card").fill("hinges")
    await page.get_by_role("option", name="Oil the hinges").click()
    await button(page.get_by_role("dialog"), "Save").click()

    await expect(page.get_by_role("link", name="Oil the hinges")).to_be_visible()
    (entry,) = await alice.get("/time-entries")
    assert (entry["minutes"], entry["card_id"]) == (90, card["id"])

    await button(page, f"Edit the time of {card['key']}").click()
    await by_label(page, "Time").fill("0:45")
    await page.keyboard.press("Enter")
    await expect(page.locator(".time-minutes")).to_have_text("0:45")

    await button(page, f"Edit the time of {card['key']}").click()
    await button(page.get_by_role("dialog"), "Delete").click()
    await page.locator("dialog.ask").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("heading", name="No time written down yet")).to_be_visible()
    assert await alice.get("/time-entries") == []


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90m", 90), ("1.5", 90), ("1,25", 75), ("8", 480), ("45", 45), ("2h", 120), ("0:05", 5)],
)
async def test_a_time_is_understood_as_people_write_it(
    visit: Visit,
    board: Board,
    alice: Person,
    by_the_clock: None,
    eventually: Wait,
    text: str,
    minutes: int,
) -> None:
    page = (await visit("alice", "/time")).page
    await button(page, "Log time").click()
    await expect(by_label(page, "Time")).to_be_focused()
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await expect(page.locator(".time-entry")).to_have_count(1)

    assert [each["minutes"] for each in await alice.get("/time-entries")] == [minutes]


async def test_what_is_no_time_is_not_sent(visit: Visit) -> None:
    page = (await visit("alice", "/time")).page
    await button(page, "Log time").click()
    for text in ("25:00", "1:75", "soon", "0"):
        await by_label(page, "Time").fill(text)
        await expect(page.get_by_text("Write a time of at most 24 hours")).to_be_visible()
        await expect(button(page.get_by_role("dialog"), "Save")).to_be_disabled()


async def test_time_of_elsewhere_comes_into_the_list(
    visit: Visit, board: Board, alice: Person, by_the_clock: None
) -> None:
    page = (await visit("alice", "/time")).page
    await expect(page.get_by_role("heading", name="No time written down yet")).to_be_visible()
    entry = await alice.post("/time-entries", {"minutes": 30, "project": "demo"})
    await expect(page.get_by_role("link", name="Demo").last).to_be_visible()
    await alice.put(f"/time-entries/{entry['id']}", {"minutes": 40})
    await expect(page.locator(".time-minutes")).to_have_text("0:40")
    await alice.delete(f"/time-entries/{entry['id']}")
    await expect(page.get_by_role("heading", name="No time written down yet")).to_be_visible()


THURSDAY = re.compile("^Demo, Thu, Apr 9(, 2026)?: write down time$")
"""A day of another year is said with it."""


async def test_a_week_is_a_sheet_whose_fields_are_written_in(
    visit: Visit, board: Board, alice: Person, by_the_clock: None
) -> None:
    body = {"minutes": 60, "project": "demo", "description": "Watch", "date": "2026-04-08"}
    await alice.post("/time-entries", body)
    page = (await visit("alice", "/time/week?date=2026-04-10")).page
    await expect(page.get_by_role("row", name="Demo Watch")).to_contain_text("1:00")
    await page.get_by_role("button", name=THURSDAY).click()
    await by_label(page, "Time").fill("2:15")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("row", name="Demo Watch")).to_contain_text("3:15")
    dates = {each["date"]: each["minutes"] for each in await alice.get("/time-entries")}
    assert dates == {"2026-04-08": 60, "2026-04-09": 135}
    await button(page, "Earlier").click()
    await expect(page.get_by_role("heading", name="Nothing in this week")).to_be_visible()


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_days_stay_what_they_are_wherever_the_browser_is(
    visit: Visit, board: Board, alice: Person, by_the_clock: None, zone: str
) -> None:
    await alice.post("/time-entries", {"minutes": 60, "date": "2026-04-08"})
    visitor = await visit("alice", "/time/week?date=2026-04-08", timezone_id=zone)

    headers = visitor.page.get_by_role("columnheader")
    await expect(headers.nth(1)).to_contain_text("Apr 6")
    await expect(visitor.page.locator("tfoot td").nth(2)).to_have_text("1:00")


async def test_a_report_is_shown_and_saved(
    visit: Visit, board: Board, alice: Person, by_the_clock: None
) -> None:
    card = await board.card("Count the books")
    for date, minutes in (("2026-03-31", 10), ("2026-04-01", 60), ("2026-04-30", 30)):
        await alice.post("/time-entries", {"minutes": minutes, "card_id": card["id"], "date": date})
    page = (await visit("alice", "/time/report?from=2026-04-10")).page
    await expect(page.get_by_role("heading", name="April 2026")).to_be_visible()
    await expect(page.get_by_text("1:30 h")).to_be_visible()
    await expect(page.get_by_role("link", name="Count the books")).to_be_visible()
    await by_label(page, "Sums").select_option("day")
    await expect(page.locator(".time-groups tbody tr")).to_have_count(2)

    await button(page, "Export").click()
    async with page.expect_download() as waiting:
        await page.get_by_role("menuitem", name="CSV").click()
    file = await waiting.value
    assert file.suggested_filename == "time-2026-04-01-2026-04-30.csv"
    rows = list(csv.reader(io.StringIO(Path(await file.path()).read_text())))
    assert len(rows) == 3


# The settings of a project


async def test_a_project_is_called_otherwise_everywhere(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings")).page
    other = (await visit("alice", "/p/demo/settings")).page
    await by_label(page, "Name").fill("Depot")
    await page.get_by_role("radio", name="Green").check()
    await button(page, "Save").click()

    await expect(button(page, "Save")).to_be_disabled()
    await expect(other.get_by_role("heading", name="Depot", level=1)).to_be_visible()
    await expect(other.get_by_role("textbox", name="Name", exact=True)).to_have_count(0)
    shown = await olga.get(board.path)
    assert (shown["name"], shown["color"]) == ("Depot", "#059669")


async def test_what_is_being_written_is_not_replaced(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings")).page
    await by_label(page, "What it is for").fill("For the books")
    await olga.put(board.path, {"name": "Depot"})
    await expect(page.get_by_role("heading", name="Depot", level=1)).to_be_visible()
    await expect(by_label(page, "What it is for")).to_have_value("For the books")
    await button(page, "Save").click()

    await expect(by_label(page, "Name")).to_have_value("Depot")
    shown = await olga.get(board.path)
    assert (shown["name"], shown["description"]) == ("Depot", "For the books")


async def test_what_is_written_while_a_form_is_saved_stays(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings")).page
    go = asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.method == "PUT":
            await go.wait()
        await route.fallback()

    await page.route(f"**{board.path}", late)
    what = by_label(page, "What it is for")
    await what.fill("For the books")
    await button(page, "Save").click()
    await what.fill("For the books, and the maps")
    go.set()
    await expect(button(page, "Save")).to_be_enabled()
    await expect(what).to_have_value("For the books, and the maps")
    assert (await olga.get(board.path))["description"] == "For the books"
    async with page.expect_response(lambda answer: answer.request.method == "PUT"):
        await button(page, "Save").click()
    await expect(button(page, "Save")).to_be_disabled()
    assert (await olga.get(board.path))["description"] == "For the books, and the maps"


async def test_who_comes_by_an_invitation_is_shown_and_the_invitation_is_not(
    visit: Visit, board: Board, olga: Person, eve: Person
) -> None:
    made = await olga.post(f"{board.path}/invitations", {"role": "member"})
    page = (await visit("olga", "/p/demo/settings/people")).page
    await expect(page.get_by_text("By link")).to_be_visible()
    await eve.post(f"/invitations/{made['url'].rsplit('/', 1)[1]}/accept", status=200)
    await expect(page.get_by_text("Nobody is invited at the moment.")).to_be_visible()
    await expect(page.get_by_text("@eve · eve@example.org")).to_be_visible()


async def test_who_is_taken_in_again_has_the_board_again(
    visit: Visit, board: Board, olga: Person, bob: Person
) -> None:
    visitor = await visit("bob", "/p/demo")
    visitor.statuses.update({403, 404})
    page = visitor.page
    await expect(page.locator(".column").first).to_be_visible()
    me = await bob.get("/users/me")
    await olga.delete(f"{board.path}/members/{me['id']}")
    await expect(page.get_by_text("no longer a member")).to_be_visible()
    await olga.post(f"{board.path}/members", {"user_id": me["id"], "role": "member"})
    await expect(page.locator(".column").first).to_be_visible()
    card = await board.card("Fix the door")
    await expect(page.locator(".tile-title")).to_have_text([card["title"]])


async def test_columns_are_made_moved_and_deleted(
    visit: Visit, board: Board, olga: Person, eventually: Wait
) -> None:
    await board.card("Stays")
    page = (await visit("olga", "/p/demo/settings/columns")).page
    rows = page.get_by_role("listitem")
    await button(page, "New column").click()
    await by_label(page, "Name").fill("Ideas")
    await by_label(page, "Limit").fill("3")
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(5)

    up = button(page, "Move Ideas one place back")
    for _ in range(4):
        await up.click()
    await expect(rows.first).to_contain_text("Ideas")
    await expect(up).to_be_focused()

    async def is_first() -> bool:
        """The page shows the order that is wished for; the server has it a little later."""
        columns = await olga.get(f"{board.path}/columns")
        return bool(columns[0]["name"] == "Ideas")

    await eventually(is_first)
    await button(page, "Delete Backlog").click()
    await by_label(page, "Its cards go to").select_option(label="Ideas")
    await button(page.get_by_role("dialog"), "Delete").click()

    await expect(rows).to_have_count(4)
    columns = await olga.get(f"{board.path}/columns")
    assert [(each["name"], each["card_count"]) for each in columns] == [
        ("Ideas", 1),
        ("In Progress", 0),
        ("Review", 0),
        ("Done", 0),
    ]
    assert columns[0]["wip_limit"] == 3


async def test_labels_are_made_changed_and_deleted(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("alice", "/p/demo/settings/labels")).page
    labels = page.get_by_role("list")
    await button(page, "New label").click()
    await by_label(page, "Name").fill("Night")
    await page.keyboard.press("Enter")
    await expect(labels.get_by_text("Night", exact=True)).to_be_visible()
    await button(page, "Edit Night").click()
    await by_label(page, "Name").fill("Day")
    await page.keyboard.press("Enter")
    await expect(labels.get_by_text("Day", exact=True)).to_be_visible()
    await button(page, "Delete Day").click()
    await agree(page, "Delete")
    await expect(labels.get_by_text("Day", exact=True)).to_have_count(0)
    assert "Day" not in [each["name"] for each in await olga.get(f"{board.path}/labels")]


async def test_people_are_added_given_roles_and_removed(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings/people")).page
    await button(page, "Add somebody").click()
    await page.get_by_title("Who", exact=True).click()
    await page.get_by_role("combobox", name="Who").fill("eve")
    await page.get_by_role("option", name="Eve").click()
    await button(page.get_by_role("dialog"), "Add").click()
    role = by_label(page, "Role of Eve")
    await expect(role).to_have_value("member")
    await role.select_option("admin")
    await expect(role).to_have_value("admin")
    await button(page, "Remove Bob").click()
    await agree(page, "Remove")

    await expect(by_label(page, "Role of Bob")).to_have_count(0)
    members = {
        each["user"]["username"]: each["role"] for each in await olga.get(f"{board.path}/members")
    }
    assert members == {"olga": "owner", "alice": "member", "eve": "admin"}


async def test_a_role_that_is_refused_is_what_it_was(visit: Visit, board: Board) -> None:
    visitor = await visit("olga", "/p/demo/settings/people")
    visitor.statuses.add(422)
    page = visitor.page
    await by_label(page, "Role of Olga").select_option("member")

    await expect(
        page.get_by_role("alert").get_by_text("A project keeps at least one owner.")
    ).to_be_visible()
    await expect(by_label(page, "Role of Olga")).to_have_value("owner")


async def test_an_invitation_is_a_link_that_is_shown_once(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings/people")).page
    await button(page, "Invite").click()
    await button(page.get_by_role("dialog"), "Make an invitation").click()
    link = await by_label(page, "Link").input_value()
    assert "/invitations/" in link
    await button(page.get_by_role("dialog"), "Done").click()
    await expect(page.get_by_text("By link")).to_be_visible()

    await button(page, "Revoke By link").click()
    await agree(page, "Revoke")
    await expect(page.get_by_text("Nobody is invited at the moment.")).to_be_visible()
    assert await olga.get(f"{board.path}/invitations") == []


async def test_a_key_is_made_shown_once_and_revoked(
    visit: Visit, board: Board, person: Invite
) -> None:
    page = (await visit("olga", "/p/demo/settings/keys")).page
    await button(page, "New API key").click()
    await by_label(page, "Name").fill("CI")
    await page.get_by_role("checkbox", name="Read").check()
    await button(page.get_by_role("dialog"), "Make the key").click()
    key = await by_label(page, "Key").input_value()
    await button(page.get_by_role("dialog"), "Done").click()

    await expect(page.get_by_text("Tickets, Read")).to_be_visible()
    await person(api_key=key).get(board.path)
    await button(page, "Revoke CI").click()
    await agree(page, "Revoke")
    await expect(page.get_by_role("heading", name="No keys yet")).to_be_visible()


async def test_webhooks_of_both_ways_are_made(
    visit: Visit, board: Board, olga: Person, root: Person
) -> None:
    await root.put("/admin/system-settings", {"webhook_allow_private": "192.0.2.0/24"})
    page = (await visit("olga", "/p/demo/settings/hooks")).page
    await button(page, "New webhook").click()
    await by_label(page, "Name").fill("Forge")
    await by_label(page, "What calls it").select_option("forgejo")
    await button(page.get_by_role("dialog"), "Save").click()
    assert "/gitea-webhook/" in await by_label(page, "Address").input_value()
    await button(page.get_by_role("dialog"), "Done").click()
    await button(page, "New outgoing webhook").click()
    await by_label(page, "Name").fill("Deploy")
    await by_label(page, "Address to call").fill("https://192.0.2.7/hook")
    await page.get_by_role("checkbox", name="All events").uncheck()
    await page.get_by_title("Events", exact=True).click()
    await page.get_by_role("combobox", name="Events").fill("card_moved")
    await expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await button(page.get_by_role("dialog"), "Save").click()
    assert (await by_label(page, "Secret").input_value()).startswith("whsec_")
    await button(page.get_by_role("dialog"), "Done").click()

    (hook,) = await olga.get(f"{board.path}/webhooks")
    assert (hook["name"], hook["type"]) == ("Forge", "forgejo")
    (out,) = await olga.get(f"{board.path}/outgoing-webhooks")
    assert out["events"] == ["board.card_moved"]
    await button(page, "What to do with Deploy").click()
    await page.get_by_role("menuitem", name="Turn off").click()
    await expect(page.get_by_text("turned off")).to_be_visible()


async def test_a_deleted_card_is_brought_back(visit: Visit, board: Board, olga: Person) -> None:
    card = await board.card("Lost")
    await board.maker.delete(f"{board.path}/cards/{card['id']}")
    page = (await visit("olga", "/p/demo/settings/deleted")).page
    await expect(page.get_by_text("Lost")).to_be_visible()
    await button(page, "Bring back").click()

    await expect(page.get_by_role("heading", name="No deleted cards")).to_be_visible()
    assert (await olga.get(f"{board.path}/cards/{card['id']}"))["title"] == "Lost"


async def test_an_archived_card_is_listed_and_brought_back(
    visit: Visit, board: Board, alice: Person
) -> None:
    kept, late = await board.card("Kept"), await board.card("Late")
    await alice.post(f"{board.path}/cards/{kept['id']}/archive", status=200)
    page = (await visit("alice", "/p/demo/settings/archive")).page
    rows = page.locator(".page-row")
    await expect(rows).to_have_count(1)
    await alice.post(f"{board.path}/cards/{late['id']}/archive", status=200)
    await expect(rows).to_have_count(2)
    await rows.filter(has_text="Kept").get_by_role("button", name="Back to the board").click()

    await expect(rows).to_have_text([re.compile("Late")])
    assert (await alice.get(f"{board.path}/cards/{kept['id']}"))["archived_at"] is None
    await page.get_by_role("link", name="Late").click()
    await expect(page.get_by_role("dialog").get_by_label("Title")).to_have_value("Late")


async def test_who_only_reads_changes_nothing(visit: Visit, board: Board) -> None:
    page = (await visit("bob", "/p/demo/settings/columns")).page
    await expect(page.get_by_text("Project admins and owners change columns.")).to_be_visible()
    await expect(button(page, "New column")).to_have_count(0)
    await expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    await page.goto(page.url.replace("columns", "keys"))

    await expect(page.get_by_text("This part is for the role “Owner”.")).to_be_visible()


async def test_who_leaves_a_project_is_led_home(visit: Visit, board: Board, alice: Person) -> None:
    page = (await visit("alice", "/p/demo/settings")).page
    await button(page, "Leave the project").click()
    await agree(page, "Leave the project")

    await expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()
    assert await alice.get("/projects") == []


async def test_a_list_that_failed_is_asked_for_again(visit: Visit, board: Board) -> None:
    visitor = await visit("alice")
    visitor.statuses.add(500)
    page = visitor.page
    await page.route(
        "**/api/v1/time-entries*", lambda route: route.fulfill(status=500, json={"error": "no"})
    )
    await page.goto(f"{visitor.url}/time")
    await expect(page.locator(".failed")).to_contain_text("no")
    await page.unroute("**/api/v1/time-entries*")
    await button(page, "Try again").click()

    await expect(page.get_by_role("heading", name="No time written down yet")).to_be_visible()


WIDTHS = (320, 390, 1024, 2560)


@pytest.mark.parametrize("path", ["/", "/search?q=door", "/time", "/time/week", "/time/report"])
async def test_nothing_is_wider_than_the_page(visit: Visit, board: Board, path: str) -> None:
    await board.card("The door " + "x" * 450)
    page = (await visit("alice", path)).page
    await expect(page.locator("main .page")).to_be_visible()
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        wide = await page.evaluate("document.querySelector('main').scrollWidth")
        assert wide <= width, (path, width)
