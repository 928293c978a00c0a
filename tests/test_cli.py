"""The command line does what it says, on whichever database is there, and fails in one sentence."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import warmdesk
from tests import pace
from tests.conftest import Board, Wait
from tests.journeys.conftest import Crowd
from tests.journeys.running import SECRETS, Running, command, until, variables
from tests.person import Person
from tests.ports import free_port
from tests.test_documents import HOME, parsed, rows
from warmdesk import clock
from warmdesk.auth import totp
from warmdesk.commands import NAMES
from warmdesk.commands import command as command_of
from warmdesk.commands.shared import MEANINGS, Status
from warmdesk.config import Settings
from warmdesk.db.migrations import files
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.jobs.retention import Retention
from warmdesk.schemas.settings import FIELDS

PASSWORD = "another good password"
SECRETS_GIVEN = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
NEWEST = files("migrations")[-1][0]


@pytest.fixture
def outside(database_url: str, redis_url: str) -> dict[str, Any]:
    """Settings for the session's PostgreSQL and Valkey."""
    return {"database_url": database_url, "redis_url": redis_url} | SECRETS_GIVEN


async def test_version_and_help_need_nothing() -> None:
    assert (await command("version"))[1].startswith(f"WarmDesk {warmdesk.__version__} on Python 3.")
    status, out, _ = await command("--help")
    assert status == 0
    assert re.findall(r"^    ([\w-]+)", out, re.MULTILINE) == list(NAMES)
    assert (await command("--version"))[1] == (await command("version"))[1]
    named = dict(re.findall(r"^  (\w+) = (.+)$", out, re.MULTILINE))
    assert list(named) == list(Settings.__struct_fields__)
    assert named["port"] == "8080"


async def test_a_first_value_of_a_system_setting_that_cannot_be_is_one_sentence(
    tmp_path: Path,
) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path, "smtp_from": "nobody"}
    status, _, aside = await command("serve", "--port", "0", **given)
    assert (status, aside) == (
        Status.SETTINGS,
        "warmdesk: WARMDESK_SMTP_FROM must be an address, or a name and an address in <>\n",
    )


async def test_options_win_over_the_environment(tmp_path: Path) -> None:
    status, _, aside = await command("serve", "--port", "http", port=9000)
    assert (status, aside.count("\n")) == (Status.MISTAKE, 1)
    assert aside.startswith("warmdesk: --port cannot be 'http': ")
    status, _, aside = await command("check", "--data-dir", str(tmp_path / "x"), data_dir="/y")
    assert status == 1
    assert f"there is no database in {tmp_path}/x;" in aside
    async with Running("--port", "0", "--workers", "2", port=1, workers=1) as running:
        await until(lambda: len(running.alive()) == 2, within=20)


async def test_openapi_prints_the_document_and_needs_no_database() -> None:
    status, out, _ = await command("openapi", database_url="postgresql://nowhere/desk")

    assert status == 0
    document = json.loads(out)
    assert document["openapi"] == "3.0.3"
    assert "/projects/{slug}" in document["paths"]


async def test_check_makes_no_database_to_look_at(tmp_path: Path) -> None:
    status, out, aside = await command("check", data_dir=tmp_path / "mistyped")

    assert (status, out) == (1, "")
    assert aside.startswith(f"warmdesk: there is no database in {tmp_path}/mistyped; set WARMDESK_")
    assert not (tmp_path / "mistyped").exists()


async def test_migrate_brings_an_empty_database_up(
    keeper: Any, servers: Any, outside: dict[str, Any]
) -> None:
    await keeper.execute("create database bare")
    try:
        outside["database_url"] = servers.dsn("bare")
        status, out, aside = await command("migrate", **outside)
        assert (status, out) == (0, "The schema is up to date.\n")
        assert "Migrated: 0001_feeds.sql" in aside
        assert (await command("migrate", **outside)) == (0, "The schema is up to date.\n", "")
    finally:
        await keeper.execute("drop database bare with (force)")


