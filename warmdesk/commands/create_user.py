"""Create an account; its password is asked for, or is the first line of the input.

The first account is an administrator.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import orjson

from warmdesk.auth import passwords
from warmdesk.changes import accounts
from warmdesk.commands.shared import HERE, Status, answer, converted, reached, secret
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import open_desk
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.schemas.users import CreateUser

EXAMPLE = "warmdesk create-user alice alice@example.org --admin"
JSON = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("username")
    parser.add_argument("email")
    parser.add_argument("--admin", action="store_true", help="as a global administrator")


def run(wanted: argparse.Namespace) -> int:
    fields = {"username": wanted.username, "email": wanted.email, "password": secret("Password")}
    body = converted(fields, CreateUser)
    with reached(wanted) as settings:
        made = asyncio.run(_create(settings, body, admin=wanted.admin))
    told = {name: made[name] for name in ("id", "username", "email", "global_role")}
    answer(wanted, f"{body.username} was created.", told)
    return Status.DONE


async def _create(settings: Settings, body: CreateUser, *, admin: bool) -> Any:
    async with open_desk(settings) as desk:
        desk.system.check_password(body.password)
        password_hash = await passwords.hash_password(body.password)

        async def work(change: Change) -> Any:
            await sql.auth.lock_admins(change.connection)
            is_first = await sql.auth.nobody_yet(change.connection)
            return await accounts.create(
                change,
                desk.system.values,
                HERE,
                username=body.username,
                email=body.email,
                password_hash=password_hash,
                global_role="admin" if admin or is_first else "user",
            )

        row = await desk.changes.run(ChangeContext(None), work)
    return orjson.loads(row["account"])
