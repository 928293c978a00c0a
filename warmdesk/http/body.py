"""JSON bodies: read in time and within their size, decoded as their type, refused with the name of
the field.
"""

from __future__ import annotations

import asyncio
import json
import re
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import accumulate, count
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from warmdesk.errors import (
    LONGEST_NAME,
    BadRequest,
    TooLarge,
    WarmDeskError,
    cut,
    field_error,
    fields_error,
)
from warmdesk.http.bounds import NOBODY, Crowded
from warmdesk.http.middleware import RESPONSES
from warmdesk.http.request import ACTOR, DESK
from warmdesk.http.route import Accepts
from warmdesk.realtime.handshake import ClientGone
from warmdesk.validation import Form

BODY_LIMIT = 1 << 20
"""Bytes of a JSON body; a public route takes those of the setting ``public_body_bytes``."""
NAMED_LIMIT = 16 << 10
"""Bytes of a body in which the field of a bad text is looked for: a larger one is decoded once more
for that, in the loop's time."""
NESTING_LIMIT = 64
"""Objects and arrays inside each other; far below what would exhaust the decoder's stack."""
IDLE_SECONDS = 10.0
"""A body that brings nothing for so long is not waited for: aiohttp itself would wait for ever."""
BODY_SECONDS = 60.0
"""A whole body may take so long, however evenly it trickles."""
SLOWEST_BYTES = 64 << 10
"""Bytes a second that a streamed body must bring to be whole in time."""
NOT_JSON = "the body is not valid JSON"
PARTS = 100
"""Parts of a form."""
PIECE = 64 << 10
"""Bytes of a part that are read at once."""
TOIL = 10_000
"""Brackets and quotes of a body that count as one change."""

T = TypeVar("T")


def check_head(request: web.Request, types: tuple[str, ...], limit: int) -> None:
    """Refuse a body by its head: by its content type (415; no types are JSON), or when it says that
    it is larger than `limit` (413).
    """
    if request.body_exists and not request.content.at_eof():
        if types:
            if request.content_type not in types:
                raise WarmDeskError(f"send {' or '.join(types)}", status=415)
            _check_encoding(request)
        else:
            _check_type(request)
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")


async def read_body(
    request: web.Request, *, limit: int = BODY_LIMIT, types: tuple[str, ...] = ()
) -> bytes:
    """The body's bytes: JSON or of these types (415), at most `limit` (413), in time (408), and
    while there is room for bodies that are on their way (503).
    """
    check_head(request, types, limit)
    content = request.content
    if content.is_eof() and limit <= BODY_LIMIT:
        # Small bodies have come with their head.
        raw = content.read_nowait()
        if len(raw) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return raw
    parts: list[bytes] = []
    lost = False
    bodies = request.app[RESPONSES].bounds.bodies
    actor = request.get(ACTOR)
    try:
        async with asyncio.timeout(BODY_SECONDS) as late:
            body = bodies.begins(late, NOBODY if actor is None else actor.user_id)
            try:
                while not content.at_eof():
                    async with asyncio.timeout(IDLE_SECONDS):
                        part = await content.readany()
                    parts.append(part)
                    bodies.grows(body, len(part))
                    if body.size > limit:
                        raise TooLarge(f"the body is larger than {limit} bytes")
            finally:
                bodies.ends(body)
    except TimeoutError as error:
        # aiohttp would go on waiting for the rest after the answer.
        content.feed_eof()
        if body.cut:
            raise Crowded() from None
        raise WarmDeskError("the body did not come in time", status=408) from error
    except ConnectionError as error:
        # The content keeps its error, and so this frame, for good: not with all that came.
        parts.clear()
        error.__traceback__ = None
        lost = True
    if lost:
        # It is not a server behind us that went away.
        raise ClientGone
    return b"".join(parts)


def _check_type(request: web.Request) -> None:
    kind = request.headers.get("Content-Type", "application/json")
    if kind != "application/json":
        charset = request.charset
        of_json = request.content_type == "application/json" or (
            request.content_type.startswith("application/")
            and request.content_type.endswith("+json")
        )
        if not of_json or (charset is not None and charset.lower() not in ("utf-8", "utf8")):
            raise WarmDeskError("send JSON, with Content-Type: application/json", status=415)
    _check_encoding(request)


def _check_encoding(request: web.Request) -> None:
    # Inflating is where a small body becomes a large one.
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WarmDeskError("send the body without Content-Encoding", status=415)


class Stream:
    """A streamed body while it is read: at most so large (413), each piece in time (408), and all
    of it in the time that the largest body takes at `SLOWEST_BYTES` a second.

    Only the waiting for the client is timed: what the handler does between two pieces is its own.
    """

    def __init__(self, request: web.Request, accepts: Accepts) -> None:
        self.request, self.limit = request, accepts.most(request.app[DESK].settings)
        self._end = _now() + max(BODY_SECONDS, self.limit / SLOWEST_BYTES)

    async def get(self, reading: Awaitable[T]) -> T:
        """The result of a read. Raises for a body that is too slow, too large, or lost."""
        try:
            async with asyncio.timeout_at(min(_now() + IDLE_SECONDS, self._end)):
                found = await reading
        except TimeoutError as error:
            # aiohttp would go on waiting for the rest after the answer.
            self.request.content.feed_eof()
            raise WarmDeskError("the body did not come in time", status=408) from error
        except ConnectionError as error:
            raise ClientGone from error
        if self.request.content.total_bytes > self.limit:
            raise TooLarge(f"the body is larger than {self.limit} bytes")
        return found


def _now() -> float:
    return asyncio.get_running_loop().time()


