"""Invitations: made, found by their token, and used up.

The token of an invitation is not kept. It is made of the invitation's salt and the secret key of
the configuration (`token_of`), so that whoever sends the mail makes the link of the row
(`token_again`), and a database alone opens no door.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from warmdesk.auth.actor import GlobalRole
from warmdesk.auth.tokens import derived_secret, digest, is_secret
from warmdesk.changes import accounts, members
from warmdesk.changes.audit import audit
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.errors import Archived, Conflict, Impossible, NotFound
from warmdesk.realtime.change import Change

TTL = timedelta(days=7)
MOST = 1_000
"""Open invitations to one project, and to the installation."""
LETTERS = 5
"""Mails that one person has sent to one address within a week."""
LETTERS_OF_ALL = 20
"""Those that all people together have sent there."""
ENOUGH: dict[str, Any] = {"most_letters": LETTERS, "most_of_all": LETTERS_OF_ALL}
RANKS = {GlobalRole.VIEWER: 1, GlobalRole.USER: 2, GlobalRole.ADMIN: 3}


def token_of(secret_key: str, salt: str) -> str:
    """The token of the invitation with this salt."""
    return derived_secret(secret_key, "invitation", salt)


def token_again(settings: Settings, salt: str, token_hash: str) -> str | None:
    """The token that has this hash; None when neither the secret key nor the one before made it."""
    for secret_key in (settings.secret_key, settings.previous_secret_key):
        token = token_of(secret_key, salt)
        if digest(token) == token_hash:
            return token
    return None


async def create(
    change: Change,
    secret_key: str,
    role: str,
    email: str | None,
    *,
    mail: bool,
    project_id: int | None = None,
) -> tuple[dict[str, Any], str]:
    """A new invitation of the change's actor: what is told of it, and its token. `mail`: mails are
    on, so that one goes to the address. `Conflict` where a member of the project has it.
    """
    connection = change.connection
    if email is not None and await sql.invitations.is_member(
        connection, project_id=project_id, email=email
    ):
        # Whoever may invite sees the addresses of the members.
        raise Conflict(
            "who has this address already is a member",
            code="already_member",
            fields={"email": "taken"},
        )
    if mail and email is not None:
        await sql.invitations.hold_letters(connection, email=email)
    salt = str(uuid4())
    token = token_of(secret_key, salt)
    made = await sql.invitations.create(
        connection,
        ttl=TTL,
        project_id=project_id,
        role=role,
        email=email,
        inviter_id=change.context.actor_id,
        salt=salt,
        token_hash=digest(token),
        mail=mail,
        **ENOUGH,
    )
    if await sql.invitations.exceeds(connection, project_id=project_id, most=MOST):
        raise Impossible(
            f"there are {MOST:,} open invitations: take some back", code="too_many_invitations"
        )
    after = {"role": role, "project_id": project_id}
    await audit(change, "invitation.created", made["id"], after=after)
    told = {"id": made["id"], "email": made["email"], "role": role, "mail": made["mail"]}
    return told | {"expires_at": made["expires_at"]}, token


async def mail_again(change: Change, invitation_id: int, project_id: int | None) -> str:
    """Have one mail more sent of a living invitation, unless one waits; gives it as JSON."""
    connection = change.connection
    row: Any = await sql.invitations.lock(connection, id=invitation_id, project_id=project_id)
    if row["email"] is None:
        raise Impossible("the invitation has no address", code="no_address")
    if not row["wants_mail"]:
        to = {"email": row["email"]}
        await sql.invitations.hold_letters(connection, **to)
        if not await sql.invitations.may_write_to(
            connection, **to, inviter_id=row["inviter_id"], **ENOUGH
        ):
            raise Impossible(
                "enough mails went to this address within a week: give the link to whom you invite",
                code="too_many_mails",
            )
        await sql.invitations.mail_again(connection, id=invitation_id)
    shaped: str = await sql.invitations.shape(connection, id=invitation_id)
    return shaped


async def find(connection: Any, token: str) -> Any:
    """The living invitation of a token. `NotFound`, in the same words for all that are none."""
    if is_secret(token):
        for row in await sql.invitations.living(connection, token_hash=digest(token)):
            return row
    raise NotFound("the invitation is not valid")


async def came_by(connection: Any, token: str, user_id: int) -> Any:
    """The place and role of somebody who came in by this token before, and is there still; None for
    everybody else. Whose answer was lost asks again.
    """
    if is_secret(token):
        token_hash = digest(token)
        for row in await sql.invitations.used_by(
            connection, token_hash=token_hash, user_id=user_id
        ):
            return row
    return None


async def use(change: Change, found: Any, user_id: int, *, is_new: bool) -> None:
    """Use an invitation up for an account, which gets what it offers. `is_new`: the account was
    made in this change, with the role that the invitation gives.

    `Conflict` for whoever has that already; the invitation stays good then.
    """
    if found["project_id"] is not None:
        await _join(change, found, user_id)
    elif not is_new:
        await _rise(change, found, user_id)
    else:
        await sql.invitations.use(change.connection, id=found["id"], user_id=user_id)
    after = {"user_id": user_id, "role": found["role"], "project_id": found["project_id"]}
    await audit(change, "invitation.accepted", found["id"], after=after)


async def _join(change: Change, found: Any, user_id: int) -> None:
    project_id = found["project_id"]
    target = await sql.members.lock(
        change.connection, project_id=project_id, actor=found["inviter_id"], target=user_id
    )
    used = await sql.invitations.use(change.connection, id=found["id"], user_id=user_id)
    if target["id"] is not None:
        raise Conflict("you already are a member", code="already_member")
    if await sql.projects.is_archived(change.connection, project_id=project_id):
        raise Archived
    await members.put_in(
        change, project_id, found["slug"], user_id, used["role"], by=found["inviter_id"]
    )


async def _rise(change: Change, found: Any, user_id: int) -> None:
    """Give somebody who has an account the global role, if it is a higher one."""
    await sql.auth.lock_admins(change.connection)
    before = await sql.users.lock(change.connection, user_id=user_id)
    used = await sql.invitations.use(change.connection, id=found["id"], user_id=user_id)
    standing = await sql.users.standing(change.connection, user_id=user_id)
    old, new = GlobalRole(standing["global_role"]), GlobalRole(used["role"])
    if RANKS.get(new, 0) <= RANKS.get(old, 0):
        raise Conflict("you already have an account with this role", code="already_member")
    await accounts.rewrite(change, before, {"global_role": str(new)})
    await audit(
        change,
        "user.role_changed",
        user_id,
        before={"global_role": str(old)},
        after={"global_role": str(new)},
    )
