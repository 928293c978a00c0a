"""People as others look for them: favourites, and who is online."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from warmdesk.auth.actor import GlobalRole
from warmdesk.db.queries import sql
from warmdesk.errors import Impossible
from warmdesk.http.answers import answer, no_content
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, CONTEXT, DESK, QUERY, READS, path_id
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.schemas.users import ListFavorites, UserRef

PEOPLE = ApiTag("people", "Your favourites, and who is online.")

MOST_ONLINE = 500


@route(
    "GET",
    "/favorite-users",
    need=SIGNED_IN,
    query=ListFavorites,
    answer=list[UserRef],
    tag=PEOPLE,
    paged=True,
)
async def list_favorites(request: web.Request) -> web.Response:
    """List your favourites, by id; not those whose account is closed."""
    (after,) = begins_after(request)
    page = await sql.people.favorites(
        request[READS],
        reader=request[ACTOR].user_id,
        after=after,
        limit=request[QUERY].limit,
    )
    return answer_page(request, page)


@route("POST", "/favorite-users/{user_id}", need=SIGNED_IN, status=204, tag=PEOPLE, errors=(422,))
async def favor_user(request: web.Request) -> web.Response:
    """Make somebody a favourite of yours."""
    user_id, favorite = request[ACTOR].user_id, path_id(request, "user_id")
    if favorite == user_id:
        raise Impossible("you are no favourite of your own", code="own_account")
    return await _change(request, sql.people.favor, favorite)


@route("DELETE", "/favorite-users/{user_id}", need=SIGNED_IN, status=204, tag=PEOPLE)
async def disfavor_user(request: web.Request) -> web.Response:
    """Make somebody a favourite no longer."""
    return await _change(request, sql.people.disfavor, path_id(request, "user_id"))


async def _change(request: web.Request, query: Any, favorite: int) -> web.Response:
    user_id = request[ACTOR].user_id

    async def work(change: Change) -> None:
        await query(change.connection, user_id=user_id, favorite=favorite)

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route("GET", "/online-users", need=SIGNED_IN, answer=list[UserRef], tag=PEOPLE, heavy=True)
async def list_online(request: web.Request) -> web.Response:
    """List who has WarmDesk open now, by name, 500 at most.

    That is who shares a project or a conversation with you; for administrators it is everybody.
    """
    actor = request[ACTOR]
    online = await request.app[DESK].presence.everybody_online()
    return answer(
        await sql.people.near(
            request[READS],
            ids=list(online),
            reader=actor.user_id,
            everybody=actor.global_role is GlobalRole.ADMIN,
            limit=MOST_ONLINE,
        )
    )
