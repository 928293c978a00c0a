"""API keys: what programs sign in with, a person's own, a project's and a service account's."""

from __future__ import annotations

import orjson
from aiohttp import web

from warmdesk.auth.actor import ALL_ROLES, HUMAN_ROLES, GlobalRole, Role
from warmdesk.auth.identity import new_key
from warmdesk.auth.tokens import digest
from warmdesk.changes import accounts
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import Impossible
from warmdesk.http.answers import answer_outcome, json_text, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import (
    ACTOR,
    BODY,
    CONTEXT,
    DESK,
    PROJECT,
    QUERY,
    READS,
    client_origin,
    path_id,
)
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.json_parts import joined
from warmdesk.realtime.change import Change, Outcome
from warmdesk.realtime.channels import CONTROL
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import CONTROL_KEY
from warmdesk.schemas.keys import ApiKey, ListKeys, MadeKey, NewKey, NewProjectKey

KEYS = ApiTag("api keys", "What programs sign in with: a person's own keys, and a project's.")

MOST = 100
"""Keys of one person, and of one project, that were not revoked."""
KEPT = 12
"""Characters of a key that are shown, so that it is known again."""


@route(
    "GET",
    "/auth/api-keys",
    need=ALL_ROLES,
    session=True,
    query=ListKeys,
    answer=list[ApiKey],
    paged=True,
    tag=KEYS,
    also_at=("/users/me/api-keys",),
)
async def list_keys(request: web.Request) -> web.Response:
    """List your own API keys that you did not revoke, the newest first."""
    return await _list(request, None)


@route(
    "POST",
    "/auth/api-keys",
    need=ALL_ROLES,
    session=True,
    body=NewKey,
    answer=MadeKey,
    status=201,
    made_at="/auth/api-keys/{id}",
    secret=True,
    keyed=True,
    errors=(422,),
    tag=KEYS,
    also_at=("/users/me/api-keys",),
)
async def create_key(request: web.Request) -> web.Response:
    """Make an API key of your own: with your rights of the moment, wherever you have some.

    With `scopes` it may do less: `read` every GET and socket, `write` all but what is an
    administrator's, `tickets` the Ticket API, `metrics` and `backup` what their names say. The key
    is shown in this answer, and never again.
    """
    return await _create(request, None)


@route(
    "DELETE",
    "/auth/api-keys/{key_id}",
    need=ALL_ROLES,
    session=True,
    status=204,
    tag=KEYS,
    also_at=("/users/me/api-keys/{key_id}",),
)
async def revoke_key(request: web.Request) -> web.Response:
    """Revoke an API key of your own: it is dead everywhere, and its sockets are closed."""
    return await _revoke(request, None, path_id(request, "key_id"))


@route(
    "GET",
    "/projects/{slug}/api-keys",
    need=Role.OWNER,
    session=True,
    query=ListKeys,
    answer=list[ApiKey],
    paged=True,
    tag=KEYS,
)
async def list_project_keys(request: web.Request) -> web.Response:
    """List a project's API keys that were not revoked, the newest first, whoever made them."""
    return await _list(request, request[PROJECT].id)


@route(
    "POST",
    "/projects/{slug}/api-keys",
    need=Role.OWNER,
    session=True,
    body=NewProjectKey,
    answer=MadeKey,
    status=201,
    made_at="/projects/{slug}/api-keys/{id}",
    secret=True,
    keyed=True,
    tag=KEYS,
)
async def create_project_key(request: web.Request) -> web.Response:
    """Make an API key that is good in this project alone: with your rights here of the moment.

    The key is shown in this answer, and never again.
    """
    return await _create(request, request[PROJECT].id)


@route(
    "DELETE",
    "/projects/{slug}/api-keys/{project_key_id}",
    need=Role.OWNER,
    session=True,
    status=204,
    tag=KEYS,
)
async def revoke_project_key(request: web.Request) -> web.Response:
    """Revoke an API key of this project, whoever made it; also in an archived project."""
    return await _revoke(request, request[PROJECT].id, path_id(request, "project_key_id"))


@route(
    "GET",
    "/users/{user_id}/api-keys",
    need=GlobalRole.ADMIN,
    session=True,
    query=ListKeys,
    answer=list[ApiKey],
    paged=True,
    tag=KEYS,
)
async def list_keys_of_user(request: web.Request) -> web.Response:
    """List the API keys of an account that were not revoked, the newest first."""
    user_id = path_id(request, "user_id")
    await sql.users.is_there(request[READS], user_id=user_id)
    return await _list(request, None, owner=user_id)


