"""Requests that hold their answer back until there is one: what all of them do meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from aiohttp import web

from warmdesk import clock
from warmdesk.db.pool import BUDGET
from warmdesk.http.protocol import HttpConnection
from warmdesk.http.request import ACTOR, DESK
from warmdesk.realtime.waiting import Waiter, Wake


def loop_time() -> float:
    return asyncio.get_running_loop().time()


@contextmanager
def held_back(
    request: web.Request,
    *,
    after: int,
    epoch: str,
    about: frozenset[str] | None = None,
    heavy: bool = False,
) -> Iterator[Waiter]:
    """A place among those who wait, or `TooMany`; see `Waiter`. Meanwhile the request holds no
    share of its person, is woken when its client leaves, and its time is not counted as work.
    """
    desk, person, began = request.app[DESK], request[ACTOR].user_id, loop_time()
    with (
        desk.waits.place(request[ACTOR], after=after, epoch=epoch, about=about) as waiter,
        _told_when_lost(request, waiter),
        desk.reads.aside(person),
        desk.heavy_reads.aside(person) if heavy else nullcontext(),
    ):
        try:
            yield waiter
        finally:
            if (budget := BUDGET.get()) is not None:
                budget.waited = loop_time() - began


def credential_ends(request: web.Request) -> float:
    """When by the loop's clock the request's credential ends: then it is asked for again."""
    expires_at = request[ACTOR].expires_at
    return math.inf if expires_at is None else loop_time() + max(0.0, expires_at - clock.now())


@contextmanager
def _told_when_lost(request: web.Request, waiter: Waiter) -> Iterator[None]:
    """The waiter is woken when the client leaves, or has left."""
    http = request.protocol
    assert isinstance(http, HttpConnection)
    http.on_lost = lambda: waiter.wake(Wake.GONE)
    if request.transport is None or request.transport.is_closing():
        waiter.wake(Wake.GONE)
    try:
        yield
    finally:
        http.on_lost = None
