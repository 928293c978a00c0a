"""Requests that wait for the next event: each is answered at its event, its limit, its right's end
or the server's, misses and doubles none, and costs nothing while it waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, Invite, Wait, changed_settings, serving
from tests.person import PASSWORD, Person
from tests.realtime.story import tell
from warmdesk.auth.tokens import digest
from warmdesk.client import Answer
from warmdesk.db.connections import PooledConnection
from warmdesk.desk import Desk
from warmdesk.realtime import feed
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.channels import CONTROL, project_channel
from warmdesk.realtime.events import CONTROL_KEY
from warmdesk.realtime.hub import Hub

SOON = 2.0
"""Seconds from what ends a wait to the answer."""


async def head(person: Person, path: str = "/projects/demo/events") -> int:
    page = await person.get(f"{path}?since={2**40}")
    return int(page["seq"])


def waiting(desk: Desk) -> int:
    return sum(map(len, desk.waits.people.values()))


class Asked:
    """A request that waits, and how long it took."""

    def __init__(self, person: Person, path: str, **query: Any) -> None:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        self.began = time.monotonic()
        self.task = asyncio.create_task(self._ask(person, f"{path}?{words}"))

    async def _ask(self, person: Person, address: str) -> tuple[Answer, float]:
        answer = await person.request("GET", address, seconds=90)
        return answer, time.monotonic()

    async def answered(self, *, within: float, since: float) -> Answer:
        """The answer, so many seconds after a moment at most."""
        answer, moment = await self.task
        assert moment - since < pace.here(within)
        return answer


@asynccontextmanager
async def held(desk: Desk, person: Person, **query: Any) -> AsyncIterator[Asked]:
    """A request at the head of demo's feed that waits already."""
    query = {"since": await head(person), "wait": 60} | query
    count = waiting(desk)
    asked = Asked(person, "/projects/demo/events", **query)
    await until_waiting(desk, count + 1)
    try:
        yield asked
    finally:
        asked.task.cancel()


async def until_waiting(desk: Desk, count: int) -> None:
    async with asyncio.timeout(20 * pace.stretch()):
        while waiting(desk) != count:
            await asyncio.sleep(0.005)


async def test_an_event_ends_the_wait(board: Board, desk: Desk, alice: Person, bob: Person) -> None:
    async with held(desk, bob) as asked:
        began = time.monotonic()
        card = await board.card("Fix the door")
        page = (await asked.answered(within=SOON, since=began)).checked()
    assert [each["payload"]["id"] for each in page["events"]] == [card["id"]]
    assert page["events"][-1]["seq"] == page["seq"]
    assert page == await alice.get(f"/projects/demo/events?since={page['seq'] - 1}")
    assert waiting(desk) == 0
    assert desk.hub.rooms[project_channel(board.id)].empty_since is not None


async def test_what_is_there_is_answered_at_once(board: Board, desk: Desk, alice: Person) -> None:
    await board.card()
    seq = await head(alice)
    for query in (f"since={seq - 1}", f"since={seq + 1}", f"since={seq}&epoch=other", "limit=1"):
        began = time.monotonic()
        await alice.get(f"/projects/demo/events?{query}&wait=60")
        assert time.monotonic() - began < pace.here(SOON)
    assert project_channel(board.id) not in desk.hub.rooms


async def test_the_time_is_over_when_it_is(board: Board, desk: Desk, alice: Person) -> None:
    seq = await head(alice)
    for wait in ("0", "-7"):
        page = await alice.get(f"/projects/demo/events?since={seq}&wait={wait}")
        assert (page["events"], page["seq"], page["reset"]) == ([], seq, False)
    assert project_channel(board.id) not in desk.hub.rooms  # nothing was waited for
    began = time.monotonic()
    page = await alice.get(f"/projects/demo/events?since={seq}&wait=1")
    assert 0.95 < time.monotonic() - began < pace.here(1 + SOON)
    assert (page["events"], page["seq"], page["reset"]) == ([], seq, False)
    for wrong in ("x", "1.5", "null"):
        await alice.get(f"/projects/demo/events?since={seq}&wait={wrong}", status=400)
    async with held(desk, alice, wait=10**30) as asked:
        (waiter,) = desk.waits.people[alice.id]
        assert waiter.after == seq
        await board.card()
        assert (await asked.answered(within=90, since=asked.began)).status == 200


