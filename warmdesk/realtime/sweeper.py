"""The sweeper: one clock for all sockets of a process, instead of timers for each.

Once a second it pings the sockets that are due, warns or closes those whose token ends, ends those
that say nothing or read nothing. Thousands that only watch must cost nearly nothing: the sockets
stand in the order of their next pings, and none is looked at before its turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from itertools import takewhile

from warmdesk import clock
from warmdesk.metrics import WS_BUFFER_BYTES
from warmdesk.metrics.sharing import TICK_SECONDS
from warmdesk.realtime.connection import Connection, written
from warmdesk.realtime.events import AUTH_EXPIRING, signal_frame
from warmdesk.realtime.frames import Close
from warmdesk.realtime.room import Room

PING_SECONDS = 30.0
SILENT_SECONDS = 60.0
EXPIRY_WARNING_SECONDS = 60.0
EXPIRY_GRACE_SECONDS = 30.0
WRITE_TIMEOUT = 10.0
DRAIN_SECONDS = 60.0
SLOW_BUDGET = 256 << 20
COUNTED = 32 << 10
"""Bytes of a socket's buffer that are worth counting for the budget."""


log = logging.getLogger(__name__)


class Sweeper:
    """Looks after the connections in `rooms`.

    connections  all there are, in the order of their next pings
    early        those to look at before that: they close, their token runs out, they are silent
    """

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self.rooms = rooms
        self.connections: dict[Connection, None] = {}
        self.early: dict[Connection, None] = {}
        self._waiting: dict[Connection, int] = {}
        self._weighed_at = 0

    def add(self, connection: Connection) -> None:
        """A connection opened."""
        self.connections[connection] = None
        connection.last_ping = time.monotonic()
        connection.due = connection.last_ping + _every(connection)
        if connection.due < connection.last_ping + PING_SECONDS:
            self.early[connection] = None
        self._look_at_expiry(connection)

    def drop(self, connection: Connection) -> bool:
        """A connection ended. False when it was not there."""
        self.early.pop(connection, None)
        self._waiting.pop(connection, None)
        return self.connections.pop(connection, 0) is None

    def set_expiry(self, connection: Connection, expires_at: float | None) -> None:
        """A new token: the socket lives as long as it, and half a minute more."""
        connection.expires_at = expires_at
        connection.warned = False
        self._look_at_expiry(connection)

    def _look_at_expiry(self, connection: Connection) -> None:
        if connection.expires_at is not None:
            left = connection.expires_at - clock.now()
            moment = time.monotonic() + max(0.0, left - EXPIRY_WARNING_SECONDS)
            if moment < connection.due:
                connection.due = moment
                self.early[connection] = None

    def visit(self, now: float) -> None:
        """Once a second: ping, warn or close the sockets that are due; judge slow readers."""
        # The next visit is two ticks away: a socket that is due before half of that is not left to
        # it, or visits that come a moment early would put off every ping by a second.
        soon = now + TICK_SECONDS
        waits = takewhile(lambda c: c.last_ping + PING_SECONDS <= soon, self.connections)
        due = dict.fromkeys(waits)
        due.update((c, None) for c in self.early if c.due <= now)
        for connection in due:
            self._look(self._turn, connection, now)
        for room in self.rooms.values():
            for connection in [*room.slow, *room.behind]:
                self._look(self._judge, connection, now)

    def _look(self, at: Callable[[Connection, float], None], one: Connection, now: float) -> None:
        """A fault of one socket ends that socket, and not the round before it came to the rest."""
        try:
            at(one, now)
        except Exception:
            log.exception("socket.failed connection=%s user_id=%d", one.id, one.user_id)
            one.abort()

    def _judge(self, connection: Connection, now: float) -> None:
        """End a slow reader that takes nothing, or not enough. One that is being read for is slow
        too, but waits for us.
        """
        connection.tick(now)
        stalled, paused = connection.stalled_since, connection.paused_since
        if (stalled and now - stalled > WRITE_TIMEOUT) or (paused and now - paused > DRAIN_SECONDS):
            connection.close(Close.SLOW_READER, "too slow")

    def keep_to_budget(self) -> None:
        """End the fullest when, at the next visit, more would wait than the budget allows.

        All sockets count, not only those past the limit of a slow reader: a thousand just below it
        are a gigabyte. But a socket counts only if it had bytes waiting at the last visit, too: a
        burst that is being taken is no trouble. There is no time for goodbyes: the bytes must be
        gone before more come.

        No socket is asked while none had bytes waiting and little was written since: to ask
        thousands that only watch twice a second would cost more than everything else.
        """
        if (
            not self._waiting
            and written[0] - self._weighed_at < SLOW_BUDGET // 16
            and not any(room.slow for room in self.rooms.values())
        ):
            return
        self._weighed_at = written[0]
        before, self._waiting = (
            self._waiting,
            {
                connection: size
                for connection in self.connections
                if (size := connection.buffered) > COUNTED
            },
        )
        held = [
            # A slow reader is given no more; a buffer that grew will grow by as much again.
            (size, size if connection.paused_since else max(size, 2 * size - was), connection)
            for connection, size in self._waiting.items()
            if (was := before.get(connection, 0)) or connection.paused_since
        ]
        WS_BUFFER_BYTES.set(sum(size for size, _, _ in held))
        soon = sum(size for _, size, _ in held)
        if soon <= SLOW_BUDGET:
            return
        held.sort(key=lambda each: each[1])
        while soon > SLOW_BUDGET and held:
            _, size, connection = held.pop()
            connection.close(Close.SLOW_READER, "the budget for slow readers is spent")
            connection.abort()
            soon -= size

    def _turn(self, connection: Connection, now: float) -> None:
        """Do what is due for one connection; set when to come again."""
        if connection not in self.connections:
            return
        if connection.closing:
            connection.tick(now)
            connection.due = now + TICK_SECONDS
            return
        if now - connection.last_heard > SILENT_SECONDS and not connection.paused_since:
            connection.close(Close.HEARTBEAT, "no answer to pings")
            connection.due = now + TICK_SECONDS
            return
        every = _every(connection)
        if now - connection.last_ping >= every - 1:
            connection.last_ping = now
            connection.ping()
            del self.connections[connection]
            self.connections[connection] = None
        # A pong comes some time after its ping: two pings later it is not yet silent long enough.
        due = min(connection.last_ping + every, connection.last_heard + SILENT_SECONDS)
        if connection.expires_at is not None:
            left = connection.expires_at - clock.now()
            if left <= -EXPIRY_GRACE_SECONDS:
                connection.close(Close.SIGNED_OUT, "the token expired")
            elif left <= EXPIRY_WARNING_SECONDS and not connection.warned:
                connection.warned = True
                moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(connection.expires_at))
                connection.write(
                    signal_frame(AUTH_EXPIRING, b'{"expires_at":"%s"}' % moment.encode())
                )
            next_look = (
                left + EXPIRY_GRACE_SECONDS if connection.warned else left - EXPIRY_WARNING_SECONDS
            )
            due = min(due, now + max(0.0, next_look))
        if connection.closing:
            due = now + TICK_SECONDS
        connection.due = due
        if connection.closing or due < connection.last_ping + PING_SECONDS:
            self.early[connection] = None
        else:
            self.early.pop(connection, None)


def _every(connection: Connection) -> float:
    """Seconds between two pings of a connection."""
    return min(PING_SECONDS, connection.quiet_seconds)
