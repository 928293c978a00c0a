"""Presence cries over ghosts, over people who are not seen, and over leaves that never were."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.checkers import presence as checker
from tests.checkers.ears import listening
from tests.conftest import Board, Door, Invite, until
from tests.person import Person, Wire
from warmdesk.realtime import presence as presence_module
from warmdesk.realtime.events import PRESENCE_LIST, signal_frame
from warmdesk.realtime.presence import Presence
from warmdesk.realtime.presence_frames import Delta, RoomPresence, WindowFrames
from warmdesk.realtime.room import Room

pytestmark = pytest.mark.settings(presence_leave_delay=0.4)
DELAY = 5.0
ROOT = 1
tell = Presence._tell


@pytest.fixture
def presence() -> checker.Presence:
    """One for which somebody is steady at once."""
    return checker.Presence(steady=0.0)


@asynccontextmanager
async def here(
    presence: checker.Presence, person: Person, name: str = "", /, **params: Any
) -> AsyncIterator[Wire]:
    """Somebody with the project open, who believes what the socket says."""
    view = presence.view(name or person.username, person.id)

    class Truth:
        def frame(self, frame: dict[str, Any]) -> None:
            if frame["type"] == "hello":
                presence.opened(person.id)

        def closed(self, code: int | None) -> None:
            presence.gone(person.id)
            view.restart()

    async with listening(person, Truth(), view, **params) as wire:
        await until(lambda: view.users is not None)
        yield wire


def said(presence: checker.Presence) -> str:
    return "\n".join(presence.broken)


# The product as it is.


async def test_a_whole_run_leaves_nothing_broken(
    alice: Person, bob: Person, olga: Person, person: Invite, twin: Door, board: Board
) -> None:
    presence = checker.Presence()
    far = person("olga", url=twin.url)
    async with (
        here(presence, bob, presence="changed"),
        here(presence, far, "olga far away"),
        here(presence, olga, "olga here"),
    ):
        async with here(presence, alice), here(presence, alice, "another tab"):
            await presence.settles(DELAY)
            assert presence.view("bob").users == {alice.id, bob.id, olga.id}
        await presence.settles(DELAY)
        assert presence.view("bob").users == {bob.id, olga.id}
        async with here(presence, alice):
            await presence.settles(DELAY)
    presence.whole()
    assert len(presence.settled) == 3
    assert (presence.false_leaves, presence.doubled) == (0, 0)


async def test_who_goes_and_comes_in_one_moment_is_told_once_or_not_at_all(
    presence: checker.Presence,
    door: Door,
    alice: Person,
    bob: Person,
    olga: Person,
    board: Board,
) -> None:
    """Its process died, and the socket came back elsewhere just when the leases ran out."""
    presence.excused = True
    room, tells = door.desk.hub.rooms, door.desk.presence
    async with (
        here(presence, bob, presence="changed") as changed,
        here(presence, olga) as singles,
        here(presence, alice),
    ):
        await presence.settles(DELAY)
        people = await tells.people.refs([alice.id, ROOT])
        before = len(changed.frames), len(singles.frames)
        for what in ("leave", "join"):
            tell(tells, room[f"project:{board.id}"], what, alice.id, people[0])
        for what in ("join", "leave"):
            tell(tells, room[f"project:{board.id}"], what, ROOT, people[1])
        await until(lambda: len(singles.frames) == before[1] + 4)
        await changed.settle()
        await presence.settles(DELAY)
        assert [frame["type"] for frame in changed.frames[before[0] :]] == ["pong"]
    presence.whole()


# The product broken.


async def test_a_ghost_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    presence: checker.Presence,
    alice: Person,
    bob: Person,
    board: Board,
) -> None:
    def nobody_leaves(self: Presence, room: Room, what: str, user_id: int, *ref: bytes) -> None:
        if what != "leave":
            tell(self, room, what, user_id, *ref)

    monkeypatch.setattr(Presence, "_tell", nobody_leaves)
    async with here(presence, bob):
        async with here(presence, alice):
            await presence.settles(DELAY)
        await presence.settles(1.5)
    assert f"bob sees ghosts [{alice.id}]" in said(presence)


async def test_somebody_whom_nobody_announces_is_missed(
    monkeypatch: pytest.MonkeyPatch,
    presence: checker.Presence,
    alice: Person,
    bob: Person,
    board: Board,
) -> None:
    async with here(presence, bob):
        await presence.settles(DELAY)
        monkeypatch.setattr(Presence, "_flush", lambda self, room: None)
        async with here(presence, alice):
            await presence.settles(1.0)
    assert f"bob does not see [{alice.id}]" in said(presence)


async def test_a_list_without_oneself_is_found(
    monkeypatch: pytest.MonkeyPatch, presence: checker.Presence, bob: Person, board: Board
) -> None:
    empty = signal_frame(PRESENCE_LIST, b'{"users":[],"count":0,"more":false}')
    monkeypatch.setattr(RoomPresence, "list_frame", lambda self: empty)
    async with here(presence, bob):
        pass
    assert "bob got a list without itself" in said(presence)


async def test_a_leave_of_somebody_who_is_here_is_false(
    presence: checker.Presence, door: Door, alice: Person, bob: Person, board: Board
) -> None:
    room = f"project:{board.id}"
    async with here(presence, bob), here(presence, alice):
        await presence.settles(DELAY)
        tell(door.desk.presence, door.desk.hub.rooms[room], "leave", alice.id)
        await until(lambda: presence.false_leaves)
        heard = presence.false_leaves
        assert f"heard that user {alice.id} left" in said(presence)

        people = await door.desk.people.refs([alice.id])
        tell(door.desk.presence, door.desk.hub.rooms[room], "join", alice.id, *people)
        await until(lambda: not presence.wrong())
        presence.excused = True
        tell(door.desk.presence, door.desk.hub.rooms[room], "leave", alice.id)
        await until(lambda: presence.excused_leaves)
        assert presence.false_leaves == heard


async def test_a_leave_of_somebody_who_has_just_come_back_is_not_false(
    door: Door, alice: Person, bob: Person, board: Board
) -> None:
    presence = checker.Presence()
    async with here(presence, bob), here(presence, alice):
        await presence.settles(DELAY)
        tell(door.desk.presence, door.desk.hub.rooms[f"project:{board.id}"], "leave", alice.id)
        await until(presence.wrong)
        presence.whole()


async def test_joins_and_leaves_told_twice_are_found(
    monkeypatch: pytest.MonkeyPatch,
    presence: checker.Presence,
    alice: Person,
    bob: Person,
    board: Board,
) -> None:
    def twice(self: Presence, room: Room, what: str, user_id: int, *ref: bytes) -> None:
        tell(self, room, what, user_id, *ref)
        room.presence.deltas.append(room.presence.deltas[-1])

    monkeypatch.setattr(Presence, "_tell", twice)
    async with here(presence, bob) as wire:
        async with here(presence, alice):
            await presence.settles(DELAY)
            await until(lambda: presence.doubled == 1)
        await until(lambda: presence.doubled == 2, limit=DELAY)
        assert [frame["type"] for frame in wire.frames[2:]] == [
            "presence.join",
            "presence.join",
            "presence.leave",
            "presence.leave",
        ]
    assert f"bob heard user {alice.id} join again" in said(presence)
    assert f"bob heard user {alice.id} leave, who was not there" in said(presence)


async def test_a_number_that_does_not_fit_the_people_is_found(
    monkeypatch: pytest.MonkeyPatch,
    presence: checker.Presence,
    alice: Person,
    bob: Person,
    board: Board,
) -> None:
    def one_more(deltas: list[Delta], count: int) -> WindowFrames:
        return WindowFrames(deltas, count + 1)

    monkeypatch.setattr(presence_module, "WindowFrames", one_more)
    async with here(presence, bob, presence="changed"), here(presence, alice):
        await until(lambda: presence.count)
    assert "bob was told of 3 people and knows of 2" in said(presence)


async def test_who_never_gets_a_list_is_wrong(
    monkeypatch: pytest.MonkeyPatch, presence: checker.Presence, bob: Person, board: Board
) -> None:
    monkeypatch.setattr(Presence, "welcome", lambda self, *newcomer: b"")
    view = presence.view("bob", bob.id)
    async with listening(bob, view):
        await until(lambda: view.listens)
        assert presence.wrong() == ["bob has no list"]
