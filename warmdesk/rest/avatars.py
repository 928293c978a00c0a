"""Avatars: the pictures of people. Each is made anew from what was sent, small and without anything
but its pixels, and is kept in the database under the digest of its bytes, so that it may be cached
for ever. Everybody may fetch one who knows its address. So it is with groups' pictures, which
`warmdesk.rest.conversations` changes.
"""

from __future__ import annotations

import re

from aiohttp import web

from warmdesk.auth.actor import ALL_ROLES
from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.errors import NotFound
from warmdesk.http.answers import answer, no_content
from warmdesk.http.avatars import PICTURE, Avatar, read_avatar
from warmdesk.http.encodings import tags_seen
from warmdesk.http.request import CONTEXT, DESK
from warmdesk.http.route import ApiTag, Handler
from warmdesk.http.routing import route
from warmdesk.pictures import TYPE
from warmdesk.realtime.change import Change
from warmdesk.schemas.users import Me

AVATARS = ApiTag("avatars", "People's own pictures.")

NAME = re.compile(r"([0-9a-f]{64})\.webp")
FOR_EVER = "public, max-age=31536000, immutable"


@route(
    "POST",
    "/users/me/avatar",
    need=ALL_ROLES,
    accepts=PICTURE,
    answer=Me,
    errors=(422,),
    tag=AVATARS,
)
async def set_avatar(request: web.Request) -> web.Response:
    """Show a picture of yourself: the part `avatar` of a form.

    PNG, JPEG, GIF, WebP or AVIF, of at most 5 MiB and 50 million pixels. It becomes a square of 128
    pixels, and nothing is kept of where and how it was taken.
    """
    avatar = await read_avatar(request)

    async def work(change: Change) -> str:
        return await _show(change, avatar)

    return answer(await request.app[DESK].changes.run(request[CONTEXT], work))


@route("DELETE", "/users/me/avatar", need=ALL_ROLES, status=204, errors=(422,), tag=AVATARS)
async def remove_avatar(request: web.Request) -> web.Response:
    """Show no picture of yourself any more.

    Whoever has its address sees it for another day, or as long as somebody shows the same one.
    """
    await request.app[DESK].changes.run(request[CONTEXT], _show)
    return no_content()


async def _show(change: Change, avatar: Avatar | None = None) -> str:
    """Another picture for the actor, or none: the account then. It is locked before pictures, which
    are locked wherever an account loses one.
    """
    user_id = change.context.actor_id
    assert user_id is not None
    before = await sql.users.lock(change.connection, user_id=user_id)
    if avatar:
        await sql.avatars.hold(
            change.connection, user_id=user_id, conversation_id=None, sha256=avatar.sha256
        )
        await sql.avatars.keep(change.connection, **avatar._asdict())
    fields = {"avatar_url": avatar and avatar.address}
    after = await accounts.rewrite(change, before, fields, settings=True)
    return str((after or before)["me"])


def addresses() -> list[tuple[str, str, Handler]]:
    """What is served beside the API: method, path and handler."""
    return [("GET", "/avatars/{name}", send_avatar)]


async def send_avatar(request: web.Request) -> web.StreamResponse:
    """A picture, for ever the same."""
    match = NAME.fullmatch(request.match_info["name"])
    if match is None:
        raise NotFound("there is nothing at this address")
    tag = f'"{match[1]}"'
    headers = {"ETag": tag, "Cache-Control": FOR_EVER}
    seen = tags_seen(request)
    if tag in seen or "*" in seen:
        return web.Response(status=304, headers=headers)
    picture = await sql.avatars.shown(request.app[DESK].database, sha256=match[1])
    return web.Response(body=picture, headers=headers | {"Content-Type": TYPE})
