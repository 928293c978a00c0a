"""Who can sign in has changed: the owner of an account is told, at the address of before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Wait
from tests.locks import waiting
from tests.mail.test_passwords import NEW, forgot, mailed, reset
from tests.person import PASSWORD, Person
from tests.postbox import Letter, Postbox
from warmdesk import clock
from warmdesk.auth import totp
from warmdesk.auth.passwords import ANYBODY, hash_password
from warmdesk.mail.letters import WARNINGS
from warmdesk.mail.words import LANGUAGES, Words

ALICE = 3
OTHER = {"email": "liddell@example.org"}

pytestmark = pytest.mark.settings(base_url="https://desk.example.org")


async def warned(box: Postbox, eventually: Wait, number: int) -> list[Letter]:
    """The warnings that arrived, when they are so many."""

    def found() -> list[Letter]:
        subjects = WARNINGS.values()
        return [each for each in box.letters if each.message["Subject"] in subjects]

    await eventually(lambda: len(found()) >= number, limit=10)
    assert len(found()) == number
    return found()


async def test_another_address_needs_the_password_and_the_old_one_is_told(
    mailing: Postbox, alice: Person, eventually: Wait
) -> None:
    for body, code in (
        (OTHER, "required"),
        ({**OTHER, "current_password": "another"}, "incorrect"),
    ):
        refused = await alice.put("/users/me", {**body, "theme": "dark"}, status=422)
        assert (refused["code"], refused["fields"]) == (
            "wrong_password",
            {"current_password": code},
        )
    me = await alice.get("/users/me")
    assert (me["email"], me["theme"]) == ("alice@example.org", "system")
    assert (await alice.put("/users/me", {"email": "Alice@example.org"}))["email"] == me["email"]

    me = await alice.put("/users/me", {**OTHER, "current_password": PASSWORD})

    assert me["email"] == OTHER["email"]
    assert "current_password" not in me
    letter = (await warned(mailing, eventually, 1))[0]
    assert letter.to == ["alice@example.org"]
    assert letter.message["Subject"] == "Your account has another e-mail address"
    assert "alice" in letter.text
    assert OTHER["email"] not in letter.text
    await alice.put("/users/me", {"current_password": "another", "theme": "dark"})


async def test_an_administrator_proves_the_own_address_alone(
    mailing: Postbox, root: Person, eventually: Wait
) -> None:
    refused = await root.put("/users/1", {"email": "root2@example.org"}, status=422)
    assert refused["fields"] == {"current_password": "required"}
    await root.put(f"/users/{ALICE}", OTHER)
    await root.put("/users/1", {"email": "root2@example.org", "current_password": PASSWORD})
    letters = await warned(mailing, eventually, 2)
    assert {each.to[0] for each in letters} == {"alice@example.org", "root@example.org"}


async def test_a_password_that_changes_meanwhile_proves_nothing(
    alice: Person, root: Person, connection: Any
) -> None:
    """The password was right when it was checked, and is not when the account is to be changed."""
    for person, path, body in (
        (alice, "/users/me", OTHER),
        (root, "/users/1", {"password": NEW}),
    ):
        await person.token()
        async with connection.transaction():
            row = await connection.fetchrow(
                "select id, password_hash from users where username = $1 for update",
                person.username,
            )
            asking = asyncio.create_task(
                person.request("PUT", path, {**body, "current_password": PASSWORD})
            )
            await waiting(connection)
            change = "update users set password_hash = $2 where id = $1"
            await connection.execute(change, row["id"], await hash_password(NEW, ANYBODY))
        answer = await asking
        assert answer.status == 422
        assert answer.body["fields"] == {"current_password": "incorrect"}
        await connection.execute(change, *row)
    assert (await alice.get("/users/me"))["email"] == "alice@example.org"


@pytest.mark.settings(rate_limits=True)
async def test_no_address_gets_many_of_them(alice: Person) -> None:
    for turn in range(10):
        body = {"email": f"a{turn}@example.org", "current_password": PASSWORD}
        await alice.put("/users/me", body)
    body = {"email": "b@example.org", "current_password": PASSWORD}
    assert (await alice.put("/users/me", body, status=429))["code"] == "rate_limited"


async def test_another_password_is_told_whoever_set_it(
    mailing: Postbox, alice: Person, root: Person, eventually: Wait
) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW}
    await alice.put("/users/me/password", body)
    await warned(mailing, eventually, 1)
    await root.put(f"/users/{ALICE}", {"password": "yet another horse"})
    await warned(mailing, eventually, 2)
    await forgot(alice, "alice@example.org")
    assert (await reset(alice, await mailed(mailing, eventually)))[0] == 200
    letters = await warned(mailing, eventually, 3)
    assert {each.message["Subject"] for each in letters} == {"Your account has another password"}
    assert {each.to[0] for each in letters} == {"alice@example.org"}


async def test_a_second_factor_that_comes_and_goes_is_told(
    mailing: Postbox, alice: Person, root: Person, eventually: Wait
) -> None:
    secret = (await alice.get("/auth/mfa/setup"))["secret"]
    code = totp.password_at(secret, int(clock.now() // totp.STEP_SECONDS))
    await alice.post("/auth/mfa/enable", {"code": code}, status=200)
    await root.post(f"/users/{ALICE}/mfa/disable", status=200)
    letters = await warned(mailing, eventually, 2)
    assert sorted(str(each.message["Subject"]) for each in letters) == [
        "Your account has a second factor",
        "Your account has no second factor any more",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_warning_is_in_the_readers_language(
    mailing: Postbox, alice: Person, eventually: Wait, language: str
) -> None:
    body = {**OTHER, "current_password": PASSWORD, "locale": language}
    await alice.put("/users/me", body)
    await eventually(lambda: mailing.letters, limit=10)
    letter = mailing.letters[0]
    assert letter.message["Subject"] == Words(language)(WARNINGS["email_changed"])
    assert letter.message["Content-Language"] == language


async def test_who_has_no_mail_server_gets_none(alice: Person, connection: Any) -> None:
    await alice.put("/users/me", {**OTHER, "current_password": PASSWORD})
    assert await connection.fetchval("select count(*) from mails") == 0
