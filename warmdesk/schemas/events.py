"""The feeds over REST: what happened after a seq; and who is here."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import MAX_ID, Body, Shape, Timestamp
from warmdesk.schemas.pages import Limit, NotNegative


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
            Meta(ge=1, le=60, description="seconds to wait while there is nothing: 1 to 60"),
        ]
        | None
    ) = None


class PresenceQuery(Body):
    """Which of those who are here."""

    limit: Limit = 100
    cursor: Annotated[NotNegative, Meta(description="how many to pass over")] = 0


class Told(Shape):
    """What stands beside the payload of every event. `client_id`: the change's `X-Client-Id`."""

    seq: int
    ts: Timestamp
    actor_id: int | None
    client_id: str | UnsetType = UNSET


class EventsPage(Shape):
    """A page of a feed, without its events."""

    seq: int
    oldest: int
    epoch: str
    reset: bool
