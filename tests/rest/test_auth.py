"""Signing in and out through the doors: registration, login, refresh, sessions, tickets."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bcrypt
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import pace
from tests.closed import check
from tests.conftest import USUAL, Board, Door, Invite, Wait, changed_settings, serving
from tests.person import PASSWORD, Person
from warmdesk.auth import passwords
from warmdesk.auth.addresses import network
from warmdesk.auth.tokens import digest, new_secret
from warmdesk.changes import accounts
from warmdesk.client import Answer, Client
from warmdesk.db.pool import Database
from warmdesk.db.queries import Query
from warmdesk.desk import Desk
from warmdesk.rest import auth as module
from warmdesk.schemas.auth import Registered, Session, Ticket, Tokens

ALICE = 3
KEY = "wd_" + "a" * 48
NEWCOMER = {"email": "Zoe@Example.org", "username": "zoe", "password": "zoe keeps bees"}


@pytest.fixture
async def anyone(url: str) -> AsyncIterator[Client]:
    """Somebody without a credential."""
    async with Client(url, patience=0) as client:
        yield client


async def log_in(client: Client, name: str = "alice", password: str = PASSWORD) -> Answer:
    return await client.request("POST", "/auth/login", {"username": name, "password": password})


async def tokens_of(client: Client, name: str = "alice") -> dict[str, Any]:
    tokens: dict[str, Any] = (await log_in(client, name)).checked()
    return tokens


async def refresh(client: Client, token: str) -> Answer:
    return await client.request("POST", "/auth/refresh", {"refresh_token": token})


async def whoami(client: Client, access_token: str) -> int:
    """The status of a request with this token."""
    headers = {"Authorization": f"Bearer {access_token}"}
    return (await client.request("GET", "/users/me", headers=headers)).status


def is_of_the_house() -> bool:
    """Whether a task of the process runs, and no request."""
    task = asyncio.current_task()
    return task is not None and task.get_name().startswith("warmdesk.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the database was asked: names of queries, and each transaction that was opened; not what
    the process asks by itself.
    """
    names: list[str] = []
    query, transaction = Query.__call__, Database.transaction

    async def counted(self: Any, connection: Any, /, **params: Any) -> Any:
        if not is_of_the_house() and self.name != "health.newest_migration":
            names.append(self.name)
        return await query(self, connection, **params)

    def opened(self: Any, *given: Any) -> Any:
        if not is_of_the_house():
            names.append("transaction")
        return transaction(self, *given)

    monkeypatch.setattr(Query, "__call__", counted)
    monkeypatch.setattr(Database, "transaction", opened)
    return names


# Registration


async def test_who_registers_is_signed_in(anyone: Client, connection: Any) -> None:
    answer = await anyone.request("POST", "/auth/register", NEWCOMER | {"first_name": "Zoe"})

    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    check(answer.body, Registered, "register")
    assert answer.body["id"] == answer.body["user"]["id"]
    assert answer.body["user"]["email"] == "zoe@example.org"
    assert answer.body["user"]["display_name"] == "Zoe"
    assert answer.body["user"]["global_role"] == "user"
    assert await whoami(anyone, answer.body["access_token"]) == 200
    assert (await refresh(anyone, answer.body["refresh_token"])).status == 200
    kept = await connection.fetchval("select password_hash from users where username = 'zoe'")
    assert kept.startswith("$2b$")


async def test_a_name_is_made_of_first_and_last_name_or_is_the_username(anyone: Client) -> None:
    both = {"first_name": "Zoe", "last_name": "Quill"}
    answer = await anyone.request("POST", "/auth/register", NEWCOMER | both)
    assert answer.body["user"]["display_name"] == "Zoe Quill"

    other = {"email": "yan@example.org", "username": "Yan", "display_name": None}
    answer = await anyone.request("POST", "/auth/register", NEWCOMER | other)
    assert answer.body["user"]["display_name"] == "Yan"


@pytest.mark.parametrize(
    "changes",
    [
        {"email": None},
        {"email": "nobody"},
        {"email": "a@b\nBcc: c@d"},
        {"email": "a" * 250 + "@b.org"},
        {"username": None},
        {"username": ""},
        {"username": "ab"},
        {"username": "a" * 51},
        {"username": "zoe quill"},
        {"username": "zoe\n"},
        {"username": "zoé"},
        {"password": None},
        {"password": "1234567"},
        {"password": "x" * 129},
        {"password": "x" * 16_000},
        {"password": 12345678},
        {"first_name": "x" * 101},
        {"display_name": "x" * 151},
        {"display_name": "two\nlines"},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:12]!r}",
)
async def test_a_registration_that_is_wrong_is_400(
    anyone: Client, connection: Any, changes: dict[str, Any]
) -> None:
    body = {name: value for name, value in (NEWCOMER | changes).items() if value is not None}

    answer = await anyone.request("POST", "/auth/register", body)

    assert answer.status == 400, answer.body
    assert next(iter(changes)) in answer.body["fields"]
    assert await connection.fetchval("select count(*) from users") == 5


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ALICE@example.org"}, "email"),
        ({"username": "Alice"}, "username"),
    ],
)
async def test_a_name_can_be_taken_once(
    anyone: Client, changes: dict[str, Any], field: str
) -> None:
    answer = await anyone.request("POST", "/auth/register", NEWCOMER | changes)

    assert answer.status == 409
    assert answer.body["fields"] == {field: "taken"}


async def test_names_of_the_gone_stay_taken(anyone: Client, connection: Any) -> None:
    await connection.execute("update users set deleted_at = now() where username = 'eve'")

    answer = await anyone.request("POST", "/auth/register", NEWCOMER | {"username": "eve"})

    assert answer.status == 409


async def test_nobody_registers_as_an_administrator(anyone: Client, connection: Any) -> None:
    sent = NEWCOMER | {"global_role": "admin", "id": 1, "is_active": False}

    answer = await anyone.request("POST", "/auth/register", sent)

    assert answer.body["user"]["global_role"] == "user"
    assert answer.body["id"] > 5
    assert answer.body["user"]["is_active"]


