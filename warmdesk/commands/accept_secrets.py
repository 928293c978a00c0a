"""Make this host's secrets the ones with which hosts may start; restart the others then."""

from __future__ import annotations

import argparse
import asyncio

from warmdesk.commands.shared import Status, reached
from warmdesk.config import Settings
from warmdesk.db import installation
from warmdesk.db.dial import connect

EXAMPLE = "warmdesk accept-secrets"


def run(wanted: argparse.Namespace) -> int:
    with reached(wanted) as settings:
        asyncio.run(_accept(settings))
    print("Hosts start with the secrets of this one from now on; restart those that run.")
    return Status.DONE


async def _accept(settings: Settings) -> None:
    connection = await connect(settings.database_url, timeout=10)
    try:
        await installation.accept_secrets(connection, settings)
    finally:
        await connection.close()
