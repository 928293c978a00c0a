"""Chat: a project's messages and what people put under them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import Archived
from warmdesk.http.answers import answer_outcome, no_content
from warmdesk.http.commands import Call, command
from warmdesk.http.pages import answer_messages
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, PROJECT, QUERY, READS, path_id
from warmdesk.http.route import CHANGES, MESSAGES, ApiTag, Parameter
from warmdesk.http.routing import route
from warmdesk.realtime.change import Change
from warmdesk.realtime.channels import project_channel, user_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import CHAT_READ, CHAT_TYPING
from warmdesk.schemas.chat import (
    AddReaction,
    ChatMessage,
    DeleteMessageById,
    EditMessage,
    EditMessageById,
    MessagesQuery,
    ReactById,
    ReactionAdded,
    SendMessage,
)
from warmdesk.schemas.conversations import ReadMark

CHAT = ApiTag("chat", "A project's chat.")
PAGE_BYTES = 8 << 20
"""JSON of a page of messages; one message of itself is below, unless thousands react to it."""


@route(
    "GET",
    "/projects/{slug}/chat/messages",
    need=Role.VIEWER,
    query=MessagesQuery,
    answer=list[ChatMessage],
    tag=CHAT,
    paged=True,
)
async def list_messages(request: web.Request) -> web.Response:
    """List a page of messages, oldest first: the newest, or those before, after or around one.

    A page of long messages ends early. As long as there is more, a `Link` with `rel="next"` goes
    on: to newer messages after one, else to older ones. Around one it goes on to newer ones, and
    `rel="prev"` to older ones.
    """
    query: MessagesQuery = request[QUERY]
    page = await sql.chat.page(
        request[READS],
        project_id=request[PROJECT].id,
        before=query.before,
        after=query.after,
        around=query.around,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_messages(request, page)


@route(
    "POST",
    "/projects/{slug}/chat/messages",
    need=Role.MEMBER,
    body=SendMessage,
    answer=ChatMessage,
    status=201,
    made_at="/projects/{slug}/chat/messages/{id}",
    tag=CHAT,
    example={"body": "Good morning!"},
    errors=(429,),
    also=(200,),
    keyed=True,
    rate=MESSAGES,
)
async def send_message(request: web.Request) -> web.Response:
    """Send a message. The same nonce again within ten minutes answers 200 with the same message.

    `attachment_ids` are uploads of yours.
    """
    chat, body = request.app[DESK].chat, request[BODY]
    return answer_outcome(await chat.send(request[CONTEXT], body.text, body.nonce, body.uploads))


@route(
    "PUT",
    "/projects/{slug}/chat/messages/{message_id}",
    need=Role.MEMBER,
    body=EditMessage,
    answer=ChatMessage,
    tag=CHAT,
    example={"body": "Good afternoon!"},
    errors=(409, 412),
    keyed=True,
)
async def edit_message(request: web.Request) -> web.Response:
    """Edit a message of your own."""
    message_id = path_id(request, "message_id")
    return answer_outcome(
        await request.app[DESK].chat.edit(request[CONTEXT], message_id, request[BODY].body)
    )


@route(
    "DELETE",
    "/projects/{slug}/chat/messages/{message_id}",
    need=Role.MEMBER,
    status=204,
    tag=CHAT,
    errors=(412,),
)
async def delete_message(request: web.Request) -> web.Response:
    """Delete a message of your own; project admins delete anybody's."""
    await request.app[DESK].chat.delete(request[CONTEXT], path_id(request, "message_id"))
    return no_content()


@route(
    "POST",
    "/projects/{slug}/chat/messages/{message_id}/reactions",
    need=Role.MEMBER,
    body=AddReaction,
    answer=ReactionAdded,
    status=201,
    tag=CHAT,
    example={"emoji": "👍"},
    also=(200,),
)
async def add_reaction(request: web.Request) -> web.Response:
    """Put an emoji under a message. It answers 200 when it is there already."""
    message_id = path_id(request, "message_id")
    return answer_outcome(
        await request.app[DESK].chat.add_reaction(request[CONTEXT], message_id, request[BODY].emoji)
    )


