"""Checklists: the steps of a card."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.http.answers import answer, answer_outcome
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, READS, card_ref, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.schemas.checklist import MOST, AddItem, ChangeItem, ChecklistItem, ItemOrder

CHECKLIST = ApiTag("checklist", "The steps of a card.")


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/checklist",
    need=Role.VIEWER,
    answer=list[ChecklistItem],
    tag=CHECKLIST,
)
async def list_checklist(request: web.Request) -> web.Response:
    """List a card's checklist, in order."""
    return answer(
        await sql.checklist.all(
            request[READS], project_id=request[PROJECT].id, card=card_ref(request)
        )
    )


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/checklist",
    need=Role.MEMBER,
    body=AddItem,
    answer=ChecklistItem,
    status=201,
    made_at="/projects/{slug}/cards/{card_id}/checklist/{id}",
    tag=CHECKLIST,
    keyed=True,
)
async def add_item(request: web.Request) -> web.Response:
    """Add an item to a card's checklist."""
    body: AddItem = request[BODY]
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.checklist.create,
            request[CONTEXT],
            "card/item",
            card=card_ref(request),
            body=body.body.strip(),
            position=body.position,
            most=MOST,
        )
    )


@route(
    "PATCH",
    "/projects/{slug}/cards/{card_id}/checklist/reorder",
    need=Role.MEMBER,
    body=ItemOrder,
    answer=list[ChecklistItem],
    tag=CHECKLIST,
    example={"item_ids": [3, 1, 2]},
)
async def reorder_checklist(request: web.Request) -> web.Response:
    """Put a checklist in another order: `item_ids` names all items, first to last.

    Their positions are 1000, 2000 … afterwards.
    """
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.checklist.reorder,
            request[CONTEXT],
            "card",
            card=card_ref(request),
            item_ids=request[BODY].item_ids,
        )
    )


@route(
    "PUT",
    "/projects/{slug}/cards/{card_id}/checklist/{item_id}",
    need=Role.MEMBER,
    body=ChangeItem,
    answer=ChecklistItem,
    tag=CHECKLIST,
    example={"is_completed": True},
    keyed=True,
)
async def change_item(request: web.Request) -> web.Response:
    """Tick an item, write it anew, or move it."""
    body: ChangeItem = request[BODY]
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.checklist.update,
            request[CONTEXT],
            "card/item",
            card=card_ref(request),
            item_id=path_id(request, "item_id"),
            body=None if body.body is UNSET else body.body.strip(),
            is_completed=None if body.is_completed is UNSET else body.is_completed,
            position=None if body.position is UNSET else body.position,
        )
    )


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/checklist/{item_id}",
    need=Role.MEMBER,
    status=204,
    tag=CHECKLIST,
)
async def delete_item(request: web.Request) -> web.Response:
    """Delete an item."""
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.checklist.delete,
            request[CONTEXT],
            "card/item",
            card=card_ref(request),
            item_id=path_id(request, "item_id"),
        )
    )
