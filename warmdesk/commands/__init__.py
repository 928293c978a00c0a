"""What ``warmdesk`` can be told to do, a file for each command.

A command's file is its help: the docstring, of which the list of commands shows the first sentence,
and `EXAMPLE`, which a test runs as it stands. `run` carries it out and gives the exit status;
`arguments` declares what may follow its name; with `JSON` there is ``--json`` too, and it answers
by `shared.answer`. What all of them share is in ``shared.py``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = (
    "serve",
    "migrate",
    "create-user",
    "reset-password",
    "set",
    "accept-secrets",
    "check",
    "doctor",
    "backup",
    "restore",
    "demo",
    "openapi",
    "events",
    "version",
)
"""All commands, in the order of the help."""


def command(name: str) -> ModuleType:
    """The file of a command. Only that of the command that runs is read, and what it needs."""
    return importlib.import_module(f"warmdesk.commands.{name.replace('-', '_')}")
