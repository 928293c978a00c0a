"""The reference client's board reads the examples of ``feed_vectors.jsonl`` as they say; the
browser's does too (``tests/web/node/vectors.test.mjs``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warmdesk.client_board import Board

FIRST, *VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "feed_vectors.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_board_follows(vector: dict[str, Any]) -> None:
    board = Board(FIRST["boards"][vector["of"]], brief=True)

    for step in vector["steps"]:
        before = board.seq
        is_right = board.apply(step["frame"])
        happened = "gap"
        if board.stale:
            happened = "reset"
        elif "seq" not in step["frame"]:
            happened = "signal"
        elif board.seq == before + 1:
            happened = "applied"
        elif is_right:
            happened = "known"
        assert happened == step["then"]

    if "shown" in vector:
        shown = board.shown()
        del shown["open_card_count"]  # the browser shows none
        assert shown == vector["shown"]


def test_every_event_of_a_board_is_among_the_examples() -> None:
    told = {step["frame"]["type"] for vector in VECTORS for step in vector["steps"]}

    assert set(Board.RULES) <= told
