"""Backups and restores under the eyes of people, by the command line, and killed at any moment."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.backups.test_restoring import contents
from tests.checkers.mirror import mirror
from tests.conftest import until
from tests.journeys.conftest import Process, Visit, furnished
from tests.journeys.running import SECRETS, command, variables
from tests.person import Person
from warmdesk.backups.archive import Reading
from warmdesk.backups.making import OWN

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
    found = [b"".join(m.pieces) for m in Reading(path).members() if m.table == table]
    return b"".join(found).decode()


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


async def killed(seconds: float, *arguments: str, **settings: Any) -> None:
    """Run a command and kill it after so long, unless it ended; then wait until PostgreSQL has
    nothing to do for it any more.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "warmdesk", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=variables(**settings),
        cwd="/",
    )
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
