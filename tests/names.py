"""A server of names on this machine, which tells what a test wants and can keep silent."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

A = 1
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183
HEAD = struct.Struct(">6H")


@dataclass
class Names(asyncio.DatagramProtocol):
    """What is known: addresses of a name, none if it has none; None: nobody answers. What stands
    nowhere is no name.
    """

    known: dict[str, Sequence[str] | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Names that IPv4 addresses were asked of."""
    address: str = ""
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", HEAD.size) + 5
        name, kind = _name(data[HEAD.size : end]), int.from_bytes(data[end - 4 : end - 2])
        if kind == A:
            self.asked.append(name)
        found = self.known.get(name, ())
        if found is None:
            return
        shown = [ipaddress.IPv4Address(each).packed for each in found] if kind == A else []
        status = ANSWER if name in self.known else NO_SUCH_NAME
        head = HEAD.pack(int.from_bytes(data[:2]), status, 1, len(shown), 0, 0)
        # A pointer to the question's name, A, IN, good for no time, four bytes.
        answers = (struct.pack(">3HIH", 0xC00C, A, 1, 0, 4) + each for each in shown)
        self.transport.sendto(head + data[HEAD.size : end] + b"".join(answers), addr)


def _name(question: bytes) -> str:
    words, at = [], 0
    while length := question[at]:
        words.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(words)


@asynccontextmanager
async def naming() -> AsyncIterator[Names]:
    """A server of names, as long as it is needed."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()
