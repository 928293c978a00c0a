"""Prometheus itself, set up as docs/operations.rst says, reads the metrics and the alerts."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp

from tests.conftest import Board, until
from tests.outside.programs import running
from tests.person import Person

TOP = Path(__file__).parents[2]
FOLDER = "/etc/prometheus/warmdesk"


def documented() -> str:
    """What the documents put into Prometheus' own file."""
    text = (TOP / "docs/operations.rst").read_text()
    block = text.split("In Prometheus' own file:\n\n.. code-block:: yaml\n\n", 1)[1]
    lines = re.match(r"(?:    .*\n|\n)+", block)
    assert lines is not None
    return "".join(line[4:] or "\n" for line in lines[0].splitlines(keepends=True))


async def test_it_scrapes_with_a_service_accounts_key(
    board: Board, root: Person, tmp_path: Path, url: str
) -> None:
    account = {
        "email": "prometheus@example.org",
        "username": "prometheus",
        "password": "a long password of nobody",
        "global_role": "metrics",
    }
    made = await root.post("/users", account)
    key = await root.post(
        f"/users/{made['id']}/api-keys", {"name": "Prometheus", "scopes": ["metrics"]}
    )
    (tmp_path / "key").write_text(key["key"])
    (tmp_path / "alerts.yml").write_text((TOP / "config/alerts.yml").read_text())
    config = "global: {evaluation_interval: 1s}\n" + documented()
    config = config.replace(FOLDER, str(tmp_path)).replace("15s", "1s")
    host = url.removeprefix("http://")
    config = re.sub(r"targets: \[.*?\]", f'targets: ["{host}"]', config)
    (tmp_path / "config.yml").write_text(config)
    await board.card()

    async with (
        running(
            ("prometheus",),
            "prometheus",
            tmp_path,
            f"--config.file={tmp_path / 'config.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
        ) as address,
        aiohttp.ClientSession(address) as session,
    ):

        async def value(query: str) -> float | None:
            async with session.get("/api/v1/query", params={"query": query}) as answer:
                found = (await answer.json())["data"]["result"]
            return float(found[0]["value"][1]) if found else None

        async def scraped() -> bool:
            return await value('up{job="warmdesk"}') == 1

        await until(scraped, limit=20)
        told = await value("sum(warmdesk_events_published_total)")

        async def judged() -> bool:
            async with session.get("/api/v1/rules") as answer:
                groups = (await answer.json())["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
            return bool(rules) and all(rule["health"] == "ok" for rule in rules)

        await until(judged, limit=90)
    assert told is not None
    assert told > 0
