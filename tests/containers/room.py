"""A container without Docker: what a Dockerfile says is done in namespaces of its own.

::

    room = Room(place)                  # an empty image
    room.run(["sh", "-c", "…"])         # a step that builds it
    with room.started(["warmdesk", "serve"], user=10001, …) as container:
        container.execute(["python", …])    # like docker exec

In it root is an ordinary user of the machine, and so is everybody else: their numbers begin at
`FIRST` outside. It sees the machine's programs and libraries, read-only, in the place of an image
that would be pulled; the rest of its files are its own. Only Linux has such namespaces, and only
root may put more than one user in them.

As a program (``python room.py``, the `Spec` as JSON on its input) this is what runs inside.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

FIRST, USERS = 500_000, 65_536
"""The numbers outside of the users inside."""
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 1, 38, 65
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
PROGRAMS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
PYTHON = "image-python"
"""Where the room has its ``python``, as an image of Python has it on its path."""
PATH = f"/{PYTHON}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Spec:
    """What to run, and how much of the room it may change."""

    root: str
    command: list[str]
    environment: dict[str, str]
    directory: str = "/"
    user: int = 0
    volumes: dict[str, str] = field(default_factory=dict)
    """Directories of the machine, by their names inside."""
    lent: list[str] = field(default_factory=list)
    """Directories that it sees where they are, and may only read."""
    online: bool = False
    strict: bool = False
    """Read-only but for the volumes, no way to more rights, no memory that is written and run, and
    in /proc nothing but its own processes."""


class Room:
    """The files of an image in `place`, which is made."""

    def __init__(self, place: Path) -> None:
        self.root = place
        place.mkdir(parents=True)
        for name in ("etc", "opt", "proc", "dev", "run", "tmp", "var", "root", PYTHON):
            (place / name).mkdir()
        for name in PROGRAMS:
            if (found := Path("/", name)).is_symlink():
                (place / name).symlink_to(found.readlink())
            elif found.is_dir():
                (place / name).mkdir()
        self._fill_etc()
        real = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        self.lent = [] if real.is_relative_to("/usr") else [str(real.parents[1])]
        wrapper = place / PYTHON / "python"
        wrapper.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
        given(place)
        (place / "tmp").chmod(0o1777)

    def _fill_etc(self) -> None:
        """What programs need of the machine's settings; the users are the room's own."""
        etc = self.root / "etc"
        for name in ("alternatives", "ssl", "ld.so.conf.d", "pki", "ca-certificates"):
            if Path("/etc", name).is_dir():
                shutil.copytree(Path("/etc", name), etc / name, symlinks=True, ignore=_secrets)
        for name in ("resolv.conf", "hosts", "nsswitch.conf", "ld.so.cache", "pip.conf"):
            if Path("/etc", name).is_file():
                shutil.copy(Path("/etc", name), etc / name)
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (etc / "group").write_text("root:x:0:\n")
        (etc / "login.defs").write_text("UID_MAX 60000\nGID_MAX 60000\n")

    def directory(self, inside: str) -> None:
        """Make a directory, root's, where there is none."""
        to = self.root / inside.lstrip("/")
        missing = [each for each in (to, *to.parents) if not each.exists()]
        to.mkdir(parents=True, exist_ok=True)
        for each in missing:
            os.chown(each, FIRST, FIRST)

    def put(self, source: Path, target: str) -> None:
        """Copy a file or a directory of the machine to a path inside, as root's."""
        to = self.root / target.lstrip("/")
        self.directory(os.path.dirname(target))
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to)
        given(to)

    def take(self, other: Room, source: str, target: str) -> None:
        """Copy a directory of another room, owners and all."""
        to = self.root / target.lstrip("/")
        self.directory(os.path.dirname(target))
        subprocess.run(["cp", "-a", other.root / source.lstrip("/"), to], check=True)

    def spec(self, command: Sequence[str], environment: Mapping[str, str], **more: object) -> Spec:
        spec = Spec(str(self.root), list(command), {"PATH": PATH, "HOME": "/", **environment})
        for name, value in more.items():
            setattr(spec, name, value)
        spec.lent = [*self.lent, *spec.lent]
        return spec

    def run(self, command: Sequence[str], environment: Mapping[str, str], **more: object) -> str:
        """Run something to its end: what it said. `AssertionError` when it fails."""
        spec = self.spec(command, environment, **more)
        done = subprocess.run(
            [sys.executable, "-I", __file__],
            input=json.dumps(asdict(spec)),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{said}"
        return said

    @contextmanager
    def started(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, **more: object
    ) -> Iterator[Container]:
        """Run something as the first process of a tree; what it says goes to `log`."""
        spec = self.spec(command, environment, **more)
        told, tell = os.pipe()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(tell)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                pass_fds=(tell,),
            )
        os.close(tell)
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asdict(spec)).encode())
            process.stdin.close()
            with os.fdopen(told) as pipe:
                said = pipe.readline()
            assert said, f"the room could not be made: {log.read_text()}"
            yield Container(process, int(said), spec, log)
        finally:
            process.kill()  # all in it end with it
            process.wait()


