"""Failover: two standbys of one primary are promoted, one after the other, and everybody is told
that history went back, each time. Nobody is told what is new in one history as if it followed what
was told of another, however long it takes until a worker looks.

Both get the same timeline, so the cluster's own numbers do not tell their histories apart.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.checkers.mirror import Mirror, mirror
from tests.conftest import fast_directory, until
from tests.journeys.conftest import Crowd, OwnPostgres, Start, Visit, furnished
from tests.person import Person
from warmdesk.embedded.postgres import PORT
from warmdesk.realtime.frames import Close

pytestmark = pytest.mark.timeout(180)

BACK_WITHIN = 30.0
LOOKS = 20.0
"""Seconds between two looks at the feeds: long enough to write much before the next."""
TIMELINE = "select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"


async def standby_of(primary: OwnPostgres, place: Path) -> OwnPostgres:
    """A hot standby that follows the primary."""
    standby = OwnPostgres(place)
    if os.geteuid() == 0:
        standby._leave_root()
    copy = ["pg_basebackup", "-h", str(primary._sockets), "-p", str(PORT), "-U", "warmdesk"]
    copy += ["-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
    await asyncio.to_thread(standby._run, *copy)
    await standby.again()
    return standby


async def follows(standby: OwnPostgres, primary: OwnPostgres) -> None:
    """Until the standby has all that the primary has now."""
    head = await primary.ask("select pg_current_wal_flush_lsn()::text")

    async def there() -> bool:
        return bool(await standby.ask("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", head))

    await until(there, limit=BACK_WITHIN)


@pytest.fixture
async def standbys(own_postgres: OwnPostgres) -> AsyncIterator[list[OwnPostgres]]:
    places = [Path(tempfile.mkdtemp(prefix="wd-", dir=fast_directory())) for _ in range(2)]
    made: list[OwnPostgres] = []
    try:
        for place in places:
            made.append(await standby_of(own_postgres, place))
        yield made
    finally:
        for one in made:
            one.stop()
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


async def test_each_of_two_standbys_that_are_promoted_in_turn_resets_everybody(
    own_postgres: OwnPostgres, standbys: list[OwnPostgres], start: Start, visit: Visit
) -> None:
    servers = [own_postgres, *standbys]
    host = await start(database_url=failing_over(servers))
    board = await furnished(host, visit)
    olga, crowd = visit(host, "olga"), Crowd(board, [visit(host, "alice")])
    await crowd.work(20)
    heads: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        viewers = [
            await stack.enter_async_context(mirror(visit(host, name))) for name in ("bob", "root")
        ]
        for standby in standbys:
            await follows(standby, own_postgres)
        heads.append(await head(olga))

        for old, new in zip(servers, standbys, strict=False):
            resets = [viewer.resets for viewer in viewers]
            await hand_over(old, new)
            await until(back(olga), limit=BACK_WITHIN, every=0.1)
            await all_reset(viewers, resets)
            # More than the other history had: the same numbers, other events.
            behind = heads[-1]["seq"] - (await head(olga))["seq"]
            await crowd_of_its_own(host, visit, board, max(0, behind) + 8)
            for before in heads:
                await is_reset(olga, before)
            assert len({seen["epoch"] for seen in (*heads, await head(olga))}) == len(heads) + 1
            for viewer in viewers:
                await viewer.compare(limit=BACK_WITHIN)
            heads.append(await head(olga))

    assert {await standbys[1].ask(TIMELINE)} == {"00000002"}, "both had this one"


async def test_what_is_new_in_a_history_is_told_to_nobody_as_if_it_were_of_another(
    own_postgres: OwnPostgres, standbys: list[OwnPostgres], start: Start, visit: Visit
) -> None:
    """The second standby lacks what the first one had: the same numbers are other events."""
    servers = [own_postgres, *standbys]
    host = await start(database_url=failing_over(servers), looks=LOOKS)
    board = await furnished(host, visit)
    olga, crowd = visit(host, "olga"), Crowd(board, [visit(host, "alice")])
    await crowd.work(10)
    for standby in standbys:
        await follows(standby, own_postgres)

    for old, new in zip(servers, standbys, strict=False):
        async with AsyncExitStack() as stack:
            wires = [
                await stack.enter_async_context(visit(host, name).socket("demo"))
                for name in ("bob", "root", "alice", "bob")
            ]
            for wire in wires:
                await wire.next("presence.list")
            await crowd_of_its_own(host, visit, board, 5)
            true = {event["seq"]: event for event in await told(olga)}
            if old is own_postgres:
                await follows(new, old)
            await hand_over(old, new)
            await until(back(olga), limit=BACK_WITHIN, every=0.1)
            # Wherever a viewer's worker has got to, these go beyond it.
            while (await head(olga))["seq"] <= max(true) + 2:
                assert await back(olga)()
            for wire in wires:
                assert await wire.closed(limit=BACK_WITHIN) == Close.RESTART
                assert [event for event in wire.events if event != true.get(event["seq"])] == []


def failing_over(servers: list[OwnPostgres]) -> str:
    """The URL that names them all."""
    hosts = ",".join(quote(str(server._sockets), safe="") for server in servers)
    return f"postgresql://warmdesk@/warmdesk?host={hosts}&port={PORT}"


async def told(person: Person) -> list[dict[str, Any]]:
    """All events of this history."""
    page: dict[str, Any] = await person.get("/projects/demo/events?since=0")
    assert page["events"][-1]["seq"] == page["seq"]
    events: list[dict[str, Any]] = page["events"]
    return events


async def crowd_of_its_own(host: Any, visit: Visit, board: Any, changes: int) -> None:
    """Changes whose cards are those of this history."""
    crowd = Crowd(board, [visit(host, "alice")], seed=changes)
    await crowd.work(changes)


async def head(person: Person) -> dict[str, Any]:
    page: dict[str, Any] = await person.get("/projects/demo/events")
    return {"seq": page["seq"], "epoch": page["epoch"]}


async def hand_over(old: OwnPostgres, new: OwnPostgres) -> None:
    """The old one loses its power, and the new one is told to take over."""
    old.signal(signal.SIGKILL)
    old.stop()
    assert await new.ask("select pg_promote(true, 30)")
    assert await new.ask(TIMELINE) == "00000002"


def back(person: Person) -> Any:
    """Whether changes are taken again."""

    async def taken() -> bool:
        body = {"body": "are you there?"}
        return (await person.request("POST", "/projects/demo/chat/messages", body)).status == 201

    return taken


async def is_reset(person: Person, before: dict[str, Any]) -> None:
    """Who comes back with what was read of another history is told to fetch again."""
    place = f"/projects/demo/events?since={before['seq']}&epoch={before['epoch']}"
    assert (await person.get(place))["reset"] is True

    async def told() -> bool:
        async with person.socket("demo", since=before["seq"], epoch=before["epoch"]) as socket:
            try:
                reset = await socket.next("sync.reset")
            except AssertionError:
                # The worker that it came to had not looked yet: it is sent away when it does.
                if socket.socket.close_code != Close.RESTART:
                    raise
                return False
            assert reset["payload"]["reason"] == "epoch"
            return True

    await until(told, limit=BACK_WITHIN)


async def all_reset(viewers: list[Mirror], before: list[int]) -> None:
    await until(
        lambda: all(v.resets > times for v, times in zip(viewers, before, strict=True)),
        limit=BACK_WITHIN,
    )