async def test_a_persons_own_feed_is_waited_for(board: Board, desk: Desk, alice: Person) -> None:
    seq = await head(alice, "/users/me/events")
    asked = Asked(alice, "/users/me/events", since=seq, wait=60)
    await until_waiting(desk, 1)
    await board.card()
    began = time.monotonic()
    await alice.post("/projects", {"name": "Mine"})
    page = (await asked.answered(within=SOON, since=began)).checked()
    assert [each["type"] for each in page["events"]] == ["project.created"]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that PostgreSQL is asked by this process's pools."""
    found: list[str] = []
    for name in ("fetch", "fetchrow", "execute"):
        plain = getattr(PooledConnection, name)

        async def counted(
            line: Any, query: str, *values: Any, plain: Any = plain, **rest: Any
        ) -> Any:
            found.append(query)
            return await plain(line, query, *values, **rest)

        monkeypatch.setattr(PooledConnection, name, counted)
    return found


@pytest.mark.settings(waits_per_person=1000)
@pytest.mark.timeout(180)
async def test_a_thousand_cost_one_subscription_and_no_statement_each(
    board: Board, desk: Desk, person: Invite, reads: list[int], statements: list[str]
) -> None:
    many = person("bob")
    seq = await head(many)
    asked = [
        Asked(many, "/projects/demo/events", since=seq, wait=60, limit=limit)
        for limit in range(1, 6)
        for _ in range(200)
    ]
    async with asyncio.timeout(100 * pace.stretch()):
        while waiting(desk) < 1000:
            await asyncio.sleep(0.02)
    channel = project_channel(board.id)
    counted = await desk.redis.execute_command("PUBSUB", "NUMSUB", desk.bus.names + channel)
    assert counted[1] == 1
    assert desk.hub.rooms[channel].people() == []
    reads.clear()
    before = len(statements)
    card = await board.card()
    answers = [(await each.task)[0].checked() for each in asked]
    assert {each["events"][0]["payload"]["id"] for each in answers} == {card["id"]}
    assert reads == []
    assert len(statements) - before < 60


async def test_a_client_that_leaves_frees_its_place(
    board: Board, desk: Desk, alice: Person, bob: Person, eventually: Wait
) -> None:
    for _ in range(3):
        async with held(desk, bob) as asked:
            asked.task.cancel()
            await eventually(lambda: waiting(desk) == 0)
    await eventually(lambda: desk.hub.rooms[project_channel(board.id)].empty)


@pytest.fixture(params=[False, True], ids=["told", "lost"])
def lost(request: pytest.FixtureRequest, desk: Desk, twin: Door) -> bool:
    """Whether the bus loses all that is said from now on."""
    if request.param:
        for each in (desk, twin.desk):
            each.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
    return bool(request.param)


async def test_a_removed_member_is_answered_at_once_as_anew(
    lost: bool, board: Board, desk: Desk, twin: Door, person: Invite, olga: Person, bob: Person
) -> None:
    far = person("bob", url=twin.url)
    async with held(desk, bob) as near, held(twin.desk, far) as other:
        began = time.monotonic()
        await olga.delete(f"{board.path}/members/{bob.id}")
        for asked in (near, other):
            answer = await asked.answered(within=SOON + 1, since=began)
            assert (answer.status, answer.body["error"]) == (404, "project not found")


async def test_a_removal_in_the_feed_itself_is_enough(
    board: Board, desk: Desk, twin: Door, person: Invite, olga: Person, monkeypatch: Any
) -> None:
    """The process still holds for true what it looked up: nothing tells it otherwise."""

    async def never() -> None:
        pass

    monkeypatch.setattr(twin.desk.hub, "check", never)
    publish = desk.bus.publish_all
    desk.bus.publish_all = lambda messages: publish(  # type: ignore[method-assign]
        [each for each in messages if not each.startswith("control ")]
    )
    bob = person("bob", url=twin.url)
    async with held(twin.desk, bob) as asked:
        began = time.monotonic()
        await olga.delete(f"{board.path}/members/{bob.id}")
        assert (await asked.answered(within=SOON, since=began)).status == 404


async def test_nothing_from_after_a_removal_is_shown_while_the_right_is_asked(
    board: Board, desk: Desk, alice: Person, olga: Person, bob: Person, monkeypatch: Any
) -> None:
    """The answer of the database says what was right when it was asked."""
    ask, asks, goes_on = desk.access.enter_project, asyncio.Event(), asyncio.Event()

    async def late(database: Any, actor: Any, *wanted: Any) -> Any:
        project = await ask(database, actor, *wanted)
        if actor.user_id == bob.id:
            asks.set()
            await goes_on.wait()
        return project

    async with held(desk, bob) as asked:
        monkeypatch.setattr(desk.access, "enter_project", late)
        await alice.post(f"{board.path}/chat/messages", {"body": "for all"})
        await asks.wait()
        await olga.delete(f"{board.path}/members/{bob.id}")
        await alice.post(f"{board.path}/chat/messages", {"body": "about bob"})
        room, seq = desk.hub.rooms[project_channel(board.id)], await head(alice)
        while room.last < seq:
            await asyncio.sleep(0.005)
        goes_on.set()
        page = (await asked.task)[0].checked()
    assert [event["payload"].get("body") for event in page["events"]] == ["for all"]


