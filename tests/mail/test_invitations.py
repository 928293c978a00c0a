"""Mails with the link of an invitation: when one goes, and that it stands nowhere else."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from msgspec.structs import replace

from tests.closed import check
from tests.conftest import Board, Wait, serving
from tests.person import PASSWORD, Person
from tests.postbox import Postbox
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.mail import Collector, Mailer
from warmdesk.mail.words import LANGUAGES, Words
from warmdesk.schemas.invitations import Invitation

ALICE = 3
SITE = "https://desk.example.org"
ZOE = "zoe@example.org"

pytestmark = pytest.mark.settings(base_url=SITE)


class Mails:
    """The jobs, when the test says so, and what arrived."""

    def __init__(self, desk: Desk, box: Postbox, connection: Any) -> None:
        self.connection, self.box = connection, box
        self.collector, self.mailer = Collector(desk), Mailer(desk)
        self.collect, self.send = Collector.turn, Mailer.turn
        self.read = 0

    async def come(self) -> list[Any]:
        """What arrives now."""
        await self.send(self.mailer)
        came = self.box.letters[self.read :]
        self.read = len(self.box.letters)
        return came

    async def wait(self) -> int:
        return int(await self.connection.fetchval("select count(*) from mails"))


async def nothing(self: Any) -> int:
    return 0


@pytest.fixture
async def mails(
    desk: Desk, mailing: Postbox, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> Mails:
    made = Mails(desk, mailing, connection)
    monkeypatch.setattr(Collector, "turn", nothing)
    monkeypatch.setattr(Mailer, "turn", nothing)
    return made


def token_of(letter: Any) -> str:
    (link,) = letter.links
    place, _, token = link.rpartition("/")
    assert place == f"{SITE}/invitations"
    assert link in letter.page
    return str(token)


def told(invitation: Any) -> tuple[str, str | None]:
    """What became of the last mail, and why."""
    return invitation["mail"], invitation["mail_reason"]


async def only(person: Person, path: str) -> Any:
    """The only open invitation there."""
    (listed,) = await person.get(f"{path}/invitations")
    check(listed, Invitation, "invitation")
    return listed


async def test_the_mail_leads_into_the_project(
    board: Board, mailing: Postbox, olga: Person, eve: Person, eventually: Wait, connection: Any
) -> None:
    body = {"email": "Zoe@Example.org", "role": "member"}
    made = await olga.post(f"{board.path}/invitations", body)
    assert made["mail"] == "waiting"
    await eventually(lambda: mailing.letters, limit=10)
    (letter,) = mailing.letters
    assert letter.to == [ZOE]
    assert letter.message["Subject"] == "Olga invites you to Demo"
    assert letter.message["Auto-Submitted"] == "auto-generated"
    assert letter.message["List-Unsubscribe"] is None
    assert "Olga invites you to work on the project Demo at WarmDesk." in letter.text
    token = token_of(letter)
    assert made["url"] == letter.links[0]
    await eventually(lambda: connection.fetchval("select count(*) = 0 from mails"), limit=5)
    listed = await only(olga, board.path)
    assert listed["mail"] == "sent"
    assert listed["mailed_at"] > listed["created_at"]
    accepted = await eve.post(f"/invitations/{token}/accept", status=200)
    assert accepted["project"]["my_role"] == "member"


async def test_the_mail_leads_into_the_installation(
    mails: Mails, root: Person, eve: Person
) -> None:
    await root.put("/admin/system-settings", {"company_name": "Wonderland"})
    await root.post("/admin/invitations", {"email": ZOE, "global_role": "viewer"})
    (letter,) = await mails.come()
    assert letter.message["Subject"] == "Root invites you to Wonderland"
    body = {"email": ZOE, "username": "zoe", "password": PASSWORD, "invitation": token_of(letter)}
    made = await eve.client.request("POST", "/auth/register", body)
    assert made.body["user"]["global_role"] == "viewer"


async def test_the_link_stands_in_the_mail_alone(
    board: Board, mails: Mails, olga: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    mails.box.refusals[:] = ["451 later"]
    assert await mails.come() == []
    kept = ""
    for table in ("invitations", "mails", "audit", "events", "idempotency_keys"):
        rows = await mails.connection.fetch(f"select t::text as line from {table} t")
        kept += "".join(row["line"] for row in rows)
    await mails.connection.execute("update mails set due_at = clock_timestamp()")
    (letter,) = await mails.come()
    assert token_of(letter) not in kept
    assert token_of(letter) not in caplog.text


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
async def test_the_language_is_the_installations_or_the_readers(
    board: Board, mails: Mails, root: Person, olga: Person, eve: Person, language: str
) -> None:
    other = "nl" if language != "nl" else "de"
    await root.put("/admin/system-settings", {"default_locale": language})
    await eve.put("/users/me", {"locale": other})
    for address in (ZOE, "EVE@example.org"):
        await olga.post(f"{board.path}/invitations", {"email": address})
    first, second = await mails.come()
    said = "{inviter} invites you to {project}"
    for letter, wanted, hello in (
        (first, language, Words(language)("Hello,")),
        (second, other, Words(other)("Hello {name},", name="Eve")),
    ):
        assert letter.message["Content-Language"] == wanted
        assert letter.message["Subject"] == Words(wanted)(said, inviter="Olga", project="Demo")
        assert letter.text.startswith(hello)
    assert Words("nl")(said, inviter="O", project="D") != said.format(inviter="O", project="D")


async def test_where_mails_are_off_none_goes_and_the_answer_says_so(
    board: Board, mails: Mails, root: Person, olga: Person
) -> None:
    await root.put("/admin/system-settings", {"smtp_host": ""})
    made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
    assert (made["mail"], await mails.wait()) == (None, 0)
    again = f"{board.path}/invitations/{made['id']}/mail"
    assert (await olga.post(again, status=422))["code"] == "mail_off"
    await root.put("/admin/system-settings", {"smtp_host": "127.0.0.1"})
    assert (await only(olga, board.path))["mail"] is None
    assert await mails.come() == []
    assert (await olga.post(again, status=200))["mail"] == "waiting"
    assert len(await mails.come()) == 1


async def test_without_an_address_there_is_no_mail(
    board: Board, mails: Mails, olga: Person
) -> None:
    made = await olga.post(f"{board.path}/invitations", {})
    assert (made["mail"], await mails.wait()) == (None, 0)
    said = await olga.post(f"{board.path}/invitations/{made['id']}/mail", status=422)
    assert said["code"] == "no_address"


ENDS = ["used", "revoked", "over", "demoted", "removed", "deactivated", "archived", "gone", "owner"]


@pytest.mark.parametrize("end", ENDS)
async def test_what_leads_nowhere_is_not_mailed(
    board: Board,
    mails: Mails,
    root: Person,
    olga: Person,
    alice: Person,
    eve: Person,
    end: str,
) -> None:
    await olga.put(f"{board.path}/members/{ALICE}", {"role": "admin"})
    made = await alice.post(f"{board.path}/invitations", {"email": ZOE})
    assert await mails.wait() == 1
    if end == "used":
        token = made["url"].rpartition("/")[2]
        await eve.post(f"/invitations/{token}/accept", status=200)
    elif end == "revoked":
        await olga.delete(f"{board.path}/invitations/{made['id']}")
    elif end == "over":
        await mails.connection.execute("update invitations set expires_at = now()")
    elif end == "demoted":
        await olga.put(f"{board.path}/members/{ALICE}", {"role": "member"})
    elif end == "removed":
        await olga.delete(f"{board.path}/members/{ALICE}")
    elif end == "deactivated":
        await root.put(f"/users/{ALICE}", {"is_active": False})
    elif end == "archived":
        await olga.delete(board.path)
    elif end == "owner":
        await root.delete(f"/users/{ALICE}")
        await root.delete(f"/users/{ALICE}/permanent")
        assert await mails.connection.fetchval("select count(*) from invitations") == 0
        assert await mails.wait() == 0
    else:
        await olga.delete(board.path)
        await root.delete(f"/admin/projects/{board.slug}")
    assert await mails.come() == []
    await mails.collect(mails.collector)
    assert await mails.wait() == 0
    if end not in ("archived", "owner"):
        again = f"/projects/demo/invitations/{made['id']}/mail"
        assert (await root.request("POST", again)).status == 404


@pytest.mark.parametrize("end", ["deactivated", "deleted"])
async def test_whose_account_is_closed_is_not_written_to(
    board: Board, mails: Mails, root: Person, olga: Person, end: str
) -> None:
    if end == "deactivated":
        await root.put("/users/5", {"is_active": False})
    else:
        await root.delete("/users/5")
    await olga.post(f"{board.path}/invitations", {"email": "eve@example.org"})
    assert await mails.come() == []
    assert (await only(olga, board.path))["mail"] is None


async def test_with_the_purge_of_the_project_its_mails_go(
    board: Board, mails: Mails, root: Person, olga: Person, desk: Desk
) -> None:
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    await olga.delete(board.path)
    await root.delete(f"/admin/projects/{board.slug}")

    async def is_gone() -> bool:
        await mails.connection.fetchval("select empty_project($1, 1000)", board.id)
        left = await mails.connection.fetchval("select count(*) from invitations")
        return left == 0 and await mails.wait() == 0

    for _ in range(100):
        if await is_gone():
            break
    assert await is_gone()
    assert await mails.come() == []


async def test_a_mail_is_sent_again_once_for_all_who_ask_at_once(
    board: Board, mails: Mails, olga: Person
) -> None:
    made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
    again = f"{board.path}/invitations/{made['id']}/mail"
    assert (await olga.post(again, status=200))["mail"] == "waiting"
    (first,) = await mails.come()
    asked = await asyncio.gather(*(olga.post(again, status=200) for _ in range(3)))
    assert {each["mail"] for each in asked} == {"waiting"}
    (second,) = await mails.come()
    assert token_of(first) == token_of(second)
    assert first.message["Message-ID"] != second.message["Message-ID"]


async def test_no_address_is_flooded(board: Board, mails: Mails, olga: Person) -> None:
    for _ in range(3):
        made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
        assert made["mail"] == "waiting"
        await olga.delete(f"{board.path}/invitations/{made['id']}")
    made = await olga.post(f"{board.path}/invitations", {"email": "ZOE@example.org"})
    await mails.come()
    again = f"{board.path}/invitations/{made['id']}/mail"
    await olga.post(again, status=200)
    await mails.come()
    assert (await olga.post(again, status=422))["code"] == "too_many_mails"
    assert (await olga.post(f"{board.path}/invitations", {"email": ZOE}))["mail"] is None
    assert (await olga.post(f"{board.path}/invitations", {"email": "a@b.org"}))["mail"] == "waiting"


async def test_no_address_is_flooded_at_once_or_by_many(
    board: Board, mails: Mails, olga: Person, root: Person, connection: Any
) -> None:
    path = f"{board.path}/invitations"
    made = await asyncio.gather(*(olga.post(path, {"email": ZOE}) for _ in range(12)))
    first, *others = (each for each in made if each["mail"] == "waiting")
    assert len(others) == 4
    await connection.execute("update invitations set letters = 14 where id = $1", first["id"])
    said = [(await root.post(path, {"email": ZOE.upper()}))["mail"] for _ in range(3)]
    of_all = await connection.fetchval("select sum(letters) from invitations")
    assert (said, of_all) == (["waiting", "waiting", None], 20)


async def test_a_name_leads_nowhere(
    board: Board, mails: Mails, olga: Person, connection: Any
) -> None:
    await olga.put("/users/me", {"display_name": "Go https://evil.example/a"})
    await olga.put(board.path, {"name": "Prize: www.evil.example/b"})
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    (letter,) = await mails.come()
    assert token_of(letter)
    assert "www[.]evil[.]example/b" in letter.text
    for text in (str(letter.message["Subject"]), str(letter.message["From"]), letter.text):
        assert text.count("://") == text.count(f"{SITE}/")
        assert "evil.example" not in text


async def test_who_does_not_exist_is_said_to_whoever_invited(
    board: Board, mails: Mails, olga: Person
) -> None:
    mails.box.no_such.add(ZOE)
    made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
    assert await mails.come() == []
    assert told(await only(olga, board.path)) == ("failed", "recipient")
    await mails.collect(mails.collector)
    assert await mails.wait() == 0
    mails.box.no_such.clear()
    again = f"{board.path}/invitations/{made['id']}/mail"
    assert told(await olga.post(again, status=200)) == ("waiting", None)
    await mails.come()
    assert told(await only(olga, board.path)) == ("sent", None)


async def test_a_worker_of_the_release_before_tells_no_reason(
    board: Board, mails: Mails, olga: Person
) -> None:
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    await mails.connection.execute("select finish_mail(m.id, m.takes, 'failed') from mails m")
    assert told(await only(olga, board.path)) == ("failed", None)


async def test_a_mail_that_was_lost_waits_again(board: Board, mails: Mails, olga: Person) -> None:
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    await mails.connection.execute("delete from mails")
    await mails.collect(mails.collector)
    await mails.collect(mails.collector)
    assert len(await mails.come()) == 1
    await mails.collect(mails.collector)
    assert await mails.come() == []


async def test_an_invitation_of_another_project_is_not_mailed(
    board: Board, mails: Mails, olga: Person, root: Person
) -> None:
    await olga.post("/projects", {"name": "Other"})
    made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
    server = await root.post("/admin/invitations", {"email": "a@example.org"})
    await mails.come()
    for id_ in (made["id"], server["id"]):
        await olga.post(f"/projects/other/invitations/{id_}/mail", status=404)
    await root.post(f"/admin/invitations/{made['id']}/mail", status=404)
    assert await mails.wait() == 0


async def test_after_a_rotation_the_link_of_before_is_mailed(
    board: Board, mails: Mails, olga: Person, settings: Settings
) -> None:
    made = await olga.post(f"{board.path}/invitations", {"email": ZOE})
    fresh = "another-key-that-is-long-and-Wild-0123456789"
    rotated = replace(settings, secret_key=fresh, previous_secret_key=settings.secret_key)
    async with serving(rotated) as other:
        assert await mails.send(Mailer(other.desk)) == 1
    assert mails.box.letters[0].links == [made["url"]]


async def test_a_link_that_no_key_makes_is_not_mailed(
    board: Board, mails: Mails, olga: Person, caplog: pytest.LogCaptureFixture
) -> None:
    await olga.post(f"{board.path}/invitations", {"email": ZOE})
    await mails.connection.execute("update invitations set salt = gen_random_uuid()")
    assert await mails.come() == []
    assert told(await only(olga, board.path)) == ("failed", "key")
    assert "reason=key" in caplog.text
