"""A shape's values stand in the order of its fields. The fields are a type and the values a row, so
two of one kind could change places and nobody would see it.
"""

from __future__ import annotations

import json
from typing import Any

SHAPES = """
    select
        p.oid::regprocedure::text as name,
        p.proname as called,
        p.proargnames as names,
        array(
            select format_type(t, null) from unnest(p.proargtypes::oid[]) with ordinality a (t, nth)
            order by nth
        ) as types,
        array(
            select coalesce(c.relname, '')
            from unnest(p.proargtypes::oid[]) with ordinality a (t, nth)
            left join pg_class c on c.reltype = a.t and c.relkind = 'r'
            order by nth
        ) as tables
    from pg_proc p
    where p.prorettype = 'json'::regtype and p.prosrc ~ '^\\s*select row_to_json\\(row\\('
"""
COLUMNS = """
    select attname::text as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
    order by attnum
"""


def value(kind: str, number: int, marked: int) -> Any:
    """One of this type that no other number has; of truths only the marked one is."""
    day = f"2026-{1 + number // 28:02}-{1 + number % 28:02}"
    values: dict[str, Any] = {
        "bigint": 1000 + number,
        "integer": 1000 + number,
        "double precision": number + 0.5,
        "text": f"text {number}",
        "boolean": number == marked,
        "date": day,
        "time without time zone": f"{number // 60:02}:{number % 60:02}",
        "timestamp with time zone": f"{day}T01:02:03.000004Z",
        "uuid": f"00000000-0000-0000-0000-{number:012}",
        "json": [number],
        "jsonb": {"mention": f"text {number}"},
        "text[]": [f"text {number}"],
        "bytea": f"\\x{number:04x}",
        "bigint[]": [1000 + number],
    }
    return values[kind]


def literal(given: Any, kind: str) -> str:
    if kind.endswith("[]"):
        return f"array{given}::{kind}"
    text = json.dumps(given) if kind == "json" else str(given)
    return f"'{text}'::{kind}"


async def made(connection: Any, shape: Any, marked: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a shape says of rows and values that are all different, and what it should."""
    number = 0
    arguments: list[str] = []
    expected: dict[str, Any] = {}
    for table in filter(None, shape["tables"]):
        fields = {}
        for column in await connection.fetch(COLUMNS, table):
            number += 1
            fields[column["name"]] = value(column["type"], number, marked)
        expected = fields | expected
        arguments.append(f"jsonb_populate_record(null::{table}, '{json.dumps(fields)}')")
    for name, kind, table in zip(shape["names"], shape["types"], shape["tables"], strict=True):
        if not table:
            number += 1
            expected[name] = value(kind, number, marked)
            arguments.append(f"{name} => {literal(expected[name], kind)}")
    said = await connection.fetchval(f"select {shape['called']}({', '.join(arguments)})")
    return json.loads(said), expected


async def test_each_field_of_a_shape_has_its_own_value(connection: Any) -> None:
    shapes = await connection.fetch(SHAPES)
    assert {"me_json(users)", "shape(users)"} <= {shape["name"] for shape in shapes}
    wrong = []
    for shape in shapes:
        for marked in range(1, 45):
            said, expected = await made(connection, shape, marked)
            for name, given in said.items():
                if name == "notify":  # the column has what is not usual, the shape all
                    assert given | expected[name] == given
                elif name in expected and given not in ("", expected[name]):
                    wrong.append(f"{shape['name']}: {name} is {given}, not {expected[name]}")
    assert not wrong, "\n".join(sorted(set(wrong)))
