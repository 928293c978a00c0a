"""The WebSocket routes ``/ws/{slug}`` and ``/ws/user``: the handshake, and what clients send. And
the same as server-sent events, for curl, for browsers and for whoever is behind a proxy that breaks
WebSockets: answers that stay open, ``…/events/stream``.

A client that is refused gets an ordinary HTTP answer before the upgrade. After it nothing is
awaited between reading the room's last seq and joining the room, so no event falls in between.

Messages of one socket are carried out one after another, in their order. Its role is not
remembered: every write reads it anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import web
from msgspec import Meta

from warmdesk import clock
from warmdesk.auth.actor import HUMAN_ROLES, TO_READ, Actor, EnteredProject, Role, require_grant
from warmdesk.auth.addresses import Sent, client_address
from warmdesk.auth.identity import Request
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import BadRequest, Forbidden, KeyScope, Unavailable, WarmDeskError
from warmdesk.http.bounds import Entrance
from warmdesk.http.commands import Call, CommandSocket, command
from warmdesk.http.middleware import RESPONSES, as_problem, origin_allowed, refused
from warmdesk.http.protocol import HttpConnection
from warmdesk.http.request import ACTOR, DESK, QUERY
from warmdesk.http.route import PUBLIC, STREAM, ApiTag
from warmdesk.http.routing import route
from warmdesk.http.streams import EventStream, beginning, place_of
from warmdesk.log import REQUEST_ID
from warmdesk.metrics import RESUMES
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.realtime.connection import CLOSE_SECONDS, Connection
from warmdesk.realtime.events import ERROR, HELLO, PONG, signal_frame
from warmdesk.realtime.frames import Close
from warmdesk.realtime.handshake import ClientGone, adopt, answer_with_stream, check_handshake
from warmdesk.realtime.resume import Reset
from warmdesk.realtime.room import Room
from warmdesk.realtime.roster import CONNECTIONS_EACH
from warmdesk.realtime.sweeper import PING_SECONDS
from warmdesk.schemas import MAX_ID
from warmdesk.schemas.bootstrap import MOST_UNREAD
from warmdesk.schemas.sockets import Hello, Ping, Place, SocketError

SOCKETS = ApiTag("sockets", "The WebSockets, and streams of events: every change, live.")

SUB_PROTOCOL = "warmdesk"
TOKEN_PREFIX = "bearer."
WAITING_SECONDS = 1.5
OPENING_SECONDS = 3.0
"""From the handshake to `hello`, the wait for a turn and for the database included."""
LOOKS = 3
"""How often what is unread is counted again, because events came meanwhile."""
OPENING_RATE = 120
OPENING_RATE_SECONDS = 60
"""A person with twenty tabs comes back in them five times; a loop that opens and closes stops."""

REFUSED_WITH = {
    401: Close.SIGNED_OUT,
    403: Close.NO_ACCESS,
    404: Close.PROJECT_GONE,
    429: Close.FLOODING,
    503: Close.OVERLOADED,
}
"""What a refused socket closes with, by the status that everybody else gets."""

STREAM_HEADERS = {
    "Content-Type": STREAM,
    "Cache-Control": "no-store, no-transform",
    "Connection": "close",
    "X-Accel-Buffering": "no",
}
"""Nothing on the way keeps it back: nginx gathers answers that do not say so."""

encode = msgspec.json.encode


class OpenSocket(msgspec.Struct, kw_only=True):
    """How a socket is opened."""

    token: Annotated[str, Meta(description="an access token")] | None = None
    ticket: Annotated[str, Meta(description="a one-time ticket of POST /auth/ws-ticket")] | None = (
        None
    )
    api_key: Annotated[str, Meta(description="an API key")] | None = None
    since: (
        Annotated[
            int,
            Meta(
                ge=0, le=MAX_ID, description="the last seq you have: only what came after is sent"
            ),
        ]
        | None
    ) = None
    epoch: Annotated[str, Meta(description="the epoch that `since` belongs to")] | None = None
    projects: Annotated[
        bool, Meta(description="on your own socket: be told what happens in your projects")
    ] = False
    presence: (
        Annotated[
            str,
            Meta(
                pattern=r"^changed$(?!\n)",
                examples=["changed"],
                extra={"otherwise": "must be changed, or left out"},
                description="`changed`: joins and leaves in one frame",
            ),
        ]
        | None
    ) = None


class RefreshToken(msgspec.Struct):
    token: str


class Sync(msgspec.Struct):
    since: Annotated[int, Meta(ge=0, le=MAX_ID)]
    epoch: str | None = None


@route(
    "GET",
    "/ws/user",
    need=PUBLIC,
    query=OpenSocket,
    status=101,
    tag=SOCKETS,
    errors=(401, 403, 426, 429, 503),
)
async def open_user_socket(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket on your own events.

    Direct messages, notifications, your sessions and profile. Sub-protocols: `warmdesk,
    bearer.<token>`. Who offers `warmdesk` and is refused is let in, gets `error` with `code`,
    `message` and `retry_after`, and is closed with 4401, 4403, 4404, 4429 or 1013.
    """
    return await _open(request, None)


