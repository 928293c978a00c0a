"""The door before each handler: ids, headers, origins, one shape for errors, limited patience."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from multidict import CIMultiDict
from redis.exceptions import ConnectionError as RedisAway

from tests import pace
from tests.conftest import Board, Wait, until
from tests.person import Person
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.errors import Conflict, Policy, TooMany
from warmdesk.http import body, middleware, protocol
from warmdesk.http.answers import LARGE, WholeResponse, answer
from warmdesk.http.middleware import (
    RESPONSES,
    SECURITY,
    Origins,
    Responses,
    not_found,
    origin_allowed,
    origin_of,
    wrap_handler,
)
from warmdesk.http.request import DESK, address
from warmdesk.http.router import Router
from warmdesk.log import TRACE
from warmdesk.packing import ENOUGH

Http = aiohttp.ClientSession
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

NOWHERE = {"error": "there is nothing at this address", "code": "not_found"}


@pytest.fixture
async def http(url: str) -> AsyncIterator[Http]:
    """A bare HTTP client; paths begin with /."""
    async with aiohttp.ClientSession(url) as session:
        yield session


@pytest.fixture
def failing(desk: Desk, aiohttp_client: Any) -> Any:
    """Serve one handler that raises what it is given, or answers it: ``await failing(error)``."""

    async def serve(result: Exception | web.StreamResponse) -> aiohttp.ClientResponse:
        async def do_it(request: web.Request) -> web.StreamResponse:
            if isinstance(result, Exception):
                raise result
            return result

        app = web.Application()
        app[DESK], app[RESPONSES] = desk, Responses(desk)
        tree = Router("", [("GET", "/fail", do_it)], not_found=not_found, wrap=wrap_handler)
        app.router.register_resource(tree)
        client = await aiohttp_client(app)
        response: aiohttp.ClientResponse = await client.get("/fail", allow_redirects=False)
        await response.read()
        return response

    return serve


# Answers

PLAIN = "HTTP/1.1\r\nHost: x\r\n"
SAID = {"said": "ä" * 30}


@pytest.fixture
async def said(desk: Desk, aiohttp_server: Any) -> Any:
    """A server whose GET /said answers `SAID`, /headers a header of two lines, /large `LARGE` bytes
    three times over, /plain the first by aiohttp's own class.
    """

    async def small(request: web.Request) -> web.Response:
        return answer(SAID, headers={"X-More": "a"})

    async def plain(request: web.Request) -> web.Response:
        made = answer(SAID, headers={"X-More": "a"})
        return web.Response(body=made.body, status=made.status, headers=made.headers)

    async def large(request: web.Request) -> web.Response:
        return answer(b"[" + b" " * LARGE * 3 + b"]")

    async def forged(request: web.Request) -> web.Response:
        return answer(SAID, headers={"X-More": "a\r\nX-Forged: b"})

    app = web.Application()
    app[DESK], app[RESPONSES] = desk, Responses(desk)
    places = {"/said": small, "/plain": plain, "/large": large, "/forged": forged}
    routes = [("GET", path, handler) for path, handler in places.items()]
    app.router.register_resource(Router("", routes, not_found=not_found, wrap=wrap_handler))
    return await aiohttp_server(app)


async def whole(server: Any, sent: str) -> bytes:
    """All that comes until the server ends the connection."""
    async with raw(str(server.make_url(""))) as (reader, writer):
        writer.write(sent.encode())
        return await asyncio.wait_for(reader.read(), 5 * pace.stretch())


def steady(answer: bytes) -> tuple[list[bytes], bytes]:
    """An answer's lines in their alphabet, and its body with what comes after it; without the ids
    and the times.
    """
    answer = re.sub(rb"(X-Request-Id|Date): [^\r]*", rb"\1", answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return sorted(head.split(b"\r\n")), body


@pytest.mark.parametrize(
    "rest",
    [
        PLAIN,
        PLAIN + "Connection: close\r\n",
        PLAIN + "Origin: http://x\r\n",
        "HTTP/1.0\r\n",
        "HTTP/1.0\r\nConnection: keep-alive\r\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_an_answer_says_what_aiohttp_would_say(said: Any, method: str, rest: str) -> None:
    last = f"{PLAIN}Connection: close\r\n\r\n"
    ours, its = [
        steady(await whole(said, f"{method} {path} {rest}\r\nGET /gone {last}"))
        for path in ("/said", "/plain")
    ]

    assert ours == its


async def test_an_ordinary_answer_is_one_write(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Any) -> None:
        raise AssertionError("aiohttp made the head")

    monkeypatch.setattr(WholeResponse, "_prepare_headers", never)
    async with raw(str(said.make_url(""))) as (reader, writer):
        for _ in range(3):
            writer.write(f"GET /said {PLAIN}\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
            size = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            assert (
                json.loads(await asyncio.wait_for(reader.readexactly(size), 5 * pace.stretch()))
                == SAID
            )


async def test_no_header_can_begin_another(said: Any) -> None:
    answer = await whole(said, f"GET /forged {PLAIN}\r\n")

    assert b"X-Forged" not in answer
    assert b"said" not in answer


async def test_requests_that_come_together_are_answered_in_order(said: Any) -> None:
    asked = [f"GET {path} {PLAIN}\r\n" for path in ("/large", "/said", "/gone", "/plain") * 5]
    answer = await whole(said, "".join(asked) + f"GET /said {PLAIN}Connection: close\r\n\r\n")

    kinds = re.findall(rb"HTTP/1.1 (\d+)|(\[) +\]", answer)
    assert [a or b for a, b in kinds] == [b"200", b"[", b"200", b"404", b"200"] * 5 + [b"200"]


async def test_who_does_not_read_is_written_to_no_further(said: Any, eventually: Wait) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (said.host, said.port))
        await loop.sock_sendall(client, f"GET /large {PLAIN}\r\n".encode() * 100)
        (its,) = [each.transport for each in said.handler.connections]
        await eventually(lambda: its.get_write_buffer_size() > 0)
        # Others are answered meanwhile: it had every chance to go on.
        for _ in range(20):
            assert await whole(said, f"GET /said {PLAIN}Connection: close\r\n\r\n")

        assert its.get_write_buffer_size() < LARGE * 4


# Errors


async def test_an_unknown_path_is_404_in_our_shape(http: Http) -> None:
    for path in ("/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/nothing/at/all", "/api/v1x"):
        async with http.get(path) as response:
            assert response.status == 404, path
            assert await response.json() == NOWHERE


async def test_a_wrong_method_is_405_with_the_right_ones(http: Http) -> None:
    async with http.delete("/api/v1/projects") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
        assert "error" in await response.json()
    async with http.post("/openapi.json") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_a_trailing_slash_is_another_path(http: Http) -> None:
    async with http.get("/api/v1/version/") as response:
        assert response.status == 404


async def test_an_unforeseen_error_says_only_the_requests_id(
    failing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await failing(RuntimeError("select secret from users"))

    assert response.status == 500
    body = await response.json()
    assert body == {
        "error": "internal error",
        "code": "internal",
        "request_id": response.headers["X-Request-Id"],
    }
    (record,) = [record for record in caplog.records if record.name.startswith("warmdesk")]
    assert record.getMessage() == 'http.failed route="GET /fail"'
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimeoutError(), 503),
        (ConnectionRefusedError(), 503),
        (RedisAway(), 503),
        (asyncpg.InterfaceError("the pool is closing"), 503),
        (asyncpg.CannotConnectNowError("starting"), 503),
        (asyncpg.AdminShutdownError("stopping"), 503),
        (asyncpg.TooManyConnectionsError("full"), 503),
        (asyncpg.QueryCanceledError("too slow"), 503),
        (asyncpg.CharacterNotInRepertoireError("NUL"), 400),
        (asyncpg.NumericValueOutOfRangeError("2^31"), 400),
        (asyncpg.exceptions._base.DataError("value out of int32 range"), 400),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 400),
        (asyncpg.UniqueViolationError("twice"), 409),
        (asyncpg.UndefinedColumnError("nonsense"), 500),
        (web.HTTPRequestEntityTooLarge(1, 2), 413),
        (web.HTTPBadRequest(), 400),
        (Conflict(), 409),
        (TooMany(Policy("things", 3, 60), 3), 429),
        (KeyError("x"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_errors_have_their_status(failing: Any, error: Exception, status: int) -> None:
    response = await failing(error)

    assert response.status == status
    body = await response.json()
    assert isinstance(body["error"], str)
    assert "pool" not in body["error"]
    assert ("Retry-After" in response.headers) == (status in (429, 503))


async def test_a_redirect_is_no_error(failing: Any) -> None:
    response = await failing(web.HTTPFound("/elsewhere"))

    assert response.status == 302
    assert response.headers["Location"] == "/elsewhere"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_adopted_answer_is_left_alone(desk: Desk, url: str) -> None:
    adopted = web.StreamResponse(status=101)

    async def adopt(request: web.Request) -> web.StreamResponse:
        return adopted

    app = web.Application()
    app[DESK], app[RESPONSES] = desk, Responses(desk)
    request = make_mocked_request("GET", "/x", app=app)
    request.match_info.add_app(app)
    desk.draining = True

    assert await wrap_handler(adopt, "GET", "/x")(request) is adopted
    assert not adopted.headers
    assert adopted.keep_alive is None


# Headers


async def test_every_answer_has_the_security_headers(http: Http, alice: Person) -> None:
    for method, path in (
        ("GET", "/api/v1/version"),
        ("GET", "/api/v1/projects"),
        ("GET", "/nothing"),
        ("DELETE", "/api/v1/version"),
        ("OPTIONS", "/api/v1/version"),
        ("HEAD", "/api/v1/version"),
        ("GET", "/swagger/doc.json"),
        ("GET", "/swagger"),
        ("GET", "/swagger/swagger_ui_static/swagger-ui.css"),
        ("GET", "/api/v1/ws/demo"),
    ):
        async with http.request(method, path, allow_redirects=False) as response:
            for name, value in SECURITY.items():
                assert response.headers.getall(name) == [value], (method, path, name)
            assert re.fullmatch("[0-9a-f]{8}-[0-9]+", response.headers["X-Request-Id"])
            kept = response.headers["Cache-Control"] != "no-store"
            long = int(response.headers.get("Content-Length", 0)) >= ENOUGH
            assert ("Vary" in response.headers) == (kept or long)
            assert "Strict-Transport-Security" not in response.headers


async def test_the_page_of_the_documents_runs_its_own_script_only(http: Http) -> None:
    async with http.get("/swagger/index.html") as response:
        policy = response.headers["Content-Security-Policy"]

    assert re.search(r"script-src 'self' 'sha256-[A-Za-z0-9+/]{43}=';", policy)
    assert "frame-ancestors 'none'" in policy


@pytest.mark.settings(base_url="https://desk.example.org")
async def test_browsers_are_told_to_stay_with_tls(http: Http) -> None:
    async with http.get("/api/v1/version") as response:
        assert response.headers["Strict-Transport-Security"].startswith("max-age=31536000")


async def test_answers_are_not_kept_unless_they_have_a_tag(alice: Person, board: Board) -> None:
    listed = await alice.request("GET", "/projects")
    shown = await alice.request("GET", "/projects/demo")

    assert listed.headers["Cache-Control"] == "no-store"
    assert shown.headers["Cache-Control"] == "private, no-cache"


async def test_a_requests_id_comes_back(http: Http) -> None:
    async with http.get("/api/v1/version", headers={"X-Request-Id": "proxy-7.a_B"}) as response:
        assert response.headers["X-Request-Id"] == "proxy-7.a_B"


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "é", "a;b", "<script>"])
async def test_a_strange_id_is_replaced(http: Http, name: str) -> None:
    async with http.get("/api/v1/version", headers={"X-Request-Id": name}) as response:
        assert re.fullmatch("[0-9a-f]{8}-[0-9]+", response.headers["X-Request-Id"])


async def test_a_request_is_one_line_in_the_log_only_at_debug(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="warmdesk.http"):
        async with http.get("/api/v1/version?api_key=wd_secret"):
            pass

    assert not caplog.records


@pytest.mark.settings(log_level="debug")
async def test_no_query_string_is_logged(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="warmdesk.http"):
        async with http.get("/api/v1/version?api_key=wd_secret"):
            pass

    (record,) = caplog.records
    assert record.getMessage().startswith(
        "http.answered method=GET path=/api/v1/version status=200"
    )
    assert "secret" not in record.getMessage()


@pytest.mark.settings(log_level="debug", trusted_proxies="127.0.0.1")
async def test_at_debug_the_line_says_who_asked_and_from_where(
    http: Http, caplog: pytest.LogCaptureFixture, alice: Person
) -> None:
    token = await alice.token()
    caplog.set_level(logging.DEBUG, logger="warmdesk")
    afar = {"X-Forwarded-For": "198.51.100.7"}
    signed_in = afar | {"Authorization": f"Bearer {token}"}
    handshake = signed_in | HANDSHAKE
    by_aiohttp = handshake | {"X-Unusual": "é"}
    for headers, path, user_id in (
        (afar, "/api/v1/version", 0),
        (signed_in, "/api/v1/users/me", alice.id),
        (handshake, "/api/v1/ws/user", alice.id),
        (by_aiohttp, "/api/v1/ws/user", alice.id),
        (afar | HANDSHAKE, "/api/v1/ws/user", 0),
    ):
        caplog.clear()
        async with http.get(path, headers=headers) as response:
            assert response.status in (101, 200, 401)
        await until(lambda: "http.answered" in caplog.text)
        (line,) = [each for each in caplog.messages if each.startswith("http.answered")]
        assert line.endswith(f" client=198.51.100.7 user_id={user_id}"), (line, path)
        assert f" status={response.status} " in line


@pytest.mark.settings(log_level="debug")
async def test_the_lines_of_a_request_carry_the_trace_that_it_names(
    http: Http, caplog: pytest.LogCaptureFixture, alice: Person
) -> None:
    """Also where the connection had another one before, and whoever reads the head of a socket."""
    token = await alice.token()
    caplog.set_level(logging.DEBUG, logger="warmdesk")
    seen: list[Any] = []

    class Ids(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.getMessage().startswith("http."):
                seen.append(TRACE.get())
            return True

    caplog.handler.addFilter(ids := Ids())
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    named = {"traceparent": f"00-{trace}-{span}-01"}
    signed_in = HANDSHAKE | {"Authorization": f"Bearer {token}"}
    twice = CIMultiDict([*signed_in.items(), *named.items(), *named.items()])
    wanted: list[Any] = []
    for path, headers, found in (
        ("/api/v1/version", named, (trace, span)),
        ("/api/v1/version", {}, None),
        ("/api/v1/version", {"Traceparent": named["traceparent"]}, (trace, span)),
        ("/api/v1/version", {"traceparent": f"00-{trace}-{'0' * 16}-01"}, None),
        ("/api/v1/users/me", named, (trace, span)),
        ("/api/v1/ws/user", signed_in | named, (trace, span)),
        ("/api/v1/ws/user", signed_in | named | {"X-Unusual": "é"}, (trace, span)),
        ("/api/v1/ws/user", twice, None),
        ("/nowhere", named, (trace, span)),
    ):
        async with http.get(path, headers=headers):
            wanted.append(found)
            await until(lambda: len(seen) >= len(wanted))
    caplog.handler.removeFilter(ids)
    assert seen == wanted


@pytest.mark.settings(log_level="debug")
async def test_no_secret_of_a_path_is_logged(
    http: Http, caplog: pytest.LogCaptureFixture, board: Board, alice: Person
) -> None:
    """Of a path the log has what was declared, and numbers; the rest may be anybody's secret."""
    caplog.set_level(logging.DEBUG, logger="warmdesk")
    for method, path in (
        ("POST", "/api/v1/webhooks/5ecret"),
        ("GET", "/api/v1/invitations/5ecret"),
        ("GET", "/5ecret?token=5ecret"),
        ("GET", "/api/v1/projects/5ecret"),
        ("DELETE", "/api/v1/auth/sessions/5ecret"),
        ("GET", "/api/v1/ws/5ecret"),
        ("GET", f"/api/v1/projects/demo/cards/{'5' * 40}ecret"),
    ):
        token = await alice.token()
        headers = HANDSHAKE | {"Authorization": f"Bearer {token}"}
        async with http.request(method, path, headers=headers) as response:
            assert response.status in (401, 404, 405)
    path = f"/api/v1/projects/demo/columns/{board.backlog}"
    async with http.request("DELETE", path):
        pass
    async with http.get(f"/api/v1/ws/demo?token={token}", headers=HANDSHAKE) as response:
        assert response.status == 101

    said = [r.getMessage() for r in caplog.records if r.name.startswith("warmdesk")]
    assert not [line for line in said if "ecret" in line]
    answered = [line for line in said if line.startswith("http.answered")]
    assert any(f"path=/api/v1/projects/{{slug}}/columns/{board.backlog} " in a for a in answered)
    assert any("path=/api/v1/ws/{slug} status=404" in line for line in answered)


