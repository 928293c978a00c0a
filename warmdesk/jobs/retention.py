"""Retention: what is past its time goes, in small batches, each in a transaction of its own.

Events past their age, Idempotency-Keys past their day, refresh tokens and sessions that are good
for nothing any more, dead API keys, old lines of the login history and of the audit, invitations
that are over, old notifications, mails that nobody took, tokens for new passwords, uploads that
nothing took, pictures that nobody shows, conversations that everybody left, deliveries to webhooks
and deleted webhooks. Files follow their rows: see `warmdesk.jobs.files`.
`warmdesk.bounds` says of every table what bounds it.

Every worker of every host tries once a minute; an advisory lock lets one of them do it, so no host
has to be told that it is the one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job
from warmdesk.realtime import feed

BATCHES = 200
BATCH = 1000
"""Rows of one batch: they are locked until it is committed, some hundredths of a second later."""
PAUSE_SECONDS = 0.05
LOGIN_EVENTS = 1000
"""Lines of the login history that an account keeps, failures and the rest each."""

NOTIFICATIONS = 1000
"""Notifications that a person keeps, the newest."""

log = logging.getLogger(__name__)

Trim = Callable[[Any], Awaitable[int]]
"""Takes a batch away with a connection; gives how many went."""


class Retention(Job):
    """See the module."""

    name = "retention"
    seconds = 60.0

    async def turn(self) -> int:
        """Trim what is due, unless another process does it now; gives how many events went."""
        gone = {table: await self._trim(table, trim) for table, trim in self._trims().items()}
        return gone["events"]

    def _trims(self) -> dict[str, Trim]:
        trims = sql.retention
        return {
            "events": partial(feed.trim, days=self.desk.settings.event_retention_days),
            "idempotency_keys": partial(trims.idempotency_keys, batch=BATCH),
            "refresh_tokens": partial(trims.refresh_tokens, batch=BATCH),
            "sessions": partial(trims.sessions, batch=BATCH),
            "api_keys": partial(trims.api_keys, batch=BATCH),
            "login_events": partial(trims.login_events, batch=BATCH, most=LOGIN_EVENTS),
            "invitations": partial(trims.invitations, batch=BATCH),
            "audit": partial(trims.audit, batch=BATCH),
            "notifications": partial(trims.notifications, batch=BATCH, most=NOTIFICATIONS),
            "mails": partial(trims.mails, batch=BATCH),
            "mfa_challenges": partial(trims.mfa_challenges, batch=BATCH),
            "password_resets": partial(trims.password_resets, batch=BATCH),
            "reminders": partial(trims.reminders, batch=BATCH),
            "avatars": partial(trims.avatars, batch=BATCH),
            "attachments": partial(trims.attachments, batch=BATCH),
            "webhook_deliveries": partial(trims.webhook_deliveries, batch=BATCH),
            "project_webhooks": partial(trims.webhooks, batch=BATCH),
            "conversation_messages": partial(trims.conversation_messages, batch=BATCH),
            "conversations": partial(trims.conversations, batch=BATCH),
        }

    async def _trim(self, table: str, trim: Trim) -> int:
        gone = 0
        for _ in range(BATCHES):
            batch = await self._batch(trim)
            gone += batch
            if not batch:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        if gone:
            log.info("retention.trimmed table=%s rows=%d", table, gone)
        return gone

    async def _batch(self, trim: Trim) -> int:
        async with self.desk.database.transaction() as connection:
            if not await sql.feeds.may_trim(connection):
                return 0
            return await trim(connection)
