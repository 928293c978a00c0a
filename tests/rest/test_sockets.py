"""The socket doors: who comes in and how, and what clients may say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.closed import NOTATION
from tests.conftest import Board, Door, Invite, Wait, serving, until
from tests.person import PASSWORD, Person, Wire
from tests.realtime.story import tell
from warmdesk.auth.tokens import digest
from warmdesk.changes.chat import Chat
from warmdesk.client import FRAME_LIMIT
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.errors import CODES
from warmdesk.http.commands import COMMANDS
from warmdesk.rest import sockets

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@asynccontextmanager
async def enter(
    person: Person,
    place: str = "demo",
    *,
    headers: dict[str, str] | None = None,
    protocols: tuple[str, ...] = (),
    **params: Any,
) -> AsyncIterator[tuple[Wire, dict[str, Any]]]:
    """A socket opened with exactly these credentials; and its hello."""
    async with person.client.session.ws_connect(
        f"{person.client.url}/ws/{place}",
        params={name: str(value) for name, value in params.items()},
        headers=headers or {},
        protocols=protocols,
        max_msg_size=FRAME_LIMIT,
    ) as socket:
        wire = Wire(socket)
        try:
            yield wire, (await wire.next())["payload"]
        finally:
            await wire.close()


async def refused(
    person: Person, place: str, status: int, *, headers: dict[str, str] | None = None, **params: Any
) -> Any:
    """A handshake that is answered by plain HTTP; gives its JSON."""
    async with person.client.session.get(
        f"{person.client.url}/ws/{place}",
        params={name: str(value) for name, value in params.items()},
        headers=HANDSHAKE | (headers or {}),
    ) as response:
        body = await response.json()
        assert response.status == status, body
        assert isinstance(body["error"], str)
        return body


async def make_key(connection: Any, user_id: int, secret: str, **fields: Any) -> int:
    made = await connection.fetchval(
        "insert into api_keys (user_id, name, key_hash, key_prefix, project_id, revoked_at)"
        " values ($1, 'bot', $2, 'wd_', $3, $4) returning id",
        user_id,
        digest(secret),
        fields.get("project_id"),
        fields.get("revoked_at"),
    )
    return int(made)


# Coming in


async def test_hello_is_the_first_frame_and_the_list_the_second(
    board: Board, alice: Person
) -> None:
    shown = await alice.get("/projects/demo")
    async with alice.socket("demo") as wire:
        hello = await wire.next()
        assert hello["type"] == "hello"
        told = hello["payload"]
        assert told["user"]["id"] == alice.id
        assert told["user"]["username"] == "alice"
        assert told["project"] == {"id": board.id, "slug": "demo"}
        assert told["role"] == "member"
        assert (told["seq"], told["epoch"]) == (shown["seq"], shown["epoch"])
        assert told["ping_interval"] == 30
        kept = (await alice.get("/projects/demo/events"))["oldest"]
        assert (told["resumed"], told["replay"], told["oldest"]) == (False, 0, kept)
        assert told["server_time"].endswith("Z")
        assert (await wire.next())["type"] == "presence.list"
        async with alice.socket("demo") as other:
            assert (await other.next())["payload"]["connection_id"] != told["connection_id"]


async def test_the_user_socket_says_hello_without_a_project_and_brings_the_own_events(
    board: Board, alice: Person
) -> None:
    async with alice.socket("user") as wire:
        told = (await wire.next())["payload"]
        assert (told["project"], told["role"]) == (None, None)
        await alice.post("/projects", {"name": "Mine"})
        event = await wire.next()
        assert (event["type"], event["payload"]) == ("project.created", {"slug": "mine"})
        assert event["seq"] == told["seq"] + 1
    kept = (await alice.get("/users/me/events"))["oldest"]
    async with alice.socket("user", since=told["seq"]) as wire:
        again = (await wire.next())["payload"]
        assert (again["resumed"], again["replay"], again["oldest"]) == (True, 1, kept)
        assert await wire.next() == event


@pytest.mark.parametrize("place", ["demo", "user"])
async def test_every_kind_of_credential_opens_a_socket(
    place: str, board: Board, alice: Person, person: Invite, connection: Any
) -> None:
    token = await alice.token()
    await make_key(connection, alice.id, "wd_key")
    bearer = {"Authorization": f"Bearer {token}"}
    nobody = person("nobody")
    ways: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {"token": token}),
        (bearer, {}),
        ({"X-API-Key": "wd_key"}, {}),
        ({"Authorization": "Bearer wd_key"}, {}),
        ({"Authorization": "ApiKey wd_key"}, {}),
        ({}, {"api_key": "wd_key"}),
    ]
    for headers, params in ways:
        async with enter(nobody, place, headers=headers, **params) as (wire, hello):
            assert hello["user"]["id"] == alice.id
            assert wire.socket.protocol is None
    protocols = ("warmdesk", f"bearer.{token}")
    async with enter(nobody, place, protocols=protocols) as (wire, hello):
        assert hello["user"]["id"] == alice.id
        assert wire.socket.protocol == "warmdesk"


async def test_a_ticket_opens_one_socket_once(board: Board, alice: Person, person: Invite) -> None:
    made = await alice.post("/auth/ws-ticket")
    assert made["expires_in"] == 30
    nobody = person("nobody")
    async with enter(nobody, ticket=made["ticket"]) as (_, hello):
        assert hello["user"]["id"] == alice.id
    await refused(nobody, "demo", 401, ticket=made["ticket"])


async def test_bad_credentials_are_refused_before_the_upgrade(
    board: Board, alice: Person, person: Invite, connection: Any, eventually: Wait
) -> None:
    nobody = person("nobody")
    await alice.token()
    await make_key(connection, alice.id, "wd_dead", revoked_at=await now(connection))
    for place in ("demo", "user", "nowhere"):
        await refused(nobody, place, 401)
        await refused(nobody, place, 401, token="nonsense")
        await refused(nobody, place, 401, token=alice.client.refresh_token)
        await refused(nobody, place, 401, token="")
        await refused(nobody, place, 401, ticket="nonsense")
        await refused(nobody, place, 401, headers={"X-API-Key": "wd_unknown"})
        await refused(nobody, place, 401, headers={"X-API-Key": "wd_dead"})
        protocol = {"Sec-WebSocket-Protocol": "bearer.nonsense"}
        await refused(nobody, place, 401, headers=protocol)
    token = await alice.token()
    await alice.post("/auth/logout", {}, status=204)

    async def ended() -> bool:
        return (await alice.request("GET", "/users/me")).status == 401

    await eventually(ended, limit=2)
    await refused(nobody, "demo", 401, token=token)


async def now(connection: Any) -> Any:
    return await connection.fetchval("select now()")


async def test_a_project_that_is_not_there_and_one_that_is_not_shown_are_the_same(
    board: Board, eve: Person
) -> None:
    token = await eve.token()
    hidden = await refused(eve, "demo", 404, token=token)
    missing = await refused(eve, "nowhere", 404, token=token)
    assert hidden["error"] == missing["error"]


async def test_global_admins_enter_every_project_as_owners(board: Board, root: Person) -> None:
    async with root.socket("demo") as wire:
        assert (await wire.next())["payload"]["role"] == "owner"


async def test_foreign_origins_are_refused(board: Board, alice: Person, url: str) -> None:
    token = await alice.token()
    for origin in ("https://evil.example", "null", url + ".evil.example"):
        await refused(alice, "demo", 403, headers={"Origin": origin}, token=token)
    async with enter(alice, headers={"Origin": url}, token=token) as (_, hello):
        assert hello["user"]["id"] == alice.id


async def test_service_accounts_open_no_sockets(
    board: Board, root: Person, person: Invite, olga: Person
) -> None:
    body = {"email": "m@example.org", "username": "scraper", "password": PASSWORD}
    await root.post("/users", body | {"global_role": "metrics"})
    token = await person("scraper").token()
    for place in ("demo", "user"):
        await refused(olga, place, 403, token=token)


async def test_a_key_of_one_project_opens_that_projects_socket_alone(
    board: Board, alice: Person, person: Invite, connection: Any
) -> None:
    other = await alice.post("/projects", {"name": "Other"})
    await make_key(connection, alice.id, "wd_scoped", project_id=board.id)
    bot = person("bot", api_key="wd_scoped")
    async with bot.socket("demo") as wire:
        await wire.next("hello")
    key = {"X-API-Key": "wd_scoped"}
    await refused(bot, other["slug"], 403, headers=key)
    await refused(bot, "user", 403, headers=key)


async def test_what_is_no_handshake_is_told_so(board: Board, alice: Person) -> None:
    plain = await alice.request("GET", "/ws/demo")
    assert plain.status == 426
    assert plain.headers["Upgrade"] == "websocket"
    assert plain.body["error"]
    token = await alice.token()
    await refused(alice, "demo", 426, headers={"Sec-WebSocket-Version": "8"}, token=token)
    await refused(alice, "demo", 400, headers={"Sec-WebSocket-Key": "short"}, token=token)
    for wrong in ({"since": "x"}, {"since": -1}, {"since": 2**63}, {"presence": "loud"}):
        await refused(alice, "demo", 400, token=token, **wrong)


async def test_a_server_that_stops_lets_nobody_in(board: Board, desk: Desk, alice: Person) -> None:
    token = await alice.token()
    desk.draining = True
    try:
        await refused(alice, "demo", 503, token=token)
    finally:
        desk.draining = False


async def test_opening_takes_a_limited_time(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await alice.token()

    async def hangs(*args: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(sockets, "OPENING_SECONDS", 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(desk.presence, "come", hangs)
        began = time.monotonic()
        await refused(alice, "demo", 503, token=token)
        assert time.monotonic() - began < pace.here(3)
    async with alice.socket("demo") as wire:
        await wire.next("hello")


# Coming back


async def test_who_comes_back_gets_what_came_after(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        hello = (await wire.next())["payload"]
        for number in range(3):
            await board.card(f"Card {number}")
        events = [await wire.next("board.card_created") for _ in range(3)]
    for since in range(hello["seq"], hello["seq"] + 4):
        async with alice.socket("demo", since=since, epoch=hello["epoch"]) as wire:
            told = (await wire.next())["payload"]
            assert told["resumed"] is True
            assert told["seq"] == hello["seq"] + 3
            await wire.settle()
            assert wire.events == events[since - hello["seq"] :]
            assert told["replay"] == len(wire.events)


@pytest.mark.foul
async def test_who_was_away_for_long_is_told_how_much_follows(
    board: Board, twin: Door, person: Invite, connection: Any
) -> None:
    """More than a page of a feed, and than a process remembers that has just begun to follow it."""
    channel, far = f"project:{board.id}", person("alice", url=twin.url)
    head = await connection.fetchval("select seq from feeds where channel = $1", channel)
    async with far.socket("demo") as wire:
        await wire.next("hello")
        for _ in range(3):
            await tell(twin.desk, channel, 90)
            await board.card()
        await until(lambda: twin.desk.hub.rooms[channel].last == head + 273)
        for since in (head, head + 1, head + 270, head + 273):
            async with far.socket("demo", since=since) as back:
                told = (await back.next("hello"))["payload"]
                assert (told["resumed"], told["seq"]) == (True, head + 273)
                while len(back.events) < told["replay"]:
                    await back.next()
                await back.settle()
                shown = [each["seq"] for each in back.events]
                assert shown == list(range(since + 1, told["seq"] + 1))


async def test_what_cannot_be_carried_on_from_is_a_reset(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        hello = (await wire.next())["payload"]
        head = {"seq": hello["seq"], "epoch": hello["epoch"]}
        for params, reason in (
            ({"since": hello["seq"] + 1}, "ahead"),
            ({"since": hello["seq"], "epoch": "other"}, "epoch"),
            ({"since": hello["seq"], "epoch": "long" * 200}, "epoch"),
            ({"since": hello["seq"], "epoch": '"%s🦊' * 50}, "epoch"),
        ):
            async with alice.socket("demo", **params) as back:
                told = (await back.next())["payload"]
                assert (told["resumed"], told["replay"]) == (False, 0)
                assert (await back.next())["type"] == "presence.list"
                reset = await back.next()
                assert reset == {"type": "sync.reset", "payload": head | {"reason": reason}}
                await board.card()
                event = await back.next("board.card_created")
                assert event["seq"] == head["seq"] + 1
                head["seq"] += 1
                hello["seq"] += 1


@pytest.mark.foul
async def test_what_is_no_longer_kept_is_a_reset(
    board: Board, desk: Desk, alice: Person, connection: Any
) -> None:
    for _ in range(5):
        await board.card()
    head = await connection.fetchval(
        "with gone as (delete from events where channel = $1)"
        " update feeds set oldest = seq + 1 where channel = $1 returning seq",
        f"project:{board.id}",
    )
    async with alice.socket("demo", since=head - 1) as wire:
        told = (await wire.next())["payload"]
        assert (told["resumed"], told["replay"], told["oldest"]) == (False, 0, head + 1)
        assert (await wire.next("sync.reset"))["payload"]["reason"] == "retention"
    async with alice.socket("demo", since=head) as wire:
        told = (await wire.next())["payload"]
        assert (told["resumed"], told["replay"], told["oldest"]) == (True, 0, head + 1)


@pytest.mark.foul
async def test_every_process_soon_tells_which_event_is_the_oldest(
    board: Board, door: Door, twin: Door, person: Invite, connection: Any, eventually: Wait
) -> None:
    channel = f"project:{board.id}"
    people = [person("alice"), person("alice", url=twin.url)]
    async with people[0].socket("demo") as one, people[1].socket("demo") as other:
        for wire in (one, other):
            assert (await wire.next("hello"))["payload"]["oldest"] == 1
        kept = await connection.fetchval(
            "with gone as (delete from events where channel = $1 and seq < 3)"
            " update feeds set oldest = 3 where channel = $1 returning oldest",
            channel,
        )
        for each in (door, twin):
            await eventually(lambda each=each: each.desk.hub.rooms[channel].oldest == kept)
        for comer in people:
            async with comer.socket("demo") as late:
                assert (await late.next("hello"))["payload"]["oldest"] == kept


@pytest.mark.foul
async def test_a_history_that_ends_while_a_socket_opens_is_not_carried_on(
    board: Board, desk: Desk, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is open again, at another place of another history, before the socket enters it."""
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]
    refs = desk.people.refs

    async def meanwhile(ids: Any) -> Any:
        await connection.execute("update install set id = gen_random_uuid()")
        await desk.hub.check()
        await desk.hub.open(f"project:{board.id}")
        return await refs(ids)

    monkeypatch.setattr(desk.people, "refs", meanwhile)
    await refused(
        alice,
        "demo",
        503,
        headers=alice.client.credentials,
        since=hello["seq"],
        epoch=hello["epoch"],
    )
    assert desk.hub.epoch != hello["epoch"]


