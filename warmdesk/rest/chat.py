"""Chat: a project's messages and what people put under them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw

from warmdesk.auth.actor import Role
from warmdesk.db.queries import sql
from warmdesk.errors import Archived, Impossible, field_error
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.commands import Call, command
from warmdesk.http.pages import link
from warmdesk.http.request import BODY, CONTEXT, DESK, PROJECT, QUERY, path_id
from warmdesk.http.route import CHANGES, ApiTag, Parameter, Rate
from warmdesk.http.routing import route
from warmdesk.json_parts import joined
from warmdesk.realtime.change import Change, Held, Outcome
from warmdesk.realtime.channels import project_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import CHAT_REACTION_UPDATED, CHAT_TYPING
from warmdesk.schemas.chat import (
    AddReaction,
    ChatMessage,
    DeleteMessageById,
    EditMessage,
    EditMessageById,
    MessagesQuery,
    ReactionAdded,
    SendMessage,
)
from warmdesk.schemas.emoji import EMOJI

CHAT = ApiTag("chat", "A project's chat.")
MESSAGES = Rate("message", lambda settings: settings.messages_per_minute)

DIFFERENT_REACTIONS = 50
EMOJI_BYTES = 32
TYPING_SECONDS = 3.0
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
        request.app[DESK].database,
        project_id=request[PROJECT].id,
        before=query.before,
        after=query.after,
        around=query.around,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer(page["items"], headers=_links(request, query, page))


def _links(request: web.Request, query: MessagesQuery, page: Any) -> dict[str, str] | None:
    """Where the list goes on; the place that is followed is the only one then."""
    older = newer = None
    if page["older"] and query.after is None:
        older = link(request, "next" if query.around is None else "prev", before=page["first_id"])
    if page["newer"] and (query.after is not None or query.around is not None):
        newer = link(request, "next", after=page["last_id"])
    links = [each for each in (newer, older) if each]
    return {"Link": ", ".join(links)} if links else None


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
    """Send a message. The same nonce again within ten minutes answers 200 with the same message."""
    chat, body = request.app[DESK].chat, request[BODY]
    return answer_outcome(await chat.send(request[CONTEXT], body.body, body.nonce))


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
    message_id, emoji = path_id(request, "message_id"), _emoji(request[BODY].emoji)

    async def work(change: Change) -> Outcome:
        await _lock(change, request[PROJECT].id, message_id)
        added = await sql.chat.react(
            change.connection, id=message_id, actor=change.context.actor_id, emoji=emoji
        )
        now = await _reactions(change, message_id, emoji)
        if added:
            if now["different"] > DIFFERENT_REACTIONS:
                raise Impossible(
                    f"a message takes {DIFFERENT_REACTIONS} different emojis",
                    code="too_many_reactions",
                )
            _tell(change, request[PROJECT].id, message_id, now["reactions"])
        summary = _summary(message_id, now["reactions"])
        return Outcome(201 if added else 200, joined(json_text(id=now["mine"]), summary))

    return answer_outcome(await request.app[DESK].changes.run(request[CONTEXT], work))


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

    async def work(change: Change) -> None:
        await _lock(change, request[PROJECT].id, message_id)
        await sql.chat.unreact(
            change.connection, id=message_id, actor=change.context.actor_id, emoji=emoji
        )
        now = await _reactions(change, message_id, emoji)
        _tell(change, request[PROJECT].id, message_id, now["reactions"])

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()


def _emoji(text: str) -> str:
    """One emoji, at most 32 bytes of it; 400 for anything else."""
    if len(text.encode()) > EMOJI_BYTES or not EMOJI.fullmatch(text):
        raise field_error("emoji", "bad_format", "must be one emoji")
    return text


async def _lock(change: Change, project_id: int, message_id: int) -> None:
    await change.enter()
    await sql.chat.lock(change.connection, id=message_id, project_id=project_id)


async def _reactions(change: Change, message_id: int, emoji: str) -> Any:
    return await sql.chat.reactions(
        change.connection, id=message_id, actor=change.context.actor_id, emoji=emoji
    )


def _summary(message_id: int, reactions: str) -> str:
    return json_text(message_id=message_id, reactions=Raw(reactions))


def _tell(change: Change, project_id: int, message_id: int, reactions: str) -> None:
    change.emit(
        project_channel(project_id),
        CHAT_REACTION_UPDATED,
        Held(_summary(message_id, reactions)),
        entity=entity("message", message_id),
    )


# On a socket


class Made(msgspec.Struct):
    """The id of what a change answered with."""

    id: int


@command("chat.send", SendMessage, need=Role.MEMBER, rate=MESSAGES)
async def send_on_socket(call: Call) -> dict[str, Any]:
    """Sends a message. The same nonce means what it does by REST."""
    socket, body = call.socket, call.body
    outcome = await socket.desk.chat.send(call.context, body.body, body.nonce)
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


@command("chat.typing", need=Role.MEMBER)
async def say_typing(call: Call) -> None:
    """Tells the others that you write, at most once in three seconds."""
    socket = call.socket
    desk, now = socket.desk, time.monotonic()
    if now - socket.typed_at < TYPING_SECONDS:
        return
    socket.typed_at = now
    project = await desk.access.enter_project(
        desk.database, socket.actor, socket.slug, Role.of(call.context.role)
    )
    if project.is_archived:
        raise Archived
    payload = b'{"user_id":%d}' % socket.user_id
    channel = project_channel(socket.project_id)
    desk.bus.signal(channel, CHAT_TYPING, payload, entity=entity("user", socket.user_id))
