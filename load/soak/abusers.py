"""Who harms the others in a soak: each acts without a pause, within a bound of count and rate.

They are a program of their own, so that what they do costs the watching process nothing, and have
addresses of their own in 127.0.0.0/8. `Abusers` starts it and tells it when to act and when to
rest; it tells once in half a second what it was answered. It ends with its input.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from load.soak.texts import DESCRIPTION, MESSAGE, text
from tests.conftest import until
from tests.person import PASSWORD
from warmdesk.client import LOST, Client, Refused
from warmdesk.embedded.child import before_exec

STREET = "street"
"""The project where they are members beside others."""
EDITOR, READER, SITTER = "editor", "reader", "sitter"
ACCOUNTS = (EDITOR, READER, SITTER)
NICENESS = 10
"""Who attacks has a machine of his own: his own work is not to be felt."""
ADDRESSES = "127.0.66"
TURN_SECONDS = 6.0
AT_ONCE = 3
"""So many act beside the editor, who always does."""
TOLD_EVERY = 0.5
FURNISH_SECONDS = 120.0
BOARDS = {"search": "Long", "pages": "Big", "abort": "Big", "stall": "Big"}
BOARD_CARDS, LONG_CARDS, REWRITES = 20, 100, 4
KIND = "application/json"

Json = dict[str, Any]


class Abusers:
    """The program, as the soak sees it. `answers`: statuses by what was done; 0 is no answer."""

    def __init__(self, hosts: Sequence[str], seed: int, only: Sequence[str] = ()) -> None:
        self.given = {"hosts": list(hosts), "seed": seed, "only": list(only)}
        self.answers: dict[str, collections.Counter[int]] = {}
        self.editor: Json = {}
        self.told_at = 0.0
        self.acting = False
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Signed in, with boards of their own; they rest."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "load.soak.abusers"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            limit=1 << 20,
            preexec_fn=before_exec(),
        )
        self._listening = listening = asyncio.create_task(self._listen())
        await self._tell(self.given)
        await until(lambda: self._ready.is_set() or listening.done(), limit=FURNISH_SECONDS)
        assert self._ready.is_set(), "the abusers' program ended"

    async def act(self) -> None:
        self.acting = True
        await self._tell({"act": True})

    async def rest(self) -> None:
        """No more is sent, and nothing that was begun is kept open."""
        self.acting = False
        await self._tell({"act": False})
        asked = time.monotonic()
        await until(lambda: self.told_at > asked, limit=30)

    async def end(self) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._listening is not None:
            await self._listening

    async def _tell(self, line: Json) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(line) + b"\n")
        await self._process.stdin.drain()

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = orjson.loads(line)
            self.answers = {
                name: collections.Counter({int(status): n for status, n in answers.items()})
                for name, answers in told["answers"].items()
            }
            self.editor = told["editor"]
            self.told_at = told["at"]
            self._ready.set()

    def figures(self) -> str:
        """What they did, and the answers that they got."""
        kinds = [
            f"{name} "
            + ", ".join(f"{n} {status or 'unanswered'}" for status, n in sorted(told.items()))
            for name, told in sorted(self.answers.items())
        ]
        return "; ".join(kinds) or "nobody"

    def failures(self) -> dict[str, dict[int, int]]:
        """Answers that nobody may get, however he asks."""
        wrong = {
            name: {status: n for status, n in told.items() if status >= 500 and status != 503}
            for name, told in self.answers.items()
        }
        return {name: told for name, told in wrong.items() if told}


# What follows is the program.


@dataclass
class Gang:
    """All that they share. `acting` while they may act."""

    hosts: list[str]
    chance: random.Random
    acts: list[str]
    acting: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[str, collections.Counter[int]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    editor: Json = field(default_factory=lambda: {"accepted": 0.0})
    addresses: int = 0
    clients: dict[str, Client] = field(default_factory=dict)

    def address(self, *, fresh: bool = False) -> str:
        """One of theirs; a fresh one has sent nothing before, as long as there are any."""
        if fresh:
            self.addresses += 1
        return f"{ADDRESSES}.{1 + self.addresses % 250}"

    @property
    def host(self) -> tuple[str, int]:
        parts = urlsplit(self.chance.choice(self.hosts))
        return str(parts.hostname), int(parts.port or 80)


Act = Callable[[Gang], Awaitable[None]]
ACTS: dict[str, Act] = {}


def act(work: Act) -> Act:
    ACTS[work.__name__] = work
    return work


async def crowd(
    gang: Gang, name: str, work: Callable[[], Awaitable[None]], *, at_once: int, rate: float
) -> None:
    """So many at once, and at most so many a second together, until cancelled. What was begun
    too late is not made up for.
    """
    due = time.monotonic() - 1 / rate  # the first at once

    async def one() -> None:
        nonlocal due
        while True:
            now = time.monotonic()
            due = max(now, due + 1 / rate)
            await asyncio.sleep(due - now)
            try:
                await work()
            except (TimeoutError, *LOST):
                gang.answers[name][0] += 1
                await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one())


async def ask(
    gang: Gang, name: str, client: Client, method: str, path: str, body: Any = None
) -> Any:
    """One request; the answer's status is counted. Whoever was signed out signs in again."""
    try:
        answer = await client._once(method, path, body, {})
    except LOST:
        gang.answers[name][0] += 1
        await asyncio.sleep(0.1)
        return None
    gang.answers[name][answer.status] += 1
    if answer.status == 401:
        with suppress(Refused, *LOST):
            await client.refresh(client.token)
    return answer


