"""``api_allowed_ips``: from where API keys may be used, at every door; sessions are not asked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, Wait
from tests.person import Person, Refusal
from tests.uploads import upload
from warmdesk.desk import Desk
from warmdesk.realtime.frames import Close

PLACE = "/admin/system-settings"
ELSEWHERE, HERE = "192.0.2.0/24", "192.0.2.7, 127.0.0.0/8"


async def program(alice: Person, person: Invite, **options: Any) -> Person:
    """A program with a new key of alice's."""
    key = await alice.post("/auth/api-keys", {"name": "CI"})
    return person("a program", api_key=key["key"], id=alice.id, **options)


async def test_sockets_and_streams_of_keys_end_everywhere_within_two_seconds(
    board: Board, root: Person, alice: Person, person: Invite, twin: Door
) -> None:
    here = await program(alice, person)
    there = person("a program", api_key=here.client.api_key, url=twin.url, id=alice.id)
    own = person("alice", url=twin.url)
    async with (
        here.socket("demo") as one,
        here.socket("user") as two,
        there.socket("demo") as three,
        here.stream("demo") as four,
        there.stream("user") as five,
        alice.socket("demo") as first,
        own.stream("demo") as second,
    ):
        for wire in (one, two, three, four, five, first, second):
            await wire.next("hello")
        began = time.monotonic()
        await root.put(PLACE, {"api_allowed_ips": ELSEWHERE})
        for wire in (one, two, three, four, five):
            assert await wire.closed() == Close.NO_ACCESS
        assert time.monotonic() - began < 2.0 * pace.stretch()
        card = await board.card()
        for wire in (first, second):
            assert (await wire.next("board.card_created"))["payload"]["id"] == card["id"]
        assert not [frame for frame in one.frames if frame["type"] == "board.card_created"]


async def test_those_from_where_keys_may_be_used_stay_open(
    board: Board, root: Person, alice: Person, person: Invite, desk: Desk
) -> None:
    robot = await program(alice, person)
    async with robot.socket("demo") as socket, robot.stream("demo") as stream:
        for wire in (socket, stream):
            await wire.next("hello")
        await root.put(PLACE, {"api_allowed_ips": HERE})
        assert desk.system.values.api_allowed_ips == HERE
        card = await board.card()
        for wire in (socket, stream):
            assert (await wire.next("board.card_created"))["payload"]["id"] == card["id"]


async def test_what_is_opened_while_the_setting_changes_ends_too(
    board: Board,
    root: Person,
    alice: Person,
    person: Invite,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = await program(alice, person)
    entered = asyncio.Event()
    goes_on = asyncio.Event()
    come = desk.presence.come

    async def late(*given: Any) -> None:
        entered.set()
        await goes_on.wait()
        await come(*given)

    monkeypatch.setattr(desk.presence, "come", late)

    async def opens() -> int:
        try:
            async with robot.stream("demo"):
                return 200
        except Refusal as refusal:
            return refusal.status

    opening = asyncio.create_task(opens())
    await entered.wait()
    await root.put(PLACE, {"api_allowed_ips": ELSEWHERE})
    goes_on.set()
    assert await opening == 403


async def test_who_waits_with_a_key_is_refused_at_once(
    board: Board, root: Person, alice: Person, person: Invite, desk: Desk, eventually: Wait
) -> None:
    robot = await program(alice, person)
    head = (await alice.get(board.path))["seq"]
    path = f"{board.path}/events?since={head}&wait=30"
    waiting = [
        asyncio.create_task(robot.request("GET", path)),
        asyncio.create_task(alice.request("GET", path)),
    ]
    await eventually(lambda: len(desk.waits.people.get(alice.id, {})) == 2)
    await root.put(PLACE, {"api_allowed_ips": ELSEWHERE})
    refused = await waiting[0]
    assert (refused.status, refused.body["code"]) == (403, "address_not_allowed")
    await board.card()
    assert (await waiting[1]).body["events"]


async def test_a_file_link_and_a_ticket_of_a_key_are_good_from_where_it_is(
    board: Board, root: Person, alice: Person, person: Invite
) -> None:
    robot = await program(alice, person)
    card = await board.card()
    file = await upload(alice, f"{board.path}/cards/{card['id']}/attachments", ("a.txt", b"text"))
    links = [
        (await each.post(f"/attachments/{file['id']}/link", status=200))["url"]
        for each in (robot, alice)
    ]
    ticket = (await robot.post("/auth/ws-ticket"))["ticket"]

    async def fetch(link: str) -> tuple[int, str]:
        async with alice.client.session.get(alice.client.url.removesuffix("/api/v1") + link) as got:
            return got.status, await got.text()

    assert await fetch(links[0]) == (200, "text")
    await root.put(PLACE, {"api_allowed_ips": ELSEWHERE})
    status, said = await fetch(links[0])
    assert status == 403
    assert "address_not_allowed" in said
    assert await fetch(links[1]) == (200, "text")
    guest = person("nobody", api_key="")
    async with guest.client.session.get(
        f"{alice.client.url}/projects/demo/events/stream", params={"ticket": ticket}
    ) as answer:
        assert answer.status == 403
    await root.put(PLACE, {"api_allowed_ips": ""})
    assert await fetch(links[0]) == (200, "text")


@pytest.mark.settings(trusted_proxies="127.0.0.1")
async def test_behind_a_proxy_the_address_of_the_client_counts(
    board: Board, root: Person, alice: Person, person: Invite
) -> None:
    robot = await program(alice, person)
    await root.put(PLACE, {"api_allowed_ips": "192.0.2.0/24, 2001:db8::/32"})
    session, path = robot.client.session, f"{robot.client.url}/projects/demo/events/stream"
    found = {}
    for address in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::5", "198.51.100.1", "nonsense"):
        headers = {**robot.client.credentials, "X-Forwarded-For": address}
        async with session.get(path, headers=headers) as answer:
            found[address] = answer.status
    assert list(found.values()) == [200, 200, 200, 403, 403]
    headers = {**robot.client.credentials, "X-Forwarded-For": "192.0.2.9"}
    async with session.get(path, headers=headers) as answer:
        await answer.content.readline()
        await root.put(PLACE, {"api_allowed_ips": "192.0.2.1"})
        told = await asyncio.wait_for(answer.content.read(), 5 * pace.stretch())
    assert str(int(Close.NO_ACCESS)).encode() in told
