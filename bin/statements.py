"""Write warmdesk/db/statements.pyi: the statements of sql/queries/ as mypy sees them, with their
parameters and what they give.

A parameter has the type that it is cast to in the SQL (``:id::bigint``), and Any without a cast;
each may be null. What a column holds the SQL does not tell, so it is Any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from warmdesk.db.queries import REQUEST, Hot, Query, Statements

TOP = Path(__file__).resolve().parents[1]
STUB = TOP / "warmdesk" / "db" / "statements.pyi"
TYPES = {
    "bigint": "int",
    "boolean": "bool",
    "double precision": "float",
    "float8": "float",
    "int": "int",
    "integer": "int",
    "interval": "datetime.timedelta",
    "json": "str",
    "jsonb": "str",
    "smallint": "int",
    "text": "str",
    "timestamptz": "datetime.datetime",
    "uuid": "UUID | str",
}
"""What asyncpg takes for a type of PostgreSQL."""
CAST = re.compile(r"\$(\d+)(?:::(double precision|\w+)(\[\])?)?")
KINDS = {"one": "Row", "value": "Any", "many": "Rows", "nothing": "str"}
BEGIN = '''"""Made by `bin/statements` of sql/queries/*.sql: change those, not this."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID

from warmdesk.db.queries import Hot, Queries, Query, Statements

class Row(Protocol):
    """A row: a column by its name or place. It iterates over its values."""

    def __getitem__(self, column: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def get(self, column: str, default: Any = None, /) -> Any: ...
    def keys(self) -> Iterable[str]: ...
    def values(self) -> Iterable[Any]: ...
    def items(self) -> Iterable[tuple[str, Any]]: ...

Rows = Sequence[Row]
P = ParamSpec("P")
R = TypeVar("R")

def query(sketch: Callable[Concatenate[Any, P], R]) -> Query[P, R]: ...
def hot(sketch: Callable[Concatenate[Any, P], R]) -> Hot[P, R]: ...

'''


def parameter_types(query: Query[..., Any]) -> dict[str, str]:
    """The types of a statement's parameters, by name: what they are cast to wherever they are."""
    casts: dict[str, set[str]] = {}
    for number, kind, array in CAST.findall(query.statement):
        one = TYPES.get(kind)
        whole = f"Sequence[{one} | None]" if array else one
        name = query.names[int(number) - 1]
        casts.setdefault(name, set()).add(f"{whole} | None" if one else "Any")
    return {name: found.pop() if len(found) == 1 else "Any" for name, found in casts.items()}


def stub() -> str:
    """The text of the stub, as ruff formats it."""
    text = BEGIN
    for resource, queries in vars(Statements()).items():
        text += f"class {class_name(resource)}(Queries):\n"
        for query in queries:
            text += signature(query)
    text += "class Sql(Statements):\n"
    text += "".join(f"    {name}: {class_name(name)}\n" for name in vars(Statements()))
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


def class_name(resource: str) -> str:
    return "".join(word.capitalize() for word in resource.split("_")) + "Queries"


def signature(query: Query[..., Any]) -> str:
    """A statement as a method whose decorator makes it the `Query` that it is."""
    types = parameter_types(query)
    hot = isinstance(query, Hot)
    names = [name for name in query.names if not (hot and name in REQUEST)]
    parameters = ", ".join(f"{name}: {types[name]}" for name in names)
    return (
        f"    @{'hot' if hot else 'query'}\n"
        f"    def {query.name.partition('.')[2]}(self{', *, ' if names else ''}{parameters})"
        f" -> {KINDS[query.kind]}: ...\n"
    )


def main(arguments: list[str]) -> int:
    made = stub()
    if arguments != ["--check"]:
        STUB.write_text(made)
        return 0
    if STUB.exists() and STUB.read_text() == made:
        return 0
    print(
        f"{STUB.relative_to(TOP)} is not what sql/queries/ says: make it anew with bin/statements"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
