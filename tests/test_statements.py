"""Statements are seen by tools: mypy knows each, its parameters and its kind; none is forgotten."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import warmdesk
from warmdesk.auth.actor import Role
from warmdesk.db.queries import REQUEST, Query, sql
from warmdesk.realtime.change import ChangeContext

PACKAGE = Path(warmdesk.__file__).parent
MAKER = PACKAGE.parent / "bin" / "statements.py"
BEGIN = """
from typing import Any
from warmdesk.db.queries import sql
from warmdesk.realtime.change import Change, ChangeContext, Changes
async def wrong(connection: Any, changes: Changes, context: ChangeContext, change: Change) -> None:
"""
WRONG = {
    "await sql.cards.mvoe(connection)": '"CardsQueries" has no attribute "mvoe"',
    "await sql.crads.lock(connection)": '"Sql" has no attribute "crads"',
    "await sql.cards.delete(connection)": 'Missing named argument "id"',
    "await sql.cards.delete(connection, id=1, no=2)": 'Unexpected keyword argument "no"',
    "await sql.cards.delete(connection, id='1')": 'incompatible type "str"; expected "int | None"',
    "one: int = await sql.cards.lock(connection, project_id=1, card='A-1')": '"Row"',
    "change.shape(sql.cards.shape)": 'Missing named argument "id"',
    "await changes.hot(sql.cards.archive, context, 'card', archived=True)": 'argument "card"',
    "await changes.hot(sql.cards.lock, context, 'card', card='A-1')": 'expected "Hot[',
}
RIGHT = """
    await sql.cards.delete(connection, id=1)
    await changes.hot(sql.cards.update, context, "card", card="A-1", fields="{}", shows="card")
    change.shape(sql.cards.shape, id=1)
    (await sql.cards.lock(connection, project_id=1, card="A-1"))["version"]
"""
SQL_TYPES = {
    "bool": {"bool"},
    "int": {"int2", "int4", "int8"},
    "float": {"float8"},
    "str": {"text", "varchar", "json", "jsonb"},
    "UUID | str": {"uuid"},
    "datetime.timedelta": {"interval"},
    "datetime.datetime": {"timestamptz"},
}


@pytest.fixture
def maker() -> Any:
    spec = importlib.util.spec_from_file_location("statements", MAKER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
async def connection(servers: Any, empty_template: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(servers.dsn(empty_template))
    yield connection
    await connection.close()


@pytest.mark.timeout(240)  # mypy reads the whole program when nothing was kept
def test_mypy_refuses_a_statement_a_parameter_and_a_kind_that_are_not(tmp_path: Path) -> None:
    text = BEGIN + "".join(f"    {line}\n" for line in WRONG) + RIGHT
    (tmp_path / "wrong.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "setup.cfg", str(tmp_path / "wrong.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    told = dict(re.findall(r"^.*wrong\.py:(\d+): error: (.*)$", run.stdout, re.MULTILINE))
    lines = {line.strip(): str(n) for n, line in enumerate(text.splitlines(), start=1)}

    assert {line for line in WRONG if WRONG[line] not in told.get(lines[line], "")} == set()
    assert len(told) == len(WRONG), run.stdout


def test_the_stub_is_what_the_files_say(maker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_stub_fails_and_says_how_to_make_it_anew(
    maker: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stale = tmp_path / "statements.pyi"
    stale.write_text(maker.STUB.read_text().replace("def lock(", "def unlock("))
    monkeypatch.setattr(maker, "STUB", stale)
    monkeypatch.setattr(maker, "TOP", tmp_path)

    assert maker.main(["--check"]) == 1
    assert "make it anew with bin/statements" in capsys.readouterr().out
    maker.main([])
    assert maker.main(["--check"]) == 0


@pytest.mark.parametrize("query", list(sql), ids=lambda query: query.name)
async def test_parameters_have_the_types_that_postgresql_tells(
    connection: Any, maker: Any, query: Query[..., Any]
) -> None:
    types = maker.parameter_types(query)
    prepared = await connection.prepare(query.statement)
    for name, asked in zip(query.names, prepared.get_parameters(), strict=True):
        said = types[name]
        if said == "Any":
            continue
        one = said.removesuffix(" | None").removeprefix("Sequence[").removesuffix(" | None]")
        assert asked.name.endswith("[]") == said.startswith("Sequence["), name
        assert asked.name.removesuffix("[]") in SQL_TYPES[one], name


def test_every_statement_is_used() -> None:
    """``sql.cards.move``, also through a name: ``trims = sql.retention``."""
    used: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            node.targets[0].id: node.value.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Attribute)
            and ast.unparse(node.value.value) == "sql"
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                parts = ast.unparse(node).split(".")
                if parts[0] in names and len(parts) > 1:
                    used.add(f"{names[parts[0]]}.{parts[1]}")
                elif parts[0] == "sql" and len(parts) > 2:
                    used.add(f"{parts[1]}.{parts[2]}")

    assert {query.name for query in sql} - used == set()


def test_what_a_hot_statement_is_told_of_the_request_is_what_a_change_knows() -> None:
    assert tuple(ChangeContext(1, project_id=2, need=Role.MEMBER).parameters) == REQUEST
