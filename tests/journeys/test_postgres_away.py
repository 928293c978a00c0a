"""PostgreSQL restarts, dies, hangs: everybody is told to come back, nobody waits long, nothing that
was answered is lost, and when it is there again so are we.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import pace
from tests.checkers.mirror import Mirror, mirror
from tests.conftest import Board, until
from tests.journeys.conftest import Crowd, OwnPostgres, Process, Start, Visit, furnished
from tests.journeys.proxy import Proxy, in_front_of, through
from tests.person import Person
from warmdesk.client import Answer

AWAY_SECONDS = 1.5
HANGS_SECONDS = 5.5
ANSWERED_WITHIN = 5.0
"""What is promised for every request while PostgreSQL hangs."""
BACK_WITHIN = 3.0
"""From the moment when PostgreSQL takes connections again until everything works."""
HEALTH_WITHIN = 1.0
SLACK = 0.3
"""What this side takes on a busy machine for the same moment."""


@dataclass
class Said:
    """One answer: what was asked, when, the status, and how long it took."""

    what: str
    at: float
    status: int
    took: float
    retry_after: str | None
    body: Any = field(repr=False)


@dataclass
class Asking:
    """Programs without patience: whatever they are told is kept."""

    said: list[Said] = field(default_factory=list, repr=False)

    async def ask(self, what: str, question: Awaitable[Answer]) -> Said:
        at = time.monotonic()
        answer = await question
        told = Said(
            what,
            at,
            answer.status,
            time.monotonic() - at,
            answer.headers.get("Retry-After"),
            answer.body,
        )
        self.said.append(told)
        return told

    async def goes_on(self, answers: int) -> None:
        """Wait until so many more answers came."""
        wanted = len(self.said) + answers
        await until(lambda: len(self.said) >= wanted, limit=10)

    def check(self) -> None:
        """Success, or 503 and when to come back, all in time."""
        for one in self.said:
            assert one.status < 300 or one.status == 503, one
            assert one.took < pace.allows(ANSWERED_WITHIN + SLACK), one
            assert one.status != 503 or int(one.retry_after or 0) >= 1, one

    def refused(self) -> list[Said]:
        return [one for one in self.said if one.status == 503]


@dataclass
class Scene:
    """Two servers at work on a PostgreSQL: who writes, who watches, who asks in between."""

    postgres: OwnPostgres
    fleet: list[Process]
    board: Board
    crowd: Crowd
    mirrors: list[Mirror]
    impatient: list[Person]
    strangers: list[Person]
    """They have tokens that no worker has seen."""
    workers: list[list[int]]
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask_on(self, asking: Asking, over: asyncio.Event) -> None:
        """Changes and reads without patience at both servers, on and on."""

        async def one(person: Person, number: int) -> None:
            while not over.is_set():
                body = {"title": f"impatient {number} {uuid.uuid4().hex}"}
                column = f"{self.board.path}/columns/{self.board.backlog}/cards"
                await asking.ask("change", person.request("POST", column, body))
                await asking.ask("read", person.request("GET", self.board.path))
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(self.impatient):
                group.create_task(one(person, number))

    async def works(self, *, within: float) -> None:
        """A hundred requests at once are answered as always, `within` seconds from now."""
        end = time.monotonic() + within
        people = self.impatient
        while True:
            answers = await asyncio.gather(
                *(
                    people[number % len(people)].request("GET", f"{self.board.path}/columns")
                    if number % 2
                    else people[number % len(people)].request(
                        "POST",
                        f"{self.board.path}/chat/messages",
                        {"body": f"still {uuid.uuid4()}"},
                    )
                    for number in range(100)
                )
            )
            statuses = {answer.status for answer in answers}
            if statuses == {200, 201}:
                return
            assert statuses <= {200, 201, 503}, statuses
            assert time.monotonic() < end, [a.body for a in answers if a.status == 503][:3]
            await asyncio.sleep(0.05)

    async def ends_well(self, *, limit: float = 5.0) -> None:
        """Everybody has everything, on the socket of the beginning, from the same workers."""
        assert [process.workers() for process in self.fleet] == self.workers
        head = (await self.crowd.people[0].get(f"{self.board.path}?include=labels"))["seq"]
        await asyncio.gather(*(one.reaches(head, limit=limit) for one in self.mirrors))
        for one in self.mirrors:
            assert one.socket.connections == 1, f"a socket closed with {one.socket.code}"
            seqs = [frame["seq"] for frame in one.frames if "seq" in frame]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
            assert one.resets == 0


@pytest.fixture
async def network(own_postgres: OwnPostgres) -> AsyncIterator[Proxy]:
    """What lies between the servers and PostgreSQL."""
    async with in_front_of(own_postgres.dsn) as proxy:
        yield proxy


Stage = Callable[..., Any]


@pytest.fixture
async def stage(own_postgres: OwnPostgres, start: Start, visit: Visit) -> Stage:
    """``async with stage(dsn) as scene``: at the end the mirrors and the ledger are compared."""

    @asynccontextmanager
    async def opened(dsn: str = "") -> AsyncIterator[Scene]:
        fleet = await asyncio.gather(
            *(start(database_url=dsn or own_postgres.dsn) for _ in range(2))
        )
        board = await furnished(fleet[0], visit)
        crowd = Crowd(board, [visit(process, "alice") for process in fleet for _ in range(2)])
        for person in crowd.people:
            person.client.token = await board.maker.token()
        async with AsyncExitStack() as stack:
            mirrors = [
                await stack.enter_async_context(mirror(visit(process, name)))
                for process in fleet
                for name in ("olga", "bob")
            ]
            impatient = [visit(process, "alice", patience=0) for process in fleet for _ in range(3)]
            for person in impatient:
                person.client.token = await crowd.people[0].token()
                await person.get("/auth/me")
            strangers = [visit(process, name) for process in fleet for name in ("bob", "olga")]
            for person in strangers:
                await person.token()
                person.client.patience = 0
            workers = [process.workers() for process in fleet]
            scene = Scene(
                own_postgres, list(fleet), board, crowd, mirrors, impatient, strangers, workers
            )
            work = asyncio.create_task(crowd.work_until(scene.over, pause=0.01))
            await crowd.goes_on(20)
            try:
                yield scene
            finally:
                scene.over.set()
                await work
            await scene.ends_well()
        await crowd.check_ledger(visit(fleet[0], "olga"))

    return opened


async def fast_stop(postgres: OwnPostgres) -> None:
    postgres.stop()


async def power_cut(postgres: OwnPostgres) -> None:
    family = postgres.family()
    postgres.signal(signal.SIGKILL)
    await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in family))
    postgres.stop()


async def test_a_postgresql_that_stops_and_one_that_is_killed_lose_nothing_that_was_answered(
    stage: Stage, own_postgres: OwnPostgres
) -> None:
    async with stage() as scene:
        for ends in (fast_stop, power_cut):
            asking, over = Asking(), asyncio.Event()
            asks = asyncio.create_task(scene.ask_on(asking, over))
            await asking.goes_on(20)
            await ends(own_postgres)
            await asyncio.sleep(AWAY_SECONDS)
            assert len(asking.refused()) > 10, "changes are refused, not kept waiting"
            await own_postgres.again()
            back = time.monotonic()
            await scene.works(within=BACK_WITHIN)
            await scene.crowd.goes_on(20)
            over.set()
            await asks
            asking.check()
            late = [one for one in asking.refused() if one.at > back + BACK_WITHIN]
            assert not late, late
            kept = await own_postgres.ask(
                "select array_agg(title) from cards where title like 'impatient%'"
            )
            told = [one for one in asking.said if one.what == "change" and one.status == 201]
            assert {one.body["title"] for one in told} <= set(kept)


COMMITS_SLOWLY = """
    do $do$ begin
        create or replace function dawdle() returns trigger language plpgsql as
            $$ begin perform pg_sleep(0.5); return null; end $$;
        create constraint trigger dawdle after insert on {table}
            deferrable initially deferred for each row execute function dawdle();
    end $do$
