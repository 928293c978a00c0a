"""What happens in the projects of those who look at a list of them, told to their own sockets.

A socket of a person's own that was opened with ``?projects=1`` follows no project's room: that
would be a room for each project of each person who is here. Instead the heads of all their
projects' feeds are compared with what they were, in one query, and only of those that moved, or
into which somebody came, is it looked up what each reader has of them. So a socket is told of a
project at most once in two seconds. What moved is known as told when all were told: a turn in which
that failed is made up for by the next.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from warmdesk.db.queries import sql
from warmdesk.http.commands import CommandSocket
from warmdesk.jobs.periodic import Job
from warmdesk.realtime import feed
from warmdesk.realtime.bus import REDIS_AWAY
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.events import PROJECT_ACTIVITY, signal_frame
from warmdesk.schemas.projects import HERE_SHOWN, Here, ProjectActivity

MEMBERSHIPS_SECONDS = 30.0
"""So often it is asked anew who is in which project. Who leaves one is told nothing before, too."""
STOP_SECONDS = 1.0
"""How long a turn that is under way has to end."""
PAIRS = 2000
"""Readers of projects that are looked up at once."""

Pair = tuple[int, int]
"""A user and a project."""
Crowd = tuple[int, tuple[int, ...]]
"""How many have a project open, and who came last."""


class Now(NamedTuple):
    """The last seq of each project, and who is in it: None where Redis does not tell."""

    heads: dict[int, int]
    crowds: dict[int, Crowd | None]


class Activity(Job):
    """See the module.

    slugs     the projects that are followed, by their ids
    of_user   which of them each user is in who has such a socket here
    heads     the last seq of each, as it was told
    crowds    who was in each, as it was told
    told      a hash of what was told of a project to a user last
    """

    name = "activity"
    seconds = 2.5  # a fifth less at times, and never less than two

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.slugs: dict[int, str] = {}
        self.of_user: dict[int, list[int]] = {}
        self.heads: dict[int, int] = {}
        self.crowds: dict[int, Crowd | None] = {}
        self.told: dict[Pair, int] = {}
        self._asked_at = 0.0
        self._turning = asyncio.Lock()

    async def stop(self) -> None:
        # A question to Redis that is given up under way leaves its connection open.
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._turning.acquire()
        await super().stop()

    async def turn(self) -> int:
        """Tell what moved since the last turn; gives how many frames that were."""
        async with self._turning:
            return await self._tell_all()

    async def _tell_all(self) -> int:
        sockets = self._sockets()
        if not sockets:
            self._forget()
            return 0
        await self._follow(sockets)
        now = await self._look()
        moved = {
            each
            for each in self.slugs
            if self.heads.get(each) != now.heads.get(each)
            or self.crowds.get(each, ()) != now.crowds[each]
        }
        pairs = [
            (user_id, project_id)
            for user_id in sockets
            for project_id in self.of_user.get(user_id, ())
            if project_id in moved or (user_id, project_id) not in self.told
        ]
        number = 0
        for at in range(0, len(pairs), PAIRS):
            number += await self._tell(sockets, now.crowds, pairs[at : at + PAIRS])
        self.heads, self.crowds = now
        return number

    def _sockets(self) -> dict[int, list[CommandSocket]]:
        """The sockets that want to be told, by their users."""
        found: dict[int, list[CommandSocket]] = {}
        for user_id, connections in self.desk.hub.roster.people.items():
            wanting = [
                each
                for each in connections
                if isinstance(each, CommandSocket) and each.wants_projects and not each.closing
            ]
            if wanting:
                found[user_id] = wanting
        return found

    def _forget(self) -> None:
        self.of_user.clear()
        self.slugs.clear()
        self.heads.clear()
        self.crowds.clear()
        self.told.clear()

    async def _follow(self, sockets: dict[int, list[CommandSocket]]) -> None:
        """Know in which projects these are. Who has a new socket is told of all of them."""
        fresh = {
            user_id
            for user_id, mine in sockets.items()
            if not all(each.told_projects for each in mine)
        }
        now = time.monotonic()
        if not fresh and now - self._asked_at < MEMBERSHIPS_SECONDS:
            return
        rows = await sql.projects.memberships(self.desk.database, users=list(sockets))
        self._asked_at = now
        of_user: dict[int, list[int]] = {user_id: [] for user_id in sockets}
        slugs: dict[int, str] = {}
        kept: dict[Pair, int] = {}
        for user_id, project_id, slug in rows:
            of_user[user_id].append(project_id)
            slugs[project_id] = slug
            pair = user_id, project_id
            if user_id not in fresh and pair in self.told:
                kept[pair] = self.told[pair]
        self.of_user, self.slugs, self.told = of_user, slugs, kept
        for user_id in fresh:
            for each in sockets[user_id]:
                each.told_projects = True

    async def _look(self) -> Now:
        """What there is now of the projects that are followed."""
        channels = {project_channel(each): each for each in self.slugs}
        _, heads = await feed.heads(self.desk.database, channels)
        crowds: list[Crowd | None]
        try:
            found = await self.desk.presence.newest(list(channels), HERE_SHOWN)
            crowds = [(count, tuple(newest)) for count, newest in found]
        except REDIS_AWAY:
            crowds = [None for _ in channels]
        return Now(
            {channels[channel]: ends.seq for channel, ends in heads.items()},
            dict(zip(channels.values(), crowds, strict=True)),
        )

    async def _tell(
        self,
        sockets: dict[int, list[CommandSocket]],
        crowds: dict[int, Crowd | None],
        pairs: list[Pair],
    ) -> int:
        rows = await sql.projects.activity(
            self.desk.database.heavy,
            users=[user_id for user_id, _ in pairs],
            projects=[project_id for _, project_id in pairs],
        )
        shown = await self._here({row["project_id"]: crowds[row["project_id"]] for row in rows})
        number = 0
        for row in rows:
            pair = row["user_id"], row["project_id"]
            told = msgspec.json.encode(
                ProjectActivity(
                    slug=row["slug"],
                    unread_count=row["unread_count"],
                    mention_count=row["mention_count"],
                    open_card_count=row["open_card_count"],
                    here=shown[row["project_id"]],
                )
            )
            digest = hash(told)
            if self.told.get(pair) == digest:
                continue
            self.told[pair] = digest
            frame = signal_frame(PROJECT_ACTIVITY, told)
            for each in sockets[pair[0]]:
                each.write(frame)
                number += 1
        return number

    async def _here(self, crowds: dict[int, Crowd | None]) -> dict[int, Here | None]:
        people = {user_id for crowd in crowds.values() if crowd for user_id in crowd[1]}
        refs = await self.desk.people.by_id(people)
        return {
            project_id: Here(
                count=crowd[0],
                users=[msgspec.Raw(refs[each]) for each in crowd[1] if each in refs],  # type: ignore[misc]
            )
            if crowd is not None
            else None
            for project_id, crowd in crowds.items()
        }
