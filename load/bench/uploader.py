"""Who uploads files: a process of its own, so that nobody's times are longer because it sends.

``python -m load.bench.uploader`` reads an order, one line of JSON, from its standard input::

    {"port": 8080, "lines": [["/api/v1/…/attachments", "token"], …], "bytes": 26214400, "count": 3}

Each line is a connection with its address and token, on which files of so many bytes are sent one
after the other, `count` of them, or with 0 until a line comes. Each waits for its answer. It prints
``ready`` with its connections open, begins with a line, and prints what it saw as one line of JSON.
An answer that is not 201 ends it with what the answer said.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from http.client import HTTPException, HTTPResponse
from typing import Any

BOUNDARY = "warmdesk-bench"
BEFORE = (
    f"--{BOUNDARY}\r\nContent-Disposition: form-data;"
    ' name="file"; filename="film.bin"\r\n\r\n'.encode()
)
AFTER = f"\r\n--{BOUNDARY}--\r\n".encode()


class Uploader:
    """All connections, and what their uploads took, in seconds."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.content = memoryview(os.urandom(order["bytes"]))
        self.over = threading.Event()
        self.took: list[float] = []
        self.failed: list[str] = []
        self.connections = [self._open() for _ in order["lines"]]

    def _open(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.order["port"]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def run(self) -> float:
        """Upload on all connections at once: the seconds until the last answer."""
        threads = [
            threading.Thread(target=self._upload, args=(connection, *line))
            for connection, line in zip(self.connections, self.order["lines"], strict=True)
        ]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        if not self.order["count"]:
            sys.stdin.readline()
            self.over.set()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    def _upload(self, connection: socket.socket, path: str, token: str) -> None:
        length = len(BEFORE) + len(self.content) + len(AFTER)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode() + BEFORE
        sent = 0
        try:
            while not self.over.is_set() and not (0 < self.order["count"] <= sent):
                begun = time.perf_counter()
                connection.sendall(head)
                connection.sendall(self.content)
                connection.sendall(AFTER)
                answer = HTTPResponse(connection)
                answer.begin()
                said = answer.read()
                if answer.status != 201:
                    raise ConnectionError(f"{answer.status} {said.decode(errors='replace')}")
                self.took.append(time.perf_counter() - begun)
                sent += 1
        except (OSError, HTTPException) as error:
            self.failed.append(str(error))


def main() -> None:
    uploader = Uploader(json.loads(sys.stdin.readline()))
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = uploader.run()
    if uploader.failed:
        sys.exit(f"uploader: {uploader.failed[0]}")
    print(json.dumps({"count": len(uploader.took), "seconds": seconds}))


if __name__ == "__main__":
    main()
