"""Log lines: a fact with a name first, then key=value, as text or as JSON: ``hub.caught_up
channel=project:42 cause=gap``.

Info: what an operator counts. Warning: healed by itself. Error: somebody must act. Never a token,
never a query string.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
"""The id of the request being answered: every line logged meanwhile carries it."""
SECRET_QUERY = re.compile(r"((?:token|api_key|ticket|password|secret)=)[^&\s\"']+", re.IGNORECASE)
BARE = re.compile(r"[^\s\"=]+")
_logger = logging.getLogger("warmdesk")


class Log:
    """Says facts. A key that is a Python keyword gets an underscore: ``from_=16``."""

    def debug(self, name: str, **keys: Any) -> None:
        self._say(logging.DEBUG, name, keys)

    def info(self, name: str, **keys: Any) -> None:
        self._say(logging.INFO, name, keys)

    def warning(self, name: str, **keys: Any) -> None:
        self._say(logging.WARNING, name, keys)

    def error(self, name: str, *, trace: BaseException | None = None, **keys: Any) -> None:
        self._say(logging.ERROR, name, keys, trace)

    def _say(
        self, level: int, name: str, keys: dict[str, Any], trace: BaseException | None = None
    ) -> None:
        if _logger.isEnabledFor(level):
            facts = {key.rstrip("_"): value for key, value in keys.items()}
            _logger.log(level, name, extra={"facts": facts}, exc_info=trace)


log = Log()


class Lines(logging.Formatter):
    """A record as one line; secrets in query strings are blanked, wherever they come from."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = dict(getattr(record, "facts", {}))
        if request := REQUEST_ID.get():
            facts.setdefault("request_id", request)
        name = record.getMessage()
        if record.name != _logger.name:
            facts["logger"] = record.name
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self.as_json:
            line = {"time": at.replace("+00:00", "Z"), "level": record.levelname.lower()}
            line |= {"event": name} | facts | ({"trace": trace} if trace else {})
            text = orjson.dumps(line, default=str).decode()
        else:
            words = [at[:23] + "Z", record.levelname.lower(), name]
            words += [f"{key}={_worded(value)}" for key, value in facts.items()]
            text = " ".join(words) + (f"\n{trace}" if trace else "")
        return SECRET_QUERY.sub(r"\1…", text)


def _worded(value: Any) -> str:
    text = str(value)
    return text if BARE.fullmatch(text) else orjson.dumps(text).decode()


def start_logging(level: str, form: str) -> None:
    """Send all loggers of this process to stderr, in our form."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(Lines(as_json=form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())
    logging.captureWarnings(True)
