"""Ports for servers that tests start by number."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

FIRST = 10_000
GIVEN_BY_SYSTEM = Path("/proc/sys/net/ipv4/ip_local_port_range")
MOST_RUNS = 16
"""So many runners of tests at once have ports of their own."""

given: set[int] = set()


def _range() -> range:
    last = 32_768
    if GIVEN_BY_SYSTEM.exists():
        last = int(GIVEN_BY_SYSTEM.read_text().split()[0])
    if last < FIRST + 100 * MOST_RUNS:
        last = 65_536
    span = (last - FIRST) // MOST_RUNS
    runner = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_RUNS
    return range(FIRST + runner * span, FIRST + (runner + 1) * span)


def free_port() -> int:
    """A port that nobody listens on, each given once: whoever got it may not listen on it yet.
    Where the system leaves room below its own, it gives none of these to a connection meanwhile.
    """
    ports = _range()
    while True:
        port = random.choice(ports)
        if port in given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port
