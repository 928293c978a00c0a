"""A backup put back: on an empty installation, over the one that it is of, of an older schema."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from tests.conftest import Board, Servers, serving
from tests.disk import small_disk
from tests.person import PASSWORD, Person
from tests.uploads import PNG, upload
from warmdesk import disk
from warmdesk.auth.passwords import hash_password
from warmdesk.backups.archive import FORMAT, Broken, Manifest, Reading, Table, Writing, holding
from warmdesk.backups.directory import new_name
from warmdesk.backups.making import OWN, TEXT, long_connection, make, write_table
from warmdesk.backups.restoring import checked, restore
from warmdesk.backups.verifying import verify
from warmdesk.config import Settings
from warmdesk.db import migrations
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.errors import Impossible, Unavailable
from warmdesk.jobs.files import FileKeeper

TABLES = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1
"""


async def contents(dsn: str) -> dict[str, bytes]:
    """All rows of all tables, as text."""
    connection = await asyncpg.connect(dsn, server_settings=TEXT)
    try:
        found = {}
        for row in await connection.fetch(TABLES):
            rows = bytearray()

            async def take(piece: bytes, rows: bytearray = rows) -> None:
                rows += piece

            await connection.copy_from_table(row["relname"], output=take)
            found[row["relname"]] = bytes(rows)
        return found
    finally:
        await connection.close()


