"""Second factors of accounts: proved, and turned off."""

from __future__ import annotations

import logging
from typing import Any

from warmdesk import clock
from warmdesk.auth.totp import code_digest, sealed_for, step_of
from warmdesk.changes import accounts
from warmdesk.db.queries import sql
from warmdesk.errors import Impossible
from warmdesk.realtime.change import Change
from warmdesk.sealing import Sealing, Unreadable

log = logging.getLogger(__name__)


async def is_proved(change: Change, sealing: Sealing, user_id: int, code: str) -> bool:
    """Whether a code is the one-time password of an account, which is locked, or one of its
    recovery codes; it is not taken again.
    """
    state: Any = await sql.mfa.state(change.connection, user_id=user_id)
    if not state["totp_enabled"]:
        return False
    step = None
    try:
        secret = sealing.open(state["totp_secret"], sealed_for(user_id))
        step = step_of(secret, code, clock.now())
    except Unreadable:
        log.error("mfa.unreadable user=%d", user_id)
    if step is not None:
        return bool(await sql.mfa.use_step(change.connection, user_id=user_id, step=step))
    return bool(
        await sql.mfa.use_code(change.connection, user_id=user_id, code_hash=code_digest(code))
    )


async def disable(change: Change, user_id: int) -> Any:
    """Turn the second factor of an account off, which is locked, and tell its sockets; gives the
    account, None when it was off.
    """
    for row in await sql.mfa.disable(change.connection, user_id=user_id):
        accounts.tell_user(change, user_id, row["me"])
        return row
    return None


def wrong_code() -> Impossible:
    return Impossible(
        "the code is not the right one", code="invalid_code", fields={"code": "incorrect"}
    )
