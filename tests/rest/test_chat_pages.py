"""A page of a chat has a size, and whoever goes on where it ended misses nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Board
from tests.person import Person
from warmdesk.db.queries import sql
from warmdesk.rest.chat import PAGE_BYTES

LONGEST = "\x01" * 20_000


async def talk(connection: Any, board: Board, bodies: list[str]) -> list[int]:
    """Messages as if alice had sent them; every third is deleted. The ids of the others."""
    rows = await connection.fetch(
        "insert into chat_messages (project_id, user_id, body, is_deleted)"
        " select $1, 3, b, n % 3 = 2 from unnest($2::text[]) with ordinality as u (b, n)"
        " returning id, is_deleted",
        board.id,
        bodies,
    )
    return [row["id"] for row in rows if not row["is_deleted"]]


async def walk(person: Person, place: str | None, rel: str = "next") -> list[list[int]]:
    """The ids of a page and of all that follow it."""
    pages = []
    while place is not None:
        answer = await person.request("GET", place)
        assert answer.status == 200
        assert len(json.dumps(answer.body, separators=(",", ":"))) <= PAGE_BYTES
        pages.append([message["id"] for message in answer.body])
        assert pages[-1] == sorted(pages[-1])
        found = re.search(rf'<[^>]*/api/v1([^>]+)>; rel="{rel}"', answer.headers.get("Link", ""))
        place = found and found[1]
    return pages


@pytest.mark.foul
async def test_a_page_of_the_longest_messages_ends_and_goes_on(
    board: Board, alice: Person, connection: Any
) -> None:
    """200 messages of 120 kB each, 24 MB, were one page."""
    ids = await talk(connection, board, [LONGEST] * 300)
    path = f"{board.path}/chat/messages?limit=200"

    older = await walk(alice, path)
    assert [len(page) for page in older] == [69, 69, 62]
    assert [each for page in reversed(older) for each in page] == ids

    newer = await walk(alice, f"{path}&after={ids[0]}")
    assert [each for page in newer for each in page] == ids[1:]
    some = await walk(alice, f"{path}&after={ids[9]}&before={ids[99]}")
    assert [each for page in some for each in page] == ids[10:99]

    around = f"{path}&around={ids[120]}"
    after, before = await walk(alice, around), await walk(alice, around, "prev")
    assert after[0] == before[0]
    assert {ids[119], ids[120], ids[121]} <= set(after[0])
    older_ones = await walk(alice, f"{path}&before={before[0][0]}")
    assert [each for page in reversed(older_ones) for each in page] + before[0] == ids[
        : ids.index(before[0][-1]) + 1
    ]
    newer_ones = await walk(alice, f"{path}&after={after[0][-1]}")
    assert (
        after[0] + [each for page in newer_ones for each in page] == ids[ids.index(after[0][0]) :]
    )
    assert [each for page in after for each in page] == ids[ids.index(after[0][0]) :]


async def test_the_last_page_has_no_link(board: Board, alice: Person) -> None:
    path = f"{board.path}/chat/messages"
    ids = [(await alice.post(path, {"body": str(n)}))["id"] for n in range(6)]
    await alice.delete(f"{path}/{ids[0]}")
    assert await walk(alice, f"{path}?limit=5") == [ids[1:]]
    assert await walk(alice, f"{path}?limit=4") == [ids[2:], ids[1:2]]
    assert await walk(alice, f"{path}?limit=4&after={ids[1]}") == [ids[2:]]
    assert await walk(alice, f"{path}?before={ids[1]}") == [[]]
    both = await alice.request("GET", f"{path}?limit=2&around={ids[3]}")
    place = f"/api/v1{path}?limit=2"
    assert both.headers["Link"] == (
        f'<{place}&after={ids[4]}>; rel="next", <{place}&before={ids[3]}>; rel="prev"'
    )


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 9_000), st.sampled_from('a"\x01é🦊'), st.integers(0, 60)),
        min_size=1,
        max_size=12,
    ),
    bytes_=st.integers(0, 60_000),
    limit=st.integers(1, 12),
    asked=st.data(),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_fits_every_message_is_on_one_page(
    board: Board,
    connection: Any,
    sizes: list[tuple[int, str, int]],
    bytes_: int,
    limit: int,
    asked: st.DataObject,
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        ids = await talk(connection, board, [pending * size for size, pending, _ in sizes])
        for message_id, (_, _, reactions) in zip(ids, sizes, strict=False):
            await connection.execute(
                "insert into message_reactions (owner_type, owner_id, user_id, emoji)"
                " select 'chat_message', $1, 1 + n % 5, 'e' || n / 5"
                " from generate_series(1, $2::integer) as n",
                message_id,
                reactions,
            )
        newest: list[int] = []
        page = await ask(connection, board, bytes_, limit)
        while page["ids"]:
            newest = page["ids"] + newest
            assert page["older"] == (newest != ids)
            page = await ask(connection, board, bytes_, limit, before=newest[0])
        oldest: list[int] = []
        page = await ask(connection, board, bytes_, limit, after=ids[0] - 1)
        while page["ids"]:
            oldest += page["ids"]
            assert page["newer"] == (oldest != ids)
            page = await ask(connection, board, bytes_, limit, after=oldest[-1])
        assert newest == oldest == ids
        centre = asked.draw(st.sampled_from(ids))
        page = await ask(connection, board, bytes_, limit, around=centre)
        first = ids.index(page["ids"][0])
        assert centre in page["ids"]
        assert page["ids"] == ids[first : first + len(page["ids"])]
        assert page["older"] == (page["ids"][0] != ids[0])
        assert page["newer"] == (page["ids"][-1] != ids[-1])
    finally:
        await transaction.rollback()


async def ask(connection: Any, board: Board, bytes_: int, limit: int, **place: int) -> Any:
    where = {"before": None, "after": None, "around": None, **place}
    page = await sql.chat.page(connection, project_id=board.id, bytes=bytes_, limit=limit, **where)
    ids = [message["id"] for message in json.loads(page["items"])]
    assert len(ids) <= limit
    assert len(ids) <= 1 or len(page["items"].encode()) <= bytes_ + 4
    return {"ids": ids, "older": page["older"], "newer": page["newer"]}
