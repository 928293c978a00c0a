"""Numbers for Prometheus: one row of doubles a worker, in memory that all workers of a host share.

A worker writes only its own row, so counting needs no lock and costs a fraction of a microsecond;
whoever is asked for the metrics adds the rows up, so one scrape of any worker tells of all. The row
of a worker that died stays, and its successor counts on in it: counters never fall while the
supervisor lives. Only the gauges of the dead are cleared.

Every metric is declared here, once, with the closed set of each label's values: no client can make
a new series. A value outside its set is counted as ``other``. aioprometheus, whose counters know
one process only, writes the text format.
"""

from __future__ import annotations

import gc
import itertools
import mmap
import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aioprometheus import collectors
from aioprometheus.histogram import Histogram as Buckets
from aioprometheus.renderer import render as render_registry

ROOM = 8192
"""Doubles in a row, 64 KiB: four times what the metrics of this release take."""

OTHER = "other"
PID, CPU_BEFORE, CPU_NOW, TICKED, ACCESSED, FIRST = 0, 1, 2, 3, 4, 5
TICK_SECONDS = 0.5
"""How often a loop that is not held up says that it turns."""

Across = Literal["sum", "max", "min"]
Labels = Mapping[str, str]


class Rows:
    """The rows of all workers and, last, the supervisor's; alone, a process has one private row."""

    def __init__(self) -> None:
        self.taken = FIRST
        self.mine: Any = array("d", bytes(8 * ROOM))
        self.all: list[Any] = [self.mine]
        self.workers = 1
        self.shared = False

    def take(self, places: int) -> int:
        """The first of so many places side by side, the same in each row."""
        if self.taken + places > ROOM:
            raise ValueError("no room for another metric: raise ROOM")
        first, self.taken = self.taken, self.taken + places
        return first

    def share(self, workers: int) -> None:
        memory = memoryview(mmap.mmap(-1, (workers + 1) * ROOM * 8)).cast("d")
        self.all = [memory[n * ROOM : (n + 1) * ROOM] for n in range(workers + 1)]
        self.workers = workers
        self.mine = self.all[-1]
        self.shared = True

    def living(self) -> list[Any]:
        """The rows of the workers that run now."""
        if not self.shared:
            return self.all
        return [row for row in self.all[: self.workers] if row[PID]]


ROWS = Rows()
METRICS: dict[str, Metric] = {}


@dataclass(slots=True)
class Series:
    """One line of a metric: its labels are settled, so using it costs no look-up."""

    place: int
    buckets: Sequence[float] = ()

    def inc(self, amount: float = 1.0) -> None:
        ROWS.mine[self.place] += amount

    def set(self, value: float) -> None:
        ROWS.mine[self.place] = value

    def observe(self, value: float) -> None:
        row, place = ROWS.mine, self.place
        row[place + bisect_left(self.buckets, value)] += 1
        row[place + len(self.buckets) + 1] += value


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

    def _new(self, place: int) -> Series:
        return Series(place)

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
    """What only grows; its name ends in ``_total``."""

    kind = "counter"

    def inc(self, amount: float = 1.0, **labels: Any) -> None:
        ROWS.mine[self._find(labels).place] += amount


class Gauge(Metric):
    """What goes up and down; ``across``: what workers have together, the sum, most or least."""

    kind = "gauge"

    def __init__(self, name: str, doc: str, labels: Mapping[str, Sequence[str]], across: Across):
        super().__init__(name, doc, labels)
        self.across: Across = across

    def set(self, value: float, **labels: Any) -> None:
        ROWS.mine[self._find(labels).place] = value

    def inc(self, amount: float = 1.0, **labels: Any) -> None:
        ROWS.mine[self._find(labels).place] += amount

    def dec(self, amount: float = 1.0, **labels: Any) -> None:
        ROWS.mine[self._find(labels).place] -= amount


class Histogram(Metric):
    """How often, in which bucket: ``buckets`` are rising upper bounds in the unit of the name."""

    kind = "histogram"

    def __init__(
        self, name: str, doc: str, buckets: Sequence[float], labels: Mapping[str, Sequence[str]]
    ):
        self.buckets = tuple(buckets)
        super().__init__(name, doc, labels, width=len(self.buckets) + 2)

    def _new(self, place: int) -> Series:
        return Series(place, self.buckets)

    def observe(self, value: float, **labels: Any) -> None:
        self._find(labels).observe(value)


class Answers:
    """What one route answered: counts by class of status, and a histogram of seconds."""

    __slots__ = ("_buckets", "_classes", "_counts", "_sum")

    def __init__(self, classes: Sequence[Series], seconds: Series) -> None:
        self._classes = (classes[0].place, *(each.place for each in classes))
        self._buckets, self._counts = seconds.buckets, seconds.place
        self._sum = seconds.place + len(seconds.buckets) + 1

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


