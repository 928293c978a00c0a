"""The supervisor: it forks workers, keeps their listening sockets, and sees to it that all of them
live.

Each worker has its own SO_REUSEPORT socket, which the kernel balances connections over (one socket
for all is shared badly). The supervisor made it and keeps it, and hands it to the worker's
successor: connections that wait in it are served, not lost, when a worker dies. macOS does not
balance such sockets, so there all workers share one.

One loop in one thread does everything, woken by signals: forking and starting servers must happen
in the main thread, because the kernel ends those children with the *thread* that made them.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from warmdesk import worker
from warmdesk.app import paths
from warmdesk.config import Settings
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.embedded.child import EmbeddedError, end_with_parent
from warmdesk.embedded.tending import Deaths, Server, Tending
from warmdesk.log import quoted
from warmdesk.metrics import WORKER_DEATHS
from warmdesk.metrics.sharing import clear_gauges, share
from warmdesk.outages import AGAIN_SECONDS, reason_of

CALM_SECONDS = 1.0
"""How often it looks when all serve: signals wake it when a child ends, or is to end."""
LOOK_SECONDS = 0.25
STOP_SECONDS = 10.0
"""How long a worker has from the signal to its end."""
READY_SECONDS = 30.0
"""How long a successor has to serve before a rolling restart gives up."""
WANTED_FILES = 65_536
"""Files that a worker should be able to open."""
PER_WORKER_SOCKETS = sys.platform == "linux"

FAILED, SERVER_AWAY = 1, os.EX_TEMPFAIL
"""Exit statuses of a worker: by a fault of ours; because a server that it needs is away."""

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

AWAY = (EmbeddedError, *DATABASE_AWAY)

log = logging.getLogger(__name__)


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


class CrashLoop(Exception):
    """The workers die before any of them ever served."""


@dataclass(eq=False)
class Worker:
    """A forked worker: its row in the metrics, and the pipe on which it says that it serves."""

    pid: int
    row: int
    pipe: int
    began: float = field(default_factory=time.monotonic)
    serves: bool = False
    leave_by: float = math.inf


@dataclass(eq=False)
class Slot:
    """A listening socket and its workers: one, and for a moment of a rolling restart its successor
    too.
    """

    number: int
    listener: socket.socket
    worker: Worker | None = None
    successor: Worker | None = None
    deaths: Deaths = field(default_factory=Deaths)
    said_at: float = -math.inf
    """When it was last told that a worker cannot start because a server is away."""

    def may_say(self) -> bool:
        """Whether to tell it again: it is tried every few seconds."""
        return time.monotonic() - self.said_at >= AGAIN_SECONDS


class Supervisor:
    """Runs `settings.workers` workers on `listeners` and tends `servers` (by name) until SIGTERM or
    SIGINT.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        servers: dict[str, Server],
        *,
        private: Sequence[int] = (),
    ) -> None:
        self.settings = settings
        self.slots = [Slot(number, listener) for number, listener in enumerate(listeners)]
        self.private = private
        self.retiring: list[Worker] = []
        self.rolling: deque[Slot] = deque()
        self.failed = Deaths()
        self.rows = list(range(len(self.slots) + 1))
        self.ready = False
        self.stopping = False
        self.tending = Tending(servers)
        self._terminal = os.isatty(0)
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._life: tuple[int, int] = (-1, -1)
        self._wake: tuple[int, int] = (-1, -1)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Fork, supervise, stop. `on_ready` is called once, when all workers serve. Raises
        `CrashLoop`.
        """
        raise_files()
        paths()  # routes, documents and their metrics: made once, for all workers
        share(len(self.slots) + 1)
        gc.collect()
        gc.freeze()
        with self._listening_to_signals():
            try:
                while not self._turn():
                    if not self.ready and all(s.worker and s.worker.serves for s in self.slots):
                        self.ready = True
                        on_ready()
                    self._wait()
            finally:
                for one in self._workers():
                    self._signal(one, signal.SIGKILL)
                for slot in self.slots:
                    slot.listener.close()

    def _turn(self) -> bool:
        """Look at everything once, and act. True when the last worker is gone after a stop."""
        for number in self._signals_since():
            if number == signal.SIGHUP and self._terminal == os.isatty(0):
                if not self.stopping and not self.rolling:
                    self.rolling.extend(self.slots)
                    log.info("workers.rolling workers=%d", len(self.slots))
            elif number != signal.SIGCHLD:
                self._begin_stop()  # also on the SIGHUP of a terminal that was closed
        self._reap()
        self._insist()
        if self.stopping:
            return not list(self._workers())
        self.tending.look()
        self._roll()
        now = time.monotonic()
        for slot in self.slots:
            if slot.worker is None and slot.successor is None and now >= slot.deaths.due:
                slot.worker = self._fork(slot)
        return False

    # Signals and waiting

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        """Signals wake the loop through a pipe; the pipe `life` ends for the workers when we do."""
        self._wake, self._life = os.pipe(), os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        before = {
            number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in HEARD
        }
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for fd in (*self._wake, *self._life):
                os.close(fd)
            self._selector.close()

    def _signals_since(self) -> list[int]:
        heard, self._signals = self._signals, []
        return heard

    def _wait(self) -> None:
        """Until a signal, a word of a worker, or the time to look again."""
        if self._signals:
            return
        pause = CALM_SECONDS if self._calm() else LOOK_SECONDS
        for key, _ in self._selector.select(timeout=pause):
            word = os.read(key.fd, 512)
            if key.fd == self._wake[0]:
                continue
            one: Worker = key.data
            if not word:
                self._selector.unregister(key.fd)  # it ended, or is ending
            if worker.SERVES in word:
                one.serves = True
                for slot in self.slots:
                    if slot.worker is one:
                        slot.said_at = -math.inf
                log.info("worker.serves pid=%d seconds=%.2f", one.pid, time.monotonic() - one.began)
            if worker.REPLACE in word and time.monotonic() >= self.failed.due:
                # It asks again and again; while its successor is on the way it is still in the row.
                self.rolling.extend(
                    s for s in self.slots if s.worker is one and s not in self.rolling
                )

    def _calm(self) -> bool:
        """Whether nothing is under way that has a time of its own."""
        return (
            not (self.stopping or self.rolling or self.retiring)
            and all(slot.worker and slot.worker.serves for slot in self.slots)
            and self.tending.calm
        )

    # Workers

    def _workers(self) -> Iterator[Worker]:
        for slot in self.slots:
            yield from (one for one in (slot.worker, slot.successor) if one)
        yield from self.retiring

    def _fork(self, slot: Slot) -> Worker:
        pipe, tell = os.pipe()
        row = self.rows.pop(0)
        sys.stdout.flush()
        parent = os.getpid()
        # A signal for the child waits until the child has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        pid = os.fork()
        if pid == 0:
            status = FAILED
            try:
                end_with_parent(parent, signal.SIGKILL)
                os.close(pipe)
                self._become_worker(slot, row, tell)
                status = 0
            except BaseException as error:
                status = _explain(error, say=slot.may_say())
            finally:
                os._exit(status)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        os.close(tell)
        slot.deaths.start()
        one = Worker(pid, row, pipe)
        self._selector.register(pipe, selectors.EVENT_READ, one)
        return one

    def _become_worker(self, slot: Slot, row: int, tell: int) -> None:
        """In the child: drop everything of the supervisor's, then serve."""
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGHUP, signal.SIGINT):  # the supervisor hears them, and decides
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        self._selector.close()
        for fd in (*self._wake, self._life[1], *self.private):
            os.close(fd)
        for other in self.slots:
            if other.listener is not slot.listener:
                other.listener.close()
        for one in self._workers():
            os.close(one.pipe)
        worker.run(self.settings, slot.listener, row=row, life=self._life[0], tell=tell)

    def _signal(self, one: Worker, number: int) -> None:
        try:
            os.kill(one.pid, number)
        except ProcessLookupError:
            pass  # it ended this moment; `_reap` will see it

    def _reap(self) -> None:
        """Take leave of the workers that ended, expected or not."""
        for one in list(self._workers()):
            pid, status = os.waitpid(one.pid, os.WNOHANG)
            if pid:
                self._bury(one, os.waitstatus_to_exitcode(status))

    def _bury(self, one: Worker, code: int) -> None:
        if one.pipe in self._selector.get_map():
            self._selector.unregister(one.pipe)
        os.close(one.pipe)
        self.rows.append(one.row)
        clear_gauges(one.row)
        if one in self.retiring:
            self.retiring.remove(one)
            return
        slot = next(s for s in self.slots if one in (s.worker, s.successor))
        if one is slot.successor:
            slot.successor = None
            if not self.stopping:
                self.failed.record()
                self.rolling.clear()  # an unwell worker asks again
                log.error("workers.rolling_stopped worker=%d cause=%s", slot.number, _cause(code))
            return
        slot.worker, slot.successor = slot.successor, None
        if self.stopping:
            return
        WORKER_DEATHS.inc()
        slot.deaths.record()
        if code == SERVER_AWAY and slot.may_say():
            slot.said_at = time.monotonic()  # the worker did
        if code != SERVER_AWAY:
            log.warning(
                "worker.ended worker=%d pid=%d cause=%s", slot.number, one.pid, _cause(code)
            )
        if slot.deaths.pause and not (code == SERVER_AWAY and self.ready):
            log.error("worker.crash_loop worker=%d next_in=%.0f", slot.number, slot.deaths.pause)
            if not self.ready:
                raise CrashLoop("the workers cannot start; the lines above say why")

    # Rolling restart

    def _roll(self) -> None:
        """One slot at a time: a successor serves, then the old worker drains, then the next."""
        if not self.rolling or self.retiring:
            return
        slot = self.rolling[0]
        if slot.successor is None:
            if slot.worker is None:
                return  # it died meanwhile: a new one comes anyway
            slot.successor = self._fork(slot)
            self.failed.start()
        elif slot.successor.serves:
            self.failed = Deaths()
            self.rolling.popleft()
            if slot.worker is not None:
                self.retiring.append(slot.worker)
                self._send_off(slot.worker, worker.RETIRE)
            slot.worker, slot.successor = slot.successor, None
            if not self.rolling:
                log.info("workers.rolled workers=%d", len(self.slots))
        elif time.monotonic() - slot.successor.began > READY_SECONDS:
            self._signal(slot.successor, signal.SIGKILL)

    # The end

    def _begin_stop(self) -> None:
        """Tell all workers to drain; a second signal does not wait for them."""
        if self.stopping:
            for one in self._workers():
                one.leave_by = 0.0
            return
        self.stopping = True
        log.info("server.stopping workers=%d", len(self.slots))
        self.rolling.clear()
        for slot in self.slots:
            slot.listener.close()
        for one in self._workers():
            if one not in self.retiring:
                self._send_off(one, signal.SIGTERM)

    def _send_off(self, one: Worker, number: int) -> None:
        self._signal(one, number)
        one.leave_by = time.monotonic() + STOP_SECONDS

    def _insist(self) -> None:
        """Kill the workers that were told to leave and are still there after their time."""
        now = time.monotonic()
        for one in self._workers():
            if now > one.leave_by:
                one.leave_by = math.inf
                log.warning("worker.killed pid=%d cause=not_drained", one.pid)
                self._signal(one, signal.SIGKILL)


def _cause(code: int) -> str:
    return f"signal_{-code}" if code < 0 else f"status_{code}"


def _explain(error: BaseException, *, say: bool) -> int:
    """Why a worker ends by itself: a sentence when a server is away, for it is tried again; a
    traceback when it is a fault of ours. Gives its exit status.
    """
    if isinstance(error, AWAY):
        if say:
            log.warning("worker.not_started cause=%s", quoted(reason_of(error)))
        return SERVER_AWAY
    log.error("worker.failed cause=%s", type(error).__name__, exc_info=error)
    return FAILED
