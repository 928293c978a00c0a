"""What docs/operations.rst tells operators to run and to write works as it stands there."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import docutils.nodes
import pytest
import yaml

from tests import pace
from tests.conftest import Servers, Wait
from tests.journeys.running import SECRETS, Running, until, variables
from tests.person import PASSWORD, Person
from tests.test_documents import parsed, rows
from warmdesk.bounds import TABLES
from warmdesk.client import Client
from warmdesk.config import Settings
from warmdesk.http.bounds import ANSWER_BUDGET, BODY_BUDGET
from warmdesk.log import RESERVED, Lines
from warmdesk.server import SPARE_CONNECTIONS, connections

ADDRESS = r"(?P<address>[0-9a-f:.]+)"
"""What fail2ban puts in the place of <ADDR>, more or less."""


def block(heading: str, word: str) -> str:
    """The literal block below a heading that has this word."""
    for section in parsed("docs/operations.rst").findall(docutils.nodes.section):
        if section[0].astext() == heading:
            for found in section.findall(docutils.nodes.literal_block):
                if word in found.astext():
                    return str(found.astext())
    raise AssertionError(f"no block with {word!r} below {heading!r}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_prometheus_gets_a_key_that_is_good_for_nothing_else(
    root: Person, url: str, tmp_path: Path
) -> None:
    account = {"username": "prometheus", "email": "p@example.org", "password": PASSWORD}
    await root.post("/users", account | {"global_role": "metrics"})
    (tmp_path / "password").write_text(PASSWORD + "\n")
    script = block("Metrics", "access_token")
    for before, after in (
        ("http://127.0.0.1:8080", url),
        ("/etc/prometheus/warmdesk ", f"{tmp_path} "),
    ):
        assert script.count(before) == 1
        script = script.replace(before, after)
    process = await asyncio.create_subprocess_exec("sh", "-c", script)
    assert await process.wait() == 0

    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    headers = {"Authorization": f"Bearer {(tmp_path / 'key').read_text().strip()}"}
    for path, status in (("/metrics", 200), ("/users/me", 403)):
        async with aiohttp.request("GET", f"{url}/api/v1{path}", headers=headers) as answer:
            assert answer.status == status
            assert ("warmdesk_ready" in await answer.text()) == (status == 200)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.settings(trusted_proxies="127.0.0.1")
async def test_fail2ban_finds_the_address_of_who_guesses(
    url: str, caplog: pytest.LogCaptureFixture, eventually: Wait, *, as_json: bool
) -> None:
    caplog.set_level(logging.INFO, logger="warmdesk")
    filters = block("Guessed passwords", "failregex").partition("failregex = ")[2].splitlines()
    filters = [line.strip().replace("<ADDR>", ADDRESS) for line in filters]
    tries = {"alice": "198.51.100.7", "x info auth.refused client=203.0.113.9 name=": "2001:db8::7"}
    async with Client(url, patience=0) as anyone:
        for name, address in tries.items():
            answer = await anyone.request(
                "POST",
                "/auth/login",
                {"username": name, "password": "a wrong password"},
                headers={"X-Forwarded-For": address},
            )
            assert answer.status == 401
    found = []
    for record in caplog.records:
        line = Lines(as_json=as_json).format(record)
        found += [m["address"] for each in filters for m in re.finditer(each, line)]
        if as_json:
            json.loads(line)
    assert found == list(tries.values())
    assert all(ipaddress.ip_address(address) for address in found)


def test_what_loki_and_elastic_are_told_of_is_in_a_line() -> None:
    alloy = block("The log", "loki.process")
    for stage, keys in re.findall(r"stage\.(json|labels|structured_metadata) \{ (.*) \}", alloy):
        named = set(re.findall(r'(\w+) = ""', keys))
        assert named, stage
        assert named <= RESERVED, stage
    assert re.findall(r'source = "(\w+)"', alloy) == ["time"]
    filebeat = yaml.safe_load(block("The log", "filebeat.inputs"))
    (found,) = filebeat["filebeat.inputs"]
    (target,) = (each["ndjson"]["target"] for each in found["parsers"] if "ndjson" in each)
    when, copied = filebeat["processors"]
    fields = [when["timestamp"]["field"], copied["copy_fields"]["fields"][0]["from"]]
    assert [each.partition(".")[0] for each in fields] == [target, target]
    assert {each.partition(".")[2] for each in fields} <= RESERVED
    line = Lines(as_json=True).format(logging.LogRecord("x", logging.INFO, "", 1, "a.b", (), None))
    (layout,) = when["timestamp"]["layouts"]
    # Go writes the moment of its reference: its shape is that of ours.
    assert re.sub(r"\d", "0", layout) == re.sub(r"\d", "0", json.loads(line)["time"])


def test_the_line_that_is_shown_is_one_of_ours() -> None:
    shown = block("Guessed passwords", "2026-")
    record = logging.LogRecord(
        "warmdesk.rest.auth",
        logging.INFO,
        "auth.py",
        1,
        "auth.refused client=%s name=%s status=%d",
        ("198.51.100.7", '"alice"', 401),
        None,
    )
    assert shown.partition(" ")[2] == Lines(as_json=False).format(record).partition(" ")[2]


# Every command

BEGINS = re.compile(
    r"(?:bin/|docker[ /]|warmdesk \w|git |systemctl |systemd-analyze |curl |age |openssl |ulimit "
    r"|up --|demo --|set KEY|rm |create role|update |select |WARMDESK_\w+=\S+ .*bin/)"
)
"""How a command begins, among what stands in double backquotes or in a block."""
HERE = Path(__file__).parent


def commands() -> set[str]:
    """All that an operator is told to type; of a script its first line but one."""
    found = set()
    for node in parsed("docs/operations.rst").findall(docutils.nodes.literal):
        found.add(" ".join(node.astext().split()))
    for node in parsed("docs/operations.rst").findall(docutils.nodes.literal_block):
        text = node.astext().replace("\\\n", "")
        if text.startswith("set -eu\n"):
            found.add("script " + text.splitlines()[1])
        else:
            found.update(" ".join(line.partition(" #")[0].split()) for line in text.splitlines())
    return {each for each in found if BEGINS.match(each) or each.startswith("script ")}


RUN = {
    "script umask 077": "test_prometheus_gets_a_key_that_is_good_for_nothing_else",
    "script last=$(ls -t var/backups/warmdesk_backup_*.tar.gz* | grep -v _nofiles | head -n 1)": (
        "test_a_drill"
    ),
    "rm -r drill": "test_a_drill",
    "bin/serve": "test_a_drill",
    "bin/warmdesk": "test_commands",
    "bin/warmdesk accept-secrets": "test_commands",
    "bin/warmdesk backup": "test_commands",
    "bin/warmdesk backup --into DIR": "test_commands",
    "bin/warmdesk backup verify FILE": "test_commands",
    "bin/warmdesk check": "test_commands",
    "bin/warmdesk create-user NAME EMAIL --admin": "test_two_hosts",
    "bin/warmdesk demo": "test_commands",
    "bin/warmdesk doctor": "test_commands",
    "bin/warmdesk migrate": "test_two_hosts",
    "bin/warmdesk restore FILE": "test_commands",
    "bin/warmdesk serve": "test_two_hosts",
    "bin/warmdesk set": "test_commands",
    "set KEY VALUE": "test_commands",
    "warmdesk reset-password": "test_commands",
    "warmdesk reset-password NAME --disable-mfa": "test_commands",
    "create role warmdesk login password '…'; create database warmdesk owner warmdesk"
    " encoding 'UTF8' template template0": "test_statements",
    "select project_id, name, url from outgoing_webhooks where parked_at is not null": (
        "test_statements"
    ),
    "update install set id = gen_random_uuid()": "test_statements",
    "curl -fsS http://127.0.0.1:8080/api/v1/health": "test_signs_of_health",
    "curl -fsS http://127.0.0.1:8080/api/v1/ready": "test_signs_of_health",
    "curl http://host:8080/api/v1/ready": "test_signs_of_health",
    "curl -fsS --cacert cert.pem --resolve desk.example.org:8080:127.0.0.1"
    " https://desk.example.org:8080/api/v1/ready": "test_a_certificate",
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    " -subj /CN=desk.example.org -addext subjectAltName=DNS:desk.example.org"
    " -keyout key.pem -out cert.pem": "test_a_certificate",
}
"""The test here that runs each, by the beginning of its name."""
MAPPED = {
    "age -d FILE | tar xz": "tests/backups/test_age.py: age",
    "demo --play": "tests/test_demo.py: playing",
    "docker build -f docker/Dockerfile -t warmdesk .": "tests/containers/test_image.py: Dockerfile",
    "docker compose -f docker/compose.yaml up --detach --build --scale server=4": (
        "tests/containers/test_files.py: compose"
    ),
    "docker run --read-only --cap-drop ALL -v warmdesk:/var/lib/warmdesk -p 8080:8080 warmdesk": (
        "tests/containers/test_image.py: Dockerfile"
    ),
    "docker stop": "tests/containers/test_image.py: SIGTERM",
    "docker/make-secrets desk.example.org": "tests/containers/test_files.py: make-secrets",
    "docker/secrets": "tests/containers/test_files.py: make-secrets",
    "git clone ADDRESS warmdesk": "tests/test_setup.py: bin/setup",
    "git pull && bin/setup": "tests/test_setup.py: bin/setup",
    "systemctl reload": "tests/test_systemd.py: ExecReload",
    "systemctl reload warmdesk": "tests/test_systemd.py: ExecReload",
    "systemd-analyze security": "tests/test_systemd.py: security",
    "ulimit -Hn": "tests/journeys/test_doors.py: ulimit",
    "up --detach --no-recreate --scale server=8": "tests/containers/test_files.py: compose",
}
"""Those that no test runs as they stand: the file whose tests come nearest, and a word that it has,
which is all that is looked at. Where no image can be built its steps are done, and its files are
checked by others' programs.
"""


def test_every_command_is_run_by_a_test_or_has_one_that_comes_near() -> None:
    assert commands() == RUN.keys() | MAPPED.keys()
    assert not RUN.keys() & MAPPED.keys()
    names = [name for name in globals() if name.startswith("test_")]
    for each, by in RUN.items():
        assert any(name.startswith(by) for name in names), each
    for each, by in MAPPED.items():
        file, _, word = by.partition(": ")
        assert word in (HERE.parent / file).read_text("utf-8"), each


async def typed(line: str, *, given: str = "", **settings: Any) -> str:
    """Type this in the checkout; its output."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", line),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(**settings),
        cwd=HERE.parent,
    )
    out, aside = await asyncio.wait_for(process.communicate(given.encode()), 60 * pace.stretch())
    assert process.returncode == 0, f"{line}: {out.decode()}{aside.decode()}"
    return out.decode()


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_commands_do_what_they_are_shown_for() -> None:
    """Beside the server, as they stand there, with names for what stands in capitals."""
    given = {"NAME": "ada", "EMAIL": "ada@example.org", "KEY": "company_name", "VALUE": "Analysts"}
    tried = 0

    async def do(shown: str, saying: str, *, more: str = "") -> str:
        nonlocal tried
        assert RUN[shown] == "test_commands"
        line = re.sub(r"\b[A-Z]{3,}\b", lambda found: given[found[0]], shown)
        line = line if line.startswith("bin/") else f"bin/warmdesk {line.removeprefix('warmdesk ')}"
        out = await typed(f"{line} {more}", given=f"{PASSWORD}\n", data_dir=running.data, port=port)
        assert saying in out, out
        tried += 1
        return out

    async with Running() as running:
        port = running.url.rpartition(":")[2]
        await do("bin/warmdesk", "create-user", more="--help")
        await typed(
            "bin/warmdesk create-user ada a@example.org",
            given=f"{PASSWORD}\n",
            data_dir=running.data,
        )
        await do("warmdesk reset-password", "", more="ada")
        await do("warmdesk reset-password NAME --disable-mfa", "")
        await do("set KEY VALUE", "")
        await do("bin/warmdesk set", "Analysts")
        await do("bin/warmdesk accept-secrets", "")
        await do("bin/warmdesk demo", "")
        made = await do("bin/warmdesk backup", "warmdesk_backup_")
        given["FILE"] = made.partition(": ")[0]
        given["DIR"] = f"{running.data}/elsewhere"
        await do("bin/warmdesk backup --into DIR", "warmdesk_backup_")
        await do("bin/warmdesk backup verify FILE", "is whole")
        await do("bin/warmdesk restore FILE", "All is as it was at", more="--yes")
        await do("bin/warmdesk check", "Everything is as it must be.")
        await do("bin/warmdesk doctor", "PostgreSQL")
    assert tried == list(RUN.values()).count("test_commands")


