"""Every panel of config/grafana/warmdesk.json shows something of a server that has worked a little,
says what it shows, and stands in nobody's way.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Board
from tests.person import Person
from tests.promql import Scrape, evaluate, names, scrape

FILE = Path(__file__).parents[1] / "config" / "grafana" / "warmdesk.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TO_BE_FILLED_IN = {"$__rate_interval": "5m", "$instance": "here|there"}
SELDOM = {
    "warmdesk_auth_failures_total": "nobody was refused",
    "warmdesk_commit_unknown_total": "no connection ended in COMMIT",
    "warmdesk_disk_free_bytes": "a server without a directory tells of no disk",
    "warmdesk_disk_size_bytes": "a server without a directory tells of no disk",
}
"""What a server need not have counted yet, and why: its panel may be empty."""


def expressions() -> list[tuple[str, str]]:
    """What the panels ask, with the panel's title, as Grafana fills it in."""
    asked = []
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in TO_BE_FILLED_IN.items():
                expression = expression.replace(name, value)
            asked.append((panel["title"], expression))
    return asked


async def test_every_panel_shows_something(root: Person, alice: Person, board: Board) -> None:
    scrapes: list[Scrape] = []
    for _ in range(3):
        async with alice.socket():
            await board.card()
            await alice.get(board.path)
            await alice.get("/search?q=card")
            text = (await root.request("GET", "/metrics")).body
        scrapes.append(scrape(time.monotonic(), text, instance="here"))
    given = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    empty = []
    for title, expression in expressions():
        asked = {re.sub("_(bucket|count|sum)$", "", name) for name in names(expression)}
        assert asked <= given.keys(), f"{title} asks for what no scrape gives: {expression}"
        if evaluate(expression, scrapes) == {} and not asked <= SELDOM.keys():
            empty.append(f"{title}: {expression}")
    assert not empty


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in PANELS:
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    places = [(panel["title"], panel["gridPos"]) for panel in BOARD["panels"]]
    for title, place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, title
    for (one, here), (other, there) in combinations(places, 2):
        apart = (
            here["x"] + here["w"] <= there["x"]
            or there["x"] + there["w"] <= here["x"]
            or here["y"] + here["h"] <= there["y"]
            or there["y"] + there["h"] <= here["y"]
        )
        assert apart, f"{one} lies over {other}"


def test_it_works_with_any_prometheus_and_for_any_choice_of_hosts() -> None:
    """No source and no host of somebody's own stands in it."""
    sources = {
        target["datasource"]["uid"] for panel in PANELS for target in (panel, *panel["targets"])
    }
    assert sources == {"${datasource}"}
    for panel in PANELS:
        for target in panel["targets"]:
            for metric in names(target["expr"].replace("$__rate_interval", "5m")):
                wanted = target["expr"].count(metric)
                assert target["expr"].count(f'{metric}{{instance=~"$instance"') == wanted, metric


def test_promtool_understands_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    told = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, check=False)

    assert told.returncode == 0, (told.stdout + told.stderr).decode()
