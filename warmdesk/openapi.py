"""The API's description, OpenAPI 3.0.3, made from the routes; and the page that shows it.

What @route was told is all there is: a path, a role and msgspec Structs. aiohttp-apispec's @docs
carries a handler's words, apispec assembles the document, and aiohttp-swagger3 refuses to start
with a wrong one and brings Swagger UI along, so that nothing is fetched from elsewhere. 3.0,
because aiohttp-swagger3 and many generators know no later version.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Formatter
from typing import Any

import msgspec
import orjson
from aiohttp import web
from aiohttp_swagger3 import SwaggerUiSettings
from aiohttp_swagger3.routes import _SWAGGER_UI_INDEX_HTML
from aiohttp_swagger3.swagger import Swagger
from apispec import APISpec, BasePlugin

import warmdesk
from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.realtime.events import CATALOGUE
from warmdesk.rest.routing import BASE, SIGNED_IN, Handler, Route
from warmdesk.schemas import MAX_ID

REF = "#/components/schemas/{name}"

DESCRIPTION = """\
Boards, cards and talk for a team, live: every change, whoever makes it, reaches all open sockets.

**Sign in** with `POST /auth/login` and give the access token as `Authorization: Bearer …`;
programs use an API key as `X-API-Key`. An access token lasts 15 minutes, `POST /auth/refresh` gives
the next.

**Errors** are always `{"error": "a sentence"}`, often with machine keys beside it: `code`, `fields`
(what is wrong with which field), `request_id`. 400 is a malformed request, 422 one that is well
formed but impossible. What you may not see does not exist: 404.

**Updates** change only the keys that are sent; `null` or `""` clears. Cards, columns and messages
have a `version`: send it as `If-Match` or in the body, and nobody's change is overwritten.

**Retries.** Where an operation takes an `Idempotency-Key`, the same key again is answered as the
first time, for 24 hours. In that time a person has 50,000 keys and 256 MiB of answers to them.

**Lists** are arrays; where an operation says so, `Link: <…>; rel="next"` names the next page. A
`limit` beyond its bounds is brought into them. A page may hold fewer than `limit`, even nothing:
the last one is the one without a `Link`.

**Limits.** Beyond one the answer is 429 and nothing was done: wait as many seconds as `Retry-After`
says and send it again. `code` says which limit, with its default here:

* `rate_limited`: 1,200 changes and 60 messages of a person in a minute; tries to sign in, accounts
  that register, refreshes, tickets and sockets. `RateLimit-Policy` says how many (`q`) in how many
  seconds (`w`). A change of many cards counts as one for each 50.
* `too_many_at_once`: four reads and four writes of a person are under way in a worker, and this one
  waited two seconds.
* `too_many_sign_ins`: so many people sign in now that yours would wait too long.
* `too_many_idempotency_keys`: send none, or wait.

