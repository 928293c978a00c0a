"""Passwords: compared whole, bounded in number, never as cheap for strangers."""

from __future__ import annotations

import asyncio
import functools
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.auth import passwords
from warmdesk.auth.passwords import Queue, Turn
from warmdesk.db.pool import BUDGET, Budget
from warmdesk.errors import TooMany


async def test_a_password_fits_its_hash_and_no_other() -> None:
    kept = await passwords.hash_password("correct horse battery")

    assert kept.startswith("$2b$")
    assert await passwords.check_password("correct horse battery", kept)
    assert not await passwords.check_password("correct horse batterY", kept)


async def test_passwords_are_compared_beyond_the_72_bytes_that_bcrypt_reads() -> None:
    kept = await passwords.hash_password("a" * 72 + "b")

    assert await passwords.check_password("a" * 72 + "b", kept)
    assert not await passwords.check_password("a" * 72 + "c", kept)
    assert not await passwords.check_password("a" * 72, kept)


async def test_a_nul_does_not_end_a_password() -> None:
    kept = await passwords.hash_password("eight\0chars")

    assert not await passwords.check_password("eight\0other", kept)


async def test_128_characters_of_any_script_are_a_password() -> None:
    kept = await passwords.hash_password("密" * 128)

    assert await passwords.check_password("密" * 128, kept)
    assert not await passwords.check_password("密" * 127, kept)


async def test_a_hash_that_is_none_fits_nothing() -> None:
    assert not await passwords.check_password("correct horse battery", "nonsense")
    assert not await passwords.check_password("correct horse battery", "")
    assert not await passwords.check_password("correct horse battery", None)


async def test_a_hash_of_another_cost_is_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await passwords.hash_password("correct horse battery")
    assert not passwords.is_outdated(kept)

    monkeypatch.setattr(passwords, "COST", 5)

    assert passwords.is_outdated(kept)


async def test_nobody_costs_as_much_as_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "COST", 8)
    kept = await passwords.hash_password("correct horse battery")
    known: list[float] = []
    unknown: list[float] = []

    for _ in range(30):
        for against, times in ((kept, known), (None, unknown)):
            # The work, not the wait: other processes want the machine, too.
            began = time.process_time()
            await passwords.check_password("wrong horse battery", against)
            times.append(time.process_time() - began)

    assert statistics.median(unknown) / statistics.median(known) == pytest.approx(1, abs=0.1)


async def test_what_waits_is_bounded_and_the_loop_stays_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "COST", 9)
    laps: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            laps.append(time.perf_counter() - began)

    tries, gate = 3 * passwords.WAITING, threading.Event()
    monkeypatch.setattr(passwords, "PATIENCE", 60.0)
    threads = passwords._threads(passwords.THREADS, "passwords")
    held = [threads.submit(gate.wait) for _ in range(passwords.THREADS)]
    tasks = [
        asyncio.create_task(passwords.hash_password("correct horse battery")) for _ in range(tries)
    ]
    await asyncio.sleep(0)  # all have come before one is done
    watching = asyncio.create_task(watch())
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    watching.cancel()
    assert all(each.result(5) for each in held)

    refused = [r for r in results if isinstance(r, TooMany)]
    assert len(refused) == tries - passwords.WAITING
    assert all(int(r.headers["Retry-After"]) >= 1 for r in refused)
    policies = {r.headers["RateLimit-Policy"] for r in refused}
    assert policies == {f'"sign_ins";q={passwords.WAITING};qu="concurrent-requests"'}
    assert len([r for r in results if isinstance(r, str)]) == passwords.WAITING
    assert statistics.median(laps) < 0.05
    assert await passwords.hash_password("there is room again")