async def another_origin(dsn: str) -> None:
    """The tests' databases are copies of one."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("update install set origin = gen_random_uuid()")
    finally:
        await connection.close()


async def test_a_backup_makes_an_empty_installation_the_same(
    settings: Settings, board: Board, alice: Person, empty_database_url: str, tmp_path: Path
) -> None:
    for number in range(5):
        await board.card(f"Karte {number} \t \\ \n 🦊")
    await alice.post(f"{board.path}/chat/messages", {"body": "hello\\N"})
    before = await contents(settings.database_url)
    made = await make(settings, tmp_path, include_files=True)
    assert await contents(settings.database_url) == before
    await another_origin(empty_database_url)
    elsewhere = replace(settings, database_url=empty_database_url, data_dir=tmp_path / "other")
    done = await restore(elsewhere, tmp_path / made.filename)
    after = await contents(empty_database_url)

    told = {"feeds", "events", "audit"}
    assert {name: rows for name, rows in after.items() if name not in OWN | told} == {
        name: rows for name, rows in before.items() if name not in OWN | told
    }
    assert before.keys() == after.keys()
    assert done.carried_over == {"sessions": 0, "keys": 0, "members": 0, "users": 0}


async def test_a_backup_is_tried_by_who_may_and_where_text_is_kept_as_here(
    servers: Servers, keeper: Any, settings: Settings, board: Board, tmp_path: Path
) -> None:
    """A cluster may keep it otherwise: in the locale C it would be SQL_ASCII."""
    archive = tmp_path / (await make(settings, tmp_path, include_files=False)).filename
    name = "plain"
    kept = "encoding 'UTF8' locale_provider libc lc_collate 'C' lc_ctype 'C'"
    await keeper.execute(f"create database {name} {kept} template template0")
    connection = await asyncpg.connect(servers.dsn(name))
    scratch = await sql.backups.scratch(connection, number=7)
    try:
        assert " encoding 'UTF8' lc_collate 'C' lc_ctype 'C' " in scratch["make"]
        await keeper.execute(scratch["make"])
        ways = await keeper.fetch(
            "select encoding, datcollate, datctype from pg_database where datname = any($1)",
            [name, scratch["name"]],
        )
        assert len(ways) == 2
        assert ways[0] == ways[1]
    finally:
        await connection.close()
        await keeper.execute(scratch["drop"])
        await keeper.execute(f"drop database {name}")

    role = f"reader_{os.getpid()}"
    await keeper.execute(f"create role {role} login in role pg_read_all_data")
    try:
        poor = replace(
            settings, database_url=settings.database_url.replace("//warmdesk@", f"//{role}@")
        )
        with pytest.raises(Unavailable, match=f'alter role "{role}" createdb, or verify it on'):
            await verify(poor, archive)
        await keeper.execute(f'alter role "{role}" createdb')
        assert (await verify(poor, archive)).faults == []
    finally:
        await keeper.execute(f"drop role {role}")


OLD = [9, 19, 26, 33, 40]
OLD_ROWS = """
insert into users (email, username, password_hash, display_name, global_role)
values ('ada@example.org', 'ada', 'x', 'Ada', 'admin');
insert into projects (name, slug, key_prefix, created_by_id, card_counter)
values ('Old', 'old', 'OLD', 1, 1);
insert into project_members (project_id, user_id, role) values (1, 1, 'owner');
insert into columns (project_id, name, position) values (1, 'Backlog', 1000);
insert into cards (project_id, column_id, card_number, title, description, position, created_by_id)
values (1, 1, 1, 'an old card', '', 1000, 1);
insert into chat_messages (project_id, user_id, body) values (1, 1, 'long ago');
"""


@pytest.mark.parametrize("number", OLD)
async def test_a_backup_of_an_older_program_is_brought_up_to_date(
    number: int, servers: Servers, keeper: Any, settings: Settings, root: Person, tmp_path: Path
) -> None:
    name = f"old_{number}"
    await keeper.execute(f"create database {name}")
    old = replace(settings, database_url=servers.dsn(name))
    archive = await old_archive(old, number, tmp_path)
    found = await verify(settings, archive)
    assert found.faults == []
    await restore(settings, archive, safety=tmp_path)
    async with serving(settings) as door:
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute(
            "update users set password_hash = $1", await hash_password(PASSWORD)
        )
        assert [row["fault"] for row in await sql.server.faults(connection)] == []
        await connection.close()
        ada = Person(door.url, "ada")
        board = await ada.get("/projects/old")
        assert [card["title"] for card in board["columns"][0]["cards"]] == ["an old card"]
        await ada.post(f"/projects/old/columns/{board['columns'][0]['id']}/cards", {"title": "new"})
        await ada.close()
    await keeper.execute(f"drop database {name} with (force)")


async def old_archive(old: Settings, number: int, directory: Path) -> Path:
    """A backup as a program would have made it whose last migration is this."""
    archive = Writing(directory / new_name(datetime.now(UTC), full=False, encrypted=False))
    async with long_connection(old) as connection:
        async with connection.transaction():
            await migrations.lay(connection, upto=number)
            await connection.execute(OLD_ROWS)
        told = Manifest(
            format=FORMAT,
            program="0.1",
            schema=number,
            origin="00000000-0000-0000-0000-000000000001",
            installation="00000000-0000-0000-0000-000000000001",
            created_at="2026-01-31T12:00:00Z",
            postgresql="15.1",
            tables={},
            sequences={},
            includes_files=False,
        )
        await archive.begin()
        for row in await sql.backups.tables(connection):
            if row["name"] not in OWN:
                told.tables[row["name"]] = await write_table(
                    connection, archive, row["name"], row["columns"], lambda _: None
                )
        for row in await sql.backups.sequences(connection):
            told.sequences[row["name"]] = row["last_value"] or 0
        await archive.end(told)
        await archive.close()
    return archive.path


THEN = """
insert into sessions (id, user_id, last_used_at, expires_at)
values ('00000000-0000-0000-0000-000000000007', 3, now(), now() + interval '1 hour');
insert into refresh_tokens (token_hash, session_id, expires_at)
values ('first', '00000000-0000-0000-0000-000000000007', now() + interval '1 hour');
update users set totp_enabled = true, totp_secret = 'old', totp_changes = 1, totp_last_step = 10
where id in (3, 4);
insert into recovery_codes (user_id, code_hash) values (3, 'a'), (4, 'b'), (4, 'c');
insert into calendars (user_id, token_hash) values (3, 'three'), (4, 'four'), (5, 'five');
insert into invitations
    (expires_at, role, email, inviter_id, salt, token_hash, wants_mail, letters)
values (now() + interval '1 day', 'user', 'x@example.org', 1, gen_random_uuid(), 'hash', true, 1);
insert into mails (kind, invitation_id) select 'invitation', id from invitations;
insert into projects (name, slug, key_prefix, created_by_id, card_counter)
values ('P', 'p', 'P', 1, 1);
insert into project_members (project_id, user_id, role) select id, 1, 'owner' from projects;
insert into columns (project_id, name, position) select id, 'Backlog', 1000 from projects;
insert into cards (project_id, column_id, card_number, title, description, position, created_by_id)
select project_id, id, 1, 'a card', '', 1000, 1 from columns;
"""
SINCE = """
update refresh_tokens set rotated_at = now();
insert into refresh_tokens (token_hash, session_id, expires_at)
values ('second', '00000000-0000-0000-0000-000000000007', now() + interval '7 days');
update sessions set last_used_at = clock_timestamp(), expires_at = now() + interval '7 days';
update users set totp_secret = 'new', totp_changes = 3, totp_last_step = 20 where id = 3;
update users set totp_last_step = 11 where id = 4;
delete from recovery_codes where code_hash in ('a', 'b');
insert into recovery_codes (user_id, code_hash) values (3, 'z');
update calendars set token_hash = 'newer', created_at = clock_timestamp() where user_id = 3;
delete from calendars where user_id = 4;
delete from mails;
update invitations set wants_mail = false, mailed_at = now(),
    mail_failed = true, mail_reason = 'recipient';
