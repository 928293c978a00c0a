"""Who is no member hears and reads nothing.

Somebody with an account of their own knocks at every door of a project, and of conversations of
others, again and again while others work there.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from tests.checkers.cry import Checker
from tests.closed import routes
from warmdesk.client import LOST, Client, Refused

CLOSED = frozenset({401, 403, 404, 429})
PAUSE = 0.02
AGAIN_SECONDS = 0.5
LISTEN_SECONDS = 1.0
# What one's own socket may say without telling of any project.
OWN = frozenset(
    {"hello", "pong", "sync.reset", "auth.expiring", "reconnect", "reset", "user.updated"}
    | {"session.revoked", "gone"}
)
WRITES: dict[str, dict[str, Any]] = {
    "/projects/{slug}/columns": {"name": "strange"},
    "/projects/{slug}/columns/{column_id}/cards": {"title": "strange"},
    "/projects/{slug}/cards/{card_id}/move": {"column_id": 1, "index": 0},
    "/projects/{slug}/chat/messages": {"body": "strange"},
    "/projects/{slug}/members": {"username": "eve", "role": "owner"},
}


async def _heard(answer: aiohttp.ClientResponse) -> bytes:
    """What was answered; of a stream, which stays open, what comes in a while."""
    if answer.content_type != "text/event-stream":
        return await answer.read()
    raw = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTEN_SECONDS):
            async for piece in answer.content.iter_any():
                raw += piece
    return raw


class Stranger(Checker):
    """Somebody signed in who is a member of none of the projects `slugs`, and in no conversation.

    known_ids   path parameter → ids that exist in the projects (``{"card_id": {7, 8}}``); without
                any, small numbers are tried
    secrets     words of the projects (titles, names, texts) that may stand in no answer at all
    tried       statuses of all answers; 101 is a socket that was let in
    """

    def __init__(self, client: Client, slugs: Iterable[str]) -> None:
        super().__init__()
        self.client, self.slugs = client, list(slugs)
        self.known_ids: dict[str, set[int]] = {}
        self.secrets: set[str] = set()
        self.tried: Counter[int] = Counter()
        self.rounds = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Knock until told to stop; ends within a few seconds. Every door is tried at least once
        unless the server is away.
        """
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                for method, path, body in self.doors():
                    await self._knock(method, path, body)
                    if stop.is_set() and self.rounds:
                        return
                    await asyncio.sleep(PAUSE)
                for slug in self.slugs:
                    await self._open(slug, {})
                    await self._open(slug, {"since": "0", "presence": "changed"})
                    await self._open(slug, {"since": "1", "epoch": "0123456789ab"})
                self.rounds += 1
                if stop.is_set():
                    return
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def doors(self) -> Iterator[tuple[str, str, Any]]:
        """Every GET of the route table but the sockets, and a few writes into the projects."""
        for method, _, route in routes():
            if method == "GET" and not route.path.startswith("/ws"):
                for path in self._paths(route.path):
                    yield method, path, None
                    if path.endswith("/events"):
                        yield method, f"{path}?since=0", None
            elif route.path in WRITES and method != "GET":
                for path in self._paths(route.path):
                    yield method, path, WRITES[route.path]

    def _paths(self, template: str) -> Iterator[str]:
        """The path for each project, its other parameters filled with ids that are there."""
        for slug in self.slugs if "{slug}" in template else [""]:
            path = template.replace("{slug}", slug)
            for name in re.findall(r"\{(\w+)[^}]*\}", path):
                # The latest, too: what was made a moment ago.
                known = self.known_ids.get(name) or {1}
                chosen = max(known) if self.rounds % 2 else min(known)
                path = re.sub(rf"\{{{name}[^}}]*\}}", str(chosen), path)
            yield path

    async def _knock(self, method: str, path: str, body: Any) -> None:
        client = self.client
        try:
            async with client.session.request(
                method,
                client.url + path,
                data=None if body is None else orjson.dumps(body),
                headers=client.credentials | {"Content-Type": "application/json"},
            ) as answer:
                raw = await _heard(answer)
        except LOST:
            await asyncio.sleep(AGAIN_SECONDS)
            return
        self.tried[answer.status] += 1
        of_others = path.startswith("/conversations/") or any(
            path.startswith(f"/projects/{slug}") for slug in self.slugs
        )
        if of_others and answer.status not in CLOSED and answer.status < 500:
            self.cry(f"{method} {path} gave {answer.status}: {raw[:200]!r}")
        self._search(f"{method} {path} ({answer.status})", raw)
        if answer.status == 401:
            await self._renew()
        elif answer.status == 429:
            await asyncio.sleep(AGAIN_SECONDS)

    async def _renew(self) -> None:
        try:
            await self.client.refresh(self.client.token)
        except (Refused, *LOST):
            await asyncio.sleep(AGAIN_SECONDS)

    async def _open(self, slug: str, params: dict[str, str]) -> None:
        """Try to open a socket; when let in, note what it says."""
        client, raw = self.client, b""
        try:
            async with client.session.ws_connect(
                f"{client.url}/ws/{slug}",
                params=params,
                headers=client.credentials,
                timeout=aiohttp.ClientWSTimeout(ws_close=1),
            ) as socket:
                self.tried[101] += 1
                try:
                    async with asyncio.timeout(LISTEN_SECONDS):
                        async for message in socket:
                            raw += (
                                message.data
                                if message.type is aiohttp.WSMsgType.BINARY
                                else (str(message.data).encode())
                            )
                except TimeoutError:
                    pass
            self.cry(f"a socket on {slug} was let in {params} and heard {raw[:200]!r}")
            self._search(f"a socket on {slug}", raw)
        except aiohttp.WSServerHandshakeError as refused:
            self.tried[refused.status] += 1
            if refused.status not in CLOSED and refused.status < 500:
                self.cry(f"a socket on {slug} was refused with {refused.status}")
            if refused.status == 401:
                await self._renew()
        except LOST:
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        """Keep an own socket open. It hears of no project."""
        while True:
            try:
                async with self.client.socket("user") as socket:
                    async for frame in socket:
                        if frame["type"] not in OWN:
                            self.cry(f"the own socket heard {frame}")
                        self._search("the own socket", orjson.dumps(frame))
            except (Refused, *LOST):
                pass
            await asyncio.sleep(AGAIN_SECONDS)

    def _search(self, where: str, raw: bytes) -> None:
        if not raw:
            return
        text = raw.decode(errors="replace")
        if "\\u" in text:
            text += text.encode().decode("unicode_escape", errors="replace")
        for word in self.secrets:
            if word in text:
                self.cry(f"{where} told of {word!r}: {text[:200]}")
                return
