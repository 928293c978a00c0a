"""What stories of the centre share: changes that only tell, and a transport that a test drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from tests.realtime.raw import all_frames
from warmdesk.desk import Desk
from warmdesk.metrics.kinds import Metric
from warmdesk.metrics.rows import ROWS
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.realtime.connection import Connection
from warmdesk.realtime.events import PROJECT_UNARCHIVED, Event
from warmdesk.realtime.feed import Entry


async def tell(
    desk: Desk,
    channel: str,
    times: int = 1,
    *,
    event: Event = PROJECT_UNARCHIVED,
    payload: str = '{"slug":"demo"}',
) -> None:
    """A change that writes nothing but events."""

    async def work(change: Change) -> None:
        for _ in range(times):
            change.emit(channel, event, payload)

    await desk.changes.run(ChangeContext(actor_id=1), work)


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    """The seqs of the events among frames."""
    return [frame["seq"] for frame in frames if "seq" in frame]


def entry(
    seq: int, kind: str = "told", entity: str = "-", size: int = 0, *, erases: bool = False
) -> Entry:
    """An event as a feed gives it."""
    body = {"type": kind, "payload": {"text": "x" * size}, "seq": seq}
    return Entry(seq, kind, entity, orjson.dumps(body), erases)


def of_history(message: str, epoch: str) -> str:
    """A message of the bus as if it was recorded in the history of that epoch; "": by a program
    that did not tell yet.
    """
    head, _, envelope = message.partition("\n")
    return " ".join([*head.split(" ")[:4], *filter(None, [epoch])]) + "\n" + envelope


class Grown:
    """By how much a counter of this process has grown."""

    def __init__(self, metric: Metric, **labels: str) -> None:
        self._place = metric.at(**labels).offset
        self._before = ROWS.mine[self._place]

    def __call__(self) -> int:
        return int(ROWS.mine[self._place] - self._before)


class Pipe(asyncio.Transport):
    """The peer's side of a connection: what was written is in `writes`; `stuck` keeps it in the
    buffer until `drain`, as a peer that does not read.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.writes: list[bytes] = []
        self.stuck = False
        self.waiting = 0
        self.high = 1 << 20
        self.ended = False
        connection.connection_made(self)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        if self.stuck:
            before, self.waiting = self.waiting, self.waiting + len(data)
            if before <= self.high < self.waiting:
                self.connection.pause_writing()

    def drain(self) -> None:
        self.stuck = False
        was_full, self.waiting = self.waiting > self.high, 0
        if was_full:
            self.connection.resume_writing()

    def close(self) -> None:
        self.ended = True

    abort = close

    @property
    def frames(self) -> list[dict[str, Any]]:
        """Every text frame that was written."""
        return [orjson.loads(text) for code, text in all_frames(b"".join(self.writes)) if code == 1]

    @property
    def seqs(self) -> list[int]:
        return seqs(self.frames)


def pipe(closed: Callable[[Connection, int], None] | None = None) -> Pipe:
    """A new connection with its pipe."""
    return Pipe(
        Connection(
            received=lambda connection, text: None,
            refused=lambda connection, kind, text: None,
            closed=closed or (lambda connection, code: None),
        )
    )
