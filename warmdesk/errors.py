"""Errors that speak the client's words: each has a status and a message; anything else is a 500
that says nothing.

SQL functions refuse with ``refuse(status, message, extra)`` (SQLSTATE ``WDnnn``); `refusal` makes
the same object of it.
"""

from __future__ import annotations

import json
from typing import Any

LONGEST_NAME = 100
"""Characters of a field's name in an answer: names are the client's own."""


class WarmDeskError(Exception):
    """A refusal and its answer: ``status``, ``message``, machine keys in ``extra``, ``headers``.
    ``closes``: the connection ends with the answer.
    """

    closes = False
    status = 500
    message = "internal error"

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.message = message or type(self).message
        self.status = status or type(self).status
        self.headers = headers or {}
        self.extra = extra
        super().__init__(self.message)


class BadRequest(WarmDeskError):
    """400: the request itself is wrong: malformed, a wrong type, a missing field."""

    status = 400
    message = "bad request"


class Unauthorized(WarmDeskError):
    """401: no credential, or one that is no longer good."""

    status = 401
    message = "sign in first"


class Forbidden(WarmDeskError):
    """403: known, but not allowed."""

    status = 403
    message = "your role does not allow this"


class NotFound(WarmDeskError):
    """404: not there, or not for this actor; strangers cannot tell which."""

    status = 404
    message = "not found"


class Conflict(WarmDeskError):
    """409: it collides with what is there."""

    status = 409
    message = "conflict"


class TooLarge(WarmDeskError):
    """413: more bytes than the limit."""

    status = 413
    message = "the body is too large"


class Impossible(WarmDeskError):
    """422: well formed, but it cannot be."""

    status = 422
    message = "this cannot be done"


class Archived(Impossible):
    """422: the project takes no changes while it is archived."""

    def __init__(self) -> None:
        super().__init__("the project is archived", code="project_archived")


class TooMany(WarmDeskError):
    """429: over a rate limit; ``retry_after`` in seconds. ``policy``: a limit's name, how many it
    allows, and in how many seconds, told as the IETF's draft of RateLimit headers says.
    """

    status = 429
    message = "too many requests, try again later"

    def __init__(
        self,
        retry_after: float = 1,
        message: str | None = None,
        *,
        code: str = "rate_limited",
        policy: tuple[str, int, float] | None = None,
    ) -> None:
        wait = max(1, round(retry_after))
        headers = {"Retry-After": str(wait)}
        if policy is not None:
            name, most, seconds = policy
            headers["RateLimit-Policy"] = f'"{name}";q={most};w={round(seconds)}'
            headers["RateLimit"] = f'"{name}";r=0;t={wait}'
        super().__init__(message, headers=headers, code=code)


class Unavailable(WarmDeskError):
    """503: a server behind us is away or busy; the same request may work soon."""

    status = 503
    message = "temporarily unavailable, try again"

    def __init__(self, message: str | None = None, *, retry_after: int = 1, **extra: Any) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)}, **extra)


def refusal(sqlstate: str, message: str, detail: str | None) -> WarmDeskError:
    """The error that an SQL function raised with ``refuse``: SQLSTATE ``WD404`` is a 404."""
    extra = json.loads(detail) if detail else {}
    return WarmDeskError(message, status=int(sqlstate[2:]), **extra)


def stored_refusal(status: int, text: str) -> WarmDeskError:
    """The error that PostgreSQL gives as an answer: JSON of the message and the machine keys."""
    extra = json.loads(text)
    return WarmDeskError(extra.pop("error"), status=status, **extra)


def field_error(error: type[WarmDeskError], name: str, reason: str) -> WarmDeskError:
    """An error that says which field it is about, for people and for programs."""
    # It is the client's own, and may hold what UTF-8 cannot.
    name = cut(name, LONGEST_NAME).encode("utf-8", "replace").decode()
    return error(f"{name}: {reason}", fields={name: reason})


def cut(text: str, longest: int) -> str:
    """A text, or its beginning when it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
