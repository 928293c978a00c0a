"""Attachments: files on cards, comments and messages. What is sent as a file is what it holds,
whatever it is called.

Nobody reaches a file but through here: each download asks whether its reader sees what has it.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from warmdesk.auth.actor import TO_READ, Role
from warmdesk.auth.identity import LINK_SECONDS
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, Fault, fields_error
from warmdesk.http.answers import answer, answer_outcome
from warmdesk.http.downloads import answer_file, answer_preview
from warmdesk.http.forms import Form, form_of_files, reading
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import (
    ACTOR,
    CONTEXT,
    DESK,
    PROJECT,
    QUERY,
    READS,
    address,
    card_ref,
    path_id,
)
from warmdesk.http.route import PUBLIC, ApiTag, Etag, Rate
from warmdesk.http.routing import BASE, route
from warmdesk.media import OTHER
from warmdesk.realtime.change import Outcome
from warmdesk.schemas import MAX_ID
from warmdesk.schemas.attachments import (
    FILES,
    MOST_UPLOADS,
    Attachment,
    Download,
    FileLink,
    LinkedDownload,
    ListAttachments,
    Uploaded,
)

ATTACHMENTS = ApiTag("attachments", "Files on cards, comments and messages.")

ON_CARD = form_of_files()
ANYWHERE = form_of_files("owner_type", "owner_id", "project", "conversation_id")
LINKS = Rate("file-link", 600)
OWNERS = ("card_comment", "chat_message", "conv_message")
NUMBER = re.compile("[0-9]{1,16}")


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
    """List a card's files, the newest first. A comment's files stand with the comment."""
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
    await sql.cards.find(desk.database, project_id=project_id, card=card)
    async with reading(request, ON_CARD) as form, desk.files.keeping(form.uploads):
        return answer_outcome(
            await desk.changes.hot(
                sql.attachments.attach_to_card,
                request[CONTEXT],
                "card/attachment",
                card=card,
                **form.columns,
                most=desk.settings.files_per_card,
                most_bytes=desk.most_file_bytes,
            )
        )


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/attachments/{attachment_id}",
    need=Role.VIEWER,
    query=Download,
    produces=(OTHER,),
    also=(206,),
    etag=Etag.CONTENT,
    tag=ATTACHMENTS,
)
async def download_of_card(request: web.Request) -> web.StreamResponse:
    """Download a file of a card, or of one of its comments.

    All of it or a part, or a smaller picture.
    """
    found = await sql.attachments.of_card(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        id=path_id(request, "attachment_id"),
    )
    return await _answer(request, found)


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
    query=Download,
    produces=(OTHER,),
    also=(206,),
    etag=Etag.CONTENT,
    tag=ATTACHMENTS,
)
async def download_attachment(request: web.Request) -> web.StreamResponse:
    """Download a file, wherever it is: all of it or a part, or a smaller picture.

    Pictures and PDF are shown by browsers, everything else is saved.
    """
    found = await sql.attachments.seen(
        request[READS], id=path_id(request, "attachment_id"), reader=request[ACTOR].user_id
    )
    return await _answer(request, found)


@route(
    "POST",
    "/attachments",
    accepts=ANYWHERE,
    answer=Uploaded,
    status=201,
    made_at="/attachments/{id}",
    errors=(404, 422),
    tag=ATTACHMENTS,
)
async def upload_attachment(request: web.Request) -> web.Response:
    """Upload a file, or as many as ten.

    They are for a comment or a message that is to come, or for one of your own. With `project` (a
    slug) or `conversation_id` nobody but you sees a file until a comment or a message names it in
    `attachment_ids`; after 24 hours without it is gone. With `owner_type` (`card_comment`,
    `chat_message` or `conv_message`) and `owner_id` it is there at once.
    """
    desk = request.app[DESK]
    async with reading(request, ANYWHERE) as form:
        keep = _keep if _place(form) else _attach
        async with desk.files.keeping(form.uploads):
            return answer_outcome(await keep(request, form))


def _place(form: Form) -> bool:
    """Whether a form names a place, and no owner. 400 for anything but one of the two."""
    places = [name for name in ("project", "conversation_id") if name in form.fields]
    owner = [name for name in ("owner_type", "owner_id") if name in form.fields]
    if len(places) + bool(owner) != 1:
        raise BadRequest("send either project, or conversation_id, or owner_type with owner_id")
    if len(owner) == 1:
        missing = "owner_id" if owner == ["owner_type"] else "owner_type"
        raise fields_error({missing: Fault("required", "must be there")})
    return bool(places)


def _id(form: Form, name: str) -> int:
    text = form.fields[name]
    if not NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_ID:
        raise fields_error({name: Fault("bad_format", "must be an id")})
    return int(text)


async def _keep(request: web.Request, form: Form) -> Outcome:
    """Keep files for whatever takes them."""
    desk, actor, project_id, conversation_id = request.app[DESK], request[ACTOR], None, None
    if "project" in form.fields:
        entered = await desk.access.enter_project(
            desk.database, actor, form.fields["project"], Role.MEMBER
        )
        project_id = entered.id
    else:
        conversation_id = _id(form, "conversation_id")
    return await desk.changes.call(
        sql.attachments.keep_uploads,
        request[CONTEXT],
        "attachment",
        actor=actor.user_id,
        project_id=project_id,
        conversation_id=conversation_id,
        **form.columns,
        most=MOST_UPLOADS,
        most_bytes=desk.most_file_bytes,
    )


async def _attach(request: web.Request, form: Form) -> Outcome:
    """Put files on a comment or a message."""
    desk, owner_type = request.app[DESK], form.fields["owner_type"]
    if owner_type not in OWNERS:
        words = f"must be one of {', '.join(OWNERS)}"
        raise fields_error({"owner_type": Fault("not_one_of", words, allowed=OWNERS)})
    return await desk.changes.call(
        sql.attachments.attach_to_owner,
        request[CONTEXT],
        "attachment",
        actor=request[ACTOR].user_id,
        client=request[CONTEXT].client_id,
        owner_type=owner_type,
        owner_id=_id(form, "owner_id"),
        **form.columns,
        most=FILES,
        most_bytes=desk.most_file_bytes,
    )


@route("DELETE", "/attachments/{attachment_id}", status=204, errors=(422,), tag=ATTACHMENTS)
async def delete_attachment(request: web.Request) -> web.Response:
    """Take away a file of your own, wherever it is; project admins take away anybody's."""
    context = request[CONTEXT]
    return answer_outcome(
        await request.app[DESK].changes.call(
            sql.attachments.detach,
            context,
            "attachment",
            actor=context.actor_id,
            client=context.client_id,
            attachment_id=path_id(request, "attachment_id"),
        )
    )