async def test_registration_can_be_closed(anyone: Client, connection: Any) -> None:
    await connection.execute("insert into system_settings values ('registration_enabled', 'false')")

    answer = await anyone.request("POST", "/auth/register", NEWCOMER)

    assert (answer.status, answer.body["error"]) == (403, "registration is disabled")


@pytest.fixture
async def empty(
    request: pytest.FixtureRequest, empty_database_url: str, redis_url: str
) -> AsyncIterator[Door]:
    """A server without anybody."""
    given = changed_settings(request, database_url=empty_database_url, redis_url=redis_url)
    async with serving(given) as door:
        yield door


async def test_of_fifty_first_users_one_is_the_administrator(empty: Door) -> None:
    async with Client(empty.url, patience=0) as client:
        answers = await asyncio.gather(
            *(
                client.request(
                    "POST",
                    "/auth/register",
                    {
                        "email": f"user{number}@example.org",
                        "username": f"user{number}",
                        "password": PASSWORD,
                    },
                )
                for number in range(50)
            )
        )

    assert {answer.status for answer in answers} == {201}
    roles = [answer.body["user"]["global_role"] for answer in answers]
    assert sorted(roles) == ["admin"] + ["user"] * 49


async def test_the_first_user_may_register_even_when_it_is_closed_and_only_the_first(
    empty: Door,
) -> None:
    async with empty.desk.database.connection() as connection:
        await connection.execute(
            "insert into system_settings values ('registration_enabled', 'false')"
        )
    async with Client(empty.url, patience=0) as client:
        first = await client.request("POST", "/auth/register", NEWCOMER)
        async with empty.desk.database.connection() as connection:
            await connection.execute("update users set deleted_at = now()")
        other = {"email": "x@example.org", "username": "xaver"}
        second = await client.request("POST", "/auth/register", NEWCOMER | other)

    assert (first.status, first.body["user"]["global_role"]) == (201, "admin")
    assert second.status == 403


@pytest.mark.settings(rate_limits=True)
async def test_five_may_register_in_an_hour_from_one_address(anyone: Client) -> None:
    statuses = []
    for number in range(6):
        person = {"email": f"p{number}@example.org", "username": f"person{number}"}
        answer = await anyone.request("POST", "/auth/register", NEWCOMER | person)
        statuses.append(answer.status)

    assert statuses == [201] * 5 + [429]
    assert answer.headers["RateLimit-Policy"] == '"register.address";q=5;w=3600'
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600


# Login


@pytest.mark.parametrize("field", ["username", "login", "email"])
@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.org", "Alice@Example.ORG"])
async def test_a_name_or_an_address_signs_in_under_three_names(
    anyone: Client, field: str, name: str
) -> None:
    answer = await anyone.request("POST", "/auth/login", {field: name, "password": PASSWORD})

    assert answer.status == 200
    check(answer.body, Tokens, "login")
    body = answer.body
    assert (body["token_type"], body["expires_in"], body["refresh_expires_in"]) == (
        "Bearer",
        900,
        604800,
    )
    assert body["user"]["username"] == "alice"
    assert body["user"]["last_login_at"] is not None
    assert await whoami(anyone, body["access_token"]) == 200


async def test_the_access_token_says_who_and_not_what_they_may(anyone: Client) -> None:
    tokens = await tokens_of(anyone)

    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert jwt.get_unverified_header(tokens["access_token"])["alg"] == "HS256"
    assert claims.keys() == {"sub", "jti", "iat", "exp", "typ", "sid"}
    assert (claims["sub"], claims["typ"]) == (str(ALICE), "access")
    assert claims["exp"] - claims["iat"] == 900


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "username"),
        ({"username": "alice"}, "password"),
        ({"username": "", "password": PASSWORD}, "username"),
        ({"username": "alice", "password": ""}, "password"),
        ({"username": "alice", "password": None}, "password"),
        ({"username": ["alice"], "password": PASSWORD}, "username"),
        ({"username": "alice", "password": "x" * 129}, "password"),
        ({"username": "a" * 256, "password": PASSWORD}, "username"),
    ],
)
async def test_what_is_missing_or_wrong_in_a_login_is_400(
    anyone: Client, body: dict[str, Any], field: str
) -> None:
    answer = await anyone.request("POST", "/auth/login", body)

    assert answer.status == 400
    assert field in answer.body["fields"]


@pytest.mark.settings(trusted_proxies="127.0.0.1")
async def test_a_refused_sign_in_is_a_line_with_address_and_name(
    anyone: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="warmdesk")
    secret = new_secret()
    typed = {
        "alice": "alice",
        "alice@example.org": "alice@example.org",
        'x" status=200\n26 info auth.refused': "x??status?200?26?info?auth.refused",
        "é" * 30 + "@" + "b" * 200: "é" * 30 + "@" + "b" * 32 + "…",
        KEY: "…",
        secret: "…",
    }
    for name, logged in typed.items():
        caplog.clear()
        assert (await from_afar(anyone, "198.51.100.7", "hidden-4711", name)).status == 401
        (line,) = [each for each in caplog.messages if each.startswith("auth.")]
        assert line == f'auth.refused client=198.51.100.7 name="{logged}" status=401'
    assert "hidden-4711" not in caplog.text
    caplog.clear()
    assert (await log_in(anyone)).status == 200
    assert "auth.refused" not in caplog.text


@pytest.mark.settings(rate_limits=True, logins_per_name_and_address=3)
async def test_a_flood_of_sign_ins_is_no_flood_of_the_log(
    anyone: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="warmdesk")
    answers = [(await log_in(anyone, "alice", "a wrong password")).status for _ in range(12)]
    assert answers == [401] * 3 + [429] * 9
    assert caplog.text.count("auth.refused") == 3