@route(
    "GET",
    "/ws/{slug}",
    need=PUBLIC,
    query=OpenSocket,
    status=101,
    tag=SOCKETS,
    errors=(401, 403, 404, 426, 429, 503),
)
async def open_project_socket(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket on a project: its board, its chat, who is here.

    The first frame is `hello`, then `presence.list`, then what you missed since `since`, then what
    happens.
    """
    return await _open(request, request.match_info["slug"])


@route(
    "GET",
    "/projects/{slug}/events/stream",
    need=PUBLIC,
    query=OpenSocket,
    produces=(STREAM,),
    tag=SOCKETS,
    errors=(401, 403, 404, 429, 503),
)
async def stream_project_events(request: web.Request) -> web.StreamResponse:
    """Follow a project over HTTP, as server-sent events: its board, its chat, who is here.

    What a socket on the project is told, in the same order: `event` is the type, `data` the same
    JSON, and what has a `seq` has the `id` `<epoch>.<seq>`. `Last-Event-ID`, which browsers send by
    themselves, goes on from there; it goes before `since` and `epoch`. Where that cannot be,
    `sync.reset` comes first: fetch the project again. A comment comes every 15 seconds.
    """
    return await _stream(request, request.match_info["slug"])


@route(
    "GET",
    "/users/me/events/stream",
    need=PUBLIC,
    query=OpenSocket,
    produces=(STREAM,),
    tag=SOCKETS,
    errors=(401, 403, 429, 503),
)
async def stream_user_events(request: web.Request) -> web.StreamResponse:
    """Follow your own events over HTTP, as server-sent events.

    What your own socket is told: direct messages, notifications, your sessions and profile. It is
    resumed as a project's stream is.
    """
    return await _stream(request, None)


class Handshake(Request, Sent, Protocol):
    """A handshake that keeps RFC 6455, read by aiohttp or by `warmdesk.handshake_reader`."""

    streams: bool
    """Whether it asks for a stream of events instead of a socket."""

    @property
    def transport(self) -> asyncio.Transport | None: ...

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        """Answer: a socket with 101, this and the sub-protocol. What is beneath is the
        connection's from here on. Raises `ClientGone`.
        """


class AiohttpHandshake:
    """A handshake of a socket that aiohttp read."""

    streams = False

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.headers, self.query = request.headers, request.query
        self.answer: web.StreamResponse | None = None

    @property
    def remote(self) -> str | None:
        return self.request.remote

    @property
    def transport(self) -> asyncio.Transport | None:
        return self.request.transport

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        with self.http.handing_over():
            self.answer = adopt(self.request, connection, first=first, protocol=protocol)

    @property
    def http(self) -> HttpConnection:
        http = self.request.protocol
        if not isinstance(http, HttpConnection):
            raise TypeError("its connection is not one of ours")
        return http


class StreamHandshake(AiohttpHandshake):
    """A request for a stream."""

    streams = True

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        assert isinstance(connection, EventStream)
        told = beginning(first, connection.hub.epoch, connection.seen)
        head = _head(self.request)
        with self.http.handing_over():
            self.answer = answer_with_stream(self.request, connection, head + told)


def _head(request: web.Request) -> bytes:
    """The answer's head. It has no length: it ends with the connection."""
    made = _without_body()
    request.app[RESPONSES].finish_headers(request, made, REQUEST_ID.get())
    lines = (f"{name}: {value}\r\n" for name, value in made.headers.items())
    return f"HTTP/1.1 200 OK\r\n{''.join(lines)}\r\n".encode()


def _without_body() -> web.StreamResponse:
    """A stream's status and headers, for HEAD and for its head."""
    return web.Response(headers=STREAM_HEADERS)


async def _open(request: web.Request, slug: str | None) -> web.StreamResponse:
    http = request.protocol
    if isinstance(http, HttpConnection) and http.refusal is not None:
        refusal, http.refusal = http.refusal, None
        raise refusal
    check_handshake(request)
    handshake = AiohttpHandshake(request)
    actor = await open_socket(handshake, request.app, slug, request[QUERY])
    if actor is not None:
        request[ACTOR] = actor
    assert handshake.answer is not None
    return handshake.answer


async def _stream(request: web.Request, slug: str | None) -> web.StreamResponse:
    if request.body_exists:
        raise BadRequest("a stream is asked for without a body")
    options = request[QUERY]
    if last := request.headers.get("Last-Event-ID"):
        since, epoch = place_of(last)
        options = msgspec.structs.replace(options, since=since, epoch=epoch)
    handshake = StreamHandshake(request)
    if request.method == "HEAD":
        request[ACTOR] = await _check_entry(handshake, request.app, slug, options)
        return _without_body()
    actor = await open_socket(handshake, request.app, slug, options)
    assert actor is not None
    assert handshake.answer is not None
    request[ACTOR] = actor
    return handshake.answer


async def _check_entry(
    handshake: Handshake, app: web.Application, slug: str | None, options: OpenSocket
) -> Actor:
    """The actor who may open here; else raise."""
    desk = app[DESK]
    actor, _ = await _who(handshake, desk, options)
    _check_account(handshake, desk, actor)
    await _project(desk, actor, slug)
    return actor


async def open_socket(
    handshake: Handshake, app: web.Application, slug: str | None, options: OpenSocket
) -> Actor | None:
    """Open a socket or a stream on a project's channel, or without `slug` on the user's own, and
    give whose it is; else raise. A browser cannot read a refused handshake: to who offers our
    sub-protocol it is said on a socket that closes at once, and then it is nobody's.
    """
    if not origin_allowed(handshake, app[DESK].settings):
        raise Forbidden("this origin is not allowed to open sockets", code="origin_not_allowed")
    try:
        return await _open_to(handshake, app, slug, options)
    except Exception as error:
        if handshake.streams or SUB_PROTOCOL not in _offered(handshake):
            raise
        shown = as_problem(error)
        code = REFUSED_WITH.get(shown.status)
        if code is None:
            raise
        if shown is not error:
            refused(error, "GET /ws", "", app[DESK])
        RefusedSocket(app[RESPONSES].bounds.entrance).say(handshake, shown, code)
        return None


def _offered(handshake: Handshake) -> list[str]:
    """The sub-protocols that the client offers."""
    return [p.strip() for p in handshake.headers.get("Sec-WebSocket-Protocol", "").split(",")]


class RefusedSocket(Connection):
    """A socket that says why there is none, and closes. At the entrance it is a caller that asks
    nothing, and gives way to all others.
    """

    __slots__ = ("entrance",)

    def __init__(self, entrance: Entrance) -> None:
        super().__init__(received=_unheard, refused=_unheard, closed=_unheard)
        self.entrance = entrance

    def connection_lost(self, error: Exception | None) -> None:
        self.entrance.leaves(self.transport)
        super().connection_lost(error)

    def is_idle(self) -> bool:
        """See `Caller`."""
        return True

    def hangs_for(self) -> None:
        """See `Caller`."""

    def say(self, handshake: Handshake, error: WarmDeskError, code: Close) -> None:
        """Answer the handshake with it. Raises `ClientGone`."""
        wait = error.headers.get("Retry-After")
        told = SocketError(
            code=error.code,
            message=error.message,
            retry_after=int(wait) if wait is not None else msgspec.UNSET,
        )
        first = signal_frame(ERROR, encode(told))
        handshake.adopt(self, first=first, protocol=SUB_PROTOCOL)
        self.close(code)
        # It is in no room, so no sweeper visits it.
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)