# Links


@route(
    "POST",
    "/attachments/{attachment_id}/link",
    answer=FileLink,
    grants=TO_READ,
    secret=True,
    rate=LINKS,
    errors=(429,),
    tag=ATTACHMENTS,
)
async def link_attachment(request: web.Request) -> web.Response:
    """Get an address of a file that a browser can show or save.

    For 60 seconds it needs no credential, as often as it is asked for. Your right to see the file
    is asked again each time. A picture's takes `&size=320`.
    """
    desk, actor, file_id = request.app[DESK], request[ACTOR], path_id(request, "attachment_id")
    found = await sql.attachments.seen(desk.database, id=file_id, reader=actor.user_id)
    ticket = await desk.identity.file_link(actor, found["id"])
    url = f"{BASE}/attachments/{file_id}/file?ticket={ticket}"
    return answer({"url": url, "expires_in": LINK_SECONDS})


@route(
    "GET",
    "/attachments/{attachment_id}/file",
    need=PUBLIC,
    query=LinkedDownload,
    produces=(OTHER,),
    also=(206,),
    etag=Etag.CONTENT,
    errors=(401, 403),
    tag=ATTACHMENTS,
)
async def download_by_link(request: web.Request) -> web.StreamResponse:
    """Download a file by a link that somebody who sees it got.

    One that was got with an API key is good from where keys may be used.
    """
    desk, file_id = request.app[DESK], path_id(request, "attachment_id")
    actor = await desk.identity.by_file_link(request[QUERY].ticket, file_id)
    desk.system.check_key(actor, address(request))
    found = await sql.attachments.seen(desk.database, id=file_id, reader=actor.user_id)
    return await _answer(request, found)


async def _answer(request: web.Request, found: Any) -> web.StreamResponse:
    desk = request.app[DESK]
    if request[QUERY].size is not None:
        return await answer_preview(request, desk.pictures, found)
    return await answer_file(request, desk.files, found)
