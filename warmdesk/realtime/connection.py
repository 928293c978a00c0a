"""One open socket after its handshake: RFC 6455 in, frames out. `handshake` is how one begins.

No connection has a task or a timer. The hub's sweeper calls `Connection.tick` about once a second
and `ping` every 30 s, and decides about slow readers from `paused_since` and `stalled_since`. All
times are `time.monotonic()` seconds.

Longer than other modules: in and out are one state, since what is written decides what may be read,
and a Close ends both.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import ClassVar, Literal, Protocol, cast

from warmdesk.realtime import socket_buffers
from warmdesk.realtime.flood import EVERY, Bucket, too_many
from warmdesk.realtime.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL_LIMIT,
    MESSAGE_LIMIT,
    PING,
    PONG,
    TEXT,
    Close,
    close_frame,
    frame,
)
from warmdesk.realtime.socket_buffers import acknowledged, drop_unsent, in_kernel, progress

log = logging.getLogger(__name__)

BUFFER_LIMIT = 1 << 20
"""Bytes waiting to be written that make a socket a slow reader, until all of them are gone."""

CLOSE_SECONDS = 2.0
"""How long a peer has to answer our Close, and then to take what is still to be written."""

STRIKES, STRIKES_SECONDS = 3, 60.0
"""So many messages that make no sense within so many seconds end the socket."""

NO_STATUS, LOST = 1005, 1006
"""The code when the peer's Close had none, and when there was no Close (RFC 6455, 7.4.1)."""

PING_FRAME = frame(b"", PING)
EMPTY_PONG = bytes((0x80 | PONG, 0x80))
"""How the masked answer to it begins; four bytes of mask follow."""

written = [0]
"""Bytes that `Connection.write` was given so far, by all sockets of this process."""

Kind = Literal["text", "control"]
Where = Literal["project", "user", "project_stream", "user_stream"]


class ConnectionObserver(Protocol):
    """What a connection tells its room."""

    def paused(self, connection: Connection) -> None:
        """More than `BUFFER_LIMIT` waits to be written: write nothing more until it is resumed."""

    def resumed(self, connection: Connection) -> None:
        """Everything is written: bring what it missed. May pause it again at once."""

    def closes(self, connection: Connection) -> None:
        """It begins to close, and is to be visited until it is gone."""


