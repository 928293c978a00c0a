"""Look for what must not be: holes in feeds, equal positions, miscounts, orphans; 1 if any.

It reads the whole database in one snapshot and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio

from warmdesk.commands.shared import Status, answer, reached
from warmdesk.config import Settings
from warmdesk.db.dial import connect
from warmdesk.db.queries import sql

EXAMPLE = "warmdesk check"
JSON = True


def run(wanted: argparse.Namespace) -> int:
    with reached(wanted, made=True) as settings:
        faults = asyncio.run(_look(settings))
    answer(wanted, "\n".join(faults) or "Everything is as it must be.", {"faults": faults})
    return Status.FAILED if faults else Status.DONE


async def _look(settings: Settings) -> list[str]:
    connection = await connect(settings.database_url, timeout=10)
    try:
        # One snapshot: with a server at work, parts read at different times would not fit.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [row["fault"] for row in await sql.server.faults(connection)]
    finally:
        await connection.close()
