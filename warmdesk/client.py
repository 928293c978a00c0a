"""The reference client: how a program talks to WarmDesk. It needs aiohttp and orjson, no more,
and stands in one file so that a program can take it along.

Three rules make a client right through restarts, deploys and bad networks:

* *Ask again, do it once.* A request that met 429, 503 or a lost connection is tried again after
  ``Retry-After`` or a growing, jittered pause. A POST, and what has an If-Match, keeps one
  Idempotency-Key over its tries. A 410 to such a one is final: it was done, and deleted since.
* *Apply n+1.* A socket ignores an event it has seen and on a gap sends ``sync``. It resumes with
  ``since`` and ``epoch``; when the server has no longer what was missed, it yields ``reset``.
* *Doubt silence.* A ping every 30 seconds brings the head's seq: being behind it means a loss.

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

What `apply` has to do for a board does the `Board` of ``client_board.py``, the file beside this.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import aiohttp
import orjson

BASE = "/api/v1"
PATIENCE = 30.0
ATTEMPT_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
PING_SECONDS = 30.0
COMPARE_SECONDS = 1.0
SYNC_AGAIN_SECONDS = 2.0
FRAMES_WAITING = 10_000
FRAME_LIMIT = 4 << 20

PASSING = frozenset({429, 502, 503, 504})
TOKEN_ENDED = 4401
NO_USE_TO_COME_BACK = frozenset({1000, 4400, 4403, 4404, 4409})
# What is sent once, whatever became of it: a second one would be another. Every other POST is kept
# under its Idempotency-Key by the server, or does no harm twice.
ONCE = frozenset(
    {
        "/admin/system-settings/test-email",
        "/admin/backup",
        "/admin/backups",
        "/admin/restore",
        "/auth/mfa/disable",
        "/auth/mfa/enable",
        "/auth/mfa/verify",
        "/auth/register",
        "/auth/reset-password",
        "/auth/ws-ticket",
        "/backup",
    }
)
SENT_ONCE = ("/attachments", "/avatar", "/mail")


def sent_once(path: str) -> bool:
    """Whether a POST to this path is not repeated when its answer is lost. Uploads and mails
    are not, nor what a code was given for: the server keeps no answer to them.
    """
    return path in ONCE or path.partition("?")[0].endswith(SENT_ONCE)


LOST = (aiohttp.ClientError, TimeoutError, OSError)


def digest(columns: Iterable[Mapping[str, Any]]) -> str:
    """The digest of a board: its columns in order, each with its ``id``, its ``version`` and its
    ``cards`` in order, which have the same. Compare it with the server's for the same seq and
    epoch, by ``GET /projects/{slug}/digest`` or a ping with ``digest``: if they differ, something
    that is shown is not what is there, and the board is fetched again.
    """
    lines = (
        f"{_versioned(each)}[{','.join(map(_versioned, each['cards']))}]\n" for each in columns
    )
    return sha256("".join(lines).encode()).hexdigest()


def _versioned(thing: Mapping[str, Any]) -> str:
    return f"{thing['id']}:{thing['version']}"


class Refused(Exception):
    """The server said no: `status`, its sentence, the whole `body` (``code``, ``fields`` …)."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body
        self.message = body.get("error", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{status} {self.message}")


class SocketRefused(Exception):
    """A message sent on a socket was answered by ``error``."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


@dataclass(slots=True, frozen=True)
class Answer:
    """A response; `body` is decoded JSON, or text where it is none, or None where it is empty."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def checked(self) -> Any:
        """The body; `Refused` if this is a refusal."""
        if self.status >= 400:
            raise Refused(self.status, self.body)
        return self.body

    @property
    def place(self) -> tuple[int, str] | None:
        """The seq of the last event that a list shows, and its epoch: lay it over what you have,
        then apply again what came after. None where no feed tells of it.
        """
        seq, epoch = self.headers.get("Warmdesk-Seq"), self.headers.get("Warmdesk-Epoch")
        return None if seq is None or epoch is None else (int(seq), epoch)

    @property
    def next(self) -> str | None:
        """The path of a list's next page; None of the last one."""
        link = re.search(rf"{BASE}([^>]+)>; *rel=\"?next", self.headers.get("Link", ""))
        return link and link[1]


def pause(attempt: int, headers: Mapping[str, str] | None) -> float:
    """Seconds until the next try: what the server asks for, else growing; jittered to spread."""
    retry_after = (headers or {}).get("Retry-After", "")
    if retry_after.isdigit():
        return float(retry_after) * random.uniform(1.0, 1.5)
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)


