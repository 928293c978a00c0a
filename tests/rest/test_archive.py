"""The archive of cards: off the board, its lists and counts, and back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Board, make_board, undescribed
from tests.person import Person
from tests.told import head, told_since


async def counts(person: Person, board: Board) -> tuple[int, int]:
    """The backlog's cards and the board's open cards, as the board counts them."""
    shown = await person.get(board.path)
    (backlog,) = (each for each in shown["columns"] if each["id"] == board.backlog)
    assert backlog["card_count"] == len(backlog["cards"])
    return backlog["card_count"], shown["open_card_count"]


async def titles(person: Person, path: str) -> list[str]:
    return [card["title"] for card in await person.get(path)]


async def test_an_archived_card_leaves_the_board_and_is_still_found(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card("Fix the door")
    await board.card("Other")
    path = f"{board.path}/cards/{card['id']}"
    async with bob.socket() as socket:
        archived = await alice.post(f"{path}/archive", status=200)
        told = (await socket.next("board.card_updated"))["payload"]
    assert told == undescribed(archived) | {"changes": ["archived_at"]}
    assert archived["archived_at"] is not None
    assert archived == card | {
        "archived_at": archived["archived_at"],
        "updated_at": archived["updated_at"],
        "version": 2,
    }
    assert await counts(alice, board) == (1, 1)
    column = f"{board.path}/columns/{board.backlog}/cards"
    assert await titles(alice, column) == ["Other"]
    assert await titles(alice, f"{column}?include_archived=true") == ["Fix the door", "Other"]
    assert await titles(alice, f"{board.path}/cards") == ["Other"]
    assert len(await titles(alice, f"{board.path}/cards?include_archived=true")) == 2
    for sort in ("", "&sort=updated", "&sort=position", "&q=o"):
        assert await titles(alice, f"{board.path}/cards?archived=true{sort}") == ["Fix the door"]
        either = f"{board.path}/cards?archived=false&include_archived=true{sort}"
        assert await titles(alice, either) == ["Other"]
    for q in ("door", card["key"]):
        found = f"{board.path}/cards?q={q}"
        assert await titles(alice, found) == ["Fix the door"]
        assert await titles(alice, f"{found}&include_archived=false") == []
    for ref in (card["id"], card["key"]):
        shown = await bob.get(f"{board.path}/cards/{ref}")
        assert shown["archived_at"] == archived["archived_at"]


async def test_a_card_comes_back_to_the_end_of_its_column(
    board: Board, alice: Person, bob: Person
) -> None:
    first, second = await board.card("One"), await board.card("Two")
    path = f"{board.path}/cards/{first['id']}"
    await alice.post(f"{path}/archive", status=200)
    async with bob.socket() as socket:
        back = await alice.delete(f"{path}/archive", status=200)
        told = (await socket.next("board.card_updated"))["payload"]
    assert told == undescribed(back) | {"changes": ["archived_at", "position"]}
    assert (back["archived_at"], back["version"]) == (None, 3)
    assert back["position"] > second["position"]
    column = f"{board.path}/columns/{board.backlog}/cards"
    assert await titles(alice, column) == ["Two", "One"]
    assert await counts(alice, board) == (2, 2)
    facts = [fact["event_type"] for fact in await alice.get(f"{path}/history")]
    assert facts == ["unarchived", "archived", "created"]


async def test_the_last_card_of_a_column_comes_back_to_its_place(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/archive"
    await alice.post(path, status=200)
    async with bob.socket() as socket:
        back = await alice.delete(path, status=200)
        assert (await socket.next("board.card_updated"))["payload"]["changes"] == ["archived_at"]
    assert back["position"] == card["position"]


async def test_what_is_archived_already_is_no_event(
    board: Board, alice: Person, bob: Person
) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}/archive"
    before = await head(bob, board)
    assert await alice.delete(path, status=200) == card
    archived = await alice.post(path, status=200)
    assert await alice.post(path, status=200) == archived
    told = await told_since(bob, board, before)
    assert [each["type"] for each in told] == ["board.card_updated"]


async def test_an_archived_card_may_be_written_moved_and_deleted(
    board: Board, alice: Person, olga: Person
) -> None:
    """The board shows nothing of it: the mirror around this test sees to that."""
    card, other = await board.card("One"), await board.card("Two")
    path = f"{board.path}/cards/{card['id']}"
    await alice.post(f"{path}/archive", status=200)
    await alice.put(path, {"title": "Renamed", "add_tags": ["x"]})
    await alice.patch(f"{path}/move", {"column_id": board.done})
    await alice.patch(f"{path}/move", {"column_id": board.backlog, "before_card_id": other["id"]})
    await alice.put(path, {"column_id": board.review, "closed": True})
    assert await counts(alice, board) == (1, 1)
    back = await alice.delete(f"{path}/archive", status=200)
    assert (back["title"], back["column_id"]) == ("Renamed", board.review)
    await alice.post(f"{path}/archive", status=200)
    await alice.delete(path)
    await alice.post(f"{path}/archive", status=404)
    await alice.delete(f"{path}/archive", status=404)
    restored = await olga.post(f"{path}/restore", status=200)
    assert restored["archived_at"] is None


async def test_no_card_is_put_beside_an_archived_one(board: Board, alice: Person) -> None:
    card, other = await board.card("One"), await board.card("Two")
    await alice.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    for side in ("before_card_id", "after_card_id"):
        refused = await alice.patch(
            f"{board.path}/cards/{other['id']}/reorder", {side: card["id"]}, status=422
        )
        assert refused["fields"] == {side: "unknown"}


async def test_an_archived_card_goes_with_its_column(
    board: Board, alice: Person, olga: Person
) -> None:
    card = await board.card()
    await alice.post(f"{board.path}/cards/{card['id']}/archive", status=200)
    column = f"{board.path}/columns/{board.backlog}"
    assert (await olga.delete(column, status=409))["code"] == "column_not_empty"
    await olga.delete(f"{column}?move_to={board.done}")
    shown = await alice.get(f"{board.path}/cards/{card['id']}")
    assert shown["column_id"] == board.done
    assert shown["archived_at"] is not None


async def test_only_members_archive_what_is_theirs(
    board: Board, alice: Person, olga: Person, bob: Person, eve: Person
) -> None:
    card = await board.card()
    other = await make_board(olga, alice, "Other")
    path = f"/cards/{card['id']}/archive"
    for method in ("POST", "DELETE"):
        assert (await bob.request(method, board.path + path)).status == 403
        assert (await eve.request(method, board.path + path)).status == 404
        assert (await alice.request(method, other.path + path)).status == 404
    assert (await alice.get(f"{board.path}/cards/{card['id']}"))["version"] == 1


async def test_a_version_that_is_old_archives_nothing(board: Board, alice: Person) -> None:
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    await alice.put(path, {"title": "Another"})
    for method in ("POST", "DELETE"):
        old = await alice.request(method, f"{path}/archive", headers={"If-Match": '"1"'})
        assert (old.status, old.body["current"]["version"]) == (412, 2)
    done = await alice.request("POST", f"{path}/archive", headers={"If-Match": '"2"'})
    assert (done.status, done.headers["ETag"]) == (200, '"3"')


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_an_archived_project_keeps_its_archive(
    board: Board, alice: Person, olga: Person, method: str
) -> None:
    card = await board.card()
    await olga.delete(board.path)
    refused: Any = await alice.request(method, f"{board.path}/cards/{card['id']}/archive")
    assert (refused.status, refused.body["code"]) == (422, "project_archived")
