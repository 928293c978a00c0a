"""The command line: ``warmdesk serve``, and what an operator does beside it.

Every command finds the database by itself: the one in the settings, the embedded one of the server
that runs, or the embedded one started for the moment. A failure is one sentence on stderr, and its
kind is the exit status. The commands are in ``commands/``, a file each.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import asyncpg

from warmdesk.commands import NAMES, command
from warmdesk.commands.shared import Failed, Mistake, Status
from warmdesk.commands.version import named
from warmdesk.config import ConfigError, Explained, explained
from warmdesk.log import is_json, say

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; its exit status is the process's."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        wanted = _parser(given[0] if given else "").parse_args(given)
        sys.exit(wanted.run(wanted))
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Status.READER_GONE)
    except Exception as error:
        told = _told(error)
        if told is None and not is_json():
            raise
        if told is None:
            log.error("command.failed", exc_info=error)
            sys.exit(Status.FAILED)
        status, sentence = told
        words = " ".join(sentence.split())
        line = "".join(letter if letter.isprintable() else "?" for letter in words)
        say(f"warmdesk: {line}", aside=True, level=logging.ERROR)
        sys.exit(status)


class Parser(argparse.ArgumentParser):
    """One that tells a mistake as all commands tell what is wrong: in a line."""

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{message}; see {self.prog} --help")


def _parser(first: str) -> Parser:
    """Reads the command line. When the first word is a command, it knows that one alone."""
    settings = explained()
    common = Parser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="settings instead of config/warmdesk.toml"
    )
    common.add_argument(
        "--data-dir",
        type=lambda given: Path(given).absolute(),
        metavar="DIR",
        help=next(each.sentence for each in settings if each.name == "data_dir"),
    )
    parser = Parser(
        prog="warmdesk",
        description="The real-time server for a team's boards and talk.",
        epilog=_settings_page(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=named())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in (first,) if first in NAMES else NAMES:
        module = command(name)
        words = (module.__doc__ or "").strip()
        made = commands.add_parser(
            name,
            parents=[common],
            help=" ".join(words.split("\n\n")[0].split()).rstrip("."),
            description=words,
            epilog=f"For example:\n\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if getattr(module, "JSON", False):
            made.add_argument("--json", action="store_true", help="print JSON, for programs")
        if hasattr(module, "arguments"):
            module.arguments(made)
        made.set_defaults(run=module.run)
    return parser


def _told(error: Exception) -> tuple[Status, str] | None:
    """The kind of a failure and the sentence for the operator, or None when it is a fault of ours
    and the traceback is wanted.
    """
    if isinstance(error, Mistake):
        return Status.MISTAKE, str(error)
    if isinstance(error, ConfigError):
        return Status.SETTINGS, str(error)

    from warmdesk.db.migrations import MigrationError  # what a mistake need not wait for
    from warmdesk.db.pool import BROKEN
    from warmdesk.embedded import EmbeddedError
    from warmdesk.errors import WarmDeskError
    from warmdesk.listeners import NotUsable, StartError
    from warmdesk.server import reason

    if isinstance(error, EmbeddedError | NotUsable):
        return Status.SERVERS, str(error)
    if isinstance(error, Failed | StartError | MigrationError):
        return Status.FAILED, str(error)
    if isinstance(error, WarmDeskError):
        return Status.MISTAKE if error.status == 400 else Status.FAILED, error.message
    if isinstance(error, (*BROKEN, asyncpg.PostgresError)):
        return Status.SERVERS, f"the database or Redis cannot be used: {reason(error)}"
    return None


def _settings_page(settings: list[Explained]) -> str:
    """Every setting with its default, for ``--help``."""
    lines = [
        "Settings stand in config/warmdesk.toml or in the environment, which wins: port is",
        "WARMDESK_PORT, and so on. Each with its default:",
    ]
    for name, default, sentence in settings:
        lines += ["", f"  {name} = {default}"]
        lines += textwrap.wrap(sentence, 90, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
