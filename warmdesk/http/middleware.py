"""The wrapper around each handler, which every request passes on its way in and out.

In: the request's id and the clock. Out: every error becomes the one JSON shape, every answer gets
the same headers and is counted under its route's template. A handler therefore only raises. An
unexpected error becomes a 500 that says nothing but the request's id, under which the log has the
traceback.

Handlers are wrapped when the routes are collected. As an aiohttp middleware with a hook the wrapper
would cost a request twice as much. A socket's answer, 101, is left alone: its transport is no
longer aiohttp's, and nothing is done to it.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from time import monotonic, perf_counter
from urllib.parse import urlsplit

import asyncpg
from aiohttp import HttpVersion10, HttpVersion11, web
from redis.exceptions import RedisError

from warmdesk.auth.addresses import client_address
from warmdesk.auth.identity import Request
from warmdesk.config import Settings
from warmdesk.db.pool import BROKEN, BUDGET, Budget
from warmdesk.desk import Desk
from warmdesk.errors import (
    BadRequest,
    Conflict,
    NotFound,
    TooLarge,
    Unavailable,
    WarmDeskError,
    cut,
)
from warmdesk.http.answers import CommonHeaders, WholeResponse, problem
from warmdesk.http.bounds import Bounds
from warmdesk.http.request import ACTOR
from warmdesk.log import REQUEST_ID, TRACE, trace_of
from warmdesk.metrics import HTTP
from warmdesk.realtime.change import as_refusal

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

UNDERSTOOD = (HttpVersion11, HttpVersion10)
ID_TEXT = re.compile(r"[A-Za-z0-9._-]{1,128}")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
LAST_ID = re.compile(r".*/([\w-]+)/\{(\w+)_id\}")
LOGGED_ID = re.compile(r"[0-9]{1,16}")
NOBODY = 0
"""In the log, the user id of a request that nobody signed in for."""
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Server": "WarmDesk",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer; a page that runs scripts says so in a policy of its own."""
HSTS = "max-age=31536000; includeSubDomains"
ALLOW_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOW_HEADERS = (
    "Authorization, Content-Type, X-API-Key, X-Client-Id, X-Request-Id, If-Match, If-None-Match,"
    " Idempotency-Key, Last-Event-ID, traceparent, tracestate"
)
EXPOSE_HEADERS = (
    "ETag, Idempotent-Replay, Link, Location, RateLimit, RateLimit-Policy, Retry-After,"
    " Warmdesk-Epoch, Warmdesk-Seq, X-Request-Id"
)
PREFLIGHT_SECONDS = "3600"
ORIGINS_TOLD = 20
"""Origins whose refusal is logged within a minute."""
ORIGIN_AGAIN_SECONDS = 60.0
LONGEST_ORIGIN = 200
"""Characters of an origin in the log."""

# Origins


class Origins:
    """The origins that may call: the listed ones, BASE_URL's and the request's own host."""

    def __init__(self, settings: Settings) -> None:
        listed = settings.allowed_origins.replace(",", " ").split()
        self.listed = frozenset(map(origin_of, [*listed, settings.base_url])) - {""}
        self._told: dict[str, float] = {}

    def allow(self, origin: str, host: str) -> bool:
        """Is this Origin header one of ours? ``null`` never is: any sandboxed page sends it. Nor is
        one beyond ASCII, which no browser sends and no answer could repeat.
        """
        if not origin.isascii():
            return False
        if origin in self.listed:
            return True
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and bool(host) and rest.lower() == host.lower()

    def tell(self, origin: str) -> None:
        """Log that this origin was refused, and by which setting: each once a minute, and at most
        `ORIGINS_TOLD` of them, whatever clients make up.
        """
        now, shown = monotonic(), json.dumps(cut(origin, LONGEST_ORIGIN))
        while self._told:
            oldest = next(iter(self._told))
            if now - self._told[oldest] < ORIGIN_AGAIN_SECONDS:
                break
            del self._told[oldest]
        if shown not in self._told and len(self._told) < ORIGINS_TOLD:
            self._told[shown] = now
            log.warning("origins.refused origin=%s setting=allowed_origins", shown)


