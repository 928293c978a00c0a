"""Cards: a column's, a project's, one with everything on it; written, moved, deleted, restored."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.changes import cards
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, Impossible, NotFound, field_error
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.query import parts_of
from warmdesk.http.request import (
    ACTOR,
    BODY,
    CONTEXT,
    DESK,
    PROJECT,
    QUERY,
    READS,
    card_ref,
    path_id,
)
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import CARD_DELETED, CARD_RESTORED
from warmdesk.schemas.cards import (
    Activity,
    ActivityQuery,
    CardBrief,
    CardDetail,
    CardFilter,
    Cards,
    CardsQuery,
    CardSummary,
    CreateCard,
    DeletedQuery,
    History,
    HistoryQuery,
    MoveCard,
    ReorderCard,
    ShowCard,
    ShownCard,
    TransferCard,
    UpdateCard,
    UpdateCards,
    day,
)

HANGING = frozenset({"attachments", "checklist", "comments", "links"})
"""What a card is shown with unless something else is asked for."""
CARDS = ApiTag("cards", "The cards: pieces of work.")

PAGE_BYTES = 8 << 20
"""JSON of a page of cards; one card of itself is below."""
SEARCH_BYTES = 16 << 20
"""Text that one page of a search looks at: a quarter of a second's work for PostgreSQL."""
SEARCH_CARDS = 2_000
"""Cards that one page of a search looks at, of those that may hold what is sought."""
ACTIVITY_REACH = 5000
"""Facts that one page of a project's history looks at, those of deleted cards too."""