A body has at most 1 MiB, and 16 KiB where nobody has to be signed in; a larger one is 413.
"""

TAGS = {
    "health": "Whether the server lives, is ready, and which one it is.",
    "auth": "Signing in and out, sessions, API keys.",
    "users": "Your own account, and everybody's for administrators.",
    "projects": "Boards with their members and talk.",
    "members": "Who is on a project, in which role.",
    "labels": "The labels of a project's cards.",
    "columns": "The columns of a board.",
    "cards": "The cards: pieces of work.",
    "history": "What happened to cards.",
    "chat": "A project's chat.",
    "events": "What happened, numbered: the feeds that sockets follow, read over REST.",
    "sockets": "The WebSockets: every change, live.",
    "metrics": "Figures for Prometheus.",
}

SOCKET_WORDS = """\
Each frame is a text frame with `{"type", "payload"}`. Events have `seq` too: 1, 2, 3 … on each
channel, with `ts`, `actor_id` and, if the change's request had an `X-Client-Id`, `client_id`. Apply
the event after the last one you have, pass over what you have already, and on anything else send
`sync`. With `since` and `epoch` (from `hello`, or from the project's `seq` and `epoch`) you get
what you missed, or `sync.reset`: fetch again.

You may send `ping`, `sync`, `auth.refresh`, `chat.send`, `chat.edit`, `chat.delete` and
`chat.typing` as `{"type", "payload", "id"}`; `ack`, `pong` and `error` bring your `id` back.

| type | payload | meaning |
|---|---|---|
"""

PATH_WORDS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "slug": ({"type": "string"}, "demo", "The project's slug."),
    "card_id": ({"type": "string"}, "DEMO-7", "The card's id, or its key."),
    "emoji": ({"type": "string"}, "👍", "The emoji, URL-encoded."),
    "session_id": (
        {"type": "string", "format": "uuid"},
        "0198c5f2-5d0a-7c1e-9f0a-2b1c3d4e5f60",
        "The session's id.",
    ),
}
NUMBER = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}

CONDITIONAL = ("show_project",)
"""Operations that answer 304 to an ``If-None-Match``."""
WHOLE = ("search_users",)
"""Operations whose query chooses from a list, but whose answer names no next page."""
REPEATABLE = ("/cards", "/messages", "/comments", "/time-entries", "/ticket")
"""What the paths end in whose POST knows the ``Idempotency-Key``."""

STATUS_WORDS = {
    400: ("BadRequest", "Malformed: not JSON, a wrong type, a missing field.", "title: required"),
    401: ("Unauthorized", "No credential, or one that is no longer good.", "sign in first"),
    403: ("Forbidden", "Your role does not allow this.", "your role does not allow this"),
    404: ("NotFound", "It does not exist, or not for you.", "project not found"),
    408: ("TooSlow", "The body did not come in time.", "the body did not come in time"),
    409: ("Conflict", "It collides with what is there.", "card was changed by someone else"),
    412: ("Mismatch", "`If-Match` names another version.", "card was changed by someone else"),
    413: (
        "TooLarge",
        "More bytes than a body may have: 1 MiB, and 16 KiB where nobody has to be signed in.",
        "the body is larger than 1048576 bytes",
    ),
    415: ("NotJson", "Not JSON.", "send JSON, with Content-Type: application/json"),
    422: ("Impossible", "Well formed, but it cannot be.", "the project is archived"),
    426: ("NoUpgrade", "Not the handshake of a WebSocket.", "this is a WebSocket"),
    429: (
        "TooMany",
        "Over a limit, and nothing was done: again after `Retry-After`. `code` says which limit.",
        "too many requests, try again later",
    ),
    503: (
        "Unavailable",
        "Away or busy: again after `Retry-After`. Where `code` is `unknown_outcome` the change may"
        " have been done: ask, or send it again with its `Idempotency-Key`.",
        "temporarily unavailable, try again",
    ),
}

HEADER_WORDS: dict[str, dict[str, Any]] = {
    "IfMatch": {
        "in": "header",
        "name": "If-Match",
        "description": "The version that you know, in quotes; another one there is 412.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "IfNoneMatch": {
        "in": "header",
        "name": "If-None-Match",
        "description": "An `ETag` that you have; 304 while it holds.",
        "schema": {"type": "string"},
        "example": '"5f0c-17-9e107d9d372b"',
    },
    "IdempotencyKey": {
        "in": "header",
        "name": "Idempotency-Key",
        "description": "Any text of your own; the same one again is answered as the first time,"
        " with `Idempotent-Replay: true`. With another body it is 422.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        "example": "build-4242",
    },
    "ClientId": {
        "in": "header",
        "name": "X-Client-Id",
        "description": "Comes back as `client_id` of the events, so that you know your own.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "example": "tab-1",
    },
}

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
    "fields": {"title": "required"},
    "request_id": "9f86d081884c7d65",
    "version": 3,
    "server_time": "2026-04-04T10:00:00.000000Z",
}
"""What examples say where a schema has none of its own; only if it fits the schema."""
WORDS = ("text", "Text", "T", "2026-04-04", "2026-04-04T10:00:00Z", "12", "en", "UTC", "")


class Error(msgspec.Struct, omit_defaults=True):
    """What every answer from 400 up holds. Some have further keys of their own."""

    error: str
    code: str | msgspec.UnsetType = msgspec.UNSET
    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET


# Schemas


def as_openapi(node: Any) -> Any:
    """JSON Schema 2020-12, as msgspec writes it, in the dialect of OpenAPI 3.0.

    ``null`` becomes ``nullable``, ``const`` an ``enum``, ``examples`` an ``example``; what stands
    beside a reference goes with it into an ``allOf``.
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
    if len(rest) > 1:
        return {**outer, "anyOf": [{**each, "nullable": True} for each in rest]}
    if "$ref" in rest[0]:
        return {**outer, "type": "object", "allOf": rest, "nullable": True}
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
        for key in ("allOf", "anyOf"):
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


# The document


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description of these operations, as a dictionary."""
    types = [kind for each in routes for kind in (each.body, each.query, each.answer) if kind]
    schemas = Schemas([Error, *(kind for kind in types if kind is not str)])
    for query in {_name(each.query) for each in routes if each.query}:
        schemas.parts.pop(query, None)
    spec = APISpec(
        title="WarmDesk",
        version=warmdesk.__version__,
        openapi_version="3.0.3",
        plugins=[schemas],
        info={
            "description": DESCRIPTION,
            "contact": {"name": "WarmDesk"},
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        servers=[{"url": BASE, "description": "This server."}],
        security=[{"BearerAuth": []}, {"ApiKeyAuth": []}, {"ApiKeyQuery": []}],
    )
    _add_credentials(spec)
    _add_shared(spec)
    used = {each.tag for each in routes}
    for name in sorted(used, key=list(TAGS).index):
        spec.tag({"name": name, "description": TAGS[name]})
    for each in routes:
        spec.path(path=each.path, operations={each.method.lower(): operation(each, schemas)})
    return _with_used_components(spec.to_dict())


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _add_credentials(spec: APISpec) -> None:
    add: Callable[[str, dict[str, Any]], Any] = spec.components.security_scheme
    add(
        "BearerAuth",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of `POST /auth/login`.",
        },
    )
    add(
        "ApiKeyAuth",
        {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key: `wd_…`.",
        },
    )
    add(
        "ApiKeyQuery",
        {
            "type": "apiKey",
            "in": "query",
            "name": "api_key",
            "description": "The same in the address. Prefer the header: addresses are logged.",
        },
    )


def _add_shared(spec: APISpec) -> None:
    """Headers that may be sent with many operations, and the answers that refuse."""
    for name, header in HEADER_WORDS.items():
        rest = {key: each for key, each in header.items() if key not in ("in", "name")}
        spec.components.parameter(name, header["in"], {**rest, "name": header["name"]})
    retry = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    limit = {
        "RateLimit-Policy": {
            "description": "The limit, how many it allows (`q`), in how many seconds (`w`); with"
            " `rate_limited`.",
            "schema": {"type": "string"},
            "example": '"message";q=60;w=60',
        },
        "RateLimit": {
            "description": "What is left of it (`r`), and the seconds until there is more (`t`);"
            " with `rate_limited`.",
            "schema": {"type": "string"},
            "example": '"message";r=0;t=17',
        },
    }
    for status, (name, sentence, example) in STATUS_WORDS.items():
        content: dict[str, Any] = {"error": example}
        if status == 400:
            content["fields"] = {"title": "required"}
        if status in (409, 412):
            content["code"] = "version_conflict"
        if status == 429:
            content["code"] = "rate_limited"
        response: dict[str, Any] = {
            "description": sentence,
            "content": {
                "application/json": {
                    "schema": {"$ref": REF.format(name="Error")},
                    "example": content,
                }
            },
        }
        if status in (429, 503):
            response["headers"] = retry | limit if status == 429 else retry
        spec.components.response(name, response)


def _with_used_components(made: dict[str, Any]) -> dict[str, Any]:
    """The document without shared parts that no operation refers to."""
    text = orjson.dumps(made).decode()
    for kind in ("parameters", "responses"):
        kept = made["components"][kind]
        made["components"][kind] = {
            name: part for name, part in kept.items() if f'"#/components/{kind}/{name}"' in text
        }
    return made


def operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    """One operation: who may, what goes in, what comes out, how it is refused."""
    words = route.handler.__apispec__  # type: ignore[attr-defined]  # set by @docs
    made: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "tags": words["tags"],
        "summary": words["summary"].rstrip("."),
        "description": _described(route, words),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.need is None:
        made["security"] = _socket_credentials() if route.status == 101 else []
    if route.body is not None:
        schema = schemas.of(route.body)
        example = route.example if route.example is not None else schemas.example(schema)
        made["requestBody"] = {
            "required": _is_needed(route.body),
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    return made


def _is_needed(body: Any) -> bool:
    """A body must be sent: the empty object, which none stands for, is not one of this type."""
    try:
        msgspec.convert({}, body)
    except msgspec.ValidationError:
        return True
    return False


def _socket_credentials() -> list[dict[str, list[str]]]:
    """A socket's token may also stand in its address, which is a parameter: so none is needed."""
    return [{"BearerAuth": []}, {"ApiKeyAuth": []}, {}]


def _described(route: Route, words: dict[str, Any]) -> str:
    lines = [" ".join(part.split()) for part in words["description"].split("\n\n")]
    parts = [words["summary"], *(line for line in lines if line), _who(route)]
    if route.status == 101:
        parts.append(SOCKET_WORDS + _event_table(route))
    return "\n\n".join(parts)


def _who(route: Route) -> str:
    if route.need is None:
        return "For everybody who has a token." if route.status == 101 else "For everybody."
    if route.need is SIGNED_IN:
        return "For every signed-in user."
    if isinstance(route.need, Role):
        return f"For the project's {route.need.word}s and above."
    roles = {route.need} if isinstance(route.need, GlobalRole) else route.need
    if roles == frozenset(GlobalRole):
        return "For every account that is signed in, service accounts too."
    return f"For the global roles {', '.join(sorted(roles))}."


USER_EVENTS = ("project.created", "project.joined", "project.left", "user.", "session.", "dm.")


def _event_table(route: Route) -> str:
    """The catalogue's lines that this socket carries."""
    of_users = "{slug}" not in route.path
    lines = []
    for name, each in CATALOGUE.items():
        if name.startswith("control."):
            continue
        common = not each.stored and not name.startswith(("presence.", "chat."))
        if common or name == "gone" or name.startswith(USER_EVENTS) == of_users:
            lines.append(f"| `{name}` | {_name(each.payload)} | {each.sentence} |")
    return "\n".join(lines)


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any] | str]:
    """Path, query and headers; a text stands for one of the shared ones."""
    made: list[dict[str, Any]] = []
    for _, name, _, _ in Formatter().parse(route.path):
        if name:
            thing = name.removesuffix("_id").replace("_", " ")
            schema, example, words = PATH_WORDS.get(name, (NUMBER, 7, f"The {thing}'s id."))
            made.append(
                {
                    "in": "path",
                    "name": name,
                    "required": True,
                    "description": words,
                    "schema": schema,
                    "example": example,
                }
            )
    if route.query is not None:
        made += _query_parameters(route.query, schemas)
    return [*made, *_headers(route)]


