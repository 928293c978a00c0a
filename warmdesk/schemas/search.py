"""The search of everything."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from warmdesk.schemas import Body, Shape
from warmdesk.schemas.cards import BoardCard
from warmdesk.schemas.chat import ChatMessage
from warmdesk.schemas.comments import Comment
from warmdesk.schemas.conversations import ConversationMessage
from warmdesk.schemas.topics import ListedTopic, Reply

Kind = Literal["card", "card_comment", "chat_message", "dm_message", "topic", "topic_reply"]

LEAST = 2
"""Characters that are searched for, at least."""


class Search(Body):
    """What is looked for: texts that hold every word of `q`; of one kind with `type`."""

    q: Annotated[str, Meta(min_length=LEAST, max_length=200, examples=["door"])]
    type: Kind | None = None
    limit: Annotated[int, Meta(ge=1, le=20, description="How many at most, of each kind")] = 20


class Mark(Shape):
    """Where a word stands in a snippet: from a character, counted from 0, to before another.
    Characters are those of Unicode: in JavaScript those of `[...snippet]`.
    """

    start: int
    end: int


class Found(Shape):
    """What was found.

    `snippet` is a piece of its text, plain as it was written; `marks` say where the words stand in
    it. `heading` is what it belongs to: a comment's card, a reply's topic, a message's group.
    """

    project_slug: str | None
    card_key: str | None
    heading: str | None
    snippet: str
    marks: list[Mark]


class FoundCard(Found, tag_field="type", tag="card", kw_only=True):
    """A card, as a board shows it."""

    item: BoardCard


class FoundComment(Found, tag_field="type", tag="card_comment", kw_only=True):
    """A comment, with the key and the title of its card."""

    item: Comment


class FoundChatMessage(Found, tag_field="type", tag="chat_message", kw_only=True):
    """A message of a project's chat."""

    item: ChatMessage


class FoundDirectMessage(Found, tag_field="type", tag="dm_message", kw_only=True):
    """A message of one of your conversations; it belongs to no project."""

    item: ConversationMessage


class FoundTopic(Found, tag_field="type", tag="topic", kw_only=True):
    """A topic, as lists show it."""

    item: ListedTopic


class FoundReply(Found, tag_field="type", tag="topic_reply", kw_only=True):
    """A reply, with the title of its topic."""

    item: Reply


AnyFound = (
    FoundCard | FoundComment | FoundChatMessage | FoundDirectMessage | FoundTopic | FoundReply
)
