"""``bin/soak --seed N --minutes M [--workers W]``: see the package's docstring."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from load.soak import report
from load.soak.abusers import ACTS, Abusers
from load.soak.faults import FAULTS, STORM, Fault, plan
from load.soak.people import Size, Team
from load.soak.report import HEAL_SECONDS, PRESENCE_SECONDS, Course, memory
from load.soak.seats import Phase, StreamSeat
from load.soak.world import World
from tests.conftest import until
from tests.deadline import new_loop

STORM_SECONDS = 45.0
PAUSE_SECONDS = 2.0
PHASE_SECONDS, PHASE_SHARE = 60.0, 0.2
"""How long people work without a fault, with and without abusers: at most, and of the whole."""
ALIGHT_SECONDS = 3.0
"""After everybody came, and after abusers went, before anything is measured."""
AGAIN_SECONDS = 20.0
"""Memory that abusers took is free again so long after they went."""
ALTERNATE_SECONDS = 20.0
"""How long people work alone, and then beside abusers, and again."""
TICK = 0.05
PLANNED = 10_000
"""More faults than fit into any soak."""

Say = Callable[[str], None]
T = TypeVar("T")


async def play(
    faults: Iterable[tuple[Fault, int]],
    *,
    seed: int,
    workers: int = 2,
    size: Size | None = None,
    seconds: float | None = None,
    keep: Path | None = None,
    say: Say = print,
    phase: float = 0.0,
    abuse: list[str] | None = None,
) -> tuple[Team, Course]:
    """Let people work: `phase` seconds alone and as long beside abusers, in turns, and then while
    these things break, one after the other, for so many seconds in all or until all are done.
    `abuse` names what the abusers do; with None there are none. What came of it is in both answers;
    `report.broken` judges.
    """
    course = Course()
    given = {"access_token_ttl": 300, "rate_limits": "on"}
    async with World(seed=seed, workers=workers, keep=keep, **given) as world:
        hosts = [host.url for host in world.hosts]
        abusers = Abusers(hosts, seed, abuse) if abuse else None
        team = Team(world, size or Size(), abusers)
        began = time.monotonic()
        try:
            await team.begin()
            began = time.monotonic()
            seats = [*team.seats, *team.own_seats]
            streams = sum(isinstance(each, StreamSeat) for each in seats)
            who = f"{len(seats) - streams} sockets, {streams} streams"
            say(f"{who} and {team.size.writers} writers are at work")
            if abusers is not None:
                await abusers.start()
            if phase:
                await asyncio.sleep(ALIGHT_SECONDS)
                await undisturbed(team, abusers, course, phase, say)
            await _break(team, course, iter(faults), began, seconds, say)
        except Exception as error:
            team.broken.append(f"the soak itself ended: {error!r}")
            say(team.broken[-1])
        finally:
            if abusers is not None:
                await abusers.end()
            await team.end()
        course.seconds = time.monotonic() - began
        await team.compare()
    return team, course


@asynccontextmanager
async def _measured(team: Team, phase: Phase) -> AsyncIterator[None]:
    """Nothing breaks; what people see is kept."""
    before, began = await team.healings(), time.monotonic()

    async def watch() -> None:
        while True:
            slept = time.monotonic()
            await asyncio.sleep(TICK)
            phase.lag.append(time.monotonic() - slept - TICK)

    watching = asyncio.create_task(watch())
    team.phase = phase
    try:
        yield
    finally:
        team.phase = None
        watching.cancel()
        phase.seconds += time.monotonic() - began
    after = await team.healings()
    for cause, count in after.items():
        phase.healings[cause] = phase.healings.get(cause, 0) + count - before[cause]


async def undisturbed(
    team: Team, abusers: Abusers | None, course: Course, seconds: float, say: Say
) -> None:
    """People work alone and beside abusers, so many seconds each. In turns: a machine is not as
    fast in one minute as in the next, and what is compared must meet the same one.
    """
    before: dict[int, int] = {}
    turns = max(1, round(seconds / ALTERNATE_SECONDS))
    for _ in range(turns):
        async with _measured(team, course.alone):
            await asyncio.sleep(seconds / turns)
        if abusers is not None:
            course.memory = before = before or memory(team)
            await abusers.act()
            await beside(team, course, seconds / turns)
            await abusers.rest()
            await asyncio.sleep(ALIGHT_SECONDS)  # what they had begun is over
    say(f"           {report.phase_figures(course.alone)}")
    if abusers is None:
        return

    def freed() -> bool:
        course.memory_after = memory(team)
        return not report.swollen(before, course.memory_after)

    with suppress(AssertionError):
        await until(freed, limit=AGAIN_SECONDS, every=0.5)
    say(f"           {report.phase_figures(course.beside)}")
    say(f"           abusers: {abusers.figures()}")


async def beside(team: Team, course: Course, seconds: float) -> None:
    """The same people beside abusers, who act."""
    async with _measured(team, course.beside):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(TICK * 10)
            course.memory_most = max(course.memory_most, sum(memory(team).values()))


async def _break(
    team: Team,
    course: Course,
    faults: Iterable[tuple[Fault, int]],
    began: float,
    seconds: float | None,
    say: Say,
) -> None:
    """Storms, each followed by a calm in which everything is compared. One fault at least."""
    calm_at = time.monotonic() + STORM_SECONDS
    excused: frozenset[str] = frozenset()
    await _storm(team, course)
    for fault, own in faults:
        now = time.monotonic()
        if seconds is not None and course.counts and now - began > seconds:
            break
        if now > calm_at:
            await calm(team, course, say)
            excused = frozenset()
            calm_at = time.monotonic() + STORM_SECONDS
            await _storm(team, course)
        chance = random.Random(own)
        excused |= fault.excuses
        team.excuse(excused)
        at = time.monotonic() - began
        hit = await fault.act(team.world, chance)
        course.counts[fault.name] += 1
        course.seconds = time.monotonic() - began
        try:
            healed = await heal(team)
        except (AssertionError, TimeoutError) as error:
            team.broken.append(f"{fault.name} ({hit}) did not heal: {error!r}")
            say(team.broken[-1])
        else:
            course.heals.append(healed)
            # Who was told too late has been told now; whose lease ran out still comes back.
            excused -= {"late", "slow", "away"}
            team.excuse(excused)
            say(f"{at:7.1f} s  {fault.name} ({hit}), healed in {healed:.1f} s")
        await asyncio.sleep(chance.uniform(0, PAUSE_SECONDS))
    await calm(team, course, say)


async def _storm(team: Team, course: Course) -> None:
    """The bus is bad from now on. Abusers act in every second storm."""
    team.world.weather(STORM)
    course.storms += 1
    if team.abusers is not None and course.storms % 2:
        await team.abusers.act()


async def heal(team: Team) -> float:
    """Seconds until every steady viewer has what had been changed when the fault was over, and
    each host carries out a change.
    """
    began = time.monotonic()
    async with asyncio.timeout(HEAL_SECONDS):
        await team.everybody_reaches(await team.head(), limit=HEAL_SECONDS)
        await asyncio.gather(*(team.probe(host) for host in team.world.hosts))
    return time.monotonic() - began


async def calm(team: Team, course: Course, say: Say) -> None:
    """Fair weather: presence is right soon, following equals fetching, and what was said to some
    was told to all of them, to nobody else, and is counted.
    """
    team.world.weather()
    if team.abusers is not None and team.abusers.acting:
        await team.abusers.rest()
    began = time.monotonic()
    async with team.silence():
        try:
            await team.everybody_reaches(await team.head(), limit=HEAL_SECONDS)
            await team.presence.settles(limit=PRESENCE_SECONDS)
            await team.compare_mirrors()
            await team.compare_own()
        except AssertionError as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            team.broken.append(f"in a calm: {error} ({place.name}: {place.line})")
        team.logs.check()
        course.sample(team)
    team.excuse(frozenset())
    wrong = report.broken(team, course)
    for line in wrong:
        if line not in course.told:
            course.told.add(line)
            say(f"BROKEN: {line}")
    streams = team.streams
    say(
        f"           calm for {time.monotonic() - began:.1f} s: {streams.deliveries} deliveries,"
        f" {streams.lost} lost, {streams.doubled} doubled, {streams.swapped} swapped;"
        f" {len(wrong)} promises broken"
    )


async def _until_told(soak: Coroutine[Any, Any, T]) -> T:
    """SIGTERM ends it as Ctrl-C does: everything that it started is stopped."""
    task = asyncio.ensure_future(soak)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/soak", description="People work, things break.")
    parser.add_argument("--seed", type=int, default=1, help="decides what breaks, in which order")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2, help="of each of the two servers")
    parser.add_argument("--viewers", type=int, default=Size.viewers)
    parser.add_argument(
        "--abusers", default=",".join(ACTS), help="what they do: some of %(default)s"
    )
    parser.add_argument("--no-abusers", dest="abusers", action="store_const", const="")
    parser.add_argument("--only", help="these faults alone: a,b,c of " + ", ".join(FAULTS))
    parser.add_argument("--logs", type=Path, help="leave the servers' logs in this directory")
    chosen = parser.parse_args()
    faults = plan(chosen.seed, PLANNED)
    if chosen.only:
        names = chosen.only.split(",")
        faults = [(fault, own) for fault, own in faults if fault.name in names]
    again = (
        f"bin/soak --seed {chosen.seed} --minutes {chosen.minutes:g} --workers {chosen.workers}"
        + f" --viewers {chosen.viewers}"
        + (f" --only {chosen.only}" if chosen.only else "")
        + (" --no-abusers" if not chosen.abusers else "")
        + (f" --abusers {chosen.abusers}" if chosen.abusers not in ("", ",".join(ACTS)) else "")
    )
    phase = min(PHASE_SECONDS, PHASE_SHARE * chosen.minutes * 60)

    def say(line: str) -> None:
        print(line, flush=True)

    say(f"seed {chosen.seed}: {', '.join(fault.name for fault, _ in faults[:12])}, …")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    soak = play(
        faults,
        seed=chosen.seed,
        workers=chosen.workers,
        size=Size.of(chosen.viewers),
        seconds=chosen.minutes * 60,
        keep=chosen.logs,
        say=say,
        phase=phase,
        abuse=chosen.abusers.split(",") if chosen.abusers else None,
    )
    try:
        team, course = uvloop.run(_until_told(soak), loop_factory=new_loop)
    except asyncio.CancelledError:
        sys.exit("Ended by a signal; everything is stopped.")
    wrong = report.broken(team, course)
    say(f"\n{report.figures(team, course)}\n")
    for line in wrong:
        say(f"BROKEN: {line}")
    say(f"{'Broken' if wrong else 'Every promise held'}. The same again: {again}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
