"""A server inside this process, on a port of this machine that nobody is told: all that the demo
does goes through the API of the installation, whether a server runs or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from aiohttp import web

from warmdesk.app import build_app, paths
from warmdesk.auth.addresses import Origin
from warmdesk.changes import accounts
from warmdesk.client import LOST, Client, Refused
from warmdesk.config import Settings
from warmdesk.db.queries import sql
from warmdesk.desk import Desk, open_desk
from warmdesk.handshake_reader import HandshakeReaders
from warmdesk.realtime.change import Change, ChangeContext

OUR_POOL, OUR_HEAVY_POOL = 4, 1
"""Connections to PostgreSQL: there may be a server beside us that has most of them."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The server, and its address."""

    desk: Desk
    url: str
    origin: Origin

    @asynccontextmanager
    async def signed_in(self, user_id: int) -> AsyncIterator[Client]:
        """A client of somebody, without a password: its session ends with it."""

        async def work(change: Change) -> tuple[str, str]:
            accounts.act_as(change, user_id)
            ttl = timedelta(seconds=self.desk.settings.refresh_token_ttl)
            return await accounts.open_session(change, user_id, self.origin, ttl=ttl)

        session_id, refresh = await self.desk.changes.run(ChangeContext(None), work)
        token = self.desk.identity.tokens.issue(user_id, session_id)
        async with Client(self.url, token, refresh_token=refresh) as client:
            try:
                yield client
            finally:
                with suppress(Refused, *LOST):
                    await client.post("/auth/logout", {"refresh_token": client.refresh_token})

    async def account(self, login: str) -> int | None:
        """The id of an account, by its e-mail address."""
        found = await sql.auth.by_login(
            self.desk.database, login=login, ip="", near="", recent=timedelta()
        )
        user_id: int | None = found["id"]
        return user_id


@asynccontextmanager
async def serving(settings: Settings, origin: Origin) -> AsyncIterator[Inside]:
    """Serve for a moment, without the limits that are for strangers."""
    own = msgspec.structs.replace(
        settings, rate_limits=False, database_pool=OUR_POOL, database_heavy_pool=OUR_HEAVY_POOL
    )
    paths()  # what takes a second is done before there is anything to be late for
    async with open_desk(own) as desk:
        runner = web.AppRunner(build_app(desk), access_log=None, shutdown_timeout=1)
        await runner.setup()
        readers = HandshakeReaders(runner)
        listening = await readers.loop.create_server(readers, "127.0.0.1", 0)
        try:
            port = listening.sockets[0].getsockname()[1]
            yield Inside(desk, f"http://127.0.0.1:{port}", origin)
        finally:
            listening.close()
            await readers.close()
            await runner.cleanup()
