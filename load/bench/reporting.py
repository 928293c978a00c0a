"""Reports of a year of a company: how long each takes, what memory, and how late events come on a
board beside them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress

import asyncpg

from load.bench.asking import ROOT
from load.bench.measure import pss
from load.bench.ours import Member
from load.bench.run import Run
from load.bench.viewing import Stage, WarmDesk, stage
from tests.year import ENTRIES, a_year

FEW = 20_000
VIEWERS = 200
RATE = 20.0
"""Events a second on the board."""
KINDS = {"JSON": "json", "CSV": "csv", "XLSX": "xlsx", "PDF": "pdf"}
YEAR = "/api/v1/reports/time?from=2026-01-01&to=2026-12-31&group_by=card"
LOOK_SECONDS = 0.1
LONGEST = 300.0
MIB = 1 << 20


async def reports(run: Run) -> None:
    """Goal 26: an administrator reads one report after the other, of each format."""
    count = run.viewers or VIEWERS
    for _ in range(run.rounds):
        async with stage(run, WarmDesk(), count) as on:
            entries = FEW if run.quick else ENTRIES
            run.say(f"  {entries:,} entries")
            connection = await asyncpg.connect(run.place.dsn("ours"))
            try:
                await connection.execute(a_year(entries))
                (reader,) = await on.peer.server.people(1)  # type: ignore[attr-defined]
                await connection.execute(
                    "update users set global_role = 'admin' where id = $1", reader.user_id
                )
                await connection.execute("vacuum (analyze)")
            finally:
                await connection.close()
            await on.open(range(count))
            for kind in KINDS:
                await beside(run, on, reader, kind)


async def beside(run: Run, on: Stage, reader: Member, kind: str) -> None:
    """Events alone, and the same beside reports of this format."""
    rate, seconds = run.rate or RATE, 3.0 if run.quick else 10.0
    quiet = await on.steadily(rate, seconds)
    workers = on.peer.pids()
    before = most = pss(workers)
    maker = 0
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "load.bench.reader"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    saying = asyncio.create_task(on.steadily(rate, seconds))
    order = {
        "port": on.peer.port,
        "path": f"{YEAR}&format={KINDS[kind]}",
        "token": reader.token,
    }
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        while not saying.done():
            await asyncio.wait([saying], timeout=LOOK_SECONDS)
            most = max(most, pss(workers))
            # Whoever makes a file ends with it.
            with suppress(OSError):
                maker = max(maker, pss({*on.peer.pids()} - {*workers}))
        busy = await saying
        process.stdin.write(b"stop\n")
        begun = time.monotonic()
        out, aside = await asyncio.wait_for(process.communicate(), LONGEST)
        if process.returncode:
            raise RuntimeError(aside.decode().strip())
    finally:
        saying.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    seen = json.loads(out)
    run.say(f"  {kind}: {seen['count']} reports, the last {time.monotonic() - begun:.1f} s more")
    run.add(f"{kind} reports refused", seen["refused"])
    run.add(f"{kind} report seconds", seen["seconds"] / seen["count"])
    run.add(f"{kind} report MiB", seen["bytes"] / seen["count"] / MIB)
    run.add(f"MiB more beside {kind} reports", (most - before) / MIB)
    run.add(f"MiB of who makes {kind}", maker / MIB)
    for share in ("p50", "p99"):
        without, beside_them = quiet[f"{share}_ms"], busy[f"{share}_ms"]
        run.add(f"{share} ms without reports", without)
        run.add(f"{share} ms beside {kind} reports", beside_them)
        run.add(f"{share} beside {kind} reports / without", beside_them / without)


SCENARIOS = {"reports": reports}
