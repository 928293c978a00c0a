"""The command line: ``warmdesk serve``, and what an operator does beside it.

Every command finds the database by itself: the one in the settings, the embedded one of the server
that runs, or the embedded one started for the moment. A failure is one sentence and exit status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import asyncpg
import msgspec

import warmdesk
from warmdesk.auth.addresses import Origin
from warmdesk.config import (
    FILE_VARIABLE,
    ConfigError,
    Explained,
    Settings,
    explained,
    load,
    variable,
)
from warmdesk.log import is_json, say, start_logging

FOLLOW_SECONDS = 0.25
"""How often a followed feed is read: it works without Redis, and nobody waits for a terminal."""
OF_SERVE = ("host", "port", "workers")
"""Settings that are options of ``serve`` too; the data directory is one of every command."""
HERE = Origin(ip="", user_agent="warmdesk command line")

log = logging.getLogger(__name__)


class WrongInput(Exception):
    """The input is wrong; the message says why."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; its exit status is the process's."""
    wanted = _parser().parse_args(arguments)
    try:
        sys.exit(wanted.run(wanted))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None and not is_json():
            raise
        if sentence is None:
            log.error("command.failed", exc_info=error)
        else:
            say(f"warmdesk: {sentence}", aside=True, level=logging.ERROR)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    settings = explained()
    sentences = {each.name: each.sentence for each in settings}
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="settings instead of config/warmdesk.toml"
    )
    common.add_argument(
        "--data-dir",
        type=lambda given: Path(given).absolute(),
        metavar="DIR",
        help=sentences["data_dir"],
    )
    parser = argparse.ArgumentParser(
        prog="warmdesk",
        description="The real-time server for a team's boards and talk.",
        epilog=_settings_page(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        words = (run.__doc__ or "").split("\n", maxsplit=1)[0].rstrip(".")
        made = commands.add_parser(name, parents=[common], help=words, description=run.__doc__)
        made.set_defaults(run=run)
        return made

    serving = command("serve", serve)
    for name in OF_SERVE:
        serving.add_argument(f"--{name}", help=sentences[name])
    command("migrate", migrate)
    create = command("create-user", create_user)
    create.add_argument("username")
    create.add_argument("email")
    create.add_argument("--admin", action="store_true", help="as a global administrator")
    reset = command("reset-password", reset_password)
    reset.add_argument("username", help="or e-mail address")
    reset.add_argument("--disable-mfa", action="store_true", help="turn the second factor off, too")
    command("accept-secrets", accept_secrets)
    command("check", check)
    command("openapi", openapi)
    events = command("events", events_of)
    events.add_argument("channel", help="project:42, user:7, or a project's slug")
    events.add_argument("--since", type=int, metavar="SEQ", help="begin after this one, not now")
    command("version", version)
    return parser


def _sentence(error: Exception) -> str | None:
    """The sentence for the operator, or None when it is a fault of ours and the traceback is
    wanted.
    """
    from warmdesk.db.migrations import MigrationError
    from warmdesk.db.pool import BROKEN
    from warmdesk.embedded import EmbeddedError
    from warmdesk.errors import WarmDeskError
    from warmdesk.listeners import StartError
    from warmdesk.server import reason

    if isinstance(error, ConfigError | WrongInput | StartError | EmbeddedError | MigrationError):
        return str(error)
    if isinstance(error, WarmDeskError):
        return error.message
    if isinstance(error, (*BROKEN, asyncpg.PostgresError)):
        return f"the database or Redis cannot be used: {reason(error)}"
    return None


def _settings(
    wanted: argparse.Namespace, known: Settings | None = None, *, log_format: str = "text"
) -> Settings:
    """The settings, read or `known`; from here on what is logged is in their form. While they are
    read it is in `log_format`.
    """
    settings = known or _read_settings(wanted, log_format)
    start_logging(settings.log_level, settings.log_format)
    os.umask(0o077)
    return settings


def _read_settings(wanted: argparse.Namespace, log_format: str) -> Settings:
    file = wanted.config or os.environ.get(FILE_VARIABLE)
    options = {name: getattr(wanted, name, None) for name in ("data_dir", *OF_SERVE)}
    if "json" in (log_format, os.environ.get(variable("log_format"))):
        start_logging("info", "json")  # a setting that cannot be is told in JSON too
    return load(Path(file) if file else None, os.environ, options)


@contextmanager
def _reached(
    wanted: argparse.Namespace, *, migrated: bool = False, made: bool = False
) -> Iterator[Settings]:
    """Settings whose URLs answer: those of a server that runs, or of embedded ones for a moment.

    A database of our own is migrated first, another one only when `migrated` says so. With `made`
    it must be there: a wrong data directory would else get one that is empty and without a fault.
    """
    from warmdesk.server import DataInUse, data_lock, embedded, prepare_database, reached

    settings = _settings(wanted)
    if made and not settings.database_url and not (settings.data_dir / "postgres").exists():
        raise WrongInput(
            f"there is no database in {settings.data_dir}; set WARMDESK_DATA_DIR or"
            " WARMDESK_DATABASE_URL to what the server has"
        )
    try:
        with data_lock(settings), embedded(settings) as (_, whole):
            if migrated or not settings.database_url:
                prepare_database(whole, say=_aside)
            yield whole
            return
    except DataInUse:
        pass
    yield reached(settings)


def _aside(line: str) -> None:
    """Progress, away from what a command prints for programs."""
    say(line, aside=True)


def serve(wanted: argparse.Namespace) -> int:
    """Set everything up and serve until SIGTERM or SIGINT. On SIGHUP read settings and program
    anew.
    """
    from warmdesk.reload import inherited, postpone
    from warmdesk.server import rehearse
    from warmdesk.server import serve as run

    left = inherited()
    if left and left.rehearsal:
        rehearse(_settings(wanted, log_format=left.log_format), left)
    else:
        postpone()
        run(_settings(wanted, left.rehearsed() if left else None), left)
    return 0


def migrate(wanted: argparse.Namespace) -> int:
    """Bring the database's schema up to this program."""
    with _reached(wanted, migrated=True):
        print("The schema is up to date.")
    return 0


def create_user(wanted: argparse.Namespace) -> int:
    """Create an account; its password is asked for, or is the first line of the input."""
    from warmdesk.auth import passwords
    from warmdesk.changes import accounts
    from warmdesk.changes.audit import audit
    from warmdesk.db.queries import sql
    from warmdesk.desk import open_desk
    from warmdesk.errors import fields_error
    from warmdesk.realtime.change import Change, ChangeContext
    from warmdesk.schemas.settings import new_account
    from warmdesk.schemas.users import CreateUser
    from warmdesk.validation import Form

    fields = {"username": wanted.username, "email": wanted.email, "password": _password()}
    try:
        body = msgspec.convert(fields, CreateUser)
    except msgspec.ValidationError as error:
        raise fields_error(Form(CreateUser).faults_in_texts(fields, error)) from None

    async def create(settings: Settings) -> None:
        password_hash = await passwords.hash_password(body.password)

        async def work(change: Change) -> None:
            await sql.auth.lock_admins(change.connection)
            is_first = await sql.auth.nobody_yet(change.connection)
            with accounts.unique_names():
                row = await sql.users.create(
                    change.connection,
                    email=body.email,
                    username=body.username,
                    password_hash=password_hash,
                    first_name="",
                    last_name="",
                    display_name="",
                    **new_account(desk.system.values),
                    global_role="admin" if wanted.admin or is_first else "user",
                    is_active=True,
                    must_change_password=False,
                )
            await accounts.note_login(change, "admin_user_created", HERE, user_id=row["id"])
            role = "admin" if wanted.admin or is_first else "user"
            await audit(change, "user.created", row["id"], after={"global_role": role})

        async with open_desk(settings) as desk:
            await desk.changes.run(ChangeContext(None), work)

    with _reached(wanted) as settings:
        asyncio.run(create(settings))
    print(f"{body.username} was created.")
    return 0


def reset_password(wanted: argparse.Namespace) -> int:
    """Give an account a new password, as with create-user, and end its sessions."""
    from warmdesk.auth import passwords
    from warmdesk.changes import accounts, factors
    from warmdesk.changes.audit import audit
    from warmdesk.db.queries import sql
    from warmdesk.desk import open_desk
    from warmdesk.realtime.change import Change, ChangeContext, Held
    from warmdesk.realtime.channels import user_channel
    from warmdesk.realtime.entities import entity
    from warmdesk.realtime.events import USER_UPDATED
    from warmdesk.schemas.users import Password
    from warmdesk.validation import sentence

    try:
        password = msgspec.convert(_password(), Password)
    except msgspec.ValidationError as error:
        raise WrongInput(f"password: {sentence(Password, error)}") from None

    async def reset(settings: Settings) -> None:
        new_hash = await passwords.hash_password(password)
        async with open_desk(settings) as desk:
            found = await sql.auth.by_login(
                desk.database, login=wanted.username, ip=HERE.ip, near=HERE.ip, recent=timedelta()
            )
            user_id = found["id"]
            if user_id is None:
                raise WrongInput(f"there is no account {wanted.username}")

            async def work(change: Change) -> None:
                await sql.users.lock(change.connection, user_id=user_id)
                after = await sql.users.change(
                    change.connection,
                    user_id=user_id,
                    fields=json.dumps({}),
                    settings=False,
                    new_hash=new_hash,
                )
                if wanted.disable_mfa and (off := await factors.disable(change, user_id)):
                    after = off
                    await accounts.note_login(change, "admin_mfa_disabled", HERE, user_id=user_id)
                    await audit(change, "user.mfa_disabled", user_id)
                await accounts.end_sessions(change, user_id)
                await accounts.note_login(change, "password_reset", HERE, user_id=user_id)
                await audit(change, "user.password_reset", user_id)
                change.emit(
                    user_channel(user_id),
                    USER_UPDATED,
                    Held(after["me"]),
                    entity=entity("user", user_id),
                )

            await desk.changes.run(ChangeContext(None), work)

    with _reached(wanted) as settings:
        asyncio.run(reset(settings))
    print(f"{wanted.username} has a new password; all sessions ended.")
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise WrongInput("the two passwords differ")
    return password


def accept_secrets(wanted: argparse.Namespace) -> int:
    """Make this host's secrets the ones with which hosts may start; restart the others then."""
    from warmdesk.db import installation
    from warmdesk.db.dial import connect

    async def accept(settings: Settings) -> None:
        connection = await connect(settings.database_url, timeout=10)
        try:
            await installation.accept_secrets(connection, settings)
        finally:
            await connection.close()

    with _reached(wanted) as settings:
        asyncio.run(accept(settings))
    print("Hosts start with the secrets of this one from now on; restart those that run.")
    return 0


def check(wanted: argparse.Namespace) -> int:
    """Look for what must not be: holes in feeds, equal positions, miscounts, orphans; 1 if any."""
    from warmdesk.db.dial import connect
    from warmdesk.db.queries import sql

    async def look(settings: Settings) -> list[str]:
        connection = await connect(settings.database_url, timeout=10)
        try:
            # One snapshot: with a server at work, parts read at different times would not fit.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [row["fault"] for row in await sql.server.faults(connection)]
        finally:
            await connection.close()

    with _reached(wanted, made=True) as settings:
        faults = asyncio.run(look(settings))
    print("\n".join(faults) or "Everything is as it must be.")
    return 1 if faults else 0


def openapi(wanted: argparse.Namespace) -> int:
    """Print the API's description, an OpenAPI 3.0.3 document."""
    from warmdesk.app import resources
    from warmdesk.openapi.document import document

    print(json.dumps(document(resources()), indent=2, ensure_ascii=False))
    return 0


def events_of(wanted: argparse.Namespace) -> int:
    """Follow a channel's events, one JSON object a line, until interrupted."""
    from warmdesk.db.dial import connect
    from warmdesk.db.queries import sql
    from warmdesk.realtime import feed

    async def follow(settings: Settings) -> None:
        connection = await connect(settings.database_url, timeout=10)
        try:
            channel = wanted.channel
            if ":" not in channel and channel != "control":
                channel = await sql.server.channel_of(connection, slug=channel)
            _, heads = await feed.heads(connection, [channel])
            seen = heads[channel].seq if wanted.since is None else wanted.since
            while True:
                page = await feed.after(connection, channel, seen)
                if page.oldest - 1 > seen:
                    _aside(f"warmdesk: events up to {page.oldest - 1} are no longer kept")
                    seen = page.oldest - 1
                if page.seq < seen:
                    # As after a restore: those that come are new, whatever their numbers.
                    _aside(f"warmdesk: there are events up to {page.seq} only")
                    seen = page.seq
                for entry in page.entries:
                    print(entry.body.decode(), flush=True)
                    seen = entry.seq
                if not page.entries:
                    await asyncio.sleep(FOLLOW_SECONDS)
        finally:
            await connection.close()

    with _reached(wanted) as settings:
        asyncio.run(follow(settings))
    return 0


def version(wanted: argparse.Namespace) -> int:
    """Print the version."""
    print(_version())
    return 0


def _version() -> str:
    return f"WarmDesk {warmdesk.__version__} on Python {sys.version.split()[0]}"


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
