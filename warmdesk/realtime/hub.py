"""The hub: all rooms of one process, from the bus to its connections, in order, exactly once.

A room delivers seq n+1 after n and drops what it has seen. One healing function, `Hub.catch_up`,
covers every trouble (messages out of order, lost, Redis gone, readers that were slow): it reads
the missing rows from the feed. A lost, late, reordered or doubled message therefore costs a read
and never an event.

Silence is checked, because a Redis restart is nearly silent: every second (every quarter while the
bus is known bad) one query compares all rooms with their feeds. A head below a room's, or another
epoch, means that history went backwards: every socket is closed with 1012 and told to fetch again
when it comes back. An event says in which epoch it was recorded: one of another is delivered to
nobody, and is a reason to look at once.

A process that was frozen wakes up with old messages in its buffers. When its own clock shows a gap
of more than three seconds, it delivers nothing until it has compared everything with the feeds.

What a single connection missed is `resume`'s. Longer than other modules: delivery, catching up and
the check share what is known of each room's epoch and doubt, and are right only together.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable

from warmdesk.db.pool import DATABASE_AWAY, Database, answered
from warmdesk.metrics import (
    DELIVERY_FAILED,
    DELIVERY_GAP,
    EPOCH_CHANGES,
    FEED_REPAIRS,
    WS_DROPPED,
)
from warmdesk.metrics.sharing import TICK_SECONDS, tick
from warmdesk.realtime import feed
from warmdesk.realtime.bus import Bus
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.entities import user_of
from warmdesk.realtime.events import SYNC_RESET, Event, signal_frame
from warmdesk.realtime.feed import Entry, Page
from warmdesk.realtime.frames import Close, frame
from warmdesk.realtime.observers import Observers
from warmdesk.realtime.room import Room
from warmdesk.realtime.roster import CONNECTIONS_EACH, Roster
from warmdesk.realtime.waiting import Waiter, Wake
from warmdesk.tasks import Background, Tasks, seconds_to_tick

CHECK_SECONDS = 1.0
CHECK_SECONDS_BAD = 0.25
CHECK_LIMIT = 2.0
HOLD_SECONDS = 0.02
ON_ITS_WAY_SECONDS = 0.25
"""How long a message may be on its way at most. On a busy machine a publisher has to wait for a
core; reading the feed for it would only make the machine busier."""
FORGET_PART = 0.003
"""So much of what it learned of late messages the hub forgets each second: half in four minutes."""
FREEZE_SECONDS = 3.0
READS_AT_ONCE = 4
KEEP_EMPTY_SECONDS = 5.0
LAG_SECONDS = 15.0
"""How long the worst lateness of the loop is shown: as long as scrapes are apart."""

log = logging.getLogger(__name__)

Follower = Callable[[Entry], None]
Listener = Callable[[Room, Entry], None]


class Hub:
    """Rooms by channel, and the `roster` of those who are in them.

    on_hint       a hint came for a room: its word
    on_left       a connection of a room is gone
    on_behind     a connection misses more than its room remembers: the feed is to be read for it
    on_gone       connections are told, or will be, of events whose text was deleted
    on_rejoined   a connection caught up and follows its room again
    on_woken      this process slept, and has compared its rooms with the feeds since
    on_history    events of a channel that is followed may have gone by unheard
    """

    def __init__(self, database: Database, bus: Bus) -> None:
        self.database = database
        self.bus = bus
        self.rooms: dict[str, Room] = {}
        self.roster = Roster(self.rooms)
        self.epoch = ""
        self.followers: dict[str, list[Follower]] = {}
        self.listeners: dict[str, list[Listener]] = {}
        self.on_hint: Observers[[Room, str]] = Observers("hub.hint")
        self.on_left: Observers[[Room, Connection]] = Observers("hub.left")
        self.on_behind: Observers[[Room, Connection]] = Observers("hub.behind")
        self.on_gone: Observers[[Room, list[Connection]]] = Observers("hub.gone")
        self.on_rejoined: Observers[[Room, Connection]] = Observers("hub.rejoined")
        self.on_woken: Observers[[]] = Observers("hub.woken")
        self.on_history: Observers[[]] = Observers("hub.history")
        self._tasks = Tasks()
        self.heals = Background("hub.heals", failed=_heal_failed)
        self.reads = asyncio.Semaphore(READS_AT_ONCE)
        self._doubt = asyncio.Event()
        self._looked_at = -math.inf
        self._ticked_at = time.monotonic()
        self._frozen = False
        self._hold_seconds = ON_ITS_WAY_SECONDS
        """How long a missing message is waited for, by what was seen: a process that knows nothing
        of its bus begins with the longest (as TCP does: RFC 6298, 2.1)."""

    async def start(self) -> None:
        """Learn the epoch and begin to check and sweep."""
        for observers in (
            self.on_hint,
            self.on_left,
            self.on_behind,
            self.on_gone,
            self.on_rejoined,
            self.on_woken,
            self.on_history,
        ):
            observers.complete()
        self.epoch, _ = await feed.heads(self.database.reserved, [])
        self._ticked_at = time.monotonic()
        self._tasks.start("hub.check", self._check)
        self._tasks.start("hub.sweep", self._sweep)

    async def stop(self) -> None:
        """End the hub's tasks; its sockets were closed before."""
        await self._tasks.stop()
        for room in self.rooms.values():
            room.rest()
        await self.heals.stop()

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    # From the bus

    def doubt(self) -> None:
        """Something may not have been heard: compare all rooms with their feeds now."""
        self._doubt.set()

    def hear(
        self, channel: str, seq: int, kind: str, entity: str, envelope: bytes, epoch: str = ""
    ) -> None:
        """One message of the bus: an event, a signal (seq 0) or a hint (no envelope)."""
        room = self.rooms.get(channel)
        if room is None:
            return
        if epoch != self.epoch and epoch:
            self._hear_foreign(channel, seq, epoch)
            return
        if not room.opened:
            # Its head is being read: what is said meanwhile may come after that head.
            if seq:
                room.hold(feed.read_entry(seq, kind, entity, envelope))
            return
        if time.monotonic() - self._ticked_at > FREEZE_SECONDS:
            self._frozen = True
        if seq == 0:
            if not envelope:
                self.on_hint(room, kind)
            elif not self._frozen:
                self._pass_on(room, entity, envelope)
        else:
            self._hear_event(room, feed.read_entry(seq, kind, entity, envelope))

    def _hear_event(self, room: Room, entry: Entry) -> None:
        if self._frozen:
            return
        if entry.seq == room.read_late:
            room.read_late = 0
            self._learn(room.read_since)
        try:
            missing = room.hear(entry)
        except Exception:
            self._failed(room, entry.seq, entry.type)
            room.doubtful = True
            self.catch_up(room, cause="failed")
        else:
            if missing:
                self._hold(room)
            elif room.held_timer is not None:
                self._came(room)

    def _hear_foreign(self, channel: str, seq: int, epoch: str) -> None:
        """An event of another epoch, which no room here may take: either the one that this process
        knows is over, or a deposed primary is heard late. A look tells, also of what is ours all
        the same; however many there are, there is one in a quarter of a second.
        """
        now = time.monotonic()
        if now - self._looked_at >= CHECK_SECONDS_BAD:
            self._looked_at = now
            log.info("hub.foreign_event channel=%s seq=%d epoch=%s", channel, seq, epoch)
            self._doubt.set()

    def _failed(self, room: Room, seq: int, kind: str) -> None:
        DELIVERY_FAILED.inc()
        log.exception("hub.event_failed channel=%s seq=%d type=%s", room.channel, seq, kind)

    def _pass_on(self, room: Room, entity: str, envelope: bytes) -> None:
        """A signal to everybody in the room but the user it tells of."""
        made = frame(envelope)
        skipped = len(room.slow) + len(room.behind)
        if skipped:
            WS_DROPPED.inc(skipped, reason="slow_reader")
        about = user_of(entity)
        for connection in list(room.ready):
            if connection.user_id != about:
                connection.write(made)

    def _hold(self, room: Room) -> None:
        """Something is missing: it has 20 ms to arrive by itself (1–5 % of a quiet bus come out of
        order), twice as long as the message took that overtook it, and longer than others were
        late. What comes meanwhile ends that time; what is missing then has a time of its own.
        """
        if room.catching is not None:
            return
        now, missing = asyncio.get_running_loop().time(), room.last + 1
        if room.held_timer is None:
            room.missing_since = now
        elif missing == room.held_for or now - room.missing_since > CHECK_SECONDS:
            # In a room that holds what never happened something is always missing.
            return
        else:
            self._came(room)
        overtook = next(iter(room.held.values()), None)
        late = 0.0 if overtook is None else feed.seconds_since(overtook) or 0.0
        room.held_for, room.held_since = missing, now
        room.held_timer = asyncio.get_running_loop().call_later(
            max(HOLD_SECONDS, min(max(2 * late, self._hold_seconds), ON_ITS_WAY_SECONDS)),
            self._held_long_enough,
            room,
        )

    def _held_long_enough(self, room: Room) -> None:
        room.held_timer = None
        if room.held or room.doubtful:
            room.read_late, room.read_since = room.held_for, room.held_since
            self.catch_up(room, cause="gap")

    def _came(self, room: Room) -> None:
        """What was missing came in its time. Behind others that were missing it may not have been
        sent yet when its time began: only the first of them teaches.
        """
        room.rest()
        if room.held_since == room.missing_since:
            self._learn(room.held_since)

    def _learn(self, since: float) -> None:
        """A message came that was only late, in its time or when it had been read for nothing: the
        next ones have more time for some minutes. So does TCP with its reordering window (RACK,
        RFC 8985, 6.2).
        """
        late = asyncio.get_running_loop().time() - since
        if late <= ON_ITS_WAY_SECONDS:
            self._hold_seconds = max(self._hold_seconds, 1.5 * late)

    def _taken(self, room: Room, entry: Entry) -> None:
        """Give an event, in its order, to the listeners inside the process. It stands already:
        what fails here is not tried again.
        """
        if entry.type == feed.GONE or (entry.erases and room.gone > room.sent):
            self.on_gone(room, list(room.ready))
        for listener in self.listeners.get(entry.type, ()):
            try:
                listener(room, entry)
            except Exception:
                self._failed(room, entry.seq, entry.type)
                self._start_anew(room, room.last)
        for follower in self.followers.get(room.channel, ()):
            try:
                follower(entry)
            except Exception:
                self._failed(room, entry.seq, entry.type)
                self.on_history()

    # Healing

    def catch_up(self, room: Room, *, cause: str) -> asyncio.Task[None]:
        """Read what a room misses, page by page; one reader a room, four a process. Others wait for
        the same task: a caller that may give up awaits it under a shield.

        An event that cannot be taken from the feed either is passed over for good: see
        `_start_anew`.
        """
        if room.catching is None:
            FEED_REPAIRS.inc(cause=cause)
            room.catching = self.heals.start(self._catch_up(room, cause))
        return room.catching

    async def _catch_up(self, room: Room, cause: str) -> None:
        began = room.last
        try:
            await self._read_missing(room)
        except DATABASE_AWAY as error:
            room.doubtful = True
            self.database.outage.doubt(f"the feed {room.channel}", error)
            return
        finally:
            room.catching = None
            if room.last >= room.held_for:  # it was read, and was not late
                room.rest()
        log.info(
            "hub.caught_up channel=%s from=%d to=%d cause=%s", room.channel, began, room.last, cause
        )
        if room.opened and (room.held or room.doubtful):
            self._hold(room)

    async def _read_missing(self, room: Room) -> None:
        early = set(room.held)
        while True:
            since = room.last
            room.doubtful = False
            async with self.reads:
                page = await feed.after(self.database.reserved, room.channel, since)
            # Where `since` is of a history that is over, it says nothing of this one.
            epoch = await self._epoch_of(page.epoch, went_back=page.seq < since <= room.last)
            if not room.opened or self._history_changed(epoch):
                return
            if not self._apply(room, page):
                return
            if room.last >= page.seq:
                break
        for seq in early:
            # What came early and is still beyond the head never happened: garbage on the bus.
            if seq > page.seq:
                room.held.pop(seq, None)

    def _apply(self, room: Room, page: Page) -> bool:
        """Deliver a page to its room. False when the feed no longer reaches back to the room: then
        everybody is reset.
        """
        # What was heard early may have a text that is deleted by now: the feed knows.
        room.held = {seq: early for seq, early in room.held.items() if seq > page.seq}
        for entry in page.entries:
            if entry.seq > room.last + 1:
                break
            try:
                room.hear(entry)
            except Exception:
                self._failed(room, entry.seq, entry.type)
                self._start_anew(room, page.seq)
                return False
        missing = room.last < page.seq and (not page.entries or page.entries[-1].seq > room.last)
        if not missing:
            return True
        DELIVERY_GAP.inc()
        log.error(
            "hub.hole channel=%s last=%d head=%d oldest=%d",
            room.channel,
            room.last,
            page.seq,
            page.oldest,
        )
        room.flush()
        room.begin(page.seq)
        for connection in room.connections():
            connection.seen = page.seq
            connection.write(self.reset_frame(page.seq, "retention"))
        if room.channel in self.followers:
            self.on_history()
        return False

    def _start_anew(self, room: Room, seq: int) -> None:
        """Go on after an event that this process fails over. Its sockets end with 1012 and come
        back for what they miss, which is read for each; followers ask about everything.
        """
        room.flush()
        for connection in room.connections():
            connection.close(Close.RESTART, "an event could not be delivered")
        room.begin(seq)
        if room.channel in self.followers:
            self.on_history()

    async def _epoch_of(self, epoch: str, *, went_back: bool) -> str:
        """The epoch that was read, or another one when the same answer shows that history went
        backwards without a sign: a head was below what a room had before it was asked for. Who is
        away now shall be told so, too.
        """
        if went_back and epoch == self.epoch:
            return await feed.renew_epoch(self.database.reserved, epoch)
        return epoch

    def _history_changed(self, epoch: str) -> bool:
        """Whether history went backwards; then every socket is closed with 1012 and every room
        forgotten.
        """
        if epoch == self.epoch:
            return False
        EPOCH_CHANGES.inc()
        log.warning("hub.history_changed epoch=%s was=%s", epoch, self.epoch)
        self.epoch = epoch
        # A connection that goes on tells the epoch that it found first.
        self.database.pool.expire()
        self.roster.close_all(Close.RESTART, "history changed")
        for room in self.rooms.values():
            room.begin(0)
            room.opened = False
        self.on_history()
        self._doubt.set()
        return True

    async def _reopen(self) -> None:
        """Rooms that are followed inside the process come back by themselves."""
        for channel in self.followers:
            room = self.rooms.get(channel)
            if room is None or not room.opened:
                await self.open(channel)
                self.on_history()

    async def _check(self) -> None:
        """Compare all rooms with their feeds, one query for all."""
        while True:
            try:
                wait = seconds_to_tick(CHECK_SECONDS) if self.bus.good else CHECK_SECONDS_BAD
                async with asyncio.timeout(wait):
                    await self._doubt.wait()
            except TimeoutError:
                pass
            self._doubt.clear()
            self._hold_seconds *= 1 - FORGET_PART
            try:
                async with asyncio.timeout(CHECK_LIMIT):
                    await self.check()
            except DATABASE_AWAY as error:
                if answered(error):
                    self.database.outage.works()
                    self.database.outage.doubt("hub.check", error)
                else:
                    self.database.outage.failed(error)
            else:
                self.database.outage.works()
            self._tasks.recovered("hub.check")

    async def check(self) -> None:
        """One comparison. What is behind while the bus is good has a moment, then is read."""
        await self._reopen()
        rooms = [room for room in self.rooms.values() if room.opened]
        before = [room.last for room in rooms]
        epoch, heads = await feed.heads(self.database.reserved, [room.channel for room in rooms])
        went_back = any(
            heads[room.channel].seq < last
            for room, last in zip(rooms, before, strict=True)
            if room.opened and self.rooms.get(room.channel) is room
        )
        if self._history_changed(await self._epoch_of(epoch, went_back=went_back)):
            return

        def behind() -> list[Room]:
            return [room for room in rooms if room.opened and room.last < heads[room.channel].seq]

        for room in rooms:
            room.oldest = heads[room.channel].oldest
        on_its_way_until = time.monotonic() + ON_ITS_WAY_SECONDS
        while behind() and self.bus.good and not self._frozen:
            if time.monotonic() >= on_its_way_until:
                break
            await asyncio.sleep(HOLD_SECONDS)
        waiting = [self.catch_up(room, cause="check") for room in behind()]
        if waiting:
            await asyncio.wait(waiting, timeout=CHECK_LIMIT)
        if self._frozen and time.monotonic() - self._ticked_at <= FREEZE_SECONDS:
            self._frozen = False
            self._doubt.set()  # what came since the heads were read was dropped
            log.warning("hub.woken rooms=%d", len(rooms))
            self.on_woken()

    # Rooms

    async def open(self, channel: str) -> Room:
        """The channel's room, subscribed and at its feed's head. Somebody must enter it soon, or
        it closes again.
        """
        # Also when it is open at last: one that took long may have closed again by then.
        while not (room := self._room(channel)).opened:
            if room.opening is None:
                room.opening = asyncio.ensure_future(self._open(room))
                # The callers may have given up before it failed; then nobody else looks.
                room.opening.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(room.opening)
        room.empty_since = time.monotonic() if room.empty else None
        return room

    def _room(self, channel: str) -> Room:
        room = self.rooms.get(channel)
        if room is None:
            room = self.rooms[channel] = Room(
                channel, rejoin=self.rejoin, taken=self._taken, early=self.roster.sweeper.early
            )
        return room

    async def _open(self, room: Room) -> None:
        """Subscribe, await the confirmation, read the head: in this order nothing falls between
        head and subscription.
        """
        try:
            await self.bus.subscribe(room.channel)
            epoch, heads = await feed.heads(self.database.reserved, [room.channel])
            self._history_changed(epoch)
            early, doubtful = sorted(room.held.items()), room.doubtful
            head, room.oldest = heads[room.channel]
            room.begin(head)
            room.opened, room.doubtful = True, doubtful
            for _, entry in early:
                self._hear_event(room, entry)
            if room.doubtful:
                self._hold(room)
        finally:
            room.opening = None

    async def follow(self, channel: str, follower: Follower) -> None:
        """Hear a channel's events inside this process, in order, as long as it lives."""
        self.followers.setdefault(channel, []).append(follower)
        await self.open(channel)

    def listen(self, event: Event, listener: Listener) -> None:
        """Hear one kind of event in every room that is open here, in the room's order: when
        `listener` returns, no event after it was written to anybody. When it raises, the room's
        sockets end with 1012 and come back.
        """
        self.listeners.setdefault(event.name, []).append(listener)

    # Requests that wait

    async def wait(self, channel: str, waiter: Waiter, until: float) -> Wake:
        """Wait for an event of the channel after what the waiter has seen, at the latest until this
        time of the loop's clock.

        What it has seen is compared when the room is subscribed, and without an await it follows
        the room: nothing falls between the read and the wait.
        """
        try:
            async with asyncio.timeout_at(until) as limit:
                room = await self.open(channel)
        except TimeoutError:
            if not limit.expired():
                raise
            return Wake.OVER
        if waiter.epoch != self.epoch:
            # Which of the two is over shows the check, and then the next read.
            self.doubt()
            until = min(until, asyncio.get_running_loop().time() + CHECK_SECONDS)
        elif room.last > waiter.after:
            waiter.upto = room.last
            return Wake.EVENT
        room.waiting[waiter] = None
        room.empty_since = None
        try:
            return await waiter.sleep(until)
        finally:
            del room.waiting[waiter]
            waiter.upto = room.last
            if room.empty:
                room.empty_since = time.monotonic()

    def heard(self, channel: str, waiter: Waiter, limit: int) -> tuple[list[Entry], int]:
        """What came after what a waiter has seen until its wait ended, as far as its room remembers
        it, and the room's last seq.
        """
        room = self.rooms.get(channel)
        if room is None or not room.opened or waiter.epoch != self.epoch:
            return [], 0
        limit = max(0, min(limit, waiter.upto - waiter.after))
        return room.events_after(waiter.after, limit), room.last

    def passed_over(self, channel: str, waiter: Waiter) -> bool:
        """Whether nothing that the waiter is about happened until its wait ended; then it has seen
        all of that. False where the room does not remember it.
        """
        room = self.rooms.get(channel)
        if room is None or not room.opened or waiter.epoch != self.epoch or waiter.about is None:
            return False
        missed = waiter.upto - waiter.after
        entries = room.events_after(waiter.after, max(0, missed))
        if len(entries) != missed or any(each.entity in waiter.about for each in entries):
            return False
        waiter.after = waiter.upto
        return True

    # Connections

    def enter(self, room: Room, connection: Connection, since: int) -> None:
        """Let a connection follow a room from `since` on. No await: nothing falls between."""
        connection.room = room
        connection.seen = since
        room.empty_since = None
        self.roster.add(connection)
        same = self._same(room, connection.user_id)
        if len(same) > CONNECTIONS_EACH:
            same[0].close(Close.REPLACED, "opened too often")
        if connection.closing:
            room.closes(connection)
        self.rejoin(room, connection)

    def _same(self, room: Room, user_id: int) -> list[Connection]:
        mine = self.roster.people.get(user_id, ())
        return [c for c in mine if c.room is room and not c.closing]

    def is_full(self, room: Room, user_id: int) -> bool:
        """Whether another connection of this user here would end the oldest one."""
        return len(self._same(room, user_id)) >= CONNECTIONS_EACH

    def rejoin(self, room: Room, connection: Connection) -> None:
        """Let a connection follow its room again from what it has seen, as soon as that can be."""
        if connection.closing:
            return
        since = connection.seen
        if connection.paused_since:  # it asked for something while its buffer was full
            room.stay(connection)
        elif room.join(connection):
            if room.gone > since:
                self.on_gone(room, [connection])
            self.on_rejoined(room, connection)
        else:
            room.stay(connection)
            self.on_behind(room, connection)

    def reset_frame(self, seq: int, reason: str) -> bytes:
        payload = b'{"seq":%d,"epoch":"%s","reason":"%s"}' % (
            seq,
            self.epoch.encode(),
            reason.encode(),
        )
        return signal_frame(SYNC_RESET, payload)

    def gone(self, connection: Connection) -> None:
        """A connection ended, for whatever reason."""
        room = connection.room
        self.roster.drop(connection)
        if isinstance(room, Room):
            room.drop(connection)
            connection.room = None
            if room.empty:
                room.empty_since = time.monotonic()
            self.on_left(room, connection)

    # The clock

    async def _sweep(self) -> None:
        turn = 0
        expected = time.monotonic()
        lags = deque([0.0], maxlen=round(LAG_SECONDS / TICK_SECONDS))
        while True:
            now = time.monotonic()
            late = now - expected
            lags.append(max(0.0, late))
            tick(now, max(lags))
            if late > FREEZE_SECONDS or now - self._ticked_at > FREEZE_SECONDS:
                self._frozen = True
                self._doubt.set()
            self._ticked_at = now
            if turn % 2 == 0:
                self._visit(now)
            self.roster.sweeper.keep_to_budget()
            turn += 1
            pause = seconds_to_tick(TICK_SECONDS)
            expected = now + pause
            await asyncio.sleep(pause)

    def _visit(self, now: float) -> None:
        """Once a second: the sweeper's round; then rooms that nobody entered for a while close."""
        self.roster.sweeper.visit(now)
        for channel, room in list(self.rooms.items()):
            empty = room.empty_since
            if (
                channel not in self.followers
                and empty is not None
                and room.empty
                and now - empty > KEEP_EMPTY_SECONDS
                and room.opening is None
                and room.catching is None
            ):
                del self.rooms[channel]
                room.opened = False
                room.rest()
                self.bus.unsubscribe(channel)


def _heal_failed(error: BaseException) -> None:
    log.error("hub.heal_failed", exc_info=error)
