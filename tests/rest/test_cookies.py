"""Sessions of browsers: the refresh token in a cookie that no script reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import Morsel
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.closed import check
from tests.conftest import Board, Door
from tests.person import PASSWORD, Person
from warmdesk.schemas.auth import Registered, Tokens

COOKIE = "warmdesk_refresh"
BODY = {"username": "alice", "password": PASSWORD}
NEWCOMER = {"email": "zoe@example.org", "username": "zoe", "password": "zoe keeps bees"}


class Browser:
    """One that keeps cookies, and says where its pages are from."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.set: Morsel[str] | None = None

    async def post(
        self, path: str, body: Any, *, origin: str | None = "", **headers: str
    ) -> tuple[int, Any]:
        """The answer's status and body; `origin` is the server's own unless it is named."""
        if origin is not None:
            headers["Origin"] = origin or self.url
        address = f"{self.url}/api/v1{path}"
        async with self.http.post(address, json=body, headers=headers) as answer:
            self.set = answer.cookies.get(COOKIE)
            return answer.status, (await answer.json() if answer.status != 204 else None)

    @property
    def token(self) -> str | None:
        """The refresh token that it holds."""
        found = self.http.cookie_jar.filter_cookies(URL(f"{self.url}/api/v1/auth"))
        return found[COOKIE].value if COOKIE in found else None

    async def sign_in(self) -> Any:
        body = {"username": "alice", "password": PASSWORD, "cookie": True}
        status, tokens = await self.post("/auth/login", body)
        assert status == 200, tokens
        return tokens


@pytest.fixture
async def browser(url: str) -> AsyncIterator[Browser]:
    made = Browser(url)
    yield made
    await made.http.close()


async def test_the_token_is_in_a_cookie_and_nowhere_else(browser: Browser, board: Board) -> None:
    tokens = await browser.sign_in()

    check(tokens, Tokens, "the tokens")
    assert "refresh_token" not in tokens
    assert browser.set is not None
    assert browser.set["httponly"]
    assert not browser.set["secure"]  # the server is reached by http here
    assert (browser.set["samesite"], browser.set["path"]) == ("Strict", "/api/v1/auth")
    assert int(browser.set["max-age"]) == 7 * 24 * 3600


@pytest.mark.settings(base_url="https://desk.example.org")
async def test_it_crosses_no_network_in_clear(browser: Browser, board: Board) -> None:
    await browser.sign_in()

    assert browser.set is not None
    assert browser.set["secure"]


async def test_it_is_exchanged_for_the_next_one(browser: Browser, board: Board) -> None:
    await browser.sign_in()
    first = browser.token
    status, tokens = await browser.post("/auth/refresh", {"cookie": True})

    assert (status, tokens["user"]["username"]) == (200, "alice")
    assert "refresh_token" not in tokens
    assert browser.token not in (first, None)


async def test_who_has_none_is_answered_nothing(browser: Browser, board: Board) -> None:
    assert await browser.post("/auth/refresh", {"cookie": True}) == (204, None)
    status, refusal = await browser.post("/auth/refresh", {})
    assert (status, refusal["fields"]) == (400, {"refresh_token": "required"})


async def test_a_dead_one_is_cleared(browser: Browser, board: Board, alice: Person) -> None:
    await browser.sign_in()
    await alice.post("/auth/logout", {"all": True}, status=204)

    assert (await browser.post("/auth/refresh", {"cookie": True}))[0] == 401
    assert browser.token is None
    assert (await browser.post("/auth/refresh", {"cookie": True}))[0] == 204


async def test_signing_out_ends_its_session(browser: Browser, board: Board) -> None:
    tokens = await browser.sign_in()
    assert (await browser.post("/auth/logout", {}))[0] == 204

    assert browser.token is None
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with browser.http.get(f"{browser.url}/api/v1/users/me", headers=bearer) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("everything", [False, True])
async def test_signing_out_leaves_no_session_that_nobody_can_end(
    browser: Browser, board: Board, alice: Person, bob: Person, everything: bool
) -> None:
    """The access token is of another session than the cookie, which is forgotten."""
    await browser.sign_in()
    held = {"refresh_token": browser.token}
    bearer = {"Authorization": f"Bearer {await bob.token()}"}
    assert (await browser.post("/auth/logout", {"all": everything}, **bearer))[0] == 204

    assert browser.token is None
    assert (await browser.post("/auth/refresh", held))[0] == 401
    await bob.get("/users/me", status=401)
    await alice.get("/users/me")


