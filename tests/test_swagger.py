"""The page of the documents works in a real browser, and fetches nothing from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, Request, async_playwright

from tests.person import Person
from tests.trying_out import Office, operations

PATIENCE = 20_000
"""Milliseconds; a browser on a busy machine is slow."""

pytestmark = pytest.mark.timeout(300)


def browser() -> str | None:
    """The Chromium of this machine; ``CHROMIUM`` names another one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM") or next(filter(None, found), None)


class Visit:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.calls: list[Request] = []
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self._asked(request, url))
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, request: Request, url: str) -> None:
        if "/api/v1/" in request.url:
            self.calls.append(request)
        if not request.url.startswith((url, "data:")):
            self.foreign.append(request.url)

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)


@pytest.fixture
async def visit(url: str) -> AsyncIterator[Visit]:
    """Swagger UI, opened as a person would."""
    program = browser()
    if program is None:
        pytest.skip("no Chromium here: install it, or name it in CHROMIUM")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await chromium.new_page(viewport={"width": 1200, "height": 900})
        opened = Visit(page, url)
        await page.goto(f"{url}/swagger")
        await page.wait_for_selector(".opblock-tag")
        yield opened
        await chromium.close()


async def test_its_address_may_be_short(url: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/swagger") as answer:
        assert (answer.status, answer.url.path) == (200, "/swagger/index.html")


async def test_it_shows_the_api_and_calls_nobody_else(visit: Visit) -> None:
    page = visit.page
    assert await page.title() == "WarmDesk"
    tags = [await each.get_attribute("data-tag") for each in await page.query_selector_all("h3")]
    assert {"auth", "projects", "columns", "cards", "chat", "sockets"} <= set(tags)
    for tag in await page.query_selector_all(".opblock-tag"):
        await tag.click()
    await page.wait_for_selector("#operations-cards-move_card")

    assert visit.foreign == []
    assert visit.complaints == []


async def test_a_person_can_sign_in_and_try_things_out(visit: Visit, alice: Person) -> None:
    page, token = visit.page, await alice.token()
    await page.click(".btn.authorize")
    schemes = [
        await each.inner_text() for each in await page.query_selector_all(".auth-container h4")
    ]
    # The last one is where the page scrolls to, and where the cursor stands.
    assert [name.split()[0] for name in schemes] == ["ApiKeyQuery", "ApiKeyAuth", "BearerAuth"]
    await page.click(".auth-container >> nth=2 >> .btn-done")
    await signed_in(page, token)
    await page.reload()
    await page.wait_for_selector(".opblock-tag")

    body = await tried(page, "projects", "create_project")
    assert json.loads(body)["my_role"] == "owner"
    (call,) = visit.calls
    assert call.method == "POST"
    assert await call.header_value("authorization") == f"Bearer {token}"

    shown = await tried(page, "users", "show_me")
    assert json.loads(shown)["username"] == "alice"
    assert [project["slug"] for project in await alice.get("/projects")] == ["my-project"]
    assert visit.foreign == []


PARTS = 6


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
async def test_every_operation_works_as_it_opens(
    visit: Visit, root: Person, alice: Person, bob: Person, part: int
) -> None:
    """Executed one after the other, by a person who puts in nothing but ids."""
    page, office = visit.page, Office(root, alice, bob)
    shown: Person | None = None
    every = list(operations())
    for each in every[part * len(every) // PARTS : (part + 1) * len(every) // PARTS]:
        operation = await office.prepare(each)
        assert operation.person is not None
        if operation.headers or operation.id == "download_by_link":
            continue  # a file has to be chosen, or a link copied
        if operation.person is not shown:
            shown = operation.person
            await signed_in(page, await shown.token())
        tag = operation.tag.replace(" ", "_")  # as Swagger UI does
        place = f"#operations-{tag}-{operation.id}"
        if await page.query_selector(place) is None:
            await page.click(f"#operations-tag-{tag}")
        await page.click(f"{place} .opblock-summary-control")
        await page.click(f"{place} .try-out__btn")
        for name, value in operation.names.items():
            await page.fill(f'{place} tr[data-param-name="{name}"] input', value)
        if operation.body is not None:
            await page.fill(f"{place} .body-param__text", json.dumps(operation.body))
        await page.click(f"{place} .execute")
        status = await page.inner_text(f"{place} .live-responses-table tbody .response-col_status")
        said = await page.inner_text(f"{place} .live-responses-table tbody")
        assert int(status.split()[0]) in operation.success, (operation.id, said)
        await page.click(f"{place} .opblock-summary-control")
    assert visit.foreign == []


async def signed_in(page: Page, token: str) -> None:
    """Give the page a token, whatever it had."""
    await page.click(".auth-wrapper >> .btn.authorize")
    box = page.locator(".auth-container", has_text="BearerAuth")
    if await box.locator("text=Logout").count():
        await box.locator("text=Logout").click()
    await box.locator("input").fill(token)
    await box.locator(".btn.authorize").click()
    await box.locator(".btn-done").click()


async def tried(page: Page, tag: str, name: str) -> str:
    """Execute an operation with its example; the answer's body."""
    operation = f"#operations-{tag}-{name}"
    if await page.query_selector(operation) is None:
        await page.click(f"#operations-tag-{tag}")
    await page.click(f"{operation} .opblock-summary-control")
    await page.click(f"{operation} .try-out__btn")
    await page.click(f"{operation} .execute")
    answer: Any = await page.wait_for_selector(
        f"{operation} .live-responses-table .response .microlight"
    )
    status = await page.inner_text(
        f"{operation} .live-responses-table .response-col_status >> nth=1"
    )
    assert status.split()[0] in ("200", "201"), await answer.inner_text()
    return str(await answer.inner_text())
