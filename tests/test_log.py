"""A log line is a fact with its keys, for people or for machines, and never a secret."""

from __future__ import annotations

import ast
import json
import logging
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmdesk.log import NAME, REQUEST_ID, RESERVED, TRACE, Lines, quoted, trace_of

SECRET = "abc.DEF-123_x"
PROGRAM = Path(__file__).parents[1] / "warmdesk"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
"""The example of W3C Trace Context."""


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


def test_lines_of_a_request_carry_its_trace() -> None:
    token = TRACE.set((TRACE_ID, SPAN_ID))
    try:
        line = said("http.failed", as_json=False)
        assert line.endswith(f" http.failed trace_id={TRACE_ID} span_id={SPAN_ID}")
        shown = json.loads(said("http.failed", as_json=True))
        assert (shown["trace_id"], shown["span_id"]) == (TRACE_ID, SPAN_ID)
    finally:
        TRACE.reset(token)
    assert "trace_id" not in said("http.failed", as_json=True)


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-00",
        f"cc-{TRACE_ID}-{SPAN_ID}-01",
        f"fe-{TRACE_ID}-{SPAN_ID}-01-what.the-future-will-be-like",
    ],
)
def test_a_trace_is_taken_over(header: str) -> None:
    assert trace_of([header]) == (TRACE_ID, SPAN_ID)


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE_ID,
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}-01-",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"cc-{TRACE_ID}-{SPAN_ID}-01.more",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID.upper()}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
        f"00-{TRACE_ID}0-{SPAN_ID}-01",
        f"00-{TRACE_ID[:-1]}\u0664-{SPAN_ID}-01",
        f" 00-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01\n",
        f"cc-{TRACE_ID}-{SPAN_ID}-01-{'x' * 1000}",
    ],
)
def test_what_is_no_trace_is_not_taken_over(header: str) -> None:
    assert trace_of([header]) is None


def test_of_two_traces_none_is_taken_over() -> None:
    assert trace_of([f"00-{TRACE_ID}-{SPAN_ID}-01"] * 2) is None
    assert trace_of([]) is None


@given(st.text("0123456789abcdefF-", max_size=70))
def test_a_trace_is_only_what_it_says(header: str) -> None:
    found = trace_of([header])
    if found is not None:
        assert re.fullmatch(r"[0-9a-f]{32}", found[0])
        assert re.fullmatch(r"[0-9a-f]{16}", found[1])
        assert header[3:52] == "-".join(found)


def facts() -> dict[str, dict[str, list[str]]]:
    """Every fact that the program logs: its kinds (a whole number, a number, text), and which lines
    say it so.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(PROGRAM.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if NAME.match(node.value) is None:
                continue
            for key, value in re.findall(r" (\w+)=(\S+)", node.value):
                form = re.fullmatch(r"%[-+ 0#]*([0-9.]*)([dfi])", value)
                whole = form is not None and (form[2] != "f" or form[1].endswith(".0"))
                kind = ("whole" if whole else "number") if form else "text"
                found[key][kind].append(node.value)
    return found


def test_a_fact_is_of_one_kind_in_all_lines() -> None:
    """Elastic and others give a field the kind that it had first, and lose lines that have it
    otherwise.
    """
    known = facts()
    assert {"pid", "seconds", "cause", "client"} <= known.keys()
    for key, kinds in known.items():
        assert len(kinds) == 1, (key, dict(kinds))


def test_no_fact_has_the_name_of_what_each_line_has() -> None:
    assert not facts().keys() & RESERVED
    token = REQUEST_ID.set("r-1"), TRACE.set((TRACE_ID, SPAN_ID))
    try:
        try:
            raise ValueError
        except ValueError:
            event = json.loads(said("http.failed", as_json=True, level=logging.ERROR))
            message = json.loads(said("No fact.", as_json=True, level=logging.ERROR))
    finally:
        REQUEST_ID.reset(token[0])
        TRACE.reset(token[1])
    assert event.keys() | message.keys() == RESERVED


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