async def test_unknown_wrong_and_deactivated_answer_alike(anyone: Client, connection: Any) -> None:
    await connection.execute("update users set is_active = false where username = 'bob'")
    await connection.execute("update users set deleted_at = now() where username = 'eve'")

    answers = [
        await log_in(anyone, "nobody"),
        await log_in(anyone, "alice", "a wrong password"),
        await log_in(anyone, "bob", "a wrong password"),
        await log_in(anyone, "eve"),
        await log_in(anyone, "alice", "short"),
    ]

    assert {a.status for a in answers} == {401}
    assert {a.body["error"] for a in answers} == {"invalid credentials"}
    assert {a.headers["WWW-Authenticate"] for a in answers} == {"Bearer"}
    right = await log_in(anyone, "bob")
    assert (right.status, right.body["error"]) == (403, "account deactivated")


async def test_unknown_wrong_and_deactivated_take_alike(
    anyone: Client, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "COST", 9)
    kept = await passwords.hash_password(PASSWORD)
    await connection.execute("update users set password_hash = $1", kept)
    await connection.execute("update users set is_active = false where username = 'bob'")

    async def ratios() -> tuple[float, float]:
        took: dict[str, list[float]] = {"alice": [], "bob": [], "nobody": []}
        for _ in range(30):
            for name, times in took.items():
                began = time.perf_counter()
                await log_in(anyone, name, "a wrong password")
                times.append(time.perf_counter() - began)
        alice, bob, nobody = (statistics.median(times) for times in took.values())
        return bob / alice, nobody / alice

    # A machine that does something else meanwhile makes one round of three worthless, not all.
    rounds = []
    for _ in range(3):
        rounds.append(await ratios())
        if all(ratio == pytest.approx(1, abs=0.1) for ratio in rounds[-1]):
            return
    pytest.fail(f"bob and nobody against alice: {rounds}")


async def test_the_login_history_is_kept(anyone: Client, connection: Any) -> None:
    await log_in(anyone, "alice")
    await log_in(anyone, "alice", "a wrong password")
    await log_in(anyone, "nobody")

    rows = await connection.fetch("select * from login_events order by id")
    assert [(row["event"], row["user_id"]) for row in rows] == [
        ("login_ok", ALICE),
        ("login_failed", ALICE),
        ("login_failed", None),
    ]
    assert {row["ip"] for row in rows} == {"127.0.0.1"}
    assert all(row["user_agent"] for row in rows)


async def test_service_accounts_may_sign_in(anyone: Client, connection: Any) -> None:
    await connection.execute("update users set global_role = 'metrics' where username = 'bob'")

    tokens = await tokens_of(anyone, "bob")

    assert await whoami(anyone, tokens["access_token"]) == 200


async def test_a_hash_of_another_cost_is_made_anew(
    anyone: Client, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "COST", 5)

    await tokens_of(anyone)

    kept = await connection.fetchval("select password_hash from users where id = $1", ALICE)
    assert kept.startswith("$2b$05$")
    await tokens_of(anyone)


async def test_many_sign_in_at_once_with_a_hash_of_another_cost(
    person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "COST", 5)
    tabs = [person("alice") for _ in range(6)]
    await asyncio.gather(*(tab.token() for tab in tabs))
    for tab in tabs:
        await tab.get("/users/me")


