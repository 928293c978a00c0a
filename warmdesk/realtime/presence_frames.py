"""The frames about the users in a room: the list, and the joins and leaves of a window."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from warmdesk.json_parts import joined
from warmdesk.realtime.events import (
    PRESENCE_CHANGED,
    PRESENCE_JOIN,
    PRESENCE_LEAVE,
    PRESENCE_LIST,
    signal_frame,
)

LIST_LIMIT = 200

Delta = tuple[str, int, bytes]
"""A "join" or "leave", the user's id, and the UserRef as JSON."""


class RoomPresence:
    """The users in one room, as this process shows them to its sockets.

    present       user id → UserRef as JSON, earliest first; None before Redis was asked
    version       Redis' number of what was seen there last; -1 when the next look is to count
    deltas        the joins and leaves that are not sent yet, in their order
    deltas_base   how many were sent before them
    deltas_timer  when they are sent
    listed        the list as it was made last, and how many joins and leaves it knows
    look_soon     when Redis is to be asked about the room
    """

    __slots__ = (
        "deltas",
        "deltas_base",
        "deltas_timer",
        "listed",
        "look_soon",
        "present",
        "version",
    )

    def __init__(self) -> None:
        self.present: dict[int, bytes] | None = None
        self.version = -1
        self.deltas: list[Delta] = []
        self.deltas_base = 0
        self.deltas_timer: asyncio.TimerHandle | None = None
        self.listed: tuple[int, bytes] | None = None
        self.look_soon: asyncio.TimerHandle | None = None

    @property
    def deltas_end(self) -> int:
        """How many joins and leaves there were so far; each socket knows the first n of them."""
        return self.deltas_base + len(self.deltas)

    def change(self, what: str, user_id: int, ref: bytes = b"") -> None:
        """Somebody came ("join") or went ("leave")."""
        assert self.present is not None
        if what == "join":
            self.present[user_id] = ref
        else:
            ref = self.present.pop(user_id, b"")
        self.deltas.append((what, user_id, ref))

    def list_frame(self) -> bytes:
        """`presence.list`: the users, most recent first, up to 200; the whole number beside them.
        It is made once until somebody comes or goes.
        """
        end = self.deltas_end
        if self.listed is not None and self.listed[0] == end:
            return self.listed[1]
        present = self.present or {}
        users = b",".join(itertools.islice(reversed(present.values()), LIST_LIMIT))
        more = b"true" if len(present) > LIST_LIMIT else b"false"
        made = signal_frame(
            PRESENCE_LIST, b'{"users":[%s],"count":%d,"more":%s}' % (users, len(present), more)
        )
        self.listed = end, made
        return made


class Suffixes:
    """Pieces in one string, from which every last part of them can be cut without its comma."""

    __slots__ = ("_begins", "_text")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        parts = list(pieces)
        self._begins = list(itertools.accumulate(map(len, parts), initial=0))
        self._text = b"".join(parts).removesuffix(b",")

    def since(self, known: int) -> bytes:
        """All pieces but the first `known`."""
        return self._text[self._begins[known] :]


class WindowFrames:
    """The frames of one window, made once. Each socket gets the end of them that is new to it.

    deltas   the window's joins and leaves in their order
    count    how many are present after them

    In a storm every newcomer knows a different part of the window: frames made for each would cost
    the square of their number.
    """

    __slots__ = ("_count", "_deltas", "_joined", "_last", "_left", "_once", "_remade", "_singles")

    def __init__(self, deltas: list[Delta], count: int) -> None:
        self._deltas = deltas
        self._count = count
        self._joined: Suffixes | None = None
        self._left: Suffixes | None = None
        self._once = len(deltas)
        self._singles: Suffixes | None = None
        # Connections from before the window stand side by side, and share one frame.
        self._last: dict[bool, tuple[int, bytes]] = {}
        self._remade: dict[int, bytes] = {}

    def since(self, known: int, *, changed: bool) -> bytes:
        """The frames for a socket that knows the first `known` changes: one of all that changed in
        the end, or one for each join and leave. Empty when nothing did.
        """
        last = self._last.get(changed)
        if last is None or last[0] != known:
            made = self._cut(known) if changed else self._each(known)
            last = self._last[changed] = known, made
        return last[1]

    def _each(self, known: int) -> bytes:
        if self._singles is None:
            self._singles = Suffixes(_single(delta) for delta in self._deltas)
        return self._singles.since(known)

    def _cut(self, known: int) -> bytes:
        if self._joined is None or self._left is None:
            deltas = self._deltas
            self._joined = Suffixes(
                ref + b"," if what == "join" else b"" for what, _, ref in deltas
            )
            self._left = Suffixes(
                b"%d," % user_id if what == "leave" else b"" for what, user_id, _ in deltas
            )
            self._once = _once_from(deltas)
        if known >= self._once:
            return self._frame(self._joined.since(known), self._left.since(known))
        if known not in self._remade:
            self._remade[known] = self._make(known)
        return self._remade[known]

    def _make(self, known: int) -> bytes:
        """Some user comes and goes more than once: only the difference in the end is sent."""
        first: dict[int, str] = {}
        last: dict[int, tuple[str, bytes]] = {}
        for what, user_id, ref in self._deltas[known:]:
            first.setdefault(user_id, what)
            last[user_id] = what, ref
        # Joins and leaves of one user take turns: a user whose first is a leave and last a join
        # never left.
        last = {user_id: change for user_id, change in last.items() if change[0] == first[user_id]}
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
    """The first index from which on no user occurs twice."""
    named: set[int] = set()
    for index in range(len(deltas) - 1, -1, -1):
        user_id = deltas[index][1]
        if user_id in named:
            return index + 1
        named.add(user_id)
    return 0


def _single(delta: Delta) -> bytes:
    what, user_id, ref = delta
    if what == "join":
        return signal_frame(PRESENCE_JOIN, joined(b'{"user_id":%d}' % user_id, ref))
    return signal_frame(PRESENCE_LEAVE, b'{"user_id":%d}' % user_id)