def _unheard(*said: object) -> None:
    """It takes nothing."""


async def _open_to(
    handshake: Handshake, app: web.Application, slug: str | None, options: OpenSocket
) -> Actor:
    desk = app[DESK]
    if desk.draining and not desk.retiring:
        raise Unavailable("the server is stopping, try again")
    try:
        async with _turn(desk), asyncio.timeout(OPENING_SECONDS):
            if handshake.transport is None or handshake.transport.is_closing():
                raise ClientGone
            generation = desk.access.generation
            actor, protocol = await _who(handshake, desk, options)
            _check_account(handshake, desk, actor)
            _check_sockets(app, actor)
            await desk.limits.take(
                "socket", actor.user_id, limit=OPENING_RATE, seconds=OPENING_RATE_SECONDS
            )
            connection = await _enter(handshake, app, actor, slug, options, protocol)
            if generation != desk.access.generation:
                desk.control.review(connection)
            return actor
    except TimeoutError as error:
        again = desk.hub.roster.when_to_come_back()
        raise Unavailable("too many sockets open at once, try again", retry_after=again) from error


@asynccontextmanager
async def _turn(desk: Desk) -> AsyncIterator[None]:
    """Hold one of the opening slots. A client that waits too long is refused before any work was
    done for it, and the others have all their time: in a storm half of the openings would else be
    given up before their end.
    """
    if desk.hub.roster.opening_slots.locked():
        async with asyncio.timeout(WAITING_SECONDS):
            await desk.hub.roster.opening_slots.acquire()
    else:
        await desk.hub.roster.opening_slots.acquire()
    try:
        yield
    finally:
        desk.hub.roster.opening_slots.release()


