"""The installation, for its administrators: the audit, and all projects."""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth.actor import Actor, GlobalRole, Role
from warmdesk.changes.projects import change_project_to, purge
from warmdesk.db.queries import sql
from warmdesk.http.answers import answer, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, QUERY, READS
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import ChangeContext
from warmdesk.schemas.audit import AuditLine, ListAudit
from warmdesk.schemas.projects import ListAllProjects, Project, ProjectChanges

ADMINISTRATION = ApiTag("administration", "The installation, for its administrators.")


@route(
    "GET",
    "/admin/audit",
    need=GlobalRole.ADMIN,
    query=ListAudit,
    answer=list[AuditLine],
    tag=ADMINISTRATION,
    paged=True,
)
async def list_audit(request: web.Request) -> web.Response:
    """List who changed which right, key or setting, when, and from where; the newest first.

    It has no secret in it, and goes back 400 days.
    """
    query: ListAudit = request[QUERY]
    (before,) = begins_after(request)
    page = await sql.audit.page(
        request[READS],
        actor_id=query.actor_id,
        action=query.action,
        before=before or query.before,
        limit=query.limit,
    )
    return answer_page(request, page)


@route(
    "GET",
    "/admin/projects",
    need=GlobalRole.ADMIN,
    query=ListAllProjects,
    answer=list[Project],
    tag=ADMINISTRATION,
    paged=True,
)
async def list_all_projects(request: web.Request) -> web.Response:
    """List all projects, archived ones too, by name."""
    query: ListAllProjects = request[QUERY]
    actor: Actor = request[ACTOR]
    after_name, after_us, after_id = begins_after(request)
    page = await sql.projects.page(
        request[READS],
        user_id=actor.user_id,
        global_role=actor.global_role,
        mine=False,
        starred_only=False,
        include_archived=True,
        q=query.q.strip(),
        by_activity=False,
        after_name=after_name,
        after_us=after_us,
        after_id=after_id,
        limit=query.limit,
    )
    return answer_page(request, {"items": f"[{','.join(page['items'])}]", "next": page["next"]})


@route(
    "PUT",
    "/admin/projects/{slug}",
    need=GlobalRole.ADMIN,
    body=ProjectChanges,
    answer=Project,
    tag=ADMINISTRATION,
    example={"name": "My Project", "is_archived": False},
    errors=(422,),
)
async def change_any_project(request: web.Request) -> web.Response:
    """Change a project as its owners may."""
    desk, context = request.app[DESK], await _into(request)
    return answer(await change_project_to(desk.changes, context, request[BODY]))


@route(
    "DELETE",
    "/admin/projects/{slug}",
    need=GlobalRole.ADMIN,
    status=204,
    tag=ADMINISTRATION,
    errors=(409,),
)
async def purge_project(request: web.Request) -> web.Response:
    """Purge an archived project: with all that is in it, and for good.

    From that moment nobody sees it, and its sockets are closed with 4404. Its rows and files go
    within minutes; the time that people logged in it stays in their time sheets.
    """
    await purge(request.app[DESK].changes, await _into(request))
    return no_content()


async def _into(request: web.Request) -> ChangeContext:
    """The context of a change of the project that the path names."""
    desk = request.app[DESK]
    project = await desk.access.enter_project(
        desk.database, request[ACTOR], request.match_info["slug"], Role.OWNER
    )
    return request[CONTEXT]._replace(project_id=project.id, need=Role.OWNER)
