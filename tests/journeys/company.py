"""Viewers at several servers who see each other and follow a board on which people work.

``async with Company(fleet, visit, board) as company`` brings three viewers; `company.comes` and
`company.goes` let more come and go. `company.is_whole` fails unless every viewer saw every event
once and in order and nobody was said to come or go who did not.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Self

from tests import pace
from tests.checkers.mirror import Mirror, mirror
from tests.checkers.presence import Presence
from tests.closed import check_frame
from tests.conftest import Board
from tests.journeys.conftest import Crowd, Process, Visit

DELIVERED_WITHIN = 3.0
"""Promised is a second while the bus is known to be down and two when it is not yet; the rest is
for a busy machine.
"""
PRESENT_WITHIN = 10.0
SLOWER = 0.5
"""Seconds that a change may take longer during a fault, over twice what it takes else: two cores
serve everything that is tested at the same time.
"""


class Timed(Crowd):
    """A crowd that remembers how long each change took, in seconds."""

    def __init__(self, board: Board, people: list[Any], seed: int = 1) -> None:
        super().__init__(board, people, seed)
        self.seconds: list[float] = []

    async def _one(self, number: int, person: Any) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await super()._one(number, person)
        self.seconds.append(loop.time() - begun)

    def p99(self) -> float:
        """Of all changes since the last call, seconds."""
        seconds, self.seconds = sorted(self.seconds), []
        return seconds[int(len(seconds) * 0.99)]


class Company:
    """Three viewers who stay (olga and root at the first server, bob at the last), and a crowd that
    works at all servers as alice.
    """

    def __init__(self, fleet: list[Process], visit: Visit, board: Board) -> None:
        self.fleet, self.visit, self.board = fleet, visit, board
        # Nobody here reloads: whoever is said to leave while a socket is open did not.
        self.presence = Presence(steady=0.001)
        self.crowd = Timed(board, [visit(process, "alice") for process in fleet])
        self.mirrors: dict[str, Mirror] = {}
        self._guests: dict[str, AsyncExitStack] = {}
        self._over = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for person in self.crowd.people:
            await person.token()
        await self.comes("olga", self.fleet[0])
        await self.comes("root", self.fleet[0])
        await self.comes("bob", self.fleet[-1])
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        for name in list(self._guests):
            await self.goes(name)

    async def comes(self, name: str, process: Process) -> None:
        """Somebody opens the board at a server."""
        stack = AsyncExitStack()
        person = self.visit(process, name)
        one = await stack.enter_async_context(mirror(person))
        self._guests[name] = stack
        view = self.presence.view(name, person.id)

        def checked(frame: dict[str, Any]) -> None:
            check_frame(frame)
            view.frame(frame)

        one.checked = checked
        self.mirrors[name] = one
        self.presence.opened(person.id)

    async def goes(self, name: str) -> None:
        """Somebody closes the board; what was followed must equal what is fetched."""
        self.mirrors.pop(name)
        view = self.presence.views.pop(name)
        assert view.user_id is not None
        try:
            await self._guests.pop(name).aclose()
        finally:
            self.presence.gone(view.user_id)

    def works(self, *, pause: float = 0.02) -> None:
        """The crowd works from now on, until `rests`."""
        self._over.clear()
        self._work = asyncio.create_task(self.crowd.work_until(self._over, pause=pause))

    async def rests(self) -> None:
        assert self._work is not None
        self._over.set()
        await self._work
        self._work = None

    def nobody_waited(self, usual: float) -> str:
        """Fail if changes took longer than they usually do; says the figures."""
        now = self.crowd.p99()
        assert now < 2 * usual + SLOWER, f"changes waited: p99 {usual:.3f} s, {now:.3f} s"
        return f"p99 of changes {usual * 1000:.0f} ms before, {now * 1000:.0f} ms during the fault"

    async def reads_all(self, *, limit: float = DELIVERED_WITHIN) -> float:
        """Until every viewer has what is there now; the seconds that took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        person = self.crowd.people[0]
        head = (await person.get(f"{self.board.path}?include=labels"))["seq"]
        await asyncio.gather(*(one.reaches(head, limit=limit) for one in self.mirrors.values()))
        return loop.time() - begun

    async def sees_each_other(self) -> float:
        """Until every viewer sees who is here, ten seconds at most; the seconds that took."""
        await self.presence.settles(PRESENT_WITHIN)
        self.presence.whole()
        return self.presence.settled[-1]

    async def is_whole(self, *, connections: int = 1) -> None:
        """Nothing lost, doubled or swapped; sockets stayed; nobody falsely came or went."""
        await self.reads_all()
        for name, one in self.mirrors.items():
            seqs = [frame["seq"] for frame in one.frames if "seq" in frame]
            assert seqs == list(range(one.state.seq - len(seqs) + 1, one.state.seq + 1)), name
            assert one.resets == 0, name
            assert one.socket.connections <= connections, f"{name} had to come back"
        self.presence.whole()
        assert (self.presence.false_leaves, self.presence.doubled) == (0, 0)
        await self.crowd.check_ledger(self.crowd.people[0])


async def healed(fleet: list[Process], visit: Visit) -> None:
    """Until each server says that Redis is there again."""
    async with asyncio.timeout(15 * pace.stretch()):
        for process in fleet:
            person = visit(process, "eve")
            while (await person.client.get("/ready")).get("degraded"):
                await asyncio.sleep(0.05)


async def for_seconds(seconds: float) -> None:
    """A fault, or a lease, takes this long: time that passes, not a condition that is awaited."""
    await asyncio.sleep(seconds)
