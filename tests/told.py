"""What a feed tells; for tests of what is told, and of what is not. A socket hears of it later."""

from __future__ import annotations

from typing import Any

from tests.conftest import Board
from tests.person import Person


async def head(person: Person, board: Board) -> int:
    """The board's seq."""
    return int((await person.get(f"{board.path}?include=labels"))["seq"])


async def told_since(person: Person, board: Board, seq: int) -> list[Any]:
    """All events after a seq."""
    events: list[Any] = (await person.get(f"{board.path}/events?since={seq}"))["events"]
    return events
