"""How another process emits an event to the viewers of a Socket.IO server: as JSON's value when it
is JSON, as text otherwise. Its viewers get the body as it was if it is compact JSON in ASCII.
"""

from __future__ import annotations

import json
from typing import Any

import msgpack
import socketio


def to_python(url: str) -> socketio.AsyncRedisManager:
    """python-socketio's own way: ``await manager.emit("event", value(body))``."""
    return socketio.AsyncRedisManager(url, write_only=True)


def to_node(body: str) -> tuple[str, bytes]:
    """What @socket.io/redis-emitter publishes for ``emitter.emit("event", …)``, and where: the
    channel, the message.
    """
    packet = {"type": 2, "data": ["event", value(body)], "nsp": "/"}
    options: dict[str, Any] = {"rooms": [], "except": [], "flags": {}}
    return "socket.io#/#", msgpack.packb(["emitter", packet, options])


def value(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
