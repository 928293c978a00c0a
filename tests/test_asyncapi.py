"""The AsyncAPI document: what its own parser finds in it, and that nothing is missing."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import pace
from warmdesk import app
from warmdesk.http.commands import COMMANDS
from warmdesk.realtime.channels import EventScope
from warmdesk.realtime.events import CATALOGUE

PARSER = "@asyncapi/parser@3.6.6"
SECONDS = 120.0
ADVICE = 2
"""The severity from which on the parser only gives advice."""
PROGRAM = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const text = readFileSync(process.argv[2], "utf8");
const { document, diagnostics } = await new Parser().parse(text);
const channels = document?.channels().all().map((each) => [
  each.id(), each.address(), each.messages().all().map((one) => one.name()),
]);
const operations = document?.operations().all().map((each) => each.id());
console.log(JSON.stringify({ diagnostics, channels, operations }));
"""

Node = dict[str, Any]


@pytest.fixture
def described() -> Node:
    made: Node = json.loads(app.documents().told.body)
    return made


async def run(*command: str, cwd: Path) -> tuple[int, str]:
    """The status of a program, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, wrong = await asyncio.wait_for(process.communicate(), SECONDS * pace.stretch())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, (said if not process.returncode else said + wrong).decode()


@pytest.mark.timeout(300)
async def test_asyncapis_own_parser_understands_it(tmp_path: Path, described: Node) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not installed: AsyncAPI's parser cannot be asked")
    status, said = await run(
        *("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", PARSER),
        cwd=tmp_path,
    )
    if status:
        pytest.skip(f"npm did not bring {PARSER}: {said[-300:]}")
    (tmp_path / "asyncapi.json").write_bytes(app.documents().told.body)
    (tmp_path / "program.mjs").write_text(PROGRAM)
    status, said = await run("node", "program.mjs", "asyncapi.json", cwd=tmp_path)
    assert not status, said
    found = json.loads(said)
    assert not [each for each in found["diagnostics"] if each["severity"] < ADVICE]
    channels = {name: (address, set(names)) for name, address, names in found["channels"]}
    assert {address for address, _ in channels.values()} == {
        "/ws/{slug}",
        "/ws/user",
        "/projects/{slug}/events/stream",
        "/users/me/events/stream",
        None,
    }
    assert set(found["operations"]) == set(described["operations"])


def told(described: Node, channel: str) -> set[str]:
    """The types of what may pass in a channel."""
    shared = described["components"]["messages"]
    messages = described["channels"][channel]["messages"].values()
    return {
        shared[each["$ref"].rpartition("/")[2]]["name"] if "$ref" in each else each["name"]
        for each in messages
    }


def test_everything_that_is_told_is_described(described: Node) -> None:
    for place, scope in (("project", EventScope.PROJECT), ("user", EventScope.USER)):
        events = {name for name, each in CATALOGUE.items() if each.is_for(scope)}
        known = {n for n, each in COMMANDS.items() if each.is_known(in_project=place == "project")}
        assert told(described, f"{place}Socket") == (events - {"close"}) | known
        assert told(described, f"{place}Stream") == events - {"ack", "error", "pong"}
    stored = {n for n, each in CATALOGUE.items() if each.stored and each.is_for(EventScope.PROJECT)}
    assert told(described, "outgoingWebhook") == stored


def test_every_command_names_its_answers(described: Node) -> None:
    for place in ("project", "user"):
        for name, each in COMMANDS.items():
            if each.is_known(in_project=place == "project"):
                words = "".join(map(str.capitalize, name.replace("_", ".").split(".")))
                operation = described["operations"][f"{place}Socket{words}"]
                answers = [ref["$ref"].rpartition("/")[2] for ref in operation["reply"]["messages"]]
                assert len(answers) == 2
                assert "ErrorSignal" in answers


def test_no_reference_leads_nowhere(described: Node) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                found: Any = described
                for word in node["$ref"].removeprefix("#/").split("/"):
                    found = found[word]
            for each in node.values():
                walk(each)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(described)


async def test_it_is_served_beside_the_other(url: str) -> None:
    async with aiohttp.ClientSession(url) as http, http.get("/asyncapi.json") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert (await answer.json())["asyncapi"] == "3.0.0"
