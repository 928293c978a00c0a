"""An aiohttp handler that does nothing: what a request costs before anybody writes a line.
``bare PORT REDIS_URL``
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def nothing(request: web.Request) -> web.Response:
    return web.Response(body=b'{"said":"nothing"}', content_type="application/json")


async def main(port: int) -> None:
    app = web.Application()
    app.add_routes([web.get("/nothing", nothing)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