async def test_signing_out_tells_of_a_session_once(
    browser: Browser, board: Board, alice: Person, connection: Any
) -> None:
    tokens = await browser.sign_in()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with alice.socket("user") as own:
        assert (await browser.post("/auth/logout", {}, **bearer))[0] == 204
        await own.next("session.revoked")
        assert not own.waiting()
    told = await connection.fetchval("select count(*) from login_events where event = 'logout'")
    assert told == 1


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}],
)
async def test_no_other_site_begins_one(
    browser: Browser, board: Board, connection: Any, alice: Person, headers: dict[str, str]
) -> None:
    await alice.token()
    for path, body in (
        ("/auth/login", BODY),
        ("/auth/register", NEWCOMER),
        ("/auth/mfa/verify", {"mfa_token": "x" * 43, "code": "123456"}),
        ("/auth/refresh", {"refresh_token": alice.client.refresh_token}),
    ):
        status, refusal = await browser.post(path, body | {"cookie": True}, origin=None, **headers)
        assert (status, refusal["code"]) == (403, "origin_not_allowed"), path
        assert browser.set is None
    assert await connection.fetchval("select count(*) from users where username = 'zoe'") == 0
    status, _ = await browser.post("/auth/login", BODY, origin=None, **headers)
    assert status == 200  # it gets no cookie


async def test_a_program_may_keep_cookies(browser: Browser, board: Board) -> None:
    status, _ = await browser.post("/auth/login", BODY | {"cookie": True}, origin=None)
    assert status == 200
    assert browser.token is not None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout"])
async def test_no_other_site_uses_it(
    browser: Browser, board: Board, path: str, origin: str | None
) -> None:
    await browser.sign_in()
    held = browser.token
    status, refusal = await browser.post(path, {"cookie": True}, origin=origin)

    assert (status, refusal["code"]) == (403, "origin_not_allowed")
    assert browser.token == held
    assert (await browser.post("/auth/refresh", {"cookie": True}))[0] == 200


@pytest.mark.settings(allowed_origins="https://elsewhere.example")
async def test_not_even_one_that_may_call(browser: Browser, board: Board) -> None:
    await browser.sign_in()
    body = {"cookie": True}
    status, _ = await browser.post("/auth/refresh", body, origin="https://elsewhere.example")

    assert status == 403


@pytest.mark.settings(base_url="https://desk.example.org")
async def test_behind_a_proxy_the_own_origin_is_the_base_url(
    browser: Browser, board: Board, door: Door
) -> None:
    body = {"username": "alice", "password": PASSWORD}
    _, tokens = await browser.post("/auth/login", body)
    headers = {"Cookie": f"{COOKIE}={tokens['refresh_token']}"}
    answer = await browser.post(
        "/auth/refresh", {"cookie": True}, origin="https://desk.example.org", **headers
    )

    assert answer[0] == 200


async def test_a_browser_says_itself_that_the_page_is_ours(browser: Browser, board: Board) -> None:
    await browser.sign_in()
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = await browser.post("/auth/refresh", {"cookie": True}, origin=None, **headers)

    assert answer[0] == 200


async def test_registering_brings_it_too(browser: Browser, board: Board) -> None:
    status, made = await browser.post("/auth/register", NEWCOMER | {"cookie": True})

    assert status == 201
    check(made, Registered, "the account")
    assert "refresh_token" not in made
    assert browser.token is not None


async def test_nothing_else_is_read_from_a_cookie(browser: Browser, board: Board) -> None:
    await browser.sign_in()
    for path in ("/users/me", "/projects", "/auth/sessions"):
        async with browser.http.get(f"{browser.url}/api/v1{path}") as answer:
            assert answer.status == 401
    assert (await browser.post("/projects", {"name": "Mine"}))[0] == 401


async def test_programs_see_no_cookie(browser: Browser, board: Board) -> None:
    body = {"username": "alice", "password": PASSWORD}
    _, tokens = await browser.post("/auth/login", body)

    assert browser.set is None
    assert tokens["refresh_token"]
