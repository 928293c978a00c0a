"""A function of the database that does wrong, so that a checker cries."""

from __future__ import annotations

from typing import Any


async def breaks(connection: Any, name: str, right: str, wrong: str) -> None:
    """From now on this function does what is `wrong` where it did what is right."""
    definition = await connection.fetchval(
        "select pg_get_functiondef(p.oid) from pg_proc p"
        " where p.proname = $1 and p.pronamespace = 'public'::regnamespace",
        name,
    )
    assert definition.count(right) == 1, definition
    await connection.execute(definition.replace(right, wrong))