async def test_a_process_that_stops_gives_its_connections_away(http: Http, desk: Desk) -> None:
    async with http.get("/api/v1/version") as response:
        assert response.headers.get("Connection") != "close"
    desk.draining = True
    for path in ("/api/v1/version", "/nothing", "/swagger/index.html"):
        async with http.get(path) as response:
            assert response.headers["Connection"] == "close"


async def test_head_answers_like_get_without_a_body(http: Http) -> None:
    async with http.head("/api/v1/version") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 0
        assert await response.read() == b""


async def test_options_names_the_methods(http: Http) -> None:
    async with http.options("/api/v1/projects/demo") as response:
        assert response.status == 204
        assert response.headers["Allow"] == "DELETE, GET, HEAD, PUT, OPTIONS"
        assert "Access-Control-Allow-Methods" not in response.headers


# Origins

ALLOWED = "https://app.example.org, https://other.example.org:8443/"


def settings_of(origins: str = ALLOWED, base_url: str = "https://desk.example.org/x") -> Settings:
    return Settings(allowed_origins=origins, base_url=base_url)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "https://app.example.org",
        "https://other.example.org:8443",
        "https://desk.example.org",
        "http://board.local:8080",
        "https://board.local:8080",
    ],
)
def test_these_origins_may_open_sockets(origin: str | None) -> None:
    headers = {"Host": "board.local:8080"} | ({"Origin": origin} if origin else {})
    assert origin_allowed(make_mocked_request("GET", "/", headers=headers), settings_of())


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://app.example.org",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "https://app.example.org:444",
        "https://app.example.org/",
        "http://board.local",
        "http://board.local:8080.evil.example",
        "ftp://board.local:8080",
        "board.local:8080",
        "*",
    ],
)
def test_these_origins_may_not(origin: str) -> None:
    headers = {"Host": "board.local:8080", "Origin": origin}
    assert not origin_allowed(make_mocked_request("GET", "/", headers=headers), settings_of())


