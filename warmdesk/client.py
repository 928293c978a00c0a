"""The reference client: how a program should talk to WarmDesk over REST and sockets. It needs aiohttp and orjson, nothing else.

It keeps the three rules that make a client right through restarts, deploys and bad networks:

* *Ask again, once.* A request that met 429, 503 or a lost connection is tried again after ``Retry-After`` or a growing,
  jittered pause. A POST keeps one Idempotency-Key over its tries, so the server does it once.
* *Apply n+1.* A socket ignores an event it has seen, and on a gap asks with ``sync``. Behind a reconnect it resumes with
  ``since`` and ``epoch``. When the server no longer has what was missed, the socket yields ``reset``: fetch again.
* *Doubt silence.* A ping every 30 seconds brings the head's seq; being behind it means that something got lost.

::

    async with Client("http://127.0.0.1:8080") as client:
        await client.login("alice", "a secret")
        board = await client.get("/projects/demo")
        async with client.socket("demo", since=board["seq"], epoch=board["epoch"]) as socket:
            async for frame in socket:
                if frame["type"] == "reset":
                    board = await client.get("/projects/demo")
                    socket.fetched(board["seq"], board["epoch"])
                else:
                    apply(board, frame)
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

BASE = "/api/v1"
PATIENCE = 30.0
ATTEMPT_SECONDS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
PING_SECONDS = 30.0
SYNC_AGAIN_SECONDS = 2.0
ANSWER_SECONDS = 10.0
WAITING_FRAMES = 10_000
FRAME_LIMIT = 4 << 20

MAY_PASS = frozenset({429, 502, 503, 504})
STOPS = frozenset({1000, 4400, 4403, 4404, 4409})
TOKEN_ENDED = 4401

# Where the server remembers an Idempotency-Key: a POST there may be sent again whatever became of the first.
REMEMBERED = re.compile(r"/(cards|comments|messages|time-entries|ticket)$")

Json = Any


class Refused(Exception):
    """The server said no: its `status`, its sentence, and the whole `body` (``code``, ``fields``, ``current`` …)."""

    def __init__(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}
        self.message = body.get("error", "") if isinstance(body, dict) else ""
        super().__init__(f"{status} {self.message}")


class SocketRefused(Exception):
    """A message sent on a socket was refused: `code` and `message` of the ``error`` frame."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


@dataclass(slots=True, frozen=True)
class Answer:
    """A response: `body` is the decoded JSON, text where it is none, None where it is empty."""

    status: int
    headers: Mapping[str, str]
    body: Json