def share(workers: int) -> None:
    """Before the workers are forked: rows that all of them see, and one for the caller itself."""
    ROWS.share(workers)


def attach(index: int) -> None:
    """In a worker, first of all: it counts in row `index`, where its predecessor stopped."""
    row = ROWS.all[index]
    clear_gauges(index)
    row[PID] = os.getpid()
    row[TICKED] = 0
    ROWS.mine = row
    gc.callbacks.append(_collected)


def tick(now: float, late: float) -> None:
    """A loop turns: `late` is how many seconds after its time, `now` is `time.monotonic()`."""
    ROWS.mine[TICKED] = now
    LOOP_LAG.set(late)


def clear_gauges(index: int) -> None:
    """When the worker of row `index` has ended: what it counted stays, what it held is gone."""
    row = ROWS.all[index]
    row[PID] = row[TICKED] = 0
    row[CPU_BEFORE] += row[CPU_NOW]
    row[CPU_NOW] = 0
    for metric in METRICS.values():
        if isinstance(metric, Gauge):
            for series in metric.series.values():
                row[series.place] = 0


@dataclass(frozen=True, slots=True)
class Family:
    """A metric whose values were read elsewhere: its labels may hold anything, they are escaped."""

    kind: Literal["counter", "gauge"]
    name: str
    doc: str
    samples: Sequence[tuple[Labels, float]]


def render(families: Iterable[Family] = ()) -> bytes:
    """The text format 0.0.4: everything declared here, summed over the workers, and `families`."""
    registry = collectors.Registry()
    for metric in METRICS.values():
        if isinstance(metric, Histogram):
            _add_histogram(registry, metric)
        else:
            _add_family(registry, _summed(metric))
    for family in (*_process(), *_accesses(), *families):
        _add_family(registry, family)
    text, _ = render_registry(registry, ["text/plain"])
    return bytes(text)


def _summed(metric: Metric) -> Family:
    """A counter or gauge over all rows. Of many series only those that counted are shown."""
    samples = []
    for key, series in metric.series.items():
        value = _across(metric, series.place)
        if value or (len(metric.series) <= 32 and not (metric.names and series is metric.other)):
            samples.append((dict(zip(metric.names, key, strict=True)), value))
    kind: Literal["counter", "gauge"] = "gauge" if isinstance(metric, Gauge) else "counter"
    return Family(kind, metric.name, metric.doc, samples)


def _across(metric: Metric, place: int) -> float:
    across = metric.across if isinstance(metric, Gauge) else "sum"
    if across == "sum":
        return _total(place)
    values = [row[place] for row in ROWS.living()] or [0.0]
    if metric is LOOP_LAG:
        values += _held_up()
    return float(max(values) if across == "max" else min(values))


def _held_up() -> list[float]:
    """How late the loops are that have not turned since: one that hangs cannot say so itself."""
    now = time.monotonic()  # one clock for all processes of a host
    return [now - row[TICKED] - TICK_SECONDS for row in ROWS.living() if row[TICKED]]


def _total(place: int) -> float:
    return float(sum(row[place] for row in ROWS.all))


def _add_histogram(registry: collectors.Registry, metric: Histogram) -> None:
    collector = collectors.Histogram(
        metric.name, metric.doc, registry=registry, buckets=list(metric.buckets)
    )
    for key, series in metric.series.items():
        counts = [int(_total(series.place + n)) for n in range(len(metric.buckets) + 1)]
        if not any(counts) and metric.names:
            continue
        kept = Buckets(*metric.buckets)
        for bound, so_far in zip(kept.buckets, itertools.accumulate(counts), strict=True):
            kept.buckets[bound] = so_far
        kept.sum = _total(series.place + len(metric.buckets) + 1)
        kept.observations = sum(counts)
        collector.set_value(dict(zip(metric.names, key, strict=True)), kept)


def _add_family(registry: collectors.Registry, family: Family) -> None:
    kind = collectors.Counter if family.kind == "counter" else collectors.Gauge
    collector = kind(family.name, family.doc, registry=registry)
    for labels, value in family.samples:
        whole = int(value) if float(value).is_integer() else value
        collector.set_value({name: escaped(text) for name, text in labels.items()}, whole)


