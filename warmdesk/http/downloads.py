"""Answers that are files: whole or a part (RFC 9110, 14). Browsers save them, unless they are
pictures or plain PDF, and none is shown as something that could act as coming from here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from warmdesk.errors import NotFound, WarmDeskError, field_error
from warmdesk.files import Files
from warmdesk.http.encodings import tags_seen
from warmdesk.media import INLINE, OTHER, PICTURES, TEXT
from warmdesk.pictures import TYPE, NoPicture, Pictures

SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""Whatever it is, it runs no script, loads nothing, and belongs to no origin."""
RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.IGNORECASE)
ATTRIBUTE = "!#$&+-.^_`|~"
"""Characters beside letters and digits that stand in RFC 8187's values as they are."""

log = logging.getLogger(__name__)


class Range(NamedTuple):
    """Bytes from `start` to before `end`; `is_part` when they were asked for."""

    start: int
    end: int
    is_part: bool


class Download(web.StreamResponse):
    """An answer whose body comes from the store while it is sent: no more of it is in memory than
    what the client did not take of one piece.
    """

    def __init__(self, pieces: AsyncIterator[bytes] | None, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.content_length = size
        self._pieces = pieces

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        if self._pieces is not None:
            pieces, self._pieces = self._pieces, None
            try:
                async for piece in pieces:
                    await self.write(piece)
            except WarmDeskError as error:
                # Its head is sent: only the connection's end says that the rest is missing.
                raise ConnectionResetError("the file could not be read to its end") from error
        await self.write_eof()
        return writer


async def answer_file(request: web.Request, files: Files, found: Any) -> web.StreamResponse:
    """The answer of a file: `found` is its row. 304 to who has it, 206 to who asks for a part, 416
    for one behind its end.
    """
    tag, size = f'"{found["sha256"]}"', found["size_bytes"]
    seen = tags_seen(request)
    if tag in seen or "*" in seen:
        return web.Response(status=304, headers={"ETag": tag})
    asked = range_of(request.headers, size, tag)
    kind = found["mime_type"]
    sent = {
        "Content-Type": f"{TEXT}; charset=utf-8" if kind == TEXT else kind or OTHER,
        "Content-Disposition": disposition(found["filename"], inline=kind in INLINE),
        "Content-Security-Policy": SANDBOX,
        "Accept-Ranges": "bytes",
        "ETag": tag,
    }
    if asked.is_part:
        sent["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{size}"
    pieces = None
    if request.method != "HEAD":
        try:
            pieces = await files.read(found["stored_name"], asked.start, asked.end)
        except FileNotFoundError as error:
            raise _missing(found) from error
    status = 206 if asked.is_part else 200
    return Download(pieces, asked.end - asked.start, status=status, headers=sent)


async def answer_preview(
    request: web.Request, pictures: Pictures, found: Any
) -> web.StreamResponse:
    """The answer of a smaller picture of a file: `found` is its row. 400 for what is no picture."""
    tag = f'"{found["sha256"]}-small"'
    sent = {"ETag": tag}
    seen = tags_seen(request)
    if tag in seen or "*" in seen:
        return web.Response(status=304, headers=sent)
    try:
        if found["mime_type"] not in PICTURES:
            raise NoPicture
        small = await pictures.preview(found["stored_name"])
    except NoPicture as error:
        words = "only pictures come smaller, and none of very many pixels"
        raise field_error("size", "conflicting", words) from error
    except FileNotFoundError as error:
        raise _missing(found) from error
    sent |= {
        "Content-Type": TYPE,
        "Content-Disposition": disposition(f"{found['filename']}.webp", inline=True),
        "Content-Security-Policy": SANDBOX,
    }
    return web.Response(body=small, headers=sent)


def _missing(found: Any) -> NotFound:
    log.error("files.missing attachment=%d", found["id"])
    return NotFound("the file is gone")


def range_of(headers: Mapping[str, str], size: int, tag: str) -> Range:
    """The part that a request asks for; all of it when it asks for several, or wrongly, or with an
    ``If-Range`` that does not hold. 416 for a part behind the end.
    """
    whole = Range(0, size, is_part=False)
    if headers.get("If-Range", tag) != tag:
        return whole
    match = RANGE.fullmatch(headers.get("Range", "").strip())
    if match is None:
        return whole
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return whole
    if start >= size:
        raise WarmDeskError(
            f"it has {size} bytes", status=416, headers={"Content-Range": f"bytes */{size}"}
        )
    return Range(start, end, is_part=True)


def disposition(name: str, *, inline: bool) -> str:
    """Content-Disposition (RFC 6266): the name in ASCII for old clients, and as it is."""
    kind = "inline" if inline else "attachment"
    plain = re.sub(r'[^ -~]|["%\\]', "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=ATTRIBUTE)}"
