"""A room: one channel as this process sees it: its connections and the last seq delivered.

The frames of one loop tick are joined and written once to each connection, so a burst costs one
system call each and a quiet event waits for nobody. A connection is in exactly one of three sets:
`ready` (written to), `slow` (its buffer is full; it is not written to and, once drained, catches
up), `behind` (a task is reading the feed for it). No buffer is asked on the hot path:
`pause_writing` takes a connection out of `ready` by itself.

The tail has the latest events, each the next after the one before. It keeps envelopes; frames are
made when they are written, and none is ever read. An event is taken whole or not at all: `last`
moves on when it stands in the tail, and an error before that leaves the room in doubt.

Each connection has its own `seen`. There is no await between "seen is the room's last" and joining
`ready`, so nothing falls in between and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from warmdesk import clock
from warmdesk.metrics import EVENT_DELIVERY, WS_MESSAGES
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.entities import is_erased
from warmdesk.realtime.events import CATALOGUE
from warmdesk.realtime.feed import GONE, Entry, blanked, seconds_since
from warmdesk.realtime.frames import frame
from warmdesk.realtime.presence_frames import RoomPresence
from warmdesk.realtime.waiting import Waiter, Wake

if TYPE_CHECKING:
    from warmdesk.realtime.connection import Connection

TAIL_EVENTS = 1000
TAIL_BYTES = 1 << 20
HELD = 256
JOINED = 8

SENT = {
    kind.name: WS_MESSAGES.at(direction="out", type=kind.name)
    for kind in CATALOGUE.values()
    if kind.stored and kind.scope is not EventScope.CONTROL
}
OTHER = WS_MESSAGES.at(direction="out", type="other")
DELIVERED = EVENT_DELIVERY.at()

log = logging.getLogger(__name__)


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
        "doubtful",
        "early",
        "empty_since",
        "gone",
        "held",
        "held_for",
        "held_since",
        "held_timer",
        "joined",
        "last",
        "missing_since",
        "oldest",
        "opened",
        "opening",
        "presence",
        "present_ids",
        "read_late",
        "read_since",
        "ready",
        "rejoin",
        "sent",
        "slow",
        "tail",
        "tail_bytes",
        "taken",
        "tick",
        "tick_entries",
        "waiting",
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
        self.waiting: dict[Waiter, None] = {}
        self.present_ids: list[int] | None = None
        self.last = 0
        self.oldest = 1  # the oldest seq that the feed kept a second ago, or would keep
        self.sent = 0
        self.tick: list[bytes] = []
        self.tick_entries: list[Entry] = []
        self.tail: deque[Entry] = deque()
        self.tail_bytes = 0
        self.joined: dict[int, bytes] = {}
        self.beyond = -1
        self.blanked = 0
        self.gone = -1  # the seq of the youngest blank event in the tail
        self.held: dict[int, Entry] = {}
        self.doubtful = False  # something was heard of that neither stands nor is held
        self.held_timer: asyncio.TimerHandle | None = None
        self.held_for = 0  # the seq that is waited for
        self.held_since = 0.0
        self.missing_since = 0.0  # since then something was always missing
        self.read_late = 0  # the seq that did not come in time, and was read
        self.read_since = 0.0  # since when it had been waited for
        self.catching: asyncio.Task[None] | None = None
        self.opening: asyncio.Future[None] | None = None
        self.opened = False
        self.empty_since: float | None = time.monotonic()
        self.presence = RoomPresence()

    def __len__(self) -> int:
        return len(self.ready) + len(self.slow) + len(self.behind)

    @property
    def empty(self) -> bool:
        """Whether nobody follows it, neither a socket nor a request that waits."""
        return not (self.waiting or len(self))

    def connections(self) -> list[Connection]:
        """All, wherever they are."""
        return [*self.ready, *self.slow, *self.behind]

    def people(self) -> list[int]:
        """The users of all connections, each once, in ascending order. Not to be changed: the list
        is reused until somebody comes or goes.
        """
        if self.present_ids is None:
            self.present_ids = sorted({c.user_id for c in self.connections()})
        return self.present_ids

    def begin(self, seq: int) -> None:
        """Start, or start again, at a seq: nothing before it is known here."""
        self.last = self.sent = seq
        self.tick.clear()
        self.tick_entries.clear()
        self.tail.clear()
        self.tail_bytes = 0
        self.beyond = self.gone = -1
        self.joined.clear()
        self.doubtful = any(early > seq for early in self.held)
        self.held.clear()
        self.rest()
        for waiter in self.waiting:
            waiter.wake(Wake.EVENT)

    def rest(self) -> None:
        """Nothing is waited for."""
        if self.held_timer is not None:
            self.held_timer.cancel()
            self.held_timer = None

    # Events

    def hear(self, entry: Entry) -> bool:
        """Take an event that is next, drop one already seen, hold one that is early. True when
        something is missing.
        """
        if entry.seq <= self.last:
            return bool(self.held) or self.doubtful
        if entry.seq != self.last + 1:
            self.hold(entry)
            return True
        self._take(entry)
        while self.held:
            early = self.held.pop(self.last + 1, None)
            if early is None:
                break
            self._take(early)
        if self.held and min(self.held) <= self.last:
            self.held = {seq: early for seq, early in self.held.items() if seq > self.last}
        return bool(self.held) or self.doubtful

    def hold(self, entry: Entry) -> None:
        """Keep an early event; beyond the limit it is only known that something is missing."""
        if len(self.held) < HELD:
            self.held[entry.seq] = entry
        else:
            self.doubtful = True

    def _take(self, entry: Entry) -> None:
        made = frame(entry.body)
        if entry.erases:
            self._blank(entry.entity)
        if not self.tick:
            asyncio.get_running_loop().call_soon(self.flush)
        self.tick.append(made)
        self.tick_entries.append(entry)
        self.tail.append(entry)
        self.tail_bytes += len(entry.body)
        if entry.type == GONE:
            self.gone = entry.seq
        self.last = entry.seq
        self.joined.clear()
        while self.tail_bytes > TAIL_BYTES or len(self.tail) > TAIL_EVENTS:
            self.tail_bytes -= len(self.tail.popleft().body)
        self.taken(self, entry)
        for waiter in self.waiting:
            waiter.hear(entry.seq, entry.entity)

    def _blank(self, entity: str) -> None:
        """Blank the events of a deleted thing and of all below it, in the tail and among those that
        wait for the end of this tick: they keep their seqs alone.
        """
        self.blanked += 1
        self.joined.clear()
        gone = {entity}
        for index, entry in enumerate(self.tail):
            if is_erased(entry.entity, gone):
                blank = blanked(entry)
                self.tail_bytes += len(blank.body) - len(entry.body)
                self.tail[index] = blank
                self.gone = max(self.gone, entry.seq)
        for index, entry in enumerate(self.tick_entries):
            if is_erased(entry.entity, gone):
                self.tick_entries[index] = blanked(entry)
                self.tick[index] = frame(self.tick_entries[index].body)

    def flush(self) -> None:
        """Write the frames of this tick. Also called before a connection joins, which would get
        them twice otherwise.
        """
        if not self.tick:
            return
        out = b"".join(self.tick) if len(self.tick) > 1 else self.tick[0]
        entries, self.tick_entries = self.tick_entries, []
        self.tick.clear()
        self.sent = self.last
        self.write(out)
        self._count(entries)

    def _count(self, entries: list[Entry]) -> None:
        """Count what was written, and how late: once per event, however many follow."""
        viewers = len(self.ready)
        if not viewers:
            return
        now = clock.now()
        for entry in entries:
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
            size = len(entry.body)
            if self.tail_bytes + size > TAIL_BYTES or len(self.tail) >= TAIL_EVENTS:
                self.beyond = entry.seq - 1
                break
            self.tail.appendleft(entry)
            self.tail_bytes += size
            if entry.type == GONE:
                self.gone = max(self.gone, entry.seq)
        return self.first < before

    def as_now(self, entries: list[Entry], head: int) -> list[Entry] | None:
        """Events that were read when the feed's head was `head`, without the texts that were
        deleted since. None when that is not known: then they are to be read again.
        """
        if self.last <= head:
            return entries
        if self.first > head + 1:
            return None
        since = islice(self.tail, head + 1 - self.first, None)
        gone = {entry.entity for entry in since if entry.erases}
        if not gone:
            return entries
        return [blanked(each) if is_erased(each.entity, gone) else each for each in entries]

    @property
    def first(self) -> int:
        """The seq with which the tail begins, or would."""
        return self.tail[0].seq if self.tail else self.last + 1

    def forget(self) -> None:
        """What was told is written anew in the feed: from now on older events are read there."""
        self.flush()
        self.tail.clear()
        self.tail_bytes = 0
        self.beyond = self.gone = -1
        self.joined.clear()

    # Who follows

    def events_after(self, since: int, limit: int) -> list[Entry]:
        """Events after `since`, the oldest first; none when the tail does not reach back so far."""
        begin = since + 1 - self.first
        return list(islice(self.tail, begin, begin + limit)) if begin >= 0 else []

    def missed(self, since: int) -> bytes | None:
        """All frames after `since` as one, or None when the tail does not reach back so far.
        Bounded: clients choose `since`.
        """
        self.flush()
        if since == self.last:
            return b""
        first = self.first
        if not first - 1 <= since < self.last:
            return None
        if self.last + 1 - first != len(self.tail):
            log.error("room.hole channel=%s first=%d last=%d", self.channel, first, self.last)
            self.tail.clear()
            self.tail_bytes = 0
            return None
        made = self.joined.get(since)
        if made is None:
            if len(self.joined) >= JOINED:
                self.joined.clear()
            rest = islice(self.tail, since + 1 - first, None)
            made = b"".join([frame(entry.body) for entry in rest])
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
        self.present_ids = None
        if behind:
            connection.write(behind)
        return True

    def paused(self, connection: Connection) -> None:
        """Its buffer is full: it is skipped from now on. It has seen what was written so far."""
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
        self.present_ids = None

    def stay(self, connection: Connection) -> None:
        """It waits: for its reader in `slow`, or for the feed in `behind`."""
        (self.slow if connection.paused_since else self.behind)[connection] = None
        self.present_ids = None

    def closes(self, connection: Connection) -> None:
        """It says goodbye: the sweeper comes soon to see that it ends."""
        self.early[connection] = None