insert into reminders (card_id, user_id, date, kind) select id, 3, current_date, 'day' from cards;
"""
STILL = {
    "select token_hash from refresh_tokens where rotated_at is null": ["second"],
    "select bool_and(expires_at > now() + interval '1 day') from sessions": [True],
    "select totp_secret || totp_changes || ' ' || totp_last_step from users where totp_enabled"
    " order by id": ["new3 20", "old1 11"],
    "select code_hash from recovery_codes order by 1": ["c", "z"],
    "select token_hash from calendars order by 1": ["five", "newer"],
    "select count(*) from mails": [0],
    "select wants_mail or mailed_at is null from invitations": [False],
    "select mail_reason from invitations where mail_failed": ["recipient"],
    "select kind from reminders": ["day"],
}


@pytest.mark.foul
async def test_no_token_is_good_twice_and_no_letter_is_sent_twice(
    settings: Settings, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(THEN)
    made = await make(settings, tmp_path, include_files=False)
    await connection.execute(SINCE)
    await connection.close()
    await restore(settings, tmp_path / made.filename)
    connection = await asyncpg.connect(settings.database_url)
    for question, answer in STILL.items():
        assert [row[0] for row in await connection.fetch(question)] == answer, question
    await connection.close()


ADDRESSES = """
insert into users (id, email, username, password_hash, display_name)
overriding system value values
    (101, 'a@example.org', 'a', 'x', 'A'), (102, 'b@example.org', 'b', 'x', 'B'),
    (103, 'c@example.org', 'c', 'x', 'C'), (104, 'd@example.org', 'd', 'x', 'D'),
    (105, 'e@example.org', 'e', 'x', 'E'), (106, 'f@example.org', 'f', 'x', 'F'),
    (107, 'g@example.org', 'g', 'x', 'G')
