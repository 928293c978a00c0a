"""GET /metrics: who may read it, what it counts, and that no client can make a line."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Board, Servers, Wait
from tests.journeys.running import SECRETS, Running, children
from tests.person import Person
from warmdesk import inventory
from warmdesk.bounds import KEYS, TABLES
from warmdesk.desk import Desk
from warmdesk.metrics.rows import ROOM, ROWS
from warmdesk.realtime.bus import connect_redis


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
    monkeypatch.setattr(inventory, "KEPT_SECONDS", -1.0)


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


async def test_of_each_table_and_kind_of_key_is_told_how_much_there_is(
    root: Person, alice: Person, board: Board, connection: Any, soon: None
) -> None:
    await alice.post("/auth/ws-ticket")
    await connection.execute("analyze users")

    told = await lines(root)

    assert told['warmdesk_table_rows{table="users"}'] == 5
    for table in TABLES:
        assert told[f'warmdesk_table_bytes{{table="{table}"}}'] >= 0
    assert {kind for kind in KEYS if f'warmdesk_redis_keys{{kind="{kind}"}}' in told} == set(KEYS)
    assert told['warmdesk_redis_keys{kind="ticket"}'] == 1


async def test_many_keys_are_estimated(
    root: Person, desk: Desk, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "SCANS", 2)
    monkeypatch.setattr(inventory, "SCANNED", 100)
    await desk.redis.mset({f"warmdesk:limit:x:{n}": 1 for n in range(3000)})

    told = await lines(root)

    assert told['warmdesk_redis_keys{kind="limit"}'] == pytest.approx(3000, rel=0.1)


async def test_without_redis_the_other_figures_are_told(
    root: Person, desk: Desk, soon: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await lines(root)
    gone = connect_redis(f"unix://{tmp_path}/nobody.sock")
    monkeypatch.setattr(desk, "redis", gone)

    told = await lines(root)

    await gone.aclose()
    key = 'warmdesk_redis_keys{kind="ticket"}'
    assert told[key] == before[key]
    assert told["warmdesk_metrics_last_access_success"] == 1


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
    monkeypatch.setattr(inventory, "SHOWN", 1)
    await board.card()
    await olga.post("/projects", {"name": "Newest"})

    told = await lines(root)

    assert told['warmdesk_columns{project="newest"}'] == 4
    assert told['warmdesk_columns{project=""}'] == 4
    assert told['warmdesk_cards{column="",column_id="",project="",status="open"}'] == 1


@pytest.mark.foul
async def test_a_project_is_active_by_its_newest_event(
    root: Person,
    olga: Person,
    board: Board,
    connection: Any,
    soon: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventory, "SHOWN", 1)
    await olga.post("/projects", {"name": "Newest"})
    await board.card()
    assert 'warmdesk_columns{project="demo"}' in await lines(root)
    assert 'warmdesk_columns{project="newest"}' not in await lines(root)

    # Without events that are still kept a project counts by its row.
    await connection.execute("with gone as (delete from events) update feeds set oldest = seq + 1")
    assert 'warmdesk_columns{project="newest"}' in await lines(root)


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


async def test_without_the_database_everything_else_is_told(
    root: Person, board: Board, servers: Servers, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "COUNT_SECONDS", 0.3)
    before = await lines(root)
    postgres = servers.postgres.pid
    for pid in (hung := [postgres, *children(postgres)]):
        os.kill(pid, signal.SIGSTOP)
    try:
        told = await lines(root)
        again = await lines(root)
    finally:
        for pid in reversed(hung):
            os.kill(pid, signal.SIGCONT)

    assert told["warmdesk_projects"] == before["warmdesk_projects"] == 1
    assert told["warmdesk_metrics_last_access_success"] == 1
    assert again["warmdesk_metrics_last_access_success"] == 0
    assert again["warmdesk_metrics_last_access_timestamp_seconds"] == pytest.approx(
        time.time(), abs=5
    )


async def test_live_events_are_counted_by_type_with_their_lateness(
    root: Person, alice: Person, olga: Person, board: Board
) -> None:
    out = 'warmdesk_ws_messages_total{direction="out",type="board.card_created"}'
    before = await lines(root)
    async with alice.socket(board.slug) as one, olga.socket(board.slug) as two:
        for wire in (one, two):
            await wire.next("presence.list")
        await board.card()
        for wire in (one, two):
            await wire.next("board.card_created")
            await wire.send("ping")
            await wire.next("pong")
            await wire.send_text('{"type":7}')
            await wire.next("error")

    told = await lines(root)

    # The mirror of this test's board is the third viewer.
    assert told[out] == before.get(out, 0) + 3
    late = "warmdesk_event_delivery_seconds"
    count = told[f"{late}_count"] - before.get(f"{late}_count", 0)
    assert count >= 1
    assert 0 < told[f"{late}_sum"] - before.get(f"{late}_sum", 0) < count * 10
    ping = 'warmdesk_ws_messages_total{direction="in",type="ping"}'
    assert told[ping] >= before.get(ping, 0) + 2
    malformed = 'warmdesk_ws_dropped_total{reason="malformed"}'
    assert told[malformed] == before[malformed] + 2


async def test_a_revocation_is_timed(root: Person, alice: Person, board: Board, url: str) -> None:
    before = await lines(root)
    other = Person(url, "alice")
    async with other.socket(board.slug) as wire:
        await wire.next("hello")
        await other.post("/auth/logout", {}, status=204)
        assert await wire.closed() == 4401
    await other.close()

    told = await lines(root)

    name = "warmdesk_revocation_seconds"
    assert told[f"{name}_count"] == before[f"{name}_count"] + 1
    assert told[f'{name}_bucket{{le="2.0"}}'] == before[f'{name}_bucket{{le="2.0"}}'] + 1


async def test_the_drain_of_a_worker_is_timed_though_it_is_gone(
    database_url: str, redis_url: str, eventually: Wait
) -> None:
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    outside: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, **secrets}
    async with Running(workers=1, database_pool=4, **outside) as running:
        running.signal(signal.SIGHUP)
        await eventually(lambda: "worker.drained" in running.log, limit=20)
        root = Person(running.url, "root", patience=10)
        told = await lines(root)
        await root.close()

    assert told["warmdesk_drain_seconds_count"] == 1
    assert 2 <= told["warmdesk_drain_seconds_sum"] < 10


async def test_refused_credentials_are_counted_by_reason(
    root: Person, person: Any, url: str
) -> None:
    before = await lines(root)
    eve = person()
    for token in ("nonsense", "wd_nonsense"):
        eve.client.token = token
        await eve.get("/users/me", status=401)
    wrong = {"username": "alice", "password": "not her password"}
    await eve.post("/auth/login", wrong, status=401)
    await eve.post("/auth/refresh", {"refresh_token": "nonsense"}, status=401)

    told = await lines(root)

    for reason in ("token", "key", "password", "refresh_token"):
        name = f'warmdesk_auth_failures_total{{reason="{reason}"}}'
        assert told[name] == before[name] + 1, reason


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


async def test_a_row_has_room_for_half_as_much_again(root: Person) -> None:
    """A release that has more routes does not start otherwise."""
    await lines(root)

    assert ROWS.taken * 3 <= ROOM * 2