@pytest.mark.parametrize("end", ["logout", "deactivated", "key", "password"])
async def test_whose_right_ends_is_answered_at_once(
    lost: bool,
    board: Board,
    desk: Desk,
    twin: Door,
    person: Invite,
    root: Person,
    olga: Person,
    connection: Any,
    end: str,
) -> None:
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values (3, 'k', $1, 'wd_')",
        digest("wd_one"),
    )
    alice = person("alice", id=3)
    far = person("alice", url=twin.url, id=3)
    if end == "key":
        alice, far = (person("alice", url=each.url, api_key="wd_one") for each in (alice, far))
    else:
        far.client.token = await alice.token()
    staying = person("alice", id=3)
    async with (
        held(desk, alice) as near,
        held(twin.desk, far) as other,
        held(desk, olga) as hers,
        held(desk, staying) as stays,
    ):
        began = time.monotonic()
        if end == "logout":
            await alice.post("/auth/logout", {}, status=204)
        elif end == "deactivated":
            await root.put("/users/3", {"is_active": False})
        elif end == "password":
            body = {"current_password": PASSWORD, "new_password": "another horse battery"}
            await person("alice").put("/users/me/password", body)
        else:
            await revoke(desk, connection)
        for asked in (near, other):
            answer = await asked.answered(within=SOON + 1, since=began)
            assert answer.status == 401
        if end in ("logout", "key"):
            assert not stays.task.done()
        assert not hers.task.done()


async def revoke(desk: Desk, connection: Any) -> None:
    async def work(change: Change) -> None:
        key_id = await change.connection.fetchval(
            "update api_keys set revoked_at = now() returning id"
        )
        change.emit(CONTROL, CONTROL_KEY, f'{{"key_id":{key_id}}}')

    await desk.changes.run(ChangeContext(actor_id=3), work)


@pytest.mark.settings(access_token_ttl=4)
async def test_a_token_that_runs_out_ends_the_wait(board: Board, desk: Desk, bob: Person) -> None:
    began = time.monotonic()
    async with held(desk, bob) as asked:
        answer = await asked.answered(within=4 + SOON, since=began)
    assert (answer.status, answer.body["code"]) == (401, "token_expired")


@pytest.mark.settings(rate_limits=True, reads_at_once=1, waits_per_person=3)
async def test_those_who_wait_hold_no_share_but_are_bounded(
    board: Board, desk: Desk, alice: Person, bob: Person, twin: Door, person: Invite
) -> None:
    async with held(desk, bob) as one, held(desk, bob) as two, held(desk, bob) as three:
        assert not desk.reads._at_work
        assert not desk.heavy_reads._at_work
        began = time.monotonic()
        await asyncio.gather(*(bob.get("/projects/demo") for _ in range(3)))
        seq = await head(bob)
        refused = await bob.request("GET", f"/projects/demo/events?since={seq}&wait=60")
        assert (refused.status, refused.body["code"]) == (429, "too_many_waits")
        assert int(refused.headers["Retry-After"]) >= 1
        assert time.monotonic() - began < pace.here(SOON)
        async with held(desk, alice):
            pass
        await board.card()
        pages = [(await each.task)[0].checked() for each in (one, two, three)]
        assert all(len(page["events"]) == 1 for page in pages)
    async with asyncio.timeout(5 * pace.stretch()):
        while desk.reads._at_work or desk.heavy_reads._at_work or waiting(desk):
            await asyncio.sleep(0.01)


async def test_a_history_that_changed_ends_the_wait_with_a_reset(
    board: Board, desk: Desk, bob: Person, connection: Any
) -> None:
    async with held(desk, bob) as asked:
        began = time.monotonic()
        await connection.execute("update install set id = gen_random_uuid()")
        page = (await asked.answered(within=SOON + 2, since=began)).checked()
    assert (page["events"], page["reset"]) == ([], True)


async def test_without_redis_the_feed_ends_the_wait(
    request: pytest.FixtureRequest, database_url: str, board: Board
) -> None:
    """It is told by the other process's change alone, which this one does not hear."""
    away = "redis://127.0.0.1:1/"
    settings = changed_settings(request, database_url=database_url, redis_url=away)
    async with serving(settings) as door:
        olga = Person(door.url, "olga", id=2)
        try:
            seq = await head(olga)
            began = time.monotonic()
            page = await olga.get(f"/projects/demo/events?since={seq}&wait=1")
            assert page["events"] == []
            assert time.monotonic() - began < pace.here(1 + SOON)
            async with held(door.desk, olga) as asked:
                began = time.monotonic()
                await board.card()
                page = (await asked.answered(within=SOON, since=began)).checked()
            assert [each["type"] for each in page["events"]] == ["board.card_created"]
        finally:
            await olga.close()


