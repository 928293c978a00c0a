"""Finished boards: a board's bytes are made once for each seq of its project, for all readers.

Hundreds of readers fetch a board after each reconnect, and between two events it is the same for
all of them. So its bytes are kept by project and by what was asked for of it, with the epoch
and seq that they are true for; a few indexed reads say whether they still hold. Every change that
shows on a board records an event of the project in its own transaction, so an equal seq means equal
bytes. Board and seq come out of one statement: bytes kept under a seq hold neither more nor less
than that seq.

The reader's own view (role, star, what is unread) stands behind the kept bytes, which are never
decoded, and is part of the ETag. So the bytes are gzipped once for all readers, too, when the first
asks for that.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from warmdesk.auth.actor import EnteredProject
from warmdesk.auth.shares import Shares
from warmdesk.db.pool import ASK_SECONDS, Database
from warmdesk.db.queries import sql
from warmdesk.packing import ENOUGH, WAIT_SECONDS, Beginning, apart, begin, ended
from warmdesk.realtime.channels import project_channel
from warmdesk.schemas.projects import MOST_CARDS

PARTS = frozenset({"columns", "cards", "labels", "members"})
"""What a board has unless its reader names parts."""
CHAT = "chat"
"""A part that it has only when it is named."""
MEMBERS_SHOWN = 500
"""Members that a board shows at most; the others are read by the list of members."""
MESSAGES_SHOWN = 50
"""The newest messages that it shows with the part `CHAT`, within a mebibyte."""
BOARD_BYTES = 8 << 20
"""JSON of a board: its cards take at most what all the rest leaves."""
KEPT_BYTES = 64 << 20
"""Bytes of all cached boards of a process, at most; the one asked for longest ago goes first."""


class View(NamedTuple):
    """What of a board is asked for: its parts, how many cards of each column, whether these are
    brief, and what a cursor for a column's list is good for, with ``{column_id}`` for the column.
    """

    parts: frozenset[str] = PARTS
    most: int = MOST_CARDS
    brief: bool = False
    cards_bound: str = ""


WHOLE = View()


@dataclass(slots=True, eq=False)
class CachedBoard:
    """A board for all readers, and the epoch and seq that it is true for. `packed`: gzipped, when
    somebody asked for that; `packing` while it is done.
    """

    epoch: str
    seq: int
    content: bytes
    packed: Beginning | None = None
    packing: asyncio.Future[Beginning] | None = None

    @property
    def weight(self) -> int:
        return len(self.content) + (len(self.packed.blocks) if self.packed else 0)


@dataclass(frozen=True, slots=True)
class Board:
    """A board for one reader; no content when the reader has this very one. `etag`: of the content
    as it is, also when it is gzipped. `seq` and `epoch`: what it is true for.
    """

    etag: str
    seq: int
    epoch: str
    content: bytes | None
    gzipped: bool = False


@dataclass(slots=True)
class Builders:
    """The callers that wait while a project's board is built: the builder and those behind."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Boards:
    """The boards that this process keeps, at most `limit` bytes of them. `built` counts builds.
    `shares`: those of heavy reads; one person's many boards keep no other reader waiting.
    """

    def __init__(
        self, database: Database, *, limit: int = KEPT_BYTES, shares: Shares | None = None
    ) -> None:
        self.database = database
        self.shares = shares or Shares(0, on=False)
        self.limit = limit
        self.weight = 0
        self.built = 0
        self._cache: OrderedDict[tuple[int, View], CachedBoard] = OrderedDict()
        self._builders: dict[int, Builders] = {}

    async def read(
        self,
        project: EnteredProject,
        user_id: int,
        view: View = WHOLE,
        *,
        seen: Collection[str] = (),
        gzip: bool = False,
    ) -> Board:
        """The board for a user, as new as this moment or newer. `seen`: ETags of what they have;
        `gzip`: whether they take it gzipped.

        TimeoutError after `ASK_SECONDS`, the wait for other builders included.
        """
        async with asyncio.timeout(ASK_SECONDS):
            return await self._read(project, user_id, view, seen, gzip)

    async def _read(
        self,
        project: EnteredProject,
        user_id: int,
        view: View,
        seen: Collection[str],
        gzip: bool,
    ) -> Board:
        async with self.database.connection() as connection:
            mark = await sql.projects.board_mark(
                connection,
                channel=project_channel(project.id),
                project_id=project.id,
                user_id=user_id,
                role=project.role.word,
            )
        own = mark["own"].encode()
        tag = etag(mark["epoch"], mark["seq"], own, view)
        if tag in seen or "*" in seen:
            return Board(tag, mark["seq"], mark["epoch"], None)
        cached = self._cached(project.id, view, mark["epoch"], mark["seq"])
        if cached is None:
            # Never inside the lock of builders: a wait for one person's share would keep others
            # waiting.
            if not self.shares.take(user_id):
                await self.shares.wait(user_id)
            try:
                cached = await self._await(project.id, view, mark["epoch"], mark["seq"])
            finally:
                self.shares.give_back(user_id)
        tag = etag(cached.epoch, cached.seq, own, view)
        packed = await self._pack(cached) if gzip else None
        if packed is not None:
            content = ended(packed, b"," + own[1:])
        else:
            content = b"".join((memoryview(cached.content)[:-1], b",", own[1:]))
        return Board(tag, cached.seq, cached.epoch, content, gzipped=packed is not None)

    async def _pack(self, cached: CachedBoard) -> Beginning | None:
        """The board without its last brace, gzipped once; None where it is too small, or would come
        too late: then it is there for the next.
        """
        if cached.packed is None and len(cached.content) >= ENOUGH:
            if cached.packing is None:
                cached.packing = apart().start(begin, memoryview(cached.content)[:-1])
                if cached.packing is None:
                    return None
                cached.packing.add_done_callback(lambda done: self._packed(cached, done))
            await asyncio.wait((cached.packing,), timeout=WAIT_SECONDS)
        return cached.packed

    def _packed(self, cached: CachedBoard, done: asyncio.Future[Beginning]) -> None:
        cached.packing = None
        if done.cancelled() or done.exception() is not None:
            return
        kept = cached in self._cache.values()
        self.weight -= cached.weight if kept else 0
        cached.packed = done.result()
        self.weight += cached.weight if kept else 0
        self._lighten()

    def _cached(self, project_id: int, view: View, epoch: str, seq: int) -> CachedBoard | None:
        """The cached board, if it is of this epoch and not older than the seq."""
        cached = self._cache.get((project_id, view))
        if cached is None or cached.epoch != epoch or cached.seq < seq:
            return None
        self._cache.move_to_end((project_id, view))
        return cached

    async def _await(self, project_id: int, view: View, epoch: str, seq: int) -> CachedBoard:
        """Build it, or take what the builder before us made: one build of a project at a time."""
        builders = self._builders.setdefault(project_id, Builders())
        builders.length += 1
        try:
            async with builders.lock:
                cached = self._cached(project_id, view, epoch, seq)
                return cached or await self._build(project_id, view)
        finally:
            builders.length -= 1
            if not builders.length:
                del self._builders[project_id]

    async def _build(self, project_id: int, view: View) -> CachedBoard:
        parts = view.parts
        row = await sql.projects.board(
            self.database.heavy,
            project_id=project_id,
            most=view.most,
            brief=view.brief,
            cards_bound=view.cards_bound,
            most_members=MEMBERS_SHOWN,
            bytes=BOARD_BYTES,
            columns="columns" in parts,
            cards="cards" in parts,
            labels="labels" in parts,
            members="members" in parts,
            messages=MESSAGES_SHOWN if CHAT in parts else 0,
        )
        self.built += 1
        cached = CachedBoard(row["epoch"], row["seq"], row["board"])
        self._keep((project_id, view), cached)
        return cached

    def _keep(self, key: tuple[int, View], cached: CachedBoard) -> None:
        old = self._cache.pop(key, None)
        self.weight -= old.weight if old else 0
        if cached.weight > self.limit:
            return
        self._cache[key] = cached
        self.weight += cached.weight
        self._lighten()

    def _lighten(self) -> None:
        while self.weight > self.limit:
            _, oldest = self._cache.popitem(last=False)
            self.weight -= oldest.weight


def etag(epoch: str, seq: int, own: bytes, view: View) -> str:
    """Names all that a reader's bytes depend on."""
    asked = ",".join([*sorted(view.parts), *map(str, view[1:])])
    digest = hashlib.sha256(own + asked.encode()).hexdigest()[:12]
    return f'"{epoch}-{seq}-{digest}"'