def _query_parameters(kind: Any, schemas: Schemas) -> list[dict[str, Any]]:
    (top,), parts = msgspec.json.schema_components([kind], ref_template=REF)
    struct = as_openapi(parts[top["$ref"].rpartition("/")[2]])
    made = []
    for name, schema in struct["properties"].items():
        # A parameter that is not sent is not null.
        schema.pop("nullable", None)
        if schema.get("default", 0) is None:
            del schema["default"]
        if "enum" in schema:
            schema["enum"] = [each for each in schema["enum"] if each is not None]
        words = schema.pop("description", "")
        parameter = {"in": "query", "name": name, "schema": schema}
        if words:
            parameter["description"] = words
        parameter["example"] = schema.pop("example", schema.get("default"))
        if parameter["example"] in (None, ""):
            parameter["example"] = schemas.example(schema, name)
        if name in struct.get("required", ()):
            parameter["required"] = True
        made.append(parameter)
    return made


def _headers(route: Route) -> list[str]:
    names = []
    if _has_version(route):
        names.append("IfMatch")
    if route.handler.__name__ in CONDITIONAL:
        names.append("IfNoneMatch")
    if route.method == "POST" and route.path.endswith(REPEATABLE):
        names.append("IdempotencyKey")
    if route.method != "GET" and route.need is not None:
        names.append("ClientId")
    return names


