"""Who may write in a chat: the same whether a message goes alone or with others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.changes.test_messages import ALICE, BOB, EVE, OLGA, ROOT, answers, told
from tests.conftest import Board, make_board
from tests.person import Person
from warmdesk.auth.actor import Role
from warmdesk.changes.chat import Chat
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import WarmDeskError
from warmdesk.realtime.change import ChangeContext, Outcome


@pytest.fixture
def chat(desk: Desk) -> Chat:
    return Chat(desk.changes)


def context(actor: int, project: int) -> ChangeContext:
    return ChangeContext(actor, project_id=project, need=Role.MEMBER)


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


@pytest.mark.parametrize("place", ["open", "archived", "purged", "without feed", "missing"])
@pytest.mark.parametrize("writer", WRITERS)
async def test_a_message_fares_alone_as_in_a_group(
    desk: Desk,
    board: Board,
    olga: Person,
    alice: Person,
    root: Person,
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
    if place in ("archived", "purged"):
        await olga.put(other.path, {"is_archived": True})
    if place == "purged":
        await root.delete(f"/admin/projects/{other.slug}")
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
            *(chat.send(context(ALICE, board.id), "company", nonce) for nonce in company),
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
