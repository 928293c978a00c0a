"""One worker: a process that serves its listening sockets until it is told to stop.

It stops in order, so that no client finds a closed port: first `/ready` says no and answers carry
``Connection: close``, so that proxies and clients turn to others by themselves; then it accepts no
more; then sockets are closed with 1001 and requests in flight finish. A worker whose successor
already serves the same sockets stops accepting at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

import uvloop
from aiohttp import web

from warmdesk import metrics
from warmdesk.app import build_app
from warmdesk.config import Settings
from warmdesk.db.pool import DATABASE_AWAY
from warmdesk.desk import Desk, open_desk
from warmdesk.handshake_reader import HandshakeReaders
from warmdesk.metrics.sharing import attach
from warmdesk.realtime.socket_buffers import cap
from warmdesk.rest.web import leave_files
from warmdesk.tasks import seconds_to_tick

BACKLOG = 4096
ACCEPTS_AT_ONCE = 8
"""libuv accepts one connection of a listening socket in each turn of the loop, so this many copies
of it are listened on. With one, thousands that come at once are taken at a few hundred a second,
and a request for a board waits behind them."""
KEEP_ALIVE_SECONDS = 75.0
"""How long an idle connection is kept: longer than proxies keep theirs, so that they end it."""
HANDSHAKE_SECONDS = 10.0
DRAIN_SECONDS = 2.0
"""How long proxies and clients have to notice that this worker stops."""
FINISH_SECONDS = 6.0
"""How long requests in flight have to finish."""
CANCEL_SECONDS = 0.5
"""How long requests have that did not finish and are cancelled."""
RETIRE = signal.SIGUSR1
"""From the supervisor: your successor accepts on your sockets."""
SERVES, REPLACE = b"s", b"r"
"""To the supervisor: I serve; I am not well, let another do it."""
WATCH_SECONDS = 1.0
AGAIN_SECONDS = 5.0
"""When an unwell worker asks again: its successor may have died, and the wish with it."""
M_MMAP_THRESHOLD, LARGE = -3, 128 * 1024
"""glibc's mallopt(3): from how many bytes on memory is given back as soon as it is free."""

log = logging.getLogger(__name__)


def tls(settings: Settings) -> ssl.SSLContext | None:
    """The context that serves HTTPS, or None. Raises `OSError` when the files do not fit."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def run(
    settings: Settings, sockets: Sequence[socket.socket], *, row: int, life: int, tell: int
) -> None:
    """Serve until SIGTERM or `RETIRE`.

    `life` is a pipe that ends with the supervisor, `tell` one to it; `row` is one of the metrics.
    """
    attach(row)
    gc.set_threshold(50_000, 20, 100)
    _give_large_memory_back()
    uvloop.run(_work(settings, sockets, life, tell))


def _give_large_memory_back() -> None:
    """Keep glibc's first threshold. By itself it raises it to what was freed last, and the buffers
    of slow readers, which grow by steps, would leave holes of twice their size for good.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)


async def _work(settings: Settings, sockets: Sequence[socket.socket], life: int, tell: int) -> None:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[bool] = loop.create_future()

    def stop(retire: bool) -> None:
        if not stopped.done():
            stopped.set_result(retire)

    loop.add_signal_handler(signal.SIGTERM, stop, False)
    loop.add_signal_handler(RETIRE, stop, True)
    loop.add_reader(life, os._exit, 1)
    async with open_desk(settings) as desk:
        runner = web.AppRunner(
            build_app(desk),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=CANCEL_SECONDS,
        )
        await runner.setup()
        await asyncio.to_thread(leave_files, settings.data_dir)
        context = tls(settings)
        for one in sockets:
            cap(one)
        readers = HandshakeReaders(runner, capped=True)
        listeners = [
            await loop.create_server(
                readers,
                sock=each,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
            )
            for one in sockets
            for each in (one, *(one.dup() for _ in range(ACCEPTS_AT_ONCE - 1)))
        ]
        # What lives as long as the worker is not looked at by any collection.
        gc.collect()
        gc.freeze()
        os.write(tell, SERVES)
        watch = asyncio.create_task(_watch(desk, tell))
        retire = await stopped
        watch.cancel()
        await _drain(desk, listeners, readers, runner, retire=retire)


async def _watch(desk: Desk, tell: int) -> None:
    """Ask for a successor while a task of the centre is dead; the others go on until it serves.
    Also when the database became another installation: only a new worker takes its names.
    """
    while True:
        trouble = desk.healthy()
        if trouble:
            log.error("worker.unwell task=%s", trouble)
        else:
            with suppress(*DATABASE_AWAY):
                if await desk.renamed():
                    trouble = "installation"
                    log.warning("worker.renamed installation=%s", desk.installation)
        if trouble:
            os.write(tell, REPLACE)
        await asyncio.sleep(seconds_to_tick(AGAIN_SECONDS if trouble else WATCH_SECONDS))


async def _drain(
    desk: Desk,
    listeners: list[asyncio.Server],
    readers: HandshakeReaders,
    runner: web.AppRunner,
    *,
    retire: bool,
) -> None:
    began = asyncio.get_running_loop().time()
    desk.draining, desk.retiring = True, retire
    readers.bounds.stopping = True
    if retire:
        _close(listeners)
        desk.waits.stop()
    await asyncio.sleep(DRAIN_SECONDS)
    _close(listeners)
    desk.waits.stop()  # not before: who is answered asks again at once
    await readers.close()
    await asyncio.gather(desk.hub.roster.close_sockets(), _requests_end(readers, runner))
    # There may have been none before the last opening was at its end. These are few.
    await desk.hub.roster.close_sockets(spread=0.5)
    await runner.cleanup()
    took = asyncio.get_running_loop().time() - began
    metrics.DRAIN_SECONDS.observe(took)
    log.info("worker.drained seconds=%.1f", took)


def _close(listeners: list[asyncio.Server]) -> None:
    for listener in listeners:
        listener.close()


async def _requests_end(readers: HandshakeReaders, runner: web.AppRunner) -> None:
    """Until no request is under way, at most `FINISH_SECONDS`.

    aiohttp's own clean-up waits too, but reads no more: a body that is still arriving would never
    be whole. It has no public word for a connection that is at work.
    """
    assert runner.server is not None
    try:
        async with asyncio.timeout(FINISH_SECONDS):
            while readers.under_way or any(
                one._request_in_progress for one in runner.server.connections
            ):
                await asyncio.sleep(0.02)
    except TimeoutError:
        log.warning("worker.requests_cut")
    readers.bounds.readers.end_all()