"""
IS_AT_ITS_COMMIT = "select exists(select from pg_stat_activity where wait_event = 'PgSleep')"


async def test_who_does_not_know_whether_it_was_done_asks_again_with_the_same_key(
    own_postgres: OwnPostgres, network: Proxy, start: Start, visit: Visit
) -> None:
    """The connection is lost after PostgreSQL has committed, before it could say so."""
    server = await start(database_url=through(network, own_postgres.dsn), workers=1)
    board = await furnished(server, visit)
    alice = visit(server, "alice", patience=0)
    changes = [
        ("cards", "title", f"{board.path}/columns/{board.backlog}/cards"),
        ("chat_messages", "body", f"{board.path}/chat/messages"),
    ]
    async with mirror(visit(server, "bob")) as his:
        for table, name, path in changes:
            key, text = uuid.uuid4().hex, f"once {uuid.uuid4().hex}"
            count = f"select count(*) from {table} where {name} = $1"
            await own_postgres.ask(COMMITS_SLOWLY.format(table=table))
            asked = asyncio.create_task(alice.request("POST", path, {name: text}, key=key))
            await until(partial(own_postgres.ask, IS_AT_ITS_COMMIT))
            network.hold_answers()
            await until(partial(own_postgres.ask, count, text))
            network.cut()
            network.thaw()
            unknown = await asked
            assert (unknown.status, unknown.body["code"]) == (503, "unknown_outcome")
            assert int(unknown.headers["Retry-After"]) >= 1
            again = [await alice.request("POST", path, {name: text}, key=key) for _ in range(3)]
            assert {answer.status for answer in again} == {201}
            assert len({answer.body["id"] for answer in again}) == 1
            assert await own_postgres.ask(count, text) == 1
        head = (await alice.get(board.path))["seq"]
        await his.reaches(head, limit=5)


async def test_a_postgresql_that_hangs_is_a_503_within_five_seconds(
    stage: Stage, own_postgres: OwnPostgres, visit: Visit
) -> None:
    async with stage() as scene:
        await a_hang(
            scene,
            visit,
            begin=lambda: own_postgres.signal(signal.SIGSTOP),
            end=lambda: own_postgres.signal(signal.SIGCONT),
        )


async def test_a_network_that_forgot_its_connections_is_noticed_within_five_seconds(
    own_postgres: OwnPostgres, network: Proxy, stage: Stage, visit: Visit
) -> None:
    """Half-open: what was open takes all and brings nothing, for ever. New connections work."""
    async with stage(through(network, own_postgres.dsn)) as scene:
        await a_hang(scene, visit, begin=network.freeze, end=network.forget)


async def a_hang(
    scene: Scene, visit: Visit, *, begin: Callable[[], Any], end: Callable[[], Any]
) -> None:
    """Everything that can be asked is asked while PostgreSQL says nothing."""
    fleet, board = scene.fleet, scene.board
    # Some are known to the workers; of the others even the token has to be looked up.
    known = [visit(process, "alice", patience=0) for process in fleet for _ in range(15)]
    for person in known:
        person.client.token = scene.impatient[0].client.token
    await asyncio.gather(*(person.get("/auth/me") for person in known))
    asking = Asking()
    try:
        begin()
        unknown, texts = await ask_everything(scene, known, asking)
    finally:
        end()
    back = time.monotonic()
    await scene.works(within=BACK_WITHIN)
    print(f"hung: a hundred at once are answered {time.monotonic() - back:.2f} s after")
    await scene.works(within=0)
    done = await scene.postgres.ask(
        "select (select count(*) from cards where title = any($1))"
        " + (select count(*) from chat_messages where body = any($1))",
        texts,
    )
    assert done <= unknown, f"{done} were done, and of {unknown} it was said that nobody knows"
    for person in scene.strangers:
        await person.get(board.path)
        async with person.socket(board.slug) as wire:
            await wire.next("hello")


async def ask_everything(
    scene: Scene, known: list[Person], asking: Asking
) -> tuple[int, list[str]]:
    """All kinds of requests at once. Gives how many changes were answered with an unknown outcome,
    and the texts of all.
    """
    board = scene.board
    began = time.monotonic()
    questions: list[tuple[str, Awaitable[Answer]]] = []
    change = f"{board.path}/columns/{board.backlog}/cards"
    chat = f"{board.path}/chat/messages"
    texts = [f"hung {uuid.uuid4()}" for _ in range(2 * len(known))]
    for number, person in enumerate(known):
        questions += [
            ("read", person.client.request("GET", board.path)),
            ("change", person.client.request("POST", change, {"title": texts[2 * number]})),
            ("list", person.client.request("GET", "/projects")),
            ("chat", person.client.request("POST", chat, {"body": texts[2 * number + 1]})),
            ("typed", person.client.request("PUT", "/auth/me", {"display_name": "Alice"})),
        ]
    for person in scene.strangers:
        login = {"username": person.username, "password": person.password}
        questions += [
            ("unknown", person.client.request("GET", board.path)),
            ("login", person.client.request("POST", "/auth/login", login)),
            ("socket", open_socket(person, board.slug)),
        ]
    asked = [asyncio.create_task(asking.ask(what, question)) for what, question in questions]
    watch = [asyncio.create_task(health(process, began + HANGS_SECONDS)) for process in scene.fleet]
    await asyncio.gather(*asked)
    late = [
        (max(one.took for one in asking.said if one.what == what), what)
        for what in {one.what for one in asking.said}
    ]
    print(f"\nhung: slowest answers {sorted(late)}")
    asking.check()
    for what in ("change", "chat", "list", "unknown", "login"):
        assert {one.status for one in asking.said if one.what == what} == {503}, what
    await asyncio.gather(*watch)
    unknown = sum(
        isinstance(one.body, dict) and one.body.get("code") == "unknown_outcome"
        for one in asking.said
        if one.what in ("change", "chat")
    )
    return unknown, texts


async def open_socket(person: Person, slug: str) -> Answer:
    """Open a socket; when it is refused, the answer."""
    try:
        async with person.client.session.ws_connect(
            f"{person.client.url}/ws/{slug}", headers=person.client.credentials
        ):
            return Answer(101, {}, None)
    except aiohttp.WSServerHandshakeError as refused:
        return Answer(refused.status, refused.headers or {}, None)


async def health(process: Process, until_when: float) -> None:
    """While PostgreSQL hangs: alive, not ready, both told within a second."""
    base = f"{process.url}/api/v1"
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < until_when:
            for path, status in (("/health", 200), ("/ready", 503)):
                at = time.monotonic()
                async with http.get(base + path) as answer:
                    took = time.monotonic() - at
                    assert answer.status == status, (path, answer.status, await answer.text())
                    assert took < pace.allows(HEALTH_WITHIN + SLACK), (path, took)
            await asyncio.sleep(0.2)
