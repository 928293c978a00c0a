"""The administration: accounts, projects, settings, mail, backups, the sign-in log, the audit."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.conftest import Board, Wait
from tests.person import Person
from tests.web.conftest import Visit, by_label
from tests.web.test_pages import agree, button
from warmdesk.schemas.settings import FIELDS

PARTS = ("users", "projects", "settings", "mail", "backups", "logins", "audit")


async def test_it_is_for_administrators(visit: Visit) -> None:
    page = (await visit("alice", "/admin")).page

    await expect(page.get_by_role("heading", name="Not for your role")).to_be_visible()


@pytest.mark.parametrize("part", PARTS)
async def test_every_part_shows_at_every_width(visit: Visit, board: Board, part: str) -> None:
    page = (await visit("root", f"/admin/{part}")).page
    await expect(page.locator(".page-tabs [aria-current]")).to_be_visible()
    await expect(page.locator("main h2").first).to_be_visible()
    for width in (320, 390, 1024, 2560):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.querySelector('main').scrollWidth") <= width


async def test_an_account_is_made_changed_deleted_and_brought_back(
    visit: Visit, root: Person
) -> None:
    page = (await visit("root", "/admin")).page
    await button(page, "New account").click()
    await by_label(page, "User name").fill("mallory")
    await by_label(page, "E-mail").fill("mallory@example.org")
    await by_label(page, "Password").fill("correct horse battery")
    await button(page.get_by_role("dialog"), "Create account").click()
    dialog = page.get_by_role("dialog", name="mallory")
    await dialog.get_by_label("Name shown").fill("Mallory")
    await dialog.get_by_label("Role", exact=True).select_option("viewer")
    await button(dialog, "Save").click()
    await expect(page.get_by_role("dialog", name="Mallory", exact=True)).to_be_visible()

    found = [each for each in await root.get("/users") if each["username"] == "mallory"]
    assert (found[0]["global_role"], found[0]["must_change_password"]) == ("viewer", True)
    await button(page, "Delete the account").click()
    asked = page.get_by_role("dialog", name="Are you sure?")
    await asked.get_by_role("button", name="Delete").click()
    await expect(page.get_by_text(re.compile("^Deleted on 20"))).to_be_visible()
    await button(page, "Bring back").click()
    await expect(button(page, "Delete the account")).to_be_visible()


async def test_a_name_that_is_taken_is_said_beside_its_field(visit: Visit) -> None:
    visitor = await visit("root", "/admin")
    visitor.statuses.add(409)
    page = visitor.page
    await button(page, "New account").click()
    await by_label(page, "User name").fill("alice")
    await by_label(page, "E-mail").fill("another@example.org")
    await by_label(page, "Password").fill("correct horse battery")
    await button(page.get_by_role("dialog"), "Create account").click()

    await expect(by_label(page, "User name")).to_have_attribute("aria-invalid", "true")


async def test_accounts_are_found(visit: Visit) -> None:
    page = (await visit("root", "/admin")).page
    await expect(button(page, "Olga")).to_be_visible()
    await by_label(page, "Find an account").fill("ali")

    await expect(button(page, "Alice")).to_be_visible()
    await expect(button(page, "Olga")).to_have_count(0)
    await by_label(page, "Role").select_option("admin")
    await expect(page.get_by_role("heading", name="No account fits")).to_be_visible()


async def test_somebody_is_put_into_projects(visit: Visit, board: Board, root: Person) -> None:
    page = (await visit("root", "/admin")).page
    await button(page, "Eve").click()
    await page.get_by_title("Projects of this account").click()
    await page.get_by_role("option", name="Demo").click()

    await expect(page.get_by_role("option", name="Demo")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("option", name="Demo")).to_contain_text("Member")
    assert [each["slug"] for each in await root.get("/users/5/projects")] == ["demo"]


async def test_a_project_is_archived_and_ended_for_good(
    visit: Visit, board: Board, root: Person
) -> None:
    page = (await visit("root", "/admin/projects")).page
    await button(page, "What to do with Demo").click()
    await page.get_by_role("menuitem", name="Archive").click()
    await expect(page.locator(".page-row")).to_contain_text("Archived")
    await button(page, "What to do with Demo").click()
    await page.get_by_role("menuitem", name="End for good").click()
    await expect(button(page.get_by_role("dialog"), "End for good")).to_be_disabled()
    await by_label(page, "Type “demo”").fill("demo")
    await button(page.get_by_role("dialog"), "End for good").click()

    await expect(page.get_by_role("heading", name="No projects yet")).to_be_visible()
    assert await root.get("/admin/projects") == []


async def test_every_setting_can_be_set(visit: Visit) -> None:
    page = (await visit("root", "/admin/settings")).page
    there: set[str] = set()
    for part, one in (
        ("settings", "company_name"),
        ("mail", "smtp_host"),
        ("backups", "backup_keep"),
    ):
        await page.goto(page.url.rpartition("/")[0] + f"/{part}")
        await expect(page.locator(f"main form [name={one}]")).to_be_visible()
        there |= set(
            await page.locator("main form [name]").evaluate_all("all => all.map(e => e.name)")
        )

    assert set(FIELDS) <= there


async def test_settings_are_changed_and_only_those(visit: Visit, root: Person) -> None:
    before = await root.get("/admin/system-settings")
    page = (await visit("root", "/admin/settings")).page
    await by_label(page, "Name of the installation").fill("Wonderland Ltd")
    await page.get_by_role("checkbox", name="People may make their own accounts").uncheck()
    await page.get_by_role("region", name="General").get_by_role("button", name="Save").click()

    await expect(page.get_by_text("Saved")).to_be_visible()
    changed = {"company_name": "Wonderland Ltd", "registration_enabled": False}
    assert await root.get("/admin/system-settings") == before | changed


async def test_a_setting_that_cannot_be_is_said_beside_its_field(visit: Visit) -> None:
    visitor = await visit("root", "/admin/settings")
    visitor.statuses.add(400)
    page = visitor.page
    await by_label(page, "Time zone").fill("Middle/Earth")
    await page.get_by_role("region", name="New accounts").get_by_role("button", name="Save").click()

    await expect(by_label(page, "Time zone")).to_have_attribute("aria-invalid", "true")
    await expect(by_label(page, "Time zone")).to_have_value("Middle/Earth")


async def test_a_mail_that_cannot_go_is_said(visit: Visit) -> None:
    visitor = await visit("root", "/admin/mail")
    visitor.statuses.add(422)
    page = visitor.page
    await expect(page.get_by_text("No server, no mail")).to_be_visible()
    await button(page, "Send a test mail").click()

    await expect(page.get_by_role("alert").first).to_be_visible()


async def test_backups_are_made_downloaded_and_deleted(
    visit: Visit, board: Board, root: Person, eventually: Wait
) -> None:
    page = (await visit("root", "/admin/backups")).page
    await expect(page.get_by_role("heading", name="No backups yet")).to_be_visible()
    await button(page, "Back up now").click()
    await expect(page.get_by_text("The backup is made")).to_be_visible()
    (kept,) = await root.get("/admin/backups")
    await page.get_by_role("button", name="What to do with the backup").click()
    async with page.expect_download() as waiting:
        await page.get_by_role("menuitem", name="Download").click()
    file = await waiting.value
    assert file.suggested_filename == kept["filename"]
    assert Path(await file.path()).stat().st_size == kept["size_bytes"]

    await page.get_by_role("button", name="What to do with the backup").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await agree(page, "Delete")
    await expect(page.get_by_role("heading", name="No backups yet")).to_be_visible()
    assert await root.get("/admin/backups") == []


async def test_a_backup_is_put_back(visit: Visit, board: Board, root: Person) -> None:
    visitor = await visit("root", "/admin/backups")
    visitor.statuses.add(503)
    page = visitor.page
    await button(page, "Back up now").click()
    await expect(page.get_by_text("The backup is made")).to_be_visible()
    await root.put("/admin/projects/demo", {"name": "Another"})
    await page.get_by_role("button", name="What to do with the backup").click()
    await page.get_by_role("menuitem", name="Put back").click()
    put_back = button(page.get_by_role("dialog"), "Put back")
    await expect(put_back).to_be_disabled()
    await by_label(page, "Type “restore”").fill("restore")
    go = asyncio.Event()

    async def wait(route: Route) -> None:
        await go.wait()
        await route.continue_()

    await visitor.context.route("**/restore", wait)
    async with page.expect_request("**/restore"):
        await put_back.click()
    # Meanwhile it stays, however often somebody wants it to go.
    dialog = page.locator("dialog")
    for _ in range(3):
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_js_property("open", True)
    go.set()
    await expect(page.get_by_role("heading", name="It is back")).to_be_visible()
    await button(page.get_by_role("dialog"), "Start again").click()

    await expect(page.locator(".page-row")).to_have_count(2)
    await page.goto(f"{visitor.url}/admin/projects")
    await expect(page.get_by_role("link", name="Demo")).to_be_visible()


async def test_the_sign_in_log_tells_what_failed(visit: Visit, url: str) -> None:
    visitor = await visit("root", "/admin/logins")
    page = visitor.page
    answer = await visitor.context.request.post(
        f"{url}/api/v1/auth/login", data={"username": "alice", "password": "wrong"}
    )
    assert answer.status == 401
    await page.get_by_title("Account", exact=True).click()
    await page.get_by_role("combobox", name="Account").fill("alice")
    await page.get_by_role("option", name="Alice").click()

    await expect(page.get_by_role("cell", name="Sign-in failed")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"/admin/logins\?user=3$"))


async def test_the_audit_tells_who_did_what_to_whom(visit: Visit, root: Person) -> None:
    await root.put("/users/5", {"global_role": "viewer"})
    page = (await visit("root", "/admin/audit")).page
    line = page.locator(".admin-line").first
    await expect(line).to_contain_text("Role changed")
    await expect(line).to_contain_text("Eve · Root")
    await expect(line.locator("ins")).to_have_text("viewer")
    await by_label(page, "What").select_option("setting.changed")
    await expect(page.get_by_role("heading", name="Nothing was written down")).to_be_visible()
