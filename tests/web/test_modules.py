"""The stores and the feed of the page, run by Node.js without a browser: what they do with frames
in whatever order. Where there is no Node.js these are skipped; a browser tries the page anyway.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

MODULES = sorted((Path(__file__).parent / "node").glob("*.test.mjs"))
LIMIT = 120.0


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
async def test_a_module_does_what_it_says(path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here: the modules are tried in the browser only")
    process = await asyncio.create_subprocess_exec(
        node,
        "--test",
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said.decode()
