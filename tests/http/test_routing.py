"""@route and @command: what is declared is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests import pace
from tests.conftest import Board
from tests.person import Person
from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.desk import Desk
from warmdesk.errors import NotFound
from warmdesk.http import body as reading
from warmdesk.http.answers import answer
from warmdesk.http.body import chunks, parts
from warmdesk.http.commands import command
from warmdesk.http.middleware import RESPONSES, Responses, not_found, wrap_handler
from warmdesk.http.request import ACTOR, BODY, DESK
from warmdesk.http.route import PUBLIC, Accepts, ApiTag, Rate, Route, Scope
from warmdesk.http.router import Router
from warmdesk.http.routing import route
from warmdesk.openapi.document import document
from warmdesk.realtime.change import Change, ChangeContext, Outcome
from warmdesk.realtime.entities import entity
from warmdesk.schemas import Body

THINGS = ApiTag("things", "Things of this test.")
TEXT = Accepts(("text/csv",), 1000)
STREAM = Accepts(("application/zip",), 300_000, streamed=True)
FORM = Accepts(("multipart/form-data",), 300_000, streamed=True)
TWICE = Rate("thing", 2)


async def enter_thing(request: web.Request, desk: Desk, actor: Any, need: Any) -> None:
    if request.match_info["thing_id"] != "7":
        raise NotFound("thing not found")


THING = Scope("thing", "thing_id", enter_thing)


@route("POST", "/text", accepts=TEXT, tag=THINGS)
async def take_text(request: web.Request) -> web.Response:
    """Take a text."""
    return answer({"bytes": len(request[BODY])})


@route("POST", "/stream", accepts=STREAM, tag=THINGS)
async def take_stream(request: web.Request) -> web.Response:
    """Take a stream."""
    size = 0
    async for piece in chunks(request, STREAM):
        size += len(piece)
    return answer({"bytes": size})


@route("POST", "/slowly", accepts=STREAM, tag=THINGS)
async def take_slowly(request: web.Request) -> web.Response:
    """Take a stream and think about each piece."""
    size = 0
    async for piece in chunks(request, STREAM):
        await asyncio.sleep(0.2)
        size += len(piece)
    return answer({"bytes": size})


@route("POST", "/unread", accepts=FORM, tag=THINGS)
async def take_names(request: web.Request) -> web.Response:
    """Take a form's names, and none of its parts."""
    return answer([part.name async for part in parts(request, FORM)])


@route("POST", "/form", accepts=FORM, tag=THINGS)
async def take_form(request: web.Request) -> web.Response:
    """Take a form."""
    found = []
    async for part in parts(request, FORM):
        size = 0
        async for piece in part.pieces:
            size += len(piece)
        found.append([part.name, part.filename, part.content_type, size])
    return answer(found)


@route("POST", "/twice", rate=TWICE, also_at=("/again",), tag=THINGS)
async def do_twice(request: web.Request) -> web.Response:
    """Do it twice a minute."""
    return answer({"user_id": request[ACTOR].user_id})


@route("GET", "/things/{thing_id}", scope=THING, tag=THINGS, produces=("application/pdf",))
async def show_thing(request: web.Request) -> web.Response:
    """Show a thing."""
    return web.Response(body=b"%PDF", content_type="application/pdf")


HANDLERS: list[Any] = [
    *(take_text, take_stream, take_slowly, take_names, take_form),
    *(do_twice, show_thing),
]
Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def ask(desk: Desk, alice: Person, aiohttp_client: Any) -> Ask:
    """Sends to a server of the routes above; gives the status and the decoded answer."""
    app = web.Application(handler_args={"auto_decompress": False})
    app[DESK], app[RESPONSES] = desk, Responses(desk)
    declared: list[Route] = [each for made in HANDLERS for each in made.route.everywhere()]
    routes = [(each.method, each.path, each.handler) for each in declared]
    app.router.register_resource(Router("", routes, not_found=not_found, wrap=wrap_handler))
    client = await aiohttp_client(app)
    bearer = {"Authorization": f"Bearer {await alice.token()}"}

    async def send(method: str, path: str, **given: Any) -> tuple[int, Any]:
        headers = bearer | given.pop("headers", {})
        async with client.request(method, path, headers=headers, **given) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.read())

    return send


def of(kind: str) -> dict[str, str]:
    return {"Content-Type": kind}


