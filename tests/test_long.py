"""Long journeys are left out unless they are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STORM = "tests/journeys/test_storm.py"


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        (["tests/journeys"], False),
        (["tests/journeys", "--long"], True),
        ([STORM], True),
        ([f"{STORM}::test_every_promise_holds_whatever_breaks"], True),
    ],
)
def test_a_long_journey_is_left_out_unless_it_is_asked_for(asked: list[str], there: bool) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *asked],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )
    assert (f"{STORM}::" in run.stdout) == there, run.stdout + run.stderr
    assert ("deselected" in run.stdout) != there
