"""Presence: who has a channel open, across all processes.

Being present is a lease, per user and process, in Redis and by Redis' clock. Each process renews
the leases of its own users; a lease that is not renewed runs out, and the process that looks next
removes it. A closed tab, a crash and a lost network end the same way. A closed connection lowers
its lease to the leave delay, so a reload is no event at all.

Every process compares its rooms with Redis every two seconds, and when the first lease of a room
runs out, and makes joins and leaves from the difference; a hint on the bus only makes it faster. So
a lost signal, or an announcer that died, leaves no ghost.

No leave is sent for the length of one lease when leases may have run out or vanished though their
processes live: Redis was away, is another one than before (restarted, flushed, a promoted replica),
its clock leapt, or this process slept. A call that fails alone is no sign of it: leaves come from
answers only, and where one comes soon after another all others have renewed their leases in time,
too. A process that has just begun cannot know: it waits for a moment when others are late. Presence
is frozen rather than wrong.

Joins and leaves are signals, collected for a fifth of a second: 2,000 people who reopen one board
cost 2,000 writes and not 2,000 × 2,000. A connection gets the changes since its own list was made,
never its own join: the last part of a window's frames, which are made once for all. Nor does each
ask Redis: newcomers of one moment share a call.

Longer than other modules: joins, leaves and looks wait for the same call, so that the lowering of a
lease cannot overtake its renewal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.errors import Unavailable
from warmdesk.metrics import PRESENCE_CORRECTIONS
from warmdesk.realtime import leases
from warmdesk.realtime.bus import REDIS_AWAY, Bus
from warmdesk.realtime.channels import project_of
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.leases import ONLINE, LeaseAnswer, Leases, batches, lease_request
from warmdesk.realtime.people import People
from warmdesk.realtime.presence_frames import WindowFrames
from warmdesk.realtime.room import Room
from warmdesk.tasks import Background, Tasks, seconds_to_tick

WINDOW_SECONDS = 0.2
HINT = "presence.look"

log = logging.getLogger(__name__)


class Presence:
    """The users in all rooms, as one process sees them. Each room's are in `Room.presence`."""

    def __init__(self, leases: Leases, people: People, hub: Hub, bus: Bus) -> None:
        self.leases = leases
        self.people = people
        self.hub = hub
        self.bus = bus
        self.leave_delay = leases.leave_delay
        self._frozen_until = 0.0
        self._answered_at = float("inf")
        self._lowered: dict[str, dict[int, float]] = {}
        self._coming: dict[str, Counter[int]] = {}
        self._joining: dict[str, set[int]] = {}
        self._looking: set[str] = set()
        self._next: asyncio.Task[None] | None = None
        # A lease that is lowered while its user comes back must not arrive after its renewal.
        self._calling = asyncio.Lock()
        self._later = Background("presence.looks")
        self._stopping = False
        self._tasks = Tasks()

    async def start(self) -> None:
        self._tasks.start("presence.turn", self._turns)

    async def stop(self) -> None:
        """To be called after the sockets closed: their leases are lowered to the leave delay, so a
        user who comes back elsewhere in time never left.
        """
        await self._tasks.stop()
        self._stopping = True
        await self._later.stop()
        try:
            await self._turn()
            await self.leases.end()
        except (*REDIS_AWAY, *DATABASE_AWAY):
            log.warning("presence.not_lowered")

    @property
    def trouble(self) -> str | None:
        return self._tasks.trouble()

    # Coming and going

    @contextmanager
    def coming(self, room: Room, user_id: int) -> Iterator[None]:
        """Around an opening, from before `come` until the connection has entered. If it does not
        enter after all, the leases that it took run out as if it had left.
        """
        channels = (room.channel, ONLINE)
        present = room.presence.present
        stranger = present is not None and user_id not in present
        for channel in channels:
            self._coming.setdefault(channel, Counter())[user_id] += 1
        try:
            yield
        finally:
            for channel in channels:
                counted = self._coming[channel]
                counted[user_id] -= 1
                if not counted[user_id]:
                    del counted[user_id]
                    if not counted:
                        del self._coming[channel]
            if not self._is_here(room.channel, user_id):
                # A user who was present may be about to try again; another one has never been here.
                self._leaves(room, user_id, 0.0 if stranger else self.leave_delay)

    async def come(self, room: Room, user_id: int) -> None:
        """The user is about to enter: take the leases, and know the users as well as the room does;
        one who came elsewhere in the last moment follows as a join. Newcomers of one moment share
        one call.
        """
        await self.people.refs([user_id])
        self._joining.setdefault(room.channel, set()).add(user_id)
        await asyncio.shield(self._soon())
        if room.presence.present is None:
            room.presence.present = {}

    def welcome(self, room: Room, connection: Connection, ref: bytes) -> bytes:
        """The newcomer's list; all others get a join with this UserRef, unless the user was here
        already. The connection enters at once after.
        """
        assert room.presence.present is not None
        if connection.user_id not in room.presence.present:
            self._tell(room, "join", connection.user_id, ref)
        connection.presence_seen = room.presence.deltas_end
        return room.presence.list_frame()

    def left(self, room: Room, connection: Connection) -> None:
        """A connection is gone: its lease is lowered to the leave delay."""
        self._leaves(room, connection.user_id, self.leave_delay)

    def _leaves(self, room: Room, user_id: int, delay: float) -> None:
        """Unless the user is here otherwise, the leases run out after `delay` seconds."""
        moment = time.monotonic() + delay
        left = [c for c in (room.channel, ONLINE) if not self._is_here(c, user_id)]
        for channel in left:
            self._lowered.setdefault(channel, {})[user_id] = moment
            self._joining.get(channel, set()).discard(user_id)
        if left:
            self._look_soon(room, 0.0)
            self._look_soon(room, delay + 0.05, announce=True)

    # What viewers are told

    def _tell(self, room: Room, what: str, user_id: int, ref: bytes = b"") -> None:
        room.presence.change(what, user_id, ref)
        if room.presence.deltas_timer is None:
            room.presence.deltas_timer = asyncio.get_running_loop().call_later(
                WINDOW_SECONDS, self._flush, room
            )

    def _flush(self, room: Room) -> None:
        """Send each connection the changes since its last frame; those that know the same get the
        same bytes.
        """
        presence = room.presence
        presence.deltas_timer = None
        base, end = presence.deltas_base, presence.deltas_end
        frames = WindowFrames(presence.deltas, len(presence.present or ()))
        room.flush()
        for connection in list(room.ready):
            seen = max(connection.presence_seen, base)
            connection.presence_seen = end
            if seen < end and (made := frames.since(seen - base, changed=connection.wants_changed)):
                connection.write(made)
        presence.deltas = []
        presence.deltas_base = end

    def rejoined(self, room: Room, connection: Connection) -> None:
        """A reader that was slow missed signals: it gets the list anew."""
        presence = room.presence
        if presence.present is not None and connection.presence_seen < presence.deltas_base:
            connection.presence_seen = presence.deltas_end
            connection.write(presence.list_frame())

    # Turns

    async def _turns(self) -> None:
        last = time.monotonic()
        failed = False
        while True:
            thaw = self._frozen_until - time.monotonic()
            pause = leases.TURN_SECONDS
            if failed:
                pause = min(pause, leases.AGAIN_SECONDS)
            await asyncio.sleep(thaw if 0 < thaw < pause else seconds_to_tick(pause))
            if time.monotonic() - last > leases.TURN_SECONDS + leases.LEAP_SECONDS:
                self.freeze()
            last = time.monotonic()
            try:
                await self._turn()
            except (*REDIS_AWAY, *DATABASE_AWAY) as error:
                self._doubt(error)
                failed = True
            else:
                failed = False
            self._tasks.recovered("presence.turn")

    def _doubt(self, error: Exception) -> None:
        """Presence asks Redis, and PostgreSQL for names."""
        of_database = isinstance(
            error, asyncpg.PostgresError | asyncpg.InterfaceError | Unavailable
        )
        outage = self.hub.database.outage if of_database else self.bus.outage
        outage.doubt("presence", error)

    def freeze(self, *, since: float = 0.0) -> None:
        """Send no leaves for the length of a lease; the cause began so many seconds ago."""
        until = time.monotonic() + leases.LEASE_SECONDS - since
        self._frozen_until = max(self._frozen_until, until)

    def found(self) -> None:
        """Redis is back, or another: leases that ran out or vanished are taken again at once."""
        if not self._stopping:
            self._later.start(self._look_anew())

    async def _look_anew(self) -> None:
        # A connection that is kept may lead to a primary of before, which answers as ever.
        with suppress(*REDIS_AWAY):
            await self.leases.redis.connection_pool.disconnect(inuse_connections=False)
        await self._look_now(None)

    def woken(self) -> None:
        """This process slept, and its leases ran out. Take them again before the next turn."""
        self.freeze()
        self._later.start(self._look_now(None))

    def hinted(self, room: Room, word: str) -> None:
        """Another process says that somebody came or went: look."""
        if word == HINT:
            self._look_soon(room, 0.05)

    def _look_soon(self, room: Room, delay: float, *, announce: bool = False) -> None:
        if self._stopping:
            return
        if announce:
            self._later.start(self._look_later(room, delay))
            return
        loop = asyncio.get_running_loop()
        presence = room.presence
        if presence.look_soon is not None:
            if presence.look_soon.when() <= loop.time() + delay:
                return
            presence.look_soon.cancel()
        # uvloop makes no timer of a delay of 0, so it would have no `when`.
        delay = max(delay, 0.001)
        presence.look_soon = loop.call_later(delay, lambda: self._later.start(self._look_now(room)))

    async def _look_later(self, room: Room, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._look_now(room)
        self.bus.hint(room.channel, HINT)

    async def _look_now(self, room: Room | None) -> None:
        if room is not None:
            room.presence.look_soon = None
        if self._stopping:
            return
        if room is not None:
            self._looking.add(room.channel)
            await asyncio.shield(self._soon())
            return
        with suppress(*REDIS_AWAY, *DATABASE_AWAY):
            await self._turn()

    def _soon(self) -> asyncio.Task[None]:
        """The next turn for newcomers and for rooms to look at. It takes all that is asked for
        until it begins.
        """
        if self._next is None or self._next.done():
            self._next = self._later.start(self._next_turn())
        return self._next

    async def _next_turn(self) -> None:
        joining: dict[str, set[int]] = {}
        try:
            async with self._calling:
                self._next = None
                joining, self._joining = self._joining, {}
                looking, self._looking = self._looking, set()
                only = {channel: set[int]() for channel in looking} | joining
                answers = await self._ask(only, looking=looking)
            await self._compare(answers)
        except (*REDIS_AWAY, *DATABASE_AWAY) as error:
            self._doubt(error)
            for channel in joining:
                if (room := self.hub.rooms.get(channel)) is not None:
                    room.presence.version = -1  # it may show newcomers who took no lease
        for channel in joining:
            self.bus.hint(channel, HINT)

    async def _turn(self, *, only: dict[str, set[int]] | None = None) -> None:
        """Renew, lower and look, for the channels named (with their newcomers), or for all."""
        async with self._calling:
            answers = await self._ask(only)
        await self._compare(answers)

    async def _ask(
        self, only: Mapping[str, Set[int]] | None, *, looking: Set[str] | None = None
    ) -> list[dict[str, Any]]:
        """Call Redis; gives its answers for the rooms that are looked at: all, or those of
        `looking` and those of which nothing is known. A newcomer to a known room needs no look, and
        when thousands come each look has a list of thousands.
        """
        lowered, self._lowered = self._lowered, {}
        now = time.monotonic()
        channels = set(only) if only is not None else set(self.hub.rooms)
        requests: list[dict[str, Any]] = []
        for channel in channels | set(lowered):
            if project_of(channel) is None:
                continue
            room = self.hub.rooms.get(channel)
            present_ids: Collection[int] = (
                only.get(channel, frozenset())
                if only is not None
                else room.people()
                if room
                else frozenset()
            )
            leaving = {}
            if channel in lowered:
                staying = set(present_ids)
                leaving = {
                    u: m
                    for u, m in lowered[channel].items()
                    if u not in staying and not self._is_here(channel, u)
                }
            presence = room.presence if room is not None else None
            known = presence is not None and presence.present is not None
            if present_ids or leaving or known:
                unknown = presence is not None and not known
                look = unknown or looking is None or channel in looking
                requests.append(
                    lease_request(channel, presence, present_ids, leaving, now, look=look)
                )
        online = set(self.hub.roster.people) if only is None else set().union(*only.values())
        leaving = {
            u: m
            for u, m in lowered.get(ONLINE, {}).items()
            if u not in online and not self._is_here(ONLINE, u)
        }
        # ONLINE has no room, but some process has to remove its leases that ran out.
        if online or leaving or only is None:
            requests.append(lease_request(ONLINE, None, online, leaving, now, look=False))
        try:
            return await self._call(requests)
        except BaseException:
            for channel, people in lowered.items():
                self._lowered[channel] = people | self._lowered.get(channel, {})
            raise

    def _is_here(self, channel: str, user_id: int) -> bool:
        """Whether the user is here, or about to be, in this process."""
        if user_id in self._coming.get(channel, ()):
            return True
        if channel == ONLINE:
            return user_id in self.hub.roster.people
        return any(
            isinstance(c.room, Room) and c.room.channel == channel
            for c in self.hub.roster.of_user(user_id)
        )

    async def _call(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rooms: list[dict[str, Any]] = []
        for batch in batches(requests):
            answer = await self.leases.call(batch)
            self._note(answer)
            rooms += answer.rooms
        return rooms

    def _note(self, answer: LeaseAnswer) -> None:
        """Freeze presence when leases are doubtful."""
        now = time.monotonic()
        if now - self._answered_at > leases.doubt_seconds():
            self.freeze()
        self._answered_at = now
        if answer.leapt:
            self.freeze()
            log.warning("presence.clock_leapt seconds=%.1f", answer.leapt)
        if answer.late:
            self.freeze(since=leases.LEASE_SECONDS - leases.NEWCOMER_SECONDS)
            log.warning("presence.others_late")
        if answer.moved:
            # It may have been emptied right after this process' last turn.
            self.freeze(since=leases.TURN_SECONDS)
            log.warning("presence.other_redis")
            self.found()
            # Its versions count anew: the same number need not mean the same people.
            for room in self.hub.rooms.values():
                room.presence.version = -1

    async def _compare(self, answers: list[dict[str, Any]]) -> None:
        for seen in answers:
            room = self.hub.rooms.get(seen["channel"])
            if room is None:
                continue
            if "users" in seen:
                await self._compare_room(room, seen)
            if "soon" in seen:
                self._look_soon(room, max(0.0, seen["soon"] / 1000) + 0.05)
            if seen["gone"] and "users" not in seen:
                self._look_soon(room, 0.0)

    async def _compare_room(self, room: Room, seen: dict[str, Any]) -> None:
        """Make joins and leaves from the difference between Redis and the room's present users."""
        there = dict.fromkeys(int(user) for user in seen["users"].split(",") if user)
        refs = await self.people.by_id(there)
        presence = room.presence
        if presence.present is None:
            presence.present, presence.listed = refs, None
            presence.version = seen["version"]
            return
        if seen["version"] < presence.version and self._frozen_until < time.monotonic():
            return
        frozen = time.monotonic() < self._frozen_until
        for user_id, ref in refs.items():
            if user_id not in presence.present:
                self._tell(room, "join", user_id, ref)
        kept = False
        for user_id in [u for u in presence.present if u not in there]:
            if frozen or self._is_here(room.channel, user_id):
                kept = True
            else:
                self._tell(room, "leave", user_id)
                PRESENCE_CORRECTIONS.inc()
        # Who is shown without a lease is looked for again, though nothing changes in Redis.
        presence.version = -1 if frozen or kept else seen["version"]

    # People

    async def renamed(self, user_id: int) -> None:
        """A name or picture changed: lists made from now on show it."""
        await self.people.renamed(user_id)
        showing = [
            room.presence
            for room in self.hub.rooms.values()
            if room.presence.present is not None and user_id in room.presence.present
        ]
        if showing:
            ref = await self.people.refs([user_id])
            for presence in showing:
                if ref and presence.present is not None and user_id in presence.present:
                    presence.present[user_id] = ref[0]
                    presence.listed = None

    async def users(self, channel: str) -> list[int]:
        """The ids of the users in a channel, most recent first, also where this process has no such
        room. Raises what Redis raises.
        """
        return await self.leases.users(channel)

    async def newest(self, channels: list[str], most: int) -> list[tuple[int, list[int]]]:
        """How many users are in each of these channels, and the ids of the last `most` who came,
        most recent first. Raises what Redis raises.
        """
        return await self.leases.newest(channels, most)

    async def online(self, user_ids: list[int]) -> set[int]:
        """Which of these have any socket open, anywhere. With Redis away: those of this process."""
        if not user_ids:
            return set()
        try:
            return await self.leases.online(user_ids)
        except REDIS_AWAY:
            return {user_id for user_id in user_ids if user_id in self.hub.roster.people}

    async def everybody_online(self) -> set[int]:
        """All who have any socket open, anywhere. With Redis away: those of this process."""
        try:
            return await self.leases.everybody_online()
        except REDIS_AWAY:
            return set(self.hub.roster.people)
