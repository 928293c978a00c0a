"""Requests that wait for a card: each is answered when what it waits for is true, at its limit, or
when its right ends, and events of other cards cost it nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, Wait, changed_settings, make_board, serving
from tests.person import Person
from tests.realtime.test_waiting import SOON, Asked, figure, statements, until_waiting, waiting
from warmdesk.desk import Desk
from warmdesk.realtime.channels import project_channel

__all__ = ["statements"]


def place(board: Board, ref: Any) -> str:
    return f"{board.path}/ticket/{ref}/wait"


@asynccontextmanager
async def held(
    desk: Desk, person: Person, board: Board, ref: Any, **query: Any
) -> AsyncIterator[Asked]:
    """A request that waits already."""
    count = waiting(desk)
    asked = Asked(person, place(board, ref), **{"timeout": 60, **query})
    await until_waiting(desk, count + 1)
    try:
        yield asked
    finally:
        asked.task.cancel()


async def test_what_is_so_is_answered_at_once(board: Board, desk: Desk, bob: Person) -> None:
    card = await board.card()
    for query in ("column_name=BACKLOG", "closed=false", "column_name=Backlog&closed=false"):
        answer = await bob.request("GET", f"{place(board, card['key'].lower())}?{query}&timeout=60")
        assert answer.status == 200
        assert answer.body["reached"] is True
        assert answer.body["ticket"] == (await bob.get(f"{board.path}/cards"))[0]
        assert "Warmdesk-Seq" in answer.headers
    assert project_channel(board.id) not in desk.hub.rooms


async def test_it_is_answered_when_it_becomes_so(
    board: Board, desk: Desk, twin: Door, alice: Person, bob: Person, person: Invite
) -> None:
    card = await board.card()
    far = person("bob", url=twin.url)
    async with (
        held(desk, bob, board, card["key"], column_name="done") as near,
        held(twin.desk, far, board, card["id"], closed="true") as closes,
        held(desk, bob, board, card["key"], column_name="Done", closed="true") as both,
    ):
        began = time.monotonic()
        moved = await alice.patch(f"{board.path}/ticket/{card['key']}", {"column_name": "Done"})
        answer = await near.answered(within=SOON, since=began)
        assert answer.body["reached"] is True
        assert answer.body["ticket"]["version"] == moved["version"]
        assert not closes.task.done()
        assert not both.task.done()
        began = time.monotonic()
        await alice.put(f"{board.path}/cards/{card['id']}", {"closed": True})
        for asked in (closes, both):
            answer = await asked.answered(within=SOON, since=began)
            assert (answer.body["reached"], answer.body["ticket"]["closed"]) == (True, True)
    assert waiting(desk) == 0


async def test_a_column_that_gets_the_name_is_where_it_should_be(
    board: Board, desk: Desk, olga: Person, bob: Person
) -> None:
    card = await board.card()
    async with held(desk, bob, board, card["key"], column_name="Done") as asked:
        began = time.monotonic()
        await olga.put(f"{board.path}/columns/{board.done}", {"name": "Finished"})
        await olga.put(f"{board.path}/columns/{board.backlog}", {"name": "DONE"})
        answer = await asked.answered(within=SOON, since=began)
    assert (answer.body["reached"], answer.body["ticket"]["column_name"]) == (True, "DONE")


async def test_a_column_that_is_emptied_takes_it_there(
    board: Board, desk: Desk, olga: Person, bob: Person
) -> None:
    card = await board.card(column=board.review)
    async with held(desk, bob, board, card["key"], column_name="Done") as asked:
        began = time.monotonic()
        await olga.delete(f"{board.path}/columns/{board.review}?move_to={board.done}", status=204)
        assert (await asked.answered(within=SOON, since=began)).body["reached"] is True


async def test_the_time_is_over_when_it_is(board: Board, desk: Desk, bob: Person) -> None:
    card = await board.card()
    for timeout in ("1", "0", "-5"):
        began = time.monotonic()
        found = await bob.get(f"{place(board, card['key'])}?closed=true&timeout={timeout}")
        assert 0.95 < time.monotonic() - began < pace.here(1 + SOON)
        assert (found["reached"], found["ticket"]["id"]) == (False, card["id"])
    async with held(desk, bob, board, card["key"], closed="true", timeout=10**30) as asked:
        assert not asked.task.done()


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "column_name"),
        ("timeout=5", 400, "closed"),
        ("closed=maybe", 400, "closed"),
        ("closed=null", 400, "closed"),
        ("column_name=%20", 400, "column_name"),
        ("closed=true&timeout=soon", 400, "timeout"),
        ("column_name=Nowhere", 422, "column_name"),
    ],
)
async def test_what_cannot_be_waited_for(
    board: Board, bob: Person, desk: Desk, query: str, status: int, field: str
) -> None:
    card = await board.card()
    refused = await bob.get(f"{place(board, card['key'])}?{query}", status=status)
    assert field in refused["fields"]
    assert waiting(desk) == 0


async def test_no_card_is_404(board: Board, olga: Person, alice: Person) -> None:
    other = await make_board(olga, alice, "Other")
    theirs = await other.card()
    for ref in ("DEMO-1", 2**40, theirs["id"], theirs["key"]):
        await alice.get(f"{place(board, ref)}?closed=true&timeout=1", status=404)


async def test_events_of_others_cost_nothing(
    board: Board, desk: Desk, alice: Person, bob: Person, statements: list[str]
) -> None:
    card, other = await board.card(), await board.card()
    channel = project_channel(board.id)
    async with held(desk, bob, board, card["key"], column_name="Done") as asked:
        while channel not in desk.hub.rooms or not desk.hub.rooms[channel].waiting:
            await asyncio.sleep(0.005)
        (waiter,) = desk.waits.people[bob.id]
        sleep, before = waiter._woken, len(statements)
        for n in range(20):
            last = await alice.put(f"{board.path}/cards/{other['id']}", {"title": f"Title {n}"})
        room = desk.hub.rooms[channel]
        while room.last < waiter.after + 20:
            await asyncio.sleep(0.005)
        assert last["version"] == 21
        assert waiter._woken is sleep
        assert not any("as reached" in each for each in statements[before:])
        await alice.put(f"{board.path}/cards/{card['id']}", {"column_id": board.done})
        assert (await asked.task)[0].body["reached"] is True
    assert sum("as reached" in each for each in statements[before:]) == 1


async def test_what_happens_between_its_look_and_its_wait_is_not_missed(
    board: Board, desk: Desk, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card moves, and another event comes after that, before the room is there."""
    card, other = await board.card(), await board.card()
    opened = desk.hub.open

    async def late(channel: str) -> Any:
        if channel == project_channel(board.id) and not moved:
            moved.append(True)
            await alice.put(f"{board.path}/cards/{card['id']}", {"closed": True})
            await alice.put(f"{board.path}/cards/{other['id']}", {"title": "Another"})
        return await opened(channel)

    moved: list[bool] = []
    monkeypatch.setattr(desk.hub, "open", late)
    began = time.monotonic()
    found = await bob.get(f"{place(board, card['key'])}?closed=true&timeout=60")
    assert (found["reached"], moved) == (True, [True])
    assert time.monotonic() - began < pace.here(SOON)


