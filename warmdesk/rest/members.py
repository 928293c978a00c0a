"""Members: who is on a project, as what."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.changes import members
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import BadRequest, Impossible, NotFound, field_error
from warmdesk.http.answers import answer, answer_outcome, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, PROJECT, QUERY, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import MEMBER_UPDATED
from warmdesk.schemas.members import ListedMember, ListMembers, Member, NewMember, NewRole

MEMBERS = ApiTag("members", "Who is on a project, in which role.")

LAST_OWNER = "a project keeps at least one owner who may act"


@route(
    "GET",
    "/projects/{slug}/members",
    need=Role.VIEWER,
    query=ListMembers,
    answer=list[ListedMember],
    tag=MEMBERS,
    paged=True,
)
async def list_members(request: web.Request) -> web.Response:
    """List the members, in the order they came; project admins and owners see e-mails too."""
    project, query = request[PROJECT], request[QUERY]
    (after,) = begins_after(request)
    page = await sql.members.page(
        request[READS],
        project_id=project.id,
        emails=project.role >= Role.ADMIN,
        q=query.q.strip(),
        after=after,
        limit=query.limit,
    )
    return answer_page(request, page)


@route(
    "POST",
    "/projects/{slug}/members",
    need=Role.ADMIN,
    body=NewMember,
    answer=Member,
    status=201,
    made_at="/projects/{slug}/members/{user_id}",
    tag=MEMBERS,
    example={"username": "bob", "role": "member"},
    errors=(409,),
    keyed=True,
)
async def add_member(request: web.Request) -> web.Response:
    """Add a user to the project, named by id, username, e-mail, or `login` (either of the two).

    Project admins add viewers and members, owners anybody as anything. Whose global role is viewer
    only reads, whatever the role here.
    """
    desk, context, body = request.app[DESK], request[CONTEXT], request[BODY]
    project, actor_id = request[PROJECT], request[ACTOR].user_id
    names = {
        "user_id": body.user_id,
        "username": body.username,
        "email": body.email,
        "login": body.login,
    }
    if sum(name is not None for name in names.values()) != 1:
        raise BadRequest(
            "user_id: name the user by one of user_id, username, email, login",
            fields={"user_id": "required"},
        )
    given = next(field for field, name in names.items() if name is not None)
    role = Role.of(body.role)

    async def work(change: Change) -> Outcome:
        connection = change.connection
        found = await sql.members.find_user(connection, **names)
        user_id = found[0]["id"] if len(found) == 1 else None
        if user_id is not None:
            await sql.members.lock(
                connection, project_id=project.id, actor=actor_id, target=user_id
            )
        await change.enter(Role.OWNER if role >= Role.ADMIN else None, counting=True)
        if user_id is None:
            raise field_error(given, "unknown", "there is no such user", Impossible)
        shape = await members.put_in(
            change, project.id, project.slug, user_id, role.word, field=given
        )
        return Outcome(201, shape)

    return answer_outcome(await desk.changes.run(context, work))


@route(
    "PUT",
    "/projects/{slug}/members/{user_id}",
    need=Role.OWNER,
    body=NewRole,
    answer=Member,
    tag=MEMBERS,
    example={"role": "admin"},
    also_at=("/projects/{slug}/members/{user_id}/role",),
)
async def change_member(request: web.Request) -> web.Response:
    """Give a member another role."""
    desk, context, role = request.app[DESK], request[CONTEXT], request[BODY].role
    project_id, actor_id = request[PROJECT].id, request[ACTOR].user_id
    user_id = path_id(request, "user_id")

    async def work(change: Change) -> str:
        connection = change.connection
        target = await _enter(change, project_id, actor_id, user_id, archived=False)
        if target["role"] != role:
            await _keep_an_owner(change, target)
            await sql.members.set_role(
                connection, project_id=project_id, user_id=user_id, role=role
            )
        shape = Held(await sql.members.one(connection, project_id=project_id, user_id=user_id))
        if target["role"] != role:
            change.emit(
                project_channel(project_id), MEMBER_UPDATED, shape, entity=entity("user", user_id)
            )
            members.tell_processes(change, user_id, project_id)
            await audit(
                change,
                "member.role_changed",
                project_id,
                before={"user_id": user_id, "role": target["role"]},
                after={"user_id": user_id, "role": role},
            )
        return shape

    return answer(await desk.changes.run(context, work))


@route(
    "DELETE",
    "/projects/{slug}/members/{user_id}",
    need=Role.VIEWER,
    status=204,
    tag=MEMBERS,
)
async def remove_member(request: web.Request) -> web.Response:
    """Remove a member (owners), or leave the project (everybody, but the last owner)."""
    desk, context, project = request.app[DESK], request[CONTEXT], request[PROJECT]
    actor_id, user_id = request[ACTOR].user_id, path_id(request, "user_id")
    need = None if user_id == actor_id else Role.OWNER

    async def work(change: Change) -> None:
        target = await _enter(change, project.id, actor_id, user_id, need, archived=True)
        await _keep_an_owner(change, target)
        await members.take_out(change, project.id, project.slug, user_id, target["role"])

    await desk.changes.run(context, work)
    return no_content()


async def _enter(
    change: Change,
    project_id: int,
    actor_id: int,
    user_id: int,
    need: Role | None = None,
    *,
    archived: bool,
) -> Any:
    """The membership to be changed, locked in its final mode before the project is."""
    target = await sql.members.lock(
        change.connection, project_id=project_id, actor=actor_id, target=user_id
    )
    await change.enter(need, archived=archived, counting=True)
    if target["id"] is None:
        raise NotFound("member not found")
    return target


async def _keep_an_owner(change: Change, target: Any) -> None:
    """Refuses to take an owner away unless another may act as one."""
    if not await members.is_spare(change, target["project_id"], target["user_id"], target["role"]):
        raise Impossible(LAST_OWNER, code="last_owner")
