"""Packages of npm, as ``package-lock.json`` beside this locks them by their digests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOME = HERE.parents[2]
SECONDS = 60
FILES = ("package.json", "package-lock.json")


async def package(name: str) -> Path:
    """Where a package of the lock is; fetched once into ``.venv``, without running any script."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed, which fetches {name}: apt install npm")
    texts = [(HERE / file).read_bytes() for file in FILES]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:16]
    place = HOME / ".venv" / "node" / digest
    if not place.exists():
        scratch = place.with_name(f"{digest}-{os.getpid()}")
        scratch.mkdir(parents=True)
        for file, text in zip(FILES, texts, strict=True):
            (scratch / file).write_bytes(text)
        process = await asyncio.create_subprocess_exec(
            *(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(scratch)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await asyncio.wait_for(process.communicate(), SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            said = b"it takes too long"
        if process.returncode:
            shutil.rmtree(scratch)
            pytest.skip(f"npm cannot fetch {name}: {said.decode(errors='replace').strip()[-200:]}")
        try:
            scratch.rename(place)
        except OSError:  # another process of the tests was first
            shutil.rmtree(scratch)
    return place / "node_modules" / name
