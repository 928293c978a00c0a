"""What things cost, in counts: statements, system calls, frames, messages on the bus, bytes.

A time has noise and a count has none, so these hold on a busy machine too. PostgreSQL tells its
statements by its own log, Linux the writes of a process by ``/proc/PID/io``, Valkey its commands by
MONITOR; the servers are real processes where their writes or bytes are counted.
"""

from __future__ import annotations

import asyncio
import random
import re
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import redis.asyncio

from tests.conftest import Board, Servers, until
from tests.journeys.conftest import Process, Start
from tests.journeys.running import SECRETS
from tests.journeys.test_storm_of_sockets import MEMBERS, PEOPLE
from tests.journeys.viewers import KEY
from tests.person import Person
from tests.realtime.raw import all_frames
from tests.samples import make_each
from warmdesk import app
from warmdesk.auth.tokens import AccessTokens
from warmdesk.db.heads import with_head
from warmdesk.db.queries import sql
from warmdesk.mail.letters import FAREWELL
from warmdesk.realtime.frames import TEXT
from warmdesk.realtime.presence import WINDOW_SECONDS
from warmdesk.sealing import MARK, Sealing

VIEWERS = 200
AT_ONCE = 50
BURST = 200
MISSED = 5
SECRET = SECRETS["WARMDESK_JWT_SECRET"]
OPEN_SECONDS = 20.0

LOGGED = re.compile(r"\[\d+\] LOG:  (?:execute [^:]*|statement): (.*(?:\n\t.*)*)")
NAMES = {
    " ".join(text.split()): query.name
    for query in sql
    for text in (query.statement, with_head(query.statement, len(query.names)))
}
BACKGROUND = {
    "feeds.heads": 1.0,
    "health.newest_migration": 2.0,
    "cards.make_grams": 5.0,
    "search.make_talk_grams": 5.0,
    "mail.forget_wishes": 5.0,
    "reminders.begin": 15.0,
    "sockets.refused": 30.0,
    "reminders.due": 60.0,
    "settings.all": 60.0,
    "outgoing.waiting": 30.0,
}
"""What each process asks by itself, once in so many seconds."""
OF_ASYNCPG = ("with recursive typeinfo_tree(", "select current_setting('jit')")


class Journal:
    """The statements of a test's database, by PostgreSQL's own log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self.clear()

    def clear(self) -> None:
        """Begin to count anew."""
        self._read = self._log.stat().st_size

    def told(self) -> Counter[str]:
        """The statements since then by their names in sql/queries; others by what they say."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            said = log.read().decode(errors="replace")
        texts = (" ".join(text.split()) for text in LOGGED.findall(said))
        return Counter(NAMES.get(text.rstrip(";"), text[:60].lower()) for text in texts)

    def asked_for(self) -> Counter[str]:
        """The same without what processes ask by themselves."""
        return Counter({name: n for name, n in self.told().items() if name not in BACKGROUND})


