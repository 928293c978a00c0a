"""The audit: one call, `audit`, for whatever changes a right, a key or a setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from warmdesk.db.queries import sql
from warmdesk.realtime.change import Change
from warmdesk.schemas.audit import Action

TARGETS = {"member": "project", "session": "user"}
"""What a line is about, where its action does not begin with it."""
SECRETS = ("password", "secret", "token", "hash", "url")
"""A text under a name that has one of these in it is never written down."""
HIDDEN = "…"

Facts = Mapping[str, Any]


async def audit(
    change: Change,
    action: Action,
    target_id: int | None = None,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Write down what the actor of a change does, kept or lost with it.

    `target_id` is the thing's id: ``key.created`` the key's, ``webhook.…`` the webhook's. Members
    are told of by their project, and sessions by their user: ``member.added`` has the project's id,
    and ``{"user_id": 7, "role": "admin"}`` as `after`. Settings and backups have none:
    ``setting.changed`` has its key and value before and after, ``backup.made`` its file name.

    What is equal before and after is left away. A secret is not written: a text whose name is one's
    becomes "…", which says that there is one.
    """
    if before is not None and after is not None:
        same = {name for name, value in before.items() if name in after and after[name] == value}
        same -= {"user_id"}
        before, after = (
            {name: value for name, value in facts.items() if name not in same}
            for facts in (before, after)
        )
    kind = action.partition(".")[0]
    await sql.audit.write(
        change.connection,
        actor_id=change.context.actor_id,
        ip=change.context.ip,
        action=action,
        target_type=TARGETS.get(kind, kind),
        target_id=target_id,
        before=_text(before),
        after=_text(after),
    )


def _text(facts: Facts | None) -> str | None:
    if facts is None:
        return None
    return orjson.dumps({name: _shown(name, value) for name, value in facts.items()}).decode()


def _shown(name: str, value: Any) -> Any:
    is_secret = isinstance(value, str) and value and any(each in name for each in SECRETS)
    return HIDDEN if is_secret else value
