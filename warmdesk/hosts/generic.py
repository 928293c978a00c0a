"""What programs post that are no git host: a line for the chat, made of whatever JSON came.

A text under one of the usual names is Markdown and stays as it is, with what Slack, Discord and
Mattermost know beside it: attachments, blocks, embeds. The payloads of Alertmanager and Grafana
are read by what they hold. Anything else is shown as it came, in a block of code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from warmdesk.errors import BadRequest, cut, field_error
from warmdesk.hosts.text import (
    Effect,
    address,
    bold,
    cut_text,
    escaped,
    line_of,
    link,
    plain,
    target,
)

NAMES = ("text", "message", "content", "body", "msg")
LONGEST_BOT = 100
LONGEST_CODE = 2000
"""Characters of a payload that is shown as it came."""
MOST_ALERTS = 10
MOST_PARTS = 50
"""Blocks, attachments or embeds that are shown."""
SHOWN_WHOLE = frozenset({"header", "section", "context", "divider", "actions", "image", "markdown"})
"""Blocks of Slack's whose texts are all shown, or that have none."""
NOT_KEPT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
LINK = re.compile(r"<(https?://[^|<>\s]+)(?:\|([^<>\n]*))?>")
"""As Slack writes one."""
STATES = {"firing": "🔥", "resolved": "✅"}

Json = Mapping[str, Any]


def effect(payload: Any) -> Effect:
    """What a payload does. Raises `BadRequest` where there is nothing to show."""
    if not isinstance(payload, dict):
        raise BadRequest("the body is no JSON object")
    for name in ("text", "username"):
        if not isinstance(payload.get(name, ""), str | None):
            raise field_error(name, "bad_format", "must be text")
    said = NOT_KEPT.sub("", _alerts(payload) or _said(payload)).strip()
    if not said and payload.get("text") is not None:
        raise field_error("text", "blank", "must not be blank")
    return Effect(line=cut_text(said or _code(payload)), bot_name=_bot_name(payload))


def _bot_name(payload: Json) -> str:
    return cut(plain(payload.get("username") or ""), LONGEST_BOT)


def _said(payload: Json) -> str:
    """The texts of a payload, below each other, each once."""
    head = next((text for name in NAMES if (text := _text(payload.get(name)))), "")
    blocks, stand_alone = _blocks(payload)
    lines = [_slack(head)] if head and not (stand_alone and payload.get("text")) else []
    if title := _text(payload.get("title")):
        lines.insert(0, bold(title))
    lines += blocks
    for part in _list(payload, "attachments"):
        lines += _attachment(part)
    for part in _list(payload, "embeds"):
        lines += _embed(part)
    kept = [each for each in dict.fromkeys(lines) if each]
    known = set(kept[0].split("\n")) if kept else set()
    return "\n".join(kept[:1] + [each for each in kept[1:] if each not in known])


def _text(value: Any) -> str:
    """A text, or that of an object of Slack's; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("text")
    return value.strip() if isinstance(value, str) else ""


def _list(payload: Json, name: str) -> list[Json]:
    found = payload.get(name)
    if not isinstance(found, list):
        return []
    return [each for each in found[:MOST_PARTS] if isinstance(each, dict)]


def _slack(text: str) -> str:
    """Slack's links as Markdown's."""

    def shown(found: re.Match[str]) -> str:
        url = target(found[1])
        return f"[{found[2] or found[1]}]({url})" if url else found[0]

    return LINK.sub(shown, text)


def _named(part: Json, name: str, url: str) -> str:
    """A title that may lead somewhere, in bold."""
    title = _text(part.get(name))
    address_of = part.get(url)
    if not title or not (isinstance(address_of, str) and address(address_of)):
        return bold(title) if title else ""
    return f"**{link(title, address_of)}**"


def _blocks(payload: Json) -> tuple[list[str], bool]:
    """The lines of Slack's blocks, and whether they stand for the ``text`` beside them, which is
    for who cannot show them.
    """
    parts = _list(payload, "blocks")
    lines = [line for part in parts for line in _block(part) if line]
    return lines, bool(lines) and all(_text(part.get("type")) in SHOWN_WHOLE for part in parts)


def _block(block: Json) -> Iterator[str]:
    """A block of Slack's Block Kit."""
    text = _slack(_text(block.get("text")))
    yield f"**{escaped(plain(text))}**" if text and block.get("type") == "header" else text
    for name in ("fields", "elements"):
        parts = [_slack(_text(each)) for each in _list(block, name)]
        yield "\n".join(part for part in parts if part)


