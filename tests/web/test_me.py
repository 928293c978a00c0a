"""One's own pages in a browser: profile, look, notifications, password, devices, keys."""

from __future__ import annotations

import io

from PIL import Image
from playwright.async_api import Page, Route, expect

from tests.conftest import Board, Wait
from tests.person import PASSWORD, Person
from tests.web.conftest import Visit, by_label
from tests.web.screens import two_frames

NEXT = "staple it all together"


async def me_of(person: Person) -> dict[str, object]:
    found: dict[str, object] = await person.get("/users/me")
    return found


async def theme_of(page: Page) -> str:
    return str(await page.evaluate("() => getComputedStyle(document.documentElement).colorScheme"))


async def test_names_and_picture(visit: Visit, board: Board, alice: Person) -> None:
    visitor = await visit("alice", "/me")
    page = visitor.page
    await by_label(page, "Display name").fill("Alice Liddell")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved")).to_be_visible()
    assert (await me_of(alice))["display_name"] == "Alice Liddell"

    visitor.statuses |= {409, 422}
    await expect(by_label(page, "Current password")).to_have_count(0)
    await by_label(page, "Mail address").fill("bob@example.org")
    await by_label(page, "Current password").fill(PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await expect(by_label(page, "Mail address")).to_have_attribute("aria-invalid", "true")
    await by_label(page, "Mail address").fill("alice@example.net")
    await by_label(page, "Current password").fill("not hers at all")
    await page.get_by_role("button", name="Save").click()
    await expect(by_label(page, "Current password")).to_have_attribute("aria-invalid", "true")
    await by_label(page, "Current password").fill(PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await expect(by_label(page, "Current password")).to_have_count(0)
    assert (await me_of(alice))["email"] == "alice@example.net"

    picture = io.BytesIO()
    Image.new("RGB", (40, 40), "#b3261e").save(picture, "PNG")
    await page.get_by_label("Choose a picture").set_input_files(
        {"name": "me.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    )
    await page.get_by_role("button", name="Remove the picture").click()
    await expect(page.get_by_role("button", name="Remove the picture")).to_have_count(0)
    assert (await me_of(alice))["avatar_url"] is None


async def test_a_refusal_leaves_who_writes_elsewhere_there(visit: Visit, board: Board) -> None:
    visitor = await visit("alice", "/me")
    visitor.statuses.add(409)
    page = visitor.page
    name = by_label(page, "First name")

    async def late(route: Route) -> None:
        await name.focus()
        await route.continue_()

    await page.route("**/users/me", late)
    await by_label(page, "Mail address").fill("bob@example.org")
    await by_label(page, "Current password").fill(PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await expect(by_label(page, "Mail address")).to_have_attribute("aria-invalid", "true")
    await two_frames(page)
    await two_frames(page)
    await expect(name).to_be_focused()
    await name.blur()
    await page.get_by_role("button", name="Save").focus()
    await page.unroute("**/users/me")
    await page.keyboard.press("Enter")
    await expect(by_label(page, "Mail address")).to_be_focused()


async def test_the_look_shows_at_once_and_on_all_devices(
    visit: Visit, board: Board, alice: Person, eventually: Wait
) -> None:
    page = (await visit("alice", "/me/appearance")).page
    other = (await visit("alice", "/me/appearance")).page
    await expect(other.get_by_label("Dark")).to_be_visible()
    await page.get_by_label("Dark").check()
    await page.get_by_label("Green").check()

    async def dark() -> bool:
        return await theme_of(page) == "dark" == await theme_of(other)

    await eventually(dark, limit=15)
    await expect(other.locator("html")).to_have_attribute("data-accent", "green")

    async def kept() -> bool:
        mine = await me_of(alice)
        return (mine["theme"], mine["accent_color"]) == ("dark", "green")

    await eventually(kept, limit=15)
    await by_label(page, "Size of the text").select_option("20")
    await expect(page.locator("html")).to_have_css("font-size", "19.2857px")


async def test_another_language_is_spoken_at_once(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/me")).page
    await by_label(page, "Language").select_option("nl")
    await expect(page.get_by_role("heading", name="Mijn account")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Mijn account")).to_be_visible()


async def test_notifications_are_chosen(
    visit: Visit, board: Board, alice: Person, eventually: Wait
) -> None:
    page = (await visit("alice", "/me/notifications")).page
    await by_label(page, "I am mentioned").select_option("off")

    async def kept() -> bool:
        notify = (await alice.get("/users/me"))["notify"]
        return bool(notify["mention"] == "off")

    await eventually(kept, limit=15)
    await page.get_by_role("button", name="Get an address").click()
    await expect(page.get_by_text("/users/me/calendar.ics?token=")).to_be_visible()


async def test_a_password_is_changed_and_other_sessions_end(
    visit: Visit, board: Board, alice: Person
) -> None:
    other = await visit("alice", "/me")
    visitor = await visit("alice", "/me/security")
    page = visitor.page
    await expect(other.page.get_by_role("banner")).to_be_visible()
    other.statuses.add(401)
    await by_label(page, "Current password").fill(PASSWORD)
    await by_label(page, "New password").fill(NEXT)
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_text("The password was changed")).to_be_visible()
    await expect(other.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_role("banner")).to_be_visible()


async def test_a_session_elsewhere_is_ended(visit: Visit, board: Board) -> None:
    other = await visit("alice", "/me")
    await expect(other.page.get_by_role("banner")).to_be_visible()
    other.statuses.add(401)
    page = (await visit("alice", "/me/devices")).page
    await expect(page.get_by_text("this device")).to_be_visible()
    await page.get_by_role("button", name="Sign out everywhere else").click()
    await page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere else").click()
    await expect(other.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_role("button", name="End", exact=True)).to_have_count(0)


async def test_a_key_is_made_shown_once_and_revoked(
    visit: Visit, board: Board, alice: Person
) -> None:
    page = (await visit("alice", "/me/keys")).page
    await expect(page.get_by_text("No keys yet")).to_be_visible()
    await by_label(page, "Name").fill("CI")
    await by_label(page, "tickets").check()
    await page.get_by_role("button", name="Create the key").click()
    key = await page.locator(".me-secret code").inner_text()
    assert key.startswith("wd_")
    (kept,) = await alice.get("/auth/api-keys")
    assert (kept["name"], kept["scopes"]) == ("CI", ["tickets"])

    await page.get_by_role("button", name="Done").click()
    await expect(page.get_by_text(key)).to_have_count(0)
    await page.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("No keys yet")).to_be_visible()
    assert await alice.get("/auth/api-keys") == []
