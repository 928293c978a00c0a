"""What the README tells people to type does what it says."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Board, Door, changed_settings, serving
from tests.person import PASSWORD
from warmdesk.client import Client

README = Path(__file__).parent.parent / "README.rst"


def literal_block(heading: str) -> str:
    """The first literal block below a heading."""
    part = README.read_text("utf-8").split(f"\n{heading}\n", 1)[1]
    lines = part.split("::\n", 1)[1].splitlines()
    block: list[str] = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line[4:])
    return "\n".join(block)


async def run(script: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "sh", "-eu", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_first_session_gives_what_it_says(
    request: pytest.FixtureRequest, empty_database_url: str, redis_url: str
) -> None:
    settings = changed_settings(request, database_url=empty_database_url, redis_url=redis_url)
    script = literal_block("A first session")
    async with serving(settings) as door:
        status, output = await run(script.replace("http://127.0.0.1:8080", door.url))

    assert status == 0, output
    assert '"slug":"demo"' in re.sub(r"\s*:\s*", ":", output)
    assert '"my_role":"owner"' in re.sub(r"\s*:\s*", ":", output)
    assert '"epoch":' in output


async def test_the_program_it_shows_prints_what_happens(door: Door, board: Board) -> None:
    text = README.read_text("utf-8").split(".. code-block:: python\n", 1)[1]
    program = re.split(r"\n(?=\S)", text, maxsplit=1)[0]
    program = program.replace("http://127.0.0.1:8080", door.url)
    program = program.replace("hunter2hunter2", PASSWORD).replace("print(", "heard(")
    said: list[object] = []
    source = "async def program():\n" + program
    names: dict[str, Any] = {"Client": Client, "heard": lambda kind, _: said.append(kind)}
    exec(compile(source, "README.rst", "exec"), names)

    running = asyncio.create_task(names["program"]())
    async with asyncio.timeout(10):
        while "presence.list" not in said:
            await asyncio.sleep(0.01)
        await board.card("Fix the door")
        while "board.card_created" not in said:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_the_commands_it_names_are_there() -> None:
    text = README.read_text("utf-8")
    named = set(re.findall(r"\bbin/(\w+)", text))
    assert {"serve", "test", "check"} <= named
    for name in named:
        path = README.parent / "bin" / name
        assert path.is_file(), f"README names bin/{name}"
        assert path.stat().st_mode & 0o111, f"bin/{name} cannot be run"
