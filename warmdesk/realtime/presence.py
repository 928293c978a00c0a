"""Presence: who has a channel open, across all processes.

Being present is a lease, per user and process, in Redis and by Redis' clock. Each process renews
the leases of its own users; when nobody renews one it runs out, and whoever looks next takes it
away. A closed tab, a crash and a lost network end the same way. What a closed connection leaves as
its lease is the leave delay, so a reload is no event at all.

Every process compares its rooms with Redis every two seconds, and when the first lease of a room
runs out, and makes joins and leaves from the difference; a hint on the bus only makes it faster. So
a lost signal, or an announcer that died, leaves no ghost.

Nobody is said to have left for the length of one lease when leases may have run out or vanished
though their processes live: Redis was away, is another one than before (restarted, flushed, a
promoted replica), its clock leapt, or this process slept. Presence is frozen rather than wrong.

Joins and leaves are signals, collected for a fifth of a second: 2,000 people who reopen one board
cost 2,000 writes and not 2,000 × 2,000. A connection is told what changed since its own list was
made, never its own join: the last part of what a window tells, which is made once for all. Nor does
each ask Redis: those who come in one moment share a call.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import itertools
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from typing import Any

import orjson

from warmdesk.db.pool import DATABASE_AWAY, Database
from warmdesk.db.queries import sql
from warmdesk.metrics import PRESENCE_CORRECTIONS
from warmdesk.realtime.bus import REDIS_AWAY, Bus
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import (
    PRESENCE_CHANGED,
    PRESENCE_JOIN,
    PRESENCE_LEAVE,
    PRESENCE_LIST,
    signal_frame,
)
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.room import Room
from warmdesk.tasks import Background, Shared, Tasks, until_beat

LEASE_SECONDS = 8.0
TURN_SECONDS = 2.0
TURN_LIMIT = 1.0
LEAP_SECONDS = 2.5
"""How far Redis' clock may go apart from this process' own between two turns; and how late a turn
may come. Leases that were renewed in time have more than this left.
"""
WINDOW_SECONDS = 0.2
LIST_LIMIT = 200
PEOPLE_KEPT = 50_000
USERS_A_CALL = 2000
ONLINE = "online"
HINT = "presence.look"

Delta = tuple[str, int, bytes]
"""A "join" or "leave", of whom, and their UserRef as JSON."""

log = logging.getLogger(__name__)


class Ends:
    """Pieces in one string, from which every last part of them can be cut without its comma."""

    __slots__ = ("_begins", "_text")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        told = list(pieces)
        self._begins = list(itertools.accumulate(map(len, told), initial=0))
        self._text = b"".join(told).removesuffix(b",")

    def since(self, place: int) -> bytes:
        """All pieces but the first `place`."""
        return self._text[self._begins[place] :]


class Told:
    """What one window tells: made once, and cut for each from the first change new to him.

    deltas   the window's joins and leaves in their order
    count    how many are present after them

    Those who come in a storm all know a different part of the window: made for each of them, it
    would cost the square of their number.
    """

    __slots__ = ("_count", "_deltas", "_joined", "_last", "_left", "_once", "_remade", "_singles")

    def __init__(self, deltas: list[Delta], count: int) -> None:
        self._deltas = deltas
        self._count = count
        self._joined: Ends | None = None
        self._left: Ends | None = None
        self._once = len(deltas)
        self._singles: Ends | None = None
        # Those who came before the window stand side by side, and share what is written to them.
        self._last: dict[bool, tuple[int, bytes]] = {}
        self._remade: dict[int, bytes] = {}

    def since(self, place: int, *, changed: bool) -> bytes:
        """The frames for who knows the first `place` changes: one of all that changed in the end,
        or one for each join and leave. Empty when nothing did.
        """
        last = self._last.get(changed)
        if last is None or last[0] != place:
            made = self._cut(place) if changed else self._each(place)
            last = self._last[changed] = place, made
        return last[1]

    def _each(self, place: int) -> bytes:
        if self._singles is None:
            self._singles = Ends(_single(delta) for delta in self._deltas)
        return self._singles.since(place)

    def _cut(self, place: int) -> bytes:
        if self._joined is None or self._left is None:
            deltas = self._deltas
            self._joined = Ends(ref + b"," if what == "join" else b"" for what, _, ref in deltas)
            self._left = Ends(
                b"%d," % user_id if what == "leave" else b"" for what, user_id, _ in deltas
            )
            self._once = _once_from(deltas)
        if place >= self._once:
            return self._frame(self._joined.since(place), self._left.since(place))
        if place not in self._remade:
            self._remade[place] = self._make(place)
        return self._remade[place]

    def _make(self, place: int) -> bytes:
        """Somebody comes and goes more than once: only what is left of it is told."""
        first: dict[int, str] = {}
        last: dict[int, tuple[str, bytes]] = {}
        for what, user_id, ref in self._deltas[place:]:
            first.setdefault(user_id, what)
            last[user_id] = what, ref
        # Joins and leaves of one user take turns: who left first and joined last never left.
        last = {user_id: told for user_id, told in last.items() if told[0] == first[user_id]}
        return self._frame(
            b",".join(ref for what, ref in last.values() if what == "join"),
            b",".join(b"%d" % user_id for user_id, (what, _) in last.items() if what == "leave"),
        )

    def _frame(self, joined: bytes, left: bytes) -> bytes:
        if not joined and not left:
            return b""
        payload = b'{"joined":[%s],"left":[%s],"count":%d}' % (joined, left, self._count)
        return signal_frame(PRESENCE_CHANGED, payload)


def _once_from(deltas: list[Delta]) -> int:
    """The first place from which on nobody is named twice."""
    named: set[int] = set()
    for place in range(len(deltas) - 1, -1, -1):
        user_id = deltas[place][1]
        if user_id in named:
            return place + 1
        named.add(user_id)
    return 0


def _single(delta: Delta) -> bytes:
    what, user_id, ref = delta
    if what == "join":
        return signal_frame(PRESENCE_JOIN, b'{"user_id":%d,%s' % (user_id, ref[1:]))
    return signal_frame(PRESENCE_LEAVE, b'{"user_id":%d}' % user_id)


class Presence:
    """Who is here, as one process sees it. A room's view is in its `present`: user id → UserRef,
    earliest first.
    """

    def __init__(
        self, redis: Any, database: Database, hub: Hub, bus: Bus, *, leave_delay: float
    ) -> None:
        self.redis = redis
        self.database = database
        self.hub = hub
        self.bus = bus
        self.leave_delay = leave_delay
        self._people: dict[int, bytes] = {}
        self._unknown: dict[int, bytes] = {}
        self._shared: Shared[None] = Shared()
        self._script = redis.register_script(
            importlib.resources.files("warmdesk.realtime")
            .joinpath("presence.lua")
            .read_text("utf-8")
        )
        self._run = ""
        self._clock_ahead: float | None = None
        self._frozen_until = 0.0
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
        """After the sockets: what they left is lowered to the leave delay, so whoever comes back
        elsewhere never left.
        """
        await self._tasks.stop()
        self._stopping = True
        await self._later.stop()
        try:
            await self._turn()
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
        stranger = room.present is not None and user_id not in room.present
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
                # Who was present may be about to try again; who was not has never been here.
                self._leaves(room, user_id, 0.0 if stranger else self.leave_delay)

    async def come(self, room: Room, user_id: int) -> None:
        """The user is about to enter: take the leases, and know who is there as well as the room
        does: who came elsewhere in the last moment is told as a join. Those who come in one
        moment share one call.
        """
        await self.refs([user_id])
        self._joining.setdefault(room.channel, set()).add(user_id)
        await asyncio.shield(self._soon())
        if room.present is None:
            room.present = {}

    def welcome(self, room: Room, connection: Connection, ref: bytes) -> bytes:
        """The newcomer's list; everybody else is told of this UserRef, unless the user was here
        already. The connection enters at once after.
        """
        assert room.present is not None
        if connection.user_id not in room.present:
            self._tell(room, "join", connection.user_id, ref)
        connection.presence_seen = room.deltas_base + len(room.deltas)
        return self.list_frame(room)

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

    def list_frame(self, room: Room) -> bytes:
        """`presence.list`: everybody, most recent first, up to 200; the whole number beside it. It
        is made once for all who get it while nobody comes or goes.
        """
        told = room.deltas_base + len(room.deltas)
        if room.listed is not None and room.listed[0] == told:
            return room.listed[1]
        present = room.present or {}
        users = b",".join(itertools.islice(reversed(present.values()), LIST_LIMIT))
        more = b"true" if len(present) > LIST_LIMIT else b"false"
        made = signal_frame(
            PRESENCE_LIST, b'{"users":[%s],"count":%d,"more":%s}' % (users, len(present), more)
        )
        room.listed = told, made
        return made

    def _tell(self, room: Room, what: str, user_id: int, ref: bytes = b"") -> None:
        present = room.present
        assert present is not None
        if what == "join":
            present[user_id] = ref
        else:
            ref = present.pop(user_id, b"")
        room.deltas.append((what, user_id, ref))
        if room.deltas_timer is None:
            room.deltas_timer = asyncio.get_running_loop().call_later(
                WINDOW_SECONDS, self._flush, room
            )

    def _flush(self, room: Room) -> None:
        """Tell each connection what changed since it was told last; those who were told alike get
        the same bytes.
        """
        room.deltas_timer = None
        base, end = room.deltas_base, room.deltas_base + len(room.deltas)
        told = Told(room.deltas, len(room.present or ()))
        room.flush()
        for connection in list(room.ready):
            seen = max(connection.presence_seen, base)
            connection.presence_seen = end
            if seen < end and (made := told.since(seen - base, changed=connection.wants_changed)):
                connection.write(made)
        room.deltas = []
        room.deltas_base = end

    def rejoined(self, room: Room, connection: Connection) -> None:
        """A reader that was slow missed signals: it gets the list anew."""
        if room.present is not None and connection.presence_seen < room.deltas_base:
            connection.presence_seen = room.deltas_base + len(room.deltas)
            connection.write(self.list_frame(room))

    # Turns

    async def _turns(self) -> None:
        last = time.monotonic()
        while True:
            thaw = self._frozen_until - time.monotonic()
            await asyncio.sleep(thaw if 0 < thaw < TURN_SECONDS else until_beat(TURN_SECONDS))
            if time.monotonic() - last > TURN_SECONDS + LEAP_SECONDS:
                self.freeze()
            last = time.monotonic()
            try:
                await self._turn()
            except (*REDIS_AWAY, *DATABASE_AWAY) as error:
                self.freeze()
                log.warning("presence.frozen error=%s", type(error).__name__)
            self._tasks.recovered("presence.turn")

    def freeze(self, *, since: float = 0.0) -> None:
        """Nobody leaves for the length of a lease; what froze it began so many seconds ago."""
        until = time.monotonic() + LEASE_SECONDS - since
        self._frozen_until = max(self._frozen_until, until)

    def found(self) -> None:
        """Redis is back, or another: leases that ran out or vanished are taken again at once."""
        if not self._stopping:
            self._later.start(self._look_anew())

    async def _look_anew(self) -> None:
        # A connection that is kept may lead to a primary of before, which answers as ever.
        with suppress(*REDIS_AWAY):
            await self.redis.connection_pool.disconnect(inuse_connections=False)
        await self._look_now(None)

    def woken(self) -> None:
        """This process slept: its leases ran out meanwhile. Take them again before anybody's turn
        says more.
        """
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
        if room.look_soon is not None:
            if room.look_soon.when() <= loop.time() + delay:
                return
            room.look_soon.cancel()
        # uvloop makes no timer of a delay of nothing, and then nobody can ask when it is due.
        delay = max(delay, 0.001)
        room.look_soon = loop.call_later(delay, lambda: self._later.start(self._look_now(room)))

    async def _look_later(self, room: Room, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._look_now(room)
        self.bus.hint(room.channel, HINT)

    async def _look_now(self, room: Room | None) -> None:
        if room is not None:
            room.look_soon = None
        if self._stopping:
            return
        if room is not None:
            self._looking.add(room.channel)
            await asyncio.shield(self._soon())
            return
        try:
            await self._turn()
        except (*REDIS_AWAY, *DATABASE_AWAY):
            self.freeze()

    def _soon(self) -> asyncio.Task[None]:
        """The next turn for those who come and the rooms to look at. It takes with it what is asked
        for until it begins.
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
            self.freeze()
            log.warning("presence.frozen error=%s", type(error).__name__)
        for channel in joining:
            self.bus.hint(channel, HINT)

    async def _turn(self, *, only: dict[str, set[int]] | None = None) -> None:
        """Renew, lower and look, for the channels named (with who joins), or for all."""
        async with self._calling:
            answers = await self._ask(only)
        await self._compare(answers)

    async def _ask(
        self, only: Mapping[str, Set[int]] | None, *, looking: Set[str] | None = None
    ) -> list[dict[str, Any]]:
        """Tell Redis, and what it says of the rooms that are looked at: all, or those of `looking`
        and those of which nothing is known. Who comes into a room that is known learns nothing new
        by looking, and when thousands come each look has a list of thousands.
        """
        lowered, self._lowered = self._lowered, {}
        now = time.monotonic()
        channels = set(only) if only is not None else set(self.hub.rooms)
        asked: list[dict[str, Any]] = []
        for channel in channels | set(lowered):
            if not channel.startswith("project:"):
                continue
            room = self.hub.rooms.get(channel)
            here: Collection[int] = (
                only.get(channel, frozenset())
                if only is not None
                else room.people()
                if room
                else frozenset()
            )
            leaving = {}
            if channel in lowered:
                staying = set(here)
                leaving = {
                    u: m
                    for u, m in lowered[channel].items()
                    if u not in staying and not self._is_here(channel, u)
                }
            if here or leaving or (room is not None and room.present is not None):
                unknown = room is not None and room.present is None
                look = unknown or looking is None or channel in looking
                asked.append(self._wish(channel, room, here, leaving, now, look=look))
        online = set(self.hub.people) if only is None else set().union(*only.values())
        leaving = {
            u: m
            for u, m in lowered.get(ONLINE, {}).items()
            if u not in online and not self._is_here(ONLINE, u)
        }
        # Who is online is asked without a room: somebody has to take away what ran out.
        if online or leaving or only is None:
            asked.append(self._wish(ONLINE, None, online, leaving, now, look=False))
        try:
            return await self._call(asked)
        except BaseException:
            for channel, people in lowered.items():
                self._lowered[channel] = people | self._lowered.get(channel, {})
            raise

    def _is_here(self, channel: str, user_id: int) -> bool:
        """Whether the user is here, or about to be, in this process."""
        if user_id in self._coming.get(channel, ()):
            return True
        if channel == ONLINE:
            return user_id in self.hub.people
        return any(
            isinstance(c.room, Room) and c.room.channel == channel
            for c in self.hub.of_user(user_id)
        )

    def _wish(
        self,
        channel: str,
        room: Room | None,
        here: Collection[int],
        leaving: dict[int, float],
        now: float,
        *,
        look: bool,
    ) -> dict[str, Any]:
        return {
            "channel": channel,
            "known": -1 if room is None or room.present is None else room.presence_version,
            "renew": sorted(here),
            "lower": [
                [user, max(1, round((moment - now) * 1000))] for user, moment in leaving.items()
            ],
            "look": look and room is not None,
        }

    async def _call(self, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        batch: list[dict[str, Any]] = []
        size = 0
        for room in asked:
            batch.append(room)
            size += len(room["renew"]) + 10
            if size >= USERS_A_CALL:
                answers += await self._call_once(batch)
                batch, size = [], 0
        if batch:
            answers += await self._call_once(batch)
        return answers

    async def _call_once(self, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = await self._run_script(asked)
        ahead = answer["clock"] / 1000 - time.monotonic()
        if self._clock_ahead is not None and abs(ahead - self._clock_ahead) > LEAP_SECONDS:
            self.freeze()
            log.warning("presence.clock_leapt seconds=%.1f", ahead - self._clock_ahead)
        self._clock_ahead = ahead
        if answer["run"] != self._run:
            if self._run:
                # It may have been emptied right after this process' last turn.
                self.freeze(since=TURN_SECONDS)
                log.warning("presence.other_redis")
                self.found()
            self._run = answer["run"]
            # Its versions count anew: the same number need not mean the same people.
            for room in self.hub.rooms.values():
                room.presence_version = -1
        rooms: list[dict[str, Any]] = answer["rooms"]
        return rooms

    async def _run_script(self, asked: list[dict[str, Any]]) -> dict[str, Any]:
        request = {
            "names": self.bus.names,
            "process": self.bus.process,
            "lease": round(LEASE_SECONDS * 1000),
            "most": round((max(LEASE_SECONDS, self.leave_delay) + LEAP_SECONDS) * 1000),
            "turn": round(TURN_SECONDS * 1000),
            "rooms": asked,
        }
        async with asyncio.timeout(TURN_LIMIT):
            answer: dict[str, Any] = orjson.loads(await self._script(args=[orjson.dumps(request)]))
        return answer

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
        """Make joins and leaves from the difference between Redis and what this room was told."""
        there = dict.fromkeys(int(user) for user in seen["users"].split(",") if user)
        refs = await self._refs(there)
        if room.present is None:
            room.present, room.listed = refs, None
            room.presence_version = seen["version"]
            return
        if seen["version"] < room.presence_version and self._frozen_until < time.monotonic():
            return
        frozen = time.monotonic() < self._frozen_until
        for user_id, ref in refs.items():
            if user_id not in room.present:
                self._tell(room, "join", user_id, ref)
        for user_id in [u for u in room.present if u not in there]:
            if not frozen and not self._is_here(room.channel, user_id):
                self._tell(room, "leave", user_id)
                PRESENCE_CORRECTIONS.inc()
        room.presence_version = -1 if frozen else seen["version"]

    # People

    async def refs(self, user_ids: Iterable[int]) -> list[bytes]:
        """The UserRefs of users, as JSON, in the order asked; from memory where known."""
        return list((await self._refs(user_ids)).values())

    async def _refs(self, user_ids: Iterable[int]) -> dict[int, bytes]:
        """`refs` by id: what was known or read for who asks, whatever is forgotten meanwhile."""
        refs = {user_id: self._people.get(user_id, b"") for user_id in user_ids}
        if not all(refs.values()):
            asked = self._unknown
            asked.update((user_id, b"") for user_id, ref in refs.items() if not ref)
            await self._shared.ask("people", self._read_together)
            for user_id, ref in refs.items():
                refs[user_id] = self._people.get(user_id) or ref or asked[user_id]
        return {user_id: ref for user_id, ref in refs.items() if ref}

    async def _read_together(self) -> None:
        """Read those who are asked for in one moment, and meanwhile, with few questions."""
        await asyncio.sleep(0)
        while self._unknown:
            asked, self._unknown = self._unknown, {}
            asked.update(await self._read_people(list(asked)))

    async def _read_people(self, user_ids: list[int]) -> dict[int, bytes]:
        rows = await sql.sockets.people(self.database.healing, ids=user_ids)
        read = {row["id"]: row["ref"].encode() for row in rows}
        self._people.update(read)
        beyond = max(0, len(self._people) - PEOPLE_KEPT)
        for oldest in list(itertools.islice(self._people, beyond)):
            del self._people[oldest]
        return read

    async def renamed(self, user_id: int) -> None:
        """A name or picture changed: lists made from now on show it."""
        if user_id in self._people:
            await self._read_people([user_id])
        places = [
            room
            for room in self.hub.rooms.values()
            if room.present is not None and user_id in room.present
        ]
        if places:
            ref = await self.refs([user_id])
            for room in places:
                if ref and room.present is not None and user_id in room.present:
                    room.present[user_id] = ref[0]
                    room.listed = None

    async def users(self, channel: str) -> list[int]:
        """Who is in a channel, most recent first, also where this process has no such room. Raises
        what Redis raises.
        """
        request = {"channel": channel, "known": -1, "renew": [], "lower": [], "look": True}
        answer = await self._run_script([request])
        return [int(user) for user in reversed(answer["rooms"][0]["users"].split(",")) if user]

    async def online(self, user_ids: list[int]) -> set[int]:
        """Which of these have any socket open, anywhere. With Redis away: those of this process."""
        if not user_ids:
            return set()
        try:
            counts = await self.redis.hmget(f"{self.bus.names}presence:counts:{ONLINE}", user_ids)
        except REDIS_AWAY:
            return {user_id for user_id in user_ids if user_id in self.hub.people}
        return {
            user_id for user_id, count in zip(user_ids, counts, strict=True) if count is not None
        }
