"""Changes of cards while others change what they lean on."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board
from tests.locks import waiting
from tests.person import Person
from warmdesk.config import Settings


@pytest.mark.foul
async def test_nobody_is_assigned_who_is_being_removed(
    alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    async with connection.transaction():
        await connection.execute("delete from project_members where user_id = 4")
        assigning = asyncio.create_task(
            alice.put(f"{board.path}/cards/{card['id']}", {"assignee_ids": [3, 4]}, status=422)
        )
        await waiting(connection)
    await assigning
    assert (await alice.get(f"{board.path}/cards/{card['id']}"))["assignees"] == []


@pytest.mark.foul
async def test_who_is_removed_while_a_change_waits_does_not_write(
    alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with connection.transaction():
        await connection.execute("delete from project_members where user_id = 3")
        calls = [
            asyncio.create_task(call)
            for call in (
                alice.put(path, {"title": "T"}, status=404),
                alice.patch(f"{path}/move", {"column_id": board.done}, status=404),
                alice.post(
                    f"{board.path}/columns/{board.backlog}/cards", {"title": "T"}, status=404
                ),
                alice.delete(path, status=404),
                alice.post(f"{board.path}/chat/messages", {"body": "T"}, status=404),
            )
        ]
        await waiting(connection, 5)
    await asyncio.gather(*calls)
    assert await connection.fetchval("select title from cards") == card["title"]


@pytest.mark.foul
async def test_a_card_deleted_while_a_change_waits_is_gone(
    alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with connection.transaction():
        await connection.execute("update cards set deleted_at = now()")
        calls = [
            asyncio.create_task(call)
            for call in (
                alice.put(path, {"title": "T"}, status=404),
                alice.patch(f"{path}/move", {"column_id": board.done}, status=404),
                alice.delete(path, status=404),
            )
        ]
        await waiting(connection, 3)
    await asyncio.gather(*calls)


@pytest.mark.foul
async def test_a_column_deleted_while_a_change_waits_takes_no_card(
    alice: Person, olga: Person, board: Board, connection: Any
) -> None:
    card, lost = await board.card(), await board.card("Lost", board.done)
    await alice.delete(f"{board.path}/cards/{lost['id']}")
    path = f"{board.path}/cards/{card['id']}"
    async with connection.transaction():
        await connection.execute("update columns set deleted_at = now() where id = $1", board.done)
        calls = [
            asyncio.create_task(call)
            for call in (
                alice.put(path, {"column_id": board.done}, status=422),
                alice.patch(f"{path}/move", {"column_id": board.done}, status=422),
                alice.post(f"{board.path}/columns/{board.done}/cards", {"title": "T"}, status=404),
                olga.post(f"{board.path}/cards/{lost['id']}/restore", {}, status=422),
            )
        ]
        await waiting(connection, 4)
    await asyncio.gather(*calls)


@pytest.mark.foul
async def test_a_card_is_not_taken_from_a_column_that_somebody_holds(
    alice: Person, board: Board, connection: Any, settings: Settings
) -> None:
    """While the change waits for the card's column, the card goes to one that another holds."""
    card = await board.card()
    holder = await asyncpg.connect(settings.database_url)
    async with holder.transaction():
        await holder.execute("select 1 from columns where id = $1 for no key update", board.review)
        async with connection.transaction():
            await connection.execute(
                "select 1 from columns where id = $1 for no key update", board.backlog
            )
            moving = asyncio.create_task(
                alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})
            )
            await waiting(connection)
            await connection.execute(
                "update cards set column_id = $1 where id = $2", board.review, card["id"]
            )
        await waiting(connection)
        assert not moving.done()
    assert (await moving)["column_id"] == board.done
    await holder.close()


@pytest.mark.parametrize("name", ["cards_json", "messages_json", "reactions_json"])
async def test_a_shape_of_many_is_one_expression_to_postgresql(connection: Any, name: str) -> None:
    """A call for each row would cost a board three times its time."""
    body: str = await connection.fetchval("select prosrc from pg_proc where proname = $1", name)
    for parameter, value in (("ids_", "array[1, 2]::bigint[]"), ("owner_type_", "'chat_message'")):
        body = body.replace(parameter, value)
    plan = await connection.fetch("explain (verbose) " + body)
    assert "shape(" not in "\n".join(row[0] for row in plan)
