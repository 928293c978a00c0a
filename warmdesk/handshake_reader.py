"""A connection's first bytes: an ordinary WebSocket handshake is read here, all else by aiohttp.

What aiohttp makes for a request (parser, request, task, timers) costs a handshake more than
everything that WarmDesk itself does for it, and is thrown away at once. So the first bytes of a
connection decide. Only a handshake that leaves no question is read here, by the letter: known
parameters, each header once, nothing but visible ASCII. aiohttp reads everything unusual as always;
and it answers a handshake that is refused here, so that all refusals look alike.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import cast

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from warmdesk.auth.addresses import client_address
from warmdesk.db.pool import BUDGET, Budget
from warmdesk.http import protocol
from warmdesk.http.middleware import NOBODY, RESPONSES, SECURITY, RefusedBefore, refused
from warmdesk.http.query import QUERY_LIMIT
from warmdesk.http.routing import BASE
from warmdesk.metrics import HTTP
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.handshake import ClientGone, is_key, take_over
from warmdesk.realtime.socket_buffers import cap
from warmdesk.rest.sockets import OpenSocket, open_socket
from warmdesk.tasks import Background

HEAD_LIMIT = 8190
"""Bytes of a head that is read here; aiohttp has limits of its own for longer ones."""
LAST_SECONDS = 0.25
"""Seconds that the connections accepted last have to send their head."""
EARLY_LIMIT = 1 << 16
"""Bytes that a client may send before its handshake is answered."""
START = f"GET {BASE}/ws/".encode()
HEAD = re.compile(
    rb"GET %b/ws/([a-z0-9-]{1,100})(?:\?([A-Za-z0-9_.=&-]{0,%d}))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\x20-\x7e]*\r\n){1,100})\r\n" % (BASE.encode(), QUERY_LIMIT)
)
END = b"\r\n\r\n"
ODD = re.compile(rb"[^\x20-\x7e\r\n]|(?<!\r)\n|\r[^\n]")
"""Bytes that make a head unusual before its end: aiohttp gets it at once."""
TO_PROJECT, TO_USER = f"{BASE}/ws/{{slug}}", f"{BASE}/ws/user"
KNOWN = frozenset({"since", "epoch", "presence", "projects", "token"})
"""Parameters that are understood here. A ticket is used up by looking at it, and is not."""
NOT_HERE = frozenset({"content-length", "transfer-encoding", "expect", "sec-websocket-key1"})

TOO_MANY = '{"error":"too many connections","code":"unavailable"}'
FULL = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in SECURITY.items())
    + "Cache-Control: no-store\r\nRetry-After: 10\r\nConnection: close\r\n"
    + f"Content-Length: {len(TOO_MANY)}\r\n\r\n{TOO_MANY}"
).encode()

log = logging.getLogger(__name__)


class ReadHandshake:
    """A `Handshake` that was read here. `transport` is None when it is answered, or when the client
    is gone.
    """

    __slots__ = ("capped", "early", "headers", "held", "options", "query", "slug", "transport")
    streams = False

    def __init__(
        self,
        slug: str | None,
        headers: CIMultiDict[str],
        query: Mapping[str, str],
        options: OpenSocket,
    ) -> None:
        self.slug, self.headers, self.query, self.options = slug, headers, query, options
        self.transport: asyncio.Transport | None = None
        self.early = b""
        self.held = self.capped = False

    @property
    def remote(self) -> str | None:
        """The peer's address; None when it has none, or is gone."""
        peer = self.transport.get_extra_info("peername") if self.transport is not None else None
        return peer[0] if isinstance(peer, tuple) else None

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ClientGone
        self.transport = None
        transport.set_protocol(connection)
        if not self.capped:
            cap(transport.get_extra_info("socket"))
        take_over(
            transport,
            connection,
            self.headers["Sec-WebSocket-Key"],
            first=first,
            protocol=protocol,
            early=self.early,
            held=self.held,
        )


def read(head: bytes) -> ReadHandshake | None:
    """A whole head as a handshake; None when it is something else, or unusual in any way."""
    found = HEAD.fullmatch(head) if len(head) <= HEAD_LIMIT else None
    if found is None:
        return None
    slug, parameters, lines = (part.decode("ascii") if part else "" for part in found.groups())
    headers: dict[str, str] = {}
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    query = dict(part.partition("=")[::2] for part in parameters.split("&")) if parameters else {}
    if (
        len(headers) != lines.count("\r\n")
        or not NOT_HERE.isdisjoint(headers)
        or "host" not in headers
        or headers.get("upgrade", "").lower() != "websocket"
        or headers.get("sec-websocket-version") != "13"
        or not is_key(headers.get("sec-websocket-key", ""))
        or "upgrade" not in map(str.strip, headers.get("connection", "").lower().split(","))
        or (parameters and (not KNOWN.issuperset(query) or len(query) != parameters.count("&") + 1))
        or not query.get("since", "0").isdecimal()
    ):
        return None
    try:
        options = msgspec.convert(query, OpenSocket, strict=False) if query else OpenSocket()
    except msgspec.ValidationError:
        return None
    return ReadHandshake(None if slug == "user" else slug, CIMultiDict(headers), query, options)


