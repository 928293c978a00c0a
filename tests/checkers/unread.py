"""What counts say is what a recount of the tables says.

`Unread` recounts a person's notifications and conversations, and compares with what every answer
says of them; and all the counters that cards and topics keep. `Inbox` is a client that only follows
its own socket, and knows the same by the rules of the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.checkers.cry import Checker
from warmdesk.client import Client

NOTIFICATIONS = "select count(*) from notifications where user_id = $1 and read_at is null"
CONVERSATIONS = """
select m.conversation_id as id, (
    select count(*) filter (where k.sender_id <> m.user_id and not k.is_deleted)
    from (
        select * from conversation_messages k
        where k.conversation_id = m.conversation_id and k.id > coalesce(m.last_read_message_id, 0)
        order by k.id limit 1000
    ) k
) as unread
from conversation_members m where m.user_id = $1
"""
MOST_TOLD = 100
"""Conversations with something unread: hello counts no more."""
COUNTERS = {
    "comment_count of card": """
select c.id, c.comment_count as kept, (
    select count(*) from card_comments m where m.card_id = c.id and m.deleted_at is null
) as counted from cards c where c.deleted_at is null""",
    "time_spent_minutes of card": """
select c.id, c.time_spent_minutes as kept, (
    select coalesce(sum(m.time_spent_minutes), 0) from card_comments m
    where m.card_id = c.id and m.deleted_at is null
) as counted from cards c where c.deleted_at is null""",
    "checklist_total of card": """
select c.id, c.checklist_total as kept, (
    select count(*) from card_checklist_items i where i.card_id = c.id
) as counted from cards c where c.deleted_at is null""",
    "checklist_done of card": """
select c.id, c.checklist_done as kept, (
    select count(*) from card_checklist_items i where i.card_id = c.id and i.is_completed
) as counted from cards c where c.deleted_at is null""",
    "reply_count of topic": """
select t.id, t.reply_count as kept, (
    select count(*) from topic_replies r where r.topic_id = t.id and r.deleted_at is null
) as counted from topics t where t.deleted_at is null""",
}
TOO_MANY = """
select n.user_id, n.conversation_id, count(*) as times from notifications n
where n.kind = 'dm' and n.read_at is null group by 1, 2 having count(*) > 1
"""
NOTHING_TO_READ = """
select n.user_id, n.conversation_id from notifications n
inner join conversation_members m
    on m.conversation_id = n.conversation_id and m.user_id = n.user_id
where n.kind = 'dm' and n.read_at is null and not exists (
    select 1 from conversation_messages k
    where k.conversation_id = n.conversation_id and k.id > coalesce(m.last_read_message_id, 0)
        and k.sender_id <> n.user_id and not k.is_deleted
)
"""

Json = dict[str, Any]


class Unread(Checker):
    """Counts of a run. `people` were compared, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.people = 0

    async def compare(self, connection: Any, client: Client, user_id: int, name: str = "") -> None:
        """What this person's answers say, when nobody writes. `connection` is asyncpg's."""
        who = name or f"user {user_id}"
        self.people += 1
        counted = await recount(connection, user_id)
        page = await client.get("/notifications?limit=500")
        listed, more = page["items"], page["items"]
        while len(more) == 500:
            rest = await client.get(f"/notifications?limit=500&before={more[-1]['id']}")
            more = rest["items"]
            listed = listed + more
        unread = sum(each["read_at"] is None for each in listed)
        self._is(f"unread_count of {who}'s notifications", page["unread_count"], counted[0])
        self._is(f"{who}'s unread notifications that are listed", unread, counted[0])
        theirs = {each["id"]: each async for each in client.items("/conversations?limit=500")}
        self._is(f"{who}'s conversations", sorted(theirs), sorted(counted[1]))
        for id, times in counted[1].items():
            if id in theirs:
                said = theirs[id]["unread_count"]
                self._is(f"unread_count of {who}'s conversation {id}", said, times)
        hello = await _hello(client)
        self._is(
            f"{who}'s unread_notifications in hello", hello["unread_notifications"], counted[0]
        )
        waiting = min(MOST_TOLD, sum(times > 0 for times in counted[1].values()))
        self._is(f"{who}'s unread_conversations in hello", hello["unread_conversations"], waiting)

    async def follows(self, connection: Any, inbox: Inbox, name: str = "") -> None:
        """What somebody knows who only followed, when nobody writes and all is followed."""
        who = name or f"user {inbox.user_id}"
        notifications, conversations = await recount(connection, inbox.user_id)
        self._is(f"unread notifications that {who} followed", inbox.notifications, notifications)
        self._is(f"conversations that {who} followed", inbox.shown(), conversations)

    async def counters(self, connection: Any) -> None:
        """What cards and topics count, and what waits to be read, when nobody writes."""
        async with connection.transaction(isolation="repeatable_read"):
            for what, statement in COUNTERS.items():
                for row in await connection.fetch(statement):
                    self._is(f"{what} {row['id']}", row["kept"], row["counted"])
            for row in await connection.fetch(TOO_MANY):
                self.cry(
                    f"user {row['user_id']} has {row['times']} unread notifications that there is"
                    f" something in conversation {row['conversation_id']}"
                )
            for row in await connection.fetch(NOTHING_TO_READ):
                self.cry(
                    f"user {row['user_id']} has read conversation {row['conversation_id']}, and is"
                    " notified that there is something"
                )

    def _is(self, what: str, said: Any, counted: Any) -> None:
        if said != counted:
            self.cry(f"{what} is {said}, a recount gives {counted}")


async def recount(connection: Any, user_id: int) -> tuple[int, dict[int, int]]:
    """Somebody's unread notifications, and unread messages by conversation, from the tables."""
    rows = await connection.fetch(CONVERSATIONS, user_id)
    notifications = await connection.fetchval(NOTIFICATIONS, user_id)
    return notifications, {row["id"]: row["unread"] for row in rows}


async def _hello(client: Client) -> Any:
    async with client.socket("user") as socket:
        async for frame in socket:
            if frame["type"] == "hello":
                return frame["payload"]
    raise AssertionError(f"no hello, closed with {socket.code}")


@dataclass
class Inbox:
    """Somebody who follows from the beginning, when they are in no conversation yet."""

    user_id: int
    notifications: int = 0
    unread: dict[int, set[int]] = field(default_factory=dict)
    """Others' messages that were not read, by conversation."""

    def frame(self, frame: Json) -> None:
        """The next event; all others mean nothing here."""
        type, payload = frame["type"], frame["payload"]
        if type == "hello" and not payload["resumed"]:
            self.notifications = payload["unread_notifications"]
        elif type == "notification":
            self.notifications += 1
        elif type in ("notification.read", "notification.deleted"):
            self.notifications = payload["unread_count"]
        elif type == "dm.conversation_created":
            self.unread.setdefault(payload["id"], set())
        elif type == "dm.conversation_deleted":
            self.unread.pop(payload["conversation_id"], None)
        elif (messages := self.unread.get(payload.get("conversation_id"))) is None:
            return  # of no conversation of theirs, if it is of any
        elif type == "dm.message" and payload["sender_id"] != self.user_id:
            messages.add(payload["id"])
        elif type == "dm.message_deleted":
            messages.discard(payload["id"])
        elif type == "dm.read":
            messages -= {id for id in messages if id <= payload["message_id"]}

    def shown(self) -> dict[int, int]:
        """How much is unread by conversation."""
        return {id: len(messages) for id, messages in self.unread.items()}
