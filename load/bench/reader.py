"""Who reads reports: a process of its own, which keeps nothing of them.

``python -m load.bench.reader`` reads an order, one line of JSON, from its standard input::

    {"port": 8080, "path": "/api/v1/…", "token": "…"}

It asks again and again, each time when the answer before it is whole, until a line comes; then it
ends with the answer that is under way, and prints what it saw as one line of JSON. A 503 is
counted and asked again; any other answer that is not 200 ends it with what the answer said.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection

PIECE = 1 << 16
PAUSE = 0.2


def main() -> None:
    order = json.loads(sys.stdin.readline())
    over = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    connection = HTTPConnection("127.0.0.1", order["port"])
    headers = {"Authorization": f"Bearer {order['token']}"}
    count = size = refused = 0
    begun = time.perf_counter()
    while not over.is_set():
        connection.request("GET", order["path"], headers=headers)
        answer = connection.getresponse()
        if answer.status == 503:
            answer.read()
            refused += 1
            time.sleep(PAUSE)
            continue
        if answer.status != 200:
            sys.exit(f"reader: {answer.status} {answer.read().decode(errors='replace')}")
        while piece := answer.read(PIECE):
            size += len(piece)
        count += 1
    seconds = time.perf_counter() - begun
    if not count:
        sys.exit(f"reader: {refused} reports were refused, and none was made")
    print(json.dumps({"count": count, "bytes": size, "seconds": seconds, "refused": refused}))


if __name__ == "__main__":
    main()
