"""Migrations run once, in order, alone; what was interrupted leaves nothing."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests import pace
from tests.conftest import until
from warmdesk.db import migrations
from warmdesk.db.migrations import MigrationError, files
from warmdesk.db.pool import LOCK_MS

migrate = functools.partial(migrations.migrate, erasing=["board.card_deleted"])
STANDS = Path(__file__).parent / "data" / "migrations.sha256"
NAMES = [name for name, _ in files("migrations")]
FIRST = "-- oldest program: 0.1\ncreate table one (id int);"
SECOND = "-- oldest program: 0.1\ncreate table two (id int);"

KILLED_IN_THE_MIDDLE = """
import asyncio, sys
from warmdesk.db import migrations
found = migrations.files
slow = ("0002_slow.sql", '''-- oldest program: 0.1
create table half_done (id int);
select pg_sleep(1.5);
''')
first = ("0001_first.sql", '''-- oldest program: 0.1
create table one (id int);''')
migrations.files = lambda folder: [first, slow] if folder == "migrations" else []
asyncio.run(migrations.migrate(sys.argv[1], erasing=[]))
"""


@pytest.fixture
async def bare_url(servers: Any, keeper: Any) -> AsyncIterator[str]:
    """A database with nothing in it at all."""
    await keeper.execute("create database bare strategy file_copy")
    try:
        yield servers.dsn("bare")
    finally:
        await keeper.execute("drop database bare with (force)")


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The migrations this program has, to be changed by a test; no shapes, no changes."""
    held = {"0001_first.sql": FIRST}

    def some_files(folder: str) -> list[tuple[str, str]]:
        return sorted(held.items()) if folder == "migrations" else []

    monkeypatch.setattr(migrations, "files", some_files)
    return held


