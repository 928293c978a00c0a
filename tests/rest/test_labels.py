"""Labels of a project: made, renamed, deleted, and what the cards that have them show."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board, make_board
from tests.person import Person
from tests.told import head, told_since

GREEN = "#10b981"


async def names(person: Person, board: Board) -> list[str]:
    return [label["name"] for label in await person.get(f"{board.path}/labels")]


async def test_a_label_is_seen_live_in_the_list_and_on_the_board(
    board: Board, alice: Person, bob: Person
) -> None:
    async with bob.socket() as socket:
        made = await alice.post(f"{board.path}/labels", {"name": " Question ", "color": GREEN})
        assert (await socket.next("board.label_created"))["payload"] == made
    assert made == {
        "id": made["id"],
        "project_id": board.id,
        "name": "Question",
        "color": GREEN,
    }
    listed = await bob.get(f"{board.path}/labels")
    assert listed[-1] == made
    assert listed == (await bob.get(board.path))["labels"]
    assert [label["name"] for label in listed[:4]] == list(board.labels)


async def test_members_manage_labels_and_viewers_read_them(
    board: Board, bob: Person, eve: Person
) -> None:
    path = f"{board.path}/labels/{board.labels['Bug']}"
    body = {"name": "Question", "color": GREEN}
    await bob.post(f"{board.path}/labels", body, status=403)
    await bob.put(path, {"name": "Mine"}, status=403)
    await bob.delete(path, status=403)
    for call in (eve.get(f"{board.path}/labels", status=404), eve.delete(path, status=404)):
        await call
    assert await names(bob, board) == list(board.labels)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"color": GREEN}, "name"),
        ({"name": "Question"}, "color"),
        ({"name": " ", "color": GREEN}, "name"),
        ({"name": "x" * 101, "color": GREEN}, "name"),
        ({"name": "Question", "color": "green"}, "color"),
        ({"name": "Question", "color": "#10b981\n"}, "color"),
        ({"name": "Question", "color": ""}, "color"),
    ],
)
async def test_a_label_has_a_name_and_a_color(
    board: Board, alice: Person, body: dict[str, Any], field: str
) -> None:
    refused = await alice.post(f"{board.path}/labels", body, status=400)
    assert list(refused["fields"]) == [field]
    assert await names(alice, board) == list(board.labels)


async def test_a_name_is_there_once_in_any_case(board: Board, alice: Person) -> None:
    refused = await alice.post(f"{board.path}/labels", {"name": " BUG", "color": GREEN}, status=409)
    assert (refused["code"], refused["fields"]) == ("taken", {"name": "taken"})
    path = f"{board.path}/labels/{board.labels['Feature']}"
    refused = await alice.put(path, {"name": "bug"}, status=409)
    assert (refused["code"], refused["fields"]) == ("taken", {"name": "taken"})

    assert (await alice.put(path, {"name": "FEATURE"}))["name"] == "FEATURE"
    await alice.delete(f"{board.path}/labels/{board.labels['Bug']}")
    await alice.post(f"{board.path}/labels", {"name": "bug", "color": GREEN})
    other = await alice.put(path, {"name": "BUG"}, status=409)
    assert other["code"] == "taken"


async def test_of_many_who_take_one_name_at_once_one_gets_it(
    board: Board, alice: Person, olga: Person
) -> None:
    path = f"{board.path}/labels"
    calls = [
        person.request(method, where, body)
        for person in (alice, olga)
        for method, where, body in (
            ("POST", path, {"name": "Flaw", "color": GREEN}),
            ("POST", path, {"name": "flaw", "color": GREEN}),
            ("PUT", f"{path}/{board.labels['Bug']}", {"name": "FLAW"}),
            ("PUT", f"{path}/{board.labels['Design']}", {"name": "fLaw"}),
        )
    ]
    statuses = [answer.status for answer in await asyncio.gather(*calls)]
    found = [name for name in await names(alice, board) if name.lower() == "flaw"]
    assert len(found) == 1
    assert set(statuses) <= {200, 201, 409}
    assert 409 in statuses


async def test_a_label_is_changed_on_all_cards_that_have_it(
    board: Board, alice: Person, bob: Person
) -> None:
    bug = board.labels["Bug"]
    first = await board.card("One", label_ids=[bug, board.labels["Design"]])
    second = await board.card("Two", label_ids=[bug])
    before = await head(bob, board)
    async with bob.socket() as socket:
        changed = await alice.put(f"{board.path}/labels/{bug}", {"name": "Flaw"})
        assert (await socket.next("board.label_updated"))["payload"] == changed
        assert changed["color"] == "#ef4444"
        colored = await alice.put(f"{board.path}/labels/{bug}", {"color": GREEN})
        assert (colored["name"], colored["color"]) == ("Flaw", GREEN)
        again = await alice.put(f"{board.path}/labels/{bug}", {"name": " Flaw", "color": GREEN})
        assert again == colored
        await alice.put(f"{board.path}/labels/{bug}", {})
    told = await told_since(bob, board, before)
    assert [each["type"] for each in told] == ["board.label_updated"] * 2
    for card in (first, second):
        shown = await alice.get(f"{board.path}/cards/{card['id']}")
        assert shown["labels"][0] == colored
        assert shown["version"] == 1


async def test_a_deleted_label_leaves_all_cards_and_one_event(
    board: Board, alice: Person, bob: Person, connection: Any
) -> None:
    bug, design = board.labels["Bug"], board.labels["Design"]
    both = await board.card("Both", label_ids=[bug, design])
    await board.card("One", label_ids=[bug])
    before = await head(bob, board)
    await alice.delete(f"{board.path}/labels/{bug}")
    (told,) = await told_since(bob, board, before)
    assert (told["type"], told["payload"]) == ("board.label_deleted", {"id": bug})
    shown = await alice.get(f"{board.path}/cards/{both['id']}")
    assert ([label["id"] for label in shown["labels"]], shown["version"]) == ([design], 1)
    assert await alice.get(f"{board.path}/cards?label=Bug") == []
    assert await names(alice, board) == ["Feature", "Design", "Content"]
    rows = await connection.fetchval("select count(*) from card_labels where label_id = $1", bug)
    assert rows == 0
    path = f"{board.path}/labels/{bug}"
    await alice.delete(path, status=404)
    await alice.put(path, {"name": "Back"}, status=404)
    refused = await alice.put(f"{board.path}/cards/{both['id']}", {"label_ids": [bug]}, status=422)
    assert refused["fields"] == {"label_ids": "unknown"}


async def test_a_label_of_another_project_is_not_there(
    board: Board, alice: Person, olga: Person
) -> None:
    other = await make_board(olga, alice, "Other")
    bug = other.labels["Bug"]
    card = await other.card(label_ids=[bug])
    await alice.put(f"{board.path}/labels/{bug}", {"name": "Mine"}, status=404)
    await alice.delete(f"{board.path}/labels/{bug}", status=404)
    assert await names(alice, other) == list(other.labels)
    assert (await alice.get(f"{other.path}/cards/{card['id']}"))["labels"] == card["labels"]


@pytest.mark.foul
async def test_a_project_has_at_most_five_hundred(
    board: Board, alice: Person, connection: Any
) -> None:
    await connection.execute(
        "insert into labels (project_id, name, color)"
        " select $1, 'Label ' || n, '#000000' from generate_series(1, 495) as n",
        board.id,
    )
    path = f"{board.path}/labels"
    made = await alice.post(path, {"name": "The last", "color": GREEN})
    refused = await alice.post(path, {"name": "One too many", "color": GREEN}, status=422)
    assert refused["code"] == "too_many_labels"
    assert len(await alice.get(path)) == 500
    await alice.delete(f"{path}/{made['id']}")
    await alice.post(path, {"name": "Another", "color": GREEN})


async def test_an_archived_project_keeps_its_labels(
    board: Board, alice: Person, olga: Person
) -> None:
    await olga.delete(board.path)
    path = f"{board.path}/labels"
    for call in (
        alice.post(path, {"name": "Question", "color": GREEN}, status=422),
        alice.put(f"{path}/{board.labels['Bug']}", {"color": GREEN}, status=422),
        alice.delete(f"{path}/{board.labels['Bug']}", status=422),
    ):
        assert (await call)["code"] == "project_archived"
    assert await names(alice, board) == list(board.labels)
