"""Users: the own account, finding people, and what administrators do to accounts."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from warmdesk.auth import passwords
from warmdesk.auth.actor import ALL_ROLES, Actor, GlobalRole, Role, require_session
from warmdesk.changes import accounts
from warmdesk.changes.audit import audit
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Forbidden, Impossible, field_error
from warmdesk.http.answers import answer, answer_outcome, json_text
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import (
    ACTOR,
    BODY,
    CONTEXT,
    DESK,
    QUERY,
    READS,
    client_origin,
    path_id,
)
from warmdesk.http.route import SIGNED_IN, ApiTag
from warmdesk.http.routing import route
from warmdesk.http.warnings import warn
from warmdesk.json_parts import joined
from warmdesk.realtime.change import Change, Outcome
from warmdesk.schemas import MAX_ID
from warmdesk.schemas.users import (
    Account,
    ChangePassword,
    CreateUser,
    FoundUser,
    ListUsers,
    Me,
    NameUsers,
    Said,
    SearchUsers,
    UpdateMe,
    UpdateUser,
    UserRef,
    is_timezone,
)

USERS = ApiTag("users", "Your own account, and everybody's for administrators.")

NAMES = frozenset({"first_name", "last_name", "display_name"})
WRITTEN_DOWN = (*sorted(NAMES), "email", "username", "must_change_password")
"""What the audit tells of an account beside its rights: a preference is nobody's business."""
MOST_NAMES = 100
PASSWORD_TRIES = 10
PASSWORD_SECONDS = 15 * 60
ADDRESSES = 10
ADDRESS_SECONDS = 60 * 60
PROFILE = {"display_name": "Alice L.", "timezone": "Europe/Amsterdam", "theme": "dark"}
PASSWORDS = {"current_password": "correct horse battery", "new_password": "staple it all together"}


@route(
    "GET",
    "/users/me",
    need=ALL_ROLES,
    answer=Me,
    tag=USERS,
    also_at=("/auth/me",),
)
async def show_me(request: web.Request) -> web.Response:
    """Your account."""
    async with request.app[DESK].database.connection() as connection:
        return answer(await sql.users.me(connection, user_id=request[ACTOR].user_id))


@route(
    "PUT",
    "/users/me",
    need=ALL_ROLES,
    body=UpdateMe,
    answer=Me,
    tag=USERS,
    example=PROFILE,
    errors=(409, 422, 429),
    also_at=("/auth/me",),
)
async def update_me(request: web.Request) -> web.Response:
    """Change your profile and preferences: the keys that are sent, and no others.

    Another `email` needs your `current_password`: 422 `wrong_password` without the right one. To
    the address that you had goes a mail that says so.
    """
    desk, actor = request.app[DESK], request[ACTOR]
    fields = _sent(request)
    _refuse_keys(actor, fields)
    came = client_origin(request)
    proved = await _prove(request, fields)

    async def work(change: Change) -> str:
        before = await sql.users.lock(change.connection, user_id=actor.user_id)
        kept = await accounts.as_kept(change.connection, fields)
        _refuse_unproved(before, kept, proved)
        after = await accounts.rewrite(change, before, kept, settings=True)
        if after is None:
            return str(before["me"])
        if json.loads(after["me"])["email"] != json.loads(before["me"])["email"]:
            await accounts.note_login(change, "email_changed", came, user_id=actor.user_id)
            await warn(desk, change, before, "email_changed")
        return str(after["me"])

    return answer(await desk.changes.run(request[CONTEXT], work))


@route(
    "PUT",
    "/users/me/password",
    need=ALL_ROLES,
    session=True,
    body=ChangePassword,
    answer=Said,
    tag=USERS,
    example=PASSWORDS,
    errors=(422, 429),
    also_at=("/auth/me/password",),
)
async def change_password(request: web.Request) -> web.Response:
    """Change your password. Your other sessions end."""
    desk, actor, body = request.app[DESK], request[ACTOR], request[BODY]
    user_id, session_id = actor.user_id, require_session(actor)
    came = client_origin(request)
    if body.new_password == body.current_password:
        # Whether it is the password of now is not told here.
        raise Impossible(
            "choose another password",
            code="same_password",
            fields={"new_password": "conflicting"},
        )
    desk.system.check_password(body.new_password, "new_password")
    stored_hash = await _check_current(desk, actor, body.current_password)
    new_hash = await passwords.hash_password(body.new_password, _turn(desk, actor))

    async def work(change: Change) -> None:
        before = await sql.users.lock(change.connection, user_id=user_id)
        rows = await sql.auth.change_password(
            change.connection, user_id=user_id, checked_hash=stored_hash, new_hash=new_hash
        )
        if not rows:
            raise _wrong_password()
        await accounts.end_sessions(change, user_id, but=session_id)
        await accounts.note_login(
            change, "password_changed", came, user_id=user_id, actor_id=user_id
        )
        await warn(desk, change, before, "password_changed")
        accounts.tell_user(change, user_id, rows[0]["me"])

    await desk.changes.run(request[CONTEXT], work)
    await desk.limits.clear("password", user_id)
    return answer({"message": "the password was changed"})


