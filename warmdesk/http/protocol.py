"""The HTTP connection: it waits for a request's head, and refuses malformed HTTP in our shape.

aiohttp would refuse in a shape of its own with a traceback in the log, and would wait for the rest
of a head as long as for the next request. Here the answer looks like every other, and a head has
ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from aiohttp import web, web_protocol, web_server
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from warmdesk.errors import WarmDeskError
from warmdesk.http.answers import problem
from warmdesk.http.bounds import NOBODY
from warmdesk.http.middleware import RefusedBefore, Responses, not_found, wrap_handler
from warmdesk.http.request import ACTOR
from warmdesk.http.router import UNMATCHED
from warmdesk.metrics.kinds import OTHER

HEAD_SECONDS = 10.0
"""How long a client has for the head of its request, and a new one for the first of all."""

HEAD_BYTES = 1 << 16
"""So much of a head may come in pieces: aiohttp would take a hundred lines of 8 KiB."""
PIPELINED = 8
"""Requests that are read before the one before them is answered."""

BEYOND = wrap_handler(not_found, OTHER, UNMATCHED)
"""The handler of requests without a path: ``CONNECT host:port``, ``GET http://host``."""

log = logging.getLogger(__name__)


class HeadTooLong(Exception):
    """More than `HEAD_BYTES` of a head came, and not its end."""


class HttpConnection(web.RequestHandler):
    """aiohttp's side of one connection. `refusal`: why its first request, a handshake that was read
    before it was aiohttp's, is refused. `responses`: of the application, given by the reader of
    handshakes. `person`: the user whose request is answered. `on_lost` is called when the client
    left.
    """

    __slots__ = (
        "_entered",
        "_head_size",
        "_late",
        "_slow",
        "on_lost",
        "person",
        "refusal",
        "responses",
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.responses: Responses | None = None
        self.refusal: RefusedBefore | None = None
        self.person = NOBODY
        self.on_lost: Callable[[], None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._slow: asyncio.Transport | None = None
        self._entered: asyncio.BaseTransport | None = transport
        # An answer is done when the kernel has all of it: nothing waits that is not known. Over TLS
        # an empty buffer would be as full as one may be, and the transport below keeps its 64 KiB.
        over_tls = transport.get_extra_info("sslcontext") is not None
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=over_tls, low=0)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_idle():
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES:
                self._refuse_head()
            if self._late is None:
                self._expect_head()
        else:
            self._head_size = 0
            if self._late is not None:
                self._late.cancel()
                self._late = None

    def _refuse_head(self) -> None:
        """Answer a head that has no end yet, the way aiohttp answers what it cannot read."""
        reason = HeadTooLong()
        self._messages.append((web_protocol._ErrInfo(400, reason, ""), EMPTY_PAYLOAD))
        self._request_count += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._close = True  # nothing more is read

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._is_done()
        if self.responses is not None:
            self.responses.bounds.entrance.leaves(self._entered)
        self._entered = None
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """The transport is given to another protocol, with its place at the entrance; unless that
        fails.
        """
        entered, self._entered = self._entered, None
        try:
            yield
        except BaseException:
            self._entered = entered
            raise

    def pause_writing(self) -> None:
        """The kernel did not take all of an answer: until it has, no further request is read."""
        super().pause_writing()
        self._slow = self.transport
        if self._slow is not None and self.responses is not None:
            self._pause_reading_for_buffer()
            self.responses.bounds.readers.waits(self._slow, self.person)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._is_done()
        if self._buffer_paused:
            self._resume_reading_if_drained()

    def _is_done(self) -> None:
        slow, self._slow = self._slow, None
        if slow is not None and self.responses is not None:
            self.responses.bounds.readers.is_done(slow)

    async def _drain_helper(self) -> None:
        """Until all is taken. aiohttp's own raises what the connection's end brought, and its frame
        knows the future that knows the error: what waited stood in that cycle until a collection.
        """
        if self.transport is None:
            raise ConnectionResetError("the client went away")
        if not self._paused:
            return
        waiter = self._drain_waiter
        if waiter is None:
            waiter = self._drain_waiter = self._loop.create_future()
        await asyncio.wait((waiter,))
        if waiter.exception() is not None:
            raise ConnectionResetError("the client went away")

    def expect_head_by(self, moment: float) -> None:
        """Its first head is waited for since before it was aiohttp's: until this time of the loop's
        clock.
        """
        if self._late is not None:
            self._late.cancel()
            self._late = self._loop.call_at(moment, self._give_up)

    def is_idle(self) -> bool:
        """No request is at work on this connection: what came is no whole head yet."""
        # Before its first turn, aiohttp's task has nothing that it waits with.
        return not self._request_count or (self._waiter is not None and not self._waiter.done())

    def hangs_for(self) -> int | None:
        """See `bounds.Caller`."""
        if self._slow is not None or not self._request_in_progress:
            return self.person  # the rest of its body is read and thrown away
        request = self._current_request
        if request is None or request.content.is_eof():
            return None
        actor = request.get(ACTOR)
        return NOBODY if actor is None else actor.user_id

    def _expect_head(self) -> None:
        self._late = self._loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self.is_idle():
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to malformed HTTP, or to an error outside every handler."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer had begun already")
        name = self.responses.begin(request) if self.responses is not None else ""
        if status >= 500:
            log.error("http.failed_outside", exc_info=exc)
            refusal = WarmDeskError()
        else:
            log.debug("http.malformed cause=%s", type(exc).__name__)
            reason = "it is not valid HTTP"
            if isinstance(exc, (LineTooLong, HeadTooLong)):
                line = "a line of " if isinstance(exc, LineTooLong) else ""
                reason = f"{line}its head is too long"
            refusal = WarmDeskError(f"the request was not understood: {reason}", status=status)
        response = problem(refusal, name if status >= 500 else None)
        if self.responses is not None:
            self.responses.finish_headers(request, response, name)
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer. One that is an exception is aiohttp's own: the target is no path, so it
        has no handler.
        """
        actor = request.get(ACTOR)
        self.person = NOBODY if actor is None else actor.user_id
        if isinstance(resp, web.HTTPException) and self.responses is not None:
            return self._finish_beyond(request, start_time)
        return super().finish_response(request, resp, start_time)

    async def _finish_beyond(
        self, request: web.BaseRequest, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        assert isinstance(request, web.Request)
        return await super().finish_response(request, await BEYOND(request), start_time)


def install() -> None:
    """Let aiohttp's servers of this process use `HttpConnection`: no public way chooses it."""
    servers: Any = web_server
    servers.RequestHandler = HttpConnection
    web_protocol.MAX_MSG_QUEUE_SIZE = PIPELINED
