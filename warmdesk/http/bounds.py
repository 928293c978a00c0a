"""Bounds of what unfinished clients may hold of a process together: answers that are not taken,
bodies that drip, connections of one address, sockets of one person, open files. Slow sockets are
the sweeper's.

Each of them alone has a limit of its own, but thousands of small ones are a large one.
``warmdesk_http_cut_total`` counts the connections that are ended here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from functools import lru_cache
from itertools import islice
from time import monotonic
from typing import Protocol, cast

from warmdesk.auth.addresses import neighbourhood, networks, parsed
from warmdesk.config import Settings
from warmdesk.errors import Policy, TooMany, Unavailable
from warmdesk.metrics import HTTP_BUFFER_BYTES, HTTP_CUT
from warmdesk.realtime.socket_buffers import progress
from warmdesk.tasks import Tasks, seconds_to_tick

WRITE_TIMEOUT = 10.0
"""A connection that took nothing of its answer for so many seconds is ended."""
DRAIN_SECONDS = 60.0
"""So long an answer may take that the kernel does not take at once."""
STOPPING_TIMEOUT = 1.0
"""The same as `WRITE_TIMEOUT` while the process stops."""
ANSWER_BUDGET = 256 << 20
"""Bytes of answers that may wait to be taken, as many as those of slow sockets."""
BODY_BUDGET = 64 << 20
"""Bytes of bodies that are still on their way: sixty-four of the largest."""
VISITED = 2000
"""Readers that one visit asks, so that a visit takes milliseconds however many there are."""
SPARE_FILES = 128
"""Files that are left for PostgreSQL, Redis and the disk."""
FEW_FILES = 16
SHARE = 4
"""One address has at most this part of the files, even if the setting says more."""
NOBODY = 0
"""The id that stands for all who are not signed in; no person has it."""
HERE = "127.0.0.0/8, ::1"
"""Connections of this machine are not counted: a local process needs none to do harm."""
SOCKETS_AGAIN_SECONDS = 10.0
VISIT_SECONDS = 1.0
COLLECT_SECONDS = 60.0
SMALL = 2
"""Collections of the youngest objects since the last of the older ones: so few of those make that
a matter of milliseconds."""
SAY_AGAIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Crowded(Unavailable):
    """503: too many bodies are on their way, and this one longest. The connection ends."""

    closes = True


class Reader:
    """An answer that is not taken at once: its person, since when, when some of it was taken last,
    how much of it waits, and a number that falls when more is taken.
    """

    __slots__ = ("level", "person", "since", "size", "taken_at")

    def __init__(self, transport: asyncio.Transport, person: int, now: float) -> None:
        self.person = person
        self.since = self.taken_at = now
        self.size = transport.get_write_buffer_size()
        self.level = progress(transport)


class Readers:
    """The connections that do not take their answers at once. ``held``: bytes that wait for all of
    them; ``of``: for each person, and for `NOBODY` those of all who are not signed in.
    """

    def __init__(self) -> None:
        self.slow: dict[asyncio.Transport, Reader] = {}
        self.held = 0
        self.of: Counter[int] = Counter()

    def waits(self, transport: asyncio.Transport, person: int) -> None:
        """The kernel did not take all of an answer. Over the budget, the person who holds most
        loses the answer that was taken least lately: a crowd of one person's answers ends no
        others.
        """
        reader = self.slow[transport] = Reader(transport, person, monotonic())
        self._holds(reader, reader.size)
        while self.held > ANSWER_BUDGET:
            most = max(self.of, key=self.of.__getitem__)
            theirs = (each for each, reader in self.slow.items() if reader.person == most)
            self._end(min(theirs, key=lambda each: self.slow[each].taken_at), "answers")

    def is_done(self, transport: asyncio.Transport) -> None:
        """It took everything, or is gone."""
        reader = self.slow.pop(transport, None)
        if reader is not None:
            self._holds(reader, -reader.size)

    def _holds(self, reader: Reader, more: int) -> None:
        self.held += more
        self.of[reader.person] += more
        if not self.of[reader.person]:
            del self.of[reader.person]

    def visit(self, now: float, *, stopping: bool = False) -> None:
        """Once a second: end the connections that take nothing, or not enough."""
        patience = STOPPING_TIMEOUT if stopping else WRITE_TIMEOUT
        for transport in list(islice(self.slow, VISITED)):
            reader = self.slow.pop(transport)
            self.slow[transport] = reader  # those that were visited longest ago stand first
            size, level = transport.get_write_buffer_size(), progress(transport)
            self._holds(reader, size - reader.size)
            reader.size = size
            if level < reader.level:
                reader.taken_at, reader.level = now, level
            if now - reader.taken_at > patience:
                self._end(transport, "stalled")
            elif now - reader.since > DRAIN_SECONDS:
                self._end(transport, "slow")
        HTTP_BUFFER_BYTES.set(self.held)

    def end_all(self) -> None:
        """The process stops: end them all."""
        for transport in list(self.slow):
            self._end(transport, "stalled")

    def _end(self, transport: asyncio.Transport, reason: str) -> None:
        self.is_done(transport)
        HTTP_CUT.inc(reason=reason)
        reset(transport)


def reset(transport: asyncio.Transport) -> None:
    """End a connection now: what waits is lost, in the kernel, too, which would keep it for minutes
    for a peer that takes nothing.
    """
    inside = transport.get_extra_info("socket")
    if inside is not None:
        try:
            inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # it is gone
    transport.abort()


class ArrivingBody:
    """One body that is on its way, and its person. ``late`` ends its reading."""

    __slots__ = ("cut", "late", "person", "size")

    def __init__(self, late: asyncio.Timeout, person: int) -> None:
        self.late, self.person, self.size, self.cut = late, person, 0, False


class Bodies:
    """The bodies on their way, the oldest first. ``held``: bytes of all that have come; ``of``: of
    each person's, and for `NOBODY` of those of all who are not signed in.
    """

    def __init__(self) -> None:
        self.coming: dict[ArrivingBody, None] = {}
        self.held = 0
        self.of: Counter[int] = Counter()

    def begins(self, late: asyncio.Timeout, person: int) -> ArrivingBody:
        body = ArrivingBody(late, person)
        self.coming[body] = None
        return body

    def grows(self, body: ArrivingBody, size: int) -> None:
        """More of it came. Over the budget, the person with most on their way loses the bodies that
        have been coming longest: an honest body is done soon, and one person's many cut off no
        others.
        """
        if body.cut:
            return
        body.size += size
        self._holds(body, size)
        while self.held > BODY_BUDGET:
            most = max(self.of, key=self.of.__getitem__)
            oldest = next(each for each in self.coming if each.person == most and each.size)
            self.ends(oldest)
            oldest.cut = True
            HTTP_CUT.inc(reason="bodies")
            oldest.late.reschedule(0.0)

    def ends(self, body: ArrivingBody) -> None:
        """It is whole, or is read no more."""
        if body in self.coming:
            del self.coming[body]
            self._holds(body, -body.size)

    def _holds(self, body: ArrivingBody, more: int) -> None:
        self.held += more
        self.of[body.person] += more
        if not self.of[body.person]:
            del self.of[body.person]


class Caller(Protocol):
    """A connection that is no socket, read by `warmdesk.handshake_reader` or aiohttp, or one that
    was refused.
    """

    def is_idle(self) -> bool:
        """Nothing is asked: there is no request yet, or none after the one that is answered."""

    def hangs_for(self) -> int | None:
        """The person whose body is not whole yet, or whose answer is not taken; None when neither
        is so. Asked of connections that are not idle.
        """


class Entrance:
    """The open connections, how many each address has, and how many sockets one person may open.

    ``open``: every connection and the address it counts for, empty for those that are not counted:
    proxies, whose addresses are not their clients', and this machine. ``callers``: of each address
    those that are no sockets, the one looked at longest ago first. ``each``: how many sockets one
    person may have, and at an address's limit connections that hang.
    """

    def __init__(self, settings: Settings) -> None:
        self.files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if self.files == resource.RLIM_INFINITY:
            self.files = 1 << 30
        self.most = min(settings.connections_per_address, max(1, self.files // SHARE))
        self.each = min(settings.sockets_per_person, max(1, self.most // 2))
        self.uncounted = f"{settings.trusted_proxies},{HERE}"
        self.open: dict[asyncio.BaseTransport, str] = {}
        self.of: dict[str, int] = {}
        self.callers: dict[str, dict[asyncio.Transport, None]] = {}
        self._said: dict[str, float] = {}

    def enters(self, transport: asyncio.BaseTransport) -> bool:
        """A connection was accepted. False, counted and said when it is one too many."""
        peer = transport.get_extra_info("peername")
        address = counted_as(peer[0], self.uncounted) if isinstance(peer, tuple) else ""
        if len(self.open) >= max(self.files - SPARE_FILES, self.files // 2):
            return self._too_many("files", limit=self.files)
        if address:
            if self.of.get(address, 0) >= self.most and not self._make_room(address):
                return self._too_many("address", address=address, limit=self.most)
            self.of[address] = self.of.get(address, 0) + 1
            self.callers.setdefault(address, {})[cast("asyncio.Transport", transport)] = None
        self.open[transport] = address
        return True

    def becomes_socket(self, transport: asyncio.BaseTransport) -> None:
        """A connection is a socket from here on: it gives way to no other."""
        self._calls_no_more(self.open.get(transport, ""), transport)

    def leaves(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is gone."""
        address = self.open.pop(transport, "") if transport is not None else ""
        if address and transport is not None:
            self._calls_no_more(address, transport)
            left = self.of[address] - 1
            if left:
                self.of[address] = left
            else:
                del self.of[address]

    def _calls_no_more(self, address: str, transport: asyncio.BaseTransport) -> None:
        callers = self.callers.get(address)
        if callers is not None:
            callers.pop(cast("asyncio.Transport", transport), None)
            if not callers:
                del self.callers[address]

    def _make_room(self, address: str) -> bool:
        """An address is at its limit: end its oldest idle connection, or else those of the person
        who lets most of them hang, but for the newest. False when that makes no room.
        """
        callers = self.callers.get(address, {})
        busy: list[asyncio.Transport] = []
        for transport in islice(callers, VISITED):
            if cast("Caller", transport.get_protocol()).is_idle():
                break
            busy.append(transport)
        else:
            return self._end_most(address, busy)
        for each in busy:  # they are looked at again behind the others
            del callers[each]
            callers[each] = None
        HTTP_CUT.inc(reason="idle")
        self._say("ended", "idle", address=address, limit=self.most)
        self.leaves(transport)
        transport.abort()
        return True

    def _end_most(self, address: str, busy: list[asyncio.Transport]) -> bool:
        hang: defaultdict[int, list[asyncio.Transport]] = defaultdict(list)
        for transport in busy:
            person = cast("Caller", transport.get_protocol()).hangs_for()
            if person is not None:
                hang[person].append(transport)
        person, theirs = max(hang.items(), key=lambda each: len(each[1]), default=(NOBODY, []))
        ended = theirs[: -self.each]
        for transport in ended:
            HTTP_CUT.inc(reason="person")
            self._say("ended", "person", user_id=person, address=address, limit=self.each)
            self.leaves(transport)
            reset(transport)
        return bool(ended)

    def refuse_socket(self, person: int) -> TooMany:
        """A person has as many sockets as one may. The new one is refused and none is ended:
        clients that come back at once would else end each other's without end.
        """
        return self._refuse_one(person, self.each, "sockets open here")

    def refuse_stream(self, person: int, most: int) -> TooMany:
        """A person has as many sockets and streams on one channel as one may."""
        return self._refuse_one(person, most, "sockets and streams open on this")

    def _refuse_one(self, person: int, most: int, what: str) -> TooMany:
        self._too_many("sockets", user_id=person, limit=most)
        return TooMany(
            Policy("sockets", most),
            SOCKETS_AGAIN_SECONDS,
            f"you have {most} {what}, which is the limit: close some, or try again later",
            code="too_many_sockets",
        )

    def visit(self) -> None:
        """Check whether there are files left. libuv says nothing when there are none for a new
        connection: it is accepted and closed.
        """
        try:
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            number = self.files
        else:
            os.close(number)
        if number >= self.files - FEW_FILES:
            self._too_many("files", limit=self.files)

    def _too_many(self, reason: str, **facts: object) -> bool:
        HTTP_CUT.inc(reason=reason)
        self._say("refused", reason, **facts)
        return False

    def _say(self, what: str, reason: str, **facts: object) -> None:
        now = monotonic()
        if now >= self._said.get(reason, 0.0):
            self._said[reason] = now + SAY_AGAIN_SECONDS
            form = " ".join(
                f"{name}={'%d' if isinstance(value, int) else '%s'}"
                for name, value in (facts | {"open": len(self.open)}).items()
            )
            log.warning(
                f"connections.%s reason=%s {form}", what, reason, *facts.values(), len(self.open)
            )


