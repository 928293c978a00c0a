"""Outgoing webhooks: addresses to which a project's events are sent."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import MAX_ID, Body, Id, Shape, Timestamp

MAX_OUTGOING = 20
ALL = "*"

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["Deploy"])]
Url = Annotated[
    str,
    Meta(
        max_length=2000,
        pattern=r"^https?://[^\s#]+$(?!\n)",
        examples=["https://example.org/hook"],
        extra={"otherwise": "must be an address like https://example.org/hook"},
    ),
]
Types = Annotated[
    list[Annotated[str, Meta(max_length=100, examples=["board.card_moved"])]],
    Meta(min_length=1, max_length=100, description="Types of a project's events; `*` is all."),
]


class NewOutgoingWebhook(Body):
    """An outgoing webhook, of all events unless some are named. It begins with the next one."""

    name: Name
    url: Url
    events: Types | UnsetType = UNSET
    enabled: bool = True


class OutgoingWebhookChanges(Body):
    """What to change. While it is not enabled, events wait as long as they are kept."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    events: Types | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class OutgoingWebhook(Shape):
    """An outgoing webhook, to those who manage it. `seq`: the last event that it is done with.
    `retrying`: the one after it is tried again at `next_at`; `parked`: it was, for a day, and waits
    for a replay.
    """

    id: Id
    project_id: Id
    name: str
    url: str
    events: list[str]
    enabled: bool
    state: Literal["ok", "retrying", "parked"]
    seq: int
    next_at: Timestamp | None
    created_by_id: Id
    created_at: Timestamp


class MadeOutgoingWebhook(OutgoingWebhook):
    """A new one, with what its deliveries are signed with: it is shown once."""

    secret: Annotated[str, Meta(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])]


class OutgoingDelivery(Shape):
    """One try to deliver an event: `webhook_id` is the header `webhook-id`, the same at each try.
    `status` is what was answered, null without an answer; `reason` says what went wrong. An
    `attempt` of 0 is no try: events were passed over, up to `seq`.
    """

    seq: int
    webhook_id: Annotated[str, Meta(examples=["3.42"])]
    attempt: int
    tried_at: Timestamp
    status: int | None
    reason: str
    duration_ms: int
    next_at: Timestamp | None


class Replay(Body):
    """From where to begin again: the first event that is sent is the one after `since`."""

    since: Annotated[int, Meta(ge=0, le=MAX_ID, examples=[1])]