async def test_a_password_that_was_changed_during_the_login_opens_nothing(
    anyone: Client, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = passwords.check_password

    async def slow(password: str, kept: str | None, turn: passwords.Turn) -> bool:
        right = await whole(password, kept, turn)
        other = await passwords.hash_password("another one")
        await connection.execute("update users set password_hash = $1", other)
        return right

    monkeypatch.setattr(passwords, "check_password", slow)

    answer = await log_in(anyone)

    assert answer.status == 401
    assert await connection.fetchval("select count(*) from sessions") == 0


@pytest.mark.settings(rate_limits=True)
async def test_ten_tries_in_a_quarter_hour_and_no_more(anyone: Client) -> None:
    answers = [await log_in(anyone, "alice", "a wrong password") for _ in range(5)]
    answers += [await log_in(anyone, "ALICE", "a wrong password") for _ in range(6)]

    assert [a.status for a in answers] == [401] * 10 + [429]
    assert 800 < int(answers[-1].headers["Retry-After"]) <= 900
    assert (await log_in(anyone)).status == 429
    assert (await log_in(anyone, "bob")).status == 200


@pytest.mark.settings(rate_limits=True)
@pytest.mark.parametrize(
    ("spent", "other"),
    [("alice", "alice@example.org"), ("Alice@Example.org", "alice"), ("nobody", "n@example.org")],
)
async def test_tries_do_not_tell_which_names_are_one_account(
    anyone: Client, spent: str, other: str
) -> None:
    """A count that two names share would say that they belong together."""
    tries = [await log_in(anyone, spent, "a wrong password") for _ in range(11)]
    assert [a.status for a in tries] == [401] * 10 + [429]

    answer = await log_in(anyone, other, "a wrong password")

    assert answer.status == 401


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1", logins_per_name=12)
async def test_tries_from_everywhere_do_not_tell_it_either(anyone: Client) -> None:
    for n in range(12):
        assert (await from_afar(anyone, f"198.51.100.{n}", "a wrong password")).status == 401
    assert (await from_afar(anyone, "198.51.100.99", "a wrong password")).status == 429

    answer = await from_afar(anyone, "198.51.100.99", "a wrong password", "alice@example.org")

    assert answer.status == 401


async def test_every_name_is_looked_up_alike(anyone: Client, asked: list[str]) -> None:
    """The same statements for nobody, a wrong password, a known and an unknown address."""
    await tokens_of(anyone)
    kinds = []
    for name in ("nobody", "alice", "bob", "alice@example.org", "nobody@example.org"):
        asked.clear()
        assert (await log_in(anyone, name, "a wrong password")).status == 401
        kinds.append(list(asked))

    assert kinds == [kinds[0]] * 5


@pytest.mark.settings(rate_limits=True, logins_per_name_and_address=3, registrations_per_address=2)
async def test_the_limits_of_strangers_are_settings(anyone: Client) -> None:
    tries = [await log_in(anyone, "nobody") for _ in range(4)]
    people = [{"email": f"p{n}@example.org", "username": f"person{n}"} for n in range(3)]
    newcomers = [
        await anyone.request("POST", "/auth/register", NEWCOMER | person) for person in people
    ]

    assert [a.status for a in tries] == [401] * 3 + [429]
    assert [a.status for a in newcomers] == [201] * 2 + [429]
    for answer, policy in (
        (tries[-1], '"login";q=3;w=900'),
        (newcomers[-1], '"register.address";q=2;w=3600'),
    ):
        assert answer.body["code"] == "rate_limited"
        assert answer.headers["RateLimit-Policy"] == policy
        name, wait = policy.partition(";")[0], answer.headers["Retry-After"]
        assert answer.headers["RateLimit"] == f"{name};r=0;t={wait}"


@pytest.mark.settings(rate_limits=True)
async def test_unknown_names_are_limited_like_accounts(anyone: Client) -> None:
    answers = [await log_in(anyone, "nobody") for _ in range(11)]

    assert [a.status for a in answers] == [401] * 10 + [429]


@pytest.mark.settings(rate_limits=True)
async def test_a_login_that_succeeds_clears_the_count(anyone: Client) -> None:
    for _ in range(3):
        for _ in range(9):
            assert (await log_in(anyone, "alice", "a wrong password")).status == 401
        assert (await log_in(anyone)).status == 200


@pytest.mark.settings(rate_limits=True, logins_per_address=12)
async def test_an_address_has_only_its_tries(anyone: Client) -> None:
    answers = [await log_in(anyone, f"nobody{number}") for number in range(13)]

    assert [a.status for a in answers] == [401] * 12 + [429]


@pytest.mark.settings(rate_limits=True, logins_per_address=2)
async def test_an_address_that_had_its_tries_costs_no_query(
    anyone: Client, asked: list[str]
) -> None:
    for number in range(2):
        await log_in(anyone, f"nobody{number}")
    asked.clear()

    assert (await log_in(anyone, "alice")).status == 429

    assert asked == []


def from_afar(client: Client, address: str, password: str, name: str = "alice") -> Any:
    body = {"username": name, "password": password}
    return client.request("POST", "/auth/login", body, headers={"X-Forwarded-For": address})


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1", logins_per_name=20)
async def test_a_flood_from_everywhere_does_not_lock_the_owner_out(anyone: Client) -> None:
    assert (await from_afar(anyone, "203.0.113.1", PASSWORD)).status == 200

    flood = [
        (await from_afar(anyone, f"198.51.100.{n}", "a wrong password")).status for n in range(30)
    ]

    assert flood[:19] == [401] * 19
    assert flood[20:] == [429] * 10
    assert (await from_afar(anyone, "203.0.113.1", PASSWORD)).status == 200
    assert (await from_afar(anyone, "203.0.113.2", PASSWORD)).status == 429


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1", logins_per_name=2)
async def test_an_address_of_long_ago_is_no_longer_known(anyone: Client, connection: Any) -> None:
    await from_afar(anyone, "203.0.113.1", PASSWORD)
    await connection.execute("update login_events set created_at = now() - interval '31 days'")

    statuses = [(await from_afar(anyone, "203.0.113.1", "wrong one")).status for _ in range(2)]

    assert statuses == [401, 429]


@pytest.mark.settings(
    rate_limits=True, trusted_proxies="127.0.0.1", logins_per_name=2, known_address_days=40
)
async def test_for_how_long_an_address_is_known_is_a_setting(
    anyone: Client, connection: Any
) -> None:
    await from_afar(anyone, "203.0.113.1", PASSWORD)
    await connection.execute("update login_events set created_at = now() - interval '31 days'")

    statuses = [(await from_afar(anyone, "203.0.113.1", "wrong one")).status for _ in range(3)]

    assert statuses == [401, 401, 401]


@pytest.fixture
async def hashes(connection: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every hash that began, "nobody" against no account and "somebody" against one, and before it
    the address that began to wait for one.
    """
    monkeypatch.setattr(passwords, "COST", 10)
    kept = await passwords.hash_password(PASSWORD)
    await connection.execute("update users set password_hash = $1", kept)
    began: list[str] = []
    hashpw, checkpw = bcrypt.hashpw, bcrypt.checkpw

    def against_nobody(*given: Any) -> bytes:
        began.append("nobody")
        return hashpw(*given)

    def against_somebody(*given: Any) -> bool:
        began.append("somebody")
        return checkpw(*given)

    put = passwords.Queue.put

    def waits(self: Any, work: Any, turn: passwords.Turn) -> Any:
        began.append(turn.address)
        return put(self, work, turn)

    monkeypatch.setattr(passwords.Queue, "put", waits)
    monkeypatch.setattr(bcrypt, "hashpw", against_nobody)
    monkeypatch.setattr(bcrypt, "checkpw", against_somebody)
    return began


def waited_for(hashes: list[str], address: str) -> int:
    """How many hashes began while the last one of this address waited for its turn."""
    asked = len(hashes) - 1 - hashes[::-1].index(address)
    return hashes[asked : hashes.index("somebody", asked)].count("nobody")


FLOODS = {
    "one address": ["198.51.100.7"] * 100,
    "one /64": [f"2001:db8:0:7::{n + 1:x}" for n in range(100)],
    "one /48": [f"2001:db8:0:{n:x}::1" for n in range(100)],
    "four addresses": [f"198.51.100.{n % 4}" for n in range(100)],
}


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1")
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_does_not_stop_the_sign_ins_of_others(
    anyone: Client, hashes: list[str], eventually: Wait, flood: str
) -> None:
    async with flooding(anyone, FLOODS[flood]) as answered:
        await eventually(lambda: "nobody" in hashes)
        began = time.monotonic()
        answer = await from_afar(anyone, "203.0.113.9", PASSWORD)
        took = time.monotonic() - began

    told = f"{answer.status} after {took:.2f} s, {[a.status for a in answered].count(429)} refused"
    assert answer.status == 200, told
    # Those under way, and one of each other network.
    others = {network(address) for address in FLOODS[flood]}
    assert waited_for(hashes, "203.0.113.9") <= passwords.THREADS + len(others), told
    assert 429 in {a.status for a in answered}, told
    if os.getloadavg()[0] < 1:
        assert took < 2, told


@asynccontextmanager
async def flooding(client: Client, addresses: list[str]) -> AsyncIterator[list[Any]]:
    """A wrong password for an unknown name from each of these at once; at the end the answers."""
    answered: list[Any] = []
    tries = [
        asyncio.create_task(from_afar(client, address, "a wrong password", f"nobody{n}"))
        for n, address in enumerate(addresses)
    ]
    try:
        yield answered
        answers = await asyncio.gather(*tries, return_exceptions=True)
        # On a busy machine the last of them are hashed after their client lost patience.
        answered += [each for each in answers if not isinstance(each, TimeoutError)]
    finally:
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1")
async def test_a_flood_from_everywhere_does_not_stop_who_is_known(
    anyone: Client, hashes: list[str], eventually: Wait
) -> None:
    assert (await from_afar(anyone, "203.0.113.9", PASSWORD)).status == 200
    hashes.clear()
    async with flooding(anyone, [f"198.51.{n}.1" for n in range(60)]):
        await eventually(lambda: hashes.count("nobody") > 1)
        answer = await from_afar(anyone, "203.0.113.9", PASSWORD)

    assert answer.status == 200
    assert waited_for(hashes, "203.0.113.9") <= 2 * passwords.THREADS


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1", logins_per_name=2)
async def test_who_is_known_is_so_in_a_whole_64_of_ipv6(anyone: Client) -> None:
    """Privacy extensions give a machine another address every day."""
    assert (await from_afar(anyone, "2001:db8:0:7::1", PASSWORD)).status == 200
    for n in range(2):
        await from_afar(anyone, f"198.51.100.{n}", "a wrong password")

    assert (await from_afar(anyone, "2001:db8:0:7:ffff::9", PASSWORD)).status == 200
    assert (await from_afar(anyone, "2001:db8:0:8::1", PASSWORD)).status == 429
    assert (await from_afar(anyone, "", PASSWORD)).status == 429


@pytest.mark.settings(rate_limits=True, trusted_proxies="127.0.0.1", logins_per_address=3)
async def test_a_network_of_ipv6_has_a_cap_of_its_own(anyone: Client) -> None:
    answers = [
        await from_afar(anyone, f"2001:db8:0:{n:x}::1", "a wrong password", f"nobody{n}")
        for n in range(13)
    ]

    assert [a.status for a in answers] == [401] * 12 + [429]
    assert (await from_afar(anyone, "2001:db8:1::1", "wrong", "nobody99")).status == 401


@pytest.mark.settings(rate_limits=True)
async def test_a_forged_address_changes_nothing(anyone: Client) -> None:
    statuses = [
        (await from_afar(anyone, f"198.51.100.{n}", "a wrong password")).status for n in range(11)
    ]

    assert statuses == [401] * 10 + [429]


# Access tokens


async def test_every_other_kind_of_secret_fails_as_bearer_and_on_sockets(
    anyone: Client, board: Board, alice: Person
) -> None:
    tokens = await tokens_of(anyone)
    made = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    secret = USUAL["jwt_secret"]
    ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
    others = {
        "refresh": tokens["refresh_token"],
        "mfa": jwt.encode(made | {"typ": "mfa"}, secret),
        "reset": jwt.encode(made | {"typ": "reset"}, secret),
        "ticket": ticket,
        "none": jwt.encode(made, "", algorithm="none"),
        "other key": jwt.encode(made, "k" * 32),
        "expired": jwt.encode(made | {"exp": 1}, secret),
        "key": KEY,
    }

    for kind, credential in others.items():
        assert await whoami(anyone, credential) == 401, kind
        for place in ("demo", "user"):
            answer = await anyone.request(
                "GET",
                f"/ws/{place}?token={credential}",
                headers={
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                },
            )
            assert answer.status == 401, (kind, place)


@pytest.mark.parametrize("tail", ["=", "==", "%3D", "!", "*"])
async def test_every_door_takes_one_spelling_of_a_token(
    anyone: Client, board: Board, tail: str
) -> None:
    token = (await tokens_of(anyone))["access_token"]
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    async def statuses(credential: str) -> list[int]:
        offered = handshake | {"Sec-WebSocket-Protocol": f"bearer.{credential}"}
        found = [await whoami(anyone, credential)]
        for path, headers in ((f"/ws/demo?token={credential}", handshake), ("/ws/demo", offered)):
            async with anyone.session.get(anyone.url + path, headers=headers) as answer:
                found.append(answer.status)
        return found

    assert await statuses(token + tail) == [401] * 3
    assert await statuses(token) == [200, 101, 101]


async def test_refresh_takes_only_refresh_tokens(anyone: Client, alice: Person) -> None:
    tokens = await tokens_of(anyone)
    ticket = (await alice.post("/auth/ws-ticket"))["ticket"]

    for other in (tokens["access_token"], ticket, "nonsense", "", KEY, "\x01"):
        assert (await refresh(anyone, other)).status == 401

    for body in ({}, {"refresh_token": None}, {"refresh_token": 7}, {"refresh_token": "x" * 5000}):
        assert (await anyone.request("POST", "/auth/refresh", body)).status in (400, 401)


@pytest.mark.settings(access_token_ttl=1)
async def test_an_access_token_dies_in_time_and_refresh_brings_another(
    anyone: Client, eventually: Wait
) -> None:
    tokens = await tokens_of(anyone)

    async def dead() -> bool:
        return await whoami(anyone, tokens["access_token"]) == 401

    await eventually(dead)
    renewed = (await refresh(anyone, tokens["refresh_token"])).checked()
    assert await whoami(anyone, renewed["access_token"]) == 200


# Refresh


async def test_refresh_gives_both_tokens_anew(anyone: Client, connection: Any) -> None:
    tokens = await tokens_of(anyone)

    answer = await refresh(anyone, tokens["refresh_token"])

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body.keys() == tokens.keys()
    assert answer.body["user"] == tokens["user"]
    assert answer.body["refresh_token"] != tokens["refresh_token"]
    assert await whoami(anyone, answer.body["access_token"]) == 200
    hashes = await connection.fetch("select token_hash from refresh_tokens")
    assert {row[0] for row in hashes} == {
        digest(tokens["refresh_token"]),
        digest(answer.body["refresh_token"]),
    }


async def age(connection: Any, seconds: int) -> None:
    """Let rotated tokens have been rotated so long ago."""
    await connection.execute(
        "update refresh_tokens set rotated_at = rotated_at - make_interval(secs => $1)", seconds
    )


async def test_two_tabs_may_race_within_half_a_minute(anyone: Client, connection: Any) -> None:
    tokens = await tokens_of(anyone)
    await refresh(anyone, tokens["refresh_token"])
    await age(connection, 28)

    late = await refresh(anyone, tokens["refresh_token"])

    assert late.status == 200
    assert await whoami(anyone, late.body["access_token"]) == 200
    assert (await refresh(anyone, late.body["refresh_token"])).status == 200


async def test_twenty_at_once_stay_one_family(anyone: Client, connection: Any) -> None:
    tokens = await tokens_of(anyone)

    answers = await asyncio.gather(*(refresh(anyone, tokens["refresh_token"]) for _ in range(20)))

    assert {a.status for a in answers} == {200}
    assert len({a.body["refresh_token"] for a in answers}) == 20
    assert await connection.fetchval("select count(*) from sessions") == 1
    assert await connection.fetchval("select count(distinct session_id) from refresh_tokens") == 1


async def test_reuse_ends_the_family_and_its_sockets(
    anyone: Client, connection: Any, alice: Person, board: Board, eventually: Wait
) -> None:
    await alice.token()
    stolen = alice.client.refresh_token
    assert stolen is not None
    other = await tokens_of(anyone)
    renewed = (await refresh(anyone, stolen)).checked()
    await age(connection, 31)

    async with alice.socket("demo") as socket:
        assert (await refresh(anyone, stolen)).status == 401
        assert await socket.closed(limit=2) == 4401

    assert (await refresh(anyone, renewed["refresh_token"])).status == 401
    assert await whoami(anyone, renewed["access_token"]) == 401
    assert await whoami(anyone, other["access_token"]) == 200
    events = await connection.fetch("select event from login_events order by id desc limit 1")
    assert events[0]["event"] == "refresh_reused"


@pytest.mark.parametrize(
    "undoing",
    [
        "update users set is_active = false",
        "update users set deleted_at = now()",
        "update refresh_tokens set expires_at = now()",
        "update sessions set expires_at = now()",
        "update sessions set revoked_at = now()",
    ],
)
async def test_a_refresh_token_dies_with_its_session_and_its_user(
    anyone: Client, connection: Any, undoing: str
) -> None:
    tokens = await tokens_of(anyone)

    await connection.execute(undoing)

    assert (await refresh(anyone, tokens["refresh_token"])).status == 401


async def test_a_session_lives_on_as_long_as_it_is_used_and_sheds_what_expired(
    anyone: Client, connection: Any
) -> None:
    tokens = await tokens_of(anyone)
    renewed = (await refresh(anyone, tokens["refresh_token"])).checked()
    await connection.execute("update sessions set expires_at = now() + interval '1 day'")
    await connection.execute(
        "update refresh_tokens set expires_at = now() where rotated_at is not null"
    )

    await refresh(anyone, renewed["refresh_token"])

    left = await connection.fetchval(
        "select extract(epoch from expires_at - now())::int from sessions"
    )
    assert 604_700 < left <= 604_800
    assert await connection.fetchval("select count(*) from refresh_tokens") == 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=8))
async def test_a_family_follows_its_rule_whatever_is_used_when(
    anyone: Client, connection: Any, steps: list[tuple[int, bool]]
) -> None:
    """Each step uses one of the tokens so far, perhaps after half a minute."""
    tokens = [(await tokens_of(anyone))["refresh_token"]]
    rotated: dict[int, bool] = {}
    alive = True
    for place, late in steps:
        used = place % len(tokens)
        if late:
            await age(connection, 31)
            rotated = dict.fromkeys(rotated, True)
        answer = await refresh(anyone, tokens[used])
        if alive and not rotated.get(used, False):
            assert answer.status == 200
            rotated.setdefault(used, False)
            tokens.append(answer.body["refresh_token"])
        else:
            alive = False
            assert answer.status == 401


@pytest.mark.settings(rate_limits=True)
async def test_a_session_and_a_person_may_refresh_so_often(
    anyone: Client, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each leaves a row for seven days."""
    monkeypatch.setattr(module, "REFRESHES_OF_SESSION", 6)
    monkeypatch.setattr(module, "REFRESHES_OF_USER", 10)
    here, there, others = [
        (await tokens_of(anyone, name))["refresh_token"] for name in ("alice", "alice", "bob")
    ]

    first = [await refresh(anyone, here) for _ in range(8)]
    second = [await refresh(anyone, there) for _ in range(8)]

    assert [a.status for a in first] == [200] * 6 + [429] * 2
    assert [a.status for a in second] == [200] * 4 + [429] * 4
    assert "Retry-After" in first[-1].headers
    assert (await refresh(anyone, others)).status == 200
    assert await connection.fetchval("select count(*) from refresh_tokens") == 3 + 10 + 1


async def test_a_person_has_so_many_sessions_and_the_longest_unused_ends(
    anyone: Client, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "SESSIONS_OF_USER", 3)
    tokens = [await tokens_of(anyone) for _ in range(3)]
    other = await tokens_of(anyone, "bob")
    used = (await refresh(anyone, tokens[0]["refresh_token"])).checked()

    last = await tokens_of(anyone)

    statuses = [(await refresh(anyone, each["refresh_token"])).status for each in tokens[1:]]
    assert statuses == [401, 200]
    for each in (used, last, other):
        assert (await refresh(anyone, each["refresh_token"])).status == 200
    living = "select count(*) from sessions where user_id = 3 and revoked_at is null"
    assert await connection.fetchval(living) == 3


# Logout


async def test_logout_kills_both_tokens_and_the_sockets_at_once(
    anyone: Client, alice: Person, board: Board, eventually: Wait
) -> None:
    access = await alice.token()
    mine = alice.client.refresh_token
    async with alice.socket("demo") as socket, alice.socket("user") as own:
        answer = await anyone.request("POST", "/auth/logout", {"refresh_token": mine})
        began = time.monotonic()

        assert (answer.status, answer.body) == (204, None)
        assert await socket.closed(limit=2) == 4401
        assert await own.closed(limit=2) == 4401
        assert time.monotonic() - began < pace.here(2)

    async def dead() -> bool:
        return await whoami(anyone, access) == 401

    await eventually(dead, limit=2)
    assert mine is not None
    assert (await refresh(anyone, mine)).status == 401


async def test_a_logout_acts_in_the_other_process_too(
    anyone: Client, twin: Door, eventually: Wait
) -> None:
    tokens = await tokens_of(anyone)
    async with Client(twin.url, patience=0) as there:
        assert await whoami(there, tokens["access_token"]) == 200
        await anyone.request("POST", "/auth/logout", {"refresh_token": tokens["refresh_token"]})

        async def dead() -> bool:
            return await whoami(there, tokens["access_token"]) == 401

        await eventually(dead, limit=2)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"refresh_token": "unknown"},
        {"refresh_token": "unknown" * 1000},
        {"refresh_token": None},
        {"all": False},
        {"all": True},
    ],
)
async def test_every_well_formed_logout_is_204(anyone: Client, body: Any) -> None:
    tokens = await tokens_of(anyone)

    assert (await anyone.request("POST", "/auth/logout", body)).status == 204

    assert await whoami(anyone, tokens["access_token"]) == 200


