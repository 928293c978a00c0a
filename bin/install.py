"""Make or refresh .venv: what bin/setup does once it has found a Python. Standard library only.

Two that run at once take turns. An installation that was interrupted is begun again: pip cannot
tell a half-installed package from a whole one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
VENV = TOP / ".venv"
PYTHON = VENV / "bin" / "python"
BEGUN = VENV / "begun"
"""There while an installation is under way, and after one that was interrupted."""
KINDS = ("runtime", "dev", "bench")
"""Each has all that the one before it has."""


def main(kind: str) -> int:
    if kind not in KINDS:
        tell(f"there is no {kind} to install, only {', '.join(KINDS)}")
        return 2
    if done(kind):
        print(PYTHON)
        return 0
    turn = os.open(TOP / ".venv.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("waiting for another installation")
        fcntl.flock(turn, fcntl.LOCK_EX)
    if not done(kind):
        install(kind)
    print(PYTHON)
    return 0


def done(kind: str) -> bool:
    """Whether this, or more, was installed from the files as they are now."""
    stamps = [VENV / f"installed-{each}" for each in KINDS[KINDS.index(kind) :]]
    return not BEGUN.exists() and any(
        stamp.exists() and stamp.read_text() == wanted(stamp.name.removeprefix("installed-"))
        for stamp in stamps
    )


def wanted(kind: str) -> str:
    """Changes with everything an installation depends on; also when the checkout was moved."""
    digest = hashlib.sha256(f"{TOP}\n".encode())
    locks = [lock(each) for each in KINDS[: KINDS.index(kind) + 1]]
    for path in (*locks, TOP / "setup.cfg", TOP / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def lock(kind: str) -> Path:
    return TOP / "requirements" / f"{kind}.txt"


def install(kind: str) -> None:
    if BEGUN.exists() or not works():
        tell("making .venv")
        remake()
    BEGUN.touch()
    tell(f"installing requirements/{kind}.txt; the first time takes a minute")
    lines = lock("runtime").read_text()
    # First of all what builds the rest: else pip would fetch some of it for each, without a hash.
    setuptools = re.search(r"^setuptools==.*(?:\n +--hash=.*)+", lines, re.MULTILINE)
    assert setuptools, "the lock has no setuptools"
    first = VENV / "first.txt"
    first.write_text(setuptools[0])
    pip("--require-hashes", "-r", str(first))
    first.unlink()
    pip("--require-hashes", "-r", str(lock(kind)))
    pip("--no-deps", "-e", str(TOP))
    (VENV / f"installed-{kind}").write_text(wanted(kind))
    BEGUN.unlink()


def works() -> bool:
    """Whether .venv is one of this place: its scripts name their Python by its path."""
    if not PYTHON.exists():
        return False
    ask = [str(PYTHON), "-c", "import pip, sys; print(sys.prefix)"]
    told = subprocess.run(ask, capture_output=True, text=True, check=False)
    return told.returncode == 0 and told.stdout.strip() == str(VENV)


def remake() -> None:
    """A new .venv, from the Python below the one that runs this, which may be in the old one."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    BEGUN.touch()
    subprocess.run([base, "-m", "venv", VENV], check=True, stdout=sys.stderr)


def pip(*arguments: str) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    options += ["--no-build-isolation", "--use-pep517"]
    subprocess.run(
        [PYTHON, "-m", "pip", "install", *options, *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PIP_USER"},
    )


def tell(line: str) -> None:
    print(f"warmdesk: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "runtime"))
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        tell(f"the installation failed in: {' '.join(map(str, error.cmd[1:4]))}; see above")
    except OSError as error:
        tell(f"the installation failed: {error.filename or ''} {error.strerror or error}")
    sys.exit(1)
