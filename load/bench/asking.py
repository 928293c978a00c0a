"""The scenarios of programs that ask by HTTP: chat messages, cards, boards.

WarmDesk, the REST servers it is compared with and pgbench work on databases of the same tables and
rows: people, projects and cards are made in WarmDesk's and copied. All of them run at the same
time, but only one is asked at a time; then all have another round.

CPU is that of every process: the server's, PostgreSQL's and Valkey's. What a figure is called here
is what `goals` bounds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import orjson

from load.bench import wire
from load.bench.asker import HOLE
from load.bench.goals import OURS
from load.bench.measure import Meter, Place, family, free_port
from load.bench.ours import SECRET, Member, Ours
from load.bench.run import Run
from warmdesk.db.migrations import migrate
from warmdesk.realtime.events import ERASING

ROOT = Path(__file__).resolve().parents[2]
ORM, RAW, BARE, PGBENCH = "FastAPI + ORM", "FastAPI + asyncpg", "bare aiohttp", "pgbench"
PROGRAMS = {ORM: "fastapi_orm", RAW: "fastapi_raw", BARE: "bare"}
TABLES = (
    "users",
    "projects",
    "project_members",
    "columns",
    "labels",
    "cards",
    "card_assignees",
    "card_labels",
    "card_tags",
    "feeds",
)
"""Copied in this order, because each refers to those before."""
WORDS = "The printer on the second floor is out of paper again"
SEND = """\
\\set project :base + :client_id * :step
with sent as (
    insert into chat_messages (project_id, user_id, body)
    values (:project::bigint, :author::bigint, '{words} ' || :client_id) returning *
), head as (
    update feeds set seq = seq + 1 where channel = 'project:' || :project::bigint
    returning channel, seq
)
insert into events (channel, seq, type, payload, actor_id, entity, created_at)
select
    head.channel, head.seq, 'chat.message', shape(s::chat_messages, shape(u), null)::text,
    s.user_id, 'message:' || s.id, clock_timestamp()
from sent s cross join head inner join users u on u.id = s.user_id
returning payload;
"""
"""The chat message as one statement: written, numbered, told, answered."""
CARDS = 500
CHANGED = 20
"""Cards that are changed by turns."""
BOARD_READERS = 10
BUSY = 8
"""Connections that keep a server busy: what waits for nobody is not cheap at a leisurely pace."""
SEARCHED = 50_000
FOUND = 50
"""Cards on a page of what is found, and of the list."""
SOUGHT = {
    "a common word": ("printer", 10),
    "a rare word": ("gaskets", 10_000),
    "a part of a word": ("aseboar", 500),
}
"""What is looked for, and in which card of how many it stands."""
STOCK = """
    with said as materialized (
        select array_agg(c || v order by c, v) || '{pri,int,ter,gas,ase,oard}'::text[] as parts
        from unnest(string_to_array('bcdfghjklmnprstvwxyz', null)) c
        cross join unnest('{a,e,i,o,u}'::text[]) v
    ), made as (
        insert into cards (
            project_id, column_id, title, description, position, card_number, created_by_id
        )
        select
            p.id, k.ids[1 + n % cardinality(k.ids)], 'Card ' || n || ' ' || left(w.words, 40),
            w.words
                || case when n % 10 = 0 then ' printer' else '' end
                || case when n % 500 = 0 then ' baseboard' else '' end
                || case when n % 10000 = 0 then ' gaskets' else '' end,
            1000 * n, n, $2::bigint
        from projects p
        cross join lateral (
            select array_agg(c.id order by c.position) as ids from columns c
            where c.project_id = p.id and c.deleted_at is null
        ) k
        cross join generate_series(1, $3::integer) n
        cross join lateral (
            select string_agg(
                s.parts[1 + h % 106] || s.parts[1 + h / 106 % 106] || s.parts[1 + h / 11236 % 106],
                ' '
            ) as words
            from said s, generate_series(1, 30) i, abs(hashint8(n * 100 + i) / 2) h
        ) w
        where p.slug = $1
        returning id, project_id
    ), labelled as (
        insert into card_labels (card_id, label_id)
        select m.id, (select min(b.id) from labels b where b.project_id = m.project_id) from made m
    ), numbered as (
        update projects set card_counter = $3::integer where slug = $1
    )
    insert into card_assignees (card_id, user_id) select m.id, $2::bigint from made m
