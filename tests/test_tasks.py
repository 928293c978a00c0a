"""Tasks that live as long as the process: an error ends one turn, and a stop ends them all."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import weakref
from contextvars import ContextVar
from itertools import pairwise

import pytest

from tests import pace
from tests.conftest import Wait
from warmdesk import tasks as tasks_module
from warmdesk.errors import NotFound, Unavailable, WarmDeskError
from warmdesk.tasks import (
    BEAT_SECONDS,
    EARLY_SECONDS,
    Background,
    Batcher,
    SingleFlight,
    Tasks,
    seconds_to_tick,
)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 30.0])
def test_who_turns_every_so_often_wakes_with_all_others(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither later than without a beat nor more often, though a timer comes a little early."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    beat = now + seconds_to_tick(BEAT_SECONDS)
    for number in range(1000):
        now = 1000.0 + number * 0.00731
        pause = seconds_to_tick(seconds)
        assert seconds - BEAT_SECONDS < pause <= seconds + EARLY_SECONDS
        beats = (now + pause - beat) / BEAT_SECONDS
        assert beats == pytest.approx(round(beats), abs=1e-6)
    for early in (0.0, 0.0005, 0.001):
        now = beat - early
        assert seconds_to_tick(seconds) == pytest.approx(seconds + early)
    now = beat + 0.1
    assert seconds_to_tick(seconds) == pytest.approx(seconds - 0.1)


def test_less_than_a_beat_is_slept_as_it_is() -> None:
    assert seconds_to_tick(0.01) == 0.01


def test_the_processes_of_a_machine_have_their_beats_at_different_moments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    moments = []
    for pid in range(4000, 4008):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        moments.append(seconds_to_tick(BEAT_SECONDS) % BEAT_SECONDS)
    ordered = sorted(moments)
    gaps = [after - before for before, after in pairwise([*ordered, ordered[0] + BEAT_SECONDS])]
    assert min(gaps) > BEAT_SECONDS / len(gaps) / 4


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


async def test_what_nobody_waits_for_is_kept_until_it_ended() -> None:
    background = Background("test")
    waiting: list[weakref.ref[asyncio.Future[None]]] = []
    done: list[int] = []

    async def work() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        await future
        done.append(1)

    background.start(work())
    await asyncio.sleep(0)
    gc.collect()
    future = waiting[0]()
    assert future is not None, "the task was collected, with what it waits for"
    assert len(background) == 1
    future.set_result(None)
    await asyncio.sleep(0.01)
    assert (done, len(background)) == ([1], 0)


async def test_what_nobody_waits_for_does_not_fail_unseen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[BaseException] = []
    logged, told = Background("one"), Background("other", failed=failures.append)

    async def fails() -> None:
        raise RuntimeError("a bug")

    for background in (logged, told):
        background.start(fails())
    await asyncio.sleep(0.01)
    assert (len(logged), len(told)) == (0, 0)
    assert "background.failed of=one" in caplog.text
    assert "other" not in caplog.text
    assert [str(error) for error in failures] == ["a bug"]


async def test_what_nobody_waits_for_ends_with_its_part() -> None:
    background = Background("test")
    ended: list[str] = []

    async def forever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    tasks = [background.start(forever(name)) for name in ("one", "two")]
    await asyncio.sleep(0)
    await background.stop()
    assert sorted(ended) == ["one", "two"]
    assert all(task.cancelled() for task in tasks)
    assert not background


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
    async with asyncio.timeout(5 * pace.stretch()):
        await tasks.stop()
    assert swallowed == 2


async def test_all_who_ask_at_once_share_a_look_up_that_began_after_their_question(
    eventually: Wait,
) -> None:
    shared: SingleFlight[int] = SingleFlight()
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
    shared: SingleFlight[int] = SingleFlight()

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
    shared: SingleFlight[int] = SingleFlight()
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


async def test_two_look_ups_of_one_thing_never_run_at_once() -> None:
    """Whoever hears the answer first asks again before the next look-up has begun."""
    shared: SingleFlight[None] = SingleFlight()
    running = most = 0

    async def look_up() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    async def asks() -> None:
        for _ in range(5):
            await shared.ask("it", look_up)

    first = asyncio.create_task(asks())
    await asyncio.sleep(0)
    await asyncio.gather(first, asks(), asks())
    assert most == 1


class Asked:
    """A look-up of many keys that ends when it is let go: what it was asked for, how it ends."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.truth = 1
        self.error: type[Exception] | None = None
        self.let_go = asyncio.Event()
        self.together: Batcher[int, int] = Batcher()

    async def look_up(self, keys: list[int]) -> dict[int, int]:
        """Of even keys nothing is known."""
        self.groups.append(keys)
        seen, error = self.truth, self.error
        await self.let_go.wait()
        if error is not None:
            raise error
        return {key: key * seen for key in keys if key % 2}

    def ask(self, key: int) -> asyncio.Task[int | None]:
        return asyncio.create_task(self.together.ask(key, self.look_up))


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def turns() -> None:
    """Whatever can go on by itself has done so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_while_a_look_up_is_under_way_goes_together_in_the_next(
    asked: Asked,
) -> None:
    first = asked.ask(1)
    await turns()
    assert asked.groups == [[1]]
    asked.truth = 10
    later = [asked.ask(key) for key in (*range(1, 20), *range(1, 20))]
    await turns()
    assert asked.groups == [[1]]

    asked.let_go.set()

    assert await first == 1
    answers = [10 * key if key % 2 else None for key in range(1, 20)]
    assert await asyncio.gather(*later) == answers * 2
    assert asked.groups == [[1], list(range(1, 20))]
    asked.truth = 100
    assert await asked.ask(1) == 100


async def test_one_look_up_is_for_so_many_and_no_more(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "GROUP", 3)
    asked.let_go.set()
    assert await asyncio.gather(*map(asked.ask, range(7))) == [None, 1, None, 3, None, 5, None]
    assert asked.groups == [[0, 1, 2], [3, 4, 5], [6]]


async def test_who_gives_up_does_not_end_it_for_those_who_asked_with_him(asked: Asked) -> None:
    first, other = asked.ask(1), asked.ask(3)
    await turns()
    same, behind, alone = asked.ask(5), asked.ask(5), asked.ask(7)
    await turns()
    for task in (first, same, alone):
        task.cancel()
    await turns()
    assert all(task.cancelled() for task in (first, same, alone))

    asked.let_go.set()

    assert (await other, await behind) == (3, 5)


@pytest.mark.parametrize(
    ("error", "groups"),
    [(OSError, [[1]]), (Unavailable, [[1]]), (NotFound, [[1], [3, 5]])],
)
async def test_who_waits_for_the_next_look_up_hears_that_nobody_answers_the_first(
    asked: Asked, error: type[Exception], groups: list[list[int]]
) -> None:
    """A refusal is no answer to other questions; that nobody answers is one to all."""
    asked.error = error
    first = asked.ask(1)
    await turns()
    behind = [asked.ask(3), asked.ask(5)]
    given_up = asked.ask(5)
    await turns()
    given_up.cancel()

    asked.let_go.set()

    for task in (first, *behind):
        with pytest.raises(error):
            await task
    assert asked.groups == groups
    asked.error = None
    assert await asked.ask(3) == 3


async def test_a_look_up_for_many_knows_nothing_of_the_one_who_asked_first() -> None:
    own: ContextVar[str] = ContextVar("own", default="nobody's")
    together: Batcher[int, str] = Batcher()

    async def look_up(keys: list[int]) -> dict[int, str]:
        return dict.fromkeys(keys, own.get())

    own.set("mine")
    assert await together.ask(1, look_up) == "nobody's"


async def test_nobody_waits_for_a_look_up_that_was_ended(asked: Asked) -> None:
    first = asked.ask(1)
    await turns()
    behind = asked.ask(3)
    await turns()
    carrier = asked.together._batches
    assert carrier is not None
    carrier.cancel()
    await turns()
    assert first.cancelled()
    assert behind.cancelled()
    asked.let_go.set()
    assert await asked.ask(3) == 3
