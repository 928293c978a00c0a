"""Conversations: direct messages of two people, and of groups.

They belong to no project, and no role of one opens them: whoever is in a conversation reads and
writes there, a global viewer too, and nobody else learns that it exists, administrators included.
Each change asks that in SQL (`require_participant` in sql/changes/conversations.sql), and each read
in its own statement; so a removal is the end, whatever a process remembers.

All that happens is told on the channel of each person in it. Who leaves is told to forget it
(``dm.conversation_deleted``), and of what was told before nothing is told to them again.

Who has another name or picture is told to all who share a conversation with them, once each,
whatever they share (``dm.member_updated``, see `warmdesk.changes.accounts.rewrite`): to tell it by
conversation, with all who are in each, would be a hundred times as much to say. Who left a group,
and is still named beside old messages there, is not followed: a page that is fetched again has the
present name.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from warmdesk.auth.actor import TO_WRITE, GlobalRole
from warmdesk.changes import reactions
from warmdesk.changes.mentions import named
from warmdesk.changes.reactions import Reactions, one_emoji
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Forbidden, Impossible, NotFound, field_error
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.avatars import PICTURE, read_avatar
from warmdesk.http.commands import Call, command
from warmdesk.http.pages import answer_messages, answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, QUERY, READS, path_id
from warmdesk.http.route import MESSAGES, ApiTag, Parameter, reader_feed
from warmdesk.http.routing import route
from warmdesk.json_parts import joined
from warmdesk.realtime.change import Change, ChangeContext, Held, Outcome, PendingShape
from warmdesk.realtime.channels import user_channel
from warmdesk.realtime.entities import Entity, entity
from warmdesk.realtime.events import (
    DM_CONVERSATION_CREATED,
    DM_CONVERSATION_DELETED,
    DM_CONVERSATION_UPDATED,
    DM_MEMBER_ADDED,
    DM_MEMBER_REMOVED,
    DM_MESSAGE_DELETED,
    DM_MESSAGE_UPDATED,
    DM_REACTION_UPDATED,
    DM_READ,
    DM_TYPING,
    Event,
)
from warmdesk.schemas.chat import (
    AddReaction,
    EditMessage,
    MessagesQuery,
    ReactionAdded,
    SendMessage,
)
from warmdesk.schemas.conversations import (
    ConversationAvatar,
    ConversationMessage,
    ListConversations,
    Mute,
    NameConversation,
    NewConversation,
    NewParticipant,
    OwnConversation,
    ReadMark,
    TypingIn,
)

CONVERSATIONS = ApiTag("conversations", "Direct messages, of two people and of groups.")

MOST_MEMBERS = 100
PAGE_BYTES = 8 << 20
"""JSON of a page of conversations or messages."""
NOT_A_GROUP = "this is a conversation of two people, and no group"
EMOJI = {"emoji": Parameter({"type": "string"}, "👍", "The emoji, URL-encoded.")}


# Conversations


@route(
    "GET",
    "/conversations",
    query=ListConversations,
    answer=list[OwnConversation],
    paged=True,
    feed=reader_feed,
    tag=CONVERSATIONS,
)
async def list_conversations(request: web.Request) -> web.Response:
    """List your conversations, the last active first.

    Each has its last message, and how many of the others' messages you have not read.
    """
    before_us, before_id = begins_after(request)
    page = await sql.conversations.page(
        request[READS],
        reader=request[ACTOR].user_id,
        before_us=before_us,
        before_id=before_id,
        limit=request[QUERY].limit,
        bytes=PAGE_BYTES,
    )
    return answer_page(request, page)


@route(
    "POST",
    "/conversations",
    body=NewConversation,
    answer=OwnConversation,
    status=201,
    made_at="/conversations/{id}",
    also=(200,),
    keyed=True,
    tag=CONVERSATIONS,
)
async def create_conversation(request: web.Request) -> web.Response:
    """Begin a conversation with others: with one it is the only one of you two, with more a group.

    With one other it answers 200 when there is one already. A group has at most 100 people.
    """
    context, body = request[CONTEXT], request[BODY]
    others = list(dict.fromkeys(each for each in body.user_ids if each != context.actor_id))
    if not others:
        raise field_error("user_ids", "required", "must name somebody else than you")
    if len(others) >= MOST_MEMBERS:
        raise _too_many()

    async def work(change: Change) -> Outcome:
        return await _open(change, others, body.name, "user_ids")

    return answer_outcome(await request.app[DESK].changes.run(context, work))


@route(
    "GET",
    "/conversations/{conversation_id}",
    answer=OwnConversation,
    feed=reader_feed,
    tag=CONVERSATIONS,
)
async def get_conversation(request: web.Request) -> web.Response:
    """Show one of your conversations, with who is in it."""
    return answer(
        await sql.conversations.seen(
            request[READS],
            id=path_id(request, "conversation_id"),
            reader=request[ACTOR].user_id,
        )
    )


@route(
    "PUT",
    "/conversations/{conversation_id}",
    body=NameConversation,
    answer=OwnConversation,
    errors=(422,),
    tag=CONVERSATIONS,
)
async def name_conversation(request: web.Request) -> web.Response:
    """Give a group another name."""
    context = _context(request)
    name = (request[BODY].name or "").strip() or None

    async def work(change: Change) -> PendingShape:
        here = await _enter_group(change)
        if name != await sql.conversations.name_of(change.connection, id=here):
            await sql.conversations.name(change.connection, id=here, name=name)
            shape = change.shape(sql.conversations.shape, id=here)
            await _tell(change, DM_CONVERSATION_UPDATED, shape, _entity(here))
        return _seen(change, here)

    return answer((await request.app[DESK].changes.run(context, work)).text)


@route(
    "POST",
    "/conversations/{conversation_id}/avatar",
    accepts=PICTURE,
    answer=ConversationAvatar,
    errors=(422,),
    tag=CONVERSATIONS,
)
async def set_conversation_avatar(request: web.Request) -> web.Response:
    """Give a group a picture: the part `avatar` of a form.

    PNG, JPEG, GIF, WebP or AVIF, of at most 5 MiB. It becomes a square of 128 pixels, and nothing
    is kept of where and how it was taken.
    """
    desk, context = request.app[DESK], _context(request)
    is_group = await sql.conversations.is_group(
        desk.database, id=context.conversation_id, reader=context.actor_id
    )
    _require_group(is_group)
    avatar = await read_avatar(request)

    async def work(change: Change) -> None:
        here = await _enter_group(change)
        await sql.avatars.hold(
            change.connection, user_id=None, conversation_id=here, sha256=avatar.sha256
        )
        await sql.avatars.keep(change.connection, **avatar._asdict())
        await _picture(change, avatar.address)

    await desk.changes.run(context, work)
    return answer(json_text(avatar=avatar.address))


@route(
    "DELETE",
    "/conversations/{conversation_id}/avatar",
    status=204,
    errors=(422,),
    tag=CONVERSATIONS,
)
async def remove_conversation_avatar(request: web.Request) -> web.Response:
    """Show no picture of a group any more."""

    async def work(change: Change) -> None:
        await _enter_group(change)
        await _picture(change, None)

    await request.app[DESK].changes.run(_context(request), work)
    return no_content()


async def _picture(change: Change, address: str | None) -> None:
    """Another picture for the locked group, or none."""
    here = _here(change)
    if await sql.conversations.picture(change.connection, id=here, avatar=address):
        shape = change.shape(sql.conversations.shape, id=here)
        await _tell(change, DM_CONVERSATION_UPDATED, shape, _entity(here))


# Who is in it


@route(
    "POST",
    "/conversations/{conversation_id}/members",
    body=NewParticipant,
    answer=OwnConversation,
    status=201,
    made_at="/conversations/{id}",
    errors=(409,),
    keyed=True,
    tag=CONVERSATIONS,
)
async def add_participant(request: web.Request) -> web.Response:
    """Add somebody to a group, who may read what was said there before.

    What two people said stays theirs: to add a third person to them makes a new group of the three,
    which is the answer.
    """
    context, user_id = _context(request), request[BODY].user_id

    async def work(change: Change) -> Outcome:
        connection, here = change.connection, _here(change)
        entered = await _enter(change, user_id)
        members = await _members(change)
        if not entered["is_group"]:
            if user_id in members:
                raise Conflict("this user already is in the conversation", code="already_member")
            others = [each for each in members if each != context.actor_id]
            return await _open(change, [*others, user_id], None, "user_id")
        await sql.conversations.add(connection, id=here, user_id=user_id, most=MOST_MEMBERS)
        added = change.shape(sql.conversations.participant, id=here, user_id=user_id)
        of_member = _entity(here).child("member", user_id)
        for each in members:
            change.emit(user_channel(each), DM_MEMBER_ADDED, added, entity=of_member)
        shape = change.shape(sql.conversations.shape, id=here)
        change.emit(user_channel(user_id), DM_CONVERSATION_CREATED, shape, entity=_entity(here))
        return Outcome(201, _seen(change, here), parts=_parts)

    return answer_outcome(await request.app[DESK].changes.run(context, work))


@route(
    "DELETE",
    "/conversations/{conversation_id}/members/{user_id}",
    status=204,
    errors=(422,),
    tag=CONVERSATIONS,
)
async def remove_participant(request: web.Request) -> web.Response:
    """Leave a group, or remove somebody from it.

    Everybody may leave. Others are removed by who made the group, and by an administrator who is in
    it. When the last one left, the group is deleted.
    """
    context, user_id = _context(request), path_id(request, "user_id")

    async def work(change: Change) -> None:
        entered = await _enter(change)
        here = _here(change)
        _require_group(entered["is_group"])
        may_remove = (
            user_id == context.actor_id
            or entered["created_by_id"] == context.actor_id
            or entered["global_role"] == GlobalRole.ADMIN
        )
        if not may_remove:
            raise Forbidden("only who made the group removes others")
        await sql.conversations.remove(change.connection, id=here, user_id=user_id)
        await sql.notifications.hold_of_person(
            change.connection, user_id=user_id, project_id=None, conversation_id=here
        )
        removed = json_text(conversation_id=here, user_id=user_id)
        of_member = _entity(here).child("member", user_id)
        if not await _tell(change, DM_MEMBER_REMOVED, removed, of_member):
            await sql.conversations.empty(change.connection, id=here)
        change.emit(
            user_channel(user_id),
            DM_CONVERSATION_DELETED,
            json_text(conversation_id=here),
            entity=_entity(here),
        )
        change.finish(
            sql.notifications.forget_conversation,
            actor=context.actor_id,
            conversation_id=here,
            user_id=user_id,
        )

    await request.app[DESK].changes.run(context, work)
    return no_content()


# What is one's own in it


@route(
    "POST",
    "/conversations/{conversation_id}/read",
    body=ReadMark,
    status=204,
    example={"message_id": 1},
    tag=CONVERSATIONS,
)
async def read_conversation(request: web.Request) -> web.Response:
    """Say up to which message you have read. The mark only moves forward."""
    context, message_id = _context(request), request[BODY].message_id

    async def work(change: Change) -> None:
        here = _here(change)
        read = await sql.conversations.read(
            change.connection, id=here, actor=context.actor_id, message_id=message_id
        )
        if read is not None:
            change.emit(
                user_channel(request[ACTOR].user_id),
                DM_READ,
                json_text(conversation_id=here, message_id=message_id),
                entity=_entity(here),
            )
            change.finish(
                sql.notifications.read_these,
                user_id=request[ACTOR].user_id,
                ids=read,
                client=context.client_id,
            )

    await request.app[DESK].changes.run(context, work)
    return no_content()


@route(
    "PUT",
    "/conversations/{conversation_id}/mute",
    body=Mute,
    status=204,
    example={"muted": True},
    tag=CONVERSATIONS,
)
async def mute_conversation(request: web.Request) -> web.Response:
    """Say whether you want to be left in peace; what you have not read is counted all the same."""
    context, muted = _context(request), request[BODY].muted

    async def work(change: Change) -> None:
        await sql.conversations.mute(
            change.connection, id=_here(change), actor=context.actor_id, muted=muted
        )

    await request.app[DESK].changes.run(context, work)
    return no_content()


# Messages


@route(
    "GET",
    "/conversations/{conversation_id}/messages",
    query=MessagesQuery,
    answer=list[ConversationMessage],
    paged=True,
    feed=reader_feed,
    tag=CONVERSATIONS,
)
async def list_conversation_messages(request: web.Request) -> web.Response:
    """List a page of messages, oldest first: the newest, or those before, after or around one.

    A page of long messages ends early. As long as there is more, a `Link` with `rel="next"` goes
    on: to newer messages after one, else to older ones. Around one it goes on to newer ones, and
    `rel="prev"` to older ones.
    """
    query: MessagesQuery = request[QUERY]
    page = await sql.conversations.messages(
        request[READS],
        id=path_id(request, "conversation_id"),
        reader=request[ACTOR].user_id,
        before=query.before,
        after=query.after,
        around=query.around,
        limit=query.limit,
        bytes=PAGE_BYTES,
    )
    return answer_messages(request, page)


@route(
    "POST",
    "/conversations/{conversation_id}/messages",
    body=SendMessage,
    answer=ConversationMessage,
    status=201,
    made_at="/conversations/{conversation_id}/messages/{id}",
    example={"body": "Lunch at noon?"},
    errors=(429,),
    also=(200,),
    keyed=True,
    rate=MESSAGES,
    tag=CONVERSATIONS,
)
async def send_conversation_message(request: web.Request) -> web.Response:
    """Send a message. The same nonce again within ten minutes answers 200 with the same message.

    `attachment_ids` are uploads of yours.
    """
    context, body = _context(request), request[BODY]
    conversations = request.app[DESK].conversations
    return answer_outcome(await conversations.send(context, body.text, body.nonce, body.uploads))


@route(
    "PUT",
    "/conversations/{conversation_id}/messages/{message_id}",
    body=EditMessage,
    answer=ConversationMessage,
    example={"body": "Lunch at one?"},
    errors=(409, 412),
    keyed=True,
    tag=CONVERSATIONS,
)
async def edit_conversation_message(request: web.Request) -> web.Response:
    """Edit a message of your own."""
    return await _edit(request)


@route(
    "PATCH",
    "/conversations/{conversation_id}/messages/{message_id}",
    body=EditMessage,
    answer=ConversationMessage,
    example={"body": "Lunch at one?"},
    errors=(409, 412),
    keyed=True,
    tag=CONVERSATIONS,
)
async def patch_conversation_message(request: web.Request) -> web.Response:
    """Edit a message of your own; the same as PUT."""
    return await _edit(request)


async def _edit(request: web.Request) -> web.Response:
    context, body = _context(request), request[BODY].body
    message_id = path_id(request, "message_id")

    async def work(change: Change) -> Outcome:
        message = await _lock_own(change, message_id)
        shape = change.shape(sql.conversations.message, message_id=message_id)
        of_message = _entity(_here(change)).child("message", message_id)
        if body != message["body"]:
            await sql.conversations.edit(change.connection, message_id=message_id, body=body)
            await _tell(change, DM_MESSAGE_UPDATED, shape, of_message)
            if names := named(body, message["body"]):
                change.finish(
                    sql.notifications.named_in_conversation,
                    actor=context.actor_id,
                    conversation_id=_here(change),
                    message_id=message_id,
                    body=body,
                    names=names,
                )
        return Outcome(200, shape, entity=of_message)

    return answer_outcome(await request.app[DESK].changes.run(context, work))


@route(
    "DELETE",
    "/conversations/{conversation_id}/messages/{message_id}",
    status=204,
    errors=(412,),
    tag=CONVERSATIONS,
)
async def delete_conversation_message(request: web.Request) -> web.Response:
    """Delete a message of your own."""
    context, message_id = _context(request), path_id(request, "message_id")

    async def work(change: Change) -> None:
        await _lock_own(change, message_id)
        here = _here(change)
        await sql.conversations.delete(change.connection, message_id=message_id)
        await sql.notifications.hold_of_message(
            change.connection, conversation_id=here, id=message_id
        )
        deleted = json_text(conversation_id=here, id=message_id)
        await _tell(change, DM_MESSAGE_DELETED, deleted, _entity(here).child("message", message_id))
        change.finish(
            sql.notifications.forget_message,
            actor=context.actor_id,
            conversation_id=here,
            id=message_id,
        )

    await request.app[DESK].changes.run(context, work)
    return no_content()


@route(
    "POST",
    "/conversations/{conversation_id}/messages/{message_id}/reactions",
    body=AddReaction,
    answer=ReactionAdded,
    status=201,
    example={"emoji": "👍"},
    also=(200,),
    tag=CONVERSATIONS,
)
async def add_conversation_reaction(request: web.Request) -> web.Response:
    """Put an emoji under a message. It answers 200 when it is there already."""
    context, message_id = _context(request), path_id(request, "message_id")
    emoji = one_emoji(request[BODY].emoji)

    async def work(change: Change) -> Outcome:
        await _lock(change, message_id)
        is_new, now = await reactions.add(change, "conv_message", message_id, emoji)
        if is_new:
            await _tell_reactions(change, message_id, now)
        return Outcome(201 if is_new else 200, now.added)

    return answer_outcome(await request.app[DESK].changes.run(context, work))


@route(
    "DELETE",
    "/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}",
    status=204,
    parameters=EMOJI,
    tag=CONVERSATIONS,
)
async def remove_conversation_reaction(request: web.Request) -> web.Response:
    """Take your emoji away from a message."""
    context, message_id = _context(request), path_id(request, "message_id")
    emoji = request.match_info["emoji"]

    async def work(change: Change) -> None:
        await _lock(change, message_id)
        now = await reactions.remove(change, "conv_message", message_id, emoji)
        await _tell_reactions(change, message_id, now)

    await request.app[DESK].changes.run(context, work)
    return no_content()


# On a socket


@command("dm.typing", TypingIn, of_user=True, reads=True, grants=TO_WRITE)
async def say_typing(call: Call) -> None:
    """Tells the others of a conversation that you write, at most once in three seconds."""
    socket, conversation_id = call.socket, call.body.conversation_id
    desk, user_id = socket.desk, socket.user_id
    if not socket.may_tell_typing():
        return
    rows = await sql.conversations.members(desk.database, id=conversation_id)
    members = [row["user_id"] for row in rows]
    if user_id not in members:
        raise NotFound("conversation not found")
    payload = b'{"conversation_id":%d,"user_id":%d}' % (conversation_id, user_id)
    for each in members:
        if each != user_id:
            desk.bus.signal(user_channel(each), DM_TYPING, payload)


# What they share


def _context(request: web.Request) -> ChangeContext:
    """The request's context, with the conversation of its path."""
    conversation_id = path_id(request, "conversation_id")
    context: ChangeContext = request[CONTEXT]._replace(conversation_id=conversation_id)
    return context


