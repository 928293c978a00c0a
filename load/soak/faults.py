"""What breaks in a soak. A fault ends what it began; how long, how hard and where, chance decides.

The plan is a function of the seed alone: the same seed breaks the same things in the same order.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from load.soak.networks import Network
from load.soak.world import Host, World
from tests.conftest import until
from tests.journeys.proxy import Weather
from tests.journeys.running import is_gone

STORM = Weather(drop=0.3, late=0.2, late_seconds=1.0, swap=0.05, double=0.05, garbage=0.02)
RESPAWN_SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """`weight`: how often, beside the others. `excuses`: what a promise says may happen then:
    ``leaves`` (a user's lease runs out), ``late`` (a host cannot know that a right is gone),
    ``slow`` (an answer waits for a worker that stands still), ``away`` (nothing can be stored, so
    503 is right).
    """

    name: str
    act: Callable[[World, random.Random], Awaitable[str]]
    weight: int
    excuses: frozenset[str] = frozenset()


FAULTS: dict[str, Fault] = {}


def fault(
    weight: int, *excuses: str
) -> Callable[[Callable[[World, random.Random], Awaitable[str]]], Fault]:
    """Name a fault. Its function gives a word on what it hit."""

    def named(act: Callable[[World, random.Random], Awaitable[str]]) -> Fault:
        name = act.__name__
        FAULTS[name] = Fault(name, act, weight, frozenset(excuses))
        return FAULTS[name]

    return named


def plan(seed: int, count: int) -> list[tuple[Fault, int]]:
    """So many faults in the order that the seed decides, each with a seed of its own."""
    chance = random.Random(seed)
    faults = list(FAULTS.values())
    weights = [one.weight for one in faults]
    return [(chance.choices(faults, weights)[0], chance.getrandbits(32)) for _ in range(count)]


def elder(world: World) -> int | None:
    """One worker is spared kills, so that there is somebody whose memory can be followed."""
    workers = world.hosts[-1].workers()
    return workers[0] if workers else None


async def whole(host: Host, *gone: int) -> None:
    """Until others do the work of those that are gone, and the host is ready."""

    def manned() -> bool:
        workers = host.workers()
        return len(workers) == host.process.count and not set(gone) & set(workers)

    await until(manned, limit=RESPAWN_SECONDS)
    await until(host.process.is_ready, limit=RESPAWN_SECONDS, every=0.05)


@fault(45)
async def kill_worker(world: World, chance: random.Random) -> str:
    """kill -9 of one worker."""
    victims = [(h, pid) for h in world.hosts for pid in h.workers() if pid != elder(world)]
    host, pid = chance.choice(victims)
    os.kill(pid, signal.SIGKILL)
    await whole(host, pid)
    return f"{host}"


@fault(4)
async def kill_server(world: World, chance: random.Random) -> str:
    """kill -9 of a supervisor: its workers end with it; then it is started again."""
    host = world.hosts[0]
    workers = host.workers()
    await host.process.kill()
    await until(lambda: all(map(is_gone, workers)), limit=5)
    await asyncio.sleep(chance.uniform(0, 2))
    await host.process.start()
    return f"{host}"


@fault(5)
async def reload(world: World, chance: random.Random) -> str:
    """SIGHUP: one worker after the other is replaced."""
    host = world.hosts[0]
    workers = host.workers()
    os.kill(host.process.pid, signal.SIGHUP)
    await whole(host, *workers)
    return f"{host}"


@fault(4, "late", "slow", "away")
async def freeze_worker(world: World, chance: random.Random) -> str:
    """A worker stands still and goes on, shorter than its leases last."""
    return await _freeze(world, chance, chance.uniform(2, 6))


@fault(2, "late", "leaves", "slow", "away")
async def freeze_worker_long(world: World, chance: random.Random) -> str:
    """A worker stands still so long that everybody else believes it dead."""
    return await _freeze(world, chance, 20)


async def _freeze(world: World, chance: random.Random, seconds: float) -> str:
    host = chance.choice(world.hosts)
    pid = chance.choice(host.workers())
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return f"{host}, {seconds:.1f} s"


@fault(14)
async def kill_redis(world: World, chance: random.Random) -> str:
    """kill -9 of Valkey, and another one."""
    away = chance.choice([0.0, 0.5, 3.0])
    await world.restart_valkey(away=away)
    return f"away for {away} s"


@fault(4)
async def hang_redis(world: World, chance: random.Random) -> str:
    """Valkey takes connections and commands and answers none."""
    seconds = chance.uniform(1, 5)
    world.signal([world.valkey.pid], signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        world.signal([world.valkey.pid], signal.SIGCONT)
    return f"{seconds:.1f} s"


@fault(4)
async def flush_redis(world: World, chance: random.Random) -> str:
    """Valkey forgets everything, the leases too."""
    await world.flush_valkey()
    return "everything"


@fault(5, "late", "away")
async def kill_postgres(world: World, chance: random.Random) -> str:
    """kill -9 of PostgreSQL, and recovery."""
    away = chance.choice([0.0, 1.0])
    await world.restart_postgres(away=away, kill=True)
    return f"away for {away} s"


@fault(3, "late", "away")
async def restart_postgres(world: World, chance: random.Random) -> str:
    """A planned restart of PostgreSQL."""
    away = chance.choice([0.0, 2.0])
    await world.restart_postgres(away=away, kill=False)
    return f"away for {away} s"


@fault(3, "late", "away")
async def hang_postgres(world: World, chance: random.Random) -> str:
    """All processes of PostgreSQL stand still."""
    seconds = chance.uniform(1, 8)
    family = world.postgres_family()
    world.signal(family, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        world.signal(family, signal.SIGCONT)
    return f"{seconds:.1f} s"


@fault(3)
async def cut_bus(world: World, chance: random.Random) -> str:
    """A host's connections to Valkey are reset, and refused for a while."""
    host = chance.choice(world.hosts)
    return f"{host}, {await _cut(host.bus, chance)}"


@fault(2, "late", "away")
async def cut_database(world: World, chance: random.Random) -> str:
    """A host's connections to PostgreSQL are reset, and refused for a while."""
    host = chance.choice(world.hosts)
    return f"{host}, {await _cut(host.database, chance)}"


async def _cut(network: Network, chance: random.Random) -> str:
    seconds = chance.uniform(0, 4)
    network.close()
    await asyncio.sleep(seconds)
    network.open()
    return f"{seconds:.1f} s"


@fault(2, "leaves")
async def silent_bus(world: World, chance: random.Random) -> str:
    """Nothing passes between a host and Valkey, and nobody is told; then the link is dead."""
    host = chance.choice(world.hosts)
    return f"{host}, {await _silence(host.bus, 12)}"


@fault(2, "late", "away")
async def silent_database(world: World, chance: random.Random) -> str:
    """Nothing passes between a host and PostgreSQL, and nobody is told; then the link is dead."""
    host = chance.choice(world.hosts)
    return f"{host}, {await _silence(host.database, 8)}"


async def _silence(network: Network, seconds: float) -> str:
    network.freeze()
    await asyncio.sleep(seconds)
    network.cut()
    network.thaw()
    return f"{seconds} s"
