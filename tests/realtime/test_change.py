"""Changes: rows and events together or not at all, and nobody waits in a circle."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from tests import pace
from tests.conftest import Wait
from tests.journeys.proxy import Proxy, in_front_of, through
from tests.locks import waiting
from tests.realtime.test_bus import Heard, bus_on
from warmdesk.auth.actor import Role
from warmdesk.db.pool import Database
from warmdesk.db.queries import Hot, Query
from warmdesk.errors import NotFound, Unavailable, WarmDeskError
from warmdesk.realtime import change as change_module
from warmdesk.realtime.bus import Bus
from warmdesk.realtime.change import Change, ChangeContext, Changes, Outcome, PendingShape
from warmdesk.realtime.channels import CONTROL
from warmdesk.realtime.entities import Entity, entity
from warmdesk.realtime.events import (
    CHAT_MESSAGE_DELETED,
    CHAT_MESSAGE_UPDATED,
    CHAT_TYPING,
    CHECKLIST_REORDERED,
    CONTROL_SETTINGS,
    PROJECT_JOINED,
    PROJECT_UNARCHIVED,
)

pytestmark = pytest.mark.foul

CONTEXT = ChangeContext(actor_id=2, client_id="tab-1")
TOLD = '{"slug":"demo"}'


@pytest.fixture
async def database(database_url: str) -> Any:
    opened = await Database.open(database_url, size=10)
    yield opened
    await opened.close()


@pytest.fixture
async def bus_and_heard(redis_url: str) -> Any:
    async with bus_on(redis_url) as (bus, heard):
        for channel in ("project:1", "project:2"):
            await bus.subscribe(channel)
        yield bus, heard


@pytest.fixture
def heard(bus_and_heard: tuple[Bus, Heard]) -> Heard:
    return bus_and_heard[1]


class Cache:
    """What a process remembers of rights; how much of that was said when it was told to forget."""

    def __init__(self, bus: Bus) -> None:
        self.published: list[str] = []
        self.forgot: list[int] = []
        publish = bus.publish_all

        def noted(messages: Iterable[str]) -> None:
            self.published += messages
            publish(messages)

        bus.publish_all = noted  # type: ignore[method-assign]

    def forget(self) -> None:
        self.forgot.append(len(self.published))


@pytest.fixture
def cache(bus_and_heard: tuple[Bus, Heard]) -> Cache:
    return Cache(bus_and_heard[0])


@pytest.fixture
def changes(database: Database, bus_and_heard: tuple[Bus, Heard], cache: Cache) -> Changes:
    return Changes(database, bus_and_heard[0], forgetful=[cache])


def tells(*channels: str) -> Any:
    async def work(change: Change) -> str:
        for channel in channels:
            change.emit(channel, PROJECT_UNARCHIVED, TOLD)
        return "done"

    return work


async def events(connection: Any) -> list[tuple[str, int]]:
    rows = await connection.fetch("select channel, seq from events order by channel, seq")
    return [(row["channel"], row["seq"]) for row in rows]


async def test_a_change_writes_its_rows_and_its_events_and_publishes_them_after_the_commit(
    changes: Changes, heard: Heard, connection: Any, eventually: Wait
) -> None:
    async def work(change: Change) -> None:
        await change.connection.execute("update users set display_name = 'Al' where id = 3")
        change.emit("project:1", PROJECT_UNARCHIVED, TOLD, entity=entity("project", 1))
        change.emit("project:2", PROJECT_UNARCHIVED, TOLD)
        change.emit("project:1", PROJECT_UNARCHIVED, TOLD)
        assert await events(connection) == []

    await changes.run(CONTEXT, work)
    assert await events(connection) == [("project:1", 1), ("project:1", 2), ("project:2", 1)]
    assert await connection.fetchval("select display_name from users where id = 3") == "Al"
    row = await connection.fetchrow("select * from events where channel = 'project:1' and seq = 1")
    assert (row["actor_id"], row["client_id"], row["entity"]) == (2, "tab-1", "project:1")
    await eventually(lambda: len(heard) == 3)
    assert [message[:2] for message in heard] == await events(connection)
    assert heard[0][2:4] == ("project.unarchived", "project:1")


async def test_what_is_rolled_back_is_never_said(
    changes: Changes, heard: Heard, connection: Any
) -> None:
    async def fails(change: Change) -> None:
        await change.connection.execute("update users set display_name = 'Al' where id = 3")
        change.emit("project:1", PROJECT_UNARCHIVED, TOLD)
        raise NotFound("no such thing")

    async def fails_late(change: Change) -> None:
        await fails_in_sql(change)

    async def fails_in_sql(change: Change) -> None:
        change.emit("project:1", PROJECT_UNARCHIVED, "{")
        await change.connection.execute("select refuse(422, 'no')")

    with pytest.raises(NotFound):
        await changes.run(CONTEXT, fails)
    with pytest.raises(WarmDeskError) as refused:
        await changes.run(CONTEXT, fails_late)
    assert (refused.value.status, refused.value.message) == (422, "no")
    assert await events(connection) == []
    assert await connection.fetchval("select display_name from users where id = 3") == "Alice"
    await changes.run(CONTEXT, tells("project:1"))
    assert await events(connection) == [("project:1", 1)], "seqs have no holes"
    await asyncio.sleep(0.05)
    assert [message[1] for message in heard] == [1]


async def test_a_signal_cannot_be_recorded(changes: Changes) -> None:
    async def work(change: Change) -> None:
        change.emit("project:1", CHAT_TYPING, '{"user_id":2}')

    with pytest.raises(TypeError):
        await changes.run(CONTEXT, work)


@pytest.mark.parametrize("channel", ["user:2", "control"])
async def test_an_event_goes_to_no_channel_of_another_kind(
    changes: Changes, connection: Any, channel: str
) -> None:
    async def work(change: Change) -> None:
        for each in ("project:1", channel):
            change.emit(each, CHECKLIST_REORDERED, '{"card_id":1,"item_ids":[2]}')

    refused = f"board.checklist_reordered is for project, not for {channel}"
    with pytest.raises(TypeError, match=refused):
        await changes.run(CONTEXT, work)
    assert await events(connection) == []


async def test_an_event_that_erases_says_what(changes: Changes) -> None:
    async def work(change: Change) -> None:
        change.emit("project:1", CHAT_MESSAGE_DELETED, '{"id":7}')

    with pytest.raises(TypeError, match=r"chat\.message_deleted erases: say which entity"):
        await changes.run(CONTEXT, work)


async def test_text_of_rows_that_were_read_before_is_refused(changes: Changes) -> None:
    async def work(change: Change) -> None:
        change.emit("project:1", CHAT_MESSAGE_UPDATED, "{}")

    with pytest.raises(TypeError, match="shows rows"):
        await changes.run(CONTEXT, work)


async def test_a_shape_shows_what_was_told_before_it(changes: Changes, connection: Any) -> None:
    """Who waits for the feed meanwhile changes nothing that the shape shows."""
    shown: Query[..., Any] = Query(
        "tests.shown", "value", "select to_json(display_name)::text from users where id=3"
    )

    async def work(change: Change) -> PendingShape:
        shape = change.shape(shown)
        change.emit("project:1", CHAT_MESSAGE_UPDATED, shape)
        return shape

    async with connection.transaction():
        await connection.execute("select take_seq('project:1')")
        await connection.execute("update users set display_name = 'Al' where id = 3")
        telling = asyncio.create_task(changes.run(CONTEXT, work))
        await waiting(connection)
    assert (await telling).text == '"Al"'
    told = await connection.fetchval("select payload from events where channel = 'project:1'")
    assert told == '"Al"'


async def test_a_shape_without_an_event_is_an_answer(changes: Changes, connection: Any) -> None:
    shown: Query[..., Any] = Query("tests.shown", "value", "select '\"it\"'::text")

    async def work(change: Change) -> PendingShape:
        return change.shape(shown)

    assert (await changes.run(CONTEXT, work)).text == '"it"'
    assert await events(connection) == []


async def test_seqs_have_no_holes_under_concurrency(changes: Changes, connection: Any) -> None:
    async def fails(change: Change) -> None:
        change.emit("project:1", PROJECT_UNARCHIVED, TOLD)
        raise NotFound

    async def sometimes(number: int) -> None:
        try:
            await changes.run(CONTEXT, fails if number % 3 == 0 else tells("project:1"))
        except NotFound:
            pass

    await asyncio.gather(*(sometimes(number) for number in range(90)))
    assert await events(connection) == [("project:1", seq) for seq in range(1, 61)]


async def test_many_channels_in_opposite_orders_never_wait_in_a_circle(
    changes: Changes, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_module, "TRIES", 1)
    channels = [f"project:{number}" for number in range(1, 8)]

    async def one(number: int) -> None:
        order = random.Random(number).sample(channels, k=4)
        await changes.run(CONTEXT, tells(*order, order[0]))

    for start in range(0, 200, 10):
        await asyncio.gather(*(one(number) for number in range(start, start + 10)))
    rows = await connection.fetch("select channel, seq, oldest from feeds")
    found = await events(connection)
    assert len(found) == 200 * 5
    for row in rows:
        own = [seq for channel, seq in found if channel == row["channel"]]
        assert own == list(range(1, row["seq"] + 1))


async def test_who_loses_a_deadlock_tries_again(changes: Changes, connection: Any) -> None:
    both = asyncio.Barrier(2)
    runs = []

    def crossing(first: int, second: int) -> Any:
        tried = False

        async def work(change: Change) -> None:
            nonlocal tried
            runs.append(first)
            lock = "update users set display_name = display_name || '!' where id = $1"
            await change.connection.execute(lock, first)
            if not tried:
                tried = True
                await both.wait()
            await change.connection.execute(lock, second)
            change.emit("project:1", PROJECT_UNARCHIVED, TOLD)

        return work

    # One of the two is ended by PostgreSQL's deadlock detector after a second, or by its own limit
    # for locks; both are tried again.
    await asyncio.gather(changes.run(CONTEXT, crossing(1, 2)), changes.run(CONTEXT, crossing(2, 1)))
    assert len(runs) >= 3
    rows = await connection.fetch("select display_name from users where id in (1, 2) order by id")
    assert [row["display_name"] for row in rows] == ["Root!!", "Olga!!"]
    assert await events(connection) == [("project:1", 1), ("project:1", 2)]


async def test_a_lock_that_is_not_to_be_had_is_a_503_that_says_when_to_come_back(
    changes: Changes, connection: Any, heard: Heard
) -> None:
    await changes.run(CONTEXT, tells("project:1"))
    async with connection.transaction():
        await connection.execute("select 1 from feeds where channel = 'project:1' for update")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable) as busy:
            await changes.run(CONTEXT, tells("project:1"))
        assert asyncio.get_running_loop().time() - began < pace.here(5)
    assert busy.value.status == 503
    assert int(busy.value.headers["Retry-After"]) >= 1
    assert await events(connection) == [("project:1", 1)]


async def test_all_tries_of_a_change_share_its_time(
    changes: Changes, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_module, "SECONDS", 1.5)
    slow: Hot[..., Any] = Hot(
        "tests.slow",
        "one",
        """
        select 1 as status, '{}' as answer, pg_sleep(0.6), :actor::bigint, :client::text,
            :project_id::bigint, :need::text, :version::integer, :conflict_status::integer,
            record(array[new_event('project:1', 'project.unarchived', '{}'::json)], null, null)
                as messages
        """,
    )
    tries = 0

    async def loses(change: Change) -> None:
        nonlocal tries
        tries += 1
        await change.connection.execute("set local lock_timeout = '600ms'")
        await change.connection.execute("select 1 from users where id = 3 for update")

    async with connection.transaction():
        await connection.execute("select 1 from users where id = 3 for update")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await changes.run(CONTEXT, loses)
        assert asyncio.get_running_loop().time() - began < pace.here(2.0)
    assert tries == 3
    async with connection.transaction():
        await changes.run(CONTEXT, tells("project:1"))
        await connection.execute("select 1 from feeds where channel = 'project:1' for update")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await changes.hot(slow, MEMBERS, "card")
        assert asyncio.get_running_loop().time() - began < pace.here(2.0)


async def test_a_change_that_hangs_is_given_up_and_keeps_no_connection(
    database: Database, changes: Changes, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_module, "SECONDS", 0.3)

    async def hangs(change: Change) -> None:
        await change.connection.execute("update users set display_name = 'Al' where id = 3")
        await change.connection.execute("select pg_sleep(3)")

    with pytest.raises(Unavailable) as given_up:
        await changes.run(CONTEXT, hangs)
    assert given_up.value.extra["code"] == "unknown_outcome"
    monkeypatch.setattr(change_module, "SECONDS", 4.5)
    await asyncio.gather(*(changes.run(CONTEXT, tells("project:1")) for _ in range(20)))
    assert await connection.fetchval("select display_name from users where id = 3") == "Alice"


async def test_who_gives_up_lets_go_of_the_locks_soon(
    changes: Changes, connection: Any, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    monkeypatch.setattr(change_module, "SECONDS", 0.3)

    async def hangs(change: Change) -> None:
        await change.connection.execute("select pg_sleep(3.9) from users where id = 3 for update")

    with pytest.raises(Unavailable):
        await changes.run(CONTEXT, hangs)
    asked = "select 1 from pg_stat_activity where query like '%pg_sleep(3.9)%' and pid <> $1"

    async def gone() -> bool:
        return await connection.fetchval(asked, connection.get_server_pid()) is None

    await eventually(gone, limit=3)


async def test_a_database_that_takes_no_changes_is_a_503(changes: Changes) -> None:
    async def work(change: Change) -> None:
        await change.connection.execute("set transaction read only")
        await change.connection.execute("update users set display_name = 'Al' where id = 3")

    with pytest.raises(Unavailable):
        await changes.run(CONTEXT, work)


@pytest.fixture
async def network(database_url: str) -> AsyncIterator[Proxy]:
    """What lies between the changes and PostgreSQL."""
    async with in_front_of(database_url) as proxy:
        yield proxy


@pytest.fixture
async def far_changes(
    database_url: str, network: Proxy, bus_and_heard: tuple[Bus, Heard]
) -> AsyncIterator[Changes]:
    """Changes that reach PostgreSQL through the network."""
    opened = await Database.open(through(network, database_url), size=3)
    yield Changes(opened, bus_and_heard[0])
    await opened.close()


async def test_who_asks_only_once_may_be_patient_while_the_database_is_away(
    far_changes: Changes, network: Proxy, connection: Any
) -> None:
    loop = asyncio.get_running_loop()
    network.close()
    with pytest.raises(Unavailable):
        await far_changes.run(CONTEXT, tells("project:1"))
    began = loop.time()
    with pytest.raises(Unavailable):
        await far_changes.run(CONTEXT, tells("project:1"), patience=1.0)
    assert 1.0 <= loop.time() - began < pace.here(3.0)
    loop.call_later(1.5, network.open)
    assert await far_changes.run(CONTEXT, tells("project:1"), patience=8.0) == "done"
    assert await events(connection) == [("project:1", 1)]


async def test_who_is_patient_does_again_what_nobody_knows_of(
    far_changes: Changes, network: Proxy, connection: Any
) -> None:
    """So the work has to look whether it was done, by the key of what was delivered."""
    attempts = 0

    async def work(change: Change) -> None:
        nonlocal attempts
        attempts += 1
        done = await change.connection.execute(
            "update users set display_name = 'Delivered' where id = 3 and display_name = 'Alice'"
        )
        if done == "UPDATE 1":
            change.emit("project:1", PROJECT_UNARCHIVED, TOLD)

    async def forgets() -> None:
        while ("project:1", 1) not in await events(connection):
            await asyncio.sleep(0.01)
        network.cut()
        network.thaw()

    await far_changes.run(CONTEXT, tells("project:2"))
    lost = asyncio.create_task(forgets())
    network.hold_answers(after=b"COMMIT")
    await far_changes.run(CONTEXT, work, patience=8.0)
    await lost
    assert attempts == 2
    assert await events(connection) == [("project:1", 1), ("project:2", 1)]


async def test_an_event_of_more_than_a_mebibyte_is_refused(
    changes: Changes, connection: Any
) -> None:
    async def large(change: Change) -> None:
        change.emit("project:1", PROJECT_UNARCHIVED, '{"slug":"' + "x" * (1 << 20) + '"}')

    with pytest.raises(WarmDeskError) as refused:
        await changes.run(CONTEXT, large)
    assert refused.value.status == 422
    assert await events(connection) == []


async def test_a_deleted_things_text_leaves_the_feed_in_the_same_change(
    changes: Changes, connection: Any
) -> None:
    async def posts(change: Change) -> None:
        for message in (7, 77):
            change.emit(
                "project:1",
                PROJECT_UNARCHIVED,
                '{"slug":"secret"}',
                entity=entity("message", message),
            )

    async def deletes(change: Change) -> None:
        change.emit("project:1", CHAT_MESSAGE_DELETED, '{"id":7}', entity=entity("message", 7))

    await changes.run(CONTEXT, posts)
    await changes.run(CONTEXT, deletes)
    rows = await connection.fetch("select type, payload from events order by seq")
    assert [tuple(row) for row in rows] == [
        ("gone", "{}"),
        ("project.unarchived", '{"slug":"secret"}'),
        ("chat.message_deleted", '{"id":7}'),
    ]


async def test_an_answer_is_erased_with_all_that_its_change_told_of_and_what_that_stands_below(
    changes: Changes, connection: Any
) -> None:
    card = entity("card", 7)
    told = {
        "the card": [("project:1", card)],
        "its comment": [("project:1", card.child("comment", 9)), ("project:1", card)],
        "another comment": [("project:1", card.child("comment", 90))],
        "two cards": [("project:1", entity("card", 70)), ("project:1", card)],
        "another card": [("project:1", entity("card", 70))],
        "elsewhere": [("project:2", card)],
        "nothing": [],
    }

    def asks(key: str) -> Any:
        async def work(change: Change) -> Outcome:
            for channel, thing in told[key]:
                change.emit(channel, PROJECT_UNARCHIVED, TOLD, entity=thing)
            return Outcome(200, '{"text":"secret"}')

        return changes.run(CONTEXT._replace(key=key, path="/here", keyed=True), work)

    async def erases(thing: Entity) -> set[str]:
        async def work(change: Change) -> None:
            change.emit("project:1", CHAT_MESSAGE_DELETED, '{"id":7}', entity=thing)

        await changes.run(CONTEXT, work)
        again = await asyncio.gather(*map(asks, told), return_exceptions=True)
        assert {each.extra["code"] for each in again if isinstance(each, WarmDeskError)} == {
            "deleted"
        }
        return {key for key, each in zip(told, again, strict=True) if not isinstance(each, Outcome)}

    for key in told:
        await asks(key)
    assert await erases(card.child("comment", 9)) == {"its comment"}
    assert await erases(card) == {"the card", "its comment", "another comment", "two cards"}


async def test_a_deletion_reads_few_keys_also_with_a_plan_of_when_there_were_none(
    connection: Any,
) -> None:
    deletion = (
        "explain (analyze, buffers, format json) select record_each(array['project:1'],"
        " array['chat.message_deleted'], array['{}'], array['message:7'], 1, null)"
    )
    for _ in range(2):
        await connection.execute(deletion)
    await connection.execute(
        "insert into idempotency_keys (user_id, path, key, body_hash, status, answer, about)"
        " select 1, '/x', n, '', 201, '{}', array['project:1 message:' || n]"
        " from generate_series(1, 20000) n"
    )
    said = json.loads(await connection.fetchval(deletion))[0]["Plan"]
    assert said["Shared Hit Blocks"] + said["Shared Read Blocks"] < 200
    assert await connection.fetch("select key from idempotency_keys where status = 410") == [("7",)]


async def test_a_change_of_rights_is_forgotten_before_it_is_said_and_answered(
    changes: Changes, cache: Cache, connection: Any
) -> None:
    async def revokes(change: Change) -> None:
        change.emit("project:1", PROJECT_UNARCHIVED, TOLD)
        change.emit(CONTROL, CONTROL_SETTINGS, '{"keys":[]}')

    await changes.run(CONTEXT, revokes)
    assert cache.forgot == [0]
    await changes.hot(HOT, MEMBERS, "card", channel=CONTROL)
    assert cache.forgot == [0, 2]


async def test_who_hears_again_that_a_right_changed_meets_the_new_one(
    changes: Changes, cache: Cache, connection: Any
) -> None:
    """The change was another process's, whose answer was lost."""
    context = CONTEXT._replace(key="once", path="/here", body_hash="-", keyed=True)

    async def work(change: Change) -> Outcome:
        return Outcome(200, "{}")

    assert not (await changes.run(context, work)).replay
    assert cache.forgot == []
    assert (await changes.run(context, work)).replay
    assert cache.forgot == [0]


