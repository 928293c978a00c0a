"""Feeds: pages of what came after a seq, heads, and a prefix that goes."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.db.queries import sql
from warmdesk.realtime import feed
from warmdesk.realtime.feed import PAGE, Page

pytestmark = pytest.mark.foul


async def record(connection: Any, channel: str, times: int = 1, *, text: str = "x") -> None:
    await connection.execute(
        "select record(array(select new_event($1, 'told', json_build_object('text', $2::text))"
        " from generate_series(1, $3)), 2, null)",
        channel,
        text,
        times,
    )


async def age(connection: Any, channel: str, upto: int, *, days: float) -> None:
    await connection.execute(
        "update events set created_at = created_at - $3::interval where channel = $1 and seq <= $2",
        channel,
        upto,
        timedelta(days=days),
    )


async def test_a_page_holds_what_came_after_a_seq_with_head_floor_and_epoch(
    connection: Any,
) -> None:
    await record(connection, "project:1", 5)
    await record(connection, "project:2", 3)
    page = await feed.after(connection, "project:1", 2)
    assert [entry.seq for entry in page.entries] == [3, 4, 5]
    assert (page.seq, page.oldest) == (5, 1)
    epoch, heads = await feed.heads(connection, ["project:1", "project:2", "project:3"])
    assert heads == {"project:1": (5, 1), "project:2": (3, 1), "project:3": (0, 1)}
    assert epoch == page.epoch
    assert len(epoch) == 12
    body = orjson.loads(page.entries[0].body)
    assert body.keys() == {"type", "payload", "seq", "ts", "actor_id"}
    assert body["seq"] == 3
    assert page.entries[0].entity == "-"


async def buffers(connection: Any, entity: str) -> int:
    """How many pages of the database an event reads and writes that erases."""
    said = await connection.fetchval(
        "explain (analyze, buffers, format json) select record(array[new_event("
        f"'project:1', 'board.card_deleted', '{{}}', '{entity}')], 2, null)"
    )
    plan = orjson.loads(said)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_what_an_event_erases_is_found_by_the_index(connection: Any) -> None:
    """In the session that saw the feed empty, and without reading what stands beside it."""
    await connection.execute("alter table events set (autovacuum_enabled = off)")
    await record(connection, "project:1")
    few = min([await buffers(connection, f"card:{n}") for n in range(1, 6)])
    await connection.execute(
        "insert into events (channel, seq, type, payload, entity, created_at)"
        " select 'project:1', 1000 + n, 'told', '{}', entity('card', n), now()"
        " from generate_series(100, 20100) n"
    )
    await connection.execute("update feeds set seq = 100000")
    many = min([await buffers(connection, f"card:{n}") for n in range(201, 206)])
    assert many < few + 30


async def test_entities_are_compared_byte_by_byte_whatever_the_databases_language(
    connection: Any,
) -> None:
    question = (
        "select attcollation::regcollation::text from pg_attribute"
        " where attrelid = 'events'::regclass and attname = 'entity'"
    )
    assert await connection.fetchval(question) == '"C"'


async def test_without_channels_there_is_still_an_epoch(connection: Any) -> None:
    epoch, heads = await feed.heads(connection, [])
    assert epoch
    assert heads == {}


async def test_a_channel_without_events_has_an_empty_page(connection: Any) -> None:
    page = await feed.after(connection, "project:9", 0)
    assert (page.entries, page.seq, page.oldest) == ([], 0, 1)
    assert page.reaches_back_to(0)
    assert not page.reaches_back_to(1)


async def test_pages_are_bounded_by_events_and_by_bytes(connection: Any) -> None:
    await record(connection, "project:1", PAGE + 50)
    page = await feed.after(connection, "project:1", 0)
    assert len(page.entries) == PAGE
    await record(connection, "project:2", 10, text="x" * 300_000)
    seen: list[int] = []
    while len(seen) < 10:
        page = await feed.after(connection, "project:2", seen[-1] if seen else 0)
        assert 0 < sum(len(entry.body) for entry in page.entries) < 1_400_000
        seen += [entry.seq for entry in page.entries]
    assert seen == list(range(1, 11))


async def test_what_a_page_does_not_show_is_not_read(connection: Any) -> None:
    """Counted in PostgreSQL's buffers: 100 events of 300 kB, of which a page shows four."""
    await connection.execute(
        "insert into events (channel, seq, type, payload, created_at)"
        " select 'project:1', n, 'x', to_json(t.words)::text, now()"
        " from generate_series(1, 100) as n, (select string_agg(md5(g::text), '') as words"
        " from generate_series(1, 9375) as g) as t"
    )
    page = await feed.after(connection, "project:1", 0)
    assert [entry.seq for entry in page.entries] == [1, 2, 3, 4]
    query = sql.feeds.after
    (said,) = await connection.fetchrow(
        f"explain (analyze, buffers, format json) {query.statement}",
        *query.values({"channel": "project:1", "since": 0, "limit": 500}),
    )
    plan = orjson.loads(said)[0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 500


async def test_only_a_prefix_past_its_age_is_trimmed(connection: Any) -> None:
    await record(connection, "project:1", 10)
    await record(connection, "project:2", 3)
    await age(connection, "project:1", 4, days=8)
    # An event in the middle that looks old (clocks jump) goes only with all before it.
    await connection.execute(
        "update events set created_at = created_at - interval '9 days'"
        " where channel = 'project:1' and seq = 7"
    )
    assert await feed.trim(connection, days=7) == 4
    assert await feed.trim(connection, days=7) == 0
    page = await feed.after(connection, "project:1", 0)
    assert page.oldest == 5
    assert [entry.seq for entry in page.entries] == [5, 6, 7, 8, 9, 10]
    assert page.reaches_back_to(4)
    assert not page.reaches_back_to(3)
    assert len((await feed.after(connection, "project:2", 0)).entries) == 3


async def test_a_feed_of_which_nothing_is_kept_reaches_back_to_its_head_alone(
    connection: Any,
) -> None:
    await record(connection, "project:1", 10)
    await age(connection, "project:1", 10, days=8)
    assert await feed.trim(connection, days=7) == 10
    page = await feed.after(connection, "project:1", 0)
    assert (page.entries, page.seq, page.oldest) == ([], 10, 11)
    assert [since for since in range(12) if page.reaches_back_to(since)] == [10]
    await record(connection, "project:1")
    assert (await feed.after(connection, "project:1", 10)).entries[0].seq == 11


async def test_a_long_prefix_goes_in_batches(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TRIM_BATCH", 30)
    await record(connection, "project:1", 100)
    await age(connection, "project:1", 95, days=8)
    gone = [await feed.trim(connection, days=7) for _ in range(5)]
    assert gone == [30, 30, 30, 5, 0]


async def test_seqs_of_many_feeds_take_time_as_they_are_many(connection: Any) -> None:
    """Somebody in thousands of projects keeps them all waiting while a name changes."""

    async def took(feeds: int) -> float:
        channels, times = [f"many:{n}" for n in range(feeds)], []
        for turn in range(1, 4):
            began = time.perf_counter()
            seqs = await connection.fetchval("select take_seqs($1::text[])", channels)
            times.append(time.perf_counter() - began)
            assert seqs == [turn] * feeds
        await connection.execute("delete from feeds where channel like 'many:%'")
        return min(times)

    few, many = await took(2_000), await took(16_000)
    assert many < 20 * few, f"eight times as many feeds took {many / few:.0f} times as long"


async def test_the_epoch_changes_with_the_installation(connection: Any) -> None:
    before, _ = await feed.heads(connection, [])
    await connection.execute("update install set id = gen_random_uuid()")
    after, _ = await feed.heads(connection, [])
    assert before != after


@given(st.integers(0, 30), st.integers(0, 31), st.integers(0, 40))
def test_whether_a_page_reaches_back_is_whether_everything_after_is_kept(
    head: int, gone: int, since: int
) -> None:
    oldest = min(gone, head) + 1
    page = Page([], head, oldest, "e")
    kept = set(range(oldest, head + 1))
    assert page.reaches_back_to(since) == (
        since <= head and set(range(since + 1, head + 1)) <= kept
    )
