"""Tasks that live as long as the process: an error ends one turn, and a stop ends them all."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import Wait
from warmdesk import tasks as tasks_module
from warmdesk.errors import NotFound, Unavailable, WarmDeskError
from warmdesk.tasks import Shared, Tasks


async def test_a_task_that_raised_is_started_again(
    eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "RESTART_SECONDS", 0.01)
    tasks = Tasks()
    turns = 0

    async def fails() -> None:
        nonlocal turns
        turns += 1
        raise RuntimeError("a bug")

    tasks.start("hub.check", fails)
    await eventually(lambda: turns >= 3)
    assert tasks.trouble() is None
    await tasks.stop()


async def test_a_task_that_does_not_come_back_is_trouble_until_it_does(
    eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "RESTART_SECONDS", 0.01)
    monkeypatch.setattr(tasks_module, "DEAD_SECONDS", 0.2)
    tasks = Tasks()
    broken = True

    async def turns() -> None:
        while True:
            await asyncio.sleep(0.01)
            if broken:
                raise RuntimeError("a bug")
            tasks.recovered("hub.check")

    tasks.start("hub.check", turns)
    await eventually(lambda: tasks.trouble() == "hub.check", limit=2)
    broken = False
    await eventually(lambda: tasks.trouble() is None, limit=2)
    await tasks.stop()


async def test_stopping_ends_also_who_swallows_a_cancellation() -> None:
    tasks = Tasks()
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    tasks.start("presence.turn", stubborn)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await tasks.stop()
    assert swallowed == 2


async def test_all_who_ask_at_once_share_a_look_up_that_began_after_their_question(
    eventually: Wait,
) -> None:
    shared: Shared[int] = Shared()
    truth, begun, let_go = 1, 0, asyncio.Event()

    async def look_up() -> int:
        nonlocal begun
        begun += 1
        seen = truth
        await let_go.wait()
        return seen

    first = asyncio.create_task(shared.ask("it", look_up))
    await eventually(lambda: begun == 1)
    truth = 2
    later = [asyncio.create_task(shared.ask("it", look_up)) for _ in range(50)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == 1
    let_go.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 50
    assert begun == 2
    truth = 3
    assert await shared.ask("it", look_up) == 3


async def test_a_shared_look_up_that_fails_fails_all_who_wait_and_nobody_after() -> None:
    shared: Shared[int] = Shared()

    async def fails() -> int:
        await asyncio.sleep(0)
        raise OSError("away")

    async def works() -> int:
        return 1

    waiting = [asyncio.create_task(shared.ask("it", fails)) for _ in range(3)]
    given_up = asyncio.create_task(shared.ask("it", fails))
    await asyncio.sleep(0)
    given_up.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results)
    assert await shared.ask("it", works) == 1


@pytest.mark.parametrize(("error", "tries"), [(Unavailable, 1), (NotFound, 2)])
async def test_who_waits_behind_a_look_up_that_found_nothing_out_does_not_wait_again(
    error: type[WarmDeskError], tries: int, eventually: Wait
) -> None:
    """A refusal may be none by now; that nobody answers is known."""
    shared: Shared[int] = Shared()
    begun, let_go = 0, asyncio.Event()

    async def look_up() -> int:
        nonlocal begun
        begun += 1
        await let_go.wait()
        raise error

    first = asyncio.create_task(shared.ask("it", look_up))
    await eventually(lambda: begun == 1)
    behind = asyncio.create_task(shared.ask("it", look_up))
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(first, behind, return_exceptions=True)
    assert isinstance(behind.exception(), error)
    assert begun == tries
