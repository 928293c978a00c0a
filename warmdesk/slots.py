"""What the supervisor knows of its workers: who serves which sockets, and how one ended."""

from __future__ import annotations

import logging
import math
import os
import resource
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import warmdesk
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.embedded.child import EmbeddedError
from warmdesk.embedded.tending import Deaths
from warmdesk.log import quoted
from warmdesk.outages import AGAIN_SECONDS, reason_of

WANTED_FILES = 65_536
"""Files that a worker should be able to open."""
FAILED, SERVER_AWAY = 1, os.EX_TEMPFAIL
"""Exit statuses of a worker: by a fault of ours; because a server that it needs is away."""

AWAY = (EmbeddedError, *DATABASE_AWAY)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """A forked worker: its row in the metrics (None: it counts in the memory of another program),
    and the pipe on which it says that it serves.
    """

    pid: int
    row: int | None
    pipe: int
    began: float = field(default_factory=time.monotonic)
    serves: bool = False
    version: str = warmdesk.__version__
    """Of its program, which may be the one before."""
    leave_by: float = math.inf


@dataclass(eq=False)
class Slot:
    """Listening sockets and their workers: one, and for a moment of a rolling restart its successor
    too.
    """

    number: int
    listeners: Sequence[socket.socket]
    worker: Worker | None = None
    successor: Worker | None = None
    surplus: list[Worker] = field(default_factory=list)
    """Workers that leave with the worker: there were more before the reload."""
    bereft: bool = False
    """Whether one of the surplus ended alone: nobody accepts on its socket."""
    deaths: Deaths = field(default_factory=Deaths)
    said_at: float = -math.inf
    """When it was last told that a worker cannot start because a server is away."""

    def may_say(self) -> bool:
        """Whether to tell it again: it is tried every few seconds."""
        return time.monotonic() - self.said_at >= AGAIN_SECONDS


def raise_files() -> None:
    """May workers open as many files as the system lets us: each connection is one, and the usual
    1,024 are a thousand clients. Says so when even that is not many.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass  # macOS names a hard limit that it does not give
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < WANTED_FILES:
        log.warning("files.few limit=%d wanted=%d", limit, WANTED_FILES)


def cause(code: int) -> str:
    return f"signal_{-code}" if code < 0 else f"status_{code}"


def explain(error: BaseException, *, say: bool) -> int:
    """Why a worker ends by itself: a sentence when a server is away, for it is tried again; a
    traceback when it is a fault of ours. Gives its exit status.
    """
    if isinstance(error, AWAY):
        if say:
            log.warning("worker.not_started cause=%s", quoted(reason_of(error)))
        return SERVER_AWAY
    log.error("worker.failed cause=%s", type(error).__name__, exc_info=error)
    return FAILED
