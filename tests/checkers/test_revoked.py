"""Whoever lost a right and hears on is found, and who may still write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.checkers import revoked as checker
from tests.checkers.ears import listening
from tests.checkers.revoked import Revoked, Watch
from tests.conftest import Board, until
from tests.person import Person, Wire
from warmdesk.realtime.control import Control
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.room import Room


class Watched:
    """A socket that tells the watch whatever comes, once there is one."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.codes: list[int | None] = []
        self.ready = False

    def frame(self, frame: dict[str, Any]) -> None:
        self.ready = True
        if self.watch is not None:
            self.watch.frame(frame)

    def closed(self, code: int | None) -> None:
        self.codes.append(code)
        if self.watch is not None:
            self.watch.closed(code)


@pytest.fixture
def revoked() -> Revoked:
    return Revoked()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that a test can wait for."""
    monkeypatch.setattr(checker, "WITHIN", 0.3)


@asynccontextmanager
async def watched(person: Person, place: str = "demo") -> AsyncIterator[tuple[Watched, Wire]]:
    ear = Watched()
    async with listening(person, ear, place=place) as wire:
        await until(lambda: ear.ready)
        yield ear, wire


async def remove(olga: Person, board: Board, person: Person, ear: Watched, r: Revoked) -> Watch:
    await olga.delete(f"{board.path}/members/{person.id}")
    ear.watch = r.act("removed", person.id, sockets=0 if ear.codes else 1)
    return ear.watch


async def log_out(person: Person, ear: Watched, revoked: Revoked) -> Watch:
    body = {"refresh_token": person.client.refresh_token}
    await person.post("/auth/logout", body, status=204)
    ear.watch = revoked.act("logout", person.id, sockets=0 if ear.codes else 1)
    return ear.watch


def said(revoked: Revoked) -> str:
    return "\n".join(revoked.broken)


# The product as it is.


async def test_a_whole_run_leaves_nothing_broken(
    root: Person, olga: Person, alice: Person, bob: Person, board: Board, revoked: Revoked
) -> None:
    async with watched(bob) as (ear, _):
        await remove(olga, board, bob, ear, revoked)
        await board.card("not for bob")
        await until(lambda: ear.watch and not ear.watch.open)
    async with watched(bob, "user") as (ear, _):
        await log_out(bob, ear, revoked)
        await until(lambda: ear.watch and not ear.watch.open)
    async with watched(alice) as (ear, _):
        await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})
        demoted = ear.watch = revoked.act("demoted", alice.id)
        body = {"title": "no"}
        await alice.post(f"{board.path}/columns/{board.backlog}/cards", body, status=403)
        await olga.put(board.path, {"description": "alice may read this"})
        await root.put(f"/users/{alice.id}", {"is_active": False})
        ear.watch = revoked.act("deactivated", alice.id, sockets=0 if ear.codes else 1)
        await until(lambda: ear.watch and not ear.watch.open)
    revoked.finish()
    revoked.whole()
    assert demoted.codes == []
    assert len(revoked.seconds) == 3
    assert max(revoked.seconds) < 2.0


# The product broken.


async def test_events_after_the_own_removal_are_found(
    monkeypatch: pytest.MonkeyPatch,
    olga: Person,
    bob: Person,
    board: Board,
    revoked: Revoked,
) -> None:
    monkeypatch.setattr(Hub, "_taken", lambda hub, room, entry: None)
    async with watched(bob) as (ear, wire):
        ear.watch = revoked.act("removed", bob.id)
        await olga.delete(f"{board.path}/members/{bob.id}")
        await board.card("not for bob")
        await until(lambda: wire.events and wire.events[-1]["type"] == "board.card_created")
        await until(lambda: revoked.count)
    assert "board.card_created" in said(revoked)
    assert "came after the removal" in said(revoked)


async def test_a_socket_that_stays_open_is_found(
    monkeypatch: pytest.MonkeyPatch, soon: None, bob: Person, board: Board, revoked: Revoked
) -> None:
    monkeypatch.setattr(Control, "_end", lambda control, *given: None)
    async with watched(bob) as (ear, _):
        watch = await log_out(bob, ear, revoked)
        await until(lambda: time.monotonic() - watch.at > 0.4)
        await board.card("not for bob")
        await until(lambda: revoked.count)
        assert "board.card_created came " in said(revoked)
        watch.finish()
    assert f"user {bob.id}, logout: 1 sockets are still open" in said(revoked)


async def test_a_socket_that_is_closed_too_late_is_found(
    monkeypatch: pytest.MonkeyPatch,
    soon: None,
    olga: Person,
    bob: Person,
    board: Board,
    revoked: Revoked,
) -> None:
    taken = Hub._taken

    def too_late(hub: Hub, room: Room, entry: Entry) -> None:
        if entry.type != "project.member_removed":
            taken(hub, room, entry)

    monkeypatch.setattr(Hub, "_taken", too_late)
    async with watched(bob) as (ear, _):
        watch = await remove(olga, board, bob, ear, revoked)
        await until(lambda: not watch.open)
    assert "a socket was closed with 4403 only " in said(revoked)


async def test_a_write_after_the_right_was_lost_is_found(
    soon: None,
    olga: Person,
    alice: Person,
    board: Board,
    revoked: Revoked,
    connection: Any,
) -> None:
    async def write() -> float:
        sent = time.monotonic()
        await board.card("not any more")
        return sent

    at = time.monotonic()
    watches = [revoked.act(kind, alice.id, at) for kind in ("demoted", "logout")]
    sent = await write()
    for watch in watches:
        watch.accepted(sent)
    assert revoked.count == 1
    assert f"user {alice.id}, demoted: a write was accepted" in said(revoked)
    await until(lambda: time.monotonic() - at > 0.4)
    watches[1].accepted(await write())
    assert f"user {alice.id}, logout: a write was accepted" in said(revoked)
