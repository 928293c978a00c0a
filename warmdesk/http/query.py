"""Query strings: read as their type, refused with the name of the parameter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from warmdesk.errors import BadRequest, field_error, fields_error
from warmdesk.validation import Form, leaves

QUERY_LIMIT = 4096
"""Characters of one query parameter."""
CLAMPED = frozenset({"cards_limit", "limit", "timeout", "wait"})


def query_reader(kind: Any) -> Callable[[web.Request], Any]:
    """A reader of query strings as a type, which raises 400 with the names of what is wrong.

    Numbers called ``limit``, ``cards_limit``, ``timeout`` and ``wait`` are brought into their
    bounds. A parameter may come twice only where the type has a list for it.
    """
    form = Form(kind)
    assert isinstance(form.described, msgspec.inspect.StructType)
    known = {each.encode_name: each for each in form.described.fields}
    lists = {
        name
        for name, each in known.items()
        if any(isinstance(leaf, msgspec.inspect.ListType) for leaf, _ in leaves(each.type))
    }
    bounds = {name: _bounds(known[name].type) for name in CLAMPED if name in known}
    needed = any(each.required for each in form.described.fields)
    wordless = {
        name
        for name, each in known.items()
        if not any(isinstance(leaf, WORDS) for leaf, _ in leaves(each.type))
    }

    def read(request: web.Request) -> Any:
        if not request.query_string and not needed:
            return msgspec.convert({}, kind)
        sent: dict[str, Any] = {}
        for name, text in request.query.items():
            if name not in known:
                continue
            _check_parameter(name, text)
            if name in wordless and text.lower() == "null":
                raise field_error(name, "bad_format", "leave it out instead of null")
            if name in lists:
                sent.setdefault(name, []).append(text)
            elif name in sent:
                raise field_error(name, "conflicting", "given twice")
            else:
                sent[name] = text
        for name, (least, most) in bounds.items():
            if name in sent:
                sent[name] = _clamped(name, sent[name], least, most)
        try:
            return msgspec.convert(sent, kind, strict=False)
        except msgspec.ValidationError as error:
            raise fields_error(form.faults_in_texts(sent, error)) from error

    return read


def parts_of(text: str, known: frozenset[str], name: str = "include") -> frozenset[str]:
    """The words of a parameter, separated by commas; 400 for what is none of those known."""
    parts = frozenset(part.strip() for part in text.split(",")) - {""}
    if not parts <= known:
        raise BadRequest(
            f"{name}: must be some of {', '.join(sorted(known))}, separated by commas",
            fields={name: "not_one_of"},
            allowed={name: sorted(known)},
        )
    return parts


WORDS = (
    msgspec.inspect.StrType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.ListType,
    msgspec.inspect.AnyType,
)
"""Types of parameters for which ``null`` is a text like any other, or is refused by the type. For
all others msgspec would take it for nothing.
"""


def _bounds(kind: Any) -> tuple[int, int]:
    """The bounds of a limit; without declared ones, those of an integer of PostgreSQL."""
    number = next(leaf for leaf, _ in leaves(kind) if isinstance(leaf, msgspec.inspect.IntType))
    least = 1 if number.ge is None else number.ge
    return least, 2**31 - 1 if number.le is None else number.le


def _clamped(name: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        raise field_error(name, "bad_format", "must be a whole number")
    if len(text) > 18:
        return least if text.startswith("-") else most
    return max(least, min(int(text), most))


UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
UNKEEPABLE_WORDS = "text must not hold NUL characters or lone surrogates"


def _check_parameter(name: str, text: str) -> None:
    if len(text) > QUERY_LIMIT:
        raise field_error(name, "too_long", f"longer than {QUERY_LIMIT} characters")
    if UNKEEPABLE.search(text):
        raise field_error(name, "bad_format", UNKEEPABLE_WORDS)
