"""A project's chat and topics in browsers of several people, and what they look like by numbers."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.conftest import Board
from tests.person import Person
from tests.web.conftest import Visit
from tests.web.screens import two_frames
from tests.web.test_losses import hold

HOME = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "node"
COLOUR = re.compile(r"(--[\w-]+): light-dark\((#[0-9a-f]{3,6}), (#[0-9a-f]{3,6})\)")
TEXTS = ("text", "soft", "faint", "accent", "ok", "warn", "bad")
GROUNDS = ("bg", "panel", "card", "card-hover")


def log(page: Page) -> Locator:
    return page.get_by_role("log")


def row(page: Page, text: str) -> Locator:
    return page.locator(".talk-row").filter(has_text=text)


def field(page: Page) -> Locator:
    return page.locator(".talk-compose textarea")


async def test_people_of_a_project_talk(visit: Visit, board: Board) -> None:
    alice, olga = await visit("alice", "/p/demo/chat"), await visit("olga", "/p/demo/chat")
    page, other = alice.page, olga.page
    await expect(page.get_by_text("Nothing was said yet")).to_be_visible()

    await field(page).press_sequentially("Ask @ol")
    await page.get_by_role("option", name="Olga").click()
    await expect(field(page)).to_have_value("Ask @olga ")
    await field(page).press_sequentially("about the door")
    await page.keyboard.press("Shift+Enter")
    await field(page).press_sequentially("today")
    await page.keyboard.press("Enter")
    await expect(row(other, "about the door")).to_be_visible()
    await expect(log(other).locator(".md-at.mine")).to_have_text("@olga")
    await expect(field(page)).to_have_value("")

    await field(other).press_sequentially("Yes")
    await expect(page.get_by_text("Olga is writing…")).to_be_visible()
    await other.keyboard.press("Enter")
    await expect(row(page, "Yes")).to_be_visible()

    # The owner takes out what others wrote; a member only what is their own.
    await row(page, "Yes").hover()
    await row(page, "Yes").get_by_role("button", name="More").click()
    await expect(page.get_by_role("menuitem", name="Copy text")).to_be_visible()
    await expect(page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    await page.keyboard.press("Escape")
    await row(other, "about the door").hover()
    await row(other, "about the door").get_by_role("button", name="More").click()
    await other.get_by_role("menuitem", name="Delete").click()
    await other.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row(page, "about the door")).to_have_count(0)


async def test_what_is_on_its_way_survives_a_reload(
    visit: Visit, board: Board, alice: Person
) -> None:
    visitor = await visit("alice", "/p/demo/chat")
    page = visitor.page
    await visitor.context.route("**/chat/messages", lambda route: route.abort())
    async with page.expect_request("**/chat/messages"):
        await field(page).fill("The hinge is oiled")
        await page.keyboard.press("Enter")
    await expect(row(page, "The hinge is oiled")).to_have_class(re.compile("wish"))
    visitor.statuses.add(503)
    # The last one is asked first; none gets through in between.
    await visitor.context.route(
        "**/chat/messages", lambda route: route.fulfill(status=503, json={"error": "later"})
    )
    await page.reload()
    await expect(row(page, "The hinge is oiled")).to_have_class(re.compile("wish"))
    await visitor.context.unroute("**/chat/messages")
    await expect(page.locator(".talk-row:not(.wish)")).to_contain_text("The hinge is oiled")
    await expect(page.locator(".talk-row")).to_have_count(1)
    (said,) = await alice.get(f"{board.path}/chat/messages")
    assert said["body"] == "The hinge is oiled"


async def test_what_waits_elsewhere_is_said_at_the_start(
    visit: Visit, board: Board, alice: Person
) -> None:
    await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/chat")
    page = visitor.page
    gone = re.compile("/chat/messages$|/comments$")
    await visitor.context.route(gone, lambda route: route.abort())
    async with page.expect_request("**/chat/messages"):
        await field(page).fill("The hinge is oiled")
        await page.keyboard.press("Enter")
    await expect(row(page, "The hinge is oiled")).to_have_class(re.compile("wish"))
    await page.goto(f"{visitor.url}/p/demo/c/DEMO-1")
    async with page.expect_request("**/comments"):
        await page.get_by_role("textbox", name="Comment on DEMO-1").fill("And painted")
        await page.keyboard.press("Control+Enter")
    await page.goto(f"{visitor.url}/me")
    await expect(page.get_by_text("2 messages are not sent yet.")).to_be_visible()
    await visitor.context.unroute(gone)
    # Each is led to when the one before is no longer there.
    kept = "Object.keys(sessionStorage).filter((one) => one.startsWith('warmdesk.outbox'))"
    for left in (1, 0):
        await page.get_by_role("button", name="Show", exact=True).click()
        await page.wait_for_function(f"() => {kept}.length === {left}")
    await expect(page.get_by_text("not sent yet")).to_have_count(0)
    said = await alice.get(f"{board.path}/chat/messages")
    noted = await alice.get(f"{board.path}/cards/DEMO-1/comments")
    assert [each["body"] for each in said + noted] == ["The hinge is oiled", "And painted"]
    await page.goto(f"{visitor.url}/me")
    await expect(page.get_by_role("link", name="Profile")).to_be_visible()
    await expect(page.get_by_text("not sent yet")).to_have_count(0)


async def test_a_viewer_reads(visit: Visit, alice: Person, olga: Person, board: Board) -> None:
    await alice.post(f"{board.path}/chat/messages", {"body": "hello there"})
    visitor = await visit("bob", "/p/demo/chat")
    await expect(row(visitor.page, "hello there")).to_be_visible()
    await expect(visitor.page.get_by_text("As a viewer you can read here")).to_be_visible()
    await expect(field(visitor.page)).to_have_count(0)

    member = await visit("alice", "/p/demo/chat")
    await expect(field(member.page)).to_be_visible()
    await olga.delete(board.path)
    await expect(member.page.get_by_text("The project is archived: the chat")).to_be_visible()


async def test_a_link_leads_to_an_old_message(visit: Visit, alice: Person, board: Board) -> None:
    made = []
    for start in range(0, 260, 20):
        made += await asyncio.gather(
            *(
                alice.post(f"{board.path}/chat/messages", {"body": f"line {n}"})
                for n in range(start, start + 20)
            )
        )
    old = sorted(made, key=lambda each: each["id"])[20]
    visitor = await visit("alice", f"/p/demo/chat?m={old['id']}")
    page = visitor.page
    await expect(page.locator(f'[data-id="{old["id"]}"]')).to_be_in_viewport()
    await expect(page.locator(f'[data-id="{old["id"]}"]')).to_have_class(re.compile("target"))
    wait = "log => new Promise(done => log.addEventListener('scroll', () => done(), {once: true}))"
    scrolled = asyncio.ensure_future(page.locator(".talk-log").evaluate(wait))

    async def late(route: Route) -> None:
        await scrolled  # what stood here has moved before the newest come
        await route.continue_()

    await page.route("**/chat/messages?*", late)
    await page.get_by_role("button", name="To the newest").click()
    newest = max(each["id"] for each in made)
    await expect(page.locator(f'[data-id="{newest}"]')).to_be_in_viewport()

    # A chat that is opened again without a message in its address shows the newest.
    await page.goto(f"{visitor.url}/p/demo/chat?m={old['id']}")
    await expect(page.locator(f'[data-id="{old["id"]}"]')).to_be_in_viewport()
    await page.get_by_role("link", name="Topics").click()
    await expect(page.get_by_role("link", name="Topics")).to_have_attribute("aria-current", "page")
    await page.get_by_role("link", name="Chat").click()
    await expect(page.locator(f'[data-id="{newest}"]')).to_be_in_viewport()


FIRST_IN_SIGHT = """(log) => {
  const { top } = log.getBoundingClientRect();
  const rows = [...log.querySelectorAll(".talk-row")];
  const row = rows.find((one) => one.getBoundingClientRect().bottom > top);
  return [Number(row.dataset.id), row.getBoundingClientRect().top - top];
}"""


async def test_what_is_read_back_stays_where_it_is(
    visit: Visit, alice: Person, olga: Person, board: Board
) -> None:
    """Whatever happens above it: the row itself goes, and then one before it grows."""
    made = [
        await olga.post(f"{board.path}/chat/messages", {"body": f"line {number}\n\nof two"})
        for number in range(50)
    ]
    page = (await visit("alice", "/p/demo/chat")).page
    await expect(row(page, "line 49")).to_be_in_viewport()
    await log(page).evaluate("(log) => { log.scrollTop = log.scrollHeight / 2; }")
    await expect(page.get_by_role("button", name="To the newest")).to_be_visible()
    first, _ = await log(page).evaluate(FIRST_IN_SIGHT)

    await olga.delete(f"{board.path}/chat/messages/{first}")
    await expect(page.locator(f'[data-id="{first}"]')).to_have_count(0)
    await two_frames(page)
    before = await log(page).evaluate(FIRST_IN_SIGHT)
    tall = "\n".join(f"more {number}" for number in range(20))
    above = next(each for each in made if each["body"].startswith("line 5\n"))
    await olga.put(f"{board.path}/chat/messages/{above['id']}", {"body": tall})
    await expect(row(page, "more 19")).to_be_attached()

    await two_frames(page)
    after = await log(page).evaluate(FIRST_IN_SIGHT)
    assert after == [before[0], pytest.approx(before[1], abs=1)]


async def test_unread_messages_are_marked_and_read(
    visit: Visit, alice: Person, olga: Person, board: Board
) -> None:
    first = await olga.post(f"{board.path}/chat/messages", {"body": "old news"})
    await alice.post(f"{board.path}/chat/read", {"message_id": first["id"]}, status=204)
    await olga.post(f"{board.path}/chat/messages", {"body": "fresh news"})
    visitor = await visit("alice", "/p/demo/chat")
    page = visitor.page
    await expect(page.locator(".talk-new")).to_be_visible()
    await expect(row(page, "fresh news")).to_be_visible()
    async with asyncio.timeout(10):
        while (await alice.get(board.path))["unread_count"]:
            await asyncio.sleep(0.05)


async def test_a_topic_lives_while_it_is_open(visit: Visit, alice: Person, board: Board) -> None:
    olga, reader = await visit("olga", "/p/demo/topics"), await visit("alice", "/p/demo/topics")
    page, other = olga.page, reader.page
    await expect(other.get_by_text("No topics yet")).to_be_visible()
    await page.get_by_role("button", name="New topic").click()
    dialog = page.get_by_role("dialog", name="New topic")
    await expect(dialog.get_by_label("Title")).to_be_focused()
    await dialog.get_by_label("Title").fill("Which door first?")
    await dialog.get_by_label("Text").fill("Both **squeak**.")
    await dialog.get_by_role("button", name="Begin the topic").click()
    await expect(page.locator(".topic strong")).to_have_text("squeak")

    await other.get_by_role("link", name="Which door first?").click()
    await field(other).fill("The front door")
    await field(other).press("Control+Enter")
    await expect(row(page, "The front door")).to_be_visible()
    await expect(page.get_by_role("heading", name="1 reply")).to_be_visible()

    await page.locator(".topic").get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Pin").click()
    await expect(other.locator(".topic").get_by_title("Pinned")).to_be_visible()

    await page.locator(".topic").get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Edit").click()
    await page.get_by_label("Title").fill("Which gate first?")
    await page.get_by_role("button", name="Save").click()
    await expect(other.get_by_role("heading", name="Which gate first?")).to_be_visible()

    await page.locator(".topic").get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("No topics yet")).to_be_visible()
    await expect(other.get_by_text("This topic was deleted")).to_be_visible()
    await other.get_by_role("link", name="All topics").click()
    await expect(other.get_by_text("No topics yet")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 1024, 2560])
async def test_nothing_is_wider_than_the_screen(
    visit: Visit, alice: Person, board: Board, width: int
) -> None:
    table = f"|{'a|' * 20}\n|{'-|' * 20}"
    text = f"{'W' * 400} https://example.org/{'a' * 200}\n\n```\n{'x' * 300}\n```\n\n{table}"
    await alice.post(f"{board.path}/chat/messages", {"body": text})
    topic = await alice.post(f"{board.path}/topics", {"title": "T" * 300, "body": text})
    visitor = await visit("alice", "/p/demo/chat", width=width)
    page = visitor.page
    for path in ("/p/demo/chat", "/p/demo/topics", f"/p/demo/topics/{topic['id']}", "/messages"):
        await page.goto(visitor.url + path)
        await expect(page.get_by_role("banner")).to_be_visible()
        await expect(page.locator(".skeleton")).to_have_count(0)
        wide = await page.evaluate(
            """() => [...document.querySelectorAll(
                "main, .talk-log, .topics-page, .frame-top, .frame-tabs")]
              .filter((one) => one.scrollWidth > one.clientWidth + 1)
              .map((one) => one.className || one.tagName)"""
        )
        assert wide == [], (path, wide)


def luminance(colour: str) -> float:
    """By WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(each * 2 for each in digits)
    parts = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def blend(over: str, under: str, part: float) -> str:
    """A colour laid over another in sRGB, as `color-mix` does."""

    def parts(colour: str) -> list[int]:
        digits = colour.lstrip("#")
        digits = digits if len(digits) == 6 else "".join(each * 2 for each in digits)
        return [int(digits[at : at + 2], 16) for at in (0, 2, 4)]

    mixed = (
        round(a * part + b * (1 - part)) for a, b in zip(parts(over), parts(under), strict=True)
    )
    return "#" + "".join(f"{each:02x}" for each in mixed)


