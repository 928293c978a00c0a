"""Columns: the lists that a board's cards stand in."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import Impossible, NotFound, field_error
from warmdesk.http.answers import answer, answer_outcome, no_content
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    COLUMN_CREATED,
    COLUMN_UPDATED,
    COLUMNS_REORDERED,
)
from warmdesk.schemas.columns import (
    Column,
    ColumnChanges,
    ColumnOrder,
    ColumnPlaces,
    DeleteColumn,
    NewColumn,
)

COLUMNS = ApiTag("columns", "The columns of a board.")

MOST = 100
"""Columns a project may have."""
MOST_TOLD = 1000
"""Cards of a deleted column whose moves go over the bus; those of more are read from the feed."""


@route("GET", "/projects/{slug}/columns", need=Role.VIEWER, answer=list[Column], tag=COLUMNS)
async def list_columns(request: web.Request) -> web.Response:
    """List the columns in board order, without their cards."""
    return answer(await sql.columns.all(request[READS], project_id=request[PROJECT].id))


@route(
    "POST",
    "/projects/{slug}/columns",
    need=Role.ADMIN,
    body=NewColumn,
    answer=Column,
    status=201,
    made_at="/projects/{slug}/columns/{id}",
    tag=COLUMNS,
    example={"name": "Testing", "color": "#10b981", "wip_limit": 5},
    keyed=True,
)
async def create_column(request: web.Request) -> web.Response:
    """Create a column behind the others."""
    body: NewColumn = request[BODY]
    project_id = request[PROJECT].id

    async def work(change: Change) -> Outcome:
        columns = await _enter(request, change)
        if len(columns) >= MOST:
            raise Impossible(f"a project has at most {MOST} columns", code="too_many_columns")
        made = await sql.columns.create(
            change.connection,
            project_id=project_id,
            name=body.name.strip(),
            color=body.color or "",
            wip_limit=body.wip_limit,
        )
        shape = Held(made["json"])
        change.emit(
            project_channel(project_id), COLUMN_CREATED, shape, entity=entity("column", made["id"])
        )
        return Outcome(201, shape)

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "PATCH",
    "/projects/{slug}/columns/reorder",
    need=Role.ADMIN,
    body=ColumnPlaces | ColumnOrder,
    answer=list[Column],
    tag=COLUMNS,
    example={"column_ids": [3, 1, 2, 4]},
)
async def reorder_columns(request: web.Request) -> web.Response:
    """Put the columns in another order: `column_ids` names all of them, first to last.

    An array of `{id, position}` is taken too; columns it does not name keep their position.
    Either way the positions are 1000, 2000 … afterwards.
    """
    body: Any = request[BODY]
    project_id = request[PROJECT].id

    async def work(change: Change) -> str:
        columns = await _enter(request, change)
        wanted = _order(body, columns)
        if [1000.0 * n for n in range(1, len(wanted) + 1)] != [
            columns[i]["position"] for i in wanted
        ]:
            await sql.columns.place(change.connection, ids=wanted)
            positions = await sql.columns.places(change.connection, project_id=project_id)
            change.emit(project_channel(project_id), COLUMNS_REORDERED, Held(positions))
        shapes: str = await sql.columns.all(change.connection, project_id=project_id)
        return shapes

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


def _order(body: Any, columns: dict[int, Any]) -> list[int]:
    """The ids of all columns in the order that the body asks for."""
    positions = (
        {} if isinstance(body, ColumnOrder) else {column.id: column.position for column in body}
    )
    named = body.column_ids if isinstance(body, ColumnOrder) else [column.id for column in body]
    field = "column_ids" if isinstance(body, ColumnOrder) else "id"
    if len(set(named)) < len(named):
        raise field_error(field, "conflicting", "a column stands there twice", Impossible)
    if not set(named) <= columns.keys():
        raise field_error(field, "unknown", "not a column of this project", Impossible)
    if isinstance(body, ColumnOrder):
        if len(named) < len(columns):
            raise field_error(field, "conflicting", "name all columns", Impossible)
        return named
    return sorted(columns, key=lambda i: (positions.get(i, columns[i]["position"]), i))


@route(
    "PUT",
    "/projects/{slug}/columns/{column_id}",
    need=Role.ADMIN,
    body=ColumnChanges,
    answer=Column,
    tag=COLUMNS,
    example={"name": "In Review", "wip_limit": None},
    errors=(409, 412),
    keyed=True,
)
async def change_column(request: web.Request) -> web.Response:
    """Change a column's name, color or limit; `null` clears the latter two."""
    body: ColumnChanges = request[BODY]
    project_id, column_id = request[PROJECT].id, path_id(request, "column_id")

    async def work(change: Change) -> Outcome:
        connection = change.connection
        await change.enter()
        rows = await sql.columns.lock(connection, project_id=project_id, column_id=column_id)
        if not rows:
            raise NotFound("column not found")
        await _require_version(request, change, rows[0])
        old = {name: rows[0][name] for name in ("name", "color", "wip_limit")}
        new = _wanted(body, old)
        if new != old:
            await sql.columns.update(connection, column_id=column_id, **new)
        shape = change.shape(sql.columns.one, column_id=column_id)
        if new != old:
            change.emit(
                project_channel(project_id),
                COLUMN_UPDATED,
                shape,
                entity=entity("column", column_id),
            )
        return Outcome(200, shape, entity=entity("column", column_id))

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


def _wanted(body: ColumnChanges, old: dict[str, Any]) -> dict[str, Any]:
    new = dict(old)
    if body.name is not UNSET:
        new["name"] = body.name.strip()
    if body.color is not UNSET:
        new["color"] = body.color or ""
    if body.wip_limit is not UNSET:
        new["wip_limit"] = body.wip_limit
    return new


@route(
    "DELETE",
    "/projects/{slug}/columns/{column_id}",
    need=Role.ADMIN,
    query=DeleteColumn,
    status=204,
    tag=COLUMNS,
    errors=(409, 412),
)
async def delete_column(request: web.Request) -> web.Response:
    """Delete an empty column, or one whose cards go to the column `move_to`.

    They come behind the cards that are there, in their order.
    """
    target = request[QUERY].move_to
    await request.app[DESK].changes.one(
        sql.columns.delete,
        request[CONTEXT],
        column_id=path_id(request, "column_id"),
        target=None if target is UNSET else target,
        most=MOST_TOLD,
    )
    return no_content()


async def _enter(request: web.Request, change: Change) -> dict[int, Any]:
    """The project's live columns by id, all locked after the project itself.

    Their number and order stay as they are.
    """
    await change.enter(counting=True)
    rows = await sql.columns.lock_all(change.connection, project_id=request[PROJECT].id)
    return {row["id"]: row for row in rows}


async def _require_version(request: web.Request, change: Change, column: Any) -> None:
    context = request[CONTEXT]
    if context.version is not None:
        await sql.columns.require_version(
            change.connection,
            seen=context.version,
            present=column["version"],
            conflict_status=context.conflict_status,
            column_id=column["id"],
        )