async def test_the_first_account_is_an_administrator_however_it_is_made(
    empty_database_url: str, outside: dict[str, Any], redis_url: str
) -> None:
    outside["database_url"] = empty_database_url
    connection = await asyncpg.connect(empty_database_url)
    for name, flag, role in (
        ("ann", [], "admin"),
        ("ben", [], "user"),
        ("cid", ["--admin"], "admin"),
    ):
        status, out, _ = await command(
            "create-user", name, f"{name}@example.org", *flag, given=f"{PASSWORD}\n", **outside
        )
        assert (status, out) == (0, f"{name} was created.\n")
        found = await connection.fetchval("select global_role from users where username = $1", name)
        assert found == role
    await connection.close()


@pytest.mark.parametrize(
    ("status", "arguments", "password", "sentence"),
    [
        (1, ["create-user", "alice", "new@example.org"], PASSWORD, "the username is taken"),
        (1, ["create-user", "new", "alice@example.org"], PASSWORD, "the e-mail address is taken"),
        (2, ["create-user", "n", "new@example.org"], PASSWORD, ": username: must be at least 3"),
        (2, ["create-user", "new", "nowhere"], PASSWORD, "email: is no e-mail address"),
        (
            2,
            ["create-user", "n w", "nowhere"],
            "short",
            "warmdesk: email: is no e-mail address; username: may only have the letters a to z,"
            " digits, dots, hyphens, underscores; password: must be at least 8 characters",
        ),
        (2, ["reset-password", "alice"], "short", "password: must be at least 8 characters"),
        (1, ["reset-password", "nobody"], PASSWORD, "there is no account nobody"),
        (1, ["events", "no-such-project"], "", "not found"),
    ],
)
async def test_what_cannot_be_is_one_sentence(
    status: int, arguments: list[str], password: str, sentence: str, outside: dict[str, Any]
) -> None:
    *said, aside = await command(*arguments, given=f"{password}\n", **outside)

    assert said == [status, ""]
    (line,) = aside.splitlines()
    assert line.startswith("warmdesk: ")
    assert sentence in line


def says(log: Path, words: str) -> bool:
    return words in log.read_text()


@pytest.mark.timeout(300)
async def test_the_example_of_each_command_does_what_it_says(
    empty_database_url: str, outside: dict[str, Any], tmp_path: Path
) -> None:
    """As it stands in the help, but for the server's port; what does not end is interrupted."""
    outside |= {"database_url": empty_database_url, "data_dir": tmp_path}
    environment = variables(**outside)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    interrupted = {"serve": "swagger", "events": "user.updated", "demo": "They go on"}
    for name in sorted(NAMES, key=lambda name: name == "restore"):  # it ends what was told before
        status, out, _ = await command(name, "--help")
        assert status == 0
        example = command_of(name).EXAMPLE
        assert out.endswith(f"\n\nFor example:\n\n  {example}\n")
        shell = f"exec {example}".replace("9000", str(free_port()))
        if name == "restore":
            made = next((tmp_path / "backups").glob("*.tar.gz"))
            shell = shell.replace(example.split()[-1], str(made))
        log = tmp_path / f"{name}.log"
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", shell),
                stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment, cwd=tmp_path,
            )  # fmt: skip
            assert process.stdin is not None
            process.stdin.write(f"{PASSWORD}\n".encode())
            process.stdin.close()
            if name in interrupted:
                waits = interrupted[name]
                await until(partial(says, log, waits), within=60)
                process.send_signal(signal.SIGINT)
            code = await asyncio.wait_for(process.wait(), 60 * pace.stretch())
        wanted = 0 if name == "serve" or name not in interrupted else Status.INTERRUPTED
        if name == "doctor":  # the session's PostgreSQL keeps nothing through a crash
            assert "PostgreSQL: the schema is that of this program" in log.read_text()
            wanted = Status.FAILED
        assert code == wanted, (name, log.read_text())
    assert json.loads((tmp_path / "openapi.json").read_text())["openapi"] == "3.0.3"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "warmdesk: the following arguments are required: COMMAND; see warmdesk --help"),
        (["chekc"], "argument COMMAND: invalid choice: 'chekc'"),
        (["check", "--jsn"], "unrecognized arguments: --jsn"),
        (["check", "--js"], "unrecognized arguments: --js"),
        (["check", "a\nb\x1b[31m"], "unrecognized arguments: a b"),
        (["create-user", "alice"], "arguments are required: email; see warmdesk create-user"),
        (["events", "demo", "--since", "-5"], "argument --since: '-5' is not the seq of an event"),
        (
            ["events", "demo", "--since", "1e3"],
            "argument --since: '1e3' is not the seq of an event",
        ),
        (["serve", "--workers", "none"], "--workers cannot be 'none': it must be a whole number"),
        (["serve", "--port"], "argument --port: expected one argument"),
    ],
)
async def test_a_mistake_on_the_command_line_is_one_line_and_status_2(
    arguments: list[str], sentence: str
) -> None:
    status, out, aside = await command(*arguments)

    assert (status, out) == (Status.MISTAKE, "")
    (line,) = aside.splitlines()
    assert line.startswith("warmdesk: ")
    assert sentence in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"port": "http"}, Status.SETTINGS),
        ({"tls_cert": "/nowhere.pem", "tls_key": "/nowhere.pem"}, Status.SETTINGS),
        ({"database_url": "postgresql://127.0.0.1:1/desk", **SECRETS_GIVEN}, Status.SERVERS),
    ],
)
async def test_the_kind_of_a_failure_is_the_exit_status(
    given: dict[str, Any], status: Status, tmp_path: Path
) -> None:
    doing = "events" if status is Status.SERVERS else "serve"
    more = ["user:1"] if doing == "events" else []
    found, out, aside = await command(doing, *more, **({"data_dir": tmp_path} | given))
    assert (found, out, aside.count("\n")) == (status, "", 1)


