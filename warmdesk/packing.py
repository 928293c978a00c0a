"""gzip of what is sent: small texts at once, others in a thread; and of texts with a common
beginning, which is packed once.

A stream of DEFLATE may be put together of pieces that were packed apart, as long as each ends on a
byte. So the beginning is kept packed, with its checksum, and an end costs as much as it is long.
"""

from __future__ import annotations

import asyncio
import functools
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

ENOUGH = 1024
"""Bytes from which on a text is worth packing."""
AT_ONCE = 16 << 10
"""Bytes that are packed on the loop: a fraction of a millisecond, less than a thread costs."""
THREADS = 2
WAITING = 16
"""Texts that are packed or wait for it; beyond them the next ones go out as they are."""
WAIT_SECONDS = 1.0
"""How long an answer waits for that; then it goes out as it is."""
QUICK, KEPT = 1, 6
"""zlib's levels: for what is sent once, and for what is kept."""
RAW = -zlib.MAX_WBITS
HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

T = TypeVar("T")


class Beginning(NamedTuple):
    """A beginning, packed; the checksum and the number of its bytes."""

    blocks: bytes
    checksum: int
    size: int


def begin(text: bytes | memoryview) -> Beginning:
    """Pack a beginning."""
    packer = zlib.compressobj(KEPT, zlib.DEFLATED, RAW)
    blocks = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return Beginning(blocks, zlib.crc32(text), len(text))


def ended(beginning: Beginning, rest: bytes) -> bytes:
    """The gzip of a beginning and the rest behind it."""
    packer = zlib.compressobj(QUICK, zlib.DEFLATED, RAW)
    checksum = zlib.crc32(rest, beginning.checksum)
    size = (beginning.size + len(rest)) & 0xFFFFFFFF
    last = (packer.compress(rest), packer.flush(), struct.pack("<II", checksum, size))
    return b"".join((HEAD, beginning.blocks, *last))


def pack(text: bytes, level: int = QUICK) -> bytes:
    """The gzip of a text."""
    packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(text) + packer.flush()


class Apart:
    """Work of a process that a thread does, which lets go of the interpreter meanwhile."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "packing")
        self._under_way = 0

    def start(self, work: Callable[..., T], *values: object) -> asyncio.Future[T] | None:
        """Begin; None when too much waits already."""
        if self._under_way >= WAITING:
            return None
        self._under_way += 1
        loop = asyncio.get_running_loop()
        result = loop.run_in_executor(self._threads, functools.partial(work, *values))
        result.add_done_callback(self._done)
        return result

    def _done(self, result: asyncio.Future[T]) -> None:
        self._under_way -= 1


@functools.cache
def apart() -> Apart:
    """The threads of this process: made when they are needed, so that each worker has its own."""
    return Apart()


async def packed(text: bytes, level: int = QUICK) -> bytes | None:
    """The gzip of a text, or None: it is too small, or would come too late."""
    if len(text) < ENOUGH:
        return None
    if len(text) <= AT_ONCE:
        return pack(text, level)
    result = apart().start(pack, text, level)
    if result is None or not (await asyncio.wait((result,), timeout=WAIT_SECONDS))[0]:
        return None
    return result.result()