async def test_who_sends_a_key_again_and_again_makes_others_be_looked_up_once_a_second(
    changes: Changes, cache: Cache, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = CONTEXT._replace(key="once", path="/here", body_hash="-", keyed=True)

    async def work(change: Change) -> Outcome:
        return Outcome(200, "{}")

    for _ in range(10):
        await changes.run(context, work)
    assert cache.forgot == [0]
    monkeypatch.setattr(change_module, "REPLAY_SECONDS", 0.0)
    changes._forget_again_at = 0.0
    for _ in range(3):
        await changes.run(context, work)
    assert len(cache.forgot) == 4


async def test_a_change_of_anything_else_lets_nothing_be_forgotten(
    changes: Changes, cache: Cache, connection: Any
) -> None:
    async def fails(change: Change) -> None:
        change.emit(CONTROL, CONTROL_SETTINGS, '{"keys":[]}')
        raise NotFound("no such thing")

    async def joins(change: Change) -> None:
        change.emit("user:2", PROJECT_JOINED, TOLD)

    await changes.run(CONTEXT, tells("project:1"))
    await changes.run(CONTEXT, joins)
    await changes.hot(HOT, MEMBERS, "card", channel="project:1")
    with pytest.raises(NotFound):
        await changes.run(CONTEXT, fails)
    assert cache.forgot == []


HOT: Hot[..., Any] = Hot(
    "tests.hot",
    "one",
    """
    select 201 as status, json_build_object('client', :client::text)::text as answer,
        record(array[new_event(:channel, 'project.unarchived', '{"slug":"demo"}'::json)],
            :actor::bigint, :client::text) as messages
    where :need::text = 'member' and :project_id::bigint = 1 and :version::integer is null
        and :conflict_status::integer = 409
    """,
)
MEMBERS = CONTEXT._replace(need=Role.MEMBER, project_id=1)


async def test_a_hot_change_is_a_function_whose_messages_are_published(
    changes: Changes, heard: Heard, connection: Any, eventually: Wait
) -> None:
    outcome = await changes.hot(HOT, MEMBERS, "card", channel="project:1")
    assert (outcome.status, outcome.text, outcome.replay) == (201, '{"client" : "tab-1"}', False)
    await eventually(lambda: heard)
    assert heard[0][:3] == ("project:1", 1, "project.unarchived")
