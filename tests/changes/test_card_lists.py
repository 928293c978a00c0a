"""Lists of a card, and labels, changed by many at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board
from tests.locks import waiting
from tests.person import Person


async def test_what_two_add_at_once_is_all_there(board: Board, alice: Person, olga: Person) -> None:
    """Whole lists would lose what the other one added."""
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    calls = [
        person.put(path, {"add_tags": [f"{person.username} {n}"]})
        for n in range(20)
        for person in (alice, olga)
    ]
    calls += [alice.post(f"{path}/tags", {"name": f"path {n}"}) for n in range(20)]
    await asyncio.gather(*calls)
    shown = await alice.get(path)
    assert {tag["name"] for tag in shown["tags"]} == {
        f"{who} {n}" for who in ("alice", "olga", "path") for n in range(20)
    }
    assert shown["version"] == 61


async def test_of_many_who_add_the_same_one_did(board: Board, alice: Person, olga: Person) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    people = (alice, olga) * 10
    answers = await asyncio.gather(
        *(person.request("POST", f"{path}/tags", {"name": "urgent"}) for person in people)
    )
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({str(answer.body) for answer in answers}) == 1
    answers = await asyncio.gather(
        *(person.request("DELETE", f"{path}/tags/urgent") for person in people)
    )
    assert sorted(answer.status for answer in answers) == [204] + [404] * 19
    assert (await alice.get(path))["version"] == 3


async def test_of_many_who_archive_a_card_one_did(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/archive"
    for method, version in (("POST", 2), ("DELETE", 3)):
        answers = await asyncio.gather(
            *(person.request(method, path) for person in (alice, olga) * 10)
        )
        assert {answer.status for answer in answers} == {200}
        assert {answer.body["version"] for answer in answers} == {version}


async def test_cards_that_come_back_at_once_stand_one_after_the_other(
    board: Board, alice: Person, olga: Person
) -> None:
    cards = [await board.card(f"Card {n}") for n in range(12)]
    paths = [f"{board.path}/cards/{card['id']}/archive" for card in cards]
    for path in paths:
        await alice.post(path, status=200)
    back = await asyncio.gather(
        *((alice, olga)[n % 2].delete(path, status=200) for n, path in enumerate(paths))
    )
    assert sorted(card["position"] for card in back) == [1000 * n for n in range(1, 13)]


DELETION = "update labels set deleted_at = now() where id = $1"
TAKING_OFF = "delete from card_labels where label_id = $1"


@pytest.mark.foul
@pytest.mark.parametrize("waits", [True, False], ids=["the label's own lock", "no lock"])
async def test_a_label_that_is_being_deleted_comes_back_by_no_other(
    board: Board, alice: Person, connection: Any, waits: bool
) -> None:
    """A card has two labels; while one is deleted, something is added to the card, or the other
    one: of what is there already, only what stays is kept.
    """
    bug, design = board.labels["Bug"], board.labels["Design"]
    card = await board.card(label_ids=[bug])
    path = f"{board.path}/cards/{card['id']}"
    async with connection.transaction():
        await connection.execute(DELETION, bug)
        await connection.execute(TAKING_OFF, bug)
        added = [bug, design] if waits else [design]
        adding = asyncio.create_task(
            alice.put(path, {"add_label_ids": added}, status=422 if waits else 200)
        )
        if waits:
            await waiting(connection)
        else:
            await adding
    await adding
    shown = await alice.get(path)
    assert [label["id"] for label in shown["labels"]] == ([] if waits else [design])
    kept = await connection.fetch("select label_id from card_labels")
    assert [row["label_id"] for row in kept] == ([] if waits else [design])


@pytest.mark.foul
async def test_a_label_that_is_being_hung_on_a_card_is_taken_off_with_its_deletion(
    board: Board, alice: Person, connection: Any
) -> None:
    bug = board.labels["Bug"]
    card = await board.card()
    async with connection.transaction():
        await connection.execute("select 1 from labels where id = $1 for share", bug)
        await connection.execute(
            "insert into card_labels (card_id, label_id) values ($1, $2)", card["id"], bug
        )
        deleting = asyncio.create_task(alice.delete(f"{board.path}/labels/{bug}"))
        await waiting(connection)
    await deleting
    assert await connection.fetchval("select count(*) from card_labels") == 0


@pytest.mark.foul
async def test_nobody_watches_who_is_being_removed(
    board: Board, alice: Person, connection: Any
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    async with connection.transaction():
        await connection.execute("select lock_members($1, 2, 4)", board.id)
        await connection.execute("delete from project_members where user_id = 4")
        calls = [
            asyncio.create_task(alice.post(f"{path}/{kind}/4", status=422))
            for kind in ("watchers", "assignees")
        ]
        await waiting(connection, 2)
    await asyncio.gather(*calls)
    shown = await alice.get(path)
    assert (shown["watchers"], shown["assignees"]) == ([], [])