async def test_a_card_that_goes_ends_the_wait(
    board: Board, desk: Desk, alice: Person, olga: Person, bob: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    gone, went = await board.card(), await board.card()
    async with (
        held(desk, bob, board, gone["key"], closed="true") as first,
        held(desk, alice, board, went["key"], closed="true") as second,
    ):
        began = time.monotonic()
        await alice.delete(f"{board.path}/cards/{gone['id']}")
        assert (await first.answered(within=SOON, since=began)).status == 404
        began = time.monotonic()
        body = {"target_project_slug": other.slug, "column_id": other.done, "action": "move"}
        moved = await alice.post(f"{board.path}/cards/{went['id']}/transfer", body)
        answer = await second.answered(within=SOON, since=began)
        assert (answer.status, answer.body["moved_to"]) == (404, moved["key"])
        assert answer.body["project"] == other.slug


@pytest.mark.parametrize("end", ["removed", "logout", "key", "project key", "deactivated"])
@pytest.mark.parametrize("bus", ["heard", "lost"])
async def test_whose_right_ends_is_refused(
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    root: Person,
    olga: Person,
    alice: Person,
    end: str,
    bus: str,
) -> None:
    card = await board.card()
    keys = f"{board.path}/api-keys" if end == "project key" else "/auth/api-keys"
    maker = olga if end == "project key" else alice
    if "key" in end:
        made = await maker.post(keys, {"name": "CI", "scopes": ["tickets"]})
        near, far = (person("CI", api_key=made["key"], url=url) for url in (alice.url, twin.url))
    else:
        near, far = person("alice"), person("alice", url=twin.url)
        far.client.token = await near.token()
    if bus == "lost":
        for each in (desk, twin.desk):
            each.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
    async with (
        held(desk, near, board, card["key"], closed="true") as one,
        held(twin.desk, far, board, card["key"], closed="true") as two,
        held(desk, root, board, card["key"], closed="true") as stays,
    ):
        began = time.monotonic()
        if end == "removed":
            await olga.delete(f"{board.path}/members/{alice.id}")
        elif end == "logout":
            await near.post("/auth/logout", {}, status=204)
        elif end == "deactivated":
            await root.put(f"/users/{alice.id}", {"is_active": False})
        else:
            await maker.delete(f"{keys}/{made['id']}")
        for asked in (one, two):
            answer = await asked.answered(within=SOON + 1, since=began)
            assert answer.status == (404 if end == "removed" else 401)
        assert not stays.task.done()


@pytest.mark.settings(access_token_ttl=4)
async def test_a_token_that_runs_out_ends_the_wait(board: Board, desk: Desk, bob: Person) -> None:
    card = await board.card()
    began = time.monotonic()
    async with held(desk, bob, board, card["key"], closed="true") as asked:
        answer = await asked.answered(within=4 + SOON, since=began)
    assert (answer.status, answer.body["code"]) == (401, "token_expired")


@pytest.mark.settings(waits_per_person=1000)
@pytest.mark.timeout(180)
async def test_a_thousand_cost_one_subscription(
    board: Board, desk: Desk, person: Invite, alice: Person, statements: list[str]
) -> None:
    cards = [await board.card(f"Card {n}") for n in range(5)]
    many = person("bob")
    asked = [
        Asked(many, place(board, card["key"]), column_name="Done", timeout=60)
        for card in cards
        for _ in range(200)
    ]
    async with asyncio.timeout(100 * pace.stretch()):
        while waiting(desk) < 1000:
            await asyncio.sleep(0.02)
    channel = project_channel(board.id)
    counted = await desk.redis.execute_command("PUBSUB", "NUMSUB", desk.bus.names + channel)
    assert counted[1] == 1
    before = len(statements)
    for card in cards:
        await alice.patch(f"{board.path}/ticket/{card['key']}", {"column_name": "Done"})
    answers = [(await each.task)[0].checked() for each in asked]
    assert all(each["reached"] for each in answers)
    assert len(statements) - before < 60


@pytest.mark.settings(rate_limits=True, reads_at_once=1, waits_per_person=3)
async def test_those_who_wait_hold_no_share_but_are_bounded(
    board: Board, desk: Desk, bob: Person
) -> None:
    card = await board.card()
    wanted = (bob, board, card["key"])
    async with (
        held(desk, *wanted, closed="true"),
        held(desk, *wanted, closed="true"),
        held(desk, *wanted, column_name="Done"),
    ):
        assert not desk.reads._at_work
        await asyncio.gather(*(bob.get("/projects/demo") for _ in range(3)))
        refused = await bob.request("GET", f"{place(board, card['key'])}?closed=true")
        assert (refused.status, refused.body["code"]) == (429, "too_many_waits")


async def test_the_figures_show_who_waits_but_no_slow_answers(
    board: Board, desk: Desk, root: Person, bob: Person
) -> None:
    card = await board.card()
    where = '{method="GET",route="/api/v1/projects/{slug}/ticket/{card_id}/wait"}'
    took = f"warmdesk_http_request_duration_seconds_sum{where}"
    await bob.get(f"{place(board, card['key'])}?closed=false")
    before = await figure(root, took)
    async with held(desk, bob, board, card["key"], closed="true", timeout=1) as asked:
        assert await figure(root, "warmdesk_http_waiting") == 1
        assert (await asked.task)[0].body["reached"] is False
    assert await figure(root, "warmdesk_http_waiting") == 0
    assert await figure(root, took) - before < 0.9


async def test_a_client_that_leaves_frees_its_place(
    board: Board, desk: Desk, bob: Person, eventually: Wait
) -> None:
    card = await board.card()
    async with held(desk, bob, board, card["key"], closed="true") as asked:
        asked.task.cancel()
        await eventually(lambda: waiting(desk) == 0)
    await eventually(lambda: desk.hub.rooms[project_channel(board.id)].empty)


async def test_a_server_that_stops_answers(
    request: pytest.FixtureRequest, board: Board, settings: Any, person: Invite
) -> None:
    card = await board.card()
    changed = changed_settings(
        request, database_url=settings.database_url, redis_url=settings.redis_url
    )
    async with serving(changed) as door:
        bob = person("bob", url=door.url)
        async with held(door.desk, bob, board, card["key"], closed="true") as asked:
            door.desk.waits.stop()
            assert (await asked.task)[0].body["reached"] is False