def _here(change: Change) -> int:
    return change.context.conversation


def _entity(conversation_id: int) -> Entity:
    return entity("conversation", conversation_id)


async def _enter(change: Change, newcomer: int | None = None) -> Any:
    """Locks the conversation for somebody in it: see require_participant. 404 to others."""
    return await sql.conversations.enter(
        change.connection,
        actor=change.context.actor_id,
        id=_here(change),
        newcomer=newcomer,
    )


async def _enter_group(change: Change) -> int:
    _require_group((await _enter(change))["is_group"])
    return _here(change)


def _require_group(is_group: bool) -> None:
    if not is_group:
        raise Impossible(NOT_A_GROUP, code="not_a_group")


async def _members(change: Change) -> list[int]:
    rows = await sql.conversations.members(change.connection, id=_here(change))
    return [row["user_id"] for row in rows]


async def _tell(change: Change, event: Event, payload: str | PendingShape, of: Entity) -> list[int]:
    """Emits an event to everybody who is in the locked conversation now, and gives their ids."""
    members = await _members(change)
    for each in members:
        change.emit(user_channel(each), event, payload, entity=of)
    return members


def _seen(change: Change, conversation_id: int) -> PendingShape:
    """The conversation as the actor sees it."""
    return change.shape(sql.conversations.seen, id=conversation_id, reader=change.context.actor_id)


