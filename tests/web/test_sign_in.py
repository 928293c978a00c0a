"""The doors in a browser: sign in and out, register, a forgotten password, invitations, what has to
be changed first, the second factor.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from playwright.async_api import Page, async_playwright, expect

from tests.conftest import Board, serving
from tests.person import PASSWORD, Person
from tests.web.conftest import Visit, Visitor, by_label, enter, module, program
from warmdesk import clock
from warmdesk.auth.totp import STEP_SECONDS, password_at
from warmdesk.config import Settings

NEXT = "staple it all together"


async def sign_in(page: Page, name: str = "alice", password: str = PASSWORD) -> None:
    await by_label(page, "Username or mail address").fill(name)
    await by_label(page, "Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


def code_now(secret: str) -> str:
    """What an authenticator shows."""
    return password_at(secret, int(clock.now() // STEP_SECONDS))


async def signed_in(page: Page) -> None:
    """The page of somebody who is signed in."""
    await expect(page.get_by_role("banner")).to_be_visible()


async def test_somebody_signs_in_stays_so_and_signs_out(visit: Visit, board: Board) -> None:
    visitor = await visit(path="/me")
    page = visitor.page
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(by_label(page, "Username or mail address")).to_be_focused()

    visitor.statuses.add(401)
    await sign_in(page, password="another one altogether")
    await expect(page.get_by_role("main").get_by_role("alert")).to_contain_text(
        "Wrong name or password"
    )
    await sign_in(page)
    await signed_in(page)
    assert page.url.endswith("/me")

    await page.reload()
    await signed_in(page)
    second = await visitor.tab("/me")
    await signed_in(second)

    await page.get_by_role("button", name="Alice").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(second.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_no_script_sees_the_session(visit: Visit, board: Board) -> None:
    visitor = await visit(path="/")
    page = visitor.page
    async with page.expect_response("**/auth/login") as told:
        await sign_in(page)
    answer = await (await told.value).json()
    assert "refresh_token" not in answer
    await signed_in(page)

    (cookie,) = await visitor.context.cookies(f"{visitor.url}/api/v1/auth")
    assert (cookie["name"], cookie["httpOnly"]) == ("warmdesk_refresh", True)
    assert (cookie["sameSite"], cookie["path"]) == ("Strict", "/api/v1/auth")
    seen = await page.evaluate(
        "() => [document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)]"
    )
    assert not any(answer["access_token"] in each for each in seen)
    assert seen[0] == ""


async def test_somebody_registers_and_is_told_what_is_wrong(visit: Visit, board: Board) -> None:
    visitor = await visit(path="/")
    page = visitor.page
    await page.get_by_role("link", name="Create an account").click()
    visitor.statuses.update({400, 409})
    await by_label(page, "Your name").fill("Zoe")
    await by_label(page, "Username").fill("alice")
    await by_label(page, "Mail address").fill("zoe@example.org")
    await by_label(page, "Password").fill("short")
    await page.get_by_role("button", name="Create the account").click()
    field = by_label(page, "Password")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    await field.fill("zoe keeps bees")
    await page.get_by_role("button", name="Create the account").click()
    await expect(by_label(page, "Username")).to_have_attribute("aria-invalid", "true")
    await by_label(page, "Username").fill("zoe")
    await page.get_by_role("button", name="Create the account").click()
    await signed_in(page)


async def test_on_an_empty_server_the_first_account_is_made(
    visit: Visit, settings: Settings, empty_database_url: str
) -> None:
    async with serving(replace(settings, database_url=empty_database_url)) as empty:
        page = (await visit(path="/me", at=empty.url)).page
        await make_the_first_account(page)
        another = (await visit(path="/", at=empty.url)).page
        await expect(another.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.close()
        await another.close()


async def make_the_first_account(page: Page) -> None:
    await expect(page.get_by_role("heading", name="Create the first account")).to_be_visible()
    await expect(page.get_by_text("Yours will be the administrator’s.")).to_be_visible()
    await by_label(page, "Username").fill("ada")
    await by_label(page, "Mail address").fill("ada@example.org")
    await by_label(page, "Password").fill("ada keeps bees")
    await page.get_by_role("button", name="Create the account").click()
    await signed_in(page)

    await page.get_by_role("button", name="ada").click()
    await expect(page.get_by_role("menuitem", name="Administration")).to_be_visible()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_an_account_begins_in_the_language_and_the_zone_of_its_browser(
    visit: Visit, board: Board
) -> None:
    visitor = await visit(path="/register", locale="de-DE", timezone_id="Europe/Vienna")
    page = visitor.page
    await by_label(page, "Benutzername").fill("zoe")
    await by_label(page, "E-Mail-Adresse").fill("zoe@example.org")
    await by_label(page, "Passwort").fill("zoe keeps bees")
    async with page.expect_response("**/auth/register") as told:
        await page.get_by_role("button", name="Konto anlegen").click()
    user = (await (await told.value).json())["user"]
    assert (user["locale"], user["timezone"]) == ("de", "Europe/Vienna")
    await signed_in(page)
    await expect(page.locator("html")).to_have_attribute("lang", "de")


async def test_where_registration_is_closed_nobody_is_led_there(
    visit: Visit, board: Board, root: Person
) -> None:
    await root.put("/admin/system-settings", {"registration_enabled": False})
    page = (await visit(path="/")).page
    await expect(page.get_by_role("link", name="Forgot your password?")).to_be_visible()
    await expect(page.get_by_role("link", name="Create an account")).to_have_count(0)
    await page.goto(page.url + "register")
    await expect(page.get_by_text("Accounts are made by administrators here")).to_be_visible()


async def test_where_nothing_is_mailed_a_forgotten_password_says_so(
    visit: Visit, board: Board
) -> None:
    page = (await visit(path="/forgot-password")).page
    await expect(page.get_by_text("Ask an administrator to set a new password")).to_be_visible()
    await expect(page.get_by_role("button", name="Send the link")).to_have_count(0)


@pytest.mark.settings(base_url="http://desk.example.org")
async def test_a_forgotten_password(visit: Visit, board: Board, root: Person) -> None:
    await root.put("/admin/system-settings", {"smtp_host": "127.0.0.1", "smtp_port": 1})
    visitor = await visit(path="/")
    page = visitor.page
    await page.get_by_role("link", name="Forgot your password?").click()
    await by_label(page, "Mail address").fill("alice@example.org")
    await page.get_by_role("button", name="Send the link").click()
    await expect(page.get_by_role("status").get_by_text("alice@example.org")).to_be_visible()

    visitor.statuses.add(400)
    await page.goto(f"{visitor.url}/reset-password?token=nonsense")
    await by_label(page, "New password").fill(NEXT)
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("not good any more")


async def test_an_invitation_brings_somebody_new_into_its_project(
    visit: Visit, board: Board, olga: Person
) -> None:
    made = await olga.post(f"{board.path}/invitations", {"role": "member"})
    path = "/invitations/" + made["url"].rpartition("/")[2]
    page = (await visit(path=path)).page
    await expect(page.get_by_text("Olga invites you to work on Demo")).to_be_visible()
    await by_label(page, "Your name").fill("Zoe")
    await by_label(page, "Username").fill("zoe")
    await by_label(page, "Mail address").fill("zoe@example.org")
    await by_label(page, "Password").fill("zoe keeps bees")
    await page.get_by_role("button", name="Create the account").click()
    await page.wait_for_url("**/p/demo")

    members = await olga.get(f"{board.path}/members")
    assert "zoe" in {each["user"]["username"] for each in members}

    gone = await visit(path=path)
    gone.statuses.add(404)
    await expect(gone.page.get_by_text("not good any more")).to_be_visible()


async def test_an_invitation_is_taken_by_who_has_an_account(
    visit: Visit, board: Board, olga: Person
) -> None:
    made = await olga.post(f"{board.path}/invitations", {"role": "member"})
    path = "/invitations/" + made["url"].rpartition("/")[2]
    page = (await visit(path=path)).page
    await page.get_by_role("button", name="Sign in").click()
    await by_label(page, "Username or mail address").fill("eve")
    await by_label(page, "Password").fill(PASSWORD)
    await page.locator("form").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("You are signed in as Eve")).to_be_visible()
    await page.get_by_role("button", name="Accept the invitation").click()
    await page.wait_for_url("**/p/demo")


async def test_a_password_that_has_to_be_changed_is_changed_first(
    visit: Visit, board: Board, root: Person, alice: Person
) -> None:
    await root.put(f"/users/{alice.id}", {"must_change_password": True})
    visitor = await visit(path="/me")
    page = visitor.page
    await sign_in(page)
    await expect(page.get_by_role("heading", name="Choose a new password")).to_be_visible()
    visitor.statuses.add(422)
    await by_label(page, "Current password").fill("not this one")
    await by_label(page, "New password").fill(NEXT)
    await page.get_by_role("button", name="Change the password").click()
    await expect(by_label(page, "Current password")).to_be_focused()
    await expect(page.get_by_text("not the right one")).to_be_visible()
    await by_label(page, "Current password").fill(PASSWORD)
    await page.get_by_role("button", name="Change the password").click()
    await signed_in(page)


async def test_a_second_factor_is_set_up_and_asked_for(
    visit: Visit, board: Board, root: Person
) -> None:
    await root.put("/admin/system-settings", {"mfa_required": True})
    visitor = await visit(path="/me")
    page = visitor.page
    await sign_in(page)
    await expect(page.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    await expect(page.get_by_role("img", name="The same secret as a picture")).to_be_visible()
    secret = (await page.locator(".door-secret").inner_text()).replace(" ", "")
    await by_label(page, "Code").fill(code_now(secret))
    await page.get_by_role("button", name="Turn it on").click()
    codes = (await page.locator(".door-codes").inner_text()).split()
    assert len(codes) == 10
    await page.get_by_role("button", name="I have kept them").click()
    await signed_in(page)

    again = await visit(path="/me")
    await sign_in(again.page)
    again.statuses.add(422)
    await by_label(again.page, "Code").fill("000000")
    await again.page.get_by_role("button", name="Continue").click()
    await expect(by_label(again.page, "Code")).to_have_attribute("aria-invalid", "true")
    await by_label(again.page, "Code").fill(codes[0])
    await again.page.get_by_role("button", name="Continue").click()
    await signed_in(again.page)


async def test_the_doors_speak_the_readers_language(visit: Visit, board: Board) -> None:
    page = (await visit(path="/", locale="de-DE")).page
    await expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await by_label(page, "Sprache").select_option("fr")
    await expect(page.get_by_role("heading", name="Se connecter")).to_be_visible()


async def test_a_session_that_ended_elsewhere_leads_to_the_door_and_back(
    visit: Visit, board: Board, alice: Person
) -> None:
    visitor = await visit("alice", "/me")
    await signed_in(visitor.page)
    second = await visitor.tab("/me")
    await signed_in(second)
    visitor.statuses.add(401)
    await alice.post("/auth/logout", {"all": True}, status=204)
    # One of them is told by the server, and the other by the first or by the cookie that is gone.
    await expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(second.get_by_role("heading", name="Sign in")).to_be_visible()
    await sign_in(visitor.page)
    await signed_in(visitor.page)
    assert visitor.page.url.endswith("/me")


async def test_a_sign_out_that_the_server_did_not_hear_holds(visit: Visit, board: Board) -> None:
    visitor = await visit("alice", "/me")
    page = visitor.page
    await signed_in(page)
    await visitor.context.route("**/auth/logout", lambda route: route.abort())
    await page.get_by_role("button", name="Alice").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_text("The server could not be told")).to_be_visible()

    # The cookie is still good; neither this tab nor another one uses it.
    assert await visitor.context.cookies(f"{visitor.url}/api/v1/auth")
    second = await visitor.tab("/me")
    for each in (page, second):
        await each.reload()
        await expect(each.get_by_role("heading", name="The server does not answer")).to_be_visible()

    await visitor.context.unroute("**/auth/logout")
    await second.get_by_role("button", name="Try again").click()
    await expect(second.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await visitor.context.cookies(f"{visitor.url}/api/v1/auth") == []
    await sign_in(second, "bob")
    await expect(second.get_by_role("button", name="Bob")).to_be_visible()


async def test_another_person_in_another_tab_leaves_nothing_of_the_first(
    visit: Visit, board: Board
) -> None:
    visitor = await visit("alice", "/p/demo")
    await expect(visitor.page.get_by_role("heading", name="Backlog")).to_be_visible()
    await visitor.page.keyboard.press("Control+k")
    await visitor.page.evaluate(ASKED)
    await expect(visitor.page.locator("dialog[open]")).to_have_count(2)
    await expect(visitor.page.get_by_text("Alice is told this")).to_be_visible()
    second = await visitor.tab("/me")
    await signed_in(second)
    await second.get_by_role("button", name="Alice").click()
    await second.get_by_role("menuitem", name="Sign out").click()
    await expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(visitor.page.locator("dialog[open]")).to_have_count(0)
    assert await visitor.page.evaluate("() => globalThis.agreed") is False
    await expect(visitor.page.get_by_text("Alice is told this")).to_have_count(0)
    await sign_in(second, "bob")
    await expect(second.get_by_role("button", name="Bob")).to_be_visible()
    await sign_in(visitor.page, "bob")
    await expect(visitor.page.get_by_role("button", name="Bob")).to_be_visible()


ASKED = f"""async () => {{
  const {{ confirm, notice }} = {module("ui.js")};
  notice("Alice is told this", {{ undo: () => {{}} }});
  confirm("Alice is asked this").then((answer) => (globalThis.agreed = answer));
}}"""
"""Says and asks something, as pages do."""


async def test_a_project_that_was_left_ends_once(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/p/demo")).page
    await expect(page.get_by_role("heading", name="Backlog")).to_be_visible()
    await page.clock.install()
    await page.get_by_role("link", name="All projects").click()  # it is kept for half a minute
    await expect(page.get_by_role("heading", name="Backlog")).to_have_count(0)
    await page.get_by_role("button", name="Alice").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await sign_in(page)
    await signed_in(page)
    await page.get_by_role("link", name="Demo").first.click()
    await expect(page.get_by_role("heading", name="Backlog")).to_be_visible()
    await page.clock.fast_forward(31_000)
    assert await page.evaluate(f"async () => {{ {REMEMBERED} return seen.here; }}")


async def test_the_next_person_finds_nothing_of_the_first(
    visit: Visit, board: Board, alice: Person, bob: Person
) -> None:
    group = await alice.post("/conversations", {"user_ids": [bob.id]})
    await alice.post(f"/conversations/{group['id']}/messages", {"body": "between us"})
    visitor = await visit("alice", "/messages")
    page = visitor.page
    await expect(page.get_by_text("between us")).to_be_visible()
    await page.get_by_role("button", name="Projects").click()
    await page.get_by_role("menuitem", name="Demo").click()
    await page.get_by_role("link", name="Chat").click()
    await page.get_by_role("textbox").fill("half a thought")

    await page.get_by_role("button", name="Alice").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    seen = await page.evaluate(f"async () => {{ {REMEMBERED} return seen; }}")
    assert seen == {"projects": [], "conversations": None, "events": [], "here": False}

    visitor.statuses.add(403)
    visitor.statuses.add(404)
    await sign_in(page, "eve")
    await expect(page.get_by_role("button", name="Eve")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("All projects")
    seen = await page.evaluate(f"async () => {{ {REMEMBERED} return seen; }}")
    assert "Demo" not in str(seen)
    assert "Demo" not in await page.locator("body").inner_text()

    await page.get_by_role("button", name="Eve").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await sign_in(page, "olga")
    await expect(page.get_by_role("button", name="Olga")).to_be_visible()
    await expect(page.get_by_role("log")).to_be_visible()
    await expect(page.get_by_role("textbox")).to_have_value("")
    kept = await page.evaluate("() => JSON.stringify(localStorage)")
    assert not any(word in kept for word in ("half a thought", "between us", "Demo", "lice"))


REMEMBERED = f"""
const {{ user }} = {module("user_store.js")};
const seen = {{
  projects: user.projects.peek(),
  conversations: user.conversations.peek(),
  events: user.after(-1),
  here: !!{module("project.js")}.projectHere("demo")?.store.project.peek(),
}};
"""
"""What the stores of the page know."""


async def test_somebody_else_who_signs_in_without_a_sign_out_takes_the_page_over(
    visit: Visit, board: Board, alice: Person
) -> None:
    visitor = await visit("alice", "/me")
    page = visitor.page
    await signed_in(page)
    await enter(visitor.context, visitor.url, "bob")
    visitor.statuses.add(401)
    await page.evaluate("() => { globalThis.sameDocument = true; }")
    await alice.post("/auth/logout", {"all": True}, status=204)  # it asks for another token
    await expect(page.get_by_role("button", name="Bob")).to_be_visible()
    assert await page.evaluate("() => globalThis.sameDocument") is None


async def test_an_address_that_is_none_says_so(visit: Visit, board: Board) -> None:
    visitor = await visit("alice", "/me")
    await signed_in(visitor.page)
    visitor.statuses.add(404)
    await visitor.page.goto(f"{visitor.url}/nowhere/at/all")
    await expect(visitor.page.get_by_text("All projects").last).to_be_visible()


async def test_by_a_name_of_the_own_network_without_tls(board: Board, url: str) -> None:
    """Such a page is in no secure context: much of a browser is not there."""
    found = program()
    if found is None:
        pytest.skip("no Chromium here: install it, or name it in CHROMIUM")
    rules = "--host-resolver-rules=MAP desk.lan 127.0.0.1"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", rules]
        )
        context = await chromium.new_context(locale="en-GB")
        address = url.replace("127.0.0.1", "desk.lan")
        visitor = Visitor(context, await context.new_page(), address)
        visitor.watch(visitor.page)
        await visitor.page.goto(f"{address}/me")
        assert not await visitor.page.evaluate("() => isSecureContext")
        await sign_in(visitor.page)
        await signed_in(visitor.page)
        await visitor.page.reload()
        await signed_in(visitor.page)
        await visitor.page.get_by_role("button", name="Alice").click()
        await visitor.page.get_by_role("menuitem", name="Sign out").click()
        await expect(visitor.page.get_by_role("heading", name="Sign in")).to_be_visible()
        await chromium.close()
        visitor.settle()


async def test_the_page_starts_while_the_server_is_away(visit: Visit, board: Board) -> None:
    visitor = await visit("alice", "/me")
    page = visitor.page
    await signed_in(page)
    await page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    await page.reload()  # now the files come by the worker, which keeps them
    await signed_in(page)
    visitor.allowed.append("WebSocket connection")
    await visitor.context.set_offline(True)
    await page.reload()
    await expect(page.get_by_role("heading", name="The server does not answer")).to_be_visible()
    await visitor.context.set_offline(False)
    await page.get_by_role("button", name="Try again").click()
    await signed_in(page)


async def test_a_click_on_a_notification_of_the_system_leads_there(
    visit: Visit, board: Board
) -> None:
    visitor = await visit("alice", "/me")
    page = visitor.page
    await visitor.context.grant_permissions(["notifications"])
    await signed_in(page)
    await page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    (worker,) = visitor.context.service_workers
    await worker.evaluate(
        """async () => {
          await registration.showNotification("Bob", { data: { url: "/notifications" } });
          const [notification] = await registration.getNotifications();
          dispatchEvent(new NotificationEvent("notificationclick", { notification }));
        }"""
    )
    await page.wait_for_url("**/notifications")
    await expect(page.get_by_role("heading", name="Notifications")).to_be_visible()


async def test_nothing_that_people_wrote_is_kept(visit: Visit, board: Board) -> None:
    page = (await visit("alice", "/p/demo")).page
    await signed_in(page)
    await page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    await page.reload()
    await signed_in(page)
    kept = await page.evaluate(
        """async () => {
          const all = [];
          for (const name of await caches.keys())
            for (const one of await (await caches.open(name)).keys())
              all.push(new URL(one.url).pathname);
          return all;
        }"""
    )
    assert kept
    assert [each for each in kept if not each.startswith("/app/") and each != "/"] == []
