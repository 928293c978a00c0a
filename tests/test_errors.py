"""What a refused value is told to people and programs; every code is declared, and used."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from tests.test_documents import HOME, parsed, rows
from warmdesk import app
from warmdesk.config import Settings
from warmdesk.errors import (
    CODE_OF_STATUS,
    CODES,
    FIELD_CODES,
    INVALID_FIELDS,
    BadRequest,
    Fault,
    NotFound,
    WarmDeskError,
    fields_error,
    refusal,
)
from warmdesk.http.body import body_reader
from warmdesk.http.commands import COMMANDS
from warmdesk.schemas.users import CreateUser
from warmdesk.validation import Form

# What is wrong with a value


class Inner(msgspec.Struct):
    number: int
    word: Annotated[str, Meta(pattern="^[a-z]+$", extra={"otherwise": "must be a word"})] = "a"


class Everything(msgspec.Struct, kw_only=True):
    """A field of each kind that bodies and queries have."""

    text: Annotated[str, Meta(min_length=3, max_length=5)] = "abc"
    name: Annotated[str, Meta(min_length=1, max_length=9, pattern=r"\S")] = "a"
    color: Annotated[str, Meta(pattern="^#[0-9a-f]+$", extra={"otherwise": "must be a color"})] = (
        "#0"
    )
    maybe: Annotated[str, Meta(max_length=100_000)] | msgspec.UnsetType | None = msgspec.UNSET
    number: Annotated[int, Meta(ge=1, le=2**53 - 1)] = 1
    nullable: int | None = None
    real: Annotated[float, Meta(ge=-1e15, le=0.5)] = 0.0
    flag: bool = False
    choice: Literal[""] | Literal["b", "a"] | None = None
    choices: list[Literal["z", "y"]] = []
    lone: Literal["changed"] | None = None
    id: UUID | None = None
    ids: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=2)] = []
    words: Annotated[list[str], Meta(min_length=2)] = []
    inner: Inner | None = None
    inners: list[Inner] = []


@pytest.mark.parametrize(
    ("sent", "name", "code", "sentence"),
    [
        ({"text": "ab"}, "text", "too_short", "must be at least 3 characters"),
        ({"text": "abcdef"}, "text", "too_long", "must be at most 5 characters"),
        ({"text": 5}, "text", "bad_format", "must be text"),
        ({"text": None}, "text", "required", "must not be null"),
        ({"text": []}, "text", "bad_format", "must be text"),
        ({"name": ""}, "name", "blank", "must not be blank"),
        ({"name": "  "}, "name", "blank", "must not be blank"),
        ({"color": "red"}, "color", "bad_format", "must be a color"),
        ({"maybe": "x" * 100_001}, "maybe", "too_long", "must be at most 100,000 characters"),
        ({"maybe": 5}, "maybe", "bad_format", "must be text"),
        ({"number": 0}, "number", "out_of_range", "must be at least 1"),
        (
            {"number": 2**53},
            "number",
            "out_of_range",
            "must be at most 9,007,199,254,740,991",
        ),
        ({"number": 10**30}, "number", "out_of_range", None),
        ({"number": "1"}, "number", "bad_format", "must be a whole number"),
        ({"number": 1.5}, "number", "bad_format", "must be a whole number"),
        ({"number": True}, "number", "bad_format", "must be a whole number"),
        ({"nullable": "x"}, "nullable", "bad_format", "must be a whole number"),
        ({"real": 1e300}, "real", "out_of_range", "must be at most 0.5"),
        ({"real": -1e16}, "real", "out_of_range", "must be at least -1,000,000,000,000,000"),
        ({"real": "1"}, "real", "bad_format", "must be a number"),
        ({"flag": 1}, "flag", "bad_format", "must be true or false"),
        ({"choice": "urgent"}, "choice", "not_one_of", "must be one of b, a"),
        ({"choice": 5}, "choice", "not_one_of", "must be one of b, a"),
        ({"choice": "x - at `$.text`"}, "choice", "not_one_of", "must be one of b, a"),
        ({"choices": ["x"]}, "choices", "not_one_of", "each must be one of z, y"),
        ({"lone": "x"}, "lone", "not_one_of", "must be changed"),
        ({"id": "x"}, "id", "bad_format", "must be a UUID"),
        ({"ids": []}, "ids", "too_short", "must not be empty"),
        ({"ids": [1, 2, 3]}, "ids", "too_long", "must have at most 2 entries"),
        ({"ids": [1, 0]}, "ids", "out_of_range", "each must be at least 1"),
        ({"ids": ["x"]}, "ids", "bad_format", "each must be a whole number"),
        ({"ids": {}}, "ids", "bad_format", "must be a list"),
        ({"words": ["a"]}, "words", "too_short", "must have at least 2 entries"),
        ({"inner": {}}, "inner.number", "required", "required"),
        ({"inner": {"number": 1, "word": "1"}}, "inner.word", "bad_format", "must be a word"),
        ({"inner": 1}, "inner", "bad_format", "must be an object"),
        ({"inners": [{"number": "x"}]}, "inners.number", "bad_format", "must be a whole number"),
        ({"inners": [1]}, "inners", "bad_format", "each must be an object"),
    ],
)
def test_each_fault_has_its_sentence(
    sent: dict[str, Any], name: str, code: str, sentence: str | None
) -> None:
    with pytest.raises(WarmDeskError) as caught:
        body_reader(Everything)(json.dumps(sent).encode())
    assert caught.value.extra["fields"] == {name: code}
    assert caught.value.code == INVALID_FIELDS
    if sentence is not None:
        assert caught.value.message == f"{name}: {sentence}"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", "the body must be an object"),
        (b"null", "the body must not be null"),
        (b"5", "the body must be an object"),
        (b'{"number": "x", "text": ', "the body is not valid JSON"),
        (b'{"number": "x"} x', "the body is not valid JSON"),
    ],
)
def test_what_is_wrong_with_the_whole_is_no_field(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=f"^{message}$") as caught:
        body_reader(Everything)(raw)
    assert "fields" not in caught.value.extra


def test_all_wrong_fields_are_told_and_those_that_are_missing() -> None:
    with pytest.raises(WarmDeskError) as caught:
        body_reader(CreateUser)(b'{"email": "nobody", "is_active": "yes", "zzz": 5}')
    assert caught.value.extra["fields"] == {
        "email": "bad_format",
        "username": "required",
        "password": "required",
        "is_active": "bad_format",
    }


def test_a_field_that_comes_twice_and_is_right_at_last_is_named_all_the_same() -> None:
    with pytest.raises(WarmDeskError, match=r"^number: must be a whole number$"):
        body_reader(Everything)(b'{"number": "x", "number": 1}')


def test_limits_and_allowed_say_the_numbers_and_words() -> None:
    with pytest.raises(WarmDeskError) as caught:
        body_reader(Everything)(b'{"text": "a", "number": 0, "choice": 1, "flag": 1}')
    extra = caught.value.extra
    assert extra["limits"] == {"text": {"min": 3, "max": 5}, "number": {"min": 1, "max": 2**53 - 1}}
    assert extra["allowed"] == {"choice": ["b", "a"]}


def test_a_query_is_told_the_same() -> None:
    sent = {"number": "x", "flag": "maybe", "choice": "c", "id": "1"}
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(sent, Everything, strict=False)
    found = Form(Everything).faults_in_texts(sent, caught.value)
    assert {name: fault.sentence for name, fault in found.items()} == {
        "number": "must be a whole number",
        "flag": "must be true or false",
        "choice": "must be one of b, a",
        "id": "must be a UUID",
    }


def test_a_pattern_needs_a_sentence() -> None:
    class Bare(msgspec.Struct):
        words: list[Annotated[str, Meta(pattern="^x$")]]

    with pytest.raises(TypeError, match="needs a sentence"):
        body_reader(Bare)
    app.resources()  # declares the commands
    bodies = [each.body for each in app.resources()] + [each.body for each in COMMANDS.values()]
    for body in filter(None, bodies):
        Form(body)


# Codes


def test_a_refusal_without_a_code_has_that_of_its_status() -> None:
    assert NotFound().code == "not_found"
    assert WarmDeskError("slow", status=408).code == "too_slow"
    assert WarmDeskError("odd", status=431).code == "bad_request"
    assert WarmDeskError().code == "internal"
    assert BadRequest("x", fields={"x": "required"}).code == INVALID_FIELDS
    assert refusal("WD422", "x", '{"code":"last_column"}').code == "last_column"
    assert refusal("WD404", "x", "").code == "not_found"
    assert set(CODE_OF_STATUS.values()) <= CODES.keys()


def test_names_are_cut_and_nothing_else_is_the_clients() -> None:
    error = fields_error({"x" * 900: Fault("unknown", "there is no such field")})
    assert error.extra["fields"] == {"x" * 99 + "…": "unknown"}
    assert len(error.message) < 200


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for file in sorted((HOME / "warmdesk").rglob("*.py")):
        yield file, ast.parse(file.read_text("utf-8"))


def texts_of(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def test_every_code_is_declared_and_used() -> None:
    """Codes stand where a refusal is raised: as `code=` in Python, as "code" in SQL."""
    given, fields, words = set[str](), set[str](), set[str]()
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "code":
                given |= set(texts_of(node.value))
            if isinstance(node, ast.keyword) and node.arg == "fields":
                values = node.value.values if isinstance(node.value, ast.Dict) else []
                fields |= {text for each in values for text in texts_of(each)}
        if file.name != "errors.py":
            words |= set(texts_of(tree))
    for file in (HOME / "sql").rglob("*.sql"):
        text = file.read_text("utf-8")
        given |= {one or other for one, other in CODE_IN_SQL.findall(text)}
        fields |= {one or other for one, other in FIELD_IN_SQL.findall(text)}
    assert given - CODES.keys() == set()
    assert fields - FIELD_CODES.keys() == set()
    usual = {*CODE_OF_STATUS.values(), INVALID_FIELDS}
    assert CODES.keys() - given - usual - words == set()
    assert list(CODES) == sorted(CODES)
    assert list(FIELD_CODES) == sorted(FIELD_CODES)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", each) for each in [*CODES, *FIELD_CODES])


CODE_IN_SQL = re.compile(r"""\"code":"(\w+)"|'code', '(\w+)'""")
FIELD_IN_SQL = re.compile(
    r"""\"fields":\{"\w+":"([^"]+)"|'fields', json_build_object\(\w+, '([^']+)'"""
)


