"""Alertmanager's own webhook receiver, pointed at the generic webhook."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Board, until
from tests.person import Person
from tests.posting import hook

NAMES = ("prometheus-alertmanager", "alertmanager")
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


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@asynccontextmanager
async def alertmanager(folder: Path, url: str) -> AsyncIterator[str]:
    """One that posts there: its address."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Alertmanager is not installed: apt install prometheus-alertmanager")
    (folder / "config.yml").write_text(CONFIG.format(url=url))
    address = f"127.0.0.1:{free_port()}"
    said = folder / "said"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'config.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            stdout=log,
            stderr=log,
        )

    async def ready() -> bool:
        assert process.returncode is None, said.read_text()
        try:
            async with session.get(f"http://{address}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    try:
        async with aiohttp.ClientSession() as session:
            await until(ready, limit=20)
        yield f"http://{address}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


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
