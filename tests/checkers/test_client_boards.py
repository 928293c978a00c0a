"""The client's boards beside a mirror are judged: one that follows wrongly is found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.checkers.client_boards import Accompanied
from tests.checkers.mirror import mirror
from tests.conftest import Board as Demo
from tests.person import Person
from warmdesk.client_board import Board


async def work(board: Demo) -> None:
    card = await board.card("Fix the door", tags=["door"], description="Words")
    await board.maker.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})


@pytest.mark.parametrize(
    ("forgets", "said"),
    [
        ("board.card_moved", "the digest is not that|is not the mirror"),
        ("board.card_created", "description: followed '' and what was not told, fetched 'Words'"),
    ],
)
async def test_a_board_that_knows_no_rule_for_an_event_is_found(
    board: Demo, bob: Person, monkeypatch: pytest.MonkeyPatch, forgets: str, said: str
) -> None:
    rules = {name: rule for name, rule in Board.RULES.items() if name != forgets}
    monkeypatch.setattr(Board, "RULES", rules)
    with pytest.raises(AssertionError, match=said):
        async with mirror(bob, kind=Accompanied):
            await work(board)


async def test_a_brief_board_that_differs_is_found(
    board: Demo, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warmdesk.client_board.BRIEF", ("id", "column_id", "position", "version"))
    with pytest.raises(AssertionError, match=r"client's brief board is not the mirror"):
        async with mirror(bob, kind=Accompanied):
            await work(board)


async def test_a_board_that_cannot_go_on_is_found(
    board: Demo, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Board, "apply", lambda *_: False)
    with pytest.raises(AssertionError, match="is not applied: there is a gap"):
        async with mirror(bob, kind=Accompanied):
            await work(board)


@pytest.fixture
async def reading(board: Demo, bob: Person) -> AsyncIterator[Accompanied]:
    """Bob, one of whose boards shows one of three cards."""
    cards = [await board.card(str(number)) for number in range(3)]
    async with mirror(bob, kind=Accompanied) as followed:
        assert isinstance(followed, Accompanied)
        await followed.open_few(1, after=60.0)
        assert followed.few
        assert [*followed.few.cards] == [cards[0]["id"]]
        yield followed


async def test_a_board_that_begins_with_few_cards_reads_the_others(
    board: Demo, reading: Accompanied
) -> None:
    assert reading.few
    assert len(reading.boards) == 3
    await work(board)
    await reading.close_few()
    await reading.compare()
    assert len(reading.few.cards) == 4
    assert not reading.few.more()


async def test_a_board_whose_list_passed_over_a_card_is_no_mistake(
    board: Demo, reading: Accompanied
) -> None:
    assert reading.few
    reading.few._counts[board.backlog] += 1
    await reading.close_few()
    assert reading.few is None
    assert len(reading.boards) == 2
