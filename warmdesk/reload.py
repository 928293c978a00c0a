"""SIGHUP: the supervisor becomes a new program, and nobody is refused.

First a *rehearsal*: a child of the new program reads the settings, brings the schema up to date and
sees that the servers take it, while all goes on. If it cannot, it says why and nothing changes.
Only then the supervisor executes itself: the same process with the program and the settings that
are on disk now. It keeps its listening sockets, its embedded servers, its workers and the memory of
their metrics, and replaces worker by worker. nginx changes its binary in a like manner.

`Inherited` goes from one version of the program to another in a variable of the environment, so its
fields are never renamed: a new one has a default.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable

import msgspec

from warmdesk.embedded.child import before_exec
from warmdesk.log import quoted

VARIABLE = "_WARMDESK_INHERITED"

log = logging.getLogger(__name__)


class InheritedWorker(msgspec.Struct, frozen=True):
    """A worker of the program before: `row` of the metrics, `pipe` on which it speaks to us, and
    since when it runs, in seconds of `time.monotonic`.
    """

    pid: int
    row: int | None
    pipe: int
    began: float
    serves: bool


class Inherited(msgspec.Struct, frozen=True):
    """What the program before leaves behind. The integers but `pid` are file descriptors."""

    pid: int
    """The supervisor's, so that nobody else who finds the variable believes it."""
    host: str
    port: int
    """As they were set, not what came of them."""
    data_dir: str
    lock: int | None
    listeners: tuple[int, ...]
    servers: dict[str, int]
    """The process id of each embedded server."""
    life: tuple[int, int]
    metrics: int
    metrics_layout: str
    metrics_rows: int
    workers: tuple[InheritedWorker, ...] = ()
    rehearsal: bool = False
    log_format: str = "text"
    """In which a setting that cannot be is told."""

    def descriptors(self) -> Iterable[int]:
        yield from (*self.listeners, *self.life, self.metrics, *(one.pipe for one in self.workers))
        if self.lock is not None:
            yield self.lock


def inherited() -> Inherited | None:
    """What this process was left, or is to rehearse with; None when it was started as usual."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    found = msgspec.json.decode(text, type=Inherited)
    if found.pid != (os.getppid() if found.rehearsal else os.getpid()):
        return None
    if not found.rehearsal:
        for fd in found.descriptors():
            os.set_inheritable(fd, False)
    return found


def rehearse(left: Inherited) -> subprocess.Popen[bytes] | None:
    """Start the new program to see whether it could take over; its exit status says so. None when
    it cannot be started. From the main thread: it ends with us.
    """
    try:
        return subprocess.Popen(
            _command(),
            stdin=subprocess.DEVNULL,
            env=_environment(msgspec.structs.replace(left, rehearsal=True)),
            preexec_fn=before_exec(death=signal.SIGTERM),  # noqa: PLW1509  main thread only
        )
    except OSError as error:
        _refuse(error)
        return None


def execute(left: Inherited) -> None:
    """Become the new program; returns only when that fails. Block the signals that are listened to:
    those that come meanwhile then wait for the new program, which unblocks them.
    """
    for fd in left.descriptors():
        os.set_inheritable(fd, True)
    command = _command()
    try:
        os.execve(command[0], command, _environment(left))
    except OSError as error:
        _refuse(error)
        for fd in left.descriptors():
            os.set_inheritable(fd, False)


def _refuse(error: OSError) -> None:
    log.error("server.reload_refused cause=%s", quoted(error.strerror or str(error)))


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _environment(left: Inherited) -> dict[str, str]:
    return os.environ | {VARIABLE: msgspec.json.encode(left).decode()}
