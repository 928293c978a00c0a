"""The ledger cries when an acknowledged write is lost, done twice or overwritten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.checkers.ledger import KINDS, Ledger
from tests.conftest import Board
from tests.person import Person
from warmdesk.db.pool import Database
from warmdesk.errors import Forbidden
from warmdesk.realtime.change import Change, Changes, Outcome
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import Event


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def card(ledger: Ledger, board: Board, title: str) -> int:
    """Make a card and note what came of it; gives its id."""
    ledger.asked("card", title)
    made = await board.card(title)
    ledger.done("card", title, made["id"])
    return int(made["id"])


async def message(ledger: Ledger, board: Board, body: str) -> int:
    ledger.asked("message", body)
    made = await board.maker.post(f"{board.path}/chat/messages", {"body": body})
    ledger.done("message", body, made["id"])
    return int(made["id"])


async def rename(ledger: Ledger, board: Board, id: int, title: str) -> None:
    ledger.pending(id, "title", title)
    await board.maker.put(f"{board.path}/cards/{id}", {"title": title})
    ledger.last(id, "title", title)


def said(ledger: Ledger) -> str:
    return "\n".join(ledger.broken)


# The product as it is.


async def test_a_whole_run_leaves_nothing_broken(
    board: Board, alice: Person, bob: Person, connection: Any, ledger: Ledger
) -> None:
    one, two = [await card(ledger, board, f"card {number}") for number in (1, 2)]
    await card(ledger, board, "card 3")
    await rename(ledger, board, one, "card 1, renamed")
    ledger.deleting(two)
    await alice.delete(f"{board.path}/cards/{two}")
    ledger.deleted(two)

    hello, bye = [await message(ledger, board, body) for body in ("hello", "good bye")]
    ledger.pending(hello, "body", "hello, edited")
    await alice.put(f"{board.path}/chat/messages/{hello}", {"body": "hello, edited"})
    ledger.last(hello, "body", "hello, edited")
    ledger.deleting(bye, "message")
    await alice.delete(f"{board.path}/chat/messages/{bye}")
    ledger.deleted(bye, "message")

    ledger.asked("card", "not by a viewer")
    path = f"{board.path}/columns/{board.backlog}/cards"
    await bob.post(path, {"title": "not by a viewer"}, status=403)
    ledger.refused("card", "not by a viewer")

    await ledger.compare(connection)
    ledger.whole()
    assert (ledger.acknowledged, ledger.lost, ledger.doubled) == (9, 0, 0)


async def test_what_was_never_answered_may_have_happened_or_not(
    board: Board, connection: Any, ledger: Ledger
) -> None:
    for title in ("it happened", "it did not"):
        ledger.asked("card", title)
    await board.card("it happened")
    one = await card(ledger, board, "first")
    two = await card(ledger, board, "second")
    for id in (one, two):
        ledger.pending(id, "title", f"{id} renamed")
        ledger.deleting(id)
    await board.maker.put(f"{board.path}/cards/{one}", {"title": f"{one} renamed"})
    await board.maker.delete(f"{board.path}/cards/{two}")
    await ledger.compare(connection)
    ledger.whole()


async def test_a_card_that_came_back_is_there(
    board: Board, olga: Person, connection: Any, ledger: Ledger
) -> None:
    id = await card(ledger, board, "to and fro")
    await board.maker.delete(f"{board.path}/cards/{id}")
    ledger.deleted(id)
    await olga.post(f"{board.path}/cards/{id}/restore", status=200)
    ledger.restored(id)
    await ledger.compare(connection)
    ledger.whole()


# The product broken.

Once = Callable[[Any], Awaitable[Any]]


async def test_a_write_rolled_back_after_its_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch, board: Board, connection: Any, ledger: Ledger
) -> None:
    async def rolled_back(
        database: Database, statement: str, values: Sequence[Any], seconds: float
    ) -> Any:
        async with database.connection(seconds) as one:
            transaction = one.transaction()
            await transaction.start()
            row = await one.fetchrow(statement, *values)
            await transaction.rollback()
            return {**row, "messages": []} if "messages" in row else row

    await card(ledger, board, "kept")
    monkeypatch.setattr(Database, "ask", rolled_back)
    await card(ledger, board, "lost")
    await message(ledger, board, "lost, too")
    await ledger.compare(connection)
    assert (ledger.lost, ledger.doubled) == (2, 0)
    assert "card 'lost' was acknowledged" in said(ledger)
    assert "message 'lost, too' was acknowledged" in said(ledger)


async def test_a_write_done_twice_is_doubled(
    monkeypatch: pytest.MonkeyPatch, board: Board, connection: Any, ledger: Ledger
) -> None:
    run = Changes._try

    async def twice(changes: Changes, once: Once, **options: Any) -> Any:
        await run(changes, once, **options)
        return await run(changes, once, **options)

    await card(ledger, board, "once")
    monkeypatch.setattr(Changes, "_try", twice)
    await card(ledger, board, "twice")
    ledger.asked("message", "never answered")
    await board.maker.post(f"{board.path}/chat/messages", {"body": "never answered"})
    await ledger.compare(connection)
    assert (ledger.lost, ledger.doubled) == (0, 2)
    assert "card 'twice' is there 2 times" in said(ledger)
    assert "message 'never answered' is there 2 times" in said(ledger)


async def test_a_write_done_although_it_was_refused_is_found(
    monkeypatch: pytest.MonkeyPatch, board: Board, connection: Any, ledger: Ledger
) -> None:
    hot = Changes.hot

    async def refused(changes: Changes, *given: Any, **params: Any) -> Outcome:
        await hot(changes, *given, **params)
        raise Forbidden()

    monkeypatch.setattr(Changes, "hot", refused)
    ledger.asked("card", "refused")
    path = f"{board.path}/columns/{board.backlog}/cards"
    await board.maker.post(path, {"title": "refused"}, status=403)
    ledger.refused("card", "refused")
    await ledger.compare(connection)
    assert "card 'refused' was refused and is there" in said(ledger)


async def test_an_update_that_was_lost_is_found(
    board: Board, connection: Any, ledger: Ledger
) -> None:
    id = await card(ledger, board, "as made")
    await rename(ledger, board, id, "as renamed")
    await connection.execute("update cards set title = 'as made' where id = $1", id)
    await ledger.compare(connection)
    assert ledger.lost == 1
    assert f"title of card {id} is 'as made', acknowledged was 'as renamed'" in said(ledger)


async def test_a_deletion_that_was_lost_is_found(
    board: Board, connection: Any, ledger: Ledger
) -> None:
    id = await card(ledger, board, "still here")
    await board.maker.delete(f"{board.path}/cards/{id}")
    ledger.deleted(id)
    await connection.execute("update cards set deleted_at = null where id = $1", id)
    await ledger.compare(connection)
    assert ledger.lost == 1
    assert f"card {id} was deleted and is there" in said(ledger)


async def test_a_text_that_the_feed_tells_after_its_deletion_is_found(
    monkeypatch: pytest.MonkeyPatch, board: Board, connection: Any, ledger: Ledger
) -> None:
    emit = Change.emit

    def of_another(change: Change, channel: str, event: Event, payload: str, **of: Any) -> None:
        emit(change, channel, event, payload, entity=entity("message", 0))

    monkeypatch.setattr(Change, "emit", of_another)
    id = await message(ledger, board, "a secret")
    await board.maker.delete(f"{board.path}/chat/messages/{id}")
    ledger.deleted(id, "message")
    await ledger.compare(connection)
    assert f"message {id} was deleted, and the feed tells of it still" in said(ledger)


@pytest.mark.foul
async def test_a_change_whose_event_was_lost_is_found(
    board: Board, connection: Any, ledger: Ledger
) -> None:
    id = await card(ledger, board, "untold")
    await connection.execute("delete from events where entity = $1", f"card:{id}")
    await ledger.compare(connection)
    assert ledger.lost == 1
    assert f"card {id} is there, and the feed never told of it" in said(ledger)


@pytest.mark.foul
async def test_a_change_told_twice_is_doubled(
    board: Board, connection: Any, ledger: Ledger
) -> None:
    id = await card(ledger, board, "told twice")
    await connection.execute(
        "insert into events select channel, seq + 1, type, payload, actor_id, client_id, entity,"
        " created_at from events where entity = $1",
        f"card:{id}",
    )
    await ledger.compare(connection)
    assert ledger.doubled == 1
    assert f"card {id} was told of 2 times" in said(ledger)


# What hangs on cards, topics and conversations.


async def everything(ledger: Ledger, board: Board, bob: Person) -> dict[str, int]:
    """One of each kind, and its id."""
    alice = board.maker
    made = {"card": await card(ledger, board, "card")}
    topic = {"title": "topic"}
    made["topic"] = await one(ledger, board, "topic", "topic", f"{board.path}/topics", topic)
    two = await alice.post("/conversations", {"user_ids": [bob.id]})
    of_card = f"{board.path}/cards/{made['card']}"
    for kind, name, path, field in (
        ("comment", "comment", f"{of_card}/comments", "body"),
        ("item", "item", f"{of_card}/checklist", "body"),
        ("link", "https://example.org/link", f"{of_card}/links", "url"),
        ("reply", "reply", f"{board.path}/topics/{made['topic']}/replies", "body"),
        ("dm", "dm", f"/conversations/{two['id']}/messages", "body"),
        ("message", "message", f"{board.path}/chat/messages", "body"),
    ):
        made[kind] = await one(ledger, board, kind, name, path, {field: name})
    assert set(made) == set(KINDS)
    return made


async def one(
    ledger: Ledger, board: Board, kind: str, name: str, path: str, body: dict[str, str]
) -> int:
    ledger.asked(kind, name)
    made = await board.maker.post(path, body)
    ledger.done(kind, name, made["id"])
    return int(made["id"])


async def test_everything_is_there_once_also_when_its_card_or_topic_is_deleted(
    board: Board, bob: Person, connection: Any, ledger: Ledger
) -> None:
    made = await everything(ledger, board, bob)
    item = f"{board.path}/cards/{made['card']}/checklist/{made['item']}"
    ledger.pending(made["item"], "is_completed", True, "item")
    await board.maker.put(item, {"is_completed": True})
    ledger.last(made["item"], "is_completed", True, "item")
    await ledger.compare(connection)
    ledger.whole()
    ledger.deleting(made["item"], "item")
    await board.maker.delete(item)
    ledger.deleted(made["item"], "item")
    for kind in ("topic", "card"):
        ledger.deleting(made[kind], kind)
        await board.maker.delete(f"{board.path}/{kind}s/{made[kind]}")
        ledger.deleted(made[kind], kind)
    await ledger.compare(connection)
    ledger.whole()
    assert ledger.may_be_gone(made["card"])


@pytest.mark.foul
@pytest.mark.parametrize("kind", KINDS)
async def test_of_everything_what_is_lost_is_found(
    kind: str, board: Board, bob: Person, connection: Any, ledger: Ledger
) -> None:
    made = await everything(ledger, board, bob)
    await connection.execute("delete from events where type = $1", KINDS[kind].event)
    await ledger.compare(connection)
    assert said(ledger) == f"{kind} {made[kind]} is there, and the feed never told of it"


@pytest.mark.foul
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"card", "topic"}))
async def test_of_everything_what_is_not_there_is_found(
    kind: str, board: Board, bob: Person, connection: Any, ledger: Ledger
) -> None:
    made = await everything(ledger, board, bob)
    table = KINDS[kind].table
    await connection.execute("delete from notifications")
    await connection.execute(f"delete from {table} where id = {made[kind]}")
    await ledger.compare(connection)
    assert f"was acknowledged as {made[kind]} and is not there" in said(ledger)


@pytest.mark.foul
async def test_an_item_that_is_ticked_and_is_not_is_found(
    board: Board, bob: Person, connection: Any, ledger: Ledger
) -> None:
    made = await everything(ledger, board, bob)
    ledger.pending(made["item"], "is_completed", True, "item")
    ledger.last(made["item"], "is_completed", True, "item")
    await ledger.compare(connection)
    assert f"is_completed of item {made['item']} is False, acknowledged was True" in said(ledger)
