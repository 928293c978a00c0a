"""What a stranger or an impatient reader costs a whole server: its files, its memory, its stop."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.conftest import Board, Invite, until
from tests.journeys.conftest import Process, Start
from tests.journeys.test_readers import MIB, memory_of
from warmdesk.http.bounds import SPARE_FILES
from warmdesk.slots import WANTED_FILES

pytestmark = pytest.mark.timeout(180)

ASK = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 8
SOON = struct.pack("ii", 1, 0)
"""SO_LINGER of who leaves without a word."""


def limited(soft: int, hard: int) -> tuple[str, ...]:
    """A command that runs another with so many files."""
    return ("sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh")


async def reader(url: str, sent: bytes) -> socket.socket:
    """Somebody who asks and takes nothing."""
    parts = urlsplit(url)
    plain = socket.socket()
    plain.setblocking(False)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(plain, (str(parts.hostname), int(parts.port or 80)))
    await loop.sock_sendall(plain, sent)
    return plain


async def test_workers_may_open_what_the_system_gives(board: Board, start: Start) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = min(hard, 8192)
    process = await start(workers=1, within=limited(256, hard))
    (worker,) = process.workers()
    found = re.search(r"Max open files +(\d+) +(\d+)", Path(f"/proc/{worker}/limits").read_text())
    assert found is not None
    assert found.groups() == (str(hard), str(hard))
    log = process.log.read_text()
    assert log.count(f"files.few limit={hard} wanted={WANTED_FILES}") == 1


async def test_when_files_run_out_it_is_said_and_everybody_hears_it(
    board: Board, start: Start
) -> None:
    process = await start(workers=1, within=limited(256, 300))
    async with aiohttp.ClientSession() as http:
        with ExitStack() as leaving:
            for _ in range(300 - SPARE_FILES):
                plain = await reader(process.url, ASK)
                leaving.callback(plain.close)
            for _ in range(50):
                async with http.get(f"{process.url}/api/v1/version") as answer:
                    assert answer.status == 503
                    assert answer.headers["Retry-After"]
            assert process.log.read_text().count("connections.refused reason=files") == 1
            # Who takes nothing is not waited for.
            await until(lambda: is_well(http, process), limit=30, every=0.2)
        async with http.get(f"{process.url}/api/v1/version") as answer:
            assert answer.status == 200


async def is_well(http: aiohttp.ClientSession, process: Process) -> bool:
    async with http.get(f"{process.url}/api/v1/version") as answer:
        return answer.status == 200


async def test_a_stop_does_not_wait_for_who_takes_nothing(board: Board, start: Start) -> None:
    process = await start(workers=1)
    with ExitStack() as leaving:
        for _ in range(100):
            leaving.callback((await reader(process.url, ASK)).close)
        began = asyncio.get_running_loop().time()
        await process.stop()
        took = asyncio.get_running_loop().time() - began
    log = process.log.read_text()
    assert "worker.killed" not in log
    assert "worker.requests_cut" not in log
    (drained,) = re.findall(r"worker\.drained seconds=([\d.]+)", log)
    assert float(drained) < 6
    assert took < 8


async def test_memory_comes_back_from_who_asked_and_left(
    board: Board, start: Start, person: Invite
) -> None:
    for _ in range(20):
        await board.card(description="x" * 100_000)
    process = await start(workers=1)
    (worker,) = process.workers()
    token = await person("alice", url=process.url).token()
    head = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
    board_of = f"GET /api/v1{board.path} HTTP/1.1\r\n{head}\r\n".encode()
    body = (
        f"POST /api/v1{board.path}/chat/messages HTTP/1.1\r\n{head}Content-Length: {MIB}\r\n"
        "Content-Type: application/json\r\n\r\n"
    ).encode() + b" " * (MIB - 1000)

    async def ask_and_leave(sent: bytes, count: int) -> None:
        lines = await asyncio.gather(*(reader(process.url, sent) for _ in range(count)))
        await asyncio.sleep(0.3)
        for plain in lines:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SOON)
            plain.close()

    for sent in (board_of, body):
        await ask_and_leave(sent, 40)
        before = memory_of(worker)
        for _ in range(4):
            await ask_and_leave(sent, 40)

        def came_back(before: int = before) -> bool:
            return memory_of(worker) - before < 24 * MIB

        await until(came_back, limit=5)
