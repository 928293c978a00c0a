"""The reference client keeps its rules, against our server and against one that misbehaves."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests import pace
from tests.conftest import Board, Invite
from tests.person import PASSWORD
from warmdesk import client as module
from warmdesk.client import Client, Refused, Socket, SocketRefused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def stage(handler: Handler) -> AsyncIterator[str]:
    """A server that does whatever a test wants of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def forgetful(url: str, *, forget: int = 1) -> tuple[Handler, list[str]]:
    """Passes requests on, and hangs up instead of answering the first `forget` changes."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        async with aiohttp.request(
            request.method,
            f"{url}{request.path_qs}",
            data=await request.read(),
            headers={k: v for k, v in request.headers.items() if k != "Host"},
        ) as answer:
            body = await answer.read()
        if request.method != "GET" and not request.path.endswith("/auth/login"):
            seen.append(request.headers.get("Idempotency-Key", ""))
            if len(seen) <= forget:
                assert request.transport is not None
                request.transport.abort()
        return web.Response(
            body=body, status=answer.status, content_type=answer.content_type or None
        )

    return handler, seen


class Script:
    """A socket server that plays its connections one after another."""

    def __init__(self, *scenes: Callable[[web.WebSocketResponse], Awaitable[None]]) -> None:
        self.scenes = list(scenes)
        self.queries: list[dict[str, str]] = []
        self.refreshed = 0

    async def play(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/auth/refresh"):
            self.refreshed += 1
            tokens = {"access_token": f"t{self.refreshed}", "refresh_token": "r"}
            return web.json_response(tokens)
        if not self.scenes:
            return web.json_response({"error": "no more"}, status=404)
        self.queries.append(dict(request.query))
        scene = self.scenes.pop(0)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(hello(int(request.query.get("since", 0))))
        await scene(socket)
        return socket


def hello(seq: int) -> dict[str, Any]:
    return {"type": "hello", "payload": {"seq": seq, "epoch": "e", "replay": 0}}


def event(seq: int) -> dict[str, Any]:
    return {"type": "chat.message", "payload": {"id": seq}, "seq": seq}


async def heard(socket: Socket) -> list[Any]:
    """Everything until the socket ends: seqs of events, types of the rest."""
    return [frame.get("seq", frame["type"]) async for frame in socket]


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not {name for name in names if name.startswith("warmdesk")}


# Requests.


async def test_a_card_is_made_once_though_the_first_answer_got_lost(url: str, board: Board) -> None:
    handler, keys = forgetful(url)
    async with stage(handler) as behind, Client(behind) as client:
        await client.login("alice", PASSWORD)
        path = f"{board.path}/columns/{board.backlog}/cards"
        card = await client.post(path, {"title": "once"})
        assert [one["id"] for one in await client.get(path)] == [card["id"]]
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


@pytest.mark.parametrize(("method", "place"), [("PUT", ""), ("PATCH", "/move")])
async def test_a_lost_answer_is_no_change_by_someone_else(
    url: str, board: Board, method: str, place: str
) -> None:
    card = await board.card()
    handler, keys = forgetful(url)
    async with stage(handler) as behind, Client(behind) as client:
        await client.login("alice", PASSWORD)
        path = f"{board.path}/cards/{card['id']}{place}"
        answer = await client.request(
            method, path, {"column_id": board.done}, if_match=card["version"]
        )
        assert (answer.status, answer.body["version"]) == (200, card["version"] + 1)
    assert keys[0] == keys[1] != ""


async def test_a_post_that_would_be_another_is_not_sent_twice(url: str, board: Board) -> None:
    handler, keys = forgetful(url)
    async with stage(handler) as behind, Client(behind) as client:
        await client.login("olga", PASSWORD)
        with pytest.raises(aiohttp.ClientError):
            await client.post("/auth/ws-ticket")
    assert keys == [""]


async def test_what_was_made_and_deleted_since_is_not_made_again(url: str, board: Board) -> None:
    path = f"{board.path}/chat/messages"
    asked: list[str] = []
    deleted = asyncio.Event()

    async def deletes_first(request: web.Request) -> web.StreamResponse:
        """Loses the first answer to a message, which is deleted before it is sent again."""
        if not request.path.endswith(path):
            return await behind_it(request)
        asked.append(request.headers["Idempotency-Key"])
        if len(asked) > 1:
            # On a busy machine a client may lose patience before the deletion is done.
            await deleted.wait()
            return await behind_it(request)
        answer = await behind_it(request)
        (said,) = await board.maker.get(path)
        await board.maker.delete(f"{path}/{said['id']}")
        deleted.set()
        return answer

    behind_it, _ = forgetful(url)
    async with stage(deletes_first) as behind, Client(behind) as client:
        await client.login("alice", PASSWORD)
        with pytest.raises(Refused, match="410"):
            await client.post(path, {"body": "once"})
    assert len(asked) == 2
    assert await board.maker.get(path) == []


async def test_a_delete_that_was_done_already_is_done(url: str, board: Board) -> None:
    card = await board.card()
    handler, keys = forgetful(url)
    async with stage(handler) as behind, Client(behind) as client:
        await client.login("alice", PASSWORD)
        path = f"{board.path}/cards/{card['id']}"
        assert await client.delete(path) is None
        with pytest.raises(Refused, match="404"):
            await client.delete(path)
    assert len(keys) == 3


async def test_it_waits_as_long_as_the_server_asks() -> None:
    times: list[float] = []

    async def busy(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.json_response({"error": "busy"}, status=503, headers={"Retry-After": "1"})
        return web.json_response({"fine": True})

    async with stage(busy) as url, Client(url) as client:
        assert await client.get("/projects") == {"fine": True}
    assert 1.0 <= times[1] - times[0] < pace.here(2.5)


async def test_its_patience_ends() -> None:
    async def away(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "away"}, status=503)

    async with stage(away) as url, Client(url, patience=0.5) as client:
        begun = time.monotonic()
        with pytest.raises(Refused) as refused:
            await client.get("/projects")
        assert refused.value.status == 503
        assert refused.value.message == "away"
        assert time.monotonic() - begun < pace.here(1.0)
    async with Client("http://127.0.0.1:9", patience=0.3) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/projects")


async def test_without_patience_the_answer_is_what_came() -> None:
    asked: list[str] = []

    async def away(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Idempotency-Key", ""))
        return web.json_response({"error": "away"}, status=503)

    async with stage(away) as url, Client(url, patience=0) as client:
        assert (await client.request("POST", "/projects/demo/cards", {})).status == 503
    assert asked == [""]


@pytest.mark.settings(access_token_ttl=3)
async def test_an_expired_token_is_renewed_once_for_all_who_wait(url: str, board: Board) -> None:
    async with Client(url) as client:
        await client.login("alice", PASSWORD)
        old = client.token
        await asyncio.sleep(4.1)
        shown = await asyncio.gather(*(client.get(board.path) for _ in range(8)))
        assert len(shown) == 8
        assert client.token != old


async def test_a_version_that_is_no_longer_is_refused_with_what_is(url: str, board: Board) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with Client(url) as client:
        await client.login("alice", PASSWORD)
        changed = await client.put(path, {"title": "new"}, if_match=card["version"])
        with pytest.raises(Refused) as refused:
            await client.put(path, {"title": "newer"}, if_match=card["version"])
    assert refused.value.status == 412
    assert refused.value.body["current"]["version"] == changed["version"]


async def test_it_walks_through_all_pages(url: str, board: Board) -> None:
    titles = [f"card {number}" for number in range(7)]
    for title in titles:
        await board.card(title)
    async with Client(url) as client:
        await client.login("bob", PASSWORD)
        path = f"{board.path}/columns/{board.backlog}/cards?limit=3"
        assert [card["title"] async for card in client.items(path)] == titles


# Sockets.


@pytest.mark.parametrize("by_protocol", [True, False])
async def test_a_socket_says_hello_and_follows(url: str, board: Board, by_protocol: bool) -> None:
    async with Client(url) as client:
        await client.login("bob", PASSWORD)
        async with client.socket("demo", by_protocol=by_protocol) as socket:
            assert (await anext(socket))["type"] == "hello"
            await board.card("first")
            async for frame in socket:
                if frame["type"] == "board.card_created":
                    assert frame["payload"]["title"] == "first"
                    break


async def test_a_message_is_acknowledged_or_refused(url: str, board: Board) -> None:
    async with Client(url) as alice, Client(url) as bob:
        await alice.login("alice", PASSWORD)
        await bob.login("bob", PASSWORD)
        async with alice.socket("demo") as hers, bob.socket("demo") as his:
            await anext(hers)
            await anext(his)
            answer = await hers.send("chat.send", {"body": "hello"})
            assert answer["message_id"] > 0
            with pytest.raises(SocketRefused) as refused:
                await his.send("chat.send", {"body": "hello"})
            assert refused.value.code == "forbidden"


async def test_a_gap_is_asked_for_and_doubles_are_passed_over() -> None:
    asked: list[Any] = []

    async def lossy(socket: web.WebSocketResponse) -> None:
        for seq in (1, 2, 2, 4, 5):
            await socket.send_json(event(seq))
        asked.append(await socket.receive_json())
        for seq in (3, 4, 5, 6):
            await socket.send_json(event(seq))
        await socket.close(code=4404)

    async with (
        stage(Script(lossy).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=0, epoch="e") as socket,
    ):
        assert await heard(socket) == ["hello", 1, 2, 3, 4, 5, 6]
        assert socket.code == 4404
    assert [(one["type"], one["payload"]) for one in asked] == [
        ("sync", {"since": 2, "epoch": "e"})
    ]


async def test_it_asks_again_when_an_answer_was_whole_and_something_is_missing_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SYNC_AGAIN_SECONDS", 0.1)
    asked: list[Any] = []

    async def lossy(socket: web.WebSocketResponse) -> None:
        for seq in (2, 3, 4):
            await socket.send_json(event(seq))
        asked.append(await socket.receive_json())
        await socket.send_json(event(1))
        await socket.send_json({"type": "ack", "payload": {"id": asked[0]["id"]}})
        begun = time.monotonic()
        asked.append(await socket.receive_json())
        refusal = {"code": "unavailable", "message": "later", "id": asked[1]["id"]}
        await socket.send_json({"type": "error", "payload": refusal})
        asked.append(await socket.receive_json())
        assert time.monotonic() - begun > 0.18, "it asks no busy server in a loop"
        for seq in range(2, 6):
            await socket.send_json(event(seq))
        await socket.send_json({"type": "ack", "payload": {"id": asked[2]["id"]}})
        with suppress(TimeoutError):
            asked.append(await socket.receive_json(timeout=0.3))
        await socket.close(code=4404)

    async with (
        stage(Script(lossy).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=0, epoch="e") as socket,
    ):
        assert await heard(socket) == ["hello", 1, 2, 3, 4, 5]
    assert [one["payload"]["since"] for one in asked] == [0, 1, 1]


@pytest.mark.parametrize("text", ["{", "[]", '{"seq":1}', '{"payload":{}}'])
async def test_who_listens_hears_of_what_could_not_be_understood(text: str) -> None:
    """An end without a word would look as if nothing more were to come."""

    async def scene(socket: web.WebSocketResponse) -> None:
        await socket.send_str(text)
        await socket.receive()

    async def listen(socket: Socket) -> None:
        async for frame in socket:
            assert frame["type"]

    async with (
        stage(Script(scene).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=0, epoch="e") as socket,
    ):
        with pytest.raises((ValueError, LookupError, AttributeError, TypeError)):
            await asyncio.wait_for(listen(socket), 5 * pace.stretch())


async def test_it_resumes_from_what_it_has() -> None:
    async def one(socket: web.WebSocketResponse) -> None:
        await socket.send_json(event(1))
        await socket.send_json(event(2))
        await socket.close(code=1012)

    async def two(socket: web.WebSocketResponse) -> None:
        await socket.send_json(event(3))
        await socket.close(code=4403)

    script = Script(one, two)
    async with (
        stage(script.play) as url,
        Client(url, "t") as client,
        client.socket("demo") as socket,
    ):
        assert await heard(socket) == ["hello", 1, 2, "hello", 3]
        assert socket.connections == 2
        assert socket.code == 4403
    assert "since" not in script.queries[0]
    assert script.queries[1]["since"] == "2"
    assert script.queries[1]["epoch"] == "e"


async def test_it_says_how_much_of_what_was_missed_is_still_to_come(url: str, board: Board) -> None:
    async with Client(url) as client:
        await client.login("bob", PASSWORD)
        shown = await client.get(board.path)
        for number in range(5):
            await board.card(f"card {number}")
        async with client.socket("demo", since=shown["seq"], epoch=shown["epoch"]) as socket:
            behind = []
            async for frame in socket:
                if frame["type"] == "hello":
                    await board.card("while it listens")
                if frame["type"] in ("hello", "board.card_created"):
                    behind.append(socket.behind)
                    if len(behind) == 7:
                        break
        assert behind == [5, 4, 3, 2, 1, 0, 0]
        async with client.socket("demo", since=shown["seq"] + 99) as socket:
            while (await anext(socket))["type"] != "reset":
                pass
            assert socket.behind == 0


async def test_a_reset_asks_for_a_fetch_and_skips_what_the_fetch_holds() -> None:
    async def scene(socket: web.WebSocketResponse) -> None:
        reset = {"seq": 10, "epoch": "f", "reason": "too old"}
        await socket.send_json({"type": "sync.reset", "payload": reset})
        for seq in (11, 12, 13):
            await socket.send_json(event(seq))
        await socket.close(code=4404)

    async with (
        stage(Script(scene).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=3, epoch="e") as socket,
    ):
        found = []
        async for frame in socket:
            found.append(frame.get("seq", frame["type"]))
            if frame["type"] == "reset":
                assert frame["payload"]["reason"] == "too old"
                socket.fetched(12, "f")
        assert found == ["hello", "reset", 13]
        assert socket.epoch == "f"


async def test_what_was_fetched_of_another_history_is_where_it_goes_on() -> None:
    """The server behind the socket did not know of it yet."""

    async def before(socket: web.WebSocketResponse) -> None:
        await socket.send_json(
            {"type": "sync.reset", "payload": {"seq": 50, "epoch": "e", "reason": "retention"}}
        )
        await socket.send_json(event(51))
        await asyncio.sleep(0.2)
        await socket.close(code=1012)

    async def after(socket: web.WebSocketResponse) -> None:
        await socket.send_json(event(41))
        await socket.close(code=4404)

    script = Script(before, after)
    async with (
        stage(script.play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=3, epoch="e") as socket,
    ):
        found = []
        async for frame in socket:
            found.append(frame.get("seq", frame["type"]))
            if frame["type"] == "reset":
                await asyncio.sleep(0.1)
                socket.fetched(40, "f")
    assert found == ["hello", "reset", "hello", 41]
    assert (script.queries[1]["since"], script.queries[1]["epoch"]) == ("40", "f")


async def test_an_ended_token_is_renewed_and_a_signed_out_user_is_told() -> None:
    async def ended(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4401)

    async def fine(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4403)

    script = Script(ended, fine)
    async with stage(script.play) as url, Client(url, "t", refresh_token="r") as client:
        async with client.socket("demo") as socket:
            assert await heard(socket) == ["hello", "hello"]
        assert (script.refreshed, client.token) == (1, "t1")


async def test_many_sockets_renew_an_ended_token_once() -> None:
    """Each would cost a refresh token of the session, which has not many an hour."""
    come, turn = asyncio.Barrier(3), asyncio.Lock()

    async def ends(socket: web.WebSocketResponse) -> None:
        await come.wait()
        await socket.close(code=4401)

    async def expires(socket: web.WebSocketResponse) -> None:
        await come.wait()
        async with turn:  # one hears it when another has a new token already
            await socket.send_json({"type": "auth.expiring", "payload": {"seconds": 60}})
            renewed = await socket.receive_json()
        assert (renewed["type"], renewed["payload"]) == ("auth.refresh", {"token": "t1"})
        await socket.close(code=4403)

    async def fine(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4403)

    script = Script(ends, expires, expires, fine)
    async with stage(script.play) as url, Client(url, "t", refresh_token="r") as client:
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(client.socket("demo")) for _ in range(3)]
            await asyncio.gather(*map(heard, sockets))
        assert (script.refreshed, client.token) == (1, "t1")


async def test_signed_out_means_the_end(url: str, board: Board) -> None:
    async with Client(url) as client:
        await client.login("alice", PASSWORD)
        async with client.socket("demo") as socket:
            await anext(socket)
            body = {"refresh_token": client.refresh_token}
            await client.post("/auth/logout", body)
            with pytest.raises(Refused, match="401"):
                await heard(socket)
            assert socket.code in (4401, None)


async def test_a_project_that_is_not_there_is_told_at_once(url: str, person: Invite) -> None:
    async with Client(url) as client:
        await client.login("eve", PASSWORD)
        async with client.socket("demo") as socket:
            with pytest.raises(Refused) as refused:
                await anext(socket)
        assert refused.value.status == 404


async def test_a_planned_stop_is_obeyed_within_its_time() -> None:
    async def stopping(socket: web.WebSocketResponse) -> None:
        payload = {"min_ms": 50, "max_ms": 150}
        await socket.send_json({"type": "reconnect", "payload": payload})
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    async def fine(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4403)

    begun = time.monotonic()
    async with (
        stage(Script(stopping, fine).play) as url,
        Client(url, "t") as client,
        client.socket("demo") as socket,
    ):
        assert await heard(socket) == ["hello", "reconnect", "hello"]
    assert 0.05 <= time.monotonic() - begun < pace.here(2)


async def test_being_behind_the_head_of_a_pong_means_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PING_SECONDS", 0.1)

    async def silent(socket: web.WebSocketResponse) -> None:
        ping = await socket.receive_json()
        assert ping["type"] == "ping"
        await socket.send_json({"type": "pong", "payload": {"seq": 2, "server_time": ""}})
        while (asked := await socket.receive_json())["type"] == "ping":
            pass
        assert asked == {"type": "sync", "payload": {"since": 0, "epoch": "e"}, "id": "1"}
        await socket.send_json(event(1))
        await socket.send_json(event(2))
        await socket.close(code=4403)

    async with (
        stage(Script(silent).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=0, epoch="e") as socket,
    ):
        assert await heard(socket) == ["hello", "pong", 1, 2]


async def test_the_head_of_another_history_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARE_SECONDS", 0.01)

    async def goes_back(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "pong", "payload": {"seq": 99, "server_time": ""}})
        reset = {"seq": 5, "epoch": "f", "reason": "epoch"}
        await socket.send_json({"type": "sync.reset", "payload": reset})
        await asyncio.sleep(0.3)
        await socket.send_json(event(6))
        await socket.close(code=4403)

    async with (
        stage(Script(goes_back).play) as url,
        Client(url, "t") as client,
        client.socket("demo", since=50, epoch="e") as socket,
    ):
        assert await heard(socket) == ["hello", "pong", "reset", 6]
        assert (socket._wanted, socket.gaps) == (0, 0)


async def test_a_waiting_message_hears_that_the_connection_is_lost() -> None:
    async def deaf(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=4403)

    async with (
        stage(Script(deaf).play) as url,
        Client(url, "t") as client,
        client.socket("demo") as socket,
    ):
        await anext(socket)
        with pytest.raises(ConnectionError, match="lost"):
            await socket.send("chat.send", {"body": "hello"})


@pytest.mark.settings(access_token_ttl=30)
async def test_a_token_that_runs_out_is_renewed_on_the_open_socket(url: str, board: Board) -> None:
    async with Client(url) as client:
        await client.login("alice", PASSWORD)
        old = client.token
        async with client.socket("demo") as socket:
            async for frame in socket:
                if frame["type"] == "auth.expiring":
                    break
            async with asyncio.timeout(5 * pace.stretch()):
                while client.token == old:
                    await asyncio.sleep(0.01)
            answer = await socket.send("chat.send", {"body": "still here"})
            assert answer["message_id"] > 0
            assert socket.connections == 1
