"""Labels: the coloured words that a project's cards may have."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Impossible, NotFound
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import LABEL_CREATED, LABEL_DELETED, LABEL_UPDATED
from warmdesk.schemas.cards import MAX_LABELS
from warmdesk.schemas.labels import Label, LabelChanges, NewLabel

LABELS = ApiTag("labels", "The labels that a project's cards may have.")


@route("GET", "/projects/{slug}/labels", need=Role.VIEWER, answer=list[Label], tag=LABELS)
async def list_labels(request: web.Request) -> web.Response:
    """List a project's labels, the oldest first."""
    return answer(await sql.labels.all(request[READS], project_id=request[PROJECT].id))


@route(
    "POST",
    "/projects/{slug}/labels",
    need=Role.MEMBER,
    body=NewLabel,
    answer=Label,
    status=201,
    made_at="/projects/{slug}/labels/{id}",
    tag=LABELS,
    example={"name": "Question", "color": "#10b981"},
    errors=(409,),
    keyed=True,
)
async def create_label(request: web.Request) -> web.Response:
    """Create a label."""
    body: NewLabel = request[BODY]
    project_id, name = request[PROJECT].id, body.name.strip()

    async def work(change: Change) -> Outcome:
        connection = change.connection
        await change.enter(counting=True)
        await _require_free(change, project_id, name, None)
        if await sql.labels.count(connection, project_id=project_id) >= MAX_LABELS:
            raise Impossible(f"a project has at most {MAX_LABELS} labels", code="too_many_labels")
        made = await sql.labels.create(
            connection, project_id=project_id, name=name, color=body.color
        )
        shape = Held(made["json"])
        change.emit(
            project_channel(project_id), LABEL_CREATED, shape, entity=entity("label", made["id"])
        )
        return Outcome(201, shape)

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "PUT",
    "/projects/{slug}/labels/{label_id}",
    need=Role.MEMBER,
    body=LabelChanges,
    answer=Label,
    tag=LABELS,
    example={"name": "Defect", "color": "#ef4444"},
    errors=(409,),
    keyed=True,
)
async def change_label(request: web.Request) -> web.Response:
    """Change a label's name or color, on all cards that have it."""
    body: LabelChanges = request[BODY]
    project_id, label_id = request[PROJECT].id, path_id(request, "label_id")

    async def work(change: Change) -> Outcome:
        connection = change.connection
        # Alone in the project where names are compared: nobody else may take this one meanwhile.
        await change.enter(counting=body.name is not UNSET)
        old = await _lock(change, project_id, label_id)
        new = dict(old)
        if body.name is not UNSET:
            new["name"] = body.name.strip()
            await _require_free(change, project_id, new["name"], label_id)
        if body.color is not UNSET:
            new["color"] = body.color
        if new == old:
            unchanged = Held(await sql.labels.one(connection, label_id=label_id))
            return Outcome(200, unchanged, entity=entity("label", label_id))
        shape = Held(await sql.labels.update(connection, label_id=label_id, **new))
        change.emit(
            project_channel(project_id), LABEL_UPDATED, shape, entity=entity("label", label_id)
        )
        return Outcome(200, shape)

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route("DELETE", "/projects/{slug}/labels/{label_id}", need=Role.MEMBER, status=204, tag=LABELS)
async def delete_label(request: web.Request) -> web.Response:
    """Delete a label, and take it from all cards."""
    project_id, label_id = request[PROJECT].id, path_id(request, "label_id")

    async def work(change: Change) -> None:
        await change.enter()
        await _lock(change, project_id, label_id)
        await sql.labels.delete(change.connection, label_id=label_id)
        await sql.labels.take_off(change.connection, label_id=label_id)
        change.emit(
            project_channel(project_id),
            LABEL_DELETED,
            json_text(id=label_id),
            entity=entity("label", label_id),
        )

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


async def _lock(change: Change, project_id: int, label_id: int) -> dict[str, str]:
    """The name and color of a live label, which stay until the commit."""
    rows = await sql.labels.lock(change.connection, project_id=project_id, label_id=label_id)
    if not rows:
        raise NotFound("label not found")
    return dict(rows[0])


async def _require_free(change: Change, project_id: int, name: str, label_id: int | None) -> None:
    if await sql.labels.is_taken(
        change.connection, project_id=project_id, name=name, label_id=label_id
    ):
        raise Conflict("name: another label has this name", code="taken", fields={"name": "taken"})