async def test_sync_replays_or_resets(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]
        await board.card()
        event = await wire.next("board.card_created")
        await wire.send("sync", {"since": hello["seq"]})
        assert await wire.next("board.card_created") == event
        await wire.send("sync", {"since": event["seq"]})
        await wire.settle()
        assert wire.events == [event, event]
        for payload, reason in (
            ({"since": event["seq"] + 5}, "ahead"),
            ({"since": 0, "epoch": "other"}, "epoch"),
            ({"since": 0, "epoch": '"%s🦊' * 1000}, "epoch"),
        ):
            await wire.send("sync", payload)
            reset = (await wire.next("sync.reset"))["payload"]
            assert reset == {"seq": event["seq"], "epoch": hello["epoch"], "reason": reason}
        await board.card()
        assert (await wire.next("board.card_created"))["seq"] == event["seq"] + 1


# Talking


async def test_ping_is_answered_with_the_head(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]
        await wire.send("ping", id="p1")
        pong = await wire.next("pong")
        assert pong["id"] == "p1"
        assert pong["payload"]["seq"] == hello["seq"]
        assert pong["payload"]["server_time"].endswith("Z")
        await board.card()
        await wire.next("board.card_created")
        await wire.send("ping")
        assert (await wire.next("pong"))["payload"]["seq"] == hello["seq"] + 1


