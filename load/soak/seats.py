"""Places before the board: a client that is counted, and one socket, or one stream of events, that
comes back.
"""

from __future__ import annotations

import array
import asyncio
import collections
import itertools
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from tests.checkers.streams import Streams
from tests.person import PASSWORD
from warmdesk.client import (
    ATTEMPT_SECONDS,
    FRAME_LIMIT,
    LOST,
    Answer,
    Client,
    Refused,
    SocketRefused,
    pause,
)
from warmdesk.db.pool import ASK_SECONDS

if TYPE_CHECKING:
    from load.soak.people import Team

PATIENCE = 90.0
"""Seconds that a writer goes on asking: longer than the longest trouble."""
SLUG = "soak"
OWN = "user"
"""Where a person's own events are followed."""
SIGN_IN = "/auth/login"
ADDRESSES = itertools.cycle(f"127.0.1.{number}" for number in range(1, 65))
"""Where people sit."""

Json = dict[str, Any]


@dataclass
class Figures:
    """What is counted beside what the checkers count."""

    answers: collections.Counter[int] = field(default_factory=collections.Counter)
    unanswered: int = 0
    slowest_503: tuple[float, str] = (0.0, "")
    late: array.array[float] = field(default_factory=lambda: array.array("d"))
    signed_out: int = 0
    resets: collections.Counter[str] = field(default_factory=collections.Counter)
    refused_sockets: collections.Counter[int] = field(default_factory=collections.Counter)
    closed: collections.Counter[int | None] = field(default_factory=collections.Counter)
    unexplained: collections.Counter[str] = field(default_factory=collections.Counter)
    """Answers of 503 and 429 to people, by what was asked, while no fault explains them."""

    def percentile(self, share: float) -> float:
        return percentile(self.late, share)


def percentile(seconds: Iterable[float], share: float) -> float:
    ranked = sorted(seconds)
    return ranked[int(share * (len(ranked) - 1))] if ranked else 0.0


@dataclass
class Phase:
    """What people saw while nothing broke, in seconds: `answers` to requests and messages,
    `sign_ins`, `late` as events came; `lag` is how late the watching process itself was.
    `turned_away`: sign-ins that were refused because too many waited.
    """

    name: str
    seconds: float = 0.0
    answers: array.array[float] = field(default_factory=lambda: array.array("d"))
    sign_ins: array.array[float] = field(default_factory=lambda: array.array("d"))
    late: array.array[float] = field(default_factory=lambda: array.array("d"))
    lag: array.array[float] = field(default_factory=lambda: array.array("d"))
    removals: list[float] = field(default_factory=list)
    healings: dict[str, int] = field(default_factory=dict)
    closed: collections.Counter[int | None] = field(default_factory=collections.Counter)
    resets: int = 0
    turned_away: int = 0

    def answered(self, path: str, seconds: float) -> None:
        (self.sign_ins if path == SIGN_IN else self.answers).append(seconds)


class Pen(Client):
    """The reference client; its answers are counted."""

    def __init__(self, url: str, team: Team, username: str) -> None:
        super().__init__(url, patience=PATIENCE)
        self.team, self.figures, self.username = team, team.figures, username
        # Sign-ins are limited by address, and a team does not sit behind one.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0, local_addr=(next(ADDRESSES), 0)),
        )
        self._session._retry_connection = False

    def _signed_in(self, answer: Answer) -> Any:
        tokens = super()._signed_in(answer)
        self.team.logs.secret(tokens["access_token"])
        self.team.logs.secret(tokens["refresh_token"])
        return tokens

    async def _once(
        self,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        seconds: float = ATTEMPT_SECONDS,
    ) -> Answer:
        began, phase = time.monotonic(), self.team.phase
        if self.session.closed:
            raise aiohttp.ClientConnectionError("the browser is closed")
        try:
            answer = await super()._once(method, path, body, headers, seconds)
        except LOST:
            self.figures.unanswered += 1
            raise
        finally:
            if phase is not None:
                phase.answered(path, time.monotonic() - began)
        self.figures.answers[answer.status] += 1
        late = answer.status == 503 and time.monotonic() - began > ASK_SECONDS
        if path == SIGN_IN and (answer.status == 429 or late):
            # Who signs in waits for a thread; on a machine that is busy with other things too long.
            if phase is not None:
                phase.turned_away += 1
        elif answer.status == 429 or (answer.status == 503 and not self.team.explained(began)):
            code = answer.body.get("code") if isinstance(answer.body, dict) else ""
            asked = re.sub(r"\d+", "#", path.partition("?")[0])
            self.figures.unexplained[f"{answer.status} {code} {method} {asked}"] += 1
        # A worker that stands still answers when it goes on.
        if answer.status == 503 and not self.team.slow_excused:
            took = time.monotonic() - began
            slowest = (took, f"{method} {path}")
            self.figures.slowest_503 = max(self.figures.slowest_503, slowest)
        return answer

    async def sign_in(self) -> None:
        """As often as it takes, while too many sign in."""
        while True:
            try:
                await self.login(self.username, PASSWORD)
                return
            except Refused as refused:
                if refused.status != 429 or self.team.over.is_set():
                    raise
                await asyncio.sleep(1)

    async def sign_in_again(self, ended: str | None) -> None:
        """A fresh token in place of one that ended, by the refresh token when the session still
        lives.
        """
        try:
            await self.refresh(ended)
        except Refused:
            self.figures.signed_out += 1
            await self.sign_in()


