"""An upgrade: another program, with another schema, takes over from one that serves.

Beside it people write and others watch. Nothing that is asked fails, no event is lost, and what
could not take over changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.running import SECRETS, Running, children, command, is_gone, refused, until
from tests.journeys.test_reload import (
    WITHIN,
    Configured,
    administrator,
    change,
    configured,  # noqa: F401
    knocking,
    program,  # noqa: F401
    sample,
)
from tests.journeys.test_rolling import Traffic, check_ledger
from tests.journeys.viewers import Tally, Viewer
from tests.person import Person
from warmdesk.embedded import Postgres, Valkey

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

RATE = 40.0
VIEWERS = 6
SETTLED_WITHIN = 20.0
MORE = 100
"""Requests that are waited for, to see that all goes on."""

EXPAND = """-- oldest program: 0.1
alter table cards add column later text;
alter table chat_messages add column later integer not null default 7;
alter table columns add column later text;
alter table events add column later text;
alter table feeds add column later text;
alter table project_members add column later text;
alter table projects add column later text;
alter table users add column later text;
create table laters (
    id bigint generated always as identity primary key,
    card_id bigint not null references cards (id) on delete cascade
);
"""
INDEX = """-- oldest program: 0.1
create index concurrently chat_messages_later on chat_messages (later, id);
create unique index concurrently cards_later on cards (later) where later is not null;
"""
CONTRACT = """-- oldest program: 0.2
drop table laters;
alter table cards drop column later;
"""


@dataclass
class Work:
    """What people did so far, while the server was upgraded."""

    running: Running
    ada: Person
    traffic: Traffic

    async def goes_on(self) -> None:
        """So many more requests are answered."""
        wanted = self.traffic.done + MORE
        await until(lambda: self.traffic.done >= wanted, within=WITHIN, what="it goes on")

    async def version(self) -> str:
        return str((await self.ada.get("/version"))["version"])


@asynccontextmanager
async def at_work(running: Running) -> AsyncIterator[Work]:
    """People who write and people who watch, all the while. In the end nothing was refused, what
    was acknowledged is there once, every viewer had every event, and the counters counted them all.
    """
    ada = await administrator(running)
    project = await ada.post("/projects", {"name": "Demo"})
    slug, path = project["slug"], f"/projects/{project['slug']}"
    board, token = await ada.get(path), await ada.token()
    column = board["columns"][0]["id"]
    traffic = Traffic(running.url, token, path, column, RATE, keep=False)
    tally, over = Tally(), asyncio.Event()
    viewers = [
        Viewer(running.url, slug, token, board["seq"], board["epoch"], tally)
        for _ in range(VIEWERS)
    ]
    watching = [asyncio.create_task(viewer.stay()) for viewer in viewers]
    try:
        await until(lambda: all(each.there for each in viewers), within=SETTLED_WITHIN)
        async with knocking(running.url) as seen:
            flowing = asyncio.create_task(traffic.flow(over))
            try:
                yield Work(running, ada, traffic)
            finally:
                over.set()
                await flowing
        assert traffic.failures == []
        assert set(seen) == {200}
        head = (await ada.get(path))["seq"]
        await until(
            lambda: all(each.there and each.since == head for each in viewers),
            within=SETTLED_WITHIN,
            what=f"{[each.since for each in viewers]} at {head}",
        )
        await check_ledger(ada, path, [traffic], newer=True)
        assert await sample(ada, "warmdesk_events_published_total") >= head
        assert tally.wrong == []
        assert tally.resets == 0
        assert set(tally.codes) <= {1001}
        assert tally.refusals.keys() <= {(503, True)}
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await ada.close()


def hang_up(running: Running, times: int = 1) -> None:
    for _ in range(times):
        running.signal(signal.SIGHUP)


def set_version(copy: Path, version: str) -> None:
    change(
        copy / "__init__.py",
        lambda text: re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', text),
    )


async def test_an_upgrade_under_load_fails_nothing_and_loses_nothing(
    configured: Configured,  # noqa: F811
    program: Path,  # noqa: F811
) -> None:
    """A new version, one more in a burst of signals, one that does not start; and then the end."""
    async with configured.serve("workers = 2\n") as running:
        own = {name: running.child(name) for name in ("postgres", "valkey")}
        async with at_work(running) as work:
            set_version(program, "9.8.7")
            await configured.reload()
            assert await work.version() == "9.8.7"

            set_version(program, "9.9.10")
            configured.write("workers = 3\n")
            hang_up(running, 5)
            await until(
                lambda: "reloaded version=9.9.10" in running.log and len(running.alive()) == 3,
                within=2 * WITHIN,
                what="three workers of the newest",
            )

            fine = (program / "app.py").read_text()
            (program / "app.py").write_text("from warmdesk import nothing_of_the_kind\n")
            hang_up(running)
            await until(
                lambda: "server.reload_refused cause=status_1" in running.log,
                within=2 * WITHIN,
                what="the broken one is refused",
            )
            left = running.alive()
            await work.goes_on()
            assert running.alive() == left
            assert await work.version() == "9.9.10"
            (program / "app.py").write_text(fine)

        assert len(left) == 3
        assert "worker.ended" not in running.log
        assert {name: running.child(name) for name in own} == own
        said = await refused(data_dir=running.data)
        assert said.startswith(f"another WarmDesk runs on the data directory {running.data};")

        family = children(running.process.pid)
        assert set(family) == {*own.values(), *left}
        running.process.kill()
        await until(lambda: all(map(is_gone, family)), within=15, what="all ended")


async def test_the_earlier_program_serves_while_the_schema_of_a_newer_one_is_made(
    configured: Configured,  # noqa: F811
    program: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Expand first, contract a release later; and the way back, as far as there is one."""
    present, newer = tmp_path / "present", tmp_path / "newer" / "warmdesk"
    for copy in (present, newer):
        shutil.copytree(program, copy)
    set_version(newer, "0.2.0")
    (newer / "sql" / "migrations" / "0998_later.sql").write_text(EXPAND)
    (newer / "sql" / "migrations" / "0999_index.sql").write_text(INDEX)
    change(
        newer / "sql" / "shapes" / "chat.sql",
        lambda text: text.replace("nonce text\n)", "nonce text, later integer\n)", 1).replace(
            "m.nonce\n)", "m.nonce, m.later\n)", 1
        ),
    )
    async with configured.serve("workers = 2\n") as running:
        async with at_work(running) as work:
            await work.goes_on()
            with monkeypatch.context() as by_hand:
                by_hand.setenv("PYTHONPATH", str(newer.parent))
                status, _, aside = await command("migrate", data_dir=running.data)
            assert (status, aside) == (
                0,
                "Migrated: 0998_later.sql\nMigrated: 0999_index.sql\n",
            )
            await work.goes_on()
            assert await work.version() == "0.1.0"
            await configured.reload()  # it also starts on the newer schema
            await work.goes_on()

            # Two releases at once would take away what the present one needs.
            shutil.copytree(newer, program, dirs_exist_ok=True)
            set_version(program, "0.3.0")
            contract = program / "sql" / "migrations" / "1000_contract.sql"
            contract.write_text(CONTRACT)
            hang_up(running)
            skipped = (
                "warmdesk: WarmDesk 0.1.0, which serves, cannot work with migration"
                " 1000_contract.sql: give it WarmDesk 0.2 first on all hosts, or stop all servers"
                " and start them"
            )
            await until(lambda: skipped in running.log, within=WITHIN, what="it is refused")
            # Nor by hand, from whichever host: who serves shows in the database.
            backup = tmp_path / "a backup"
            backup.touch()
            with monkeypatch.context() as by_hand:
                by_hand.setenv("PYTHONPATH", str(program.parent))
                for words in (("migrate",), ("restore", "--yes", str(backup))):
                    status, out, aside = await command(*words, data_dir=running.data)
                    assert (status, out, aside) == (1, "", skipped + "\n")

            set_version(program, "0.2.0")
            contract.unlink()
            await configured.reload()
            assert await work.version() == "0.2.0"

            set_version(program, "0.3.0")
            contract.write_text(CONTRACT)
            await configured.reload()
            assert await work.version() == "0.3.0"
            await work.goes_on()
        assert "Migrated: 1000_contract.sql" in running.out

        sentence = (
            "the database is at migration 1000_contract.sql, which needs WarmDesk 0.2 or newer;"
            " this is 0.1.0"
        )
        shutil.rmtree(program)
        shutil.copytree(present, program)
        left = running.alive()
        hang_up(running)
        await until(lambda: f"warmdesk: {sentence}" in running.log, within=WITHIN)
        assert running.alive() == left
        secrets: dict[str, Any] = {
            name.removeprefix("WARMDESK_").lower(): word for name, word in SECRETS.items()
        }
        said = await refused(
            database_url=Postgres(running.data).dsn, redis_url=Valkey(running.data).url, **secrets
        )
        assert said == sentence
