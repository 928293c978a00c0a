"""The API's description, OpenAPI 3.0.3, made from the routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from string import Formatter
from typing import Any

import msgspec
import orjson
from apispec import APISpec

import warmdesk
from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.config import Settings
from warmdesk.errors import CODE_OF_STATUS, INVALID_FIELDS
from warmdesk.http.commands import COMMANDS
from warmdesk.http.route import SIGNED_IN, STREAM, Accepts, Etag, Route, parameter
from warmdesk.http.routing import BASE
from warmdesk.openapi.schemas import REF, Error, Schemas, as_openapi
from warmdesk.openapi.words import DESCRIPTION, HEADER_WORDS, SOCKET_WORDS, STATUS_WORDS
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.events import CATALOGUE

PLACE: dict[str, Any] = {
    "Warmdesk-Seq": {
        "description": "The seq of the last event that this shows: apply those after it again.",
        "schema": {"type": "integer", "format": "int64"},
    },
    "Warmdesk-Epoch": {"description": "Its epoch.", "schema": {"type": "string"}},
}
"""Headers of what has a place in a feed."""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description of these operations, as a dictionary."""
    types = [
        kind for each in routes for kind in (each.body, each.query, each.answer, each.brief) if kind
    ]
    schemas = Schemas([Error, *types, *_payloads()])
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
        security=[{"ApiKeyQuery": []}, {"ApiKeyAuth": []}, {"BearerAuth": []}],
    )
    _add_credentials(spec)
    _add_shared(spec)
    for tag in dict.fromkeys(each.tag for each in routes):
        spec.tag({"name": tag.name, "description": tag.sentence})
    for each in routes:
        spec.path(path=each.path, operations={each.method.lower(): operation(each, schemas)})
    return _with_used_components(spec.to_dict())


def _payloads() -> list[Any]:
    """What sockets carry, of all whom a socket may be for."""
    return [each.payload for each in CATALOGUE.values() if each.scope is not EventScope.CONTROL]


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _add_credentials(spec: APISpec) -> None:
    """The page opens on the last one: the one that people use."""
    add: Callable[[str, dict[str, Any]], Any] = spec.components.security_scheme
    add(
        "ApiKeyQuery",
        {
            "type": "apiKey",
            "in": "query",
            "name": "api_key",
            "description": "The same in the address. Prefer the header: addresses are logged.",
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
        "BearerAuth",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of `POST /auth/login`.",
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
            "description": "The limit, how many it allows (`q`), in how many seconds (`w`), or at"
            " once (`qu` is `concurrent-requests`).",
            "schema": {"type": "string"},
            "example": '"message";q=60;w=60',
        },
        "RateLimit": {
            "description": "What is left of it (`r`), and the seconds until there is more (`t`).",
            "schema": {"type": "string"},
            "example": '"message";r=0;t=17',
        },
    }
    for status, (name, sentence, example) in STATUS_WORDS.items():
        content: dict[str, Any] = {"error": example, "code": CODE_OF_STATUS[status]}
        if status == 400:
            content |= {"code": INVALID_FIELDS, "fields": {"title": "required"}}
        if status == 409:
            content["code"] = "version_conflict"
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
        parts = made["components"][kind]
        made["components"][kind] = {
            name: part for name, part in parts.items() if f'"#/components/{kind}/{name}"' in text
        }
    return made


def operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    """One operation: who may, what goes in, what comes out, how it is refused."""
    words = route.handler.__apispec__  # type: ignore[attr-defined]  # set by @docs
    made: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": words["tags"],
        "summary": words["summary"].rstrip("."),
        "description": _described(route, words),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.need is None:
        made["security"] = _socket_credentials() if route.stays else []
    elif route.session:
        made["security"] = [{"BearerAuth": []}]
    if route.body is not None:
        schema = schemas.of(route.body)
        example = route.example if route.example is not None else schemas.example(schema)
        made["requestBody"] = {
            "required": _is_needed(route.body),
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    elif route.accepts is not None:
        content = {kind: {"schema": _of_form(route.accepts, kind)} for kind in route.accepts.types}
        if "application/json" in content:
            # What else is taken is the same JSON in another dress, which generators do not know.
            content = {"application/json": {"schema": {"type": "object"}, "example": route.example}}
        words = f"At most {route.accepts.most(Settings())} bytes."
        made["requestBody"] = {"required": True, "description": words, "content": content}
    return made


def _operation_id(route: Route) -> str:
    """The handler's name; at another path of the same operation with that path behind it."""
    name = route.handler.__name__
    if route.same_as:
        name += "_at_" + re.sub(r"\W+", "_", route.path.replace("{", "").replace("}", "")).strip(
            "_"
        )
    return name


def _of_media(kind: str) -> dict[str, Any]:
    """The schema of what is no JSON."""
    if kind == "multipart/form-data":
        return {"type": "object"}
    return (
        {"type": "string"} if kind.startswith("text/") else {"type": "string", "format": "binary"}
    )


def _of_form(accepts: Accepts, kind: str) -> dict[str, Any]:
    """The schema of a body that is no JSON; of a form with the parts it may have."""
    if not accepts.form:
        return _of_media(kind)
    parts = {name: dict(schema) for name, schema in accepts.form.items()}
    required = {"required": [*accepts.required]} if accepts.required else {}
    return {"type": "object", "properties": parts, **required}


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
    same = f"The same as `{route.method} {route.same_as}`." if route.same_as else ""
    who = f"{_who(route)} {_which_keys(route)}".strip()
    parts = [words["summary"], *filter(None, lines), *filter(None, (same,)), who]
    if route.status == 101:
        parts += [SOCKET_WORDS.strip(), _command_table(route), _event_table(route)]
    elif route.stays:
        parts += [_event_table(route)]
    return "\n\n".join(parts)


def _who(route: Route) -> str:
    if route.need is None:
        return "For everybody who has a token." if route.stays else "For everybody."
    if route.need is SIGNED_IN:
        return "For every signed-in user."
    if isinstance(route.need, Role):
        return f"For the project's {route.need.word}s and above."
    roles = {route.need} if isinstance(route.need, GlobalRole) else route.need
    if roles == frozenset(GlobalRole):
        return "For every account that is signed in, service accounts too."
    return f"For the global roles {', '.join(sorted(roles))}."


def _which_keys(route: Route) -> str:
    """What an API key must be good for."""
    if route.session:
        return "No API key can do this."
    if route.need is None and not route.stays:
        return ""
    scopes = " or ".join(f"`{each}`" for each in sorted(route.grants))
    return f"A key with scopes needs {scopes}." if scopes else "A key with scopes cannot do this."


def _command_table(route: Route) -> str:
    """What may be sent on this socket."""
    lines = ["| command | payload | meaning |", "|---|---|---|"]
    for name, each in sorted(COMMANDS.items()):
        if each.is_known(in_project="{slug}" in route.path):
            payload = _payload(each.body) if each.body is not None else "`{}`"
            lines.append(f"| `{name}` | {payload} | {each.sentence} |")
    return "\n".join(lines)


def _payload(body: Any) -> str:
    """A small struct's fields as they are sent; those that may be left out have a question mark."""
    fields = msgspec.structs.fields(body)
    names = (f"{each.encode_name}{'' if each.required else '?'}" for each in fields)
    return f"`{{{', '.join(names)}}}`"


def _event_table(route: Route) -> str:
    """The catalogue's lines that this socket carries."""
    scope = EventScope.PROJECT if "{slug}" in route.path else EventScope.USER
    lines = ["| event | payload | meaning |", "|---|---|---|"]
    for name, each in CATALOGUE.items():
        if each.is_for(scope):
            lines.append(f"| `{name}` | {_name(each.payload)} | {each.sentence} |")
    return "\n".join(lines)


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any] | str]:
    """Path, query and headers; a text stands for one of the shared ones."""
    made: list[dict[str, Any]] = []
    for _, name, _, _ in Formatter().parse(route.path):
        if name:
            schema, example, sentence = parameter(route, name)
            made.append(
                {
                    "in": "path",
                    "name": name,
                    "required": True,
                    "description": sentence,
                    "schema": schema,
                    "example": example,
                }
            )
    if route.query is not None:
        made += _query_parameters(route.query, schemas)
    for header in route.headers:
        made.append(
            {
                "in": "header",
                "name": header.name,
                "description": header.sentence,
                "schema": {"type": "string"},
            }
        )
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
        example = schema.pop("example", None)
        parameter = {"in": "query", "name": name, "schema": schema}
        if words:
            parameter["description"] = words
        # The page fills in what has an example, and then that is sent: so only what must be.
        if name in struct.get("required", ()):
            parameter["required"] = True
            parameter["example"] = schemas.example(schema, name) if example is None else example
        elif example is not None:
            parameter["description"] = f"{words} For example `{example}`.".strip()
        made.append(parameter)
    return made