def test_of_two_origins_none_counts() -> None:
    headers = CIMultiDict(Host="board.local")
    for _ in range(2):
        headers.add("Origin", "http://board.local")
        asked = make_mocked_request("GET", "/", headers=headers)
        assert origin_allowed(asked, settings_of()) is (len(headers.getall("Origin")) == 1)


async def test_two_origins_are_told_nothing_about_themselves(url: str) -> None:
    host = url.removeprefix("http://")
    lines = f"Host: {host}\r\nConnection: close\r\n"
    for count in (1, 2):
        origins = f"Origin: http://{host}\r\n" * count
        async with raw(url) as (reader, writer):
            writer.write(f"GET /api/v1/version HTTP/1.1\r\n{lines}{origins}\r\n".encode())
            said = await asyncio.wait_for(reader.read(), 5 * pace.stretch())
        assert said.startswith(b"HTTP/1.1 200 ")
        assert (b"Access-Control-Allow-Origin" in said) is (count == 1)


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/version",
        "GET /api/v1/version HTTP/0.9",
        "GET /api/v1/version HTTP/1.2",
        "GET /api/v1/version HTTP/2.0",
        "GET /nowhere HTTP/2.0",
        "GET http://x HTTP/2.0",
    ],
)
async def test_other_versions_of_http_are_refused(url: str, line: str) -> None:
    async with raw(url) as (reader, writer):
        writer.write(f"{line}\r\nHost: x\r\n\r\n".encode())
        said = await asyncio.wait_for(reader.read(), 5 * pace.stretch())  # to the end: it is closed
    assert re.match(rb"HTTP/\d\.\d 400 ", said), said[:100]
    assert "error" in json.loads(said.partition(b"\r\n\r\n")[2])


