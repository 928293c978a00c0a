"""Reads that also say where in a feed their answer stands.

A page that is under way and an event that is told meanwhile can only be put in order if the page
says which events it shows already. So the head of the channel is read by the statement that reads
the page: of one snapshot, it is neither newer nor older than what the page shows.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from warmdesk.db.pool import Connections
from warmdesk.db.queries import sql


class Head(NamedTuple):
    """The last event that an answer shows, and the epoch of its feed."""

    seq: int
    epoch: str


class HeadReads:
    """Connections for reads under one channel: a query takes it where it would take them. `head`:
    the channel's when the first statement was answered; what later ones show may be younger, and a
    client that applies the events after the head is right all the same.
    """

    __slots__ = ("channel", "connections", "head")

    def __init__(self, connections: Connections, channel: str) -> None:
        self.connections, self.channel = connections, channel
        self.head: Head | None = None

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        asked = with_head(statement, len(values))
        row = await self.connections.fetchrow(asked, *values, self.channel)
        if row is not None and self.head is None:
            self.head = Head(row["head_seq"], row["head_epoch"])
        return row

    async def fetch(self, statement: str, *values: Any) -> Any:
        asked = with_head(statement, len(values))
        rows = await self.connections.fetch(asked, *values, self.channel)
        if rows and self.head is None:
            self.head = Head(rows[0]["head_seq"], rows[0]["head_epoch"])
        return rows


@cache
def with_head(statement: str, parameters: int) -> str:
    """The statement with a head beside its rows; the channel is its last parameter."""
    around = sql.feeds.with_head.statement.replace("$1", f"${parameters + 1}")
    return around.replace("values ('read')", statement)
