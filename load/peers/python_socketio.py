"""python-socketio on aiohttp with its Redis manager; events are emitted by another process.
``python_socketio PORT REDIS_URL``
"""

from __future__ import annotations

import sys

import socketio
import uvloop
from aiohttp import web


def app(url: str) -> web.Application:
    server = socketio.AsyncServer(
        async_mode="aiohttp", client_manager=socketio.AsyncRedisManager(url)
    )
    application = web.Application()
    server.attach(application)
    return application


if __name__ == "__main__":
    web.run_app(
        app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        backlog=4096,
        print=None,
        loop=uvloop.new_event_loop(),
    )
