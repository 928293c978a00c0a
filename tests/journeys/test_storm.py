"""A short soak: each fault once, over two servers with two workers, while everybody works."""

from __future__ import annotations

import pytest

from load.soak import report
from load.soak.__main__ import play
from load.soak.faults import FAULTS
from load.soak.people import Size

DELIVERIES = 10_000
SEED = 11
LONG = {"freeze_worker_long", "silent_bus", "silent_database"}
"""These only differ from others by how long they take."""


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_every_promise_holds_whatever_breaks() -> None:
    faults = [
        (fault, SEED + number)
        for number, fault in enumerate(FAULTS.values())
        if fault.name not in LONG
    ]
    said: list[str] = []
    team, course = await play(
        faults,
        seed=SEED,
        size=Size(writers=4, chatters=6, viewers=16, joiners=4, mirrors=1),
        say=said.append,
    )
    said.append(report.figures(team, course))
    wrong = report.broken(team, course)
    assert not wrong, "\n".join([*said, *wrong])
    assert team.streams.deliveries >= DELIVERIES
    assert len(team.revoked.seconds) > 4
    assert sum(course.counts.values()) == len(faults)
