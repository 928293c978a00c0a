"""Print the version."""

from __future__ import annotations

import argparse
import platform

import warmdesk
from warmdesk.commands.shared import Status, answer

EXAMPLE = "warmdesk version --json"
JSON = True


def named() -> str:
    return f"WarmDesk {warmdesk.__version__} on Python {platform.python_version()}"


def run(wanted: argparse.Namespace) -> int:
    python = platform.python_version()
    answer(wanted, named(), {"version": warmdesk.__version__, "python": python})
    return Status.DONE
