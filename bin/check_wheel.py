"""Whether the wheel that was installed in a scratch venv holds what the checkout has.

The venv borrows its dependencies from the venv that runs this; the package itself must come from
the wheel.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
FOLDERS = {
    "warmdesk": TOP / "warmdesk",
    "warmdesk/sql": TOP / "sql",
    "warmdesk/config_files": TOP / "config",
}


def main(scratch: Path) -> int:
    (site,) = (scratch / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    missing = [
        f"{folder}/{file.relative_to(source)}"
        for folder, source in FOLDERS.items()
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
        if not (site / folder / file.relative_to(source)).exists()
    ]
    if missing:
        print("not in the wheel:", *missing, sep="\n  ")
        return 1
    ask = [str(scratch / "bin" / "warmdesk"), "version"]
    run = subprocess.run(ask, capture_output=True, text=True, cwd="/", check=False)
    print(run.stdout + run.stderr, end="")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
