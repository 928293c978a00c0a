"""Mails leave. What is to be mailed stands in the table `mails`, written by the change that wants
it; every worker of every host takes what is due, one mail at a time.

Taking a mail makes it due again later (`LEASE`), so whoever takes it has it alone for a while, and
holds neither a lock nor a connection while the mail server is slow. When the mail was taken by the
server its row goes. A worker that is killed in between leaves one mail that is sent once more, with
the same Message-ID; all others wait as they did. What a mail says is read just before it is sent,
so nothing is mailed of what was deleted or read meanwhile, or to somebody who may not see it.

What notifies people becomes mails by the `Collector`.

Three tries; a mail server that cannot be reached, lets nobody in or does not accept the sender is
left alone for a while. That is no try of a mail: what waits leaves when it is mended, within a day.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

from warmdesk.auth.tokens import digest, new_secret
from warmdesk.changes.invitations import token_again
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.http.routing import BASE
from warmdesk.jobs.periodic import Job
from warmdesk.mail.letters import (
    FAREWELL,
    WARNINGS,
    Letter,
    Place,
    backup_letter,
    invitation_letter,
    is_on,
    message,
    news_letter,
    password_letter,
    warning_letter,
)
from warmdesk.mail.postman import OF_THE_MAIL, NotTaken, Postman
from warmdesk.metrics import MAILS
from warmdesk.realtime.bus import REDIS_AWAY
from warmdesk.sealing import MARK

LEASE = timedelta(seconds=180)
"""Longer than a mail takes: see `postman.SEND_SECONDS`."""
PAUSES = (timedelta(minutes=1), timedelta(minutes=30))
"""After the first failure and the second; the third is the last."""
MOST_TAKES = 20
"""A mail that was taken so often and never done ended all who took it."""
REST_SECONDS = 15.0
"""How long a worker leaves a mail server alone that took nothing from it."""
FINISH_SECONDS = 2.0
"""How long a worker that stops waits for the mail that it is just sending."""
RESET_TTL = timedelta(hours=1)
BURST = timedelta(minutes=5)
"""What happens so soon after the first notification is told in the same mail."""
OLDEST = timedelta(hours=1)
"""What could not be mailed for so long is not mailed any more: it is old."""
BATCH = 1000

log = logging.getLogger(__name__)


class Mailer(Job):
    """See the module."""

    name = "mail"
    seconds = 2.0
    lease = LEASE

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._stopping = False
        self._resting_until = 0.0
        self._done: list[tuple[Any, str, str | None]] = []
        """Mails that are done with, what became of them, and why they were refused: their rows
        could not be taken away yet."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def stop(self) -> None:
        """The mail that is being sent is not given up at once: it would be sent again."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._idle.wait()
        await super().stop()

    async def turn(self) -> int:
        """Send what is due; gives how many mails the server took."""
        desk = self.desk
        values = desk.system.values
        if not is_on(desk.settings, values) or _now() < self._resting_until:
            return 0
        sent = 0
        place = Place.of(desk.settings, values)
        async with Postman(values, own_host=place.host) as postman:
            while not self._stopping and desk.system.values is values:
                await self._clear_done()
                rows = await sql.mail.take(desk.database, lease=self.lease)
                if not rows:
                    break
                self._idle.clear()
                try:
                    if await self._deliver(rows[0], postman, place):
                        sent += 1
                except NotTaken as error:
                    await self._failed(rows[0], error)
                    if error.reason not in OF_THE_MAIL or not error.counts:
                        self._resting_until = _now() + REST_SECONDS
                        break
                finally:
                    self._idle.set()
        return sent

    async def _deliver(self, mail: Any, postman: Postman, place: Place) -> bool:
        """Send one mail, unless nobody wants it any more. Raises `NotTaken`."""
        made = None
        if mail["takes"] > MOST_TAKES:
            log.error("mail.given_up id=%d kind=%s reason=takes", mail["id"], mail["kind"])
        else:
            made = await self._made(mail, place, postman)
        if made is not None:
            await postman.send(made)
        outcome = "dropped" if made is None else "sent"
        MAILS.inc(result=outcome)
        self._done.append((mail, outcome, None))
        await self._clear_done()
        return made is not None

    async def _clear_done(self) -> None:
        """Take the rows of mails away that are done; raises when the database is away."""
        while self._done:
            mail, outcome, reason = self._done[0]
            await sql.mail.done(
                self.desk.database,
                id=mail["id"],
                takes=mail["takes"],
                outcome=outcome,
                reason=reason,
            )
            self._done.pop(0)

    async def _failed(self, mail: Any, error: NotTaken) -> None:
        """Try it again later, or not any more."""
        failures = mail["failures"] + error.counts
        facts = mail["id"], mail["kind"], error.reason, error.code
        if error.final or failures > len(PAUSES):
            MAILS.inc(result="given_up")
            if error.final:  # there is no such reader: nobody has to act
                log.warning("mail.refused id=%d kind=%s reason=%s code=%d", *facts)
            else:
                log.error("mail.given_up id=%d kind=%s reason=%s code=%d", *facts)
            self._done.append((mail, "failed", error.reason))
            await self._clear_done()
            return
        MAILS.inc(result="failed")
        log.warning("mail.failed id=%d kind=%s reason=%s code=%d", *facts)
        await sql.mail.failed(
            self.desk.database,
            id=mail["id"],
            takes=mail["takes"],
            counts=error.counts,
            pause=PAUSES[failures - 1] if error.counts else PAUSES[0],
        )

    async def _made(self, mail: Any, place: Place, postman: Postman) -> EmailMessage | None:
        """The mail as it is now; None when nobody wants it."""
        letter = None
        if mail["kind"] == "password":
            token = new_secret()
            for account in await sql.mail.begin_reset(
                self.desk.database,
                address=mail["address"],
                token_hash=digest(token),
                ttl=RESET_TTL,
            ):
                letter = password_letter(place, account, token)
        elif mail["kind"] == "backup":
            for row in await sql.mail.backup(self.desk.database, id=mail["id"]):
                locale = self.desk.system.values.default_locale
                letter = backup_letter(place, row, json.loads(row["about"]), locale)
        elif mail["kind"] == "invitation":
            letter = await self._invitation(mail, place)
        elif mail["kind"] in WARNINGS:
            for account in await sql.mail.warned(
                self.desk.database, user_id=mail["user_id"], address=mail["address"]
            ):
                letter = warning_letter(place, account, mail["kind"])
        elif mail["kind"] == "news":
            rows = await sql.mail.news(
                self.desk.database, user_id=mail["user_id"], ids=mail["notification_ids"]
            )
            if rows:
                news = [json.loads(row["news"]) for row in rows]
                farewell = farewell_link(self.desk, place, mail["user_id"])
                letter = news_letter(place, rows[0], news, farewell)
        if letter is None:
            return None
        mail_id = f"mail-{mail['id']}-{self.desk.installation}"
        try:
            return message(place, postman.values, letter, mail_id)
        except ValueError:
            raise NotTaken("recipient", 550) from None

    async def _invitation(self, mail: Any, place: Place) -> Letter | None:
        """The mail of an invitation; its link is made here, and is kept nowhere."""
        settings = self.desk.settings
        for row in await sql.mail.invitation(self.desk.database, id=mail["invitation_id"]):
            token = token_again(settings, row["salt"], row["token_hash"])
            if token is None:
                raise NotTaken("key", 550)
            locale = self.desk.system.values.default_locale
            return invitation_letter(place, row, token, locale)
        return None


class Collector(Job):
    """What people are to be told by mail is gathered for five minutes and becomes one mail, unless
    they are here by then: who has a socket open anywhere is told there. And what was not sent of
    invitations waits again.
    """

    name = "mail.collect"
    seconds = 5.0

    async def turn(self) -> int:
        """Make the mails that are due; gives how many."""
        desk = self.desk
        await sql.mail.forget_wishes(desk.database, oldest=OLDEST, batch=BATCH)
        if not is_on(desk.settings, desk.system.values):
            return 0
        await sql.mail.requeue(desk.database, limit=BATCH)
        wanted: dict[str, Any] = {"burst": BURST, "oldest": OLDEST, "limit": BATCH}
        rows = await sql.mail.wanting(desk.database, **wanted)
        people = [row["user_id"] for row in rows]
        if not people:
            return 0
        try:
            here = await desk.presence.leases.online(people)
        except REDIS_AWAY:
            return 0  # nobody knows who is here: better a mail that comes late than one too many
        async with desk.database.transaction() as connection:
            if not await sql.mail.may_collect(connection):
                return 0
            due = {row["user_id"] for row in await sql.mail.wanting(connection, **wanted)}
            made: int = await sql.mail.collect(
                connection,
                people=[person for person in people if person in due],
                here=list(here),
                oldest=OLDEST,
            )
        return made


def farewell_link(desk: Desk, place: Place, user_id: int) -> str:
    """The address at which somebody says no to such mails."""
    token = desk.system.sealing.seal(str(user_id), FAREWELL).removeprefix(MARK)
    return f"{place.url}{BASE}/mail/unsubscribe?token={token}"


def _now() -> float:
    return asyncio.get_running_loop().time()
