"""Which installation and which history a database is, and which secrets its hosts have."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.conftest import Door, Servers, cloned, until
from warmdesk.config import Settings
from warmdesk.db import installation as module
from warmdesk.db.installation import accept_secrets, differing_secrets, identify
from warmdesk.realtime import feed
from warmdesk.realtime.channels import CONTROL

LOOKING = 8
OTHER = "o" * 32
HERE = """
select
    c.system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '/'
    || d.oid
from pg_control_system() c, pg_database d where d.datname = current_database()
"""


async def epoch(connection: Any) -> str:
    found, _ = await feed.heads(connection, [CONTROL])
    return found


async def moved(connection: Any, part: int) -> None:
    """As if this history came from another cluster, timeline or database."""
    parts = (await connection.fetchval("select place from install")).split("/")
    parts[part] = {0: "7", 1: "0000002A", 2: "1"}[part]
    await forged(connection, "place = $1", "/".join(parts))


async def forged(connection: Any, what: str, *values: Any) -> None:
    """Write the row as `find_history` does."""
    await connection.execute(
        f"update install set {what}, written = pg_current_xact_id()::xid", *values
    )


async def test_an_epoch_lasts_as_long_as_its_history(connection: Any, database_url: str) -> None:
    first = await epoch(connection)
    assert re.fullmatch("[0-9a-f]{12}", first)
    row = await connection.fetchrow("select *, xmin from install")
    for _ in range(3):
        other = await asyncpg.connect(database_url)
        assert await epoch(other) == first
        async with other.transaction(readonly=True, isolation="repeatable_read"):
            assert await epoch(other) == first
        await other.close()
    assert await connection.fetchrow("select *, xmin from install") == row, "nobody wrote"


@pytest.mark.parametrize(
    ("part", "another"), [(0, True), (1, False), (2, True)], ids=["cluster", "timeline", "database"]
)
async def test_those_who_look_first_at_another_history_agree_on_its_epoch(
    connection: Any, database_url: str, part: int, another: bool
) -> None:
    """All at once, some on sessions that asked before; what is in another cluster or database is
    another installation.
    """
    before, installation = await epoch(connection), await identify(connection)
    async with AsyncExitStack() as stack:
        looking = []
        for number in range(LOOKING):
            looking.append(await asyncpg.connect(database_url))
            stack.push_async_callback(looking[-1].close)
            if number % 2:
                await epoch(looking[-1])
        seen = {before}
        for _ in range(5):
            await moved(connection, part)
            found = set(await asyncio.gather(*map(epoch, looking)))
            assert len(found) == 1
            assert not found & seen
            seen |= found
        assert (await identify(connection) != installation) == another
        assert await connection.fetchval("select place from install") == await connection.fetchval(
            HERE
        )


async def test_those_who_write_first_in_another_history_tell_its_epoch(
    connection: Any, database_url: str
) -> None:
    """All at once, in feeds of their own, by new sessions: nobody has looked yet. What one of them
    found out in a change that was undone counts for nothing.
    """

    async def write(session: Any, feed_number: int) -> str:
        (message,) = await session.fetchval(
            "select record(array[new_event($1, 'project.unarchived', $2::json)], 1, null)",
            f"project:{feed_number}",
            '{"slug":"demo"}',
        )
        return str(message.partition("\n")[0].split(" ")[4])

    before = await epoch(connection)
    await moved(connection, 1)
    async with AsyncExitStack() as stack:
        writing = []
        for _ in range(LOOKING):
            writing.append(await asyncpg.connect(database_url))
            stack.push_async_callback(writing[-1].close)
        undone = writing[0].transaction()
        await undone.start()
        other = await write(writing[0], 0)
        await undone.rollback()
        for _ in range(2):
            told = await asyncio.gather(*(write(each, n) for n, each in enumerate(writing)))
            found = set(told)
            assert found == {await epoch(connection)}
            assert not found & {before, other}


async def test_two_that_branch_off_alike_have_different_epochs(
    servers: Servers, keeper: Any, template: str
) -> None:
    """As two standbys of one primary, that are promoted one after the other."""
    epochs, installations = set(), set()
    for _ in range(2):
        async with cloned(servers, keeper, template) as dsn:
            one = await asyncpg.connect(dsn)
            await forged(one, "place = 'nowhere', lineage = '', id = $1", "0" * 32)
            epochs.add(await epoch(one))
            installations.add(await identify(one))
            await one.close()
    assert (len(epochs), len(installations)) == (2, 2)


async def test_a_dump_that_is_restored_begins_another_history(connection: Any) -> None:
    """Also into the database that it came from."""
    seen = {await epoch(connection)}
    await connection.execute("create table dump as select * from install")
    for times in range(2, 4):
        async with connection.transaction():
            await connection.execute("delete from install")
            await connection.execute("insert into install select * from dump")
        seen.add(await epoch(connection))
        assert len(seen) == times


async def test_a_look_that_is_rolled_back_told_nothing(connection: Any, database_url: str) -> None:
    other = await asyncpg.connect(database_url)
    await moved(connection, 1)
    transaction = other.transaction()
    await transaction.start()
    await epoch(other)
    looking = asyncio.create_task(epoch(connection))
    await asyncio.sleep(0.1)
    assert not looking.done(), "it waits for the first"
    await transaction.rollback()
    assert await epoch(other) == await looking == await epoch(connection)
    await other.close()


async def test_an_upgrade_alone_changes_no_epoch(servers: Servers, empty_template: str) -> None:
    """The program before made it of these."""
    connection = await asyncpg.connect(servers.dsn(empty_template))
    before = await connection.fetchval(
        "select substr(md5(i.id::text || c.system_identifier::text"
        " || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)), 1, 12)"
        " from install i, pg_control_system() c"
    )
    assert await epoch(connection) == before
    await connection.close()


async def test_a_history_that_went_back_is_renewed_once(connection: Any, database_url: str) -> None:
    known = await epoch(connection)
    others = [await asyncpg.connect(database_url) for _ in range(4)]
    found = set(await asyncio.gather(*(feed.renew_epoch(other, known) for other in others)))
    assert found == {await epoch(connection)} != {known}
    assert await feed.renew_epoch(connection, known) in found
    for other in others:
        await other.close()


@pytest.mark.foul
async def test_a_process_knows_when_its_names_are_no_longer_the_installations(
    door: Door, connection: Any
) -> None:
    desk = door.desk
    assert desk.installation in desk.bus.names
    assert not await desk.renamed()
    before = desk.hub.epoch
    await connection.execute("update install set written = '0'")
    await until(lambda: desk.hub.epoch != before)
    assert not await desk.renamed()
    before = desk.hub.epoch
    await connection.execute("update install set id = gen_random_uuid()")
    await until(lambda: desk.hub.epoch != before)
    assert await desk.renamed()
    assert await desk.renamed(), "until another takes its place"


# Secrets


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCRYPT", {"n": 2, "r": 8, "p": 1})


@pytest.mark.usefixtures("quick")
async def test_the_first_hosts_secrets_are_those_of_all(connection: Any) -> None:
    first = Settings(jwt_secret="j" * 32, secret_key="s" * 32)
    for _ in range(2):
        assert await differing_secrets(connection, first) == []
    for changed in (["jwt_secret"], ["secret_key"], ["jwt_secret", "secret_key"]):
        other = msgspec.structs.replace(first, **dict.fromkeys(changed, OTHER))
        assert await differing_secrets(connection, other) == changed
    assert await differing_secrets(connection, first) == []
    swapped = Settings(jwt_secret="s" * 32, secret_key="j" * 32)
    assert await differing_secrets(connection, swapped) == ["jwt_secret", "secret_key"]


@pytest.mark.usefixtures("quick")
async def test_hosts_that_start_first_together_agree_on_one(
    connection: Any, database_url: str
) -> None:
    hosts = [Settings(jwt_secret=str(n) * 32, secret_key=str(n) * 32) for n in range(6)]
    lines = [await asyncpg.connect(database_url) for _ in hosts]
    found = await asyncio.gather(
        *(differing_secrets(line, host) for line, host in zip(lines, hosts, strict=True))
    )
    assert sorted(found) == [[]] + [["jwt_secret", "secret_key"]] * 5
    for line in lines:
        await line.close()


@pytest.mark.usefixtures("quick")
async def test_accepted_secrets_take_the_place_of_all(connection: Any) -> None:
    first = Settings(jwt_secret="j" * 32, secret_key="s" * 32)
    other = msgspec.structs.replace(first, jwt_secret=OTHER)
    assert await differing_secrets(connection, first) == []
    await accept_secrets(connection, other)
    assert await differing_secrets(connection, other) == []
    assert await differing_secrets(connection, first) == ["jwt_secret"]


async def test_what_is_kept_of_a_secret_helps_nobody(connection: Any) -> None:
    """Salted, so that equal secrets look different, and slow to try."""
    same = Settings(jwt_secret=OTHER, secret_key=OTHER)
    assert await differing_secrets(connection, same) == []
    rows = await connection.fetch("select print from secret_prints")
    prints = [row["print"].split(":") for row in rows]
    assert len({salt for salt, _ in prints}) == len({made for _, made in prints}) == 2
    assert all(len(made) == 2 * module.PRINT_BYTES for _, made in prints)
    assert module.SCRYPT["n"] * module.SCRYPT["r"] * 128 >= 16 << 20
