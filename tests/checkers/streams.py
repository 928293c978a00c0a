"""Each viewer gets 1, 2, 3 …, all viewers the same, and what the feed has.

`Streams` watches one channel for a whole run, a `Stream` one viewer through all its connections.
Any client will do that shows its decoded frames: ``stream.frame(frame)`` for each, with `opened`
before, or with ``hello`` as the first frame, and `closed` at the end of each connection.

What is wrong is counted as the server's mistake on that connection, also when the client healed it:

========  ==========================================================================================
lost      a hole that its connection never filled, or an event that a viewer never got
doubled   an event again, on one connection
swapped   an event that fills a hole late, or another event under a seq that somebody has seen
========  ==========================================================================================
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import orjson

from tests.checkers.cry import Checker

LIMIT = 10.0
ENVELOPE = ("type", "payload", "ts", "actor_id", "actor")
GONE = "gone"
# No feed of a run is longer: a seq that jumps so far is garbage, and its hole is not remembered.
FARTHEST = 100_000

Json = dict[str, Any]


class Streams(Checker):
    """All viewers of one channel. `quiet`: nothing breaks, so nobody has to ask again or to fetch
    anew.

    deliveries   events that came, all viewers together
    reconnects   connections after a viewer's first
    resumed      connections that went on from `since`
    resets       times that a viewer was told to fetch anew
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__()
        self.quiet = quiet
        self.viewers: dict[str, Stream] = {}
        self.deliveries = self.lost = self.doubled = self.swapped = 0
        self.reconnects = self.resumed = self.resets = 0
        # The first frame that anybody saw under a seq. Viewers that decode together share it, so
        # that most comparisons are of two addresses.
        self.seen: dict[str, dict[int, Json]] = {}
        self.blank: dict[str, set[int]] = {}

    def stream(self, name: str) -> Stream:
        """The stream of the viewer called so."""
        return self.viewers.setdefault(name, Stream(self, name))

    def differs(self, epoch: str, frame: Json) -> str:
        """How an event differs from what others saw under its seq; empty when it does not.

        A deleted text leaves ``gone`` for those who come later, so two viewers may rightly differ
        in that. Whether it was deleted, `compare` asks the feed.
        """
        seen, seq = self.seen.setdefault(epoch, {}), frame["seq"]
        known = seen.setdefault(seq, frame)
        if known is frame:
            return ""
        if frame["type"] == GONE or known["type"] == GONE:
            if known["type"] == GONE and frame["type"] != GONE:
                seen[seq] = frame
            self.blank.setdefault(epoch, set()).add(seq)
            return ""
        apart = [key for key in ENVELOPE if known.get(key) != frame.get(key)]
        return f"{' and '.join(apart)} of {known} and {frame}" if apart else ""

    async def compare(self, connection: Any, channel: str, *, limit: float = LIMIT) -> None:
        """At the end, when nobody writes: what was seen is what the feed has, and who still
        listens has come to its head (within `limit` seconds).

        `connection` is asyncpg's. Events that were trimmed meanwhile are not asked about.
        """
        async with connection.transaction(isolation="repeatable_read"):
            epoch = await connection.fetchval("select epoch()")
            feed = await connection.fetchrow(
                "select seq, oldest from feeds where channel = $1", channel
            )
            head, oldest = (feed["seq"], feed["oldest"]) if feed else (0, 1)
            await self._compare_events(connection, channel, epoch, head, oldest)
        await self._arrive(epoch, head, limit)
        for viewer in self.viewers.values():
            viewer.settle_accounts()

    async def _compare_events(
        self, connection: Any, channel: str, epoch: str, head: int, oldest: int
    ) -> None:
        seen, blank = self.seen.get(epoch, {}), self.blank.get(epoch, set())
        expected = oldest
        rows = connection.cursor(
            "select e.seq, e.type, envelope(e) as envelope from events e"
            " where channel = $1 order by seq",
            channel,
            prefetch=500,
        )
        async for row in rows:
            if row["seq"] != expected:
                self.cry(f"the feed of {channel} has {row['seq']} where {expected} should be")
            expected = row["seq"] + 1
            frame = seen.get(row["seq"])
            if frame is None or row["type"] == GONE:
                continue
            stored = orjson.loads(row["envelope"])
            if stored != frame or row["seq"] in blank:
                self.swapped += 1
                saw = f"{frame}" if stored != frame else "nothing but its seq"
                self.cry(f"of {channel} {row['seq']} viewers saw {saw}, the feed has {stored}")
        if expected != head + 1:
            self.cry(f"the feed of {channel} ends with {expected - 1}, its head is {head}")
        for seq in sorted(seq for seq in seen if seq > head):
            self.cry(f"viewers saw {channel} {seq}, the feed's head is {head}: {seen[seq]}")

    async def _arrive(self, epoch: str, head: int, limit: float) -> None:
        """Wait until all who listen are at the head; who never gets there has lost the rest."""

        def waiting() -> list[Stream]:
            viewers = self.viewers.values()
            return [v for v in viewers if v.open and (v.epoch, v.last) != (epoch, head)]

        end = time.monotonic() + limit
        while waiting() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        for viewer in waiting():
            if viewer.epoch != epoch:
                self.cry(f"{viewer.name} still listens to epoch {viewer.epoch}, it is {epoch}")
            elif viewer.last < head:
                self.lost += head - viewer.last
                self.cry(
                    f"{viewer.name} stands at {viewer.last}, the feed at {head}", head - viewer.last
                )