async def dripping(count: int, size: int = 1000, wait: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(wait)
        yield b"x" * size


async def test_a_body_of_another_kind_is_given_as_bytes(ask: Ask) -> None:
    assert await ask("POST", "/text", data=b"a,b", headers=of("text/csv")) == (200, {"bytes": 3})
    assert (await ask("POST", "/text", data=b"{}", headers=of("application/json")))[0] == 415
    whole = await ask("POST", "/text", data=b"x" * 1000, headers=of("text/csv"))
    assert whole == (200, {"bytes": 1000})
    assert (await ask("POST", "/text", data=b"x" * 1001, headers=of("text/csv")))[0] == 413
    assert (await ask("POST", "/text", data=dripping(2), headers=of("text/csv")))[0] == 413
    packed = of("text/csv") | {"Content-Encoding": "gzip"}
    assert (await ask("POST", "/text", data=b"x", headers=packed))[0] == 415


@pytest.mark.parametrize("count", [0, 1, 299, 300, 301])
async def test_a_streamed_body_ends_at_its_limit(ask: Ask, count: int) -> None:
    status, said = await ask("POST", "/stream", data=dripping(count), headers=of("application/zip"))
    if count <= 300:
        assert (status, said) == (200, {"bytes": 1000 * count})
    else:
        assert status == 413


async def test_a_streamed_body_that_says_it_is_too_large_is_not_read(ask: Ask) -> None:
    large = b"x" * 300_001
    assert (await ask("POST", "/stream", data=large, headers=of("application/zip")))[0] == 413
    assert (await ask("POST", "/stream", data=b"x", headers=of("text/csv")))[0] == 415


@pytest.mark.parametrize(("name", "wait"), [("IDLE_SECONDS", 5.0), ("BODY_SECONDS", 0.05)])
async def test_a_stream_that_does_not_come_is_not_waited_for(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str, wait: float
) -> None:
    monkeypatch.setattr(reading, name, 0.3)
    monkeypatch.setattr(reading, "SLOWEST_BYTES", 10_000_000)
    sending = dripping(100, wait=wait)
    status, said = await ask("POST", "/stream", data=sending, headers=of("application/zip"))
    assert (status, said["error"]) == (408, "the body did not come in time")


async def test_a_handler_has_its_own_time(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are for what the client sends; what was sent in time is taken."""
    monkeypatch.setattr(reading, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.15)
    monkeypatch.setattr(reading, "SLOWEST_BYTES", 10_000_000)
    taken = await ask("POST", "/slowly", data=b"x" * 1000, headers=of("application/zip"))
    assert taken == (200, {"bytes": 1000})


@pytest.mark.parametrize("size", [1000, 299_000, 300_000, 1_000_000])
async def test_parts_that_nobody_reads_have_the_limit_too(ask: Ask, size: int) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"x" * size, filename="door.png")
    form.add_field("last", "x")
    status, said = await ask("POST", "/unread", data=form)
    if size < 300_000:
        assert (status, said) == (200, ["file", "last"])
    else:
        assert status == 413


async def test_a_form_that_drips_has_an_end(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(reading, "SLOWEST_BYTES", 10_000_000)

    async def drips() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        async for piece in dripping(100, wait=0.05):
            yield piece

    began = asyncio.get_running_loop().time()
    sent = await ask("POST", "/unread", data=drips(), headers=of("multipart/form-data; boundary=b"))
    assert sent[0] == 408
    assert asyncio.get_running_loop().time() - began < pace.here(3)


async def test_a_form_is_read_part_by_part(ask: Ask) -> None:
    form = aiohttp.FormData()
    form.add_field("words", "Grüße")
    form.add_field("file", b"x" * 200_000, filename="door.png", content_type="image/png")
    assert await ask("POST", "/form", data=form) == (
        200,
        [
            ["words", None, "text/plain; charset=utf-8", 7],
            ["file", "door.png", "image/png", 200_000],
        ],
    )


async def test_a_form_has_its_limits(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"x" * 300_001, filename="door.png")
    assert (await ask("POST", "/form", data=form))[0] == 413
    monkeypatch.setattr(reading, "PARTS", 3)
    for parts_sent, wanted in ((3, 200), (4, 400)):
        many = aiohttp.FormData()
        for number in range(parts_sent):
            many.add_field(f"f{number}", "x", content_type="text/plain")
        status, said = await ask("POST", "/form", data=many())
        assert status == wanted, said
    assert said["error"] == "a form has at most 3 parts"


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno name\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Dispo"),
    ],
)
async def test_a_malformed_form_is_a_bad_request(ask: Ask, kind: str, sent: bytes) -> None:
    assert (await ask("POST", "/form", data=sent, headers=of(kind)))[0] == 400


@pytest.mark.settings(rate_limits=True)
async def test_a_rate_is_one_for_all_that_name_it(ask: Ask, alice: Person) -> None:
    assert await ask("POST", "/twice") == (200, {"user_id": alice.id})
    assert (await ask("POST", "/again"))[0] == 200
    status, said = await ask("POST", "/twice")
    assert (status, said["code"]) == (429, "rate_limited")


async def test_a_scope_is_entered_before_the_handler(ask: Ask) -> None:
    assert await ask("GET", "/things/7") == (200, b"%PDF")
    missing = {"error": "thing not found", "code": "not_found"}
    assert await ask("GET", "/things/8") == (404, missing)


def test_the_document_says_what_is_declared() -> None:
    made = document([each for handler in HANDLERS for each in handler.route.everywhere()])
    paths = made["paths"]
    assert list(paths["/form"]["post"]["requestBody"]["content"]) == ["multipart/form-data"]
    shown = paths["/things/{thing_id}"]["get"]["responses"]["200"]["content"]
    assert list(shown) == ["application/pdf"]
    assert paths["/again"]["post"]["operationId"] == "do_twice_at_again"
    assert made["tags"] == [{"name": "things", "description": "Things of this test."}]


async def nothing(request: web.Request) -> web.Response:
    """Do nothing."""
    return web.Response()


@pytest.mark.parametrize(
    "promises",
    [
        {"need": Role.MEMBER},
        {"scope": THING},
        {"body": Body, "accepts": TEXT},
        {"keyed": True, "need": PUBLIC},
        {"keyed": True, "accepts": TEXT},
        {"rate": TWICE, "need": PUBLIC},
    ],
)
def test_promises_that_cannot_be_kept_are_refused(promises: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        route("POST", "/nowhere", tag=THINGS, **promises)(nothing)


def test_what_only_reads_takes_no_key() -> None:
    with pytest.raises(TypeError):
        route("GET", "/nowhere", keyed=True, tag=THINGS)(nothing)


async def test_a_change_asks_for_the_role_of_its_route(desk: Desk, board: Board) -> None:
    async def forgets(change: Change) -> None:
        pass

    async def asks(change: Change) -> None:
        await change.enter()

    async def asks_for_less(change: Change) -> None:
        await change.enter(Role.VIEWER)

    context = ChangeContext(3, project_id=board.id, need=Role.MEMBER)
    with pytest.raises(TypeError, match="did not ask for the role"):
        await desk.changes.run(context, forgets)
    await desk.changes.run(context, asks)
    with pytest.raises(TypeError, match="the route declares member; viewer is less"):
        await desk.changes.run(context, asks_for_less)
    with pytest.raises(TypeError, match="did not ask for the role"):
        await desk.changes.run(ChangeContext(1, need=frozenset({GlobalRole.ADMIN})), forgets)
    with pytest.raises(TypeError, match="declares no role"):
        await desk.changes.run(ChangeContext(3, project_id=board.id), asks)


async def test_an_answer_that_is_kept_says_what_it_shows(desk: Desk, board: Board) -> None:
    async def says(change: Change) -> Outcome:
        await change.enter()
        return Outcome(200, "{}", entity=entity("card", 1))

    async def forgets(change: Change) -> Outcome:
        await change.enter()
        return Outcome(200, "{}")

    context = ChangeContext(
        3, key="k", path="PUT /", project_id=board.id, need=Role.MEMBER, keyed=True
    )
    with pytest.raises(TypeError, match="says what it shows"):
        await desk.changes.run(context, forgets)
    await desk.changes.run(context, says)


async def test_a_keyed_change_gives_an_answer_to_keep(desk: Desk) -> None:
    async def says(change: Change) -> Outcome:
        return Outcome(200, "{}")

    async def forgets(change: Change) -> str:
        return "{}"

    await desk.changes.run(ChangeContext(3, keyed=True), says)
    with pytest.raises(TypeError, match="gives an Outcome"):
        await desk.changes.run(ChangeContext(3, keyed=True), forgets)


def test_what_is_answered_at_once_asks_for_nothing() -> None:
    for promises in ({"need": Role.MEMBER}, {"rate": TWICE}):
        with pytest.raises(TypeError, match="asks for nothing"):
            command("test.at_once", at_once=lambda call: {}, **promises)


def test_a_command_is_declared_once() -> None:
    with pytest.raises(TypeError, match="declared twice"):
        command("chat.send")(lambda call: None)


async def test_a_version_means_the_same_on_a_socket(board: Board, alice: Person) -> None:
    said = await alice.post(f"{board.path}/chat/messages", {"body": "Good morning"})
    async with alice.socket("demo") as socket:
        for kind, more in (("chat.edit", {"body": "Good night"}), ("chat.delete", {})):
            sent = {"message_id": said["id"], "version": said["version"] + 1, **more}
            await socket.send(kind, sent, id=kind)
            refused = await socket.next("error")
            assert (refused["payload"]["code"], refused["id"]) == ("version_conflict", kind)
        await socket.send("chat.edit", {**sent, "body": "x", "version": said["version"]}, id=1)
        assert (await socket.next("ack"))["payload"] == {"id": 1, "message_id": said["id"]}
