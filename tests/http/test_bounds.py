"""What connections hold together: answers that nobody takes, bodies that drip, too many of one
address. Whoever holds too much goes, and is counted; everybody else notices nothing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import aiohttp
import msgspec
import pytest
import trustme
from aiohttp import web

from tests import pace
from tests.conftest import Board, Invite, until
from tests.journeys.crowds import ESTABLISHED, Refused, shake
from tests.person import Person
from tests.rest.test_sockets import make_key
from warmdesk.app import build_app
from warmdesk.config import Settings
from warmdesk.desk import open_desk
from warmdesk.handshake_reader import HandshakeReaders
from warmdesk.http import body as reading
from warmdesk.http import bounds, routing
from warmdesk.http.bounds import Bounds, Readers, counted_as
from warmdesk.http.middleware import RESPONSES
from warmdesk.metrics import HTTP_CUT
from warmdesk.metrics.rows import ROWS
from warmdesk.realtime.socket_buffers import cap

pytestmark = pytest.mark.timeout(60)

LARGE = "/swagger/swagger_ui_static/swagger-ui-standalone-preset.js"
ASK = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % LARGE.encode()
"""More than two hundred kilobytes for whoever asks; nothing of ours, which would grow."""
REFUSED = (
    b"GET /api/v1/ws/user HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: warmdesk, bearer.nonsense\r\n\r\n"
)
"""For a socket, by who is not signed in and offers our sub-protocol."""
KIB = 1 << 10


def cut(reason: str) -> int:
    """So many connections were ended for it so far."""
    return int(ROWS.mine[HTTP_CUT.at(reason=reason).offset])


class Served:
    """The application as a worker serves it, and its insides."""

    def __init__(self, runner: web.AppRunner, readers: HandshakeReaders, port: int) -> None:
        assert runner.server is not None
        self.server, self.handshakes, self.port = runner.server, readers, port
        self.bounds: Bounds = runner.app[RESPONSES].bounds
        self.url = f"http://127.0.0.1:{port}"

    @property
    def readers(self) -> Readers:
        return self.bounds.readers


@asynccontextmanager
async def served(settings: Settings, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    async with open_desk(settings) as desk:
        runner = web.AppRunner(build_app(desk), access_log=None, shutdown_timeout=1)
        await runner.setup()
        readers = HandshakeReaders(runner, capped=True)
        plain = socket.create_server(("127.0.0.1", 0), backlog=1000)
        cap(plain)
        listening = await readers.loop.create_server(readers, sock=plain, ssl=tls)
        try:
            yield Served(runner, readers, plain.getsockname()[1])
        finally:
            listening.close()
            await readers.close()
            readers.bounds.readers.end_all()
            await runner.cleanup()


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Served]:
    async with served(settings) as made:
        yield made


class Line:
    """A connection that takes nothing unless it is told to."""

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain

    @classmethod
    async def to(cls, port: int, sent: bytes = b"") -> Line:
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, ("127.0.0.1", port))
        await loop.sock_sendall(plain, sent)
        return cls(plain)

    @property
    def is_over(self) -> bool:
        """The server has ended it, whatever is still to be read."""
        return self.plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED

    def take(self, size: int) -> int:
        """Take at most so many bytes that are here."""
        try:
            return len(self.plain.recv(size))
        except (BlockingIOError, ConnectionError):
            return 0

    def leave(self) -> None:
        self.plain.close()


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    made: list[Line] = []
    yield made
    for line in made:
        line.leave()


@pytest.fixture
async def token(server: Served, board: Board, person: Invite) -> str:
    """Alice's, for this server."""
    return await person("alice", url=server.url).token()


async def told(line: Line) -> bytes:
    """All that comes until the server ends the connection."""
    loop, said = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10 * pace.stretch()):
        try:
            while more := await loop.sock_recv(line.plain, 1 << 16):
                said += more
        except ConnectionError:
            pass
    return said


# Answers


