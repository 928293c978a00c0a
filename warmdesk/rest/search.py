"""The search of everything that people wrote."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
from aiohttp import web

from warmdesk.db.queries import sql
from warmdesk.errors import field_error
from warmdesk.http.answers import answer, json_text
from warmdesk.http.request import ACTOR, QUERY, READS
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.search import LEAST, AnyFound, Kind, Search
from warmdesk.snippets import snippet, words_of

SEARCH = ApiTag("search", "One search for all that people wrote.")

KINDS = get_args(Kind)
"""In the order of their numbers in SQL."""


@route(
    "GET",
    "/search",
    need=SIGNED_IN,
    query=Search,
    answer=list[AnyFound],
    tag=SEARCH,
    heavy=True,
)
async def search_everything(request: web.Request) -> web.Response:
    """Find cards, comments, messages, topics and replies.

    Cards are found by key, title and description; messages are those of chats and of your
    conversations. Found is what holds every word of `q` and what you may see, at most 20 of each
    kind, the best first: whole words before parts of words, titles before other text, and of equal
    ones the last written. Case and accents make no difference; a word of two letters finds words
    that begin with it, one of one letter only itself. Archived cards are found. Where very much
    fits, the newest is looked at.
    """
    query: Search = request[QUERY]
    q = query.q.strip()
    if len(q) < LEAST:
        raise field_error(
            "q", "too_short", f"must be at least {LEAST} characters", limits={"q": {"min": LEAST}}
        )
    rows = await sql.search.find(
        request[READS],
        q=q,
        kinds=[number for number, kind in enumerate(KINDS) if query.type in (None, kind)],
        reader=request[ACTOR].user_id,
        limit=query.limit,
    )
    words = words_of(q)
    return answer(f"[{','.join(_shown(row, words) for row in rows)}]")


def _shown(row: Any, words: re.Pattern[str]) -> str:
    text, marks = snippet(row["piece"], words)
    return json_text(
        type=KINDS[row["kind"]],
        project_slug=row["project_slug"],
        card_key=row["card_key"],
        heading=row["heading"],
        snippet=text,
        marks=[{"start": start, "end": end} for start, end in marks],
        item=msgspec.Raw(row["item"].encode()),
    )