@act
async def edit(gang: Gang) -> None:
    """One chat message, changed again and again over many connections."""
    client = gang.clients[EDITOR]
    path = f"/projects/{STREET}/chat/messages"
    while True:
        # Who was removed before comes back sooner or later.
        made = await ask(gang, "edit", client, "POST", path, {"body": "mine"})
        if made is not None and made.status in (200, 201):
            break
        await asyncio.sleep(0.5)
    message = made.body["id"]

    async def once() -> None:
        sent = time.monotonic()
        body = {"body": text(gang.chance, MESSAGE)}
        answer = await ask(gang, "edit", client, "PUT", f"{path}/{message}", body)
        if answer is not None and answer.status == 200:
            gang.editor["accepted"] = max(gang.editor["accepted"], sent)
        elif answer is not None and answer.status in (403, 404):
            await asyncio.sleep(0.05)

    await crowd(gang, "edit", once, at_once=gang.chance.randint(12, 24), rate=300)


@act
async def search(gang: Gang) -> None:
    """Searches that find nothing, in long cards."""
    client = gang.clients[READER]

    async def once() -> None:
        words = quote(f"zzzz{gang.chance.random()}")
        await ask(gang, "search", client, "GET", f"/projects/long/cards?q={words}")

    await crowd(gang, "search", once, at_once=24, rate=40)


@act
async def pages(gang: Gang) -> None:
    """Pages of many big events."""
    client = gang.clients[READER]

    async def once() -> None:
        await ask(gang, "pages", client, "GET", "/projects/big/events?since=0&limit=500")

    await crowd(gang, "pages", once, at_once=16, rate=30)


@act
async def abort(gang: Gang) -> None:
    """Big boards, asked for and left."""
    token = gang.clients[READER].token

    async def once() -> None:
        async with connection(gang) as (reader, writer):
            writer.write(head("GET", "/api/v1/projects/big", f"Authorization: Bearer {token}"))
            await answered(gang, "abort", reader, limit=10)
            await asyncio.sleep(gang.chance.uniform(0, 0.5))

    await crowd(gang, "abort", once, at_once=16, rate=10)


