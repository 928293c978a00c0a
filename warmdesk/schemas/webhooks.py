"""Webhooks: addresses by which other programs tell a project something."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from warmdesk.schemas import Body, Id, Shape, Timestamp

WebhookType = Literal["generic", "github", "gitlab", "gitea", "forgejo"]
WebhookName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S", examples=["CI"])]
Secret = Annotated[str, Meta(max_length=200, examples=["a long random text"])]
MAX_WEBHOOKS = 100


class NewWebhook(Body):
    """A webhook. With a `secret` each delivery must be signed with it."""

    name: WebhookName
    type: WebhookType = "generic"
    secret: Secret | None = None


class WebhookChanges(Body):
    """What to change of a webhook. An empty `secret`, or null, takes it away."""

    name: WebhookName | UnsetType = UNSET
    secret: Secret | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class Webhook(Shape):
    """A webhook, to those who manage it. `last_status`: what its last delivery was answered."""

    id: Id
    project_id: Id
    name: str
    type: WebhookType
    token_hint: str
    has_secret: bool
    enabled: bool
    last_delivery_at: Timestamp | None
    last_status: int | None
    created_by_id: Id
    created_at: Timestamp


class MadeWebhook(Webhook):
    """A new webhook, with its token and where to post: both are shown once."""

    token: str
    url: str


class WebhookToken(Shape):
    """A new token and where to post: both are shown once."""

    token: str
    token_hint: str
    url: str


class Delivery(Shape):
    """A delivery to a webhook: what it was answered and why, how many links it wrote, and whether
    it posted a line.
    """

    id: Id
    delivery_id: str
    event: str
    received_at: Timestamp
    status: int
    reason: str
    linked: int
    posted: bool
    can_redeliver: bool


class Taken(Shape):
    """What a delivery is answered. `duplicate`: it came before, and nothing was done. `skipped`:
    there is nothing to say of its event. `id`: of the message that a generic one posted.
    """

    ok: bool
    id: Id | UnsetType = UNSET
    posted: bool | UnsetType = UNSET
    linked: int | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    skipped: bool | UnsetType = UNSET
