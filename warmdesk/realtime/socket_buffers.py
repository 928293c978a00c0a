"""The bytes that wait on a socket's way out: in our transport, in the kernel, and unacknowledged.
Much of it only Linux tells.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios

SEND_BUFFER = 256 * 1024
"""Bytes of a socket's buffer in the kernel: without a cap a slow reader hides megabytes there."""


def progress(transport: asyncio.Transport) -> int:
    """A number that falls whenever the peer takes something. The size of the buffer does not
    tell it: the kernel asks for more when a third of its own is free, and over TLS it is not
    the last buffer. Where the kernel does not say what was acknowledged it must do.
    """
    taken = acknowledged(transport)
    return transport.get_write_buffer_size() if taken is None else -taken


def acknowledged(transport: asyncio.Transport) -> int | None:
    """Bytes that the peer's kernel acknowledged so far (tcpi_bytes_acked); only Linux tells."""
    inside = transport.get_extra_info("socket")
    try:
        taken = inside.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)[120:128]
        return int(struct.unpack("=Q", taken)[0])
    except (AttributeError, OSError, struct.error):
        return None


def in_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the kernel took and that are not acknowledged yet (SIOCOUTQ)."""
    inside = transport.get_extra_info("socket")
    try:
        return int.from_bytes(
            fcntl.ioctl(inside.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder
        )
    except OSError:
        return SEND_BUFFER


def drop_unsent(transport: asyncio.Transport) -> None:
    """Have what waits in the kernel thrown away when the transport ends, instead of kept there for
    minutes for a peer that takes nothing.
    """
    inside = transport.get_extra_info("socket")
    if inside is not None:
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cap(inside: socket.socket | None) -> None:
    """Bound the kernel's buffer of a socket; of one that listens, those of all that it accepts, so
    also of requests: with 100 ms to the client an answer of megabytes comes at 2.5 to 5 MB/s.
    """
    if inside is not None:
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