async def test_two_hosts_are_set_up_as_is_shown(
    servers: Servers, keeper: Any, redis_url: str, tmp_path: Path
) -> None:
    """By the settings that stand there, with the addresses of this machine: what is given to one
    host is had from the other, and doctor finds nothing wrong.
    """
    await keeper.execute("create database pair encoding 'UTF8' template template0")
    settings = block("Run it on many hosts", "database_url")
    here = {
        "database_url": servers.dsn("pair"),
        "redis_url": redis_url,
        "jwt_secret": SECRETS["WARMDESK_JWT_SECRET"],
        "secret_key": SECRETS["WARMDESK_SECRET_KEY"],
        "host": "127.0.0.1",
        "file_store": str(tmp_path / "files"),
        "base_url": "",
    }
    for name, value in here.items():
        settings, count = re.subn(rf'(?m)^({name} = )"[^"]*"', rf'\1"{value}"', settings)
        assert count == 1, name
    settings = settings.replace("workers = 4", "workers = 1")
    file = tmp_path / "warmdesk.toml"
    file.write_text(settings)
    file.chmod(0o600)
    script = block("Run it on many hosts", "git clone")
    lines = [line.partition(" #")[0].strip() for line in script.splitlines()]
    named = f"export WARMDESK_CONFIG={file}"
    begun = lines.index("export WARMDESK_CONFIG=/etc/warmdesk/warmdesk.toml") + 1
    assert lines[-1] == "bin/warmdesk serve"
    try:
        for line in lines[begun:-1]:
            given = line.replace("NAME", "ada").replace("EMAIL", "ada@example.org")
            # Doctor finds that the tests' PostgreSQL does not wait for its disk.
            given += " || test $? = 1" if given.endswith("doctor") else ""
            await typed(f"{named}; {given}", given=f"{PASSWORD}\n", data_dir=tmp_path / "one")
        async with (
            Running(config=file, data_dir=tmp_path / "one") as one,
            Running(config=file, data_dir=tmp_path / "two") as two,
        ):
            hers, elsewhere = Person(one.url, "ada"), Person(two.url, "ada")
            assert (await hers.get("/users/me"))["global_role"] == "admin"
            await hers.post("/projects", {"name": "Shared"})
            assert (await elsewhere.get("/projects/shared"))["name"] == "Shared"
            look = f"{named}; bin/warmdesk doctor || test $? = 1"
            out = await typed(look, data_dir=tmp_path / "two")
            assert f"ok       files: none yet in {tmp_path / 'files'}\n" in out
            assert [line for line in out.splitlines() if line.startswith("wrong")] == [
                line for line in out.splitlines() if " fsync " in line
            ]
            await hers.close()
            await elsewhere.close()
    finally:
        await keeper.execute("drop database pair with (force)")