"""
"""Cards of thirty words, of syllables; some of those stand in what is looked for, too."""
LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*?)(?=\n\d{4}-\d\d-\d\d |\Z)", re.DOTALL)


@dataclass(frozen=True)
class Cost:
    """What so many requests cost: seconds of CPU by whom, seconds by the clock, milliseconds of
    one.
    """

    count: int
    seconds: float
    server: float
    postgres: float
    valkey: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def micros(self) -> float:
        """CPU of all processes for one request, in µs."""
        return (self.server + self.postgres + self.valkey) / self.count * 1e6

    @property
    def server_micros(self) -> float:
        return self.server / self.count * 1e6

    @property
    def postgres_micros(self) -> float:
        return self.postgres / self.count * 1e6


class Program:
    """A server of load/peers that is asked by HTTP."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, place: Place, *arguments: str) -> None:
        self.port = free_port()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"load.peers.{PROGRAMS[self.name]}", str(self.port)),
            *(place.redis_url, *arguments),
            cwd=ROOT,
        )
        for _ in range(600):
            if self._process.returncode is not None:
                raise RuntimeError(f"{self.name} does not start")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise RuntimeError(f"{self.name} does not listen")

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def pids(self) -> list[int]:
        assert self._process is not None
        return family(self._process.pid)


Asked = Ours | Program


