"""@route: a handler's path, role, body and answer on one line; permission, validation and Swagger
are read from it.

What a handler finds in its request, each under a key of this module: ``DESK``; ``ACTOR`` (unless
public); ``PROJECT`` where the path has ``{slug}``; ``BODY``; ``QUERY``; ``WISH`` (for changes:
actor, client id, Idempotency-Key, If-Match); ``READS``, the connections to read by, which are few
where the route says ``heavy=True``. Path ids are read with `path_id`, cards with the
queries' ``card_ref``, the client's address with `address`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from array import array
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import msgspec
from aiohttp import web
from aiohttp_apispec import docs

from warmdesk.auth.actor import PEOPLE, Actor, GlobalRole, Project, Role
from warmdesk.auth.addresses import client_address
from warmdesk.changes.kept import KEPT
from warmdesk.db.pool import Connections
from warmdesk.desk import Desk
from warmdesk.errors import BadRequest, Forbidden, NotFound, TooLarge, WarmDeskError
from warmdesk.realtime.change import Wish, body_hash
from warmdesk.realtime.handshake import ClientGone
from warmdesk.rest.bounds import NOBODY, Crowded
from warmdesk.rest.middleware import DOORMAN
from warmdesk.schemas import MAX_ID

DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
PROJECT: web.RequestKey[Project] = web.RequestKey("project", Project)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)
QUERY: web.RequestKey[Any] = web.RequestKey("query", object)
WISH: web.RequestKey[Wish] = web.RequestKey("wish", Wish)
READS: web.RequestKey[Connections] = web.RequestKey("reads", Connections)

BASE = "/api/v1"
BODY_LIMIT = 1 << 20
"""Bytes of a JSON body; a public route takes those of the setting ``public_body_bytes``."""
NAMED_LIMIT = 16 << 10
"""Bytes of a body in which the field of a bad text is looked for: a larger one is decoded once more
for that, in the loop's time."""
LONGEST_NAME = 100
"""Characters of a field's name in an answer: names are the client's own."""
LONGEST_REASON = 150
"""Characters of a sentence of msgspec's, which quotes values however long they are."""
NESTING_LIMIT = 64
"""Objects and arrays inside each other; far below what would exhaust the decoder's stack."""
IDLE_SECONDS = 10.0
"""A body that brings nothing for so long is not waited for: aiohttp itself would wait for ever."""
BODY_SECONDS = 60.0
"""A whole body may take so long, however evenly it trickles."""
TOIL = 10_000
"""Brackets and quotes of a body that count as one change."""
QUERY_LIMIT = 4096
"""Characters of one query parameter."""

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
    also: tuple[int, ...] = field(default=())


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
    also: tuple[int, ...] = (),
    paced: bool = True,
    heavy: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare an operation. ``need``: PUBLIC; SIGNED_IN; a `Role` in the path's project; a
    `GlobalRole` or a set of them.

    ``body`` and ``query`` are msgspec Structs that are decoded and checked before the handler runs;
    ``answer`` is what the document promises. The docstring's first line is the summary. ``errors``
    are statuses beside the usual ones, ``also`` those that bring the same answer as ``status``.
    ``paced``: whether it counts among the changes that its actor may make in a minute. ``heavy``:
    whether it reads more than it shows, or very much; then it reads by few connections of its own.
    """

    def declare(handler: Handler) -> Handler:
        entered = _entered(
            handler, need=need, path=path, body=body, query=query, paced=paced, heavy=heavy
        )
        summary, _, description = (handler.__doc__ or "").strip().partition("\n")
        annotated: Any = docs(tags=[tag], summary=summary, description=description.strip())(entered)
        annotated.route = Route(
            method, path, need, body, query, answer, status, tag, annotated, example, errors, also
        )
        return annotated  # type: ignore[no-any-return]

    return declare


def _entered(
    handler: Handler,
    *,
    need: Need,
    path: str,
    body: Any,
    query: Any,
    paced: bool,
    heavy: bool,
) -> Handler:
    decode = msgspec.json.Decoder(body).decode if body is not None else None
    read_query = query_reader(query) if query is not None else None
    if isinstance(need, Role) and "{slug}" not in path:
        raise TypeError(f"{path} asks for a role in a project that it does not name")

    async def share(
        request: web.Request, desk: Desk, actor: Actor, came: list[bytes]
    ) -> web.StreamResponse:
        reads = request.method in ("GET", "HEAD")
        shares, person = desk.reads if reads else desk.writes, actor.user_id
        if not shares.take(person):
            await shares.wait(person)
        try:
            if not reads:
                more = toil(came[0])
                if paced or more:
                    await desk.pace.take(person)
                    desk.pace.owe(person, more)
            await understand(request, actor, came)
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
        raw = came.pop()  # nobody needs it while the handler waits
        if decode is not None:
            request[BODY] = decode_body(decode, raw)
        if request.method not in ("GET", "HEAD"):
            wanted = request[WISH] = wish(request, actor, raw)
            if wanted.key is not None and request.method == "POST":
                await request.app[KEPT].check(wanted)

    @functools.wraps(handler)
    async def enter(request: web.Request) -> web.StreamResponse:
        desk = request.app[DESK]
        actor: Actor | None = None
        if need is not None:
            actor = await desk.identity.who(request)
            request[ACTOR] = actor
            if isinstance(need, Role):
                request[PROJECT] = await desk.access.enter_project(
                    desk.database, actor, request.match_info["slug"], need
                )
            elif actor.global_role != need and not (
                isinstance(need, frozenset) and actor.global_role in need
            ):
                raise Forbidden()
            elif actor.key_project_id is not None:
                raise Forbidden("key is scoped to a specific project")
        if read_query is not None:
            request[QUERY] = read_query(request)
        came = [b""]
        if decode is not None:
            limit = BODY_LIMIT if need is not PUBLIC else desk.settings.public_body_bytes
            came = [await read_body(request, limit=limit)]
        request[READS] = desk.database.heavy if heavy else desk.database
        if actor is None:
            await understand(request, actor, came)
            return await handler(request)
        return await share(request, desk, actor, came)

    return enter


def named(error: type[WarmDeskError], name: str, reason: str) -> WarmDeskError:
    """An error that says which field it is about, for people and for programs."""
    # It is the client's own, and may hold what UTF-8 cannot.
    name = cut(name, LONGEST_NAME).encode("utf-8", "replace").decode()
    return error(f"{name}: {reason}", fields={name: reason})


def cut(text: str, longest: int) -> str:
    """A text, or its beginning when it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# Bodies


