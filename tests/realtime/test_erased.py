"""An event that erases blanks what was told before of its entity and of all below it: in the feed,
in every process's rooms, in what is read for somebody meanwhile. Whatever events are called, and
whatever a process knows of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import Board, Door, Invite, until
from tests.person import Person, Wire
from tests.realtime.test_deleted import EDGES, joined, make_room
from warmdesk.db.migrations import migrate
from warmdesk.desk import Desk
from warmdesk.realtime import feed
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.channels import EventScope, project_channel
from warmdesk.realtime.entities import Entity, entity
from warmdesk.realtime.events import CATALOGUE, ERASING, Event
from warmdesk.realtime.feed import Entry

pytestmark = pytest.mark.foul


class Note(msgspec.Struct):
    text: str


TOLD = Event("test.note", EventScope.PROJECT, Note, "A note was written.")
ERASED = Event("test.note_ended", EventScope.PROJECT, Note, "A note is erased.", erases=True)
NAMED_SO = Event("test.note_deleted", EventScope.PROJECT, Note, "It only has the name.")
KINDS = ("card", "comment", "file")
FAMILY = [(1,), (1, 2), (1, 2, 11), (1, 11), (11,), (11, 1)]

Act = tuple[Event, tuple[int, ...], int]
"""An event, the ids of what it tells of and of what that stands below, and its text's length."""


def acts(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[list[Act]]:
    """A family is told of, then whatever comes, up to three deep: of two ids one begins like the
    other.
    """
    family = st.tuples(*(st.tuples(st.just(TOLD), st.just(ids), sizes) for ids in FAMILY))
    told_of = st.lists(st.sampled_from([1, 2, 11]), min_size=1, max_size=3).map(tuple)
    event = st.sampled_from([TOLD, NAMED_SO, ERASED])
    others = st.lists(st.tuples(event, told_of, sizes), min_size=1, max_size=20)
    return st.tuples(family, others).map(lambda drawn: [*drawn[0], *drawn[1]])


def named(root: Entity, ids: Sequence[int]) -> Entity:
    for kind, id_ in zip(KINDS, ids, strict=False):
        root = root.child(kind, id_)
    return root


def shown(told: Sequence[Act]) -> list[tuple[str, str]]:
    """What is left of events: the type and the text of each."""
    left = []
    for place, (event, ids, size) in enumerate(told):
        later = told[place + 1 :]
        gone = any(each.erases and ids[: len(of)] == of for each, of, _ in later)
        left.append(("gone", "") if gone else (event.name, text(place, size)))
    return left


def text(place: int, size: int) -> str:
    return f"{place}".ljust(size, "{")


def seen(events: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["type"], each["payload"].get("text", "")) for each in events]


# One room


ROOT = entity("root", 1)


def heard(act: Act, seq: int) -> Entry:
    event, ids, size = act
    body = {"type": event.name, "payload": {"text": text(seq - 1, size)}, "seq": seq}
    told_of = named(ROOT, ids) + ("/" if event.erases else "")
    return feed.read_entry(seq, event.name, told_of, orjson.dumps(body))


SIZES = st.one_of(st.integers(0, 400), st.sampled_from(EDGES[:6]))


@given(acts(SIZES), st.data())
@hypothesis_settings(max_examples=200)
def test_whoever_joins_a_room_is_told_what_is_left(told: list[Act], drawn: st.DataObject) -> None:
    async def story() -> None:
        room = make_room()
        live = joined(room, 0)
        read: list[Entry] = []
        for seq, act in enumerate(told, start=1):
            room.hear(heard(act, seq))
            if drawn.draw(st.booleans(), "tick"):
                await asyncio.sleep(0)
            if drawn.draw(st.booleans(), "join"):
                since = drawn.draw(st.integers(0, seq), "since")
                assert seen(joined(room, since).frames) == shown(told[:seq])[since:]
            if drawn.draw(st.booleans(), "read"):
                read = list(room.tail)
        await asyncio.sleep(0)
        assert live.seqs == list(range(1, len(told) + 1))
        as_now = room.as_now(read, len(read))
        assert as_now is not None
        assert seen([orjson.loads(each.body) for each in as_now]) == shown(told)[: len(read)]
        assert room.tail_bytes == sum(len(kept.body) for kept in room.tail)

    asyncio.run(story())


