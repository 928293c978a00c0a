"""The same over TLS, where the transport is another one."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from tests.realtime.raw import both_loops, closing, fill, masked, peer, serving, settled, until
from warmdesk.realtime.connection import BUFFER_LIMIT, CLOSE_SECONDS
from warmdesk.realtime.frames import BINARY, CLOSE, PING, PONG, TEXT, frame
from warmdesk.realtime.socket_buffers import SEND_BUFFER


@dataclass(frozen=True)
class Contexts:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def tls() -> Contexts:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Contexts(server, client)


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


@both_loops
async def test_a_burst_and_an_answer(tls: Contexts) -> None:
    async with serving(tls=tls.server) as desk, peer(desk, tls=tls.client) as alice:
        for number in range(300):
            desk.room.deliver(b'{"n":%d}' % number)
        alice.say(masked("hello") + masked("?", PING))

        for number in range(300):
            assert await alice.frame() == (TEXT, b'{"n":%d}' % number)
        assert await alice.frame() == (PONG, b"?")
        assert [text for _, text in desk.said] == [b"hello"]


@both_loops
async def test_goodbyes(tls: Contexts) -> None:
    async with (
        serving(tls=tls.server) as desk,
        peer(desk, tls=tls.client) as alice,
        peer(desk, tls=tls.client) as bob,
        peer(desk, tls=tls.client) as eve,
    ):
        alice.say(closing(1000))
        assert await alice.everything() == [(CLOSE, b"\x03\xe8")]

        desk.connections[1].close(4401)
        bob.say(closing(4401))
        assert await bob.everything() == [(CLOSE, b"\x11\x31")]

        eve.say(masked("a", BINARY) + b"\xff" * 100_000)
        assert await eve.frame() == (CLOSE, b"\x03\xebonly text is understood")
        desk.connections[2].tick(time.monotonic() + CLOSE_SECONDS)
        assert await eve.everything() == []

        await until(lambda: desk.ended == [1000, 4401, 1003])


@both_loops
async def test_a_slow_reader_leaves_the_room_and_comes_back(tls: Contexts) -> None:
    async with (
        serving(tls=tls.server) as desk,
        peer(desk, tls=tls.client, receive_buffer=65_536, limit=1024) as sloth,
    ):
        slow = desk.connections[0]
        await fill(desk, slow)
        assert list(desk.room.slow) == [slow]
        assert slow.buffered < 2 * BUFFER_LIMIT

        while slow.paused_since:
            await sloth.frame()
        desk.room.deliver(b"the latest")
        sloth.say(masked("here again"))

        while (await sloth.frame()) != (TEXT, b"the latest"):
            pass
        await until(lambda: [text for _, text in desk.said] == [b"here again"])


@both_loops
async def test_progress_is_seen_although_the_buffer_does_not_show_it(tls: Contexts) -> None:
    async with (
        serving(tls=tls.server) as desk,
        peer(desk, tls=tls.client, receive_buffer=65_536, limit=1024) as sloth,
    ):
        slow = desk.connections[0]
        await fill(desk, slow)
        while slow.paused_since:  # the first megabyte goes down to the transport below
            await sloth.frame()
        await fill(desk, slow)
        assert slow.transport is not None
        before, size = await settled(slow), slow.transport.get_write_buffer_size()

        while slow.stalled_since == before:
            await sloth.frame()
            slow.tick(time.monotonic())

        assert slow.paused_since
        assert slow.transport.get_write_buffer_size() == size


@both_loops
async def test_what_waits_below_the_buffer_is_counted(tls: Contexts) -> None:
    async with (
        serving(tls=tls.server) as desk,
        peer(desk, tls=tls.client, receive_buffer=65_536, limit=1024) as sloth,
    ):
        slow = desk.connections[0]
        assert slow.transport is not None
        for _ in range(3):
            slow.write(frame(b"x" * 900_000))
            await asyncio.sleep(0)
        # The kernels of both sides have some of it; what is encrypted takes a third more.
        assert 2_700_000 - 4 * SEND_BUFFER < slow.buffered / 4 * 3 <= 2_750_000
        assert slow.buffered > slow.transport.get_write_buffer_size() * 4 // 3 + SEND_BUFFER

        for _ in range(3):
            assert len((await sloth.frame())[1]) == 900_000
        await until(lambda: slow.buffered == 0)


@both_loops
async def test_a_peer_that_never_says_goodbye_is_cut(tls: Contexts) -> None:
    async with (
        serving(tls=tls.server) as desk,
        peer(desk, tls=tls.client, receive_buffer=65_536, limit=1024),
    ):
        slow = desk.connections[0]
        await fill(desk, slow)
        slow.close(4431)
        slow.tick(time.monotonic() + CLOSE_SECONDS)

        await until(lambda: desk.ended == [4431])


@both_loops
async def test_a_connection_that_is_cut_is_lost(tls: Contexts) -> None:
    async with serving(tls=tls.server) as desk, peer(desk, tls=tls.client) as alice:
        alice.say(masked("half")[:3])
        await asyncio.sleep(0)
        await alice.leave()

        await until(lambda: desk.ended == [1006])
