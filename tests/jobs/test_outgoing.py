"""Outgoing webhooks, as receivers and owners see them: in order, signed, tried again, never lost
without a word; and nowhere where they must not lead.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests import pace
from tests.conftest import Board, Door, Wait, serving, until
from tests.names import Names, naming
from tests.person import Person
from tests.realtime.story import tell
from tests.receiver import Came, Receiver, receiving
from warmdesk import targets
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs import outgoing
from warmdesk.jobs.retention import Retention
from warmdesk.realtime import feed
from warmdesk.realtime.channels import project_channel
from warmdesk.targets import ForbiddenTarget, Resolver, Targets

HERE = pytest.mark.settings(webhook_allow_private="127.0.0.1/32")
pytestmark = HERE
PATH = "/projects/demo/outgoing-webhooks"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(outgoing, "WAITS", (0.05,) * 10)


async def register(olga: Person, url: str, **fields: Any) -> Any:
    return await olga.post(PATH, {"name": "Deploy", "url": url, **fields})


def longer(seen: int, came: list[Came]) -> bool:
    return len(came) > seen


async def lines(olga: Person, made: Any, count: int = 0) -> Any:
    """The log, the oldest first, as soon as it has so many lines."""

    async def log() -> Any:
        found = await olga.get(f"{PATH}/{made['id']}/deliveries")
        return len(found) >= count and [found[::-1]]

    (found,) = await until(log)
    return found


# Deliveries


async def test_events_are_delivered_signed_and_in_their_order(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    made = await register(olga, receiver.url)
    async with olga.socket("demo") as socket:
        cards = [await board.card(f"Card {number}") for number in range(5)]
        await board.maker.post(f"{board.path}/chat/messages", {"body": "Grüße"})
        came = await receiver.until(lambda came: len(came) >= 6)
        told = [await socket.next("board.card_created") for _ in cards]
        told.append(await socket.next("chat.message"))
    assert [each.event for each in came] == told
    assert [each.id for each in came] == [f"{made['id']}.{each['seq']}" for each in told]
    checker = Webhook(made["secret"])
    for each in came:
        assert checker.verify(each.body, each.headers) == each.event
        assert each.headers["content-type"] == "application/json"
        assert each.headers["user-agent"].startswith("WarmDesk/")
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43 + "=").verify(came[0].body, came[0].headers)
    log = await lines(olga, made, len(told))
    assert [(each["seq"], each["attempt"], each["status"], each["reason"]) for each in log] == [
        (each["seq"], 1, 204, "") for each in told
    ]
    assert [each["webhook_id"] for each in log] == [each.id for each in came]


async def test_it_begins_with_the_next_event_and_has_those_it_wants(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    await board.card("Before")
    await register(olga, receiver.url, events=["chat.message", "chat.message"])
    await board.card("Not wanted")
    await board.maker.post(f"{board.path}/chat/messages", {"body": "Wanted"})
    (came,) = await receiver.until(len)
    assert came.event["payload"]["body"] == "Wanted"
    (shown,) = await olga.get(PATH)
    assert shown["events"] == ["chat.message"]
    assert "secret" not in shown


async def test_what_was_refused_is_tried_again_and_those_after_it_wait(
    board: Board, olga: Person, receiver: Receiver, soon: None
) -> None:
    refusals = [500, 302, 404]
    receiver.answers = lambda came: refusals.pop(0) if refusals else 200
    made = await register(olga, receiver.url)
    first, second = await board.card("One"), await board.card("Two")
    came = await receiver.until(lambda came: len(came) >= 5)
    titles = [each.event["payload"]["title"] for each in came]
    assert titles == [first["title"]] * 4 + [second["title"]]
    assert len({each.id for each in came[:4]}) == 1
    log = await lines(olga, made, 5)
    assert [each["attempt"] for each in log] == [1, 2, 3, 4, 1]
    assert [each["status"] for each in log] == [500, 302, 404, 200, 200]
    assert log[1]["reason"] == "answered with 302"
    assert [each["next_at"] is None for each in log] == [False] * 3 + [True] * 2
    assert len({each.path for each in came}) == 1, "no redirect is followed"


async def test_after_a_day_it_is_parked_until_somebody_replays(
    board: Board, olga: Person, receiver: Receiver, soon: None, eventually: Wait
) -> None:
    receiver.answers = lambda came: 503
    made = await register(olga, receiver.url)
    head = (await olga.get(board.path))["seq"]
    cards = [await board.card(f"Card {number}") for number in range(3)]

    async def state() -> bool:
        return bool((await olga.get(PATH))[0]["state"] == "parked")

    await eventually(state, limit=45)
    assert len(receiver.came) == 1 + len(outgoing.WAITS)
    log = await lines(olga, made)
    assert log[-1]["attempt"] == 11
    assert log[-1]["next_at"] is None
    await olga.put(f"{PATH}/{made['id']}", {"enabled": True, "url": receiver.url})
    assert await state()
    receiver.answers = lambda came: 200
    receiver.came.clear()
    shown = await olga.post(f"{PATH}/{made['id']}/replay", {"since": head}, status=202)
    assert (shown["state"], shown["seq"]) == ("ok", head)
    came = await receiver.until(lambda came: len(came) >= 3)
    assert [each.event["payload"]["id"] for each in came] == [each["id"] for each in cards]


def test_the_waits_are_about_a_day() -> None:
    assert (
        *(5, 30, 2 * 60, 10 * 60, 30 * 60),
        *(3600, 2 * 3600, 4 * 3600, 8 * 3600, 8 * 3600),
    ) == outgoing.WAITS


async def test_a_replay_sends_again_under_the_same_ids(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    made = await register(olga, receiver.url)
    head = (await olga.get(board.path))["seq"]
    for number in range(3):
        await board.card(f"Card {number}")
    await receiver.until(lambda came: len(came) >= 3)
    await olga.post(f"{PATH}/{made['id']}/replay", {"since": head + 1}, status=202)
    came = await receiver.until(lambda came: len(came) >= 5)
    assert [each.seq - head for each in came] == [1, 2, 3, 2, 3]
    assert came[3].body == came[1].body
    assert came[3].id == came[1].id
    wrong = {"since": head + 1000}
    shown = await olga.post(f"{PATH}/{made['id']}/replay", wrong, status=422)
    assert shown["fields"] == {"since": "out_of_range"}
    for wrong in ({}, {"since": -1}, {"since": "x"}):
        await olga.post(f"{PATH}/{made['id']}/replay", wrong, status=400)


async def test_what_is_deleted_while_it_waits_is_sent_to_nobody(
    board: Board, olga: Person, receiver: Receiver, soon: None
) -> None:
    waits = asyncio.Event()

    async def later(came: Came) -> int:
        await waits.wait()
        return 200

    receiver.answers = later
    await register(olga, receiver.url)
    await board.card("The first")
    secret = await board.card("A secret")
    await receiver.until(len)
    await board.maker.delete(f"{board.path}/cards/{secret['id']}")
    waits.set()
    came = await receiver.until(lambda came: len(came) >= 3)
    assert [each.event["type"] for each in came] == [
        "board.card_created",
        "gone",
        "board.card_deleted",
    ]
    assert b"A secret" not in b"".join(each.body for each in came)


@pytest.mark.parametrize("away", ["parked", "disabled"])
async def test_what_is_kept_no_longer_is_passed_over_with_a_line(
    board: Board, desk: Desk, olga: Person, receiver: Receiver, connection: Any, away: str
) -> None:
    made = await register(olga, receiver.url, enabled=False)
    head = (await olga.get(board.path))["seq"]
    for number in range(4):
        await board.card(f"Card {number}")
    await connection.execute(
        "update events set created_at = now() - interval '30 days' where seq <= $1", head + 2
    )
    assert await Retention(desk).turn()
    if away == "parked":
        await olga.post(f"{PATH}/{made['id']}/replay", {"since": head}, status=202)
    await olga.put(f"{PATH}/{made['id']}", {"enabled": True})
    came = await receiver.until(lambda came: len(came) >= 2)
    assert [each.seq - head for each in came] == [3, 4]
    missed, *_ = await lines(olga, made)
    assert (missed["seq"], missed["attempt"], missed["status"]) == (head + 2, 0, None)
    assert missed["reason"] == (
        f"events {head + 1} to {head + 2} were kept no longer, and were not delivered"
    )


async def test_a_history_that_went_back_is_told_too(
    board: Board, desk: Desk, olga: Person, receiver: Receiver, connection: Any
) -> None:
    made = await register(olga, receiver.url)
    head = (await olga.get(board.path))["seq"]
    await feed.renew_epoch(connection, desk.hub.epoch)
    await receiver.until(lambda came: True)
    await board.card("In the new history")
    (came,) = await receiver.until(len)
    assert came.seq == head + 1
    line, *_ = await lines(olga, made)
    assert line["reason"] == f"history went back: it goes on behind event {head}"


async def test_fifty_lines_are_kept(
    board: Board, desk: Desk, olga: Person, receiver: Receiver
) -> None:
    made = await register(olga, receiver.url)
    await tell(desk, project_channel(board.id), 60)
    await receiver.until(lambda came: len(came) >= 60)

    last = receiver.came[-1].seq
    for _ in range(500):
        log = await lines(olga, made)
        assert len(log) <= 50
        if log[-1]["seq"] == last:
            break
    assert [each["seq"] for each in log] == list(range(last - 49, last + 1))
    found = [each.seq for each in receiver.came]
    assert found == sorted(found)


async def test_an_address_that_changes_while_it_is_tried_is_tried_at_once(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    """What becomes of the one before delays nothing."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hang(came: Came) -> int:
        asked.set()
        await ended.wait()
        return 500

    async with receiving(hang) as before:
        made = await register(olga, before.url)
        card = await board.card("One")
        await asyncio.wait_for(asked.wait(), 5 * pace.stretch())
        await olga.put(f"{PATH}/{made['id']}", {"url": receiver.url})
        ended.set()
        (came,) = await receiver.until(len, limit=3)
    assert came.event["payload"]["id"] == card["id"]
    assert (await lines(olga, made, 2))[-1]["attempt"] == 1


