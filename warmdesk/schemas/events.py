"""The feeds over REST: what happened after a seq; and who is here."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import MAX_ID, Body, Shape, Timestamp
from warmdesk.schemas.pages import Limit, NotNegative
from warmdesk.schemas.users import UserRef


class EventsQuery(Body):
    """Where to go on."""

    since: (
        Annotated[
            int, Meta(ge=0, le=MAX_ID, description="the last seq you have; absent: the oldest kept")
        ]
        | None
    ) = None
    epoch: Annotated[str, Meta(description="the epoch that `since` belongs to")] | None = None
    limit: Limit = 100
    wait: (
        Annotated[
            int,
            Meta(ge=0, le=60, description="seconds to wait while there is nothing, at most 60"),
        ]
        | None
    ) = None


class PresenceQuery(Body):
    """Which of those who are here."""

    limit: Limit = 100
    cursor: Annotated[NotNegative, Meta(description="how many to pass over")] = 0


class Told(Shape):
    """What stands beside the payload of every event."""

    seq: Annotated[int, Meta(description="its number in the feed: 1, 2, 3 …")]
    ts: Timestamp
    actor_id: Annotated[int | None, Meta(description="the user who made the change, if one did")]
    actor: (
        Annotated[
            UserRef,
            Meta(description="who that is, where it is no member of the project"),
        ]
        | UnsetType
    ) = UNSET
    client_id: (
        Annotated[
            str,
            Meta(
                description="the `X-Client-Id` of the change, or the `client_id` of the command,"
                " where it had one"
            ),
        ]
        | UnsetType
    ) = UNSET


class EventsPage(Shape):
    """A page of a feed, without its events."""

    seq: Annotated[int, Meta(description="the seq of the feed's last event")]
    oldest: Annotated[int, Meta(description="the seq of the oldest event that is kept")]
    epoch: Annotated[str, Meta(description="the history that these numbers count in")]
    reset: Annotated[
        bool, Meta(description="what came after `since` cannot be told: fetch all again")
    ]
