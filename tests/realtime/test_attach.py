"""Sockets that open and resume while events are made: each gets what came after, without a hole, a
double or a swap, wherever the opening waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.conftest import Board, Door
from tests.person import Person, Wire
from tests.realtime.story import seqs, tell
from warmdesk.realtime import feed, hub, room
from warmdesk.realtime.channels import project_channel

WRITES = 120
SOCKETS = 24


def unsteady(work: Callable[..., Awaitable[Any]], dice: random.Random) -> Any:
    """The same, with a pause before and after that nobody can foresee."""

    async def slow(*args: Any, **kwargs: Any) -> Any:
        await pause(dice)
        result = await work(*args, **kwargs)
        await pause(dice)
        return result

    return slow


async def pause(dice: random.Random) -> None:
    await asyncio.sleep(dice.choice([0, 0, 0.001, 0.003, 0.01, 0.03]))


def make_unsteady(doors: list[Door], dice: random.Random, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(feed, "heads", unsteady(feed.heads, dice))
    patch.setattr(feed, "after", unsteady(feed.after, dice))
    for door in doors:
        desk = door.desk
        patch.setattr(desk.bus, "subscribe", unsteady(desk.bus.subscribe, dice))
        patch.setattr(desk.presence, "come", unsteady(desk.presence.come, dice))
        patch.setattr(desk.access, "enter_project", unsteady(desk.access.enter_project, dice))


async def write(doors: list[Door], channel: str, dice: random.Random) -> None:
    for _ in range(WRITES):
        await tell(dice.choice(doors).desk, channel, dice.choice([1, 1, 1, 2, 7]))
        await pause(dice)


async def follow(
    person: Person, dice: random.Random, head: Callable[[], int], done: asyncio.Event
) -> tuple[int, list[int]]:
    """Open one socket at some moment, from some seq; gives where it began and what it got."""
    await asyncio.sleep(dice.random() * 1.2)
    since = dice.choice([None, 0, head(), max(0, head() - dice.randint(0, 60))])
    params = {} if since is None else {"since": since}
    while True:
        try:
            async with person.socket("demo", **params) as wire:
                hello = await wire.next()
                assert hello["type"] == "hello"
                assert (await wire.next())["type"] == "presence.list"
                await done.wait()
                begin = hello["payload"]["seq"] if since is None else since
                await until_head(wire, begin, head())
                return begin, seqs(wire.frames)
        except aiohttp.WSServerHandshakeError as refused:
            if refused.status != 503:
                raise


async def until_head(wire: Wire, begin: int, head: int) -> None:
    """Until the last event is there; who began at the head gets none."""
    if begin == head:
        await wire.settle()
        return
    async with asyncio.timeout(10 * pace.stretch()):
        while not wire.events or wire.events[-1]["seq"] < head:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_opens_while_events_are_made_gets_each_after_its_own_seq_once(
    seed: int,
    board: Board,
    door: Door,
    twin: Door,
    person: Callable[..., Person],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(room, "TAIL_EVENTS", dice.choice([5, 40, 1000]))
    monkeypatch.setattr(hub, "KEEP_EMPTY_SECONDS", dice.choice([0.0, 0.5, 5.0]))
    doors = [door, twin]
    channel = project_channel(board.id)
    make_unsteady(doors, dice, monkeypatch)
    people = [person(name, url=each.url) for name in ("alice", "bob", "olga") for each in doors]
    for someone in people:
        await someone.token()
    done = asyncio.Event()
    heads = [0]

    async def watch() -> None:
        while not done.is_set():
            heads[0] = await current_head(door, channel)
            await asyncio.sleep(0.01)

    async def writer() -> None:
        await write(doors, channel, dice)
        heads[0] = await current_head(door, channel)
        done.set()

    heads[0] = await current_head(door, channel)
    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        group.create_task(writer())
        followers = [
            group.create_task(follow(dice.choice(people), dice, lambda: heads[0], done))
            for _ in range(SOCKETS)
        ]
    for follower in followers:
        since, got = follower.result()
        assert got == list(range(since + 1, heads[0] + 1))


async def current_head(door: Door, channel: str) -> int:
    row = await door.desk.database.fetchrow("select seq from feeds where channel = $1", channel)
    return int(row[0]) if row else 0


async def test_a_room_that_just_closes_opens_again_for_who_comes(
    board: Board, door: Door, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "KEEP_EMPTY_SECONDS", 0.0)
    channel = project_channel(board.id)
    for _ in range(10):
        async with alice.socket("demo") as wire:
            hello = await wire.next("hello")
            # The sweeper comes by at any moment; let it come now.
            door.desk.hub._visit(asyncio.get_running_loop().time() + 10)
            await tell(door.desk, channel)
            assert (await wire.next("project.unarchived"))["seq"] == hello["payload"]["seq"] + 1
        door.desk.hub._visit(asyncio.get_running_loop().time() + 10)


async def test_an_event_that_is_told_while_a_room_opens_is_not_late(
    board: Board, door: Door, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed after the head was read, and heard before the answer came."""
    channel = project_channel(board.id)
    await alice.token()
    heads = feed.heads
    told = 0

    async def slow(connection: Any, channels: Any) -> Any:
        nonlocal told
        found = await heads(connection, channels)
        if list(channels) == [channel] and not told:
            told = found[1][channel].seq + 1
            await tell(door.desk, channel)
            await asyncio.sleep(0.1)
        return found

    async def never() -> None:
        pass

    monkeypatch.setattr(feed, "heads", slow)
    monkeypatch.setattr(door.desk.hub, "check", never)
    async with alice.socket("demo") as wire:
        hello = await wire.next("hello")
        assert told
        assert hello["payload"]["seq"] == told or (await wire.next("project.unarchived"))