@pytest.mark.parametrize("way", ["HTTP/1.1", "Connection: close", "HTTP/1.0"])
async def test_who_takes_nothing_of_an_answer_is_ended(
    server: Served, lines: list[Line], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(bounds, "WRITE_TIMEOUT", 1.5)
    asked = ASK * 8
    if way == "Connection: close":
        asked = ASK * 3 + ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    elif way == "HTTP/1.0":
        asked = ASK * 3 + ASK.replace(b"HTTP/1.1", b"HTTP/1.0")
    before = cut("stalled")
    lines += [await Line.to(server.port, asked) for _ in range(20)]
    await until(lambda: len(server.readers.slow) == 20)
    assert server.readers.held > 20 * 10 * KIB

    await until(lambda: all(line.is_over for line in lines), limit=10)
    assert cut("stalled") == before + 20
    assert (server.readers.slow, server.readers.held) == ({}, 0)
    await until(lambda: not server.server.connections)


async def test_who_takes_something_but_never_all_is_ended(
    server: Served, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "WRITE_TIMEOUT", 2.5)
    monkeypatch.setattr(bounds, "DRAIN_SECONDS", 6.0)
    stalled, slow = cut("stalled"), cut("slow")
    line = await Line.to(server.port, ASK * 40)
    lines.append(line)
    taken, loop = 0, asyncio.get_running_loop()
    began = loop.time()
    while not line.is_over and loop.time() - began < 15:
        taken += line.take(1 * KIB)
        await asyncio.sleep(0.1)
    assert line.is_over
    assert (cut("stalled"), cut("slow")) == (stalled, slow + 1)
    assert loop.time() - began > 5.5
    assert taken > 20 * KIB


async def test_requests_behind_an_answer_that_waits_are_not_read(
    server: Served, lines: list[Line]
) -> None:
    large = ASK.replace(b"\r\n\r\n", b"\r\nX-A: %b\r\n\r\n" % (b"a" * 7000))
    line = await Line.to(server.port, ASK * 4)
    lines.append(line)
    await until(lambda: server.readers.slow)
    count = server.server.requests_count
    sent = 0
    for _ in range(200):
        try:
            sent += line.plain.send(large * 20)
        except BlockingIOError:
            await asyncio.sleep(0.01)
    (wire,) = server.server.connections
    held = sum(len(str(message)) for message, _ in wire._messages)
    assert sent > 200 * KIB
    assert server.server.requests_count == count
    assert held < 64 * KIB


async def test_who_reads_at_last_gets_every_answer(server: Served, lines: list[Line]) -> None:
    line = await Line.to(server.port, ASK * 30)
    lines.append(line)
    await until(lambda: server.readers.slow)
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}{LARGE}") as answer:
        size = len(await answer.read())
    told = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20 * pace.stretch()):
        while told.count(b"HTTP/1.1 200 OK\r\n") < 30 or len(told) < 30 * size:
            told += await loop.sock_recv(line.plain, 1 << 20)
    await until(lambda: not server.readers.slow)
    assert server.readers.held == 0
    await loop.sock_sendall(line.plain, b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
    while b"version" not in told[-200:]:
        told += await asyncio.wait_for(loop.sock_recv(line.plain, 1 << 20), 5 * pace.stretch())


async def test_all_waiting_answers_together_have_a_budget(
    server: Served, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "ANSWER_BUDGET", 512 * KIB)
    before = cut("answers")
    most = 0
    for _ in range(60):
        lines.append(await Line.to(server.port, ASK * 8))
        await asyncio.sleep(0.01)
        most = max(most, server.readers.held)
    assert 256 * KIB < most <= 512 * KIB
    ended = [line.is_over for line in lines]
    assert cut("answers") - before == sum(ended) > 20
    # Those who took nothing for longest went first.
    assert all(ended[:5])
    # Each waits with less than a third of the budget.
    assert not any(ended[-2:])
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}{LARGE}") as answer:
        assert len(await answer.read()) > 100 * KIB


async def test_a_crowd_of_ones_own_readers_ends_nobody_elses(
    server: Served,
    lines: list[Line],
    monkeypatch: pytest.MonkeyPatch,
    board: Board,
    alice: Person,
    bob: Person,
) -> None:
    for _ in range(4):
        await board.card(description="x" * 100_000)

    async def asked(person: Person) -> bytes:
        head = f"Host: x\r\nAuthorization: Bearer {await person.token()}\r\n\r\n"
        return f"GET /api/v1/projects/demo HTTP/1.1\r\n{head}".encode()

    monkeypatch.setattr(bounds, "ANSWER_BUDGET", 512 * KIB)
    honest = await Line.to(server.port, await asked(alice))
    lines.append(honest)
    nobody = await Line.to(server.port, ASK * 8)
    lines.append(nobody)
    await until(lambda: len(server.readers.slow) == 2)
    before = cut("answers")
    for _ in range(20):
        lines.append(await Line.to(server.port, await asked(bob)))
        await asyncio.sleep(0.02)
    await until(lambda: cut("answers") - before >= 12)
    assert not honest.is_over
    assert not nobody.is_over
    for line in lines:
        line.plain.close()
    await until(lambda: not server.readers.slow)
    assert server.readers.held == 0
    assert not server.readers.of


