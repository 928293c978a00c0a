"""Make the locks anew: what bin/lock does once it has `uv`, whose path is the argument.

Each package stands once, in the lock of those who need least: dev.txt refers to runtime.txt, and
bench.txt to dev.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
LOCKS = TOP / "requirements"
ABOUT = {
    "runtime": "# What WarmDesk runs with, and setuptools, which builds it. Made by bin/lock.\n",
    "dev": "# The tools and tests. Made by bin/lock.\n-r runtime.txt\n",
    "bench": "# Whom bin/bench compares WarmDesk with. Made by bin/lock.\n-r dev.txt\n",
}
EXTRAS = {"runtime": [], "dev": ["dev"], "bench": ["dev", "bench"]}
PIN = re.compile(r"^([\w.-]+)(?:\[\S*\])?==.*\\\n(?: +--hash=\S+(?: \\)?\n)+", re.MULTILINE)


def main(uv: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        setuptools = re.findall(r"setuptools==[\d.]+", (TOP / "pyproject.toml").read_text())
        (scratch / "build.in").write_text("\n".join(setuptools))
        locked = "".join(pins_of(path.read_text()) for path in sorted(LOCKS.glob("*.txt")))
        found = {
            kind: pins(compiled(uv, scratch, extras, locked)) for kind, extras in EXTRAS.items()
        }
    everything = found["bench"]
    done: set[str] = set()
    for kind, names in found.items():
        # A package may be needed on more platforms by more: the widest of its lines has them all.
        text = "".join(everything[name] for name in names if name not in done)
        (LOCKS / f"{kind}.txt").write_text(ABOUT[kind] + text)
        done |= set(names)
    return 0


def compiled(uv: str, scratch: Path, extras: list[str], locked: str) -> str:
    """The lock of everything that these extras need."""
    path = scratch / "lock.txt"
    path.write_text(locked)  # uv keeps what it finds there
    subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
            *("--python-version", "3.11", "--no-header", "--no-annotate"),
            *(f"--extra={extra}" for extra in extras),
            *(str(TOP / "setup.cfg"), str(scratch / "build.in"), "-o", str(path)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path.read_text()


def pins(text: str) -> dict[str, str]:
    """The lines of each package, by its name; one may have several, for several platforms."""
    found: dict[str, str] = {}
    for match in PIN.finditer(text):
        found[match[1]] = found.get(match[1], "") + match[0]
    return found


def pins_of(text: str) -> str:
    return "".join(pins(text).values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