def _headers(route: Route) -> list[str]:
    names = []
    if route.versioned:
        names.append("IfMatch")
    if route.etag is Etag.CONTENT:
        names.append("IfNoneMatch")
    if 206 in route.also:
        names.append("Range")
    if route.produces == (STREAM,):
        names.append("LastEventId")
    if route.keyed:
        names.append("IdempotencyKey")
    if route.changes and route.need is not None:
        names.append("ClientId")
    return names


def _statuses(route: Route) -> list[int]:
    """How an operation may refuse."""
    found = {400, *route.errors}
    if route.path != "/health":
        found.add(503)
    if route.need is not None:
        found |= {401, 403, 429}
    if "{" in route.path:
        found.add(404)
    if route.body is not None or route.accepts is not None:
        found |= {408, 413, 415}
    if 206 in route.also:
        found.add(416)
    if route.keyed:
        found.add(410)
    if route.keyed or (route.method != "GET" and isinstance(route.need, Role)):
        found.add(422)
    if route.versioned:
        found |= {409, 412} if route.body is not None else {412}
    return sorted(found & STATUS_WORDS.keys())


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    success = _success(route, schemas)
    made: dict[str, Any] = {str(route.status): success}
    for status in route.also:
        words = "A part of it." if status == 206 else "It was there already."
        made[str(status)] = {**success, "description": words}
    if route.etag is Etag.CONTENT:
        tag = {"ETag": {"description": route.etag.value, "schema": {"type": "string"}}}
        made["304"] = {
            "description": "What you have still holds.",
            "headers": tag if route.feed is None else tag | PLACE,
        }
    for status in _statuses(route):
        made[str(status)] = STATUS_WORDS[status][0]
    return made


def _success(route: Route, schemas: Schemas) -> dict[str, Any]:
    if route.status == 101:
        return {"description": "The socket is open; its first frame is `hello`."}
    media = {kind: {"schema": _of_media(kind)} for kind in route.produces}
    if media and route.answer is None:
        content: dict[str, Any] = media
        return _with_headers({"description": "What you asked for.", "content": content}, route)
    if route.answer is None:
        return {"description": "Done; nothing to say."}
    schema = schemas.of(route.answer)
    content = {"schema": schema, "example": schemas.example(schema)}
    if route.brief is not None:
        # Not `anyOf`: clients that are made of the document would have to ask which of the two each
        # answer is, also where nobody asks for the brief one.
        content["x-brief"] = schemas.of(route.brief)
    response: dict[str, Any] = {
        "description": "Made." if route.status == 201 else "What you asked for.",
        "content": {"application/json": content, **media},
    }
    return _with_headers(response, route)


def _with_headers(response: dict[str, Any], route: Route) -> dict[str, Any]:
    """The response with the headers that its route promises."""
    headers = {}
    if route.paged:
        words = 'The next page, as `<…>; rel="next"`; absent on the last one.'
        headers["Link"] = {"description": words, "schema": {"type": "string"}}
    if route.made_at:
        words = "The address of what was made."
        headers["Location"] = {"description": words, "schema": {"type": "string"}}
    if route.etag is not None:
        headers["ETag"] = {"description": route.etag.value, "schema": {"type": "string"}}
    if route.feed is not None:
        headers |= PLACE
    if headers:
        response["headers"] = headers
    return response