def test_without_settings_only_the_own_host_is_an_origin() -> None:
    own = {"Host": "board.local", "Origin": "http://board.local"}
    assert origin_allowed(make_mocked_request("GET", "/", headers=own), settings_of("", ""))
    null = {"Host": "null", "Origin": "null"}
    assert not origin_allowed(make_mocked_request("GET", "/", headers=null), settings_of("", ""))


def test_an_address_has_one_origin() -> None:
    assert origin_of("HTTPS://Desk.Example.org:443/path") == "https://desk.example.org"
    assert origin_of("http://[::1]:8080") == "http://[::1]:8080"
    assert origin_of("desk.example.org") == ""


@pytest.mark.settings(allowed_origins="https://app.example.org")
async def test_a_page_of_an_allowed_origin_may_read(http: Http) -> None:
    headers = {"Origin": "https://app.example.org"}
    for path, status in (("/api/v1/version", 200), ("/api/v1/projects", 401), ("/none", 404)):
        async with http.get(path, headers=headers) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            exposed = set(response.headers["Access-Control-Expose-Headers"].split(", "))
            assert exposed == {
                *("ETag", "Link", "Location", "Retry-After", "X-Request-Id", "Idempotent-Replay"),
                *("RateLimit", "RateLimit-Policy", "Warmdesk-Epoch", "Warmdesk-Seq"),
            }


