"""Changes of accounts that several entry points share: make one, write one and emit its events, end
sessions, write the login history, refuse a taken name or one project too many.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import orjson

from warmdesk.auth.addresses import Origin
from warmdesk.auth.tokens import digest, new_secret
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.errors import Conflict, Impossible, field_error
from warmdesk.realtime.change import Change, Held
from warmdesk.realtime.channels import CONTROL, project_channel, user_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    CONTROL_SESSION,
    CONTROL_USER,
    DM_MEMBER_UPDATED,
    GUEST_UPDATED,
    MEMBER_UPDATED,
    SESSION_REVOKED,
    USER_UPDATED,
)
from warmdesk.schemas.settings import SystemSettings, new_account
from warmdesk.schemas.users import LONGEST_EMAIL

PROJECTS = 5_000
"""Projects that one person is a member of at most, unless several add the same one at once. Each of
them gets an event, and waits meanwhile, when the person's name changes: 0.2 seconds for so many.
"""
SESSIONS_OF_USER = 100
"""Beyond them the one used longest ago ends."""
SHOWN = ("display_name", "username", "avatar_url", "first_name", "last_name")
"""Fields that change how others see an account."""
MOST_TOLD = 30_000
"""Projects and people that get the event of one change, at most: it takes a second."""


async def open_session(
    change: Change, user_id: int, origin: Origin, *, ttl: timedelta
) -> tuple[str, str]:
    """A new session: its id, and its first refresh token, which is good for so long."""
    refresh_token = new_secret()
    session_id = await sql.auth.open_session(
        change.connection,
        user_id=user_id,
        token_hash=digest(refresh_token),
        ttl=ttl,
        ip=origin.ip,
        user_agent=origin.user_agent,
    )
    await note_login(change, "login_ok", origin, user_id=user_id)
    for row in await sql.auth.sessions_beyond(
        change.connection, user_id=user_id, most=SESSIONS_OF_USER
    ):
        await end_sessions(change, user_id, only=row["id"])
    return session_id, refresh_token


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
        change.emit(
            user_channel(user_id),
            SESSION_REVOKED,
            orjson.dumps({"session_id": session_id}).decode(),
        )
        payload = {"session_id": session_id, "user_id": user_id, "deactivated": deactivated}
        change.emit(CONTROL, CONTROL_SESSION, orjson.dumps(payload).decode())
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
    """422 when a person was just put in one project too many; `field` named the person."""
    if await sql.members.exceeds(change.connection, user_id=user_id, most=PROJECTS):
        named: dict[str, Any] = {"fields": {field: "conflicting"}} if field else {}
        raise Impossible(
            f"{field + ': ' if field else ''}a person is a member of at most {PROJECTS:,} projects",
            code="too_many_projects",
            **named,
        )


async def create(
    change: Change,
    values: SystemSettings,
    origin: Origin,
    *,
    email: str,
    username: str,
    password_hash: str,
    first_name: str = "",
    last_name: str = "",
    display_name: str = "",
    global_role: str = "user",
    is_active: bool = True,
    must_change_password: bool = False,
    actor_id: int | None = None,
) -> Any:
    """A new account that somebody else makes: its ``id``, and as ``account`` its JSON. `Conflict`
    when a name is taken.
    """
    with unique_names():
        row = await sql.users.create(
            change.connection,
            email=email,
            username=username,
            password_hash=password_hash,
            first_name=first_name,
            last_name=last_name,
            display_name=display_name,
            **new_account(values),
            global_role=global_role,
            is_active=is_active,
            must_change_password=must_change_password,
        )
    await note_login(change, "admin_user_created", origin, user_id=row["id"], actor_id=actor_id)
    rights = {"global_role": global_role, "is_active": is_active}
    await audit(change, "user.created", row["id"], after=rights)
    return row


def act_as(change: Change, user_id: int) -> None:
    """Sets the actor of a change that started anonymous, such as a sign-in."""
    change.context = change.context._replace(actor_id=user_id)


@contextmanager
def unique_names() -> Iterator[None]:
    """`Conflict` when an e-mail address or a username written inside is taken."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "users_email":
            raise Conflict(
                "the e-mail address is taken", code="taken", fields={"email": "taken"}
            ) from error
        raise Conflict(
            "the username is taken", code="taken", fields={"username": "taken"}
        ) from error


