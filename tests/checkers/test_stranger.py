"""The stranger cries when a door opens, a word slips out, or the own socket tells of a project."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests import pace
from tests.checkers.stranger import Stranger
from tests.conftest import Board, Door, until
from tests.person import Person
from warmdesk.auth.access import Access
from warmdesk.auth.actor import Actor, EnteredProject, Role
from warmdesk.errors import NotFound
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.events import PROJECT_JOINED

enter = Access.enter_project


@pytest.fixture
async def stranger(eve: Person, board: Board) -> Stranger:
    """Eve, and a project in which something secret is going on."""
    await eve.token()
    made = Stranger(eve.client, [board.slug])
    card = await board.card("the secret plan")
    message = await board.maker.post(f"{board.path}/chat/messages", {"body": "psst"})
    made.known_ids = {
        "card_id": {card["id"]},
        "column_id": {board.backlog},
        "message_id": {message["id"]},
    }
    made.secrets = {"the secret plan", "psst"}
    return made


async def once_around(stranger: Stranger) -> None:
    """Every door once."""
    stop = asyncio.Event()
    running = asyncio.create_task(stranger.run(stop))
    await until(lambda: stranger.rounds, limit=20)
    stop.set()
    await asyncio.wait_for(running, 5 * pace.stretch())


def said(stranger: Stranger) -> str:
    return "\n".join(stranger.broken)


async def test_to_a_stranger_all_is_closed(stranger: Stranger, board: Board) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(stranger.run(stop))
    while stranger.rounds < 2:
        await board.card("the secret plan")
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(running, 5 * pace.stretch())
    stranger.whole()
    assert stranger.tried[404] > 2 * 15
    assert not stranger.tried[101]


async def test_a_stranger_who_is_let_in_says_so(
    monkeypatch: pytest.MonkeyPatch, stranger: Stranger
) -> None:
    async def welcome(
        self: Access, connection: Any, actor: Actor, slug: str, need: Role
    ) -> EnteredProject:
        return EnteredProject(1, slug, False, "DEMO", Role.VIEWER)

    monkeypatch.setattr(Access, "enter_project", welcome)
    monkeypatch.setattr("tests.checkers.stranger.LISTEN_SECONDS", 0.2)
    await once_around(stranger)
    for words in (
        "GET /projects/demo gave 200",
        "GET /projects/demo/events?since=0 gave 200",
        "told of 'the secret plan'",
        "a socket on demo was let in {'since': '0'",
    ):
        assert words in said(stranger)
    assert stranger.tried[101] == 3


async def test_a_refusal_that_tells_a_secret_is_found(
    monkeypatch: pytest.MonkeyPatch, stranger: Stranger
) -> None:
    async def chatty(self: Access, *given: Any) -> EnteredProject:
        try:
            return await enter(self, *given)
        except NotFound:
            raise NotFound("you may not see the secret plan") from None

    monkeypatch.setattr(Access, "enter_project", chatty)
    await once_around(stranger)
    assert "GET /projects/demo (404) told of 'the secret plan'" in said(stranger)


async def test_an_event_of_a_project_on_the_own_socket_is_found(
    stranger: Stranger, door: Door, eve: Person
) -> None:
    async def tell(change: Change) -> None:
        change.emit(f"user:{eve.id}", PROJECT_JOINED, '{"slug":"demo"}')

    stop = asyncio.Event()
    running = asyncio.create_task(stranger.run(stop))
    await until(lambda: eve.id in door.desk.hub.roster.people)
    await door.desk.changes.run(ChangeContext(actor_id=1), tell)
    await until(lambda: stranger.count)
    stop.set()
    await asyncio.wait_for(running, 10 * pace.stretch())
    assert "the own socket heard" in said(stranger)