async def test_a_message_is_acknowledged_and_told_to_all_the_sender_too(
    board: Board, twin: Door, person: Invite, alice: Person, bob: Person, eventually: Wait
) -> None:
    far = person("olga", url=twin.url)
    async with alice.socket("demo") as hers, bob.socket("demo") as his, far.socket("demo") as third:
        for wire in (hers, his, third):
            await wire.next("presence.list")
        await hers.send("chat.send", {"body": "Hello, world"}, id=17)
        ack = await hers.next("ack")
        assert ack["id"] == ack["payload"]["id"] == 17
        for wire in (hers, his, third):
            await eventually(lambda wire=wire: wire.events)
        told = [wire.events[0] for wire in (hers, his, third)]
        assert told[0] == told[1] == told[2]
        assert told[0]["actor_id"] == alice.id
        assert told[0]["payload"]["id"] == ack["payload"]["message_id"]
        assert told[0]["payload"]["body"] == "Hello, world"
        for wire in (hers, his, third):
            await wire.settle()
            assert len(wire.events) == 1


async def test_a_nonce_that_is_repeated_is_the_same_message(
    board: Board, alice: Person, eventually: Wait
) -> None:
    async with alice.socket("demo") as one, alice.socket("demo") as two:
        for _ in range(3):
            for wire in (one, two):
                await wire.send("chat.send", {"body": "Once", "nonce": "n-1"}, id=1)
        ids = set()
        for wire in (one, two):
            for _ in range(3):
                ids.add((await wire.next("ack"))["payload"]["message_id"])
        assert len(ids) == 1
        await one.send("chat.send", {"body": "Other", "nonce": "n-1"}, id=2)
        assert (await one.next("ack"))["payload"]["message_id"] in ids
        again = {"body": "Once", "nonce": "n-1"}
        same = await alice.post("/projects/demo/chat/messages", again, status=200)
        assert same["id"] in ids
        await one.send("chat.send", {"body": "Once", "nonce": "n-2"}, id=3)
        assert (await one.next("ack"))["payload"]["message_id"] not in ids
        for wire in (one, two):
            await eventually(lambda wire=wire: len(wire.events) >= 2)
            await wire.settle()
            assert [frame["type"] for frame in wire.events] == ["chat.message"] * 2