@route(
    "GET",
    "/projects/{slug}/columns/{column_id}/cards",
    need=Role.VIEWER,
    query=CardsQuery,
    answer=list[CardSummary],
    brief=list[CardBrief],
    tag=CARDS,
    heavy=True,
    paged=True,
    errors=(422,),
)
async def list_cards(request: web.Request) -> web.Response:
    """List a column's cards by position: from the first, or from the one behind `after_card_id`.

    It goes on from the `cards_next` of a board too, which is a `cursor` of this list. With
    `cards=brief` what is nothing is left out of them.
    """
    query: CardsQuery = request[QUERY]
    after_position, after_id, after_version = begins_after(request)
    page = await sql.cards.in_column(
        request[READS],
        project_id=request[PROJECT].id,
        column_id=path_id(request, "column_id"),
        include_closed=query.include_closed,
        include_archived=query.include_archived,
        after_position=after_position,
        after_id=after_id,
        after_version=after_version,
        brief=query.cards == "brief",
        after_card_id=query.after_card_id if query.cursor is None else None,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    if page["is_gone"]:
        raise field_error("after_card_id", "unknown", "no card of this column", Impossible)
    return answer_page(request, page)


@route(
    "POST",
    "/projects/{slug}/columns/{column_id}/cards",
    need=Role.MEMBER,
    body=CreateCard,
    answer=CardSummary,
    status=201,
    made_at="/projects/{slug}/cards/{id}",
    tag=CARDS,
    example={"title": "Fix the door", "priority": "high", "due_date": "2026-05-01"},
    keyed=True,
)
async def create_card(request: web.Request) -> web.Response:
    """Create a card in a column: at its end, or at the place given."""
    return answer_outcome(
        await cards.create(
            request.app[DESK].changes,
            request[CONTEXT],
            path_id(request, "column_id"),
            request[BODY],
        )
    )


@route(
    "GET",
    "/projects/{slug}/cards",
    need=Role.VIEWER,
    query=CardFilter,
    answer=list[CardSummary],
    tag=CARDS,
    heavy=True,
    paged=True,
)
async def find_cards(request: web.Request) -> web.Response:
    """List a project's cards that fit every filter: the oldest first, or in the order of `sort`.

    A search (`q`) finds archived cards too, and shows the card whose key it is before all others;
    `archived` asks for these alone, or for none of them.
    In very long texts it may end a page early, even an empty one: as long as there is a `Link` with
    `rel="next"`, it goes on there.
    """
    query: CardFilter = request[QUERY]
    assignee = query.assignee
    with_archived = bool(query.q) if query.include_archived is None else query.include_archived
    *after, after_id = begins_after(request)
    if query.q and query.sort:
        raise field_error("sort", "conflicting", "a search has its own order")
    filters: dict[str, Any] = {
        "project_id": request[PROJECT].id,
        "column_id": query.column_id,
        "assignee": request[ACTOR].user_id if assignee == "me" else assignee and int(assignee),
        "label": query.label,
        "closed": query.closed,
        "due_before": day(query.due_before, "due_before") if query.due_before else None,
        "include_archived": with_archived if query.archived is None else query.archived,
        "only_archived": bool(query.archived),
        "after_id": after_id,
        "limit": query.limit,
        "bytes": PAGE_BYTES,
    }
    if query.q:
        page = await sql.cards.search(
            request[READS],
            **filters,
            q=query.q,
            search_bytes=SEARCH_BYTES,
            search_cards=SEARCH_CARDS,
        )
    elif query.sort:
        first, second, third = after
        page = await sql.cards.sorted(
            request[READS], **filters, sort=query.sort, first=first, second=second, third=third
        )
    else:
        page = await sql.cards.in_project(request[READS], **filters)
    return answer_page(request, page)


@route(
    "PATCH",
    "/projects/{slug}/cards",
    need=Role.MEMBER,
    body=UpdateCards,
    answer=Cards,
    tag=CARDS,
    example={"ids": [1, 2], "change": {"closed": True}},
)
async def update_cards(request: web.Request) -> web.Response:
    """Change many cards in the same way: all of them, or none where one cannot be.

    Each card that changes has its own event, in board order. Fifty cards count as one change.
    """
    changes = request.app[DESK].changes
    return answer(await cards.update_many(changes, request[CONTEXT], request[BODY]))


@route(
    "GET",
    "/projects/{slug}/cards/deleted",
    need=Role.ADMIN,
    query=DeletedQuery,
    answer=list[CardSummary],
    tag=CARDS,
    heavy=True,
    paged=True,
)
async def list_deleted_cards(request: web.Request) -> web.Response:
    """List the cards that were deleted, the last one first."""
    query: DeletedQuery = request[QUERY]
    before_us, before_id = begins_after(request)
    page = await sql.cards.deleted(
        request[READS],
        project_id=request[PROJECT].id,
        before_us=before_us,
        before_id=before_id,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_page(request, page)


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}",
    need=Role.VIEWER,
    query=ShowCard,
    answer=ShownCard,
    tag=CARDS,
)
async def show_card(request: web.Request) -> web.Response:
    """Show a card with everything that hangs on it. The ETag is its version, for If-Match.

    `include` names the parts that you want: comments, checklist, attachments, links, history. Its
    history is only there if you ask for it. The key of a card that went to another project shows it
    to who may see it there.
    """
    ref = card_ref(request)
    try:
        card = await _detail(request, request[PROJECT].id, ref)
    except NotFound as error:
        if "-" not in ref:
            raise
        try:
            desk, actor, here = request.app[DESK], request[ACTOR], request[PROJECT].id
            there, _ = await cards.where_it_went(desk.access, desk.database, actor, here, ref)
        except NotFound:
            raise error from None
        card = await _detail(request, there.id, ref)
    return answer(card["card"])


async def _detail(request: web.Request, project_id: int, ref: str) -> Any:
    include = request[QUERY].include
    parts = HANGING if include is UNSET else parts_of(include, HANGING | {"history"})
    return await sql.cards.detail(
        request[READS],
        project_id=project_id,
        card=ref,
        reader=request[ACTOR].user_id,
        parts=sorted(parts),
    )


@route(
    "PUT",
    "/projects/{slug}/cards/{card_id}",
    need=Role.MEMBER,
    body=UpdateCard,
    answer=CardDetail,
    tag=CARDS,
    example={"title": "Fix the front door", "closed": True},
    errors=(409, 412),
    keyed=True,
)
async def update_card(request: web.Request) -> web.Response:
    """Change the fields that are sent. `column_id` moves the card to that column's end."""
    return answer_outcome(
        await cards.update(
            request.app[DESK].changes,
            request[CONTEXT],
            card_ref(request),
            request[BODY],
        )
    )


