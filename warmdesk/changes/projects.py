"""Changes of a project itself that several entry points share: what is in its fields, its archive,
its end.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from warmdesk.auth.actor import GlobalRole
from warmdesk.changes import accounts
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import Archived, Conflict, Impossible
from warmdesk.realtime.change import Change, ChangeContext, Changes, Held
from warmdesk.realtime.channels import CONTROL, project_channel, user_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    CONTROL_PROJECT,
    CONTROL_PROJECT_PURGED,
    PROJECT_ARCHIVED,
    PROJECT_LEFT,
    PROJECT_UNARCHIVED,
    PROJECT_UPDATED,
    Event,
)
from warmdesk.schemas.projects import ProjectChanges

decode = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.encode
COLOR = "#6366f1"


async def change_project_to(changes: Changes, context: ChangeContext, body: ProjectChanges) -> str:
    """Change the project of the context as the body says; gives it as the actor sees it."""

    async def work(change: Change) -> str:
        old = await change.enter(archived=True, counting=True)
        new = _wanted(body, old)
        differing = [name for name, value in new.items() if value != old[name]]
        if differing:
            await sql.projects.update(change.connection, project_id=old["id"], **new)
            await _tell(change, old, differing)
        seen: str = await sql.projects.seen(
            change.connection, project_id=old["id"], user_id=context.actor_id, role="owner"
        )
        return seen

    return await changes.run(context, work)


async def purge(changes: Changes, context: ChangeContext) -> None:
    """Take an archived project away for good, from everybody at once; `Conflict` for another one.
    What is left in the database follows: see `warmdesk.jobs.purges`.
    """

    async def work(change: Change) -> None:
        connection = change.connection
        project = await change.enter(archived=True, counting=True)
        await change.enter(frozenset({GlobalRole.ADMIN}))
        if not project["is_archived"]:
            raise Conflict("archive the project first", code="not_archived")
        project_id, slug = project["id"], project["slug"]
        members = await sql.members.ids(connection, project_id=project_id, limit=accounts.MOST_TOLD)
        await sql.purges.project(connection, project_id=project_id)
        for row in members:
            change.emit(
                user_channel(row["user_id"]),
                PROJECT_LEFT,
                _json(slug=slug),
                entity=entity("project", project_id),
            )
        change.emit(CONTROL, CONTROL_PROJECT_PURGED, _json(project_id=project_id))
        await audit(change, "project.purged", project_id, before={"slug": slug})
        change.finish(sql.purges.forget_project, actor=context.actor_id, project_id=project_id)

    await changes.run(context, work)


def _wanted(body: ProjectChanges, old: Any) -> dict[str, Any]:
    """The project's fields as they should be.

    Refuses another slug or key prefix, and all but un-archiving for an archived project.
    """
    for name in ("slug", "key_prefix"):
        if getattr(body, name) not in (UNSET, old[name]):
            raise Impossible(f"{name} never changes", fields={name: "immutable"})
    wanted: dict[str, Any] = {
        name: old[name] for name in ("name", "description", "color", "is_archived")
    }
    if body.name is not UNSET:
        wanted["name"] = body.name.strip()
    if body.description is not UNSET:
        wanted["description"] = body.description or ""
    if body.color is not UNSET:
        wanted["color"] = body.color or COLOR
    if body.is_archived is not UNSET:
        wanted["is_archived"] = body.is_archived
    if old["is_archived"] and wanted["is_archived"]:
        others = (body.name, body.description, body.color)
        if body.is_archived is UNSET or any(value is not UNSET for value in others):
            raise Archived
    return wanted


async def _tell(change: Change, old: Any, changes: list[str]) -> None:
    """Tell the project, and each of its members, whose lists show it."""
    project_id = old["id"]
    fields = [name for name in changes if name != "is_archived"]
    slug = _json(slug=old["slug"])
    here: list[tuple[Event, str]] = []
    of_members: list[tuple[Event, str]] = []
    if "is_archived" in changes and old["is_archived"]:
        here.append((PROJECT_UNARCHIVED, slug))
        of_members.append((PROJECT_UNARCHIVED, slug))
    if fields:
        shape = await sql.projects.one(change.connection, project_id=project_id)
        brief = {name: value for name, value in decode(shape).items() if name != "description"}
        here.append((PROJECT_UPDATED, Held(_json(project=Raw(shape), changes=fields))))
        of_members.append((PROJECT_UPDATED, Held(_json(project=brief, changes=fields))))
    if "is_archived" in changes and not old["is_archived"]:
        here.append((PROJECT_ARCHIVED, slug))
        of_members.append((PROJECT_ARCHIVED, slug))
    told_of = entity("project", project_id)
    for event, payload in here:
        change.emit(project_channel(project_id), event, payload, entity=told_of)
    members = await sql.members.ids(
        change.connection, project_id=project_id, limit=accounts.MOST_TOLD + 1
    )
    if len(members) <= accounts.MOST_TOLD:
        for row in members:
            for event, payload in of_members:
                change.emit(user_channel(row["user_id"]), event, payload, entity=told_of)
    change.emit(CONTROL, CONTROL_PROJECT, _json(project_id=project_id))
    if "is_archived" in changes:
        was = old["is_archived"]
        await audit(change, "project.unarchived" if was else "project.archived", project_id)


def _json(**fields: Any) -> str:
    return encode(fields).decode()