@lru_cache(maxsize=4096)
def counted_as(host: str, uncounted: str) -> str:
    """The address that a peer counts for; empty when it is in one of the networks that are not
    counted.
    """
    address = parsed(host)
    if address is None or any(address in network for network in networks(uncounted)):
        return ""
    return neighbourhood(str(address))


class Bounds:
    """All of these of one application, and the clock that visits them."""

    def __init__(self, settings: Settings) -> None:
        self.readers, self.bodies, self.entrance = Readers(), Bodies(), Entrance(settings)
        self.stopping = False
        self._collected_at = monotonic()

    def visit(self, now: float) -> None:
        """Once a second."""
        self.readers.visit(now, stopping=self.stopping)
        self.entrance.visit()
        if now - self._collected_at >= COLLECT_SECONDS:
            self._collected_at = now
            collect()

    async def watching(self) -> AsyncIterator[None]:
        """While the application runs."""

        async def turn() -> None:
            while True:
                await asyncio.sleep(seconds_to_tick(VISIT_SECONDS))
                self.visit(monotonic())

        tasks = Tasks()
        tasks.start("bounds", turn)
        yield
        await tasks.stop()


def collect() -> None:
    """Free reference cycles. With the thresholds of a worker they would stay until fifty thousand
    more objects are made, which in a quiet process is never.
    """
    gc.collect(1 if gc.get_count()[1] <= SMALL else 0)
