"""Hosts of one installation: they have the same secrets, and go by the same names in Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from tests.checkers.mirror import mirror
from tests.conftest import until
from tests.journeys.conftest import Start, Visit, furnished
from tests.journeys.running import SECRETS, Running, command, refused

pytestmark = pytest.mark.timeout(120)

OTHER = {
    "jwt_secret": "Zm9yIHRlc3RzIG9ubHk-q7Xw2LdV0pKt",
    "secret_key": "IHRlc3RzIG9ubHk-V0pKtq7Xw2LdZm9y",
}


@pytest.fixture
def outside(database_url: str, redis_url: str) -> dict[str, Any]:
    """Servers that are not ours, as on many hosts, and the secrets of one of these."""
    secrets = {name.removeprefix("WARMDESK_").lower(): value for name, value in SECRETS.items()}
    return {
        "database_url": database_url,
        "redis_url": redis_url,
        "database_pool": 4,
        "workers": 1,
    } | secrets


async def test_a_host_with_another_secret_is_refused_and_told_which(
    outside: dict[str, Any],
) -> None:
    async with Running(**outside):
        for names in (["jwt_secret"], ["secret_key"], ["jwt_secret", "secret_key"]):
            sentence = await refused(**outside | {name: OTHER[name] for name in names})
            variables = " and ".join(f"WARMDESK_{name.upper()}" for name in names)
            assert sentence.startswith(f"{variables} of this host: not what the other hosts of")
            assert not any(secret in sentence for secret in (*OTHER.values(), *SECRETS.values()))
        async with Running(**outside):
            pass


async def test_a_secret_is_rotated_by_accepting_the_new_one(outside: dict[str, Any]) -> None:
    """Those who run go on until they are restarted; from then on only the new one will do."""
    new = outside | {"jwt_secret": OTHER["jwt_secret"]}
    async with Running(**outside) as old:
        status, out, aside = await command("accept-secrets", **new)
        assert (status, aside) == (0, "")
        assert out.startswith("Hosts start with the secrets of this one from now on")
        async with Running(**new):
            assert await old.ready()
        assert (await refused(**outside)).startswith("WARMDESK_JWT_SECRET of this host")


async def test_an_embedded_database_has_one_host_which_may_make_new_secrets(
    tmp_path: Path,
) -> None:
    async with Running(directory=tmp_path / "data"):
        pass
    (tmp_path / "data" / "jwt_secret").unlink()
    async with Running(directory=tmp_path / "data"):
        pass


async def test_workers_of_a_database_that_became_another_installation_are_replaced(
    start: Start, visit: Visit, database_url: str, redis_url: str
) -> None:
    """A restore gives the installation another UUID; nobody is left who goes by the old names."""
    server = await start(workers=2)
    board = await furnished(server, visit)
    workers = set(server.workers())
    connection = await asyncpg.connect(database_url)
    async with (
        redis.asyncio.from_url(redis_url, decode_responses=True) as client,
        mirror(visit(server, "bob")) as viewer,
    ):
        await connection.execute("update install set id = gen_random_uuid()")
        names = f"warmdesk:{await connection.fetchval('select id from install')}:"

        async def replaced() -> bool:
            channels = [str(channel) for channel in await client.pubsub_channels()]
            return (
                not workers & set(server.workers())
                and sum(channel.startswith(f"{names}beat:") for channel in channels) == 2
                and all(channel.startswith(names) for channel in channels)
            )

        await until(replaced, limit=60, every=0.1)
        await connection.close()
        olga = visit(server, "olga")
        await asyncio.gather(
            *(olga.post(f"{board.path}/chat/messages", {"body": str(n)}) for n in range(5))
        )
        await viewer.compare(limit=10)