def test_the_codes_in_the_document_are_those_that_are_declared() -> None:
    for title, declared in (("Codes", CODES), ("Codes of fields", FIELD_CODES)):
        shown = {row[0]: " ".join(row[1].split()) for row in rows(parsed("docs/errors.rst"), title)}
        assert shown == {code: meaning.replace("`", "") for code, meaning in declared.items()}


def test_the_description_of_the_api_lists_the_codes() -> None:
    error = json.loads(app.documents().json.body)["components"]["schemas"]["Error"]["properties"]
    assert error["code"]["x-extensible-enum"] == list(CODES)
    codes = error["fields"]["additionalProperties"]["x-extensible-enum"]
    assert codes == list(FIELD_CODES)
    for code, meaning in CODES.items():
        assert f"`{code}`: {meaning}" in error["code"]["description"]


def test_the_limits_in_the_document_are_settings_with_their_defaults() -> None:
    """Also those that stand in the last column or below the table."""
    text = (HOME / "docs" / "errors.rst").read_text("utf-8").partition("\nLimits\n")[2]
    shown = dict(re.findall(r"\b([a-z]+(?:_[a-z]+)+)(?:``)? \((\d+)\)", text))
    settings = Settings()
    assert {name: float(value) for name, value in shown.items()} == {
        name: float(getattr(settings, name)) for name in shown
    }
    assert set(shown) >= {
        *("logins_per_name_and_address", "logins_per_address", "logins_per_name"),
        *(
            "registrations_per_address",
            "resets_per_address",
            "messages_per_minute",
            "changes_per_minute",
        ),
        *("reads_at_once", "writes_at_once", "wait_at_once", "cards_per_change"),
        *("public_body_bytes", "known_address_days", "sockets_per_person"),
    }