@pytest.mark.parametrize("body", [{"refresh_token": 7}, {"all": "yes"}, [], "text"])
async def test_a_logout_of_the_wrong_type_is_400(anyone: Client, body: Any) -> None:
    assert (await anyone.request("POST", "/auth/logout", body)).status == 400


@pytest.mark.parametrize(
    "body", [None, {}, {"all": True}, {"refresh_token": ""}, {"refresh_token": "unknown"}]
)
async def test_a_logout_without_a_credential_asks_the_database_nothing(
    anyone: Client, desk: Desk, asked: list[str], body: Any
) -> None:
    token = (await tokens_of(anyone))["access_token"]
    assert await whoami(anyone, token) == 200
    generation = desk.identity.generation
    asked.clear()

    assert (await anyone.request("POST", "/auth/logout", body)).status == 204

    assert (asked, desk.identity.generation) == ([], generation)


async def test_an_unknown_token_costs_one_look_and_no_transaction(
    anyone: Client, desk: Desk, asked: list[str]
) -> None:
    await tokens_of(anyone)
    unknown = new_secret()
    for path, status in (("/auth/logout", 204), ("/auth/refresh", 401)):
        generation = desk.identity.generation
        asked.clear()
        answer = await anyone.request("POST", path, {"refresh_token": unknown})
        assert answer.status == status
        assert asked == ["auth.known_token"]
        assert desk.identity.generation == generation


