"""The bad networks of a soak, in a process of their own: every byte between the servers and what
they need goes through them. In the soak's own process, which reads and judges all that is
delivered, they would stand still whenever it collects garbage, and events would come late.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

import uvloop

from tests.journeys.proxy import Proxy, Weather

STOP_SECONDS = 5.0


class Way(NamedTuple):
    """What a network connects: it listens on `listen` for who wants `upstream`; see `Proxy`."""

    upstream: str
    listen: str
    seed: int = 1
    bytes_only: bool = False


class Network:
    """One `Proxy` there. What is done to it is done when the call returns."""

    def __init__(self, pipe: Connection, number: int, way: Way) -> None:
        self._pipe, self._number = pipe, number
        self.listen = way.listen

    def freeze(self) -> None:
        self._do("freeze")

    def thaw(self) -> None:
        self._do("thaw")

    def cut(self) -> None:
        self._do("cut")

    def close(self) -> None:
        self._do("close")

    def open(self) -> None:
        self._do("open")

    def become(self, weather: Weather) -> None:
        """From now on it is like this."""
        self._do("become", weather)

    def _do(self, what: str, *values: Any) -> None:
        self._pipe.send((self._number, what, values))
        self._pipe.recv()


class Networks:
    """``async with Networks(ways)``: they are there, in the order of `ways`, as ``networks``."""

    def __init__(self, ways: Sequence[Way]) -> None:
        mine, theirs = multiprocessing.Pipe()
        self._pipe, self._theirs = mine, theirs
        # Spawned, not forked: the child must not have what this process has open.
        self._process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(theirs, tuple(ways)), name="networks", daemon=True
        )
        self.networks = [Network(mine, number, way) for number, way in enumerate(ways)]

    async def __aenter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        await asyncio.to_thread(self._pipe.recv)  # they listen; EOFError when they could not
        return self

    async def __aexit__(self, *error: object) -> None:
        """All connections through them end."""
        self._pipe.close()
        await asyncio.to_thread(self._process.join, STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()


def _work(pipe: Connection, ways: Sequence[Way]) -> None:
    # Ctrl-C is the soak's, which ends this process when the servers have stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(pipe, ways))


async def _serve(pipe: Connection, ways: Sequence[Way]) -> None:
    """Until the other end is closed, also by the end of its process."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(
                Proxy(way.upstream, way.listen, seed=way.seed, bytes_only=way.bytes_only)
            )
            for way in ways
        ]

        def asked() -> None:
            try:
                number, what, values = pipe.recv()
            except (EOFError, OSError):
                loop.remove_reader(pipe.fileno())
                over.set()
                return
            getattr(proxies[number], what)(*values)
            pipe.send(None)

        loop.add_reader(pipe.fileno(), asked)
        pipe.send(None)
        await over.wait()
