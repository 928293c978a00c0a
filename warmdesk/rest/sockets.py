"""The WebSocket doors ``/ws/{slug}`` and ``/ws/user``: the handshake, and what clients send.

Whoever may not come in gets an ordinary HTTP answer before the upgrade. After it nothing is
awaited between "what is the room's last" and "it follows the room", so nothing falls in between.

Messages of one socket are carried out one after another, in their order. Its role is not
remembered: every write reads it anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import web
from msgspec import Meta

from warmdesk import clock
from warmdesk.auth.actor import PEOPLE, Actor, Project, Role
from warmdesk.auth.identity import Request
from warmdesk.changes.chat import Chat
from warmdesk.desk import Desk
from warmdesk.errors import Archived, Forbidden, Unavailable, WarmDeskError, cut
from warmdesk.http.body import LONGEST_REASON, check_text
from warmdesk.http.bounds import Entrance
from warmdesk.http.middleware import DOORMAN, as_problem, origin_allowed
from warmdesk.http.protocol import Wire
from warmdesk.http.request import DESK, QUERY
from warmdesk.http.routing import PUBLIC, route
from warmdesk.metrics import RESUMES, WS_CLOSED, WS_DROPPED, WS_MESSAGES
from warmdesk.metrics.kinds import OTHER
from warmdesk.realtime.change import Wish
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import ACK, CHAT_TYPING, ERROR, HELLO, PONG, signal_frame
from warmdesk.realtime.frames import Close
from warmdesk.realtime.handshake import ClientGone, adopt, check_handshake
from warmdesk.realtime.hub import Reset
from warmdesk.realtime.room import Room
from warmdesk.realtime.sweeper import PING_SECONDS
from warmdesk.schemas import MAX_ID
from warmdesk.schemas.chat import MessageBody, Nonce
from warmdesk.schemas.sockets import Hello, Place

SUB_PROTOCOL = "warmdesk"
TOKEN_PREFIX = "bearer."
WAITING_SECONDS = 1.5
OPENING_SECONDS = 3.0
"""From the handshake to `hello`, the wait for a turn and for the database included."""
OPENING_RATE = 120
OPENING_RATE_SECONDS = 60
"""A person with twenty tabs comes back in them five times; a loop that opens and closes stops."""
TYPING_SECONDS = 3.0
INBOX = 64
ID_LIMIT = 200
MESSAGE_RATE_SECONDS = 60

log = logging.getLogger(__name__)
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
    presence: (
        Annotated[
            str,
            Meta(
                pattern="^changed$",
                examples=["changed"],
                description="`changed`: joins and leaves in one frame",
            ),
        ]
        | None
    ) = None


NO_ID = msgspec.Raw(b"null")


class Incoming(msgspec.Struct):
    """What a client sends: ``{"type", "payload", "id"}``."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    id: msgspec.Raw = NO_ID
    """Repeated as it came, and not read before it is known to be short."""


class SendMessage(msgspec.Struct):
    body: MessageBody
    nonce: Nonce | None = None


class EditMessage(msgspec.Struct):
    message_id: Annotated[int, Meta(ge=1, le=MAX_ID)]
    body: MessageBody


class DeleteMessage(msgspec.Struct):
    message_id: Annotated[int, Meta(ge=1, le=MAX_ID)]


class RefreshToken(msgspec.Struct):
    token: str


class Sync(msgspec.Struct):
    since: Annotated[int, Meta(ge=0, le=MAX_ID)]
    epoch: str | None = None


class Made(msgspec.Struct):
    """The id of what a change answered with."""

    id: int


decode = msgspec.json.Decoder(Incoming).decode


