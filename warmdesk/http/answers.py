"""Answers: JSON that PostgreSQL made goes out as it came."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from warmdesk.errors import WarmDeskError
from warmdesk.http.encodings import gzip_tag, takes_gzip
from warmdesk.packing import ENOUGH, packed
from warmdesk.realtime.change import Outcome

encode = msgspec.json.Encoder().encode
JSON = {"Content-Type": "application/json; charset=utf-8"}


STARTS = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}
LARGE = 1 << 16
"""Bytes of a body that is not copied to stand behind its head."""


class CommonHeaders:
    """Headers that every answer of an application has, and how they stand in a head."""

    __slots__ = ("headers", "lines", "text")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.lines = len(headers)
        self.text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())


NO_HEADERS = CommonHeaders({})


class WholeResponse(web.Response):
    """An answer whose body is whole and is not empty.

    Where nothing is unusual (HTTP/1.1, a connection that stays, a method that wants the body) its
    head is one text and goes out with the body in one write: half of the cost of aiohttp's own way,
    which looks at the meaning of each header. All else goes that way.

    `packs`: it goes out gzipped to who asks for that. It does not where it holds a secret: beside
    words that somebody else chose, its length would tell of it. `is_encoded`: its handler did all
    that can be done. `common`: headers beside its own, which are made text once for all answers.
    """

    packs = True
    is_encoded = False
    common = NO_HEADERS

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        web.StreamResponse.__init__(self, status=status, headers=headers)
        self._body: bytes = body

    @property
    def worth_packing(self) -> bool:
        return self.packs and len(self._body) >= ENOUGH

    def varies(self, *, cacheable: bool) -> bool:
        """Whether another client may get another encoding of it, or of what is here later."""
        return self.packs and (cacheable or self.worth_packing)

    async def pack(self, request: web.BaseRequest) -> None:
        """Encode it, if that is asked for and makes it shorter."""
        if self.is_encoded or not takes_gzip(request):
            return
        shorter = await packed(self._body)
        if shorter is not None and len(shorter) < len(self._body):
            self._body, headers = shorter, self.headers
            headers["Content-Encoding"] = "gzip"
            if "ETag" in headers:
                headers["ETag"] = gzip_tag(headers["ETag"])

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        head = self._head(request)
        if head is None:
            self.headers.update(self.common.headers)
            return await super().prepare(request)
        transport, body, writer = request.transport, self._body, request.writer
        assert transport is not None
        if len(body) < LARGE:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._eof_sent = self._keep_alive = True
        writer.output_size += len(head) + len(body)
        # While it waits to be taken, only the transport holds it, and drops it with the connection.
        self._body = body = b""
        await writer.drain()
        return None

    def _head(self, request: web.BaseRequest) -> bytes | None:
        """The head, unless aiohttp must decide something about it."""
        transport = request.transport
        if (
            self.prepared
            or transport is None
            or transport.is_closing()
            or request.version != HttpVersion11
            or request.method == "HEAD"
            or not request.keep_alive
            or self.keep_alive is False
            or self._cookies
        ):
            return None
        lines = [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        text = (
            f"{STARTS[self.status]}{self.common.text}{''.join(lines)}"
            f"Content-Length: {len(self._body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        )
        # No value may begin a line of its own: aiohttp refuses such a one.
        ends = len(lines) + self.common.lines + 4
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            return None
        return text.encode()


def answer(
    content: str | bytes | Any,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    is_encoded: bool = False,
) -> web.Response:
    """A JSON answer. Text and bytes are JSON already, or with `is_encoded` what the headers say;
    anything else is made JSON.
    """
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = encode(content)
    sent = JSON if headers is None else {**JSON, **headers}
    response = WholeResponse(content, status, sent)
    response.is_encoded = is_encoded
    return response


def answer_outcome(outcome: Outcome, *, headers: dict[str, str] | None = None) -> web.Response:
    """The answer of a change; with ``Idempotent-Replay: true`` when its key was answered before."""
    if outcome.status == 204:
        return no_content()
    response = answer(outcome.text, status=outcome.status, headers=headers)
    if outcome.replay:
        response.headers["Idempotent-Replay"] = "true"
    return response


def json_text(**fields: Any) -> str:
    """A small JSON object, as an event's payload; `msgspec.Raw` for what is JSON already."""
    return encode(fields).decode()


def no_content() -> web.Response:
    """204: done, nothing to say."""
    return web.Response(status=204)


def problem(error: WarmDeskError, request_id: str | None = None) -> web.Response:
    """The one error shape: ``{"error": …}`` and machine keys beside it."""
    content: dict[str, Any] = {"error": error.message, **error.extra}
    if request_id is not None:
        content["request_id"] = request_id
    response = answer(content, status=error.status, headers=error.headers)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408 or error.closes:
        # What is still to come of the body would be taken for the next request.
        response.force_close()
    return response
