"""Warnings by mail: whoever has an account hears when the way into it changes, whoever did it."""

from __future__ import annotations

import json
from typing import Any

from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.mail.letters import Warned, is_on
from warmdesk.realtime.change import Change


async def warn(desk: Desk, change: Change, before: Any, what: Warned) -> None:
    """Have a mail sent with the change, to the address that the account, which is locked, had until
    then; none where nothing is mailed.
    """
    if is_on(desk.settings, desk.system.values):
        address = json.loads(before["me"])["email"]
        await sql.mail.warn(change.connection, kind=what, user_id=before["id"], address=address)
