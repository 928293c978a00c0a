"""`sync`: whatever a client asks for, `ack` comes when nothing after its `since` is missing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, Door, Invite
from tests.person import Person, Wire
from tests.realtime.story import seqs, tell
from warmdesk.desk import Desk
from warmdesk.realtime import feed, resume, room
from warmdesk.realtime.channels import project_channel

EVENTS = 450
"""More than two pages of a feed."""
ASKED = 12


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], asyncio.Event]]:
    """Rooms remember little, and from the call on what is missed waits for the event it gives."""
    after, go = feed.after, asyncio.Event()

    async def slow(pool: Any, channel: str, since: int, **options: Any) -> Any:
        if "limit" not in options:  # what only asks whether there is a way back is answered
            await go.wait()
        return await after(pool, channel, since, **options)

    def hold() -> asyncio.Event:
        monkeypatch.setattr(feed, "after", slow)
        return go

    monkeypatch.setattr(room, "TAIL_EVENTS", 3)
    monkeypatch.setattr(resume, "TAIL_EVENTS", 3)
    yield hold
    go.set()


def carried_on(frames: list[dict[str, Any]], since: int) -> int:
    """Where a client is after these frames that had all up to `since`, and keeps the rule."""
    at = since
    for frame in frames:
        if frame.get("seq") == at + 1:
            at += 1
    return at


async def answered(wire: Wire, name: str) -> int:
    """The place among the frames of the answer with this id."""
    async with asyncio.timeout(20 * pace.stretch()):
        while True:
            for place, frame in enumerate(wire.frames):
                if frame.get("id") == name:
                    assert (frame["type"], frame["payload"]) == ("ack", {"id": name})
                    return place
            await asyncio.sleep(0.01)


async def ask(
    wire: Wire, dice: random.Random, hello: dict[str, Any], desk: Desk, *, at_once: bool
) -> None:
    """Ask for what came after any seq of any epoch, one after the other or all at once."""
    asked: list[tuple[str, int, int, bool, int]] = []
    for number in range(ASKED):
        head = desk.hub.rooms[f"project:{hello['project']['id']}"].last
        since = dice.choice([0, 1, head, head - 1, dice.randint(0, head), head + 9999])
        epoch = dice.choice([None, hello["epoch"], hello["epoch"], "other"])
        resets = since > head or epoch == "other"
        payload = {"since": since} | ({} if epoch is None else {"epoch": epoch})
        asked.append((f"s{number}", since, len(wire.frames), resets, head))
        await wire.send("sync", payload, id=f"s{number}")
        if not at_once:
            await answered(wire, f"s{number}")
    for name, since, begin, resets, head in asked:
        end = await answered(wire, name)
        between = wire.frames[begin:end]
        was_reset = [frame for frame in between if frame["type"] == "sync.reset"]
        assert was_reset or not resets
        if not was_reset:
            assert carried_on(between, since) >= head
    acks = [frame["id"] for frame in wire.frames if frame["type"] == "ack"]
    assert sorted(acks) == sorted(name for name, *_ in asked), "each is answered once"


@pytest.mark.parametrize("at_once", [False, True], ids=["in_turn", "at_once"])
@pytest.mark.parametrize("seed", range(3))
async def test_the_ack_of_a_sync_comes_when_nothing_after_its_since_is_missing(
    seed: int,
    at_once: bool,
    board: Board,
    door: Door,
    twin: Door,
    alice: Person,
    person: Invite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of the memory of a process and out of the feed, on two servers, while more happens."""
    dice = random.Random(seed)
    tail = (3, 100, 1000)[seed]
    monkeypatch.setattr(room, "TAIL_EVENTS", tail)
    monkeypatch.setattr(resume, "TAIL_EVENTS", tail)
    channel, far = project_channel(board.id), person("alice", url=twin.url)
    async with alice.socket("demo") as here, far.socket("demo") as there:
        hellos = [(await wire.next("hello"))["payload"] for wire in (here, there)]
        for _ in range(EVENTS // 50):
            await tell(door.desk, channel, 50)
        over = asyncio.Event()

        async def goes_on() -> None:
            while not over.is_set():
                await tell(dice.choice([door, twin]).desk, channel, dice.choice([1, 3]))
                await asyncio.sleep(0.02)

        busy = asyncio.create_task(goes_on())
        try:
            await asyncio.gather(
                ask(here, dice, hellos[0], door.desk, at_once=at_once),
                ask(there, dice, hellos[1], twin.desk, at_once=at_once),
            )
        finally:
            over.set()
            await busy
        assert not door.desk.resume._asked
        await tell(door.desk, channel)
        head = (await alice.get("/projects/demo/events?limit=1"))["seq"]
        for wire in (here, there):
            async with asyncio.timeout(5 * pace.stretch()):
                while seqs(wire.frames)[-1] < head:
                    await wire.next()


async def test_a_sync_that_cannot_be_answered_is_refused_and_not_acknowledged(
    board: Board, desk: Desk, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed has what the process cannot read: nobody throws away what he has."""
    channel = project_channel(board.id)
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]

        async def ahead(*given: Any) -> Any:
            return hello["epoch"], {channel: feed.Ends(hello["seq"] + 5, 1)}

        with monkeypatch.context() as patch:
            patch.setattr(feed, "heads", ahead)
            await wire.send("sync", {"since": hello["seq"] + 5}, id="a")
            error = await wire.next("error")
            assert (error["id"], error["payload"]["code"]) == ("a", "unavailable")
        await wire.settle()
        assert not [each for each in wire.frames if each["type"] in ("ack", "sync.reset")]
        await wire.send("sync", {"since": hello["seq"]})
        assert (await wire.next("ack"))["payload"] == {"id": None}


async def test_a_client_that_asks_again_further_on_gets_all_that_it_asked_for_first(
    board: Board, desk: Desk, alice: Person, held: Callable[[], asyncio.Event]
) -> None:
    """The second question comes while the first is still being answered."""
    channel = project_channel(board.id)
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]
        await tell(desk, channel, 20)
        while len(wire.events) < 20:
            await wire.next()
        go = held()
        for name, since in (("a", hello["seq"]), ("b", hello["seq"] + 10), ("c", hello["seq"] + 4)):
            await wire.send("sync", {"since": since}, id=name)
        await wire.settle()
        assert len(wire.events) == 20
        go.set()
        for name in "abc":
            assert (await wire.next("ack"))["id"] == name
        assert seqs(wire.frames)[20:] == list(range(hello["seq"] + 1, hello["seq"] + 21))


async def test_who_goes_before_the_answer_leaves_nothing_behind(
    board: Board, desk: Desk, alice: Person, held: Callable[[], asyncio.Event]
) -> None:
    channel = project_channel(board.id)
    async with alice.socket("demo") as wire:
        hello = (await wire.next("hello"))["payload"]
        await tell(desk, channel, 20)
        while len(wire.events) < 20:
            await wire.next()
        held()
        await wire.send("sync", {"since": hello["seq"]}, id="a")
        await wire.settle()
        assert len(desk.resume._asked) == 1
    async with asyncio.timeout(5 * pace.stretch()):
        while desk.resume._asked:
            await asyncio.sleep(0.01)