async def _open(change: Change, others: list[int], name: str | None, field: str) -> Outcome:
    """The conversation with these others: 201 and told to all when it is new, else 200."""
    made = await sql.conversations.open(
        change.connection,
        actor=change.context.actor_id,
        others=others,
        name=(name or "").strip() or None,
        field=field,
    )
    if made["is_new"]:
        shape = change.shape(sql.conversations.shape, id=made["id"])
        for each in (change.context.actor_id, *others):
            channel = user_channel(int(each or 0))
            change.emit(channel, DM_CONVERSATION_CREATED, shape, entity=_entity(made["id"]))
    seen = _seen(change, made["id"])
    told_of = _entity(made["id"])
    return Outcome(201 if made["is_new"] else 200, seen, entity=told_of, parts=_parts)


class _Message(msgspec.Struct):
    id: int


class _Shown(msgspec.Struct):
    id: int
    last_message: _Message | None


_read = msgspec.json.Decoder(_Shown).decode


def _parts(answer: str) -> list[Entity]:
    """The last message, which a conversation is shown with."""
    shown = _read(answer)
    last = shown.last_message
    return [] if last is None else [_entity(shown.id).child("message", last.id)]


def _too_many() -> Impossible:
    return Impossible(
        f"user_ids: a group has at most {MOST_MEMBERS} people",
        code="too_many_members",
        fields={"user_ids": "too_long"},
        limits={"user_ids": {"max": MOST_MEMBERS - 1}},
    )


async def _lock(change: Change, message_id: int) -> Any:
    """A message, in a locked conversation; 404 when it is deleted or of another conversation."""
    await _enter(change)
    return await sql.conversations.lock_message(
        change.connection, id=_here(change), message_id=message_id
    )


async def _lock_own(change: Change, message_id: int) -> Any:
    """A message of the actor's own; 409 or 412 when it is not the version the client saw."""
    message = await _lock(change, message_id)
    if message["sender_id"] != change.context.actor_id:
        raise Forbidden("only its author may change a message")
    await sql.conversations.require_version(
        change.connection,
        message_id=message_id,
        version=change.context.version,
        conflict_status=change.context.conflict_status,
    )
    return message


async def _tell_reactions(change: Change, message_id: int, now: Reactions) -> None:
    here = _here(change)
    payload = Held(joined(json_text(conversation_id=here), now.of_message))
    await _tell(change, DM_REACTION_UPDATED, payload, _entity(here).child("message", message_id))
