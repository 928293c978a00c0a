"""The answer under an Idempotency-Key is given again only to who still has the role."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board, Wait
from tests.locks import waiting
from tests.person import Person
from warmdesk.auth.actor import Role
from warmdesk.changes import cards
from warmdesk.changes.chat import Chat
from warmdesk.desk import Desk
from warmdesk.errors import WarmDeskError
from warmdesk.realtime.change import ChangeContext, Outcome
from warmdesk.schemas.cards import CreateCard, MoveCard, UpdateCard

Ask = Callable[[], Awaitable[Outcome]]
CHANGES = ("create", "update", "move", "send")


async def asking(desk: Desk, board: Board, what: str, actor: int) -> Ask:
    """A change under a key, past the door: it knows a member for a moment longer."""
    context = ChangeContext(
        actor,
        key="k",
        path=what,
        body_hash="h",
        project_id=board.id,
        need=Role.MEMBER,
        keyed=True,
    )
    card = str((await board.card())["id"])
    chat = Chat(desk.changes)
    asks: dict[str, Ask] = {
        "create": lambda: cards.create(desk.changes, context, board.backlog, CreateCard(title="T")),
        "update": lambda: cards.update(desk.changes, context, card, UpdateCard(title="T")),
        "move": lambda: cards.move(desk.changes, context, card, MoveCard(column_id=board.done)),
        "send": lambda: chat.send(context, "hello", None),
    }
    return asks[what]


async def refusal(ask: Ask) -> int:
    with pytest.raises(WarmDeskError) as refused:
        await ask()
    return refused.value.status


@pytest.mark.parametrize("what", CHANGES)
async def test_who_was_removed_gets_no_answer_again(
    desk: Desk, alice: Person, olga: Person, board: Board, what: str
) -> None:
    ask = await asking(desk, board, what, alice.id)
    first = await ask()
    again = await ask()
    assert (again.replay, again.text) == (True, first.text)
    await olga.put(f"{board.path}/members/{alice.id}", {"role": "viewer"})
    assert await refusal(ask) == 403
    await olga.delete(f"{board.path}/members/{alice.id}")
    assert await refusal(ask) == 404


@pytest.mark.parametrize("what", CHANGES)
async def test_an_archived_project_still_tells_what_was_done(
    desk: Desk, alice: Person, olga: Person, board: Board, what: str
) -> None:
    """Nobody must think that a change failed whose answer was lost."""
    ask = await asking(desk, board, what, alice.id)
    first = await ask()
    await olga.delete(board.path)
    again = await ask()
    assert (again.replay, again.text) == (True, first.text)


@pytest.mark.parametrize("what", ["create", "send"])
async def test_who_asks_again_holds_nothing_that_a_deletion_waits_for(
    desk: Desk, alice: Person, board: Board, connection: Any, what: str
) -> None:
    """Who deletes what was answered has the feed, or the project, and blanks the answer then."""
    ask = await asking(desk, board, what, alice.id)
    await ask()
    async with connection.transaction():
        await connection.execute("select hold_project($1)", board.id)
        asked = asyncio.ensure_future(ask())
        await waiting(connection)
        await connection.execute("select from idempotency_keys for update nowait")
    assert (await asked).replay


@pytest.mark.parametrize("what", ["create", "send"])
async def test_a_key_that_is_taken_away_while_it_is_asked_for_is_free(
    desk: Desk,
    alice: Person,
    board: Board,
    database_url: str,
    connection: Any,
    eventually: Wait,
    what: str,
) -> None:
    """Its day is over."""
    ask = await asking(desk, board, what, alice.id)
    first = await ask()
    await connection.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    holder = await asyncpg.connect(database_url)
    try:
        await holder.execute("begin; select from idempotency_keys for update")
        asked = asyncio.ensure_future(ask())
        waiting = (
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        await eventually(lambda: connection.fetchval(waiting))
        await holder.execute("delete from idempotency_keys; commit")
    finally:
        await holder.close()
    second = await asked
    assert (second.status, second.replay, second.text != first.text) == (201, False, True)
