"""All hosts go by the database's clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from warmdesk import clock
from warmdesk.realtime import feed


@pytest.fixture(autouse=True)
def afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other test has the clock as it was."""
    monkeypatch.setattr(clock, "_ahead", clock._ahead)
    monkeypatch.setattr(clock, "_known", clock._known)


async def test_looking_at_the_feeds_tells_the_time(connection: Any) -> None:
    clock.adjust(time.time() + 3600, time.monotonic())
    assert clock.now() == pytest.approx(time.time() + 3600, abs=1)

    await feed.heads(connection, ["project:1"])
    assert clock.now() == pytest.approx(time.time(), abs=1)


def test_an_answer_that_took_long_sets_no_clock_but_the_first() -> None:
    clock._known = False
    clock.adjust(1000.0, time.monotonic() - 2)
    assert clock.now() == pytest.approx(1001, abs=0.1)

    clock.adjust(5000.0, time.monotonic() - 2)
    assert clock.now() == pytest.approx(1001, abs=0.1)
    clock.adjust(5000.0, time.monotonic())
    assert clock.now() == pytest.approx(5000, abs=0.1)
