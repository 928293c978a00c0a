"""@route: an operation of the API on a few lines; permission, validation, limits, keys and the
document are read from them.

For its promises see `Route`; for the keys that a handler finds in its request see request.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

import msgspec
from aiohttp import web
from aiohttp_apispec import docs

from warmdesk.auth.actor import (
    ALL_ROLES,
    HUMAN_ROLES,
    Actor,
    GlobalRole,
    Grant,
    Role,
    require_grant,
    require_session,
)
from warmdesk.db.heads import HeadReads
from warmdesk.desk import Desk
from warmdesk.errors import Forbidden, KeyScope, Unauthorized
from warmdesk.http.answers import WholeResponse
from warmdesk.http.body import BODY_LIMIT, body_reader, check_head, read_body, toil
from warmdesk.http.middleware import PLACEHOLDER
from warmdesk.http.query import query_reader
from warmdesk.http.request import (
    ACTOR,
    ADMIT,
    BODY,
    CONTEXT,
    DESK,
    HEAD,
    QUERY,
    READS,
    address,
    change_context,
)
from warmdesk.http.route import (
    CHANGES,
    PROJECT_SCOPE,
    PUBLIC,
    SIGNED_IN,
    Accepts,
    ApiTag,
    Etag,
    Feed,
    Handler,
    Header,
    Need,
    Parameter,
    Rate,
    Route,
    Scope,
    project_feed,
    usual_grants,
)

BASE = "/api/v1"


def route(
    method: str,
    path: str,
    *,
    tag: ApiTag,
    need: Need = SIGNED_IN,
    scope: Scope | None = None,
    grants: frozenset[Grant] | None = None,
    session: bool = False,
    body: Any = None,
    accepts: Accepts | None = None,
    query: Any = None,
    answer: Any = None,
    brief: Any = None,
    produces: tuple[str, ...] = (),
    status: int = 200,
    also: tuple[int, ...] = (),
    keyed: bool = False,
    paged: bool = False,
    etag: Etag | None = None,
    made_at: str = "",
    also_at: tuple[str, ...] = (),
    feed: Feed | msgspec.UnsetType | None = msgspec.UNSET,
    rate: Rate | None = CHANGES,
    heavy: bool = False,
    waits: bool = False,
    secret: bool = False,
    errors: tuple[int, ...] = (),
    example: Any = None,
    parameters: Mapping[str, Parameter] | None = None,
    headers: tuple[Header, ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare an operation: see `Route` for what each word promises. The handler's name is the
    operation's; its docstring's first line is the summary, and the rest its description.

    Raises `TypeError` for promises that cannot be kept together.
    """
    if rate is CHANGES and (need is PUBLIC or method in ("GET", "HEAD")):
        rate = None
    if rate is not None and need is PUBLIC:
        raise TypeError(f"{path}: a rate counts by person, and nobody has to be signed in here")
    if scope is None and isinstance(need, Role):
        scope = PROJECT_SCOPE
    if scope is not None and f"{{{scope.parameter}}}" not in path:
        raise TypeError(f"{path} asks for a role in a {scope.name} that it does not name")
    if feed is msgspec.UNSET:
        feed = project_feed if scope is PROJECT_SCOPE and method == "GET" else None
    if body is not None and accepts is not None:
        raise TypeError(f"{path} takes one kind of body")
    if etag is None and {"id", "version"} <= {*getattr(answer, "__struct_encode_fields__", ())}:
        etag = Etag.VERSION
    if keyed and method not in ("POST", "PUT", "PATCH"):
        raise TypeError(f"{path}: a key is for what may be sent twice and makes or changes")
    if made_at and status != 201:
        raise TypeError(f"{path} makes nothing that could be at {made_at}")
    if keyed and (accepts is not None or need is PUBLIC):
        raise TypeError(f"{path}: an answer is kept for a person, and for a body that has a hash")

    def declare(handler: Handler) -> Handler:
        summary, _, description = (handler.__doc__ or "").strip().partition("\n")
        declared = Route(
            method=method,
            path=path,
            handler=handler,
            need=need,
            scope=scope,
            grants=usual_grants(method, need) if grants is None else grants,
            session=session,
            body=body,
            accepts=accepts,
            query=query,
            answer=answer,
            brief=brief,
            produces=produces,
            status=status,
            also=also,
            keyed=keyed,
            paged=paged,
            etag=etag,
            made_at=made_at,
            also_at=also_at,
            feed=feed,
            rate=rate,
            heavy=heavy,
            waits=waits,
            secret=secret,
            errors=errors,
            tag=tag,
            example=example,
            parameters=parameters or {},
            headers=headers,
        )
        words = docs(tags=[tag.name], summary=summary, description=description.strip())
        annotated: Any = words(_entered(declared))
        annotated.route = replace(declared, handler=annotated)
        return annotated  # type: ignore[no-any-return]

    return declare


def asked_again(need: Need) -> Role | frozenset[GlobalRole] | None:
    """The need that a change under this route asks again, with a lock: None where all who are
    signed in may change what is their own.
    """
    if isinstance(need, GlobalRole):
        return frozenset({need})
    return None if need in (PUBLIC, HUMAN_ROLES, ALL_ROLES) else need


