"""What an idle socket costs: ``python -m tests.realtime.cost 2000`` prints bytes for each.

The clients live in a process of their own. The first sockets are not counted: what they make is
kept for the next ones (buffers, arenas), so the slope is what one more socket costs.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import sys

import uvloop

from tests.realtime.raw import HANDSHAKE, serving, until

WARM = 1000


def own_bytes() -> int:
    """The memory of this process that is no file's: files are shared with whoever runs."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss_Anon:"))


def clients(port: int, go: int, count: int) -> None:
    """Open the sockets in two steps, when told to, and hold them until the end."""
    held = []
    for step in (WARM, count):
        os.read(go, 1)
        for _ in range(step):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(HANDSHAKE)
            assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
            held.append(client)
    os.read(go, 1)


async def serve(port_out: int, go: int, count: int) -> None:
    async with serving() as desk:
        os.write(port_out, desk.port.to_bytes(2, "big"))
        counts, total = [], 0
        for step in (WARM, count):
            total += step
            os.write(go, b"1")
            await until(lambda total=total: len(desk.connections) == total, 40)  # type: ignore[misc]
            desk.room.deliver(b"a word to all")
            await asyncio.sleep(0.3)
            counts.append(own_bytes())
        os.write(go, b"1")
        await until(lambda: len(desk.ended) == total)
    print((counts[1] - counts[0]) / count)


def main() -> None:
    count = int(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port_in, port_out = os.pipe()
    go_in, go_out = os.pipe()
    if os.fork() == 0:
        os.close(go_out)
        clients(int.from_bytes(os.read(port_in, 2), "big"), go_in, count)
        os._exit(0)
    uvloop.run(serve(port_out, go_out, count))
    os.wait()


if __name__ == "__main__":
    main()
