"""The statements of ``sql/queries/*.sql`` as functions: ``await sql.cards.in_column(connection,
column_id=2, …)``.

A file holds blocks that begin with ``-- name: verb -> kind``, then say what they promise, then give
one statement with ``:named`` parameters. Kinds: ``one`` (a row; none is a `NotFound`), ``value``
(its first field; none is a `NotFound`), ``many`` (all rows), ``nothing``. Names become ``$1`` once,
when the file is read; casts (``::int``), strings and comments stay as they are. aiosql does the
same for 9 µs a call more.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

from warmdesk.errors import NotFound

HEADER = re.compile(r"^-- name: (\w+) -> (one|many|value|nothing)$", re.MULTILINE)
TOKEN = re.compile(r"('(?:[^']|'')*')|(--[^\n]*)|(::)|(:=)|:([a-z_]\w*)")


class Query:
    """One statement. Called with a connection (or pool) and its parameters by name."""

    __slots__ = ("kind", "name", "names", "statement")

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind = name, kind
        self.names: list[str] = []

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

    async def __call__(self, connection: Any, /, **params: Any) -> Any:
        values = self.values(params)
        if self.kind == "many":
            return await connection.fetch(self.statement, *values)
        if self.kind == "nothing":
            return await connection.execute(self.statement, *values)
        row = await connection.fetchrow(self.statement, *values)
        if row is None:
            raise NotFound()
        return row if self.kind == "one" else row[0]


class Queries:
    """The queries of one file, as attributes."""

    def __init__(self, resource: str, text: str) -> None:
        self._all: dict[str, Query] = {}
        parts = HEADER.split(text)
        for name, kind, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if name in self._all:
                raise ValueError(f"{resource}.{name} is there twice")
            self._all[name] = Query(f"{resource}.{name}", kind, body)

    def __getattr__(self, name: str) -> Query:
        try:
            return self._all[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Iterator[Query]:
        return iter(self._all.values())


class Statements:
    """All query files, as attributes named like the files."""

    def __init__(self) -> None:
        self._files: dict[str, Queries] = {}
        folder = importlib.resources.files("warmdesk.sql").joinpath("queries")
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".sql"):
                resource = file.name.removesuffix(".sql")
                self._files[resource] = Queries(resource, file.read_text("utf-8"))

    def __getattr__(self, name: str) -> Queries:
        try:
            return self._files[name]
        except KeyError:
            raise AttributeError(f"there is no sql/queries/{name}.sql") from None

    def __iter__(self) -> Iterator[Query]:
        return (query for queries in self._files.values() for query in queries)


sql = Statements()