@pytest.fixture
async def database_url(database_url: str, keeper: Any) -> str:
    """The test's database, whose statements are written down from the next connection on."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    await keeper.execute(f"alter database {name} set log_statement = 'all'")
    return database_url


@pytest.fixture
def journal(servers: Servers, database_url: str) -> Journal:
    return Journal(servers.postgres.base / "postgres.log")


class Seat(asyncio.Protocol):
    """A viewer's socket. It keeps every byte that it was told."""

    def __init__(self) -> None:
        self.told = bytearray()
        self.head = b""
        self.answered = asyncio.Event()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.answered.set()

    def data_received(self, data: bytes) -> None:
        self.told += data
        if not self.answered.is_set():
            head, found, rest = bytes(self.told).partition(b"\r\n\r\n")
            if found and (rest or b" 101 " not in head):
                self.head, self.told = head, bytearray(rest)
                self.answered.set()

    def frames(self) -> list[Any]:
        """All frames so far, decoded."""
        return [orjson.loads(body) for kind, body in all_frames(bytes(self.told)) if kind == TEXT]

    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.frames() if "seq" in frame]

    @classmethod
    async def take(cls, url: str, place: str, token: str) -> Seat:
        """Open a socket; whoever is told that too many come at once tries again, as clients do."""
        host, _, port = url.removeprefix("http://").partition(":")
        loop = asyncio.get_running_loop()
        request = (
            f"GET /api/v1/ws/{place} HTTP/1.1\r\nHost: desk\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        async with asyncio.timeout(OPEN_SECONDS):
            while True:
                transport, seat = await loop.create_connection(cls, host, int(port))
                transport.write(request)
                await seat.answered.wait()
                if b" 101 " in seat.head:
                    return seat
                transport.abort()
                assert b" 503 " in seat.head, seat.head
                await asyncio.sleep(random.uniform(0.1, 0.5))

    def leave(self) -> None:
        self.transport.abort()


@asynccontextmanager
async def seated(url: str, place: str, tokens: list[str]) -> AsyncIterator[list[Seat]]:
    """Everybody comes at once; in the end everybody is gone."""
    seats = await asyncio.gather(*(Seat.take(url, place, token) for token in tokens))
    try:
        yield seats
    finally:
        for seat in seats:
            seat.leave()


class Company:
    """A project, its members with their access tokens, and one of them who writes."""

    def __init__(self, url: str, board: dict[str, Any], tokens: list[str]) -> None:
        self.url, self.board, self.tokens = url, board, tokens
        self.slug = board["slug"]
        self.api = f"{url}/api/v1/projects/{self.slug}"
        headers = {"Authorization": f"Bearer {tokens[0]}"}
        connector = aiohttp.TCPConnector(limit=0)
        self.http = aiohttp.ClientSession(headers=headers, connector=connector)

    async def ask(self, method: str, path: str = "", body: Any = None) -> Any:
        async with self.http.request(method, f"{self.api}{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def say(self, body: str) -> Any:
        return await self.ask("POST", "/chat/messages", {"body": body})

    async def warm(self) -> None:
        """As many connections as a burst needs, and a server that knows whoever writes."""
        await asyncio.gather(*(self.ask("GET", "/columns") for _ in range(BURST)))
        await asyncio.gather(*(self.say(f"before {n}") for n in range(20)))

    async def all_look(self, url: str) -> None:
        """Everybody fetches something at a server, which then knows their sessions and roles."""
        for token in self.tokens:
            headers = {"Authorization": f"Bearer {token}"}
            address = f"{url}/api/v1/projects/{self.slug}/columns"
            async with self.http.get(address, headers=headers) as answer:
                assert answer.status == 200


@asynccontextmanager
async def gathered(process: Process, dsn: str, people: int = VIEWERS) -> AsyncIterator[Company]:
    """So many people on a project, made at this server."""
    async with companies(process, dsn, people, 1) as (company,):
        yield company


@asynccontextmanager
async def companies(
    process: Process, dsn: str, people: int, projects: int
) -> AsyncIterator[list[Company]]:
    issue = AccessTokens(SECRET, ttl=3600).issue
    connection = await asyncpg.connect(dsn)
    made: list[Company] = []
    try:
        rows = await connection.fetch(PEOPLE, people * projects)
        for number in range(projects):
            here = rows[number * people :][:people]
            tokens = [issue(row["user_id"], row["id"]) for row in here]
            headers = {"Authorization": f"Bearer {tokens[0]}"}
            address, body = f"{process.url}/api/v1/projects", {"name": f"Crowd {number}"}
            async with aiohttp.request("POST", address, json=body, headers=headers) as answer:
                assert answer.status == 201
                slug = (await answer.json())["slug"]
            async with aiohttp.request("GET", f"{address}/{slug}", headers=headers) as answer:
                board = await answer.json()
            members = [(board["id"], row["user_id"]) for row in here[1:]]
            await connection.executemany(MEMBERS, members)
            made.append(Company(process.url, board, tokens))
        yield made
    finally:
        for company in made:
            await company.http.close()
        await connection.close()


def writes(process: Process) -> int:
    """Write calls of a server with one worker, so far."""
    (worker,) = process.workers()
    said = Path(f"/proc/{worker}/io").read_text()
    return int(re.findall(r"syscw: (\d+)", said)[0])


def has(seats: list[Seat], seq: int) -> bool:
    """Whether everybody was told this event; events come in order, so all before it too."""
    mark = b'"seq":%d,"ts":' % seq
    return all(mark in seat.told for seat in seats)


# Writing


async def test_a_burst_is_few_statements_and_few_writes(
    journal: Journal, start: Start, database_url: str
) -> None:
    """Messages that wait go together, and those that arrive together are one write a viewer."""
    there, here = await asyncio.gather(start(workers=1), start(workers=1))
    async with gathered(there, database_url) as company:
        await company.warm()
        head = (await company.ask("GET"))["seq"]
        async with seated(here.url, f"{company.slug}?presence=changed", company.tokens) as seats:
            await asyncio.sleep(3 * WINDOW_SECONDS)
            journal.clear()
            before = writes(here)
            await asyncio.gather(*(company.say(f"burst {n}") for n in range(BURST)))
            await until(lambda: has(seats, head + BURST), limit=20)
            written = (writes(here) - before) / VIEWERS
            groups = journal.asked_for()
            for seat in seats:
                assert seat.seqs() == list(range(head + 1, head + BURST + 1))
    print(f"{groups} for {BURST} messages, {written:.1f} writes a viewer")
    assert 0 < groups["chat.send"] <= groups.total() <= BURST / 4
    # A group is one pipeline on the bus, of about 90 KB, which may arrive in some pieces.
    assert written <= 3 * groups["chat.send"] + 3
    assert written <= BURST / 4


async def test_a_change_is_one_statement(journal: Journal, board: Board, alice: Person) -> None:
    """Role, locks, rows, answer and event, all of it."""
    said = f"{board.path}/chat/messages"
    card = await board.card()
    path = f"{board.path}/cards/{card['id']}"
    topics, tickets = f"{board.path}/topics", f"{board.path}/ticket"
    replies = f"{topics}/{(await alice.post(topics, {'title': 'warm'}))['id']}/replies"
    await alice.post(said, {"body": "warm"})
    await alice.post(said, {"body": "warm"}, key="warm")
    here = (await alice.post("/conversations", {"user_ids": [4]}))["id"]
    written = f"/conversations/{here}/messages"
    changes: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("chat.send_alone", lambda: alice.post(said, {"body": "one"})),
        ("chat.send", lambda: alice.post(said, {"body": "again"}, key="a-key")),
        ("conversations.send_alone", lambda: alice.post(written, {"body": "one"})),
        ("conversations.send", lambda: alice.post(written, {"body": "again"}, key="b-key")),
        ("topics.create", lambda: alice.post(topics, {"title": "What first?"})),
        ("replies.create", lambda: alice.post(replies, {"body": "The door."})),
        ("cards.create", lambda: board.card("Paint it", description="green")),
        ("cards.create", lambda: alice.post(tickets, {"title": "A", "column_name": "Done"})),
        (
            "tickets.update",
            lambda: alice.patch(f"{tickets}/{card['key']}", {"comment": "A", "closed": True}),
        ),
        ("cards.update", lambda: alice.put(path, {"title": "Mend it", "assignee_ids": []})),
        ("cards.move", lambda: alice.patch(f"{path}/move", {"column_id": board.done, "index": 0})),
        ("cards.move", lambda: alice.patch(f"{path}/reorder", {"index": 0})),
    ]
    for name, change in changes:
        journal.clear()
        await change()
        assert journal.asked_for() == {name: 1}


# Coming back


async def test_who_comes_back_to_a_server_that_knows_them_costs_no_statement(
    journal: Journal, start: Start, database_url: str
) -> None:
    """Two hundred at once, five events behind: the past is in memory, and so are their rights."""
    server = await start(workers=1)
    async with gathered(server, database_url) as company:
        async with seated(server.url, company.slug, company.tokens):
            await asyncio.sleep(2 * WINDOW_SECONDS)
        told, took = await _come_back(journal, company, server)
    asked = _without_background(told, took)
    print(f"{told} in {took:.1f} s")
    assert asked.total() <= 20, told


async def test_who_comes_back_to_another_server_shares_what_has_to_be_looked_up(
    journal: Journal, start: Start, database_url: str
) -> None:
    """Nothing is remembered: sessions and memberships are read for all who ask in one moment."""
    there, here = await asyncio.gather(start(workers=1), start(workers=1))
    async with gathered(there, database_url) as company:
        told, took = await _come_back(journal, company, here)
    asked = _without_background(told, took)
    print(f"{told} in {took:.1f} s")
    assert 1 <= asked["auth.session_holders"] <= VIEWERS / 8, told
    assert 1 <= asked["access.projects_of"] <= VIEWERS / 8, told
    # Names are read for all who ask in one moment too, the past once for the room.
    assert asked["feeds.after"] <= 2, told
    assert asked.total() <= VIEWERS / 2, told


async def _come_back(
    journal: Journal, company: Company, server: Process
) -> tuple[Counter[str], float]:
    """The statements of everybody's return after some events, and how long it took."""
    board = await company.ask("GET")
    for number in range(MISSED):
        await company.say(f"missed {number}")
    place = f"{company.slug}?since={board['seq']}&epoch={board['epoch']}&presence=changed"
    journal.clear()
    began = time.monotonic()
    async with seated(server.url, place, company.tokens) as seats:
        await until(lambda: has(seats, board["seq"] + MISSED), limit=20)
        told, took = journal.told(), time.monotonic() - began
        for seat in seats:
            assert seat.seqs() == [board["seq"] + number for number in range(1, MISSED + 1)]
    return told, took


def _without_background(told: Counter[str], took: float, servers: int = 2) -> Counter[str]:
    """What is left of them without what the servers asked by themselves meanwhile."""
    usual = {name: servers * int(took / every + 1) for name, every in BACKGROUND.items()}
    return told - Counter(usual)


# Presence


async def test_a_storm_of_newcomers_is_few_frames_each(start: Start, database_url: str) -> None:
    """A client that takes `presence.changed` gets one frame in a window, however many come."""
    server = await start(workers=1)
    async with gathered(server, database_url) as company:
        began = time.monotonic()
        async with seated(server.url, f"{company.slug}?presence=changed", company.tokens) as seats:
            await until(lambda: all(_present(seat) for seat in seats), limit=20, every=0.1)
            took = time.monotonic() - began
            frames = sum(len(seat.frames()) for seat in seats) / VIEWERS
    print(f"{frames:.1f} frames each in {took:.1f} s")
    assert frames <= max(10, 3 + took / WINDOW_SECONDS)


async def test_a_storm_of_newcomers_is_few_writes_each(start: Start, database_url: str) -> None:
    """Without it each join is a frame, but those of one window are one write."""
    server = await start(workers=1)
    async with gathered(server, database_url) as company:
        await company.all_look(server.url)
        before, began = writes(server), time.monotonic()
        async with seated(server.url, company.slug, company.tokens) as seats:
            await until(lambda: all(_present(seat) for seat in seats), limit=20, every=0.1)
            took = time.monotonic() - began
            written = (writes(server) - before) / VIEWERS
            frames = sum(len(seat.frames()) for seat in seats) / VIEWERS
    print(f"{frames:.1f} frames and {written:.1f} writes each in {took:.1f} s")
    assert frames > VIEWERS / 4
    assert written <= max(10, 3 + took / WINDOW_SECONDS)


def _present(seat: Seat) -> bool:
    """Whether this one knows that all are here."""
    known: set[int] = set()
    for frame in seat.frames():
        told = frame.get("payload", {})
        if frame["type"] == "presence.join":
            known.add(told["user_id"])
        known |= {user["id"] for user in told.get("users", ()) or told.get("joined", ())}
    return len(known) == VIEWERS


# The bus


async def test_an_event_is_published_once(start: Start, database_url: str, redis_url: str) -> None:
    """However many workers there are, and viewers on each of them."""
    server = await start(workers=2)
    commands: Counter[str] = Counter()
    async with (
        gathered(server, database_url, 40) as company,
        seated(server.url, company.slug, company.tokens) as seats,
        redis.asyncio.from_url(redis_url) as valkey,
    ):
        head = (await company.ask("GET"))["seq"]
        column = company.board["columns"][0]["id"]
        async with valkey.monitor() as monitor:
            for number in range(10):
                await company.say(f"said {number}")
                await company.ask("POST", f"/columns/{column}/cards", {"title": "A card"})
            await until(lambda: has(seats, head + 20), limit=20)
            await valkey.echo("that was all")
            async for command in monitor.listen():
                name, *told = command["command"].split(" ", 2)
                if name.upper() == "ECHO":
                    break
                # A message that is no event has seq 0: a signal, a hint, a process' own beat.
                if "PUBLISH" in name.upper() and not told[-1].startswith("0 "):
                    commands[name.upper()] += 1
    assert commands == {"PUBLISH": 20}


# Bytes

ROOM, ROOMS = 200, 11
VIEWER_BYTES = 1700
"""Measured on CPython 3.11, with the account, the role and the token that belong to a viewer."""


async def test_an_idle_viewer_costs_what_it_always_did(start: Start, database_url: str) -> None:
    """Each of another user, in rooms of two hundred; what the first need stays for all others.

    A single room costs half as much again or as little, for now and then a table doubles, and what
    one room took from the system and does not use, the next one takes. The median does not see
    the first, the slope over all rooms not the second, and both only make it look dearer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = ROOM * ROOMS + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} open files are needed, and {hard} allowed")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    server = await start(workers=1)
    (worker,) = server.workers()
    samples: list[int] = []
    async with (
        companies(server, database_url, ROOM, ROOMS) as crowds,
        AsyncExitStack() as staying,
    ):
        for crowd in crowds:
            place = f"{crowd.slug}?presence=changed"
            for first in range(0, ROOM, AT_ONCE):
                some = crowd.tokens[first : first + AT_ONCE]
                await staying.enter_async_context(seated(server.url, place, some))
            await asyncio.sleep(2.5 * WINDOW_SECONDS)
            samples.append(shared_bytes(worker))
    steps = [(after - before) / ROOM for before, after in pairwise(samples)]
    slope = statistics.linear_regression([ROOM * n for n in range(ROOMS)], samples).slope
    each = min(slope, statistics.median(steps))
    print(f"{each:.0f} bytes a viewer, by room {[round(step) for step in steps]}")
    assert each == pytest.approx(VIEWER_BYTES, rel=0.2)


def shared_bytes(pid: int) -> int:
    """The memory that a process has of its own, and its share of what it began with."""
    said = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(re.findall(r"^Pss_Anon: +(\d+) kB", said, re.MULTILINE)[0])


# Reading

STATEMENTS = {
    "/admin/system-settings": "",
    "/auth/api-keys": "keys.page",
    "/auth/mfa/setup": "mfa.state",
    "/admin/audit": "audit.page",
    "/admin/backups": "",
    "/admin/backups/{filename}": "",
    "/admin/invitations": "invitations.page",
    "/admin/projects": "projects.page",
    "/auth/me": "users.me",
    "/bootstrap": "users.me projects.page conversations.unread",
    "/auth/sessions": "auth.list_sessions",
    "/conversations": "conversations.page",
    "/conversations/{conversation_id}": "conversations.seen",
    "/conversations/{conversation_id}/messages": "conversations.messages",
    "/favorite-users": "people.favorites",
    "/health": "",
    "/mail/unsubscribe": "users.me",
    "/users/me/calendar.ics": "calendars.owner calendars.cards",
    "/invitations/{token}": "invitations.living",
    "/metrics": "metrics.projects metrics.active metrics.columns metrics.cards metrics.users"
    " metrics.tables",
    "/notifications": "notifications.page",
    "/reports/time": "reports.reader begin; reports.begin reports.room reports.within reports.cards"
    " reports.within reports.users reports.within reports.groups commit;",
    "/reports/timesheet": "reports.reader reports.sheet",
    "/time-entries": "time_entries.page",
    "/time-entries/{entry_id}": "time_entries.one",
    "/online-users": "people.near",
    "/projects": "projects.page",
    "/projects/{slug}": "projects.board_mark projects.board",
    "/projects/{slug}/api-keys": "keys.page",
    "/projects/{slug}/activity": "cards.activity",
    "/projects/{slug}/cards": "cards.in_project",
    "/projects/{slug}/cards/deleted": "cards.deleted",
    "/projects/{slug}/cards/{card_id}": "cards.detail",
    "/projects/{slug}/cards/{card_id}/checklist": "checklist.all",
    "/projects/{slug}/cards/{card_id}/comments": "comments.page",
    "/projects/{slug}/cards/{card_id}/history": "cards.history",
    "/projects/{slug}/cards/{card_id}/attachments": "attachments.page",
    "/projects/{slug}/cards/{card_id}/attachments/{attachment_id}": "attachments.of_card",
    "/attachments/{attachment_id}": "attachments.seen",
    "/attachments/{attachment_id}/file": "auth.session_holders attachments.seen",
    "/projects/{slug}/cards/{card_id}/links": "links.page",
    "/projects/{slug}/chat/messages": "chat.page",
    "/projects/{slug}/columns": "columns.all",
    "/projects/{slug}/columns/{column_id}/cards": "cards.in_column",
    "/projects/{slug}/counts": "projects.counts",
    "/projects/{slug}/digest": "projects.digest",
    "/projects/{slug}/events": "feeds.after",
    "/projects/{slug}/invitations": "invitations.page",
    "/projects/{slug}/labels": "labels.all",
    "/projects/{slug}/members": "members.page",
    "/projects/{slug}/outgoing-webhooks": "outgoing.all",
    "/projects/{slug}/outgoing-webhooks/{outgoing_webhook_id}/deliveries": "outgoing.deliveries",
    "/projects/{slug}/presence": "",
    "/projects/{slug}/ticket": "cards.in_project",
    "/projects/{slug}/ticket/{card_id}": "cards.detail",
    "/projects/{slug}/ticket/{card_id}/wait": "tickets.state",
    "/projects/{slug}/webhooks": "webhooks.all",
    "/projects/{slug}/webhooks/{webhook_id}/deliveries": "webhooks.deliveries",
    "/projects/{slug}/topics": "topics.page",
    "/projects/{slug}/topics/{topic_id}": "topics.detail",
    "/projects/{slug}/topics/{topic_id}/replies": "replies.page",
    "/ready": "health.newest_migration",
    "/search": "search.find",
    "/starred-projects": "projects.page",
    "/system/settings": "",
    "/users": "users.list",
    "/users/me": "users.me",
    "/users/me/api-keys": "keys.page",
    "/users/{user_id}/api-keys": "users.is_there keys.page",
    "/users/me/events": "feeds.after",
    "/users/refs": "people.refs",
    "/users/search": "users.search",
    "/users/{user_id}": "users.account",
    "/users/{user_id}/login-history": "users.is_there users.login_history",
    "/users/{user_id}/projects": "members.of_user",
    "/version": "",
}
"""What each path is answered with, when the session and the role are known already."""
QUERIES = {
    "/search": "q=hello",
    "/users/refs": "ids=1",
    "/projects/{slug}/ticket/{card_id}/wait": "column_name=backlog",
}
"""Of those that are not answered without one."""


async def test_a_question_is_as_many_statements_as_it_was(
    journal: Journal, board: Board, root: Person, alice: Person
) -> None:
    card = await board.card()
    await alice.post(f"{board.path}/chat/messages", {"body": "hello"})
    await root.get(f"{board.path}/columns")
    group = await root.post("/conversations", {"user_ids": [alice.id]})
    await root.post(f"/conversations/{group['id']}/messages", {"body": "hello"})
    places = {
        "conversation_id": group["id"],
        "slug": board.slug,
        "column_id": board.backlog,
        "card_id": card["id"],
        "user_id": alice.id,
    }
    invited = await root.post("/admin/invitations", {})
    places["filename"] = (await root.post("/admin/backup", {}))["filename"]
    places["token"] = invited["url"].rpartition("/")[2]
    made = dict(places)
    await make_each(alice, made)
    places = made | places
    paths = {each.path for each in app.resources() if each.method == "GET" and not each.stays}
    assert paths == STATEMENTS.keys()
    for path in sorted(paths):
        query = ""
        if path.endswith("/file"):
            link = await root.post(path.format(**places).replace("/file", "/link"), status=200)
            query = link["url"].partition("?")[2]
        if path == "/mail/unsubscribe":
            sealed = Sealing(SECRETS["WARMDESK_SECRET_KEY"]).seal(str(alice.id), FAREWELL)
            query = f"token={sealed.removeprefix(MARK)}"
        if path == "/users/me/calendar.ics":
            link = await root.post("/users/me/calendar", status=200)
            query = link["url"].partition("?")[2]
        # After what was made above, who asks is looked up again: not by the question itself.
        await root.get(f"{board.path}/columns")
        journal.clear()
        await root.get(f"{path.format(**places)}?{query or QUERIES.get(path, '')}")
        _same(journal, path, STATEMENTS[path])
    journal.clear()
    await root.get(board.path)
    _same(journal, "a board that did not change", "projects.board_mark")


def _same(journal: Journal, path: str, wanted: str) -> None:
    """Exactly these; what a process asks by itself may have come in between, and what asyncpg asks
    once for each connection: what types there are.
    """
    told, expected = journal.told(), Counter(wanted.split())
    assert not expected - told, f"{path}: {dict(told)}"
    others = {each for each in told - expected if not each.startswith(OF_ASYNCPG)}
    assert others <= BACKGROUND.keys(), f"{path}: {dict(told)}"