async def test_who_logs_out_twice_ends_nothing_the_second_time(
    anyone: Client, asked: list[str]
) -> None:
    body = {"refresh_token": (await tokens_of(anyone))["refresh_token"]}
    await anyone.request("POST", "/auth/logout", body)
    asked.clear()

    assert (await anyone.request("POST", "/auth/logout", body)).status == 204
    assert (await anyone.request("POST", "/auth/refresh", body)).status == 401

    assert asked == ["auth.known_token"] * 2


async def test_logout_everywhere_needs_only_the_access_token(
    anyone: Client, eventually: Wait, connection: Any
) -> None:
    here, there = await tokens_of(anyone), await tokens_of(anyone)
    other = await tokens_of(anyone, "bob")
    headers = {"Authorization": f"Bearer {here['access_token']}"}

    answer = await anyone.request("POST", "/auth/logout", {"all": True}, headers=headers)

    assert answer.status == 204
    for tokens in (here, there):
        assert (await refresh(anyone, tokens["refresh_token"])).status == 401

        async def dead(token: str = tokens["access_token"]) -> bool:
            return await whoami(anyone, token) == 401

        await eventually(dead, limit=2)
    assert await whoami(anyone, other["access_token"]) == 200
    assert (await refresh(anyone, other["refresh_token"])).status == 200


