"""The roster: all sockets of one process; when one more may open, and how all are closed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import get_args

from warmdesk.metrics import WS_CONNECTIONS
from warmdesk.realtime.connection import Connection, Where
from warmdesk.realtime.events import RECONNECT, signal_frame
from warmdesk.realtime.frames import Close
from warmdesk.realtime.room import Room
from warmdesk.realtime.sweeper import Sweeper

OPENING_AT_ONCE = 100
AGAIN_SECONDS, AGAIN_LATEST = 2.0, 20.0
AGAIN_EACH_SECOND = 400
CONNECTIONS_EACH = 20
"""Sockets of one user that follow one room here."""
STOP_SPREAD_SECONDS = 3.0
STOP_STEP_SECONDS = 0.05
STOP_CLOSE_SECONDS = 2.0


class Roster:
    """The connections of one process.

    people         by user, in the order of their opening
    connections    all, in the order in which the sweeper pings them
    opening_slots  a storm of newcomers waits its turn instead of drowning the database
    """

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self.people: dict[int, list[Connection]] = {}
        self.sweeper = Sweeper(rooms)
        self.connections = self.sweeper.connections
        self.opening_slots = asyncio.Semaphore(OPENING_AT_ONCE)
        self._again_at = 0.0
        self._count_open = dict.fromkeys(get_args(Where), 0)

    def add(self, connection: Connection) -> list[Connection]:
        """A connection opened. Gives all of its user, the oldest first."""
        self.sweeper.add(connection)
        mine = self.people.setdefault(connection.user_id, [])
        mine.append(connection)
        self._count(connection, 1)
        return mine

    def drop(self, connection: Connection) -> None:
        """A connection ended; it need not be here."""
        if self.sweeper.drop(connection):
            self._count(connection, -1)
        mine = self.people.get(connection.user_id)
        if mine is not None and connection in mine:
            mine.remove(connection)
            if not mine:
                del self.people[connection.user_id]

    def _count(self, connection: Connection, change: int) -> None:
        self._count_open[connection.kind] += change
        WS_CONNECTIONS.set(self._count_open[connection.kind], kind=connection.kind)

    def of_user(self, user_id: int) -> list[Connection]:
        """A user's open connections in this process."""
        return list(self.people.get(user_id, ()))

    def when_to_come_back(self) -> int:
        """Seconds until a client that cannot open a socket now should try again. Each gets a later
        moment than the one before: clients with the same moment come all at once, most of them in
        vain.
        """
        now = time.monotonic()
        later = max(self._again_at, now + AGAIN_SECONDS) + 1 / AGAIN_EACH_SECOND
        self._again_at = min(later, now + AGAIN_LATEST)
        return math.ceil(self._again_at - now)

    def close_all(self, code: Close, reason: str) -> None:
        """Close every socket of this process."""
        for connection in list(self.connections):
            connection.close(code, reason)

    async def close_sockets(self, *, spread: float = STOP_SPREAD_SECONDS) -> None:
        """Tell every socket to come back at a random moment, then close them with 1001, one after
        another within `spread` seconds: clients that come back at once shall not come all together.

        A socket whose opening was under way, or that came on a connection that was kept, goes too.
        """
        goodbye = signal_frame(RECONNECT, b'{"min_ms":100,"max_ms":%d}' % (100 + 1000 * spread))
        leaving = list(self.connections)
        for connection in leaving:
            connection.write(goodbye)
        began = time.monotonic()
        step = min(STOP_STEP_SECONDS, spread / max(1, len(leaving)))
        for index, connection in enumerate(leaving):
            early = began + index * step - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            connection.close(Close.GOING_AWAY)
        limit = time.monotonic() + STOP_CLOSE_SECONDS
        while self.connections and time.monotonic() < limit:
            for connection in list(self.connections):
                connection.write(goodbye)  # dropped where it closes already
                connection.close(Close.GOING_AWAY)
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
