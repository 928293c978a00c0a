"""Finished boards: a board's bytes are made once for each seq of its project, whoever asks.

A board is what hundreds of readers fetch after each reconnect, and between two events it is the
same for all of them. So its bytes are kept by project and by the parts that were asked for, with
the epoch and seq that they are true for; one indexed read says whether they still hold. Every
change that shows on a board records an event of the project in its own transaction, so an equal seq
means equal bytes. Board and seq come out of one statement: what is kept under a seq holds neither
more nor less than that seq.

The reader's own view (role and star) stands before the kept bytes, which are never decoded, and is
part of the ETag.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from warmdesk.auth.actor import Project
from warmdesk.auth.shares import Shares
from warmdesk.db.pool import ASK_SECONDS, Database
from warmdesk.db.queries import sql
from warmdesk.json_parts import joined
from warmdesk.realtime.channels import project_channel

encode = msgspec.json.Encoder().encode
PARTS = frozenset({"columns", "cards", "labels", "members"})
CARDS_SHOWN = 500
"""Cards that a column shows at most; the others are read by the column's own list."""
MEMBERS_SHOWN = 500
"""Members that a board shows at most; the others are read by the list of members."""
BOARD_BYTES = 8 << 20
"""JSON of a board: its cards take at most what all the rest leaves."""
KEPT_BYTES = 64 << 20
"""What all kept boards of a process may weigh; the one asked for longest ago goes first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A board for everybody, and what it is true for."""

    epoch: str
    seq: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Board:
    """A board for one reader; no content when the reader has this very one."""

    etag: str
    content: bytes | None


@dataclass(slots=True)
class Builders:
    """Who waits while a project's board is built: the builder and those behind."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Boards:
    """The boards that this process keeps, at most `limit` bytes of them. `built` counts builds.
    `shares`: of whoever reads much; one person's many boards keep nobody from another one.
    """

    def __init__(
        self, database: Database, *, limit: int = KEPT_BYTES, shares: Shares | None = None
    ) -> None:
        self.database = database
        self.shares = shares or Shares(0, on=False)
        self.limit = limit
        self.weight = 0
        self.built = 0
        self._kept: OrderedDict[tuple[int, frozenset[str]], Kept] = OrderedDict()
        self._builders: dict[int, Builders] = {}

    async def read(
        self,
        project: Project,
        user_id: int,
        parts: frozenset[str] = PARTS,
        *,
        seen: Collection[str] = (),
    ) -> Board:
        """The board for a user, as new as this moment or newer. `seen`: ETags of what they have.

        TimeoutError after `ASK_SECONDS`, the wait for other builders included.
        """
        async with asyncio.timeout(ASK_SECONDS):
            return await self._read(project, user_id, parts, seen)

    async def _read(
        self, project: Project, user_id: int, parts: frozenset[str], seen: Collection[str]
    ) -> Board:
        async with self.database.connection() as connection:
            mark = await sql.projects.board_mark(
                connection,
                channel=project_channel(project.id),
                project_id=project.id,
                user_id=user_id,
            )
        own = encode({"my_role": project.role.word, "starred": mark["starred"]})
        tag = etag(mark["epoch"], mark["seq"], own, parts)
        if tag in seen or "*" in seen:
            return Board(tag, None)
        kept = self._holding(project.id, parts, mark["epoch"], mark["seq"])
        if kept is None:
            # Never inside the lock of builders: who waits for his share would keep others waiting.
            if not self.shares.take(user_id):
                await self.shares.wait(user_id)
            try:
                kept = await self._await(project.id, parts, mark["epoch"], mark["seq"])
            finally:
                self.shares.give_back(user_id)
        return Board(etag(kept.epoch, kept.seq, own, parts), joined(own, kept.content))

    def _holding(self, project_id: int, parts: frozenset[str], epoch: str, seq: int) -> Kept | None:
        """The kept board, if it is of this epoch and not older than the seq."""
        kept = self._kept.get((project_id, parts))
        if kept is None or kept.epoch != epoch or kept.seq < seq:
            return None
        self._kept.move_to_end((project_id, parts))
        return kept

    async def _await(self, project_id: int, parts: frozenset[str], epoch: str, seq: int) -> Kept:
        """Build it, or take what the builder before us made: one build of a project at a time."""
        builders = self._builders.setdefault(project_id, Builders())
        builders.length += 1
        try:
            async with builders.lock:
                kept = self._holding(project_id, parts, epoch, seq)
                return kept or await self._build(project_id, parts)
        finally:
            builders.length -= 1
            if not builders.length:
                del self._builders[project_id]

    async def _build(self, project_id: int, parts: frozenset[str]) -> Kept:
        row = await sql.projects.board(
            self.database.heavy,
            project_id=project_id,
            most=CARDS_SHOWN,
            most_members=MEMBERS_SHOWN,
            bytes=BOARD_BYTES,
            columns="columns" in parts,
            cards="cards" in parts,
            labels="labels" in parts,
            members="members" in parts,
        )
        self.built += 1
        kept = Kept(row["epoch"], row["seq"], row["board"])
        self._keep((project_id, parts), kept)
        return kept

    def _keep(self, key: tuple[int, frozenset[str]], kept: Kept) -> None:
        old = self._kept.pop(key, None)
        self.weight -= len(old.content) if old else 0
        if len(kept.content) > self.limit:
            return
        self._kept[key] = kept
        self.weight += len(kept.content)
        while self.weight > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self.weight -= len(oldest.content)


def etag(epoch: str, seq: int, own: bytes, parts: frozenset[str]) -> str:
    """Names all that a reader's bytes depend on."""
    view = hashlib.sha256(own + ",".join(sorted(parts)).encode()).hexdigest()[:12]
    return f'"{epoch}-{seq}-{view}"'