async def test_messages_are_edited_by_their_authors_and_deleted_by_admins_too(
    board: Board, alice: Person, olga: Person
) -> None:
    async with alice.socket("demo") as hers, olga.socket("demo") as owners:
        await hers.send("chat.send", {"body": "First"}, id=1)
        message = (await hers.next("ack"))["payload"]["message_id"]
        await hers.send("chat.edit", {"message_id": message, "body": "Second"}, id=2)
        assert (await hers.next("ack"))["payload"]["id"] == 2
        edited = await owners.next("chat.message_updated")
        assert edited["payload"]["body"] == "Second"
        assert edited["payload"]["is_edited"]
        stale = {"message_id": message, "body": "Third", "version": 1}
        await hers.send("chat.edit", stale, id=6)
        error = await hers.next("error")
        assert (error["payload"]["code"], error["id"]) == ("version_conflict", 6)
        assert error["payload"]["current"]["body"] == "Second"
        await owners.send("chat.edit", {"message_id": message, "body": "Mine"}, id=3)
        assert (await owners.next("error"))["payload"]["code"] == "forbidden"
        await owners.send("chat.delete", {"message_id": message}, id=4)
        assert (await owners.next("ack"))["payload"]["id"] == 4
        assert (await hers.next("chat.message_deleted"))["payload"] == {"id": message}
        await hers.send("chat.delete", {"message_id": message}, id=5)
        error = (await hers.next("error"))["payload"]
        assert (error["code"], error["message"]) == ("not_found", "message not found")