async def test_without_a_refresh_token_the_session_of_the_access_token_ends(
    anyone: Client,
) -> None:
    here, there = await tokens_of(anyone), await tokens_of(anyone)
    headers = {"Authorization": f"Bearer {here['access_token']}"}

    assert (await anyone.request("POST", "/auth/logout", {}, headers=headers)).status == 204

    assert (await refresh(anyone, here["refresh_token"])).status == 401
    assert (await refresh(anyone, there["refresh_token"])).status == 200


async def test_a_bad_access_token_does_not_hinder_a_logout(anyone: Client) -> None:
    tokens = await tokens_of(anyone)

    answer = await anyone.request(
        "POST",
        "/auth/logout",
        {"refresh_token": tokens["refresh_token"]},
        headers={"Authorization": "Bearer expired"},
    )

    assert answer.status == 204
    assert (await refresh(anyone, tokens["refresh_token"])).status == 401


async def test_a_used_refresh_token_still_ends_its_family(anyone: Client) -> None:
    tokens = await tokens_of(anyone)
    renewed = (await refresh(anyone, tokens["refresh_token"])).checked()

    await anyone.request("POST", "/auth/logout", {"refresh_token": tokens["refresh_token"]})

    assert (await refresh(anyone, renewed["refresh_token"])).status == 401


# Sessions