@route(
    "POST",
    "/users/{user_id}/api-keys",
    need=GlobalRole.ADMIN,
    session=True,
    body=NewKey,
    answer=MadeKey,
    status=201,
    made_at="/users/{user_id}/api-keys/{id}",
    secret=True,
    keyed=True,
    errors=(422,),
    tag=KEYS,
)
async def create_key_of_user(request: web.Request) -> web.Response:
    """Make an API key of a service account.

    That is one with the global role metrics or backup, which nobody signs in to.

    Everybody else makes their own keys: 422, `not_a_service_account`. The key is shown in this
    answer, and never again.
    """
    return await _create(request, None, owner=path_id(request, "user_id"))


@route(
    "DELETE",
    "/users/{user_id}/api-keys/{user_key_id}",
    need=GlobalRole.ADMIN,
    session=True,
    status=204,
    tag=KEYS,
)
async def revoke_key_of_user(request: web.Request) -> web.Response:
    """Revoke an API key of any account, such as one that somebody lost: it is dead everywhere."""
    owner = path_id(request, "user_id")
    return await _revoke(request, None, path_id(request, "user_key_id"), owner=owner)


async def _list(
    request: web.Request, project_id: int | None, *, owner: int | None = None
) -> web.Response:
    (before,) = begins_after(request)
    page = await sql.keys.page(
        request[READS],
        user_id=owner or request[ACTOR].user_id,
        project_id=project_id,
        before=before,
        limit=request[QUERY].limit,
    )
    return answer_page(request, page)


async def _create(
    request: web.Request, project_id: int | None, *, owner: int | None = None
) -> web.Response:
    """A key of the actor, of the account `owner`, or of a project. They are counted while nobody
    else makes one there.
    """
    actor, body = request[ACTOR], request[BODY]
    came = client_origin(request)
    key, user_id = new_key(), owner or actor.user_id

    async def work(change: Change) -> Outcome:
        if owner is not None:
            await _hold_service(change, owner)
        elif project_id is None:
            await sql.keys.hold(change.connection, user_id=user_id)
        else:
            await change.enter(counting=True)
        shaped: str = await sql.keys.create(
            change.connection,
            user_id=user_id,
            project_id=project_id,
            name=body.name.strip(),
            key_hash=digest(key),
            key_prefix=key[:KEPT],
            scopes=None if body.scopes is None else list(dict.fromkeys(body.scopes)),
            days=body.expires_in_days,
        )
        if await sql.keys.exceed(
            change.connection, user_id=user_id, project_id=project_id, most=MOST
        ):
            whose = "a person" if project_id is None else "a project"
            raise Impossible(f"{whose} has at most {MOST} API keys", code="too_many_keys")
        by = actor.user_id if owner is not None else None
        await accounts.note_login(change, "api_key_created", came, user_id=user_id, actor_id=by)
        facts = {"name": body.name.strip(), "user_id": user_id}
        facts |= {"project_id": project_id, "scopes": body.scopes}
        id_ = orjson.loads(shaped)["id"]
        await audit(change, "key.created", id_, after=facts)
        told = joined(json_text(key=key), shaped)
        return Outcome(201, told, entity=entity("api_key", id_))

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


async def _hold_service(change: Change, user_id: int) -> None:
    """Lock a service account, as whoever changes an account does; 422 for another one."""
    await sql.auth.lock_admins(change.connection)
    await sql.users.lock(change.connection, user_id=user_id)
    await change.enter()
    standing = await sql.users.standing(change.connection, user_id=user_id)
    if standing["global_role"] in HUMAN_ROLES:
        raise Impossible(
            "people make their own API keys; this is no service account",
            code="not_a_service_account",
        )


async def _revoke(
    request: web.Request, project_id: int | None, key_id: int, *, owner: int | None = None
) -> web.Response:
    actor, came = request[ACTOR], client_origin(request)

    async def work(change: Change) -> None:
        if project_id is not None or owner is not None:
            await change.enter(archived=True)
        revoked = await sql.keys.revoke(
            change.connection, id=key_id, user_id=owner or actor.user_id, project_id=project_id
        )
        await accounts.note_login(
            change, "api_key_deleted", came, user_id=revoked["user_id"], actor_id=actor.user_id
        )
        await audit(change, "key.revoked", key_id, before={"user_id": revoked["user_id"]})
        change.emit(CONTROL, CONTROL_KEY, json_text(key_id=key_id))

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()
