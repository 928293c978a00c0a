"""Counters, gauges and histograms, whose values stand in the rows."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from warmdesk.metrics.rows import ROWS

OTHER = "other"

Across = Literal["sum", "max", "min"]
Labels = Mapping[str, str]

METRICS: dict[str, Metric] = {}


@dataclass(slots=True)
class Series:
    """One line of a metric: its labels are settled, so using it costs no look-up."""

    offset: int
    buckets: Sequence[float] = ()

    def inc(self, amount: float = 1.0) -> None:
        ROWS.mine[self.offset] += amount

    def set(self, value: float) -> None:
        ROWS.mine[self.offset] = value

    def observe(self, value: float) -> None:
        row, offset = ROWS.mine, self.offset
        row[offset + bisect_left(self.buckets, value)] += 1
        row[offset + len(self.buckets) + 1] += value


class Metric:
    """A metric and its series. A label whose set is empty gets its values at start, by `at`."""

    kind = ""

    def __init__(self, name: str, doc: str, labels: Mapping[str, Sequence[str]], width: int = 1):
        if name in METRICS:
            raise ValueError(f"{name} is declared twice")
        self.name, self.doc, self.names, self.width = name, doc, tuple(labels), width
        self.series: dict[tuple[str, ...], Series] = {}
        self.found: dict[tuple[tuple[str, Any], ...], Series] = {}
        METRICS[name] = self
        for values in itertools.product(*labels.values()):
            self.at(**dict(zip(self.names, values, strict=True)))
        self.other = self.at(**dict.fromkeys(self.names, OTHER))

    def at(self, **labels: str) -> Series:
        """The series of these labels, made if it is new: at start only, in every worker alike."""
        key = tuple([labels[name] for name in self.names])
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = self._new(ROWS.take(self.width))
        return series

    def _new(self, offset: int) -> Series:
        return Series(offset)

    def _find(self, labels: dict[str, Any]) -> Series:
        if not labels:
            return self.other
        found = self.found.get(tuple(labels.items()))
        if found is not None:
            return found
        series = self.series.get(tuple([str(labels[name]) for name in self.names]))
        if series is None:
            return self.other
        return self.found.setdefault(tuple(labels.items()), series)


class Counter(Metric):
    """A figure that only grows; its name ends in ``_total``."""

    kind = "counter"

    def inc(self, amount: float = 1.0, **labels: Any) -> None:
        ROWS.mine[self._find(labels).offset] += amount


class Gauge(Metric):
    """A figure that goes up and down; ``across``: how the workers' values become one."""

    kind = "gauge"

    def __init__(self, name: str, doc: str, labels: Mapping[str, Sequence[str]], across: Across):
        super().__init__(name, doc, labels)
        self.across: Across = across

    def set(self, value: float, **labels: Any) -> None:
        ROWS.mine[self._find(labels).offset] = value

    def inc(self, amount: float = 1.0, **labels: Any) -> None:
        ROWS.mine[self._find(labels).offset] += amount


class Histogram(Metric):
    """How often, in which bucket: ``buckets`` are rising upper bounds in the unit of the name."""

    kind = "histogram"

    def __init__(
        self, name: str, doc: str, buckets: Sequence[float], labels: Mapping[str, Sequence[str]]
    ):
        self.buckets = tuple(buckets)
        super().__init__(name, doc, labels, width=len(self.buckets) + 2)

    def _new(self, offset: int) -> Series:
        return Series(offset, self.buckets)

    def observe(self, value: float, **labels: Any) -> None:
        self._find(labels).observe(value)


class Answers:
    """The answers of one route: counts by class of status, and a histogram of seconds."""

    __slots__ = ("_buckets", "_classes", "_counts", "_sum")

    def __init__(self, classes: Sequence[Series], seconds: Series) -> None:
        self._classes = (classes[0].offset, *(each.offset for each in classes))
        self._buckets, self._counts = seconds.buckets, seconds.offset
        self._sum = seconds.offset + len(seconds.buckets) + 1

    def count(self, status: int, took: float) -> None:
        """One answer, and the seconds it took. Sockets are only counted: they last."""
        row = ROWS.mine
        row[self._classes[status // 100]] += 1
        if status != 101:
            row[self._counts + bisect_left(self._buckets, took)] += 1
            row[self._sum] += took


class Traffic:
    """The requests of all routes, told apart by method, template and class of status."""

    classes = ("1xx", "2xx", "3xx", "4xx", "5xx")

    def __init__(self, requests: Counter, seconds: Histogram) -> None:
        self.requests, self.seconds = requests, seconds

    def at(self, method: str, route: str) -> Answers:
        """The lines of one route, made at start so that all workers have the same ones."""
        by_class = [
            self.requests.at(method=method, route=route, status=each) for each in self.classes
        ]
        return Answers(by_class, self.seconds.at(method=method, route=route))


def counter(name: str, doc: str, **labels: Sequence[str]) -> Counter:
    return Counter(name, doc, labels)


def gauge(name: str, doc: str, *, across: Across = "sum", **labels: Sequence[str]) -> Gauge:
    return Gauge(name, doc, labels, across)


def histogram(name: str, doc: str, buckets: Sequence[float], **labels: Sequence[str]) -> Histogram:
    return Histogram(name, doc, buckets, labels)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric whose values were read elsewhere: its labels may hold anything, they are escaped."""

    kind: Literal["counter", "gauge"]
    name: str
    doc: str
    samples: Sequence[tuple[Labels, float]]
