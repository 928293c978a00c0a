"""Three years of a team's work on one board, and fifty people who saw all of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.journeys.a_day_of_work import BURST_SECONDS, bursts, items, play, steps
from tests.journeys.conftest import Start
from tests.person import PASSWORD
from warmdesk.auth import passwords


def test_bursts_keep_the_order_and_leave_releases_alone() -> None:
    work = steps()
    played = [step for burst in bursts(work) for step in burst]
    assert played == work
    assert len(work) == 4936
    for burst in bursts(work):
        assert len(burst) == 1 or all(step["kind"] != "release" for step in burst)
        for one, other in itertools.pairwise(burst):
            assert other["at"] - one["at"] <= BURST_SECONDS


def parts_of(work: list[Any]) -> dict[str, int]:
    """What the work leaves on its cards, and in topics."""
    parts = dict.fromkeys(("comments", "items", "links", "topics", "replies"), 0)
    begun = set()
    for step in work:
        if step["kind"] == "release":
            parts["topics"] += 1
            continue
        parts["comments"] += step["piece"] in begun
        parts["items"] += 0 if step["piece"] in begun else items(step)
        parts["links"] += step["kind"] == "backport"
        parts["replies"] += step["kind"] == "bump" and parts["topics"] > 0
        begun.add(step["piece"])
    return parts


async def known(connection: Any, people: set[int]) -> None:
    """Accounts with a cheap hash: hundreds of real ones take minutes where a machine is busy."""
    secret = await passwords.hash_password(PASSWORD)
    await connection.executemany(
        "insert into users (email, username, password_hash, display_name)"
        " values ($1 || '@example.org', $1, $2, $1)",
        [(f"person-{who}", secret) for who in people],
    )


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_everyone_who_watches_sees_what_happened(
    start: Start, connection: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await start(workers=2)
    work = steps()
    await known(connection, {step["who"] for step in work})
    result = await play(
        server.url, work=work, admin=("root", PASSWORD), writers=8, viewers=50, calm=True
    )
    with capsys.disabled():
        print(f"\n{result}")
    assert result.steps == len(work)
    assert result.parts == parts_of(work)
    assert result.deliveries == 50 * result.events
    assert result.connections == 50
    assert result.resets == 0


async def test_a_short_day_has_all_that_a_long_one_has(start: Start, connection: Any) -> None:
    server = await start(workers=2)
    work = steps()
    first = next(number for number, step in enumerate(work) if step["kind"] == "release")
    work = work[first - 60 : first + 100]
    await known(connection, {step["who"] for step in work})
    result = await play(server.url, work=work, admin=("root", PASSWORD), writers=4, viewers=4)
    assert result.parts == parts_of(work)
    assert all(result.parts.values()), result.parts
    assert result.deliveries == 4 * result.events