@act
async def stall(gang: Gang) -> None:
    """Pipelined requests whose answers are never read."""
    token = gang.clients[READER].token

    async def once() -> None:
        async with connection(gang, buffer=2048) as (_, writer):
            gang.answers["stall"][0] += 1
            big = head("GET", "/api/v1/projects/big", f"Authorization: Bearer {token}")
            writer.write(head("GET", "/openapi.json") * 7 + big)
            await asyncio.sleep(TURN_SECONDS)

    await crowd(gang, "stall", once, at_once=48, rate=20)


@act
async def sit(gang: Gang) -> None:
    """Sockets that read nothing."""
    client = gang.clients[SITTER]

    async def once() -> None:
        async with connection(gang, buffer=2048) as (_, writer):
            gang.answers["sit"][0] += 1
            writer.write(
                head(
                    "GET",
                    f"/api/v1/ws/{STREET}?since=0",
                    f"Authorization: Bearer {client.token}",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    keep="Upgrade",
                )
            )
            await asyncio.sleep(TURN_SECONDS)

    await crowd(gang, "sit", once, at_once=8, rate=4)


@act
async def drip(gang: Gang) -> None:
    """Bodies of which only the last bytes are missing."""
    size = 1 << 20

    async def once() -> None:
        async with connection(gang) as (reader, writer):
            gang.answers["drip"][0] += 1
            writer.write(
                head(
                    "POST", "/api/v1/auth/login", f"Content-Type: {KIND}", f"Content-Length: {size}"
                )
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    writer.write(b" " * (size - 100))
                    await writer.drain()
            for _ in range(10):
                writer.write(b" ")
                with suppress(TimeoutError):
                    await answered(gang, "drip", reader, limit=1)
                    return

    await crowd(gang, "drip", once, at_once=48, rate=20)


@act
async def bodies(gang: Gang) -> None:
    """The worst that a body can be, for who need not sign in."""
    many = b'{"' + b"k" * 500_000 + b'":[' + b'"",' * 180_000 + rb'"\u0000"]}'
    deep = b'{"username":' + b"[" * 8_000 + b"]" * 8_000 + b"}"
    just = b'{"username":"' + b"a" * (16 * 1024 - 14) + b'"}'

    async def once() -> None:
        body = gang.chance.choice([many, many, deep, just])
        async with connection(gang) as (reader, writer):
            writer.write(
                head(
                    "POST",
                    "/api/v1/auth/login",
                    f"Content-Type: {KIND}",
                    f"Content-Length: {len(body)}",
                )
            )
            writer.write(body)
            await answered(gang, "bodies", reader, limit=30)

    await crowd(gang, "bodies", once, at_once=2, rate=0.5)


@act
async def logins(gang: Gang) -> None:
    """A hundred unknown names at once, from an address that was silent so far."""

    async def once() -> None:
        address = gang.address(fresh=True)
        body = orjson.dumps({"username": f"nobody-{gang.chance.random()}", "password": "x" * 20})
        wanted = (f"Content-Type: {KIND}", f"Content-Length: {len(body)}")

        async def one() -> None:
            async with connection(gang, address=address) as (reader, writer):
                writer.write(head("POST", "/api/v1/auth/login", *wanted) + body)
                await answered(gang, "logins", reader, limit=30)

        await asyncio.gather(*(one() for _ in range(100)))

    await crowd(gang, "logins", once, at_once=1, rate=0.1)


def head(method: str, path: str, *lines: str, keep: str = "keep-alive") -> bytes:
    given = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Connection: {keep}", *lines]
    return "\r\n".join([*given, "", ""]).encode()


@contextlib.asynccontextmanager
async def connection(
    gang: Gang, *, buffer: int = 0, address: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One of their own, that is torn down in the end; what happens on it harms nobody here."""
    made = socket.socket()
    made.setblocking(False)
    try:
        if buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.bind((address or gang.address(), 0))
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(made, gang.host)
        reader, writer = await asyncio.open_connection(sock=made, limit=2048)
        if buffer:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
    except (OSError, TimeoutError):
        made.close()
        await asyncio.sleep(0.1)
        raise Lost from None
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


class Lost(OSError):
    """The server took no connection."""


async def answered(gang: Gang, name: str, reader: asyncio.StreamReader, *, limit: float) -> None:
    """Read the first line of an answer and count its status."""
    async with asyncio.timeout(limit):
        line = await reader.readline()
    status = line.split()[1] if line.startswith(b"HTTP/") else b"0"
    gang.answers[name][int(status)] += 1


# How they come, and when they act.


async def furnish(gang: Gang) -> None:
    """Their accounts signed in; a board of big cards with big events, and one of long cards."""
    for number, username in enumerate(ACCOUNTS):
        client = Client(gang.hosts[number % len(gang.hosts)], patience=60)
        client._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=30),
            connector=aiohttp.TCPConnector(limit=0, local_addr=(gang.address(), 0)),
        )
        while client.token is None:
            with suppress(Refused):  # too many sign in: the people come at the same time
                await client.login(username, PASSWORD)
        gang.clients[username] = client
    client = gang.clients[READER]
    escaped, plain = "\x01" * DESCRIPTION, "word " * (DESCRIPTION // 5)
    turn = asyncio.Semaphore(3)

    async def one(path: str, place: str, number: int, said: str, rewrites: int) -> None:
        async with turn:
            card = await client.post(place, {"title": f"{number}", "description": said})
            for again in range(rewrites):
                changed = said[:-1] + str(again)
                await client.put(f"{path}/cards/{card['id']}", {"description": changed})

    needed = {BOARDS[name] for name in gang.acts if name in BOARDS}
    for name, count, said in (("Big", BOARD_CARDS, escaped), ("Long", LONG_CARDS, plain)):
        if name not in needed:
            continue
        project = await client.post("/projects", {"name": name})
        path = f"/projects/{project['slug']}"
        board = await client.get(path)
        place = f"{path}/columns/{board['columns'][0]['id']}/cards"
        rewrites = REWRITES if name == "Big" else 0
        await asyncio.gather(*(one(path, place, n, said, rewrites) for n in range(count)))


async def play(gang: Gang) -> None:
    """Turn after turn the seed chooses who acts; the editor always does."""
    names = gang.acts
    while True:
        await gang.acting.wait()
        others = [name for name in names if name != "edit"]
        chosen = gang.chance.sample(others, min(AT_ONCE, len(others)))
        chosen += [name for name in names if name == "edit"]
        tasks = [asyncio.create_task(again(gang, name)) for name in chosen]
        end = time.monotonic() + TURN_SECONDS
        while gang.acting.is_set() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def again(gang: Gang, name: str) -> None:
    """Whatever happens to them, they go on."""
    while True:
        try:
            await ACTS[name](gang)
        except (TimeoutError, *LOST):
            gang.answers[name][0] += 1
        await asyncio.sleep(0.1)


async def tell(gang: Gang) -> None:
    while True:
        line = {
            "at": time.monotonic(),
            "answers": {
                name: {str(status): n for status, n in told.items()}
                for name, told in gang.answers.items()
            },
            "editor": gang.editor,
        }
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.buffer.flush()
        await asyncio.sleep(TOLD_EVERY)


async def listen(gang: Gang, lines: asyncio.StreamReader) -> None:
    async for line in lines:
        if orjson.loads(line)["act"]:
            gang.acting.set()
        else:
            gang.acting.clear()


async def main() -> None:
    os.nice(NICENESS)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    given = orjson.loads(await lines.readline())
    gang = Gang(given["hosts"], random.Random(given["seed"]), given["only"] or list(ACTS))
    await furnish(gang)
    others = [asyncio.create_task(tell(gang)), asyncio.create_task(play(gang))]
    await listen(gang, lines)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for client in gang.clients.values():
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
