"""What changed since: the same events and seqs as the sockets, over REST; and who is here."""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.db.pool import spending
from warmdesk.errors import Unavailable
from warmdesk.http.answers import answer
from warmdesk.http.request import ACTOR, ADMIT, DESK, PROJECT, QUERY, READS, shown_at
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.http.waiting import credential_ends, held_back, loop_time
from warmdesk.realtime import feed
from warmdesk.realtime.bus import REDIS_AWAY
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.realtime.events import PROJECT_EVENTS, USER_EVENTS
from warmdesk.realtime.feed import Page
from warmdesk.realtime.handshake import ClientGone
from warmdesk.realtime.waiting import Wake
from warmdesk.schemas.events import EventsQuery, PresenceQuery
from warmdesk.schemas.sockets import PresenceList

EVENTS = ApiTag("events", "What happened, numbered: the feeds that sockets follow, read over REST.")


@route(
    "GET",
    "/projects/{slug}/events",
    need=Role.VIEWER,
    query=EventsQuery,
    answer=PROJECT_EVENTS,
    tag=EVENTS,
    heavy=True,
    waits=True,
)
async def list_project_events(request: web.Request) -> web.Response:
    """List what happened in a project after a seq, oldest first.

    A page of long events holds fewer than `limit`: until its last event has the `seq` of the
    answer, go on with that event's seq as `since`.

    `reset` says that what came after `since` is no longer kept, or belongs to another history:
    fetch the project again.

    With `wait` an answer that would be empty is held back until something happens, for so many
    seconds at most, or less when the server stops. Ask again from the last event's seq: no event
    falls between two requests.
    """
    return await _page(request, project_channel(request[PROJECT].id))


@route(
    "GET",
    "/users/me/events",
    need=SIGNED_IN,
    query=EventsQuery,
    answer=USER_EVENTS,
    tag=EVENTS,
    heavy=True,
    waits=True,
)
async def list_user_events(request: web.Request) -> web.Response:
    """List what happened to you after a seq, oldest first.

    A page of long events holds fewer than `limit`: until its last event has the `seq` of the
    answer, go on with that event's seq as `since`. `wait` holds an empty answer back. After `reset`
    fetch what you show, and go on with the answer's `seq` and `epoch`.
    """
    return await _page(request, user_channel(request[ACTOR].user_id))


async def _page(request: web.Request, channel: str) -> web.Response:
    query: EventsQuery = request[QUERY]
    page = await feed.after(request[READS], channel, query.since or 0, limit=query.limit)
    reset = _is_reset(page, query, query.epoch)
    if query.wait and not (page.entries or reset):
        epoch = page.epoch
        page = await _later(request, channel, page, loop_time() + query.wait)
        reset = _is_reset(page, query, epoch)
    shown_at(request, page.seq, page.epoch)
    events = b"" if reset else b",".join(entry.body for entry in page.entries)
    return answer(
        b'{"events":[%s],"seq":%d,"oldest":%d,"epoch":"%s","reset":%s}'
        % (events, page.seq, page.oldest, page.epoch.encode(), b"true" if reset else b"false")
    )


def _is_reset(page: Page, query: EventsQuery, epoch: str | None) -> bool:
    if epoch is not None and epoch != page.epoch:
        return True
    return query.since is not None and not page.reaches_back_to(query.since)


async def _later(request: web.Request, channel: str, page: Page, until: float) -> Page:
    """An empty page as it is when there is something in it, or the same when the time is over.

    What the room remembers needs no question. Where it remembers too little, all who have seen the
    same ask once.
    """
    desk, limit = request.app[DESK], request[QUERY].limit
    with held_back(request, after=page.seq, epoch=page.epoch, heavy=True) as waiter:
        while not desk.waits.stopped:
            wake = await desk.hub.wait(channel, waiter, min(until, credential_ends(request)))
            if wake is Wake.GONE:
                raise ClientGone
            if wake is Wake.OVER and (desk.waits.stopped or loop_time() >= until):
                break
            await request[ADMIT]()
            entries, seq = desk.hub.heard(channel, waiter, limit)
            if entries:
                return Page(entries, seq, page.oldest, page.epoch)
            if wake is not Wake.DOUBT:
                found = await _read_again(request, channel, waiter.after)
                if found.entries or found.epoch != page.epoch or found.seq != page.seq:
                    return found
        return page


async def _read_again(request: web.Request, channel: str, since: int) -> Page:
    desk, limit = request.app[DESK], request[QUERY].limit
    async with spending():
        return await desk.waits.reads.ask(
            (channel, since, limit),
            lambda: feed.after(desk.database.heavy, channel, since, limit=limit),
        )


@route(
    "GET",
    "/projects/{slug}/presence",
    need=Role.VIEWER,
    query=PresenceQuery,
    answer=PresenceList,
    feed=None,
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
