"""Shares: nobody has more than his, whoever waits is served in his turn, and nothing stays."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.auth.shares import WAITING, Shares
from warmdesk.errors import TooMany


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_go_at_once_and_the_others_in_their_order() -> None:
    shares, order = Shares(2), list[int]()
    gates = [asyncio.Event() for _ in range(6)]

    async def request(number: int) -> None:
        if not shares.take(1):
            await shares.wait(1)
        order.append(number)
        await gates[number].wait()
        shares.give_back(1)

    tasks = [asyncio.create_task(request(number)) for number in range(6)]
    await turns()
    assert order == [0, 1]
    assert shares.take(2), "somebody else has a share of his own"
    gates[1].set()
    await turns()
    assert order == [0, 1, 2]
    tasks[3].cancel()
    gates[2].set()
    await turns()
    assert order == [0, 1, 2, 4]
    for gate in gates:
        gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    shares.give_back(2)
    assert order == [0, 1, 2, 4, 5]
    assert not shares._at_work
    assert not shares._waiting


async def test_who_waits_too_long_or_behind_too_many_is_refused() -> None:
    shares = Shares(1, name="reads", seconds=0.02)
    assert shares.take(1)
    waits = [asyncio.create_task(shares.wait(1)) for _ in range(WAITING)]
    await turns()
    with pytest.raises(TooMany) as refusal:
        await shares.wait(1)
    assert refusal.value.extra == {"code": "too_many_at_once"}
    assert refusal.value.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"reads";q=1;qu="concurrent-requests"',
        "RateLimit": '"reads";r=0;t=1',
    }
    assert {type(end) for end in await asyncio.gather(*waits, return_exceptions=True)} == {TooMany}
    shares.give_back(1)
    assert not shares._at_work
    assert not shares._waiting


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["ask", "end", "leave"]))))
def test_never_more_than_a_share_and_nothing_is_lost(acts: list[tuple[int, str]]) -> None:
    async def run() -> None:
        shares = Shares(2)
        at_work = dict.fromkeys((1, 2, 3), 0)
        ends = {person: list[asyncio.Event]() for person in at_work}
        tasks: dict[int, list[asyncio.Task[None]]] = {person: [] for person in at_work}

        async def request(person: int) -> None:
            if not shares.take(person):
                await shares.wait(person)
            at_work[person] += 1
            end = asyncio.Event()
            ends[person].append(end)
            try:
                await end.wait()
            finally:
                at_work[person] -= 1
                shares.give_back(person)

        for person, act in acts:
            if act == "ask":
                tasks[person].append(asyncio.create_task(request(person)))
            elif act == "end" and ends[person]:
                ends[person].pop(0).set()
            elif act == "leave" and tasks[person]:
                tasks[person].pop().cancel()
            await turns(3)
            alive = sum(not task.done() for task in tasks[person])
            assert at_work[person] == min(alive, 2)
        for task in [each for some in tasks.values() for each in some]:
            task.cancel()
        await turns()
        assert not shares._at_work
        assert not shares._waiting

    asyncio.run(run())


async def test_without_limits_nothing_is_counted() -> None:
    shares = Shares(1, on=False)
    assert all(shares.take(1) for _ in range(100))
    for _ in range(100):
        shares.give_back(1)
    assert not shares._at_work


async def test_who_stands_aside_leaves_room_and_comes_back_without_waiting() -> None:
    shares = Shares(1)
    assert shares.take(7)
    with shares.aside(7):
        assert shares.take(7)
        assert not shares.take(7)
    behind = asyncio.create_task(shares.wait(7))
    await turns()
    shares.give_back(7)
    await turns()
    assert not behind.done(), "there is one more at work than may be"
    shares.give_back(7)
    await behind
    shares.give_back(7)
    assert shares.take(7)
    assert not shares.take(7)
