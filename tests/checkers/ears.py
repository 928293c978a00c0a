"""A person's socket whose frames go to checkers as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from tests.person import Person, Wire

RUN_SECONDS = 3600.0


class Ear(Protocol):
    """A checker's side of one socket. One that has `closed` is told how the socket ended."""

    def frame(self, frame: dict[str, Any]) -> None: ...


@asynccontextmanager
async def listening(
    person: Person, *ears: Ear, place: str = "demo", **params: Any
) -> AsyncIterator[Wire]:
    """Open a socket and let these hear it. Its frames are not for ``wire.next``, they are taken."""
    feeding = None
    try:
        async with person.socket(place, **params) as wire:
            feeding = asyncio.create_task(_feed(wire, ears))
            yield wire
    finally:
        if feeding is not None:
            await feeding


async def _feed(wire: Wire, ears: tuple[Ear, ...]) -> None:
    try:
        while True:
            frame = await wire.next(limit=RUN_SECONDS)
            for ear in ears:
                ear.frame(frame)
    except AssertionError:
        code = await wire.closed()  # raises what went wrong, if it was not the end
    for ear in ears:
        if closed := getattr(ear, "closed", None):
            closed(code)
