"""WarmDesk as it is measured: ``warmdesk serve`` as operators start it, with everything on but the
rate limits, and people, projects and cards in it.

People, their sessions and memberships are written as rows, because making them takes longer than
measuring; everything that is measured goes through the server.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from load.bench.measure import Place, family
from load.bench.wire import Wire, opened, request
from tests.journeys.running import PROGRAM, SECRETS, Running, until
from warmdesk.auth.tokens import AccessTokens
from warmdesk.db.migrations import migrate
from warmdesk.realtime.events import ERASING

DAY = 86_400
SECRET = SECRETS["WARMDESK_JWT_SECRET"]
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
CONNECTIONS = 100
"""On which one person says many things at once."""

PEOPLE = """
    with people as (
        insert into users (email, username, password_hash, display_name)
        select 'person' || n || '@example.org', 'person' || n, 'x', 'Person ' || n
        from generate_series($1::integer + 1, $1::integer + $2::integer) as n
        returning id, username
    )
    insert into sessions (user_id, expires_at)
    select id, now() + interval '1 day' from people order by id
    returning user_id, id::text
"""
MEMBERS = """
    insert into project_members (project_id, user_id, role)
    select p.id, m, 'member' from projects p, unnest($2::bigint[]) m where p.slug = $1
    on conflict do nothing
"""
CARDS = """
    select made.answer::json ->> 'id' as id
    from generate_series($3::integer + 1, $3::integer + $4::integer) n,
    lateral (
        select k.id, k.project_id from columns k
        where k.deleted_at is null
            and k.project_id = (select p.id from projects p where p.slug = $1)
        order by k.position offset n % (
            select count(*) from columns k inner join projects p on p.id = k.project_id
            where p.slug = $1 and k.deleted_at is null
        ) limit 1
    ) at,
    lateral (
        select b.id from labels b where b.project_id = at.project_id and b.deleted_at is null
        order by b.id limit 1
    ) label,
    lateral create_card(
        $2::bigint, null, 'member', null, 409, at.project_id, at.id,
        jsonb_build_object(
            'title', 'Card ' || n, 'description', repeat('Words about the card. ', 8),
            'priority', 'medium', 'assignee_ids', jsonb_build_array($2::bigint),
            'label_ids', jsonb_build_array(label.id)
        ), null, null, null, null
    ) made
    order by n
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A user with a session that lives for a day."""

    user_id: int
    token: str


class Ours:
    """A server of its own on a database of its own. `settings` as in config/warmdesk.toml;
    `without` a stand-in for a part of a library, see `without.PARTS`.
    """

    name = "WarmDesk"

    def __init__(self, workers: int = 1, *, without: str = "", **settings: Any) -> None:
        self.without = without
        self.settings = {"workers": workers, **settings}
        self.port = 0
        self._born = 0
        self._cards = 0
        self._running: Running | None = None
        self._database: Any = None
        self._writer: Writer | None = None

    async def start(self, place: Place, database: str = "ours") -> None:
        """Start on a new database; return when it is ready."""
        dsn = await place.database(database)
        await migrate(dsn, erasing=ERASING)
        self._database = await asyncpg.connect(dsn)
        program = (str(Path(__file__).with_name("without.py")), self.without)
        running = Running(
            program=program if self.without else PROGRAM,
            database_url=dsn,
            redis_url=place.redis_url,
            jwt_secret=SECRET,
            secret_key=SECRETS["WARMDESK_SECRET_KEY"],
            **self.settings,
        )
        self._running = await running.__aenter__()
        self.port = int(running.url.rpartition(":")[2])
        await until(running.ready, within=30, what="ready")

    async def stop(self) -> None:
        """Let it finish, as an operator does."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._database is not None:
            await self._database.close()
        if self._running is not None:
            self._running.signal(signal.SIGTERM)
            try:
                await self._running.ended(within=20)
            finally:
                await self._running.__aexit__()
                self._running = None

    @property
    def url(self) -> str:
        assert self._running is not None
        return self._running.url

    @property
    def log(self) -> str:
        assert self._running is not None
        return self._running.log

    def pids(self) -> list[int]:
        """The supervisor and its workers, now."""
        assert self._running is not None
        return family(self._running.process.pid)

    def workers(self) -> list[int]:
        """The workers that serve, now."""
        assert self._running is not None
        return self._running.alive()

    async def people(self, count: int) -> list[Member]:
        """So many new users."""
        tokens = AccessTokens(SECRET, ttl=DAY)
        rows = await self._database.fetch(PEOPLE, self._born, count)
        self._born += count
        return [Member(row[0], tokens.issue(row[0], row[1])) for row in rows]

    async def project(self, owner: Member, members: list[Member], name: str = "Desk") -> str:
        """A new project: its slug."""
        body = orjson.dumps({"name": name})
        made = await self.ask("POST", "/projects", owner, body, expected=201)
        slug = str(made["slug"])
        await self._database.execute(MEMBERS, slug, [member.user_id for member in members])
        return slug

    async def cards(self, slug: str, count: int, member: Member) -> list[int]:
        """So many new cards in the project's columns, by turns: their ids. Each has a description,
        a label and its creator as assignee. They are made by the function that the API calls.
        """
        rows = await self._database.fetch(CARDS, slug, member.user_id, self._cards, count)
        self._cards += count
        return [int(row["id"]) for row in rows]

    async def fetch(self, statement: str, *parameters: Any) -> list[Any]:
        """Ask this server's database, beside the server."""
        rows: list[Any] = await self._database.fetch(statement, *parameters)
        return rows

    async def ask(
        self, method: str, path: str, member: Member, body: bytes | None = None, *, expected: int
    ) -> Any:
        """One request below /api/v1 on a connection of its own: the decoded answer."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        wire = await opened(self.port, lambda _, *said: answer.set_result(said))
        try:
            wire.send(request(method, f"/api/v1{path}", token=member.token, body=body))
            status, content = await asyncio.wait_for(answer, 60)
        finally:
            wire.close()
        if status != expected:
            raise RuntimeError(f"{method} {path}: {status} {content[:500].decode()}")
        return orjson.loads(content) if content else None

    def handshake(self, token: str, slug: str, query: str = "") -> str:
        """The whole head with which a holder of `token` opens a socket."""
        return (
            f"GET /api/v1/ws/{slug}{'?' if query else ''}{query} HTTP/1.1\r\nHost: desk\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )

    async def ready_to_say(self, slug: str, member: Member, connections: int = CONNECTIONS) -> None:
        """Open the connections of `say` and `say_all`: their messages go to this project's chat."""
        if self._writer is not None:
            self._writer.close()
        self._writer = Writer(
            f"POST /api/v1/projects/{slug}/chat/messages HTTP/1.1\r\nHost: desk\r\n"
            f"Authorization: Bearer {member.token}\r\nContent-Type: application/json\r\n"
        )
        await self._writer.open(self.port, connections)

    async def say(self, body: str) -> None:
        """Send one chat message; return with its answer."""
        assert self._writer is not None
        await self._writer.say(body)

    async def say_all(self, bodies: list[str]) -> None:
        """Send chat messages, one on each connection at a time; return with the last answer."""
        await asyncio.gather(*map(self.say, bodies))


