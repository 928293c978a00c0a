"""What all commands share: settings and servers, exit statuses, answers for people and programs."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from warmdesk.auth.addresses import Origin
from warmdesk.config import FILE_VARIABLE, ConfigError, Settings, load, variable
from warmdesk.log import say, start_logging

OF_SERVE = ("host", "port", "workers")
"""Settings that are options of ``serve`` too; the data directory is one of every command."""
HERE = Origin(ip="", user_agent="warmdesk command line")


class Status(IntEnum):
    """How a command ended, as its exit status."""

    DONE = 0
    FAILED = 1
    MISTAKE = 2
    SETTINGS = 3
    SERVERS = 4
    INTERRUPTED = 130
    READER_GONE = 141


MEANINGS = {
    Status.DONE: "It did what it was told.",
    Status.FAILED: "It could not, or found something that is wrong.",
    Status.MISTAKE: "A mistake on the command line or in what was typed.",
    Status.SETTINGS: "The settings, or a file that they name, cannot be.",
    Status.SERVERS: "PostgreSQL or Redis is away, or refuses.",
    Status.INTERRUPTED: "It was interrupted by Ctrl-C.",
    Status.READER_GONE: "Who read its output went away.",
}
"""What docs/operations.rst says of each status."""


class Failed(Exception):
    """It could not be done; the message says why."""


class Mistake(Exception):
    """The command line or the input is wrong; the message says why."""


def settings_of(wanted: argparse.Namespace, *, log_format: str = "text") -> Settings:
    """The settings, read; from here on what is logged is in their form. While they are read it is
    in `log_format`. Raises `ConfigError`, and `Mistake` when an option is wrong.
    """
    file = wanted.config or os.environ.get(FILE_VARIABLE)
    options = {name: getattr(wanted, name, None) for name in ("data_dir", *OF_SERVE)}
    if "json" in (log_format, os.environ.get(variable("log_format"))):
        start_logging("info", "json")  # a setting that cannot be is told in JSON too
    try:
        settings = load(Path(file) if file else None, os.environ, options)
    except ConfigError as error:
        if str(error).startswith("--"):
            raise Mistake(str(error)) from None
        raise
    return going_by(settings)


def going_by(settings: Settings) -> Settings:
    """The same; from here on this process logs and writes as they say."""
    start_logging(settings.log_level, settings.log_format)
    os.umask(0o077)
    return settings


@contextmanager
def reached(
    wanted: argparse.Namespace,
    *,
    migrated: bool = False,
    made: bool = False,
    first: Callable[[Settings], None] | None = None,
) -> Iterator[Settings]:
    """Settings whose URLs answer: those of a server that runs, or of embedded ones for a moment.

    A database of our own is migrated first, another one only when `migrated` says so. With `made`
    it must be there: a wrong data directory would else get one that is empty and without a fault.
    What is done `first` is done before anything is changed.
    """
    from warmdesk import server

    settings = settings_of(wanted)
    if made and not settings.database_url and not (settings.data_dir / "postgres").exists():
        raise Failed(
            f"there is no database in {settings.data_dir}; set WARMDESK_DATA_DIR or"
            " WARMDESK_DATABASE_URL to what the server has"
        )
    if first is not None:
        first(settings)
    try:
        with server.data_lock(settings), server.embedded(settings) as (_, whole):
            if migrated or not settings.database_url:
                server.prepare_database(whole, say=aside)
            yield whole
            return
    except server.DataInUse:
        whole = server.reached(settings)
    if migrated:
        server.prepare_database(whole, say=aside)
    yield whole


def aside(line: str) -> None:
    """Progress, away from what a command prints for programs."""
    say(line, aside=True)


def answer(wanted: argparse.Namespace, text: str, content: Any) -> None:
    """Print what came of it: the text, or with ``--json`` the content in one line."""
    print(json.dumps(content, ensure_ascii=False) if wanted.json else text)


def converted(content: Any, kind: type[msgspec.Struct]) -> Any:
    """What was typed as a body of the API. Raises 400 with the sentences for its fields."""
    from warmdesk.errors import fields_error
    from warmdesk.validation import Form

    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise fields_error(Form(kind).faults_in_texts(content, error)) from None


def secret(what: str) -> str:
    """A secret: asked for twice on a terminal, else the first line of the input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    typed = getpass.getpass(f"{what}: ")
    if getpass.getpass("Once more: ") != typed:
        raise Mistake("the two differ")
    return typed
