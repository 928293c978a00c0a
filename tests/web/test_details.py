"""Small things of the pages that go wrong easily: dates half written, lists that are out of date,
addresses that are none, wishes of a checklist.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, get_args

import pytest
from playwright.async_api import Page, Request, Route, expect

from tests.conftest import Board, Wait
from tests.person import PASSWORD, Person
from tests.web.conftest import Visit, by_label
from tests.web.test_files import HOME, words
from tests.web.test_losses import hold
from tests.web.test_pages import button
from warmdesk.schemas.audit import Action
from warmdesk.schemas.cards import MAX_AT_ONCE


def sent(page: Page, method: str, part: str) -> list[Any]:
    """The bodies of such requests from now on."""
    bodies: list[Any] = []

    def note(request: Request) -> None:
        if request.method == method and part in request.url:
            bodies.append(request.post_data_json)

    page.on("request", note)
    return bodies


# Dates

A_DAY = "12122026"
"""As its keys are typed; the same whether days or months come first."""


async def test_a_date_of_a_card_is_sent_when_it_is_whole(
    visit: Visit, board: Board, alice: Person, eventually: Wait
) -> None:
    card = await board.card("Fix the door")
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    bodies = sent(page, "PUT", f"/cards/{card['id']}")
    for name, key in (("Due date", "due_date"), ("Start date", "start_date")):
        await by_label(page, name).focus()
        await page.keyboard.type(A_DAY)
        await page.keyboard.press("Enter")
        await eventually(lambda key=key: any(key in each for each in bodies))

    assert [each for each in bodies if "due_date" in each] == [{"due_date": "2026-12-12"}]
    assert [each for each in bodies if "start_date" in each] == [{"start_date": "2026-12-12"}]
    await page.get_by_label("Due date").fill("")
    await page.keyboard.press("Tab")

    async def gone() -> bool:
        shown = await alice.get(f"{board.path}/cards/{card['id']}")
        return shown["due_date"] is None and shown["start_date"] == "2026-12-12"

    await eventually(gone)


async def test_a_date_that_nobody_may_have_is_not_sent(
    visit: Visit, board: Board, eventually: Wait
) -> None:
    card = await board.card("Fix the door", due_date="2026-12-31")
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    bodies = sent(page, "PUT", f"/cards/{card['id']}")
    field = by_label(page, "Due date")
    await field.fill("0026-12-31")
    await page.keyboard.press("Tab")

    await expect(field).to_have_value("2026-12-31")
    await field.fill("2027-01-01")
    await page.keyboard.press("Tab")
    await expect(field).to_have_value("2027-01-01")
    await eventually(lambda: bodies)
    assert bodies == [{"due_date": "2027-01-01"}]


async def test_the_date_of_a_tile_is_sent_when_it_is_done(
    visit: Visit, board: Board, eventually: Wait
) -> None:
    card = await board.card("Fix the door")
    page = (await visit("alice", "/p/demo")).page
    bodies = sent(page, "PUT", f"/cards/{card['id']}")
    await button(page, "Menu of DEMO-1").click()
    await page.get_by_role("menuitem", name="Due date…").click()
    await expect(by_label(page, "Due date")).to_be_focused()
    await page.keyboard.type(A_DAY)
    await button(page, "Done").click()

    await eventually(lambda: bodies)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert bodies == [{"due_date": "2026-12-12"}]


async def test_a_span_of_a_report_is_asked_for_when_it_is_whole(visit: Visit, board: Board) -> None:
    path = "/time/report?period=custom&from=2026-04-01&to=2026-04-30"
    page = (await visit("alice", path)).page
    await expect(page.locator(".empty")).to_be_visible()
    asked = sent(page, "GET", "/reports/time?")
    await by_label(page, "From").focus()
    await page.keyboard.type("04042026")
    await page.keyboard.press("Enter")

    await expect(page).to_have_url(re.compile("from=2026-04-04&to=2026-04-30"))
    await expect(page.get_by_role("heading", name="Apr 4")).to_be_visible()
    assert len(asked) == 1


async def test_the_week_of_a_report_begins_on_monday(visit: Visit, alice: Person) -> None:
    await alice.put("/users/me", {"week_start": "sunday"})
    for date, minutes in (("2026-04-05", 7), ("2026-04-12", 60)):
        await alice.post("/time-entries", {"minutes": minutes, "date": date})
    page = (await visit("alice", "/time/report?period=week&from=2026-04-08&group_by=week")).page

    await expect(page.locator(".page-head h2")).to_contain_text("Apr 6")
    await expect(page.locator(".page-head h2")).to_contain_text("Apr 12")
    await expect(page.locator(".time-groups tbody tr")).to_have_count(1)
    await button(page, "Earlier").click()
    await expect(page.locator(".page-head h2")).to_contain_text("Mar 30")


# Lists that are out of date


async def test_a_week_that_is_not_shown_is_fetched_anew_when_it_has_changed(
    visit: Visit, alice: Person
) -> None:
    await alice.put("/users/me", {"time_notation": "hhmm"})
    page = (await visit("alice", "/time/week?date=2026-04-08")).page
    await expect(page.get_by_role("heading", name="Nothing in this week")).to_be_visible()
    await button(page, "Earlier").click()
    await expect(page.locator(".page-head h2")).to_contain_text("Mar 30")
    await expect(page.get_by_role("heading", name="Nothing in this week")).to_be_visible()
    for date in ("2026-04-08", "2026-04-01"):
        await alice.post("/time-entries", {"minutes": 75, "date": date})
    await expect(page.locator("tfoot .time-sum")).to_have_text("1:15")
    await button(page, "Later").click()

    await expect(page.locator(".page-head h2")).to_contain_text("Apr 6")
    await expect(page.locator("tfoot .time-sum")).to_have_text("1:15")


async def test_a_report_follows_what_is_written_down(visit: Visit, alice: Person) -> None:
    await alice.put("/users/me", {"time_notation": "hhmm"})
    page = (await visit("alice", "/time/report?from=2026-04-10")).page
    await expect(page.locator(".empty")).to_be_visible()
    await alice.post("/time-entries", {"minutes": 75, "date": "2026-04-08"})

    await expect(page.locator(".time-total")).to_contain_text("1:15")


async def test_the_number_of_members_is_what_it_is(
    visit: Visit, board: Board, olga: Person
) -> None:
    page = (await visit("olga", "/p/demo/settings/people")).page
    number = page.locator(".page-head h2 span")
    await expect(number).to_have_text("3")
    await olga.post(f"{board.path}/members", {"user_id": 5, "role": "member"})
    await expect(number).to_have_text("4")
    await olga.delete(f"{board.path}/members/5")
    await expect(number).to_have_text("3")


# What fails


async def test_projects_that_cannot_be_had_say_why(visit: Visit, board: Board) -> None:
    visitor = await visit(None)
    page = visitor.page
    visitor.statuses |= {401, 500}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=500, json={"error": "the shelf is empty", "code": "x"})

    for path in ("**/api/v1/bootstrap*", "**/api/v1/projects?*"):
        await page.route(path, refuse)
    await page.context.request.post(
        f"{visitor.url}/api/v1/auth/login",
        data={"username": "alice", "password": "correct horse battery", "cookie": True},
    )
    await page.goto(visitor.url)

    await expect(page.locator("main .failed")).to_contain_text("the shelf is empty")


async def test_what_a_field_says_is_not_said_again_in_other_words(
    visit: Visit, board: Board
) -> None:
    visitor = await visit("olga")
    visitor.statuses.add(409)
    page = visitor.page
    await button(page, "New project").click()
    await by_label(page, "Name").fill("Another")
    await by_label(page, "Key of its cards").fill("DEMO")
    await button(page.get_by_role("dialog"), "Create project").click()

    await expect(by_label(page, "Key of its cards")).to_have_attribute("aria-invalid", "true")
    alert = page.get_by_role("dialog").locator(".forms-error")
    await expect(alert).to_be_visible()
    await expect(alert).not_to_contain_text("key_prefix")


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/time/constructor", "Entries"),
        ("/admin/constructor", "Users"),
        ("/p/demo/settings/constructor", "Archive and leave"),
    ],
)
async def test_an_address_that_is_no_part_shows_the_first(
    visit: Visit, board: Board, path: str, heading: str
) -> None:
    who = "root" if "admin" in path else "olga"
    page = (await visit(who, path)).page

    await expect(page.get_by_role("heading", name=heading).first).to_be_visible()


def test_the_audit_has_words_for_every_act() -> None:
    text = (HOME / "admin_audit.js").read_text()
    listed = re.search(r"const ACTIONS = \[(.*?)\];", text, re.S)
    assert listed is not None
    actions = re.findall(r'"([\w.]+)"', listed[1])

    assert actions == list(get_args(Action))
    assert {f"admin.act_{each.replace('.', '_')}" for each in actions} <= set(words("en"))


# Wishes


async def test_a_step_that_i_ticked_stays_ticked_while_others_write(
    visit: Visit, board: Board, alice: Person
) -> None:
    card = await board.card("Fix the door")
    path = f"{board.path}/cards/{card['id']}/checklist"
    item = await alice.post(path, {"body": "Oil"})
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    tick = await hold(page, f"**{path}/*", lambda request: request.method == "PUT")
    await page.get_by_role("checkbox", name="Oil").click()
    await tick.came()
    await board.maker.put(f"{path}/{item['id']}", {"body": "Oil it well"})

    await expect(page.locator(".card-item")).to_have_text("Oil it well")
    assert await page.get_by_role("checkbox", name="Oil it well").is_checked()
    tick.go()
    await expect(page.locator(".card-item.done")).to_have_text("Oil it well")


async def test_a_step_that_is_told_before_its_answer_is_there_once(
    visit: Visit, board: Board
) -> None:
    await board.card("Fix the door")
    page = (await visit("alice", "/p/demo/c/DEMO-1")).page
    told = asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.method != "POST":
            return await route.fallback()
        answer = await route.fetch()
        await told.wait()
        return await route.fulfill(response=answer)

    await page.route("**/checklist", late)
    await page.get_by_role("button", name="Add a checklist").click()
    await expect(by_label(page, "New step")).to_be_focused()
    await page.keyboard.type("Oil")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("checkbox", name="Oil", disabled=False)).to_be_visible()
    await expect(page.locator(".card-item")).to_have_text("Oil")
    told.set()
    await page.get_by_role("checkbox", name="Oil").check()
    await expect(page.locator(".card-item.done")).to_have_text("Oil")


async def test_an_order_that_is_refused_takes_no_other_wish_along(
    visit: Visit, board: Board, alice: Person
) -> None:
    card = await board.card("Fix the door")
    path = f"{board.path}/cards/{card['id']}/checklist"
    for body in ("Oil", "Test"):
        await alice.post(path, {"body": body})
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(422)
    page = visitor.page

    async def refuse(route: Route) -> None:
        await route.fulfill(status=422, json={"error": "not now", "code": "x"})

    await page.route("**/checklist/reorder", refuse)
    order = await hold(page, "**/checklist/reorder")
    tick = await hold(page, f"**{path}/*", lambda request: request.method == "PUT")
    await page.get_by_role("checkbox", name="Oil").focus()
    await page.keyboard.press("Alt+ArrowDown")
    await order.came()
    await expect(page.locator(".card-item")).to_have_text(["Test", "Oil"])
    await page.get_by_role("checkbox", name="Oil").click()
    await tick.came()
    order.go()

    await expect(page.get_by_text("not now")).to_be_visible()
    await expect(page.locator(".card-item")).to_have_text(["Oil", "Test"])
    assert await page.get_by_role("checkbox", name="Oil").is_checked()
    tick.go()
    await expect(page.locator(".card-item.done")).to_have_text("Oil")


async def test_a_column_that_another_changed_is_not_written_over(
    visit: Visit, board: Board, olga: Person
) -> None:
    visitor = await visit("olga", "/p/demo")
    visitor.statuses.add(409)
    page = visitor.page

    async def edit() -> None:
        await page.get_by_role("button", name="Menu of Review").click()
        await page.get_by_role("menuitem", name="Edit column").click()

    await edit()
    await by_label(page, "Name").fill("Look")
    await olga.put(f"{board.path}/columns/{board.review}", {"wip_limit": 4})
    await expect(page.locator("section.column", has_text="Review")).to_contain_text("/ 4")
    await button(page, "Save").click()
    await expect(page.get_by_role("dialog").locator(".forms-error")).to_be_visible()
    await button(page, "Cancel").click()
    await edit()
    await by_label(page, "Name").fill("Look")
    await button(page, "Save").click()

    await expect(page.get_by_role("heading", name="Look")).to_be_visible()
    columns = {each["name"]: each["wip_limit"] for each in await olga.get(f"{board.path}/columns")}
    assert columns["Look"] == 4


async def test_an_empty_column_of_the_board_with_archived_cards_asks_where_they_go(
    visit: Visit, board: Board, olga: Person
) -> None:
    card = await board.card("Old door", board.review)
    await board.maker.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    visitor = await visit("olga", "/p/demo")
    visitor.statuses.add(409)
    page = visitor.page
    await button(page, "Menu of Review").click()
    await page.get_by_role("menuitem", name="Delete column").click()
    await button(page.get_by_role("dialog"), "Delete").click()
    await page.get_by_label("Where the cards of “Review” go").select_option("Done")
    await button(page.get_by_role("dialog"), "Delete").click()

    await expect(page.get_by_role("heading", name="Review")).to_have_count(0)
    assert (await olga.get(f"{board.path}/cards/{card['id']}"))["column_id"] == board.done


async def test_more_cards_than_one_request_takes_are_changed_together(
    visit: Visit, board: Board, alice: Person, eventually: Wait
) -> None:
    half = MAX_AT_ONCE // 2 + 1
    for column in (board.backlog, board.review):
        for start in range(0, half, 20):
            numbers = range(start, min(half, start + 20))
            await asyncio.gather(*(board.card(f"Card {number}", column) for number in numbers))
    page = (await visit("alice", "/p/demo")).page
    for name in ("Backlog", "Review"):
        await button(page, f"Menu of {name}").click()
        await page.get_by_role("menuitem", name="Select all its cards").click()
    bar = page.get_by_role("region", name="Selected cards")
    await expect(bar).to_contain_text(f"{2 * half} cards selected")
    await button(bar, "More for the selected cards").click()
    await page.get_by_role("menuitem", name="Close", exact=True).click()

    async def all_closed() -> bool:
        return not await alice.get(f"{board.path}/cards?closed=false&limit=1")

    await eventually(all_closed)


# Refused, and written again


async def test_a_refused_comment_is_edited_with_its_time_beside_what_is_being_written(
    visit: Visit, board: Board
) -> None:
    await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(422)
    page = visitor.page

    async def refuse(route: Route) -> None:
        if route.request.method == "POST":
            await route.fulfill(status=422, json={"error": "no", "code": "unprocessable"})
        else:
            await route.continue_()

    await page.route("**/comments", refuse)
    field = page.get_by_role("textbox", name="Comment on DEMO-1")
    spent = page.get_by_placeholder("0:30")
    await field.fill("Oiled it")
    await spent.fill("1:15")
    await field.press("Control+Enter")
    refused = page.locator(".talk-row.refused")
    await expect(refused).to_be_visible()
    await expect(spent).to_have_value("")
    await field.fill("And another thing")
    await refused.get_by_role("button", name="Edit").click()

    await expect(field).to_have_value("Oiled it\n\nAnd another thing")
    await expect(spent).to_have_value("1:15")


async def test_an_administrator_shows_who_they_are_for_another_address(
    visit: Visit, root: Person
) -> None:
    page = (await visit("root", "/admin")).page
    own = await root.get("/users/me")
    await button(page, own["display_name"]).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("E-mail").fill("root@example.net")
    await dialog.get_by_label("Current password").fill(PASSWORD)
    await button(dialog, "Save").click()
    await expect(dialog.get_by_label("Current password")).to_have_count(0)
    assert (await root.get("/users/me"))["email"] == "root@example.net"


async def test_a_step_that_was_not_taken_stands_there_until_it_is(
    visit: Visit, board: Board, alice: Person
) -> None:
    await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(429)
    page = visitor.page
    refused = {"error": "too many", "code": "rate_limited"}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=429, json=refused, headers={"Retry-After": "1"})

    await page.get_by_role("button", name="Add a checklist").click()
    await page.route("**/checklist", refuse)
    field = by_label(page, "New step")
    await field.fill("Oil")
    await page.keyboard.press("Enter")
    await field.fill("Paint")
    await expect(page.locator(".card-item.refused")).to_contain_text("Oil")
    await expect(field).to_have_value("Paint")
    await page.reload()
    await expect(page.locator(".card-item.refused")).to_contain_text("Oil")
    await page.unroute("**/checklist")
    await page.locator(".card-item.refused").get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("checkbox", name="Oil", disabled=False)).to_be_visible()
    await expect(page.locator(".card-item.refused")).to_have_count(0)
    (step,) = await alice.get(f"{board.path}/cards/DEMO-1/checklist")
    assert step["body"] == "Oil"


async def test_a_card_that_was_not_deleted_is_not_said_to_be(
    visit: Visit, board: Board, alice: Person
) -> None:
    card = await board.card("Fix the door")
    await alice.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    visitor = await visit("olga", "/p/demo/c/DEMO-1")
    visitor.statuses.add(403)
    page = visitor.page
    refused = {"error": "no", "code": "forbidden"}
    await page.route(
        f"**/cards/{card['id']}", lambda route: route.fulfill(status=403, json=refused)
    )
    await page.get_by_role("button", name="Menu of DEMO-1").last.click()
    await page.get_by_role("menuitem", name="Delete", exact=True).click()
    await expect(page.locator(".toast.bad")).to_be_visible()
    assert not [one for one in await page.locator(".toast").all_inner_texts() if "delet" in one]
