"""What happens in the projects of somebody who looks at a list of them (``?projects=1``)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import Board, Wait
from tests.person import Person, Wire
from warmdesk.jobs.activity import Activity


async def activity(wire: Wire, slug: str = "demo", **wanted: Any) -> Any:
    """The next signal of the project with these values."""
    while True:
        told = (await wire.next("project.activity", limit=10))["payload"]
        if told["slug"] == slug and wanted.items() <= told.items():
            return told


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


async def test_not_more_than_once_in_two_seconds(board: Board, alice: Person) -> None:
    async with alice.socket("user", projects=1) as wire:
        await activity(wire)
        moments = []
        for number in range(1, 4):
            await board.card(f"Card {number}")
            await activity(wire)
            moments.append(time.monotonic())
    assert moments[-1] - moments[0] >= 2 * 0.8 * Activity.seconds - 0.5


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


@pytest.mark.parametrize("value", ["2", "maybe"])
async def test_what_is_no_yes_or_no_is_refused(board: Board, alice: Person, value: str) -> None:
    path = f"{alice.client.url}/ws/user?projects={value}"
    async with alice.client.session.get(path) as answer:
        assert answer.status == 400
