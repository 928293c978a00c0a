"""Events over REST: the same as on the sockets, to the byte, and the same reset rules."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from tests.conftest import Board, Door, Invite
from tests.person import Person
from tests.realtime.story import tell
from warmdesk.realtime.channels import project_channel


async def raw_events(person: Person, path: str) -> list[bytes]:
    """The envelopes of an answer as they stand in it."""
    answer = await person.client.session.get(
        person.client.url + path, headers=person.client.credentials
    )
    body = await answer.read()
    listed = body.removeprefix(b'{"events":[').rpartition(b'],"seq":')[0]
    ends = rb',"seq":\d+,"ts":"[^"]*","actor_id":[^{}]*?\}(?=,\{"type"|$)'
    return re.findall(rb'\{"type":.*?' + ends, listed)


async def raw_socket(person: Person, place: str, count: int, **params: Any) -> list[bytes]:
    """The texts of so many events of a socket."""
    async with person.client.session.ws_connect(
        f"{person.client.url}/ws/{place}",
        params={name: str(value) for name, value in params.items()},
        headers=person.client.credentials,
    ) as socket:
        found: list[bytes] = []
        while len(found) < count:
            message = await socket.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.TEXT
            text = message.data.encode()
            if b'"seq":' in text and b'"ts":' in text:
                found.append(text)
        return found


async def test_events_over_rest_are_byte_for_byte_what_sockets_get(
    board: Board, twin: Door, person: Invite, alice: Person, olga: Person
) -> None:
    shown = await alice.get("/projects/demo")
    since = shown["seq"]
    async with alice.socket("demo") as live:
        await live.next("hello")
        await a_little_work_of(board, alice, olga)
        page = await alice.get(f"/projects/demo/events?since={since}")
        assert page["seq"] == since + len(page["events"])
        assert page["events"]
        for event in page["events"]:
            assert await live.next(event["type"]) == event
    count = len(page["events"])
    over_rest = await raw_events(alice, f"/projects/demo/events?since={since}")
    assert len(over_rest) == count
    resumed = await raw_socket(alice, "demo", count, since=since)
    far = person("alice", url=twin.url)
    await far.token()
    elsewhere = await raw_socket(far, "demo", count, since=since)
    assert over_rest == resumed == elsewhere


async def a_little_work_of(board: Board, alice: Person, olga: Person) -> None:
    card = await board.card('Fünf 🦊 \u2028 "quoted" </script>')
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"title": "New"}, headers={"X-Client-Id": "tab-1"})
    await alice.patch(f"{path}/move", {"column_id": board.done})
    await alice.post(f"{board.path}/chat/messages", {"body": "Hello\nworld"})
    await olga.post(f"{board.path}/columns", {"name": "Ideas"})


async def test_who_acts_and_is_no_member_is_shown_beside_the_event(
    board: Board, alice: Person, olga: Person, root: Person
) -> None:
    """By every way in which events are written; and the name stays what it was then."""
    since = (await alice.get(board.path))["seq"]
    card = await root.post(f"{board.path}/columns/{board.backlog}/cards", {"title": "One"})
    await root.post(f"{board.path}/chat/messages", {"body": "alone"})
    group = [
        person.post(f"{board.path}/chat/messages", {"body": "at once", "nonce": f"n{number}"})
        for number in range(5)
        for person in (alice, root)
    ]
    await asyncio.gather(*group)
    change = {"priority": "high", "closed": True}
    await root.patch(f"{board.path}/cards", {"ids": [card["id"]], "change": change})
    await root.delete(f"{board.path}/columns/{board.backlog}?move_to={board.done}")
    page = (await alice.get(f"{board.path}/events?since={since}"))["events"]

    acts = [event for event in page if event["actor_id"] == root.id]
    assert {event["type"] for event in acts} >= {
        "board.card_created",
        "board.card_moved",
        "board.card_updated",
        "board.column_deleted",
        "chat.message",
    }
    me = {"id": root.id, "username": "root", "display_name": "Root", "avatar_url": None}
    assert [event.get("actor") for event in acts] == [me] * len(acts)
    assert not any("actor" in event for event in page if event not in acts)
    async with alice.stream(board.slug, since=since) as stream:
        for event in page:
            assert await stream.next(event["type"]) == event
        assert stream.last_id.endswith(f".{page[-1]['seq']}")

    await root.put("/users/me", {"display_name": "Ruth"})
    again = (await alice.get(f"{board.path}/events?since={since}"))["events"]
    assert again[: len(page)] == page
    await olga.post(f"{board.path}/members", {"user_id": root.id, "role": "member"})
    since = (await alice.get(board.path))["seq"]
    await root.post(f"{board.path}/chat/messages", {"body": "one of you"})
    [told] = (await alice.get(f"{board.path}/events?since={since}"))["events"]
    assert told["actor_id"] == root.id
    assert "actor" not in told


async def test_pages_follow_each_other(board: Board, desk: Any, alice: Person) -> None:
    for number in range(7):
        await board.card(f"Card {number}")
    head = (await alice.get("/projects/demo"))["seq"]
    seen: list[int] = []
    since = 0
    while since < head:
        page = await alice.get(f"/projects/demo/events?since={since}&limit=3")
        assert 1 <= len(page["events"]) <= 3
        assert page["seq"] == head
        assert page["reset"] is False
        seen += [event["seq"] for event in page["events"]]
        since = seen[-1]
    assert seen == list(range(1, head + 1))
    everything = await alice.get("/projects/demo/events")
    assert [event["seq"] for event in everything["events"]] == seen
    assert everything["oldest"] == 1
    at_head = await alice.get(f"/projects/demo/events?since={head}&epoch={page['epoch']}")
    assert (at_head["events"], at_head["reset"]) == ([], False)


async def test_limits_are_brought_into_their_bounds(board: Board, desk: Any, alice: Person) -> None:
    for limit, count in ((0, 1), (-5, 1), (1, 1)):
        page = await alice.get(f"/projects/demo/events?since=0&limit={limit}")
        assert len(page["events"]) == count
    await alice.get("/projects/demo/events?limit=100000")
    for wrong in ("limit=x", "since=-1", "since=x", "since=1&since=2", f"since={2**63}"):
        await alice.get(f"/projects/demo/events?{wrong}", status=400)


async def test_what_cannot_be_carried_on_from_says_reset(board: Board, alice: Person) -> None:
    head = (await alice.get("/projects/demo"))["seq"]
    odd = "epoch=" + "%22%25s%F0%9F%A6%8A" * 50
    for query in (f"since={head + 1}", f"since={head - 1}&epoch=other", "epoch=other", odd):
        page = await alice.get(f"/projects/demo/events?{query}")
        assert (page["events"], page["reset"], page["seq"]) == ([], True, head)


@pytest.mark.foul
async def test_what_is_no_longer_kept_says_reset(
    board: Board, alice: Person, connection: Any
) -> None:
    for _ in range(3):
        await board.card()
    head = (await alice.get("/projects/demo"))["seq"]
    await connection.execute(
        "with gone as (delete from events where channel = $1 and seq <= $2)"
        " update feeds set oldest = $2 + 1 where channel = $1",
        project_channel(board.id),
        head - 2,
    )
    page = await alice.get(f"/projects/demo/events?since={head - 3}")
    assert (page["events"], page["reset"], page["oldest"]) == ([], True, head - 1)
    page = await alice.get(f"/projects/demo/events?since={head - 2}")
    assert ([event["seq"] for event in page["events"]], page["reset"]) == ([head - 1, head], False)
    page = await alice.get("/projects/demo/events")
    assert ([event["seq"] for event in page["events"]], page["reset"]) == ([head - 1, head], False)


@pytest.mark.foul
async def test_at_most_500_come_at_once(board: Board, desk: Any, alice: Person) -> None:
    await tell(desk, project_channel(board.id), 600)
    page = await alice.get("/projects/demo/events?since=0&limit=600")
    assert len(page["events"]) == 500
    page = await alice.get("/projects/demo/events?since=0")
    assert len(page["events"]) == 100


async def test_strangers_and_the_signed_out_see_nothing(
    board: Board, eve: Person, person: Invite, bob: Person
) -> None:
    await bob.get("/projects/demo/events")
    await bob.get("/projects/demo/presence")
    for path in ("/projects/demo/events", "/projects/demo/presence"):
        hidden = await eve.get(path, status=404)
        missing = await eve.get(path.replace("demo", "nowhere"), status=404)
        assert hidden["error"] == missing["error"]
        nobody = person("nobody", api_key="wd_unknown")
        await nobody.get(path, status=401)
    await person("nobody", api_key="wd_unknown").get("/users/me/events", status=401)


async def test_a_user_has_events_of_the_own(board: Board, alice: Person, bob: Person) -> None:
    before = await alice.get("/users/me/events")
    others = await bob.get("/users/me/events")
    async with alice.socket("user") as wire:
        hello = (await wire.next("hello"))["payload"]
        assert (hello["seq"], hello["epoch"]) == (before["seq"], before["epoch"])
        await alice.post("/projects", {"name": "Mine"})
        event = await wire.next("project.created")
    page = await alice.get(f"/users/me/events?since={before['seq']}&epoch={before['epoch']}")
    assert page["events"] == [event]
    assert await bob.get("/users/me/events") == others


async def test_a_deleted_message_is_gone_from_the_feed(board: Board, alice: Person) -> None:
    since = (await alice.get("/projects/demo"))["seq"]
    message = await alice.post(f"{board.path}/chat/messages", {"body": "a secret"})
    await alice.delete(f"{board.path}/chat/messages/{message['id']}")
    page = await alice.get(f"/projects/demo/events?since={since}")
    assert [event["type"] for event in page["events"]] == ["gone", "chat.message_deleted"]
    assert page["events"][0]["payload"] == {}
    assert page["events"][0]["seq"] == since + 1
    async with alice.socket("demo", since=since) as wire:
        await wire.settle()
        assert wire.events == page["events"]