def _with_headers(route: Route) -> Handler:
    """The handler, with the headers that its route promises, from the path, body and answer."""
    handler, made_at, has_version = route.handler, route.made_at, route.etag is Etag.VERSION
    template, names = PLACEHOLDER.sub("{}", BASE + made_at), PLACEHOLDER.findall(made_at)
    sent = {*names} & {*getattr(route.body, "__struct_fields__", ())}
    own = {*names} - {*PLACEHOLDER.findall(route.path)} - sent
    fields = [*own, *(["version"] if has_version else [])]
    only_these = msgspec.defstruct("Fields", [(each, Any) for each in fields])
    read: Callable[[bytes], Any] = msgspec.json.Decoder(only_these).decode

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        if isinstance(response, WholeResponse) and response.status in (200, 201):
            found, named = read(cast("bytes", response.body)), request.match_info
            if has_version:
                response.headers["ETag"] = f'"{found.version}"'
            if made_at and response.status == 201:
                known = {name: getattr(found, name) for name in own} | {
                    name: getattr(request[BODY], name) for name in sent
                }
                segments = (_segment(str(known.get(name, named.get(name)))) for name in names)
                response.headers["Location"] = template.format(*segments)
        return response

    return handle


def _with_head(handler: Handler) -> Handler:
    """The handler of an answer that says where in a feed it stands."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        head = request.get(HEAD) or request[READS].head
        if head is not None and not response.prepared:
            response.headers["Warmdesk-Seq"] = str(head.seq)
            response.headers["Warmdesk-Epoch"] = head.epoch
        return response

    return handle


def _not_packed(handler: Handler) -> Handler:
    """The handler of an answer that holds a secret."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        response = await handler(request)
        if isinstance(response, WholeResponse):
            response.packs = False
        return response

    return handle


@functools.lru_cache(maxsize=1024)
def _segment(text: str) -> str:
    """A segment of a path, percent-encoded."""
    return quote(text, safe="")


def _entered(route: Route) -> Handler:
    """The handler behind all that its route promises."""
    handler, need, rate, heavy = route.handler, route.need, route.rate, route.heavy
    read = body_reader(route.body) if route.body is not None else None
    read_query = query_reader(route.query) if route.query is not None else None
    changes, accepts, scope = route.changes, route.accepts, route.scope
    handler = _with_headers(route) if route.made_at or route.etag is Etag.VERSION else handler
    handler = _not_packed(handler) if route.secret else handler
    handler = _with_head(handler) if route.feed is not None else handler
    grants, session = route.grants, route.session
    asks, keyed, waits, feed = asked_again(need), route.keyed, route.waits, route.feed
    versioned, secret = route.versioned, route.secret

    async def share(
        request: web.Request, desk: Desk, actor: Actor, came: list[bytes]
    ) -> web.StreamResponse:
        shares, person = desk.writes if changes else desk.reads, actor.user_id
        if not shares.take(person):
            await shares.wait(person)
        try:
            if changes:
                more = toil(came[0])
                if rate is CHANGES or more:
                    await desk.pace.take(person)
                    desk.pace.owe(person, more)
            await understand(request, actor, came)
            if rate is not None and rate is not CHANGES:
                await rate.take(desk, person)
            return await (read_much(request, desk, person) if heavy else handler(request))
        finally:
            shares.give_back(person)

    async def read_much(request: web.Request, desk: Desk, person: int) -> web.StreamResponse:
        if not desk.heavy_reads.take(person):
            await desk.heavy_reads.wait(person)
        try:
            return await handler(request)
        finally:
            desk.heavy_reads.give_back(person)

    async def understand(request: web.Request, actor: Actor | None, came: list[bytes]) -> None:
        raw = came.pop()  # it is freed before the handler waits
        if read is not None:
            request[BODY] = read(raw)
        elif accepts is not None and not accepts.streamed:
            request[BODY] = raw
        if changes:
            wanted = request[CONTEXT] = change_context(
                request,
                actor,
                raw,
                need=asks,
                keyed=keyed,
                versioned=versioned,
                secret=secret,
            )
            if wanted.key is not None:
                await request.app[DESK].stored_answers.check(wanted)

    async def admit(request: web.Request) -> Actor:
        desk = request.app[DESK]
        actor: Actor
        try:
            actor = await desk.identity.who(request)
        except Unauthorized as error:
            if Grant.TICKETS in grants and error.code == "unauthorized":
                raise Unauthorized("missing API key") from error
            raise
        if actor.key_id is not None:
            desk.system.check_key(actor, address(request))
        request[ACTOR] = actor
        if session:
            require_session(actor)
        require_grant(actor, grants)
        if scope is not None:
            await scope.enter(request, desk, actor, need)
        elif actor.global_role != need and not (
            isinstance(need, frozenset) and actor.global_role in need
        ):
            raise Forbidden()
        elif actor.key_project_id is not None:
            raise KeyScope()
        return actor

    @functools.wraps(handler)
    async def enter(request: web.Request) -> web.StreamResponse:
        desk = request.app[DESK]
        actor: Actor | None = None
        if need is not None:
            actor = await admit(request)
            if waits:
                request[ADMIT] = functools.partial(admit, request)
        if read_query is not None:
            request[QUERY] = read_query(request)
        came = [b""]
        if read is not None:
            limit = BODY_LIMIT if need is not PUBLIC else desk.settings.public_body_bytes
            came = [await read_body(request, limit=limit)]
        elif accepts is not None:
            most = accepts.most(desk.settings)
            if accepts.streamed:
                check_head(request, accepts.types, most)
            else:
                came = [await read_body(request, limit=most, types=accepts.types)]
        reads = desk.database.heavy if heavy else desk.database
        request[READS] = reads if feed is None else HeadReads(reads, feed(request))
        if actor is None:
            await understand(request, actor, came)
            return await handler(request)
        return await share(request, desk, actor, came)

    return enter
