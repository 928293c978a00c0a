"""A test is run once more where the machine stood still, and for nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.test_deadline import ran

TESTS = """
import asyncio
import os
import signal
import subprocess
import sys
import time
import pytest

TRIES = []

def stand_still():
    me = os.getpid()
    code = f"import os, time; os.kill({me}, 19); time.sleep(1.6); os.kill({me}, 18)"
    subprocess.run([sys.executable, "-c", code], check=True)

@pytest.fixture
async def kept():
    yield TRIES
    TRIES.append("end")

@pytest.mark.timeout(5)
async def test_fails_while_all_stands_still(kept):
    TRIES.append("try")
    if TRIES.count("try") == 1:
        await asyncio.sleep(0.3)
        stand_still()
        await asyncio.sleep(0.3)
    assert TRIES == ["try", "end", "try"]

async def test_fails_each_time():
    stand_still()
    await asyncio.sleep(0.3)
    assert False, "it is wrong"

async def test_holds_its_loop():
    TRIES.append("held")
    end = time.monotonic() + 1.6
    while time.monotonic() < end:
        pass
    await asyncio.sleep(0.1)
    assert TRIES.count("held") == 2

def test_fails_alone():
    TRIES.append("alone")
    assert TRIES.count("alone") == 2
"""


def test_a_test_is_run_again_only_where_all_stood_still(tmp_path: Path) -> None:
    said = ran(tmp_path, TESTS)
    assert "3 failed, 1 passed, 2 rerun" in said, said
    assert "PASSED test_them.py::test_fails_while_all_stands_still" in said
    for name in ("fails_each_time", "holds_its_loop", "fails_alone"):
        assert f"FAILED test_them.py::test_{name}" in said, said
    assert "RERUN test_them.py::test_fails_while_all_stands_still" in said
    assert "RERUN test_them.py::test_fails_each_time" in said
    assert said.count("RERUN test_them.py") == 2
