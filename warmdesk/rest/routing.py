"""@route: a handler's path, role, body and answer on one line; permission, validation and Swagger are read from it.

What a handler finds in its request, each under a key of this module: ``DESK``; ``ACTOR`` (unless public); ``PROJECT`` where the
path has ``{slug}``; ``BODY``; ``QUERY``; ``WISH`` (for changes: actor, client id, Idempotency-Key, If-Match). Path ids are
read with `path_id`, cards with the queries' ``card_ref``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from aiohttp_apispec import docs

from warmdesk.auth.actor import PEOPLE, Actor, GlobalRole, Project, Role
from warmdesk.desk import Desk
from warmdesk.errors import BadRequest, Forbidden, NotFound, TooLarge, WarmDeskError
from warmdesk.realtime.change import Wish, body_hash
from warmdesk.schemas import MAX_ID

DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
PROJECT: web.RequestKey[Project] = web.RequestKey("project", Project)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)
QUERY: web.RequestKey[Any] = web.RequestKey("query", object)
WISH: web.RequestKey[Wish] = web.RequestKey("wish", Wish)

BASE = "/api/v1"
BODY_LIMIT = 1 << 20
NESTING_LIMIT = 64

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Need = Role | GlobalRole | frozenset[GlobalRole] | None

PUBLIC: Need = None
SIGNED_IN: Need = PEOPLE


@dataclass(frozen=True, slots=True)
class Route:
    """What @route was told; openapi.py and the tests read it. ``path`` is below /api/v1."""

    method: str
    path: str
    need: Need
    body: Any
    query: Any
    answer: Any
    status: int
    tag: str
    handler: Handler
    example: Any = None
    errors: tuple[int, ...] = field(default=())


def route(
    method: str,
    path: str,
    *,
    need: Need = SIGNED_IN,
    body: Any = None,
    query: Any = None,
    answer: Any = None,
    status: int = 200,
    tag: str,
    example: Any = None,
    errors: tuple[int, ...] = (),
) -> Callable[[Handler], Handler]:
    """Declare an operation. ``need``: PUBLIC; SIGNED_IN; a `Role` in the path's project; a `GlobalRole` or a set of them.

    ``body`` and ``query`` are msgspec Structs that are decoded and checked before the handler runs; ``answer`` is what the
    document promises. The docstring's first line is the summary. ``errors`` are statuses beside the usual ones.
    """


    def declare(handler: Handler) -> Handler:
        entered = _entered(handler, need=need, path=path, body=body, query=query)
        summary, _, description = (handler.__doc__ or "").strip().partition("\n")
        annotated: Any = docs(tags=[tag], summary=summary, description=description.strip())(entered)
        annotated.route = Route(
            method, path, need, body, query, answer, status, tag, annotated, example, errors
        )
        return annotated  # type: ignore[no-any-return]

    return declare


def _entered(handler: Handler, *, need: Need, path: str, body: Any, query: Any) -> Handler:
    decode = msgspec.json.Decoder(body).decode if body is not None else None
    in_project = isinstance(need, Role)

    @functools.wraps(handler)
    async def enter(request: web.Request) -> web.StreamResponse:
        desk = request.app[DESK]
        actor: Actor | None = None
        if need is not None:
            actor = await desk.identity.who(request)
            request[ACTOR] = actor
            if isinstance(need, Role):
                request[PROJECT] = await desk.access.enter_project(
                    desk.database.requests, actor, request.match_info["slug"], need
                )
            elif actor.global_role != need and not (isinstance(need, frozenset) and actor.global_role in need):
                raise Forbidden()
            elif actor.key_project_id is not None:
                raise Forbidden("key is scoped to a specific project")
        raw = b""
        if decode is not None:
            raw = await read_body(request)
            request[BODY] = decode_body(decode, raw)
        if query is not None:
            request[QUERY] = decode_query(query, request)
        if request.method not in ("GET", "HEAD"):
            request[WISH] = wish(request, actor, raw)
        return await handler(request)

    assert in_project == ("{slug}" in path) or not in_project
    return enter


async def read_body(request: web.Request, *, limit: int = BODY_LIMIT) -> bytes:
    """The body's bytes: JSON by its content type (415), at most `limit` (413)."""
    if request.content_type not in ("application/json", "application/octet-stream") and request.can_read_body:
        raise WarmDeskError("send JSON, with Content-Type: application/json", status=415)
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge(f"the body is larger than {limit} bytes") from error


def decode_body(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    """The body as its type, or 400 with the field's name."""
    check_text(raw)
    try:
        return decode(raw or b"{}")
    except msgspec.ValidationError as error:
        raise as_bad_request(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("the body is not valid JSON") from error


SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def check_text(raw: bytes) -> None:
    """400 for what PostgreSQL cannot keep or nobody means: NUL, lone surrogates, nesting deeper than 64."""
    if b"\\u0000" in raw and re.search(rb"(?<!\\)(?:\\\\)*\\u0000", raw):
        raise BadRequest("text must not hold NUL characters")
    if SURROGATE.search(raw):
        try:
            msgspec.json.decode(raw).__repr__().encode()
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise BadRequest("text must not hold lone surrogates") from error
    depth = deepest = 0
    for mark in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', raw):
        if mark in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in (b"]", b"}"):
            depth -= 1
    if deepest > NESTING_LIMIT:
        raise BadRequest(f"the body is nested deeper than {NESTING_LIMIT}")


FIELD = re.compile(r" - at `\$\.?([^`]*)`$|field `(\w+)`")


def as_bad_request(error: msgspec.ValidationError) -> BadRequest:
    """msgspec's sentence, with the field's name as a machine key."""
    text = str(error)
    found = FIELD.search(text)
    name = (found[1] or found[2] or "") if found else ""
    if not name:
        return BadRequest(text)
    reason = text.split(" - at ")[0]
    return BadRequest(f"{name}: {reason}", fields={name: reason})


def decode_query(kind: Any, request: web.Request) -> Any:
    """The query string as its type, or 400 with the parameter's name."""
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise as_bad_request(error) from error


ETAG = re.compile(r'^(?:W/)?"(\d{1,10})"$')
HEADER_TEXT = re.compile(r"^[\x21-\x7e]{1,200}$")
CLIENT_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


def wish(request: web.Request, actor: Actor | None, raw: bytes) -> Wish:
    """What a change needs to know of its request. If-Match goes before a version in the body."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not HEADER_TEXT.match(key):
        raise BadRequest("Idempotency-Key: 1 to 200 visible ASCII characters", fields={"Idempotency-Key": "invalid"})
    client = request.headers.get("X-Client-Id")
    version, mismatch = getattr(request.get(BODY), "version", None), 409
    if not isinstance(version, int):
        version = None
    if (match := request.headers.get("If-Match")) not in (None, "*"):
        tag = ETAG.match(match or "")
        version, mismatch = (int(tag[1]), 412) if tag else (-1, 412)
    return Wish(
        actor_id=actor.user_id if actor else None,
        client_id=client if client and CLIENT_ID.match(client) else None,
        key=key,
        path=f"{request.method} {request.path}" if key else "",
        body_hash=body_hash(raw) if key else "",
        version=version,
        mismatch=mismatch,
    )


def path_id(request: web.Request, name: str) -> int:
    """A numeric id of the path; anything else is not there: 404."""
    text = request.match_info[name]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:20]) <= MAX_ID:
        raise NotFound()
    return int(text)
