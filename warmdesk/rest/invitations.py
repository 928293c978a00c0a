"""Invitations: links by which somebody comes into a project, or into the installation."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import Raw

from warmdesk.auth.actor import HUMAN_ROLES, GlobalRole, Role, effective_role, require_session
from warmdesk.changes import invitations
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, PROJECT, QUERY, READS, path_id
from warmdesk.http.route import PUBLIC, SIGNED_IN, ApiTag, Parameter, Rate
from warmdesk.http.routing import route
from warmdesk.mail.letters import is_on, require_mail
from warmdesk.realtime.change import Change, Outcome
from warmdesk.realtime.entities import entity
from warmdesk.schemas.invitations import (
    Accepted,
    Invitation,
    Invited,
    ListInvitations,
    NewInvitation,
    NewServerInvitation,
    Offer,
)

MAILS = Rate("invitation_mail", 200, seconds=3600.0)
INVITATIONS = ApiTag("invitations", "Links by which people come in.")

TOKEN = {
    "token": Parameter(
        {"type": "string"}, "q3Vn0yJ8cQxk1bq9mYw2Zt5uLr7sD4eF6gH0iJ2kLmN", "The link's last part."
    )
}


@route(
    "GET",
    "/projects/{slug}/invitations",
    need=Role.ADMIN,
    query=ListInvitations,
    answer=list[Invitation],
    tag=INVITATIONS,
    paged=True,
)
async def list_invitations(request: web.Request) -> web.Response:
    """List the open invitations to a project, the newest first."""
    return await _page(request, request[PROJECT].id)


@route(
    "POST",
    "/projects/{slug}/invitations",
    need=Role.ADMIN,
    body=NewInvitation,
    answer=Invited,
    secret=True,
    status=201,
    made_at="/projects/{slug}/invitations/{id}",
    tag=INVITATIONS,
    example={"email": "bob@example.com", "role": "member"},
    keyed=True,
    errors=(409, 422, 429),
)
async def create_invitation(request: web.Request) -> web.Response:
    """Invite somebody to a project, in a role that is not above your own.

    The address of a member is 409.

    The link is told here alone. It works once, within seven days, and as long as you may invite to
    that role. Where there is an address it is mailed there, unless `mail` is null in the answer:
    nothing is mailed here, or within a week you had five mails sent there, or all people twenty.
    """
    body, project_id = request[BODY], request[PROJECT].id
    role = Role.of(body.role)
    need = Role.OWNER if role > Role.ADMIN else None
    return await _create(request, body.role, body.email, need=need, project_id=project_id)


@route(
    "DELETE",
    "/projects/{slug}/invitations/{invitation_id}",
    need=Role.ADMIN,
    status=204,
    tag=INVITATIONS,
)
async def revoke_invitation(request: web.Request) -> web.Response:
    """Take an open invitation back."""
    return await _revoke(request, request[PROJECT].id)


@route(
    "POST",
    "/projects/{slug}/invitations/{invitation_id}/mail",
    need=Role.ADMIN,
    answer=Invitation,
    tag=INVITATIONS,
    errors=(422, 429),
    rate=MAILS,
)
async def mail_invitation(request: web.Request) -> web.Response:
    """Mail the link of an open invitation again.

    While a mail waits there is no second one. 422: it has no address (`no_address`), nothing is
    mailed here (`mail_off`), or within a week five of your mails or twenty of all went there
    (`too_many_mails`).
    """
    return await _mail(request, request[PROJECT].id)


@route(
    "GET",
    "/admin/invitations",
    need=GlobalRole.ADMIN,
    query=ListInvitations,
    answer=list[Invitation],
    tag=INVITATIONS,
    paged=True,
)
async def list_server_invitations(request: web.Request) -> web.Response:
    """List the open invitations to the installation, the newest first."""
    return await _page(request, None)


@route(
    "POST",
    "/admin/invitations",
    need=GlobalRole.ADMIN,
    body=NewServerInvitation,
    answer=Invited,
    secret=True,
    status=201,
    made_at="/admin/invitations/{id}",
    tag=INVITATIONS,
    example={"email": "bob@example.com", "global_role": "user"},
    keyed=True,
    errors=(422, 429),
)
async def create_server_invitation(request: web.Request) -> web.Response:
    """Invite somebody to the installation; who registers with the link has this role.

    It works once, within seven days, as long as you are an administrator, and also while
    registration is disabled. An API key invites no administrators.
    """
    body = request[BODY]
    if body.global_role == "admin":
        require_session(request[ACTOR])  # who comes in by it would be there when a key is revoked
    return await _create(request, body.global_role, body.email)


@route(
    "DELETE",
    "/admin/invitations/{invitation_id}",
    need=GlobalRole.ADMIN,
    status=204,
    tag=INVITATIONS,
)
async def revoke_server_invitation(request: web.Request) -> web.Response:
    """Take an open invitation to the installation back."""
    return await _revoke(request, None)


@route(
    "POST",
    "/admin/invitations/{invitation_id}/mail",
    need=GlobalRole.ADMIN,
    answer=Invitation,
    tag=INVITATIONS,
    errors=(422, 429),
    rate=MAILS,
)
async def mail_server_invitation(request: web.Request) -> web.Response:
    """Mail the link of an open invitation to the installation again."""
    return await _mail(request, None)


@route(
    "GET",
    "/invitations/{token}",
    need=PUBLIC,
    answer=Offer,
    tag=INVITATIONS,
    parameters=TOKEN,
    errors=(404,),
)
async def show_invitation(request: web.Request) -> web.Response:
    """Show what a link offers, before somebody signs in or registers."""
    found = await invitations.find(request[READS], request.match_info["token"])
    return answer(found["offer"])


@route(
    "POST",
    "/invitations/{token}/accept",
    need=SIGNED_IN,
    session=True,
    answer=Accepted,
    tag=INVITATIONS,
    parameters=TOKEN,
    errors=(404, 409, 422),
)
async def accept_invitation(request: web.Request) -> web.Response:
    """Take an invitation: be a member of its project, or have its role in the installation.

    Who is a member already, or has no lower role, gets 409, and the link stays good. Who came in by
    it may ask again, and gets the same.
    """
    actor, token = request[ACTOR], request.match_info["token"]

    async def work(change: Change) -> str:
        found = await invitations.came_by(change.connection, token, actor.user_id)
        if found is None:
            found = await invitations.find(change.connection, token)
            await invitations.use(change, found, actor.user_id, is_new=False)
        await change.enter(HUMAN_ROLES)
        project_id = found["project_id"]
        project = None
        if project_id is not None:
            role = effective_role(actor.global_role, found["role"])
            project = Raw(
                await sql.projects.seen(
                    change.connection,
                    project_id=project_id,
                    user_id=actor.user_id,
                    role=role.word if role else None,
                )
            )
        return json_text(project=project)

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


async def _page(request: web.Request, project_id: int | None) -> web.Response:
    (before,) = begins_after(request)
    page = await sql.invitations.page(
        request[READS], project_id=project_id, before=before, limit=request[QUERY].limit
    )
    return answer_page(request, page)


async def _create(
    request: web.Request,
    role: str,
    email: str | None,
    *,
    need: Role | None = None,
    project_id: int | None = None,
) -> web.Response:
    desk = request.app[DESK]
    settings, mail = desk.settings, email is not None and is_on(desk.settings, desk.system.values)
    if mail:
        await MAILS.take(desk, request[ACTOR].user_id)
    base = settings.base_url or str(request.url.origin())

    async def work(change: Change) -> Outcome:
        await change.enter(need)
        told, token = await invitations.create(
            change, settings.secret_key, role, email, mail=mail, project_id=project_id
        )
        text = json_text(**told, url=f"{base.rstrip('/')}/invitations/{token}")
        return Outcome(201, text, entity=entity("invitation", told["id"]))

    return answer_outcome(await desk.changes.run(request[CONTEXT], work))


async def _mail(request: web.Request, project_id: int | None) -> web.Response:
    desk, invitation_id = request.app[DESK], path_id(request, "invitation_id")

    async def work(change: Change) -> str:
        await change.enter()
        shaped = await invitations.mail_again(change, invitation_id, project_id)
        require_mail(desk.settings, desk.system.values)  # behind 404: nothing was written if not
        return shaped

    return answer(await desk.changes.run(request[CONTEXT], work))


async def _revoke(request: web.Request, project_id: int | None) -> web.Response:
    invitation_id = path_id(request, "invitation_id")

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        row: Any = await sql.invitations.revoke(
            change.connection, id=invitation_id, project_id=project_id
        )
        before = {"role": row["role"], "project_id": project_id}
        await audit(change, "invitation.revoked", invitation_id, before=before)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()
