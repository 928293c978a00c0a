"""Comments: what people write on a card."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.changes.mentions import named
from warmdesk.db.queries import sql
from warmdesk.errors import Fault, field_error, fields_error
from warmdesk.http.answers import answer_outcome
from warmdesk.http.pages import answer_oldest_first
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, READS, card_ref, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.comments import (
    Comment,
    EditComment,
    TimeOfComment,
    WriteComment,
)
from warmdesk.schemas.pages import OldestFirst

COMMENTS = ApiTag("comments", "What people write on a card.")

PAGE_BYTES = 8 << 20
"""JSON of a page of comments; one comment of itself is below."""


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/comments",
    need=Role.VIEWER,
    query=OldestFirst,
    answer=list[Comment],
    tag=COMMENTS,
    paged=True,
)
async def list_comments(request: web.Request) -> web.Response:
    """List a card's comments, oldest first: from the first on, after one, or before one.

    A page of long comments ends early. As long as there is more, a `Link` with `rel="next"` goes
    on: before a comment to older ones, else to newer ones.
    """
    query: OldestFirst = request[QUERY]
    page = await sql.comments.page(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        before=query.before,
        after=query.after,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_oldest_first(request, page)


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
    """Write a comment, and log the time that went into it.

    `attachment_ids` are uploads of yours.
    """
    body: WriteComment = request[BODY]
    text, minutes = _text(body.body), _minutes(body) or 0
    uploads = list(dict.fromkeys(body.attachment_ids))
    if not (text or minutes or uploads):
        raise field_error("body", "blank", "must not be blank")
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.comments.create,
            request[CONTEXT],
            "card/comment",
            card=card_ref(request),
            body=text,
            minutes=minutes,
            names=named(text),
            uploads=uploads,
        )
    )


def _text(body: str) -> str:
    """A body as it is kept: blank is empty, as it may be beside a time or files."""
    return body if body.strip() else ""


def _minutes(body: TimeOfComment) -> int | None:
    """The time that was sent, under one of its names; None when none was, and 0 for null. 400 for
    two times.
    """
    sent = {name: getattr(body, name) for name in TimeOfComment.__struct_fields__}
    given = {name: value or 0 for name, value in sent.items() if value is not UNSET}
    if len(set(given.values())) > 1:
        raise fields_error(dict.fromkeys(given, Fault("conflicting", "two times are sent")))
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
    desk, comment_id = request.app[DESK], path_id(request, "comment_id")
    text = None if body.body is UNSET else _text(body.body)
    names, version = named(text or ""), None
    if text and names:
        context = request[CONTEXT]
        old = await sql.comments.text(desk.database, project_id=context.project, id=comment_id)
        names, version = named(text, old["body"]), old["version"]
    return answer_outcome(
        await desk.changes.hot(
            sql.comments.update,
            request[CONTEXT],
            "card/comment",
            card=card_ref(request),
            comment_id=comment_id,
            body=text,
            minutes=_minutes(body),
            names=names,
            names_of=version,
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
