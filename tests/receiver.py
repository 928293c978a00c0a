"""Somebody who takes deliveries of outgoing webhooks: a server that keeps what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests import pace


@dataclass
class Came:
    """One delivery."""

    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def seq(self) -> int:
        return int(self.id.rpartition(".")[2])

    @property
    def event(self) -> Any:
        return orjson.loads(self.body)


Answers = Callable[[Came], Any]


@dataclass
class Receiver:
    """What came, and what is answered: a status, or an awaitable that gives one or a response."""

    url: str = ""
    came: list[Came] = field(default_factory=list)
    answers: Answers = lambda came: 204
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        came = Came(headers, await request.read(), request.path)
        async with self.news:
            self.came.append(came)
            self.news.notify_all()
        answer = self.answers(came)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return web.Response(status=answer) if isinstance(answer, int) else answer

    async def until(self, enough: Callable[[list[Came]], Any], limit: float = 10.0) -> list[Came]:
        """What came, as soon as it is enough."""
        try:
            async with asyncio.timeout(limit * pace.stretch()), self.news:
                await self.news.wait_for(lambda: enough(self.came))
        except TimeoutError:
            raise AssertionError(f"only {[each.id for each in self.came]} came") from None
        return self.came


@asynccontextmanager
async def receiving(answers: Answers | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of this machine."""
    receiver = Receiver()
    if answers is not None:
        receiver.answers = answers
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
