"""Changes of cards while others change what they lean on."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.conftest import Board, undescribed
from tests.locks import waiting
from tests.person import Person
from warmdesk.changes import cards
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.realtime.change import Change, ChangeContext


@pytest.mark.foul
async def test_nobody_is_assigned_who_is_being_removed(
    alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    async with connection.transaction():
        await connection.execute("select lock_members($1, 2, 4)", board.id)
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


WHILE_IT_WAITED = {
    "account closed": (401, "update users set is_active = false where id = 3"),
    "account deleted": (401, "update users set deleted_at = now() where id = 3"),
    "service account": (403, "update users set global_role = 'metrics' where id = 3"),
    "global viewer": (403, "update users set global_role = 'viewer' where id = 3"),
    "project viewer": (403, "update project_members set role = 'viewer' where user_id = 3"),
    "project archived": (422, "update projects set is_archived = true"),
}


@pytest.mark.foul
@pytest.mark.parametrize("what", WHILE_IT_WAITED)
async def test_who_may_write_no_more_when_the_wait_is_over_does_not(
    alice: Person, board: Board, connection: Any, what: str
) -> None:
    """Whoever holds the membership may change the other rows too: they are read after the wait."""
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    status, statement = WHILE_IT_WAITED[what]
    async with connection.transaction():
        await connection.execute("select 1 from project_members where user_id = 3 for update")
        calls = [
            asyncio.create_task(call)
            for call in (
                alice.put(path, {"title": "T"}, status=status),
                alice.patch(f"{path}/move", {"column_id": board.done}, status=status),
                alice.post(
                    f"{board.path}/columns/{board.backlog}/cards", {"title": "T"}, status=status
                ),
                alice.post(f"{board.path}/chat/messages", {"body": "T"}, status=status),
            )
        ]
        await waiting(connection, 4)
        await connection.execute(statement)
    await asyncio.gather(*calls)
    assert await connection.fetchval("select title from cards") == card["title"]


ROWS = {
    "membership": "project_members where user_id = 3 and project_id = {project}",
    "account": "users where id = 1",
    "counter": "projects where id = {project}",
    "column": "columns where id = {column}",
    "card": "cards where id = {card}",
    "feed": "feeds where channel = 'project:{project}'",
}
LOCKED = {
    "chat": ["feed"],
    "create": ["column", "counter", "feed"],
    "update": ["card", "feed"],
    "move": ["column", "card", "feed"],
}


@pytest.mark.parametrize("change", LOCKED)
@pytest.mark.parametrize("first", ["membership", "account"])
async def test_hot_changes_lock_in_the_order_that_all_changes_keep(
    alice: Person,
    root: Person,
    board: Board,
    connection: Any,
    settings: Settings,
    first: str,
    change: str,
) -> None:
    """Each is held in turn: what comes before it is locked by then, and nothing after it. All enter
    the project; of a member the membership is locked, of a global admin the account.
    """
    who = alice if first == "membership" else root
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"

    async def make(turn: int, column: int) -> None:
        if change == "chat":
            await who.post(f"{board.path}/chat/messages", {"body": "T"}, status=201)
        elif change == "create":
            await who.post(f"{board.path}/columns/{column}/cards", {"title": "T"}, status=201)
        elif change == "update":
            await who.put(path, {"title": f"T{turn}"})
        else:
            await who.patch(f"{path}/move", {"column_id": column})

    onlooker = await asyncpg.connect(settings.database_url)
    order = ["project", first, *LOCKED[change]]

    async def is_free(name: str, row: str) -> bool:
        if name == "project":
            free = await onlooker.fetchval("select pg_try_advisory_xact_lock(1, $1)", board.id)
            return bool(free)
        return bool(await onlooker.fetch(f"select 1 from {row} for update skip locked"))

    for turn, held in enumerate(order):
        column = (board.done, board.review)[turn % 2]
        rows = {
            name: ROWS[name].format(project=board.id, column=column, card=card["id"])
            for name in order
            if name != "project"
        }
        async with connection.transaction():
            if held == "project":
                await connection.execute("select hold_project($1)", board.id)
            else:
                await connection.execute(f"select 1 from {rows[held]} for update")
            making = asyncio.create_task(make(turn, column))
            await waiting(connection)
            locked = [
                name
                for name in order
                if name != held and not await is_free(name, rows.get(name, ""))
            ]
            assert locked == order[:turn], held
        await making
    await onlooker.close()


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


async def test_a_change_in_python_tells_that_a_card_was_updated(
    desk: Desk, alice: Person, bob: Person, board: Board
) -> None:
    """What hangs on a card changes its counters: told, with the card as it is at that seq."""
    card = await board.card(assignee_ids=[bob.id])
    other = await board.card()

    async def work(change: Change) -> None:
        held = await sql.cards.lock(change.connection, project_id=board.id, card=str(card["id"]))
        await change.connection.execute(
            "update cards set comment_count = 1, checklist_total = 2 where id = $1", held["id"]
        )
        cards.updated(change, board.id, held["id"], "comment_count", "checklist_total")
        cards.updated(change, board.id, other["id"], "comment_count")
        # Told before the card is shown, though it comes after the card was written.
        await bob.put("/users/me", {"display_name": "Bobby"})

    async with alice.socket() as socket:
        await desk.changes.run(ChangeContext(actor_id=alice.id, client_id="tab-1"), work)
        renamed = await socket.next("project.member_updated")
        told = await socket.next("board.card_updated")
        second = await socket.next("board.card_updated")

    assert (told["seq"], second["seq"]) == (renamed["seq"] + 1, renamed["seq"] + 2)
    assert (told["actor_id"], told["client_id"]) == (alice.id, "tab-1")
    shown = await alice.get(f"{board.path}/columns/{board.backlog}/cards")
    changes = ["comment_count", "checklist_total"]
    assert told["payload"] == undescribed(shown[0]) | {"changes": changes}
    assert second["payload"] == undescribed(shown[1]) | {"changes": changes[:1]}
    assert (shown[0]["comment_count"], shown[0]["checklist_total"]) == (1, 2)
    assert shown[0]["assignees"][0]["display_name"] == "Bobby"
    assert (shown[0]["version"], shown[0]["updated_at"]) == (card["version"], card["updated_at"])


async def test_a_card_has_no_such_key_to_tell_of(board: Board) -> None:
    change = Change(None, ChangeContext(actor_id=3))
    for changes in (("comments",), ("title", "watching"), ()):
        with pytest.raises(TypeError, match="a card does not show"):
            cards.updated(change, board.id, 1, *changes)
    assert (change.emitted, change.shapes) == ([], [])


@pytest.mark.foul
async def test_what_was_told_of_a_card_is_blanked_with_it(
    desk: Desk, alice: Person, board: Board, connection: Any
) -> None:
    card = await board.card("secret")

    async def work(change: Change) -> None:
        cards.updated(change, board.id, card["id"], "comment_count")

    await desk.changes.run(ChangeContext(actor_id=alice.id), work)
    await alice.delete(f"{board.path}/cards/{card['id']}")
    told = await connection.fetch("select payload from events where payload like '%secret%'")
    assert told == []