async def test_statements_are_understood(servers: Servers, keeper: Any, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for each in [each for each, by in RUN.items() if by == "test_statements"]:
        for statement in each.split(";"):
            if statement.strip().startswith("create"):
                await keeper.execute(statement.replace("warmdesk", "another").replace("…", "x"))
            else:
                await connection.execute(statement)
    await connection.close()
    assert await keeper.fetchval(
        "select rolname::text from pg_database d join pg_roles r on r.oid = d.datdba"
        " where datname = 'another'"
    ) == ("another")
    await keeper.execute("drop database another")
    await keeper.execute("drop role another")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_signs_of_health_are_given(url: str) -> None:
    for each, by in RUN.items():
        if by == "test_signs_of_health":
            line = re.sub(r"http://[\w.]+:8080", url, each)
            assert line != each
            assert json.loads(await typed(line))["status"] in ("ok", "ready")


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", ["directory", "settings"])
async def test_a_drill_brings_everything_back_beside_the_server(tmp_path: Path, where: str) -> None:
    """The script, the server that shows what came of it, and the end, as they stand there. Who runs
    it has settings, in the environment and in a file, for what must not be touched; and the secrets
    where the server made them, or in that file, as they are on each of many hosts.
    """
    kept: dict[str, Any] = {}
    if where == "settings":
        kept = {name.removeprefix("WARMDESK_").lower(): word for name, word in SECRETS.items()}
    (tmp_path / "bin").symlink_to(HERE.parent / "bin")
    script = f"cd {tmp_path}\n{block('Backups', 'drill')}"
    async with Running(directory=tmp_path / "var", **kept) as running:
        ada = Person(running.url, "ada")
        account = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
        assert (await ada.client.request("POST", "/auth/register", account)).status == 201
        project = await ada.post("/projects", {"name": "Worth keeping"})
        await ada.close()
        await typed("bin/warmdesk backup", data_dir=running.data, **kept)
        before = sorted(path.name for path in running.data.rglob("*backup*"))
        theirs: dict[str, Any] = {
            "database_url": "postgresql://nobody@127.0.0.1:1/production",
            "redis_url": "redis://127.0.0.1:1",
            "file_store": tmp_path / "production" / "files",
            "backup_dir": tmp_path / "production" / "backups",
            "data_dir": running.data,
        }
        file = tmp_path / "production.toml"
        file.write_text("".join(f'{key} = "{value}"\n' for key, value in (theirs | kept).items()))
        out = await typed(script, **theirs, port=80, config=file)
        assert out.endswith("Everything is as it must be.\n")
        assert not (tmp_path / "production").exists()
        assert sorted(path.name for path in running.data.rglob("*backup*")) == before
        assert (tmp_path / "drill" / "postgres").is_dir()
        file = tmp_path / "drill" / "warmdesk.toml"
        for name in ("jwt_secret", "secret_key"):
            assert (tmp_path / "drill" / name).exists() == (where == "directory")
            assert (f'{name} = "{kept.get(name)}"\n' in file.read_text()) == (where == "settings")
        async with Running(directory=tmp_path / "drill", config=file) as drilled:
            again = Person(drilled.url, "ada")
            assert (await again.get(f"/projects/{project['slug']}"))["name"] == "Worth keeping"
            await again.close()
    await typed(f"cd {tmp_path} && rm -r drill")


@pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("openssl") is None,
    reason="curl or openssl is not installed",
)
async def test_a_certificate_that_signs_itself_is_served_and_changed_by_a_signal(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    make, look = block("TLS", "openssl"), block("TLS", "--cacert")
    await typed(f"cd {tmp_path}; {make}")
    given: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url}
    given |= {name.removeprefix("WARMDESK_").lower(): word for name, word in SECRETS.items()}
    given |= {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with Running(**given) as running:
        look = look.replace("8080", running.url.rpartition(":")[2])
        assert json.loads(await typed(f"cd {tmp_path}; {look}"))["status"] == "ready"
        before = (tmp_path / "cert.pem").read_bytes()
        await typed(f"cd {tmp_path}; {make}")
        assert (tmp_path / "cert.pem").read_bytes() != before
        running.signal(signal.SIGHUP)
        await until(lambda: "workers.rolled" in running.log, within=30)
        assert json.loads(await typed(f"cd {tmp_path}; {look}"))["status"] == "ready"


# Numbers and names


def section(heading: str) -> Any:
    return next(
        found
        for found in parsed("docs/operations.rst").findall(docutils.nodes.section)
        if found[0].astext() == heading
    )


def test_connections_are_reckoned_as_the_server_does() -> None:
    text = " ".join(section("How much it needs").astext().split())
    ((hosts, workers, each, spare, total),) = re.findall(
        r"need (\d+) × (\d+) × (\d+) \+ (\d+) = (\d+);", text
    )
    assert connections(Settings(), workers=1) == int(each)
    assert int(spare) == SPARE_CONNECTIONS
    assert int(hosts) * int(workers) * int(each) + int(spare) == int(total)
    waiting, coming = re.findall(r"(\d+) MiB of (?:answers|bodies)", text)
    assert (int(waiting) << 20, int(coming) << 20) == (ANSWER_BUDGET, BODY_BUDGET)


def test_limits_are_those_of_the_settings_and_of_the_tables() -> None:
    for name, told, _ in rows(parsed("docs/operations.rst"), "Limits"):
        assert told == str(getattr(Settings(), name)), name
    text = " ".join(section("Limits").astext().split())
    for number, table in re.findall(
        r"([\d,]+) (columns|labels|outgoing webhooks|webhooks|sessions)", text
    ):
        name = {"webhooks": "project_webhooks"}.get(table, table.replace(" ", "_"))
        assert TABLES[name].startswith(number), name
    assert "100 API keys" in text
    assert TABLES["api_keys"].startswith("100 a person and 100 a project")
    assert "5,000 projects" in text
    assert TABLES["project_members"] == "5,000 a user"
    assert "200 items" in text
    assert TABLES["card_checklist_items"] == "200 a card"


async def test_what_is_to_be_watched_is_a_metric_and_leads_somewhere(root: Person) -> None:
    given = str(await root.get("/metrics"))
    headings = [
        found[0].astext() for found in parsed("docs/operations.rst").findall(docutils.nodes.section)
    ]
    watched = rows(parsed("docs/operations.rst"), "Signs of health")
    assert len(watched) >= 6
    for name, _, leads in watched:
        assert f"# TYPE {name} " in given, name
        assert leads in headings, leads
