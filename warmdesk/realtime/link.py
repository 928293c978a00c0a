"""One connection to Redis, spoken on without redis-py, which opened it.

redis-py knows addresses, TLS, passwords and sentinels. Its streams, timeouts and checks, however,
cost a message more than all else that is done with it. So the bus takes the connection over once it
is open: commands are written at once, and every answer is handed on in the tick in which it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.exceptions import ResponseError

NOT_WHOLE = object()


def command(*words: bytes) -> bytes:
    """A command in RESP, the protocol of Redis."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class Link(asyncio.Protocol):
    """A connection after redis-py said hello on it, in RESP 2. `answered` is called with each
    answer, in order; `ended` once, with the reason: an answer that is an error ends it, too, for
    those that follow could not be told apart. `drained` is called when `full` is over: when more
    may be written.
    """

    def __init__(
        self,
        opened: Any,
        *,
        answered: Callable[[Any], None],
        ended: Callable[[Exception], None],
        drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`opened`: a connected connection of redis-py, which has nothing to do with it after.
        ConnectionResetError when Redis has ended it meanwhile; `ended` is not called then.
        """
        self._answered, self._ended, self._drained = answered, ended, drained
        self._answers = hiredis.Reader(notEnoughData=NOT_WHOLE)
        # A writer of asyncio that is forgotten closes its transport.
        self._writer, reader = opened._writer, opened._reader
        opened._writer = opened._reader = None
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self.over = self.full = False
        # Nothing comes unasked in RESP 2: what is read already belongs to nobody.
        if reader._buffer or reader.at_eof() or reader.exception() is not None:
            self._transport.abort()
            raise ConnectionResetError("Redis ended the connection")
        self._transport.set_protocol(self)

    def write(self, commands: bytes) -> None:
        """Send commands. Nothing is sent when it is over: `ended` has told, or tells soon."""
        if not self.over:
            self._transport.write(commands)

    def end(self, reason: Exception) -> None:
        """Close it; what is not answered yet never will be."""
        if not self.over:
            self.over = True
            self._transport.abort()
            self._ended(reason)

    # As the transport calls it

    def data_received(self, data: bytes) -> None:
        try:
            self._answers.feed(data)
            while not self.over:
                answer = self._answers.gets()
                if answer is NOT_WHOLE:
                    return
                if isinstance(answer, Exception):
                    raise ResponseError(str(answer))
                self._answered(answer)
        except Exception as error:
            self.end(error)

    def eof_received(self) -> None:
        self.end(ConnectionResetError("Redis ended the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        self.end(error or ConnectionResetError("the connection to Redis ended"))

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._drained()
