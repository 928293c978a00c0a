"""What is wrong with a value that msgspec refused: which field, a code for programs, and a sentence
for people.

msgspec's own sentences name types and quote patterns and values. They are only read here: the
sentence comes from the type. That of a pattern stands beside it, as ``otherwise`` in the `extra` of
its `Meta`; the pattern `NOT_BLANK` needs none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from warmdesk.errors import Fault

NOT_BLANK = r"\S"
"""The pattern of a text that holds more than spaces."""

PATH = " - at `"
STEP = re.compile(r"\.(\w+)|\[[^\]]*\]")
MISSING = re.compile(r"Object missing required field `(\w+)`")
UNWANTED = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
BEYOND = re.compile(r"Expected `\w+` (of length )?([<>]=?) ")
PATTERN = "Expected `str` matching regex "

REQUIRED = Fault("required", "required")
BLANK = Fault("blank", "must not be blank")
TEXTS: dict[type[Any], str] = {
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.StructType: "an object",
    inspect.UUIDType: "a UUID",
}

Leaf = tuple[Any, dict[str, Any]]
"""A plain type, and the `extra` that was declared for it."""


class Form:
    """A type of bodies or queries, which knows of what it refused what is wrong with each field.

    TypeError for a pattern without a sentence.
    """

    def __init__(self, kind: Any) -> None:
        self.described = _described(kind)
        _check_patterns(self.described)
        structs = [leaf.cls for leaf, _ in leaves(self.described) if _is_struct(leaf)]
        fields = msgspec.structs.fields(structs[0]) if structs else ()
        self._required = {each.encode_name for each in fields if each.required}
        self._kinds = {each.encode_name: _without_unset(each.type) for each in fields}
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in self._kinds.items()}
        parts = msgspec.defstruct("Parts", [(name, msgspec.Raw, None) for name in self._kinds])
        self._parts = msgspec.json.Decoder(parts)

    def faults_in_json(self, raw: bytes, error: msgspec.ValidationError) -> dict[str, Fault]:
        """All wrong fields of JSON that was refused with this error, by their names; what is wrong
        with the whole has an empty one. Raises `msgspec.DecodeError` for what is no JSON.

        Two passes: one over the whole, and one over each field until its first fault.
        """
        if not self._kinds or not re.match(rb"\s*\{", raw):
            return dict([fault_of(self.described, error)])
        parts = self._parts.decode(raw)
        sent = {name: getattr(parts, name) for name in self._kinds}
        sent = {name: part for name, part in sent.items() if part is not None}
        return self._faults(sent, lambda name, part: self._decoders[name].decode(part), error)

    def faults_in_texts(
        self, sent: Mapping[str, Any], error: msgspec.ValidationError
    ) -> dict[str, Fault]:
        """The same for the fields of a query or a form, which are texts."""

        def convert(name: str, value: Any) -> None:
            msgspec.convert(value, self._kinds[name], strict=False)

        return self._faults(sent, convert, error)

    def _faults(
        self,
        sent: Mapping[str, Any],
        read: Callable[[str, Any], object],
        error: msgspec.ValidationError,
    ) -> dict[str, Fault]:
        faults: dict[str, Fault] = {}
        for name in self._kinds:
            if name not in sent:
                if name in self._required:
                    faults[name] = REQUIRED
                continue
            try:
                read(name, sent[name])
            except msgspec.ValidationError as wrong:
                inside, fault = fault_of(_field(self.described, name), wrong)
                faults[f"{name}.{inside}" if inside else name] = fault
        # A field that came twice may be right the second time.
        return faults or dict([fault_of(self.described, error)])


def fault_of(kind: inspect.Type, error: msgspec.ValidationError) -> tuple[str, Fault]:
    """What is wrong with a value of this type, and the field of it that is meant; empty for the
    value itself.
    """
    text, path = str(error), ""
    # A value that is quoted stands before; what stands at the end is msgspec's own.
    if PATH in text and text.endswith("`"):
        text, _, path = text.rpartition(PATH)
    name, in_list = "", False
    for step in STEP.finditer(path):
        if step[1]:
            name, in_list, kind = step[1], False, _field(kind, step[1])
        else:
            in_list, kind = True, _item(kind)
    if found := MISSING.match(text):
        return found[1], REQUIRED
    if found := UNWANTED.match(text):
        return found[1], Fault("unknown", "there is no such field")
    fault = _fault(list(leaves(kind)), text)
    return name, fault._replace(sentence=f"each {fault.sentence}") if in_list else fault


def sentence(kind: Any, error: msgspec.ValidationError) -> str:
    """What a value of this type must be, for one that was refused."""
    return fault_of(_described(kind), error)[1].sentence


def _fault(kinds: list[Leaf], text: str) -> Fault:
    words = [each.values for each, _ in kinds if isinstance(each, inspect.LiteralType)]
    if words:
        return _not_one_of([each for each in itertools.chain(*words) if each not in ("", None)])
    if text.startswith(PATTERN):
        return next(_not_matching(kind, extra) for kind, extra in kinds if _has_pattern(kind))
    if found := BEYOND.match(text):
        for kind, _ in kinds:
            if fault := (_length if found[1] else _bound)(kind, found[2]):
                return fault
    if "out of range" in text:
        return Fault("out_of_range", "is out of range")
    if text.endswith("got `null`"):
        return Fault("required", "must not be null")
    things = dict.fromkeys(TEXTS[type(kind)] for kind, _ in kinds if type(kind) in TEXTS)
    return Fault("bad_format", f"must be {' or '.join(things)}" if things else "is not valid")


def _not_one_of(allowed: list[Any]) -> Fault:
    words = ", ".join(map(str, allowed))
    many = "one of " if len(allowed) > 1 else ""
    return Fault("not_one_of", f"must be {many}{words}", allowed=allowed)


def _not_matching(kind: inspect.StrType, extra: dict[str, Any]) -> Fault:
    return BLANK if kind.pattern == NOT_BLANK else Fault("bad_format", extra["otherwise"])


def _length(kind: Any, sign: str) -> Fault | None:
    """The fault of a text or a list that is too long or too short."""
    is_text = isinstance(kind, inspect.StrType)
    if not is_text and not isinstance(kind, inspect.ListType):
        return None
    things = "be at {} {:,} characters" if is_text else "have at {} {:,} entries"
    least, most = kind.min_length, kind.max_length
    if sign == "<=":
        sentence = f"must {things.format('most', most)}"
        return Fault("too_long", sentence, limits=_limits(least, most))
    if least == 1:
        return BLANK if is_text else Fault("too_short", "must not be empty", limits={"min": 1})
    sentence = f"must {things.format('least', least)}"
    return Fault("too_short", sentence, limits=_limits(least, most))


def _bound(kind: Any, sign: str) -> Fault | None:
    """The fault of a number that is too low or too high."""
    if not isinstance(kind, (inspect.IntType, inspect.FloatType)):
        return None
    bound, word = (kind.le, "most") if sign == "<=" else (kind.ge, "least")
    if bound is None:
        return None
    shown = f"{bound:,.0f}" if bound == round(bound) else f"{bound}"
    return Fault("out_of_range", f"must be at {word} {shown}", limits=_limits(kind.ge, kind.le))


def _limits(least: float | None, most: float | None) -> dict[str, float]:
    bounds = {"min": least, "max": most}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def leaves(kind: Any, extra: dict[str, Any] | None = None) -> Iterator[Leaf]:
    """The plain types that a type is made of, as `msgspec.inspect` describes them."""
    if isinstance(kind, inspect.Metadata):
        yield from leaves(kind.type, {**(extra or {}), **(kind.extra or {})})
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from leaves(each, extra)
    else:
        yield kind, extra or {}


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, inspect.StructType)


def _has_pattern(kind: Any) -> bool:
    return isinstance(kind, inspect.StrType) and kind.pattern is not None


def _field(kind: Any, name: str) -> Any:
    """A field of the object that a value of this type may be."""
    fields = (each for leaf, _ in leaves(kind) if _is_struct(leaf) for each in leaf.fields)
    return next((each.type for each in fields if each.encode_name == name), inspect.AnyType())


def _item(kind: Any) -> Any:
    """The things in the list that a value of this type may be."""
    items = (leaf.item_type for leaf, _ in leaves(kind) if isinstance(leaf, inspect.ListType))
    return next(items, inspect.AnyType())


def _described(kind: Any) -> inspect.Type:
    """The type as msgspec describes it, with the words of a `Literal` in the order in which they
    were written, which msgspec sorts.
    """
    told = inspect.type_info(kind)
    _restore_order(told, kind)
    return told


def _restore_order(told: inspect.Type, kind: Any) -> None:
    plain = list(_plain(kind))
    words = [word for each in plain if get_origin(each) is Literal for word in get_args(each)]
    items = [get_args(each)[0] for each in plain if get_origin(each) is list and get_args(each)]
    for leaf, _ in leaves(told):
        if isinstance(leaf, inspect.LiteralType):
            leaf.values = tuple(sorted(leaf.values, key=words.index))
        elif isinstance(leaf, inspect.ListType) and items:
            _restore_order(leaf.item_type, items[0])
        elif isinstance(leaf, inspect.StructType):
            for field, declared in zip(leaf.fields, msgspec.structs.fields(leaf.cls), strict=True):
                _restore_order(field.type, declared.type)


def _plain(kind: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of."""
    if get_origin(kind) is Annotated:
        yield from _plain(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _plain(each)
    else:
        yield kind


def _without_unset(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return reduce(or_, (each for each in get_args(kind) if each is not msgspec.UnsetType))


def _check_patterns(kind: Any) -> None:
    for leaf, extra in leaves(kind):
        if _has_pattern(leaf) and leaf.pattern != NOT_BLANK and "otherwise" not in extra:
            raise TypeError(f"the pattern {leaf.pattern} needs a sentence, extra['otherwise']")
        parts = leaf.fields if _is_struct(leaf) else ()
        for part in (each.type for each in parts):
            _check_patterns(part)
        if isinstance(leaf, inspect.ListType):
            _check_patterns(leaf.item_type)
