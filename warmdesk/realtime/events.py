"""The catalogue: every event and signal of the protocol, a line each.

An *event* is a fact with a seq that stays in its channel's feed. A *signal* is ephemeral: no seq,
not stored. An event whose name ends in ``deleted`` blanks, in the feed, what was told of its
entity before. The documents are compared with this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from warmdesk.realtime.frames import frame
from warmdesk.schemas import cards as card
from warmdesk.schemas import chat
from warmdesk.schemas import columns as column
from warmdesk.schemas import control as ctl
from warmdesk.schemas import members as member
from warmdesk.schemas import projects as project
from warmdesk.schemas import sockets as socket
from warmdesk.schemas import users as user


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event or signal: its name on the wire, its payload's type, its sentence."""

    name: str
    payload: Any
    sentence: str
    stored: bool = True
    shaped: bool = False
    """Whether its payload shows rows, and not only which they are."""


CATALOGUE: dict[str, Event] = {}


def event(name: str, payload: Any, sentence: str) -> Event:
    return CATALOGUE.setdefault(name, Event(name, payload, sentence, shaped=_shows_rows(payload)))


def _shows_rows(payload: Any) -> bool:
    """Whether a payload's type is a shape or holds one; ids, slugs and keys are none."""
    fields = msgspec.structs.fields(payload)
    return any(field.name == "created_at" or _has_struct(field.type) for field in fields)


def _has_struct(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(map(_has_struct, get_args(kind)))


def signal(name: str, payload: Any, sentence: str) -> Event:
    return CATALOGUE.setdefault(name, Event(name, payload, sentence, stored=False))


def signal_frame(event: Event, payload: bytes) -> bytes:
    """The frame of a signal; its payload is JSON."""
    return frame(b'{"type":"%s","payload":%s}' % (event.name.encode(), payload))


# The board, to everybody on the project.
CARD_CREATED = event("board.card_created", card.CardSummary, "A card was created.")
CARD_UPDATED = event("board.card_updated", card.CardUpdated, "Fields of a card were changed.")
CARD_MOVED = event("board.card_moved", card.CardMoved, "A card went to another column or position.")
CARD_DELETED = event("board.card_deleted", card.CardDeleted, "A card was deleted.")
CARD_RESTORED = event("board.card_restored", card.CardSummary, "A deleted card came back.")
CARDS_REORDERED = event(
    "board.cards_reordered", card.CardsReordered, "A column's positions were spaced anew."
)
COLUMN_CREATED = event("board.column_created", column.Column, "A column was created.")
COLUMN_UPDATED = event("board.column_updated", column.Column, "A column was changed.")
COLUMN_DELETED = event("board.column_deleted", column.ColumnDeleted, "An empty column was deleted.")
COLUMNS_REORDERED = event(
    "board.columns_reordered", column.ColumnsReordered, "The columns have a new order."
)

# The talk.
CHAT_MESSAGE = event("chat.message", chat.ChatMessage, "A chat message was posted.")
CHAT_MESSAGE_UPDATED = event("chat.message_updated", chat.ChatMessage, "A chat message was edited.")
CHAT_MESSAGE_DELETED = event(
    "chat.message_deleted", chat.ChatMessageDeleted, "A chat message was deleted."
)
CHAT_REACTION_UPDATED = event(
    "chat.reaction_updated", chat.ReactionUpdated, "A message's reactions changed."
)

# The project itself.
PROJECT_UPDATED = event(
    "project.updated", project.ProjectUpdated, "Fields of the project were changed."
)
PROJECT_ARCHIVED = event(
    "project.archived", project.ProjectSlug, "The project was archived: read-only from now on."
)
PROJECT_UNARCHIVED = event(
    "project.unarchived", project.ProjectSlug, "The project may be written to again."
)
MEMBER_ADDED = event("project.member_added", member.Member, "Somebody became a member.")
MEMBER_UPDATED = event(
    "project.member_updated", member.Member, "A member's role, name or picture changed."
)
MEMBER_REMOVED = event(
    "project.member_removed", member.MemberRemoved, "Somebody is no longer a member."
)
GUEST_UPDATED = event(
    "project.guest_updated", member.Guest, "The name or picture of somebody shown here changed."
)

# To every socket of one user.
PROJECT_CREATED = event("project.created", project.ProjectSlug, "You created a project.")
PROJECT_JOINED = event("project.joined", project.ProjectSlug, "You became a member of a project.")
PROJECT_LEFT = event(
    "project.left", project.ProjectSlug, "You are no longer a member of a project."
)
USER_UPDATED = event("user.updated", user.Me, "Your profile changed.")
SESSION_REVOKED = event("session.revoked", ctl.SessionRevoked, "A session of yours was ended.")

# What a deleted text leaves in a feed.
GONE = event("gone", socket.Nothing, "An event whose text was deleted: only its seq is left.")

# Between the processes, on the channel `control`; never sent to a socket.
CONTROL_SESSION = event(
    "control.session", ctl.SessionEnded, "A session was ended: its tokens and sockets are dead."
)
CONTROL_USER = event(
    "control.user", ctl.UserChanged, "An account's role, activity or name changed."
)
CONTROL_KEY = event("control.key", ctl.KeyEnded, "An API key was revoked.")
CONTROL_MEMBER = event(
    "control.member", ctl.MemberChanged, "A membership was made, changed or ended."
)
CONTROL_PROJECT = event(
    "control.project", ctl.ProjectChanged, "A project was archived, un-archived or renamed."
)
CONTROL_SETTINGS = event("control.settings", ctl.SettingsChanged, "System settings changed.")
CONTROL_RESTORED = event("control.restored", socket.Nothing, "The data was restored from a backup.")

# Signals.
HELLO = signal(
    "hello", socket.Hello, "The first frame: who you are, where, and the seq and epoch that hold."
)
PRESENCE_LIST = signal("presence.list", socket.PresenceList, "Who is here, the newcomer included.")
PRESENCE_JOIN = signal("presence.join", socket.PresenceJoin, "A user opened the project.")
PRESENCE_LEAVE = signal("presence.leave", socket.PresenceLeave, "A user left the project.")
PRESENCE_CHANGED = signal(
    "presence.changed", socket.PresenceChanged, "Joins and leaves of a quarter second, in one."
)
CHAT_TYPING = signal("chat.typing", socket.Typing, "Somebody writes a chat message.")
PONG = signal("pong", socket.Pong, "The answer to ping, with the channel's head.")
ACK = signal("ack", socket.Ack, "A message of yours was carried out.")
ERROR = signal("error", socket.SocketError, "A message of yours was refused.")
SYNC_RESET = signal(
    "sync.reset", socket.SyncReset, "What you missed is no longer here: fetch again."
)
AUTH_EXPIRING = signal(
    "auth.expiring", socket.AuthExpiring, "Your token runs out; send auth.refresh."
)
RECONNECT = signal(
    "reconnect", socket.Reconnect, "A planned stop: come back at a random moment in between."
)
