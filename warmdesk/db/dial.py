"""Connecting to PostgreSQL, whose URL may name several hosts.

asyncpg asks them one after another with one time limit for all, so a first host that hangs, as one
does that lost its power, leaves nothing for the others. Here the next is asked as soon as one fails
or has said nothing for a fifth of a second, the earlier attempts go on, and the first host that
fits is taken (Happy Eyeballs, RFC 8305). Of several hosts that is one which takes writes, unless
the URL's ``target_session_attrs`` says otherwise.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

PATIENCE = 0.2
"""Seconds until another host is asked too."""
TARGET = "target_session_attrs"
TARGET_VARIABLE = "PGTARGETSESSIONATTRS"
HOST_AND_PORT = re.compile(r"(/.*|\[[^\]]*\]|[^:]*)(?::(\d+))?")
AWAY = (asyncpg.InternalClientError, asyncpg.CannotConnectNowError, OSError, TimeoutError)
"""The errors of a host that is away, starts or is a standby. All others an operator has to mend."""

Host = tuple[str, int | None]
"""A host, or the directory of a socket, and its port."""


def hosts(dsn: str) -> list[Host]:
    """The hosts of a URL, in its order, as libpq reads it; none when it names none."""
    parts = urlsplit(dsn)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    spec, ports = parts.netloc.rpartition("@")[2], [""]
    escaped = bool(spec)
    if not spec:
        spec, ports = options.get("host", ""), options.get("port", "").split(",")
    specs = spec.split(",") if spec else []
    if len(ports) == 1:
        ports *= len(specs)
    found: list[Host] = []
    for one, given in zip(specs, ports, strict=True):
        match = HOST_AND_PORT.fullmatch(one.strip())
        name, port = (match[1].strip("[]"), given or match[2]) if match else (one, given)
        found.append((unquote(name) if escaped else name, int(port) if port else None))
    return found


def named_hosts(dsn: str) -> str:
    """The hosts of a URL for people: without user and password."""
    found = [
        f"{host}:{port}" if port and not host.startswith("/") else host for host, port in hosts(dsn)
    ]
    return ",".join(found) or os.environ.get("PGHOST", "localhost")


async def connect(dsn: str, *, timeout: float, **options: Any) -> Any:
    """A connection to the URL's host, or to one of its hosts, within so many seconds."""
    return await Dialer(dsn, timeout=timeout, **options)()


class Dialer:
    """Makes connections of one kind, each within `timeout` seconds; `options` are asyncpg's.

    The host that was taken last is asked first, so one that is away is waited for once.
    """

    def __init__(self, dsn: str, *, timeout: float, **options: Any) -> None:
        self._dsn, self._seconds, self._options = dsn, timeout, options
        self._hosts = hosts(dsn)
        if len(self._hosts) > 1 and TARGET not in dsn and TARGET_VARIABLE not in os.environ:
            self._options[TARGET] = "read-write"

    async def __call__(self) -> Any:
        """A new connection. Raises what asyncpg raises; when all hosts fail, the error that tells
        most.
        """
        if len(self._hosts) < 2:
            return await self._ask()
        errors: list[BaseException] = []
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._first(errors)
        except TimeoutError as error:
            errors.append(error)
        else:
            if found is not None:
                return found
        raise next((error for error in errors if not isinstance(error, AWAY)), errors[-1])

    async def _first(self, errors: list[BaseException]) -> Any:
        """The connection of the first host that gives one; None when each has given an error."""
        waiting = deque(self._hosts)
        attempts: dict[asyncio.Task[Any], Host] = {}
        try:
            while waiting or attempts:
                if waiting:
                    host = waiting.popleft()
                    attempts[asyncio.create_task(self._ask(host))] = host
                done, _ = await asyncio.wait(
                    attempts,
                    timeout=PATIENCE if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    host = attempts.pop(task)
                    if (error := task.exception()) is None:
                        self._hosts.sort(key=lambda one: one != host)
                        return task.result()
                    errors.append(error)
            return None
        finally:
            for task in attempts:
                task.cancel()
                task.add_done_callback(_hang_up)

    async def _ask(self, host: Host | None = None) -> Any:
        given = {"host": host[0], "port": host[1]} if host else {}
        return await asyncpg.connect(self._dsn, timeout=self._seconds, **given, **self._options)


def _hang_up(attempt: asyncio.Task[Any]) -> None:
    """Another host was faster."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()
