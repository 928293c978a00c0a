"""Going on with the demo: the team is there, moves cards, ticks, comments and talks, a step every
few seconds, as long as somebody looks on.

The board stays of about the same size: what is done goes back or is archived, and new cards come
from a list. What others do to the board meanwhile is seen at the next step.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from warmdesk.client import LOST, Refused, Socket
from warmdesk.demo.making import STAGES, Team

SHORTEST, LONGEST = 1.5, 5.0
"""Seconds between two steps."""
AGAIN_SECONDS = 5.0
TYPING_SECONDS = 1.2
MOST_DONE, FEWEST_WAITING, MOST_BUSY = 8, 4, 5
GONE = (403, 404)

Step = Callable[[Any], Awaitable[str | None]]
Json = dict[str, Any]


class ProjectGone(Exception):
    """The project was archived or taken away, or its people were."""


class Player:
    """Plays the people of a team on their board. `seed` decides what they do."""

    def __init__(self, team: Team, slug: str, *, seed: int | None = None) -> None:
        self.team, self.place, self.slug = team, f"/projects/{slug}", slug
        self.story = team.story["play"]
        self.chance = random.Random(seed)
        self.workers: list[str] = [
            each["key"] for each in team.story["people"] if each["role"] != "viewer"
        ]
        self.sockets: dict[str, Socket] = {}
        self.last_line = ""

    async def play(self, seconds: float | None, tell: Callable[[str], None]) -> int:
        """Go on for so long, or until cancelled; the number of steps. Raises `ProjectGone`."""
        done = 0
        async with AsyncExitStack() as here:
            for key, client in self.team.clients.items():
                socket = await here.enter_async_context(client.socket(self.slug))
                self.sockets[key] = socket
                here.push_async_callback(_ended, asyncio.create_task(_follow(socket)))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:
                        await asyncio.sleep(self.chance.uniform(SHORTEST, LONGEST))
                        if (what := await self._step()) is not None:
                            done += 1
                            tell(what)
        return done

    async def _step(self) -> str | None:
        """Do one thing; what it was, or None when it could not be."""
        try:
            board = await self._ask("nora").get(self.place)
            if board["is_archived"]:
                raise ProjectGone
            return await self._choose(board)(board)
        except Refused as refused:
            # Somebody else changed what this was about, or PostgreSQL is away for a while.
            if refused.status in GONE and not await self._is_there():
                raise ProjectGone from None
            if refused.status >= 500:
                await asyncio.sleep(AGAIN_SECONDS)
        except LOST:
            await asyncio.sleep(AGAIN_SECONDS)
        return None

    async def _is_there(self) -> bool:
        try:
            await self._ask("nora").get(f"{self.place}?include=labels")
        except Refused as refused:
            return refused.status not in GONE
        return True

    def _ask(self, key: str) -> Any:
        return self.team.clients[key]

    def _choose(self, board: Json) -> Step:
        """What to do next: what the board needs, else something."""
        columns = self._columns(board)
        if len(columns["Done"]["cards"]) > MOST_DONE:
            return self._put_away
        if len(columns["Backlog"]["cards"]) < FEWEST_WAITING:
            return self._add
        kinds: tuple[Step, ...] = (self._move, self._talk, self._comment, self._tick, self._react)
        return self.chance.choices(kinds, (5, 4, 2, 3, 2))[0]

    @staticmethod
    def _columns(board: Json) -> dict[str, Json]:
        """The columns by the stages of work; one that somebody renamed is missing."""
        named = {each["name"]: each for each in board["columns"]}
        nothing = {"id": 0, "cards": []}
        return {stage: named.get(stage, nothing) for stage in STAGES}

    def _worker(self, card: Json) -> str:
        """Who works on a card: who is assigned, else anybody."""
        assigned = {each["id"] for each in card["assignees"]}
        own = [key for key in self.workers if self.team.ids[key] in assigned]
        return self.chance.choice(own or self.workers)

    async def _move(self, board: Json) -> str | None:
        """A card to the next column; who takes one from the first is assigned to it."""
        columns = self._columns(board)
        busy = len(columns["In Progress"]["cards"])
        froms = [
            nth
            for nth, stage in enumerate(STAGES[:-1])
            if columns[stage]["cards"]
            and (nth or busy < MOST_BUSY)
            and columns[STAGES[nth + 1]]["id"]
        ]
        if not froms:
            return None
        nth = self.chance.choice(froms)
        card = self.chance.choice(columns[STAGES[nth]]["cards"])
        key, to = self._worker(card), columns[STAGES[nth + 1]]
        path = f"{self.place}/cards/{card['id']}"
        if not card["assignees"]:
            await self._ask(key).post(f"{path}/assignees/{self.team.ids[key]}")
        await self._ask(key).patch(f"{path}/move", {"column_id": to["id"], "index": 0})
        return f"{key} moved {card['title']!r} to {to['name']}"

    async def _put_away(self, board: Json) -> str | None:
        """The oldest card that is done is archived."""
        card = self._columns(board)["Done"]["cards"][-1]
        await self._ask("nora").post(f"{self.place}/cards/{card['id']}/archive")
        return f"nora archived {card['title']!r}"

    async def _add(self, board: Json) -> str | None:
        """A new card from the list of ideas; without one, some that was done is taken up again."""
        columns = self._columns(board)
        backlog = columns["Backlog"]["id"]
        known = {card["title"] for column in board["columns"] for card in column["cards"]}
        fresh = [each for each in self.story["ideas"] if each not in known]
        if not backlog or not (fresh or columns["Done"]["cards"]):
            return None
        key = self.chance.choice(self.workers)
        if not fresh:
            card = self.chance.choice(columns["Done"]["cards"])
            path = f"{self.place}/cards/{card['id']}/move"
            await self._ask(key).patch(path, {"column_id": backlog})
            return f"{key} took up {card['title']!r} again"
        label = self.chance.choice(board["labels"] or [None])
        card = {
            "title": self.chance.choice(fresh),
            "label_ids": [label["id"]] if label else [],
            "priority": self.chance.choice(("none", "low", "medium", "high")),
        }
        await self._ask(key).post(f"{self.place}/columns/{backlog}/cards", card)
        return f"{key} added {card['title']!r}"

    async def _talk(self, board: Json) -> str | None:
        """A line in the chat, which is seen coming."""
        busy = [card for stage in STAGES[1:] for card in self._columns(board)[stage]["cards"]] or [
            {"title": "the calendar", "assignees": []}
        ]
        card = self.chance.choice(busy)
        key = self._worker(card)
        lines = [each for each in self.story["lines"] if each != self.last_line]
        self.last_line = self.chance.choice(lines)
        with suppress(ConnectionError):
            await self.sockets[key].send("chat.typing", wait=False)
            await asyncio.sleep(TYPING_SECONDS)
        said = {"body": self.last_line.format(card=card["title"])}
        await self._ask(key).post(f"{self.place}/chat/messages", said)
        return f"{key} said {said['body']!r}"

    async def _comment(self, board: Json) -> str | None:
        """A comment on a card under way, sometimes with the time that it took."""
        columns = self._columns(board)
        under_way = columns["In Progress"]["cards"] + columns["Review"]["cards"]
        if not under_way:
            return None
        card = self.chance.choice(under_way)
        key = self._worker(card)
        said: Json = {"body": self.chance.choice(self.story["comments"])}
        if self.chance.random() < 0.4:
            said["time_spent_minutes"] = 15 * self.chance.randint(1, 6)
        await self._ask(key).post(f"{self.place}/cards/{card['id']}/comments", said)
        return f"{key} commented on {card['title']!r}"

    async def _tick(self, board: Json) -> str | None:
        """A step of a card under way is done."""
        columns = self._columns(board)
        open_ones = [
            card
            for card in columns["In Progress"]["cards"] + columns["Review"]["cards"]
            if card["checklist_done"] < card["checklist_total"]
        ]
        if not open_ones:
            return None
        card = self.chance.choice(open_ones)
        key, path = self._worker(card), f"{self.place}/cards/{card['id']}/checklist"
        items = [each for each in await self._ask(key).get(path) if not each["is_completed"]]
        if not items:
            return None
        await self._ask(key).put(f"{path}/{items[0]['id']}", {"is_completed": True})
        return f"{key} did {items[0]['body']!r}"

    async def _react(self, board: Json) -> str | None:
        """A sign under one of the newest messages of another."""
        key = self.chance.choice(self.workers)
        path = f"{self.place}/chat/messages"
        messages = await self._ask(key).get(f"{path}?limit=5")
        others = [
            each
            for each in messages
            if each["user_id"] != self.team.ids[key] and not each["is_deleted"]
        ]
        if not others:
            return None
        emoji = self.chance.choice(self.story["signs"])
        message = self.chance.choice(others)
        await self._ask(key).post(f"{path}/{message['id']}/reactions", {"emoji": emoji})
        return f"{key} put {emoji} under a message"


async def _follow(socket: Socket) -> None:
    """Take what comes: a socket that nobody reads is closed."""
    async for _ in socket:
        pass


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Refused):
        await task
