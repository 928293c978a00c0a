"""docs/borrowed-insides.rst tells of every place that uses the insides of a library, and each part
that bin/bench can take out leaves a server that serves.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import docutils.nodes
import pytest
import redis.asyncio
from aiohttp import web

from load.bench import borrowed, without
from tests.journeys.running import Running
from tests.person import PASSWORD
from tests.test_documents import HOME, parsed
from warmdesk.client import Client

LIBRARIES = ("aiohttp", "aiohttp_swagger3", "aioprometheus", "asyncpg", "redis")
PUBLIC = {"_asdict", "_exit", "_fields", "_make", "_replace", "_value_"}
"""Of named tuples, enumerations and `os`: they begin with _ and are meant for everybody."""
WITHOUT = Path(without.__file__)


def stand_ins() -> dict[str, dict[str, str]]:
    """The fields of each section, by its heading."""
    found = {}
    for section in parsed("docs/borrowed-insides.rst").findall(docutils.nodes.section):
        fields = {
            name.astext(): body.astext()
            for field in section.children
            if isinstance(field, docutils.nodes.field_list)
            for name, body in (each.children for each in field.children)
        }
        if fields:
            found[section[0].astext()] = fields
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def from_library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def own_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module of ours gives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if is_own(node):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # in __slots__


def is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def inherited(kind: type) -> set[str]:
    """Private names of the libraries' classes that a class of ours extends."""
    names: set[str] = set()
    for base in kind.__mro__:
        if from_library(base.__module__):
            names.update(vars(base))
            try:
                names.update(re.findall(r"\bself\.(_\w+)", inspect.getsource(base)))
            except (OSError, TypeError):  # not written in Python
                pass
    return {name for name in names if is_private(name)}


def taken_objects() -> set[str]:
    """Private names of the objects of libraries that are used without being extended."""
    kinds = (web.RequestHandler, aiohttp.ClientSession, redis.asyncio.Connection)
    return {name for kind in kinds for name in inherited(kind)}


def borrowed_names() -> dict[str, set[str]]:
    """The libraries' private names that each module of warmdesk/ uses, by the module's path."""
    paths = sorted((HOME / "warmdesk").rglob("*.py"))
    trees = {path.relative_to(HOME).as_posix(): ast.parse(path.read_text()) for path in paths}
    ours = {name for tree in trees.values() for name in own_names(tree)} - taken_objects()
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and from_library(node.module or ""):
                names.update(each.name for each in node.names)
            elif isinstance(node, ast.Attribute) and not is_own(node) and node.attr not in ours:
                names.add(node.attr)
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
                names.update(inherited(getattr(module, node.name)) & set(named_in(node)))
        names = {name for name in names if is_private(name)}
        if names:
            found[path] = names
    return found


def named_in(kind: ast.ClassDef) -> Iterator[str]:
    """What a class defines, and the attributes that it uses."""
    for node in ast.walk(kind):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_every_private_name_of_a_library_is_told() -> None:
    documented: dict[str, set[str]] = {}
    for fields in stand_ins().values():
        names = set(re.findall(r"_\w+", fields["private names"]))
        if names:
            documented.setdefault(fields["module"], set()).update(names)
    assert documented == borrowed_names()


def test_no_other_module_may_use_private_names() -> None:
    settings = tomllib.loads((HOME / "pyproject.toml").read_text())
    ignored = settings["tool"]["ruff"]["lint"]["per-file-ignores"]
    allowed = {
        path.relative_to(HOME).as_posix()
        for pattern, rules in ignored.items()
        if "SLF001" in rules and pattern.startswith("warmdesk/")
        for one in _spread(pattern)
        for path in HOME.glob(one)
    }
    told = {fields["module"] for fields in stand_ins().values()}
    # What two classes of one file know of each other.
    assert allowed - {"warmdesk/db/pool.py"} <= told


def _spread(pattern: str) -> list[str]:
    """A pattern with {a,b} as several without."""
    match = re.search(r"\{(.*?)\}", pattern)
    if match is None:
        return [pattern]
    return [pattern.replace(match[0], each) for each in match[1].split(",")]


def test_each_section_says_all() -> None:
    wanted = ["module", "stands in for", "goal", "figure", "private names", "way back"]
    for heading, fields in stand_ins().items():
        assert list(fields) == wanted, heading
        assert (HOME / fields["module"]).is_file(), heading


def test_what_the_bench_measures_is_what_can_be_taken_out() -> None:
    said = {
        name
        for fields in stand_ins().values()
        for name in re.findall(r"without\.py (\w+)", fields["way back"])
    }
    assert said == set(without.PARTS) == set(borrowed.MEASURED)


@pytest.mark.parametrize("part", without.PARTS)
async def test_the_way_back_works(part: str) -> None:
    """A server with the library's own part serves requests, sockets and messages."""
    running = Running(program=(str(WITHOUT), part))
    async with running, Client(running.url) as client:
        person = {"username": "olga", "email": "olga@example.org", "password": PASSWORD}
        await client.post("/auth/register", {**person, "display_name": "Olga"})
        await client.login("olga", PASSWORD)
        board = await client.post("/projects", {"name": "Back"})
        chat = f"/projects/{board['slug']}/chat/messages"
        async with client.socket(board["slug"]) as socket:
            async for frame in socket:
                if frame["type"] == "hello":
                    await client.post(chat, {"body": "Hello"})
                elif frame["type"] == "chat.message":
                    assert frame["payload"]["body"] == "Hello"
                    break
        assert "error" not in running.log