class Writer:
    """Sends chat messages over connections that stay open, as many at once as there are. Those
    that the server ended because nobody spoke for a while are opened again.
    """

    def __init__(self, head: str) -> None:
        self._head = head
        self._port = 0
        self._connections = 0
        self._opening = asyncio.Lock()
        self._wires: set[Wire] = set()
        self._free: list[Wire] = []
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._under_way: dict[Wire, asyncio.Future[None]] = {}

    async def open(self, port: int, connections: int) -> None:
        self._port, self._connections = port, connections
        async with self._opening:
            while len(self._wires) < connections:
                wire = await opened(port, self._answered)
                wire.lost = self._lost
                self._wires.add(wire)
                self._free.append(wire)

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    async def say(self, body: str) -> None:
        if len(self._wires) < self._connections:
            await self.open(self._port, self._connections)
        said: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, said))
        if self._free:
            self._send(self._free.pop())
        await asyncio.wait_for(said, 60)

    def _send(self, wire: Wire) -> None:
        body, said = self._waiting.popleft()
        content = orjson.dumps({"body": body})
        self._under_way[wire] = said
        wire.send(f"{self._head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def _answered(self, wire: Wire, status: int, content: bytes) -> None:
        said = self._under_way.pop(wire)
        if said.done():
            pass
        elif status == 201:
            said.set_result(None)
        else:
            said.set_exception(RuntimeError(f"a message: {status} {content[:500].decode()}"))
        if self._waiting:
            self._send(wire)
        else:
            self._free.append(wire)

    def _lost(self, wire: Wire) -> None:
        self._wires.discard(wire)
        said = self._under_way.pop(wire, None)
        if wire in self._free:
            self._free.remove(wire)
        if said is not None and not said.done():
            said.set_exception(RuntimeError("the server ended a writer's connection"))
