"""Messages that wait for one moment go together, and each still gets its own answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Board, make_board
from tests.locks import waiting
from tests.person import Person
from warmdesk.changes import chat as chat_module
from warmdesk.changes.chat import Chat
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable, WarmDeskError
from warmdesk.realtime.change import Outcome, Wish

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)


@pytest.fixture
def chat(desk: Desk) -> Chat:
    return Chat(desk.changes)


def wish(actor: int = ALICE, *, key: str | None = None, body: str = "", path: str = "p") -> Wish:
    return Wish(actor_id=actor, key=key, path=path if key else "", body_hash=body if key else "")


async def answers(*sending: Any) -> list[Any]:
    """What each got: an outcome or a refusal."""
    return list(await asyncio.gather(*sending, return_exceptions=True))


def told(outcome: Any) -> tuple[Any, ...]:
    """Status, text and replay of an answer."""
    if isinstance(outcome, Outcome):
        return outcome.status, json.loads(outcome.answer)["body"], outcome.replay
    assert isinstance(outcome, WarmDeskError), outcome
    return outcome.status, outcome.message, False


async def transactions(connection: Any) -> int:
    """In how many transactions the messages were written."""
    count: int = await connection.fetchval("select count(distinct xmin::text) from chat_messages")
    return count


async def test_each_of_a_group_gets_its_own_answer(
    chat: Chat, board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    other = await make_board(olga, alice, "Other")
    gone = await make_board(olga, alice, "Gone")
    await olga.put(gone.path, {"is_archived": True})
    await connection.execute(
        "insert into users (email, username, password_hash, display_name, global_role, is_active)"
        " values ('m', 'meter', '', 'Meter', 'metrics', true),"
        " ('f', 'former', '', 'Former', 'user', false)"
    )
    await connection.execute(
        "insert into project_members (project_id, user_id) values ($1, 6), ($1, 7)", board.id
    )
    found = await answers(
        chat.send(wish(ALICE), board.id, "one", None),
        chat.send(wish(BOB), board.id, "viewer", None),
        chat.send(wish(OLGA), other.id, "two", None),
        chat.send(wish(EVE), board.id, "stranger", None),
        chat.send(wish(EVE), 999, "nowhere", None),
        chat.send(wish(ALICE), gone.id, "archived", None),
        chat.send(wish(6), board.id, "service", None),
        chat.send(wish(7), board.id, "inactive", None),
        chat.send(wish(99), board.id, "nobody", None),
        chat.send(wish(ROOT), board.id, "three", None),
    )
    assert [told(each) for each in found] == [
        (201, "one", False),
        (403, "your role does not allow this", False),
        (201, "two", False),
        (404, "project not found", False),
        (404, "project not found", False),
        (422, "the project is archived", False),
        (403, "a service account cannot do this", False),
        (401, "the account is not active", False),
        (401, "the account is not active", False),
        (201, "three", False),
    ]
    assert found[5].extra == {"code": "project_archived"}
    assert await transactions(connection) == 1
    await connection.execute("delete from project_members where user_id in (6, 7)")


async def test_refusals_are_those_that_every_change_gives(
    desk: Desk, chat: Chat, board: Board
) -> None:
    """A group asks who may write in its own words; they must stay those of require_role."""
    for actor, project in ((BOB, board.id), (EVE, board.id), (ALICE, 999), (99, board.id)):
        (alone,) = await answers(chat.send(wish(actor), project, "x", None))
        with pytest.raises(WarmDeskError) as other:
            await desk.changes.hot(
                sql.cards.move,
                wish(actor),
                project_id=project,
                card="1",
                column_id=1,
                index=0,
                position=None,
                before_id=None,
                after_id=None,
            )
        assert told(alone) == (other.value.status, other.value.message, False)


async def test_a_key_means_the_same_within_a_group_and_after_it(
    chat: Chat, board: Board, connection: Any
) -> None:
    def one(body: str, key: str | None, actor: int = ALICE, nonce: str | None = None) -> Any:
        return chat.send(wish(actor, key=key, body=body), board.id, body, nonce)

    found = await answers(
        one("a", "k"),
        one("a", "k"),
        one("b", "k"),
        one("a", "k", OLGA),
        one("v", "k", BOB),
        one("v", "k", BOB),
        one("c", None),
    )
    reused = "this Idempotency-Key was used with another body"
    refused = "your role does not allow this"
    assert [told(each) for each in found] == [
        (201, "a", False),
        (201, "a", True),
        (422, reused, False),
        (201, "a", False),
        (403, refused, False),
        (403, refused, False),
        (201, "c", False),
    ]
    assert found[0].answer == found[1].answer != found[3].answer
    again = await answers(one("a", "k"), one("b", "k"), one("v", "k", BOB))
    assert [told(each) for each in again] == [
        (201, "a", True),
        (422, reused, False),
        (403, refused, False),
    ]
    assert again[0].answer == found[0].answer
    keys = await connection.fetch("select user_id, status from idempotency_keys order by 1")
    assert [tuple(key) for key in keys] == [(OLGA, 201), (ALICE, 201)]


async def test_a_key_is_forgotten_after_a_day(chat: Chat, board: Board, connection: Any) -> None:
    first = await chat.send(wish(key="k", body="a"), board.id, "a", None)
    await connection.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    second = await chat.send(wish(key="k", body="b"), board.id, "b", None)
    assert (second.status, second.replay) == (201, False)
    assert first.answer != second.answer
    assert (await chat.send(wish(key="k", body="b"), board.id, "b", None)).answer == second.answer


async def test_nonces_and_keys_of_one_group_go_together(
    chat: Chat, board: Board, connection: Any
) -> None:
    def one(body: str, nonce: str | None, key: str | None = None, actor: int = ALICE) -> Any:
        return chat.send(wish(actor, key=key, body=body), board.id, body, nonce)

    found = await answers(
        one("a", "n"),
        one("b", "n"),
        one("c", "n", "k"),
        one("c", "n", "k"),
        one("d", "n", actor=OLGA),
        one("e", "other"),
    )
    assert [told(each) for each in found] == [
        (201, "a", False),
        (200, "a", False),
        (200, "a", False),
        (200, "a", True),
        (201, "d", False),
        (201, "e", False),
    ]
    later = await answers(one("f", "n"), one("c", "n", "k"), one("g", "n", actor=OLGA))
    assert [told(each) for each in later] == [
        (200, "a", False),
        (200, "a", True),
        (200, "d", False),
    ]
    assert await connection.fetchval("select count(*) from chat_messages") == 3


async def test_a_deleted_message_keeps_its_nonce_and_not_its_text(chat: Chat, board: Board) -> None:
    sent = await chat.send(wish(), board.id, "a", "n")
    message_id = json.loads(sent.answer)["id"]
    await chat.delete(wish(), board.id, message_id)
    again = await chat.send(wish(), board.id, "a", "n")
    shown = json.loads(again.answer)
    assert (again.status, shown["id"], shown["body"], shown["is_deleted"]) == (
        200,
        message_id,
        "",
        True,
    )


async def test_what_waits_goes_in_one_transaction_in_the_order_it_came(
    chat: Chat, board: Board, connection: Any
) -> None:
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(wish(), board.id, "first", None))
        await waiting(connection)
        rest = [
            asyncio.create_task(chat.send(wish((ALICE, OLGA)[n % 2]), board.id, str(n), None))
            for n in range(450)
        ]
        await asyncio.sleep(0)
    outcomes = [await each for each in (first, *rest)]
    ids = [json.loads(each.answer)["id"] for each in outcomes]
    assert ids == sorted(ids)
    assert await transactions(connection) == 1 + 3


async def test_a_group_holds_no_more_text_than_its_limit(
    chat: Chat, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "GROUP_TEXT", 10)
    await asyncio.gather(
        *(chat.send(wish(), board.id, body, None) for body in ("x" * 30, "12345", "67890", "a"))
    )
    assert await transactions(connection) == 3


async def test_what_is_wrong_with_one_message_costs_the_others_nothing(
    chat: Chat, board: Board, olga: Person, alice: Person
) -> None:
    """PostgreSQL keeps no NUL: the statement fails for the whole group."""
    other = await make_board(olga, alice, "Other")
    found = await answers(
        chat.send(wish(), board.id, "one", None),
        chat.send(wish(), board.id, "bad \0", None),
        chat.send(wish(), other.id, "two", None),
        chat.send(wish(), board.id, "three", None),
    )
    assert [told(each) for each in (found[0], found[2], found[3])] == [
        (201, "one", False),
        (201, "two", False),
        (201, "three", False),
    ]
    assert not isinstance(found[1], Outcome | WarmDeskError)


async def test_a_project_that_is_locked_delays_the_others_a_second_at_most(
    chat: Chat, board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    other = await make_board(olga, alice, "Other")
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        loop = asyncio.get_running_loop()
        start = loop.time()
        stuck = asyncio.create_task(chat.send(wish(), board.id, "stuck", None))
        free = asyncio.create_task(chat.send(wish(), other.id, "free", None))
        assert (await free).status == 201
        assert loop.time() - start < 2.5
        assert not stuck.done()
    assert (await stuck).status == 201


async def test_who_waited_too_long_learns_whether_the_message_may_have_gone(
    chat: Chat, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "SECONDS", 0.3)
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(wish(), board.id, "under way", None))
        await waiting(connection)
        with pytest.raises(Unavailable) as queued:
            await chat.send(wish(), board.id, "waiting", None)
        with pytest.raises(Unavailable) as under_way:
            await first
    assert "code" not in queued.value.extra
    assert under_way.value.extra["code"] == "unknown_outcome"
    await chat.send(wish(), board.id, "later", None)
    bodies = [row["body"] for row in await connection.fetch("select body from chat_messages")]
    assert bodies == ["under way", "later"]


async def test_a_sender_who_left_does_not_stop_the_others(
    chat: Chat, board: Board, connection: Any
) -> None:
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(wish(), board.id, "first", None))
        await waiting(connection)
        left = asyncio.create_task(chat.send(wish(), board.id, "left", None))
        stayed = asyncio.create_task(chat.send(wish(), board.id, "stayed", None))
        await asyncio.sleep(0)
        first.cancel()
        left.cancel()
    assert (await stayed).status == 201
    bodies = [row["body"] for row in await connection.fetch("select body from chat_messages")]
    assert bodies == ["first", "stayed"]


async def test_two_processes_send_in_one_order(
    desk: Desk, board: Board, olga: Person, connection: Any
) -> None:
    """In a project, ids follow the order of the events, so nobody pages past a message to come."""
    other = await make_board(olga, board.maker, "Other")
    one, two = Chat(desk.changes), Chat(desk.changes)

    async def talk(chat: Chat, actor: int) -> None:
        for n in range(25):
            await asyncio.gather(
                *(
                    chat.send(
                        wish(actor, key=f"{actor} {n} {place}"), place, f"{n}", f"{actor} {n}"
                    )
                    for place in ((board.id, other.id), (other.id, board.id))[actor % 2]
                )
            )

    await asyncio.gather(
        talk(one, ALICE), talk(two, ALICE), talk(one, OLGA), talk(two, OLGA), talk(two, ROOT)
    )
    for project in (board.id, other.id):
        rows = await connection.fetch(
            "select seq, payload::json ->> 'id' as id from events"
            " where channel = $1 and type = 'chat.message' order by seq",
            f"project:{project}",
        )
        ids = [int(row["id"]) for row in rows]
        assert ids == sorted(ids)
        assert len(ids) == 75
        seqs = [row["seq"] for row in rows]
        assert seqs == list(range(seqs[0], seqs[0] + 75))


async def test_each_event_names_its_own_actor_and_client(
    chat: Chat, board: Board, connection: Any
) -> None:
    await asyncio.gather(
        chat.send(replace(wish(ALICE), client_id="tab-1"), board.id, "a", None),
        chat.send(wish(OLGA), board.id, "b", None),
    )
    rows = await connection.fetch(
        "select actor_id, client_id, entity from events where type = 'chat.message' order by seq"
    )
    assert [tuple(row) for row in rows] == [
        (ALICE, "tab-1", "message:1"),
        (OLGA, None, "message:2"),
    ]
