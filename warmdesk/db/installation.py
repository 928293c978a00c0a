"""Which installation this is: its UUID, made with the database, and its hosts' secrets.

A process reads the UUID once, when it starts, because all its names in Redis carry it
(`warmdesk.redis_calls.names_of`). A database that became another installation under running
processes, by a restore or as a copy, has another one. A process with the old names hears those with
the new ones only by the feeds, so each worker asks for a successor when it finds that out.

No secret is stored: only a salted scrypt of it, so that a reader of the database cannot try guesses
faster than a few a second.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from warmdesk.config import SECRETS, Settings
from warmdesk.db.queries import sql

SALT_BYTES = 16
PRINT_BYTES = 16
SCRYPT: dict[str, int] = {"n": 2**14, "r": 8, "p": 1}
"""16 MiB and some 50 ms for each secret, once a start."""


async def identify(connection: Any) -> str:
    """The installation's UUID. A history that was not looked at yet is looked at first: it may be
    another installation's.
    """
    await sql.feeds.epoch(connection)
    found: str = await sql.server.installation(connection)
    return found


async def differing_secrets(connection: Any, settings: Settings) -> list[str]:
    """The names of the secrets that differ from those of the host that started first."""
    await _keep(connection, settings, again=False)
    prints = {row["setting"]: row["print"] for row in await sql.server.secret_prints(connection)}
    return [name for name in SECRETS if not _fits(prints[name], getattr(settings, name))]


async def known_to_differ(connection: Any, settings: Settings) -> list[str]:
    """The same, and nothing is kept: while no host has started, none differs."""
    prints = {row["setting"]: row["print"] for row in await sql.server.secret_prints(connection)}
    return [
        name
        for name in SECRETS
        if name in prints and not _fits(prints[name], getattr(settings, name))
    ]


async def accept_secrets(connection: Any, settings: Settings) -> None:
    """From now on the secrets of these settings are the ones with which hosts may start."""
    await _keep(connection, settings, again=True)


async def _keep(connection: Any, settings: Settings, *, again: bool) -> None:
    await sql.server.keep_secret_prints(
        connection,
        settings=list(SECRETS),
        prints=[
            _print(getattr(settings, name), secrets.token_bytes(SALT_BYTES)) for name in SECRETS
        ],
        again=again,
    )


def _print(secret: str, salt: bytes) -> str:
    """The stored print of a secret: ``salt:scrypt``, in hexadecimal."""
    made = hashlib.scrypt(secret.encode(), salt=salt, dklen=PRINT_BYTES, **SCRYPT)
    return f"{salt.hex()}:{made.hex()}"


def _fits(stored_print: str, secret: str) -> bool:
    salt = bytes.fromhex(stored_print.partition(":")[0])
    return hmac.compare_digest(stored_print, _print(secret, salt))
