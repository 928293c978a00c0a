"""How one connection comes from what it has seen to where its room is: from the room's tail, from
the feed, or not at all, which is a `Reset`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.errors import Unavailable
from warmdesk.metrics import FEED_REPAIRS, RESUMES
from warmdesk.realtime import feed
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.frames import Close, frame
from warmdesk.realtime.hub import CHECK_SECONDS, Hub
from warmdesk.realtime.room import TAIL_BYTES, TAIL_EVENTS, Room
from warmdesk.tasks import SingleFlight

REACH_FURTHER = 50
PAST_SECONDS = 60.0
"""How long a connection that is behind waits for a database that is away."""


class Reset(Exception):
    """The client's state cannot be carried on from: it must fetch again. The reason goes into
    `sync.reset`.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Resume:
    """Carries connections on: those that come back, ask for `sync`, or were too slow."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._shared: SingleFlight[bool] = SingleFlight()
        self._asked: dict[Connection, list[Callable[[], None]]] = {}

    async def plan(self, room: Room, since: int, epoch: str | None) -> None:
        """Whether a client at `since` can be carried on from; raises `Reset` when it cannot."""
        if epoch is not None and epoch != self.hub.epoch:
            raise Reset("epoch")
        if since > room.last:
            await asyncio.shield(self.hub.catch_up(room, cause="resume"))
        if since > room.last:
            # Either its seq never was, or the feed could not be read: only asking tells, and a
            # client that cannot be answered now is not made to throw its state away.
            _, heads = await feed.heads(self.hub.database.reserved, [room.channel])
            if heads[room.channel].seq >= since:
                raise Unavailable("the past cannot be read now, try again")
            raise Reset("ahead")
        if room.missed(since) is None:
            await self._reach_back(room, since)
        if room.missed(since) is not None:
            return
        async with self.hub.reads:
            page = await feed.after(self.hub.database.reserved, room.channel, since, limit=1)
        room.oldest = page.oldest
        if not page.reaches_back_to(since):
            raise Reset("retention")

    async def _reach_back(self, room: Room, since: int) -> None:
        """Lengthen a room's tail back to `since`, if it can hold so much. When a server is back,
        and all clients with it, its rooms have no tails: the missed events are read once for a room
        and not once for each client.
        """
        while (
            room.opened
            and room.beyond < since < room.first - 1
            and room.last - since <= TAIL_EVENTS
            and await self._shared.ask(room.channel, lambda: self._lengthen(room, since))
        ):
            pass

    async def _lengthen(self, room: Room, since: int) -> bool:
        """One read for it, a little further than asked, since others ask soon. False when there is
        no use in another.
        """
        if since >= room.first - 1:
            return True
        FEED_REPAIRS.inc(cause="resume")
        first, began = room.first, (room.blanked, room.opened)
        entries: list[Entry] = []
        size, after = 0, max(0, since - REACH_FURTHER)
        while after < first - 1:
            try:
                async with self.hub.reads:
                    page = await feed.after(self.hub.database.reserved, room.channel, after)
            except DATABASE_AWAY:
                return False
            if not page.entries or page.epoch != self.hub.epoch:
                return False
            entries += page.entries
            size, after = size + sum(len(e.body) for e in page.entries), entries[-1].seq
            if size > TAIL_BYTES and after < first - 1:
                room.beyond = max(room.beyond, since)
                return False
        # These events may hold texts that were deleted meanwhile.
        return (room.blanked, room.opened) == began and room.lengthen(entries)

    def behind(self, room: Room, connection: Connection) -> None:
        """A connection misses more than its room remembers: read the feed for it."""
        self.hub.heals.start(self._heal(room, connection))

    async def _heal(self, room: Room, connection: Connection) -> None:
        """Bring one connection up to its room, or end it: none may wait for ever."""
        try:
            await self._bring_up(room, connection)
        except Exception:
            connection.close(Close.SERVER_ERROR, "the past could not be read")
            raise

    async def _bring_up(self, room: Room, connection: Connection) -> None:
        """Bring one connection up to its room from the feed, at the pace it reads. While the
        database is away it waits.
        """
        FEED_REPAIRS.inc(cause="slow")
        answered = time.monotonic()
        while connection in room.behind and not connection.closing:
            if connection.paused_since:
                del room.behind[connection]
                room.slow[connection] = None
                return
            since = connection.seen
            try:
                async with self.hub.reads:
                    page = await feed.after(self.hub.database.reserved, room.channel, since)
            except DATABASE_AWAY:
                if time.monotonic() - answered > PAST_SECONDS:
                    connection.close(Close.OVERLOADED, "the past cannot be read now")
                    return
                await asyncio.sleep(CHECK_SECONDS)
                continue
            answered = time.monotonic()
            if connection not in room.behind or connection.seen != since:
                return
            if (
                page.epoch != self.hub.epoch
                or not page.reaches_back_to(since)
                or (since < page.seq and not page.entries)
            ):
                connection.seen = room.last
                connection.write(self.hub.reset_frame(room.last, "retention"))
            else:
                fresh = room.as_now([e for e in page.entries if e.seq <= room.last], page.seq)
                if fresh is None:
                    continue
                if fresh:
                    if any(entry.type == feed.GONE for entry in fresh):
                        self.hub.on_gone(room, [connection])
                    connection.seen = fresh[-1].seq
                    connection.write(b"".join(frame(entry.body) for entry in fresh))
                elif page.seq > room.last:
                    await asyncio.shield(self.hub.catch_up(room, cause="slow"))
            if connection not in room.behind or connection.paused_since:
                continue
            since = connection.seen
            if room.join(connection):
                if room.gone > since:
                    self.hub.on_gone(room, [connection])
                self.hub.on_rejoined(room, connection)
                return

    async def resync(
        self, connection: Connection, since: int, epoch: str | None, done: Callable[[], None]
    ) -> None:
        """Answer a `sync`: replay after `since`, or a reset. `done` is called when it follows its
        room again, right behind the last of it; never when the socket ends before.
        """
        room = connection.room
        assert isinstance(room, Room)
        reset: str | None = None
        try:
            await self.plan(room, since, epoch)
        except Reset as problem:
            reset = problem.reason
        RESUMES.inc(result="reset" if reset else "replay")
        if connection.closing or connection.room is not room:
            return
        room.flush()
        room.drop(connection)
        if reset is not None:
            since = room.last
            connection.write(self.hub.reset_frame(since, reset))
        elif connection in self._asked:
            # It did not get all that it asked for before.
            since = min(since, connection.seen)
        connection.seen = since
        self._asked.setdefault(connection, []).append(done)
        self.hub.rejoin(room, connection)

    def rejoined(self, room: Room, connection: Connection) -> None:
        for done in self._asked.pop(connection, ()):
            done()

    def left(self, room: Room, connection: Connection) -> None:
        self._asked.pop(connection, None)
