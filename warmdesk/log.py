"""Log lines: a fact with a name first, then key=value, as text or as JSON.

``log.info("hub.caught_up channel=%s cause=%s", …)`` with ``log = logging.getLogger(__name__)``. In
JSON a value is a number when its line asks for one (``pid=%d``), so that it is one in each line. A
value with spaces, and each that others chose, is `quoted`.
Info: what an operator counts. Warning: healed by itself, and one line. Error: somebody must act.
Never a token, never a query string: what looks like one is blanked here, also where a library says
it. Our own lines name a request by its route, never by its path.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""The id of the request being answered: every line logged meanwhile carries it."""
TRACE: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar(
    "trace", default=None
)
"""The ids of the trace and of the span that the request belongs to, where it names them: see
`trace_of`."""
RESERVED = frozenset(
    ("time", "level", "logger", "event", "message", "request_id", "trace_id", "span_id", "trace")
)
"""What a line in JSON has of its own; no fact is called so."""
TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
LONGEST_TRACEPARENT = 512
SECRET = re.compile(
    r"(/[^\s?\"']*\?)(?:\\.|[^\s\"'\\])+"
    r"|((?:token|api_key|ticket|password|secret)=)(?:\\.|[^&\s\"',\\])+"
    r"|(bearer )[\w.~+/-]+=*",
    re.IGNORECASE,
)
SECRET_PLACE = re.compile(
    r"(/(?:(?:github-|gitlab-|gitea-)?webhooks?|invitations)/)(?:\\.|[^\s/?\"'\\])+", re.IGNORECASE
)
"""In both a backslash goes with what follows: a value that is quoted must not lose the one before a
quote, or the rest of it would be facts.
"""
FACT = re.compile(r"(\w+)=(\"(?:[^\"\\]|\\.)*\"|\S*)")
NUMBER = re.compile(r"(\w+)=%[-+ 0#]*[0-9.]*[dfi](?= |$)")
"""In a line before its values stand in it: a key whose value is a number."""
NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)+(?= |$)")


class Lines(logging.Formatter):
    """A record as one line, a traceback below it (in JSON: in it)."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        at = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        said = record.getMessage()
        trace = ""
        if record.exc_info and record.levelno >= logging.ERROR:
            trace = blanked(self.formatException(record.exc_info))
        elif record.exc_info and record.exc_info[0]:
            # What is healed needs no traceback; libraries give one with every warning.
            said += f" cause={record.exc_info[0].__name__}"
        said = blanked(said)
        context = _context()
        if not self.as_json:
            said = said.replace("\n", "\\n")
            said += "".join(f" {key}={value}" for key, value in context)
            return f"{at} {record.levelname.lower()} {said}" + (f"\n{trace}" if trace else "")
        line: dict[str, Any] = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if name := NAME.match(said):
            line["event"] = name[0]
            numbers = set(NUMBER.findall(str(record.msg)))
            line |= {
                key: _number(value) if key in numbers else _unquoted(value)
                for key, value in FACT.findall(said, name.end())
            }
        else:
            line["message"] = said
        line |= context
        if trace:
            line["trace"] = trace
        return orjson.dumps(line).decode()


def _context() -> list[tuple[str, str]]:
    """What a line says of the request that it belongs to."""
    found = []
    if request := REQUEST_ID.get():
        found.append(("request_id", request))
    if trace := TRACE.get():
        found += zip(("trace_id", "span_id"), trace, strict=True)
    return found


def trace_of(headers: Sequence[str]) -> tuple[str, str] | None:
    """The ids in a request's ``traceparent`` (W3C Trace Context): of the trace, and of the caller's
    span in it. None unless there is one such header and it is valid.

    Of a version that is newer than 00 only what is known from that one is read, as it asks for.
    """
    if len(headers) != 1 or len(headers[0]) > LONGEST_TRACEPARENT:
        return None
    found = TRACEPARENT.fullmatch(headers[0])
    if found is None:
        return None
    version, trace, span, more = found.groups()
    if (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return trace, span


def blanked(text: str) -> str:
    """The text without what may be a secret: queries of addresses, tokens of webhooks and
    invitations, values under telling names.
    """
    return SECRET.sub(_blank, SECRET_PLACE.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    return next(filter(None, found.groups()), "") + "…"


def quoted(text: str) -> str:
    """A value of a fact that may have spaces or anything else in it: between quotes, in one line.
    What cannot be printed is a question mark.
    """
    shown = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
    return orjson.dumps(shown).decode()


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(orjson.loads(value))
    except orjson.JSONDecodeError:  # a part of it was blanked
        return value.strip('"')


def _number(value: str) -> float | str:
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        return value


_lines = Lines(as_json=False)


def start_logging(level: str, form: str) -> None:
    """Send what this process logs, and what Python warns of, to stderr in our form."""
    _lines.as_json = form == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_lines)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("warmdesk").setLevel(level.upper())
    logging.captureWarnings(True)


def is_json() -> bool:
    """Whether machines read what this process says."""
    return _lines.as_json


def say(sentence: str, *, aside: bool = False, level: int = logging.INFO) -> None:
    """Tell a sentence on the output, or `aside` on stderr, whatever the level of the log. Where
    that is JSON, so is this.
    """
    if _lines.as_json:
        record = logging.LogRecord("warmdesk", level, "", 0, "%s", (sentence,), None)
        sentence = _lines.format(record)
    print(sentence, file=sys.stderr if aside else sys.stdout, flush=True)
