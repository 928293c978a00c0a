"""Errors that speak the client's words: each has a status, a message for people and a code for
programs; anything else is a 500 that says nothing.

SQL functions refuse with ``refuse(status, message, extra)`` (SQLSTATE ``WDnnn``); `refusal` makes
the same object of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LONGEST_NAME = 100
"""Characters of a field's name in an answer: names are the client's own."""

CODE_OF_STATUS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    410: "deleted",
    412: "version_conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "impossible",
    426: "upgrade_required",
    429: "rate_limited",
    499: "client_gone",
    500: "internal",
    502: "mail_failed",
    503: "unavailable",
}
"""The code of a refusal that has none of its own."""

INVALID_FIELDS = "invalid_fields"

CODES = {
    "account_deactivated": "The password is right, but the account was deactivated.",
    "address_not_allowed": "API keys may not be used from this address.",
    "already_linked": "The card has this link already.",
    "already_member": "The user is a member already.",
    "backup": "The file is no backup, was cut or changed, or is of a newer program.",
    "bad_request": "The request is malformed.",
    "busy": "A backup is being made or restored: one at a time.",
    "client_gone": "The client went away; nobody reads this.",
    "column_not_empty": "The column has cards; `move_to` says where they go.",
    "conflict": "It collides with what is there.",
    "day_is_full": "More than 24 hours of the person's time would be on that day.",
    "deleted": "What the answer under this `Idempotency-Key` shows was deleted.",
    "delivery_not_failed": "The delivery did not fail: it is not done again.",
    "delivery_not_kept": "What was delivered is too large or too old to be kept.",
    "disk": "The server's disk is full, or has no room for files.",
    "draining": "The process stops.",
    "forbidden": "Your role does not allow it.",
    "idempotency_key_not_yours": "The answer under this `Idempotency-Key` holds a secret. Only the"
    " session or API key that asked first is given it again.",
    "idempotency_key_reused": "The `Idempotency-Key` was sent before with another body.",
    "impossible": "It is well formed, but it cannot be.",
    "internal": "The server failed; its log has the `request_id`.",
    "invalid_code": "The code is not one of the second factor, or was taken before.",
    "invalid_credentials": "There is no account with this name and this password.",
    "invalid_fields": "Fields of the body or the query are wrong; `fields` says which.",
    "invalid_payload": "On a socket: the command's payload is not what it must be.",
    "invalid_signature": "The delivery is not signed with the webhook's secret.",
    "invalid_token": "The token, key or ticket is not one that is good.",
    "key_lacks_scope": "The API key has scopes, and none that this needs.",
    "key_scope": "The API key is for one project, and this is not in it.",
    "last_column": "A project keeps at least one column.",
    "last_owner": "A project keeps an owner who may act.",
    "mail_failed": "The mail server did not take the mail; `reason` says why.",
    "mail_off": "Nothing is mailed: there is no mail server, or no address for links.",
    "method_not_allowed": "There is no such method here; `Allow` names those that are.",
    "mfa_enabled": "The account has a second factor: disable it first.",
    "mfa_not_enabled": "The account has no second factor.",
    "mfa_session_expired": "Too late, or too many wrong codes: sign in with the password again.",
    "no_address": "The invitation has no address that a mail could go to.",
    "not_a_group": "Two people talk here; only a group has a name, and people who come and go.",
    "not_a_service_account": "People make their own API keys.",
    "not_archived": "Only an archived project can be purged.",
    "not_deleted": "Only a deleted account can be purged.",
    "not_found": "It does not exist, or not for you.",
    "not_json": "The body is not valid JSON.",
    "origin_not_allowed": "A page of this origin may not open sockets here, nor use the browser's"
    " session.",
    "own_account": "You cannot do this to your own account.",
    "parse_error": "On a socket: the message is no JSON object with a text `type`.",
    "passphrase": "The backup is encrypted to another passphrase.",
    "project_archived": "The project takes no changes while it is archived.",
    "quota_exceeded": "All files here have as many bytes as those of one place may have.",
    "range_not_satisfiable": "The part that is asked for begins behind the file's end.",
    "rate_limited": "Over a limit in time: again after `Retry-After`.",
    "read_too_long": "The read takes too long: ask for less.",
    "registration_disabled": "Accounts are made by administrators here.",
    "report_too_long": "The document would have more lines than one may have.",
    "same_password": "The new password is the old one.",
    "session_ended": "The session was ended: sign in again.",
    "sign_in_required": "An API key cannot do this: sign in.",
    "taken": "Somebody else has this name, address or prefix.",
    "task_dead": "A part of the process does not run.",
    "token_expired": "The access token was good once: refresh it.",
    "too_large": "More bytes than the limit.",
    "too_many_assignees": "The card has as many assignees as one may have.",
    "too_many_at_once": "Too many requests of yours are under way.",
    "too_many_columns": "The project has as many columns as one may have.",
    "too_many_files": "There are as many files, or uploads that nothing has, as there may be.",
    "too_many_idempotency_keys": "Too many keys for retries in 24 hours: wait, or send none.",
    "too_many_invitations": "There are as many open invitations here as there may be.",
    "too_many_items": "The checklist has as many items as one may have.",
    "too_many_keys": "There are as many API keys as one may have.",
    "too_many_labels": "The project has as many labels as one may have.",
    "too_many_mails": "Enough mails went to this address within a week.",
    "too_many_members": "The group has as many people as one may have.",
    "too_many_outgoing": "The project has as many outgoing webhooks as one may have.",
    "too_many_projects": "The person is in as many projects as one may be.",
    "too_many_reactions": "The message has as many different emojis as one may have.",
    "too_many_reads": "Too many long reads are under way.",
    "too_many_sign_ins": "Too many people sign in at once.",
    "too_many_sockets": "You have as many sockets open as one may have.",
    "too_many_tags": "The card has as many tags as one may have.",
    "too_many_waits": "Too many requests of yours wait for events.",
    "too_many_webhooks": "The project has as many webhooks as one may have.",
    "too_slow": "The body did not come in time.",
    "unauthorized": "There is no credential: sign in.",
    "unavailable": "A server behind this one is away or busy: again after `Retry-After`.",
    "unknown_outcome": "The change may have been done: ask, or repeat it under its key.",
    "unknown_type": "On a socket: there is no such command here.",
    "unsupported_media_type": "The body is of a type that is not understood here.",
    "upgrade_required": "This is a WebSocket: ask for an upgrade.",
    "version_conflict": "It was changed by someone else; `current` is what is there.",
    "webhook_disabled": "The webhook is turned off.",
    "wrong_password": "The current password is another one, or was not sent.",
}
"""Every code that a refusal may have, and what it means."""

FIELD_CODES = {
    "bad_format": "It is of the wrong type, or written in the wrong form.",
    "blank": "It must not be blank.",
    "conflicting": "It does not go together with the rest, or with what is there.",
    "immutable": "It never changes, or not by you.",
    "incorrect": "It is not the right one.",
    "not_a_member": "The user is no member of the project.",
    "not_active": "The account is deactivated or deleted.",
    "not_one_of": "It must be one of those in `allowed`.",
    "out_of_range": "It is too low or too high; `limits` says the bounds, where they are known.",
    "required": "It must be there.",
    "taken": "Somebody else has it.",
    "too_long": "It is too long, or too many; `limits` says how many there may be.",
    "too_short": "It is too short, or too few; `limits` says how many there must be.",
    "too_simple": "The new password lacks a kind of character that is asked for.",
    "unknown": "There is no such thing.",
    "unreachable": "It leads to no address, or to one to which the server does not connect.",
}
"""Every code that stands in `fields`, and what it says of the field."""


class WarmDeskError(Exception):
    """A refusal and its answer: ``status``, ``message``, machine keys in ``extra``, ``headers``.
    ``closes``: the connection ends with the answer.

    ``extra`` has a ``code`` of `CODES`: the one that is given, else its status' own.
    """

    closes = False
    status = 500
    message = "internal error"

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.message = message or type(self).message
        self.status = status or type(self).status
        self.headers = headers or {}
        if not extra:
            extra["code"] = self._usual_code(has_fields=False)
        elif "code" not in extra:
            extra = {"code": self._usual_code("fields" in extra), **extra}
        self.extra = extra
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """What it is, for programs."""
        return str(self.extra["code"])

    def _usual_code(self, has_fields: bool) -> str:
        if self.status == 400 and has_fields:
            return INVALID_FIELDS
        unusual = "bad_request" if 400 <= self.status < 500 else "internal"
        return CODE_OF_STATUS.get(self.status, unusual)


class BadRequest(WarmDeskError):
    """400: the request itself is wrong: malformed, a wrong type, a missing field."""

    status = 400
    message = "bad request"


class Unauthorized(WarmDeskError):
    """401: no credential, or one that is no longer good."""

    status = 401
    message = "sign in first"


class Forbidden(WarmDeskError):
    """403: known, but not allowed."""

    status = 403
    message = "your role does not allow this"


class KeyScope(Forbidden):
    """403: an API key for one project, elsewhere."""

    def __init__(self) -> None:
        super().__init__("key is scoped to a specific project", code="key_scope")


class KeyLacksScope(Forbidden):
    """403: an API key with scopes, and none of those that would do."""

    def __init__(self, scopes: Sequence[str]) -> None:
        wanted = " or ".join(scopes) or "for this: only a key without scopes may do it"
        super().__init__(f"key lacks scope {wanted}", code="key_lacks_scope")


class NotFound(WarmDeskError):
    """404: not there, or not for this actor; strangers cannot tell which."""

    status = 404
    message = "not found"


class Conflict(WarmDeskError):
    """409: it collides with what is there."""

    status = 409
    message = "conflict"


class TooLarge(WarmDeskError):
    """413: more bytes than the limit."""

    status = 413
    message = "the body is too large"


class Impossible(WarmDeskError):
    """422: well formed, but it cannot be."""

    status = 422
    message = "this cannot be done"


class Archived(Impossible):
    """422: the project takes no changes while it is archived."""

    def __init__(self) -> None:
        super().__init__("the project is archived", code="project_archived")


class Policy(NamedTuple):
    """A limit as it is told: its name, how many it allows, and in how many seconds; without seconds
    so many at once.
    """

    name: str
    most: int
    seconds: float | None = None

    @property
    def text(self) -> str:
        """As the header RateLimit-Policy has it."""
        unit = ';qu="concurrent-requests"' if self.seconds is None else f";w={round(self.seconds)}"
        return f'"{self.name}";q={self.most}{unit}'


class TooMany(WarmDeskError):
    """429: over a limit; ``retry_after`` in seconds. The limit is told as the IETF's draft of
    RateLimit headers says (draft-ietf-httpapi-ratelimit-headers).
    """

    status = 429
    message = "too many requests, try again later"

    def __init__(
        self,
        policy: Policy,
        retry_after: float = 1,
        message: str | None = None,
        *,
        code: str = "rate_limited",
    ) -> None:
        wait = max(1, round(retry_after))
        headers = {
            "Retry-After": str(wait),
            "RateLimit-Policy": policy.text,
            "RateLimit": f'"{policy.name}";r=0;t={wait}',
        }
        super().__init__(message, headers=headers, code=code)


class Unavailable(WarmDeskError):
    """503: a server behind us is away or busy; the same request may work soon."""

    status = 503
    message = "temporarily unavailable, try again"

    def __init__(self, message: str | None = None, *, retry_after: int = 1, **extra: Any) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)}, **extra)


def refusal(sqlstate: str, message: str, detail: str | None) -> WarmDeskError:
    """The error that an SQL function raised with ``refuse``: SQLSTATE ``WD404`` is a 404."""
    extra = json.loads(detail) if detail else {}
    return WarmDeskError(message, status=int(sqlstate[2:]), **extra)


def stored_refusal(status: int, text: str) -> WarmDeskError:
    """The error that PostgreSQL gives as an answer: JSON of the message and the machine keys."""
    extra = json.loads(text)
    return WarmDeskError(extra.pop("error"), status=status, **extra)


class Fault(NamedTuple):
    """What is wrong with a field: a code of `FIELD_CODES`, and what people are told of it; `limits`
    by ``min`` and ``max``, and the values that are `allowed`, where they help.
    """

    code: str
    sentence: str
    limits: Mapping[str, float] | None = None
    allowed: Sequence[object] = ()


def fields_error(
    faults: Mapping[str, Fault], error: type[WarmDeskError] | None = None, **extra: Any
) -> WarmDeskError:
    """An error that says which fields it is about, all of them, for people and for programs; a
    `BadRequest` unless another one is given.
    """
    told = {_shown(name): fault for name, fault in faults.items()}
    for key in ("limits", "allowed"):
        found = {name: value for name, each in told.items() if (value := getattr(each, key))}
        if found:
            extra[key] = found
    return (error or BadRequest)(
        "; ".join(f"{name}: {fault.sentence}" for name, fault in told.items()),
        fields={name: fault.code for name, fault in told.items()},
        **extra,
    )


def field_error(
    name: str, code: str, sentence: str, error: type[WarmDeskError] | None = None, **extra: Any
) -> WarmDeskError:
    """An error about one field."""
    return fields_error({name: Fault(code, sentence)}, error, **extra)


def _shown(name: str) -> str:
    # It is the client's own, and may hold what UTF-8 cannot.
    return cut(name, LONGEST_NAME).encode("utf-8", "replace").decode()


def cut(text: str, longest: int) -> str:
    """A text, or its beginning when it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