async def _who(handshake: Handshake, desk: Desk, options: OpenSocket) -> tuple[Actor, str | None]:
    """The actor that opens the socket, by ticket, sub-protocol, query or header; and the
    sub-protocol to answer with.
    """
    offered = _offered(handshake)
    protocol = SUB_PROTOCOL if SUB_PROTOCOL in offered else None
    token = next(
        (p.removeprefix(TOKEN_PREFIX) for p in offered if p.startswith(TOKEN_PREFIX)), options.token
    )
    if options.ticket is not None:
        return await desk.identity.by_ticket(options.ticket), protocol
    if token is not None:
        return await desk.identity.by_token(token), protocol
    return await desk.identity.who(handshake), protocol


def _check_account(handshake: Handshake, desk: Desk, actor: Actor) -> None:
    """Refuse who opens none, and a key that may not be used for it, or not from there."""
    if actor.global_role not in HUMAN_ROLES:
        raise Forbidden("a service account opens no sockets")
    require_grant(actor, TO_READ)
    if actor.key_id is not None:
        desk.system.check_key(actor, _address(handshake, desk))


def _address(handshake: Handshake, desk: Desk) -> str:
    return client_address(handshake, desk.settings.trusted_proxies)


async def _project(desk: Desk, actor: Actor, slug: str | None) -> EnteredProject | None:
    """The project that this is about; None where it is about the actor."""
    if slug is not None:
        return await desk.access.enter_project(desk.database, actor, slug, Role.VIEWER)
    if actor.key_project_id is not None:
        raise KeyScope()
    return None


def _check_sockets(app: web.Application, actor: Actor) -> None:
    """429 when the person has too many sockets and streams here already, wherever they lead."""
    entrance = app[RESPONSES].bounds.entrance
    if len(app[DESK].hub.roster.people.get(actor.user_id, ())) >= entrance.each:
        raise entrance.refuse_socket(actor.user_id)


async def _enter(
    handshake: Handshake,
    app: web.Application,
    actor: Actor,
    slug: str | None,
    options: OpenSocket,
    protocol: str | None,
) -> Connection:
    desk = app[DESK]
    project = await _project(desk, actor, slug)
    room = await desk.hub.open(
        project_channel(project.id) if project else user_channel(actor.user_id)
    )
    with desk.presence.coming(room, actor.user_id):
        await desk.presence.come(room, actor.user_id)
        return await _let_in(handshake, app, actor, project, room, options, protocol)


async def _let_in(
    handshake: Handshake,
    app: web.Application,
    actor: Actor,
    project: EnteredProject | None,
    room: Room,
    options: OpenSocket,
    protocol: str | None,
) -> Connection:
    desk = app[DESK]
    epoch = desk.hub.epoch
    reset: str | None = None
    if options.since is not None:
        try:
            await desk.resume.plan(room, options.since, options.epoch)
        except Reset as problem:
            reset = problem.reason
        RESUMES.inc(result="reset" if reset else "replay")
    (me,) = await desk.people.refs([actor.user_id])
    unread = await _unread(desk, room, actor) if project is None else None
    is_here = desk.hub.rooms.get(room.channel) is room and room.opened
    if not is_here or desk.hub.epoch != epoch:  # what was planned is over
        raise Unavailable("the server is busy, try again")

    if handshake.transport is None or handshake.transport.is_closing():
        raise ClientGone
    return _follow(handshake, app, actor, project, room, options, protocol, me, reset, unread)


async def _unread(desk: Desk, room: Room, actor: Actor) -> tuple[int, int]:
    """How many notifications are unread, and in how many conversations others' messages are. True
    at the room's last seq, unless so much comes at once that no look is at the same one.
    """
    for _ in range(LOOKS):
        row = await sql.conversations.unread(
            desk.database, reader=actor.user_id, channel=room.channel, limit=MOST_UNREAD
        )
        if row["seq"] == room.last:
            break
    return row["notifications"], row["conversations"]