@route(
    "PATCH",
    "/projects/{slug}/cards/{card_id}/move",
    need=Role.MEMBER,
    body=MoveCard,
    answer=CardSummary,
    tag=CARDS,
    example={"column_id": 2, "index": 0},
    errors=(409, 412),
    keyed=True,
)
async def move_card(request: web.Request) -> web.Response:
    """Move a card to a column: to its end, to an index counted from 0, or beside another card."""
    return await _move(request)


@route(
    "PATCH",
    "/projects/{slug}/cards/{card_id}/reorder",
    need=Role.MEMBER,
    body=ReorderCard,
    answer=CardSummary,
    tag=CARDS,
    example={"index": 0},
    errors=(409, 412),
    keyed=True,
)
async def reorder_card(request: web.Request) -> web.Response:
    """Give a card another place in its column: an index from 0, or beside another card."""
    if all(getattr(request[BODY], name) is None for name in cards.PLACES):
        raise BadRequest(
            f"give one of {', '.join(cards.PLACES)}", fields=dict.fromkeys(cards.PLACES, "required")
        )
    return await _move(request)


async def _move(request: web.Request) -> web.Response:
    return answer_outcome(
        await cards.move(
            request.app[DESK].changes,
            request[CONTEXT],
            card_ref(request),
            request[BODY],
        )
    )


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}",
    need=Role.MEMBER,
    status=204,
    tag=CARDS,
    errors=(412,),
)
async def delete_card(request: web.Request) -> web.Response:
    """Delete a card; a project admin can bring it back."""
    project_id, ref, context = request[PROJECT].id, card_ref(request), request[CONTEXT]

    async def work(change: Change) -> None:
        await change.enter()
        card = await sql.cards.lock(change.connection, project_id=project_id, card=ref)
        await sql.cards.require_version(
            change.connection,
            id=card["id"],
            version=context.version,
            conflict_status=context.conflict_status,
        )
        await sql.cards.delete(change.connection, id=card["id"])
        await _tell(change, project_id, card["id"], "deleted")
        change.emit(
            project_channel(project_id),
            CARD_DELETED,
            json_text(card_id=card["id"], column_id=card["column_id"], key=card["key"]),
            entity=entity("card", card["id"]),
        )
        change.finish(
            sql.notifications.forget_card,
            actor=context.actor_id,
            project_id=project_id,
            id=card["id"],
        )

    await request.app[DESK].changes.run(context, work)
    return no_content()


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/restore",
    need=Role.ADMIN,
    answer=CardSummary,
    tag=CARDS,
    keyed=True,
)
async def restore_card(request: web.Request) -> web.Response:
    """Bring a deleted card back: to the end of its column, or of the first if that is gone."""
    project_id, ref = request[PROJECT].id, card_ref(request)

    async def work(change: Change) -> Outcome:
        await change.enter()
        card = await _deleted(change, project_id, ref)
        column_id = card["column_id"]
        await sql.cards.lock_column(change.connection, project_id=project_id, column_id=column_id)
        await sql.cards.restore(change.connection, id=card["id"], column_id=column_id)
        await _tell(change, project_id, card["id"], "restored")
        change.emit(
            project_channel(project_id),
            CARD_RESTORED,
            change.shape(sql.cards.begun, id=card["id"]),
            entity=entity("card", card["id"]),
        )
        return Outcome(200, change.shape(sql.cards.shape, id=card["id"]))

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/permanent",
    need=Role.OWNER,
    status=204,
    tag=CARDS,
)
async def purge_card(request: web.Request) -> web.Response:
    """Take a deleted card out of the database, with all that hangs on it: it never comes back."""
    project_id, ref = request[PROJECT].id, card_ref(request)

    async def work(change: Change) -> None:
        await change.enter()
        card = await _deleted(change, project_id, ref)
        await sql.cards.purge(change.connection, id=card["id"])

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


