"""The UserRefs that presence and hello show, remembered by each process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from warmdesk.db.pool import Database
from warmdesk.db.queries import sql
from warmdesk.tasks import SingleFlight

PEOPLE_KEPT = 50_000


class People:
    """The UserRefs of users, as JSON."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._people: dict[int, bytes] = {}
        self._unknown: dict[int, bytes] = {}
        self._reading: dict[int, bytes] = {}
        self._shared: SingleFlight[None] = SingleFlight()

    async def refs(self, user_ids: Iterable[int]) -> list[bytes]:
        """The UserRefs of users, as JSON, in the order asked; from memory where known."""
        return list((await self.by_id(user_ids)).values())

    async def by_id(self, user_ids: Iterable[int]) -> dict[int, bytes]:
        """`refs` by id, without ids that are no users. A caller gets what was known or read for it,
        even if it is forgotten meanwhile.
        """
        refs = {user_id: self._people.get(user_id, b"") for user_id in user_ids}
        if not all(refs.values()):
            batch = self._unknown
            batch.update((user_id, b"") for user_id, ref in refs.items() if not ref)
            await self._shared.ask("people", self._read_together)
            for user_id, ref in refs.items():
                refs[user_id] = self._people.get(user_id) or ref or batch[user_id]
        return {user_id: ref for user_id, ref in refs.items() if ref}

    async def _read_together(self) -> None:
        """Read all users that are asked for in one moment, and meanwhile, with few queries."""
        await asyncio.sleep(0)
        while self._unknown:
            batch, self._unknown = self._unknown, {}
            self._reading = batch
            try:
                batch.update(await self._read_people(list(batch)))
            finally:
                self._reading = {}

    async def _read_people(self, user_ids: list[int]) -> dict[int, bytes]:
        rows = await sql.sockets.people(self.database.reserved, ids=user_ids)
        read = {row["id"]: row["ref"].encode() for row in rows}
        self._people.update(read)
        beyond = max(0, len(self._people) - PEOPLE_KEPT)
        for oldest in list(itertools.islice(self._people, beyond)):
            del self._people[oldest]
        return read

    async def renamed(self, user_id: int) -> None:
        """A name or picture changed: read it anew, if it was read. Behind a read that is under way,
        which may bring the old one.
        """
        if user_id in self._people or user_id in self._reading:
            self._unknown[user_id] = b""
            await self._shared.ask("people", self._read_together)
