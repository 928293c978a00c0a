"""The statements of ``sql/queries/*.sql`` as functions: ``await sql.cards.in_column(connection,
column_id=2, …)``.

A file holds blocks that begin with ``-- name: verb -> kind``, then say what they promise, then give
one statement with ``:named`` parameters. Kinds: ``one`` (a row; none is a `NotFound`), ``value``
(its first field; none is a `NotFound`), ``many`` (all rows), ``nothing``. ``-> one, by key`` says
that each of its rows is found by a key; all others are tried with a full database. Names become
``$1`` once, when the file is read; casts (``::int``), strings and comments stay as they are. aiosql
does the same for 9 µs a call more.

mypy knows each statement, its parameters and its kind from ``statements.pyi``, which
``bin/statements`` makes of the same files.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from warmdesk.errors import NotFound

if TYPE_CHECKING:
    from warmdesk.db.statements import Sql

HEADER = re.compile(r"^-- name: (\w+) -> (one|many|value|nothing)(, by key)?$", re.MULTILINE)
TOKEN = re.compile(r"('(?:[^']|'')*')|(--[^\n]*)|(::)|(:=)|:([a-z_]\w*)")
REQUEST = ("actor", "client", "project_id", "need", "version", "conflict_status")
"""The parameters that `Changes.hot` gives every statement: see `ChangeContext.parameters`."""

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Query(Generic[P, R_co]):
    """One statement. Called with a connection (or pool) and its parameters by name."""

    __slots__ = ("by_key", "kind", "name", "names", "statement")

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind = name, kind
        self.names: list[str] = []
        self.by_key = False

        def numbered(match: re.Match[str]) -> str:
            if match[2]:
                return ""
            word = match[5]
            if word is None:
                return match[0]
            if word not in self.names:
                self.names.append(word)
            return f"${self.names.index(word) + 1}"

        self.statement = TOKEN.sub(numbered, text).strip().rstrip(";")

    def values(self, params: dict[str, Any]) -> list[Any]:
        """The parameters, in the statement's order; they are taken out of `params`."""
        values = list(map(params.pop, self.names))
        if params:
            raise TypeError(f"{self.name} takes no {', '.join(params)}")
        return values

    async def __call__(self, connection: Any, /, *_: P.args, **params: P.kwargs) -> R_co:
        values = self.values(params)
        answer: R_co
        if self.kind == "many":
            answer = await connection.fetch(self.statement, *values)
            return answer
        if self.kind == "nothing":
            answer = await connection.execute(self.statement, *values)
            return answer
        row = await connection.fetchrow(self.statement, *values)
        if row is None:
            raise NotFound()
        answer = row if self.kind == "one" else row[0]
        return answer


class Hot(Query[P, R_co]):
    """A statement that takes `REQUEST` too; `P` is what else it takes."""

    __slots__ = ()


class Queries:
    """The queries of one file, as attributes."""

    def __init__(self, resource: str, text: str) -> None:
        parts = HEADER.split(text)
        for name, kind, by_key, body in zip(*(parts[n::4] for n in range(1, 5)), strict=True):
            if name in vars(self):
                raise ValueError(f"{resource}.{name} is there twice")
            query: Query[..., Any] = Query(f"{resource}.{name}", kind, body)
            if set(REQUEST) <= set(query.names):
                query = Hot(f"{resource}.{name}", kind, body)
            query.by_key = by_key is not None
            setattr(self, name, query)

    def __iter__(self) -> Iterator[Query[..., Any]]:
        return iter(vars(self).values())


class Statements:
    """All query files, as attributes named like the files."""

    def __init__(self) -> None:
        folder = importlib.resources.files("warmdesk.sql").joinpath("queries")
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".sql"):
                resource = file.name.removesuffix(".sql")
                setattr(self, resource, Queries(resource, file.read_text("utf-8")))

    def __iter__(self) -> Iterator[Query[..., Any]]:
        return (query for queries in vars(self).values() for query in queries)


if TYPE_CHECKING:
    sql: Sql
else:
    sql = Statements()
