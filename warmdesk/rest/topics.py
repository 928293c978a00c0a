"""Topics: what a project talks about at length, and the replies to it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from msgspec import UNSET

from warmdesk.auth.actor import Role
from warmdesk.changes.mentions import named
from warmdesk.db.queries import sql
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.pages import answer_oldest_first, answer_page, begins_after
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, READS, path_id
from warmdesk.http.route import ApiTag
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    TOPIC_DELETED,
    TOPIC_REPLY_DELETED,
    TOPIC_REPLY_UPDATED,
    TOPIC_UPDATED,
)
from warmdesk.schemas.pages import OldestFirst
from warmdesk.schemas.topics import (
    ListedTopic,
    ListTopics,
    NewReply,
    NewTopic,
    Reply,
    ReplyChanges,
    Topic,
    TopicChanges,
    TopicDetail,
)

TOPICS = ApiTag("topics", "What a project talks about at length, and the replies.")

PAGE_BYTES = 8 << 20
"""JSON of a page of replies; one reply of itself is below. A page of topics has less: of long ones
it shows the beginning.
"""
FIRST_REPLIES = 100
FIRST_REPLIES_BYTES = 6 << 20
"""JSON of the replies that stand with their topic, whose longest takes 0.6 MB, twice."""


@route(
    "GET",
    "/projects/{slug}/topics",
    need=Role.VIEWER,
    query=ListTopics,
    answer=list[ListedTopic],
    tag=TOPICS,
    heavy=True,
    paged=True,
)
async def list_topics(request: web.Request) -> web.Response:
    """List a project's topics: pinned ones first, then the newest. Long ones are cut."""
    after_pinned, after_id = begins_after(request)
    page = await sql.topics.page(
        request[READS],
        project_id=request[PROJECT].id,
        after_pinned=after_pinned,
        after_id=after_id,
        limit=request[QUERY].limit,
    )
    return answer_page(request, page)


@route(
    "POST",
    "/projects/{slug}/topics",
    need=Role.MEMBER,
    body=NewTopic,
    answer=Topic,
    status=201,
    made_at="/projects/{slug}/topics/{id}",
    tag=TOPICS,
    example={"title": "Which door first?", "body": "Both of them squeak."},
    keyed=True,
)
async def create_topic(request: web.Request) -> web.Response:
    """Begin a topic."""
    body: NewTopic = request[BODY]
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.topics.create,
            request[CONTEXT],
            "topic",
            title=body.title.strip(),
            body=body.body or "",
            names=named(body.body or ""),
        )
    )


@route(
    "GET",
    "/projects/{slug}/topics/{topic_id}",
    need=Role.VIEWER,
    answer=TopicDetail,
    tag=TOPICS,
)
async def show_topic(request: web.Request) -> web.Response:
    """Show a topic with its first replies. The ETag is its version, for If-Match."""
    shown = await sql.topics.detail(
        request[READS],
        project_id=request[PROJECT].id,
        id=path_id(request, "topic_id"),
        limit=FIRST_REPLIES,
        bytes=FIRST_REPLIES_BYTES,
    )
    return answer(shown["topic"])


@route(
    "PUT",
    "/projects/{slug}/topics/{topic_id}",
    need=Role.MEMBER,
    body=TopicChanges,
    answer=Topic,
    tag=TOPICS,
    example={"title": "Which door next?", "is_pinned": True},
    errors=(409, 412),
    keyed=True,
)
async def change_topic(request: web.Request) -> web.Response:
    """Change what is sent of a topic of your own, or pin it; project admins change anybody's."""
    body: TopicChanges = request[BODY]
    topic_id = path_id(request, "topic_id")

    async def work(change: Change) -> Outcome:
        topic = await _own_topic(change, topic_id)
        written = await sql.topics.write(
            change.connection,
            id=topic_id,
            title=None if body.title is UNSET else body.title.strip(),
            body=None if body.body is UNSET else body.body or "",
            is_pinned=None if body.is_pinned is UNSET else body.is_pinned,
        )
        shape, told_of = change.shape(sql.topics.shape, id=topic_id), entity("topic", topic_id)
        if written:
            change.emit(_channel(change), TOPIC_UPDATED, shape, entity=told_of)
            if body.body is not UNSET:
                _name(change, topic["body"], body.body or "", topic_id)
        return Outcome(200, shape, entity=told_of)

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/projects/{slug}/topics/{topic_id}",
    need=Role.MEMBER,
    status=204,
    tag=TOPICS,
    errors=(412,),
)
async def delete_topic(request: web.Request) -> web.Response:
    """Delete a topic of your own, with its replies; project admins delete anybody's."""
    topic_id = path_id(request, "topic_id")

    async def work(change: Change) -> None:
        await _own_topic(change, topic_id)
        await sql.topics.delete(change.connection, id=topic_id)
        change.emit(
            _channel(change),
            TOPIC_DELETED,
            json_text(id=topic_id),
            entity=entity("topic", topic_id),
        )
        change.finish(
            sql.notifications.forget_topic,
            actor=change.context.actor_id,
            project_id=change.context.project,
            id=topic_id,
        )

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


