"""Commands to Redis over connections that redis-py made: it knows addresses, TLS, passwords,
sentinels.

Several installations may share a Redis: every name there, of a key or a channel, begins with
`names_of` the installation.

But redis-py's streams, pools and limits around each command cost more than all else that is done
for a chat message. So a `RedisConnection` takes an open connection over: commands are written at
once, and each answer is handed on in the tick in which it came. `RedisCalls` are for callers that
wait for an answer: one connection for all of a process, since answers come in the order of the
commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

import hiredis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

NOT_WHOLE = object()
NAMES = "warmdesk:"
"""How all names in Redis begin."""

pack: Callable[[tuple[str | bytes | int, ...]], bytes] = cast("Any", hiredis.pack_command)
"""A command as Redis wants it."""


def names_of(installation: str) -> str:
    """How all names of one installation in Redis begin. Database numbers would not do: pub/sub
    does not know them.
    """
    return f"{NAMES}{installation}:"


class RedisConnection(asyncio.Protocol):
    """A connection after redis-py said hello on it.

    ``answered`` is called with each answer, in order, an error as `ResponseError`; when it raises
    that is the end of the link. ``ended`` is called once, with the reason. ``drained`` is called
    when `full` is over: when more may be written.
    """

    def __init__(
        self,
        opened: Any,
        *,
        answered: Callable[[Any], None],
        ended: Callable[[Exception], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`opened`: a connected connection of redis-py, which may close it but not use it after.
        `Lost` when Redis has ended it meanwhile; `ended` is not called then.
        """
        self._opened = opened
        self._answered, self._ended, self._drained = answered, ended, drained
        self._answers = hiredis.Reader(notEnoughData=NOT_WHOLE)
        reader = opened._reader
        self._transport = cast("asyncio.Transport", opened._writer.transport)
        self._streams = self._transport.get_protocol()
        self.over = self.full = False
        # No command was sent yet: bytes that are read already are no answer.
        if reader._buffer or reader.at_eof() or reader.exception() is not None:
            self._let_go()
            raise Lost("Redis ended the connection")
        self._transport.set_protocol(self)

    def write(self, commands: bytes) -> None:
        """Send commands. Nothing is sent when it is over: `ended` has told."""
        if not self.over:
            self._transport.write(commands)

    def end(self, reason: Exception) -> None:
        """Close it; what is not answered yet never will be."""
        if not self.over:
            self.over = True
            self._let_go()
            self._ended(reason)

    def _let_go(self) -> None:
        self._transport.abort()
        self._opened._close()

    # As the transport calls it

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.feed(data)
            while not self.over:
                answer = self._answers.gets()
                if answer is NOT_WHOLE:
                    return
                if isinstance(answer, hiredis.PushNotification):
                    continue
                if isinstance(answer, Exception):
                    answer = ResponseError(str(answer))
                self._answered(answer)
        except Exception as error:
            self.end(error)

    def eof_received(self) -> None:
        self.end(Lost("Redis ended the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        self.end(error or Lost("the connection to Redis ended"))
        self._streams.connection_lost(None)  # redis-py waits for that where it closes

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._drained()


class RedisCalls:
    """Asks Redis, on a connection of `redis`, whose end closes it."""

    def __init__(self, redis: Any) -> None:
        self._pool = redis.connection_pool
        self._opened: Any = None
        self._link: RedisConnection | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._connecting: asyncio.Task[RedisConnection] | None = None

    async def ask(self, *words: str | bytes | int, seconds: float) -> Any:
        """The answer to a command, within so many seconds. Raises `RedisError`, OSError or
        TimeoutError; `ResponseError` when Redis refuses the command.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        link = self._link
        if link is None:
            async with asyncio.timeout_at(end):
                link = await self._connected()
            if link.over:
                raise Lost("Redis ended the connection")
        command = pack(words)  # first: without a command no caller may wait for its answer
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(answer)
        link.write(command)
        # When one answer does not come in time, the others behind it would not either.
        late = loop.call_at(end, link.end, TimeoutError("Redis does not answer"))
        try:
            return await answer
        finally:
            late.cancel()

    def drop(self) -> None:
        """This Redis will not do: connect again, perhaps to another."""
        if self._link is not None:
            self._link.end(Lost("dropped"))

    def _hear(self, answer: Any) -> None:
        waiting = self._waiting.popleft()
        if waiting.done():  # the caller does not wait any more
            return
        if isinstance(answer, ResponseError):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _end(self, reason: Exception) -> None:
        self._link = None
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.done():
                each.set_exception(reason)

    async def _connected(self) -> RedisConnection:
        """A new connection, one for all callers of now. One that gives up does not end it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), context=Context())
            self._connecting.add_done_callback(self._done)
        return await asyncio.shield(self._connecting)

    def _done(self, connecting: asyncio.Task[RedisConnection]) -> None:
        self._connecting = None
        if not connecting.cancelled():
            connecting.exception()  # all who waited may have given up, and then nobody else looks

    async def _connect(self) -> RedisConnection:
        before, self._opened = self._opened, None
        if before is not None:
            await self._pool.release(before)
        self._opened = await self._pool.get_connection()
        self._link = RedisConnection(self._opened, answered=self._hear, ended=self._end)
        return self._link
