"""What is installed is what is in the checkout: no package and no file is forgotten."""

from __future__ import annotations

import configparser
import fnmatch
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
LOCKS = TOP / "requirements"
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


def locked(*kinds: str) -> list[tuple[str, str]]:
    """Name and version of each package that these locks have with a hash."""
    found = []
    for kind in kinds:
        text = (LOCKS / f"{kind}.txt").read_text()
        pins = re.findall(r"^([\w.-]+)==(\S+).*\\\n +--hash=sha256:", text, re.MULTILINE)
        assert len(pins) == len(re.findall(r"^\w", text, re.MULTILINE)), kind
        found += [(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in pins]
    return found


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        (["runtime"], ("options", "install_requires")),
        (["runtime", "dev"], ("options.extras_require", "dev")),
        (["runtime", "dev", "bench"], ("options.extras_require", "bench")),
    ],
)
def test_the_locks_have_what_is_asked_for_and_only_with_hashes(
    kinds: list[str], wanted: tuple[str, str]
) -> None:
    known = locked(*kinds)
    for line in listed(*wanted):
        name, version = re.sub(r"\[.*?\]|;.*", "", line).strip().split("==")
        assert (re.sub(r"[-_.]+", "-", name).lower(), version) in known, line


def test_the_lock_builds_with_the_setuptools_that_it_installs() -> None:
    (needed,) = re.findall(
        r'requires = \["setuptools==([\d.]+)"\]', (TOP / "pyproject.toml").read_text()
    )

    assert ("setuptools", needed) in locked("runtime")


def test_what_is_installed_with_more_is_what_is_installed_with_less_and_more() -> None:
    for kind, less in (("dev", "runtime"), ("bench", "dev")):
        assert f"\n-r {less}.txt\n" in (LOCKS / f"{kind}.txt").read_text()


def test_each_package_is_locked_in_one_place() -> None:
    places = [{name for name, _ in locked(kind)} for kind in ("runtime", "dev", "bench")]

    assert sum(map(len, places)) == len(set.union(*places))
