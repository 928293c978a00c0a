"""The part of PromQL that the files of config/ are written in, over scrapes of one server.

``evaluate(expression, scrapes)`` gives what Prometheus would give at the moment of the last scrape:
values by labels, or a number. Known here: numbers, selectors with ``=``, ``!=`` and ``=~``, ranges
(``[5m]``) under ``rate`` and ``increase``, extrapolated as Prometheus does it,
``histogram_quantile``, ``absent``, ``topk``, ``sum``/``max``/``min`` with ``by``, arithmetic and
comparisons, one to one. Anything else is an error, never a silent answer.

https://prometheus.io/docs/prometheus/latest/querying/basics/, and funcs.go of its source.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = Vector | float

NAME = "__name__"
SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)",?')
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_:][\w:]*)|(?P<text>\"[^\"]*\")"
    r"|(?P<range>\[\d+[smhd]\])|(?P<sign>=~|[=!<>]=|[-+*/<>=(){},]))"
)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.nan if a == 0 or math.isnan(a) else math.inf * a,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
TOTALS: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


@dataclass(frozen=True)
class Scrape:
    """What a server showed at a moment, in seconds of any clock."""

    at: float
    series: Vector

    @cached_property
    def by_name(self) -> dict[str, Vector]:
        """The series of each metric: an expression that looks at all others, too, in scrape after
        scrape, would hold the loop that it judges.
        """
        found: dict[str, Vector] = {}
        for labels, value in self.series.items():
            found.setdefault(dict(labels)[NAME], {})[labels] = value
        return found

    def named(self, name: str) -> Vector:
        return self.by_name.get(name, {})


def scrape(at: float, text: str, **labels: str) -> Scrape:
    """The text format as series; `labels` are what Prometheus would add, like ``instance``."""
    series: Vector = {}
    for line in text.splitlines():
        found = SAMPLE.fullmatch(line)
        if line.startswith("#") or not line:
            continue
        assert found is not None, f"no sample: {line!r}"
        series[_labels(found[1], found[2] or "", **labels)] = float(found[3])
    return Scrape(at, series)


@lru_cache(maxsize=20_000)
def _labels(name: str, written: str, **labels: str) -> Labels:
    """Scrape after scrape shows the same series."""
    own = {key: _plain(value) for key, value in LABEL.findall(written)}
    return frozenset({NAME: name, **own, **labels}.items())


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], escaped)


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    reading = Reading(list(_tokens(expression)), [Scrape(0.0, {})])
    reading.expression()
    return reading.asked


def fires(expression: str, scrapes: Sequence[Scrape]) -> bool:
    """Whether an alert with this expression would be pending or firing now."""
    return bool(evaluate(expression, scrapes))


def evaluate(expression: str, scrapes: Sequence[Scrape]) -> Value:
    """The expression's value at the moment of the last scrape."""
    reading = Reading(list(_tokens(expression)), scrapes)
    value = reading.expression()
    assert reading.done, f"not understood: {reading.rest()} in {expression}"
    return value


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = expression.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        assert found is not None, f"not understood: {text[at:]}"
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


