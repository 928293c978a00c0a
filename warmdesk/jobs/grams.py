"""The grams of texts, by which a search finds cards, and what people wrote elsewhere, without
reading the texts.

To make grams costs more than to write a text, so a change only marks it, and a search looks at all
that are marked. Every worker of every host looks for marked texts every few seconds; rows
that another one has locked are passed over. A change of a text whose grams are being made waits for
one batch.
"""

from __future__ import annotations

import asyncio

from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job

TEXTS = 100
BYTES = 100_000
"""Size of one batch: some fiftieths of a second of PostgreSQL's, or one text that is longer."""
PAUSE_SECONDS = 0.02


class Grams(Job):
    """See the module."""

    name = "grams"
    seconds = 5.0

    async def turn(self) -> int:
        """Make the grams of all texts that are due; gives of how many."""
        made = 0
        for make in (sql.cards.make_grams, sql.search.make_talk_grams):
            while batch := await make(self.desk.database, most=TEXTS, bytes=BYTES):
                made += batch
                await asyncio.sleep(PAUSE_SECONDS)
        return made