def _has_version(route: Route) -> bool:
    in_body = "version" in getattr(route.body, "__struct_encode_fields__", ())
    return route.method != "GET" and (in_body or 412 in route.errors)


def _statuses(route: Route) -> list[int]:
    """How an operation may refuse."""
    found = {400, *route.errors}
    if route.path != "/health":
        found.add(503)
    if route.need is not None:
        found |= {401, 403, 429}
    if "{" in route.path:
        found.add(404)
    if route.body is not None:
        found |= {408, 413, 415}
    if route.method != "GET" and isinstance(route.need, Role):
        found.add(422)
    if _has_version(route):
        found |= {409, 412} if route.body is not None else {412}
    return sorted(found & STATUS_WORDS.keys())


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    success = _success(route, schemas)
    made: dict[str, Any] = {str(route.status): success}
    for status in route.also:
        made[str(status)] = {**success, "description": "It was there already."}
    if route.handler.__name__ in CONDITIONAL:
        made["304"] = {"description": "What you have still holds."}
    for status in _statuses(route):
        made[str(status)] = STATUS_WORDS[status][0]
    return made


def _success(route: Route, schemas: Schemas) -> dict[str, Any]:
    if route.status == 101:
        return {"description": "The socket is open; its first frame is `hello`."}
    if route.answer is None:
        return {"description": "Done; nothing to say."}
    if route.answer is str:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
        return {"description": "Plain text.", "content": content}
    schema = schemas.of(route.answer)
    content = {"application/json": {"schema": schema, "example": schemas.example(schema)}}
    response: dict[str, Any] = {
        "description": "Made." if route.status == 201 else "What you asked for.",
        "content": content,
    }
    paged = route.query is not None and route.handler.__name__ not in WHOLE
    if schema.get("type") == "array" and paged:
        response["headers"] = {
            "Link": {
                "description": 'The next page, as `<…>; rel="next"`; absent on the last one.',
                "schema": {"type": "string"},
            }
        }
    return response