async def test_who_takes_his_answers_is_never_waited_for(server: Served) -> None:
    before = [cut(reason) for reason in ("stalled", "slow", "answers")]
    async with aiohttp.ClientSession() as http:

        async def ask() -> None:
            for _ in range(10):
                async with http.get(f"{server.url}{LARGE}") as answer:
                    await answer.read()

        await asyncio.gather(*(ask() for _ in range(10)))
    assert [cut(reason) for reason in ("stalled", "slow", "answers")] == before
    await until(lambda: not server.readers.slow)
    assert server.readers.held == 0


async def test_over_tls_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "WRITE_TIMEOUT", 1.5)
    authority = trustme.CA()
    ours, theirs = (
        ssl.create_default_context(purpose)
        for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH)
    )
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    before = cut("stalled")
    async with served(settings, ours) as server:
        writers = []
        for _ in range(3):
            line = await Line.to(server.port)
            _, writer = await asyncio.open_connection(
                sock=line.plain, ssl=theirs, server_hostname="localhost", limit=1024
            )
            writer.write(ASK * 20)
            writers.append(writer)
        await until(lambda: len(server.readers.slow) == 3)
        await until(lambda: not server.server.connections, limit=10)
        for writer in writers:
            writer.transport.abort()
    assert cut("stalled") == before + 3


