"""Whatever clients send, to whichever route: a 4xx that names the field, and nothing is written.

The cases are made from the routes themselves, so a new route is tested as soon as it is declared.
"""

from __future__ import annotations

import io
import json
import logging
import re
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from msgspec import inspect

from tests.closed import check_refusal
from tests.conftest import Board
from tests.person import Person
from tests.rows import contents
from tests.samples import make_each
from warmdesk import app
from warmdesk.auth.actor import GlobalRole
from warmdesk.config import Settings
from warmdesk.errors import WarmDeskError
from warmdesk.http.answers import problem
from warmdesk.http.body import BODY_LIMIT, body_reader, check_text, depth
from warmdesk.http.commands import COMMANDS
from warmdesk.http.query import CLAMPED
from warmdesk.http.route import Route
from warmdesk.http.routing import BASE

UNKNOWN = 2**53
PUBLIC_LIMIT = Settings().public_body_bytes
ROUTES = [each for each in app.resources() if not each.stays]
WITH_BODY = [each for each in ROUTES if each.body is not None]
WITH_QUERY = [each for each in ROUTES if each.query is not None]
EXAMPLES = json.loads(app.documents().json.body)["paths"]

NEEDED = {
    "/search": "q=ab",
    "/mail/unsubscribe": "token=unknown",
    "/users/me/calendar.ics": "token=unknown",
    "/users/refs": "ids=1",
    "/projects/{slug}/ticket/{card_id}/wait": "column_name=Backlog",
}
"""What the query of a path must hold."""
ANY_TEXT = ("/auth/logout", "refresh_token")
"""Whatever it says, whoever asks is signed out."""

Case = tuple[str, Any]


def example(route: Route) -> Any:
    operation = EXAMPLES[route.path][route.method.lower()]
    return operation["requestBody"]["content"]["application/json"]["example"]


def fields(kind: Any) -> dict[str, Any]:
    """The fields of a body by name; of a choice of bodies, those of its objects."""
    told = inspect.type_info(kind)
    found = told.types if isinstance(told, inspect.UnionType) else (told,)
    return {
        each.encode_name: each.type
        for part in found
        if isinstance(part, inspect.StructType)
        for each in part.fields
    }


def plain(kind: Any) -> tuple[set[type], bool]:
    """The kinds of values that a field takes, and whether null is one."""
    if isinstance(kind, inspect.Metadata):
        return plain(kind.type)
    parts = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    kinds: set[type] = set()
    for part in parts:
        kinds.add(type(part.type if isinstance(part, inspect.Metadata) else part))
    return kinds, inspect.NoneType in kinds


def wrong_values(kind: Any) -> Iterator[Any]:
    """Values that this field must refuse."""
    kinds, nullable = plain(kind)
    if not nullable:
        yield None
    if kinds & {inspect.StrType, inspect.LiteralType}:
        yield from (5, True, 1.5, [], {}, ["a"])
        yield "x" * 150_000
    if inspect.IntType in kinds:
        yield from (True, 1.5, [], {}, -1, 10**30, -(10**30), 2**63)
        if inspect.StrType not in kinds:  # else it may be a key
            yield from ("1", "x")
    if inspect.FloatType in kinds:
        yield from ("1", True, [], {}, 10**30, 1e300)
    if inspect.BoolType in kinds:
        yield from ("true", 1, 0, [], {})
    if inspect.ListType in kinds:
        yield from ("a", 5, {}, [None], [[]], [{}], [True], [10**30])


