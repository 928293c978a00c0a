"""What several doors do to accounts: end sessions, write the login history, refuse a taken name or
one project too many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from warmdesk.auth.addresses import Origin
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Impossible
from warmdesk.realtime.change import Change
from warmdesk.realtime.channels import CONTROL, user_channel
from warmdesk.realtime.events import CONTROL_SESSION, SESSION_REVOKED

PROJECTS = 5_000
"""Projects that one person is a member of at most, unless several add the same one at once. Each of
them is told, and waits meanwhile, when the person's name changes: 0.2 seconds for so many.
"""


async def end_sessions(
    change: Change,
    user_id: int,
    *,
    only: str | None = None,
    but: str | None = None,
    deactivated: bool = False,
) -> list[str]:
    """End sessions of a user: the one, all but one, or all. Gives the ids of those that lived.

    Their tokens are dead with the commit, their sockets as soon as the control feed is read.
    `deactivated`: the whole account is, so that there is no use in signing in again.
    """
    rows = await sql.auth.end_sessions(change.connection, user_id=user_id, only=only, but=but)
    ended = [row["id"] for row in rows]
    for session_id in ended:
        change.emit(user_channel(user_id), SESSION_REVOKED, json.dumps({"session_id": session_id}))
        told = {"session_id": session_id, "user_id": user_id, "deactivated": deactivated}
        change.emit(CONTROL, CONTROL_SESSION, json.dumps(told))
    return ended


async def note_login(
    change: Change, event: str, origin: Origin, *, user_id: int, actor_id: int | None = None
) -> None:
    """A line of the user's login history, kept or lost with the change."""
    await sql.auth.note_login(
        change.connection,
        user_id=user_id,
        actor_id=actor_id,
        event=event,
        ip=origin.ip,
        user_agent=origin.user_agent,
    )


async def require_room(change: Change, user_id: int, field: str | None = None) -> None:
    """422 when the project that somebody was just put in is one too many; `field` named them."""
    if await sql.members.exceeds(change.connection, user_id=user_id, most=PROJECTS):
        named: dict[str, Any] = {"fields": {field: "in too many projects"}} if field else {}
        raise Impossible(
            f"{field + ': ' if field else ''}a person is a member of at most {PROJECTS:,} projects",
            code="too_many_projects",
            **named,
        )


def act_as(change: Change, user_id: int) -> None:
    """The change found out only now who wants it."""
    change.context = change.context._replace(actor_id=user_id)


@contextmanager
def unique_names() -> Iterator[None]:
    """`Conflict` when an e-mail address or a username written inside is somebody else's."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "users_email":
            raise Conflict("the e-mail address is taken", fields={"email": "taken"}) from error
        raise Conflict("the username is taken", fields={"username": "taken"}) from error
