"""GET /metrics: who may read it, what it counts, and that no client can make a line."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE, STDOUT
from typing import Any

import pytest

from tests.conftest import Board, Wait
from tests.person import Person
from warmdesk.rest import metrics


async def lines(reader: Person) -> dict[str, float]:
    text = str(await reader.get("/metrics"))
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is asked each time."""
    monkeypatch.setattr(metrics, "KEPT_SECONDS", -1.0)


async def test_only_administrators_and_metrics_accounts_may_read(
    alice: Person, root: Person, person: Any, connection: Any
) -> None:
    await alice.get("/metrics", status=403)
    stranger = person()
    stranger.client.token = "nothing"
    await stranger.get("/metrics", status=401)
    answer = await root.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"

    await connection.execute("update users set global_role = 'metrics' where username = 'bob'")
    await person("bob").get("/metrics")


async def test_boards_and_accounts_are_counted(
    root: Person, alice: Person, board: Board, soon: None
) -> None:
    card = await board.card()
    await board.card(column=board.done)
    await alice.put(f"{board.path}/cards/{card['id']}", {"closed": True})

    told = await lines(root)

    assert told["warmdesk_projects"] == 1
    assert told['warmdesk_columns{project="demo"}'] == 4
    place = f'column="Backlog",column_id="{board.backlog}",project="demo"'
    assert told[f'warmdesk_cards{{{place},status="closed"}}'] == 1
    place = f'column="Done",column_id="{board.done}",project="demo"'
    assert told[f'warmdesk_cards{{{place},status="open"}}'] == 1
    assert told['warmdesk_users{active="true",role="user"}'] == 4
    assert any(name.startswith("warmdesk_build_info{") for name in told)
    assert told["warmdesk_db_pool_limit_connections"] >= 1


async def test_a_columns_name_cannot_break_its_line(
    root: Person, olga: Person, board: Board, soon: None
) -> None:
    name = 'a"} 1\nfake 2\\'
    column = await olga.post(f"{board.path}/columns", {"name": name})
    await board.card(column=column["id"])

    told = await lines(root)

    assert "fake" not in told
    assert any('column="a\\"} 1\\nfake 2\\\\"' in line for line in told)


async def test_projects_beyond_the_shown_are_summed(
    root: Person, olga: Person, board: Board, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SHOWN", 1)
    await board.card()
    await olga.post("/projects", {"name": "Newest"})

    told = await lines(root)

    assert told['warmdesk_columns{project="newest"}'] == 4
    assert told['warmdesk_columns{project=""}'] == 4
    assert told['warmdesk_cards{column="",column_id="",project="",status="open"}'] == 1


async def test_the_database_is_asked_once_in_ten_seconds(
    root: Person, olga: Person, board: Board
) -> None:
    before = await lines(root)
    await olga.post("/projects", {"name": "Another"})

    assert (await lines(root))["warmdesk_projects"] == before["warmdesk_projects"] == 1


async def test_requests_are_counted_under_their_template(
    root: Person, alice: Person, board: Board
) -> None:
    name = 'warmdesk_http_requests_total{method="GET",route="/api/v1/projects/{slug}",status="4xx"}'
    before = (await lines(root)).get(name, 0)
    for number in range(3):
        await alice.get(f"/projects/none-{number}", status=404)
    await alice.get("/no/such/path", status=404)

    told = await lines(root)

    assert told[name] == before + 3
    routes = [line for line in told if line.startswith("warmdesk_http_requests_total")]
    assert not [line for line in routes if "none-" in line or "such" in line]
    other = 'warmdesk_http_requests_total{method="other",route="unmatched",status="4xx"}'
    assert told[other] >= 1


async def test_a_strange_method_makes_no_line(root: Person, alice: Person, url: str) -> None:
    await alice.token()
    async with alice.client.session.request("PROPFIND", f"{url}/api/v1/version") as response:
        assert response.status == 405

    assert not [line for line in await lines(root) if "PROPFIND" in line]


async def test_open_sockets_are_counted(root: Person, alice: Person, eventually: Wait) -> None:
    async def open_ones() -> float:
        return (await lines(root))['warmdesk_ws_connections{kind="user"}']

    before = await open_ones()
    async with alice.socket("user") as socket:
        await socket.next("hello")
        assert await open_ones() == before + 1
    await eventually(lambda: _is(open_ones, before))


async def _is(count: Any, wanted: float) -> bool:
    return bool(await count() == wanted)


async def test_promtool_finds_nothing(root: Person, board: Board) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    await board.card()
    text = str(await root.get("/metrics"))
    tool = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    told, _ = await tool.communicate(text.encode())

    assert tool.returncode == 0, told.decode()
