"""A test that runs out of time fails, and only that one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[1]
CONFTEST = "from tests.conftest import *\n"
SETUP = """[tool:pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
filterwarnings = error
addopts = -p no:cacheprovider
"""
TESTS = """
import asyncio
import time
import pytest

CLEANED = []

@pytest.fixture
async def kept():
    yield CLEANED
    CLEANED.append("fixture")

@pytest.mark.timeout(0.5)
async def test_waits(kept):
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        CLEANED.append("test")

@pytest.mark.timeout(0.5)
async def test_waits_for_a_task():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1e6))

@pytest.fixture
async def never():
    await asyncio.Event().wait()

@pytest.mark.timeout(0.5)
async def test_has_a_fixture_that_waits(never):
    pass

@pytest.fixture
async def endless():
    yield
    await asyncio.Event().wait()

@pytest.mark.timeout(0.5)
async def test_has_a_fixture_that_never_ends(endless):
    pass

@pytest.mark.timeout(0.5)
def test_blocks():
    time.sleep(1000)

async def test_comes_after():
    await asyncio.sleep(0.01)
    assert CLEANED == ["test", "fixture"]
    assert len(asyncio.all_tasks()) == 1
"""


def ran(directory: Path, tests: str) -> str:
    """What a run of these tests said, with the hooks of all tests, in a worker."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "setup.cfg").write_text(SETUP)
    (directory / "test_them.py").write_text(tests)
    # Wide, or the sentences of failures are cut.
    command = [sys.executable, "-m", "pytest", "-n", "1", "-rAR", "-c", "setup.cfg"]
    run = subprocess.run(
        [*command, f"--rootdir={directory}"],
        cwd=directory,
        env={"PYTHONPATH": str(TOP), "PATH": os.defpath, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return run.stdout + run.stderr


def test_a_test_that_runs_out_of_time_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    said = ran(tmp_path, TESTS)
    for name in ("waits", "waits_for_a_task", "blocks"):
        test = f"test_them.py::test_{name}"
        assert f"FAILED {test} - Failed: {test}: it had 0.5 s, and" in said, said
    assert "ERROR test_them.py::test_has_a_fixture_that_waits - Failed" in said
    assert "ERROR test_them.py::test_has_a_fixture_that_never_ends - Failed" in said
    assert "PASSED test_them.py::test_comes_after" in said
    assert "3 failed, 2 passed, 2 errors" in said