# The pages

PAGE = "/swagger"
MEDIA = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
DOCUMENTS = (f"{PAGE}/doc.json", "/openapi.json", f"{PAGE}/swagger.json")


@dataclass(frozen=True, slots=True)
class Text:
    """Something ready to be sent."""

    body: bytes
    content_type: str
    tag: str
    policy: str = ""

    async def send(self, request: web.Request) -> web.Response:
        headers = {"ETag": self.tag}
        if self.policy:
            headers["Content-Security-Policy"] = self.policy
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        if self.content_type.startswith("image/"):
            return web.Response(body=self.body, content_type=self.content_type, headers=headers)
        return web.Response(
            body=self.body, content_type=self.content_type, charset="utf-8", headers=headers
        )


class Documents:
    """The document and Swagger UI, made once and kept ready to be sent.

    The page's inline script is allowed by its hash, and no other is.
    """

    def __init__(self, made: dict[str, Any]) -> None:
        """Raises when aiohttp-swagger3 finds the document wrong."""
        scratch = web.Application()
        settings = SwaggerUiSettings(
            path=PAGE, validatorUrl=None, displayRequestDuration=True, docExpansion="none"
        )
        Swagger(
            scratch,
            validate=False,
            spec=made,
            request_key="data",
            swagger_ui_settings=settings,
            redoc_ui_settings=None,
            rapidoc_ui_settings=None,
        )
        page = (
            scratch[_SWAGGER_UI_INDEX_HTML].strip().replace("<title>Swagger UI", "<title>WarmDesk")
        )
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        hashes = " ".join(f"'sha256-{_sha256(each)}'" for each in scripts)
        policy = (
            f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline';"
            " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
            " frame-ancestors 'none'"
        )
        self.json = _text(orjson.dumps(made), "application/json")
        self.page = _text(page.encode(), "text/html", policy)
        self.assets = {
            each.name: _text(each.read_bytes(), MEDIA[each.name.rpartition(".")[2]])
            for each in files("aiohttp_swagger3").joinpath("swagger_ui").iterdir()
            if each.name.rpartition(".")[2] in MEDIA
        }

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each document."""
        found = dict.fromkeys(DOCUMENTS, self.json.send)
        found |= {f"{PAGE}/": self.page.send, f"{PAGE}/index.html": self.page.send}
        for name, asset in self.assets.items():
            found[f"{PAGE}/swagger_ui_static/{name}"] = asset.send
        return [("GET", PAGE, _to_page), *(("GET", path, send) for path, send in found.items())]


async def _to_page(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"{PAGE}/index.html")


def _text(body: bytes, content_type: str, policy: str = "") -> Text:
    return Text(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"', policy)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