def test_the_exit_statuses_are_told() -> None:
    told = rows(parsed("docs/operations.rst"), "The command line")
    assert {int(row[0]): row[1].replace("\n", " ") for row in told} == MEANINGS
    assert list(MEANINGS) == list(Status)


async def test_what_programs_read_is_json(outside: dict[str, Any], alice: Person) -> None:
    status, out, _ = await command("version", "--json")
    assert (status, json.loads(out)["version"]) == (0, warmdesk.__version__)
    status, out, _ = await command("check", "--json", **outside)
    assert (status, json.loads(out)) == (0, {"faults": []})
    status, out, _ = await command("migrate", "--json", **outside)
    assert (status, json.loads(out)) == (0, {"schema": NEWEST})
    new = ["create-user", "Nils", "nils@example.org", "--json"]
    status, out, _ = await command(*new, given=f"{PASSWORD}\n", **outside)
    made = json.loads(out)
    assert (status, made.pop("id") > 5) == (0, True)
    assert made == {"username": "Nils", "email": "nils@example.org", "global_role": "user"}
    status, out, aside = await command(*new, given=f"{PASSWORD}\n", **outside)
    assert (status, out, aside) == (1, "", "warmdesk: the e-mail address is taken\n")
    await alice.token()
    new = ["reset-password", "alice", "--json"]
    status, out, _ = await command(*new, given=f"{PASSWORD}\n", **outside)
    assert (status, json.loads(out)) == (0, {"username": "alice", "sessions_ended": 1})


async def test_a_password_must_be_as_the_settings_want_it(
    root: Person, outside: dict[str, Any]
) -> None:
    await root.put("/admin/system-settings", {"password_require_digit": True})
    for new in (["create-user", "nils", "nils@example.org"], ["reset-password", "alice"]):
        status, out, aside = await command(*new, given=f"{PASSWORD}\n", **outside)
        assert (status, out) == (Status.MISTAKE, "")
        assert aside == "warmdesk: password: must have a digit\n"


