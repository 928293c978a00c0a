"""The numbered events of a channel, in PostgreSQL.

Why a feed and not only pub/sub: a pub/sub message that a process missed is gone, and the process
does not know it. A feed is written in the transaction of the change itself, so a fact and its event
are kept or lost together; and taking the next seq locks the feed's row until the commit, so seq
order is commit order and 1, 2, 3 … has no holes: when 18 is visible, 17 is too. A reader that has
seen n and reads n+1 … has missed nothing, after a lost message, a dead Redis, a closed laptop. The
price: one channel's events per second are bounded by the time of a commit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from warmdesk import clock
from warmdesk.db.queries import sql

PAGE = 200
TRIM_BATCH = 1000
GONE = "gone"
TS = b'"ts":"'
TS_LENGTH = len("2030-01-31T12:00:00.000000Z")


class Entry(NamedTuple):
    """One event of a feed. ``body`` is its envelope, JSON in UTF-8; ``entity`` the thing that it is
    about, ``-`` for none; ``erases`` whether it blanks the entity's earlier events.
    """

    seq: int
    type: str
    entity: str
    body: bytes
    erases: bool = False


def read_entry(seq: int, kind: str, told_of: str, body: bytes) -> Entry:
    """An event as the bus and a page give it. PostgreSQL says which events erase, by a ``/`` at the
    end of the entity: this process may be older than the event.
    """
    if told_of.endswith("/"):
        return Entry(seq, kind, told_of[:-1], body, erases=True)
    return Entry(seq, kind, told_of, body)


def blanked(entry: Entry) -> Entry:
    """An event as the feed shows it once its entity was deleted: nothing but seq, time and actor.

    The envelope is not parsed, so this cannot fail.
    """
    at = entry.body.rfind(b"," + TS)
    rest = entry.body[at:] if at >= 0 else b"}"
    body = b'{"type":"gone","payload":{},"seq":%d%s' % (entry.seq, rest)
    return Entry(entry.seq, GONE, entry.entity, body)


def seconds_since(entry: Entry, now: float | None = None) -> float | None:
    """How long ago an event was recorded; None when its envelope does not say.

    By PostgreSQL's clock (`now`: as `clock.now` tells it), and never below 0. The envelope is not
    parsed, so it costs a microsecond: its last ``"ts":"`` is the one, because only the actor and
    the client's id, in which quotes are escaped, come after.
    """
    at = entry.body.rfind(TS)
    if at < 0:
        return None
    at += len(TS)
    try:
        moment = datetime.fromisoformat(entry.body[at : at + TS_LENGTH].decode()).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, (clock.now() if now is None else now) - moment)


@dataclass(frozen=True, slots=True)
class Page:
    """Events after a seq (at most 200, about 1 MiB), with the head, the floor and the epoch of the
    same moment.
    """

    entries: list[Entry]
    seq: int
    oldest: int
    epoch: str

    def reaches_back_to(self, since: int) -> bool:
        """Whether everything after `since` is still kept."""
        return self.oldest - 1 <= since <= self.seq


class Ends(NamedTuple):
    """The head of a feed, 0 where nothing happened yet, and its floor: the oldest seq that is kept,
    or would be.
    """

    seq: int
    oldest: int


NOTHING = Ends(0, 1)


async def after(connection: Any, channel: str, since: int, *, limit: int = PAGE) -> Page:
    """The events after `since`, in order. Far behind, ask again from the last entry's seq."""
    row = await sql.feeds.after(connection, channel=channel, since=since, limit=limit)
    parts = zip(row["seqs"], row["types"], row["entities"], row["envelopes"], strict=True)
    entries = [read_entry(seq, kind, told_of, body.encode()) for seq, kind, told_of, body in parts]
    return Page(entries, row["seq"], row["oldest"], row["epoch"])


async def heads(connection: Any, channels: Iterable[str]) -> tuple[str, dict[str, Ends]]:
    """The epoch, and the head and floor of each channel, in one query. It also sets the clock."""
    wanted = list(channels)
    asked_at = time.monotonic()
    rows = await sql.feeds.heads(connection, channels=wanted)
    clock.adjust(rows[0]["moment"].timestamp(), asked_at)
    known = {row["channel"]: Ends(row["seq"], row["oldest"]) for row in rows if row["channel"]}
    return rows[0]["epoch"], {channel: known.get(channel, NOTHING) for channel in wanted}


async def renew_epoch(connection: Any, known: str) -> str:
    """Say that the history of the epoch `known` went back without a sign, as when a disk did: a
    head is below what was seen of it. Gives the epoch, which is another one from then on, so that
    clients that are away now learn of it too when they come back.
    """
    epoch: str = await sql.feeds.renew_epoch(connection, known=known)
    return epoch


async def trim(connection: Any, *, days: float) -> int:
    """Take away events older than `days`, a prefix of each feed, until a small batch went; gives
    how many. Each feed that lost some is locked until the transaction ends, so that must be soon.

    A prefix, because rows carry the time of their writing and a cut by age alone could leave a
    hole.
    """
    gone = 0
    age = timedelta(days=days)
    for row in await sql.feeds.oldest_due(connection, age=age, batch=TRIM_BATCH):
        gone += await sql.feeds.trim(connection, channel=row["channel"], upto=row["upto"])
        if gone >= TRIM_BATCH:
            break
    return gone