async def as_kept(connection: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an account as they are kept: an address in lower case, by the rules of
    PostgreSQL, which compares it by the same. 400 where that is too long.
    """
    if "email" not in fields:
        return fields
    email = await sql.users.lowered(connection, email=fields["email"])
    if len(email) > LONGEST_EMAIL:
        limits = {"email": {"max": LONGEST_EMAIL}}
        raise field_error("email", "too_long", f"at most {LONGEST_EMAIL} characters", limits=limits)
    return fields | {"email": email}


async def rewrite(
    change: Change,
    before: Any,
    fields: dict[str, Any],
    *,
    settings: bool = False,
    new_hash: str | None = None,
) -> Any:
    """Write the fields that differ and emit the events; None when none does.

    The user's own sockets get the account; every project that shows the user gets the new name or
    picture, and so does everybody in a conversation with the user, once, whatever they share.

    All projects get their events in one transaction. They show the name from one row: with one
    transaction after the other, some would show it at a seq that lacks its event, and two readers
    would have different boards of one seq. So the number of projects has a bound. No user is a
    member of more than `PROJECTS`, or made a guest of more by others: 0.2 seconds are enough for so
    many. A guest of more has worked in each of them.
    """
    present = orjson.loads(before["fields"])
    differing = {name: value for name, value in fields.items() if present[name] != value}
    if not differing and new_hash is None:
        return None
    user_id = before["id"]
    with unique_names():
        after = await sql.users.change(
            change.connection,
            user_id=user_id,
            fields=orjson.dumps(differing).decode(),
            settings=settings,
            new_hash=new_hash,
        )
    renamed = after["shaped"] != before["shaped"]
    if renamed:
        told = {"user_id": user_id, "limit": MOST_TOLD + 1}
        rows = await sql.users.shown_in(change.connection, **told)
        partners = await sql.conversations.partners(change.connection, **told)
        if len(rows) + len(partners) > MOST_TOLD:
            field = next(name for name in SHOWN if name in differing)
            raise Impossible(
                f"{field}: it is shown in more than {MOST_TOLD:,} projects and conversations, and"
                " cannot change",
                code="too_many_projects",
                fields={field: "conflicting"},
            )
        for row in rows:
            change.emit(
                project_channel(row["project_id"]),
                MEMBER_UPDATED if row["is_member"] else GUEST_UPDATED,
                Held(row["shaped"]),
                entity=entity("user", user_id),
            )
        for row in partners:
            change.emit(
                user_channel(row["user_id"]),
                DM_MEMBER_UPDATED,
                Held(row["shaped"]),
                entity=entity("user", user_id),
            )
    tell_user(change, user_id, after["me"])
    if renamed or differing.keys() & {"global_role", "is_active"}:
        change.emit(CONTROL, CONTROL_USER, orjson.dumps({"user_id": user_id}).decode())
    return after


async def set_deleted(change: Change, user_id: int, *, deleted: bool) -> str:
    """Delete an account that is locked, or bring it back; gives it as administrators see it."""
    row = await sql.users.set_deleted(change.connection, user_id=user_id, deleted=deleted)
    if not deleted:
        tell_user(change, user_id, row["me"])
    change.emit(CONTROL, CONTROL_USER, orjson.dumps({"user_id": user_id}).decode())
    return str(row["account"])


async def purge(change: Change, before: Any) -> None:
    """Take all that is personal away from a deleted account, which is locked. Its row stays, as the
    author of what its person wrote; what may be much follows: see `warmdesk.jobs.purges`.
    """
    connection, user_id = change.connection, before["id"]
    await sql.avatars.hold(connection, user_id=user_id, conversation_id=None, sha256=None)
    # No account can have such a name or address: neither has the form of one.
    fields = {
        "username": f"deleted:{user_id}",
        "email": f"deleted:{user_id}@invalid",
        "first_name": "",
        "last_name": "",
        "display_name": "Deleted user",
        "avatar_url": None,
    }
    await rewrite(change, before, fields)
    await sql.purges.user(connection, user_id=user_id, email=before["email"])
    await sql.purges.picture(connection, address=before["avatar_url"])
    await audit(change, "user.purged", user_id)


def tell_user(change: Change, user_id: int, me: str) -> None:
    """The user's own sockets hear of the account, all of it."""
    change.emit(user_channel(user_id), USER_UPDATED, Held(me), entity=entity("user", user_id))
