"""Forgotten passwords, with a real mail server: asked for by address, set anew by the mail."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Door, Invite, Wait
from tests.person import PASSWORD, Person
from tests.postbox import Postbox
from warmdesk.desk import Desk
from warmdesk.jobs.mail import Mailer

NEW = "another horse battery"
SITE = "https://desk.example.org"

pytestmark = pytest.mark.settings(base_url=SITE)


async def forgot(person: Person, address: str) -> Any:
    return (await person.client.request("POST", "/auth/forgot-password", {"email": address})).body


async def reset(person: Person, token: str, password: str = NEW) -> tuple[int, Any]:
    body = {"token": token, "password": password}
    said = await person.client.request("POST", "/auth/reset-password", body)
    return said.status, said.body


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


async def mailed(box: Postbox, eventually: Wait, number: int = 1) -> str:
    """The token of the latest of so many mails with one."""

    def found() -> list[str]:
        return [each.links[0] for each in box.letters if each.links]

    await eventually(lambda: len(found()) >= number, limit=10)
    return token_of(found()[-1])


async def test_a_password_is_set_by_the_mail_and_all_sessions_end(
    mailing: Postbox, alice: Person, person: Invite, eventually: Wait, connection: Any
) -> None:
    old = person("alice")
    await old.token()
    async with old.socket("user") as socket:
        await socket.next("hello")
        said = await forgot(alice, "ALICE@example.org")
        assert "if somebody has this address" in said["message"]
        token = await mailed(mailing, eventually)
        letter = mailing.letters[0]
        assert letter.to == ["alice@example.org"]
        assert letter.links == [f"{SITE}/reset-password?token={token}"]
        assert letter.links[0] in letter.page
        assert letter.message["Subject"] == "Set a new password"
        assert letter.message["Auto-Submitted"] == "auto-generated"
        assert letter.message["List-Unsubscribe"] is None
        kept = await connection.fetch("select r::text from password_resets r")
        kept += await connection.fetch("select m::text from mails m")
        assert token not in str(kept)
        assert (await reset(alice, token))[0] == 200
        assert await socket.closed() == 4401
    await old.get("/users/me", status=401)
    assert (await person("alice", password=NEW).get("/users/me"))["username"] == "alice"
    wrong = person("alice")
    refused = await wrong.client.request(
        "POST", "/auth/login", {"username": "alice", "password": PASSWORD}
    )
    assert refused.status == 401
    await eventually(lambda: connection.fetchval("select count(*) = 0 from mails"), limit=5)


async def test_a_token_is_good_once(mailing: Postbox, alice: Person, eventually: Wait) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    assert (await reset(alice, token))[0] == 200
    status, said = await reset(alice, token, "yet another horse")
    assert (status, said["error"], said["code"]) == (
        400,
        "invalid or expired token",
        "invalid_token",
    )


async def test_a_token_that_is_used_at_once_sets_one_password(
    mailing: Postbox, alice: Person, person: Invite, eventually: Wait, twin: Door
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    people = [alice, person("alice", url=twin.url)]
    tries = [reset(people[n % 2], token, f"horse number {n}") for n in range(8)]
    found = [status for status, _ in await asyncio.gather(*tries)]
    assert sorted(found) == [200] + [400] * 7
    chosen = found.index(200)
    await person("alice", password=f"horse number {chosen}").get("/users/me")


async def test_a_token_is_over_after_an_hour_and_after_a_week(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    left = await connection.fetchval(
        "select extract(epoch from expires_at - clock_timestamp())::float8 from password_resets"
    )
    assert 3500 < left <= 3600
    for age in ("1 hour", "7 days"):
        await connection.execute(
            "update password_resets set expires_at = clock_timestamp() + interval '1 hour'"
            f" - interval '{age}'"
        )
        assert (await reset(alice, token))[0] == 400
    await alice.get("/users/me")


async def test_who_sets_a_password_makes_the_other_tokens_void(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    await forgot(alice, "alice@example.org")
    first = await mailed(mailing, eventually)
    await connection.execute(
        "update password_resets set created_at = created_at - interval '1 minute'"
    )
    await forgot(alice, "alice@example.org")
    second = await mailed(mailing, eventually, 2)
    assert first != second
    assert (await reset(alice, second))[0] == 200
    assert (await reset(alice, first, "yet another horse"))[0] == 400


@pytest.mark.parametrize("what", ["own password", "password by root", "own address", "by root"])
async def test_another_password_or_address_makes_the_tokens_void(
    mailing: Postbox, alice: Person, root: Person, eventually: Wait, connection: Any, what: str
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    await alice.put("/users/me", {"email": "alice@example.org", "theme": "dark"})
    assert await connection.fetchval("select count(*) from password_resets") == 1
    if what == "own password":
        body = {"current_password": PASSWORD, "new_password": NEW}
        await alice.put("/users/me/password", body)
    elif what == "password by root":
        await root.put(f"/users/{alice.id}", {"password": NEW})
    elif what == "own address":
        await alice.put("/users/me", {"email": "liddell@example.org", "current_password": PASSWORD})
    else:
        await root.put(f"/users/{alice.id}", {"email": "liddell@example.org"})
    assert (await reset(alice, token, "yet another horse"))[0] == 400


async def test_a_burst_of_requests_is_one_mail(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    for _ in range(5):
        await forgot(alice, "alice@example.org")
    await eventually(lambda: connection.fetchval("select count(*) = 0 from mails"), limit=10)
    assert len(mailing.letters) == 1


async def test_an_address_without_an_account_is_answered_alike_and_not_mailed(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    await connection.execute("update users set is_active = false where username = 'bob'")
    await connection.execute("update users set deleted_at = now() where username = 'eve'")
    said = [
        await forgot(alice, f"{name}@example.org") for name in ("alice", "bob", "eve", "nobody")
    ]
    assert said == [said[0]] * 4
    await eventually(lambda: connection.fetchval("select count(*) = 0 from mails"), limit=10)
    assert [letter.to for letter in mailing.letters] == [["alice@example.org"]]


async def test_an_address_without_an_account_takes_as_long(
    mailing: Postbox, alice: Person, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Mailer) -> int:
        return 0

    monkeypatch.setattr(Mailer, "turn", nothing)
    took: dict[str, list[float]] = {"alice": [], "nobody": []}
    for _ in range(60):
        for name, times in took.items():
            began = time.perf_counter()
            await forgot(alice, f"{name}@example.org")
            times.append(time.perf_counter() - began)
    # What else the machine does makes some of them slower, and none faster.
    known, unknown = (statistics.quantiles(times)[0] for times in took.values())
    assert abs(known - unknown) < 0.25 * max(known, unknown)


async def test_the_statements_are_the_same_whoever_has_the_address(
    mailing: Postbox, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Mailer) -> int:
        return 0

    monkeypatch.setattr(Mailer, "turn", nothing)
    for name in ("alice", "nobody"):
        await forgot(alice, f"{name}@example.org")
    rows = await connection.fetch("select kind, user_id, urgent, address from mails order by id")
    assert [tuple(row) for row in rows] == [
        ("password", None, True, "alice@example.org"),
        ("password", None, True, "nobody@example.org"),
    ]


async def test_without_a_mail_server_the_answer_is_the_same(alice: Person, connection: Any) -> None:
    assert "if somebody" in (await forgot(alice, "alice@example.org"))["message"]
    assert await connection.fetchval("select count(*) from mails") == 0


@pytest.mark.parametrize(
    "address",
    [
        "nobody",
        "a@b\r\nBcc: eve@example.org",
        "alice@example.org, eve@example.org",
        "Alice <alice@example.org>",
        "@",
        "",
    ],
)
async def test_an_address_that_is_none_is_refused(
    mailing: Postbox, alice: Person, connection: Any, address: str
) -> None:
    said = await forgot(alice, address)
    assert said["fields"] == {"email": "bad_format"}
    assert await connection.fetchval("select count(*) from mails") == 0


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 44, "wd_" + "a" * 48, "'; drop --"])
async def test_a_token_that_is_none_is_refused(alice: Person, token: str) -> None:
    status, said = await reset(alice, token)
    assert (status, said["code"]) == (400, "invalid_token")


async def test_a_deactivated_account_sets_no_password(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    await connection.execute("update users set is_active = false where username = 'alice'")
    assert (await reset(alice, token))[0] == 400


async def test_a_reset_token_opens_nothing_else(
    mailing: Postbox, alice: Person, url: str, eventually: Wait
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    session = alice.client.session
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
        async with session.get(f"{url}/api/v1/users/me", headers=headers) as response:
            assert response.status == 401
        async with session.get(f"{url}/api/v1/ws/user", headers=headers) as response:
            assert response.status in (401, 426)
    said = await alice.client.request("POST", "/auth/refresh", {"refresh_token": token})
    assert said.status == 401


async def test_either_name_of_the_password_is_good_and_none_is_not(
    mailing: Postbox, alice: Person, person: Invite, eventually: Wait
) -> None:
    await forgot(alice, "alice@example.org")
    token = await mailed(mailing, eventually)
    two = {"password": NEW, "new_password": f"{NEW}!"}
    for body, fields in (
        ({}, {"password": "required"}),
        ({"password": "short"}, {"password": "too_short"}),
        (two, {"new_password": "conflicting"}),
    ):
        said = await alice.client.request("POST", "/auth/reset-password", {"token": token, **body})
        assert (said.status, said.body["fields"]) == (400, fields)
    body = {"token": token, "new_password": NEW}
    said = await alice.client.request("POST", "/auth/reset-password", body)
    assert said.status == 200
    await person("alice", password=NEW).get("/users/me")


@pytest.mark.settings(base_url=SITE, rate_limits=True)
async def test_who_asks_too_often_waits(alice: Person) -> None:
    found = []
    for _ in range(6):
        said = await alice.client.request(
            "POST", "/auth/forgot-password", {"email": "alice@example.org"}
        )
        found.append(said.status)
    assert found == [200] * 5 + [429]
    assert said.headers["RateLimit-Policy"].startswith('"forgot.address";q=5')


async def test_the_mail_is_in_the_readers_language(
    mailing: Postbox, alice: Person, eventually: Wait, connection: Any
) -> None:
    await connection.execute(
        "update users set locale = 'nl', display_name = $1 where id = $2",
        "Alïce\r\nBcc: eve@example.org",
        alice.id,
    )
    await forgot(alice, "alice@example.org")
    await mailed(mailing, eventually)
    letter = mailing.letters[0]
    assert letter.message["Content-Language"] == "nl"
    assert letter.message["Subject"] != "Set a new password"
    assert letter.message["Bcc"] is None
    assert letter.to == ["alice@example.org"]
    assert letter.message["To"].addresses[0].display_name == "Alïce Bcc: eve@example.org"
