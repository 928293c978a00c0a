"""Second factors: set up, asked for at a sign-in, lost and turned off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.conftest import Door, Invite, serving
from tests.person import PASSWORD, Person
from warmdesk import clock
from warmdesk.auth import totp
from warmdesk.client import Client
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.jobs.retention import Retention
from warmdesk.sealing import MARK

ALICE = 3


class Device:
    """An authenticator. Its clock goes on by a step each time it is asked: none is taken twice."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secret = ""
        self.ahead = 0.0
        now: Callable[[], float] = clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + self.ahead)

    def code(self, beside: int = 0) -> str:
        """What it shows; `beside`: so many steps from now."""
        return totp.password_at(self.secret, int(clock.now() // totp.STEP_SECONDS) + beside)

    def next(self) -> str:
        """What it shows a little later."""
        self.ahead += totp.STEP_SECONDS
        return self.code()

    def wrong(self) -> str:
        """What it does not show."""
        near = {self.code(beside) for beside in (-2, -1, 0, 1, 2)}
        return next(code for code in map("{:06}".format, range(10)) if code not in near)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(monkeypatch)


async def enabled(person: Person, device: Device) -> list[str]:
    """A second factor; gives the recovery codes."""
    made = await person.get("/auth/mfa/setup")
    device.secret = made["secret"]
    said = await person.post("/auth/mfa/enable", {"code": device.code()}, status=200)
    return list(said["recovery_codes"])


async def ask(person: Person, path: str, **body: Any) -> tuple[int, Any]:
    """What somebody gets who is not signed in."""
    answer = await person.client.request("POST", path, body)
    return answer.status, answer.body


async def challenge(person: Person, username: str = "alice") -> str:
    """The right password; gives the token for the code."""
    status, said = await ask(person, "/auth/login", username=username, password=PASSWORD)
    assert status == 200
    assert set(said) == {"mfa_required", "mfa_token"}
    assert said["mfa_required"] is True
    return str(said["mfa_token"])


async def verify(person: Person, token: str, code: str) -> tuple[int, Any]:
    return await ask(person, "/auth/mfa/verify", mfa_token=token, code=code)


async def history(connection: Any) -> list[str]:
    rows = await connection.fetch("select event from login_events order by id")
    return [row["event"] for row in rows]


async def test_a_sign_in_asks_for_the_code(
    alice: Person, eve: Person, device: Device, connection: Any
) -> None:
    async with alice.socket("user") as socket:
        codes = await enabled(alice, device)
        assert (await socket.next("user.updated"))["payload"]["totp_enabled"] is True
    assert len(codes) == totp.CODES
    assert (await alice.get("/users/me"))["totp_enabled"] is True
    await connection.execute("delete from login_events")
    before = await connection.fetchval("select last_login_at from users where id = 3")

    token = await challenge(eve)
    assert await connection.fetchval("select last_login_at from users where id = 3") == before
    status, said = await verify(eve, token, device.next())

    assert (status, said["user"]["id"]) == (200, ALICE)
    person = Person(alice.url, "alice")
    person.client.token = said["access_token"]
    assert (await person.get("/users/me"))["id"] == ALICE
    await person.close()
    assert (await verify(eve, token, device.next()))[1]["code"] == "mfa_session_expired"
    assert await history(connection) == ["mfa_challenge", "mfa_ok", "login_ok"]
    assert await connection.fetchval("select last_login_at from users where id = 3") > before


async def test_nothing_of_it_stands_in_the_database_or_in_a_log(
    alice: Person, eve: Person, device: Device, connection: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    codes = await enabled(alice, device)
    token = await challenge(eve)
    await verify(eve, token, device.wrong())
    kept = ""
    for table in ("users", "recovery_codes", "mfa_challenges", "events", "login_events", "audit"):
        rows = await connection.fetch(f"select t::text as line from {table} t")
        kept += "".join(row["line"] for row in rows)
    sealed = await connection.fetchval("select totp_secret from users where id = 3")
    assert sealed.startswith(MARK)
    for secret in (device.secret, token, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in kept
        assert secret not in caplog.text
    events = await connection.fetchval("select string_agg(payload, '') from events")
    assert "totp_secret" not in events


async def test_a_code_is_taken_once_whoever_sends_it(
    alice: Person, eve: Person, device: Device, twin: Door
) -> None:
    await enabled(alice, device)
    first = device.code()
    token = await challenge(eve)
    assert (await verify(eve, token, first))[1]["code"] == "invalid_code"
    code = device.next()
    tokens = [token, *[await challenge(eve) for _ in range(3)]]
    there = Person(twin.url, "somebody")
    people = [eve, there]
    tries = [verify(people[n % 2], each, code) for n, each in enumerate(tokens)]
    found = sorted(status for status, _ in await asyncio.gather(*tries))
    assert found == [200, 422, 422, 422]
    await there.close()


async def test_clocks_may_differ_by_a_step(alice: Person, eve: Person, device: Device) -> None:
    await enabled(alice, device)
    for beside, wanted in ((3, 422), (1, 200), (1, 422), (0, 422)):
        token = await challenge(eve)
        assert (await verify(eve, token, device.code(beside)))[0] == wanted, beside


async def test_after_five_wrong_codes_the_token_is_over(
    alice: Person, eve: Person, device: Device, connection: Any
) -> None:
    await enabled(alice, device)
    token = await challenge(eve)
    for _ in range(5):
        status, said = await verify(eve, token, device.wrong())
        assert (status, said["code"], said["fields"]) == (
            422,
            "invalid_code",
            {"code": "incorrect"},
        )
    status, said = await verify(eve, token, device.next())
    assert (status, said["code"]) == (400, "mfa_session_expired")
    assert (await history(connection)).count("mfa_failed") == 5


async def test_tries_at_once_are_counted_too(alice: Person, eve: Person, device: Device) -> None:
    await enabled(alice, device)
    token = await challenge(eve)
    tries = [verify(eve, token, device.wrong()) for _ in range(12)]
    found = sorted(status for status, _ in await asyncio.gather(*tries))
    assert found == [400] * 7 + [422] * 5


@pytest.mark.settings(rate_limits=True)
async def test_who_begins_again_and_again_has_a_bound(
    alice: Person, eve: Person, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warmdesk.rest.auth.CODES_OF_USER", 4)
    await enabled(alice, device)
    found = []
    for _ in range(3):
        token = await challenge(eve)
        found += [(await verify(eve, token, device.wrong()))[0] for _ in range(2)]
    assert found == [422] * 4 + [429] * 2


@pytest.mark.settings(rate_limits=True)
async def test_a_day_has_a_bound_too_until_there_is_another_password(
    alice: Person,
    eve: Person,
    root: Person,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("warmdesk.rest.auth.CODES_OF_DAY", 3)
    codes = await enabled(alice, device)
    token = await challenge(eve)
    found = [(await verify(eve, token, device.wrong()))[0] for _ in range(2)]
    found += [(await verify(eve, token, codes[0]))[0]]
    assert found == [422, 422, 200]
    token = await challenge(eve)
    assert (await verify(eve, token, codes[1]))[0] == 429, "a success does not begin the day anew"
    await root.put(f"/users/{ALICE}", {"password": "another horse battery"})
    body = {"username": "alice", "password": "another horse battery"}
    token = (await ask(eve, "/auth/login", **body))[1]["mfa_token"]
    assert (await verify(eve, token, codes[1]))[0] == 200


@pytest.mark.parametrize("end", ["time", "password", "deactivated", "deleted", "disabled"])
async def test_a_token_ends_with_what_it_was_given_for(
    alice: Person, eve: Person, root: Person, device: Device, connection: Any, end: str
) -> None:
    await enabled(alice, device)
    token = await challenge(eve)
    if end == "time":
        left = await connection.fetchval(
            "select extract(epoch from expires_at - clock_timestamp())::float8 from mfa_challenges"
        )
        assert 290 < left <= 300
        await connection.execute("update mfa_challenges set expires_at = clock_timestamp()")
    elif end == "password":
        await root.put(f"/users/{ALICE}", {"password": "another horse battery"})
    elif end == "deactivated":
        await root.put(f"/users/{ALICE}", {"is_active": False})
        await root.put(f"/users/{ALICE}", {"is_active": True})
    elif end == "deleted":
        await root.delete(f"/users/{ALICE}")
        await root.post(f"/users/{ALICE}/restore", status=200)
    else:
        await root.post(f"/users/{ALICE}/mfa/disable", status=200)
    status, said = await verify(eve, token, device.next())
    assert (status, said["code"]) == (400, "mfa_session_expired")


async def test_no_other_token_passes_for_it(alice: Person, eve: Person, device: Device) -> None:
    await enabled(alice, device)
    token = await challenge(eve)
    for other in (
        await alice.token(),
        alice.client.refresh_token,
        "x",
        "A" * 43,
        (await alice.post("/auth/ws-ticket"))["ticket"],
    ):
        status, said = await verify(eve, str(other), device.next())
        assert (status, said["code"]) == (400, "mfa_session_expired")
    eve.client.token = token
    assert (await eve.client.request("GET", "/users/me")).status == 401
    refreshed = await eve.client.request("POST", "/auth/refresh", {"refresh_token": token})
    assert refreshed.status == 401


async def test_a_recovery_code_lets_in_once(
    alice: Person, eve: Person, device: Device, connection: Any
) -> None:
    codes = await enabled(alice, device)
    token = await challenge(eve)
    assert (await verify(eve, token, codes[0].upper().replace("-", "")))[0] == 200
    token = await challenge(eve)
    assert (await verify(eve, token, codes[0]))[0] == 422
    assert (await verify(eve, token, codes[1]))[0] == 200
    left = await connection.fetchval("select count(*) from recovery_codes")
    assert left == totp.CODES - 2


async def test_a_setup_is_of_one_session_and_never_the_same_again(
    alice: Person, person: Invite, device: Device
) -> None:
    other = person("alice")
    first, second = [await each.get("/auth/mfa/setup") for each in (alice, other)]
    assert first != second
    assert await alice.get("/auth/mfa/setup") == first
    device.secret = second["secret"]
    said = await alice.post("/auth/mfa/enable", {"code": device.code()}, status=422)
    assert said["code"] == "invalid_code"
    assert (await alice.get("/users/me"))["totp_enabled"] is False
    await enabled(alice, device)
    for path, body in (("/auth/mfa/enable", {"code": device.next()}), ("/auth/mfa/setup", None)):
        method = "POST" if body else "GET"
        answer = await other.request(method, path, body)
        assert (answer.status, answer.body["code"]) == (409, "mfa_enabled")
    body = {"password": PASSWORD, "code": device.next()}
    await alice.post("/auth/mfa/disable", body, status=200)
    assert (await alice.get("/auth/mfa/setup"))["secret"] != first["secret"]


async def test_it_is_turned_off_with_password_and_code(
    alice: Person, eve: Person, device: Device, connection: Any
) -> None:
    body = {"password": PASSWORD, "code": "123456"}
    said = await alice.post("/auth/mfa/disable", body, status=409)
    assert said["code"] == "mfa_not_enabled"
    codes = await enabled(alice, device)
    body = {"password": "wrong", "code": device.next()}
    said = await alice.post("/auth/mfa/disable", body, status=422)
    assert said["fields"] == {"password": "incorrect"}
    body = {"password": PASSWORD, "code": device.wrong()}
    said = await alice.post("/auth/mfa/disable", body, status=422)
    assert said["fields"] == {"code": "incorrect"}
    async with alice.socket("user") as socket:
        await alice.post("/auth/mfa/disable", {"password": PASSWORD, "code": codes[3]}, status=200)
        assert (await socket.next("user.updated"))["payload"]["totp_enabled"] is False
    status, said = await ask(eve, "/auth/login", username="alice", password=PASSWORD)
    assert (status, said["user"]["id"]) == (200, ALICE)
    assert await connection.fetchval("select count(*) from recovery_codes") == 0
    assert (await history(connection))[-2:] == ["mfa_disabled", "login_ok"]


async def test_an_administrator_helps_who_lost_the_device(
    root: Person, alice: Person, eve: Person, device: Device, person: Invite, connection: Any
) -> None:
    path = f"/users/{ALICE}/mfa/disable"
    await enabled(alice, device)
    key = await root.post("/auth/api-keys", {"name": "CI"})
    await person(api_key=key["key"]).post(path, status=403)
    await alice.post(path, status=403)
    await root.post("/users/999999/mfa/disable", status=404)
    for _ in range(2):
        assert (await root.post(path, status=200))["totp_enabled"] is False
    assert (await ask(eve, "/auth/login", username="alice", password=PASSWORD))[1]["user"]
    lines = await root.get("/admin/audit?action=user.mfa_disabled")
    assert [(line["target_id"], line["actor"]["id"]) for line in lines] == [(ALICE, root.id)]
    row = await connection.fetchrow(
        "select user_id, actor_id from login_events where event = 'admin_mfa_disabled'"
    )
    assert tuple(row) == (ALICE, root.id)


async def test_an_administrator_too_turns_the_own_one_off_with_password_and_code(
    root: Person, device: Device
) -> None:
    """Who finds an open session of one must not keep the account."""
    await enabled(root, device)
    said = await root.post(f"/users/{root.id}/mfa/disable", status=422)
    assert said["code"] == "own_account"
    assert (await root.get("/users/me"))["totp_enabled"] is True
    body = {"password": PASSWORD, "code": device.next()}
    await root.post("/auth/mfa/disable", body, status=200)


async def test_no_key_sets_one_up(alice: Person, person: Invite) -> None:
    key = await alice.post("/auth/api-keys", {"name": "CI"})
    robot = person(api_key=key["key"])
    await robot.get("/auth/mfa/setup", status=403)
    await robot.post("/auth/mfa/enable", {"code": "123456"}, status=403)
    body = {"password": PASSWORD, "code": "123456"}
    await robot.post("/auth/mfa/disable", body, status=403)


async def test_where_it_is_asked_of_everybody_a_sign_in_says_so(
    root: Person, alice: Person, eve: Person, device: Device
) -> None:
    body = {"username": "alice", "password": PASSWORD}
    assert (await ask(eve, "/auth/login", **body))[1]["mfa_setup_required"] is False
    await root.put("/admin/system-settings", {"mfa_required": True})
    assert (await eve.client.request("GET", "/system/settings")).body["mfa_required"] is True
    assert (await ask(eve, "/auth/login", **body))[1]["mfa_setup_required"] is True
    await enabled(alice, device)
    token = await challenge(eve)
    assert (await verify(eve, token, device.next()))[1]["mfa_setup_required"] is False


async def test_who_turns_it_on_while_somebody_signs_in_is_asked_all_the_same(
    alice: Person, eve: Person, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warmdesk.auth import passwords

    real = passwords.check_password
    turned_on = asyncio.Event()

    async def late(*given: Any) -> bool:
        right = await real(*given)
        if not turned_on.is_set():
            turned_on.set()
            await enabled(alice, device)
        return right

    await alice.token()
    monkeypatch.setattr(passwords, "check_password", late)
    assert await challenge(eve)


async def test_another_secret_key_opens_it_while_the_old_one_is_named(
    alice: Person, device: Device, settings: Settings, connection: Any
) -> None:
    codes = await enabled(alice, device)
    fresh = "another-key-that-is-long-and-Wild-0123456789"
    lost = replace(settings, secret_key=fresh)
    async with serving(lost) as door:
        eve = Person(door.url, "eve")
        assert (await verify(eve, await challenge(eve), device.next()))[0] == 422
        assert (await verify(eve, await challenge(eve), codes[0]))[0] == 200
        await eve.close()
    async with serving(replace(lost, previous_secret_key=settings.secret_key)):
        pass
    async with serving(lost) as door:
        eve = Person(door.url, "eve")
        assert (await verify(eve, await challenge(eve), device.next()))[0] == 200
        await eve.close()


async def test_the_client_signs_in_with_a_code(alice: Person, device: Device, url: str) -> None:
    await enabled(alice, device)
    async with Client(url) as client:
        said = await client.login("alice", PASSWORD)
        assert (said["mfa_required"], client.token) == (True, None)
        await client.login("alice", PASSWORD, device.next())
        assert (await client.get("/users/me"))["id"] == ALICE


async def test_with_a_purge_it_goes(
    root: Person, alice: Person, eve: Person, device: Device, connection: Any
) -> None:
    await enabled(alice, device)
    await challenge(eve)
    await root.delete(f"/users/{ALICE}")
    await root.delete(f"/users/{ALICE}/permanent")
    assert await connection.fetchval("select count(*) from recovery_codes") == 0
    assert await connection.fetchval("select count(*) from mfa_challenges") == 0
    assert await connection.fetchval("select totp_secret from users where id = 3") is None


async def test_what_is_over_goes_by_itself(
    alice: Person, eve: Person, device: Device, desk: Desk, connection: Any
) -> None:
    await enabled(alice, device)
    token = await challenge(eve)
    await challenge(eve)
    await connection.execute(
        "update mfa_challenges set expires_at = now() - interval '1 second'"
        " where ctid = (select max(ctid) from mfa_challenges)"
    )
    await Retention(desk).turn()
    assert await connection.fetchval("select count(*) from mfa_challenges") == 1
    assert (await verify(eve, token, device.next()))[0] == 200
