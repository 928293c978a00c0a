"""bin/setup finds a Python that will do, or says which it found and how to get one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout without .venv, and a PATH with nothing but a shell's own tools."""
    (tmp_path / "desk" / "bin").mkdir(parents=True)
    (tmp_path / "path").mkdir()
    shutil.copy(HOME / "bin" / "setup", tmp_path / "desk" / "bin")
    (tmp_path / "desk" / "bin" / "install.py").write_text("")
    for tool in ("sh", "dirname", "sed"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "path" / tool).symlink_to(found)
    return tmp_path


def put(machine: Path, name: str, version: str, *, fits: bool) -> None:
    """A Python of this name: it says its version, and whether it would do."""
    program = machine / "path" / name
    program.write_text(
        "#!/bin/sh\n"
        'case "${2:-}" in\n'
        f"*ensurepip*) exit {0 if fits else 1} ;;\n"
        f'*print*) echo "{version}" ;;\n'
        f'*) echo "{name} installs" ;;\n'
        "esac\n"
    )
    program.chmod(0o755)


def setup(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(machine / "desk" / "bin" / "setup")],
        env={"PATH": str(machine / "path")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["python3.14", "python3.11", "python3"])
def test_any_python_that_will_do_is_taken(machine: Path, name: str) -> None:
    put(machine, "python3" if name != "python3" else "python3.12", "3.10", fits=False)
    put(machine, name, "3.14", fits=True)

    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{name} installs\n"


def test_a_python_that_will_not_do_is_named_with_a_cure(machine: Path) -> None:
    put(machine, "python3", "3.10", fits=False)
    put(machine, "python3.12", "3.12", fits=False)

    done = setup(machine)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "found: python3.12 is 3.12 without its venv module, python3 is 3.10." in line
    assert "On Ubuntu 22.04: add-apt-repository ppa:deadsnakes/ppa && apt install" in line


def test_a_machine_without_python_is_told_so(machine: Path) -> None:
    done = setup(machine)
    assert done.returncode == 1
    assert "found: none." in done.stderr
    assert len(done.stderr.splitlines()) == 1
