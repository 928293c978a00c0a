"""@command: the messages that a client may send on a socket, each declared beside its resource; and
how they are carried out.

A message is ``{"type", "payload", "id", "client_id"}``. Messages of one socket are carried out one
after another, in their order. A socket's role is not remembered: every change reads it anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from warmdesk.auth.actor import (
    TO_READ,
    TO_WRITE,
    Actor,
    EnteredProject,
    Grant,
    Role,
    require_grant,
)
from warmdesk.desk import Desk
from warmdesk.errors import CODE_OF_STATUS, INVALID_FIELDS, WarmDeskError, field_error
from warmdesk.http.body import check_text, json_reader
from warmdesk.http.bounds import Entrance
from warmdesk.http.middleware import as_problem
from warmdesk.http.request import CLIENT_ID
from warmdesk.http.route import CHANGES, Rate
from warmdesk.metrics import WS_CLOSED, WS_DROPPED, WS_MESSAGES
from warmdesk.metrics.kinds import OTHER
from warmdesk.realtime.change import ChangeContext
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import ACK, ERROR, Event
from warmdesk.realtime.frames import Close

TYPING_SECONDS = 3.0
INBOX = 64
"""Messages of a socket that may wait."""
ID_LIMIT = 200
"""Bytes of a message's id, as JSON."""
NULL, EMPTY = msgspec.Raw(b"null"), msgspec.Raw(b"{}")
NO_ID = NULL
INVALID_PAYLOAD = "invalid_payload"
OF_PAYLOAD = frozenset({CODE_OF_STATUS[400], CODE_OF_STATUS[422], INVALID_FIELDS, "not_json"})
"""Codes of REST for what sockets call an invalid payload."""

log = logging.getLogger(__name__)
encode = msgspec.json.encode


# What may be sent


class Incoming(msgspec.Struct):
    """A client's message: ``{"type", "payload", "id", "client_id"}``."""

    type: str
    payload: msgspec.Raw = EMPTY
    """``null`` is none, too."""
    id: msgspec.Raw = NO_ID
    """Repeated as it came, and not read before it is known to be short."""
    client_id: msgspec.Raw = NULL
    """What the header ``X-Client-Id`` is to a request: the events of the change carry it."""


decode = msgspec.json.Decoder(Incoming).decode
as_text = msgspec.json.Decoder(str).decode


