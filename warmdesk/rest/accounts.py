"""What administrators do to accounts beyond their fields: delete them, bring them back, say in
which projects they are, read when they signed in.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from warmdesk.auth.actor import HUMAN_ROLES, Actor, GlobalRole, require_session
from warmdesk.changes import accounts, members
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Impossible, field_error
from warmdesk.http.answers import answer, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import (
    ACTOR,
    BODY,
    CONTEXT,
    DESK,
    QUERY,
    READS,
    client_origin,
    path_id,
)
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.schemas.users import Account, ListLogins, LoginEvent, SetProjects, UserProject

ACCOUNTS = ApiTag("accounts", "What administrators do to accounts.")

MOST_PROJECTS = 200
"""Memberships that one change begins or ends: each holds its project until all are told."""


@route("DELETE", "/users/{user_id}", need=GlobalRole.ADMIN, status=204, tag=ACCOUNTS, errors=(422,))
async def delete_user(request: web.Request) -> web.Response:
    """Delete an account: nobody signs in to it, and its sessions, keys and sockets are dead.

    What its person wrote stays, and so do its memberships and keys, for whoever restores it. Its
    name and address stay taken until it is purged.
    """
    actor, user_id = request[ACTOR], path_id(request, "user_id")
    _refuse_oneself(actor, user_id, "delete")
    came = client_origin(request)

    async def work(change: Change) -> None:
        # As in update_user: the actor is an administrator until the commit, so one remains.
        await sql.auth.lock_admins(change.connection)
        await sql.users.lock(change.connection, user_id=user_id)
        await change.enter()
        await accounts.set_deleted(change, user_id, deleted=True)
        await accounts.end_sessions(change, user_id, deactivated=True)
        await accounts.note_login(
            change, "admin_user_deleted", came, user_id=user_id, actor_id=actor.user_id
        )
        await audit(change, "user.deleted", user_id)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route("POST", "/users/{user_id}/restore", need=GlobalRole.ADMIN, answer=Account, tag=ACCOUNTS)
async def restore_user(request: web.Request) -> web.Response:
    """Bring a deleted account back, as it was; one that is not deleted stays as it is.

    An API key brings no administrators back.
    """
    actor, user_id = request[ACTOR], path_id(request, "user_id")
    came = client_origin(request)

    async def work(change: Change) -> str:
        await sql.auth.lock_admins(change.connection)
        if (await sql.users.standing(change.connection, user_id=user_id))["is_live"]:
            await change.enter()
            return str(await sql.users.account(change.connection, user_id=user_id))
        await sql.users.lock_deleted(change.connection, user_id=user_id)
        await change.enter()
        standing = await sql.users.standing(change.connection, user_id=user_id)
        if standing["global_role"] == GlobalRole.ADMIN:
            require_session(actor)  # who comes back would be there when a key is revoked
        account = await accounts.set_deleted(change, user_id, deleted=False)
        await accounts.note_login(
            change, "admin_user_restored", came, user_id=user_id, actor_id=actor.user_id
        )
        await audit(change, "user.restored", user_id)
        return account

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/users/{user_id}/permanent",
    need=GlobalRole.ADMIN,
    status=204,
    tag=ACCOUNTS,
    errors=(409,),
)
async def purge_user(request: web.Request) -> web.Response:
    """Purge a deleted account: nothing personal stays of it, and it never comes back.

    What its person wrote stays, as by a deleted user. Name and address are free. The name goes out
    of what was told of the last days, too, within minutes.
    """
    user_id = path_id(request, "user_id")

    async def work(change: Change) -> None:
        await sql.auth.lock_admins(change.connection)
        if (await sql.users.standing(change.connection, user_id=user_id))["is_live"]:
            raise Conflict("delete the account first", code="not_deleted")
        before = await sql.users.lock_deleted(change.connection, user_id=user_id)
        await change.enter()
        await accounts.purge(change, before)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route(
    "GET",
    "/users/{user_id}/login-history",
    need=GlobalRole.ADMIN,
    query=ListLogins,
    answer=list[LoginEvent],
    tag=ACCOUNTS,
    paged=True,
)
async def list_logins(request: web.Request) -> web.Response:
    """List when somebody signed in and out, what failed, and what was done to the account."""
    user_id = path_id(request, "user_id")
    (before,) = begins_after(request)
    await sql.users.is_there(request[READS], user_id=user_id)
    page = await sql.users.login_history(
        request[READS], user_id=user_id, before=before, limit=request[QUERY].limit
    )
    return answer_page(request, page)


@route(
    "GET",
    "/users/{user_id}/projects",
    need=GlobalRole.ADMIN,
    answer=list[UserProject],
    tag=ACCOUNTS,
)
async def list_projects_of_user(request: web.Request) -> web.Response:
    """List all projects in which somebody is a member, by name."""
    user_id = path_id(request, "user_id")
    return answer((await sql.members.of_user(request[READS], user_id=user_id))["listed"])


@route(
    "PUT",
    "/users/{user_id}/projects",
    need=GlobalRole.ADMIN,
    body=SetProjects,
    answer=list[UserProject],
    tag=ACCOUNTS,
    example={"project_ids": [1]},
    errors=(422,),
)
async def set_projects_of_user(request: web.Request) -> web.Response:
    """Say in which projects somebody is a member: all of them, by their ids.

    In new ones they are members. They stay where nobody else could act as owner. At most 200
    memberships begin or end at once.
    """
    user_id, wanted = path_id(request, "user_id"), {*request[BODY].project_ids}

    async def work(change: Change) -> str:
        connection = change.connection
        present = {*(await sql.members.of_user(connection, user_id=user_id))["ids"]}
        differing = sorted(wanted ^ present)
        if len(differing) > MOST_PROJECTS:
            raise field_error(
                "project_ids",
                "too_long",
                f"at most {MOST_PROJECTS} memberships begin or end at once",
                Impossible,
                limits={"project_ids": {"max": MOST_PROJECTS}},
            )
        held = await sql.members.hold(connection, user_id=user_id, projects=differing)
        account = await sql.users.standing(connection, user_id=user_id)
        await change.enter()
        if unknown := wanted - present - {row["id"] for row in held}:
            raise field_error(
                "project_ids", "unknown", f"there is no project {min(unknown)}", Impossible
            )
        for row in held:
            if row["id"] in wanted and row["role"] is None:
                _refuse_to_add(account, row)
                await members.put_in(
                    change, row["id"], row["slug"], user_id, "member", field="project_ids"
                )
            elif (
                row["id"] not in wanted
                and row["role"] is not None
                and await members.is_spare(change, row["id"], user_id, row["role"])
            ):
                await members.take_out(change, row["id"], row["slug"], user_id, row["role"])
        return str((await sql.members.of_user(connection, user_id=user_id))["listed"])

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


def _refuse_to_add(account: Any, project: Any) -> None:
    if account["global_role"] not in HUMAN_ROLES or not account["may_act"]:
        raise field_error("project_ids", "conflicting", "this account can be no member", Impossible)
    if project["is_archived"]:
        raise Impossible(
            f"project_ids: project {project['id']} is archived",
            code="project_archived",
            fields={"project_ids": "conflicting"},
        )


def _refuse_oneself(actor: Actor, user_id: int, verb: str) -> None:
    if actor.user_id == user_id:
        raise Impossible(f"you cannot {verb} yourself", code="own_account")
