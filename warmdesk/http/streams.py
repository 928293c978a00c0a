"""Server-sent events: an open answer that is told what a socket is told, as ``text/event-stream``.

A stream is a `Connection` like a socket: the same room, the same catching up, the same bounds of
what waits to be written, the same ends. Only the bytes differ, and they are made of the frames of
sockets: once for all streams that get the same frames.
"""

from __future__ import annotations

import asyncio
import random
import re
from functools import lru_cache
from time import monotonic
from typing import ClassVar

import orjson

from warmdesk.auth.actor import Actor, EnteredProject
from warmdesk.http.bounds import Entrance
from warmdesk.metrics import WS_CLOSED
from warmdesk.realtime.connection import Connection, Kind
from warmdesk.realtime.events import CLOSE, HELLO, SYNC_RESET
from warmdesk.realtime.frames import Close, texts
from warmdesk.realtime.hub import Hub
from warmdesk.realtime.socket_buffers import acknowledged

COMMENT = b":\n\n"
COMMENT_SECONDS = 15.0
"""Proxies end what says nothing for half a minute or a minute."""
AGAIN_MS = 2000, 5000
"""A stream that ends without a word comes back after a time in between."""
SPREAD_MS = 100, 3000
"""The same for one that the server ends because it stops."""
MADE = 8
"""Texts that are remembered: rooms write the same frames to all, one after the other."""
COMES_BACK = frozenset({Close.GOING_AWAY, Close.RESTART, Close.OVERLOADED})

TYPE = re.compile(rb'\{"type":"([a-z_.]+)"')
BESIDE = re.compile(
    rb',"seq":([0-9]+),"ts":"[^"]*","actor_id":(?:[0-9]+|null)'
    rb'(?:,"actor":\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?(?:,"client_id":"[^"]*")?\}'
)
"""What ends an event's envelope, and no signal's: see `envelope` in sql/shapes/feeds.sql."""


@lru_cache(maxsize=MADE)
def as_stream(frames: bytes, epoch: str) -> bytes:
    """Frames of sockets as a stream has them. What has a place in the feed has an ``id``, so that
    a client that comes back says where it was.
    """
    return b"".join(_event(text, epoch) for text in texts(frames))


def _event(text: bytes, epoch: str) -> bytes:
    """One event or signal; its data is the envelope."""
    found = TYPE.match(text)
    kind = found[1] if found else b"message"
    place = BESIDE.fullmatch(text, max(0, text.rfind(b',"seq":')))
    name = b""
    if place:
        name = b"id: %s.%s\n" % (epoch.encode(), place[1])
    elif kind == SYNC_RESET.name.encode():
        told = orjson.loads(text)["payload"]
        name = f"id: {told['epoch']}.{told['seq']}\n".encode()
    # In JSON a line's end is white space, and here it would be the data's end.
    data = text.replace(b"\r", b" ").replace(b"\n", b"\ndata: ")
    return b"%sevent: %s\ndata: %s\n\n" % (name, kind, data)


def beginning(first: bytes, epoch: str, since: int) -> bytes:
    """The first of a stream: `first` are frames, its `hello` has as ``id`` what is seen already."""
    again = b"retry: %d\n" % random.randint(*AGAIN_MS)
    hello = b"event: " + HELLO.name.encode() + b"\n"
    place = f"id: {epoch}.{since}\n".encode()
    return again + as_stream(first, epoch).replace(hello, place + hello, 1)


def place_of(last_event_id: str) -> tuple[int, str | None]:
    """The seq and epoch that a ``Last-Event-ID`` says. What is none of ours says an epoch that is
    none either, so that it cannot be carried on from.
    """
    epoch, dot, seq = last_event_id.rpartition(".")
    if not re.fullmatch("[0-9]{1,15}", seq):
        return 0, last_event_id
    return int(seq), epoch if dot else None


def ended(connection: Connection, code: int) -> None:
    assert isinstance(connection, EventStream)
    WS_CLOSED.inc(code=str(code))
    connection.hub.gone(connection)


def says_nothing(connection: Connection, what: bytes | Kind, text: bytes = b"") -> None:
    """Clients say nothing on a stream."""


class EventStream(Connection):
    """One open stream."""

    __slots__ = ("_acknowledged", "entrance", "hub")

    quiet_seconds: ClassVar[float] = COMMENT_SECONDS

    def __init__(
        self, hub: Hub, actor: Actor, project: EnteredProject | None, entrance: Entrance
    ) -> None:
        super().__init__(received=says_nothing, refused=says_nothing, closed=ended, limits=False)
        self.hub = hub
        self.entrance = entrance
        self.user_id = actor.user_id
        self.session_id = actor.session_id
        self.key_id = actor.key_id
        self.expires_at = actor.expires_at
        self.kind = "project_stream" if project is not None else "user_stream"
        self._acknowledged: int | None = 0
        self._deaf = True  # what a client sends after its request means nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.entrance.becomes_socket(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.entrance.leaves(self.transport)
        super().connection_lost(error)

    def write(self, frames: bytes) -> None:
        """Write frames of sockets, as events."""
        super().write(as_stream(frames, self.hub.epoch))

    def ping(self) -> None:
        """Write a comment, so that no proxy takes it for dead. Who acknowledged something since the
        last one is there: nobody answers a comment.
        """
        if self.transport is None:
            return
        taken = acknowledged(self.transport)
        if taken is None or taken != self._acknowledged:
            self.last_heard, self.alive = monotonic(), True
        self._acknowledged = taken
        if not self.paused_since:
            super().write(COMMENT)

    def close(self, code: int, reason: str = "") -> None:
        """Say why, and end it behind all that waits. A browser comes back by itself, and is refused
        where it has no right any more.
        """
        if self.closing:
            return
        told = orjson.dumps({"type": CLOSE.name, "payload": {"code": int(code), "reason": reason}})
        again = b"retry: %d\n" % random.randint(*SPREAD_MS) if code in COMES_BACK else b""
        super().write(again + _event(told, ""))
        self._begin_to_close(code)
        if self.transport is not None:
            self.transport.close()
