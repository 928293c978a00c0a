"""Lists in pages.

A list's query inherits `PageQuery`. Its SQL query is given `limit` and what the page begins after
(null: the list's beginning), and gives one row: ``items``, a JSON array, and ``next``, null on the
last page, else what the next page begins after, as a JSON array of the query's `cursor_type`.

That array travels in the cursor, behind four bytes of a digest of itself, the list's path and its
filters. So a cursor goes on in its own list alone; of another list, or mistyped, it is 400. None of
it is a secret: a cursor gives no right to anything.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from hashlib import sha256
from typing import Any, get_args

import msgspec
from aiohttp import web

from warmdesk.errors import field_error
from warmdesk.http.answers import answer, encode
from warmdesk.http.query import UNKEEPABLE
from warmdesk.http.request import QUERY
from warmdesk.schemas.chat import MessagesQuery
from warmdesk.schemas.pages import OldestFirst, PageQuery

MARK_BYTES = 4
ASKED_ANEW = frozenset({"limit", "cursor"})
"""Parameters that each page may have of its own; all others stay the same from page to page."""
SECRETS = ("api_key", "token")


def begins_after(request: web.Request) -> tuple[Any, ...]:
    """What the page begins after: the values that the cursor carries, of the types of the query's
    `cursor_type`; as many times None without a cursor. 400 for a cursor that was not given for this
    list and these filters.
    """
    query: PageQuery = request[QUERY]
    if query.cursor is None:
        return (None,) * len(get_args(query.cursor_type))
    return _decoded(request, query.cursor)


def answer_page(request: web.Request, page: Any) -> web.Response:
    """The answer to a page: its `items`, and the ``Link`` to the next page where there is one."""
    if page["next"] is None:
        return answer(page["items"])
    following = link(request, "next", cursor=_encoded(request, page["next"].encode()))
    return answer(page["items"], headers={"Link": following})


def link(request: web.Request, rel: str, **parameters: object) -> str:
    """One link of the header: this request's address with other parameters, and without
    ``around``: the pages beside it are before or after it.
    """
    url = request.rel_url.without_query_params("around", *SECRETS).update_query(
        {name: str(value) for name, value in parameters.items()}
    )
    return f'<{url}>; rel="{rel}"'


def answer_messages(request: web.Request, page: Any) -> web.Response:
    """The answer to a page of messages, which a `MessagesQuery` asked for: its `items`, and where
    the list goes on, to `older` ones before `first_id` and `newer` ones after `last_id`. The side
    that is followed is the only one then.
    """
    query: MessagesQuery = request[QUERY]
    older = newer = None
    if page["older"] and query.after is None:
        older = link(request, "next" if query.around is None else "prev", before=page["first_id"])
    if page["newer"] and (query.after is not None or query.around is not None):
        newer = link(request, "next", after=page["last_id"])
    links = [each for each in (newer, older) if each]
    return answer(page["items"], headers={"Link": ", ".join(links)} if links else None)


def answer_oldest_first(request: web.Request, page: Any) -> web.Response:
    """The answer to a page that `OldestFirst` asked for: its `items`, and if there are `more` the
    ``Link`` that goes on behind `end_id`, to older ones before a place, else to newer ones.
    """
    if not page["more"]:
        return answer(page["items"])
    query: OldestFirst = request[QUERY]
    goes_back = query.before is not None and query.after is None
    place = {"before" if goes_back else "after": page["end_id"]}
    return answer(page["items"], headers={"Link": link(request, "next", **place)})


def bound_to(path: str, query: PageQuery) -> bytes:
    """What a cursor is good for: a list by its path, and the filters of the query. `cursor_of` in
    sql/shapes/cards.sql makes cursors of it too.
    """
    return encode([path, [getattr(query, name) for name in _filters(type(query))]])


def _encoded(request: web.Request, content: bytes) -> str:
    bound = bound_to(request.path, request[QUERY])
    mark = sha256(bound + content).digest()[:MARK_BYTES]
    return urlsafe_b64encode(mark + content).decode().rstrip("=")


def _decoded(request: web.Request, cursor: str) -> tuple[Any, ...]:
    query: PageQuery = request[QUERY]
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[MARK_BYTES:]
        # Made again, because Base64 is decoded from more texts than it is encoded to.
        if _encoded(request, content) != cursor:
            raise ValueError
        values: tuple[Any, ...] = _decoder(type(query)).decode(content)
        if any(isinstance(each, str) and UNKEEPABLE.search(each) for each in values):
            raise ValueError
    except ValueError as error:
        raise field_error("cursor", "unknown", "was not given for this list") from error
    return values


@cache
def _filters(kind: type[PageQuery], /) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name not in ASKED_ANEW)


@cache
def _decoder(kind: type[PageQuery]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind.cursor_type)
