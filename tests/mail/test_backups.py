"""Mails about backups: to whom, that a failure is told once, and that it is over."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Invite, Wait
from tests.jobs.test_backups import later, state
from tests.mail.test_invitations import SITE, Mails, nothing
from tests.person import PASSWORD, Person
from tests.postbox import Postbox
from warmdesk import disk
from warmdesk.backups.directory import listed
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.backups import Scheduled
from warmdesk.jobs.mail import Collector, Mailer
from warmdesk.mail.words import LANGUAGES, Words

PLACE = "/admin/system-settings"
FAILED = "A backup of WarmDesk failed"
AGAIN = "Backups of WarmDesk are made again"
MADE = "A backup of WarmDesk was made"
DAY = 24 * 60
ROOT, OTHER, OPERATORS = "root@example.org", "other@example.org", "operators@example.org"

pytestmark = pytest.mark.settings(base_url=SITE)


class Clock:
    """The job and the mails, when the test says so."""

    def __init__(self, desk: Desk, mails: Mails, root: Person, eventually: Wait) -> None:
        self.desk, self.mails, self.root, self.eventually = desk, mails, root, eventually
        self.job, self.turn = Scheduled(desk), Scheduled.turn

    async def set(self, **values: Any) -> None:
        await self.root.put(PLACE, values)

        def known() -> bool:
            found = self.desk.system.values
            return all(getattr(found, name) == value for name, value in values.items())

        await self.eventually(known)

    async def made(self, *, minutes: int = DAY) -> list[Any]:
        """So much later a backup is made; gives the mails that come."""
        await later(self.mails.connection, minutes)
        assert await self.turn(self.job) == 1
        return await self.mails.come()

    async def fails(self, *, minutes: int = DAY) -> list[Any]:
        """The same where it fails."""
        await later(self.mails.connection, minutes)
        with full():
            assert await self.turn(self.job) == 0
        assert (await state(self.mails.connection))["last_ok"] is False
        return await self.mails.come()


@contextmanager
def full() -> Iterator[None]:
    """The disk has no room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "LOW", 1 << 62)
        yield


