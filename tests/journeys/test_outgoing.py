"""Workers that deliver outgoing webhooks die: nothing is lost, only the last one is repeated."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.conftest import until
from tests.journeys.conftest import Process, Start, Visit, furnished
from tests.receiver import Came, receiving
from warmdesk.db.queries import sql
from warmdesk.jobs.outgoing import LEASE_SECONDS
from warmdesk.realtime.events import PROJECT_UNARCHIVED

KILLS, EVENTS = 20, 2000

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def longer(count: int, came: list[Came]) -> bool:
    return len(came) >= count


async def tell(connection: Any, channel: str, count: int) -> None:
    """So many events, each in a transaction of its own; no process is told of them."""
    for _ in range(count):
        await sql.feeds.record(
            connection,
            channels=[channel],
            types=[PROJECT_UNARCHIVED.name],
            payloads=['{"slug":"demo"}'],
            entities=[None],
            actor=1,
            client=None,
        )


async def killed(server: Process, connection: Any) -> int:
    """The worker that delivers now, which is dead then; 0 when none did."""
    holder = await connection.fetchval(
        "select holder from outgoing_webhooks where held_until > clock_timestamp()"
    )
    pid = int(holder.partition("-")[0]) if holder else 0
    if pid not in server.workers():
        return 0
    os.kill(pid, signal.SIGKILL)
    return pid


async def test_who_delivers_is_killed_again_and_again(
    start: Start, visit: Visit, connection: Any
) -> None:
    server = await start(webhook_allow_private="127.0.0.1")
    board = await furnished(server, visit)
    channel = f"project:{board.id}"
    async with receiving() as receiver:
        olga = visit(server, "olga")
        made = await olga.post(
            f"{board.path}/outgoing-webhooks", {"name": "Hook", "url": receiver.url}
        )
        begin = made["seq"]
        for number in range(KILLS):
            await tell(connection, channel, EVENTS // KILLS)
            enough = len(receiver.came) + 1 + number % 7
            await receiver.until(partial(longer, enough), limit=LEASE_SECONDS + 15)
            await until(lambda: killed(server, connection), limit=LEASE_SECONDS + 15, every=0.001)
            await until(lambda: len(server.workers()) == 2, limit=20)
        last = begin + EVENTS
        await receiver.until(lambda came: came[-1].seq == last, limit=60)
        await asyncio.sleep(0.2)
        came = list(receiver.came)
    checker = Webhook(made["secret"])
    for each in came:
        checker.verify(each.body, each.headers)
    seqs = [each.seq for each in came]
    assert list(dict.fromkeys(seqs)) == list(range(begin + 1, last + 1))
    assert seqs == sorted(seqs), "who takes over begins with what was under way"
    assert len(seqs) - len(set(seqs)) <= KILLS
    assert len({each.id for each in came}) == EVENTS
