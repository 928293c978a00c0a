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


class Wire:
    """One socket and all it said so far. Frames stay in `frames`; `next` walks through them."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        self._read = 0
        self._settled = 0
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            await self._take_in()
        finally:
            async with self._news:
                self._news.notify_all()

    async def _take_in(self) -> None:
        async for message in self.socket:
            assert message.type is aiohttp.WSMsgType.TEXT, message
            frame = compact(message.data)
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
                        f"closed with {self.socket.close_code} before {type or 'a frame'};"
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

    async def closed(self, *, limit: float = LIMIT) -> int | None:
        """The code the server closes the socket with."""
        await asyncio.wait_for(asyncio.shield(self._task), limit * pace.stretch())
        return self.socket.close_code

    async def close(self) -> None:
        await self.socket.close()
        if not self._task.done():
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


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

    async def close(self) -> None:
        await self.client.close()
