"""Follows the control feed: what a process cached is forgotten, and sockets whose right is gone
are ended.

`control` is a feed like the others, so a revocation is never lost: it comes by the bus at once, by
the hub's check within a second when the bus lost it. A role that changed keeps the socket open,
because each write reads the role anew; an account that was deactivated, a session or key that was
ended, a membership that is gone end theirs. Every half minute all sockets are asked about in one
query all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Protocol

import orjson

from warmdesk.db.pool import DATABASE_AWAY, Database
from warmdesk.db.queries import sql
from warmdesk.metrics import REVOCATION_SECONDS, REVOCATIONS
from warmdesk.realtime.channels import CONTROL, project_channel
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import (
    CONTROL_KEY,
    CONTROL_MEMBER,
    CONTROL_RESTORED,
    CONTROL_SESSION,
    CONTROL_USER,
)
from warmdesk.realtime.feed import Entry, seconds_since
from warmdesk.realtime.frames import Close
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.presence import Presence
from warmdesk.realtime.room import Room
from warmdesk.tasks import Tasks, end

EVERY_SECONDS = 30.0
IN_BAND_SECONDS = 1.0
AGAIN_SECONDS = 0.5
SOCKETS_A_QUERY = 2000

log = logging.getLogger(__name__)


class Forgetful(Protocol):
    """A cache that lives only as long as no control event came."""

    def forget(self) -> None: ...


class Control:
    """Ends what has no right any more; tells caches to forget."""

    def __init__(
        self, hub: Hub, database: Database, *, presence: Presence, forgetful: Iterable[Forgetful]
    ) -> None:
        self.hub = hub
        self.database = database
        self.presence = presence
        self.forgetful = tuple(forgetful)
        self._asks: set[asyncio.Task[None]] = set()
        self._tasks = Tasks()
        hub.on_history = self._unheard

    async def start(self) -> None:
        await self.hub.follow(CONTROL, self._hear)
        self._tasks.start("control.review", self._review)

    async def stop(self) -> None:
        await self._tasks.stop()
        await end(self._asks)

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    def _forget(self) -> None:
        for cache in self.forgetful:
            cache.forget()

    def _hear(self, entry: Entry) -> None:
        self._forget()
        payload = orjson.loads(entry.body).get("payload", {})
        if entry.type == CONTROL_SESSION.name:
            self._end(
                entry,
                lambda c: c.session_id == payload["session_id"],
                self.hub.of_user(payload["user_id"]),
            )
        elif entry.type == CONTROL_KEY.name:
            self._end(entry, lambda c: c.key_id == payload["key_id"], list(self.hub.connections))
        elif entry.type == CONTROL_USER.name:
            self._later(self._user_changed(entry, payload["user_id"]))
        elif entry.type == CONTROL_MEMBER.name:
            self._later(self._member_changed(entry, **payload))
        elif entry.type == CONTROL_RESTORED.name:
            self.hub.close_all(Close.RESTART, "the data was restored")

    def _unheard(self) -> None:
        """What was said went by unheard: ask about everything."""
        self._forget()
        self._later(self._ask_about_all())

    def _end(self, entry: Entry, concerned: Any, among: list[Connection]) -> None:
        for connection in among:
            if concerned(connection):
                REVOCATIONS.inc(cause="session" if connection.session_id else "key")
                connection.close(Close.SIGNED_OUT, "signed out")
                _note_time(entry)

    async def _user_changed(self, entry: Entry, user_id: int) -> None:
        await self._ask_about(self.hub.of_user(user_id), because_of=entry)
        try:
            await self.presence.renamed(user_id)
        except DATABASE_AWAY as error:
            log.warning("control.not_renamed user_id=%d error=%s", user_id, type(error).__name__)

    async def _member_changed(self, entry: Entry, *, user_id: int, project_id: int) -> None:
        """A removed member's sockets are ended by the room at the seq of the removal. What is still
        open a second later is asked about, when the room has read what it may have missed.
        """
        await asyncio.sleep(IN_BAND_SECONDS)
        concerned = self.hub.of_user(user_id)
        room = self.hub.rooms.get(project_channel(project_id))
        if room is not None and room.opened and any(c.room is room for c in concerned):
            await self.hub.catch_up(room, cause="check")
        await self._ask_about(concerned, because_of=entry)

    async def _review(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self._ask_about_all()
            self._tasks.recovered("control.review")

    async def _ask_about_all(self) -> None:
        open_now = list(self.hub.connections)
        for at in range(0, len(open_now), SOCKETS_A_QUERY):
            await self._ask_about(open_now[at : at + SOCKETS_A_QUERY])

    async def review(self, connection: Connection) -> None:
        """Ask about one socket: it was let in on what may have changed meanwhile."""
        await self._ask_about([connection])

    async def _ask_about(
        self, connections: list[Connection], *, because_of: Entry | None = None
    ) -> None:
        """Close those that have no right any more."""
        while connections := [c for c in connections if not c.closing]:
            try:
                rows = await sql.sockets.refused(
                    self.database.healing,
                    users=[c.user_id for c in connections],
                    sessions=[c.session_id for c in connections],
                    keys=[c.key_id for c in connections],
                    projects=[project_of(c) for c in connections],
                )
                break
            except DATABASE_AWAY as error:
                log.warning(
                    "control.not_reviewed sockets=%d error=%s",
                    len(connections),
                    type(error).__name__,
                )
                await asyncio.sleep(AGAIN_SECONDS)
        else:
            return
        for row in rows:
            connection = connections[row["place"] - 1]
            REVOCATIONS.inc(cause=row["cause"])
            connection.close(
                Close.SIGNED_OUT if row["cause"] in ("session", "key") else Close.NO_ACCESS,
                "access ended",
            )
            _note_time(because_of)

    def _later(self, run: Any) -> None:
        task = asyncio.create_task(run)
        self._asks.add(task)
        task.add_done_callback(self._asks.discard)


def _note_time(entry: Entry | None) -> None:
    """How long it took from the event that took a right to the Close that it caused."""
    if entry is not None and (since := seconds_since(entry)) is not None:
        REVOCATION_SECONDS.observe(since)


def project_of(connection: Connection) -> int | None:
    """The project a socket is on; None for a user socket."""
    room = connection.room
    if isinstance(room, Room) and room.channel.startswith("project:"):
        return int(room.channel.removeprefix("project:"))
    return None
