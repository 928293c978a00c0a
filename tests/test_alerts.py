"""Every alert of config/alerts.yml fires when what it tells of is really so, and not on a quiet
server; and the runbook knows each.

A test makes the condition (stops Valkey, holds the loop, fills a disk …), scrapes before and after,
and evaluates the rule. How long a condition must last (``for``) is not waited for.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import docutils.nodes
import pytest
import yaml
from msgspec.structs import replace

from tests import pace
from tests.conftest import Board, Servers, Wait, serving, until
from tests.disk import small_disk
from tests.journeys.running import SECRETS, Running
from tests.person import Person
from tests.postbox import postbox
from tests.promql import Scrape, fires, names, scrape
from tests.receiver import receiving
from tests.test_documents import parsed
from tests.test_package import SETUP
from warmdesk.config import Settings
from warmdesk.desk import Desk
from warmdesk.http import bounds
from warmdesk.jobs import outgoing
from warmdesk.realtime.feed import Entry
from warmdesk.realtime.room import Room

FILE = Path(__file__).parents[1] / "config" / "alerts.yml"
RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(FILE.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
DOCUMENTS = next(
    line.partition("=")[2].strip()
    for line in SETUP["metadata"]["project_urls"].splitlines()
    if line.startswith("Documentation")
)
ANCHOR = f"{DOCUMENTS}/operations.html#"
SUFFIXES = ("_bucket", "_count", "_sum")
FIRED: set[str] = set()
OF_THE_MACHINE = {"WarmDeskDeliverySlow", "WarmDeskLoopLag", "WarmDeskPoolWait"}
"""Alerts that are right to fire while other programs want every core, too."""
QUIET = 1.5
"""Programs that want each core on a machine that does little else."""

Test = TypeVar("Test", bound=Callable[..., Any])


def shows(alert: str) -> Callable[[Test], Test]:
    """Notes which alert a test fires."""
    FIRED.add(alert)
    return lambda test: test


class Watch:
    """What Prometheus would know of one server: its scrapes so far."""

    def __init__(self, reader: Person) -> None:
        self.reader = reader
        self.scrapes: list[Scrape] = []

    async def look(self) -> None:
        """One more scrape; of a server that is gone there is nothing in it."""
        text = ""
        with suppress(aiohttp.ClientError):
            answer = await self.reader.request("GET", "/metrics")
            assert answer.status == 200, answer.body
            text = answer.body
        self.scrapes.append(scrape(time.monotonic(), text, instance="here"))

    async def silent(self, *alerts: str, limit: float = 20.0) -> None:
        """Until these alerts (without any named: all) are false: a busy machine lags a while."""

        loud: list[str] = []

        async def are_silent() -> bool:
            await self.look()
            loud[:] = [name for name in alerts or RULES if self.fires(name)]
            return not loud

        await self.look()
        try:
            await until(are_silent, limit=limit, every=0.2)
        except AssertionError as error:
            how = f"load {os.getloadavg()[0]:.1f}, this loop was {pace.LAG.worst:.2f} s late"
            raise AssertionError(f"{loud} fire still; {how}") from error
        del self.scrapes[:-1]

    async def fired(self, alert: str, *, limit: float = 10.0) -> None:
        """Until this alert is true."""

        async def fires_now() -> bool:
            await self.look()
            return self.fires(alert)

        await until(fires_now, limit=limit, every=0.1)

    def fires(self, alert: str) -> bool:
        return fires(RULES[alert]["expr"], self.scrapes)


@pytest.fixture
def watch(root: Person) -> Watch:
    return Watch(root)


# The file


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for name, rule in RULES.items():
        assert re.fullmatch(r"WarmDesk[A-Z][A-Za-z]+", name)
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert not rule["annotations"]["summary"].endswith("."), name
        assert rule["annotations"]["description"].endswith("."), name
        address = rule["annotations"]["runbook_url"]
        assert address == ANCHOR + name.lower()
        parts = urlsplit(address)
        assert parts.scheme == "https"
        assert parts.hostname


def test_the_runbook_has_a_paragraph_for_each_alert_and_for_no_other() -> None:
    (runbook,) = (
        part
        for part in parsed("docs/operations.rst").findall(docutils.nodes.section)
        if part[0].astext() == "Runbook"
    )
    parts = [part for part in runbook.children if isinstance(part, docutils.nodes.section)]
    told = {part[0].astext(): part for part in parts if part[0].astext().startswith("WarmDesk")}

    assert list(told) == list(RULES)
    for name, part in told.items():
        assert name.lower() in part["ids"], "the address in the alert leads there"
        words = part.astext()
        for word in ("For people:", "By itself:", "Look at:", "Do:"):
            assert word in words, f"{name} does not say {word}"


async def test_alerts_ask_only_for_what_a_scrape_gives(root: Person, board: Board) -> None:
    text = str(await root.get("/metrics"))
    given = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, rule in RULES.items():
        for metric in names(rule["expr"]):
            bare = re.sub(f"({'|'.join(SUFFIXES)})$", "", metric)
            kind = given.get(metric) or given.get(bare)
            assert kind, f"{name} asks for {metric}"
            assert metric in given or kind == "histogram", metric


async def test_promtool_finds_nothing() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    tool = await asyncio.create_subprocess_exec(
        promtool, "check", "rules", str(FILE), stdout=PIPE, stderr=STDOUT
    )
    told, _ = await tool.communicate()

    assert tool.returncode == 0, told.decode()


def test_every_alert_is_fired_by_a_test() -> None:
    assert set(RULES) == FIRED


# The alerts


async def test_a_quiet_server_fires_none(watch: Watch, alice: Person, board: Board) -> None:
    await watch.look()
    async with alice.socket(board.slug) as wire:
        for number in range(10):
            card = await board.card(f"Card {number}")
            await alice.patch(f"{board.path}/cards/{card['id']}/move", {"column_id": board.done})
        await alice.get(f"{board.path}/cards/999999", status=404)
        await wire.next("board.card_moved")

    judged = set(RULES)
    if pace.stretch() > QUIET:
        print(f"not judged beside {pace.stretch():.1f} programs a core: {OF_THE_MACHINE}")
        judged -= OF_THE_MACHINE
    await watch.silent(*judged, limit=60.0)


@shows("WarmDeskDeliveryGap")
async def test_events_that_went_before_they_were_delivered(
    watch: Watch, alice: Person, board: Board, connection: Any
) -> None:
    async with alice.socket(board.slug) as wire:
        await wire.next("presence.list")
        await watch.silent("WarmDeskDeliveryGap")
        async with connection.transaction():
            await tell(connection, board)
            await connection.execute(
                "update feeds set oldest = seq + 1 where channel = $1", f"project:{board.id}"
            )
            await connection.execute("delete from events where channel = $1", f"project:{board.id}")
        await wire.next("sync.reset")

    await watch.fired("WarmDeskDeliveryGap")


@shows("WarmDeskDeliveryFailed")
async def test_an_event_that_is_failed_over(
    watch: Watch, alice: Person, board: Board, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, take = ["a bug"], Room._take

    def fails_once(room: Room, event: Entry) -> None:
        if left:
            raise RuntimeError(left.pop())
        take(room, event)

    async with alice.socket(board.slug) as wire:
        await wire.next("presence.list")
        await watch.silent("WarmDeskDeliveryFailed")
        monkeypatch.setattr(Room, "_take", fails_once)
        await tell(connection, board)
        await watch.fired("WarmDeskDeliveryFailed")


@shows("WarmDeskDeliverySlow")
async def test_events_that_come_late(
    watch: Watch, alice: Person, board: Board, connection: Any
) -> None:
    async with alice.socket(board.slug) as wire:
        await wire.next("presence.list")
        await watch.silent("WarmDeskDeliverySlow")
        await tell(connection, board)
        hold_the_loop(1.2)
        await wire.next("project.unarchived")

    await watch.fired("WarmDeskDeliverySlow")


@shows("WarmDeskBusDown")
async def test_a_redis_that_hangs(watch: Watch, servers: Servers) -> None:
    await watch.silent("WarmDeskBusDown")
    os.kill(servers.valkey.pid, signal.SIGSTOP)
    try:
        await watch.fired("WarmDeskBusDown")
    finally:
        os.kill(servers.valkey.pid, signal.SIGCONT)
    await watch.silent("WarmDeskBusDown")


@shows("WarmDeskCommitUnknown")
async def test_a_connection_that_ends_in_a_change(
    watch: Watch, alice: Person, board: Board, connection: Any, eventually: Wait
) -> None:
    card = await board.card()
    await watch.silent("WarmDeskCommitUnknown")
    async with connection.transaction():
        await connection.execute("select 1 from cards where id = $1 for update", card["id"])
        change = asyncio.create_task(
            alice.put(f"{board.path}/cards/{card['id']}", {"title": "Other"}, status=503)
        )

        async def cut() -> Any:
            return await connection.fetchval(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'"
            )

        await eventually(cut)
        assert (await change)["code"] == "unknown_outcome"

    await watch.fired("WarmDeskCommitUnknown")


@shows("WarmDeskGone")
async def test_a_server_that_is_down(settings: Settings) -> None:
    async with serving(settings) as door:
        root = Person(door.url, "root")
        watch = Watch(root)
        await watch.silent("WarmDeskGone")

    await watch.fired("WarmDeskGone")
    await root.close()


@asynccontextmanager
async def database_away(keeper: Any, dsn: str) -> AsyncIterator[None]:
    """Nobody gets in, and who was in is put out."""
    name = dsn.partition("@/")[2].partition("?")[0]
    await keeper.execute(f"alter database {name} allow_connections false")
    try:
        await keeper.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
        )
        yield
    finally:
        await keeper.execute(f"alter database {name} allow_connections true")


@shows("WarmDeskNotReady")
async def test_a_database_that_is_away(watch: Watch, keeper: Any, database_url: str) -> None:
    await watch.silent("WarmDeskNotReady")
    async with database_away(keeper, database_url):
        await watch.fired("WarmDeskNotReady")
    await watch.silent("WarmDeskNotReady")


@shows("WarmDeskErrors")
async def test_requests_that_fail(
    watch: Watch, alice: Person, board: Board, keeper: Any, database_url: str
) -> None:
    await alice.token()
    await watch.silent("WarmDeskErrors")
    async with database_away(keeper, database_url):
        # The first of a line makes it; only what is added to a line can be seen to grow.
        for _ in range(3):
            answer = await alice.request("GET", f"{board.path}/members")
            assert answer.status == 503
            await watch.look()
        await watch.fired("WarmDeskErrors")


@shows("WarmDeskConnectionsCut")
@pytest.mark.settings(connections_per_address=4)
async def test_an_address_that_takes_too_many_connections(
    settings: Settings, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "HERE", "")
    async with serving(settings) as door:
        root = Person(door.url, "root")
        watch = Watch(root)
        await watch.silent("WarmDeskConnectionsCut")
        host, port = door.url.removeprefix("http://").split(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        await watch.fired("WarmDeskConnectionsCut")
        for _, writer in opened:
            writer.close()
        await root.close()


@shows("WarmDeskRestarts")
async def test_workers_that_end_again_and_again(
    database_url: str, redis_url: str, eventually: Wait
) -> None:
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    outside: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, **secrets}
    async with Running(workers=2, database_pool=4, **outside) as running:
        root = Person(running.url, "root", patience=10)
        watch = Watch(root)
        await watch.silent("WarmDeskRestarts")
        for round in (2, 4):
            for pid in running.alive():
                os.kill(pid, signal.SIGKILL)
            await eventually(lambda at=round + 2: len(running.workers()) == at, limit=20)
        await watch.fired("WarmDeskRestarts")
        await root.close()


@shows("WarmDeskLoopLag")
async def test_a_loop_that_is_held(watch: Watch) -> None:
    await watch.silent("WarmDeskLoopLag")
    await asyncio.sleep(0.05)
    hold_the_loop(1.0)

    await watch.fired("WarmDeskLoopLag")


@shows("WarmDeskPoolWait")
@pytest.mark.settings(database_pool=1)
async def test_requests_that_wait_for_a_connection(watch: Watch, desk: Desk, board: Board) -> None:
    await watch.silent("WarmDeskPoolWait")
    async with desk.database.connection():
        asked = [asyncio.create_task(board.card()) for _ in range(4)]
        await asyncio.sleep(0.8)
    await asyncio.gather(*asked)

    await watch.fired("WarmDeskPoolWait")


@shows("WarmDeskMailsWait")
async def test_a_mail_that_waits(watch: Watch, database_url: str) -> None:
    await watch.silent("WarmDeskMailsWait")
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "insert into mails (kind, created_at) values ('password', now() - interval '41 minutes')"
    )
    await watch.fired("WarmDeskMailsWait", limit=20.0)
    await connection.execute("delete from mails")
    await connection.close()
    await watch.silent("WarmDeskMailsWait")


@shows("WarmDeskMailsGivenUp")
@pytest.mark.settings(base_url="https://desk.example.org")
async def test_mails_that_are_given_up(watch: Watch, root: Person, alice: Person) -> None:
    await watch.silent("WarmDeskMailsGivenUp")
    with postbox() as box:
        box.refusals[:] = ["552 too large"] * 3
        place = "/admin/system-settings"
        await root.put(place, {"smtp_host": "127.0.0.1", "smtp_port": box.port})
        for name in ("alice", "bob", "eve"):
            body = {"email": f"{name}@example.org"}
            await alice.client.request("POST", "/auth/forgot-password", body)
        await watch.fired("WarmDeskMailsGivenUp", limit=20.0)


@shows("WarmDeskWebhookParked")
@pytest.mark.settings(webhook_allow_private="127.0.0.1/32")
async def test_an_outgoing_webhook_that_is_tried_no_more(
    watch: Watch, board: Board, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "WAITS", (0.05,))
    await watch.silent("WarmDeskWebhookParked")
    async with receiving(lambda came: 500) as dead:
        await olga.post(f"{board.path}/outgoing-webhooks", {"name": "Deploy", "url": dead.url})
        await board.card()
        await watch.fired("WarmDeskWebhookParked")
    assert len(dead.came) == 2


@shows("WarmDeskDiskLow")
async def test_a_disk_that_fills_up(settings: Settings) -> None:
    with small_disk(8 << 20) as directory:
        async with serving(replace(settings, data_dir=directory)) as door:
            root = Person(door.url, "root")
            watch = Watch(root)
            await watch.silent("WarmDeskDiskLow")
            ballast = directory / "ballast"
            ballast.write_bytes(bytes(int(shutil.disk_usage(directory).free * 0.95)))
            await watch.fired("WarmDeskDiskLow")
            ballast.unlink()
            await watch.silent("WarmDeskDiskLow")
            await root.close()


async def tell(connection: Any, board: Board) -> None:
    """An event that stands in the feed and was never published."""
    await connection.execute(
        "select record(array[new_event($1, 'project.unarchived', '{\"slug\":\"demo\"}')], 1, null)",
        f"project:{board.id}",
    )


def hold_the_loop(seconds: float) -> None:
    """What a call that blocks does to everybody in the process."""
    time.sleep(seconds)
