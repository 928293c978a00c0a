"""SIGHUP: the supervisor becomes a new program, and nobody is refused.

First a *rehearsal*: a child of the new program reads the settings, brings the schema up to date and
sees that the servers take it, while all goes on. If it cannot, it says why and nothing changes.
Only then the supervisor executes itself: the same process with the program that is on disk now and
the settings of the rehearsal, whatever became of their file since. It keeps its listening sockets,
its embedded servers, its workers and the memory of their metrics, and replaces worker by worker.
nginx changes its binary in a like manner.

`Inherited` goes from one version of the program to another in a variable of the environment, so its
fields are never renamed: a new one has a default.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from warmdesk.config import Settings
from warmdesk.embedded.child import before_exec
from warmdesk.log import quoted
from warmdesk.metrics.rows import memory_file

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
    version: str = ""
    """Of its own program."""


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
    settings: int | None = None
    """Where the rehearsal leaves its settings."""
    log_format: str = "text"
    """In which a setting that cannot be is told."""
    version: str = ""
    """The oldest of the programs that go on while the schema is brought up to date: ours, or that
    of a worker which is not replaced yet.
    """

    def descriptors(self) -> Iterable[int]:
        yield from (*self.listeners, *self.life, self.metrics, *(one.pipe for one in self.workers))
        yield from (fd for fd in (self.lock, self.settings) if fd is not None)

    def leave_settings(self, settings: Settings) -> None:
        """In the rehearsal: these are good."""
        if self.settings is not None:
            with os.fdopen(self.settings, "wb") as file:
                file.write(msgspec.json.encode(settings, enc_hook=str))

    def rehearsed(self) -> Settings | None:
        """The settings of the rehearsal, once; None when that was of a program with others."""
        if self.settings is None:
            return None
        with os.fdopen(self.settings, "rb") as file:
            file.seek(0)
            text = file.read()
        try:
            return msgspec.json.decode(text, type=Settings, dec_hook=_made)
        except msgspec.DecodeError:
            return None


def _made(kind: Any, raw: Any) -> Any:
    return kind(raw)


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


def postpone() -> None:
    """Let a SIGHUP that comes while we start wait until the supervisor listens. That of a terminal,
    which is closed then, ends us as ever. So does a SIGTERM, also where the kernel keeps it from
    the first process of a container.
    """
    if not os.isatty(0):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


class Rehearsal:
    """The new program sees whether it could take over. Begin it in the main thread: it ends with
    us. `OSError` when it cannot even start.
    """

    def __init__(self, left: Inherited) -> None:
        self.began = time.monotonic()
        self.settings = memory_file("warmdesk-settings")
        try:
            self._process = subprocess.Popen(
                _command(),
                stdin=subprocess.DEVNULL,
                env=_environment(
                    msgspec.structs.replace(left, rehearsal=True, settings=self.settings)
                ),
                pass_fds=(self.settings,),
                preexec_fn=before_exec(death=signal.SIGTERM),  # noqa: PLW1509  main thread only
            )
        except BaseException:
            os.close(self.settings)
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """Its exit status, 0 when it could; None while it is at it."""
        return self._process.poll()

    def end(self) -> None:
        """Stop it, wherever it is, and forget what it found."""
        self._process.kill()
        self._process.wait()
        os.close(self.settings)


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
        refuse(error)
        for fd in left.descriptors():
            os.set_inheritable(fd, False)


def refuse(error: OSError | subprocess.SubprocessError) -> None:
    """Tell why the new program cannot even begin."""
    reason = error.strerror if isinstance(error, OSError) else None
    log.error("server.reload_refused cause=%s", quoted(reason or str(error)))


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _environment(left: Inherited) -> dict[str, str]:
    return os.environ | {VARIABLE: msgspec.json.encode(left).decode()}