def pause(attempt: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait before the next try: what the server asks for, else growing; jittered, so that clients spread."""
    asked = (headers or {}).get("Retry-After", "")
    if asked.isdigit():
        return float(asked) * random.uniform(1.0, 1.5)
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0))


class Client:
    """REST, signed in with a token, an API key, or `login`.

    `patience` is how long a request may be tried again, in seconds; 0 tries once and gives what came. `decode` turns the bytes
    of a socket's frame into a dict.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        api_key: str | None = None,
        *,
        refresh_token: str | None = None,
        patience: float = PATIENCE,
        decode: Callable[[bytes], Json] = orjson.loads,
    ) -> None:
        self.url = url.rstrip("/")
        self.token, self.api_key, self.refresh_token = token, api_key, refresh_token
        self.patience = patience
        self.decode = decode
        self._session: aiohttp.ClientSession | None = None
        self._refreshing = asyncio.Lock()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
                connector=aiohttp.TCPConnector(limit=0),
            )
        return self._session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # Signing in.

    async def login(self, username: str, password: str) -> Json:
        """Sign in; keeps both tokens. Gives the answer."""
        answer = await self.request("POST", "/auth/login", {"username": username, "password": password})
        return self._signed_in(answer)

    async def refresh(self, old: str | None = None) -> None:
        """A new access token; many callers with the same `old` one cause one request. `Refused` when signed out."""
        async with self._refreshing:
            if old is not None and old != self.token:
                return
            self._signed_in(await self._try("POST", "/auth/refresh", {"refresh_token": self.refresh_token}, {}))

    def _signed_in(self, answer: Answer) -> Json:
        if answer.status >= 400:
            raise Refused(answer.status, answer.body, answer.headers)
        self.token = answer.body.get("access_token")
        self.refresh_token = answer.body.get("refresh_token")
        return answer.body

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that say who is asking."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return {"X-API-Key": self.api_key} if self.api_key is not None else {}

    # Requests. Paths are below /api/v1; answers are decoded JSON; a refusal is raised as `Refused`.

    async def get(self, path: str, **options: Any) -> Json:
        return await self._body("GET", path, None, options)

    async def post(self, path: str, body: Json = None, **options: Any) -> Json:
        return await self._body("POST", path, body, options)

    async def put(self, path: str, body: Json = None, **options: Any) -> Json:
        return await self._body("PUT", path, body, options)

    async def patch(self, path: str, body: Json = None, **options: Any) -> Json:
        return await self._body("PATCH", path, body, options)

    async def delete(self, path: str, **options: Any) -> Json:
        return await self._body("DELETE", path, None, options)

    async def _body(self, method: str, path: str, body: Json, options: dict[str, Any]) -> Json:
        answer = await self.request(method, path, body, **options)
        if answer.status >= 400:
            raise Refused(answer.status, answer.body, answer.headers)
        return answer.body

    async def pages(self, path: str) -> AsyncIterator[Json]:
        """The items of a list, page after page along ``Link: rel="next"``."""
        at: str | None = path
        while at is not None:
            answer = await self.request("GET", at)
            if answer.status >= 400:
                raise Refused(answer.status, answer.body, answer.headers)
            for item in answer.body:
                yield item
            found = re.search(r'<([^>]+)>; *rel="?next', answer.headers.get("Link", ""))
            at = re.sub(rf"^(https?://[^/]+)?{BASE}", "", found[1]) if found else None

    async def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        headers: Mapping[str, str] | None = None,
        if_match: int | None = None,
        key: str | None = None,
    ) -> Answer:
        """One request with its tries, whatever the status. `if_match`: the version that must still hold, else 412.

        A DELETE that finds nothing at its second try has been done by the first.
        """
        sent = dict(headers or {})
        if if_match is not None:
            sent["If-Match"] = f'"{if_match}"'
        if key is not None or (method == "POST" and self.patience > 0 and not path.startswith("/auth/")):
            sent.setdefault("Idempotency-Key", key or uuid.uuid4().hex)
        token = self.token
        answer = await self._try(method, path, body, sent)
        if answer.status == 401 and token is not None and self.refresh_token and not path.startswith("/auth/"):
            await self.refresh(token)
            answer = await self._try(method, path, body, sent)
        return answer

    async def _try(self, method: str, path: str, body: Json, headers: dict[str, str]) -> Answer:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        safe = method != "POST" or REMEMBERED.search(path.split("?")[0]) is not None
        unsure = False
        for attempt in itertools.count():
            try:
                answer = await self._once(method, path, body, headers)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                wait = pause(attempt)
                happened = not isinstance(error, aiohttp.ClientConnectorError)
                if (happened and not safe) or loop.time() + wait >= end:
                    raise
                unsure = unsure or happened
            else:
                if method == "DELETE" and unsure and answer.status == 404:
                    return Answer(204, answer.headers, None)
                wait = pause(attempt, answer.headers)
                happened = isinstance(answer.body, dict) and answer.body.get("code") == "unknown_outcome"
                if answer.status not in MAY_PASS or (happened and not safe) or loop.time() + wait >= end:
                    return answer
                unsure = unsure or happened
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, body: Json, headers: dict[str, str]) -> Answer:
        sent = self.credentials | headers
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + BASE + path, data=content, headers=sent) as response:
            raw = await response.read()
            if not raw:
                return Answer(response.status, response.headers, None)
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, orjson.loads(raw) if is_json else raw.decode())

    def socket(self, place: str, **options: Any) -> Socket:
        """A socket on a project (its slug) or on the own things (``user``); see `Socket`."""
        return Socket(self, place, **options)


