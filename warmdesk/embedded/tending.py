"""Keeping alive what dies: when a process may start again, and the embedded servers' look-after."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Protocol

from warmdesk.embedded.child import EmbeddedError
from warmdesk.log import quoted

LOOP_DEATHS = 5
LOOP_SECONDS = 10.0
"""So many deaths in so many seconds are a crash loop."""
LONGEST_PAUSE = 15.0

log = logging.getLogger(__name__)


class Deaths:
    """When something that ends by itself may start again: at once, but with growing pauses in a
    crash loop.
    """

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=LOOP_DEATHS)
        self.began = 0.0
        self.due = 0.0
        self.pause = 0.0

    def start(self) -> None:
        self.began = time.monotonic()

    def record(self) -> None:
        now = time.monotonic()
        if now - self.began > LOOP_SECONDS:
            self.recent.clear()
            self.pause = 0.0
        self.recent.append(now)
        looping = len(self.recent) == LOOP_DEATHS and now - self.recent[0] < LOOP_SECONDS
        if looping or self.pause:
            self.pause = min(self.pause * 2 or 1.0, LONGEST_PAUSE)
        self.due = now + self.pause


class Server(Protocol):
    """An embedded server, as `Tending` sees it."""

    @property
    def pid(self) -> int: ...
    def start(self, *, wait: bool = True) -> None: ...
    def stop(self) -> None: ...
    def alive(self) -> bool: ...
    def last_words(self) -> str: ...


class Tending:
    """Embedded servers by name. A dead one starts again at the same address."""

    def __init__(self, servers: dict[str, Server]) -> None:
        self.servers = servers
        self.deaths = {name: Deaths() for name in servers}
        self._down: set[str] = set()
        self.calm = True  # all lived at the last look

    def look(self) -> None:
        """One round: note the dead servers, and start those that may. Nothing waits for it:
        connections come back by themselves. From the main thread.
        """
        self.calm = True
        for name, server in self.servers.items():
            if server.alive():
                continue
            self.calm = False
            deaths = self.deaths[name]
            if name not in self._down:
                self._down.add(name)
                deaths.record()
                log.warning("%s.ended last_words=%s", name, quoted(server.last_words()))
                if deaths.pause:
                    log.error("%s.crash_loop next_in=%.0f", name, deaths.pause)
            if time.monotonic() < deaths.due:
                continue
            deaths.start()
            try:
                server.start(wait=False)
                log.info("%s.started", name)
            except (EmbeddedError, OSError) as error:
                log.error("%s.not_started cause=%s", name, quoted(str(error)))
            self._down.discard(name)