class HandshakeReader(asyncio.Protocol):
    """A connection until its head is read."""

    __slots__ = ("_fronts", "_handshake", "_head", "_late", "_transport")

    def __init__(self, readers: HandshakeReaders) -> None:
        self._fronts = readers
        self._head = bytearray()
        self._handshake: ReadHandshake | None = None
        self._late: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._fronts.bounds.entrance.enters(transport):
            turn_away(cast("asyncio.Transport", transport))
            return
        self._transport = cast("asyncio.Transport", transport)
        self._fronts.waiting[self] = None
        self._late = self._fronts.loop.call_later(protocol.HEAD_SECONDS, self.give_up)

    def data_received(self, data: bytes) -> None:
        handshake = self._handshake
        if self._transport is None:
            return  # it was turned away
        if handshake is not None:
            handshake.early += data
            if len(handshake.early) > EARLY_LIMIT and not handshake.held:
                assert self._transport is not None
                self._transport.pause_reading()
                handshake.held = True
            return
        head, known = self._head, len(self._head)
        head += data
        if len(head) < len(START):
            if START.startswith(head):
                return
        elif head.startswith(START):
            # What was looked at before is not looked at again, except where it may go on.
            end = head.find(END, max(0, known - 3)) + len(END)
            if end < len(END):
                if len(head) <= HEAD_LIMIT and not ODD.search(head, max(0, known - 1)):
                    return
            else:
                handshake = read(bytes(head[:end]))
        if handshake is None:
            self._to_aiohttp(bytes(head))
            return
        self._known()
        handshake.transport = self._transport
        handshake.capped = self._fronts.capped
        handshake.early = bytes(head[end:])
        del head[end:]
        self._handshake = handshake
        self._fronts.under_way.start(self._open(handshake))

    def connection_lost(self, error: Exception | None) -> None:
        self._fronts.bounds.entrance.leaves(self._transport)
        self._known()
        self._transport = None
        if self._handshake is not None:
            self._handshake.transport = None

    def is_idle(self) -> bool:
        """See `bounds.Caller`."""
        return self._handshake is None

    def hangs_for(self) -> None:
        """See `bounds.Caller`: an opening has three seconds."""

    def give_up(self) -> None:
        """Its time is over."""
        self._known()
        if self._transport is not None:
            self._transport.abort()

    def _known(self) -> None:
        """Its head is read, or will never come."""
        self._fronts.waiting.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    async def _open(self, handshake: ReadHandshake) -> None:
        readers = self._fronts
        began = perf_counter()
        name = readers.responses.begin(handshake)
        budget = Budget()
        BUDGET.set(budget)
        status, user_id = 101, NOBODY
        debug, client = readers.responses.debug, ""
        if debug:
            client = client_address(handshake, readers.responses.settings.trusted_proxies)
        try:
            actor = await open_socket(handshake, readers.app, handshake.slug, handshake.options)
            user_id = actor.user_id if actor is not None else NOBODY
        except Exception as error:  # aiohttp answers it, whatever it is
            transport = handshake.transport
            if transport is not None and not transport.is_closing():
                self._handshake = None
                if handshake.held:
                    transport.resume_reading()
                data = bytes(self._head) + handshake.early
                self._to_aiohttp(data, RefusedBefore(error, name, began))
                return
            # It left, or something failed after the answer: nothing more can be said.
            opening = f"GET {TO_PROJECT if handshake.slug else TO_USER}"
            status = refused(error, opening, name, readers.responses.desk).status
            if self._transport is not None:
                self._transport.abort()
        finally:
            budget.over = True
        took = perf_counter() - began
        (readers.to_project if handshake.slug else readers.to_user).count(status, took)
        if debug:
            log.debug(
                "http.answered method=GET path=%s status=%d ms=%.1f client=%s user_id=%d",
                TO_PROJECT if handshake.slug else TO_USER,
                status,
                took * 1000,
                client,
                user_id,
            )

    def _to_aiohttp(self, data: bytes, refusal: RefusedBefore | None = None) -> None:
        """From here on it is aiohttp's, which also answers with `refusal`."""
        until = self._late.when() if self._late is not None else None
        self._known()
        transport, self._transport, self._head = self._transport, None, bytearray()
        assert transport is not None
        http = self._fronts.http()
        transport.set_protocol(http)
        http.connection_made(transport)
        http.responses, http.refusal = self._fronts.responses, refusal
        http.data_received(data)
        if until is not None:
            http.expect_head_by(until)


def turn_away(transport: asyncio.Transport) -> None:
    """Answer 503, where that costs nothing: over TLS even a goodbye waits for an answer."""
    if transport.get_extra_info("sslcontext") is None:
        transport.write(FULL)
        transport.close()
    else:
        transport.abort()


class HandshakeReaders:
    """The readers of one server of an application: makes one for each connection.

    capped      the listening sockets are, so each accepted one is: asking uvloop for a socket
                costs an opening as much as reading its handshake
    waiting     connections whose head has not come yet
    under_way   handshakes that are not answered yet
    """

    def __init__(self, runner: web.AppRunner, *, capped: bool = False) -> None:
        assert runner.server is not None, "set it up first"
        self.capped = capped
        self.http = cast("Callable[[], protocol.HttpConnection]", runner.server)
        self.app: web.Application = runner.app
        self.responses = self.app[RESPONSES]
        self.bounds = self.responses.bounds
        self.loop = asyncio.get_running_loop()
        self.to_project = HTTP.at("GET", TO_PROJECT)
        self.to_user = HTTP.at("GET", TO_USER)
        self.waiting: dict[HandshakeReader, None] = {}
        self.under_way = Background("handshake_reader.openings")

    def __call__(self) -> HandshakeReader:
        return HandshakeReader(self)

    async def close(self) -> None:
        """Nothing listens any more: connections that say nothing in the next moment are ended.
        Those that were accepted last still have to be read.
        """
        until = self.loop.time() + LAST_SECONDS
        while self.waiting and self.loop.time() < until:
            await asyncio.sleep(0.01)
        for reader in list(self.waiting):
            reader.give_up()
