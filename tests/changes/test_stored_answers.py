"""What is kept for Idempotency-Keys: bounded for a person, and what was promised is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board
from tests.person import Person
from warmdesk.changes import stored_answers
from warmdesk.client import Answer

FULL = """
    insert into idempotency_keys (user_id, path, key, body_hash, status, answer, created_at)
    select $1, 'POST /x', 'old' || n, '', 201, repeat('x', $3), now() - interval '23 hours'
    from generate_series(1, $2) as n
"""

pytestmark = pytest.mark.settings(rate_limits=True)


async def make(board: Board, who: Person, key: str, title: str = "Fix the door") -> Answer:
    path = f"{board.path}/columns/{board.backlog}/cards"
    return await who.request("POST", path, {"title": title}, key=key)


async def say(board: Board, who: Person, key: str) -> Answer:
    return await who.request("POST", f"{board.path}/chat/messages", {"body": "Hello"}, key=key)


@pytest.mark.parametrize(("keys", "size"), [(100, 1), (3, 1 << 20)])
async def test_who_has_too_much_kept_is_refused_a_new_key_and_answered_an_old_one(
    board: Board,
    alice: Person,
    olga: Person,
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    keys: int,
    size: int,
) -> None:
    monkeypatch.setattr(stored_answers, "KEYS_OF_USER", 100)
    monkeypatch.setattr(stored_answers, "BYTES_OF_USER", 3 << 20)
    monkeypatch.setattr(stored_answers, "FRESH_SECONDS", 0.0)
    first, said = await make(board, alice, "first"), await say(board, alice, "said")
    assert (first.status, said.status) == (201, 201)
    await connection.execute(FULL, alice.id, keys - 2 if size == 1 else keys, size)

    for refused in (await make(board, alice, "second"), await say(board, alice, "other")):
        assert refused.status == 429
        assert refused.body["code"] == "too_many_idempotency_keys"
        assert 3000 < int(refused.headers["Retry-After"]) <= 3600
        assert refused.headers["RateLimit-Policy"] == '"idempotency_keys";q=100;w=86400'

    again, heard = await make(board, alice, "first"), await say(board, alice, "said")
    assert (again.status, again.body) == (201, first.body)
    assert (heard.status, heard.body) == (201, said.body)
    assert (await make(board, alice, "first", "Another")).status == 422
    await board.card("Without a key")
    assert (await make(board, olga, "second")).status == 201


async def test_there_is_room_again_when_the_oldest_went(
    board: Board, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(stored_answers, "KEYS_OF_USER", 5)
    monkeypatch.setattr(stored_answers, "FULL_SECONDS", 0.05)
    await connection.execute(FULL, alice.id, 5, 1)
    assert (await make(board, alice, "new")).status == 429
    await connection.execute(
        "update idempotency_keys set created_at = now() - interval '25 hours' where key = 'old1'"
    )

    async def made() -> bool:
        return (await make(board, alice, "new")).status == 201

    await eventually(made)


async def test_many_at_once_do_not_go_beyond_it(
    board: Board, alice: Person, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_answers, "KEYS_OF_USER", 20)

    answers = await asyncio.gather(*(make(board, alice, f"k{n}") for n in range(50)))

    assert sorted(a.status for a in answers) == [201] * 20 + [429] * 30
    assert await connection.fetchval("select count(*) from idempotency_keys") == 20


async def test_so_many_in_a_moment_that_they_are_counted_again_are_not_refused(
    board: Board, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_answers, "BYTES_OF_USER", 6 << 20)
    monkeypatch.setattr(stored_answers, "FULL_SECONDS", 60.0)

    one_by_one = [await make(board, alice, f"k{n}") for n in range(15)]
    at_once = await asyncio.gather(*(make(board, alice, f"a{n}") for n in range(4)))

    assert {a.status for a in (*one_by_one, *at_once)} == {201}


async def test_few_keys_are_counted_once_for_all(
    board: Board, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = 0
    whole = stored_answers.StoredAnswers._measured

    async def counted(self: stored_answers.StoredAnswers, user_id: int) -> stored_answers.Use:
        nonlocal measured
        measured += 1
        return await whole(self, user_id)

    monkeypatch.setattr(stored_answers.StoredAnswers, "_measured", counted)
    for n in range(50):
        assert (await make(board, alice, f"k{n}")).status == 201

    assert measured == 1


@pytest.mark.settings(rate_limits=False)
async def test_where_limits_are_off_nobody_is_refused(
    board: Board, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_answers, "KEYS_OF_USER", 0)

    assert (await make(board, alice, "first")).status == 201
