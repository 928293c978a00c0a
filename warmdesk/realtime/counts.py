"""Counts of cards, for those whom events cannot tell them.

A client derives how many cards a column has from what is created, moved and deleted. Of a card that
is deleted since it is told neither where it was nor whether it was counted already: ``gone``. So
after frames with such a one the counts themselves follow, true for a seq that it has reached. They
are read once for all whom a room owes them at that moment. Who is told of more that is gone while
they are read is owed others: these may count what was deleted since.
"""

from __future__ import annotations

import asyncio

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.db.queries import sql
from warmdesk.realtime.channels import project_of
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import BOARD_COUNTS, signal_frame
from warmdesk.realtime.hub import CHECK_SECONDS, HOLD_SECONDS, Hub
from warmdesk.realtime.room import Room


class Counts:
    """Whom the rooms of a process owe counts, until they are written to them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._owed: dict[Room, set[Connection]] = {}
        self._reading: dict[Room, set[Connection]] = {}
        """For whom they are read now."""
        self._telling: set[Room] = set()

    def owe(self, room: Room, connections: list[Connection]) -> None:
        """These are told of what is gone. Those that do not follow yet get counts when they do."""
        if connections and project_of(room.channel) is not None:
            self._owed.setdefault(room, set()).update(connections)
            self._begin(room)

    def rejoined(self, room: Room, connection: Connection) -> None:
        if connection in self._owed.get(room, ()):
            self._begin(room)

    def left(self, room: Room, connection: Connection) -> None:
        self._reading.get(room, set()).discard(connection)
        owed = self._owed.get(room)
        if owed is not None:
            owed.discard(connection)
            if not owed:
                del self._owed[room]

    def _begin(self, room: Room) -> None:
        if room not in self._telling:
            self._telling.add(room)
            self.hub.heals.start(self._tell(room))

    async def _tell(self, room: Room) -> None:
        try:
            while ready := self._owed.get(room, set()) & room.ready.keys():
                self._owed[room] -= ready
                self._reading[room] = ready
                try:
                    await self._tell_all(room, ready)
                except DATABASE_AWAY:
                    await asyncio.sleep(CHECK_SECONDS)
                finally:
                    # Those who were not told are owed them still.
                    if left := self._reading.pop(room, set()):
                        self._owed.setdefault(room, set()).update(left)
        finally:
            self._telling.discard(room)
            if not self._owed.get(room):
                self._owed.pop(room, None)

    async def _tell_all(self, room: Room, ready: set[Connection]) -> None:
        """Read the counts once, and write them to all of these who have got as far by then; those
        are no longer in `ready`.
        """
        found = await sql.projects.counts(
            self.hub.database.heavy, project_id=project_of(room.channel)
        )
        while room.opened and room.last < found["seq"] and found["epoch"] == self.hub.epoch:
            await asyncio.sleep(HOLD_SECONDS)
        if not room.opened or found["epoch"] != self.hub.epoch:
            # History changed, or nobody is here any more: whoever comes fetches everything.
            ready.clear()
            self._owed.pop(room, None)
            return
        room.flush()
        told = signal_frame(BOARD_COUNTS, found["counts"].encode())
        for connection in (ready - self._owed.get(room, set())) & room.ready.keys():
            connection.write(told)
            ready.discard(connection)
