"""Starlette under uvicorn: the connection manager of its tutorials, one ``await`` for each socket.
``naive_starlette PORT REDIS_URL``
"""

from __future__ import annotations

import asyncio
import sys

import redis.asyncio
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

sockets: set[WebSocket] = set()


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    sockets.add(websocket)
    try:
        async for _ in websocket.iter_text():
            pass
    finally:
        sockets.discard(websocket)


async def relay(bus: redis.asyncio.client.PubSub) -> None:
    async for message in bus.listen():
        if message["type"] != "message":
            continue
        for websocket in list(sockets):
            try:
                await websocket.send_text(message["data"])
            except (WebSocketDisconnect, RuntimeError):
                sockets.discard(websocket)


async def main(port: int, url: str) -> None:
    bus = redis.asyncio.from_url(url, decode_responses=True).pubsub()
    await bus.subscribe("room")
    relaying = asyncio.create_task(relay(bus))
    app = Starlette(routes=[WebSocketRoute("/ws", room)])
    config = uvicorn.Config(
        app, port=port, http="httptools", ws="websockets-sansio", access_log=False, backlog=4096
    )
    await uvicorn.Server(config).serve()
    relaying.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