class Socket:
    """A socket that stays: reconnects, resumes, and yields each event once and in order.

    ``async for frame in socket`` gives ``hello`` (at each connection), events, signals, and ``reset`` when the state has to be
    fetched again; after that say `fetched`. It ends when the server says that coming back is no use; `code` tells why.
    """

    def __init__(
        self,
        client: Client,
        place: str,
        *,
        since: int | None = None,
        epoch: str | None = None,
        by_protocol: bool = False,
        presence: str | None = "changed",
    ) -> None:
        self.client, self.place = client, place
        self.seq, self.epoch = since, epoch
        self.by_protocol, self.presence = by_protocol, presence
        self.code: int | None = None
        self.connections = 0
        self._received = since
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._frames: asyncio.Queue[Json | None] = asyncio.Queue(WAITING_FRAMES)
        self._asked: dict[str, asyncio.Future[Json]] = {}
        self._ids = itertools.count(1)
        self._sync_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._ping())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Json:
        while True:
            frame = await self._frames.get()
            if frame is None:
                self._frames.put_nowait(None)
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            seq = frame.get("seq")
            if seq is None:
                return frame
            if self.seq is None or seq > self.seq:
                self.seq = seq
                return frame

    def fetched(self, seq: int, epoch: str) -> None:
        """The state was fetched and holds everything up to `seq`: what is waiting below that is skipped."""
        self.seq, self.epoch = seq, epoch

    async def send(self, type: str, payload: Json = None, *, timeout: float = ANSWER_SECONDS) -> Json:
        """Send a message and wait for its ``ack`` (gives its payload). `SocketRefused`; ConnectionError when it got lost."""
        if self._socket is None or self._socket.closed:
            raise ConnectionError("the socket is not connected")
        name = str(next(self._ids))
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        try:
            await self._say(type, payload, name)
            return await asyncio.wait_for(answer, timeout)
        finally:
            del self._asked[name]

    async def signal(self, type: str, payload: Json = None) -> None:
        """Send a message that nobody answers, such as ``chat.typing``."""
        await self._say(type, payload, None)

    async def _say(self, type: str, payload: Json, name: str | None) -> None:
        if self._socket is None:
            raise ConnectionError("the socket is not connected")
        message = {"type": type, "payload": payload or {}} | ({"id": name} if name else {})
        await self._socket.send_str(orjson.dumps(message).decode())

    # The connection and its successors.

    async def _stay(self) -> None:
        attempt = 0
        try:
            while True:
                asked: Mapping[str, str] | None = None
                try:
                    if await self._connection():
                        attempt = 0
                except aiohttp.WSServerHandshakeError as error:
                    asked = error.headers
                    if error.status == 401 and attempt < 3 and self.client.refresh_token:
                        await self.client.refresh(self.client.token)
                    elif error.status not in MAY_PASS and error.status < 500:
                        raise Refused(error.status, {"error": error.message}) from error
                except (aiohttp.ClientError, TimeoutError, OSError):
                    pass
                self._lose("the connection was lost")
                if self.code in STOPS:
                    return
                if self.code == TOKEN_ENDED:
                    await self.client.refresh(self.client.token)
                await asyncio.sleep(pause(attempt, asked))
                attempt += 1
        except (Refused, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._error = error
        finally:
            self._lose("the socket has ended")
            if self._frames.full():
                self._frames.get_nowait()
            self._frames.put_nowait(None)

    def _lose(self, why: str) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionError(why))

    async def _connection(self) -> bool:
        """One connection from handshake to end; whether it said anything."""
        params: dict[str, str] = {"presence": self.presence} if self.presence else {}
        if self._received is not None:
            params |= {"since": str(self._received)} | ({"epoch": self.epoch} if self.epoch else {})
        self.code = None
        protocols = ("warmdesk", f"bearer.{self.client.token}") if self.by_protocol else ()
        async with self.client.session.ws_connect(
            f"{self.client.url}{BASE}/ws/{self.place}",
            params=params,
            headers={} if self.by_protocol else self.client.credentials,
            protocols=protocols,
            max_msg_size=FRAME_LIMIT,
            timeout=aiohttp.ClientWSTimeout(ws_close=2),
        ) as self._socket:
            self.connections += 1
            heard = False
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(self.client.decode(message.data))
                    heard = True
            self.code = self._socket.close_code
            return heard

    async def _hear(self, frame: Json) -> None:
        seq = frame.get("seq")
        if seq is not None:
            if self._received is None or seq == self._received + 1:
                self._received = seq
                await self._frames.put(frame)
            elif seq > self._received:
                await self._sync()
            return
        kind, payload = frame["type"], frame["payload"]
        if kind == "hello":
            if self._received is None:
                self._received, self.epoch = payload["seq"], payload["epoch"]
                self.seq = self.seq or self._received
        elif kind == "sync.reset":
            self._received = self.seq = payload["seq"]
            self.epoch = payload["epoch"]
            frame = {"type": "reset", "payload": payload}
        elif kind in ("ack", "error") and (answer := self._asked.get(str(payload.get("id")))) is not None:
            if not answer.done():
                refused = SocketRefused(payload.get("code", ""), payload.get("message", ""))
                answer.set_result(payload) if kind == "ack" else answer.set_exception(refused)
            return
        elif kind == "pong":
            asyncio.get_running_loop().call_later(1.0, self._compare, payload["seq"])
        elif kind == "reconnect":
            delay = random.uniform(payload["min_ms"], payload["max_ms"]) / 1000
            self._tasks.append(asyncio.create_task(self._leave(self._socket, delay)))
        elif kind == "auth.expiring" and self.client.refresh_token:
            self._tasks.append(asyncio.create_task(self._renew()))
        await self._frames.put(frame)

    async def _sync(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._sync_at >= SYNC_AGAIN_SECONDS:
            self._sync_at = now
            await self._say("sync", {"since": self._received, "epoch": self.epoch}, None)

    def _compare(self, head: int) -> None:
        if self._received is not None and head > self._received and self._socket and not self._socket.closed:
            self._tasks.append(asyncio.create_task(self._sync()))

    async def _leave(self, socket: aiohttp.ClientWebSocketResponse | None, delay: float) -> None:
        await asyncio.sleep(delay)
        if socket is not None:
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def _renew(self) -> None:
        await self.client.refresh(self.client.token)
        await self.send("auth.refresh", {"token": self.client.token})

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            try:
                await self._say("ping", None, None)
            except (ConnectionError, aiohttp.ClientError):
                continue
