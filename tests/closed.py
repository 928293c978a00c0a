"""What the server says fits what it declares, and nothing more: an undeclared key is a leak.

Used on everything that passes by in a test: events in the feeds, frames on sockets, REST answers.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec
import orjson

from warmdesk.app import resources
from warmdesk.errors import CODES, FIELD_CODES
from warmdesk.realtime.channels import EventScope, scope_of
from warmdesk.realtime.events import CATALOGUE
from warmdesk.schemas.events import Told
from warmdesk.schemas.users import UserRef

ENVELOPE = {"type", "payload", "id", *Told.__struct_fields__}


def undeclared(given: Any, declared: Any, place: str = "") -> list[str]:
    """The places in `given` that are not in `declared` (the same after a trip through its type)."""
    if isinstance(given, dict) and isinstance(declared, dict):
        found = [f"{place}.{key}" for key in given if key not in declared]
        for key in given.keys() & declared.keys():
            found += undeclared(given[key], declared[key], f"{place}.{key}")
        return found
    if isinstance(given, list) and isinstance(declared, list):
        pairs = zip(given, declared, strict=True)
        return [
            there
            for number, (one, other) in enumerate(pairs)
            for there in undeclared(one, other, f"{place}[{number}]")
        ]
    return [] if given == declared else [f"{place} ({given!r} became {declared!r})"]


def check(given: Any, kind: Any, name: str) -> None:
    """Fail unless `given` is of this type, with every key declared."""
    try:
        declared = msgspec.to_builtins(msgspec.convert(given, kind))
    except msgspec.ValidationError as error:
        raise AssertionError(f"{name} does not fit {kind}: {error}; it is {given}") from None
    leaks = undeclared(given, declared)
    assert not leaks, f"{name} says more than {kind} declares: {', '.join(leaks)}"


SPACED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(\s)')
"""White space that stands in no text. Possessive: it keeps no stack of what a long text has."""


def compact(text: bytes | str) -> Any:
    """Decoded JSON. Fail if it has white space between its parts: on a board that was an eighth."""
    given = text.encode() if isinstance(text, str) else text
    spaced = [found.start() for found in SPACED.finditer(given) if found[1]]
    assert not spaced, f"not compact: {given[max(0, spaced[0] - 40) : spaced[0] + 40]!r}"
    return orjson.loads(given)


def check_frame(frame: dict[str, Any]) -> None:
    """Fail unless a frame is one of the catalogue, with its payload and nothing else."""
    kind = CATALOGUE.get(frame["type"])
    assert kind is not None, f"{frame['type']} is not in the catalogue: {frame}"
    assert kind.stored == ("seq" in frame), f"{frame['type']} has a seq if it is stored: {frame}"
    assert frame.keys() <= ENVELOPE, f"unknown keys beside the payload: {frame.keys() - ENVELOPE}"
    check(frame["payload"], kind.payload, frame["type"])
    if "actor" in frame:
        check(frame["actor"], UserRef, "actor")


def check_event(channel: str, type: str, payload: str) -> None:
    """The same for a row of a feed, and that its event is for those who follow the channel."""
    kind = CATALOGUE.get(type)
    assert kind is not None, f"the feed has {type}, which is not in the catalogue"
    assert kind.stored, f"{type} is a signal, but stands in a feed"
    here = (scope_of(channel), EventScope.ANY)
    assert kind.scope in here, f"{type} is for {kind.scope}, but stands in {channel}"
    check(msgspec.json.decode(payload), kind.payload, type)


@functools.cache
def routes() -> list[tuple[str, re.Pattern[str], Any]]:
    """Method, pattern and declaration of every route, fixed paths first, as in the application."""
    found = []
    for declared in resources():
        pattern = re.sub(r"\{(\w+)(:[^}]*)?\}", r"[^/]+", declared.path)
        found.append((declared.method, re.compile(pattern), declared))
    return found


NOTATION = re.compile(r"Expected `|`|regex|\$\.|\bmatching\b|\bstr\b|\| null")
"""What a sentence for people has nothing of."""


def check_refusal(body: dict[str, Any]) -> None:
    """Fail unless a refusal has a sentence for people and a code that is declared, and its fields
    have declared codes.
    """
    assert isinstance(body["error"], str), body
    assert body["error"], body
    assert not NOTATION.search(body["error"]), f"no sentence for people: {body}"
    assert body.get("code") in CODES, f"a code that is not declared: {body}"
    fields = body.get("fields", {})
    assert set(fields.values()) <= FIELD_CODES.keys(), f"a field's code is not declared: {body}"
    for key in ("limits", "allowed"):
        assert body.get(key, {}).keys() <= fields.keys(), body


def check_answer(method: str, path: str, status: int, body: Any) -> None:
    """Fail unless a successful answer, and its status, are what its route declares, and a refusal
    has the shape of all.
    """
    if status >= 400 and isinstance(body, dict):
        check_refusal(body)
    if status >= 300:
        return
    for declared_method, pattern, route in routes():
        if declared_method == method and pattern.fullmatch(path.split("?", maxsplit=1)[0]):
            name = f"{method} {route.path}"
            assert status in (route.status, *route.also), f"{name} does not declare {status}"
            answer = route.brief if "cards=brief" in path else route.answer
            if answer is not None and isinstance(body, dict | list):
                check(body, answer, name)
            return
