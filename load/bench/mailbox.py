"""A mail server, as a process of its own, that takes what it gets at a pace.

``python -m load.bench.mailbox`` prints its port. Each line that it reads, of JSON, is answered by
one: ``{"seconds": 0.05}`` is what it takes over a mail from now on (null: it never answers), and
begins anew to count; ``{}`` only asks. The answer is how many mails began and were taken since, and
the seconds from the first beginning to the last taking.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

LONGEST = 1 << 20
HOST = "mail.example.org"


class Mailbox:
    """All connections."""

    def __init__(self) -> None:
        self.seconds: float | None = 0.0
        self.forget()

    def forget(self) -> None:
        self.began = self.taken = 0
        self.first = self.last = 0.0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(f"220 {HOST}\r\n".encode())
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    await self._take(reader)
                    writer.write(b"250 taken\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 goodbye\r\n")
                    break
                else:
                    writer.write(b"250 yes\r\n")
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        if not self.began:
            self.first = time.monotonic()
        self.began += 1
        await reader.readuntil(b"\r\n.\r\n")
        if self.seconds is None:
            await asyncio.Event().wait()
        elif self.seconds:
            await asyncio.sleep(self.seconds)
        self.taken += 1
        self.last = time.monotonic()

    def told(self, order: dict[str, Any]) -> dict[str, Any]:
        """What an order is answered with."""
        if "seconds" in order:
            self.seconds = order["seconds"]
            self.forget()
        took = self.last - self.first
        return {"began": self.began, "taken": self.taken, "seconds": took}


async def main() -> None:
    box = Mailbox()
    server = await asyncio.start_server(box.talk, "127.0.0.1", 0, limit=LONGEST)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    async for line in lines:
        print(json.dumps(box.told(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
