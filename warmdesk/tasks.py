"""Tasks that run as long as the process: an error ends one turn, never the task.

A task that raised is started again within a second, counted and logged. `Tasks.trouble` names a
task that stays dead for more than five seconds, which turns `/health` to 503 so that the worker is
replaced.

`Background` runs work that no caller waits for, once; it ends with its owner at the latest.

`SingleFlight` and `Batcher` are for the opposite: work that many callers want at the same moment is
done once, or in one go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from contextvars import Context
from itertools import islice
from typing import Any, Generic, TypeVar

from warmdesk.errors import Unavailable, WarmDeskError
from warmdesk.metrics import TASK_RESTARTS

RESTART_SECONDS = 0.5
DEAD_SECONDS = 5.0
CANCEL_SECONDS = 0.25
BEAT_SECONDS = 0.5
EARLY_SECONDS = 0.005
"""By how much a timer may come before its time: event loops count in milliseconds."""
GROUP = 500
"""Keys in one look-up."""

GOLDEN = 0.618034

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

log = logging.getLogger(__name__)


def seconds_to_tick(seconds: float) -> float:
    """Seconds to sleep until the last beat that falls within the next `seconds`; `seconds` itself
    when that is shorter than a beat. A process has two beats a second.

    Tasks that turn again and again sleep until a beat: a process that has little to do then wakes
    twice a second for all of them, and not for each. Processes have their beats at different
    moments, so they do not all ask Redis and the database at once.
    """
    if seconds < BEAT_SECONDS:
        return seconds
    now = time.monotonic() - os.getpid() * GOLDEN % 1 * BEAT_SECONDS
    beats = (now + seconds + EARLY_SECONDS) // BEAT_SECONDS
    return beats * BEAT_SECONDS - now


class Tasks:
    """The tasks of one part of a process."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failed_at: dict[str, float] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` until `stop`; again after each error."""
        self._running[name] = asyncio.create_task(self._tend(name, run), name=f"warmdesk.{name}")

    async def _tend(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            began = time.monotonic()
            try:
                await run()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("task.failed task=%s", name)
                TASK_RESTARTS.inc(task=name)
            else:
                return
            if time.monotonic() - began > DEAD_SECONDS:
                self._failed_at.pop(name, None)
            self._failed_at.setdefault(name, time.monotonic())
            await asyncio.sleep(RESTART_SECONDS)

    def recovered(self, name: str) -> None:
        """A turn of this task went well."""
        self._failed_at.pop(name, None)

    def trouble(self) -> str | None:
        """A task that has failed for more than five seconds, or None."""
        now = time.monotonic()
        for name, since in self._failed_at.items():
            if now - since > DEAD_SECONDS:
                return name
        return None

    async def stop(self) -> None:
        """Cancel all and wait for their ends."""
        running = list(self._running.values())
        self._running.clear()
        await end(running)


class Background:
    """Tasks of one owner that no caller waits for. Each is kept until it ended: the event loop
    alone would not keep it.

    failed  called with what a task raised; without it that is logged as an error

    Its length is how many run.
    """

    def __init__(self, name: str, *, failed: Callable[[BaseException], None] | None = None) -> None:
        self.name = name
        self._failed = failed or self._log
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, run: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run this. A caller that waits for its end all the same does so under a shield."""
        task = asyncio.create_task(run)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _log(self, error: BaseException) -> None:
        log.error("background.failed of=%s", self.name, exc_info=error)

    async def stop(self) -> None:
        """Cancel what runs and wait for its end. The owner starts nothing more."""
        await end(self._running)


class SingleFlight(Generic[T]):
    """One look-up for all callers who ask the same at one moment: when all clients come back at
    once, the database is asked a few times for each thing and not once for each caller.

    Every answer is of a look-up that began after the question, so it is never older than what the
    caller knew. A caller that asks while one runs shares the next. When the running one fails,
    because its server is away, the callers of the next get the same error at once.

    A look-up belongs to none of its callers: it sees nothing of their context, so it has time of
    its own.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[T]] = {}
        self._next: dict[Hashable, asyncio.Future[T]] = {}

    async def ask(self, question: Hashable, look_up: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer, or what `look_up` raised. A caller that gives up does not end it for the
        others.
        """
        running = self._running.get(question)
        answer: asyncio.Future[T]
        if question in self._next:  # the one before it may have just ended: there are never two
            answer = self._next[question]
        elif running is None:
            answer = self._running[question] = asyncio.create_task(look_up(), context=Context())
            answer.add_done_callback(lambda done: self._answered(question, done))
        else:
            after = self._after(running, question, look_up)
            answer = self._next[question] = asyncio.create_task(after, context=Context())
            answer.add_done_callback(lambda done: self._answered(question, done))
        return await asyncio.shield(answer)

    async def _after(
        self,
        running: asyncio.Future[T],
        question: Hashable,
        look_up: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        await asyncio.wait([running])
        self._running[question] = self._next.pop(question)
        error = None if running.cancelled() else running.exception()
        if error is not None and not _refused(error):
            raise error
        return await look_up()

    def _answered(self, question: Hashable, done: asyncio.Future[T]) -> None:
        for futures in (self._running, self._next):
            if futures.get(question) is done:
                del futures[question]
        if not done.cancelled():
            done.exception()  # all who asked may have given up, and then nobody else looks


class Batcher(Generic[K, T]):
    """One look-up for all callers of one moment, each of whom asks for something else. The first
    goes at once; keys that come while it is under way go together in the next batch. No key waits
    for company.

    It keeps what `SingleFlight` promises.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, asyncio.Future[T | None]] = {}
        self._batches: asyncio.Task[None] | None = None

    async def ask(self, key: K, look_up: Callable[[list[K]], Awaitable[Mapping[K, T]]]) -> T | None:
        """The value found for the key, or None; or what `look_up` raised. All ask with the same
        `look_up`. A caller that gives up does not end it for the others.
        """
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._batches is None:
                self._batches = asyncio.create_task(self._run_batches(look_up), context=Context())
        return await asyncio.shield(answer)

    async def _run_batches(self, look_up: Callable[[list[K]], Awaitable[Mapping[K, T]]]) -> None:
        """Look up the waiting keys, a group at a time, until none waits."""
        group: dict[K, asyncio.Future[T | None]] = {}
        try:
            while self._waiting:
                group = {key: self._waiting[key] for key in islice(self._waiting, GROUP)}
                for key in group:
                    del self._waiting[key]
                try:
                    found = await look_up(list(group))
                except Exception as error:  # the callers get it, whatever it is
                    _fail(group.values(), error)
                    if not _refused(error):
                        _fail(self._waiting.values(), error)
                        self._waiting.clear()
                else:
                    for key, answer in group.items():
                        answer.set_result(found.get(key))
        finally:
            self._batches = None
            for answer in (*group.values(), *self._waiting.values()):
                answer.cancel()  # without effect, unless this task was cancelled
            self._waiting.clear()