class Reading:
    """Reads tokens and evaluates while it reads: an expression has no side effects."""

    def __init__(self, tokens: list[tuple[str, str]], scrapes: Sequence[Scrape]) -> None:
        self.tokens, self.place, self.scrapes = tokens, 0, scrapes
        self.asked: set[str] = set()

    @property
    def done(self) -> bool:
        return self.place == len(self.tokens)

    def rest(self) -> str:
        return " ".join(token for _, token in self.tokens[self.place :])

    def next_is(self, *tokens: str) -> bool:
        return not self.done and self.tokens[self.place][1] in tokens

    def take(self, *wanted: str) -> str:
        assert not self.done, f"it ends before {wanted}"
        token = self.tokens[self.place][1]
        assert not wanted or token in wanted, f"{token} instead of {wanted}"
        self.place += 1
        return token

    # From the loosest binding to the tightest.

    def expression(self) -> Value:
        left = self.sum()
        while self.next_is(*COMPARISONS):
            left = _compared(left, self.take(), self.sum())
        return left

    def sum(self) -> Value:
        left = self.product()
        while self.next_is("+", "-"):
            left = _computed(left, self.take(), self.product())
        return left

    def product(self) -> Value:
        left = self.term()
        while self.next_is("*", "/"):
            left = _computed(left, self.take(), self.term())
        return left

    def term(self) -> Value:
        assert not self.done, "it ends too soon"
        kind, token = self.tokens[self.place]
        if kind == "number":
            return float(self.take())
        if token == "(":
            return self.bracketed()
        assert kind == "name", f"not understood: {token}"
        self.take()
        if token in TOTALS:
            return self.total(token)
        if token in ("rate", "increase"):
            return self.growth(per_second=token == "rate")
        if token == "histogram_quantile":
            self.take("(")
            share = self.expression()
            self.take(",")
            buckets = self.expression()
            self.take(")")
            assert isinstance(share, float)
            assert isinstance(buckets, dict)
            return quantile(share, buckets)
        if token == "topk":
            self.take("(")
            most = self.expression()
            self.take(",")
            value = self.expression()
            self.take(")")
            assert isinstance(most, float)
            assert isinstance(value, dict)
            highest = sorted(value, key=lambda labels: -value[labels])[: int(most)]
            return {labels: value[labels] for labels in highest}
        if token == "absent":
            return {} if self.bracketed() else {frozenset(): 1.0}
        return self.selected(token)

    def bracketed(self) -> Value:
        self.take("(")
        value = self.expression()
        self.take(")")
        return value

    def total(self, name: str) -> Vector:
        kept = self.kept_labels()
        value = self.bracketed()
        kept = kept or self.kept_labels()
        assert isinstance(value, dict), f"{name} of a number"
        groups: dict[Labels, list[float]] = {}
        for labels, number in value.items():
            groups.setdefault(frozenset(x for x in labels if x[0] in kept), []).append(number)
        return {labels: TOTALS[name](numbers) for labels, numbers in groups.items()}

    def kept_labels(self) -> list[str]:
        if not self.next_is("by"):
            return []
        self.take("by")
        self.take("(")
        kept = [self.take()]
        while self.take(",", ")") == ",":
            kept.append(self.take())
        return kept

    def matchers(self, name: str) -> Callable[[Labels], bool]:
        """Whether a series of this metric is asked for."""
        wanted: list[tuple[str, str, str]] = []
        self.asked.add(name)
        if self.next_is("{"):
            self.take("{")
            while not self.next_is("}"):
                wanted.append((self.take(), self.take("=", "!=", "=~"), self.take().strip('"')))
                if self.next_is(","):
                    self.take(",")
            self.take("}")

        def matches(labels: Labels) -> bool:
            found = dict(labels) if wanted else {}
            return all(_fits(found.get(key, ""), sign, value) for key, sign, value in wanted)

        return matches

    def selected(self, name: str) -> Vector:
        matches = self.matchers(name)
        now = self.scrapes[-1].named(name)
        return {labels: value for labels, value in now.items() if matches(labels)}

    def growth(self, *, per_second: bool) -> Vector:
        self.take("(")
        name = self.take()
        matches = self.matchers(name)
        kind, span = self.tokens[self.place]
        assert kind == "range", f"{span} instead of a range"
        self.take()
        seconds = int(span[1:-2]) * SECONDS[span[-2]]
        self.take(")")
        end = self.scrapes[-1].at
        found: dict[Labels, list[tuple[float, float]]] = {}
        for one in self.scrapes:
            if one.at >= end - seconds:
                for labels, value in one.named(name).items():
                    if matches(labels):
                        found.setdefault(labels, []).append((one.at, value))
        return {
            _nameless(labels): growth(samples, end - seconds, end) / (seconds if per_second else 1)
            for labels, samples in found.items()
            if len(samples) > 1
        }


def growth(samples: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """How much a counter grew from start to end, guessed beyond its samples (extrapolatedRate)."""
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    grown = last - first
    for (_, before), (_, after) in pairwise(samples):
        if after < before:  # it began again
            grown += before
    sampled = last_at - first_at
    step = sampled / (len(samples) - 1)
    before_first, after_last = first_at - start, end - last_at
    if grown > 0 and first >= 0:
        before_first = min(before_first, sampled * first / grown)  # it was not below zero
    beyond = sum(gap if gap < step * 1.1 else step / 2 for gap in (before_first, after_last))
    return grown * (sampled + beyond) / sampled


def quantile(share: float, buckets: Vector) -> Vector:
    """The value below which a share of what was observed lies, by straight lines inside buckets."""
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        rest = frozenset(x for x in _nameless(labels) if x[0] != "le")
        groups.setdefault(rest, []).append((bound, count))
    return {labels: _quantile(share, sorted(group)) for labels, group in groups.items()}


def _quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    assert buckets[-1][0] == math.inf, "the last bucket holds all"
    total = buckets[-1][1]
    if len(buckets) < 2 or not total > 0:
        return math.nan
    rank = share * total
    place = next((n for n, (_, count) in enumerate(buckets) if count >= rank), len(buckets) - 1)
    if place == len(buckets) - 1:
        return buckets[-2][0]
    bound, count = buckets[place]
    low, below = buckets[place - 1] if place else (0.0, 0.0)
    return low + (bound - low) * (rank - below) / (count - below)


def _fits(found: str, sign: str, wanted: str) -> bool:
    if sign == "=~":
        return re.fullmatch(wanted, found) is not None
    return (found == wanted) == (sign == "=")


def _nameless(labels: Labels) -> Labels:
    return frozenset(x for x in labels if x[0] != NAME)


def _paired(left: Value, right: Value) -> Iterator[tuple[Labels, float, float]]:
    """The pairs with the same labels; a number goes with everything."""
    if isinstance(left, dict):
        others = {_nameless(k): v for k, v in right.items()} if isinstance(right, dict) else {}
        for labels, value in left.items():
            if isinstance(right, float):
                yield labels, value, right
            elif _nameless(labels) in others:
                yield labels, value, others[_nameless(labels)]
    elif isinstance(right, dict):
        for labels, value in right.items():
            yield labels, left, value


def _computed(left: Value, sign: str, right: Value) -> Value:
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[sign](left, right)
    return {_nameless(k): ARITHMETIC[sign](a, b) for k, a, b in _paired(left, right)}


def _compared(left: Value, sign: str, right: Value) -> Vector:
    """What of the left side holds; its value is kept, as an alert shows it."""
    assert isinstance(left, dict), "an alert compares series, not numbers"
    return {k: a for k, a, b in _paired(left, right) if COMPARISONS[sign](a, b)}