class Connection(asyncio.Protocol):
    """One socket. The handler sets its user (`user_id` … `kind`), the hub its `room` and `seen`.

    received   called with each whole text message: UTF-8, at most `MESSAGE_LIMIT` bytes, not yet
               known to be JSON
    refused    called instead for what is beyond the flood limit: ``"text"`` (answer it with
               ``rate_limited``) or ``"control"`` (a ping or pong: nothing to answer)
    closed     called once, when the socket is gone, with the code: ours, else the peer's, 1005
               without one, 1006 without a Close
    limits     False switches the flood limit off

    Write only through `write` and `send_text`: they promise that nothing follows a Close frame.
    """

    __slots__ = (
        "_closed",
        "_controls",
        "_deadline",
        "_deaf",
        "_level",
        "_limits",
        "_message",
        "_pending",
        "_received",
        "_refused",
        "_strikes",
        "_taken",
        "_texts",
        "_written",
        "address",
        "alive",
        "closing",
        "due",
        "expires_at",
        "id",
        "key_id",
        "kind",
        "last_heard",
        "last_ping",
        "opened_at",
        "paused_since",
        "presence_seen",
        "room",
        "seen",
        "session_id",
        "stalled_since",
        "transport",
        "user_id",
        "wants_changed",
        "warned",
    )

    quiet_seconds: ClassVar[float] = math.inf
    """How long nothing may be written, where that is shorter than the time between two pings."""

    def __init__(
        self,
        *,
        received: Callable[[Connection, bytes], None],
        refused: Callable[[Connection, Kind, bytes], None],
        closed: Callable[[Connection, int], None],
        limits: bool = True,
    ) -> None:
        self._received, self._refused, self._closed, self._limits = (
            received,
            refused,
            closed,
            limits,
        )
        self.transport: asyncio.Transport | None = None
        self.id = secrets.token_urlsafe(9)
        self.user_id = 0
        self.session_id: str | None = None
        self.key_id: int | None = None
        self.address = ""  # of a key's client: from where it may be used
        self.expires_at: float | None = None
        self.kind: Where = "project"
        self.room: ConnectionObserver | None = None
        self.seen = 0
        self.presence_seen = 0
        self.wants_changed = False
        self.alive = True  # something was heard since the last ping
        self.opened_at = self.last_heard = self.last_ping = monotonic()
        self.due = 0.0  # when the sweeper should look again
        self.warned = False  # it knows that its token runs out
        self.closing = 0  # 0, or the code that the socket closes with
        self.paused_since = self.stalled_since = (
            0.0  # 0, or since when it is a slow reader / took nothing
        )
        self._deadline = 0.0
        self._deaf = False  # the peer broke the protocol: what it says from now on means nothing
        self._level = 0  # how far the buffer, or the count of taken bytes, was at the last tick
        self._written: int | None = None  # bytes written since the adoption; counted over TLS only
        self._taken = 0  # as many of them were acknowledged, when it was asked last
        self._pending: bytearray | None = None  # the beginning of a frame
        self._message: bytearray | None = None  # the fragments so far
        self._controls = Bucket()
        self._texts: Bucket | None = None  # most sockets only listen
        self._strikes: deque[float] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.id} user={self.user_id} closing={self.closing}>"

    # Out.

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process to be written.

        Over TLS a write leaves the buffer that can be asked and waits, encrypted, in a transport
        below that cannot. So what was written is compared with what the kernel has of it, or has
        seen acknowledged; it is asked only when it was given half its buffer since the last time.
        Nor are those bytes shared with other sockets, and OpenSSL's buffer grows by thirds.
        """
        transport = self.transport
        if transport is None:
            return 0
        size = transport.get_write_buffer_size()
        written = self._written
        if written is not None and written - self._taken > socket_buffers.SEND_BUFFER // 2:
            taken = acknowledged(transport)
            if taken is None:
                return size
            # Encryption adds some bytes: a peer that took more than was written has taken all.
            self._taken = taken
            self._written = written = max(written, taken)
            size = max(size, written - taken - in_kernel(transport))
            size += size // 3
        return size

    def write(self, frames: bytes) -> None:
        """Write frames that are made already. Dropped when the socket closes or is gone."""
        transport = self.transport
        if not self.closing and transport is not None and not transport.is_closing():
            if self._written is not None:
                self._written += len(frames)
            written[0] += len(frames)
            try:
                transport.write(frames)
            except Exception:  # the connections after it in its room must get theirs
                log.exception("socket.failed connection=%s user_id=%d", self.id, self.user_id)
                self.abort()

    def send_text(self, text: bytes) -> None:
        """Write one text message."""
        self.write(frame(text))

    def ping(self) -> None:
        """Ask whether it is there; `alive` and `last_heard` tell. A slow reader is not asked."""
        self.alive = False
        if not self.paused_since:
            self.write(PING_FRAME)

    def close(self, code: int, reason: str = "") -> None:
        """Send a Close frame after all that waits; the peer's answer or `tick` ends the socket."""
        if not self.closing:
            self.write(close_frame(code, reason))
            self._begin_to_close(code)

    def abort(self) -> None:
        """End the socket now; what waits to be written is lost, in the kernel, too."""
        self.closing = self.closing or LOST
        transport = self.transport
        if transport is None:
            return
        if self.buffered:
            drop_unsent(transport)
        transport.abort()

    def tick(self, now: float) -> None:
        """The sweeper's visit: end what had its time to close, measure a slow reader's progress."""
        transport = self.transport
        if transport is None:
            return
        if self.closing:
            if now < self._deadline:
                return
            if transport.is_closing() or transport.get_write_buffer_size():
                self.abort()
            else:
                # TLS says goodbye, too, and waits for the answer.
                self._deadline = now + CLOSE_SECONDS
                transport.close()
        elif self.paused_since:
            level = progress(transport)
            if level < self._level:
                self.stalled_since = now
            self._level = level

    def strike(self, now: float) -> bool:
        """Note a message that made no sense; True when it was one too many: close the socket."""
        if self._strikes is None:
            self._strikes = deque(maxlen=STRIKES)
        return too_many(self._strikes, now, STRIKES_SECONDS)

    def _begin_to_close(self, code: int) -> None:
        self.closing = code
        self._deadline = monotonic() + CLOSE_SECONDS
        self.due = 0.0
        if self.room is not None:
            self.room.closes(self)
        self._message = None
        if self.paused_since and self.transport is not None:
            self.transport.resume_reading()  # to see the peer's Close

    def _fail(self, code: Close, reason: str) -> None:
        """Close because of what the peer sent.

        What it says from now on is read and thrown away: a socket closed over unread bytes is
        reset, and the reset can overtake our Close frame.
        """
        self.close(code, reason)
        self._deaf, self._pending = True, None
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    # In.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_LIMIT, low=0)
        if transport.get_extra_info("sslcontext") is not None:
            self._written = self._taken = acknowledged(self.transport) or 0

    def read_early(self, data: bytes) -> None:
        """Read what came with the handshake: in the loop's next turn, before what is to arrive."""
        self._pending = bytearray(data)
        asyncio.get_running_loop().call_soon(self.data_received, b"")

    def data_received(self, data: bytes) -> None:
        self.alive = True
        self.last_heard = now = monotonic()
        # What an idle socket says. In the middle of a frame, or often, it goes the long way.
        if (
            len(data) == 6
            and data.startswith(EMPTY_PONG)
            and self._pending is None
            and self._controls.full_at <= now
        ):
            self._controls.full_at = now + EVERY
            return
        try:
            self._read(data)
        except Exception:
            log.exception("socket.failed connection=%s user_id=%d", self.id, self.user_id)
            self._fail(Close.SERVER_ERROR, "the server failed")

    def eof_received(self) -> None:
        # The transport closes itself now, but a peer that takes nothing must not keep it for ever.
        if not self.closing:
            self._begin_to_close(LOST)

    def _read(self, data: bytes | bytearray) -> None:
        """Read all whole frames; keep the beginning of the next one."""
        if self._deaf:
            return
        if self._pending is not None:
            self._pending += data
            data = self._pending
        at, end = 0, len(data)
        # A peer that does not take its answers may not ask more.
        while end - at >= 2 and not (self.paused_since and not self.closing):
            first, size = data[at], data[at + 1]
            opcode = first & 0x0F
            if wrong := self._objection(first, size):
                return self._fail(*wrong)
            size &= 0x7F
            body = at + 6
            if size == 126:
                body = at + 8
                if end < body:
                    break
                size = data[at + 2] << 8 | data[at + 3]
                if size < 126:
                    return self._fail(Close.PROTOCOL_ERROR, "a length has its shortest form")
            elif size == 127:
                body = at + 14
                if end < body:
                    break
                size = int.from_bytes(data[at + 2 : at + 10], "big")
                if size < 65_536 or size >> 63:
                    return self._fail(Close.PROTOCOL_ERROR, "a length has its shortest form")
            if opcode < CLOSE:
                whole = size + len(self._message) if self._message else size
                if whole > MESSAGE_LIMIT:
                    return self._fail(Close.TOO_BIG, f"a message has at most {MESSAGE_LIMIT} bytes")
            if end < body + size:
                break
            at = body + size
            self._take(first, _unmask(data[body:at], data[body - 4 : body]))
            if self._deaf or self.transport is None or self.transport.is_closing():
                self._pending = None
                return None
        if at == end:
            self._pending = None
        elif data is self._pending:
            del self._pending[:at]
        else:
            self._pending = bytearray(data[at:])
        return None

    def _objection(self, first: int, second: int) -> tuple[Close, str] | None:
        """What is wrong with a frame's first two bytes, however long the frame will be."""
        opcode = first & 0x0F
        if first & 0x70:
            return Close.PROTOCOL_ERROR, "no extension was agreed on"
        if not second & 0x80:
            return Close.PROTOCOL_ERROR, "a client masks its frames"
        if opcode >= CLOSE:
            if opcode > PONG:
                return Close.PROTOCOL_ERROR, "an unknown kind of frame"
            if not first & 0x80 or second & 0x7F > CONTROL_LIMIT:
                return Close.PROTOCOL_ERROR, "a control frame is short and whole"
        elif opcode == TEXT:
            if self._message is not None:
                return Close.PROTOCOL_ERROR, "the message before is not finished"
        elif opcode == CONTINUATION:
            if self._message is None:
                return Close.PROTOCOL_ERROR, "there is no message to continue"
        elif opcode == BINARY:
            return Close.BINARY_FRAME, "only text is understood"
        else:
            return Close.PROTOCOL_ERROR, "an unknown kind of frame"
        return None

    def _take(self, first: int, payload: bytes) -> None:
        """One frame whose form is right."""
        opcode = first & 0x0F
        if opcode == CLOSE:
            self._take_close(payload)
        elif self.closing:
            pass  # we have said goodbye: only the answer to it still counts
        elif opcode >= PING:
            if self._allowed("control") and opcode == PING:
                self.write(frame(payload, PONG))
        elif first & 0x80:
            if self._message is not None:
                self._message += payload
                payload, self._message = bytes(self._message), None
            self._take_text(payload)
        elif self._message is None:
            self._message = bytearray(payload)
        elif payload or self._allowed("control"):  # empty fragments could go on for ever
            self._message += payload

    def _take_text(self, payload: bytes) -> None:
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                return self._fail(Close.NOT_UTF8, "a text is UTF-8")
        if self._allowed("text", payload):
            self._received(self, payload)
        return None

    def _take_close(self, body: bytes) -> None:
        """The peer's Close: an answer to ours, or the first one, answered with the same code."""
        code = NO_STATUS
        if body:  # one byte alone is no code either: it is less than 1000
            code = int.from_bytes(body[:2], "big")
            if not (1000 <= code <= 1003 or 1007 <= code <= 1011 or 3000 <= code <= 4999):
                return self._fail(Close.PROTOCOL_ERROR, "a close code that may not be sent")
            try:
                body[2:].decode()
            except UnicodeDecodeError:
                return self._fail(Close.NOT_UTF8, "a close reason is UTF-8")
        if not self.closing:
            self.write(frame(body[:2], CLOSE))
            self._begin_to_close(code)
        if self.transport is not None:
            self.transport.close()
        return None

    def _allowed(self, kind: Kind, text: bytes = b"") -> bool:
        """Whether the bucket has room for one more; if not, call `refused`, or end the flood."""
        if not self._limits:
            return True
        now = self.last_heard
        if kind == "control":
            bucket = self._controls
        elif self._texts is None:
            bucket = self._texts = Bucket()
        else:
            bucket = self._texts
        if bucket.take(now):
            return True
        if bucket.refuse(now):
            self._fail(Close.FLOODING, "too many messages")
        else:
            self._refused(self, kind, text)
        return False

    # What the transport says.

    def pause_writing(self) -> None:
        transport = self.transport
        if self.closing or transport is None:
            return
        self.paused_since = self.stalled_since = monotonic()
        self._level = progress(transport)
        transport.pause_reading()
        self._tell_room(paused=True)

    def resume_writing(self) -> None:
        if not self.paused_since:
            return
        self.paused_since = self.stalled_since = 0.0
        if self.closing or self.transport is None:
            return
        self.last_heard, self.alive = monotonic(), True  # it took a megabyte: it is there
        self._tell_room(paused=False)
        if not self.paused_since and self.transport is not None:
            self.transport.resume_reading()
            if self._pending is not None:
                self.data_received(b"")

    def _tell_room(self, *, paused: bool) -> None:
        try:
            if self.room is not None:
                (self.room.paused if paused else self.room.resumed)(self)
        except Exception:
            log.exception("socket.failed connection=%s user_id=%d", self.id, self.user_id)
            self.close(Close.SERVER_ERROR, "the server failed")

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = self._pending = self._message = None
        self.paused_since = self.stalled_since = 0.0
        self.closing = self.closing or LOST
        try:
            self._closed(self, self.closing)
        except Exception:
            log.exception("socket.failed connection=%s user_id=%d", self.id, self.user_id)


def _unmask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """The payload xor its mask, as one big integer: no loop in Python."""
    size = len(payload)
    if not size:
        return b""
    key = (mask * ((size + 3) // 4))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(size, "little")
