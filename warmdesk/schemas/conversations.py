"""Conversations: what two people, or a group, say to each other outside any project."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from warmdesk.schemas import Body, Id, Shape, Timestamp
from warmdesk.schemas.attachments import Attachment
from warmdesk.schemas.chat import Reaction
from warmdesk.schemas.pages import NotNegative, PageQuery
from warmdesk.schemas.users import ONE_LINE, PRINTABLE, UserRef

MOST_NAMED = 1000
GroupName = Annotated[
    str, Meta(max_length=200, pattern=PRINTABLE, examples=["Lunch"], extra=ONE_LINE)
]


class ListConversations(PageQuery):
    """Which conversations: all of one's own."""

    cursor_type: ClassVar[Any] = tuple[NotNegative, Id]


class NewConversation(Body):
    """With whom; oneself need not be named. A `name` is for groups."""

    user_ids: Annotated[list[Id], Meta(max_length=MOST_NAMED, examples=[[2]])]
    name: GroupName | None = None


class NameConversation(Body):
    """A group's name; null or empty for none."""

    name: GroupName | None


class NewParticipant(Body):
    """Whom to add."""

    user_id: Id


class ReadMark(Body):
    """The last message that was read."""

    message_id: Id


class Mute(Body):
    """Whether one wants to be left in peace."""

    muted: bool


class TypingIn(Body):
    """In which conversation one writes."""

    conversation_id: Id


class Participant(Shape):
    """Somebody in a conversation."""

    user_id: int
    joined_at: Timestamp
    user: UserRef


class Conversation(Shape):
    """A conversation of two people, or a group. `updated_at`: when it was last written in, named
    or given a picture.
    """

    id: int
    name: str | None
    avatar: str | None
    is_group: bool
    created_by_id: int
    created_at: Timestamp
    updated_at: Timestamp
    members: Annotated[list[Participant], Meta(description="at most 100, in the order they came")]


class ConversationAvatar(Shape):
    """Where a group's picture is shown."""

    avatar: str


class ConversationMessage(Shape):
    """A message of a conversation. A deleted one has no text."""

    id: int
    conversation_id: int
    sender_id: int
    sender: UserRef
    body: str
    is_edited: bool
    is_deleted: bool
    attachments: list[Attachment]
    reactions: list[Reaction]
    created_at: Timestamp
    updated_at: Timestamp
    version: int
    nonce: str | None = None


class OwnConversation(Conversation):
    """A conversation as one of those in it sees it. The last four stand in no event."""

    last_message: ConversationMessage | None
    unread_count: Annotated[
        int,
        Meta(
            description="others' messages, not deleted, among the first 1,000 that follow"
            " `last_read_message_id`"
        ),
    ]
    last_read_message_id: int | None
    muted: bool


class ConversationDeleted(Shape):
    conversation_id: int


class ParticipantAdded(Participant):
    """Somebody who came into a group."""

    conversation_id: int


class ParticipantRemoved(Shape):
    conversation_id: int
    user_id: int


class Partner(Shape):
    """Somebody with whom one has a conversation."""

    user_id: int
    user: UserRef


class ConversationMessageDeleted(Shape):
    conversation_id: int
    id: int


class ConversationReactions(Shape):
    """A message's reactions, all of them."""

    conversation_id: int
    message_id: int
    reactions: list[Reaction]


class ConversationRead(Shape):
    conversation_id: int
    message_id: int


class ConversationTyping(Shape):
    conversation_id: int
    user_id: int
