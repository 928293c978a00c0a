"""Follows the control feed: empties the caches of rights, and ends sockets that have no right any
more. No other module ends or counts those. Requests that wait ask for their right again.

`control` is a feed like the others, so a revocation is never lost: it comes by the bus at once, by
the hub's check within a second when the bus lost it. A role that changed keeps the socket open,
because each write reads the role anew; an account that was deactivated, a session or key that was
ended, a membership that is gone end theirs. Every half minute one query asks about all sockets all
the same.

A removed member sees nothing after the removal: control listens to it in each room's own order and
ends the member's sockets at that very seq, wherever they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import orjson

from warmdesk.db.pool import DATABASE_AWAY, Database
from warmdesk.db.queries import sql
from warmdesk.metrics import REVOCATION_SECONDS, REVOCATIONS
from warmdesk.realtime.change import Forgetful
from warmdesk.realtime.channels import CONTROL, project_channel, project_of
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.entities import user_of
from warmdesk.realtime.events import (
    CONTROL_KEY,
    CONTROL_MEMBER,
    CONTROL_PROJECT_PURGED,
    CONTROL_RESTORED,
    CONTROL_SESSION,
    CONTROL_SETTINGS,
    CONTROL_USER,
    CONTROL_USER_PURGED,
)
from warmdesk.realtime.feed import Entry, seconds_since
from warmdesk.realtime.frames import Close
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.presence import Presence
from warmdesk.realtime.room import Room
from warmdesk.realtime.waiting import Waits
from warmdesk.tasks import Background, Tasks, seconds_to_tick

EVERY_SECONDS = 30.0
IN_BAND_SECONDS = 1.0
AGAIN_SECONDS = 0.5
ASKED_AT_ONCE = 2000
UNSURE_SECONDS = 1.0
"""A socket that seems to be opened so short before a removal may be younger: clocks differ."""

RIGHTS = frozenset(
    each.name
    for each in (
        CONTROL_KEY,
        CONTROL_MEMBER,
        CONTROL_PROJECT_PURGED,
        CONTROL_RESTORED,
        CONTROL_SESSION,
        CONTROL_USER,
    )
)
"""The events after which a right may be gone."""

ENDS = {
    "session": (Close.SIGNED_OUT, "signed out"),
    "key": (Close.SIGNED_OUT, "signed out"),
    "purge": (Close.PROJECT_GONE, "the project was purged"),
    "address": (Close.NO_ACCESS, "address not allowed"),
}
"""How sockets are closed of which this took the right."""

Right = tuple[int, str | None, int | None, Any]
"""The right by which a socket is open: user, session, key and room."""

log = logging.getLogger(__name__)


class SystemSettings(Protocol):
    """What a process knows of the settings: `doubt`: they may have changed; `allows`: whether API
    keys may be used from an address.
    """

    def doubt(self) -> None: ...

    def allows(self, address: str) -> bool: ...


class Control:
    """Ends what has no right any more; tells caches to forget."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        *,
        presence: Presence,
        forgetful: Iterable[Forgetful],
        waits: Waits,
        system: SystemSettings,
    ) -> None:
        self.hub = hub
        self.waits = waits
        self.database = database
        self.presence = presence
        self.system = system
        self.forgetful = tuple(forgetful)
        self._asks = Background("control.asks", failed=self._not_asked)
        self._unsure = asyncio.Event()
        self._tasks = Tasks()

    async def start(self) -> None:
        await self.hub.follow(CONTROL, self._hear)
        self._tasks.start("control.review", self._review)

    async def stop(self) -> None:
        await self._tasks.stop()
        await self._asks.stop()

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    def _forget(self) -> None:
        for cache in self.forgetful:
            cache.forget()

    def _hear(self, entry: Entry) -> None:
        self._forget()
        payload = orjson.loads(entry.body).get("payload", {})
        if entry.type in RIGHTS:
            self.waits.doubt(user_id=payload.get("user_id"), key_id=payload.get("key_id"))
        if entry.type == CONTROL_SESSION.name:
            concerned = [
                connection
                for connection in self.hub.roster.of_user(payload["user_id"])
                if connection.session_id == payload["session_id"]
            ]
            self._end(entry, concerned, "user" if payload.get("deactivated") else "session")
        elif entry.type == CONTROL_KEY.name:
            concerned = [c for c in self.hub.roster.connections if c.key_id == payload["key_id"]]
            self._end(entry, concerned, "key")
        elif entry.type == CONTROL_USER.name:
            self._asks.start(self._user_changed(entry, payload["user_id"]))
        elif entry.type == CONTROL_MEMBER.name:
            self._asks.start(self._member_changed(entry, **payload))
        elif entry.type == CONTROL_SETTINGS.name:
            self.system.doubt()
        elif entry.type == CONTROL_PROJECT_PURGED.name:
            room = self.hub.rooms.get(project_channel(payload["project_id"]))
            concerned = [c for c in self.hub.roster.connections if room and c.room is room]
            self._end(entry, concerned, "purge")
        elif entry.type == CONTROL_USER_PURGED.name:
            for room in self.hub.rooms.values():
                room.forget()
        elif entry.type == CONTROL_RESTORED.name:
            self.system.doubt()
            self.hub.roster.close_all(Close.RESTART, "the data was restored")

    def unheard(self) -> None:
        """Events of the control feed may have been missed: ask about every socket."""
        self._forget()
        self.waits.doubt()
        self.system.doubt()
        self._asks.start(self._ask_about_all())

    def addresses_changed(self) -> None:
        """API keys may be used from other addresses now: end what is open from one of before."""
        self.waits.doubt()
        concerned = [
            connection
            for connection in self.hub.roster.connections
            if connection.key_id is not None and not self.system.allows(connection.address)
        ]
        self._end(None, concerned, "address")

    def end_removed(self, room: Room, entry: Entry) -> None:
        """A member was removed: called in the room's order, before any event after it."""
        if room.waiting:
            # The event wakes them, and each asks again for its right, which may be known as it was.
            self._forget()
        removed = user_of(entry.entity)
        gone = [c for c in room.connections() if c.user_id == removed]
        if gone:
            room.flush()
        since = seconds_since(entry)
        for connection in gone:
            room.drop(connection)
            if connection.closing:
                continue
            if since is None or time.monotonic() - connection.opened_at < since + UNSURE_SECONDS:
                # Perhaps it was let in behind this: a member again, whose room is late.
                self._asks.start(self._let_go(connection))
                continue
            self._end(entry, [connection], "project", "no longer a member")

    def _end(
        self,
        entry: Entry | None,
        connections: list[Connection],
        cause: str,
        reason: str | None = None,
    ) -> None:
        """Close these, of which `cause` took the right."""
        code, words = ENDS.get(cause, (Close.NO_ACCESS, "access ended"))
        for connection in connections:
            if not connection.closing:
                REVOCATIONS.inc(cause=cause)
                connection.close(code, reason or words)
                _note_time(entry)

    async def _user_changed(self, entry: Entry, user_id: int) -> None:
        await self._ask_about(self.hub.roster.of_user(user_id), because_of=entry)
        try:
            await self.presence.renamed(user_id)
        except DATABASE_AWAY as error:
            self.database.outage.doubt("a name", error)

    async def _member_changed(self, entry: Entry, *, user_id: int, project_id: int) -> None:
        """A removed member's sockets end in the room's order: see `end_removed`. A second later the
        room reads what it may have missed, and those that are still open are asked about.
        """
        await asyncio.sleep(IN_BAND_SECONDS)
        concerned = self.hub.roster.of_user(user_id)
        room = self.hub.rooms.get(project_channel(project_id))
        if room is not None and room.opened and any(c.room is room for c in concerned):
            await asyncio.shield(self.hub.catch_up(room, cause="check"))
        await self._ask_about(concerned, because_of=entry)

    async def _let_go(self, connection: Connection) -> None:
        """End a socket that follows its room no more. A member who was added again comes back."""
        await self._ask_about([connection])
        if not connection.closing:
            connection.close(Close.RESTART, "members changed")

    async def _review(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_to_tick(EVERY_SECONDS)):
                    await self._unsure.wait()
            self._unsure.clear()
            try:
                await self._ask_about_all()
            except Exception:
                self._unsure.set()
                raise
            self._tasks.recovered("control.review")

    async def _ask_about_all(self) -> None:
        await self._ask_about(self.hub.roster.connections)

    def review(self, connection: Connection) -> None:
        """Ask about one socket, soon: it was let in on what may have changed meanwhile."""
        self._asks.start(self._ask_about([connection]))

    async def _ask_about(
        self, connections: Iterable[Connection], *, because_of: Entry | None = None
    ) -> None:
        """Close the connections that have no right any more. The tabs of one person are one
        question.
        """
        rights: dict[Right, list[Connection]] = {}
        for connection in connections:
            if not connection.closing:
                rights.setdefault(_right(connection), []).append(connection)
        distinct = list(rights)
        for at in range(0, len(distinct), ASKED_AT_ONCE):
            some = {right: rights[right] for right in distinct[at : at + ASKED_AT_ONCE]}
            for right, cause in await self._refused(some):
                self._end(because_of, rights[right], cause)

    async def _refused(self, rights: Mapping[Right, list[Connection]]) -> list[tuple[Right, str]]:
        """The rights that are gone, each with its cause. Waits for a database that is away, as long
        as any of their connections is open.
        """
        while open_rights := [r for r in rights if not all(c.closing for c in rights[r])]:
            users, sessions, keys, rooms = map(list, zip(*open_rights, strict=True))
            try:
                rows = await sql.sockets.refused(
                    self.database.reserved,
                    users=users,
                    sessions=sessions,
                    keys=keys,
                    projects=[_project(room) for room in rooms],
                )
            except DATABASE_AWAY as error:
                self.database.outage.doubt("the rights of sockets", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return [(open_rights[row["place"] - 1], row["cause"]) for row in rows]
        return []

    def _not_asked(self, error: BaseException) -> None:
        """A review makes up for a failed question; it is tried until it succeeds."""
        log.error("control.failed", exc_info=error)
        self._unsure.set()


def _note_time(entry: Entry | None) -> None:
    """Observe the seconds from the event that took a right to the Close that it caused."""
    if entry is not None and (since := seconds_since(entry)) is not None:
        REVOCATION_SECONDS.observe(since)


def _right(connection: Connection) -> Right:
    return connection.user_id, connection.session_id, connection.key_id, connection.room


def _project(room: Any) -> int | None:
    """The project of a socket's room; None for a user socket's."""
    return project_of(room.channel) if isinstance(room, Room) else None
