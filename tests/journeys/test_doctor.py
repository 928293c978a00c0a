"""``warmdesk doctor`` finds each thing that can be wrong, with real servers that are."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import redis.asyncio
import trustme

from tests import pace
from tests.conftest import Servers, changed_settings, serving
from tests.disk import small_disk
from tests.journeys.conftest import OwnPostgres
from tests.journeys.proxy import Proxy
from tests.journeys.running import SECRETS, Running, command, variables
from tests.journeys.test_refused_servers import listening, pooler, relay
from tests.journeys.test_sentinel import Node, Watched
from tests.person import Person
from tests.ports import free_port
from tests.postbox import postbox, silent
from tests.test_documents import parsed, rows
from tests.uploads import upload
from warmdesk import server
from warmdesk.config import Settings
from warmdesk.db import installation
from warmdesk.db.migrations import migrate
from warmdesk.db.queries import sql
from warmdesk.doctor import Finding, Findings, Verdict, host
from warmdesk.doctor.files import files
from warmdesk.doctor.front import front, judge_address
from warmdesk.doctor.mail import mail
from warmdesk.doctor.postgresql import postgresql
from warmdesk.doctor.redis import redis as redis_check
from warmdesk.embedded import Valkey
from warmdesk.listeners import StartError
from warmdesk.realtime.events import ERASING
from warmdesk.schemas.settings import SystemSettings

pytestmark = pytest.mark.timeout(120)

WRONG, WARNING, OK = Verdict.WRONG, Verdict.WARNING, Verdict.OK
SHIFTED = ("-m", "tests.journeys.shifted", "--seconds", "-3600")
FOR = datetime.timedelta


async def found(findings: Findings) -> list[Finding]:
    return [each async for each in findings]


def the(findings: list[Finding], words: str) -> Finding:
    """The one finding that says these words."""
    fitting = [each for each in findings if words in each.says]
    assert len(fitting) == 1, "\n".join(map(str, findings))
    return fitting[0]


def wrong(findings: list[Finding]) -> list[str]:
    return [str(each) for each in findings if each.verdict is WRONG]


def check_all(findings: list[Finding]) -> None:
    """What is not well says what to do, and each is one line."""
    for each in findings:
        assert bool(each.do) == (each.verdict is not OK), each
        assert str(each).isprintable(), each


# This host


@pytest.mark.parametrize(
    ("given", "verdict", "words"),
    [
        ({}, WARNING, "base_url is empty"),
        ({"base_url": "http://desk.example.org"}, WARNING, "base_url begins with http://"),
        ({"trusted_proxies": "10.0.0.0/8,0.0.0.0/0"}, WRONG, "trusted_proxies has 0.0.0.0/0"),
        ({"trusted_proxies": "2000::/3"}, WRONG, "trusted_proxies has 2000::/3"),
        ({"rate_limits": False}, WARNING, "rate_limits is off"),
        ({"previous_secret_key": "x" * 40}, WARNING, "previous_secret_key is still set"),
    ],
)
async def test_settings_that_should_be_others(
    given: dict[str, Any], verdict: Verdict, words: str
) -> None:
    good: dict[str, Any] = {"base_url": "https://desk.example.org", "trusted_proxies": "10.0.0.0/8"}
    findings = await found(host.settings(Settings(**good), None))
    assert [each.verdict for each in findings] == [OK]
    assert "config/warmdesk.toml" in findings[0].says
    findings = await found(host.settings(Settings(**((good | given) if given else {})), None))
    assert the(findings, words).verdict is verdict
    check_all(findings)


async def test_a_settings_file_with_secrets_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.touch(mode=0o644)
    secret = Settings(redis_url="redis://:secret@redis.example.org", base_url="https://x.example")
    assert the(await found(host.settings(secret, file)), "others may read").verdict is WARNING
    file.chmod(0o600)
    assert len(await found(host.settings(secret, file))) == 1


async def test_settings_that_cannot_be_end_it(tmp_path: Path) -> None:
    status, out, aside = await command("doctor", port="http", data_dir=tmp_path)
    assert (status, aside) == (1, "")
    assert out == (
        "wrong    settings: WARMDESK_PORT cannot be 'http': it must be a whole number;"
        " correct that first; all else waits for it\n"
    )


async def test_a_disk_that_is_full_or_low_or_not_ours(tmp_path: Path) -> None:
    for size, verdict in ((2 << 20, WRONG), (200 << 20, WARNING)):
        with small_disk(size) as disk:
            files, backups = str(tmp_path / "files"), str(tmp_path / "backups")
            here = Settings(data_dir=disk / "data", file_store=files, backup_dir=backups)
            findings = await found(host.disks(here))
            assert the(findings, "for the data").verdict is verdict
            check_all(findings)
    (tmp_path / "file").touch(mode=0o600)
    here = Settings(data_dir=tmp_path / "file" / "data", backup_dir=str(tmp_path / "backups"))
    findings = await found(host.disks(here))
    assert the(findings, "cannot be written").verdict is WRONG


@pytest.mark.parametrize(("limit", "verdict"), [(512, WRONG), (4096, WARNING)])
async def test_few_open_files(limit: int, verdict: Verdict, tmp_path: Path) -> None:
    doctor = f"ulimit -n {limit} && exec {sys.executable} -m warmdesk doctor --json"
    status, findings = await examined(["sh", "-c", doctor], data_dir=tmp_path)
    assert the(findings, f"a process may have {limit:,} open").verdict is verdict
    assert status == (1 if verdict is WRONG else 0)
    assert the(findings, "there is no database in").verdict is WARNING


async def examined(program: list[str], **given: Any) -> tuple[int, list[Finding]]:
    """The exit status of a doctor, and its findings."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=variables(**given) | {"PYTHONPATH": os.getcwd()},
    )
    out, aside = await asyncio.wait_for(process.communicate(), 60 * pace.stretch())
    assert out, aside.decode()
    told = json.loads(out)
    findings = [
        Finding(Verdict(each.pop("verdict")), **each) for each in map(dict, told["findings"])
    ]
    check_all(findings)
    assert told["ok"] == (not wrong(findings))
    assert process.returncode is not None
    return process.returncode, findings


