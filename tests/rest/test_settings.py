"""System settings: who may, what is refused, and that every process has them at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from tests import pace
from tests.conftest import Board, Door, Invite, Wait, serving
from tests.person import PASSWORD, Person
from warmdesk.config import ConfigError, Settings
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.schemas.settings import FACTS, FIELDS, PUBLIC, SECRET_SETTINGS, SystemSettings
from warmdesk.sealing import MARK, Sealing, Unreadable
from warmdesk.system import first_values

PLACE = "/admin/system-settings"
OTHERS: dict[str, Any] = {
    "backup_email_address": "operators@example.org",
    "backup_schedule": "8h",
    "backup_start_time": "02:30",
    "default_locale": "nl",
    "default_timezone": "Europe/Amsterdam",
    "default_theme": "dark",
    "default_font_size": "16",
    "smtp_host": "mail.example.org",
    "smtp_port": 465,
    "smtp_security": "tls",
    "smtp_from": "Desk <desk@example.org>",
    "session_timeout_minutes": 90,
    "password_min_length": 12,
    "company_logo": "https://example.org/logo.png",
    "company_logo_dark": "/logo.png",
    "default_columns": "Ideas\nDone",
    "api_allowed_ips": "192.0.2.0/24, 2001:db8::1",
    "webhook_allow_private": "build.example.lan, 10.1.2.0/24, fd00::/64",
}
"""Values for those settings that another text or number would not do for."""


def another(name: str) -> Any:
    """A good value of a setting that is not its default."""
    default = getattr(SystemSettings(), name)
    if isinstance(default, bool):
        return not default
    return OTHERS.get(name, default + 30 if isinstance(default, int) else f"{default} other")


@pytest.fixture(params=[False, True], ids=["told", "lost"])
def lost(request: pytest.FixtureRequest, desk: Desk, twin: Door) -> bool:
    """Whether the bus loses all that is said from now on."""
    if request.param:
        for each in (desk, twin.desk):
            each.bus.publish_all = lambda messages: None  # type: ignore[method-assign]
    return bool(request.param)


async def test_every_setting_is_changed_here_and_seen_there_within_two_seconds(
    lost: bool, root: Person, person: Invite, twin: Door, eventually: Wait
) -> None:
    far = person("root", url=twin.url)
    assert await far.get(PLACE) == await root.get(PLACE)
    wanted = {name: another(name) for name in FIELDS}
    began = time.monotonic()
    said = await root.put(PLACE, wanted)
    assert said == await root.get(PLACE)
    await eventually(lambda: twin.desk.system.values == SystemSettings(**wanted), every=0.05)
    assert time.monotonic() - began < pace.here(2.5)
    assert await far.get(PLACE) == said
    for name in FIELDS:
        if name in SECRET_SETTINGS:
            assert said[f"{name}_set"] is True
            assert name not in said
        else:
            assert said[name] == wanted[name]


async def test_null_is_the_default_again_and_nothing_else_changes(
    root: Person, connection: Any
) -> None:
    before = await root.get(PLACE)
    await root.put(PLACE, {"company_name": "Wonderland", "smtp_port": 25})
    said = await root.put(PLACE, {"company_name": None})
    assert said == before | {"smtp_port": 25}
    assert await connection.fetchval("select array_agg(key) from system_settings") == ["smtp_port"]


async def test_what_is_shown_can_be_sent_back(root: Person, connection: Any) -> None:
    await root.put(PLACE, {"smtp_password": "a secret of theirs"})
    shown = await root.get(PLACE)
    assert await root.put(PLACE, {**shown, "smtp_password_set": False}) == shown
    assert (await root.put(PLACE, {"smtp_password_sent": True}, status=400))["fields"]


async def test_each_type_is_told(root: Person) -> None:
    said = await root.get(PLACE)
    assert msgspec.convert(
        {name: value for name, value in said.items() if not name.endswith("_set")}, SystemSettings
    ) == SystemSettings(smtp_password="")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("registration_enabled", "false", "bad_format"),
        ("smtp_port", 0, "out_of_range"),
        ("smtp_port", 65536, "out_of_range"),
        ("smtp_port", "587", "bad_format"),
        ("smtp_host", "mail.example.org\r\nRCPT TO:<eve@example.org>", "bad_format"),
        ("smtp_host", "mail server", "bad_format"),
        ("smtp_host", "mail.example.org:25", "bad_format"),
        ("smtp_from", "nobody", "bad_format"),
        ("smtp_from", ". <a@b.org>", "bad_format"),
        ("smtp_from", "a@example.org, b@example.org", "bad_format"),
        ("smtp_from", f"a@{'x' * 64}.org", "bad_format"),
        ("smtp_from", "A <a@example.org>\nBcc: eve@example.org", "bad_format"),
        ("smtp_password", "a\nb", "bad_format"),
        ("smtp_security", "ssl", "not_one_of"),
        ("password_min_length", 7, "out_of_range"),
        ("password_min_length", 129, "out_of_range"),
        ("password_change_period_days", -1, "out_of_range"),
        ("default_timezone", "Mars/Olympus", "unknown"),
        ("default_locale", "tlh", "not_one_of"),
        ("default_columns", "x" * 201, "too_long"),
        ("default_columns", "\n".join("abc" for _ in range(101)), "too_long"),
        ("default_labels", "tab\tbed", "bad_format"),
        ("company_name", "two\nlines", "bad_format"),
        ("company_logo", "javascript:alert(1)", "bad_format"),
        ("company_logo", "//example.org/logo.png", "bad_format"),
        ("api_allowed_ips", "10.0.0.0/33", "bad_format"),
        ("api_allowed_ips", "everybody", "bad_format"),
        ("webhook_allow_private", "10.0.0.0/33", "bad_format"),
        ("webhook_allow_private", "10.0.0", "bad_format"),
        ("webhook_allow_private", "https://build.example.lan", "bad_format"),
        ("upload_quota_mb", -1, "out_of_range"),
        ("smtp_hots", "mail.example.org", "unknown"),
    ],
)
async def test_one_wrong_field_changes_nothing(
    root: Person, connection: Any, name: str, value: Any, code: str
) -> None:
    before = await root.get(PLACE)
    answer = await root.put(PLACE, {"company_name": "Wonderland", name: value}, status=400)
    assert answer["fields"] == {name: code}
    assert await root.get(PLACE) == before
    assert await connection.fetchval("select count(*) from system_settings") == 0


async def test_only_administrators_see_them_and_everybody_the_public_ones(
    root: Person, alice: Person, url: str
) -> None:
    await alice.get(PLACE, status=403)
    await alice.put(PLACE, {"registration_enabled": False}, status=403)
    await root.put(PLACE, {"company_name": "Wonderland"})
    async with alice.client.session.get(f"{url}/api/v1/system/settings") as response:
        said = await response.json()
    assert said["company_name"] == "Wonderland"
    assert set(said) == {*PUBLIC, *FACTS}
    assert not [name for name in PUBLIC if name.startswith(("smtp", "api"))]


async def test_an_empty_server_says_so_until_somebody_has_an_account(
    settings: Settings, empty_database_url: str
) -> None:
    empty = replace(settings, database_url=empty_database_url)
    async with serving(empty) as one, serving(empty) as two, aiohttp.ClientSession() as session:

        async def said(door: Door) -> Any:
            async with session.get(f"{door.url}/api/v1/system/settings") as response:
                return (await response.json())["first_account"]

        assert [await said(one), await said(two)] == [True, True]
        async with session.post(f"{one.url}/api/v1/auth/register", json=NEWCOMER) as response:
            assert response.status == 201
        assert [await said(one), await said(two)] == [False, False]


@pytest.mark.settings(base_url="http://desk.example.org")
async def test_all_are_told_whether_links_are_mailed(root: Person, alice: Person) -> None:
    assert (await alice.get("/system/settings"))["sends_mail"] is False
    await root.put(PLACE, {"smtp_host": "127.0.0.1"})
    assert (await alice.get("/system/settings"))["sends_mail"] is True
    assert (await alice.get("/bootstrap"))["settings"]["sends_mail"] is True


async def test_a_secret_is_sealed_and_never_shown(
    root: Person, connection: Any, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    said = await root.put(PLACE, {"smtp_password": "hunter2 hunter2"})
    assert said["smtp_password_set"] is True
    kept = await connection.fetchval("select value from system_settings")
    assert kept.startswith(MARK)
    dump = await connection.fetch("select s::text from system_settings s")
    dump += await connection.fetch("select e::text from events e")
    assert "hunter2" not in f"{dump}{said}{caplog.text}"
    assert desk.system.values.smtp_password == "hunter2 hunter2"
    said = await root.put(PLACE, {"smtp_password": ""})
    assert said["smtp_password_set"] is False


async def test_what_is_the_same_is_no_news(root: Person, connection: Any) -> None:
    body = {"smtp_password": "hunter2 hunter2", "company_name": "Wonderland"}
    await root.put(PLACE, body)
    await root.put(PLACE, body)
    rows = await connection.fetch("select payload::text from events where channel = 'control'")
    assert [row["payload"] for row in rows if "company_name" in row["payload"]] == [
        rows[-1]["payload"]
    ]


async def test_an_api_key_does_not_change_the_mail_server(
    root: Person, person: Invite, connection: Any
) -> None:
    key = await key_of(connection, root.id)
    robot = person(api_key=key)
    said = await robot.put(PLACE, {"smtp_host": "evil.example.org"}, status=403)
    assert said["code"] == "sign_in_required"
    await robot.put(PLACE, {"company_name": "Wonderland"})


async def test_an_api_key_does_not_open_the_network(
    root: Person, person: Invite, connection: Any
) -> None:
    robot = person(api_key=await key_of(connection, root.id))
    for value in ("10.0.0.0/8", "", None):
        said = await robot.put(PLACE, {"webhook_allow_private": value}, status=403)
        assert said["code"] == "sign_in_required"
    await root.put(PLACE, {"webhook_allow_private": "10.0.0.0/8"})


async def test_an_api_key_does_not_free_the_keys(
    root: Person, person: Invite, connection: Any
) -> None:
    """One that was stolen would work elsewhere, and so would all others."""
    robot = person(api_key=await key_of(connection, root.id))
    await root.put(PLACE, {"api_allowed_ips": "127.0.0.0/8, ::1"})
    for value in ("", None, "0.0.0.0/0"):
        said = await robot.put(PLACE, {"api_allowed_ips": value}, status=403)
        assert said["code"] == "sign_in_required"
    assert (await root.get(PLACE))["api_allowed_ips"] == "127.0.0.0/8, ::1"


AT_ONCE = 8
"""Changes that wait for each other; more may wait for longer than a change does."""


async def test_changes_at_once_are_all_there(root: Person, person: Invite, twin: Door) -> None:
    far = person("root", url=twin.url)
    names = list(FIELDS)
    for at in range(0, len(names), AT_ONCE):
        await asyncio.gather(
            *(
                (far if number % 2 else root).put(PLACE, {name: another(name)})
                for number, name in enumerate(names[at : at + AT_ONCE])
            )
        )
    for name in FIELDS:
        shown = await root.get(PLACE)
        if name not in SECRET_SETTINGS:
            assert shown[name] == another(name), name


async def test_the_configuration_gives_the_first_values(
    settings: Settings, connection: Any
) -> None:
    given = replace(settings, smtp_host="relay.example.org", smtp_password="kept out of it")
    async with serving(given) as door:
        root = Person(door.url, "root")
        shown = await root.get(PLACE)
        assert (shown["smtp_host"], shown["smtp_password_set"]) == ("relay.example.org", True)
        assert (await root.put(PLACE, {"smtp_host": ""}))["smtp_host"] == ""
        assert (await root.put(PLACE, {"smtp_host": None}))["smtp_host"] == "relay.example.org"
        assert await connection.fetchval("select count(*) from system_settings") == 0
        await root.close()


def test_a_configuration_that_cannot_be_is_named() -> None:
    for name, value in (("smtp_from", "nobody"), ("smtp_host", "a b")):
        with pytest.raises(ConfigError, match=f"WARMDESK_{name.upper()}"):
            first_values(replace(Settings(), **{name: value}))


async def test_another_key_reads_what_the_one_before_sealed_and_seals_it_anew(
    settings: Settings, root: Person, connection: Any
) -> None:
    await root.put(PLACE, {"smtp_password": "hunter2 hunter2"})
    was = await connection.fetchval("select value from system_settings")
    fresh = "another-key-that-is-long-and-Wild-0123456789"
    async with serving(replace(settings, secret_key=fresh)) as door:
        assert door.desk.system.values.smtp_password == ""
    rotated = replace(settings, secret_key=fresh, previous_secret_key=settings.secret_key)
    async with serving(rotated) as door:
        assert door.desk.system.values.smtp_password == "hunter2 hunter2"
    assert await connection.fetchval("select value from system_settings") != was
    async with serving(replace(settings, secret_key=fresh)) as door:
        assert door.desk.system.values.smtp_password == "hunter2 hunter2"


def test_what_is_sealed_is_good_for_one_purpose_and_not_changed() -> None:
    sealing = Sealing("one secret key that is long enough")
    sealed = sealing.seal("hunter2", "a")
    assert sealing.open(sealed, "a") == "hunter2"
    assert sealing.seal("hunter2", "a") != sealed
    changed = sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:]
    for other, purpose in ((sealed, "b"), (changed, "a"), ("hunter2", "a"), (MARK, "a")):
        with pytest.raises(Unreadable):
            sealing.open(other, purpose)
    with pytest.raises(Unreadable):
        Sealing("another secret key, as long").open(sealed, "a")


async def key_of(connection: Any, user_id: int) -> str:
    """An API key of somebody."""
    from warmdesk.auth.tokens import digest

    key = "wd_" + "ab" * 24
    await connection.execute(
        "insert into api_keys (user_id, name, key_hash, key_prefix) values ($1, 'k', $2, 'wd_ab')",
        user_id,
        digest(key),
    )
    return key


async def test_settings_cost_a_request_no_statement(
    root: Person, alice: Person, monkeypatch: pytest.MonkeyPatch, eventually: Wait
) -> None:
    """Also the one after a change: they are read when the news comes."""
    asked = []
    real = sql.settings.all

    async def counted(*args: Any, **options: Any) -> Any:
        asked.append(1)
        return await real(*args, **options)

    monkeypatch.setattr(sql.settings, "all", counted)
    await root.put(PLACE, {"company_name": "Wonderland"})
    # Twice by the change, once by its request, and once by the news of it.
    await eventually(lambda: len(asked) == 4)
    asked.clear()
    for _ in range(3):
        await root.get(PLACE)
        await alice.get("/users/me")
        await alice.get("/system/settings")
    assert asked == []


# What they do


NEWCOMER = {"username": "zoe", "email": "zoe@example.org", "password": "Zebra-Crossing-7"}


async def join(person: Person, **fields: Any) -> Any:
    return await person.client.request("POST", "/auth/register", NEWCOMER | fields)


async def test_a_new_account_may_say_its_language_and_zone(alice: Person) -> None:
    made = await join(alice, locale="fr", timezone="Europe/Paris")
    assert (made.body["user"]["locale"], made.body["user"]["timezone"]) == ("fr", "Europe/Paris")
    other = {"username": "yan", "email": "yan@example.org"}
    for wrong in ({"timezone": "Mars/Base"}, {"locale": "xx"}):
        refused = await join(alice, **other, **wrong)
        assert (refused.status, list(refused.body["fields"])) == (400, list(wrong))


async def test_new_accounts_begin_as_the_settings_say(root: Person, alice: Person) -> None:
    wanted = {
        "default_locale": "fr",
        "default_timezone": "Europe/Paris",
        "default_date_time_format": "DD.MM.YYYY",
        "default_theme": "dark",
        "default_font": "Serif",
        "default_font_size": "18",
    }
    await root.put(PLACE, wanted)
    made = [
        (await join(alice)).body["user"],
        await root.post("/users", NEWCOMER | {"username": "yan", "email": "yan@example.org"}),
    ]
    for account in made:
        assert {name: account[name.removeprefix("default_")] for name in wanted} == wanted


async def test_who_may_register_and_make_projects(root: Person, alice: Person) -> None:
    await root.put(PLACE, {"registration_enabled": False, "users_can_create_projects": False})
    assert (await join(alice)).status == 403
    await alice.post("/projects", {"name": "Mine"}, status=403)
    await root.put(PLACE, {"registration_enabled": None, "users_can_create_projects": None})
    assert (await join(alice)).status == 201
    await root.put(PLACE, {"default_columns": "Ideas\n\n Done ", "default_labels": "Red"})
    made = await alice.post("/projects", {"name": "Mine"})
    shown = await alice.get(f"/projects/{made['slug']}")
    assert [column["name"] for column in shown["columns"]] == ["Ideas", "Done"]
    assert [label["name"] for label in shown["labels"]] == ["Red"]


@pytest.mark.parametrize(
    ("setting", "value", "bad", "code"),
    [
        ("password_min_length", 12, "short horse", "too_short"),
        ("password_require_upper", True, "correct horse 7", "too_simple"),
        ("password_require_lower", True, "CORRECT HORSE 7", "too_simple"),
        ("password_require_digit", True, "Correct horse", "too_simple"),
        ("password_require_special", True, "Correcthorse7", "too_simple"),
    ],
)
async def test_new_passwords_are_as_the_settings_ask(
    root: Person, alice: Person, setting: str, value: Any, bad: str, code: str
) -> None:
    await root.put(PLACE, {setting: value})
    said = await join(alice, password=bad)
    assert (said.status, said.body["fields"]) == (400, {"password": code})
    said = await root.post("/users", NEWCOMER | {"password": bad}, status=400)
    assert said["fields"] == {"password": code}
    said = await root.put(f"/users/{alice.id}", {"password": bad}, status=400)
    assert said["fields"] == {"password": code}
    body = {"current_password": PASSWORD, "new_password": bad}
    said = await alice.put("/users/me/password", body, status=400)
    assert said["fields"] == {"new_password": code}
    body = {"token": "a" * 43, "password": bad}
    answer = await alice.client.request("POST", "/auth/reset-password", body)
    assert answer.body["fields"] == {"password": code}
    assert (await join(alice)).status == 201


async def test_an_old_password_has_to_be_changed(
    root: Person, person: Invite, connection: Any
) -> None:
    await root.put(PLACE, {"password_change_period_days": 30})
    await connection.execute("update users set password_changed_at = now() - interval '29 days'")
    assert (await person("alice").get("/users/me"))["must_change_password"] is False
    await connection.execute("update users set password_changed_at = now() - interval '31 days'")
    late = person("alice")
    assert (await late.get("/users/me"))["must_change_password"] is True
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    await late.put("/users/me/password", body)
    assert (await late.get("/users/me"))["must_change_password"] is False


async def test_a_session_that_was_idle_ends(root: Person, alice: Person, connection: Any) -> None:
    await alice.token()
    await root.put(PLACE, {"session_timeout_minutes": 30})
    for idle, status in ((44, 200), (46, 401)):
        await connection.execute(
            "update sessions set last_used_at = clock_timestamp() - $1 * interval '1 minute'"
            " where user_id = $2",
            idle,
            alice.id,
        )
        body = {"refresh_token": alice.client.refresh_token}
        answer = await alice.client.request("POST", "/auth/refresh", body)
        assert answer.status == status, idle
        if status == 200:
            alice.client.refresh_token = answer.body["refresh_token"]


async def test_keys_are_good_only_from_the_addresses_that_are_allowed(
    root: Person, person: Invite, connection: Any, board: Board, alice: Person, url: str
) -> None:
    robot = person(api_key=await key_of(connection, alice.id))
    await robot.get("/users/me")
    await root.put(PLACE, {"api_allowed_ips": "192.0.2.0/24"})
    said = await robot.get("/users/me", status=403)
    assert (said["error"], said["code"]) == ("address not allowed", "address_not_allowed")
    for place in ("demo", "user"):
        headers = {"X-API-Key": robot.client.api_key or ""}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await robot.client.session.ws_connect(f"{url}/api/v1/ws/{place}", headers=headers)
        assert refused.value.status == 403
    await alice.get("/users/me")
    await root.put(PLACE, {"api_allowed_ips": "192.0.2.7, 127.0.0.0/8"})
    await robot.get("/users/me")


@pytest.mark.settings(project_file_bytes=3 << 20)
async def test_files_have_as_much_room_as_the_settings_give(root: Person, desk: Desk) -> None:
    assert desk.most_file_bytes == 3 << 20
    for quota, most in ((1, 1 << 20), (2, 2 << 20), (4, 3 << 20), (0, 3 << 20)):
        await root.put(PLACE, {"upload_quota_mb": quota})
        assert desk.most_file_bytes == most


async def test_gravatars_are_shown_or_not(root: Person, alice: Person) -> None:
    assert (await alice.get("/users/me"))["gravatar_url"]
    await root.put(PLACE, {"gravatar_enabled": False})
    assert (await alice.get("/users/me"))["gravatar_url"] is None