def themes() -> dict[str, dict[str, str]]:
    """The colours of base.css by theme, for each accent."""
    text = (HOME / "warmdesk/web/base.css").read_text()
    root = text.partition(":root {")[2].partition("\n}")[0]
    accents = {"blue": ""} | dict(re.findall(r'\[data-accent="(\w+)"\] \{([^}]*)\}', text))
    assert len(accents) == 4
    found = {}
    for accent, own in accents.items():
        for side, theme in ((1, "light"), (2, "dark")):
            both = COLOUR.findall(root) + COLOUR.findall(own)
            found[f"{theme} {accent}"] = {each[0][2:]: each[side] for each in both}
    return found


@pytest.mark.parametrize("theme", themes())
def test_every_text_is_readable(theme: str) -> None:
    colours = themes()[theme]
    poor = {}
    for ground in GROUNDS:
        for name in TEXTS:
            poor[name, ground] = contrast(colours[name], colours[ground])
        # What is chosen or pointed at has the accent under it.
        tinted = blend(colours["accent"], colours[ground], 0.12)
        for name in ("text", "soft", "accent"):
            poor[name, f"{ground} tinted"] = contrast(colours[name], tinted)
    poor["on-accent", "accent"] = contrast(colours["on-accent"], colours["accent"])
    poor["on-bad", "bad"] = contrast(colours["on-bad"], colours["bad"])
    poor["on-toast", "toast"] = contrast(colours["on-toast"], colours["toast"])
    for name in ("warn", "ok", "bad"):
        poor[name, "bar"] = contrast(colours[name], blend(colours[name], colours["card"], 0.12))
    assert {pair: round(value, 2) for pair, value in poor.items() if value < 4.5} == {}


