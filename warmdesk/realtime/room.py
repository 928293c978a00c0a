"""A room: one channel as this process sees it: its connections and the last seq delivered.

The frames of one loop tick are joined and written once to each connection, so a burst costs one
system call each and a quiet event waits for nobody. A connection is in exactly one of three
places: `ready` (written to), `slow` (its buffer is full; it is not written to and, once drained,
catches up), `behind` (a task is reading the feed for it). Nobody's buffer is asked on the hot
path: `pause_writing` takes a connection out of `ready` by itself.

Each connection has its own `seen`. There is no await between "seen is the room's last" and joining
`ready`, so nothing falls in between and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import orjson

from warmdesk import clock
from warmdesk.metrics import EVENT_DELIVERY, WS_MESSAGES
from warmdesk.realtime.events import CATALOGUE
from warmdesk.realtime.feed import Entry, seconds_since
from warmdesk.realtime.frames import frame, payload

if TYPE_CHECKING:
    from warmdesk.realtime.connection import Connection

TAIL_EVENTS = 1000
TAIL_BYTES = 1 << 20
HELD = 256
JOINED = 8

GONE = "gone"
SENT = {
    kind.name: WS_MESSAGES.at(direction="out", type=kind.name)
    for kind in CATALOGUE.values()
    if kind.stored and not kind.name.startswith("control.")
}
OTHER = WS_MESSAGES.at(direction="out", type="other")
DELIVERED = EVENT_DELIVERY.at()


class Kept(NamedTuple):
    """A frame in the tail, with what it tells of."""

    seq: int
    entity: str
    frame: bytes


class Room:
    """One channel. `rejoin` is called for a connection that drained; `taken` hears each event in
    order; `early` gets the connections that close, for the sweeper.
    """

    __slots__ = (
        "behind",
        "beyond",
        "blanked",
        "catching",
        "channel",
        "deltas",
        "deltas_base",
        "deltas_timer",
        "early",
        "empty_since",
        "held",
        "held_timer",
        "here",
        "joined",
        "last",
        "listed",
        "look_soon",
        "opened",
        "opening",
        "presence_version",
        "present",
        "ready",
        "rejoin",
        "sent",
        "slow",
        "tail",
        "tail_bytes",
        "taken",
        "tick",
        "told",
    )  # fmt: skip

    def __init__(
        self,
        channel: str,
        *,
        rejoin: Callable[[Room, Connection], None],
        taken: Callable[[Room, Entry], None],
        early: dict[Connection, None],
    ) -> None:
        self.channel = channel
        self.rejoin = rejoin
        self.taken = taken
        self.early = early
        self.ready: dict[Connection, None] = {}
        self.slow: dict[Connection, None] = {}
        self.behind: dict[Connection, None] = {}
        self.here: list[int] | None = None
        self.last = 0
        self.sent = 0
        self.tick: list[bytes] = []
        self.told: list[Entry] = []
        self.tail: deque[Kept] = deque()
        self.tail_bytes = 0
        self.joined: dict[int, bytes] = {}
        self.beyond = -1
        self.blanked = 0
        self.held: dict[int, Entry] = {}
        self.held_timer: asyncio.TimerHandle | None = None
        self.catching: asyncio.Task[None] | None = None
        self.opening: asyncio.Future[None] | None = None
        self.opened = False
        self.empty_since: float | None = time.monotonic()
        # Presence keeps its view of this room here.
        self.present: dict[int, bytes] | None = None
        self.presence_version = -1
        self.deltas: list[tuple[str, int, bytes]] = []
        self.deltas_base = 0
        self.deltas_timer: asyncio.TimerHandle | None = None
        self.listed: tuple[int, bytes] | None = None
        self.look_soon: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.ready) + len(self.slow) + len(self.behind)

    def connections(self) -> list[Connection]:
        """All, wherever they are."""
        return [*self.ready, *self.slow, *self.behind]

    def people(self) -> list[int]:
        """The users of all connections, each once, in ascending order. Not to be changed: it is
        kept until somebody comes or goes.
        """
        if self.here is None:
            self.here = sorted({c.user_id for c in self.connections()})
        return self.here

    def begin(self, seq: int) -> None:
        """Start, or start again, at a seq: nothing before it is known here."""
        self.last = self.sent = seq
        self.tick.clear()
        self.told.clear()
        self.tail.clear()
        self.tail_bytes = 0
        self.beyond = -1
        self.joined.clear()
        self.held.clear()

    # Events

    def hear(self, entry: Entry) -> bool:
        """Take an event that is next, drop one already seen, hold one that is early. True when
        something is missing.
        """
        if entry.seq <= self.last:
            return False
        if entry.seq != self.last + 1:
            if len(self.held) < HELD:
                self.held[entry.seq] = entry
            return True
        self._take(entry)
        while self.held:
            early = self.held.pop(self.last + 1, None)
            if early is None:
                break
            self._take(early)
        if self.held and min(self.held) <= self.last:
            self.held = {seq: early for seq, early in self.held.items() if seq > self.last}
        return bool(self.held)

    def _take(self, entry: Entry) -> None:
        self.last = entry.seq
        if entry.type.endswith("deleted") and entry.entity != "-":
            self._blank(entry.entity)
        made = frame(entry.body)
        if not self.tick:
            asyncio.get_running_loop().call_soon(self.flush)
        self.tick.append(made)
        self.told.append(entry)
        self.tail.append(Kept(entry.seq, entry.entity, made))
        self.tail_bytes += len(made)
        self.joined.clear()
        while self.tail_bytes > TAIL_BYTES or len(self.tail) > TAIL_EVENTS:
            self.tail_bytes -= len(self.tail.popleft().frame)
        self.taken(self, entry)

    def _blank(self, entity: str) -> None:
        """What was told of a deleted thing is not told again: its frames in the tail keep their
        seq alone.
        """
        self.blanked += 1
        for place, kept in enumerate(self.tail):
            if kept.entity == entity:
                told = orjson.loads(payload(kept.frame))
                told["type"], told["payload"] = GONE, {}
                blank = frame(orjson.dumps(told))
                self.tail_bytes += len(blank) - len(kept.frame)
                self.tail[place] = Kept(kept.seq, kept.entity, blank)

    def flush(self) -> None:
        """Write what this tick collected. Also called before somebody joins, who would get it
        twice otherwise.
        """
        if not self.tick:
            return
        out = b"".join(self.tick) if len(self.tick) > 1 else self.tick[0]
        told, self.told = self.told, []
        self.tick.clear()
        self.sent = self.last
        self.write(out)
        self._count(told)

    def _count(self, told: list[Entry]) -> None:
        """Count what was written, and how late: once per event, however many follow."""
        viewers = len(self.ready)
        if not viewers:
            return
        now = clock.now()
        for entry in told:
            SENT.get(entry.type, OTHER).inc(viewers)
            late = seconds_since(entry, now)
            if late is not None:
                DELIVERED.observe(late)

    def write(self, out: bytes) -> None:
        """Write to all that are ready. A copy of the list: a write may call `paused`, which
        changes it.
        """
        for connection in list(self.ready):
            connection.write(out)

    def lengthen(self, entries: list[Entry]) -> bool:
        """Put older events before the tail, as many of them as fit; what does not is `beyond` it.
        False when there was nothing that continues it.
        """
        self.joined.clear()
        before = self.first
        for entry in reversed(entries):
            if entry.seq >= self.first:
                continue
            if entry.seq != self.first - 1:
                break
            made = frame(entry.body)
            if self.tail_bytes + len(made) > TAIL_BYTES or len(self.tail) >= TAIL_EVENTS:
                self.beyond = entry.seq - 1
                break
            self.tail.appendleft(Kept(entry.seq, entry.entity, made))
            self.tail_bytes += len(made)
        return self.first < before

    @property
    def first(self) -> int:
        """The seq with which the tail begins, or would."""
        return self.tail[0].seq if self.tail else self.last + 1

    # Who follows

    def missed(self, since: int) -> bytes | None:
        """All frames after `since` as one, or None when the tail does not reach back so far.
        Bounded: clients choose `since`.
        """
        self.flush()
        if since == self.last:
            return b""
        if not self.tail or not self.tail[0].seq - 1 <= since < self.last:
            return None
        made = self.joined.get(since)
        if made is None:
            if len(self.joined) >= JOINED:
                self.joined.clear()
            made = b"".join([kept.frame for kept in self.tail if kept.seq > since])
            self.joined[since] = made
        return made

    def join(self, connection: Connection) -> bool:
        """Bring a connection up to date from the tail and let it follow. False when the feed has
        to be read for it.
        """
        behind = self.missed(connection.seen)
        if behind is None:
            return False
        connection.seen = self.last
        self.behind.pop(connection, None)
        self.slow.pop(connection, None)
        self.ready[connection] = None
        self.here = None
        if behind:
            connection.write(behind)
        return True

    def paused(self, connection: Connection) -> None:
        """Its buffer is full: it is skipped from now on. What was written so far is what it has
        seen.
        """
        if connection in self.ready:
            del self.ready[connection]
            connection.seen = self.sent
            self.slow[connection] = None
        elif connection in self.behind:
            del self.behind[connection]
            self.slow[connection] = None

    def resumed(self, connection: Connection) -> None:
        """Drained: it catches up, then follows again."""
        if connection in self.slow:
            self.drop(connection)
            self.rejoin(self, connection)

    def drop(self, connection: Connection) -> None:
        """It is gone, or follows no more for the moment."""
        self.ready.pop(connection, None)
        self.slow.pop(connection, None)
        self.behind.pop(connection, None)
        self.here = None

    def stay(self, connection: Connection) -> None:
        """It waits: for its reader in `slow`, or for the feed in `behind`."""
        (self.slow if connection.paused_since else self.behind)[connection] = None
        self.here = None

    def closes(self, connection: Connection) -> None:
        """It says goodbye: the sweeper comes soon to see that it ends."""
        self.early[connection] = None
