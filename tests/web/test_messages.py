"""Direct messages, groups and notifications in browsers of several people."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import FilePayload, Locator, Page, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import Visit

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a73"
    "0000001649444154789c63f8cfc0f09f8101488101140001001c1c02fe2f1a2d6c0000000049454e44ae426082"
)


async def direct(one: Person, *others: int, **fields: Any) -> Any:
    """A conversation of one with others."""
    return await one.post("/conversations", {"user_ids": list(others), **fields})


async def say(one: Person, conversation: Any, body: str) -> Any:
    return await one.post(f"/conversations/{conversation['id']}/messages", {"body": body})


def log(page: Page) -> Locator:
    return page.get_by_role("log")


def row(page: Page, text: str) -> Locator:
    return page.locator(".talk-row").filter(has_text=text)


async def write(page: Page, text: str) -> None:
    field = page.locator(".talk-compose textarea")
    await field.fill(text)
    await field.press("Enter")


async def test_two_people_talk(visit: Visit, board: Board) -> None:
    alice, olga = await visit("alice", "/messages"), await visit("olga", "/notifications")
    page, other = alice.page, olga.page

    await page.get_by_role("button", name="New conversation").first.click()
    dialog = page.get_by_role("dialog", name="New conversation")
    await dialog.get_by_role("button", name="To").click()
    await page.get_by_role("combobox", name="To").fill("olg")
    await page.get_by_role("option", name="Olga").click()
    await page.keyboard.press("Escape")
    await dialog.get_by_role("button", name="Begin").click()
    await expect(page.get_by_role("heading", name="Olga")).to_be_visible()
    await expect(page.get_by_text("Nothing was said yet")).to_be_visible()

    await write(page, "Good **morning**")
    await expect(log(page).locator("strong")).to_have_text("morning")
    await expect(page.locator(".talk-row.wish")).to_have_count(0)

    # Olga is told at once, wherever she is.
    await expect(other.get_by_role("status").filter(has_text="Alice wrote to you")).to_be_visible()
    await expect(other.get_by_role("link", name="Messages 1 unread")).to_be_visible()
    await other.get_by_role("button", name="Open", exact=True).click()
    await expect(log(other).locator("strong")).to_have_text("morning")
    await expect(other.get_by_role("link", name="Messages 1 unread")).to_have_count(0)

    await other.locator(".talk-compose textarea").press_sequentially("Hello")
    await expect(page.get_by_text("Olga is writing…")).to_be_visible()
    await other.keyboard.press("Enter")
    await expect(row(page, "Hello")).to_be_visible()
    await expect(page.get_by_text("Olga is writing…")).to_have_count(0)

    # A reaction, an edit by the arrow, a deletion: each is seen by both.
    await row(page, "Hello").hover()
    await row(page, "Hello").get_by_role("button", name="👍").click()
    await expect(other.get_by_role("button", name="👍, 1: Alice")).to_be_visible()
    await other.get_by_role("button", name="👍, 1: Alice").click()
    await expect(page.get_by_role("button", name="👍, 2:")).to_have_attribute(
        "aria-pressed", "true"
    )

    await page.locator(".talk-compose textarea").press("ArrowUp")
    edited = page.get_by_role("textbox", name="Edit the message")
    await expect(edited).to_be_focused()
    await edited.fill("Good evening")
    await edited.press("Enter")
    await expect(row(other, "Good evening")).to_contain_text("edited")
    await expect(page.locator(".talk-compose textarea")).to_be_focused()

    await row(page, "Good evening").hover()
    await row(page, "Good evening").get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row(other, "Good evening")).to_have_count(0)
    await expect(row(page, "Good evening")).to_have_count(0)


async def test_what_is_written_survives_a_reload(visit: Visit, alice: Person, board: Board) -> None:
    conversation = await direct(alice, 2)
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    page = visitor.page
    await page.locator(".talk-compose textarea").fill("half a sen")
    await page.reload()
    await expect(page.locator(".talk-compose textarea")).to_have_value("half a sen")


async def test_a_message_waits_for_the_line_and_comes_once(
    visit: Visit, alice: Person, board: Board
) -> None:
    conversation = await direct(alice, 2)
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    visitor.allowed.append("ERR_INTERNET_DISCONNECTED")
    page = visitor.page
    await expect(page.get_by_text("Nothing was said yet")).to_be_visible()
    await visitor.context.set_offline(True)
    await write(page, "from the tunnel")
    await expect(row(page, "from the tunnel")).to_be_visible()
    await expect(page.get_by_text("Not sent yet. It will be tried again.")).to_be_visible(
        timeout=30_000
    )
    await visitor.context.set_offline(False)
    await expect(page.locator(".talk-row.wish")).to_have_count(0)
    await expect(row(page, "from the tunnel")).to_have_count(1)
    told = await alice.get(f"/conversations/{conversation['id']}/messages")
    assert [each["body"] for each in told] == ["from the tunnel"]


async def test_a_long_talk_is_read_back_in_place(
    visit: Visit, alice: Person, olga: Person, board: Board
) -> None:
    conversation = await direct(alice, 2)
    for start in range(0, 460, 20):
        await asyncio.gather(
            *(say(olga, conversation, f"line {n}") for n in range(start, start + 20))
        )
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    page = visitor.page
    rows = page.locator(".talk-row")
    last = (await alice.get(f"/conversations/{conversation['id']}/messages?limit=1"))[0]
    await expect(page.locator(f'[data-id="{last["id"]}"]')).to_be_in_viewport()

    # Read back to the beginning: the row in sight stays where it is while others come above it.
    seen = 0
    for _ in range(40):
        before = await log(page).evaluate(
            """(log) => {
                log.scrollTop = Math.max(0, log.scrollTop - 400);
                const top = log.getBoundingClientRect().top;
                const row = [...log.querySelectorAll(".talk-row")]
                  .find((one) => one.getBoundingClientRect().top >= top);
                return [row.dataset.id, row.getBoundingClientRect().top - top];
            }"""
        )
        await page.wait_for_timeout(120)
        place = await log(page).evaluate(
            """(log, id) => log.querySelector(`[data-id="${id}"]`).getBoundingClientRect().top
                - log.getBoundingClientRect().top""",
            before[0],
        )
        assert abs(place - before[1]) < 3, (before, place)
        seen = max(seen, await rows.count())
    first = (await alice.get(f"/conversations/{conversation['id']}/messages?after=1&limit=200"))[0]
    await log(page).evaluate("(log) => { log.scrollTop = 0; }")
    at_first = page.locator(f'[data-id="{first["id"]}"]')
    async with asyncio.timeout(20):
        while not await at_first.count():
            await log(page).evaluate("(log) => { log.scrollTop = 0; }")
            await page.wait_for_timeout(100)
    await log(page).evaluate("(log) => { log.scrollTop = 0; }")
    await expect(at_first).to_be_in_viewport()
    assert seen <= 400
    assert await rows.count() <= 400

    # What comes meanwhile is counted, and is one click away.
    await say(olga, conversation, "are you there?")
    await page.get_by_role("button", name="1 new").click()
    await expect(row(page, "are you there?")).to_be_in_viewport()


async def test_hostile_text_is_text(visit: Visit, alice: Person, board: Board) -> None:
    conversation = await direct(alice, 2)
    texts = [
        "<script>document.title='owned'</script><img src=x onerror=alert(1)>",
        "[click](javascript:alert(1)) [data](data:text/html,x) [ok](https://example.org/)",
        "\u202eright to left\u202c",
        "W" * 500,
        ">" * 2000,
        "_ab" * 6600,
        "* a\n" * 4900,
        "`" * 300 + "\n| a | b |\n|---|---|\n| 1 | 2 |",
    ]
    for text in texts:
        await say(alice, conversation, text)
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    page = visitor.page
    await expect(page.locator(".talk-row")).to_have_count(len(texts))
    await expect(log(page).locator("img, script")).to_have_count(0)
    await expect(log(page).get_by_role("link")).to_have_count(1)
    assert "owned" not in await page.title()
    width = await log(page).evaluate("(log) => [log.scrollWidth, log.clientWidth]")
    assert width[0] <= width[1]
    # The page answers while long texts are read beside it.
    slowest = await page.evaluate(
        """async () => {
            let slowest = 0;
            let before = performance.now();
            for (let n = 0; n < 40; n += 1) {
              await new Promise((done) => setTimeout(done, 10));
              slowest = Math.max(slowest, performance.now() - before);
              before = performance.now();
            }
            return slowest;
        }"""
    )
    assert slowest < 500


async def test_both_texts_of_a_conflict_are_shown(
    visit: Visit, alice: Person, board: Board
) -> None:
    conversation = await direct(alice, 2)
    message = await say(alice, conversation, "first")
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    visitor.statuses.add(409)
    page = visitor.page
    await row(page, "first").hover()
    await row(page, "first").get_by_role("button", name="Edit").click()
    field = page.get_by_role("textbox", name="Edit the message")
    await field.fill("mine")
    path = f"/conversations/{conversation['id']}/messages/{message['id']}"
    await alice.put(path, {"body": "theirs"})
    await expect(field).to_have_value("mine")
    await field.press("Control+Enter")
    await expect(page.get_by_role("alert").filter(has_text="theirs")).to_be_visible()
    await page.get_by_role("button", name="Save mine").click()
    await expect(field).to_have_count(0)
    await expect(page.locator(".talk-row .md")).to_have_text("mine")
    assert (await alice.get(f"/conversations/{conversation['id']}/messages"))[0]["body"] == "mine"


async def test_files_are_sent_and_shown(visit: Visit, alice: Person, board: Board) -> None:
    conversation = await direct(alice, 2)
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    page = visitor.page
    await page.locator('.talk-bar input[type="file"]').set_input_files(
        [
            FilePayload(name="dot.png", mimeType="image/png", buffer=PICTURE),
            FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"hello"),
            FilePayload(name="wrong.txt", mimeType="text/plain", buffer=b"wrong"),
        ]
    )
    await page.get_by_role("button", name="Remove wrong.txt").click()
    await expect(page.locator(".talk-pending progress")).to_have_count(0)
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("button", name="Show dot.png")).to_be_visible()
    await expect(log(page).get_by_role("img", name="dot.png")).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="notes.txt").click()
    assert (await download.value).suggested_filename == "notes.txt"
    await page.get_by_role("button", name="Show dot.png").click()
    await expect(page.get_by_role("dialog", name="dot.png")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Show dot.png")).to_be_focused()


async def test_a_group_is_looked_after(visit: Visit, alice: Person, board: Board) -> None:
    group = await direct(alice, 2, 4, name="Party")
    visitor = await visit("alice", f"/messages/{group['id']}")
    page = visitor.page
    head = page.locator(".messages-head")
    await head.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Members").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Add somebody").click()
    await page.get_by_role("combobox", name="Add somebody").fill("eve")
    await page.get_by_role("option", name="Eve").click()
    await expect(dialog.get_by_text("@eve")).to_be_visible()
    await dialog.get_by_role("button", name="Remove: Bob").click()
    await (
        page.get_by_role("dialog", name="Are you sure?")
        .get_by_role("button", name="Remove")
        .click()
    )
    await expect(dialog.get_by_text("@bob")).to_have_count(0)
    await dialog.get_by_label("Name of the group").fill("Release party")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await expect(head.get_by_role("heading", name="Release party")).to_be_visible()
    await head.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Leave the group").click()
    await page.get_by_role("dialog").get_by_role("button", name="Leave the group").click()
    await expect(page).to_have_url(f"{visitor.url}/messages")
    await expect(page.get_by_text("No conversations yet")).to_be_visible()


async def test_a_conversation_of_others_is_not_there(
    visit: Visit, olga: Person, board: Board
) -> None:
    conversation = await direct(olga, 4)
    visitor = await visit("alice", f"/messages/{conversation['id']}")
    visitor.statuses.add(404)
    await expect(visitor.page.get_by_role("heading", name="Nothing here")).to_be_visible()


async def test_notifications_are_told_and_read(
    visit: Visit, alice: Person, olga: Person, bob: Person, board: Board
) -> None:
    await alice.post("/notifications/read-all", {}, status=204)
    visitor = await visit("alice", "/notifications")
    page = visitor.page
    items = page.locator(".notifications-one")
    await expect(page.get_by_role("button", name="All")).to_be_visible()
    had = len((await alice.get("/notifications"))["items"])
    await expect(items).to_have_count(had)
    card = await olga.post(
        f"{board.path}/columns/{board.backlog}/cards",
        {"title": "Repaint the gate", "assignee_ids": [alice.id]},
    )
    await expect(items.first).to_contain_text(f"Olga assigned you {card['key']} Repaint the gate")
    await expect(page).to_have_title("(1) Notifications · WarmDesk")
    await olga.post(f"{board.path}/cards/{card['id']}/comments", {"body": "@alice **look**"})
    await expect(items).to_have_count(had + 2)
    await expect(items.first).to_contain_text("look")
    await page.get_by_role("button", name="Unread (2)").click()
    await expect(items).to_have_count(2)
    await items.nth(1).get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Mark as read").click()
    await expect(items).to_have_count(1)
    await page.get_by_role("button", name="Mark all as read").click()
    await expect(items).to_have_count(0)
    await expect(page.get_by_text("All is read")).to_be_visible()
    await page.get_by_role("button", name="All", exact=True).click()
    await items.first.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(items).to_have_count(had + 1)


async def test_by_keyboard_alone(visit: Visit, alice: Person, board: Board) -> None:
    conversation = await direct(alice, 2)
    message = await say(alice, conversation, "first words")
    visitor = await visit("alice", "/messages")
    page = visitor.page
    link = page.get_by_role("link", name="Olga")
    await link.focus()
    await page.keyboard.press("Enter")
    await expect(row(page, "first words")).to_be_visible()
    await log(page).focus()
    await page.keyboard.press("ArrowUp")
    await expect(page.locator(f'[data-id="{message["id"]}"]')).to_be_focused()
    await expect(row(page, "first words").get_by_role("button").first).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="👍, 1: you")).to_be_visible()
