"""Tickets: the cards of a project for programs, which call columns, people and labels by name."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import TO_READ, TO_WRITE, EnteredProject, Grant, Role
from warmdesk.changes import cards
from warmdesk.changes.mentions import named
from warmdesk.db.heads import Head, HeadReads
from warmdesk.db.pool import spending
from warmdesk.db.queries import sql
from warmdesk.errors import Fault, Impossible, NotFound, WarmDeskError, fields_error
from warmdesk.http.answers import answer, answer_outcome, encode, json_text
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import (
    ACTOR,
    ADMIT,
    BODY,
    CONTEXT,
    DESK,
    PROJECT,
    QUERY,
    READS,
    card_ref,
    shown_at,
)
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.http.waiting import credential_ends, held_back, loop_time
from warmdesk.json_parts import joined
from warmdesk.paths import card_page
from warmdesk.realtime.change import Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.handshake import ClientGone
from warmdesk.realtime.waiting import Wake
from warmdesk.schemas.cards import CardDetail, CardSummary
from warmdesk.schemas.tickets import (
    ChangedTicket,
    ChangeTicket,
    FiledTicket,
    ListTickets,
    NewTicket,
    Waited,
    WaitForTicket,
)

TICKETS = ApiTag("tickets", "Cards for programs: columns, people and labels by their names.")

READ_TICKETS = TO_READ | {Grant.TICKETS}
WRITE_TICKETS = TO_WRITE | {Grant.TICKETS}
PARTS = ("attachments", "checklist", "comments", "links")
PAGE_BYTES = 8 << 20
"""JSON of a page of cards; one card of itself is below."""


class _Named(msgspec.Struct):
    key: str


key_of = msgspec.json.Decoder(_Named).decode


@route(
    "POST",
    "/projects/{slug}/ticket",
    need=Role.MEMBER,
    grants=WRITE_TICKETS,
    body=NewTicket,
    answer=FiledTicket,
    status=201,
    made_at="/projects/{slug}/ticket/{key}",
    example={
        "title": "Security scan found CVE-2026-1234",
        "description": "**Severity:** High\n\nFound in dependency `foo@1.2.3`.",
        "priority": "high",
        "column_name": "Backlog",
    },
    keyed=True,
    tag=TICKETS,
)
async def file_ticket(request: web.Request) -> web.Response:
    """Create a card at the end of the column of this name, or of the first one."""
    body: NewTicket = request[BODY]
    fields = cards.written(body)
    if body.column_name and body.column_id:
        fault = Fault("conflicting", "one of them says where")
        raise fields_error({"column_name": fault, "column_id": fault}, Impossible)
    for name in ("column_name", "assignees", "labels"):
        if value := getattr(body, name):
            fields[name] = _trimmed(value)
    try:
        made = await request.app[DESK].changes.hot(
            sql.cards.create,
            request[CONTEXT],
            "card",
            column_id=None,
            fields=encode(fields).decode(),
            index=None,
            position=None,
            before_id=None,
            after_id=None,
        )
    except WarmDeskError as error:
        cards.rename_field(error, "assignee_ids", "assignees")
        cards.rename_field(error, "label_ids", "labels")
        raise
    return answer_outcome(_with_url(request, made))


def _trimmed(value: str | list[str]) -> str | list[str]:
    """A name as it is looked for; of a list each once."""
    if isinstance(value, str):
        return value.strip()
    return list({each.strip().lower(): each.strip() for each in value}.values())


@route(
    "PATCH",
    "/projects/{slug}/ticket/{card_id}",
    need=Role.MEMBER,
    grants=WRITE_TICKETS,
    body=ChangeTicket,
    answer=ChangedTicket,
    example={
        "column_name": "Done",
        "comment": "Deployment to production succeeded. Build #4242.",
    },
    keyed=True,
    tag=TICKETS,
)
async def change_ticket(request: web.Request) -> web.Response:
    """Move a card to the end of a column, write its fields, comment on it.

    All that is sent is done, or nothing. It is told in this order: that the card moved, what
    changed of it, the comment. A card that went to another project is 404, with its key there
    (`moved_to`) and that project's slug (`project`) for who sees it there.
    """
    body: ChangeTicket = request[BODY]
    fields = cards.written(body)
    if body.column_name is not UNSET:
        fields["column_name"] = body.column_name.strip()
    comment = None if body.comment is UNSET else body.comment
    if not fields and comment is None:
        raise Impossible("send what to change: at least one field")
    try:
        changed = await request.app[DESK].changes.hot(
            sql.tickets.update,
            request[CONTEXT],
            "card",
            card=card_ref(request),
            fields=encode(fields).decode(),
            comment=comment,
            names=named(comment or ""),
        )
    except WarmDeskError as error:
        await _refuse_if_moved(request, error)
        raise
    return answer_outcome(_with_url(request, changed))


@route(
    "GET",
    "/projects/{slug}/ticket",
    need=Role.VIEWER,
    grants=READ_TICKETS,
    query=ListTickets,
    answer=list[CardSummary],
    paged=True,
    errors=(422,),
    tag=TICKETS,
)
async def list_tickets(request: web.Request) -> web.Response:
    """List the cards of a project, or those of the column of this name, the oldest first."""
    query: ListTickets = request[QUERY]
    *_, after_id = begins_after(request)
    project_id, column_id = request[PROJECT].id, None
    if query.column_name is not None:
        column_id = await _column_named(request, query.column_name.strip())
    page = await sql.cards.in_project(
        request[READS],
        project_id=project_id,
        column_id=column_id,
        assignee=None,
        label=None,
        closed=None if query.include_closed else False,
        due_before=None,
        include_archived=False,
        only_archived=False,
        after_id=after_id,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_page(request, page)


@route(
    "GET",
    "/projects/{slug}/ticket/{card_id}",
    need=Role.VIEWER,
    grants=READ_TICKETS,
    answer=CardDetail,
    tag=TICKETS,
)
async def show_ticket(request: web.Request) -> web.Response:
    """Show a card with all that hangs on it. The ETag is its version, for If-Match.

    The key of a card that went to another project shows it to who may see it there.
    """
    try:
        return await _detail(request, request[PROJECT].id)
    except NotFound:
        if (went := await _where_it_went(request)) is None:
            raise
    return await _detail(request, went[0].id)


async def _column_named(request: web.Request, name: str) -> int:
    """The id of a column by its name; 422 when there is none of it."""
    found: int = await sql.tickets.column(
        request.app[DESK].database, project_id=request[PROJECT].id, name=name
    )
    return found


async def _detail(request: web.Request, project_id: int) -> web.Response:
    card = await sql.cards.detail(
        request[READS],
        project_id=project_id,
        card=card_ref(request),
        reader=request[ACTOR].user_id,
        parts=PARTS,
    )
    return answer(card["card"])


@route(
    "GET",
    "/projects/{slug}/ticket/{card_id}/wait",
    need=Role.VIEWER,
    grants=READ_TICKETS,
    query=WaitForTicket,
    answer=Waited,
    waits=True,
    errors=(422,),
    tag=TICKETS,
)
async def wait_for_ticket(request: web.Request) -> web.Response:
    """Wait until a card stands in the column of this name, or is closed; both, if both are said.

    It is answered at once when that is so, and else when it becomes so: with `reached` false when
    the time is over, or earlier when the server stops. Give your HTTP library a longer limit.
    """
    query: WaitForTicket = request[QUERY]
    card_ref(request)
    if query.column_name is None and query.closed is None:
        fault = Fault("required", "say what to wait for")
        raise fields_error({"column_name": fault, "closed": fault})
    if query.column_name is not None:
        query.column_name = query.column_name.strip()
    try:
        state = await _state(request, request[READS])
        if not state["reached"]:
            if query.column_name is not None:
                await _column_named(request, query.column_name)
            state = await _reached(request, state)
    except WarmDeskError as error:
        await _refuse_if_moved(request, error)
        raise
    reached = b"true" if state["reached"] else b"false"
    return answer(b'{"reached":%s,"ticket":%s}' % (reached, state["ticket"].encode()))


async def _state(request: web.Request, reads: Any) -> Any:
    query: WaitForTicket = request[QUERY]
    return await sql.tickets.state(
        reads,
        project_id=request[PROJECT].id,
        card=card_ref(request),
        column_name=query.column_name,
        closed=query.closed,
    )


async def _reached(request: web.Request, state: Any) -> Any:
    """The card when what is waited for is true, or when the time is over.

    Only events of the card itself, and of the column in which it stands, wake the request: it is
    read again for those alone, and once for all who wait for the same.
    """
    desk, channel = request.app[DESK], project_channel(request[PROJECT].id)
    until = loop_time() + request[QUERY].timeout
    head = request[READS].head
    about = _about(request, state)
    with held_back(request, after=head.seq, epoch=head.epoch, about=about) as waiter:
        while not (state["reached"] or desk.waits.stopped):
            wake = await desk.hub.wait(channel, waiter, min(until, credential_ends(request)))
            if wake is Wake.GONE:
                raise ClientGone
            if wake is Wake.OVER and (desk.waits.stopped or loop_time() >= until):
                break
            await request[ADMIT]()
            if desk.hub.passed_over(channel, waiter):
                continue
            state, head = await _look_again(request, channel, waiter.upto)
            waiter.after, waiter.epoch, waiter.about = head.seq, head.epoch, _about(request, state)
            shown_at(request, head.seq, head.epoch)
    return state


def _about(request: web.Request, state: Any) -> frozenset[str]:
    """The things of which an event may make true what is waited for, or end the right to it."""
    things = (
        ("card", state["id"]),
        ("column", state["column_id"]),
        ("user", request[ACTOR].user_id),
    )
    return frozenset(entity(kind, id_) for kind, id_ in things)


async def _look_again(request: web.Request, channel: str, heard: int) -> tuple[Any, Head]:
    desk, query = request.app[DESK], request[QUERY]
    reads = HeadReads(desk.database, channel)

    async def look() -> tuple[Any, Head]:
        state = await _state(request, reads)
        assert reads.head is not None
        return state, reads.head

    async with spending():
        found: tuple[Any, Head] = await desk.waits.looks.ask(
            (channel, heard, card_ref(request), query.column_name, query.closed), look
        )
    return found


async def _where_it_went(request: web.Request) -> tuple[EnteredProject, str] | None:
    """The project where the card is now that had this key here, and its key there; None if it went
    nowhere, or the actor may not see it there.
    """
    desk, ref = request.app[DESK], card_ref(request)
    if "-" not in ref:
        return None
    try:
        return await cards.where_it_went(
            desk.access, desk.database, request[ACTOR], request[PROJECT].id, ref
        )
    except NotFound:
        return None


async def _refuse_if_moved(request: web.Request, error: WarmDeskError) -> None:
    """For a card that is not here: 404 that says where it went, to who sees it there."""
    if error.status == 404 and (went := await _where_it_went(request)) is not None:
        project, key = went
        sentence = f"the card went to another project: it is {key} now"
        raise NotFound(sentence, moved_to=key, project=project.slug) from error


def _with_url(request: web.Request, outcome: Outcome) -> Outcome:
    """The answer, with the address of the card's page."""
    base = request.app[DESK].settings.base_url.rstrip("/")
    url = base + card_page(request[PROJECT].slug, key_of(outcome.text).key)
    return outcome._replace(answer=joined(json_text(url=url), outcome.text))
