"""What hangs on cards, and topics with their replies, as frames tell of them.

`Parts` is the other half of a mirror: `State` is what a board shows, this is what a board only
counts. A mirror that is made with ``parts=True`` keeps both, and `fetch_parts` reads from the lists
what they must be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from warmdesk.client import Client

AT_ONCE = 16
SPACE = 1000.0

Json = dict[str, Any]


class Parts:
    """Comments, checklists' items and links of cards, topics and replies: each by its id."""

    def __init__(self) -> None:
        self.comments: dict[int, Json] = {}
        self.items: dict[int, Json] = {}
        self.links: dict[int, Json] = {}
        self.topics: dict[int, Json] = {}
        self.replies: dict[int, Json] = {}

    def apply(self, frame: Json) -> None:
        """Take the next event in. Most are about something else."""
        if (rule := RULES.get(frame["type"])) is not None:
            rule(self, frame["payload"])

    def shown(self) -> Json:
        """All of it, in the order of the ids."""
        kinds = ("comments", "items", "links", "topics", "replies")
        return {kind: [each for _, each in sorted(getattr(self, kind).items())] for kind in kinds}

    def comment_is(self, comment: Json) -> None:
        self.comments[comment["id"]] = comment

    def comment_deleted(self, payload: Json) -> None:
        self.comments.pop(payload["comment_id"], None)

    def item_is(self, item: Json) -> None:
        self.items[item["id"]] = item

    def item_deleted(self, payload: Json) -> None:
        self.items.pop(payload["id"], None)

    def items_reordered(self, payload: Json) -> None:
        for place, id in enumerate(payload["item_ids"], 1):
            if id in self.items:  # else it was deleted while this mirror was away
                self.items[id] = self.items[id] | {"position": place * SPACE}

    def link_is(self, link: Json) -> None:
        self.links[link["id"]] = link

    def link_deleted(self, payload: Json) -> None:
        self.links.pop(payload["id"], None)

    def topic_is(self, topic: Json) -> None:
        self.topics[topic["id"]] = topic

    def topic_deleted(self, payload: Json) -> None:
        self.topics.pop(payload["id"], None)
        self.replies = without(self.replies, "topic_id", payload["id"])

    def reply_is_new(self, reply: Json) -> None:
        """Its topic counts it, and no event says so."""
        self.replies[reply["id"]] = reply
        self._counts(reply["topic_id"], 1, {"last_activity_at": reply["created_at"]})

    def reply_is(self, reply: Json) -> None:
        self.replies[reply["id"]] = reply

    def reply_deleted(self, payload: Json) -> None:
        if self.replies.pop(payload["id"], None) is not None:
            self._counts(payload["topic_id"], -1, {})

    def _counts(self, topic_id: int, more: int, changed: Json) -> None:
        if (topic := self.topics.get(topic_id)) is not None:
            counted = {"reply_count": topic["reply_count"] + more, **changed}
            self.topics[topic_id] = topic | counted

    def card_deleted(self, payload: Json) -> None:
        for kind in ("comments", "items", "links"):
            setattr(self, kind, without(getattr(self, kind), "card_id", payload["card_id"]))

    def person_is(self, member: Json) -> None:
        """Whatever shows that user shows the new name and picture."""
        user = member["user"]
        for things in (self.comments, self.topics, self.replies):
            for id, each in things.items():
                if each["user"]["id"] == user["id"]:
                    things[id] = each | {"user": user}


RULES: dict[str, Callable[[Parts, Json], None]] = {
    "board.comment_created": Parts.comment_is,
    "board.comment_updated": Parts.comment_is,
    "board.comment_deleted": Parts.comment_deleted,
    "board.checklist_item_created": Parts.item_is,
    "board.checklist_item_updated": Parts.item_is,
    "board.checklist_item_deleted": Parts.item_deleted,
    "board.checklist_reordered": Parts.items_reordered,
    "board.link_created": Parts.link_is,
    "board.link_updated": Parts.link_is,
    "board.link_deleted": Parts.link_deleted,
    "board.card_deleted": Parts.card_deleted,
    "topic.created": Parts.topic_is,
    "topic.updated": Parts.topic_is,
    "topic.deleted": Parts.topic_deleted,
    "topic.reply_created": Parts.reply_is_new,
    "topic.reply_updated": Parts.reply_is,
    "topic.reply_deleted": Parts.reply_deleted,
    "project.member_updated": Parts.person_is,
    "project.guest_updated": Parts.person_is,
}


def without(things: dict[int, Json], key: str, id: int) -> dict[int, Json]:
    """Those that do not belong to this card or topic."""
    return {each: thing for each, thing in things.items() if thing[key] != id}


async def fetch_parts(client: Client, slug: str, cards: Iterable[int]) -> Parts:
    """What hangs on these cards, and all topics, from their lists. Nobody may write meanwhile."""
    parts, path, turn = Parts(), f"/projects/{slug}", asyncio.Semaphore(AT_ONCE)

    async def of_card(card_id: int) -> None:
        card = f"{path}/cards/{card_id}"
        async with turn:
            async for comment in client.items(f"{card}/comments?limit=200"):
                parts.comment_is(comment)
            for item in await client.get(f"{card}/checklist"):
                parts.item_is(item)
            async for link in client.items(f"{card}/links?limit=500"):
                parts.link_is(link)

    async def of_topic(topic: Json) -> None:
        whole = f"{path}/topics/{topic['id']}"
        async with turn:
            if topic.pop("body_cut", False):
                topic = topic | {"body": (await client.get(whole))["topic"]["body"]}
            parts.topic_is(topic)
            async for reply in client.items(f"{whole}/replies?limit=200"):
                parts.reply_is(reply)

    async with asyncio.TaskGroup() as group:
        for card_id in cards:
            group.create_task(of_card(card_id))
        async for topic in client.items(f"{path}/topics?limit=500"):
            group.create_task(of_topic(topic))
    return parts