@pytest.mark.settings(allowed_origins="https://app.example.org")
async def test_a_browser_may_ask_before_it_calls(http: Http) -> None:
    headers = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, if-match",
    }
    async with http.options("/api/v1/projects/demo/cards/1/move", headers=headers) as response:
        assert response.status == 204
        assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
        for name in ("Authorization", "If-Match", "Idempotency-Key", "X-API-Key"):
            assert name in response.headers["Access-Control-Allow-Headers"]
        assert response.headers["Access-Control-Max-Age"] == "3600"


@pytest.mark.settings(allowed_origins="https://app.example.org")
@pytest.mark.parametrize("origin", ["null", "https://app.example.org.evil.example", "https://evil"])
async def test_a_foreign_page_may_not_read(http: Http, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        async with http.request(method, "/api/v1/version", headers=headers) as response:
            assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("host", [b"\xff", "ö".encode()])
async def test_a_host_beyond_ascii_is_answered_and_is_no_origin(
    url: str, host: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    asked = b"GET /api/v1/%%s HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\n\r\n" % (host, host)
    for path, status in ((b"health", b"200"), (b"none", b"404"), (b"projects", b"401")):
        async with raw(url) as (reader, writer):
            writer.write(asked % path)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        assert head.startswith(b"HTTP/1.1 " + status)
        assert b"Access-Control" not in head
    assert {each.getMessage().split()[0] for each in caplog.records} <= {"origins.refused"}


def refused_origins(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [each.getMessage() for each in caplog.records]
    return [each for each in lines if each.startswith("origins.refused ")]


@pytest.mark.settings(allowed_origins="https://told.example.org")
async def test_a_refused_origin_is_one_line_that_names_the_setting(
    http: Http, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = {"Origin": "https://evil.example.org"}
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    line = 'origins.refused origin="https://evil.example.org" setting=allowed_origins'
    # Both ways in, and those that are let in.
    for path, status, headers in (
        ("/api/v1/ws/user", 403, evil | upgrade),
        ("/api/v1/version", 200, evil),
        ("/api/v1/version", 200, {"Origin": "https://told.example.org"}),
        ("/api/v1/version", 200, {}),
    ):
        async with http.get(path, headers=headers) as response:
            assert response.status == status
            if status == 403:
                assert (await response.json())["code"] == "origin_not_allowed"
        assert refused_origins(caplog) == [line]
    monkeypatch.setattr(middleware, "ORIGIN_AGAIN_SECONDS", 0.0)
    async with http.get("/api/v1/version", headers=evil):
        assert refused_origins(caplog) == [line, line]


def test_made_up_origins_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(settings_of("", ""))
    for number in range(1000):
        origins.tell(f'https://{number}.example.org/"\n{"x" * 8000}')

    told = refused_origins(caplog)
    assert len(told) == middleware.ORIGINS_TOLD
    assert len(origins._told) == middleware.ORIGINS_TOLD
    assert all(len(each) < 300 and "\n" not in each for each in told)


# Addresses


@pytest.mark.settings(trusted_proxies="127.0.0.1")
async def test_a_trusted_proxys_word_counts(desk: Desk) -> None:
    assert await seen_address(desk, "203.0.113.7, 198.51.100.2") == "198.51.100.2"


async def test_anybody_elses_word_does_not_count(desk: Desk) -> None:
    assert await seen_address(desk, "203.0.113.7") == "127.0.0.1"


async def seen_address(desk: Desk, forwarded: str) -> str:
    """The address that a handler sees, with this X-Forwarded-For."""
    seen: list[str] = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(address(request))
        return web.Response()

    app = web.Application()
    app[DESK], app[RESPONSES] = desk, Responses(desk)
    app.router.register_resource(
        Router("", [("GET", "/look", look)], not_found=not_found, wrap=wrap_handler)
    )
    async with TestClient(TestServer(app)) as client:
        await client.get("/look", headers={"X-Forwarded-For": forwarded})
    return seen[0]


# The wire


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def head_of(path: str, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"POST /api/v1{path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def test_half_a_head_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with raw(url) as (reader, writer):
        writer.write(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 2 * pace.stretch()) == b""


async def test_half_a_head_after_a_request_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    async with raw(url) as (reader, writer):
        writer.write(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        # Being idle between two requests is no crime.
        await asyncio.sleep(0.5)
        writer.write(b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"}"), 2 * pace.stretch())
        began = time.monotonic()
        while time.monotonic() - began < 2:
            writer.write(b"GET " if time.monotonic() - began < 0.05 else b"/")
            try:
                if await asyncio.wait_for(reader.read(1), 0.1) == b"":
                    break
            except TimeoutError:
                continue
        assert time.monotonic() - began < pace.here(1)


async def test_a_client_that_says_nothing_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with raw(url) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 2 * pace.stretch()) == b""


async def test_a_body_that_stops_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "IDLE_SECONDS", 0.2)
    async with raw(url) as (reader, writer):
        writer.write(
            head_of("/auth/login", Content_Type="application/json", Content_Length="100") + b'{"'
        )
        answer = await asyncio.wait_for(reader.read(), 3 * pace.stretch())

    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"error":"the body did not come in time"' in answer


async def test_a_body_that_trickles_has_an_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.5)
    async with raw(url) as (reader, writer):
        writer.write(
            head_of("/auth/login", Content_Type="application/json", Transfer_Encoding="chunked")
        )
        answer = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        for _ in range(40):
            # After a pause of this process the answer may be there unread; what is then written to
            # a connection that has ended resets it, and the kernel forgets the answer.
            await asyncio.sleep(0)
            if answer.done():
                break
            writer.write(b"1\r\n \r\n")
            await asyncio.sleep(0.05)
        assert (await asyncio.wait_for(answer, 3 * pace.stretch())).startswith(b"HTTP/1.1 408")
        with suppress(ConnectionResetError):  # it ended while a piece was on its way
            await asyncio.wait_for(reader.read(), 3 * pace.stretch())


async def test_a_body_in_many_pieces_is_one_body(url: str) -> None:
    body = json.dumps({"username": "alice", "password": "correct horse battery"}).encode()
    async with raw(url) as (reader, writer):
        writer.write(
            head_of("/auth/login", Content_Type="application/json", Content_Length=str(len(body)))
        )
        for place in range(len(body)):
            writer.write(body[place : place + 1])
            await asyncio.sleep(0.001)
        answer = await asyncio.wait_for(reader.readuntil(b"access_token"), 5 * pace.stretch())

    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_of_unknown_length_is_counted(url: str) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with raw(url) as (reader, writer):
        writer.write(
            head_of("/auth/login", Content_Type="application/json", Transfer_Encoding="chunked")
        )
        writer.write(chunk)
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 5 * pace.stretch())

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"error":"the body is larger than 16384 bytes"' in answer


async def test_a_declared_length_is_enough_to_refuse(url: str) -> None:
    async with raw(url) as (reader, writer):
        writer.write(
            head_of("/auth/login", Content_Type="application/json", Content_Length="16385")
        )
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 5 * pace.stretch())

    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_of_exactly_the_limit_is_read(http: Http) -> None:
    body = b'{"username":"alice","password":"wrong wrong"}'.ljust(16 << 10)
    async with http.post(
        "/api/v1/auth/login", data=body, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 401


async def test_a_compressed_body_is_refused_before_it_is_inflated(http: Http) -> None:
    bomb = gzip.compress(b"[" * 30_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with http.post("/api/v1/auth/login", data=bomb, headers=headers) as response:
        assert response.status == 415
        assert "Content-Encoding" in (await response.json())["error"]


@pytest.mark.parametrize("path", ["/auth/login", "/nowhere"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_not_encoded_as_it_says_is_passed_over(
    url: str, path: str, encoding: str, chunked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    length = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": "11"}
    body = b"B\r\nGET / HTTP/\r\n0\r\n\r\n" if chunked else b"GET / HTTP/"
    head = head_of(path, Content_Type="application/json", Content_Encoding=encoding, **length)
    following = f"GET /api/v1/version {PLAIN}Connection: close\r\n\r\n".encode()
    async with raw(url) as (reader, writer):
        writer.write(head + body[:4])
        first = await asyncio.wait_for(reader.readuntil(b"}"), 5 * pace.stretch())
        writer.write(body[4:] + following)
        second = await asyncio.wait_for(reader.read(), 5 * pace.stretch())

    assert first.startswith(b"HTTP/1.1 404" if path == "/nowhere" else b"HTTP/1.1 415")
    assert second.startswith(b"HTTP/1.1 200")
    assert second.count(b"HTTP/1.1 ") == 1
    assert not caplog.records


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /pot HTCPCP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_told_so_in_our_shape(
    url: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw(url) as (reader, writer):
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 5 * pace.stretch())

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") or head.startswith(b"HTTP/1.0 400")
    assert json.loads(body)["error"].startswith("the request was not understood")
    has_the_usual_headers(head)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def has_the_usual_headers(head: bytes) -> None:
    lines = head.decode().split("\r\n")
    for name, value in SECURITY.items():
        assert lines.count(f"{name}: {value}") == 1, name
    assert "Cache-Control: no-store" in lines
    assert any(re.fullmatch("X-Request-Id: [0-9a-f]{8}-[0-9]+", line) for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT x:1",
        "CONNECT x",
        "CONNECT /api/v1/version",
        "OPTIONS *",
        "OPTIONS http://x",
        "GET http://x",
        "GET http://x?api/v1/version",
        "GET http://x*",
        "GET //x/api/v1/version",
    ],
)
@pytest.mark.parametrize("more", ["", "Expect: the-unexpected\r\n"])
async def test_a_target_that_is_no_path_is_404_in_our_shape(
    url: str, line: str, more: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw(url) as (reader, writer):
        writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        body = await asyncio.wait_for(reader.readuntil(b"}"), 5 * pace.stretch())
        writer.write(f"GET /api/v1/version {PLAIN}Connection: close\r\n\r\n".encode())
        following = await asyncio.wait_for(reader.read(), 5 * pace.stretch())

    assert head.startswith(b"HTTP/1.1 404")
    assert json.loads(body) == NOWHERE
    has_the_usual_headers(head)
    assert following.startswith(b"HTTP/1.1 200")
    assert not caplog.records


async def test_a_client_may_wait_for_a_word_before_its_body(url: str) -> None:
    async with raw(url) as (reader, writer):
        writer.write(
            head_of(
                "/auth/login",
                Content_Type="application/json",
                Content_Length="2",
                Expect="100-continue",
            )
        )
        assert (
            await asyncio.wait_for(reader.readline(), 2 * pace.stretch())
            == b"HTTP/1.1 100 Continue\r\n"
        )
        writer.write(b"{}")
        assert b"HTTP/1.1 400" in await asyncio.wait_for(reader.readuntil(b"}"), 2 * pace.stretch())


async def test_another_expectation_is_passed_over(http: Http) -> None:
    async with http.get("/api/v1/version", headers={"Expect": "the unexpected"}) as response:
        assert response.status == 200


async def test_a_client_that_hangs_up_leaves_no_trace(
    url: str, desk: Desk, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = url.removeprefix("http://").split(":")
    for sent in (b"{", b""):
        client = socket.create_connection((host, int(port)))
        client.sendall(
            head_of("/auth/login", Content_Type="application/json", Content_Length="100") + sent
        )
        await asyncio.sleep(0.05)
        client.close()
    async with aiohttp.ClientSession(url) as session, session.get("/api/v1/version"):
        pass

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
