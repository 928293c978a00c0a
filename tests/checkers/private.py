"""Whatever is said to some people only is told to all of them, and to nobody else.

`Private` compares the feeds of people, and what their sockets got of them, with the journal that
`tests.checkers.journal` keeps: who was in each conversation and project at that moment. That a
socket gets what its feed has is for `streams`; both together say that nobody missed anything.

Names are only looked for in the first line of a text, before anything that may be code.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import orjson

from tests.checkers.cry import Checker
from tests.checkers.journal import CONVERSATION, PROJECT, Journal, Row, begin, read

NAME = re.compile(r"(?:^| )@([a-z]+(?:-\d+)?)(?= |$)")
ABOUT = re.compile(r"^conversation:(\d+)(?:/(message|member):(\d+))?$")
KEPT = 1000
"""Notifications that a person keeps."""
TEXTS = {
    "card_comments": "comment_id",
    "topics": "topic_id",
    "topic_replies": "reply_id",
    "chat_messages": "chat_message_id",
    "conversation_messages": "conversation_message_id",
}
"""What may name somebody, and what a notification calls it."""
EVENTS = """
select channel, seq, type, entity, case when type = 'notification' then payload end as payload
from events where channel like 'user:%' order by channel, seq
"""

Json = dict[str, Any]


class Private(Checker):
    """All conversations and notifications of a run.

    messages        of conversations, compared
    notifications   compared
    frames          events that sockets of people got
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages = self.notifications = self.frames = 0
        self._heard: dict[int, dict[int, Json]] = defaultdict(dict)

    async def begin(self, connection: Any) -> None:
        """Before there are conversations: the journal begins. `connection` is asyncpg's."""
        await begin(connection)

    def frame(self, user_id: int, frame: Json) -> None:
        """What a socket of this person's own got."""
        if "seq" not in frame:
            return
        self.frames += 1
        payload, kept = frame["payload"], {"type": frame["type"]}
        if frame["type"].startswith("dm."):
            whole = frame["type"] in ("dm.conversation_created", "dm.conversation_updated")
            kept["conversation"] = payload.get("id" if whole else "conversation_id")
        if frame["type"] in ("dm.message", "notification"):
            kept["id"] = payload["id"]
        # Of one who comes back later less is told, if it is deleted since.
        if frame["type"] != "gone":
            self._heard[user_id][frame["seq"]] = kept

    async def compare(self, connection: Any) -> None:
        """When nobody writes."""
        before = set(self.broken)
        async with connection.transaction(isolation="repeatable_read"):
            journal = await read(connection)
            events = await connection.fetch(EVENTS)
        look = Look(self, journal)
        look.feeds(events)
        look.messages()
        look.members()
        look.notifications()
        look.names()
        look.sockets(self._heard)
        self.messages, self.notifications = len(look.live), len(look.noted)
        for sentence in dict.fromkeys(look.found):
            if sentence not in before:
                self.cry(sentence)


