"""Avatars: the pictures of people. Each is made anew from what was sent, small and without anything
but its pixels, and is kept in the database under the digest of its bytes, so that it may be cached
for ever. Everybody may fetch one who knows its address.
"""

from __future__ import annotations

import re
from hashlib import sha256

from aiohttp import web

from warmdesk.auth.actor import ALL_ROLES
from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.errors import NotFound, field_error
from warmdesk.http.answers import answer, no_content
from warmdesk.http.encodings import tags_seen
from warmdesk.http.forms import form_of_files, reading
from warmdesk.http.request import CONTEXT, DESK
from warmdesk.http.route import ApiTag, Handler
from warmdesk.http.routing import route
from warmdesk.pictures import TYPE, NoPicture
from warmdesk.realtime.change import Change
from warmdesk.schemas.users import Me

AVATARS = ApiTag("avatars", "People's own pictures.")

MOST_BYTES = 5 << 20
PICTURE = form_of_files(name="avatar", most=1, most_bytes=MOST_BYTES)
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

    PNG, JPEG, GIF, WebP or AVIF, of at most 5 MiB. It becomes a square of 128 pixels, and nothing
    is kept of where and how it was taken.
    """
    desk = request.app[DESK]
    async with reading(request, PICTURE, name="avatar", most_bytes=MOST_BYTES) as form:
        (sent,) = form.uploads
        await sent.end()
        try:
            picture = await desk.pictures.avatar(sent.path)
        except NoPicture as error:
            words = "must be a picture: PNG, JPEG, GIF, WebP or AVIF"
            raise field_error("avatar", "bad_format", words) from error
    name = sha256(picture).hexdigest()

    async def work(change: Change) -> str:
        return await _show(change, name, picture)

    return answer(await desk.changes.run(request[CONTEXT], work))


@route("DELETE", "/users/me/avatar", need=ALL_ROLES, status=204, errors=(422,), tag=AVATARS)
async def remove_avatar(request: web.Request) -> web.Response:
    """Show no picture of yourself any more."""
    await request.app[DESK].changes.run(request[CONTEXT], _show)
    return no_content()


async def _show(change: Change, name: str = "", picture: bytes = b"") -> str:
    """Another picture for the actor, or none: the account then. It is locked before pictures, which
    are locked wherever an account loses one.
    """
    user_id = change.context.actor_id
    assert user_id is not None
    before = await sql.users.lock(change.connection, user_id=user_id)
    address = f"/avatars/{name}.webp" if name else None
    if name:
        await sql.avatars.hold(change.connection, user_id=user_id, sha256=name)
        await sql.avatars.keep(change.connection, sha256=name, picture=picture)
    after = await accounts.rewrite(change, before, {"avatar_url": address}, settings=True)
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
