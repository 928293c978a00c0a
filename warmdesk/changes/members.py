"""Changes of members that several entry points share: put somebody into a project, take somebody
out of it. Whoever calls has the project held, and the membership locked: see lock_members and
hold_memberships in sql/changes/members.sql.
"""

from __future__ import annotations

import orjson

from warmdesk.changes import accounts
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict
from warmdesk.realtime.change import Change, Held
from warmdesk.realtime.channels import CONTROL, project_channel, user_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    CONTROL_MEMBER,
    MEMBER_ADDED,
    MEMBER_REMOVED,
    PROJECT_JOINED,
    PROJECT_LEFT,
)


async def put_in(
    change: Change,
    project_id: int,
    slug: str,
    user_id: int,
    role: str,
    *,
    field: str | None = None,
    by: int | None = None,
) -> Held:
    """Make somebody a member; gives the membership. `by` is who invited them, unless the actor did;
    `field` of the body names them.

    `Conflict` for a member; `Impossible` for whoever is in one project too many.
    """
    connection, actor_id = change.connection, by or change.context.actor_id
    added = await sql.members.add(
        connection, project_id=project_id, user_id=user_id, role=role, actor=actor_id
    )
    if not added:
        raise Conflict("this user already is a member", code="already_member")
    await accounts.require_room(change, user_id, field)
    shape = Held(await sql.members.one(connection, project_id=project_id, user_id=user_id))
    change.emit(project_channel(project_id), MEMBER_ADDED, shape, entity=entity("user", user_id))
    change.emit(
        user_channel(user_id),
        PROJECT_JOINED,
        _json(slug=slug),
        entity=entity("project", project_id),
    )
    tell_processes(change, user_id, project_id)
    await audit(change, "member.added", project_id, after={"user_id": user_id, "role": role})
    change.finish(sql.notifications.joined, actor=actor_id, project_id=project_id, user_id=user_id)
    return shape


async def take_out(change: Change, project_id: int, slug: str, user_id: int, role: str) -> None:
    """End a membership: off the project's cards, and what was told of it is forgotten."""
    connection = change.connection
    for query in (sql.members.unassign, sql.members.unwatch, sql.members.remove):
        await query(connection, project_id=project_id, user_id=user_id)
    await sql.notifications.hold_of_person(
        connection, user_id=user_id, project_id=project_id, conversation_id=None
    )
    change.emit(
        project_channel(project_id),
        MEMBER_REMOVED,
        _json(user_id=user_id),
        entity=entity("user", user_id),
    )
    change.emit(
        user_channel(user_id), PROJECT_LEFT, _json(slug=slug), entity=entity("project", project_id)
    )
    tell_processes(change, user_id, project_id)
    await audit(change, "member.removed", project_id, before={"user_id": user_id, "role": role})
    change.finish(
        sql.notifications.forget_project,
        actor=change.context.actor_id,
        project_id=project_id,
        user_id=user_id,
    )


def tell_processes(change: Change, user_id: int, project_id: int) -> None:
    """What every process remembers of this person's right in the project is not true any more."""
    change.emit(CONTROL, CONTROL_MEMBER, _json(user_id=user_id, project_id=project_id))


async def is_spare(change: Change, project_id: int, user_id: int, role: str) -> bool:
    """Whether the project has another owner who may act, or this member is no owner. The other's
    account is held as it is; a change that holds an account waits for no project.
    """
    return role != "owner" or bool(
        await sql.members.other_owner(change.connection, project_id=project_id, user_id=user_id)
    )


def _json(**ids: int | str) -> str:
    return orjson.dumps(ids).decode()
