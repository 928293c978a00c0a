"""A route and its promises. They are declared and kept by `routing.route`; the document, the
reference client's tests and all others read them from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

from aiohttp import web

from warmdesk.auth.actor import (
    HUMAN_ROLES,
    NO_SCOPE,
    TO_READ,
    TO_WRITE,
    Actor,
    GlobalRole,
    Grant,
    Role,
)
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.http.request import ACTOR, PROJECT
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.schemas import MAX_ID

STREAM = "text/event-stream"
"""The media type of a stream of events."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Need = Role | GlobalRole | frozenset[GlobalRole] | None

PUBLIC: Need = None
SIGNED_IN: Need = HUMAN_ROLES


class ApiTag(NamedTuple):
    """The group of an operation in the document, with its sentence. Tags stand there in the order
    of the resources that declare them.
    """

    name: str
    sentence: str


class Etag(Enum):
    """The use of an answer's ``ETag``."""

    VERSION = "The version, for `If-Match`."
    CONTENT = "Names this very content: with `If-None-Match` it is answered 304 while it holds."


class Scope(NamedTuple):
    """The thing that the path of an operation leads into, and the check of who may enter there."""

    name: str
    parameter: str
    """The path's parameter that names it."""
    enter: Callable[[web.Request, Desk, Actor, Any], Awaitable[None]]
    """Puts the thing into the request, or raises what the policy says; it gets the request's actor
    and the route's `need`."""


async def _enter_project(request: web.Request, desk: Desk, actor: Actor, need: Role) -> None:
    slug = request.match_info["slug"]
    request[PROJECT] = await desk.access.enter_project(desk.database, actor, slug, need)


def usual_grants(method: str, need: Need) -> frozenset[Grant]:
    """The scopes of which an API key needs one, for all that does not say others."""
    if method in ("GET", "HEAD"):
        return TO_READ
    roles = {need} if isinstance(need, GlobalRole) else need
    return NO_SCOPE if roles == {GlobalRole.ADMIN} else TO_WRITE


PROJECT_SCOPE = Scope("project", "slug", _enter_project)


Feed = Callable[[web.Request], str]
"""The channel that tells of what a request reads."""


def project_feed(request: web.Request) -> str:
    """The project's own."""
    return project_channel(request[PROJECT].id)


