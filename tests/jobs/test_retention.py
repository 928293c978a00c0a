"""Retention: old events go as a prefix, and nobody ever finds a hole."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, serving
from tests.person import Person
from tests.realtime.story import seqs, tell
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs import retention
from warmdesk.jobs.retention import Retention
from warmdesk.realtime import feed, room
from warmdesk.realtime.channels import project_channel

pytestmark = pytest.mark.settings(event_retention_days=0)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)


async def test_what_is_past_its_age_goes_and_the_floor_rises_with_it(
    board: Board, desk: Desk, alice: Person, connection: Any
) -> None:
    head = (await alice.get("/projects/demo"))["seq"]
    gone = await Retention(desk).turn()
    assert gone >= head
    page = await alice.get("/projects/demo/events")
    assert (page["events"], page["oldest"], page["seq"]) == ([], head + 1, head)
    assert await connection.fetchval("select count(*) from events") == 0
    assert await Retention(desk).turn() == 0
    await board.card()
    page = await alice.get(f"/projects/demo/events?since={head}")
    assert ([event["seq"] for event in page["events"]], page["reset"]) == ([head + 1], False)


async def test_who_comes_back_from_before_the_floor_is_reset(
    board: Board, desk: Desk, alice: Person
) -> None:
    head = (await alice.get("/projects/demo"))["seq"]
    await Retention(desk).turn()
    async with alice.socket("demo", since=head - 1) as wire:
        assert (await wire.next("hello"))["payload"]["resumed"] is False
        reset = (await wire.next("sync.reset"))["payload"]
        assert (reset["seq"], reset["reason"]) == (head, "retention")
    async with alice.socket("demo", since=head) as wire:
        assert (await wire.next("hello"))["payload"]["resumed"] is True
        await board.card()
        assert (await wire.next("board.card_created"))["seq"] == head + 1


@pytest.mark.settings(event_retention_days=7)
async def test_what_is_young_stays(board: Board, desk: Desk, connection: Any) -> None:
    before = await connection.fetchval("select count(*) from events")
    assert await Retention(desk).turn() == 0
    assert await connection.fetchval("select count(*) from events") == before


async def test_one_process_trims_at_a_time(board: Board, desk: Desk, connection: Any) -> None:
    async with connection.transaction():
        assert await connection.fetchval("select pg_try_advisory_xact_lock(x'77645452'::integer)")
        assert await Retention(desk).turn() == 0
    assert await Retention(desk).turn() > 0


@pytest.mark.foul
async def test_a_batch_stays_small_however_many_feeds_are_due(
    desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TRIM_BATCH", 7)
    for number in range(20):
        await tell(desk, project_channel(1000 + number), 5)
    assert 7 <= await feed.trim(connection, days=0) < 14
    assert await Retention(desk).turn() >= 100 - 14


async def test_idempotency_keys_go_after_a_day(board: Board, desk: Desk, connection: Any) -> None:
    await connection.execute(
        "insert into idempotency_keys (user_id, path, key, body_hash, created_at)"
        " select 1, '/x', n::text, '', now() - n * interval '10 hours' from generate_series(1, 5) n"
    )
    await Retention(desk).turn()
    assert await connection.fetchval(
        "select array_agg(key order by key) from idempotency_keys"
    ) == [
        "1",
        "2",
    ]


@pytest.mark.foul
@pytest.mark.parametrize("seed", range(3))
async def test_there_is_never_a_hole_while_events_are_written_read_and_trimmed(
    seed: int,
    board: Board,
    desk: Desk,
    twin: Door,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(feed, "TRIM_BATCH", 7)
    monkeypatch.setattr(room, "TAIL_EVENTS", 3)
    channel = project_channel(board.id)
    writing = True
    trimmed = 0

    async def write() -> None:
        nonlocal writing
        for _ in range(150):
            await tell(dice.choice([desk, twin.desk]), channel, dice.choice([1, 2, 9]))
            await asyncio.sleep(dice.choice([0, 0, 0.002]))
        writing = False

    async def trim() -> None:
        nonlocal trimmed
        while writing:
            for each in (desk, twin.desk):
                trimmed += await Retention(each).turn()
            await asyncio.sleep(0.01)

    async def read() -> None:
        since = 0
        while writing:
            page = await feed.after(desk.database.reserved, channel, since)
            got = [entry.seq for entry in page.entries]
            if page.reaches_back_to(since):
                assert got == list(range(since + 1, since + 1 + len(got)))
                assert got or since == page.seq
            since = dice.choice([page.seq, max(0, page.seq - dice.randint(0, 30))])
            await asyncio.sleep(0)

    async def resume() -> None:
        while writing:
            since = max(0, (await head()) - dice.randint(0, 20))
            async with alice.socket("demo", since=since) as wire:
                hello = (await wire.next("hello"))["payload"]
                await wire.settle()
                resets = [f for f in wire.frames if f["type"] == "sync.reset"]
                if resets:
                    since = resets[-1]["payload"]["seq"]
                    after = wire.frames[wire.frames.index(resets[-1]) :]
                else:
                    assert hello["resumed"]
                    after = wire.frames
                got = seqs(after)
                assert got == list(range(since + 1, since + 1 + len(got)))

    async def head() -> int:
        (seq,) = await desk.database.reserved.fetchrow(
            "select seq from feeds where channel = $1", channel
        )
        return int(seq)

    async with alice.socket("demo") as live:
        hello = (await live.next("hello"))["payload"]
        async with asyncio.TaskGroup() as group:
            for work in (write, trim, read, read, resume):
                group.create_task(work())
        assert trimmed > 100
        last = await head()
        async with asyncio.timeout(5 * pace.stretch()):
            while not live.events or live.events[-1]["seq"] < last:
                await asyncio.sleep(0.01)
        assert seqs(live.frames) == list(range(hello["seq"] + 1, last + 1))
        assert not [f for f in live.frames if f["type"] == "sync.reset"]


async def test_the_task_goes_on_after_a_failure(
    board: Board, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention.Retention, "seconds", 0.05)
    trim = feed.trim
    failures = 0

    async def away(*args: Any, **options: Any) -> int:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise ConnectionError("away")
        return await trim(*args, **options)

    monkeypatch.setattr(feed, "trim", away)
    job = Retention(desk)
    job.start()
    try:
        async with asyncio.timeout(5 * pace.stretch()):
            while await connection.fetchval("select count(*) from events"):
                await asyncio.sleep(0.05)
    finally:
        await job.stop()
    assert failures == 2


async def test_a_server_trims_by_itself(
    settings: Settings, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention.Retention, "seconds", 0.05)
    async with serving(settings), asyncio.timeout(5 * pace.stretch()):
        while await connection.fetchval("select count(*) from events"):
            await asyncio.sleep(0.05)


# What grows beside the events

SESSION = """
    insert into sessions (user_id, expires_at, revoked_at)
    values (3, now() + $1::interval, now() - $2::interval) returning id