async def test_typing_is_told_to_the_others_and_not_too_often(
    board: Board, twin: Door, person: Invite, alice: Person, olga: Person
) -> None:
    far = person("bob", url=twin.url)
    async with (
        alice.socket("demo") as hers,
        alice.socket("demo") as tab,
        olga.socket("demo") as near,
        far.socket("demo") as other,
    ):
        for wire in (hers, tab, near, other):
            await wire.next("presence.list")
        for _ in range(5):
            await hers.send("chat.typing")
        for wire in (near, other):
            assert await wire.next("chat.typing") == {
                "type": "chat.typing",
                "payload": {"user_id": alice.id},
            }
        await asyncio.sleep(0.1)
        for wire in (hers, tab, near, other):
            await wire.settle()
            typed = [frame for frame in wire.frames if frame["type"] == "chat.typing"]
            assert len(typed) == (0 if wire in (hers, tab) else 1)
        await other.send("chat.typing", id=1)
        assert (await other.next("error"))["payload"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("type", "payload", "code"),
    [
        ("nonsense", {}, "unknown_type"),
        ("hello", {}, "unknown_type"),
        ("chat.send", {}, "invalid_payload"),
        ("chat.send", {"body": 7}, "invalid_payload"),
        ("chat.send", {"body": ""}, "invalid_payload"),
        ("chat.send", [], "invalid_payload"),
        ("chat.send", "text", "invalid_payload"),
        ("chat.send", {"body": "x", "nonce": ""}, "invalid_payload"),
        ("chat.edit", {"message_id": 1}, "invalid_payload"),
        ("chat.edit", {"message_id": "1", "body": "x"}, "invalid_payload"),
        ("chat.edit", {"message_id": 2**63, "body": "x"}, "invalid_payload"),
        ("chat.edit", {"message_id": 999, "body": "x"}, "not_found"),
        ("chat.delete", {"message_id": 0}, "invalid_payload"),
        ("chat.react", {"message_id": 1}, "invalid_payload"),
        ("chat.react", {"emoji": "👍"}, "invalid_payload"),
        ("chat.react", {"message_id": 999, "emoji": "👍", "remove": 1}, "invalid_payload"),
        ("chat.react", {"message_id": 999, "emoji": "👍"}, "not_found"),
        ("chat.react", {"message_id": 999, "emoji": "👍", "remove": True}, "not_found"),
        ("auth.refresh", {}, "invalid_payload"),
        ("auth.refresh", {"token": "nonsense"}, "invalid_token"),
        ("sync", {}, "invalid_payload"),
        ("sync", {"since": -1}, "invalid_payload"),
    ],
)
async def test_what_cannot_be_is_an_error_with_its_code_and_id(
    type: str, payload: Any, code: str, board: Board, alice: Person
) -> None:
    async with alice.socket("demo") as wire:
        await wire.send(type, payload, id="m")
        error = await wire.next("error")
        assert error["payload"]["code"] == code
        assert error["payload"]["id"] == error["id"] == "m"
        assert error["payload"]["code"] in CODES
        assert not NOTATION.search(error["payload"]["message"])
        await wire.settle()
        assert wire.events == []