def _refused(error: BaseException) -> bool:
    """Whether the look-up was answered, with a refusal."""
    return isinstance(error, WarmDeskError) and not isinstance(error, Unavailable)


def _fail(answers: Iterable[asyncio.Future[Any]], error: Exception) -> None:
    for answer in answers:
        answer.set_exception(error)
        answer.exception()  # all who asked may have given up, and then nobody else looks


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended. Once is not enough: a library that is cancelled while it
    closes a connection may tell of the connection instead.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_SECONDS)


async def answer_within(
    seconds: float, question: Awaitable[T], *, failures: tuple[type[BaseException], ...]
) -> T | None:
    """The answer of a server; None when it gives none in time, or one of these failures.

    The caller does not wait until the question is taken back: asyncpg asks the server for that, and
    when the server hangs, that hangs too.
    """
    task = asyncio.ensure_future(question)
    try:
        await asyncio.wait((task,), timeout=seconds)
        return task.result() if task.done() else None
    except failures:
        return None
    finally:
        if not task.done():
            _unanswered.add(task)
            task.add_done_callback(_forget)
            task.cancel()


_unanswered: set[asyncio.Future[Any]] = set()


def _forget(task: asyncio.Future[Any]) -> None:
    """No caller waits for this answer any more, nor for its failure."""
    _unanswered.discard(task)
    if not task.cancelled():
        task.exception()