async def ask(dsn: str, question: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_an_empty_database_gets_everything_and_a_second_time_nothing(bare_url: str) -> None:
    assert await migrate(bare_url) == NAMES
    assert await migrate(bare_url) == []
    assert await ask(bare_url, "select count(*) from schema_migrations") == len(NAMES)


def test_the_release_before_finds_its_functions() -> None:
    texts = "".join(text for folder in ("shapes", "changes") for _, text in files(folder))
    dropped = set(re.findall(r"drop function if exists (\w+)", texts))
    assert dropped
    assert dropped <= set(re.findall(r"create or replace function (\w+)", texts))
    assert "letters_to" in texts


def test_a_migration_that_stands_is_not_edited() -> None:
    """Where it ran, an edited one is refused (below); where it did not, it makes other tables. So
    each has its line here. One that never left your machine may have another.
    """
    stands = [line.split() for line in STANDS.read_text("utf-8").splitlines()]
    is_now = [
        [hashlib.sha256(text.encode()).hexdigest(), name] for name, text in files("migrations")
    ]
    lines = "\n".join(
        f"{digest}  {name}" for digest, name in is_now if [digest, name] not in stands
    )
    assert is_now == stands, (
        f"write a new migration; new ones have these lines in {STANDS}:\n{lines}"
    )


async def test_days_that_were_none_are_mended(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before(folder: str) -> list[tuple[str, str]]:
        return [each for each in files(folder) if folder == "migrations" and each[0] < "0045"]

    with monkeypatch.context() as then:
        then.setattr(migrations, "files", before)
        await migrate(bare_url)
    await ask(
        bare_url,
        """
        with u as (
            insert into users (email, username, password_hash, display_name)
            values ('a@b.org', 'ann', '', 'Ann') returning id
        ), p as (
            insert into projects (name, slug, key_prefix, created_by_id)
            select 'P', 'p', 'P', id from u returning id
        ), c as (
            insert into columns (project_id, name, position) select id, 'C', 1 from p
            returning id, project_id
        ), k as (
            insert into cards
                (project_id, column_id, card_number, title, position, start_date, due_date)
            select c.project_id, c.id, n, 'K', n, d.start_date, d.due_date
            from c, (
                values (1, date '-infinity', date '2026-04-04'), (2, null, date 'infinity')
            ) d (n, start_date, due_date)
            returning id
        ), r as (
            insert into reminders (card_id, user_id, date, kind)
            select k.id, u.id, 'infinity', 'day' from k, u
        )
        insert into time_entries (user_id, date, minutes, created_at)
        select u.id, d.date, 5, '2026-04-05 10:00Z'
        from u, (values (date '-infinity'), ('infinity'), ('2026-04-04')) d (date)
        """,
    )
    assert (await migrate(bare_url))[0].startswith("0045")
    days = "select string_agg(date::text, ' ' order by date) from time_entries"
    assert await ask(bare_url, days) == "2026-04-04 2026-04-05 2026-04-05"
    dates = "select array_agg(array[start_date, due_date]::text order by card_number) from cards"
    assert await ask(bare_url, dates) == ["{NULL,2026-04-04}", "{NULL,NULL}"]
    assert await ask(bare_url, "select count(*) from reminders") == 0
    for table, field in (("time_entries", "date"), ("cards", "start_date"), ("cards", "due_date")):
        with pytest.raises(asyncpg.CheckViolationError):
            await ask(bare_url, f"update {table} set {field} = 'infinity'")


async def test_two_at_once_take_turns(bare_url: str) -> None:
    ran = await asyncio.gather(*(migrate(bare_url) for _ in range(4)))
    assert sorted(ran, key=len) == [[], [], [], NAMES]


SHAPE = """
create type thing_shape as (%s);
create or replace function thing() returns json language sql stable as $$
select row_to_json(row(%s)::thing_shape)
$$;
"""


async def test_a_shape_gets_new_fields_beside_who_uses_it(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A type that is as it was stays; one that changes ends no plan and no statement under way, nor
    a function of before beside which there is one with other arguments now.
    """
    shapes = {"things.sql": SHAPE % ("a integer", "1")}
    monkeypatch.setattr(
        migrations, "files", lambda folder: list(shapes.items()) if folder == "shapes" else []
    )
    await migrate(bare_url)
    connection = await asyncpg.connect(bare_url)
    try:
        question = await connection.prepare("select thing()::text")
        kinds = "select array_agg(oid order by oid) from pg_type where typname ~ '^thing_shape_'"
        first = await connection.fetchval(kinds)
        async with connection.transaction():
            slow = aiter(connection.cursor("select thing() from generate_series(1, 3)", prefetch=1))
            said = [(await anext(slow))[0]]
            await migrate(bare_url)
            assert await ask(bare_url, kinds) == first
            shapes["things.sql"] = SHAPE % ("a integer, b text", "1, 'x'")
            await migrate(bare_url)
            said += [row[0] async for row in slow]
        said.append(await question.fetchval())
        shapes["things.sql"] = SHAPE % ("b text, a integer", "'x', 2")
        await migrate(bare_url)
        said.append(await question.fetchval())
        assert said == ['{"a":1}'] * 3 + ['{"a":1,"b":"x"}', '{"b":"x","a":2}']
        shapes["things.sql"] = (SHAPE % ("c integer", "n")).replace("thing()", "thing(n integer)")
        await migrate(bare_url)
        assert await ask(bare_url, "select thing(3)::text") == '{"c":3}'
        assert await question.fetchval() == '{"b":"x","a":2}'
        assert await ask(bare_url, "select thing()::text") == '{"b":"x","a":2}'
    finally:
        await connection.close()


async def test_an_edited_migration_is_refused(bare_url: str, schema: dict[str, str]) -> None:
    await migrate(bare_url)
    schema["0001_first.sql"] += " -- better"
    with pytest.raises(MigrationError, match=r"0001_first\.sql was edited"):
        await migrate(bare_url)


async def test_a_migration_that_fails_leaves_the_ones_before_it(
    bare_url: str, schema: dict[str, str]
) -> None:
    schema["0002_second.sql"] = SECOND + "select 1 / 0;"
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(bare_url)
    assert await ask(bare_url, "select to_regclass('one')::text") == "one"
    assert await ask(bare_url, "select to_regclass('two')::text") is None

    schema["0002_second.sql"] = SECOND
    assert await migrate(bare_url) == ["0002_second.sql"]


async def test_a_migration_must_name_its_oldest_program(
    bare_url: str, schema: dict[str, str]
) -> None:
    schema["0001_first.sql"] = "create table one (id int);"
    with pytest.raises(MigrationError, match="does not name its oldest program"):
        await migrate(bare_url)
    assert await ask(bare_url, "select to_regclass('one')::text") is None


async def test_a_newer_schema_that_allows_this_program_is_served_as_it_is(
    bare_url: str, schema: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema["0002_second.sql"] = SECOND
    await migrate(bare_url)
    del schema["0002_second.sql"]

    def no_replacing(connection: Any, erasing: Any) -> Any:
        raise AssertionError("an older program must not replace a newer one's functions")

    monkeypatch.setattr(migrations, "_replace_functions", no_replacing)
    assert await migrate(bare_url) == []


async def test_a_newer_schema_that_needs_a_newer_program_is_refused(
    bare_url: str, schema: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema["0002_second.sql"] = SECOND.replace("0.1", "99.0")
    await migrate(bare_url)
    del schema["0002_second.sql"]
    with pytest.raises(MigrationError, match=r"needs WarmDesk 99\.0 or newer"):
        await migrate(bare_url)


async def test_kill_9_in_the_middle_leaves_nothing_half_done(
    bare_url: str, schema: dict[str, str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_IN_THE_MIDDLE, bare_url
    )
    async with asyncio.timeout(20 * pace.stretch()):
        asleep = "select count(*) from pg_stat_activity where datname = 'bare' and query ~ 'half_'"
        while not await ask(bare_url, f"{asleep} and wait_event = 'PgSleep'"):
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()

    schema["0002_slow.sql"] = SECOND
    assert await migrate(bare_url) == ["0002_slow.sql"]
    assert await ask(bare_url, "select to_regclass('half_done')::text") is None
    assert await ask(bare_url, "select count(*) from schema_migrations") == 2


async def test_shapes_are_replaced_together_or_not_at_all(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that reads between the two statements would see half of a new form."""
    answer = "create or replace function answer() returns int language sql as 'select {}'"
    held = {"shapes": [("a.sql", answer.format(1))], "changes": []}
    monkeypatch.setattr(migrations, "files", lambda folder: held.get(folder, []))
    await migrate(bare_url)

    held["shapes"] = [("a.sql", answer.format(2)), ("b.sql", "create function broken")]
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await migrate(bare_url)
    assert await ask(bare_url, "select answer()") == 1


async def test_what_a_newer_program_declared_as_erasing_stays_when_an_older_one_starts_again(
    bare_url: str,
) -> None:
    """Both may run beside each other, and neither may leave a text that the other deleted."""
    await migrate(bare_url)
    await migrate(bare_url, erasing=["board.card_deleted", "board.label_deleted"])
    await migrate(bare_url)
    named = "array['board.card_deleted', 'board.label_deleted', 'board.card_created']"
    question = f"select array_agg(erases(type) order by place) from unnest({named})"
    assert await ask(bare_url, f"{question} with ordinality t (type, place)") == [True, True, False]


# Beside servers that go on

WIDER = "-- oldest program: 0.1\nalter table one add column wide text;"
INDEX = (
    "-- oldest program: 0.1\n-- Names; of things.\ncreate index concurrently one_id on one (id);"
)
WAITS = """
    select array_agg(xact_start::text) from pg_stat_activity
    where datname = 'bare' and wait_event_type = 'Lock' and query ~ '(wide text|concurrently)'
"""
VALID = "select indisvalid from pg_index where indexrelid = to_regclass('one_id')"


@pytest.fixture
async def reader(bare_url: str, schema: dict[str, str]) -> AsyncIterator[Any]:
    """Who has read the first migration's table, and goes on for long, as a backup does."""
    await migrate(bare_url)
    connection = await asyncpg.connect(bare_url)
    await connection.execute("begin isolation level repeatable read")
    await connection.fetch("select * from one")
    yield connection
    await connection.close()


async def test_who_writes_is_not_kept_waiting_by_a_migration_that_waits(
    bare_url: str, schema: dict[str, str], reader: Any
) -> None:
    """A statement of the server gives up after so long."""
    schema["0002_wider.sql"] = WIDER
    writer = await asyncpg.connect(bare_url)
    await writer.execute(f"set lock_timeout = {LOCK_MS}")
    migrating = asyncio.create_task(migrate(bare_url))
    tries: set[str] = set()
    async with asyncio.timeout(20 * pace.stretch()):
        while len(tries) < 3:
            tries.update(await ask(bare_url, WAITS) or ())
            await writer.execute("insert into one values (1)")
            assert not migrating.done()
    await reader.execute("rollback")
    assert await migrating == ["0002_wider.sql"]
    assert await writer.fetchval("select count(wide) from one") == 0
    await writer.close()


async def test_a_migration_that_never_gets_its_table_says_so(
    bare_url: str, schema: dict[str, str], reader: Any
) -> None:
    schema["0002_wider.sql"] = WIDER
    with pytest.raises(MigrationError, match=r"0002_wider\.sql needs a table that somebody holds"):
        await migrate(bare_url, limit=1.0)
    await reader.execute("rollback")
    assert await migrate(bare_url, limit=1.0) == ["0002_wider.sql"]


async def test_a_migration_that_is_not_let_in_says_so(bare_url: str) -> None:
    other = await asyncpg.connect(bare_url)
    await other.execute("select pg_advisory_lock($1)", migrations.LOCK)
    with pytest.raises(MigrationError, match="another process brings the schema up to date"):
        await migrate(bare_url, limit=0.3)
    restoring = await asyncpg.connect(bare_url)
    async with restoring.transaction():
        with pytest.raises(TimeoutError):
            await migrations.hold(restoring, limit=0.3)
        await other.close()
        await migrations.hold(restoring, limit=10.0)
        with pytest.raises(MigrationError, match="or restores a backup"):
            await migrate(bare_url, limit=0.3)
    await restoring.close()


async def test_an_index_is_made_while_others_write(
    bare_url: str, schema: dict[str, str], reader: Any
) -> None:
    """It waits for those who began before it, for as long as they want, and holds up nobody."""
    schema["0002_index.sql"] = INDEX
    writer = await asyncpg.connect(bare_url)
    await writer.execute(f"set lock_timeout = {LOCK_MS}")
    migrating = asyncio.create_task(migrate(bare_url))
    beside = asyncio.create_task(migrate(bare_url))
    longer = f"clock_timestamp() - query_start > interval '{3 * migrations.LOCK_MS} ms'"
    await until(lambda: ask(bare_url, f"{WAITS} and {longer}"), limit=20)
    await writer.execute("insert into one select n from generate_series(1, 100) n")
    assert not await ask(bare_url, VALID)
    await reader.execute("rollback")
    ran = await asyncio.gather(migrating, beside)
    assert sorted(ran) == [[], ["0002_index.sql"]]
    assert await ask(bare_url, VALID)
    await writer.close()


async def test_an_index_whose_making_was_interrupted_is_made_anew(
    bare_url: str, schema: dict[str, str], reader: Any
) -> None:
    schema["0002_index.sql"] = INDEX
    migrating = asyncio.create_task(migrate(bare_url))
    await until(lambda: ask(bare_url, WAITS), limit=20)
    assert await ask(
        bare_url,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = 'bare' and query ~ '^create index'",
    )
    with pytest.raises((asyncpg.PostgresError, ConnectionError)):
        await migrating
    await reader.execute("rollback")
    assert await ask(bare_url, VALID) is False, "there is nothing left to be taken away"
    assert await migrate(bare_url) == ["0002_index.sql"]
    assert await ask(bare_url, VALID)
    schema["0003_none.sql"] = "-- oldest program: 0.1\ndrop index concurrently one_id;"
    assert await migrate(bare_url) == ["0003_none.sql"]
    assert await ask(bare_url, VALID) is None


async def test_an_index_that_the_first_try_made_is_not_made_again(
    bare_url: str, schema: dict[str, str]
) -> None:
    """It may have taken hours, and the servers use it."""
    await migrate(bare_url)
    which = "select to_regclass('one_id')::oid"
    await ask(bare_url, "create index one_id on one (id)")
    first = await ask(bare_url, which)
    schema["0002_index.sql"] = INDEX + "\ncreate index concurrently one_more on one (id);"
    assert await migrate(bare_url) == ["0002_index.sql"]
    assert await ask(bare_url, which) == first
    assert await ask(bare_url, "select to_regclass('one_more')::text") == "one_more"


@pytest.mark.parametrize("how", ["if not exists one_id on", "on"])
async def test_an_index_that_could_not_be_told_when_it_is_interrupted_is_refused(
    bare_url: str, schema: dict[str, str], how: str
) -> None:
    schema["0002_index.sql"] = INDEX.replace("one_id on", how)
    with pytest.raises(MigrationError, match=r"0002_index\.sql makes an index `if not exists`, or"):
        await migrate(bare_url)


async def test_an_index_that_is_made_concurrently_has_a_file_of_its_own(
    bare_url: str, schema: dict[str, str]
) -> None:
    """A file with more would be half done when it is interrupted."""
    schema["0001_first.sql"] = FIRST + "\n" + INDEX
    with pytest.raises(MigrationError, match=r"0001_first\.sql makes an index concurrently and"):
        await migrate(bare_url)
    assert await ask(bare_url, "select to_regclass('one')::text") is None


async def test_a_restore_makes_that_index_in_its_transaction(
    bare_url: str, schema: dict[str, str]
) -> None:
    schema["0002_index.sql"] = INDEX
    connection = await asyncpg.connect(bare_url)
    with suppress(ZeroDivisionError):
        async with connection.transaction():
            await migrations.lay(connection)
            assert await connection.fetchval(VALID)
            raise ZeroDivisionError
    await connection.close()
    assert await ask(bare_url, "select to_regclass('one')::text") is None


# What a migration may do beside servers that go on: docs/contributing.rst, "Change a table"

RULED_FROM = 42
SMALL = {"install", "backup_state", "secret_prints", "system_settings", "shows_users"}
"""Tables of a few rows."""
FEW = {
    ("0048_days_mended.sql", table): "the days that no list could show"
    for table in ("time_entries", "cards", "reminders")
}
"""Rows of a table that grows that are written all the same, because they are few."""


def faults(name: str, text: str, before: list[str]) -> list[str]:
    """What a migration must not do to tables that others use meanwhile; `before`, the texts of the
    migrations before it.
    """
    text = re.sub(r"--.*", "", text).lower()
    made = set(re.findall(r"create table (\w+)", text)) | SMALL
    found = []
    statements = [" ".join(each.split()) for each in text.split(";") if each.strip()]
    validating = [each for each in statements if "validate constraint" in each]
    if validating and validating != statements:
        found.append("a constraint is validated in a file of such statements alone")
    for constraint in re.findall(r"validate constraint (\w+)", text):
        if not any(re.search(rf"add constraint {constraint}\b", each.lower()) for each in before):
            found.append(f"{constraint} is validated in a file after the one that adds it")
    for each in statements:
        if (written := WRITES.match(each)) and written[1] not in made:
            if (name, written[1]) not in FEW:
                found.append(f"{written[1]} may be long: a job writes its rows, in pieces")
        elif (
            index := re.match(r"create (?:unique )?index (?!concurrently).* on (\w+)", each)
        ) and (index[1] not in made):
            found.append(f"an index on {index[1]} is made concurrently")
        elif (altered := re.match(r"alter table (?:only )?(\w+) (.*)", each)) and (
            altered[1] not in made
        ):
            actions = re.split(r", (?=add |alter |drop |validate |set )", altered[2])
            found += [w for a in actions for how, w in ALTERED.items() if re.search(how, a)]
    return found


WRITES = re.compile(
    r"(?:with .*?)?(?:update|insert into|delete from|truncate(?: table)?|merge into) (\w+)"
)
ALTERED = {
    r"add constraint \w+ (?:check|foreign key)(?!.* not valid$)": "it is added `not valid`",
    r"add column .*\b(?:references|check)\b": "the constraint of a column is added by itself",
    r"add (?:constraint \w+ )?(?:unique|primary key|exclude)(?! using index)": (
        "a constraint goes by an index that was made concurrently before"
    ),
    r"\bset not null": "what is never null is a check, validated in the next file",
    r"\bset (?:data )?type\b|alter column \w+ type\b": "a column of another type is another column",
    r"default (?!null\b|true\b|false\b|-?\d|')": "a default is a constant",
    r"\bgenerated always as\b(?! identity)": "a generated column writes every row",
}


@pytest.mark.parametrize("name", [name for name in NAMES if int(name[:4]) >= RULED_FROM])
def test_a_migration_lets_people_work(name: str) -> None:
    texts = dict(files("migrations"))
    assert faults(name, texts[name], [texts[each] for each in NAMES if each < name]) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("update cards set title = ''", "cards may be long"),
        ("with x as (select 1) delete from cards", "cards may be long"),
        ("insert into audit (ip) select ''", "audit may be long"),
        ("create index a on cards (id)", "made concurrently"),
        ("create unique index a on cards (id)", "made concurrently"),
        ("alter table cards add constraint a check (id > 0)", "not valid"),
        ("alter table cards add constraint a foreign key (id) references users (id)", "not valid"),
        (
            "alter table cards add constraint a check (id > 0),"
            " add constraint b check (id > 1) not valid",
            "not valid",
        ),
        ("alter table cards add column a bigint references users (id)", "by itself"),
        ("alter table cards add column a bigint check (a > 0)", "by itself"),
        ("alter table cards add constraint a unique (id)", "made concurrently before"),
        ("alter table cards alter column due_date set not null", "never null"),
        ("alter table cards alter column title type varchar", "another type"),
        ("alter table cards add column a uuid default gen_random_uuid()", "constant"),
        (
            "alter table cards add constraint a check (id > 0) not valid;\n"
            "alter table cards validate constraint a",
            "alone",
        ),
        ("alter table cards validate constraint a", "after the one that adds it"),
        ("alter table cards add column a bigint not null default 0", None),
        ("alter table cards add constraint a check (id > 0) not valid", None),
        ("create table polls (id bigint primary key, a bigint references users (id))", None),
        ("create table polls (id bigint);\ncreate index a on polls (id)", None),
        ("create index concurrently a on cards (id)", None),
        ("update backup_state set last_ok = null", None),
        ("-- update cards\nalter table cards drop constraint a", None),
    ],
)
def test_what_a_migration_must_not_do_is_seen(text: str, fault: str | None) -> None:
    found = faults("0099_some.sql", text + ";", [])
    assert any(fault in each for each in found) if fault else found == [], found