def _turn(desk: Desk, actor: Actor) -> passwords.Turn:
    """A signed-in user's hash waits in the queue of known addresses, with few of one account."""
    if not desk.limits.on:
        return passwords.ANYBODY
    person = f"user:{actor.user_id}"
    return passwords.Turn(person, person, known=True)


async def _check_current(desk: Desk, actor: Actor, password: str) -> str:
    """The hash of the actor's password, when it is this one; 422 when it is not."""
    user_id = actor.user_id
    await desk.limits.take("password", user_id, limit=PASSWORD_TRIES, seconds=PASSWORD_SECONDS)
    stored_hash: str = await sql.auth.password_of(desk.database, user_id=user_id)
    if not await passwords.check_password(password, stored_hash, _turn(desk, actor)):
        raise _wrong_password()
    return stored_hash


async def _prove(request: web.Request, fields: dict[str, Any]) -> str | None:
    """The hash of the password by which the actor proves to be the account's owner, where one was
    sent and an address or another password is; 422 when it is another one. It is no field of the
    account.
    """
    desk, actor = request.app[DESK], request[ACTOR]
    password = fields.pop("current_password", None)
    if password is None or not fields.keys() & {"email", "password"}:
        return None
    stored_hash = await _check_current(desk, actor, password)
    if "email" in fields:
        # Each other address that an account had gets a mail, and may be a stranger's.
        await desk.limits.take("address", actor.user_id, limit=ADDRESSES, seconds=ADDRESS_SECONDS)
    await desk.limits.clear("password", actor.user_id)
    return stored_hash


def _refuse_unproved(
    before: Any, fields: dict[str, Any], proved: str | None, new_hash: str | None = None
) -> None:
    """What the password is, and where the links to set a new one go, only their owner says, and not
    whoever has found an open session; 422 for another of them without the one that is good now.
    """
    address = json.loads(before["fields"])["email"]
    differs = new_hash is not None or fields.get("email", address) != address
    if differs and proved != before["password_hash"]:
        if proved is None:
            raise Impossible(
                "current_password: another address or password needs it",
                code="wrong_password",
                fields={"current_password": "required"},
            )
        raise _wrong_password()


def _wrong_password() -> Impossible:
    return Impossible(
        "incorrect current password",
        code="wrong_password",
        fields={"current_password": "incorrect"},
    )


@route(
    "GET",
    "/users/search",
    need=SIGNED_IN,
    query=SearchUsers,
    answer=list[FoundUser],
    tag=USERS,
    heavy=True,
    errors=(404,),
)
async def search_users(request: web.Request) -> web.Response:
    """Find active people by a part of their name, for pickers.

    `online` is true only of those who share a project with you. `not_in` leaves out the members of
    a project, 404 where you do not see it.
    """
    desk, actor, query = request.app[DESK], request[ACTOR], request[QUERY]
    without = None
    if query.not_in is not None:
        shown = await desk.access.enter_project(desk.database, actor, query.not_in, Role.VIEWER)
        without = shown.id
    rows = await sql.users.search(
        request[READS],
        q=query.q.strip(),
        reader=actor.user_id,
        everybody=actor.global_role is GlobalRole.ADMIN,
        not_in=without,
        limit=query.limit,
    )
    near = [row["id"] for row in rows if row["near"]]
    online = await desk.presence.online(near) if near else set()
    found = (joined(json_text(online=row["id"] in online), row["shaped"]) for row in rows)
    return answer(f"[{','.join(found)}]")


@route(
    "GET",
    "/users/refs",
    need=SIGNED_IN,
    query=NameUsers,
    answer=list[UserRef],
    tag=USERS,
    heavy=True,
)
async def name_users(request: web.Request) -> web.Response:
    """Name users by their ids, 100 at most, in the order of ids.

    Named are those who share a project or a conversation with you, and who once did or acted
    there; for administrators everybody. All others are passed over.
    """
    actor = request[ACTOR]
    return answer(
        await sql.people.refs(
            request[READS],
            ids=_ids(request[QUERY].ids),
            reader=actor.user_id,
            everybody=actor.global_role is GlobalRole.ADMIN,
        )
    )


