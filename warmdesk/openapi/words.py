"""What the document says in sentences: the API's introduction, its refusals, shared headers."""

from __future__ import annotations

from typing import Any

DESCRIPTION = """\
Boards, cards and talk for a team, live: every change, whoever makes it, reaches all open sockets.

**Sign in** with `POST /auth/login` and give the access token as `Authorization: Bearer …`;
programs use an API key as `X-API-Key`. An access token lasts 15 minutes, `POST /auth/refresh` gives
the next. A key of `POST /auth/api-keys` may do what its owner may; one with `scopes` only what they
say: where an operation needs one of them that the key lacks, it is 403 with `key_lacks_scope`.

**Errors** are always `{"error": "a sentence", "code": "a_word"}`, often with more beside them:
`fields` (the codes of all wrong fields), `limits`, `allowed`, `request_id`. The schema `Error` has
the codes. 400 is a malformed request, 422 one that is well formed but impossible. What you may not
see does not exist: 404.

**Updates** change only the keys that are sent; `null` or `""` clears. Cards, columns and messages
have a `version`: send it as `If-Match` or in the body, and nobody's change is overwritten.

**Retries.** Where an operation takes an `Idempotency-Key`, the same key again is answered as the
first time, for 24 hours. If what the answer shows was deleted meanwhile, it is 410, also after that
came back: the change was made, do not send it again. An answer that holds a secret is given again
to the session or key alone that asked first. In 24 hours a person has 50,000 keys and
256 MiB of answers to them.

**Lists** are arrays; where an operation says so, `Link: <…>; rel="next"` names the next page. A
`limit` beyond its bounds is brought into them. A page may hold fewer than `limit`, even nothing:
the last one is the one without a `Link`.

**Encodings.** JSON of a kilobyte and more is gzipped for who sends `Accept-Encoding: gzip`, unless
it holds a token. Its `ETag` then ends in `-gzip`, as `"3-gzip"`: send it as it came.

**Limits.** Beyond one the answer is 429 and nothing was done: wait as many seconds as `Retry-After`
says and send it again. `code` says which limit, with its default here:

* `rate_limited`: 1,200 changes and 60 messages of a person in a minute; tries to sign in, accounts
  that register, refreshes, tickets and sockets. `RateLimit-Policy` says how many (`q`) in how many
  seconds (`w`). A change of many cards counts as one for each 50.
* `too_many_at_once`: four reads or four writes of a person are under way in a worker, and this one
  waited two seconds.
* `too_many_waits`: twenty requests of a person wait for events or cards in a worker.
* `too_many_sign_ins`: so many people sign in now that yours would wait too long.
* `too_many_idempotency_keys`: send none, or wait.

A body has at most 1 MiB, and 16 KiB where nobody has to be signed in; what git hosts deliver
has at most 25 MiB, what others post to a webhook 1 MiB. A larger one is 413.
"""

SOCKET_WORDS = """\
Each frame is a text frame with `{"type", "payload"}`. Events have `seq` too: 1, 2, 3 … on each
channel, with `ts`, `actor_id`, `actor` if that is no member of the project, and, if the change's
request had an `X-Client-Id` or its command a `client_id`, `client_id`. Apply the event after the
last one you have, pass over what you have already, and on anything else send `sync`. With `since`
and `epoch` (from `hello`, or from the project's `seq` and `epoch`) you get what you missed, or
`sync.reset`: fetch again.

Send commands as `{"type", "payload", "id", "client_id"}`; `ack`, `pong` and `error` bring your `id`
back, and the command's events your `client_id`. Both may be left out.
"""

STATUS_WORDS = {
    400: ("BadRequest", "Malformed: not JSON, a wrong type, a missing field.", "title: required"),
    401: ("Unauthorized", "No credential, or one that is no longer good.", "sign in first"),
    403: ("Forbidden", "Your role does not allow this.", "your role does not allow this"),
    404: ("NotFound", "It does not exist, or not for you.", "project not found"),
    408: ("TooSlow", "The body did not come in time.", "the body did not come in time"),
    409: ("Conflict", "It collides with what is there.", "card was changed by someone else"),
    410: (
        "Deleted",
        "What the answer under this `Idempotency-Key` shows was deleted.",
        "what was made with this key is deleted",
    ),
    412: ("Mismatch", "`If-Match` names another version.", "card was changed by someone else"),
    413: (
        "TooLarge",
        "More bytes than a body may have: 1 MiB, and 16 KiB where nobody has to be signed in.",
        "the body is larger than 1048576 bytes",
    ),
    415: ("NotJson", "Not JSON.", "send JSON, with Content-Type: application/json"),
    416: (
        "NoSuchPart",
        "The `Range` begins behind its end; `Content-Range` says how long it is.",
        "it has 4096 bytes",
    ),
    422: ("Impossible", "Well formed, but it cannot be.", "the project is archived"),
    426: ("NoUpgrade", "Not the handshake of a WebSocket.", "this is a WebSocket"),
    429: (
        "TooMany",
        "Over a limit, and nothing was done: again after `Retry-After`. `code` says which limit.",
        "too many requests, try again later",
    ),
    502: (
        "NotMailed",
        "The mail server did not take the mail; `reason` says why.",
        "the mail server cannot be reached",
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
        "description": 'The version that you know, in quotes: `"3"`. Another one there is 412.',
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "in": "header",
        "name": "If-None-Match",
        "description": 'An `ETag` that you have, as `"5f0c-17-9e107d9d372b"`; 304 while it holds.',
        "schema": {"type": "string"},
    },
    "Range": {
        "in": "header",
        "name": "Range",
        "description": "One part of it, as `bytes=0-1023`: it is answered 206. With `If-Range` and"
        " an `ETag` only as long as that holds.",
        "schema": {"type": "string"},
    },
    "LastEventId": {
        "in": "header",
        "name": "Last-Event-ID",
        "description": "The `id` of the last event that you have; it goes before `since` and"
        " `epoch`.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "in": "header",
        "name": "Idempotency-Key",
        "description": "Any text of your own, as `build-4242`; the same one again is answered as"
        " the first time, with `Idempotent-Replay: true`. With another body it is 422; 410 if what"
        " the answer shows was deleted.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    },
    "ClientId": {
        "in": "header",
        "name": "X-Client-Id",
        "description": "A name of your own, as `tab-1`: it comes back as `client_id` of the"
        " events.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
}

ASYNC_DESCRIPTION = """\
What WarmDesk tells by itself, and what may be sent on its sockets: two kinds of sockets, the same
as server-sent events, and the events of a project to addresses of its owners. `send` is what the
server says, `receive` what it hears. The REST API stands in `/openapi.json`; the rules of resuming
in the protocol of the documents.
"""

SIGNED_HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "Signed as the Standard Webhooks scheme says.",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {
            "type": "string",
            "description": "`<webhook>.<seq>`: the same at each try, so that repeats can be told.",
            "examples": ["3.42"],
        },
        "webhook-timestamp": {
            "type": "string",
            "description": "When this try was made, in seconds since 1970.",
            "examples": ["1788249600"],
        },
        "webhook-signature": {
            "type": "string",
            "description": "`v1,` and the base64 of the HMAC-SHA256 of `<id>.<timestamp>.<body>`.",
            "examples": ["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        },
    },
}
