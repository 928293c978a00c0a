"""Who talks in a soak, to some people only: in conversations of two and of groups, whose members
come and go, in topics, and on others' cards. They read, say so, and read what they are notified of.
"""

from __future__ import annotations

import collections
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from load.soak.seats import SLUG, Pen
from load.soak.texts import MESSAGE, TITLE, text
from warmdesk.client import LOST, Refused

if TYPE_CHECKING:
    from load.soak.people import Team

TOPIC = 2000
TOPICS_EACH, MESSAGES_EACH = 3, 30
NAMED = 0.3
SURE_SECONDS = 5.0
"""What takes longer may have been tried more than once."""


@dataclass
class Conversation:
    """One that all who work here know. `members`: who is in it for certain; `moves`: how often
    that began to change. `unsure`: an earlier try of a change may be carried out late.
    """

    id: int
    maker: str
    members: set[str]
    is_group: bool = True
    moves: int = 0
    unsure: bool = False


@dataclass
class Turn:
    """Somebody does the next thing; `name` begins what they write."""

    who: str
    client: Pen
    chance: random.Random
    name: str


Act = Callable[[Turn], Awaitable[None]]


@dataclass
class Talk:
    """All who talk, and what they know of each other's doing."""

    team: Team
    conversations: dict[int, Conversation] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    """Who began each."""
    messages: dict[str, collections.deque[tuple[Conversation, int]]] = field(
        default_factory=lambda: collections.defaultdict(collections.deque)
    )

    @property
    def usernames(self) -> list[str]:
        return [f"talker-{number}" for number in range(1, self.team.size.talkers + 1)]

    async def go_on(self, username: str) -> None:
        """Until the soak is over."""
        team, chance = self.team, random.Random(f"{self.team.world.seed} {username}")
        acts: dict[Act, int] = {
            self._say: 38,
            self._read: 20,
            self._notice: 14,
            self._comment: 10,
            self._discuss: 10,
            self._take_back: 4,
            self._move: 8,
            self._leave: 2,
        }
        for number in itertools.count():
            if team.over.is_set():
                return
            async with team.at_work():
                if team.over.is_set():
                    return
                client = await team.client(username, chance.choice(team.world.hosts))
                act = chance.choices(list(acts), weights=list(acts.values()))[0]
                turn = Turn(username, client, chance, f"{username} {number}")
                try:
                    await act(turn)
                except Refused as error:
                    if error.status < 500:
                        team.broken.append(f"{username}, {act.__name__}: {error}")
                except LOST:
                    pass
            await team.rest(team.size.talk_rest)

    # Conversations.

    def _mine(self, who: str) -> list[Conversation]:
        return [each for each in self.conversations.values() if who in each.members]

    async def _say(self, turn: Turn) -> None:
        mine = self._mine(turn.who)
        if not mine:
            return await self._open(turn)
        conversation = turn.chance.choice(mine)
        name = turn.name
        if turn.chance.random() < NAMED:
            name += f" @{turn.chance.choice([*self.usernames, 'eve', 'writer-1'])}"
        body = text(turn.chance, MESSAGE, name)
        sent = turn.client.post(f"/conversations/{conversation.id}/messages", {"body": body})
        made = await self.team.record("dm", body, sent, unless=moved(conversation))
        if made is not None:
            self.messages[turn.who].append((conversation, made["id"]))

    async def _open(self, turn: Turn) -> None:
        """A conversation with one other, or a group."""
        others = [name for name in self.usernames if name != turn.who]
        made_by_me = [c for c in self._mine(turn.who) if c.is_group and c.maker == turn.who]
        count = 1 if made_by_me else turn.chance.randint(2, max(2, len(others) - 1))
        chosen = turn.chance.sample(others, count)
        ids = [self.team.world.ids[name] for name in chosen]
        body: Any = {"user_ids": ids} | ({"name": turn.name} if count > 1 else {})
        made = await turn.client.post("/conversations", body)
        self.conversations.setdefault(
            made["id"],
            Conversation(made["id"], turn.who, {turn.who, *chosen}, is_group=count > 1),
        )
        known = self.team.stranger.known_ids.setdefault("conversation_id", set())
        known.add(made["id"])

    async def _move(self, turn: Turn) -> None:
        """Somebody comes into the group that one made, or is removed from it."""
        mine = [c for c in self._mine(turn.who) if c.is_group and c.maker == turn.who]
        if not mine or turn.chance.random() < 0.1:
            return await self._open(turn)
        group = turn.chance.choice(mine)
        path = f"/conversations/{group.id}/members"
        who = turn.chance.choice([name for name in self.usernames if name != turn.who])
        if who in group.members:
            group.members.discard(who)
            out = turn.client.delete(f"{path}/{self.team.world.ids[who]}")
            await self._unless_gone(moves(group, out))
            return None
        try:
            await moves(group, turn.client.post(path, {"user_id": self.team.world.ids[who]}))
        except Refused as error:
            if error.status != 409:  # it was not known what became of it
                raise
        group.members.add(who)
        return None

    async def _leave(self, turn: Turn) -> None:
        mine = [c for c in self._mine(turn.who) if c.is_group and c.maker != turn.who]
        if not mine:
            return
        group = turn.chance.choice(mine)
        group.members.discard(turn.who)
        path = f"/conversations/{group.id}/members/{self.team.world.ids[turn.who]}"
        await self._unless_gone(moves(group, turn.client.delete(path)))

    async def _read(self, turn: Turn) -> None:
        """Up to the newest message, or to one before it."""
        mine = self._mine(turn.who)
        if not mine:
            return
        conversation = turn.chance.choice(mine)
        path, is_gone = f"/conversations/{conversation.id}", moved(conversation)
        try:
            page = await turn.client.get(f"{path}/messages?limit=5")
            if page:
                last = page[-1] if turn.chance.random() < 0.7 else turn.chance.choice(page)
                await turn.client.post(f"{path}/read", {"message_id": last["id"]})
        except Refused as error:
            if not (error.status == 404 and is_gone()):
                raise

    async def _take_back(self, turn: Turn) -> None:
        """Delete a message of one's own."""
        mine = self.messages[turn.who]
        while len(mine) > MESSAGES_EACH or (mine and turn.who not in mine[0][0].members):
            mine.popleft()
        if not mine:
            return
        conversation, id = mine.popleft() if turn.chance.random() < 0.5 else mine.pop()
        if turn.who not in conversation.members:
            return
        is_gone, ledger = moved(conversation), self.team.ledger
        ledger.deleting(id, "dm")
        try:
            await turn.client.delete(f"/conversations/{conversation.id}/messages/{id}")
        except Refused as error:
            if not (error.status == 404 and is_gone()):
                raise
        else:
            # An earlier try may have been refused, and the last one counts as done.
            if not is_gone():
                ledger.deleted(id, "dm")

    # Notifications.

    async def _notice(self, turn: Turn) -> None:
        """Read one or all, or delete one. What it was about may be deleted meanwhile."""
        listed = (await turn.client.get("/notifications?limit=50"))["items"]
        unread = [each for each in listed if each["read_at"] is None]
        context = turn.chance.random()
        if unread and context < 0.7:
            id = turn.chance.choice(unread)["id"]
            await self._unless_gone(turn.client.post(f"/notifications/{id}/read"))
        elif listed and context < 0.85:
            id = turn.chance.choice(listed)["id"]
            await self._unless_gone(turn.client.delete(f"/notifications/{id}"))
        else:
            await turn.client.post("/notifications/read-all")

    async def _unless_gone(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except Refused as error:
            if error.status != 404:
                raise

    # The board.

    async def _comment(self, turn: Turn) -> None:
        """On a card of somebody else, who may delete it."""
        if not self.team.cards[SLUG]:
            return
        card_id = turn.chance.choice(self.team.cards[SLUG])
        await self.team.comment(
            turn.client,
            f"/projects/{SLUG}/cards/{card_id}",
            turn.chance,
            turn.name,
            unless=lambda: self.team.ledger.may_be_gone(card_id),
        )

    async def _discuss(self, turn: Turn) -> None:
        """Begin a topic, or reply to one; delete one of one's own now and then."""
        team, path = self.team, f"/projects/{SLUG}/topics"
        mine = [id for id, author in self.topics.items() if author == turn.who]
        context = turn.chance.random()
        if not self.topics or (context < 0.3 and len(mine) < TOPICS_EACH):
            title = text(turn.chance, TITLE, turn.name)
            body = team.said(turn.chance, turn.name, TOPIC)
            sent = turn.client.post(path, {"title": title, "body": body})
            made = await team.record("topic", title, sent)
            if made is not None:
                self.topics[made["id"]] = turn.who
        elif mine and context < 0.4:
            id = turn.chance.choice(mine)
            del self.topics[id]
            team.ledger.deleting(id, "topic")
            await turn.client.delete(f"{path}/{id}")
            team.ledger.deleted(id, "topic")
        else:
            id = turn.chance.choice(list(self.topics))
            body = team.said(turn.chance, turn.name, TOPIC)
            await team.record(
                "reply",
                body,
                turn.client.post(f"{path}/{id}/replies", {"body": body}),
                unless=lambda: team.ledger.may_be_gone(id, "topic"),
            )


def moved(conversation: Conversation) -> Callable[[], bool]:
    """Says later whether somebody came or went since now, so that 404 may be right."""
    moves = conversation.moves
    return lambda: conversation.unsure or conversation.moves != moves


async def moves(conversation: Conversation, work: Awaitable[Any]) -> Any:
    """Somebody comes or goes."""
    conversation.moves += 1
    began = time.monotonic()
    try:
        return await work
    finally:
        if time.monotonic() - began > SURE_SECONDS:
            conversation.unsure = True
