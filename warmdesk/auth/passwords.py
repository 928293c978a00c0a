"""Passwords: bcrypt over a SHA-256 of the whole password, on a few threads that give way to
everything else.

bcrypt reads 72 bytes and stops at a NUL; the digest in base64 has 44 and none. A hash takes a fifth
of a second of CPU on purpose, so it runs on threads with a lower priority. What waits for them is
bounded, in number and in time, for threads that give way may get little: a flood of sign-ins is
refused with 429 and the board stays fast. The time that one takes is the request's: whoever signs
in while PostgreSQL hangs and has not to wait for a turn is answered as soon as everybody else.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from warmdesk.db.pool import spent
from warmdesk.errors import TooMany

COST = 12
"""Two to this power rounds; tests lower it."""
THREADS = max(1, min(2, (os.cpu_count() or 1) // 2))
WAITING = 64
"""Hashes that may be under way or wait in one process: about thirteen seconds of work for one
thread, so on a small machine the last ones meet `PATIENCE` instead."""
PATIENCE = 10.0
"""Seconds that one waits for its turn. On a busy machine a turn comes late, and whoever asked would
be gone when it does."""
NICENESS = 10

T = TypeVar("T")

_places = threading.BoundedSemaphore(WAITING)


def _give_way() -> None:
    """On Linux a thread has its own priority."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Made at first use, so that each process of a prefork has its own."""
    return ThreadPoolExecutor(THREADS, "passwords", initializer=_give_way)


async def _apart(work: Callable[[], T]) -> T:
    if not _places.acquire(blocking=False):
        raise TooMany(5, "too many sign-ins at once, try again")

    def leave(done: Future[T]) -> None:
        _places.release()

    began = time.monotonic()
    turn = _threads().submit(work)
    turn.add_done_callback(leave)
    outcome = asyncio.wrap_future(turn)
    try:
        await asyncio.wait([outcome], timeout=PATIENCE)
        if turn.cancel():  # it has not begun
            raise TooMany(5, "too many sign-ins at once, try again")
        return await outcome
    except asyncio.CancelledError:
        turn.cancel()
        raise
    finally:
        spent(time.monotonic() - began)


def _prepared(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


async def hash_password(password: str) -> str:
    """The hash to keep. `TooMany` when too many wait."""
    cost = COST
    return await _apart(
        lambda: bcrypt.hashpw(_prepared(password), bcrypt.gensalt(cost)).decode("ascii")
    )


async def check_password(password: str, kept: str | None) -> bool:
    """Whether it is the password. Without a hash (nobody has that name) it takes as long and is
    False.
    """
    if kept is None:
        await hash_password(password)
        return False
    return await _apart(functools.partial(_matches, password, kept))


def _matches(password: str, kept: str) -> bool:
    try:
        return bcrypt.checkpw(_prepared(password), kept.encode("ascii"))
    except ValueError:
        return False


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with another cost than today's and should be made anew."""
    return not kept.startswith(f"$2b${COST:02d}$")
