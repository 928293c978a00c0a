"""msgspec's types as schemas of OpenAPI 3.0, with an example for each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from apispec import APISpec, BasePlugin

from warmdesk.errors import CODES, FIELD_CODES

REF = "#/components/schemas/{name}"

NICE: dict[str, Any] = {
    "slug": "demo",
    "username": "alice",
    "login": "alice",
    "email": "alice@example.com",
    "display_name": "Alice",
    "first_name": "Alice",
    "last_name": "Liddell",
    "name": "Demo",
    "title": "Fix the door",
    "description": "It does not close.",
    "body": "Deployed to staging.",
    "key": "DEMO-7",
    "key_prefix": "DEMO",
    "emoji": "👍",
    "color": "#6366f1",
    "position": 1000,
    "error": "title: required",
    "request_id": "9f86d081884c7d65",
    "version": 3,
    "server_time": "2026-04-04T10:00:00.000000Z",
}
"""What examples say where a schema has none of its own; only if it fits the schema."""
NULL: dict[str, Any] = {"type": "object", "nullable": True, "enum": [None]}
"""Null and nothing else. ``nullable`` would not do beside a reference, for what that leads to does
not admit null, nor in one of several closed sets, which would have to hold it.
"""
WORDS = ("text", "Text", "T", "2026-04-04", "2026-04-04T10:00:00Z", "12", "en", "UTC", "")


def _words(meanings: dict[str, str]) -> str:
    return "\n".join(f"* `{code}`: {meaning}" for code, meaning in meanings.items())


Code = Annotated[
    str,
    msgspec.Meta(
        description=f"What it is, for programs; there may be more one day.\n\n{_words(CODES)}",
        examples=["invalid_fields"],
        extra_json_schema={"x-extensible-enum": list(CODES)},
    ),
]
FieldCode = Annotated[
    str,
    msgspec.Meta(examples=["required"], extra_json_schema={"x-extensible-enum": list(FIELD_CODES)}),
]
Fields = Annotated[
    dict[str, FieldCode],
    msgspec.Meta(
        description=f"What is wrong with which field of the request.\n\n{_words(FIELD_CODES)}",
        examples=[{"title": "required"}],
    ),
]
Limits = Annotated[
    dict[str, dict[str, float]],
    msgspec.Meta(
        description="The least (`min`) and most (`max`) of a field: characters of a text, entries"
        " of a list, or the number itself.",
        examples=[{"title": {"min": 1, "max": 500}}],
    ),
]
Allowed = Annotated[
    dict[str, list[str]],
    msgspec.Meta(
        description="What may stand in a field.",
        examples=[{"priority": ["none", "low", "medium", "high", "critical"]}],
    ),
]

Current = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="What is there, where somebody else changed it (`version_conflict`).",
        examples=[{"id": 7, "version": 4}],
    ),
]


class Error(msgspec.Struct, omit_defaults=True):
    """What every answer from 400 up holds. Some have further keys of their own."""

    error: str
    code: Code
    current: Current | msgspec.UnsetType = msgspec.UNSET
    fields: Fields | msgspec.UnsetType = msgspec.UNSET
    limits: Limits | msgspec.UnsetType = msgspec.UNSET
    allowed: Allowed | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET


def as_openapi(node: Any) -> Any:
    """JSON Schema 2020-12, as msgspec writes it, in the dialect of OpenAPI 3.0.

    ``null`` becomes ``nullable``, or `NULL` beside several others or a reference, ``const`` an
    ``enum``, ``examples`` an ``example``; what stands beside a reference goes with it into an
    ``allOf``.
    """
    if isinstance(node, list):
        return [as_openapi(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "properties" in node:
        named = {name: as_openapi(each) for name, each in node["properties"].items()}
        node = {**node, "properties": named}
        rest = {key: as_openapi(each) for key, each in node.items() if key != "properties"}
        node = {**rest, "properties": named}
    else:
        node = {
            key: each if key in ("default", "examples", "enum") else as_openapi(each)
            for key, each in node.items()
        }
    if node.get("required") == []:
        del node["required"]
    if "examples" in node:
        node["example"] = node.pop("examples")[0]
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "discriminator" in node:
        node["oneOf"] = node.pop("anyOf")
    if "anyOf" in node:
        node = _without_null(node)
    if "enum" in node:
        node = _closed(node)
    if "$ref" in node and len(node) > 1:
        node = {"allOf": [{"$ref": node.pop("$ref")}], **node}
    if node.get("type") == "array":
        node.setdefault("items", {})
    if node.get("type") == "integer" and node.get("maximum", 0) > 2**31 - 1:
        node["format"] = "int64"
    return node


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    rest = [each for each in node["anyOf"] if each != {"type": "null"}]
    if len(rest) == len(node["anyOf"]):
        return node
    outer = {key: each for key, each in node.items() if key != "anyOf"}
    if len(rest) > 1 or "$ref" in rest[0]:
        return {**outer, "anyOf": [*rest, NULL]}
    return {**rest[0], **outer, "nullable": True}


def _closed(node: dict[str, Any]) -> dict[str, Any]:
    """A closed set names its type, and holds null where that is allowed."""
    values = [each for each in node["enum"] if each is not None]
    if "type" not in node and values:
        node = {"type": "string" if isinstance(values[0], str) else "integer", **node}
    if None in node["enum"]:
        node["nullable"] = True
    if node.get("nullable"):
        node["enum"] = [*values, None]
    return node


class Schemas(BasePlugin):
    """apispec's plugin for msgspec: all types at once, so that two of one name keep apart."""

    def __init__(self, types: Iterable[Any]) -> None:
        unique = list({repr(each): each for each in types}.values())
        tops, parts = msgspec.json.schema_components(unique, ref_template=REF)
        self.tops = {repr(kind): as_openapi(top) for kind, top in zip(unique, tops, strict=True)}
        self.parts: dict[str, Any] = {name: as_openapi(part) for name, part in parts.items()}
        for part in self.parts.values():
            if "description" in part:  # a docstring, as it stands in the program
                part["description"] = inspect.cleandoc(part["description"])

    def init_spec(self, spec: APISpec) -> None:
        for name, part in sorted(self.parts.items()):
            spec.components.schema(name, part)

    def of(self, kind: Any) -> Any:
        return self.tops[repr(kind)]

    def example(self, schema: dict[str, Any], name: str = "", depth: int = 0) -> Any:
        """A value that fits the schema: its own example, a nice one, or the plainest."""
        if "$ref" in schema:
            return self.example(self.parts[schema["$ref"].rpartition("/")[2]], name, depth + 1)
        if "example" in schema:
            return schema["example"]
        for key in ("allOf", "anyOf", "oneOf"):
            if key in schema:
                return self.example(schema[key][0], name, depth)
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            items = schema.get("items", {})
            return [self.example(items, name.removesuffix("s"), depth + 1)] if depth < 12 else []
        nice = NICE.get(name)
        if kind == "string":
            if name.endswith("_at") and _fits("2026-04-04T10:00:00.000000Z", schema):
                return "2026-04-04T10:00:00.000000Z"
            return self._text(nice, schema, name)
        if kind in ("integer", "number"):
            return nice if isinstance(nice, int) else max(1, schema.get("minimum", 1))
        return {"boolean": False}.get(kind or "", nice if nice is not None else {})

    def _text(self, nice: Any, schema: dict[str, Any], name: str) -> str:
        first_word = re.match(r"\^\(?([a-z]+)", schema.get("pattern", ""))
        for text in (nice, first_word and first_word[1], *WORDS):
            if _fits(text, schema):
                return str(text)
        raise ValueError(f"{name} needs an example that fits {schema}")

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        if "properties" not in schema:
            inner = schema.get("additionalProperties")
            return {"title": self.example(inner, "", depth + 1)} if isinstance(inner, dict) else {}
        return {
            name: self.example(each, name, depth + 1) for name, each in schema["properties"].items()
        }


def _fits(text: Any, schema: dict[str, Any]) -> bool:
    return (
        isinstance(text, str)
        and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
        and re.search(schema.get("pattern", ""), text) is not None
    )