def origin_of(address: str) -> str:
    """``https://host:port`` of an address, as browsers write it; empty when it has none."""
    parts = urlsplit(address.strip())
    usual = {"http": 80, "https": 443}
    if parts.scheme not in usual or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, usual[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


@lru_cache(maxsize=8)
def _origins(settings: Settings) -> Origins:
    return Origins(settings)


def origin_allowed(request: Request, settings: Settings) -> bool:
    """May a page of this Origin open a socket? Programs send no Origin, and may. Two make a
    question of which one counts, which no browser asks.
    """
    origins = request.headers.getall("Origin", ())
    if not origins:
        return True
    host, known = request.headers.get("Host", ""), _origins(settings)
    if len(origins) == 1 and known.allow(origins[0], host):
        return True
    known.tell(origins[0])
    return False


def own_origin(request: Request, settings: Settings) -> bool:
    """Does a page of this very installation ask? Those of `allowed_origins` are others."""
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True
    origins = request.headers.getall("Origin", ())
    if len(origins) != 1:
        return False
    if origins[0] == origin_of(settings.base_url):
        return True
    scheme, _, rest = origins[0].partition("://")
    host = request.headers.get("Host", "")
    return scheme in ("http", "https") and bool(host) and rest.lower() == host.lower()


# Errors


class RefusedBefore(Exception):
    """A refusal from before aiohttp had the request: `error`, under this request id, and when it
    began by `perf_counter`.
    """

    def __init__(self, error: Exception, name: str, began: float) -> None:
        super().__init__(name)
        self.error, self.name, self.began = error, name, began


def as_problem(error: Exception) -> WarmDeskError:
    """The refusal that the client gets for an error. Unforeseen errors become a bare 500."""
    if isinstance(error, asyncpg.PostgresError):
        error = _of_postgres(error)
    if isinstance(error, WarmDeskError):
        return error
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(error)
    if isinstance(error, UnicodeEncodeError):
        return BadRequest("text must not hold lone surrogates")
    if isinstance(error, (*BROKEN, RedisError)):
        if isinstance(error, ValueError):
            # asyncpg could not encode a value for its parameter.
            return BadRequest("a value is out of range")
        return Unavailable()
    return WarmDeskError()


def _of_postgres(error: asyncpg.PostgresError) -> Exception:
    if isinstance(error, asyncpg.DataError):
        return BadRequest("a value is out of range")
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict("somebody else made the same thing at the same moment")
    return as_refusal(error)


def _of_aiohttp(error: web.HTTPException) -> WarmDeskError:
    if error.status == 413:
        return TooLarge()
    return WarmDeskError((error.reason or "bad request").lower(), status=error.status)


# In and out


class Responses:
    """What the wrappers of one application take from its settings."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.settings = settings = desk.settings
        self.origins = _origins(settings)
        self.bounds = Bounds(settings)
        self.debug = settings.log_level == "debug"
        self.prefix = secrets.token_hex(4)
        self.numbers = itertools.count(1)
        secured = settings.tls_cert or settings.base_url.startswith("https://")
        always = SECURITY | ({"Strict-Transport-Security": HSTS} if secured else {})
        self.common = CommonHeaders(always)

    def name(self, request: Request) -> str:
        """The request's id: the one that a proxy gave it, or one that no other process gives."""
        name = request.headers.get("X-Request-Id")
        if name is None or not ID_TEXT.fullmatch(name):
            name = f"{self.prefix}-{next(self.numbers)}"
        return name

    def begin(self, request: Request) -> str:
        """The request's id, which from now on is in the log, and so is the trace that it names."""
        name = self.name(request)
        REQUEST_ID.set(name)
        TRACE.set(
            trace_of(request.headers.getall("traceparent"))
            if "traceparent" in request.headers
            else None
        )
        return name

    def finish_headers(
        self, request: web.BaseRequest, response: web.StreamResponse, name: str
    ) -> None:
        """Put on the headers that every answer has."""
        headers = response.headers
        whole = response if isinstance(response, WholeResponse) else None
        own = headers.get("Content-Security-Policy")
        if whole is not None and own is None:
            whole.common = self.common
        else:
            headers.update(self.common.headers)
            if own is not None:
                headers["Content-Security-Policy"] = own
        headers["X-Request-Id"] = name
        cacheable = "ETag" in headers
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "private, no-cache" if cacheable else "no-store"
        origin = request.headers.get("Origin")
        # A cached answer depends on the origin and the encoding even when none was named.
        if whole is not None and whole.varies(cacheable=cacheable):
            headers["Vary"] = "Accept-Encoding, Origin"
        elif "Vary" in headers:
            headers["Vary"] = ", ".join((*headers.getall("Vary"), "Origin"))
        elif origin is not None or cacheable:
            headers["Vary"] = "Origin"
        if origin is not None and self._allows(request, origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Access-Control-Expose-Headers"] = EXPOSE_HEADERS
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                headers["Access-Control-Allow-Methods"] = ALLOW_METHODS
                headers["Access-Control-Allow-Headers"] = ALLOW_HEADERS
                headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
        if self.desk.draining:
            # The next request should go to another process, or to the successor of this one.
            response.force_close()

    def _allows(self, request: web.BaseRequest, origin: str) -> bool:
        host = request.headers.get("Host", "")
        if self.origins.allow(origin, host) and len(request.headers.getall("Origin")) == 1:
            return True
        self.origins.tell(origin)
        return False


RESPONSES: web.AppKey[Responses] = web.AppKey("responses", Responses)


def wrap_handler(handler: Handler, method: str, template: str) -> Handler:
    """The wrapped handler. `template`: the path as it was declared."""
    answers, thing = HTTP.at(method, template), named_last(template)

    async def wrapped(request: web.Request) -> web.StreamResponse:
        began = perf_counter()
        responses = request.app[RESPONSES]
        name = responses.begin(request)
        budget = Budget()
        BUDGET.set(budget)
        try:
            if request.version not in UNDERSTOOD:
                raise WarmDeskError("send HTTP/1.1 or HTTP/1.0", status=400)
            response = await handler(request)
        except RefusedBefore as early:
            name, began = early.name, early.began
            REQUEST_ID.set(name)
            response = refused(early.error, f"{method} {template}", name, responses.desk)
        except NotFound as error:
            if error.message == NotFound.message and thing:
                # However it is spelt: what cannot be an id, and an id that nothing has.
                error.message = f"{thing} not found"
            response = refused(error, f"{method} {template}", name, responses.desk)
        except Exception as error:
            response = refused(error, f"{method} {template}", name, responses.desk)
        finally:
            budget.over = True
        if request.version not in UNDERSTOOD:
            response.force_close()
        if response.status != 101 and not response.prepared:
            responses.finish_headers(request, response, name)
            if isinstance(response, WholeResponse) and response.worth_packing:
                await response.pack(request)
        took = perf_counter() - began - budget.waited
        answers.count(response.status, took)
        if responses.debug:
            actor = request.get(ACTOR)
            log.debug(
                "http.answered method=%s path=%s status=%d ms=%.1f client=%s user_id=%d",
                method,
                declared(template, request.match_info),
                response.status,
                took * 1000,
                client_address(request, responses.settings.trusted_proxies),
                actor.user_id if actor is not None else NOBODY,
            )
        return response

    return wrapped


def named_last(template: str) -> str:
    """What a path leads to, by its last id: ``member`` for ``/members/{user_id}``, ``reply`` for
    ``/replies/{reply_id}``; empty without an id.
    """
    found = LAST_ID.match(template)
    if found is None:
        return ""
    many, name = found.groups()
    return many[:-1] if many.endswith("s") and not many.endswith("ies") else name


def declared(template: str, values: Mapping[str, str]) -> str:
    """A path as the log has it: as it was declared, with its numeric ids. All other words of a path
    may be secrets, or made up.
    """

    def shown(placeholder: re.Match[str]) -> str:
        value = values.get(placeholder[1], "")
        return value if LOGGED_ID.fullmatch(value) else placeholder[0]

    return PLACEHOLDER.sub(shown, template)


def refused(error: Exception, route: str, name: str, desk: Desk) -> web.StreamResponse:
    """The answer to an error, and the line in the log that it deserves. That a server behind us is
    away is no news for each request: see `Outage`.
    """
    if isinstance(error, web.HTTPException) and error.status < 400:
        return web.Response(status=error.status, headers=error.headers)
    shown = as_problem(error)
    if shown.status == 500:
        log.error('http.failed route="%s"', route, exc_info=error)
    elif shown.status == 503 and shown is not error:
        of_redis = isinstance(error, RedisError)
        (desk.bus if of_redis else desk.database).outage.doubt(route, error)
    return problem(shown, name if shown.status >= 500 else None)


async def not_found(request: web.Request) -> web.Response:
    """The answer where no handler is: 404, 405 with ``Allow``, and 204 to OPTIONS."""
    methods = request.match_info.get("methods")
    if methods is None:
        raise NotFound("there is nothing at this address")
    if request.method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": methods})
    raise WarmDeskError(
        f"{request.method[:20]} is not possible here", status=405, headers={"Allow": methods}
    )
