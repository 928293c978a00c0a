"""Nothing grows without limit: whoever adds a table or a kind of key says what bounds it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Board, Wait
from tests.person import PASSWORD, Person
from warmdesk.bounds import KEYS, TABLES, kind_of
from warmdesk.client import Client
from warmdesk.desk import Desk

DAY_MS = 86_400_000


@pytest.mark.foul
async def test_of_every_table_is_said_what_bounds_it(connection: Any) -> None:
    rows = await connection.fetch(
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname = 'public' and c.relkind in ('r', 'p')"
    )
    assert {row["relname"] for row in rows} == set(TABLES)


@pytest.mark.settings(rate_limits=True)
async def test_every_key_of_redis_is_of_a_kind_that_ends(
    url: str, desk: Desk, board: Board, alice: Person, olga: Person, eventually: Wait
) -> None:
    """After a day of everything that writes there: who came, signed in, failed, asked, left."""
    async with Client(url, patience=0) as anyone:
        for name in ("alice", "nobody"):
            login = {"username": name, "password": "a wrong password"}
            await anyone.request("POST", "/auth/login", login)
        zoe = {"username": "zoe", "email": "zoe@example.org", "password": PASSWORD}
        tokens = (await anyone.request("POST", "/auth/register", zoe)).checked()
        await anyone.request("POST", "/auth/refresh", {"refresh_token": tokens["refresh_token"]})

    async def ticket() -> bool:
        # A busy Redis has not answered in time.
        return (await alice.request("POST", "/auth/ws-ticket")).status == 201

    await eventually(ticket)
    await alice.post(f"{board.path}/chat/messages", {"body": "Hello"})
    async with alice.socket("demo") as one, olga.socket("demo") as other, alice.socket("user"):
        await one.next("hello")
        await other.next("presence.list")
        await eventually(lambda: desk.redis.exists(f"{desk.bus.names}presence:run"))
        keys = await _lives(desk)
        assert {"presence:leases", "presence:version"} <= {kind_of(key) for key in keys}

    keys = await _lives(desk)
    kinds = {key: kind_of(key) for key in keys}
    assert not [key for key, kind in kinds.items() if kind is None]
    ends = {kind: ms for kind, (ms, _) in KEYS.items()}
    for key, left in keys.items():
        most = ends[str(kinds[key])]
        assert most is None or 0 <= left <= most, (key, left)
    assert {kind for kind in kinds.values() if ends[str(kind)] is None} <= {"presence:run"}


async def _lives(desk: Desk) -> dict[str, int]:
    """Every key, and the milliseconds it has left; -1 for no end."""
    keys = [key.decode() async for key in desk.redis.scan_iter(count=1000)]
    left = await asyncio.gather(*(desk.redis.pttl(key) for key in keys))
    return {key: ms for key, ms in zip(keys, left, strict=True) if ms != -2}