@pytest.mark.parametrize("theme", themes())
def test_every_edge_of_a_field_is_seen(theme: str) -> None:
    colours = themes()[theme]
    edges = {
        (name, ground): round(contrast(colours[name], colours[ground]), 2)
        for name in ("edge", "accent")
        for ground in GROUNDS
    }
    assert {pair: value for pair, value in edges.items() if value < 3} == {}


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("talk*.test.mjs")), ids=lambda p: p.name)
def test_the_rules_of_talk(script: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here: the rules of talk are not tried")
    done = subprocess.run(
        ["node", "--test", "--test-force-exit", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


async def test_a_chat_that_is_hidden_reads_nothing(
    visit: Visit, board: Board, alice: Person, olga: Person
) -> None:
    page = (await visit("alice", "/p/demo", width=1440)).page
    await page.get_by_role("button", name="Chat", exact=True).click()
    await expect(field(page)).to_be_visible()
    await page.set_viewport_size({"width": 1000, "height": 800})
    await expect(field(page)).to_be_hidden()
    await olga.post(f"{board.path}/chat/messages", {"body": "Anybody here?"})
    tab = page.get_by_role("link", name=re.compile("Chat"))
    await expect(tab).to_contain_text("1")
    await page.wait_for_timeout(2500)  # what reads would have read by now
    assert (await alice.get(board.path))["unread_count"] == 1
    await page.set_viewport_size({"width": 1440, "height": 800})
    await expect(tab).not_to_contain_text("1")


async def test_what_was_written_where_all_is_gone_can_be_read(
    visit: Visit, board: Board, alice: Person
) -> None:
    await board.card("Fix the door")
    visitor = await visit("alice", "/p/demo/c/DEMO-1")
    visitor.statuses.add(404)
    page = visitor.page
    await page.get_by_role("textbox", name="Comment on DEMO-1").fill("A long story")
    await alice.delete(f"{board.path}/cards/DEMO-1")
    left = page.get_by_role("textbox", name="You wrote this")
    await expect(left).to_have_value("A long story")
    await page.get_by_role("button", name="Forget it").click()
    await expect(left).to_have_count(0)
    assert await page.evaluate("Object.keys(sessionStorage).filter(k => k.includes('draft'))") == []


async def test_a_name_that_is_written_whole_is_sent_by_one_enter(
    visit: Visit, board: Board, alice: Person
) -> None:
    page = (await visit("alice", "/p/demo/chat")).page
    await field(page).press_sequentially("Ask @olga")
    await expect(page.get_by_role("option", name="Olga")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(row(page, "Ask @olga")).to_be_visible()
    await expect(field(page)).to_have_value("")


async def test_the_tools_of_a_message_stay_when_its_edit_ends(
    visit: Visit, board: Board, alice: Person
) -> None:
    await alice.post(f"{board.path}/chat/messages", {"body": "The hinge squeaks"})
    page = (await visit("alice", "/p/demo/chat")).page
    await row(page, "squeaks").hover()
    await row(page, "squeaks").get_by_role("button", name="Edit").click()
    await page.locator(".talk-row textarea").fill("The hinge is quiet")
    await page.locator(".talk-row").last.hover()
    await page.keyboard.press("Enter")
    await expect(row(page, "is quiet")).to_be_visible()
    await expect(row(page, "is quiet").get_by_role("button", name="Edit")).to_be_visible()


async def test_the_help_names_the_keys_of_a_conversation(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/p/demo/chat")).page
    await log(page).focus()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("Between messages")


async def test_a_file_on_its_way_arrives_though_i_look_elsewhere_meanwhile(
    visit: Visit, board: Board, alice: Person
) -> None:
    page = (await visit("alice", "/p/demo/chat")).page
    held = await hold(page, "**/attachments", lambda request: request.method == "POST")
    await page.locator(".talk-compose input[type=file]").set_input_files(
        {"name": "plan.txt", "mimeType": "text/plain", "buffer": b"first the door"}
    )
    await held.came()
    await page.get_by_role("link", name="Board", exact=True).click()
    await expect(page.locator(".column").first).to_be_visible()
    await page.get_by_role("link", name="Chat", exact=True).click()
    await expect(page.locator(".talk-pending-name")).to_have_text("plan.txt")
    await field(page).fill("Here it is")
    await expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "true")
    held.go()
    await expect(page.get_by_role("button", name="Send")).not_to_have_attribute(
        "aria-disabled", "true"
    )
    await field(page).press("Enter")
    await expect(row(page, "Here it is")).to_contain_text("plan.txt")
    (said,) = await alice.get(f"{board.path}/chat/messages")
    assert [each["filename"] for each in said["attachments"]] == ["plan.txt"]
