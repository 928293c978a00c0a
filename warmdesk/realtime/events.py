"""The catalogue: every event and signal of the protocol, a line each.

An *event* is a fact with a seq that stays in its channel's feed. A *signal* is ephemeral: no seq,
not stored. An event that erases blanks, in the feed and in the rooms, what was told of its entity
before. The documents are compared with this list, and PostgreSQL learns from it what erases: see
`warmdesk.db.migrations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args

import msgspec

from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.frames import frame
from warmdesk.schemas import attachments as attachment
from warmdesk.schemas import cards as card
from warmdesk.schemas import chat, checklist
from warmdesk.schemas import columns as column
from warmdesk.schemas import comments as comment
from warmdesk.schemas import control as ctl
from warmdesk.schemas import conversations as dm
from warmdesk.schemas import labels as label
from warmdesk.schemas import links as link
from warmdesk.schemas import members as member
from warmdesk.schemas import notifications as note
from warmdesk.schemas import projects as project
from warmdesk.schemas import sockets as socket
from warmdesk.schemas import time_entries as entry
from warmdesk.schemas import topics as topic
from warmdesk.schemas import users as user
from warmdesk.schemas.events import EventsPage, Told


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event or signal: its name on the wire, its audience, its payload's type, its
    sentence.
    """

    name: str
    scope: EventScope
    payload: Any
    sentence: str
    stored: bool = True
    shaped: bool = False
    """Whether its payload shows rows, and not only which they are."""
    erases: bool = False
    """Whether earlier events of its entity are blanked, and delivered to nobody after it."""

    def is_for(self, scope: EventScope) -> bool:
        """Whether those who follow a channel of this kind are told it."""
        return self.scope in (scope, EventScope.ANY)


PROJECT, USER, CONTROL, ANY = (
    EventScope.PROJECT,
    EventScope.USER,
    EventScope.CONTROL,
    EventScope.ANY,
)
CATALOGUE: dict[str, Event] = {}


def event(
    name: str, scope: EventScope, payload: Any, sentence: str, *, erases: bool = False
) -> Event:
    made = Event(name, scope, payload, sentence, shaped=_shows_rows(payload), erases=erases)
    return CATALOGUE.setdefault(name, made)


def _shows_rows(payload: Any) -> bool:
    """Whether a payload's type is a shape or holds one; ids, slugs and keys are none."""
    fields = msgspec.structs.fields(payload)
    return any(field.name == "created_at" or _has_struct(field.type) for field in fields)


