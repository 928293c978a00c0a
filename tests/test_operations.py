"""What docs/operations.rst tells operators to run and to write works as it stands there."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import shutil
from pathlib import Path

import aiohttp
import docutils.nodes
import pytest
import yaml

from tests.conftest import Wait
from tests.person import PASSWORD, Person
from tests.test_documents import parsed
from warmdesk.client import Client
from warmdesk.log import RESERVED, Lines

ADDRESS = r"(?P<address>[0-9a-f:.]+)"
"""What fail2ban puts in the place of <ADDR>, more or less."""


def block(heading: str, word: str) -> str:
    """The literal block below a heading that has this word."""
    for section in parsed("docs/operations.rst").findall(docutils.nodes.section):
        if section[0].astext() == heading:
            for found in section.findall(docutils.nodes.literal_block):
                if word in found.astext():
                    return str(found.astext())
    raise AssertionError(f"no block with {word!r} below {heading!r}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_prometheus_gets_a_key_that_is_good_for_nothing_else(
    root: Person, url: str, tmp_path: Path
) -> None:
    account = {"username": "prometheus", "email": "p@example.org", "password": PASSWORD}
    await root.post("/users", account | {"global_role": "metrics"})
    (tmp_path / "password").write_text(PASSWORD + "\n")
    script = block("Metrics", "access_token")
    for before, after in (
        ("http://127.0.0.1:8080", url),
        ("/etc/prometheus/warmdesk ", f"{tmp_path} "),
    ):
        assert script.count(before) == 1
        script = script.replace(before, after)
    process = await asyncio.create_subprocess_exec("sh", "-c", script)
    assert await process.wait() == 0

    assert [file.name for file in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    headers = {"Authorization": f"Bearer {(tmp_path / 'key').read_text().strip()}"}
    for path, status in (("/metrics", 200), ("/users/me", 403)):
        async with aiohttp.request("GET", f"{url}/api/v1{path}", headers=headers) as answer:
            assert answer.status == status
            assert ("warmdesk_ready" in await answer.text()) == (status == 200)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.settings(trusted_proxies="127.0.0.1")
async def test_fail2ban_finds_the_address_of_who_guesses(
    url: str, caplog: pytest.LogCaptureFixture, eventually: Wait, *, as_json: bool
) -> None:
    caplog.set_level(logging.INFO, logger="warmdesk")
    filters = block("Guessed passwords", "failregex").partition("failregex = ")[2].splitlines()
    filters = [line.strip().replace("<ADDR>", ADDRESS) for line in filters]
    tries = {"alice": "198.51.100.7", "x info auth.refused client=203.0.113.9 name=": "2001:db8::7"}
    async with Client(url, patience=0) as anyone:
        for name, address in tries.items():
            answer = await anyone.request(
                "POST",
                "/auth/login",
                {"username": name, "password": "a wrong password"},
                headers={"X-Forwarded-For": address},
            )
            assert answer.status == 401
    found = []
    for record in caplog.records:
        line = Lines(as_json=as_json).format(record)
        found += [m["address"] for each in filters for m in re.finditer(each, line)]
        if as_json:
            json.loads(line)
    assert found == list(tries.values())
    assert all(ipaddress.ip_address(address) for address in found)


def test_what_loki_and_elastic_are_told_of_is_in_a_line() -> None:
    alloy = block("The log", "loki.process")
    for stage, keys in re.findall(r"stage\.(json|labels|structured_metadata) \{ (.*) \}", alloy):
        named = set(re.findall(r'(\w+) = ""', keys))
        assert named, stage
        assert named <= RESERVED, stage
    assert re.findall(r'source = "(\w+)"', alloy) == ["time"]
    filebeat = yaml.safe_load(block("The log", "filebeat.inputs"))
    (found,) = filebeat["filebeat.inputs"]
    (target,) = (each["ndjson"]["target"] for each in found["parsers"] if "ndjson" in each)
    when, copied = filebeat["processors"]
    fields = [when["timestamp"]["field"], copied["copy_fields"]["fields"][0]["from"]]
    assert [each.partition(".")[0] for each in fields] == [target, target]
    assert {each.partition(".")[2] for each in fields} <= RESERVED
    line = Lines(as_json=True).format(logging.LogRecord("x", logging.INFO, "", 1, "a.b", (), None))
    (layout,) = when["timestamp"]["layouts"]
    # Go writes the moment of its reference: its shape is that of ours.
    assert re.sub(r"\d", "0", layout) == re.sub(r"\d", "0", json.loads(line)["time"])


def test_the_line_that_is_shown_is_one_of_ours() -> None:
    shown = block("Guessed passwords", "2026-")
    record = logging.LogRecord(
        "warmdesk.rest.auth",
        logging.INFO,
        "auth.py",
        1,
        "auth.refused client=%s name=%s status=%d",
        ("198.51.100.7", '"alice"', 401),
        None,
    )
    assert shown.partition(" ")[2] == Lines(as_json=False).format(record).partition(" ")[2]
