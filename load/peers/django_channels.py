"""Django Channels under uvicorn with channels_redis: each viewer's consumer is in one group, and
an event is a ``group_send``. ``django_channels PORT REDIS_URL``
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import redis.asyncio
import uvicorn
import uvloop
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path


class Room(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("room", self.channel_name)

    async def room_event(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


async def relay(bus: redis.asyncio.client.PubSub) -> None:
    layer = get_channel_layer()
    async for message in bus.listen():
        if message["type"] == "message":
            await layer.group_send("room", {"type": "room.event", "text": message["data"]})


async def main(port: int, url: str) -> None:
    layer = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # Beyond its usual 100, events of a burst are dropped. The prefix is this server's own:
        # what another left in its group would be sent to as well.
        "CONFIG": {"hosts": [url], "capacity": 100_000, "prefix": f"asgi{port}"},
    }
    settings.configure(CHANNEL_LAYERS={"default": layer}, INSTALLED_APPS=["channels"])
    bus = redis.asyncio.from_url(url, decode_responses=True).pubsub()
    await bus.subscribe("room")
    relaying = asyncio.create_task(relay(bus))
    app = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Room.as_asgi())])})
    config = uvicorn.Config(
        app, port=port, http="httptools", ws="websockets-sansio", lifespan="off", backlog=4096
    )
    await uvicorn.Server(config).serve()
    relaying.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
