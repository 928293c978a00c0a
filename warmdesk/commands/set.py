"""Show or change the system settings, which administrators change over the API too.

Without VALUE the setting is shown, without KEY all of them. A change is effective in every worker
of every host within two seconds. VALUE "-" is read from the input, or asked for on a terminal, as
secrets must be: what stands on a command line others can read.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import sys
from typing import Any

import msgspec

from warmdesk.changes.settings import changed
from warmdesk.commands.shared import Mistake, Status, answer, reached, secret
from warmdesk.config import ON_OFF, Settings
from warmdesk.desk import Desk, open_desk
from warmdesk.errors import fields_error
from warmdesk.realtime.change import Change, ChangeContext
from warmdesk.schemas.settings import (
    FIELDS,
    SECRET_SETTINGS,
    SystemSettings,
    default_of,
    faults,
    sentence_of,
    shown,
)
from warmdesk.validation import sentence

EXAMPLE = "warmdesk set registration_enabled off"
JSON = True
INPUT = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help="a setting, like company_name")
    parser.add_argument("value", nargs="?", metavar="VALUE", help="what it should be")
    parser.add_argument("--default", action="store_true", help="what it was when it was new")


def run(wanted: argparse.Namespace) -> int:
    key = wanted.key
    if key is not None and key not in FIELDS:
        near = difflib.get_close_matches(key, FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else "; warmdesk set shows them all"
        raise Mistake(f"{key} is not a system setting{hint}")
    changing = wanted.value is not None or wanted.default
    if changing and (key is None or (wanted.value is not None and wanted.default)):
        raise Mistake("--default goes with a KEY and no VALUE; see warmdesk set --help")
    fields: dict[str, Any] = {}
    if changing:
        fields = {key: None if wanted.default else _typed(key, wanted.value)}
    with reached(wanted) as settings:
        values = asyncio.run(_set(settings, fields))
    names = list(FIELDS) if key is None else [key]
    told = shown(values)
    answer(
        wanted,
        "\n".join(_line(name, values, explained=key is not None) for name in names),
        {name: told[name] for name in map(_public, names)},
    )
    return Status.DONE


def _typed(key: str, value: str) -> Any:
    """The value that was typed, as the setting's type wants it."""
    if key in SECRET_SETTINGS:
        if value not in ("", INPUT):
            raise Mistake(f'{key} is a secret: write "-", and it is asked for or read as input')
        value = value and secret(key)
    elif value == INPUT:
        value = sys.stdin.read().removesuffix("\n")
    kind = FIELDS[key].type
    is_switch = isinstance(FIELDS[key].default, bool)
    try:
        text = ON_OFF.get(value.lower(), value) if is_switch else value
        typed = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        said = "must be on or off" if is_switch else sentence(kind, error)
        raise Mistake(f"{key}: {said}") from None
    if found := faults({key: typed}):
        raise fields_error(found)
    return typed


async def _set(settings: Settings, fields: dict[str, Any]) -> SystemSettings:
    """Write what there is to write; gives all settings."""
    async with open_desk(settings) as desk:
        return await _write(desk, fields) if fields else desk.system.values


async def _write(desk: Desk, fields: dict[str, Any]) -> SystemSettings:
    async def work(change: Change) -> SystemSettings:
        values, _ = await changed(change, desk.system, fields)
        return values

    return await desk.changes.run(ChangeContext(None), work)


def _line(name: str, values: SystemSettings, *, explained: bool) -> str:
    value = getattr(values, name)
    if name in SECRET_SETTINGS:
        said = "(set)" if value else "(empty)"
    elif isinstance(value, bool):
        said = "on" if value else "off"
    else:
        said = str(value).replace("\n", ", ") or "(empty)"
    line = f"{name} = {said}"
    if explained:
        line += f"\n  {sentence_of(name).replace('`', '')} Its default: {default_of(name)}."
    return line


def _public(name: str) -> str:
    return f"{name}_set" if name in SECRET_SETTINGS else name
