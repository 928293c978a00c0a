"""What tests of the centre look at, or keep still."""

from __future__ import annotations

import math
from typing import Any

import pytest

from warmdesk.desk import Desk
from warmdesk.realtime import bus, feed, hub


@pytest.fixture
def no_checks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the bus and gaps tell the hub anything: checks do not come in between, and so nothing
    may need one.
    """

    async def never() -> None:
        pass

    monkeypatch.setattr(desk.hub, "check", never)
    monkeypatch.setattr(hub, "FREEZE_SECONDS", math.inf)
    monkeypatch.setattr(bus, "SILENCE_SECONDS", math.inf)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From which seqs feeds were read."""
    found: list[int] = []
    after = feed.after

    async def counted(connection: Any, channel: str, since: int, **options: Any) -> Any:
        found.append(since)
        return await after(connection, channel, since, **options)

    monkeypatch.setattr(feed, "after", counted)
    return found