@pytest.mark.parametrize(
    ("days", "name", "verdict", "words"),
    [
        ((-30, 60), "desk.example.org", OK, "is good for 59 more days"),
        ((-30, 60), "*.example.org", OK, "is good for 59 more days"),
        ((-30, -1), "desk.example.org", WRONG, "was good until"),
        ((-30, 2), "desk.example.org", WRONG, "is good for 1 more days"),
        ((-30, 10), "desk.example.org", WARNING, "is good for 9 more days"),
        ((1, 60), "desk.example.org", WRONG, "is not good before"),
        ((-30, 60), "other.example.org", WRONG, "it is for other.example.org, and not for desk"),
        ((-30, 60), "*.desk.example.org", WRONG, "and not for desk.example.org of base_url"),
    ],
)
async def test_certificates(
    days: tuple[int, int], name: str, verdict: Verdict, words: str, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    begin, end = (now + datetime.timedelta(days=each) for each in days)
    made = trustme.CA().issue_cert(name, not_before=begin, not_after=end)
    settings = certified(made, tmp_path)
    findings = await found(host.certificate(settings))
    assert the(findings, words).verdict is verdict
    check_all(findings)


def certified(made: trustme.LeafCert, place: Path) -> Settings:
    made.cert_chain_pems[0].write_to_path(place / "cert.pem")
    made.private_key_pem.write_to_path(place / "key.pem")
    (place / "key.pem").chmod(0o600)
    return Settings(
        tls_cert=str(place / "cert.pem"),
        tls_key=str(place / "key.pem"),
        base_url="https://desk.example.org",
    )


async def test_a_key_that_others_read_or_that_is_another(tmp_path: Path) -> None:
    settings = certified(trustme.CA().issue_cert("desk.example.org"), tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    findings = await found(host.certificate(settings))
    assert the(findings, "others may read its key").verdict is WARNING
    other = trustme.CA().issue_cert("desk.example.org")
    other.private_key_pem.write_to_path(tmp_path / "key.pem")
    (finding,) = await found(host.certificate(settings))
    assert finding.verdict is WRONG
    assert "WARMDESK_TLS_CERT and WARMDESK_TLS_KEY cannot be used" in finding.says
    (tmp_path / "cert.pem").unlink()
    (finding,) = await found(host.certificate(settings))
    assert finding.verdict is WRONG


# PostgreSQL


async def test_a_postgresql_that_is_well(own_postgres: OwnPostgres) -> None:
    findings = await found(postgresql(Settings(database_url=own_postgres.dsn)))
    check_all(findings)
    assert wrong(findings) == []
    assert [each.says for each in findings if "commit" not in each.says and each.do] == []
    slow = await own_postgres.ask("select current_database()")
    await own_postgres.ask(f"alter database {slow} set commit_siblings = 0")
    await own_postgres.ask(f"alter database {slow} set commit_delay = 50000")
    findings = await found(postgresql(Settings(database_url=own_postgres.dsn)))
    assert the(findings, "a commit takes").verdict is WARNING


@pytest.mark.parametrize(
    ("foul", "verdict", "words"),
    [
        ("alter database {name} set default_transaction_read_only = on", WRONG, "takes no writes"),
        (
            "update pg_database set datcollversion = '0' where datname = '{name}'",
            WRONG,
            "its order of texts was version 0",
        ),
        (
            "update pg_extension set extversion = '0.9'",
            WARNING,
            "the extension plpgsql is 0.9, and its files are 1.0",
        ),
        (
            "update pg_extension set extname = 'gone'",
            WRONG,
            "the extension gone has no files any more",
        ),
        (
            "delete from schema_migrations where version > 30",
            WARNING,
            "migrations wait, from 0031_",
        ),
        (
            "insert into schema_migrations (version, name, sha256, oldest_program)"
            " values (9999, '9999_x.sql', '', '99.0')",
            WRONG,
            "which needs WarmDesk 99.0 or newer",
        ),
        (
            "update schema_migrations set sha256 = '' where version = 3",
            WRONG,
            "was edited after it ran",
        ),
        ("drop schema public cascade", WRONG, "may create nothing in the schema public"),
    ],
)
@pytest.mark.foul
async def test_a_database_that_is_not_well(
    foul: str, verdict: Verdict, words: str, empty_database_url: str
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    name = await connection.fetchval("select current_database()")
    await connection.execute(foul.format(name=name))
    await connection.close()
    findings = await found(postgresql(Settings(database_url=empty_database_url)))
    assert the(findings, words).verdict is verdict
    check_all(findings)


async def test_what_is_acknowledged_and_not_on_disk(empty_database_url: str) -> None:
    """The session's PostgreSQL is one that trades safety for speed."""
    findings = await found(postgresql(Settings(database_url=empty_database_url)))
    finding = the(findings, "a crash takes what was acknowledged")
    assert finding.verdict is WRONG
    assert "fsync and full_page_writes and synchronous_commit" in finding.says
    assert wrong(findings) == [str(finding)]


async def test_a_role_that_may_not(servers: Servers, keeper: Any, empty_database_url: str) -> None:
    name = f"weak_{os.getpid()}"
    await keeper.execute(f"create role {name} login")
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("revoke usage on language plpgsql from public")
    try:
        dsn = empty_database_url.replace("//warmdesk@", f"//{name}@")
        findings = await found(postgresql(Settings(database_url=dsn)))
    finally:
        await connection.execute("grant usage on language plpgsql to public")
        await connection.close()
        await keeper.execute(f"drop role {name}")
    said = the(findings, f"the role {name} ")
    assert said.verdict is WRONG
    for part in ("may create nothing", "language plpgsql", "does not own"):
        assert part in said.says
    assert f'alter database … owner to "{name}"' in said.do


async def test_a_role_that_can_put_no_backup_back(keeper: Any, empty_database_url: str) -> None:
    role = f"poor_{os.getpid()}"
    await keeper.execute(f"create role {role} login")
    connection = await asyncpg.connect(empty_database_url)
    name = await connection.fetchval("select current_database()")
    dsn = empty_database_url.replace("//warmdesk@", f"//{role}@")
    restored, verified = "no backup can be restored", "no backup can be verified"

    async def said() -> list[Finding]:
        findings = await found(postgresql(Settings(database_url=dsn)))
        check_all(findings)
        return [each for each in findings if each.says.startswith((restored, verified))]

    try:
        (finding,) = await said()
        assert finding.verdict is WARNING
        assert finding.says.startswith(verified), "everybody may make temporary tables"
        await keeper.execute(finding.do.partition(",")[0])
        assert await said() == []
        await connection.execute(f"revoke temporary on database {name} from public")
        (finding,) = await said()
        assert finding.verdict is WARNING
        assert finding.says.startswith(restored)
        await connection.execute(finding.do)
        assert await said() == []
    finally:
        await connection.execute(f"drop owned by {role}")
        await connection.close()
        await keeper.execute(f"drop role {role}")


async def test_text_that_is_not_utf8(servers: Servers, keeper: Any) -> None:
    options = "template template0 encoding 'SQL_ASCII' locale_provider libc locale 'C'"
    await keeper.execute(f"create database askii {options}")
    try:
        settings = Settings(database_url=servers.dsn("askii"))
        findings = await found(postgresql(settings))
        with pytest.raises(StartError) as refused:
            await asyncio.to_thread(server.prepare_database, settings)
        assert the(findings, "keeps text as SQL_ASCII").verdict is WRONG
        assert the(findings, "migrations wait, from 0001_feeds.sql on").verdict is WARNING
        advice = the(findings, "keeps text as SQL_ASCII").do.partition(": ")[2]
        assert str(refused.value).endswith(
            f"it keeps text as SQL_ASCII; make another with: {advice}"
        )
        await keeper.execute("drop database askii with (force)")
        await keeper.execute(advice)
        assert "keeps text as" not in " ".join(map(str, await found(postgresql(settings))))
        await asyncio.to_thread(server.prepare_database, settings)
    finally:
        await keeper.execute("drop database if exists askii with (force)")


async def test_a_server_whose_role_may_not_says_where_to_look(
    servers: Servers, keeper: Any
) -> None:
    """Since PostgreSQL 15 only the owner of a database may make tables in it."""
    await keeper.execute("create role guest login")
    await keeper.execute("create database foreign_one template template0")
    try:
        dsn = servers.dsn("foreign_one").replace("//warmdesk@", "//guest@")
        with pytest.raises(StartError, match='"warmdesk doctor" says which rights its role needs'):
            await asyncio.to_thread(server.prepare_database, Settings(database_url=dsn))
    finally:
        await keeper.execute("drop database foreign_one with (force)")
        await keeper.execute("drop role guest")


async def test_too_many_workers(empty_database_url: str) -> None:
    settings = Settings(database_url=empty_database_url, workers=100)
    assert the(await found(postgresql(settings)), "this host needs 1400").verdict is WRONG


async def test_secrets_that_are_not_those_of_the_others(empty_database_url: str) -> None:
    own: dict[str, Any] = {"jwt_secret": "own " * 10, "secret_key": "key " * 10}
    here = Settings(database_url=empty_database_url, **own)
    assert len(wrong(await found(postgresql(here)))) == 1, "nobody has started"
    connection = await asyncpg.connect(empty_database_url)
    assert await sql.server.secret_prints(connection) == [], "it kept nothing"
    other = Settings(**(own | {"secret_key": "another " * 10}))
    await installation.accept_secrets(connection, other)
    await connection.close()
    finding = the(await found(postgresql(here)), "WARMDESK_SECRET_KEY of this host")
    assert (finding.verdict, finding.about) == (WRONG, "settings")


async def test_a_postgresql_that_is_away(tmp_path: Path) -> None:
    url = f"postgresql://desk:hidden@127.0.0.1:{free_port()}/desk"
    (finding,) = await found(postgresql(Settings(database_url=url)))
    assert (finding.verdict, "hidden" in str(finding)) == (WRONG, False)
    assert "it cannot be used" in finding.says
    url += f"?sslmode=verify-full&sslrootcert={tmp_path}/missing.crt"
    (finding,) = await found(postgresql(Settings(database_url=url)))
    assert (finding.verdict, "there is none in" in finding.says) == (WRONG, True)


async def test_a_postgresql_behind_a_pooler(servers: Servers, empty_database_url: str) -> None:
    path = f"{servers.postgres._sockets}/.s.PGSQL.5432"
    async with listening(pooler(path, ignores=True)) as address:
        name = empty_database_url.partition("@/")[2].partition("?")[0]
        url = f"postgresql://warmdesk@{address}/{name}"
        findings = await found(postgresql(Settings(database_url=url)))
    assert the(findings, "as with PgBouncer").verdict is WRONG


def rewriting(path: str, *changes: tuple[bytes, bytes]) -> Any:
    """A server at a socket that calls itself something else, of the same length."""

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_unix_connection(path)

        async def answers() -> None:
            while chunk := await above.read(1 << 16):
                for old, new in changes:
                    assert len(old) == len(new)
                    chunk = chunk.replace(old, new)
                writer.write(chunk)

        task = asyncio.create_task(answers())
        try:
            while chunk := await reader.read(1 << 16):
                below.write(chunk)
        finally:
            task.cancel()
            below.transport.abort()

    return met


async def test_a_postgresql_that_is_too_old(servers: Servers, empty_database_url: str) -> None:
    path = f"{servers.postgres._sockets}/.s.PGSQL.5432"
    changes = (b"server_version\x0018.", b"server_version\x0013.")
    async with listening(rewriting(path, changes)) as address:
        name = empty_database_url.partition("@/")[2].partition("?")[0]
        url = f"postgresql://warmdesk@{address}/{name}"
        findings = await found(postgresql(Settings(database_url=url)))
    (finding,) = findings
    assert finding.verdict is WRONG
    assert finding.says.startswith("it is 13.")


async def test_a_clock_that_is_wrong(
    empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    given = {"database_url": empty_database_url, "redis_url": redis_url, "data_dir": tmp_path}
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    doctor = [sys.executable, *SHIFTED, "doctor", "--json"]
    _, findings = await examined(doctor, **given, **secrets)
    assert the(findings, "clock is 3,600 seconds behind PostgreSQL's").verdict is WARNING


# Redis


async def test_a_redis_that_is_well_and_one_that_is_not(own_valkey: Valkey) -> None:
    settings = Settings(redis_url=own_valkey.url)
    findings = await found(redis_check(settings, "00000000-0000-0000-0000-000000000001"))
    assert [each.verdict for each in findings] == [OK] * len(findings)
    assert the(findings, "it is Valkey 9").verdict is OK

    async with redis.asyncio.from_url(own_valkey.url, driver_info=None) as operator:
        await operator.config_set("maxmemory", "100mb")
        await operator.config_set("maxmemory-policy", "allkeys-lru")
        findings = await found(redis_check(settings, None))
        assert the(findings, "maxmemory-policy is allkeys-lru").verdict is WRONG
        await operator.config_set("maxmemory-policy", "noeviction")
        assert wrong(await found(redis_check(settings, None))) == []
        used = int((await operator.info("memory"))["used_memory"])
        await operator.config_set("maxmemory", int(used * 1.05))
        findings = await found(redis_check(settings, None))
        assert the(findings, "of its maxmemory").verdict is WARNING
        await operator.config_set("maxmemory", 1)
        findings = await found(redis_check(settings, "x"))
        assert the(findings, "it takes no writes").verdict is WRONG
        check_all(findings)


async def test_a_redis_that_is_away_or_refuses(base: Path, own_valkey: Valkey) -> None:
    (finding,) = await found(
        redis_check(Settings(redis_url=f"redis://:x@127.0.0.1:{free_port()}"), None)
    )
    assert (finding.verdict, finding.says.startswith("it is away")) == (WRONG, True)
    own_valkey_path = own_valkey.url.removeprefix("unix://")
    async with redis.asyncio.from_url(own_valkey.url, driver_info=None) as operator:
        await operator.acl_setuser(
            "blind",
            enabled=True,
            passwords=["+p"],
            keys=["warmdesk:*"],
            channels=["warmdesk:*"],
            categories=["+@all"],
            commands=["-info"],
        )
        await operator.acl_setuser(
            "other",
            enabled=True,
            passwords=["+p"],
            keys=["else:*"],
            channels=["else:*"],
            categories=["+@all"],
        )
    async with Proxy(own_valkey_path, "127.0.0.1:0", bytes_only=True) as proxy:
        for login, verdict, words in (
            ("nobody:p", WRONG, "it cannot be used: Redis refuses"),
            ("blind:p", WARNING, "its user may not ask for INFO"),
            ("other:p", WRONG, "its user may not use the names of this installation"),
        ):
            settings = Settings(redis_url=f"redis://{login}@{proxy.listen}")
            findings = await found(redis_check(settings, "x"))
            assert the(findings, words).verdict is verdict
            check_all(findings)


async def test_a_redis_that_is_too_old(own_valkey: Valkey) -> None:
    async with redis.asyncio.from_url(own_valkey.url, driver_info=None) as operator:
        version = (await operator.info("server"))["redis_version"].encode()
    old = b"redis_version:" + b"5" + version[1:]
    change = (b"redis_version:" + version, old)
    path = own_valkey.url.removeprefix("unix://")
    async with listening(rewriting(path, change)) as address:
        findings = await found(redis_check(Settings(redis_url=f"redis://{address}"), None))
    assert the(findings, "it is Valkey").verdict is WRONG


async def test_sentinels_of_which_one_is_gone(base: Path) -> None:
    watched = Watched(base)
    try:
        await watched.start()
        settings = Settings(redis_url=watched.url)
        findings = await found(redis_check(settings, None))
        assert the(findings, "3 sentinels watch over desk").verdict is OK
        await watched.sentinels[0].kill()
        findings = await found(redis_check(settings, None))
        gone = f"the sentinel 127.0.0.1:{watched.sentinels[0].port} is of no use"
        assert the(findings, gone).verdict is WARNING
        assert the(findings, "2 sentinels of 3 could take part").verdict is WARNING
        assert wrong(findings) == []
        check_all(findings)
    finally:
        for node in watched.nodes:
            await node.kill()
            await node.client.aclose()


async def test_a_sentinel_alone(base: Path) -> None:
    primary = Node(base, 'requirepass "a word that they share"')
    watch = (
        f"sentinel monitor desk 127.0.0.1 {primary.port} 1",
        'sentinel auth-pass desk "a word that they share"',
    )
    sentinel = Node(base, *watch, watching=True)
    try:
        for node in (primary, sentinel):
            await node.start()
        secret = "a%20word%20that%20they%20share"
        url = f"sentinel://:{secret}@127.0.0.1:{sentinel.port}/desk"
        findings = await found(redis_check(Settings(redis_url=url), None))
        assert the(findings, "1 sentinels of 1 could take part").verdict is WARNING
        assert the(findings, "desk has no replica").verdict is WARNING
    finally:
        for node in (primary, sentinel):
            await node.kill()
            await node.client.aclose()


# Mail

BASE = Settings(base_url="https://desk.example.org")


async def mailing(settings: Settings = BASE, **values: Any) -> list[Finding]:
    findings = await found(mail(settings, SystemSettings(**values)))
    check_all(findings)
    return findings


async def test_a_mail_server_that_takes_and_one_that_does_not() -> None:
    (finding,) = await mailing()
    assert finding.verdict is OK
    with postbox() as box:
        (finding,) = await mailing(smtp_host="127.0.0.1", smtp_port=box.port)
        assert finding.verdict is OK
        assert "takes mail in clear, on this machine; it offers " in finding.says
        assert "SIZE" in finding.says
        assert box.began == 0
        findings = await mailing(Settings(), smtp_host="127.0.0.1", smtp_port=box.port)
        assert the(findings, "base_url is empty").verdict is WARNING
        place: dict[str, Any] = {"smtp_host": "127.0.0.1", "smtp_port": box.port}
        (finding,) = await mailing(**place, smtp_security="starttls")
        assert (finding.verdict, "offers no encryption" in finding.says) == (WRONG, True)
        (finding,) = await mailing(smtp_host="0.0.0.0", smtp_port=box.port)
        assert (finding.verdict, "is spoken to in clear" in finding.says) == (WARNING, True)
    (finding,) = await mailing(smtp_host="127.0.0.1", smtp_port=free_port())
    assert (finding.verdict, "cannot be reached" in finding.says) == (WRONG, True)
    with silent(greeting=b"SSH-2.0-OpenSSH\r\n") as port:
        (finding,) = await mailing(smtp_host="127.0.0.1", smtp_port=port)
        assert finding.verdict is WRONG


async def test_a_mail_server_whose_certificate_nobody_trusts() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with postbox(starttls=context) as box:
        (finding,) = await mailing(smtp_host="127.0.0.1", smtp_port=box.port)
    assert (finding.verdict, "not one to trust" in finding.says) == (WRONG, True)


async def test_a_mail_server_that_is_spoken_to_by_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    wanted: dict[str, Any] = {"smtp_host": "127.0.0.1", "smtp_username": "desk"}
    with postbox(starttls=context, login=True) as box:
        for password, verdict in (("a mail password", OK), ("another", WRONG)):
            (finding,) = await mailing(**wanted, smtp_port=box.port, smtp_password=password)
            assert finding.verdict is verdict
            assert password not in str(finding)
            said = "by TLS after signing in" if verdict is OK else "does not accept the username"
            assert said in finding.says


# What stands in front

Edit = Callable[[list[bytes]], list[bytes]]


def proxy(url: str, edit: Edit) -> Callable[..., Awaitable[None]]:
    """A reverse proxy as small as it can be: it edits the lines of a request's head, with the
    client's address at their end, and passes on all else.
    """
    port = int(url.rpartition(":")[2])

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        peer = writer.get_extra_info("peername")[0].encode()
        lines = edit([*head.removesuffix(b"\r\n\r\n").split(b"\r\n"), peer])
        upstream = await asyncio.open_connection("127.0.0.1", port)
        upstream[1].write(b"\r\n".join(lines) + b"\r\n\r\n")
        await relay(reader, writer, upstream)

    return met


def good(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b"X-Forwarded-For: " + lines[-1]]


def without_upgrade(lines: list[bytes]) -> list[bytes]:
    return [each for each in good(lines) if not re.match(rb"(?i)(upgrade|connection):", each)]


def without_address(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


@asynccontextmanager
async def fronted(
    request: pytest.FixtureRequest, edit: Edit, dsn: str, redis_url: str, proxies: str
) -> AsyncIterator[Settings]:
    """Settings of a server behind a proxy."""
    given = changed_settings(
        request, database_url=dsn, redis_url=redis_url, trusted_proxies=proxies
    )
    async with (
        serving(given) as door,
        listening(proxy(door.url, edit)) as address,
    ):
        yield Settings(base_url=f"http://{address}", database_url=dsn, redis_url=redis_url)


@pytest.mark.parametrize(
    ("edit", "proxies", "words"),
    [
        (good, "127.0.0.1", ""),
        (without_upgrade, "127.0.0.1", "a handshake is answered with 426"),
        (good, "", "the server sees everybody as 127.0.0.1, and not as 127.0.0.2"),
        (without_address, "", "the server sees everybody as 127.0.0.1, and not as 127.0.0.2"),
        (good, "0.0.0.0/0", "it believes the address that a client names"),
    ],
)
async def test_a_proxy_in_front(
    request: pytest.FixtureRequest,
    edit: Edit,
    proxies: str,
    words: str,
    empty_database_url: str,
    redis_url: str,
) -> None:
    async with fronted(request, edit, empty_database_url, redis_url, proxies) as settings:
        findings = await found(front(settings, reaches=True))
    check_all(findings)
    if words:
        assert the(findings, words).verdict is WRONG
        assert len(wrong(findings)) == 1
    else:
        assert [each.verdict for each in findings] == [OK, OK, OK]
        assert the(findings, "the server sees where people come from: we are 127.0.0.2")


async def test_a_server_that_is_another_or_none(
    request: pytest.FixtureRequest, empty_database_url: str, database_url: str, redis_url: str
) -> None:
    async with fronted(request, good, empty_database_url, redis_url, "127.0.0.1") as settings:
        other = Settings(base_url=settings.base_url, database_url=database_url)
        findings = await found(front(other, reaches=True))
        assert the(findings, "has another database").verdict is WRONG
        below = Settings(base_url=f"{settings.base_url}/desk", database_url=empty_database_url)
        findings = await found(front(below, reaches=False))
        assert the(findings, "/health is answered with 404").verdict is WRONG
        check_all(findings)
    away = Settings(base_url=f"http://127.0.0.1:{free_port()}", database_url=database_url)
    (finding,) = await found(front(away, reaches=True))
    assert (finding.verdict, "does not answer" in finding.says) == (WRONG, True)


@pytest.mark.parametrize(("days", "verdict"), [(60, OK), (5, WARNING), (-1, WRONG)])
async def test_the_certificate_of_what_stands_in_front(
    days: int, verdict: Verdict, request: pytest.FixtureRequest, empty_database_url: str,
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    now = datetime.datetime.now(datetime.UTC)
    made = authority.issue_cert(
        "localhost",
        not_before=now - datetime.timedelta(days=30),
        not_after=now + datetime.timedelta(days=days),
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.configure_cert(context)
    given = changed_settings(request, database_url=empty_database_url, redis_url=redis_url)
    async with (
        serving(given) as door,
        listening(proxy(door.url, good), context=context) as address,
    ):
        base = f"https://localhost:{address.rpartition(':')[2]}"
        settings = Settings(base_url=base, database_url=empty_database_url)
        (finding,) = await found(front(settings, reaches=False))
        assert (finding.verdict, "is not one to trust" in finding.says) == (WRONG, True)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        findings = await found(front(settings, reaches=False))
        assert findings[-1].verdict is verdict
        check_all(findings)


def test_what_the_address_that_a_server_saw_means() -> None:
    assert judge_address("10.0.0.7", "10.0.0.7").verdict is OK
    assert judge_address("203.0.114.9", "10.0.0.7").verdict is OK
    assert judge_address("172.17.0.1", "10.0.0.7").verdict is WRONG
    assert judge_address("::1", "2001:db8::1").verdict is WRONG
    assert judge_address("", "10.0.0.7").verdict is WRONG


# Files


async def hold_files(alice: Person, *given: tuple[str, bytes]) -> None:
    """Files on a card."""
    await alice.post("/projects", {"name": "Demo"})
    columns = await alice.get("/projects/demo/columns")
    path = f"/projects/demo/columns/{columns[0]['id']}/cards"
    card = await alice.post(path, {"title": "Fix the door"})
    await upload(alice, f"/projects/demo/cards/{card['id']}/attachments", *given)


async def test_files_that_are_kept_elsewhere(alice: Person, settings: Settings) -> None:
    """As on a host that keeps them alone: what others took is not there."""
    (finding,) = await found(files(settings))
    assert str(finding) == f"ok       files: none yet in {settings.file_store}"
    await hold_files(alice, ("door.txt", b"ajar"), ("wall.txt", b"wet"))
    (finding,) = await found(files(settings))
    assert str(finding) == f"ok       files: the newest 2 are in {settings.file_store}"

    alone = settings.data_dir / "files"
    (finding,) = await found(files(msgspec.structs.replace(settings, file_store="")))
    assert (finding.verdict, finding.says) == (WRONG, f"2 of the newest 2 are not in {alone}")
    assert finding.do.startswith("name the store that has them (WARMDESK_FILE_STORE), or bring")
    assert not alone.exists(), "nothing is made"
    next(each for each in Path(settings.file_store).rglob("*") if each.is_file()).unlink()
    (finding,) = await found(files(settings))
    assert str(finding).startswith("wrong    files: 1 of the newest 2 are not in ")
    check_all([finding])


LOOKS = """
import asyncio, sys
from warmdesk.config import Settings
from warmdesk.files import Files
asyncio.run(Files(Settings(file_store=sys.argv[1]), patient=False).has("ab" * 16))
"""


async def test_who_looks_for_a_file_and_ends_is_not_aborted(tmp_path: Path) -> None:
    async def look() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", LOOKS, str(tmp_path))
        return await process.wait()

    assert await asyncio.gather(*(look() for _ in range(8))) == [0] * 8


async def test_a_store_of_files_that_does_not_answer(
    alice: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hold_files(alice, ("door.txt", b"ajar"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    (finding,) = await found(files(msgspec.structs.replace(settings, file_store="s3://desk")))
    assert str(finding).startswith("wrong    files: s3://desk does not answer")
    check_all([finding])


TAKEN_ELSEWHERE = """
with own as (
    insert into users (email, username, password_hash, display_name)
    values ('a@example.org', 'a', '', 'A') returning id
), talk as (
    insert into conversations (is_group, created_by_id) select true, id from own returning id
)
insert into attachments
    (conversation_id, uploader_id, filename, stored_name, mime_type, size_bytes, sha256)
select talk.id, own.id, 'door.txt', repeat('ab', 16), 'text/plain', 4, repeat('cd', 32)
from own, talk
"""
"""A file that another host took."""


class Listening(OwnPostgres):
    """One that has an address, as those have that several hosts share."""

    ADDRESS = "127.77.0.1"

    def _settings(self) -> list[str]:
        return [*super()._settings(), "-c", f"listen_addresses={self.ADDRESS}"]


async def test_files_that_several_hosts_keep_each_alone(base: Path, tmp_path: Path) -> None:
    postgres = Listening(base)
    postgres.start()
    allowed = postgres.data / "pg_hba.conf"
    try:
        allowed.write_text(f"host all all 127.0.0.0/8 trust\n{allowed.read_text()}")
        await postgres.ask("select pg_reload_conf()")
        await migrate(postgres.dsn, erasing=ERASING)
        alone = Settings(database_url=postgres.dsn, data_dir=tmp_path)
        assert [each.verdict for each in await found(files(alone))] == [OK], "it is but this host"
        other = await asyncpg.connect(
            postgres.dsn,
            host=postgres.ADDRESS,
            server_settings={"application_name": "warmdesk 0.1.0"},
        )
        (finding,) = await found(files(alone))
        assert finding.verdict is WARNING
        assert finding.says == f"other hosts serve, and {tmp_path / 'files'} is of this host alone"
        check_all([finding])
        shared = msgspec.structs.replace(alone, file_store=str(tmp_path))
        assert [each.verdict for each in await found(files(shared))] == [OK]
        await postgres.ask(TAKEN_ELSEWHERE)
        (finding,) = await found(files(alone))
        assert finding.verdict is WRONG
        assert "WARMDESK_FILE_STORE on all hosts" in finding.do
        check_all([finding])
        await other.close()
    finally:
        postgres.stop()


# All of it


async def test_all_is_well_beside_a_server_and_without_one(tmp_path: Path) -> None:
    port = free_port()
    given: dict[str, Any] = {
        "data_dir": tmp_path / "data",
        "base_url": f"http://127.0.0.1:{port}",
        "rate_limits": "on",
    }
    async with Running(port=port, **given):
        status, out, _ = await command("doctor", **given)
        lines = out.splitlines()
        assert status == 0, out
        assert {line.split()[0] for line in lines} <= {"ok", "warning"}
        abouts = {line[9:].partition(":")[0] for line in lines}
        assert abouts == set(told())
        assert "ok       base_url: sockets pass" in lines
    status, findings = await examined(
        [sys.executable, "-m", "warmdesk", "doctor", "--json"], **given
    )
    assert status == 1
    assert "does not answer" in "".join(wrong(findings))
    assert len(wrong(findings)) == 1
    assert the(findings, "the schema is that of this program").verdict is OK


def told() -> list[str]:
    """What the document says that is looked at."""
    return [row[0] for row in rows(parsed("docs/operations.rst"), "warmdesk doctor")]
