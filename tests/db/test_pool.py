"""Connections to PostgreSQL: what a request may spend on them."""

from __future__ import annotations

import asyncio

import pytest

from warmdesk.db.pool import BUDGET, Budget
from warmdesk.desk import Desk


async def test_all_questions_of_a_request_share_its_time(desk: Desk) -> None:
    budget = Budget(left=0.5)
    BUDGET.set(budget)
    await desk.database.fetch("select pg_sleep(0.3)")
    with pytest.raises(TimeoutError):
        await desk.database.fetch("select pg_sleep(0.4)")
    assert budget.left < 0.1


async def test_what_outlives_its_request_has_time_of_its_own(desk: Desk) -> None:
    budget = Budget(left=0.2)
    BUDGET.set(budget)
    outlives = asyncio.create_task(asyncio.sleep(0.05))
    await outlives
    budget.over = True
    await desk.database.fetch("select pg_sleep(0.4)")
    await desk.database.healing.fetch("select pg_sleep(0.4)")
