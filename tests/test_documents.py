"""Documents say what the code does: settings, close codes, commands, changes."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import docutils.core
import docutils.nodes
import pytest

import warmdesk
from tests.conftest import Board
from tests.person import Person
from warmdesk import app
from warmdesk.config import Settings
from warmdesk.http.commands import COMMANDS
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.events import CATALOGUE
from warmdesk.realtime.frames import Close
from warmdesk.schemas.notify import Kind
from warmdesk.schemas.settings import FIELDS, default_of, sentence_of

HOME = Path(__file__).parents[1]
STRICT = {
    "report_level": 2,
    "halt_level": 2,
    "warning_stream": False,
    "file_insertion_enabled": False,
    "doctitle_xform": False,
}
DOCUMENTS = [
    "README.rst",
    "CHANGELOG.rst",
    *(f"docs/{each.name}" for each in sorted((HOME / "docs").glob("*.rst"))),
]
FRONT_DOOR = 150
"""Lines of the README."""
LOGS_ERRORS = ("log.error", "log.exception", "log.critical")


def parsed(name: str) -> Any:
    """A document as docutils reads it; whatever it complains of is an error."""
    text = (HOME / name).read_text("utf-8")
    return docutils.core.publish_doctree(text, source_path=name, settings_overrides=STRICT)


def rows(document: Any, title: str) -> list[list[str]]:
    """The rows of the tables below a heading, header rows left out, each cell as text."""
    for section in document.findall(docutils.nodes.section):
        if section[0].astext().lower() == title.lower():
            return [
                [cell.astext() for cell in row.findall(docutils.nodes.entry)]
                for body in section.findall(docutils.nodes.tbody)
                for row in body.findall(docutils.nodes.row)
            ]
    raise AssertionError(f"there is no heading {title!r}")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_valid(name: str) -> None:
    parsed(name)


def test_the_front_door_is_short() -> None:
    assert len((HOME / "README.rst").read_text("utf-8").splitlines()) <= FRONT_DOOR


def test_the_events_in_the_protocol_are_the_catalogue() -> None:
    """Names on the control channel never reach a socket, so they stay in the code."""
    found = [row[0] for row in rows(parsed("docs/protocol.rst"), "Events")]
    named = [name for cell in found for name in re.findall(r"[a-z_]+(?:\.[a-z_]+)?", cell)]
    expected = {name for name, kind in CATALOGUE.items() if kind.scope is not EventScope.CONTROL}
    assert len(named) == len(set(named)), "a name is there twice"
    assert set(named) == expected


def test_the_commands_in_the_protocol_are_those_that_are_declared() -> None:
    app.resources()  # declares them
    table = rows(parsed("docs/protocol.rst"), "Commands")
    shown = {name: " ".join(sentence.split()) for name, sentence in table}
    assert shown == {name: each.sentence.replace("`", "") for name, each in COMMANDS.items()}


def test_the_close_codes_in_the_protocol_are_those_of_the_code() -> None:
    found = {int(row[0]): row[1] for row in rows(parsed("docs/protocol.rst"), "Close codes")}
    assert found.keys() == {int(code) for code in Close}


ARROWS = ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")
SPOKEN = {
    "arrows": ARROWS,
    "Shift + arrows": tuple(f"Shift+{arrow}" for arrow in ARROWS),
    "Space": (" ",),
    "Esc": ("Escape",),
}
"""Keys as people call them, and as a browser does."""


def test_the_keys_of_a_board_are_those_of_the_page() -> None:
    page = (HOME / "warmdesk" / "web" / "keys_board.js").read_text("utf-8")
    declared = re.findall(r'^    (?:"([^"]+)"|(\w+)): \["keys\.', page, re.MULTILINE)
    told = [
        key
        for cell, _ in rows(parsed("docs/using.rst"), "Keys")
        for part in cell.split(", ")
        for key in SPOKEN.get(part, (part.lower() if len(part) == 1 else part,))
    ]
    assert sorted(told) == sorted(quoted or plain for quoted, plain in declared)


def test_the_settings_file_holds_every_setting_with_its_default() -> None:
    text = (HOME / "config" / "warmdesk.toml").read_text("utf-8")
    defaults = Settings()
    written = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert list(written) == list(Settings.__struct_fields__)
    for name, value in written.items():
        default = getattr(defaults, name)
        if isinstance(default, bool):
            default = "on" if default else "off"
        assert value == (str(default) if isinstance(default, Path) else default), name


def test_the_operations_tell_every_system_setting_as_it_is_declared() -> None:
    told = rows(parsed("docs/operations.rst"), "System settings")
    assert [tuple(cell.replace("\n", " ") for cell in row) for row in told] == [
        (name, default_of(name), sentence_of(name).replace("`", "")) for name in FIELDS
    ]


def test_the_settings_file_explains_every_setting() -> None:
    text = (HOME / "config" / "warmdesk.toml").read_text("utf-8")
    for block in text.split("\n\n")[1:]:
        sentence, _, setting = block.strip().rpartition("\n")
        assert re.match(r"# \w+ = ", setting), setting
        assert sentence.startswith("# "), f"{setting} has no sentence"
        assert sentence.endswith((".", ";")), f"{setting} has no whole sentence"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_is_shown_is_there(name: str) -> None:
    text = (HOME / name).read_text("utf-8")
    for shown in set(re.findall(r"(?<!venv/)\bbin/([a-z]+)\b", text)):
        assert os.access(HOME / "bin" / shown, os.X_OK), f"bin/{shown} is not there"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_is_named_is_there(name: str) -> None:
    """But for those of the example that is invented, a resource called polls."""
    text = (HOME / name).read_text("utf-8")
    for target in re.findall(r"`[^`<]+<([^>`]+)>`_", text):
        if not target.startswith("http"):
            assert ((HOME / name).parent / target.partition("#")[0]).exists(), target
    for file in set(re.findall(r"``((?:warmdesk|sql|tests|load|config|bin)/[\w./-]+)``", text)):
        assert "polls" in file or (HOME / file).exists(), f"{file} is not there"


def test_the_changelog_names_this_version_first() -> None:
    titles = [
        section[0].astext()
        for section in parsed("CHANGELOG.rst").findall(docutils.nodes.section)
        if re.match(r"\d", section[0].astext())
    ]
    form = re.compile(r"\d+\.\d+\.\d+ \((\d{4}-\d\d-\d\d|not released)\)")
    assert all(form.fullmatch(title) for title in titles), titles
    assert titles[0].split()[0] == warmdesk.__version__


async def test_the_metrics_in_the_operations_are_those_of_a_scrape(
    root: Person, board: Board
) -> None:
    text = (await root.request("GET", "/metrics")).body
    told = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    shown = {
        name: " ".join(doc.split()) for name, doc in rows(parsed("docs/operations.rst"), "Metrics")
    }
    assert shown == told


def test_the_errors_in_the_operations_are_those_that_are_logged() -> None:
    logged = set()
    for file in (HOME / "warmdesk").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in LOGS_ERRORS:
                assert isinstance(call.args[0], ast.Constant), ast.unparse(call)
                logged.add(str(call.args[0].value).split()[0])
    of_servers = {name for name in logged if name.startswith("%s.")}
    logged -= of_servers
    logged |= {f"{server}{name[2:]}" for name in of_servers for server in ("postgres", "valkey")}

    assert {row[0] for row in rows(parsed("docs/operations.rst"), "The log")} == logged


def test_the_protocol_says_what_each_notification_is_about() -> None:
    said = (HOME / "docs" / "protocol.rst").read_text("utf-8")
    assert [kind for kind in get_args(Kind) if f"``{kind}``" not in said] == []