@route(
    "DELETE",
    "/projects/{slug}/chat/messages/{message_id}/reactions/{emoji}",
    need=Role.MEMBER,
    status=204,
    tag=CHAT,
    parameters={"emoji": Parameter({"type": "string"}, "👍", "The emoji, URL-encoded.")},
)
async def remove_reaction(request: web.Request) -> web.Response:
    """Take your emoji away from a message."""
    message_id, emoji = path_id(request, "message_id"), request.match_info["emoji"]
    await request.app[DESK].chat.remove_reaction(request[CONTEXT], message_id, emoji)
    return no_content()


@route(
    "POST",
    "/projects/{slug}/chat/read",
    need=Role.VIEWER,
    body=ReadMark,
    status=204,
    tag=CHAT,
    example={"message_id": 1},
)
async def read_chat(request: web.Request) -> web.Response:
    """Say up to which message you have read.

    You can in an archived project, too. The mark only moves forward.
    """
    user_id, project_id = request[ACTOR].user_id, request[PROJECT].id
    message_id = request[BODY].message_id

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        read = await sql.chat.read(
            change.connection, project_id=project_id, actor=user_id, message_id=message_id
        )
        if read is not None:
            change.emit(
                user_channel(user_id),
                CHAT_READ,
                change.shape(sql.chat.read_mark, project_id=project_id, user_id=user_id),
                entity=entity("project", project_id),
            )
            change.finish(
                sql.notifications.read_these,
                user_id=user_id,
                ids=read,
                client=change.context.client_id,
            )

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


# On a socket


class Made(msgspec.Struct):
    """The id of what a change answered with."""

    id: int


@command("chat.send", SendMessage, need=Role.MEMBER, rate=MESSAGES)
async def send_on_socket(call: Call) -> dict[str, Any]:
    """Sends a message. The same nonce means what it does by REST."""
    socket, body = call.socket, call.body
    outcome = await socket.desk.chat.send(call.context, body.text, body.nonce, body.uploads)
    return {"message_id": msgspec.json.decode(outcome.text, type=Made).id}


@command("chat.edit", EditMessageById, need=Role.MEMBER, rate=CHANGES)
async def edit_on_socket(call: Call) -> dict[str, Any]:
    """Edits a message of your own."""
    socket, body = call.socket, call.body
    await socket.desk.chat.edit(call.context, body.message_id, body.body)
    return {"message_id": body.message_id}


@command("chat.delete", DeleteMessageById, need=Role.MEMBER, rate=CHANGES)
async def delete_on_socket(call: Call) -> dict[str, Any]:
    """Deletes a message of your own; project admins delete anybody's."""
    socket, body = call.socket, call.body
    await socket.desk.chat.delete(call.context, body.message_id)
    return {"message_id": body.message_id}


@command("chat.react", ReactById, need=Role.MEMBER, rate=CHANGES)
async def react_on_socket(call: Call) -> dict[str, Any]:
    """Puts an emoji under a message, or takes yours away: `remove`."""
    chat, body = call.socket.desk.chat, call.body
    if body.remove:
        await chat.remove_reaction(call.context, body.message_id, body.emoji)
    else:
        await chat.add_reaction(call.context, body.message_id, body.emoji)
    return {"message_id": body.message_id}


@command("chat.typing", need=Role.MEMBER)
async def say_typing(call: Call) -> None:
    """Tells the others that you write, at most once in three seconds."""
    socket, desk = call.socket, call.socket.desk
    if not socket.may_tell_typing():
        return
    project = await desk.access.enter_project(
        desk.database, socket.actor, socket.slug, Role.of(call.context.role)
    )
    if project.is_archived:
        raise Archived
    payload = b'{"user_id":%d}' % socket.user_id
    channel = project_channel(socket.project_id)
    desk.bus.signal(channel, CHAT_TYPING, payload, entity=entity("user", socket.user_id))
