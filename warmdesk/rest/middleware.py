"""What every request passes on its way in and out: one middleware and one hook.

In: the request's id, the client's address, the clock. Out: every error becomes the one JSON shape,
every answer gets the same headers, and is counted under its route's template. A handler therefore
only raises. What it did not expect becomes a 500 that says nothing but the request's id, under
which the log has the traceback.

A socket's answer is `Adopted`: its transport is no longer aiohttp's, and nothing is done to it.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Middleware
from redis.exceptions import RedisError

from warmdesk.auth.addresses import client_address, parsed
from warmdesk.config import Settings
from warmdesk.errors import BadRequest, Conflict, NotFound, TooLarge, Unavailable, WarmDeskError
from warmdesk.log import REQUEST_ID as LOGGED_ID
from warmdesk.metrics import HTTP_REQUESTS, HTTP_SECONDS, OTHER, Series
from warmdesk.realtime.change import as_refusal
from warmdesk.rest.answers import problem
from warmdesk.rest.routing import ADDRESS, DESK, REQUEST_ID

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Hook = Callable[[web.Request, web.StreamResponse], Awaitable[None]]

ID_TEXT = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
UNMATCHED = "unmatched"

NOTHING_RUNS = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-site",
}
HSTS = "max-age=31536000; includeSubDomains"
ALLOW_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOW_HEADERS = (
    "Authorization, Content-Type, X-API-Key, X-Client-Id, X-Request-Id, If-Match, If-None-Match,"
    " Idempotency-Key"
)
EXPOSE_HEADERS = "ETag, Link, Retry-After"
PREFLIGHT_SECONDS = 3600

Counted = tuple[tuple[Series, ...], Series]


# Origins


class Origins:
    """Who may call from a browser: the listed origins, BASE_URL's, and the request's own host."""

    def __init__(self, settings: Settings) -> None:
        listed = settings.allowed_origins.replace(",", " ").split()
        self.listed = frozenset(map(origin_of, [*listed, settings.base_url])) - {""}

    def allow(self, origin: str, host: str) -> bool:
        """Is this Origin header one of ours? ``null`` never is: any sandboxed page sends it."""
        if origin in self.listed:
            return True
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and bool(host) and rest.lower() == host.lower()


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


def origin_allowed(request: web.BaseRequest, settings: Settings) -> bool:
    """May a page of this Origin open a socket? Programs send no Origin, and may."""
    origin = request.headers.get("Origin")
    return origin is None or _origins(settings).allow(origin, request.headers.get("Host", ""))


# Errors


def as_problem(error: Exception) -> WarmDeskError:
    """What the client hears of an error. Those that nobody foresaw become a bare 500."""
    if isinstance(error, asyncpg.PostgresError):
        error = _of_postgres(error)
    if isinstance(error, WarmDeskError):
        return error
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(error)
    if isinstance(error, UnicodeEncodeError):
        return BadRequest("text must not hold lone surrogates")
    if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | RedisError):
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
    if error.status == 404:
        return NotFound("there is nothing at this address")
    if isinstance(error, web.HTTPMethodNotAllowed):
        return WarmDeskError(
            f"{error.method} is not possible here", status=405, headers={"Allow": allowed(error)}
        )
    if error.status == 413:
        return TooLarge()
    return WarmDeskError((error.reason or "bad request").lower(), status=error.status)


def allowed(error: web.HTTPMethodNotAllowed) -> str:
    """The methods of a path, for ``Allow``."""
    return ", ".join([*sorted(error.allowed_methods), "OPTIONS"])


# In and out


def doorkeeper(settings: Settings) -> Middleware:
    """The middleware: ids, address and clock on the way in, errors and figures on the way out."""
    origins = _origins(settings)
    debug = settings.log_level == "debug"
    counted: dict[Any, Counted] = {}

    @lru_cache(maxsize=4096)
    def plain(remote: str) -> str:
        return str(parsed(remote) or "")

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = perf_counter()
        headers = request.headers
        name = headers.get("X-Request-Id")
        if name is None or not ID_TEXT.fullmatch(name):
            name = f"{random.getrandbits(64):016x}"
        request[REQUEST_ID] = name
        LOGGED_ID.set(name)
        if "X-Forwarded-For" in headers:
            request[ADDRESS] = client_address(request, settings.trusted_proxies)
        else:
            request[ADDRESS] = plain(request.remote or "")
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPMethodNotAllowed as error:
            if request.method == "OPTIONS":
                response = _options(request, error, origins)
            else:
                response = problem(as_problem(error))
        except Exception as error:
            if isinstance(error, web.HTTPException) and error.status < 400:
                response = error
            else:
                response = _refused(request, error)
        route = request.match_info.route
        series = counted.get(route)
        if series is None:
            template = getattr(route.resource, "canonical", UNMATCHED)
            series = _series(request.method, template)
            if template != UNMATCHED:
                counted[route] = series
        by_class, seconds = series
        took = perf_counter() - began
        by_class[min(max(response.status // 100, 1), 5) - 1].inc()
        if response.status != 101:
            seconds.observe(took)
        if debug:
            log.debug(
                "http.answered method=%s path=%s status=%d ms=%.1f",
                request.method,
                request.path,
                response.status,
                took * 1000,
            )
        return response

    return door


def _refused(request: web.Request, error: Exception) -> web.Response:
    """The answer to an error, and the line in the log that it deserves."""
    shown = as_problem(error)
    if shown.status == 500:
        log.error(
            "http.failed method=%s route=%s", request.method, _template(request), exc_info=error
        )
    elif shown.status == 503 and shown is not error:
        cause = type(error).__name__
        log.warning("http.unavailable route=%s cause=%s", _template(request), cause)
    return problem(shown, request[REQUEST_ID] if shown.status >= 500 else None)


def _template(request: web.Request) -> str:
    return str(getattr(request.match_info.route.resource, "canonical", UNMATCHED))


def _options(
    request: web.Request, error: web.HTTPMethodNotAllowed, origins: Origins
) -> web.Response:
    """204 with ``Allow``; to a browser that asks before it calls, what it may send."""
    response = web.Response(status=204, headers={"Allow": allowed(error)})
    origin = request.headers.get("Origin")
    asks = "Access-Control-Request-Method" in request.headers
    if origin and asks and origins.allow(origin, request.headers.get("Host", "")):
        response.headers["Access-Control-Allow-Methods"] = ALLOW_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOW_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response


def declare_series(method: str, template: str) -> None:
    """Give a route its lines in the metrics: at start, so that all workers have the same ones."""
    _series(method, template)


def _series(method: str, template: str) -> Counted:
    if template == UNMATCHED:
        method = OTHER
    by_class = [HTTP_REQUESTS.at(method=method, route=template, status=each) for each in CLASSES]
    return tuple(by_class), HTTP_SECONDS.at(method=method, route=template)


def finisher(settings: Settings, pages: dict[str, str]) -> Hook:
    """The hook that puts the headers on which every answer has, streams and files too.

    `pages`: the content security policies of pages that run scripts, by the start of their path;
    everything else may run nothing.
    """
    origins = _origins(settings)
    usual = dict(SECURITY)
    if settings.tls_cert or settings.base_url.startswith("https://"):
        usual["Strict-Transport-Security"] = HSTS
    everywhere = tuple(usual.items())

    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        for name, value in everywhere:
            headers[name] = value
        path = request.path
        policy = NOTHING_RUNS
        if not path.startswith("/api/"):
            policy = next((p for start, p in pages.items() if path.startswith(start)), policy)
        headers["Content-Security-Policy"] = policy
        headers["X-Request-Id"] = request[REQUEST_ID]
        if "Cache-Control" not in headers:
            kept = "ETag" in headers or "Last-Modified" in headers
            headers["Cache-Control"] = "private, no-cache" if kept else "no-store"
        # What an answer holds depends on the origin even when none was sent.
        headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None and origins.allow(origin, request.headers.get("Host", "")):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Access-Control-Expose-Headers"] = EXPOSE_HEADERS
        if request.app[DESK].draining:
            # The next request should go to another process, or to the successor of this one.
            response.force_close()
            headers["Connection"] = "close"

    return finish