async def test_sessions_are_listed_and_ended(
    anyone: Client, alice: Person, bob: Person, eventually: Wait
) -> None:
    elsewhere = await tokens_of(anyone)
    listed = await alice.get("/auth/sessions")

    for session in listed:
        check(session, Session, "session")
    assert [s["current"] for s in listed] == [True, False]
    assert {s["ip"] for s in listed} == {"127.0.0.1"}
    other = listed[1]["id"]

    await bob.delete(f"/auth/sessions/{other}", status=404)
    async with alice.socket("user") as socket:
        await alice.delete(f"/auth/sessions/{other}")
        assert (await socket.next("session.revoked"))["payload"] == {"session_id": other}

    await alice.delete(f"/auth/sessions/{other}", status=404)
    assert [s["id"] for s in await alice.get("/auth/sessions")] == [listed[0]["id"]]
    assert (await refresh(anyone, elsewhere["refresh_token"])).status == 401

    async def dead() -> bool:
        return await whoami(anyone, elsewhere["access_token"]) == 401

    await eventually(dead, limit=2)


@pytest.mark.parametrize("name", ["7", "nonsense", "00000000-0000-0000-0000-000000000000"])
async def test_a_session_that_is_none_is_404(alice: Person, name: str) -> None:
    await alice.delete(f"/auth/sessions/{name}", status=404)


async def test_sessions_come_in_pages(anyone: Client, alice: Person) -> None:
    for _ in range(4):
        await tokens_of(anyone)
    whole = [s["id"] for s in await alice.get("/auth/sessions")]
    path, found = "/auth/sessions?limit=2", []
    for _ in range(3):
        answer = await alice.request("GET", path)
        found += [s["id"] for s in answer.body]
        if "Link" in answer.headers:
            path = answer.headers["Link"].partition(">")[0].removeprefix("</api/v1")

    assert found == whole
    assert len(whole) == 5
    assert "Link" not in answer.headers
    await alice.get("/auth/sessions?before=nonsense", status=400)
    await alice.get("/auth/sessions?limit=many", status=400)


async def test_long_gone_sessions_go_with_the_next_login(anyone: Client, connection: Any) -> None:
    await tokens_of(anyone)
    await connection.execute("update sessions set expires_at = now() - interval '31 days'")

    await tokens_of(anyone)

    assert await connection.fetchval("select count(*) from sessions") == 1


# Tickets


async def test_a_ticket_opens_a_socket_once(anyone: Client, alice: Person, board: Board) -> None:
    answer = await alice.request("POST", "/auth/ws-ticket")
    assert answer.status == 201
    check(answer.body, Ticket, "ticket")
    assert answer.body["expires_in"] == 30

    place = f"{anyone.url}/ws/demo?ticket={answer.body['ticket']}"
    async with anyone.session.ws_connect(place) as socket:
        hello = await socket.receive_json()
        assert hello["payload"]["user"]["username"] == "alice"
    async with anyone.session.get(place) as again:
        assert again.status in (401, 426)


@pytest.mark.settings(rate_limits=True)
async def test_a_person_gets_so_many_tickets_in_a_minute(alice: Person, bob: Person) -> None:
    answers = [await alice.request("POST", "/auth/ws-ticket") for _ in range(121)]

    assert [a.status for a in answers] == [201] * 120 + [429]
    await bob.post("/auth/ws-ticket")


async def test_a_ticket_needs_a_person(anyone: Client, connection: Any, bob: Person) -> None:
    assert (await anyone.request("POST", "/auth/ws-ticket")).status == 401
    await connection.execute("update users set global_role = 'backup' where username = 'bob'")
    await bob.post("/auth/ws-ticket", status=403)


# Keys


@pytest.fixture
async def key(connection: Any, person: Invite) -> Person:
    """A program with a key of alice."""
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'ci', $2, $3)",
        ALICE,
        digest(KEY),
        KEY[:12],
    )
    return person(api_key=KEY)


async def test_a_key_acts_as_its_owner(key: Person, board: Board) -> None:
    assert (await key.get("/users/me"))["username"] == "alice"
    assert (await key.get("/projects/demo"))["my_role"] == "member"


async def test_a_key_cannot_do_what_needs_a_person_who_signed_in(key: Person) -> None:
    change = {"current_password": PASSWORD, "new_password": "another password"}
    await key.put("/users/me/password", change, status=403)
    await key.put("/auth/me/password", change, status=403)
    await key.put("/users/me", {"email": "new@example.org"}, status=403)
    await key.get("/auth/sessions", status=403)
    await key.delete("/auth/sessions/00000000-0000-0000-0000-000000000000", status=403)
    await key.post("/auth/logout", {"all": True}, status=204)
    assert (await key.get("/users/me"))["username"] == "alice"


async def test_a_key_of_one_project_stays_there(
    key: Person, connection: Any, board: Board, olga: Person
) -> None:
    other = await olga.post("/projects", {"name": "Other"})
    await olga.post(f"/projects/{other['slug']}/members", {"username": "alice"})
    await connection.execute("update api_keys set project_id = $1", board.id)

    await key.get("/projects/demo")
    await key.get(f"/projects/{other['slug']}", status=403)
    for path in ("/users/me", "/users/search", "/projects", "/auth/me"):
        await key.get(path, status=403)
    await key.post("/auth/ws-ticket", status=403)
    await key.put("/users/me", {"theme": "dark"}, status=403)


async def test_a_revoked_key_is_dead(key: Person, connection: Any, door: Door) -> None:
    await key.get("/users/me")
    await connection.execute("update api_keys set revoked_at = now()")
    door.desk.identity.forget()

    await key.get("/users/me", status=401)


# Logs


async def test_no_secret_is_logged(
    anyone: Client, caplog: pytest.LogCaptureFixture, alice: Person
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = await tokens_of(anyone)
    await log_in(anyone, "alice", "a wrong password")
    renewed = (await refresh(anyone, tokens["refresh_token"])).checked()
    ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
    await anyone.request("GET", f"/users/me?api_key={KEY}")
    await whoami(anyone, "x." + tokens["access_token"])
    await anyone.request("POST", "/auth/logout", {"refresh_token": renewed["refresh_token"]})

    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("warmdesk"))
    for secret in (
        PASSWORD,
        "a wrong password",
        tokens["access_token"],
        tokens["refresh_token"],
        renewed["refresh_token"],
        ticket,
        KEY,
    ):
        assert secret not in ours