class Client:
    """REST, signed in with a token, an API key, or by `login`. Paths are below ``/api/v1``.

    `patience` is how long a request may be tried again, in seconds; with 0 it is sent once and the
    answer is what came. `decode` turns the JSON of an answer or a socket's frame into objects.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        api_key: str | None = None,
        *,
        refresh_token: str | None = None,
        patience: float = PATIENCE,
        decode: Callable[[bytes | str], Any] = orjson.loads,
    ) -> None:
        self.url = url.rstrip("/") + BASE
        self.token, self.api_key, self.refresh_token = token, api_key, refresh_token
        self.patience, self.decode = patience, decode
        self._session: aiohttp.ClientSession | None = None
        self._refreshing = asyncio.Lock()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
                headers={"Accept-Encoding": "gzip"},
                connector=aiohttp.TCPConnector(limit=0),
            )
            # aiohttp would repeat some requests by itself, and then a DELETE was done unnoticed.
            self._session._retry_connection = False
        return self._session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def login(self, username: str, password: str, code: str | None = None) -> Any:
        """Sign in and keep both tokens; gives the answer. `code` is of the account's authenticator:
        without it, where one is asked for, the answer is `mfa_required` and the `mfa_token`.
        """
        body = {"username": username, "password": password}
        answer = await self.request("POST", "/auth/login", body)
        said = answer.checked()
        if said.get("mfa_required") and code is not None:
            body = {"mfa_token": said["mfa_token"], "code": code}
            answer = await self.request("POST", "/auth/mfa/verify", body)
        return self._signed_in(answer)

    async def refresh(self, old: str | None) -> None:
        """A new access token in place of `old`, once for all who ask; `Refused` if signed out."""
        async with self._refreshing:
            if old == self.token:
                body = {"refresh_token": self.refresh_token}
                self._signed_in(await self._try("POST", "/auth/refresh", body, {}))

    def _signed_in(self, answer: Answer) -> Any:
        tokens = answer.checked()
        self.token, self.refresh_token = tokens.get("access_token"), tokens.get("refresh_token")
        return tokens

    @property
    def credentials(self) -> dict[str, str]:
        """The header that says who asks."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return {"X-API-Key": self.api_key} if self.api_key is not None else {}

    async def get(self, path: str, **options: Any) -> Any:
        return (await self.request("GET", path, **options)).checked()

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return (await self.request("POST", path, body, **options)).checked()

    async def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return (await self.request("PUT", path, body, **options)).checked()

    async def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return (await self.request("PATCH", path, body, **options)).checked()

    async def delete(self, path: str, **options: Any) -> Any:
        return (await self.request("DELETE", path, **options)).checked()

    async def items(self, path: str) -> AsyncIterator[Any]:
        """The items of a list, page after page along ``Link: <…>; rel="next"``."""
        goes_on: str | None = path
        while goes_on:
            answer = await self.request("GET", goes_on)
            for item in answer.checked():
                yield item
            goes_on = answer.next

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        if_match: int | None = None,
        key: str | None = None,
        seconds: float = ATTEMPT_SECONDS,
    ) -> Answer:
        """One request with its tries, whatever its status. `if_match`: the version you saw.
        `seconds`: how long a try may take, more than ten for one with ``wait``.

        A DELETE that finds nothing at a later try was done by an earlier one: 204.
        """
        sent = dict(headers or {})
        if if_match is not None:
            sent["If-Match"] = f'"{if_match}"'
        # With If-Match a second try would find the version that the first one made.
        keeps = method == "POST" or (method != "DELETE" and "If-Match" in sent)
        if key is not None or (keeps and self.patience and not sent_once(path)):
            sent.setdefault("Idempotency-Key", key or uuid.uuid4().hex)
        token = self.token
        answer = await self._try(method, path, body, sent, seconds)
        if answer.status == 401 and token and self.refresh_token and self.patience:
            with suppress(Refused):
                await self.refresh(token)
                answer = await self._try(method, path, body, sent, seconds)
        return answer

    async def _try(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        seconds: float = ATTEMPT_SECONDS,
    ) -> Answer:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        safe = method != "POST" or not sent_once(path)
        unsure = False
        for attempt in itertools.count():
            wait = pause(attempt, None)
            try:
                answer = await self._once(method, path, body, headers, seconds)
            except LOST as error:
                maybe_done = not isinstance(error, aiohttp.ClientConnectorError)
                if (maybe_done and not safe) or loop.time() + wait >= end:
                    raise
            else:
                if method == "DELETE" and unsure and answer.status == 404:
                    return Answer(204, answer.headers, None)
                code = answer.body.get("code") if isinstance(answer.body, dict) else None
                maybe_done = code == "unknown_outcome"
                wait = pause(attempt, answer.headers)
                over = loop.time() + wait >= end
                if answer.status not in PASSING or (maybe_done and not safe) or over:
                    return answer
            unsure = unsure or maybe_done
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        seconds: float = ATTEMPT_SECONDS,
    ) -> Answer:
        sent = self.credentials | headers
        content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        limit = aiohttp.ClientTimeout(total=seconds)
        address = self.url + path
        request = self.session.request(method, address, data=content, headers=sent, timeout=limit)
        async with request as response:
            raw = await response.read()
            decoded: Any = raw or None
            if raw and response.content_type == "application/json":
                decoded = self.decode(raw)
            elif raw and response.content_type.startswith("text/"):
                decoded = raw.decode()
            return Answer(response.status, response.headers, decoded)

    def socket(self, path: str, **options: Any) -> Socket:
        """A socket on a project (its slug) or on the own things (``user``); see `Socket`."""
        return Socket(self, path, **options)