async def test_who_gives_up_leaves_the_place_free() -> None:
    waiting = [
        asyncio.create_task(passwords.hash_password("correct horse battery"))
        for _ in range(passwords.WAITING)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert await passwords.hash_password("there is room again")


async def test_who_waits_too_long_is_refused_and_who_had_his_turn_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Some turns last longer than anybody is ready to wait for one.
    monkeypatch.setattr(passwords, "COST", 12)
    monkeypatch.setattr(passwords, "PATIENCE", 0.05)
    began = time.perf_counter()
    results = await asyncio.gather(
        *(passwords.hash_password("correct horse battery") for _ in range(10)),
        return_exceptions=True,
    )

    refused = [r for r in results if isinstance(r, TooMany)]
    made = [r for r in results if isinstance(r, str)]
    assert len(refused) + len(made) == 10
    assert passwords.THREADS <= len(made) <= 5
    assert all(int(r.headers["Retry-After"]) >= 1 for r in refused)
    assert time.perf_counter() - began < 5
    monkeypatch.setattr(passwords, "PATIENCE", 10.0)
    assert await passwords.hash_password("there is room again")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads a priority each")
def test_the_threads_give_way_and_the_loop_does_not() -> None:
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with ThreadPoolExecutor(1, initializer=passwords._give_way) as pool:
        theirs = pool.submit(
            lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        ).result()

    assert theirs >= passwords.NICENESS
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


def test_the_cost_of_a_release_is_twelve() -> None:
    made = bcrypt.hashpw(b"x", bcrypt.gensalt(12))

    assert made.startswith(b"$2b$12$")
    assert "COST = 12\n" in Path(passwords.__file__).read_text()


async def test_a_hash_takes_from_the_time_of_its_request() -> None:
    budget = Budget(4.5)
    BUDGET.set(budget)
    began = time.monotonic()

    await passwords.hash_password("correct horse")

    took = time.monotonic() - began
    assert 4.5 - took <= budget.left < 4.5


async def test_a_slow_hash_leaves_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "COST", 14)
    budget = Budget(1.1)
    BUDGET.set(budget)

    await passwords.hash_password("correct horse")

    assert budget.left == 1.0


async def test_a_hash_leaves_what_is_less_than_that() -> None:
    budget = Budget(0.4)
    BUDGET.set(budget)

    await passwords.hash_password("correct horse")

    assert budget.left == 0.4


# Whose turn it is

SENDERS = st.tuples(st.sampled_from("abc"), st.sampled_from("12"))


def drained(queue: Queue) -> list[Any]:
    """What waits, by its turns."""
    found = []
    while (following := queue.take()) is not None:
        found.append(following.work())
        following.future.set_result(None)
    return found


@given(senders=st.lists(SENDERS, max_size=60))
def test_turns_go_round_networks_and_addresses(senders: list[tuple[str, str]]) -> None:
    queue, kept, refused = Queue(), [], 0
    for number, (network, address) in enumerate(senders):
        turn = Turn(f"{network}{address}", network)
        try:
            queue.put(functools.partial(tuple, (network, address, number)), turn)
        except TooMany:
            refused += 1
            continue
        kept.append((network, address, number))

    taken = drained(queue)

    assert sorted(taken) == sorted(kept)
    assert len(kept) + refused == len(senders)
    for place in {told[:2] for told in kept}:
        of_place = [told for told in kept if told[:2] == place]
        assert len(of_place) <= passwords.WAITING_OF_ADDRESS
        assert [told for told in taken if told[:2] == place] == of_place
    for waiting, (network, *_) in enumerate(taken):
        # Between two turns of a network each other one that waits has one.
        later = [told[0] for told in taken[waiting + 1 :]]
        if network in later:
            between = later[: later.index(network)]
            assert len(set(between)) == len(between)
            assert set(later[later.index(network) :]) - {network} <= set(between)


@given(senders=st.lists(SENDERS, max_size=20), taken=st.integers(min_value=0, max_value=20))
def test_a_newcomer_waits_for_none_that_had_a_turn(
    senders: list[tuple[str, str]], taken: int
) -> None:
    queue = Queue()
    for network, address in senders:
        with suppress(TooMany):
            queue.put(functools.partial(str, network), Turn(f"{network}{address}", network))
    had: set[str] = set()
    for _ in range(taken):
        if (found := queue.take()) is not None:
            had.add(found.work())
            found.future.set_result(None)
    queue.put(functools.partial(str, "newcomer"), Turn("newcomer", "newcomer"))

    told = drained(queue)
    before = told[: told.index("newcomer")]
    assert not had & set(before)
    assert len(set(before)) == len(before)


