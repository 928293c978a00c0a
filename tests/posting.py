"""Other programs of the tests, which post to webhooks: they know an address and no account."""

from __future__ import annotations

import hashlib
import hmac
import io
from typing import Any, NamedTuple

import aiohttp
import orjson

from tests.closed import check_answer
from tests.person import Person

SECRET = "between the host and us"


class Answer(NamedTuple):
    """What a program is answered."""

    status: int
    body: Any
    headers: Any


class Hook:
    """A webhook and how to post to it."""

    def __init__(self, person: Person, path: str, made: dict[str, Any]) -> None:
        self.person, self.path, self.made = person, path, made
        self.id, self.token, self.url = made["id"], made["token"], made["url"]

    async def post(self, body: Any, *, status: int | None = None, **headers: Any) -> Any:
        """Post JSON, or bytes as they are; ``X_GitHub_Event="push"`` is a header. The answer's
        body, when its status is as wanted.
        """
        answer = await self.request(body, **headers)
        wanted = status or (201 if self.made["type"] == "generic" else 200)
        assert answer.status == wanted, answer
        return answer.body

    async def request(self, body: Any, **headers: Any) -> Answer:
        """The whole answer."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        async with aiohttp.ClientSession() as session:
            path = self.url.partition("/api/v1")[2]
            async with session.post(self.url, data=io.BytesIO(raw), headers=sent) as response:
                told = await response.json()
                check_answer("POST", path, response.status, told)
                return Answer(response.status, told, response.headers)

    async def deliveries(self) -> Any:
        """What was delivered, as its owner sees it."""
        return await self.person.get(f"{self.path}/deliveries")

    async def shown(self) -> Any:
        """The webhook, as its owner sees it."""
        listed = await self.person.get(self.path.rpartition("/")[0])
        return next(each for each in listed if each["id"] == self.id)


async def hook(person: Person, slug: str = "demo", type: str = "generic", **fields: Any) -> Hook:
    """A new webhook, made by an owner."""
    path = f"/projects/{slug}/webhooks"
    made = await person.post(path, {"name": f"A {type} hook", "type": type, **fields})
    return Hook(person, f"{path}/{made['id']}", made)


def signed(body: Any, secret: str = SECRET) -> tuple[bytes, str]:
    """A body and its signature."""
    raw = orjson.dumps(body)
    return raw, hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
