"""The supervisor: it forks workers, keeps their listening sockets, and sees to it that all of them
live.

Each worker has its own SO_REUSEPORT socket, which the kernel balances connections over (one socket
for all is shared badly). The supervisor made it and keeps it, and hands it to the worker's
successor: connections that wait in it are served, not lost, when a worker dies. So that none is
refused, no such socket is closed before the end: when a reload brings fewer workers, some have two.
macOS does not balance such sockets, so there all workers share one.

One loop in one thread does everything, woken by signals, so this module is a long one: forking and
starting servers must happen in the main thread, because the kernel ends those children with the
*thread* that made them.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import warmdesk
from warmdesk import reload, worker
from warmdesk.app import paths
from warmdesk.config import Settings
from warmdesk.db.migrations import numbers
from warmdesk.embedded.child import end_with_parent
from warmdesk.embedded.tending import Deaths, Server, Tending
from warmdesk.listeners import PER_WORKER_SOCKETS
from warmdesk.log import quoted
from warmdesk.metrics import WORKER_DEATHS
from warmdesk.metrics.sharing import clear_gauges, layout, share
from warmdesk.slots import FAILED, SERVER_AWAY, Slot, Worker, cause, explain, raise_files

CALM_SECONDS = 1.0
"""How often it looks when all serve: signals wake it when a child ends, or is to end."""
LOOK_SECONDS = 0.25
STOP_SECONDS = 10.0
"""How long a worker has from the signal to its end."""
READY_SECONDS = 30.0
"""How long a successor has to serve before a rolling restart gives up."""
REHEARSAL_SECONDS = 1800.0
"""How long the new program may take to see whether it can take over: migrations are part of it."""

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

log = logging.getLogger(__name__)


def _share(listeners: Sequence[socket.socket], number: int, count: int) -> Sequence[socket.socket]:
    """What the worker of this number serves, of so many workers."""
    if not PER_WORKER_SOCKETS:
        return listeners
    return listeners[number::count] or [listeners[number % len(listeners)]]


class CrashLoop(Exception):
    """The workers die before any of them ever served."""


class Supervisor:
    """Runs `settings.workers` workers on `listeners` and tends `servers` (by name) until SIGTERM or
    SIGINT. `lock` is the data directory's. With `inherited` workers serve already.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        servers: dict[str, Server],
        *,
        lock: int | None = None,
        inherited: reload.Inherited | None = None,
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        count = settings.workers
        self.slots = [Slot(n, _share(listeners, n, count)) for n in range(count)]
        self.lock = lock
        self.inherited = inherited
        self.retiring: list[Worker] = []
        self.rolling: deque[Slot] = deque()
        self.failed = Deaths()
        self.rows: list[int] = []
        self.ready = False
        self.stopping = False
        self.reload_wanted = False
        self.rehearsal: reload.Rehearsal | None = None
        self.tending = Tending(servers)
        self._first = os.getpid() == 1
        self._terminal = os.isatty(0)
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._life: tuple[int, int] = (-1, -1)
        self._wake: tuple[int, int] = (-1, -1)
        self._metrics, self._layout, self._rows = -1, "", 0

    def run(self, on_ready: Callable[[], None]) -> None:
        """Fork, supervise, stop. `on_ready` is called once, when all workers serve. Raises
        `CrashLoop`.
        """
        raise_files()
        paths()  # routes, documents and their metrics: made once, for all workers
        self._share_metrics()
        gc.collect()
        gc.freeze()
        with self._listening_to_signals():
            self._adopt()
            try:
                while not self._turn():
                    if not self.ready and all(s.worker and s.worker.serves for s in self.slots):
                        self.ready = True
                        on_ready()
                    self._wait()
            finally:
                self._end_rehearsal()
                for one in self._workers():
                    self._signal(one, signal.SIGKILL)
                for listener in self.listeners:
                    listener.close()

    def _turn(self) -> bool:
        """Look at everything once, and act. True when the last worker is gone after a stop."""
        for number in self._signals_since():
            if number == signal.SIGHUP and self._terminal == os.isatty(0):
                self.reload_wanted = True
            elif number != signal.SIGCHLD:
                self._begin_stop()  # also on the SIGHUP of a terminal that was closed
        self._reap()
        self._insist()
        if self.stopping:
            return not list(self._workers())
        self.tending.look()
        self._reload()
        now = time.monotonic()
        if now >= self.failed.due:
            self.rolling.extend(s for s in self.slots if s.bereft and s not in self.rolling)
        self._roll()
        for slot in self.slots:
            if slot.worker is None and slot.successor is None and now >= slot.deaths.due:
                slot.worker = self._forked(slot)
        return False

    # Signals and waiting

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        """Signals wake the loop through a pipe; the pipe `life` ends for the workers when we do."""
        self._wake = os.pipe()
        self._life = self.inherited.life if self.inherited else os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        before = {
            number: signal.signal(number, lambda n, _: self._signals.append(n)) for number in HEARD
        }
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
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
                    s for s in self.slots if one in (s.worker, *s.surplus) and s not in self.rolling
                )

    def _calm(self) -> bool:
        """Whether nothing is under way that has a time of its own."""
        return (
            not (self.stopping or self.rolling or self.retiring or self.reload_wanted)
            and all(slot.worker and slot.worker.serves for slot in self.slots)
            and self.tending.calm
        )

    # Workers

    def _workers(self) -> Iterator[Worker]:
        for slot in self.slots:
            yield from (one for one in (slot.worker, slot.successor, *slot.surplus) if one)
        yield from self.retiring

    def _forked(self, slot: Slot) -> Worker | None:
        """A new worker; once we serve, None where the system has no process or file for it now."""
        slot.deaths.start()
        try:
            return self._fork(slot)
        except OSError as error:
            if not self.ready:
                raise
            slot.deaths.record()
            reason = quoted(error.strerror or str(error))
            log.error("worker.not_forked worker=%d cause=%s", slot.number, reason)
            return None

    def _fork(self, slot: Slot) -> Worker:
        pipe, tell = os.pipe()
        row = self.rows[0]
        sys.stdout.flush()
        parent = os.getpid()
        # A signal for the child waits until the child has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
            os.close(pipe)
            os.close(tell)
            raise
        if pid == 0:
            status = FAILED
            try:
                end_with_parent(parent, signal.SIGKILL)
                os.close(pipe)
                self._become_worker(slot, row, tell)
                status = 0
            except BaseException as error:
                status = explain(error, say=slot.may_say())
            finally:
                os._exit(status)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        os.close(tell)
        self.rows.remove(row)
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
        settings = self.rehearsal.settings if self.rehearsal else None
        for fd in (*self._wake, self._life[1], self.lock, settings):
            if fd is not None:
                os.close(fd)
        for listener in self.listeners:
            if listener not in slot.listeners:
                listener.close()
        for one in self._workers():
            os.close(one.pipe)
        worker.run(self.settings, slot.listeners, row=row, life=self._life[0], tell=tell)

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
        if self._first:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Take leave of what others left to the first process of a container: nobody else does, and
        in the end there would be no process ids.
        """
        ours = {one.pid for one in self._workers()}
        ours |= {server.pid for server in self.tending.servers.values()}
        if self.rehearsal is not None:
            ours.add(self.rehearsal.pid)
        try:
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in ours:
                    return  # it has its own who waits for it, and then there is the next look
                os.waitpid(found.si_pid, 0)
        except ChildProcessError:
            pass

    def _bury(self, one: Worker, code: int) -> None:
        if one.pipe in self._selector.get_map():
            self._selector.unregister(one.pipe)
        os.close(one.pipe)
        if one.row is not None:
            self.rows.append(one.row)
            clear_gauges(one.row)
        if one in self.retiring:
            self.retiring.remove(one)
            return
        for slot in self.slots:
            if one in slot.surplus:
                slot.surplus.remove(one)
                if not self.stopping:
                    slot.bereft = True
                    self._note_death(slot, one, code)
                return
        slot = next(s for s in self.slots if one in (s.worker, s.successor))
        if one is slot.successor:
            slot.successor = None
            if not self.stopping:
                self._stop_rolling(slot, cause(code))
            return
        slot.worker, slot.successor = slot.successor, None
        if self.stopping:
            return
        slot.deaths.record()
        if code == SERVER_AWAY and slot.may_say():
            slot.said_at = time.monotonic()  # the worker did
        self._note_death(slot, one, code)
        if slot.deaths.pause and not (code == SERVER_AWAY and self.ready):
            log.error("worker.crash_loop worker=%d next_in=%.0f", slot.number, slot.deaths.pause)
            if not self.ready:
                raise CrashLoop("the workers cannot start; the lines above say why")

    def _note_death(self, slot: Slot, one: Worker, code: int) -> None:
        WORKER_DEATHS.inc()
        if code != SERVER_AWAY:
            log.warning("worker.ended worker=%d pid=%d cause=%s", slot.number, one.pid, cause(code))

    # Reload

    def _reload(self) -> None:
        """On SIGHUP: see whether the new program could take over, and become it. Workers that are
        being replaced are waited for.
        """
        if self.rehearsal is None:
            if self.reload_wanted and self.ready and not (self.rolling or self.retiring):
                self.reload_wanted = False
                self._rehearse()
            return
        status = self.rehearsal.status()
        if status is None and time.monotonic() - self.rehearsal.began > REHEARSAL_SECONDS:
            self._end_rehearsal()
            log.error("server.reload_refused cause=no_end")
            return
        if status is None or self.rolling or self.retiring:
            return
        if status:
            self._end_rehearsal()
            log.error("server.reload_refused cause=%s", cause(status))
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        if not self._signals:  # else they are acted on first
            if not self.reload_wanted:  # else there is something newer to rehearse
                reload.execute(self._left())
            self._end_rehearsal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def _rehearse(self) -> None:
        log.info("server.reloading")
        try:
            self.rehearsal = reload.Rehearsal(self._left())
        except (OSError, subprocess.SubprocessError) as error:
            reload.refuse(error)

    def _end_rehearsal(self) -> None:
        if self.rehearsal is not None:
            self.rehearsal.end()
            self.rehearsal = None

    def _left(self) -> reload.Inherited:
        """What the new program gets from us."""
        return reload.Inherited(
            pid=os.getpid(),
            host=self.settings.host,
            port=self.settings.port,
            data_dir=str(self.settings.data_dir),
            lock=self.lock,
            listeners=tuple(listener.fileno() for listener in self.listeners),
            servers={name: server.pid for name, server in self.tending.servers.items()},
            life=self._life,
            metrics=self._metrics,
            metrics_layout=self._layout,
            metrics_rows=self._rows,
            workers=tuple(
                reload.InheritedWorker(
                    one.pid, one.row, one.pipe, one.began, one.serves, one.version
                )
                for one in self._workers()
            ),
            settings=self.rehearsal.settings if self.rehearsal else None,
            log_format=self.settings.log_format,
            version=min((warmdesk.__version__, *(w.version for w in self._workers())), key=numbers),
        )

    def _share_metrics(self) -> None:
        """Share memory with the workers: what is inherited, when it fits this program."""
        self._layout, self._rows, file = layout(), len(self.slots) + 1, None
        if self.inherited is not None:
            if self.inherited.metrics_layout == self._layout:
                file = self.inherited.metrics
                self._rows = max(self._rows, self.inherited.metrics_rows)
            else:
                os.close(self.inherited.metrics)
        self._metrics = share(self._rows, file)

    def _adopt(self) -> None:
        """Take over the workers of the program before, and replace all of them."""
        self.rows = list(range(self._rows))
        left = self.inherited
        if left is None:
            return
        self.ready = True
        counting = left.metrics_layout == self._layout
        for number, each in enumerate(left.workers):
            row = each.row if counting else None
            version = each.version or left.version
            one = Worker(each.pid, row, each.pipe, each.began, each.serves, version)
            self._selector.register(one.pipe, selectors.EVENT_READ, one)
            if row is not None:
                self.rows.remove(row)
            slot = self.slots[number % len(self.slots)]
            if slot.worker is None:
                slot.worker = one
                self.rolling.append(slot)
            else:
                slot.surplus.append(one)
        log.info("server.reloaded version=%s", warmdesk.__version__)
        log.info("workers.rolling workers=%d", len(self.slots))

    # Rolling restart

    def _roll(self) -> None:
        """One slot at a time: a successor serves, then the old worker drains, then the next."""
        if not self.rolling or self.retiring:
            return
        slot = self.rolling[0]
        if slot.successor is None:
            if slot.worker is None:
                return  # it died meanwhile: a new one comes anyway
            self.failed.start()
            slot.successor = self._forked(slot)
            if slot.successor is None:
                self._stop_rolling(slot, "not_forked")
        elif slot.successor.serves:
            self.failed = Deaths()
            self.rolling.popleft()
            for one in (slot.worker, *slot.surplus):
                if one is not None:
                    self.retiring.append(one)
                    self._send_off(one, worker.RETIRE)
            slot.worker, slot.successor, slot.surplus = slot.successor, None, []
            slot.bereft = False
            if not self.rolling:
                log.info("workers.rolled workers=%d", len(self.slots))
        elif time.monotonic() - slot.successor.began > READY_SECONDS:
            self._signal(slot.successor, signal.SIGKILL)

    def _stop_rolling(self, slot: Slot, why: str) -> None:
        self.failed.record()
        self.rolling.clear()  # an unwell worker asks again
        log.error("workers.rolling_stopped worker=%d cause=%s", slot.number, why)

    # The end

    def _begin_stop(self) -> None:
        """Tell all workers to drain; a second signal does not wait for them."""
        if self.stopping:
            for one in self._workers():
                one.leave_by = 0.0
            return
        self.stopping = True
        log.info("server.stopping workers=%d", len(self.slots))
        self._end_rehearsal()  # it may be changing what workers need to finish
        self.rolling.clear()
        for listener in self.listeners:
            listener.close()
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
