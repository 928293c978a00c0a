"""The soak itself: the seed decides, the report tells, the exit status judges."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import until
from tests.journeys.running import children, is_gone
from tests.soak import report
from tests.soak.faults import FAULTS, plan
from tests.soak.people import Size, Team
from tests.soak.report import Course, Sample
from tests.soak.world import World

TOP = Path(__file__).parents[2]


@pytest.fixture
def team() -> Iterator[Team]:
    """Nobody has come yet."""
    world = World(seed=1)
    yield Team(world, Size())
    shutil.rmtree(world.base)


@pytest.mark.timeout(180)
async def test_the_command_ends_with_figures_and_how_to_run_the_same_again(tmp_path: Path) -> None:
    arguments = ["--seed", "4", "--minutes", "0.01", "--viewers", "4", "--only", "flush_redis"]
    soak = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak", *arguments, "--logs", str(tmp_path)),
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await soak.communicate()
    told = out.decode()
    assert soak.returncode == 0, told
    assert "flush_redis (everything), healed in" in told
    assert " 0 lost, 0 doubled, 0 swapped" in told
    again = "bin/soak --seed 4 --minutes 0.01 --workers 2 --viewers 4 --only flush_redis"
    assert told.rstrip().endswith(f"Every promise held. The same again: {again}")
    assert "worker.serves" in (tmp_path / "server-1.log").read_text()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_when_it_is_ended(number: signal.Signals) -> None:
    soak = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak", "--minutes", "1", "--viewers", "4"),
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert soak.stdout is not None
    async with asyncio.timeout(60):
        while b"at work" not in await soak.stdout.readline():
            pass
    family = [soak.pid]
    for pid in family:
        family += children(pid)
    assert len(family) > 8
    soak.send_signal(number)
    await asyncio.wait_for(soak.communicate(), 60)
    assert soak.returncode not in (0, None)
    await until(lambda: all(map(is_gone, family)), limit=30)


def test_the_seed_alone_decides_what_breaks() -> None:
    assert plan(7, 500) == plan(7, 500)
    assert plan(7, 500) != plan(8, 500)
    assert {fault.name for fault, _ in plan(7, 500)} == set(FAULTS)


async def test_every_broken_promise_is_told(team: Team) -> None:
    course = Course()
    assert report.broken(team, course) == []
    checkers = (team.streams, team.ledger, team.presence, team.revoked, team.stranger, team.logs)
    for checker in checkers:
        checker.cry("no")
    team.broken.append("nobody can go on")
    team.figures.answers[500] += 1
    team.figures.slowest_503 = 7.0, "GET /projects"
    team.figures.signed_out += 1
    course.samples += [Sample(0, 1, 100 << 20, 50), Sample(60, 1, 120 << 20, 50)]
    told = "\n".join(report.broken(team, course))
    for name in ("streams", "ledger", "presence", "revoked", "stranger", "logs"):
        assert f"{name}: no" in told
    for word in ("nobody can go on", "{500: 1}", "7.0 s: GET", "1 people", "grew by 20%"):
        assert word in told
