"""What docs/contributing.rst tells a newcomer to write works as it stands there."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docutils.nodes
import pytest

from tests.test_documents import parsed

HOME = Path(__file__).parents[1]
DOCUMENT = "docs/contributing.rst"
NUMBER = "0099"
RUN = [
    *("tests/rest/test_polls.py", "tests/rest/test_keys.py", "tests/rest/test_deletions.py"),
    *("tests/http/test_pages.py", "tests/rest/test_bad_input.py", "tests/test_api.py"),
    *("tests/test_bounds.py", "tests/test_catalogue.py", "tests/test_documents.py"),
    *("tests/test_openapi.py", "tests/test_queries.py", "tests/rest/test_users.py"),
    *("tests/rest/test_matrix.py", "tests/rest/test_isolation.py"),
]
FEW = "polls or poll or Poll or every or all or declared or served or next_page or walk or once"


def files() -> dict[str, str]:
    """The files that the document shows, by their names."""
    found = {}
    for block in parsed(DOCUMENT).findall(docutils.nodes.literal_block):
        for name in block["names"]:
            found[name.replace("00nn", NUMBER)] = block.astext() + "\n"
    return found


def lines() -> list[list[str]]:
    """What it adds to the three lists: the plain blocks that are indented as code."""
    text = (HOME / DOCUMENT).read_text("utf-8").partition("The three lists.")[2]
    blocks = re.findall(r"::\n\n((?:    .+\n)+)", text)
    return [[line[4:] for line in block.splitlines()] for block in blocks]


def copied(place: Path) -> None:
    """The program as it stands, in a directory of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (HOME / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, place / name)
    # Where an installed program has them.
    (place / "warmdesk" / "sql").symlink_to(place / "sql")
    (place / "warmdesk" / "config_files").symlink_to(place / "config")


def insert(file: Path, before: str, added: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(before) == 1, f"{file.name} has {before!r} {text.count(before)} times"
    file.write_text(text.replace(before, added + before), "utf-8")


@pytest.mark.timeout(240)
async def test_the_resource_of_the_document_works(tmp_path: Path) -> None:
    copied(tmp_path)
    shown = files()
    assert len(shown) == 7
    for name, content in shown.items():
        (tmp_path / name).write_text(content, "utf-8")
    (resource,), events, table = lines()[:3]
    insert(tmp_path / "warmdesk/rest/__init__.py", '    "events",\n', f"    {resource}\n")
    catalogue = tmp_path / "warmdesk/realtime/events.py"
    insert(catalogue, "# To every socket of one user.\n", "\n".join(events) + "\n\n")
    insert(catalogue, "from warmdesk.schemas import projects as project\n", POLL)
    insert(
        tmp_path / "warmdesk/bounds.py", '    "message_reactions": WORK,\n', '    "polls": WORK,\n'
    )
    insert(tmp_path / "docs/protocol.rst", "project.updated                Fields", PROTOCOL)
    public = "public         GET    /health\n"
    insert(tmp_path / "tests/rest/test_matrix.py", public, "\n".join(table) + "\n")

    status, said = await run(tmp_path, sys.executable, "bin/statements.py")
    assert status == 0, said
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x", *RUN, "-k", FEW]
    status, said = await run(tmp_path, *tests)
    assert status == 0, said[-5000:]
    assert "test_polls" not in said.partition("short test summary")[2]


TABLE = '    "polls": WORK,\n'
POLL = "from warmdesk.schemas import polls as poll\n"
PROTOCOL = """\
poll.created                   Somebody asks something.
poll.deleted                   A poll was deleted.
"""


async def run(place: Path, *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=place,
        env={"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