async def read_body(request: web.Request, *, limit: int = BODY_LIMIT) -> bytes:
    """The body's bytes: JSON by its content type (415), at most `limit` (413), in time (408), and
    while there is room for bodies that are on their way (503).
    """
    content = request.content
    if request.body_exists and not content.at_eof():
        _check_type(request)
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")
    if content.is_eof() and limit <= BODY_LIMIT:
        # Small bodies have come with their head.
        raw = content.read_nowait()
        if len(raw) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return raw
    parts: list[bytes] = []
    lost = False
    bodies = request.app[DOORMAN].bounds.bodies
    actor = request.get(ACTOR)
    try:
        async with asyncio.timeout(BODY_SECONDS) as late:
            body = bodies.begins(late, NOBODY if actor is None else actor.user_id)
            try:
                while not content.at_eof():
                    async with asyncio.timeout(IDLE_SECONDS):
                        part = await content.readany()
                    parts.append(part)
                    bodies.grows(body, len(part))
                    if body.size > limit:
                        raise TooLarge(f"the body is larger than {limit} bytes")
            finally:
                bodies.ends(body)
    except TimeoutError as error:
        # aiohttp would go on waiting for the rest after the answer.
        content.feed_eof()
        if body.cut:
            raise Crowded() from None
        raise WarmDeskError("the body did not come in time", status=408) from error
    except ConnectionError as error:
        # The content keeps its error, and so this frame, for good: not with all that came.
        parts.clear()
        error.__traceback__ = None
        lost = True
    if lost:
        # It is not a server behind us that went away.
        raise ClientGone
    return b"".join(parts)


def _check_type(request: web.Request) -> None:
    kind = request.headers.get("Content-Type", "application/json")
    if kind != "application/json":
        charset = request.charset
        of_json = request.content_type == "application/json" or (
            request.content_type.startswith("application/")
            and request.content_type.endswith("+json")
        )
        if not of_json or (charset is not None and charset.lower() not in ("utf-8", "utf8")):
            raise WarmDeskError("send JSON, with Content-Type: application/json", status=415)
    # Inflating is where a small body becomes a large one.
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WarmDeskError("send the body without Content-Encoding", status=415)


