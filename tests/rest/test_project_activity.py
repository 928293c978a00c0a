"""What happens in the projects of somebody who looks at a list of them (``?projects=1``)."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board, Wait
from tests.person import Person, Wire
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable
from warmdesk.jobs import activity as jobs
from warmdesk.jobs.activity import Activity


async def activity(wire: Wire, slug: str = "demo", **wanted: Any) -> Any:
    """The next signal of the project with these values."""
    while True:
        told = (await wire.next("project.activity", limit=10))["payload"]
        if told["slug"] == slug and wanted.items() <= told.items():
            return told


@pytest.fixture
def teller(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Activity:
    """Tells when the test says so, and not by itself."""
    made = Activity(desk)
    turn = made.turn
    monkeypatch.setattr(Activity, "turn", nothing)
    made.turn = turn  # type: ignore[method-assign]
    return made


async def nothing(self: Activity) -> int:
    return 0


async def test_it_tells_what_is_there_and_then_what_happens(
    board: Board, alice: Person, olga: Person
) -> None:
    await board.card()
    async with alice.socket("user", projects=1) as wire:
        first = await activity(wire)
        here = first.pop("here")
        assert here["count"] == len(here["users"]) <= 1  # what follows the board for this test
        assert first == {
            "slug": "demo",
            "unread_count": 0,
            "mention_count": 0,
            "open_card_count": 1,
        }
        await olga.post(f"{board.path}/chat/messages", {"body": "@alice look"})
        await activity(wire, unread_count=1, mention_count=1)
        await board.card("Another")
        await activity(wire, open_card_count=2)


async def test_it_tells_who_is_there(board: Board, alice: Person, olga: Person) -> None:
    async with alice.socket("user", projects=1) as wire:
        await activity(wire)
        (olga_ref,) = await alice.get(f"/users/refs?ids={olga.id}")
        async with olga.socket("demo"):
            while (here := (await activity(wire))["here"])["users"][:1] != [olga_ref]:
                pass
            assert here["count"] == len(here["users"])


async def test_not_more_than_once_in_two_seconds(
    board: Board, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[tuple[float, float, int]] = []
    turn = Activity.turn

    async def watched(self: Activity) -> int:
        began = time.monotonic()
        number = await turn(self)
        turns.append((began, time.monotonic(), number))
        return number

    # As it is told and not as it arrives: a frame that came late would make the next one early.
    monkeypatch.setattr(Activity, "turn", watched)
    async with alice.socket("user", projects=1) as wire:
        await activity(wire)
        for number in range(1, 4):
            await board.card(f"Card {number}")
            await activity(wire, open_card_count=number)
    assert sum(number for _, _, number in turns) >= 3
    assert all(number <= 1 for _, _, number in turns)
    for (_, ended, _), (began, _, _) in pairwise(turns):
        assert began - ended >= 1.99  # timers count in milliseconds


async def test_others_and_sockets_of_projects_are_not_told(
    board: Board, alice: Person, eve: Person
) -> None:
    async with (
        eve.socket("user", projects=1) as stranger,
        alice.socket("user") as plain,
        alice.socket("demo", projects=1) as inside,
        alice.socket("user", projects=1) as wire,
    ):
        await activity(wire)
        await board.card()
        await activity(wire, open_card_count=1)
        for each in (stranger, plain, inside):
            await each.settle()
            assert not each.waiting("project.activity")


async def test_who_leaves_a_project_is_told_no_more(
    board: Board, alice: Person, olga: Person, eventually: Wait
) -> None:
    async with alice.socket("user", projects=1) as wire:
        await activity(wire)
        other = await alice.post("/projects", {"name": "Other"})
        await olga.delete(f"{board.path}/members/{alice.id}")
        async with alice.socket("user", projects=1) as second:
            await activity(second, other["slug"])
            await second.settle()
            assert {each["payload"]["slug"] for each in second.waiting("project.activity")} <= {
                other["slug"]
            }


async def test_what_could_not_be_told_is_told_by_the_next_turn(
    board: Board, alice: Person, teller: Activity, connection: Any
) -> None:
    async with alice.socket("user", projects=1) as wire:
        assert await teller.turn() == 1
        await board.card()
        async with connection.transaction():
            await connection.execute("lock table project_readers in access exclusive mode")
            with pytest.raises((asyncpg.PostgresError, Unavailable)):
                await teller.turn()
        assert await teller.turn() == 1
        await activity(wire, open_card_count=1)
        assert await teller.turn() == 0


async def test_who_has_just_come_is_told_of_what_could_not_be_told(
    board: Board, alice: Person, teller: Activity, connection: Any
) -> None:
    async with alice.socket("user", projects=1) as wire:
        async with connection.transaction():
            await connection.execute("lock table project_readers in access exclusive mode")
            with pytest.raises((asyncpg.PostgresError, Unavailable)):
                await teller.turn()
        assert await teller.turn() == 1
        await activity(wire)


async def test_a_new_member_is_told_of_a_project_in_which_nothing_happens(
    board: Board,
    alice: Person,
    olga: Person,
    teller: Activity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    async with (
        alice.socket("user", projects=1) as wire,
        olga.socket("user", projects=1) as founder,
    ):
        assert await teller.turn() == 3
        await olga.post(f"/projects/{other['slug']}/members", {"user_id": alice.id})
        assert await teller.turn() == 0
        monkeypatch.setattr(jobs, "MEMBERSHIPS_SECONDS", 0)
        assert await teller.turn() == 1
        await activity(wire, other["slug"])
        await activity(founder, other["slug"])

        await olga.delete(f"/projects/{other['slug']}/members/{alice.id}")
        assert await teller.turn() == 0
        assert set(teller.told) == {
            (user_id, project_id)
            for user_id, projects in teller.of_user.items()
            for project_id in projects
        }


@pytest.mark.parametrize("value", ["2", "maybe"])
async def test_what_is_no_yes_or_no_is_refused(board: Board, alice: Person, value: str) -> None:
    path = f"{alice.client.url}/ws/user?projects={value}"
    async with alice.client.session.get(path) as answer:
        assert answer.status == 400