"""
MOVED = """
update users set email = 'between' where id = 101;
update users set email = 'A@example.org' where id = 102;
update users set email = 'b@example.org' where id = 101;
update users set email = 'new@example.org' where id = 103;
delete from users where id = 104;
update users set email = 'd@example.org' where id = 105;
update users set email = 'e@example.org' where id = 106;
update users set email = 'c@example.org' where id = 107;
"""


@pytest.mark.foul
async def test_an_address_that_was_changed_since_stays(settings: Settings, tmp_path: Path) -> None:
    """Also two that were exchanged, and one that somebody took who is here now; but none that is
    another's who comes back, nor one that waits for such a one.
    """
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(ADDRESSES)
    made = await make(settings, tmp_path, include_files=False)
    await connection.execute(MOVED)
    await connection.close()
    await restore(settings, tmp_path / made.filename)
    connection = await asyncpg.connect(settings.database_url)
    rows = await connection.fetch("select id, email from users where id > 100 order by id")
    assert dict(rows) == {
        101: "b@example.org",
        102: "A@example.org",
        103: "new@example.org",
        104: "d@example.org",
        105: "e@example.org",
        106: "f@example.org",
        107: "c@example.org",
    }
    await connection.close()


@pytest.mark.foul
async def test_a_file_that_is_deleted_meanwhile_is_restored_and_verified(
    settings: Settings, board: Board, alice: Person, tmp_path: Path
) -> None:
    """Each stage reads what the first one read, whatever has its name by then."""
    card = await board.card("with a file")
    path = f"{board.path}/cards/{card['id']}/attachments"
    await upload(alice, path, ("a.png", PNG))
    made = await make(settings, tmp_path, include_files=True)
    assert made.manifest.files
    archive = tmp_path / made.filename
    aside = tmp_path / "aside"
    for work in (verify, restore):
        shutil.copy(archive, aside)
        stages: list[str] = []

        def told(stage: str, done: int, total: int, stages: list[str] = stages) -> None:
            if not stages:
                archive.unlink()
                archive.write_bytes(b"another")
            stages.append(stage)

        for each in stored(settings):
            each.unlink()
        await work(settings, archive, progress=told)
        assert {"check", "tables", "index"} <= set(stages)
        aside.rename(archive)
    assert [each.read_bytes() for each in stored(settings)] == [PNG]


def stored(settings: Settings) -> list[Path]:
    """The files of the store."""
    return [each for each in Path(settings.file_store).rglob("*") if each.is_file()]


@pytest.mark.foul
async def test_a_database_with_a_limit_for_transactions_is_no_obstacle(
    settings: Settings, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(settings.database_url)
    version = connection.get_server_version().major
    if version < 17:
        await connection.close()
        pytest.skip(f"this PostgreSQL is {version}; 17 and newer have transaction_timeout")
    name = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {name} set transaction_timeout = '300ms'")
    await connection.close()
    dawdled = set()

    def dawdle(stage: str, done: int, total: int) -> None:
        if stage not in dawdled:
            dawdled.add(stage)
            time.sleep(0.5)

    made = await make(settings, tmp_path, include_files=False, progress=dawdle)
    assert dawdled == {"tables"}
    dawdled.clear()
    assert (await verify(settings, tmp_path / made.filename, progress=dawdle)).faults == []
    dawdled.clear()
    await restore(settings, tmp_path / made.filename, safety=tmp_path, progress=dawdle)
    assert {"tables", "index", "migrate"} <= dawdled


@pytest.mark.foul
async def test_with_all_rights_no_letter_is_sent_twice_and_the_audit_stays(
    settings: Settings, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(THEN)
    made = await make(settings, tmp_path, include_files=False)
    await connection.execute(SINCE)
    await connection.execute(
        "insert into audit (action, target_type, target_id) values ('key.revoked', 'key', 7)"
    )
    await connection.close()
    await restore(settings, tmp_path / made.filename, carry=False)
    connection = await asyncpg.connect(settings.database_url)
    for question in ("select count(*) from mails", "select kind from reminders"):
        assert [row[0] for row in await connection.fetch(question)] == STILL[question], question
    assert await connection.fetchval("select totp_secret from users where id = 3") == "old"
    actions = await connection.fetch("select action from audit order by id")
    assert [row["action"] for row in actions][-2:] == ["key.revoked", "restore.done"]
    await connection.close()


async def test_one_of_a_newer_program_is_refused_by_its_name(
    settings: Settings, root: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(settings, tmp_path, include_files=False)
    monkeypatch.setattr(migrations, "newest", lambda: 7)
    with pytest.raises(Impossible, match=r"of WarmDesk .* this program knows 7"):
        await restore(settings, tmp_path / made.filename)


@pytest.mark.foul
async def test_no_older_program_takes_the_schema_of_a_newer_one_away(
    settings: Settings, tmp_path: Path
) -> None:
    made = await make(settings, tmp_path, include_files=False)
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(
        "insert into schema_migrations (version, name, sha256, oldest_program)"
        " values (9999, '9999_more.sql', 'x', '0.1')"
    )
    before = await connection.fetchval("select id from install")
    with pytest.raises(Impossible, match="a newer WarmDesk"):
        await restore(settings, tmp_path / made.filename)
    assert await connection.fetchval("select id from install") == before
    await connection.close()


async def test_whoever_reads_one_table_after_another_does_not_end_a_restore(
    settings: Settings, tmp_path: Path
) -> None:
    made = await make(settings, tmp_path, include_files=False)
    reader = await asyncpg.connect(settings.database_url)
    watch = await asyncpg.connect(settings.database_url)
    reading = reader.transaction()
    await reading.start()
    await reader.execute("select from users")
    restoring = asyncio.create_task(restore(settings, tmp_path / made.filename))
    waits = (
        "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    async with asyncio.timeout(60):
        while not await watch.fetchval(waits):
            assert not restoring.done()
            await asyncio.sleep(0.01)
    # The other way round than the restore: PostgreSQL ends the one or the other.
    with contextlib.suppress(asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
        await reader.execute("set local lock_timeout = '1s'")
        await reader.execute("select from cards")
    await reading.rollback()
    assert (await restoring).manifest == made.manifest
    for each in (reader, watch):
        each.terminate()


async def test_a_check_that_nobody_waits_for_ends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(settings, tmp_path, include_files=False)
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    check = Reading.check

    def slow(self: Reading, step: Any = None) -> Manifest:
        began.set()
        go_on.wait(30)
        try:
            return check(self, step)
        except Broken:
            ended.set()
            raise

    monkeypatch.setattr(Reading, "check", slow)
    with holding(tmp_path / made.filename) as held:
        checking = asyncio.create_task(checked(held, ""))
        assert await asyncio.to_thread(began.wait, 30)
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        go_on.set()
        assert await asyncio.to_thread(ended.wait, 30)


async def test_a_table_of_somebody_else_is_neither_in_a_backup_nor_taken_away(
    settings: Settings, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute("create table figures (day date)")
    made = await make(settings, tmp_path, include_files=False)
    assert "figures" not in made.manifest.tables
    with pytest.raises(Impossible, match="figures"):
        await restore(settings, tmp_path / made.filename)
    await connection.execute("create schema theirs")
    await connection.execute("alter table figures set schema theirs")
    await restore(settings, tmp_path / made.filename)
    connection.terminate()
    connection = await asyncpg.connect(settings.database_url)
    assert await connection.fetchval("select count(*) from theirs.figures") == 0
    await connection.close()


async def made_anew(settings: Settings, directory: Path, change: Any) -> Path:
    """A backup that is whole, and was made by somebody else: `change` is given its manifest."""
    made = await make(settings, directory, include_files=False)
    told = made.manifest
    archive = Writing(directory / new_name(datetime.now(UTC), full=False, encrypted=False))
    await archive.begin()
    change(told)
    for member in Reading(directory / made.filename).members():
        if member.table in told.tables and member.table != "system_settings":
            assert told.tables[member.table].pieces == 1
            await archive.add(f"db/{member.table}/000001.copy", b"".join(member.pieces))
    wrong = b"1\n"
    told.tables["system_settings"] = Table(
        ["key"], 1, len(wrong), 1, hashlib.sha256(wrong).hexdigest()
    )
    await archive.add("db/system_settings/000001.copy", wrong)
    await archive.end(told)
    await archive.close()
    return archive.path


def without_cards(told: Manifest) -> None:
    del told.tables["cards"]


def without_origin(told: Manifest) -> None:
    told.origin = "somewhere"


def without_zone(told: Manifest) -> None:
    told.created_at = "2030-01-31T12:00:00"


def without_values(told: Manifest) -> None:
    """A setting without its value, which is not null: as it is written."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_cards, "cards is missing"),
        (without_origin, "manifest cannot be"),
        (without_zone, "manifest cannot be"),
        (without_values, "do not fit"),
    ],
)
async def test_what_somebody_else_made_is_refused_in_a_sentence(
    settings: Settings, tmp_path: Path, change: Any, words: str
) -> None:
    path = await made_anew(settings, tmp_path, change)
    before = await contents(settings.database_url)
    with pytest.raises(Impossible, match=words):
        await restore(settings, path)
    assert await contents(settings.database_url) == before


