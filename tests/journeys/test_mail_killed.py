"""Workers that are killed while they send mail lose none, and send none twice but the one that they
were just sending.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.conftest import until
from tests.journeys.conftest import Start
from tests.journeys.running import is_gone
from tests.postbox import WAITING, Postbox, postbox
from warmdesk.jobs.mail import LEASE

MEANWHILE = timedelta(seconds=0.2)
"""Longer than a worker needs to die, shorter than the next one to begin."""


def has_begun(box: Postbox, number: int) -> bool:
    return box.began >= number


@pytest.mark.parametrize(
    ("number", "kills"), [(60, 3), pytest.param(500, 20, marks=pytest.mark.long)]
)
@pytest.mark.timeout(300)
async def test_each_mail_arrives_though_workers_are_killed(
    number: int, kills: int, start: Start, connection: Any
) -> None:
    await connection.execute(WAITING, number)
    with postbox() as box:
        box.before = 0.02
        mail = {"smtp_host": "127.0.0.1", "smtp_port": box.port}
        server = await start(workers=1, base_url="https://desk.example.org", **mail)
        step = number // (kills + 1)
        for nth in range(1, kills + 1):
            await until(partial(has_begun, box, nth * step), limit=30)
            (worker,) = server.workers()
            killed_at = await connection.fetchval("select clock_timestamp()")
            os.kill(worker, signal.SIGKILL)
            await until(partial(is_gone, worker))
            # As if the lease of what it was sending were over; not that of the next worker.
            await connection.execute(
                "update mails set due_at = clock_timestamp() where due_at <= $1",
                killed_at + LEASE + MEANWHILE,
            )
        await until(lambda: connection.fetchval("select count(*) = 0 from mails"), limit=60)
        arrived = Counter(letter.to[0] for letter in box.letters)
    assert len(arrived) == number
    twice = [name for name, times in arrived.items() if times > 1]
    assert max(arrived.values()) <= 2
    assert len(twice) <= kills
    ids: dict[str, set[str]] = {}
    for letter in box.letters:
        ids.setdefault(letter.to[0], set()).add(str(letter.message["Message-ID"]))
    assert all(len(each) == 1 for each in ids.values()), "the same mail has the same Message-ID"
