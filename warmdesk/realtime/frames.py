"""RFC 6455 frames: the bytes that go out, made once and written to thousands of sockets.

What comes in is read by `connection.Connection`. A server's frames are not masked, so one event's
frame is the same bytes for all its receivers.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from enum import IntEnum

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

MESSAGE_LIMIT = 65_536
"""Bytes of an incoming message, all its fragments together; longer texts go by REST."""

CONTROL_LIMIT = 125
"""Bytes of a control frame's payload (RFC 6455, 5.5); a close reason has two fewer."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Close(IntEnum):
    """Why a socket was closed: each code and its sentence in the documents."""

    sentence: str

    def __new__(cls, code: int, sentence: str) -> Close:
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    NORMAL = 1000, "Normal: the client closed, or has nothing more to expect."
    GOING_AWAY = 1001, "The server is shutting down: reconnect."
    PROTOCOL_ERROR = 1002, "The client broke the WebSocket protocol."
    BINARY_FRAME = 1003, "A binary frame came; only text is understood."
    NOT_UTF8 = 1007, "A text was not UTF-8."
    TOO_BIG = 1009, "A message was longer than 65,536 bytes."
    SERVER_ERROR = 1011, "The server failed; the log knows why."
    RESTART = 1012, "The server restarts, or its data was restored: reconnect."
    OVERLOADED = 1013, "The server is overloaded: retry later."
    BAD_MESSAGES = 4400, "Three messages within 60 s were no JSON object with a text `type`."
    SIGNED_OUT = 4401, "The token expired or was revoked, or the session was ended."
    NO_ACCESS = (
        4403,
        "Access to the project was removed, the account deactivated, or API keys may not be used"
        " from this address any more.",
    )
    PROJECT_GONE = 4404, "The project no longer exists."
    HEARTBEAT = 4408, "Nothing was heard for 60 s."
    REPLACED = 4409, "The user opened more than 20 sockets here: the oldest goes."
    FLOODING = 4429, "Too many messages: 30 over the limit within 10 s."
    SLOW_READER = 4431, "Frames were not read fast enough: come back with `since`."


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, final frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def texts(frames: bytes) -> Iterator[bytes]:
    """The payloads of text frames that `frame` made, one after the other."""
    at = 0
    while at < len(frames):
        opcode, size = frames[at] & 0x0F, frames[at + 1]
        at += 2
        if size >= 126:
            length = 2 if size == 126 else 8
            size = int.from_bytes(frames[at : at + length], "big")
            at += length
        if opcode == TEXT:
            yield frames[at : at + size]
        at += size


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame; a reason that is too long loses its end, never half a character."""
    words = reason.encode()[: CONTROL_LIMIT - 2].decode(errors="ignore").encode()
    return frame(struct.pack("!H", code) + words, CLOSE)


def accept_key(key: str) -> bytes:
    """What ``Sec-WebSocket-Accept`` answers to ``Sec-WebSocket-Key``."""
    # SHA-1 is what RFC 6455 asks for: it shows that a WebSocket server answered, it hides nothing.
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)