@pytest.mark.parametrize("path", ["/openapi.json", "/api/v1/projects/demo"])
async def test_a_lost_reader_leaves_no_answer(
    server: Served,
    lines: list[Line],
    monkeypatch: pytest.MonkeyPatch,
    board: Board,
    alice: Person,
    path: str,
) -> None:
    for _ in range(4):
        await board.card(description="x" * 100_000)
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {await alice.token()}\r\n\r\n"
    asked = head.encode() * 8
    made: list[weakref.ref[web.StreamResponse]] = []
    begin = web.StreamResponse.__init__

    def noted(self: web.StreamResponse, **given: Any) -> None:
        begin(self, **given)
        made.append(weakref.ref(self))

    monkeypatch.setattr(web.StreamResponse, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        lines += [await Line.to(server.port, asked) for _ in range(20)]
        await until(lambda: len(server.readers.slow) == 20)
        for line in lines:
            line.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            line.leave()
        lines.clear()
        await until(lambda: not server.server.connections)
        await asyncio.sleep(0.05)
        assert len(made) >= 20
        assert [one for one in made if one() is not None] == []
        assert server.readers.held == 0
    finally:
        gc.enable()


# Heads


async def test_a_head_has_an_end(server: Served, lines: list[Line]) -> None:
    line = await Line.to(server.port, b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n")
    lines.append(line)
    loop, sent = asyncio.get_running_loop(), 0
    try:
        for number in range(120):
            await loop.sock_sendall(line.plain, b"X-%d: %b\r\n" % (number, b"a" * 7900))
            sent += 7900
            await asyncio.sleep(0.005)
            if line.is_over:
                break
    except ConnectionError:
        pass
    assert sent < 150 * KIB
    await until(lambda: not server.server.connections)


async def test_a_head_that_is_too_long_is_told_so(server: Served, lines: list[Line]) -> None:
    line = await Line.to(server.port, b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n")
    lines.append(line)
    loop = asyncio.get_running_loop()
    for number in range(9):
        await loop.sock_sendall(line.plain, b"X-%d: %b\r\n" % (number, b"a" * 7900))
    said = await told(line)
    assert said.startswith(b"HTTP/1.0 400 ")
    assert b"its head is too long" in said


# Bodies


def dripping(token: str, size: int = 1 << 20) -> bytes:
    lines = (
        "POST /api/v1/projects/demo/chat/messages HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {size}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


async def test_bodies_on_their_way_together_have_a_budget(
    server: Served, lines: list[Line], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(bounds, "BODY_BUDGET", 1 << 20)
    monkeypatch.setattr(reading, "IDLE_SECONDS", 50.0)
    before, bodies, loop = cut("bodies"), server.bounds.bodies, asyncio.get_running_loop()
    for number in range(30):
        line = await Line.to(server.port, dripping(token))
        lines.append(line)
        await loop.sock_sendall(line.plain, b" " * (100 * KIB))

        def came(wanted: int = number + 1 + before) -> bool:
            return len(bodies.coming) + cut("bodies") >= wanted

        await until(came)
        assert bodies.held <= 1 << 20
    await until(lambda: cut("bodies") > before + 15)
    # The oldest went, with a word.
    said = await told(lines[0])
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in said
    assert b"\r\nConnection: close\r\n" in said
    await until(lambda: sum(line.is_over for line in lines) == cut("bodies") - before)
    assert not lines[-1].is_over
    # Whoever is done soon is heard.
    body = b'{"body":"still here"}'
    line = await Line.to(server.port, dripping(token, len(body)) + body[:5])
    lines.append(line)
    await asyncio.sleep(0.05)
    await loop.sock_sendall(line.plain, body[5:])
    assert (await asyncio.wait_for(loop.sock_recv(line.plain, 100), 5 * pace.stretch())).startswith(
        b"HTTP/1.1 201 "
    )
    for line in lines:
        line.leave()
    await until(lambda: not bodies.coming)
    assert bodies.held == 0


async def test_a_crowd_of_ones_own_bodies_cuts_off_nobody_elses(
    server: Served, lines: list[Line], token: str, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "BODY_BUDGET", 1 << 20)
    before, bodies, loop = cut("bodies"), server.bounds.bodies, asyncio.get_running_loop()
    body = b'{"body":"still here"}'
    slow = await Line.to(server.port, dripping(await olga.token(), len(body)))
    lines.append(slow)
    await until(lambda: bodies.coming)
    await loop.sock_sendall(slow.plain, body[:5])
    for _ in range(30):
        line = await Line.to(server.port, dripping(token))
        lines.append(line)
        await loop.sock_sendall(line.plain, b" " * (100 * KIB))
    await until(lambda: cut("bodies") > before + 15)
    await loop.sock_sendall(slow.plain, body[5:])
    assert (await asyncio.wait_for(loop.sock_recv(slow.plain, 100), 5 * pace.stretch())).startswith(
        b"HTTP/1.1 201 "
    )
    for line in lines:
        line.leave()
    await until(lambda: not bodies.coming)
    assert bodies.held == 0
    assert not bodies.of


async def test_a_lost_body_leaves_nothing(
    server: Served, lines: list[Line], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    made: list[weakref.ref[Knot]] = []
    key = web.RequestKey("held", Knot)
    read = reading.read_body

    async def noted(request: web.Request, **given: Any) -> bytes:
        request[key] = held = Knot(tied=False)
        made.append(weakref.ref(held))
        del held
        return await read(request, **given)

    monkeypatch.setattr(routing, "read_body", noted)
    loop = asyncio.get_running_loop()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            lines.append(await Line.to(server.port, dripping(token)))
            await loop.sock_sendall(lines[-1].plain, b" " * (100 * KIB))
        await until(lambda: server.bounds.bodies.held == 20 * 100 * KIB)
        for line in lines:
            line.leave()
        await until(lambda: len(server.server.connections) == 1)  # who signed in
        await asyncio.sleep(0.05)
        assert len(made) == 20
        assert [one for one in made if one() is not None] == []
    finally:
        gc.enable()


# Connections


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is like any other."""
    monkeypatch.setattr(bounds, "HERE", "")


VERSION = b"GET /api/v1/version HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.settings(connections_per_address=5)
async def test_an_address_has_so_many_connections_and_no_more(
    counted: None,
    settings: Settings,
    board: Board,
    person: Invite,
    lines: list[Line],
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    async with served(settings) as server:
        entrance = server.bounds.entrance
        alice, bob = person("alice", url=server.url), person("bob", url=server.url)
        hers, his = await alice.token(), await bob.token()
        await alice.close()
        await bob.close()
        await until(lambda: not entrance.open)
        # Four sockets, and a body on its way.
        socks: list[Any] = [
            await shake(server.url, token, place)
            for token in (hers, his)
            for place in ("demo", "user")
        ]
        lines.append(await Line.to(server.port, dripping(hers)))
        await until(lambda: entrance.of == {"127.0.0.1": 5} and server.bounds.bodies.coming)
        before = cut("address")
        for _ in range(3):
            refused = await Line.to(server.port)
            said = await told(refused)
            refused.leave()
            assert said.startswith(b"HTTP/1.1 503 ")
            head, _, body = said.partition(b"\r\n\r\n")
            assert b"\r\nContent-Length: %d" % len(body) in head
            assert json.loads(body)["code"] == "unavailable"
        assert cut("address") == before + 3
        assert caplog.text.count("connections.refused reason=address address=127.0.0.1") == 1
        for leaving in [*socks, *lines]:
            leaving.leave()
            await until(lambda: entrance.of.get("127.0.0.1", 0) < 5)
            again = await Line.to(server.port, VERSION)
            assert (await loop.sock_recv(again.plain, 100)).startswith(b"HTTP/1.1 200 ")
            again.leave()
        await until(lambda: not entrance.open and not entrance.of and not entrance.callers)


MANY = 1100
"""More connections than an address has."""


async def is_served(server: Served, token: str) -> None:
    """Whoever has the token gets an answer and a socket from where everybody is."""
    line = await Line.to(server.port, VERSION)
    assert (await asyncio.get_running_loop().sock_recv(line.plain, 100))[:13] == b"HTTP/1.1 200 "
    sock = await shake(server.url, token, "demo")
    assert await sock.frame()
    line.leave()
    sock.leave()


async def test_ones_own_many_sockets_keep_nobody_else_out(
    counted: None,
    settings: Settings,
    board: Board,
    person: Invite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(settings) as server:
        entrance = server.bounds.entrance
        alice, bob = person("alice", url=server.url), person("bob", url=server.url)
        hers, his = await alice.token(), await bob.token()
        made = [await alice.post("/projects", {"name": f"Place {n}"}) for n in range(53)]
        await alice.close()
        await bob.close()
        # Of each place no more than one may have of it.
        places = ["user", "demo", *(project["slug"] for project in made)] * 20
        assert len(places) == MANY
        before = cut("sockets")
        socks, refusals = [], []
        for place in places:
            try:
                socks.append(await shake(server.url, hers, place))
            except Refused as refused:
                refusals.append(refused.status)
        assert (len(socks), set(refusals)) == (100, {429})
        assert cut("sockets") == before + MANY - 100
        assert caplog.text.count("connections.refused reason=sockets user_id=") == 1
        await is_served(server, his)
        # Nothing that was open was lost, and one that goes makes room for another.
        socks[0].leave()
        await until(lambda: len(entrance.open) == 99)
        socks[0] = await shake(server.url, hers, "user")
        for sock in socks:
            await sock.frame()
            sock.leave()
        await until(lambda: not entrance.open and not entrance.of and not entrance.callers)


@pytest.mark.settings(sockets_per_person=2)
async def test_sockets_of_a_key_and_of_a_ticket_are_the_persons(
    settings: Settings, board: Board, person: Invite, connection: Any
) -> None:
    async with served(settings) as server:
        alice, bob = person("alice", url=server.url), person("bob", url=server.url)
        me = await alice.get("/users/me")
        await make_key(connection, me["id"], "wd_key")
        ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
        url = f"{server.url}/api/v1/ws"
        async with aiohttp.ClientSession() as http:
            by_ticket = await http.ws_connect(f"{url}/demo?ticket={ticket}")
            by_key = await http.ws_connect(f"{url}/user", headers={"X-API-Key": "wd_key"})
            ticket = (await alice.post("/auth/ws-ticket"))["ticket"]
            third = {
                f"/ws/demo?ticket={ticket}": {},
                "/ws/user": {"X-API-Key": "wd_key"},
                f"/ws/demo?token={await alice.token()}": {},
            }
            for place, headers in third.items():
                # In either way that a handshake is read.
                for more in ({}, {"Content-Length": "0"}):
                    upgrade = {
                        "Upgrade": "websocket",
                        "Connection": "Upgrade",
                        "Sec-WebSocket-Version": "13",
                        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                    }
                    got = await http.get(
                        f"{server.url}/api/v1{place}", headers=upgrade | headers | more
                    )
                    if "ticket" in place and more:
                        assert got.status == 401  # it was used up
                        continue
                    assert got.status == 429
                    assert int(got.headers["Retry-After"]) >= 1
                    policy = '"sockets";q=2;qu="concurrent-requests"'
                    assert got.headers["RateLimit-Policy"] == policy
                    body = await got.json()
                    assert body["code"] == "too_many_sockets"
                    assert "2 sockets" in body["error"]
            his = await http.ws_connect(f"{url}/demo?token={await bob.token()}")
            for sock in (by_ticket, by_key, his):
                assert (await sock.receive_json())["type"] == "hello"
                await sock.close()
        await alice.close()
        await bob.close()


@pytest.mark.settings(sockets_per_person=20)
async def test_sockets_that_come_at_once_are_no_more_than_one_may_have(
    settings: Settings, board: Board, person: Invite
) -> None:
    async with served(settings) as server:
        alice = person("alice", url=server.url)
        token = await alice.token()
        await alice.close()
        came = await asyncio.gather(
            *(shake(server.url, token, place) for place in ["user", "demo"] * 40),
            return_exceptions=True,
        )
        socks = [each for each in came if not isinstance(each, BaseException)]
        assert len(socks) == 20
        assert all(
            isinstance(each, Refused) and each.status == 429
            for each in came
            if isinstance(each, BaseException)
        )
        for sock in socks:
            sock.leave()


async def test_ones_own_idle_connections_keep_nobody_else_out(
    counted: None,
    settings: Settings,
    board: Board,
    person: Invite,
    lines: list[Line],
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    async with served(settings) as server:
        entrance = server.bounds.entrance
        olga = person("olga", url=server.url)
        hers = await olga.token()
        await olga.close()
        await until(lambda: not entrance.open)
        # What is at work, or a socket, is older than all and stays.
        body = b'{"body":"still here"}'
        sock = await shake(server.url, hers, "user")
        slow = await Line.to(server.port, dripping(hers, len(body)) + body[:5])
        lines.append(slow)
        await until(lambda: server.bounds.bodies.coming)
        before = cut("idle"), cut("address")
        # A request that is done, nothing, and beginnings that either side reads.
        for said in (VERSION, b"", b"GET ", b"GET /api/v1/ws/demo") * (MANY // 4):
            line = await Line.to(server.port, said)
            lines.append(line)
            if said is VERSION:
                assert (await loop.sock_recv(line.plain, 1000))[:13] == b"HTTP/1.1 200 "
        await is_served(server, hers)
        assert cut("idle") - before[0] == MANY + 4 - 1000
        assert cut("address") == before[1]
        assert caplog.text.count("connections.ended reason=idle address=127.0.0.1") == 1
        # Those that were there longest went.
        over = [line.is_over for line in lines]
        assert over == [False, *[True] * (MANY + 4 - 1000), *[False] * (1000 - 4)]
        await loop.sock_sendall(slow.plain, body[5:])
        assert (await loop.sock_recv(slow.plain, 100)).startswith(b"HTTP/1.1 201 ")
        await sock.frame()
        sock.leave()
        for line in lines:
            line.leave()
        await until(lambda: not entrance.open and not entrance.of and not entrance.callers)


@pytest.mark.parametrize("kind", ["bodies", "answers", "rests"])
async def test_ones_own_connections_that_hang_keep_nobody_else_out(
    kind: str,
    counted: None,
    settings: Settings,
    board: Board,
    person: Invite,
    lines: list[Line],
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    async with served(settings) as server:
        entrance = server.bounds.entrance
        alice, olga = person("alice", url=server.url), person("olga", url=server.url)
        his, hers = await alice.token(), await olga.token()
        if kind == "answers":
            for _ in range(4):
                await board.card(description="x" * 100_000)
        await alice.close()
        await olga.close()
        await until(lambda: not entrance.open)
        # Somebody else's is older than all, and stays.
        body = b'{"body":"still here"}'
        slow = await Line.to(server.port, dripping(hers, len(body)) + body[:5])
        lines.append(slow)
        await until(lambda: server.bounds.bodies.coming)
        before = cut("person"), cut("address")
        said = dripping(his) + b" "
        if kind == "answers":
            head = f"Host: x\r\nAuthorization: Bearer {his}\r\n\r\n"
            said = f"GET /api/v1/projects/demo HTTP/1.1\r\n{head}".encode()
        elif kind == "rests":  # of a body that nobody reads
            said = said.replace(b"demo", b"nowhere")
        for _ in range(999):
            lines.append(await Line.to(server.port, said))

        def all_hang() -> bool:
            wires: list[Any] = server.server.connections
            return len(wires) == 1000 and all(wire.hangs_for() for wire in wires)

        await until(all_hang)
        await is_served(server, hers)
        assert cut("person") - before[0] == 999 - 100
        assert cut("address") == before[1]
        ended = "connections.ended reason=person user_id="
        assert caplog.text.count(ended) == 1
        await until(lambda: sum(line.is_over for line in lines) == 999 - 100)
        assert not slow.is_over
        assert not any(line.is_over for line in lines[-100:])
        await loop.sock_sendall(slow.plain, body[5:])
        assert (await loop.sock_recv(slow.plain, 100)).startswith(b"HTTP/1.1 201 ")
        for line in lines:
            line.leave()
        await until(lambda: not entrance.open and not entrance.of and not entrance.callers)


@pytest.mark.settings(connections_per_address=5)
async def test_a_refused_socket_gives_way(
    counted: None, settings: Settings, board: Board, person: Invite, lines: list[Line]
) -> None:
    """It is kept open only so that its client hears why."""
    async with served(settings) as server:
        hers = person("olga", url=server.url)
        token = await hers.token()
        await hers.close()
        await until(lambda: not server.bounds.entrance.open)
        for _ in range(5):
            line = await Line.to(server.port, REFUSED)
            lines.append(line)
            said = await asyncio.get_running_loop().sock_recv(line.plain, 1000)
            assert said.startswith(b"HTTP/1.1 101 ")
        await is_served(server, token)
        assert [line.is_over for line in lines] == [True, True, False, False, False]
        for line in lines:
            line.leave()
        await until(lambda: not server.bounds.entrance.open)


@pytest.mark.settings(connections_per_address=5)
async def test_a_socket_that_aiohttp_read_keeps_its_place(
    counted: None, settings: Settings, board: Board, person: Invite
) -> None:
    async with served(settings) as server:
        entrance = server.bounds.entrance
        alice = person("alice", url=server.url)
        token = await alice.token()
        await alice.close()
        await until(lambda: not entrance.open)
        # An escape is unusual, so its handshake is read by aiohttp.
        line = await shake(server.url, token, "d%65mo")
        await line.frame()
        assert server.server.requests_count > 1
        await until(lambda: entrance.of == {"127.0.0.1": 1})
        line.leave()
        await until(lambda: not entrance.open and not entrance.of)


@pytest.mark.parametrize("proxies", ["", "127.0.0.1"])
@pytest.mark.settings(connections_per_address=3)
async def test_proxies_and_this_machine_may_have_any_number(
    settings: Settings, lines: list[Line], monkeypatch: pytest.MonkeyPatch, proxies: str
) -> None:
    if proxies:
        monkeypatch.setattr(bounds, "HERE", "")
        settings = msgspec.structs.replace(settings, trusted_proxies=proxies)
    async with served(settings) as server:
        lines += [await Line.to(server.port, VERSION) for _ in range(10)]
        loop = asyncio.get_running_loop()
        for line in lines:
            assert (await loop.sock_recv(line.plain, 100)).startswith(b"HTTP/1.1 200 ")
        assert len(server.bounds.entrance.open) == 10
        for line in lines:
            line.leave()
        await until(lambda: not server.bounds.entrance.open)


def test_neighbours_are_counted_as_one_and_proxies_not_at_all() -> None:
    proxies = "10.0.0.0/8,2001:db8:1::/48"
    assert counted_as("192.0.2.1", proxies) == "192.0.2.1" == counted_as("::ffff:192.0.2.1", "")
    one, other = (counted_as(f"2001:db8::{end}", proxies) for end in ("1", "ffff:2"))
    assert one == other == "2001:db8::/64"
    for exempt in ("10.1.2.3", "2001:db8:1:2::3", ""):
        assert counted_as(exempt, proxies) == ""


# Memory


class Knot:
    """Something that may know itself."""

    def __init__(self, *, tied: bool = True) -> None:
        self.me = self if tied else None


def test_what_only_knows_itself_is_freed_after_a_minute() -> None:
    kept = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        own = Bounds(Settings())
        knot = weakref.ref(Knot())
        own.visit(monotonic() + 1)
        assert knot() is not None
        own.visit(monotonic() + bounds.COLLECT_SECONDS + 1)
        assert knot() is None
    finally:
        gc.set_threshold(*kept)
