"""Passwords: bcrypt over a SHA-256 of the whole password, on a few threads that give way to
everything else.

bcrypt reads 72 bytes and stops at a NUL; the digest in base64 has 44 and none. A hash takes a fifth
of a second of CPU on purpose, so it runs on threads with a lower priority. The queues are bounded,
in number and in time, for threads that give way may get little: a flood of sign-ins is refused with
429 and the board stays fast. A hash takes from the time of its request: a sign-in while PostgreSQL
hangs that need not wait for its turn is answered as soon as all else.

No client keeps others from signing in. The queue is fair (round-robin by network, within a network
by address, within an address first come, first served), and a network that had no turn yet goes
before those that had one (new flows before old ones, as in FQ-CoDel, RFC 8290): a newcomer waits
for the hash that is under way, however much one other network has waiting, and for one hash of each
other newcomer. Few hashes of one address may wait, and when a queue is full the network that has
most in it yields one. Addresses from which the account was signed in to lately have a queue and a
thread of their own.
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
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import bcrypt

from warmdesk.db.pool import spent
from warmdesk.errors import Policy, TooMany

COST = 12
"""Two to this power rounds; tests lower it."""
THREADS = max(1, min(2, (os.cpu_count() or 1) // 2))
WAITING = 64
"""Hashes that may be under way or wait in one queue of a process: about thirteen seconds of work
for one thread, so on a small machine the last ones meet `PATIENCE` instead."""
WAITING_OF_ADDRESS = 4
WAITING_OF_NETWORK = 8
"""Hashes of one address, and of one network, that may wait in one queue; under way are others."""
NEWCOMERS_TURNS = 4
"""Turns of newcomers, one after another, while others wait for one more: fresh networks without end
must not keep those out.
"""
PATIENCE = 10.0
"""Seconds that one waits for its turn. On a busy machine a turn comes late, and the client would be
gone when it does."""
NICENESS = 5
"""On a machine that people keep busy a hash takes five times as long as on an idle one, and a flood
of them slows the board by a tenth; at 10 it is seven times.
"""

T = TypeVar("T")


class Turn(NamedTuple):
    """The client for whom a password is hashed. ``known``: somebody signed in to the account from
    this address lately, or is signed in. An empty address is not counted: the command line's, or
    all where limits are off.
    """

    address: str = ""
    network: str = ""
    known: bool = False


ANYBODY = Turn()


class Hash:
    """One hash that waits or is under way."""

    __slots__ = ("future", "turn", "work")

    def __init__(self, work: Callable[[], Any], turn: Turn) -> None:
        self.work, self.turn = work, turn
        self.future: Future[Any] = Future()


Addresses = OrderedDict[str, deque[Hash]]


class Queue:
    """The hashes that wait, by network and address, each in the order of their next turns. An event
    loop puts them in, threads take them out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newcomers: OrderedDict[str, Addresses] = OrderedDict()
        """Networks that wait for their first turn."""
        self._others: OrderedDict[str, Addresses] = OrderedDict()
        """Networks that had a turn, in the order of their next one; with nothing waiting until that
        would be, so that none that sends one after another is a newcomer each time."""
        self._newcomers_turns = 0
        self._taken = 0

    def put(self, work: Callable[[], Any], turn: Turn) -> Future[Any]:
        """The outcome of some work, whose turn will come. `TooMany` when too much waits."""
        wanted, yielding = Hash(work, turn), None
        with self._lock:
            networks = self._others if turn.network in self._others else self._newcomers
            addresses = networks.get(turn.network, OrderedDict())
            waiting = addresses.get(turn.address, deque())
            of_network = sum(map(len, addresses.values()))
            if turn.address and (
                len(waiting) >= WAITING_OF_ADDRESS or of_network >= WAITING_OF_NETWORK
            ):
                raise _busy(1)
            if self._taken >= WAITING:
                yielding = self._last_of_longest(of_network + 1)
                if yielding is None:
                    raise _busy(5)
            self._taken += 1
            # The one that yielded may have been the last of this address.
            waiting = networks.setdefault(turn.network, addresses).setdefault(turn.address, waiting)
            waiting.append(wanted)
        if yielding is not None:
            yielding.future.set_exception(_busy(5))
        wanted.future.add_done_callback(lambda _: self._leave(wanted))
        return wanted.future

    def take(self) -> Hash | None:
        """The next one, under way from now on."""
        with self._lock:
            while networks := self._next_networks():
                network, addresses = networks.popitem(last=False)
                address, waiting = addresses.popitem(last=False)
                found = waiting.popleft()
                if waiting:
                    addresses[address] = waiting
                self._others[network] = addresses
                if found.future.set_running_or_notify_cancel():
                    return found
        return None

    def _next_networks(self) -> OrderedDict[str, Addresses]:
        """Those of which the first has its turn now; empty when nothing waits."""
        while self._others and not next(iter(self._others.values())):
            self._others.popitem(last=False)
        if not self._others:
            self._newcomers_turns = 0
            return self._newcomers
        if self._newcomers and self._newcomers_turns < NEWCOMERS_TURNS:
            self._newcomers_turns += 1
            return self._newcomers
        self._newcomers_turns = 0
        return self._others

    def _last_of_longest(self, length: int) -> Hash | None:
        """The hash that yields to a newcomer whose network would have so many waiting: the youngest
        of the network that has most, if that is more.
        """
        longest = max(
            (*self._newcomers.values(), *self._others.values()),
            key=lambda each: sum(map(len, each.values())),
            default=None,
        )
        if longest is None or sum(map(len, longest.values())) <= length:
            return None
        youngest = max(longest.values(), key=len)[-1]
        self._drop(youngest)
        return youngest

    def _leave(self, done: Hash) -> None:
        with self._lock:
            self._taken -= 1
            self._drop(done)
            if not self._taken:
                self._others.clear()

    def _drop(self, gone: Hash) -> None:
        """Take it out, if it still waits."""
        networks = self._others if gone.turn.network in self._others else self._newcomers
        addresses = networks.get(gone.turn.network)
        waiting = addresses.get(gone.turn.address) if addresses is not None else None
        if addresses is None or waiting is None or gone not in waiting:
            return
        waiting.remove(gone)
        if not waiting:
            del addresses[gone.turn.address]
        if not addresses and networks is self._newcomers:
            del networks[gone.turn.network]


