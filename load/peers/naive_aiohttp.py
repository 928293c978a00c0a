"""aiohttp as one would write it first: a set of sockets and ``await ws.send_str(text)`` for each.
``naive_aiohttp PORT REDIS_URL``
"""

from __future__ import annotations

import sys

import redis.asyncio
import uvloop
from aiohttp import web

sockets: set[web.WebSocketResponse] = set()


async def room(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(heartbeat=30)
    await ws.prepare(request)
    sockets.add(ws)
    try:
        async for _ in ws:
            pass
    finally:
        sockets.discard(ws)
    return ws


async def main(port: int, url: str) -> None:
    bus = redis.asyncio.from_url(url, decode_responses=True).pubsub()
    await bus.subscribe("room")
    app = web.Application()
    app.add_routes([web.get("/ws", room)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    async for message in bus.listen():
        if message["type"] != "message":
            continue
        for ws in list(sockets):
            try:
                await ws.send_str(message["data"])
            except ConnectionError:
                sockets.discard(ws)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
