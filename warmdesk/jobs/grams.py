"""The grams of texts, by which a search finds cards, and what people wrote elsewhere, without
reading the texts.

To make grams costs more than to write a text, so a change only marks it, and a search looks at all
that are marked. Every worker of every host looks for marked texts every few seconds; rows
that another one has locked are passed over. A change of a text whose grams are being made waits for
one batch.

Between batches it rests longer than one took: nobody waits for grams, and after many long texts
PostgreSQL would do nothing else, on as many cores as there are workers. Where PostgreSQL is busy a
batch takes longer, and so does the rest.
"""

from __future__ import annotations

import asyncio
import time

from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job

TEXTS = 100
BYTES = 25_000
"""Size of one batch: two fiftieths of a second of PostgreSQL's, or one text that is longer."""
PAUSE_SECONDS = 0.02
RESTS = 3.0
"""So many times as long as a batch took it rests, and no shorter than the pause."""


class Grams(Job):
    """See the module."""

    name = "grams"
    seconds = 5.0

    async def turn(self) -> int:
        """Make the grams of all texts that are due; gives of how many."""
        made = 0
        for make in (sql.cards.make_grams, sql.search.make_talk_grams):
            began = time.monotonic()
            while batch := await make(self.desk.database, most=TEXTS, bytes=BYTES):
                made += batch
                took = time.monotonic() - began
                await asyncio.sleep(max(PAUSE_SECONDS, RESTS * took))
                began = time.monotonic()
        return made
