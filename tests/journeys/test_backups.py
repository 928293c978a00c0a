"""Backups and restores under the eyes of people, by the command line, and killed at any moment."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.backups.test_restoring import contents
from tests.checkers.mirror import mirror
from tests.conftest import fast_directory, until
from tests.journeys.conftest import Crowd, OwnPostgres, Process, Visit, furnished
from tests.journeys.running import SECRETS, command, variables
from tests.person import Person
from warmdesk.backups.archive import Reading
from warmdesk.backups.making import OWN
from warmdesk.db.queries import sql
from warmdesk.doctor.postgresql import OLDEST
from warmdesk.embedded import Postgres

pytestmark = [pytest.mark.timeout(300), pytest.mark.foul]

KILLS = 20
MESSAGES = 20_000
HEAL_SECONDS = 30.0
TOLD = {"feeds", "events", "audit", *OWN}
"""What says that there was a restore."""
FILL = """
insert into chat_messages (project_id, user_id, body)
select p.id, 2, repeat('words and words ', 20) || n from projects p, generate_series(1, $1) n
"""


async def test_who_is_connected_ends_with_what_came_back(
    fleet: list[Process], visit: Visit, base: Path
) -> None:
    """And what was answered with success is there, or in the copy that was made before."""
    one, other = fleet
    board = await furnished(one, visit)
    root = visit(one, "root", patience=60.0)
    people = [
        visit(process, name, patience=60.0) for process in fleet for name in ("olga", "alice")
    ]
    said: list[str] = []
    over = asyncio.Event()

    async def talk(person: Person, word: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            body = {"body": f"{word} {number}"}
            answer = await person.request("POST", f"{board.path}/chat/messages", body)
            if answer.status == 201:
                said.append(body["body"])
            await asyncio.sleep(0.02)

    async with AsyncExitStack() as stack:
        viewers = [
            await stack.enter_async_context(mirror(visit(process, name)))
            for process in fleet
            for name in ("olga", "bob")
        ]
        talking = [
            asyncio.create_task(talk(person, f"w{number}")) for number, person in enumerate(people)
        ]
        await until(lambda: len(said) > 40, limit=30)
        made = await root.post("/admin/backup", {})
        kept = len(said)
        await until(lambda: len(said) > kept + 40, limit=30)
        done = await root.post("/admin/restore", {"filename": made["filename"]}, status=200)
        back = len(said)
        await until(lambda: len(said) > back + 40, limit=60)
        over.set()
        await asyncio.gather(*talking)
        for viewer in viewers:
            await viewer.compare(limit=HEAL_SECONDS)
    directory = base / f"server-{one.port}" / "backups"
    copied = rows(directory / done["safety_backup"], "chat_messages")
    after = await visit(other, "olga").get(f"{board.path}/chat/messages?limit=200")
    there = {message["body"] for message in after}
    assert not [body for body in said if f"\t{body}\t" not in copied and body not in there]
    assert there - set(said[:kept]), "people go on"


def rows(path: Path, table: str) -> str:
    """The rows of a table in a backup."""
    return snapshot(path)[table].decode()


def snapshot(path: Path) -> dict[str, bytes]:
    """The rows of each table in a backup."""
    reading = Reading(path)
    found: dict[str, bytes] = {}
    for member in reading.members():
        if member.table:
            found[member.table] = found.get(member.table, b"") + b"".join(member.pieces)
    assert reading.manifest is not None
    return {name: found.get(name, b"") for name in reading.manifest.tables}


class Installed(OwnPostgres):
    """A PostgreSQL that is no part of ours, in a directory of its own."""

    def __init__(self, base: Path, programs: Path) -> None:
        self._programs = programs
        super().__init__(base, durable=False)

    def binary(self, name: str) -> str:
        return str(self._programs / name)

    def _run(self, name: str, *arguments: str) -> str:
        """What only a newer initdb knows is left out."""
        return super()._run(name, *(each for each in arguments if "builtin" not in each))


def installed() -> Path:
    """The programs of the oldest PostgreSQL of this machine that we work with."""
    places = {path.resolve().parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    if there := shutil.which("postgres"):
        places.add(Path(there).resolve().parent)
    found = []
    for place in places:
        said = subprocess.run(
            [place / "postgres", "--version"], capture_output=True, text=True, check=False
        )
        version = re.search(r"[0-9]+", said.stdout)
        if (place / "initdb").exists() and version and int(version[0]) >= OLDEST[0]:
            found.append((int(version[0]), place))
    if not found:
        pytest.skip(f"no PostgreSQL from {OLDEST[0]} on is installed: apt install postgresql")
    return min(found)[1]


@pytest.fixture(params=["external", "embedded"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, Any], Postgres]]:
    """Settings of an installation that has nothing yet, and its PostgreSQL."""
    directory = Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory()))
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    given: dict[str, Any] = {"data_dir": directory / "data"}
    postgres: Postgres
    if request.param == "external":
        postgres = Installed(directory / "own", installed())
        postgres.start()
        given |= {name: secrets[name] for name in ("jwt_secret", "secret_key")}
        given |= {"database_url": postgres.dsn, "redis_url": "redis://localhost:1"}
    else:
        postgres = Postgres(directory / "data")
    try:
        yield given, postgres
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


async def test_what_eight_write_meanwhile_is_one_moment_and_comes_back_anywhere(
    fleet: list[Process], visit: Visit, base: Path, elsewhere: tuple[dict[str, Any], Postgres]
) -> None:
    """Row by row what the snapshot has, also on an older PostgreSQL than the one it was made on."""
    one, _ = fleet
    board = await furnished(one, visit)
    names = ("olga", "alice") * 2
    crowd = Crowd(board, [visit(process, name) for process in fleet for name in names])
    assert len(crowd.people) == 8
    for person in crowd.people:
        await person.token()
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.work_until(over))
        await crowd.goes_on(80)
        told = list(crowd.titles)
        made = await visit(one, "root", patience=60.0).post("/admin/backup", {})
        await crowd.goes_on(40)
        over.set()
    path = base / f"server-{one.port}" / "backups" / made["filename"]
    was = snapshot(path)
    kept = was["cards"] + was["chat_messages"]
    assert not [title for title in told if title.encode() not in kept]

    given, postgres = elsewhere
    status, _, aside = await command("restore", "--yes", str(path), **given)
    assert status == 0, aside
    if not postgres.alive():
        postgres.start()
    found = await contents(postgres.dsn)
    assert found.keys() == was.keys() | OWN
    assert [name for name, rows in shown(found).items() if rows != was[name]] == []
    for name in ("events", "audit"):
        lost = set(was[name].splitlines()) - set(found[name].splitlines())
        assert not [line for line in lost if not line.startswith(b"control")], name
    connection = await asyncpg.connect(postgres.dsn)
    assert [row["fault"] for row in await sql.server.faults(connection)] == []
    await connection.close()


@pytest.fixture
async def given(
    database_url: str, redis_url: str, tmp_path: Path, connection: Any
) -> dict[str, Any]:
    """Settings of a command, for a database that takes a moment to copy."""
    await connection.execute(
        "insert into projects (name, slug, key_prefix, created_by_id) values ('D', 'd', 'D', 2)"
    )
    await connection.execute(
        "insert into project_members (project_id, user_id, role)"
        " select id, 2, 'owner' from projects"
    )
    await connection.execute(FILL, MESSAGES)
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    return {
        "database_url": database_url,
        "redis_url": redis_url,
        "backup_dir": tmp_path / "backups",
        "data_dir": tmp_path / "data",
        **{name: secrets[name] for name in ("jwt_secret", "secret_key")},
    }


async def test_by_the_command_line(given: dict[str, Any], tmp_path: Path) -> None:
    status, out, aside = await command("backup", "--json", **given)
    assert status == 0, aside
    made = json.loads(out)
    path = Path(made["path"])
    status, out, aside = await command("backup", "verify", str(path), **given)
    assert (status, "is whole" in out) == (0, True), aside
    before = await contents(given["database_url"])
    status, out, aside = await command("restore", path.name, **given)
    assert (status, "--yes" in aside) == (2, True)
    assert await contents(given["database_url"]) == before
    nothing = tmp_path / "nothing"
    status, out, aside = await command("restore", str(path), data_dir=nothing)
    assert (status, "--yes" in aside) == (2, True)
    assert not (nothing / "postgres").exists(), "it was asked before anything is made"
    connection = await asyncpg.connect(given["database_url"])
    await connection.execute("delete from chat_messages where id % 2 = 0")
    await connection.close()
    status, out, aside = await command("restore", "--yes", path.name, "--json", **given)
    assert status == 0, aside
    after = await contents(given["database_url"])
    assert after["chat_messages"] == before["chat_messages"]
    assert Path(json.loads(out)["safety_backup"]).exists()
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[:-7])
    for words in (("backup", "verify", str(cut)), ("restore", "--yes", str(cut))):
        status, out, aside = await command(*words, **given)
        (line,) = [line for line in aside.splitlines() if line.startswith("warmdesk: ")]
        assert (status, out) == (1, "")
        assert cut.name in line
    assert await contents(given["database_url"]) == after


async def test_one_made_into_the_directory_is_noted_and_the_oldest_goes(
    given: dict[str, Any], tmp_path: Path
) -> None:
    """As one by the clock is; one that is made elsewhere is neither."""
    connection = await asyncpg.connect(given["database_url"])
    await connection.execute("insert into system_settings (key, value) values ('backup_keep', '2')")
    elsewhere = tmp_path / "elsewhere"
    status, out, aside = await command("backup", "--into", str(elsewhere), "--json", **given)
    assert status == 0, aside
    assert [str(path) for path in elsewhere.iterdir()] == [json.loads(out)["path"]]
    assert (await connection.fetchrow("select * from backup_state"))["last_run_at"] is None
    directory = Path(given["backup_dir"])
    assert not directory.exists()
    made: list[str] = []
    for into in ((), (), ("--into", str(directory))):
        status, out, aside = await command("backup", "--json", *into, **given)
        assert status == 0, aside
        made.append(Path(json.loads(out)["path"]).name)
        state = await connection.fetchrow("select * from backup_state")
        assert (state["last_filename"], state["last_ok"]) == (made[-1], True)
        assert {path.name for path in directory.iterdir()} == set(made[-2:])
    for _ in range(2):
        await command("backup", "--into", str(elsewhere), **given)
    assert len(list(elsewhere.iterdir())) == 3
    assert {path.name for path in directory.iterdir()} == set(made[-2:])
    below = given | {"backup_dir": directory / made[-1] / "below a file"}
    status, _, aside = await command("backup", **below)
    assert (status, aside.splitlines()[-1].partition(" ")[0]) == (1, "warmdesk:"), aside
    state = await connection.fetchrow("select * from backup_state")
    assert (state["last_filename"], state["last_ok"]) == ("", False)
    await connection.execute("delete from schema_migrations where version > 40")
    status, _, aside = await command("backup", **given)
    assert (status, "nothing is noted" in aside) == (0, True)
    assert len(list(directory.iterdir())) == 3
    assert await connection.fetchrow("select * from backup_state") == state
    await connection.close()


SCRATCH = """
select s.datname from pg_database d
inner join pg_database s on s.datname like format('warmdesk\\_verify\\_%s\\_%%', d.oid)
where d.datname = current_database()
"""


async def test_what_a_verification_that_was_killed_left_the_next_one_takes_away(
    given: dict[str, Any],
) -> None:
    """But not what another one uses."""
    connection = await asyncpg.connect(given["database_url"])

    async def scratch() -> set[str]:
        return {row["datname"] for row in await connection.fetch(SCRATCH)}

    _, out, _ = await command("backup", "--json", **given)
    verify = ("backup", "verify", json.loads(out)["path"])
    running = []
    for number in (1, 2, 3):
        running.append(await begun(*verify, **given))

        async def is_there(number: int = number) -> bool:
            return len(await scratch()) == number

        await until(is_there, limit=30)
        running[-1].send_signal(signal.SIGSTOP)
    left = await scratch()
    for process in running[:2]:
        process.kill()
        await process.wait()
    assert await scratch() == left
    status, _, aside = await command(*verify, **given)
    assert status == 0, aside
    (used,) = await scratch()
    assert used in left
    running[2].send_signal(signal.SIGCONT)
    assert await running[2].wait() == 0
    assert await scratch() == set()
    await connection.close()


async def test_a_restore_that_is_killed_leaves_the_old_state_whole_or_the_new_one(
    given: dict[str, Any],
) -> None:
    dsn = given["database_url"]
    _, out, _ = await command("backup", "--json", **given)
    path = json.loads(out)["path"]
    whole = shown(await contents(dsn))
    began = time.monotonic()
    await command("restore", "--yes", path, **given)
    lasts = time.monotonic() - began
    chance = random.Random(1)
    ended = set()
    for number in range(KILLS):
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "insert into chat_messages (project_id, user_id, body) select id, 2, $1 from projects",
            f"after the backup {number}",
        )
        here = await connection.fetchval("select id from install")
        await connection.close()
        before = shown(await contents(dsn))
        await killed(chance.uniform(0.2, 1.1) * lasts, "restore", "--yes", path, **given)
        connection = await asyncpg.connect(dsn)
        is_new = await connection.fetchval("select id from install") != here
        await connection.close()
        ended.add(is_new)
        after = shown(await contents(dsn))
        assert after == (whole if is_new else before), number
    assert False in ended


async def test_a_backup_that_is_killed_leaves_nothing_that_looks_like_one(
    given: dict[str, Any],
) -> None:
    directory = Path(given["backup_dir"])
    began = time.monotonic()
    await command("backup", **given)
    lasts = time.monotonic() - began
    chance = random.Random(2)
    for _ in range(KILLS):
        await killed(chance.uniform(0.4, 1.05) * lasts, "backup", **given)
        for path in directory.glob("*.tar.gz"):
            assert Reading(path).check().tables["chat_messages"].rows == MESSAGES
            path.unlink()
    status, _, aside = await command("backup", **given)
    assert status == 0, aside
    assert [path.suffix for path in directory.iterdir()] == [".gz"]


def shown(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: rows for name, rows in found.items() if name not in TOLD}


async def begun(*arguments: str, **settings: Any) -> asyncio.subprocess.Process:
    """A command that runs."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmdesk", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=variables(**settings),
        cwd="/",
    )


async def killed(seconds: float, *arguments: str, **settings: Any) -> None:
    """Run a command and kill it after so long, unless it ended; then wait until PostgreSQL has
    nothing to do for it any more.
    """
    process = await begun(*arguments, **settings)
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    connection = await asyncpg.connect(settings["database_url"])
    try:

        async def idle() -> bool:
            busy: int = await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and state <> 'idle' and pid <> pg_backend_pid()"
            )
            return busy == 0

        await until(idle, limit=30)
    finally:
        await connection.close()
