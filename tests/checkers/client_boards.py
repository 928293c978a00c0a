"""The reference client's own boards beside a mirror: they hear the same frames, and must show what
it shows, what a fetch shows, and have the server's digest.

Mirror and `Board` were written apart, and share no code: where one reads an event wrongly, both
would have to, in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from tests.checkers.mirror import (
    OWN_VIEW,
    SOME,
    Beginning,
    Json,
    Mirror,
    Some,
    State,
    differences,
)
from tests.checkers.parts import Parts
from warmdesk.client import LOST, Refused
from warmdesk.client_board import Board

NOTHING: tuple[Any, ...] = (None, False, 0, "", "none")
BRIEF = (
    "id card_number column_id title position priority due_date closed has_description"
    " time_spent_minutes comment_count checklist_total checklist_done attachment_count version"
)
ABOUT = timedelta(seconds=60)


class About:
    """Equals a moment near this one: an event says when it was told, not when it was done."""

    def __init__(self, moment: str) -> None:
        self.moment = datetime.fromisoformat(moment)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return abs(datetime.fromisoformat(other) - self.moment) < ABOUT
        return other == SOME

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"about {self.moment}"


def brief(card: Json) -> Json:
    """What a whole card looks like in a brief list."""
    made = {key: card[key] for key in BRIEF.split() if card[key] not in NOTHING}
    return made | {
        "assignee_ids": [each["id"] for each in card["assignees"]],
        "label_ids": [each["id"] for each in card["labels"]],
        "tags": [each["name"] for each in card["tags"]],
    }


def as_brief(board: Json) -> Json:
    """A whole board as it would be with ``cards=brief``."""
    columns = [
        column | {"cards": [brief(card) for card in column["cards"]]} for column in board["columns"]
    ]
    return board | {"columns": columns}


def whole(board: Json) -> Json:
    """A fetched board of which a mirror got all cards and members."""
    given = {"cards_more": False, "cards_next": None}
    columns = [column | given for column in board["columns"]]
    return board | {"columns": columns, "members_more": False}


class Untold:
    """A text, or all but its beginning, that no event told; a mirror knows no more of it."""

    def __init__(self, begin: str = "") -> None:
        self.begin = begin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Some) and getattr(other, "text", "") == self.begin

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.begin[:40]!r} and what was not told"


def as_shown(board: Board, *, mirrored: bool = False) -> Json:
    """A board in the form of `State.shown`, but for the messages. What no event told of it equals
    anything, or, if it is compared with what a mirror shows, what the mirror was not told either.
    """

    def told(card: Json) -> Json:
        kept = {key: value for key, value in card.items() if key != "description_cut"}
        if "description" not in card:
            assert card["has_description"], "who has none is known to have none"
            return kept | {"description": Untold() if mirrored else SOME}
        if "description_cut" in card:
            begin = card["description"]
            return kept | {"description": Untold(begin) if mirrored else Beginning(begin)}
        return kept

    shown = board.shown()
    columns = [
        {key: value for key, value in column.items() if key not in ("cards_more", "cards_next")}
        | {"cards": column["cards"] if board.brief else [told(card) for card in column["cards"]]}
        for column in shown["columns"]
    ]
    for key in ("seq", "epoch", "members_more"):
        del shown[key]
    moments = {"updated_at": About(shown["updated_at"])}
    if shown["archived_at"] is not None:
        moments["archived_at"] = About(shown["archived_at"])
    return shown | {"columns": columns} | moments


def wrongs(board: Board, expected: Json, *, mirrored: bool = False) -> list[str]:
    """Where a board differs from what a fetch, or a mirror, shows."""
    assert not board.stale, board.stale
    kept = {key: value for key, value in expected.items() if key != "messages"}
    if board.brief:
        kept = as_brief(kept)
    return differences(as_shown(board, mirrored=mirrored), kept)


class Accompanied(Mirror):
    """A mirror and two boards of the client, one with brief cards, that follow the same frames."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.boards: list[Board] = []
        self.few: Board | None = None
        """One of them, which began with few cards."""
        self._reading: asyncio.Task[None] | None = None
        check = self.checked

        def checked(frame: Json) -> None:
            if check is not None:
                check(frame)
            for board in list(self.boards):
                if not board.apply(frame):
                    self._ends(board, frame["type"])

        self.checked = checked

    @asynccontextmanager
    async def following(self, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        async with super().following(**options) as follow:
            try:
                yield follow
            finally:
                await self._stop_reading()

    def _ends(self, board: Board, type: str) -> None:
        """One that reads on may find that a page passed over a card."""
        passed_over = board is self.few and "that are counted" in board.stale
        assert passed_over, f"{type} is not applied: {board.stale or 'there is a gap'}"
        self.boards.remove(board)
        self.few = None

    async def _fetch(self) -> State:
        state = await super()._fetch()
        board = whole(self.fetched)
        assert OWN_VIEW[0] in board, "it begins with what a client gets"
        self.boards, self.few = [Board(board), Board(as_brief(board), brief=True)], None
        return state

    async def open_few(self, limit: int, after: float) -> None:
        """Another board, which begins with so few cards of each column and reads the others after
        so many seconds, whatever happens then. Nobody may write as it begins.
        """
        path = f"/projects/{self.slug}?cards=brief&cards_limit={limit}"
        self.few = Board(await self.client.get(path), brief=True)
        assert self.few.seq == self.state.seq
        self.boards.append(self.few)
        self._reading = asyncio.create_task(self._read(self.few, after))

    async def _read(self, board: Board, after: float) -> None:
        await asyncio.sleep(after)
        with suppress(Refused, *LOST):
            await board.fill(self.client)

    async def close_few(self) -> None:
        """It has read all that it lacks, and is compared with the others."""
        await self._stop_reading()
        if self.few is not None and not await self.few.fill(self.client):
            self._ends(self.few, "a page")

    async def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def forget_few(self) -> None:
        self.boards = [board for board in self.boards if board is not self.few]
        self.few = None

    def proves(self, told: Json) -> None:
        super().proves(told)
        for board in self.boards:
            assert board.check(told), board.stale

    def equals(self, fetched: Json, parts: Parts | None = None) -> None:
        super().equals(fetched, parts)
        for board in self.boards:
            assert board.seq == self.state.seq
            for expected, name in ((self.state.shown(), "mirror"), (fetched, "fetched board")):
                told = "\n".join(wrongs(board, expected, mirrored=name == "mirror")[:50])
                kind = "brief board" if board.brief else "board"
                assert not told, (
                    f"at seq {board.seq} the client's {kind} is not the {name}:\n{told}"
                )
