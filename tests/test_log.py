"""A log line is a fact with its keys, for people or for machines, and never a secret."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from warmdesk.log import REQUEST_ID, Lines, quoted

SECRET = "abc.DEF-123_x"


def said(message: str, *arguments: object, as_json: bool, level: int = logging.INFO) -> str:
    record = logging.LogRecord(
        "warmdesk.realtime.hub", level, "hub.py", 1, message, arguments, None
    )
    if sys.exc_info()[0]:
        record.exc_info = sys.exc_info()
    return Lines(as_json=as_json).format(record)


def test_a_line_for_people() -> None:
    line = said("hub.caught_up channel=%s from=%d", "project:42", 16, as_json=False)

    assert line[10] == "T"
    assert line[23:] == "Z info hub.caught_up channel=project:42 from=16"


def test_a_line_for_machines_has_its_keys_apart() -> None:
    line = json.loads(said('hub.caught_up channel=%s cause="not there"', "user:7", as_json=True))

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "warmdesk.realtime.hub",
        "event": "hub.caught_up",
        "channel": "user:7",
        "cause": "not there",
    }


def test_a_number_is_one_in_each_line_and_no_text_is_ever_one() -> None:
    form = "worker.serves pid=%d seconds=%.2f next_in=%.0f low=%d epoch=%s name=%s"
    line = json.loads(said(form, 15485, 0.355, 4.0, -2, "20261128", quoted("42"), as_json=True))

    assert (line["pid"], line["seconds"], line["next_in"], line["low"]) == (15485, 0.35, 4, -2)
    assert (line["epoch"], line["name"]) == ("20261128", "42")


@pytest.mark.parametrize(
    "text", ['x token=b" level=low', 'x/?" level=low', "x password=\\", 'x/webhooks/a" level=low b']
)
def test_what_is_blanked_in_a_quoted_value_does_not_end_it(text: str) -> None:
    """The value is others' choice: what it says of itself is no fact of the line."""
    form = "origins.refused origin=%s setting=allowed_origins"
    for whole in (quoted(text), json.dumps(text)):
        line = json.loads(said(form, whole, as_json=True))
        assert line.pop("time").endswith("Z")
        assert line.pop("origin").startswith("x")
        assert line == {
            "level": "info",
            "logger": "warmdesk.realtime.hub",
            "event": "origins.refused",
            "setting": "allowed_origins",
        }
        shown = said(form, whole, as_json=False)
        assert "level=low" not in re.sub(r"\"(?:[^\"\\]|\\.)*\"", "", shown)


@pytest.mark.parametrize(
    "text", ["", "two words", 'a "quoted" one', "it's", "back\\slash", "line\nfeed", "a=b c=d"]
)
def test_what_is_quoted_is_whole_for_machines_and_one_line_for_people(text: str) -> None:
    line = json.loads(said("auth.refused name=%s status=%d", quoted(text), 401, as_json=True))
    assert line["name"] == text
    assert line["status"] == 401
    assert "c" not in line
    shown = said("auth.refused name=%s status=%d", quoted(text), 401, as_json=False)
    assert "\n" not in shown
    assert shown.endswith(" status=401")


def test_what_cannot_be_printed_is_a_question_mark() -> None:
    assert quoted("a\x1b[2J\u202eb\ud800") == '"a?[2J?b?"'


def test_what_is_no_fact_of_ours_is_a_message() -> None:
    assert json.loads(said("Task was destroyed.", as_json=True))["message"] == "Task was destroyed."


def test_lines_of_a_request_carry_its_id() -> None:
    token = REQUEST_ID.set("r-1")
    try:
        assert said("http.failed", as_json=False).endswith(" http.failed request_id=r-1")
        assert json.loads(said("http.failed", as_json=True))["request_id"] == "r-1"
    finally:
        REQUEST_ID.reset(token)


def test_a_traceback_stays_with_its_line() -> None:
    try:
        raise ValueError(f"no GET /ws/demo?token={SECRET}&since=3")
    except ValueError:
        text = said("http.failed", as_json=False, level=logging.ERROR)
        line = json.loads(said("http.failed", as_json=True, level=logging.ERROR))

    assert "\nTraceback" in text
    assert "ValueError" in line["trace"]
    assert SECRET not in text + line["trace"]
    assert "/ws/demo?…" in line["trace"]


def test_a_warning_is_one_line() -> None:
    try:
        raise ConnectionError("no server")
    except ConnectionError:
        text = said("Retrying.", as_json=False, level=logging.WARNING)
        line = json.loads(said("bus.lost", as_json=True, level=logging.WARNING))

    assert text.endswith("warning Retrying. cause=ConnectionError")
    assert "trace" not in line
    assert line["cause"] == "ConnectionError"


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        "GET /x?api_key={}",
        "?ticket={}&a=1",
        "Authorization: Bearer {}",
        "password={} no",
        "Token={}",
    ],
)
def test_what_looks_like_a_secret_is_blanked(words: str, as_json: bool) -> None:
    assert SECRET not in said(words.format(SECRET), as_json=as_json)


def test_a_message_cannot_forge_a_second_line() -> None:
    for as_json in (True, False):
        assert "\n" not in said("http.failed path=%s", "/x\n2026 error forged", as_json=as_json)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/webhooks/{SECRET}",
        f"/api/v1/webhooks/{SECRET}/",
        f"/api/v1/github-webhook/{SECRET}",
        f"/api/v1/gitlab-webhook/{SECRET}?x=1",
        f"POST /api/v1/gitea-webhook/{SECRET} HTTP/1.1",
        f"POST /api/v1/webhooks/{SECRET}?since=3 HTTP/1.1",
        f"https://desk.example.org/api/v1/invitations/{SECRET}/accept",
        f"/users/me/calendar.ics?token={SECRET}",
        f"/anything?unheard-of={SECRET}&since={SECRET}",
        f"/anything?{SECRET}",
    ],
)
def test_a_secret_in_an_address_is_blanked(path: str) -> None:
    for as_json in (False, True):
        line = said("library said it path=%s status=200", path, as_json=as_json)
        assert SECRET not in line
        assert "status" in line
