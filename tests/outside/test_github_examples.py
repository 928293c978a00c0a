"""GitHub's own examples of payloads, those of npm's ``@octokit/webhooks-examples`` (MIT)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.conftest import Board
from tests.outside.node import package
from tests.person import Person
from tests.posting import hook

PACKAGE = "@octokit/webhooks-examples"
LEAST = 100
"""Examples that there are at least."""


@pytest.fixture
async def examples() -> list[tuple[str, Any]]:
    """The name of the event and the payload of each."""
    place = await package(PACKAGE)
    index = json.loads((place / "api.github.com" / "index.json").read_text())
    found = [(event["name"], example) for event in index for example in event["examples"]]
    assert len(found) > LEAST
    return found


async def test_every_example_is_taken(
    board: Board, olga: Person, bob: Person, examples: list[tuple[str, Any]]
) -> None:
    made = await hook(olga, type="github")
    took: Counter[str] = Counter()
    for event, payload in examples:
        answer = await made.post(payload, X_GitHub_Event=event)
        took[event] += bool(answer["posted"])
        assert answer["linked"] == 0
    assert took.keys() >= {"push", "pull_request", "issues", "create", "delete", "ping", "star"}
    said = {event for event, lines in took.items() if lines}
    assert said == {"push", "pull_request", "issues", "create", "delete"}
    lines = await bob.get(f"{board.path}/chat/messages?limit=200")
    assert len(lines) == sum(took.values())
    assert not [line for line in lines if "None" in line["body"] or "somebody" in line["body"]]


async def test_the_examples_give_the_lines_and_links_that_are_promised(
    board: Board, olga: Person, bob: Person, examples: list[tuple[str, Any]]
) -> None:
    card = await board.card()
    made = await hook(olga, type="github")

    def example(name: str, **wanted: Any) -> Any:
        return next(
            payload
            for event, payload in examples
            if event == name and all(payload.get(key) == value for key, value in wanted.items())
        )

    opened = example("pull_request", action="opened")
    opened["pull_request"]["title"] += f" {card['key']}"
    issue = example("issues", action="opened")
    issue["issue"]["body"] = f"see {card['key']}"
    push = next(payload for event, payload in examples if event == "push" and payload["commits"])
    push["commits"][0]["message"] = f"{card['key']}: fix"
    for event, payload in (("pull_request", opened), ("issues", issue), ("push", push)):
        answer = await made.post(payload, X_GitHub_Event=event)
        assert (answer["posted"], answer["linked"]) == (True, 1), event
    links = await bob.get(f"{board.path}/cards/{card['id']}/links")
    shown = [(each["link_type"], each["reference"], each["status"], each["url"]) for each in links]
    commit, pull, item = push["commits"][0], opened["pull_request"], issue["issue"]
    assert shown == [
        ("commit", commit["id"], "merged", commit["url"]),
        ("issue", str(item["number"]), "open", item["html_url"]),
        ("pr", str(pull["number"]), "open", pull["html_url"]),
    ]
    lines = [each["body"] for each in await bob.get(f"{board.path}/chat/messages")]
    repo = opened["repository"]
    shown_repo = f"[{repo['full_name']}]({repo['html_url']})"
    assert lines[0] == (
        f"**{opened['sender']['login']}** opened pull request"
        f" [#{pull['number']} {pull['title']}]({pull['html_url']}) in {shown_repo}"
    )
    assert lines[2].startswith(f"**{push['pusher']['name']}** pushed {len(push['commits'])} commit")
