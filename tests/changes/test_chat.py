"""Messages that wait for one moment go together, and each still gets its own answer."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

import pytest

from tests import pace
from tests.conftest import Board, make_board
from tests.locks import waiting
from tests.person import Person
from warmdesk.auth.actor import Role
from warmdesk.changes import chat as chat_module
from warmdesk.changes.chat import CARRIERS, Chat, PendingMessage
from warmdesk.db.pool import BUDGET, Budget
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Unavailable, WarmDeskError
from warmdesk.realtime.change import ChangeContext, Outcome

ROOT, OLGA, ALICE, BOB, EVE = range(1, 6)


@pytest.fixture
def chat(desk: Desk) -> Chat:
    return Chat(desk.changes)


def context(
    actor: int = ALICE, project: int = 1, *, key: str | None = None, body: str = "", path: str = "p"
) -> ChangeContext:
    return ChangeContext(
        actor_id=actor,
        key=key,
        path=path if key else "",
        body_hash=body if key else "",
        project_id=project,
        need=Role.MEMBER,
        keyed=key is not None,
    )


async def answers(*sending: Any) -> list[Any]:
    """What each got: an outcome or a refusal."""
    return list(await asyncio.gather(*sending, return_exceptions=True))


def told(outcome: Any) -> tuple[Any, ...]:
    """Status, text and replay of an answer."""
    if isinstance(outcome, Outcome):
        return outcome.status, json.loads(outcome.text)["body"], outcome.replay
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
        chat.send(context(ALICE, board.id), "one", None),
        chat.send(context(BOB, board.id), "viewer", None),
        chat.send(context(OLGA, other.id), "two", None),
        chat.send(context(EVE, board.id), "stranger", None),
        chat.send(context(EVE, 999), "nowhere", None),
        chat.send(context(ALICE, gone.id), "archived", None),
        chat.send(context(6, board.id), "service", None),
        chat.send(context(7, board.id), "inactive", None),
        chat.send(context(99, board.id), "nobody", None),
        chat.send(context(ROOT, board.id), "three", None),
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
        (alone,) = await answers(chat.send(context(actor, project), "x", None))
        with pytest.raises(WarmDeskError) as other:
            await desk.changes.hot(
                sql.cards.move,
                context(actor, project),
                "card",
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
        return chat.send(context(actor, board.id, key=key, body=body), body, nonce)

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
    first = await chat.send(context(project=board.id, key="k", body="a"), "a", None)
    await connection.execute("update idempotency_keys set created_at = now() - interval '25 hours'")
    second = await chat.send(context(project=board.id, key="k", body="b"), "b", None)
    assert (second.status, second.replay) == (201, False)
    assert first.answer != second.answer
    assert (
        await chat.send(context(project=board.id, key="k", body="b"), "b", None)
    ).answer == second.answer


async def test_nonces_and_keys_of_one_group_go_together(
    chat: Chat, board: Board, connection: Any
) -> None:
    def one(body: str, nonce: str | None, key: str | None = None, actor: int = ALICE) -> Any:
        return chat.send(context(actor, board.id, key=key, body=body), body, nonce)

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
    sent = await chat.send(context(project=board.id), "a", "n")
    message_id = json.loads(sent.text)["id"]
    await chat.delete(context(project=board.id), message_id)
    again = await chat.send(context(project=board.id), "a", "n")
    shown = json.loads(again.text)
    assert (again.status, shown["id"], shown["body"], shown["is_deleted"]) == (
        200,
        message_id,
        "",
        True,
    )


async def test_an_answer_goes_with_the_message_that_it_shows(
    chat: Chat, board: Board, connection: Any
) -> None:
    """Also where a nonce found the message, or another one of the group did."""

    def one(key: str, body: str, nonce: str | None = None) -> Any:
        return chat.send(context(project=board.id, key=key, body=body), body, nonce)

    async def all_of_them() -> list[Any]:
        again = answers(one("a", "deleted", "n"), one("b", "deleted", "n"))
        return [*await again, *await answers(one("c", "deleted", "n"), one("d", "stays"))]

    found = await all_of_them()
    assert [each.status for each in found] == [201, 200, 200, 201]
    await chat.delete(context(project=board.id), json.loads(found[0].text)["id"])
    gone = (410, "what was made with this key is deleted", False)
    assert [told(each) for each in await all_of_them()] == [*[gone] * 3, (201, "stays", True)]
    beside = await answers(one("a", "deleted", "n"), one("a", "deleted", "n"), one("e", "new"))
    assert [told(each) for each in beside] == [gone, gone, (201, "new", False)]
    assert beside[0].extra == {"code": "deleted"}
    kept = await connection.fetch("select answer from idempotency_keys where status = 410")
    assert len(kept) == 3
    assert not [row for row in kept if '"body"' in row["answer"]]


async def test_what_waits_goes_in_one_transaction_in_the_order_it_came(
    chat: Chat, board: Board, connection: Any
) -> None:
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(context(project=board.id), "first", None))
        await waiting(connection)
        rest = [
            asyncio.create_task(chat.send(context((ALICE, OLGA)[n % 2], board.id), str(n), None))
            for n in range(450)
        ]
        await asyncio.sleep(0)
    outcomes = [await each for each in (first, *rest)]
    ids = [json.loads(each.text)["id"] for each in outcomes]
    assert ids == sorted(ids)
    assert await transactions(connection) == 1 + 3


async def test_a_group_holds_no_more_text_than_its_limit(
    chat: Chat, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "GROUP_TEXT", 10)
    await asyncio.gather(
        *(
            chat.send(context(project=board.id), body, None)
            for body in ("x" * 30, "12345", "67890", "a")
        )
    )
    assert await transactions(connection) == 3


async def test_a_group_goes_to_no_more_projects_than_its_limit(
    chat: Chat,
    board: Board,
    olga: Person,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stays behind goes with the next one, in its order."""
    monkeypatch.setattr(chat_module, "GROUP_PROJECTS", 2)
    boards = [board, *[await make_board(olga, alice, f"Other {n}") for n in range(2)]]
    await asyncio.gather(
        *(chat.send(context(project=boards[n % 3].id), f"{n}", None) for n in range(9))
    )
    assert await transactions(connection) == 2
    for n, each in enumerate(boards):
        rows = await connection.fetch(
            "select body from chat_messages where project_id = $1 order by id", each.id
        )
        assert [row["body"] for row in rows] == [f"{m}" for m in (n, n + 3, n + 6)]