class CommandSocket(Connection):
    """A connection that takes commands: its actor, and the messages that wait to be carried out."""

    __slots__ = (
        "actor",
        "desk",
        "entrance",
        "inbox",
        "project_id",
        "slug",
        "told_projects",
        "typed_at",
        "wants_projects",
    )

    def __init__(
        self, desk: Desk, actor: Actor, project: EnteredProject | None, entrance: Entrance
    ) -> None:
        super().__init__(
            received=received, refused=refused, closed=closed, limits=desk.settings.rate_limits
        )
        self.desk = desk
        self.entrance = entrance
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
        self.wants_projects = False
        self.told_projects = False  # of what was there when it opened

    def may_tell_typing(self) -> bool:
        """Whether the others are told that its user writes: once in three seconds, beginning
        now.
        """
        now = time.monotonic()
        if now - self.typed_at < TYPING_SECONDS:
            return False
        self.typed_at = now
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.entrance.becomes_socket(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.entrance.leaves(self.transport)
        super().connection_lost(error)


@dataclass(frozen=True, slots=True)
class Call:
    """A command under way: on which socket, with which body, and the context of its change.
    `reply` answers it with a payload, for one that gives None and is done later.
    """

    socket: CommandSocket
    body: Any
    context: ChangeContext
    reply: Callable[[dict[str, Any] | None], None]


Carry = Callable[[Call], Any]
Answers = Callable[[Call], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Command:
    """A kind of message that clients may send.

    type      ``chat.send``
    body      a msgspec type: the payload is decoded and checked before `carry` is called. A
              `version` in it means what it does by REST
    need      the role in the socket's project that its change asks for (`Change.enter`); it is
              unknown on sockets without a project. None: good on every socket
    grants    the scopes of which the socket's API key needs one: to write for what changes
              something or tells others, else to read
    of_user   it is known on a user's own socket alone
    rate      what it counts as; None for one that changes nothing
    reads     it reads from the database, like a request
    at_once   a plain function that may answer it at once: it waits for nothing, and gives the
              payload of the reply, or None for what is carried out in its turn
    reply     the event that answers
    read      the reader of its payload
    carry     what it does, a coroutine function. It gives the payload of the reply, or None for no
              reply; an `ack` has the message's id besides
    """

    type: str
    body: Any
    need: Role | None
    grants: frozenset[Grant]
    of_user: bool
    rate: Rate | None
    reads: bool
    at_once: Answers | None
    reply: Event
    read: Callable[[bytes], Any] | None
    carry: Carry

    @property
    def sentence(self) -> str:
        """Its purpose: the docstring's first line."""
        return (self.carry.__doc__ or "").strip().partition("\n")[0]

    def is_known(self, *, in_project: bool) -> bool:
        """Whether it may be sent on a project's socket, or on a user's own."""
        return not self.of_user if in_project else self.need is None


COMMANDS: dict[str, Command] = {}
"""All that were declared, by their types."""
MORE = ("fields", "limits", "allowed", "current")
"""What a refusal may say besides: of the payload's fields, and of what somebody else changed."""
HEARD = {OTHER: WS_MESSAGES.at(direction="in", type=OTHER)}


def command(
    type: str,
    body: Any = None,
    *,
    need: Role | None = None,
    grants: frozenset[Grant] | None = None,
    of_user: bool = False,
    rate: Rate | None = None,
    reads: bool = False,
    at_once: Answers | None = None,
    reply: Event = ACK,
) -> Callable[[Carry], Carry]:
    """Declare a command: see `Command` for what each word promises."""

    if at_once is not None and (need, rate) != (None, None):
        raise TypeError(f"{type}: what is answered at once asks for nothing")
    if of_user and need is not None:
        raise TypeError(f"{type}: a user's own socket leads into no project")

    if grants is None:
        grants = TO_WRITE if rate is not None or (need or Role.VIEWER) > Role.VIEWER else TO_READ

    def declare(carry: Carry) -> Carry:
        if type in COMMANDS:
            raise TypeError(f"the command {type} is declared twice")
        read = json_reader(body, "payload") if body is not None else None
        COMMANDS[type] = Command(
            type, body, need, grants, of_user, rate, reads, at_once, reply, read, carry
        )
        HEARD[type] = WS_MESSAGES.at(direction="in", type=type)
        return carry

    return declare


# How it is carried out


def closed(connection: Connection, code: int) -> None:
    assert isinstance(connection, CommandSocket)
    WS_CLOSED.inc(code=str(code))
    connection.inbox = None
    connection.desk.hub.gone(connection)


def refused(connection: Connection, kind: str, text: bytes) -> None:
    """A message beyond the flood limit: nothing of it is done."""
    WS_DROPPED.inc(reason="flood")
    if kind == "text":
        told = "too many messages, slow down"
        _error(connection, _id_of(text), "rate_limited", told, retry_after=1)


def _id_of(text: bytes) -> msgspec.Raw | None:
    """The id of a message that is not read further; None when it has none that can be told."""
    with suppress(WarmDeskError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        check_text(text)
        message_id = decode(text).id
        if len(message_id) <= ID_LIMIT and message_id is not NO_ID:
            msgspec.json.decode(message_id)
            return message_id
    return None


def received(connection: Connection, text: bytes) -> None:
    """One text message: carried out when those before it are."""
    assert isinstance(connection, CommandSocket)
    try:
        check_text(text)
        message = decode(text)
        short = len(message.id) <= ID_LIMIT
        if short and message.id is not NO_ID:
            msgspec.json.decode(message.id)
    except (WarmDeskError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        WS_DROPPED.inc(reason="malformed")
        if isinstance(error, WarmDeskError) and text.lstrip().startswith(b"{"):
            _error(connection, None, INVALID_PAYLOAD, error.message)
            return
        _error(connection, None, "parse_error", "send a JSON object with a text as its type")
        if connection.strike(time.monotonic()):
            connection.close(Close.BAD_MESSAGES, "not the protocol")
        return
    if not short:
        WS_DROPPED.inc(reason="malformed")
        _error(connection, None, INVALID_PAYLOAD, f"an id has at most {ID_LIMIT} bytes of JSON")
        return
    HEARD.get(message.type, HEARD[OTHER]).inc()
    declared = COMMANDS.get(message.type)
    if declared is not None and not connection.inbox and _at_once(connection, declared, message):
        return
    if connection.inbox is None:
        connection.inbox = deque((message,))
        connection.desk.background.start(_carry_out(connection))
    elif len(connection.inbox) >= INBOX:
        WS_DROPPED.inc(reason="inbox_full")
        _error(connection, message.id, "rate_limited", "too many messages are waiting")
    else:
        connection.inbox.append(message)


async def _carry_out(connection: CommandSocket) -> None:
    """One message after another, until none waits."""
    while connection.inbox:
        message = connection.inbox[0]
        try:
            await _obey(connection, message)
        except Exception as error:
            refusal = as_problem(error)
            if refusal.status == 500:
                known = message.type if message.type in COMMANDS else "?"
                log.exception("socket.message_failed type=%s", known)
            code = INVALID_PAYLOAD if refusal.code in OF_PAYLOAD else refusal.code
            more = {name: refusal.extra[name] for name in MORE if name in refusal.extra}
            if "Retry-After" in refusal.headers:
                more["retry_after"] = int(refusal.headers["Retry-After"])
            _error(connection, message.id, code, refusal.message, **more)
        if connection.inbox:
            connection.inbox.popleft()
    connection.inbox = None


async def _obey(connection: CommandSocket, message: Incoming) -> None:
    declared = COMMANDS.get(message.type)
    if declared is None or not declared.is_known(in_project=bool(connection.project_id)):
        raise WarmDeskError("there is no such message type here", status=400, code="unknown_type")
    if _at_once(connection, declared, message):
        return
    require_grant(connection.actor, declared.grants)
    desk, person = connection.desk, connection.user_id
    if not declared.reads and declared.rate is None:
        await _carry(connection, declared, message)
        return
    shares = desk.reads if declared.reads else desk.writes
    if not shares.take(person):
        await shares.wait(person)
    try:
        await _carry(connection, declared, message)
    finally:
        shares.give_back(person)


async def _carry(connection: CommandSocket, declared: Command, message: Incoming) -> None:
    rate, person = declared.rate, connection.user_id
    if rate is CHANGES:
        await rate.take(connection.desk, person)
    call = _call(connection, declared, message)
    if rate is not None and rate is not CHANGES:
        await rate.take(connection.desk, person)
    _reply(connection, declared, message, await declared.carry(call))


def _at_once(connection: CommandSocket, declared: Command, message: Incoming) -> bool:
    """Answer what can be answered at once; whether it was. What is wrong with it is told in its
    turn.
    """
    if declared.at_once is None:
        return False
    try:
        payload = declared.at_once(_call(connection, declared, message))
    except WarmDeskError:
        return False
    _reply(connection, declared, message, payload)
    return payload is not None


def _call(connection: CommandSocket, declared: Command, message: Incoming) -> Call:
    body = None
    if declared.read is not None:
        body = declared.read(bytes(message.payload if message.payload != NULL else EMPTY))
    version = getattr(body, "version", None)
    context = ChangeContext(
        actor_id=connection.user_id,
        client_id=_client_id(message.client_id),
        version=version if isinstance(version, int) else None,
        project_id=connection.project_id or None,
        need=declared.need,
    )
    return Call(connection, body, context, partial(_reply, connection, declared, message))


def _client_id(sent: msgspec.Raw) -> str | None:
    """The client's name for itself; an error about its field when it is none."""
    if sent == NULL:
        return None
    try:
        name = as_text(sent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = ""
    if not CLIENT_ID.fullmatch(name):
        sentence = "must be 1 to 128 letters, digits, dots, hyphens and underscores"
        raise field_error("client_id", "bad_format", sentence)
    return name


def _reply(
    connection: CommandSocket, declared: Command, message: Incoming, payload: dict[str, Any] | None
) -> None:
    if payload is None:
        return
    if declared.reply is ACK:
        payload = {"id": message.id, **payload}
    _answer(connection, declared.reply.name, payload, message.id)


def _answer(
    connection: Connection, kind: str, payload: dict[str, Any], message_id: msgspec.Raw | None
) -> None:
    frame: dict[str, Any] = {"type": kind, "payload": payload}
    if message_id is not None and bytes(message_id) != b"null":
        frame["id"] = message_id
    connection.send_text(encode(frame))


def _error(
    connection: Connection,
    message_id: msgspec.Raw | None,
    code: str,
    text: str,
    **more: Any,
) -> None:
    payload: dict[str, Any] = {"code": code, "message": text, "id": message_id, **more}
    _answer(connection, ERROR.name, payload, message_id)