class Socket(Connection):
    """A connection with a door: who opened it, and the messages that wait to be carried out."""

    __slots__ = ("actor", "chat", "desk", "entrance", "inbox", "project_id", "slug", "typed_at")

    def __init__(
        self, desk: Desk, chat: Chat, actor: Actor, project: Project | None, entrance: Entrance
    ) -> None:
        super().__init__(
            received=received, refused=refused, closed=closed, limits=desk.settings.rate_limits
        )
        self.desk = desk
        self.entrance = entrance
        self.chat = chat
        self.actor = actor
        self.user_id = actor.user_id
        self.session_id = actor.session_id
        self.key_id = actor.key_id
        self.expires_at = actor.expires_at
        self.kind = "project" if project is not None else "user"
        self.project_id = project.id if project is not None else 0
        self.slug = project.slug if project is not None else ""
        self.inbox: deque[Incoming] | None = None
        self.typed_at = 0.0

    def connection_lost(self, error: Exception | None) -> None:
        self.entrance.leaves(self.transport)
        super().connection_lost(error)


@route(
    "GET",
    "/ws/user",
    need=PUBLIC,
    query=OpenSocket,
    status=101,
    tag="sockets",
    errors=(401, 403, 426, 429, 503),
)
async def open_user_socket(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket on your own events.

    Direct messages, notifications, your sessions and profile. Sub-protocols: `warmdesk,
    bearer.<token>`.
    """
    return await _open(request, None)


@route(
    "GET",
    "/ws/{slug}",
    need=PUBLIC,
    query=OpenSocket,
    status=101,
    tag="sockets",
    errors=(401, 403, 404, 426, 429, 503),
)
async def open_project_socket(request: web.Request) -> web.StreamResponse:
    """Open a WebSocket on a project: its board, its chat, who is here.

    The first frame is `hello`, then `presence.list`, then what you missed since `since`, then what
    happens.
    """
    return await _open(request, request.match_info["slug"])


class Knock(Request, Protocol):
    """A handshake that keeps RFC 6455, whoever read it: aiohttp, or `warmdesk.front`."""

    @property
    def transport(self) -> asyncio.Transport | None: ...

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        """Answer with 101, this and the sub-protocol; the socket is the connection's from here
        on. Raises `ClientGone`.
        """


class Asked:
    """A handshake that aiohttp read."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.headers, self.query = request.headers, request.query
        self.answer: web.StreamResponse | None = None

    @property
    def transport(self) -> asyncio.Transport | None:
        return self.request.transport

    def adopt(self, connection: Connection, *, first: bytes, protocol: str | None) -> None:
        wire = self.request.protocol
        if not isinstance(wire, Wire):
            raise TypeError("its connection is not one of ours")
        with wire.handing_over():
            self.answer = adopt(self.request, connection, first=first, protocol=protocol)


async def _open(request: web.Request, slug: str | None) -> web.StreamResponse:
    wire = request.protocol
    if isinstance(wire, Wire) and wire.refusal is not None:
        refusal, wire.refusal = wire.refusal, None
        raise refusal
    check_handshake(request)
    knock = Asked(request)
    await open_socket(knock, request.app, slug, request[QUERY])
    assert knock.answer is not None
    return knock.answer


async def open_socket(
    knock: Knock, app: web.Application, slug: str | None, wish: OpenSocket
) -> None:
    """Let somebody in, on a project's channel or without `slug` on their own; or raise why not."""
    desk = app[DESK]
    if not origin_allowed(knock, desk.settings):
        raise Forbidden("this origin is not allowed to open sockets")
    if desk.draining and not desk.retiring:
        raise Unavailable("the server is stopping, try again")
    try:
        async with _turn(desk), asyncio.timeout(OPENING_SECONDS):
            if knock.transport is None or knock.transport.is_closing():
                raise ClientGone
            generation = desk.access.generation
            actor, protocol = await _who(knock, desk, wish)
            if actor.global_role not in PEOPLE:
                raise Forbidden("a service account opens no sockets")
            await desk.limits.take(
                "socket", actor.user_id, limit=OPENING_RATE, seconds=OPENING_RATE_SECONDS
            )
            connection = await _enter(knock, app, actor, slug, wish, protocol)
            if generation != desk.access.generation:
                _keep(desk.control.review(connection))
    except TimeoutError as error:
        again = desk.hub.when_to_come_back()
        raise Unavailable("too many sockets open at once, try again", retry_after=again) from error


@asynccontextmanager
async def _turn(desk: Desk) -> AsyncIterator[None]:
    """One of those who open now. Whoever waits too long is sent away before anything was done for
    him, and the others have all their time: half of what is begun in a storm would else be given up
    before its end.
    """
    if desk.hub.turnstile.locked():
        async with asyncio.timeout(WAITING_SECONDS):
            await desk.hub.turnstile.acquire()
    else:
        await desk.hub.turnstile.acquire()
    try:
        yield
    finally:
        desk.hub.turnstile.release()


async def _who(knock: Knock, desk: Desk, wish: OpenSocket) -> tuple[Actor, str | None]:
    """Who opens the socket, by ticket, sub-protocol, query or header; and the sub-protocol to
    answer with.
    """
    offered = [p.strip() for p in knock.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    protocol = SUB_PROTOCOL if SUB_PROTOCOL in offered else None
    token = next(
        (p.removeprefix(TOKEN_PREFIX) for p in offered if p.startswith(TOKEN_PREFIX)), wish.token
    )
    if wish.ticket is not None:
        return await desk.identity.by_ticket(wish.ticket), protocol
    if token is not None:
        return await desk.identity.by_token(token), protocol
    return await desk.identity.who(knock), protocol


async def _enter(
    knock: Knock,
    app: web.Application,
    actor: Actor,
    slug: str | None,
    wish: OpenSocket,
    protocol: str | None,
) -> Connection:
    desk = app[DESK]
    project = None
    if slug is not None:
        project = await desk.access.enter_project(desk.database, actor, slug, Role.VIEWER)
    elif actor.key_project_id is not None:
        raise Forbidden("key is scoped to a specific project")
    room = await desk.hub.open(
        project_channel(project.id) if project else user_channel(actor.user_id)
    )
    with desk.presence.coming(room, actor.user_id):
        await desk.presence.come(room, actor.user_id)
        return await _let_in(knock, app, actor, project, room, wish, protocol)


async def _let_in(
    knock: Knock,
    app: web.Application,
    actor: Actor,
    project: Project | None,
    room: Room,
    wish: OpenSocket,
    protocol: str | None,
) -> Connection:
    desk = app[DESK]
    reset: str | None = None
    if wish.since is not None:
        try:
            await desk.hub.plan(room, wish.since, wish.epoch)
        except Reset as problem:
            reset = problem.reason
        RESUMES.inc(result="reset" if reset else "replay")
    (me,) = await desk.presence.refs([actor.user_id])
    if desk.hub.rooms.get(room.channel) is not room or not room.opened:
        raise Unavailable("the server is busy, try again")

    if knock.transport is None or knock.transport.is_closing():
        raise ClientGone
    # From here on nothing is awaited.
    connection = Socket(desk, desk.chat, actor, project, app[DOORMAN].bounds.entrance)
    connection.wants_changed = wish.presence == "changed"
    room.flush()
    hello = Hello(
        connection_id=connection.id,
        user=msgspec.Raw(me),  # type: ignore[arg-type]
        project=Place(id=project.id, slug=project.slug) if project else None,
        role=project.role.word if project else None,
        seq=room.last,
        epoch=desk.hub.epoch,
        server_time=moment(),
        ping_interval=int(PING_SECONDS),
        resumed=wish.since is not None and reset is None,
    )
    first = signal_frame(HELLO, encode(hello))
    if project is not None:
        first += desk.presence.welcome(room, connection, me)
    if reset is not None:
        first += desk.hub.reset_frame(room.last, reset)
    knock.adopt(connection, first=first, protocol=protocol)
    since = wish.since if wish.since is not None and reset is None else room.last
    desk.hub.enter(room, connection, since)
    return connection


_kept: set[asyncio.Task[None]] = set()


def moment() -> str:
    """Now, RFC 3339 in UTC."""
    now = clock.now()
    return f"{_second(int(now))}.{int(now % 1 * 1e6):06d}Z"


@lru_cache(maxsize=2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


# What clients send


def closed(connection: Connection, code: int) -> None:
    assert isinstance(connection, Socket)
    WS_CLOSED.inc(code=str(code))
    connection.inbox = None
    connection.desk.hub.gone(connection)


def refused(connection: Connection, kind: str) -> None:
    WS_DROPPED.inc(reason="flood")
    if kind == "text":
        _error(connection, None, "rate_limited", "too many messages, slow down")


def received(connection: Connection, text: bytes) -> None:
    """One text message. Pings are answered at once; the rest is carried out in order."""
    assert isinstance(connection, Socket)
    try:
        check_text(text)
        message = decode(text)
        short = len(message.id) <= ID_LIMIT
        if short and message.id is not NO_ID:
            msgspec.json.decode(message.id)
    except (WarmDeskError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        WS_DROPPED.inc(reason="malformed")
        if isinstance(error, WarmDeskError) and text.lstrip().startswith(b"{"):
            _error(connection, None, "invalid_payload", error.message)
            return
        _error(connection, None, "parse_error", "send a JSON object with a text `type`")
        if connection.strike(time.monotonic()):
            connection.close(Close.BAD_MESSAGES, "not the protocol")
        return
    if not short:
        WS_DROPPED.inc(reason="malformed")
        _error(connection, None, "invalid_payload", f"an id has at most {ID_LIMIT} bytes of JSON")
        return
    HEARD.get(message.type, HEARD[OTHER]).inc()
    if message.type == "ping" and not connection.inbox:
        _pong(connection, message)
        return
    if connection.inbox is None:
        connection.inbox = deque((message,))
        _keep(_carry_out(connection))
    elif len(connection.inbox) >= INBOX:
        WS_DROPPED.inc(reason="inbox_full")
        _error(connection, message.id, "rate_limited", "too many messages are waiting")
    else:
        connection.inbox.append(message)


def _keep(run: Any) -> None:
    task = asyncio.create_task(run)
    _kept.add(task)
    task.add_done_callback(_kept.discard)


async def _carry_out(connection: Socket) -> None:
    """One message after another, until none waits."""
    while connection.inbox:
        message = connection.inbox[0]
        try:
            await _obey(connection, message)
        except (msgspec.DecodeError, RecursionError) as error:
            told = cut(str(error), LONGEST_REASON)
            _error(connection, message.id, "invalid_payload", told)
        except Exception as error:
            refusal = as_problem(error)
            if refusal.status == 500:
                log.exception(
                    "socket.message_failed type=%s", message.type if message.type in OBEYED else "?"
                )
            code = refusal.extra.get("code") or CODES.get(refusal.status, "invalid_payload")
            _error(connection, message.id, code, refusal.message)
        if connection.inbox:
            connection.inbox.popleft()
    connection.inbox = None


CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}


async def _obey(connection: Socket, message: Incoming) -> None:
    obey = OBEYED.get(message.type)
    if obey is None or (obey in PROJECT_ONLY and not connection.project_id):
        raise WarmDeskError("there is no such message type here", status=400, code="unknown_type")
    desk, person = connection.desk, connection.user_id
    if obey is sync:
        shares = desk.reads
    elif obey in WRITES:
        shares = desk.writes
    else:
        await obey(connection, message)
        return
    if not shares.take(person):
        await shares.wait(person)
    try:
        if obey in PACED:
            await desk.pace.take(person)
        await obey(connection, message)
    finally:
        shares.give_back(person)


async def ping(connection: Socket, message: Incoming) -> None:
    _pong(connection, message)


def _pong(connection: Socket, message: Incoming) -> None:
    room = connection.room
    seq = room.last if isinstance(room, Room) else 0
    _answer(connection, PONG.name, {"server_time": moment(), "seq": seq}, message.id)


async def send_message(connection: Socket, message: Incoming) -> None:
    """chat.send: stored, told, acknowledged. A nonce means what it does by REST."""
    wanted = msgspec.json.decode(message.payload, type=SendMessage)
    await connection.desk.limits.take(
        "message",
        connection.user_id,
        limit=connection.desk.settings.messages_per_minute,
        seconds=MESSAGE_RATE_SECONDS,
    )
    outcome = await connection.chat.send(
        _wish(connection), connection.project_id, wanted.body, wanted.nonce
    )
    made = msgspec.json.decode(outcome.answer, type=Made)
    _answer(connection, ACK.name, {"id": message.id, "message_id": made.id}, message.id)


async def edit_message(connection: Socket, message: Incoming) -> None:
    wanted = msgspec.json.decode(message.payload, type=EditMessage)
    await connection.chat.edit(
        _wish(connection), connection.project_id, wanted.message_id, wanted.body
    )
    _answer(connection, ACK.name, {"id": message.id, "message_id": wanted.message_id}, message.id)


async def delete_message(connection: Socket, message: Incoming) -> None:
    wanted = msgspec.json.decode(message.payload, type=DeleteMessage)
    await connection.chat.delete(_wish(connection), connection.project_id, wanted.message_id)
    _answer(connection, ACK.name, {"id": message.id, "message_id": wanted.message_id}, message.id)


async def typing(connection: Socket, message: Incoming) -> None:
    """chat.typing: told to the others, at most once in three seconds."""
    desk = connection.desk
    now = time.monotonic()
    if now - connection.typed_at < TYPING_SECONDS:
        return
    connection.typed_at = now
    project = await desk.access.enter_project(
        desk.database, connection.actor, connection.slug, Role.MEMBER
    )
    if project.is_archived:
        raise Archived
    payload = b'{"user_id":%d}' % connection.user_id
    desk.bus.signal(
        project_channel(connection.project_id),
        CHAT_TYPING,
        payload,
        entity=f"user:{connection.user_id}",
    )


async def refresh_token(connection: Socket, message: Incoming) -> None:
    """auth.refresh: the socket lives as long as the new token. It must be of the same user and
    session.
    """
    wanted = msgspec.json.decode(message.payload, type=RefreshToken)
    actor = await connection.desk.identity.by_token(wanted.token)
    if actor.user_id != connection.user_id or actor.session_id != connection.session_id:
        raise Forbidden("the token belongs to another session")
    connection.actor = actor
    connection.desk.hub.sweeper.set_expiry(connection, actor.expires_at)
    _answer(connection, ACK.name, {"id": message.id}, message.id)


async def sync(connection: Socket, message: Incoming) -> None:
    wanted = msgspec.json.decode(message.payload, type=Sync)
    await connection.desk.hub.resync(connection, wanted.since, wanted.epoch)


OBEYED: dict[str, Callable[[Socket, Incoming], Awaitable[None]]] = {
    "ping": ping,
    "chat.send": send_message,
    "chat.edit": edit_message,
    "chat.delete": delete_message,
    "chat.typing": typing,
    "auth.refresh": refresh_token,
    "sync": sync,
}
HEARD = {kind: WS_MESSAGES.at(direction="in", type=kind) for kind in (*OBEYED, OTHER)}
PROJECT_ONLY = frozenset({send_message, edit_message, delete_message, typing})
PACED = frozenset({edit_message, delete_message})
WRITES = PACED | {send_message}


def _wish(connection: Socket) -> Wish:
    return Wish(actor_id=connection.user_id, project_id=connection.project_id or None)


def _answer(
    connection: Connection, kind: str, payload: dict[str, Any], message_id: msgspec.Raw | None
) -> None:
    frame: dict[str, Any] = {"type": kind, "payload": payload}
    if message_id is not None and bytes(message_id) != b"null":
        frame["id"] = message_id
    connection.send_text(encode(frame))


def _error(connection: Connection, message_id: msgspec.Raw | None, code: str, text: str) -> None:
    _answer(connection, ERROR.name, {"code": code, "message": text, "id": message_id}, message_id)