def _follow(
    handshake: Handshake,
    app: web.Application,
    actor: Actor,
    project: EnteredProject | None,
    room: Room,
    options: OpenSocket,
    protocol: str | None,
    me: bytes,
    reset: str | None,
    unread: tuple[int, int] | None,
) -> Connection:
    """Answer, and let the socket follow its room. It is no coroutine: nothing comes between."""
    desk = app[DESK]
    entrance = app[RESPONSES].bounds.entrance
    _check_sockets(app, actor)
    if handshake.streams and desk.hub.is_full(room, actor.user_id):
        # Browsers come back with a stream that was ended, and would end each other's for ever.
        raise entrance.refuse_stream(actor.user_id, CONNECTIONS_EACH)
    connection: Connection = (
        EventStream(desk.hub, actor, project, entrance)
        if handshake.streams
        else CommandSocket(desk, actor, project, entrance)
    )
    connection.wants_changed = options.presence == "changed"
    if project is None and isinstance(connection, CommandSocket):
        connection.wants_projects = options.projects
    if actor.key_id is not None:
        # Again: whoever closes those from where no key may be used cannot see this one yet.
        connection.address = _address(handshake, desk)
        desk.system.check_key(actor, connection.address)
    room.flush()
    since = room.last if options.since is None or reset is not None else options.since
    hello = Hello(
        connection_id=connection.id,
        user=msgspec.Raw(me),  # type: ignore[arg-type]
        project=Place(id=project.id, slug=project.slug) if project else None,
        role=project.role.word if project else None,
        seq=room.last,
        oldest=room.oldest,
        epoch=desk.hub.epoch,
        server_time=moment(),
        ping_interval=int(PING_SECONDS),
        resumed=options.since is not None and reset is None,
        replay=room.last - since,
        unread_notifications=msgspec.UNSET if unread is None else unread[0],
        unread_conversations=msgspec.UNSET if unread is None else unread[1],
    )
    first = signal_frame(HELLO, encode(hello))
    if project is not None:
        first += desk.presence.welcome(room, connection, me)
    if reset is not None:
        told = desk.hub.reset_frame(room.last, reset)
        first = told + first if handshake.streams else first + told
    connection.seen = since
    handshake.adopt(connection, first=first, protocol=protocol)
    desk.hub.enter(room, connection, since)
    return connection


def moment() -> str:
    """Now, RFC 3339 in UTC."""
    now = clock.now()
    return f"{_second(int(now))}.{int(now % 1 * 1e6):06d}Z"


@lru_cache(maxsize=2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


# What clients send about the socket itself


def pong(call: Call) -> dict[str, Any] | None:
    """The time, and the last seq of the socket's room; nothing yet where a digest is asked for."""
    if call.body.digest and call.socket.project_id:
        return None
    room = call.socket.room
    return {"server_time": moment(), "seq": room.last if isinstance(room, Room) else 0}


@command("ping", Ping, reads=True, at_once=pong, reply=PONG)
async def ping(call: Call) -> dict[str, Any]:
    """Asks whether the socket lives; `pong` has the time and the last seq of the socket's room.

    With `digest` it has the digest of the board too, and the seq and epoch are those of it.
    """
    desk, project_id, person = call.socket.desk, call.socket.project_id, call.socket.user_id
    if not desk.heavy_reads.take(person):
        await desk.heavy_reads.wait(person)
    try:
        found = await sql.projects.digest(desk.database.heavy, project_id=project_id)
    finally:
        desk.heavy_reads.give_back(person)
    return {"server_time": moment(), **found}


@command("sync", Sync, reads=True)
async def sync(call: Call) -> None:
    """Asks for what came after `since`, or for a `sync.reset` if that is gone; `ack` comes last."""
    socket, body = call.socket, call.body
    await socket.desk.resume.resync(socket, body.since, body.epoch, partial(call.reply, {}))


@command("auth.refresh", RefreshToken)
async def refresh_token(call: Call) -> dict[str, Any]:
    """Lets the socket live as long as a new token of the same user and session."""
    socket = call.socket
    actor = await socket.desk.identity.by_token(call.body.token)
    if actor.user_id != socket.user_id or actor.session_id != socket.session_id:
        raise Forbidden("the token belongs to another session")
    socket.actor = actor
    socket.desk.hub.roster.sweeper.set_expiry(socket, actor.expires_at)
    return {}
