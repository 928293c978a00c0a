"""Attachments: files on cards. What is sent as a file is what it holds, whatever it is called.

Nobody reaches a file but through here: each download asks whether its reader sees what has it.
"""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.http.answers import answer_outcome
from warmdesk.http.downloads import answer_file
from warmdesk.http.forms import form_of_files, reading
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, CONTEXT, DESK, PROJECT, QUERY, READS, card_ref, path_id
from warmdesk.http.route import ApiTag, Etag
from warmdesk.http.routing import route
from warmdesk.media import OTHER
from warmdesk.schemas.attachments import Attachment, ListAttachments, Uploaded

ATTACHMENTS = ApiTag("attachments", "Files on cards, comments and messages.")

ON_CARD = form_of_files()


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/attachments",
    need=Role.VIEWER,
    query=ListAttachments,
    answer=list[Attachment],
    tag=ATTACHMENTS,
    paged=True,
)
async def list_attachments(request: web.Request) -> web.Response:
    """List a card's files, the newest first. Those of its comments stand with these."""
    (before,) = begins_after(request)
    page = await sql.attachments.page(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        before=before,
        limit=request[QUERY].limit,
    )
    return answer_page(request, page)


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/attachments",
    need=Role.MEMBER,
    accepts=ON_CARD,
    answer=Uploaded,
    status=201,
    made_at="/attachments/{id}",
    tag=ATTACHMENTS,
)
async def attach_to_card(request: web.Request) -> web.Response:
    """Put a file on a card, or as many as ten: parts `file` of a form.

    A file has at most 25 MiB, a card 100 files, a project 10 GiB of them, unless the installation
    says otherwise; more is 413. What the file is called is kept as its name, and what it is is
    found out by its content.
    """
    desk, project_id, card = request.app[DESK], request[PROJECT].id, card_ref(request)
    # Before the file is taken in, which may last.
    await sql.attachments.live_card(desk.database, project_id=project_id, card=card)
    async with reading(request, ON_CARD) as form, desk.files.keeping(form.uploads):
        return answer_outcome(
            await desk.changes.hot(
                sql.attachments.attach_to_card,
                request[CONTEXT],
                "card/attachment",
                card=card,
                **form.columns,
                most=desk.settings.files_per_card,
                most_bytes=desk.settings.project_file_bytes,
            )
        )


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/attachments/{attachment_id}",
    need=Role.VIEWER,
    produces=(OTHER,),
    also=(206,),
    etag=Etag.CONTENT,
    tag=ATTACHMENTS,
)
async def download_of_card(request: web.Request) -> web.StreamResponse:
    """Download a file of a card, or of one of its comments: all of it or a part."""
    found = await sql.attachments.of_card(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        id=path_id(request, "attachment_id"),
    )
    return await answer_file(request, request.app[DESK].files, found)


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/attachments/{attachment_id}",
    need=Role.MEMBER,
    status=204,
    tag=ATTACHMENTS,
)
async def detach_from_card(request: web.Request) -> web.Response:
    """Take a file of your own off a card; project admins take off anybody's."""
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.attachments.detach_from_card,
            request[CONTEXT],
            "card/attachment",
            card=card_ref(request),
            attachment_id=path_id(request, "attachment_id"),
        )
    )


@route(
    "GET",
    "/attachments/{attachment_id}",
    produces=(OTHER,),
    also=(206,),
    etag=Etag.CONTENT,
    tag=ATTACHMENTS,
)
async def download_attachment(request: web.Request) -> web.StreamResponse:
    """Download a file, wherever it is: all of it or a part.

    Pictures and PDF are shown by browsers, everything else is saved.
    """
    found = await sql.attachments.seen(
        request[READS], id=path_id(request, "attachment_id"), reader=request[ACTOR].user_id
    )
    return await answer_file(request, request.app[DESK].files, found)