async def test_what_is_wrong_with_one_message_costs_the_others_nothing(
    chat: Chat, board: Board, olga: Person, alice: Person
) -> None:
    """PostgreSQL keeps no NUL: the statement fails for the whole group."""
    other = await make_board(olga, alice, "Other")
    found = await answers(
        chat.send(context(project=board.id), "one", None),
        chat.send(context(project=board.id), "bad \0", None),
        chat.send(context(project=other.id), "two", None),
        chat.send(context(project=board.id), "three", None),
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
        stuck = asyncio.create_task(chat.send(context(project=board.id), "stuck", None))
        free = asyncio.create_task(chat.send(context(project=other.id), "free", None))
        assert (await free).status == 201
        assert loop.time() - start < pace.here(2.5)
        assert not stuck.done()
    assert (await stuck).status == 201


async def test_nobody_waits_for_a_project_that_is_locked(
    chat: Chat, board: Board, olga: Person, alice: Person, connection: Any
) -> None:
    """While its message waits, another project sends dozens; and what came for it meanwhile goes
    in its order, once it may.
    """
    other = await make_board(olga, alice, "Other")
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        stuck = asyncio.create_task(chat.send(context(project=board.id), "stuck 0", None))
        await waiting(connection)
        behind = []
        for number in range(1, 31):
            behind.append(
                asyncio.create_task(chat.send(context(project=board.id), f"stuck {number}", None))
            )
            assert (
                await chat.send(context(project=other.id), f"free {number}", None)
            ).status == 201
        assert not any(each.done() for each in (stuck, *behind))
    assert {each.status for each in await asyncio.gather(stuck, *behind)} == {201}
    for project, word, first in ((board.id, "stuck", 0), (other.id, "free", 1)):
        rows = await connection.fetch(
            "select body from chat_messages where project_id = $1 order by id", project
        )
        assert [row["body"] for row in rows] == [f"{word} {n}" for n in range(first, 31)]


async def test_a_project_that_failed_goes_alone_until_it_succeeds(
    chat: Chat,
    board: Board,
    olga: Person,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await make_board(olga, alice, "Other")
    groups: list[list[str]] = []
    write = chat._write

    async def noted(group: list[PendingMessage], *, tries: int) -> list[Outcome | WarmDeskError]:
        groups.append([pending.body for pending in group])
        return await write(group, tries=tries)

    monkeypatch.setattr(chat, "_write", noted)
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        with pytest.raises(Unavailable):
            await chat.send(context(project=board.id), "failed", None)
        free, stuck, behind = (
            asyncio.create_task(chat.send(context(project=each.id), text, None))
            for each, text in ((other, "free"), (board, "stuck"), (other, "behind"))
        )
        assert [(await each).status for each in (free, behind)] == [201, 201]
        assert not stuck.done()
    assert (await stuck).status == 201
    await asyncio.gather(
        chat.send(context(project=board.id), "this", None),
        chat.send(context(project=other.id), "that", None),
    )
    assert groups == [["failed"], ["free", "behind"], ["stuck"], ["this", "that"]]


async def test_projects_that_are_locked_leave_connections_to_the_others(
    chat: Chat, board: Board, olga: Person, alice: Person, connection: Any, desk: Desk
) -> None:
    """However many they are, only a few of their statements are under way."""
    others = [await make_board(olga, alice, f"Other {n}") for n in range(2 * CARRIERS)]
    async with connection.transaction():
        await connection.execute(
            "select 1 from projects where id = any($1) for update", [each.id for each in others]
        )
        stuck = []
        for each in others:
            stuck.append(asyncio.create_task(chat.send(context(project=each.id), "stuck", None)))
            await asyncio.sleep(1.5 * chat_module.PATIENCE)
        blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        assert 1 <= await connection.fetchval(blocked) <= CARRIERS
    assert {each.status for each in await asyncio.gather(*stuck)} == {201}
    assert (await chat.send(context(project=board.id), "after", None)).status == 201


async def test_who_waited_too_long_learns_whether_the_message_may_have_gone(
    chat: Chat, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "SECONDS", 0.3)
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(context(project=board.id), "under way", None))
        await waiting(connection)
        with pytest.raises(Unavailable) as queued:
            await chat.send(context(project=board.id), "waiting", None)
        with pytest.raises(Unavailable) as under_way:
            await first
    assert queued.value.code == "unavailable"
    assert under_way.value.extra["code"] == "unknown_outcome"
    await chat.send(context(project=board.id), "later", None)
    bodies = [row["body"] for row in await connection.fetch("select body from chat_messages")]
    assert bodies == ["under way", "later"]


async def test_a_sender_waits_as_long_as_the_request_may_and_the_others_longer(
    chat: Chat, board: Board, connection: Any
) -> None:
    async def send(body: str, left: float) -> Outcome:
        BUDGET.set(Budget(left))
        return await chat.send(context(project=board.id), body, None)

    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(send("first", 0.3))
        await waiting(connection)
        second = asyncio.create_task(send("second", 0.1))
        third = asyncio.create_task(send("third", 4))
        with pytest.raises(Unavailable) as queued:
            await second
        with pytest.raises(Unavailable) as under_way:
            await first
    assert queued.value.code == "unavailable"
    assert under_way.value.extra["code"] == "unknown_outcome"
    assert (await third).status == 201
    bodies = [row["body"] for row in await connection.fetch("select body from chat_messages")]
    assert bodies == ["first", "third"]


async def test_a_sender_who_left_does_not_stop_the_others(
    chat: Chat, board: Board, connection: Any
) -> None:
    async with connection.transaction():
        await connection.execute("select 1 from projects where id = $1 for update", board.id)
        first = asyncio.create_task(chat.send(context(project=board.id), "first", None))
        await waiting(connection)
        left = asyncio.create_task(chat.send(context(project=board.id), "left", None))
        stayed = asyncio.create_task(chat.send(context(project=board.id), "stayed", None))
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
                        context(actor, place, key=f"{actor} {n} {place}"), f"{n}", f"{actor} {n}"
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
        chat.send(context(ALICE, board.id)._replace(client_id="tab-1"), "a", None),
        chat.send(context(OLGA, board.id), "b", None),
    )
    rows = await connection.fetch(
        "select actor_id, client_id, entity from events where type = 'chat.message' order by seq"
    )
    assert [tuple(row) for row in rows] == [
        (ALICE, "tab-1", "message:1"),
        (OLGA, None, "message:2"),
    ]


