"""What events tell of: names, what stands below what, and the same in SQL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.realtime.entities import entity, is_erased, user_of

PARTS = st.lists(
    st.tuples(st.sampled_from(["card", "cards"]), st.sampled_from([1, 11])), min_size=1, max_size=3
)


def named(parts: list[tuple[str, int]]) -> str:
    made = entity(*parts[0])
    for part in parts[1:]:
        made = made.child(*part)
    return made


@given(PARTS, st.lists(PARTS, max_size=3))
def test_what_is_erased_takes_all_below_it_and_nothing_beside_it(
    told_of: list[tuple[str, int]], erased: list[list[tuple[str, int]]]
) -> None:
    below = any(told_of[: len(each)] == each for each in erased)
    assert is_erased(named(told_of), {named(each) for each in erased}) == below


def test_nothing_is_erased_with_what_tells_of_nothing() -> None:
    assert not is_erased("-", {"card:7"})


@pytest.mark.parametrize(
    ("told_of", "user"),
    [("user:7", 7), ("user:7/key:1", 0), ("users:7", 0), ("card:7", 0), ("-", 0)],
)
def test_the_user_that_an_event_tells_of(told_of: str, user: int) -> None:
    assert user_of(told_of) == user


async def test_sql_makes_the_same_names(connection: Any) -> None:
    question = "select entity(entity('card', 7), 'comment', 9)"
    assert await connection.fetchval(question) == entity("card", 7).child("comment", 9)
