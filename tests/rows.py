"""The rows of all tables, to see that what was refused changed nothing and told nothing."""

from __future__ import annotations

from typing import Any


async def contents(connection: Any) -> dict[str, str]:
    """How many rows each table has, the feeds' too, and a hash of them. But what makes texts
    findable is left out: it is written a moment after them; and when jobs had their turns.
    """
    tables = await connection.fetch(
        "select tablename from pg_tables where schemaname = 'public'"
        " and tablename not like '%\\_grams' and tablename <> 'turns'"
    )
    rows = await connection.fetch(
        " union all ".join(
            f"select '{name}', count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0)"
            f" from {name} as t"
            for (name,) in tables
        )
    )
    return dict(rows)


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The tables whose rows are not the same."""
    return sorted(name for name in before if before[name] != after[name])
