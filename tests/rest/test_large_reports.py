"""A year of a company: what its reports cost PostgreSQL, and what they leave in memory."""

from __future__ import annotations

import resource
import threading
import time
from datetime import date
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.conftest import Door
from tests.person import Person
from tests.year import a_year
from warmdesk.db.queries import sql

MOST_MS = 300.0
"""Of PostgreSQL, for each statement."""
MOST_BYTES = 16 << 20
"""That a worker may hold beside what it is itself, whatever it is asked for."""


@pytest.fixture
async def company(connection: Any) -> Any:
    await connection.execute(a_year())
    return connection


@pytest.mark.foul
@pytest.mark.long
async def test_a_year_of_a_company_is_few_milliseconds_of_postgresql(company: Any) -> None:
    reader = await sql.reports.reader(company, user_id=1)
    asked: dict[str, Any] = {
        "reader": 1,
        "everybody": reader["everybody"],
        "managed": reader["managed"],
        "project_id": None,
        "people": None,
        "since": date(2026, 1, 1),
        "until": date(2027, 1, 1),
    }
    seen: dict[str, Any] = {"seen": []}
    told = {}
    statements: list[tuple[str, Any, dict[str, Any]]] = [
        ("cards", sql.reports.cards, seen),
        ("users", sql.reports.users, {}),
        *(
            (f"groups by {each}", sql.reports.groups, {**seen, "group_by": each})
            for each in ("project", "user", "card", "day", "week", "month")
        ),
    ]
    for name, query, more in statements:
        best = float("inf")
        for _ in range(3):
            plan = await company.fetchval(
                f"explain (analyze, timing off, format json) {query.statement}",
                *query.values({**asked, **more}),
            )
            best = min(best, float(str(plan).partition('"Execution Time": ')[2].split("\n")[0]))
        told[name] = best
    print(told)
    assert max(told.values()) < MOST_MS * pace.stretch(), told


class Resident(threading.Thread):
    """Watches how many bytes of this process are in memory: `most` is beside those of before."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before, self.most, self.ended = self.now(), 0, threading.Event()

    @staticmethod
    def now() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            self.most = max(self.most, self.now() - self.before)


@pytest.mark.foul
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["json", "csv", "xlsx"])
async def test_a_report_leaves_little_in_memory(
    company: Any, door: Door, root: Person, kind: str
) -> None:
    await root.get("/reports/time?period=day&date=2026-01-01")
    watched = Resident()
    watched.start()
    session = root.client.session
    headers = {"Authorization": f"Bearer {await root.token()}"}
    place = f"{root.url}/api/v1/reports/time?format={kind}&group_by=card"
    began, size = time.monotonic(), 0
    patience = aiohttp.ClientTimeout(total=280)
    async with session.get(place, headers=headers, timeout=patience) as answer:
        assert answer.status == 200
        async for piece in answer.content.iter_chunked(1 << 16):
            size += len(piece)
    watched.ended.set()
    print(kind, size, time.monotonic() - began, watched.most)
    assert size > 1 << 20
    assert watched.most < MOST_BYTES
