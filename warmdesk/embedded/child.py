"""A server process of ours: it ends when we end, however we end, and its successor waits for that.

*Ends with us*: on Linux the kernel signals it when the thread that started it ends
(PR_SET_PDEATHSIG), so start servers from the main thread. *Waits for its predecessor*: a server
holds a lock on a file from before its first instruction until the last of its own children is gone;
process ids in files can lie (they are used again), the lock cannot.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import math
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
PREDECESSOR_SECONDS = 30.0
"""How long a server that lost its supervisor may take to end before its successor gives up."""
RESTART_SECONDS = 5.0
"""The same when only the server itself died: what is left of it ends at once."""
LONGEST_SOCKET_DIRECTORY = 80
"""Bytes: a unix socket's address has 104 (macOS) or 108 (Linux), and a name is still to come."""
LARGEST_LOG = 16 * 2**20

_libc: Any = ctypes.CDLL(None, use_errno=True) if LINUX else None


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says what to do."""


def wheel(package: str, setting: str) -> Path:
    """Where a package lies, found without importing it: these packages act on import."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"the package {package} is not installed here (it has no build for some platforms);"
            f" set {setting} to the URL of a server"
        )
    return Path(spec.submodule_search_locations[0])


def before_exec(*, death: int = 0, inner_user: int | None = None) -> Callable[[], None]:
    """The steps of a child between fork and exec.

    `death` is the signal it gets when we end. With `inner_user` it enters a user namespace in which
    root is that user: files stay root's outside, and PostgreSQL, which refuses root, sees an
    ordinary user inside.
    """
    parent = os.getpid()

    def prepare() -> None:
        if inner_user is not None:
            if _libc.unshare(CLONE_NEWUSER):
                os._exit(97)
            for name, line in (
                ("setgroups", "deny"),
                ("uid_map", f"{inner_user} 0 1"),
                ("gid_map", f"{inner_user} 0 1"),
            ):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(line)
        if death:
            end_with_parent(parent, death)  # last: a change of user clears it

    return prepare


def end_with_parent(parent: int, number: int) -> None:
    """In a new child of `parent`: have the kernel send us this signal when its thread ends."""
    if LINUX:
        _libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(98)  # it ended before the kernel knew what to do then


def private_directory(path: Path, *, among_strangers: bool = False) -> Path:
    """Make a directory only we can enter; an existing one must be ours.

    Where others may make directories too, root trusts only itself and the server's user; else
    somebody could have been there first and would keep the key.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    ours = found.st_uid == os.geteuid()
    if os.geteuid() == 0:
        ours |= found.st_uid == nobody()[0] if among_strangers else True
    if not stat.S_ISDIR(found.st_mode) or not ours:
        raise EmbeddedError(f"{path} is not ours; remove it or choose another data directory")
    if found.st_mode & 0o077:
        path.chmod(0o700)
    return path


def nobody() -> tuple[int, int]:
    """User and group of ``nobody``, which root becomes for PostgreSQL."""
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return found.pw_uid, found.pw_gid


def socket_directory(base: Path) -> Path:
    """A private directory for sockets: ``base/run``, or another when that cannot be an address.

    It can be too long, and a comma is for libpq and asyncpg the end of a host's name. The other
    name depends on `base` alone, so that a server that starts again is found at the same address.
    """
    base = base.resolve()
    near = base / "run"
    if len(os.fsencode(near)) <= LONGEST_SOCKET_DIRECTORY and "," not in str(near):
        return private_directory(near)
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:16]
    short = Path("/tmp") / f"warmdesk-{os.geteuid()}-{digest}"
    return private_directory(short, among_strangers=True)


class Child:
    """One server process. `name` is for messages, `base` where its lock and log lie."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.log = base / f"{name}.log"
        self._lock = base / f"{name}.lock"
        self._process: subprocess.Popen[bytes] | _Adopted | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def adopt(self, pid: int) -> None:
        """Take over the server that an earlier program of this very process started."""
        self._process = _Adopted(pid)

    def lock(self, *, limit: float = PREDECESSOR_SECONDS) -> int:
        """The lock's descriptor, taken when the predecessor is gone. `start` passes it on."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + limit
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except OSError:
                if not LINUX:
                    self._end_orphan(fd)
                if time.monotonic() > end:
                    os.close(fd)
                    raise EmbeddedError(
                        f"another {self.name} still runs on {self._lock.parent}; stop it first"
                    ) from None
                time.sleep(0.02)

    def start(
        self,
        arguments: Sequence[str],
        lock: int,
        *,
        death: int,
        inner_user: int | None = None,
        **options: Any,
    ) -> None:
        """Start the server with the lock in its hands; its output goes to the log."""
        if self.log.exists() and self.log.stat().st_size > LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                preexec_fn=before_exec(death=death, inner_user=inner_user),  # noqa: PLW1509  main thread only
                **options,
            )
            os.truncate(lock, 0)
            os.pwrite(lock, str(self.pid).encode(), 0)
        finally:
            os.close(log)
            os.close(lock)

    def wait_until(self, ready: Callable[[], bool], *, limit: float) -> None:
        """Wait until it is ready; `EmbeddedError` with its last words when it is not."""
        end = time.monotonic() + limit
        while not ready():
            if not self.alive():
                raise EmbeddedError(
                    f"{self.name} ended at start; {self.log} says: {self.last_words()}"
                )
            if time.monotonic() > end:
                raise EmbeddedError(
                    f"{self.name} was not ready after {limit:.0f} s; read {self.log}"
                )
            time.sleep(0.005)

    def last_words(self) -> str:
        """The end of its log, in one line."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-3:])

    def stop(self, gentle: int, harsh: int, *, limit: float) -> None:
        """Ask it to end, and insist after `limit` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(gentle)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(harsh)
            process.wait()

    def _end_orphan(self, fd: int) -> None:
        """Where the kernel does not end a server with its supervisor, its successor does."""
        try:
            os.kill(int(os.pread(fd, 20, 0)), signal.SIGINT)
        except (ValueError, OSError):
            pass


class _Adopted:
    """A child of this process that `subprocess` does not know: what `Child` uses of a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = False

    def poll(self) -> int | None:
        """None while it runs."""
        if not self._ended:
            try:
                self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            except ChildProcessError:
                self._ended = True
        return 0 if self._ended else None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = math.inf) -> None:
        """Until it ended; `subprocess.TimeoutExpired` when that takes longer."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.005)