@dataclass
class Office:
    """WarmDesk with people and projects in it, and whoever has the same."""

    run: Run
    ours: Ours = field(default_factory=Ours)
    programs: dict[str, Program] = field(default_factory=dict)
    owner: Member = field(init=False)
    writers: list[Member] = field(init=False)
    slugs: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    cards: list[int] = field(default_factory=list)
    pgbench: str = ""

    @property
    def warm(self) -> float:
        return 0.5 if self.run.quick else 1.0

    @property
    def seconds(self) -> float:
        return 1.5 if self.run.quick else 4.0

    def rounds(self) -> Iterator[tuple[str, Asked]]:
        """WarmDesk and each program by turns, for all rounds."""
        for _ in range(self.run.rounds):
            yield OURS, self.ours
            yield from self.programs.items()

    async def ask(
        self, asked: Asked, lines: Sequence[Sequence[bytes]], *expected: int, count: int = 0
    ) -> Cost:
        """Ask for some seconds, or so many requests, and see what that costs."""
        order = {
            "port": asked.port,
            "lines": [[each.decode() for each in line] for line in lines],
            "expected": expected,
            "warm": 0.0 if count else self.warm,
            "seconds": self.seconds,
            "count": count,
        }
        asker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "load.bench.asker"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert asker.stdin is not None
        try:
            asker.stdin.write(json.dumps(order).encode() + b"\n")
            await self._line(asker)
            place = self.run.place
            meters = [
                Meter(asked.pids),
                Meter(lambda: family(place.postgres.pid)),
                Meter(lambda: family(place.valkey.pid)),
            ]
            asker.stdin.write(b"go\n")
            seen = json.loads(await self._line(asker))
            server, postgres, valkey = (meter.seconds() for meter in meters)
        finally:
            if asker.returncode is None:
                asker.stdin.close()
                await asker.wait()
        return Cost(
            seen["count"],
            seen["seconds"],
            server,
            postgres,
            valkey,
            p50_ms=seen["p50_ms"],
            p99_ms=seen["p99_ms"],
        )

    @staticmethod
    async def _line(asker: asyncio.subprocess.Process) -> bytes:
        assert asker.stdout is not None
        assert asker.stderr is not None
        line = await asyncio.wait_for(asker.stdout.readline(), 120)
        if not line:
            raise RuntimeError((await asker.stderr.read()).decode().strip())
        return line

    async def bench(self, clients: int, *, channels: int) -> Cost:
        """The chat message's statement by pgbench: PostgreSQL without anybody before it."""
        place = self.run.place
        dsn = place.dsn(PGBENCH)
        script = place.directory / "send.sql"
        script.write_text(SEND.format(words=WORDS))
        given = {
            "base": self.ids[0],
            "step": int(channels > 1),
            "author": self.writers[0].user_id,
        }
        await self._see_that_ids_follow()
        database = await asyncpg.connect(dsn)
        process = await asyncio.create_subprocess_exec(
            *(self.pgbench, "--no-vacuum", "--protocol=prepared", f"--client={clients}"),
            *(f"--time={int(self.warm + self.seconds) + 10}", f"--file={script}"),
            *(f"--define={name}={value}" for name, value in given.items()),
            *("--host", parse_qs(urlsplit(dsn).query)["host"][0], "--port=5432"),
            *("--username=warmdesk", PGBENCH),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await asyncio.sleep(self.warm)
            sent = await database.fetchval("select sum(seq) from feeds")
            meter, begun = Meter(lambda: family(place.postgres.pid)), _now()
            await asyncio.sleep(self.seconds)
            sent = int(await database.fetchval("select sum(seq) from feeds") - sent)
            seconds, used = _now() - begun, meter.seconds()
            if process.returncode is not None or not sent:
                assert process.stdout is not None
                raise RuntimeError(f"pgbench: {(await process.stdout.read()).decode()}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await database.close()
        return Cost(sent, seconds, 0.0, used, 0.0)

    async def _see_that_ids_follow(self) -> None:
        """pgbench counts its way from project to project."""
        if self.ids != list(range(self.ids[0], self.ids[0] + len(self.ids))):
            raise RuntimeError("other projects were made meanwhile")

    def note(self, name: str, cost: Cost, whose: str = OURS) -> None:
        """Keep what was measured under a figure's name."""
        self.run.add(f"{name} µs", cost.micros, whose)
        self.run.add(f"{name} rate", cost.rate, whose)
        self.run.add(f"{name} PostgreSQL µs", cost.postgres_micros, whose)
        if cost.valkey:
            self.run.add(f"{name} Valkey µs", cost.valkey / cost.count * 1e6, whose)
        if cost.p50_ms:
            self.run.add(f"{name} p50 ms", cost.p50_ms, whose)
            self.run.add(f"{name} p99 ms", cost.p99_ms, whose)

    def chat(self, number: int = 0, writer: int = 0) -> bytes:
        """One writer's message in one project."""
        body = orjson.dumps({"body": f"{WORDS} {HOLE}"})
        path = f"/api/v1/projects/{self.slugs[number]}/chat/messages"
        return wire.request("POST", path, token=self.writers[writer].token, body=body)

    def board(self, head: str = "") -> bytes:
        path = f"/api/v1/projects/{self.slugs[0]}"
        return wire.request("GET", path, token=self.writers[0].token, head=head)


@asynccontextmanager
async def office(
    run: Run,
    *names: str,
    projects: int = 1,
    writers: int = 1,
    cards: int = 0,
    ours: Ours | None = None,
) -> AsyncIterator[Office]:
    """WarmDesk and those of these peers that can run here, with the same rows. `ours`: another
    server than the usual one.
    """
    on = Office(run, ours or Ours())
    async with AsyncExitStack() as closing:
        run.say(f"  {', '.join([OURS, *names])}")
        closing.push_async_callback(on.ours.stop)
        await on.ours.start(run.place)
        on.owner, *on.writers = await on.ours.people(writers + 1)
        for _ in range(projects):
            on.slugs.append(slug := await on.ours.project(on.owner, on.writers))
            # So that its feed is there when PostgreSQL learns what its tables hold.
            hello = orjson.dumps({"body": "Hello"})
            path = f"/projects/{slug}/chat/messages"
            await on.ours.ask("POST", path, on.owner, hello, expected=201)
        if cards:
            on.cards = await on.ours.cards(on.slugs[0], cards, on.writers[0])
        rows = await on.ours.fetch("select id from projects order by id")
        on.ids = [row["id"] for row in rows]
        await on.ours.fetch("analyze")
        for name in names:
            if why := missing(run, name):
                if run.skipped.setdefault(name, why) == why:
                    run.say(f"  {name} is not measured: {why}")
                continue
            if name == PGBENCH:
                await _copy(on.ours, run.place, name)
                on.pgbench = str(shutil.which("pgbench"))
                continue
            on.programs[name] = program = Program(name)
            closing.push_async_callback(program.stop)
            if name == BARE:
                await program.start(run.place)
            else:
                dsn = await _copy(on.ours, run.place, PROGRAMS[name])
                await program.start(run.place, dsn, SECRET)
        yield on


def missing(run: Run, name: str) -> str:
    """Why a peer is not measured, or nothing."""
    if run.only and name not in run.only:
        return "not asked for"
    if name == PGBENCH and shutil.which("pgbench") is None:
        return "pgbench is not installed"
    wanted = {ORM: ("fastapi", "uvicorn", "sqlalchemy"), RAW: ("fastapi", "uvicorn")}
    for package in wanted.get(name, ()):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed; bin/setup bench installs it"
    return ""


async def _copy(ours: Ours, place: Place, name: str) -> str:
    """A database with WarmDesk's tables and the rows that are in its own: its dsn."""
    dsn = await place.database(name)
    await migrate(dsn, erasing=ERASING)
    database = await asyncpg.connect(dsn)
    try:
        for table in TABLES:
            rows = await ours.fetch(f"select * from {table}")
            if rows:
                await database.copy_records_to_table(
                    table, records=rows, columns=list(rows[0].keys())
                )
        await database.execute("analyze")
    finally:
        await database.close()
    return dsn


def _now() -> float:
    return asyncio.get_running_loop().time()


# Chat


async def chat(run: Run) -> None:
    """Goal 9: one connection, a message at a time."""
    async with office(run, ORM, RAW, PGBENCH) as on:
        for name, asked in on.rounds():
            on.note("chat 1", await on.ask(asked, [[on.chat()]], 201), name)
            if name == OURS and on.pgbench:
                on.note("chat 1", await on.bench(1, channels=1), PGBENCH)


async def hot_chat(run: Run) -> None:
    """Goal 10: 32 connections write in one channel."""
    async with office(run, ORM, RAW, PGBENCH, writers=32) as on:
        lines = [[on.chat(writer=writer)] for writer in range(32)]
        last: dict[str, Cost] = {}
        for name, asked in on.rounds():
            last[name] = await on.ask(asked, lines, 201)
            on.note("chat 32", last[name], name)
            if name == OURS and on.pgbench:
                on.note("chat 32", await on.bench(32, channels=1), PGBENCH)
            if len(last) > 1 and len(last) == 1 + len(on.programs):
                usual = min(cost.p50_ms for whose, cost in last.items() if whose != OURS)
                run.add("chat 32 p99 / FastAPI p50", last[OURS].p99_ms / usual)
                last.clear()


async def many_chats(run: Run) -> None:
    """Goal 11: 100 connections, each in a channel of its own."""
    async with office(run, ORM, PGBENCH, projects=100, writers=100) as on:
        lines = [[on.chat(number, number)] for number in range(100)]
        for name, asked in on.rounds():
            on.note("chat 100", await on.ask(asked, lines, 201), name)
            if name == OURS and on.pgbench:
                on.note("chat 100", await on.bench(32, channels=32), PGBENCH)


# Cards


async def changes(run: Run) -> None:
    """Goal 12: cards are created, updated and moved; against a chat message that goes alone."""
    async with office(run, cards=100) as on:
        path = f"/projects/{on.slugs[0]}"
        board = await on.ours.ask("GET", path, on.writers[0], expected=200)
        first, second = (column["id"] for column in board["columns"][:2])
        few = on.cards[:CHANGED]

        def change(method: str, below: str, **body: Any) -> bytes:
            content = orjson.dumps(body)
            token = on.writers[0].token
            return wire.request(method, f"/api/v1{path}{below}", token=token, body=content)

        kinds: dict[str, list[bytes]] = {
            "create": [change("POST", f"/columns/{first}/cards", title=f"Card {HOLE}")],
            "update": [change("PUT", f"/cards/{card}", title=f"Card {HOLE}") for card in few],
            "move": [
                change("PATCH", f"/cards/{card}/move", column_id=column)
                for column in (first, second)
                for card in few
            ],
        }
        statements = [await _statements(on, requests) for requests in kinds.values()]
        run.add("statements a change", max(statements))
        for _ in range(run.rounds):
            message = await on.ask(on.ours, [[on.chat()]], 201)
            on.note("chat alone", message)
            for kind, requests in kinds.items():
                cost = await on.ask(on.ours, [requests], 200, 201)
                on.note(f"card {kind}", cost)
                run.add(f"card {kind} / chat", cost.micros / message.micros)


async def comments(run: Run) -> None:
    """Goal 19: a comment, a step that is ticked, a reply, a direct message; against a chat message
    that goes alone.
    """
    async with office(run, writers=2, cards=100) as on:
        path, (writer, other) = f"/projects/{on.slugs[0]}", on.writers
        few = on.cards[:CHANGED]
        steps = [await _make(on, f"{path}/cards/{card}/checklist", body="A step") for card in few]
        topic = await _make(on, f"{path}/topics", title="Doors")
        here = await _make(on, "/conversations", user_ids=[other.user_id])

        def change(method: str, below: str, **body: Any) -> bytes:
            content = orjson.dumps(body)
            return wire.request(method, f"/api/v1{below}", token=writer.token, body=content)

        text = f"{WORDS} {HOLE}"
        kinds: dict[str, list[bytes]] = {
            "comment": [change("POST", f"{path}/cards/{card}/comments", body=text) for card in few],
            "tick": [
                change("PUT", f"{path}/cards/{card}/checklist/{step}", is_completed=done)
                for done in (True, False)
                for card, step in zip(few, steps, strict=True)
            ],
            "reply": [change("POST", f"{path}/topics/{topic}/replies", body=text)],
            "direct message": [change("POST", f"/conversations/{here}/messages", body=text)],
        }
        for _ in range(run.rounds):
            message = await on.ask(on.ours, [[on.chat()]], 201)
            on.note("chat alone", message)
            for kind, requests in kinds.items():
                cost = await on.ask(on.ours, [requests], 200, 201)
                on.note(kind, cost)
                run.add(f"{kind} / chat", cost.micros / message.micros)


async def conversations(run: Run) -> None:
    """Goal 20: a thousand people in 500 conversations of two, of which a hundred write at once, and
    twenty who all write in one group; against a chat message that goes alone.
    """
    async with office(run, writers=1000) as on:
        pairs = list(zip(on.writers[:500], on.writers[500:], strict=True))
        made = [
            await _make(on, "/conversations", by=one, user_ids=[other.user_id])
            for one, other in pairs
        ]
        few = on.writers[:20]
        others = [each.user_id for each in few[1:]]
        group = await _make(on, "/conversations", by=few[0], user_ids=others)
        body = orjson.dumps({"body": f"{WORDS} {HOLE}"})

        def say(here: int, who: Member) -> list[bytes]:
            path = f"/api/v1/conversations/{here}/messages"
            return [wire.request("POST", path, token=who.token, body=body)]

        kinds = {
            "dm 100": [
                say(here, one) for here, (one, _) in list(zip(made, pairs, strict=True))[:100]
            ],
            "dm group of 20": [say(group, each) for each in few],
        }
        for _ in range(run.rounds):
            message = await on.ask(on.ours, [[on.chat()]], 201)
            on.note("chat alone", message)
            for kind, lines in kinds.items():
                cost = await on.ask(on.ours, lines, 201)
                on.note(kind, cost)
                run.add(f"{kind} / chat", cost.micros / message.micros)


async def search(run: Run) -> None:
    """Goal 22: words among 50,000 cards of a project; against a page of its list."""
    async with office(run) as on:
        slug, reader = on.slugs[0], on.writers[0]
        run.say(f"  {SEARCHED:,} cards")
        await on.ours.fetch(STOCK, slug, reader.user_id, SEARCHED)
        while (await on.ours.fetch("select make_grams(1000, 10000000) as made"))[0]["made"]:
            pass
        await on.ours.fetch("vacuum (analyze)")
        path = f"/projects/{slug}/cards?limit={FOUND}"

        def get(below: str) -> list[list[bytes]]:
            return [[wire.request("GET", f"/api/v1{below}", token=reader.token)]]

        for kind, (word, step) in SOUGHT.items():
            found = await on.ours.ask("GET", f"{path}&q={word}", reader, expected=200)
            if len(found) != min(FOUND, SEARCHED // step):
                raise RuntimeError(f"{kind}: {len(found)} cards")
        for _ in range(run.rounds):
            listed = await on.ask(on.ours, get(path), 200)
            on.note("card list", listed)
            for kind, (word, _) in SOUGHT.items():
                cost = await on.ask(on.ours, get(f"{path}&q={word}"), 200)
                on.note(f"search, {kind}", cost)
                run.add(f"search, {kind} / card list", cost.micros / listed.micros)
                on.note(f"of all, {kind}", await on.ask(on.ours, get(f"/search?q={word}"), 200))


async def _make(on: Office, path: str, *, by: Member | None = None, **body: Any) -> int:
    content = orjson.dumps(body)
    made = await on.ours.ask("POST", path, by or on.writers[0], content, expected=201)
    return int(made["id"])


async def _statements(on: Office, requests: list[bytes]) -> float:
    """The statements of one change, by PostgreSQL's log. What the server asks by itself meanwhile
    has another text than what each change asks.
    """
    count = 50
    path = on.run.place.directory / "postgres.log"
    admin = await asyncpg.connect(on.run.place.postgres.dsn)
    try:
        # A server that has just started makes its connections and statements ready.
        await on.ask(on.ours, [requests], 200, 201, count=20)
        await _set_log(admin, "all")
        size = path.stat().st_size
        await on.ask(on.ours, [requests], 200, 201, count=count)
        await _set_log(admin, "none")
    finally:
        await admin.close()
    texts = Counter(LOGGED.findall(path.read_bytes()[size:].decode(errors="replace")))
    return sum(times for times in texts.values() if times >= count // 2) / count


async def _set_log(admin: Any, what: str) -> None:
    await admin.execute(f"alter system set log_statement = '{what}'")
    await admin.execute("select pg_reload_conf()")
    await asyncio.sleep(0.3)


# Boards


async def board(run: Run) -> None:
    """Goal 13: a board of 500 cards that a chat message has changed. What the message costs by
    itself, measured in the same round, is taken off.
    """
    async with _board_office(run) as on:
        for name, asked in on.rounds():
            if name != OURS:
                cost = await on.ask(asked, [[on.board()]], 200)
                on.note("board", cost, name)
                run.add("board Python µs", cost.server_micros, name)
                continue
            alone = await on.ask(asked, [[on.chat()]], 201)
            both = await on.ask(asked, [[on.chat(), on.board()]], 200, 201)
            run.add("board µs", both.micros * 2 - alone.micros)
            run.add("board Python µs", both.server_micros * 2 - alone.server_micros)
            run.add("board PostgreSQL µs", both.postgres_micros * 2 - alone.postgres_micros)


async def unchanged(run: Run) -> None:
    """Goal 14: the same board to somebody new, and to somebody who has it."""
    async with _board_office(run) as on:
        etag = await _etag(on)
        for name, asked in on.rounds():
            cost = await on.ask(asked, [[on.board()]], 200)
            if name != OURS:
                # It makes the board anew each time.
                run.add("unchanged µs", cost.micros, name)
                run.add("304 µs", cost.micros, name)
                continue
            on.note("unchanged", cost)
            kept = on.board(f"If-None-Match: {etag}\r\n")
            on.note("304", await on.ask(asked, [[kept]], 304))


@asynccontextmanager
async def _board_office(run: Run) -> AsyncIterator[Office]:
    async with office(run, ORM, writers=BOARD_READERS, cards=CARDS) as on:
        if ORM in on.programs:
            await _see_that_boards_agree(on)
        yield on


async def _see_that_boards_agree(on: Office) -> None:
    """The peer answers what WarmDesk answers, to the last value, but for what it has no word for:
    the number of the last event and the epoch.
    """
    boards = []
    for asked in (on.ours, on.programs[ORM]):
        found = await _get(on, asked.port)
        document = await found.json()
        document["seq"] = document["epoch"] = None
        boards.append(document)
    if boards[0] != boards[1]:
        raise RuntimeError(f"{ORM} answers another board: {difference(*boards)}")


def difference(one: Any, other: Any, place: str = "board") -> str:
    """Where two documents differ first, and how."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(one[key], other[key], f"{place}.{key}") for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [
            (mine, theirs, f"{place}[{nth}]")
            for nth, (mine, theirs) in enumerate(zip(one, other, strict=True))
        ]
    else:
        return f"{place}: {str(one)[:300]} and {str(other)[:300]}"
    for mine, theirs, where in pairs:
        if mine != theirs:
            return difference(mine, theirs, where)
    return ""


async def _etag(on: Office) -> str:
    return (await _get(on, on.ours.port)).headers["ETag"]


async def _get(on: Office, port: int) -> aiohttp.ClientResponse:
    """The board's answer, read."""
    url = f"http://127.0.0.1:{port}/api/v1/projects/{on.slugs[0]}"
    head = {"Authorization": f"Bearer {on.writers[0].token}"}
    async with aiohttp.ClientSession(headers=head) as http, http.get(url) as answer:
        answer.raise_for_status()
        await answer.read()
        return answer


# Nothing


async def request(run: Run) -> None:
    """Goal 15: a request that passes the door, with its token and its role, and then does nothing.

    WarmDesk has no address that answers without asking a database, so it is asked for a card that
    no path can name: that is seen, and refused, before anything is asked.
    """
    async with office(run, BARE) as on:
        path = f"/api/v1/projects/{on.slugs[0]}/cards/no_card"
        ours = wire.request("GET", path, token=on.writers[0].token)
        for name, asked in on.rounds():
            if name == OURS:
                on.note("request", await on.ask(asked, [[ours]] * BUSY, 404))
            else:
                bare = wire.request("GET", "/nothing")
                on.note("request", await on.ask(asked, [[bare]] * BUSY, 200), name)


Scenario = Callable[[Run], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {
    "chat": chat,
    "hot_chat": hot_chat,
    "many_chats": many_chats,
    "changes": changes,
    "comments": comments,
    "conversations": conversations,
    "search": search,
    "board": board,
    "unchanged": unchanged,
    "request": request,
}