@pytest.mark.parametrize("part", ["hid#den@/desk", "hid/den@/desk", "word@/desk?gsslib=hidden"])
@pytest.mark.parametrize("arguments", [["check"], ["migrate"], ["events", "project:1"]])
async def test_nothing_of_a_url_is_told(
    arguments: list[str], part: str, outside: dict[str, Any]
) -> None:
    outside["database_url"] = f"postgresql://desk:{part}"
    status, out, aside = await command(*arguments, **outside)

    assert status in (Status.SETTINGS, Status.SERVERS)
    assert out == ""
    (line,) = aside.splitlines()
    assert re.match("warmdesk: .*(WARMDESK_DATABASE_URL|database or Redis) cannot be ", line)
    assert "hid" not in line
    assert "den" not in line


async def test_a_new_password_ends_sessions_and_sockets(
    alice: Person, board: Board, settings: Settings
) -> None:
    await alice.token()
    given = {
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "jwt_secret": settings.jwt_secret,
        "secret_key": settings.secret_key,
    }
    async with alice.socket(board.slug) as wire:
        await wire.next("hello")

        status, out, _ = await command("reset-password", "alice", given=f"{PASSWORD}\n", **given)

        assert (status, out) == (0, "alice has a new password; all sessions ended.\n")
        assert await wire.closed() == 4401
    anew = Person(alice.url, "alice", password=PASSWORD)
    assert (await anew.get("/users/me"))["username"] == "alice"
    await anew.close()


async def test_a_setting_is_shown_changed_and_heard_of_by_workers_that_run(
    root: Person, desk: Desk, settings: Settings, connection: Any, eventually: Wait
) -> None:
    given = {
        name: getattr(settings, name) for name in ("database_url", "redis_url", *SECRETS_GIVEN)
    }
    assert (await root.get("/system/settings"))["company_name"] == ""
    status, out, aside = await command("set", "company_name", "Wonderland Ltd", **given)
    began = time.monotonic()
    assert (status, aside) == (0, "")
    assert out.startswith("company_name = Wonderland Ltd\n  Whose installation it is.")
    await eventually(lambda: desk.system.values.company_name == "Wonderland Ltd", every=0.05)
    assert time.monotonic() - began < pace.here(2.5)
    (line,) = await root.get("/admin/audit?action=setting.changed")
    assert line["after"] == {"company_name": "Wonderland Ltd"}
    assert line["actor"] is None

    status, out, _ = await command("set", "registration_enabled", "OFF", "--json", **given)
    assert (status, json.loads(out)) == (0, {"registration_enabled": False})
    status, out, _ = await command("set", **given)
    shown = dict(line.split(" = ", 1) for line in out.splitlines())
    assert list(shown) == list(FIELDS)
    assert shown["registration_enabled"] == "off"
    assert shown["default_columns"] == "Backlog, In Progress, Review, Done"
    status, out, _ = await command("set", "--json", **given)
    assert json.loads(out) == await root.get("/admin/system-settings")

    lines = ["set", "default_columns", "-", "--json"]
    status, out, _ = await command(*lines, given="Ideas\nDone\n", **given)
    assert (status, json.loads(out)) == (0, {"default_columns": "Ideas\nDone"})
    status, out, _ = await command("set", "default_columns", "--default", **given)
    assert out.startswith("default_columns = Backlog, In Progress, Review, Done\n")
    left = await connection.fetch("select key from system_settings order by key")
    assert [row["key"] for row in left] == ["company_name", "registration_enabled"]


