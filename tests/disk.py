"""A small disk of its own for a test to fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A directory on a file system in memory of so many bytes, which it takes as it is filled.

    It is mounted in a namespace of a process of ours, which needs no root and is seen by nobody
    else; we reach it by that process's directory in /proc.
    """
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    place = tempfile.mkdtemp(prefix="wd-disk-")
    inside = f"mount -t tmpfs -o size={size} none {place} && echo mounted && exec cat"
    keeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if keeper.stdout.readline() != b"mounted\n":
            pytest.skip("this machine lets nobody mount in a namespace")
        yield Path(f"/proc/{keeper.pid}/root{place}")
    finally:
        keeper.stdin.close()  # cat ends, and the disk with it
        keeper.wait()
        keeper.stdout.close()
        os.rmdir(place)
