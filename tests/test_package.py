"""What is installed is what is in the checkout: no package and no file is forgotten."""

from __future__ import annotations

import configparser
import fnmatch
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(TOP / "setup.cfg")


def listed(section: str, key: str) -> list[str]:
    lines = SETUP[section][key].splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def folders() -> dict[str, Path]:
    """Every package by its name, with the folder it is made of."""
    elsewhere = dict(re.split(r"\s*=\s*", line) for line in listed("options", "package_dir"))
    found = {
        ".".join(init.parent.relative_to(TOP).parts): init.parent
        for init in TOP.glob("warmdesk/**/__init__.py")
    }
    for name, folder in elsewhere.items():
        for init in TOP.glob(f"{folder}/**/__init__.py"):
            inner = init.parent.relative_to(TOP / folder).parts
            found[".".join((name, *inner))] = init.parent
    return found


def test_every_package_is_installed() -> None:
    assert sorted(listed("options", "packages")) == sorted(folders())


def test_every_folder_with_python_is_a_package() -> None:
    for folder in {file.parent for file in TOP.glob("warmdesk/**/*.py")}:
        assert (folder / "__init__.py").exists(), folder


def test_every_file_beside_the_python_is_installed() -> None:
    for name, folder in folders().items():
        patterns = SETUP["options.package_data"].get(name, "").split()
        for file in folder.iterdir():
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                assert any(fnmatch.fnmatch(file.name, each) for each in patterns), file


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.txt", [("options", "install_requires")]),
        (
            "requirements-dev.txt",
            [("options", "install_requires"), ("options.extras_require", "dev")],
        ),
        (
            "requirements-bench.txt",
            [
                ("options", "install_requires"),
                ("options.extras_require", "dev"),
                ("options.extras_require", "bench"),
            ],
        ),
    ],
)
def test_the_lock_has_what_is_asked_for_and_only_with_hashes(
    lock: str, wanted: list[tuple[str, str]]
) -> None:
    text = (TOP / lock).read_text()
    locked = re.findall(r"^([\w.-]+)==(\S+).*\\\n +--hash=sha256:", text, re.MULTILINE)
    known = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in locked}

    assert len(locked) == len(re.findall(r"^\w", text, re.MULTILINE))
    for section, key in wanted:
        for line in listed(section, key):
            name, version = re.sub(r"\[.*?\]|;.*", "", line).strip().split("==")
            assert (re.sub(r"[-_.]+", "-", name).lower(), version) in known, line


def test_the_lock_builds_with_the_setuptools_that_it_installs() -> None:
    (needed,) = re.findall(
        r'requires = \["(setuptools==[\d.]+)"\]', (TOP / "pyproject.toml").read_text()
    )

    for lock in ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt"):
        assert f"\n{needed} \\\n" in (TOP / lock).read_text()


def test_what_is_installed_with_more_is_the_same_as_with_less() -> None:
    pins = [
        set(re.findall(r"^\w\S*==\S+", (TOP / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt")
    ]

    assert all(pins)
    assert pins[0] <= pins[1] <= pins[2]
