"""What was healed though nothing broke is found, and a little lateness is not."""

from __future__ import annotations

import asyncio

import pytest

from tests import pace
from tests.checkers.mirror import mirror
from tests.checkers.quiet import Quiet, figures
from tests.conftest import Board, until
from tests.person import Person
from tests.realtime.story import tell
from tests.realtime.test_hub import Post, post  # noqa: F401
from warmdesk.desk import Desk
from warmdesk.realtime import hub
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.frames import Close
from warmdesk.realtime.room import Room


async def connected(desk: Desk, person: Person) -> None:
    await until(lambda: any(c.room is not None for c in desk.hub.roster.of_user(person.id)))


async def metrics(root: Person) -> str:
    return str((await root.request("GET", "/metrics")).body)


async def test_a_run_in_which_all_goes_well_is_quiet(
    board: Board, desk: Desk, root: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        pass

    monkeypatch.setattr(desk.hub, "check", never)
    monkeypatch.setattr(hub, "HOLD_SECONDS", 10.0)
    quiet = Quiet(late=0)
    quiet.begins(await metrics(root))
    async with mirror(bob, quiet=True):
        await connected(desk, bob)
        for number in range(20):
            await board.card(f"card {number}")
    quiet.ends(await metrics(root), events=20)
    quiet.whole()
    assert quiet.repairs == 0


async def test_a_message_that_was_lost_is_found_though_everybody_has_it(
    board: Board,
    desk: Desk,
    root: Person,
    bob: Person,
    post: Post,  # noqa: F811
) -> None:
    quiet = Quiet(late=100)
    quiet.begins(await metrics(root))
    async with mirror(bob) as followed:
        await connected(desk, bob)
        await tell(desk, project_channel(board.id), 3)
        post.deliver(2)
        await until(lambda: followed.events == 3)
    quiet.ends(await metrics(root), events=3)
    assert quiet.repairs == 1
    with pytest.raises(AssertionError, match="1 reads for 3 events"):
        quiet.whole()


async def test_an_event_that_was_failed_over_is_found_though_everybody_has_it(
    board: Board, desk: Desk, root: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, fails = Room._take, 1

    def failing(room: Room, event: Entry) -> None:
        nonlocal fails
        if event.type == "project.unarchived" and fails:
            fails -= 1
            raise RuntimeError("a bug")
        take(room, event)

    monkeypatch.setattr(Room, "_take", failing)
    quiet = Quiet(late=1000)
    quiet.begins(await metrics(root))

    async def follow() -> None:
        async with mirror(bob) as followed:
            await connected(desk, bob)
            await tell(desk, project_channel(board.id), 3)
            await until(lambda: followed.events == 3)

    with pytest.raises(AssertionError, match="1 events were failed over"):
        await follow()
    quiet.ends(await metrics(root), events=3)
    with pytest.raises(AssertionError, match="an event was failed over, 1 times"):
        quiet.whole()


async def test_a_viewer_that_had_to_come_back_is_found(
    board: Board, desk: Desk, bob: Person
) -> None:
    async def follow() -> None:
        async with mirror(bob, quiet=True) as followed:
            await board.card("one")
            await connected(desk, bob)
            desk.hub.roster.close_all(Close.RESTART, "a test")
            await until(lambda: followed.socket.connections == 2, limit=15)
            await board.card("another")

    with pytest.raises(AssertionError, match="it had to come back"):
        await asyncio.wait_for(follow(), 20 * pace.stretch())


def test_figures_are_sums_over_labels() -> None:
    text = (
        'warmdesk_feed_repairs_total{cause="gap"} 2\nwarmdesk_feed_repairs_total{cause="slow"} 3\n'
        'warmdesk_feed_repairs_total{cause="check"} 1\nwarmdesk_delivery_gap_total 4\nother 5\n'
    )
    assert figures(text) == {"warmdesk_feed_repairs_total": 3, "warmdesk_delivery_gap_total": 4}
