"""The start of a client: all that it shows first, by one request."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import Raw

from warmdesk.auth.actor import Actor, EnteredProject, Role
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Forbidden, NotFound
from warmdesk.http.answers import answer
from warmdesk.http.request import ACTOR, DESK, QUERY, READS
from warmdesk.http.route import ApiTag, reader_feed
from warmdesk.http.routing import route
from warmdesk.http.views import view_of
from warmdesk.mail.letters import is_on
from warmdesk.realtime.channels import user_channel
from warmdesk.schemas.bootstrap import MOST_UNREAD, Bootstrap, Starting
from warmdesk.schemas.settings import public

START = ApiTag("start", "What a client shows first.")

PROJECTS = 500


@route("GET", "/bootstrap", query=Starting, answer=Bootstrap, feed=reader_feed, tag=START)
async def show_start(request: web.Request) -> web.Response:
    """Show what a client begins with: who you are, the settings, your projects, what is unread.

    `projects` are those in which you are a member, the first 500 by name. `project` names one whose
    board is wanted too, as GET /projects/{slug} shows it; it is null where there is none for you.

    The answer names its place in your own feed: what happened since is told by the events after it.
    """
    desk, actor, query = request.app[DESK], request[ACTOR], request[QUERY]
    me = await sql.users.me(request[READS], user_id=actor.user_id)
    async with desk.database.connection() as connection:
        page = await sql.projects.page(
            connection,
            user_id=actor.user_id,
            global_role=actor.global_role,
            mine=True,
            starred_only=False,
            include_archived=False,
            q="",
            by_activity=False,
            after_name=None,
            after_us=None,
            after_id=None,
            limit=PROJECTS,
        )
        unread = await sql.conversations.unread(
            connection,
            reader=actor.user_id,
            channel=user_channel(actor.user_id),
            limit=MOST_UNREAD,
        )
    found: dict[str, Any] = {
        "user": Raw(me.encode()),
        "settings": public(
            desk.system.values,
            sends_mail=is_on(desk.settings, desk.system.values),
            first_account=False,
        ),
        "projects": [Raw(each.encode()) for each in page["items"]],
        "unread_notifications": unread["notifications"],
        "unread_conversations": unread["conversations"],
        "project": await _board(desk, actor, query),
    }
    return answer(found)


async def _board(desk: Desk, actor: Actor, query: Starting) -> Raw | None:
    project = await _project(desk, actor, query.project)
    if project is None:
        return None
    board = await desk.boards.read(project, actor.user_id, view_of(project.slug, query))
    assert board.content is not None
    return Raw(board.content)


async def _project(desk: Desk, actor: Actor, slug: str | None) -> EnteredProject | None:
    if slug is None:
        return None
    try:
        return await desk.access.enter_project(desk.database, actor, slug, Role.VIEWER)
    except (NotFound, Forbidden):
        return None
