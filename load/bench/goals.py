"""How fast is fast enough: every scenario's bounds, as ratios to a peer in the same run.

A figure is named once, by the scenario that measures it, for instance ``quiet µs``. A bound
compares our figure with that of each peer it names, and the worst counts; without peers the figure
itself is bounded. A peer that could not run here makes a bound "not measured", never "held".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "WarmDesk"
PYTHON = ("naive aiohttp", "Starlette", "python-socketio", "Channels")
NODE = ("ws", "socket.io")
NOT_MEASURED, HOLDS, MISSED = "not measured", "holds", "missed"

Figures = Mapping[str, Mapping[str, float]]
"""What was measured: figure → whose → value."""


@dataclass(frozen=True)
class Bound:
    """At most (or at least) so many times each of these peers' figure; without peers, so much.

    `stretch`: nobody has shown that it can be reached.
    """

    figure: str
    limit: float
    peers: tuple[str, ...] = ()
    at_least: bool = False
    stretch: bool = False

    def judge(self, figures: Figures) -> tuple[float | None, str, str]:
        """The worst ratio, the peer it belongs to, and the verdict."""
        measured = figures.get(self.figure, {})
        ours = measured.get(OURS)
        if ours is None:
            return None, "", NOT_MEASURED
        if not self.peers:
            return ours, "", HOLDS if self.fits(ours) else MISSED
        ratios = {peer: ours / measured[peer] for peer in self.peers if measured.get(peer, 0.0) > 0}
        if not ratios:
            return None, "", NOT_MEASURED
        worst = (min if self.at_least else max)(ratios, key=lambda peer: ratios[peer])
        if not self.fits(ratios[worst]):
            return ratios[worst], worst, MISSED
        return ratios[worst], worst, HOLDS if len(ratios) == len(self.peers) else NOT_MEASURED

    def fits(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def part(self, value: float) -> float:
        """How much of the bound is used: at most 1 when it holds."""
        return self.limit / value if self.at_least and value else value / (self.limit or 1.0)

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        against = " or ".join(self.peers) if len(self.peers) < 3 else "every Python and Node peer"
        times = f" × {against}" if self.peers else ""
        return f"{self.figure} {sign} {self.limit:g}{times}"


@dataclass(frozen=True)
class Goal:
    """One scenario's goal, by its number."""

    number: int
    scenario: str
    what: str
    bounds: tuple[Bound, ...]


FLOOR = ("floor",)
NCHAN = ("nchan",)
NAIVE = ("naive aiohttp",)
ORM = ("FastAPI + ORM",)
RAW = ("FastAPI + asyncpg",)
PGBENCH = ("pgbench",)