def escaped(text: str) -> str:
    r"""A label's value with ``\``, ``"`` and line ends escaped, which aioprometheus does not do."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def accessed(*, succeeded: bool) -> None:
    """Somebody was told the metrics: all of them, or all but what the database had to be asked."""
    ROWS.mine[ACCESSED] = time.time() if succeeded else -time.time()


def _accesses() -> list[Family]:
    last = max((row[ACCESSED] for row in ROWS.all), key=abs)
    return [
        Family(
            "gauge",
            "warmdesk_metrics_last_access_timestamp_seconds",
            "When the metrics were asked for before, in seconds since 1970; 0 for never.",
            [({}, round(abs(last), 3))],
        ),
        Family(
            "gauge",
            "warmdesk_metrics_last_access_success",
            "1 when the database could be asked for them then, 0 when not, -1 for never.",
            [({}, 1 if last > 0 else 0 if last else -1)],
        ),
    ]


def _collected(phase: str, told: dict[str, Any]) -> None:
    if phase == "stop":
        generation = str(told["generation"])
        COLLECTIONS.inc(generation=generation)
        COLLECTED.inc(told["collected"], generation=generation)
        UNCOLLECTABLE.inc(told["uncollectable"], generation=generation)


STARTED = time.time()
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _process() -> list[Family]:
    """What the operating system says of the workers; only where it has ``/proc``."""
    memory = virtual = files = most_files = threads = 0
    for row in ROWS.living():
        here = Path("/proc") / str(int(row[PID]) or os.getpid())
        try:
            fields = (here / "stat").read_text().rpartition(")")[2].split()
            files += len(os.listdir(here / "fd"))
            limits = (here / "limits").read_text()
        except OSError:
            continue
        most = limits.partition("Max open files")[2].split()[0]
        most_files += int(most) if most.isdigit() else 0
        row[CPU_NOW] = max(row[CPU_NOW], (int(fields[11]) + int(fields[12])) / TICKS)
        threads += int(fields[17])
        virtual += int(fields[20])
        memory += int(fields[21]) * PAGE
    if not memory:
        return []
    cpu = sum(row[CPU_BEFORE] + row[CPU_NOW] for row in ROWS.all)
    return [
        Family("counter", "process_cpu_seconds_total", "CPU time of the workers.", [({}, cpu)]),
        Family("gauge", "process_resident_memory_bytes", "Memory of the workers.", [({}, memory)]),
        Family(
            "gauge",
            "process_virtual_memory_bytes",
            "Address space of the workers.",
            [({}, virtual)],
        ),
        Family("gauge", "process_open_fds", "Open files of the workers.", [({}, files)]),
        Family("gauge", "process_max_fds", "Files that the workers may open.", [({}, most_files)]),
        Family("gauge", "process_threads", "Threads of the workers.", [({}, threads)]),
        Family(
            "gauge",
            "process_start_time_seconds",
            "When the server started, in seconds since 1970.",
            [({}, round(STARTED, 3))],
        ),
    ]


# The declarations. Names carry their unit; each sentence is what an operator reads.

HTTP_REQUESTS = counter(
    "warmdesk_http_requests_total",
    "Requests answered, by route and class of status.",
    method=(),
    route=(),
    status=(),
)
HTTP_SECONDS = histogram(
    "warmdesk_http_request_duration_seconds",
    "Time from a request's head to its answer, by route.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    method=(),
    route=(),
)
HTTP = Traffic(HTTP_REQUESTS, HTTP_SECONDS)
HTTP_CUT = counter(
    "warmdesk_http_cut_total",
    "Connections ended or refused: readers that are stalled or slow, too many bytes of answers or"
    " bodies, too many of an address, idle ones or most of a person's for new ones of an address,"
    " too many sockets of a person, no files left.",
    reason=(
        *("stalled", "slow", "answers", "bodies"),
        *("address", "idle", "person", "sockets", "files"),
    ),
)
HTTP_BUFFER_BYTES = gauge(
    "warmdesk_http_buffer_bytes", "Bytes of answers that wait for slow readers."
)
COLLECTIONS = counter(
    "python_gc_collections_total",
    "Runs of the garbage collector.",
    generation=("0", "1", "2"),
)
COLLECTED = counter(
    "python_gc_objects_collected_total",
    "Objects that the garbage collector freed.",
    generation=("0", "1", "2"),
)
UNCOLLECTABLE = counter(
    "python_gc_objects_uncollectable_total",
    "Objects that the garbage collector could not free.",
    generation=("0", "1", "2"),
)
READY = gauge("warmdesk_ready", "1 while /ready says 200, in the worst worker.", across="min")
WORKER_DEATHS = counter("warmdesk_worker_deaths_total", "Workers that ended by themselves.")
LOOP_LAG = gauge(
    "warmdesk_loop_lag_seconds",
    "How late the latest timer of the last 15 seconds fired, in the worst worker.",
    across="max",
)
POOL_CONNECTIONS = gauge(
    "warmdesk_db_pool_connections",
    "Connections to PostgreSQL that the requests' pools hold.",
    state=("idle", "busy"),
)
POOL_WAIT = histogram(
    "warmdesk_db_pool_wait_seconds",
    "Time that a request waited for a connection to PostgreSQL.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
)
HEAVY_WAIT = histogram(
    "warmdesk_db_heavy_wait_seconds",
    "Time that a search, a board or a long page waited for a connection to PostgreSQL.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
)
POOL_LIMIT = gauge(
    "warmdesk_db_pool_limit_connections",
    "Connections to PostgreSQL that the requests' pools may hold.",
)

DRAIN_SECONDS = histogram(
    "warmdesk_drain_seconds",
    "Time from the signal to stop until a worker had nothing left to do.",
    (2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
)
AUTH_FAILURES = counter(
    "warmdesk_auth_failures_total",
    "Credentials that were refused.",
    reason=(
        *("password", "deactivated", "token", "token_expired", "session_ended"),
        *("refresh_token", "key", "ticket"),
    ),
)

# The centre.
TASK_RESTARTS = counter(
    "warmdesk_task_restarts_total",
    "Tasks of the centre that failed and were started again.",
    task=(
        "bus.listen",
        "bus.publish",
        "bus.beat",
        "hub.check",
        "hub.sweep",
        "presence.turn",
        "control.review",
        "retention",
        "bounds",
    ),
)
EVENTS_PUBLISHED = counter("warmdesk_events_published_total", "Events that changes recorded here.")
BUS_DROPPED = counter(
    "warmdesk_bus_dropped_total", "Messages that Redis did not take, or that made no sense."
)
REDIS_UP = gauge(
    "warmdesk_redis_up", "1 while a worker hears its own beat, in the worst worker.", across="min"
)
FEED_REPAIRS = counter(
    "warmdesk_feed_repairs_total",
    "Reads of a feed that made good what the bus did not bring.",
    cause=("gap", "check", "resume", "slow", "failed"),
)
DELIVERY_FAILED = counter(
    "warmdesk_delivery_failed_total",
    "Events whose delivery failed by a fault of the server; none is lost, all are read again.",
)
EVENT_DELIVERY = histogram(
    "warmdesk_event_delivery_seconds",
    "Time from an event's ts, PostgreSQL's clock, until a room's sockets had it.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
COMMIT_UNKNOWN = counter(
    "warmdesk_commit_unknown_total",
    "Changes answered without knowing whether they were committed.",
)
DELIVERY_GAP = counter(
    "warmdesk_delivery_gap_total", "Times a feed no longer held what a room had to deliver."
)
EPOCH_CHANGES = counter("warmdesk_epoch_changes_total", "Times history was found to be another.")
RESUMES = counter(
    "warmdesk_resume_total", "Sockets that asked for what they missed.", result=("replay", "reset")
)
PRESENCE_CORRECTIONS = counter(
    "warmdesk_presence_corrections_total", "Users found gone by comparing with the leases."
)
REVOCATIONS = counter(
    "warmdesk_revocations_total",
    "Open sockets closed because a right was gone.",
    cause=("user", "session", "key", "project"),
)
REVOCATION_SECONDS = histogram(
    "warmdesk_revocation_seconds",
    "Time from the change that took a right until an open socket was closed for it.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
WS_CONNECTIONS = gauge("warmdesk_ws_connections", "Open sockets.", kind=("project", "user"))
WS_MESSAGES = counter(
    "warmdesk_ws_messages_total",
    "Messages that clients sent, and events that were delivered live, by type.",
    direction=("in", "out"),
    type=(),
)
WS_DROPPED = counter(
    "warmdesk_ws_dropped_total",
    "Messages thrown away: what clients sent wrongly or too fast, signals to slow readers.",
    reason=("flood", "inbox_full", "malformed", "slow_reader"),
)
WS_CLOSED = counter(
    "warmdesk_ws_closed_total",
    "Sockets closed, by code; 1005 and 1006 as in RFC 6455.",
    code=tuple(
        str(code)
        for code in (
            *(1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 1013),
            *(4400, 4401, 4403, 4404, 4408, 4409, 4429, 4431),
        )
    ),
)
WS_BUFFER_BYTES = gauge("warmdesk_ws_buffer_bytes", "Bytes that wait for slow readers.")
DB_RETRIES = counter(
    "warmdesk_db_retries_total",
    "Changes tried again, by SQLSTATE.",
    state=("40P01", "40001", "55P03", "0A000"),
)
