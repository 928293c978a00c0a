"""The way to the mail server: encryption, sign-in, and servers that are slow, wrong or silent."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.conftest import Wait
from tests.person import Person
from tests.postbox import Postbox, postbox, silent
from warmdesk.desk import Desk
from warmdesk.jobs.mail import Mailer
from warmdesk.mail import postman
from warmdesk.mail.letters import Place, message, trial_letter
from warmdesk.mail.postman import NotTaken, Postman
from warmdesk.schemas.settings import SystemSettings

PASSWORD = "a mail password"
TRIAL = "/admin/system-settings/test-email"

pytestmark = pytest.mark.settings(base_url="https://desk.example.org")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority whose certificates are trusted."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(made)
    return made


def mail(to: str = "alice@example.org") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "desk@example.org", to, "Hello"
    made.set_content("Hello")
    return made


def to(port: int, **settings: Any) -> Postman:
    values = SystemSettings(smtp_host="127.0.0.1", smtp_port=port, **settings)
    return Postman(values, own_host="desk.example.org")


async def refused(port: int, **settings: Any) -> NotTaken:
    async with to(port, **settings) as way:
        with pytest.raises(NotTaken) as found:
            await way.send(mail())
    return found.value


@pytest.mark.parametrize("wish", ["auto", "starttls"])
async def test_starttls_is_used_when_it_is_offered(authority: trustme.CA, wish: str) -> None:
    with postbox(starttls=context(authority), login=True) as box:
        credentials = {"smtp_username": "desk", "smtp_password": PASSWORD}
        async with to(box.port, smtp_security=wish, **credentials) as way:
            await way.send(mail())
            await way.send(mail("bob@example.org"))
    assert [(letter.to, letter.tls) for letter in box.letters] == [
        (["alice@example.org"], True),
        (["bob@example.org"], True),
    ]
    assert box.logins == [("desk", PASSWORD)]


async def test_tls_from_the_first_byte(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postbox(tls=context(authority)) as box:
        async with to(box.port, smtp_security="tls") as way:
            await way.send(mail())
        monkeypatch.setattr(postman, "TLS_PORT", box.port)
        async with to(box.port) as way:
            await way.send(mail())
    assert len(box.letters) == 2


async def test_a_certificate_that_nobody_trusts_gets_no_mail(authority: trustme.CA) -> None:
    strange = trustme.CA()
    with ExitStack() as stack:
        for certificate in (context(strange), context(authority, "mail.example.net")):
            box = stack.enter_context(postbox(starttls=certificate))
            assert (await refused(box.port)).reason == "certificate"
            assert box.letters == []
            box = stack.enter_context(postbox(tls=certificate))
            assert (await refused(box.port, smtp_security="tls")).reason == "certificate"
            assert box.letters == []


async def test_without_encryption_where_it_is_asked_for_nothing_is_said(box: Postbox) -> None:
    assert (await refused(box.port, smtp_security="starttls")).reason == "unencrypted"
    assert (await refused(box.port, smtp_security="tls")).reason == "no_tls"
    assert box.letters == []


async def test_a_password_goes_over_no_open_line(
    box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postman, "_is_here", lambda host: False)
    found = await refused(box.port, smtp_username="desk", smtp_password=PASSWORD)
    assert found.reason == "unencrypted"
    assert box.logins == []
    async with to(box.port) as way:
        await way.send(mail())
    assert len(box.letters) == 1


async def test_a_wrong_password(authority: trustme.CA) -> None:
    with postbox(starttls=context(authority), login=True) as box:
        found = await refused(box.port, smtp_username="desk", smtp_password="another")
    assert (found.reason, found.final, found.counts) == ("login", False, False)


async def test_a_server_that_knows_no_passwords_is_no_fault_of_the_reader() -> None:
    with silent(b"220 mail ready\r\n", b"250 fine\r\n") as port:
        found = await refused(port, smtp_username="desk", smtp_password=PASSWORD)
    assert found.reason == "no_login"
    assert (found.final, found.counts) == (False, False)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postman, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(postman, "SEND_SECONDS", 0.8)


@pytest.mark.parametrize(
    ("greeting", "answer", "reasons"),
    [
        (b"", b"", {"slow"}),
        (b"220 mail ready\r\n", b"", {"slow"}),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", {"nonsense", "unreachable"}),
        (b"220 mail ready\r\n", b"\x00\xff nonsense\r\n", {"nonsense", "unreachable"}),
        (b"220 mail ready\r\n", b"250-more\r\n", {"slow", "nonsense"}),
        (b"554 go away\r\n", b"", {"unreachable", "nonsense"}),
        (b"421 busy\r\n", b"", {"unreachable", "nonsense"}),
        (b"220 " + b"x" * 100_000 + b"\r\n", b"", {"slow", "nonsense", "unreachable"}),
    ],
)
async def test_what_is_no_mail_server_is_left_in_time(
    hurried: None, greeting: bytes, answer: bytes, reasons: set[str]
) -> None:
    began = time.monotonic()
    with silent(greeting, answer) as port:
        found = await refused(port)
    assert found.reason in reasons
    assert not found.final
    assert time.monotonic() - began < 5


async def test_nobody_listens(unused_tcp_port: int) -> None:
    assert (await refused(unused_tcp_port)).reason == "unreachable"


async def test_a_host_that_cannot_be_is_no_fault_of_the_reader() -> None:
    values = SystemSettings(smtp_host="mail..example.org")
    async with Postman(values, own_host="desk.example.org") as way:
        with pytest.raises(NotTaken) as found:
            await way.send(mail())
    assert (found.value.reason, found.value.final) == ("no_host", False)


async def test_a_name_that_nobody_has_is_told_apart_from_a_host_that_refuses() -> None:
    values = SystemSettings(smtp_host="nobody.invalid")
    async with Postman(values, own_host="desk.example.org") as way:
        with pytest.raises(NotTaken) as found:
            await way.send(mail())
    assert (found.value.reason, found.value.counts) == ("no_host", False)


async def test_an_installation_in_any_script_says_who_it_is(box: Postbox) -> None:
    place = Place("Wärmdesk", "https://dësk.example.org/tools")
    assert place.host == "xn--dsk-jma.example.org"
    values = SystemSettings(smtp_host="127.0.0.1", smtp_port=box.port)
    async with Postman(values, own_host=place.host) as way:
        await way.send(message(place, values, trial_letter(place, "alice@example.org", "en"), "1"))
    assert box.letters[0].sender == "warmdesk@xn--dsk-jma.example.org"


async def test_a_server_that_dawdles_with_every_byte_is_left_in_time(
    hurried: None, box: Postbox
) -> None:
    box.before = 5.0
    assert (await refused(box.port)).reason == "slow"
    box.before = 0.0


async def test_refusals_are_told_apart(box: Postbox) -> None:
    box.no_such.add("alice@example.org")
    found = await refused(box.port)
    assert (found.reason, found.code, found.final) == ("recipient", 550, True)
    box.no_such.clear()
    box.no_sender = ("RCPT", "450 4.2.1 try again")
    found = await refused(box.port)
    assert (found.reason, found.code, found.final) == ("recipient_later", 450, False)
    assert found.counts
    box.no_sender = ("", "")
    box.refusals[:] = ["451 later", "552 too large"]
    found = await refused(box.port)
    assert (found.reason, found.code, found.final) == ("refused", 451, False)
    found = await refused(box.port)
    assert (found.reason, found.code, found.final) == ("refused", 552, True)
    assert found.counts


OUR_SENDER = [
    ("MAIL", "550 go away"),
    ("RCPT", "553 5.7.1 <desk@example.org>: Sender address rejected: not owned by user desk"),
    ("RCPT", "450 4.1.8 <desk@example.org>: Sender address rejected: Domain not found"),
    ("DATA", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
]


@pytest.mark.parametrize("refusal", OUR_SENDER)
async def test_whoever_refuses_the_sender_does_not_refuse_the_reader(
    box: Postbox, refusal: tuple[str, str]
) -> None:
    box.no_sender = refusal
    found = await refused(box.port)
    assert (found.reason, found.code) == ("sender", int(refusal[1][:3]))
    assert (found.final, found.counts) == (False, False)


async def test_what_a_server_cites_is_not_its_own_word(box: Postbox) -> None:
    cited = "450 4.1.1 <alice@example.org>: unverified: host mx said: 550 5.1.8 Sender address"
    box.no_sender = ("RCPT", cited + " rejected")
    found = await refused(box.port)
    assert (found.reason, found.counts) == ("recipient_later", True)


# The test mail


async def test_a_test_mail_says_whether_the_settings_are_right(
    root: Person, box: Postbox, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"to": "alice@example.org"}
    assert (await root.post(TRIAL, body, status=422))["code"] == "mail_off"
    place = "/admin/system-settings"
    await root.put(place, {"smtp_host": "127.0.0.1", "smtp_port": unused_tcp_port})
    said = await root.post(TRIAL, body, status=502)
    assert (said["code"], said["reason"]) == ("mail_failed", "unreachable")
    await root.put(place, {"smtp_port": box.port, "company_name": "Wonderland"})
    await root.post(TRIAL, body, status=200)
    letter = box.letters[0]
    assert letter.to == ["alice@example.org"]
    assert letter.message["Subject"] == "A test mail from Wonderland"
    assert letter.message["From"] == "Wonderland <warmdesk@desk.example.org>"
    box.refusals.append("554 5.7.1 secret words of the server")
    said = await root.post(TRIAL, body, status=502)
    assert "secret" not in f"{said}{caplog.text}"


async def test_a_test_mail_is_the_administrators(alice: Person, root: Person) -> None:
    await alice.post(TRIAL, {"to": "alice@example.org"}, status=403)
    for address in ("nobody", "a@b\r\nc@d", "a@b, c@d"):
        said = await root.post(TRIAL, {"to": address}, status=400)
        assert said["fields"] == {"to": "bad_format"}


# The queue


@pytest.fixture
def mailer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Mailer:
    """Sends when the test says so, and not by itself."""
    made = Mailer(desk)
    turn = made.turn
    monkeypatch.setattr(Mailer, "turn", nothing)
    made.turn = turn  # type: ignore[method-assign]
    return made


async def nothing(self: Mailer) -> int:
    return 0


async def forget(person: Person, *names: str) -> None:
    for name in names:
        body = {"email": f"{name}@example.org"}
        await person.client.request("POST", "/auth/forgot-password", body)


async def due_again(connection: Any) -> None:
    """As if the pause were over."""
    await connection.execute("update mails set due_at = clock_timestamp()")
    await connection.execute("delete from password_resets")


async def test_three_tries_with_longer_pauses_and_then_no_more(
    mailer: Mailer,
    mailing: Postbox,
    alice: Person,
    connection: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mailing.refusals[:] = ["451 later"] * 5
    await forget(alice, "alice")
    for failures, pause in ((1, 60), (2, 1800)):
        assert await mailer.turn() == 0
        assert await mailer.turn() == 0
        row = await connection.fetchrow(
            "select failures, extract(epoch from due_at - clock_timestamp())::float8 as pause"
            " from mails"
        )
        assert row["failures"] == failures
        assert pause - 5 < row["pause"] <= pause
        await due_again(connection)
    with caplog.at_level(logging.ERROR):
        assert await mailer.turn() == 0
    assert "mail.given_up" in caplog.text
    assert await connection.fetchval("select count(*) from mails") == 0
    assert mailing.began == 3


async def test_a_mail_that_failed_once_arrives_later(
    mailer: Mailer, mailing: Postbox, alice: Person, connection: Any
) -> None:
    mailing.refusals[:] = ["451 later"]
    await forget(alice, "alice", "bob")
    assert await mailer.turn() == 1
    await due_again(connection)
    assert await mailer.turn() == 1
    assert sorted(letter.to[0] for letter in mailing.letters) == [
        "alice@example.org",
        "bob@example.org",
    ]


async def test_a_reader_who_is_not_there_is_tried_once(
    mailer: Mailer, mailing: Postbox, alice: Person, connection: Any
) -> None:
    mailing.no_such.add("alice@example.org")
    await forget(alice, "alice", "bob")
    assert await mailer.turn() == 1
    assert await connection.fetchval("select count(*) from mails") == 0


async def test_a_server_that_is_away_is_left_alone_and_costs_no_mail_a_try(
    mailer: Mailer, root: Person, alice: Person, connection: Any, unused_tcp_port: int
) -> None:
    await root.put(
        "/admin/system-settings", {"smtp_host": "127.0.0.1", "smtp_port": unused_tcp_port}
    )
    await forget(alice, "alice", "bob", "eve")
    assert [await mailer.turn() for _ in range(3)] == [0, 0, 0]
    rows = await connection.fetch(
        "select failures, takes, due_at > clock_timestamp() as waits from mails order by waits"
    )
    assert [tuple(row) for row in rows] == [(0, 0, False), (0, 0, False), (0, 0, True)]


@pytest.mark.parametrize("refusal", OUR_SENDER)
async def test_a_wrong_sender_costs_no_mail_a_try(
    mailer: Mailer,
    mailing: Postbox,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    refusal: tuple[str, str],
) -> None:
    monkeypatch.setattr("warmdesk.jobs.mail.REST_SECONDS", 0.0)
    mailing.no_sender = refusal
    await forget(alice, "alice", "bob")
    for _ in range(8):
        assert await mailer.turn() == 0
        await due_again(connection)
    rows = await connection.fetch("select failures, takes from mails")
    assert [tuple(row) for row in rows] == [(0, 0), (0, 0)]
    mailing.no_sender = ("", "")
    assert await mailer.turn() == 2


async def test_a_mail_at_which_the_server_hangs_up_is_tried_three_times(
    mailer: Mailer,
    hurried: None,
    mailing: Postbox,
    alice: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("warmdesk.jobs.mail.REST_SECONDS", 0.0)
    mailing.before = 2.0
    await forget(alice, "alice")
    for failures in (1, 2):
        assert await mailer.turn() == 0
        assert await connection.fetchval("select failures from mails") == failures
        await due_again(connection)
    assert await mailer.turn() == 0
    assert await connection.fetchval("select count(*) from mails") == 0
    mailing.before = 0.0


async def test_several_workers_send_each_mail_once(
    desk: Desk, mailer: Mailer, mailing: Postbox, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into users (email, username, password_hash, display_name)"
        " select 'u' || n || '@example.org', 'u' || n, 'x', 'U' from generate_series(1, 60) n"
    )
    await forget(alice, *(f"u{n}" for n in range(1, 61)))
    real = mailer.turn.__func__  # type: ignore[attr-defined]
    others = [Mailer(desk) for _ in range(3)]
    sent = await asyncio.gather(*(real(each) for each in (mailer, *others)))
    assert sum(sent) == 60
    assert len({letter.to[0] for letter in mailing.letters}) == len(mailing.letters) == 60


@pytest.mark.settings(base_url="https://desk.example.org", database_pool=2)
async def test_a_mail_server_that_hangs_holds_no_connection(
    desk: Desk, mailer: Mailer, mailing: Postbox, alice: Person, connection: Any, eventually: Wait
) -> None:
    mailing.before = 60.0
    await forget(alice, "alice")
    sending = asyncio.create_task(mailer.turn())
    await eventually(lambda: mailing.began == 1)
    try:
        pool = desk.database.pool
        await eventually(lambda: pool.idle == pool.size)

        async def nothing_is_held() -> bool:
            """What other jobs do by the clock is over in a moment."""
            busy = await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and state <> 'idle' and pid <> pg_backend_pid()"
            )
            locks = await connection.fetchval(
                "select count(*) from pg_locks l join pg_class c on c.oid = l.relation"
                " where c.relname = 'mails' and l.pid <> pg_backend_pid()"
            )
            return bool(busy == locks == 0)

        await eventually(nothing_is_held)
        for _ in range(5):
            await alice.get("/users/me")
    finally:
        mailing.before = 0.0
        await sending


async def test_what_is_sent_at_the_stop_is_finished_and_the_rest_waits(
    mailer: Mailer, mailing: Postbox, alice: Person, connection: Any, eventually: Wait
) -> None:
    mailing.before = 0.5
    await forget(alice, "alice", "bob")
    sending = asyncio.create_task(mailer.turn())
    await eventually(lambda: mailing.began == 1)
    await mailer.stop()
    assert await sending == 1
    assert len(mailing.letters) == 1
    assert await connection.fetchval("select count(*) from mails") == 1
    assert await connection.fetchval("select takes from mails") == 0
