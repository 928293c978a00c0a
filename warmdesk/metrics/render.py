"""The text format, by aioprometheus, whose counters know one process only."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Literal

from aioprometheus import collectors
from aioprometheus.histogram import Histogram as Buckets
from aioprometheus.renderer import render as render_registry

from warmdesk.metrics import LOOP_LAG
from warmdesk.metrics.kinds import METRICS, Family, Gauge, Histogram, Metric
from warmdesk.metrics.process import accesses, figures
from warmdesk.metrics.rows import ROWS, TICKED
from warmdesk.metrics.sharing import TICK_SECONDS


def render(families: Iterable[Family] = ()) -> bytes:
    """The text format 0.0.4: everything declared here, summed over the workers, and `families`."""
    ROWS.look()
    totals = [*map(float, map(sum, zip(*(row[: ROWS.taken] for row in ROWS.all), strict=True)))]
    registry = collectors.Registry()
    for metric in METRICS.values():
        if isinstance(metric, Histogram):
            _add_histogram(registry, metric, totals)
        else:
            _add_family(registry, _summed(metric, totals))
    for family in (*figures(), *accesses(), *families):
        _add_family(registry, family)
    text, _ = render_registry(registry, ["text/plain"])
    return bytes(text)


def _summed(metric: Metric, totals: list[float]) -> Family:
    """A counter or gauge over all rows, whose sums are `totals`. Of many series only those that
    counted are shown.
    """
    samples = []
    for key, series in metric.series.items():
        value = _across(metric, series.offset, totals)
        if value or (len(metric.series) <= 32 and not (metric.names and series is metric.other)):
            samples.append((dict(zip(metric.names, key, strict=True)), value))
    kind: Literal["counter", "gauge"] = "gauge" if isinstance(metric, Gauge) else "counter"
    return Family(kind, metric.name, metric.doc, samples)


def _across(metric: Metric, offset: int, totals: list[float]) -> float:
    across = metric.across if isinstance(metric, Gauge) else "sum"
    if across == "sum":
        return totals[offset]
    values = [row[offset] for row in ROWS.living()] or [0.0]
    if metric is LOOP_LAG:
        values += _held_up()
    return float(max(values) if across == "max" else min(values))


def _held_up() -> list[float]:
    """How late the loops are that have not turned since: one that hangs cannot say so itself."""
    now = time.monotonic()  # one clock for all processes of a host
    return [now - row[TICKED] - TICK_SECONDS for row in ROWS.living() if row[TICKED]]


def _add_histogram(registry: collectors.Registry, metric: Histogram, totals: list[float]) -> None:
    collector = collectors.Histogram(
        metric.name, metric.doc, registry=registry, buckets=list(metric.buckets)
    )
    for key, series in metric.series.items():
        end = series.offset + len(metric.buckets) + 1
        counts = [int(total) for total in totals[series.offset : end]]
        if not any(counts) and metric.names:
            continue
        buckets = Buckets(*metric.buckets)
        for bound, so_far in zip(buckets.buckets, itertools.accumulate(counts), strict=True):
            buckets.buckets[bound] = so_far
        buckets.sum = totals[end]
        buckets.observations = sum(counts)
        collector.set_value(dict(zip(metric.names, key, strict=True)), buckets)


def _add_family(registry: collectors.Registry, family: Family) -> None:
    kind = collectors.Counter if family.kind == "counter" else collectors.Gauge
    collector = kind(family.name, family.doc, registry=registry)
    for labels, value in family.samples:
        whole = int(value) if float(value).is_integer() else value
        collector.set_value({name: escaped(text) for name, text in labels.items()}, whole)


def escaped(text: str) -> str:
    r"""A label's value with ``\``, ``"`` and line ends escaped, which aioprometheus does not do."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
