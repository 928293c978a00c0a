"""Programs of others, started beside the server that is tested."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import until
from tests.ports import free_port


@asynccontextmanager
async def running(
    names: tuple[str, ...], package: str, folder: Path, *arguments: str
) -> AsyncIterator[str]:
    """A program of Prometheus' family under one of these names: the address at which it is ready.
    Skips when `package` is not installed.
    """
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"{names[-1]} is not installed: apt install {package}")
    address = f"127.0.0.1:{free_port()}"
    said = folder / "said"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, f"--web.listen-address={address}", *arguments, stdout=log, stderr=log
        )

    async def ready() -> bool:
        assert process.returncode is None, said.read_text()
        try:
            async with session.get(f"http://{address}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        async with aiohttp.ClientSession() as session:
            await until(ready, limit=20)
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