@pytest.fixture
async def clock(
    desk: Desk,
    mailing: Postbox,
    root: Person,
    connection: Any,
    eventually: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> Clock:
    mails = Mails(desk, mailing, connection)
    made = Clock(desk, mails, root, eventually)
    for job in (Collector, Mailer, Scheduled):
        monkeypatch.setattr(job, "turn", nothing)
    await made.set(backup_schedule="24h", backup_email_enabled=True)
    return made


def subjects(letters: list[Any]) -> list[str]:
    return [letter.message["Subject"] for letter in letters]


async def test_a_failure_is_told_once_and_that_it_is_over(clock: Clock, settings: Settings) -> None:
    await clock.set(backup_email_each=False)
    assert await clock.made() == []
    for _ in range(2):
        (letter,) = await clock.fails()
        assert subjects([letter]) == [FAILED]
        assert letter.to == [ROOT]
        assert "The disk has no room for it." in letter.text
        assert socket.gethostname() in letter.text
        assert await clock.fails(minutes=11) == []
        assert await clock.fails(minutes=11) == []
        (letter,) = await clock.made(minutes=11)
        assert subjects([letter]) == [AGAIN]
        assert listed(Path(settings.backup_dir))[0].filename in letter.text
        assert await clock.made() == []
    await clock.set(backup_email_each=True)
    assert subjects(await clock.made()) == [MADE]
    assert subjects(await clock.fails()) == [FAILED]
    assert subjects(await clock.made()) == [AGAIN]


async def test_what_is_turned_off_is_told_nobody_and_when_it_is_turned_on_it_is(
    clock: Clock,
) -> None:
    await clock.set(backup_email_enabled=False)
    assert await clock.made() == []
    assert await clock.fails() == []
    assert await clock.mails.wait() == 0
    await clock.set(backup_email_enabled=True)
    assert subjects(await clock.fails()) == [FAILED]
    await clock.set(backup_email_enabled=False)
    assert await clock.made() == []
    assert await clock.mails.wait() == 0


async def other_administrator(clock: Clock, person: Invite, **more: Any) -> Any:
    account = {"username": "other", "email": OTHER, "password": PASSWORD}
    return await clock.root.post("/users", account | {"global_role": "admin"} | more)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
async def test_all_administrators_are_told_each_in_their_language(
    clock: Clock, person: Invite, language: str
) -> None:
    await other_administrator(clock, person)
    await person("other").put("/users/me", {"locale": language})
    words = Words(language)
    for letters, subject in (
        (await clock.fails(), "A backup of {place} failed"),
        (await clock.made(), "Backups of {place} are made again"),
        (await clock.made(), "A backup of {place} was made"),
    ):
        found = {letter.to[0]: letter for letter in letters}
        assert found.keys() == {ROOT, OTHER}
        assert subjects([found[OTHER]]) == [words(subject, place="WarmDesk")]
        assert subjects([found[ROOT]]) == [subject.format(place="WarmDesk")]


async def test_who_is_no_administrator_any_more_is_not_told(clock: Clock, person: Invite) -> None:
    made = await other_administrator(clock, person)
    await later(clock.mails.connection, DAY)
    assert await clock.turn(clock.job) == 1
    assert await clock.mails.wait() == 2
    await clock.root.put(f"/users/{made['id']}", {"global_role": "user"})
    assert [letter.to for letter in await clock.mails.come()] == [[ROOT]]
    assert [letter.to for letter in await clock.made()] == [[ROOT]]


async def test_an_address_is_told_alone(clock: Clock, alice: Person) -> None:
    await clock.set(backup_email_address=OPERATORS, default_locale="nl")
    (letter,) = await clock.made()
    assert letter.to == [OPERATORS]
    assert subjects([letter]) == [Words("nl")("A backup of {place} was made", place="WarmDesk")]
    await alice.put("/users/me", {"locale": "de"})
    await clock.set(backup_email_address="Alice@example.org")
    (letter,) = await clock.made()
    assert letter.to == ["Alice@example.org"]
    assert subjects([letter]) == [Words("de")("A backup of {place} was made", place="WarmDesk")]
    for wrong in ("nobody", "a@b@c", "a@example.org, b@example.org", f"a@{'x' * 70}.org"):
        await clock.root.put(PLACE, {"backup_email_address": wrong}, status=400)


async def test_who_asks_for_a_backup_is_answered_and_others_hear_that_one_was_made_again(
    clock: Clock, connection: Any
) -> None:
    with full():
        await clock.root.post("/admin/backup", {}, status=503)
    assert (await state(connection))["last_ok"] is False
    assert await clock.mails.come() == []
    await clock.root.post("/admin/backup", {})
    assert await clock.mails.come() == []
    assert subjects(await clock.fails()) == [FAILED]
    await clock.root.post("/admin/backup", {})
    assert subjects(await clock.mails.come()) == [AGAIN]
    assert (await state(connection))["failure_told"] is False


async def test_that_one_was_begun_and_nobody_ended_it_is_told(clock: Clock) -> None:
    """By whoever finds out, which may be another host."""
    begun = "update backup_state set last_ok = null, last_run_at = '2026-01-31 12:34Z'"
    await clock.mails.connection.execute(begun)
    assert await clock.turn(clock.job) == 0
    (letter,) = await clock.mails.come()
    assert subjects([letter]) == [FAILED]
    assert "begun at 2026-01-31 12:34 UTC and was interrupted before it was whole" in letter.text
    assert socket.gethostname() not in letter.text
    await clock.mails.connection.execute(begun)
    assert await clock.turn(clock.job) == 0
    assert await clock.mails.come() == []


async def test_files_that_were_missing_are_told(clock: Clock) -> None:
    await clock.made()
    about = '{"ok": true, "again": false, "filename": "f", "moment": "m", "bytes": 12345678,'
    await clock.mails.connection.execute(
        "insert into mails (kind, address, about) values ('backup', $1, $2)",
        OPERATORS,
        about + ' "missing_files": 2, "host": "h"}',
    )
    (letter,) = await clock.mails.come()
    assert "f of m UTC, 12.3 MB, is in the backup directory of h." in letter.text
    assert "2 files are not in it, because they were missing." in letter.text
