"""Alertmanager's own webhook receiver, pointed at the generic webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.conftest import Board
from tests.outside.programs import running
from tests.person import Person
from tests.posting import hook

CONFIG = """
route:
  receiver: chat
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: chat
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


@asynccontextmanager
async def alertmanager(folder: Path, url: str) -> AsyncIterator[str]:
    """One that posts there: its address."""
    (folder / "config.yml").write_text(CONFIG.format(url=url))
    async with running(
        ("prometheus-alertmanager", "alertmanager"),
        "prometheus-alertmanager",
        folder,
        f"--config.file={folder / 'config.yml'}",
        f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=",
    ) as address:
        yield address


async def test_alerts_are_lines(board: Board, olga: Person, bob: Person, tmp_path: Path) -> None:
    ci = await hook(olga, name="Alerts")
    alert = {
        "labels": {"alertname": "Slow", "job": "web"},
        "annotations": {"summary": "p99 is 3 s"},
        "generatorURL": "http://prometheus.example.org/graph",
    }
    async with (
        alertmanager(tmp_path, ci.url) as address,
        aiohttp.ClientSession() as session,
        bob.socket("demo") as wire,
    ):
        async with session.post(f"{address}/api/v2/alerts", json=[alert]) as answer:
            assert answer.status == 200
        message = (await wire.next("chat.message", limit=20))["payload"]
    first, second = message["body"].split("\n")
    assert first.startswith("🔥 **FIRING** 1 alert: [Slow](http")
    assert second == "- 🔥 [Slow](http://prometheus.example.org/graph) job=web · p99 is 3 s"
    assert message["bot_name"] == "Alerts"
