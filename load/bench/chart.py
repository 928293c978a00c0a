"""The ratios of one run as a picture: how much of its bound each goal uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load.bench.goals import HOLDS, OURS

GREEN, RED = "#3a7d44", "#b23a48"


def draw(found: Sequence[dict[str, Any]], place: Path) -> None:
    """Write a chart, in the format of the file's name. matplotlib is one of `bin/setup bench`."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    shown = [row for row in found if row["value"] is not None]
    figure, axes = pyplot.subplots(figsize=(11, 1.2 + 0.3 * len(shown)))
    parts = [row["part"] for row in shown]
    colours = [GREEN if row["verdict"] == HOLDS else RED for row in shown]
    names = [f"{row['goal']}  {row['bound']}" for row in shown]
    axes.barh(range(len(shown)), parts, color=colours)
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel(f"{OURS}: share of the bound that is used; left of the line it holds")
    figure.tight_layout()
    figure.savefig(place)