@dataclass(frozen=True)
class Fate:
    """What became of a message: its answer or refusal, and its event."""

    status: int
    said: Any
    event: Any


WRITERS = {
    "member": ALICE,
    "owner": OLGA,
    "global admin": ROOT,
    "viewer": BOB,
    "stranger": EVE,
    "nobody": 99,
    "service": 6,
    "inactive": 7,
    "deleted": 8,
    "global viewer": 9,
}


@pytest.mark.parametrize("place", ["open", "archived", "without feed", "missing"])
@pytest.mark.parametrize("writer", WRITERS)
async def test_a_message_fares_alone_as_in_a_group(
    desk: Desk,
    board: Board,
    olga: Person,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    writer: str,
    place: str,
) -> None:
    """Three ways to write it, one outcome: by itself, in a plain group, in one with nonces."""
    other = await make_board(olga, alice, "Other")
    await connection.execute(
        "insert into users"
        " (email, username, password_hash, display_name, global_role, is_active, deleted_at)"
        " values ('m', 'meter', '', 'M', 'metrics', true, null),"
        " ('f', 'former', '', 'F', 'user', false, null),"
        " ('g', 'gone', '', 'G', 'user', true, now()),"
        " ('l', 'looker', '', 'L', 'viewer', true, null)"
    )
    await connection.execute(
        "insert into project_members (project_id, user_id)"
        " select $1, n from generate_series(6, 9) n",
        other.id,
    )
    if place == "archived":
        await olga.put(other.path, {"is_archived": True})
    project = 999 if place == "missing" else other.id
    channel = f"project:{project}"
    published: list[str] = []
    publish_all = desk.bus.publish_all

    def spy(messages: list[str]) -> None:
        published.extend(messages)
        publish_all(messages)

    monkeypatch.setattr(desk.bus, "publish_all", spy)

    async def fate(*company: str | None) -> Fate:
        """Of a message that goes together with others, which have these nonces."""
        if place == "without feed":
            await connection.execute("delete from events where channel = $1", channel)
            await connection.execute("delete from feeds where channel = $1", channel)
        published.clear()
        before = await connection.fetchval("select seq from feeds where channel = $1", channel) or 0
        chat = Chat(desk.changes)
        asked = context(WRITERS[writer], project)._replace(client_id='tab "1"')
        outcome, *others = await answers(
            chat.send(asked, 'Grüße "\\" 🚀', None),
            *(chat.send(context(project=board.id), "company", nonce) for nonce in company),
        )
        assert [told(other)[0] for other in others] == [201] * len(others)
        rows = await connection.fetch(
            "select e.*, bus_message(e) as on_bus from events e where channel = $1 and seq > $2",
            channel,
            before,
        )
        on_bus = [message for message in published if message.startswith(channel + " ")]
        assert on_bus == [row["on_bus"] for row in rows]
        if not isinstance(outcome, Outcome):
            assert not rows
            return Fate(outcome.status, (outcome.message, outcome.extra), None)
        (row,) = rows
        shown = json.loads(outcome.text)
        assert row["payload"] == outcome.answer
        assert (row["seq"], row["entity"]) == (before + 1, f"message:{shown['id']}")
        del shown["id"], shown["created_at"], shown["updated_at"]
        return Fate(outcome.status, shown, (row["type"], row["actor_id"], row["client_id"]))

    alone = await fate()
    assert alone == await fate(None) == await fate("nonce")
    good = {"member", "owner", "global admin"}
    if place in ("open", "without feed"):
        assert (alone.status == 201) == (writer in good)
    else:
        assert alone.status in (401, 403, 404, 422)
    await connection.execute("delete from project_members where user_id >= 6")