class Stream:
    """One viewer: connection after connection."""

    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name
        self.open = False
        self.epoch = ""
        self.last = 0
        """The highest seq that this connection has, or began after."""
        self.codes: list[int | None] = []
        self._connection = ""
        self._connections = 0
        self._replays = False
        self._needs_reset = False
        self._rewind: int | None = None
        self._missing: set[int] = set()
        # All it ever got since it last fetched, as runs [from, to]: kept apart from `last`, so that
        # a mistake in the one shows in the other.
        self._runs: list[list[int]] = []
        self._told: set[int] = set()

    def _cry(self, sentence: str, times: int = 1) -> None:
        self.streams.cry(f"{self.name}, connection {self._connections}: {sentence}", times)

    def opened(self, hello: Json, since: int | None = None, epoch: str | None = None) -> None:
        """A connection: the payload of its ``hello``, and what the client had asked with."""
        again = self.open and hello["connection_id"] == self._connection
        if not again:
            if self.open:
                self.closed(None)
            self.open = True
            self._connection = hello["connection_id"]
            self._connections += 1
            self.streams.reconnects += self._connections > 1
            self.streams.resumed += bool(hello["resumed"])
        if hello["resumed"]:
            if epoch is not None and epoch != hello["epoch"]:
                self._cry(f"it went on in epoch {hello['epoch']} from epoch {epoch}")
            if since is not None and since > hello["seq"]:
                self._cry(f"it went on from {since}, beyond the head {hello['seq']}")
            if self.epoch not in ("", hello["epoch"]):
                self._new_life()
            # Who heard hello alone cannot know `since`: it is at most what it has.
            self._replays = since is None and bool(self._runs)
            self.last = since if since is not None else self._top(hello["seq"])
        else:
            self._new_life()
            self._replays = False
            self.last = hello["seq"]
        self._needs_reset = since is not None and not hello["resumed"]
        self.epoch = hello["epoch"]
        follow = hello["seq"] - self.last
        if hello.get("replay", follow) != follow and not self._replays:
            self._cry(f"{follow} events were to follow, and not {hello['replay']}")

    def _top(self, otherwise: int) -> int:
        return self._runs[-1][1] if self._runs else otherwise

    def frame(self, frame: Json) -> None:
        """Every frame that came, in its order."""
        seq = frame.get("seq")
        if seq is None:
            if frame["type"] == "sync.reset":
                self._reset(frame["payload"])
            elif frame["type"] == "hello" and not (
                self.open and frame["payload"]["connection_id"] == self._connection
            ):
                self.opened(frame["payload"])
            return
        streams = self.streams
        streams.deliveries += 1
        if self._needs_reset:
            self._needs_reset = False
            streams.lost += 1
            self._cry(f"it could not go on, and {seq} came before it was told so")
        if seq == self.last + 1:
            self.last = seq
            self._replays = False
        else:
            self._out_of_turn(seq)
        runs = self._runs
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
        known = streams.seen.get(self.epoch)
        if known is None or known.get(seq) is not frame:
            differs = streams.differs(self.epoch, frame)
            if differs:
                streams.swapped += 1
                self._cry(f"others saw another event {seq}: {differs}")

    def _out_of_turn(self, seq: int) -> None:
        """An event that is not the next."""
        streams = self.streams
        if self._rewind is not None and seq == self._rewind + 1:
            self._give_up_missing()
            self.last, self._rewind = seq, None
        elif seq > self.last + FARTHEST:
            streams.lost += 1
            self._cry(f"{seq} came after {self.last}")
            self._new_life()
            self.last = seq
        elif seq > self.last:
            self._missing.update(range(self.last + 1, seq))
            self.last = seq
        elif self._replays:
            self.last = seq
        elif seq in self._missing:
            self._missing.discard(seq)
            streams.swapped += 1
            self._cry(f"{seq} came after {self.last}")
        else:
            streams.doubled += 1
            self._cry(f"{seq} came again; it was at {self.last}")
        self._replays = False

    def _reset(self, payload: Json) -> None:
        self.streams.resets += 1
        if self.streams.quiet:
            self._cry(f"it was told to fetch anew: {payload}")
        self._give_up_missing()
        self._new_life()
        self.last, self.epoch = payload["seq"], payload["epoch"]
        self._rewind, self._replays, self._needs_reset = None, False, False

    def synced(self, since: int) -> None:
        """The client sent ``sync``: from some moment on the connection starts again after it."""
        self._rewind = since
        if self.streams.quiet:
            self._cry(f"it had to ask for what came after {since}")

    def fetched(self) -> None:
        """The client fetched the state: it needs nothing of what came before its next `opened`."""
        self._new_life()

    def closed(self, code: int | None) -> None:
        """The connection ended. What it left out is lost."""
        if self.open:
            self.open = False
            self.codes.append(code)
            self._give_up_missing()
            self._rewind = None

    def _give_up_missing(self) -> None:
        if self._missing:
            self.streams.lost += len(self._missing)
            self._told |= self._missing
            self._cry(f"never got {spans(self._missing)}", len(self._missing))
            self._missing.clear()

    def settle_accounts(self) -> None:
        """What is missing so far is lost: on the connection, and between its first and last."""
        self._give_up_missing()
        self._look_for_holes()

    def _look_for_holes(self) -> None:
        """What no connection brought, though it brought what was before and after."""
        merged: list[list[int]] = []
        for start, end in sorted(self._runs):
            if merged and start <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        holes = (
            {
                seq
                for before, after in itertools.pairwise(merged)
                for seq in range(before[1] + 1, after[0])
            }
            - self._told
            - self._missing
        )
        if holes:
            self.streams.lost += len(holes)
            self._told |= holes
            self._cry(f"on no connection it got {spans(holes)}", len(holes))

    def _new_life(self) -> None:
        """The state is fetched anew: what was before counts no more."""
        self._look_for_holes()
        self._runs = []
        self._told = set()


def spans(seqs: set[int]) -> str:
    """Numbers as a short text: ``3, 7–9``."""
    runs: list[list[int]] = []
    for seq in sorted(seqs):
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    told = [f"{start}–{end}" if end > start else f"{start}" for start, end in runs[:10]]
    return ", ".join(told + (["…"] if len(runs) > 10 else []))
