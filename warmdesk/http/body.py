"""JSON bodies: read in time and within their size, decoded as their type, refused with the name of
the field.
"""

from __future__ import annotations

import asyncio
import json
import re
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import msgspec
from aiohttp import web

from warmdesk.errors import LONGEST_NAME, BadRequest, TooLarge, WarmDeskError, cut, field_error
from warmdesk.http.bounds import NOBODY, Crowded
from warmdesk.http.middleware import DOORMAN
from warmdesk.http.request import ACTOR
from warmdesk.realtime.handshake import ClientGone

BODY_LIMIT = 1 << 20
"""Bytes of a JSON body; a public route takes those of the setting ``public_body_bytes``."""
NAMED_LIMIT = 16 << 10
"""Bytes of a body in which the field of a bad text is looked for: a larger one is decoded once more
for that, in the loop's time."""
LONGEST_REASON = 150
"""Characters of a sentence of msgspec's, which quotes values however long they are."""
NESTING_LIMIT = 64
"""Objects and arrays inside each other; far below what would exhaust the decoder's stack."""
IDLE_SECONDS = 10.0
"""A body that brings nothing for so long is not waited for: aiohttp itself would wait for ever."""
BODY_SECONDS = 60.0
"""A whole body may take so long, however evenly it trickles."""
TOIL = 10_000
"""Brackets and quotes of a body that count as one change."""


async def read_body(request: web.Request, *, limit: int = BODY_LIMIT) -> bytes:
    """The body's bytes: JSON by its content type (415), at most `limit` (413), in time (408), and
    while there is room for bodies that are on their way (503).
    """
    content = request.content
    if request.body_exists and not content.at_eof():
        _check_type(request)
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")
    if content.is_eof() and limit <= BODY_LIMIT:
        # Small bodies have come with their head.
        raw = content.read_nowait()
        if len(raw) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return raw
    parts: list[bytes] = []
    lost = False
    bodies = request.app[DOORMAN].bounds.bodies
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
    # Inflating is where a small body becomes a large one.
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WarmDeskError("send the body without Content-Encoding", status=415)


def decode_body(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    """The body as its type, or 400 with the field's name. No body is an empty object."""
    check_text(raw)
    try:
        return decode(raw or b"{}")
    except msgspec.ValidationError as error:
        raise as_bad_request(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(raw) from error


BRACKETS = bytes(range(256)).translate(None, b"[]{}")
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def check_text(raw: bytes) -> None:
    """400 for what PostgreSQL cannot keep or nobody means: NUL in text, nesting deeper than 64.

    Linear in the body's length, and in C; the depth is only counted where there are brackets
    enough. Lone surrogates, NaN and numbers without end are refused by the decoder.
    """
    # From the left: two backslashes are one that was meant, whatever follows.
    if b"\\u0000" in raw and b"\\u0000" in raw.replace(rb"\\", b"--"):
        raise _with_place(raw, "\0", "text must not hold NUL characters")
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
        return _with_place(raw, "\ud800-\udfff", "text must not hold lone surrogates")
    return BadRequest("the body is not valid JSON")


def _with_place(raw: bytes, unwanted: str, reason: str) -> WarmDeskError:
    """The error for text that holds an unwanted character, with the name of its field if found."""
    if len(raw) > NAMED_LIMIT:
        return BadRequest(reason)
    holds = re.compile(f"[{unwanted}]").search
    try:
        for name, text in texts(json.loads(raw)):
            if holds(text):
                return field_error(BadRequest, name, reason) if name else BadRequest(reason)
    except (ValueError, RecursionError):
        return BadRequest("the body is not valid JSON")
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
        for place, inner in enumerate(value):
            yield from texts(inner, cut(f"{name}[{place}]", LONGEST_NAME))


PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
FIELD = re.compile(r"field `(\w+)`")


def as_bad_request(error: msgspec.ValidationError) -> WarmDeskError:
    """msgspec's sentence, with the field's name as a machine key. It quotes keys and values,
    however long they are.
    """
    text = str(error)
    place = PLACE.search(text)
    missing = FIELD.search(text)
    reason = cut(PLACE.sub("", text), LONGEST_REASON)
    words = [found[1] for found in (place, missing) if found and found[1]]
    if not words:
        return BadRequest(reason)
    name = ".".join(words)
    if missing and "missing" in reason:
        reason = "required"
    return field_error(BadRequest, name, reason)
