"""What other programs post, as a line for people."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.errors import BadRequest
from warmdesk.hosts.generic import effect
from warmdesk.hosts.text import LONGEST


def said(payload: Any) -> str:
    return effect(payload).line


@pytest.mark.parametrize("name", ["text", "message", "content", "body", "msg"])
def test_a_text_has_several_names(name: str) -> None:
    assert said({name: " **Done** @bob <b> "}) == "**Done** @bob <b>"


def test_the_first_name_goes_before_the_others() -> None:
    assert said({"msg": "b", "text": "a"}) == "a"
    assert said({"text": "", "message": "b"}) == "b"


def test_who_says_it() -> None:
    assert effect({"text": "a", "username": " CI\nbot "}).bot_name == "CI bot"
    assert len(effect({"text": "a", "username": "x" * 300}).bot_name) == 100
    assert effect({"text": "a"}).bot_name == effect({"text": "a", "username": None}).bot_name == ""


SLACK = {
    "text": "Build <https://ci.example.org/1|#1> failed",
    "blocks": [
        {"type": "header", "text": {"type": "plain_text", "text": "Build *1*"}},
        {"type": "divider"},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "It is <https://ci.example.org/1>"},
            "fields": [{"type": "mrkdwn", "text": "Branch"}, {"type": "mrkdwn", "text": "main"}],
        },
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": "just now"}, {"type": "image"}],
        },
    ],
    "attachments": [
        {
            "fallback": "unseen",
            "pretext": "Details",
            "title": "Log",
            "title_link": "https://ci.example.org/1/log",
            "text": "Line 3",
            "fields": [{"title": "Took", "value": "3 s", "short": True}],
        },
        {"fallback": "Only this"},
    ],
}
DISCORD = {
    "content": "A release",
    "username": "Releases",
    "embeds": [
        {
            "author": {"name": "alice"},
            "title": "1.0",
            "url": "https://example.org/1.0",
            "description": "It is *out*",
            "fields": [{"name": "Size", "value": 3}],
            "footer": {"text": "bye"},
        }
    ],
}
MATTERMOST = {
    "username": "Jenkins",
    "icon_url": "https://example.org/i.png",
    "text": "#### Results\n| a | b |\n|---|---|\n| 1 | 2 |",
    "attachments": [{"text": "More"}],
    "props": {"card": "x"},
}
APPRISE = {
    "version": "1.0",
    "title": "Backup",
    "message": "It is done",
    "attachments": [],
    "type": "info",
}


def test_slack() -> None:
    assert said(SLACK).split("\n") == [
        r"**Build \*1\***",
        "It is [https://ci.example.org/1](https://ci.example.org/1)",
        "Branch",
        "main",
        "just now",
        "Details",
        "**[Log](https://ci.example.org/1/log)**",
        "Line 3",
        "**Took**: 3 s",
        "Only this",
    ]


def test_a_text_beside_blocks_is_for_who_cannot_show_them() -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "It is *done*"}}
    assert said({"text": "Done", "blocks": [section]}) == "It is *done*"
    assert said({"attachments": [{"text": "Done", "blocks": [section]}]}) == "It is *done*"
    assert said({"content": "Done", "blocks": [section]}) == "Done\nIt is *done*"
    # Where they show nothing here, or not all, it is all that there is.
    assert said({"text": "Done", "blocks": [{"type": "image", "image_url": "x"}]}) == "Done"
    assert said({"text": "Done", "blocks": []}) == "Done"
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": []}]}
    assert said({"text": "Done", "blocks": [section, rich]}) == "Done\nIt is *done*"


def test_discord() -> None:
    assert said(DISCORD).split("\n") == [
        "A release",
        "alice",
        "**[1.0](https://example.org/1.0)**",
        "It is *out*",
        "**Size**: 3",
        "bye",
    ]


def test_mattermost_and_apprise() -> None:
    assert said(MATTERMOST) == f"{MATTERMOST['text']}\nMore"
    assert said(APPRISE) == "**Backup**\nIt is done"


# Version 4 of https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
ALERTMANAGER: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="Slow"}',
    "truncatedAlerts": 2,
    "status": "firing",
    "receiver": "chat",
    "groupLabels": {"alertname": "Slow"},
    "commonLabels": {"alertname": "Slow", "job": "web"},
    "commonAnnotations": {},
    "externalURL": "http://alerts.example.org:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Slow", "job": "web"},
            "annotations": {"summary": "p99 is *3* s"},
            "startsAt": "2026-04-04T10:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prom.example.org/graph?g0.expr=a",
            "fingerprint": "c6eadffa33fcdf37",
        },
        {"status": "resolved", "labels": {"alertname": "Slow"}, "annotations": {}},
    ],
}
GRAFANA = {
    **ALERTMANAGER,
    "truncatedAlerts": 0,
    "orgId": 1,
    "title": "[FIRING:1] Slow (web)",
    "state": "alerting",
    "message": "**Firing**\n\nValue: B=44",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "High memory usage", "zone": "us-1"},
            "annotations": {"description": "The system has high memory usage"},
            "generatorURL": "https://grafana.example.org/alerting/1/edit",
            "dashboardURL": "https://grafana.example.org/d/1",
            "panelURL": "",
            "values": {"B": 44.2},
        }
    ],
}


def test_alertmanager() -> None:
    assert said(ALERTMANAGER).split("\n") == [
        "🔥 **FIRING** 2 alerts: [Slow](http://alerts.example.org:9093)",
        r"- 🔥 [Slow](http://prom.example.org/graph?g0.expr=a) job=web · p99 is \*3\* s",
        "- ✅ Slow",
        "",
        "… and 2 more",
    ]


def test_grafana() -> None:
    assert said(GRAFANA).split("\n") == [
        r"🔥 **FIRING** 1 alert: [\[FIRING:1\] Slow \(web\)](http://alerts.example.org:9093)",
        "- 🔥 [High memory usage](https://grafana.example.org/d/1) zone=us-1"
        " · The system has high memory usage",
    ]


def test_many_alerts_are_ten_lines() -> None:
    many = {**ALERTMANAGER, "alerts": ALERTMANAGER["alerts"] * 20, "truncatedAlerts": 0}
    lines = said(many).split("\n")
    assert (len(lines), lines[-1]) == (13, "… and 30 more")


def test_anything_else_is_shown_as_it_came() -> None:
    assert said({"a": [1, {"b": "```"}]}) == (
        '```json\n{\n  "a": [\n    1,\n    {\n      "b": "```"\n    }\n  ]\n}\n```'
    )
    long = said({"a": "x" * 5000})
    assert len(long) == 2000 + len("```json\n\n```")
    assert long.endswith("…\n```")


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ([], ""),
        ("text", ""),
        (None, ""),
        (5, ""),
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": 5}, "text"),
        ({"text": ["a"]}, "text"),
        ({"text": "a", "username": 5}, "username"),
    ],
)
def test_what_has_nothing_to_show_is_refused(payload: Any, name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        effect(payload)
    assert list(refused.value.extra.get("fields", {})) == ([name] if name else [])


def test_a_line_is_cut_and_holds_no_nul() -> None:
    line = said({"text": "ж" * 30_000})
    assert (len(line), line[-1]) == (LONGEST, "…")
    assert said({"text": "a\0b\x1bc\td"}) == "abc\td"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)
WORDS = [
    *(
        "text",
        "message",
        "title",
        "username",
        "blocks",
        "attachments",
        "embeds",
        "fields",
        "alerts",
    ),
    *("commonLabels", "groupKey", "labels", "annotations", "status", "elements", "author"),
    *("footer", "url", "value", "name", "truncatedAlerts", "externalURL"),
]
STRANGE = st.recursive(
    JSON,
    lambda inner: (
        st.dictionaries(st.sampled_from(WORDS), inner, max_size=6) | st.lists(inner, max_size=3)
    ),
    max_leaves=30,
)


@given(STRANGE)
def test_whatever_comes_is_a_line_or_a_refusal(payload: Any) -> None:
    try:
        line = said(payload)
    except BadRequest:
        return
    assert line.strip()
    assert len(line) <= LONGEST