def _has_struct(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(map(_has_struct, get_args(kind)))


def signal(name: str, scope: EventScope, payload: Any, sentence: str) -> Event:
    return CATALOGUE.setdefault(name, Event(name, scope, payload, sentence, stored=False))


def signal_frame(event: Event, payload: bytes) -> bytes:
    """The frame of a signal; its payload is JSON."""
    return frame(b'{"type":"%s","payload":%s}' % (event.name.encode(), payload))


# The board, to everybody on the project.
CARD_CREATED = event("board.card_created", PROJECT, card.CardBegun, "A card was created.")
CARD_UPDATED = event(
    "board.card_updated", PROJECT, card.CardUpdated, "Fields of a card were changed."
)
CARD_MOVED = event(
    "board.card_moved", PROJECT, card.CardMoved, "A card went to another column or position."
)
CARD_DELETED = event(
    "board.card_deleted",
    PROJECT,
    card.CardDeleted,
    "A card was deleted, or went to another project.",
    erases=True,
)
CARD_RESTORED = event("board.card_restored", PROJECT, card.CardBegun, "A deleted card came back.")
CARDS_REORDERED = event(
    "board.cards_reordered", PROJECT, card.CardsReordered, "A column's positions were spaced anew."
)
COLUMN_CREATED = event("board.column_created", PROJECT, column.Column, "A column was created.")
COLUMN_UPDATED = event("board.column_updated", PROJECT, column.Column, "A column was changed.")
COLUMN_DELETED = event(
    "board.column_deleted",
    PROJECT,
    column.ColumnDeleted,
    "An empty column was deleted.",
    erases=True,
)
COLUMNS_REORDERED = event(
    "board.columns_reordered", PROJECT, column.ColumnsReordered, "The columns have a new order."
)
LABEL_CREATED = event("board.label_created", PROJECT, label.Label, "A label was created.")
LABEL_UPDATED = event(
    "board.label_updated", PROJECT, label.Label, "A label was changed, on all cards that have it."
)
LABEL_DELETED = event(
    "board.label_deleted",
    PROJECT,
    label.LabelDeleted,
    "A label was deleted; no card has it any longer.",
    erases=True,
)

# What hangs on a card.
COMMENT_CREATED = event(
    "board.comment_created", PROJECT, comment.Comment, "Somebody commented on a card."
)
COMMENT_UPDATED = event("board.comment_updated", PROJECT, comment.Comment, "A comment was edited.")
COMMENT_DELETED = event(
    "board.comment_deleted",
    PROJECT,
    comment.CommentDeleted,
    "A comment was deleted.",
    erases=True,
)
CHECKLIST_ITEM_CREATED = event(
    "board.checklist_item_created",
    PROJECT,
    checklist.ChecklistItem,
    "An item was added to a checklist.",
)
CHECKLIST_ITEM_UPDATED = event(
    "board.checklist_item_updated",
    PROJECT,
    checklist.ChecklistItem,
    "A checklist's item was ticked, written anew or moved.",
)
CHECKLIST_ITEM_DELETED = event(
    "board.checklist_item_deleted",
    PROJECT,
    checklist.ChecklistItemDeleted,
    "A checklist's item was deleted.",
    erases=True,
)
CHECKLIST_REORDERED = event(
    "board.checklist_reordered",
    PROJECT,
    checklist.ChecklistReordered,
    "A checklist has a new order.",
)
LINK_CREATED = event("board.link_created", PROJECT, link.CardLink, "A card was linked.")
LINK_UPDATED = event(
    "board.link_updated", PROJECT, link.CardLink, "What a link leads to changed at its host."
)
LINK_DELETED = event(
    "board.link_deleted", PROJECT, link.LinkDeleted, "A link was taken from a card.", erases=True
)

ATTACHMENT_ADDED = event(
    "board.attachment_added", PROJECT, attachment.AttachmentAdded, "A file was put on a card."
)
ATTACHMENT_REMOVED = event(
    "board.attachment_removed",
    PROJECT,
    attachment.AttachmentRemoved,
    "A file was taken off a card.",
    erases=True,
)

# The talk.
CHAT_MESSAGE = event("chat.message", PROJECT, chat.ChatMessage, "A chat message was posted.")
CHAT_MESSAGE_UPDATED = event(
    "chat.message_updated", PROJECT, chat.ChatMessage, "A chat message was edited."
)
CHAT_MESSAGE_DELETED = event(
    "chat.message_deleted",
    PROJECT,
    chat.ChatMessageDeleted,
    "A chat message was deleted.",
    erases=True,
)
CHAT_REACTION_UPDATED = event(
    "chat.reaction_updated", PROJECT, chat.ReactionUpdated, "A message's reactions changed."
)
TOPIC_CREATED = event("topic.created", PROJECT, topic.Topic, "Somebody began a topic.")
TOPIC_UPDATED = event("topic.updated", PROJECT, topic.Topic, "A topic was edited or pinned.")
TOPIC_DELETED = event(
    "topic.deleted",
    PROJECT,
    topic.TopicDeleted,
    "A topic was deleted, and with it its replies.",
    erases=True,
)
TOPIC_REPLY_CREATED = event(
    "topic.reply_created", PROJECT, topic.Reply, "Somebody replied to a topic."
)
TOPIC_REPLY_UPDATED = event("topic.reply_updated", PROJECT, topic.Reply, "A reply was edited.")
TOPIC_REPLY_DELETED = event(
    "topic.reply_deleted", PROJECT, topic.ReplyDeleted, "A reply was deleted.", erases=True
)

# The project itself; the first three are told to each member, too, wherever that is.
PROJECT_UPDATED = event(
    "project.updated", ANY, project.ProjectUpdated, "Fields of the project were changed."
)
PROJECT_ARCHIVED = event(
    "project.archived",
    ANY,
    project.ProjectSlug,
    "The project was archived: read-only from now on.",
)
PROJECT_UNARCHIVED = event(
    "project.unarchived", ANY, project.ProjectSlug, "The project may be written to again."
)
MEMBER_ADDED = event("project.member_added", PROJECT, member.Member, "Somebody became a member.")
MEMBER_UPDATED = event(
    "project.member_updated", PROJECT, member.Member, "A member's role, name or picture changed."
)
MEMBER_REMOVED = event(
    "project.member_removed", PROJECT, member.MemberRemoved, "Somebody is no longer a member."
)
GUEST_UPDATED = event(
    "project.guest_updated",
    PROJECT,
    member.Guest,
    "The name or picture of somebody shown here changed.",
)

# To every socket of one user.
PROJECT_CREATED = event("project.created", USER, project.ProjectSlug, "You created a project.")
PROJECT_JOINED = event(
    "project.joined", USER, project.ProjectSlug, "You became a member of a project."
)
PROJECT_LEFT = event(
    "project.left",
    USER,
    project.ProjectSlug,
    "You are no longer a member of a project.",
    erases=True,
)
PROJECT_STARRED = event(
    "project.starred", USER, project.ProjectSlug, "You gave a project your star."
)
PROJECT_UNSTARRED = event(
    "project.unstarred", USER, project.ProjectSlug, "You took your star from a project."
)
CHAT_READ = event(
    "chat.read", USER, chat.ChatRead, "You have read a project's chat up to this message."
)
USER_UPDATED = event("user.updated", USER, user.Me, "Your profile changed.")
SESSION_REVOKED = event(
    "session.revoked", USER, ctl.SessionRevoked, "A session of yours was ended."
)

# Conversations, to every socket of each who is in one.
DM_CONVERSATION_CREATED = event(
    "dm.conversation_created",
    USER,
    dm.Conversation,
    "You are in a conversation: a new one, or a group to which you were added.",
)
DM_CONVERSATION_UPDATED = event(
    "dm.conversation_updated", USER, dm.Conversation, "A group has another name or picture."
)
DM_CONVERSATION_DELETED = event(
    "dm.conversation_deleted",
    USER,
    dm.ConversationDeleted,
    "You are no longer in a conversation: forget it.",
    erases=True,
)
DM_MEMBER_ADDED = event(
    "dm.member_added", USER, dm.ParticipantAdded, "Somebody came into a group of yours."
)
DM_MEMBER_REMOVED = event(
    "dm.member_removed", USER, dm.ParticipantRemoved, "Somebody is no longer in a group of yours."
)
DM_MEMBER_UPDATED = event(
    "dm.member_updated",
    USER,
    dm.Partner,
    "Somebody in your conversations has another name or picture.",
)
DM_MESSAGE = event(
    "dm.message", USER, dm.ConversationMessage, "A message was sent in a conversation of yours."
)
DM_MESSAGE_UPDATED = event(
    "dm.message_updated", USER, dm.ConversationMessage, "A message of a conversation was edited."
)
DM_MESSAGE_DELETED = event(
    "dm.message_deleted",
    USER,
    dm.ConversationMessageDeleted,
    "A message of a conversation was deleted.",
    erases=True,
)
DM_REACTION_UPDATED = event(
    "dm.reaction_updated",
    USER,
    dm.ConversationReactions,
    "The reactions of a message in a conversation changed.",
)
DM_READ = event(
    "dm.read", USER, dm.ConversationRead, "You have read a conversation up to this message."
)

# What concerns one person.
NOTIFICATION = event(
    "notification", USER, note.Notification, "Something happened that concerns you."
)
NOTIFICATION_READ = event(
    "notification.read",
    USER,
    note.NotificationRead,
    "You have read a notification, or all of them: how many are unread now.",
)
NOTIFICATION_DELETED = event(
    "notification.deleted",
    USER,
    note.NotificationsDeleted,
    "Notifications are gone, with what they were about: how many are unread now.",
    erases=True,
)

# What one person worked.
TIME_ENTRY_CREATED = event(
    "time.entry_created", USER, entry.TimeEntry, "You logged time, or somebody did for you."
)
TIME_ENTRY_UPDATED = event(
    "time.entry_updated", USER, entry.TimeEntry, "A time entry of yours was changed."
)
TIME_ENTRY_DELETED = event(
    "time.entry_deleted",
    USER,
    entry.TimeEntryDeleted,
    "A time entry of yours was deleted.",
    erases=True,
)

# What a deleted text leaves in a feed.
GONE = event("gone", ANY, socket.Nothing, "An event whose text was deleted: only its seq is left.")

# Between the processes, on the channel `control`; never sent to a socket.
CONTROL_SESSION = event(
    "control.session",
    CONTROL,
    ctl.SessionEnded,
    "A session was ended: its tokens and sockets are dead.",
)
CONTROL_USER = event(
    "control.user", CONTROL, ctl.UserChanged, "An account's role, activity or name changed."
)
CONTROL_KEY = event("control.key", CONTROL, ctl.KeyEnded, "An API key was revoked.")
CONTROL_MEMBER = event(
    "control.member", CONTROL, ctl.MemberChanged, "A membership was made, changed or ended."
)
CONTROL_PROJECT = event(
    "control.project",
    CONTROL,
    ctl.ProjectChanged,
    "A project was archived, un-archived or renamed.",
)
CONTROL_PROJECT_PURGED = event(
    "control.project_purged", CONTROL, ctl.ProjectChanged, "A project was purged: nobody sees it."
)
CONTROL_USER_PURGED = event(
    "control.user_purged",
    CONTROL,
    ctl.UserChanged,
    "A purged user's name was taken out of what was told before.",
)
CONTROL_SETTINGS = event(
    "control.settings", CONTROL, ctl.SettingsChanged, "System settings changed."
)
CONTROL_RESTORED = event(
    "control.restored", CONTROL, socket.Nothing, "The data was restored from a backup."
)

# Signals.
HELLO = signal(
    "hello",
    ANY,
    socket.Hello,
    "The first frame: who you are, where, and the seq and epoch that hold.",
)
PRESENCE_LIST = signal(
    "presence.list", PROJECT, socket.PresenceList, "Who is here, the newcomer included."
)
PRESENCE_JOIN = signal("presence.join", PROJECT, socket.PresenceJoin, "A user opened the project.")
PRESENCE_LEAVE = signal("presence.leave", PROJECT, socket.PresenceLeave, "A user left the project.")
PRESENCE_CHANGED = signal(
    "presence.changed",
    PROJECT,
    socket.PresenceChanged,
    "Joins and leaves of a quarter second, in one.",
)
BOARD_COUNTS = signal(
    "board.counts",
    PROJECT,
    project.BoardCounts,
    "How many cards there are: after events whose text was deleted.",
)
PROJECT_ACTIVITY = signal(
    "project.activity",
    USER,
    project.ProjectActivity,
    "What is unread in a project of yours, and who is there: on sockets with `?projects=1`.",
)
CHAT_TYPING = signal("chat.typing", PROJECT, socket.Typing, "Somebody writes a chat message.")
DM_TYPING = signal(
    "dm.typing", USER, dm.ConversationTyping, "Somebody writes in a conversation of yours."
)
BACKUP_PROGRESS = signal(
    "backup.progress", USER, socket.BackupProgress, "How far your backup or restore is."
)
PONG = signal("pong", ANY, socket.Pong, "The answer to ping, with the channel's head.")
ACK = signal("ack", ANY, socket.Ack, "A message of yours was carried out.")
ERROR = signal("error", ANY, socket.SocketError, "A message of yours was refused.")
SYNC_RESET = signal(
    "sync.reset", ANY, socket.SyncReset, "What you missed is no longer here: fetch again."
)
AUTH_EXPIRING = signal(
    "auth.expiring", ANY, socket.AuthExpiring, "Your token runs out; send auth.refresh."
)
RECONNECT = signal(
    "reconnect", ANY, socket.Reconnect, "A planned stop: come back at a random moment in between."
)
CLOSE = signal(
    "close", ANY, socket.StreamEnd, "The last of a stream of events: why it ends, as a close code."
)

# How events are shown, on sockets and in pages.


@cache
def envelope(kind: Event) -> Any:
    """The type of an event with what stands beside its payload. `type` tells them apart."""
    words = kind.name.replace("_", ".").split(".")
    return msgspec.defstruct(
        "".join(word.capitalize() for word in words) + "Event",
        [("payload", kind.payload)],
        bases=(Told,),
        namespace={"__doc__": kind.sentence},
        tag_field="type",
        tag=kind.name,
        kw_only=True,
    )


def events_page(name: str, scope: EventScope) -> Any:
    """The type of a page of a feed with the events of this audience."""
    shown = [envelope(each) for each in CATALOGUE.values() if each.stored and each.is_for(scope)]
    return msgspec.defstruct(
        name,
        [("events", list[Union[tuple(shown)]])],  # type: ignore[misc]  # noqa: UP007
        bases=(EventsPage,),
        namespace={"__doc__": "A page of a feed, oldest first."},
        kw_only=True,
    )


PROJECT_EVENTS = events_page("ProjectEvents", PROJECT)
USER_EVENTS = events_page("UserEvents", USER)

ERASING = sorted(each.name for each in CATALOGUE.values() if each.erases)