"""
TOKENS = """
    insert into refresh_tokens (token_hash, session_id, expires_at, rotated_at)
    select $1::text || n, $1::uuid, now() + $2::interval, now() - interval '1 hour'
    from generate_series(1, $3) as n
"""
DAY = timedelta(days=1)


@pytest.mark.settings(event_retention_days=7)
async def test_tokens_and_sessions_go_when_they_are_good_for_nothing(
    board: Board, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    kinds = {
        "living": (DAY, None, DAY),
        "living, its tokens expired": (DAY, None, -DAY),
        "expired": (-DAY, None, -DAY),
        "expired long ago": (-31 * DAY, None, -31 * DAY),
        "ended": (DAY, timedelta(hours=1), DAY),
        "ended yesterday": (DAY, 2 * DAY, DAY),
    }
    sessions = {}
    for kind, (left, ended, tokens) in kinds.items():
        sessions[kind] = await connection.fetchval(SESSION, left, ended)
        await connection.execute(TOKENS, str(sessions[kind]), tokens, 30)

    await Retention(desk).turn()

    rows = await connection.fetch(
        "select session_id, count(*) as n from refresh_tokens group by session_id"
    )
    kept = {row["session_id"]: row["n"] for row in rows}
    assert {kind: kept[each] for kind, each in sessions.items() if each in kept} == {"living": 30}
    there = {row["id"] for row in await connection.fetch("select id from sessions")}
    gone = {kind for kind, each in sessions.items() if each not in there}
    assert gone == {"expired long ago", "ended yesterday"}


@pytest.mark.settings(event_retention_days=7)
async def test_failures_do_not_push_out_where_an_account_is_known(
    board: Board, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOGIN_EVENTS", 20)
    monkeypatch.setattr(retention, "BATCH", 7)
    for user, event, rows, days in (
        (3, "login_ok", 5, 20),
        (3, "login_failed", 90, 0),
        (3, "logout", 3, 401),
        (4, "login_failed", 3, 0),
        (4, "login_ok", 50, 0),
        (None, "login_failed", 70, 0),
    ):
        await connection.execute(
            "insert into login_events (user_id, event, created_at)"
            " select $1, $2, now() - make_interval(days => $4) from generate_series(1, $3)",
            user,
            event,
            rows,
            days,
        )

    await Retention(desk).turn()

    rows = await connection.fetch(
        "select user_id, event, count(*) as n from login_events group by user_id, event"
    )
    assert {(row["user_id"], row["event"]): row["n"] for row in rows} == {
        (3, "login_ok"): 5,
        (3, "login_failed"): 20,
        (4, "login_failed"): 3,
        (4, "login_ok"): 20,
        (None, "login_failed"): 20,
    }
    newest = await connection.fetchval("select max(id) from login_events")
    assert newest == await connection.fetchval(
        "select max(id) from login_events where user_id is null"
    )


@pytest.mark.settings(event_retention_days=7)
async def test_keys_go_though_no_event_does(
    board: Board, desk: Desk, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute(
        "insert into idempotency_keys (user_id, path, key, body_hash, created_at)"
        " select 1, '/x', n::text, '', now() - interval '25 hours' from generate_series(1, 3500) n"
    )

    await Retention(desk).turn()

    assert await connection.fetchval("select count(*) from idempotency_keys") == 0


@pytest.mark.settings(event_retention_days=7)
async def test_nobody_waits_long_for_what_is_trimmed(
    board: Board, desk: Desk, alice: Person, connection: Any
) -> None:
    """A token of a batch that is being taken away can be used meanwhile: it waits a moment."""
    session = await connection.fetchval(SESSION, DAY, None)
    await connection.execute(TOKENS, str(session), -DAY, 20_000)
    trimming = asyncio.create_task(Retention(desk).turn())
    for _ in range(20):
        async with asyncio.timeout(1.5 * pace.stretch()):
            await alice.get("/users/me")
            await alice.post("/auth/ws-ticket")
    await trimming
    assert not await connection.fetchval(
        "select count(*) from refresh_tokens where session_id = $1", session
    )
