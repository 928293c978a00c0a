"""Mails about notifications: to whom, when, and what they say."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import Board, Door, Invite
from tests.person import Person
from tests.postbox import Postbox
from warmdesk.desk import Desk
from warmdesk.jobs.mail import Collector, Mailer
from warmdesk.mail.words import Words

SITE = "https://desk.example.org"

pytestmark = pytest.mark.settings(base_url=SITE)


class Mails:
    """The jobs, when the test says so, and what arrived."""

    def __init__(self, desk: Desk, box: Postbox, connection: Any) -> None:
        self.connection, self.box = connection, box
        self.collector, self.mailer = Collector(desk), Mailer(desk)
        self.collect = Collector.turn
        self.send = Mailer.turn
        self.read = 0

    async def later(self, minutes: float = 5.1) -> None:
        """As if so many minutes had gone by."""
        await self.connection.execute(
            "update notifications set created_at = created_at - $1 * interval '1 minute'", minutes
        )

    async def come(self) -> list[Any]:
        """What arrives now."""
        await self.collect(self.collector)
        await self.send(self.mailer)
        came = self.box.letters[self.read :]
        self.read = len(self.box.letters)
        return came


@pytest.fixture
async def mails(
    desk: Desk, mailing: Postbox, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> Mails:
    made = Mails(desk, mailing, connection)

    async def nothing(self: Any) -> int:
        return 0

    monkeypatch.setattr(Collector, "turn", nothing)
    monkeypatch.setattr(Mailer, "turn", nothing)
    return made


async def say(board: Board, text: str) -> Any:
    return await board.maker.post(f"{board.path}/chat/messages", {"body": text})


async def test_who_is_named_and_away_gets_a_mail(board: Board, mails: Mails) -> None:
    await say(board, "@bob look <b>here</b>")
    assert await mails.come() == []
    await mails.later()
    (letter,) = await mails.come()
    assert letter.to == ["bob@example.org"]
    assert letter.message["Subject"] == "Alice mentioned you in Demo"
    assert f"{SITE}/p/demo/chat" in letter.links
    assert "> @bob look <b>here</b>" in letter.text
    assert "&lt;b&gt;here" in letter.page
    assert await mails.come() == []


async def test_a_burst_within_five_minutes_is_one_mail(board: Board, mails: Mails) -> None:
    for number in range(4):
        await say(board, f"@bob number {number}")
        await mails.later(1.0)
        assert await mails.come() == []
    await mails.later(1.1)
    await say(board, "@bob number 4")
    (letter,) = await mails.come()
    assert letter.message["Subject"] == "5 new notifications"
    assert [n for n in range(5) if f"number {n}" in letter.text] == list(range(5))
    await say(board, "@bob one more")
    assert await mails.come() == []
    await mails.later()
    assert len(await mails.come()) == 1


async def test_who_has_a_socket_open_anywhere_gets_none(
    board: Board, mails: Mails, person: Invite, twin: Door
) -> None:
    await say(board, "@bob look")
    await mails.later()
    async with person("bob", url=twin.url).socket("user") as socket:
        await socket.next("hello")
        assert await mails.come() == []
    assert await mails.come() == []


async def test_what_was_read_or_deleted_meanwhile_is_not_mailed(
    board: Board, mails: Mails, bob: Person, alice: Person, olga: Person
) -> None:
    said = await say(board, "@bob a secret")
    await say(board, "@olga look")
    await mails.later()
    await mails.collect(mails.collector)
    await alice.delete(f"{board.path}/chat/messages/{said['id']}")
    await olga.post("/notifications/read-all", status=204)
    assert await mails.come() == []
    assert await mails.connection.fetchval("select count(*) from mails") == 0


async def test_who_left_the_project_is_told_nothing_of_it(
    board: Board, mails: Mails, olga: Person, bob: Person
) -> None:
    await say(board, "@bob a secret")
    await mails.later()
    await mails.collect(mails.collector)
    await olga.delete(f"{board.path}/members/{bob.id}")
    assert await mails.come() == []


async def test_a_deactivated_account_gets_none(
    board: Board, mails: Mails, root: Person, bob: Person
) -> None:
    await say(board, "@bob a secret")
    await mails.later()
    await mails.collect(mails.collector)
    await root.put(f"/users/{bob.id}", {"is_active": False})
    assert await mails.come() == []


async def test_each_kind_is_told_as_its_reader_chose(
    board: Board, mails: Mails, bob: Person, alice: Person
) -> None:
    me = await bob.get("/users/me")
    assert me["notify"]["mention"] == me["notify"]["dm"] == me["notify"]["assigned"] == "mail"
    assert set(me["notify"].values()) == {"mail", "app"}
    said = await bob.put("/users/me", {"notify": {"mention": "app"}})
    assert said["notify"] == me["notify"] | {"mention": "app"}
    await say(board, "@bob look")
    talk = await alice.post("/conversations", {"user_ids": [bob.id]})
    await alice.post(f"/conversations/{talk['id']}/messages", {"body": "Only you"})
    await mails.later()
    (letter,) = await mails.come()
    assert letter.message["Subject"] == "Alice wrote to you"
    told = [each["kind"] for each in (await bob.get("/notifications"))["items"]]
    assert told == ["dm", "mention", "project_added"]
    await bob.put("/users/me", {"notify": {"mention": "off"}})
    await say(board, "@bob look again")
    assert len((await bob.get("/notifications"))["items"]) == 3
    refused = await bob.put("/users/me", {"notify": {"dm": "pigeon"}}, status=400)
    assert refused["fields"] == {"notify.dm": "not_one_of"}
    assert (await bob.get("/users/me"))["notify"]["dm"] == "mail"


async def test_who_switched_mails_off_between_gets_none(
    board: Board, mails: Mails, bob: Person
) -> None:
    await say(board, "@bob look")
    await mails.later()
    await mails.collect(mails.collector)
    await bob.put("/users/me", {"email_notifications": False})
    assert await mails.come() == []


async def test_old_wishes_are_forgotten(board: Board, mails: Mails) -> None:
    await say(board, "@bob look")
    await mails.later(61)
    assert await mails.come() == []
    assert not await mails.connection.fetchval("select bool_or(wants_mail) from notifications")


async def test_without_redis_nobody_knows_who_is_here_and_the_mail_waits(
    board: Board, mails: Mails, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(board, "@bob look")
    await mails.later()

    async def away(people: list[int]) -> set[int]:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(desk.presence.leases, "online", away)
        assert await mails.come() == []
    assert len(await mails.come()) == 1


async def test_two_workers_make_one_mail(
    board: Board, mails: Mails, twin: Door, connection: Any
) -> None:
    await say(board, "@bob look")
    await mails.later()
    made = await asyncio.gather(mails.collect(mails.collector), mails.collect(Collector(twin.desk)))
    assert sum(made) == 1
    assert await connection.fetchval("select count(*) from mails") == 1


async def test_a_title_or_a_name_makes_no_header(
    board: Board, mails: Mails, alice: Person, olga: Person
) -> None:
    await olga.put("/users/me", {"display_name": "Olga <b> & Co: Bcc, eve@example.org"})
    card = await board.card("Fix\r\nBcc: eve@example.org")
    path = f"{board.path}/cards/{card['id']}"
    await olga.put(path, {"assignee_ids": [alice.id]})
    await mails.later()
    (letter,) = await mails.come()
    assert letter.to == ["alice@example.org"]
    assert letter.message["Bcc"] is None
    assert "Fix Bcc: eve@example.org" in letter.message["Subject"]


async def test_the_mail_speaks_the_readers_language(
    board: Board, mails: Mails, bob: Person
) -> None:
    for locale in ("nl", "de", "fr", "es", "is"):
        await bob.put("/users/me", {"locale": locale})
        await say(board, f"@bob {locale}")
        await mails.later()
        (letter,) = await mails.come()
        words = Words(locale)
        told = words("{actor} mentioned you in {title}", actor="Alice", title="Demo")
        assert letter.message["Subject"] == told
        assert letter.message["Content-Language"] == words.language
        await bob.post("/notifications/read-all", status=204)


# No more of them


async def test_one_click_ends_them(board: Board, mails: Mails, bob: Person, url: str) -> None:
    await say(board, "@bob look")
    await mails.later()
    (letter,) = await mails.come()
    assert letter.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    # As it was sent: no program looks for encoded words there, nor for a link in two parts.
    link = re.fullmatch("<(.*)>", dict(letter.message.raw_items())["List-Unsubscribe"])
    assert link is not None
    assert link[1] in letter.links
    parts = urlsplit(link[1])
    assert f"{parts.scheme}://{parts.netloc}" == SITE
    place = f"{url}{parts.path}?{parts.query}"
    session = bob.client.session
    async with bob.socket("user") as socket:
        await socket.next("hello")
        async with session.get(place) as response:
            page = await response.text()
            assert response.status == 200
            assert "<form" in page
            assert "form-action" not in response.headers["Content-Security-Policy"]
        assert (await bob.get("/users/me"))["email_notifications"] is True
        for form in ({"List-Unsubscribe": "One-Click"}, None):
            async with session.post(place, data=form) as response:
                assert response.status == 200, await response.text()
        told = await socket.next("user.updated")
        assert told["payload"]["email_notifications"] is False
    await say(board, "@bob look again")
    await mails.later()
    assert await mails.come() == []


@pytest.mark.parametrize("token", ["x", "a" * 60, "%00", "1"])
async def test_a_link_that_is_none_is_not_there(alice: Person, url: str, token: str) -> None:
    place = f"{url}/api/v1/mail/unsubscribe?token={token}"
    for method in ("GET", "POST"):
        async with alice.client.session.request(method, place) as response:
            assert response.status in (400, 404)
