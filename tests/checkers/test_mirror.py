"""The mirror sees what it is there to see: an event missed, an event wrong, an event unknown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.checkers.mirror import SOME, Mirror, State, differences, fetch, mirror
from tests.conftest import Board, undescribed
from tests.person import Person


async def state_of(person: Person, board: Board) -> State:
    await person.token()
    return State(*await fetch(person.client, board.slug))


async def test_following_equals_fetching(alice: Person, bob: Person, board: Board) -> None:
    async with mirror(bob) as followed:
        card = await board.card(assignee_ids=[alice.id], tags=["door"])
        await alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})
        await alice.put(f"{board.path}/cards/{card['id']}", {"closed": True})
        await alice.post(f"{board.path}/chat/messages", {"body": "done"})
        await followed.compare()
        assert [frame["type"] for frame in followed.frames if "seq" in frame] == [
            "board.card_created",
            "board.card_moved",
            "board.card_updated",
            "chat.message",
        ]


@pytest.mark.foul
async def test_a_change_without_an_event_is_found(
    bob: Person, board: Board, connection: Any
) -> None:
    card = await board.card("as it was")
    with pytest.raises(AssertionError, match="the board is not what the lists show") as found:
        async with mirror(bob):
            await connection.execute("update cards set title = 'changed' where id = $1", card["id"])
    assert ".columns[0].cards[0].title: followed 'as it was', fetched 'changed'" in str(found.value)


@pytest.mark.foul
async def test_an_event_that_tells_another_story_is_found(
    bob: Person, board: Board, connection: Any
) -> None:
    card = await board.card("as it was")

    async def change() -> None:
        async with mirror(bob):
            await connection.execute("update cards set title = 'changed' where id = $1", card["id"])
            await board.card("whose event makes the server build a new board")

    with pytest.raises(AssertionError, match="the mirror is not the board") as found:
        await change()
    assert ".columns[0].cards[0].title: followed 'as it was', fetched 'changed'" in str(found.value)


@pytest.mark.foul
async def test_a_card_that_nobody_was_told_of_is_found(
    bob: Person, board: Board, connection: Any
) -> None:
    card = await board.card()
    with pytest.raises(AssertionError, match=r"cards: followed \[\d+\], fetched \[\]"):
        async with mirror(bob):
            await connection.execute(
                "update cards set deleted_at = now() where id = $1", card["id"]
            )


@pytest.mark.foul
async def test_a_digest_of_something_else_is_found(
    bob: Person, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = await board.card()
    monkeypatch.setattr(Mirror, "equals", lambda *_: None)
    async with mirror(bob) as followed:
        right = followed.state.cards[card["id"]]
        followed.state.cards[card["id"]] = right | {"version": 2}
        with pytest.raises(AssertionError, match="the digest is not that of the board"):
            await followed.compare()
        followed.state.cards[card["id"]] = right


async def test_a_missed_event_is_found_at_once(bob: Person, board: Board) -> None:
    state = await state_of(bob, board)
    frame = {"type": "gone", "payload": {}, "seq": state.seq + 2}
    with pytest.raises(AssertionError, match="came after"):
        state.apply(frame)


async def test_an_event_without_a_rule_shows_on_no_board(bob: Person, board: Board) -> None:
    state = await state_of(bob, board)
    before = state.shown()
    state.apply({"type": "poll.created", "payload": {"id": 7}, "seq": state.seq + 1})
    assert state.shown() == before
    with pytest.raises(AssertionError, match="came after"):
        state.apply({"type": "poll.created", "payload": {"id": 8}, "seq": state.seq + 2})


async def test_the_mirror_on_the_far_end_of_a_closed_socket_says_so(
    olga: Person, bob: Person, board: Board
) -> None:
    with pytest.raises(AssertionError, match="closed with 4403"):
        async with mirror(bob):
            await olga.delete(f"{board.path}/members/{bob.id}")


def test_differences_name_every_place() -> None:
    one = {"a": 1, "list": [{"id": 1, "x": "old"}], "only": 2, "at": SOME}
    two = {"a": 1, "list": [{"id": 1, "x": "new"}], "other": 3, "at": "2026-04-04"}
    assert differences(one, two) == [
        ".only: only followed",
        ".other: only fetched",
        ".list[0].x: followed 'old', fetched 'new'",
    ]
    assert differences([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}]) == [
        ": followed [1, 2], fetched [2, 1]"
    ]


def test_a_move_from_elsewhere_is_found_unless_the_card_is_deleted_after_it() -> None:
    def moved(seq: int) -> dict[str, Any]:
        card = {"id": 7, "key": "A-7", "column_id": 3, "version": 3, "position": 1.0}
        card["archived_at"] = None
        payload = {"card_id": 7, "key": "A-7", "from_column_id": 2, "to_column_id": 3}
        payload |= {"position": 1.0, "version": 3, "card": card}
        return {"seq": seq, "type": "board.card_moved", "payload": payload}

    column = {"id": 1, "cards": [{"id": 7, "key": "A-7", "column_id": 1, "version": 1}]}
    board = {"seq": 4, "epoch": "e", "columns": [column], "labels": [], "members": []}

    with pytest.raises(AssertionError):
        State(board, []).apply(moved(5))

    late = State(board, [])
    late.apply({"seq": 5, "type": "gone", "payload": {}})
    late.apply(moved(6))
    with pytest.raises(AssertionError, match="untold"):
        late.shown()
    deleted = {"card_id": 7, "key": "A-7", "column_id": 3}
    late.apply({"seq": 7, "type": "board.card_deleted", "payload": deleted})
    assert not late.untold


def test_a_card_leaves_the_board_with_the_event_that_archives_it_and_no_other() -> None:
    def updated(seq: int, archived_at: str | None, *changes: str) -> dict[str, Any]:
        payload = undescribed(card) | {"archived_at": archived_at, "changes": list(changes)}
        return {"seq": seq, "type": "board.card_updated", "payload": payload}

    card = {"id": 7, "key": "A-7", "column_id": 1, "closed": False, "position": 1.0}
    card |= {"labels": [], "assignees": [], "archived_at": None, "description": "Words"}
    column = {"id": 1, "cards": [card]}
    board = {"seq": 4, "epoch": "e", "columns": [column], "labels": [], "members": []}

    with pytest.raises(AssertionError, match="was on the board"):
        State(board, []).apply(updated(5, "2026-04-04", "title"))

    state = State(board, [])
    state.apply(updated(5, "2026-04-04", "archived_at"))
    assert state.cards == {}
    state.apply(updated(6, "2026-04-04", "title"))
    assert state.cards == {}
    with pytest.raises(AssertionError, match="unknown card"):
        state.apply(updated(7, None, "title"))
    state.seq = 6
    state.apply(updated(7, None, "archived_at", "position"))
    assert state.cards == {7: card}, "whose description nobody told"
    with pytest.raises(AssertionError, match="was on the board"):
        state.apply(updated(8, None, "archived_at"))


def test_a_deleted_label_leaves_the_cards_that_have_it() -> None:
    labels = [{"id": n, "name": f"Label {n}"} for n in (1, 2)]
    card = {"id": 7, "column_id": 1, "labels": labels, "archived_at": None}
    column = {"id": 1, "cards": [card]}
    board = {"seq": 4, "epoch": "e", "columns": [column], "labels": labels, "members": []}
    state = State(board, [])
    renamed = {"id": 2, "name": "Another"}
    state.apply({"seq": 5, "type": "board.label_updated", "payload": renamed})
    assert state.cards[7]["labels"] == [labels[0], renamed]
    state.apply({"seq": 6, "type": "board.label_deleted", "payload": {"id": 1}})
    assert (state.cards[7]["labels"], list(state.labels)) == ([renamed], [2])
    with pytest.raises(AssertionError, match="unknown label"):
        state.apply({"seq": 7, "type": "board.label_deleted", "payload": {"id": 1}})
