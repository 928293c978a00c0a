"""The sockets that a server listens on, one for each worker where the kernel balances them."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import time
from typing import Any

from warmdesk.config import Settings
from warmdesk.log import quoted
from warmdesk.reload import Inherited

PORT_SECONDS = 2.0
"""How long a predecessor that was killed may take to free the port."""
PER_WORKER_SOCKETS = sys.platform == "linux"
"""Whether the kernel balances connections over sockets of one address."""

log = logging.getLogger(__name__)


class StartError(Exception):
    """The server cannot start; the message says what to do."""


class NotUsable(StartError):
    """PostgreSQL or Redis is away or refuses; the message says which and why."""


def bind(settings: Settings) -> list[socket.socket]:
    """A bound socket for each worker where the kernel balances them; else one for all."""
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise StartError(
            f"WARMDESK_HOST {host!r} is not an address of this machine; use 127.0.0.1 or 0.0.0.0"
        ) from None
    end = time.monotonic() + PORT_SECONDS
    while True:
        try:
            # Alone first: sockets that share would also share with a stranger's, in silence.
            _bound(family, address, shared=False).close()
            first = _bound(family, address, shared=PER_WORKER_SOCKETS)
            break
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < end:
                time.sleep(0.1)
                continue
            raise StartError(_why_not_bound(error, host, port)) from None
    found = [first]
    _add_one_for_each(found, settings)
    return found


def bind_more(settings: Settings, inherited: Inherited) -> list[socket.socket]:
    """The inherited sockets, and as many more as workers need. Where no more can be had, as when
    the address is this machine's no longer, workers share what there is.
    """
    found = [socket.socket(fileno=fd) for fd in inherited.listeners]
    for listener in found:
        listener.setblocking(False)
    try:
        _add_one_for_each(found, settings)
    except OSError as error:
        log.warning("listeners.shared sockets=%d cause=%s", len(found), quoted(str(error)))
    return found


def _add_one_for_each(found: list[socket.socket], settings: Settings) -> None:
    if PER_WORKER_SOCKETS:
        family, address = found[0].family, found[0].getsockname()
        while len(found) < settings.workers:
            found.append(_bound(family, address, shared=True))


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _why_not_bound(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; stop what uses it or set WARMDESK_PORT"
    if error.errno == errno.EACCES:
        return f"port {port} is for root only; set WARMDESK_PORT to one above 1023"
    return f"WARMDESK_HOST {host!r} cannot be listened on: {error.strerror}"


def address(settings: Settings, listener: socket.socket) -> str:
    """The URL a person on this machine opens."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http{'s' if settings.tls_cert else ''}://{host}:{listener.getsockname()[1]}"