class Seat:
    """A place before the board: one socket at a time, that comes back with what it has seen.

    `shown`: what it believes of presence is compared. `steady`: it keeps its rights to the end.
    `own`: the streams of the person's own feed, which is what it follows instead of the board.
    """

    def __init__(
        self,
        team: Team,
        client: Pen,
        name: str,
        *,
        shown: bool = True,
        steady: bool = True,
        own: Streams | None = None,
    ) -> None:
        self.team, self.client, self.name, self.steady = team, client, name, steady
        self.place = SLUG if own is None else OWN
        self.user_id = team.world.ids[client.username]
        self.seq: int | None = None
        self.epoch: str | None = None
        self.socket: aiohttp.ClientWebSocketResponse | OpenStream | None = None
        self.token: str | None = None
        self.here = self.stays = False
        self.stream = (own or team.streams).stream(name)
        shown = shown and own is None
        self.view = team.presence.view(name, self.user_id) if shown else None
        self.on_frame: Callable[[Json], None] = lambda frame: None
        self.on_closed: Callable[[int | None], None] = lambda code: None
        self._asked: dict[str, asyncio.Future[Json]] = {}
        self._ids = itertools.count(1)
        self._chores: set[asyncio.Task[None]] = set()

    async def stay(self) -> None:
        """Be there until the soak is over."""
        self.stays = True
        attempt = 0
        while not self.team.over.is_set():
            began = time.monotonic()
            headers = await self.visit()
            attempt = 0 if time.monotonic() - began > 5 else attempt + 1
            await asyncio.sleep(min(2.0, pause(attempt, headers)))

    async def visit(self, *, limit: float | None = None) -> Mapping[str, str] | None:
        """One connection: until it ends, or `limit` seconds have passed. Gives the headers of a
        refusal.
        """
        client = self.client
        self.token = client.token
        try:
            async with self._opened() as self.socket:
                with suppress(TimeoutError):
                    async with asyncio.timeout(limit):
                        await self._listen()
                await self._end()
        except aiohttp.ClientResponseError as refused:
            self.team.figures.refused_sockets[refused.status] += 1
            if refused.status == 401 and self.steady:
                await client.sign_in_again(self.token)
            return refused.headers
        except LOST:
            await self._end()
        return None

    def _opened(self) -> AbstractAsyncContextManager[Any]:
        """A connection that goes on from what it has. `ClientResponseError` when it is refused."""
        client = self.client
        return client.session.ws_connect(
            f"{client.url}/ws/{self.place}",
            params={} if self.seq is None else {"since": str(self.seq), "epoch": str(self.epoch)},
            headers=client.credentials,
            max_msg_size=FRAME_LIMIT,
            heartbeat=60,
            timeout=aiohttp.ClientWSTimeout(ws_close=1),
        )

    async def _listen(self) -> None:
        """Take what comes until it ends."""
        assert isinstance(self.socket, aiohttp.ClientWebSocketResponse)
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(message.data)

    async def _end(self) -> None:
        """The connection is over, whoever ended it."""
        socket, self.socket = self.socket, None
        if self.here:
            self.here = False
            if self.place == SLUG:
                self.team.presence.gone(self.user_id)
            if self.view is not None:
                self.view.restart()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the socket has ended"))
        if socket is None:
            return
        code = socket.close_code
        self.stream.closed(code)
        self.on_closed(code)
        self.team.figures.closed[code] += 1
        if self.stays and self.team.phase is not None and not self.team.over.is_set():
            self.team.phase.closed[code] += 1
        if code == 4401 and self.steady:
            await self.client.sign_in_again(self.token)

    def _take(self, raw: str) -> None:
        frame = self.team.decode(raw) if self.place == SLUG else orjson.loads(raw)
        type, payload, seq = frame["type"], frame["payload"], frame.get("seq")
        self.on_frame(frame)
        if type == "hello":
            self.stream.opened(payload, self.seq, self.epoch)
            if self.view is not None:
                self.view.frame(frame)
            self.here = True
            if self.place == SLUG:
                self.team.presence.opened(self.user_id)
            self.epoch = payload["epoch"]
            if not payload["resumed"]:
                self.seq = payload["seq"]
            return
        self.stream.frame(frame)
        if seq is not None:
            self.seq = seq
        elif type == "sync.reset":
            self.team.figures.resets[payload["reason"]] += 1
            if self.team.phase is not None:
                self.team.phase.resets += 1
            self.seq, self.epoch = payload["seq"], payload["epoch"]
        elif type.startswith("presence."):
            if self.view is not None:
                self.view.frame(frame)
        elif type in ("ack", "error") and (asked := self._asked.get(str(payload.get("id")))):
            if not asked.done():
                asked.set_result(frame)
        elif type == "auth.expiring":
            self._chore(self._renew())
        elif type == "reconnect":
            self._chore(self._leave(random.uniform(payload["min_ms"], payload["max_ms"]) / 1000))

    def _chore(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _renew(self) -> None:
        with suppress(Refused, *LOST):
            await self.client.refresh(self.token)
            self.token = self.client.token
            await self.say("auth.refresh", {"token": self.token})

    async def _leave(self, delay: float) -> None:
        socket = self.socket
        await asyncio.sleep(delay)
        if socket is not None and socket is self.socket:
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def say(self, type: str, payload: Json, *, limit: float = 10.0) -> Json:
        """Send a message; gives its ``ack``'s payload. SocketRefused, or ConnectionError when it
        is not known what became of it.
        """
        if not isinstance(self.socket, aiohttp.ClientWebSocketResponse) or self.socket.closed:
            raise ConnectionError("not connected to a socket")
        name, began, phase = str(next(self._ids)), time.monotonic(), self.team.phase
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        try:
            message = {"type": type, "payload": payload, "id": name}
            await self.socket.send_str(orjson.dumps(message).decode())
            frame = await asyncio.wait_for(answer, limit)
        finally:
            del self._asked[name]
            if phase is not None:
                phase.answered(type, time.monotonic() - began)
        if frame["type"] == "error":
            raise SocketRefused(frame["payload"]["code"], frame["payload"]["message"])
        acked: Json = frame["payload"]
        return acked


@dataclass
class OpenStream:
    """One open stream of events; `close_code` is what the server said at its end."""

    answer: aiohttp.ClientResponse
    close_code: int | None = None

    async def close(self, *, code: int = 1000) -> None:
        """End it, as a browser does: it has no way to say why."""
        self.answer.close()


class StreamSeat(Seat):
    """A place where the same comes as server-sent events. It comes back as browsers do, with the
    ``id`` of the last event, which has to be the place in the feed where it stands.
    """

    last_id = ""

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[OpenStream]:
        client = self.client
        path = "/users/me" if self.place == OWN else f"/projects/{self.place}"
        last = {"Last-Event-ID": self.last_id} if self.last_id else {}
        async with client.session.get(
            f"{client.url}{path}/events/stream",
            headers={**client.credentials, **last},
            timeout=aiohttp.ClientTimeout(total=None, connect=ATTEMPT_SECONDS, sock_read=60),
        ) as answer:
            answer.raise_for_status()
            yield OpenStream(answer)

    async def _listen(self) -> None:
        assert isinstance(self.socket, OpenStream)
        rest = b""
        async for piece in self.socket.answer.content.iter_any():
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                self._dispatch(block.decode())

    def _dispatch(self, block: str) -> None:
        """One event: its lines."""
        assert isinstance(self.socket, OpenStream)
        fields: dict[str, list[str]] = collections.defaultdict(list)
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            fields[name].append(value)
        self.last_id = (fields["id"] or [self.last_id])[0]
        data = "\n".join(fields["data"])
        if fields["event"] == ["close"]:
            self.socket.close_code = orjson.loads(data)["payload"]["code"]
        elif data:
            self._take(data)
            if self.last_id != f"{self.epoch}.{self.seq}":
                told = f"the id is {self.last_id} and its place {self.epoch}.{self.seq}"
                self.stream.streams.cry(f"{self.name}: {told}")
