"""A backup of a gigabyte, and it put back: how fast beside PostgreSQL's own programs, which write
and read no more than the database; and how much memory it takes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from load.bench.asking import office
from load.bench.run import Run
from tests.journeys.running import SECRETS, variables

DUMP, RESTORE = "pg_dump -Fc -Z1", "pg_restore -1"
MESSAGES, FEW = 3_000_000, 400_000
MIB = 1 << 20
FILL = """
insert into chat_messages (project_id, user_id, body)
select $1::bigint, $2::bigint, 'Message ' || n || ' ' || repeat(md5(n::text) || ' words ', 6)
from generate_series(1, $3::int) n
"""
"""Text that packs to a third, as talk does."""


async def backing(run: Run) -> None:
    """Goal 24: both ways, in turns with PostgreSQL's own."""
    place = run.place.directory / "backups"
    async with office(run) as on:
        count = FEW if run.quick else MESSAGES
        await on.ours.fetch(FILL, on.ids[0], on.writers[0].user_id, count)
        await on.ours.fetch("analyze")
        dsn, program = run.place.dsn("ours"), run.place.postgres.binary
        size = (await on.ours.fetch("select pg_database_size(current_database()) as size"))[0][
            "size"
        ]
        given = {
            "database_url": dsn,
            "redis_url": run.place.redis_url,
            "jwt_secret": SECRETS["WARMDESK_JWT_SECRET"],
            "secret_key": SECRETS["WARMDESK_SECRET_KEY"],
            "backup_dir": place,
            "data_dir": run.place.directory / "data",
        }
        _, usual = await ours(given, "migrate")
        for number in range(run.rounds):
            shutil.rmtree(place, ignore_errors=True)
            took, memory = await ours(given, "backup")
            run.add("backup MiB/s", size / MIB / took)
            run.add("backup MiB of memory", (memory - usual) / MIB)
            run.add("backup seconds", took)
            dump = run.place.directory / "dump"
            took, _ = await timed(program("pg_dump"), "-Fc", "-Z1", "-f", str(dump), dsn)
            run.add("backup seconds", took, DUMP)
            (made,) = place.glob("*.tar.gz")
            aside = await run.place.database(f"back{number}")
            took, memory = await ours(
                {**given, "database_url": aside}, "restore", "--yes", str(made)
            )
            run.add("restore seconds", took)
            run.add("restore MiB of memory", (memory - usual) / MIB)
            aside = await run.place.database(f"pg{number}")
            took, _ = await timed(program("pg_restore"), "-1", "-d", aside, str(dump))
            run.add("restore seconds", took, RESTORE)
            dump.unlink()
    shutil.rmtree(place, ignore_errors=True)


async def ours(given: dict[str, Any], *words: str) -> tuple[float, int]:
    return await timed(sys.executable, "-m", "warmdesk", *words, environment=variables(**given))


async def timed(*command: str, environment: dict[str, str] | None = None) -> tuple[float, int]:
    """Run a program: the seconds it took, and the bytes of memory that it had at most."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, env=environment or dict(os.environ), stdout=asyncio.subprocess.DEVNULL
    )
    most = 0
    while process.returncode is None:
        status = Path(f"/proc/{process.pid}/status")
        try:
            found = [line for line in status.read_text().splitlines() if "VmHWM" in line]
        except OSError:
            found = []
        if found:
            most = max(most, int(found[0].split()[1]) << 10)
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=0.05)
    if process.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {process.returncode}")
    return time.monotonic() - began, most


SCENARIOS = {"backup": backing}
