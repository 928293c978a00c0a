"""Reminders over real servers: a stopped one tells what it missed when it is there again, and of
several workers one tells it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import until
from tests.journeys.conftest import Start, Visit, furnished
from tests.person import Person

LOOK_SECONDS = 30.0
"""A worker looks at least so often whether it is its turn."""


def where_it_is(hour: int) -> tuple[str, date]:
    """A time zone in which the clock shows this hour now, and the date there."""
    now = datetime.now(UTC)
    ahead = hour - now.hour
    ahead += 24 if ahead < -12 else 0
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT", (now + timedelta(hours=ahead)).date()


async def look(connection: Any) -> None:
    """Until some worker looked once more."""
    await connection.execute("delete from turns")
    await until(lambda: connection.fetchval("select at from turns"), limit=LOOK_SECONDS)


async def told(person: Person) -> list[Any]:
    items = (await person.get("/notifications"))["items"]
    return [each["body"] for each in items if each["kind"] == "due"]


@pytest.mark.long
async def test_what_a_killed_server_missed_is_told_once(
    start: Start, visit: Visit, connection: Any
) -> None:
    server = await start()
    board = await furnished(server, visit)
    bob = visit(server, "bob")
    night, _ = where_it_is(3)
    noon, today = where_it_is(12)
    await bob.put("/users/me", {"timezone": night})
    await board.card(due_date=str(today), assignee_ids=[bob.id])
    await look(connection)
    assert await told(bob) == []
    await server.kill()
    await connection.execute("update users set timezone = $1 where id = $2", noon, bob.id)
    await connection.execute("delete from turns")
    await server.start()
    other = await start()
    theirs = visit(other, "bob")
    await until(lambda: told(theirs), limit=LOOK_SECONDS)
    await look(connection)
    await look(connection)
    assert await told(theirs) == [str(today)]
    assert await connection.fetchval("select count(*) from reminders") == 1