def _ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    found = [int(part) for part in parts if re.fullmatch(r"[0-9]{1,16}", part)]
    if len(found) != len(parts) or not all(1 <= each <= MAX_ID for each in found):
        raise field_error("ids", "bad_format", "must be ids, separated by commas")
    if len(found) > MOST_NAMES:
        raise field_error(
            "ids",
            "too_long",
            f"must be at most {MOST_NAMES} ids",
            limits={"ids": {"max": MOST_NAMES}},
        )
    return found


@route(
    "GET",
    "/users",
    need=GlobalRole.ADMIN,
    query=ListUsers,
    answer=list[Account],
    tag=USERS,
    paged=True,
)
async def list_users(request: web.Request) -> web.Response:
    """List accounts, latest first."""
    query: ListUsers = request[QUERY]
    (before,) = begins_after(request)
    async with request.app[DESK].database.connection() as connection:
        page = await sql.users.list(
            connection,
            q=query.q.strip(),
            role=query.role,
            active=query.active,
            include_deleted=query.include_deleted,
            before=before or query.before,
            limit=query.limit,
        )
    return answer_page(request, page)


@route(
    "POST",
    "/users",
    need=GlobalRole.ADMIN,
    body=CreateUser,
    answer=Account,
    status=201,
    made_at="/users/{id}",
    tag=USERS,
    example={
        "email": "bob@example.com",
        "username": "bob",
        "password": "correct horse battery",
        "global_role": "user",
    },
    errors=(409,),
    keyed=True,
)
async def create_user(request: web.Request) -> web.Response:
    """Create an account."""
    desk, actor, body = request.app[DESK], request[ACTOR], request[BODY]
    _refuse_keys(actor, {"global_role": body.global_role})
    came = client_origin(request)
    desk.system.check_password(body.password)
    password_hash = await passwords.hash_password(body.password, _turn(desk, actor))

    async def work(change: Change) -> Outcome:
        await change.enter()
        row = await accounts.create(
            change,
            desk.system.values,
            came,
            email=body.email,
            username=body.username,
            password_hash=password_hash,
            first_name=body.first_name or "",
            last_name=body.last_name or "",
            display_name=body.display_name or "",
            global_role=body.global_role,
            is_active=body.is_active,
            must_change_password=body.must_change_password,
            actor_id=actor.user_id,
        )
        return Outcome(201, row["account"])

    return answer_outcome(await desk.changes.run(request[CONTEXT], work))


@route("GET", "/users/{user_id}", need=GlobalRole.ADMIN, answer=Account, tag=USERS)
async def show_user(request: web.Request) -> web.Response:
    """Show an account, a deleted one too."""
    async with request.app[DESK].database.connection() as connection:
        return answer(await sql.users.account(connection, user_id=path_id(request, "user_id")))


@route(
    "PUT",
    "/users/{user_id}",
    need=GlobalRole.ADMIN,
    body=UpdateUser,
    answer=Account,
    tag=USERS,
    example={"global_role": "viewer", "is_active": True},
    errors=(409, 422, 429),
)
async def update_user(request: web.Request) -> web.Response:
    """Change an account: the keys that are sent, and no others.

    Deactivating it or giving it a password ends its sessions; a role acts at once. An API key
    changes no password and no address, and makes and activates no administrator. Another `email`
    and a `password` of your own need your `current_password`, as in PUT /users/me. Of another
    address, and of a password, the account's owner is told by mail, at the address of before.
    """
    desk, actor = request.app[DESK], request[ACTOR]
    user_id, fields = path_id(request, "user_id"), _sent(request)
    _refuse_keys(actor, fields)
    is_own = user_id == actor.user_id
    if is_own:
        _refuse_stepping_down(fields)
        proved = await _prove(request, fields)
    else:
        fields.pop("current_password", None)
    password = fields.pop("password", None)
    new_hash = None
    if password is not None:
        desk.system.check_password(password)
        new_hash = await passwords.hash_password(password, _turn(desk, actor))
    came = client_origin(request)

    async def work(change: Change) -> str:
        # The actor is an administrator until the commit, and nobody can demote themselves; so one
        # administrator always remains, however many demote each other at once.
        await sql.auth.lock_admins(change.connection)
        before = await sql.users.lock(change.connection, user_id=user_id)
        await change.enter()
        _refuse_to_wake(actor, json.loads(before["fields"]), fields)
        kept = await accounts.as_kept(change.connection, fields)
        if is_own:
            _refuse_unproved(before, kept, proved, new_hash)
        after = await accounts.rewrite(change, before, kept, new_hash=new_hash)
        if after is None:
            return str(before["account"])
        if fields.get("is_active") is False or new_hash is not None:
            own = actor.session_id if user_id == actor.user_id else None
            ended = await accounts.end_sessions(
                change, user_id, but=own, deactivated=fields.get("is_active") is False
            )
            if ended and user_id != actor.user_id:
                await audit(change, "session.ended", user_id, after={"sessions": len(ended)})
        await accounts.note_login(
            change, "admin_user_updated", came, user_id=user_id, actor_id=actor.user_id
        )
        await _write_down(change, before, after, fields, new_hash)
        if json.loads(after["me"])["email"] != json.loads(before["me"])["email"]:
            await warn(desk, change, before, "email_changed")
        if new_hash is not None:
            await warn(desk, change, before, "password_changed")
        return str(after["account"])

    return answer(await desk.changes.run(request[CONTEXT], work))