async def _deleted(change: Change, project_id: int, ref: str) -> Any:
    """A card that was deleted, locked."""
    try:
        return await sql.cards.deleted_one(change.connection, project_id=project_id, card=ref)
    except NotFound as error:
        raise NotFound("card not found among the deleted ones") from error


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/copy",
    need=Role.MEMBER,
    answer=CardSummary,
    status=201,
    made_at="/projects/{slug}/cards/{id}",
    tag=CARDS,
    errors=(412,),
    keyed=True,
)
async def copy_card(request: web.Request) -> web.Response:
    """Make another card like this one, at the end of its column.

    Title (with "(copy)" behind it), description, priority, dates, assignees, labels, tags and
    checklist are the same.
    """
    return answer_outcome(
        await cards.copy(request.app[DESK].changes, request[CONTEXT], card_ref(request))
    )


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/transfer",
    need=Role.MEMBER,
    body=TransferCard,
    answer=CardSummary,
    status=201,
    made_at="/projects/{target_project_slug}/cards/{id}",
    tag=CARDS,
    example={"target_project_slug": "my-project", "column_id": 1, "action": "move"},
    errors=(412, 413),
    keyed=True,
)
async def transfer_card(request: web.Request) -> web.Response:
    """Move a card to another project, or copy it there: to the end of a column.

    A card that moves takes along what hangs on it, and gets a new key; the old one leads to it
    still. Labels are found there by their names, and who has no access there is taken from it. Its
    files count there: without room for them nothing happens. A copy has what other copies have.
    """
    desk, body, ref = request.app[DESK], request[BODY], card_ref(request)
    target_id: int | None = None
    with suppress(NotFound):  # the change refuses it, after what is wrong with the path
        target = await desk.access.enter_project(
            desk.database, request[ACTOR], body.target_project_slug, Role.MEMBER
        )
        target_id = target.id
    most_bytes = desk.most_file_bytes
    return answer_outcome(
        await cards.transfer(desk.changes, request[CONTEXT], ref, target_id, body, most_bytes)
    )


@route(
    "POST",
    "/projects/{slug}/cards/{card_id}/archive",
    need=Role.MEMBER,
    answer=CardSummary,
    tag=CARDS,
    errors=(412,),
)
async def archive_card(request: web.Request) -> web.Response:
    """Take a card off the board: searches, its key and `include_archived` still find it."""
    return await _archive(request, archived=True)


@route(
    "DELETE",
    "/projects/{slug}/cards/{card_id}/archive",
    need=Role.MEMBER,
    answer=CardSummary,
    tag=CARDS,
    errors=(412,),
)
async def unarchive_card(request: web.Request) -> web.Response:
    """Put an archived card back on the board, at the end of its column."""
    return await _archive(request, archived=False)


async def _archive(request: web.Request, *, archived: bool) -> web.Response:
    return answer_outcome(
        await cards.archive(
            request.app[DESK].changes, request[CONTEXT], card_ref(request), archived=archived
        )
    )


@route(
    "GET",
    "/projects/{slug}/cards/{card_id}/history",
    need=Role.VIEWER,
    query=HistoryQuery,
    answer=list[History],
    tag=CARDS,
    heavy=True,
    paged=True,
)
async def show_history(request: web.Request) -> web.Response:
    """Show what happened to a card, newest first; with `after` only what is newer than that."""
    query: HistoryQuery = request[QUERY]
    (before,) = begins_after(request)
    page = await sql.cards.history(
        request[READS],
        project_id=request[PROJECT].id,
        card=card_ref(request),
        before=before or query.before,
        after=query.after,
        limit=query.limit,
    )
    return answer_page(request, page)


@route(
    "GET",
    "/projects/{slug}/activity",
    need=Role.VIEWER,
    query=ActivityQuery,
    answer=list[Activity],
    tag=CARDS,
    heavy=True,
    paged=True,
)
async def list_activity(request: web.Request) -> web.Response:
    """List what happened to a project's cards, newest first; nothing of deleted ones.

    Where very much was deleted it may end a page early, even an empty one: as long as there is a
    `Link` with `rel="next"`, it goes on there.
    """
    (before,) = begins_after(request)
    page = await sql.cards.activity(
        request[READS],
        project_id=request[PROJECT].id,
        before=before,
        limit=request[QUERY].limit,
        reach=ACTIVITY_REACH,
    )
    return answer_page(request, page)


async def _tell(change: Change, project_id: int, card_id: int, event_type: str) -> None:
    await sql.cards.tell(
        change.connection,
        project_id=project_id,
        card_id=card_id,
        actor=change.context.actor_id,
        event_type=event_type,
    )