def _attachment(part: Json) -> Iterator[str]:
    """An attachment of Slack or Mattermost."""
    texts = [_slack(_text(part.get("pretext"))), _named(part, "title", "title_link")]
    blocks, stand_alone = _blocks(part)
    texts += [] if stand_alone else [_slack(_text(part.get("text")))]
    texts += blocks
    texts += _fields(part, "title", "value")
    yield from texts if any(texts) else [_slack(_text(part.get("fallback")))]


def _embed(part: Json) -> Iterator[str]:
    """An embed of Discord."""
    author = part.get("author")
    yield line_of(plain(_text(author.get("name")))) if isinstance(author, dict) else ""
    yield _named(part, "title", "url")
    yield _text(part.get("description"))
    yield from _fields(part, "name", "value")
    footer = part.get("footer")
    yield line_of(plain(_text(footer))) if isinstance(footer, dict) else ""


def _fields(part: Json, name: str, value: str) -> Iterator[str]:
    for each in _list(part, "fields"):
        shown = "" if (found := each.get(value)) is None else found
        shown = _slack(shown.strip()) if isinstance(shown, str) else plain(str(shown))
        title = _text(each.get(name))
        yield f"{bold(title)}: {shown}" if title else shown


# Alerts


def _alerts(payload: Json) -> str:
    """The alerts of Alertmanager, or of Grafana, which sends the same and more."""
    alerts = payload.get("alerts")
    is_known = isinstance(payload.get("commonLabels"), dict) or "groupKey" in payload
    if not isinstance(alerts, list) or not is_known or "text" in payload:
        return ""
    found = _list(payload, "alerts")
    status = _text(payload.get("status"))
    labels = payload.get("commonLabels")
    name = _text(payload.get("title")) or _alert_name(labels)
    mark = STATES.get(status, "")
    many = "" if len(alerts) == 1 else "s"
    first = f"{mark} **{escaped(status.upper() or 'ALERT')}** {len(alerts)} alert{many}".strip()
    where = payload.get("externalURL")
    shown = link(name, where if isinstance(where, str) else "") if name else ""
    lines = [f"{first}: {shown}" if shown else first]
    lines += [_alert(each) for each in found[:MOST_ALERTS]]
    more = len(alerts) - min(len(found), MOST_ALERTS) + _count(payload.get("truncatedAlerts"))
    if more > 0:
        lines += ["", f"… and {more} more"]
    return "\n".join(lines)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _alert_name(labels: Any) -> str:
    return _text(labels.get("alertname")) if isinstance(labels, dict) else ""


def _alert(alert: Json) -> str:
    labels, notes = (
        each if isinstance(each := alert.get(name), dict) else {}
        for name in ("labels", "annotations")
    )
    name = _alert_name(labels) or "alert"
    at = next(
        (
            url
            for key in ("panelURL", "dashboardURL", "generatorURL")
            if isinstance(url := alert.get(key), str) and address(url)
        ),
        "",
    )
    others = [
        f"{key}={value}" for key, value in labels.items() if key != "alertname" and _text(value)
    ]
    said = next(
        (text for key in ("summary", "description", "message") if (text := _text(notes.get(key)))),
        "",
    )
    value = _text(alert.get("valueString"))
    parts = [plain(" ".join(others)), plain(said or value)]
    state = STATES.get(_text(alert.get("status")), "")
    tail = " · ".join(escaped(cut(each, 500)) for each in parts if each)
    return " ".join(each for each in ("-", state, link(name, at), tail) if each)


def _code(payload: Json) -> str:
    """The payload itself, as it came."""
    if not payload:
        raise field_error("text", "required", "required")
    shown = msgspec.json.format(msgspec.json.encode(payload), indent=2).decode()
    return f"```json\n{cut_text(shown, LONGEST_CODE)}\n```"
