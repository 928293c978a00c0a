"""How a socket is taken over from aiohttp: the handshake, what comes early, who leaves, the cost.

The last tests pin the parts of aiohttp's inside that `adopt` leans on: when one of them fails after
an upgrade of aiohttp, read `adopt` again before anything else.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tests import pace
from tests.realtime.raw import (
    HANDSHAKE,
    Peer,
    both_loops,
    closing,
    masked,
    peer,
    serving,
    until,
)
from warmdesk.realtime.frames import CLOSE, PING, PONG, TEXT

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


async def answer_to(port: int, request: bytes) -> tuple[int, str, Peer]:
    """The status and head of the answer."""
    client = Peer(*await asyncio.open_connection("127.0.0.1", port))
    client.say(request)
    head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
    return int(head.split()[1]), head.decode(), client


# The handshake.


@both_loops
async def test_a_browsers_handshake_is_accepted_and_a_protocol_chosen() -> None:
    request = HANDSHAKE.replace(b"Connection: Upgrade", b"connection: keep-alive, UPGRADE").replace(
        b"Upgrade: websocket", b"upgrade: WebSocket\r\nSec-WebSocket-Protocol: warmdesk, bearer.x"
    )
    async with serving() as desk:
        status, head, client = await answer_to(desk.port, request)

        assert status == 101
        assert "\r\nSec-WebSocket-Protocol: warmdesk\r\n" in head
        assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert "Extensions" not in head
        assert await client.frame() == (TEXT, b"hello")
        assert desk.answered == [101]
        await client.leave()


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (b"Upgrade: websocket\r\n", b"", 426),
        (b"Upgrade: websocket", b"Upgrade: h2c", 426),
        (b"Upgrade: websocket", b"Upgrade: websocket, h2c", 426),
        (b"Connection: Upgrade\r\n", b"", 400),
        (b"Connection: Upgrade", b"Connection: keep-alive", 400),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 426),
        (b"Version: 13", b"Version: 8", 426),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 8", 426),
        (KEY, b"", 400),
        (KEY, KEY + KEY, 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25j", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"!GhlIHNhbXBsZSBub25jZQ==", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZÜ==".encode(), 400),
        (b"Host: x", b"Host: x\r\nContent-Length: 3", 400),
        (b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked", 400),
        (b"HTTP/1.1", b"HTTP/1.0", 400),
        (b"GET", b"POST", 405),
    ],
)
def test_what_is_no_handshake_is_refused(before: bytes, after: bytes, status: int) -> None:
    async def story() -> None:
        async with serving() as desk:
            got, head, client = await answer_to(desk.port, HANDSHAKE.replace(before, after, 1))
            await client.leave()

            assert got == status
            assert desk.connections == []
            if status == 426:
                assert "\r\nSec-WebSocket-Version: 13\r\n" in head
                assert "\r\nUpgrade: websocket\r\n" in head

    asyncio.run(story())


@both_loops
async def test_a_refused_handshake_leaves_an_ordinary_connection() -> None:
    async with serving() as desk:
        refused = HANDSHAKE.replace(b"Version: 13", b"Version: 8")
        status, _, client = await answer_to(
            desk.port, refused + b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert status == 426
        rest = await asyncio.wait_for(client.reader.readuntil(b"here"), 5 * pace.stretch())
        assert b"HTTP/1.1 200 OK" in rest

        client.say(HANDSHAKE)
        await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 5 * pace.stretch())
        assert await client.frame() == (TEXT, b"hello")
        await client.leave()


@both_loops
async def test_aiohttps_own_client_is_content() -> None:
    async with serving() as desk, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{desk.port}/ws") as socket:
            assert (await socket.receive()).data == "hello"
            await socket.send_str("a")
            await socket.ping(b"?")
            await until(lambda: desk.said)
        assert socket.close_code == 1000
        await until(lambda: desk.ended == [1000])


# Early bytes.


@both_loops
async def test_what_comes_with_the_handshake_is_heard_in_order() -> None:
    async with serving() as desk:
        gate = asyncio.Event()

        async def ask(request: web.Request) -> None:
            await gate.wait()

        desk.ask = ask
        client = Peer(*await asyncio.open_connection("127.0.0.1", desk.port))
        client.say(HANDSHAKE + masked("1") + masked("2")[:4])
        await asyncio.sleep(0.05)
        client.say(masked("2")[4:] + masked("3"))
        await asyncio.sleep(0.05)
        gate.set()
        client.say(masked("4") + masked("", PING))

        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.frame() == (TEXT, b"hello")
        assert await client.frame() == (PONG, b"")
        assert [text for _, text in desk.said] == [b"1", b"2", b"3", b"4"]
        await client.leave()


@both_loops
async def test_so_much_comes_early_that_aiohttp_stopped_reading() -> None:
    async with serving() as desk:
        gate = asyncio.Event()
        asked: list[web.Request] = []

        async def ask(request: web.Request) -> None:
            asked.append(request)
            await gate.wait()

        desk.ask = ask
        client = Peer(*await asyncio.open_connection("127.0.0.1", desk.port))
        client.say(HANDSHAKE)
        for _ in range(9):
            client.say(masked(b"a" * 60_000))
        await until(lambda: asked and asked[0].protocol._buffer_paused)
        gate.set()
        client.say(masked("", PING))

        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.frame() == (TEXT, b"hello")
        assert await client.frame() == (PONG, b"")
        assert [text for _, text in desk.said] == [b"a" * 60_000] * 9
        await client.leave()


@both_loops
async def test_a_close_that_comes_early_ends_the_socket() -> None:
    async with serving() as desk:
        status, _, client = await answer_to(desk.port, HANDSHAKE + closing(1000))

        assert status == 101
        assert await client.everything() == [(TEXT, b"hello"), (CLOSE, b"\x03\xe8")]
        await until(lambda: desk.ended == [1000])
        await client.leave()


@both_loops
async def test_a_large_first_frame_makes_a_slow_reader_at_once() -> None:
    async with serving() as desk:
        desk.hello = b"\x81\x7f" + (1 << 22).to_bytes(8, "big") + b"x" * (1 << 22)
        _, _, client = await answer_to(desk.port, HANDSHAKE + masked("", PING))
        (connection,) = desk.connections
        assert connection.paused_since

        assert await client.frame() == (TEXT, b"x" * (1 << 22))
        assert await client.frame() == (PONG, b"")
        await client.leave()


# Leaving early.


@both_loops
async def test_a_client_that_leaves_while_it_is_asked_disturbs_nobody() -> None:
    async with serving() as desk:
        gate = asyncio.Event()
        asked: list[web.Request] = []

        async def ask(request: web.Request) -> None:
            asked.append(request)
            await gate.wait()

        desk.ask = ask
        client = Peer(*await asyncio.open_connection("127.0.0.1", desk.port))
        client.say(HANDSHAKE)
        await until(lambda: asked)
        await client.leave()
        await until(lambda: asked[0].transport is None)
        gate.set()
        await until(lambda: desk.answered == [499])
        desk.ask = None

        assert desk.connections == []
        async with peer(desk):
            pass


# aiohttp has let go.


@both_loops
async def test_an_adopted_socket_is_no_longer_aiohttps() -> None:
    async with serving() as desk, peer(desk) as alice:
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        (connection,) = desk.connections
        assert connection.transport is not None
        assert connection.transport.get_protocol() is connection
        desk.room.deliver(b"still here")
        assert await alice.frame() == (TEXT, b"still here")


@both_loops
async def test_what_comes_after_the_adoption_is_not_cancelled() -> None:
    async with serving(handler_cancellation=True) as desk:

        async def late() -> None:
            await asyncio.sleep(0)

        desk.late = late
        async with peer(desk):
            await until(lambda: desk.answered == [101])


@both_loops
async def test_a_server_that_stops_leaves_adopted_sockets_to_the_hub() -> None:
    async with serving() as desk, peer(desk) as alice:
        await desk.stop()
        desk.room.deliver(b"goodbye")
        for connection in desk.connections:
            connection.close(1001)
        alice.say(closing(1001))

        assert await alice.everything() == [(TEXT, b"goodbye"), (CLOSE, b"\x03\xe9")]


@both_loops
async def test_a_failure_after_the_adoption_is_not_written_into_the_frames() -> None:
    async with serving() as desk:

        async def late() -> None:
            raise web.HTTPConflict

        desk.late = late
        status, _, client = await answer_to(desk.port, HANDSHAKE + closing(1000))

        assert status == 101
        assert await client.everything() == [(TEXT, b"hello"), (CLOSE, b"\x03\xe8")]
        await client.leave()


def test_the_inside_of_aiohttp_is_what_adopt_leans_on() -> None:
    assert {
        "_message_tail",
        "_task_handler",
        "_current_request",
        "_payload_parser",
    } <= set(RequestHandler.__slots__)
    assert {"transport", "_buffer_paused", "_reading_paused", "_upgraded"} <= {
        name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())
    }
    assert aiohttp.__version__ == "3.14.5", "read `adopt` beside the new aiohttp, then change this"


COST = Path(__file__).with_name("cost.py")


def test_an_idle_socket_costs_two_and_a_half_kilobytes_at_most() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "tests.realtime.cost", "2000"],
        cwd=COST.parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert float(out.stdout) <= 2.5 * 1024