def decode_body(decode: Callable[[bytes], Any], raw: bytes) -> Any:
    """The body as its type, or 400 with the field's name. No body is an empty object."""
    check_text(raw)
    try:
        return decode(raw or b"{}")
    except msgspec.ValidationError as error:
        raise as_bad_request(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(raw) from error


BRACKETS = bytes(range(256)).translate(None, b"[]{}")
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def check_text(raw: bytes) -> None:
    """400 for what PostgreSQL cannot keep or nobody means: NUL in text, nesting deeper than 64.

    Linear in the body's length, and in C; the depth is only counted where there are brackets
    enough. Lone surrogates, NaN and numbers without end are refused by the decoder.
    """
    # From the left: two backslashes are one that was meant, whatever follows.
    if b"\\u0000" in raw and b"\\u0000" in raw.replace(rb"\\", b"--"):
        raise _with_place(raw, "\0", "text must not hold NUL characters")
    if raw.count(b"[") + raw.count(b"{") > NESTING_LIMIT and depth(raw) > NESTING_LIMIT:
        raise BadRequest(f"the body is nested deeper than {NESTING_LIMIT}")


def toil(raw: bytes) -> int:
    """How many changes a body counts as beyond one, for what it takes to look for its depth: a
    mebibyte of brackets and quotes takes the loop a tenth of a second, good for anything or not.
    """
    brackets = raw.count(b"[") + raw.count(b"{")
    if len(raw) <= TOIL or brackets <= NESTING_LIMIT:
        return 0
    return (brackets + raw.count(b'"')) // TOIL


def depth(raw: bytes) -> int:
    """How deep JSON is nested. Brackets in strings do not count."""
    if b"\\" in raw:
        raw = raw.replace(rb"\\", b"--").replace(rb"\"", b"--")
    outside = b"".join(raw.split(b'"')[::2])
    steps = array("b", outside.translate(STEPS, BRACKETS))
    return max(accumulate(steps), default=0)


def _not_json(raw: bytes) -> WarmDeskError:
    """Why a body could not be read. The field of a lone surrogate is named."""
    if re.search(rb"\\u[dD][89a-fA-F]", raw):
        return _with_place(raw, "\ud800-\udfff", "text must not hold lone surrogates")
    return BadRequest("the body is not valid JSON")


def _with_place(raw: bytes, unwanted: str, reason: str) -> WarmDeskError:
    """The error for text that holds an unwanted character, with the name of its field if found."""
    if len(raw) > NAMED_LIMIT:
        return BadRequest(reason)
    holds = re.compile(f"[{unwanted}]").search
    try:
        for name, text in texts(json.loads(raw)):
            if holds(text):
                return named(BadRequest, name, reason) if name else BadRequest(reason)
    except (ValueError, RecursionError):
        return BadRequest("the body is not valid JSON")
    return BadRequest(reason)


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a decoded body and the path of its field, ``labels[2].name``, which is cut when
    it gets long.
    """
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield name, key
            yield from texts(inner, cut(f"{name}.{key}" if name else key, LONGEST_NAME))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from texts(inner, cut(f"{name}[{place}]", LONGEST_NAME))


PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
FIELD = re.compile(r"field `(\w+)`")


def as_bad_request(error: msgspec.ValidationError) -> WarmDeskError:
    """msgspec's sentence, with the field's name as a machine key. It quotes keys and values,
    however long they are.
    """
    text = str(error)
    place = PLACE.search(text)
    missing = FIELD.search(text)
    reason = cut(PLACE.sub("", text), LONGEST_REASON)
    words = [found[1] for found in (place, missing) if found and found[1]]
    if not words:
        return BadRequest(reason)
    name = ".".join(words)
    if missing and "missing" in reason:
        reason = "required"
    return named(BadRequest, name, reason)


# Queries


def query_reader(kind: Any) -> Callable[[web.Request], Any]:
    """What reads a query string as its type, or raises 400 with the parameter's name.

    A number called ``limit`` is brought into its bounds. A parameter may come twice only where the
    type has a list for it.
    """
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    known = {each.encode_name: each for each in described.fields}
    lists = {
        name
        for name, each in known.items()
        if any(isinstance(kind, msgspec.inspect.ListType) for kind in _kinds(each.type))
    }
    bounds = _bounds(known["limit"].type) if "limit" in known else None
    wordless = {
        name
        for name, each in known.items()
        if not any(isinstance(kind, WORDS) for kind in _kinds(each.type))
    }

    def read(request: web.Request) -> Any:
        if not request.query_string:
            return msgspec.convert({}, kind)
        sent: dict[str, Any] = {}
        for name, text in request.query.items():
            if name not in known:
                continue
            _check_parameter(name, text)
            if name in wordless and text.lower() == "null":
                raise named(BadRequest, name, "leave it out instead of null")
            if name in lists:
                sent.setdefault(name, []).append(text)
            elif name in sent:
                raise named(BadRequest, name, "given twice")
            else:
                sent[name] = text
        if bounds is not None and "limit" in sent:
            sent["limit"] = _clamped(sent["limit"], *bounds)
        try:
            return msgspec.convert(sent, kind, strict=False)
        except msgspec.ValidationError as error:
            raise as_bad_request(error) from error

    return read


WORDS = (
    msgspec.inspect.StrType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.ListType,
    msgspec.inspect.AnyType,
)
"""Types of parameters for which ``null`` is a text like any other, or is refused by the type. For
all others msgspec would take it for nothing.
"""


def _kinds(kind: Any) -> Iterator[Any]:
    """The plain types that a parameter's type is made of."""
    if isinstance(kind, msgspec.inspect.Metadata):
        yield from _kinds(kind.type)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from _kinds(each)
    else:
        yield kind


def _bounds(kind: Any) -> tuple[int, int]:
    """What a limit may be; without a declared bound, what fits an integer of PostgreSQL."""
    number = next(each for each in _kinds(kind) if isinstance(each, msgspec.inspect.IntType))
    least = 1 if number.ge is None else number.ge
    return least, 2**31 - 1 if number.le is None else number.le


def _clamped(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        raise named(BadRequest, "limit", "must be a whole number")
    if len(text) > 18:
        return least if text.startswith("-") else most
    return max(least, min(int(text), most))


UNKEEPABLE = re.compile("[\0\ud800-\udfff]")


def _check_parameter(name: str, text: str) -> None:
    if len(text) > QUERY_LIMIT:
        raise named(BadRequest, name, f"longer than {QUERY_LIMIT} characters")
    if UNKEEPABLE.search(text):
        raise named(BadRequest, name, "text must not hold NUL characters or lone surrogates")


# Headers and paths

ETAG = re.compile(r'(?:W/)?"([0-9]{1,10})"')
HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,200}")
CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
HIGHEST_VERSION = 2**31 - 1


def wish(request: web.Request, actor: Actor | None, raw: bytes) -> Wish:
    """What a change needs to know of its request. If-Match goes before a version in the body."""
    headers = request.headers
    key = headers.get("Idempotency-Key")
    if key is not None and not HEADER_TEXT.fullmatch(key):
        raise named(BadRequest, "Idempotency-Key", "1 to 200 visible ASCII characters")
    client = headers.get("X-Client-Id")
    version, mismatch = getattr(request.get(BODY), "version", None), 409
    if not isinstance(version, int):
        version = None
    if (match := headers.get("If-Match")) not in (None, "*"):
        tag = ETAG.fullmatch(match.strip()) if match else None
        version, mismatch = int(tag[1]) if tag else -1, 412
        if version > HIGHEST_VERSION:
            version = -1
    return Wish(
        actor_id=actor.user_id if actor else None,
        client_id=client if client and CLIENT_ID.fullmatch(client) else None,
        key=key,
        path=f"{request.method} {request.path}" if key else "",
        body_hash=body_hash(raw) if key else "",
        version=version,
        mismatch=mismatch,
        project_id=project.id if (project := request.get(PROJECT)) is not None else None,
    )


def address(request: web.Request) -> str:
    """The client's address, as the proxies that we trust tell it."""
    return client_address(request, request.app[DESK].settings.trusted_proxies)


PATH_ID = re.compile(r"[0-9]{1,16}")


def path_id(request: web.Request, name: str) -> int:
    """A numeric id of the path; anything else is not there: 404."""
    text = request.match_info[name]
    if not PATH_ID.fullmatch(text) or not 1 <= int(text) <= MAX_ID:
        raise NotFound()
    return int(text)
