"""config/systemd/warmdesk.service is a unit that systemd takes, and lets the server do little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from warmdesk.cli import _parser
from warmdesk.config import load
from warmdesk.slots import WANTED_FILES
from warmdesk.supervisor import STOP_SECONDS
from warmdesk.worker import DRAIN_SECONDS

TOP = Path(__file__).parents[1]
UNIT = TOP / "config" / "systemd" / "warmdesk.service"
PROGRAM = "/opt/warmdesk/bin/warmdesk"


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def named(key: str) -> list[str]:
    """What the unit says under this key."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_its_exposure_is_what_the_documents_say(analyze: str) -> None:
    text = (TOP / "docs" / "operations.rst").read_text()
    (told,) = re.findall(r"gives it an exposure of ([\d.]+) of 10", text)
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr or "Unknown" in done.stderr:
        pytest.skip(f"this systemd-analyze judges no file: {done.stderr.strip()}")
    (found,) = re.findall(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    # Other releases of systemd weigh a little differently.
    assert abs(float(found) - float(told)) <= 0.3, done.stdout


def test_systemd_takes_it(analyze: str, tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not ours, done.stderr

    unit.write_text(unit.read_text().replace("LimitNOFILE=", "LimitNofile="))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "LimitNofile" in done.stderr


def test_it_does_what_the_server_needs() -> None:
    (command,) = named("ExecStart")
    program, *arguments = command.split()
    assert program == PROGRAM
    assert _parser(arguments[0]).parse_args(arguments).run.__module__.endswith(".serve")
    assert named("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert named("Restart") == ["always"]
    assert named("StartLimitIntervalSec") == ["0"]
    # The supervisor tells its workers, and replaces one that the kernel ended.
    assert (named("KillMode"), named("OOMPolicy")) == (["mixed"], ["continue"])
    assert float(named("TimeoutStopSec")[0]) > DRAIN_SECONDS + STOP_SECONDS
    assert int(named("LimitNOFILE")[0]) >= WANTED_FILES


def test_its_settings_are_settings(tmp_path: Path) -> None:
    environment = dict(each.split("=", 1) for each in named("Environment"))
    assert environment.pop("WARMDESK_CONFIG").startswith("/etc/warmdesk/")
    settings = load(None, environment)
    (state,) = named("StateDirectory")
    assert settings.data_dir == Path("/var/lib") / state
    assert named("StateDirectoryMode") == ["0700"]