async def test_an_event_that_the_bus_lost_ends_the_wait(
    lost: bool, board: Board, desk: Desk, twin: Door, bob: Person, person: Invite
) -> None:
    far = person("bob", url=twin.url)
    async with held(desk, bob) as near, held(twin.desk, far) as other:
        began = time.monotonic()
        card = await board.card()
        for asked in (near, other):
            page = (await asked.answered(within=SOON, since=began)).checked()
            assert [each["payload"]["id"] for each in page["events"]] == [card["id"]]


async def test_a_process_that_stops_answers_at_once(board: Board, desk: Desk, bob: Person) -> None:
    async with held(desk, bob) as asked:
        began = time.monotonic()
        desk.waits.stop()
        page = (await asked.answered(within=0.5, since=began)).checked()
        assert (page["events"], page["reset"]) == ([], False)
        page = (
            await Asked(bob, "/projects/demo/events", since=page["seq"], wait=60).answered(
                within=0.5, since=time.monotonic()
            )
        ).checked()
        assert page["events"] == []


@pytest.mark.foul
async def test_what_the_tail_has_no_longer_is_read_from_the_feed(
    board: Board, desk: Desk, bob: Person, reads: list[int]
) -> None:
    async with held(desk, bob, limit=2) as asked, held(desk, bob, limit=2) as other:
        seq = await head(bob)
        reads.clear()
        room = desk.hub.rooms[project_channel(board.id)]
        room.taken = lambda room, entry: room.tail.clear()
        await tell(desk, project_channel(board.id), 5)
        for each in (asked, other):
            page = (await each.task)[0].checked()
            assert [event["seq"] for event in page["events"]] == [seq + 1, seq + 2]
        assert len([since for since in reads if since == seq]) <= 2


PAUSES = [0.0, 0.0, 0.001, 0.01, 0.03]


@pytest.mark.foul
@pytest.mark.timeout(180)
async def test_by_cursor_no_event_is_missed_or_doubled(
    board: Board, desk: Desk, twin: Door, bob: Person, person: Invite, monkeypatch: Any
) -> None:
    """Events come at every moment between a read, the opening of the room and the wait."""
    channel = project_channel(board.id)
    far = person("bob", url=twin.url)
    delays = iter([0.0])

    async def pause() -> None:
        await asyncio.sleep(next(delays, 0.0))

    read, opens = feed.after, Hub.open

    async def after(connection: Any, channel: str, since: int, **options: Any) -> Any:
        page = await read(connection, channel, since, **options)
        await pause()
        return page

    async def opened(hub: Hub, channel: str) -> Any:
        await pause()
        room = await opens(hub, channel)
        await pause()
        return await opens(hub, channel) if not room.opened else room

    monkeypatch.setattr(feed, "after", after)
    monkeypatch.setattr(Hub, "open", opened)

    async def page_on(reader: Person, since: int, end: int, limit: int) -> list[int]:
        seen: list[int] = []
        while since < end:
            page = await reader.get(
                f"/projects/demo/events?since={since}&wait=20&limit={limit}", seconds=60
            )
            assert page["events"], "it waited in vain"
            assert not page["reset"]
            seen += [event["seq"] for event in page["events"]]
            since = seen[-1]
        return seen

    async def example(seams: list[float], pauses: list[float]) -> None:
        nonlocal delays
        delays = iter(seams)
        since = await head(bob)
        end = since + len(pauses)
        readers = [
            asyncio.create_task(page_on(reader, since, end, limit))
            for reader in (bob, far)
            for limit in (1, 3, 100)
        ]
        for pause_ in pauses:
            await asyncio.sleep(pause_)
            await tell(desk, channel, 1)
        for reader in readers:
            assert await reader == list(range(since + 1, end + 1))

    seeds = random.Random(7)
    for _ in range(25):
        await example(seeds.choices(PAUSES, k=60), seeds.choices(PAUSES, k=6))


async def figure(root: Person, name: str) -> float:
    text = await root.get("/metrics")
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[-1])


async def test_the_figures_show_who_waits_but_no_slow_answers(
    board: Board, desk: Desk, root: Person, bob: Person
) -> None:
    where = '{method="GET",route="/api/v1/projects/{slug}/events"}'
    took = f"warmdesk_http_request_duration_seconds_sum{where}"
    async with held(desk, bob) as asked:
        assert await figure(root, "warmdesk_http_waiting") == 1
        before = await figure(root, took)
        await asyncio.sleep(1.0)
        await board.card()
        await asked.answered(within=SOON + 1, since=asked.began + 1.0)
    assert await figure(root, "warmdesk_http_waiting") == 0
    assert await figure(root, took) - before < 0.9
