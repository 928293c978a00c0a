"""No more mails about notifications: by the link in each of them, without signing in (RFC 8058).

A program of the reader's mail sends the POST by itself when its button is pressed. The link shows a
page that asks first, because links in mails are opened by programs that look for harm in them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import NotFound
from warmdesk.http.request import CONTEXT, DESK, QUERY
from warmdesk.http.route import PUBLIC, Accepts, ApiTag
from warmdesk.http.routing import route
from warmdesk.mail.letters import FAREWELL, farewell_page
from warmdesk.realtime.change import Change
from warmdesk.schemas import Body
from warmdesk.sealing import MARK, Unreadable

MAIL = ApiTag("mail", "Links that stand in mails.")

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
"""The page has a button, which the policy of all other answers forbids."""


class Farewell(Body):
    """Whose link it is."""

    token: Annotated[str, Meta(min_length=1, max_length=500, examples=["q3Yx"])]


@route(
    "GET",
    "/mail/unsubscribe",
    need=PUBLIC,
    query=Farewell,
    produces=("text/html",),
    tag=MAIL,
    errors=(404,),
)
async def ask_to_unsubscribe(request: web.Request) -> web.Response:
    """Show a page that asks whether mails about notifications are to end."""
    desk = request.app[DESK]
    user_id = _whose(desk, request[QUERY].token)
    account = json.loads(await sql.users.me(desk.database, user_id=user_id))
    return _page(account, asked=True)


@route(
    "POST",
    "/mail/unsubscribe",
    need=PUBLIC,
    query=Farewell,
    accepts=Accepts(FORMS, 16_384),
    produces=("text/html",),
    tag=MAIL,
    errors=(404,),
)
async def stop_mails(request: web.Request) -> web.Response:
    """Get no more mails about notifications: sets `email_notifications` to false.

    The body, ``List-Unsubscribe=One-Click``, is not looked at.
    """
    desk = request.app[DESK]
    user_id = _whose(desk, request[QUERY].token)

    async def work(change: Change) -> Any:
        accounts.act_as(change, user_id)
        before = await sql.users.lock(change.connection, user_id=user_id)
        fields = {"email_notifications": False}
        await accounts.rewrite(change, before, fields, settings=True)
        return json.loads(before["me"])

    return _page(await desk.changes.run(request[CONTEXT], work), asked=False)


def _whose(desk: Desk, token: str) -> int:
    try:
        return int(desk.system.sealing.open(MARK + token, FAREWELL))
    except Unreadable:
        raise NotFound() from None


def _page(account: Any, *, asked: bool) -> web.Response:
    return web.Response(
        text=farewell_page(account["locale"], asked=asked),
        content_type="text/html",
        headers={"Content-Security-Policy": POLICY},
    )
