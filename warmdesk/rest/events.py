"""What changed since: the same events and seqs as the sockets, over REST; and who is here."""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.errors import Unavailable
from warmdesk.http.answers import answer
from warmdesk.http.request import ACTOR, DESK, PROJECT, QUERY, READS
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime import feed
from warmdesk.realtime.bus import REDIS_AWAY
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.schemas.events import Events, EventsQuery, PresenceQuery
from warmdesk.schemas.sockets import PresenceList

EVENTS = ApiTag("events", "What happened, numbered: the feeds that sockets follow, read over REST.")


@route(
    "GET",
    "/projects/{slug}/events",
    need=Role.VIEWER,
    query=EventsQuery,
    answer=Events,
    tag=EVENTS,
    heavy=True,
)
async def list_project_events(request: web.Request) -> web.Response:
    """List what happened in a project after a seq, oldest first.

    A page of long events holds fewer than `limit`: until its last event has the `seq` of the
    answer, go on with that event's seq as `since`.

    `reset` says that what came after `since` is no longer kept, or belongs to another history:
    fetch the project again.
    """
    return await _page(request, project_channel(request[PROJECT].id))


@route(
    "GET",
    "/users/me/events",
    need=SIGNED_IN,
    query=EventsQuery,
    answer=Events,
    tag=EVENTS,
    heavy=True,
)
async def list_user_events(request: web.Request) -> web.Response:
    """List what happened to you after a seq, oldest first.

    A page of long events holds fewer than `limit`: until its last event has the `seq` of the
    answer, go on with that event's seq as `since`.
    """
    return await _page(request, user_channel(request[ACTOR].user_id))


async def _page(request: web.Request, channel: str) -> web.Response:
    query: EventsQuery = request[QUERY]
    page = await feed.after(request[READS], channel, query.since or 0, limit=query.limit)
    reset = query.epoch is not None and query.epoch != page.epoch
    if query.since is not None and not page.reaches_back_to(query.since):
        reset = True
    events = b"" if reset else b",".join(entry.body for entry in page.entries)
    return answer(
        b'{"events":[%s],"seq":%d,"oldest":%d,"epoch":"%s","reset":%s}'
        % (events, page.seq, page.oldest, page.epoch.encode(), b"true" if reset else b"false")
    )


@route(
    "GET",
    "/projects/{slug}/presence",
    need=Role.VIEWER,
    query=PresenceQuery,
    answer=PresenceList,
    tag=EVENTS,
)
async def list_present(request: web.Request) -> web.Response:
    """List who has the project open, most recent first."""
    query: PresenceQuery = request[QUERY]
    desk = request.app[DESK]
    try:
        everybody = await desk.presence.users(project_channel(request[PROJECT].id))
    except REDIS_AWAY as error:
        raise Unavailable("presence is not known now, try again") from error
    end = query.cursor + query.limit
    users = b",".join(await desk.people.refs(everybody[query.cursor : end]))
    more = b"true" if len(everybody) > end else b"false"
    return answer(b'{"users":[%s],"count":%d,"more":%s}' % (users, len(everybody), more))
