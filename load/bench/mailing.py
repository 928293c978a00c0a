"""Mails that wait leave: at which pace, beside a program that only sends; and what a mail server
that hangs holds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import asyncpg

from load.bench.asking import ROOT, Office, office
from load.bench.measure import Meter
from load.bench.ours import Ours
from load.bench.run import Run
from tests.postbox import WAITING

SENDER = "aiosmtplib"
"""A program that sends the same over one connection, and keeps no account of it."""
MAILS, FEW = 10_000, 500
PACED = 400
STEP = 0.05
"""What a mail server takes over a mail that writes it to a disk before it says yes."""
HELD_SECONDS = 0.5
"""A transaction that is open so long waits for something."""
HUNG_SECONDS = 5.0
HELD = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    and state <> 'idle' and clock_timestamp() - xact_start > make_interval(secs => $1::float8)
"""
QUEUED = """
insert into mails (kind, user_id, notification_ids)
select 'news', n.user_id, array[n.id] from notifications as n order by n.id limit $1::integer
"""
LETTER = "What happened while you were away is told in a line like this one. " * 12


class Box:
    """The mail server of the run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0

    async def line(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        if not line:
            raise RuntimeError("the mail server has ended")
        return json.loads(line)

    async def say(self, **order: Any) -> dict[str, Any]:
        """Give an order: what it took so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        found: dict[str, Any] = await self.line()
        return found

    async def takes(self, count: int, within: float) -> dict[str, Any]:
        """Until it took so many: how long that was."""
        end = time.monotonic() + within
        while (seen := await self.say())["taken"] < count:
            if time.monotonic() > end:
                raise RuntimeError(f"{seen['taken']} of {count} mails left in {within:g} s")
            await asyncio.sleep(0.1)
        return seen


@asynccontextmanager
async def mailbox() -> AsyncIterator[Box]:
    """A mail server, until the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "load.bench.mailbox"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        box = Box(process)
        box.port = await box.line()
        yield box
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def mail(run: Run) -> None:
    """Goal 25: a mail server that takes 50 ms over a mail, one that takes none, one that hangs."""
    count, paced = (FEW, FEW // 10) if run.quick else (MAILS, PACED)
    for _ in range(run.rounds):
        async with mailbox() as box:
            server = Ours(
                base_url="https://desk.example.org", smtp_host="127.0.0.1", smtp_port=box.port
            )
            async with office(run, ours=server) as on:
                await furnish(run, max(count, FEW))
                await leave(run, on, box, paced, STEP, "mails a second, 50 ms a mail")
                await leave(run, on, box, count, 0.0, "mails a second")
                await hang(run, on, box)


async def leave(run: Run, on: Office, box: Box, count: int, seconds: float, figure: str) -> None:
    """So many mails that wait: ours, and then the same of who only sends."""
    await box.say(seconds=seconds)
    within = 60 + count * (seconds + 0.05)
    meter = Meter(lambda: [*on.ours.pids(), *run.place.pids()])
    await queue(on, count)
    seen = await box.takes(count, within)
    run.add(figure, count / seen["seconds"])
    if not seconds:
        run.add("CPU ms a mail", meter.seconds() / count * 1000)
    await box.say(seconds=seconds)
    await asyncio.wait_for(send(box.port, count), within)
    seen = await box.takes(count, 1)
    run.add(figure, count / seen["seconds"], SENDER)


async def furnish(run: Run, count: int) -> None:
    """So many people who are to be told something; no mail waits yet."""
    connection = await asyncpg.connect(run.place.dsn("ours"))
    try:
        async with connection.transaction():
            await connection.execute(WAITING, count)
            await connection.execute("delete from mails")
        await connection.execute("analyze")
    finally:
        await connection.close()


async def queue(on: Office, count: int) -> None:
    """So many mails that are due now, each to somebody else."""
    await on.ours.fetch(QUEUED, count)


async def send(port: int, count: int) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
        for number in range(count):
            letter = EmailMessage()
            letter["From"], letter["To"] = "desk@example.org", f"u{number}@example.org"
            letter["Subject"] = "News"
            letter.set_content(LETTER)
            letter.add_alternative(f"<p>{LETTER}</p>", subtype="html")
            await client.send_message(letter)


async def hang(run: Run, on: Office, box: Box) -> None:
    """The mail server never answers: what waits for it in PostgreSQL, and what others wait."""
    before = await on.ask(on.ours, [[on.chat()]], 201)
    await box.say(seconds=None)
    await queue(on, FEW)
    end = time.monotonic() + 30
    while not (await box.say())["began"]:
        if time.monotonic() > end:
            raise RuntimeError("no mail was begun")
        await asyncio.sleep(0.1)
    held, end = 0, time.monotonic() + (1.0 if run.quick else HUNG_SECONDS)
    while time.monotonic() < end:
        held = max(held, (await on.ours.fetch(HELD, HELD_SECONDS))[0]["count"])
        await asyncio.sleep(0.1)
    beside = await on.ask(on.ours, [[on.chat()]], 201)
    if (await box.say())["began"] != 1:
        raise RuntimeError("the mail server did not hang")
    run.add("connections that a hung mail server holds", held)
    run.add("chat p50 beside a hung mail server / before", beside.p50_ms / before.p50_ms)


SCENARIOS = {"mail": mail}