GOALS = (
    Goal(
        1,
        "fanout",
        "an event to many viewers, CPU of each delivery",
        (
            Bound("each delivery µs", 1.6, FLOOR),
            Bound("each delivery µs", 1.1, NCHAN),
            Bound("each delivery µs", 0.8, PYTHON + NODE),
            Bound("quiet µs", 1.6, FLOOR),
            Bound("quiet µs", 1.1, NCHAN),
            Bound("quiet µs", 0.8, PYTHON + NODE),
            Bound("5k µs", 1.6, FLOOR),
            Bound("5k µs", 1.1, NCHAN),
            Bound("5k µs", 0.8, ("naive aiohttp", "Starlette", *NODE)),
        ),
    ),
    Goal(
        2,
        "burst",
        "200 events at once to 1,000 viewers, CPU of each delivery",
        (
            Bound("burst µs", 1.0, FLOOR),
            Bound("burst µs", 1.25, NCHAN),
            Bound("burst µs", 0.45, NAIVE),
        ),
    ),
    Goal(
        3,
        "latency",
        "from before the request until the viewer has it",
        (
            Bound("quiet p99 ms", 2.0, NCHAN),
            Bound("5k p99 ms", 1.2, NCHAN),
            Bound("5k p99 ms", 0.75, ("naive aiohttp", "Starlette")),
            Bound("p99 while 200 cards/s are written / quiet", 1.5, stretch=True),
        ),
    ),
    Goal(
        4,
        "memory",
        "memory of an idle viewer, as a slope",
        (
            Bound("idle KiB", 2.5),
            Bound("idle KiB", 0.25, NCHAN),
            Bound("idle KiB", 2.0, stretch=True),
        ),
    ),
    Goal(
        5,
        "connect",
        "a handshake with auth, membership, hello and presence, against a bare one",
        (Bound("connect µs", 1.2, NAIVE), Bound("connect µs", 0.5, NAIVE, stretch=True)),
    ),
    Goal(
        6,
        "storm",
        "2,000 sockets come back, each 5 events behind, against a bare reconnect",
        (Bound("storm µs", 1.0, NAIVE), Bound("storm statements", 20)),
    ),
    Goal(
        7,
        "presence",
        "500 and 2,000 users arrive at once",
        (
            Bound("frames a user, changes only", 10),
            Bound("frames a user, 2,000 / 500 users", 1.3),
            Bound("presence ms, changes only", 0.1, ("a frame for each join",)),
            Bound("writes a user", 10),
            Bound("presence ms", 0.3, ("a frame for each join",), stretch=True),
        ),
    ),
    Goal(
        8,
        "slow",
        "5 of 200 viewers stop reading, 12 KB × 100/s",
        (
            Bound("others' µs / without slow ones", 1.1),
            Bound("others' p99 / without slow ones", 1.1),
            Bound("MiB a slow viewer", 1.0),
            Bound("slow viewers whole and in order", 1.0, at_least=True),
        ),
    ),
    Goal(
        9,
        "chat",
        "chat POST, one connection",
        (
            Bound("chat 1 µs", 0.15, ORM),
            Bound("chat 1 µs", 0.65, RAW),
            Bound("chat 1 rate", 0.4, PGBENCH, at_least=True),
        ),
    ),
    Goal(
        10,
        "hot_chat",
        "chat POST, 32 connections, one channel",
        (
            Bound("chat 32 rate", 4.0, PGBENCH, at_least=True),
            Bound("chat 32 µs", 0.04, ORM),
            Bound("chat 32 PostgreSQL µs", 0.1, PGBENCH),
            Bound("chat 32 p99 / FastAPI p50", 1.0),
        ),
    ),
    Goal(
        11,
        "many_chats",
        "chat POST, 100 writers on 100 channels",
        (
            Bound("chat 100 rate", 1.0, PGBENCH, at_least=True),
            Bound("chat 100 PostgreSQL µs", 0.3, PGBENCH),
            Bound("chat 100 µs", 0.04, ORM),
        ),
    ),
    Goal(
        12,
        "changes",
        "card create, update and move: one statement, against the chat POST",
        (
            Bound("statements a change", 1.0),
            Bound("card create / chat", 1.3),
            Bound("card update / chat", 1.3),
            Bound("card move / chat", 1.3),
        ),
    ),
    Goal(
        13,
        "board",
        "a board of 500 cards that has changed",
        (
            Bound("board µs", 0.25, ORM),
            Bound("board Python µs", 0.05, ORM),
        ),
    ),
    Goal(
        14,
        "unchanged",
        "the same board, unchanged",
        (Bound("unchanged µs", 0.02, ORM), Bound("304 µs", 0.015, ORM)),
    ),
    Goal(
        15,
        "request",
        "a request with cached auth that does nothing",
        (Bound("request µs", 1.3, ("bare aiohttp",)),),
    ),
    Goal(
        16,
        "workers",
        "two workers instead of one",
        (
            Bound("CPU of a delivery, 2 / 1 workers", 1.15),
            Bound("KiB of a viewer, 2 / 1 workers", 1.1),
            Bound("burst rate, 2 / 1 workers", 1.7, at_least=True),
            Bound("PUBLISH an event", 1.0),
        ),
    ),
    Goal(17, "idle", "10,000 idle viewers", (Bound("% of a core", 1.0, stretch=True),)),
    Goal(
        18,
        "growth",
        "cost grows with the work, not faster",
        tuple(
            Bound(figure, 1.3)
            for figure in (
                "each further viewer, 10,000 / 1,000",
                "each further card, 5,000 / 500",
                "a message written, 1,000,000 / 10",
                "a message page read, 1,000,000 / 10",
                "an event, viewers in 1,000 / 10 projects",
                "a delivery, 4 / 1 workers",
            )
        ),
    ),
    Goal(
        19,
        "comments",
        "comment, step, reply and direct message, against the chat POST",
        (
            Bound("comment / chat", 1.3),
            Bound("tick / chat", 1.3),
            Bound("reply / chat", 1.3),
            Bound("direct message / chat", 1.3),
        ),
    ),
    Goal(
        20,
        "conversations",
        "100 of 1,000 people write in conversations of two",
        (Bound("dm 100 / chat", 1.3),),
    ),
    Goal(
        21,
        "uploads",
        "events on a board where ten people upload files of 25 MB",
        (
            Bound("p99 beside ten uploads / without", 3.0),
            Bound("MiB more beside ten uploads", 32.0),
        ),
    ),
    Goal(
        22,
        "search",
        "words among 50,000 cards, against a page of the list",
        (
            Bound("search, a common word / card list", 3.0, stretch=True),
            Bound("search, a rare word / card list", 3.0),
            Bound("search, a part of a word / card list", 3.0),
        ),
    ),
    Goal(
        23,
        "streams",
        "events to 1,000 viewers by stream, against sockets",
        (
            Bound("a delivery, stream / socket", 1.5),
            Bound("a delivery in a burst, stream / socket", 1.5),
        ),
    ),
    Goal(
        24,
        "backup",
        "a backup and a restore, against PostgreSQL's own programs",
        (
            Bound("backup seconds", 1 / 0.6, ("pg_dump -Fc -Z1",)),
            Bound("restore seconds", 1 / 0.6, ("pg_restore -1",)),
            Bound("backup MiB of memory", 64.0),
        ),
    ),
    Goal(
        25,
        "mail",
        "mails that wait, against a program that only sends; a mail server that hangs",
        (
            Bound("mails a second, 50 ms a mail", 0.8, ("aiosmtplib",), at_least=True),
            Bound("connections that a hung mail server holds", 0.0),
        ),
    ),
    Goal(
        26,
        "reports",
        "events on a board beside reports of a year with 200,000 entries",
        tuple(
            bound
            for kind in ("JSON", "CSV", "XLSX", "PDF")
            for bound in (
                Bound(f"p99 beside {kind} reports / without", 1.2),
                Bound(f"MiB more beside {kind} reports", 16.0),
            )
        ),
    ),
    Goal(
        27,
        "browser",
        "the page in a browser: soon there, calm in a storm, back after faults",
        (
            Bound("500 cards: usable s", 0.8),
            Bound("500 cards: usable s, slow processor", 1.6),
            Bound("500 cards: usable s, thin line", 2.0),
            Bound("5,000 cards: usable s", 1.0),
            Bound("5,000 cards: usable s, slow processor", 2.0),
            Bound("5,000 cards: nodes", 15_000),
            Bound("5,000 cards: heap MB", 20),
            Bound("a move, 500 cards: ms until it is laid out", 3),
            Bound("a move, 500 cards: components", 3),
            Bound("a move, 5,000 cards: ms until it is laid out", 3),
            Bound("storm out of sight: longest task ms", 50),
            Bound("storm out of sight: frames/s", 50, at_least=True),
            Bound("storm out of sight: % of a core", 60),
            Bound("storm out of sight: the board is the server's at the end", 1, at_least=True),
            Bound("storm in sight: longest task ms", 100),
            Bound("storm in sight: paints/s", 10, at_least=True),
            Bound("storm in sight: key answered ms", 100),
            Bound("storm in sight: the board is the server's at the end", 1, at_least=True),
            Bound("50 events/s in sight: frames/s", 55, at_least=True),
            Bound("very many: heap, after / before", 1.2),
            Bound("very many: elements, after / before", 1.02),
            Bound("very many: the board is the server's at the end", 1, at_least=True),
            Bound("both workers killed: live again s", 1),
            Bound("line cut for 10 s: live again s", 2),
            Bound("drag: ghost painted p95 ms", 34),
            Bound("drag: ghost painted p95 ms, slow processor", 100),
            Bound("drag: CPU ms a move", 10),
            Bound("scrolling 500 cards: longest task ms", 50),
            Bound("chat: rows in the page", 400),
            Bound("chat: ms until a message is laid out", 3),
            Bound("chat: px moved while reading back", 1),
        ),
    ),
)