class Look:
    """One comparison."""

    def __init__(self, private: Private, journal: Journal) -> None:
        self.private, self.journal = private, journal
        self.found: list[str] = []
        self.told: Counter[tuple[int, str, int, int]] = Counter()
        """By user, type, conversation, and message or member."""
        self.noticed: dict[int, list[int]] = defaultdict(list)
        """Whom a notification was told."""
        self.live: dict[int, Row] = {}
        self.sent: dict[int, Row] = {}
        for row in journal.rows["conversation_messages"]:
            self.sent.setdefault(row.row["id"], row)
            if row.row["is_deleted"]:
                self.live.pop(row.row["id"], None)
            elif row.done == "insert":
                self.live[row.row["id"]] = row
        self.noted = {
            row.row["id"]: row for row in journal.rows["notifications"] if row.done == "insert"
        }
        self.forgotten = {
            row.row["id"] for row in journal.rows["notifications"] if row.done == "delete"
        }

    def cry(self, sentence: str) -> None:
        self.found.append(sentence)

    # What the feeds of people have.

    def feeds(self, events: list[Any]) -> None:
        """Nobody's feed has anything of what its owner may not see."""
        for event in events:
            user = int(event["channel"].partition(":")[2])
            type = event["type"]
            if type == "notification":
                self.noticed[orjson.loads(event["payload"])["id"]].append(user)
            about = ABOUT.match(event["entity"] or "") if type.startswith("dm.") else None
            if about is None:
                continue
            conversation, part = int(about[1]), int(about[3] or 0)
            self.told[user, type, conversation, part] += 1
            inside = self.journal.sees(CONVERSATION, conversation, user, float("inf"))
            if type != "dm.conversation_deleted" and not self._is_in(conversation, user):
                self.cry(
                    f"user {user} is told {type} {event['seq']} of conversation {conversation},"
                    f" in which they are not{' any more' if inside else ''}"
                )

    def _is_in(self, conversation: int, user: int) -> bool:
        return self.journal.stays(CONVERSATION, conversation, user, float("inf"))

    def messages(self) -> None:
        """A message is told to whoever was in its conversation and is since, once."""
        readers: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        for (user, type, conversation, message), times in self.told.items():
            if type == "dm.message":
                readers[conversation, message][user] += times
        for id, row in self.live.items():
            conversation = row.row["conversation_id"]
            there = self.journal.within(CONVERSATION, conversation, row.at)
            staying = {
                user
                for user in there
                if self.journal.stays(CONVERSATION, conversation, user, row.at)
            }
            told = readers.pop((conversation, id), Counter())
            what = f"message {id} of conversation {conversation}"
            for user in sorted(staying - set(told)):
                self.cry(f"{what} is not told to user {user}")
            for user in sorted(set(told) - staying):
                self.cry(f"{what} is told to user {user}, who may not see it")
            for user in sorted(user for user, times in told.items() if times > 1):
                self.cry(f"{what} is told to user {user} {told[user]} times")
        for (conversation, id), told in readers.items():
            self.cry(f"message {id} of conversation {conversation} is gone, and told to {[*told]}")

    def members(self) -> None:
        """Who comes and goes is told to those who are there, and to themselves."""
        journal = self.journal
        for (kind, id), joins in journal.joins.items():
            if kind != CONVERSATION:
                continue
            founding = joins[0][1]
            leaves = journal.leaves[kind, id]
            for user in {user for _, _, user in joins}:
                if not journal.stays(kind, id, user, float("inf")):
                    self._is_told(user, "dm.conversation_deleted", id, 0, 1)
                    continue
                self._is_told(user, "dm.conversation_created", id, 0, 1)
                since = journal.since(kind, id, user)
                came = Counter(who for at, by, who in joins if at > since and by != founding)
                went = Counter(who for at, who in leaves if at > since)
                for who in {who for _, _, who in joins}:
                    self._is_told(user, "dm.member_added", id, who, came[who])
                    self._is_told(user, "dm.member_removed", id, who, went[who])

    def _is_told(self, user: int, type: str, conversation: int, part: int, times: int) -> None:
        told = self.told[user, type, conversation, part]
        if told != times:
            about = f" of user {part}" if part else ""
            self.cry(
                f"user {user} is told {type}{about} of conversation {conversation} {told} times,"
                f" not {times}"
            )

    # Notifications.

    def notifications(self) -> None:
        """Each was made for somebody who could see what it is about, and can, and is told once."""
        newer: Counter[int] = Counter()
        for id, row in reversed(self.noted.items()):
            user, told = row.row["user_id"], self.noticed.pop(id, [])
            newer[user] += 1
            what = f"notification {id} ({row.row['kind']})"
            if id in self.forgotten:
                # What is beyond the newest goes by and by, and nobody is told.
                if told and newer[user] <= KEPT:
                    self.cry(f"{what} is deleted, and told to {told}")
                continue
            if told != [user]:
                self.cry(f"{what} is for user {user}, and told to {told}")
        for id, told in self.noticed.items():
            self.cry(f"notification {id} is nowhere, and told to {told}")
        for id, row in self.noted.items():
            for kind in (PROJECT, CONVERSATION):
                if (place := row.row[f"{kind}_id"]) is None:
                    continue
                user, what = row.row["user_id"], f"notification {id} ({row.row['kind']})"
                if not self.journal.sees(kind, place, user, row.at):
                    self.cry(f"{what} was for user {user}, who could not see {kind} {place}")
                elif id not in self.forgotten and not self.journal.stays(kind, place, user, row.at):
                    self.cry(f"{what} is left to user {user}, who left {kind} {place}")

    def names(self) -> None:
        """Who is named, written to or replied to is notified of it, and nobody is named who is
        not.
        """
        of_text: dict[tuple[str, int], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for row in self.noted.values():
            for column in TEXTS.values():
                # Of what is about a reply or a message, the topic or conversation is not the text.
                if column == "topic_id" and row.row["reply_id"] is not None:
                    continue
                if row.row[column] is not None:
                    kinds = of_text[column, row.row[column]][row.row["user_id"]]
                    kinds.add(row.row["kind"])
        waits = self._waiting()
        authors = {row.row["id"]: row.row["user_id"] for row in self.journal.rows["topics"]}
        for name, column in TEXTS.items():
            for text in self.journal.rows[name]:
                if text.done != "insert":
                    continue
                told = of_text.pop((column, text.row["id"]), {})
                named = self._named(text)
                what = f"{name} {text.row['id']}"
                mentioned = {user for user, kinds in told.items() if "mention" in kinds}
                for user in sorted(named - mentioned):
                    self.cry(f"user {user} is named in {what}, and not notified")
                for user in sorted(mentioned - named):
                    self.cry(f"user {user} is notified of {what}, which does not name them")
                if name == "conversation_messages":
                    self._written_to(text, named, told, waits)
                elif name == "topic_replies":
                    author = authors.get(text.row["topic_id"])
                    if author in self._readers(text, {author}) and author not in told:
                        self.cry(f"user {author} is replied to in {what}, and not notified")
        for (column, id), told in of_text.items():
            self.cry(f"{column} {id} is nowhere, and {[*told]} are notified of it")

    def _named(self, text: Row) -> set[int]:
        body = text.row["body"].partition("\n")[0].partition("`")[0].lower()
        people = {self.journal.people.get(name) for name in NAME.findall(body)}
        return self._readers(text, people)

    def _readers(self, text: Row, people: set[int | None]) -> set[int]:
        """Those who could see it, but not who wrote it."""
        kind = CONVERSATION if text.name == "conversation_messages" else PROJECT
        author = text.row["sender_id" if kind == CONVERSATION else "user_id"]
        return {
            user
            for user in people
            if user is not None
            and user != author
            and self.journal.sees(kind, text.row[f"{kind}_id"], user, text.at)
        }

    def _waiting(self) -> dict[tuple[int, int], list[list[float]]]:
        """By conversation and user: when there was an unread notification that something is to be
        read, from and to.
        """
        spans: dict[int, list[float]] = {}
        found: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
        for row in self.journal.rows["notifications"]:
            if row.row["kind"] != "dm":
                continue
            id = row.row["id"]
            if row.done == "insert":
                spans[id] = [row.at, float("inf")]
                found[row.row["conversation_id"], row.row["user_id"]].append(spans[id])
            elif row.row["read_at"] is not None or row.done == "delete":
                spans[id][1] = min(spans[id][1], row.at)
        for (conversation, user), each in found.items():
            for (_, end), (start, _) in pairwise(each):
                if start < end:
                    self.cry(f"user {user} is notified twice of unread conversation {conversation}")
        return found

    def _written_to(
        self,
        text: Row,
        named: set[int],
        told: dict[int, set[str]],
        waits: dict[tuple[int, int], list[list[float]]],
    ) -> None:
        conversation, id = text.row["conversation_id"], text.row["id"]
        there = self.journal.within(CONVERSATION, conversation, text.at)
        for user in self._readers(text, {*there}) - named - set(told):
            spans = waits.get((conversation, user), ())
            if any(start < text.at < end for start, end in spans):
                continue
            # Of messages that were sent together one is told, after all of them were written.
            if not any(
                row.change == text.change
                and (row.row["conversation_id"], row.row["user_id"]) == (conversation, user)
                and (row.row["kind"], row.done) == ("dm", "insert")
                for row in self.journal.rows["notifications"]
            ):
                self.cry(
                    f"user {user} is not notified of message {id} of conversation {conversation}"
                )

    # What sockets of people got.

    def sockets(self, heard: dict[int, dict[int, Json]]) -> None:
        """Nothing came to somebody who could not see it at that moment."""
        for user, frames in heard.items():
            outside: set[int] = set()
            for seq in sorted(frames):
                frame = frames[seq]
                type, conversation = frame["type"], frame.get("conversation")
                if type == "notification":
                    note = self.noted.get(frame["id"])
                    if note is None or note.row["user_id"] != user:
                        self.cry(f"user {user} got notification {frame['id']}, which is not theirs")
                if conversation is None:
                    continue
                if type == "dm.conversation_created":
                    outside.discard(conversation)
                elif conversation in outside:
                    self.cry(f"user {user} got {type} {seq} of conversation {conversation} outside")
                if type == "dm.conversation_deleted":
                    outside.add(conversation)
                if not self.journal.spans.get((CONVERSATION, conversation, user)):
                    self.cry(f"user {user} got {type} {seq} of conversation {conversation}")
                if type == "dm.message":
                    sent = self.sent.get(frame["id"])
                    if sent is None or not self.journal.sees(
                        CONVERSATION, conversation, user, sent.at
                    ):
                        self.cry(f"user {user} got message {frame['id']}, not being there")
