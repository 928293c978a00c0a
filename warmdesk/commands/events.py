"""Follow a channel's events, one JSON object a line, until interrupted."""

from __future__ import annotations

import argparse
import asyncio

from warmdesk.commands.shared import Status, aside, reached
from warmdesk.config import Settings
from warmdesk.db.dial import connect
from warmdesk.db.queries import sql
from warmdesk.realtime import feed
from warmdesk.realtime.channels import CONTROL
from warmdesk.schemas import MAX_ID

EXAMPLE = "warmdesk events user:1 --since 0"
FOLLOW_SECONDS = 0.25
"""How often a followed feed is read: it works without Redis, and nobody waits for a terminal."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", help="project:42, user:7, or a project's slug")
    parser.add_argument("--since", type=_seq, metavar="SEQ", help="begin after this one, not now")


def _seq(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_ID:
        raise argparse.ArgumentTypeError(f"{text!r} is not the seq of an event")
    return int(text)


def run(wanted: argparse.Namespace) -> int:
    with reached(wanted) as settings:
        asyncio.run(_follow(settings, wanted.channel, wanted.since))
    return Status.DONE


async def _follow(settings: Settings, channel: str, since: int | None) -> None:
    connection = await connect(settings.database_url, timeout=10)
    try:
        if ":" not in channel and channel != CONTROL:
            channel = await sql.server.channel_of(connection, slug=channel)
        _, heads = await feed.heads(connection, [channel])
        seen = heads[channel].seq if since is None else since
        while True:
            page = await feed.after(connection, channel, seen)
            if page.oldest - 1 > seen:
                aside(f"warmdesk: events up to {page.oldest - 1} are no longer kept")
                seen = page.oldest - 1
            if page.seq < seen:
                # As after a restore: those that come are new, whatever their numbers.
                aside(f"warmdesk: there are events up to {page.seq} only")
                seen = page.seq
            for entry in page.entries:
                print(entry.body.decode(), flush=True)
                seen = entry.seq
            if not page.entries:
                await asyncio.sleep(FOLLOW_SECONDS)
    finally:
        await connection.close()