class Caller:
    """Calls any route with somebody who may."""

    def __init__(self, board: Board, card: Any, message: Any, people: dict[str, Person]) -> None:
        self.people = people
        self.known: dict[str, Any] = {
            "slug": board.slug,
            "column_id": board.backlog,
            "card_id": card["id"],
            "message_id": message["id"],
            "user_id": people["olga"].id,
            "session_id": "0198c5f2-5d0a-7c1e-9f0a-2b1c3d4e5f60",
            "emoji": "👍",
            "tag": "urgent",
            "token": "0" * 64,
        }

    def path(self, route: Route, place: dict[str, Any]) -> str:
        values = self.known | place
        if "{conversation_id}" in route.path and "message_id" not in place:
            values["message_id"] = self.known["dm_id"]
        return re.sub(
            r"{(\w+)}", lambda m: urllib.parse.quote(str(values[m[1]]), safe="%"), route.path
        )

    async def call(
        self,
        route: Route,
        content: bytes | None = None,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        place: dict[str, Any] | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded answer. `place`: other values for names in the path."""
        needs_root = isinstance(route.need, GlobalRole) or (
            isinstance(route.need, frozenset) and GlobalRole.USER not in route.need
        )
        who = self.people["root" if needs_root else "olga"]
        await who.token()
        sent = {"Authorization": f"Bearer {await who.token()}"} if route.need is not None else {}
        if content is not None:
            sent["Content-Type"] = "application/json"
        address = f"{who.url}{BASE}{self.path(route, place or {})}{query}"
        async with who.client.session.request(
            route.method,
            _as_is(address),
            data=io.BytesIO(content) if content is not None else None,
            headers=sent | (headers or {}),
            allow_redirects=False,
        ) as response:
            text = await response.text()
            answer = json.loads(text) if text.startswith(("{", "[")) else text
            if response.status >= 400:
                assert isinstance(answer, dict), answer
                check_refusal(answer)
            return response.status, answer


def _as_is(address: str) -> Any:
    """The address, with its escapes as they were written."""
    from yarl import URL

    return URL(address, encoded=True)


@pytest.fixture
async def caller(board: Board, olga: Person, root: Person) -> Caller:
    card = await board.card()
    message = await olga.post(f"{board.path}/chat/messages", {"body": "Good morning"})
    caller = Caller(board, card, message, {"olga": olga, "root": root})
    await make_each(olga, caller.known)
    path = f"/conversations/{caller.known['conversation_id']}/messages"
    invited = await root.post("/admin/invitations", {})
    caller.known["token"] = invited["url"].rpartition("/")[2]
    mine = await olga.post(f"{board.path}/invitations", {})
    caller.known["invitation_id"] = mine["id"]
    caller.known["filename"] = "warmdesk_backup_20300131_120000_9f0a3c1d.tar.gz"
    caller.known["dm_id"] = (await olga.post(path, {"body": "Good morning"}))["id"]
    await board.maker.post(f"{board.path}/chat/messages", {"body": "@olga"})
    for name, place in (
        ("key_id", "/auth/api-keys"),
        ("project_key_id", f"{board.path}/api-keys"),
        ("user_key_id", "/auth/api-keys"),
    ):
        caller.known[name] = (await olga.post(place, {"name": "CI"}))["id"]
    caller.known["notification_id"] = (await olga.get("/notifications"))["items"][0]["id"]
    return caller


@pytest.fixture
async def unchanged(caller: Caller, connection: Any) -> AsyncIterator[None]:
    """Fails when a test left anything in the database."""
    for person in caller.people.values():
        await person.token()
    before = await contents(connection)
    yield
    assert await contents(connection) == before


class Faults:
    """What went wrong, all of it, so that one run shows every bad route."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def expect(self, condition: bool, *facts: Any) -> None:
        if not condition:
            self.found.append(" ".join(str(fact)[:160] for fact in facts))

    def check(self) -> None:
        assert not self.found, "\n" + "\n".join(self.found)


@pytest.fixture
def faults(caplog: pytest.LogCaptureFixture) -> Iterator[Faults]:
    found = Faults()
    yield found
    found.check()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors


def refused(answer: Any, name: str) -> bool:
    """The sentence is about this field, and so is the machine key."""
    told = answer.get("fields", {}) if isinstance(answer, dict) else {}
    return name in answer["error"] and any(key.startswith(name) for key in told)


# Bodies


async def test_no_field_takes_a_wrong_value(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    for route in WITH_BODY:
        for name, kind in fields(route.body).items():
            for value in wrong_values(kind):
                if isinstance(value, str) and (route.path, name) == ANY_TEXT:
                    continue
                given = example(route)
                given = {} if isinstance(given, list) else given
                status, answer = await caller.call(
                    route, json.dumps({**given, name: value}).encode()
                )
                facts = (route.method, route.path, name, repr(value)[:40], status, answer)
                faults.expect(400 <= status < 500, *facts)
                if status == 400:
                    faults.expect(refused(answer, name), *facts)


async def test_no_field_takes_text_that_cannot_be_kept(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    for route in WITH_BODY:
        for name in fields(route.body):
            for text, word in (
                ("a\\u0000b", "NUL"),
                ("\\ud800", "surrogates"),
                ("a\\udc00", "surrogates"),
                ("\\ud800\\ud800", "surrogates"),
                ("\\ud800x", "surrogates"),
            ):
                given = example(route)
                given = {} if isinstance(given, list) else given
                sent = json.dumps({**given, name: "@"}).replace('"@"', f'"{text}"')
                status, answer = await caller.call(route, sent.encode())
                facts = (route.method, route.path, name, text, status, answer)
                faults.expect(status == 400 and word in answer["error"], *facts)
                faults.expect(status == 400 and refused(answer, name), *facts)


async def test_no_body_may_be_anything_but_json(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    for route in WITH_BODY:
        for sent in (
            b"{",
            b"null",
            b'"text"',
            b"5",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": "\xff"',
            b"{} {}",
            b"{'a': 1}",
            b'{"a": 1,}',
            '{"a": 1}'.encode("utf-16"),
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"a":' + b"[" * 65 + b"]" * 65 + b"}",
            b'{"a":"' + b'\\"' * 500_000,
        ):
            status, answer = await caller.call(route, sent)
            facts = (route.method, route.path, sent[:20], status, answer)
            large = route.need is None and len(sent) > PUBLIC_LIMIT
            right = status == (413 if large else 400)
            faults.expect(right and isinstance(answer["error"], str), *facts)


async def test_a_missing_field_is_named(caller: Caller, faults: Faults, unchanged: None) -> None:
    for route in WITH_BODY:
        told = inspect.type_info(route.body)
        if not isinstance(told, inspect.StructType):
            continue
        required = [each.encode_name for each in told.fields if each.required]
        for sent in (b"", b"{}"):
            if required:
                status, answer = await caller.call(route, sent)
                facts = (route.method, route.path, sent, status, answer)
                faults.expect(status == 400 and refused(answer, required[0]), *facts)
                faults.expect(answer.get("fields") == dict.fromkeys(required, "required"), *facts)


async def test_a_body_is_json_by_its_type(caller: Caller, faults: Faults, unchanged: None) -> None:
    for route in WITH_BODY:
        sent = json.dumps(example(route)).encode()
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin-1",
            "application/xml",
            "nonsense",
        ):
            status, answer = await caller.call(route, sent, headers={"Content-Type": kind})
            faults.expect(status == 415, route.method, route.path, kind, status, answer)


async def test_a_body_has_a_limit(caller: Caller, faults: Faults) -> None:
    for route in WITH_BODY:
        limit = PUBLIC_LIMIT if route.need is None else BODY_LIMIT
        for size, refused in ((limit, False), (limit + 1, True)):
            for body in (b'{"zzz":1}'.ljust(size), b"}".rjust(size)):
                status, answer = await caller.call(route, body)
                facts = (route.method, route.path, size, status, answer)
                faults.expect((status == 413) is refused, *facts)


def texts_with_patterns(kind: Any) -> Iterator[inspect.StrType]:
    """The texts with a pattern in a body or a query, however deep."""
    if isinstance(kind, inspect.StrType) and kind.pattern is not None:
        yield kind
    parts: list[Any] = []
    if isinstance(kind, inspect.Metadata):
        parts = [kind.type]
    elif isinstance(kind, inspect.UnionType):
        parts = list(kind.types)
    elif isinstance(kind, inspect.ListType):
        parts = [kind.item_type]
    elif isinstance(kind, inspect.StructType):
        parts = [each.type for each in kind.fields]
    for part in parts:
        yield from texts_with_patterns(part)


def test_a_pattern_ends_with_the_text_and_not_before_a_line_feed() -> None:
    kinds = [each.body for each in WITH_BODY] + [each.query for each in app.resources()]
    kinds += [each.body for each in COMMANDS.values()]
    told = [inspect.type_info(each) for each in kinds if each is not None]
    patterns = {each.pattern for kind in told for each in texts_with_patterns(kind)}
    assert len(patterns) > 5
    assert [each for each in patterns if "$" in (each or "").replace(r"$(?!\n)", "")] == []


# Queries


async def test_no_parameter_takes_a_wrong_value(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    for route in WITH_QUERY:
        for name, kind in fields(route.query).items():
            kinds, _ = plain(kind)
            wrong = ["%00", "a%00b", "x" * 5000]
            if inspect.IntType in kinds:
                wrong += ["x", "1.5", "", "0x10", "%D9%A3", "1_0", "null", "NULL"]
                if name not in CLAMPED:
                    wrong += ["-1", "9" * 30, "9" * 3000]
            if inspect.BoolType in kinds:
                wrong += ["maybe", "2", "", "null"]
            for text in wrong:
                status, answer = await caller.call(route, query=f"?{name}={text}")
                facts = (route.method, route.path, name, text, status, answer)
                faults.expect(status == 400 and refused(answer, name), *facts)
            status, answer = await caller.call(route, query=f"?{name}=1&{name}=2")
            faults.expect(status == 400, route.method, route.path, name, "twice", status, answer)
            for odd in ("%ED%A0%80", "%FF", "%", "%zz", "'", '"', "%25", "_", "\\"):
                status, answer = await caller.call(route, query=f"?{name}={odd}")
                faults.expect(status < 500, route.method, route.path, name, odd, status, answer)


async def test_a_limit_beyond_its_bounds_is_brought_into_them(
    caller: Caller, faults: Faults
) -> None:
    for route in WITH_QUERY:
        for name in CLAMPED & fields(route.query).keys():
            for text in ("0", "-5", "1000000", "9" * 30, "-" + "9" * 3000):
                query = f"?{name}={text}&{NEEDED.get(route.path, '')}"
                status, answer = await caller.call(route, query=query)
                faults.expect(status == 200, route.path, text, status, answer)


async def test_a_parameter_that_is_not_known_is_passed_over(caller: Caller, faults: Faults) -> None:
    for route in WITH_QUERY:
        if route.method == "GET":
            query = f"?nobody=knows%00&nobody=this&{NEEDED.get(route.path, '')}"
            status, answer = await caller.call(route, query=query)
            # Nobody knows the ticket of a file, and the token of a letter or a calendar.
            unknown = {
                "/attachments/{attachment_id}/file": 401,
                "/mail/unsubscribe": 404,
                "/users/me/calendar.ics": 404,
            }
            wanted = unknown.get(route.path, 200)
            faults.expect(status == wanted, route.path, status, answer)


# Paths


async def test_what_cannot_be_an_id_is_not_there(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    texts = ["0", "-1", "x", "1.0", "1%20", "9" * 16, "9" * 30, "9" * 900, "%D9%A3", "%00", "1%00"]
    texts += ["%ED%A0%80", "%FF", "x" * 2000, "'", "..%2F..", "%2e%2e", "1;drop", "true", "null"]
    texts += ["0000000000000000000001" + "5" * 900, "%F0%9F%91%8D", str(UNKNOWN)]
    for route in ROUTES:
        content = json.dumps(example(route)).encode() if route.body is not None else None
        for name in re.findall(r"{(\w+)}", route.path):
            for text in texts:
                if name == "emoji":
                    continue
                status, answer = await caller.call(
                    route, content, place={name: text}, query=f"?{NEEDED.get(route.path, '')}"
                )
                facts = (route.method, route.path, name, text, status, answer)
                # A token is a credential.
                faults.expect(status in (401 if name == "token" else 404, 404, 405), *facts)


async def test_an_emoji_that_is_none_is_refused(caller: Caller, faults: Faults) -> None:
    for route in ROUTES:
        if "{emoji}" in route.path:
            for text in ("%00", "%ED%A0%80", "x" * 900, "%2F", "'"):
                status, answer = await caller.call(route, place={"emoji": text})
                facts = (route.method, route.path, text, status, answer)
                faults.expect(status < 500, *facts)


# Headers


async def test_strange_headers_do_no_harm(caller: Caller, faults: Faults, unchanged: None) -> None:
    elsewhere = {"card_id": UNKNOWN, "user_id": UNKNOWN}
    for route in ROUTES:
        if route.method == "GET" or route.need is None:
            continue
        content = b'{"zzz": [' if route.body is not None else None
        for key in ("", "x" * 201, "two words", "é"):
            status, answer = await caller.call(
                route, content, headers={"Idempotency-Key": key}, place=elsewhere
            )
            facts = (route.method, route.path, key, status, answer)
            faults.expect(status in (400, 404), *facts)


async def test_a_version_that_is_none_matches_nothing(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    for route in ROUTES:
        if route.versioned:
            content = json.dumps(example(route)).encode() if route.body is not None else None
            for malformed in ("", "x", "3", '"3', '"3" 4', "1, 2"):
                status, answer = await caller.call(route, content, headers={"If-Match": malformed})
                facts = (route.method, route.path, malformed, status, answer)
                faults.expect(status == 400 and list(answer["fields"]) == ["If-Match"], *facts)
            for tag in ('"x"', '"-1"', '"99999999999"', '"4294967296"', '"2147483648"', '"x", "y"'):
                status, answer = await caller.call(route, content, headers={"If-Match": tag})
                facts = (route.method, route.path, tag, status, answer)
                faults.expect(status == 412 and answer["code"] == "version_conflict", *facts)


async def test_a_version_for_what_has_none_is_refused(
    caller: Caller, faults: Faults, unchanged: None
) -> None:
    """Who sends one relies on it that nobody's change is overwritten."""
    for route in ROUTES:
        if route.changes and not (route.versioned or route.accepts or route.produces):
            content = json.dumps(example(route)).encode() if route.body is not None else None
            status, answer = await caller.call(route, content, headers={"If-Match": '"1"'})
            told = status == 400 and answer["fields"] == {"If-Match": "unknown"}
            faults.expect(told, route.method, route.path, status, answer)


# Anything


@st.composite
def rubbish(draw: st.DrawFn, route: Route) -> tuple[bytes | None, str]:
    """A body and a query in which several fields are wrong, each in a way of its own."""
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="ascii", exclude_characters="`$"), max_size=700),
        st.sampled_from(["", " ", "urgent", "#fff", "a@", "2026-13-01", "x" * 30_000, "me\n"]),
        st.lists(st.one_of(st.none(), st.integers(-9, 9), st.text("ab", max_size=3)), max_size=120),
        st.dictionaries(st.sampled_from(["id", "position", "body"]), st.integers(), max_size=2),
    )
    body, query = None, ""
    if route.body is not None:
        names = sorted(fields(route.body)) or ["body"]
        given = draw(st.dictionaries(st.sampled_from(names), values, max_size=len(names)))
        body = json.dumps([given] if draw(st.integers(0, 9)) == 0 else given).encode()
    if route.query is not None:
        names = sorted(fields(route.query))
        texts = st.text(st.characters(codec="ascii", exclude_characters="`$"), max_size=40)
        asked = draw(st.dictionaries(st.sampled_from(names), texts, min_size=1))
        query = "?" + urllib.parse.urlencode(asked)
    return body, query


def drawn(route: Route) -> list[tuple[bytes | None, str]]:
    """Twenty such, always the same."""
    cases: list[tuple[bytes | None, str]] = []

    @hypothesis.seed(7)
    @hypothesis.settings(
        max_examples=20,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(rubbish(route))
    def draw(case: tuple[bytes | None, str]) -> None:
        cases.append(case)

    draw()
    return cases


async def test_no_refusal_speaks_of_types_or_patterns(caller: Caller, faults: Faults) -> None:
    """`Caller.call` looks at each."""
    refused = 0
    for route in ROUTES:
        if route.body is None and route.query is None:
            continue
        for body, query in drawn(route):
            # Nobody is deactivated meanwhile.
            place = {"user_id": UNKNOWN - 1}
            status, answer = await caller.call(route, body, query=query, place=place)
            faults.expect(status < 500, route.method, route.path, body, query, status, answer)
            refused += status >= 400
    assert refused > 5 * len(ROUTES)


async def test_all_wrong_fields_are_told_at_once(alice: Person, board: Board) -> None:
    column = f"{board.path}/columns/{board.backlog}/cards"
    refused = await alice.post(
        column,
        {
            "title": "x" * 501,
            "priority": "urgent",
            "label_ids": [0],
            "tags": 5,
            "start_date": "2026-13-45",
            "due_date": None,
        },
        status=400,
    )
    assert refused["code"] == "invalid_fields"
    assert refused["fields"] == {
        "title": "too_long",
        "priority": "not_one_of",
        "label_ids": "out_of_range",
        "tags": "bad_format",
        "start_date": "bad_format",
    }
    assert set(refused["error"].split("; ")) == {
        "start_date: must be a date, YYYY-MM-DD",
        "title: must be at most 500 characters",
        "priority: must be one of none, low, medium, high, critical",
        "label_ids: each must be at least 1",
        "tags: must be a list",
    }
    assert refused["limits"]["title"] == {"min": 1, "max": 500}
    assert refused["allowed"] == {"priority": ["none", "low", "medium", "high", "critical"]}

    refused = await alice.get(f"{board.path}/cards?closed=maybe&column_id=x&label=", status=400)
    assert set(refused["error"].split("; ")) == {
        "closed: must be true or false",
        "column_id: must be a whole number",
        "label: must not be blank",
    }
    assert refused["fields"] == {
        "closed": "bad_format",
        "column_id": "bad_format",
        "label": "blank",
    }
    refused = await alice.get(f"{board.path}/events?since=now", status=400)
    assert refused["error"] == "since: must be a whole number"


async def test_what_is_not_there_is_told_in_one_sentence_however_it_is_spelt(
    alice: Person, board: Board, olga: Person
) -> None:
    for ref in ("999", "DEMO-999", "DEMO-1x", "no.card", "9" * 30):
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/history")):
            answer = await alice.request(method, f"{board.path}/cards/{ref}{path}", {})
            assert answer.status == 404
            assert (answer.body["error"], answer.body["code"]) == ("card not found", "not_found")
    for ref in ("999", "x"):
        for method, body in (("PUT", {"role": "viewer"}), ("DELETE", None)):
            answer = await olga.request(method, f"{board.path}/members/{ref}", body)
            assert (answer.status, answer.body["error"]) == (404, "member not found")
    gone = await alice.put(f"{board.path}/chat/messages/999", {"body": "x"}, status=404)
    assert gone["error"] == "message not found"


# The reader of bodies itself


class Note(msgspec.Struct):
    """Any text."""

    text: str = ""
    inner: Any = None


class Picky(msgspec.Struct, forbid_unknown_fields=True):
    """Texts that msgspec quotes when it refuses them."""

    kind: Literal["a", "b"] = "a"


read = body_reader(Note)


@pytest.mark.parametrize(
    ("raw", "deep"),
    [
        (b"", 0),
        (b"{}", 1),
        (b'{"a":[{}]}', 3),
        (b'{"a":"[[[["}', 1),
        (b'{"a":"\\"[[[["}', 1),
        (b'{"a":"\\\\","b":[[]]}', 3),
        (b'["\\\\\\"[", [1]]', 2),
        (b"[[],[[]],[]]", 3),
    ],
)
def test_brackets_in_texts_are_not_depth(raw: bytes, deep: int) -> None:
    assert depth(raw) == deep


def test_sixty_four_levels_are_read_and_one_more_is_not() -> None:
    assert read(b'{"inner":' + b"[" * 63 + b"]" * 63 + b"}")
    with pytest.raises(WarmDeskError, match="nested deeper than 64"):
        read(b'{"inner":' + b"[" * 64 + b"]" * 64 + b"}")


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read(b'{"text":"\\\\u0000"}').text == "\\u0000"
    with pytest.raises(WarmDeskError, match="text: text must not hold NUL"):
        read(b'{"text":"\\\\\\u0000"}')


def test_a_name_that_no_text_can_hold_is_told_all_the_same() -> None:
    with pytest.raises(WarmDeskError, match="text must not hold NUL") as caught:
        read(b'{"' + b"\\ud800" * 150 + b'":"\\u0000"}')
    assert problem(caught.value).status == 400


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800"])
def test_the_field_of_a_bad_text_is_named_in_a_small_body_only(bad: str) -> None:
    for size, told in ((10_000, True), (20_000, False)):
        raw = b'{"inner":{"a":"%b","b":"%b"}}' % (b"x" * size, bad.encode())
        with pytest.raises(WarmDeskError, match="text must not hold") as caught:
            read(raw)
        assert ("fields" in caught.value.extra) is told
        assert caught.value.message.startswith("inner.b: ") is told


def test_a_long_name_is_cut() -> None:
    with pytest.raises(WarmDeskError) as caught:
        read(b'{"inner":{"%b":["\\u0000"]}}' % (b"k" * 9000))
    (name,) = caught.value.extra["fields"]
    assert name == f"inner.{'k' * 93}…"
    assert len(caught.value.message) < 200


def test_of_a_long_value_or_name_little_is_quoted() -> None:
    read = body_reader(Picky)
    for raw, name, code in (
        (b'{"kind":"%b"}' % (b"x" * 9000), "kind", "not_one_of"),
        (b'{"%b":1}' % (b"x" * 9000), "x" * 99 + "…", "unknown"),
    ):
        with pytest.raises(WarmDeskError) as caught:
            read(raw)
        assert caught.value.extra["fields"] == {name: code}
        assert len(caught.value.message) < 200


def test_an_emoji_in_two_halves_is_one() -> None:
    assert read(b'{"text":"\\ud83d\\udc4d"}').text == "👍"


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 500_000,
        b'{"a":"' + b"\\" * 1_000_000,
        b"\\" * 500_000 + b"\\u0000" * 80_000,
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b'["",' * 250_000,
        b'{"text":"' + b"\\ud83d" * 160_000 + b'"}',
        b'{"inner":[' + b'"\\u0000",' * 100_000 + b"1]}",
        b'{"' + b"k" * 500_000 + b'":[' + b'"",' * 180_000 + b'"\\u0000"]}',
        b'{"' + b"k" * 500_000 + b'":[' + b'"",' * 180_000 + b'"\\ud800"]}',
    ],
    ids=range(10),
)
def test_the_check_takes_time_in_proportion(raw: bytes) -> None:
    began = time.process_time()
    with pytest.raises(WarmDeskError):
        read(raw)
    assert time.process_time() - began < 0.2


def test_most_bodies_are_hardly_looked_at() -> None:
    raw = json.dumps({"text": "a" * 200, "inner": [1, 2, {"b": "c"}]}).encode()
    rounds = 2000
    best = min(_seconds(raw, rounds) for _ in range(5))
    assert best / rounds < 20e-6


def _seconds(raw: bytes, rounds: int) -> float:
    began = time.process_time()
    for _ in range(rounds):
        check_text(raw)
    return time.process_time() - began
