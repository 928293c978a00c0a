"""Sessions: where somebody is signed in; and tickets, by which a session opens a socket."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from warmdesk.auth.actor import ALL_ROLES, TO_READ, require_session
from warmdesk.auth.identity import TICKET_SECONDS
from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.errors import NotFound
from warmdesk.http.answers import answer, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, CONTEXT, DESK, QUERY, client_origin
from warmdesk.http.route import SIGNED_IN, ApiTag, Parameter, Rate
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.schemas.auth import ListSessions, Session, Ticket

SESSIONS = ApiTag("sessions", "Where you are signed in; tickets for sockets.")
TICKETS = Rate("ticket", 120)


@route(
    "GET",
    "/auth/sessions",
    need=ALL_ROLES,
    session=True,
    query=ListSessions,
    answer=list[Session],
    tag=SESSIONS,
    paged=True,
)
async def list_sessions(request: web.Request) -> web.Response:
    """Where you are signed in."""
    actor = request[ACTOR]
    query: ListSessions = request[QUERY]
    (before,) = begins_after(request)
    async with request.app[DESK].database.connection() as connection:
        page = await sql.auth.list_sessions(
            connection,
            user_id=actor.user_id,
            current=require_session(actor),
            before=before or query.before,
            limit=query.limit,
        )
    return answer_page(request, page)


@route(
    "DELETE",
    "/auth/sessions/{session_id}",
    need=ALL_ROLES,
    session=True,
    status=204,
    tag=SESSIONS,
    parameters={
        "session_id": Parameter(
            {"type": "string", "format": "uuid"},
            "0198c5f2-5d0a-7c1e-9f0a-2b1c3d4e5f60",
            "The session's id.",
        )
    },
)
async def end_session(request: web.Request) -> web.Response:
    """End a session of yours: its tokens and sockets are dead at once."""
    desk, actor = request.app[DESK], request[ACTOR]
    session_id = _uuid(request.match_info["session_id"])
    came = client_origin(request)

    async def work(change: Change) -> None:
        if session_id is None or not await accounts.end_sessions(
            change, actor.user_id, only=session_id
        ):
            raise NotFound("session not found")
        await accounts.note_login(change, "logout", came, user_id=actor.user_id)

    await desk.changes.run(request[CONTEXT], work)
    return no_content()


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


@route(
    "POST",
    "/auth/ws-ticket",
    need=SIGNED_IN,
    grants=TO_READ,
    answer=Ticket,
    secret=True,
    status=201,
    tag=SESSIONS,
    errors=(429,),
    rate=TICKETS,
)
async def create_ticket(request: web.Request) -> web.Response:
    """Get a ticket that opens one socket within 30 seconds, so that no token stands in its URL."""
    desk, actor = request.app[DESK], request[ACTOR]
    ticket = await desk.identity.ws_ticket(actor)
    return answer({"ticket": ticket, "expires_in": TICKET_SECONDS}, status=201)
