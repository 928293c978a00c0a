"""Notifications: what happened that concerns you, kept until you delete it.

Somebody named you (``@username`` in a comment, a topic, a reply, a chat message or a conversation
of yours), assigned a card to you, moved or commented on one of yours, changed or commented on one
that you watch, replied to your topic, wrote to you, or added you to a project. One change notifies
a person once, and nobody of what they did themselves or may not see. Each is written in the
transaction of the change, and told on the person's own feed: see sql/changes/notifications.sql.

A conversation with something unread is one notification, of the first unread message, until it is
read: one for each message would tell of a lively group nothing but that it is lively, and cost a
second event for each person and message. Who is named in one is told of that each time.

What is deleted takes its notifications along, at once and on every device, and who leaves a project
or a conversation loses those of it. A person keeps the thousand newest, for 90 days: see
`warmdesk.jobs.retention`.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from warmdesk.db.queries import Query, sql
from warmdesk.http.answers import answer, answer_outcome, json_text
from warmdesk.http.pages import link
from warmdesk.http.request import ACTOR, CONTEXT, DESK, QUERY, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.json_parts import joined
from warmdesk.schemas.notifications import ListNotifications, Notifications

NOTIFICATIONS = ApiTag("notifications", "What happened that concerns you.")


@route(
    "GET",
    "/notifications",
    query=ListNotifications,
    answer=Notifications,
    paged=True,
    tag=NOTIFICATIONS,
)
async def list_notifications(request: web.Request) -> web.Response:
    """List your notifications, the newest first, with how many are unread of all.

    As long as there is more, a `Link` with `rel="next"` goes on. `seq` and `epoch` are the place of
    all of it in your feed: what your socket told up to there is in it.
    """
    query: ListNotifications = request[QUERY]
    page = await sql.notifications.page(
        request[READS],
        reader=request[ACTOR].user_id,
        before=query.before,
        unread=query.unread,
        limit=query.limit,
    )
    following = {"Link": link(request, "next", before=page["last_id"])} if page["more"] else None
    about = json_text(unread_count=page["unread_count"], seq=page["seq"], epoch=page["epoch"])
    return answer(joined(about, f'{{"items":{page["items"]}}}'), headers=following)


@route(
    "POST",
    "/notifications/{notification_id}/read",
    status=204,
    tag=NOTIFICATIONS,
)
async def read_notification(request: web.Request) -> web.Response:
    """Say that you have read one. Once more is no event."""
    return await _change(request, sql.notifications.read, id=path_id(request, "notification_id"))


@route(
    "POST",
    "/notifications/read-all",
    status=204,
    tag=NOTIFICATIONS,
)
async def read_all_notifications(request: web.Request) -> web.Response:
    """Say that you have read all."""
    return await _change(request, sql.notifications.read_all)


@route(
    "DELETE",
    "/notifications/{notification_id}",
    status=204,
    tag=NOTIFICATIONS,
)
async def delete_notification(request: web.Request) -> web.Response:
    """Delete one of your notifications."""
    return await _change(request, sql.notifications.delete, id=path_id(request, "notification_id"))


async def _change(request: web.Request, query: Query[..., Any], **ids: int) -> web.Response:
    """A change of one's own notifications, by one function call."""
    context = request[CONTEXT]
    outcome = await request.app[DESK].changes.call(
        query,
        context,
        "notification",
        actor=context.actor_id,
        client=context.client_id,
        **ids,
    )
    return answer_outcome(outcome)
