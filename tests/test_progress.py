"""Progress is a bar on a terminal, and lines now and then elsewhere; never on the output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from warmdesk.commands import progress

PROGRAM = """
from warmdesk.commands.progress import progress
with progress("Making it", 4) as advance:
    for part in ("doors", "doors", "roof", "roof"):
        advance(1, part)
print("made")
"""


def test_lines_are_written_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.progress("Making it", 3) as advance:
        advance(1, "doors")
    assert capsys.readouterr() == ("", ""), "not more often than every few seconds"
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.progress("Making it", 3) as advance:
        advance(1, "doors")
        advance(2, "")
    with progress.progress("Looking") as advance:
        advance(1, "disks")
    out, aside = capsys.readouterr()
    assert out == ""
    assert aside == "Making it: 1 of 3, doors\nMaking it: 3 of 3\nLooking: 1, disks\n"


def test_a_bar_is_drawn_on_a_terminal_and_taken_away() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        check=True,
        timeout=60,
    )
    os.close(theirs)
    drawn = b""
    try:
        while chunk := os.read(ours, 4096):
            drawn += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert done.stdout == b"made\n"
    assert b"Making it: roof" in drawn
    assert b"100 %" in drawn
    assert b"\x1b[2K" in drawn, "a line was erased"
