"""Streams of server-sent events, as a client sees them: what is told, how they resume and end."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import jwt
import orjson
import pytest

from tests.conftest import Board, Door, Invite, Wait
from tests.person import Person, Refusal, Stream
from tests.rest.test_sockets import make_key
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.realtime import sweeper
from warmdesk.realtime.frames import Close
from warmdesk.realtime.roster import CONNECTIONS_EACH


async def refused(person: Person, status: int, place: str = "demo", **options: Any) -> Any:
    """A stream that is not opened; gives what is said."""
    with pytest.raises(Refusal) as refusal:
        async with person.stream(place, **options):
            pass
    assert refusal.value.status == status, refusal.value.body
    return refusal.value.body


# What is told


async def test_a_stream_is_told_what_a_socket_is_told(board: Board, alice: Person) -> None:
    async with alice.stream("demo") as stream, alice.socket("demo") as socket:
        hello = await stream.next()
        assert (hello["type"], hello["payload"]["role"]) == ("hello", "member")
        assert (await stream.next())["type"] == "presence.list"
        epoch = hello["payload"]["epoch"]
        assert stream.ids == [f"{epoch}.{hello['payload']['seq']}"] * 2
        assert 2000 <= stream.retry <= 5000
        for title in ("One", "Two\nlines"):
            await board.card(title)
            told = await stream.next("board.card_created")
            assert told == await socket.next("board.card_created")
            assert stream.last_id == f"{epoch}.{told['seq']}"
        headers = stream.answer.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["X-Accel-Buffering"] == "no"
        assert "no-store" in headers["Cache-Control"]
        assert "Content-Encoding" not in headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Request-Id"]


async def test_who_has_a_stream_open_is_present_and_sees_who_comes(
    board: Board, alice: Person, bob: Person
) -> None:
    async with alice.stream("demo") as stream:
        await stream.next("presence.list")
        async with bob.socket("demo") as socket:
            present = (await socket.next("presence.list"))["payload"]["users"]
            assert {each["id"] for each in present} >= {alice.id, bob.id}
            assert (await stream.next("presence.join"))["payload"]["id"] == bob.id
            await socket.send("ping", id=1)
    async with alice.stream("demo", presence="changed") as stream, bob.socket("demo"):
        await stream.next("presence.list")


async def test_the_own_stream_brings_the_own_events(board: Board, alice: Person) -> None:
    async with alice.stream("user") as stream:
        told = (await stream.next())["payload"]
        assert (told["project"], told["unread_notifications"]) == (None, 1)
        await alice.post("/projects", {"name": "Mine"})
        event = await stream.next()
        assert (event["type"], event["payload"]) == ("project.created", {"slug": "mine"})


# Resuming


async def test_who_comes_back_gets_what_came_after(board: Board, alice: Person) -> None:
    async with alice.stream("demo") as stream:
        await stream.next("presence.list")
        first = stream.last_id
    told = [(await board.card(f"Card {number}"))["id"] for number in range(3)]
    epoch, _, seq = first.rpartition(".")
    ways: list[dict[str, Any]] = [
        {"last_id": first},
        {"since": seq, "epoch": epoch},
        {"last_id": first, "since": 0, "epoch": "another"},
        {"last_id": seq},
        {"since": seq},
    ]
    for way in ways:
        async with alice.stream("demo", **way) as stream:
            hello = (await stream.next())["payload"]
            assert (hello["resumed"], hello["replay"]) == (True, 3), way
            assert stream.ids[0] == first
            got = [(await stream.next("board.card_created"))["payload"]["id"] for _ in told]
            assert got == told
            assert stream.last_id == f"{epoch}.{hello['seq']}"


@pytest.mark.parametrize(
    "wrong",
    ["elsewhere.3", "{epoch}.999999", "nonsense", "{epoch}.", ".", "{epoch}.-1", "{epoch}.x"],
)
async def test_what_cannot_be_carried_on_from_is_a_reset_before_all_else(
    board: Board, alice: Person, wrong: str
) -> None:
    shown = await alice.get("/projects/demo")
    async with alice.stream("demo", last_id=wrong.format(epoch=shown["epoch"])) as stream:
        reset = await stream.next()
        assert reset["type"] == "sync.reset"
        assert (reset["payload"]["seq"], reset["payload"]["epoch"]) == (
            shown["seq"],
            shown["epoch"],
        )
        assert stream.ids[0] == f"{shown['epoch']}.{shown['seq']}"
        assert (await stream.next())["payload"]["resumed"] is False
        await board.card()
        assert (await stream.next("board.card_created"))["seq"] == shown["seq"] + 1


async def test_what_was_deleted_meanwhile_is_gone(board: Board, alice: Person) -> None:
    async with alice.stream("demo") as stream:
        await stream.next("presence.list")
        last = stream.last_id
    card = await board.card("A secret")
    await alice.delete(f"{board.path}/cards/{card['id']}")
    async with alice.stream("demo", last_id=last) as stream:
        await stream.next("gone")
        await stream.next("board.card_deleted")
        await stream.next("board.counts")
        assert "A secret" not in str(stream.frames)


# Who may


async def test_every_kind_of_credential_opens_a_stream(
    board: Board, alice: Person, connection: Any, person: Invite
) -> None:
    await make_key(connection, alice.id, "wd_" + "a" * 48)
    ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
    nobody = person("nobody", api_key="unused")
    keys: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {"token": await alice.token()}),
        ({}, {"ticket": ticket}),
        ({}, {"api_key": "wd_" + "a" * 48}),
        ({"X-API-Key": "wd_" + "a" * 48}, {}),
        ({"Authorization": f"Bearer {await alice.token()}"}, {}),
    ]
    url = f"{alice.client.url}/projects/demo/events/stream"
    for headers, query in keys:
        session = nobody.client.session
        async with session.get(url, headers=headers, params=query) as answer:
            assert answer.status == 200, (headers, query)
            stream = Stream(answer)
            assert (await stream.next())["payload"]["user"]["id"] == alice.id
            await stream.close()
    async with nobody.client.session.get(url, params={"ticket": ticket}) as answer:
        assert answer.status == 401


async def test_who_may_not_is_refused_in_json(
    board: Board, alice: Person, eve: Person, person: Invite, connection: Any
) -> None:
    assert (await refused(eve, 404))["error"] == "project not found"
    await refused(alice, 404, "nowhere")
    await refused(person("nobody", api_key="wd_unknown"), 401)
    await make_key(connection, alice.id, "wd_" + "b" * 48, project_id=board.id)
    bot = person("bot", api_key="wd_" + "b" * 48)
    await refused(bot, 403, "user")
    async with bot.stream("demo") as stream:
        await stream.next("hello")
    for wrong in ({"since": "now"}, {"since": -1}, {"presence": "all"}):
        shown = await refused(alice, 400, **wrong)
        assert list(shown["fields"]) == list(wrong)


async def test_a_head_is_answered_and_nothing_stays_open(
    board: Board, desk: Desk, alice: Person, eve: Person
) -> None:
    for person, status in ((alice, 200), (eve, 404)):
        answer = await person.request("HEAD", "/projects/demo/events/stream")
        assert answer.status == status
    assert not desk.hub.roster.of_user(alice.id)


async def test_a_foreign_page_reads_nothing(board: Board, alice: Person, url: str) -> None:
    async with alice.client.session.get(
        f"{alice.client.url}/projects/demo/events/stream",
        params={"token": await alice.token()},
        headers={"Origin": "https://evil.example"},
    ) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with alice.client.session.get(
        f"{alice.client.url}/projects/demo/events/stream",
        params={"token": await alice.token()},
        headers={"Origin": url},
    ) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == url


async def test_a_body_is_refused(board: Board, alice: Person) -> None:
    answer = await alice.request("GET", "/projects/demo/events/stream", {"a": 1})
    assert answer.status == 400


# How it ends


async def test_who_is_removed_is_told_no_more_and_let_in_no_more(
    board: Board, olga: Person, bob: Person, twin: Door, person: Invite
) -> None:
    async with bob.stream("demo") as here, person("bob", url=twin.url).stream("demo") as there:
        for stream in (here, there):
            await stream.next("presence.list")
        await olga.delete(f"{board.path}/members/{bob.id}")
        await board.card("Not for bob")
        for stream in (here, there):
            assert await stream.closed() == Close.NO_ACCESS
            assert stream.events[-1]["type"] == "project.member_removed"
            assert "Not for bob" not in str(stream.frames)
    await refused(bob, 404, last_id=here.last_id)


async def test_a_session_that_ends_ends_its_streams(board: Board, alice: Person) -> None:
    async with alice.stream("demo") as stream, alice.stream("user") as own:
        for each in (stream, own):
            await each.next("hello")
        await alice.post("/auth/logout", {"refresh_token": alice.client.refresh_token}, status=204)
        for each in (stream, own):
            assert await each.closed() == Close.SIGNED_OUT


async def test_a_key_that_is_revoked_ends_its_stream(
    board: Board, desk: Desk, alice: Person, person: Invite, connection: Any
) -> None:
    key_id = await make_key(connection, alice.id, "wd_" + "c" * 48)
    async with person("bot", api_key="wd_" + "c" * 48).stream("demo") as stream:
        await stream.next("hello")
        await connection.execute("update api_keys set revoked_at = now() where id = $1", key_id)
        await desk.control._ask_about_all()
        assert await stream.closed() in (Close.SIGNED_OUT, Close.NO_ACCESS)


async def test_a_token_that_ends_ends_its_stream(
    board: Board, alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "EXPIRY_GRACE_SECONDS", 0.5)
    claims = jwt.decode(await alice.token(), settings.jwt_secret, algorithms=["HS256"])
    claims["exp"] = time.time() + 1.5
    alice.client.token = jwt.encode(claims, settings.jwt_secret, algorithm="HS256")
    async with alice.stream("demo") as stream:
        await stream.next("auth.expiring")
        assert await stream.closed() == Close.SIGNED_OUT


async def test_a_planned_stop_sends_each_elsewhere_at_another_moment(
    board: Board, desk: Desk, alice: Person, bob: Person, eventually: Wait
) -> None:
    async with alice.stream("demo") as hers, bob.stream("demo") as his:
        for stream in (hers, his):
            await stream.next("hello")
        await desk.hub.roster.close_sockets(spread=0.1)
        for stream in (hers, his):
            await stream.next("reconnect")
            assert await stream.closed() == Close.GOING_AWAY
            assert 100 <= stream.retry <= 3000
    await eventually(lambda: not desk.hub.roster.connections)


async def test_a_server_that_stops_lets_nobody_in(board: Board, desk: Desk, alice: Person) -> None:
    await alice.token()
    desk.draining = True
    await refused(alice, 503)


async def test_a_client_that_leaves_leaves_nothing_behind(
    board: Board, door: Door, desk: Desk, alice: Person, eventually: Wait
) -> None:
    async with alice.stream("demo") as stream:
        await stream.next("hello")
        assert desk.hub.roster.of_user(alice.id)
        assert desk.hub.roster._count_open["project_stream"] == 1
    await eventually(lambda: not desk.hub.roster.of_user(alice.id))
    assert desk.hub.roster._count_open["project_stream"] == 0


async def test_a_comment_comes_while_nothing_happens(
    board: Board, alice: Person, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr("warmdesk.http.streams.EventStream.quiet_seconds", 1.0)
    async with alice.stream("demo") as stream:
        await eventually(lambda: stream.comments >= 2, limit=8)
        assert "message" not in {frame["type"] for frame in stream.frames}


# Limits


async def test_the_21st_on_one_channel_is_refused_and_ends_no_other(
    board: Board, desk: Desk, alice: Person
) -> None:
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(alice.stream("demo"))
            for _ in range(CONNECTIONS_EACH - 1)
        ]
        await (await stack.enter_async_context(alice.socket("demo"))).next("hello")
        shown = await refused(alice, 429)
        assert shown["code"] == "too_many_sockets"
        await (await stack.enter_async_context(alice.stream("user"))).next("hello")
        await board.card()
        for stream in streams:
            await stream.next("board.card_created")


@pytest.mark.settings(sockets_per_person=3)
async def test_sockets_and_streams_count_together(board: Board, alice: Person) -> None:
    async with alice.stream("demo") as one, alice.stream("user"), alice.socket("demo") as socket:
        await socket.next("hello")
        await one.next("hello")
        shown = await refused(alice, 429)
        assert shown["code"] == "too_many_sockets"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with alice.socket("demo"):
                pass


async def test_an_old_program_gets_a_stream_too(board: Board, alice: Person, url: str) -> None:
    """HTTP/1.0, as some proxies speak it; what comes behind the request means nothing."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = (
        f"GET /api/v1/projects/demo/events/stream HTTP/1.0\r\n"
        f"Authorization: Bearer {await alice.token()}\r\n\r\n"
    )
    writer.write(request.encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    block = await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
    writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
    await board.card()
    block += await asyncio.wait_for(reader.readuntil(b"board.card_created\n"), 5)
    assert b"HTTP/1" not in block
    data = next(line for line in block.split(b"\n") if line.startswith(b"data: "))
    assert orjson.loads(data[6:])["type"] == "hello"
    writer.close()
