"""``bin/bench``: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from load.bench import (
    asking,
    backing,
    borrowed,
    browsing,
    growing,
    mailing,
    reporting,
    uploading,
    viewing,
)
from load.bench.goals import GOALS, HOLDS, MISSED, NOT_MEASURED, OURS, Goal
from load.bench.measure import opened_place
from load.bench.run import Run
from warmdesk import __version__

SCENARIOS = {
    **viewing.SCENARIOS,
    **asking.SCENARIOS,
    **uploading.SCENARIOS,
    **backing.SCENARIOS,
    **growing.SCENARIOS,
    **mailing.SCENARIOS,
    **reporting.SCENARIOS,
    **browsing.SCENARIOS,
    **borrowed.SCENARIOS,
}


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/bench", description="How fast WarmDesk is, beside other servers in the same run."
    )
    parser.add_argument(
        "scenario",
        nargs="+",
        choices=["all", *SCENARIOS],
        help="what is measured",
        metavar="SCENARIO",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round, shorter: ten minutes for all"
    )
    parser.add_argument("--rounds", type=int, help="rounds of all peers, interleaved (2)")
    parser.add_argument(
        "--viewers", type=int, help="sockets, instead of each scenario's own number"
    )
    parser.add_argument("--rate", type=float, help="events a second, instead of the scenario's own")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PEER", help="only this peer"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the ratios here")
    parser.epilog = "scenarios: all, " + ", ".join(SCENARIOS)
    return parser.parse_args(given)


async def measure(options: argparse.Namespace) -> Run:
    """Everything that was asked for, in the order of the goals."""
    async with opened_place() as place:
        run = Run(
            place,
            rounds=options.rounds or (1 if options.quick else 2),
            quick=options.quick,
            viewers=options.viewers,
            rate=options.rate,
            only=tuple(options.only),
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        chosen = {name: SCENARIOS[name] for name in options.scenario if name != "all"}
        if "all" in options.scenario:
            chosen = {
                **viewing.TOGETHER,
                **asking.SCENARIOS,
                **uploading.SCENARIOS,
                **backing.SCENARIOS,
                **growing.SCENARIOS,
                **mailing.SCENARIOS,
                **reporting.SCENARIOS,
                **browsing.SCENARIOS,
            }
        for name, scenario in chosen.items():
            run.say(f"{name}:")
            try:
                await scenario(run)
            except Exception as error:  # the others are worth measuring all the same
                run.failed[name] = f"{type(error).__name__}: {error}"
                run.say(f"  {name} failed: {run.failed[name]}")
    return run


def rows(run: Run, goals: Sequence[Goal]) -> list[dict[str, Any]]:
    """Each bound of these goals: what it says, what was seen, and whether it holds."""
    figures = run.figures()
    found = []
    for goal in goals:
        for bound in goal.bounds:
            value, peer, verdict = bound.judge(figures)
            found.append(
                {
                    "goal": goal.number,
                    "scenario": goal.scenario,
                    "bound": str(bound),
                    "stretch": bound.stretch,
                    "ours": figures.get(bound.figure, {}).get(OURS),
                    "value": value,
                    "part": None if value is None else bound.part(value),
                    "peer": peer,
                    "verdict": verdict,
                }
            )
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """For a terminal."""
    lines = [f"{'':3} {'goal':62} {'ours':>10} {'ratio':>8}  "]
    for row in found:
        ours = "" if row["ours"] is None else f"{row['ours']:.4g}"
        ratio = f"{row['value']:.3g}" if row["peer"] else ""
        name = row["bound"] + (" (stretch)" if row["stretch"] else "")
        worst = f" ({row['peer']})" if row["peer"] and row["peer"] not in row["bound"] else ""
        lines.append(f"{row['goal']:>3} {name:62} {ours:>10} {ratio:>8}  {row['verdict']}{worst}")
    return "\n".join(lines)


def everything(run: Run) -> str:
    """Every figure of every server, for who wants to know more."""
    lines = []
    for figure, all_ in run.figures().items():
        told = ", ".join(f"{whose} {value:.4g}" for whose, value in all_.items())
        lines.append(f"    {figure}: {told}")
    return "\n".join(lines)


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    began = time.monotonic()
    run = uvloop.run(measure(options))
    goals = [
        goal for goal in GOALS if "all" in options.scenario or goal.scenario in options.scenario
    ]
    found = rows(run, goals)
    machine = {
        "warmdesk": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "rounds": run.rounds,
        "seconds": round(time.monotonic() - began),
        "command": " ".join(["bin/bench", *given]),
    }
    print(f"{' · '.join(f'{name} {value}' for name, value in machine.items())}\n")
    print(everything(run), table(found), sep="\n\n")
    for peer, why in run.skipped.items():
        print(f"not measured: {peer}: {why}")
    for name, why in run.failed.items():
        print(f"failed: {name}: {why}")
    counts = {word: sum(row["verdict"] == word for row in found) for word in VERDICTS}
    print("\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))
    if options.json:
        said = {
            "machine": machine,
            "goals": found,
            "figures": run.figures(),
            "skipped": run.skipped,
        }
        options.json.write_text(json.dumps(said, indent=1) + "\n")
    if options.plot:
        from load.bench.chart import draw

        draw(found, options.plot)
    return 1 if run.failed else 0


VERDICTS = (HOLDS, MISSED, NOT_MEASURED)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
