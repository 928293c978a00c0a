"""Two JSON objects become one: what is joined as text is what merging them gives, in Python and in
PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from warmdesk.json_parts import joined

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXTS = st.text(CHARACTERS | st.sampled_from('{}[]",\\: \n'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
NESTED: dict[str, Any] = {"a}": {"b{": [{}, "}", '{"']}, "é🦊": "\u2028"}


@pytest.fixture(scope="module")
async def connection(servers: Any, empty_template: str) -> AsyncIterator[Any]:
    """A connection to the migrated schema; these tests write nothing."""
    connection = await asyncpg.connect(servers.dsn(empty_template))
    yield connection
    await connection.close()


def pair(first: dict[str, Any], second: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two without the keys of the first in the second."""
    return first, {key: value for key, value in second.items() if key not in first}


PAIRS = st.builds(pair, OBJECTS, OBJECTS)


@given(PAIRS)
@example(({}, {}))
@example(({}, NESTED))
@example((NESTED, {}))
@example((NESTED, {"": None}))
def test_two_texts_are_what_the_merge_is(objects: tuple[dict[str, Any], dict[str, Any]]) -> None:
    first, second = objects
    merged = first | second

    compact = joined(msgspec.json.encode(first), msgspec.json.encode(second))
    assert msgspec.json.decode(compact) == merged
    assert list(msgspec.json.decode(compact)) == list(merged)
    assert compact == msgspec.json.encode(merged)
    spaced = joined(json.dumps(first), json.dumps(second, ensure_ascii=False))
    assert json.loads(spaced) == merged


@given(PAIRS)
@example(({}, {}))
@example(({}, NESTED))
@example((NESTED, {}))
@example((NESTED, {"": None}))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_postgresql_joins_as_python_does(
    connection: Any, objects: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    first, second = (json.dumps(each, ensure_ascii=False) for each in objects)

    assert await connection.fetchval("select joined($1, $2)", first, second) == joined(
        first, second
    )


async def test_postgresql_joins_what_its_own_functions_make(connection: Any) -> None:
    assert (
        await connection.fetchval(
            "select joined("
            "json_build_object('a', 1)::text, json_build_object('b', json_build_object())::text)"
            " || joined(json_build_object()::text, json_build_object('b', 'é')::text)"
        )
        == '{"a" : 1,"b" : {}}{"b" : "é"}'
    )