async def test_who_has_much_to_deliver_leaves_places_to_the_others(
    board: Board, olga: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer comes quickly, and there is one after the other."""
    monkeypatch.setattr(outgoing, "PLACES", 4)
    monkeypatch.setattr(outgoing, "SLOW_PLACES", 2)

    async def steady(came: Came) -> int:
        await asyncio.sleep(0.2)
        return 200

    async with receiving(steady) as busy:
        for number in range(4):
            await register(olga, f"{busy.url}{number}")
        for _ in range(40):
            await board.card()
        await busy.until(lambda came: len(came) >= 4)
        await register(olga, receiver.url)
        await board.card("The last")
        await receiver.until(len, limit=8)
        assert len(busy.came) < 4 * 41


async def test_a_slow_a_dead_and_a_silent_target_delay_nobody_else(
    board: Board, desk: Desk, olga: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are places for what is slow."""
    monkeypatch.setattr(outgoing, "PLACES", 8)
    monkeypatch.setattr(outgoing, "SLOW_PLACES", 4)
    never = asyncio.Event()

    async def hang(came: Came) -> int:
        await never.wait()
        return 200

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        async with receiving(hang) as slow:
            for number in range(6):
                await register(olga, f"{slow.url}{number}")
            for _ in range(3):
                await register(olga, mute)
            await board.card("The first")
            await slow.until(lambda came: len(came) >= 3)
            await register(olga, receiver.url)
            for _ in range(5):
                began = asyncio.get_running_loop().time()
                seen = len(receiver.came)
                await board.card()
                await receiver.until(partial(longer, seen), limit=3)
                assert asyncio.get_running_loop().time() - began < 3
            never.set()


async def test_long_and_endless_answers_are_not_read(
    board: Board, olga: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        try:
            while sent < 256 << 20:
                await response.write(b"x" * 65536)
                sent += 65536
        except ConnectionError:
            pass
        return response

    app = web.Application()
    app.router.add_post("/hook", endless)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = await register(olga, f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
    other = await register(olga, receiver.url)
    await board.card()
    await receiver.until(len)
    log = await lines(olga, made, 1)
    assert log[0]["status"] == 200
    assert sent < 32 << 20
    await olga.delete(f"{PATH}/{other['id']}")
    await runner.cleanup()


async def test_no_answer_in_time_is_a_failure(
    board: Board, olga: Person, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(outgoing, "ANSWER_SECONDS", 0.3)

    async def hang(came: Came) -> int:
        await asyncio.sleep(60)
        return 200

    async with receiving(hang) as slow:
        made = await register(olga, slow.url)
        await board.card()
        log = await lines(olga, made, 1)
        assert (log[0]["status"], log[0]["attempt"]) == (None, 1)
        assert log[0]["reason"].startswith("no answer within")
        (shown,) = await olga.get(PATH)
        assert shown["state"] == "retrying"
        assert shown["next_at"] == log[0]["next_at"]


async def test_one_worker_delivers_at_a_time_and_another_takes_over(
    board: Board, door: Door, twin: Door, olga: Person, receiver: Receiver, settings: Settings
) -> None:
    await register(olga, receiver.url)
    for number in range(30):
        await tell((door, twin)[number % 2].desk, project_channel(board.id), 3)
    came = await receiver.until(lambda came: len(came) >= 90)
    seqs = [each.seq for each in came]
    assert seqs == list(range(seqs[0], seqs[0] + 90))


async def test_an_event_is_delivered_at_once(
    board: Board, desk: Desk, olga: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change wakes the worker that made it; the look every other second is for the rest."""
    await register(olga, receiver.url)
    await board.card()
    await receiver.until(len)
    monkeypatch.setattr(outgoing.Outgoing, "seconds", 600.0)
    await asyncio.sleep(2.5)
    for number in range(2, 5):
        await board.card()
        await receiver.until(partial(longer, number - 1), limit=2)


async def test_it_goes_on_after_a_restart(
    board: Board, olga: Person, receiver: Receiver, settings: Settings
) -> None:
    receiver.answers = lambda came: 500
    await register(olga, receiver.url)
    await board.card()
    await receiver.until(len)
    receiver.answers = lambda came: 200
    receiver.came.clear()
    async with serving(settings) as again:
        await tell(again.desk, project_channel(board.id))
        came = await receiver.until(lambda came: len(came) >= 2, limit=20)
    assert came[0].seq + 1 == came[1].seq


# Owners


async def test_owners_manage_them_and_nobody_else(
    board: Board, olga: Person, alice: Person, bob: Person, eve: Person, receiver: Receiver
) -> None:
    body = {"name": " Deploy ", "url": receiver.url}
    made = await olga.post(PATH, body)
    assert (made["name"], made["events"], made["enabled"], made["state"]) == (
        "Deploy",
        ["*"],
        True,
        "ok",
    )
    assert made["secret"].startswith("whsec_")
    one = f"{PATH}/{made['id']}"
    for person, status in ((alice, 403), (bob, 403), (eve, 404)):
        await person.get(PATH, status=status)
        await person.post(PATH, body, status=status)
        await person.put(one, {"enabled": False}, status=status)
        await person.get(f"{one}/deliveries", status=status)
        await person.post(f"{one}/replay", {"since": 0}, status=status)
        await person.delete(one, status=status)
    changed = await olga.put(one, {"name": "Ship", "events": ["chat.message"]})
    assert (changed["name"], changed["events"], changed["url"]) == (
        "Ship",
        ["chat.message"],
        receiver.url,
    )
    await olga.delete(one)
    for method, rest, fields in (
        ("PUT", "", {"name": "x"}),
        ("GET", "/deliveries", None),
        ("POST", "/replay", {"since": 0}),
        ("DELETE", "", None),
    ):
        answer = await olga.request(method, one + rest, fields)
        assert answer.status == 404, method


async def test_of_another_project_it_is_not_there(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    made = await register(olga, receiver.url)
    await olga.post("/projects", {"name": "Other"})
    one = f"/projects/other/outgoing-webhooks/{made['id']}"
    await olga.put(one, {"enabled": False}, status=404)
    await olga.get(f"{one}/deliveries", status=404)
    await olga.post(f"{one}/replay", {"since": 0}, status=404)
    await olga.delete(one, status=404)
    (shown,) = await olga.get(PATH)
    assert shown["enabled"] is True


async def test_the_21st_is_refused(board: Board, olga: Person, receiver: Receiver) -> None:
    for _ in range(20):
        await register(olga, receiver.url, enabled=False)
    shown = await olga.post(PATH, {"name": "x", "url": receiver.url}, status=422)
    assert shown["code"] == "too_many_outgoing"


async def test_a_key_gives_the_same_secret_until_it_is_deleted(
    board: Board, olga: Person, receiver: Receiver
) -> None:
    body = {"name": "Deploy", "url": receiver.url}
    made = await olga.post(PATH, body, key="k")
    assert await olga.post(PATH, body, key="k") == made
    assert len(await olga.get(PATH)) == 1
    await olga.delete(f"{PATH}/{made['id']}")
    await olga.post(PATH, body, key="k", status=410)


async def test_no_secret_is_in_the_database(
    board: Board, olga: Person, receiver: Receiver, connection: Any
) -> None:
    made = await register(olga, receiver.url)
    found = await connection.fetchval("select string_agg(w::text, '') from outgoing_webhooks as w")
    assert made["secret"].removeprefix("whsec_") not in found


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.org",
        "ftp://example.org/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://",
        "http://user:password@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/#x",
        "https://" + "x" * 2000,
        7,
        None,
    ],
)
async def test_what_is_no_address_is_400(board: Board, olga: Person, address: Any) -> None:
    shown = await olga.post(PATH, {"name": "x", "url": address}, status=400)
    assert list(shown["fields"]) == ["url"]
    assert await olga.get(PATH) == []


async def test_what_is_no_type_is_400(board: Board, olga: Person, receiver: Receiver) -> None:
    for events in ([], ["nothing"], ["hello"], ["notification"], ["control.user"], [""], "x", None):
        shown = await olga.post(
            PATH, {"name": "x", "url": receiver.url, "events": events}, status=400
        )
        assert next(iter(shown["fields"])).startswith("events")


# Where they must not lead

PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.0.1", "192.88.99.1"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12::1"),
    *("fec0::1", "ff02::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "100::1"),
]
PUBLIC = ["8.8.8.8", "192.88.100.1", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_forbidden(address: str) -> None:
    assert not Targets("").may(address, address)
    with pytest.raises(ForbiddenTarget):
        Targets("").check_literal(address)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "1.1", "desk.example.1"]
)
def test_an_address_in_another_writing_is_none(host: str) -> None:
    with pytest.raises(ForbiddenTarget):
        Targets("127.0.0.0/8").check_literal(host)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str) -> None:
    Targets("").check_literal(address)
    assert Targets("").may("example.org", address)


@given(st.ip_addresses())
def test_no_address_is_allowed_that_python_knows_not_to_be_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if Targets("").may("x", str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.ip_addresses(v=4))
def test_an_address_in_another_form_is_no_way_around(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in (0, 0xFFFF << 32, 0x64FF9B << 96):
        assert not Targets("").may("x", str(ipaddress.IPv6Address(prefix | number)))
    assert not Targets("").may("x", str(ipaddress.IPv6Address(0x2002 << 112 | number << 80)))


def test_the_setting_names_hosts_and_networks() -> None:
    judge = Targets("build.example.lan, 10.1.2.0/24, 192.168.7.7, fd00::/64")
    for host, address, allowed in (
        ("build.example.lan", "10.9.9.9", True),
        ("BUILD.example.lan.", "10.9.9.9", True),
        ("evil.example.lan", "10.9.9.9", False),
        ("anything", "10.1.2.3", True),
        ("anything", "::ffff:10.1.2.3", True),
        ("anything", "10.1.3.3", False),
        ("anything", "192.168.7.7", True),
        ("anything", "192.168.7.8", False),
        ("anything", "fd00::5", True),
        ("anything", "fd00:0:0:1::5", False),
    ):
        assert judge.may(host, address) is allowed, (host, address)


@pytest.mark.settings(webhook_allow_private="")
@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "LOCALHOST.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
        ),
        *("[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "0", "no-such-host.invalid"),
    ],
)
async def test_a_forbidden_target_is_refused_when_it_is_registered(
    board: Board, olga: Person, host: str
) -> None:
    shown = await olga.post(PATH, {"name": "x", "url": f"http://{host}:1/"}, status=422)
    assert shown["fields"] == {"url": "unreachable"}
    assert shown["error"].startswith("url: must lead to a public address, or to one that")


@pytest.fixture
async def names(desk: Desk) -> AsyncIterator[Names]:
    """Names as this server looks them up."""
    async with naming() as found:
        desk.resolver.nameservers = [found.address]
        yield found


async def test_a_name_that_leads_elsewhere_later_is_not_connected_to(
    board: Board, olga: Person, receiver: Receiver, names: Names
) -> None:
    """It led to a public address when it was registered."""
    port = int(receiver.url.split(":")[2].split("/")[0])
    name = "rebind.example.org"
    names.known[name] = ["93.184.216.34"]
    made = await register(olga, f"http://{name}:{port}/hook")
    names.known[name] = ["93.184.216.34", "10.0.0.5"]
    await board.card()
    log = await lines(olga, made, 1)
    assert (log[0]["status"], log[0]["reason"]) == (None, "not a public address")
    assert not receiver.came
    # And when it may: one look-up for a check and its connection, which keeps to that address.
    names.asked.clear()
    names.known[name] = ["127.0.0.1"]
    await olga.put(f"{PATH}/{made['id']}", {"url": f"http://{name}:{port}/again"})
    (came,) = await receiver.until(len)
    assert came.path == "/again"
    assert names.asked == [name] * 2, "one for the change, one for the delivery"
    assert came.headers["host"] == f"{name}:{port}"


async def test_administrators_say_where_webhooks_may_lead_while_the_server_runs(
    board: Board, olga: Person, root: Person, receiver: Receiver
) -> None:
    place, wide = "/admin/system-settings", {"webhook_allow_private": "127.0.0.0/8,::1"}
    url = receiver.url.replace("127.0.0.1", "localhost")
    await root.put(place, {"webhook_allow_private": ""})
    await olga.post(PATH, {"name": "x", "url": url}, status=422)
    await root.put(place, wide)
    made = await register(olga, url)
    await board.card()
    await receiver.until(len)
    await root.put(place, {"webhook_allow_private": ""})
    await board.card("Nobody is told")
    log = await lines(olga, made, 2)
    assert (log[1]["status"], log[1]["reason"]) == (None, "not a public address")
    assert len(receiver.came) == 1
    await root.put(place, wide)
    await olga.put(f"{PATH}/{made['id']}", {"url": f"{url}again"})
    await receiver.until(lambda came: len(came) > 1)


async def test_names_that_nobody_answers_for_delay_nobody_else(
    board: Board,
    desk: Desk,
    olga: Person,
    receiver: Receiver,
    names: Names,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are asked for: those of other people's webhooks, and of one that is changed."""
    monkeypatch.setattr(targets, "LOOKUP_SECONDS", 60.0)
    port = int(receiver.url.split(":")[2].split("/")[0])
    names.known |= {f"n{number}.example.org": None for number in range(400)}
    names.known |= {"mute.example.org": None, "good.example.org": ["127.0.0.1"]}
    waiting = [asyncio.create_task(desk.resolver.check(name)) for name in [*names.known][:400]]
    mute = await register(olga, receiver.url)
    await connection.execute("update outgoing_webhooks set url = 'http://mute.example.org/'")
    monkeypatch.setattr(targets, "LOOKUP_SECONDS", 0.5)
    began = asyncio.get_running_loop().time()
    await register(olga, f"http://good.example.org:{port}/hook")
    await board.card()
    await receiver.until(len, limit=3)
    assert asyncio.get_running_loop().time() - began < 3 * pace.stretch()
    assert not any(each.done() for each in waiting)
    log = await lines(olga, mute, 1)
    assert (log[0]["status"], log[0]["reason"]) == (None, "nobody answers for its name")
    body = {"name": "x", "url": "http://mute.example.org/"}
    assert (await olga.post(PATH, body, status=422))["fields"] == {"url": "unreachable"}
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_resolver_gives_each_address_once() -> None:
    resolver = Resolver(Targets("localhost"))
    found = await resolver.resolve("localhost", 80)
    assert len({each["host"] for each in found}) == len(found) >= 1
    assert {each["port"] for each in found} == {80}
    await resolver.close()
    async with naming() as names:
        resolver = Resolver(Targets(""), [names.address])
        names.known["twice.example.org"] = ["93.184.216.34", "93.184.216.35", "93.184.216.34"]
        names.known["none.example.org"] = []
        found = await resolver.resolve("twice.example.org", 80)
        assert [each["host"] for each in found] == ["93.184.216.34", "93.184.216.35"]
        for name in ("none.example.org", "no.example.org"):
            with pytest.raises(OSError, match="no address"):
                await resolver.resolve(name)
        await resolver.close()
