"""Comments: what people write on a card."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, field_error
from warmdesk.http.answers import answer, answer_outcome
from warmdesk.http.pages import link
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, READS, card_ref, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.comments import (
    Comment,
    CommentsQuery,
    EditComment,
    TimeOfComment,
    WriteComment,
)

COMMENTS = ApiTag("comments", "What people write on a card.")

PAGE_BYTES = 8 << 20
"""JSON of a page of comments; one comment of itself is below."""


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/comments",
    need=Role.VIEWER,
    query=CommentsQuery,
    answer=list[Comment],
    tag=COMMENTS,
    paged=True,
)
async def list_comments(request: web.Request) -> web.Response:
    """List a card's comments, oldest first: from the first on, after one, or before one.

    A page of long comments ends early. As long as there is more, a `Link` with `rel="next"` goes
    on: before a comment to older ones, else to newer ones.
    """
    query: CommentsQuery = request[QUERY]
    page = await sql.comments.page(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        before=query.before,
        after=query.after,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer(page["items"], headers=_links(request, query, page))


def _links(request: web.Request, query: CommentsQuery, page: Any) -> dict[str, str] | None:
    """Where the list goes on; the side that was asked for is the one followed."""
    if query.before is not None and query.after is None:
        return {"Link": link(request, "next", before=page["first_id"])} if page["older"] else None
    return {"Link": link(request, "next", after=page["last_id"])} if page["newer"] else None


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/comments",
    need=Role.MEMBER,
    body=WriteComment,
    answer=Comment,
    status=201,
    made_at="/projects/{slug}/cards/{card_id}/comments/{id}",
    tag=COMMENTS,
    example={"body": "The hinge is worn.", "time_spent_minutes": 30},
    keyed=True,
)
async def write_comment(request: web.Request) -> web.Response:
    """Write a comment, and log the time that went into it."""
    body: WriteComment = request[BODY]
    minutes = _minutes(body) or 0
    if not minutes and not body.body.strip():
        raise field_error("body", "blank", "must not be blank")
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.comments.create,
            request[CONTEXT],
            "card/comment",
            card=card_ref(request),
            body=body.body,
            minutes=minutes,
        )
    )


def _minutes(body: TimeOfComment) -> int | None:
    """The time that was sent, under one of its names; None when none was, and 0 for null. 400 for
    two times.
    """
    sent = {name: getattr(body, name) for name in TimeOfComment.__struct_fields__}
    given = {name: value or 0 for name, value in sent.items() if value is not UNSET}
    if len(set(given.values())) > 1:
        raise BadRequest("give one time", fields=dict.fromkeys(given, "conflicting"))
    return next(iter(given.values()), None)


@route(
    "PUT",
    "/projects/{slug}/cards/{card_id}/comments/{comment_id}",
    need=Role.MEMBER,
    body=EditComment,
    answer=Comment,
    tag=COMMENTS,
    example={"body": "Both hinges are worn."},
    errors=(409, 412),
    keyed=True,
)
async def edit_comment(request: web.Request) -> web.Response:
    """Edit a comment of your own, its text or its time."""
    body: EditComment = request[BODY]
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.comments.update,
            request[CONTEXT],
            "card/comment",
            card=card_ref(request),
            comment_id=path_id(request, "comment_id"),
            body=None if body.body is UNSET else body.body,
            minutes=_minutes(body),
        )
    )


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/comments/{comment_id}",
    need=Role.MEMBER,
    status=204,
    tag=COMMENTS,
    errors=(412,),
)
async def delete_comment(request: web.Request) -> web.Response:
    """Delete a comment of your own; project admins delete anybody's."""
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.comments.delete,
            request[CONTEXT],
            "card/comment",
            card=card_ref(request),
            comment_id=path_id(request, "comment_id"),
        )
    )
