"""@route: a handler's path, role, body and answer on one line; permission, validation and Swagger
are read from it. What a handler finds in its request: see request.py.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from aiohttp_apispec import docs

from warmdesk.auth.actor import PEOPLE, Actor, GlobalRole, Role
from warmdesk.desk import Desk
from warmdesk.errors import Forbidden
from warmdesk.http.body import BODY_LIMIT, decode_body, read_body, toil
from warmdesk.http.query import query_reader
from warmdesk.http.request import ACTOR, BODY, DESK, PROJECT, QUERY, READS, WISH, wish

BASE = "/api/v1"

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
                await request.app[DESK].stored_answers.check(wanted)

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