async def test_a_full_disk_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(1 << 20) as place:
        with pytest.raises(Unavailable) as raised:
            await make(settings, place, include_files=False)
        assert raised.value.code == "disk"
        monkeypatch.setattr(disk, "LOW", 0)
        monkeypatch.setattr(disk, "LOW_SHARE", 0.0)
        (place / "others").write_bytes(bytes(1 << 20))
        with pytest.raises(Unavailable) as raised:
            await make(settings, place, include_files=False)
        assert raised.value.code == "disk"
        assert [path.name for path in place.iterdir()] == ["others"]


@pytest.mark.foul
async def test_the_safety_copy_leads_back_to_files_that_no_row_named_meanwhile(
    settings: Settings, board: Board, alice: Person, desk: Desk, tmp_path: Path
) -> None:
    """It has none itself, and what was uploaded long ago looks like what a crash left."""
    made = await make(settings, tmp_path, include_files=True)
    card = await board.card("with a file")
    await upload(alice, f"{board.path}/cards/{card['id']}/attachments", ("a.png", PNG))
    long_ago = time.time() - 30 * 86_400
    for each in stored(settings):
        os.utime(each, (long_ago, long_ago))
    done = await restore(settings, tmp_path / made.filename, safety=tmp_path)
    assert done.safety is not None
    assert await FileKeeper(desk).delete_orphans() == 0
    await restore(settings, tmp_path / done.safety.filename)
    assert await FileKeeper(desk).delete_orphans() == 0
    assert [each.read_bytes() for each in stored(settings)] == [PNG]

    await restore(settings, tmp_path / made.filename)
    state = await asyncpg.connect(settings.database_url)
    await state.execute("update backup_state set restored_at = restored_at - interval '23 hours'")
    assert await FileKeeper(desk).delete_orphans() == 0
    await state.execute("update backup_state set restored_at = restored_at - interval '2 hours'")
    await state.close()
    assert await FileKeeper(desk).delete_orphans() == 1
    assert stored(settings) == []