async def test_a_secret_setting_is_read_as_input_and_never_shown(
    outside: dict[str, Any], connection: Any
) -> None:
    new = ["set", "smtp_password", "-"]
    status, out, aside = await command(*new, given="open sesame\n", **outside)
    assert (status, aside) == (0, "")
    assert out.startswith("smtp_password = (set)\n")
    assert "sesame" not in await connection.fetchval("select value from system_settings")
    assert "sesame" not in str(await connection.fetch("select * from audit"))
    status, out, _ = await command("set", "smtp_password", "--json", **outside)
    assert json.loads(out) == {"smtp_password_set": True}
    assert "sesame" not in (await command("set", **outside))[1]
    status, out, _ = await command("set", "smtp_password", "", "--json", **outside)
    assert json.loads(out) == {"smtp_password_set": False}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["smtp_hots"], "smtp_hots is not a system setting; did you mean smtp_host?"),
        (["x"], "x is not a system setting; warmdesk set shows them all"),
        (["smtp_port", "0"], "smtp_port: must be at least 1"),
        (["smtp_port", "many"], "smtp_port: must be a whole number"),
        (["smtp_from", "nobody"], "smtp_from: must be an address, or a name and an address in <>"),
        (["gravatar_enabled", "maybe"], "gravatar_enabled: must be on or off"),
        (["default_timezone", "Mars/Olympus"], "default_timezone: not an IANA time zone"),
        (["smtp_password", "open sesame"], 'smtp_password is a secret: write "-", and it is'),
        (["--default"], "--default goes with a KEY and no VALUE"),
        (["smtp_port", "25", "--default"], "--default goes with a KEY and no VALUE"),
        (["smtp_port", "25", "26"], "unrecognized arguments: 26"),
    ],
)
async def test_what_no_setting_can_be_is_a_mistake_that_changes_nothing(
    arguments: list[str], sentence: str, outside: dict[str, Any], connection: Any
) -> None:
    status, out, aside = await command("set", *arguments, **outside)

    assert (status, out) == (Status.MISTAKE, "")
    (line,) = aside.splitlines()
    assert line.startswith(f"warmdesk: {sentence}")
    assert await connection.fetchval("select count(*) from system_settings") == 0


@pytest.mark.parametrize("off", [False, True])
async def test_a_new_password_turns_the_second_factor_off_only_when_that_is_said(
    alice: Person, root: Person, settings: Settings, off: bool
) -> None:
    secret = (await alice.get("/auth/mfa/setup"))["secret"]
    code = totp.password_at(secret, int(clock.now() // totp.STEP_SECONDS))
    await alice.post("/auth/mfa/enable", {"code": code}, status=200)
    given = {"database_url": settings.database_url, "redis_url": settings.redis_url}
    given |= {"jwt_secret": settings.jwt_secret, "secret_key": settings.secret_key}
    words = ["reset-password", "alice", *(["--disable-mfa"] if off else [])]
    status, _, _ = await command(*words, given=f"{PASSWORD}\n", **given)
    assert status == 0
    body = {"username": "alice", "password": PASSWORD}
    said = (await root.client.request("POST", "/auth/login", body)).body
    assert ("mfa_token" in said) != off
    lines = await root.get("/admin/audit?limit=5")
    assert ("user.mfa_disabled" in [line["action"] for line in lines]) == off


@pytest.mark.parametrize("since", [0, 99_999])
async def test_events_follows_a_feed_line_by_line(
    alice: Person, board: Board, settings: Settings, since: int
) -> None:
    """From what was seen on; from the newest where it is said to have seen more than there is."""
    given = {"database_url": settings.database_url, "redis_url": settings.redis_url}
    given |= {"jwt_secret": settings.jwt_secret, "secret_key": settings.secret_key}
    await board.card("Before")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmdesk", "events", board.slug, "--since", str(since)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(**given),
        cwd="/",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []

    async def read_until(title: str) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(10 * pace.stretch()):
            while not lines or lines[-1]["payload"].get("title") != title:
                lines.append(json.loads(await process.stdout.readline()))

    if since:
        async with asyncio.timeout(10 * pace.stretch()):
            told = await process.stderr.readline()
        assert re.match(rb"warmdesk: there are events up to \d+ only", told), told
    else:
        await read_until("Before")
    await board.card("After")
    await read_until("After")

    first = lines[0]["seq"]
    assert (first == 1) == (since == 0)
    assert [line["seq"] for line in lines] == list(range(first, first + len(lines)))
    assert lines[-1]["type"] == "board.card_created"
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130


async def test_check_finds_nothing_in_what_the_server_wrote(
    alice: Person, board: Board, outside: dict[str, Any]
) -> None:
    card = await board.card()
    await alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})

    assert await command("check", **outside) == (0, "Everything is as it must be.\n", "")