def reader_feed(request: web.Request) -> str:
    """The reader's: what happens in their conversations is told there."""
    return user_channel(request[ACTOR].user_id)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a person may do something: a count shared by all routes and commands that name it,
    over all processes.
    """

    name: str
    limit: int | Callable[[Settings], int]
    seconds: float = 60.0

    async def take(self, desk: Desk, person: int) -> None:
        """Count one more, or raise `TooMany`."""
        limit = self.limit if isinstance(self.limit, int) else self.limit(desk.settings)
        await desk.limits.take(self.name, person, limit=limit, seconds=self.seconds)


class ChangeRate(Rate):
    """The changes of a person: let through in blocks, so that they cost no question to Redis."""

    __slots__ = ()

    async def take(self, desk: Desk, person: int) -> None:
        await desk.pace.take(person)


class MessageRate(Rate):
    """The messages of a person, and what they cost: one that is told to many, or is long, counts
    for more.
    """

    __slots__ = ()

    async def take(self, desk: Desk, person: int) -> None:
        await desk.told.take(person)
        await super().take(desk, person)


CHANGES = ChangeRate("changes", lambda settings: settings.changes_per_minute)
"""The rate of every change, unless its route names another one."""
MESSAGES = MessageRate("message", lambda settings: settings.messages_per_minute)
"""The rate of messages to people, in projects and outside."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """A body that is not JSON: its media types, and its largest size in bytes, which may be a
    setting. `streamed`: the handler takes it as it comes (`body.chunks`, `body.parts`), and no more
    of it is in memory than one piece; otherwise its bytes are the request's ``BODY``. `form`: the
    parts of a form, by their names, as the document says them, and `required` of them.
    """

    types: tuple[str, ...]
    limit: int | Callable[[Settings], int]
    streamed: bool = False
    form: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    def most(self, settings: Settings) -> int:
        """The largest size in bytes."""
        return self.limit if isinstance(self.limit, int) else self.limit(settings)


class Parameter(NamedTuple):
    """A parameter of a path, as the document says it."""

    schema: dict[str, Any]
    example: Any
    sentence: str


class Header(NamedTuple):
    """A header that a request may have, as the document says it."""

    name: str
    sentence: str


PARAMETERS: dict[str, Parameter] = {
    "slug": Parameter({"type": "string"}, "demo", "The project's slug."),
    "card_id": Parameter({"type": "string"}, "DEMO-1", "The card's id, or its key."),
}
"""Parameters that several resources have in their paths. All others are numbers, or stand with
their route.
"""
NUMBER = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}


def parameter(route: Route, name: str) -> Parameter:
    """A parameter of the route's path."""
    thing = name.removesuffix("_id").replace("_", " ")
    plain = PARAMETERS.get(name, Parameter(NUMBER, 1, f"The {thing}'s id."))
    return route.parameters.get(name, plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An operation. ``path`` is below /api/v1.

    need        who may: PUBLIC, SIGNED_IN, a `Role` in what the path names, a `GlobalRole` or a
                set of them; a change asks for it again by `Change.enter`
    scope       what the path leads into; the project, where `need` is a `Role`
    grants      the scopes of an API key of which it needs one: to read or to write by its method,
                and none will do for what administrators change
    session     only for who signed in: no API key may, whatever its scopes
    body        a msgspec type: the JSON body is decoded and checked before the handler runs
    accepts     instead of `body`: another kind of body
    query       a msgspec Struct, as for `body`
    answer      the type of the JSON answer; nothing is answered where it is None
    brief       the type of the JSON answer to a query that says ``cards=brief``
    produces    instead of `answer`, or beside it: the media types of an answer that is not JSON
    status      of success; `also` bring the same answer
    keyed       knows the ``Idempotency-Key``: its change gives an `Outcome`
    paged       its answer has a ``Link`` to the next page, as long as there is one
    etag        its answer has an ``ETag``; one with ``id`` and ``version`` has it by itself
    made_at     the path of what it makes, for ``Location``; its names are parameters of this path,
                or fields of the body or the answer
    also_at     other paths of the same operation
    feed        the channel whose head its answer names (``Warmdesk-Seq``, ``Warmdesk-Epoch``): the
                project's, where it reads below one; None where no event tells of what it shows
    rate        what it counts as; None for an operation that changes nothing, or counts by itself
    heavy       reads more than it shows, or very much: by few connections of its own
    secret      its answer holds a token or another secret: it is never gzipped, kept sealed for its
                key, and given again to the credential alone that asked first
    waits       may hold its answer back until there is one, and then asks again whether it may
    errors      statuses of refusal beside the usual ones
    tag         what it belongs to; `example` of a body; `parameters` of its path that are neither
                shared nor numbers; `headers` that its requests have beside the shared ones
    """

    method: str
    path: str
    handler: Handler
    need: Need
    scope: Scope | None
    grants: frozenset[Grant]
    session: bool
    body: Any
    accepts: Accepts | None
    query: Any
    answer: Any
    brief: Any
    produces: tuple[str, ...]
    status: int
    also: tuple[int, ...]
    keyed: bool
    paged: bool
    etag: Etag | None
    made_at: str
    also_at: tuple[str, ...]
    feed: Feed | None
    rate: Rate | None
    heavy: bool
    waits: bool
    secret: bool
    errors: tuple[int, ...]
    tag: ApiTag
    example: Any
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    same_as: str = ""
    """The path of which this one is another."""

    def everywhere(self) -> Iterator[Route]:
        """This operation at each of its paths."""
        yield self
        for path in self.also_at:
            yield replace(self, path=path, also_at=(), same_as=self.path)

    @property
    def stays(self) -> bool:
        """Whether what it opens stays open: a socket, or a stream of events."""
        return self.status == 101 or self.produces == (STREAM,)

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD")

    @property
    def versioned(self) -> bool:
        """Whether it changes what has a version, which a client may name: ``If-Match``."""
        in_body = "version" in getattr(self.body, "__struct_encode_fields__", ())
        return self.changes and (in_body or 412 in self.errors)
