"""Give an account a new password, as with create-user, and end its sessions."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

from warmdesk.auth import passwords
from warmdesk.changes import accounts, factors
from warmdesk.changes.audit import audit
from warmdesk.commands.shared import HERE, Failed, Status, answer, converted, reached, secret
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import open_desk
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.schemas import Body
from warmdesk.schemas.users import Password

EXAMPLE = "warmdesk reset-password alice"
JSON = True


class NewPassword(Body):
    """What is typed."""

    password: Password


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("username", help="or e-mail address")
    parser.add_argument(
        "--disable-mfa", action="store_true", help="turn the second factor off, too"
    )


def run(wanted: argparse.Namespace) -> int:
    password = converted({"password": secret("Password")}, NewPassword).password
    with reached(wanted) as settings:
        ended = asyncio.run(_reset(settings, wanted, password))
    answer(
        wanted,
        f"{wanted.username} has a new password; all sessions ended.",
        {"username": wanted.username, "sessions_ended": ended},
    )
    return Status.DONE


async def _reset(settings: Settings, wanted: argparse.Namespace, password: str) -> int:
    username: str = wanted.username
    async with open_desk(settings) as desk:
        desk.system.check_password(password)
        new_hash = await passwords.hash_password(password)
        found = await sql.auth.by_login(
            desk.database, login=username, ip=HERE.ip, near=HERE.ip, recent=timedelta()
        )
        user_id = found["id"]
        if user_id is None:
            raise Failed(f"there is no account {username}")

        async def work(change: Change) -> int:
            before = await sql.users.lock(change.connection, user_id=user_id)
            await accounts.rewrite(change, before, {}, new_hash=new_hash)
            if wanted.disable_mfa and await factors.disable(change, user_id):
                await accounts.note_login(change, "admin_mfa_disabled", HERE, user_id=user_id)
                await audit(change, "user.mfa_disabled", user_id)
            ended = await accounts.end_sessions(change, user_id)
            await accounts.note_login(change, "password_reset", HERE, user_id=user_id)
            await audit(change, "user.password_reset", user_id)
            return len(ended)

        return await desk.changes.run(ChangeContext(None), work)