def test_newcomers_without_end_keep_nobody_out() -> None:
    queue = Queue()
    for _ in range(3):
        queue.put(functools.partial(str, "early"), Turn("early", "early"))
    told = []
    for n in range(50):
        queue.put(functools.partial(str, "late"), Turn(f"{n}", f"{n}"))
        if (found := queue.take()) is not None:
            told.append(found.work())
            found.future.set_result(None)

    turns = [place for place, of in enumerate(told) if of == "early"]
    assert turns[0] == 0
    assert len(turns) == 3
    assert {later - sooner for sooner, later in pairwise(turns)} == {passwords.NEWCOMERS_TURNS + 1}
    assert len(drained(queue)) == 3
    assert queue._taken == 0
    assert not queue._newcomers
    assert not queue._others


def test_who_sends_one_after_another_is_a_newcomer_once() -> None:
    queue = Queue()

    def put(network: str) -> None:
        queue.put(functools.partial(str, network), Turn(network, network))

    for _ in range(passwords.WAITING_OF_ADDRESS):
        put("office")
    put("one")
    put("other")
    told: list[str] = []
    while told.count("office") < passwords.WAITING_OF_ADDRESS:
        found = queue.take()
        assert found is not None
        told.append(found.work())
        if told[-1] != "office":
            put(told[-1])
        found.future.set_result(None)

    turns = [place for place, of in enumerate(told) if of == "office"]
    assert {later - sooner for sooner, later in pairwise(turns)} == {3}


def test_an_address_and_a_network_have_few_places() -> None:
    queue = Queue()
    for _ in range(passwords.WAITING_OF_ADDRESS):
        queue.put(int, Turn("a1", "a"))
    with pytest.raises(TooMany):
        queue.put(int, Turn("a1", "a"))
    for _ in range(passwords.WAITING_OF_NETWORK - passwords.WAITING_OF_ADDRESS):
        queue.put(int, Turn("a2", "a"))
    with pytest.raises(TooMany):
        queue.put(int, Turn("a3", "a"))
    queue.put(int, Turn("b1", "b"))
    assert queue.take() is not None
    queue.put(int, Turn("a1", "a"))


def test_when_all_places_are_taken_the_longest_part_yields() -> None:
    queue = Queue()
    each = passwords.WAITING_OF_ADDRESS
    flood = [queue.put(int, Turn(f"{n // each}", f"{n // each}")) for n in range(passwords.WAITING)]
    late = [queue.put(int, Turn(f"x{n}", f"x{n}")) for n in range(each)]
    yielded = [future for future in flood if future.done()]

    assert len(yielded) == each
    assert all(isinstance(future.exception(), TooMany) for future in yielded)
    assert not any(future.done() for future in late)
    assert len(drained(queue)) == passwords.WAITING


def test_when_everybody_has_one_place_nobody_yields() -> None:
    queue = Queue()
    for n in range(passwords.WAITING):
        queue.put(int, Turn(f"{n}", f"{n}"))
    with pytest.raises(TooMany):
        queue.put(int, Turn("late", "late"))


def test_who_gives_up_leaves_the_queue_at_once() -> None:
    queue = Queue()
    waiting = [queue.put(int, Turn("a", "a")) for _ in range(passwords.WAITING_OF_ADDRESS)]
    assert waiting[1].cancel()
    queue.put(int, Turn("a", "a"))
    assert len(drained(queue)) == passwords.WAITING_OF_ADDRESS
    assert queue._taken == 0


async def test_who_is_known_waits_for_no_stranger() -> None:
    gate = threading.Event()
    strangers = [
        asyncio.create_task(passwords._apart(gate.wait, Turn(f"{n}", f"{n}"))) for n in range(30)
    ]
    await asyncio.sleep(0)
    try:
        for _ in range(2):
            await passwords.hash_password("correct horse", Turn("home", "home", known=True))
        assert not any(task.done() for task in strangers)
    finally:
        gate.set()
        await asyncio.gather(*strangers)
