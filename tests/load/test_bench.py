"""The bench judges by its bounds, and runs: a peer that was not there never makes a goal hold."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from load.bench import borrowed, browsing, chromium
from load.bench.__main__ import SCENARIOS, arguments
from load.bench.dam import Frames
from load.bench.goals import GOALS, HOLDS, MISSED, NOT_MEASURED, OURS, Bound
from load.bench.peers import PROGRAMS
from load.bench.run import Run
from warmdesk.realtime.frames import frame

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("bound", "figures", "expected"),
    [
        (Bound("µs", 1.5, ("a",)), {"µs": {OURS: 3.0, "a": 2.0}}, (1.5, "a", HOLDS)),
        (Bound("µs", 1.5, ("a",)), {"µs": {OURS: 3.1, "a": 2.0}}, (1.55, "a", MISSED)),
        (
            Bound("µs", 1.5, ("a", "b")),
            {"µs": {OURS: 3.0, "a": 2.0, "b": 1.0}},
            (3.0, "b", MISSED),
        ),
        (Bound("µs", 9, ("a", "b")), {"µs": {OURS: 3.0, "a": 2.0}}, (1.5, "a", NOT_MEASURED)),
        (Bound("µs", 1, ("a", "b")), {"µs": {OURS: 3.0, "a": 2.0}}, (1.5, "a", MISSED)),
        (Bound("µs", 9, ("a",)), {"µs": {OURS: 3.0}}, (None, "", NOT_MEASURED)),
        (Bound("µs", 9, ("a",)), {"µs": {"a": 3.0}}, (None, "", NOT_MEASURED)),
        (Bound("µs", 9, ("a",)), {}, (None, "", NOT_MEASURED)),
        (
            Bound("rate", 2.0, ("a",), at_least=True),
            {"rate": {OURS: 4, "a": 2.0}},
            (2, "a", HOLDS),
        ),
        (
            Bound("rate", 2.0, ("a", "b"), at_least=True),
            {"rate": {OURS: 4, "a": 1.0, "b": 3.0}},
            (4 / 3, "b", MISSED),
        ),
        (Bound("count", 20), {"count": {OURS: 20.0}}, (20, "", HOLDS)),
        (Bound("count", 20), {"count": {OURS: 21.0}}, (21, "", MISSED)),
    ],
)
def test_the_worst_peer_decides_and_who_is_missing_never_helps(
    bound: Bound, figures: dict[str, dict[str, float]], expected: tuple[float | None, str, str]
) -> None:
    value, peer, verdict = bound.judge(figures)

    assert (peer, verdict) == expected[1:]
    assert value == (None if expected[0] is None else pytest.approx(expected[0]))
    if value is not None and verdict != NOT_MEASURED:
        assert (bound.part(value) <= 1) == (verdict == HOLDS)


def test_every_goal_has_its_scenario() -> None:
    assert [goal.number for goal in GOALS] == list(range(1, 28))
    assert [goal.scenario for goal in GOALS] == list(dict.fromkeys(g.scenario for g in GOALS))
    assert {goal.scenario for goal in GOALS} == SCENARIOS.keys() - borrowed.SCENARIOS


def test_the_documents_name_scenarios_that_exist() -> None:
    text = (TOP / "docs" / "performance.rst").read_text()

    named = re.findall(r"``bin/bench ([^`]+)``", text)
    assert named
    for words in named:
        arguments(shlex.split(words))


def test_the_peers_are_where_they_are_looked_for() -> None:
    for name in ("package-lock.json", "package.json", "ws.js"):
        assert (PROGRAMS / name).is_file(), name


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["faster"])

    assert "faster" in capsys.readouterr().err


async def test_without_a_browser_its_goal_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    said: list[str] = []
    run = Run(None, say=said.append)  # type: ignore[arg-type]

    await browsing.browser(run)

    assert "no Chromium here" in run.skipped["browser"]
    assert "no Chromium here" in said[0]
    (goal,) = [goal for goal in GOALS if goal.scenario == "browser"]
    assert {bound.judge(run.figures())[2] for bound in goal.bounds} == {NOT_MEASURED}


@pytest.mark.parametrize("size", [1, 7, 10_000_000])
def test_what_is_held_back_is_cut_into_whole_frames(size: int) -> None:
    texts = [b"", b"short", b"x" * 125, b"y" * 126, b"z" * 70_000, b"last"]
    stream = b"".join(map(frame, texts))
    frames = Frames()

    found = [
        each
        for start in range(0, len(stream), size)
        for each in frames.feed(stream[start : start + size])
    ]

    assert [text for _, text, _ in found] == texts
    assert b"".join(whole for *_, whole in found) == stream


@pytest.mark.long
async def bench(folder: Path, *words: str) -> tuple[Any, str]:
    """The figures of a quick run of these scenarios and options, and what it said."""
    place = folder / "figures.json"
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "load.bench", *words, "--quick", "--json", str(place)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=TOP,
    )
    said, aside = await run.communicate()
    assert run.returncode == 0, aside.decode()[-3000:]
    return json.loads(place.read_text()), said.decode()


@pytest.mark.timeout(120)
async def test_a_small_run_measures_us_and_the_floor(tmp_path: Path) -> None:
    found, said = await bench(tmp_path, "burst", "--viewers", "50", "--only", "floor")

    measured = found["figures"]["burst µs"]
    assert set(measured) == {OURS, "floor"}
    assert min(measured.values()) > 0
    verdicts = {row["bound"]: row["verdict"] for row in found["goals"]}
    assert verdicts["burst µs ≤ 1 × floor"] != NOT_MEASURED
    assert verdicts["burst µs ≤ 1.25 × nchan"] == NOT_MEASURED
    assert "not measured: nchan: not asked for" in said


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_streams_are_measured_beside_sockets(tmp_path: Path) -> None:
    found, _ = await bench(tmp_path, "streams", "--viewers", "20")
    assert all(found["figures"][f"a delivery, {way}"][OURS] > 0 for way in WAYS)
    assert NOT_MEASURED not in [row["verdict"] for row in found["goals"]]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", ["mail", "reports"])
async def test_what_happens_beside_people_is_measured(scenario: str, tmp_path: Path) -> None:
    found, _ = await bench(tmp_path, scenario, "--viewers", "20")
    assert NOT_MEASURED not in [row["verdict"] for row in found["goals"]]


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_page_is_measured_in_a_browser(tmp_path: Path) -> None:
    if chromium.missing():
        pytest.skip("no Chromium here: install it, or name it in CHROMIUM")
    found, _ = await bench(tmp_path, "browser")
    assert NOT_MEASURED not in [row["verdict"] for row in found["goals"]]
    measured = found["figures"]
    assert measured["chat: rows in the page"][OURS] > 100
    assert measured["storm in sight: events/s"][OURS] > 500
    assert measured["storm in sight: paints/s"][OURS] > 1


WAYS = ("µs by socket", "µs by stream", "stream / socket")
