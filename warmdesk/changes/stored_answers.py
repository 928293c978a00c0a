"""Bounds of the answers stored for a person's Idempotency-Keys: keys and bytes in a day, then 429.

An answer is kept for 24 hours and may have a mebibyte. Without a bound one member fills the disk;
and to forget the oldest would break the only promise that a key makes: a repetition would be done
twice, unnoticed. So stored answers stay, and a new key is refused; its sender may go on without
keys, or wait. A key that is known is always answered.

PostgreSQL is asked seldom: as an answer has at most a mebibyte, so many more as fit for certain are
let through before it is asked again, at most for a minute. Each process counts by itself, so some
at once may go a little beyond.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass, field

from warmdesk.auth.identity import Recent
from warmdesk.db.pool import Database, spending
from warmdesk.db.queries import sql
from warmdesk.errors import Policy, TooMany
from warmdesk.realtime.change import ChangeContext

KEYS_OF_USER = 50_000
KEPT_SECONDS = 86_400
"""How long an answer is kept, as once_take in sql/changes/once.sql says."""
BYTES_OF_USER = 256 << 20
LARGEST = 1 << 20
"""Bytes of an answer: bodies have no more, and an event neither."""
FRESH_SECONDS = 60.0
FULL_SECONDS = 1.0
"""How long a refusal holds without a new look: to count 50,000 keys takes PostgreSQL a while."""
MOST_PEOPLE = 10_000
"""People whose use a process remembers; the longest unused goes first."""


@dataclass(slots=True)
class Use:
    """How many more keys of a person fit for certain: so many at `first`, of which some are
    `left`. `keys` were stored at `asked_at` (`time.monotonic()`), and so many more were `coming`:
    let through before, and not there yet. In `room_in` seconds there is more room.
    """

    first: int
    room_in: float
    asked_at: float
    keys: int
    coming: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.first

    @property
    def is_used_up(self) -> bool:
        """It let through all that it knew to fit; whether more fits is not known."""
        return self.left <= 0 < self.first


class StoredAnswers:
    """The stored answers of people, as one process knows them; with ``on=False`` unbounded."""

    def __init__(self, database: Database, *, on: bool = True) -> None:
        self.database = database
        self.on = on
        self._uses: Recent[Use] = Recent(MOST_PEOPLE)
        self._measuring: dict[int, asyncio.Task[Use]] = {}

    async def check(self, context: ChangeContext) -> None:
        """`TooMany` when a new key of its actor finds no room."""
        if not self.on or context.key is None or context.actor_id is None:
            return
        person, now = str(context.actor_id), time.monotonic()
        use = self._uses.take(person)
        if use is None or now - use.asked_at > (FRESH_SECONDS if use.left > 0 else FULL_SECONDS):
            use = await self._measure(context.actor_id)
        while use.is_used_up:
            use = await self._measure(context.actor_id)
        if use.left > 0:
            use.left -= 1
            return
        async with self.database.connection() as connection:
            known = await sql.once.is_known(
                connection, actor=context.actor_id, path=context.path, key=context.key
            )
        if not known:
            raise TooMany(
                Policy("idempotency_keys", KEYS_OF_USER, KEPT_SECONDS),
                use.room_in,
                "too many Idempotency-Keys in 24 hours; wait, or send none",
                code="too_many_idempotency_keys",
            )

    async def _measure(self, user_id: int) -> Use:
        """Ask anew; callers of the meantime join, so that all of them take from one count."""
        task = self._measuring.get(user_id)
        if task is None:
            task = asyncio.create_task(self._measured(user_id), context=Context())
            self._measuring[user_id] = task
            task.add_done_callback(lambda done: self._measured_or_not(user_id, done))
        async with spending():
            return await asyncio.shield(task)

    def _measured_or_not(self, user_id: int, done: asyncio.Task[Use]) -> None:
        self._measuring.pop(user_id)
        if not done.cancelled():
            done.exception()  # callers that still wait get it; there may be none

    async def _measured(self, user_id: int) -> Use:
        asked_at = time.monotonic()
        async with self.database.connection() as connection:
            row = await sql.once.use(connection, actor=user_id)
        keys, coming = row["keys"], 0
        before = self._uses.take(str(user_id))
        if before is not None and asked_at - before.asked_at <= FULL_SECONDS:
            # What was let through a moment ago is counted, or still under way.
            let_through = before.coming + before.first - before.left
            coming = max(0, let_through - (keys - before.keys))
        fits = min(KEYS_OF_USER - keys, (BYTES_OF_USER - row["bytes"]) // LARGEST)
        use = Use(fits - coming, row["room_in"], asked_at, keys, coming)
        self._uses.keep(str(user_id), use)
        return use