# Two processes


@pytest.fixture
async def notes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of these tests are declared."""
    for event in (TOLD, ERASED, NAMED_SO):
        monkeypatch.setitem(CATALOGUE, event.name, event)
    await migrate(database_url, erasing=[*ERASING, ERASED.name])


async def tell(door: Door, board: Board, root: Entity, told: Sequence[Act], first: int) -> None:
    """One change with these events; `first` is the place of the first among all."""

    async def work(change: Change) -> None:
        for place, (event, ids, size) in enumerate(told, start=first):
            payload = orjson.dumps({"text": text(place, size)}).decode()
            change.emit(project_channel(board.id), event, payload, entity=named(root, ids))

    await door.desk.changes.run(ChangeContext(actor_id=1), work)


async def test_what_erases_while_a_room_opens_erases(
    desk: Desk, no_checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, heads, go = project_channel(7), feed.heads, asyncio.Event()

    async def slow(*given: Any) -> Any:
        found = await heads(*given)
        await go.wait()
        return found

    monkeypatch.setattr(feed, "heads", slow)
    opening = asyncio.create_task(desk.hub.open(channel))
    await until(lambda: channel in desk.hub.rooms)
    desk.hub.hear(channel, 1, "test.note", "card:7/comment:9", b"{}")
    desk.hub.hear(channel, 2, "test.note_ended", "card:7/", b"{}")
    go.set()
    assert [kept.type for kept in (await opening).tail] == ["gone", "test.note_ended"]


async def pages(person: Person, since: int, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        # Unchecked: the document knows nothing of events that a test declares.
        answer = await person.request("GET", f"/projects/demo/events?since={since}&limit={limit}")
        page = answer.checked()
        found += page["events"]
        if not page["events"] or found[-1]["seq"] == page["seq"]:
            return found
        since = found[-1]["seq"]


async def arrives(wire: Wire, head: int) -> None:
    await until(lambda: [each["seq"] for each in wire.events][-1:] == [head], limit=15)


ROOTS = iter(range(1, 1_000_000))
LIVE_SIZES = st.one_of(st.integers(0, 400), st.sampled_from([5_000, 65_536]))


@pytest.mark.timeout(240)
@given(told=acts(LIVE_SIZES), drawn=st.data())
@hypothesis_settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_all_are_told_what_is_left_live_on_resume_and_in_pages_on_two_processes(
    board: Board,
    door: Door,
    twin: Door,
    person: Invite,
    notes: None,
    told: list[Act],
    drawn: st.DataObject,
) -> None:
    root, doors = entity("root", next(ROOTS)), (door, twin)
    people = [person("bob", url=each.url) for each in doors]
    async with AsyncExitStack() as stack:
        live = [await stack.enter_async_context(bob.socket("demo")) for bob in people]
        hello, _ = [(await wire.next("hello"))["payload"] for wire in live]
        place = 0
        while place < len(told):
            group = told[place : place + drawn.draw(st.integers(1, 4), "together")]
            await tell(drawn.draw(st.sampled_from(doors), "by"), board, root, group, place)
            place += len(group)
        head = hello["seq"] + len(told)
        for wire in live:
            await arrives(wire, head)
            assert [each["seq"] for each in wire.events] == list(range(hello["seq"] + 1, head + 1))
            whole = [(event.name, text(n, size)) for n, (event, _, size) in enumerate(told)]
            pairs = zip(seen(wire.events), whole, shown(told), strict=True)
            assert all(each in (told_whole, left) for each, told_whole, left in pairs)
    for each, bob in zip(doors, people, strict=True):
        since = drawn.draw(st.integers(0, len(told)), "since")
        if drawn.draw(st.booleans(), "from the feed"):
            room = each.desk.hub.rooms[project_channel(board.id)]
            room.begin(room.last)
        query = {"since": hello["seq"] + since, "epoch": hello["epoch"]}
        async with bob.socket("demo", **query) as late:
            if since < len(told):
                await arrives(late, head)
            assert seen(late.events) == shown(told)[since:]
        limit = drawn.draw(st.integers(1, 7), "limit")
        assert seen(await pages(bob, hello["seq"] + since, limit)) == shown(told)[since:]