async def chunks(request: web.Request, accepts: Accepts) -> AsyncIterator[bytes]:
    """A streamed body, piece by piece as it comes: see `Stream`."""
    stream, content = Stream(request, accepts), request.content
    while not content.at_eof():
        if piece := await stream.get(content.readany()):
            yield piece


class Part(NamedTuple):
    """A part of a form. Its `pieces` are read before the next part is."""

    name: str
    filename: str | None
    content_type: str
    pieces: AsyncIterator[bytes]


async def parts(request: web.Request, accepts: Accepts) -> AsyncIterator[Part]:
    """The parts of a streamed ``multipart/form-data`` (RFC 7578), one after the other, at most
    `PARTS` of them (400): see `Stream`. A malformed form is 400.
    """
    stream = Stream(request, accepts)
    try:
        reader = await request.multipart()
        for number in count(1):
            part = await stream.get(reader.next())
            if part is None:
                return
            if number > PARTS:
                raise BadRequest(f"a form has at most {PARTS} parts")
            if not isinstance(part, BodyPartReader) or not part.name:
                raise BadRequest("the body is a form of named parts")
            kind = part.headers.get("Content-Type", "text/plain")
            yield Part(part.name, part.filename, kind, _pieces(stream, part))
            while await stream.get(part.read_chunk(PIECE)):
                pass  # what the handler left of it
    except (ValueError, AssertionError, BadHttpMessage) as error:
        raise BadRequest("the body is no valid multipart/form-data") from error


async def _pieces(stream: Stream, part: BodyPartReader) -> AsyncIterator[bytes]:
    while piece := await stream.get(part.read_chunk(PIECE)):
        yield piece


def body_reader(kind: Any) -> Callable[[bytes], Any]:
    """A reader of bodies as a type, which raises 400 with the names of all wrong fields. Nothing is
    an empty object.
    """
    decode = json_reader(kind, "body")

    def read(raw: bytes) -> Any:
        check_text(raw)
        return decode(raw)

    return read


def json_reader(kind: Any, noun: str) -> Callable[[bytes], Any]:
    """The same for JSON that `check_text` has seen already; `noun`: what it is, for people."""
    form, decode = Form(kind), msgspec.json.Decoder(kind).decode

    def read(raw: bytes) -> Any:
        raw = raw or b"{}"
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            try:
                faults = form.faults_in_json(raw, error)
            except NO_JSON as broken:  # behind the first wrong field
                raise _not_json(raw) from broken
            whole = faults.pop("", None)
            if whole is not None:
                among = "in " if whole.sentence.startswith("each ") else ""
                raise BadRequest(f"{among}the {noun} {whole.sentence}") from error
            raise fields_error(faults) from error
        except NO_JSON as error:
            raise _not_json(raw) from error

    return read


NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
BRACKETS = bytes(range(256)).translate(None, b"[]{}")
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def check_text(raw: bytes) -> None:
    """400 for NUL in text, which PostgreSQL cannot store, and for nesting deeper than 64.

    Linear in the body's length, and in C; the depth is only counted where there are brackets
    enough. Lone surrogates, NaN and numbers without end are refused by the decoder.
    """
    # From the left: two backslashes are an escaped one, whatever follows.
    if b"\\u0000" in raw and b"\\u0000" in raw.replace(rb"\\", b"--"):
        raise _naming_field(raw, "\0", "text must not hold NUL characters")
    if raw.count(b"[") + raw.count(b"{") > NESTING_LIMIT and depth(raw) > NESTING_LIMIT:
        raise BadRequest(f"the body is nested deeper than {NESTING_LIMIT}")


def toil(raw: bytes) -> int:
    """How many changes a body counts as beyond one, for what it takes to look for its depth: a
    mebibyte of brackets and quotes takes the loop a tenth of a second, good for anything or not.
    """
    brackets = raw.count(b"[") + raw.count(b"{")
    if len(raw) <= TOIL or brackets <= NESTING_LIMIT:
        return 0
    return (brackets + raw.count(b'"')) // TOIL


def depth(raw: bytes) -> int:
    """How deep JSON is nested. Brackets in strings do not count."""
    if b"\\" in raw:
        raw = raw.replace(rb"\\", b"--").replace(rb"\"", b"--")
    outside = b"".join(raw.split(b'"')[::2])
    steps = array("b", outside.translate(STEPS, BRACKETS))
    return max(accumulate(steps), default=0)


def _not_json(raw: bytes) -> WarmDeskError:
    """Why a body could not be read. The field of a lone surrogate is named."""
    if re.search(rb"\\u[dD][89a-fA-F]", raw):
        return _naming_field(raw, "\ud800-\udfff", "text must not hold lone surrogates")
    return BadRequest(NOT_JSON, code="not_json")


def _naming_field(raw: bytes, unwanted: str, reason: str) -> WarmDeskError:
    """The error for text that holds an unwanted character, with the name of its field if found."""
    if len(raw) > NAMED_LIMIT:
        return BadRequest(reason)
    holds = re.compile(f"[{unwanted}]").search
    try:
        for name, text in texts(json.loads(raw)):
            if holds(text):
                return field_error(name, "bad_format", reason) if name else BadRequest(reason)
    except (ValueError, RecursionError):
        return BadRequest(NOT_JSON, code="not_json")
    return BadRequest(reason)


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a decoded body and the path of its field, ``labels[2].name``, which is cut when
    it gets long.
    """
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield name, key
            yield from texts(inner, cut(f"{name}.{key}" if name else key, LONGEST_NAME))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, cut(f"{name}[{index}]", LONGEST_NAME))
