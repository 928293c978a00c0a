"""What each stand-in for a part of a library saves: WarmDesk as it is, and with the library's own
part back in its place (`without`), by turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from load.bench import wire
from load.bench.asking import BUSY, office
from load.bench.goals import OURS
from load.bench.ours import Ours
from load.bench.run import Run
from load.bench.viewing import WarmDesk, stage

LIBRARY = "the library"
SOCKETS = 1000


async def request(run: Run, without: str) -> float:
    """µs of a small request, of which nobody asks a database."""
    async with office(run, ours=Ours(without=without)) as on:
        path = f"/api/v1/projects/{on.slugs[0]}/cards/no_card"
        asked = wire.request("GET", path, token=on.writers[0].token)
        return (await on.ask(on.ours, [[asked]] * BUSY, 404)).micros


async def chat(run: Run, without: str) -> float:
    """µs of a chat message, one writer."""
    async with office(run, ours=Ours(without=without)) as on:
        return (await on.ask(on.ours, [[on.chat()]], 201)).micros


async def opening(run: Run, without: str) -> float:
    """µs of a socket of somebody known, to the first frame."""
    async with stage(run, WarmDesk(without=without), SOCKETS) as on:
        await on.open(range(SOCKETS))
        await on.viewers.close()
        await on.viewers.quiet(silence=1.0)
        return await on.open(range(SOCKETS)) / SOCKETS * 1e6


MEASURED: dict[str, tuple[str, Callable[[Run, str], Awaitable[float]]]] = {
    "handshakes": ("a socket", opening),
    "heads": ("a request", request),
    "router": ("a request", request),
    "pool": ("a chat message", chat),
    "redis": ("a chat message", chat),
}
"""Each part of `without`, and where it is felt most."""


async def borrowed(run: Run) -> None:
    """Each stand-in, with and without."""
    for _ in range(run.rounds):
        for part, (what, measure) in MEASURED.items():
            for whose, without in ((OURS, ""), (LIBRARY, part)):
                run.add(f"{part}: {what} µs", await measure(run, without), whose)


SCENARIOS = {"borrowed": borrowed}
