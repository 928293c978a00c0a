"""People of the tests: each talks to the server as a program outside would, and checks that every
answer and frame is what the server declares.

``await alice.post("/projects/demo/columns", {"name": "Ideas"})`` signs in at the first request,
checks the status and gives the decoded JSON. ``async with alice.socket("demo") as socket`` opens
one bare socket, without the reference client's reconnects, so that a test sees what the server did.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from tests import pace
from tests.closed import check_answer, check_frame, compact
from warmdesk.client import FRAME_LIMIT, Answer, Client

PASSWORD = "correct horse battery"
LIMIT = 5.0
SUCCESS = {"GET": 200, "POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 204}


class Ear:
    """What one socket or stream said so far. It stays in `frames`; `next` walks through them."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self._read = 0
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            await self._take_in()
        finally:
            async with self._news:
                self._news.notify_all()

    async def _take_in(self) -> None:
        raise NotImplementedError

    @property
    def end(self) -> int | None:
        """The code that it ended with."""
        raise NotImplementedError

    async def _add(self, text: str) -> None:
        frame = compact(text)
        check_frame(frame)
        async with self._news:
            self.frames.append(frame)
            self._news.notify_all()

    async def next(self, type: str | None = None, *, limit: float = LIMIT) -> dict[str, Any]:
        """The next frame, or the next of this type (those before it are passed over)."""
        try:
            async with asyncio.timeout(limit * pace.stretch()), self._news:
                while True:
                    while self._read < len(self.frames):
                        frame = self.frames[self._read]
                        self._read += 1
                        if type is None or frame["type"] == type:
                            return frame
                    if self._task.done():
                        self._task.result()
                    assert not self._task.done(), (
                        f"closed with {self.end} before {type or 'a frame'};"
                        f" it said {[frame['type'] for frame in self.frames]}"
                    )
                    await self._news.wait()
        except TimeoutError:
            said = [frame["type"] for frame in self.frames]
            raise AssertionError(f"no {type or 'frame'} within {limit} s; it said {said}") from None

    def waiting(self, type: str | None = None) -> list[dict[str, Any]]:
        """Frames that came and that `next` has not given yet."""
        rest = self.frames[self._read :]
        return [frame for frame in rest if type is None or frame["type"] == type]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event so far: what has a seq."""
        return [frame for frame in self.frames if "seq" in frame]

    async def closed(self, *, limit: float = LIMIT) -> int | None:
        """The code that the server ends it with."""
        await asyncio.wait_for(asyncio.shield(self._task), limit * pace.stretch())
        return self.end

    async def _stop(self) -> None:
        if not self._task.done():
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class Wire(Ear):
    """One socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._settled = 0
        super().__init__()

    async def _take_in(self) -> None:
        async for message in self.socket:
            assert message.type is aiohttp.WSMsgType.TEXT, message
            await self._add(message.data)

    @property
    def end(self) -> int | None:
        return self.socket.close_code

    async def send(
        self, type: str, payload: Any = None, id: Any = None, *, client_id: Any = None
    ) -> None:
        message = {"type": type, "payload": {} if payload is None else payload}
        beside = {"id": id, "client_id": client_id}
        message |= {name: each for name, each in beside.items() if each is not None}
        await self.send_text(orjson.dumps(message).decode())

    async def send_text(self, text: str) -> None:
        await self.socket.send_str(text)

    async def settle(self) -> None:
        """Wait until everything the server had written for us before now has been read."""
        self._settled += 1
        name = f"settle-{self._settled}"
        await self.send("ping", id=name)
        async with asyncio.timeout(LIMIT * pace.stretch()), self._news:
            await self._news.wait_for(lambda: any(f.get("id") == name for f in self.frames))

    async def close(self) -> None:
        await self.socket.close()
        await self._stop()


