"""What hangs on a card, one by one: assignees, labels, tags, watchers.

A card's own update writes the same lists, and does it for these too: see write_lists in
sql/changes/cards.sql. Watchers are shown by the card alone, so no event tells of them.
"""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.changes import cards
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, Impossible, NotFound, WarmDeskError, field_error
from warmdesk.http.answers import answer, no_content
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, PROJECT, card_ref, path_id
from warmdesk.http.route import ApiTag, Parameter
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.schemas.cards import Assignee, CardSummary, NewTag, Tag, tag_names
from warmdesk.schemas.users import UserRef

CARD_LISTS = ApiTag("card lists", "What hangs on a card: assignees, labels, tags, watchers.")

CARD = "/projects/{slug}/cards/{card_id}"
TAG_ID = re.compile("[0-9]{1,18}")
read_tags = msgspec.json.Decoder(list[Tag]).decode


# Assignees


@route(
    "PUT",
    f"{CARD}/assignee",
    need=Role.MEMBER,
    body=Assignee,
    answer=list[UserRef],
    tag=CARD_LISTS,
    example={"user_id": 1},
    errors=(412,),
)
async def set_assignee(request: web.Request) -> web.Response:
    """Assign a card to one person alone, or with `null` to nobody."""
    user_id = request[BODY].user_id
    wanted = [] if user_id is None else [user_id]
    shown, _ = await _write(request, "assignees", assignee_ids=wanted)
    return answer(shown)


@route(
    "POST",
    f"{CARD}/assignees/{{user_id}}",
    need=Role.MEMBER,
    answer=list[UserRef],
    tag=CARD_LISTS,
    errors=(412,),
)
async def add_assignee(request: web.Request) -> web.Response:
    """Assign a card to somebody more: a member, or an administrator. It answers with all."""
    shown, _ = await _write(request, "assignees", add_assignee_ids=[path_id(request, "user_id")])
    return answer(shown)


@route(
    "DELETE",
    f"{CARD}/assignees/{{user_id}}",
    need=Role.MEMBER,
    status=204,
    tag=CARD_LISTS,
    errors=(412,),
)
async def remove_assignee(request: web.Request) -> web.Response:
    """Take somebody off a card."""
    user_id = path_id(request, "user_id")
    return await _remove(request, "assignee", remove_assignee_ids=[user_id])


# Labels


@route(
    "POST",
    f"{CARD}/labels/{{label_id}}",
    need=Role.MEMBER,
    answer=CardSummary,
    tag=CARD_LISTS,
    errors=(412,),
)
async def add_label(request: web.Request) -> web.Response:
    """Hang a label on a card."""
    shown, _ = await _write(request, "card", add_label_ids=[path_id(request, "label_id")])
    return answer(shown)


@route(
    "DELETE",
    f"{CARD}/labels/{{label_id}}",
    need=Role.MEMBER,
    status=204,
    tag=CARD_LISTS,
    errors=(412,),
)
async def remove_label(request: web.Request) -> web.Response:
    """Take a label off a card."""
    return await _remove(request, "label", remove_label_ids=[path_id(request, "label_id")])


# Tags


@route(
    "POST",
    f"{CARD}/tags",
    need=Role.MEMBER,
    body=NewTag,
    answer=Tag,
    status=201,
    also=(200,),
    made_at=f"{CARD}/tags/{{id}}",
    tag=CARD_LISTS,
    example={"name": "urgent"},
    errors=(412,),
)
async def add_tag(request: web.Request) -> web.Response:
    """Put a tag on a card. It answers 200 when it is there already."""
    (name,) = tag_names([request[BODY].name], "name")
    shown, is_new = await _write(request, "tags", add_tags=[name])
    tag = next(each for each in read_tags(shown) if each.name == name)
    return answer(tag, status=201 if is_new else 200)


@route(
    "DELETE",
    f"{CARD}/tags/{{tag}}",
    need=Role.MEMBER,
    status=204,
    tag=CARD_LISTS,
    errors=(412,),
    parameters={"tag": Parameter({"type": "string"}, "urgent", "The tag's id, or its name.")},
)
async def remove_tag(request: web.Request) -> web.Response:
    """Take a tag off a card."""
    called = request.match_info["tag"]
    try:
        names = tag_names([called])
    except BadRequest:
        raise NotFound("tag not found") from None
    if TAG_ID.fullmatch(called):
        return await _remove(request, "tag", remove_tags=names, remove_tag_id=int(called))
    return await _remove(request, "tag", remove_tags=names)


async def _write(request: web.Request, shows: str, **lists: object) -> tuple[str, bool]:
    try:
        return await cards.write_list(
            request.app[DESK].changes, request[CONTEXT], card_ref(request), shows, **lists
        )
    except WarmDeskError as error:
        if "add_label_ids" in error.extra.get("fields", {}):
            raise NotFound("label not found") from error
        for name, sent in (
            ("add_assignee_ids", "user_id"),
            ("assignee_ids", "user_id"),
            ("add_tags", "name"),
        ):
            cards.rename_field(error, name, sent)
        raise


async def _remove(request: web.Request, noun: str, **lists: object) -> web.Response:
    _, was_there = await _write(request, "version", **lists)
    if not was_there:
        raise NotFound(f"the card has no such {noun}")
    return no_content()


# Watchers


@route(
    "POST",
    f"{CARD}/watchers/{{user_id}}",
    need=Role.MEMBER,
    answer=list[UserRef],
    tag=CARD_LISTS,
)
async def add_watcher(request: web.Request) -> web.Response:
    """Let a member watch a card. It answers with all who do."""
    return await _watch(request, path_id(request, "user_id"))


@route("DELETE", f"{CARD}/watchers/{{user_id}}", need=Role.MEMBER, status=204, tag=CARD_LISTS)
async def remove_watcher(request: web.Request) -> web.Response:
    """Let somebody watch a card no longer."""
    return await _unwatch(request, path_id(request, "user_id"))


@route("POST", f"{CARD}/watch", need=Role.VIEWER, answer=list[UserRef], tag=CARD_LISTS)
async def watch_card(request: web.Request) -> web.Response:
    """Watch a card yourself."""
    return await _watch(request, request[ACTOR].user_id)


@route("DELETE", f"{CARD}/watch", need=Role.VIEWER, status=204, tag=CARD_LISTS)
async def unwatch_card(request: web.Request) -> web.Response:
    """Watch a card no longer."""
    return await _unwatch(request, request[ACTOR].user_id)


async def _watch(request: web.Request, user_id: int) -> web.Response:
    project_id, ref = request[PROJECT].id, card_ref(request)

    async def work(change: Change) -> str:
        connection = change.connection
        await change.enter()
        card = await sql.cards.find(connection, project_id=project_id, card=ref)
        if not await sql.cards.may_watch(connection, project_id=project_id, user_id=user_id):
            raise field_error("user_id", "not_a_member", "only members watch a card", Impossible)
        await sql.cards.watch(connection, id=card["id"], user_id=user_id)
        watchers: str = await sql.cards.watchers(connection, id=card["id"])
        return watchers

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


async def _unwatch(request: web.Request, user_id: int) -> web.Response:
    project_id, ref = request[PROJECT].id, card_ref(request)

    async def work(change: Change) -> None:
        await change.enter()
        card = await sql.cards.find(change.connection, project_id=project_id, card=ref)
        if not await sql.cards.unwatch(change.connection, id=card["id"], user_id=user_id):
            raise NotFound("the card has no such watcher")

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()
