"""Deliveries to webhooks: read, proved and understood, whichever host sent them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec

from warmdesk.changes.webhooks import Delivery
from warmdesk.errors import BadRequest, Unauthorized, WarmDeskError, field_error
from warmdesk.hosts import Anything, Host, Kind, Payload, forgejo, generic, gitea, github, gitlab
from warmdesk.hosts.text import Effect, effect
from warmdesk.http.body import BODY_LIMIT, NO_JSON, NOT_JSON, json_reader
from warmdesk.http.request import HEADER_TEXT
from warmdesk.http.route import Accepts, Header
from warmdesk.sealing import Sealing, Unreadable

GENERIC = "generic"
HOSTS: dict[str, Host] = {
    GENERIC: Host(
        events=(),
        deliveries=("Idempotency-Key",),
        signatures=("X-Hub-Signature-256",),
        kinds={},
    ),
    "github": github.HOST,
    "gitlab": gitlab.HOST,
    "gitea": gitea.HOST,
    "forgejo": forgejo.HOST,
}
"""By the types of webhooks."""

JSON, FORM, TEXT = "application/json", "application/x-www-form-urlencoded", "text/plain"
GIT_BYTES = 25 << 20
"""The hosts send no more."""
PLAIN = Accepts((JSON, FORM, TEXT), BODY_LIMIT, streamed=True)
OF_GIT = Accepts((JSON, FORM), GIT_BYTES, streamed=True)
PREFIX = "sha256="
SEALED_FOR = "the secret of a webhook"
SIGNATURE = re.compile("[0-9a-f]{64}")
NO_SIGNATURE = "none"
IN_A_THREAD = 1 << 18
"""A larger body is understood in a thread."""
EVENT_TEXT = re.compile(r"[\x20-\x7e]{1,100}")


def headers_of(*types: str) -> tuple[Header, ...]:
    """The headers by which webhooks of these types tell of a delivery, each with its meaning."""
    hosts = [HOSTS[each] for each in types]
    events = dict.fromkeys(name for host in hosts for name in host.events)
    told = " or ".join(f"`{name}`" for name in events)
    if any(host.event_field for host in hosts):
        told += f"; the payload's `{hosts[0].event_field}` goes before it"
    said = dict.fromkeys(events, f"The event: {told} must say it.")
    for host in hosts:
        for name in host.deliveries:
            said.setdefault(name, "Names the delivery: within seven days it is taken once.")
        for name in host.signatures:
            said.setdefault(name, "The HMAC-SHA256 of the body with the webhook's secret, in hex.")
        if host.password:
            said.setdefault(host.password, "The webhook's secret.")
    return tuple(Header(*each) for each in said.items())


class Headers(Protocol):
    """The headers of a request."""

    def get(self, name: str, default: str, /) -> str: ...


class Named(Payload):
    """A payload that says itself what it is: what the ``event_field`` of a host may name."""

    object_kind: str | None = None


def received(type_: str, headers: Headers, content_type: str, body: bytes) -> Delivery:
    """What came to a webhook of this type. Where its host named no event that can be one, `event`
    is empty; 400 for an `Idempotency-Key` that can be none.
    """
    if type_ == "gitea" and headers.get(forgejo.HOST.events[0], ""):
        type_ = "forgejo"
    host = HOSTS[type_]
    event = _first(headers, host.events) if host.events else GENERIC
    name = _first(headers, host.deliveries)
    if name and not HEADER_TEXT.fullmatch(name):
        if type_ == GENERIC:
            raise field_error("Idempotency-Key", "bad_format", "1 to 200 visible ASCII characters")
        name = ""
    return Delivery(
        host=type_,
        event=event if EVENT_TEXT.fullmatch(event) else "",
        name=name,
        body=body,
        is_form=content_type == FORM,
        proofs=_proofs(host, headers),
    )


def _first(headers: Headers, names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := headers.get(name, "").strip())), "")


def _proofs(host: Host, headers: Headers) -> list[str]:
    """What came to prove it; of a password its hash. A host without a secret sends empty ones."""
    signatures = [
        found if SIGNATURE.fullmatch(found) else NO_SIGNATURE
        for name in host.signatures
        if (found := headers.get(name, "").strip().removeprefix(PREFIX).lower())
    ]
    password = headers.get(host.password, "") if host.password else ""
    return signatures + ([_digest(password)] if password else [])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def prove(delivery: Delivery, secret: str | None, token: str | None) -> None:
    """Raise `Unauthorized` unless all that came proves that its sender knows the secret; something
    must have come. Without a secret the token is one, to who sends a proof all the same. `token` is
    None where somebody has it delivered again.
    """
    if secret is None and (token is None or delivery.host == GENERIC):
        return
    if secret is None and not delivery.proofs:
        return
    known = secret if secret is not None else token or ""
    if HOSTS[delivery.host].password:
        wanted = _digest(known)
    else:
        wanted = hmac.new(known.encode(), delivery.body, hashlib.sha256).hexdigest()
    good = [hmac.compare_digest(each, wanted) for each in delivery.proofs]
    if not good:
        raise Unauthorized("the delivery is not signed", code="invalid_signature")
    if not all(good):
        raise Unauthorized("the signature is wrong", code="invalid_signature")


def sealed(sealing: Sealing, secret: str | None) -> str | None:
    """A webhook's secret as the database keeps it; none when it is empty."""
    return sealing.seal(secret, SEALED_FOR) if secret else None


