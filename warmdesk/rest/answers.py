"""Answers: JSON that PostgreSQL made goes out as it came."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from warmdesk.errors import WarmDeskError
from warmdesk.realtime.change import Outcome

encode = msgspec.json.Encoder().encode
JSON = {"Content-Type": "application/json; charset=utf-8"}


def answer(
    content: str | bytes | Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer. Text and bytes are JSON already; anything else is encoded."""
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = encode(content)
    sent = JSON if headers is None else {**JSON, **headers}
    return web.Response(body=content, status=status, headers=sent)


def answer_outcome(outcome: Outcome, *, headers: dict[str, str] | None = None) -> web.Response:
    """What a hot change answered; ``Idempotent-Replay: true`` when its key was answered before."""
    if outcome.status == 204:
        return no_content()
    response = answer(outcome.answer, status=outcome.status, headers=headers)
    if outcome.replay:
        response.headers["Idempotent-Replay"] = "true"
    return response


def json_text(**fields: Any) -> str:
    """A small JSON object, as an event's payload."""
    return encode(fields).decode()


def no_content() -> web.Response:
    """204: done, nothing to say."""
    return web.Response(status=204)


def problem(error: WarmDeskError, request_id: str | None = None) -> web.Response:
    """The one error shape: ``{"error": …}`` and machine keys beside it."""
    content: dict[str, Any] = {"error": error.message, **error.extra}
    if request_id is not None:
        content["request_id"] = request_id
    response = answer(content, status=error.status, headers=error.headers)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408:
        # What is still to come of the body would be taken for the next request.
        response.force_close()
    return response


SECRETS = ("api_key", "token")


def next_page(request: web.Request, **place: object) -> dict[str, str]:
    """The ``Link`` to a list's next page: this request's address with another place in the list."""
    url = request.rel_url.without_query_params(*SECRETS).update_query(
        {name: str(value) for name, value in place.items()}
    )
    return {"Link": f'<{url}>; rel="next"'}