HOLE = "feed %s: %s events from %s to %s, but it should hold %s to %s"
FOULS = [
    ("delete from events where channel = 'project:1' and seq = 2", HOLE),
    ("delete from events where channel = 'project:1'", HOLE),
    ("update events set seq = 999 where channel = 'project:1' and seq = 2", HOLE),
    ("update feeds set seq = seq + 1 where channel = 'project:1'", HOLE),
    ("update feeds set seq = seq - 1 where channel = 'project:1'", HOLE),
    ("update feeds set oldest = oldest + 1 where channel = 'project:1'", HOLE),
    ("update feeds set oldest = 0 where channel = 'project:1'", HOLE),
    ("delete from feeds where channel = 'project:1'", "feed %s: has events but no head"),
    ("update cards set position = 1", "column %s: %s cards at position %s"),
    ("update columns set position = 1", "project %s: %s columns at position %s"),
    (
        "update projects set card_counter = 1",
        "project %s: card number %s is beyond the counter %s",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "update columns set project_id = (select id from projects where slug = 'x')",
        "card %s: its column %s is in another project",
    ),
    ("update columns set deleted_at = now()", "card %s: its column %s is deleted"),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "insert into card_labels (card_id, label_id) select 1, min(id) from labels;"
        "update labels set project_id = (select id from projects where slug = 'x')",
        "card %s: its label %s is in another project",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "update card_history set project_id = (select id from projects where slug = 'x')",
        "history %s: its card %s is in another project",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "insert into card_comments (project_id, card_id, user_id, body)"
        " select p.id, c.id, 1, 'C' from projects p join cards c on c.project_id <> p.id",
        "comment %s: its card %s is in another project",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "insert into time_entries (user_id, project_id, card_id, date, minutes)"
        " select 1, p.id, c.id, now(), 5 from projects p join cards c on c.project_id <> p.id",
        "time entry %s: its card %s is in another project",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "insert into attachments (project_id, card_id, owner_type, owner_id, uploader_id, filename,"
        " stored_name, mime_type, size_bytes, sha256)"
        " select p.id, c.id, 'card', c.id, 1, 'f', c.id::text, 'text/plain', 1, 'x'"
        " from projects p join cards c on c.project_id <> p.id",
        "attachment %s: its card %s is in another project",
    ),
    (
        "insert into attachments (project_id, card_id, owner_type, owner_id, uploader_id, filename,"
        " stored_name, mime_type, size_bytes, sha256)"
        " values (1, null, 'chat_message', 404, 1, 'f', 'f', 'text/plain', 1, 'x')",
        "attachment %s: its %s %s is gone",
    ),
    ("update cards set attachment_count = 1", "card %s: counts %s files, but has %s"),
    (
        "insert into message_reactions (owner_type, owner_id, user_id, emoji)"
        " values ('chat_message', 404, 1, '+1')",
        "reaction %s: its message %s is gone",
    ),
    (
        "insert into message_reactions (owner_type, owner_id, user_id, emoji)"
        " values ('conv_message', 404, 1, '+1')",
        "reaction %s: its message %s is gone",
    ),
    ("update cards set comment_count = 1", "card %s: counts %s comments, but has %s"),
    (
        "insert into card_checklist_items (card_id, body, position)"
        " select id, 'x', 1 from cards limit 1; update cards set checklist_total = 1,"
        " checklist_done = 1",
        "card %s: counts %s of %s items, but has %s of %s",
    ),
    (
        "insert into card_comments (project_id, card_id, user_id, body, time_spent_minutes)"
        " select project_id, id, 1, 'C', 5 from cards limit 1",
        "comment %s: says %s minutes, but its entry %s",
    ),
    (
        "insert into time_entries (user_id, card_id, date, minutes)"
        " select 1, id, now(), 5 from cards limit 1",
        "card %s: tells %s minutes, but has %s",
    ),
    (
        "insert into projects (name, slug, key_prefix, created_by_id) values ('X', 'x', 'X', 1);"
        "insert into topics (project_id, user_id, title) select id, 1, 'T' from projects;"
        "insert into topic_replies (project_id, topic_id, user_id, body)"
        " select p.id, t.id, 1, 'R' from projects p join topics t on t.project_id <> p.id",
        "reply %s: its topic %s is in another project",
    ),
    (
        "insert into topics (project_id, user_id, title, reply_count) values (1, 1, 'T', 1)",
        "topic %s: counts %s replies, but has %s",
    ),
    ("delete from project_members where role = 'owner'", "project %s: has no owner"),
    ("update users set is_active = false", "users: nobody is an administrator"),
]


