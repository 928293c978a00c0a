"""What a handler finds in its request, each under a key of this module: ``DESK``; ``ACTOR`` (unless
public); ``PROJECT`` where the path has ``{slug}``; ``BODY``; ``QUERY``; ``CONTEXT`` (for changes:
actor, client id, Idempotency-Key, If-Match); ``READS``, the connections to read by, which are few
where the route says ``heavy=True``; where it says ``waits=True``, ``ADMIT``, which asks again
whether the request may. Path ids are read with `path_id`, a card's id or key with `card_ref`, the
client's address with `address`. What is read by ``READS`` below a project or a conversation says
by itself where in the feed it stands; an answer from elsewhere says it by `shown_at`.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from warmdesk.auth.actor import Actor, EnteredProject
from warmdesk.auth.addresses import Origin, client_address, origin
from warmdesk.db.heads import Head
from warmdesk.desk import Desk
from warmdesk.errors import NotFound, field_error
from warmdesk.http.encodings import plain_tags
from warmdesk.realtime.change import ChangeContext, Need, body_hash
from warmdesk.schemas import MAX_ID

DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
PROJECT: web.RequestKey[EnteredProject] = web.RequestKey("project", EnteredProject)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)
QUERY: web.RequestKey[Any] = web.RequestKey("query", object)
CONTEXT: web.RequestKey[ChangeContext] = web.RequestKey("context", ChangeContext)
READS: web.RequestKey[Any] = web.RequestKey("reads", object)
HEAD: web.RequestKey[Head] = web.RequestKey("head", Head)
ADMIT: web.RequestKey[Any] = web.RequestKey("admit", object)

ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
VERSION = re.compile("[0-9]{1,10}")
HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,200}")
CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
HIGHEST_VERSION = 2**31 - 1


def change_context(
    request: web.Request,
    actor: Actor | None,
    raw: bytes,
    *,
    need: Need = None,
    keyed: bool = False,
    versioned: bool = False,
    secret: bool = False,
) -> ChangeContext:
    """The context of the request's change. If-Match goes before a version in the body. Where
    nothing has a version it is refused: who sends it relies on it.
    """
    headers = request.headers
    key = headers.get("Idempotency-Key")
    if key is not None and not HEADER_TEXT.fullmatch(key):
        raise field_error("Idempotency-Key", "bad_format", "1 to 200 visible ASCII characters")
    client = headers.get("X-Client-Id")
    version, conflict_status = getattr(request.get(BODY), "version", None), 409
    if not isinstance(version, int):
        version = None
    if (match := headers.get("If-Match")) not in (None, "*"):
        if not versioned:
            raise field_error("If-Match", "unknown", "there is no version here to compare it with")
        version, conflict_status = _version_of(match), 412
    return ChangeContext(
        actor_id=actor.user_id if actor else None,
        client_id=client if client and CLIENT_ID.fullmatch(client) else None,
        key=key if keyed else None,
        path=f"{request.method} {request.path}" if key and keyed else "",
        body_hash=body_hash(raw) if key and keyed else "",
        version=version,
        conflict_status=conflict_status,
        project_id=project.id if (project := request.get(PROJECT)) is not None else None,
        need=need,
        keyed=keyed,
        ip=address(request),
        sealed_for=actor.credential if secret and keyed and actor else "",
    )


def _version_of(match: str) -> int:
    """The version that an If-Match asks for (RFC 9110, 13.1.1), -1 when it is none of ours. Of
    several the highest: versions only grow, so no lower one can be what stands there now.
    """
    if ETAG.sub("", match).strip(" \t,") or '"' not in match:
        raise field_error("If-Match", "bad_format", 'the version in quotes, like "3"')
    tags = (tag for tag in ETAG.findall(plain_tags(match)) if VERSION.fullmatch(tag))
    version = max(map(int, tags), default=-1)
    return version if version <= HIGHEST_VERSION else -1


def address(request: web.Request) -> str:
    """The client's address, as the proxies that we trust tell it."""
    return client_address(request, request.app[DESK].settings.trusted_proxies)


def client_origin(request: web.Request) -> Origin:
    """Where the request comes from: address and program, for the login history."""
    return origin(address(request), request.headers.get("User-Agent"))


def shown_at(request: web.Request, seq: int, epoch: str) -> None:
    """Say which event of its feed is the last that the answer shows."""
    request[HEAD] = Head(seq, epoch)


PATH_ID = re.compile(r"[1-9][0-9]{0,15}")


def path_id(request: web.Request, name: str) -> int:
    """A numeric id of the path; anything else is not there: 404."""
    text = request.match_info[name]
    if not PATH_ID.fullmatch(text) or not 1 <= int(text) <= MAX_ID:
        raise NotFound()
    return int(text)


CARD_REF = re.compile(r"[A-Za-z0-9]{1,20}(-[0-9]{1,9})?", re.ASCII)


def card_ref(request: web.Request) -> str:
    """What the path calls a card, an id or a key; 404 for what can be neither."""
    ref = request.match_info["card_id"]
    if not CARD_REF.fullmatch(ref):
        raise NotFound("card not found")
    return ref