def _opened(sealing: Sealing, secret: str | None) -> str | None:
    try:
        return None if secret is None else sealing.open(secret, SEALED_FOR)
    except Unreadable as error:
        told = "the webhook's secret cannot be read: an owner has to set it again"
        raise Unauthorized(told, code="invalid_signature") from error


async def effect_of(
    delivery: Delivery, sealing: Sealing, secret: str | None, token: str | None
) -> Effect | WarmDeskError:
    """What a delivery does, or why it is refused: see `prove`, and 400. The `secret` is `sealed`;
    401, too, when it was with a secret key that is gone.
    """
    try:
        prove(delivery, _opened(sealing, secret), token)
        if len(delivery.body) > IN_A_THREAD:
            return await asyncio.to_thread(_understood, delivery)
        return _understood(delivery)
    except WarmDeskError as error:
        return error


def _understood(delivery: Delivery) -> Effect:
    raw = _payload(delivery)
    if delivery.host == GENERIC:
        return generic.effect(_decoded(raw))
    host = HOSTS[delivery.host]
    if host.event_field:
        kind = getattr(_reader(Named)(raw), host.event_field)
        delivery.event = kind if kind and EVENT_TEXT.fullmatch(kind) else delivery.event
    if not delivery.event:
        raise field_error(host.events[0], "required", "required")
    found = host.kinds.get(delivery.event, Kind(Anything, _nothing))
    told = found.read(_reader(found.payload)(raw))
    if told is None:
        return Effect(reason=f"nothing is said of {delivery.event}")
    return effect(told)


def _nothing(_: Any) -> None:
    return None


@cache
def _reader(kind: type[msgspec.Struct]) -> Any:
    return json_reader(kind, "payload")


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except NO_JSON as error:
        raise BadRequest(NOT_JSON, code="not_json") from error


def _payload(delivery: Delivery) -> bytes:
    """The JSON of a body: a form has it in ``payload``, unless it is none and only says so."""
    raw = delivery.body.strip()
    if not raw:
        raise BadRequest(NOT_JSON, code="not_json")
    if not delivery.is_form or raw[:1] == b"{":
        return raw
    try:
        fields: Mapping[str, list[str]] = parse_qs(
            raw.decode(), keep_blank_values=True, max_num_fields=100, errors="strict"
        )
    except ValueError as error:
        raise BadRequest("the body is no valid form") from error
    if "payload" not in fields:
        raise field_error("payload", "required", "required")
    return fields["payload"][0].encode()
