"""What sockets carry beside the events of the resources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Shape, Timestamp
from warmdesk.schemas.users import UserRef


class Nothing(Shape):
    """An empty object."""


class Place(Shape):
    """A project in `hello`."""

    id: int
    slug: str


class Hello(Shape):
    """The first frame of all."""

    connection_id: str
    user: UserRef
    project: Place | None
    role: str | None
    seq: int
    oldest: Annotated[int, Meta(description="the oldest event that is kept: go on from no earlier")]
    epoch: str
    server_time: Timestamp
    ping_interval: int
    resumed: bool
    replay: Annotated[int, Meta(description="how many events up to `seq` follow, which you missed")]
    unread_notifications: (
        Annotated[
            int,
            Meta(description="on one's own socket: how many notifications are unread at `seq`"),
        ]
        | UnsetType
    ) = UNSET
    unread_conversations: (
        Annotated[
            int,
            Meta(
                description="on one's own socket: in how many conversations others' messages are"
                " unread at `seq`, 100 at most"
            ),
        ]
        | UnsetType
    ) = UNSET


class PresenceList(Shape):
    """Everybody present, most recent first, up to 200; `count` is the whole number."""

    users: list[UserRef]
    count: int
    more: bool


class PresenceJoin(UserRef):
    """A user who opened the project."""

    user_id: int


class PresenceLeave(Shape):
    user_id: int


class PresenceChanged(Shape):
    joined: list[UserRef]
    left: list[int]
    count: int


class Typing(Shape):
    user_id: int


class Ping(Body):
    """Whether the board's digest is wanted too."""

    digest: bool = False


class BackupProgress(Shape):
    """How far a backup or a restore is: what is done now, and of how much. Where nobody knows how
    much there is, `total` is 0.
    """

    stage: Literal["check", "tables", "files", "index", "migrate", "commit"]
    done: int
    total: int


class Pong(Shape):
    """`seq` is the head of the channel. With a `digest`, which is what the board was at `seq` of
    `epoch`.
    """

    server_time: Timestamp
    seq: int
    epoch: str | UnsetType = UNSET
    digest: str | UnsetType = UNSET


class Ack(Shape):
    id: Any
    message_id: int | None = None


class SocketError(Shape):
    """Why a message was not carried out; `fields`: the codes of what is wrong in its payload, with
    the numbers and words for a sentence in `limits` and `allowed`. `current`: what is there, where
    somebody else changed it. `retry_after`: seconds after which it may be sent again.
    """

    code: str
    message: str
    id: Any = None
    fields: dict[str, str] | UnsetType = UNSET
    limits: dict[str, dict[str, float]] | UnsetType = UNSET
    allowed: dict[str, list[Any]] | UnsetType = UNSET
    current: dict[str, Any] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class SyncReset(Shape):
    seq: int
    epoch: str
    reason: str


class AuthExpiring(Shape):
    expires_at: Timestamp


class StreamEnd(Shape):
    """`code` is what a socket would have been closed with."""

    code: int
    reason: str


class Reconnect(Shape):
    min_ms: int
    max_ms: int
