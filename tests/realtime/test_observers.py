"""Whoever is told of a thing is told, whoever else is."""

from __future__ import annotations

import pytest

from warmdesk.desk import Desk
from warmdesk.realtime.observers import Observers


def test_a_second_observer_is_told_after_the_first_and_replaces_nobody() -> None:
    happened: Observers[[int]] = Observers("happened")
    told: list[tuple[str, int]] = []
    happened(1)
    happened.add(lambda number: told.append(("first", number)))
    happened.add(lambda number: told.append(("second", number)))
    happened(2)
    assert told == [("first", 2), ("second", 2)]


def test_an_observer_that_fails_keeps_no_other_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    happened: Observers[[]] = Observers("happened")
    told: list[int] = []

    def fails(what: str) -> None:
        raise RuntimeError(what)

    happened.add(lambda: fails("the first"))
    happened.add(lambda: fails("the second"))
    happened.add(lambda: told.append(1))
    with pytest.raises(RuntimeError, match="the first"):
        happened()
    assert told == [1]
    assert "observers.failed of=happened" in caplog.text
    assert "the second" in caplog.text


async def test_nobody_is_added_to_a_part_that_runs(desk: Desk) -> None:
    bus, hub = desk.bus, desk.hub
    with pytest.raises(RuntimeError, match="before the start"):
        bus.heard.add(lambda *message: None)
    for silent in (bus.on_doubt, bus.on_lost, bus.on_found, hub.on_woken, hub.on_history):
        with pytest.raises(RuntimeError, match="before the start"):
            silent.add(lambda: None)
    for told in (hub.on_left, hub.on_rejoined, hub.on_hint):
        with pytest.raises(RuntimeError, match="before the start"):
            told.add(lambda room, what: None)


async def test_whatever_happens_in_a_process_somebody_is_told(desk: Desk) -> None:
    for part in (desk.bus, desk.hub):
        found = [each for each in vars(part).values() if isinstance(each, Observers)]
        assert len(found) >= 4
        assert [each.name for each in found if not each._each] == []
