"""The floor: what Python pays for the system call alone. ``floor.py PORT REDIS_URL [joins]``

One ``os.write`` for each event and socket, of bytes that are made once. No framework, no event
loop; what a full socket does not take waits until it does. With ``joins``, who comes is an event,
too.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import select
import socket
import struct
import sys
from urllib.parse import unquote, urlsplit

import hiredis

JOINED = b'{"type":"presence.joined","payload":{"user":{"id":1,"name":"Somebody"},"count":%d}}'
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(body: bytes) -> bytes:
    """One text frame, for bodies below 64 KiB."""
    size = len(body)
    head = bytes([0x81, size]) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + body


def answer(head: bytes) -> bytes:
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
    assert found, head
    accept = base64.b64encode(hashlib.sha1(found[1] + MAGIC).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def main(port: int, url: str, *, joins: bool) -> None:
    bus = socket.socket(socket.AF_UNIX)
    bus.connect(unquote(urlsplit(url).path))
    bus.sendall(b"SUBSCRIBE room\r\n")
    reader = hiredis.Reader()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(bus, select.EPOLLIN)
    poll.register(listener, select.EPOLLIN)
    new: dict[int, socket.socket] = {}
    viewers: dict[int, socket.socket] = {}
    waiting: dict[int, bytes] = {}

    def send_all(data: bytes) -> None:
        for each in viewers:
            if each in waiting:
                waiting[each] += data
            else:
                send(each, data)

    def send(fd: int, data: bytes) -> None:
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # The poll tells that it is gone.
        if sent < len(data):
            waiting[fd] = data[sent:]
            poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)

    while True:
        for fd, events in poll.poll(-1, 1024):
            if fd == bus.fileno():
                reader.feed(bus.recv(65536))
                while message := reader.gets():
                    if message[0] == b"message":
                        send_all(frame(message[2]))
            elif fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                new[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
            elif events & select.EPOLLOUT:
                data = waiting.pop(fd)
                poll.modify(fd, select.EPOLLIN)
                send(fd, data)
            else:
                try:
                    data = os.read(fd, 4096)
                except OSError:
                    data = b""
                if not data:
                    waiting.pop(fd, None)
                    (new.pop(fd, None) or viewers.pop(fd)).close()
                elif fd in new:
                    os.write(fd, answer(data))
                    viewers[fd] = new.pop(fd)
                    if joins:
                        send_all(frame(JOINED % len(viewers)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], joins="joins" in sys.argv[3:])