async def _write_down(
    change: Change, before: Any, after: Any, fields: dict[str, Any], new_hash: str | None
) -> None:
    """The audit's lines of what an administrator changed of an account: rights, and who it is."""
    user_id, old = before["id"], json.loads(before["fields"])
    was, became = (
        {name: account[name] for name in WRITTEN_DOWN}
        for account in (json.loads(row["account"]) for row in (before, after))
    )
    if was != became:
        await audit(change, "user.updated", user_id, before=was, after=became)
    role = fields.get("global_role", old["global_role"])
    if role != old["global_role"]:
        facts = [{"global_role": each} for each in (old["global_role"], role)]
        await audit(change, "user.role_changed", user_id, before=facts[0], after=facts[1])
    is_active = fields.get("is_active", old["is_active"])
    if is_active != old["is_active"]:
        await audit(change, "user.activated" if is_active else "user.deactivated", user_id)
    if new_hash is not None:
        await audit(change, "user.password_reset", user_id)


def _refuse_keys(actor: Actor, fields: dict[str, Any]) -> None:
    """With the address a password can be set by mail, and an API key must change neither; nor does
    it make administrators, who would be there when it is revoked.
    """
    for name, thing in (("password", "a password"), ("email", "an e-mail address")):
        if name in fields and actor.session_id is None:
            raise Forbidden(f"an API key cannot change {thing}; sign in", code="sign_in_required")
    if fields.get("global_role") == "admin" and actor.session_id is None:
        raise Forbidden("an API key makes nobody administrator; sign in", code="sign_in_required")


def _refuse_to_wake(actor: Actor, old: dict[str, Any], fields: dict[str, Any]) -> None:
    """An API key activates no administrator, who would be there when it is revoked."""
    wakes = fields.get("is_active") is True and not old["is_active"]
    if wakes and fields.get("global_role", old["global_role"]) == GlobalRole.ADMIN:
        require_session(actor)


def _refuse_stepping_down(fields: dict[str, Any]) -> None:
    if fields.get("global_role", "admin") != "admin":
        raise Impossible(
            "you cannot take your own administrator role away",
            code="own_account",
            fields={"global_role": "immutable"},
        )
    if fields.get("is_active") is False:
        raise Impossible(
            "you cannot deactivate yourself", code="own_account", fields={"is_active": "immutable"}
        )


def _sent(request: web.Request) -> dict[str, Any]:
    """The keys that were sent, with their values; 400 for a time zone that is none, and for a
    picture elsewhere, which would tell a stranger who looks at it, unless a setting allows it.
    """
    body: msgspec.Struct = request[BODY]
    fields: dict[str, Any] = {
        name: value
        for name in body.__struct_fields__
        if (value := getattr(body, name)) is not UNSET
    }
    for name in fields.keys() & NAMES:
        fields[name] = (fields[name] or "").strip()
    if "avatar_url" in fields:
        fields["avatar_url"] = fields["avatar_url"] or None
        foreign = not (fields["avatar_url"] or "/").startswith("/")
        if foreign and not request.app[DESK].settings.foreign_pictures:
            sentence = "must be a picture of this server: POST it to /users/me/avatar"
            raise field_error("avatar_url", "not_one_of", sentence)
    if "notify" in fields:
        fields["notify"] = {
            kind: choice
            for kind, choice in msgspec.structs.asdict(fields["notify"]).items()
            if choice is not UNSET
        }
    zone = fields.get("timezone")
    if zone is not None and not is_timezone(zone):
        raise field_error("timezone", "unknown", "not an IANA time zone")
    return fields