@pytest.mark.parametrize("seed", range(3))
async def test_alone_or_together_messages_keep_their_order(
    desk: Desk, board: Board, olga: Person, connection: Any, seed: int
) -> None:
    """Processes write one by one and in groups at the same time: in each project ids follow the
    seqs, which have no holes, and what one process was asked first comes first.
    """
    chance = random.Random(seed)
    places = [board.id, (await make_board(olga, board.maker, "Other")).id]
    sent: dict[tuple[Chat, int], list[asyncio.Task[Outcome]]] = {}

    async def talk(chat: Chat, actor: int, *, alone: bool) -> None:
        for n in range(40):
            place = chance.choice(places)
            nonce = f"{actor} {n} {alone}" if chance.random() < 0.1 else None
            pending = asyncio.create_task(chat.send(context(actor, place), f"{actor} {n}", nonce))
            sent.setdefault((chat, place), []).append(pending)
            if alone:
                await pending
            elif chance.random() < 0.3:
                await asyncio.sleep(chance.random() / 100)

    one, two, three = (Chat(desk.changes) for _ in range(3))
    await asyncio.gather(
        talk(one, ALICE, alone=True),
        talk(two, ROOT, alone=True),
        talk(three, OLGA, alone=False),
        talk(three, ALICE, alone=False),
    )
    for (_, place), letters in sent.items():
        ids = [json.loads((await pending).text)["id"] for pending in letters]
        assert ids == sorted(ids), place
    for place in places:
        rows = await connection.fetch(
            "select seq, payload::json ->> 'id' as id from events"
            " where channel = $1 and type = 'chat.message' order by seq",
            f"project:{place}",
        )
        ids = [int(row["id"]) for row in rows]
        assert ids == sorted(ids)
        assert [row["seq"] for row in rows] == list(
            range(rows[0]["seq"], rows[0]["seq"] + len(rows))
        )
        assert len(rows) == sum(len(letters) for (_, to), letters in sent.items() if to == place)
