"""A wait that only must not last for ever has its limit, and what the machine takes is not its."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests import pace


async def test_a_wait_ends_at_its_limit() -> None:
    with pytest.raises(TimeoutError):
        async with pace.timeout(0.05):
            await asyncio.Event().wait()


async def test_time_in_which_the_machine_stood_still_does_not_count() -> None:
    async with pace.timeout(0.4):
        await asyncio.sleep(0.05)
        time.sleep(0.6)  # noqa: ASYNC251 - this is what stands still
        await asyncio.sleep(0.1)


async def test_who_is_cancelled_meanwhile_is_cancelled() -> None:
    async def wait() -> None:
        async with pace.timeout(60):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
