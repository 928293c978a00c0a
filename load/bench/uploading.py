"""Files that people upload, and what that costs the others: how fast one goes in, what a worker
needs for it, and how late events come on a board where ten go in at once.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from load.bench.asking import ROOT
from load.bench.measure import Meter, pss
from load.bench.run import Run
from load.bench.viewing import Stage, WarmDesk, stage

BYTES = 25 << 20
"""Of a file: the most that the server takes as it is set up."""
AT_ONCE = 10
ALONE = 4
"""Files that one person uploads, one after the other."""
VIEWERS = 200
RATE = 10.0
"""Events a second on the board."""
LOOK_SECONDS = 0.1
"""Between two looks at the memory of a worker."""
MIB = 1 << 20


@dataclass
class Uploads:
    """An uploader whose connections are open. `seen`: what it saw, when it is over."""

    process: asyncio.subprocess.Process
    seen: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def end(self) -> None:
        """Let what is under way go in, and no more; or all that was ordered."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"stop\n")
        self.seen = json.loads(await self.line())

    async def line(self) -> bytes:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 120)
        if not line:
            raise RuntimeError((await self.process.stderr.read()).decode().strip())
        return line


@asynccontextmanager
async def uploads(
    on: Stage, lines: Sequence[tuple[str, str]], count: int = 0
) -> AsyncIterator[Uploads]:
    """Who uploads to these addresses with these tokens, `count` files each, or without end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "load.bench.uploader"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    order = {"port": on.peer.port, "lines": lines, "bytes": BYTES, "count": count}
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        found = Uploads(process)
        await found.line()
        yield found
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def uploading(run: Run) -> None:
    """Goal 21: one person's files, ten people's at once, and the events beside them."""
    count = run.viewers or VIEWERS
    store = run.place.directory / "files"
    for _ in range(run.rounds):
        peer = WarmDesk(file_store=store)
        try:
            async with stage(run, peer, count) as on:
                await on.open(range(count))
                lines = await cards(peer)
                await at_once(on, lines[:1], 1)  # what is made once is made now
                await alone(run, on, lines[:1])
                run.add("MiB more beside ten uploads", await at_once(on, lines, 2) / MIB)
                await beside(run, on, lines)
        finally:
            shutil.rmtree(store, ignore_errors=True)


async def cards(peer: WarmDesk) -> list[tuple[str, str]]:
    """A card for each who uploads: the address of its files, and a token."""
    board = await peer.server.ask("GET", f"/projects/{peer.slug}", peer.people[0], expected=200)
    column = f"/projects/{peer.slug}/columns/{board['columns'][0]['id']}/cards"
    found = []
    for person in peer.people[:AT_ONCE]:
        body = orjson.dumps({"title": "Films"})
        card = await peer.server.ask("POST", column, person, body, expected=201)
        path = f"/api/v1/projects/{peer.slug}/cards/{card['id']}/attachments"
        found.append((path, person.token))
    return found


async def alone(run: Run, on: Stage, lines: Sequence[tuple[str, str]]) -> None:
    """One person's files, one after the other."""
    async with uploads(on, lines, ALONE) as sending:
        meter = Meter(on.peer.pids)
        sending.begin()
        await sending.end()
        size = ALONE * BYTES / MIB
        run.add("upload MiB/s", size / sending.seen["seconds"])
        run.add("upload CPU ms a MiB", meter.seconds() / size * 1000)


async def at_once(on: Stage, lines: Sequence[tuple[str, str]], count: int) -> int:
    """So many files of each: the bytes by which the server's memory grows meanwhile, at most."""
    async with uploads(on, lines, count) as sending:
        before = most = pss(on.peer.pids())
        sending.begin()
        ending = asyncio.create_task(sending.end())
        while not ending.done():
            most = max(most, pss(on.peer.pids()))
            await asyncio.wait([ending], timeout=LOOK_SECONDS)
        await ending
    return most - before


async def beside(run: Run, on: Stage, lines: Sequence[tuple[str, str]]) -> None:
    """Events alone, and the same beside uploads that do not end."""
    rate, seconds = run.rate or RATE, 3.0 if run.quick else 6.0
    quiet = await on.steadily(rate, seconds)
    async with uploads(on, lines) as sending:
        sending.begin()
        busy = await on.steadily(rate, seconds)
        await sending.end()
    run.add("ten uploads MiB/s", sending.seen["count"] * BYTES / MIB / sending.seen["seconds"])
    for share in ("p50", "p99"):
        without, beside_them = quiet[f"{share}_ms"], busy[f"{share}_ms"]
        run.add(f"{share} ms without uploads", without)
        run.add(f"{share} ms beside ten uploads", beside_them)
        run.add(f"{share} beside ten uploads / without", beside_them / without)
        run.add(f"{share} ms more beside ten uploads", beside_them - without)


SCENARIOS: dict[str, Callable[[Run], Awaitable[None]]] = {"uploads": uploading}