@pytest.mark.foul
@pytest.mark.parametrize(("foul", "fault"), FOULS)
async def test_check_names_what_must_not_be(
    foul: str, fault: str, board: Board, connection: Any
) -> None:
    await board.card("One")
    await board.card("Two")
    assert await sql.server.faults(connection) == []
    await connection.execute(foul)

    found = [row["fault"] for row in await sql.server.faults(connection)]

    named = re.escape(fault).replace("%s", r"\S*")
    assert any(re.fullmatch(named, sentence) for sentence in found), found


def test_every_fault_that_check_names_is_made_by_a_test_and_explained() -> None:
    text = (HOME / "sql" / "queries" / "server.sql").read_text("utf-8")
    text = text.split("-- name: faults", 1)[1].split("-- name:", 1)[0]
    known = re.findall(r"select (?:format\()?'([^']+)'", text)
    explained = [row[0] for row in rows(parsed("docs/operations.rst"), "warmdesk check")]

    assert {fault for _, fault in FOULS} == set(known)
    assert len(explained) == len(known)
    for fault in known:
        assert any(
            fault.replace("%s", "…").startswith(re.sub(r"\s+", " ", words)) for words in explained
        ), f"docs/operations.rst does not explain {fault!r}"


@pytest.mark.settings(event_retention_days=0)
async def test_check_raises_no_alarm_beside_live_traffic(
    board: Board, desk: Desk, alice: Person, olga: Person, connection: Any, outside: dict[str, Any]
) -> None:
    over = asyncio.Event()
    looked = trimmed = 0

    async def look() -> None:
        nonlocal looked
        while not over.is_set():
            assert [row["fault"] for row in await sql.server.faults(connection)] == []
            looked += 1
            await asyncio.sleep(0.01)

    async def trim() -> None:
        nonlocal trimmed
        while not over.is_set():
            trimmed += await Retention(desk).turn()
            await asyncio.sleep(0.05)

    async def add_and_delete(person: Person, cards: str) -> None:
        while not over.is_set():
            column = await person.post(f"{board.path}/columns", {"name": "Soon gone"})
            await person.delete(f"{board.path}/columns/{column['id']}")
            card = await board.card()
            await person.delete(f"{cards}/{card['id']}")

    crowd = Crowd(board, [alice, olga])
    async with asyncio.TaskGroup() as group:
        for work in (look(), trim(), crowd.work_until(over)):
            group.create_task(work)
        group.create_task(add_and_delete(olga, f"{board.path}/cards"))
        for _ in range(2):
            assert await command("check", **outside) == (0, "Everything is as it must be.\n", "")
        over.set()

    assert min(looked, crowd.done, trimmed) > 10


@pytest.mark.foul
async def test_check_prints_what_it_finds_and_fails(
    board: Board, connection: Any, outside: dict[str, Any]
) -> None:
    await connection.execute("update feeds set seq = seq + 1")

    status, out, _ = await command("check", **outside)

    assert status == 1
    assert "feed project:1: " in out


async def test_commands_find_the_embedded_servers_running_or_not(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path / "data"}
    status, out, _ = await command(
        "create-user", "ann", "ann@example.org", given=f"{PASSWORD}\n", **given
    )
    assert (status, out) == (0, "ann was created.\n")

    async with Running(directory=given["data_dir"]) as running:
        assert "becomes the administrator" not in running.out
        ann = Person(running.url, "ann", password=PASSWORD)
        assert (await ann.get("/users/me"))["global_role"] == "admin"
        status, out, _ = await command("check", **given)
        assert (status, out) == (0, "Everything is as it must be.\n")
        await ann.close()