@dataclass
class Container:
    """A room at work. `pid` is its first process, as the machine knows it."""

    process: subprocess.Popen[bytes]
    pid: int
    spec: Spec
    log: Path

    def execute(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one more program in it, as its user."""
        into = ["--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd=/"]
        who = [f"--setuid={self.spec.user}", f"--setgid={self.spec.user}"]
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", *into, *who, "--", *command],
            env=self.spec.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def says(self) -> str:
        return self.log.read_text()

    def processes(self) -> dict[int, str]:
        """What runs in it, as the machine knows it: by process id, the states of ``ps``."""
        found = {}
        mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(each / "ns" / "pid") == mine:
                    stat = (each / "stat").read_text()
                    found[int(each.name)] = stat.rpartition(")")[2].split()[0]
            except OSError:
                pass  # it ended this moment
        return found


def why_not() -> str:
    """Why there can be no room here; empty when there can."""
    if sys.platform != "linux":
        return "only Linux has namespaces"
    if os.geteuid() != 0:
        return "only root may put the users of a container in a namespace"
    for tool in ("nsenter", "cp", "useradd"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return ""


def given(place: Path) -> None:
    """Make all below it root's, as the room knows root."""
    subprocess.run(["chown", "-hR", f"{FIRST}:{FIRST}", place], check=True)


def _secrets(directory: str, names: list[str]) -> list[str]:
    """The names of what others may not read."""
    return [name for name in names if not os.lstat(Path(directory, name)).st_mode & 0o004]


# Inside


_libc = ctypes.CDLL(None, use_errno=True)


def _called(status: int, what: str) -> None:
    if status:
        number = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [word.encode() if word else None for word in (source, target, kind)]
    _called(_libc.mount(*words, flags, options.encode() or None), f"mount {target}")


def _bound(source: str, target: str, *, writable: bool = False) -> None:
    """Show a directory or a file at another place."""
    at = Path(target)
    if not os.path.lexists(at):
        if Path(source).is_dir():
            at.mkdir(parents=True)
        else:
            at.touch()
    _mount(source, target, flags=MS_BIND | MS_REC)
    if not writable:
        _mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _furnish(spec: Spec) -> None:
    """Put in what the room sees, while we are root and may look everywhere."""
    root = spec.root
    _mount("", "/", flags=MS_REC | MS_PRIVATE)
    _mount(root, root, flags=MS_BIND)
    for name in PROGRAMS:
        if not os.path.islink(f"{root}/{name}") and os.path.isdir(f"{root}/{name}"):
            _bound(f"/{name}", f"{root}/{name}")
    for place in spec.lent:
        _bound(place, root + place)
    for inside, outside in spec.volumes.items():
        _bound(outside, root + inside, writable=True)
    _mount("none", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in DEVICES:
        _bound(f"/dev/{name}", f"{root}/dev/{name}", writable=True)
    os.mkdir(f"{root}/dev/shm")
    _mount("none", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    if spec.strict:
        _mount("", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _become(spec: Spec) -> None:
    """The first process of the room, from here on; does not return."""
    _mount("proc", f"{spec.root}/proc", "proc", options="subset=pid" if spec.strict else "")
    os.chroot(spec.root)
    if not spec.online:
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    os.chdir(spec.directory)
    if spec.user:
        os.setgroups([])
        os.setgid(spec.user)
        os.setuid(spec.user)
    if spec.strict:
        _called(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
        _libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # a kernel before 6.3 does not know it
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o022)
    os.execvpe(spec.command[0], spec.command, spec.environment)


def _main(tell: int | None) -> int:
    """Run a `Spec`: its status. Whatever ends us ends all in it."""
    spec = Spec(**json.load(sys.stdin))
    _called(_libc.unshare(CLONE_NEWNS), "a namespace for mounts")
    _furnish(spec)
    ready, go = os.pipe(), os.pipe()
    keeper = os.fork()
    if keeper == 0:
        _called(_libc.unshare(CLONE_NEWUSER), "a namespace for users")
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os.setgroups([])
        os.setgid(0)
        os.setuid(0)
        apart = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
        apart |= 0 if spec.online else CLONE_NEWNET
        _called(_libc.unshare(apart), "namespaces")
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        first = os.fork()
        if first == 0:
            _become(spec)
        if tell is not None:
            os.write(tell, f"{first}\n".encode())
            os.close(tell)
        os._exit(_status_of(first))
    if tell is not None:
        os.close(tell)
    if os.read(ready[0], 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{keeper}/{name}").write_text(f"0 {FIRST} {USERS}\n")
        os.write(go[1], b"x")
    return _status_of(keeper)


def _status_of(pid: int) -> int:
    """The exit status of a child, once it ended; as a shell tells that of a signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]) if len(sys.argv) > 1 else None))