STRANGERS, KNOWN = Queue(), Queue()


def _give_way() -> None:
    """On Linux a thread has its own priority."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@functools.cache
def _threads(number: int, name: str) -> ThreadPoolExecutor:
    """Made at first use, so that each process of a prefork has its own."""
    return ThreadPoolExecutor(number, name, initializer=_give_way)


def _do_next(*queues: Queue) -> None:
    """Do one hash, of the first queue that has any. Each `put` brings a call for every pool that
    may do it, so some calls find nothing left.
    """
    found = next(filter(None, (queue.take() for queue in queues)), None)
    if found is None:
        return
    try:
        outcome = found.work()
    except BaseException as error:
        found.future.set_exception(error)
    else:
        found.future.set_result(outcome)


async def _apart(work: Callable[[], T], turn: Turn) -> T:
    began = time.monotonic()
    hashing: Future[T] = (KNOWN if turn.known else STRANGERS).put(work, turn)
    _threads(THREADS, "passwords").submit(_do_next, STRANGERS, KNOWN)
    if turn.known:
        _threads(1, "passwords-known").submit(_do_next, KNOWN)
    outcome = asyncio.wrap_future(hashing)
    try:
        await asyncio.wait([outcome], timeout=PATIENCE)
        if hashing.cancel():  # it has not begun
            raise _busy(5)
        return await outcome
    except asyncio.CancelledError:
        hashing.cancel()
        raise
    finally:
        spent(time.monotonic() - began)


def _busy(seconds: float) -> TooMany:
    return TooMany(
        Policy("sign_ins", WAITING),
        seconds,
        "too many sign-ins at once, try again",
        code="too_many_sign_ins",
    )


def _prepared(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


async def hash_password(password: str, turn: Turn = ANYBODY) -> str:
    """The hash to keep. `TooMany` when too many wait."""
    cost = COST
    return await _apart(
        lambda: bcrypt.hashpw(_prepared(password), bcrypt.gensalt(cost)).decode("ascii"), turn
    )


async def check_password(password: str, stored_hash: str | None, turn: Turn = ANYBODY) -> bool:
    """Whether it is the password. Without a hash (there is no such account) it takes as long and is
    False.
    """
    if stored_hash is None:
        await hash_password(password, turn)
        return False
    return await _apart(functools.partial(_matches, password, stored_hash), turn)


def _matches(password: str, stored_hash: str) -> bool:
    try:
        return bcrypt.checkpw(_prepared(password), stored_hash.encode("ascii"))
    except ValueError:
        return False


def is_outdated(stored_hash: str) -> bool:
    """Whether the hash was made with another cost than today's and should be made anew."""
    return not stored_hash.startswith(f"$2b${COST:02d}$")
