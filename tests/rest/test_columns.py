"""Columns: made, changed, put in order, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board, Invite
from tests.person import Person


def names(columns: list[Any]) -> list[str]:
    return [column["name"] for column in columns]


@pytest.fixture
async def admin(board: Board, olga: Person, person: Invite) -> Person:
    """Eve, made a project admin of demo."""
    await olga.post(f"{board.path}/members", {"username": "eve", "role": "admin"})
    return person("eve")


async def test_a_column_comes_to_stand_behind_the_others(
    olga: Person, bob: Person, board: Board
) -> None:
    async with bob.socket("demo") as his:
        made = await olga.post(
            f"{board.path}/columns", {"name": "  Ideas ", "color": "#10b981", "wip_limit": 3}
        )
        told = await his.next("board.column_created")

    assert told["payload"] == made
    assert (made["name"], made["position"], made["card_count"], made["version"]) == (
        "Ideas",
        5000,
        0,
        1,
    )
    assert (made["color"], made["wip_limit"]) == ("#10b981", 3)
    columns = await bob.get(f"{board.path}/columns")
    assert names(columns) == ["Backlog", "In Progress", "Review", "Done", "Ideas"]
    assert columns[-1] == made


async def test_project_admins_manage_columns_and_members_only_see_them(
    alice: Person, bob: Person, admin: Person, board: Board
) -> None:
    made = await admin.post(f"{board.path}/columns", {"name": "Ideas"})
    for person in (alice, bob):
        await person.post(f"{board.path}/columns", {"name": "No"}, status=403)
        await person.put(f"{board.path}/columns/{made['id']}", {"name": "No"}, status=403)
        await person.patch(f"{board.path}/columns/reorder", {"column_ids": [1]}, status=403)
        await person.delete(f"{board.path}/columns/{made['id']}", status=403)
        assert len(await person.get(f"{board.path}/columns")) == 5
    await admin.delete(f"{board.path}/columns/{made['id']}")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 201},
        {"name": None},
        {"name": "Ideas", "color": "red"},
        {"name": "Ideas", "wip_limit": 0},
        {"name": "Ideas", "wip_limit": "3"},
        {"name": "Ideas", "wip_limit": 2**40},
        {"name": "nul\0"},
    ],
)
async def test_a_column_that_is_written_wrongly_is_refused(
    olga: Person, board: Board, wrong: Any
) -> None:
    await olga.post(f"{board.path}/columns", wrong, status=400)


async def test_a_project_has_at_most_a_hundred_columns_even_if_all_come_at_once(
    olga: Person, board: Board, connection: Any, database_url: str
) -> None:
    await connection.execute(
        "insert into columns (project_id, name, position)"
        " select $1, 'Column ' || n, 4000 + 1000 * n from generate_series(1, 90) n",
        board.id,
    )
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(olga.request("POST", f"{board.path}/columns", {"name": f"New {n}"}))
            for n in range(10)
        ]

    answers = [each.result().status for each in asked]
    assert sorted(answers) == [201] * 6 + [422] * 4
    columns = await olga.get(f"{board.path}/columns")
    assert len({column["position"] for column in columns}) == len(columns) == 100
    # The ninety came past the events, so that no mirror could follow them.
    await connection.execute("update columns set deleted_at = now() where name like 'Column %'")


async def test_a_column_changes_only_where_it_is_told_to(
    olga: Person, bob: Person, board: Board
) -> None:
    await board.card("Fix the door")
    path = f"{board.path}/columns/{board.backlog}"
    async with bob.socket("demo") as his:
        changed = await olga.put(path, {"name": "Ideas", "wip_limit": 4, "color": "#ef4444"})
        told = await his.next("board.column_updated")
    assert told["payload"] == changed
    assert (changed["name"], changed["wip_limit"], changed["color"]) == ("Ideas", 4, "#ef4444")
    assert (changed["version"], changed["card_count"]) == (2, 1)

    cleared = await olga.put(path, {"wip_limit": None, "color": ""})
    assert (cleared["name"], cleared["wip_limit"], cleared["color"]) == ("Ideas", None, "")
    assert (await olga.put(path, {"color": None}))["version"] == 3


async def test_a_change_that_changes_nothing_is_no_event(olga: Person, board: Board) -> None:
    before = await olga.get(board.path)
    same = await olga.put(f"{board.path}/columns/{board.backlog}", {"name": "Backlog"})
    order = [board.backlog, board.progress, board.review, board.done]
    await olga.patch(f"{board.path}/columns/reorder", {"column_ids": order})

    assert same["version"] == 1
    assert await olga.get(board.path) == before


async def test_a_stale_version_is_refused_with_what_is_there(olga: Person, board: Board) -> None:
    path = f"{board.path}/columns/{board.backlog}"
    current = await olga.put(path, {"name": "Ideas"}, if_match=1)

    refused = await olga.put(path, {"name": "Wishes"}, if_match=1, status=412)
    assert (refused["code"], refused["current"]) == ("version_conflict", current)
    refused = await olga.put(path, {"name": "Wishes", "version": 1}, status=409)
    assert refused["current"] == current
    await olga.delete(path, if_match=1, status=412)

    assert (await olga.put(path, {"name": "Wishes", "version": 2}))["version"] == 3
    await olga.delete(path, if_match=3)


async def test_columns_take_the_order_of_their_ids(olga: Person, bob: Person, board: Board) -> None:
    order = [board.done, board.backlog, board.review, board.progress]
    async with bob.socket("demo") as his:
        columns = await olga.patch(f"{board.path}/columns/reorder", {"column_ids": order})
        told = await his.next("board.columns_reordered")

    assert [column["id"] for column in columns] == order
    assert [column["position"] for column in columns] == [1000, 2000, 3000, 4000]
    assert {column["version"] for column in columns} == {1}
    assert told["payload"] == {
        "columns": [{"id": column["id"], "position": column["position"]} for column in columns]
    }
    assert await bob.get(f"{board.path}/columns") == columns


async def test_columns_take_the_positions_of_an_array(olga: Person, board: Board) -> None:
    wanted = [{"id": board.backlog, "position": 2500.5}, {"id": board.done, "position": -3}]
    columns = await olga.patch(f"{board.path}/columns/reorder", wanted)

    assert names(columns) == ["Done", "In Progress", "Backlog", "Review"]
    assert [column["position"] for column in columns] == [1000, 2000, 3000, 4000]


async def test_an_order_that_cannot_be_is_refused(olga: Person, eve: Person, board: Board) -> None:
    foreign = await eve.post("/projects", {"name": "Hers"})
    hers = (await eve.get(f"/projects/{foreign['slug']}/columns"))[0]["id"]
    path = f"{board.path}/columns/reorder"
    for order in (
        [board.done, board.backlog, board.review],
        [board.done, board.backlog, board.review, board.review],
        [board.done, board.backlog, board.review, hers],
        [board.done, board.backlog, board.review, board.progress, 999_999],
    ):
        await olga.patch(path, {"column_ids": order}, status=422)
    await olga.patch(path, [{"id": hers, "position": 1}], status=422)
    twice = [{"id": board.done, "position": 1}, {"id": board.done, "position": 2}]
    await olga.patch(path, twice, status=422)
    wrong: list[Any] = [{}, {"column_ids": []}, [], {"column_ids": ["1"]}, [{"id": board.done}], 7]
    for malformed in wrong:
        await olga.patch(path, malformed, status=400)


async def test_an_empty_column_is_deleted(olga: Person, bob: Person, board: Board) -> None:
    path = f"{board.path}/columns/{board.review}"
    async with bob.socket("demo") as his:
        await olga.delete(path)
        told = await his.next("board.column_deleted")

    assert told["payload"] == {"column_id": board.review}
    assert names(await bob.get(f"{board.path}/columns")) == ["Backlog", "In Progress", "Done"]
    await olga.delete(path, status=404)
    await olga.put(path, {"name": "Back"}, status=404)


async def test_a_column_with_cards_is_deleted_only_when_they_have_a_place_to_go(
    olga: Person, alice: Person, bob: Person, board: Board
) -> None:
    first, second = await board.card("First"), await board.card("Second")
    there = await board.card("There", column=board.done)
    path = f"{board.path}/columns/{board.backlog}"

    refused = await olga.delete(path, status=409)
    assert refused["error"] == "column has cards, move them first"
    for nowhere in (board.backlog, 999_999):
        await olga.delete(f"{path}?move_to={nowhere}", status=422)
    await olga.delete(f"{path}?move_to=there", status=400)

    async with bob.socket("demo") as his:
        await olga.delete(f"{path}?move_to={board.done}")
        moved = [await his.next(), await his.next(), await his.next(), await his.next()]
    moved = [frame for frame in moved + his.waiting() if "seq" in frame][:2]

    for frame, card in zip(moved, (first, second), strict=True):
        assert frame["type"] == "board.card_moved"
        assert frame["payload"]["card_id"] == card["id"]
        assert frame["payload"]["from_column_id"] == board.backlog
        assert frame["payload"]["to_column_id"] == board.done
        assert frame["payload"]["version"] == card["version"] + 1
        assert frame["payload"]["card"]["column_name"] == "Done"
    cards = await bob.get(f"{board.path}/columns/{board.done}/cards")
    assert [card["id"] for card in cards] == [there["id"], first["id"], second["id"]]
    history = await bob.get(f"{board.path}/cards/{first['id']}/history")
    assert (history[0]["event_type"], history[0]["to_column_id"]) == ("column_move", board.done)


async def test_the_last_column_stays_even_if_all_go_at_once(olga: Person, board: Board) -> None:
    columns = [board.backlog, board.progress, board.review, board.done]
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(olga.request("DELETE", f"{board.path}/columns/{column}"))
            for column in columns
        ]

    assert sorted(each.result().status for each in asked) == [204, 204, 204, 422]
    assert len(await olga.get(f"{board.path}/columns")) == 1


async def test_no_card_is_left_in_a_column_that_is_deleted_meanwhile(
    olga: Person, alice: Person, board: Board
) -> None:
    path = f"{board.path}/columns/{board.review}"
    async with asyncio.TaskGroup() as group:
        made = [
            group.create_task(alice.request("POST", f"{path}/cards", {"title": f"Card {n}"}))
            for n in range(10)
        ]
        gone = group.create_task(olga.request("DELETE", f"{path}?move_to={board.done}"))

    assert gone.result().status == 204
    count = sum(each.result().status == 201 for each in made)
    assert {each.result().status for each in made} <= {201, 404}
    assert len(await alice.get(f"{board.path}/columns/{board.done}/cards")) == count


async def test_columns_of_another_project_are_not_there(
    olga: Person, eve: Person, board: Board
) -> None:
    project = await eve.post("/projects", {"name": "Hers"})
    for column_id in (board.backlog, 999_999, "0", "-1", "x", "9" * 40):
        path = f"/projects/{project['slug']}/columns/{column_id}"
        await eve.put(path, {"name": "Mine"}, status=404)
        await eve.delete(path, status=404)
    hers = (await eve.get(f"/projects/{project['slug']}/columns"))[0]["id"]
    await olga.delete(f"{board.path}/columns/{board.review}?move_to={hers}", status=422)
    await board.card("Stays", column=board.progress)
    await olga.delete(f"{board.path}/columns/{board.progress}?move_to={hers}", status=422)
    await eve.get(f"{board.path}/columns", status=404)
    await eve.post(f"{board.path}/columns", {"name": "Mine"}, status=404)


async def test_an_archived_project_keeps_its_columns_as_they_are(
    olga: Person, board: Board
) -> None:
    await olga.delete(board.path)
    for asked in (
        olga.post(f"{board.path}/columns", {"name": "No"}, status=422),
        olga.put(f"{board.path}/columns/{board.done}", {"name": "No"}, status=422),
        olga.patch(
            f"{board.path}/columns/reorder",
            [{"id": board.done, "position": 1}],
            status=422,
        ),
        olga.delete(f"{board.path}/columns/{board.done}", status=422),
    ):
        assert (await asked)["code"] == "project_archived"
    assert len(await olga.get(f"{board.path}/columns")) == 4
