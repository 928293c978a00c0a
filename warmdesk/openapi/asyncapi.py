"""The AsyncAPI document: what is told and heard on sockets, on streams and by outgoing webhooks.
Made from the catalogue of events and the declared commands.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

import warmdesk
from warmdesk.http.commands import COMMANDS, Command, Incoming
from warmdesk.http.route import PARAMETERS, STREAM, Route
from warmdesk.http.routing import BASE
from warmdesk.openapi.words import ASYNC_DESCRIPTION, SIGNED_HEADERS, SOCKET_WORDS
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.events import ACK, CATALOGUE, ERROR, Event, envelope

Node = dict[str, Any]

VERSION = "3.0.0"
REF = "#/components/schemas/{name}"
HOST = "127.0.0.1:8080"
OUTGOING = "outgoingWebhook"
OF_STREAMS = {"close"}
"""Signals that streams alone have."""
OF_COMMANDS = {"ack", "error", "pong"}
"""Signals that answer what a client sends, which on a stream is nothing."""


def asyncapi(routes: Sequence[Route]) -> Node:
    """The whole document, as a dictionary."""
    opens = [each for each in routes if each.stays]
    told = [each for each in CATALOGUE.values() if each.scope is not EventScope.CONTROL]
    schemas = _Schemas(
        [
            *(envelope(each) if each.stored else each.payload for each in told),
            *(each.body for each in COMMANDS.values() if each.body is not None),
            *(each.query for each in opens),
        ]
    )
    channels: Node = {}
    operations: Node = {}
    for route in opens:
        name = _channel_name(route)
        channels[name] = _channel(route, schemas)
        operations[f"{name}Tells"] = {
            "action": "send",
            "summary": _summary(route),
            "channel": _to("channels", name),
            "messages": [
                _to("channels", name, "messages", _name(each)) for each in _heard(route, told)
            ],
        }
        for command in _commands(route):
            operations[f"{name}{_camel(command.type)}"] = _command(name, command)
    channels[OUTGOING] = _outgoing(told)
    operations[f"{OUTGOING}Delivers"] = {
        "action": "send",
        "summary": "A project's events, sent to an address of its owners",
        "channel": _to("channels", OUTGOING),
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    }
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "WarmDesk",
            "version": warmdesk.__version__,
            "description": ASYNC_DESCRIPTION,
            "contact": {"name": "WarmDesk"},
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
            "externalDocs": {"url": f"http://{HOST}/openapi.json", "description": "The REST API."},
        },
        "defaultContentType": "application/json",
        "servers": {"sockets": _server("ws"), "streams": _server("http")},
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": schemas.parts | {"SignedHeaders": SIGNED_HEADERS},
            "messages": {
                **{_name(each): _message(each, schemas) for each in told},
                **{_name(each): _sent(each, schemas) for each in COMMANDS.values()},
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of `POST /auth/login`.",
                },
                "apiKey": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "An API key: `wd_…`.",
                },
            },
        },
    }


class _Schemas:
    """msgspec's types as schemas of AsyncAPI's dialect, JSON Schema draft 7."""

    def __init__(self, types: Iterable[Any]) -> None:
        unique = list({repr(each): each for each in types}.values())
        tops, parts = msgspec.json.schema_components(unique, ref_template=REF)
        self.tops = {repr(kind): _draft7(top) for kind, top in zip(unique, tops, strict=True)}
        self.parts: Node = {name: _draft7(part) for name, part in sorted(parts.items())}

    def of(self, kind: Any) -> Node:
        found: Node = self.tops[repr(kind)]
        return found


def _draft7(node: Any) -> Any:
    """A reference stands alone there; a discriminator is a name."""
    if isinstance(node, list):
        return [_draft7(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: _draft7(each) for key, each in node.items()}
    if isinstance(made.get("description"), str):
        made["description"] = inspect.cleandoc(made["description"])
    if isinstance(made.get("discriminator"), dict):
        made["discriminator"] = made["discriminator"]["propertyName"]
    if isinstance(made.get("$ref"), str) and len(made) > 1:
        made = {"allOf": [{"$ref": made.pop("$ref")}], **made}
    return made


def _server(protocol: str) -> Node:
    return {
        "host": "{host}",
        "protocol": protocol,
        "pathname": BASE,
        "description": f"This server; `{protocol}s` where it has a certificate.",
        "variables": {"host": {"default": HOST, "description": "Name and port."}},
        "security": [{"$ref": f"#/components/securitySchemes/{each}"} for each in SCHEMES],
    }


SCHEMES = ("token", "apiKey")


def _channel_name(route: Route) -> str:
    """``projectSocket``, ``userStream``."""
    return ("project" if _in_project(route) else "user") + (
        "Stream" if route.produces else "Socket"
    )


def _in_project(route: Route) -> bool:
    return "{slug}" in route.path


def _summary(route: Route) -> str:
    return str(route.handler.__apispec__["summary"]).rstrip(".")  # type: ignore[attr-defined]


def _heard(route: Route, told: list[Event]) -> list[Event]:
    """What is told on a socket or stream."""
    scope = EventScope.PROJECT if _in_project(route) else EventScope.USER
    others = OF_COMMANDS if route.produces else OF_STREAMS
    return [each for each in told if each.is_for(scope) and each.name not in others]


def _commands(route: Route) -> list[Command]:
    if route.produces:
        return []
    return [each for each in COMMANDS.values() if each.is_known(in_project=_in_project(route))]


def _channel(route: Route, schemas: _Schemas) -> Node:
    told = [each for each in CATALOGUE.values() if each.scope is not EventScope.CONTROL]
    names = [*map(_name, _heard(route, told)), *map(_name, _commands(route))]
    query = schemas.of(route.query)
    made: Node = {
        "address": route.path,
        "title": _summary(route),
        "description": STREAM_WORDS if route.produces else SOCKET_WORDS.strip(),
        "servers": [_to("servers", "streams" if route.produces else "sockets")],
        "messages": {name: _to("components", "messages", name) for name in names},
        "x-query": query,
    }
    if _in_project(route):
        slug = PARAMETERS["slug"]
        made["parameters"] = {"slug": {"description": slug.sentence, "examples": [slug.example]}}
    if not route.produces:
        binding = {"method": "GET", "query": _object(query, schemas), "bindingVersion": "0.1.0"}
        made["bindings"] = {"ws": binding}
    return made


STREAM_WORDS = (
    f"`{STREAM}`: `data` is the message, `event` its type, and what has a `seq` has the `id`"
    " `<epoch>.<seq>`, which `Last-Event-ID` goes on from."
)


def _object(schema: Node, schemas: _Schemas) -> Node:
    """What a reference leads to."""
    found: Node = schemas.parts[schema["$ref"].rpartition("/")[2]]
    return {"type": "object", "properties": found["properties"]}


def _outgoing(told: list[Event]) -> Node:
    events = [each for each in told if each.stored and each.is_for(EventScope.PROJECT)]
    return {
        "address": None,
        "title": "The address of an outgoing webhook",
        "description": "Whatever its owner registered at `/projects/{slug}/outgoing-webhooks`.",
        "messages": {
            _name(each): {
                "name": each.name,
                "title": each.sentence.rstrip("."),
                "contentType": "application/json",
                "headers": {"$ref": REF.format(name="SignedHeaders")},
                "payload": {"$ref": REF.format(name=_name(each))},
            }
            for each in events
        },
    }


def _command(channel: str, command: Command) -> Node:
    """What a client may send, and what answers it."""
    answers = [command.reply, ERROR]
    return {
        "action": "receive",
        "summary": command.sentence.rstrip("."),
        "channel": _to("channels", channel),
        "messages": [_to("channels", channel, "messages", _name(command))],
        "reply": {
            "channel": _to("channels", channel),
            "messages": [_to("channels", channel, "messages", _name(each)) for each in answers],
        },
    }


def _message(event: Event, schemas: _Schemas) -> Node:
    """What is told: an event by its envelope, a signal by its two words."""
    payload: Node
    if event.stored:
        payload = schemas.of(envelope(event))
    else:
        payload = {
            "type": "object",
            "required": ["type", "payload"],
            "properties": {"type": {"const": event.name}, "payload": schemas.of(event.payload)},
        }
        if event in (ACK, ERROR):
            payload["properties"]["id"] = {"description": "That of your message."}
    return {
        "name": event.name,
        "title": event.sentence.rstrip("."),
        "summary": event.sentence,
        "contentType": "application/json",
        "payload": payload,
    }


def _sent(command: Command, schemas: _Schemas) -> Node:
    body = schemas.of(command.body) if command.body is not None else {"type": "object"}
    fields = [each.name for each in msgspec.structs.fields(Incoming)]
    words: Node = {
        "type": {"const": command.type},
        "payload": body,
        "id": {"description": "Any JSON of at most 200 bytes; the answer has it too."},
        "client_id": {"type": "string", "description": "The command's events have it too."},
    }
    return {
        "name": command.type,
        "title": command.sentence.rstrip("."),
        "summary": command.sentence,
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": ["type"],
            "properties": {name: words[name] for name in fields},
        },
    }


def _name(thing: Event | Command) -> str:
    """The name of a message in the document."""
    if isinstance(thing, Command):
        return f"{_camel(thing.type)}Command"
    return str(envelope(thing).__name__) if thing.stored else f"{_camel(thing.name)}Signal"


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.replace("_", ".").split("."))


def _to(*words: str) -> Node:
    return {"$ref": "#/" + "/".join(words)}