async def test_all_wrong_fields_of_a_command_are_named(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        await wire.send("chat.edit", {"message_id": "1", "body": " ", "version": 0}, id=1)
        payload = (await wire.next("error"))["payload"]
        assert payload["fields"] == {
            "message_id": "bad_format",
            "body": "blank",
            "version": "out_of_range",
        }
        assert payload["limits"]["version"]["min"] == 1
        assert sorted(payload["message"].split("; ")) == [
            "body: must not be blank",
            "message_id: must be a whole number",
            "version: must be at least 1",
        ]
        await wire.send("chat.send", "text", id=2)
        assert (await wire.next("error"))["payload"]["message"] == "the payload must be an object"


async def test_the_events_of_a_command_carry_its_client_id(
    board: Board, twin: Door, alice: Person, person: Invite
) -> None:
    far = person("bob", url=twin.url)
    tried = set()
    async with alice.socket("demo") as hers, far.socket("demo") as his:
        await his.next("presence.list")

        async def told(type: str, payload: Any, client_id: str | None) -> Any:
            await hers.send(type, payload, id=1, client_id=client_id)
            ack = await hers.next("ack")
            event = await his.next()
            while "seq" not in event:
                event = await his.next()
            assert event.get("client_id") == client_id
            assert ("client_id" in event) == (client_id is not None)
            tried.add(type)
            return ack["payload"]["message_id"]

        for client_id in ("tab-1", "x" * 128, "A.b_9-", None):
            first = await told("chat.send", {"body": "Alone"}, client_id)
            nonce = f"n{client_id}"[:9]
            other = await told("chat.send", {"body": "@bob", "nonce": nonce}, client_id)
            await told("chat.edit", {"message_id": first, "body": "Edited"}, client_id)
            emoji = {"message_id": first, "emoji": "👍"}
            await told("chat.react", emoji, client_id)
            await told("chat.react", emoji | {"remove": True}, client_id)
            for message_id in (first, other):
                await told("chat.delete", {"message_id": message_id}, client_id)
    makes_events = {name for name, each in COMMANDS.items() if each.rate is not None}
    assert tried == makes_events


async def test_messages_that_share_a_statement_have_each_their_client_id(
    board: Board, alice: Person, olga: Person
) -> None:
    async with alice.socket("demo") as one, olga.socket("demo") as other:
        for number in range(20):
            await one.send("chat.send", {"body": f"a{number}"}, client_id=f"a{number}")
            await other.send("chat.send", {"body": f"o{number}"}, client_id=f"o{number}")
        events = [await one.next("chat.message") for _ in range(40)]
    assert len({event["client_id"] for event in events}) == 40
    assert [event["client_id"] for event in events] == [e["payload"]["body"] for e in events]


@pytest.mark.parametrize(
    "client_id", ["", " ", "a b", "a\n", "x" * 129, "é", "a/b", '"', 7, True, [], {"a": 1}]
)
async def test_a_client_id_that_is_none_is_refused_and_nothing_happens(
    client_id: Any, board: Board, alice: Person
) -> None:
    async with alice.socket("demo") as wire:
        for type in ("chat.send", "ping", "sync", "chat.typing"):
            await wire.send(type, {"body": "x", "since": 0}, id=5, client_id=client_id)
            error = await wire.next("error")
            assert (error["id"], error["payload"]["code"]) == (5, "invalid_payload")
            assert error["payload"]["fields"] == {"client_id": "bad_format"}
        await wire.settle()
        assert wire.events == []


async def test_a_client_id_may_be_spelled_as_json_does(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        for spelled, shown in (('"\\u0061\\u002d1"', "a-1"), ("null", None)):
            beside = '"type":"chat.send","payload":{"body":"x"}'
            await wire.send_text(f'{{"client_id":{spelled},{beside}}}')
            assert (await wire.next("chat.message")).get("client_id") == shown


async def test_the_user_socket_knows_nothing_of_a_chat(board: Board, alice: Person) -> None:
    async with alice.socket("user") as wire:
        for type in ("chat.send", "chat.edit", "chat.delete", "chat.react", "chat.typing"):
            await wire.send(type, {"body": "x", "message_id": 1, "emoji": "👍"})
            assert (await wire.next("error"))["payload"]["code"] == "unknown_type"


async def test_viewers_and_archived_projects_are_not_written_to(
    board: Board, bob: Person, alice: Person, olga: Person
) -> None:
    async with bob.socket("demo") as his, alice.socket("demo") as hers:
        await hers.send("chat.send", {"body": "x"})
        said = {"message_id": (await hers.next("ack"))["payload"]["message_id"]}
        reaction = said | {"emoji": "👍"}
        for type, payload in (
            ("chat.send", {"body": "x"}),
            ("chat.react", reaction),
            ("chat.react", reaction | {"remove": True}),
        ):
            await his.send(type, payload)
            assert (await his.next("error"))["payload"]["code"] == "forbidden"
        await olga.put("/projects/demo", {"is_archived": True})
        for type in ("chat.send", "chat.edit", "chat.delete", "chat.react", "chat.typing"):
            await hers.send(type, {"body": "x"} | reaction)
            assert (await hers.next("error"))["payload"]["code"] == "project_archived"
        await his.settle()
        assert his.waiting("chat.typing") == []
        await olga.put("/projects/demo", {"is_archived": False})
        await hers.send("chat.send", {"body": "x"})
        await hers.next("ack")


NASTY = [
    "{",
    "[]",
    "7",
    "null",
    '"ping"',
    '{"payload":{}}',
    '{"type":7}',
    '{"type":null,"payload":{}}',
    '{"type":"chat.send","payload":{"body":NaN}}',
    "[" * 20_000,
    '["\\u0000"]',
]
DEEP = '{"type":"chat.send","payload":' + '{"body":' * 5000 + "1" + "}" * 5001
ODD = [
    DEEP,
    '{"type":"chat.send","payload":' + "[" * 30_000 + "]" * 30_000 + "}",
    '{"type":"chat.send","payload":{"body":"a\\u0000b"}}',
    '{"type":"chat.send","id":"\\u0000","payload":{"body":"a"}}',
    '{"type":"chat.edit","payload":{"message_id":1e400,"body":"x"}}',
    '{"type":"chat.edit","payload":{"message_id":' + "9" * 5000 + ',"body":"x"}}',
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_the_third_message_that_makes_no_sense_closes_with_4400(
    text: str, board: Board, alice: Person, bob: Person
) -> None:
    async with alice.socket("demo") as wire, bob.socket("demo") as other:
        for _ in range(3):
            await wire.send_text(text)
        assert await wire.closed() == 4400
        errors = [frame for frame in wire.frames if frame["type"] == "error"]
        assert [error["payload"]["code"] for error in errors] == ["parse_error"] * 3
        await other.settle()
        assert [f["type"] for f in other.frames if f["type"] in ("error", "chat.message")] == []


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
async def test_odd_texts_are_errors_and_never_failures(
    text: str, board: Board, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    async with alice.socket("demo") as wire:
        for _ in range(4):
            await wire.send_text(text)
            code = (await wire.next("error"))["payload"]["code"]
            assert code == "invalid_payload"
        await wire.settle()
    assert "Traceback" not in caplog.text


async def test_lone_surrogates_are_no_json(
    board: Board, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    for text in (
        '{"type":"chat.send","payload":{"body":"\\ud800"}}',
        '{"type":"\\udc00","payload":{}}',
        '{"type":"chat.send","id":"\\ud800","payload":{"body":"x"}}',
        '{"type":"chat.send","client_id":"\\ud800","payload":{"body":"x"}}',
    ):
        async with alice.socket("demo") as wire:
            await wire.send_text(text)
            code = (await wire.next("error"))["payload"]["code"]
            assert code in ("parse_error", "invalid_payload")
            await wire.settle()
            assert wire.events == []
    assert "Traceback" not in caplog.text


async def test_whatever_the_id_is_it_comes_back(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        for id in (7, "seven", 7.5, True, ["a", {"b": None}]):
            await wire.send("ping", id=id)
            assert (await wire.next("pong"))["id"] == id
            await wire.send("nonsense", id=id)
            assert (await wire.next("error"))["payload"]["id"] == id


async def test_messages_of_one_socket_are_carried_out_in_their_order(
    board: Board, alice: Person, eventually: Wait
) -> None:
    async with alice.socket("demo") as wire:
        for number in range(20):
            await wire.send("chat.send", {"body": f"{number}"}, id=number)
            await wire.send("ping", id=number)
        await wire.settle()
        answers = [f for f in wire.frames if f["type"] in ("ack", "pong") and f["id"] in range(20)]
        assert [(f["type"], f["id"]) for f in answers] == [
            (type, number) for number in range(20) for type in ("ack", "pong")
        ]
        await eventually(lambda: len(wire.events) == 20)
        assert [f["payload"]["body"] for f in wire.events] == [str(n) for n in range(20)]


async def test_what_a_socket_asked_for_ends_with_the_server(
    board: Board, settings: Settings, person: Invite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    async def hangs(chat: Chat, *given: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(chat.changes.bus.good)

    monkeypatch.setattr(Chat, "send", hangs)
    async with serving(settings) as door, person("alice", url=door.url).socket("demo") as wire:
        await wire.send("chat.send", {"body": "for ever"})
        await until(lambda: len(door.desk.background) == 1)
    assert ended == [True], "before the parts that it uses"


async def test_too_long_a_message_closes_with_1009(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        await wire.send("chat.send", {"body": "x" * 60_000})
        assert (await wire.next("error"))["payload"]["code"] in ("invalid_payload", "too_large")
        await wire.send("chat.send", {"body": "x" * 66_000})
        assert await wire.closed() == 1009


async def test_binary_frames_close_with_1003(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        await wire.socket.send_bytes(b"{}")
        assert await wire.closed() == 1003


@pytest.mark.settings(rate_limits=True)
async def test_a_flood_is_limited_and_then_ended_and_others_notice_nothing(
    board: Board, alice: Person, bob: Person
) -> None:
    async with alice.socket("demo") as wire, bob.socket("demo") as other:
        await other.next("presence.list")
        for number in range(100):
            try:
                await wire.send("chat.send", {"body": f"{number}"}, id=number)
            except (ConnectionError, aiohttp.ClientError):
                break
        assert await wire.closed() == 4429
        errors = [f for f in wire.frames if f["type"] == "error"]
        assert {(f["payload"]["code"], f["payload"]["retry_after"]) for f in errors} == {
            ("rate_limited", 1)
        }
        assert len({f["id"] for f in errors}) == len(errors) == 29
        assert len([f for f in wire.frames if f["type"] == "ack"]) <= 31
        await other.settle()
        assert {f["type"] for f in other.frames} <= {
            "hello",
            "presence.list",
            "presence.join",
            "chat.message",
            "pong",
        }


@pytest.mark.settings(rate_limits=True, messages_per_minute=3)
async def test_messages_have_a_limit_a_minute_too(board: Board, alice: Person) -> None:
    async with alice.socket("demo") as wire:
        for number in range(5):
            await wire.send("chat.send", {"body": "x"}, id=number)
        errors = [await wire.next("error") for _ in range(2)]
        assert [error["payload"]["code"] for error in errors] == ["rate_limited"] * 2
        assert [error["payload"]["id"] for error in errors] == [3, 4]
        assert all(1 <= error["payload"]["retry_after"] <= 60 for error in errors)


@pytest.mark.settings(rate_limits=True)
async def test_nobody_opens_sockets_without_end(
    board: Board, alice: Person, bob: Person, twin: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "OPENING_RATE", 4)
    for place in ("demo", "user", "demo", "user"):
        async with alice.socket(place) as wire:
            await wire.next("hello")

    shown = await refused(alice, "demo", 429, headers=alice.client.credentials)
    assert shown == {"error": "too many requests, try again later", "code": "rate_limited"}
    elsewhere = Person(twin.url, "alice", id=alice.id)
    await elsewhere.token()
    async with elsewhere.client.session.get(
        f"{elsewhere.client.url}/ws/user", headers=HANDSHAKE | elsewhere.client.credentials
    ) as response:
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= sockets.OPENING_RATE_SECONDS
    await elsewhere.close()

    async with bob.socket("demo") as wire:  # everybody has a limit of their own
        await wire.next("hello")


async def test_a_closed_socket_leaves_nothing_behind(
    board: Board, desk: Desk, alice: Person, eventually: Wait
) -> None:
    for code in (1000, 1001, 4999):
        async with alice.socket("demo") as wire:
            await wire.next("hello")
            assert desk.hub.roster.of_user(alice.id)
            await wire.socket.close(code=code)
    await eventually(lambda: not desk.hub.roster.of_user(alice.id))
    room = desk.hub.rooms[f"project:{board.id}"]
    assert not [c for c in room.connections() if c.user_id == alice.id]
    assert not [c for c in desk.hub.roster.connections if c.user_id == alice.id]
