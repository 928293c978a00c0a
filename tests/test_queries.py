"""Every statement is good SQL on the migrated schema, and SQL stands in SQL files only."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import warmdesk
from warmdesk.db.migrations import TYPE, files, shapes_and_changes
from warmdesk.db.queries import Query, sql

PYTHON = sorted(Path(warmdesk.__file__).parent.rglob("*.py"))
QUERIES = list(sql)
STATEMENT = re.compile(
    r"^\s*(select\s|with\s+\w+\s+as\s*\(|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s"
    r"|create\s+(or\s+replace\s+)?(table|index|function|type|database)\s|alter\s+table\s|drop\s"
    r"|truncate\s|copy\s+\w+\s+(from|to)\s)",
    re.IGNORECASE,
)
# What a migrator and a pool must say before there is any schema: locks, limits, the ledger.
BEFORE_THE_SCHEMA = {"migrations.py", "pool.py"}


@pytest.fixture(scope="module")
async def connection(servers: Any, empty_template: str) -> AsyncIterator[Any]:
    """A connection to the migrated schema; these tests write nothing."""
    connection = await asyncpg.connect(servers.dsn(empty_template))
    yield connection
    await connection.close()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
async def test_every_query_can_be_prepared(connection: Any, query: Query[..., Any]) -> None:
    prepared = await connection.prepare(query.statement)
    assert len(prepared.get_parameters()) == len(query.names)


def test_a_query_refuses_a_parameter_it_does_not_know() -> None:
    query: Query[..., Any] = Query(
        "things.find", "many", "select :one::int, ':two', :one -- :three"
    )
    assert query.statement == "select $1::int, ':two', $1"
    assert query.names == ["one"]


async def test_a_query_takes_exactly_its_parameters(connection: Any) -> None:
    query: Query[..., Any] = Query("things.find", "value", "select :one::int + :two::int")
    assert await query(connection, one=1, two=2) == 3
    with pytest.raises(TypeError, match="takes no three"):
        await query(connection, one=1, two=2, three=3)
    with pytest.raises(KeyError, match="two"):
        await query(connection, one=1)


async def test_values_with_quotes_stay_values(connection: Any) -> None:
    query: Query[..., Any] = Query("things.echo", "value", "select :text::text")
    for text in ("'", "'; drop table users; --", "$1", ":text", "\\", "%_", "é\U0001f680"):
        assert await query(connection, text=text) == text


async def test_shapes_are_stable_and_see_their_statement_only(connection: Any) -> None:
    """A volatile shape would show rows that are newer than the board around it."""
    rows = await connection.fetch(
        "select p.proname, p.provolatile::text as v from pg_proc p"
        " join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'public' and (p.proname like '%\\_json' or p.proname in"
        " ('shape', 'envelope', 'epoch', 'iso'))"
    )
    assert len(rows) > 10
    assert {row["proname"]: row["v"] for row in rows if row["v"] != "s"} == {}


async def test_functions_of_the_shapes_folder_change_nothing(connection: Any) -> None:
    names = {
        name
        for _, text in files("shapes")
        for name in re.findall(r"create or replace function (\w+)", text)
    }
    rows = await connection.fetch(
        "select distinct proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'public' and provolatile = 'v'"
    )
    assert names & {row["proname"] for row in rows} == set()


async def test_sql_functions_that_change_things_are_volatile(connection: Any) -> None:
    """PostgreSQL refuses an insert in a stable function only when it runs."""
    for _, text in files("changes"):
        for name, body in re.findall(
            r"create or replace function (\w+)\(.*?\$\$(.*?)\$\$", text, flags=re.DOTALL
        ):
            if not re.search(r"^\s*(insert into|update|delete from)\s", body, flags=re.MULTILINE):
                continue
            kinds = await connection.fetch(
                "select provolatile::text as v from pg_proc where proname = $1", name
            )
            assert {row["v"] for row in kinds} == {"v"}, name


async def test_functions_name_only_what_exists(connection: Any) -> None:
    """Bodies in SQL are parsed again with checks on; those in PL/pgSQL are compiled."""
    text = "\n".join(shapes_and_changes()[1])
    async with connection.transaction():
        await connection.execute(text)
        await connection.execute("set local check_function_bodies = on")
        await connection.execute(text)


def test_no_statement_names_the_type_of_a_shape() -> None:
    """Its name in the database changes with its fields, and is known to functions only."""
    types = {name for _, text in files("shapes") for name, _ in TYPE.findall(text)}
    assert "place_shape" in types
    words = {query.name: set(re.findall(r"\w+", query.statement)) for query in QUERIES}
    assert not {name: found for name, own in words.items() if (found := own & types)}


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_python_holds_no_sql(path: Path) -> None:
    if path.name in BEFORE_THE_SCHEMA:
        return
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node) for node in strings_of_documentation(tree)}
    found = [
        f"line {node.lineno}: {node.value[:60]!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and STATEMENT.match(node.value)
    ]
    assert not found, f"{path} has SQL in it: {found}"


def strings_of_documentation(tree: ast.AST) -> list[ast.AST]:
    """Strings that stand as statements: docstrings of modules, classes, functions, constants."""
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_python_calls_a_connection_with_constants_only(path: Path) -> None:
    """What is put together at run time would not be bound but pasted."""
    if path.name in (*BEFORE_THE_SCHEMA, "queries.py"):
        return
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in ("fetch", "fetchrow", "fetchval", "execute", "executemany", "copy"):
            pasted = [a for a in node.args if isinstance(a, ast.JoinedStr | ast.BinOp)]
            assert not pasted, f"{path}, line {node.lineno}: bind the values"


async def test_a_missing_row_is_a_missing_thing(connection: Any) -> None:
    from warmdesk.errors import NotFound

    for kind in ("one", "value"):
        with pytest.raises(NotFound):
            await Query("things.none", kind, "select 1 where false")(connection)
    assert await Query("things.none", "many", "select 1 where false")(connection) == []


async def test_hostile_values_are_data_errors(connection: Any) -> None:
    query: Query[..., Any] = Query("things.number", "value", "select :number::integer")
    for value in (2**40, "seven", 10**30):
        with pytest.raises(asyncpg.DataError):
            await query(connection, number=value)