@route(
    "GET",
    "/projects/{slug}/topics/{topic_id}/replies",
    need=Role.VIEWER,
    query=OldestFirst,
    answer=list[Reply],
    tag=TOPICS,
    paged=True,
)
async def list_replies(request: web.Request) -> web.Response:
    """List a page of a topic's replies, oldest first: the first, or those after or before one.

    A page of long replies ends early. As long as there is more, a `Link` with `rel="next"` goes on:
    to older replies before one, else to newer ones.
    """
    query: OldestFirst = request[QUERY]
    page = await sql.replies.page(
        request[READS],
        project_id=request[PROJECT].id,
        topic_id=path_id(request, "topic_id"),
        before=query.before,
        after=query.after,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_oldest_first(request, page)


@route(
    "POST",
    "/projects/{slug}/topics/{topic_id}/replies",
    need=Role.MEMBER,
    body=NewReply,
    answer=Reply,
    status=201,
    made_at="/projects/{slug}/topics/{topic_id}/replies/{id}",
    tag=TOPICS,
    example={"body": "The front door."},
    keyed=True,
)
async def create_reply(request: web.Request) -> web.Response:
    """Reply to a topic."""
    return answer_outcome(
        await request.app[DESK].changes.hot(
            sql.replies.create,
            request[CONTEXT],
            "topic/reply",
            topic_id=path_id(request, "topic_id"),
            body=request[BODY].body,
            names=named(request[BODY].body),
        )
    )


@route(
    "PUT",
    "/projects/{slug}/topics/{topic_id}/replies/{reply_id}",
    need=Role.MEMBER,
    body=ReplyChanges,
    answer=Reply,
    tag=TOPICS,
    example={"body": "The back door."},
    errors=(409, 412),
    keyed=True,
)
async def change_reply(request: web.Request) -> web.Response:
    """Edit a reply of your own; project admins edit anybody's."""
    body: ReplyChanges = request[BODY]
    topic_id, reply_id = path_id(request, "topic_id"), path_id(request, "reply_id")

    async def work(change: Change) -> Outcome:
        reply = await _own_reply(change, topic_id, reply_id)
        written = await sql.replies.write(change.connection, id=reply_id, body=body.body)
        shape = change.shape(sql.replies.shape, id=reply_id)
        told_of = entity("topic", topic_id).child("reply", reply_id)
        if written:
            change.emit(_channel(change), TOPIC_REPLY_UPDATED, shape, entity=told_of)
            _name(change, reply["body"], body.body, topic_id, reply_id)
        return Outcome(200, shape, entity=told_of)

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


@route(
    "DELETE",
    "/projects/{slug}/topics/{topic_id}/replies/{reply_id}",
    need=Role.MEMBER,
    status=204,
    tag=TOPICS,
    errors=(412,),
)
async def delete_reply(request: web.Request) -> web.Response:
    """Delete a reply of your own; project admins delete anybody's."""
    topic_id, reply_id = path_id(request, "topic_id"), path_id(request, "reply_id")

    async def work(change: Change) -> None:
        await _own_reply(change, topic_id, reply_id)
        await sql.replies.delete(change.connection, id=reply_id)
        change.emit(
            _channel(change),
            TOPIC_REPLY_DELETED,
            json_text(id=reply_id, topic_id=topic_id),
            entity=entity("topic", topic_id).child("reply", reply_id),
        )
        change.finish(
            sql.notifications.forget_reply,
            actor=change.context.actor_id,
            project_id=change.context.project,
            topic_id=topic_id,
            id=reply_id,
        )

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


def _name(
    change: Change, before: str, now: str, topic_id: int, reply_id: int | None = None
) -> None:
    """Tell those whom an edited text names newly."""
    if names := named(now, before):
        change.finish(
            sql.notifications.named,
            actor=change.context.actor_id,
            project_id=change.context.project,
            topic_id=topic_id,
            reply_id=reply_id,
            message_id=None,
            body=now,
            names=names,
        )


async def _own_topic(change: Change, topic_id: int) -> Any:
    """A topic that the actor may change, locked."""
    topic = await _lock_topic(change, topic_id)
    await _own(change, topic, sql.topics.require_version)
    return topic


async def _own_reply(change: Change, topic_id: int, reply_id: int) -> Any:
    """A reply that the actor may change, locked after its topic."""
    await _lock_topic(change, topic_id)
    reply = await sql.replies.lock(change.connection, id=reply_id, topic_id=topic_id)
    await _own(change, reply, sql.replies.require_version)
    return reply


async def _lock_topic(change: Change, topic_id: int) -> Any:
    await change.enter()
    return await sql.topics.lock(change.connection, id=topic_id, project_id=change.context.project)


async def _own(change: Change, thing: Any, require_version: Any) -> None:
    """409 or 412 when it is not the version that the client saw; 403 when it is somebody else's and
    the actor is no project admin.
    """
    await require_version(
        change.connection,
        id=thing["id"],
        version=change.context.version,
        conflict_status=change.context.conflict_status,
    )
    if thing["user_id"] != change.context.actor_id:
        await change.enter(Role.ADMIN)


def _channel(change: Change) -> str:
    return project_channel(change.context.project)
