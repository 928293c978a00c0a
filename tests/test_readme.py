"""What the README tells people to type does what it says."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import changed_settings, serving

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


def test_the_commands_it_names_are_there() -> None:
    text = README.read_text("utf-8")
    named = set(re.findall(r"\bbin/(\w+)", text))
    assert {"serve", "test", "check"} <= named
    for name in named:
        path = README.parent / "bin" / name
        assert path.is_file(), f"README names bin/{name}"
        assert path.stat().st_mode & 0o111, f"bin/{name} cannot be run"