class Stream(Ear):
    """One stream of server-sent events, read by the letter of the HTML standard (9.2.6).

    last_id    the id that a client would come back with
    retry      milliseconds until it would
    comments   how many came
    """

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id = ""
        self.ids: list[str] = []
        self.retry = 0
        self.comments = 0
        super().__init__()

    async def _take_in(self) -> None:
        rest, fields = b"", []
        with contextlib.suppress(aiohttp.ClientPayloadError, ConnectionError):
            async for piece in self.answer.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line:
                        fields.append(line.decode())
                    else:
                        await self._dispatch(fields)
                        fields = []

    async def _dispatch(self, lines: list[str]) -> None:
        """One block of lines."""
        kind, data = "message", []
        for line in lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not name:
                self.comments += 1
            elif name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            elif name == "event":
                kind = value
            else:
                assert name == "data", line
                data.append(value)
        if not data:
            return
        self.ids.append(self.last_id)
        await self._add("\n".join(data))
        assert self.frames[-1]["type"] == kind

    @property
    def end(self) -> int | None:
        last = self.frames[-1:] or [{"type": ""}]
        return last[0]["payload"]["code"] if last[0]["type"] == "close" else None

    async def close(self) -> None:
        self.answer.close()
        await self._stop()


class Refusal(Exception):
    """A stream was refused: the answer's status and body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class Person:
    """A user (or an API key) who asks. Paths are below /api/v1. Without `patience` nothing is tried
    again.
    """

    def __init__(
        self,
        url: str,
        username: str,
        *,
        id: int = 0,
        password: str = PASSWORD,
        api_key: str = "",
        patience: float = 0,
    ) -> None:
        self.url, self.username, self.id, self.password = url, username, id, password
        self.client = Client(url, api_key=api_key or None, patience=patience, decode=compact)
        self._signing_in = asyncio.Lock()

    async def token(self) -> str:
        """The access token; signs in when there is none."""
        async with self._signing_in:
            if self.client.token is None:
                await self.client.login(self.username, self.password)
        assert self.client.token is not None
        return self.client.token

    async def request(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """The whole answer, whatever its status. `headers`, `if_match`, `key` as in the client."""
        if self.client.api_key is None:
            await self.token()
        return await self.client.request(method, path, body, **options)

    async def _checked(self, method: str, path: str, body: Any, options: dict[str, Any]) -> Any:
        status = options.pop("status", SUCCESS[method])
        answer = await self.request(method, path, body, **options)
        check_answer(method, path, answer.status, answer.body)
        said = f"{self.username}: {method} {path} gave {answer.status}, not {status}: {answer.body}"
        assert answer.status == status, said
        if status >= 400:
            assert isinstance(answer.body, dict), said
            assert isinstance(answer.body.get("error"), str), said
        return answer.body

    async def get(self, path: str, **options: Any) -> Any:
        return await self._checked("GET", path, None, options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._checked("POST", path, body, options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._checked("PUT", path, body, options)

    async def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._checked("PATCH", path, body, options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self._checked("DELETE", path, body, options)

    @asynccontextmanager
    async def socket(self, place: str = "demo", **params: Any) -> AsyncIterator[Wire]:
        """A socket on a project or on ``user``; parameters go into the query (``since=17``)."""
        if self.client.api_key is None:
            await self.token()
        async with self.client.session.ws_connect(
            f"{self.client.url}/ws/{place}",
            params={name: str(value) for name, value in params.items()},
            headers=self.client.credentials,
            max_msg_size=FRAME_LIMIT,
            timeout=aiohttp.ClientWSTimeout(ws_close=2),
        ) as socket:
            wire = Wire(socket)
            try:
                yield wire
            finally:
                await wire.close()

    @asynccontextmanager
    async def stream(
        self, place: str = "demo", last_id: str = "", **params: Any
    ) -> AsyncIterator[Stream]:
        """A stream of a project's events, or of the ``user``'s own. Raises `Refusal`."""
        if self.client.api_key is None:
            await self.token()
        path = "/users/me" if place == "user" else f"/projects/{place}"
        async with self.client.session.get(
            f"{self.client.url}{path}/events/stream",
            params={name: str(value) for name, value in params.items()},
            headers={
                **self.client.credentials,
                **({"Last-Event-ID": last_id} if last_id else {}),
            },
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if answer.status != 200:
                raise Refusal(answer.status, await answer.json())
            stream = Stream(answer)
            try:
                yield stream
            finally:
                await stream.close()

    async def close(self) -> None:
        await self.client.close()
