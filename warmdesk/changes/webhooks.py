"""Webhooks: what a delivery does, written in one statement, once.

A host sends each delivery once and waits ten seconds. So a database that is away is waited for
(`PATIENCE`), and what may have been written is asked for by the delivery's name, and by the
`attempt`, which only this request knows.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from warmdesk.db.pool import BROKEN, answered
from warmdesk.db.queries import sql
from warmdesk.errors import (
    NotFound,
    Unauthorized,
    Unavailable,
    WarmDeskError,
    cut,
    stored_refusal,
)
from warmdesk.hosts.text import Effect
from warmdesk.realtime.change import Change, ChangeContext, Changes, Outcome

PATIENCE = 8.0
"""Seconds for which a delivery waits for PostgreSQL."""
TOKEN_BYTES = 32
HINT = 8
"""Characters of a token that stay to be shown."""
KEPT_BYTES = 1 << 20
"""What failed is kept up to this size."""
LONGEST_REASON = 500
LONGEST_EVENT = 100


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook that a token is of."""

    id: int
    project_id: int
    type: str
    secret: str | None
    """Sealed."""
    is_enabled: bool
    is_archived: bool


@dataclass(slots=True)
class Delivery:
    """What came to a webhook: its name and event, what proves it, and the body. `host`: how it is
    read.
    """

    host: str
    event: str
    name: str
    body: bytes
    is_form: bool = False
    proofs: list[str] = field(default_factory=list)
    attempt: str = field(default_factory=lambda: secrets.token_hex(16))
    ends_at: float = field(default_factory=lambda: time.monotonic() + PATIENCE)
    """When PostgreSQL is waited for no more."""

    def __post_init__(self) -> None:
        self.name = self.name or self.attempt

    @property
    def patience(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())


def new_token() -> str:
    """A new token for a webhook."""
    return secrets.token_hex(TOKEN_BYTES)


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


async def find(changes: Changes, token: str, patience: float) -> Webhook:
    """The webhook of a token; `Unauthorized` when it is of none."""

    async def attempt(seconds: float) -> Any:
        try:
            return await sql.webhooks.of_token(changes.database, token_hash=hash_of(token))
        except (asyncpg.PostgresError, *BROKEN) as error:
            if answered(error):
                raise
            raise Unavailable() from error

    try:
        row = await changes.patiently(ChangeContext(actor_id=None), patience, attempt)
    except NotFound:
        raise Unauthorized("invalid token", code="invalid_token") from None
    return Webhook(**row)


async def take(
    changes: Changes, webhook: Webhook, token: str, delivery: Delivery, does: Effect | WarmDeskError
) -> Outcome:
    """Write what a delivery does, or that it was refused: then the refusal is raised, in any case
    and without a wait.
    """
    refusal = does if isinstance(does, WarmDeskError) else None
    context = ChangeContext(actor_id=None, project_id=webhook.project_id)
    try:
        outcome = await changes.patient(
            sql.webhooks.take,
            context,
            delivery.patience if refusal is None else 0.0,
            **_parameters(webhook.id, hash_of(token), delivery, does),
        )
    except Unavailable:
        if refusal is None:
            raise
        raise refusal from None
    if refusal is not None:
        raise refusal
    if outcome.status >= 400:
        raise stored_refusal(outcome.status, outcome.text)
    return outcome


async def take_again(
    change: Change, webhook_id: int, delivery: Delivery, does: Effect | WarmDeskError
) -> None:
    """The same in a change of somebody who has the delivery done again."""
    row = await sql.webhooks.take(
        change.connection, **_parameters(webhook_id, None, delivery, does)
    )
    change.messages += row["messages"]


def _parameters(
    webhook_id: int,
    token_hash: bytes | None,
    delivery: Delivery,
    does: Effect | WarmDeskError,
) -> dict[str, Any]:
    """The parameters of take_delivery, see sql/changes/webhooks.sql."""
    refusal, reason, body = 0, "", None
    if isinstance(does, WarmDeskError):
        refusal, reason, does = does.status, cut(does.message, LONGEST_REASON), Effect()
        body = delivery.body if len(delivery.body) <= KEPT_BYTES else None
    else:
        reason = does.reason
    cards = [(n, *card) for n, link in enumerate(does.links, start=1) for card in link.cards]
    return {
        "webhook_id": webhook_id,
        "token_hash": token_hash,
        "delivery_id": delivery.name,
        "attempt": delivery.attempt,
        "event": cut(delivery.event, LONGEST_EVENT),
        "refusal": refusal,
        "reason": reason,
        "line": does.line,
        "bot_name": does.bot_name,
        "platform": delivery.host,
        "link_type": does.link_type,
        "link_status": does.status,
        "repo_name": does.repo_name,
        "told_at": does.told_at,
        "titles": [link.title for link in does.links],
        "urls": [link.url for link in does.links],
        "refs": [link.reference for link in does.links],
        "authors": [link.author for link in does.links],
        "are_sure": does.author_is_sure,
        "things": [thing for thing, _, _ in cards],
        "prefixes": [prefix for _, prefix, _ in cards],
        "numbers": [number for _, _, number in cards],
        "host": delivery.host,
        "is_form": delivery.is_form,
        "proofs": delivery.proofs,
        "body": body,
        "told_twice": does.is_told_twice,
    }