class Socket:
    """A socket that stays: it reconnects, resumes, and yields each event once and in order.

    ``async for frame in socket`` gives ``hello`` (at each connection), events, signals, and
    ``reset`` when the state must be fetched again; after that say `fetched`. It ends when the
    server says that coming back is no use; `code` is the last close code. `connections`, `gaps` and
    `doubles` count what it had to go through; `behind` says how much of what was missed is still to
    come. `by_protocol` sends the token as a sub-protocol, as browsers must.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        since: int | None = None,
        epoch: str | None = None,
        by_protocol: bool = False,
        presence: str | None = "changed",
    ) -> None:
        self.client, self.path = client, path
        self.seq, self.epoch = since, epoch
        self.by_protocol, self.presence = by_protocol, presence
        self.code: int | None = None
        self.connections = self.gaps = self.doubles = 0
        self._received = since
        self._missed_upto = 0
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._token: str | None = None  # by which it is open: other sockets may have a newer one
        self._frames: asyncio.Queue[Any] = asyncio.Queue(FRAMES_WAITING)
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._wanted, self._syncing = 0, False
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._spawn(self._stay())
        self._spawn(self._ping())
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            frame = await self._frames.get()
            if frame is None:
                self._frames.put_nowait(None)
                raise self._error or StopAsyncIteration
            seq = frame.get("seq")
            if seq is None:
                return frame
            if self.seq is None or seq > self.seq:
                self.seq = seq
                return frame

    @property
    def behind(self) -> int:
        """How many events are still to come of those that were missed before `hello`."""
        return max(0, self._missed_upto - (self.seq or 0))

    def fetched(self, seq: int, epoch: str) -> None:
        """The state was fetched and holds all up to `seq`: events that wait below are skipped."""
        if self.epoch not in (None, epoch):
            # What came and what waits has numbers of another history.
            self._received, self._missed_upto = seq, 0
            self._drop_events()
        self.seq, self.epoch = seq, epoch

    def _drop_events(self) -> None:
        for waiting in [self._frames.get_nowait() for _ in range(self._frames.qsize())]:
            if waiting is None or "seq" not in waiting:
                self._frames.put_nowait(waiting)

    async def send(
        self,
        type: str,
        payload: Any = None,
        *,
        wait: bool = True,
        limit: float = 10.0,
        client_id: str | None = None,
    ) -> Any:
        """Send a message; gives the payload of its ``ack`` unless it is not to be waited for. Its
        events carry the `client_id`.

        `SocketRefused` on ``error``; ConnectionError when the connection was lost before.
        """
        if self._socket is None or self._socket.closed:
            raise ConnectionError("the socket is not connected")
        message = {"type": type, "payload": payload or {}}
        if client_id is not None:
            message["client_id"] = client_id
        if not wait:
            await self._socket.send_str(orjson.dumps(message).decode())
            return None
        name = str(next(self._ids))
        answer = self._replies[name] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_str(orjson.dumps(message | {"id": name}).decode())
            return await asyncio.wait_for(answer, limit)
        finally:
            del self._replies[name]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stay(self) -> None:
        """One connection after another, until there is no use."""
        attempt = 0
        try:
            while self.code not in NO_USE_TO_COME_BACK:
                headers: Mapping[str, str] | None = None
                try:
                    attempt = 0 if await self._connection() else attempt + 1
                except aiohttp.WSServerHandshakeError as refused:
                    attempt, headers = attempt + 1, refused.headers
                    if refused.status == 401 and self.client.refresh_token and attempt < 4:
                        await self.client.refresh(self._token)
                    elif refused.status < 500 and refused.status not in PASSING:
                        raise Refused(refused.status, refused.message) from refused
                except LOST:
                    attempt += 1
                self._give_up("the connection was lost")
                if self.code == TOKEN_ENDED:
                    await self.client.refresh(self._token)
                if self.code not in NO_USE_TO_COME_BACK:
                    await asyncio.sleep(pause(attempt, headers))
        except Exception as error:  # whatever it is, who listens hears it
            self._error = error
        finally:
            self._give_up("the socket has ended")
            if self._frames.full():
                self._frames.get_nowait()
            self._frames.put_nowait(None)

    def _give_up(self, why: str) -> None:
        for answer in self._replies.values():
            if not answer.done():
                answer.set_exception(ConnectionError(why))

    async def _connection(self) -> bool:
        """One connection, from handshake to end; whether anything was heard."""
        params = {"presence": self.presence} if self.presence else {}
        if self._received is not None:
            params["since"] = str(self._received)
            if self.epoch:
                params["epoch"] = self.epoch
        self.code, self._token = None, self.client.token
        heard = False
        async with self.client.session.ws_connect(
            f"{self.client.url}/ws/{self.path}",
            params=params,
            headers={} if self.by_protocol else self.client.credentials,
            protocols=("warmdesk", f"bearer.{self.client.token}") if self.by_protocol else (),
            max_msg_size=FRAME_LIMIT,
            heartbeat=2 * PING_SECONDS,
            timeout=aiohttp.ClientWSTimeout(ws_close=2),
        ) as self._socket:
            self.connections += 1
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    heard = True
                    await self._hear(self.client.decode(message.data))
            self.code = self._socket.close_code
        return heard

    async def _hear(self, frame: Any) -> None:
        seq = frame.get("seq")
        if seq is not None:
            if self._received is None or seq == self._received + 1:
                self._received = seq
                await self._frames.put(frame)
            elif seq > self._received:
                self.gaps += 1
                self._sync(seq)
            else:
                self.doubles += 1
            return
        type, payload = frame["type"], frame["payload"]
        if type == "hello":
            if self._received is None:
                self._received = self.seq = payload["seq"]
                self.epoch = payload["epoch"]
            self._missed_upto, self._wanted = self._received + payload["replay"], 0
        elif type == "sync.reset":
            self._drop_events()
            self._missed_upto = self._wanted = 0
            self._received = self.seq = payload["seq"]
            self.epoch = payload["epoch"]
            frame = {"type": "reset", "payload": payload}
        elif type in ("ack", "error") and (reply := self._replies.get(str(payload.get("id")))):
            if type == "ack" and not reply.done():
                reply.set_result(payload)
            elif not reply.done():
                reply.set_exception(SocketRefused(payload["code"], payload["message"]))
            return
        elif type == "pong":
            asyncio.get_running_loop().call_later(
                COMPARE_SECONDS, self._compare, payload["seq"], self.epoch
            )
        elif type == "reconnect":
            delay = random.uniform(payload["min_ms"], payload["max_ms"]) / 1000
            self._spawn(self._leave(self._socket, delay))
        elif type == "auth.expiring" and self.client.refresh_token:
            self._spawn(self._renew())
        await self._frames.put(frame)

    def _sync(self, head: int) -> None:
        """Ask for what is missing up to `head`."""
        self._wanted = max(self._wanted, head)
        if not self._syncing:
            self._syncing = True
            self._spawn(self._ask())

    async def _ask(self) -> None:
        """Until it is here; not again while the answer is under way."""
        try:
            while (self._received or 0) < self._wanted:
                with suppress(SocketRefused):
                    await self.send("sync", {"since": self._received, "epoch": self.epoch})
                if (self._received or 0) < self._wanted:
                    await asyncio.sleep(SYNC_AGAIN_SECONDS)
        except LOST:
            pass  # the next connection goes on from what was received
        finally:
            self._syncing = False

    def _compare(self, head: int, epoch: str | None) -> None:
        """A second after a pong: what it spoke of has come, or was lost. Heads of another history
        say nothing.
        """
        if epoch == self.epoch and self._received is not None and head > self._received:
            self._sync(head)

    async def _leave(self, socket: aiohttp.ClientWebSocketResponse | None, delay: float) -> None:
        await asyncio.sleep(delay)
        if socket is not None:
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def _renew(self) -> None:
        with suppress(Refused, SocketRefused, *LOST):
            await self.client.refresh(self._token)
            self._token = self.client.token
            await self.send("auth.refresh", {"token": self._token})

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            with suppress(ConnectionError):
                await self.send("ping", wait=False)
