"""What the README tells people to type does what it says."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import pace
from tests.conftest import Board, Door, changed_settings, serving
from tests.person import PASSWORD

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
    async with asyncio.timeout(30 * pace.stretch()):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def program(language: str) -> str:
    """The first program of a language."""
    text = README.read_text("utf-8").split(f".. code-block:: {language}\n", 1)[1]
    return textwrap.dedent(re.split(r"\n(?=\S)", text, maxsplit=1)[0])


NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@NEEDS_CURL
async def test_the_first_session_gives_what_it_says(
    request: pytest.FixtureRequest, empty_database_url: str, redis_url: str
) -> None:
    settings = changed_settings(request, database_url=empty_database_url, redis_url=redis_url)
    script = literal_block("A first session")
    script += script[script.index("    # From here on again".strip()) :]
    async with serving(settings) as door:
        status, output = await run(script.replace("http://127.0.0.1:8080", door.url))

    assert status == 0, output
    said = re.sub(r"\s*:\s*", ":", output)
    assert '"slug":"demo"' in said
    assert '"my_role":"owner"' in said
    events = re.findall(r'^"type":"([a-z._]+)"$', said, re.MULTILINE)
    once = ["board.card_created", "board.card_moved", "chat.message"]
    assert events == [*once, *once, *once], "what is done again happens again"


LIVE = {
    "python": [sys.executable, "live.py"],
    "javascript": ["node", "--experimental-websocket", "live.mjs"],
}


def _node_is_old() -> bool:
    if shutil.which("node") is None:
        return True
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return [int(part) for part in told.stdout.strip("v\n").split(".")] < [20, 10]


@pytest.mark.parametrize("language", LIVE)
async def test_the_programs_that_it_shows_print_what_happens(
    door: Door, board: Board, tmp_path: Path, language: str
) -> None:
    """As files, run as they are, but for the address and the password."""
    if language == "javascript" and _node_is_old():
        pytest.skip("Node 20.10 or newer is not installed")
    command = LIVE[language]
    source = program(language).replace("http://127.0.0.1:8080", door.url)
    (tmp_path / command[-1]).write_text(source.replace("hunter2hunter2", PASSWORD))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20 * pace.stretch()):
            while b"presence.list" not in await process.stdout.readline():
                assert process.returncode is None
            await board.card("Fix the door")
            while b"board.card_created" not in await process.stdout.readline():
                assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


def test_the_commands_it_names_are_there() -> None:
    text = README.read_text("utf-8")
    named = set(re.findall(r"(?<!venv/)\bbin/(\w+)", text))
    assert {"serve", "test", "check"} <= named
    for name in named:
        path = README.parent / "bin" / name
        assert path.is_file(), f"README names bin/{name}"
        assert path.stat().st_mode & 0o111, f"bin/{name} cannot be run"
