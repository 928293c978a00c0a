"""Log lines: a fact with a name first, then key=value, as text or as JSON.

``log.info("hub.caught_up channel=%s cause=%s", …)`` with ``log = logging.getLogger(__name__)``.
Info: what an operator counts. Warning: healed by itself, and one line. Error: somebody must act.
Never a token, never a query string: what looks like one is blanked here, also where a library says
it. Our own lines name a request by its route, never by its path.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
from datetime import UTC, datetime

import orjson

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""The id of the request being answered: every line logged meanwhile carries it."""
SECRET = re.compile(
    r"(/[^\s?\"']*\?)[^\s\"']+"
    r"|((?:token|api_key|ticket|password|secret)=)[^&\s\"',]+"
    r"|(bearer )[\w.~+/-]+=*",
    re.IGNORECASE,
)
SECRET_PLACE = re.compile(r"(/(?:webhooks|invitations)/)[^\s/?\"']+", re.IGNORECASE)
FACT = re.compile(r"(\w+)=(\"(?:[^\"\\]|\\.)*\"|\S*)")
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
        request = REQUEST_ID.get()
        if not self.as_json:
            said = said.replace("\n", "\\n") + (f" request_id={request}" if request else "")
            return f"{at} {record.levelname.lower()} {said}" + (f"\n{trace}" if trace else "")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        if name := NAME.match(said):
            line["event"] = name[0]
            line |= {key: value.strip('"') for key, value in FACT.findall(said, name.end())}
        else:
            line["message"] = said
        line |= {key: value for key, value in (("request_id", request), ("trace", trace)) if value}
        return orjson.dumps(line).decode()


def blanked(text: str) -> str:
    """The text without what may be a secret: queries of addresses, tokens of webhooks and
    invitations, values under telling names.
    """
    return SECRET.sub(_blank, SECRET_PLACE.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    return next(filter(None, found.groups()), "") + "…"


def start_logging(level: str, form: str) -> None:
    """Send what this process logs, and what Python warns of, to stderr in our form."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(Lines(as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    logging.getLogger("warmdesk").setLevel(level.upper())
    logging.captureWarnings(True)
