"""The grams of cards' texts, by which a search finds cards without reading the texts.

To make grams costs more than to write a card, so a change only marks the text, and a search looks
at all that are marked. Every worker of every host looks for marked texts every few seconds; rows
that another one has locked are passed over. A change of a text whose grams are being made waits for
one batch.
"""

from __future__ import annotations

import asyncio

from warmdesk.db.queries import sql
from warmdesk.jobs.periodic import Job

CARDS = 100
BYTES = 100_000
"""Size of one batch: some fiftieths of a second of PostgreSQL's, or one card that is longer."""
PAUSE_SECONDS = 0.02


class Grams(Job):
    """See the module."""

    name = "grams"
    seconds = 5.0

    async def turn(self) -> int:
        """Make the grams of all cards that are due; gives of how many."""
        made = 0
        while batch := await sql.cards.make_grams(self.desk.database, most=CARDS, bytes=BYTES):
            made += batch
            await asyncio.sleep(PAUSE_SECONDS)
        return made
