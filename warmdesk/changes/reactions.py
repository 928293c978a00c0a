"""Reactions: the emojis under the messages of a chat and of a conversation."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw

from warmdesk.db.queries import sql
from warmdesk.errors import Impossible, field_error
from warmdesk.json_parts import joined
from warmdesk.realtime.change import Change
from warmdesk.schemas.emoji import EMOJI

DIFFERENT = 50
"""Different emojis under one message."""
EMOJI_BYTES = 32

Kind = Literal["chat_message", "conv_message"]


class Reactions(NamedTuple):
    """What stands under a message, as JSON: the message's id and all its reactions, as they are
    told, and the same with the id of the actor's own, as it is answered.
    """

    of_message: str
    added: str


def one_emoji(text: str) -> str:
    """One emoji, at most 32 bytes of it; 400 for anything else."""
    if len(text.encode()) > EMOJI_BYTES or not EMOJI.fullmatch(text):
        raise field_error("emoji", "bad_format", "must be one emoji")
    return text


async def add(change: Change, kind: Kind, message_id: int, emoji: str) -> tuple[bool, Reactions]:
    """Put the actor's emoji under a locked message: whether it is new, and what stands there now.
    422 for one more than `DIFFERENT`.
    """
    added = await sql.reactions.add(
        change.connection,
        owner_type=kind,
        id=message_id,
        actor=change.context.actor_id,
        emoji=emoji,
    )
    now = await _read(change, kind, message_id, emoji)
    if added and now["different"] > DIFFERENT:
        raise Impossible(f"a message takes {DIFFERENT} different emojis", code="too_many_reactions")
    return bool(added), _told(message_id, now)


async def remove(change: Change, kind: Kind, message_id: int, emoji: str) -> Reactions:
    """Take the actor's emoji away from a locked message; gives what is left. 404 when there was
    none.
    """
    await sql.reactions.remove(
        change.connection,
        owner_type=kind,
        id=message_id,
        actor=change.context.actor_id,
        emoji=emoji,
    )
    return _told(message_id, await _read(change, kind, message_id, emoji))


async def _read(change: Change, kind: Kind, message_id: int, emoji: str) -> Any:
    return await sql.reactions.of_message(
        change.connection,
        owner_type=kind,
        id=message_id,
        actor=change.context.actor_id,
        emoji=emoji,
    )


def _told(message_id: int, now: Any) -> Reactions:
    of_message = _json(message_id=message_id, reactions=Raw(now["reactions"]))
    return Reactions(of_message, joined(_json(id=now["mine"]), of_message))


def _json(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()
